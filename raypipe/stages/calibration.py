"""Eyelink of the calibration session: where the eye looked while targets were shown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import EdfSplit
from raypipe.errors import FormatError
from raypipe.io.eye import EyeRecording
from raypipe.io.tables import Table
from raypipe.stages.eyelink_fields import (
    check_samples,
    durations_ms,
    events_between,
    eyelink_fields,
    gaze_table,
    nearest_sample,
    times_table,
)

TRIAL_COLUMNS = ("trialid_time", "time_0", "time_1")
START_WORD = ["1", "0", "0", "0", "0", "0", "0", "0"]
EVERYTHING = (-np.inf, np.inf)


def calibration_object(
    recording: EyeRecording,
    settings: EdfSplit,
    arguments: Mapping[str, Any],
    directory: str,
    *,
    n_navigation: int,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make all fields of the calibration session's Eyelink, and notes.

    `trial_timestamps` (T, 3) s are start, cue and end of each trial, `indices` (T, 3) their samples; 0 where the task
    sent no message. `calib_eye_pos` (n, 2) px; `calib_fix_times` (f, 3) s, `calib_fix_event` and `calib_sacc_event`
    durations in ms. `n_navigation` is how many navigation sessions the day has. Raises FormatError if there is no
    sample or no trial.
    """
    check_samples(recording)
    trials = _trials(recording)
    said = ~np.isnan(trials)
    indices = np.where(said, nearest_sample(recording.ms, np.nan_to_num(trials)), 0)
    gaze, notes = gaze_table(recording, slice(None), settings)
    fixations = events_between(recording, "fixation", *EVERYTHING)
    saccades = events_between(recording, "saccade", *EVERYTHING)
    # PyHipp leaves out samples that are 0, 0; labels keep the number of the sample.
    seen = np.any(gaze.values != 0, axis=1)
    own = {
        "trial_timestamps": Table(np.where(said, trials, 0) / 1000, columns=TRIAL_COLUMNS),
        "indices": Table(indices, columns=TRIAL_COLUMNS, index=np.arange(1, len(trials) + 1)),
        "calib_eye_pos": gaze
        if seen.all()
        else Table(gaze.values[seen], columns=gaze.columns, index=np.flatnonzero(seen)),
        "timestamps": Table(recording.ms / 1000, name="time"),
        "calib_fix_event": Table(durations_ms(fixations)[:, None], columns=(0,)),
        "calib_sacc_event": Table(durations_ms(saccades)[:, None], columns=(0,)),
        "calib_fix_times": times_table(fixations),
        "expTime": [recording.ms[0] / 1000],
        "session_start": [trials[0, 0] / 1000],
        "session_start_index": [float(indices[0, 0])],
        "noOfTrials": [len(trials)],
        "noOfSessions": n_navigation,
        "samplingRate": round(recording.sampling_rate_hz),
    }
    return eyelink_fields(own, len(trials), arguments, directory), notes


def _trials(recording: EyeRecording) -> NDArray[np.float64]:
    """Find ms of start, cue and end of each trial (T, 3), NaN where there is no message.

    A trial begins with the start word. Of its further words the first is the cue and the second the end, as in PyHipp;
    a single one says itself which of them it is.
    """
    rows: list[list[float]] = []
    words_of: list[list[tuple[float, str]]] = []
    for ms, text in zip(recording.message_ms.tolist(), recording.message_texts, strict=True):
        words = text.split()
        if words == START_WORD:
            rows.append([ms, np.nan, np.nan])
            words_of.append([])
        elif rows and words and words[0] == "0":
            words_of[-1].append((ms, "".join(words)))
    if not rows:
        raise FormatError(
            f"{recording.path} has no calibration trial: no message '{'  '.join(START_WORD)}'",
            hint="is it a navigation file? edfsplit.CalibFileNameChar says what the names of calibration files have",
        )
    for row, words_said in zip(rows, words_of, strict=True):
        if len(words_said) == 1:
            ms, word = words_said[0]
            row[1 if word.startswith("01") else 2] = ms
        elif words_said:
            row[1:] = [ms for ms, _ in words_said[:2]]
    return np.array(rows)

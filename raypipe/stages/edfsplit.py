"""Eyelink of the navigation sessions: an eye file cut into sessions, its messages matched with Ripple's markers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import EdfSplit
from raypipe.errors import FormatError, RaypipeError
from raypipe.io.eye import EyeRecording
from raypipe.io.tables import Table
from raypipe.stages.calibration import calibration_object
from raypipe.stages.eye_matching import Match
from raypipe.stages.eye_sessions import Part, SessionMarkers, cut_files, find_sessions
from raypipe.stages.eye_trials import TrialMessages, trial_messages
from raypipe.stages.eyelink_fields import (
    check_samples,
    durations_ms,
    events_between,
    eyelink_fields,
    gaze_table,
    nearest_sample,
    times_table,
)

__all__ = ["SessionMarkers", "calibration_object", "navigation_objects"]

Outcome = tuple[dict[str, Any], tuple[str, ...]] | RaypipeError


def navigation_objects(
    recordings: Sequence[EyeRecording],
    sessions: Mapping[str, SessionMarkers],
    settings: EdfSplit,
    arguments: Mapping[str, Any],
    directories: Mapping[str, str],
) -> dict[str, Outcome]:
    """Make the Eyelink of every navigation session of a day, wherever in the day's eye files it is.

    `sessions` by name; sessions of one file follow each other in it in the order of their names. Gives for each either
    all fields and notes, or the error that says why there is none. A session is found by its markers alone; it then
    holds, as in PyHipp, the samples from its trigger to the next, and the first one of a file all before it too.

    `trial_timestamps` (T, 3) are 0-based sample indices divided by the sampling rate. Beyond PyHipp's fields:
    `reconstructed` bool (T, 3), markers whose message was lost; `withoutSample` bool (T, 3), markers at which the
    tracker was not recording; `triggerTime` s on the clock of `timestamps`, NaN if the session has no trigger.
    """
    outcomes: dict[str, Outcome] = {}
    usable: dict[str, SessionMarkers] = {}
    for name in sorted(sessions):
        unusable = _unusable(name, sessions[name])
        if unusable is None:
            usable[name] = sessions[name]
        else:
            outcomes[name] = unusable
    messages = [trial_messages(recording, settings) for recording in recordings]
    places = find_sessions(messages, usable)
    parts = cut_files(places, messages, usable)
    for name, markers in usable.items():
        if name not in places:
            outcomes[name] = _not_found(name, markers, recordings, messages)
            continue
        place = places[name]
        try:
            outcomes[name] = _object(
                recordings[place.file],
                messages[place.file],
                place.match,
                parts[name],
                markers,
                settings,
                (arguments, directories[name]),
            )
        except RaypipeError as error:
            outcomes[name] = error
    return {name: outcomes[name] for name in sorted(sessions)}


def _unusable(name: str, session: SessionMarkers) -> FormatError | None:
    markers, times = session.markers, session.time_stamps
    if markers.ndim != 2 or markers.shape[1:] != (3,) or not markers.size or times.shape != markers.shape:
        return FormatError(
            f"{name}: the markers of Ripple are {markers.shape} with times {times.shape}, not (trials, 3)",
            hint="see what rplparallel says of this session: a trial is cue on (1x), cue off (2x), end (3x or 4x)",
        )
    if np.any(np.diff(times.ravel()) <= 0):
        trial = int(np.argmax(np.diff(times.ravel()) <= 0)) // 3
        return FormatError(f"{name}: Ripple's markers do not follow each other in time (near trial {trial + 1})")
    return None


def _object(
    recording: EyeRecording,
    messages: TrialMessages,
    match: Match,
    part: Part,
    session: SessionMarkers,
    settings: EdfSplit,
    identity: tuple[Mapping[str, Any], str],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    check_samples(recording)
    low, high = np.searchsorted(recording.ms, [part.start_ms, part.stop_ms]).tolist()
    if low == high:
        raise FormatError(f"{recording.path} has messages of this session ({identity[1]}), but no sample")
    ms = recording.ms[low:high]
    rate_hz = round(recording.sampling_rate_hz)
    marker_ms = match.ms.reshape(-1, 3)
    indices = nearest_sample(ms, marker_ms)
    without_sample = np.abs(ms[indices] - marker_ms) > 1000 / rate_hz
    gaze, notes = gaze_table(recording, slice(low, high), settings)
    fixations, saccades = (
        events_between(recording, kind, part.start_ms, part.stop_ms) for kind in ("fixation", "saccade")
    )
    second = min(low + 1, high - 1)  # PyHipp's start of a session
    own = {
        "trial_timestamps": Table(indices / rate_hz, columns=(0, 1, 2)),
        "eye_pos": gaze,
        "expTime": [recording.ms[0] / 1000],
        "timestamps": Table(ms / 1000, name="time"),
        "noOfTrials": [int(np.count_nonzero(messages.codes // 10 == 1))],
        "fix_event": Table(durations_ms(fixations)),
        "sacc_event": Table(durations_ms(saccades)),
        "fix_times": times_table(fixations),
        "trial_codes": Table(session.markers, columns=(0, 1, 2)),
        "session_start": [recording.ms[second] / 1000],
        "session_start_index": [float(second)],
        "noOfSessions": 1,
        "samplingRate": rate_hz,
        "discrepancies": _discrepancies(session.time_stamps, marker_ms),
        "reconstructed": match.rows.reshape(-1, 3) < 0,
        "withoutSample": without_sample,
        "triggerTime": np.float64(part.trigger_ms / 1000),
    }
    said = [*notes, *_notes(recording, messages, match, part, session), *_unsampled(without_sample)]
    return eyelink_fields(own, len(marker_ms), *identity), tuple(said)


def _discrepancies(ripple_s: NDArray[np.float64], eye_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give by how much pause, cue and way to the poster of each trial (T, 3) differ between the clocks, in s."""
    ripple = np.diff(ripple_s.ravel(), prepend=ripple_s[0, 0])
    eye = np.diff(eye_ms.ravel(), prepend=eye_ms[0, 0]) / 1000
    difference: NDArray[np.float64] = np.abs(ripple - eye).reshape(-1, 3)
    return difference


def _notes(
    recording: EyeRecording, messages: TrialMessages, match: Match, part: Part, session: SessionMarkers
) -> list[str]:
    notes = []
    lost = np.flatnonzero(match.rows < 0)
    if lost.size:
        trials = _listed([f"{marker // 3 + 1}" for marker in lost[np.diff(lost // 3, prepend=-1) > 0].tolist()])
        notes.append(
            f"{lost.size} of {match.rows.size} trial messages are not in {recording.path.name} and were reconstructed"
            f" from Ripple's durations (trials {trials})"
        )
    inside = np.flatnonzero((messages.ms >= part.start_ms) & (messages.ms < part.stop_ms))
    extra = np.setdiff1d(inside, match.rows)
    if extra.size:
        words = _listed([f"{messages.codes[row]} at {messages.ms[row] / 1000:.3f} s" for row in extra.tolist()])
        notes.append(f"{extra.size} trial messages are no marker of Ripple's and were left out: {words}")
    if session.start_word is not None and np.isnan(part.trigger_ms):
        notes.append(f"{recording.path.name} has no trigger for Ripple's {session.start_word} at this session's start")
    return notes


def _unsampled(without_sample: NDArray[np.bool_]) -> list[str]:
    if not without_sample.any():
        return []
    trials = _listed([str(trial + 1) for trial in np.flatnonzero(without_sample.any(axis=1)).tolist()])
    return [f"at {without_sample.sum()} markers the tracker was not recording (trials {trials})"]


def _not_found(
    name: str, session: SessionMarkers, recordings: Sequence[EyeRecording], messages: Sequence[TrialMessages]
) -> FormatError:
    codes = session.markers.ravel().tolist()
    files = "; ".join(
        f"{recording.path.name} has {said.codes.size} trial messages"
        + (f" ({_listed([str(code) for code in said.codes.tolist()])})" if said.codes.size else "")
        for recording, said in zip(recordings, messages, strict=True)
    )
    return FormatError(
        f"{name} is in no eye file: Ripple has {len(codes)} markers ({_listed([str(c) for c in codes])});"
        f" {files or 'there is none'}",
        hint="is the session's eye file in the day's folder, and without "
        "edfsplit.CalibFileNameChar in its name? The other sessions are not concerned",
    )


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:6]) + (", ..." if len(words) > 6 else "")

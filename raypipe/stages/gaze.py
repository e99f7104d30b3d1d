"""What the raycast needs of a session: its samples, where the animal stood and looked, what was shown, what happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.tables import Table
from raypipe.stages.camera import pose_rows

TAIL_SAMPLES = 1000
"""Samples after the end of the last trial that are cast too."""
NO_IMAGE, CUE, HINT = 0, 1, 2
ALIGNED_WITHIN_SECONDS = 1.0
LAST_POSE_SECONDS = 1.0
"""The pose of Unity's last frame is taken for this long; later, and before its first, nobody knows where the animal is."""
_PHASES = (1, 2, 3, 4)  # tens of the marker words: cue on, cue off, end, timed out


@dataclass(frozen=True)
class Block:
    """Samples that follow each other.

    `milliseconds` int64 (n,); `gaze` float64 (n, 2) px; `poses` float64 (n, 3): x, z, heading in degrees, NaN where Unity had no log; `shown` int64
    (n,): NO_IMAGE, CUE or HINT; `codes` int64 (n,): marker words of the sample, behind one another if there are
    several, 0 if none; `is_frame_end` bool (n,): the last sample of a Unity frame; `is_doubtful` bool (n,): of a trial
    whose clocks do not agree.
    """

    milliseconds: NDArray[np.int64]
    gaze: NDArray[np.float64]
    poses: NDArray[np.float64]
    shown: NDArray[np.int64]
    codes: NDArray[np.int64]
    is_frame_end: NDArray[np.bool_]
    is_doubtful: NDArray[np.bool_]


@dataclass(frozen=True)
class GazeSession:
    """An aligned session: `samples` to cast, from the first trial's start to TAIL_SAMPLES after the last one's end.

    `trials` int64 (T,): the numbers, from 1, of those that the eye tracker has all events of; `event_samples` int64
    (T, 3): their samples of cue on, cue off and end; `event_codes` int64 (T, 3); `doubtful` bool (T,).
    """

    samples: range
    seconds: NDArray[np.float64]
    gaze: NDArray[np.float64]
    unity_time: NDArray[np.float64]
    unity_poses: NDArray[np.float64]
    trials: NDArray[np.int64]
    event_samples: NDArray[np.int64]
    event_codes: NDArray[np.int64]
    doubtful: NDArray[np.bool_]
    notes: tuple[str, ...]

    def block(self, samples: range) -> Block:
        """Take some of the samples."""
        start, stop = samples.start, samples.stop
        with_next = self.seconds[start : min(stop + 1, len(self.seconds))]
        rows = pose_rows(self.unity_time, with_next)
        is_frame_end = np.zeros(len(samples), np.bool_)
        is_frame_end[: len(rows) - 1] = rows[1:] != rows[:-1]
        indices = np.arange(start, stop)
        poses = self.unity_poses[rows[: len(samples)]]
        times = self.seconds[start:stop]
        poses[(times < self.unity_time[0]) | (times > self.unity_time[-1] + LAST_POSE_SECONDS)] = np.nan
        # Cue on, cue off and end follow each other, so that the events up to a sample tell in which phase of which
        # trial it is.
        past = np.searchsorted(self.event_samples.ravel(), indices, side="right")
        trial, phase = (past - 1) // 3, (past - 1) % 3
        return Block(
            np.rint(1000 * times).astype(np.int64),
            self.gaze[start:stop],
            poses,
            np.where(past > 0, np.array([CUE, HINT, NO_IMAGE])[phase], NO_IMAGE),
            self._codes(start, stop),
            is_frame_end,
            (past > 0) & (phase < 2) & self.doubtful[trial],
        )

    def _codes(self, start: int, stop: int) -> NDArray[np.int64]:
        codes = np.zeros(stop - start, np.int64)
        at = self.event_samples.ravel() - start
        for i in np.flatnonzero((at >= 0) & (at < stop - start)):
            codes[at[i]] = 100 * codes[at[i]] + self.event_codes.ravel()[i]
        return codes


def gaze_session(unity: Mapping[str, Any], eyelink: Mapping[str, Any]) -> GazeSession:
    """Take what is needed from the fields of an aligned Unity and an aligned Eyelink object.

    Raises FormatError if one lacks something or they do not belong together.
    """
    seconds = _array(eyelink, "eyelink", "timestamps").ravel()
    gaze = _array(eyelink, "eyelink", "eye_pos")
    unity_time = _array(unity, "unity", "unityTime").ravel()
    unity_data = _array(unity, "unity", "unityData")
    if gaze.shape != (len(seconds), 2):
        raise _wrong(f"the eyelink object has {len(seconds)} times and {gaze.shape} positions of the eye")
    if unity_data.ndim != 2 or unity_data.shape[1] < 5 or len(unity_time) != len(unity_data) + 1 or len(unity_data) < 1:
        raise _wrong(f"the unity object has {unity_data.shape} data and {unity_time.shape} times")
    trials, events, codes = _trials(eyelink, len(seconds))
    # The eye's, if both have them: Unity's object may lack trials.
    doubtful = np.ravel(eyelink.get("doubtfulTrials", unity.get("doubtfulTrials", np.zeros(len(trials)))))
    if doubtful.shape != trials.shape:
        raise _wrong(f"{len(doubtful)} trials of {len(trials)} are called doubtful or not")
    doubtful = doubtful.astype(np.bool_)
    known = events[:, 0] >= 0
    _check_clocks(seconds[events], known, _trigger_times(unity, unity_time, len(trials)))
    events = events[known]
    samples = range(int(events[0, 0]), min(int(events[-1, 2]) + TAIL_SAMPLES + 1, len(seconds)))
    _check_times(seconds[samples.start : samples.stop], unity_time)
    lost = ", ".join(str(trial) for trial in trials[~known])
    notes = (f"the eye tracker has not all events of trials {lost}: no cue or hint is seen in them",) if lost else ()
    return GazeSession(
        samples,
        seconds,
        gaze,
        unity_time,
        unity_data[:, 2:5],
        trials[known],
        events,
        codes[known],
        doubtful[known],
        notes,
    )


def _array(fields: Mapping[str, Any], which: str, name: str) -> NDArray[np.float64]:
    """Take an array out of its table, or out of the list of one that PyHipp keeps it in."""
    if name not in fields:
        raise _wrong(f"the {which} object has no {name}")
    value = fields[name]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return np.asarray(value.values if isinstance(value, Table) else value, np.float64)


def _trials(
    eyelink: Mapping[str, Any], n_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number all trials (T,), and give the samples (T, 3), -1 where one of a trial is unknown, and codes of their events."""
    stamps, codes = _array(eyelink, "eyelink", "trial_timestamps"), _array(eyelink, "eyelink", "trial_codes")
    if stamps.ndim != 2 or stamps.shape[1] != 3 or codes.shape != stamps.shape:
        raise _wrong(f"the eyelink object has trials of shape {stamps.shape} with codes of shape {codes.shape}")
    known = np.isfinite(stamps.sum(axis=1))
    if not known.any():
        raise _wrong("the eyelink object has not one trial with all its events")
    events = np.full(stamps.shape, -1, np.int64)
    events[known] = np.rint(stamps[known] * _array(eyelink, "eyelink", "samplingRate").ravel()[0])
    order = events[known].ravel()
    if np.any(np.diff(order) < 0) or order[0] < 0 or order[-1] >= n_samples:
        raise _wrong(f"the events of the eyelink object are not in order within its {n_samples} samples")
    n_unknown = np.count_nonzero(~np.isin(codes // 10, _PHASES), axis=1)
    for trial in np.flatnonzero(known & (n_unknown > 0)):
        raise _wrong(f"trial {trial + 1} has the codes {codes[trial].tolist()}, which are not 1x, 2x, 3x or 4x")
    return np.arange(1, len(stamps) + 1), events, np.where(known[:, None], codes, 0).astype(np.int64)


def _trigger_times(unity: Mapping[str, Any], unity_time: NDArray[np.float64], n_trials: int) -> NDArray[np.float64]:
    triggers = _array(unity, "unity", "unityTriggers")
    if triggers.ndim != 2 or triggers.shape[1] != 3 or not 0 < len(triggers) <= n_trials:
        raise _wrong(f"the unity object has {triggers.shape} triggers, the eyelink object {n_trials} trials")
    if not (triggers.min() >= 0 and triggers.max() < len(unity_time) - 1):
        raise _wrong(f"the unity object has triggers beyond its {len(unity_time) - 1} rows")
    return unity_time[triggers.astype(np.int64) + 1]


def _check_clocks(
    event_times: NDArray[np.float64], known: NDArray[np.bool_], trigger_times: NDArray[np.float64]
) -> None:
    """Refuse objects on clocks of their own: every gaze would be cast from a wrong place."""
    if len(trigger_times) == len(event_times):
        away, most = event_times[known] - trigger_times[known], ALIGNED_WITHIN_SECONDS
    else:  # of a session of which Unity lacks trials, each of its triggers must be one of the eye's
        events = np.sort(event_times[known].ravel())
        after = np.clip(np.searchsorted(events, trigger_times), 1, events.size - 1)
        away = np.minimum(np.abs(events[after] - trigger_times), np.abs(events[after - 1] - trigger_times))
        most = ALIGNED_WITHIN_SECONDS / 10
    apart = float(np.median(np.abs(away)))
    if not apart < most:
        raise FormatError(
            f"the clocks of the unity and the eyelink object are {apart:.3f} s apart",
            hint="cast aligned objects: run the stage aligning_objects first",
        )


def _check_times(seconds: NDArray[np.float64], unity_time: NDArray[np.float64]) -> None:
    for name, times in (("eyelink", seconds), ("unity", unity_time)):
        if not (np.isfinite(times[0]) and np.isfinite(times[-1]) and np.all(times[1:] >= times[:-1])):  # NaN neither
            raise _wrong(f"the times of the {name} object do not increase")
    if seconds[0] < 0:
        raise _wrong(f"the first trial of the eyelink object begins at {seconds[0]:.3f} s")


def _wrong(message: str) -> FormatError:
    return FormatError(
        message, hint="make the objects again: `raypipe clean DAY --only unity --only edfsplit`, then `raypipe run DAY`"
    )

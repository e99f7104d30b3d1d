"""Eyelink: the fields that every object of eye data has, and the values that both kinds of sessions make alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import EdfSplit
from raypipe.errors import FormatError
from raypipe.io.eye import EyeEvents, EyeRecording, Kind
from raypipe.io.objects import base_fields
from raypipe.io.tables import Table, empty_frame

GAZE_COLUMNS = ("gx_left", "gy_left")

_EMPTY_TABLES = (
    "trial_timestamps", "calib_eye_pos", "eye_pos", "indices", "timestamps", "timeouts", "fix_event", "sacc_event",
    "calib_fix_event", "calib_sacc_event", "fix_times", "trial_codes",
)  # fmt: skip
_ORDER = (
    "args", "trial_timestamps", "calib_eye_pos", "eye_pos", "numSets", "expTime", "indices", "timestamps", "timeouts",
    "noOfTrials", "fix_event", "sacc_event", "calib_fix_event", "calib_sacc_event", "fix_times", "trial_codes",
    "session_start", "session_start_index", "noOfSessions", "samplingRate", "discrepancies", "dirs", "setidx",
    "plotopts", "current_idx",
)  # fmt: skip


def eyelink_fields(
    own: Mapping[str, Any], n_trials: int, arguments: Mapping[str, Any], directory: str
) -> dict[str, Any]:
    """Give all fields in PyHipp's order: `own`, the base's, and empty ones; what PyHipp does not know comes last."""
    blank = {name: empty_frame() for name in _EMPTY_TABLES}
    base = base_fields(arguments, directory, "session", setidx=[0] * n_trials)
    fields: dict[str, Any] = {**blank, "numSets": [1], "discrepancies": [], **base, **own}
    return {name: fields[name] for name in (*_ORDER, *(name for name in fields if name not in _ORDER))}


def check_samples(recording: EyeRecording) -> None:
    """Raise FormatError if the file has no sample of any eye, or if its times do not increase."""
    if not recording.ms.size or not recording.eyes:
        raise FormatError(
            f"{recording.path} has no samples of the eye",
            hint="record samples as well as events, or convert the file without leaving them out",
        )
    if np.any(recording.ms[1:] <= recording.ms[:-1]):
        after = int(np.argmax(recording.ms[1:] <= recording.ms[:-1]))
        raise FormatError(
            f"{recording.path}: after {recording.ms[after]:.0f} ms the times of the samples do not increase",
            hint="the tracker was started again: give each recording a file of its own",
        )


def gaze_table(recording: EyeRecording, samples: slice, screen: EdfSplit) -> tuple[Table, tuple[str, ...]]:
    """Make the gaze (n, 2) px of some samples, NaN where it is beyond the screen, and notes on the eye.

    It is that of the left eye; of the right, if the tracker followed that one alone (under the same column names).
    """
    eye = _eye(recording)
    gaze = recording.gaze_px[eye, :, samples].T.copy()
    for column, extent in ((gaze[:, 0], screen.ScreenX), (gaze[:, 1], screen.ScreenY)):
        column[(column < 0) | (column > extent)] = np.nan
    notes = []
    if recording.eyes[eye] == "right":
        notes.append(f"{recording.path.name} has the right eye alone: it stands in the columns of the left")
    if gaze.size and np.isnan(gaze).all():
        notes.append(f"{recording.path.name}: no sample of this session has gaze on the screen")
    return Table(gaze, columns=GAZE_COLUMNS), tuple(notes)


def events_between(recording: EyeRecording, kind: Kind, start_ms: float, stop_ms: float) -> EyeEvents:
    """Select the events of the eye used that end at or after `start_ms` and begin before `stop_ms`."""
    events = recording.events.get(kind)
    if events is None:
        none = np.empty(0)
        return EyeEvents(none, none, np.empty(0, np.bool_), np.empty((0, 0)))
    wanted = (events.end_ms >= start_ms) & (events.start_ms < stop_ms)
    if len(recording.eyes) > 1:
        wanted &= events.is_right == (recording.eyes[_eye(recording)] == "right")
    return EyeEvents(events.start_ms[wanted], events.end_ms[wanted], events.is_right[wanted], events.values[wanted])


def durations_ms(events: EyeEvents) -> NDArray[np.int64]:
    """Give end minus start of each event (n,), in whole ms as PyHipp does."""
    durations: NDArray[np.int64] = np.rint(events.end_ms - events.start_ms).astype(np.int64)
    return durations


def times_table(events: EyeEvents) -> Table:
    """Give start, end and duration of each event (n, 3), in seconds."""
    times = np.column_stack([events.start_ms, events.end_ms, durations_ms(events)]) / 1000
    return Table(times, columns=("start", "end", 0))


def nearest_sample(sample_ms: NDArray[np.float64], ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the sample nearest in time to each of `ms` (any shape); of two as near, the later."""
    after = np.searchsorted(sample_ms, ms).clip(1, max(sample_ms.size - 1, 1))
    index = after - (ms - sample_ms[after - 1] < sample_ms[after.clip(max=sample_ms.size - 1)] - ms)
    nearest: NDArray[np.int64] = index.clip(0, sample_ms.size - 1)
    return nearest


def _eye(recording: EyeRecording) -> int:
    return recording.eyes.index("left") if "left" in recording.eyes else 0

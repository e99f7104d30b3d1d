"""aligning_objects: Unity and eye data of a session on Ripple's clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import Aligning
from raypipe.errors import FormatError
from raypipe.io.tables import Table
from raypipe.stages.clock_map import ClockMap, clock_map
from raypipe.stages.rplparallel import START_WORDS

_FIELDS = {
    "rplparallel": ("timeStamps", "markers", "rawMarkers", "sessionStartTime"),
    "unity": ("unityTriggers", "unityTime", "unityData", "timeStamps"),
    "eyelink": ("timestamps", "trial_timestamps", "samplingRate", "fix_times"),
}
"""What is read of each object."""


@dataclass(frozen=True)
class Aligned:
    """The fields of both objects (None: there was none), and notes."""

    unity: dict[str, Any] | None
    eyelink: dict[str, Any] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Events:
    """What both clocks saw: `markers` float64 (T, 3) s, NaN where the clock has none; `start` s, NaN if unknown."""

    markers: NDArray[np.float64]
    start: float


def align(
    unity: Mapping[str, Any] | None,
    eyelink: Mapping[str, Any] | None,
    rplparallel: Mapping[str, Any],
    settings: Aligning,
) -> Aligned:
    """Put both objects, or the one that there is, on Ripple's clock, on which every marker is at its own time exactly.

    Of Unity `unityTime` (and with it `unityTrialTime` and column 1 of `unityData`), of the eye `timestamps` and the
    starts and ends in `fix_times` are mapped piecewise linearly between markers, in float64 s. Afterwards
    `unityTime[unityTriggers + 1]` and `timestamps[round(trial_timestamps * samplingRate)]` are `timeStamps`; the word
    that started the session is at `unityTime[0]` and at the eye's `triggerTime`. A marker at which the tracker was not
    recording (`withoutSample`) has no sample to be put there.

    Both get `doubtfulTrials` bool (T,): trials of which cue, way or length differ by more than `doubtful_ms` between
    Ripple and either clock once the ratio of the clocks is taken out, that lack a sample at a marker, or that Unity's
    log has not or under other words. Nothing else is done to them. Of a session of which Unity lacks trials, Unity's
    object holds fewer than the other two (see its `timeStamps`).

    Objects that are on Ripple's clock stay as they are, bit for bit. Raises FormatError if the numbers of trials differ,
    if markers do not follow each other in time or if an object lacks a field.
    """
    for which, fields in (("rplparallel", rplparallel), ("unity", unity), ("eyelink", eyelink)):
        lacking = [name for name in _FIELDS[which] if fields is not None and name not in fields]
        if lacking:
            raise FormatError(
                f"the {which} object lacks {', '.join(lacking)}: nothing can be aligned with it",
                hint="remove its file, and the next run makes it again",
            )
    ripple = _ripple_events(rplparallel)
    frames = _unity_events(unity) if unity is not None else None
    samples = _eye_events(eyelink) if eyelink is not None else None
    kept = _trials_of_unity(unity, ripple, frames, samples)
    doubtful = np.zeros(len(ripple.markers), np.bool_)
    on_unity = on_eye = None
    notes: list[str] = []
    if unity is not None and frames is not None:
        of_unity = _Events(ripple.markers[kept], ripple.start)
        clock, notes = _clock(frames, of_unity, "Unity's log", settings)
        on_unity = _unity_on(clock, unity)
        doubtful[:] = True
        doubtful[kept] = _doubtful(frames, of_unity, clock, unity, settings) | _other_words(unity, rplparallel, kept)
    if eyelink is not None and samples is not None:
        clock, of_clock = _clock(samples, ripple, "the eye data", settings)
        notes += of_clock
        on_eye = _eye_on(clock, eyelink)
        doubtful |= _doubtful(samples, ripple, clock, eyelink, settings)
    if doubtful.any():
        trials = ", ".join(str(trial + 1) for trial in np.flatnonzero(doubtful)[:8])
        notes.append(
            f"{np.count_nonzero(doubtful)} of {doubtful.size} trials are doubtful, since clocks differ by more than"
            f" {settings.doubtful_ms:g} ms or words or samples are lacking: {trials}"
            + (", ..." if np.count_nonzero(doubtful) > 8 else "")
        )
    return Aligned(
        None if on_unity is None else {**on_unity, "doubtfulTrials": doubtful[kept]},
        None if on_eye is None else {**on_eye, "doubtfulTrials": doubtful},
        tuple(notes),
    )


def _ripple_events(rplparallel: Mapping[str, Any]) -> _Events:
    times = np.asarray(rplparallel["timeStamps"], np.float64)
    if times.ndim != 2 or times.shape[1] != 3 or not times.size:
        raise FormatError(
            f"rplparallel: timeStamps are {times.shape}, not (trials, 3): nothing can be aligned with them"
        )
    raw = np.asarray(rplparallel["rawMarkers"])
    words = raw[raw != 0]
    started = words.size and words[0] in START_WORDS
    return _Events(times, float(rplparallel["sessionStartTime"]) if started else np.nan)


def _unity_events(unity: Mapping[str, Any]) -> _Events:
    if not len(unity["unityTriggers"]) or not len(unity["unityTime"]):
        raise FormatError("unity: the object has no trials: is there a log of this session?")
    rows, time = np.asarray(unity["unityTriggers"][0]), np.asarray(unity["unityTime"][0])
    if rows.ndim != 2 or rows.shape[1] != 3 or (rows.size and not 0 <= rows.min() <= rows.max() < time.size - 1):
        raise FormatError(f"unity: triggers are {rows.shape} for {time.size - 1} frames, not rows (trials, 3) of them")
    return _Events(time[rows + 1], float(time[0]))


def _eye_events(eyelink: Mapping[str, Any]) -> _Events:
    times = _values(eyelink["timestamps"])
    rows = _eye_rows(eyelink)
    if rows.ndim != 2 or rows.shape[1] != 3 or (rows.size and not 0 <= rows.min() <= rows.max() < times.size):
        raise FormatError(f"eyelink: trials are {rows.shape} for {times.size} samples, not indices (trials, 3) of them")
    markers = times[rows]
    if "withoutSample" in eyelink:
        markers = np.where(eyelink["withoutSample"], np.nan, markers)
    # PyHipp takes the session's second sample for the trigger, which may be minutes before it.
    return _Events(markers, float(eyelink.get("triggerTime", np.nan)))


def _eye_rows(eyelink: Mapping[str, Any]) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = np.rint(_values(eyelink["trial_timestamps"]) * eyelink["samplingRate"]).astype(np.int64)
    return rows


def _trials_of_unity(
    unity: Mapping[str, Any] | None, ripple: _Events, frames: _Events | None, samples: _Events | None
) -> NDArray[np.int64]:
    """Tell which trials of Ripple's Unity's are (T_unity,): all, or those whose `timeStamps` the object holds."""
    counts = {"Ripple": len(ripple.markers)}
    counts |= {"Unity's log": len(frames.markers)} if frames else {}
    counts |= {"the eye data": len(samples.markers)} if samples else {}
    if len(set(counts.values())) == 1:
        return np.arange(len(ripple.markers))
    if unity is not None and frames and counts.get("the eye data", counts["Ripple"]) == counts["Ripple"]:
        stamps = np.asarray(unity["timeStamps"][0])
        if stamps.shape == frames.markers.shape:
            rows = np.searchsorted(ripple.markers[:, 0], stamps[:, 0]).clip(max=counts["Ripple"] - 1)
            if np.array_equal(ripple.markers[rows], stamps):
                return rows
    told = ", ".join(f"{what} has {n}" for what, n in counts.items())
    raise FormatError(
        f"the numbers of trials differ: {told}; they cannot be aligned",
        hint="are these files of the same session? Make the objects again from its own files",
    )


def _clock(own: _Events, ripple: _Events, what: str, settings: Aligning) -> tuple[ClockMap, list[str]]:
    known = ~np.isnan(own.markers)
    of_markers = clock_map(own.markers[known], ripple.markers[known], what=what)
    lead = of_markers.own_s[0] - own.start, of_markers.ripple_s[0] - ripple.start
    if not (lead[0] > 0 and lead[1] > 0):
        return of_markers, []
    notes = []
    off_ms = 1000 * abs(lead[0] * of_markers.ratio - lead[1])
    if off_ms > settings.doubtful_ms:
        notes.append(
            f"{what}: from the start of the session to its first marker are {off_ms:.0f} ms more or less than on Ripple's clock"
        )
    own_s, ripple_s = (
        np.concatenate([[start], times])
        for start, times in ((own.start, of_markers.own_s), (ripple.start, of_markers.ripple_s))
    )
    return ClockMap(own_s, ripple_s, of_markers.ratio), notes


def _doubtful(
    own: _Events, ripple: _Events, clock: ClockMap, fields: Mapping[str, Any], settings: Aligning
) -> NDArray[np.bool_]:
    if clock.is_identity and "doubtfulTrials" in fields:
        # The lengths of these trials are Ripple's by now; what they were is kept here.
        return np.asarray(fields["doubtfulTrials"], np.bool_)
    doubtful = np.zeros(len(own.markers), np.bool_)
    for first, second in ((0, 1), (1, 2), (0, 2)):
        ours, theirs = (events.markers[:, second] - events.markers[:, first] for events in (own, ripple))
        # Written so that NaN, no time, is doubtful.
        doubtful |= ~(np.abs(ours * clock.ratio - theirs) <= settings.doubtful_ms / 1000)
    return doubtful


def _other_words(
    unity: Mapping[str, Any], rplparallel: Mapping[str, Any], kept: NDArray[np.int64]
) -> NDArray[np.bool_]:
    words = np.asarray(unity["unityData"][0])[np.asarray(unity["unityTriggers"][0]), 0]
    other: NDArray[np.bool_] = np.any(words != np.asarray(rplparallel["markers"])[kept], axis=1)
    return other


def _unity_on(clock: ClockMap, unity: Mapping[str, Any]) -> dict[str, Any]:
    if clock.is_identity:
        return dict(unity)
    time = clock(np.asarray(unity["unityTime"][0]))
    data = np.array(unity["unityData"][0])
    if len(data) != time.size - 1:
        raise FormatError(f"unity: unityTime has {time.size} times for {len(data)} frames, and should have one more")
    data[:, 1] = np.diff(time)
    return {
        **unity,
        "unityData": [data],
        "unityTime": [time],
        "unityTrialTime": [_trial_times(time, np.asarray(unity["unityTriggers"][0]))],
    }


def _trial_times(time: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds since cue off of each frame of the way, (frames + 1, T), the end of the last included; NaN behind it."""
    times = np.full((int(np.max(rows[:, 2] - rows[:, 1])) + 2, len(rows)), np.nan)
    for trial, (_, cue_off, end) in enumerate(rows.tolist()):
        way = time[cue_off + 1 : end + 2]
        times[: way.size, trial] = way - way[0]
    return times


def _eye_on(clock: ClockMap, eyelink: Mapping[str, Any]) -> dict[str, Any]:
    if clock.is_identity:
        return dict(eyelink)
    fixations = np.array(_values(eyelink["fix_times"]), np.float64)
    if fixations.size:
        fixations[:, :2] = clock(fixations[:, :2])
    aligned = {
        **eyelink,
        "timestamps": _with_values(eyelink["timestamps"], clock(_values(eyelink["timestamps"])), name=None),
        "fix_times": _with_values(eyelink["fix_times"], fixations),
    }
    if "triggerTime" in eyelink:
        aligned["triggerTime"] = np.float64(clock(np.atleast_1d(np.float64(eyelink["triggerTime"])))[0])
    return aligned


def _values(field: Any) -> NDArray[np.float64]:
    return np.asarray(field.values if isinstance(field, Table) else field, np.float64)


def _with_values(field: Any, values: NDArray[np.float64], **changes: Any) -> Any:
    return (
        Table(values, **{"columns": field.columns, "index": field.index, "name": field.name} | changes)
        if isinstance(field, Table)
        else values
    )

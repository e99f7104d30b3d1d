"""Eye data of simulated days without their files, and PyHipp's golden eye objects, for tests of the session stages."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from raypipe.config import Config
from raypipe.io.eye import EyeEvents, EyeRecording, Kind
from raypipe.io.tables import Table
from raypipe.simulate.behaviour import Walk, simulate_walk
from raypipe.simulate.clocks import Clocks, session_clocks
from raypipe.simulate.messages import navigation_messages
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.trials import TICKS_PER_SECOND, Navigation, plan_navigation
from raypipe.stages.edfsplit import SessionMarkers, navigation_objects

SETTINGS = Config().edfsplit
ARGUMENTS = msgspec.structs.asdict(SETTINGS)
DATA = Path(__file__).parent / "data"

Messages = list[tuple[float, str]]


@dataclass(frozen=True)
class Day:
    """The navigation sessions of a simulated day: what each program knows of them, and the truth."""

    recording: EyeRecording
    sessions: dict[str, SessionMarkers]
    navigations: dict[str, Navigation]
    clocks: dict[str, Clocks]
    settings: SimulateSettings

    def walk(self, session: str) -> Walk:
        return simulate_walk(self.settings, self.navigations[session], self.clocks[session])

    def ripple_seconds(self, session: str, eye_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        """The truth of the eye tracker's clock."""
        clocks = self.clocks[session]
        return (eye_ms - clocks.eye_offset_ms) / 1000 / (1 + clocks.eye_ppm * 1e-6)

    def messages(self) -> Messages:
        return list(zip(self.recording.message_ms.tolist(), self.recording.message_texts, strict=True))

    def with_messages(self, change: Callable[[Messages], Messages]) -> "Day":
        return replace(self, recording=said(self.recording, change(self.messages())))


def said(recording: EyeRecording, messages: Messages) -> EyeRecording:
    """The recording with other messages."""
    return replace(
        recording, message_ms=np.array([ms for ms, _ in messages]), message_texts=tuple(text for _, text in messages)
    )


def simulated(rate_hz: float = 1000, pauses: Sequence[tuple[float, float]] = (), **settings: Any) -> Day:
    """Make a day; `pauses` (from, to in s since the first sample) are not recorded."""
    chosen = SimulateSettings(**{"trials": 6, "seconds": 30.0} | settings)
    names, navigations, clocks = [], [], []
    messages: Messages = []
    for session in range(1, chosen.sessions + 1):
        navigation = plan_navigation(chosen, session)
        names.append(f"session{session:02d}")
        navigations.append(navigation)
        clocks.append(session_clocks(chosen, session, navigation.trigger_ticks))
        messages += [
            (float(ms), text) for ms, text in navigation_messages(navigation, clocks[-1], chosen.marker_format)
        ]
    first_ms = clocks[0].eye_offset_ms + 526
    n = round((clocks[-1].eye_ms(round(TICKS_PER_SECOND * chosen.seconds)) - first_ms) * rate_hz / 1000)
    ms = first_ms + np.arange(n) * (1000 / rate_hz)
    for low, high in pauses:
        ms = ms[(ms < first_ms + 1000 * low) | (ms >= first_ms + 1000 * high)]
    sessions = {
        name: SessionMarkers(
            np.array([trial.codes for trial in navigation.trials], np.uint16),
            np.array([trial.ticks for trial in navigation.trials]) / TICKS_PER_SECOND,
            chosen.marker_format,
            None if chosen.marker_format is None else navigation.trigger_ticks / TICKS_PER_SECOND,
        )
        for name, navigation in zip(names, navigations, strict=True)
    }
    return Day(
        said(recording_of(ms, rate_hz), messages),
        sessions,
        dict(zip(names, navigations, strict=True)),
        dict(zip(names, clocks, strict=True)),
        chosen,
    )


def recording_of(ms: NDArray[np.float64], rate_hz: float = 1000.0) -> EyeRecording:
    """Gaze that tells its own sample (x is its number modulo 1920), and fixations of 300 ms; the last on the last."""
    number = np.arange(ms.size)
    gaze = np.stack([number % 1920.0, 540.0 + number % 7])[None]
    end = ms[::-1][:: 400 * round(rate_hz) // 1000][::-1]
    fixations = EyeEvents(end - 300, end, np.zeros(end.size, np.bool_), np.full((end.size, 3), 500.0))
    saccades = EyeEvents(end[:-1] + 1, end[1:] - 301, np.zeros(end[1:].size, np.bool_), np.zeros((end[1:].size, 6)))
    blinks = EyeEvents(np.empty(0), np.empty(0), np.empty(0, np.bool_), np.empty((0, 0)))
    events: dict[Kind, EyeEvents] = {"fixation": fixations, "saccade": saccades, "blink": blinks}
    blocks = np.array([[0, ms.size]])
    return EyeRecording(
        Path("181105.asc"), "EyeLink text", rate_hz, ("left",), ms, gaze, blocks, events, np.empty(0), ()
    )


def objects(day: Day, *others: EyeRecording) -> dict[str, Any]:
    """What the stage makes of the day."""
    directories = {name: f"picasso/20181105/{name}" for name in day.sessions}
    return navigation_objects([day.recording, *others], day.sessions, SETTINGS, ARGUMENTS, directories)


def eyelink_of(day: Day, session: str = "session01") -> dict[str, Any]:
    """The fields of one session."""
    fields, _ = objects(day)[session]
    return dict(fields)


def rplparallel_of(day: Day, session: str = "session01") -> dict[str, Any]:
    """The fields of RPLParallel that the session stages use."""
    markers = day.sessions[session]
    words = markers.markers.ravel()
    started = markers.start_seconds is not None
    return {
        "markers": markers.markers,
        "timeStamps": markers.time_stamps,
        "rawMarkers": np.append(np.uint16(markers.start_word), words) if started else words,
        "sessionStartTime": np.float64(markers.start_seconds if started else markers.time_stamps[0, 0]),
    }


def unity_of(day: Day, session: str = "session01") -> dict[str, Any]:
    """The fields of Unity that aligning uses, with the times of a log of eight decimals."""
    walk = day.walk(session)
    dt = np.round(np.diff(walk.seconds, prepend=0.0), 8)
    columns = (walk.triggers, dt, walk.x, walk.z, walk.heading_deg, np.full(dt.size, np.nan), np.zeros(dt.size))
    return {
        "unityData": [np.column_stack(columns)],
        "unityTriggers": [walk.event_rows],
        "unityTime": [np.append(0.0, np.cumsum(dt))],
        "unityTrialTime": [np.zeros((1, 1))],
        "timeStamps": [day.sessions[session].time_stamps],
    }


# PyHipp's golden eye objects, as a committed extract: the samples, events and messages they were made of, and every
# field, of large tables the SHA-1.

GOLDEN_ARRAYS = np.load(DATA / "golden_eyelink.npz")
GOLDEN_FIELDS = json.loads((DATA / "golden_eyelink.json").read_text())


def golden_recording(which: str) -> EyeRecording:
    """The eye file (`navigation` or `calibration`) that PyHipp read."""
    first_ms = GOLDEN_FIELDS[which]["first_ms"]
    tenths = np.cumsum(GOLDEN_ARRAYS[f"{which}_gaze_steps"], axis=1, dtype=np.int16)
    gaze = np.where(tenths == -32768, np.nan, tenths / 10)[None]
    events: dict[Kind, EyeEvents] = {}
    for kind in ("fixation", "saccade"):
        start, end = (first_ms + GOLDEN_ARRAYS[f"{which}_{kind}"].astype(np.float64)).T
        events[kind] = EyeEvents(start, end, np.zeros(start.size, np.bool_), np.zeros((start.size, 3)))
    recording = replace(recording_of(first_ms + np.arange(float(gaze.shape[2]))), gaze_px=gaze, events=events)
    return said(recording, [(float(ms), text) for ms, text in GOLDEN_FIELDS[which]["messages"]])


def golden_sessions() -> dict[str, SessionMarkers]:
    """What Ripple knows of the golden session."""
    ripple = GOLDEN_FIELDS["ripple"]
    markers, times = np.array(ripple["markers"], np.uint16), np.array(ripple["timeStamps"])
    return {"session01": SessionMarkers(markers, times, 84, ripple["sessionStartTime"])}


def unlike_golden(fields: Mapping[str, Any], which: str) -> list[str]:
    """The names of PyHipp's fields that are not exactly PyHipp's."""
    return [name for name, theirs in GOLDEN_FIELDS[which]["fields"].items() if not _is(fields[name], theirs)]


def _is(ours: Any, theirs: Mapping[str, Any]) -> bool:
    if "plain" in theirs:
        return bool(ours == theirs["plain"] and type(ours) is type(theirs["plain"]))
    if "array" in theirs:
        return isinstance(ours, np.ndarray) and np.array_equal(ours, theirs["array"])
    table = theirs["table"]
    if not isinstance(ours, Table):
        return False
    columns = None if table["columns"] is None else tuple(table["columns"])
    values = np.ascontiguousarray(ours.values)
    first = 0 if ours.index is None else int(ours.index[0])
    consecutive = ours.index is None or np.array_equal(ours.index, first + np.arange(len(values)))
    return (
        (ours.columns, ours.name, values.dtype.str, list(values.shape), first, consecutive)
        == (columns, table["name"], table["dtype"], table["shape"], table.get("first_label", 0), True)
    ) and hashlib.sha1(values.tobytes()).hexdigest() == table["sha1"]

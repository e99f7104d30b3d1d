"""Which part of which eye file is which session's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.stages.eye_matching import LATE_MS, Match, find_places
from raypipe.stages.eye_trials import TrialMessages


@dataclass(frozen=True)
class SessionMarkers:
    """What Ripple knows of a session.

    `markers` uint16 and `time_stamps` float64 s are (T, 3); `start_word` (84, 204) and `start_seconds` are those of the
    word that started the session, if there is one.
    """

    markers: NDArray[np.uint16]
    time_stamps: NDArray[np.float64]
    start_word: int | None = None
    start_seconds: float | None = None


@dataclass(frozen=True)
class Part:
    """The part of a file that is one session's: [start_ms, stop_ms) of the tracker, and its own trigger or NaN."""

    start_ms: float
    stop_ms: float
    trigger_ms: float


@dataclass(frozen=True)
class Place:
    """Where a session was found."""

    session: str
    file: int
    match: Match


def find_sessions(messages: Sequence[TrialMessages], sessions: Mapping[str, SessionMarkers]) -> dict[str, Place]:
    """Settle where each session is: the surest first, the others where they leave room in the order of names."""
    wanted = [
        Place(name, file, match)
        for name, session in sessions.items()
        for file, said in enumerate(messages)
        for match in find_places(
            said.codes, said.ms, session.markers.ravel().astype(np.int64), 1000 * session.time_stamps.ravel()
        )
    ]
    places: dict[str, Place] = {}
    for place in sorted(wanted, key=lambda p: (-p.match.n_agreeing, p.session, p.match.spread_ms)):
        if place.session not in places and all(_in_order(place, other) for other in places.values()):
            places[place.session] = place
    return places


def cut_files(
    places: Mapping[str, Place], messages: Sequence[TrialMessages], sessions: Mapping[str, SessionMarkers]
) -> dict[str, Part]:
    """Cut the files where triggers are, and half-way between two sessions of which the second has none."""
    parts: dict[str, Part] = {}
    for file, said in enumerate(messages):
        inside = sorted((p for p in places.values() if p.file == file), key=lambda place: place.match.span_ms)
        starts = _starts(inside, said)
        cuts = np.sort(np.concatenate([said.trigger_ms, starts, [np.inf]]))
        for place, start_ms in zip(inside, starts, strict=True):
            first, last = place.match.span_ms
            trigger_ms = _trigger(place, said, start_ms, first, sessions[place.session].start_seconds)
            parts[place.session] = Part(start_ms, float(cuts[cuts > last][0]), trigger_ms)
    return parts


def _starts(places: Sequence[Place], messages: TrialMessages) -> list[float]:
    """Where the parts of one file begin; the first trigger of a file cuts nothing off, as in PyHipp."""
    starts: list[float] = []
    before = -np.inf
    for place in places:
        first, last = place.match.span_ms
        triggers = messages.trigger_ms[(messages.trigger_ms <= first) & (messages.trigger_ms > before)]
        if before == -np.inf:
            starts.append(float(triggers[-1]) if triggers.size > 1 else -np.inf)
        else:
            starts.append(float(triggers[-1]) if triggers.size else (before + first) / 2)
        before = last
    return starts


def _trigger(place: Place, messages: TrialMessages, start_ms: float, first_ms: float, started_s: float | None) -> float:
    """Tell when the session's own trigger came: the last before its trials, where Ripple's is if Ripple has one."""
    triggers = messages.trigger_ms[(messages.trigger_ms >= start_ms) & (messages.trigger_ms <= first_ms)]
    if triggers.size and started_s is not None:
        offset_ms, rate = place.match.clock
        triggers = triggers[np.abs(triggers - (offset_ms + 1000 * rate * started_s)) <= LATE_MS]
    return float(triggers[-1]) if triggers.size else np.nan


def _in_order(one: Place, other: Place) -> bool:
    if one.file != other.file:
        return True
    first, second = sorted((one, other), key=lambda place: place.session)
    return first.match.span_ms[1] < second.match.span_ms[0]

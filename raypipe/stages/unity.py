"""Unity: the animal's walk through the maze, its trials and how well it found its way."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import Unity
from raypipe.errors import FormatError
from raypipe.io.objects import base_fields
from raypipe.io.unity_log import UnityLog
from raypipe.stages.maze import CORRIDOR, POSTERS, nearest_junction, poster_junction, walking_distances
from raypipe.stages.unity_trials import same_trials

FOUND, TIMED_OUT = 30, 40
LOITERING_FRAMES = 165
"""Who stays longer where he turns back has not just taken a wrong turning."""


def unity_object(
    log: UnityLog,
    time_stamps: NDArray[np.float64],
    markers: NDArray[np.uint16],
    settings: Unity,
    arguments: dict[str, Any],
    directory: str,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the object of a session: its fields in PyHipp's order, and notes on what was left out.

    `time_stamps` (T, 3) s and `markers` (T, 3) are the recorder's trials. Only trials that both have are kept (see
    `unity_trials`), so `timeStamps` is the recorder's without those that Unity lacks: trial k is trial k in every field.
    All but `numSets` are lists of one value, that of this session. With N frames and T trials:

    - `unityData` float64 (N, 7): the log, and direction (deg, north 0, clockwise; NaN at rest) and length of each step
    - `unityTriggers` int64 (T, 3): rows of cue on, cue off, end
    - `unityTime` float64 (N + 1,) s: starts with 0, so row r is at `unityTime[r + 1]`
    - `unityTrialTime` float64 (longest + 2, T) s since cue off, NaN behind the end of a trial
    - `sumCost` float64 (T, 6): see `_cost`; `trialRouteRatio` (T,): its way over the shortest one
    - `timePerformance`, `routePerformance`: share of trials in time, and of those by the shortest way
    - `durationDiff` float64 (T,) ms: length of the trials in Unity less that in the recorder

    Raises FormatError if there is no complete trial, the trials are not those of the recorder, or a poster is unknown.
    """
    if markers.ndim != 2 or markers.shape[1] != 3 or time_stamps.shape != markers.shape:
        raise FormatError(
            f"{directory}: the recorder's markers are not trials of three words, but {markers.shape}",
            hint="Unity's trials are cue on, cue off and end; is this a navigation session?",
        )
    data = np.column_stack([log.frames, *_steps(log.frames[:, 2:4])])
    times = np.append(0.0, np.cumsum(data[:, 1]))
    trials = same_trials(data[:, 0], times[1:], markers, time_stamps, settings, directory)
    rows, theirs = trials.rows, time_stamps[trials.theirs]
    _check_posters(data[rows[:, 2], 0], directory)
    ways = walking_distances()
    cost = np.array([_cost(data[end, 0], data[cue_off : end + 1, 2:4], ways) for cue_off, end in rows[:, 1:].tolist()])
    with np.errstate(divide="ignore", invalid="ignore"):  # who starts at the poster has no shortest way
        ratio = cost[:, 1] / cost[:, 0]
    in_time = np.count_nonzero(cost[:, 4] == FOUND) / len(rows)
    shortest = np.count_nonzero(cost[:, 5] == 1) / len(rows)
    lengths = times[rows[:, 2] + 1] - times[rows[:, 0] + 1]
    fields = {
        **base_fields(arguments, directory, "session", setidx=[0] * len(rows)),
        "numSets": log.n_files,
        "sumCost": [cost],
        "unityData": [data],
        "unityTriggers": [rows],
        "unityTrialTime": [_trial_times(data[:, 1], rows)],
        "unityTime": [times],
        "timePerformance": [in_time],
        "routePerformance": [shortest],
        "trialRouteRatio": [ratio],
        "durationDiff": [(lengths - (theirs[:, 2] - theirs[:, 0])) * 1000],
        "timeStamps": [theirs],
    }
    return fields, (*log.notes, *trials.notes)


def _steps(positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give direction (deg, north 0, clockwise, NaN where there is none) and length of the step to each of (N, 2)."""
    east, north = np.diff(positions, axis=0).T
    lengths = np.append(0.0, np.sqrt(east**2 + north**2))
    from_east = np.degrees(np.arctan2(north, east))
    from_east[from_east < 0] += 360
    from_north = from_east - 90
    from_north[from_north < 0] += 360
    clockwise = 360 - from_north
    clockwise[clockwise == 360] = 0
    return np.where(lengths == 0, np.nan, np.append(0.0, clockwise)), lengths


def _trial_times(seconds: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the time of every frame since cue off, a column a trial: 0, then the sums of `seconds` up to the end."""
    times = np.full((int((rows[:, 2] - rows[:, 1]).max()) + 2, len(rows)), np.nan)
    for trial, (cue_off, end) in enumerate(rows[:, 1:].tolist()):
        times[0, trial] = 0
        times[1 : end - cue_off + 1, trial] = np.cumsum(seconds[cue_off + 1 : end + 1])
    return times


def _cost(word: float, positions: NDArray[np.float64], ways: NDArray[np.float64]) -> list[float]:
    """Compare a trial's way, `positions` (frames, 2) from cue off to the end, with the shortest one.

    `word` is the trigger of its end, `ways` the `walking_distances`.

    Gives: length of the shortest way from where the animal was at cue off to its poster, that of its own, their
    difference (m, from junction to junction), poster, 30 or 40 (found or timed out), and 1 if it took a shortest way.
    """
    poster = word % 10
    visited = nearest_junction(positions)
    changes = np.append(True, np.diff(visited) != 0)
    route = visited[changes]
    shortest = ways[poster_junction(int(poster)), visited[0]]
    own = CORRIDOR * (len(route) - 1)
    by_shortest = own <= shortest or _turned_back(route, visited)
    kind = word - poster
    return [shortest, own, own - shortest, poster, kind, float(by_shortest and kind == FOUND)]


def _turned_back(route: NDArray[np.int64], visited: NDArray[np.int64]) -> bool:
    """Tell whether a detour is a wrong turning, soon mended: out and back again without lingering.

    Steps count as opposite if their junctions' numbers say so, and of a lingering only those turns that come before it
    are forgiven (as in PyHipp).
    """
    steps = np.diff(route)
    for turn in np.flatnonzero(steps[:-1] == -steps[1:]):
        return bool(np.count_nonzero(visited == route[turn + 1]) <= LOITERING_FRAMES)
    return False


def _check_posters(words: NDArray[np.float64], directory: str) -> None:
    unknown = words[(words % 10 < 1) | (words % 10 > len(POSTERS))]
    if unknown.size:
        raise FormatError(
            f"{directory}: Unity's trigger {unknown[0]:.0f} is of no poster: the maze has 1 to {len(POSTERS)}",
            hint="is this a session in the double-T maze?",
        )

"""Umaze: where in the maze the animal was, when, and for how long, on a grid of bins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.objects import base_fields
from raypipe.io.tables import Table

EDGE_DECIMALS = 6
"""A position that rounds to the last edge lies in the last bin, not beyond it."""


@dataclass(frozen=True)
class _Walk:
    """What is taken from Unity: the log (N, 7), rows of cue on, cue off, end (T, 3), and times of all rows (N + 1,)."""

    data: NDArray[np.float64]
    triggers: NDArray[np.int64]
    times: NDArray[np.float64]


def umaze_object(
    unity: Mapping[str, Any], arguments: dict[str, Any], directory: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the object of a session from its aligned Unity object: fields in PyHipp's order, and notes.

    `arguments` are GridSteps (n), OverallGridSize (m) and MinObs. Bins count from 1 in the south-west, rows of n to
    the east; 0 is no bin. All times are those of `unityTime`, so of Ripple's clock. Doubtful trials count as any other.

    - `gridPosition` int64 (N,): bin of every frame; 0 before and between trials (after the last one they are kept)
    - `gpDurations` float64 (n², T) s: how long each bin was occupied, a frame lasting until the next one
    - `sessionTime` float64 (S, 3): time s, bin entered, time until the next row s; (0, 0) first, bin 0 at every end
    - `sortedGPindices` int64 (S,): its rows by bin, then time; `sortedGPindinfo` float64 (G, 4): of every bin visited,
      bin, first and last place among the sorted rows, and their difference; `gp2ind` int64 (G,): the bins
    - `sGPi_minobs` (places in sortedGPindinfo,), `sTPu` float64 (n,) and `nsTPu`: bins with at least MinObs visits;
      `ou_i`, `P_i` float64 (n, 1): time spent in them (s), and its share
    - `processTrials` (trials by the shortest way,); `matrix`: seconds in every bin, north up; edges, sizes and the
      fields of Unity

    Raises FormatError if `unity` is no Unity object, its fields do not fit together, or a time is not finite.
    """
    walk, cost = _walk(unity, directory)
    steps, side = int(arguments["GridSteps"]), arguments["OverallGridSize"]
    edges = np.linspace(-side / 2, side / 2, steps + 1)
    bins = _bins(walk.data[:, 2:4], edges)
    visits = _visits(walk, bins)
    trials = [np.arange(cue_off + 1, end + 1) for cue_off, end in walk.triggers[:, 1:].tolist()]
    outside = sum(int(np.count_nonzero(bins[rows] == 0)) for rows in trials)
    order = np.argsort(visits[:, 1], kind="stable")
    info = _visited(visits[order, 1])
    often = np.flatnonzero(info[:, 3] > arguments["MinObs"] - 2)
    lasted = visits[order, 2]
    occupied = np.array([[lasted[first : last + 1].sum()] for first, last in info[often, 1:3].astype(np.int64)])
    occupied = occupied.reshape(-1, 1)
    fields = {
        **base_fields(arguments, directory, "session"),
        "GridSteps": arguments["GridSteps"],
        "OverallGridSize": side,
        "oGS2": side / 2,
        "gridSize": side / steps,
        "horGridBound": edges,
        "vertGridBound": edges.copy(),
        "gpEdges": np.arange(steps**2 + 1),
        "gridPosition": _without_pauses(bins, walk.triggers),
        "gpDurations": _durations(walk.data[:, 1], bins, trials, steps**2),
        "setIndex": np.array([[0], [len(trials)]]),
        "processTrials": np.where(cost[:, 5] == 1),
        "sessionTime": visits,
        "sortedGPindices": order,
        "sortedGPindinfo": info,
        "sGPi_minobs": (often,),
        "sTPu": info[often, 0],
        "nsTPu": len(often),
        "ou_i": occupied,
        "P_i": occupied / (occupied.sum() or 1),
        "gp2ind": np.flatnonzero(np.isin(np.arange(steps**2), info[:, 0])),
        "unityTriggers": unity["unityTriggers"],
        "unityTrialTime": unity["unityTrialTime"],
        "unityData": walk.data,
        "unityTime": walk.times,
        "matrix": _matrix(visits, steps),
    }
    notes = [f"{outside} frames of trials lie outside the {side} x {side} m of the grid"] if outside else []
    return fields, tuple(notes)


def _walk(unity: Mapping[str, Any], directory: str) -> tuple[_Walk, NDArray[np.float64]]:
    try:
        names = ("unityData", "unityTriggers", "unityTime", "sumCost")
        *fields, cost = (np.asarray(unity[name][0]) for name in names)
        walk = _Walk(*fields)
    except (KeyError, IndexError, TypeError) as error:
        raise FormatError(
            f"{directory}: what should be a Unity object lacks a field of one: {error!r}",
            hint="remove its file, and the next run makes it again",
        ) from error
    shapes = walk.data.shape, walk.triggers.shape, walk.times.shape, cost.shape
    if not _fit_together(walk, cost):
        raise FormatError(
            f"{directory}: the Unity object's unityData, unityTriggers, unityTime and sumCost are {shapes}, and not frames"
            " (N, 7), rows of them (trials, 3), times (N + 1) and (trials, 6)",
            hint="remove its file, and the next run makes it again",
        )
    if not np.isfinite(walk.times).all():
        raise FormatError(
            f"{directory}: times of Unity's frames are not finite", hint="remove the Unity object's file and run again"
        )
    return walk, cost


def _fit_together(walk: _Walk, cost: NDArray[np.float64]) -> bool:
    if (walk.data.ndim, walk.triggers.ndim, walk.times.ndim, cost.ndim) != (2, 2, 1, 2):
        return False
    (n, columns), (trials, words) = walk.data.shape, walk.triggers.shape
    if columns < 5 or words != 3 or not trials or walk.times.shape != (n + 1,) or cost.shape != (trials, 6):
        return False
    return bool(walk.triggers.min() >= 0 and walk.triggers.max() < n and np.all(np.diff(walk.triggers[:, 1:]) > 0))


def _bins(positions: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the bin of every position (N, 2), 0 outside."""
    steps = len(edges) - 1
    east_north = np.searchsorted(edges, positions, side="right")
    on_edge = np.round(positions, EDGE_DECIMALS) == np.round(edges[-1], EDGE_DECIMALS)
    east_north[on_edge] = steps
    inside = ((east_north >= 1) & (east_north <= steps)).all(axis=1)
    return np.where(inside, east_north[:, 0] + (east_north[:, 1] - 1) * steps, 0)


def _without_pauses(bins: NDArray[np.int64], triggers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put the frames before every trial's cue off, back to the end of the one before it, into no bin."""
    kept = bins.copy()
    pause = 0
    for cue_off, end in triggers[:, 1:].tolist():
        kept[pause : cue_off + 1] = 0
        pause = end + 1
    return kept


def _visits(walk: _Walk, bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """List when which bin was entered, (S, 3): time, bin, seconds until the next row (0 in the last).

    A frame is at `times[row + 1]`; the bin of a trial's first frame counts from cue off, one frame earlier. A trial that
    takes no time (PyHipp's aligning did that to doubtful ones) is one visit of no bin.
    """
    parts = [np.zeros((1, 2))]
    for cue_off, end in walk.triggers[:, 1:].tolist():
        here = bins[cue_off + 1 : end + 1]
        entered = np.append(True, np.diff(here) != 0)
        at = walk.times[cue_off + 2 : end + 2].copy()
        at[0] = walk.times[cue_off + 1]
        if walk.data[cue_off + 1 : end, 1].sum() == 0:
            entered[1:] = False
            here = np.zeros_like(here)
        parts += [np.column_stack([at, here])[entered], np.array([[walk.times[end + 1], 0.0]])]
    rows = np.concatenate(parts)
    return np.column_stack([rows, np.append(np.diff(rows[:, 0]), 0)])


def _durations(
    seconds: NDArray[np.float64], bins: NDArray[np.int64], trials: list[NDArray[np.int64]], n_bins: int
) -> NDArray[np.float64]:
    """Sum for every bin and trial, (n_bins, T), the time from each of its frames to the next one.

    `seconds` (N,) are since the frame before; what comes after the log's last frame is nothing.
    """
    until_next = np.append(seconds[1:], 0)
    columns = [np.bincount(bins[rows], until_next[rows], n_bins + 1)[1:] for rows in trials]
    return np.column_stack(columns)


def _visited(bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the runs of equal bins in (S,) sorted ones, but for bin 0: bin, first place, last place, difference."""
    first = np.flatnonzero(np.append(True, np.diff(bins) != 0))
    last = np.append(first[1:], len(bins)) - 1
    info = np.column_stack([bins[first], first, last, last - first]).astype(np.float64)
    return info[info[:, 0] > 0]


def _matrix(visits: NDArray[np.float64], steps: int) -> Table:
    """Sum the seconds in every bin, a table with a row for each row of bins, the northernmost first."""
    total = np.bincount(visits[:, 1].astype(np.int64), visits[:, 2], steps**2 + 1)[1:]
    return Table(total.reshape(steps, steps)[::-1].copy(), columns=tuple(range(steps)))

"""Joins clusters of one unit that lie apart only because its spikes were aligned on different samples.

At detect_sign 0 a unit with a trough and a peak of about the same size is found at either; noise moves the largest sample
of a blunt spike by one or two. Whether two clusters are one is asked again, with the test by which ISO-SPLIT told them
apart, after the spikes of both have been put on one template. Units that differ by more than where they were cut stay two.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.isosplit import separation
from raypipe.config import SortSettings
from raypipe.stages.sorting.alignment import aligned
from raypipe.stages.sorting.drift import course
from raypipe.stages.sorting.events import evenly, middle
from raypipe.stages.sorting.features import components
from raypipe.stages.sorting.sizes import CLIP

BEFORE, AFTER = 20, 30
"""Samples around an event that are compared."""
MOST_CLIPS = 1000


@dataclass(frozen=True)
class Joined:
    """For each cluster before (K,): its label now (0 to `count` - 1), and samples to add to its events' times."""

    labels: NDArray[np.int64]
    shifts: NDArray[np.int64]
    count: int


@dataclass
class _Group:
    members: list[int]
    clips: NDArray[np.float32]  # some, aligned on the group's event
    when: NDArray[np.int64]  # which of all clips they were, in order of time
    size: int

    def template(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self.clips.mean(axis=0, dtype=np.float64)
        return mean


def joined(clips: NDArray[np.float32], labels: NDArray[np.int64], count: int, settings: SortSettings) -> Joined:
    """Decide which of the `count` clusters of clips (n, CLIP) are one."""
    shifts = np.zeros(count, np.int64)
    if not settings.merge:
        return Joined(np.arange(count), shifts, count)
    groups = [_group(clips, np.flatnonzero(labels == k), k) for k in range(count)]
    near = _near(groups, range(count), settings)
    while near:
        # The most similar two first; of equal ones those that came first.
        first, second = max(near, key=lambda pair: (near[pair][0], -pair[0], -pair[1]))
        _, shift = near.pop((first, second))
        if np.abs(groups[first].template()).max() < np.abs(groups[second].template()).max():
            first, second = second, first
        large, small = groups[first], groups[second]
        if _are_one(large, small, shift, settings):
            shifts[small.members] += shift
            share = min(1.0, MOST_CLIPS / (large.size + small.size))
            some = [evenly(len(each.clips), max(1, int(share * each.size))) for each in (large, small)]
            both = np.concatenate([large.clips[some[0]], np.roll(small.clips[some[1]], -shift, axis=1)])
            when = np.concatenate([large.when[some[0]], small.when[some[1]]])
            groups[first] = _Group(large.members + small.members, both, when, large.size + small.size)
            groups[second] = _Group([], small.clips[:0], small.when[:0], 0)
            near = {pair: how for pair, how in near.items() if not {first, second} & set(pair)}
            near |= _near(groups, [first], settings)
    now = np.zeros(count, np.int64)
    left = [group for group in groups if group.members]
    for label, group in enumerate(left):
        now[group.members] = label
    return Joined(now, shifts, len(left))


def _group(clips: NDArray[np.float32], rows: NDArray[np.int64], label: int) -> _Group:
    some = rows[evenly(len(rows), MOST_CLIPS)]
    return _Group([label], clips[some], some, len(rows))


def _near(
    groups: list[_Group], changed: Iterable[int], settings: SortSettings
) -> dict[tuple[int, int], tuple[float, int]]:
    """Find the pairs with one of `changed` that are similar enough: how much, and the shift added to the lower one."""
    templates = {k: group.template() for k, group in enumerate(groups) if group.members}
    near = {}
    for one in changed:
        for other in templates:
            pair = (min(one, other), max(one, other))
            if one == other or pair in near:
                continue
            tall, low = pair
            if np.abs(templates[tall]).max() < np.abs(templates[low]).max():
                tall, low = low, tall
            similarity, shift = _similarity(templates[tall], templates[low], settings.merge_shift)
            if similarity > settings.merge_similarity:
                near[pair] = (similarity, shift)
    return near


def _similarity(tall: NDArray[np.float64], low: NDArray[np.float64], most: int) -> tuple[float, int]:
    at = middle(CLIP)
    here = tall[at - BEFORE : at + AFTER]
    shifts = range(-most, most + 1)
    there = np.stack([low[at - BEFORE + s : at + AFTER + s] for s in shifts])
    norms = np.sqrt((here**2).sum() * (there**2).sum(axis=1))
    cosines = (there * here).sum(axis=1) / np.where(norms > 0, norms, 1)
    best = int(cosines.argmax())
    return float(cosines[best]), best - most


def _are_one(large: _Group, small: _Group, shift: int, settings: SortSettings) -> bool:
    if min(len(large.clips), len(small.clips)) < settings.min_cluster_size:
        return False
    at = middle(CLIP)
    common = large.template()[at - BEFORE : at + AFTER]
    first, second = aligned(large.clips, at, common, BEFORE), aligned(small.clips, at + shift, common, BEFORE)
    found = components(np.concatenate([first, second]), settings.num_features, 2 * MOST_CLIPS)
    here, there = found.features(first), found.features(second)
    if not _look_one(here, there, settings):
        return False
    steady = _without_drift(here, large.when, there, small.when) if settings.look_again else None
    return steady is None or _look_one(*steady, settings)


def _look_one(first: NDArray[np.float64], second: NDArray[np.float64], settings: SortSettings) -> bool:
    out = np.empty(2)
    separation(first, second, out)
    return bool(out[0] < settings.isocut_threshold and out[1] < settings.merge_distance)


def _without_drift(
    first: NDArray[np.float64],
    when_first: NDArray[np.int64],
    second: NDArray[np.float64],
    when_second: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Take out of features of two clusters the drift that both share; None if there is none.

    Also None where the two fire at different times: what drift lies between them cannot be told from a difference.
    """
    spread = np.sqrt((when_first.var() + when_second.var()) / 2)
    if abs(when_first.mean() - when_second.mean()) > spread:
        return None
    order = np.argsort(np.concatenate([when_first, when_second]), kind="stable")
    moves = course(np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])[order])
    if moves is None:
        return None
    back = np.empty_like(moves)
    back[order] = moves
    return first - back[: len(first)], second - back[len(first) :]

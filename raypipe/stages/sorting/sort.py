"""Sorts the spikes of one channel: from its high-pass to events with labels, templates and metrics."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import SortSettings
from raypipe.stages.sorting import events
from raypipe.stages.sorting.clusters import Classifier, clustered
from raypipe.stages.sorting.matching import bank, compounds, matched
from raypipe.stages.sorting.merging import Joined, joined
from raypipe.stages.sorting.metrics import Noise, cluster_metrics, noise_likeness
from raypipe.stages.sorting.series import Prepared, Series, prepared
from raypipe.stages.sorting.sizes import CLIP, MEASURED

NOISE_CLIPS = 2000
NEAR_EVENT = 60
"""Samples from an event within which nothing counts as noise."""
OVERLAP = 45
"""Samples between spikes that are not to disturb one another's features."""
SAME_EVENT = 6
"""Samples between the two places at which detection and matching see a spike."""

BANK_CLIPS = 2000
"""Clips that tell a unit's template."""
_FAR = 2**40
_NO_EVENTS = (np.empty(0, np.int64), np.empty(0, np.int32))


@dataclass(frozen=True)
class Sorting:
    """What was found in a channel's series of `n_samples`.

    - `firings` float64 (3, E): channel (always 1), sample (the first of the series is 0, as MountainSort 4 counts), label
      1 to K; rising in time. Labels go from the tallest template to the lowest.
    - `templates` float32 (1, templates_clip_size, K) in uV, and `spread` of the clips around them (standard deviation).
      The event is at sample (templates_clip_size + 1) // 2 - 1, as in MountainLab.
    - `heights` float32 (E,): the sample at each event, in uV
    - `metrics`: {"clusters": [{"label": 1, "metrics": {...}}, ...]}, as in MountainLab's metrics.json
    - `noise_uv`: the unit of detect_threshold; `notes`: what a person should know
    """

    firings: NDArray[np.float64]
    templates: NDArray[np.float32]
    spread: NDArray[np.float32]
    heights: NDArray[np.float32]
    metrics: dict[str, Any]
    noise_uv: float
    n_samples: int
    notes: tuple[str, ...] = ()


def sort_channel(series: Series, settings: SortSettings) -> Sorting:
    """Sort a series in uV, reading it a few times from beginning to end in blocks.

    Method: that of MountainSort 4 (Chung et al. 2017) for one channel, then joining of clusters that are one unit when
    aligned (`merge`), and matching of the units' templates (`match`). The same series gives the same result on any
    number of cores. A series without signal or events gives a sorting without events.
    """
    if settings.sorter == "mountainsort5":
        from raypipe.stages.sorting.mountainsort5 import sort_channel as sort_by_mountainsort5

        return sort_by_mountainsort5(series, settings)
    ready = prepared(series, settings)
    if ready.noise_uv == 0:
        return finished(ready, *_NO_EVENTS, 0, settings)
    times, labels, count, notes = _sorted(ready, settings)
    return finished(ready, times, labels, count, settings, notes)


def _sorted(
    ready: Prepared, settings: SortSettings
) -> tuple[NDArray[np.int64], NDArray[np.int32], int, tuple[str, ...]]:
    """Find events and their labels (0 to the third result - 1), in order; and notes. Little else lives on after it."""
    found, threshold = events.detected(ready, settings)
    notes = []
    if threshold > settings.detect_threshold:
        notes.append(
            f"more than {settings.max_events_hz:g} events per second: only those above {threshold:.1f} times the noise"
        )
    chosen = events.evenly(len(found), settings.max_clustered)
    clips = events.clips(ready, found[chosen], CLIP)
    labels, count = clustered(_core(clips, settings), settings)
    units = joined(clips, labels, count, settings)
    all_labels = labels if len(chosen) == len(found) else _classified(ready, found, clips, labels, count, settings)
    every: NDArray[np.int32] = all_labels.astype(np.int32)
    del all_labels
    apart = _noise_clips(ready, found, NOISE_CLIPS) if settings.match and units.count else None
    for part in events.parts(len(found)):
        found[part] += units.shifts[every[part]]
        every[part] = units.labels[every[part]]
    found, every = events.in_order(found, every)
    if apart is not None:
        matches = _matched(ready, (found, every), (clips, labels), units, Noise.of(apart), settings)
        if matches is None:
            notes.append("templates match more events than are sorted at most: events are as they were detected")
        else:
            found, every = matches
    inside = slice(*np.searchsorted(found, (0, ready.series.n_samples)).tolist())
    return found[inside], every[inside], units.count, tuple(notes)


def finished(
    ready: Prepared,
    times: NDArray[np.int64],
    labels: NDArray[np.int32],
    count: int,
    settings: SortSettings,
    notes: tuple[str, ...] = (),
) -> Sorting:
    """Put together the sorting of events (E,) in order, with labels 0 to count - 1, of which some may be empty."""
    length = settings.templates_clip_size
    sizes = np.bincount(labels, minlength=count)[:, None]
    totals, squares = np.zeros((count, length)), np.zeros((count, length))
    if len(times):
        totals, squares = events.sums(ready, times, labels, count, length)
    means = totals / np.maximum(sizes, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(sizes, 1) - means**2, 0))
    ranking = np.argsort(-np.where(sizes[:, 0] > 0, np.abs(means).max(axis=1, initial=0), -1), kind="stable")
    ranking = ranking[sizes[ranking, 0] > 0]
    place = np.zeros(count, np.int32)
    place[ranking] = np.arange(len(ranking))
    means, spread = means[ranking], spread[ranking]
    for part in events.parts(len(times)):
        labels[part] = place[labels[part]]
    metrics = _metrics(ready, times, labels, means, settings)
    heights = events.values_at(ready, times) if len(times) else np.empty(0, np.float32)
    heights *= np.float32(ready.noise_uv)
    firings = np.ones((3, len(times)))
    firings[1] = times
    firings[2] = labels
    firings[2] += 1
    return Sorting(
        firings=firings,
        templates=(means.T[None] * ready.noise_uv).astype(np.float32),
        spread=(spread.T[None] * ready.noise_uv).astype(np.float32),
        heights=heights,
        metrics={"clusters": metrics},
        noise_uv=ready.noise_uv,
        n_samples=ready.series.n_samples,
        notes=_notes(ready) + notes,
    )


def _metrics(
    ready: Prepared,
    times: NDArray[np.int64],
    labels: NDArray[np.int32],
    templates: NDArray[np.float64],
    settings: SortSettings,
) -> list[dict[str, Any]]:
    if not len(templates):
        return []
    mine = [times[labels == k] for k in range(len(templates))]
    most = max(1, min(settings.metrics_clips, MEASURED // len(templates)))
    some = [each[events.evenly(len(each), most)] for each in mine]
    order = np.argsort(np.concatenate(some), kind="stable")
    cut = events.clips(ready, np.concatenate(some)[order], CLIP)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    places = np.split(back, np.cumsum([len(each) for each in some])[:-1])
    noise = Noise.of(_noise_clips(ready, times, NOISE_CLIPS))
    return cluster_metrics(mine, [cut[rows] for rows in places], templates, noise, ready.series.n_samples, settings)


def _notes(ready: Prepared) -> tuple[str, ...]:
    notes = []
    if ready.noise_uv == 0:
        notes.append("there is no signal")
    if ready.masked.any():
        notes.append(f"{int(ready.masked.sum())} of {len(ready.masked)} stretches masked as artefacts")
    if ready.not_finite:
        notes.append(f"{ready.not_finite} samples are not finite, and were taken as 0")
    return tuple(notes)


def _core(clips: NDArray[np.float32], settings: SortSettings) -> NDArray[np.float32]:
    start = events.middle(CLIP) - events.middle(settings.clip_size)
    return np.ascontiguousarray(clips[:, start : start + settings.clip_size])


def _classified(
    ready: Prepared,
    times: NDArray[np.int64],
    clips: NDArray[np.float32],
    labels: NDArray[np.int64],
    count: int,
    settings: SortSettings,
) -> NDArray[np.int64]:
    """Label all events, though only some were clustered."""
    classify = Classifier(_core(clips, settings), labels, count, settings)
    every = np.empty(len(times), np.int64)
    for first, last, cut in events.clips_in_parts(ready, times, settings.clip_size):
        every[first:last] = classify(cut)
    return every


def _noise_clips(ready: Prepared, times: NDArray[np.int64], most: int) -> NDArray[np.float32]:
    """Cut clips (m, CLIP) evenly from where there is no event and no artefact; from anywhere, if there are few such."""
    n = ready.series.n_samples
    places = events.evenly(n, 4 * most)
    quiet = ready.masked[places // ready.chunk] == 0
    quiet &= _nearest(times, places)[1] > NEAR_EVENT
    if quiet.sum() >= min(most, len(places)) // 4:
        places = places[quiet]
    return events.clips(ready, places[events.evenly(len(places), most)], CLIP)


def _matched(
    ready: Prepared,
    detected: tuple[NDArray[np.int64], NDArray[np.int32]],
    clustered: tuple[NDArray[np.float32], NDArray[np.int64]],
    units: Joined,
    noise: Noise,
    settings: SortSettings,
) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
    """Replace the events of clusters that are no noise by what matches their templates; those of noise stay, elsewhere.

    `detected` are times of events and labels, in order, as is the result; `clustered` are clips and their clusters.
    None if more events match than may be.
    """
    found, named = detected
    clips, labels = clustered
    groups, real = [], []
    for unit in range(units.count):
        rows = np.flatnonzero(units.labels[labels] == unit)
        some = rows[events.evenly(len(rows), settings.metrics_clips)]
        if not noise_likeness(clips[some], noise, settings).is_noise:
            real.append(unit)
            some = rows[events.evenly(len(rows), BANK_CLIPS)]
            groups.append((clips[some], units.shifts[labels[some]]))
    if not real:
        return detected
    sizes = np.bincount(named, minlength=units.count)
    templates = bank(groups, noise.clips, settings)
    single = ~compounds(groups, sizes[real], templates, ready.series.n_samples, settings)
    of_unit = np.zeros(units.count, np.bool_)
    of_unit[np.array(real)[single]] = True
    is_noise = np.ones(units.count, np.bool_)
    is_noise[real] = False
    matches = matched(ready, templates.some(np.flatnonzero(single)), settings)
    if matches is None:
        return None
    times, which = matches
    stays = np.zeros(len(found), np.bool_)
    for part in events.parts(len(times)):
        which[part] = np.flatnonzero(of_unit)[which[part]]
        # Features tell similar units apart better than templates, of which a spike may be a multiple: where a spike was
        # detected, and nothing overlaps it, its cluster says of which unit it is.
        here = times[part]
        near, gap = _nearest(found, here)
        clear = (_pause(times, part) > OVERLAP) & (gap <= SAME_EVENT) & of_unit[named[near]]
        which[part] = np.where(clear, named[near], which[part])
    for part in events.parts(len(found)):
        _, gap = _nearest(times, found[part])
        stays[part] = is_noise[named[part]] & (gap > settings.detect_interval)
    return events.in_order(np.concatenate([times, found[stays]]), np.concatenate([which, named[stays]]))


def _pause(times: NDArray[np.int64], part: slice) -> NDArray[np.int64]:
    """Tell for a part of rising times how far the nearest other one is."""
    wide = times[max(0, part.start - 1) : part.stop + 1]
    gaps = np.concatenate([[_FAR], np.diff(wide), [_FAR]])
    either: NDArray[np.int64] = np.minimum(gaps[1:], gaps[:-1])
    first = min(part.start, 1)
    return either[first : first + part.stop - part.start]


def _nearest(places: NDArray[np.int64], times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `times` (E,), give the nearest of rising `places` and how far it is."""
    if not len(places):
        return np.zeros(len(times), np.int64), np.full(len(times), _FAR)
    after = np.minimum(np.searchsorted(places, times), len(places) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(np.abs(places[after] - times) < np.abs(places[before] - times), after, before)
    return nearest, np.abs(places[nearest] - times)

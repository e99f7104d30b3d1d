"""Finds the spikes of known units anew: by their templates, and those that overlap.

A spike of which the peak was lost in noise still agrees with its unit's template over all its samples, and of two spikes
within detect_interval detection sees one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.match import match
from raypipe.config import SortSettings
from raypipe.stages.sorting.alignment import JITTER, aligned
from raypipe.stages.sorting.events import evenly, in_order, middle
from raypipe.stages.sorting.memory import most_events
from raypipe.stages.sorting.series import Prepared
from raypipe.stages.sorting.sizes import BLOCK, CLIP

BEFORE, LENGTH = 25, 70
"""Samples of a template before its peak, and in all."""
REACH = 20
"""Samples between the peak of a spike and one that is beyond match_limit."""
HALO = 2 * (LENGTH + REACH)
SCALES = (0.5, 0.8, 1.25, 2.0)
"""Least and largest scale of a spike: no unit's range is wider than the outer or narrower than the inner two."""
MOST_CERTAINTY = 0.9
"""Where there is no quiet noise to learn from: no more than this share of the template's own energy is asked for."""
COMPOUND_CLIPS, COMPOUND_REST, COMPOUND_SHARE = 100, (2.0, 0.05), 0.6
"""Clips looked at; mean square of what may be left of one, in units of the noise's and as a share of the clip's own; share
of clips of which it is so."""
CHANCE, LEAST_CHANCE = 4, 20
"""Two units may fire together so many times as often as they would by chance, and so often anyway."""


@dataclass(frozen=True)
class Bank:
    """Templates of units in units of the noise, their peaks at sample BEFORE; for `match`."""

    templates: NDArray[np.float64]
    slopes: NDArray[np.float64]
    bounds: NDArray[np.float64]
    least: NDArray[np.float64]

    def some(self, units: NDArray[np.int64]) -> "Bank":
        """Take the bank of some of the units."""
        return Bank(self.templates[units], self.slopes[units], self.bounds[units], self.least[units])


def bank(
    groups: list[tuple[NDArray[np.float32], NDArray[np.int64]]], noise: NDArray[np.float32], settings: SortSettings
) -> Bank:
    """Make the bank from each unit's clips (n, CLIP) with samples by which each is to be moved, and clips of noise."""
    at = middle(CLIP)
    templates, bounds = np.empty((len(groups), LENGTH)), np.empty((len(groups), 2))
    for k, (clips, shifts) in enumerate(groups):
        moved = clips.copy()
        for shift in np.unique(shifts).tolist():
            moved[shifts == shift] = np.roll(clips[shifts == shift], -shift, axis=1)
        near = slice(at - BEFORE, at + BEFORE)
        peak = at - BEFORE + int(np.abs(moved.mean(axis=0, dtype=np.float64))[near].argmax())
        peak = min(max(peak, BEFORE + JITTER), CLIP - LENGTH + BEFORE - JITTER)
        template = moved.mean(axis=0, dtype=np.float64)[peak - BEFORE : peak - BEFORE + LENGTH]
        cut = aligned(moved, peak, template, BEFORE)
        template = cut.mean(axis=0, dtype=np.float64)
        templates[k] = template
        scale = np.einsum("ej,j->e", cut, template) / (template**2).sum()
        low, high = np.percentile(scale, (1, 99))
        bounds[k] = (
            np.clip(low - 0.05, SCALES[0], SCALES[1]),
            np.clip(high + 0.05, SCALES[2], SCALES[3]),
        )
    slopes = np.zeros_like(templates)
    slopes[:, 1:-1] = (templates[:, 2:] - templates[:, :-2]) / 2
    start = at - BEFORE
    chance = np.einsum("ej,kj->ek", noise[:, start : start + LENGTH], templates).std(axis=0)
    half = (templates**2).sum(axis=1) * bounds[:, 0] / 2
    least = np.minimum(settings.match_certainty * chance, MOST_CERTAINTY * (templates**2).sum(axis=1))
    return Bank(templates, slopes, bounds, np.maximum(least, half))


def compounds(
    groups: list[tuple[NDArray[np.float32], NDArray[np.int64]]],
    sizes: NDArray[np.int64],
    found: Bank,
    n_samples: int,
    settings: SortSettings,
) -> NDArray[np.bool_]:
    """Tell which units (K,) of `sizes` spikes are none, but two others' spikes at about the same time.

    Such a unit has fewer spikes than half of either of the two, no more than the two have together by chance (a tall
    unit may happen to look like the sum of two, but it fires more often), and nothing but noise is left of most of its
    clips when the other units' templates have been subtracted.
    """
    are = np.zeros(len(groups), np.bool_)
    for k in np.argsort(sizes, kind="stable").tolist():
        others = np.flatnonzero((sizes > 2 * sizes[k]) & ~are)
        if len(others) < 2:
            continue
        first, second = np.sort(sizes[others])[:-3:-1]
        together = first * second * (2 * settings.detect_interval + 1) / n_samples
        if sizes[k] > max(LEAST_CHANCE, CHANCE * together):
            continue
        some = evenly(len(groups[k][0]), COMPOUND_CLIPS)
        left, pairs = _explained(groups[k][0][some], found.some(others), settings)
        are[k] = np.mean(pairs & (left < 1)) > COMPOUND_SHARE
    return are


def _explained(
    clips: NDArray[np.float32], others: Bank, settings: SortSettings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Match each clip (n, CLIP): how much is left around the event (1: as may be), and whether two units are in it."""
    left, pairs = np.empty(len(clips)), np.zeros(len(clips), np.bool_)
    rest, out, scales = np.empty(CLIP), np.empty((CLIP, 2), np.int64), np.empty(CLIP)
    places = (BEFORE, 0, CLIP, REACH, settings.detect_interval)
    limits = (settings.match_limit, settings.match_share)
    core = slice(middle(CLIP) - BEFORE, middle(CLIP) + BEFORE)
    for e, clip in enumerate(clips):
        count = match(
            clip, others.templates, others.slopes, others.bounds, others.least, places, limits, rest, out, scales
        )
        near = out[:count][np.abs(out[:count, 0] - middle(CLIP)) < 2 * BEFORE]
        may_be = COMPOUND_REST[0] + COMPOUND_REST[1] * np.mean(clip[core].astype(np.float64) ** 2)
        left[e], pairs[e] = np.mean(rest[core] ** 2) / may_be, len(np.unique(near[:, 1])) > 1
    return left, pairs


def matched(
    prepared: Prepared, found: Bank, settings: SortSettings
) -> tuple[NDArray[np.int64], NDArray[np.int32]] | None:
    """Find the spikes of all units: times (E,) rising, and which unit each is of; None if they are more than may be."""
    n, most = prepared.series.n_samples, most_events(prepared.series.n_samples, settings)
    room = min(BLOCK // settings.detect_interval * max(1, len(found.templates)), most) + 1
    out, scales = np.empty((room, 2), np.int64), np.empty(room)
    rest = np.empty(min(BLOCK, n) + 2 * HALO)
    times, which = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    latest, total = np.full(len(found.templates), -(2**40)), 0
    limits = (settings.match_limit, settings.match_share)
    for start, stop, samples in prepared.blocks(HALO):
        places = (BEFORE, HALO, HALO + stop - start, REACH, settings.detect_interval)
        left = rest[: len(samples)]
        count = match(
            samples, found.templates, found.slopes, found.bounds, found.least, places, limits, left, out, scales
        )
        here, units = in_order(out[:count, 0] + (start - HALO), out[:count, 1].astype(np.int32))
        keep = _is_first(here, units, latest, settings.detect_interval)
        total += count
        if total > most:
            return None
        times.append(here[keep])
        which.append(units[keep])
    return np.concatenate(times), np.concatenate(which)


def _is_first(
    times: NDArray[np.int64], units: NDArray[np.int32], latest: NDArray[np.int64], pause: int
) -> NDArray[np.bool_]:
    """Where stretches meet a spike may have been placed differently from both sides: of a unit's two within `pause` one counts.

    `latest` (K,) are the units' last events before these, and become the last of these.
    """
    keep = np.ones(len(times), np.bool_)
    for unit in np.unique(units).tolist():
        rows = np.flatnonzero(units == unit)
        keep[rows] = np.diff(times[rows], prepend=latest[unit]) > pause
        latest[unit] = times[rows[-1]]
    return keep

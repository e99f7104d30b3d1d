"""Matching: finds where templates explain a series best, subtracts them, and looks again, so that overlaps come apart."""

from typing import Any

import numpy as np
from numba import float32, float64, int64

from kernels.compile import inlined, jit, types

_samples = types.Array(float32, 1, "C", readonly=True)
_bank = types.Array(float64, 2, "C", readonly=True)
_numbers = types.Array(float64, 1, "C", readonly=True)
LONGEST = 4096
"""Samples of a stretch that is looked at as a whole."""
LARGEST_SHIFT = 0.7
"""Samples by which a spike may lie beside the sample of its peak."""


@inlined
def _correlate(residual: Any, templates: Any, before: Any, start: Any, first: Any, last: Any, scores: Any) -> None:
    # Along time inside, so that several products are summed at once, each in the same order.
    for k in range(len(templates)):
        row = scores[k, first - start : last - start]
        row[:] = 0.0
        for j in range(templates.shape[1]):
            weight = templates[k, j]
            part = residual[first - before + j : last - before + j]
            for t in range(len(row)):
                row[t] += part[t] * weight


@inlined
def _explain(residual: Any, template: Any, slope: Any, score: Any, bounds: Any, energies: Any, at: Any) -> Any:
    """Subtract a template, scaled and moved by a part of a sample; return the scale."""
    along = 0.0
    for j in range(len(template)):
        along += residual[at + j] * slope[j]
    scale = min(max(score / energies[0], bounds[0]), bounds[1])
    shift = 0.0
    if energies[1] > 0.0:
        shift = min(max(along / energies[1], -LARGEST_SHIFT * scale), LARGEST_SHIFT * scale)
    for j in range(len(template)):
        residual[at + j] -= scale * template[j] + shift * slope[j]
    return scale


@jit(
    _samples, _bank, _bank, _bank, _numbers, types.Tuple((int64, int64, int64, int64, int64)),
    types.Tuple((float64, float64)), types.Array(float64, 1, "C"), types.Array(int64, 2, "C"), types.Array(float64, 1, "C"),
    returns=int64,
)  # fmt: skip
def match(
    samples: Any,
    templates: Any,
    slopes: Any,
    bounds: Any,
    least: Any,
    places: Any,
    limits: Any,
    residual: Any,
    out: Any,
    scales: Any,
) -> Any:
    """Write place and label of each event to `out` (m, 2) and its scale to `scales` (m,); return how many they are.

    Args:
        samples: (n,) in units of the noise.
        templates: (K, length), as are their `slopes` (differences to either side, halved).
        bounds: (K, 2) least and largest scale.
        least: (K,) the least product with its template that an event has.
        places: sample of a template's peak; first and last (excluded) sample where events are written; how far an
            event may lie from a sample beyond the limit; samples in which a unit has only one event.
        limits: size of a sample near which events are looked for; share of the energy of an event found nearby that an
            event must explain, because nothing is subtracted perfectly.
        residual: (n,) for what is left of the samples.
        out: (m, 2).
        scales: (m,).
    """
    before, first, last, reach, pause = places
    limit, share = limits
    count, length = templates.shape
    found, n = 0, len(samples)
    energies = np.zeros((count, 2))
    for k in range(count):
        for j in range(length):
            energies[k, 0] += templates[k, j] * templates[k, j]
            energies[k, 1] += slopes[k, j] * slopes[k, j]
    residual[:] = samples
    scores = np.empty((count, LONGEST + 2 * reach + 2))
    inside, beyond = before, n - length + before  # a template fits there
    done = np.empty((LONGEST, 3))
    i = inside
    while i < beyond:
        if abs(samples[i]) < limit:
            i += 1
            continue
        start, latest = max(i - reach, inside), i
        while i < beyond and i - latest <= 2 * reach and i - start < LONGEST:
            if abs(samples[i]) >= limit:
                latest = i
            i += 1
        stop = min(latest + reach + 1, beyond)
        i = max(latest + 1, min(i, stop))
        _correlate(residual, templates, before, start, start, stop, scores)
        events = 0
        while events < LONGEST:
            best, best_k, best_t = 0.0, -1, 0
            for k in range(count):
                for t in range(start, stop):
                    score = scores[k, t - start]
                    if score < least[k]:
                        continue
                    scale = min(max(score / energies[k, 0], bounds[k, 0]), bounds[k, 1])
                    gain = scale * (2.0 * score - scale * energies[k, 0])
                    if gain <= best:
                        continue
                    is_new = True
                    for e in range(events):
                        gap = abs(t - done[e, 0])
                        if (gap < length and gain < share * done[e, 2]) or (gap <= pause and done[e, 1] == k):
                            is_new = False
                            break
                    if is_new:
                        best, best_k, best_t = gain, k, t
            if best_k < 0:
                break
            k, t = best_k, best_t
            scale = _explain(
                residual, templates[k], slopes[k], scores[k, t - start], bounds[k], energies[k], t - before
            )
            done[events, 0], done[events, 1], done[events, 2] = t, k, scale * scale * energies[k, 0]
            events += 1
            if first <= t < last and found < len(out):
                out[found, 0], out[found, 1], scales[found] = t, k, scale
                found += 1
            from_here, to_there = max(start, t - length), min(stop, t + length)
            _correlate(residual, templates, before, start, from_here, to_there, scores)
    return found

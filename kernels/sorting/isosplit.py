"""ISO-SPLIT: clusters of any number and shape of which each looks unimodal between any two of its parts.

Written from Magland & Barnett, "Unimodal clustering using isotonic regression: ISO-SPLIT" (arXiv:1508.04841): many small
parcels, of which nearest pairs are compared along the line that discriminates them best, and merged, or cut anew at the
dip of the density, until nothing changes.
"""

from typing import Any

import numpy as np
from numba import float64, int64

from kernels.compile import inlined, jit, types

_points = types.Array(float64, 2, "C", readonly=True)
SMALLEST_TAIL = 4
"""Bins: the test looks at halves of the density, and halves of them, down to this many."""
RIDGE = 1e-9
MAX_ROUNDS = 5000


@inlined
def _isotonic(values: Any, weights: Any, out: Any, errors: Any) -> None:
    """Fit rising values (pool adjacent violators); errors[i] is the weighted squared error of the fit to the first i + 1."""
    n = len(values)
    level, weight, count, spread = np.empty(n), np.empty(n), np.empty(n, np.int64), np.empty(n)
    blocks, total = 0, 0.0
    for i in range(n):
        level[blocks], weight[blocks], count[blocks], spread[blocks] = values[i], weights[i], 1, 0.0
        blocks += 1
        while blocks > 1 and level[blocks - 2] >= level[blocks - 1]:
            a, b = blocks - 2, blocks - 1
            both = weight[a] + weight[b]
            gap = level[a] - level[b]
            more = gap * gap * weight[a] * weight[b] / both
            spread[a] += spread[b] + more
            total += more
            level[a] = (level[a] * weight[a] + level[b] * weight[b]) / both
            weight[a] = both
            count[a] += count[b]
            blocks -= 1
        errors[i] = total
    at = 0
    for k in range(blocks):
        for _ in range(count[k]):
            out[at] = level[k]
            at += 1


@inlined
def _unimodal(values: Any, weights: Any, out: Any) -> Any:
    """Fit values that rise and then fall; return where the top is."""
    n = len(values)
    rising, falling, fit = np.empty(n), np.empty(n), np.empty(n)
    _isotonic(values, weights, fit, rising)
    _isotonic(values[::-1].copy(), weights[::-1].copy(), fit, falling)
    top, best = 0, np.inf
    for i in range(n):
        error = rising[i] + falling[n - 1 - i]
        if error < best:
            best, top = error, i
    scratch = np.empty(n)
    left = np.empty(top + 1)
    _isotonic(values[: top + 1].copy(), weights[: top + 1].copy(), left, scratch)
    right = np.empty(n - top)
    _isotonic(values[top:][::-1].copy(), weights[top:][::-1].copy(), right, scratch)
    for i in range(top + 1):
        out[i] = left[i]
    for i in range(top + 1, n):
        out[i] = right[n - 1 - i]
    return top


@inlined
def _distance(first: Any, second: Any) -> Any:
    """Give the largest difference of two cumulated shares, in units of its standard error (Kolmogorov-Smirnov)."""
    total_first, total_second = 0.0, 0.0
    for i in range(len(first)):
        total_first += first[i]
        total_second += second[i]
    if total_first <= 0.0 or total_second <= 0.0:
        return 0.0
    a, b, largest = 0.0, 0.0, 0.0
    for i in range(len(first)):
        a += first[i]
        b += second[i]
        largest = max(largest, abs(a / total_first - b / total_second))
    return largest * np.sqrt((total_first + total_second) / 2.0)


@inlined
def _tail_distance(counts: Any, fitted: Any) -> Any:
    """Look from the outside in at all, a half, a quarter ... of the bins; return the largest distance and its bins."""
    length, best, best_length = len(counts), -1.0, len(counts)
    while length >= SMALLEST_TAIL or best < 0.0:
        score = _distance(counts[:length], fitted[:length])
        if score > best:
            best, best_length = score, length
        length //= 2
        if length == 0:
            break
    return best, best_length


@inlined
def _isocut(ordered: Any) -> Any:
    """Tell how far from unimodal sorted values are (beyond 1: not), and where to cut them in two."""
    n = len(ordered)
    bins = int(np.ceil(np.sqrt(n / 2.0)))
    half = (bins + 1) // 2
    sizes = np.empty(bins)
    total = 0.0
    for i in range(bins):  # few values a bin at the ends, many in the middle
        sizes[i] = float(min(i, bins - 1 - i) + 1) if half > 0 else 1.0
        total += sizes[i]
    edges = np.empty(bins + 1, np.int64)
    edges[0], running = 0, 0.0
    for i in range(bins):
        running += sizes[i]
        edges[i + 1] = int(np.floor(running / total * (n - 1)))
    edges[bins] = n - 1
    kept = 1
    for i in range(1, bins + 1):
        if edges[i] > edges[kept - 1]:
            edges[kept] = edges[i]
            kept += 1
    m = kept - 1
    if m < 2:
        return 0.0, ordered[n // 2]
    span = ordered[n - 1] - ordered[0]
    counts, widths, density = np.empty(m), np.empty(m), np.empty(m)
    for i in range(m):
        counts[i] = float(edges[i + 1] - edges[i])
        widths[i] = max(ordered[edges[i + 1]] - ordered[edges[i]], span * 1e-12 + 1e-300)
        density[i] = counts[i] / widths[i]
    fit = np.empty(m)
    top = _unimodal(density, counts, fit)
    fitted = fit * widths
    left, left_bins = _tail_distance(counts[: top + 1], fitted[: top + 1])
    right, right_bins = _tail_distance(counts[top:][::-1].copy(), fitted[top:][::-1].copy())
    if left >= right:
        score, first, last = left, 0, left_bins
    else:
        score, first, last = right, m - right_bins, m
    # The cut is where the density lies lowest under the fit: fall and rise again, fitted to the difference.
    size = last - first
    negative = np.empty(size)
    for i in range(size):
        negative[i] = fit[first + i] - density[first + i]
    dip = np.empty(size)
    _unimodal(negative, widths[first:last].copy(), dip)
    deepest = dip.max()
    begin = 0
    while dip[begin] != deepest:
        begin += 1
    end = begin
    while end + 1 < size and dip[end + 1] == deepest:
        end += 1
    middle = first + (begin + end) // 2
    return score, (ordered[edges[middle]] + ordered[edges[middle + 1]]) / 2.0


@inlined
def _discriminant(points: Any, first: Any, second: Any) -> Any:
    """Find the direction that tells two sets of rows apart best: the inverse of their mean covariance, on their difference."""
    d = points.shape[1]
    difference, system = np.zeros(d), np.zeros((d, d + 1))
    means = np.zeros((2, d))
    for which in range(2):
        rows = first if which == 0 else second
        for r in rows:
            for a in range(d):
                means[which, a] += points[r, a]
        for a in range(d):
            means[which, a] /= len(rows)
        for r in rows:
            for a in range(d):
                scaled = (points[r, a] - means[which, a]) / len(rows)
                for b in range(a, d):
                    system[a, b] += scaled * (points[r, b] - means[which, b])
    trace = 0.0
    for a in range(d):
        difference[a] = means[1, a] - means[0, a]
        trace += system[a, a]
        for b in range(a):
            system[a, b] = system[b, a]
    for a in range(d):
        # Few points span few dimensions: their covariance is drawn to a round one.
        system[a, a] += (trace / d) * (RIDGE + d / (len(first) + len(second))) + 1e-300
        system[a, d] = difference[a]
    for a in range(d):  # positive definite: no pivots needed
        for b in range(a + 1, d):
            factor = system[b, a] / system[a, a]
            for c in range(a, d + 1):
                system[b, c] -= factor * system[a, c]
    direction = np.empty(d)
    for k in range(d):
        a = d - 1 - k
        value = system[a, d]
        for b in range(a + 1, d):
            value -= system[a, b] * direction[b]
        direction[a] = value / system[a, a]
    return direction


@inlined
def _along(points: Any, first: Any, second: Any) -> Any:
    direction = _discriminant(points, first, second)
    values = np.zeros(len(first) + len(second))
    for i in range(len(values)):
        r = first[i] if i < len(first) else second[i - len(first)]
        for a in range(points.shape[1]):
            values[i] += points[r, a] * direction[a]
    return values


@inlined
def _parcels(points: Any, labels: Any, most: Any, smallest: Any) -> Any:
    """Split the widest parcel at its mean, again and again; labels are written, their number returned."""
    n, d = points.shape
    labels[:] = 0
    width, axis, cut = np.zeros(most), np.zeros(most, np.int64), np.zeros(most)
    parcels, fresh = 1, 1
    changed = np.zeros(2, np.int64)
    while True:
        for which in range(fresh):
            k = changed[which]
            size, total, square = 0, np.zeros(d), np.zeros(d)
            for i in range(n):
                if labels[i] == k:
                    size += 1
                    for a in range(d):
                        total[a] += points[i, a]
            for a in range(d):
                total[a] /= max(size, 1)
            for i in range(n):
                if labels[i] == k:
                    for a in range(d):
                        square[a] += (points[i, a] - total[a]) ** 2
            widest = int(np.argmax(square))
            axis[k], cut[k] = widest, total[widest]
            width[k] = square[widest] if size >= 2 * smallest else -1.0
        k = int(np.argmax(width[:parcels]))
        if parcels >= most or width[k] <= 0.0:
            return parcels
        for i in range(n):
            if labels[i] == k and points[i, axis[k]] > cut[k]:
                labels[i] = parcels
        changed[0], changed[1], fresh = k, parcels, 2
        parcels += 1


@jit(_points, float64, int64, int64, types.Array(int64, 1, "C"), returns=int64)
def isosplit(points: Any, threshold: Any, smallest: Any, parcels: Any, labels: Any) -> Any:
    """Cluster points (n, d): write labels 0 to K - 1 to `labels` (n,), and return K.

    `threshold` is the dip score (1 is usual) from which on two parts are two; clusters have at least `smallest` points
    unless all have fewer; at most `parcels` parcels are made to begin with.
    """
    n, d = points.shape
    if n == 0:
        return 0
    k_all = _parcels(points, labels, parcels, smallest)
    sizes, centres = np.zeros(k_all, np.int64), np.zeros((k_all, d))
    compared = np.zeros((k_all, k_all), np.uint8)
    stale = np.ones(k_all, np.uint8)
    merged_in_pass = False
    for _ in range(MAX_ROUNDS):
        for k in range(k_all):
            if stale[k]:
                sizes[k] = 0
                centres[k] = 0.0
        for i in range(n):
            k = labels[i]
            if stale[k]:
                sizes[k] += 1
                for a in range(d):
                    centres[k, a] += points[i, a]
        for k in range(k_all):
            if stale[k] and sizes[k]:
                for a in range(d):
                    centres[k, a] /= sizes[k]
            stale[k] = 0
        nearest = np.full(k_all, -1, np.int64)
        for k in range(k_all):
            best = np.inf
            if sizes[k]:
                for other in range(k_all):
                    if other != k and sizes[other] and not compared[k, other]:
                        distance = 0.0
                        for a in range(d):
                            distance += (centres[k, a] - centres[other, a]) ** 2
                        if distance < best:
                            best, nearest[k] = distance, other
        any_pair = False
        for k in range(k_all):
            other = nearest[k]
            if other <= k or nearest[other] != k:
                continue
            any_pair = True
            compared[k, other] = 1
            compared[other, k] = 1
            first, second = np.empty(sizes[k], np.int64), np.empty(sizes[other], np.int64)
            at_first, at_second = 0, 0
            for i in range(n):
                if labels[i] == k:
                    first[at_first] = i
                    at_first += 1
                elif labels[i] == other:
                    second[at_second] = i
                    at_second += 1
            is_one, cut = True, 0.0
            values = np.empty(0)
            if sizes[k] >= smallest and sizes[other] >= smallest:
                values = _along(points, first, second)
                score, cut = _isocut(np.sort(values))
                is_one = score < threshold
            if is_one:
                for i in second:
                    labels[i] = k
                stale[k], stale[other] = 1, 1
                merged_in_pass = True
            else:
                moved = False
                for v in range(len(values)):
                    i = first[v] if v < len(first) else second[v - len(first)]
                    side = k if values[v] <= cut else other
                    if labels[i] != side:
                        labels[i] = side
                        moved = True
                if moved:
                    stale[k], stale[other] = 1, 1
        if not any_pair:
            if not merged_in_pass:
                break
            merged_in_pass = False
            compared[:] = 0
    number = np.full(k_all, -1, np.int64)
    found = 0
    for i in range(n):
        if number[labels[i]] < 0:
            number[labels[i]] = found
            found += 1
        labels[i] = number[labels[i]]
    return found


@jit(_points, _points, types.Array(float64, 1, "C"))
def separation(first: Any, second: Any, out: Any) -> None:
    """Compare two sets of points (n, d), (m, d) along their discriminant: write the dip score and d' to `out` (2,).

    d' is the distance of the means in units of the root of the mean variance.
    """
    n, m = len(first), len(second)
    points = np.empty((n + m, first.shape[1]))
    points[:n] = first
    points[n:] = second
    values = _along(points, np.arange(n), np.arange(n, n + m))
    out[0], _ = _isocut(np.sort(values))
    spread = (np.var(values[:n]) + np.var(values[n:])) / 2.0
    out[1] = abs(np.mean(values[:n]) - np.mean(values[n:])) / np.sqrt(spread + 1e-300)

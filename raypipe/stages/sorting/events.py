"""Events of a series and clips around them, block by block."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.clips import accumulate, extract
from kernels.sorting.detect import detect
from raypipe.config import SortSettings
from raypipe.stages.sorting.memory import most_events
from raypipe.stages.sorting.series import Prepared
from raypipe.stages.sorting.sizes import BLOCK

AT_ONCE = 10_000
"""Clips that are cut at once."""
LABEL_BITS = 20


def detected(prepared: Prepared, settings: SortSettings) -> tuple[NDArray[np.int64], float]:
    """Find events: (E,) samples, rising; and the threshold, in units of the noise, that they are above.

    That is detect_threshold, unless there are more events than `most_events`: then so high a one that fewer are left.
    """
    halo, most = settings.detect_interval, most_events(prepared.series.n_samples, settings)
    out = np.empty(BLOCK // (halo + 1) + 2, np.int64)
    threshold, times, heights = settings.detect_threshold, [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for start, stop, samples in prepared.blocks(halo):
        last = halo + stop - start
        count = detect(samples, threshold, halo, settings.detect_sign, halo, last, out)
        times.append(out[:count] + (start - halo))
        heights.append(np.abs(samples[out[:count]]))
        while sum(map(len, times)) > most:
            # An event is the highest of its neighbourhood, whatever the threshold: a higher one leaves the higher ones.
            threshold = float(np.median(np.concatenate(heights)))
            times = [each[high > threshold] for each, high in zip(times, heights, strict=True)]
            heights = [high[high > threshold] for high in heights]
    return np.concatenate(times), threshold


def in_order(times: NDArray[np.int64], labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sort events (E,) by time, those of one time by label (0 to 2**20 - 1)."""
    # One number for both needs no permutation beside them: the events of a day are many.
    both = (times << LABEL_BITS) | labels
    both.sort()
    labels = both.astype(np.int32)  # the lower half of each number
    labels &= (1 << LABEL_BITS) - 1
    both >>= LABEL_BITS
    return both, labels


def clips(prepared: Prepared, times: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """Cut clips (E, length) around rising times (E,), in units of the noise; the event is at `middle(length)`."""
    out = np.empty((len(times), length), np.float32)
    for first, last, cut in clips_in_parts(prepared, times, length):
        out[first:last] = cut
    return out


def clips_in_parts(
    prepared: Prepared, times: NDArray[np.int64], length: int
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Give first and last (excluded) event of each block that has any, and their clips."""
    for start, stop, samples in prepared.blocks(length):
        begin, end = (int(each) for each in np.searchsorted(times, (start, stop)))
        for first in range(begin, end, AT_ONCE):
            last = min(first + AT_ONCE, end)
            cut = np.empty((last - first, length), np.float32)
            extract(samples, times[first:last] - (start - length), middle(length), cut)
            yield first, last, cut


def sums(
    prepared: Prepared, times: NDArray[np.int64], labels: NDArray[np.int32], count: int, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the clips of each label 0 to count - 1, and their squares: (count, length) each."""
    totals, squares = np.zeros((count, length)), np.zeros((count, length))
    for start, stop, samples in prepared.blocks(length):
        first, last = np.searchsorted(times, (start, stop))
        if last > first:
            places = times[first:last] - (start - length)
            accumulate(samples, places, labels[first:last].astype(np.int64), middle(length), totals, squares)
    return totals, squares


def values_at(prepared: Prepared, times: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read the samples at rising times (E,), in units of the noise."""
    out = np.empty(len(times), np.float32)
    for start, stop, samples in prepared.blocks(0):
        first, last = np.searchsorted(times, (start, stop))
        out[first:last] = samples[times[first:last] - start]
    return out


def parts(count: int) -> Iterator[slice]:
    """Go through `count` events a part at a time, so that what is made of them in between stays small."""
    for first in range(0, count, 10 * AT_ONCE):
        yield slice(first, min(first + 10 * AT_ONCE, count))


def middle(length: int) -> int:
    """Tell where in a clip the event is: MountainSort's place."""
    return (length + 1) // 2 - 1


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Choose at most `most` of `count` things, evenly."""
    if count <= most:
        return np.arange(count)
    return np.arange(most) * count // most

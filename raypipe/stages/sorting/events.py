"""Events of a series and clips around them, block by block."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.clips import accumulate, extract
from kernels.sorting.detect import detect
from raypipe.config import SortSettings
from raypipe.stages.sorting.series import Prepared
from raypipe.stages.sorting.sizes import BLOCK

AT_ONCE = 10_000
"""Clips that are cut at once."""


def detected(prepared: Prepared, settings: SortSettings) -> NDArray[np.int64]:
    """Find events: (E,) samples, rising."""
    halo = settings.detect_interval
    out = np.empty(BLOCK // (halo + 1) + 2, np.int64)
    found = [np.empty(0, np.int64)]
    for start, stop, samples in prepared.blocks(halo):
        last = halo + stop - start
        count = detect(samples, settings.detect_threshold, halo, settings.detect_sign, halo, last, out)
        found.append(out[:count] + (start - halo))
    return np.concatenate(found)


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
    prepared: Prepared, times: NDArray[np.int64], labels: NDArray[np.int64], count: int, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the clips of each label 0 to count - 1, and their squares: (count, length) each."""
    totals, squares = np.zeros((count, length)), np.zeros((count, length))
    for start, stop, samples in prepared.blocks(length):
        first, last = np.searchsorted(times, (start, stop))
        if last > first:
            places = times[first:last] - (start - length)
            accumulate(samples, places, np.ascontiguousarray(labels[first:last]), middle(length), totals, squares)
    return totals, squares


def values_at(prepared: Prepared, times: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read the samples at rising times (E,), in units of the noise."""
    out = np.empty(len(times), np.float32)
    for start, stop, samples in prepared.blocks(0):
        first, last = np.searchsorted(times, (start, stop))
        out[first:last] = samples[times[first:last] - start]
    return out


def middle(length: int) -> int:
    """Tell where in a clip the event is: MountainSort's place."""
    return (length + 1) // 2 - 1


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Choose at most `most` of `count` things, evenly."""
    if count <= most:
        return np.arange(count)
    return np.arange(most) * count // most

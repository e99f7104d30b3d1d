"""From frames to channels: 8x8 tiles of int16 are transposed in registers, so that no cache line is read for one value."""

from typing import Any

import numpy as np
from numba import int16, int64
from numpy.typing import NDArray

from kernels.compile import inlined, jit, readonly, writable
from kernels.lanes import check_contiguous
from kernels.simd import LANES, load_tile, save_tile
from kernels.transpose import transpose

BLOCK_FRAMES = 1024  # of 128 channels are 256 kB, which stay in L2 while the channels take their turns


def deinterleave(frames: NDArray[np.int16], columns: NDArray[np.int64], out: NDArray[np.int16]) -> None:
    """Copy columns of interleaved frames into rows.

    Args:
        frames: (T, C) int16 counts, columns contiguous; may be read-only or a slice of a memmap.
        columns: (K,) int64, any columns in any order, repeated or not.
        out: (K, T) int16, samples contiguous.

    Eight neighbouring columns in a row of eight or more go through SIMD transposes; single ones are copied one by one.

    Raises:
        ValueError: when the shapes do not fit or a column does not exist.
    """
    if frames.dtype != np.int16 or out.dtype != np.int16:
        raise ValueError(f"expected int16 frames and out, not {frames.dtype} and {out.dtype}")
    if out.shape != (len(columns), len(frames)):
        raise ValueError(f"out has shape {out.shape}, not {(len(columns), len(frames))}")
    if len(columns) and not 0 <= columns.min() <= columns.max() < frames.shape[1]:
        raise ValueError(f"columns reach from {columns.min()} to {columns.max()}, of {frames.shape[1]}")
    check_contiguous(frames, out)
    if out.size:
        _deinterleave(np.asarray(frames), np.asarray(columns, np.int64), out)


@jit(readonly(int16, 2), readonly(int64, 1), writable(int16, 2))
def _deinterleave(frames: Any, columns: Any, out: Any) -> None:
    for start in range(0, len(frames), BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, len(frames))
        row = 0
        while row < len(columns):
            first = _eight_with(row, columns)
            if first >= 0 and stop - start >= LANES:
                for t in range(start, stop - LANES + 1, LANES):
                    save_tile(out, first, t, transpose(load_tile(frames, t, columns[first])))
                # What is left over is the end of one more tile, which overlaps the one before.
                save_tile(out, first, stop - LANES, transpose(load_tile(frames, stop - LANES, columns[first])))
                row = first + LANES
            else:
                for t in range(start, stop):
                    out[row, t] = frames[t, columns[row]]
                row += 1


@inlined
def _eight_with(row: int, columns: Any) -> int:
    """Find the first of eight rows whose columns are neighbours and which hold `row`, best at their start; -1 if none do."""
    for first in range(row, max(-1, row - LANES), -1):
        is_run = first + LANES <= len(columns)
        for step in range(1, LANES):
            is_run = is_run and columns[first + step] == columns[first] + step
        if is_run:
            return first
    return -1

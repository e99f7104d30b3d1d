"""From counts to microvolts, with the two float32 roundings that numpy makes."""

from typing import Any

import numpy as np
from numba import float32, int16
from numpy.typing import NDArray

from kernels.arithmetic import add, multiply, splat, to_float32
from kernels.compile import jit, readonly, writable
from kernels.lanes import check_contiguous
from kernels.simd import LANES, load, save


def to_microvolts(
    counts: NDArray[np.int16], gain: NDArray[np.float32], offset: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write float32(counts) * gain + offset, bit for bit what numpy's float32 arithmetic gives.

    Args:
        counts: (K, T) int16, samples contiguous, rows any distance apart; may be read-only.
        gain: (K,) float32, µV a count.
        offset: (K,) float32, µV at count 0.
        out: (K, T) float32, µV, samples contiguous.

    Raises:
        ValueError: when the types or shapes do not fit or samples are not contiguous.
    """
    if counts.dtype != np.int16 or out.dtype != np.float32:
        raise ValueError(f"expected int16 counts and float32 out, not {counts.dtype} and {out.dtype}")
    if out.shape != counts.shape or len(gain) != len(counts) or len(offset) != len(counts):
        raise ValueError(f"counts {counts.shape}, out {out.shape} and one gain and offset a channel must fit")
    check_contiguous(counts, out)
    if counts.size:
        _convert(np.asarray(counts), gain, offset, out)


@jit(readonly(int16, 2), readonly(float32, 1), readonly(float32, 1), writable(float32, 2))
def _convert(counts: Any, gain: Any, offset: Any, out: Any) -> None:
    for k in range(len(counts)):
        factor, shift = splat(gain[k]), splat(offset[k])
        samples = counts.shape[1]
        whole = samples - samples % LANES
        for t in range(0, whole, LANES):
            save(out, k, t, add(multiply(to_float32(load(counts, k, t)), factor), shift))
        for t in range(whole, samples):
            out[k, t] = float32(counts[k, t]) * gain[k] + offset[k]

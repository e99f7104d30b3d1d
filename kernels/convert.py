"""From counts to microvolts, with the two float32 roundings that numpy makes, and the extremes found among integers."""

from typing import Any

import numpy as np
from numba import float32, int16
from numpy.typing import NDArray

from kernels.arithmetic import add, maximum, minimum, multiply, splat, to_float32
from kernels.compile import jit, readonly, writable
from kernels.lanes import check_contiguous
from kernels.simd import LANES, load, save


def to_microvolts(
    counts: NDArray[np.int16],
    gain: NDArray[np.float32],
    offset: NDArray[np.float32],
    out: NDArray[np.float32],
    lowest: NDArray[np.float32],
    highest: NDArray[np.float32],
) -> None:
    """Write float32(counts) * gain + offset, bit for bit what numpy's float32 arithmetic gives.

    Args:
        counts: (K, T) int16, samples contiguous, rows any distance apart; may be read-only.
        gain: (K,) float32, µV a count.
        offset: (K,) float32, µV at count 0.
        out: (K, T) float32, µV, samples contiguous.
        lowest: (K,) float32, µV, lowered to the smallest output; start with infinity.
        highest: (K,) float32, µV, raised to the largest output; start with minus infinity.

    Raises:
        ValueError: when the shapes do not fit or samples are not contiguous.
    """
    if counts.dtype != np.int16 or out.dtype != np.float32:
        raise ValueError(f"expected int16 counts and float32 out, not {counts.dtype} and {out.dtype}")
    if out.shape != counts.shape or any(len(each) != len(counts) for each in (gain, offset, lowest, highest)):
        raise ValueError(f"counts {counts.shape}, out {out.shape} and one gain, offset and extremes a channel must fit")
    check_contiguous(counts, out)
    if counts.size:
        _convert(np.asarray(counts), gain, offset, out, lowest, highest)


@jit(
    readonly(int16, 2),
    readonly(float32, 1),
    readonly(float32, 1),
    writable(float32, 2),
    writable(float32, 1),
    writable(float32, 1),
)
def _convert(counts: Any, gain: Any, offset: Any, out: Any, lowest: Any, highest: Any) -> None:
    spread = np.empty((2, LANES), np.int16)
    for k in range(len(counts)):
        factor, shift = splat(gain[k]), splat(offset[k])
        low = high = splat(counts[k, 0])
        samples = counts.shape[1]
        whole = samples - samples % LANES
        for t in range(0, whole, LANES):
            vector = load(counts, k, t)
            low, high = minimum(low, vector), maximum(high, vector)
            save(out, k, t, add(multiply(to_float32(vector), factor), shift))
        save(spread, 0, 0, low)
        save(spread, 1, 0, high)
        least, most = spread[0].min(), spread[1].max()
        for t in range(whole, samples):
            least, most = min(least, counts[k, t]), max(most, counts[k, t])
            out[k, t] = float32(counts[k, t]) * gain[k] + offset[k]
        # Rounding keeps order, so the extremes of the counts are those of the outputs (which is which: sign of gain).
        one, other = float32(least) * gain[k] + offset[k], float32(most) * gain[k] + offset[k]
        lowest[k] = min(lowest[k], one, other)
        highest[k] = max(highest[k], one, other)

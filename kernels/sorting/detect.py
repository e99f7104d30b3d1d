"""Events: samples beyond a threshold that are the largest of their neighbourhood."""

from typing import Any

from numba import float32, float64, int64

from kernels.compile import inlined, jit, types


@inlined
def _height(value: Any, sign: Any) -> Any:
    return abs(value) if sign == 0 else value * sign


@jit(
    types.Array(float32, 1, "C", readonly=True), float64, int64, int64, int64, int64, types.Array(int64, 1, "C"),
    returns=int64,
)  # fmt: skip
def detect(samples: Any, threshold: Any, interval: Any, sign: Any, first: Any, last: Any, out: Any) -> Any:
    """Write the places in [first, last) of events to `out`, and return how many they are; more than fit are not written.

    An event is higher than `threshold`, and at least as high as all samples up to `interval` away; of equal ones the
    first counts. The height is the value times `sign`, or its size where `sign` is 0.
    """
    n, found = len(samples), 0
    limit = float32(threshold)
    for i in range(first, last):
        height = _height(samples[i], sign)
        if height <= limit:
            continue
        is_peak = True
        for j in range(max(0, i - interval), i):
            if _height(samples[j], sign) >= height:
                is_peak = False
                break
        if is_peak:
            for j in range(i + 1, min(n, i + interval + 1)):
                if _height(samples[j], sign) > height:
                    is_peak = False
                    break
        if is_peak and found < len(out):
            out[found] = i
            found += 1
    return found

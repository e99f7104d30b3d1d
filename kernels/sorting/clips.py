"""Clips around events, and their sums by label."""

from typing import Any

from numba import float32, float64, int64

from kernels.compile import jit, types

_samples = types.Array(float32, 1, "C", readonly=True)
_places = types.Array(int64, 1, "C", readonly=True)
_sums = types.Array(float64, 2, "C")


@jit(_samples, _places, int64, types.Array(float32, 2, "C"))
def extract(samples: Any, places: Any, before: Any, out: Any) -> None:
    """Copy the samples from `before` ones before each place (m,) on to `out` (m, length); zero beyond the ends."""
    for e in range(len(places)):
        for j in range(out.shape[1]):
            i = places[e] - before + j
            out[e, j] = samples[i] if 0 <= i < len(samples) else float32(0.0)


@jit(_samples, _places, _places, int64, _sums, _sums)
def accumulate(samples: Any, places: Any, labels: Any, before: Any, sums: Any, squares: Any) -> None:
    """Add the clips of each label (0 to K - 1; others are left out) to `sums` and their squares to `squares` (K, length)."""
    for e in range(len(places)):
        label = labels[e]
        if 0 <= label < len(sums):
            for j in range(sums.shape[1]):
                i = places[e] - before + j
                if 0 <= i < len(samples):
                    value = float64(samples[i])
                    sums[label, j] += value
                    squares[label, j] += value * value

"""A channel's samples made ready for sorting: scaled, with masked stretches and what is no number set to zero."""

from typing import Any

import numpy as np
from numba import float32, float64, int64, uint8

from kernels.compile import jit, types

_samples = types.Array(float32, 1, "C", readonly=True)
_out = types.Array(float32, 1, "C")


@jit(_samples, int64, types.Array(float64, 1, "C"), returns=int64)
def chunk_energies(samples: Any, chunk: Any, energies: Any) -> Any:
    """Sum the squares of each `chunk` samples, of the last shorter one too, into `energies` (ceil(n / chunk),).

    What is not finite counts as zero; returns how many samples were not.
    """
    lost = 0
    for k in range(len(energies)):
        total = 0.0
        for i in range(k * chunk, min((k + 1) * chunk, len(samples))):
            value = float64(samples[i])
            if np.isfinite(value):
                total += value * value
            else:
                lost += 1
        energies[k] = total
    return lost


@jit(_samples, int64, int64, types.Array(uint8, 1, "C", readonly=True), float64, _out)
def prepare(samples: Any, start: Any, chunk: Any, is_masked: Any, scale: Any, out: Any) -> None:
    """Write samples * scale to `out` (n,), zero where the chunk of `start` + i is masked, or the sample is not finite."""
    factor, zero = float32(scale), float32(0.0)
    i = 0
    while i < len(samples):
        number = (start + i) // chunk
        end = min((number + 1) * chunk - start, len(samples))
        if is_masked[number]:
            out[i:end] = zero
        else:
            for j in range(i, end):
                value = samples[j]
                # The difference of what is not finite to itself is no number.
                out[j] = value * factor if value - value == zero else zero
        i = end

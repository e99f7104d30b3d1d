"""The two passes of a zero-phase filter over eight lanes: forward into a history of float64 rows, and back from it.

Legend: x, out (8, samples) float32; history (rows, 8) float64; memory (2 S + 2, 8) float64, the state of S sections.
"""

from functools import cache
from typing import Any

from numba import float32, float64, int64

from kernels.arithmetic import maximum, minimum, multiply, splat, to_float32, to_float64, without_denormals
from kernels.compile import Kernel, jit, readonly, types, writable
from kernels.sections import cascade
from kernels.simd import LANES, gather, load, load_state, load_tile, save, save_state, save_tile, scatter
from kernels.transpose import backwards, transpose

FLUSH_SAMPLES = 256  # between two looks for denormals, at places counted from the start of the pass


@cache
def passes(sections: int) -> tuple[Kernel, Kernel]:
    """Declare the forward and the backward kernel for this many sections, whose state is held in registers."""
    coefficients = types.UniTuple(float64, 2 * sections)
    rows = writable(float64, 2)
    forward = jit(readonly(float32, 2), coefficients, rows, rows, int64, int64)(_forward)
    backward = jit(readonly(float64, 2), int64, int64, coefficients, float64, rows, writable(float32, 2), int64, rows)(
        _backward
    )
    return forward, backward


def _forward(x: Any, coefficients: Any, memory: Any, history: Any, row: int, position: int) -> None:
    """Filter all of x into the history from `row` on; `position` samples went before."""
    state = load_state(memory, coefficients)
    row -= position
    stop = position + x.shape[1]
    start = position
    while position < stop:
        pause = min(stop, position + FLUSH_SAMPLES - position % FLUSH_SAMPLES)
        while position + LANES <= pause:
            tile = to_float64(transpose(load_tile(x, 0, position - start)))
            state, tile = cascade(coefficients, state, tile)
            save_tile(history, row + position, 0, tile)
            position += LANES
        while position < pause:
            state, sample = cascade(coefficients, state, (to_float64(gather(x, position - start)),))
            save(history, row + position, 0, sample[0])
            position += 1
        if position % FLUSH_SAMPLES == 0:
            state = without_denormals(state)
    save_state(memory, state)


def _backward(
    history: Any,
    rows: int,
    keep: int,
    coefficients: Any,
    gain: float,
    memory: Any,
    out: Any,
    start: int,
    extremes: Any,
) -> None:
    """Filter the history from row `rows` down to 0 and write its first `keep` rows into out, from `start` on.

    memory is only read. extremes (2, 8) float64: the smallest and the largest output so far, updated.
    """
    state = load_state(memory, coefficients)
    factor = splat(gain)
    lowest, highest = load(extremes, 0, 0), load(extremes, 1, 0)
    row = rows
    while row > 0:
        pause = max(0, row - FLUSH_SAMPLES) if row <= keep else max(keep, row - FLUSH_SAMPLES)
        while row - LANES >= pause:
            row -= LANES
            state, tile = cascade(coefficients, state, backwards(load_tile(history, row, 0)))
            if row < keep:
                tile = multiply(tile, factor)
                lowest, highest = minimum(lowest, tile), maximum(highest, tile)
                save_tile(out, 0, start + row, transpose(to_float32(backwards(tile))))
        while row > pause:
            row -= 1
            state, sample = cascade(coefficients, state, (load(history, row, 0),))
            if row < keep:
                output = multiply(sample[0], factor)
                lowest, highest = minimum(lowest, output), maximum(highest, output)
                scatter(out, start + row, to_float32(output))
        state = without_denormals(state)
    save(extremes, 0, 0, lowest)
    save(extremes, 1, 0, highest)


DEFAULT_SECTIONS = 4  # of an 8th order band-pass, the one which `warm` compiles
passes(DEFAULT_SECTIONS)

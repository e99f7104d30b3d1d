"""8x8 transposes of tiles in three rounds of eight shuffles, which stay inside 128 bits as long as they can."""

from typing import Any

from llvmlite import ir
from numba import int16

from kernels.emit import INT32, Emitter, instruction
from kernels.simd import LANES


@instruction(lambda tile: tile)
def transpose(emit: Emitter, tile: Any) -> Any:
    """Turn rows into columns."""
    rows = emit.unpack(tile)
    inside = 8 if emit.result.dtype.dtype is int16 else 4  # elements in 128 bits
    unit = 1
    if inside < LANES:
        rows = _weave(emit, rows, inside, LANES)
    while unit < inside:
        rows = _weave(emit, rows, unit, inside)
        unit *= 2
    # The rounds leave the columns of each group in bit-reversed order.
    bits = inside.bit_length() - 1
    order = [row & -inside | int(f"{row % inside:0{bits}b}"[::-1], 2) for row in range(LANES)]
    return emit.pack([rows[row] for row in order])


@instruction(lambda tile: tile)
def backwards(emit: Emitter, tile: Any) -> Any:
    """Take the vectors of a tile, the last one first."""
    return emit.pack(emit.unpack(tile)[::-1])


def _weave(emit: Emitter, rows: list[Any], unit: int, inside: int) -> list[Any]:
    """Of rows `unit` apart, weave the lower and the upper halves of every `inside` elements, in pieces of `unit`."""
    lower, upper = (_mask(start, unit, inside) for start in (0, inside // 2))
    woven = list(rows)
    for row in range(LANES):
        if not row & unit:
            pair = rows[row], rows[row + unit]
            woven[row] = emit.build.shuffle_vector(*pair, lower)
            woven[row + unit] = emit.build.shuffle_vector(*pair, upper)
    return woven


def _mask(start: int, unit: int, inside: int) -> Any:
    """Describe the shuffle that takes half of every `inside` elements, from `start` on, in turns from two vectors."""
    pieces = [
        side * LANES + group + start + piece + element
        for group in range(0, LANES, inside)
        for piece in range(0, inside // 2, unit)
        for side in (0, 1)
        for element in range(unit)
    ]
    return ir.Constant(ir.VectorType(INT32, LANES), pieces)

"""Arithmetic on vectors and tiles whose every rounding is written down: the same bits on every CPU, cut anywhere.

LLVM fuses no multiplication and addition on its own here, as no instruction carries a fast flag: see `Emitter.fma`.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import float32, float64, int16

from kernels.compile import types
from kernels.emit import Emitter, instruction
from kernels.simd import LANES, Vector, tile_of

# Far below any rounding of a microvolt, far above the smallest normal number of float32 (1e-38) and float64 (1e-308).
NOTHING = 1e-30


def _like(a: Any, dtype: Any) -> Any:
    return types.UniTuple(Vector(dtype), a.count) if isinstance(a, types.UniTuple) else Vector(dtype)


@instruction(Vector)
def splat(emit: Emitter, scalar: Any) -> Any:
    """Put the same number into all lanes."""
    return emit.splat(scalar, LANES)


@instruction(lambda vector: tile_of(vector.dtype))
def eight(emit: Emitter, vector: Any) -> Any:
    """Make a tile of eight times the same vector."""
    return emit.pack([vector] * LANES)


@instruction(lambda a, _b: a)
def add(emit: Emitter, a: Any, b: Any) -> Any:
    """Add, with one rounding."""
    return _each(emit, emit.build.fadd, a, b)


@instruction(lambda a, _b: a)
def subtract(emit: Emitter, a: Any, b: Any) -> Any:
    """Subtract, with one rounding."""
    return _each(emit, emit.build.fsub, a, b)


@instruction(lambda a, _b: a)
def multiply(emit: Emitter, a: Any, b: Any) -> Any:
    """Multiply, with one rounding."""
    return _each(emit, emit.build.fmul, a, b)


@instruction(lambda a: _like(a, float32))
def to_float32(emit: Emitter, a: Any) -> Any:
    """Convert int16 (exactly) or float64 (rounded)."""
    is_integer = emit.arguments[0] == _like(emit.arguments[0], int16)
    convert = emit.build.sitofp if is_integer else emit.build.fptrunc
    return _each(emit, lambda vector: convert(vector, Vector(float32).llvm), a)


@instruction(lambda a: _like(a, float64))
def to_float64(emit: Emitter, a: Any) -> Any:
    """Convert float32, exactly."""
    return _each(emit, lambda vector: emit.build.fpext(vector, Vector(float64).llvm), a)


@instruction(lambda least, _a: least)
def minimum(emit: Emitter, least: Any, a: Any) -> Any:
    """Find the smallest of `least` and of all vectors of `a`, in each lane."""
    for vector in emit.unpack(a):
        least = emit.build.select(_less(emit, vector, least), vector, least)
    return least


@instruction(lambda most, _a: most)
def maximum(emit: Emitter, most: Any, a: Any) -> Any:
    """Find the largest of `most` and of all vectors of `a`, in each lane."""
    for vector in emit.unpack(a):
        most = emit.build.select(_less(emit, most, vector), vector, most)
    return most


@instruction(lambda a: a)
def without_denormals(emit: Emitter, a: Any) -> Any:
    """Put zero in place of everything nearer to zero than `NOTHING`: arithmetic on denormals is slow."""
    low, high = (emit.splat(ir.Constant(ir.DoubleType(), bound), LANES) for bound in (-NOTHING, NOTHING))

    def flush(vector: Any) -> Any:
        is_nothing = emit.build.and_(_less(emit, low, vector), _less(emit, vector, high))
        return emit.build.select(is_nothing, ir.Constant(vector.type, None), vector)

    return _each(emit, flush, a)


def _each(emit: Emitter, operation: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply to a vector, or to each vector of a tile; a lone vector next to a tile serves all of it."""
    if not isinstance(first.type, ir.ArrayType):
        return operation(first, *others)
    vectors = emit.unpack(first)
    lists = [emit.unpack(other) for other in others]
    lists = [each * (len(vectors) // len(each)) for each in lists]
    return emit.pack([operation(*operands) for operands in zip(vectors, *lists, strict=True)])


def _less(emit: Emitter, a: Any, b: Any) -> Any:
    compare = emit.build.icmp_signed if isinstance(a.type.element, ir.IntType) else emit.build.fcmp_ordered
    return compare("<", a, b)

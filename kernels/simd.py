"""Eight lanes as one value: a numba type for LLVM vectors, which stay in registers across the loops of a kernel.

A tile is eight vectors: 8 rows x 8 columns of an array whose rows may be strided and whose columns are contiguous.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, float64, int16
from numba.extending import models as untyped_models
from numba.extending import register_model
from numpy.typing import NDArray

from kernels.compile import types
from kernels.emit import INT32, Emitter, instruction

models: Any = untyped_models
LANES = 8
CACHE_LINE = 64  # bytes
LLVM = {int16: ir.IntType(16), float32: ir.FloatType(), float64: ir.DoubleType()}


class Vector(types.Type):  # type: ignore[misc]
    """Eight numbers of one type, one a lane."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(name=f"Vector({dtype})")
        self.dtype = dtype

    @property
    def llvm(self) -> Any:
        """Its LLVM type."""
        return ir.VectorType(LLVM[self.dtype], LANES)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A vector is an LLVM vector everywhere, so that it can live in a register."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def tile_of(dtype: Any) -> Any:
    """Make the type of eight vectors."""
    return types.UniTuple(Vector(dtype), LANES)


def aligned_rows(rows: int, dtype: Any) -> NDArray[Any]:
    """Make zeros of shape (rows, 8) from the start of a cache line on: a vector that crosses lines costs two."""
    flat = np.zeros(rows * LANES * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8)
    start = -flat.ctypes.data % CACHE_LINE
    zeros: NDArray[Any] = flat[start : start + flat.size - CACHE_LINE].view(dtype).reshape(rows, LANES)
    return zeros


@instruction(lambda array, _row, _column: Vector(array.dtype))
def load(emit: Emitter, array: Any, row: Any, column: Any) -> Any:
    """Read array[row, column : column + 8]."""
    return emit.load(emit.result.llvm, emit.address(emit.arguments[0], array, row, column))


@instruction(lambda _array, _row, _column, _vector: types.void)
def save(emit: Emitter, array: Any, row: Any, column: Any, vector: Any) -> None:
    """Write array[row, column : column + 8] = vector."""
    emit.save(vector, emit.address(emit.arguments[0], array, row, column))


@instruction(lambda array, _row, _column: tile_of(array.dtype))
def load_tile(emit: Emitter, array: Any, row: Any, column: Any) -> Any:
    """Read array[row : row + 8, column : column + 8], as eight vectors."""
    kind = emit.result.dtype.llvm
    return emit.pack([emit.load(kind, place) for place in _column(emit, array, row, column)])


@instruction(lambda _array, _row, _column, _tile: types.void)
def save_tile(emit: Emitter, array: Any, row: Any, column: Any, tile: Any) -> None:
    """Write array[row : row + 8, column : column + 8] = tile."""
    for place, vector in zip(_column(emit, array, row, column), emit.unpack(tile), strict=True):
        emit.save(vector, place)


@instruction(lambda array, sections: types.UniTuple(Vector(array.dtype), sections.count + 2))
def load_state(emit: Emitter, array: Any, _sections: Any) -> Any:
    """Read array[i, :8] for all i, which are two more than there are coefficients of the sections."""
    places = _column(emit, array, emit.integer(0), emit.integer(0), emit.result.count)
    return emit.pack([emit.load(emit.result.dtype.llvm, place) for place in places])


@instruction(lambda _array, _state: types.void)
def save_state(emit: Emitter, array: Any, state: Any) -> None:
    """Write array[i, :8] = state[i] for all i."""
    vectors = emit.unpack(state)
    for place, vector in zip(
        _column(emit, array, emit.integer(0), emit.integer(0), len(vectors)), vectors, strict=True
    ):
        emit.save(vector, place)


@instruction(lambda array, _column: Vector(array.dtype))
def gather(emit: Emitter, array: Any, column: Any) -> Any:
    """Read array[:8, column]."""
    vector = ir.Constant(emit.result.llvm, ir.Undefined)
    for lane, place in enumerate(_column(emit, array, emit.integer(0), column)):
        vector = emit.build.insert_element(vector, emit.build.load(place), INT32(lane))
    return vector


@instruction(lambda _array, _column, _vector: types.void)
def scatter(emit: Emitter, array: Any, column: Any, vector: Any) -> None:
    """Write array[:8, column] = vector."""
    for lane, place in enumerate(_column(emit, array, emit.integer(0), column)):
        emit.build.store(emit.build.extract_element(vector, INT32(lane)), place)


def _column(emit: Emitter, array: Any, row: Any, column: Any, count: int = LANES) -> list[Any]:
    """Addresses of array[row : row + count, column]; the array is the instruction's first argument."""
    rows = [emit.build.add(row, emit.integer(step)) for step in range(count)]
    return [emit.address(emit.arguments[0], array, each, column) for each in rows]

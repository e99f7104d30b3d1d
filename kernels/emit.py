"""An instruction is a function that writes LLVM code, and a rule for the type of what it gives; numba does the rest."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from llvmlite import ir
from numba.core import cgutils as untyped_cgutils
from numba.extending import intrinsic

from kernels.compile import types

cgutils: Any = untyped_cgutils
INT32 = ir.IntType(32)


class Emitter:
    """Where the code of one instruction goes: LLVM's builder, and the numba types of arguments and result."""

    def __init__(self, context: Any, builder: Any, signature: Any) -> None:
        self.context = context
        self.build = builder
        self.arguments = signature.args
        self.result = signature.return_type

    def unpack(self, value: Any) -> list[Any]:
        """Take the members of a tuple, or the value alone."""
        return list(cgutils.unpack_tuple(self.build, value)) if isinstance(value.type, ir.ArrayType) else [value]

    def pack(self, values: list[Any]) -> Any:
        """Make a tuple of members of one type."""
        return cgutils.pack_array(self.build, values)

    def integer(self, value: int) -> Any:
        """Make a constant index."""
        return cgutils.intp_t(value)

    def element(self, array: Any, value: Any, index: Any) -> Any:
        """Find array[index] of a contiguous array; `array` is its numba type."""
        return self.build.gep(self.context.make_array(array)(self.context, self.build, value).data, [index])

    def address(self, array: Any, value: Any, row: Any, column: Any) -> Any:
        """Find array[row, column], columns contiguous; `array` is its numba type."""
        struct = self.context.make_array(array)(self.context, self.build, value)
        line = self.build.mul(row, self.build.extract_value(struct.strides, 0))
        start = self.build.gep(self.build.bitcast(struct.data, cgutils.voidptr_t), [line])
        return self.build.gep(self.build.bitcast(start, struct.data.type), [column])

    def load(self, kind: Any, address: Any) -> Any:
        """Read a vector of LLVM type `kind`, at any multiple of an element's size."""
        return self.build.load(self.build.bitcast(address, kind.as_pointer()), align=element_bytes(kind))

    def save(self, vector: Any, address: Any) -> None:
        """Write a vector, at any multiple of an element's size."""
        self.build.store(
            vector, self.build.bitcast(address, vector.type.as_pointer()), align=element_bytes(vector.type)
        )

    def splat(self, scalar: Any, lanes: int) -> Any:
        """Put the same number into all lanes."""
        kind = ir.VectorType(scalar.type, lanes)
        first = self.build.insert_element(ir.Constant(kind, ir.Undefined), scalar, INT32(0))
        return self.build.shuffle_vector(first, first, ir.Constant(ir.VectorType(INT32, lanes), [0] * lanes))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Compute a * b + c in one rounding, on every CPU."""
        name = f"llvm.fma.v{a.type.count}f{8 * element_bytes(a.type)}"
        function = cgutils.get_or_insert_function(self.build.module, ir.FunctionType(a.type, [a.type] * 3), name)
        return self.build.call(function, [a, b, c])


def instruction(result: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Declare an instruction for kernels.

    result: the numba type of the result, from those of the arguments. Integers are indices, int16 are samples.
    The function gets an `Emitter` and the LLVM values of the arguments, and returns a value or None.
    """

    def declare(write: Callable[..., Any]) -> Any:
        @wraps(write)
        def typed(_typing: Any, *arguments: Any) -> tuple[Any, Any]:
            fixed = [
                types.intp if isinstance(each, types.Integer) and each != types.int16 else each for each in arguments
            ]

            def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                value = write(Emitter(context, builder, signature), *values)
                return context.get_dummy_value() if value is None else value

            return result(*fixed)(*fixed), emit

        return intrinsic(typed)

    return declare


def element_bytes(kind: Any) -> int:
    """Count the bytes of one lane of an LLVM vector type."""
    return int(
        kind.element.width // 8 if isinstance(kind.element, ir.IntType) else 4 + 4 * (kind.element == ir.DoubleType())
    )

"""MountainLab's array files (.mda): a short header, then the values, first index fastest, little-endian.

The header is int32: type code, bytes per value, number of dimensions, and the dimensions; a negative number of
dimensions says that they are int64. As in MountainLab's own description of the format.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raypipe.errors import FormatError, InputMissing

_CODES = {-2: "u1", -3: "<f4", -4: "<i2", -5: "<i4", -6: "<u2", -7: "<f8", -8: "<u4"}
_MOST_DIMENSIONS = 50
_INT32_MAX = 2**31 - 1
_HINT = "restore it from a copy, or remove it and run the stage that makes it"


def mda_bytes(array: ArrayLike) -> bytes:
    """Give an .mda file of an array of any shape with at least one dimension.

    Its type must be uint8, int16, uint16, int32, uint32, float32 or float64: ValueError for any other, so that nothing
    is rounded in silence.
    """
    values = np.asarray(array)
    codes = {np.dtype(name): code for code, name in _CODES.items()}
    dtype = values.dtype.newbyteorder("<")
    if dtype not in codes or not 1 <= values.ndim <= _MOST_DIMENSIONS:
        raise ValueError(f"an .mda file cannot hold {values.dtype} {values.shape}")
    long = any(length > _INT32_MAX for length in values.shape)
    n_dimensions = -values.ndim if long else values.ndim
    head = struct.pack("<iii", codes[dtype], dtype.itemsize, n_dimensions)
    lengths = struct.pack(f"<{values.ndim}{'q' if long else 'i'}", *values.shape)
    return head + lengths + values.astype(dtype, copy=False).tobytes(order="F")


def read_mda(path: Path) -> NDArray[Any]:
    """Read an .mda file. Raises InputMissing if there is none, and what `parse_mda` raises."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`") from error
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    return parse_mda(content, str(path))


def parse_mda(content: bytes, where: str) -> NDArray[Any]:
    """Give the array in the bytes of an .mda file, little-endian and its own; `where` is what an error calls them.

    Raises FormatError if they are no such file, or are cut, or go on behind the last value.
    """
    if len(content) < 12:
        raise FormatError(f"{where} is no .mda file: it has {len(content)} bytes, fewer than its header", hint=_HINT)
    code, n_bytes, n_dimensions = struct.unpack_from("<iii", content)
    if code not in _CODES:
        raise FormatError(f"{where} is no .mda file that can be read: its type code is {code}", hint=_HINT)
    dtype = np.dtype(_CODES[code])
    if n_bytes != dtype.itemsize:
        raise FormatError(
            f"{where} is no .mda file: {n_bytes} bytes a value, where {dtype} has {dtype.itemsize}", hint=_HINT
        )
    if not 1 <= abs(n_dimensions) <= _MOST_DIMENSIONS:
        raise FormatError(f"{where} is no .mda file: it would have {n_dimensions} dimensions", hint=_HINT)
    layout = f"<{abs(n_dimensions)}{'q' if n_dimensions < 0 else 'i'}"
    start = 12 + struct.calcsize(layout)
    if len(content) < start:
        raise FormatError(f"{where} ends within its header, after {len(content)} bytes", hint=_HINT)
    shape = struct.unpack_from(layout, content, 12)
    n_values = 1
    for length in shape:  # Python's numbers have no limit, so a damaged shape cannot wrap around
        if length < 0:
            raise FormatError(f"{where} is no .mda file: its shape would be {shape}", hint=_HINT)
        n_values *= length
    expected = start + n_values * dtype.itemsize
    if len(content) != expected:
        fault = "is cut" if len(content) < expected else "goes on behind its last value"
        raise FormatError(
            f"{where} {fault}: {len(content)} bytes, where shape {shape} of {dtype} takes {expected}", hint=_HINT
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F").copy(order="F")

"""Tables as pickles, which is how hickle keeps pandas objects; pandas itself is needed neither to write nor to read.

What is written names only `pandas.Series`, `pandas.DataFrame` and four functions of numpy, so that `pickle.loads` gives
real objects with pandas 1.5 (numpy 1) and with pandas 3 (numpy 2) alike; pandas' own pickles name its insides, which
change. What is read is never called (see `inert_pickle`): a table is put together from the stand-ins if they are those
of one of our pickles or of pandas' own.
"""

import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from raypipe.io.inert_pickle import StandIn, follow
from raypipe.io.pandas_pickle import array_of, column_labels, pandas_table
from raypipe.io.tables import Table, empty_frame

# What a pickle that holds no table, or is cut, or is meant to harm, can raise here.
_NO_TABLE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
)


def table_parts(table: Table) -> list[bytes | NDArray[Any]]:
    """Give the pickle of a table in pieces: bytes, and between them columns (n,) that are to be written as they are.

    Columns lie one after the other, as pandas keeps them. The pieces do not depend on how the values lie in memory.
    """
    values, columns = table.values, table.columns
    index = [b"N"] if table.index is None else _array_parts(table.index[:, None], (table.index.size,))
    if columns is None:
        arguments = [*_array_parts(values[:, None], values.shape), *index, b"N", _pickled(table.name)]
        called = b"Series"
    elif values.shape == (0, 0) and table.index is None:
        arguments, called = [], b"DataFrame"  # as PyHipp makes it; a frame of no shape would get other labels
    else:
        labels = None if columns == tuple(range(len(columns))) else list(columns)
        arguments = [*_array_parts(values, values.shape), *index, _pickled(labels)]
        called = b"DataFrame"
    return [b"\x80\x04cpandas\n" + called + b"\n(", *arguments, b"tR."]


def read_table(stream: BinaryIO) -> Table | None:
    """Read the pickle of a table: ours, or one that pandas 0.25 to 3 made of a Series or DataFrame of numbers.

    None for every other pickle. The values are the table's own, and can be written to.
    """
    try:
        return _table(follow(stream))
    except _NO_TABLE:
        return None


def _array_parts(columns: NDArray[Any], shape: tuple[int, ...]) -> list[bytes | NDArray[Any]]:
    # numpy.array(numpy.reshape(numpy.frombuffer(...))): the copy makes it an array that can be written to.
    little = columns.dtype.newbyteorder("<")
    if not columns.size:
        return [b"cnumpy\nzeros\n(" + _pickled(shape) + _pickled(little.str) + b"tR"]
    head = b"cnumpy\narray\n(cnumpy\nreshape\n(cnumpy\nfrombuffer\n(\x8e" + struct.pack("<Q", columns.nbytes)
    tail = _pickled(little.str) + b"tR" + _pickled(shape) + _pickled("F") + b"tRtR"
    return [head, *(column.astype(little, copy=False) for column in columns.T), tail]


def _pickled(value: Any) -> bytes:
    """Pickle None, str, int, or a list or tuple of them, without header, frames and memo."""
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    return b"(" + b"".join(map(_pickled, value)) + (b"l" if isinstance(value, list) else b"t")


def _table(root: StandIn) -> Table:
    if root.state is not None:
        return pandas_table(root)
    return {"pandas.DataFrame": _own_frame, "pandas.Series": _own_series}[root.what](*root.args)


def _own_frame(*args: Any) -> Table:
    if not args:
        return empty_frame()
    array, index, columns = args
    values = _own_array(array)
    labels = column_labels(range(values.shape[1]) if columns is None else columns)
    return Table(values, columns=labels, index=None if index is None else _own_array(index))


def _own_series(values: StandIn, index: StandIn | None, _: None, name: str | int | None) -> Table:
    return Table(_own_array(values), name=name, index=None if index is None else _own_array(index))


def _own_array(node: StandIn) -> NDArray[Any]:
    if node.what == "numpy.zeros":
        shape, dtype = node.args
        return array_of(b"", np.dtype(dtype), shape, "F")
    (reshaped,) = node.call_of("numpy.array")
    flat, shape, order = reshaped.call_of("numpy.reshape")
    content, dtype = flat.call_of("numpy.frombuffer")
    return array_of(content, np.dtype(dtype), shape, order)

"""Tables as pickles, which is how hickle keeps pandas objects; pandas itself is needed neither to write nor to read.

What is written names only `pandas.Series`, `pandas.DataFrame` and four functions of numpy, so that `pickle.loads` gives
real objects with pandas 1.5 (numpy 1) and with pandas 3 (numpy 2) alike; pandas' own pickles name its insides, which
change. What is read is never called: everything that a pickle names becomes a stand-in, and a table is put together
from the stand-ins if they are those of one of our pickles or of pandas' own.
"""

import pickle
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from raypipe.io.tables import Table, empty_frame

# What a pickle that holds no table, or is cut, or is meant to harm, can raise here.
_NO_TABLE = (
    pickle.UnpicklingError,
    EOFError,
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
        return _table(_Unpickler(stream).load())
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


class _StandIn:
    """Stands for whatever a pickle names, and remembers what it would have been called with. Calls nothing."""

    what: str
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "_StandIn":
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any) -> "_StandIn":
        return _named(f"{self.what}()")(*args)


def _named(what: str) -> type[_StandIn]:
    # A class for each, since a pickle may ask for an instance of what it names without calling it.
    return type("_Named", (_StandIn,), {"what": what})


class _Unpickler(pickle.Unpickler):
    """Gives stand-ins for all names."""

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        # numpy 2 and pandas 3 have moved what they pickle to other modules of theirs.
        return _named(f"{module.partition('.')[0]}.{name}")


def _table(root: _StandIn) -> Table:
    is_frame = {"pandas.DataFrame": True, "pandas.Series": False}[root.what]
    if root.state is None:
        return _own_frame(*root.args) if is_frame else _own_series(*root.args)
    if root.state.get("attrs"):
        raise ValueError("a table has no place for attributes")
    blocks, axes = _manager(root.state["_mgr"] if "_mgr" in root.state else root.state["_data"])
    if is_frame:
        columns, rows = axes
        return _frame(blocks, tuple(map(_plain, columns)), rows)
    ((values, _),), (rows,) = blocks, axes
    name = root.state["_name"] if "_name" in root.state else root.state["name"]
    return Table(values, name=_plain(name), index=_index(rows, len(values)))


def _own_frame(*args: Any) -> Table:
    if not args:
        return empty_frame()
    values, index, columns = _own_array(args[0]), args[1], args[2]
    labels = tuple(range(values.shape[1])) if columns is None else tuple(columns)
    return Table(values, columns=labels, index=None if index is None else _own_array(index))


def _own_series(values: _StandIn, index: _StandIn | None, _: None, name: str | int | None) -> Table:
    return Table(_own_array(values), name=name, index=None if index is None else _own_array(index))


def _own_array(node: _StandIn) -> NDArray[Any]:
    if node.what == "numpy.zeros":
        shape, dtype = node.args
        return _values(b"", np.dtype(dtype), shape, "F")
    reshape = _called(node, "numpy.array")[0]
    frombuffer, shape, order = _called(reshape, "numpy.reshape")
    content, dtype = _called(frombuffer, "numpy.frombuffer")
    return _values(content, np.dtype(dtype), shape, order)


def _called(node: _StandIn, what: str) -> tuple[Any, ...]:
    if node.what != what:
        raise ValueError(f"{node.what} is not {what}")
    return node.args


def _values(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    flat = np.frombuffer(content, dtype) if len(content) else np.empty(0, dtype)
    return flat.reshape(shape, order=order).astype(dtype.newbyteorder("="), order="K")


# Pickles that pandas made itself.

_Labels = range | NDArray[Any] | Sequence[Any]
_Block = tuple[NDArray[Any], Any]


def _manager(node: _StandIn) -> tuple[list[_Block], list[_Labels]]:
    """Give the blocks, each with its values and its place among the columns, and the labels of the axes."""
    if node.state is not None:  # of a Series; also of a DataFrame before pandas 1.3
        insides = node.state[3]["0.14.1"]
        blocks = [(block["values"], block["mgr_locs"]) for block in insides["blocks"]]
        axes = insides["axes"]
    else:
        unpickled, axes = node.args
        blocks = [_called(block, "pandas._unpickle_block")[:2] for block in unpickled]
    return [(_numbers(values), place) for values, place in blocks], [_labels(axis) for axis in axes]


def _frame(blocks: list[_Block], columns: tuple[str | int, ...], rows: _Labels) -> Table:
    shape = (len(columns), len(rows))
    if len(blocks) == 1 and blocks[0][0].shape == shape and _place(blocks[0][1], len(columns)) == list(range(shape[0])):
        return Table(blocks[0][0].T, columns=columns, index=_index(rows, shape[1]))
    (dtype,) = {values.dtype for values, _ in blocks} or {np.dtype(np.float64)}
    whole = np.empty(shape, dtype)
    unfilled = set(range(shape[0]))
    for values, place in blocks:
        numbers = _place(place, shape[0])
        whole[numbers] = values
        unfilled -= set(numbers)
    if unfilled:
        raise ValueError("columns without values")
    return Table(whole.T, columns=columns, index=_index(rows, shape[1]))


def _place(node: _StandIn, n_columns: int) -> list[int]:
    if node.what in ("builtins.slice", "dill._load_type()"):
        return list(range(*slice(*node.args).indices(n_columns)))
    return [int(number) for number in _numbers(node)]


def _labels(node: _StandIn) -> _Labels:
    kind, state = _called(node, "pandas._new_Index")
    if state.get("name") is not None:
        raise ValueError("a table has no place for the name of an index")
    if kind.what == "pandas.RangeIndex":
        return range(state["start"], state["stop"], state["step"])
    labels = state["data"]
    is_text = labels.what == "pandas.__pyx_unpickle_NDArrayBacked"  # of pandas 3
    return _array(labels.state[1] if is_text else labels)


def _index(labels: _Labels, n_rows: int) -> NDArray[Any] | None:
    is_plain = isinstance(labels, range) and labels == range(n_rows)
    if is_plain or (n_rows == 0 and isinstance(labels, list)):
        return None
    if len(labels) != n_rows or any(type(_plain(label)) is not int for label in labels[:1]):
        raise ValueError("the labels of the rows are no integers")
    return np.asarray(labels).astype(np.int64, casting="safe")


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.integer) else label


def _numbers(node: _StandIn) -> NDArray[Any]:
    values = _array(node)
    if isinstance(values, list):
        raise TypeError("objects are no numbers")
    return values


def _array(node: _StandIn) -> NDArray[Any] | list[Any]:
    """Give the array that numpy pickled; of one of objects the list of them."""
    if node.what == "numpy._frombuffer":  # what protocol 5 makes of it
        content, kind, shape, order = node.args
        return _values(content, _dtype(kind), shape, order)
    # hickle 4 pickled with dill, which puts the state of an array beside what makes it.
    state = node.args[2] if node.what == "dill._create_array" else node.state
    _, shape, kind, is_fortran, content = state
    if isinstance(content, list):
        return content
    return _values(content, _dtype(kind), shape, "F" if is_fortran else "C")


def _dtype(node: _StandIn) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(_called(node, "numpy.dtype")[0])
    return dtype.newbyteorder(node.state[1])

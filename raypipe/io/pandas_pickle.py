"""Tables from the pickles that pandas 0.25 to 3 makes of its own objects, without pandas.

Such a pickle shows pandas' insides: blocks of values (columns, rows), each with the places of its columns, and the
labels of both axes. All here raise ValueError, TypeError, LookupError or AttributeError for what holds no table.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.io.inert_pickle import StandIn
from raypipe.io.tables import Table

_MOST_COLUMNS = 1_000_000  # a range of labels takes a line in a pickle, and all memory as a tuple

_Labels = range | NDArray[Any] | Sequence[Any]
_Block = tuple[NDArray[Any], Any]


def pandas_table(root: StandIn) -> Table:
    """Put together the table that a followed pickle of a Series or DataFrame of numbers of one type stands for."""
    if root.state.get("attrs"):
        raise ValueError("a table has no place for attributes")
    blocks, axes = _manager(root.state["_mgr"] if "_mgr" in root.state else root.state["_data"])
    if root.what == "pandas.DataFrame":
        columns, rows = axes
        return _frame(blocks, column_labels(columns), rows)
    if root.what != "pandas.Series":
        raise ValueError(f"{root.what} is no table")
    ((values, _),), (rows,) = blocks, axes
    name = root.state["_name"] if "_name" in root.state else root.state["name"]
    return Table(values, name=_plain(name), index=_index(rows, len(values)))


def column_labels(labels: _Labels) -> tuple[Any, ...]:
    """Give the labels of columns as those of a table."""
    if len(labels) > _MOST_COLUMNS:
        raise ValueError(f"{len(labels)} columns")
    return tuple(_plain(label) for label in labels)


def array_of(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    """Make an array of its bytes; it is its own, and can be written to."""
    flat = np.frombuffer(content, dtype) if len(content) else np.empty(0, dtype)
    return flat.reshape(shape, order=order).astype(dtype.newbyteorder("="), order="K")


def _manager(node: StandIn) -> tuple[list[_Block], list[_Labels]]:
    """Give the blocks, each with its values and its place among the columns, and the labels of the axes."""
    if node.state is not None:  # of a Series; also of a DataFrame before pandas 1.3
        insides = node.state[3]["0.14.1"]
        blocks = [(block["values"], block["mgr_locs"]) for block in insides["blocks"]]
        axes = insides["axes"]
    else:
        unpickled, axes = node.args
        blocks = [block.call_of("pandas._unpickle_block")[:2] for block in unpickled]
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
        if values.shape != (len(numbers), shape[1]):
            raise ValueError("a block that does not fit its place")
        whole[numbers] = values
        unfilled -= set(numbers)
    if unfilled:
        raise ValueError("columns without values")
    return Table(whole.T, columns=columns, index=_index(rows, shape[1]))


def _place(node: StandIn, n_columns: int) -> list[int]:
    if node.what in ("builtins.slice", "dill._load_type()"):
        return list(range(*slice(*node.args).indices(n_columns)))
    return [int(number) for number in _numbers(node)]


def _labels(node: StandIn) -> _Labels:
    kind, state = node.call_of("pandas._new_Index")
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


def _numbers(node: StandIn) -> NDArray[Any]:
    values = _array(node)
    if isinstance(values, list):
        raise TypeError("objects are no numbers")
    return values


def _array(node: StandIn) -> NDArray[Any] | list[Any]:
    """Give the array that numpy pickled; of one of objects the list of them."""
    if node.what == "numpy._frombuffer":  # what protocol 5 makes of it
        content, kind, shape, order = node.args
        return array_of(content, _dtype(kind), shape, order)
    # hickle 4 pickled with dill, which puts the state of an array beside what makes it.
    state = node.args[2] if node.what == "dill._create_array" else node.state
    _, shape, kind, is_fortran, content = state
    if isinstance(content, list):
        return content
    return array_of(content, _dtype(kind), shape, "F" if is_fortran else "C")


def _dtype(node: StandIn) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(node.call_of("numpy.dtype")[0])
    return dtype.newbyteorder(node.state[1])

"""Reads the tree of a hickle file: that of hickle 4, which hickle 5 misreads, and of hickle 5 with a field left out.

hickle 5 keeps an item of a dict as `data/"key"`, with its type in a table; hickle 4 as `data/'key'/data`, with its type
beside it. What hickle had pickled comes as a table if it is one, else as its pickle: nothing that a pickle names is
ever called.
"""

import ast
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from raypipe.io.table_pickle import read_table
from raypipe.io.tables import Pickled, Table

# PyHipp sees a list of numbers as a list of numpy scalars, since hickle makes it from the array it stored.
_SEQUENCES: dict[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "set": set}
_SCALARS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool, "complex": complex}

# What reading a file that is damaged, or that is none of hickle's, can raise.
UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, SyntaxError, OverflowError)


def is_hickle4(file: h5py.File) -> bool:
    """Tell whether hickle 4 wrote the file. Raises ValueError if hickle did not write it at all."""
    version = file.attrs.get("HICKLE_VERSION")
    if version is None or "data" not in file:
        raise ValueError("it has no HICKLE_VERSION or no data")
    return _text(version).startswith("4.")


def read_object(file: h5py.File, *, leave_out: Collection[str] = ()) -> Any:
    """Read the object in an open hickle-4 or hickle-5 file, without the fields to `leave_out`.

    Raises one of UNREADABLE if the tree is not one that hickle makes.
    """
    is_hickle4(file)
    return _value(file["data"], leave_out)


def field_node(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Find the dataset that holds the array field `name`, without reading it; None if there is none."""
    node = file.get(f"data/'{name}'/data" if is_hickle4(file) else f'data/"{name}"')
    return node if isinstance(node, h5py.Dataset) else None


def write_pickle(file: h5py.File, name: str, parts: Sequence[bytes | NDArray[Any]]) -> None:
    """Put a pickle, given in parts, in place of the field `name` of an open hickle-5 file, as hickle keeps one.

    hickle takes for a pickle what has no type. Parts that are arrays (n,) are written as they lie in memory.
    """
    label = f'"{name}"'
    old = file["data"][label].attrs
    place = [(key, old[key], old.get_id(key).dtype) for key in ("key_base_type", "key_idx")]
    del file["data"][label]
    pieces = [np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part for part in parts]
    node = file["data"].create_dataset(label, shape=(sum(piece.nbytes for piece in pieces),), dtype=np.uint8)
    start = 0
    for piece in pieces:
        node[start : start + piece.nbytes] = np.ascontiguousarray(piece).view(np.uint8)
        start += piece.nbytes
    for key, value, dtype in place:
        node.attrs.create(key, value, dtype=dtype)


def _value(node: h5py.Group | h5py.Dataset, leave_out: Collection[str] = ()) -> Any:
    if isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is not None:
        return _value(node.file[node[()]])
    kind = _base_type(node)
    if kind == "dict":
        return {key: _value(item) for key, item in _items(node) if key not in leave_out}
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_elements(node))
    if kind in _SCALARS:
        return _SCALARS[kind](node[()].tobytes() if node.shape else node[()])
    if kind in ("str", "bytes"):
        return _bytes(node).decode() if kind == "str" else _bytes(node)
    if kind == "None":
        return None
    if kind == "np_scalar":
        return np.dtype(_text(node.attrs["np_dtype"])).type(node[()])
    if kind == "ndarray":
        return _array(node)
    if kind == "pickle":
        return _table_or_pickle(node)
    raise ValueError(f"{node.name} is of the unknown type {kind!r}")


def _base_type(node: h5py.Group | h5py.Dataset) -> str:
    if "base_type" in node.attrs:
        return _text(node.attrs["base_type"])
    if "type" not in node.attrs:
        return "pickle"
    file = node.file
    base = file[node.attrs["type"]].attrs.get("base_type")
    if base is None:
        return "pickle"
    # Not by the name of `file[base]`: for that HDF5 searches the whole file, each time.
    kind, table = file[base], file["hickle_types_table"]
    return next((name for name in table if table[name] == kind), "unknown")


def _items(group: h5py.Group) -> Iterator[tuple[Any, h5py.Group | h5py.Dataset]]:
    for name, node in sorted(group.items(), key=lambda item: int(item[1].attrs["key_idx"])):
        kind = _text(node.attrs["key_base_type"])
        if kind == "key_value":  # a key that cannot be a name: both are stored, as a pair
            key, value = (node[part] for part in ("data0", "data1"))
            yield _value(key), value
        elif name.startswith('"'):
            yield name[1:-1], node
        else:
            inner = node["data"] if _text(node.attrs.get("base_type", "")) == "dict_item" else node
            yield ast.literal_eval(name.replace("\\\\", "/")), inner


def _elements(node: h5py.Group | h5py.Dataset) -> Any:
    if isinstance(node, h5py.Group):
        by_number = sorted(node.items(), key=lambda item: int(re.sub(r"\D", "", item[0]) or 0))
        return [_value(item) for _, item in by_number]
    if node.shape is None:
        return []
    if _text(node.attrs.get("str_type", "")) == "str":
        return [text.decode() for text in node[()].ravel()]
    return node[()]


def _array(node: h5py.Group | h5py.Dataset) -> Any:
    dtype = np.dtype(_text(node.attrs["np_dtype"]))
    if isinstance(node, h5py.Group) or dtype.kind in "US":
        return np.array(_elements(node), dtype=dtype)
    return np.array(node[()], dtype=dtype)


def _table_or_pickle(node: h5py.Dataset) -> Table | Pickled:
    in_pieces = node.shape is not None and node.ndim == 1 and node.dtype == np.uint8
    stream = io.BufferedReader(_Content(node)) if in_pieces else io.BytesIO(_bytes(node))
    table = read_table(cast(BinaryIO, stream))
    return Pickled(_bytes(node)) if table is None else table


class _Content(io.RawIOBase):
    """The bytes of a dataset as a stream: a pickle of a gigabyte is not read before its values are."""

    def __init__(self, node: h5py.Dataset) -> None:
        self._node = node
        self._start = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start

    def readinto(self, buffer: Any) -> int:
        into = np.frombuffer(buffer, np.uint8)[: self._node.size - self._start]
        if into.size:
            self._node.read_direct(into, np.s_[self._start : self._start + into.size])
        self._start += into.size
        return into.size


def _bytes(node: h5py.Dataset) -> bytes:
    if node.shape is None:
        return b""
    content = node[()]
    return content if isinstance(content, bytes) else bytes(np.asarray(content).tobytes())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

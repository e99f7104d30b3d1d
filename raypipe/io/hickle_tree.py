"""Reads the tree of a hickle file: that of hickle 4, which hickle 5 misreads, and of hickle 5 with a field left out.

hickle 5 keeps an item of a dict as `data/"key"`, with its type in a table; hickle 4 as `data/'key'/data`, with its type
beside it. What hickle had pickled comes as a table if it is one, else as its pickle: nothing that a pickle names is
ever called.
"""

import ast
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO, TypeAlias, cast

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o, h5s, h5t
from numpy.typing import NDArray

from raypipe.io.table_pickle import read_table
from raypipe.io.tables import Pickled, Table

# PyHipp sees a list of numbers as a list of numpy scalars, since hickle makes it from the array it stored.
_SEQUENCES: dict[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "set": set}
_SCALARS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool, "complex": complex}

_Node: TypeAlias = h5g.GroupID | h5d.DatasetID
_CHARACTER = h5t.py_create(np.dtype("S1"))  # of which hickle stores a text as an array
_NO_DIGITS = re.compile(rb"\D")

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
    return _Tree(file).value(file["data"].id, leave_out)


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


class _Tree:
    """The nodes of one file, by h5py's low-level ids: its objects cost ten times as much as what hickle stores in one."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._kinds = None if is_hickle4(file) else _kinds(file["hickle_types_table"])

    def value(self, node: _Node, leave_out: Collection[str] = ()) -> Any:
        dtype = node.get_type() if isinstance(node, h5d.DatasetID) else None
        if dtype is not None and dtype.get_class() == h5t.REFERENCE:
            return self.value(self._file[_object(node)[()]].id)
        kind = self._kind(node)
        if kind in ("str", "bytes"):
            content = _characters(node) if dtype is not None and dtype.equal(_CHARACTER) else _bytes(_object(node))
            return content.decode() if kind == "str" else content
        if kind == "dict":
            return {key: self.value(item) for key, item in self._items(h5py.Group(node)) if key not in leave_out}
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](self._elements(node))
        if kind == "ndarray":
            return self._array(node)
        if kind == "None":
            return None
        stored = _object(node)
        if kind in _SCALARS:
            return _SCALARS[kind](stored[()].tobytes() if stored.shape else stored[()])
        if kind == "np_scalar":
            return np.dtype(_text(stored.attrs["np_dtype"])).type(stored[()])
        if kind == "pickle":
            return _table_or_pickle(stored)
        raise ValueError(f"{stored.name} is of the unknown type {kind!r}")

    def _kind(self, node: _Node) -> str:
        if self._kinds is None:
            return _text(_object(node).attrs.get("base_type", "pickle"))
        return self._kinds.get(_reference(node, b"type"), "unknown") if h5a.exists(node, b"type") else "pickle"

    def _items(self, group: h5py.Group) -> Iterator[tuple[Any, _Node]]:
        for name, node in sorted(group.items(), key=lambda item: int(item[1].attrs["key_idx"])):
            kind = _text(node.attrs["key_base_type"])
            if kind == "key_value":  # a key that cannot be a name: both are stored, as a pair
                key, value = (node[part].id for part in ("data0", "data1"))
                yield self.value(key), value
            elif name.startswith('"'):
                yield name[1:-1], node.id
            else:
                inner = node["data"] if _text(node.attrs.get("base_type", "")) == "dict_item" else node
                yield ast.literal_eval(name.replace("\\\\", "/")), inner.id

    def _elements(self, node: _Node) -> Any:
        if isinstance(node, h5g.GroupID):
            by_number = sorted(node, key=lambda name: int(_NO_DIGITS.sub(b"", name) or 0))
            return [self.value(h5o.open(node, name)) for name in by_number]
        dataset = h5py.Dataset(node)
        if dataset.shape is None:
            return []
        if _text(dataset.attrs.get("str_type", "")) == "str":
            return [text.decode() for text in dataset[()].ravel()]
        return dataset[()]

    def _array(self, node: _Node) -> Any:
        dtype = np.dtype(_text(_object(node).attrs["np_dtype"]))
        if isinstance(node, h5g.GroupID) or dtype.kind in "US":
            return np.array(self._elements(node), dtype=dtype)
        return np.array(h5py.Dataset(node)[()], dtype=dtype)


def _kinds(table: h5py.Group) -> dict[int, str]:
    """Give the kind of the nodes of each type in hickle 5's table, by the type's address in the file.

    A type refers to its kind, which is in the table by name; one that refers to none is pickled.
    """
    types = {h5o.get_info(table.id, name).addr: name for name in table.id}
    kinds = {}
    for address, name in types.items():
        node = h5o.open(table.id, name)
        refers = h5a.exists(node, b"base_type")
        kinds[address] = types.get(_reference(node, b"base_type"), b"unknown").decode() if refers else "pickle"
    return kinds


def _reference(node: _Node, attribute: bytes) -> int:
    """Give the address that an attribute refers to; 0, where no object can be, if it is empty."""
    address = np.zeros((), np.uint64)
    h5a.open(node, attribute).read(address, mtype=h5t.STD_REF_OBJ)
    return int(address)


def _object(node: _Node) -> h5py.Group | h5py.Dataset:
    return h5py.Group(node) if isinstance(node, h5g.GroupID) else h5py.Dataset(node)


def _characters(node: h5d.DatasetID) -> bytes:
    if node.shape is None:
        return b""
    characters = np.empty(node.shape, "S1")
    node.read(h5s.ALL, h5s.ALL, characters, _CHARACTER)
    return characters.tobytes()


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

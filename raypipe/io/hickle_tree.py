"""Reads the tree of a hickle file: that of hickle 4, which hickle 5 misreads, and of hickle 5 with a field left out.

hickle 5 keeps an item of a dict as `data/"key"`, with its type in a table; hickle 4 as `data/'key'/data`, with its type
beside it. Nothing is ever unpickled.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import h5py
import numpy as np

# PyHipp sees a list of numbers as a list of numpy scalars, since hickle makes it from the array it stored.
_SEQUENCES: dict[str, Callable[[Any], Any]] = {"list": list, "tuple": tuple, "set": set}
_SCALARS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool, "complex": complex}


class Pickled(bytes):
    """A value that hickle had pickled (a pandas frame, say), as its pickle."""


def is_hickle4(file: h5py.File) -> bool:
    """Tell whether hickle 4 wrote the file. Raises ValueError if hickle did not write it at all."""
    version = file.attrs.get("HICKLE_VERSION")
    if version is None or "data" not in file:
        raise ValueError("it has no HICKLE_VERSION or no data")
    return _text(version).startswith("4.")


def read_object(file: h5py.File, *, leave_out: Collection[str] = ()) -> Any:
    """Read the object in an open hickle-4 or hickle-5 file, without the fields to `leave_out`.

    Raises ValueError (or KeyError) if the tree is not one that hickle makes.
    """
    is_hickle4(file)
    return _value(file["data"], leave_out)


def field_node(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Find the dataset that holds the array field `name`, without reading it; None if there is none."""
    node = file.get(f"data/'{name}'/data" if is_hickle4(file) else f'data/"{name}"')
    return node if isinstance(node, h5py.Dataset) else None


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
        return Pickled(_bytes(node))
    raise ValueError(f"{node.name} is of the unknown type {kind!r}")


def _base_type(node: h5py.Group | h5py.Dataset) -> str:
    if "base_type" in node.attrs:
        return _text(node.attrs["base_type"])
    if "type" not in node.attrs:
        return "pickle"
    entry = node.file[node.attrs["type"]]
    base = entry.attrs.get("base_type")
    return "pickle" if base is None else node.file[base].name.rsplit("/", 1)[-1]


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


def _bytes(node: h5py.Dataset) -> bytes:
    if node.shape is None:
        return b""
    content = node[()]
    return content if isinstance(content, bytes) else bytes(np.asarray(content).tobytes())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

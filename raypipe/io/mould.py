"""The file of an object without its samples: laid out by hickle once per kind, then cast with other values.

`hickle.dump` of a small object takes about 10 ms; the channels of a session differ only in a few values of the same
length, which are patched in microseconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import hickle
import numpy as np

from raypipe.io.objects import unshared

# The samples begin at a page, so that they can be mapped, and written without reading a page back.
_PAGE_BYTES = 4096
_SMALLEST_ALIGNED_BYTES = 65536

_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a value lies in the file: `n_bytes` of `dtype` from `offset`."""

    offset: int
    n_bytes: int
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Mould:
    """All bytes of a file but its samples, which lie in `[data_offset, data_end)`, and where every value lies."""

    head: bytes
    tail: bytes  # HDF5 puts samples at the end of the file, unless they are so few that they fit between other values
    data_offset: int
    data_end: int
    places: Mapping[_Path, Place]

    def cast(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Give the bytes in front of the samples and behind them for an object of the same kind with these values."""
        head, tail = bytearray(self.head), bytearray(self.tail)
        for path, value in _leaves(fields):
            place = self.places.get(path)
            if place is not None:
                part, start = (head, 0) if place.offset < self.data_offset else (tail, self.data_end)
                part[place.offset - start : place.offset - start + place.n_bytes] = packed(value, place)
        return bytes(head), bytes(tail)


def mould_for(fields: Mapping[str, Any], n_samples: int) -> Mould:
    """Give the mould for objects with these keys and types, whose field `data` is float32 (n_samples,), n_samples > 0.

    The other fields may be numbers, strings, None, and lists and dicts of those.
    """
    seen: dict[str, int] = {}
    signature = tuple((path, *_kind(value, seen)) for path, value in _leaves(fields))
    return _make(_Kind(n_samples, signature, fields))


def packed(value: Any, place: Place) -> bytes:
    """Give the bytes of a value as they lie in the file."""
    raw = value.encode() if isinstance(value, str) else np.asarray(value, dtype=place.dtype).tobytes()
    if len(raw) != place.n_bytes:
        raise ValueError(f"{value!r} takes {len(raw)} bytes where {place.n_bytes} are")
    return raw


@dataclass(frozen=True)
class _Kind:
    n_samples: int
    signature: tuple[tuple[object, ...], ...]
    fields: Mapping[str, Any] = field(compare=False)


@lru_cache(maxsize=64)
def _make(kind: _Kind) -> Mould:
    with TemporaryDirectory(prefix="raypipe-") as folder:
        path = Path(folder) / "mould.hkl"
        with h5py.File(path, "w", alignment_threshold=_SMALLEST_ALIGNED_BYTES, alignment_interval=_PAGE_BYTES) as file:
            hickle.dump(unshared({**kind.fields, "data": np.zeros(1, np.float32)}), file)
            samples = _replace_data(file["data"], kind.n_samples)
            samples[-1] = 0  # gives the samples their place in the file, without writing the others
            offset = samples.id.get_offset()
            places = dict(_places(file["data"], kind.fields))
        end = offset + samples_bytes(kind.n_samples)
        with path.open("rb") as written:
            head = written.read(offset)
            written.seek(end)
            return Mould(head, written.read(), offset, end, places)


def samples_bytes(n_samples: int) -> int:
    """Bytes of `n_samples` float32."""
    return 4 * n_samples


def _replace_data(group: h5py.Group, n_samples: int) -> h5py.Dataset:
    small = group['"data"']
    attributes = [(name, value, small.attrs.get_id(name).dtype) for name, value in small.attrs.items()]
    del group['"data"']
    samples = group.create_dataset('"data"', shape=(n_samples,), dtype="<f4")
    for name, value, dtype in attributes:
        samples.attrs.create(name, value, dtype=dtype)
    return samples


def _places(group: h5py.Group, fields: Mapping[str, Any]) -> Iterator[tuple[_Path, Place]]:
    for path, _ in _leaves(fields):
        node = group["/".join(f'"{part}"' if isinstance(part, str) else f"data{part}" for part in path)]
        # A string met before is stored as a reference, None and [] without a value: nothing to patch.
        if isinstance(node, h5py.Dataset) and node.size and h5py.check_ref_dtype(node.dtype) is None:
            yield path, Place(node.id.get_offset(), node.nbytes, node.dtype)


def _leaves(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    if path == ("data",):
        return
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list | tuple) and any(isinstance(item, str | list | tuple | dict | None) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number))
    else:
        yield path, value


def _kind(value: Any, seen: dict[str, int]) -> tuple[object, ...]:
    """Tell what of a value decides the layout: types and lengths, and whether a string was met before."""
    if isinstance(value, str):
        return "str", len(value.encode()), seen.setdefault(value, len(seen))
    if isinstance(value, list | tuple):
        return type(value), *(type(item) for item in value)
    if value is None or isinstance(value, int | float | np.number | Mapping):
        return (type(value),)
    raise TypeError(f"a growing object cannot hold a {type(value).__name__} beside its samples")

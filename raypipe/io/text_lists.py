"""A hickle-5 file with a list of very many short texts in it: what hickle writes, without what it takes to find out how.

hickle makes a dataset of every text, with three attributes. HDF5's library takes 80 µs for each, so the datasets are
laid out here, all alike: hickle writes the file with a list of one text, and the list's group gets another index.
The layout is that of HDF5's File Format Specification, version 1.1, which every HDF5 library reads.
"""

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack, unpack_from
from typing import Any

import h5py
import hickle
import numpy as np
from h5py import h5o
from numpy.typing import NDArray

from raypipe.io.objects import unshared

BYTES_PER_TEXT = 390
"""Of the file, about."""

LONGEST_TEXT = 1000

_PLACEHOLDER = b"text"
_NOWHERE = -1

# Datatypes: one byte of text, int64, text of any length, reference to an object. And a dataspace of no dimensions.
_CHARACTER = bytes.fromhex("13010000 01000000")
_INT64 = bytes.fromhex("10080000 08000000 00004000")
_TEXT = bytes.fromhex("19010000 10000000 10000000 01000000 00000800")
_REFERENCE = bytes.fromhex("17000000 08000000")
_SCALAR = bytes.fromhex("01000000 00000000")
# The default: written before it is read, nothing in it.
_FILL_VALUE = bytes.fromhex("02010201 00000000")


def object_image_with_texts(fields: Mapping[str, Any], name: str) -> bytes:
    """Give the bytes of a hickle-5 file of `fields`, of which field `name` is a list of one list of ASCII texts.

    No text may be empty or longer than LONGEST_TEXT; room is taken for the longest. The bytes are the same whichever
    process makes them. Raises ValueError for another field.
    """
    (texts,) = fields[name]
    if not all(type(text) is str and text and text.isascii() and len(text) <= LONGEST_TEXT for text in texts):
        raise ValueError(f"{name} is no list of short ASCII texts")
    plain = unshared({**fields, name: None})
    # An empty list is another kind of node to hickle, so it is left to it. A text that is an object of its own: another
    # field that has the same one would be written as a reference to it.
    plain[name] = [[_PLACEHOLDER.decode()] if texts else []]
    with h5py.File("object.hkl", "w", driver="core", backing_store=False, libver="earliest") as file:
        hickle.dump(plain, file)
        group = file[f'data/"{name}"/data0']
        if texts:
            group.attrs.modify("num_items", np.int64(len(texts)))
            kind = h5o.get_info(file[group["data0"].attrs["type"]].id).addr
        header = h5o.get_info(group.id).addr
        file.flush()
        image: bytes = file.id.get_file_image()
    return _filled(image, header, kind, texts) if texts else image


def _filled(image: bytes, group: int, kind: int, texts: Sequence[str]) -> bytes:
    """Append the texts to the file, as the datasets of the group whose header is at `group`."""
    half_leaf, half_node = unpack_from("<HH", image, 16)
    tree, heap = _symbol_table(image, group)
    file = io.BytesIO()
    file.write(image.ljust(_padded(len(image)), b"\0"))

    str_type = file.tell()
    file.write(_global_heap(b"str"))
    headers = _append(file, _datasets(texts, kind, str_type), len(texts))

    names = np.array([b"data%d" % index for index in range(len(texts))])
    order = np.argsort(names)
    # The first is the empty name, which goes before all others.
    segment = np.zeros(1 + len(texts), f"S{_padded(names.itemsize + 1)}")
    segment[1:] = names[order]
    (segment_start,) = _append(file, [segment], 1)

    blocks, keys = _leaves(np.arange(1, len(segment)) * segment.itemsize, headers[order], 2 * half_leaf)
    for level in itertools.count():
        children = _append(file, blocks, len(blocks))
        blocks, keys = _nodes(children, keys, level, file.tell(), 2 * half_node)
        if len(blocks) == 1:
            break

    end = file.tell()
    # The root, where the names are (1: none of their room is free) and where the file ends stay in their places.
    for place, content in (
        (tree, blocks.tobytes()),
        (heap + 8, pack("<QQQ", segment.nbytes, 1, segment_start)),
        (40, pack("<Q", end)),
    ):
        file.seek(place)
        file.write(content)
    return file.getvalue()


def _append(file: io.BytesIO, blocks: Iterable[Any], n: int) -> NDArray[np.int64]:
    """Append n blocks of one size, and give their addresses."""
    start = file.tell()
    file.writelines(blocks)
    return start + np.arange(n) * ((file.tell() - start) // n)


def _symbol_table(image: bytes, header: int) -> tuple[int, int]:
    """Find where the index of a group and the heap of its names are, in the group's header."""
    (size,) = unpack_from("<I", image, header + 8)
    blocks = [(header + 16, size)]
    for start, size in blocks:
        at = start
        while at < start + size:
            kind, length = unpack_from("<HH", image, at)
            first, second = unpack_from("<QQ", image, at + 8) if length >= 16 else (0, 0)
            if kind == 0x11:
                return first, second
            if kind == 0x10:  # the header goes on elsewhere
                blocks.append((first, second))
            at += 8 + length
    raise ValueError("a group has no symbol table")


def _datasets(texts: Sequence[str], kind: int, heap: int) -> Iterator[bytes]:
    """Lay out the header of each text's dataset, with the text in it."""
    room = _padded(4 + max(map(len, texts))) - 4
    before = {length: _before_text(length, room) for length in set(map(len, texts))}
    index_is_last = _attribute(b"item_index", _INT64, bytes(8))[:-8]
    after = _attribute(b"str_type", _TEXT, pack("<IQI", 3, heap, 1)) + _attribute(b"type", _REFERENCE, pack("<Q", kind))
    size = len(before[len(texts[0])]) + room + len(index_is_last) + 8 + len(after)
    prefix = pack("<BxHII4x", 1, 7, 1, size)
    for index, text in enumerate(texts):
        padded = text.encode().ljust(room, b"\0")
        yield b"".join((prefix, before[len(text)], padded, index_is_last, index.to_bytes(8, "little"), after))


def _before_text(length: int, room: int) -> bytes:
    shape = pack("<BBB5xQQQQ", 1, 2, 1, 1, length, 1, length)
    layout = pack("<BBH", 3, 0, length)
    messages = _message(0x1, shape) + _message(0x3, _CHARACTER) + _message(0x5, _FILL_VALUE)
    return messages + _message(0x8, layout + bytes(room))[:-room]


def _attribute(name: bytes, datatype: bytes, value: bytes) -> bytes:
    sizes = pack("<BxHHH", 1, len(name) + 1, len(datatype), len(_SCALAR))
    padded = (part.ljust(_padded(len(part)), b"\0") for part in (name + b"\0", datatype))
    return _message(0xC, b"".join((sizes, *padded, _SCALAR, value)))


def _message(kind: int, body: bytes) -> bytes:
    return pack("<HH4x", kind, len(body)) + body


def _global_heap(text: bytes) -> bytes:
    """Lay out a heap with one text, which all attributes share."""
    item = pack("<HH4xQ", 1, 0, len(text)) + text.ljust(_padded(len(text)), b"\0")
    free = pack("<HH4xQ", 0, 0, 4096 - 16 - len(item))
    return (pack("<4sB3xQ", b"GCOL", 1, 4096) + item + free).ljust(4096, b"\0")


def _leaves(names: NDArray[np.int64], headers: NDArray[np.int64], most: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Lay out the leaves of a group's index; also give the keys before, between and after them."""
    n = len(names)
    firsts = np.arange(0, n, most)
    entry = [("name", "<i8"), ("header", "<i8"), ("cached", "V24")]
    leaves = np.zeros(
        len(firsts), [("signature", "S4"), ("version", "<u2"), ("count", "<u2"), ("entries", entry, most)]
    )
    leaves["signature"], leaves["version"], leaves["count"] = b"SNOD", 1, np.minimum(n - firsts, most)
    leaves["entries"]["name"].flat[:n] = names
    leaves["entries"]["header"].flat[:n] = headers
    return leaves, np.append(0, names[np.append(firsts[1:], n) - 1])


def _nodes(
    children: NDArray[np.int64], keys: NDArray[np.int64], level: int, start: int, most: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Lay out the nodes over the children, from address `start` on; also give the keys before, between and after them."""
    n = len(children)
    firsts = np.arange(0, n, most)
    head = [("signature", "S4"), ("type", "u1"), ("level", "u1"), ("count", "<u2"), ("left", "<i8"), ("right", "<i8")]
    nodes = np.zeros(len(firsts), [*head, ("keys_and_children", "<i8", 2 * most + 1)])
    nodes["signature"], nodes["level"], nodes["count"] = b"TREE", level, np.minimum(n - firsts, most)
    addresses = start + np.arange(len(nodes)) * nodes.itemsize
    nodes["left"], nodes["right"] = np.append(_NOWHERE, addresses[:-1]), np.append(addresses[1:], _NOWHERE)
    nodes["keys_and_children"][:, ::2] = keys[np.minimum(firsts[:, None] + np.arange(most + 1), n)]
    nodes["keys_and_children"][:, 1::2].flat[:n] = children
    return nodes, keys[np.append(firsts, n)]


def _padded(size: int) -> int:
    return -(-size // 8) * 8

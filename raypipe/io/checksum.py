"""The checksum of a file (XXH3, 128 bits): made while the file is written, made again when it is read again."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from xxhash import xxh3_128

_BLOCK_BYTES = 4 << 20
_TEXT = re.compile(r"xxh3-128 [0-9a-f]{32}(?: from ([0-9]+))?")


class Checksum:
    """Takes the bytes of a file, those from `start` on first and then those before: a head may be written last.

    As text it tells how to make it again: `xxh3-128 HEX` of the whole file as it is, `xxh3-128 HEX from 4096` of a file
    read from byte 4096 to its end, and then from 0 to 4096.
    """

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._sum = xxh3_128()

    def __str__(self) -> str:
        return f"xxh3-128 {self._sum.hexdigest()}" + (f" from {self._start}" if self._start else "")

    def take(self, content: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._sum.update(content)

    def read(self, descriptor: int, start: int, end: int, advance: Callable[[int], None] = lambda _: None) -> None:
        """Take the next bytes from a file: `[start, end)`, or fewer where it ends. Raises OSError."""
        block = memoryview(bytearray(min(_BLOCK_BYTES, max(end - start, 0))))
        while start < end and (n_read := os.preadv(descriptor, [block[: end - start]], start)):
            self._sum.update(block[:n_read])
            start += n_read
            advance(n_read)


def checksum_of(content: bytes) -> str:
    """Return the checksum of a file with this content."""
    made = Checksum()
    made.take(content)
    return str(made)


def checksum_of_file(path: Path) -> str:
    """Return the checksum of a file that was just written, and is in the page cache. Raises OSError."""
    made = Checksum()
    with path.open("rb", buffering=0) as file:
        made.read(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return str(made)


def is_known(checksum: str) -> bool:
    """Whether a checksum can be made again here: none could be recorded, or by another raypipe, in another way."""
    return bool(_TEXT.fullmatch(checksum))


def made_again(descriptor: int, recorded: str, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the checksum of a file as it is now, made in the way of the `recorded` one, which must be known.

    `advance` is told how many bytes were read. Raises OSError.
    """
    told = _TEXT.fullmatch(recorded)
    assert told
    start = int(told[1] or 0)
    made = Checksum(start)
    made.read(descriptor, start, os.fstat(descriptor).st_size, advance)
    made.read(descriptor, 0, start, advance)
    return str(made)

"""The two files of the raycast, as they grow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from raypipe.io.publish import write_at, write_failed

CHUNK = (1000, 2)


class CsvFile:
    """Bytes behind bytes; synced when it is left without an error. Raises WriteFailed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        with _told(self._path):
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
        return self

    def append(self, text: NDArray[np.uint8]) -> None:
        """Write all of `text`."""
        with _told(self._path):
            while len(text):
                text = text[os.write(self._descriptor, text.data) :]

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None:
                with _told(self._path):
                    os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


class BinFile:
    """`binData.hdf`: one dataset, `data` (rows, 2) float64, time in ms and bin; synced like the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0

    def __enter__(self) -> Self:
        with _told(self._path):
            self._disk = _Disk(self._path)
        self._file = h5py.File(self._disk, "w")
        self._data = self._file.create_dataset("data", (0, 2), np.float64, chunks=CHUNK, maxshape=(None, 2))
        return self

    def append(self, rows: NDArray[np.float64]) -> None:
        """Write `rows` (n, 2) behind those that are there."""
        if len(rows):
            self._data.resize(self._rows + len(rows), axis=0)
            self._data[self._rows :] = rows
            self._rows += len(rows)
            with _told(self._path):
                self._disk.check()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._file.close()
            if kind is None:
                with _told(self._path):
                    self._disk.check()
                    os.fsync(self._disk.descriptor)
        finally:
            os.close(self._disk.descriptor)


class _Disk:
    """A file that keeps its errors to itself until it is asked: HDF5 crashes the process when it cannot write."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o666)
        self._error: OSError | None = None
        self._at = 0

    def check(self) -> None:
        """Raise what has gone wrong so far."""
        if self._error:
            raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self.descriptor).st_size}[whence]
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, content: memoryview) -> int:
        size = len(content)
        try:
            write_at(self.descriptor, content, self._at)
        except OSError as error:
            self._error = self._error or error
        self._at += size
        return size

    def read(self, size: int) -> bytes:
        content = os.pread(self.descriptor, size, self._at).ljust(size, b"\0")
        self._at += size
        return content

    def readinto(self, buffer: memoryview) -> int:
        buffer[:] = self.read(len(buffer))
        return len(buffer)

    def truncate(self, size: int) -> int:
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            self._error = self._error or error
        return size

    def flush(self) -> None:
        """Nothing waits here."""


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say which file could not be written, and what mends that."""
    try:
        yield
    except OSError as error:
        raise write_failed(error, path) from error

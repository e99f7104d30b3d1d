"""An object with too many samples to hold: its file is laid out first, its samples are written as they come."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import WriteFailed
from raypipe.io.appender import Appender, WriteBehind
from raypipe.io.checksum import Checksum
from raypipe.io.mould import mould_for, packed
from raypipe.io.publish import temporary_name, write_at, write_failed


class GrowingObject:
    """A hickle-5 file that grows slice by slice and is then what `hickle.dump` of the whole object would be.

    `fields` are those of the object in their final order; `data` stands in its place with any value and becomes
    float32 (n_samples,), n_samples > 0. HDF5 is closed again before the first slice: the slices are plain writes at
    a known offset, so an open file costs two descriptors and half a megabyte. Every method raises WriteFailed when the disk
    refuses; `abort` then removes what was written. `token` must be another one for every attempt;
    files of one worker share `behind`. `checksum` tells of the whole file after `finish`.
    """

    def __init__(
        self, path: Path, fields: Mapping[str, Any], n_samples: int, *, token: str, behind: WriteBehind
    ) -> None:
        self.path = path
        self.n_samples = n_samples
        self.n_written = 0
        self._temporary = temporary_name(path, token)
        self._descriptor = -1
        self._samples: Appender | None = None
        try:
            self._mould = mould_for(fields, n_samples)
            self._descriptor = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            head, tail = self._mould.cast(fields)
            write_at(self._descriptor, head, 0)
            os.ftruncate(self._descriptor, self._mould.data_end)
            write_at(self._descriptor, tail, self._mould.data_end)
            self._checksum = Checksum(self._mould.data_offset)
            self._samples = Appender(self._temporary, self._descriptor, self._mould.data_offset, behind)
        except OSError as error:
            self.abort()
            raise write_failed(error, path) from error

    def append(self, samples: NDArray[np.float32]) -> None:
        """Write the next samples, float32 (k,) contiguous."""
        if samples.dtype != np.dtype("<f4") or samples.ndim != 1 or not samples.flags.c_contiguous:
            raise ValueError(f"{self.path}: samples must be contiguous float32 (k,)")
        if self.n_written + samples.size > self.n_samples:
            raise self._miscounted(self.n_written + samples.size)
        assert self._samples
        try:
            content = samples.data.cast("B")
            self._checksum.take(content)  # now, while a core's cache has them; nobody reads gigabytes again
            self._samples.append(content)
        except OSError as error:
            raise write_failed(error, self.path) from error
        self.n_written += samples.size

    def finish(self, late: Mapping[str, Mapping[str, float]]) -> None:
        """Put in the numbers that are known only now, as `{"analogInfo": {"MaxVal": 1.0}}`; each keeps its type.

        Raises WriteFailed if not all samples were appended, KeyError if the object has no such number.
        """
        if self.n_written != self.n_samples:
            raise self._miscounted(self.n_written)
        assert self._samples
        try:
            self._samples.flush()
            for name, numbers in late.items():
                for key, number in numbers.items():
                    place = self._mould.places[name, key]
                    write_at(self._descriptor, packed(number, place), place.offset)
            self._take_the_rest()
        except OSError as error:
            raise write_failed(error, self.path) from error

    @property
    def checksum(self) -> str:
        """The checksum of the file; to be asked for after `finish`."""
        return str(self._checksum)

    def sync(self) -> Path:
        """Put the whole file on the disk, and return its temporary name. To be called once, after `finish`."""
        try:
            os.fsync(self._descriptor)
            self._close()
        except OSError as error:
            raise write_failed(error, self.path) from error
        return self._temporary

    def abort(self) -> None:
        """Remove the unfinished file. May be called at any time and again; a file that has its name stays."""
        # The disk that refused the write may refuse this too; the first refusal is the one to report.
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self._temporary.unlink()

    def _take_the_rest(self) -> None:
        """Have the checksum take what is not samples: some kB, which were just written."""
        self._checksum.read(self._descriptor, self._mould.data_end, os.fstat(self._descriptor).st_size)
        self._checksum.read(self._descriptor, 0, self._mould.data_offset)

    def _close(self) -> None:
        if self._samples:
            self._samples.close()
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _miscounted(self, n_given: int) -> WriteFailed:
        return WriteFailed(
            f"{self.path} was laid out for {self.n_samples} samples and got {n_given}",
            hint="this is a fault of raypipe; please report it with the log of this task",
        )

"""The samples of a saved channel (rplraw, rpllfp, rplhighpass), read piece by piece."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError, InputMissing
from raypipe.io.hickle_tree import UNREADABLE, field_node, read_object

# Never "delete it": with its recording archived, an rplraw may be the only copy of the samples.
RESTORE = "restore it, or the .ns5 that it is made from, from a copy"


@dataclass(frozen=True)
class DataField:
    """The field `data` of one object on disk, not read yet, beside the `fields` that are small. Can be pickled.

    `n_samples` samples at `rate_hz`, in the unit of the object (µV).
    """

    path: Path
    n_samples: int
    rate_hz: float
    fields: Mapping[str, Any]
    dataset: str
    dtype: str
    offset: int | None

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples `[start, stop)` as an own float32 (stop - start,) array.

        A plain read, not a memory map: PyHipp's files hold their samples at odd offsets, and a mapped file that is cut
        while it is read ends the process. Raises FormatError if the file has become shorter, ValueError for a range
        outside the samples.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples [{start}, {stop}) of {self.n_samples}")
        try:
            samples = self._read(start, stop)
        except OSError as error:
            raise FormatError(f"{self.path} can no longer be read: {error}") from error
        if samples.size != stop - start:
            raise FormatError(f"{self.path} ends before sample {stop}; it was cut since it was opened")
        return samples.astype(np.float32, copy=False)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self.offset is None:
            with h5py.File(self.path, "r") as file:
                return np.asarray(file[self.dataset][start:stop])
        dtype = np.dtype(self.dtype)
        return np.fromfile(self.path, dtype, stop - start, offset=self.offset + start * dtype.itemsize)


def open_data(path: Path) -> DataField:
    """Open the samples of an object written by hickle 5 or 4: float32 or float64, one dimension.

    Raises InputMissing if there is no such file; FormatError if it is cut, damaged, or holds no such samples or no
    sampling rate.
    """
    if not path.is_file():
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`")
    try:
        with h5py.File(path, "r") as file:
            node = field_node(file, "data")
            if node is None or node.shape is None or len(node.shape) != 1 or node.dtype.kind != "f":
                found = "no data" if node is None else f"data of type {node.dtype} and shape {node.shape}"
                raise ValueError(f"it has {found}, where float samples are expected")
            fields = read_object(file, leave_out=("data",))
            rate_hz = float(fields["analogInfo"]["SampleRate"])
            offset = node.id.get_offset()
            if offset is not None and offset + node.nbytes > path.stat().st_size:
                raise ValueError("it ends before its last sample")
            return DataField(path, node.shape[0], rate_hz, fields, node.name, node.dtype.str, offset)
    except UNREADABLE as error:
        raise FormatError(f"{path} is not a whole channel: {error}", hint=RESTORE) from error

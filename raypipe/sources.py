"""Where a pass takes its samples from: the columns of an `.ns5`, or `rplraw` files that outlived it."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

import kernels
from raypipe.io.datafield import DataField
from raypipe.io.nsx import NsxHeader, read_frames

Number = TypeVar("Number", bound=np.generic)
Samples = NDArray[np.int16] | NDArray[np.float32]
"""(channels, samples): counts of the converter (int16), or microvolts (float32)."""


class Scratch:
    """Memory that is used again from tile to tile: fresh pages cost more than what is done with them."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: type[Number]) -> NDArray[Number]:
        """Return an uninitialised C-contiguous array; the one of that name before it is no longer valid."""
        size = shape[0] * shape[1]
        if name not in self._arrays or self._arrays[name].size < size or self._arrays[name].dtype != dtype:
            self._arrays[name] = np.empty(size, dtype)
        return self._arrays[name][:size].reshape(shape)


class Source(Protocol):
    """Samples of several channels on one timeline; picklable, so that a reader elsewhere can open it."""

    @property
    def n_samples(self) -> int:
        """Length of the timeline."""

    def read(self, start: int, stop: int, places: tuple[int, ...], scratch: Scratch) -> Samples:
        """Return samples `start` to `stop` of the channels at `places`, as (channels, samples), C-contiguous.

        They lie in `scratch` and are valid until it is used again.
        """


@dataclass(frozen=True)
class NsxSource:
    """The interleaved frames of an `.ns5`; a place is a column. Samples are counts."""

    header: NsxHeader

    @property
    def n_samples(self) -> int:
        """Length of the timeline, pauses included."""
        return self.header.n_samples

    def read(self, start: int, stop: int, places: tuple[int, ...], scratch: Scratch) -> NDArray[np.int16]:
        """De-interleave frames `start` to `stop`. Raises `FormatError` if the file has shrunk."""
        frames = scratch.array("frames", (stop - start, len(self.header.channels)), np.int16)
        counts = scratch.array("counts", (len(places), stop - start), np.int16)
        kernels.deinterleave(read_frames(self.header, start, stop, frames), np.array(places, np.int64), counts)
        return counts


@dataclass(frozen=True)
class RawFileSource:
    """`rplraw` objects of equal length; a place is an index into `files`. Samples are microvolts."""

    files: tuple[DataField, ...]

    @property
    def n_samples(self) -> int:
        """Samples of each file."""
        return self.files[0].n_samples

    def read(self, start: int, stop: int, places: tuple[int, ...], scratch: Scratch) -> NDArray[np.float32]:
        """Read samples `start` to `stop` of each file. Raises `FormatError` for one that has been cut."""
        microvolts = scratch.array("microvolts", (len(places), stop - start), np.float32)
        for row, place in zip(microvolts, places, strict=True):
            row[:] = self.files[place].read(start, stop)
        return microvolts

"""Where a pass takes its samples from: the columns of an `.ns5`, or `rplraw` files that outlived it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import kernels
from raypipe.io.datafield import DataField
from raypipe.io.nsx import NsxHeader, read_frames

Samples = NDArray[np.int16] | NDArray[np.float32]
"""(channels, samples): counts of the converter (int16), or microvolts (float32)."""


class Source(Protocol):
    """Samples of several channels on one timeline; picklable, so that a reader elsewhere can open it."""

    @property
    def n_samples(self) -> int:
        """Length of the timeline."""

    def read(self, start: int, stop: int, places: tuple[int, ...]) -> Samples:
        """Return samples `start` to `stop` of the channels at `places`, as (channels, samples), C-contiguous."""


@dataclass(frozen=True)
class NsxSource:
    """The interleaved frames of an `.ns5`; a place is a column. Samples are counts."""

    header: NsxHeader

    @property
    def n_samples(self) -> int:
        """Length of the timeline, pauses included."""
        return self.header.n_samples

    def read(self, start: int, stop: int, places: tuple[int, ...]) -> NDArray[np.int16]:
        """De-interleave frames `start` to `stop`. Raises `FormatError` if the file has shrunk."""
        counts = np.empty((len(places), stop - start), np.int16)
        kernels.deinterleave(read_frames(self.header, start, stop), np.array(places, np.int64), counts)
        return counts


@dataclass(frozen=True)
class RawFileSource:
    """`rplraw` objects of equal length; a place is an index into `files`. Samples are microvolts."""

    files: tuple[DataField, ...]

    @property
    def n_samples(self) -> int:
        """Samples of each file."""
        return self.files[0].n_samples

    def read(self, start: int, stop: int, places: tuple[int, ...]) -> NDArray[np.float32]:
        """Read samples `start` to `stop` of each file. Raises `FormatError` for one that has been cut."""
        return np.stack([self.files[place].read(start, stop) for place in places])

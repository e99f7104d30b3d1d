"""A channel's high-pass of all sessions, read in blocks, and what its noise is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.series import chunk_energies, prepare
from raypipe.config import SortSettings
from raypipe.stages.sorting.sizes import BLOCK, SAMPLED

MAD_OF_NORMAL = 0.6744897501960817


class Series(Protocol):
    """Samples in uV that can be read from anywhere; `read` gives float32 (stop - start,)."""

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        ...

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop)."""
        ...


@dataclass(frozen=True)
class ArraySeries:
    """A series that is in memory, (n,) float32."""

    samples: NDArray[np.float32]

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop)."""
        return self.samples[start:stop]


@dataclass(frozen=True)
class JoinedSeries:
    """Several series as one, each beginning where the one before it ends; any of them may be empty."""

    parts: Sequence[Series]

    @cached_property
    def n_samples(self) -> int:
        """How many samples there are in all."""
        return sum(part.n_samples for part in self.parts)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """At which sample of the whole each part begins, the first of all being 1 (start_indices.csv)."""
        return tuple(1 + before for before in accumulate((part.n_samples for part in self.parts[:-1]), initial=0))

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop): what the part gives, if they are of one part; else an own array.

        Raises ValueError for a range outside the samples.
        """
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(f"samples [{start}, {stop}) of {self.n_samples}")
        pieces = []
        for part, first in zip(self.parts, self.starts, strict=False):
            begin, end = max(start - first + 1, 0), min(stop - first + 1, part.n_samples)
            if begin < end:
                pieces.append((part, begin, end))
        if len(pieces) == 1:
            part, begin, end = pieces[0]
            return part.read(begin, end)
        out, at = np.empty(stop - start, np.float32), 0
        for part, begin, end in pieces:
            out[at : at + end - begin] = part.read(begin, end)
            at += end - begin
        return out


@dataclass(frozen=True)
class Prepared:
    """A series as it is sorted: in units of `noise_uv` (0: there is nothing to sort), zero where `masked` (chunks,).

    `not_finite` samples were no numbers, and count as zero.
    """

    series: Series
    noise_uv: float
    masked: NDArray[np.uint8]
    chunk: int
    not_finite: int

    def blocks(self, halo: int) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Give first and last (excluded) sample of each block, and the samples from first - halo to last + halo.

        Beyond the ends of the series there are zeros. The array is used again for the next block.
        """
        n = self.series.n_samples
        room = np.zeros(min(BLOCK, n) + 2 * halo, np.float32)
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            out = room[: stop - start + 2 * halo]
            first, last = max(0, start - halo), min(n, stop + halo)
            out[:] = 0
            self._read(first, last, out[first - start + halo : last - start + halo])
            yield start, stop, out

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop)."""
        out = np.empty(stop - start, np.float32)
        self._read(start, stop, out)
        return out

    def _read(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        samples = np.ascontiguousarray(self.series.read(start, stop))
        prepare(samples, start, self.chunk, self.masked, 1 / self.noise_uv, out)


def prepared(series: Series, settings: SortSettings) -> Prepared:
    """Read the series once: find the stretches to mask, and the noise.

    A stretch is masked, with its neighbours, when its root mean square is more than `mask_threshold` standard deviations
    above the mean of all (MountainLab's mask_out_artifacts). Stretches without any signal do not count for the noise.
    """
    n, chunk = series.n_samples, settings.mask_chunk_size
    energies = np.zeros(-(-n // chunk))
    step = max(1, n // SAMPLED)
    step += 1 - step % 2  # odd: not in step with anything that repeats in the recording
    kept, lost = [], 0
    size = BLOCK // chunk * chunk
    for start in range(0, n, size):
        samples = np.ascontiguousarray(series.read(start, min(start + size, n)))
        first = start // chunk
        lost += chunk_energies(samples, chunk, energies[first : first + -(-len(samples) // chunk)])
        kept.append((start + -start % step, samples[-start % step :: step].copy()))
    sizes = np.full(len(energies), float(chunk))
    if n % chunk:
        sizes[-1] = n % chunk
    power = np.sqrt(energies / sizes)
    masked = _masked(power, settings)
    is_used = ~masked & (power > 0)
    return Prepared(series, _noise(kept, energies, sizes, is_used, step, settings), masked.view(np.uint8), chunk, lost)


def _masked(power: NDArray[np.float64], settings: SortSettings) -> NDArray[np.bool_]:
    live = power[power > 0]
    masked = np.zeros(len(power), np.bool_)
    if settings.mask_artifacts and len(live) > 1:
        loud = power > live.mean() + settings.mask_threshold * live.std(ddof=1)
        masked = loud.copy()
        masked[1:] |= loud[:-1]
        masked[:-1] |= loud[1:]
    return masked


def _noise(
    kept: list[tuple[int, NDArray[np.float32]]],
    energies: NDArray[np.float64],
    sizes: NDArray[np.float64],
    is_used: NDArray[np.bool_],
    step: int,
    settings: SortSettings,
) -> float:
    """Give the noise; `kept` are parts of the series, each with its first sample, of which every `step`-th is there."""
    if not is_used.any():
        return 0.0
    if settings.noise == "std":
        return float(np.sqrt(energies[is_used].sum() / sizes[is_used].sum()))
    used = [
        np.abs(part[np.isfinite(part) & is_used[(first + np.arange(len(part)) * step) // settings.mask_chunk_size]])
        for first, part in kept
    ]
    heights = np.concatenate(used)
    return float(np.median(heights, overwrite_input=True) / MAD_OF_NORMAL) if len(heights) else 0.0

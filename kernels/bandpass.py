"""A zero-phase band-pass that streams: the forward state is carried on exactly, the way back is taken in fixed blocks.

A block is filtered backwards once `halo` samples beyond it are known: starting there in steady state, the backward
filter has forgotten its start when it reaches the block.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.cascade import passes
from kernels.lanes import check_lanes
from kernels.simd import LANES, aligned_rows

EDGE_SAMPLES = 24  # 3 (9 - 1) for an 8th order filter, as PyHipp and MATLAB have it (scipy's own default is 27)


def halo_for(sections: NDArray[np.float64], decades: float = 10) -> int:
    """Count the samples in which the slowest pole forgets `decades` powers of ten.

    sections: (S, 2) float64, a1 and a2 of each section.
    """
    radius = max(np.abs(np.roots([1.0, a1, a2])).max() for a1, a2 in sections)
    return int(np.ceil(decades / -np.log10(radius)))


class BandPass:
    """scipy's ``sosfiltfilt(sos, x, padtype="odd", padlen=edge)`` of eight lanes, for a signal that comes in pieces.

    The result has the same bits however the signal is cut. It differs from scipy's by what the slowest pole has not
    forgotten after `halo` samples (about 1e-10 of the signal for ten decades), and by the rounding to float32. What is
    not a number spoils the rest of its own lane only.

    Args:
        sections: (S, 2) float64, a1 and a2 of each section; each section's numerator is taken as (1, 0, -1).
        gain: of one pass, the product of all sections' gains (scipy: ``sos[:, 0].prod()``).
        edge: samples of odd extension at both ends, in float32 as scipy does for float32 signals.
        halo: samples of look-ahead, see `halo_for`.
        block: samples finished by each backward pass. With halo and 64 bytes a sample it should fit into L2.

    Both passes apply the gain, so the output is multiplied by its square, once, at the end. Direct form I: with zeros at
    DC, the steady state is the input's delays and nothing else, so scipy's ``sosfilt_zi`` is not solved for.
    """

    def __init__(
        self,
        sections: NDArray[np.float64],
        gain: float,
        *,
        edge: int = EDGE_SAMPLES,
        halo: int | None = None,
        block: int = 12_000,
    ) -> None:
        halo = halo_for(sections) if halo is None else halo
        if block < 1 or halo < 1 or edge < 0 or block + halo <= edge + 1:
            raise ValueError(f"block {block} and halo {halo} must be positive and together exceed edge {edge} by 2")
        self._forward, self._backward = passes(len(sections))
        self._coefficients = tuple((-np.asarray(sections, np.float64)).ravel().tolist())
        self._gain = float(gain) ** 2
        self._edge, self._halo, self._block = edge, halo, block
        self._memory = np.zeros((2 * len(sections) + 2, LANES))
        self._memory_back = np.zeros_like(self._memory)
        self._history = aligned_rows(block + self._halo + edge, np.float64)
        self._last = np.zeros((LANES, edge + 1), np.float32)  # of the input: what the extensions mirror
        self._extremes: NDArray[np.float64] = np.repeat([[np.inf], [-np.inf]], LANES, axis=1)
        self._received = 0  # samples of the signal
        self._position = 0  # of the next sample that is filtered forwards, counted from the extension's start
        self._rows = 0  # of the history which are filtered forwards and not yet finished

    @staticmethod
    def nbytes_for(sections: int, *, edge: int = EDGE_SAMPLES, halo: int, block: int) -> int:
        """Bytes of state and buffers of such a filter."""
        rows = 2 * (2 * sections + 2) + block + halo + edge + 2
        return 8 * LANES * rows + 4 * LANES * (edge + 1)

    @property
    def nbytes(self) -> int:
        """Bytes of state and buffers."""
        sections = len(self._coefficients) // 2
        return self.nbytes_for(sections, edge=self._edge, halo=self._halo, block=self._block)

    @property
    def lowest(self) -> NDArray[np.float64]:
        """(8,) float64, the smallest output so far, before its rounding to float32."""
        lowest: NDArray[np.float64] = self._extremes[0]
        return lowest

    @property
    def highest(self) -> NDArray[np.float64]:
        """(8,) float64, the largest output so far, before its rounding to float32."""
        highest: NDArray[np.float64] = self._extremes[1]
        return highest

    def push(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """Take the next samples and write those which became final.

        Args:
            x: (8, n) float32, any n; samples contiguous, lanes any distance apart; may be read-only.
            out: (8, m or more) float32, samples contiguous. n + block + halo samples are always enough.

        Returns:
            m, the samples written to the front of out.

        Raises:
            ValueError: when out is too small.
        """
        check_lanes(x)
        new = x[:, self._begin(x) :]
        self._remember(new)
        full = self._block + self._halo
        done = written = 0
        while done < new.shape[1]:
            piece = new[:, done : done + full - self._rows]
            self._pass_forward(piece)
            done += piece.shape[1]
            if self._rows == full:
                self._pass_back(full, self._block, out, written)
                self._history[: self._halo] = self._history[self._block : full]
                self._rows = self._halo
                written += self._block
        return written

    def finish(self, out: NDArray[np.float32]) -> int:
        """Write the rest of the samples, and return how many: at most block + halo.

        Raises:
            ValueError: when the whole signal was not longer than the extension, or out is too small.
        """
        if self._received <= self._edge:
            raise ValueError(f"{self._received} samples are too few to filter: more than {self._edge} are needed")
        keep = self._rows
        self._pass_forward(2 * self._last[:, -1:] - self._last[:, -2::-1])
        self._pass_back(self._rows, keep, out, 0)
        return keep

    def _begin(self, x: NDArray[np.float32]) -> int:
        """Collect the samples which the extension mirrors, then start in steady state; return how many were taken."""
        taken: int = min(x.shape[1], max(0, self._edge + 1 - self._received))
        if taken:
            self._last[:, self._received : self._received + taken] = x[:, :taken]
            if self._received + taken > self._edge:
                extension = 2 * self._last[:, :1] - self._last[:, :0:-1]
                self._memory[:2] = extension[:, 0] if self._edge else self._last[:, 0]
                self._pass_forward(extension)
                self._rows = 0  # nobody asks for the extension's output
                self._pass_forward(self._last)
        self._received += x.shape[1]
        return taken

    def _remember(self, x: NDArray[np.float32]) -> None:
        kept = self._last[:, x.shape[1] :] if x.shape[1] <= self._edge else self._last[:, :0]
        self._last = np.concatenate([kept, x[:, max(0, x.shape[1] - self._edge - 1) :]], axis=1)

    def _pass_forward(self, x: NDArray[np.float32]) -> None:
        self._forward(x, self._coefficients, self._memory, self._history, self._rows, self._position)
        self._rows += x.shape[1]
        self._position += x.shape[1]

    def _pass_back(self, rows: int, keep: int, out: NDArray[np.float32], start: int) -> None:
        """Filter `rows` of the history backwards from steady state and write the first `keep` of them."""
        check_lanes(out, start + keep)
        self._memory_back[:2] = self._history[rows - 1]
        memory, extremes = self._memory_back, self._extremes
        self._backward(self._history, rows, keep, self._coefficients, self._gain, memory, out, start, extremes)

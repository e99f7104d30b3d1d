"""A streaming FIR decimator: rows of eight lanes, eight outputs at once share each tap, sums stay short in float32.

The filter sees the signal less each lane's first sample: an electrode's offset of millivolts would take the float32
digits that the small signal needs.
"""

from typing import Any

import numpy as np
from numba import float32, float64, int64
from numpy.typing import NDArray

from kernels.arithmetic import add, eight, multiply, splat, subtract, to_float32, to_float64
from kernels.compile import contiguous, inlined, jit, readonly, writable
from kernels.emit import Emitter, instruction
from kernels.lanes import check_lanes
from kernels.simd import LANES, aligned_rows, gather, load_tile, save, save_tile, scatter
from kernels.transpose import transpose

PHASES = 4  # taps `down` apart, which meet the same rows in neighbouring outputs
PARTIAL_TAPS = 32  # of each phase: their products are added in float32 before the sum goes to float64
ROWS_AT_ONCE = 8192  # of 32 bytes, with the rows of the window in L2


class Decimator:
    """scipy's ``resample_poly(x, 1, down, window=taps)`` of eight lanes, for a signal that comes in pieces.

    The signal is taken as zero outside, taps are centred, and ceil(n / down) samples come out, with the same bits
    however the signal is cut. Differs from float64 arithmetic by a few float32 roundings of the signal's excursion.

    Args:
        taps: (L,) float64, L odd.
        down: samples in for one out.
        baseline: whether lanes keep their first sample c. Without it the result is the true one less c * sum(taps),
            everywhere, edges included: what a band-pass after it makes zero, and float32 digits better left to the
            signal.
    """

    def __init__(self, taps: NDArray[np.float64], down: int, *, baseline: bool = False) -> None:
        if len(taps) % 2 == 0 or down < 1:
            raise ValueError(f"needs an odd number of taps and down >= 1, not {len(taps)} and {down}")
        # A window of at least `down` rows, so that no samples are skipped between two windows.
        self._window = max(len(taps), down)
        self._taps = np.zeros(self._window + PHASES * down, np.float32)
        self._taps[: len(taps)] = taps[::-1]
        self._gain = float(np.sum(taps)) if baseline else 0.0
        self._half = len(taps) // 2
        self._down = down
        self._rows = aligned_rows(2 * self._window + (LANES + PHASES) * down + self._half + ROWS_AT_ONCE, np.float32)
        self._filled = 0  # rows
        self._first = np.zeros((LANES, 1), np.float32)  # sample of each lane
        self._received = self._written = 0

    @property
    def nbytes(self) -> int:
        """Bytes of state and buffers."""
        return self._rows.nbytes + self._taps.nbytes + self._first.nbytes

    def push(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """Take the next samples and write the outputs whose windows are complete, in eights.

        Args:
            x: (8, n) float32, any n; samples contiguous, lanes any distance apart; may be read-only.
            out: (8, m or more) float32, samples contiguous. n // down + 9 samples are always enough.

        Returns:
            m, the samples written to the front of out.

        Raises:
            ValueError: when out is too small.
        """
        check_lanes(x)
        if not self._received and x.shape[1]:
            self._first[:] = x[:, :1]
            self._pad(self._half)
        self._received += x.shape[1]
        written = 0
        for start in range(0, x.shape[1], ROWS_AT_ONCE):
            piece = x[:, start : start + ROWS_AT_ONCE]
            _append(piece, self._first, self._rows, self._filled)
            self._filled += piece.shape[1]
            written += self._filter(out, written)
        return written

    def finish(self, out: NDArray[np.float32]) -> int:
        """Write the rest, up to ceil(n / down) samples in all, and return how many they were."""
        rest = -(-self._received // self._down) - self._written
        if rest:
            self._pad((rest - 1) * self._down + self._window - self._filled)
            self._filter(out, 0, to_the_end=True)
        return rest

    def _pad(self, rows: int) -> None:
        """Append the zeros around the signal, which are -c here."""
        self._rows[self._filled : self._filled + rows] = -self._first[:, 0]
        self._filled += rows

    def _filter(self, out: NDArray[np.float32], start: int, *, to_the_end: bool = False) -> int:
        """Write the outputs whose window is complete; before the end only whole eights, as single ones cost more."""
        count = max(0, (self._filled - self._window) // self._down + 1)
        if not to_the_end:
            count -= count % LANES
        check_lanes(out, start + count)
        _fir(self._rows.reshape(-1), self._taps, self._window, self._down, count, self._first, self._gain, out, start)
        used = count * self._down
        self._rows[: self._filled - used] = self._rows[used : self._filled]
        self._filled -= used
        self._written += count
        return count


@jit(readonly(float32, 2), readonly(float32, 2), writable(float32, 2), int64)
def _append(x: Any, first: Any, rows: Any, row: int) -> None:
    """rows[row:] = (x - first).T, with x (8, n), first (8, 1), rows (R, 8)."""
    samples = x.shape[1]
    baseline = gather(first, 0)
    t = 0
    while t + LANES <= samples:
        save_tile(rows, row + t, 0, subtract(transpose(load_tile(x, 0, t)), baseline))
        t += LANES
    while t < samples:
        save(rows, row + t, 0, subtract(gather(x, t), baseline))
        t += 1


@jit(
    contiguous(float32),
    contiguous(float32),
    int64,
    int64,
    int64,
    readonly(float32, 2),
    float64,
    writable(float32, 2),
    int64,
)
def _fir(
    rows: Any, taps: Any, window: int, down: int, count: int, first: Any, gain: float, out: Any, start: int
) -> None:
    """out[:, start + m] = sum of taps[k] rows[m * down + k] for k below window, and gain * first, for m below count.

    Taps k, k + down, ... share loads: row m * down + k + down is row k of output m + 1. Each output adds its products
    in the same order whether it is computed among eight or alone. Products with the zeros after the last tap are
    rounding-free, but the rows there must exist.
    """
    added = multiply(to_float64(gather(first, 0)), splat(gain))
    zero = splat(np.float32(0))
    m = 0
    while m + LANES <= count:
        sums = _window(taps, window, rows, m, down, eight(zero), eight(added))
        save_tile(out, 0, start + m, transpose(to_float32(sums)))
        m += LANES
    while m < count:
        sums = _window(taps, window, rows, m, down, (zero,), (added,))
        scatter(out, start + m, to_float32(sums[0]))
        m += 1


@inlined
def _window(taps: Any, window: int, rows: Any, m: int, down: int, zeros: Any, sums: Any) -> Any:
    """Compute outputs m, m + 1, ... as many as there are sums to start from."""
    for turn in range(0, window, PHASES * down):
        for begin in range(turn, min(turn + down, window), PARTIAL_TAPS):
            partial = zeros
            for k in range(begin, min(begin + PARTIAL_TAPS, turn + down, window)):
                partial = fma_strided(partial, taps, k, rows, m * down + k, down)
            sums = add(sums, to_float64(partial))
    return sums


@instruction(lambda sums, _taps, _k, _rows, _first, _step: sums)
def fma_strided(emit: Emitter, sums: Any, taps: Any, k: Any, rows: Any, first: Any, step: Any) -> Any:
    """Add taps[k + p * step] * x[i + p] to sums[i] for each phase p in turn, each product in one rounding.

    x[i] is row first + i * step of rows, which is flat: (rows * 8,) float32. Each is loaded once for all its uses.
    """
    _, tap_array, _, row_array, _, _ = emit.arguments
    start = emit.element(row_array, rows, emit.build.mul(first, emit.integer(LANES)))
    steps = [emit.build.mul(step, emit.integer(count)) for count in range(PHASES)]
    places = [emit.element(tap_array, taps, emit.build.add(k, each)) for each in steps]
    factors = [emit.splat(emit.build.load(place), LANES) for place in places]
    totals = emit.unpack(sums)
    for index in range(len(totals) + PHASES - 1):
        apart = emit.build.mul(step, emit.integer(LANES * index))
        x = emit.load(emit.result.dtype.llvm, emit.build.gep(start, [apart]))
        for phase in range(PHASES):
            if 0 <= index - phase < len(totals):
                totals[index - phase] = emit.fma(factors[phase], x, totals[index - phase])
    return emit.pack(totals)

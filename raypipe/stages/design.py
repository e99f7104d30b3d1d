"""Filters as the kernels run them: a cascade of band-pass sections, and a decimator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.stages.parameters import check_band, check_divides


@dataclass(frozen=True)
class BandPassDesign:
    """A band-pass as S second-order sections with the numerator (1, 0, -1) each, and one gain for all of them.

    `sections` float64 (S, 2) are a1 and a2 of 1 + a1/z + a2/z²; `edge_samples` are put on at either end (odd
    extension) before the filter goes forward and back.
    """

    sections: NDArray[np.float64]
    gain: float
    edge_samples: int


@dataclass(frozen=True)
class DecimatorDesign:
    """A low-pass of `taps` float64 (2 * 10 * down + 1,), centred, of whose output every `down`-th sample is kept."""

    taps: NDArray[np.float64]
    down: int


def design_bandpass(
    order: int,
    low_hz: float,
    high_hz: float,
    rate_hz: float,
    *,
    names: tuple[str, str] = ("order", "band"),
) -> BandPassDesign:
    """Design a Butterworth band-pass from `low_hz` to `high_hz` with `order` poles, to be run forward and back.

    Source: PyHipp's butter(order/2, band/(rate/2), "bandpass") in filtfilt, whose edges are 3 * order samples.
    Raises UsageError, with the `names` of order and band, if there is no such filter.
    """
    check_band(order, low_hz, high_hz, rate_hz, names=names)
    # scipy takes a second to import, and only what filters needs it.
    from scipy.signal import butter

    _, poles, gain = butter(order // 2, (low_hz, high_hz), "bandpass", fs=rate_hz, output="zpk")
    # As many zeros at 1 as at -1: each pair is a numerator (1, 0, -1).
    return BandPassDesign(_sections(np.asarray(poles)), float(gain), 3 * order)


def design_decimator(rate_hz: float, resample_rate_hz: float, *, name: str = "ResampleRate") -> DecimatorDesign:
    """Design the low-pass in front of taking every n-th sample, n = rate / resample rate.

    Source: scipy.signal.resample_poly's default, a Kaiser window (5.0) over 10 output samples to each side.
    Raises UsageError, with the `name` of the new rate, if the ratio is no whole number.
    """
    check_divides(resample_rate_hz, rate_hz, name=name)
    down = int(rate_hz // resample_rate_hz)
    if down == 1:
        return DecimatorDesign(np.ones(1), 1)
    from scipy.signal import firwin

    return DecimatorDesign(np.asarray(firwin(2 * 10 * down + 1, 1 / down, window=("kaiser", 5.0))), down)


def _sections(poles: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Pair every pole with its conjugate, and real poles with each other; the sharpest resonance comes last."""
    upper = poles[poles.imag > 0]
    real = np.sort(poles[poles.imag == 0].real)
    firsts = np.concatenate([upper, real[0::2]])
    seconds = np.concatenate([upper.conj(), real[1::2]])
    sections = np.column_stack([-(firsts + seconds).real, (firsts * seconds).real])
    return np.ascontiguousarray(sections[np.argsort(sections[:, 1], kind="stable")])

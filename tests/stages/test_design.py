"""Filter design: against scipy, and against what PyHipp made of one golden channel."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from raypipe.errors import UsageError
from raypipe.stages import rplhighpass, rpllfp
from raypipe.stages.design import BandPassDesign, design_bandpass, design_decimator
from tests.compare import arguments

LFP, HIGH_PASS = arguments("rpllfp"), arguments("rplhighpass")

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "golden_channel009_sessioneye.npz")
MICROVOLTS: NDArray[np.float64] = GOLDEN["counts"] * np.float64(GOLDEN["gain"])


def as_sos(design: BandPassDesign) -> NDArray[np.float64]:
    numerator = np.tile([1.0, 0.0, -1.0], (len(design.sections), 1))
    numerator[0] *= design.gain
    return np.column_stack([numerator, np.ones(len(design.sections)), design.sections])


def forward_and_back(design: BandPassDesign, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    filtered = signal.sosfiltfilt(as_sos(design), samples, padtype="odd", padlen=design.edge_samples)
    return np.asarray(filtered)


@pytest.mark.parametrize(
    ("order", "low", "high", "rate"),
    [
        (8, 500, 7500, 30000),
        (8, 1, 150, 1000),
        (2, 5, 400, 1000),  # two real poles
        (6, 300, 14000, 30000),
        (4, 0.5, 499, 1000),
        (10, 8, 12, 1000),
    ],
)
def test_bandpass_is_scipys(order: int, low: float, high: float, rate: float) -> None:
    design = design_bandpass(order, low, high, rate)
    assert design.sections.shape == (order // 2, 2)
    assert design.edge_samples == 3 * order
    sos = signal.butter(order // 2, [low / (rate / 2), high / (rate / 2)], "bandpass", output="sos")
    for points in (np.geomspace(low / 20, rate / 2.001, 500), np.linspace(low, high, 500)):
        _, expected = signal.sosfreqz(sos, points, fs=rate)
        _, ours = signal.sosfreqz(as_sos(design), points, fs=rate)
        np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-13)
    noise = np.random.default_rng(0).standard_normal(5000)
    expected = signal.sosfiltfilt(sos, noise, padtype="odd", padlen=3 * order)
    np.testing.assert_allclose(forward_and_back(design, noise), expected, atol=1e-8)


def test_sections_are_stable_and_sharpest_last() -> None:
    a2 = design_bandpass(8, 500, 7500, 30000).sections[:, 1]
    assert np.all(np.diff(a2) > 0)
    assert np.all(np.abs(a2) < 1)


def test_pyhipps_edges() -> None:
    numerator, denominator = signal.butter(4, [500 / 15000, 7500 / 15000], "bandpass")
    edge = 3 * (max(len(numerator), len(denominator)) - 1)
    assert design_bandpass(8, 500, 7500, 30000).edge_samples == edge == 24


def test_highpass_of_the_golden_channel() -> None:
    ours = forward_and_back(rplhighpass.design(HIGH_PASS, 30000.0), MICROVOLTS)
    np.testing.assert_allclose(ours, GOLDEN["rplhighpass"], atol=1e-5)
    np.testing.assert_allclose([ours.min(), ours.max()], GOLDEN["rplhighpass_extremes"], atol=1e-8)


def test_lfp_of_the_golden_channel() -> None:
    decimator, bandpass = rpllfp.design(LFP, 30000.0)
    reach = len(decimator.taps) // 2
    padded = np.pad(MICROVOLTS, reach)
    decimated = np.convolve(padded, decimator.taps, mode="valid")[:: decimator.down]
    assert decimated.size == rpllfp.output_samples(MICROVOLTS.size, decimator) == GOLDEN["rpllfp"].size
    ours = forward_and_back(bandpass, decimated)
    np.testing.assert_allclose(ours, GOLDEN["rpllfp"], atol=1e-3)
    np.testing.assert_allclose([ours.min(), ours.max()], GOLDEN["rpllfp_extremes"], atol=1e-3)


def test_golden_microvolts() -> None:
    raw = MICROVOLTS.astype(np.float32)
    np.testing.assert_array_equal([raw.min(), raw.max()], GOLDEN["rplraw_extremes"])


@pytest.mark.parametrize("down", [2, 3, 30])
def test_decimator_is_resample_polys(down: int) -> None:
    decimator = design_decimator(1000.0 * down, 1000)
    assert (decimator.down, decimator.taps.size) == (down, 20 * down + 1)
    noise = np.random.default_rng(down).standard_normal(1001)
    ours = np.convolve(np.pad(noise, 10 * down), decimator.taps, mode="valid")[::down]
    np.testing.assert_allclose(ours, signal.resample_poly(noise, 1, down), atol=1e-12)


def test_same_rate_needs_no_decimator() -> None:
    decimator = design_decimator(1000.0, 1000)
    assert (decimator.down, decimator.taps.tolist()) == (1, [1.0])


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (30, 1), (31, 2), (60, 2)])
def test_last_lfp_sample_may_be_of_a_part(n: int, expected: int) -> None:
    assert rpllfp.output_samples(n, design_decimator(30000.0, 1000)) == expected
    assert signal.resample_poly(np.zeros(n), 1, 30).size == expected


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"LFPOrder": 7}, "LFPOrder"),
        ({"LFPOrder": 0}, "LFPOrder"),
        ({"LowPassFrequency": [0, 150]}, "LowPassFrequency"),
        ({"LowPassFrequency": [150, 1]}, "LowPassFrequency"),
        ({"LowPassFrequency": [1, 500]}, "LowPassFrequency"),
        ({"ResampleRate": 1024}, "ResampleRate"),
        ({"ResampleRate": 0}, "ResampleRate"),
        ({"ResampleRate": 60000}, "ResampleRate"),
    ],
)
def test_impossible_lfp_names_the_parameter(change: dict[str, object], name: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        rpllfp.design({**LFP, **change}, 30000.0)
    assert name in caught.value.hint


def test_impossible_highpass_names_the_parameter() -> None:
    with pytest.raises(UsageError, match="HighPassFrequency is 500 to 15000 Hz at 30000"):
        rplhighpass.design({"HighOrder": 8, "HighPassFrequency": [500, 15000]}, 30000.0)

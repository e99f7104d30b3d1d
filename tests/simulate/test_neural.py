"""The voltage holds what the truth says, and depends on nothing but seed, session, channel and second."""

import hashlib
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest

from raypipe.simulate import SimulateSettings
from raypipe.simulate.neural import Electrode, simulate_electrode, voltage_blocks

SETTINGS = SimulateSettings(channels=4, seed=3)
SECONDS = 20
Made = tuple[Electrode, npt.NDArray[np.int16]]


def voltage(settings: SimulateSettings, session: int = 1, channel: int = 2, seconds: int = SECONDS) -> Made:
    electrode = simulate_electrode(settings, session, channel, 30000 * seconds)
    return electrode, np.concatenate(list(islice(voltage_blocks(settings, electrode), seconds)))


@pytest.fixture(scope="module")
def simulated() -> tuple[Electrode, npt.NDArray[np.float64]]:
    electrode, counts = voltage(SETTINGS)
    assert counts.dtype == np.int16
    return electrode, 0.25 * counts


def test_the_same_seed_gives_the_same_bytes() -> None:
    # Frozen: a change here makes every simulated day another one.
    counts = voltage(SETTINGS, seconds=2)[1]
    assert hashlib.sha256(counts.astype("<i2").tobytes()).hexdigest()[:16] == "1469b8f5ee546080"


def test_streams_are_independent_of_each_other_and_of_the_length() -> None:
    counts = voltage(SETTINGS, seconds=3)[1]
    assert np.array_equal(voltage(SETTINGS, seconds=5)[1][: 3 * 30000 - 48], counts[:-48])
    for other in (voltage(SETTINGS, channel=3), voltage(SETTINGS, session=2), voltage(SimulateSettings(seed=4))):
        assert abs(np.corrcoef(np.diff(counts[:60000]), np.diff(other[1][:60000]))[0, 1]) < 0.1


def test_offset_tones_and_line_are_in_the_voltage(simulated: tuple[Electrode, npt.NDArray[np.float64]]) -> None:
    electrode, uv = simulated
    t = np.arange(uv.size) / 30000
    for tone in (*electrode.lfp, electrode.line):
        found = 2 * np.mean(uv * np.exp(-2j * np.pi * tone.frequency_hz * t))
        expected = tone.amplitude_uv * np.exp(1j * (tone.phase_rad - np.pi / 2))
        assert abs(found - expected) < 0.8
    silent = SimulateSettings(channels=4, seed=3, noise_uv=0, line_uv=0)
    quiet, counts = voltage(silent)
    assert quiet.offset_uv == electrode.offset_uv
    assert abs(np.median(0.25 * counts) - quiet.offset_uv) < 5


def test_spikes_are_where_and_what_the_truth_says() -> None:
    electrode, counts = voltage(SimulateSettings(channels=4, seed=3, noise_uv=0))
    without = Electrode(**{**vars(electrode), "units": ()})
    silent = SimulateSettings(channels=4, seed=3, noise_uv=0)
    background = np.concatenate(list(islice(voltage_blocks(silent, without), SECONDS)))
    left = 0.25 * (counts.astype(float) - background)
    for unit in electrode.units:
        assert unit.template_uv.argmin() == 16 and unit.template_uv.min() == pytest.approx(-unit.amplitude_uv)
        assert unit.spike_samples.size == pytest.approx(SECONDS * unit.rate_hz, rel=0.4)
        assert np.diff(unit.spike_samples).min() >= 90
        for spike in unit.spike_samples:
            left[spike - 16 : spike + 32] -= unit.template_uv
    assert np.abs(left).max() <= 0.25 + 1e-9


def test_noise_has_its_colours(simulated: tuple[Electrode, npt.NDArray[np.float64]]) -> None:
    _, uv = simulated
    spectrum = np.mean(np.abs(np.fft.rfft(uv.reshape(SECONDS, 30000))) ** 2, axis=0) * 2 / 30000**2
    white = spectrum[9000:14000].mean() * 15000
    assert np.sqrt(white) == pytest.approx(8.0, rel=0.05)
    assert spectrum[100:149].mean() > 20 * spectrum[300:600].mean() / 3 > 20 * spectrum[9000:14000].mean() / 3

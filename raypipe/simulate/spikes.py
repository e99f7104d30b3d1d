"""Units: the waveform and the spike times of the neurons near an electrode."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.streams import generator

SAMPLES_PER_SECOND = 30000
TEMPLATE_SAMPLES = 48
TROUGH_SAMPLE = 16
REFRACTORY_SAMPLES = 90  # 3 ms, longer than a template, so that spikes of a unit never overlap
SHORTEST_UV, TALLEST_UV = 110.0, 220.0  # of the first unit
SECOND_TO_FIRST = (0.5, 0.7)


@dataclass(frozen=True)
class Unit:
    """A neuron: `template_uv` float64 (48,), its trough at sample 16; `spike_samples` int64, where the troughs are."""

    rate_hz: float
    amplitude_uv: float
    template_uv: npt.NDArray[np.float64]
    spike_samples: npt.NDArray[np.int64]


def simulate_units(seed: int, session: int, channel: int, n_samples: int) -> tuple[Unit, ...]:
    """Make the two units of a channel: the same neurons in every session, firing as Poisson neurons with 3 ms pause."""
    shape = generator(seed, "units", channel)
    tall = float(shape.uniform(SHORTEST_UV, TALLEST_UV))
    heights = (tall, tall * float(shape.uniform(*SECOND_TO_FIRST)))
    return tuple(
        _unit(index, height, shape, generator(seed, "spikes", session, channel, index), n_samples)
        for index, height in enumerate(heights)
    )


def _unit(index: int, height: float, shape: np.random.Generator, times: np.random.Generator, n_samples: int) -> Unit:
    rate_hz = round(float(shape.uniform(4.0, 12.0)), 3)
    amplitude_uv = round(height, 2)
    t = np.arange(TEMPLATE_SAMPLES, dtype=np.float64) - TROUGH_SAMPLE
    # The first unit is narrow, the second broad with a late hump.
    trough, hump, delay = ((4.0, 16.0, 9.0), (7.5, 36.0, 14.0))[index]
    waveform = -np.exp(-t * t / trough) + 0.35 * np.exp(-((t - delay) ** 2) / hump)
    # Rounded, so that the last digit of this machine's exponential does not matter.
    template_uv = np.round(amplitude_uv * waveform / -waveform.min(), 3)
    return Unit(rate_hz, amplitude_uv, template_uv, _spike_samples(rate_hz, times, n_samples))


def _spike_samples(rate_hz: float, random: np.random.Generator, n_samples: int) -> npt.NDArray[np.int64]:
    mean_wait = SAMPLES_PER_SECOND / rate_hz - REFRACTORY_SAMPLES
    expected = n_samples * rate_hz / SAMPLES_PER_SECOND
    waits = random.exponential(mean_wait, int(expected + 6 * np.sqrt(expected) + 20))
    samples = np.cumsum(REFRACTORY_SAMPLES + waits.astype(np.int64))
    inside = samples < n_samples - TEMPLATE_SAMPLES
    kept: npt.NDArray[np.int64] = samples[inside]
    return kept

"""The voltage on an electrode: coloured noise, LFP tones, line noise, an offset and the spikes of its units."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.spikes import SAMPLES_PER_SECOND, TEMPLATE_SAMPLES, TROUGH_SAMPLE, Unit, simulate_units
from raypipe.simulate.streams import generator

UV_PER_COUNT = 0.25
HIGHEST_COUNT = 32764
# Everything is made second by second; the tones have whole frequencies, so one second of them serves for all.
BLOCK = SAMPLES_PER_SECOND
COARSER = 10  # each colour of the noise changes ten times more slowly than the one before
COLOURS = (1.0, 1.0, 2.5)  # their standard deviations: at 30 kHz (white), 3 kHz and 300 Hz, in units of noise_uv
LFP_HZ_AND_UV = ((8, 40.0), (35, 12.0), (90, 4.0))


@dataclass(frozen=True)
class Tone:
    """`amplitude_uv` * sin(2 pi frequency_hz t + phase_rad), t from the first sample on."""

    frequency_hz: int
    amplitude_uv: float
    phase_rad: float


@dataclass(frozen=True)
class Electrode:
    """Everything that is known about the voltage on a channel, but its noise."""

    channel: int
    session: int
    offset_uv: float
    lfp: tuple[Tone, ...]
    line: Tone
    units: tuple[Unit, ...]


def simulate_electrode(settings: SimulateSettings, session: int, channel: int, n_samples: int) -> Electrode:
    """Draw the tones, offset and units of a channel in a session (0 is the calibration)."""
    random = generator(settings.seed, "tones", session, channel)
    lfp = tuple(
        Tone(hz, round(uv * float(random.uniform(0.75, 1.2)), 3), round(float(random.uniform(0.0, 2 * np.pi)), 6))
        for hz, uv in LFP_HZ_AND_UV
    )
    line = Tone(int(settings.line_hz), settings.line_uv, 0.3)
    offset_uv = round(float(random.uniform(-20.0, 20.0)), 2)
    return Electrode(channel, session, offset_uv, lfp, line, simulate_units(settings.seed, session, channel, n_samples))


def voltage_blocks(settings: SimulateSettings, electrode: Electrode) -> Iterator[npt.NDArray[np.int16]]:
    """Make the channel's voltage second after second, without end: int16 counts (30000,) of 0.25 uV."""
    steady = _steady_counts(electrode)
    templates = [(unit.template_uv / UV_PER_COUNT).astype(np.float32) for unit in electrode.units]
    padded = np.zeros(BLOCK + 2 * TEMPLATE_SAMPLES, np.float32)
    counts = padded[TEMPLATE_SAMPLES:-TEMPLATE_SAMPLES]
    for block, noise in enumerate(_noise_counts(settings, electrode)):
        np.add(noise, steady, out=counts)
        for unit, template in zip(electrode.units, templates, strict=True):
            _add_spikes(padded, unit.spike_samples, template, block * BLOCK)
        np.rint(counts, out=counts)
        np.clip(counts, -HIGHEST_COUNT, HIGHEST_COUNT, out=counts)
        yield counts.astype(np.int16)


def _steady_counts(electrode: Electrode) -> npt.NDArray[np.float32]:
    t = np.arange(BLOCK) / SAMPLES_PER_SECOND
    uv = np.full(BLOCK, electrode.offset_uv)
    for tone in (*electrode.lfp, electrode.line):
        uv += tone.amplitude_uv * np.sin(2 * np.pi * tone.frequency_hz * t + tone.phase_rad)
    # Rounded, so that the last digit of this machine's sine does not matter.
    steady: npt.NDArray[np.float32] = np.round(uv / UV_PER_COUNT, 4).astype(np.float32)
    return steady


def _noise_counts(settings: SimulateSettings, electrode: Electrode) -> Iterator[npt.NDArray[np.float32]]:
    """Add up white noise and two slower colours, each joined by straight lines through the block's ends."""
    deviation = settings.noise_uv / UV_PER_COUNT
    fast_sd, middle_sd, slow_sd = (np.float32(deviation * colour) for colour in COLOURS)
    n_middle, n_slow = BLOCK // COARSER, BLOCK // COARSER**2

    def open_block(block: int) -> tuple[np.random.Generator, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        random = generator(settings.seed, "noise", electrode.session, electrode.channel, block)
        slow = slow_sd * random.standard_normal(n_slow, np.float32)
        return random, slow, middle_sd * random.standard_normal(n_middle, np.float32)

    random, slow, middle = open_block(0)
    block = 0
    while True:
        block += 1
        next_random, next_slow, next_middle = open_block(block)
        middle += _joined(slow, next_slow[0])
        white = random.standard_normal(BLOCK, np.float32)
        white *= fast_sd
        white += _joined(middle, next_middle[0] + next_slow[0])
        yield white
        random, slow, middle = next_random, next_slow, next_middle


def _joined(points: npt.NDArray[np.float32], following: np.float32) -> npt.NDArray[np.float32]:
    """Join points by straight lines of ten samples each, the last one towards the point that follows."""
    steps = np.diff(points, append=following)
    ramp = (np.arange(COARSER) / COARSER).astype(np.float32)
    lines = steps[:, None] * ramp
    lines += points[:, None]
    return lines.reshape(-1)


def _add_spikes(
    padded: npt.NDArray[np.float32], spikes: npt.NDArray[np.int64], template: npt.NDArray[np.float32], start: int
) -> None:
    first, last = np.searchsorted(spikes, (start + TROUGH_SAMPLE - TEMPLATE_SAMPLES, start + BLOCK + TROUGH_SAMPLE))
    for spike in spikes[first:last].tolist():
        at = spike - start - TROUGH_SAMPLE + TEMPLATE_SAMPLES
        padded[at : at + TEMPLATE_SAMPLES] += template

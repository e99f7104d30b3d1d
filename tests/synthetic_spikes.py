"""Makes channels with known spikes: units of both signs in band-limited noise, and scores sortings of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

TEST_SEEDS = range(100_000)
TUNING_SEEDS = range(200_000, 300_000)
"""What methods and settings are chosen on; no published figure and no test is of these."""
BENCH_SEEDS = range(500_000, 600_000)

RATE_HZ = 30_000
NOISE_UV = 10.0
BEFORE, AFTER = 40, 60
TOLERANCE = 18  # samples, 0.6 ms


@dataclass(frozen=True)
class SimulatedUnit:
    """A unit: `snr` is its peak over the noise; `times` (E,) samples of its peaks, with their fractions."""

    snr: float
    is_positive: bool
    rate_hz: float
    drift: float
    shape: tuple[float, float, float, float, float]
    times: NDArray[np.float64]

    def waveform(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at samples from the peak, the peak being 1 in size."""
        width, hump, delay, broad, lead = self.shape
        wave = (
            -np.exp(-((t / width) ** 2))
            + hump * np.exp(-(((t - delay) / broad) ** 2))
            + lead * np.exp(-(((t + 2.2 * width) / width) ** 2))
        )
        return wave if not self.is_positive else -wave


@dataclass(frozen=True)
class Channel:
    """A channel's high-pass in uV, and what is in it."""

    samples: NDArray[np.float32]
    units: tuple[SimulatedUnit, ...]


def band_noise(random: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Make noise of 500-7500 Hz and NOISE_UV."""
    sections = signal.butter(4, (500, 7500), "bandpass", fs=RATE_HZ, output="sos")
    noise = signal.sosfilt(sections, random.standard_normal(n + 3000).astype(np.float32))[3000:]
    return (noise * (NOISE_UV / noise.std())).astype(np.float32)


def random_shape(random: np.random.Generator) -> tuple[float, float, float, float, float]:
    width = random.uniform(2.5, 6.0)
    return (
        width, random.uniform(0.15, 0.55), random.uniform(2.2, 3.5) * width, random.uniform(1.3, 2.5) * width,
        random.uniform(0.0, 0.25),
    )  # fmt: skip


def poisson_times(random: np.random.Generator, rate_hz: float, seconds: float) -> NDArray[np.float64]:
    pause = 0.003 * RATE_HZ
    waits = pause + random.exponential(RATE_HZ / rate_hz - pause, int(rate_hz * seconds * 1.5) + 30)
    times = np.cumsum(waits)
    return times[(times > BEFORE + 10) & (times < seconds * RATE_HZ - AFTER - 10)]


def simulate(
    seed: int, seconds: float, snrs: tuple[float, ...], *, positive: tuple[bool, ...] = (), drift: float = 0.0
) -> Channel:
    """Make a channel: a unit for each of `snrs`, its amplitude going from 1 - drift to 1 + drift (or back) over time."""
    random = np.random.default_rng(seed)
    n = int(seconds * RATE_HZ)
    samples = band_noise(random, n)
    units = []
    for index, snr in enumerate(snrs):
        rate = float(random.uniform(3.0, 12.0))
        is_positive = positive[index] if index < len(positive) else False
        way = drift * (1.0 if random.random() < 0.5 else -1.0)
        unit = SimulatedUnit(snr, is_positive, rate, way, random_shape(random), poisson_times(random, rate, seconds))
        add(samples, unit)
        units.append(unit)
    return Channel(samples, tuple(units))


def add(samples: NDArray[np.float32], unit: SimulatedUnit) -> None:
    """Add the spikes of a unit to samples, in place."""
    fine = np.linspace(-30, 30, 6001)
    peak = np.abs(unit.waveform(fine)).max()
    offsets = np.arange(-BEFORE, AFTER)
    for some in np.array_split(unit.times, max(1, len(unit.times) // 4000)):
        whole = np.floor(some).astype(np.int64)
        waves = unit.waveform(offsets[None, :] - (some - whole)[:, None]) * (unit.snr * NOISE_UV / peak)
        waves *= 1 + unit.drift * (2 * some / len(samples) - 1)[:, None]
        np.add.at(samples, whole[:, None] + offsets, waves.astype(np.float32))


def random_channel(seed: int, seconds: float) -> Channel:
    """Make a channel of any kind: 0 to 4 units of SNR 6 to 20 and either sign, one of 4.5, drift or none, noise 3-30 uV."""
    random = np.random.default_rng((seed, 1))
    tall = np.sort(random.uniform(6, 20, int(random.integers(0, 5))))[::-1]
    snrs = (*np.round(tall, 1).tolist(), *([4.5] if random.random() < 0.5 else []))
    positive = tuple((random.random(len(snrs)) < 0.3).tolist())
    channel = simulate(seed, seconds, snrs, positive=positive, drift=float(random.choice([0.0, 0.2])))
    return Channel(channel.samples * np.float32(np.exp(random.uniform(-1.2, 1.1))), channel.units)


def random_pair(seed: int, seconds: float) -> Channel:
    """Make two units, often similar ones: the second has up to 40 % other shape and height, or another shape or sign."""
    random = np.random.default_rng((seed, 2))
    samples = band_noise(random, int(seconds * RATE_HZ))
    unlike, snr = random.uniform(0, 0.4), random.uniform(5, 16)
    shape = random_shape(random)
    varied = tuple(each * (1 + unlike * random.uniform(-1, 1)) for each in shape)
    other = varied if random.random() < 0.7 else random_shape(random)
    sign = bool(random.random() < 0.4)
    kinds = (
        (snr, sign, shape), (snr * (1 + unlike * random.uniform(-1, 1)), sign ^ bool(random.random() < 0.2), other)
    )  # fmt: skip
    units = []
    for height, is_positive, form in kinds:
        rate = float(random.uniform(2, 14))
        unit = SimulatedUnit(height, is_positive, rate, 0.0, form, poisson_times(random, rate, seconds))  # type: ignore[arg-type]
        add(samples, unit)
        units.append(unit)
    return Channel(samples, tuple(units))


DISTURBANCES = ("noise", "coloured noise", "noise that comes and goes", "artefacts", "line noise", "line pulses")


def disturbance(seed: int, kind: str, seconds: float) -> NDArray[np.float32]:
    """Make a channel of one of DISTURBANCES, without any unit."""
    random = np.random.default_rng((seed, 3))
    n = int(seconds * RATE_HZ)
    samples, t = band_noise(random, n), np.arange(n) / RATE_HZ
    sections = signal.butter(2, (500, 7500), "bandpass", fs=RATE_HZ, output="sos")
    if kind == "coloured noise":  # most power at low frequencies, as tissue has
        pole = signal.butter(1, random.uniform(600, 2500), fs=RATE_HZ, output="sos")
        samples = signal.sosfilt(pole, samples)
        samples *= NOISE_UV / samples.std()
    elif kind == "noise that comes and goes":
        samples *= np.exp(0.3 * np.sin(2 * np.pi * t * random.uniform(0.02, 0.2)))
    elif kind == "artefacts":  # stretches of 5 to 50 ms of any size, some beginning with a step
        extra = np.zeros(n)
        for start in random.integers(0, n - 2000, int(seconds / 2)).tolist():
            size, length = NOISE_UV * np.exp(random.uniform(1.5, 6)), int(random.integers(150, 1500))
            fall = np.exp(-np.arange(length) / length * 4)
            extra[start : start + length] += size * fall * (random.normal(size=length) if random.random() < 0.6 else 1)
        samples += signal.sosfilt(sections, extra)
    elif kind == "line noise":  # what is left of a distorted 50 Hz above 500 Hz
        for harmonic in range(10, 40):
            size = NOISE_UV * random.uniform(0, 12) / harmonic
            samples += size * np.sin(2 * np.pi * 50 * harmonic * t + random.uniform(0, 2 * np.pi))
    elif kind == "line pulses":  # of a dimmer: twice a period
        pulses = np.zeros(n)
        pulses[(np.arange(int(seconds * 100)) * 300.0 + random.uniform(0, 300)).astype(np.int64) % n] = 1
        pulses = signal.sosfilt(sections, pulses)
        samples += pulses * (NOISE_UV * random.uniform(4, 30) / np.abs(pulses).max())
    return samples.astype(np.float32)


def distance(a: SimulatedUnit, b: SimulatedUnit) -> float:
    """Tell how far two units' spikes are apart when aligned, in units of the noise (root of the summed squares)."""
    t, fine = np.arange(-30.0, 50.0), np.linspace(-30, 30, 6001)

    def wave(unit: SimulatedUnit, shift: float) -> NDArray[np.float64]:
        return unit.waveform(t - shift) * unit.snr / np.abs(unit.waveform(fine)).max()

    return min(float(np.linalg.norm(wave(a, 0.0) - wave(b, shift))) for shift in np.linspace(-12, 12, 121))


def unit_of(channel: Channel, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell of which unit each event is (-1: none): the first that has a spike within 25 samples."""
    which = np.full(len(times), -1)
    for index, unit in enumerate(channel.units):
        after = np.clip(np.searchsorted(unit.times, times), 1, len(unit.times) - 1)
        gap = np.minimum(np.abs(unit.times[after] - times), np.abs(unit.times[after - 1] - times))
        which[(gap < 25) & (which < 0)] = index
    return which


@dataclass(frozen=True)
class Score:
    """How one unit was found: by its best cluster."""

    snr: float
    recall: float
    precision: float
    label: int


def score(units: tuple[SimulatedUnit, ...], times: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Score]:
    """Compare with the truth: each unit with the cluster that agrees best, spikes matched within 0.6 ms."""
    scores = []
    for unit in units:
        best = Score(unit.snr, 0.0, 0.0, 0)
        for label in np.unique(labels).tolist():
            mine = np.sort(times[labels == label])
            hits = matched(unit.times, mine)
            recall, precision = hits / max(1, len(unit.times)), hits / max(1, len(mine))
            if min(recall, 1) * precision > best.recall * best.precision:
                best = Score(unit.snr, recall, precision, label)
        scores.append(best)
    return scores


def matched(truth: NDArray[np.float64], found: NDArray[np.float64]) -> int:
    """Count pairs of at most TOLERANCE, each event in one pair."""
    # A cluster may lie off the true peaks by a constant, where it is aligned on another extremum.
    if not len(truth) or not len(found):
        return 0
    nearest = np.clip(np.searchsorted(truth, found), 1, max(1, len(truth) - 1))
    gaps = np.stack([found - truth[nearest - 1], found - truth[np.minimum(nearest, len(truth) - 1)]])
    close = np.abs(gaps).min(axis=0) <= 30
    if not close.any():
        return 0
    offset = np.median(gaps[np.abs(gaps).argmin(axis=0), np.arange(len(found))][close])
    i = j = hits = 0
    moved = (found - offset).tolist()
    true = truth.tolist()
    while i < len(true) and j < len(moved):
        gap = moved[j] - true[i]
        if abs(gap) <= TOLERANCE:
            hits, i, j = hits + 1, i + 1, j + 1
        elif gap < 0:
            j += 1
        else:
            i += 1
    return hits

"""Where the eye looks: fixations joined by saccades, blinks, and the samples the tracker takes of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.streams import generator

MISSING = -32768  # a sample without an eye, in tenths
PIXELS_PER_DEGREE = 35.0
SCREEN_CENTRE = (960.0, 540.0)
SPREAD = (330.0, 200.0)  # standard deviation of the fixations around the centre, px
OFF_SCREEN_FRACTION = 0.03
BLINK_FRACTION = 0.06  # of the saccades: about one blink in four seconds
SAMPLE_NOISE_PX = 1.5
PUPIL, PUPIL_SWING, PUPIL_NOISE = 1200.0, 150.0, 8.0


@dataclass(frozen=True)
class EyeEvent:
    """A fixation, saccade or blink from sample `start_ms` to `end_ms`, both included.

    `values` are, rounded as the tracker prints them: of a fixation mean x, y (px) and pupil; of a saccade start x, y,
    end x, y (px), amplitude (deg) and peak velocity (deg/s); of a blink nothing.
    """

    kind: str
    start_ms: int
    end_ms: int
    values: tuple[float, ...] = ()

    @property
    def duration_ms(self) -> int:
        """Length in ms, both ends included."""
        return self.end_ms - self.start_ms + 1


@dataclass(frozen=True)
class EyeRecording:
    """One eye (left) at 1 kHz without a pause: int32 (n,) in tenths of px and of pupil units, from `first_ms` on."""

    first_ms: int
    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]
    pupil: npt.NDArray[np.int32]
    events: tuple[EyeEvent, ...]
    messages: tuple[tuple[int, str], ...]  # (ms, text)

    @property
    def end_ms(self) -> int:
        """The time of the last sample."""
        return self.first_ms + self.x.size - 1


def simulate_eye(
    seed: int, file_number: int, first_ms: int, n_samples: int, messages: list[tuple[int, str]]
) -> EyeRecording:
    """Look around for `n_samples` ms; `messages` are what the task says meanwhile (ms, text)."""
    random = generator(seed, "gaze", file_number)
    x, y = np.empty(n_samples, np.int32), np.empty(n_samples, np.int32)
    swing = PUPIL_SWING * np.sin(2 * np.pi * np.arange(n_samples) / 40_000)
    pupil = _tenths(PUPIL + swing + PUPIL_NOISE * random.standard_normal(n_samples, np.float32))
    noise = SAMPLE_NOISE_PX * random.standard_normal((2, n_samples), np.float32)
    events: list[EyeEvent] = []
    here, at = np.array(SCREEN_CENTRE), 0
    while at < n_samples:
        # Fixations last 0.2 s in the middle, now and then half a second.
        stop = at + int(np.clip(200 * np.exp(0.35 * random.standard_normal()), 80, 900))
        end = min(stop, n_samples)
        x[at:end], y[at:end] = _tenths(here[:, None] + noise[:, at:end])
        if stop > n_samples - 2:
            break  # unfinished at the end of the recording: the tracker reports no fixation
        means = tuple(round(float(row[at:end].mean()) / 10, 1) for row in (x, y, pupil))
        events.append(EyeEvent("fixation", first_ms + at, first_ms + end - 1, means))
        there = _next_target(random)
        amplitude = float(np.hypot(*(there - here))) / PIXELS_PER_DEGREE
        blink_ms = int(random.integers(90, 220)) if random.uniform() < BLINK_FRACTION else 0
        # Duration by the main sequence: 2.2 ms/deg + 21 ms (Carpenter, Movements of the Eyes, 1988).
        glide_ms = round(2.2 * amplitude + 21)
        at, stop = end, end + glide_ms + blink_ms
        end = min(stop, n_samples)
        # Smooth start and stop: the minimum-jerk profile, whose peak is 1.875 times the mean velocity.
        phase = (np.arange(1, stop - at + 1) / (stop - at))[: end - at]
        way = phase**3 * (10 - 15 * phase + 6 * phase**2)
        x[at:end], y[at:end] = _tenths(here[:, None] + (there - here)[:, None] * way + noise[:, at:end])
        if stop > n_samples - 2:
            break
        peak = round(1875 * amplitude / glide_ms)
        values = (*np.round(here, 1).tolist(), *np.round(there, 1).tolist(), round(amplitude, 2), float(peak))
        events.append(EyeEvent("saccade", first_ms + at, first_ms + end - 1, values))
        if blink_ms:
            shut = at + glide_ms // 2
            x[shut : shut + blink_ms] = y[shut : shut + blink_ms] = MISSING
            pupil[shut : shut + blink_ms] = 0
            events.append(EyeEvent("blink", first_ms + shut, first_ms + shut + blink_ms - 1))
        here, at = there, end
    preamble = [(first_ms - 2, "RECCFG CR 1000 2 1 L"), (first_ms - 1, "GAZE_COORDS 0.00 0.00 1919.00 1079.00")]
    return EyeRecording(first_ms, x, y, pupil, tuple(events), (*preamble, *sorted(messages)))


def _next_target(random: np.random.Generator) -> npt.NDArray[np.float64]:
    if random.uniform() < OFF_SCREEN_FRACTION:
        return np.array([random.choice([-1.0, 1.0]) * random.uniform(980, 1100) + SCREEN_CENTRE[0], SCREEN_CENTRE[1]])
    on_screen = np.array(SCREEN_CENTRE) + np.array(SPREAD) * random.standard_normal(2)
    return np.clip(on_screen, (20.0, 20.0), (1899.0, 1059.0))


def _tenths(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    rounded: npt.NDArray[np.int32] = np.rint(10 * values).astype(np.int32)
    return rounded

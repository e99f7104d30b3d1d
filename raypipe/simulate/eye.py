"""Where the eye looks: fixations joined by saccades, blinks, and the samples the tracker takes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from raypipe.simulate.outlook import Outlook, screen_outlook
from raypipe.simulate.sight import Boxes, image_names
from raypipe.simulate.streams import generator
from raypipe.simulate.targets import IMAGE, SCREEN, Spells, Targets, choose_targets, screen_places
from raypipe.simulate.view import Floats, project

MISSING = -32768  # a sample without an eye, in tenths
PIXELS_PER_DEGREE = 35.0
TYPICAL_SPELL_MS, SPELL_SPREAD = 270, 0.35  # from one saccade to the next: median, and deviation of its logarithm
SHORTEST_SPELL_MS, LONGEST_SPELL_MS = 200, 900  # the longest saccade across the screen lasts 160 ms
BLINK_FRACTION = 0.06  # of the saccades: about one blink in five seconds
BLINK_MS = (90, 220)
TURN_DEG = 3.0  # a frame that turns more is no time to look at something
NOISE_PX, MOST_NOISE = 1.5, 5.0  # of a sample, and how many deviations it has at most
VERGENCE_PX = 2.0  # the right eye looks this much further right
PUPIL, PUPIL_SWING, PUPIL_NOISE, PUPIL_PERIOD_MS = 1200.0, 150.0, 8.0, 40_000
SPELLS_AT_ONCE = 1000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tracker:
    """How the tracker is set."""

    rate_hz: int = 1000
    is_binocular: bool = False
    fixation_at_end: bool = False

    @property
    def eyes(self) -> tuple[Literal["L", "R"], ...]:
        """The eyes that it follows."""
        return ("L", "R") if self.is_binocular else ("L",)


@dataclass(frozen=True)
class EyeEvent:
    """A fixation, saccade or blink of one eye from the sample at `start_ms` to that at `end_ms`, both included.

    `values` are, rounded as the tracker prints them: of a fixation mean x, y (px) and pupil; of a saccade start x, y,
    end x, y (px), amplitude (deg) and peak velocity (deg/s); of a blink nothing.
    """

    kind: str
    eye: str
    start_ms: float
    end_ms: float
    duration_ms: float
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class PlantedFixation:
    """A spell whose samples from `start_ms` to `end_ms`, both included, are without doubt on one object.

    `point` in the maze; None on cue and hint, which move with the camera: the gaze is then at `pixel`.
    """

    object: str
    start_ms: float
    end_ms: float
    n_samples: int
    point: tuple[float, ...] | None
    pixel: tuple[float, ...] | None


@dataclass(frozen=True)
class EyeRecording:
    """What a tracker recorded: `tracks` int16 (eyes, 3, n) are x, y and pupil of each eye, in tenths of px and units.

    Sample i is at `first_ms` + 1000 i / `rate_hz`; `blocks` (start, stop) are the samples that were recorded, what is
    between them does not exist (x and y MISSING). `messages` are (ms, text), in the order of their time.
    """

    first_ms: int
    rate_hz: int
    eyes: tuple[Literal["L", "R"], ...]
    tracks: npt.NDArray[np.int16]
    blocks: tuple[tuple[int, int], ...]
    events: tuple[EyeEvent, ...]
    messages: tuple[tuple[int, str], ...]
    planted: tuple[PlantedFixation, ...]

    def ms(self, sample: int) -> float:
        """Tell the tracker's time of a sample: whole, but for every other one at 2000 Hz."""
        return sample_ms(self.first_ms, self.rate_hz, sample)

    @property
    def end_ms(self) -> float:
        """The time of the last sample."""
        return self.ms(self.tracks.shape[-1] - 1)


def sample_ms(first_ms: int, rate_hz: int, sample: int) -> float:
    """Tell the time of a sample; an int wherever the rate allows it, so that it is written as one."""
    return first_ms + (1000 // rate_hz * sample if rate_hz <= 1000 else 1000 * sample / rate_hz)


def simulate_eye(
    seed: int,
    file_number: int,
    tracker: Tracker,
    blocks_ms: Sequence[tuple[int, int]],
    messages: Sequence[tuple[int, str]],
    outlook: Outlook | None = None,
    boxes: Boxes | None = None,
) -> EyeRecording:
    """Look around; `blocks_ms` are first ms and the one behind the last of each recording block, whole samples all.

    With an `outlook` on the maze and its `boxes` the eye looks at objects and follows them while the animal walks,
    else at places of the screen. `messages` are what the task says meanwhile (ms, text). Memory: 6 bytes a sample and
    eye.
    """
    outlook = outlook or screen_outlook()
    first_ms, rate = blocks_ms[0][0], tracker.rate_hz
    blocks = tuple(((low - first_ms) * rate // 1000, (high - first_ms) * rate // 1000) for low, high in blocks_ms)
    frame_starts = _frame_starts(outlook, first_ms, rate, blocks[-1][1])
    random = generator(seed, "gaze", file_number)
    looks = _plan_spells(random, blocks, _breaks(outlook, frame_starts), rate)
    seen = Spells(
        np.searchsorted(frame_starts, looks.starts, "right") - 1,
        np.searchsorted(frame_starts, looks.stops - 1, "right") - 1,
    )
    targets = _on_screen(random, looks.starts.size) if boxes is None else choose_targets(random, boxes, outlook, seen)
    path = _path(outlook, seen, targets, looks, frame_starts)
    moves = _saccades(path, looks, rate)
    tracks = _samples(generator(seed, "tracker", file_number), tracker, looks, path, moves, blocks[-1][1])
    preamble = [
        (first_ms + low * 1000 // rate - before, text)
        for low, _ in blocks
        for before, text in (
            (2, f"RECCFG CR {rate} 2 1 {''.join(tracker.eyes)}"),
            (1, "GAZE_COORDS 0.00 0.00 1919.00 1079.00"),
        )
    ]
    events = tuple(_events(tracker, first_ms, looks, moves, tracks, blocks))
    planted = () if boxes is None else tuple(_planted(boxes, targets, looks, moves, first_ms, rate))
    ordered = sorted([*preamble, *messages], key=lambda message: message[0])
    return EyeRecording(first_ms, rate, tracker.eyes, tracks, blocks, events, tuple(ordered), planted)


@dataclass(frozen=True)
class _Looks:
    """Spells of looking, by samples: int64 (n,) starts, stops, length of the blink; bool: first of a block."""

    starts: Ints
    stops: Ints
    blinks: Ints
    is_first: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Path:
    """The gaze without noise: from sample `starts` to `stops` (m,) at `pixels` (m, 2)."""

    starts: Ints
    stops: Ints
    pixels: Floats

    def at(self, samples: Ints) -> Floats:
        return self.pixels[np.searchsorted(self.starts, samples, "right") - 1]


@dataclass(frozen=True)
class _Saccades:
    """How each spell begins: `here` and `there` (n, 2) px, `glides` samples of motion, `settled` first sample there."""

    here: Floats
    there: Floats
    amplitudes_deg: Floats
    glides: Ints
    settled: Ints


def _frame_starts(outlook: Outlook, first_ms: int, rate: int, n_samples: int) -> Ints:
    """Find the first sample of every frame; a sample at the very end of a frame still belongs to it."""
    place = np.floor((outlook.start_ms[1:] - first_ms) * (rate / 1000)) + 1
    return np.concatenate([[0], np.clip(place, 0, n_samples)]).astype(np.int64)


def _breaks(outlook: Outlook, frame_starts: Ints) -> Ints:
    """List the samples where the animal begins or ends to turn, and the log to say where it is."""
    turn = np.abs((np.diff(outlook.poses.heading_deg, prepend=0) + 180) % 360 - 180) > TURN_DEG
    steady = outlook.is_known & ~turn
    breaks: Ints = frame_starts[1:][steady[1:] != steady[:-1]]
    return breaks


def _plan_spells(random: np.random.Generator, blocks: Sequence[tuple[int, int]], breaks: Ints, rate: int) -> _Looks:
    shortest = SHORTEST_SPELL_MS * rate // 1000
    starts, stops, blinks, firsts = [], [], [], []
    for low, high in blocks:
        inner = breaks[np.searchsorted(breaks, low) : np.searchsorted(breaks, high)].tolist()
        edges = [low]
        for edge in inner:
            if edge - edges[-1] >= shortest and high - edge >= shortest:
                edges.append(edge)
        for at, end in pairwise([*edges, high]):
            while at < end:
                blink_ms = int(random.integers(*BLINK_MS)) if random.uniform() < BLINK_FRACTION else 0
                wish_ms = TYPICAL_SPELL_MS * float(np.exp(SPELL_SPREAD * random.standard_normal()))
                wish = (int(np.clip(wish_ms, SHORTEST_SPELL_MS, LONGEST_SPELL_MS)) + blink_ms) * rate // 1000
                stop = at + wish if end - at - wish >= shortest else end
                blink = blink_ms * rate // 1000
                firsts.append(at == low)
                blinks.append(blink if not firsts[-1] and stop - at >= shortest + blink else 0)
                starts.append(at)
                stops.append(stop)
                at = stop
    return _Looks(np.array(starts), np.array(stops), np.array(blinks), np.array(firsts))


def _on_screen(random: np.random.Generator, n: int) -> Targets:
    return Targets(np.full(n, SCREEN), np.full((n, 3), np.nan), screen_places(random, n), np.full(n, SCREEN))


def _path(outlook: Outlook, seen: Spells, targets: Targets, looks: _Looks, frame_starts: Ints) -> _Path:
    spell, frame = seen.frames()
    ends = np.append(frame_starts[1:], np.iinfo(np.int64).max)
    starts = np.maximum(looks.starts[spell], frame_starts[frame])
    stops = np.minimum(looks.stops[spell], ends[frame])
    pixels = targets.pixels[spell]
    follows = np.flatnonzero(targets.kinds[spell] >= 0)
    pixels[follows] = project(targets.points[spell[follows]], outlook.poses[frame[follows]])
    some = stops > starts  # at 500 Hz, or before the recording, a frame may have no sample
    return _Path(starts[some], stops[some], pixels[some])


def _saccades(path: _Path, looks: _Looks, rate: int) -> _Saccades:
    here = path.at(np.maximum(looks.starts - 1, 0))
    here[looks.is_first] = path.at(looks.starts[looks.is_first])
    reach = np.hypot(*(path.at(looks.starts) - here).T) / PIXELS_PER_DEGREE
    # Duration by the main sequence: 2.2 ms/deg + 21 ms (Carpenter, Movements of the Eyes, 1988).
    glides = np.rint(2.2 * reach + 21).astype(np.int64) * rate // 1000
    glides[looks.is_first] = 0
    settled = looks.starts + glides + looks.blinks
    there = path.at(settled)
    return _Saccades(here, there, np.hypot(*(there - here).T) / PIXELS_PER_DEGREE, glides, settled)


def _samples(
    random: np.random.Generator, tracker: Tracker, looks: _Looks, path: _Path, moves: _Saccades, n_samples: int
) -> npt.NDArray[np.int16]:
    tracks = np.full((len(tracker.eyes), 3, n_samples), MISSING, np.int16)
    tracks[:, 2] = 0
    first_spells = np.flatnonzero(looks.is_first).tolist()
    for low, high in pairwise([*first_spells, looks.starts.size]):
        for first in range(low, high, SPELLS_AT_ONCE):
            _fill(random, tracker, looks, path, moves, range(first, min(high, first + SPELLS_AT_ONCE)), tracks)
    return tracks


def _fill(
    random: np.random.Generator,
    tracker: Tracker,
    looks: _Looks,
    path: _Path,
    moves: _Saccades,
    spells: range,
    tracks: npt.NDArray[np.int16],
) -> None:
    """Take the samples of some spells that follow each other without a pause."""
    start, stop = int(looks.starts[spells[0]]), int(looks.stops[spells[-1]])
    low, high = np.searchsorted(path.starts, [start, stop])
    gaze = np.repeat(path.pixels[low:high], path.stops[low:high] - path.starts[low:high], axis=0).T
    for spell in spells:
        begin, settled = int(looks.starts[spell]) - start, int(moves.settled[spell]) - start
        # Smooth start and stop: the minimum-jerk profile, whose peak is 1.875 times the mean velocity.
        phase = np.arange(1, settled - begin + 1) / max(1, settled - begin)
        way = phase**3 * (10 - 15 * phase + 6 * phase**2)
        here, there = moves.here[spell], moves.there[spell]
        gaze[:, begin:settled] = here[:, None] + (there - here)[:, None] * way
    swing = PUPIL + PUPIL_SWING * np.sin(
        2 * np.pi * np.arange(start, stop) / (PUPIL_PERIOD_MS * tracker.rate_hz / 1000)
    )
    for number in range(len(tracker.eyes)):
        noise = random.standard_normal((3, stop - start), np.float32).clip(-MOST_NOISE, MOST_NOISE)
        eye = tracks[number, :, start:stop]
        eye[:2] = _tenths(gaze + [[number * VERGENCE_PX], [0.0]] + NOISE_PX * noise[:2])
        eye[2] = _tenths(swing + PUPIL_NOISE * noise[2])
        for spell in spells:
            if looks.blinks[spell]:
                shut, opened = (int(sample) - start for sample in _blink(looks, moves, spell))
                eye[:2, shut:opened] = MISSING
                eye[2, shut:opened] = 0


def _blink(looks: _Looks, moves: _Saccades, spell: int) -> tuple[int, int]:
    """Find the samples of a blink: in the middle of its saccade."""
    shut = int(looks.starts[spell] + moves.glides[spell] // 2)
    return shut, shut + int(looks.blinks[spell])


def _events(
    tracker: Tracker,
    first_ms: int,
    looks: _Looks,
    moves: _Saccades,
    tracks: npt.NDArray[np.int16],
    blocks: Sequence[tuple[int, int]],
) -> list[EyeEvent]:
    """List what the tracker reports; it says nothing of the fixation that the end of a block interrupts."""
    rate = tracker.rate_hz
    events = []

    def add(kind: str, eye: str, start: int, stop: int, values: tuple[float, ...] = ()) -> None:
        start_ms, end_ms = sample_ms(first_ms, rate, start), sample_ms(first_ms, rate, stop - 1)
        duration_ms = sample_ms(0, rate, stop - start)
        events.append(EyeEvent(kind, eye, start_ms, end_ms, duration_ms, values))

    unreported = {stop for _, stop in blocks[: len(blocks) - tracker.fixation_at_end]}
    for spell, (start, settled, stop) in enumerate(
        zip(looks.starts.tolist(), moves.settled.tolist(), looks.stops.tolist(), strict=True)
    ):
        for number, eye in enumerate(tracker.eyes):
            if settled > start:
                aside = np.array([number * VERGENCE_PX, 0.0])
                places = np.round([moves.here[spell] + aside, moves.there[spell] + aside], 1).ravel().tolist()
                amplitude = float(moves.amplitudes_deg[spell])
                peak = round(1.875 * amplitude * rate / max(1, int(moves.glides[spell])))
                add("saccade", eye, start, settled, (*places, round(amplitude, 2), float(peak)))
            if looks.blinks[spell]:
                add("blink", eye, *_blink(looks, moves, spell))
            if stop > settled and stop not in unreported:
                means = tracks[number, :, settled:stop].mean(axis=1)
                add("fixation", eye, settled, stop, tuple(round(float(mean) / 10, 1) for mean in means))
    return events


def _planted(
    boxes: Boxes, targets: Targets, looks: _Looks, moves: _Saccades, first_ms: int, rate: int
) -> list[PlantedFixation]:
    planted = []
    for spell in np.flatnonzero((targets.kinds != SCREEN) & (looks.stops > moves.settled)).tolist():
        start, stop = int(moves.settled[spell]), int(looks.stops[spell])
        is_image = targets.kinds[spell] == IMAGE
        names = image_names() if is_image else boxes.names
        name = names[int(targets.images[spell] if is_image else targets.kinds[spell])]
        place = tuple(np.round(targets.pixels[spell] if is_image else targets.points[spell], 4).tolist())
        span = (sample_ms(first_ms, rate, start), sample_ms(first_ms, rate, stop - 1), stop - start)
        planted.append(PlantedFixation(name, *span, None if is_image else place, place if is_image else None))
    return planted


def _tenths(values: Floats) -> npt.NDArray[np.int16]:
    rounded: npt.NDArray[np.int16] = np.rint(10 * values).astype(np.int16)
    return rounded

"""When trials begin and end, which poster each one is about, and the marker words that Ripple records of them."""

from dataclasses import dataclass, replace

import numpy as np

from raypipe.simulate.losses import Missing
from raypipe.simulate.maze import POSTER_NUMBERS, START_JUNCTION, WALKING_SPEED, route, route_length
from raypipe.simulate.settings import LEAD_SECONDS, TAIL_SECONDS, SimulateSettings
from raypipe.simulate.streams import generator
from raypipe.stages.maze import poster_junction

TICKS_PER_SECOND = 30000
STROBE_TICKS = 300  # a marker word is followed by a zero word 10 ms later
START_OF_TRIGGERS_SECONDS = 1.0

DUMMY_SECONDS = 12.0
DUMMY_TRIALS = 3
DUMMY_SESSION = 1000  # the number of the first dummy's random streams

CALIBRATION_PERIOD_SECONDS = 0.85
CALIBRATION_EVENTS_SECONDS = (0.3, 0.555, 0.98)  # of the first trial: start, cue, end


@dataclass(frozen=True)
class Trial:
    """One trial on Ripple's clock; `route` are the maze junctions walked from cue offset to end."""

    poster: int
    cue_on_ticks: int
    cue_off_ticks: int
    end_ticks: int
    timeout: bool
    route: tuple[int, ...]

    @property
    def ticks(self) -> tuple[int, int, int]:
        """Cue on, cue off, end."""
        return self.cue_on_ticks, self.cue_off_ticks, self.end_ticks

    @property
    def codes(self) -> tuple[int, int, int]:
        """Marker words: tens 1 start, 2 cue offset, 3 end or 4 time-out; units the poster."""
        return 10 + self.poster, 20 + self.poster, (40 if self.timeout else 30) + self.poster


@dataclass(frozen=True)
class Navigation:
    """The trials of one navigation session and, on Ripple's clock, the trigger that starts Unity's log."""

    session: int
    trigger_ticks: int
    trials: tuple[Trial, ...]


def plan_navigation(settings: SimulateSettings, session: int) -> Navigation:
    """Lay out the trials of a session evenly; the animal walks at its usual pace, or faster where the time is short."""
    random = generator(settings.seed, "trials", session)
    slot = (settings.seconds - LEAD_SECONDS - TAIL_SECONDS) / settings.trials
    time_outs = random.permutation(settings.trials) < round(settings.timeout_fraction * settings.trials)
    trials = []
    here, poster = START_JUNCTION, 0
    for index in range(settings.trials):
        start = LEAD_SECONDS + index * slot
        pause = 0.1 * slot * random.uniform(0.5, 1.0)
        cue = min(1.0, 0.3 * slot) * random.uniform(0.9, 1.0)
        longest = 0.95 * slot - pause - cue
        poster = int(random.choice([p for p in POSTER_NUMBERS if p != poster and poster_junction(p) != here]))
        timeout = bool(time_outs[index])
        way = route(here, poster, random, reach=not timeout)
        here = way[-1]
        walk = longest if timeout else min(longest, max(0.8, route_length(way) / WALKING_SPEED))
        cue_on, cue_off, end = (
            round(TICKS_PER_SECOND * t) for t in (start + pause, start + pause + cue, start + pause + cue + walk)
        )
        trials.append(Trial(poster, cue_on, cue_off, end, timeout, way))
    trigger = round(TICKS_PER_SECOND * (START_OF_TRIGGERS_SECONDS + 0.1 * random.uniform()))
    return Navigation(session, trigger, tuple(trials))


def plan_calibration(settings: SimulateSettings) -> tuple[tuple[int, int, int], ...]:
    """Lay out the calibration trials: ticks of start, cue and end of each."""
    last = CALIBRATION_EVENTS_SECONDS[-1] + 0.1
    n_trials = 1 + int((settings.eye_seconds - last) / CALIBRATION_PERIOD_SECONDS)
    return tuple(
        (
            round(TICKS_PER_SECOND * (start + index * CALIBRATION_PERIOD_SECONDS)),
            round(TICKS_PER_SECOND * (cue + index * CALIBRATION_PERIOD_SECONDS)),
            round(TICKS_PER_SECOND * (end + index * CALIBRATION_PERIOD_SECONDS)),
        )
        for start, cue, end in (CALIBRATION_EVENTS_SECONDS,)
        for index in range(n_trials)
    )


def plan_dummy(settings: SimulateSettings, dummy: int) -> Navigation:
    """Lay out the trials of a dummy session, 0 and on."""
    few = replace(
        settings,
        seconds=DUMMY_SECONDS,
        trials=DUMMY_TRIALS,
        pauses=0,
        lost_messages=0,
        lost_trials=0,
        incomplete_trials=0,
        cut_last_trial=False,
        unity_files=1,
    )
    return plan_navigation(few, DUMMY_SESSION + dummy)


def navigation_markers(
    navigation: Navigation, marker_format: int | None, missing: Missing = frozenset()
) -> tuple[list[int], list[int]]:
    """List ticks and words of a navigation session, zeros between them; `missing` are the events without a word."""
    marks = [
        (tick, code)
        for number, trial in enumerate(navigation.trials)
        for event, (tick, code) in enumerate(zip(trial.ticks, trial.codes, strict=True))
        if (number, event) not in missing
    ]
    if marker_format is not None:
        marks.insert(0, (navigation.trigger_ticks, marker_format))
    return _strobed(marks)


def calibration_markers(trials: tuple[tuple[int, int, int], ...]) -> tuple[list[int], list[int]]:
    """List ticks and words of the calibration session: 1, 2, 3 for each trial, zeros between them."""
    return _strobed([(t, code) for trial in trials for t, code in zip(trial, (1, 2, 3), strict=True)])


def _strobed(marks: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    events = np.array([event for tick, code in marks for event in ((tick, code), (tick + STROBE_TICKS, 0))])
    return events[:, 0].tolist(), events[:, 1].tolist()

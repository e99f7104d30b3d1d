"""The walk of the animal through the maze, and Unity's log of it, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.simulate.clocks import Clocks
from raypipe.simulate.losses import NO_LOSSES, Losses
from raypipe.simulate.maze import WALKING_SPEED
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.streams import generator
from raypipe.simulate.trials import TICKS_PER_SECOND, Navigation
from raypipe.stages.maze import JUNCTIONS, POSTERS

FRAME_SECONDS = 1 / 30
FRAME_JITTER_SECONDS = 0.0015
LOOKING_SECONDS = 0.1  # the heading is the way from this much before to this much after: corners are rounded
FACING_SECONDS = 0.3  # after a trial that was solved the animal turns to the poster, within this time
DECIMALS, SECONDS_DECIMALS = 4, 8  # of positions and headings, and of times in the log, and so everywhere
CUT_AT = 0.6  # of the last walk, where Unity's log stops if it does so in mid trial
NO_ROW = -1


@dataclass(frozen=True)
class Walk:
    """Unity's frames, one row each: trigger word int64, time of the frame's end s, x, z, heading deg.

    Heading 0 is north (+z) and grows clockwise. `event_rows` int64 (trials, 3) are the rows of cue on, cue off and end,
    `NO_ROW` for those without a trigger word.
    """

    triggers: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    z: npt.NDArray[np.float64]
    heading_deg: npt.NDArray[np.float64]
    event_rows: npt.NDArray[np.int64]


def simulate_walk(
    settings: SimulateSettings, navigation: Navigation, clocks: Clocks, losses: Losses = NO_LOSSES
) -> Walk:
    """Walk from junction to junction between cue offset and end of every trial, and stand still otherwise."""
    events = np.array([[clocks.unity_seconds(t) for t in trial.ticks] for trial in navigation.trials])
    codes = np.array([trial.codes for trial in navigation.trials])
    duration = clocks.unity_seconds(round(TICKS_PER_SECOND * settings.seconds)) - 0.2
    random = generator(settings.seed, "frames", navigation.session)
    jitter = FRAME_JITTER_SECONDS * random.standard_normal(int(duration / FRAME_SECONDS)).clip(-3, 3)
    seconds = FRAME_SECONDS * np.arange(1, jitter.size + 1) + jitter
    rows = _nearest(seconds, events.ravel()).reshape(-1, 3)
    seconds[rows] = events
    seconds = seconds.round(SECONDS_DECIMALS)
    triggers = np.zeros(seconds.size, np.int64)
    triggers[rows] = codes
    knots = _knots(navigation, events)
    x, z = _position(knots, seconds)
    heading = _facing_posters(_heading(knots, seconds), seconds, navigation, events)
    end = seconds.size
    if losses.is_cut:
        _, cue_off, over = events[-1]
        end = int(np.searchsorted(seconds, cue_off + CUT_AT * (over - cue_off)))
    for trial, event in losses.unity:
        triggers[rows[trial, event]] = 0
        rows[trial, event] = NO_ROW
    headings = np.round(heading, DECIMALS) % 360
    return Walk(
        triggers[:end], seconds[:end], np.round(x, DECIMALS)[:end], np.round(z, DECIMALS)[:end], headings[:end], rows
    )


def write_unity_logs(paths: Sequence[Path], walk: Walk, header_lines: int = 15) -> None:
    """Write the log as the lab's VirtualMaze does, header lines, then `trigger dt x y heading`.

    Of several `paths` each gets its share of the trials; the next begins between two trials. Read one after the other
    they are what one log would be.
    """
    dt = np.diff(walk.seconds, prepend=0.0)
    columns = (walk.triggers, dt, walk.x, walk.z, walk.heading_deg)
    for path, rows in zip(paths, _shares(walk, len(paths)), strict=True):
        frames = zip(*(column[rows].tolist() for column in columns), strict=True)
        lines = [f"{word} {dt:.8f} {x:.4f} {z:.4f} {deg:.4f}" for word, dt, x, z, deg in frames]
        path.write_text("\n".join([*_header(header_lines), *lines, ""]))


def _header(n_lines: int) -> list[str]:
    posters = " ".join(f"P{i}({x:g},1.5,{z:g})" for i, (x, z) in enumerate(POSTERS, start=1))
    header = [
        "Version: 20171221 Taxi Continuous v4",
        "Trigger: v4",
        "TaskType: Continuous",
        f"PosterLocations: {posters}",
        "TrialType: Double Tee",
        "SpecifiedRoutes: empty",
        "CompletionWindow: 0",
        "TimeoutDuration: 5000",
        "IntersessionInterval: 0",
        "RewardTime: 2000",
        f"RotationSpeed: {WALKING_SPEED}",
        f"MovementSpeed: {WALKING_SPEED}",
        "JoystickDeadzone: 0.25",
        "RewardViewCriteria: 0.4173",
        "Columns: trigger dt x y heading",
    ]
    return [line for line in header if n_lines == len(header) or not line.startswith("RewardViewCriteria")]


def _shares(walk: Walk, n_logs: int) -> list[slice]:
    """Divide the rows where a trial begins, in the middle between it and the event before."""
    starts = [int(share[0]) for share in np.array_split(np.arange(len(walk.event_rows)), n_logs)][1:]
    events = np.flatnonzero(walk.triggers)
    begins = walk.event_rows[starts, 0]
    before = events[np.searchsorted(events, begins) - 1]
    cuts = [0, *((before + begins + 1) // 2).tolist(), walk.seconds.size]
    return [slice(low, high) for low, high in pairwise(cuts)]


def _nearest(times: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.searchsorted((times[1:] + times[:-1]) / 2, wanted)


def _knots(navigation: Navigation, events: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """List (time, x, z) wherever the animal starts, turns or stops."""
    knots = []
    for trial, (_, cue_off, end) in zip(navigation.trials, events, strict=True):
        times = np.linspace(cue_off, end, len(trial.route))
        knots += [(t, *JUNCTIONS[junction]) for t, junction in zip(times, trial.route, strict=True)]
    return np.array(knots)


def _position(
    knots: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.interp(seconds, knots[:, 0], knots[:, 1]), np.interp(seconds, knots[:, 0], knots[:, 2])


def _heading(knots: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x0, z0 = _position(knots, seconds - LOOKING_SECONDS)
    x1, z1 = _position(knots, seconds + LOOKING_SECONDS)
    moving = np.hypot(x1 - x0, z1 - z0) > 1e-6
    heading = np.degrees(np.arctan2(x1 - x0, z1 - z0)) % 360
    # Who stands keeps looking where he last went; before the first step he looks south, into the maze.
    last_moving = np.maximum.accumulate(np.where(moving, np.arange(seconds.size), -1))
    return np.where(last_moving < 0, 180.0, heading[np.maximum(last_moving, 0)])


def _facing_posters(
    heading: npt.NDArray[np.float64],
    seconds: npt.NDArray[np.float64],
    navigation: Navigation,
    events: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Turn to the poster after the end of a trial that found it, and stay so until the next walk."""
    turned = heading.copy()
    leaves = [*(events[1:, 1] - LOOKING_SECONDS).tolist(), np.inf]
    for trial, (_, _, end), leave in zip(navigation.trials, events, leaves, strict=True):
        if trial.timeout:
            continue
        low, high = np.searchsorted(seconds, [end + LOOKING_SECONDS, leave])
        if low >= high:
            continue
        (x, z), (poster_x, poster_z) = JUNCTIONS[trial.route[-1]], POSTERS[trial.poster - 1]
        poster_deg = float(np.degrees(np.arctan2(poster_x - x, poster_z - z)))
        turn = (poster_deg - heading[low] + 180) % 360 - 180
        share = ((seconds[low:high] - seconds[low]) / FACING_SECONDS).clip(0, 1)
        turned[low:high] = heading[low] + turn * share
    return turned % 360

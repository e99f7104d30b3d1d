"""The walk of the animal through the maze, and Unity's log of it, frame by frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.simulate.clocks import Clocks
from raypipe.simulate.maze import JUNCTIONS, POSTERS, WALKING_SPEED
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.streams import generator
from raypipe.simulate.trials import TICKS_PER_SECOND, Navigation

FRAME_SECONDS = 1 / 30
FRAME_JITTER_SECONDS = 0.0015
LOOKING_SECONDS = 0.1  # the heading is the way from this much before to this much after: corners are rounded


@dataclass(frozen=True)
class Walk:
    """Unity's frames, one row each: trigger word int64, time of the frame's end s, x, z, heading deg.

    Heading 0 is north (+z) and grows clockwise. `event_rows` int64 (trials, 3) are the rows of cue on, cue off and end.
    """

    triggers: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    z: npt.NDArray[np.float64]
    heading_deg: npt.NDArray[np.float64]
    event_rows: npt.NDArray[np.int64]


def simulate_walk(settings: SimulateSettings, navigation: Navigation, clocks: Clocks) -> Walk:
    """Walk from junction to junction between cue offset and end of every trial, and stand still otherwise."""
    events = np.array([[clocks.unity_seconds(t) for t in trial.ticks] for trial in navigation.trials])
    codes = np.array([trial.codes for trial in navigation.trials])
    duration = clocks.unity_seconds(round(TICKS_PER_SECOND * settings.seconds)) - 0.2
    random = generator(settings.seed, "frames", navigation.session)
    jitter = FRAME_JITTER_SECONDS * random.standard_normal(int(duration / FRAME_SECONDS)).clip(-3, 3)
    seconds = FRAME_SECONDS * np.arange(1, jitter.size + 1) + jitter
    rows = _nearest(seconds, events.ravel())
    seconds[rows] = events.ravel()
    triggers = np.zeros(seconds.size, np.int64)
    triggers[rows] = codes.ravel()
    knots = _knots(navigation, events)
    x, z = _position(knots, seconds)
    return Walk(triggers, seconds, x, z, _heading(knots, seconds), rows.reshape(-1, 3))


def write_unity_log(path: Path, walk: Walk) -> None:
    """Write the log as the lab's VirtualMaze does: 15 header lines, then `trigger dt x y heading`."""
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
    frames = zip(
        walk.triggers.tolist(),
        np.diff(walk.seconds, prepend=0.0).tolist(),
        walk.x.tolist(),
        walk.z.tolist(),
        walk.heading_deg.tolist(),
        strict=True,
    )
    lines = [f"{word} {dt:.8f} {x:.4f} {z:.4f} {deg:.4f}" for word, dt, x, z, deg in frames]
    path.write_text("\n".join([*header, *lines, ""]))


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

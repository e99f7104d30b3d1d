"""How much memory a run will need, from headers alone, and how many workers and how large tiles fit what there is.

The constants are the resident memory of processes as measured on Linux with `bench/memory.py`, rounded up; what grows
with the recording is counted. Length does not occur: a pass holds tiles, not sessions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from raypipe.config import Config
from raypipe.errors import TooLittleMemory
from raypipe.stages import Stage
from raypipe.stages.freqspectrum import day_bytes, spectrum_bytes
from raypipe.stages.sorting.memory import COMPILING, memory_needed, most_events

LANES = 8
MB = 1 << 20
RAY_SERVICES = 520 * MB
"""Ray's own processes and the driver, on one node; and what workers keep that wait for their next task."""
READER_BASE = 170 * MB
FILTER_BASE = 210 * MB
_SESSION_WORKER = 110 * MB
"""A worker that makes objects of sessions, before it has read anything."""
FILE_BYTES = 600_000
"""An open output: the stage of its next write, and its fields, waiting for the end."""
_SESSION_NEEDS = {
    "rplparallel": (_SESSION_WORKER, 0, 0),
    "unity": (_SESSION_WORKER, 12, 0),
    "edfsplit": (160 * MB, 0, 115),
    "aligning_objects": (160 * MB, 10, 90),
    "raycast": (330 * MB, 6, 40),
    "umaze": (_SESSION_WORKER, 15, 0),
    "picture": (220 * MB, 8, 0),
}
"""Bytes at all, for each byte of Unity's logs, and for each sample of the eye; as measured, rounded up."""
_SESSION_OUTPUTS = {
    "unity": (2.2, 0),
    "eyelink": (0, 25),
    "unityfile": (0, 130),
    "binData.hdf": (0, 50),
    "umaze": (3.3, 0),
    "maze.png": (0, 0),
}
"""Bytes of an output, by the start of its name, for each byte of Unity's logs and for each sample of the eye."""
_DRAWING = 220 * MB
"""A worker that draws pictures."""
_RAW_RATE_HZ = 30_000
_SPIKES_PER_SECOND = 15
"""Of all cells of a channel: a guess, on the high side."""
_BYTES_OF_A_SPIKE = 420
"""In a cell's files: the lab's lists of texts are HDF5 datasets, one for each spike."""
_BYTES_OF_A_SPIKE_AT_WORK = 800
_BYTES_OF_AN_EVENT_AT_WORK = 3 * 24
"""`firings.mda` while it is made."""
_SMALLEST_STORE = 80 * MB
"""Ray takes no less."""
_SMALLEST_TILE_SECONDS = 1.0
_FORGOTTEN_DECADES = 10
_STATE_ROW = LANES * 8
_STEP_SAMPLES = 30_000


@dataclass(frozen=True)
class Load:
    """What one pass puts on the machine."""

    channels: int
    columns: int
    """All columns of the file, which are read with those that are wanted."""
    sampling_rate_hz: float
    bytes_per_sample: int
    stages: tuple[Stage, ...]

    @property
    def groups(self) -> int:
        """Groups of 8 channels."""
        return math.ceil(self.channels / LANES)


@dataclass(frozen=True)
class Extent:
    """How long a session's behaviour is: bytes of Unity's logs, and about how many samples of the eye."""

    log_bytes: int
    eye_samples: int


@dataclass(frozen=True)
class Budget:
    """How a run divides memory: what each worker asks Ray for, and the sum that the plan promises."""

    filter_actors: int
    tile_seconds: float
    tiles_in_flight: int
    object_store: int
    tiles: int
    """What of the object store is written to; it may be larger."""
    reader: int
    filter_actor: int
    session_task: int
    """The largest task of a whole session; smaller ones may share it."""
    object_task: int
    """The largest task of a channel's objects (a sorting, say)."""
    asked_for: int
    """Bytes that Ray may hand out to workers: what is not enough for all at once waits for others to end."""

    @property
    def total(self) -> int:
        """Bytes of all processes together at their peak."""
        compiling = COMPILING if self.object_task else 0  # whoever is first does it, once for all
        return RAY_SERVICES + self.tiles + compiling + self.asked_for


def make_budget(
    loads: Iterable[Load], config: Config, *, cpus: int, memory: int, session_task: int = 0, object_task: int = 0
) -> Budget:
    """Choose the most filter actors and the largest tiles (up to the configured) whose sum fits `memory` bytes.

    `session_task` is what the largest task of a whole session asks for, `object_task` what the largest of a channel's
    objects does: one of them runs beside the filters, and `cpus` of the latter after them; where there is no room,
    fewer. Raises `TooLittleMemory` with both numbers if one actor with the smallest tiles, or one such task, does not
    fit.
    """
    loads = list(loads)

    def fitted(smallest: Budget) -> Budget:
        room = max(smallest.asked_for, memory - (smallest.total - smallest.asked_for))
        filters = smallest.reader + smallest.filter_actors * smallest.filter_actor
        return replace(smallest, asked_for=min(room, max(filters + max(session_task, object_task), cpus * object_task)))

    most = min(cpus, max((load.groups for load in loads), default=0))
    smallest = None
    for actors in range(most, 0, -1):
        seconds = config.run.tile_seconds
        while True:
            smallest = _budget(loads, config, actors, seconds, session_task, object_task)
            if smallest.total <= memory:
                return fitted(smallest)
            if seconds <= _SMALLEST_TILE_SECONDS:
                break
            seconds = max(_SMALLEST_TILE_SECONDS, seconds / 2)
    if smallest is None:  # nothing for the filters
        largest = max(session_task, object_task)
        smallest = Budget(0, config.run.tile_seconds, 0, _SMALLEST_STORE, 0, 0, 0, session_task, object_task, largest)
        if smallest.total <= memory:
            return fitted(smallest)
    is_filters = smallest.asked_for > max(session_task, object_task)
    less = "take fewer channels at a time with --channels" if is_filters else "leave the largest stage out with --skip"
    raise TooLittleMemory(
        f"the smallest way to do this needs {in_gb(smallest.total)}"
        + (f" ({in_gb(session_task)} of it for what is made of whole sessions)" if session_task else "")
        + (f" ({in_gb(object_task)} for the largest object)" if object_task else "")
        + f", and {in_gb(memory)} are allowed",
        hint=f"give more with --memory, use a larger machine, or {less}",
    )


def in_gb(size: float) -> str:
    """Write bytes for people: '1.42 GB', '310 MB'."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def session_memory(stage: str, extent: Extent) -> int:
    """Bytes that a stage of a whole session needs."""
    base, of_logs, of_eye = _SESSION_NEEDS[stage]
    return base + of_logs * extent.log_bytes + of_eye * extent.eye_samples


def session_bytes(output: str, extent: Extent) -> int:
    """Bytes that an output of a session may take on the disk; a small one's are guessed."""
    of_logs, of_eye = _SESSION_OUTPUTS.get(output.partition("_")[0], (0, 0))
    return 100_000 + round(of_logs * extent.log_bytes) + of_eye * extent.eye_samples


def object_memory(stage: Stage, config: Config, n_samples: int, n_sources: int) -> int:
    """Bytes that a stage of channels' objects needs: of `n_samples` of a channel, or of `n_sources` objects of the day."""
    if stage.name == "mountain_batch":
        files = _BYTES_OF_AN_EVENT_AT_WORK * most_events(n_samples, config.mountain_batch)
        return _SESSION_WORKER + memory_needed(n_samples, config.mountain_batch) + files  # drawing is less than sorting
    if stage.level == "day":
        return _DRAWING + day_bytes(n_sources, stage.arguments(config)["pointsPerWindow"])
    if "pointsPerWindow" in (arguments := stage.arguments(config)):
        return _SESSION_WORKER + spectrum_bytes(arguments["pointsPerWindow"])
    return _SESSION_WORKER + round(n_samples / _RAW_RATE_HZ * _SPIKES_PER_SECOND * _BYTES_OF_A_SPIKE_AT_WORK)


def object_bytes(stage: Stage, output: str, config: Config, n_samples: int, n_sources: int) -> int:
    """Bytes that an output of a channel's objects may take on the disk; how many spikes there will be is guessed."""
    spikes = n_samples / _RAW_RATE_HZ * _SPIKES_PER_SECOND
    if output == "cells.csv":
        return 100_000 + round(spikes * _BYTES_OF_A_SPIKE)
    if output.endswith("firings.mda"):
        return round(spikes * 24)
    if output.endswith(".hkl") and "pointsPerWindow" in (arguments := stage.arguments(config)):
        return 100_000 + max(n_sources, 1) * 3 * 8 * int(arguments["pointsPerWindow"])
    return 100_000


def group_bytes(load: Load, config: Config) -> int:
    """Bytes that the filters of 8 channels hold while a recording goes by."""
    total = LANES * _STEP_SAMPLES * 4
    for stage in load.stages:
        arguments = stage.arguments(config)
        if stage.name == "rplhighpass":
            low_hz, _ = arguments["HighPassFrequency"]
            total += _bandpass_bytes(low_hz, arguments["HighOrder"], load.sampling_rate_hz) + LANES * _STEP_SAMPLES * 4
        elif stage.name == "rpllfp":
            low_hz, _ = arguments["LowPassFrequency"]
            total += _bandpass_bytes(low_hz, arguments["LFPOrder"], arguments["ResampleRate"]) + LANES * 20_000 * 4
        total += LANES * FILE_BYTES
    return total


def _budget(
    loads: list[Load], config: Config, actors: int, tile_seconds: float, session_task: int, object_task: int
) -> Budget:
    tile = max(
        int(tile_seconds * load.sampling_rate_hz) * load.groups * LANES * load.bytes_per_sample for load in loads
    )
    frames = max(int(tile_seconds * load.sampling_rate_hz) * load.columns * 2 for load in loads)
    groups = max(math.ceil(load.groups / actors) * group_bytes(load, config) for load in loads)
    in_flight = config.run.tiles_in_flight
    tiles = (in_flight + 1) * tile + tile // 4
    reader = READER_BASE + frames + tile
    filter_actor = FILTER_BASE + groups
    return Budget(
        filter_actors=actors,
        tile_seconds=tile_seconds,
        tiles_in_flight=in_flight,
        object_store=max(_SMALLEST_STORE, tiles),
        tiles=tiles,
        reader=reader,
        filter_actor=filter_actor,
        session_task=session_task,
        object_task=object_task,
        asked_for=max(reader + actors * filter_actor + session_task, object_task),
    )


def _bandpass_bytes(low_hz: float, order: int, rate_hz: float) -> int:
    # The slowest poles of a Butterworth band-pass decay with sin(pi / 2n) of the lower edge's angular frequency.
    decade = math.log(10) * rate_hz / (2 * math.pi * low_hz * math.sin(math.pi / order))
    halo = 1.1 * _FORGOTTEN_DECADES * decade
    return int(_STATE_ROW * (3 * halo + 20_000))

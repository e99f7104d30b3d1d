"""What there is to do of a day as numbers that have nothing of machines in them: CPU-seconds, bytes, memory.

Bytes and memory are those of `raypipe plan`; how long work takes on a CPU was measured.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raypipe.memory import Load
from raypipe.plan import Plan
from raypipe.run import largest_tasks, loads
from raypipe.tasks import Task
from raypipe.work import Work, works_of

MEASURED = "bench/results on 2026-11-22 and 23, one CPU of an AMD EPYC"
"""Where the rates come from."""
FILTER_SECONDS_PER_SAMPLE = 2 * 10.718 / (124 * 300 * 30_000)
"""CPU-seconds of the pass per sample of a channel, writing included: session.json, both CPUs throughout the pass."""
SORTING_SECONDS, SORTING_SECONDS_PER_SAMPLE = 0.127, 0.00119 / 30_000
"""CPU-seconds of a channel, and per sample of it: sorting.json, its rows of 60 and 600 s of simulated channels."""
RAYCAST_SECONDS_PER_BYTE = 17.175 / (6_000_000 * 130)
"""CPU-seconds per byte that the plan expects in a session's csv: raycast.json, the session of 100 minutes."""
OTHER_SECONDS, OTHER_SECONDS_PER_SAMPLE = 0.5, 1e-8
"""CPU-seconds of what else is made, and per sample of its channel: by hand on 2026-11-23, 8 channels of 600 s one after the
other; the most that a spectrum of a high-pass took per sample, and about what a picture took."""
_RAYCAST_CSV = "unityfile_eyelink.csv"


@dataclass(frozen=True)
class Bytes:
    """What a phase moves between workers and the data volume."""

    read: int = 0
    written: int = 0


@dataclass(frozen=True)
class Demand:
    """What there is to do, of whatever days: nothing of it depends on the machines."""

    loads: tuple[Load, ...]
    """Of the passes through the recordings, one after the other."""
    pass_seconds: tuple[float, ...]
    """CPU-seconds of each."""
    session_seconds: float
    """CPU-seconds of what is made of whole sessions, beside the passes."""
    longest_session: float
    """Seconds of the longest of them: each session's are made one after another."""
    object_seconds: float
    """CPU-seconds of what is made of the passes' objects."""
    longest_object: float
    session_task: int
    """Bytes that the largest task of a whole session asks for; of the passes' objects, the other."""
    object_task: int
    passes: Bytes
    objects: Bytes

    @property
    def is_nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.loads or self.session_seconds or self.object_seconds)


def demand_of(plan: Plan) -> Demand:
    """Return what a plan demands of a cluster."""
    passes = loads(plan)
    in_pass = [task for task in plan.todo if task.stage.level == "channel"]
    of_sessions = [task for task in plan.todo if task.stage.level == "session"]
    of_objects = [task for task in plan.todo if task.stage.level not in ("channel", "session")]
    session_task, object_task = largest_tasks([plan])
    sessions = [(work, _seconds(work)) for work in works_of(of_sessions, plan.config)]
    chains: dict[str, float] = {}
    for work, seconds in sessions:
        for name in work.sessions:
            chains[name] = chains.get(name, 0.0) + seconds
    objects = [(work, _seconds(work)) for work in works_of(of_objects, plan.config)]
    sizes = {task.output: task.size for task in plan.tasks}
    return Demand(
        loads=tuple(passes),
        pass_seconds=tuple(_pass_seconds(plan, in_pass)),
        session_seconds=sum(seconds for _, seconds in sessions),
        longest_session=max(chains.values(), default=0.0),
        object_seconds=sum(seconds for _, seconds in objects),
        longest_object=max((seconds for _, seconds in objects), default=0.0),
        session_task=session_task,
        object_task=object_task,
        passes=Bytes(_recorded(plan, in_pass), _written(in_pass) + _written(of_sessions)),
        objects=Bytes(
            sum(_size(path, sizes) for work, _ in objects for path in _sources(work.tasks)), _written(of_objects)
        ),
    )


def _pass_seconds(plan: Plan, in_pass: Sequence[Task]) -> Iterator[float]:
    """Yield the CPU-seconds of each pass, in the order of `loads`."""
    for recording in plan.recordings:
        channels = {task.channel for task in in_pass if task.session == recording.session and task.channel}
        if channels:
            yield sum(channel.n_samples for channel in channels) * FILTER_SECONDS_PER_SAMPLE


def _recorded(plan: Plan, in_pass: Sequence[Task]) -> int:
    """Return the bytes that the passes read: of an `.ns5` all columns, whatever channels are wanted."""
    read = 0
    for recording in plan.recordings:
        channels = {task.channel for task in in_pass if task.session == recording.session and task.channel}
        if channels and recording.header:
            read += 2 * recording.header.n_samples * len(recording.header.channels)
        else:
            read += sum(4 * channel.n_samples for channel in channels)
    return read


def _written(tasks: Iterable[Task]) -> int:
    return sum(task.size for task in tasks)


def _sources(tasks: Iterable[Task]) -> set[Path]:
    return {path for task in tasks for path in task.objects.values()}


def _size(path: Path, planned: Mapping[Path, int]) -> int:
    """Return what a file has, or will have, in bytes: of stages that were not asked for it is there, or counts nothing."""
    return planned[path] if path in planned else path.stat().st_size if path.exists() else 0


def _seconds(work: Work) -> float:
    samples = sum({task.channel: task.channel.n_samples for task in work.tasks if task.channel}.values())
    if work.stage == "mountain_batch":
        return SORTING_SECONDS + samples * SORTING_SECONDS_PER_SAMPLE
    csv = sum(task.size for task in work.tasks if task.output.name == _RAYCAST_CSV)
    return OTHER_SECONDS + samples * OTHER_SECONDS_PER_SAMPLE + csv * RAYCAST_SECONDS_PER_BYTE

"""What a run would do: every output of the day, whether it is done, and if not why not.

A task is done when its file is the one that the ledger tells of and the task's key is unchanged: its inputs (name, size,
time of change), its parameters and the code of its stage. A file that raypipe did not make, or that somebody changed
since, is kept and never overwritten unless one asks for it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from raypipe.code import code_version
from raypipe.config import Config
from raypipe.day import Day, Session
from raypipe.errors import RaypipeError, UsageError
from raypipe.io.objects import object_name
from raypipe.ledger import Entry, read_ledger
from raypipe.recording import Channel, Recording, Selection, find_recording, ranges
from raypipe.stages import STAGES, Stage

State = Literal["done", "todo", "kept"]
OBJECT_OVERHEAD_BYTES = 30_000
"""What an object takes on the disk beside its samples (hickle's groups and type table)."""


@dataclass(frozen=True)
class Task:
    """One output: a stage's object of a session or of a channel."""

    stage: Stage
    session: Session
    channel: Channel | None
    output: Path
    key: dict[str, str]
    state: State
    why: str
    size: int
    """Bytes of the file, or, not being there, how many it will have."""


@dataclass(frozen=True)
class Problem:
    """Something that keeps stages of a session from being planned at all."""

    session: str
    stages: tuple[str, ...]
    error: RaypipeError


@dataclass(frozen=True)
class Plan:
    """All that a run of the day comes to."""

    day: Day
    config: Config
    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...]
    recordings: tuple[Recording, ...]

    @property
    def todo(self) -> tuple[Task, ...]:
        """Tasks that a run would do."""
        return tuple(task for task in self.tasks if task.state == "todo")

    @property
    def bytes_to_write(self) -> int:
        """Bytes of the outputs that a run would write."""
        return sum(task.size for task in self.todo)

    @property
    def counts(self) -> Counter[State]:
        """Number of tasks in each state."""
        return Counter(task.state for task in self.tasks)


def make_plan(
    day: Day,
    config: Config,
    *,
    stages: Sequence[Stage] = STAGES,
    channels: Selection | None = None,
    replace_foreign: bool = False,
) -> Plan:
    """Plan `stages` for `channels` (all, if None) of every session of `day`.

    With `replace_foreign`, files that raypipe did not make are made again instead of kept. Only headers are read.
    Raises `UsageError` for a channel that no session has; what is wrong with a single session becomes a `Problem`.
    """
    histories = _histories(day)
    tasks: list[Task] = []
    problems: list[Problem] = []
    recordings: list[Recording] = []

    for session in day.sessions:
        by_level = {level: [stage for stage in stages if stage.level == level] for level in ("session", "channel")}
        for stage in by_level["session"]:
            try:
                tasks.append(_session_task(day, session, stage, config, histories))
            except RaypipeError as error:
                problems.append(Problem(session.name, (stage.name,), error))
        try:
            recording = find_recording(session, config.input)
        except RaypipeError as error:
            if by_level["channel"]:
                problems.append(Problem(session.name, tuple(stage.name for stage in by_level["channel"]), error))
            continue
        recordings.append(recording)
        tasks += _channel_tasks(day, recording, by_level["channel"], channels, config, histories)

    if channels is not None and recordings:
        _refuse_unknown(channels, recordings)
    if replace_foreign:
        tasks = [replace(task, state="todo", why="to be replaced") if _replaceable(task) else task for task in tasks]
    return Plan(day, config, tuple(tasks), tuple(problems), tuple(recordings))


def changes(old: dict[str, str], new: dict[str, str]) -> str:
    """Say which fields differ between two keys, old value and new."""
    return "; ".join(
        f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    )


@dataclass(frozen=True)
class _Histories:
    """The ledger, by output and by what was made."""

    by_output: dict[str, list[Entry]]
    by_task: dict[tuple[str, str, int | None], Entry]


def _histories(day: Day) -> _Histories:
    entries = read_ledger(day.state)
    by_output: dict[str, list[Entry]] = {}
    for entry in entries:
        by_output.setdefault(entry.output, []).append(entry)
    return _Histories(by_output, {(entry.stage, entry.session, entry.channel): entry for entry in entries})


def _session_task(day: Day, session: Session, stage: Stage, config: Config, histories: _Histories) -> Task:
    key = _key(stage, config, [session.the_file(pattern) for pattern in stage.reads])
    output = session.output / object_name(stage.stem, stage.arguments(config))
    return _judged(day, Task(stage, session, None, output, key, "todo", "", OBJECT_OVERHEAD_BYTES), histories)


def _channel_tasks(
    day: Day,
    recording: Recording,
    stages: Iterable[Stage],
    channels: Selection | None,
    config: Config,
    histories: _Histories,
) -> list[Task]:
    session = recording.session
    header_files = [recording.header.path, *sorted(session.input.glob("*.nev"))] if recording.header else []
    keys = {stage.name: _key(stage, config, header_files) for stage in stages}
    names = {stage.name: object_name(stage.stem, stage.arguments(config)) for stage in stages}
    tasks: list[Task] = []
    for channel in recording.channels.values():
        if channels is not None and channel.number not in channels:
            continue
        folder = session.channel_folder(channel.array, channel.number)
        for stage in stages:
            if channel.raw_file and "rplraw" not in stage.reads:
                tasks.append(_kept_source(stage, session, channel))
                continue
            key = _key(stage, config, [channel.raw_file]) if channel.raw_file else keys[stage.name]
            size = OBJECT_OVERHEAD_BYTES + 4 * _output_samples(stage, recording, channel, config)
            task = Task(stage, session, channel, folder / names[stage.name], key, "todo", "", size)
            tasks.append(_judged(day, task, histories))
    return tasks


def _kept_source(stage: Stage, session: Session, channel: Channel) -> Task:
    assert channel.raw_file
    why = "its recording is gone: this file is what the others are made from"
    return Task(stage, session, channel, channel.raw_file, {}, "kept", why, channel.raw_file.stat().st_size)


def _output_samples(stage: Stage, recording: Recording, channel: Channel, config: Config) -> int:
    if stage.name != "rpllfp":
        return channel.n_samples
    return int(channel.n_samples * config.rpllfp.ResampleRate / recording.sampling_rate_hz) + 1


def _key(stage: Stage, config: Config, inputs: Iterable[Path]) -> dict[str, str]:
    """Return what decides whether the stage's output is up to date. Resources are not in it, they change no result."""
    key: dict[str, str] = {}
    for path in inputs:
        status = path.stat()
        key[f"input {path.suffix or path.name}"] = f"{path.name}, {status.st_size} bytes, changed {status.st_mtime_ns}"
    key |= {f"parameter {name}": str(value) for name, value in stage.arguments(config).items()}
    if stage.level == "channel" and config.input.accept_truncated:
        key["parameter accept_truncated"] = "true"
    return key | {"code": code_version(stage.code)}


def _judged(day: Day, task: Task, histories: _Histories) -> Task:
    """Decide what is to be done about a task, from its file and the ledger."""
    relative = task.output.relative_to(day.output).as_posix()
    try:
        status = task.output.stat()
    except FileNotFoundError:
        return replace(task, why=_why_missing(task, relative, histories))
    for entry in reversed(histories.by_output.get(relative, [])):
        if (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns):
            difference = changes(entry.key, task.key)
            if difference:
                return replace(task, why=difference)
            return replace(task, state="done", why="up to date", size=status.st_size)
    why = "changed by something else since" if relative in histories.by_output else "made by something else"
    return replace(task, state="kept", why=f"{why}; --replace makes it again", size=status.st_size)


def _why_missing(task: Task, relative: str, histories: _Histories) -> str:
    if relative in histories.by_output:
        return "was made, and is gone"
    earlier = histories.by_task.get((task.stage.name, task.session.name, task.channel.number if task.channel else None))
    # Other parameters, other file name: the earlier file stays, as it does in PyHipp.
    return changes(earlier.key, task.key) if earlier else "not made yet"


def _replaceable(task: Task) -> bool:
    return task.state == "kept" and not (task.channel and task.output == task.channel.raw_file)


def _refuse_unknown(channels: Selection, recordings: Sequence[Recording]) -> None:
    recorded = {number for recording in recordings for number in recording.channels}
    if unknown := channels.unknown(recorded):
        raise UsageError(f"no session has channel {unknown}", hint=f"recorded are {ranges(recorded)}")

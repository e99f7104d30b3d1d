"""What a run would do: every output of the day, whether it is done, and if not why not.

A task is done when its file is the one that the ledger tells of and the task's key is unchanged: its inputs (name, size,
time of change), its parameters and the code of its stage. A file that raypipe did not make, or that somebody changed
since, is kept and never overwritten unless one asks for it.

When a recording was archived, its channels are read from their `rplraw` files. Those that raypipe made stand for the
recording in every key: what was made from it stays done.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from raypipe.code import code_version
from raypipe.config import Config, parse_bytes
from raypipe.day import Day, Session
from raypipe.errors import InputMissing, RaypipeError, UsageError
from raypipe.io.objects import object_name
from raypipe.ledger import Entry, read_ledger
from raypipe.recording import Channel, Recording, Selection, find_recording, ranges
from raypipe.stages import STAGES, Stage
from raypipe.stages.parameters import check_arguments

State = Literal["done", "todo", "kept"]
OBJECT_OVERHEAD_BYTES = 30_000
"""What an object takes on the disk beside its samples (hickle's groups and type table)."""
_OF_THE_RECORDING = ("input .ns5", "parameter accept_truncated")
"""What a key says of the samples, wherever they are read from."""


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
    changed_since: bool = False
    """Whether raypipe made the file and something else has changed it."""


@dataclass(frozen=True)
class Problem:
    """Something that keeps stages of a session, or of one of its channels, from being planned at all."""

    session: str
    stages: tuple[str, ...]
    error: RaypipeError
    tasks: tuple[Task, ...] = ()
    """What cannot be done of a channel; of a whole session it is not known what there would be to do."""

    @property
    def channel(self) -> int | None:
        """The channel, if it is one channel's problem."""
        return next((task.channel.number for task in self.tasks if task.channel), None)


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
    def replaceable(self) -> tuple[Task, ...]:
        """Tasks whose file is kept for being somebody else's, and that a run with `replace_foreign` would do."""
        return tuple(task for task in self.tasks if _replaceable(task))

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
    Raises `UsageError` for a channel that no session has and for parameters that cannot be meant; what is wrong with a
    single session or channel becomes a `Problem`.
    """
    if config.run.memory:
        parse_bytes(config.run.memory)  # nonsense is refused, whether or not there is anything to do
    planner = _Planner(day, config, stages, channels, replace_foreign)
    for session in day.sessions:
        planner.add(session)
    if channels is not None and planner.recordings:
        _refuse_unknown(channels, planner.recordings)
    return Plan(day, config, tuple(planner.tasks), tuple(planner.problems), tuple(planner.recordings))


def changes(old: dict[str, str], new: dict[str, str]) -> str:
    """Say which fields differ between two keys, old value and new."""
    return "; ".join(
        f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in dict.fromkeys((*new, *old))
        if old.get(name) != new.get(name)
    )


class _Planner:
    """Collects the tasks and problems of a day, session by session."""

    def __init__(
        self, day: Day, config: Config, stages: Iterable[Stage], channels: Selection | None, replace_foreign: bool
    ) -> None:
        self.tasks: list[Task] = []
        self.problems: list[Problem] = []
        self.recordings: list[Recording] = []
        self._day = day
        self._config = config
        self._of_sessions = [stage for stage in stages if stage.level == "session"]
        self._of_channels = [stage for stage in stages if stage.level == "channel"]
        self._channels = channels
        self._replace_foreign = replace_foreign
        self._ledger: dict[str, list[Entry]] = {}
        self._last: dict[tuple[str, str, int | None], Entry] = {}
        for entry in read_ledger(day.state):
            self._ledger.setdefault(entry.output, []).append(entry)
            self._last[entry.stage, entry.session, entry.channel] = entry

    def add(self, session: Session) -> None:
        """Plan a session: what is made of it as a whole, then its channels."""
        for stage in self._of_sessions:
            try:
                inputs = _inputs([session.the_file(pattern) for pattern in stage.reads])
            except RaypipeError as error:
                self.problems.append(Problem(session.name, (stage.name,), error))
            else:
                self.tasks.append(self._task(stage, session, None, inputs, 0))
        try:
            recording = find_recording(session, self._config.input)
        except RaypipeError as error:
            if self._of_channels:
                self.problems.append(Problem(session.name, tuple(stage.name for stage in self._of_channels), error))
            return
        self.recordings.append(recording)
        for stage in self._of_channels:
            check_arguments(stage.name, stage.arguments(self._config), recording.sampling_rate_hz)
        add = self._add_from_header if recording.header else self._add_from_raw_files
        add(
            recording, [each for n, each in recording.channels.items() if self._channels is None or n in self._channels]
        )

    def _add_from_header(self, recording: Recording, channels: Iterable[Channel]) -> None:
        assert recording.header
        session = recording.session
        inputs = {}
        for stage in self._of_channels:
            # Of the .nev come only names of filters, which the .ns5 has too: it may be missing, and several are no error.
            others = [path for name in stage.reads if name == "*.nev" for path in sorted(session.input.glob(name))]
            inputs[stage.name] = _inputs([recording.header.path, *(path for path in others if path.exists())])
            if recording.header.missing_samples:
                inputs[stage.name]["parameter accept_truncated"] = "true"
        for channel in channels:
            for stage in self._of_channels:
                n_samples = _output_samples(stage, recording, channel, self._config)
                self.tasks.append(self._task(stage, session, channel, inputs[stage.name], n_samples))

    def _add_from_raw_files(self, recording: Recording, channels: Iterable[Channel]) -> None:
        session = recording.session
        for channel in channels:
            assert channel.raw_file
            tasks = []
            for stage in self._of_channels:
                if "rplraw" in stage.reads:
                    n_samples = _output_samples(stage, recording, channel, self._config)
                    tasks.append(self._task(stage, session, channel, self._origin(channel.raw_file), n_samples))
                else:
                    self.tasks.append(self._source(stage, session, channel, channel.raw_file))
            todo = tuple(task for task in tasks if task.state == "todo")
            # Opening files is slow: only those that something is to be made of.
            if todo and (error := _damage(channel.number, channel.raw_file)):
                stages = tuple(task.stage.name for task in todo)
                self.problems.append(Problem(session.name, stages, error, todo))
                tasks = [task for task in tasks if task.state != "todo"]
            self.tasks += tasks

    def _task(
        self, stage: Stage, session: Session, channel: Channel | None, inputs: dict[str, str], n_samples: int
    ) -> Task:
        arguments = stage.arguments(self._config)
        parameters = {f"parameter {name}": str(value) for name, value in arguments.items()}
        # Resources are not in the key, they change no result.
        key = inputs | parameters | {"code": code_version(stage.code)}
        folder = session.channel_folder(channel.array, channel.number) if channel else session.output
        output = folder / object_name(stage.stem, arguments)
        size = OBJECT_OVERHEAD_BYTES + 4 * n_samples
        task = self._judged(Task(stage, session, channel, output, key, "todo", "", size))
        return (
            replace(task, state="todo", why="to be replaced") if self._replace_foreign and _replaceable(task) else task
        )

    def _source(self, stage: Stage, session: Session, channel: Channel, raw_file: Path) -> Task:
        as_made = self._entry(raw_file) is not None
        state: State = "done" if as_made else "kept"
        why = "its recording is gone: this file is what the others are made from"
        changed = not as_made and self._relative(raw_file) in self._ledger
        return Task(stage, session, channel, raw_file, {}, state, why, raw_file.stat().st_size, changed)

    def _judged(self, task: Task) -> Task:
        """Decide what is to be done about a task, from its file and the ledger."""
        try:
            size = task.output.stat().st_size
        except FileNotFoundError:
            return replace(task, why=self._why_missing(task))
        if entry := self._entry(task.output):
            difference = changes(entry.key, task.key)
            return (
                replace(task, why=difference)
                if difference
                else replace(task, state="done", why="up to date", size=size)
            )
        changed = self._relative(task.output) in self._ledger
        why = f"{'changed by something else since' if changed else 'made by something else'}; --replace makes it again"
        return replace(task, state="kept", why=why, size=size, changed_since=changed)

    def _why_missing(self, task: Task) -> str:
        if self._relative(task.output) in self._ledger:
            return "was made, and is gone"
        earlier = self._last.get((task.stage.name, task.session.name, task.channel.number if task.channel else None))
        # Other parameters, other file name: the earlier file stays, as it does in PyHipp.
        return changes(earlier.key, task.key) if earlier else "not made yet"

    def _origin(self, raw_file: Path) -> dict[str, str]:
        """Return what decides about the samples of a raw file: the recording that it was made from, if we made it."""
        entry = self._entry(raw_file)
        recording = {name: entry.key[name] for name in _OF_THE_RECORDING if name in entry.key} if entry else {}
        return recording or _inputs([raw_file])

    def _entry(self, path: Path) -> Entry | None:
        """Return what the ledger tells of a file, if it is still the file that raypipe made."""
        status = path.stat()
        for entry in reversed(self._ledger.get(self._relative(path), [])):
            if (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return entry
        return None

    def _relative(self, path: Path) -> str:
        # A raw file may be in the recording's folder, of which this ledger tells nothing.
        return path.relative_to(self._day.output).as_posix() if path.is_relative_to(self._day.output) else str(path)


def _inputs(paths: Iterable[Path]) -> dict[str, str]:
    """Return what a key says of input files: by their kind the name, size and time of each."""
    found: dict[str, list[str]] = {}
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise InputMissing(f"{path} is a link to nothing", hint="fetch the file that it stands for") from None
        text = f"{path.name}, {status.st_size} bytes, changed {status.st_mtime_ns}"
        found.setdefault(f"input {path.suffix}", []).append(text)
    return {name: " and ".join(texts) for name, texts in found.items()}


def _output_samples(stage: Stage, recording: Recording, channel: Channel, config: Config) -> int:
    if stage.name != "rpllfp":
        return channel.n_samples
    return int(channel.n_samples * config.rpllfp.ResampleRate / recording.sampling_rate_hz) + 1


def _damage(channel: int, raw_file: Path) -> RaypipeError | None:
    """Return what is wrong with a raw file, or None."""
    from raypipe.io.datafield import open_data  # imports h5py, which a day with its .ns5 never needs

    try:
        open_data(raw_file)
    except RaypipeError as error:
        return type(error)(f"channel {channel}: {error.message}", hint=error.hint)
    return None


def _replaceable(task: Task) -> bool:
    return task.state == "kept" and not (task.channel and task.output == task.channel.raw_file)


def _refuse_unknown(channels: Selection, recordings: Sequence[Recording]) -> None:
    recorded = {number for recording in recordings for number in recording.channels}
    if unknown := channels.unknown(recorded):
        raise UsageError(f"no session has channel {unknown}", hint=f"recorded are {ranges(recorded)}")

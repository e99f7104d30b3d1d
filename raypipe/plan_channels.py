"""Tasks of the channels: from the `.ns5`, or when that was archived from its raw copies.

Raw copies that raypipe made stand for the recording in every key: what was made from it stays done.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raypipe.code import code_version
from raypipe.config import Config
from raypipe.day import Session
from raypipe.errors import RaypipeError
from raypipe.history import History, input_key
from raypipe.recording import Channel, Recording, Selection, find_recording
from raypipe.stages import Stage
from raypipe.stages.parameters import check_arguments
from raypipe.tasks import Problem, State, Task

OBJECT_OVERHEAD_BYTES = 30_000
"""What an object takes on the disk beside its samples (hickle's groups and type table)."""
_OF_THE_RECORDING = ("input .ns5", "parameter accept_truncated")
"""What a key says of the samples, wherever they are read from."""


@dataclass(frozen=True)
class ChannelPlanner:
    """Plans `stages` for the selected channels (all, if None) of a session."""

    config: Config
    stages: Sequence[Stage]
    selection: Selection | None
    history: History

    def plan(self, session: Session) -> tuple[Recording | None, list[Task], list[Problem]]:
        """Return the session's recording, its tasks, and what keeps some from being planned. Raises `UsageError`."""
        try:
            recording = find_recording(session, self.config.input)
        except RaypipeError as error:
            names = tuple(stage.name for stage in self.stages)
            return None, [], [Problem(session.name, names, error)] if names else []
        for stage in self.stages:
            check_arguments(stage.name, stage.arguments(self.config), recording.sampling_rate_hz)
        channels = [
            channel for n, channel in recording.channels.items() if self.selection is None or n in self.selection
        ]
        if recording.header:
            return recording, list(self._from_header(recording, channels)), []
        return recording, *self._from_raw_files(recording, channels)

    def _from_header(self, recording: Recording, channels: Iterable[Channel]) -> Iterator[Task]:
        assert recording.header
        session = recording.session
        inputs = {}
        for stage in self.stages:
            # Of the .nev come only names of filters, which the .ns5 has too: it may be missing, and several are no error.
            others = [path for name in stage.reads if name == "*.nev" for path in sorted(session.input.glob(name))]
            inputs[stage.name] = input_key([recording.header.path, *(path for path in others if path.exists())])
            if recording.header.missing_samples:
                inputs[stage.name]["parameter accept_truncated"] = "true"
        for channel in channels:
            for stage in self.stages:
                yield self._task(stage, recording, channel, inputs[stage.name])

    def _from_raw_files(self, recording: Recording, channels: Iterable[Channel]) -> tuple[list[Task], list[Problem]]:
        found: list[Task] = []
        problems: list[Problem] = []
        for channel in channels:
            assert channel.raw_file
            tasks = []
            for stage in self.stages:
                if "rplraw" in stage.reads:
                    tasks.append(self._task(stage, recording, channel, self._origin(channel.raw_file)))
                else:
                    found.append(self._source(stage, recording.session, channel, channel.raw_file))
            todo = tuple(task for task in tasks if task.state == "todo")
            # Opening files is slow: only those that something is to be made of.
            if todo and (error := _damage(channel.number, channel.raw_file)):
                problems.append(Problem(recording.session.name, tuple(task.stage.name for task in todo), error, todo))
                tasks = [task for task in tasks if task.state != "todo"]
            found += tasks
        return found, problems

    def _task(self, stage: Stage, recording: Recording, channel: Channel, inputs: dict[str, str]) -> Task:
        key = stage_key(stage, self.config, inputs)
        (name,) = stage.output_names(self.config)
        output = recording.session.channel_folder(channel.array, channel.number) / name
        size = OBJECT_OVERHEAD_BYTES + 4 * _output_samples(stage, recording, channel, self.config)
        return self.history.judged(Task(stage, recording.session, channel, output, key, "todo", "", size))

    def _source(self, stage: Stage, session: Session, channel: Channel, raw_file: Path) -> Task:
        as_made = self.history.entry(raw_file) is not None
        state: State = "done" if as_made else "kept"
        why = "its recording is gone: this file is what the others are made from"
        changed = not as_made and self.history.knows(raw_file)
        return Task(stage, session, channel, raw_file, {}, state, why, raw_file.stat().st_size, changed)

    def _origin(self, raw_file: Path) -> dict[str, str]:
        """Return what decides about the samples of a raw file: the recording that it was made from, if we made it."""
        entry = self.history.entry(raw_file)
        recording = {name: entry.key[name] for name in _OF_THE_RECORDING if name in entry.key} if entry else {}
        return recording or input_key([raw_file])


def stage_key(stage: Stage, config: Config, inputs: dict[str, str]) -> dict[str, str]:
    """Return all that decides about a stage's output: `inputs`, its parameters, its code. Resources change no result."""
    parameters = {f"parameter {name}": str(value) for name, value in stage.arguments(config).items()}
    return inputs | parameters | {"code": code_version(stage.code)}


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

"""From a plan to work: which channels go through the filters together, from which source, into which files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import kernels
from raypipe.channels import Group, Lane, Output, Pass
from raypipe.config import Config
from raypipe.errors import RaypipeError
from raypipe.io.datafield import open_data
from raypipe.io.nev import NevFilter, read_nev
from raypipe.io.objects import normalised_dir, save_unnamed
from raypipe.outcome import Failure, Written, failure
from raypipe.plan import Plan, Task
from raypipe.recording import Recording
from raypipe.sources import NsxSource, RawFileSource, Source
from raypipe.stages import Stage, rplhighpass, rpllfp, rplparallel, rplsplit
from raypipe.stages.channel import ChannelFacts, FilterDesign

_CHANNEL_STAGES: Mapping[str, ModuleType] = {"rplsplit": rplsplit, "rpllfp": rpllfp, "rplhighpass": rplhighpass}


@dataclass(frozen=True)
class ObjectTask:
    """The object of a whole session: its input and its file."""

    stage: str
    session: str
    input: Path
    output: Path

    def make(self, token: str) -> tuple[Written, tuple[str, ...]]:
        """Make the object under its temporary name; return it with what should be said about it."""
        nev = read_nev(self.input)
        markers = rplparallel.arrange_markers(nev.codes, nev.ticks, nev.timestamp_resolution, where=str(self.input))
        fields = rplparallel.object_fields(markers, normalised_dir(self.output.parent))
        self.output.parent.mkdir(parents=True, exist_ok=True)
        temporary = save_unnamed(self.output, fields, token=token)
        return Written.at(temporary, self.stage, None, self.output), markers.notes


def object_tasks(plan: Plan) -> list[ObjectTask]:
    """Return the plan's tasks for whole sessions."""
    return [
        ObjectTask(task.stage.name, task.session.name, task.session.the_file("*.nev"), task.output)
        for task in plan.todo
        if task.channel is None
    ]


def channel_passes(plan: Plan) -> tuple[list[Pass], list[tuple[str, list[Failure]]]]:
    """Return the passes through the recordings with channels to do, and by session the failures of what cannot begin."""
    passes: list[Pass] = []
    failures: list[tuple[str, list[Failure]]] = []
    for recording in plan.recordings:
        tasks = [task for task in plan.todo if task.session == recording.session and task.channel]
        try:
            if recording.header:
                passes += [_from_nsx(recording, tasks, plan.config)] if tasks else []
            else:
                passes += _from_raw_files(recording, tasks, plan.config)
        except RaypipeError as error:
            failed = [failure(task.stage.name, task.channel.number, error) for task in tasks if task.channel]
            failures.append((recording.session.name, failed))
    return passes, failures


def _from_nsx(recording: Recording, tasks: Sequence[Task], config: Config) -> Pass:
    """One pass through the `.ns5`; channels in the order of its columns, so that groups of 8 lie side by side."""
    header = recording.header
    assert header
    corners = _recorder_filters(recording)
    lanes = []
    for column, mine in _by_place(tasks, {number: channel.column for number, channel in recording.channels.items()}):
        channel = header.channels[column]
        facts = ChannelFacts(channel.label, header.n_samples, header.sampling_rate_hz, corners.get(channel.electrode_id))
        lanes.append(_lane(mine, column, facts, config, gain=channel.gain, offset=channel.offset))
    return _pass(recording, NsxSource(header), header.sampling_rate_hz, lanes, tasks, config)


def _from_raw_files(recording: Recording, tasks: Sequence[Task], config: Config) -> Iterator[Pass]:
    """A pass for each length and rate among the `rplraw` files; those of one session usually agree."""
    files = {
        task.channel.number: open_data(task.channel.raw_file) for task in tasks if task.channel and task.channel.raw_file
    }
    for n_samples, rate_hz in sorted({(data.n_samples, data.rate_hz) for data in files.values()}):
        alike = {n: data for n, data in files.items() if (data.n_samples, data.rate_hz) == (n_samples, rate_hz)}
        some = [task for task in tasks if task.channel and task.channel.number in alike]
        data_fields = tuple(alike.values())
        lanes = [
            _lane(mine, place, ChannelFacts(_label(data_fields[place].fields), n_samples, rate_hz, None), config)
            for place, mine in _by_place(some, {number: place for place, number in enumerate(alike)})
        ]
        yield _pass(recording, RawFileSource(data_fields), rate_hz, lanes, some, config)


def _pass(
    recording: Recording, source: Source, rate_hz: float, lanes: Sequence[Lane], tasks: Sequence[Task], config: Config
) -> Pass:
    groups = tuple(Group(tuple(lanes[first : first + kernels.LANES])) for first in range(0, len(lanes), kernels.LANES))
    stages = dict.fromkeys(task.stage for task in tasks)
    designs = {stage.name: _design(stage, config, rate_hz) for stage in stages}
    return Pass(recording.session.name, source, rate_hz, groups, designs)


def _lane(
    tasks: Sequence[Task], place: int, facts: ChannelFacts, config: Config, *, gain: float = 1.0, offset: float = 0.0
) -> Lane:
    """Return a channel and all that is made of it."""
    outputs = []
    for task in tasks:
        module, arguments = _CHANNEL_STAGES[task.stage.name], task.stage.arguments(config)
        fields = module.object_fields(arguments, normalised_dir(task.output.parent), facts)
        n_samples = _design(task.stage, config, facts.rate_hz).output_samples(facts.n_samples)
        outputs.append(Output(task.stage.name, task.output, fields, n_samples))
    assert tasks[0].channel
    return Lane(tasks[0].channel.number, place, gain, offset, tuple(outputs))


def _design(stage: Stage, config: Config, rate_hz: float) -> FilterDesign:
    design: FilterDesign = _CHANNEL_STAGES[stage.name].design(stage.arguments(config), rate_hz)
    return design


def _by_place(tasks: Sequence[Task], places: Mapping[int, int | None]) -> list[tuple[int, list[Task]]]:
    """Sort tasks by the place of their channel in the source."""
    by_place: dict[int, list[Task]] = {}
    for task in tasks:
        place = places[task.channel.number] if task.channel else None
        assert place is not None
        by_place.setdefault(place, []).append(task)
    return sorted(by_place.items())


def _label(raw_fields: Mapping[str, object]) -> str:
    """Return the channel's label from an `rplraw` object, which holds it as the text `b'raw 9'`."""
    info = raw_fields["analogInfo"]
    probe = info.get("ProbeInfo", "") if isinstance(info, Mapping) else ""
    return str(probe).removeprefix("b'").removesuffix("'")


def _recorder_filters(recording: Recording) -> dict[int, NevFilter]:
    """Return the recorder's own filter of each electrode: from the `.nev` as PyHipp does, else from the `.ns5`."""
    for path in sorted(recording.session.input.glob("*.nev")):
        try:
            return read_nev(path).filters
        except RaypipeError:
            continue  # rplparallel says what is wrong with it
    return {
        channel.electrode_id: NevFilter(
            channel.electrode_id,
            round(channel.high_corner_hz * 1000),
            channel.high_order,
            channel.high_filter_type,
            round(channel.low_corner_hz * 1000),
            channel.low_order,
            channel.low_filter_type,
        )
        for channel in (recording.header.channels if recording.header else ())
    }

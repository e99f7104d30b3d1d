"""From a plan to work: which channels go through the filters together, from which source, into which files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import kernels
from raypipe.channels import Group, Lane, Output, Pass
from raypipe.config import Config
from raypipe.errors import RaypipeError
from raypipe.io.datafield import open_data
from raypipe.io.nev import NevFilter, read_nev
from raypipe.io.objects import normalised_dir
from raypipe.outcome import Failure, failure
from raypipe.plan import Plan
from raypipe.recording import Recording
from raypipe.sources import NsxSource, RawFileSource
from raypipe.stages.channel import ChannelFacts, ChannelStage
from raypipe.stages.rplhighpass import RplHighPass
from raypipe.stages.rpllfp import RplLfp
from raypipe.stages.rplsplit import RplSplit
from raypipe.tasks import Task

_MAKERS: Mapping[str, Callable[[Mapping[str, Any], float], ChannelStage]] = {
    "rplsplit": RplSplit.of,
    "rpllfp": RplLfp.of,
    "rplhighpass": RplHighPass.of,
}


def channel_passes(plan: Plan) -> tuple[list[Pass], list[tuple[str, list[Failure]]]]:
    """Return the passes through the recordings with channels to do, and by session the failures of what cannot begin."""
    passes: list[Pass] = []
    failures: list[tuple[str, list[Failure]]] = []
    for recording in plan.recordings:
        tasks = [task for task in plan.todo if task.session == recording.session and task.stage.level == "channel"]
        try:
            if recording.header:
                passes += [_from_nsx(recording, tasks, plan.config)] if tasks else []
            else:
                passes += _from_raw_files(recording, tasks, plan.config)
        except RaypipeError as error:
            failed = [
                failure(task.stage.name, task.channel.number, task.output, error) for task in tasks if task.channel
            ]
            failures.append((recording.session.name, failed))
    return passes, failures


def _from_nsx(recording: Recording, tasks: Sequence[Task], config: Config) -> Pass:
    """One pass through the `.ns5`; channels in the order of its columns, so that groups of 8 lie side by side."""
    header = recording.header
    assert header
    stages = _stages(tasks, config, header.sampling_rate_hz)
    corners = _recorder_filters(recording)
    lanes = []
    for column, mine in _by_place(tasks, {number: channel.column for number, channel in recording.channels.items()}):
        channel = header.channels[column]
        facts = ChannelFacts(
            channel.label, header.n_samples, header.sampling_rate_hz, corners.get(channel.electrode_id)
        )
        lanes.append(_lane(mine, column, facts, stages, gain=channel.gain, offset=channel.offset))
    return Pass(recording.session.name, NsxSource(header), header.sampling_rate_hz, _groups(lanes), stages)


def _from_raw_files(recording: Recording, tasks: Sequence[Task], config: Config) -> Iterator[Pass]:
    """A pass for each length and rate among the `rplraw` files; those of one session usually agree."""
    files = {
        task.channel.number: open_data(task.channel.raw_file)
        for task in tasks
        if task.channel and task.channel.raw_file
    }
    for n_samples, rate_hz in sorted({(data.n_samples, data.rate_hz) for data in files.values()}):
        alike = {n: data for n, data in files.items() if (data.n_samples, data.rate_hz) == (n_samples, rate_hz)}
        some = [task for task in tasks if task.channel and task.channel.number in alike]
        stages = _stages(some, config, rate_hz)
        source = RawFileSource(tuple(alike.values()))
        lanes = [
            _lane(mine, place, ChannelFacts(_label(source.files[place].fields), n_samples, rate_hz, None), stages)
            for place, mine in _by_place(some, {number: place for place, number in enumerate(alike)})
        ]
        yield Pass(recording.session.name, source, rate_hz, _groups(lanes), stages)


def _stages(tasks: Sequence[Task], config: Config, rate_hz: float) -> dict[str, ChannelStage]:
    stages = dict.fromkeys(task.stage for task in tasks)
    return {stage.name: _MAKERS[stage.name](stage.arguments(config), rate_hz) for stage in stages}


def _groups(lanes: Sequence[Lane]) -> tuple[Group, ...]:
    return tuple(Group(tuple(lanes[first : first + kernels.LANES])) for first in range(0, len(lanes), kernels.LANES))


def _lane(
    tasks: Sequence[Task],
    place: int,
    facts: ChannelFacts,
    stages: Mapping[str, ChannelStage],
    *,
    gain: float = 1.0,
    offset: float = 0.0,
) -> Lane:
    """Return a channel and all that is made of it."""
    outputs = []
    for task in tasks:
        stage = stages[task.stage.name]
        fields = stage.object_fields(normalised_dir(task.output.parent), facts)
        outputs.append(Output(task.stage.name, task.output, fields, stage.output_samples(facts.n_samples)))
    assert tasks[0].channel
    return Lane(tasks[0].channel.number, place, gain, offset, tuple(outputs))


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

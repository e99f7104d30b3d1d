"""Tasks that are made from objects of channels when the filters are done with them: spectra, sorting, cells.

The stages that were asked for are looked at, and all that they are made from, in the order of the table. What cannot be
made for want of something else is told of together with that.
"""

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from raypipe.config import Config
from raypipe.day import CALIBRATION, MOUNTAINS, Day, Session
from raypipe.errors import InputMissing, RaypipeError, Refused
from raypipe.history import History, derived, input_key
from raypipe.io.objects import object_name
from raypipe.memory import object_bytes, object_memory
from raypipe.outcome import cells_in
from raypipe.plan_channels import stage_key
from raypipe.plan_sessions import left_out
from raypipe.recording import Channel, Recording, Selection, ranges
from raypipe.stages import BY_NAME, STAGES, Stage
from raypipe.stages.parameters import check_arguments
from raypipe.tasks import ObjectOf, Problem, Task, TaskId

_SESSIONS = "parameter sessions"
LEVELS = ("object", "joined", "day")
FIRINGS = "firings.mda"
_SPIKES = "spiketrain"
_CELL_FILES = frozenset({f"{_SPIKES}.csv", object_name(_SPIKES, {})})


def and_their_sources(chosen: Collection[Stage]) -> list[Stage]:
    """Return the stages of channels and of their objects that the `chosen` are or need, in the order of the table."""
    wanted = {stage.name for stage in chosen}
    for stage in reversed(STAGES):
        if stage.name in wanted and stage.level in LEVELS:
            wanted |= set(stage.needs)
    return [stage for stage in STAGES if stage.name in wanted and stage.level in ("channel", *LEVELS)]


def plan_objects(
    day: Day,
    config: Config,
    chosen: Collection[Stage],
    recordings: Sequence[Recording],
    of_channels: Sequence[Task],
    problems: Sequence[Problem],
    selection: Selection | None,
    history: History,
) -> tuple[list[Task], list[Problem]]:
    """Return the tasks of the `chosen` stages that are made of channels and their objects, and what hinders some.

    `of_channels` and `problems` are those of the channels' stages, chosen or needed. Objects of the day are planned for
    all channels only, not for a `selection`.
    """
    for stage in chosen:
        if stage.level in LEVELS:
            for recording in recordings:
                check_arguments(stage.name, stage.arguments(config), recording.sampling_rate_hz)
    planner = _Planner(day, config, {stage.name for stage in chosen}, recordings, selection, history)
    for task in of_channels:
        planner.tasks.setdefault(_place(task), []).append(task)
    for problem in problems:
        planner.hinder(problem)
    for stage in and_their_sources(chosen):
        if stage.level in LEVELS and not (stage.level == "day" and selection):
            planner.add_all(stage)
    tasks = [task for tasks in planner.tasks.values() for task in tasks if task.stage in chosen]
    return tasks, list(filter(None, (obstacle.problem(chosen) for obstacle in planner.obstacles)))


_Place = tuple[str, str, int | None]
"""A stage's name, a session's, and a channel's number."""


def _place(task: Task) -> _Place:
    return task.stage.name, task.session.name, task.channel.number if task.channel else None


@dataclass
class _Obstacle:
    """Something that keeps tasks from being planned: it grows by all that would be made from them."""

    session: str
    error: RaypipeError
    stages: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    has_no_channels: bool = False
    """Whether it is a whole session's, of which it is not known which channels it has."""

    def problem(self, chosen: Collection[Stage]) -> Problem | None:
        """Return what it is to those who asked for the `chosen` stages; nothing if it does not concern them."""
        names = [stage.name for stage in chosen if stage.name in self.stages]
        tasks = tuple(task for task in self.tasks if task.stage in chosen)
        return Problem(self.session, tuple(names), self.error, tasks) if names else None


class _Planner:
    """The tasks of each place, and the obstacles of those that cannot be done."""

    def __init__(
        self,
        day: Day,
        config: Config,
        chosen: Collection[str],
        recordings: Sequence[Recording],
        selection: Selection | None,
        history: History,
    ) -> None:
        self.day, self.config, self.chosen, self.history = day, config, chosen, history
        self.channels = {
            recording.session.name: {
                number: channel
                for number, channel in recording.channels.items()
                if selection is None or number in selection
            }
            for recording in recordings
        }
        self.order, self.order_is_told = _in_time_order(recordings)
        self.tasks: dict[_Place, list[Task]] = {}
        self.obstacles: list[_Obstacle] = []
        self.hindered: dict[_Place, _Obstacle] = {}

    def hinder(self, problem: Problem) -> None:
        """Take note of a problem of channels' stages; one without tasks is a whole session's."""
        stages = list(problem.stages)
        if not problem.tasks:
            stages += [
                stage.name for stage in STAGES if stage.level == "object" and not _origins(stage).isdisjoint(stages)
            ]
        obstacle = _Obstacle(problem.session, problem.error, stages, [*problem.tasks], not problem.tasks)
        self.obstacles.append(obstacle)
        self.hindered.update((_place(task), obstacle) for task in problem.tasks)

    def add_all(self, stage: Stage) -> None:
        """Plan a stage wherever it is to be done; it concerns those whose recordings are broken if that is nowhere."""
        places = list(self.places(stage))
        for session, channel in places:
            self.add(stage, session, channel)
        if not places and (obstacle := self._of_no_channels(stage)):
            obstacle.stages.append(stage.name)

    def places(self, stage: Stage) -> Iterator[tuple[Session, Channel | None]]:
        """Yield what the stage is to be done for."""
        if stage.level == "day":
            if any(session.is_navigation for session in self.day.sessions):
                yield Session(self.day.input.name, self.day.input, self.day.output), None
        elif stage.level == "joined":
            session = Session(MOUNTAINS, self.day.input / MOUNTAINS, self.day.output / MOUNTAINS)
            for number in sorted({number for channels in self.channels.values() for number in channels}):
                found = [channels[number] for channels in self.channels.values() if number in channels]
                samples = sum(channel.n_samples for channel in found)
                yield session, replace(found[0], column=None, raw_file=None, n_samples=samples)
        else:
            for session in self.day.sessions:
                if session.is_navigation or not stage.navigation_only:
                    for channel in self.channels.get(session.name, {}).values():
                        yield session, channel

    def add(self, stage: Stage, session: Session, channel: Channel | None) -> None:
        """Plan a stage at a place; what it is made from was planned before."""
        place = (stage.name, session.name, channel.number if channel else None)
        sources = self._sources(stage, session, channel)
        tasks = self._tasks(
            stage, session, channel, [task for source in sources for task in self.tasks.get(source, ())]
        )
        self.tasks[place] = tasks
        if any(task.state == "todo" for task in tasks) and (obstacle := self._obstacle(stage, place, sources, tasks)):
            del self.tasks[place]
            self.hindered[place] = obstacle
            obstacle.tasks += tasks
            obstacle.stages.append(stage.name)

    def _sources(self, stage: Stage, session: Session, channel: Channel | None) -> list[_Place]:
        (need,) = stage.needs
        if channel is None:
            return [
                (need, each.name, number)
                for each in self.day.sessions
                if each.is_navigation
                for number in self.channels.get(each.name, ())
            ]
        if BY_NAME[need].level == "joined":
            return [(need, MOUNTAINS, channel.number)]
        if stage.level == "joined":
            return [(need, name, channel.number) for name in self._order_of(stage, channel.number)]
        return [(need, session.name, channel.number)]

    def _order_of(self, stage: Stage, number: int) -> list[str]:
        """Return a channel's sessions in the order in which they are joined: where nothing tells it any more, as before."""
        names = [name for name in self.order if number in self.channels[name]]
        before = self.history.last_key(stage.name, MOUNTAINS, number).get(_SESSIONS, "").split(", ")
        return before if not self.order_is_told and set(before) == set(names) else names

    def _tasks(self, stage: Stage, session: Session, channel: Channel | None, sources: Sequence[Task]) -> list[Task]:
        if channel is None:
            folder = session.output
        elif stage.level == "joined":
            folder = session.output / f"channel{channel.number:03d}"
        else:
            folder = session.channel_folder(channel.array, channel.number)
        sources = [source for source in sources if not stage.reads or source.output.name in stage.reads]
        key = _made_from(sources, session)
        if stage.level == "joined":
            key[_SESSIONS] = ", ".join(source.session.name for source in sources)
        elif stage.level == "day":
            key["parameter channels"] = _channels_of(sources)
        samples = channel.n_samples if channel else 0
        tasks = [
            Task(
                stage,
                session,
                channel,
                folder / name,
                stage_key(stage, self.config, key),
                "todo",
                "",
                object_bytes(stage, name, self.config, samples, len(sources)),
                objects={_name(source): source.output for source in sources},
                needs=frozenset[TaskId](source.id for source in sources),
                memory=object_memory(stage, self.config, samples, len(sources)),
            )
            for name in stage.output_names(self.config)
        ]
        tasks = [self.history.judged(task) for task in tasks]
        if stage.name == "export_mountain_cells":
            return [self._with_its_cells(task) for task in tasks]
        return _together(tasks)

    def _obstacle(
        self, stage: Stage, place: _Place, sources: Sequence[_Place], tasks: Sequence[Task]
    ) -> _Obstacle | None:
        """Return what keeps tasks from being done: files in their way, their sources' obstacle, a source left out."""
        if stage.level == "joined" and any(task.state == "kept" for task in tasks):
            return self._new_obstacle(place, _in_the_way(tasks))
        if found := next((self.hindered[source] for source in sources if source in self.hindered), None):
            return found
        there = {task.output.name for source in sources for task in self.tasks.get(source, ())}
        if lacking := sorted(set(stage.reads) - there):
            return self._new_obstacle(place, _lacking(tasks[0], lacking))
        if stage.level != "object" and (obstacle := self._of_no_channels(stage)):
            return obstacle
        if stage.name in self.chosen and (missing := self._left_out(sources)):
            place = (*place[:2], None)  # one for all channels
            return self.hindered.get(place) or self._new_obstacle(place, left_out(stage, place[1], missing))
        return None

    def _of_no_channels(self, stage: Stage) -> _Obstacle | None:
        """Return what keeps the channels of a session from being known, from which the stage is made."""
        return next(
            (each for each in self.obstacles if each.has_no_channels and not _origins(stage).isdisjoint(each.stages)),
            None,
        )

    def _new_obstacle(self, place: _Place, error: RaypipeError) -> _Obstacle:
        self.obstacles.append(_Obstacle(place[1], error))
        self.hindered[place] = self.obstacles[-1]
        return self.obstacles[-1]

    def _left_out(self, sources: Iterable[_Place]) -> set[str]:
        """Return the stages that would have to be done for the sources to be up to date, and were not asked for."""
        missing = set()
        for task in (task for source in sources for task in self.tasks.get(source, ()) if task.state == "todo"):
            if task.stage.name not in self.chosen:
                missing.add(task.stage.name)
                if task.stage.level in LEVELS:
                    missing |= self._left_out(self._sources(task.stage, task.session, task.channel))
        return missing

    def _with_its_cells(self, task: Task) -> Task:
        """Judge a list of cells by the cells: those that raypipe did not make are kept, those that are gone are missed."""
        cells = {place.name: _spikes_in(place) for place in cells_in(task.output.parent)}
        foreign = {name: path for name, files in cells.items() for path in files if self.history.entry(path) is None}
        if foreign and task.stage.name not in self.history.replaced:
            changed = any(map(self.history.knows, foreign.values()))
            who = "changed by something else since" if changed else "made by something else"
            why = f"{min(foreign)} was {who}; --replace makes all cells again"
            return replace(task, state="kept", why=why, changed_since=changed)
        if task.state != "done":
            return task
        listed = listed_cells(task.output)
        whys = [f"{name} is to be replaced" for name in foreign]
        whys += [f"{name} is gone" for name in listed if not cells.get(name)]
        whys += [
            f"of {name} a file is gone" for name in listed if not {p.name for p in cells.get(name, ())} >= _CELL_FILES
        ]
        whys += [f"{name} is not of these cells" for name, files in cells.items() if files and name not in listed]
        return replace(task, state="todo", why=whys[0], incomplete=True) if whys else task


class _InTheWay(Refused):
    """Files of something else are where a sorting would be written."""


def _in_the_way(tasks: Sequence[Task]) -> _InTheWay:
    kept = [task.output.name for task in tasks if task.state == "kept"]
    (task, *_) = tasks
    assert task.channel
    return _InTheWay(
        f"channel {task.channel.number} would be sorted, and {' and '.join(kept)} in its folder of {MOUNTAINS} "
        f"{'is' if len(kept) == 1 else 'are'} not as raypipe made it",
        hint="move the folder away to keep it, or have all of it replaced with --replace",
    )


def _lacking(task: Task, names: Sequence[str]) -> InputMissing:
    assert task.channel
    return InputMissing(
        f"channel {task.channel.number} has no {' and no '.join(names)} in its folder of {MOUNTAINS}",
        hint="whatever made that folder did not end; --replace makes it again",
    )


def _together(tasks: list[Task]) -> list[Task]:
    """Have files made together that are made together; of a sorting of something else, all that is there is used."""
    if firings := next((task for task in tasks if task.state == "kept" and task.output.name == FIRINGS), None):
        why = f"belongs to a {FIRINGS} that was {firings.why}"
        return [
            replace(task, state="kept", why=why) if task.state == "todo" else task
            for task in tasks
            if task.state != "todo" or task.output.exists()
        ]
    why = next((task.why for task in tasks if task.state == "todo"), "")
    return [replace(task, state="todo", why=why) if why and task.state == "done" else task for task in tasks]


def listed_cells(path: Path) -> list[str]:
    """Return the folders that a `cells.csv` names; none if it is not such a list."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [row["cell"] for row in csv.DictReader(file) if row.get("cell")]


def _spikes_in(place: Path) -> list[Path]:
    """Return the files of spikes in a cell's folder; what is no folder stands for itself."""
    return sorted(place.glob(f"{_SPIKES}*")) if place.is_dir() else [place]


def _channels_of(sources: Sequence[Task]) -> str:
    found: dict[str, list[int]] = {}
    for source in sources:
        if source.channel:
            found.setdefault(source.session.name, []).append(source.channel.number)
    return "; ".join(f"{ranges(numbers)} of {session}" for session, numbers in found.items())


def _origins(stage: Stage) -> set[str]:
    """Return the stages of channels that a stage is made from in the end."""
    if stage.level not in LEVELS:
        return {stage.name}
    return {name for need in stage.needs for name in _origins(BY_NAME[need])}


def _name(source: Task) -> ObjectOf:
    """Tell sources of a task apart: by session, by channel as well where there are several, a joined one's by file."""
    if source.stage.level == "joined":
        return source.output.name, source.stage.name
    if source.stage.level == "object":
        return f"{source.session.name}/{source.output.parent.name}", source.stage.name
    return source.session.name, source.stage.name


def _made_from(sources: Sequence[Task], session: Session) -> dict[str, str]:
    """Return what the sources add to the key of what is made from them; where they differ, all that they say."""
    facts: dict[str, dict[str, None]] = {}
    for source in sources:
        if source.state == "kept":  # made by something else: all that is known of it is the file
            (fact,) = input_key([source.output]).values()
            key = {f"input {source.output.name}": fact}
        else:
            key = derived(source.stage.name, source.key)
        elsewhere = "" if source.session.name in (session.name, MOUNTAINS) else f" of {source.session.name}"
        for name, value in key.items():
            facts.setdefault(name + elsewhere * name.startswith("input "), {})[value] = None
    return {name: _said(list(values)) for name, values in facts.items()}


def _said(values: Sequence[str]) -> str:
    if len(values) == 1:
        return values[0]
    return f"{len(values)} different ones ({sha256(repr(values).encode()).hexdigest()[:12]})"


def _in_time_order(recordings: Sequence[Recording]) -> tuple[list[str], bool]:
    """Return the sessions as they were recorded, and whether their files tell; if not, the calibration comes first."""
    names = sorted((each.session.name for each in recordings), key=lambda name: (name != CALIBRATION, name))
    origins = {each.session.name: each.header.time_origin for each in recordings if each.header}
    known = {name: origin for name, origin in origins.items() if origin}
    told = len(known) == len(names)
    return sorted(names, key=known.__getitem__) if told else names, told

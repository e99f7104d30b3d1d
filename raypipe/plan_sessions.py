"""Tasks of whole sessions: which files and objects each is made from, and what must have ended before.

The stages that were asked for are looked at, and all that they are made from, in the order of the table, because the
keys of later ones hold those of earlier ones; what comes out are the stages that were asked for.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from raypipe.config import Config
from raypipe.day import Day, Session
from raypipe.errors import InputMissing, RaypipeError
from raypipe.history import History, derived, input_key
from raypipe.inputs import session_extent, session_inputs
from raypipe.memory import Extent, session_bytes, session_memory
from raypipe.plan_channels import stage_key
from raypipe.stages import BY_NAME, STAGES, Stage, without
from raypipe.tasks import ObjectOf, Problem, Task, TaskId

_STAGES = tuple(stage for stage in STAGES if stage.level == "session")


def plan_sessions(
    day: Day, config: Config, chosen: Collection[Stage], history: History
) -> tuple[list[Task], list[Problem]]:
    """Return the tasks of the `chosen` stages that are made of whole sessions, and what keeps some from being planned."""
    planner = _Planner(day, config, {stage.name for stage in chosen}, history)
    for stage in _and_their_sources(chosen):
        for session in day.sessions:
            if session.is_navigation or not stage.navigation_only:
                planner.add(stage, session)
    return planner.chosen_tasks(), planner.chosen_problems()


def _and_their_sources(chosen: Collection[Stage]) -> list[Stage]:
    wanted: set[str] = set()
    for stage in reversed(_STAGES):
        if stage in chosen or stage.name in wanted or wanted & set(stage.rewrites):
            wanted |= {stage.name, *stage.needs, *stage.uses, *stage.rewrites}
    return [stage for stage in _STAGES if stage.name in wanted]


@dataclass(frozen=True)
class _Sources:
    """The objects that a stage is made from: those that it needs, those that it uses, those that it writes anew."""

    needed: Sequence[ObjectOf]
    used: Sequence[ObjectOf]
    rewritten: Sequence[ObjectOf]

    @property
    def all(self) -> Sequence[ObjectOf]:
        return (*self.needed, *self.used, *self.rewritten)


class LeftOut(InputMissing):
    """A stage that another needs was not asked for."""


class _Planner:
    """The tasks of each session and stage, or the error that keeps it from having any."""

    def __init__(self, day: Day, config: Config, chosen: Collection[str], history: History) -> None:
        self.day, self.config, self.chosen, self.history = day, config, chosen, history
        self.tasks: dict[ObjectOf, list[Task]] = {}
        self.errors: dict[ObjectOf, RaypipeError] = {}
        self.extents: dict[str, Extent] = {}

    def add(self, stage: Stage, session: Session) -> None:
        """Plan a stage of a session; those that it is made from were planned before."""
        try:
            tasks = self._tasks(stage, session)
        except LeftOut as error:
            if stage.name in self.chosen:  # of what was not asked for it is enough that it is not there
                self.errors[session.name, stage.name] = error
            return
        except RaypipeError as error:
            self.errors[session.name, stage.name] = error
            return
        why = next((task.why for task in tasks if task.state == "todo"), "")
        if why:  # what is made together is made again together
            tasks = [replace(task, state="todo", why=why) if task.state == "done" else task for task in tasks]
        self.tasks[session.name, stage.name] = tasks
        if why and stage.name in self.chosen:
            self._begin_afresh(stage, session)

    def chosen_tasks(self) -> list[Task]:
        """Return the tasks of the chosen stages, stage by stage."""
        return [task for (_, stage), tasks in self.tasks.items() if stage in self.chosen for task in tasks]

    def chosen_problems(self) -> list[Problem]:
        """Return the problems of the chosen stages; what has one cause is one problem."""
        causes: dict[tuple[str, int], tuple[RaypipeError, list[str]]] = {}
        for (session, stage), error in self.errors.items():
            if stage in self.chosen:
                causes.setdefault((session, id(error)), (error, []))[1].append(stage)
        return [Problem(session, tuple(stages), error) for (session, _), (error, stages) in causes.items()]

    def _tasks(self, stage: Stage, session: Session) -> list[Task]:
        inputs, key, archived = self._inputs(stage, session)
        sources = self._sources(stage, session)
        for place in sources.all:
            key |= self._made_from(place, stage, session)
        extent = self._extent(session)
        of_sources = {place: self._ids(place, stage) for place in sources.all}
        tasks = []
        for output in self._outputs(stage, session, sources):
            # Of two objects that are written anew each can do without the other.
            mine = [place for place in sources.rewritten if self.tasks[place][0].output == output]
            needs = frozenset[TaskId]().union(*(of_sources[place] for place in (*sources.needed, *mine)))
            task = Task(
                stage,
                session,
                None,
                output,
                stage_key(stage, self.config, key),
                "todo",
                "",
                session_bytes(output.name, extent),
                inputs=inputs,
                objects={place: self.tasks[place][0].output for place in sources.all},
                needs=needs,
                after=frozenset[TaskId]().union(*of_sources.values()) - needs,
                memory=session_memory(stage.name, extent),
            )
            tasks.append(self.history.judged(task))
        if archived and any(task.state == "todo" for task in tasks):
            raise archived
        return tasks

    def _inputs(self, stage: Stage, session: Session) -> tuple[tuple[Path, ...], dict[str, str], InputMissing | None]:
        """Return input files and their part of the key; of files that were archived, what they were and that they miss."""
        try:
            inputs = session_inputs(stage.name, self.day, session, self.config)
        except InputMissing as error:
            outputs = [session.output / name for name in stage.output_names(self.config)]
            if recorded := self.history.recorded_inputs(stage.name, outputs):
                return (), recorded, error
            raise
        return inputs, input_key(inputs), None

    def _extent(self, session: Session) -> Extent:
        if session.name not in self.extents:
            self.extents[session.name] = session_extent(self.day, session, self.config)
        return self.extents[session.name]

    def _sources(self, stage: Stage, session: Session) -> _Sources:
        """Return what there is to make the stage from. Raises what keeps it from being made."""
        needed = [(session.name, name) for name in stage.needs] if session.is_navigation else []
        for place in needed:
            self._require(place, stage)
        used = [(session.name, name) for name in stage.uses]
        if stage.name == "edfsplit" and session.is_navigation:  # whose trials are whose is seen from all sessions
            used += [(each.name, "rplparallel") for each in self.day.sessions if each.is_navigation and each != session]
        rewritten = [(session.name, name) for name in stage.rewrites]
        if rewritten and not any(map(self._available, rewritten)):
            self._require(rewritten[0], stage)
        return _Sources(needed, *(list(filter(self._available, places)) for places in (used, rewritten)))

    def _available(self, place: ObjectOf) -> bool:
        """Whether the object is there, or will be when its time comes."""
        tasks = [task for writer in self._writers(place) for task in self.tasks.get(writer, ())]
        return (
            place in self.tasks
            and self.errors.keys().isdisjoint(self._writers(place))
            and all(task.state != "todo" or task.stage.name in self.chosen for task in tasks)
        )

    def _require(self, place: ObjectOf, stage: Stage) -> None:
        if self._available(place):
            return
        for writer in self._writers(place):
            if error := self.errors.get(writer):
                raise error
        raise left_out(stage, place[0], self._missing(place))

    def _missing(self, place: ObjectOf) -> set[str]:
        """Return the stages to be named as well for the object to be had."""
        session, _ = place
        missing = set()
        for writer in self._writers(place):
            if writer not in self.tasks:
                missing |= {name for need in BY_NAME[writer[1]].needs for name in self._missing((session, need))}
            if writer[1] not in self.chosen and (writer not in self.tasks or self._is_todo(writer)):
                missing.add(writer[1])
        return missing

    def _writers(self, place: ObjectOf) -> list[ObjectOf]:
        """Return the stages that write the object, first the one that makes it."""
        session, name = place
        return [place, *((session, stage.name) for stage in _STAGES if name in stage.rewrites)]

    def _final_tasks(self, place: ObjectOf, reader: Stage) -> list[Task]:
        """Return the tasks after which the object is as `reader` wants it."""
        outputs = {task.output for task in self.tasks[place]}
        return [
            task
            for writer in self._writers(place)
            if writer[1] != reader.name
            for task in self.tasks.get(writer, ())
            if task.output in outputs
        ]

    def _ids(self, place: ObjectOf, reader: Stage) -> frozenset[TaskId]:
        return frozenset(task.id for task in self._final_tasks(place, reader))

    def _made_from(self, place: ObjectOf, reader: Stage, session: Session) -> dict[str, str]:
        """Return what an object adds to the key of what is made from it."""
        key: dict[str, str] = {}
        for final in {task.output: task for task in self._final_tasks(place, reader)}.values():  # the last of each file
            if final.state == "kept":  # made by something else: all that is known of it is the file
                (fact,) = input_key([final.output]).values()
                key[f"input {final.output.name}"] = fact
            else:
                key |= derived(final.stage.name, final.key)
        if place[0] == session.name:
            return key
        return {f"{name} of {place[0]}": value for name, value in key.items() if name.startswith("input ")}

    def _outputs(self, stage: Stage, session: Session, sources: _Sources) -> list[Path]:
        own = [session.output / name for name in stage.output_names(self.config)]
        return own + [self.tasks[place][0].output for place in sources.rewritten]

    def _is_todo(self, place: ObjectOf) -> bool:
        return any(task.state == "todo" for task in self.tasks[place])

    def _begin_afresh(self, stage: Stage, session: Session) -> None:
        """Have objects made again that are to be written anew, and already were: their first state is gone."""
        gone = {
            name: [replace(task, state="todo", why="to be written anew") for task in tasks]
            for name in stage.rewrites
            if any(map(self.history.was_rewritten, tasks := self.tasks.get((session.name, name), [])))
        }
        archived = [name for name, tasks in gone.items() if not all(task.inputs for task in tasks)]
        if archived:
            self.errors[session.name, stage.name] = InputMissing(
                f"{session.name}: {' and '.join(archived)} would have to be made again, and the input of that is gone",
                hint=f"fetch it from the archive, or go without: {without(stage.name)}",
            )
        elif missing := gone.keys() - self.chosen:
            self.errors[session.name, stage.name] = left_out(stage, session.name, missing)
        if (session.name, stage.name) in self.errors:
            del self.tasks[session.name, stage.name]
            return
        for name, tasks in gone.items():
            self.tasks[session.name, name] = tasks


def left_out(stage: Stage, session: str, missing: Collection[str]) -> LeftOut:
    """Make the error of a stage that needs what is `missing`: neither up to date nor asked for."""
    names = [name for name in BY_NAME if name in missing]
    return LeftOut(
        f"{session}: {stage.name} needs {' and '.join(names)}, not up to date and left out",
        hint=f"name what it needs too ({' '.join(f'--only {name}' for name in names)}), leave out --only and --skip,"
        f" or go without: {without(stage.name)}",
    )

"""Runs of days: check, lock, plan, do, publish each output as it comes, and say how it went.

The days of one command share a Ray; each has a run of its own, with its own lock, log and end. Here is where the effects are: the ledger, the renames, the log of the run. The order of publishing an output is what
makes every kill harmless: synced under a temporary name, written into the ledger, renamed.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from cluster.node import shared_memory, usable_cpus, usable_memory
from raypipe import __version__
from raypipe.clean import temporary_files
from raypipe.config import Config, parse_bytes
from raypipe.day import Day
from raypipe.deadline import Life
from raypipe.errors import RaypipeError, TooLittleDisk, TooLittleMemory, TooLittleTime
from raypipe.events import (
    Event,
    Listener,
    Note,
    Outcome,
    Phase,
    RunEnded,
    RunRefused,
    RunStarted,
    TaskDone,
    TaskFailed,
    task_name,
)
from raypipe.history import without
from raypipe.interrupt import Interrupt
from raypipe.io.publish import write_failed
from raypipe.ledger import Entry, append_entries, prepare_state
from raypipe.lock import day_lock
from raypipe.memory import Budget, Load, in_gb, make_budget
from raypipe.outcome import Failure, Written, failure
from raypipe.plan import Plan
from raypipe.stages import STAGES
from raypipe.tasks import Task, TaskId

if TYPE_CHECKING:
    from raypipe.driver import DayWork
    from raypipe.work import Work

_DISK_RESERVE = 64 << 20


@dataclass
class Report:
    """How the run of a day went."""

    day: str
    """Subject and day, as `picasso/20181105`; the path as it was given if no day was found there."""
    plan: Plan | None = None
    """None if the day could not be planned."""
    refused: RaypipeError | None = None
    """Why nothing of the day was begun."""
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    bytes_written: int = 0
    interrupted: bool = False
    out_of_time: bool = False
    """Interrupted because the time that Slurm gave was nearly up: running again goes on."""
    failures: list[TaskFailed] = field(default_factory=list)
    is_over: bool = False
    """Whether its end was told."""

    @property
    def exit_code(self) -> int:
        """0 done, 1 a task failed, 75 out of time, 130 interrupted; that of the error of a day that was refused."""
        if self.refused:
            return self.refused.exit_code
        return 75 if self.out_of_time else 130 if self.interrupted else 1 if self.failed else 0


@dataclass(frozen=True)
class Limits:
    """What a run may use of this machine."""

    cpus: int
    memory: int


def limits(config: Config) -> Limits:
    """Return the configured limits, or what this machine lets us use. Raises `TooLittleMemory` for more than there is."""
    machine = usable_memory()
    memory = parse_bytes(config.run.memory) if config.run.memory else machine * 9 // 10
    if memory > machine:
        raise TooLittleMemory(
            f"--memory {config.run.memory} is more than the {in_gb(machine)} that this machine lets us use",
            hint="ask for less, or leave --memory out",
        )
    return Limits(config.run.cpus or usable_cpus(), memory)


def loads(plan: Plan) -> list[Load]:
    """Return what the passes of a plan put on the machine, session by session."""
    found: list[Load] = []
    for recording in plan.recordings:
        todo = [task for task in plan.todo if task.session == recording.session and task.stage.level == "channel"]
        channels = {task.channel.number for task in todo if task.channel}
        stages = tuple(stage for stage in STAGES if any(task.stage == stage for task in todo))
        if channels:
            columns = len(recording.header.channels) if recording.header else 0
            sample_bytes = 2 if recording.header else 4
            found.append(Load(len(channels), columns, recording.sampling_rate_hz, sample_bytes, stages))
    return found


def largest_tasks(plans: Iterable[Plan]) -> tuple[int, int]:
    """Return the bytes that the largest task of a whole session asks for, and the largest of channels' objects."""
    todo = [task for plan in plans for task in plan.todo]
    of_sessions = [task.memory for task in todo if task.stage.level == "session"]
    of_objects = [task.memory for task in todo if task.stage.level not in ("session", "channel")]
    return max(of_sessions, default=0), max(of_objects, default=0)


def budget_of(*plans: Plan) -> Budget:
    """Return how runs of the plans, together, would divide this machine's memory. Raises `TooLittleMemory`."""
    config = plans[0].config
    allowed = limits(config)
    session_task, object_task = largest_tasks(plans)
    budget = make_budget(
        [load for plan in plans for load in loads(plan)],
        config,
        cpus=allowed.cpus,
        memory=allowed.memory,
        session_task=session_task,
        object_task=object_task,
    )
    if any(plan.todo for plan in plans) and budget.object_store > shared_memory():
        raise TooLittleMemory(
            f"shared memory has {in_gb(shared_memory())} free, and the tiles on their way need {in_gb(budget.object_store)}",
            hint="make /dev/shm larger (docker: --shm-size=1g), or set run.tile_seconds lower",
        )
    return budget


class Place(Protocol):
    """Where the Ray of runs is."""

    life: Life
    """How long it is there."""

    def budget(self, plans: Sequence[Plan]) -> Budget:
        """Return how the plans would be done there together. Raises `TooLittleMemory`."""

    def started(self, budget: Budget) -> AbstractContextManager[None]:
        """Have Ray there while days are processed."""

    def budget_now(self, plans: Sequence[Plan], before: Budget) -> Budget:
        """Return how the plans go on with what is there by now; `before` is how they did until now."""

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that one task may ask for at most."""

    def look(self, open_works: "Iterable[Work]", filter_actors: int, budget: Budget) -> Sequence[str | Event]:
        """See what is still to be done, and say what was made of that, and what else happened there."""

    def refuse_hopeless(self) -> None:
        """Raise `TooLittleTime` if a run that is out of time would be so for ever."""


class ThisMachine:
    """A Ray of our own on this machine, begun and ended with the runs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.life = Life()

    def budget(self, plans: Sequence[Plan]) -> Budget:
        """Return how this machine would do the plans. Raises `TooLittleMemory`."""
        return budget_of(*plans)

    def started(self, budget: Budget) -> AbstractContextManager[None]:
        """Start Ray with the budget's memory; end it, and remove what it left."""
        from raypipe.embedded import embedded_ray

        return embedded_ray(budget, limits(self.config).cpus)

    def budget_now(self, _plans: Sequence[Plan], before: Budget) -> Budget:
        """A machine does not grow."""
        return before

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that Ray may hand out."""
        return budget.asked_for

    def look(self, _open_works: "Iterable[Work]", _filter_actors: int, _budget: Budget) -> Sequence[str]:
        """Nor is there anything to say about it."""
        return ()

    def refuse_hopeless(self) -> None:
        """A machine stays; whoever ended the run may run it again."""


Planner = Callable[[], Plan]
"""Finds and plans a day. Raises `RaypipeError`."""


def run_days(wanted: Mapping[str, Planner], place: Place, listeners: Sequence[Listener] = ()) -> list[Report]:
    """Do what is to be done of days, by name, together in one place; return how each went, in their order.

    An earlier day goes before a later one where there is not room for both. A day that is refused (not found, locked,
    too little memory or disk for it beside those before it) is in the reports, and nothing was written of it; nor is
    anything written or started without anything to do.
    """
    reports = [Report(name) for name in wanted]
    together = _Together(place, listeners)
    with ExitStack() as held:
        try:
            with together.interrupt.heeded():
                for report, planner in zip(reports, wanted.values(), strict=True):
                    together.admit(report, planner, held.enter_context(ExitStack()))
                together.work()
        except KeyboardInterrupt:
            together.interrupted(reports)
    return reports


def refuse_full_disk(plan: Plan, before: Iterable[Plan] = ()) -> None:
    """Raise `TooLittleDisk` if the outputs do not fit what is free, beside those that the plans `before` have yet to write."""
    place = _on_the_disk(plan)
    device = place.stat().st_dev
    promised = sum(each.bytes_to_write for each in before if _on_the_disk(each).stat().st_dev == device)
    free = shutil.disk_usage(place).free
    if promised + plan.bytes_to_write + _DISK_RESERVE > free:
        taken = f" ({in_gb(promised)} of it for the days before)" if promised else ""
        raise TooLittleDisk(
            f"{place} has {in_gb(free)} free{taken}, and the outputs take {in_gb(plan.bytes_to_write)}",
            hint="make room, write elsewhere with --output DIR, or leave out the raw copies with --no-raw",
        )


def _on_the_disk(plan: Plan) -> Path:
    """Return the nearest folder that is there of where the outputs go."""
    place = plan.day.output
    while not place.exists():
        place = place.parent
    return place


class _Together:
    """The runs of one command; it is the driver's `Command`."""

    def __init__(self, place: Place, listeners: Sequence[Listener]) -> None:
        self.place, self.listeners, self.life = place, listeners, place.life
        self.began = time.monotonic()
        self.interrupt = Interrupt()
        self.runs: list[_Run] = []

    def admit(self, report: Report, planner: Planner, held: ExitStack) -> None:
        """Plan a day, and take it in if there is anything to do and nothing against it; `held` is to hold its lock."""
        try:
            report.plan = plan = planner()
            report.day = plan.day.title
            if plan.todo:
                before = [run.plan for run in self.runs]
                self._refuse_too_large(plan, before)
                refuse_full_disk(plan, before)  # what is refused is refused before anything is written
                prepare_state(plan.day.state)
                held.enter_context(day_lock(plan.day.state))
                report.plan = plan = planner()  # another run may have ended in between
        except RaypipeError as error:
            held.close()
            _refuse(report, error, self.listeners)
            return
        run = _Run(report, plan, self, held)
        if plan.todo:
            self.runs.append(run)
        else:
            run.end()

    def _refuse_too_large(self, plan: Plan, before: Sequence[Plan]) -> None:
        try:
            self.place.budget([*before, plan])
        except TooLittleMemory as error:
            if before:
                self.place.budget([plan])
                error.hint = "beside the days before it there is no room for it: run it when they are done"
            raise

    def work(self) -> None:
        """Do all plans where their place is."""
        if not self.runs:
            return
        plans = [run.plan for run in self.runs]
        try:
            budget = self.place.budget(plans)
            for run in self.runs:
                run.begin(budget)
            self._on_ray(budget)
        except RaypipeError as error:
            for run in self._at_work():
                run.held.close()
                _refuse(run.report, error, run.listeners)
        self._end_all()

    def _end_all(self) -> None:
        """End what is not over: complete, or interrupted."""
        for run in (ending := self._at_work()):
            run.report.interrupted |= not run.is_complete
            run.report.out_of_time = run.report.interrupted and not self.interrupt.is_asked
            run.end()
        late = [run for run in ending if run.report.out_of_time]
        try:
            if late:
                self.place.refuse_hopeless()
        except TooLittleTime as error:
            for run in late:
                _refuse(run.report, error, run.listeners)

    def _on_ray(self, budget: Budget) -> None:
        self._phase("starting Ray")
        started = self.place.started(budget)  # first: what it sets is for Ray to find when it is imported
        with ThreadPoolExecutor(1) as beside:
            preparing = beside.submit(self._prepare)  # Ray's start is mostly waiting
            with started:
                run_on_ray, days = preparing.result()
                self.interrupt.listen()
                self._phase("Ray is up")
                run_on_ray(days, budget, self)
                self._phase("stopping Ray")

    def _prepare(self) -> "tuple[Callable[..., None], list[DayWork]]":
        # Ray, numba, scipy: seconds, which a run with nothing to do must not take.
        from raypipe.driver import run_on_ray

        return run_on_ray, [run.day_work() for run in self.runs]

    def interrupted(self, reports: Iterable[Report]) -> None:
        """End what is under way, and say of all that is not over that it was interrupted."""
        for report in reports:
            if not report.is_over and all(run.report is not report for run in self.runs):
                report.interrupted = True
        self._end_all()

    def go_on(self) -> None:
        """Raise KeyboardInterrupt if the runs were told to end, or their time is up."""
        self.interrupt.check()
        if self.interrupt.warnings:
            self.life.warn()
        if self.life.is_over or self.interrupt.warnings > 1:
            raise KeyboardInterrupt

    def budget_now(self, before: Budget) -> Budget:
        """Return how the plans go on with what is there by now."""
        return self.place.budget_now([run.plan for run in self._at_work()], before)

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that one task may ask for at most."""
        return self.place.largest_task(budget)

    def look(self, open_works: "Iterable[Work]", filter_actors: int, budget: Budget) -> None:
        """Let the place follow what is to be done of all days; the first of them tells what it did, all what happened there."""
        runs = self._at_work()
        for said in self.place.look(open_works, filter_actors, budget):
            if isinstance(said, Event):
                for run in runs:
                    run.emit(said)
            else:
                runs[0].emit(Note(runs[0].plan.day.title, said))

    def is_last(self, run: "_Run") -> bool:
        """Whether a run is the only one at work."""
        return self._at_work() == [run]

    def _at_work(self) -> "list[_Run]":
        return [run for run in self.runs if not run.report.is_over]

    def _phase(self, text: str) -> None:
        for run in self._at_work():
            run.emit(Phase(text, round(time.monotonic() - self.began, 3)))


class _Run:
    """The state of the run of one day; it is the driver's `Sink`."""

    def __init__(self, report: Report, plan: Plan, together: _Together, held: ExitStack) -> None:
        self.report, self.plan, self.together, self.held = report, plan, together, held
        self.listeners = list(together.listeners)
        self.name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + f"-{secrets.token_hex(2)}"
        self.folder = plan.day.state / "runs" / self.name
        self.tasks = {task.id: task for task in plan.todo}
        self.keys: dict[TaskId, dict[str, str]] = {}
        """Of what was published: its key as it is in the ledger."""
        self.began = time.monotonic()
        self.is_complete = False
        """Whether there is nothing left to do."""

    def begin(self, budget: Budget) -> None:
        """Clear up after a run that was killed, and tell what is to be done."""
        _sweep(self.plan.day)
        self.held.callback(_sweep, self.plan.day)
        self.folder.mkdir(parents=True)
        self.listeners.append(EventLog(self.folder / "events.jsonl"))
        tasks, size = len(self.tasks), self.plan.bytes_to_write
        self.emit(RunStarted(self.plan.day.title, self.name, tasks, size, budget.total, str(self.folder)))
        for note in self.plan.notes:
            self.emit(note)

    def day_work(self) -> "DayWork":
        """Return what Ray is to do."""
        from raypipe.driver import DayWork
        from raypipe.passes import channel_passes
        from raypipe.work import works_of

        passes, failures = channel_passes(self.plan)
        works, restarts = works_of(self.plan.todo, self.plan.config), self.plan.config.run.restarts
        return DayWork(works, passes, failures, self, self.name, restarts)

    def written(self, session: str, files: Sequence[Written]) -> set[TaskId]:
        """Publish files: ledger first, then their names; return those that have theirs."""
        try:
            keys = [self._key(self.tasks[file.stage, file.path]) for file in files]
            entries = [
                self._entry(each, file, key) for file, key in zip(files, keys, strict=True) for each in file.files
            ]
            append_entries(self.plan.day.state, entries)
        except OSError as error:  # what is not in the ledger must not get its name
            for file in files:
                self._not_published(session, file, error)
            return set()
        published: set[TaskId] = set()
        for file, key in zip(files, keys, strict=True):
            try:
                file.publish()
            except OSError as error:
                self._not_published(session, file, error)
                continue
            published.add((file.stage, file.path))
            self.together.life.is_fruitful = True
            self.keys[file.stage, file.path] = key
            size = sum(each.size for each in file.files)
            self.report.done += 1
            self.report.bytes_written += size
            output, ended = self._relative(file.path), file.mtime_ns / 1e9
            self.emit(TaskDone(file.stage, session, file.channel, output, size, file.node, file.began, ended))
        return published

    def _not_published(self, session: str, file: Written, error: OSError) -> None:
        for each in file.files:
            with suppress(OSError):
                each.temporary.unlink(missing_ok=True)
        self.failed(session, [failure(file.stage, file.channel, file.path, write_failed(error, file.path))])

    def failed(self, session: str, failures: Sequence[Failure]) -> None:
        """Take note of failures; the whole story goes to a file of the run's folder."""
        for each in failures:
            name = task_name(session, each.stage, each.channel)
            log = self.folder / f"{name}.log"
            with suppress(OSError):  # a full disk is the likeliest cause of all
                log.write_text(f"{each.error}\n{each.hint}\n\n{each.story}", encoding="utf-8")
            event = TaskFailed(each.stage, session, each.channel, each.error, each.hint, str(log))
            self.report.failed += 1
            self.report.failures.append(event)
            self.emit(event)

    def emit(self, event: Event) -> None:
        """Tell every listener, and of which day it is."""
        event = msgspec.structs.replace(event, day=self.plan.day.title)
        for listener in self.listeners:
            listener(event)

    def ended(self) -> None:
        """End the run, as nothing of it is under way any more; the last one when Ray is down."""
        self.is_complete = True
        if not self.together.is_last(self):
            self.end()

    def end(self) -> None:
        """Let go of the day, count the problems that kept tasks from being planned as failures, and say how it went."""
        self.held.close()
        report = self.report
        report.is_over = True
        for problem in self.plan.problems:
            message = problem.error.message.removeprefix(f"{problem.session}: ")  # each listener names the session
            for stage in problem.stages:
                event = TaskFailed(stage, problem.session, problem.channel, message, problem.error.hint, "")
                report.failures.append(event)
                report.failed += 1
                self.emit(event)
        report.seconds = time.monotonic() - self.began
        outcome: Outcome = "interrupted" if report.interrupted else "failed" if report.failed else "done"
        size, late = report.bytes_written, report.out_of_time
        self.emit(RunEnded(outcome, report.done, report.failed, report.seconds, size, late))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.plan.day.output).as_posix()

    def _key(self, task: Task) -> dict[str, str]:
        """Return the task's key; with what it, or what it is made from, was to be made with and was not."""
        planned = (task.needs | task.after) & self.tasks.keys()
        made = planned & self.keys.keys()
        return task.key | without([stage for stage, _ in planned - made], [(id_[0], self.keys[id_]) for id_ in made])

    def _entry(self, file: Written, whole: Written, key: dict[str, str]) -> Entry:
        return Entry(
            output=self._relative(file.path),
            stage=whole.stage,
            session=self.tasks[whole.stage, whole.path].session.name,
            channel=whole.channel,
            key=key if file is whole else {},  # parts are judged by the whole
            size=file.size,
            mtime_ns=file.mtime_ns,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            run=self.name,
            version=__version__,
            checksum=file.checksum,
        )


def _refuse(report: Report, error: RaypipeError, listeners: Iterable[Listener]) -> None:
    report.refused, report.is_over = error, True
    refused = RunRefused(error.message, error.hint, day=report.day)
    for listener in listeners:
        listener(refused)


def _sweep(day: Day) -> None:
    """Remove what a killed run left unfinished; the day being locked, none of it is in use."""
    for path in temporary_files(day):
        path.unlink(missing_ok=True)


class EventLog:
    """A listener that keeps all events of a run as JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: Event) -> None:
        """Append the event."""
        with suppress(OSError), self.path.open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")

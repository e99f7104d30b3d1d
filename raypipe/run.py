"""One run of a day: check, lock, plan, do, publish each output as it comes, and say how it went.

Here is where the effects are: the ledger, the renames, the log of the run. The order of publishing an output is what
makes every kill harmless: synced under a temporary name, written into the ledger, renamed.
"""

import secrets
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cluster.node import shared_memory, usable_cpus, usable_memory
from raypipe import __version__
from raypipe.clean import temporary_files
from raypipe.config import Config, parse_bytes
from raypipe.day import Day
from raypipe.errors import TooLittleDisk, TooLittleMemory
from raypipe.events import Event, Listener, Note, Outcome, Phase, RunEnded, RunStarted, TaskDone, TaskFailed, task_name
from raypipe.history import without
from raypipe.interrupt import Interrupt
from raypipe.io.publish import write_failed
from raypipe.ledger import Entry, append_entries, prepare_state
from raypipe.lock import day_lock
from raypipe.memory import Budget, Load, in_gb, make_budget
from raypipe.outcome import Failure, Written, failure
from raypipe.plan import Plan, make_plan
from raypipe.recording import Selection
from raypipe.stages import STAGES, Stage
from raypipe.tasks import Task, TaskId

if TYPE_CHECKING:
    from raypipe.work import Work

_DISK_RESERVE = 64 << 20


@dataclass
class Report:
    """How a run went."""

    plan: Plan
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    bytes_written: int = 0
    interrupted: bool = False
    out_of_time: bool = False
    """Interrupted because the time that Slurm gave was nearly up: running again goes on."""
    failures: list[TaskFailed] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 done, 1 a task failed, 75 out of time, 130 interrupted."""
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


def largest_tasks(plan: Plan) -> tuple[int, int]:
    """Return the bytes that the largest task of a whole session asks for, and the largest of channels' objects."""
    of_sessions = [task.memory for task in plan.todo if task.stage.level == "session"]
    of_objects = [task.memory for task in plan.todo if task.stage.level not in ("session", "channel")]
    return max(of_sessions, default=0), max(of_objects, default=0)


def budget_of(plan: Plan) -> Budget:
    """Return how a run of the plan would divide this machine's memory. Raises `TooLittleMemory`."""
    allowed = limits(plan.config)
    session_task, object_task = largest_tasks(plan)
    budget = make_budget(
        loads(plan),
        plan.config,
        cpus=allowed.cpus,
        memory=allowed.memory,
        session_task=session_task,
        object_task=object_task,
    )
    if plan.todo and budget.object_store > shared_memory():
        raise TooLittleMemory(
            f"shared memory has {in_gb(shared_memory())} free, and the tiles on their way need {in_gb(budget.object_store)}",
            hint="make /dev/shm larger (docker: --shm-size=1g), or set run.tile_seconds lower",
        )
    return budget


class Place(Protocol):
    """Where the Ray of a run is."""

    def budget(self, plan: Plan) -> Budget:
        """Return how the plan would be done there. Raises `TooLittleMemory`."""

    def started(self, budget: Budget) -> AbstractContextManager[None]:
        """Have Ray there while one day is processed."""

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that one task may ask for at most."""

    def look(self, open_works: "Iterable[Work]", filter_actors: int) -> Sequence[str]:
        """See what is still to be done, and say what was made of that."""


class ThisMachine:
    """A Ray of our own on this machine, begun and ended with the run."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def budget(self, plan: Plan) -> Budget:
        """Return how this machine would do the plan. Raises `TooLittleMemory`."""
        return budget_of(plan)

    def started(self, budget: Budget) -> AbstractContextManager[None]:
        """Start Ray with the budget's memory; end it, and remove what it left."""
        from raypipe.embedded import embedded_ray

        return embedded_ray(budget, limits(self.config).cpus)

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that Ray may hand out."""
        return budget.asked_for

    def look(self, _open_works: "Iterable[Work]", _filter_actors: int) -> Sequence[str]:
        """A machine does not grow."""
        return ()


def run_day(
    day: Day,
    config: Config,
    *,
    stages: Sequence[Stage] = STAGES,
    channels: Selection | None = None,
    replace_foreign: bool = False,
    listeners: Sequence[Listener] = (),
    place: Place | None = None,
) -> Report:
    """Do what `make_plan` says is to be done, and return how it went; on this machine if no `place` is given.

    Without anything to do, nothing is started and nothing is written. Raises `Refused` (and its kinds) before anything
    runs; what goes wrong in a single task is in the report.
    """

    def plan_it() -> Plan:
        return make_plan(day, config, stages=stages, channels=channels, replace_foreign=replace_foreign)

    place = place or ThisMachine(config)
    plan = plan_it()
    if not plan.todo:
        return _Run(plan, listeners, place).ended()
    place.budget(plan)  # what is refused is refused before anything is written
    refuse_full_disk(plan)
    prepare_state(day.state)
    with day_lock(day.state):
        return _Run(plan_it(), listeners, place).work()  # planned again: another run may have ended in between


def refuse_full_disk(plan: Plan) -> None:
    """Raise `TooLittleDisk` if the outputs do not fit what is free."""
    place = plan.day.output
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if plan.bytes_to_write + _DISK_RESERVE > free:
        raise TooLittleDisk(
            f"{place} has {in_gb(free)} free, and the outputs take {in_gb(plan.bytes_to_write)}",
            hint="make room, write elsewhere with --output DIR, or leave out the raw copies with --no-raw",
        )


class _Run:
    """The state of one run; it is the driver's `Sink`."""

    def __init__(self, plan: Plan, listeners: Sequence[Listener], place: Place) -> None:
        self.plan, self.place = plan, place
        self.listeners = list(listeners)
        self.report = Report(plan)
        self.name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + f"-{secrets.token_hex(2)}"
        self.folder = plan.day.state / "runs" / self.name
        self.tasks = {task.id: task for task in plan.todo}
        self.keys: dict[TaskId, dict[str, str]] = {}
        """Of what was published: its key as it is in the ledger."""
        self.began = time.monotonic()
        self.interrupt = Interrupt()

    def work(self) -> Report:
        """Do the plan where its place is."""
        if not self.plan.todo:
            return self.ended()
        _sweep(self.plan.day)
        self.folder.mkdir(parents=True)
        self.listeners.append(EventLog(self.folder / "events.jsonl"))
        budget = self.place.budget(self.plan)
        self.emit(RunStarted(self.plan.day.title, self.name, len(self.tasks), self.plan.bytes_to_write, budget.total))
        for note in self.plan.notes:
            self.emit(note)
        try:
            with self.interrupt.heeded():
                self._on_ray(budget)
        except KeyboardInterrupt:
            self.report.interrupted = True
            self.report.out_of_time = self.interrupt.is_out_of_time
        finally:
            _sweep(self.plan.day)
        return self.ended()

    def _on_ray(self, budget: Budget) -> None:
        def prepare() -> tuple[Any, Any, Any]:
            # Ray, numba, scipy: seconds, which a run with nothing to do must not take.
            from raypipe import driver, passes
            from raypipe.work import works_of

            return driver, works_of(self.plan.todo, self.plan.config), passes.channel_passes(self.plan)

        self._phase("starting Ray")
        with ThreadPoolExecutor(1) as beside:
            preparing = beside.submit(prepare)  # Ray's start is mostly waiting
            with self.place.started(budget):
                driver, works, (passes, failures) = preparing.result()
                self.interrupt.listen()
                self._phase("Ray is up")
                for session, failed in failures:
                    self.failed(session, failed)
                driver.run_on_ray(
                    works,
                    passes,
                    budget,
                    self,
                    token=self.name,
                    restarts=self.plan.config.run.restarts,
                    largest_task=self.place.largest_task(budget),
                    lost={(each.stage, each.path) for _, failed in failures for each in failed},
                )
                self._phase("stopping Ray")

    def _phase(self, text: str) -> None:
        self.emit(Phase(text, round(time.monotonic() - self.began, 3)))

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
            self.keys[file.stage, file.path] = key
            size = sum(each.size for each in file.files)
            self.report.done += 1
            self.report.bytes_written += size
            output, ended = self._relative(file.path), file.mtime_ns / 1e9
            self.emit(TaskDone(file.stage, session, file.channel, output, size, file.node, file.began, ended))
        return published

    def _not_published(self, session: str, file: Written, error: OSError) -> None:
        for each in file.files:
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

    def go_on(self) -> None:
        """Raise KeyboardInterrupt if the run was told to end."""
        self.interrupt.check()

    def look(self, open_works: "Iterable[Work]", filter_actors: int) -> None:
        """Let the place follow what is to be done."""
        for text in self.place.look(open_works, filter_actors):
            self.emit(Note(self.plan.day.title, text))

    def emit(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)

    def ended(self) -> Report:
        """Count the problems that kept tasks from being planned as failures, and say how it went."""
        report = self.report
        for problem in self.plan.problems:
            message = problem.error.message.removeprefix(f"{problem.session}: ")  # each listener names the session
            for stage in problem.stages:
                event = TaskFailed(stage, problem.session, problem.channel, message, problem.error.hint, "")
                report.failures.append(event)
                report.failed += 1
                self.emit(event)
        report.seconds = time.monotonic() - self.began
        outcome: Outcome = "interrupted" if report.interrupted else "failed" if report.failed else "done"
        self.emit(RunEnded(outcome, report.done, report.failed, report.seconds, report.bytes_written))
        return report

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
        )


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

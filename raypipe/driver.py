"""Runs days on Ray: wait for what is under way, pull what came back, dispatch what fits; until nothing is left.

A file counts only when the driver says so: a worker syncs it under a temporary name, the driver writes it into the
ledger and renames it. So whatever is killed, and whenever, what has a final name is complete and known, and what has
not is begun again. Only this file, `actors` and `embedded` know of Ray.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import ray
from ray._private.state import state as ray_state
from ray.core.generated.common_pb2 import NodeDeathInfo  # type: ignore[attr-defined]
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raypipe.actors import Finished, do_work, filter_actor, reader
from raypipe.channels import Group, Output, Pass
from raypipe.deadline import Life
from raypipe.errors import NotBegun, TooLittleMemory, WorkerLost
from raypipe.events import (
    Event,
    FiltersBegun,
    Note,
    PassProgressed,
    PassStarted,
    WorkBegun,
    WorkEnded,
    WorkStarted,
    WorkWaits,
)
from raypipe.io.publish import temporary_name
from raypipe.memory import Budget, in_gb
from raypipe.outcome import Failure, Written, failure
from raypipe.stages import BY_NAME
from raypipe.tasks import Task, TaskId
from raypipe.units import fitting_groups, unit_of_groups, unit_of_work
from raypipe.work import Made, Work

_POLL_SECONDS = 1.0
_START_SECONDS = 30.0
_NOTICE_SECONDS = 120.0
"""As long a node that is to go is sure to stay: what a cloud gives its spot nodes."""
_BEGUN_SECONDS = 1.0
_NODE = re.compile(r"node id: ([0-9a-f]{56})", re.IGNORECASE)
_TOLD_TO_GO = (NodeDeathInfo.EXPECTED_TERMINATION, NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED)
FILTERS = "filters"
"""Ray's resource of filter actors. They count as no CPUs: other work fills the time in which they wait for the disk."""
_SMALLER = ", or set run.tile_seconds lower"


class Sink(Protocol):
    """Where the driver puts what came out: the run behind it keeps the ledger and the counts."""

    def written(self, session: str, files: Sequence[Written]) -> set[TaskId]:
        """Publish files that are complete and synced under their temporary names; return those that have theirs now."""

    def failed(self, session: str, failures: Sequence[Failure]) -> None:
        """Take note of files that could not be made."""

    def emit(self, event: Event) -> None:
        """Tell what happens."""

    def ended(self) -> None:
        """Take note that nothing of the day is under way any more, and nothing left to do."""


class Command(Protocol):
    """What all days share: the run behind them knows the place where they are done."""

    life: Life
    """How long all of this may take."""

    def go_on(self) -> None:
        """Raise KeyboardInterrupt if the runs were told to end, or their time is up."""

    def budget_now(self, before: Budget) -> Budget:
        """Return how passes go on with the nodes that are there by now; `before` is how they did until now."""

    def largest_task(self, budget: Budget) -> int:
        """Return the bytes that one task can be given."""

    def look(self, open_works: Iterable[Work], filter_actors: int, budget: Budget) -> None:
        """See what is still to be done: works not ended, and filter actors that are at work. Never waits."""


@dataclass(frozen=True)
class DayWork:
    """What is to be done of a day, and where it goes."""

    works: Sequence[Work]
    passes: Sequence[Pass]
    failures: Sequence[tuple[str, Sequence[Failure]]]
    """By session: outputs of passes that could not be planned."""
    sink: Sink
    token: str
    """Makes its temporary names its own."""
    restarts: int
    """How often what dies is begun again."""


def run_on_ray(days: Sequence[DayWork], budget: Budget, command: Command) -> None:
    """Do the works of days as they become possible, beside their passes, which go one after the other, a day's after another's.

    An earlier day's works go first: a later one's are handed out when they find a CPU free. What cannot end before
    `command.life` does is not begun, and neither made nor failed.
    """
    loop = _Loop(command)
    has_passes = any(day.passes for day in days)
    # Before the works, so that none takes its memory.
    crew = _Crew(budget, max(day.restarts for day in days)) if has_passes else None
    queues = [_Works(day, loop, command.life, lambda: command.largest_task(budget)) for day in days]

    def look() -> None:
        for queue in queues:
            queue.tell_begun()
        works = (work for queue in queues for work in queue.open.values())
        command.look(works, len(crew.actors) if crew else 0, crew.budget if crew else budget)

    def dispatch() -> None:
        waiting = [queue for queue in queues if not queue.is_over]
        for queue in waiting:
            if queue is waiting[0]:
                queue.dispatch()
            elif queue.ready or queue.late or not queue.open:
                queue.dispatch(max(1, _cpus()) - sum(each.begun for each in queues))

    loop.before_waiting, loop.after_each = look, dispatch
    dispatch()
    if crew:
        for queue in queues:
            for each in queue.day.passes:
                crew.follow(command.budget_now(crew.budget))
                if _filter_in_time(each, crew, loop, queue):
                    queue.pass_ended()
        crew.end()
        crew = None
    while loop.step():
        pass


def _filter_in_time(each: Pass, crew: "_Crew", loop: "_Loop", works: "_Works") -> bool:
    """Go through a recording, for as many groups at once as can end in time; return whether that were all."""
    life, actors = works.life, len(crew.actors)
    left = list(each.groups)
    most = len(left)
    while left:
        n_groups = min(most, fitting_groups(life, each, len(left), actors))
        unit = unit_of_groups(each, max(1, n_groups), actors)
        if not n_groups:
            life.postpone(unit)
            return False
        if not life.begin(unit):  # a moment has passed
            continue
        some = replace(each, groups=tuple(left[:n_groups]))
        slow = _PassRun(some, crew, loop, works, token=f"{works.token}-{next(works.numbers)}").run()
        left = slow + left[n_groups:]
        if not slow:
            life.settled(unit)
        else:
            life.gave_up(unit_of_groups(each, 1, actors))
            most = n_groups - 1
            if not most:
                return False
    return True


class _Loop:
    """What is under way, and what to do with each when it comes back."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._handlers: dict[Any, Callable[[Any], None]] = {}
        self.before_waiting: Callable[[], None] = lambda: None
        self.after_each: Callable[[], None] = lambda: None

    def watch(self, ref: Any, handler: Callable[[Any], None]) -> None:
        self._handlers[ref] = handler

    def step(self) -> bool:
        """Wait for something to come back and handle it; return whether anything was under way."""
        self._command.go_on()
        if not self._handlers:
            return False
        self.before_waiting()
        # Bounded in time, so that signals are seen.
        ready, _ = ray.wait(list(self._handlers), num_returns=1, timeout=_POLL_SECONDS)
        for ref in ready:
            self._handlers.pop(ref)(ref)
            self.after_each()
        return True


class _Works:
    """A day's works wait here: each is handed out when all that its tasks wait for has ended, one way or the other.

    It stands between whoever makes files and the sink, to see what ends; at last the day itself.
    """

    def __init__(self, day: DayWork, loop: _Loop, life: Life, largest_task: Callable[[], int]) -> None:
        self.day, self.loop, self.life, self.largest_task = day, loop, life, largest_task
        self.sink, self.token, self.restarts = day.sink, day.token, day.restarts
        self.works = works = list(day.works)
        self.under_way = 0
        """What Ray has to give back."""
        self.begun = 0
        """Works among that."""
        self.passes_left = len(day.passes)
        self.numbers = count()
        """Of what goes through a recording."""
        self.is_over = False
        self.open = dict(enumerate(works))
        """Those that have not ended."""
        self.ready = list(range(len(works)))
        """A heap of those to be looked at: what can begin at the same time begins in the order of the works."""
        self.late: list[int] = []
        """Those that could not end in time if they began."""
        self.waiting: dict[TaskId, list[int]] = {}
        """The others, each by one of those that it waits for."""
        self.told: set[int] = set()
        """Those of which it is told what they wait for."""
        self.queued: dict[Any, Work] = {}
        """What Ray has and has not begun, as far as is known."""
        self.next_look = 0.0
        self.pending = {task.id for work in works for task in work.tasks}
        self.pending |= {(output.stage, output.path) for each in day.passes for output in _outputs(each.groups)}
        self.lost: set[TaskId] = set()
        self.total = Counter(work.stage for work in works)
        self.ended = Counter[str]()
        for session, failures in day.failures:
            self.lost |= {(each.stage, each.path) for each in failures}
            self.sink.failed(session, failures)

    def watch(self, ref: Any, handler: Callable[[Any], None]) -> None:
        """Have what comes back handled; what is of this day ends before the day does."""
        self.under_way += 1

        def handled(ref: Any) -> None:
            handler(ref)
            self.under_way -= 1
            self._end_if_over()

        self.loop.watch(ref, handled)

    def pass_ended(self) -> None:
        """Count a pass as done."""
        self.passes_left -= 1
        self._end_if_over()

    def _end_if_over(self) -> None:
        if not (self.is_over or self.under_way or self.open or self.passes_left):
            self.is_over = True
            self.sink.ended()

    def dispatch(self, room: float = math.inf) -> None:
        """Hand out what can begin; what cannot be done any more, because something it needs failed, fails with it.

        Where there is `room` for fewer works, the others go on waiting.
        """
        # Others like them may have been faster than was thought.
        for number in [number for number in self.late if self.life.can_begin(unit_of_work(self.works[number]))]:
            self.late.remove(number)
            heappush(self.ready, number)
        most = self.begun + room
        while self.ready and self.begun < most:  # what fails here may free others
            number = heappop(self.ready)
            work = self.works[number]
            if awaited := self._awaited(work):
                self.waiting.setdefault(awaited, []).append(number)
                self._tell_waiting(number)
                continue
            doomed = [task for task in work.tasks if task.needs & self.lost]
            self._end([Made.failure(task, _not_begun(task, self.lost)) for task in doomed])
            rest = self.works[number] = work.without(self.lost)
            if not rest.tasks:
                self._tell_end(number)
            elif rest.memory > (largest := self.largest_task()):
                self._end([Made.failure(task, _too_large(rest.memory, largest)) for task in rest.tasks])
                self._tell_end(number)
            elif not self.life.begin(unit_of_work(rest)):
                self.late.append(number)
            else:
                self.begun += 1
                self._begin(number, rest, attempt=0, moves=0)
        self._end_if_over()

    def settle(self, session: str, written: Sequence[Written], failures: Sequence[Failure]) -> None:
        """Have files published and failures noted; what waited for them is ready."""
        ended = {(file.stage, file.path) for file in written} | {(each.stage, each.path) for each in failures}
        self.lost |= ended - self.sink.written(session, written)
        self.sink.failed(session, failures)
        self._release(ended)

    def _begin(self, number: int, work: Work, *, attempt: int, moves: int) -> None:
        """Hand a work out, whose worker died `attempt` times, and `moves` times with a node that was told to go."""
        token, latest = self._token(attempt, moves), self.life.latest(unit_of_work(work))
        # What is made of whole sessions is little work, and needed early.
        cpus = 0 if work.is_of_session else 1
        asked = self._asked_for(work, attempt)
        items = do_work.options(num_cpus=cpus, memory=asked, max_retries=0).remote(work, token, latest)
        self.queued[items] = work
        self.sink.emit(WorkStarted(work.stage, work.sessions, work.channel, asked))
        self.watch(items.completed(), lambda ref: self._returned(ref, items, number, work, attempt, moves))

    def _token(self, attempt: int, moves: int) -> str:
        return f"{self.token}-{attempt + moves}"

    def tell_begun(self) -> None:
        """Tell which works have begun since the last time, and where; what is over before it is asked for is not told."""
        # Now and then, and of all at once: waiting for a stream takes a hundred times as long as for a plain reference.
        if not self.queued or time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + _BEGUN_SECONDS
        ready, _ = ray.wait(list(self.queued), num_returns=len(self.queued), timeout=0, fetch_local=False)
        for items in ready:
            work = self.queued.pop(items)
            with suppress(RayError):  # its worker is dead already, which its end tells
                node: Any = ray.get(next(items))  # type: ignore[arg-type]
                self.sink.emit(WorkBegun(work.stage, work.sessions, work.channel, node))

    def _tell_waiting(self, number: int) -> None:
        """Tell once what a work waits for; what of it ends is told then."""
        if number not in self.told:
            self.told.add(number)
            work = self.works[number]
            awaited = {id_ for task in work.tasks for id_ in task.needs | task.after} & self.pending
            paths = tuple(sorted(str(path) for _, path in awaited))
            self.sink.emit(WorkWaits(work.stage, work.sessions, work.channel, paths))

    def _asked_for(self, work: Work, attempt: int) -> int:
        """Return the bytes that Ray is asked for: twice as much once a worker died, for that may be why."""
        return min(work.memory * min(attempt + 1, 2), self.largest_task())

    def _awaited(self, work: Work) -> TaskId | None:
        return next((id_ for task in work.tasks for id_ in task.needs | task.after if id_ in self.pending), None)

    def _release(self, ids: Collection[TaskId]) -> None:
        self.pending.difference_update(ids)
        for id_ in ids:
            for number in self.waiting.pop(id_, ()):
                heappush(self.ready, number)

    def _returned(self, ref: Any, items: Any, number: int, work: Work, attempt: int, moves: int) -> None:
        self.queued.pop(items, None)
        unit = unit_of_work(work)
        try:
            ray.get(ref)
            ended: Any = ray.get(list(items)[-1])
            if ended is None:  # it waited for a free CPU until it was too late
                self.begun -= 1
                self.sink.emit(WorkWaits(work.stage, work.sessions, work.channel, ()))
                self.life.gave_up(unit)
                self.late.append(number)
                return
            self.life.pace.took(unit.stage, unit.seconds, ended.seconds)
            made = ended.made
        except RayError as error:
            for task in work.tasks:
                _remove(temporary_name(task.output, self._token(attempt, moves)))
            if _was_told_to_go(error):
                text = f"a node was told to go; {work.stage} is begun again elsewhere"
                self.sink.emit(Note(", ".join(work.sessions), text))
                self._begin(number, work, attempt=attempt, moves=moves + 1)
                return
            # Killed for memory twice, it needs more than we know.
            if attempt < (min(1, self.restarts) if isinstance(error, OutOfMemoryError) else self.restarts):
                before, now = (self._asked_for(work, each) for each in (attempt, attempt + 1))
                more = f" with {in_gb(now)} of memory" if now > before else ""
                text = f"a worker died; {work.stage} is begun again{more}"
                self.sink.emit(Note(", ".join(work.sessions), text))
                self._begin(number, work, attempt=attempt + 1, moves=moves)
                return
            asked = list(dict.fromkeys(self._asked_for(work, each) for each in range(attempt + 1)))
            made = [
                Made.failure(task, _lost(f"the worker died {attempt + 1} times", asked, error)) for task in work.tasks
            ]
        self.begun -= 1
        self._tell_end(number)
        self._end(made)

    def _tell_end(self, number: int) -> None:
        work = self.open.pop(number)
        self.life.settled(unit_of_work(work))
        self.ended[work.stage] += 1
        ended, total = self.ended[work.stage], self.total[work.stage]
        self.sink.emit(WorkEnded(work.stage, work.sessions, work.channel, ended, total))

    def _end(self, made: Sequence[Made]) -> None:
        for each in made:
            session, channel = each.task.session.name, each.task.channel
            for note in each.notes:
                self.sink.emit(Note(session, f"channel {channel.number}: {note}" if channel else note))
            if each.failed:
                self.sink.failed(session, [each.failed])
        for session in dict.fromkeys(each.task.session.name for each in made):
            files = [each.written for each in made if each.written and each.task.session.name == session]
            published = self.sink.written(session, files)
            self.lost |= {each.task.id for each in made if each.task.session.name == session} - published
        self._release({each.task.id for each in made})


def _not_begun(task: Task, lost: Collection[TaskId]) -> NotBegun:
    failed = {stage for stage, _ in task.needs & set(lost)}
    first = next(stage for stage in BY_NAME if stage in failed)
    return NotBegun(
        f"{task.stage.name} needs {first}, which failed", hint=f"mend what is said of {first}, then run again"
    )


def _too_large(needed: int, largest: int) -> TooLittleMemory:
    return TooLittleMemory(
        f"it needs {in_gb(needed)} of memory, and no node gives more than {in_gb(largest)} to one task",
        hint="give it a larger node (--memory here, the partition or `slurm.memory` on a cluster), then run again",
    )


class _Crew:
    """The processes that serve all passes: starting one costs a second, so they stay as long as the nodes do."""

    def __init__(self, budget: Budget, restarts: int) -> None:
        self.budget = budget
        self.restarts = restarts
        self.nodes = _nodes_that_stay()
        self.reader = self._new_reader()
        self.actors = self._new_actors()
        self.are_up = True
        """Or will be at once, having come before anything else."""

    def follow(self, budget: Budget) -> None:
        """Between passes: be as many as the nodes that are there by now hold, spread over them.

        Those on a node that is to go were in its way; those on one that is gone are not waited for.
        """
        nodes = _nodes_that_stay()
        if (budget, nodes) == (self.budget, self.nodes):
            return
        for actor in self.actors:
            ray.kill(actor)
        before, self.budget, self.nodes = self.budget, budget, nodes
        if budget.reader != before.reader:
            self.replace_reader()
        self.actors = self._new_actors()
        self.are_up = False

    def _new_reader(self) -> Any:
        # It keeps nothing from tile to tile, so Ray itself may begin it again.
        options = {"max_restarts": self.restarts, "max_task_retries": self.restarts}
        # Here is where the run was begun, and as near to the recording as any other node; if there is room.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        return reader.options(num_cpus=0, memory=self.budget.reader, scheduling_strategy=here, **options).remote()

    def _new_actors(self) -> list[Any]:
        return [self._new_actor(resources={FILTERS: 1}) for _ in range(self.budget.filter_actors)]

    def _new_actor(self, **options: Any) -> Any:
        budget = {"memory": self.budget.filter_actor, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        return filter_actor.options(num_cpus=0, **budget, **options).remote()

    def end(self) -> None:
        """End the processes: what they held is for others now."""
        for worker in (self.reader, *self.actors):
            ray.kill(worker)

    def replace_reader(self) -> None:
        ray.kill(self.reader)
        self.reader = self._new_reader()

    def replace(self, actor: Any) -> Any:
        ray.kill(actor)  # it may only be out of reach
        place = self.actors.index(actor)
        # Wherever there is memory: its node may be gone, and its share of filters.
        self.actors[place] = self._new_actor()
        return self.actors[place]


def _nodes_that_stay() -> frozenset[str]:
    """Return Ray's ids of the nodes that live and are not to go."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return frozenset(node["NodeID"] for node in found if node["Alive"]) - nodes_to_go()


def nodes_to_go() -> frozenset[str]:
    """Return Ray's ids of the nodes that are being drained: they take nothing more, and go when what is on them ends."""
    return frozenset(ray_state.get_draining_nodes())


def _cpus() -> int:
    return int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]


@dataclass
class _Member:
    """A filter actor and the groups that it owns; `unfinished` shrinks as their files are published."""

    actor: Any
    unfinished: list[int]
    token: str
    attempt: int = 0
    dead: bool = False
    node: str = ""
    """Ray's id of where it is, when that is known."""


@dataclass
class _Convoy:
    """Members that take the same tiles in step; one that begins again gets a convoy of its own."""

    members: list[_Member]
    tiles_in_flight: int
    next_tile: int = 0
    waiting: Counter[int] = field(default_factory=Counter)
    """How many members have not yet done a tile that was handed out."""


class _PassRun:
    """One pass: tiles go from the reader to the members, bounded in number, and finished groups come back."""

    def __init__(self, each: Pass, crew: _Crew, loop: _Loop, works: _Works, *, token: str) -> None:
        self.each, self.crew, self.loop, self.works, self.restarts = each, crew, loop, works, works.restarts
        self.sink = works.sink
        self.tile_samples = max(1, round(crew.budget.tile_seconds * each.sampling_rate_hz))
        self.n_tiles = max(1, math.ceil(each.source.n_samples / self.tile_samples))
        self.source = ray.put(each.source)
        self.token = token
        self.unfinished = len(each.groups)
        self.members: list[_Member] = []
        self.tiles_done = 0
        self.life = works.life
        self.began = self.measured = self.life.now()
        self.next_look = time.monotonic() + _POLL_SECONDS
        self.unit = unit_of_groups(each, len(each.groups), len(crew.actors))
        self.is_too_slow = False

    def run(self) -> list[Group]:
        """Go through the recording; return the groups that could not end in time, which is seen early on."""
        channels = sum(len(group.lanes) for group in self.each.groups)
        self.sink.emit(PassStarted(self.each.session, channels, self.n_tiles))
        n_actors = min(len(self.crew.actors), len(self.each.groups))
        shares = [range(len(self.each.groups))[number::n_actors] for number in range(n_actors)]
        members = [
            _Member(actor, list(share), f"{self.token}-{number}")
            for number, (actor, share) in enumerate(zip(self.crew.actors, shares, strict=False))
        ]
        late = self._late(members)
        self._set_out([member for member in members if member not in late], self.crew.budget.tiles_in_flight)
        for member in late:
            self._set_out([member], 1)
        while self.unfinished and not self.is_too_slow:
            self.loop.step()
            self._leave_nodes_that_go()
        alive = [member for member in self.members if not member.dead and member.unfinished]
        for member in alive:
            member.dead = True
            self.works.watch(member.actor.abort.remote(tuple(member.unfinished)), lambda _: None)
        self.crew.are_up &= not alive  # some may still wait for room
        return [self.each.groups[number] for member in alive for number in member.unfinished]

    def _late(self, members: Sequence[_Member]) -> list[_Member]:
        """Wait for new actors; return the members of those that find no room yet, and must not hold up the others."""
        if self.crew.are_up:
            return []
        waited = dict(enumerate(members))
        for number, member in enumerate(members):
            up = member.actor.__ray_ready__.remote()
            self.works.watch(up, partial(_forget, waited, number))
        self.crew.are_up = True
        end = time.monotonic() + _START_SECONDS
        while len(waited) == len(members) or (waited and time.monotonic() < end):
            self.loop.step()
        return list(waited.values())

    def _leave_nodes_that_go(self) -> None:
        """Begin the groups on a node that is being drained again elsewhere, unless they will be done before it goes."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + _POLL_SECONDS
        going = nodes_to_go()
        for member in [each for each in self.members if each.node in going and not each.dead and each.unfinished]:
            if self._seconds_left() > _NOTICE_SECONDS:
                actor = self._leave(member)
                self._tell_again(member, "the node of a filter worker is about to go")
                self._set_out_again(member, actor, member.attempt)

    def _seconds_left(self) -> float:
        """Return how long the pass will yet take at its pace."""
        if not self.tiles_done:
            return math.inf
        return (self.life.now() - self.began) / self.tiles_done * (self.n_tiles - self.tiles_done)

    def _set_out(self, members: list[_Member], tiles_in_flight: int) -> None:
        convoy = _Convoy(members, tiles_in_flight)
        self.members += members
        for member in members:
            groups = {number: self.each.groups[number] for number in member.unfinished}
            begun = member.actor.begin.remote(groups, self.each.stages, member.token)
            self.works.watch(begun, lambda ref, member=member: self._begun(ref, member))  # type: ignore[misc]
        self._dispatch(convoy)

    def _dispatch(self, convoy: _Convoy) -> None:
        """Hand out tiles as long as not too many are on the way; behind the last, ask the members to finish."""
        while convoy.next_tile < self.n_tiles and len(convoy.waiting) < convoy.tiles_in_flight:
            tile, convoy.next_tile = convoy.next_tile, convoy.next_tile + 1
            members = [member for member in convoy.members if not member.dead]
            if not members:
                return
            for member, blocks in zip(members, self._read(tile, members), strict=True):
                pushed = member.actor.push.remote(tuple(member.unfinished), *blocks)
                convoy.waiting[tile] += 1
                self.works.watch(pushed, lambda ref, member=member, tile=tile: self._pushed(ref, convoy, member, tile))  # type: ignore[misc]
            if convoy.next_tile == self.n_tiles:
                for member in members:
                    self._ask_to_finish(member)

    def _read(self, tile: int, members: Sequence[_Member]) -> list[list[Any]]:
        """Have a tile read once for all groups of `members`; return the references of each member's blocks."""
        start = tile * self.tile_samples
        stop = min(start + self.tile_samples, self.each.source.n_samples)
        numbers = [number for member in members for number in member.unfinished]
        places = tuple(self.each.groups[number].places for number in numbers)
        blocks = self.crew.reader.read.options(num_returns=len(places)).remote(self.source, start, stop, places)
        rest = iter(blocks if len(places) > 1 else [blocks])
        return [[next(rest) for _ in member.unfinished] for member in members]

    def _ask_to_finish(self, member: _Member) -> None:
        for number in member.unfinished:
            finished = member.actor.finish.remote(number)
            self.works.watch(finished, lambda ref, number=number: self._finished(ref, member, number))  # type: ignore[misc]

    def _begun(self, ref: Any, member: _Member) -> None:
        if begun := self._returned(ref, member):
            if not self.tiles_done:  # waiting for actors says nothing about the pace
                self.began = self.measured = self.life.now()
            member.node, name = begun
            lanes = [lane for number in member.unfinished for lane in self.each.groups[number].lanes]
            channels = tuple(lane.channel for lane in lanes)
            stages = tuple(dict.fromkeys(output.stage for lane in lanes for output in lane.outputs))
            self.sink.emit(FiltersBegun(self.each.session, channels, stages, name))

    def _pushed(self, ref: Any, convoy: _Convoy, member: _Member, tile: int) -> None:
        self._returned(ref, member)
        convoy.waiting[tile] -= 1
        if not convoy.waiting[tile]:
            del convoy.waiting[tile]
            if not all(each.dead for each in convoy.members):
                self._tell_progress(tile + 1)
                self._dispatch(convoy)

    def _tell_progress(self, tiles_done: int) -> None:
        if tiles_done > self.tiles_done:  # those that begin again are behind
            thought = self.unit.seconds * (tiles_done - self.tiles_done) / self.n_tiles
            self.tiles_done, since, self.measured = tiles_done, self.measured, self.life.now()
            self.life.pace.took(self.unit.stage, thought, self.measured - since)
            if tiles_done < self.n_tiles - self.crew.budget.tiles_in_flight:  # else its files are being finished
                self.is_too_slow = self.life.is_too_slow(self.began, tiles_done / self.n_tiles)
            seconds = min(tiles_done * self.tile_samples, self.each.source.n_samples) / self.each.sampling_rate_hz
            self.sink.emit(PassProgressed(self.each.session, tiles_done, self.n_tiles, seconds))

    def _finished(self, ref: Any, member: _Member, number: int) -> None:
        result = self._returned(ref, member)
        if isinstance(result, Finished) and number in member.unfinished:
            member.unfinished.remove(number)
            self.unfinished -= 1
            self.works.settle(self.each.session, result.written, result.failures)

    def _returned(self, ref: Any, member: _Member) -> Any:
        """Return what a member gave back; if it died, begin its groups again, if it cannot go on, give them up."""
        if member.dead:
            return None
        try:
            return ray.get(ref)
        except RayTaskError as error:  # first: a lost tile comes as both, a task's error and its reader's death
            if isinstance(error.cause, RayActorError):
                self._without_reader(member, error.cause)
            else:
                self._give_up(member, error.cause or error)
        except RayActorError as error:
            self._begin_again(member, error)
        except RayError as error:
            self._give_up(member, error)
        return None

    def _begin_again(self, member: _Member, error: RayError) -> None:
        actor = self._leave(member)
        if _was_told_to_go(error):
            self._tell_again(member, "a filter worker had to go")
            self._set_out_again(member, actor, member.attempt)
            return
        if member.attempt >= self.restarts:
            promised = self.crew.budget.filter_actor
            self._give_up(
                member, _lost(f"the filter worker died {member.attempt + 1} times", [promised], error, _SMALLER)
            )
            return
        self._tell_again(member, "a filter worker died")
        self._set_out_again(member, actor, member.attempt + 1)

    def _leave(self, member: _Member) -> Any:
        """Do without a member; return the actor that takes the place of its own."""
        member.dead = True
        for output in _outputs(self.each.groups[number] for number in member.unfinished):
            _remove(temporary_name(output.path, member.token))
        return self.crew.replace(member.actor)

    def _tell_again(self, member: _Member, why: str) -> None:
        channels = sum(len(self.each.groups[number].lanes) for number in member.unfinished)
        self.sink.emit(Note(self.each.session, f"{why}; its {channels} channels are begun again"))

    def _set_out_again(self, member: _Member, actor: Any, attempt: int) -> None:
        # One tile at a time: the memory of the tiles was counted for those that go on.
        self._set_out([_Member(actor, list(member.unfinished), f"{member.token}-{attempt}", attempt)], 1)

    def _without_reader(self, member: _Member, error: RayActorError) -> None:
        promised = self.crew.budget.reader
        self._give_up(member, _lost(f"the reader died {self.restarts + 1} times", [promised], error, _SMALLER))
        self.crew.replace_reader()

    def _give_up(self, member: _Member, error: Exception) -> None:
        member.dead = True
        self.works.watch(member.actor.abort.remote(tuple(member.unfinished)), lambda _: None)
        failures = [
            failure(output.stage, lane.channel, output.path, error)
            for number in member.unfinished
            for lane in self.each.groups[number].lanes
            for output in lane.outputs
        ]
        self.unfinished -= len(member.unfinished)
        self.works.settle(self.each.session, (), failures)


def _forget(waited: dict[int, _Member], number: int, _ref: Any) -> None:
    del waited[number]


def _was_told_to_go(error: RayError) -> bool:
    """Whether what was lost was lost with a node that somebody ended: drained for its walltime, cancelled, taken away.

    That says nothing about the work.
    """
    if isinstance(error, OutOfMemoryError) or not (named := _NODE.search(str(error))):
        return False
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return any(node["NodeID"] == named[1] and node["DeathReason"] in _TOLD_TO_GO for node in found)


def _lost(what: str, asked: Sequence[int], error: RayError, smaller: str = "") -> WorkerLost:
    lost = WorkerLost(
        f"{what}; the last time: {str(error).strip().splitlines()[0]}",
        hint=f"was it killed for memory (`dmesg`)? It asked for {', then '.join(map(in_gb, asked))}: close other programs{smaller}",
    )
    lost.__cause__ = error
    return lost


def _remove(path: Path) -> None:
    with suppress(OSError):  # of a disk that is lost; at the latest the next run removes it
        path.unlink(missing_ok=True)


def _outputs(groups: Iterable[Group]) -> list[Output]:
    return [output for group in groups for lane in group.lanes for output in lane.outputs]

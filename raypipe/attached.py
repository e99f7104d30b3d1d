"""The Ray that the jobs of a submission made: joined for as long as its days take, and left as it is.

Its nodes come and go: how passes are divided among them, and what they hold at most, is asked for again and again.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import ray
from ray._private.state import available_resources_per_node

from cluster import slurm
from cluster.errors import ClusterError
from cluster.ray_node import FILTERS
from cluster.scaler import Scaler
from cluster.scaling import Need
from raypipe.config import Config
from raypipe.deadline import TIME_HINT, Life, in_words
from raypipe.driver import nodes_to_go
from raypipe.errors import Refused, TooLittleMemory, TooLittleTime
from raypipe.events import Event, NodesChanged
from raypipe.memory import RAY_SERVICES, Budget, in_gb, make_budget
from raypipe.plan import Plan
from raypipe.run import largest_tasks
from raypipe.run import loads as loads_of
from raypipe.submit import job_settings, shape_of
from raypipe.units import work_seconds
from raypipe.work import Work

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 600.0
_FILTER_SECONDS = 600.0
_WALLTIME_SECONDS = 60.0
_FRUITLESS = "fruitless"
"""A file in the run's folder: the life before made nothing, although a worker helped."""
_HANDED_OUT = ("CPU", "memory", FILTERS)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """What Ray hands out on a node: CPUs, bytes for workers."""

    id: str
    cpus: int
    memory: int


class Attached:
    """The cluster of the run whose folder is `run`, as a place to process days in: it grows and shrinks with the work."""

    def __init__(self, run: Path, config: Config, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self.patience_seconds = patience_seconds
        shape = shape_of(config.slurm)
        self.least_workers = shape.least - shape.fixed
        self.fewest_nodes = min(2, shape.most + (not shape.fixed))
        job = os.environ.get("SLURM_JOB_ID", "")
        self.run, self.job = run, int(job) if job.isdigit() else None
        self.life = Life(warning=config.slurm.warning_seconds)
        self.was_fruitless = False
        self.most_nodes = 0
        # Where their number is fixed too: those whose nodes are taken away are replaced.
        elastic = job.isdigit() and not shape.fixed
        settings = job_settings(config.slurm, config.slurm.name, run)
        self.scaler = Scaler(run, settings, shape, int(job)) if elastic else None
        self.next_look = 0.0
        self.seen: NodesChanged | None = None
        self.largest = 0
        """Bytes of the largest node so far: one that went may come again."""

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be the driver of the cluster at `RAY_ADDRESS`, from when it has its least number of workers on.

        After a while it is content with fewer. Raises `Refused` if there is none.
        """
        self.was_fruitless = (self.run / _FRUITLESS).exists()
        (self.run / _FRUITLESS).unlink(missing_ok=True)
        address = os.environ.get("RAY_ADDRESS", "")
        try:
            ray.init(address=address or "auto", configure_logging=False, log_to_driver=False)
        except Exception as error:  # Ray raises all kinds here
            raise Refused(
                f"no Ray could be joined at {address or 'RAY_ADDRESS, which is not set'}: {error}",
                hint="`raypipe submit` makes the jobs that run this; without Slurm leave --attached out",
            ) from error
        over = Flag()
        try:
            if self.job is not None:
                self._ask_walltime(self.job)
                Thread(target=self._follow_walltime, args=(self.job, over), name="walltime", daemon=True).start()
            end = time.monotonic() + self.patience_seconds
            while len(nodes()) <= self.least_workers and time.monotonic() < end:
                time.sleep(_LOOK_SECONDS)
            yield
        finally:
            over.set()
            ray.shutdown()

    @contextmanager
    def started(self, _budget: Budget) -> Iterator[None]:
        """Nothing is begun, nothing ended."""
        self.seen = None
        yield

    def budget(self, plans: Sequence[Plan]) -> Budget:
        """Return how the nodes that are there now would do the plans. Raises `TooLittleMemory`.

        A task that fits no node is not counted: it is refused alone.
        """
        there = self._look_around()
        largest = max((node.memory for node in there), default=0)
        of_sessions, of_objects = (min(size, largest) for size in largest_tasks(plans))
        loads = [load for plan in plans for load in loads_of(plan)]
        memory = RAY_SERVICES + sum(node.memory for node in there)
        for cpus in range(sum(node.cpus for node in there), 0, -1):
            store = 0
            for _ in range(2):  # object stores are counted by Ray's nodes, beside this memory
                budget = make_budget(
                    loads, plans[0].config, cpus=cpus, memory=memory + store,
                    session_task=of_sessions, object_task=of_objects,
                )  # fmt: skip
                store = budget.object_store
            if _fits(budget, there):
                return budget
        raise TooLittleMemory(
            f"none of {len(there)} nodes has room for a filter worker and the reader; the largest has {in_gb(largest)}",
            hint="give workers more memory, or set run.tile_seconds lower",
        )

    def budget_now(self, plans: Sequence[Plan], before: Budget) -> Budget:
        """Return how the nodes that are there by now go on with the plans; where they are too few, as `before`: others come."""
        try:
            return self.budget(plans)
        except TooLittleMemory:
            return before

    def largest_task(self, _budget: Budget) -> int:
        """Return the bytes that the largest node has for one task."""
        return self.largest

    def look(self, open_works: Iterable[Work], filter_actors: int, budget: Budget) -> Sequence[str | Event]:
        """Have as many workers as the open works, and the filter actors at work, are worth; say what was done for that."""
        if time.monotonic() < self.next_look:
            return ()
        self.next_look = time.monotonic() + _LOOK_SECONDS
        self._look_around()
        found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        changed = self._changed(found)
        if not self.scaler:
            return changed
        needs = [Need(0 if work.is_of_session else 1, work.memory, work_seconds(work)) for work in open_works]
        needs += [Need(1, budget.filter_actor, _FILTER_SECONDS)] * filter_actors
        return [*changed, *self.scaler.look(needs, found, _busy())]

    def refuse_hopeless(self) -> None:
        """Raise `TooLittleTime` if a further life of the job would make nothing either.

        That is so by what is known of the work that is left, or because this is the second life in a row that made
        nothing; one that no worker helped proves nothing.
        """
        self.life.refuse_hopeless()
        if self.life.is_fruitful or self.life.was_cut_short or self.most_nodes < self.fewest_nodes:
            return
        if self.was_fruitless:
            lasts = in_words(self.life.deadline.end - self.life.deadline.begun)
            raise TooLittleTime(
                f"two lives of the job in a row, of {lasts}, ended without a new output", hint=TIME_HINT
            )
        with suppress(OSError):  # a full disk
            (self.run / _FRUITLESS).touch()

    def _ask_walltime(self, job: int) -> None:
        try:
            self.life.ends_in(slurm.time_left(job))
        except ClusterError as error:
            log.warning("the walltime is not known: %s", error)

    def _follow_walltime(self, job: int, over: Flag) -> None:
        # An administrator, or its owner, may change it.
        while not over.wait(_WALLTIME_SECONDS):
            self._ask_walltime(job)

    def _changed(self, found: Iterable[Mapping[str, Any]]) -> list[NodesChanged]:
        """Tell which nodes are there, if others are than the last time."""
        leaving = nodes_to_go()
        alive = {node["NodeID"]: str(node["NodeManagerHostname"]) for node in found if node["Alive"]}
        now = NodesChanged(
            tuple(sorted(set(alive.values()))), tuple(sorted({name for id_, name in alive.items() if id_ in leaving}))
        )
        if now == self.seen:
            return []
        self.seen = now
        return [now]

    def _look_around(self) -> list[Node]:
        there = nodes()
        self.most_nodes = max(self.most_nodes, len(there))
        self.largest = max([self.largest, *(node.memory for node in there)])
        return there


def _busy() -> set[str]:
    """Return Ray's ids of the nodes on which something is at work: less is free there than there is."""
    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {
        node["NodeID"]
        for node in found
        if any(free.get(node["NodeID"], {}).get(name, 0) < node["Resources"].get(name, 0) for name in _HANDED_OUT)
    }


def nodes() -> list[Node]:
    """Return Ray's nodes that live, and will for a while."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    going = nodes_to_go()
    return [
        Node(node["NodeID"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("memory", 0)))
        for node in found
        if node["Alive"] and node["NodeID"] not in going
    ]


def _fits(budget: Budget, there: Sequence[Node]) -> bool:
    """Whether reader and filter workers can be placed, the reader on the node with most room."""
    largest = max(there, key=lambda node: node.memory)
    room = 0
    for node in there:
        memory = node.memory - (budget.reader if node is largest else 0)
        room += min(node.cpus, memory // budget.filter_actor) if budget.filter_actor and memory > 0 else 0
    return room >= budget.filter_actors and budget.reader <= largest.memory

"""Keeps a run's workers at the number that its work is worth: asks Slurm for more, cancels those that wait, drains the idle.

    scaler = Scaler(run, settings, Shape.elastic("1:8"), head_job)
    while pending:
        ...
        for sentence in scaler.look(needs, ray.nodes(), busy):
            note(sentence)

`look` returns at once: what talks with Slurm and with Ray's head is a thread of its own, and one at a time. How many workers
there are is always Slurm's and Ray's own word, never a memory of what was asked for; so an answer that got lost does no harm.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from cluster import slurm
from cluster.errors import ClusterError
from cluster.jobs import JobSettings, Shape, worker_job
from cluster.names import TAKEN, WORKERS, job_name
from cluster.ray_node import drain
from cluster.run_folder import read_address
from cluster.scaling import BOOT_SECONDS, Need, Workers, next_step, useful_workers, worker_share
from cluster.share import Share

_HEAD_MARK = "node:__internal_head__"
"""A resource that Ray gives the head's node."""
_LONGEST_WAIT_SECONDS = 600.0


@dataclass
class _Done:
    """What a thread did."""

    said: list[str] = field(default_factory=list)
    asked: bool = False
    drained: set[str] = field(default_factory=set)


class Scaler:
    """Sees to the workers of the head that is job `head_job`; `run` is the run's folder.

    Slurm is asked every `period_seconds`. A node without tasks is let go after `idle_seconds`, when fewer are wanted.
    """

    def __init__(
        self,
        run: Path,
        settings: JobSettings,
        shape: Shape,
        head_job: int,
        *,
        period_seconds: float = 15.0,
        idle_seconds: float = 60.0,
        boot_seconds: float = BOOT_SECONDS,
    ) -> None:
        self._run, self._settings, self._shape, self._head_job = run, settings, shape, head_job
        self._period, self._idle_seconds, self._boot_seconds = period_seconds, idle_seconds, boot_seconds
        self._node: Share | None = None
        self._known: set[str] = set()
        self._idle_since: dict[str, float] = {}
        self._leaving: set[str] = set()
        self._thread: Thread | None = None
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._next_look = self._next_ask = 0.0
        self._wait = period_seconds
        self._trouble = ""

    def look(self, needs: Sequence[Need], nodes: Iterable[Mapping[str, Any]], busy: Collection[str]) -> list[str]:
        """Take note of how things stand, and return sentences about what was done since the last time.

        `needs` are those of all tasks that are not done, begun or not; `nodes` is what `ray.nodes()` returns; `busy` has
        the ids of the nodes that run a task or an actor. The head's node is never let go; one that holds the only copy of
        an object is, but Ray keeps it until nobody needs the object.
        """
        now = time.monotonic()
        said = self._collect(now)
        alive = {node["NodeID"]: node for node in nodes if node["Alive"]}
        workers = {name: node for name, node in alive.items() if _HEAD_MARK not in node["Resources"]}
        self._leaving &= workers.keys()
        joined = workers.keys() - self._leaving
        self._idle_since = {name: self._idle_since.get(name, now) for name in joined - set(busy)}
        if joined - self._known:
            # Slurm gives what is asked for.
            self._next_ask, self._wait = 0.0, self._period
            self._known |= joined
            self._node = _smallest(workers[name]["Resources"] for name in joined)
        if now >= self._next_look and (self._thread is None or not self._thread.is_alive()):
            self._next_look = now + self._period
            since = sorted((when, name) for name, when in self._idle_since.items() if now - when >= self._idle_seconds)
            idle = tuple(name for _, name in since)
            may_ask = now >= self._next_ask
            hosts = {name: workers[name]["NodeManagerHostname"] for name in joined}
            self._thread = Thread(
                target=self._step, args=(tuple(needs), hosts, idle, may_ask), name="scaler", daemon=True
            )
            self._thread.start()
        return said

    def _collect(self, now: float) -> list[str]:
        said: list[str] = []
        while True:
            try:
                done = self._done.get_nowait()
            except Empty:
                return said
            said += done.said
            self._leaving |= done.drained
            if done.asked:
                # Until a worker joins, each time twice as long: Slurm refuses, has none to give, or they do not start.
                self._next_ask = now + self._wait
                self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)

    def _step(self, needs: Sequence[Need], joined: Mapping[str, str], idle: Sequence[str], may_ask: bool) -> None:
        done = _Done()
        try:
            self._talk(done, needs, joined, idle, may_ask)
            self._trouble = ""
        except ClusterError as error:
            if str(error) != self._trouble:  # said once, not every time
                done.said.append(f"the workers stay as they are: {error}")
            self._trouble = str(error)
        finally:
            self._done.put(done)

    def _talk(
        self, done: _Done, needs: Sequence[Need], joined: Mapping[str, str], idle: Sequence[str], may_ask: bool
    ) -> None:
        node = self._node or worker_share(self._settings, slurm.partition(self._settings.partition))
        self._node = self._node or node
        name, taken = (job_name(self._settings.name, role, self._head_job) for role in (WORKERS, TAKEN))
        jobs = [job for job in slurm.jobs(names=[name, taken]) if not job.over and job.state != "COMPLETING"]
        there = [job for job in jobs if job.name == name]
        waiting = tuple(job.id for job in there if job.waits)
        # Nodes that are taken away drain themselves, and their jobs count no more.
        lost = {job.nodes for job in jobs if job.name == taken}
        staying = {node for node, host in joined.items() if host.partition(".")[0] not in lost}
        workers = Workers(
            waiting,
            len(there) - len(waiting),
            len(staying),
            len(self._leaving),
            tuple(each for each in idle if each in staying),
        )
        least, most = self._shape.least, self._shape.most
        wanted = useful_workers(needs, node, least, most, boot_seconds=self._boot_seconds)
        step = next_step(workers, wanted, most)
        if step.ask and may_ask:
            done.asked = True
            number = slurm.submit(worker_job(self._settings, self._run, self._head_job, step.ask))
            done.said.append(f"asked for {_workers(step.ask)} more (job {number}): {wanted} would be useful")
        if step.cancel:
            slurm.cancel(step.cancel)
            done.said.append(f"cancelled {_workers(len(step.cancel))} that waited: {wanted} would be useful")
        for name in step.drain:
            # Some time has passed; a look since then may have found a task on it.
            if name in self._idle_since and (head := read_address(self._run)):
                drain(head, name, "idle")
                done.drained.add(name)
                done.said.append(f"let go of an idle worker (node {name[:8]} of Ray): {wanted} would be useful")


def _smallest(nodes: Iterable[Mapping[str, float]]) -> Share:
    sizes = [(int(node.get("memory", 0)), int(node.get("CPU", 0))) for node in nodes]
    memory, cpus = min(sizes)
    return Share(cpus, memory, 0)


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"

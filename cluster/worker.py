"""The job of a worker: joins the head when it is there, and ends when it is drained or the run is over.

One whose node EC2 is about to take away is drained at once, and keeps the node from others until it is gone; meanwhile the
scaler asks for another.

python -P -m cluster.worker --run FOLDER --name NAME --head JOB
"""

import logging
import os
import signal
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from math import inf
from pathlib import Path
from threading import Event

from cluster import slurm
from cluster.entry import begin, here, options, queue_again
from cluster.errors import ClusterError, NotDrained, RayNotStarted
from cluster.holds import Holds
from cluster.leftovers import remove_leftovers
from cluster.names import TAKEN, job_name
from cluster.ray_logs import log_name
from cluster.ray_node import RayNode, address_here, ray_node, temp_folder, worker_options
from cluster.run_folder import read_address, said_again, unsay_again
from cluster.share import spill_folder
from cluster.spot import LATE_SECONDS, Notice, SpotWatch

_LOOK_SECONDS = 1.0
_HEAD_SECONDS = 15.0
_PATIENCE_SECONDS = 300.0
_TRIES = 5
_AGAIN_SECONDS = 5.0
_LEAVE_SECONDS = 15.0
"""What Ray's end and the last words take, or being queued again."""
_EARLY_SECONDS = 60.0
"""Slurm may send a signal so much earlier than it was told to (man sbatch, --signal)."""
log = logging.getLogger(__name__)


class HeadLost(Exception):
    """The head is gone, or is queued again; another may come."""


def main(words: Sequence[str]) -> int:
    """Be a node of the run's Ray, until it is drained (0) or there is no head to come (0).

    On SIGUSR1, which Slurm sends some time before the walltime, the node drains itself; if it is the walltime, the job is
    queued again, for the run may take longer. Raises `RayNotStarted` if it could
    not join a few times in a row.
    """
    arguments, _ = options(__doc__, words)
    node = here()
    warning = Event()
    signal.signal(signal.SIGUSR1, lambda *_: warning.set())
    watch = SpotWatch()
    failures, holds = 0, Holds()
    unsay_again(arguments.run, node.job)
    folders = temp_folder(arguments.temp, node.job), spill_folder(os.environ, arguments.scratch, node.job)
    remove_leftovers({each.parent for each in folders if each})
    while (head := _wait_for_head(arguments.run, arguments.head, holds)) is not None:
        address = address_here(node.address, head.rpartition(":")[0])
        start = worker_options(node.share, head=head, address=address)
        kept = arguments.run / log_name(arguments.name, os.environ)
        try:
            with ray_node(start, *folders, kept=kept) as ray:
                failures = 0
                log.info("joined %s as %s, %s", head, address, node.share)
                left = _serve(ray, head, arguments, node.job, holds, warning, watch)
        except HeadLost:
            log.warning("lost the head at %s", head)
        except RayNotStarted as error:
            # A head that died leaves its address behind until it is started again, perhaps on another node.
            failures += 1
            if failures >= _TRIES:
                raise
            log.warning("could not join (%d of %d times): %s", failures, _TRIES, error)
            time.sleep(_AGAIN_SECONDS)
        else:
            log.info("drained")
            if watch.notice and arguments.head != node.job:
                _keep_node(watch.notice, arguments, holds)
            elif arguments.head != node.job and left <= arguments.warning + _EARLY_SECONDS:
                # So that the run has its workers as long as it lasts.
                with _only_noted():
                    queue_again(arguments.run, node.job)
            return 0
    log.info("the run is over")
    return 0


def _serve(
    ray: RayNode, head: str, arguments: Namespace, job: int, holds: Holds, warning: Event, watch: SpotWatch
) -> float:
    """Return when the node is drained, and how many seconds this job had left when it was told to go.

    What still runs shortly before the walltime, or before EC2 takes the node, is lost with it: Ray then knows that the node
    was told to go, and the driver that it was not the work's fault. Raises `HeadLost` as soon as the head's job, or its Ray,
    is no more.
    """
    looked, left, end = time.monotonic(), inf, inf
    told = False
    while (code := ray.ended()) is None:
        if watch.notice:
            if not told:
                told = True
                _leave(ray, head, arguments, job, watch.notice)
            elif watch.notice.seconds_left() < _LEAVE_SECONDS:
                log.info("no time is left for what still runs here")
                return left
        if warning.is_set():
            warning.clear()
            log.info("told to go; draining")
            left = _time_left(job)
            seconds = None if left == inf else max(1, round(left - _LEAVE_SECONDS))
            end = inf if seconds is None else time.monotonic() + seconds + _LOOK_SECONDS
            try:
                ray.drain(head, "the job's walltime is near", seconds)
            except NotDrained as error:
                log.warning("%s", error)
        if time.monotonic() >= end:
            log.info("not drained in time")
            return left
        # Ray itself notices a minute after the head's death.
        if time.monotonic() - looked >= _HEAD_SECONDS:
            looked = time.monotonic()
            if _head_state(arguments.head, arguments.run, holds) is not Head.THERE:
                break
        time.sleep(_LOOK_SECONDS)
    if code != 0:
        ray.failed = True
        raise HeadLost
    return left


def _leave(ray: RayNode, head: str, arguments: Namespace, job: int, notice: Notice) -> None:
    """Drain the node in the time that it has, and count for nothing from now on, so that another is asked for."""
    seconds = notice.seconds_left()
    log.warning("EC2 will %s this node in %.0f s; draining", notice.action, seconds)
    if job != arguments.head:
        with _only_noted():
            slurm.write_off(job, job_name(arguments.name, TAKEN, arguments.head))
    with _only_noted():
        ray.drain(head, "spot notice", max(1, int(seconds - _LEAVE_SECONDS)))


@contextmanager
def _only_noted() -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        log.warning("%s", error)


def _keep_node(notice: Notice, arguments: Namespace, holds: Holds) -> None:
    """Hold the node until it is gone: given back, Slurm would begin another job on it, perhaps the one in this one's place."""
    while notice.seconds_late() < LATE_SECONDS and _head_state(arguments.head, arguments.run, holds) is not Head.OVER:
        time.sleep(_HEAD_SECONDS)


def _time_left(job: int) -> float:
    try:
        return slurm.time_left(job)
    except ClusterError as error:
        log.warning("the walltime is not known: %s", error)
        return inf


def _wait_for_head(run: Path, job: int, holds: Holds) -> str | None:
    """Return the head's address when there is one; None when its job is over, or waits for too long itself."""
    state, looked = _head_state(job, run, holds), time.monotonic()
    there = looked
    while state is not Head.OVER:
        if state is Head.THERE:
            there = time.monotonic()
        elif time.monotonic() - there >= _PATIENCE_SECONDS:  # it may be this very node that it waits for
            return None
        # One that waits has an address only of its last life.
        if state is Head.THERE and (address := read_address(run)):
            return address
        time.sleep(_LOOK_SECONDS)
        if time.monotonic() - looked >= (_HEAD_SECONDS if state is Head.THERE else _AGAIN_SECONDS):
            state, looked = _head_state(job, run, holds), time.monotonic()
    return None


class Head(Enum):
    """How the head's job stands."""

    THERE = auto()
    WAITS = auto()
    OVER = auto()


def _head_state(job: int, run: Path, holds: Holds) -> Head:
    """Ask Slurm for the head; the hold after its node died is lifted, since nobody else is there to do so.

    Where Slurm does not answer, the head is held to be there.
    """
    try:
        found = [head for head in slurm.jobs([job]) if not head.over]
        holds.look(found, said_again(run))
    except ClusterError as error:
        log.warning("nothing is known of the head: %s", error)
        return Head.THERE
    if not found:
        return Head.OVER
    return Head.WAITS if found[0].waits else Head.THERE


if __name__ == "__main__":
    begin(main)

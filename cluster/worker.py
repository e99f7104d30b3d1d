"""The job of a worker: joins the head when it is there, and ends when it is drained or the run is over.

One whose node EC2 is about to take away is drained at once, and keeps the node from others until it is gone; meanwhile the
scaler asks for another.

python -P -m cluster.worker --run FOLDER --name NAME --head JOB
"""

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from threading import Event

from cluster import slurm
from cluster.entry import begin, here, options
from cluster.errors import ClusterError, NotDrained, RayNotStarted
from cluster.names import TAKEN, job_name
from cluster.ray_logs import log_name
from cluster.ray_node import RayNode, address_here, ray_node, temp_folder, worker_options
from cluster.run_folder import read_address
from cluster.share import spill_folder
from cluster.spot import LATE_SECONDS, Notice, SpotWatch

_LOOK_SECONDS = 1.0
_HEAD_SECONDS = 15.0
_TRIES = 5
_AGAIN_SECONDS = 5.0
_LEAVE_SECONDS = 15.0
"""What Ray's end and the last words take."""
log = logging.getLogger(__name__)


class HeadLost(Exception):
    """The head is gone, or is queued again; another may come."""


def main(words: Sequence[str]) -> int:
    """Be a node of the run's Ray, until it is drained (0) or there is no head to come (0).

    On SIGUSR1, which Slurm sends some time before the walltime, the node drains itself. Raises `RayNotStarted` if it could
    not join a few times in a row.
    """
    arguments, _ = options(__doc__, words)
    node = here()
    warning = Event()
    signal.signal(signal.SIGUSR1, lambda *_: warning.set())
    watch = SpotWatch()
    failures = 0
    while (head := _wait_for_head(arguments.run, arguments.head)) is not None:
        folders = temp_folder(arguments.temp, node.job), spill_folder(os.environ, arguments.scratch, node.job)
        address = address_here(node.address, head.rpartition(":")[0])
        start = worker_options(node.share, head=head, address=address)
        kept = arguments.run / log_name(arguments.name, os.environ)
        try:
            with ray_node(start, *folders, kept=kept) as ray:
                failures = 0
                log.info("joined %s as %s, %s", head, address, node.share)
                _serve(ray, head, arguments.head, warning, watch, job_name(arguments.name, TAKEN, arguments.head))
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
                _keep_node(watch.notice, arguments.head)
            return 0
    log.info("the run is over")
    return 0


def _serve(ray: RayNode, head: str, job: int, warning: Event, watch: SpotWatch, taken: str) -> None:
    """Return when the node is drained, or has no time left. Raises `HeadLost` as soon as the head's job, or its Ray, is no more."""
    looked = time.monotonic()
    told = False
    while (code := ray.ended()) is None:
        if watch.notice:
            if not told:
                told = True
                _leave(ray, head, job, watch.notice, taken)
            elif watch.notice.seconds_left() < _LEAVE_SECONDS:
                log.info("no time is left for what still runs here")
                return
        if warning.is_set():
            warning.clear()
            log.info("told to go; draining")
            try:
                ray.drain(head, "the job's walltime is near")
            except NotDrained as error:
                log.warning("%s", error)
        # Ray itself notices a minute after the head's death.
        if time.monotonic() - looked >= _HEAD_SECONDS:
            looked = time.monotonic()
            if _head_state(job) is not Head.THERE:
                break
        time.sleep(_LOOK_SECONDS)
    if code != 0:
        ray.failed = True
        raise HeadLost


def _leave(ray: RayNode, head: str, job: int, notice: Notice, taken: str) -> None:
    """Drain the node in the time that it has, and count for nothing from now on, so that another is asked for."""
    seconds = notice.seconds_left()
    log.warning("EC2 will %s this node in %.0f s; draining", notice.action, seconds)
    own = int(os.environ["SLURM_JOB_ID"])
    if own != job:
        with _only_noted():
            slurm.write_off(own, taken)
    with _only_noted():
        ray.drain(head, "spot notice", max(1, int(seconds - _LEAVE_SECONDS)))


@contextmanager
def _only_noted() -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        log.warning("%s", error)


def _keep_node(notice: Notice, job: int) -> None:
    """Hold the node until it is gone: given back, Slurm would begin another job on it, perhaps the one in this one's place."""
    while notice.seconds_late() < LATE_SECONDS and _head_state(job) is not Head.OVER:
        time.sleep(_HEAD_SECONDS)


def _wait_for_head(run: Path, job: int) -> str | None:
    """Return the head's address when there is one; None when its job is over."""
    state, looked = _head_state(job), time.monotonic()
    while state is not Head.OVER:
        # One that waits has an address only of its last life.
        if state is Head.THERE and (address := read_address(run)):
            return address
        time.sleep(_LOOK_SECONDS)
        if time.monotonic() - looked >= (_HEAD_SECONDS if state is Head.THERE else _AGAIN_SECONDS):
            state, looked = _head_state(job), time.monotonic()
    return None


class Head(Enum):
    """How the head's job stands."""

    THERE = auto()
    WAITS = auto()
    OVER = auto()


def _head_state(job: int) -> Head:
    """Ask Slurm for the head; the hold after its node died is lifted, since nobody else is there to do so.

    Where Slurm does not answer, the head is held to be there.
    """
    try:
        found = [head for head in slurm.jobs([job]) if not head.over]
        for head in found:
            if head.in_hold_after_requeue:
                log.info("the head was queued again; its hold is lifted")
                slurm.lift_hold(head.id)
    except ClusterError as error:
        log.warning("nothing is known of the head: %s", error)
        return Head.THERE
    if not found:
        return Head.OVER
    return Head.WAITS if found[0].waits else Head.THERE


if __name__ == "__main__":
    begin(main)

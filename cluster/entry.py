"""What the programs in jobs have in common: their options, what they find out about the node, how they end."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cluster import node, slurm
from cluster.errors import ClusterError
from cluster.names import TAKEN, WORKERS, job_name
from cluster.run_folder import say_again, unsay_again
from cluster.share import MB, Share, divide, job_memory

_AGAIN_SECONDS = 2.0
_TERMINATED = 128 + signal.SIGTERM
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Here:
    """The node that a job is on, and what of it is the job's."""

    job: int
    address: str
    """Slurm's own for this node: an IP or a name."""
    share: Share


def options(description: str, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read a program's options, and the command that follows `--`."""
    own, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--name", required=True, help="the run's name")
    parser.add_argument("--head", type=int, help="the job of the head")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of this job, this one's among them")
    parser.add_argument("--temp", type=Path, default=Path("/tmp"), help="for Ray's temporary files")  # noqa: S108
    parser.add_argument("--warning", type=float, default=0.0, help="seconds before the walltime a worker is told to go")
    parser.add_argument("--scratch", type=Path, help="a local disk to spill to")
    return parser.parse_args(own), list(command)


def begin(program: Callable[[Sequence[str]], int]) -> None:
    """Run a program of a job and exit with its code; SIGTERM unwinds it as an exit does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _unwind)
    # Before a driver is there to be told, a warning of the walltime means nothing; by default it would be the end.
    signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        code = program(sys.argv[1:])
    except ClusterError as error:
        log.error("%s", error)  # noqa: TRY400  (the message is the whole truth)
        code = error.exit_code
    sys.exit(code)


def here(*, driver: bool = False) -> Here:
    """Find out about this node. Raises `ClusterError` if this is no job, or its share is too small."""
    environment = os.environ
    if not environment.get("SLURM_JOB_ID", "").isdigit():
        raise ClusterError("this is no job of Slurm's", hint="`raypipe submit` makes the jobs that run this")
    name = environment.get("SLURMD_NODENAME", "")
    facts = None
    with suppress(ClusterError):
        facts = slurm.node(name)
    cpus = node.usable_cpus()
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = min(job_memory(environment, facts, cpus=cpus, mem_total=total), node.usable_memory())
    # Another job on this node has an object store, too.
    of_node = min(1.0, memory / ((facts.memory_mb * MB if facts and facts.memory_mb else 0) or total))
    share = divide(memory, cpus=cpus, shared_memory=int(of_node * node.shared_memory()), driver=driver)
    return Here(int(environment["SLURM_JOB_ID"]), facts.address if facts else name, share)


def queue_again(run: Path, job: int, *, same_node: bool = True) -> NoReturn:
    """Have this job queued again, and wait for Slurm to end this life.

    Without `same_node` it gets another node, if there is one. Raises `ClusterError` if Slurm says no, a few times.
    """
    try:
        if same_node:
            say_again(run, job)
        for last in (False, False, True):
            try:
                slurm.requeue(job)
                break
            except ClusterError:
                if last:
                    raise
                time.sleep(_AGAIN_SECONDS)
    except ClusterError:
        unsay_again(run, job)
        raise
    log.info("this job is queued again and goes on where it was")
    while True:
        signal.pause()


def end_workers(run_name: str, head: int, seconds: float = 0.0) -> None:
    """Cancel the workers of a head, those that wait first, and give them `seconds` to be gone.

    What Slurm refuses meanwhile is noted, no more: workers also end by themselves when their head is gone.
    """
    end = time.monotonic() + seconds
    names = [job_name(run_name, role, head) for role in (WORKERS, TAKEN)]
    try:
        while workers := [job for job in slurm.jobs(names=names) if not job.over]:
            slurm.cancel([job.id for job in workers if job.waits])
            slurm.cancel([job.id for job in workers if not job.waits and job.state != "COMPLETING"])
            if time.monotonic() >= end:
                break
            time.sleep(1.0)
    except ClusterError as error:
        log.warning("the workers could not be cancelled: %s", error)


def _unwind(*_: int | FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; what unwinds must not be disturbed
    sys.exit(_TERMINATED)

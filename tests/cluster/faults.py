"""What can happen to a run on a cluster, each as a function that does it: tests and `bench.cluster` share them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster

Jobs = Mapping[str, int]
"""What Slurm calls a run's jobs: head, worker (an array), finish."""


@dataclass(frozen=True)
class Fault:
    """Something that happens to a run when its first session is some tiles on its way."""

    name: str
    strike: Callable[[SlurmCluster, Jobs], None]
    tiles: int = 8
    ends_the_run: bool = False
    """Somebody has to submit it again."""


def crash_a_worker(slurm: SlurmCluster, jobs: Jobs) -> None:
    slurm.crash(slurm.job(f"{jobs['worker']}_1")["NodeList"])


def requeue_a_worker(slurm: SlurmCluster, jobs: Jobs) -> None:
    slurm.run_on(HEAD, ["scontrol", "requeue", f"{jobs['worker']}_1"])


def cancel_a_worker(slurm: SlurmCluster, jobs: Jobs, number: int = 1) -> None:
    slurm.run_on(HEAD, ["scancel", f"{jobs['worker']}_{number}"])


def crash_the_head(slurm: SlurmCluster, jobs: Jobs) -> None:
    slurm.crash(slurm.job(jobs["head"])["NodeList"])


def cancel_the_head(slurm: SlurmCluster, jobs: Jobs) -> None:
    slurm.run_on(HEAD, ["scancel", str(jobs["head"])])


FAULTS = (
    Fault("a worker's node crashes", crash_a_worker),
    Fault("a worker's job is queued again", requeue_a_worker),
    Fault("a worker's job is cancelled", cancel_a_worker),
    Fault("the head's node crashes", crash_the_head),
    Fault("the head's job is cancelled, then submitted again", cancel_the_head, ends_the_run=True),
)
"""A line of `python -m bench.cluster --faults` each."""

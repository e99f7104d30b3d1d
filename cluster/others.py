"""Who else has jobs on this cluster: whoever stops its nodes ends them.

Several runs may end together, each with a last job that would stop the nodes. Of those that run, the one with the
highest number does: those below it wait until it has left (it takes the nodes with it, or found somebody and lets
them be), and it takes no notice of them. So never do two wait for each other, nor leave it to each other.
"""

import time
from collections.abc import Iterable

from cluster import slurm
from cluster.errors import SlurmMissing, SlurmRefused
from cluster.names import finalizes, part_of
from cluster.node_type import node_type
from cluster.slurm import Job

_PATIENCE_SECONDS = 600.0
_LOOK_SECONDS = 2.0
_TOLD = 5
_NO_CLUSTER = "establish a configuration source"
"""What Slurm's commands say on a machine that is part of no cluster."""
Owned = tuple[str, Job]
"""A user's name, and a job of theirs."""


def others(me: Job | None) -> list[Owned]:
    """Return the jobs that the end of the nodes would disturb, after those had time to leave that are about to.

    `me` is the last job of a run that asks; None is a person. None are found where there is no Slurm.
    Raises `SlurmMissing` (this is a node of a cluster, and its commands are not on PATH), `SlurmRefused`, `SlurmSilent`.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            staying, leaving = sort_out(slurm.everyones_jobs(), me)
        except (SlurmMissing, SlurmRefused) as error:
            if isinstance(error, SlurmRefused) and _NO_CLUSTER not in error.message:
                raise
            if node_type():
                raise SlurmMissing(
                    f"who else is at work on this cluster cannot be told: {error.message}",
                    hint="have Slurm's commands on PATH (ParallelCluster's are in /opt/slurm/bin), as a login shell has",
                ) from error
            return []
        if staying or not leaving or time.monotonic() > end:
            return staying or leaving
        time.sleep(_LOOK_SECONDS)


def sort_out(jobs: Iterable[Owned], me: Job | None) -> tuple[list[Owned], list[Owned]]:
    """Return the jobs that would be disturbed, and those that are to be waited for since they leave by themselves."""
    run = part_of(me.name, me.number).head if me else None
    staying: list[Owned] = []
    leaving: list[Owned] = []
    for user, job in jobs:
        is_last = me is not None and job.state == "RUNNING" and finalizes(job.name)
        if job.over or part_of(job.name, job.number).head == run:
            continue
        if job.state == "COMPLETING" or (me and is_last and job.number > me.number):
            leaving.append((user, job))
        elif not is_last:
            staying.append((user, job))
    return staying, leaving


def in_words(found: Iterable[Owned]) -> str:
    """Name jobs: `job 17 (sim) of anna, job 18 (sim) of anna`; elements of an array, and of many, only some."""
    told = list(dict.fromkeys(f"job {job.id.partition('_')[0]} ({job.name}) of {user}" for user, job in found))
    return ", ".join(told[:_TOLD]) + (f" and {len(told) - _TOLD} more" if len(told) > _TOLD else "")

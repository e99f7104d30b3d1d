"""Jobs whose node died begin again at once, and elsewhere: Slurm would wait two minutes, and then take any node.

Those two minutes are for the order to end the first life, which Slurm could not deliver: a node that boots meanwhile gets
it, and ends the second life if that was begun there. So the node is excluded for as long. Where nobody knows which it was,
Slurm's minutes are waited for, unless it can only have been one that never booted.
"""

import logging
import time
from collections.abc import Callable, Container, Iterable

from cluster import slurm
from cluster.reasons import never_booted
from cluster.slurm import Job

_DANGER_SECONDS = 150.0
"""Slurm's two minutes, and its time to look."""
log = logging.getLogger(__name__)


class Holds:
    """Remembers on which nodes jobs run, to know which one they lost; asks Slurm for nothing but what has to be done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[str, str] = {}
        self._before: dict[str, str] = {}
        """What was excluded when a job was first seen."""
        self._until: dict[str, float] = {}
        """When a job that waits may have any node again."""

    def look(self, jobs: Iterable[Job], in_order: Container[int] = ()) -> None:
        """See how jobs stand and lift their holds; those with an id in `in_order` had themselves queued again.

        Raises `ClusterError` and its kinds.
        """
        for job in jobs:
            before = self._before.setdefault(job.id, job.excluded)
            if not job.waits:
                self._nodes[job.id] = (
                    "" if job.state == "CONFIGURING" else job.nodes
                )  # on a node that boots nothing has begun
                self._until.pop(job.id, None)
            elif job.in_hold_after_requeue and job.number in in_order:
                self._lift(job)
            elif job.in_hold_after_requeue and (lost := self._nodes.get(job.id)):
                slurm.exclude(job.id, ",".join(filter(None, (before, lost))))
                self._lift(job)
            elif job.in_hold_after_requeue and (reasons := slurm.out_of_service().values()):
                if all(map(never_booted, reasons)):
                    self._lift(job)
            elif job.excluded and job.excluded != before:  # by us, or by another who looks
                until = self._until.setdefault(job.id, self._clock() + _DANGER_SECONDS)
                if self._clock() >= until:  # no other node is free, and by now this one is safe
                    slurm.exclude(job.id, before)

    def _lift(self, job: Job) -> None:
        log.info("%s was queued again; its hold is lifted", job.id)
        slurm.lift_hold(job.id)

"""What jobs left on this node's disk that were killed before they could tidy up."""

import logging
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cluster import slurm
from cluster.errors import ClusterError

_OF_A_JOB = re.compile(r"(?:rp|raypipe-spill)-([0-9]+)")
log = logging.getLogger(__name__)


def remove_leftovers(folders: Iterable[Path]) -> list[Path]:
    """Remove from these `folders` what is this user's and of jobs that Slurm says are over, or has forgotten; return it.

    Where Slurm does not answer, all of it stays.
    """
    found: dict[Path, int] = {}
    for folder in folders:
        with suppress(OSError):
            for path in folder.iterdir():
                name = _OF_A_JOB.fullmatch(path.name)
                if name and path.lstat().st_uid == os.getuid():
                    found[path] = int(name[1])
    if not found:
        return []
    try:
        alive = {job.number for job in slurm.jobs(sorted(set(found.values())))}
    except ClusterError as error:
        log.warning("what killed jobs left on this node stays: %s", error.message)
        return []
    left = [path for path, job in found.items() if job not in alive]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
        log.info("removed %s, left by a job that is over", path)
    return left

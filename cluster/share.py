"""What Slurm gave a job on this node, and how Ray divides it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import NodeTooSmall
from cluster.slurm import Node

MB = 1 << 20
RAY_SERVICES_MB = 700
"""Ray's own processes on a node, with room."""
DRIVER_MB = 500
"""The driver, which is beside the head's."""
_STORE_OF_MEMORY = 0.2
_STORE_OF_SHM = 0.9
_SMALLEST_STORE = 80 * MB
_SMALLEST_TASK = 100 * MB
_FIRST_PORT, _PORTS = 20_000, 10_000


@dataclass(frozen=True)
class Share:
    """What Ray hands out on a node: CPUs, bytes of memory for tasks, bytes of object store."""

    cpus: int
    memory: int
    object_store: int


def port_of(job: int) -> int:
    """Return the port of a job's head: in 20000 to 29999, another one for each of ten thousand jobs in a row."""
    return _FIRST_PORT + job % _PORTS


def job_memory(environment: Mapping[str, str], node: Node | None, *, cpus: int, mem_total: int) -> int:
    """Return the bytes of memory that a job with `cpus` CPUs may use on its node, from what Slurm said about it.

    `SLURM_MEM_PER_NODE`, else `SLURM_MEM_PER_CPU`; where memory is not scheduled, the part of the node's RealMemory (or
    of `mem_total`, the machine's bytes) that goes with the CPUs, so that two jobs on a node do not both take all of it.
    """
    if per_node := _number(environment, "SLURM_MEM_PER_NODE"):
        return min(per_node * MB, mem_total)
    if per_cpu := _number(environment, "SLURM_MEM_PER_CPU"):
        return min(per_cpu * cpus * MB, mem_total)
    if node is None:
        return mem_total
    real = min(node.memory_mb * MB, mem_total) if node.memory_mb else mem_total
    return real * min(cpus, node.cpus) // node.cpus


def divide(memory: int, *, cpus: int, shared_memory: int, driver: bool = False) -> Share:
    """Divide a job's `memory` (bytes) between Ray's processes, the object store and tasks.

    The store is a fifth, as far as `shared_memory` (bytes free in /dev/shm) and one small task let it be. With `driver`, one runs on this node.
    Raises `NodeTooSmall` with both numbers.
    """
    services = (RAY_SERVICES_MB + (DRIVER_MB if driver else 0)) * MB
    least = services + _SMALLEST_STORE + _SMALLEST_TASK
    if memory < least:
        raise NodeTooSmall(
            f"the job has {memory // MB} MB on this node, and Ray with one small task needs {least // MB} MB or more",
            hint="give the job more memory, or more CPUs where memory goes with them",
        )
    store = int(min(_STORE_OF_MEMORY * memory, _STORE_OF_SHM * shared_memory, memory - services - _SMALLEST_TASK))
    store = max(_SMALLEST_STORE, store)
    return Share(cpus, memory - store - services, store)


def spill_folder(environment: Mapping[str, str], given: Path | None, job: int) -> Path | None:
    """Return the job's own folder on a local disk: of the one given, else of Slurm's for this job, else of `TMPDIR`.

    The first that can be written to; None where there is none.
    """
    candidates = [given, *(Path(environment[name]) for name in ("SLURM_TMPDIR", "TMPDIR") if environment.get(name))]
    writable = (path for path in candidates if path is not None and os.access(path, os.W_OK | os.X_OK))
    return next((path / f"raypipe-spill-{job}" for path in writable), None)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0  # --mem=0 means all there is

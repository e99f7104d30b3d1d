"""Whether the nodes of a partition hold the tasks of a plan: what is too large is said before nodes are paid for."""

import re
from collections.abc import Iterable

from cluster.jobs import JobSettings
from cluster.share import MB, divide, job_memory
from cluster.slurm import Node, NodeSize
from raypipe.errors import TooLittleMemory
from raypipe.memory import in_gb
from raypipe.plan import Plan
from raypipe.recording import ranges
from raypipe.tasks import Task


def too_large(plans: Iterable[Plan], room: int) -> list[str]:
    """Say which tasks need more than the `room` (bytes) that a worker has for tasks, a line for each stage of a day.

    Raises `TooLittleMemory` if no task is left.
    """
    notes: list[str] = []
    others = 0
    for plan in plans:
        large: dict[str, list[Task]] = {}
        for task in plan.todo:
            if task.memory > room:
                large.setdefault(task.stage.name, []).append(task)
            else:
                others += 1
        for stage, tasks in large.items():
            channels = {task.channel.number for task in tasks if task.channel}
            sessions = sorted({task.session.name for task in tasks})
            most = in_gb(max(task.memory for task in tasks))
            notes.append(
                f"{plan.day.title}: {stage} of {f'channels {ranges(channels)}' if channels else ', '.join(sessions)} will be "
                f"refused: it needs {most}, and a worker has {in_gb(room)} for tasks"
            )
    if notes and not others:
        raise TooLittleMemory(notes[0], hint="choose a partition with larger nodes: --partition; `sinfo` lists them")
    return notes


def task_memory(settings: JobSettings, sizes: Iterable[NodeSize]) -> int | None:
    """Return the bytes that a worker has for tasks on the largest of the nodes that it may get; None if nobody knows.

    Raises `NodeTooSmall` if that does not hold Ray.
    """
    most: int | None = None
    for size in _allowed(settings.constraint, sizes):
        told = {"SLURM_MEM_PER_NODE": str(settings.memory_mb)} if settings.memory_mb else {}
        if size.memory_mb is None and not told:
            continue
        cpus = size.cpus if settings.exclusive else min(settings.cpus or 1, size.cpus)
        node = Node("", "", size.cpus, size.memory_mb, size.state, "")
        whole = (size.memory_mb or settings.memory_mb or 0) * MB
        memory = job_memory(told, node, cpus=cpus, mem_total=whole)
        most = max(most or 0, memory)
    if most is None:
        return None
    return divide(most, cpus=1, shared_memory=most // 2).memory  # Linux gives /dev/shm half of the memory


def _allowed(constraint: str | None, sizes: Iterable[NodeSize]) -> list[NodeSize]:
    """Return the nodes that have the features; where a constraint says more than "all of these", all nodes."""
    wanted = set((constraint or "").split("&")) - {""}
    if any(re.search(r"[^A-Za-z0-9_.-]", feature) for feature in wanted):
        return list(sizes)
    return [size for size in sizes if wanted <= size.features]

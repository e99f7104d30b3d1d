"""What this node lets us use: CPUs and bytes of memory, whoever set the limit (cgroup, affinity, Slurm)."""

import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """Return how many CPUs this process may run on: the smallest of affinity, cgroup quota and Slurm's allotment."""
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    limits += _slurm_number("SLURM_CPUS_ON_NODE")
    for folder in _own_cgroups("cpu"):
        quota, period = _cpu_quota(folder)
        if quota > 0 and period > 0:
            limits.append(max(1, quota // period))
    return max(1, min(limits))


def usable_memory() -> int:
    """Return the bytes of memory this process may use: the smallest of physical memory, cgroup limit and Slurm's."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += [megabytes << 20 for megabytes in _slurm_number("SLURM_MEM_PER_NODE")]
    for folder in _own_cgroups("memory"):
        limits += _numbers(folder / "memory.max") + _numbers(folder / "memory.limit_in_bytes")
    return min(limit for limit in limits if limit > 0)


def job_cgroup() -> Path | None:
    """Return the folder of the cgroup that holds this process to the memory it may use; None where none does."""
    least = usable_memory()
    for folder in _own_cgroups("memory"):
        if least in (*_numbers(folder / "memory.max"), *_numbers(folder / "memory.limit_in_bytes")):
            return folder
    return None


def shared_memory() -> int:
    """Return the bytes free in `/dev/shm`, where an object store lives (0 where there is no such place)."""
    try:
        room = os.statvfs("/dev/shm")  # noqa: S108 (asked about, not written to)
    except OSError:
        return 0
    return room.f_bavail * room.f_frsize


def _own_cgroups(controller: str) -> list[Path]:
    """List the cgroup folders, own one first, that can limit this process (version 1 or 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUP_V2 / controller if controllers else _CGROUP_V2
        own = root / name.lstrip("/")
        folders += [folder for folder in (own, *own.parents) if folder == root or root in folder.parents]
    return folders


def _cpu_quota(folder: Path) -> tuple[int, int]:
    """Return (quota, period) in microseconds; (0, 0) where there is none."""
    if both := _numbers(folder / "cpu.max"):
        return (both[0], both[1]) if len(both) == 2 else (0, 0)
    quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
    return (quota[0], period[0]) if quota and period else (0, 0)


def _numbers(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text().split() if word.isdigit()]
    except OSError:
        return []


def _slurm_number(name: str) -> list[int]:
    value = os.environ.get(name, "")
    return [int(value)] if value.isdigit() and int(value) > 0 else []

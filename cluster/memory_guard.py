"""Ends the largest of Ray's workers before the job's memory is full.

Ray's own monitor looks at the machine, or the container it is in, and a job is neither. Slurm's way is worse than a worker
lost: where a cgroup holds the job, the kernel kills a worker and Slurm then calls the whole job out of memory, whatever its
exit code; where none does, Slurm ends the job with all in it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from cluster.node import job_cgroup, usable_memory

_FULL = 0.95
"""As Ray's own monitor."""
_FASTEST = 4 << 30
"""Bytes a second: nothing fills memory faster."""
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.01, 0.25
_END_SECONDS = 2.0
_FIRST_TO_GO = 1000
"""The kernel's word for what may be killed first (`oom_score_adj`): Ray gives it to its workers, and to nothing else."""
log = logging.getLogger(__name__)


@contextmanager
def memory_guarded(limit: int | None = None) -> Iterator[None]:
    """Hold what this process began to `limit` bytes, the job's own if not given, by ending workers of Ray.

    A job that has all of the machine is left to Ray.
    """
    of_job = usable_memory()
    if limit is None and of_job >= psutil.virtual_memory().total:
        yield
        return
    cgroup = job_cgroup() if limit is None else None
    over = Event()
    guard = Thread(target=_watch, args=(limit or of_job, cgroup, over), daemon=True, name="memory guard")
    guard.start()
    try:
        yield
    finally:
        over.set()
        guard.join()


def _watch(limit: int, cgroup: Path | None, over: Event) -> None:
    def used() -> int:
        with suppress(OSError, KeyError):  # of a kernel that says it otherwise
            if cgroup:
                return held_by_cgroup(cgroup)
        return held_by_processes()

    shortest = _SHORTEST_SECONDS if cgroup else _LONGEST_SECONDS
    seconds = 0.0
    while not over.wait(seconds):
        room = int(_FULL * limit) - used()
        if room < 0 and (worker := _largest_worker()):
            log.warning(
                "%d of the job's %d MB are in use: the largest worker, %d, is ended", *_mb(limit, room), worker.pid
            )
            with suppress(psutil.Error):
                worker.kill()
            psutil.wait_procs([worker], timeout=_END_SECONDS)
        # Not before it could be full.
        seconds = min(max(room / _FASTEST, shortest), _LONGEST_SECONDS)


def held_by_cgroup(folder: Path) -> int:
    """Return the bytes that a cgroup cannot let go of: those of processes, and shared memory; no files."""
    words = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    numbers = {word[0]: int(word[1]) for word in words}
    if "total_rss" in numbers:
        return numbers["total_rss"] + numbers.get("total_shmem", 0)
    return numbers["anon"] + numbers["shmem"]


def held_by_processes() -> int:
    """Return the bytes that this process and those below it hold; what is shared counts once, as the most that one has."""
    own, shared = 0, 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.Error):
            memory = process.memory_info()
            own += memory.rss - memory.shared
            shared = max(shared, memory.shared)
    return own + shared


def _largest_worker() -> psutil.Process | None:
    sizes: dict[psutil.Process, int] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error, OSError):
            if int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) == _FIRST_TO_GO:
                memory = process.memory_info()
                sizes[process] = memory.rss - memory.shared
    return max(sizes, key=sizes.__getitem__, default=None)


def _mb(limit: int, room: int) -> tuple[int, int]:
    return (int(_FULL * limit) - room) >> 20, limit >> 20

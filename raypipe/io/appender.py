"""Appends to files in large aligned writes, past the page cache where the file system allows, while the caller goes on.

Of the gigabytes that a run writes nobody reads most again soon, and filling the page cache with them takes more CPU time
than filtering does.
"""

import errno
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from raypipe.io.publish import write_at

STAGE_BYTES = 512 << 10
"""What is collected for one write: smaller ones leave the disk waiting."""
SPARE_STAGES = 24
"""Stages that may wait to be written; when all do, the caller waits."""

_PAGE_BYTES = 4096
_WRITE_BACK_BYTES = 4 << 20


class WriteBehind:
    """Threads that write full stages of many files, and the spare stages that are filled meanwhile."""

    def __init__(self, *, threads: int = 2) -> None:
        self._spares: SimpleQueue[mmap.mmap] = SimpleQueue()
        for _ in range(SPARE_STAGES):
            self._spares.put(_new_stage())
        self._threads = ThreadPoolExecutor(threads, "write-behind")

    def swap(self, stage: mmap.mmap, write: Callable[[mmap.mmap], None]) -> tuple[mmap.mmap, Future[None]]:
        """Have `write(stage)` done soon; return an empty stage, and what tells how it went."""

        def write_and_spare() -> None:
            try:
                write(stage)
            finally:
                self._spares.put(stage)

        return self._spares.get(), self._threads.submit(write_and_spare)


class Appender:
    """Writes what is appended to `descriptor` (of the file `path`) from `offset` on.

    Everything has been given to the kernel after `flush`; to have it on the disk, sync the descriptor. Every method
    raises OSError when the disk refuses, if not for this call's bytes then for earlier ones.
    """

    def __init__(self, path: Path, descriptor: int, offset: int, behind: WriteBehind) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._behind = behind
        self._direct = _open_direct(path) if offset % _PAGE_BYTES == 0 else -1
        self._stage = _new_stage()
        self._filled = 0
        self._under_way: list[Future[None]] = []

    def append(self, content: memoryview) -> None:
        """Take the next bytes."""
        while content:
            taken = content[: STAGE_BYTES - self._filled]
            self._stage[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            content = content[len(taken) :]
            if self._filled == STAGE_BYTES:
                self._pass_on()

    def flush(self) -> None:
        """Write what was not yet enough for a write; the last thing before `close`."""
        for written in self._under_way:
            written.result()
        write_at(self._descriptor, memoryview(self._stage)[: self._filled], self._offset)
        self._filled = 0

    def close(self) -> None:
        """Wait for what is under way, and give up the way past the page cache; may be called again."""
        wait(self._under_way)  # a descriptor that is closed too early may be another file's
        if self._direct >= 0:
            os.close(self._direct)
            self._direct = -1

    def _pass_on(self) -> None:
        for written in [each for each in self._under_way if each.done()]:
            written.result()
            self._under_way.remove(written)
        offset = self._offset
        self._stage, written = self._behind.swap(self._stage, lambda stage: self._write(stage, offset))
        self._under_way.append(written)
        self._offset += STAGE_BYTES
        self._filled = 0

    def _write(self, stage: mmap.mmap, offset: int) -> None:
        if self._direct >= 0 and _write_direct(self._direct, stage, offset):
            return
        write_at(self._descriptor, memoryview(stage), offset)
        if offset % _WRITE_BACK_BYTES < STAGE_BYTES:
            # Have the disk work while the filters do, and drop what it has done with.
            with suppress(OSError):
                os.posix_fadvise(self._descriptor, 0, offset, os.POSIX_FADV_DONTNEED)


def _new_stage() -> mmap.mmap:
    return mmap.mmap(-1, STAGE_BYTES)  # begins at a page, as direct writes demand; takes memory as it fills


def _open_direct(path: Path) -> int:
    """Open a file for writes past the page cache; -1 where the system or the file system has none."""
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except (AttributeError, OSError):
        return -1


def _write_direct(descriptor: int, stage: mmap.mmap, offset: int) -> bool:
    """Write a stage past the page cache; false where the file system wants another alignment."""
    try:
        return os.pwrite(descriptor, stage, offset) == STAGE_BYTES
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise

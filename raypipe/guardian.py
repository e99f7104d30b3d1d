"""Ends what is left of an embedded Ray when its driver is gone, however it went, and removes its folder.

Ray's own processes end with a driver that ends by itself; of one that was killed, agents live on for minutes and the
folder for ever. The guardian is a process of its own: it notes Ray's processes now and then, and acts when the driver
says so or is gone. A process is Ray's if one of its options names the run's folder, or if it descends from such a one;
whatever else the driver started (a notebook starts many things) is none of the guardian's business.
"""

import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_LOOK_SECONDS = 2.0
_GRACE_SECONDS = 0.5
_DEATH_SECONDS = 5.0
_POLL_SECONDS = 0.02
_CLOCK_SECONDS = 2.0
"""By how much two readings of a start may differ: it is counted from the boot, whose time is only known to a second."""


@contextmanager
def guarded(folder: Path) -> Iterator[Path]:
    """Give `folder`, and have a guardian watch this process: when the block ends, or this process dies, it goes."""
    driver = psutil.Process()
    try:
        guardian = subprocess.Popen(
            # -P: the modules beside this file (code, io) must not stand in for Python's own
            [sys.executable, "-P", __file__, str(folder), str(driver.pid), repr(driver.create_time())],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal is for the driver
        )
        try:
            yield folder
        finally:
            guardian.communicate(b"over")  # closing would not do: a process forked from this one may hold the pipe too
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # in case that the guardian itself was killed


def watch(folder: Path, pid: int, started: float) -> None:
    """Note what Ray the driver has until it says "over" or is gone; then end that, and remove `folder`.

    The driver is told by its number and its start: once it is gone, its number may be another's.
    """
    family: set[psutil.Process] = set()
    while _lives(pid, started):
        with suppress(psutil.NoSuchProcess):
            family |= _rays(psutil.Process(pid).children(), folder)
        if select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            break
    # All processes now: what lost its parent since the last look is nobody's child any more.
    family |= _rays(psutil.process_iter(), folder)
    for process in (left := _wait(family, _GRACE_SECONDS)):
        with suppress(psutil.Error):
            process.kill()
    _wait(left, _DEATH_SECONDS)  # or they would still write into the folder
    shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return _runs(process) and abs(float(process.create_time()) - started) < _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process) -> bool:
    # One whose number was given away is not running: psutil tells it by its start. A zombie only waits for its parent.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for `processes` to end, and return those that have not."""
    end = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return left


def _rays(processes: Iterable[psutil.Process], folder: Path) -> set[psutil.Process]:
    """Return those of `processes` that are Ray's (`--session-dir=FOLDER/...`, `--temp-dir=FOLDER`), and their heirs."""
    found: set[psutil.Process] = set()
    for process in processes:
        with suppress(psutil.Error):
            if any(f"={folder}" in word for word in process.cmdline()):
                found |= {process, *process.children(recursive=True)}
    return found


if __name__ == "__main__":
    watch(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

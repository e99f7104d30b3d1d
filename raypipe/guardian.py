"""Ends what is left of an embedded Ray when its driver is gone, however it went, and removes its folder.

Ray's own processes end with a driver that ends by itself; of one that was killed, agents live on for minutes and the
folder for ever. The guardian is a process of its own: it notes the driver's family now and then, and acts when the
driver's end of a pipe closes.
"""

import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_LOOK_SECONDS = 2.0
_GRACE_SECONDS = 0.5


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Have a guardian watch this process; when the block ends, or this process dies, `folder` goes."""
    guardian = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for the driver
    )
    try:
        yield
    finally:
        assert guardian.stdin
        guardian.stdin.close()
        guardian.wait()


def watch(driver: psutil.Process, folder: Path) -> None:
    """Note the family of `driver` until standard input closes; then end it and remove `folder`."""
    family: set[psutil.Process] = set()
    own = psutil.Process()
    while True:
        try:
            family.update(driver.children(recursive=True))
        except psutil.NoSuchProcess:
            break
        if select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            break
    family.discard(own)
    # A process that was never Ray's is not in the family; one whose number was given away is told apart by its start.
    _, alive = psutil.wait_procs([process for process in family if process.is_running()], timeout=_GRACE_SECONDS)
    for process in alive:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch(psutil.Process(psutil.Process().ppid()), Path(sys.argv[1]))

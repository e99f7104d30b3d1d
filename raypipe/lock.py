"""One run a day at a time: a file lock that the kernel drops when its owner dies, however it dies."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import filelock
import msgspec

from raypipe.errors import Locked, NotWritable

FILE_NAME = "lock"
SHARED_MODE = 0o664
"""Rights of what everybody who works on a day writes to: lab mates share a group, and the next run may be theirs."""


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lock: for the message only, the lock itself is the kernel's."""

    pid: int
    host: str
    since: str


@contextmanager
def day_lock(state: Path) -> Iterator[None]:
    """Hold the lock of the day whose state folder is `state`.

    Raises `Locked` with pid, host and age of the owner, `NotWritable` where no lock can be made.
    """
    lock = filelock.FileLock(state / FILE_NAME, timeout=0, mode=SHARED_MODE)
    owner_file = state / "lock.json"
    owner = Owner(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        lock.acquire()
        owner_file.unlink(missing_ok=True)  # another user's, who was killed: only the folder must let us
        owner_file.write_bytes(msgspec.json.encode(owner))
    except filelock.Timeout:
        raise Locked(
            f"another run works on {state.parent}{_describe(owner_file)}",
            hint="wait for it, or end it; the lock goes by itself when its process ends",
        ) from None
    except OSError as error:
        lock.release()
        raise NotWritable(
            f"{state.parent} cannot be locked: {error.strerror or error}",
            hint=f"see that your group may write to {state} (`chmod -R g+w`), or write elsewhere with --output DIR",
        ) from error
    try:
        yield
    finally:
        owner_file.unlink(missing_ok=True)
        lock.release()


def share(file: Path | int) -> None:
    """Let lab mates write to `file`, a path or a descriptor; where rights cannot be set, they stay as they are."""
    with suppress(OSError):
        os.chmod(file, SHARED_MODE)  # noqa: PTH101  (a descriptor is no path)


def _describe(owner_file: Path) -> str:
    try:
        owner = msgspec.json.decode(owner_file.read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return ""
    minutes = (datetime.now(UTC) - datetime.fromisoformat(owner.since)).total_seconds() / 60
    return f": process {owner.pid} on {owner.host}, for {minutes:.0f} min"

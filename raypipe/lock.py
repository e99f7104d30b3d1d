"""One run a day at a time: a file lock that the kernel drops when its owner dies, however it dies."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock
import msgspec

from raypipe.errors import Locked


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lock: for the message only, the lock itself is the kernel's."""

    pid: int
    host: str
    since: str


@contextmanager
def day_lock(state: Path) -> Iterator[None]:
    """Hold the lock of the day whose state folder is `state`. Raises `Locked` with pid, host and age of the owner."""
    lock = filelock.FileLock(state / "lock", timeout=0)
    owner_file = state / "lock.json"
    try:
        lock.acquire()
    except filelock.Timeout:
        raise Locked(
            f"another run works on {state.parent}{_describe(owner_file)}",
            hint="wait for it, or end it; the lock goes by itself when its process ends",
        ) from None
    try:
        owner = Owner(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"))
        owner_file.write_bytes(msgspec.json.encode(owner))
        yield
    finally:
        owner_file.unlink(missing_ok=True)
        lock.release()


def _describe(owner_file: Path) -> str:
    try:
        owner = msgspec.json.decode(owner_file.read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return ""
    minutes = (datetime.now(UTC) - datetime.fromisoformat(owner.since)).total_seconds() / 60
    return f": process {owner.pid} on {owner.host}, for {minutes:.0f} min"

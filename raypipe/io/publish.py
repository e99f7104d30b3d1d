"""A file appears under its name only when it is whole and on the disk."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raypipe.errors import WriteFailed


def temporary_name(path: Path, token: str = "") -> Path:
    """Give the name under which `path` grows, in its folder: `.{name}.{token}.tmp` (a random token by default)."""
    return path.with_name(f".{path.name}.{token or secrets.token_hex(4)}.tmp")


def write_whole(path: Path, content: bytes, *, token: str = "") -> None:
    """Write `content` as `path`: all of it or nothing, and on the disk when this returns.

    Raises WriteFailed, with the temporary file removed.
    """
    temporary = write_unnamed(path, content, token=token)
    with _removed_on_failure(temporary, path):
        rename_synced(temporary, path)


def write_unnamed(path: Path, content: bytes, *, token: str = "") -> Path:
    """Write what is to become `path` under its temporary name, on the disk when this returns; return that name.

    Raises WriteFailed, with the temporary file removed.
    """
    temporary = temporary_name(path, token)
    with _removed_on_failure(temporary, path):
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            write_at(descriptor, content, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return temporary


def write_at(descriptor: int, content: bytes | memoryview, offset: int) -> None:
    """Write all of `content` at `offset`; one `pwrite` may write less than it is given (2 GB is its limit)."""
    rest = memoryview(content).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def rename_synced(temporary: Path, path: Path) -> None:
    """Give a synced file its final name, and sync the folder, so that the name survives a power cut too."""
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_failed(error: OSError, path: Path) -> WriteFailed:
    """Make the error that says why the operating system would not write `path`, and what mends that."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return WriteFailed(f"{path} could not be written: {reason}", hint=_HINTS.get(error.errno or 0, _ANY_HINT))


@contextmanager
def _removed_on_failure(temporary: Path, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise write_failed(error, path) from error


_ANY_HINT = "see that the folder exists and can be written to, then run again: what is done stays done"
_HINTS = {
    errno.ENOSPC: "the disk is full; make room, then run again: what is done stays done",
    errno.EDQUOT: "the quota is used up; make room, then run again: what is done stays done",
    errno.EROFS: "the disk is mounted read-only; mount it writable, or give another output folder",
    errno.EACCES: "this user may not write there; change the rights, or give another output folder",
    errno.EIO: "the disk reports a hardware error; look at `dmesg`, and copy the data to another disk",
}

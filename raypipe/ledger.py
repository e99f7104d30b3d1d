"""What made each output: one JSON line per finished file, so that a later run knows what is done and why.

The driver alone appends to it: first the file is synced under a temporary name, then its line, then it is renamed. So
a file under its final name always has its line, and a crash in between only costs that file's time.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from raypipe.errors import NotWritable
from raypipe.io.publish import write_whole
from raypipe.lock import share

FILE_NAME = "ledger.jsonl"


class Entry(msgspec.Struct, frozen=True):
    """One finished output."""

    output: str
    """Path relative to the day."""
    stage: str
    session: str
    channel: int | None
    key: dict[str, str]
    """What decides whether the file is up to date: inputs, parameters, code; each by its name."""
    size: int
    mtime_ns: int
    made_at: str
    """UTC, ISO 8601."""
    run: str
    version: str
    checksum: str = ""
    """Of its bytes, see `io.checksum`; empty in what earlier versions wrote."""


def read_ledger(state: Path) -> list[Entry]:
    """Return all entries, oldest first; none where there is no ledger.

    An output may have several: an entry is written just before its file gets its final name, so after a crash between
    the two the file that is there is told of by an earlier entry. Size and time of change say which.
    """
    try:
        lines = (state / FILE_NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    decode = msgspec.json.Decoder(Entry).decode
    entries: list[Entry] = []
    for line in lines:
        try:
            entries.append(decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return entries


def append_entries(state: Path, entries: Iterable[Entry]) -> None:
    """Append `entries` and sync them to the disk."""
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
    with (state / FILE_NAME).open("ab+") as file:
        if not file.tell():
            share(file.fileno())
        # A line cut off by a crash must not swallow the next one.
        elif os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            lines = b"\n" + lines
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def forget(state: Path, outputs: Iterable[str]) -> None:
    """Rewrite the ledger without `outputs` (which were deleted): the old one or the new one is there, never less.

    Raises `WriteFailed`.
    """
    gone = set(outputs)
    kept = [entry for entry in read_ledger(state) if entry.output not in gone]
    write_whole(state / FILE_NAME, b"".join(msgspec.json.encode(entry) + b"\n" for entry in kept))
    share(state / FILE_NAME)


def prepare_state(state: Path) -> None:
    """Make the state folder and see that it can be written to. Raises `NotWritable`."""
    probe = state / f".probe.{os.getpid()}"
    try:
        state.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NotWritable(
            f"{state.parent} cannot be written to: {error.strerror}",
            hint="write elsewhere with --output DIR, which leaves the recording's folder untouched",
        ) from None

"""Reads all that raypipe made of days again, from the disk, and tells what is not as it was written.

What somebody edited on purpose (spikes, by hand) is told apart: it is kept as it is, in a run as here, and is not wrong
unless it is empty or no file of its kind any more. Nothing is written and nothing locked: what a run at work replaces
meanwhile may be told as changed or missing.
"""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Literal

import msgspec

from raypipe.day import Day
from raypipe.errors import Refused
from raypipe.io.checksum import is_known, made_again
from raypipe.ledger import Entry, read_ledger
from raypipe.memory import in_gb
from raypipe.status import is_of_its_kind

Kind = Literal["missing", "unreadable", "rotten", "damaged", "changed"]

_THREADS = 4
"""Files that are read at once: a disk in a network is faster when it is asked for several things."""
_HINTS: dict[Kind, str] = {
    "missing": "`raypipe run` makes again what is missing; what you removed on purpose is forgotten with"
    " `raypipe clean DAY --only STAGE`, which removes the stage's other files as well",
    "unreadable": "see that you may read it; if the disk reports errors (`dmesg`), copy the day to another disk",
    "rotten": "nobody wrote to it, so look at the disk (`dmesg`). Restore it from a copy, or have it made again:"
    " remove the file, then `raypipe run`. A raw copy whose .ns5 is gone is the recording: do not remove it",
    "damaged": "restore it from a copy, or have it made again: remove it, then `raypipe run`",
}


@dataclass(frozen=True)
class Fault:
    """An output that is not as it was written."""

    output: str
    """Path relative to the day; of several days, with subject and day."""
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.output}: {self.text}"


@dataclass(frozen=True)
class Verified:
    """What became of outputs."""

    outputs: int
    """How many were read again."""
    bytes: int
    """Of those."""
    faults: tuple[Fault, ...]
    unsummed: int
    """How many the ledger has no checksum of (earlier versions wrote none): their size and time are as recorded."""

    @property
    def wrong(self) -> tuple[str, ...]:
        """A line for each output that is not as it should be."""
        return tuple(str(fault) for fault in self.faults if fault.kind != "changed")

    @property
    def changed(self) -> tuple[str, ...]:
        """A line for each output that somebody edited since."""
        return tuple(str(fault) for fault in self.faults if fault.kind == "changed")


def verify_days(days: Sequence[Day], *, advance: Callable[[int], None] = lambda _: None) -> Verified:
    """Compare the outputs that the ledgers of days tell of with their checksums; `advance` is told of bytes read.

    Where there is no checksum, size and time of change are compared. A file whose time is another is as it was written
    if its bytes are.
    """
    outputs = _outputs(days)
    turn, is_given_up = Lock(), Event()

    def advance_alone(n_read: int) -> None:
        if is_given_up.is_set():
            raise InterruptedError
        with turn:
            advance(n_read)

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            looks = list(pool.map(lambda output: output.look(advance_alone), outputs))
        except BaseException:
            is_given_up.set()  # a day takes minutes: who interrupts does not wait for it
            pool.shutdown(cancel_futures=True)
            raise
    return Verified(
        outputs=sum(look.was_read for look in looks),
        bytes=sum(look.size for look in looks if look.was_read),
        faults=tuple(look.fault for look in looks if look.fault),
        unsummed=sum(not look.was_read and not look.fault for look in looks),
    )


def refuse_untold(days: Sequence[Day]) -> None:
    """Raise `Refused` for a day whose ledger tells of nothing: that would be no proof of anything."""
    for day in days:
        if not any(read_ledger(day.state)):
            raise Refused(
                f"{day.title}: nothing is known to be made there ({day.output})",
                hint="`raypipe run` first; --output as it was given there",
            )


def bytes_of(days: Sequence[Day]) -> int:
    """Return how many bytes `verify_days` will read at most."""
    return sum(size for output in _outputs(days) if (size := output.size()) is not None)


def hints(faults: Iterable[Fault]) -> list[str]:
    """Say what mends these faults, each remedy once."""
    kinds = {fault.kind for fault in faults}
    return [f"{kind}: {hint}" for kind, hint in _HINTS.items() if kind in kinds]


def verified_text(found: Verified, seconds: float) -> str:
    """Say how a verification went."""
    lines = [*found.wrong, *(f"kept: {line}" for line in found.changed)]
    said = [f"{found.outputs} outputs, {in_gb(found.bytes)}, read again in {seconds:.1f} s"]
    if found.unsummed:
        said.append(f"of {found.unsummed} made by an earlier version only size and time")
    wrong = len(found.wrong)
    said.append(f"{wrong} {'is' if wrong == 1 else 'are'} wrong" if wrong else "all are as they were written")
    if found.changed:
        said.append(f"{len(found.changed)} edited since")
    return "\n".join([*lines, "; ".join(said), *(f"  hint: {hint}" for hint in hints(found.faults))]) + "\n"


def verified_json(found: Verified) -> str:
    """Say the same for programs: counts, and each fault with its kind."""
    told = {
        "outputs": found.outputs,
        "bytes": found.bytes,
        "unsummed": found.unsummed,
        "wrong": len(found.wrong),
        "faults": found.faults,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"


@dataclass(frozen=True)
class _Look:
    """What was seen of an output: not read and no fault, it has no checksum, and size and time are right."""

    size: int = 0
    was_read: bool = False
    fault: Fault | None = None


@dataclass(frozen=True)
class _Output:
    """A file that ought to be there."""

    name: str
    path: Path
    entries: tuple[Entry, ...]
    """What the ledger tells of it, the newest first."""

    def size(self) -> int | None:
        with suppress(OSError):
            return self.path.stat().st_size
        return None

    def look(self, advance: Callable[[int], None]) -> _Look:
        """Read the file again, and judge it."""
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):
                return self._fault("damaged", "something that is no file is in its place")
            entry = _as_made(self.entries, status) or _of_size(self.entries, status.st_size)
            if entry is None or not is_known(entry.checksum):
                advance(status.st_size)
                same = entry is not None and entry.mtime_ns == status.st_mtime_ns
                return _Look(status.st_size) if same else self._another(status)
            if self._read_again(entry.checksum, advance) != entry.checksum:
                return self._another(status, was_read=True)
        except (FileNotFoundError, NotADirectoryError):
            return self._fault("missing", "it was made, and is gone")
        except OSError as error:
            return self._fault("unreadable", f"it cannot be read: {error.strerror}")
        return _Look(status.st_size, was_read=True)

    def _another(self, status: os.stat_result, *, was_read: bool = False) -> _Look:
        """Judge a file whose bytes are others."""
        size = status.st_size
        recorded = next((entry for entry in self.entries if entry.mtime_ns == status.st_mtime_ns), None)
        if recorded and recorded.size != size:
            text = f"it has {size} bytes, and {recorded.size} were written"
            return self._fault("rotten", text, size, was_read)
        if recorded:
            return self._fault("rotten", "its bytes are not those that were written", size, was_read)
        if not is_of_its_kind(self.path):
            return self._fault("damaged", "something else changed it, and left no file of its kind", size, was_read)
        return self._fault("changed", "something else changed it since raypipe made it", size, was_read)

    def _fault(self, kind: Kind, text: str, size: int = 0, was_read: bool = False) -> _Look:
        return _Look(size, was_read, Fault(self.name, kind, text))

    def _read_again(self, checksum: str, advance: Callable[[int], None]) -> str:
        with self.path.open("rb", buffering=0) as file:
            # What the page cache holds says nothing about the disk. And nobody reads the file again soon.
            for advice in (os.POSIX_FADV_DONTNEED, os.POSIX_FADV_SEQUENTIAL):
                os.posix_fadvise(file.fileno(), 0, 0, advice)
            try:
                return made_again(file.fileno(), checksum, advance)
            finally:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _outputs(days: Sequence[Day]) -> list[_Output]:
    """List the files that ought to be there: all that were ever made, but of the parts only those of the last whole."""
    found: list[_Output] = []
    for day in days:
        front = f"{day.title}/" if len(days) > 1 else ""
        told: dict[str, list[Entry]] = {}
        parts_of: dict[int, list[Entry]] = {}
        parts: list[Entry] = []
        for entry in read_ledger(day.state):
            if entry.key:
                told.setdefault(entry.output, []).insert(0, entry)
                parts_of[id(entry)] = [part for part in parts if _made_together(part, entry)]
                parts = []
            else:  # parts have no key, and come before the whole
                parts.append(entry)
        for output, entries in told.items():
            whole = _Output(front + output, day.output / output, tuple(entries))
            found.append(whole)
            made = entries[0]
            with suppress(OSError):
                made = _as_made(entries, whole.path.stat()) or made
            found += [_Output(front + part.output, day.output / part.output, (part,)) for part in parts_of[id(made)]]
    return found


def _as_made(entries: Iterable[Entry], status: os.stat_result) -> Entry | None:
    """Return the newest entry that has the file's size and time."""
    made = (status.st_size, status.st_mtime_ns)
    return next((entry for entry in entries if (entry.size, entry.mtime_ns) == made), None)


def _of_size(entries: Iterable[Entry], size: int) -> Entry | None:
    return next((entry for entry in entries if entry.size == size), None)


def _made_together(part: Entry, whole: Entry) -> bool:
    return all(getattr(part, name) == getattr(whole, name) for name in ("stage", "session", "channel", "run"))

"""Removes what raypipe made of a day, and nothing else: files that the ledger tells of and nobody changed since."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raypipe.day import Day
from raypipe.ledger import forget, read_ledger
from raypipe.lock import day_lock


@dataclass(frozen=True)
class Leftovers:
    """What `clean` would remove, and what it would leave although raypipe once made it."""

    remove: tuple[Path, ...]
    changed: tuple[Path, ...]
    size: int


def find_leftovers(day: Day, stages: Sequence[str] = ()) -> Leftovers:
    """List the files that raypipe made, of all stages or of those in `stages`."""
    remove: dict[Path, int] = {}
    changed: dict[Path, None] = {}
    for entry in reversed(read_ledger(day.state)):
        path = day.output / entry.output
        if (stages and entry.stage not in stages) or path in remove or not path.is_file():
            continue
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns):
            remove[path] = status.st_size
            changed.pop(path, None)
        else:
            changed[path] = None
    return Leftovers(tuple(sorted(remove)), tuple(sorted(changed)), sum(remove.values()))


def clean(day: Day, leftovers: Leftovers) -> None:
    """Remove the files, the folders that they leave empty, and with the last of them raypipe's own folder.

    Raises `Locked` while a run works on the day.
    """
    with day_lock(day.state):
        for path in leftovers.remove:
            path.unlink(missing_ok=True)
        forget(day.state, [path.relative_to(day.output).as_posix() for path in leftovers.remove])
        for folder in sorted({path.parent for path in leftovers.remove}, reverse=True):
            _remove_empty(folder, day.output)
        nothing_left = not read_ledger(day.state)
    if nothing_left:
        shutil.rmtree(day.state)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent

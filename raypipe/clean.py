"""Removes what raypipe made of a day, and nothing else: files that the ledger tells of and nobody changed since.

What cannot be made again is kept: without its `.ns5`, a session's raw copies are the recording.
"""

import fnmatch
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePath
from typing import TypeVar

from raypipe import lock
from raypipe.day import MOUNTAINS, Day
from raypipe.errors import NotWritable
from raypipe.ledger import Entry, forget, prepare_state, read_ledger
from raypipe.stages import STAGES

_RAW_STAGE = "rplsplit"
_NAMES = {PurePath(name).name if "." in name else f"{name}_*.hkl" for stage in STAGES for name in stage.files}
_TEMPORARY = re.compile("|".join(fnmatch.translate(f".{name}.*.tmp") for name in _NAMES | {"cell*.spiketrain*"}))
_FOLDERS = ("array*", "array*/channel*")
_FOLDERS_OF_THE_DAY = (f"{MOUNTAINS}/channel*", f"{MOUNTAINS}/channel*/output")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Leftovers:
    """What `clean` would remove, and what it would leave although raypipe once made it."""

    remove: tuple[Path, ...]
    """Outputs."""
    scraps: tuple[Path, ...]
    """Temporary files that a killed run left, and the folders with the logs of runs."""
    gone: tuple[str, ...]
    """What the ledger tells of and is not there any more: its lines go."""
    changed: tuple[Path, ...]
    """Kept: something else changed them since."""
    only_copies: tuple[Path, ...]
    """Kept: raw copies whose recording is gone."""
    size: int
    """Bytes of what would be removed."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to remove."""
        return bool(self.remove or self.scraps or self.gone)


def find_leftovers(day: Day, stages: Sequence[str] = ()) -> Leftovers:
    """List the outputs of `stages`; with none given, all outputs and what else raypipe left of the day."""
    remove: list[Path] = []
    gone: list[str] = []
    changed: list[Path] = []
    only_copies: list[Path] = []
    recordings = _recordings(day)
    is_inside = cache(partial(_is_inside, top=day.output))  # a thousand files, in a few hundred folders
    histories: dict[str, list[Entry]] = {}
    for entry in read_ledger(day.state):
        histories.setdefault(entry.output, []).append(entry)

    for output, entries in sorted(histories.items()):
        path = day.output / output
        if (stages and not any(entry.stage in stages for entry in entries)) or not is_inside(path.parent):
            continue
        made = [entry for entry in entries if _is_as_made(path, entry)]
        if not made:
            # Something of that name may be a folder by now, or a link.
            changed.append(path) if path.is_symlink() or path.exists() else gone.append(output)
        elif made[-1].stage == _RAW_STAGE and not made[-1].key.get("input .ns5", "").startswith(
            recordings.get(made[-1].session, ())
        ):
            only_copies.append(path)
        else:
            remove.append(path)

    scraps = [] if stages else sorted(_find_scraps(day))
    return Leftovers(
        remove=tuple(remove),
        scraps=tuple(scraps),
        gone=tuple(gone),
        changed=tuple(changed),
        only_copies=tuple(only_copies),
        size=_size(remove) + _size(scraps),
    )


def clean(day: Day, leftovers: Leftovers) -> Leftovers:
    """Remove what `leftovers` lists if it is still so, the folders that this empties, and with the last raypipe's own.

    Returns what was removed. Raises `Locked` while a run works on the day, `NotWritable` where something cannot be
    removed.
    """
    prepare_state(day.state)
    with lock.day_lock(day.state):
        now = find_leftovers(day)  # one was asked about a list, and a run may have come in between
        remove, scraps = _still(leftovers.remove, now.remove), _still(leftovers.scraps, now.scraps)
        gone = _still(leftovers.gone, now.gone)
        removed = Leftovers(remove, scraps, gone, now.changed, now.only_copies, _size(remove) + _size(scraps))
        try:
            for path in remove:
                path.unlink()
            for path in scraps:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise NotWritable(
                f"{error.filename} cannot be removed: {error.strerror}",
                hint="see that you may write to its folder, then clean again: what is left is still known",
            ) from error
        if remove or gone:
            forget(day.state, [*gone, *(path.relative_to(day.output).as_posix() for path in remove)])
        for folder in {path.parent for path in (*remove, *scraps)}:
            _remove_empty(folder, day.output)
        # A run on a cluster may still wait for its turn, and needs its folder.
        if not read_ledger(day.state) and not any((day.state / name).exists() for name in ("runs", "cluster")):
            _remove_state(day.state)
    return removed


def _recordings(day: Day) -> dict[str, tuple[str, ...]]:
    """Return the recordings that are there, by session, each as it begins in a key (see `plan`): name and size.

    Of another file in its place (a copy that was cut off, another recording) a raw copy is no copy.
    """
    return {
        session.name: tuple(f"{path.name}, {path.stat().st_size} bytes" for path in _files(session.input, "*.ns5"))
        for session in day.sessions
    }


def _is_as_made(path: Path, entry: Entry) -> bool:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns)


def _is_inside(folder: Path, top: Path) -> bool:
    """Whether a folder is really below `top`: a link or a `..` may lead anywhere."""
    return ".." not in folder.parts and folder.resolve().is_relative_to(top.resolve())


def temporary_files(day: Day) -> Iterator[Path]:
    """Find what a killed run left of unfinished outputs; links that lead out of the day are not followed."""
    folders = [day.output] + [found for pattern in _FOLDERS_OF_THE_DAY for found in day.output.glob(pattern)]
    for session in day.sessions:
        folders += [session.output, *(found for pattern in _FOLDERS for found in session.output.glob(pattern))]
    for folder in folders:
        if _is_inside(folder, day.output):
            yield from (path for path in _files(folder, ".*.tmp") if _TEMPORARY.match(path.name))


def _find_scraps(day: Day) -> Iterator[Path]:
    yield from temporary_files(day)
    runs = day.state / "runs"
    if _is_inside(runs, day.output) and runs.is_dir():
        yield from (path for path in runs.iterdir() if path.is_dir() and not path.is_symlink())


def _files(folder: Path, pattern: str) -> Iterator[Path]:
    return (path for path in folder.glob(pattern) if path.is_file())


def _size(paths: Collection[Path]) -> int:
    size = 0
    for file in (file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,))):
        with suppress(FileNotFoundError):  # a run at work takes its temporary files away
            size += file.lstat().st_size
    return size


def _still(listed: Sequence[_Item], now: Collection[_Item]) -> tuple[_Item, ...]:
    kept = set(now)
    return tuple(item for item in listed if item in kept)


def _remove_empty(folder: Path, top: Path) -> None:
    with suppress(OSError):  # not empty
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _remove_state(state: Path) -> None:
    # The lock goes last: whoever takes a new one after that finds nothing that would still be touched.
    for path in sorted(state.iterdir(), key=lambda path: path.name == lock.FILE_NAME):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with suppress(OSError):  # somebody has come
        state.rmdir()

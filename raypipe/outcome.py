"""What becomes of an output in a worker: a file that is written but not yet published, or a failure."""

import re
import shutil
import socket
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raypipe.errors import RaypipeError
from raypipe.io.publish import sync_folder

_CELL = re.compile(r"cell[0-9]+")


@dataclass(frozen=True)
class Written:
    """A file that is complete and synced under its temporary name, with those that belong to it."""

    stage: str
    channel: int | None
    path: Path
    temporary: Path
    size: int
    mtime_ns: int
    checksum: str
    """Of its bytes as they were meant, see `io.checksum`."""
    parts: tuple["Written", ...] = ()
    """Files that get their names before it does."""
    replaces: tuple[Path, ...] = ()
    """What gives way to the parts: folders with all that is in them, and what else has such a name."""
    node: str = ""
    """The machine that wrote it."""
    began: float = 0.0
    """When its worker began with it, in seconds since 1970; 0 where that is not known."""

    @property
    def files(self) -> tuple["Written", ...]:
        """The parts, and the file itself."""
        return *self.parts, self

    def publish(self) -> None:
        """Give the file its name, after its parts have theirs: while these come and go, it is not there."""
        if self.parts or self.replaces:
            self.path.unlink(missing_ok=True)
            _sync([self.path.parent])
            for place in self.replaces:
                # Of a link only the link goes: what it leads to may be others' as well.
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
        for files in (self.parts, (self,)):
            for file in files:
                file.path.parent.mkdir(exist_ok=True)
                file.temporary.replace(file.path)
            _sync(file.path.parent for file in files)

    @classmethod
    def at(
        cls, temporary: Path, stage: str, channel: int | None, path: Path, checksum: str, *, began: float = 0.0
    ) -> "Written":
        """Make the record of the file `temporary`, which is to become `path`."""
        status = temporary.stat()
        size, mtime_ns, node = status.st_size, status.st_mtime_ns, socket.gethostname()
        return cls(stage, channel, path, temporary, size, mtime_ns, checksum, node=node, began=began)


def cells_in(folder: Path) -> list[Path]:
    """List what has the name of a cell in a channel's folder: folders, links, and what else is in their place."""
    return sorted(path for path in folder.glob("cell*") if _CELL.fullmatch(path.name))


def _sync(folders: Iterable[Path]) -> None:
    for folder in dict.fromkeys(folders):
        with suppress(OSError):  # not every file system can sync a folder
            sync_folder(folder)


@dataclass(frozen=True)
class Failure:
    """A file that could not be made; its temporary file is gone."""

    stage: str
    channel: int | None
    path: Path
    error: str
    hint: str
    story: str
    """Traceback."""


def failure(stage: str, channel: int | None, path: Path, error: BaseException) -> Failure:
    """Make the record of an error that kept `path` from being made, with its whole story."""
    hint = error.hint if isinstance(error, RaypipeError) else ""
    text = error.message if isinstance(error, RaypipeError) else f"{type(error).__name__}: {error}"
    return Failure(stage, channel, path, text, hint, "".join(traceback.format_exception(error)))

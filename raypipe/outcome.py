"""What becomes of an output in a worker: a file that is written but not yet published, or a failure."""

import traceback
from dataclasses import dataclass
from pathlib import Path

from raypipe.errors import RaypipeError


@dataclass(frozen=True)
class Written:
    """A file that is complete and synced under its temporary name."""

    stage: str
    channel: int | None
    path: Path
    temporary: Path
    size: int
    mtime_ns: int

    @classmethod
    def at(cls, temporary: Path, stage: str, channel: int | None, path: Path) -> "Written":
        """Make the record of the file `temporary`, which is to become `path`."""
        status = temporary.stat()
        return cls(stage, channel, path, temporary, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Failure:
    """A file that could not be made; its temporary file is gone."""

    stage: str
    channel: int | None
    error: str
    hint: str
    story: str
    """Traceback."""


def failure(stage: str, channel: int | None, error: BaseException) -> Failure:
    """Make the record of an error, with its whole story."""
    hint = error.hint if isinstance(error, RaypipeError) else ""
    text = error.message if isinstance(error, RaypipeError) else f"{type(error).__name__}: {error}"
    return Failure(stage, channel, text, hint, "".join(traceback.format_exception(error)))

"""Where things are in a day of recording: sessions, input files, and the folder of every channel.

A day is a folder named by digits (`20181105`) inside a subject's folder (`picasso`), with a folder for each session:
`sessioneye` (calibration) and `session01`, `session02`, ... (navigation). Channels live in
`sessionNN/arrayAA/channelCCC`, as PyHipp lays them out.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from raypipe.errors import InputMissing, NotADay, UsageError

STATE_FOLDER = ".raypipe"
CALIBRATION = "sessioneye"
MOUNTAINS = "mountains"
"""The day's folder of sorted channels."""
_SESSION = re.compile(r"session(eye|\d+)")
_CHANNEL = re.compile(r"array(\d+)/channel(\d+)")


@dataclass(frozen=True)
class Session:
    """One session: where its input is, and where its output goes (the same folder unless `--output` says otherwise)."""

    name: str
    input: Path
    output: Path

    @property
    def is_navigation(self) -> bool:
        """Whether the animal walked in the maze (only these are aligned with Unity)."""
        return self.name != CALIBRATION

    def the_file(self, pattern: str) -> Path:
        """Return the one input file that matches `pattern`. Raises `InputMissing` for none and for several."""
        found = sorted(self.input.glob(pattern))
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputMissing(
                f"{self.name}: no {pattern} in {self.input}", hint="copy the recording's file into the session's folder"
            )
        raise InputMissing(
            f"{self.name}: {len(found)} files match {pattern} in {self.input}: {', '.join(path.name for path in found)}",
            hint="a session is one recording: move the others away",
        )

    def channel_folder(self, array: int, channel: int) -> Path:
        """Return the output folder of a channel (1-based array and channel numbers)."""
        return self.output / f"array{array:02d}" / f"channel{channel:03d}"

    def raw_files(self) -> dict[tuple[int, int], Path]:
        """Map (array, channel) to the `rplraw_*.hkl` that is there, in the output folder first."""
        found: dict[tuple[int, int], Path] = {}
        for root in dict.fromkeys((self.output, self.input)):
            for path in sorted(root.glob("array*/channel*/rplraw_*.hkl")):
                if place := _CHANNEL.fullmatch(path.parent.relative_to(root).as_posix()):
                    found.setdefault((int(place[1]), int(place[2])), path)
        return found


@dataclass(frozen=True)
class Day:
    """A day of recording of one subject."""

    input: Path
    output: Path

    @cached_property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions in the order of their names: navigation sessions, then `sessioneye`."""
        return tuple(
            Session(name, self.input / name, self.output / name)
            for name in sorted(path.name for path in self.input.iterdir() if path.is_dir())
            if _SESSION.fullmatch(name)
        )

    @property
    def state(self) -> Path:
        """The folder where raypipe keeps its ledger, its lock and the logs of its runs."""
        return self.output / STATE_FOLDER

    @property
    def title(self) -> str:
        """Subject and day, as `picasso/20181105`."""
        return f"{self.input.parent.name}/{self.input.name}"


def find_day(path: Path, output: Path | None = None) -> Day:
    """Return the day at `path`; with `output`, what is made goes to `output/<subject>/<day>`.

    Raises `NotADay` with the nearest thing that would be one, `UsageError` for an `output` that is no folder.
    """
    folder = _absolute(path)
    if not folder.is_dir():
        raise NotADay(f"no folder {path}", hint="give the folder of a day, as data/picasso/20181105")
    if _SESSION.fullmatch(folder.name) and folder.parent.name.isdigit():
        raise NotADay(f"{path} is a session", hint=f"give its day: {folder.parent}")
    day = Day(folder, folder if output is None else _output_root(output) / folder.parent.name / folder.name)
    if folder.name.isdigit() and day.sessions:
        return day
    days = sorted(found.parent for found in (*folder.glob("*/session*"), *folder.glob("*/*/session*")))
    days = [found for found in dict.fromkeys(days) if found.name.isdigit()]
    if days:
        raise NotADay(
            f"{path} is not a day, but holds {len(days)}",
            hint=f"give one of them, as {_shortest(days[0], path, folder)}",
        )
    if not folder.name.isdigit():
        raise NotADay(
            f"{path} is not a day: a day's folder is named by digits and holds sessions",
            hint="give the folder of a day, as data/picasso/20181105, or make one: `raypipe simulate ROOT`",
        )
    raise NotADay(
        f"{path} holds no session: neither session01 nor sessioneye",
        hint="put each recording into a folder session01, session02, ..., sessioneye",
    )


def _absolute(path: Path) -> Path:
    """Make a path absolute, but keep links: a day that is a link has the link's name and subject."""
    path = path.expanduser().absolute()
    return path.resolve() if ".." in path.parts else path  # what is above a link, only the file system knows


def _output_root(path: Path) -> Path:
    root = _absolute(path)
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    if not nearest.is_dir():
        raise UsageError(f"--output {path}: {nearest} is a file", hint="give a folder; it is made if it is not there")
    return root


def _shortest(found: Path, path: Path, folder: Path) -> Path:
    return path / found.relative_to(folder)

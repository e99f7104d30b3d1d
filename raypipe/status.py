"""What is there and what is missing of a day's outputs, by array and channel; made by raypipe or not.

The lab's count of a complete day with one navigation session and n channels is 5 + 6n objects: for each channel and
session a raw copy, an LFP and a high-pass (6n), and of whole sessions two rplparallel, one unity and two eyelink. Beside
them it counts `firings.mda`, one for each channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from raypipe.plan import Plan
from raypipe.plan_objects import FIRINGS
from raypipe.stages import BY_NAME
from raypipe.tasks import Problem, Task

COUNTED_BY_THE_LAB = ("rplparallel", "rplsplit", "rpllfp", "rplhighpass", "unity", "edfsplit")
_HDF5, _PNG = b"\x89HDF\r\n\x1a\n", b"\x89PNG\r\n\x1a\n"
_SIGNATURES = {".hkl": _HDF5, ".hdf": _HDF5, ".png": _PNG, ".json": b"{"}


@dataclass(frozen=True)
class Row:
    """One stage in one array of one session (array 0: the session itself), as channel numbers (0: of the session)."""

    session: str
    array: int
    stage: str
    there: tuple[int, ...]
    missing: tuple[int, ...]
    damaged: tuple[int, ...]
    """A file is there, but empty or not of its kind."""
    changed: tuple[int, ...]
    """Of those that are there or damaged: raypipe made the file, and something else has changed it."""

    @property
    def makes_files(self) -> bool:
        """Whether the stage's outputs are its own; one that writes others' anew adds none."""
        return bool(BY_NAME[self.stage].files)

    @property
    def expected(self) -> int:
        """Outputs that a complete day has here."""
        return len(self.there) + len(self.missing) + len(self.damaged)


@dataclass(frozen=True)
class Status:
    """All rows of a day."""

    day: str
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    """What cannot be planned; of a whole session it is not known what would be missing."""
    sorted_channels: tuple[int, int] = (0, 0)
    """Channels with a `firings.mda`, and of how many."""

    @property
    def there(self) -> int:
        """Outputs that are there."""
        return sum(len(row.there) for row in self.rows if row.makes_files)

    @property
    def expected(self) -> int:
        """Outputs that a complete day has, of the stages asked for."""
        return sum(row.expected for row in self.rows if row.makes_files)

    @property
    def lab_count(self) -> tuple[int, int]:
        """Objects of those that the lab counts: how many are there, and of how many."""
        rows = [row for row in self.rows if row.stage in COUNTED_BY_THE_LAB]
        return sum(len(row.there) for row in rows), sum(row.expected for row in rows)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, damaged or unaligned, as far as it can be told."""
        return all(len(row.there) == row.expected for row in self.rows) and not self.problems


def status_of(plan: Plan) -> Status:
    """Sort the tasks of a plan into what is there (up to date or not), what is missing and what is damaged.

    Only the first bytes of a file are read: that it is whole inside is for `raypipe.load` to find out.
    """
    places: dict[tuple[str, int, str], list[Task]] = {}
    tasks = (*plan.tasks, *(task for problem in plan.problems for task in problem.tasks))
    for task in tasks:
        place = (task.session.name, task.channel.array if task.channel else 0, task.stage.name)
        places.setdefault(place, []).append(task)
    rows = [_row(place, tasks) for place, tasks in sorted(places.items(), key=lambda item: item[0][:2])]
    firings = [_condition(task) == "there" for task in tasks if task.output.name == FIRINGS]
    return Status(plan.day.title, tuple(rows), plan.problems, (sum(firings), len(firings)))


def is_of_its_kind(path: Path) -> bool:
    """Whether a file is not empty, and begins as its name promises. Raises OSError."""
    signature = _SIGNATURES.get(path.suffix, b"")
    with path.open("rb") as file:
        return file.read(len(signature)) == signature and bool(file.seek(0, 2))


def _row(place: tuple[str, int, str], tasks: Iterable[Task]) -> Row:
    found: dict[str, list[int]] = {"there": [], "missing": [], "damaged": [], "changed": []}
    for task in tasks:
        number = task.channel.number if task.channel else 0
        found[_condition(task)].append(number)
        if task.changed_since:
            found["changed"].append(number)
    there, missing, damaged, changed = (tuple(sorted(numbers)) for numbers in found.values())
    return Row(*place, there, missing, damaged, changed)


def _condition(task: Task) -> str:
    if (task.stage.rewrites and task.state == "todo") or task.incomplete:
        return "missing"  # the file may be there, but not as this stage leaves it
    try:
        return "there" if is_of_its_kind(task.output) else "damaged"
    except FileNotFoundError:
        return "there" if task.state == "kept" else "missing"  # cells of something else are there without our list
    except OSError:  # a folder, or not to be read
        return "damaged"

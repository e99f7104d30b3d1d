"""What is there and what is missing of a day's objects, by array and channel; made by raypipe or not.

The lab's count of a complete day with one navigation session and n channels is 5 + 6n objects: for each channel and
session a raw copy, an LFP and a high-pass (6n), and of whole sessions two rplparallel, one unity and two eyelink. This
version makes the 6n and rplparallel; unity and eyelink objects are counted where there are any.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from raypipe.day import Session
from raypipe.plan import Plan, Problem, Task

LAB_COUNT = (
    "the lab counts 5 + 6n objects for one navigation session and n channels;"
    " this version makes 2 + 6n of them, all but unity (1) and eyelink (2)"
)
_MADE_ELSEWHERE = ("unity", "eyelink")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Row:
    """One stage in one array of one session (array 0: the session itself), as channel numbers (0: of the session)."""

    session: str
    array: int
    stage: str
    there: tuple[int, ...]
    missing: tuple[int, ...]
    damaged: tuple[int, ...]
    """A file is there, but empty or no HDF5 file."""
    changed: tuple[int, ...]
    """Of those that are there or damaged: raypipe made the file, and something else has changed it."""

    @property
    def expected(self) -> int:
        """Objects that a complete day has here."""
        return len(self.there) + len(self.missing) + len(self.damaged)


@dataclass(frozen=True)
class Status:
    """All rows of a day, and the number of objects that other programs make."""

    day: str
    rows: tuple[Row, ...]
    others: Mapping[str, int]
    problems: tuple[Problem, ...]
    """What cannot be planned; of a whole session it is not known what would be missing."""

    @property
    def there(self) -> int:
        """Objects that are there."""
        return sum(len(row.there) for row in self.rows)

    @property
    def expected(self) -> int:
        """Objects that a complete day has, of the stages asked for."""
        return sum(row.expected for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or damaged, as far as it can be told."""
        return self.there == self.expected and not self.problems


def status_of(plan: Plan) -> Status:
    """Sort the tasks of a plan into what is there (up to date or not), what is missing and what is damaged.

    Only the first bytes of a file are read: that it is whole inside is for `raypipe.load` to find out.
    """
    places: dict[tuple[str, int, str], list[Task]] = {}
    for task in (*plan.tasks, *(task for problem in plan.problems for task in problem.tasks)):
        place = (task.session.name, task.channel.array if task.channel else 0, task.stage.name)
        places.setdefault(place, []).append(task)
    rows = [_row(place, tasks) for place, tasks in sorted(places.items(), key=lambda item: item[0][:2])]
    others = {name: sum(_count(session, name) for session in plan.day.sessions) for name in _MADE_ELSEWHERE}
    return Status(plan.day.title, tuple(rows), others, plan.problems)


def _row(place: tuple[str, int, str], tasks: Iterable[Task]) -> Row:
    found: dict[str, list[int]] = {"there": [], "missing": [], "damaged": [], "changed": []}
    for task in tasks:
        number = task.channel.number if task.channel else 0
        found[_condition(task.output)].append(number)
        if task.changed_since:
            found["changed"].append(number)
    there, missing, damaged, changed = (tuple(sorted(numbers)) for numbers in found.values())
    return Row(*place, there, missing, damaged, changed)


def _condition(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "there" if file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:  # a folder, or not to be read
        return "damaged"


def _count(session: Session, name: str) -> int:
    """Count a session's objects of a name, which are in the recording's folder or in the output's."""
    return len({path.name for folder in (session.input, session.output) for path in folder.glob(f"{name}_*.hkl")})

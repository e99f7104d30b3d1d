"""What is there and what is missing of a day's objects, by array and channel; made by raypipe or not.

The lab's count of a complete day with one navigation session and n channels is 5 + 6n objects: for each channel and
session a raw copy, an LFP and a high-pass, and five objects of whole sessions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from raypipe.plan import Plan, Task


@dataclass(frozen=True)
class Row:
    """One stage in one array of one session (array 0: the session itself)."""

    session: str
    array: int
    stage: str
    there: tuple[int, ...]
    """Channel numbers (0 for an object of the session)."""
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Status:
    """All rows of a day."""

    day: str
    rows: tuple[Row, ...]

    @property
    def there(self) -> int:
        """Objects that are there."""
        return sum(len(row.there) for row in self.rows)

    @property
    def expected(self) -> int:
        """Objects that a complete day has, of the stages asked for."""
        return self.there + sum(len(row.missing) for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.there == self.expected


def status_of(plan: Plan) -> Status:
    """Sort the tasks of a plan into what is there (up to date or not) and what is missing."""
    places = dict.fromkeys((task.session.name, _array(task), task.stage.name) for task in plan.tasks)
    rows = []
    for session, array, stage in sorted(places, key=lambda place: place[:2]):
        tasks = [t for t in plan.tasks if (t.session.name, _array(t), t.stage.name) == (session, array, stage)]
        there = {task.output for task in tasks if task.output.exists()}
        rows.append(
            Row(
                session,
                array,
                stage,
                _numbers(task for task in tasks if task.output in there),
                _numbers(task for task in tasks if task.output not in there),
            )
        )
    return Status(plan.day.title, tuple(rows))


def _array(task: Task) -> int:
    return task.channel.array if task.channel else 0


def _numbers(tasks: Iterable[Task]) -> tuple[int, ...]:
    return tuple(sorted(task.channel.number if task.channel else 0 for task in tasks))

"""Work for a worker that is no filter: tasks that are made together, from files and objects to files under temporary names."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raypipe.config import Config
from raypipe.io.checksum import checksum_of
from raypipe.io.objects import load_object, normalised_dir, object_image
from raypipe.io.publish import write_unnamed
from raypipe.outcome import Failure, Written, failure
from raypipe.tasks import ObjectOf, Task, TaskId


@dataclass(frozen=True)
class Made:
    """What became of a task: its file, or why there is none; and what should be said about it."""

    task: Task
    written: Written | None = None
    failed: Failure | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def failure(cls, task: Task, error: BaseException) -> "Made":
        """Make the record of a task that failed."""
        return cls(task, failed=failure(task.stage.name, number_of(task), task.output, error))

    def since(self, began: float) -> "Made":
        """Return the record with when its worker began (seconds since 1970)."""
        return replace(self, written=replace(self.written, began=began)) if self.written else self


Maker = Callable[[Sequence[Task], Config, str], Iterator[Made]]
"""Makes files of tasks of one stage, under temporary names with a token."""


@dataclass(frozen=True)
class Work:
    """Tasks of one stage that are done together, in one worker."""

    stage: str
    tasks: tuple[Task, ...]
    config: Config

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions that it is for."""
        return tuple(dict.fromkeys(task.session.name for task in self.tasks))

    @property
    def channel(self) -> int | None:
        """The channel that it is for."""
        return number_of(self.tasks[0])

    @property
    def is_of_session(self) -> bool:
        """Whether it is for whole sessions."""
        return self.tasks[0].stage.level == "session"

    @property
    def memory(self) -> int:
        """Bytes that it asks for."""
        return max(task.memory for task in self.tasks)

    def without(self, lost: Collection[TaskId]) -> "Work":
        """Return what is left of the work when `lost` could not be made: older files of theirs are not read either."""
        left = [task for task in self.tasks if task.needs.isdisjoint(lost)]
        return replace(self, tasks=tuple(replace(task, objects=_not_lost(task, lost)) for task in left))

    def make(self, maker: Maker, token: str) -> list[Made]:
        """Make the files under their temporary names; what goes wrong with one is its alone, where it can be."""
        for folder in {task.output.parent for task in self.tasks}:
            folder.mkdir(parents=True, exist_ok=True)
        began = time.time()
        return [each.since(began) for each in maker(self.tasks, self.config, token)]


def works_of(tasks: Sequence[Task], config: Config) -> list[Work]:
    """Return tasks that are not part of a pass as works, in an order in which they could be done."""
    works: dict[tuple[str, object, int | None], list[Task]] = {}
    for task in tasks:
        if task.stage.level != "channel":
            # One reading of the eye files serves all sessions.
            together = task.inputs if task.stage.name == "edfsplit" else task.session.name
            works.setdefault((task.stage.name, together, number_of(task)), []).append(task)
    return [Work(stage, tuple(some), config) for (stage, _, _), some in works.items()]


def saved(task: Task, fields: Mapping[str, Any], notes: tuple[str, ...], token: str) -> Made:
    """Write an object under its temporary name."""
    return written(task, object_image(fields), notes, token)


def written(task: Task, content: bytes, notes: tuple[str, ...], token: str) -> Made:
    """Write a file under its temporary name."""
    temporary = write_unnamed(task.output, content, token=token)
    whole = Written.at(temporary, task.stage.name, number_of(task), task.output, checksum_of(content))
    return Made(task, whole, notes=notes)


def loaded(task: Task, stage: str) -> dict[str, Any]:
    """Load an object of the task's session."""
    return load_object(task.objects[task.session.name, stage])


def folder_of(task: Task) -> str:
    """Return the folder of the task's output, as objects tell it."""
    return normalised_dir(task.output.parent)


def number_of(task: Task) -> int | None:
    """Return the number of the task's channel."""
    return task.channel.number if task.channel else None


def _not_lost(task: Task, lost: Collection[TaskId]) -> dict[ObjectOf, Path]:
    return {place: path for place, path in task.objects.items() if (place[1], path) not in lost}

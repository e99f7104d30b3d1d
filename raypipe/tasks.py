"""The units of a plan: a task is one output, a problem keeps some from being made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from raypipe.day import Session
from raypipe.errors import RaypipeError
from raypipe.recording import Channel
from raypipe.stages import Stage

State = Literal["done", "todo", "kept"]
TaskId = tuple[str, Path]
"""A stage's name and the output: the two that write one file are told apart."""
ObjectOf = tuple[str, str]
"""A session's name (or what else tells an object from others, see `plan_objects`) and the stage that made it."""


@dataclass(frozen=True)
class Task:
    """One output: a file that a stage makes of a session or of a channel."""

    stage: Stage
    session: Session
    channel: Channel | None
    output: Path
    key: dict[str, str]
    state: State
    why: str
    size: int
    """Bytes of the file, or, not being there, how many it will have."""
    changed_since: bool = False
    """Whether raypipe made the file and something else has changed it."""
    incomplete: bool = False
    """Whether the file is there, and others that belong to it are not."""
    inputs: tuple[Path, ...] = ()
    """Of a session's task: the files that it reads."""
    objects: Mapping[ObjectOf, Path] = field(default_factory=dict)
    """The objects that it reads; of a channel's samples none."""
    needs: frozenset[TaskId] = frozenset()
    """Tasks without which it cannot be done."""
    after: frozenset[TaskId] = frozenset()
    """Tasks that it waits for, however they end."""
    memory: int = 0
    """Bytes that it asks for, if it is not part of a pass."""

    @property
    def id(self) -> TaskId:
        """What others need it by."""
        return self.stage.name, self.output

    @property
    def replaceable(self) -> bool:
        """Whether the file is kept for being somebody else's; one that others are made from is never replaced."""
        return self.state == "kept" and not (self.channel and self.output == self.channel.raw_file)


@dataclass(frozen=True)
class Problem:
    """Something that keeps stages of a session, or of one of its channels, from being planned at all."""

    session: str
    stages: tuple[str, ...]
    error: RaypipeError
    tasks: tuple[Task, ...] = ()
    """What cannot be done of a channel; of a whole session it is not known what there would be to do."""

    @property
    def channel(self) -> int | None:
        """The channel, if it is one channel's problem."""
        numbers = {task.channel.number for task in self.tasks if task.channel}
        return numbers.pop() if len(numbers) == 1 else None

"""What happens in a run, as small records; progress, the log and the report are listeners to them."""

from collections.abc import Callable
from typing import Literal

import msgspec

Outcome = Literal["done", "failed", "interrupted"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    """Base of the records; as JSON each carries its name in `event`."""

    day: str = ""
    """The day that it is about, as `picasso/20181105`: its run fills this in."""


class RunStarted(Event, frozen=True):
    """A run begins to work (it is never sent when there is nothing to do)."""

    day: str
    run: str
    tasks: int
    """Outputs to make."""
    bytes_to_write: int
    projected_memory: int
    """Bytes of all processes together at their peak."""
    folder: str = ""
    """Where its events and the logs of its tasks are."""


class Phase(Event, frozen=True):
    """Something that is not a task and takes time begins, as Ray's start."""

    text: str
    at: float
    """Seconds since the run began."""


class PassStarted(Event, frozen=True):
    """One session's recording begins to be read."""

    session: str
    channels: int
    tiles: int


class FiltersBegun(Event, frozen=True):
    """A filter worker has begun with channels of a session: at first, or anew because another died."""

    session: str
    channels: tuple[int, ...]
    stages: tuple[str, ...]
    node: str
    """The machine that it is on."""


class PassProgressed(Event, frozen=True):
    """A tile went through the filters."""

    session: str
    tiles_done: int
    tiles: int
    seconds_of_recording: float


class WorkWaits(Event, frozen=True):
    """A stage of whole sessions, or of channels' objects, cannot be handed out before others have ended."""

    stage: str
    sessions: tuple[str, ...]
    channel: int | None
    outputs: tuple[str, ...]
    """The files of those others."""


class WorkStarted(Event, frozen=True):
    """A stage of whole sessions, or of channels' objects, is handed out, beside whatever else is under way.

    It begins when a node has room for it; if its worker dies, it is handed out again.
    """

    stage: str
    sessions: tuple[str, ...]
    channel: int | None = None
    memory: int = 0
    """Bytes that it asks for."""


class WorkBegun(Event, frozen=True):
    """A worker has begun to make what was handed out; of what takes less than a second it is not told."""

    stage: str
    sessions: tuple[str, ...]
    channel: int | None
    node: str
    """The machine that it is on."""


class WorkEnded(Event, frozen=True):
    """A stage of whole sessions, or of channels' objects, has come to its end, well or not."""

    stage: str
    sessions: tuple[str, ...]
    channel: int | None = None
    ended: int = 1
    """Works of the stage that have ended by now."""
    total: int = 1


class TaskDone(Event, frozen=True):
    """An output has its final name."""

    stage: str
    session: str
    channel: int | None
    output: str
    size: int
    node: str = ""
    """The machine on which it was made."""
    began: float = 0.0
    ended: float = 0.0
    """From when to when, in seconds since 1970; what a worker makes together began together."""


class TaskFailed(Event, frozen=True):
    """An output could not be made."""

    stage: str
    session: str
    channel: int | None
    error: str
    hint: str
    log: str
    """File with the whole story; empty where the message says all."""


class NodesChanged(Event, frozen=True):
    """Nodes have joined the run, or left it."""

    nodes: tuple[str, ...]
    """Those that are there."""
    leaving: tuple[str, ...]
    """Those among them that end what they do, and take nothing new."""


class Note(Event, frozen=True):
    """Something that the user should know, and that stops nothing: a gap, a restart, a dropped trial."""

    session: str
    text: str


class RunRefused(Event, frozen=True):
    """A day is not done, and nothing of it was begun; other days go on."""

    error: str
    hint: str


class RunEnded(Event, frozen=True):
    """A run has ended."""

    outcome: Outcome
    done: int
    failed: int
    seconds: float
    bytes_written: int
    out_of_time: bool = False
    """Interrupted because the time that Slurm gave was nearly up."""


Listener = Callable[[Event], None]


def task_name(session: str, stage: str, channel: int | None) -> str:
    """Return what a task's log is called: `session01-rpllfp-009`."""
    return "-".join(part for part in (session, stage, f"{channel:03d}" if channel else "") if part)

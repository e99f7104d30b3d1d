"""What is under way in a run, from its events: what is made on which node, and what else waits for what."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from raypipe.events import (
    Event,
    FiltersBegun,
    NodesChanged,
    PassProgressed,
    PassStarted,
    RunEnded,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkBegun,
    WorkEnded,
    WorkStarted,
    WorkWaits,
    task_name,
)
from raypipe.memory import in_gb
from raypipe.recording import ranges

_WorkId = tuple[str, tuple[str, ...], int | None]
_VERBS = {"mountain_batch": "sorts", "export_mountain_cells": "exports the cells of"}


@dataclass(frozen=True)
class OpenWork:
    """A stage of whole sessions, or of a channel's objects, that has not ended."""

    node: str = ""
    """Where it is made; empty while it waits."""
    memory: int = 0
    """Bytes that it was handed out with; 0 as long as it is not."""
    awaits: tuple[str, ...] = ()
    """Files that it waits for before it is handed out."""


@dataclass
class UnderWay:
    """What has begun and not ended."""

    works: dict[_WorkId, OpenWork] = field(default_factory=dict)
    """By stage, sessions, channel."""
    filters: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """By session and channel: on which node it is filtered, by which stages."""
    tiles: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By session: how many have been filtered, of how many."""
    made: set[str] = field(default_factory=set)
    """Outputs that have their final names."""
    nodes: NodesChanged | None = None

    @property
    def waiting(self) -> int:
        """How many works could begin if there were room."""
        return sum(1 for work in self.works.values() if work.memory and not work.node)

    def doing(self) -> dict[str, tuple[str, ...]]:
        """Say by node what is done there: `filters 24 channels of session01`, `sorts channels 3, 9`."""
        said: dict[str, list[str]] = {}
        filtered: dict[tuple[str, str], int] = {}
        for (session, _), (node, _) in self.filters.items():
            filtered[node, session] = filtered.get((node, session), 0) + 1
        for (node, session), count in filtered.items():
            said.setdefault(node, []).append(f"filters {_counted(count, 'channel')} of {session}")
        together: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
        for (stage, sessions, channel), work in self.works.items():
            if work.node:
                channels = together.setdefault((work.node, stage, sessions), [])
                channels += [] if channel is None else [channel]
        for (node, stage, sessions), channels in together.items():
            said.setdefault(node, []).append(_made(stage, sessions, channels))
        return {node: tuple(sentences) for node, sentences in sorted(said.items())}

    def tasks(self, output: Path) -> dict[str, str]:
        """Say of each task, by its name, where it is made or what it waits for; `output` is the day's folder."""
        said: dict[str, str] = {}
        for (session, channel), (node, stages) in self.filters.items():
            done, total = self.tiles.get(session, (0, 0))
            for stage in stages:
                said[task_name(session, stage, channel)] = (
                    f"is being made on {node}: {done} of {total} tiles are filtered"
                )
        for (stage, sessions, number), work in self.works.items():
            awaited = [path.removeprefix(f"{output}/") for path in work.awaits]
            stands = _stands(work, [path for path in awaited if path not in self.made])
            said |= {task_name(session, stage, number): stands for session in sessions}
        return said


def under_way(events: Iterable[Event]) -> UnderWay:
    """Return what is under way after these events; where the last run has ended, nothing is."""
    now = UnderWay()
    for event in events:
        match event:
            case RunStarted() | RunEnded():
                now = UnderWay()
            case NodesChanged():
                now.nodes = event
            case PassStarted():
                now.tiles[event.session] = 0, event.tiles
            case PassProgressed():
                now.tiles[event.session] = event.tiles_done, event.tiles
            case FiltersBegun():
                now.filters |= {(event.session, channel): (event.node, event.stages) for channel in event.channels}
            case WorkWaits():
                now.works[event.stage, event.sessions, event.channel] = OpenWork(awaits=event.outputs)
            case WorkStarted():
                _end(now, event)
                now.works[event.stage, event.sessions, event.channel] = OpenWork(memory=max(event.memory, 1))
            case WorkBegun():
                id_ = event.stage, event.sessions, event.channel
                now.works[id_] = replace(now.works.get(id_, OpenWork()), node=event.node)
            case WorkEnded():
                _end(now, event)
            case TaskDone() | TaskFailed():
                _made_or_failed(now, event)
            case _:
                pass
    return now


def _end(now: UnderWay, event: WorkStarted | WorkEnded) -> None:
    # What waited may have been of more sessions than what was handed out: something that one of them needs has failed.
    sessions = set(event.sessions)
    for id_ in [id_ for id_ in now.works if (id_[0], id_[2]) == (event.stage, event.channel)]:
        if sessions <= set(id_[1]) or sessions >= set(id_[1]):
            del now.works[id_]


def _made_or_failed(now: UnderWay, event: TaskDone | TaskFailed) -> None:
    if event.channel is not None and event.stage in now.filters.get((event.session, event.channel), ("", ()))[1]:
        del now.filters[event.session, event.channel]  # all that is made of its samples is published together
    if isinstance(event, TaskDone):
        now.made.add(event.output)


def _stands(work: OpenWork, awaited: list[str]) -> str:
    if work.node:
        return f"is being made on {work.node}"
    if work.memory:
        return f"waits for a worker that has {in_gb(work.memory)} of memory free"
    if not awaited:
        return "waits for its turn"
    others = len(awaited) - 1
    return f"waits for {awaited[0]}" + (f" and {_counted(others, 'other file')}" if others else "")


def _made(stage: str, sessions: tuple[str, ...], channels: list[int]) -> str:
    verb = _VERBS.get(stage, f"makes {stage} of")
    if not channels:
        return f"{verb} {', '.join(sessions)}"
    what = f"{verb} channel{'s' * (len(channels) > 1)} {ranges(channels)}"
    # A sorting is of all sessions.
    return what if stage == "mountain_batch" else f"{what} of {', '.join(sessions)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"

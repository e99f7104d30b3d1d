"""The workers on Ray: a reader that hands tiles on, filter actors that own groups of channels, and
tasks for what is made of whole sessions and of channels' objects.

What can go wrong inside a worker comes back as a value, so that one bad file never takes its neighbours with it; a
worker that dies is the driver's business.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import ray

import kernels
from raypipe.channels import Group, GroupWork
from raypipe.io.appender import WriteBehind
from raypipe.outcome import Failure, Written
from raypipe.sources import Samples, Scratch, Source
from raypipe.stages import Stage
from raypipe.stages.channel import ChannelStage
from raypipe.work import Made, Maker, Work


@dataclass(frozen=True)
class Finished:
    """What became of a group: files that are synced but not yet published, and failures."""

    written: tuple[Written, ...]
    failures: tuple[Failure, ...]


class Reader:
    """Reads tiles of a recording, each once, and hands them on cut into groups."""

    def __init__(self) -> None:
        kernels.warm()
        self._scratch = Scratch()

    def read(
        self, source: Source, start: int, stop: int, groups: tuple[tuple[int, ...], ...]
    ) -> Samples | tuple[Samples, ...]:
        """Return samples `start` to `stop` of each group of 8 places as (8, stop - start); one object a group."""
        samples = source.read(start, stop, tuple(place for group in groups for place in group), self._scratch)
        tile = tuple(samples[first : first + kernels.LANES] for first in range(0, len(samples), kernels.LANES))
        return tile if len(tile) > 1 else tile[0]


class FilterActor:
    """Owns groups of channels: keeps their filters' state from tile to tile, and writes their files."""

    def __init__(self) -> None:
        kernels.warm()
        self._behind = WriteBehind()
        self._work: dict[int, GroupWork] = {}

    def begin(self, groups: Mapping[int, Group], stages: Mapping[str, ChannelStage], token: str) -> tuple[str, str]:
        """Begin `groups` (by their number in the pass): their files are made, under temporary names.

        Returns Ray's id of the node (empty outside of Ray), and the machine's name.
        """
        for number, group in groups.items():
            self._work[number] = GroupWork(group, stages, token=token, behind=self._behind)
        # Asked outside of Ray, it would begin one.
        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        return node, socket.gethostname()

    def push(self, numbers: tuple[int, ...], *tiles: Samples) -> None:
        """Take the next tile of each of the groups `numbers`, in the same order."""
        for number, tile in zip(numbers, tiles, strict=True):
            try:
                self._work[number].push(tile)
            except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is this group's alone)
                self._work[number].give_up(error)

    def finish(self, number: int) -> Finished:
        """Finish and sync the files of a group."""
        work = self._work.pop(number)
        try:
            work.finish()
        except Exception as error:  # noqa: BLE001 (the boundary)
            work.give_up(error)
        return Finished(tuple(work.written), tuple(work.failures))

    def abort(self, numbers: tuple[int, ...]) -> None:
        """Remove what was begun of the groups `numbers`."""
        for number in numbers:
            if work := self._work.pop(number, None):
                work.abort()


@dataclass(frozen=True)
class Ended:
    """What became of a work, and how many seconds it took."""

    made: list[Made]
    seconds: float


def _do_work(work: Work, token: str, latest: float = inf) -> Iterator[str | Ended | None]:
    """Give the name of the machine at once; then do the work, and tell of every one of its tasks what became of it.

    A work that has waited for a free CPU until after `latest` (seconds since the epoch) is not begun: it could not end in
    time any more.
    """
    yield socket.gethostname()
    begun = time.time()
    if begun >= latest:
        yield None
        return
    try:
        made = work.make(maker_of(work.tasks[0].stage), token)
    except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is this work's alone)
        made = [Made.failure(task, error) for task in work.tasks]
    yield Ended(made, time.time() - begun)


def maker_of(stage: Stage) -> Maker:
    """Return the function that makes a stage's files; what it imports takes memory in every worker that needs it."""
    match stage.level:
        case "session":
            from raypipe.session_work import MAKERS
        case "joined":
            from raypipe.sorting_work import MAKERS
        case _:
            from raypipe.object_work import MAKERS
    return MAKERS[stage.name]


reader: Any = ray.remote(Reader)
filter_actor: Any = ray.remote(FilterActor)
do_work: Any = ray.remote(num_returns="streaming")(_do_work)

"""What is done with a group of 8 channels as its samples go by: microvolts, LFP and high-pass, each into its file.

The three outputs of a channel are written while the recording is read, so no raw data lie on the disk in between and
memory does not grow with the length of the session. Nothing here knows of Ray.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import kernels
from raypipe.io.appender import WriteBehind
from raypipe.io.growing import GrowingObject
from raypipe.outcome import Failure, Written, failure
from raypipe.sources import Samples, Source
from raypipe.stages.channel import ChannelStage

STEP_SAMPLES = 30_000
"""Samples that go through all filters before the next are taken: what 8 channels of them need fits a core's cache."""


@dataclass(frozen=True)
class Output:
    """One file to be written: a stage's object of one channel."""

    stage: str
    path: Path
    fields: dict[str, Any]
    """All fields of the object; `data` is a placeholder, and the extremes in `analogInfo` are filled in at the end."""
    n_samples: int


@dataclass(frozen=True)
class Lane:
    """One channel of a group: its place in the source, its scale, and what is made of it."""

    channel: int
    place: int
    gain: float
    offset: float
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Group:
    """Up to 8 channels that go through the kernels side by side."""

    lanes: tuple[Lane, ...]

    @property
    def places(self) -> tuple[int, ...]:
        """Where the lanes lie in the source; the last is repeated to fill all 8 lanes of the kernels."""
        places = tuple(lane.place for lane in self.lanes)
        return places + places[-1:] * (kernels.LANES - len(places))


@dataclass(frozen=True)
class Pass:
    """One reading of a session's samples, and all that is made of them."""

    session: str
    source: Source
    sampling_rate_hz: float
    groups: tuple[Group, ...]
    stages: Mapping[str, ChannelStage]
    """The stages that are wanted, with their parameters."""


class GroupWork:
    """A group at work: feed it the session in order, then let it finish.

    A file that cannot be written (a full disk, say) is given up alone; the group's others go on.
    """

    def __init__(self, group: Group, stages: Mapping[str, ChannelStage], *, token: str, behind: WriteBehind) -> None:
        self.group = group
        self._began = time.time()
        self.written: list[Written] = []
        """Files that are complete and synced, each under its temporary name."""
        self.failures: list[Failure] = []
        wanted = {output.stage for lane in group.lanes for output in lane.outputs}
        self._filters = {name: stage.filter() for name, stage in stages.items() if name in wanted}
        self._gain, self._offset = _scales(group)
        self._microvolts = np.empty((kernels.LANES, STEP_SAMPLES), np.float32)
        self._files: dict[tuple[str, int], GrowingObject] = {}
        for row, lane in enumerate(group.lanes):
            for output in lane.outputs:
                with self._giving_up(output.stage, row):
                    output.path.parent.mkdir(parents=True, exist_ok=True)
                    self._files[output.stage, row] = GrowingObject(
                        output.path, output.fields, output.n_samples, token=token, behind=behind
                    )

    def push(self, samples: Samples) -> None:
        """Take the next (8, n) samples of the session, in steps that stay in the cache."""
        for start in range(0, samples.shape[1], STEP_SAMPLES):
            microvolts = self._in_microvolts(samples[:, start : start + STEP_SAMPLES])
            for stage, each in self._filters.items():
                self._append(stage, each.push(microvolts))

    def finish(self) -> None:
        """Finish all files of the group and sync them; they are in `written` then, or in `failures`."""
        for stage, each in self._filters.items():
            try:
                self._append(stage, each.finish())
            except ValueError as error:  # shorter than the filter's padding
                self._drop([key for key in self._files if key[0] == stage], error)
        for (stage, row), file in list(self._files.items()):
            with self._giving_up(stage, row):
                lowest, highest = self._filters[stage].extremes[:, row]
                file.finish({"analogInfo": {"MaxVal": highest, "MinVal": lowest}})
                channel = self.group.lanes[row].channel
                made = Written.at(file.sync(), stage, channel, file.path, file.checksum, began=self._began)
                self.written.append(made)
                del self._files[stage, row]

    def give_up(self, error: Exception) -> None:
        """Count what is not yet written as failed."""
        self._drop(list(self._files), error)

    def abort(self) -> None:
        """Remove what was begun."""
        for file in self._files.values():
            file.abort()
        self._files.clear()

    def _in_microvolts(self, samples: Samples) -> NDArray[np.float32]:
        microvolts = self._microvolts[:, : samples.shape[1]]
        if samples.dtype == np.int16:
            counts = cast("NDArray[np.int16]", samples)
            kernels.to_microvolts(counts, self._gain, self._offset, microvolts)
        else:
            microvolts[:] = samples
        return microvolts

    def _append(self, stage: str, samples: NDArray[np.float32]) -> None:
        if not samples.shape[1]:
            return
        for row in range(len(self.group.lanes)):
            if file := self._files.get((stage, row)):
                with self._giving_up(stage, row):
                    file.append(samples[row])

    @contextmanager
    def _giving_up(self, stage: str, row: int) -> Iterator[None]:
        """Give up a file that cannot be written, alone."""
        try:
            yield
        except OSError as error:
            self._drop([(stage, row)], error)

    def _drop(self, keys: Iterable[tuple[str, int]], error: Exception) -> None:
        for stage, row in keys:
            if file := self._files.pop((stage, row), None):
                file.abort()
            lane = self.group.lanes[row]
            path = next(output.path for output in lane.outputs if output.stage == stage)
            self.failures.append(failure(stage, lane.channel, path, error))


def _scales(group: Group) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (8,) gain and offset in microvolts; lanes without a channel repeat the last one's."""
    lanes = group.lanes + group.lanes[-1:] * (kernels.LANES - len(group.lanes))
    return np.array([lane.gain for lane in lanes], np.float32), np.array([lane.offset for lane in lanes], np.float32)

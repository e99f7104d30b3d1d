"""A driver whose works ask for some memory and hold another: the driver's own loop, on works that are no stage's.

FOLDER/works.json has them: a name, megabytes asked for, megabytes held, and how many of the kind are to hold theirs at the
same time when they begin for the first time. Each writes when and where it began and ended; what became of it is in
FOLDER/seen.json.

python -m tests.cluster.memory_driver FOLDER WORKERS
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from raypipe.attached import Attached
from raypipe.config import Config, Resources, Slurm
from raypipe.day import Session
from raypipe.deadline import Life
from raypipe.driver import DayWork, run_on_ray
from raypipe.events import Event
from raypipe.memory import Budget
from raypipe.outcome import Failure, Written
from raypipe.stages import BY_NAME
from raypipe.tasks import Task, TaskId
from raypipe.work import Made, Maker, Work, written

MB = 1 << 20
_STEP_MB = 20
_STEP_SECONDS = 0.05
_HOLD_SECONDS = 1.5
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Holding(Work):
    """A work that holds memory for a while, and then writes how much of it was what it had written there."""

    holds_mb: int = 0
    together: int = 1

    def make(self, _maker: Maker, token: str) -> list[Made]:
        """Hold it, in steps, when all that are to hold theirs together have begun."""
        (task,) = self.tasks
        name, attempt = task.session.name, int(token.rpartition("-")[2])
        _stamp(task.output.parent / f"{name}.{attempt}.begun")
        end = time.monotonic() + _PATIENCE_SECONDS
        kind = name.rstrip("0123456789")
        while attempt == 0 and len(list(task.output.parent.glob(f"{kind}*.begun"))) < self.together:
            if time.monotonic() > end:
                raise TimeoutError(f"{name} waited for others in vain")
            time.sleep(0.05)
        held = []
        for step in range(0, self.holds_mb, _STEP_MB):
            held.append(np.full(min(_STEP_MB, self.holds_mb - step) * MB, 1, np.uint8))
            time.sleep(_STEP_SECONDS)
        time.sleep(_HOLD_SECONDS)
        sound = sum(int(each.sum(dtype=np.int64)) for each in held)
        _stamp(task.output.parent / f"{name}.{attempt}.ended")
        return [written(task, str(sound // MB).encode(), (), token)]


def _stamp(path: Path) -> None:
    path.with_suffix(".part").write_text(json.dumps([socket.gethostname(), time.time(), os.getpid()]))
    path.with_suffix(".part").replace(path)


@dataclass
class Told:
    """The driver's sink and command: what it was told."""

    place: Attached
    life: Life
    events: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def written(self, _session: str, files: Sequence[Written]) -> set[TaskId]:
        for file in files:
            file.publish()
        return {(file.stage, file.path) for file in files}

    def failed(self, session: str, failures: Sequence[Failure]) -> None:
        for each in failures:
            self.failures[session] = [each.error, each.hint]

    def emit(self, event: Event) -> None:
        self.events.append(msgspec.to_builtins(event))

    def ended(self) -> None:
        pass

    def go_on(self) -> None:
        pass

    def budget_now(self, before: Budget) -> Budget:
        return before

    def largest_task(self, budget: Budget) -> int:
        return self.place.largest_task(budget)

    def look(self, open_works: Iterable[Work], filter_actors: int, budget: Budget) -> None:
        self.place.look(open_works, filter_actors, budget)


def work(name: str, asks_mb: int, holds_mb: int, together: int, folder: Path, config: Config) -> Holding:
    # Of a session: those take no CPU, so that memory alone says how many there are at a time.
    session = Session(name, folder, folder)
    task = Task(BY_NAME["unity"], session, None, folder / f"{name}.out", {}, "todo", "", 0, memory=asks_mb * MB)
    return Holding("unity", (task,), config, holds_mb, together)


def main(folder: Path, workers: str) -> int:
    config = Config(slurm=Slurm(workers=workers), run=Resources(restarts=1))
    works = [work(*each, folder, config) for each in json.loads((folder / "works.json").read_text())]
    place = Attached(folder / "run", config, patience_seconds=100.0)
    told = Told(place, place.life)
    nothing = Budget(0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)
    with place.joined(), place.started(nothing):
        place.look((), 0, nothing)
        largest = place.largest_task(nothing)
        run_on_ray([DayWork(works, [], [], told, "memory", config.run.restarts)], nothing, told)
    seen = {"largest": largest, "events": told.events, "failures": told.failures}
    (folder / "seen.json").write_text(json.dumps(seen))
    return 1 if told.failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

"""Memory on real nodes, by the driver's own loop: what is promised fits, what does not is refused, who lies is killed alone.

A worker's 2000 MB are 900 for tasks, after 700 for Ray's processes and a fifth for objects; the head's are 400, after 500 for
the driver.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import memory_driver
from tests.cluster.test_on_slurm import ROOT, clean, strays
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster

pytestmark = pytest.mark.slurm
WORKER_MB = 900
Asked = tuple[str, int, int, int]
"""Name, megabytes asked for, megabytes held, how many of its kind hold theirs at the same time at first."""


@dataclass(frozen=True)
class Attempt:
    """A work's beginning and, unless it was killed, its end."""

    name: str
    node: str
    began: float
    ended: float


@dataclass(frozen=True)
class Seen:
    """What became of a run."""

    jobs: list[dict[str, Any]]
    outputs: str
    """What its jobs wrote."""
    events: list[dict[str, Any]]
    failures: dict[str, list[str]]
    attempts: list[Attempt]
    results: dict[str, str]

    def notes(self, name: str) -> list[str]:
        return [each["text"] for each in self.events if each["event"] == "Note" and each["session"].startswith(name)]


def run(cluster: SlurmCluster, folder: Path, works: list[Asked], *, workers: int) -> Seen:
    """Have works done on the head's node and on some workers'."""
    (folder / "works.json").write_text(json.dumps(works))
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.one_run", folder, "elastic", str(workers + 1)]
    program: list[str | Path] = [sys.executable, "-m", memory_driver.__name__, folder, str(workers)]
    done = cluster.run_on(HEAD, [*command, *program], seconds=240, environment={"PYTHONPATH": str(ROOT)})
    outputs = "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(folder.glob("*slurm*")))
    assert (folder / "seen.json").exists(), outputs
    seen = json.loads((folder / "seen.json").read_text())
    assert seen["largest"] == WORKER_MB << 20
    attempts = []
    for path in folder.glob("*.begun"):
        node, began, _ = json.loads(path.read_text())
        end = path.with_suffix(".ended")
        attempts.append(Attempt(path.stem, node, began, json.loads(end.read_text())[1] if end.exists() else began))
    results = {path.stem: path.read_text() for path in folder.glob("*.out") if "slurm" not in path.name}
    result = json.loads(done.stdout.splitlines()[-1])
    return Seen(result["outcomes"], outputs, seen["events"], seen["failures"], attempts, results)


def test_a_job_finds_the_cgroup_that_holds_it(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    if not ray_slurm.layout.cgroups:
        pytest.skip("no cgroup holds jobs here")
    ask = "from cluster.memory_guard import *; at = job_cgroup(); print(at, held_by_cgroup(at) >> 20)"
    job = ray_slurm.submit(f"PYTHONPATH={ROOT} {sys.executable} -c '{ask}'", "--mem=300", f"--output={tmp_path}/said")
    ray_slurm.wait_job(job, "COMPLETED")
    folder, held = (tmp_path / "said").read_text().split()
    assert f"/job_{job}" in folder
    assert 5 <= int(held) < 300


def at_once(attempts: list[Attempt], weight: dict[str, int]) -> dict[str, int]:
    """Return by node the most that was under way there at the same time, each attempt counted by its name's weight."""
    most: dict[str, int] = {}
    for each in attempts:
        beside = [
            weight[other.name.split(".")[0]]
            for other in attempts
            if other.node == each.node
            and other.began <= each.began
            and each.began < max(other.ended, other.began + 1e-6)
        ]
        most[each.node] = max(most.get(each.node, 0), sum(beside))
    return most


def test_big_and_small_share_nodes_by_their_memory_and_what_is_too_large_is_refused(
    ray_slurm: SlurmCluster, tmp_path: Path
) -> None:
    big: list[Asked] = [(f"big{number}", 400, 250, 1) for number in range(8)]
    small: list[Asked] = [(f"small{number}", 100, 5, 1) for number in range(6)]
    works: list[Asked] = [*big[:3], ("giant", 1500, 5, 1), *small, *big[3:]]
    seen = run(ray_slurm, tmp_path, works, workers=2)
    assert seen.failures == {
        "giant": [
            "it needs 1.57 GB of memory, and no node gives more than 944 MB to one task",
            "give it a larger node (--memory here, the partition or `slurm.memory` on a cluster), then run again",
        ]
    }
    assert sorted(each.name for each in seen.attempts) == sorted(f"{name}.0" for name, *_ in [*big, *small])
    assert seen.results == {name: str(holds) for name, _, holds, _ in [*big, *small]}
    bigs = at_once(seen.attempts, {name: int(name.startswith("big")) for name, *_ in works})
    assert max(bigs.values()) == 2
    asked = at_once(seen.attempts, {name: asks for name, asks, *_ in works})
    assert max(asked.values()) <= WORKER_MB
    assert "oom" not in seen.outputs.lower()
    assert "is ended" not in seen.outputs
    assert (seen.jobs[0]["state"], seen.jobs[0]["exit_code"]) == ("FAILED", 1)
    assert clean(ray_slurm), strays(ray_slurm)


def test_who_holds_more_than_it_said_is_killed_alone_and_begun_again_with_twice_the_memory(
    ray_slurm: SlurmCluster, tmp_path: Path
) -> None:
    liars: list[Asked] = [(f"liar{number}", 450, 1000, 2) for number in (1, 2)]  # together they are on the one worker
    # There is room for it beside the driver, whose job must not be called out of memory for it.
    works: list[Asked] = [*liars, ("glutton", 350, 3000, 1), *[(f"small{number}", 50, 5, 1) for number in range(3)]]
    seen = run(ray_slurm, tmp_path, works, workers=1)
    again = seen.notes("liar")
    assert 1 <= len(again) <= 2
    assert set(again) == {"a worker died; unity is begun again with 944 MB of memory"}
    assert seen.results == {"liar1": "1000", "liar2": "1000", "small0": "5", "small1": "5", "small2": "5"}
    assert seen.notes("glutton") == ["a worker died; unity is begun again with 734 MB of memory"]
    ((name, (error, hint)),) = seen.failures.items()
    assert name == "glutton"
    assert error.startswith("the worker died 2 times")
    assert "It asked for 367 MB, then 734 MB" in hint
    assert seen.notes("small") == []
    assert seen.outputs.count("the largest worker") >= 3
    assert (seen.jobs[0]["state"], seen.jobs[0]["exit_code"]) == ("FAILED", 1), seen.outputs
    assert clean(ray_slurm), strays(ray_slurm)

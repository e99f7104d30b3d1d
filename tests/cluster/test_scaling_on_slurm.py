"""Workers that come and go with the work, on a real Slurm."""

import json
import re
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster import scale_without_ray, scaled_driver
from tests.cluster.test_on_slurm import ROOT, clean, strays
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, wait_until

pytestmark = pytest.mark.slurm


def test_workers_come_with_the_work_and_go_with_it(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.one_run", tmp_path, "elastic", "2"]
    program: list[str | Path] = [sys.executable, "-m", scaled_driver.__name__, tmp_path]
    done = ray_slurm.run_on(HEAD, [*command, *program], seconds=200, environment={"PYTHONPATH": str(ROOT)})
    result = json.loads(done.stdout.splitlines()[-1])
    outputs = "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(tmp_path.glob("*slurm*")))
    assert result["outcomes"][0]["exit_code"] == 0, outputs
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert (seen["most"], seen["fewest"]) == (3, 1), seen
    assert Counter(seen["done"]) == Counter(range(seen["begun"]))  # none lost, none twice
    assert len(set(seen["where"].values())) == 4
    said = "\n".join(seen["said"])
    assert "asked for 4 workers more" in said  # 5 are useful; there are nodes for 3
    assert sum(map(int, re.findall(r"cancelled (\d+) workers? that waited", said))) == 2  # at once or one by one
    assert said.count("let go of an idle worker") == 2
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


def test_a_slurm_that_refuses_is_asked_again(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    def partition(state: str) -> None:
        ray_slurm.run_on(HEAD, ["scontrol", "update", "PartitionName=queue1", f"State={state}"])

    def said(words: str) -> bool:
        return (tmp_path / "said").exists() and words in (tmp_path / "said").read_text()

    def queued() -> list[str]:
        listing = ray_slurm.run_on(
            HEAD, ["squeue", "--noheader", "--array", f"--name=pipe2-worker-{head}", "--format=%T"]
        )
        return listing.stdout.split()

    head = ray_slurm.submit("sleep 60", "--hold")  # workers wait for it to begin
    command = [sys.executable, "-m", scale_without_ray.__name__, tmp_path, str(head)]
    partition("DRAIN")
    try:
        with ThreadPoolExecutor(1) as thread:
            run = thread.submit(ray_slurm.run_on, HEAD, command, environment={"PYTHONPATH": str(ROOT)})
            try:
                wait_until(lambda: said("partition"), 30, "a refusal")
                assert queued() == []
                partition("UP")
                wait_until(lambda: said("asked for 3 workers more"), 30, "another attempt")
                assert queued() == ["PENDING"] * 3
                (tmp_path / "stop").touch()
                wait_until(lambda: said("cancelled 3 workers that waited"), 30, "the end of what waits")
                assert queued() == []
            finally:
                (tmp_path / "end").touch()
                assert run.result().stderr == ""
    finally:
        partition("UP")
        ray_slurm.run_on(HEAD, ["scancel", str(head)])

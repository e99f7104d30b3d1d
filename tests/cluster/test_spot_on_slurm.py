"""Nodes that EC2 takes away, on a real Slurm with a real Ray: what runs there ends, others go on, another node comes."""

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.clouds import ENDPOINT, metadata_on, spot_notice
from tests.cluster.test_on_slurm import ROOT, check_a_complete_run, clean, lines, strays, waiting_run
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, wait_until

pytestmark = pytest.mark.slurm


@pytest.fixture
def notices(ray_slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for notices, with a service on every node that gives them."""
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "notices"
    folder.mkdir()
    return folder


def test_a_worker_that_is_taken_away_is_drained_and_replaced(
    ray_slurm: SlurmCluster, tmp_path: Path, notices: Path
) -> None:
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.one_run", tmp_path, "elastic", "3"]
    program: list[str | Path] = [sys.executable, "-m", "tests.cluster.spot_driver", tmp_path]
    helped = tmp_path / "helped"
    with metadata_on(ray_slurm, notices), ThreadPoolExecutor(1) as thread:
        run = thread.submit(
            ray_slurm.run_on, HEAD, [*command, *program], seconds=250, environment={"PYTHONPATH": str(ROOT)}
        )
        wait_until(lambda: helped.exists() and helped.read_text() == "2", 100, "both workers to help")
        head, workers, _ = json.loads((tmp_path / "ids.json").read_text())
        spot_notice(ray_slurm, f"{workers}_1", notices)
        node = ray_slurm.job(f"{workers}_1")["NodeList"]
        wait_until(lambda: ray_slurm.job(f"{workers}_1")["JobName"] == f"pipe2-taken-{head}", 60, "the worker to leave")
        result = json.loads(run.result().stdout.splitlines()[-1])
    outputs = "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(tmp_path.glob("*slurm*")))
    assert result["outcomes"][0]["exit_code"] == 0, outputs
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert len(seen["helped"]) == 3, outputs  # one more than there may be at a time
    assert Counter(seen["done"]) == Counter(range(seen["begun"]))  # none lost, none twice
    assert [line for line in seen["said"] if "asked for" in line] == [seen["said"][0]], seen["said"]
    assert seen["said"][0].startswith("asked for 1 worker more")
    assert outputs.count("EC2 will terminate this node") == 1
    assert outputs.count("drained\n") == 1
    assert result["jobs"][1]["state"] == "CANCELLED", "it holds the node to the end"
    assert (notices / f"{node}.asked").read_text().startswith("PUT /latest/api/token 200\n")
    assert result["left"] == []
    wait_until(lambda: clean(ray_slurm), 30, f"nothing to be left: {strays(ray_slurm)}")


def test_a_head_that_is_taken_away_goes_on_elsewhere(ray_slurm: SlurmCluster, tmp_path: Path, notices: Path) -> None:
    with metadata_on(ray_slurm, notices), waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, _, _ = json.loads((tmp_path / "ids.json").read_text())
        node = ray_slurm.job(head)["NodeList"]
        spot_notice(ray_slurm, head, notices)
        wait_until(lambda: ray_slurm.job(head)["Restarts"] == "1", 60, "the head to be queued again")
        (notices / node).unlink()  # and with it the instance, which is another one now
        wait_until(lambda: lines(tmp_path / "joined") == 2, 200, "all nodes in the driver's second life")
        (tmp_path / "wait").unlink()
    result = run.result()
    check_a_complete_run(ray_slurm, tmp_path, result, restarts=1)
    assert "this job is queued again" in result["outputs"]
    assert lines(tmp_path / "begun") == 2

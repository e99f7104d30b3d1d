"""Clusters as ParallelCluster makes them, on a real Slurm: nodes that boot or never do, and no memory to ask for."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cluster.clouds import node_never_boots
from tests.cluster.test_on_slurm import clean, states, strays, waiting_run
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle, wait_until

pytestmark = pytest.mark.slurm
MB = 1 << 20


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pytest's temporary folders, which all nodes see."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    return tmp_path_factory.getbasetemp()


def test_a_node_that_never_boots_holds_nobody_up_and_joins_when_it_does(base: Path, tmp_path: Path) -> None:
    """Two workers of three have no node at first, one of them never: the driver begins, and ends, with those that there are."""
    with SlurmCluster(nodes=4, cpus=2, memory_mb=2500, cloud=True, suspend_s=300, shared=[base]) as cluster:
        late, never = cluster.nodes[2:]
        for node in (late, never):
            node_never_boots(cluster, node)
        with waiting_run(cluster, tmp_path, nodes=3, never=1, joined=False) as run:
            _, workers, _ = json.loads((tmp_path / "ids.json").read_text())
            elements = [f"{workers}_{i}" for i in (1, 2, 3)]

            def in_state(*states: str) -> list[str]:
                return [element for element in elements if cluster.job(element)["JobState"] in states]

            wait_until(lambda: in_state("RUNNING") and len(in_state("PENDING")) == 2, 100, "one worker to run")
            # Slurm's hold of two minutes is lifted: then it is for nodes that they wait.
            wait_until(
                lambda: not [e for e in in_state("PENDING") if cluster.job(e)["Reason"] == "BeginTime"], 60, "holds"
            )
            shown = cluster.run_on(HEAD, [sys.executable, "-m", "raypipe", "jobs"]).stdout
            waiting = " ".join(
                line for line in shown.splitlines() if f"worker  {workers}_" in line and "runs" not in line
            )
            assert re.search(
                "nodes that it needs are down|waits for nodes|jobs that come first|has not looked at it yet", waiting
            ), shown
            # Slurm's own timeout may come after the reason that the cloud gave.
            assert re.search("not there: .*3.*: (EC2 has no such instance to give now|did not boot in time)", shown), (
                shown
            )
            cluster.accept(late)
            wait_until((tmp_path / "joined").exists, 100, "the late one to join")
            assert in_state("PENDING"), "one waits to the end"
            (tmp_path / "wait").unlink()
        result = run.result()
        assert result["outcomes"][0]["exit_code"] == 7, result["outputs"]
        assert len(json.loads((tmp_path / "seen.json").read_text())["seen"]) == 3
        assert {state for job, state in states(result).items() if job in elements} == {"CANCELLED"}
        assert "its hold is lifted" in result["outputs"]
        assert result["left"] == []
        assert cluster.run_on(HEAD, ["squeue", "--noheader"]).stdout == ""


def test_two_runs_beside_each_other_on_a_node_whose_memory_nobody_schedules(base: Path, tmp_path: Path) -> None:
    """A head and a worker each, all four on one node."""
    with SlurmCluster(nodes=1, cpus=4, memory_mb=10_400, memory_scheduling=False, shared=[base]) as cluster:
        folders = [tmp_path / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()

        def joined(folder: Path) -> bool:
            return any("joined" in path.read_text() for path in folder.glob("pipe2-worker-slurm.*.err"))

        with (
            waiting_run(cluster, folders[0], nodes=1, how="beside", never=1) as first,
            waiting_run(cluster, folders[1], nodes=1, how="beside", never=1) as second,
        ):
            wait_until(lambda: all(map(joined, folders)), 100, "both workers")
            for name in ("token", "address"):
                assert len({(folder / "run" / name).read_text() for folder in folders}) == 2
            there = strays(cluster)[cluster.nodes[0]]
            for which in ("rp", "raypipe-spill"):
                assert len(set(re.findall(rf"/tmp/{which}-\d+", there))) == 4
            for folder in folders:
                (folder / "wait").unlink()
        for folder, run in zip(folders, (first, second), strict=True):
            result = run.result()
            assert result["outcomes"][0]["exit_code"] == 7, result["outputs"]
            resources = json.loads((folder / "seen.json").read_text())["resources"]
            stores = [node["object_store_memory"] // MB for node in resources]
            # A quarter of nine tenths of /dev/shm's 1000 MB is the most for each.
            assert len(stores) == 2
            assert all(80 <= store <= 225 for store in stores)
            # A quarter of 10400 MB each, less 700 for Ray's own processes (and 500 for the driver), less the store.
            rest = sorted(node["memory"] // MB + store for node, store in zip(resources, stores, strict=True))
            assert rest == pytest.approx([1400, 1900], abs=2)
            assert result["left"] == []
        wait_until(lambda: clean(cluster), 30, f"nothing to be left: {strays(cluster)}")

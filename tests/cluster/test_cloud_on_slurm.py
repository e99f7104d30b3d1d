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
            assert re.search("nodes that it needs are down|waits for nodes|jobs that come first", waiting), shown
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


def test_two_runs_beside_each_other_on_nodes_whose_memory_nobody_schedules(base: Path, tmp_path: Path) -> None:
    with SlurmCluster(nodes=2, cpus=2, memory_mb=5200, memory_scheduling=False, shared=[base]) as cluster:
        folders = [tmp_path / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()
        with (
            waiting_run(cluster, folders[0], nodes=2, how="beside") as first,
            waiting_run(cluster, folders[1], nodes=2, how="beside") as second,
        ):
            where = [
                {job: cluster.job(job)["NodeList"] for job in json.loads((folder / "ids.json").read_text())[:2]}
                for folder in folders
            ]
            heads, workers = zip(*(jobs.values() for jobs in where), strict=True)
            assert len(set(heads)) == len(set(workers)) == 1, "two heads on one node, two workers on another"
            tokens = {(folder / "run" / "token").read_text() for folder in folders}
            addresses = {(folder / "run" / "address").read_text() for folder in folders}
            assert len(tokens) == len(addresses) == 2
            left = strays(cluster)
            for jobs in where:
                for node in jobs.values():
                    assert left[node].count("/tmp/rp-") == 2
            for folder in folders:
                (folder / "wait").unlink()
        for folder, run in zip(folders, (first, second), strict=True):
            result = run.result()
            assert result["outcomes"][0]["exit_code"] == 7, result["outputs"]
            seen = json.loads((folder / "seen.json").read_text())
            assert set(seen["seen"]) == set(cluster.nodes)
            # Half of 5200 MB, less 700 for Ray's own processes (and 500 for the driver), less the store; which is
            # nine tenths of half of /dev/shm's 1000 MB.
            assert sorted(node["memory"] // MB for node in seen["resources"]) == [950, 1450]
            assert {node["object_store_memory"] // MB for node in seen["resources"]} == {450}
            assert result["left"] == []
        wait_until(lambda: clean(cluster), 30, f"nothing to be left: {strays(cluster)}")

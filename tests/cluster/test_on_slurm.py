"""Whole runs on a real Slurm: the driver's exit code is passed on, and nothing is left on any node, however it ended."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import driver
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, wait_until

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
MB = 1 << 20


def one_run(cluster: SlurmCluster, folder: Path, how: str, *, nodes: int, code: int) -> dict[str, Any]:
    """Submit a run from the cluster's head and return what became of it."""
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.one_run", folder, how, str(nodes)]
    program: list[str | Path] = [
        sys.executable,
        driver.__file__,
        folder,
        str(nodes if how != "cancelled" else 99),
        str(code),
    ]
    done = cluster.run_on(HEAD, [*command, *program], seconds=300, environment={"PYTHONPATH": str(ROOT)})
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    result["outputs"] = "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(folder.glob("*slurm*")))
    return result


def strays(cluster: SlurmCluster) -> dict[str, str]:
    """Processes of Ray's and of ours on every node, and what they left in /tmp and /dev/shm."""
    look = "pgrep -af 'raylet|gcs_server|ray::|cluster[.](head|worker)|default_worker'; ls -d /tmp/rp-* /tmp/raypipe-spill-* /dev/shm/*"
    found = {
        node: cluster.run_on(node, ["bash", "-c", f"{{ {look}; }} 2>/dev/null"], check=False).stdout
        for node in cluster.nodes
    }
    return {node: "\n".join(line for line in text.splitlines() if "pgrep" not in line) for node, text in found.items()}


def clean(cluster: SlurmCluster) -> bool:
    return not any(strays(cluster).values()) and set(cluster.states().values()) == {"idle"}


@pytest.mark.parametrize("how", ["elastic", "fixed"])
def test_a_run_on_all_nodes_passes_its_exit_code_on_and_leaves_nothing(
    ray_slurm: SlurmCluster, tmp_path: Path, how: str
) -> None:
    result = one_run(ray_slurm, tmp_path, how, nodes=3, code=7)
    assert result["outcomes"][0]["state"] == "FAILED", result["outputs"]
    assert result["outcomes"][0]["exit_code"] == 7, result["outputs"]
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["seen"] == sorted(ray_slurm.nodes)
    assert seen["auth"] == ["token", str(tmp_path / "run" / "token")]
    assert result["token"] == "0o100600"
    assert result["left"] == []
    # 2000 MB, less 700 for Ray's own processes (and 500 for the driver), less a fifth for objects.
    assert sorted(node["memory"] // MB for node in seen["resources"]) == [400, 900, 900]
    assert {node["object_store_memory"] // MB for node in seen["resources"]} == {400}
    ids = result["ids"]
    outputs = sorted(path.name for path in tmp_path.glob("*.out"))
    assert f"pipe2-slurm.{seen_head(result)}.{ids[0]}.out" in outputs
    if how == "elastic":
        states = {job["id"]: job["state"] for job in result["jobs"]}
        assert states[f"{ids[1]}_1"] == states[f"{ids[1]}_2"] == "CANCELLED"
        assert states[str(ids[2])] == "COMPLETED"
        assert sum(name.startswith("pipe2-worker-slurm.") for name in outputs) == 2
        (finish,) = tmp_path.glob("pipe2-finish-slurm.*.out")
        assert finish.read_text() == "finished\n"
    assert clean(ray_slurm), strays(ray_slurm)


def test_a_cancelled_head_takes_everything_along(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    result = one_run(ray_slurm, tmp_path, "cancelled", nodes=3, code=0)
    assert [job["state"] for job in result["jobs"] if job["number"] != result["ids"][2]] == ["CANCELLED"] * 3
    assert result["outcomes"][2]["state"] == "COMPLETED", result["outputs"]
    assert result["token"] == "0o100600"
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


def test_a_worker_that_is_told_to_go_drains_itself_and_ends_well(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=2) as run:
        (_, worker, _) = json.loads((tmp_path / "ids.json").read_text())
        ray_slurm.run_on(HEAD, ["scancel", "--batch", "--signal=USR1", str(worker)])
        ray_slurm.wait_job(worker, "COMPLETED")
        (tmp_path / "wait").unlink()
        # The driver now waits for two nodes in vain; it has nothing to do with this.
        ray_slurm.run_on(HEAD, ["scancel", str(json.loads((tmp_path / "ids.json").read_text())[0])])
    result = run.result()
    assert "drained" in result["outputs"]
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


@pytest.mark.parametrize("which", ["head", "worker"])
def test_a_node_that_crashes_comes_back_into_the_run(ray_slurm: SlurmCluster, tmp_path: Path, which: str) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, workers, _ = json.loads((tmp_path / "ids.json").read_text())
        node = ray_slurm.job(head if which == "head" else f"{workers}_1")["NodeList"]
        ray_slurm.crash(node)
        ray_slurm.wait_job(head if which == "head" else f"{workers}_1", "PENDING")
        ray_slurm.boot(node)
        if which == "head":
            wait_until(lambda: (tmp_path / "begun").read_text().count("begun") == 2, 100, "the driver's second life")
        (tmp_path / "wait").unlink()
    result = run.result()
    assert result["outcomes"][0]["exit_code"] == 7, result["outputs"]
    assert result["outcomes"][0]["restarts"] == (which == "head")
    assert json.loads((tmp_path / "seen.json").read_text())["seen"] == sorted(ray_slurm.nodes)
    assert "its hold is lifted" in result["outputs"]
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


def test_what_a_killed_head_leaves_is_ended_by_the_job_after_it(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, *_ = json.loads((tmp_path / "ids.json").read_text())
        node = ray_slurm.job(head)["NodeList"]
        ray_slurm.run_on(node, ["pkill", "--signal=KILL", "--full", "cluster[.]head"])
    result = run.result()
    states = {job["id"].split("_")[0]: job["state"] for job in result["jobs"]}
    assert [states[str(number)] for number in result["ids"]] == ["FAILED", "CANCELLED", "COMPLETED"], result["outputs"]
    assert result["left"] == []
    # Its temporary folders stay: nobody was there to remove them.
    left = strays(ray_slurm)
    assert left[node].split() == [f"/tmp/raypipe-spill-{head}", f"/tmp/rp-{head}"]
    assert not any(text for name, text in left.items() if name != node)
    ray_slurm.run_on(node, ["rm", "-r", *left[node].split()])


@contextmanager
def waiting_run(cluster: SlurmCluster, folder: Path, *, nodes: int) -> Iterator[Future[dict[str, Any]]]:
    """Have a run whose driver waits until the file `wait` is gone; when the block begins, all its nodes have joined."""
    (folder / "wait").touch()
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(one_run, cluster, folder, "elastic", nodes=nodes, code=7)
        try:
            wait_until((folder / "joined").exists, 100, "all nodes to join")
            yield run
        finally:
            (folder / "wait").unlink(missing_ok=True)


def seen_head(result: dict[str, Any]) -> str:
    """Return the node that the head's job was on (the first of several)."""
    (nodes,) = [job["nodes"] for job in result["jobs"] if job["id"] == str(result["ids"][0])]
    before, bracket, numbers = str(nodes).partition("[")
    return before + (numbers.split("-")[0].split(",")[0] if bracket else "")

"""Whole runs on a real Slurm: the driver's exit code is passed on, and nothing is left on any node, however it ended."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import driver
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster

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


def seen_head(result: dict[str, Any]) -> str:
    """Return the node that the head's job was on (the first of several)."""
    (nodes,) = [job["nodes"] for job in result["jobs"] if job["id"] == str(result["ids"][0])]
    before, bracket, numbers = str(nodes).partition("[")
    return before + (numbers.split("-")[0].split(",")[0] if bracket else "")

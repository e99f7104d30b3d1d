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


def one_run(cluster: SlurmCluster, folder: Path, how: str, *, nodes: int, code: int, never: int = 0) -> dict[str, Any]:
    """Submit a run from the cluster's head and return what became of it; beside its nodes, it asks for some that `never` come."""
    command: list[str | Path] = [sys.executable, "-m", "tests.cluster.one_run", folder, how, str(nodes + never)]
    program: list[str | Path] = [sys.executable, driver.__file__, folder, str(nodes), str(code)]
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


def test_a_fixed_run_passes_its_exit_code_on_and_leaves_nothing(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    result = one_run(ray_slurm, tmp_path, "fixed", nodes=3, code=7)
    check_a_complete_run(ray_slurm, tmp_path, result, restarts=0)


def test_of_nodes_that_crash_the_head_and_a_worker_begin_again_elsewhere(
    ray_slurm: SlurmCluster, tmp_path: Path
) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, workers, finish = json.loads((tmp_path / "ids.json").read_text())
        crash_and_boot(ray_slurm, head)
        wait_until(lambda: lines(tmp_path / "joined") == 2, 100, "all nodes in the driver's second life")
        crash_and_boot(ray_slurm, f"{workers}_1")
        assert lines(tmp_path / "begun") == 2  # it goes on without the worker
        (tmp_path / "wait").unlink()
    result = run.result()
    check_a_complete_run(ray_slurm, tmp_path, result, restarts=1)
    assert lines(tmp_path / "begun") == 2
    assert f"{head} was queued again; its hold is lifted" in result["outputs"]
    assert f"{workers}_1 was queued again; its hold is lifted" in result["outputs"]
    assert states(result) == {
        head: "FAILED",
        f"{workers}_1": "CANCELLED",
        f"{workers}_2": "CANCELLED",
        finish: "COMPLETED",
    }
    of_workers = [path.name.split(".")[2] for path in tmp_path.glob("pipe2-worker-slurm.*.out")]
    assert set(of_workers) == {str(job["number"]) for job in result["jobs"] if job["id"].startswith(f"{workers}_")}
    (said,) = tmp_path.glob("pipe2-finish-slurm.*.out")
    assert said.read_text() == "finished\n"


def test_a_head_that_may_not_be_queued_again_says_what_to_do_and_leaves_nothing(
    ray_slurm: SlurmCluster, tmp_path: Path
) -> None:
    result = one_run(ray_slurm, tmp_path, "once", nodes=2, code=75)
    assert result["outcomes"][0]["exit_code"] == 75, result["outputs"]
    assert result["outcomes"][0]["restarts"] == 0
    assert "cannot be queued again" in result["outputs"]
    assert "`raypipe submit`" in result["outputs"]
    assert lines(tmp_path / "begun") == 1
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


def check_a_complete_run(cluster: SlurmCluster, folder: Path, result: dict[str, Any], *, restarts: int) -> None:
    """The driver had tasks on all nodes and ended with 7, so its job did, and nothing is left."""
    outcome = result["outcomes"][0]
    assert (outcome["state"], outcome["exit_code"], outcome["restarts"]) == ("FAILED", 7, restarts), result["outputs"]
    seen = json.loads((folder / "seen.json").read_text())
    assert len(seen["seen"]) == 3
    assert set(seen["seen"]) <= set(cluster.nodes)
    assert seen["auth"] == ["token", str(folder / "run" / "token")]
    assert result["token"] == "0o100600"
    assert result["left"] == []
    # 2000 MB, less 700 for Ray's own processes (and 500 for the driver), less a fifth for objects.
    assert sorted(node["memory"] // MB for node in seen["resources"]) == [400, 900, 900]
    assert {node["object_store_memory"] // MB for node in seen["resources"]} == {400}
    assert (folder / f"pipe2-slurm.{seen_head(result)}.{result['ids'][0]}.out").exists()
    assert clean(cluster), strays(cluster)


def test_a_worker_told_to_go_drains_itself_and_a_cancelled_head_takes_the_rest_along(
    ray_slurm: SlurmCluster, tmp_path: Path
) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, workers, finish = json.loads((tmp_path / "ids.json").read_text())
        ray_slurm.run_on(HEAD, ["scancel", "--batch", "--signal=USR1", f"{workers}_2"])
        ray_slurm.wait_job(f"{workers}_2", "COMPLETED")
        ray_slurm.run_on(HEAD, ["scancel", str(head)])
    result = run.result()
    assert result["outputs"].count("drained\n") == 1
    assert states(result) == {
        head: "CANCELLED",
        f"{workers}_1": "CANCELLED",
        f"{workers}_2": "COMPLETED",
        finish: "COMPLETED",
    }
    assert result["token"] == "0o100600"
    assert result["left"] == []
    assert clean(ray_slurm), strays(ray_slurm)


def test_what_a_killed_head_leaves_is_ended_by_the_job_after_it(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    with waiting_run(ray_slurm, tmp_path, nodes=3) as run:
        head, workers, finish = json.loads((tmp_path / "ids.json").read_text())
        node = ray_slurm.job(head)["NodeList"]
        ray_slurm.run_on(node, ["pkill", "--signal=KILL", "--full", "cluster[.]head"])
    result = run.result()
    expected = {head: "FAILED", f"{workers}_1": "CANCELLED", f"{workers}_2": "CANCELLED", finish: "COMPLETED"}
    assert states(result) == expected, result["outputs"]
    assert result["left"] == []
    # Its temporary folders stay: nobody was there to remove them. The next of our jobs on the node does.
    left = strays(ray_slurm)
    assert left[node].split() == [f"/tmp/raypipe-spill-{head}", f"/tmp/rp-{head}"]
    assert not any(text for name, text in left.items() if name != node)
    code = "import pathlib; from cluster.leftovers import *; remove_leftovers([pathlib.Path('/tmp')])"
    next_one = ray_slurm.submit(f'PYTHONPATH={ROOT} {sys.executable} -c "{code}"', f"--nodelist={node}")
    ray_slurm.wait_job(next_one, "COMPLETED")
    assert clean(ray_slurm), strays(ray_slurm)


def crash_and_boot(cluster: SlurmCluster, job: int | str) -> None:
    """Crash the node of a job, boot it as soon as Slurm has noticed, and wait until the job runs elsewhere.

    Given the job again, the node would end it: it still gets the order to, which was for the first life.
    """
    node = cluster.job(job)["NodeList"]
    cluster.crash(node)
    cluster.wait_job(job, "PENDING")
    cluster.boot(node)
    assert cluster.wait_job(job, "RUNNING")["NodeList"] != node


def states(result: dict[str, Any]) -> dict[int | str, str]:
    return {int(job["id"]) if job["id"].isdigit() else job["id"]: job["state"] for job in result["jobs"]}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@contextmanager
def waiting_run(
    cluster: SlurmCluster, folder: Path, *, nodes: int, how: str = "elastic", never: int = 0, joined: bool = True
) -> Iterator[Future[dict[str, Any]]]:
    """Have a run whose driver waits until the file `wait` is gone; when the block begins, all its nodes have `joined`, or the driver has begun."""
    (folder / "wait").touch()
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(one_run, cluster, folder, how, nodes=nodes, code=7, never=never)
        try:
            wait_until((folder / ("joined" if joined else "begun")).exists, 100, "all nodes to join")
            yield run
        except BaseException:
            for job in json.loads((folder / "ids.json").read_text()) if (folder / "ids.json").exists() else ():
                cluster.run_on(HEAD, ["scancel", str(job)], check=False)  # nobody waits for it any more
            raise
        finally:
            (folder / "wait").unlink(missing_ok=True)


def seen_head(result: dict[str, Any]) -> str:
    """Return the node that the head's job was on (the first of several)."""
    (nodes,) = [job["nodes"] for job in result["jobs"] if job["id"] == str(result["ids"][0])]
    before, bracket, numbers = str(nodes).partition("[")
    return before + (numbers.split("-")[0].split(",")[0] if bracket else "")


def test_neither_a_job_nor_slurm_keeps_the_submitters_credentials(ray_slurm: SlurmCluster, tmp_path: Path) -> None:
    job = f"#!/bin/sh\n#SBATCH --output=/dev/null\nenv > {tmp_path}/env\n"
    program = f"from cluster import slurm; print(slurm.submit({job!r}))"
    given = {"PYTHONPATH": str(ROOT), "AWS_REGION": "ap-southeast-1", "AWS_SECRET_ACCESS_KEY": "hunter22-of-the-tests"}
    number = int(ray_slurm.run_on(HEAD, [sys.executable, "-c", program], environment=given).stdout)
    ray_slurm.wait_job(number, "COMPLETED", seconds=60)
    seen = (tmp_path / "env").read_text().splitlines()
    assert "AWS_REGION=ap-southeast-1" in seen
    assert not [line for line in seen if "hunter22" in line]
    kept = [path for path in (ray_slurm.layout.directory / "state").rglob("*") if path.is_file()]
    assert any(b"AWS_REGION" in path.read_bytes() for path in kept), "Slurm keeps what sbatch saw"
    assert not any(b"hunter22" in path.read_bytes() for path in kept)

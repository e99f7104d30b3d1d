"""A real Ray of two nodes on this machine: joined, drained, lost and ended, without anything left of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, socket, sys, time
from pathlib import Path

import psutil

from cluster.errors import RayNotStarted
from cluster.ray_node import head_options, ray_node, worker_options
from cluster.run_folder import write_token
from cluster.share import MB, Share

folder, other = Path(sys.argv[1]), psutil.Popen(["sleep", "100"])
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(write_token(folder)))
share = Share(1, 200 * MB, 80 * MB)
said = {}
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
address = f"127.0.0.1:{port}"
worker = worker_options(share, head=address, address="127.0.0.1")
with ray_node(head_options(share, address="127.0.0.1", port=port), folder / "h", folder / "spill") as head:
    said["spill"] = (folder / "spill").is_dir()
    with ray_node(worker, folder / "w") as node:
        said["before"] = node.ended()
        node.drain(address, "a test")
        while (code := node.ended()) is None:
            time.sleep(0.1)
        said["drained"] = [code, head.ended()]
    said["worker's folder"] = (folder / "w").exists()
    try:
        with ray_node([*worker, "--no-such-option"], folder / "w"):
            pass
    except RayNotStarted as error:
        said["refused"] = str(error)
    write_token(folder)  # of another run
    try:
        with ray_node(worker, folder / "w"):
            pass
    except RayNotStarted as error:
        said["stranger"] = str(error)
    said["head"] = head.ended()
said["left"] = sorted(path.name for path in folder.iterdir())
said["others"] = [process.name() for process in psutil.Process().children(recursive=True)]
other.kill()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a process saw that had two nodes of Ray."""
    folder = tmp_path_factory.mktemp("r")
    short = Path("/tmp") / f"rt{folder.stat().st_ino}"  # sockets have short paths
    short.symlink_to(folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(short)], capture_output=True, text=True, timeout=180, check=False
        )
    finally:
        short.unlink()
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_a_drained_node_ends_with_zero_and_the_head_stays(said: dict[str, object]) -> None:
    assert said["before"] is None
    assert said["drained"] == [0, None]
    assert said["head"] is None


def test_what_ray_says_when_it_does_not_start_is_passed_on(said: dict[str, object]) -> None:
    assert "no-such-option" in str(said["refused"]).lower()
    assert "hint: " in str(said["refused"])


def test_another_runs_token_lets_nobody_in(said: dict[str, object]) -> None:
    assert "token" in str(said["stranger"]).lower()


def test_nothing_is_left_but_what_was_there_before(said: dict[str, object]) -> None:
    assert said["spill"]
    assert not said["worker's folder"]
    assert said["left"] == ["token"]
    assert said["others"] == ["sleep"]

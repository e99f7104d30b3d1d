"""A real Ray of two nodes on this machine: what a node holds when it is let go, and workers that never come."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, socket, sys, time
from pathlib import Path

from cluster.ray_node import head_options, ray_node, worker_options
from cluster.run_folder import write_token
from cluster.share import MB, Share

folder = Path(sys.argv[1])
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(write_token(folder)))

import ray  # which reads that
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raypipe.attached import Attached, _busy, nodes
from raypipe.config import Config, Slurm

share = Share(1, 400 * MB, 80 * MB)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
address = f"127.0.0.1:{port}"
head = head_options(share, address="127.0.0.1", port=port), folder / "h"
worker = worker_options(share, head=address, address="127.0.0.1"), folder / "w", folder / "scratch"
said = {}


def wait(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


with ray_node(*head), ray_node(*worker) as node:
    os.environ["RAY_ADDRESS"] = address
    place = Attached(folder, Config(slurm=Slurm(workers="2:4")), patience_seconds=2.0)
    with place.joined():
        said["nodes"] = len(nodes())
        other = next(each["NodeID"] for each in ray.nodes() if "node:__internal_head__" not in each["Resources"])
        there = {"scheduling_strategy": NodeAffinitySchedulingStrategy(other, soft=False)}

        @ray.remote(num_cpus=0, memory=100 * MB, **there)
        class Waiting:
            def ready(self):
                return True

        @ray.remote(num_cpus=1, **there)
        def made(size):
            return bytes(size)

        said["busy without work"] = wait(lambda: other not in _busy()) is False
        actor = Waiting.remote()
        ray.get(actor.ready.remote())
        said["busy with an actor that waits"] = wait(lambda: other in _busy())
        ray.kill(actor)
        said["busy when it has ended"] = not wait(lambda: other not in _busy())

        many = [made.remote(30 * MB) for _ in range(4)]
        ray.wait(many, num_returns=4, fetch_local=False)
        said["spilled"] = [path.is_file() for path in (folder / "scratch").rglob("*")].count(True) > 0
        del many

        only = made.remote(MB)
        ray.wait([only], fetch_local=False)
        said["busy with an object"] = not wait(lambda: other not in _busy())
        node.drain(address, "idle")
        time.sleep(5.0)
        said["gone with the only copy"] = node.ended()
        said["size"] = len(ray.get(only))
        del only
        said["gone without it"] = wait(lambda: node.ended() is not None) and node.ended()
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a driver saw of its two nodes."""
    folder = tmp_path_factory.mktemp("a")
    short = Path("/tmp") / f"ra{folder.stat().st_ino}"  # sockets have short paths
    short.symlink_to(folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(short)], capture_output=True, text=True, timeout=240, check=False
        )
    finally:
        short.unlink()
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_workers_that_never_come_are_not_waited_for_for_ever(said: dict[str, object]) -> None:
    assert said["nodes"] == 2  # the head's and one of two workers'


def test_a_node_is_idle_only_without_the_actors_that_wait_on_it(said: dict[str, object]) -> None:
    busy = {name: value for name, value in said.items() if name.startswith("busy")}
    assert busy == {
        "busy without work": False,
        "busy with an actor that waits": True,
        "busy when it has ended": False,
        "busy with an object": False,
    }


def test_a_node_that_is_let_go_stays_as_long_as_it_has_the_only_copy_of_what_is_needed(said: dict[str, object]) -> None:
    assert said["gone with the only copy"] is None
    assert said["size"] == 1 << 20
    assert said["gone without it"] == 0


def test_what_memory_does_not_hold_goes_to_the_scratch_disk(said: dict[str, object]) -> None:
    assert said["spilled"]

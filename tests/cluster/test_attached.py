"""A day on a real Ray whose nodes come and go: filters are where nodes stay, and in nobody's way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raypipe.memory import FILTER_BASE
from tests.compare import datasets
from tests.conftest import Processed

PROGRAM = """
import json, os, socket, sys, time
from contextlib import ExitStack
from pathlib import Path

from cluster.ray_node import drain, head_options, ray_node, worker_options
from cluster.run_folder import write_token
from cluster.share import MB, Share

folder, day, out = map(Path, sys.argv[1:])
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(write_token(folder)))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
os.environ["RAY_ADDRESS"] = address
share = Share(1, 900 * MB, 100 * MB)

import ray
from ray._private.state import actors

import raypipe
from raypipe import driver
from raypipe.attached import Attached, nodes
from raypipe.config import Config, Resources, Slurm
from raypipe.events import Note, PassProgressed

driver._NOTICE_SECONDS = 0.0  # no pass is so near its end
started, said = {}, {"notes": []}


def ids():
    return {node.id for node in nodes()}


def filters():
    return sorted(
        each["Address"]["NodeID"]
        for each in actors().values()
        if each["State"] == "ALIVE" and "FilterActor" in each["ActorClassName"]
    )


def join(name):
    before = ids()
    worker = stack.enter_context(ray_node(worker_options(share, head=address, address="127.0.0.1"), folder / name))
    while not ids() - before:
        time.sleep(0.1)
    started[name] = worker, *(ids() - before)


def listen(event):
    match event:
        case Note():
            said["notes"].append(event.text)
        case PassProgressed(session="session01", tiles_done=4):
            said["first"] = filters()
            drain(address, started["a"][1], "a test")
            join("b")
        case PassProgressed(session="session01") if event.tiles_done > 8 and "gone" not in said and said["notes"]:
            end = time.monotonic() + 120
            while (code := started["a"][0].ended()) is None and time.monotonic() < end:
                time.sleep(0.1)
            said["gone"] = code
        case PassProgressed(session="sessioneye", tiles_done=done, tiles=tiles) if done == tiles - 1:
            said["second"] = filters()


class Asked:
    # Notes what the scaler is told of the work.

    def look(self, needs, nodes, busy):
        said["needs"] = [(need.cpus, need.memory) for need in needs]
        return []


config = Config(run=Resources(tile_seconds=0.5, tiles_in_flight=1), slurm=Slurm(fixed=1))
head = head_options(share, address="127.0.0.1", port=int(address.rpartition(":")[2]))
with ExitStack() as stack:
    stack.enter_context(ray_node(head, folder / "h"))
    place = Attached(folder, config)
    with place.joined():
        place.scaler = Asked()
        join("a")
        (here,) = ids() - {started["a"][1]}
        report = raypipe.run_day(
            day, output=out, only=["rplhighpass"], config=config, listeners=[listen], place=place
        )
said |= {"code": report.exit_code, "head": here, "nodes": {name: node for name, (_, node) in started.items()}}
print(json.dumps(said))
"""


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A folder with a short path, for sockets."""
    link = Path("/tmp") / f"ra{tmp_path.stat().st_ino}"
    link.symlink_to(tmp_path)
    return link


def test_filters_leave_a_node_that_is_drained_and_are_spread_over_one_that_came(
    simulated: Path, processed: Processed, tmp_path: Path, short: Path
) -> None:
    try:
        command = [sys.executable, "-c", PROGRAM, str(short), str(simulated), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    finally:
        short.unlink()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    head, first, second = said["head"], said["nodes"]["a"], said["nodes"]["b"]
    assert said["code"] == 0
    assert [cpus for cpus, _ in said["needs"]] == [1, 1]
    assert all(memory > FILTER_BASE for _, memory in said["needs"]), "a filter worker's memory counts"
    assert said["first"] == sorted([head, first])
    (note,) = [note for note in said["notes"] if "about to go" in note]
    assert "begun again" in note
    assert said["gone"] == 0, "the drained node ended in mid-pass"
    assert said["second"] == sorted([head, second])
    expected = {name: value for name, value in datasets(processed.folder).items() if "rplhighpass" in name}
    assert datasets(tmp_path / "out" / "picasso" / "20181105") == expected

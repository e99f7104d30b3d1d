"""SIGKILL at every call and every rename, then the same again: nothing is lost at any moment, and it ends as it should."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from cluster.aws.finalize import Finalizer
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Outcome
from tests.aws import runner
from tests.aws.world import Cluster

_LOOKS = {"snapshot_looks": 1, "fleet_looks": 0, "stack_looks": 1}
_LOOKING = ("Describe", "Get")


@pytest.fixture(scope="session")
def processes(emulator: Any) -> Any:
    """Where processes come from that have our modules and clients already (made for this emulator)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.aws.runner"])
    return context


def run_in_process(processes: Any, cluster: Cluster, settings: FinalizeSettings, good: bool = True, **plan: Any) -> int:
    """Run the finalizer in a process of its own, and return how it ended."""
    cluster.emulator.begin(**(_LOOKS | plan))
    process = processes.Process(target=runner.run, args=(cluster.emulator.url, settings, good))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def assert_nothing_lost(cluster: Cluster, keep: int = 2, run: str = "run-1") -> None:
    """What holds at every moment, whatever was killed where."""
    found = cluster.snapshots()
    completed = {id for id, one in found.items() if one["State"] == "completed"}
    mine = cluster.of_run(run)
    assert len(mine) <= 1
    assert cluster.foreign in completed
    assert cluster.named() in completed
    assert len(completed - {cluster.foreign}) >= keep
    if not set(mine) & completed:
        assert set(cluster.old) <= completed
        assert cluster.named() == cluster.old[-1]
    if not set(cluster.old) <= completed or cluster.status().startswith("DELETE"):
        assert cluster.named() == mine[0]


def assert_ended(cluster: Cluster, run: str = "run-1") -> None:
    """What holds in the end."""
    (new,) = cluster.of_run(run)
    assert cluster.status() == "DELETE_COMPLETE"
    assert cluster.named() == new
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    leftovers = {path.name for path in cluster.config.parent.iterdir() if cluster.name in path.name}
    assert leftovers == {cluster.config.name, f"{cluster.config.name}.before-{new}"}


@pytest.mark.timeout(1800)
def test_killed_anywhere_and_run_again(make: Callable[..., Cluster], processes: Any) -> None:
    whole = make()
    assert run_in_process(processes, whole, whole.settings()) == 0
    log = whole.emulator.log()
    assert_ended(whole)
    assert [entry["action"] for entry in log if entry["action"] == "Rename"] == ["Rename", "Rename"]
    sites = [(entry["index"], entry["action"], when) for entry in log for when in ("before", "after")]
    # Killed at a look, the world is what it is after the last call that changed it; RAYPIPE_ALL_KILLS=1 tries it all the same.
    if "RAYPIPE_ALL_KILLS" not in os.environ:
        sites = [site for site in sites if not site[1].startswith(_LOOKING)]
    for index, action, when in sites:
        whole.emulator.fake("reset")
        cluster = make()
        ended = run_in_process(processes, cluster, cluster.settings(), kill={"index": index, "when": when})
        (*_, last) = cluster.emulator.log()
        try:
            assert (ended, last["index"], last["action"]) == (-signal.SIGKILL, index, action)
            assert_nothing_lost(cluster)
            cluster.lease_runs_out()
            Finalizer(cluster.settings(), Outcome(True, ""), cluster.tools).finalize()
            assert_ended(cluster)
        except Exception as error:
            error.add_note(f"killed {when} {action}, call {index}")
            raise
    assert len(sites) > 20

"""The end of a run when nobody waits: the function runs as it would on AWS, woken by what really happens."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.aws.actions import Done
from cluster.aws.arm import arm, function_name
from cluster.aws.calls import Aws
from cluster.aws.finalize import Finalizer
from cluster.aws.parts import Account
from cluster.aws.settings import INTENT, RUN, SET, STACK
from cluster.aws.state import Outcome
from tests.aws.world import Cluster, arms_of, in_bucket

_AT_ONCE = {"fleet_looks": 0, "stack_looks": 0, "snapshot_looks": None}
"""What is waited for comes at once, but for snapshots: those end when they are told to."""


@pytest.fixture
def told(aws: Aws, cluster: Cluster) -> str:
    """A topic."""
    return str(aws.sns.create_topic(Name=f"ends-{cluster.name}")["TopicArn"])


@pytest.fixture
def address(cluster: Cluster, told: str) -> str:
    """An armed cluster, and where its configuration is."""
    arm(Account(cluster.aws.region), arms_of(cluster, channels=(told,)))
    where = in_bucket(cluster)
    cluster.emulator.begin(**_AT_ONCE)
    return where


def functions(cluster: Cluster) -> list[dict[str, Any]]:
    """Wait until no function runs, and return the lives of all."""
    cluster.emulator.fake("idle")
    found: list[dict[str, Any]] = cluster.emulator.fake("functions")
    return found


def run_to_snapshot(cluster: Cluster, address: str) -> str:
    """Let somebody finalize by hand until there is a snapshot, and go away."""
    finalizer = Finalizer(cluster.settings(config=address), Outcome(True, "41 tasks"), cluster.tools)
    with finalizer.holding():
        finalizer.advance()
    assert cluster.fleet() == "STOPPED"
    (pending,) = cluster.of_run()
    return pending


def assert_not_yet(cluster: Cluster, address: str) -> None:
    assert cluster.named(address) == cluster.old[-1]
    assert {*cluster.old, cluster.foreign} <= set(cluster.snapshots())
    assert cluster.status() == "CREATE_COMPLETE"


def assert_ended(cluster: Cluster, address: str) -> str:
    (new,) = cluster.of_run()
    assert cluster.named(address) == new
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    assert cluster.status() == "DELETE_COMPLETE"
    return new


def test_a_run_is_handed_over_and_ends_by_itself(cluster: Cluster, address: str, told: str) -> None:
    tools = type(cluster.tools)(cluster.aws, None, (told,), function=function_name(cluster.name))
    settings = cluster.settings(config=address)
    done = Finalizer(settings, Outcome(True, "41 tasks, 3 h"), tools, stays=False).finalize()
    assert done == Done(f"handed over to raypipe-{cluster.name}")

    (first,) = functions(cluster)
    (new,) = cluster.of_run()
    assert first["result"]["runs"] == [{"run": "run-1", "stands": "Wait", "text": f"{new}, which is pending"}]
    assert (first["result"]["woken_by"], json.loads(first["out"])) == ("a hand-over", first["result"])
    assert cluster.fleet() == "STOPPED"
    assert_not_yet(cluster, address)

    cluster.emulator.fake("snapshot", id=new, ends="completed")
    (_, second) = functions(cluster)
    assert second["result"]["runs"] == [
        {"run": "run-1", "stands": "Done", "text": f"{new} holds the data; the cluster is gone"}
    ]
    assert_ended(cluster, address)
    published = [entry["parameters"]["Subject"] for entry in cluster.emulator.log() if entry["action"] == "Publish"]
    assert published == ["raypipe: run run-1 done", f"raypipe: run run-1: {new} completed"]
    (deleted,) = (entry["parameters"] for entry in cluster.emulator.log() if entry["action"] == "DeleteStack")
    assert deleted["RoleARN"].endswith(f":role/raypipe-{cluster.name}-delete")

    cluster.emulator.fake("tick")  # nothing is left to be done
    assert functions(cluster)[-1]["result"]["runs"] == []


def test_an_event_that_is_early_and_one_that_comes_twice(cluster: Cluster, address: str) -> None:
    pending = run_to_snapshot(cluster, address)
    cluster.emulator.fake("event", id=pending, ends="completed")
    (early,) = functions(cluster)
    assert early["result"]["runs"][0]["stands"] == "Wait"
    assert_not_yet(cluster, address)

    cluster.emulator.begin(**_AT_ONCE, event_copies=2)  # both at once
    cluster.emulator.fake("snapshot", id=pending, ends="completed")
    assert [life["error"] for life in functions(cluster)] == [None] * 3
    if cluster.status() != "DELETE_COMPLETE":  # the one that waited for the other was the last
        cluster.emulator.fake("tick")
        functions(cluster)
    assert_ended(cluster, address)
    assert cluster.emulator.actions().count("DeleteStack") == 1


def test_an_event_that_is_lost_and_one_of_somebody_elses(cluster: Cluster, address: str) -> None:
    pending = run_to_snapshot(cluster, address)
    cluster.emulator.fake("event", id=cluster.foreign, ends="completed")
    functions(cluster)
    assert_not_yet(cluster, address)

    cluster.emulator.begin(**_AT_ONCE, event_copies=0)
    cluster.emulator.fake("snapshot", id=pending, ends="completed")
    assert len(functions(cluster)) == 1
    cluster.emulator.fake("tick")
    assert functions(cluster)[-1]["result"]["woken_by"] == "Scheduled Event"
    assert_ended(cluster, address)


def test_a_snapshot_that_fails_is_made_once_more(cluster: Cluster, address: str) -> None:
    tools = type(cluster.tools)(cluster.aws, None, function=function_name(cluster.name))
    Finalizer(cluster.settings(config=address), Outcome(True, "41 tasks"), tools, stays=False).finalize()
    functions(cluster)
    (failed,) = cluster.of_run()
    intent = {"Key": INTENT, "Value": "run-1 whoever 0"}  # EC2's minute to list a new snapshot is over
    cluster.aws.ec2.create_tags(Resources=[cluster.volume], Tags=[intent])
    cluster.emulator.fake("snapshot", id=failed, ends="error")
    functions(cluster)
    assert_not_yet(cluster, address)

    (again,) = cluster.of_run()
    assert again != failed
    cluster.emulator.fake("snapshot", id=again, ends="completed")
    functions(cluster)
    assert cluster.named(address) == again
    assert cluster.status() == "DELETE_COMPLETE"


def test_a_function_that_is_killed_goes_on_an_hour_later(cluster: Cluster, address: str) -> None:
    pending = run_to_snapshot(cluster, address)
    cluster.emulator.begin(**_AT_ONCE, kill={"action": "DeleteSnapshot", "when": "after", "times": 1})
    cluster.emulator.fake("snapshot", id=pending, ends="completed")
    lives = functions(cluster)
    assert [(life["attempt"], life["code"]) for life in lives] == [(1, -9), (2, 0)]
    assert lives[1]["result"]["runs"][0]["text"] == "another finalizer of this cluster"  # until its lease ends
    assert cluster.named(address) == pending
    assert cluster.status() == "CREATE_COMPLETE"

    cluster.lease_runs_out()
    cluster.emulator.fake("tick")
    functions(cluster)
    assert_ended(cluster, address)


def test_it_is_tried_again_when_aws_is_busy(cluster: Cluster, address: str) -> None:
    pending = run_to_snapshot(cluster, address)
    cluster.emulator.begin(**_AT_ONCE, faults=[{"action": "PutObject", "kind": "error", "times": 5}])
    cluster.emulator.fake("snapshot", id=pending, ends="completed")
    lives = functions(cluster)
    assert [life["attempt"] for life in lives] == [1, 2]
    assert lives[0]["error"]["errorType"] == "RunsStuck"
    assert_ended(cluster, address)


def test_runs_of_other_clusters_are_not_its_own(make: Callable[..., Cluster], cluster: Cluster, address: str) -> None:
    other = make_other(make, cluster)
    cluster.emulator.fake("tick")
    assert functions(cluster)[-1]["result"]["runs"] == []
    assert other in cluster.snapshots()


def make_other(make: Callable[..., Cluster], cluster: Cluster) -> str:
    """Make a snapshot of a run of another cluster, with all its tags."""
    stack = cluster.stack.replace(cluster.name, "another")
    settings = cluster.settings(run="run-x", cluster=stack)
    return cluster.snapshot("run-x", age=1, **(settings.as_tags() | {RUN: "run-x", SET: "another", STACK: stack}))

"""The end of a run, over HTTP against an emulated AWS."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.aws.act import Tools
from cluster.aws.actions import Done, Wait
from cluster.aws.calls import Aws, connect
from cluster.aws.finalize import Finalizer
from cluster.aws.settings import PINNED, RUN, SET, STACK
from cluster.aws.state import Outcome
from cluster.aws.sweep import sweep
from cluster.errors import (
    ClusterError,
    FinalizeLate,
    FinalizeRefused,
    FinalizeUnproven,
)
from tests.aws.world import Cluster

GOOD = Outcome(True, "41 tasks, 3 h")
FAILED = Outcome(False, "2 of 41 tasks failed")


def finalize(cluster: Cluster, outcome: Outcome = GOOD, /, **settings: Any) -> Done:
    return Finalizer(cluster.settings(**settings), outcome, cluster.tools).finalize()


def assert_ended(cluster: Cluster, *others: str) -> str:
    (new,) = cluster.of_run()
    assert cluster.status() == "DELETE_COMPLETE"
    assert cluster.named() == new
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign, *others}
    return new


def assert_nothing_deleted(cluster: Cluster) -> None:
    assert cluster.status() == "CREATE_COMPLETE"
    assert {*cluster.old, cluster.foreign} <= set(cluster.snapshots())
    assert cluster.named() == cluster.old[-1]


def test_a_good_run_leaves_its_snapshot_the_newest_one_before_and_no_cluster(cluster: Cluster) -> None:
    done = finalize(cluster)

    new = assert_ended(cluster)
    assert done == Done(f"{new} holds the data; the cluster is gone")
    assert (cluster.config.parent / f"{cluster.config.name}.before-{new}").read_bytes() == cluster.text
    assert cluster.emulator.actions() == [
        "CreateTags", "UpdateItem", "CreateTags", "CreateSnapshot", "DeleteSnapshot", "DeleteSnapshot", "CreateTags",
        "DeleteStack",
    ]  # fmt: skip
    tags = {tag["Key"]: tag["Value"] for tag in cluster.snapshots()[new]["Tags"]}
    assert (tags[RUN], tags[SET], tags[STACK]) == ("run-1", cluster.name, cluster.stack)


def test_once_more_does_nothing(cluster: Cluster) -> None:
    finalize(cluster)
    before, text = cluster.snapshots(), cluster.config.read_bytes()
    cluster.emulator.begin()

    finalize(cluster)

    assert cluster.emulator.actions() == []
    assert (cluster.snapshots(), cluster.config.read_bytes()) == (before, text)


def test_a_plan_tells_all_and_changes_nothing(cluster: Cluster) -> None:
    steps = Finalizer(cluster.settings(), GOOD, cluster.tools).plan()

    assert [type(step.action).__name__ for step in steps] == [
        "Verify", "Tell", "StopFleet", "Wait", "Intend", "CreateSnapshot", "Wait", "Repoint",
        "DeleteSnapshot", "DeleteSnapshot", "Tell", "DeleteCluster", "Wait", "Done",
    ]  # fmt: skip
    assert cluster.emulator.actions() == []
    assert [entry for entry in cluster.emulator.log() if entry["action"] == "PutItem"] == []
    assert_nothing_deleted(cluster)


@pytest.mark.parametrize(
    ("policy", "fleet", "taken", "status"),
    [
        ("nothing", "RUNNING", 0, "CREATE_COMPLETE"),
        ("stop-fleet", "STOPPED", 0, "CREATE_COMPLETE"),
        ("snapshot-keep-cluster", "STOPPED", 1, "CREATE_COMPLETE"),
        ("teardown", "", 1, "DELETE_COMPLETE"),
    ],
)
def test_a_failed_run(cluster: Cluster, policy: str, fleet: str, taken: int, status: str) -> None:
    finalize(cluster, FAILED, on_failure=policy)

    assert len(cluster.of_run()) == taken
    assert cluster.status() == status
    assert {*cluster.old, cluster.foreign} <= set(cluster.snapshots())  # none goes for a run that failed
    if policy == "teardown":
        assert cluster.named() == cluster.of_run()[0]
    else:
        assert cluster.named() == cluster.old[-1]
        assert cluster.fleet() == fleet


def test_outputs_that_do_not_hold_make_a_failed_run(cluster: Cluster) -> None:
    Finalizer(cluster.settings(), GOOD, cluster.tools, verify=lambda: ["rplraw_d41d.hkl: torn"]).finalize()
    assert_nothing_deleted(cluster)
    assert len(cluster.of_run()) == 1


def test_pinned_foreign_and_used_snapshots_stay(cluster: Cluster) -> None:
    pinned = cluster.snapshot("old-11", age=11, **{PINNED: "the paper's"})
    elsewhere = cluster.snapshot("old-12", age=12, **{SET: "another"})
    cluster.emulator.begin(in_use=[cluster.old[0]])

    finalize(cluster)

    assert_ended(cluster, pinned, elsewhere, cluster.old[0])


def test_a_name_that_was_used_again(make: Callable[..., Cluster]) -> None:
    first = make(name="again")
    finalize(first)
    text = first.config.read_bytes()
    second = make(name="again")
    first.config.write_bytes(text)

    assert "is gone" in finalize(first).text
    with pytest.raises(FinalizeUnproven, match="DELETE_COMPLETE, and there is no snapshot of run run-2"):
        finalize(first, run="run-2", cluster=first.stack)
    assert second.status() == "CREATE_COMPLETE"
    assert not {"CreateSnapshot", "DeleteStack"} & set(second.emulator.actions())
    assert first.config.read_bytes() == text


def test_a_cluster_that_raypipe_did_not_make_is_ended_by_its_stacks_id_alone(make: Callable[..., Cluster]) -> None:
    cluster = make(managed="false")
    with pytest.raises(FinalizeRefused, match="no tag raypipe:managed=true") as caught:
        finalize(cluster)
    assert (caught.value.exit_code, cluster.emulator.actions()) == (3, [])
    assert cluster.stack in caught.value.hint
    finalize(cluster, cluster=cluster.stack)
    assert_ended(cluster)


def test_but_not_for_ever(cluster: Cluster) -> None:
    cluster.emulator.begin(snapshot_ends=["error"] * 5)
    for _ in range(2):
        with pytest.raises(FinalizeUnproven, match="2 snapshots of run run-1 ended in an error") as caught:
            finalize(cluster)
    assert caught.value.exit_code == 5
    assert cluster.emulator.actions().count("CreateSnapshot") == 2
    assert_nothing_deleted(cluster)


def test_while_one_works_another_leaves_or_waits(cluster: Cluster) -> None:
    cluster.emulator.begin(snapshot_looks=None)
    first = Finalizer(cluster.settings(), GOOD, cluster.tools)
    assert first.advance() == Wait("the compute nodes to stop")

    with pytest.raises(FinalizeLate, match="another finalizer is at work") as caught:
        Finalizer(cluster.settings(), GOOD, cluster.tools).finalize(wait_for_others=False)
    assert caught.value.exit_code == 75
    assert Finalizer(cluster.settings(), GOOD, cluster.tools).advance() == Wait("another finalizer of this cluster")
    cluster.lease_runs_out()
    cluster.emulator.begin()
    finalize(cluster)
    assert_ended(cluster)


def test_three_at_once(cluster: Cluster) -> None:
    ends: list[Done | ClusterError] = []

    def run() -> None:
        try:
            ends.append(Finalizer(cluster.settings(), GOOD, Tools(connect(), cluster.tools.pcluster)).finalize())
        except ClusterError as error:
            ends.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [type(end) for end in ends] == [Done] * 3
    assert_ended(cluster)
    assert cluster.emulator.actions().count("CreateSnapshot") == 1


def test_three_at_once_without_a_lease_do_no_harm(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.aws.lease.Lease.take", lambda _: True)
    ends: list[object] = []
    threads = [threading.Thread(target=lambda: ends.append(finalize(cluster))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finalize(cluster)
    assert_ended(cluster)


def test_a_sweep_goes_on_from_tags_alone(cluster: Cluster, aws: Aws) -> None:
    cluster.emulator.begin(snapshot_looks=None)
    first = Finalizer(cluster.settings(), GOOD, cluster.tools)
    while not cluster.of_run():
        first.advance()
    cluster.lease_runs_out()  # it was killed
    without_pcluster = Tools(aws, None)

    assert dict(sweep(without_pcluster))["run-1"] == Wait(f"{cluster.of_run()[0]}, which is pending", hours=True)
    cluster.emulator.begin(snapshot_looks=0)
    stands = [end for end in (dict(sweep(without_pcluster)).get("run-1") for _ in range(4)) if end is not None]

    assert_ended(cluster)
    assert stands[0] == Wait(f"the deletion of cluster {cluster.name}")
    assert "run-1" not in dict(sweep(without_pcluster))


def test_people_are_told_and_trouble_with_that_stops_nothing(
    cluster: Cluster, aws: Aws, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = aws.sns.create_topic(Name="ends")["TopicArn"]
    cluster.emulator.begin(faults=[{"action": "Publish", "kind": "error", "times": 2}])
    channels = (topic, f"tee {tmp_path}/told", "false", "http://127.0.0.1:1/secret", "")
    Finalizer(cluster.settings(), GOOD, replace(cluster.tools, channels=channels)).finalize()

    new = assert_ended(cluster)
    assert (tmp_path / "told").read_text().startswith(f"run run-1: {new} completed\n\n{new} holds the data")
    published = [entry["parameters"] for entry in cluster.emulator.log() if entry["action"] == "Publish"]
    assert [one["Subject"] for one in published] == ["raypipe: run run-1 done"] * 2 + [
        f"raypipe: run run-1: {new} completed"
    ]
    assert "secret" not in caplog.text
    assert len([message for message in caplog.messages if "URL at 127.0.0.1:1" in message]) == 2

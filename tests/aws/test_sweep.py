"""What is handed over to a function, and what that goes on with, over HTTP against an emulated AWS."""

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from cluster.aws.act import Tools
from cluster.aws.actions import Done, Stop, Wait
from cluster.aws.finalize import Finalizer
from cluster.aws.settings import INTENT, PINNED, REQUEST, REQUEST_TAGS, RUN, FinalizeSettings
from cluster.aws.state import Outcome
from cluster.aws.sweep import stuck_mark, sweep
from cluster.errors import AwsRefused, ConfigRefused, FinalizeRefused, FinalizeUnproven
from tests.aws.world import Cluster, make_snapshot

GOOD = Outcome(True, "41 tasks, 3 h; the log is at /data/day/run.log")
FAILED = Outcome(False, "2 of 41 tasks failed")


def make_role(name: str, service: str) -> str:
    """Make a role that may do anything for a service, and return its ARN."""
    iam, principal = boto3.client("iam"), {"Service": f"{service}.amazonaws.com"}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
    }
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    anything = {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(anything))
    return str(arn)


@pytest.fixture
def armed(cluster: Cluster) -> Tools:
    """Tools of a compute node, where there is a function that does nothing by itself."""
    name = f"raypipe-{cluster.name}"
    role = make_role(name, "lambda")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("nothing.py", "def handler(event, context):\n    pass\n")
    cluster.aws.functions.create_function(
        FunctionName=name, Role=role, Runtime="python3.13", Handler="nothing.handler", Code={"ZipFile": zipped.getvalue()}
    )  # fmt: skip
    cluster.emulator.begin()
    return replace(cluster.tools, pcluster=("no-such-pcluster",), function=name)


@pytest.fixture
def remote(cluster: Cluster) -> Tools:
    """Tools of the function."""
    return Tools(cluster.aws, None)


def calls(cluster: Cluster) -> list[str]:
    """What changed something, but for the configuration and what the function itself prints."""
    return cluster.emulator.actions("PutObject", "PutLogEvents")


def in_bucket(cluster: Cluster, **others: Any) -> FinalizeSettings:
    """Settings whose configuration is in S3."""
    s3 = cluster.aws.s3
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"})
        s3.put_object(Bucket="lab", Key="c.yaml", Body=cluster.text)
    return cluster.settings(config="s3://lab/c.yaml", **others)


def hand_over(cluster: Cluster, armed: Tools, outcome: Outcome = GOOD, **others: Any) -> Done:
    return Finalizer(in_bucket(cluster, **others), outcome, armed, stays=False).finalize()


def named(cluster: Cluster) -> str:
    """The snapshot that the configuration in S3 names."""
    cluster.config.write_bytes(cluster.aws.s3.get_object(Bucket="lab", Key="c.yaml")["Body"].read())
    return cluster.named()


def request_on(cluster: Cluster) -> dict[str, str]:
    (found,) = cluster.aws.ec2.describe_volumes(VolumeIds=[cluster.volume])["Volumes"]
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", []) if tag["Key"] in REQUEST_TAGS}


def set_fleet(cluster: Cluster, status: str, ago: float = 0.0) -> None:
    """Do what somebody does with `pcluster update-compute-fleet`, and what comes of it."""
    since = datetime.now(UTC) - timedelta(seconds=ago)
    fleet = {"status": {"S": status}, "lastStatusUpdatedTime": {"S": str(since)}}
    item = {"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": fleet}}
    cluster.aws.dynamodb.put_item(TableName=f"parallelcluster-{cluster.name}", Item=item)


def sweeps(tools: Tools, cluster: Cluster, until: type | tuple[type, ...] = Done) -> Any:
    """Sweep until a run stands so."""
    for _ in range(12):
        (stands,) = dict(sweep(tools, cluster.name)).values()
        if isinstance(stands, until):
            return stands
    raise AssertionError(stands)


def test_what_is_handed_over_is_gone_on_with_elsewhere(cluster: Cluster, armed: Tools, remote: Tools) -> None:
    assert hand_over(cluster, armed) == Done(f"handed over to {armed.function}")

    assert calls(cluster) == ["CreateTags", "CreateTags", "Invoke"]
    assert cluster.fleet() == "RUNNING"
    assert request_on(cluster)[REQUEST] == "41 tasks 3 h the log is at /data/day/run.log"
    assert sweep(remote, "another") == []
    assert sweep(remote, cluster.name) == [("run-1", Wait("the compute nodes to stop"))]
    cluster.emulator.begin(snapshot_looks=None)
    ((_, stands),) = sweep(remote, cluster.name, seconds=60, every=0.01)
    (new,) = cluster.of_run()
    assert stands == Wait(f"{new}, which is pending", hours=True)
    cluster.emulator.begin()
    ((_, stands),) = sweep(remote, cluster.name, seconds=60, every=0.01)
    assert stands == Done(f"{new} holds the data; the cluster is gone")
    assert (cluster.status(), named(cluster)) == ("DELETE_COMPLETE", new)
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    cluster.emulator.begin()
    assert sweep(remote, cluster.name) == []
    assert cluster.emulator.actions() == []


def test_handed_over_again_it_only_wakes(cluster: Cluster, armed: Tools, remote: Tools) -> None:
    hand_over(cluster, armed)
    cluster.emulator.begin()
    hand_over(cluster, armed)
    assert calls(cluster) == ["Invoke"]
    while not cluster.of_run():
        sweep(remote)
    cluster.emulator.begin()
    hand_over(cluster, armed)
    assert calls(cluster) == ["Invoke"]
    assert request_on(cluster) == {}


def test_of_runs_that_end_together_the_worse_end_counts(cluster: Cluster, armed: Tools, remote: Tools) -> None:
    hand_over(cluster, armed, FAILED, run="run-0")
    hand_over(cluster, armed)
    hand_over(cluster, armed)
    assert request_on(cluster)[RUN] == "run-1"
    done = sweeps(remote, cluster)
    assert done == Done(f"{cluster.of_run()[0]} holds the data; the cluster is kept")
    assert (cluster.status(), request_on(cluster)) == ("CREATE_COMPLETE", {})


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_whoever_changes_their_mind_and_leaves_is_listened_to(
    cluster: Cluster, armed: Tools, remote: Tools, has_snapshot: bool
) -> None:
    hand_over(cluster, armed)
    cluster.emulator.begin(snapshot_looks=None)
    while has_snapshot and not cluster.of_run():
        sweep(remote)

    by_hand = Finalizer(in_bucket(cluster, delete_cluster=False), GOOD, cluster.tools)
    with by_hand.holding():
        assert isinstance(by_hand.advance(), Wait)  # and Ctrl-C
    cluster.emulator.begin()
    assert sweeps(remote, cluster) == Done(f"{cluster.of_run()[0]} holds the data; the cluster is kept")
    assert cluster.status() == "CREATE_COMPLETE"

    hand_over(cluster, armed)  # it may go after all
    assert sweeps(remote, cluster) == Done(f"{cluster.of_run()[0]} holds the data; the cluster is gone")


def test_a_request_that_is_not_listed_yet_is_looked_for_again(cluster: Cluster, remote: Tools) -> None:
    assert sweep(remote, cluster.name, run="run-1", seconds=1.0, every=0.02) == []
    assert [entry["action"] for entry in cluster.emulator.log()].count("DescribeVolumes") > 1


def test_what_it_would_be_is_foreseen(cluster: Cluster, armed: Tools) -> None:
    steps = Finalizer(in_bucket(cluster), GOOD, armed, stays=False).plan()
    assert [step.text for step in steps] == [
        "read the outputs of run run-1 again",
        "tell: run run-1 done",
        f"write on {cluster.volume} how run run-1 is to end",
        f"hand over to {armed.function}",
        f"handed over to {armed.function}",
    ]


@pytest.mark.parametrize(
    ("config", "function", "why"),
    [
        ("", "", "the configuration .* is a file here"),
        ("s3://lab/c.yaml", "", "there is no function for cluster"),
        ("s3://lab/c.yaml", "raypipe-nobody", "there is no function for cluster"),
    ],
)
def test_what_cannot_be_handed_over_is_refused_before_anything_is_done(
    cluster: Cluster, armed: Tools, config: str, function: str, why: str
) -> None:
    settings = in_bucket(cluster)
    settings = settings if config else replace(settings, config=str(cluster.config))
    with pytest.raises(FinalizeRefused, match=why) as caught:
        Finalizer(settings, GOOD, replace(armed, function=function), stays=False).finalize()
    assert (caught.value.exit_code, calls(cluster)) == (3, [])
    assert "raypipe finalize" in caught.value.hint


@pytest.mark.parametrize(
    ("policy", "outcome", "taken"),
    [("nothing", FAILED, 0), ("stop-fleet", FAILED, 0), ("snapshot-keep-cluster", FAILED, 1), ("kept", GOOD, 1)],
)
def test_a_fleet_that_was_started_again_is_never_stopped_for_the_run_before(
    cluster: Cluster, armed: Tools, remote: Tools, policy: str, outcome: Outcome, taken: int
) -> None:
    wanted = {"delete_cluster": False} if policy == "kept" else {"on_failure": policy}
    hand_over(cluster, armed, outcome, **wanted)
    if policy != "nothing":
        assert "kept" in sweeps(remote, cluster).text
    assert request_on(cluster) == {}
    set_fleet(cluster, "RUNNING")

    assert sweep(remote) == []
    assert (cluster.fleet(), len(cluster.of_run()), cluster.status()) == ("RUNNING", taken, "CREATE_COMPLETE")


def test_a_failed_run_may_take_the_cluster_with_it(cluster: Cluster, armed: Tools, remote: Tools) -> None:
    hand_over(cluster, armed, FAILED, on_failure="teardown")
    assert "gone" in sweeps(remote, cluster).text
    assert cluster.status() == "DELETE_COMPLETE"
    assert {*cluster.old, *cluster.of_run()} <= set(cluster.snapshots())


@pytest.mark.parametrize("policy", ["stop-fleet", "snapshot-keep-cluster", "teardown"])
def test_started_again_before_its_stop_was_seen_it_is_left(
    cluster: Cluster, armed: Tools, remote: Tools, tmp_path: Path, policy: str
) -> None:
    hand_over(cluster, armed, FAILED, on_failure=policy)
    assert sweep(remote) == [("run-1", Wait("the compute nodes to stop"))]
    set_fleet(cluster, "RUNNING")  # it had stopped, and nobody saw it

    ((_, stands),) = sweep(replace(remote, channels=(f"tee -a {tmp_path}/told",)))

    assert isinstance(stands, Done if policy == "stop-fleet" else FinalizeUnproven)
    assert (cluster.fleet(), request_on(cluster), cluster.of_run()) == ("RUNNING", {}, [])
    assert sweep(remote) == []
    if policy != "stop-fleet":
        assert (tmp_path / "told").read_text().count("the data are NOT proven safe") == 1


@pytest.mark.parametrize("stopped_again", [False, True])
def test_a_cluster_on_which_the_next_run_began_is_not_deleted(
    cluster: Cluster, armed: Tools, remote: Tools, stopped_again: bool
) -> None:
    hand_over(cluster, armed)
    cluster.emulator.begin(snapshot_looks=None, fleet_looks=0)
    while not cluster.of_run():
        sweep(remote)
    set_fleet(cluster, "STOPPED" if stopped_again else "RUNNING", ago=-120.0)
    cluster.emulator.begin()

    assert "is kept, since its compute nodes were started again" in sweeps(remote, cluster).text

    assert (cluster.status(), named(cluster)) == ("CREATE_COMPLETE", cluster.of_run()[0])
    set_fleet(cluster, "STOPPED", ago=3600.0)
    assert sweep(remote) == []
    with pytest.raises(FinalizeUnproven, match="were started again after") as caught:
        set_fleet(cluster, "RUNNING", ago=-120.0)
        Finalizer(in_bucket(cluster), GOOD, remote).finalize()
    assert "raypipe cluster delete" in caught.value.hint


def test_the_request_of_a_run_whose_data_a_later_snapshot_has_is_settled(
    cluster: Cluster, armed: Tools, remote: Tools
) -> None:
    hand_over(cluster, armed)
    Finalizer(in_bucket(cluster, run="run-2", delete_cluster=False), GOOD, cluster.tools).finalize()
    assert request_on(cluster) == {}
    set_fleet(cluster, "RUNNING")
    assert dict(sweep(remote))["run-2"] == Done(f"{cluster.of_run('run-2')[0]} holds the data; the cluster is kept")
    assert cluster.fleet() == "RUNNING"


def test_a_snapshot_in_error_is_made_once_more_unless_the_fleet_runs(
    cluster: Cluster, armed: Tools, remote: Tools
) -> None:
    hand_over(cluster, armed, delete_cluster=False)
    cluster.emulator.begin(snapshot_ends=["error"], snapshot_looks=None, fleet_looks=0)
    while len(cluster.snapshots()) < 5:
        sweep(remote)
    set_fleet(cluster, "RUNNING")
    cluster.emulator.begin(snapshot_ends=["error"], snapshot_looks=0)
    assert isinstance(sweeps(remote, cluster, (FinalizeUnproven, Done)), FinalizeUnproven)
    assert (cluster.fleet(), len(cluster.snapshots())) == ("RUNNING", 5)
    assert isinstance(dict(sweep(remote))["run-1"], Stop)
    hand_over(cluster, armed, delete_cluster=False)  # again: now it is asked for by somebody who knows
    assert isinstance(sweeps(remote, cluster, FinalizeUnproven), FinalizeUnproven)  # the second one failed as well
    assert (cluster.fleet(), len(cluster.snapshots())) == ("STOPPED", 6)
    assert REQUEST not in request_on(cluster)
    Finalizer(in_bucket(cluster, attempts=3, delete_cluster=False), GOOD, cluster.tools).finalize()
    assert named(cluster) == cluster.of_run()[0]


def test_trouble_with_one_run_stops_no_other(make: Callable[..., Cluster]) -> None:
    lost, other = make(), make()
    other.emulator.begin(snapshot_looks=None, fleet_looks=0)
    for cluster in (lost, other):
        finalizer = Finalizer(cluster.settings(), GOOD, cluster.tools)
        while not cluster.of_run():
            finalizer.advance()
        cluster.lease_runs_out()
    lost.config.unlink()
    remote = Tools(lost.aws, None)

    stands = [end for _, end in sweep(remote, seconds=60, every=0.01)]

    assert isinstance(stands[0], ConfigRefused)
    assert stands[1] == Wait(f"{other.of_run()[0]}, which is pending", hours=True)
    other.emulator.begin()
    assert [type(end) for _, end in sweep(remote, other.name, seconds=60, every=0.01)] == [Done]
    assert [type(end) for _, end in sweep(remote)] == [Stop]


def test_people_are_told_once_of_what_stops_a_run_and_it_is_asked_for_again_by_hand(
    cluster: Cluster, armed: Tools, remote: Tools, tmp_path: Path
) -> None:
    hand_over(cluster, armed)
    cluster.emulator.begin(stack_ends="DELETE_FAILED", fleet_looks=0, snapshot_looks=0)
    told = tmp_path / "told"
    telling = replace(remote, channels=(f"tee -a {told}",))

    error = sweeps(telling, cluster, AwsRefused)
    assert "HeadNode: User: x is not authorized to perform: ec2:TerminateInstances" in error.message
    for _ in range(3):
        assert isinstance(sweeps(telling, cluster, Stop), Stop)
    assert told.read_text().count("the end of run run-1 is stuck") == 1
    assert cluster.emulator.actions().count("DeleteStack") == 1
    with pytest.raises(AwsRefused, match=r"failed to delete: \[HeadNode\]"):
        Finalizer(in_bucket(cluster), GOOD, cluster.tools).finalize()
    assert cluster.emulator.actions().count("DeleteStack") == 2
    cluster.emulator.begin()
    role = make_role(f"raypipe-{cluster.name}-delete", "cloudformation")
    assert "is gone" in Finalizer(in_bucket(cluster), GOOD, replace(cluster.tools, delete_role=role)).finalize().text
    (asked,) = [entry["parameters"] for entry in cluster.emulator.log() if entry["action"] == "DeleteStack"]
    assert asked["RoleARN"] == role
    assert sweeps(telling, cluster).text.endswith("the cluster is gone")
    assert sweep(telling) == []


def test_of_a_second_cause_people_are_told_as_well(
    cluster: Cluster, armed: Tools, remote: Tools, tmp_path: Path
) -> None:
    hand_over(cluster, armed)
    told = tmp_path / "told"
    telling = replace(remote, channels=(f"tee -a {told}",))
    for times, action in enumerate(("UpdateItem", "GetItem"), start=1):
        cluster.emulator.begin(faults=[{"action": action, "kind": "deny"}])
        assert [type(dict(sweep(telling))["run-1"]) for _ in range(2)] == [AwsRefused, Stop]
        assert told.read_text().count("the end of run run-1 is stuck") == times

    cluster.emulator.begin(snapshot_looks=None, fleet_looks=0)
    while not cluster.of_run():
        sweep(telling)
    for times in (3, 4):  # it goes on in between
        cluster.aws.s3.delete_object(Bucket="lab", Key="c.yaml")
        assert [type(dict(sweep(telling))["run-1"]) for _ in range(2)] == [ConfigRefused, Stop]
        assert told.read_text().count("the end of run run-1 is stuck") == times
        cluster.aws.s3.put_object(Bucket="lab", Key="c.yaml", Body=cluster.text)
        assert isinstance(dict(sweep(telling))["run-1"], Wait)


def test_the_same_cause_is_known_again() -> None:
    marks = {
        stuck_mark(AwsRefused(f"CreateSnapshot of vol-0{n}a: denied after {n} h: x9{n}-Zq", hint="")) for n in range(3)
    }
    other = stuck_mark(AwsRefused("DeleteStack: denied", hint=""))
    assert len(marks) == 1 and other not in marks
    assert stuck_mark(FinalizeUnproven("DeleteStack: denied", hint="")) != other


def test_a_fleet_that_does_not_stop_is_told_of_once(
    cluster: Cluster, armed: Tools, remote: Tools, tmp_path: Path
) -> None:
    hand_over(cluster, armed)
    set_fleet(cluster, "STOPPING", ago=7200.0)
    cluster.emulator.begin(fleet_looks=None)
    telling = replace(remote, channels=(f"tee -a {tmp_path}/told",))
    ends = [dict(sweep(telling))["run-1"] for _ in range(3)]
    assert [type(end).__name__ for end in ends] == ["FinalizeLate", "Stop", "Stop"]
    assert (tmp_path / "told").read_text().count("is stuck") == 1
    set_fleet(cluster, "STOPPED")
    cluster.emulator.begin()
    assert "gone" in sweeps(remote, cluster).text


def test_cloudformations_own_snapshot_goes_when_a_later_run_has_its_own(make: Callable[..., Cluster]) -> None:
    first, second = make(), make()
    before = make_snapshot(first.aws, first.volume, {"Name": "of somebody"})
    first.emulator.begin(stack_snapshots="tagged", stack_looks=0)
    Finalizer(first.settings(), GOOD, first.tools).finalize()
    (new,) = first.of_run()
    (copy,) = set(first.snapshots()) - {new, first.old[-1], first.foreign, before}  # it holds what was written last

    second.config, second.text = first.config, first.config.read_bytes()
    done = Finalizer(second.settings(run="run-2", snapshots=first.name, config=str(first.config)), GOOD, second.tools)
    assert f"delete {copy}: CloudFormation's own of {first.volume}, an earlier run's" in [
        step.text for step in done.plan()
    ]
    done.finalize()
    assert set(first.snapshots()) == {new, first.foreign, before}
    assert second.of_run("run-2")


@pytest.mark.parametrize("asks", ["by hand", "the function"])
def test_a_cluster_that_was_left_standing_is_not_deleted_for_a_snapshot_of_before(
    cluster: Cluster, armed: Tools, remote: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    cluster.emulator.begin(faults=[{"action": "DeleteStack", "kind": "deny"}])
    with pytest.raises(AwsRefused, match="DeleteStack"):
        Finalizer(in_bucket(cluster), GOOD, cluster.tools).finalize()
    cluster.emulator.begin()
    monkeypatch.setattr("cluster.aws.from_snapshot._STALE", 0.0)  # hours go by

    telling = replace(remote, channels=(f"tee -a {tmp_path}/told",))
    if asks == "by hand":
        with pytest.raises(FinalizeUnproven, match=r"still stands .* what was written since is not in it") as caught:
            Finalizer(in_bucket(cluster), GOOD, cluster.tools).finalize()
        assert "raypipe cluster delete" in caught.value.hint
    else:
        assert isinstance(sweeps(telling, cluster, FinalizeUnproven), FinalizeUnproven)
        assert isinstance(sweeps(telling, cluster, Stop), Stop)
        assert (tmp_path / "told").read_text().count("still stands") == 1
    assert (cluster.status(), "DeleteStack" in cluster.emulator.actions()) == ("CREATE_COMPLETE", False)


@pytest.mark.parametrize("policy", ["teardown"])
def test_of_a_failed_run_they_stay(cluster: Cluster, policy: str) -> None:
    cluster.emulator.begin(stack_snapshots="tagged")
    Finalizer(cluster.settings(on_failure=policy), FAILED, cluster.tools).finalize()
    assert len(cluster.snapshots()) == 3 + 1 + 2
    tags = [{tag["Key"] for tag in one.get("Tags", [])} for one in cluster.snapshots().values()]
    assert len([keys for keys in tags if INTENT in keys]) == 1


def test_a_copy_that_somebody_marked_stays(cluster: Cluster, remote: Tools) -> None:
    finalizer = Finalizer(cluster.settings(), GOOD, cluster.tools)
    cluster.emulator.begin(stack_looks=None)
    while cluster.status() != "DELETE_IN_PROGRESS":
        finalizer.advance()
    cluster.emulator.begin(stack_snapshots="tagged", stack_looks=0)
    assert cluster.status() == "DELETE_COMPLETE"
    (copy,) = [id for id, one in cluster.snapshots().items() if INTENT in {tag["Key"] for tag in one.get("Tags", [])}]
    cluster.aws.ec2.create_tags(Resources=[copy], Tags=[{"Key": PINNED, "Value": "to be looked at"}])
    Finalizer(cluster.settings(), GOOD, cluster.tools).finalize()
    assert copy in cluster.snapshots()


def test_a_copy_of_a_volume_with_a_request_is_not_taken_for_ours(cluster: Cluster, armed: Tools, remote: Tools) -> None:
    hand_over(cluster, armed)
    cluster.emulator.begin(stack_snapshots="tagged", stack_looks=0)
    cluster.aws.cloudformation.delete_stack(StackName=cluster.name)  # by hand, and too early
    assert cluster.status() == "DELETE_COMPLETE"
    assert {"Key": RUN, "Value": "run-1"} in [
        tag for one in cluster.snapshots().values() for tag in one.get("Tags", [])
    ]

    ((_, stands),) = sweep(remote)
    assert isinstance(stands, FinalizeUnproven)
    with pytest.raises(FinalizeRefused, match="no cluster"):
        Finalizer(in_bucket(cluster), GOOD, cluster.tools).finalize()
    with pytest.raises(FinalizeUnproven, match="DELETE_COMPLETE, and there is no snapshot of run"):
        Finalizer(replace(in_bucket(cluster), cluster=cluster.stack), GOOD, cluster.tools).finalize()
    assert calls(cluster) == ["DeleteStack", "CreateTags"]  # people were told

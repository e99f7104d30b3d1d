"""Each role's policy is enough for what the role does, and no more: whole stories with nothing but its rights."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cluster.aws.actions import Done
from cluster.aws.arm import arm, disarm, find_head, find_place, function_name
from cluster.aws.calls import connect
from cluster.aws.finalize import Finalizer
from cluster.aws.look import volumes_with_requests
from cluster.aws.parts import Account
from cluster.aws.settings import PINNED
from cluster.aws.state import Outcome
from cluster.errors import AwsRefused
from raypipe.cluster_arm import Wanted, arm_cluster
from raypipe.config import Cluster as Settings
from raypipe.config import Config, Finalize
from raypipe.finalize import settings_of
from tests.aws.world import PCLUSTER, Cluster, arms_of, in_bucket

_UNSEEN = {
    "lambda:ListTags": "GetFunction gives tags only to who may list them",
    "lambda:RemovePermission": "for who mends by hand",
    "iam:UpdateAssumeRolePolicy": "only where somebody changed the role's trust",
    "lambda:UpdateFunctionCode": "only for another version of raypipe",
    "lambda:UpdateFunctionConfiguration": "only for other settings",
}
"""Actions that no story here takes, and why they are there."""
GOOD = Outcome(True, "41 tasks")


@pytest.fixture
def become(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that makes all further clients somebody's who has nothing but a policy."""

    def as_role(policy: dict[str, Any], without: str = "") -> None:
        policy = copy.deepcopy(policy)
        for statement in policy["Statement"]:
            statement["Action"] = [action for action in statement["Action"] if action != without]
        cluster.emulator.fake("role", key="AKIAROLE", policies=[policy])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAROLE")

    return as_role


@pytest.fixture
def channels(cluster: Cluster) -> tuple[str, ...]:
    """A topic, and a parameter that holds another channel."""
    topic = cluster.aws.sns.create_topic(Name=f"ends-{cluster.name}")["TopicArn"]
    account = Account(cluster.aws.region)
    account.do("ssm", "PutParameter", Name=f"/lab/{cluster.name}", Type="SecureString", Value=topic)
    return topic, f"ssm:/lab/{cluster.name}"


def actions_of(policy: dict[str, Any]) -> set[str]:
    return {
        action for statement in policy["Statement"] if statement["Effect"] == "Allow" for action in statement["Action"]
    }


def used(cluster: Cluster, who: str) -> set[str]:
    return {action for entry in cluster.emulator.log() if entry.get("role") == who for _, action in entry["allowed"]}


def finalizer(cluster: Cluster, channels: tuple[str, ...], address: str, **settings: Any) -> Finalizer:
    tools = type(cluster.tools)(connect(cluster.aws.region, tries=2), PCLUSTER, channels)
    return Finalizer(cluster.settings(config=address, **settings), GOOD, tools)


def test_who_finalizes_by_hand(cluster: Cluster, become: Callable[..., None], channels: tuple[str, ...]) -> None:
    policy = arms_of(cluster, channels=channels).policy("finalize")
    address = in_bucket(cluster)
    cluster.emulator.begin(snapshot_looks=1, fleet_looks=0)
    become(policy)
    finalizer(cluster, channels, address, keep=9, delete_cluster=False).finalize()
    (new,) = cluster.of_run()
    assert cluster.named(address) == new
    finalizer(cluster, channels, address, keep=8, delete_cluster=False).finalize()  # what is wanted may change
    # Handing over is another role's: here it is only looked whether there is a function, and what was asked for is taken off.
    assert actions_of(policy) - used(cluster, "AKIAROLE") <= {"ec2:DeleteTags", "lambda:GetFunctionConfiguration"}
    with pytest.raises(AwsRefused, match=r"ec2:DeleteSnapshot .*UnauthorizedOperation"):
        finalizer(cluster, channels, address, run="run-2", delete_cluster=False, keep=1).finalize()


@pytest.mark.parametrize(
    "action",
    ["ec2:CreateSnapshot", "dynamodb:PutItem", "s3:GetObject", "s3:PutObject", "cloudformation:DescribeStacks"],
)
def test_a_right_that_is_missing_is_named(
    cluster: Cluster, become: Callable[..., None], channels: tuple[str, ...], action: str
) -> None:
    address = in_bucket(cluster)
    cluster.emulator.begin(snapshot_looks=1, fleet_looks=0)
    become(arms_of(cluster, channels=channels).policy("finalize"), without=action)
    with pytest.raises(AwsRefused, match=action) as caught:
        finalizer(cluster, (), address, delete_cluster=False).finalize()
    assert "policy" in caught.value.hint


def test_who_hands_over_and_the_function(
    cluster: Cluster, become: Callable[..., None], channels: tuple[str, ...]
) -> None:
    arms = arms_of(cluster, channels=channels)
    arm(Account(cluster.aws.region), arms)
    address = in_bucket(cluster)
    pinned = cluster.snapshot("old-11", age=11, **{PINNED: "the paper's"})
    cluster.emulator.begin(snapshot_looks=None, fleet_looks=0, stack_looks=0, stack_ends="DELETE_FAILED")
    become(arms.policy("handover"), without="lambda:InvokeFunction")
    tools = type(cluster.tools)(connect(cluster.aws.region), None, channels, function=function_name(cluster.name))
    with pytest.raises(AwsRefused, match="Invoke"):
        Finalizer(cluster.settings(config=address), GOOD, tools, stays=False).finalize()
    assert volumes_with_requests(cluster.aws) == ()  # else it would be taken up when nobody thinks of it any more
    become(arms.policy("handover"))
    done = Finalizer(cluster.settings(config=address), GOOD, tools, stays=False).finalize()
    assert done == Done(f"handed over to {function_name(cluster.name)}")
    cluster.emulator.fake("idle")
    (new,) = cluster.of_run()
    changed = cluster.settings(config=address, on_failure="teardown")
    Finalizer(changed, GOOD, tools, stays=False).finalize()  # what is wanted is written on the snapshot
    cluster.emulator.fake("idle")
    cluster.emulator.fake("snapshot", id=new, ends="completed")
    cluster.emulator.fake("idle")

    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign, pinned}
    assert actions_of(arms.policy("handover")) - used(cluster, "AKIAROLE") == set()
    role = arms.place.arn("iam", f"role/{arms.place.name}")
    assert actions_of(arms.policy("function")) - used(cluster, role) == set()
    for snapshot in (pinned, cluster.foreign):  # not even by mistake
        become(arms.policy("function"))
        with pytest.raises(Exception, match="UnauthorizedOperation"):
            connect(cluster.aws.region).ec2.delete_snapshot(SnapshotId=snapshot)


@pytest.mark.parametrize(("told", "settled"), [("", ""), ("", "lab-days"), ("other-days", "lab-days")])
def test_armed_from_settings_a_run_ends_with_nothing_but_the_functions_rights(
    cluster: Cluster, told: str, settled: str
) -> None:
    address = in_bucket(cluster)
    config = Config(
        cluster=Settings(region=cluster.aws.region),
        finalize=Finalize(cluster=cluster.stack, file=address, snapshots=settled),
    )
    notes: list[str] = []
    arm_cluster(cluster.name, config, Wanted(snapshots=told), heard=lambda _: None, noted=notes.append)
    assert [note.split(":")[1] for note in notes] == [" nobody gets the alarms"]

    cluster.emulator.begin(snapshot_looks=None, fleet_looks=0, stack_looks=0)
    tools = type(cluster.tools)(connect(cluster.aws.region), None, function=function_name(cluster.name))
    settings = replace(settings_of(config, "run-1"), snapshots=told or settled, settle_seconds=0.3)
    Finalizer(settings, GOOD, tools, stays=False).finalize()
    cluster.emulator.fake("idle")
    (new,) = cluster.of_run()
    cluster.emulator.fake("snapshot", id=new, ends="completed")
    cluster.emulator.fake("idle")
    assert cluster.status() == "DELETE_COMPLETE"
    assert cluster.named(address) == new
    assert {"Key": "raypipe:set", "Value": told or settled or cluster.name} in cluster.snapshots()[new]["Tags"]


def test_who_arms(cluster: Cluster, become: Callable[..., None]) -> None:
    policy = arms_of(cluster).policy("arm")
    cluster.emulator.begin()
    become(policy)
    account = Account(cluster.aws.region)
    assert (find_place(account, cluster.name).cluster, find_head(account, cluster.name)) == (cluster.name, cluster.head)
    arm(account, arms_of(cluster, email="me@example.org"))
    arm(account, arms_of(cluster, email="me@example.org"))
    disarm(account, cluster.name)
    assert actions_of(policy) - used(cluster, "AKIAROLE") == _UNSEEN.keys()


def test_a_stack_is_not_deleted_without_a_role_that_may(cluster: Cluster) -> None:
    arms = arms_of(cluster)
    arm(Account(cluster.aws.region), arms)
    account = Account(cluster.aws.region)
    role = {"RoleName": f"{arms.place.name}-delete", "PolicyName": "raypipe"}
    account.do("iam", "DeleteRolePolicy", **role)
    cluster.emulator.begin(stack_looks=0)
    cluster.aws.cloudformation.delete_stack(
        StackName=cluster.stack, RoleARN=arms.place.arn("iam", f"role/{arms.place.name}-delete")
    )
    found = cluster.aws.cloudformation.describe_stacks(StackName=cluster.stack)["Stacks"][0]
    assert found["StackStatus"] == "DELETE_FAILED"
    events = cluster.aws.cloudformation.describe_stack_events(StackName=cluster.stack)["StackEvents"]
    reasons = " ".join(event.get("ResourceStatusReason", "") for event in events)
    assert "not authorized to perform: ec2:DescribeVolumes" in reasons

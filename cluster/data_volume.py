"""The volumes that a cluster's deletion takes with it, and whether what is on them is saved in a snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cluster.aws_errors import told
from cluster.errors import NotSaved


@dataclass(frozen=True)
class Snapshot:
    """A completed snapshot of a volume: the volume as it was when it began."""

    id: str
    began: datetime


@dataclass(frozen=True)
class DataVolume:
    """A volume that belongs to a cluster's stack."""

    id: str
    size_gb: int
    newest: Snapshot | None
    """None: there is no completed snapshot of it."""
    pending: bool = False
    """Whether a snapshot of it is under way."""

    def described(self, now: datetime) -> str:
        """Say what it is and how far it is saved."""
        text = f"{self.id}, {self.size_gb} GB, "
        if self.newest:
            text += f"saved in {self.newest.id}, {_ago(now - self.newest.began)} ago"
        else:
            text += "not saved: it has no completed snapshot"
        return text + (" (one more is under way)" if self.pending else "")


def data_volumes(cluster: str, region: str = "") -> list[DataVolume]:
    """Return the volumes that go with the cluster's stack. Raises `AwsRefused`, also if there is no such stack."""
    import boto3

    with told():
        session = boto3.Session(region_name=region or None)
        stacks, ec2 = session.client("cloudformation"), session.client("ec2")
        pages = stacks.get_paginator("list_stack_resources").paginate(StackName=cluster)
        ids = [
            resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == "AWS::EC2::Volume" and resource.get("PhysicalResourceId")
        ]
        return [volume for name in ids if (volume := _volume(ec2, name))]


def refuse_unsaved(cluster: str, volumes: list[DataVolume], words: str = "") -> None:
    """Raise `NotSaved` if a volume has no completed snapshot, unless `words` say `loss_words(cluster)`."""
    unsaved = [volume for volume in volumes if volume.newest is None]
    if not unsaved or words == loss_words(cluster):
        return
    ids = ", ".join(volume.id for volume in unsaved)
    is_pending = all(volume.pending for volume in unsaved)
    first = (
        "wait until its snapshot is completed"
        if is_pending
        else f"`aws ec2 create-snapshot --volume-id {unsaved[0].id}` makes one; wait until it is completed"
    )
    raise NotSaved(
        f"{cluster} is not deleted: {ids} has no completed snapshot",
        hint=f"{first}. Or say that you mean it: --without-snapshot '{loss_words(cluster)}'",
    )


def loss_words(cluster: str) -> str:
    """Return what somebody must say who wants a cluster deleted whose data are not saved."""
    return f"delete {cluster} without a snapshot"


def _volume(ec2: Any, name: str) -> DataVolume | None:
    from botocore.exceptions import ClientError

    try:
        (found,) = ec2.describe_volumes(VolumeIds=[name])["Volumes"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidVolume.NotFound":
            return None
        raise
    pages = ec2.get_paginator("describe_snapshots").paginate(
        OwnerIds=["self"], Filters=[{"Name": "volume-id", "Values": [name]}]
    )
    return judged(found, [snapshot for page in pages for snapshot in page["Snapshots"]])


def judged(volume: Mapping[str, Any], snapshots: Iterable[Mapping[str, Any]]) -> DataVolume:
    """Return how far a volume is saved by those of the snapshots that are its own, both as EC2 describes them."""
    own = [each for each in snapshots if each["VolumeId"] == volume["VolumeId"]]
    completed = [each for each in own if each["State"] == "completed"]  # pending ones may still fail
    newest = max(completed, key=lambda each: (each["StartTime"], each["SnapshotId"]), default=None)
    return DataVolume(
        volume["VolumeId"],
        volume["Size"],
        Snapshot(newest["SnapshotId"], newest["StartTime"].astimezone(UTC)) if newest else None,
        any(each["State"] == "pending" for each in own),
    )


def _ago(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"

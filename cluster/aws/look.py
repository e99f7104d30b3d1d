"""Looks at what there is, one describe call each, and returns it as values."""

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.calls import Aws, calling, code_of
from cluster.aws.settings import INTENT, RUN, SET, TOLD, FinalizeSettings
from cluster.aws.state import GONE, Intent, Snapshot, Stack, Volume

_PAGE = 1000
_OF_STACK, _PARALLELCLUSTER = "aws:cloudformation:stack-id", "parallelcluster:version"


def snapshots_of(aws: Aws, settings: FinalizeSettings) -> tuple[Snapshot, ...]:
    """List our own snapshots of the set, the oldest first."""
    found = _snapshots(aws, [{"Name": f"tag:{SET}", "Values": [settings.set_name]}])
    return tuple(sorted(found, key=lambda one: one.order))


def unfinished(aws: Aws) -> tuple[Snapshot, ...]:
    """List all snapshots of runs, of whatever cluster; what a sweep begins with."""
    return tuple(_snapshots(aws, [{"Name": "tag-key", "Values": [RUN]}]))


def stack_of(aws: Aws, settings: FinalizeSettings, snapshots: Iterable[Snapshot]) -> Stack | None:
    """Return the cluster's stack: the one that the run's snapshot names, since a name may be another cluster's by now."""
    named = [one.stack for one in snapshots if one.run == settings.run and one.stack]
    which = settings.cluster if settings.cluster.startswith("arn:") or not named else named[0]
    with calling("cloudformation:DescribeStacks"):
        try:
            (found,) = aws.cloudformation.describe_stacks(StackName=which)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    asked = found.get("DeletionTime")
    return Stack(
        id=found["StackId"],
        status=found["StackStatus"],
        of_parallelcluster=_PARALLELCLUSTER in _tags(found),
        reason=found.get("StackStatusReason", ""),
        deletion_asked=asked.timestamp() if asked else None,
    )


def volumes_of(aws: Aws, stack: Stack | None, run: str) -> tuple[Volume, ...]:
    """List the volumes that the stack made: the shared ones; those of the machines are not the stack's own."""
    if stack is None or stack.status == GONE:
        return ()
    filters = [{"Name": f"tag:{_OF_STACK}", "Values": [stack.id]}]
    with calling("ec2:DescribeVolumes"):
        pages = aws.ec2.get_paginator("describe_volumes").paginate(
            Filters=filters, PaginationConfig={"PageSize": _PAGE}
        )
        return tuple(_volume(found, run) for page in pages for found in page["Volumes"])


def _snapshots(aws: Aws, filters: list[dict[str, Any]]) -> Iterable[Snapshot]:
    with calling("ec2:DescribeSnapshots"):
        pages = aws.ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=filters, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            for found in page["Snapshots"]:
                yield Snapshot(
                    id=found["SnapshotId"],
                    status=found["State"],
                    volume=found["VolumeId"],
                    size_gib=found["VolumeSize"],
                    started=found["StartTime"].timestamp(),
                    tags=_tags(found),
                    message=found.get("StateMessage", ""),
                )


def _volume(found: dict[str, Any], run: str) -> Volume:
    tags = _tags(found)
    told_run, *told = tags.get(TOLD, "").split() or [""]
    return Volume(
        id=found["VolumeId"],
        name=tags.get("Name", ""),
        size_gib=found["Size"],
        intent=_intent(tags.get(INTENT, "")),
        told=frozenset(told) if told_run == run else frozenset(),
        kind=found.get("VolumeType", ""),
        iops=found.get("Iops") or 0,
        mb_per_s=found.get("Throughput") or 0,
    )


def _intent(words: str) -> Intent | None:
    try:
        run, attempt, time = words.split()
        return Intent(run, attempt, float(time))
    except ValueError:  # none, or somebody wrote something else there
        return None


def _tags(found: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}

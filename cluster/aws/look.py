"""Looks at what there is, one describe call each, and returns it as values."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.calls import Aws, calling, code_of
from cluster.aws.settings import (
    CREATED,
    INTENT,
    OUTCOME,
    REQUEST,
    RUN,
    SET,
    SPOILED,
    TOLD,
    WANTED_CONFIG,
    FinalizeSettings,
    wanted_of,
)
from cluster.aws.state import FAILED, GONE, Intent, Request, Snapshot, Stack, Volume
from cluster.errors import AwsRefused

_PAGE = 1000
_VALUES = 200
"""So many a filter takes."""
_OF_STACK = "aws:cloudformation:stack-id"


def snapshots_of(aws: Aws, settings: FinalizeSettings) -> tuple[Snapshot, ...]:
    """List our own snapshots of the set, the oldest first."""
    found = _snapshots(aws, [{"Name": f"tag:{SET}", "Values": [settings.set_name]}])
    return tuple(sorted(found, key=lambda one: one.order))


def snapshots_of_runs(aws: Aws) -> tuple[Snapshot, ...]:
    """List all snapshots that say how their run is to end, of whatever cluster."""
    return tuple(_snapshots(aws, [{"Name": "tag-key", "Values": [WANTED_CONFIG]}]))


def volumes_with_requests(aws: Aws) -> tuple[tuple[str, dict[str, str]], ...]:
    """List the volumes on which somebody asked for the end of a run, with their tags."""
    filters = [{"Name": "tag-key", "Values": [REQUEST]}]
    return tuple((found["VolumeId"], _tags(found)) for found in _volumes(aws, filters))


def snapshots_of_volume(aws: Aws, volume: str) -> tuple[Snapshot, ...]:
    """List the snapshots of a volume in our account, whoever made them."""
    return tuple(_all_snapshots(aws, [{"Name": "volume-id", "Values": [volume]}]))


def others_of(aws: Aws, volumes: Collection[str]) -> tuple[Snapshot, ...]:
    """List the snapshots of volumes in our account that no finalizer made."""
    if not volumes:
        return ()
    filters = [{"Name": "volume-id", "Values": sorted(volumes)[:_VALUES]}]
    return tuple(one for one in _all_snapshots(aws, filters) if not _ours(one))


def stack_of(aws: Aws, settings: FinalizeSettings, snapshots: Iterable[Snapshot]) -> Stack | None:
    """Return the cluster's stack: the one that the run's snapshot names, since a name may be another cluster's by now."""
    named = [one.stack for one in snapshots if one.run == settings.run and one.stack]
    return stack_named(aws, settings.cluster if settings.cluster.startswith("arn:") or not named else named[0])


def stack_named(aws: Aws, which: str) -> Stack | None:
    """Return the stack of this name or id, if there is one."""
    with calling("cloudformation:DescribeStacks"):
        try:
            (found,) = aws.cloudformation.describe_stacks(StackName=which)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    asked = found.get("DeletionTime")
    reason = found.get("StackStatusReason", "")
    return Stack(
        id=found["StackId"],
        status=found["StackStatus"],
        tags=_tags(found),
        reason=_with_events(aws, found["StackId"], reason) if found["StackStatus"] == FAILED else reason,
        deletion_asked=asked.timestamp() if asked else None,
    )


def volumes_of(aws: Aws, stack: Stack | None, run: str) -> tuple[Volume, ...]:
    """List the volumes that the stack made: the shared ones; those of the machines are not the stack's own."""
    if stack is None or stack.status == GONE:
        return ()
    filters = [{"Name": f"tag:{_OF_STACK}", "Values": [stack.id]}]
    return tuple(_volume(found, run) for found in _volumes(aws, filters))


def function_there(aws: Aws, name: str) -> str:
    """Return the name of a function if there is one, else nothing."""
    if not name:
        return ""
    with calling(f"lambda:GetFunctionConfiguration {name}"):
        try:
            aws.functions.get_function_configuration(FunctionName=name)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return ""
    return name


def _with_events(aws: Aws, stack: str, reason: str) -> str:
    """Return why a deletion failed: the stack itself only says of what; which right was missing is in its events."""
    whys = []
    try:
        with calling("cloudformation:DescribeStackEvents"):
            for event in aws.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:  # the newest first
                if event["PhysicalResourceId"] == stack:
                    if event["ResourceStatus"] == "DELETE_IN_PROGRESS":
                        break  # what came before is of an earlier try
                elif event["ResourceStatus"] == FAILED:
                    whys.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}")
    except AwsRefused:  # that right may be missing as well
        pass
    return "; ".join([reason or "the deletion failed", *whys])


def _volumes(aws: Aws, filters: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    with calling("ec2:DescribeVolumes"):
        pages = aws.ec2.get_paginator("describe_volumes").paginate(
            Filters=filters, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            yield from page["Volumes"]


def _snapshots(aws: Aws, filters: list[dict[str, Any]]) -> Iterable[Snapshot]:
    return (found for found in _all_snapshots(aws, filters) if _ours(found))


def _ours(snapshot: Snapshot) -> bool:
    return bool(snapshot.run) and not {INTENT, REQUEST} & snapshot.tags.keys()


def _all_snapshots(aws: Aws, filters: list[dict[str, Any]]) -> Iterable[Snapshot]:
    with calling("ec2:DescribeSnapshots"):
        pages = aws.ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=filters, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            for found in page["Snapshots"]:
                completed = found.get("CompletionTime")
                yield Snapshot(
                    id=found["SnapshotId"],
                    status=found["State"],
                    volume=found["VolumeId"],
                    size_gib=found["VolumeSize"],
                    started=found["StartTime"].timestamp(),
                    tags=_tags(found),
                    message=found.get("StateMessage", ""),
                    progress=found.get("Progress", ""),
                    completed=completed.timestamp() if completed else None,
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
        request=_request(tags),
    )


def _intent(words: str) -> Intent | None:
    try:
        run, attempt, time = words.split()
        return Intent(run, attempt, float(time))
    except ValueError:  # none, or somebody wrote something else there
        return None


def _request(tags: Mapping[str, str]) -> Request | None:
    if REQUEST not in tags:
        return None
    try:
        asked = datetime.fromisoformat(tags[CREATED]).timestamp()
    except (KeyError, ValueError):
        asked = 0.0
    return Request(tags.get(RUN, ""), tags.get(OUTCOME) == "good", asked, wanted_of(tags), tags.get(SPOILED, ""))


def _tags(found: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}

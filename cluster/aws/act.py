"""Does one thing that was decided: one call of AWS each (two where it is also written down that it was done)."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from cluster.aws.actions import (
    CreateSnapshot,
    DeleteCluster,
    DeleteSnapshot,
    Effect,
    HandOver,
    Intend,
    Repoint,
    Settle,
    StopFleet,
    Tell,
    Wake,
    Want,
)
from cluster.aws.calls import DENIED, Aws, calling, code_of
from cluster.aws.config_store import Content, replace_config
from cluster.aws.fleet import FleetTool
from cluster.aws.fleet_table import FleetTable
from cluster.aws.notify import tell
from cluster.aws.repoint import repoint
from cluster.aws.settings import CREATED, INTENT, OUTCOME, REQUEST_TAGS, STACK, SWEPT, TOLD, FinalizeSettings
from cluster.aws.state import State
from cluster.errors import AwsRefused

_NOT_THERE = "InvalidSnapshot.NotFound"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What effects are done with."""

    aws: Aws
    pcluster: Sequence[str] | None = ("pcluster",)
    """The command of ParallelCluster, in its own environment; None: its table is used without it."""
    channels: Sequence[str] = ()
    """Whom to tell; see `cluster.aws.notify`."""
    function: str = ""
    """The function that the end of a run can be handed over to."""
    delete_role: str = ""
    """The role (ARN) that CloudFormation deletes the stack with; without one, with the rights of whoever asks."""

    def fleet_of(self, cluster: str) -> FleetTool | FleetTable:
        """Return the way to the compute nodes of a cluster."""
        if self.pcluster is None:
            return FleetTable(self.aws.dynamodb, cluster)
        return FleetTool(self.pcluster, cluster, self.aws.region)


def act(action: Effect, tools: Tools, settings: FinalizeSettings, state: State, config: Content) -> None:
    """Do it. Raises `AwsRefused`, `AwsUnavailable`, `ConfigRefused`."""
    aws = tools.aws
    match action:
        case Tell():
            _tell(action, tools, settings, state)
        case StopFleet(status):
            tools.fleet_of(settings.name).stop(status)
        case HandOver(volume, stack, good, text, spoiled):
            _sync(settings)
            tag(aws, volume, settings.as_request(stack, good, text, datetime.now(UTC).isoformat(), spoiled))
        case Wake(function):
            event = json.dumps({"run": settings.run}).encode()
            with calling(f"lambda:Invoke {function}"):
                aws.functions.invoke(FunctionName=function, InvocationType="Event", Payload=event)
        case Settle(volume):
            _settle(aws, volume)
        case Want(snapshot):
            tag(aws, snapshot, settings.wanted | {SWEPT: ""})  # what sweeps said was of what was wanted before
        case Intend(volume):
            tag(aws, volume, {INTENT: f"{settings.run} {state.attempt} {state.now:.3f}"})
        case CreateSnapshot():
            _create(action, aws, settings)
        case Repoint(snapshot):
            changed = repoint(config.text, settings.mount, snapshot)
            replace_config(settings.config, aws.s3, config, changed, mark=snapshot)
        case DeleteSnapshot():
            _delete(action, aws)
        case DeleteCluster(stack):
            _delete_cluster(stack, tools, state)


def _tell(action: Tell, tools: Tools, settings: FinalizeSettings, state: State) -> None:
    aws = tools.aws
    for trouble in tell(
        tools.channels, aws.topics_of, run=settings.run, event=action.event, subject=action.subject, text=action.text
    ):
        log.warning("could not tell %s", trouble)
    on_volume = [volume.told for volume in state.volumes if volume.id == action.on]
    if on_volume:
        told = " ".join([settings.run, *sorted(on_volume[0] | {action.event})])
    else:
        (before,) = (snapshot.told for snapshot in state.snapshots if snapshot.id == action.on)
        told = " ".join(sorted(before | {action.event}))
    tag(aws, action.on, {TOLD: told})


def _create(action: CreateSnapshot, aws: Aws, settings: FinalizeSettings) -> None:
    tags = settings.as_tags() | {
        "Name": f"{settings.set_name} {settings.run}",
        STACK: action.stack,
        OUTCOME: "good" if action.good else "failed",
        CREATED: datetime.now(UTC).isoformat(),
    }
    _sync(settings)
    with calling("ec2:CreateSnapshot"):
        aws.ec2_once.create_snapshot(
            VolumeId=action.volume,
            Description=f"raypipe {settings.run} of {settings.name}",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": _pairs(tags)}],
        )


def _delete(action: DeleteSnapshot, aws: Aws) -> None:
    """Delete a snapshot; one that EC2 keeps for a reason of its own (used by an image, locked, a backup) stays.

    Of those reasons its documentation names the code of the first alone, so that none is looked for by name.
    """
    try:
        with calling(f"ec2:DeleteSnapshot {action.snapshot}"):
            aws.ec2.delete_snapshot(SnapshotId=action.snapshot)
    except AwsRefused as error:
        code = code_of(error.__cause__) if isinstance(error.__cause__, ClientError) else ""
        if code == _NOT_THERE:
            return
        if not code or (code in DENIED and action.ours):
            raise
        log.warning("%s stays: %s", action.snapshot, error.message)


def _delete_cluster(stack: str, tools: Tools, state: State) -> None:
    # One token for each time that it is asked for: a second call is harmless, and another try after a failure is none.
    before = state.stack.deletion_asked if state.stack else None
    token = hashlib.sha256(f"{stack} {before}".encode()).hexdigest()
    role = {"RoleARN": tools.delete_role} if tools.delete_role else {}
    with calling("cloudformation:DeleteStack"):
        tools.aws.cloudformation.delete_stack(StackName=stack, ClientRequestToken=token, **role)


def _settle(aws: Aws, volume: str) -> None:
    with calling(f"ec2:DeleteTags {volume}"):
        aws.ec2.delete_tags(Resources=[volume], Tags=[{"Key": key} for key in REQUEST_TAGS])


def _sync(settings: FinalizeSettings) -> None:
    if os.path.ismount(settings.mount):
        os.sync()  # what this machine still holds in memory is no part of a snapshot


def tag(aws: Aws, resource: str, tags: Mapping[str, str]) -> None:
    """Write tags on a volume or a snapshot. Raises `AwsRefused`, `AwsUnavailable`."""
    with calling(f"ec2:CreateTags {resource}"):
        aws.ec2.create_tags(Resources=[resource], Tags=_pairs(tags))


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]

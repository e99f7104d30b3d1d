"""Does one thing that was decided: one call of AWS each (two where it is also written down that it was done)."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from cluster.aws.actions import CreateSnapshot, DeleteCluster, DeleteSnapshot, Effect, Intend, Repoint, StopFleet, Tell
from cluster.aws.calls import Aws, calling, code_of
from cluster.aws.config_store import Content, replace_config
from cluster.aws.fleet import stop_fleet
from cluster.aws.notify import tell
from cluster.aws.repoint import repoint
from cluster.aws.settings import CREATED, INTENT, OUTCOME, STACK, TOLD, FinalizeSettings
from cluster.aws.state import State

_NOT_THERE = "InvalidSnapshot.NotFound"
_STAYS = ("InvalidSnapshot.InUse", "SnapshotLocked", "OperationNotPermitted")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """What effects are done with."""

    aws: Aws
    pcluster: Sequence[str] = ("pcluster",)
    """The command of ParallelCluster, in its own environment."""
    channels: Sequence[str] = ()
    """Whom to tell; see `cluster.aws.notify`."""


def act(action: Effect, tools: Tools, settings: FinalizeSettings, state: State, config: Content) -> str | None:
    """Do it. Returns the id of a snapshot that would not be deleted. Raises `AwsRefused`, `AwsUnavailable`, `ConfigRefused`."""
    aws = tools.aws
    match action:
        case Tell():
            _tell(action, tools, settings, state)
        case StopFleet():
            stop_fleet(tools.pcluster, settings.name, aws.region)
        case Intend(volume):
            _tag(aws, volume, INTENT, f"{settings.run} {state.attempt} {state.now:.3f}")
        case CreateSnapshot():
            _create(action, aws, settings)
        case Repoint(snapshot):
            text = repoint(config.text, settings.mount, snapshot)
            replace_config(settings.config, aws.s3, config, text, mark=snapshot)
        case DeleteSnapshot(snapshot):
            return None if _delete(aws, snapshot) else snapshot
        case DeleteCluster(stack):
            with calling("cloudformation:DeleteStack"):
                aws.cloudformation.delete_stack(StackName=stack, ClientRequestToken=f"raypipe-{settings.run}")
    return None


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
    _tag(aws, action.on, TOLD, told)


def _create(action: CreateSnapshot, aws: Aws, settings: FinalizeSettings) -> None:
    tags = settings.as_tags() | {
        "Name": f"{settings.set_name} {settings.run}",
        STACK: action.stack,
        OUTCOME: "good" if action.good else "failed",
        CREATED: datetime.now(UTC).isoformat(),
    }
    if os.path.ismount(settings.mount):
        os.sync()  # what the head node still holds in memory is no part of a snapshot
    written = [{"Key": key, "Value": value} for key, value in tags.items()]
    with calling("ec2:CreateSnapshot"):
        aws.ec2_once.create_snapshot(
            VolumeId=action.volume,
            Description=f"raypipe {settings.run} of {settings.name}",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": written}],
        )


def _delete(aws: Aws, snapshot: str) -> bool:
    with calling(f"ec2:DeleteSnapshot {snapshot}"):
        try:
            aws.ec2.delete_snapshot(SnapshotId=snapshot)
        except ClientError as error:
            if code_of(error) in _STAYS:
                log.warning("%s stays: %s", snapshot, code_of(error))
                return False
            if code_of(error) != _NOT_THERE:
                raise
    return True


def _tag(aws: Aws, resource: str, key: str, value: str) -> None:
    with calling(f"ec2:CreateTags {resource}"):
        aws.ec2.create_tags(Resources=[resource], Tags=[{"Key": key, "Value": value}])

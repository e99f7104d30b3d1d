"""The volumes that a cluster's deletion takes with it, and whether what is on them is saved in a snapshot."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cluster.aws.calls import connect
from cluster.aws.look import snapshots_of_volume, stack_named, volumes_of
from cluster.aws.state import Snapshot, Volume
from cluster.errors import AwsRefused, NotSaved


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
            text += f"saved in {self.newest.id}, {_ago(now - began(self.newest))} ago"
        else:
            text += "not saved: it has no completed snapshot"
        return text + (" (one more is under way)" if self.pending else "")


def data_volumes(cluster: str, region: str = "") -> list[DataVolume]:
    """Return the volumes that go with the cluster's stack.

    Raises `AwsRefused`, also if there is no such stack, and `AwsUnavailable`.
    """
    aws = connect(region or None)
    stack = stack_named(aws, cluster)
    if stack is None:
        raise AwsRefused(
            f"there is no cluster '{cluster}' in {aws.region}",
            hint="`pcluster list-clusters` lists those of the region",
        )
    return [judged(volume, snapshots_of_volume(aws, volume.id)) for volume in volumes_of(aws, stack, run="")]


def began(snapshot: Snapshot) -> datetime:
    """Return when a snapshot began: it holds what was on the volume then."""
    return datetime.fromtimestamp(snapshot.started, UTC)


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


def judged(volume: Volume, snapshots: Iterable[Snapshot]) -> DataVolume:
    """Return how far a volume is saved by those of the snapshots that are its own."""
    own = [each for each in snapshots if each.volume == volume.id]
    completed = [each for each in own if each.status == "completed"]  # pending ones may still fail
    newest = max(completed, key=lambda each: (each.started, each.id), default=None)
    return DataVolume(volume.id, volume.size_gib, newest, any(each.status == "pending" for each in own))


def _ago(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"

"""What is next once the run has its snapshot: the configuration, older snapshots, the cluster.

What somebody writes on the head node after the snapshot was begun cannot be seen from here. It is not lost: it is in the
snapshot that CloudFormation makes of the volume as it goes (see `leftovers`). And a cluster that was left standing since
is deleted neither for a request of long ago nor unasked.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from cluster.aws.actions import (
    Action,
    DeleteCluster,
    DeleteSnapshot,
    Done,
    LookAtFleet,
    Repoint,
    Settle,
    Stop,
    Tell,
    Wait,
)
from cluster.aws.checks import unproven, wrong_with
from cluster.aws.keep import surplus
from cluster.aws.leftovers import leftovers
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import DELETING, FAILED, GONE, Request, Snapshot, Stack, State

_SKEW = 60.0
"""Seconds by which clocks on AWS may differ; nobody starts compute nodes and stops them in less."""
_STALE = 3600.0
"""Seconds after which a cluster that stands, though people were told where its data are, may have been worked on."""


def from_snapshot(state: State, settings: FinalizeSettings, taken: list[Snapshot]) -> Action:
    """Return what is next of a run with the snapshots `taken`, the best first."""
    snapshot = taken[0]
    told = state.told | snapshot.told
    for volume in state.volumes:
        if volume.id == snapshot.volume and _is_in(volume.request, snapshot):
            return Settle(volume.id)
    if snapshot.status != "completed":
        if state.now < snapshot.started + settings.snapshot_seconds:
            how_far = f" ({snapshot.progress})" if snapshot.progress not in ("", "100%") else ""
            return Wait(f"{snapshot.id}, which is {snapshot.status}{how_far}", hours=True)
        return unproven(
            state,
            settings,
            told,
            snapshot.id,
            f"{snapshot.id} is still {snapshot.status} after {settings.snapshot_seconds / 3600:.1f} h",
            "look at it in the EC2 console; finalize again when it is completed",
        )
    if wrong := wrong_with(state, snapshot):
        return unproven(state, settings, told, snapshot.id, wrong, "look at the snapshot's tags and volume by hand")
    keeps_cluster = not snapshot.good and settings.on_failure != "teardown"
    if not (keeps_cluster or _named(state, settings, snapshot) or _superseded(state, settings, snapshot)):
        return Repoint(snapshot.id)
    rotates = not keeps_cluster and snapshot.good
    for other in leftovers(state, settings) if rotates else ():
        if other.id not in state.let_go:
            return DeleteSnapshot(other.id, f"CloudFormation's own of {other.volume}, an earlier run's", ours=False)
    for old, why in _surplus(state, settings, taken, rotates=rotates):
        if old.id not in state.let_go:
            return DeleteSnapshot(old.id, why)
    return _end_cluster(state, settings, snapshot, told, deletes=settings.delete_cluster and not keeps_cluster)


def _end_cluster(
    state: State, settings: FinalizeSettings, snapshot: Snapshot, told: frozenset[str], *, deletes: bool
) -> Action:
    stands = state.stack is not None and state.stack.stands
    if deletes and state.stack is not None and stands and not state.stack.fine:
        return _not_fine(state.stack, settings, snapshot)
    if deletes and stands and state.fleet is None:
        return LookAtFleet()
    used = deletes and stands and _used_since(state, snapshot)
    later = _asked_since(state, settings, snapshot) if deletes and stands else ""
    if "finalized" not in told:
        if used:
            what = "The configuration names it. The compute nodes were started again since, so the cluster is kept."
        elif later:
            what = f"The configuration names it. The cluster is kept for run {later}."
        elif deletes:
            begun = datetime.fromtimestamp(snapshot.started, UTC)
            what = (
                "The configuration names it, and the cluster goes now. "
                f"What was written since {begun:%Y-%m-%d %H:%M} UTC is in CloudFormation's own snapshot only."
            )
        else:
            what = "The cluster is kept."
        text = f"{snapshot.id} holds the data of run {settings.run} ({snapshot.size_gib} GiB). {what}"
        return Tell("finalized", f"run {settings.run}: {snapshot.id} completed", text, snapshot.id)
    if not deletes:
        return Done(f"{snapshot.id} holds the data; the cluster is kept")
    if used and state.asked is not None:
        return Done(f"{snapshot.id} holds the data; the cluster is kept, since its compute nodes were started again")
    if used:
        return Stop(
            "unproven",
            f"the compute nodes of {settings.name} were started again after {snapshot.id} was made: "
            "what they wrote since is not in it",
            f"`raypipe cluster delete {settings.name}` deletes the cluster; the end of another run makes a snapshot",
        )
    if later:
        return Done(f"{snapshot.id} holds the data; the cluster is kept for run {later}, whose end was asked for since")
    if stands and (hours := _stale(state, snapshot)):
        return Stop(
            "unproven",
            f"cluster {settings.name} still stands {hours:.1f} h after {snapshot.id} was completed: "
            "what was written since is not in it",
            f"`raypipe cluster delete {settings.name}` deletes the cluster as it is; the end of a new run makes a new snapshot",
        )
    return _delete_cluster(state, settings, snapshot)


def _delete_cluster(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> Action:
    stack = state.stack
    if stack is None or stack.status == GONE:
        return Done(f"{snapshot.id} holds the data; the cluster is gone")
    if stack.status == FAILED and (state.deleted or state.asked is not None):
        return Stop(
            "failed",
            f"the deletion of cluster {settings.name} failed: {stack.reason or 'CloudFormation gives no reason'}",
            f"the data are safe in {snapshot.id}; mend the cause, then finalize again by hand",
        )
    if stack.status != DELETING:
        return DeleteCluster(stack.id)
    if stack.deletion_asked is not None and state.now > stack.deletion_asked + settings.delete_seconds:
        return Stop(
            "failed",
            f"cluster {settings.name} is still being deleted after {settings.delete_seconds / 60:.0f} min",
            f"the data are safe in {snapshot.id}; the events of the stack say what it waits for",
        )
    return Wait(f"the deletion of cluster {settings.name}")


def _is_in(request: Request | None, snapshot: Snapshot) -> bool:
    """Whether a snapshot has the data that a request is about: its own run's, or an older one's.

    Of an older run that failed it must not pass for good: the cluster would go with it.
    """
    if request is None or request.run == snapshot.run:
        return request is not None
    return request.asked <= snapshot.started + _SKEW and (request.good or not snapshot.good)


def _not_fine(stack: Stack, settings: FinalizeSettings, snapshot: Snapshot) -> Action:
    """Leave a stack alone that somebody changes, or has to mend."""
    if stack.status.endswith("_IN_PROGRESS"):
        return Wait(f"the stack of cluster {settings.name}, which is {stack.status}")
    return Stop(
        "failed",
        f"the stack of cluster {settings.name} is {stack.status}: it is not deleted",
        f"the data are safe in {snapshot.id}; mend the stack, then finalize again",
    )


def _asked_since(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> str:
    """Return another run whose end was asked for, and whose data are not in the snapshot; nothing if there is none."""
    asked = (volume.request for volume in state.volumes if volume.request is not None)
    others = (request.run for request in asked if request.run != settings.run and not _is_in(request, snapshot))
    return next(others, "")


def _stale(state: State, snapshot: Snapshot) -> float:
    """Return for how many hours the cluster has been left standing; 0 if it is about to go."""
    left = "finalized" in snapshot.told and "finalized" not in state.told and not state.deleted
    seconds = state.now - (snapshot.completed or snapshot.started)
    return seconds / 3600 if left and seconds > _STALE else 0.0


def _used_since(state: State, snapshot: Snapshot) -> bool:
    """Whether the compute nodes ran since the snapshot was made: it is made when they are stopped."""
    assert state.fleet is not None
    if state.fleet.status != "STOPPED":
        return True
    return state.fleet.since is not None and state.fleet.since > snapshot.started + _SKEW


def _named(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> bool:
    return any(entry.mount == settings.mount and entry.snapshot == snapshot.id for entry in state.config)


def _superseded(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> bool:
    """Whether the configuration names the data of a later run of the set: an old run must not take it back."""
    named = {entry.snapshot for entry in state.config if entry.mount == settings.mount}
    later = (other for other in state.snapshots if other.id in named and other.run != settings.run)
    return any(other.order > snapshot.order for other in later)


def _surplus(
    state: State, settings: FinalizeSettings, taken: list[Snapshot], *, rotates: bool
) -> Iterator[tuple[Snapshot, str]]:
    named = {entry.snapshot for entry in state.config}
    for twin in taken[1:]:
        if not twin.pinned and twin.id not in named:
            yield twin, f"a second snapshot of run {settings.run}"
    if rotates:
        yield from surplus(state.snapshots, settings, named | {one.id for one in taken})

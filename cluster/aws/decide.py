"""What is next, as a function of what is found: no position is ever remembered.

The order is what makes it safe. The configuration is pointed at the new snapshot only when that is completed, older
snapshots go only when the configuration has left them, and the cluster goes last; so there is at every moment a
completed snapshot that the configuration names, and whoever comes after a crash finds where to go on.
"""

from collections.abc import Iterator

from cluster.aws.actions import (
    Action,
    CreateSnapshot,
    DeleteCluster,
    DeleteSnapshot,
    Done,
    Intend,
    LookAtFleet,
    Repoint,
    Stop,
    StopFleet,
    Tell,
    Verify,
    Wait,
)
from cluster.aws.keep import surplus
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import GONE, Snapshot, Stack, State, Volume

_DELETING = "DELETE_IN_PROGRESS"
_STOPPING = ("STOP_REQUESTED", "STOPPING")
_FINE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


def next_action(state: State, settings: FinalizeSettings) -> Action:
    """Return the one thing that is to be done next, or that there is none."""
    taken = state.of_run(settings.run)
    return _with_snapshot(state, settings, taken) if taken else _without_snapshot(state, settings)


def _without_snapshot(state: State, settings: FinalizeSettings) -> Action:
    stack, volume = _stack(state, settings), _volume(state, settings)
    if isinstance(stack, Stop):
        return stack
    if isinstance(volume, Stop):
        return volume
    if state.complaints is None and state.outcome.good:
        return Verify()
    good, text = _judged(state)
    told = state.told | volume.told
    if "ended" not in told:
        return Tell("ended", f"run {settings.run} {'done' if good else 'FAILED'}", text, volume.id)
    policy = settings.on_failure
    if not good and policy == "nothing":
        return Done("the run failed: the cluster is left as it is")
    if state.fleet is None:
        return LookAtFleet()
    if (waits := _stop_fleet(state, settings)) is not None:
        return waits
    if not good and policy == "stop-fleet":
        return Done("the run failed: the compute nodes are stopped, the head node is kept")
    failed = state.failed_of(settings.run)
    if len(failed) >= settings.attempts:
        return _unproven(
            told,
            volume.id,
            f"{len(failed)} snapshots of run {settings.run} ended in an error: {failed[-1].message or failed[-1].id}",
            "look at the volume and at the snapshots' messages, delete the failed ones and finalize again",
        )
    intent = volume.intent
    if intent is not None and intent.run == settings.run and intent.attempt != state.attempt:
        # Somebody was about to make one and may have; EC2 takes a while to list it.
        if state.now < intent.time + settings.settle_seconds:
            return Wait("a snapshot that another finalizer may have made")
        return Intend(volume.id)
    if intent is None or intent.run != settings.run:
        return Intend(volume.id)
    return CreateSnapshot(volume.id, stack.id, good)


def _with_snapshot(state: State, settings: FinalizeSettings, taken: list[Snapshot]) -> Action:
    snapshot = taken[0]
    told = state.told | snapshot.told
    if snapshot.status != "completed":
        if state.now < snapshot.started + settings.snapshot_seconds:
            return Wait(f"{snapshot.id}, which is {snapshot.status}")
        return _unproven(
            told,
            snapshot.id,
            f"{snapshot.id} is still {snapshot.status} after {settings.snapshot_seconds / 3600:.1f} h",
            "look at it in the EC2 console; finalize again when it is completed",
        )
    if wrong := _wrong(state, snapshot):
        return _unproven(told, snapshot.id, wrong, "look at the snapshot's tags and volume by hand")
    keeps_cluster = not snapshot.good and settings.on_failure != "teardown"
    if not (keeps_cluster or _named(state, settings, snapshot) or _superseded(state, settings, snapshot)):
        return Repoint(snapshot.id)
    for old, why in _surplus(state, settings, taken, rotates=not keeps_cluster and snapshot.good):
        if old.id not in state.undeletable:
            return DeleteSnapshot(old.id, why)
    deletes = settings.delete_cluster and not keeps_cluster
    if "finalized" not in told:
        text = f"{snapshot.id} holds the data of run {settings.run} ({snapshot.size_gib} GiB). " + (
            "The configuration names it, and the cluster goes now." if deletes else "The cluster is kept."
        )
        return Tell("finalized", f"run {settings.run}: {snapshot.id} completed", text, snapshot.id)
    if not deletes:
        return Done(f"{snapshot.id} holds the data; the cluster is kept")
    return _delete_cluster(state, settings, snapshot)


def _delete_cluster(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> Action:
    stack = state.stack
    if stack is None or stack.status == GONE:
        return Done(f"{snapshot.id} holds the data; the cluster is gone")
    if stack.status == "DELETE_FAILED":
        return Stop(
            "failed",
            f"the deletion of cluster {settings.name} failed: {stack.reason or 'CloudFormation gives no reason'}",
            f"the data are safe in {snapshot.id}; `pcluster delete-cluster -n {settings.name}` after mending the cause",
        )
    if stack.status != _DELETING:
        return DeleteCluster(stack.id)
    if stack.deletion_asked is not None and state.now > stack.deletion_asked + settings.delete_seconds:
        return Stop(
            "failed",
            f"cluster {settings.name} is still being deleted after {settings.delete_seconds / 60:.0f} min",
            f"the data are safe in {snapshot.id}; the events of the stack say what it waits for",
        )
    return Wait(f"the deletion of cluster {settings.name}")


def _stack(state: State, settings: FinalizeSettings) -> Stack | Stop:
    stack = state.stack
    if stack is None:
        return Stop(
            "refused",
            f"there is no cluster '{settings.cluster}', and no snapshot of run {settings.run}",
            "`pcluster list-clusters` lists them; give its name, or its stack's id",
        )
    if stack.status in (GONE, _DELETING, "DELETE_FAILED"):
        return Stop(
            "unproven",
            f"the stack of cluster {settings.name} is {stack.status}, and there is no snapshot of run {settings.run}",
            "if its volume is still there, or the stack's own snapshot of it, keep that by hand",
        )
    if not stack.of_parallelcluster:
        return Stop(
            "refused",
            f"the stack '{settings.name}' was not made by ParallelCluster",
            "give the name of a cluster; `pcluster list-clusters` lists them",
        )
    if stack.status not in _FINE:
        return Stop(
            "refused",
            f"the stack of cluster {settings.name} is {stack.status}",
            "wait until it is complete, or mend it, then finalize again",
        )
    return stack


def _volume(state: State, settings: FinalizeSettings) -> Volume | Stop:
    """Return the one volume that is meant; what the configuration says of the mount tells it from others."""
    at = [entry for entry in state.config if entry.mount == settings.mount]
    if len(at) != 1 or at[0].fixed:
        return Stop(
            "refused",
            at[0].fixed if len(at) == 1 else f"the configuration has {len(at) or 'no'} volumes at {settings.mount}",
            f"{settings.config} must have one entry of SharedStorage with this MountDir, and EbsSettings with its Size",
        )
    candidates = [volume for volume in state.volumes if settings.volume in ("", volume.id)]
    if len(candidates) > 1:
        candidates = [volume for volume in candidates if volume.name == at[0].name]
    if len(candidates) != 1:
        listed = ", ".join(volume.id for volume in state.volumes) or "none"
        return Stop(
            "refused",
            f"which volume of cluster {settings.name} is at {settings.mount} cannot be told; it has {listed}",
            "give the volume's id",
        )
    return candidates[0]


def _judged(state: State) -> tuple[bool, str]:
    if not state.complaints:
        return state.outcome.good, state.outcome.text
    return False, "\n".join([state.outcome.text, "The outputs do not hold:", *state.complaints])


def _stop_fleet(state: State, settings: FinalizeSettings) -> Action | None:
    assert state.fleet is not None
    fleet = state.fleet
    if fleet.status == "STOPPED":
        return None
    if fleet.status not in _STOPPING:
        return StopFleet()
    if fleet.since is not None and state.now > fleet.since + settings.fleet_seconds:
        return Stop(
            "late",
            f"the compute nodes are still {fleet.status} after {settings.fleet_seconds / 60:.0f} min",
            "nothing was deleted; /var/log/parallelcluster/clustermgtd on the head node says why; finalize again then",
        )
    return Wait("the compute nodes to stop")


def _wrong(state: State, snapshot: Snapshot) -> str:
    """Say why a completed snapshot is not the one that is needed; nothing if it is."""
    if not snapshot.stack:
        return f"{snapshot.id} does not say which cluster it is of"
    if state.stack is not None and state.stack.id != snapshot.stack:
        return f"{snapshot.id} is of another cluster ({snapshot.stack})"
    # A stack that is being deleted loses its volumes one by one.
    stands = state.stack is not None and state.stack.status in _FINE
    here = {volume.id: volume for volume in state.volumes} if stands else {}
    if here and snapshot.volume not in here:
        return f"{snapshot.id} is of {snapshot.volume}, which is no volume of the cluster"
    if here and snapshot.size_gib != here[snapshot.volume].size_gib:
        return f"{snapshot.id} has {snapshot.size_gib} GiB, its volume {here[snapshot.volume].size_gib} GiB"
    return ""


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
        yield from surplus(state.snapshots, settings.set_name, settings.keep, named | {one.id for one in taken})


def _unproven(told: frozenset[str], on: str, message: str, hint: str) -> Action:
    if "unproven" not in told:
        return Tell("unproven", "the data are NOT proven safe", f"{message}. Nothing was deleted; {hint}.", on)
    return Stop("unproven", message, hint)

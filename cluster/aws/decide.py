"""What is next, as a function of what is found: no position is ever remembered.

The order is what makes it safe. The configuration is pointed at the new snapshot only when that is completed, older
snapshots go only when the configuration has left them, and the cluster goes last; so there is at every moment a
completed snapshot that the configuration names, and whoever comes after a crash finds where to go on.
"""

import math
from collections.abc import Iterator

from cluster.aws.actions import (
    Action,
    CreateSnapshot,
    DeleteCluster,
    DeleteSnapshot,
    Done,
    HandOver,
    Intend,
    LookAtFleet,
    Repoint,
    Settle,
    Stop,
    StopFleet,
    Tell,
    Verify,
    Wait,
    Wake,
)
from cluster.aws.checks import FINE, stack_to_end, volume_to_keep, wrong_with
from cluster.aws.keep import surplus
from cluster.aws.leftovers import leftovers
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import DELETING, FAILED, GONE, Fleet, Request, Snapshot, State, Volume

_SKEW = 60.0
"""Seconds by which clocks on AWS may differ, and more than it takes nobody to start a fleet and stop it."""


def next_action(state: State, settings: FinalizeSettings) -> Action:
    """Return the one thing that is to be done next, or that there is none."""
    if (refused := _handing_over_refused(state, settings)) is not None:
        return refused
    taken = state.of_run(settings.run)
    if not taken:
        return _without_snapshot(state, settings)
    if state.hands_to is not None:
        return _woken(state)
    return _with_snapshot(state, settings, taken)


def _without_snapshot(state: State, settings: FinalizeSettings) -> Action:
    stack, volume = stack_to_end(state, settings), volume_to_keep(state, settings)
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
    if not good and settings.on_failure == "nothing":
        return _settled(state, settings, Done("the run failed: the cluster is left as it is"))
    if state.hands_to is not None:
        is_asked = volume.request is not None and (volume.request.run, volume.request.good) == (settings.run, good)
        return _woken(state) if is_asked else HandOver(volume.id, stack.id, good, text)
    if state.fleet is None:
        return LookAtFleet()
    if state.asked is not None and state.fleet.started_after(state.asked):
        return _started_again(state, settings, volume, good)
    if (waits := _stop_fleet(state.fleet, state, settings)) is not None:
        return waits
    if not good and settings.on_failure == "stop-fleet":
        stopped = "the run failed: the compute nodes are stopped, the head node is kept"
        return _settled(state, settings, Done(stopped))
    failed = state.failed_of(settings.run)
    if len(failed) >= settings.attempts:
        return _unproven(
            state,
            settings,
            told,
            volume.id,
            f"{len(failed)} snapshots of run {settings.run} ended in an error: {failed[-1].message or failed[-1].id}",
            "look at the volume and at the snapshots' messages, delete the failed ones and finalize again",
        )
    return _make_snapshot(state, settings, volume, CreateSnapshot(volume.id, stack.id, good))


def _make_snapshot(state: State, settings: FinalizeSettings, volume: Volume, create: CreateSnapshot) -> Action:
    intent = volume.intent
    if intent is None or intent.run != settings.run:
        return Intend(volume.id)
    if any(failed.started >= math.floor(intent.time) for failed in state.failed_of(settings.run)):
        return Intend(volume.id)  # the one that was meant has failed since
    if intent.attempt == state.attempt:
        return create
    # Somebody was about to make one and may have; EC2 takes a while to list it.
    if state.now < intent.time + settings.settle_seconds:
        return Wait("a snapshot that another finalizer may have made")
    return Intend(volume.id)


def _with_snapshot(state: State, settings: FinalizeSettings, taken: list[Snapshot]) -> Action:
    snapshot = taken[0]
    told = state.told | snapshot.told
    for volume in state.volumes:
        if volume.id == snapshot.volume and _is_in(volume.request, snapshot):
            return Settle(volume.id)
    if snapshot.status != "completed":
        if state.now < snapshot.started + settings.snapshot_seconds:
            return Wait(f"{snapshot.id}, which is {snapshot.status}", hours=True)
        return _unproven(
            state,
            settings,
            told,
            snapshot.id,
            f"{snapshot.id} is still {snapshot.status} after {settings.snapshot_seconds / 3600:.1f} h",
            "look at it in the EC2 console; finalize again when it is completed",
        )
    if wrong := wrong_with(state, snapshot):
        return _unproven(state, settings, told, snapshot.id, wrong, "look at the snapshot's tags and volume by hand")
    keeps_cluster = not snapshot.good and settings.on_failure != "teardown"
    if not (keeps_cluster or _named(state, settings, snapshot) or _superseded(state, settings, snapshot)):
        return Repoint(snapshot.id)
    for old, why in _surplus(state, settings, taken, rotates=not keeps_cluster and snapshot.good):
        if old.id not in state.undeletable:
            return DeleteSnapshot(old.id, why)
    return _end_cluster(state, settings, snapshot, told, deletes=settings.delete_cluster and not keeps_cluster)


def _end_cluster(
    state: State, settings: FinalizeSettings, snapshot: Snapshot, told: frozenset[str], *, deletes: bool
) -> Action:
    stands = state.stack is not None and state.stack.status in FINE
    if deletes and stands and state.fleet is None:
        return LookAtFleet()
    used = deletes and stands and _used_since(state, snapshot)
    if "finalized" not in told:
        if used:
            what = "The configuration names it. The compute nodes were started again since, so the cluster is kept."
        else:
            what = "The configuration names it, and the cluster goes now." if deletes else "The cluster is kept."
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
    return _delete_cluster(state, settings, snapshot)


def _delete_cluster(state: State, settings: FinalizeSettings, snapshot: Snapshot) -> Action:
    stack = state.stack
    if stack is None or stack.status == GONE:
        for other in leftovers(state, snapshot):
            if other.id not in state.undeletable:
                return DeleteSnapshot(other.id, f"CloudFormation's own of {other.volume}, as {snapshot.id}")
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


def _handing_over_refused(state: State, settings: FinalizeSettings) -> Stop | None:
    if state.hands_to is None:
        return None
    by_hand = "or `raypipe finalize` on the head node"
    if not settings.in_bucket:
        return Stop(
            "refused",
            f"the end of run {settings.run} cannot be handed over: the configuration {settings.config} is a file here",
            f"put it where the function reaches it (s3://bucket/key), {by_hand}",
        )
    if not state.hands_to:
        return Stop(
            "refused",
            f"the end of run {settings.run} cannot be handed over: there is no function for cluster {settings.name}",
            f"`raypipe cluster arm {settings.name}` makes it, {by_hand}",
        )
    return None


def _woken(state: State) -> Action:
    assert state.hands_to
    return Done(f"handed over to {state.hands_to}") if state.woken else Wake(state.hands_to)


def _judged(state: State) -> tuple[bool, str]:
    if not state.complaints:
        return state.outcome.good, state.outcome.text
    return False, "\n".join([state.outcome.text, "The outputs do not hold:", *state.complaints])


def _stop_fleet(fleet: Fleet, state: State, settings: FinalizeSettings) -> Action | None:
    if fleet.status == "STOPPED":
        return None
    if not fleet.stopping:
        return StopFleet(fleet.status)
    if fleet.since is not None and state.now > fleet.since + settings.fleet_seconds:
        return Stop(
            "late",
            f"the compute nodes are still {fleet.status} after {settings.fleet_seconds / 60:.0f} min",
            "nothing was deleted; /var/log/parallelcluster/clustermgtd on the head node says why; finalize again then",
        )
    return Wait("the compute nodes to stop")


def _started_again(state: State, settings: FinalizeSettings, volume: Volume, good: bool) -> Action:
    """Leave nodes alone that somebody started since the end was asked for: nobody waits for that any more."""
    if not good and settings.on_failure == "stop-fleet":
        return _settled(
            state, settings, Done("the run failed; somebody started the compute nodes again: they are left")
        )
    return _unproven(
        state,
        settings,
        state.told | volume.told,
        volume.id,
        f"somebody started the compute nodes of {settings.name} again before there was a snapshot of run {settings.run}",
        "the next run's end makes one; or finalize by hand",
    )


def _is_in(request: Request | None, snapshot: Snapshot) -> bool:
    """Whether a snapshot has the data that a request is about: its own run's, or an older one's."""
    if request is None:
        return False
    return request.run == snapshot.run or request.asked <= snapshot.started + _SKEW


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
        yield from surplus(state.snapshots, settings.set_name, settings.keep, named | {one.id for one in taken})


def _settled(state: State, settings: FinalizeSettings, end: Done | Stop) -> Action:
    """Take the run's request off its volume before the end, so that it is not taken up again."""
    for volume in state.volumes:
        if state.hands_to is None and volume.request is not None and volume.request.run == settings.run:
            return Settle(volume.id)
    return end


def _unproven(
    state: State, settings: FinalizeSettings, told: frozenset[str], on: str, message: str, hint: str
) -> Action:
    if "unproven" not in told:
        return Tell("unproven", "the data are NOT proven safe", f"{message}. Nothing was deleted; {hint}.", on)
    return _settled(state, settings, Stop("unproven", message, hint))

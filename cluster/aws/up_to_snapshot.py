"""What is next until the run has its snapshot: outputs, people, the compute nodes, and the snapshot itself."""

from cluster.aws.actions import (
    Action,
    CreateSnapshot,
    Done,
    HandOver,
    Intend,
    LookAtFleet,
    Stop,
    StopFleet,
    Tell,
    Verify,
    Wait,
)
from cluster.aws.checks import settled, stack_to_end, unproven, volume_to_keep
from cluster.aws.hand_over import woken
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Fleet, State, Volume

_OLD = 75 * 60.0
"""Seconds for which it may hold that nothing runs on the compute nodes, as whoever asked for the end had looked: the
function, should its waking be lost, comes by within an hour."""


def up_to_snapshot(state: State, settings: FinalizeSettings) -> Action:
    """Return what is next of a run without a snapshot, or with failed ones."""
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
    request = volume.request
    is_ours = request is not None and request.run == settings.run
    spoiled = "" if request is None else request.spoiled if is_ours else request.failed
    if spoiled:  # runs that end together have one snapshot, and the worse of their ends
        good, text = False, f"{text}\nRun {spoiled}, whose end was asked for as well, FAILED"
    if not good and settings.on_failure == "nothing":
        return settled(state, settings, Done("the run failed: the cluster is left as it is"))
    is_asked = is_ours and request is not None and (request.good, request.wanted) == (good, settings.wanted)
    if not is_asked and (state.hands_to is not None or (is_ours and state.asked is None)):
        return HandOver(volume.id, stack.id, good, text, spoiled)
    if state.hands_to is not None:
        return woken(state)
    if state.fleet is None:
        return LookAtFleet()
    if state.asked is not None and state.fleet.started_after(state.asked):
        return _started_again(state, settings, volume, good)
    if state.asked is not None and not state.fleet.stopping and state.now > state.asked + _OLD:
        return unproven(
            state,
            settings,
            told,
            volume.id,
            f"the end of run {settings.run} was asked for {(state.now - state.asked) / 60:.0f} min ago, and the compute "
            f"nodes of {settings.name} are {state.fleet.status}: there may be jobs on them by now",
            "they are left alone; when there are none, finalize again",
        )
    if (waits := _stop_fleet(state.fleet, state, settings)) is not None:
        return waits
    if not good and settings.on_failure == "stop-fleet":
        stopped = "the run failed: the compute nodes are stopped, the head node is kept"
        return settled(state, settings, Done(stopped))
    failed = state.failed_of(settings.run)
    if len(failed) >= settings.attempts:
        return unproven(
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
    if any(failed.created >= intent.time for failed in state.failed_of(settings.run)):
        return Intend(volume.id)  # the one that was meant has failed since
    if intent.attempt == state.attempt:
        return create
    # Somebody was about to make one and may have; EC2 takes a while to list it.
    if state.now < intent.time + settings.settle_seconds:
        return Wait("a snapshot that another finalizer may have made")
    return Intend(volume.id)


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
        return settled(state, settings, Done("the run failed; somebody started the compute nodes again: they are left"))
    return unproven(
        state,
        settings,
        state.told | volume.told,
        volume.id,
        f"somebody started the compute nodes of {settings.name} again before there was a snapshot of run {settings.run}",
        "the next run's end makes one; or finalize by hand",
    )

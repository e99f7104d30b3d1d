"""What a finalizer would do if all went well: the same decisions, on states that are imagined."""

from dataclasses import dataclass, replace

from cluster.aws.actions import (
    Action,
    CreateSnapshot,
    DeleteCluster,
    DeleteSnapshot,
    Done,
    Effect,
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
    Want,
)
from cluster.aws.decide import next_action
from cluster.aws.settings import CREATED, OUTCOME, STACK, FinalizeSettings
from cluster.aws.state import DELETING, GONE, Fleet, Intent, Request, Snapshot, State

NEW = "(the new snapshot)"
_LATEST = "9999"


@dataclass(frozen=True)
class Step:
    """One thing that would be done, and in words."""

    action: Action
    text: str


def foresee(state: State, settings: FinalizeSettings) -> list[Step]:
    """Return what would be done from here, in order; the last one is the end (`Done` or `Stop`)."""
    steps = []
    while True:
        action = next_action(state, settings)
        steps.append(Step(action, in_words(action, settings)))
        if isinstance(action, Done | Stop):
            return steps
        state = _waited(state, settings) if isinstance(action, Wait) else _imagined(state, action, settings)


def in_words(action: Action, settings: FinalizeSettings) -> str:
    """Say what an action does."""
    match action:
        case Verify():
            return f"read the outputs of run {settings.run} again"
        case LookAtFleet():
            return "look at the compute nodes"
        case Tell(_, subject):
            return f"tell: {subject}"
        case StopFleet():
            return f"stop the compute nodes of {settings.name}"
        case HandOver(volume):
            return f"write on {volume} how run {settings.run} is to end"
        case Wake(function):
            return f"hand over to {function}"
        case Settle(volume):
            return f"take the request off {volume}"
        case Want(snapshot):
            return f"write on {snapshot} how run {settings.run} is to end"
        case Intend(volume):
            return f"mark {volume}: a snapshot is about to be made"
        case CreateSnapshot(volume):
            return f"make a snapshot of {volume}"
        case Repoint(snapshot):
            return f"point {settings.mount} in {settings.config} at {snapshot}"
        case DeleteSnapshot(snapshot, why):
            return f"delete {snapshot}: {why}"
        case DeleteCluster(stack):
            return f"delete cluster {settings.name} ({stack})"
        case Wait(what):
            return f"wait for {what}"
        case Done(text):
            return text
        case Stop(_, message):
            return f"stop: {message}"


def _imagined(state: State, action: Verify | LookAtFleet | Effect, settings: FinalizeSettings) -> State:
    match action:
        case Verify():
            return replace(state, complaints=())
        case LookAtFleet():
            is_saved = bool(state.of_run(settings.run))
            return replace(state, fleet=Fleet("STOPPED" if is_saved else "RUNNING", None))
        case Tell(event):
            return replace(state, told=state.told | {event})
        case StopFleet():
            return replace(state, fleet=Fleet("STOP_REQUESTED", state.now))
        case HandOver(volume, _, good, _, spoiled):
            request = Request(settings.run, good, state.now, settings.wanted, spoiled)
            return _with_request(state, volume, request)
        case Wake():
            return replace(state, woken=True)
        case Settle(volume):
            return _with_request(state, volume, None)
        case Want(snapshot):
            marked = (
                replace(one, tags={**one.tags, **settings.wanted}) if one.id == snapshot else one
                for one in state.snapshots
            )
            return replace(state, snapshots=tuple(marked))
        case Intend(volume):
            intent = Intent(settings.run, state.attempt, state.now)
            meant = (replace(one, intent=intent) if one.id == volume else one for one in state.volumes)
            return replace(state, volumes=tuple(meant))
        case CreateSnapshot():
            return replace(state, snapshots=(*state.snapshots, _new(state, action, settings)))
        case Repoint(snapshot):
            entries = (replace(one, snapshot=snapshot) if one.mount == settings.mount else one for one in state.config)
            return replace(state, config=tuple(entries))
        case DeleteSnapshot(snapshot):
            ours, others = (
                tuple(one for one in found if one.id != snapshot) for found in (state.snapshots, state.others)
            )
            return replace(state, snapshots=ours, others=others)
        case DeleteCluster():
            assert state.stack is not None
            stack = replace(state.stack, status=DELETING, deletion_asked=state.now)
            return replace(state, stack=stack, deleted=True)


def _with_request(state: State, volume: str, request: Request | None) -> State:
    changed = (replace(one, request=request) if one.id == volume else one for one in state.volumes)
    return replace(state, volumes=tuple(changed))


def _new(state: State, action: CreateSnapshot, settings: FinalizeSettings) -> Snapshot:
    size = next(volume.size_gib for volume in state.volumes if volume.id == action.volume)
    outcome = "good" if action.good else "failed"
    tags = settings.as_tags() | {STACK: action.stack, OUTCOME: outcome, CREATED: _LATEST}
    return Snapshot(NEW, "pending", action.volume, size, state.now, tags)


def _waited(state: State, settings: FinalizeSettings) -> State:
    """Return the state after what is waited for has come."""
    mine = state.of_run(settings.run)
    if not mine and state.fleet is not None and state.fleet.status != "STOPPED":
        return replace(state, fleet=Fleet("STOPPED", state.now))
    if not mine:
        return replace(state, now=state.now + settings.settle_seconds)
    if mine[0].status != "completed":
        done = (replace(one, status="completed") if one.id == mine[0].id else one for one in state.snapshots)
        return replace(state, snapshots=tuple(done))
    assert state.stack is not None
    if state.stack.stands:
        return replace(state, stack=replace(state.stack, status="UPDATE_COMPLETE"))
    return replace(state, stack=replace(state.stack, status=GONE), volumes=())

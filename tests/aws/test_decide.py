"""What is next, for every state that can be found: pure, without an AWS."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from cluster.aws.actions import (
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
    Want,
)
from cluster.aws.decide import next_action
from cluster.aws.foresee import NEW, foresee
from cluster.aws.keep import surplus
from cluster.aws.settings import (
    CREATED,
    INTENT,
    MANAGED,
    OUTCOME,
    PINNED,
    RUN,
    SET,
    STACK,
    TOLD,
    WANTED_CONFIG,
    WANTED_MOUNT,
    FinalizeSettings,
)
from cluster.aws.state import Fleet, Intent, Named, Outcome, Request, Snapshot, Stack, State, Volume

ARN = "arn:aws:cloudformation:r:1:stack/pipe/1"
WANTED = FinalizeSettings("run-1", "pipe", "c.yaml")
TAGS = {"parallelcluster:version": "3.16.1", MANAGED: "true"}
STOPPED = Fleet("STOPPED", 0.0)


def shot(id: str, run: str, order: str, status: str = "completed", outcome: str = "good", **tags: str) -> Snapshot:
    ours = {RUN: run, SET: "pipe", STACK: ARN if run == "run-1" else "arn:old", CREATED: order, OUTCOME: outcome}
    return Snapshot(id, status, "vol-1", 10, 1000.0, WANTED.wanted | ours | tags)


def carrying(state: State, settings: FinalizeSettings) -> State:
    """Let the run's snapshots say what is wanted."""
    marked = (replace(one, tags=one.tags | settings.wanted) if one.run == "run-1" else one for one in state.snapshots)
    return replace(state, snapshots=tuple(marked))


OLD = (shot("snap-a", "a", "1"), shot("snap-b", "b", "2"), shot("snap-c", "c", "3"))
MINE = shot("snap-1", "run-1", "4")
START = State(
    now=1000.0,
    outcome=Outcome(True, "fine"),
    attempt="me/0",
    stack=Stack(ARN, "CREATE_COMPLETE", TAGS),
    volumes=(Volume("vol-1", "d", 10),),
    snapshots=OLD,
    config=(Named("/data", "d", "snap-c"),),
)
AT_SNAPSHOT = replace(START, complaints=(), told=frozenset({"ended"}), fleet=STOPPED)
TAKEN = replace(START, snapshots=(*OLD, MINE))
POINTED = replace(TAKEN, config=(Named("/data", "d", "snap-1"),))
ROTATED = replace(POINTED, snapshots=(OLD[-1], MINE), told=frozenset({"finalized"}))
SAVED = replace(ROTATED, fleet=STOPPED)


def volume(**others: object) -> tuple[Volume, ...]:
    return (replace(START.volumes[0], **others),)  # type: ignore[arg-type]


def stack(status: str, **others: object) -> Stack:
    return replace(Stack(ARN, status, TAGS), **others)  # type: ignore[arg-type]


NEXT = {
    "the outputs are read first": (START, Verify()),
    "a failed run's are not": (replace(START, outcome=Outcome(False, "3 failed")), Tell("ended", "run run-1 FAILED", "3 failed", "vol-1")),
    "outputs that do not hold make it a failed run": (
        replace(START, complaints=("x is torn",)),
        Tell("ended", "run run-1 FAILED", "fine\nThe outputs do not hold:\nx is torn", "vol-1"),
    ),
    "then it is told": (replace(START, complaints=()), Tell("ended", "run run-1 done", "fine", "vol-1")),
    "once": (replace(START, complaints=(), volumes=volume(told=frozenset({"ended"}))), LookAtFleet()),
    "a running fleet is stopped": (replace(AT_SNAPSHOT, fleet=Fleet("RUNNING", 0.0)), StopFleet("RUNNING")),
    "a protected one too": (replace(AT_SNAPSHOT, fleet=Fleet("PROTECTED", 0.0)), StopFleet("PROTECTED")),
    "a stopping one is waited for": (replace(AT_SNAPSHOT, fleet=Fleet("STOPPING", 900.0)), Wait("the compute nodes to stop")),
    "the snapshot is announced": (AT_SNAPSHOT, Intend("vol-1")),
    "and made": (
        replace(AT_SNAPSHOT, volumes=volume(intent=Intent("run-1", "me/0", 999.0))),
        CreateSnapshot("vol-1", ARN, good=True),
    ),
    "one that another may have made is waited for": (
        replace(AT_SNAPSHOT, volumes=volume(intent=Intent("run-1", "other/0", 999.0))),
        Wait("a snapshot that another finalizer may have made"),
    ),
    "not for ever": (replace(AT_SNAPSHOT, volumes=volume(intent=Intent("run-1", "other/0", 900.0))), Intend("vol-1")),
    "another run's mark says nothing": (
        replace(AT_SNAPSHOT, volumes=volume(intent=Intent("run-0", "me/0", 999.0))), Intend("vol-1"),
    ),
    "after an error it is made once more": (
        replace(AT_SNAPSHOT, snapshots=(shot("snap-1", "run-1", "4", "error"),)), Intend("vol-1"),
    ),
    "a pending one is waited for": (
        replace(START, snapshots=(*OLD, shot("snap-1", "run-1", "4", "pending"))), Wait("snap-1, which is pending", hours=True),
    ),
    "so is what is neither": (
        replace(START, snapshots=(*OLD, shot("snap-1", "run-1", "4", "recovering"))), Wait("snap-1, which is recovering", hours=True),
    ),
    "a completed one is named": (TAKEN, Repoint("snap-1")),
    "unless a later run's is": (
        replace(START, snapshots=(OLD[2], MINE, shot("snap-2", "run-2", "5")), config=(Named("/data", "d", "snap-2"),)),
        DeleteSnapshot("snap-c", "older than the newest 2 of pipe"),
    ),
    "then the oldest goes": (POINTED, DeleteSnapshot("snap-a", "older than the newest 2 of pipe")),
    "then the next": (
        replace(POINTED, snapshots=(*OLD[1:], MINE)), DeleteSnapshot("snap-b", "older than the newest 2 of pipe"),
    ),
    "what the configuration mounts elsewhere stays": (
        replace(POINTED, config=(*POINTED.config, Named("/b", "b", "snap-a"))),
        DeleteSnapshot("snap-b", "older than the newest 2 of pipe"),
    ),
    "one that would not go is left": (
        replace(POINTED, let_go=frozenset({"snap-a"})), DeleteSnapshot("snap-b", "older than the newest 2 of pipe"),
    ),
    "a twin goes first": (
        replace(POINTED, snapshots=(*OLD, MINE, shot("snap-2", "run-1", "5"))),
        DeleteSnapshot("snap-2", "a second snapshot of run run-1"),
    ),
    "of twins the completed one stays": (
        replace(START, snapshots=(shot("snap-0", "run-1", "3", "pending"), MINE)), Repoint("snap-1"),
    ),
    "before the cluster goes the fleet is looked at": (ROTATED, LookAtFleet()),
    "then the cluster": (SAVED, DeleteCluster(ARN)),
    "which takes a while": (
        replace(ROTATED, stack=stack("DELETE_IN_PROGRESS", deletion_asked=900.0), volumes=()),
        Wait("the deletion of cluster pipe"),
    ),
    "and takes the volumes one by one": (
        replace(ROTATED, stack=stack("DELETE_IN_PROGRESS", deletion_asked=900.0), volumes=(Volume("vol-2", "e", 1),)),
        Wait("the deletion of cluster pipe"),
    ),
    "and is gone": (replace(ROTATED, stack=stack("DELETE_COMPLETE"), volumes=()), Done("snap-1 holds the data; the cluster is gone")),
    "or forgotten": (replace(ROTATED, stack=None, volumes=()), Done("snap-1 holds the data; the cluster is gone")),
}  # fmt: skip

OTHERS = shot("snap-o", "o", "1", **{WANTED_CONFIG: "other.yaml"})
SPOILT = "Run run-0, whose end was asked for as well, FAILED"
COPY = "CloudFormation's own of vol-0, an earlier run's"
ASKED = replace(
    START, asked=500.0, complaints=(), volumes=volume(told=frozenset({"ended"}), request=Request("run-1", True, 500.0))
)
HANDS = replace(START, hands_to="f", complaints=(), told=frozenset({"ended"}))
IN_S3 = replace(WANTED, config="s3://b/c.yaml")
BEFORE = replace(OLD[-1], volume="vol-0")
"""An earlier run's, of a cluster that is gone."""
NEXT_RUN = replace(SAVED, snapshots=(BEFORE, MINE))
LEFT = replace(
    SAVED, now=9000.0, told=frozenset(), snapshots=(OLD[-1], replace(MINE, tags=MINE.tags | {TOLD: "finalized"}))
)
"""Somebody was told of the snapshot two hours ago, and the cluster stands."""


def copy(started: float = 1000.0, of: str = "vol-0", **tags: str) -> Snapshot:
    """What CloudFormation makes of a volume, with the tags that it has."""
    return Snapshot("snap-x", "completed", of, 10, started, {"Name": "d", INTENT: "c me/0 1"} | tags)


MORE = {
    "what is wanted is written on the volume": (HANDS, IN_S3, HandOver("vol-1", ARN, True, "fine")),
    "that the outputs do not hold goes with it": (
        replace(HANDS, complaints=("x is torn",)), IN_S3, HandOver("vol-1", ARN, False, "fine\nThe outputs do not hold:\nx is torn"),
    ),
    "an older run's request is written over": (
        replace(HANDS, volumes=volume(request=Request("run-0", True, 1.0))), IN_S3, HandOver("vol-1", ARN, True, "fine"),
    ),
    "one that said otherwise too": (
        replace(HANDS, volumes=volume(request=Request("run-1", False, 1.0))), IN_S3, HandOver("vol-1", ARN, True, "fine"),
    ),
    "a failed run's is not written over by a good one's": (
        replace(HANDS, volumes=volume(request=Request("run-0", False, 1.0))), IN_S3,
        HandOver("vol-1", ARN, False, f"fine\n{SPOILT}", "run-0"),
    ),
    "not even in two steps": (
        replace(HANDS, volumes=volume(request=Request("run-2", True, 1.0, spoiled="run-0"))), IN_S3,
        HandOver("vol-1", ARN, False, f"fine\n{SPOILT}", "run-0"),
    ),
    "and that is written once": (
        replace(HANDS, volumes=volume(request=Request("run-1", False, 1.0, IN_S3.wanted, "run-0"))), IN_S3, Wake("f"),
    ),
    "by hand it makes the snapshot a failed run's": (
        replace(AT_SNAPSHOT, volumes=volume(intent=Intent("run-1", "me/0", 999.0), request=Request("run-0", False, 1.0))),
        WANTED, CreateSnapshot("vol-1", ARN, good=False),
    ),
    "a good run's snapshot does not settle a failed one's": (
        replace(SAVED, volumes=volume(request=Request("run-0", False, 1.0))), WANTED,
        Done("snap-1 holds the data; the cluster is kept for run run-0, whose end was asked for since"),
    ),
    "then the function is woken": (replace(HANDS, volumes=volume(request=Request("run-1", True, 1.0, IN_S3.wanted))), IN_S3, Wake("f")),
    "with a snapshot at once": (replace(TAKEN, hands_to="f"), IN_S3, Wake("f")),
    "and that is all": (replace(TAKEN, hands_to="f", woken=True), IN_S3, Done("handed over to f")),
    "what is left as it is, is not handed over": (
        replace(HANDS, outcome=Outcome(False, "")), replace(IN_S3, on_failure="nothing"), Done("the run failed: the cluster is left as it is"),
    ),
    "a request with a snapshot is settled": (
        replace(TAKEN, volumes=volume(request=Request("run-1", True, 9999.0))), WANTED, Settle("vol-1"),
    ),
    "one of an older run as well": (replace(TAKEN, volumes=volume(request=Request("run-0", True, 900.0))), WANTED, Settle("vol-1")),
    "one of a later run is not": (replace(TAKEN, volumes=volume(request=Request("run-2", True, 9999.0))), WANTED, Repoint("snap-1")),
    "a fleet that ran when it was asked for is stopped": (replace(ASKED, fleet=Fleet("RUNNING", 400.0)), WANTED, StopFleet("RUNNING")),
    "one that was protected since as well": (replace(ASKED, fleet=Fleet("PROTECTED", 600.0)), WANTED, StopFleet("PROTECTED")),
    "a fleet that runs is left alone for a request of long ago": (
        replace(ASKED, now=5100.0, fleet=Fleet("RUNNING", 400.0)), WANTED,
        Tell(
            "unproven", "the data are NOT proven safe",
            "the end of run run-1 was asked for 77 min ago, and the compute nodes of pipe are RUNNING: there may be jobs on "
            "them by now. Nothing was deleted; they are left alone; when there are none, finalize again.", "vol-1",
        ),
    ),
    "and the request is settled": (
        replace(ASKED, now=5100.0, fleet=Fleet("RUNNING", 400.0), told=frozenset({"unproven"})), WANTED, Settle("vol-1"),
    ),
    "one that stopped for it is gone on with": (replace(ASKED, now=5100.0, fleet=STOPPED), WANTED, Intend("vol-1")),
    "so is one that stops": (
        replace(ASKED, now=2400.0, fleet=Fleet("STOPPING", 1000.0)), WANTED, Wait("the compute nodes to stop"),
    ),
    "one that was started since is left": (
        replace(ASKED, fleet=Fleet("RUNNING", 600.0), told=frozenset({"unproven"})), WANTED, Settle("vol-1"),
    ),
    "unless somebody asks for it now": (
        replace(ASKED, asked=None, fleet=Fleet("RUNNING", 600.0), volumes=volume(told=frozenset({"ended"}))), WANTED, StopFleet("RUNNING"),
    ),
    "the only snapshot of another cluster stays": (
        replace(ROTATED, snapshots=(OTHERS, MINE), fleet=STOPPED), replace(WANTED, keep=1), DeleteCluster(ARN),
    ),
    "so does that of another mount": (
        replace(ROTATED, snapshots=(shot("snap-o", "o", "1", **{WANTED_MOUNT: "/scratch"}), MINE), fleet=STOPPED),
        replace(WANTED, keep=1), DeleteCluster(ARN),
    ),
    "an intent whose snapshot failed is over": (
        replace(AT_SNAPSHOT, snapshots=(shot("snap-1", "run-1", "4", "error"),), volumes=volume(intent=Intent("run-1", "x/0", 999.9))),
        WANTED,
        Intend("vol-1"),
    ),
    "one that was meant since may have been made": (
        replace(AT_SNAPSHOT, snapshots=(shot("snap-1", "run-1", "4", "error"),), volumes=volume(intent=Intent("run-1", "x/0", 1000.3))),
        WANTED,
        Wait("a snapshot that another finalizer may have made"),
    ),
    "a cluster that ran since is kept": (
        replace(ROTATED, fleet=Fleet("STOPPED", 1100.0), asked=1.0), WANTED,
        Done("snap-1 holds the data; the cluster is kept, since its compute nodes were started again"),
    ),
    "clocks may differ a little": (replace(ROTATED, fleet=Fleet("STOPPED", 1030.0)), WANTED, DeleteCluster(ARN)),
    "a failed deletion is asked for again by hand": (replace(ROTATED, stack=stack("DELETE_FAILED")), WANTED, DeleteCluster(ARN)),
    "CloudFormation's snapshot of an earlier run's volume goes": (
        replace(NEXT_RUN, others=(copy(),)), WANTED, DeleteSnapshot("snap-x", COPY, ours=False),
    ),
    "also with its own tags alone": (
        replace(NEXT_RUN, others=(replace(copy(), tags={"aws:cloudformation:stack-id": "arn:old"}),)), WANTED,
        DeleteSnapshot("snap-x", COPY, ours=False),
    ),
    "also with the stack's tags": (
        replace(NEXT_RUN, others=(copy(lab="x"),), stack=stack("CREATE_COMPLETE", tags=TAGS | {"lab": "x"})), WANTED,
        DeleteSnapshot("snap-x", COPY, ours=False),
    ),
    "one that would not go is let be": (
        replace(NEXT_RUN, others=(copy(),), let_go=frozenset({"snap-x"})), WANTED, DeleteCluster(ARN),
    ),
    "a cluster is kept for a run whose end was asked for since": (
        replace(SAVED, volumes=volume(request=Request("run-2", True, 9999.0))), WANTED,
        Done("snap-1 holds the data; the cluster is kept for run run-2, whose end was asked for since"),
    ),
    "whose end was asked for before is in the snapshot": (
        replace(SAVED, volumes=volume(request=Request("run-0", True, 1.0))), WANTED, Settle("vol-1"),
    ),
    "a cluster of a snapshot that just completed goes": (
        replace(LEFT, snapshots=(OLD[-1], replace(LEFT.snapshots[1], completed=8000.0))), WANTED, DeleteCluster(ARN),
    ),
    "so does one that it was told of by itself": (replace(LEFT, told=frozenset({"finalized"})), WANTED, DeleteCluster(ARN)),
    "a cluster that is changing is waited for": (
        replace(SAVED, stack=stack("UPDATE_IN_PROGRESS")), WANTED, Wait("the stack of cluster pipe, which is UPDATE_IN_PROGRESS"),
    ),
    "and while it is cleaned up": (
        replace(SAVED, stack=stack("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")), WANTED,
        Wait("the stack of cluster pipe, which is UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
    ),
    "unless it is to be kept": (
        replace(SAVED, stack=stack("UPDATE_IN_PROGRESS")), replace(WANTED, delete_cluster=False),
        Done("snap-1 holds the data; the cluster is kept"),
    ),
    "and one whose deletion failed": (replace(LEFT, stack=stack("DELETE_FAILED")), WANTED, DeleteCluster(ARN)),
    "one that is to be kept is": (
        LEFT, replace(WANTED, delete_cluster=False), Done("snap-1 holds the data; the cluster is kept"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "settings", "action"), MORE.values(), ids=MORE)
def test_next_of_what_is_handed_over(state: State, settings: FinalizeSettings, action: object) -> None:
    assert next_action(carrying(state, settings), settings) == action


KEPT = replace(IN_S3, delete_cluster=False)
CHANGED = {
    "it is written on the snapshot": (TAKEN, replace(WANTED, delete_cluster=False), Want("snap-1")),
    "also while it is pending": (
        replace(START, snapshots=(shot("snap-1", "run-1", "4", "pending"),)), replace(WANTED, keep=5), Want("snap-1"),
    ),
    "and before the function is woken": (replace(TAKEN, hands_to="f"), IN_S3, Want("snap-1")),
    "the function itself goes by what is written": (
        replace(SAVED, asked=1000.0), replace(WANTED, on_failure="nothing"), DeleteCluster(ARN),
    ),
    "it is asked for anew": (
        replace(HANDS, volumes=volume(request=Request("run-1", True, 1.0, IN_S3.wanted))), KEPT,
        HandOver("vol-1", ARN, True, "fine"),
    ),
    "also by whoever goes on by hand": (
        replace(HANDS, hands_to=None, volumes=volume(request=Request("run-1", True, 1.0, IN_S3.wanted))), KEPT,
        HandOver("vol-1", ARN, True, "fine"),
    ),
    "and then it is gone on with": (
        replace(HANDS, hands_to=None, volumes=volume(request=Request("run-1", True, 1.0, KEPT.wanted))), KEPT,
        LookAtFleet(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "settings", "action"), CHANGED.values(), ids=CHANGED)
def test_next_of_a_changed_mind(state: State, settings: FinalizeSettings, action: object) -> None:
    assert next_action(state, settings) == action


STAYS = {
    "older": copy(started=999.0),
    "of another volume": copy(of="vol-2"),
    "of the run's own volume": copy(of="vol-1"),
    "pending": replace(copy(), status="pending"),
    "without tags": replace(copy(), tags={}),
    "of another stack": replace(copy(), tags={"aws:cloudformation:stack-id": ARN}),
    "pinned": copy(**{PINNED: ""}),
    "somebody's tag": copy(owner="me"),
    "another value than the stack's": copy(**{"parallelcluster:version": "3.16.1", "lab": "x"}),
    "a backup's": copy(**{"aws:backup:source-resource": "x"}),
    "no copy of the volume's tags": replace(copy(), tags={"Name": "before I leave"}),
}


@pytest.mark.parametrize("other", STAYS.values(), ids=STAYS)
def test_whatever_else_there_is_of_the_volume_stays(other: Snapshot) -> None:
    assert next_action(replace(NEXT_RUN, others=(other,)), WANTED) == DeleteCluster(ARN)


def test_what_cloudformation_made_at_the_end_of_a_run_stays_until_another_good_one() -> None:
    gone = replace(SAVED, stack=stack("DELETE_COMPLETE"), volumes=(), others=(copy(of="vol-1"),))
    assert next_action(gone, WANTED) == Done("snap-1 holds the data; the cluster is gone")
    failed = replace(NEXT_RUN, snapshots=(BEFORE, shot("snap-1", "run-1", "4", outcome="failed")), others=(copy(),))
    assert next_action(failed, WANTED) == Done("snap-1 holds the data; the cluster is kept")


def test_cloudformations_snapshots_are_in_the_plan() -> None:
    first = replace(START, snapshots=(BEFORE,), others=(copy(), replace(copy(), id="snap-y")))
    texts = [step.text for step in foresee(first, WANTED)]
    assert [text for text in texts if text.startswith("delete snap")] == [
        f"delete {id}: {COPY}" for id in ("snap-x", "snap-y")
    ]


def test_people_are_told_what_is_not_in_the_snapshot() -> None:
    action = next_action(replace(SAVED, told=frozenset()), WANTED)
    assert isinstance(action, Tell)
    assert "written since 1970-01-01 00:16 UTC is in CloudFormation's own snapshot only" in action.text
    for_another = replace(SAVED, told=frozenset(), volumes=volume(request=Request("run-2", True, 9999.0)))
    action = next_action(for_another, WANTED)
    assert isinstance(action, Tell) and "kept for run run-2" in action.text


@pytest.mark.parametrize(("state", "action"), NEXT.values(), ids=NEXT)
def test_next(state: State, action: object) -> None:
    assert next_action(state, WANTED) == action


FAILED_TWICE = tuple(shot(f"snap-{n}", "run-1", str(n), "error") for n in (4, 5))
STOPS = {
    "no cluster": (replace(START, stack=None), "refused", "no cluster 'pipe'"),
    "a stack of something else": (replace(START, stack=stack("CREATE_COMPLETE", tags={})), "refused", "not made by"),
    "a cluster that is changing": (replace(START, stack=stack("UPDATE_IN_PROGRESS")), "refused", "UPDATE_IN_PROGRESS"),
    "a cluster that goes without a snapshot": (replace(START, stack=stack("DELETE_IN_PROGRESS")), "unproven", "no snapshot of run"),
    "a cluster that is gone without one": (replace(START, stack=stack("DELETE_COMPLETE")), "unproven", "no snapshot of run"),
    "no volume": (replace(START, volumes=()), "refused", "it has none"),
    "two volumes of one name": (replace(START, volumes=(*START.volumes, Volume("vol-2", "d", 1))), "refused", "vol-1, vol-2"),
    "no mount": (replace(START, config=()), "refused", "no volumes at /data"),
    "a volume that cannot be made of another": (
        replace(START, config=(Named("/data", "d", "", "written oddly"),)), "refused", "written oddly",
    ),
    "a cluster that raypipe did not make": (
        replace(START, stack=stack("CREATE_COMPLETE", tags=TAGS | {MANAGED: "false"})), "refused", "no tag raypipe:managed=true",
    ),
    "a stuck fleet": (
        replace(AT_SNAPSHOT, now=9999.0, fleet=Fleet("STOPPING", 1000.0)), "late", "still STOPPING after 30 min",
    ),
    "two errors": (
        replace(AT_SNAPSHOT, snapshots=FAILED_TWICE, told=frozenset({"ended", "unproven"})), "unproven", "2 snapshots",
    ),
    "a snapshot that never ends": (
        replace(START, now=1e6, snapshots=(shot("snap-1", "run-1", "4", "pending"),), told=frozenset({"unproven"})),
        "unproven",
        "still pending after 12.0 h",
    ),
    "a snapshot of another volume": (
        replace(TAKEN, volumes=(Volume("vol-2", "d", 10),), told=frozenset({"unproven"})), "unproven", "no volume of the cluster",
    ),
    "a snapshot of another size": (
        replace(TAKEN, volumes=(Volume("vol-1", "d", 11),), told=frozenset({"unproven"})), "unproven", "10 GiB, its volume 11",
    ),
    "a snapshot of another cluster": (
        replace(TAKEN, stack=stack("CREATE_COMPLETE", id="arn:other"), told=frozenset({"unproven"})), "unproven", "another cluster",
    ),
    "a deletion that failed in a sweep": (replace(ROTATED, asked=1.0, stack=stack("DELETE_FAILED")), "failed", "gives no reason"),
    "a cluster that ran since the snapshot": (replace(ROTATED, fleet=Fleet("RUNNING", 1.0)), "unproven", "started again after snap-1"),
    "a cluster that was left standing": (LEFT, "unproven", "still stands 2.2 h after snap-1 was completed"),
    "a cluster that is broken": (replace(SAVED, stack=stack("UPDATE_FAILED")), "failed", "is UPDATE_FAILED: it is not deleted"),
    "one that was rolled back": (replace(SAVED, stack=stack("ROLLBACK_COMPLETE")), "failed", "is ROLLBACK_COMPLETE"),
    "a changing cluster with another volume": (
        replace(TAKEN, volumes=(Volume("vol-2", "d", 10),), told=frozenset({"unproven"}), stack=stack("UPDATE_IN_PROGRESS")),
        "unproven", "no volume of the cluster",
    ),
    "also where nobody waits": (replace(LEFT, asked=1.0), "unproven", "what was written since is not in it"),
    "nobody to hand over to": (replace(START, hands_to=""), "refused", "a file here"),
    "a deletion that failed": (replace(ROTATED, deleted=True, stack=stack("DELETE_FAILED", reason="[Head]")), "failed", r"failed: \[Head\]"),
    "a deletion that hangs": (
        replace(ROTATED, now=9999.0, stack=stack("DELETE_IN_PROGRESS", deletion_asked=1.0)), "failed", "still being deleted",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("state", "why", "message"), STOPS.values(), ids=STOPS)
def test_stops(state: State, why: str, message: str) -> None:
    action = next_action(state, WANTED)
    assert isinstance(action, Stop)
    assert action.why == why
    assert re.search(message, action.message)
    assert action.hint


def test_a_volume_is_told_by_its_name_or_given() -> None:
    two = replace(AT_SNAPSHOT, volumes=(*START.volumes, Volume("vol-2", "other", 1)))
    assert next_action(two, WANTED) == Intend("vol-1")
    assert next_action(two, replace(WANTED, volume="vol-2")) == Intend("vol-2")


POLICIES = {
    "nothing": [Tell, Done],
    "stop-fleet": [Tell, LookAtFleet, StopFleet, Wait, Done],
    "snapshot-keep-cluster": [Tell, LookAtFleet, StopFleet, Wait, Intend, CreateSnapshot, Wait, Tell, Done],
    "teardown": [
        Tell, LookAtFleet, StopFleet, Wait, Intend, CreateSnapshot, Wait, Repoint, Tell, DeleteCluster, Wait, Done,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("policy", "kinds"), POLICIES.items(), ids=POLICIES)
def test_what_a_failed_run_ends_with(policy: str, kinds: list[type]) -> None:
    steps = foresee(replace(START, outcome=Outcome(False, "")), replace(WANTED, on_failure=policy))  # type: ignore[arg-type]
    assert [type(step.action) for step in steps] == kinds


def test_what_a_good_run_ends_with() -> None:
    assert [step.text for step in foresee(START, WANTED)] == [
        "read the outputs of run run-1 again",
        "tell: run run-1 done",
        "look at the compute nodes",
        "stop the compute nodes of pipe",
        "wait for the compute nodes to stop",
        "mark vol-1: a snapshot is about to be made",
        "make a snapshot of vol-1",
        f"wait for {NEW}, which is pending",
        f"point /data in c.yaml at {NEW}",
        "delete snap-a: older than the newest 2 of pipe",
        "delete snap-b: older than the newest 2 of pipe",
        f"tell: run run-1: {NEW} completed",
        f"delete cluster pipe ({ARN})",
        "wait for the deletion of cluster pipe",
        f"{NEW} holds the data; the cluster is gone",
    ]
    assert (
        foresee(START, replace(WANTED, delete_cluster=False))[-1].text == f"{NEW} holds the data; the cluster is kept"
    )


def kept(*snapshots: Snapshot, keep: int = 2, needed: tuple[str, ...] = ()) -> list[str]:
    gone = {one.id for one, _ in surplus(snapshots, replace(WANTED, keep=keep), needed)}
    return [one.id for one in snapshots if one.id not in gone]


def test_only_completed_ones_of_good_runs_take_the_place_of_others() -> None:
    assert kept(*OLD) == ["snap-b", "snap-c"]
    assert kept(*OLD, shot("p", "p", "4", "pending")) == ["snap-b", "snap-c", "p"]
    assert kept(*OLD, shot("e", "e", "4", "error")) == ["snap-b", "snap-c", "e"]
    assert kept(*OLD, shot("f", "f", "4", outcome="failed")) == ["snap-b", "snap-c", "f"]
    assert kept(shot("f", "f", "0", outcome="failed"), shot("e", "e", "1", "error"), *OLD) == ["snap-b", "snap-c"]
    assert kept(*OLD, keep=4) == ["snap-a", "snap-b", "snap-c"]


def test_what_is_pinned_needed_or_not_ours_stays() -> None:
    assert kept(shot("pin", "x", "0", **{PINNED: ""}), *OLD) == ["pin", "snap-b", "snap-c"]
    assert kept(*OLD, needed=("snap-a",)) == ["snap-a", "snap-b", "snap-c"]
    assert kept(shot("other", "x", "0", **{SET: "elsewhere"}), *OLD) == ["other", "snap-b", "snap-c"]
    assert kept(OLD[0], OLD[1], replace(OTHERS, tags=OTHERS.tags | {CREATED: "9"})) == ["snap-a", "snap-b", "snap-o"]
    assert kept(shot("norun", "", "0"), *OLD) == ["norun", "snap-b", "snap-c"]


ids = st.sampled_from(["snap-a", "snap-b", "snap-c", "snap-d", "snap-e", "snap-f"])
snapshots = st.builds(
    lambda volume, *others: replace(shot(*others), volume="vol-1" if others[1] == "run-1" else volume),
    st.sampled_from(["vol-0", "vol-1"]),
    ids,
    st.sampled_from(["run-1", "a", "b", "c", ""]),
    st.sampled_from(["1", "2", "3", "4"]),
    st.sampled_from(["completed", "completed", "pending", "error"]),
    st.sampled_from(["good", "failed"]),
)
states = st.builds(
    lambda shots, pins, named, status, fleet, told, intent, complaints, good, since, request, others, asked: State(
        now=2000.0,
        outcome=Outcome(good, ""),
        attempt="me/0",
        stack=None if status is None else Stack(ARN, status, TAGS, deletion_asked=since),
        volumes=(Volume("vol-1", "d", 10, intent, request=request),),
        snapshots=tuple(replace(one, tags=one.tags | ({PINNED: ""} if one.id in pins else {})) for one in shots),
        config=(Named("/data", "d", named), Named("/b", "b", "snap-f")),
        complaints=complaints,
        fleet=fleet,
        told=told,
        others=others,
        asked=asked,
    ),
    st.lists(snapshots, unique_by=lambda one: one.id),
    st.sets(ids),
    ids,
    st.sampled_from(
        [
            None,
            "CREATE_COMPLETE",
            "UPDATE_IN_PROGRESS",
            "UPDATE_FAILED",
            "DELETE_IN_PROGRESS",
            "DELETE_FAILED",
            "DELETE_COMPLETE",
        ]
    ),
    st.sampled_from([None, STOPPED, Fleet("RUNNING", 0.0), Fleet("STOPPING", 0.0)]),
    st.frozensets(st.sampled_from(["ended", "finalized", "unproven"])),
    st.sampled_from([None, Intent("run-1", "me/0", 1999.0), Intent("run-1", "x/0", 1999.0), Intent("r", "me/0", 0.0)]),
    st.sampled_from([None, (), ("torn",)]),
    st.booleans(),
    st.sampled_from([None, 0.0, 1999.0]),
    st.sampled_from(
        [None, Request("run-1", True, 500.0), Request("run-0", False, 500.0), Request("run-2", True, 1999.0)]
    ),
    st.sampled_from([(), (copy(1999.0),), (copy(1.0),), (copy(1999.0, of="vol-1"), copy(1999.0, owner="me"))]),
    st.sampled_from([None, 500.0]),
)
wanted = st.builds(
    lambda keep, policy, delete: replace(WANTED, keep=keep, on_failure=policy, delete_cluster=delete),
    st.integers(1, 3),
    st.sampled_from(["nothing", "stop-fleet", "snapshot-keep-cluster", "teardown"]),
    st.booleans(),
)


@given(state=states, settings=wanted)
@given_settings(max_examples=400)
def test_nothing_goes_before_the_data_are_safe_in_whatever_state(state: State, settings: FinalizeSettings) -> None:
    state = carrying(state, settings)
    action = next_action(state, settings)
    by_id = {one.id: one for one in state.snapshots}
    whole = [one for one in state.snapshots if one.run == "run-1" and one.status == "completed"]
    named = {entry.snapshot for entry in state.config}
    match action:
        case DeleteSnapshot("snap-x"):
            good = sorted(
                (one for one in state.snapshots if one.good and one.status == "completed" and one.run),
                key=lambda one: one.order,
            )
            assert state.others == (copy(1999.0),)
            assert good[-1].volume == "vol-1" and any(one.volume == "vol-0" for one in good)
            assert any(one.good for one in whole)
        case DeleteSnapshot(id):
            gone = by_id[id]
            left = [
                one for one in state.snapshots if one.good and one.status == "completed" and one.run and one != gone
            ]
            assert whole != [gone] and whole
            assert not gone.pinned and id not in named and gone.run
            assert gone.run == "run-1" or len(left) >= settings.keep
        case DeleteCluster():
            assert settings.delete_cluster and whole
            assert state.stack is not None and (state.stack.status == "DELETE_FAILED" or state.fleet == STOPPED)
            assert {one.id for one in whole} & named or any(
                by_id[id].order > whole[0].order for id in named & set(by_id)
            )
            assert any(one.good for one in whole) or settings.on_failure == "teardown"
        case Repoint(id):
            assert by_id[id].status == "completed" and by_id[id].run == "run-1"
        case CreateSnapshot():
            assert not [one for one in state.snapshots if one.run == "run-1" and one.status != "error"]
            assert state.fleet == STOPPED
            assert state.volumes[0].intent == Intent("run-1", "me/0", 1999.0)
        case StopFleet():
            assert state.fleet is not None and state.fleet != STOPPED
            assert not whole
        case Settle():
            request = state.volumes[0].request
            assert request is not None and request.run != "run-2"


@given(state=states, settings=wanted)
def test_it_comes_to_an_end_from_whatever_state(state: State, settings: FinalizeSettings) -> None:
    steps = foresee(state, settings)
    assert isinstance(steps[-1].action, Done | Stop)
    assert len(steps) < 30

"""What is under way in a run, from lists of its events; and that a real run tells of it."""

from pathlib import Path

from raypipe.events import (
    Event,
    FiltersBegun,
    NodesChanged,
    PassProgressed,
    PassStarted,
    RunEnded,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkBegun,
    WorkEnded,
    WorkStarted,
    WorkWaits,
)
from raypipe.underway import UnderWay, under_way
from tests.conftest import Processed

DAY = Path("/data/picasso/20181105")
MOUNTAINS = ("mountains",)
STAGES = ("rplsplit", "rplhighpass")
HIGH_PASS = [f"{DAY}/session01/array01/channel00{number}/rplhighpass_b59f.hkl" for number in (3, 4)]
BEGUN: list[Event] = [
    RunStarted("picasso/20181105", "r", 12, 10**6, 10**9),
    NodesChanged(("node1", "node2"), ()),
    PassStarted("session01", 4, 8),
    WorkStarted("unity", ("session01",), None, 100_000_000),
    WorkWaits("mountain_batch", MOUNTAINS, 3, tuple(HIGH_PASS)),
    WorkStarted("mountain_batch", MOUNTAINS, 9, 300_000_000),
    WorkStarted("mountain_batch", MOUNTAINS, 10, 300_000_000),
    WorkStarted("freqspectrum", ("session01",), 9, 200_000_000),
    FiltersBegun("session01", (1, 2), STAGES, "node1"),
    FiltersBegun("session01", (3, 4), STAGES, "node2"),
    PassProgressed("session01", 3, 8, 12.0),
    WorkBegun("mountain_batch", MOUNTAINS, 9, "node2"),
    WorkBegun("mountain_batch", MOUNTAINS, 10, "node2"),
    WorkBegun("unity", ("session01",), None, "node1"),
]


def test_what_is_done_on_which_node() -> None:
    now = under_way(BEGUN)
    assert now.doing() == {
        "node1": ("filters 2 channels of session01", "makes unity of session01"),
        "node2": ("filters 2 channels of session01", "sorts channels 9-10"),
    }
    assert now.waiting == 1, "one that was handed out has not begun; what waits for others is not counted"
    assert now.nodes == NodesChanged(("node1", "node2"), ())
    assert now.tiles == {"session01": (3, 8)}


def test_where_each_task_is_made_and_what_it_waits_for() -> None:
    filtered = "is being made on node1: 3 of 8 tiles are filtered"
    assert under_way(BEGUN).tasks(DAY) == {
        "session01-rplsplit-001": filtered,
        "session01-rplsplit-002": filtered,
        "session01-rplhighpass-001": filtered,
        "session01-rplhighpass-002": filtered,
        **{
            f"session01-{stage}-{number:03d}": "is being made on node2: 3 of 8 tiles are filtered"
            for stage in STAGES
            for number in (3, 4)
        },
        "session01-unity": "is being made on node1",
        "mountains-mountain_batch-003": "waits for session01/array01/channel003/rplhighpass_b59f.hkl and 1 other file",
        "mountains-mountain_batch-009": "is being made on node2",
        "mountains-mountain_batch-010": "is being made on node2",
        "session01-freqspectrum-009": "waits for a worker that has 200 MB of memory free",
    }


def test_what_has_ended_is_no_more_under_way() -> None:
    made = TaskDone("rplhighpass", "session01", 3, "session01/array01/channel003/rplhighpass_b59f.hkl", 1, "node2")
    lost = TaskFailed("rplsplit", "session01", 4, "no room", "", "")
    now = under_way([*BEGUN, made, lost, WorkEnded("mountain_batch", MOUNTAINS, 9), WorkEnded("unity", ("session01",))])
    assert now.doing() == {"node1": ("filters 2 channels of session01",), "node2": ("sorts channel 10",)}
    waiting = now.tasks(DAY)["mountains-mountain_batch-003"]
    assert waiting == "waits for session01/array01/channel004/rplhighpass_b59f.hkl"
    other = TaskDone("freqspectrum", "session01", 1, "session01/array01/channel001/freqspectrum_9c80.hkl", 1)
    assert under_way([*BEGUN, other]).doing() == under_way(BEGUN).doing(), "not all that is of a channel is filtered"
    assert under_way([*BEGUN, RunEnded("failed", 1, 1, 5.0, 1)]) == UnderWay()
    assert under_way([*BEGUN, BEGUN[0]]) == UnderWay()


def test_what_lost_its_worker_waits_again_and_filters_move() -> None:
    again = WorkStarted("mountain_batch", MOUNTAINS, 9, 600_000_000)
    now = under_way([*BEGUN, again, FiltersBegun("session01", (1, 2), STAGES, "node2")])
    assert now.doing() == {
        "node1": ("makes unity of session01",),
        "node2": ("filters 4 channels of session01", "sorts channel 10"),
    }
    assert now.waiting == 2
    assert now.tasks(DAY)["mountains-mountain_batch-009"] == "waits for a worker that has 600 MB of memory free"


def test_what_is_handed_out_may_be_less_than_what_waited() -> None:
    waits = WorkWaits("picture", ("session01", "session02"), None, (f"{DAY}/session01/binData.hdf",))
    now = under_way([waits, WorkStarted("picture", ("session02",), None, 1000)])
    assert list(now.works) == [("picture", ("session02",), None)]
    assert under_way([waits, WorkEnded("picture", ("session01", "session02"))]).works == {}


def test_a_real_run_tells_where_its_work_is_and_leaves_nothing_open(processed: Processed) -> None:
    events = processed.events
    assert [event for event in events if isinstance(event, RunEnded)]
    (here,) = {event.node for event in events if isinstance(event, TaskDone)}
    filters = [event for event in events if isinstance(event, FiltersBegun)]
    channels = {(each.session, channel) for each in filters for channel in each.channels}
    filtered = {
        (each.session, each.channel) for each in events if isinstance(each, TaskDone) and each.stage == "rpllfp"
    }
    assert channels == filtered
    assert {each.stages for each in filters} == {("rplsplit", "rpllfp", "rplhighpass")}
    begun = [event for event in events if isinstance(event, WorkBegun)]
    assert {event.node for event in begun} | {event.node for event in filters} == {here}
    handed_out = {(each.stage, each.sessions, each.channel): each for each in events if isinstance(each, WorkStarted)}
    assert {(each.stage, each.sessions, each.channel) for each in begun} <= handed_out.keys()
    assert all(each.memory for each in handed_out.values())
    waited = {each.stage: each.outputs for each in events if isinstance(each, WorkWaits)}
    assert [path.rpartition("/")[2] for path in waited["umaze"]] == ["unity_71bf.hkl"] * len(waited["umaze"])
    open_ = under_way(event for event in events if not isinstance(event, RunEnded))
    assert (open_.works, open_.filters) == ({}, {})

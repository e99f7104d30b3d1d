"""How runs ended, from what is on the disk."""

from pathlib import Path

import pytest

from raypipe.api import plan_day
from raypipe.config import Config
from raypipe.ending import day_text, find_ending, run_id
from raypipe.errors import Refused
from raypipe.events import RunEnded, RunStarted, TaskFailed
from raypipe.finalize import secrets_notes
from raypipe.plan import Plan
from raypipe.run import EventLog
from raypipe.steps import Steps


@pytest.fixture
def plan(another: Path, tmp_path: Path) -> Plan:
    """A day of which nothing is made."""
    return plan_day(another, only=["rplparallel"], output=tmp_path, config=Config())


def told(plan: Plan, run: str, *events: RunStarted | TaskFailed | RunEnded) -> Path:
    """Write the log of a run of the day."""
    folder = plan.day.state / "runs" / run
    folder.mkdir(parents=True)
    for event in events:
        EventLog(folder / "events.jsonl")(event)
    return folder / "events.jsonl"


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        ([], ""),
        (["lost+found", "20181105T093000"], ""),
        (["20261123T025503-c3de", "20261123T025502-ffff"], "20261123T025503-c3de"),
        (["20261123T025503-c3de", "20270101T000000-0000"], "20270101T000000-0000"),
    ],
)
def test_the_run_is_the_newest_of_its_days(names: list[str], newest: str) -> None:
    assert run_id(names) == newest == run_id(reversed(names))


def test_a_run_on_a_cluster_that_never_began_is_a_run(plan: Plan) -> None:
    with pytest.raises(Refused, match="there was no run whose end this could be"):
        find_ending([plan])
    (plan.day.state / "cluster" / "20261123T025503-c3de").mkdir(parents=True)
    found = find_ending([plan])
    assert (found.run, found.outcome.good) == ("20261123T025503-c3de", False)
    assert found.outcome.text == "picasso/20181106: 0 of 2 outputs are made; no run of it has begun"


def test_what_failed_in_the_last_run_is_told_with_its_log(plan: Plan) -> None:
    failed = [TaskFailed("rplparallel", f"session0{number}", None, f"error {number}", "mend it", f"/log/{number}") for number in range(7)]  # fmt: skip
    told(plan, "20261123T025503-c3de", failed[0])
    started = RunStarted("picasso/20181106", "20261123T025504-0000", 9, 1000, 1000)
    log = told(plan, "20261123T025504-0000", started, *failed, RunEnded("failed", 2, 7, 3.0, 2_000_000))
    lines = day_text(plan).splitlines()
    assert lines[0] == (
        "picasso/20181106: 0 of 2 outputs are made; its last run FAILED: 2 of 9 outputs made, 2 MB in 3 s; 7 failed"
    )
    assert lines[2:5] == ["  session00 rplparallel: error 0", "    hint: mend it", "    log: /log/0"]
    assert [line for line in lines if "error" in line and "session" in line] == [
        f"  session0{number} rplparallel: error {number}" for number in range(5)
    ]
    assert lines[-2:] == ["  and 2 more with other errors", f"  log: {log}"]


def test_keys_on_the_volume_are_told_of(tmp_path: Path) -> None:
    assert secrets_notes(tmp_path) == []
    key = tmp_path / "MyKeyPair.pem"
    key.write_text("-----BEGIN RSA PRIVATE KEY-----\n")
    assert secrets_notes(tmp_path) == [f"NOTE: what looks like a secret will be in the snapshot: {key}"]


def test_what_is_waited_for_is_said_once_however_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    for text in ("wait for snap-0ab1 (3%)", "wait for snap-0ab1 (40%)"):
        steps.wait(text)
    steps.say("point /data at snap-0ab1")
    steps.wait("wait for snap-0ab1 (41%)")
    assert capsys.readouterr().err.splitlines() == [
        "wait for snap-0ab1 (3%)", "point /data at snap-0ab1", "wait for snap-0ab1 (41%)"
    ]  # fmt: skip

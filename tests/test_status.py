"""What is there of a day, what is missing, what is no longer as it was made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import raypipe
from raypipe import report
from raypipe.events import TaskFailed
from raypipe.ledger import Entry, append_entries, prepare_state
from raypipe.plan import Plan
from raypipe.status import Row, Status, status_of
from tests.compare import RIPPLE

SIGNATURE = b"\x89HDF\r\n\x1a\n"


@pytest.fixture
def made(day: Path) -> Path:
    """A day of which channels 9 and 10 of both sessions look as if raypipe had made them."""
    plan = raypipe.plan_day(day, only=RIPPLE, channels="9,10")
    prepare_state(plan.day.state)
    for task in plan.tasks:
        task.output.parent.mkdir(parents=True, exist_ok=True)
        task.output.write_bytes(SIGNATURE + b"and so on")
        status = task.output.stat()
        relative = task.output.relative_to(plan.day.output).as_posix()
        who = (task.stage.name, task.session.name, task.channel.number if task.channel else None)
        entry = Entry(relative, *who, task.key, status.st_size, status.st_mtime_ns, "", "", "")
        append_entries(plan.day.state, [entry])
    return day


def row_of(status: Status, session: str, array: int, stage: str) -> Row:
    return next(row for row in status.rows if (row.session, row.array, row.stage) == (session, array, stage))


def shown(plan: Plan) -> str:
    return report.status_text(status_of(plan), plan)


def test_there_and_missing(made: Path) -> None:
    status = status_of(raypipe.plan_day(made, only=RIPPLE))
    assert row_of(status, "session01", 1, "rpllfp") == Row(
        "session01", 1, "rpllfp", there=(9, 10), missing=(1, 2, 3), damaged=(), changed=()
    )
    assert (status.there, status.expected, status.complete) == (14, 62, False)
    status = status_of(raypipe.plan_day(made, only=RIPPLE, channels="9"))
    assert (status.there, status.expected, status.complete) == (8, 8, True)


def cut(path: Path) -> None:
    path.write_bytes(SIGNATURE)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(b"something else")


@pytest.mark.parametrize(("harm", "damaged"), [(cut, ()), (emptied, (9,)), (overwritten, (9,))])
def test_what_was_changed_or_is_no_object_is_shown(
    made: Path, harm: Callable[[Path], None], damaged: tuple[int, ...]
) -> None:
    harm(made / "session01" / "array01" / "channel009" / "rpllfp_6eca.hkl")
    plan = raypipe.plan_day(made, only=RIPPLE, channels="9,10")
    status = status_of(plan)
    row = row_of(status, "session01", 1, "rpllfp")
    assert (row.damaged, row.changed) == (damaged, (9,))
    assert (status.there, status.expected, status.complete) == (14 - len(damaged), 14, not damaged)
    text = shown(plan)
    assert "changed: not as raypipe made them" in text
    assert ("damaged: empty, or not of its kind" in text) == bool(damaged)
    rows = json.loads(report.status_json(status, plan))["rows"]
    assert next(each for each in rows if each["changed"])["damaged"] == list(damaged)


def test_a_damaged_raw_copy_without_its_recording_leaves_nothing_complete(made: Path) -> None:
    for recording in made.glob("session*/*.ns5"):
        recording.unlink()
    assert status_of(raypipe.plan_day(made, only=RIPPLE)).complete
    channel = made / "session01" / "array01" / "channel009"
    cut(channel / "rplraw_d41d.hkl")
    (channel / "rpllfp_6eca.hkl").unlink()
    plan = raypipe.plan_day(made, only=RIPPLE)
    status = status_of(plan)
    assert row_of(status, "session01", 1, "rplsplit").changed == (9,)
    assert row_of(status, "session01", 1, "rpllfp").missing == (9,)
    assert row_of(status, "session01", 1, "rplhighpass").there == (9, 10)
    assert (status.there, status.expected, status.complete) == (13, 14, False)
    assert "complete" not in shown(plan)
    assert "--replace" not in shown(plan), "there is nothing to make it from"


def test_a_session_of_which_nothing_is_known_is_not_complete(made: Path) -> None:
    next(made.glob("session01/*.ns5")).write_bytes(b"nonsense")
    plan = raypipe.plan_day(made, only=RIPPLE, channels="9")
    assert not status_of(plan).complete
    assert "complete" not in shown(plan)


def test_the_labs_count_is_of_its_objects_only(day: Path) -> None:
    plan = raypipe.plan_day(day, channels="9,10")
    status = status_of(plan)
    n = 2
    assert status.lab_count == (0, 5 + 6 * n)
    behaviour = 4  # two files of the raycast, umaze and the picture; the aligning adds none
    of_channels = 6 + 2 * 3 + 1  # sorting, cells and spectra of two sessions, waveform
    assert status.expected == 5 + 6 * n + behaviour + n * of_channels
    assert status.sorted_channels == (0, n)
    for task in plan.tasks:
        task.output.parent.mkdir(parents=True, exist_ok=True)
        others = {".csv": b"time", ".mda": b"\xf9\xff\xff\xff", ".json": b"{}"}
        task.output.write_bytes(others.get(task.output.suffix, SIGNATURE))
    assert row_of(status_of(plan), "session01", 0, "picture").damaged == (0,), "that is no picture"
    for picture in (task.output for task in plan.tasks if task.output.suffix == ".png"):
        picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    status = status_of(plan)
    assert status.sorted_channels == (n, n)
    assert (status.there, status.lab_count) == (status.expected, (17, 17))
    assert row_of(status, "session01", 0, "aligning_objects").missing == (0, 0), "the files are there, not yet aligned"
    assert not status.complete
    assert "(5 + 6n for a day with one navigation session): 17 of 17" in shown(plan)
    assert "firings.mda: 2 of 2" in shown(plan)
    assert json.loads(report.status_json(status, plan))["lab_count"] == [17, 17]


def test_what_is_kept_is_counted(made: Path) -> None:
    (made / "session01" / "array01" / "channel009" / "rpllfp_6eca.hkl").write_bytes(SIGNATURE)
    (made / ".raypipe" / "ledger.jsonl").write_text(
        "".join(
            line
            for line in (made / ".raypipe" / "ledger.jsonl").read_text().splitlines(keepends=True)
            if "channel010/rpllfp" not in line
        )
    )
    plan = raypipe.plan_day(made, only=RIPPLE, channels="9,10")
    last = report.plan_text(plan).splitlines()[-1]
    assert last == (
        "kept as found: 3 (1 changed by something else since, 2 made by something else); --replace makes them again"
    )
    assert last == report.kept_text(plan)
    assert report.kept_text(raypipe.plan_day(made, only=RIPPLE, channels="9,10", replace=True)) == ""


def test_a_file_that_two_stages_write_is_one_that_is_kept(day: Path) -> None:
    (day / "session01" / "unity_71bf.hkl").write_bytes(SIGNATURE)
    assert report.kept_text(raypipe.plan_day(day)).startswith("kept as found: 1 (1 made by something else)")


def test_stages_that_share_a_cause_share_a_row() -> None:
    failed = [
        *(TaskFailed(stage, "session01", None, "no log", "", "a.log") for stage in ("unity", "umaze", "umaze")),
        *(TaskFailed("rpllfp", "session01", number, "too short", "", "b.log") for number in (1, 2)),
        TaskFailed("rplhighpass", "session01", 2, "too short", "", "b.log"),
    ]
    rows = [line.split() for line in report.failures_text(failed).splitlines()[2:]]
    assert rows == [
        ["session01", "unity,", "umaze", "no", "log", "a.log"],
        ["session01", "rpllfp", "1-2", "too", "short", "b.log"],
        ["session01", "rplhighpass", "2", "too", "short", "b.log"],
    ]

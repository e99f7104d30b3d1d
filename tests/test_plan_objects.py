"""What is to be done of sorting, cells and spectra, and why; of files that only look as if raypipe had made them."""

import shutil
from pathlib import Path

import pytest

import raypipe
from raypipe import plan_objects
from raypipe.config import Config, SortSettings
from raypipe.ledger import Entry, append_entries
from raypipe.plan import Plan
from raypipe.status import status_of
from tests.test_plan import entry_for, pretend_done, reasons

SORTING = ("rplhighpass", "mountain_batch", "export_mountain_cells", "waveform")
OTHER_THRESHOLD = Config(mountain_batch=SortSettings(detect_threshold=9.0))
CELL_FILES = ("spiketrain.csv", "spiketrain_d41d.hkl")


def planned(day: Path, **options: object) -> Plan:
    return raypipe.plan_day(day, **{"channels": "9", "only": SORTING, **options})  # type: ignore[arg-type]


def known(plan: Plan, path: Path, like: str) -> None:
    """Put a file there that the ledger tells of as of one of the stage `like`."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(path.name.encode())
    task = next(task for task in plan.tasks if task.stage.name == like)
    entry = entry_for(plan, task)
    status = path.stat()
    output = path.relative_to(plan.day.output).as_posix()
    fields = (output, entry.stage, entry.session, entry.channel, entry.key, status.st_size, status.st_mtime_ns)
    append_entries(plan.day.state, [Entry(*fields, entry.made_at, entry.run, entry.version)])


@pytest.fixture
def done(day: Path) -> Path:
    """A day of which channel 9 is sorted; both sessions have the cells 1 and 2."""
    pretend_done(planned(day))
    plan = planned(day)
    for task in plan.tasks:
        if task.stage.name == "export_mountain_cells":
            task.output.write_bytes(b"cell,spikes\r\ncell01,5\r\ncell02,1\r\n")
            append_entries(plan.day.state, [entry_for(plan, task)])
            for cell in ("cell01", "cell02"):
                for name in CELL_FILES:
                    known(plan, task.output.parent / cell / name, task.stage.name)
    assert planned(day).counts == {"done": 11}
    return day


def cells(day: Path) -> Path:
    return day / "session01" / "array01" / "channel009"


def sorting(day: Path) -> Path:
    return day / "mountains" / "channel009"


def test_what_belongs_to_an_edited_sorting_is_used_whatever_becomes_of_the_settings(done: Path) -> None:
    firings = sorting(done) / "output" / "firings.mda"
    firings.write_bytes(b"curated")
    plan = planned(done, config=OTHER_THRESHOLD)
    assert not plan.problems
    assert {task.stage.name for task in plan.todo} == {"export_mountain_cells", "waveform"}
    assert {task.output.name for task in plan.tasks if task.state == "kept"} == {
        *("start_indices.csv", "firings.mda", "templates.mda", "templates.hkl", "metrics.json", "units.png")
    }
    assert all("firings.mda" in each.why for each in plan.tasks if each.state == "kept" and each.output != firings)


@pytest.mark.parametrize("name", ["units.png", "output/metrics.json"])
def test_a_file_of_the_sorting_that_nothing_is_made_from_makes_nothing_again(done: Path, name: str) -> None:
    (sorting(done) / name).write_bytes(b"with notes")
    assert planned(done).counts == {"done": 10, "kept": 1}


def test_the_order_of_the_sessions_outlives_their_recordings(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # as if the calibration had come last
        patch.setattr(plan_objects, "_in_time_order", lambda recordings: (["session01", "sessioneye"], True))
        pretend_done(planned(day, only=("rplsplit", *SORTING)))
    for path in (day / "session01").glob("*.ns5"):
        path.unlink()
    plan = planned(day)
    (order,) = {task.key["parameter sessions"] for task in plan.tasks if task.stage.name == "mountain_batch"}
    assert order == "session01, sessioneye"
    assert {task.stage.name for task in plan.todo} <= {"export_mountain_cells"}, "whose list is none here"


def test_only_files_of_stages_that_were_asked_for_are_replaced(done: Path) -> None:
    high_pass = next(cells(done).glob("rplhighpass_*"))
    high_pass.write_bytes(b"another filter's")
    plan = planned(done, only=["mountain_batch"], replace=True)
    assert not plan.problems
    assert {task.why.partition(":")[0] for task in plan.todo} == {"input rplhighpass_b59f.hkl of session01"}
    assert {task.stage.name for task in planned(done, replace=True).todo} == {"rplhighpass"}, "as it was sorted"


@pytest.mark.parametrize("only", [["mountain_batch"], ["day_spectrum"], ["export_mountain_cells"], list(SORTING)])
def test_a_day_of_broken_recordings_says_so_whatever_was_asked_for(day: Path, only: list[str]) -> None:
    for path in day.rglob("*.ns5"):
        path.write_bytes(b"broken")
    plan = raypipe.plan_day(day, only=only)
    assert plan.problems
    for stage in ("mountain_batch", "day_spectrum"):
        assert sum(stage in problem.stages for problem in plan.problems) == (stage in only), "once"
    assert not status_of(plan).complete


def test_a_day_without_navigation_has_no_spectra_of_the_day(day: Path) -> None:
    shutil.rmtree(day / "session01")
    plan = raypipe.plan_day(day, channels=None, only=["rpllfp", "freqspectrum", "day_spectrum"])
    assert {task.stage.name for task in plan.tasks} == {"rpllfp", "freqspectrum"}
    assert not plan.problems


def test_spectra_of_the_day_are_made_again_without_a_channel_that_is_gone(day: Path) -> None:
    stages = ("rplsplit", "rpllfp", "freqspectrum", "day_spectrum")
    pretend_done(raypipe.plan_day(day, only=stages))
    for path in day.rglob("*.ns5"):
        path.unlink()
    assert not raypipe.plan_day(day, only=stages).todo
    shutil.rmtree(day / "session01" / "array01" / "channel009")
    why = "parameter channels: 1-3, 9-10, 33-36, 65 of session01 -> 1-3, 10, 33-36, 65 of session01"
    assert reasons(raypipe.plan_day(day, only=stages)) == {(day.name, "day_spectrum", why)}


def test_another_setting_of_one_channel_is_that_channels_alone(day: Path) -> None:
    plan = raypipe.plan_day(day, channels="9,10", only=SORTING)
    pretend_done(plan)
    path = next((day / "sessioneye" / "array01" / "channel009").glob("rplhighpass_*"))
    path.write_bytes(b"another filter's")
    plan = raypipe.plan_day(day, channels="9,10", only=SORTING)
    assert {task.channel.number for task in plan.todo if task.channel} == {9}
    assert {task.session.name for task in plan.todo} == {"mountains", "session01", "sessioneye"}


@pytest.mark.parametrize("name", CELL_FILES)
def test_a_cell_that_lost_one_of_its_files_is_made_again(done: Path, name: str) -> None:
    (cells(done) / "cell02" / name).unlink()
    plan = planned(done)
    assert reasons(plan) == {("session01", "export_mountain_cells", "of cell02 a file is gone")}
    assert not status_of(plan).complete


def test_a_cell_of_an_earlier_export_that_came_back_is_not_of_these(done: Path) -> None:
    known(planned(done), cells(done) / "cell03" / CELL_FILES[0], "export_mountain_cells")
    assert reasons(planned(done)) == {("session01", "export_mountain_cells", "cell03 is not of these cells")}


@pytest.mark.parametrize("what", ["a file", "a link to nothing", "a folder with a link to nothing", "a folder"])
def test_what_else_is_in_a_cells_place_is_kept_until_one_asks(done: Path, what: str) -> None:
    place = cells(done) / "cell07"
    if what == "a file":
        place.write_bytes(b"notes")
    elif what == "a link to nothing":
        place.symlink_to("nothing")
    else:
        place.mkdir()
        (place / "spiketrain.csv").symlink_to("nothing") if "link" in what else (place / "spiketrain.csv").touch()
    plan = planned(done, config=OTHER_THRESHOLD)
    (kept,) = (task for task in plan.tasks if task.state == "kept")
    assert kept.why == "cell07 was made by something else; --replace makes all cells again"
    assert reasons(planned(done, replace=True)) == {("session01", "export_mountain_cells", "cell07 is to be replaced")}


def test_folders_that_are_no_cells_do_not_count(done: Path) -> None:
    for name in ("cell01_old", "cells", "cell"):
        (cells(done) / name).mkdir()
        (cells(done) / name / "spiketrain.csv").write_bytes(b"1.0\r\n")
    assert planned(done, replace=True).counts == {"done": 11}


def test_a_link_to_a_cell_is_as_good_as_the_cell(done: Path, tmp_path: Path) -> None:
    shutil.move(cells(done) / "cell01", tmp_path / "elsewhere")
    (cells(done) / "cell01").symlink_to(tmp_path / "elsewhere")
    assert planned(done).counts == {"done": 11}


def test_a_file_in_place_of_the_folder_of_sorted_channels_is_no_riddle(day: Path) -> None:
    (day / "mountains").write_bytes(b"")
    assert planned(day).counts == {"todo": 11}

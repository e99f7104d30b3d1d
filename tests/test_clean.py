"""`clean` takes what raypipe made and nobody changed since; the only copy of a recording is not among it."""

import os
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raypipe import clean as cleaning
from raypipe import ledger
from raypipe.clean import Leftovers, clean, find_leftovers
from raypipe.cli import app
from raypipe.day import Day, find_day
from raypipe.errors import Locked, NotWritable
from raypipe.ledger import Entry, append_entries, prepare_state, read_ledger
from raypipe.lock import day_lock

CHANNEL = "session01/array01/channel009"
RAW, LFP = f"{CHANNEL}/rplraw_d41d.hkl", f"{CHANNEL}/rpllfp_6eca.hkl"


@pytest.fixture
def a_day(tmp_path: Path) -> Day:
    """A day with its recording, a raw copy and an LFP."""
    folder = tmp_path / "picasso" / "20181105"
    (folder / "session01").mkdir(parents=True)
    (folder / "session01" / "a.ns5").write_bytes(b"recording")
    day = find_day(folder)
    prepare_state(day.state)
    make(day, RAW, "rplsplit")
    make(day, LFP, "rpllfp")
    return day


def make(day: Day, output: str, stage: str = "rpllfp", content: bytes = b"made") -> Path:
    path = day.output / output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    status = path.stat()
    key = {"input .ns5": "a.ns5, 9 bytes, changed 5", "code": "a"}
    made = Entry(output, stage, "session01", 9, key, status.st_size, status.st_mtime_ns, "2026", "run", "0")
    append_entries(day.state, [made])
    return path


def files(day: Day) -> set[str]:
    return {path.relative_to(day.output).as_posix() for path in day.output.rglob("*") if path.is_file()}


def test_everything_of_raypipes_goes(a_day: Day) -> None:
    (temporary := a_day.output / CHANNEL / ".rplraw_d41d.hkl.run-0-1.tmp").write_bytes(b"half")
    (at_session := a_day.output / "session01" / ".rplparallel_d41d.hkl.run.tmp").write_bytes(b"half")
    (notes := a_day.output / CHANNEL / ".notes.tmp").write_bytes(b"mine")
    (run := a_day.state / "runs" / "run").mkdir(parents=True)
    (run / "events.jsonl").write_bytes(b"log")
    make(a_day, gone := "session01/array02/channel033/rpllfp_6eca.hkl").unlink()

    assert find_leftovers(a_day, ["rpllfp"]) == Leftovers((a_day.output / LFP,), (), (gone,), (), (), 4)
    found = find_leftovers(a_day)
    assert set(found.remove) == {a_day.output / RAW, a_day.output / LFP}
    assert set(found.scraps) == {temporary, at_session, run}
    assert found.gone == (gone,)
    assert found.size == 2 * 4 + 2 * 4 + 3
    assert clean(a_day, found) == found
    assert files(a_day) == {"session01/a.ns5", notes.relative_to(a_day.output).as_posix()}
    assert not a_day.state.exists()


def test_the_command_line_says_what_else_goes(a_day: Day) -> None:
    (temporary := a_day.output / CHANNEL / ".rplraw_d41d.hkl.run.tmp").write_bytes(b"half")
    (a_day.output / RAW).unlink()
    shown = CliRunner().invoke(app, ["clean", str(a_day.input), "--dry-run"]).stdout
    assert shown.splitlines()[:-1] == [str(a_day.output / LFP), str(temporary)]
    for said in ("would remove 1 files", "1 temporary files and logs of runs", "1 lines about files that are gone"):
        assert said in shown
    assert temporary.exists()


def test_only_a_stage_leaves_the_rest_and_the_ledger(a_day: Day) -> None:
    clean(a_day, find_leftovers(a_day, ["rplsplit"]))
    assert {RAW, LFP} & files(a_day) == {LFP}
    assert [entry.output for entry in read_ledger(a_day.state)] == [LFP]


@pytest.mark.parametrize("loss", ["gone", "moved", "cut off", "a broken link"])
def test_the_only_copy_of_a_recording_is_kept(a_day: Day, loss: str) -> None:
    recording = a_day.input / "session01" / "a.ns5"
    if loss == "cut off":
        recording.write_bytes(b"record")
    else:
        recording.unlink()
    if loss == "moved":
        (a_day.input / "session02").mkdir()
        (a_day.input / "session02" / "a.ns5").write_bytes(b"recording")
    if loss == "a broken link":
        recording.symlink_to("nowhere/a.ns5")

    found = find_leftovers(find_day(a_day.input))
    assert found.only_copies == (a_day.output / RAW,)
    assert found.remove == (a_day.output / LFP,)
    shown = CliRunner().invoke(app, ["clean", str(a_day.input), "--yes"])
    assert shown.exit_code == 0, shown.output
    assert f"only copy: {a_day.output / RAW}" in shown.stderr
    assert "removed 1 files" in shown.stdout
    assert RAW in files(a_day)
    assert [entry.output for entry in read_ledger(a_day.state)] == [RAW]
    shown = CliRunner().invoke(app, ["clean", str(a_day.input), "--only", "rplsplit", "--yes"])
    assert "nothing else of raypipe's" in shown.stdout
    assert RAW in files(a_day)


def test_a_recording_that_goes_after_the_answer_is_seen(a_day: Day) -> None:
    answered = find_leftovers(a_day)
    assert a_day.output / RAW in answered.remove
    (a_day.input / "session01" / "a.ns5").unlink()
    assert clean(a_day, answered).remove == (a_day.output / LFP,)
    assert RAW in files(a_day)


def test_only_what_was_answered_for_and_is_still_ours_goes(a_day: Day) -> None:
    answered = find_leftovers(a_day)
    (a_day.output / LFP).write_bytes(b"somebody's")
    make(a_day, later := f"{CHANNEL}/rplhighpass_b59f.hkl", "rplhighpass")
    assert clean(a_day, answered).remove == (a_day.output / RAW,)
    assert {RAW, LFP, later} & files(a_day) == {LFP, later}
    assert {entry.output for entry in read_ledger(a_day.state)} == {LFP, later}


def test_an_earlier_line_may_tell_of_the_file(a_day: Day) -> None:
    """The line is written before the rename: after a crash in between, the last line tells of a file that never was."""
    last = read_ledger(a_day.state)[-1]
    append_entries(a_day.state, [Entry(LFP, "rpllfp", "session01", 9, last.key, 99, 99, "2026", "run", "0")])
    found = find_leftovers(a_day)
    assert a_day.output / LFP in found.remove
    assert found.changed == ()


def test_nothing_outside_the_day_is_listed(a_day: Day, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    (outside / "channel033").mkdir(parents=True)
    (a_day.output / "session01" / "array02").symlink_to(outside)
    make(a_day, "session01/array02/channel033/rpllfp_6eca.hkl")
    make(a_day, "../other.hkl")
    make(a_day, str(tmp_path / "absolute.hkl"))
    (outside / "channel033" / ".rplraw_d41d.hkl.x.tmp").touch()
    (outside / "runs" / "x").mkdir(parents=True)
    (a_day.state / "runs").symlink_to(outside / "runs")
    found = find_leftovers(a_day)
    assert set(found.remove) == {a_day.output / RAW, a_day.output / LFP}
    assert (found.scraps, found.gone, found.changed) == ((), (), ())
    clean(a_day, found)
    assert (outside / "runs" / "x").exists()


def test_a_day_that_is_a_link_is_cleaned(a_day: Day, tmp_path: Path) -> None:
    (link := tmp_path / "20181105").symlink_to(a_day.output)
    linked = Day(link, link)
    assert set(clean(linked, find_leftovers(linked)).remove) == {link / RAW, link / LFP}
    assert files(a_day) == {"session01/a.ns5"}


def test_a_link_or_a_folder_in_a_files_place_is_kept(a_day: Day, tmp_path: Path) -> None:
    (a_day.output / LFP).rename(tmp_path / "moved.hkl")
    (a_day.output / LFP).symlink_to(tmp_path / "moved.hkl")
    (a_day.output / RAW).unlink()
    (a_day.output / RAW).mkdir()
    found = find_leftovers(a_day)
    assert (found.remove, found.gone, len(found.changed)) == ((), (), 2)


def test_the_state_folder_goes_while_the_day_is_locked(a_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    removing = cleaning._remove_state
    held: list[bool] = []

    def other_run() -> None:
        try:
            with day_lock(a_day.state):
                held.append(False)
        except Locked:
            held.append(True)

    def remove(state: Path) -> None:
        (other := threading.Thread(target=other_run)).start()
        other.join()
        removing(state)

    monkeypatch.setattr(cleaning, "_remove_state", remove)
    clean(a_day, find_leftovers(a_day))
    assert held == [True]
    assert not a_day.state.exists()
    with pytest.raises(Locked), day_lock_of_another(a_day):
        clean(a_day, find_leftovers(a_day))


def day_lock_of_another(day: Day):  # type: ignore[no-untyped-def]
    prepare_state(day.state)
    return day_lock(day.state)


def test_what_cannot_be_removed_is_said(a_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".hkl":
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    found = find_leftovers(a_day)
    with pytest.raises(NotWritable, match="cannot be removed"):
        clean(a_day, found)
    assert {RAW, LFP} <= files(a_day)
    assert len(read_ledger(a_day.state)) == 2


def test_forgetting_is_synced_before_it_has_its_name(a_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (a_day.state / ledger.FILE_NAME).read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError):
            ledger.forget(a_day.state, [LFP])
    assert (a_day.state / ledger.FILE_NAME).read_bytes() == whole
    assert not list(a_day.state.glob(".*"))
    ledger.forget(a_day.state, [LFP])
    assert stat.S_IMODE((a_day.state / ledger.FILE_NAME).stat().st_mode) == 0o664

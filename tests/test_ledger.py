"""What made each output, and the lock on a day."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from raypipe.errors import Locked, NotWritable
from raypipe.ledger import FILE_NAME, Entry, append_entries, forget, prepare_state, read_ledger
from raypipe.lock import day_lock


def entry(output: str, size: int = 1) -> Entry:
    return Entry(output, "rpllfp", "session01", 9, {"code": "a"}, size, 5, "2026-01-01T00:00:00+00:00", "run", "0")


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == []
    append_entries(tmp_path, [entry("a"), entry("b")])
    append_entries(tmp_path, [entry("a", 2)])
    assert read_ledger(tmp_path) == [entry("a"), entry("b"), entry("a", 2)]
    forget(tmp_path, ["a"])
    assert read_ledger(tmp_path) == [entry("b")]


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    append_entries(tmp_path, [entry("a"), entry("b")])
    whole = (tmp_path / FILE_NAME).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / FILE_NAME).write_bytes(whole[:cut])
        before = read_ledger(tmp_path)
        assert before == [entry("a"), entry("b")][: len(before)]
        append_entries(tmp_path, [entry("c")])
        assert read_ledger(tmp_path)[-1] == entry("c")
        assert read_ledger(tmp_path)[: len(before)] == before


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritable) as error:
        prepare_state(tmp_path / "file" / "state")
    assert "--output" in error.value.hint


HOLDER = """
import sys, time, pathlib
from raypipe.lock import day_lock
with day_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_names_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=f"process {holder.pid} on ") as error, day_lock(tmp_path):
            pass
        assert error.value.exit_code == 3
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with day_lock(tmp_path):
        assert (tmp_path / "lock.json").exists()
    with day_lock(tmp_path):
        pass


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(37, "No locks available")])
def test_a_day_that_cannot_be_locked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(lock: filelock.BaseFileLock) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(NotWritable, match=f"cannot be locked: {error.strerror}") as refused, day_lock(tmp_path):
        pass
    assert "--output" in refused.value.hint


def test_lab_mates_may_write_to_the_lock_and_the_ledger(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with day_lock(tmp_path):
            append_entries(tmp_path, [entry("a")])
    finally:
        os.umask(before)
    for name in ("lock", FILE_NAME):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o664


def test_another_users_note_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    """Its rights are not ours, but the folder's are: so it is a new file."""
    (tmp_path / "lock.json").write_text("{}")
    (tmp_path / "kept.json").hardlink_to(tmp_path / "lock.json")
    with day_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / "lock.json").read_text()
    assert (tmp_path / "kept.json").read_text() == "{}"

"""The files by which nodes find each other: there while the head is, readable by their owner alone."""

import os
import stat
from pathlib import Path

from cluster.run_folder import (
    forget,
    read_address,
    said_again,
    say_again,
    unsay_again,
    write_address,
    write_token,
)


def test_a_token_is_its_owners_and_new_each_time(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = write_token(tmp_path).read_text()
        path = write_token(tmp_path)
    finally:
        os.umask(before)
    assert path == tmp_path / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
    assert path.read_text() != first


def test_a_new_head_forgets_the_last_ones_address(tmp_path: Path) -> None:
    write_address(tmp_path, "10.0.0.1:20001")
    assert read_address(tmp_path) == "10.0.0.1:20001"
    write_token(tmp_path)
    assert read_address(tmp_path) is None


def test_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("kept")
    (tmp_path / ".address.77").write_text("of a head that was killed")
    write_token(tmp_path)
    write_address(tmp_path, "10.0.0.1:20001")
    forget(tmp_path)
    forget(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["events"]
    assert read_address(tmp_path / "nowhere") is None


def test_jobs_that_had_themselves_queued_again_are_known_by_their_ids(tmp_path: Path) -> None:
    assert said_again(tmp_path) == set()
    for job in (7, 8):
        say_again(tmp_path, job)
    forget(tmp_path)
    assert said_again(tmp_path) == {7, 8}
    unsay_again(tmp_path, 8)
    unsay_again(tmp_path, 9)
    assert said_again(tmp_path) == {7}
    assert said_again(tmp_path / "gone") == set()

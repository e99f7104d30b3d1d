"""Whoever may go first goes before memory is full, and nobody else."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster.memory_guard import held_by_cgroup, held_by_processes, memory_guarded

MB = 1 << 20
HOLD = """
import pathlib, sys, time
pathlib.Path("/proc/self/oom_score_adj").write_text(sys.argv[1])
held = b"1" * (int(sys.argv[2]) << 20)
print("held", flush=True)
time.sleep(60)
"""
SHARE = """
import mmap, os, time
held = mmap.mmap(-1, 200 << 20)
for _ in range(200):
    held.write(bytes(1 << 20))
parent = os.getpid()
if os.fork() == 0:
    sum(held[::4096])
    print("held", flush=True)
    while os.getppid() == parent:
        time.sleep(0.1)
else:
    os.wait()
"""


@contextmanager
def holding(megabytes: int, goes: int) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-c", HOLD, str(goes), str(megabytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_the_largest_of_those_that_may_go_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    # Whatever this process and its other children hold, the guard is to act at 760 MB more: at 95 % of the limit.
    limit = int((held_by_processes() + 760 * MB) / 0.95)
    with holding(500, 0) as larger, holding(100, 1000) as small, memory_guarded(limit), holding(400, 1000) as large:
        large.wait(20)
        assert f"the largest worker, {large.pid}, is ended" in caplog.text
        assert small.poll() is None
        assert larger.poll() is None


def test_nobody_goes_while_there_is_room() -> None:
    with holding(200, 1000) as worker, memory_guarded(held_by_processes() * 2):
        time.sleep(1.0)
        assert worker.poll() is None


def test_a_guard_ends_with_its_block() -> None:
    with memory_guarded(1):
        pass
    with holding(50, 1000) as worker:
        time.sleep(0.6)
        assert worker.poll() is None


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (
            "cache 70\nrss 3\ntotal_cache 900\ntotal_rss 500\ntotal_shmem 20\ntotal_inactive_file 880\n",
            520,
        ),  # version 1
        ("anon 500\nfile 900\nkernel 7\nshmem 20\ninactive_file 880\n", 520),
    ],
)
def test_files_that_are_cached_are_not_held(tmp_path: Path, text: str, held: int) -> None:
    (tmp_path / "memory.stat").write_text(text)
    assert held_by_cgroup(tmp_path) == held


def test_what_processes_share_counts_once() -> None:
    before = held_by_processes()
    with subprocess.Popen([sys.executable, "-c", SHARE], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            grown = held_by_processes() - before
        finally:
            process.kill()
    assert 200 * MB - psutil.Process().memory_info().shared <= grown <= 250 * MB

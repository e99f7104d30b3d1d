"""What the programs of jobs do with the last minutes of a node that is about to be taken away."""

import os
import time
from argparse import Namespace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.head import _sit_out
from cluster.holds import Holds
from cluster.spot import LATE_SECONDS, Notice
from cluster.worker import _serve


class Stays:
    """A node of Ray whose tasks do not end."""

    def __init__(self) -> None:
        self.drained: list[tuple[object, ...]] = []

    def ended(self) -> None:
        return None

    def drain(self, *how: object) -> None:
        self.drained.append(how)


def watch(seconds: float | None) -> Any:
    return SimpleNamespace(notice=None if seconds is None else Notice("terminate", time.time() + seconds))


@pytest.mark.parametrize(("own", "called"), [(8, True), (7, False)])  # of its own, or a part of the head's
def test_what_does_not_end_in_time_is_ended_before_the_node_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: int, called: bool
) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexit 1\n')  # a refusal is no obstacle
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", str(own))
    node: Any = Stays()
    arguments = Namespace(run=tmp_path, name="pipe2", head=7)
    _serve(node, "10.0.0.1:20007", arguments, own, Holds(), Event(), watch(16.5))
    assert node.drained == [("10.0.0.1:20007", "spot notice", 1)]
    assert (tmp_path / "calls").exists() == called
    if called:
        assert (tmp_path / "calls").read_text() == "update JobId=8 JobName=pipe2-taken-7 Requeue=0\n"


def test_a_head_begins_nothing_on_a_node_that_goes_but_on_one_that_stayed_after_all() -> None:
    assert not _sit_out(watch(None))
    late = watch(1.0 - LATE_SECONDS)
    assert _sit_out(late)
    assert late.notice.seconds_late() >= LATE_SECONDS

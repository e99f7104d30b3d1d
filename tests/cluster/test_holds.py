"""A job whose node died begins at once and elsewhere; what Slurm is told is written down by a program in its place."""

import sys
from pathlib import Path

import pytest

from cluster.holds import Holds
from cluster.slurm import Job


class Asked:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> list[str]:
        said = self.path.read_text().splitlines() if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        return said


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Returns, at each call, what `scontrol` was told since the last."""
    program, told = tmp_path / "scontrol", tmp_path / "told"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(told)!r}, 'a').write(' '.join(sys.argv[2:]) + '\\n')\n"
    )
    down = tmp_path / "sinfo"
    down.write_text(f"#!{sys.executable}\n")
    for each in (program, down):
        each.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return Asked(told)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def job(state: str, node: str = "", excluded: str = "", reason: str = "None") -> Job:
    return Job("7_1", 7, "pipe2-worker-1", state, reason, node, excluded)


def held(excluded: str = "") -> Job:
    return job("PENDING", excluded=excluded, reason="BeginTime")


@pytest.mark.parametrize(("before", "both"), [("", "n1"), ("n[5-6]", "n[5-6],n1")])
def test_a_lost_node_is_excluded_until_it_is_safe(asked: Asked, before: str, both: str) -> None:
    holds = Holds(clock := Clock())
    holds.look([job("RUNNING", "n1", before)])
    assert asked() == []
    holds.look([held(before)])
    assert asked() == [f"JobId=7_1 ExcNodeList={both}", "JobId=7_1 StartTime=now"]
    waits = job("PENDING", excluded=both, reason="BadConstraints")  # there is no other node
    for clock.now in (1.0, 150.0):
        holds.look([waits])
    assert asked() == []
    clock.now = 151.0
    holds.look([waits])
    assert asked() == [f"JobId=7_1 ExcNodeList={before}"]


def test_the_time_counts_anew_with_each_loss(asked: Asked) -> None:
    holds = Holds(clock := Clock())
    for clock.now in (0.0, 100.0):
        holds.look([job("RUNNING", "n1")])
        holds.look([held()])
        assert len(asked()) == 2
        holds.look([job("PENDING", excluded="n1", reason="Resources")])
        clock.now += 149
        holds.look([job("PENDING", excluded="n1", reason="Resources")])
        assert asked() == []


def test_where_the_node_is_not_known_slurm_is_left_to_wait(asked: Asked) -> None:
    Holds().look([held()])
    assert asked() == []


def test_a_job_that_had_itself_queued_again_may_have_its_node(asked: Asked) -> None:
    holds = Holds()
    holds.look([job("RUNNING", "n1")])
    holds.look([held()], in_order={7})
    assert asked() == ["JobId=7_1 StartTime=now"]


@pytest.mark.parametrize(
    ("reasons", "lifted"),
    [
        ("n1|(Code:InsufficientInstanceCapacity)Failure when resuming nodes\\nn2|ResumeTimeout reached", True),
        ("n1|Not responding\\nn2|ResumeTimeout reached", False),
        ("", False),
    ],
)
def test_where_only_nodes_are_down_that_never_booted_none_is_dangerous(
    asked: Asked, tmp_path: Path, reasons: str, lifted: bool
) -> None:
    sinfo = tmp_path / "sinfo"
    sinfo.write_text(f"#!{sys.executable}\nprint('{reasons}')\n")
    sinfo.chmod(0o755)
    holds = Holds()
    holds.look([job("CONFIGURING", "n1")])
    holds.look([held()])
    assert asked() == (["JobId=7_1 StartTime=now"] if lifted else [])

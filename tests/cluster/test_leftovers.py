"""Folders that killed jobs left on a node: those of jobs that are over go, with the next job; no other does."""

from pathlib import Path

import pytest

from cluster.leftovers import remove_leftovers
from tests.cluster.test_slurm import programs, put

__all__ = ["programs"]
NAMES = ("rp-11", "rp-12", "rp-13", "raypipe-spill-11", "raypipe-spill-12", "rp-x", "rp-11-mine", "other")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A disk with folders of job 11, which is over, of 12, which runs, of 13, which is forgotten, and of others."""
    disk = tmp_path / "scratch"
    for name in NAMES:
        (disk / name / "session").mkdir(parents=True)
    return disk


def test_what_jobs_left_that_are_over_goes(programs: Path, scratch: Path) -> None:
    # Without --states=all, squeue tells of jobs that are not over.
    running = "12|12|N/A|RUNNING|n1|None||raypipe"
    put(
        programs,
        "squeue",
        f"asked = '--jobs=11,12,13' in sys.argv and '--states=all' not in sys.argv\nprint({running!r} if asked else '')",
    )
    gone = remove_leftovers([scratch, scratch / "nowhere"])
    assert sorted(path.name for path in gone) == ["raypipe-spill-11", "rp-11", "rp-13"]
    assert {path.name for path in scratch.iterdir()} == set(NAMES) - {"raypipe-spill-11", "rp-11", "rp-13"}


def test_where_slurm_does_not_answer_all_stays(programs: Path, scratch: Path) -> None:
    put(programs, "squeue", "sys.exit('slurm_load_jobs error: Unable to contact slurm controller')")
    assert remove_leftovers([scratch]) == []
    assert {path.name for path in scratch.iterdir()} == set(NAMES)


def test_without_leftovers_slurm_is_not_asked(programs: Path, tmp_path: Path) -> None:
    assert remove_leftovers([tmp_path]) == []  # there is no squeue

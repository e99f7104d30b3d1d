"""What a run on a cluster is found by again: its folder in the state of its first day, and in it the ids of its jobs."""

from pathlib import Path

import msgspec

from raypipe.day import Day

CLUSTER_FOLDER = "cluster"
"""In a day's state folder: a folder for each run on a cluster, or a link to it in the first day's."""
RECORD_FILE = "jobs.json"


class Record(msgspec.Struct, frozen=True):
    """What a run's folder tells of its jobs."""

    name: str
    days: tuple[str, ...]
    """Folders of the days' outputs."""
    head: int
    worker: int | None
    finish: int
    submitted: str
    """UTC, as in the names of runs: 20181105T093000."""
    workers: str
    """`workers: 1 to 8`, or `4 nodes in one job`."""


def read_record(run: Path) -> Record | None:
    """Return what a run's folder tells of its jobs; None if it tells nothing."""
    try:
        return msgspec.json.decode((run / RECORD_FILE).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def run_folders(day: Day) -> list[Path]:
    """List the folders of a day's runs on clusters, oldest first."""
    return sorted((day.state / CLUSTER_FOLDER).glob("*T*-*"))

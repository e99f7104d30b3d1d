"""The logs of a day: what failing tasks left, what the jobs wrote that did them, and of the rest that all went well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raypipe.day import Day, find_day
from raypipe.events import TaskDone, TaskFailed, task_name
from raypipe.jobs import EVENTS, read_events, running_folders
from raypipe.records import read_record, run_folders
from raypipe.underway import under_way


@dataclass(frozen=True)
class Log:
    """What was written about a task, or by a job."""

    name: str
    """`session01-rpllfp-009`, or `raypipe-slurm.node1.1234`."""
    path: Path
    line: str = ""
    """All there is to say, where the file's content is not about this task alone."""

    @property
    def job(self) -> str:
        """The id of the job; empty for a task."""
        return self.name.rpartition(".")[2] if "-slurm." in self.name or "-ray." in self.name else ""


def logs_of(day: Day) -> list[Log]:
    """List what was written about the day's tasks and by the jobs that did them, oldest first."""
    found: list[Log] = []
    runs = sorted((day.state / "runs").glob("*"))
    for run in runs:
        found += _told(run)
        found += [Log(path.stem, path) for path in sorted(run.glob("*.log"))]
    for run in runs[-1:]:  # what an earlier one has not ended was lost with it
        stands = under_way(read_events(run / EVENTS)).tasks(day.output)
        found += [Log(name, run / EVENTS, line) for name, line in stands.items()]
    for folder in run_folders(day):
        found += job_logs(folder.resolve())
    return found


def logs_of_all(path: Path | None, output: Path | None = None) -> list[Log]:
    """List the logs of the day at `path`; without one, of all of this user's runs that Slurm knows.

    Raises `UsageError` and its kinds, `ClusterError` and its kinds.
    """
    if path is not None:
        return logs_of(find_day(path, output))
    found: list[Log] = []
    for folder in running_folders():
        record = read_record(folder)
        days = [Path(day) for day in record.days] if record else []
        found += [log for day in days for log in logs_of(Day(day, day)) if not log.job]
        found += job_logs(folder)
    return found


def job_logs(folder: Path) -> list[Log]:
    """List what the jobs of a run's folder wrote, except those that wrote nothing, and what was kept of their Ray's logs."""
    paths = sorted(path for name in ("*-slurm.*.out", "*-slurm.*.err", "*-ray.*.log") for path in folder.glob(name))
    return [Log(path.stem, path) for path in paths if path.stat().st_size]


def find_logs(logs: Sequence[Log], task: str) -> list[Log]:
    """Return those of a task or a job id; else those in whose names it is found."""
    return [log for log in logs if task in (log.name, log.job)] or [log for log in logs if task in log.name]


def names_text(logs: Sequence[Log]) -> str:
    """List the logs that are files by name, each once, and count the others."""
    files = dict.fromkeys(log.name for log in logs if not log.line)
    others = {log.name: log for log in logs if log.line}.keys() - files
    lines = [*files, *([f"and a line about each of {len(others)} tasks, such as {min(others)}"] if others else [])]
    return "".join(f"{line}\n" for line in lines)


def log_text(log: Log) -> str:
    """Return a log under a line that says where it is."""
    text = log.line or log.path.read_text(encoding="utf-8", errors="replace").rstrip()
    return f"== {log.path} ==\n{text}\n"


def _told(run: Path) -> list[Log]:
    """List the tasks of which there is no file: what went well, and what could not even be begun."""
    found: list[Log] = []
    for event in read_events(run / EVENTS):
        if isinstance(event, TaskDone):
            line = f"done: {event.output}, {event.size} bytes" + (f", on {event.node}" if event.node else "")
        elif isinstance(event, TaskFailed) and not event.log:
            line = f"{event.error}\n{event.hint}"
        else:
            continue
        found.append(Log(task_name(event.session, event.stage, event.channel), run / EVENTS, line))
    return found

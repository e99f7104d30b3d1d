"""The runs on this cluster: their jobs as Slurm has them, and how far their days are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from cluster import slurm
from cluster.errors import ClusterError, SlurmRefused
from cluster.names import part_of
from cluster.reasons import in_words, node_in_words
from cluster.slurm import Job
from raypipe.day import STATE_FOLDER, Day
from raypipe.events import (
    Event,
    PassProgressed,
    PassStarted,
    RunEnded,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkEnded,
    WorkStarted,
)
from raypipe.recording import ranges
from raypipe.records import Record, read_record, run_folders

EVENTS = "events.jsonl"
_ORDER = ("head", "worker", "taken", "finish")
_TIMES = "%i|%T|%V|%S|%e"
_decode = msgspec.json.Decoder(
    PassProgressed | PassStarted | RunEnded | RunStarted | TaskDone | TaskFailed | WorkEnded | WorkStarted
).decode


@dataclass(frozen=True)
class Progress:
    """How far a run of a day is."""

    run: str
    total: int
    done: int
    failed: int
    outcome: str
    """Empty while it goes on."""
    now: tuple[str, ...]
    """What is being done."""


@dataclass(frozen=True)
class JobRow:
    """A job of a run, or elements of an array of which the same is to be said."""

    role: str
    id: str
    node: str
    state: str
    """In words."""
    since: str
    """Local time: of its submission while it waits, of its end when it is over, else of its beginning."""


@dataclass(frozen=True)
class ClusterRun:
    """A run on a cluster."""

    name: str
    head: int
    folder: Path | None
    jobs: tuple[JobRow, ...]
    days: Mapping[str, Progress | None]
    """By title; None for one that has not begun."""
    missing: tuple[str, ...] = ()
    """While a worker waits: nodes that cannot be had, and why."""


def cluster_runs(days: Sequence[Day]) -> list[ClusterRun]:
    """Return the runs of these days, oldest first: those that Slurm still knows and each day's last.

    Without days, all of this user's that Slurm knows. Raises `ClusterError` and its kinds.
    """
    jobs = slurm.jobs(ended=True)
    found: dict[int, tuple[Path, Record]] = {}
    for day in days:
        recorded = [(folder, record) for folder in run_folders(day) if (record := read_record(folder))]
        known = {job.number for job in jobs}
        # A lab mate's are not among this user's.
        unknown = [record.head for _, record in recorded if record.head not in known]
        jobs += slurm.jobs(unknown, ended=True) if unknown else []
        known = {job.number for job in jobs}
        kept = [each for each in recorded if {each[1].head, each[1].finish} & known]
        found |= {record.head: (folder.resolve(), record) for folder, record in kept or recorded[-1:]}
    parts = {job.id: part_of(job.name, job.number) for job in jobs}
    if days:
        heads = set(found)
    else:
        # A job of any name may be a head; that it is one, the jobs after it say.
        heads = {part.head for part in parts.values() if part.role != "head"}
        for head in heads:
            if (folder := _folder_of(head)) and (record := read_record(folder)):
                found[head] = folder, record
    of_runs = {job.id: job for job in jobs if parts[job.id].head in heads}
    times = _times(of_runs) if of_runs else {}
    return [
        _run(head, [job for job in of_runs.values() if parts[job.id].head == head], times, found.get(head))
        for head in sorted(heads)
    ]


def progress(events: Iterable[Event]) -> Progress | None:
    """Return how far the run is whose events these are; None if it has not begun."""
    started: RunStarted | None = None
    done = failed = 0
    outcome = ""
    works: dict[tuple[str, tuple[str, ...], int | None], None] = {}
    passes: dict[str, str] = {}
    for event in events:
        match event:
            case RunStarted():
                started = event
            case TaskDone():
                done += 1
            case TaskFailed():
                failed += 1
            case WorkStarted():
                works[event.stage, event.sessions, event.channel] = None
            case WorkEnded():
                works.pop((event.stage, event.sessions, event.channel), None)
            case PassStarted():
                passes[event.session] = f"{event.session}: 0 of {event.tiles} tiles filtered"
            case PassProgressed():
                passes[event.session] = f"{event.session}: {event.tiles_done} of {event.tiles} tiles filtered"
                if event.tiles_done == event.tiles:
                    del passes[event.session]
            case RunEnded():
                outcome = event.outcome
            case _:
                pass
    if started is None:
        return None
    now = () if outcome else (*passes.values(), *_works_text(works))
    return Progress(started.run, started.tasks, done, failed, outcome, now)


def runs_text(runs: Sequence[ClusterRun]) -> str:
    """Return runs as text: a line for each day, then one for each job."""
    return "\n".join(map(_run_text, runs)) or "no runs on this cluster\n"


def runs_json(runs: Sequence[ClusterRun]) -> str:
    """Return runs as JSON."""
    return msgspec.json.format(msgspec.json.encode(runs, enc_hook=str), indent=2).decode() + "\n"


def parse_times(output: str) -> dict[str, str]:
    """Read `squeue --array --format=...` of ids, states and times: by id since when it is as it is."""
    times: dict[str, str] = {}
    for line in output.splitlines():
        number, state, submitted, begun, ended = line.split("|")
        job = Job(number, 0, "", state, "", "")
        time = ended if job.over else submitted if job.waits else begun
        times[number] = "" if time == "N/A" else time
    return times


def running_folders() -> list[Path]:
    """Return the folders of this user's runs that Slurm knows, oldest first. Raises `ClusterError` and its kinds."""
    parts = (part_of(job.name, job.number) for job in slurm.jobs(ended=True))
    folders = map(_folder_of, sorted({part.head for part in parts if part.role != "head"}))
    return [folder for folder in folders if folder and folder.is_dir()]


def read_events(path: Path) -> list[Event]:
    """Return the events of a run, as far as they matter here; none where there is no such file."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    events: list[Event] = []
    for line in lines:
        try:
            events.append(_decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # of a kind that is passed over, or cut off
    return events


def job_rows(jobs: Sequence[Job], times: Mapping[str, str]) -> list[JobRow]:
    """Return a row for each job of a run, the head's first; elements of an array that wait alike share one, after the others.

    `times` tells by a job's id since when it is as it is.
    """
    alike: dict[tuple[str, str, str, str, str], list[int]] = {}
    roles = {job.id: part_of(job.name, job.number).role for job in jobs}
    for job in sorted(jobs, key=lambda job: (_ORDER.index(roles[job.id]), job.waits, job.number)):
        array, _, element = job.id.partition("_")
        together = array if job.waits else job.id
        row = (roles[job.id], together, job.nodes, in_words(job.state, job.reason), times.get(job.id, ""))
        alike.setdefault(row, []).extend([int(element)] if job.waits and element else [])
    return [
        JobRow(role, f"{id_}_{ranges(elements)}" if elements else id_, node, state, since)
        for (role, id_, node, state, since), elements in alike.items()
    ]


def _run(head: int, jobs: Sequence[Job], times: Mapping[str, str], known: tuple[Path, Record] | None) -> ClusterRun:
    rows = tuple(job_rows(jobs, times))
    missing = _missing() if any(job.waits and part_of(job.name, job.number).role == "worker" for job in jobs) else ()
    if known is None:
        name = next((part_of(job.name, job.number).run for job in jobs), "")
        return ClusterRun(name, head, None, rows, {}, missing)
    folder, record = known
    days = {
        f"{output.parent.name}/{output.name}": _progress_since(output, record.submitted)
        for output in map(Path, record.days)
    }
    return ClusterRun(record.name, head, folder, rows, days, missing)


def _missing() -> tuple[str, ...]:
    with suppress(ClusterError):
        return tuple(f"{nodes}: {node_in_words(reason)}" for nodes, reason in slurm.out_of_service().items())
    return ()


def _run_text(run: ClusterRun) -> str:
    lines = [f"{run.name} {run.head}" + (f"  {run.folder}" if run.folder else "")]
    for title, found in run.days.items():
        lines.append(f"  {title}: {_progress_text(found)}")
        lines += [f"    {each}" for each in (found.now if found else ())]
    widths = [max((len(getattr(job, name)) for job in run.jobs), default=0) for name in ("id", "node")]
    for job in run.jobs:
        since = _when(job.since)
        lines.append(
            f"  {job.role:6}  {job.id:{widths[0]}}  {job.node:{widths[1]}}  {job.state}"
            + (f", {since}" if since else "")
        )
    lines += [f"  not there: {each}" for each in run.missing]
    if not run.jobs:
        lines.append("  its jobs are over, and Slurm has forgotten them")
    return "\n".join(lines) + "\n"


def _progress_text(found: Progress | None) -> str:
    if found is None:
        return "not begun"
    failed = f", {found.failed} failed" if found.failed else ""
    return f"{found.done} of {found.total} outputs made{failed}" + (f"; {found.outcome}" if found.outcome else "")


def _works_text(works: Iterable[tuple[str, tuple[str, ...], int | None]]) -> list[str]:
    """Say what is being worked on, channels of one stage in one line."""
    channels: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for stage, sessions, channel in works:
        channels.setdefault((stage, sessions), []).extend([] if channel is None else [channel])
    return [
        f"{stage}: channel{'s' if len(numbers) > 1 else ''} {ranges(numbers)}"
        if numbers
        else f"{stage}: {', '.join(sessions)}"
        for (stage, sessions), numbers in channels.items()
    ]


def _when(since: str) -> str:
    try:
        return f"since {datetime.fromisoformat(since):%d %b %H:%M:%S}"
    except ValueError:
        return ""


def _progress_since(output: Path, submitted: str) -> Progress | None:
    """Return how far the last of the day's runs is that began after a submission; a run's name is its time."""
    runs = sorted(run for run in (output / STATE_FOLDER / "runs").glob("*") if run.name >= submitted)
    for run in reversed(runs):
        if (found := progress(read_events(run / EVENTS))) is not None:
            return found
    return None


def _folder_of(head: int) -> Path | None:
    """Return the folder of a run, where its head's output goes."""
    try:
        shown = slurm.run("scontrol", "--oneliner", "show", "job", str(head))
    except SlurmRefused:
        return None
    found = re.search(r"\sStdOut=(.*?-slurm\.[^/]*\.out)(\s|$)", shown)
    return Path(found[1]).parent if found else None


def _times(ids: Iterable[str]) -> dict[str, str]:
    words = ["--noheader", "--array", "--states=all", f"--format={_TIMES}", f"--jobs={','.join(ids)}"]
    try:
        return parse_times(slurm.run("squeue", *words))
    except SlurmRefused:  # the last of them was forgotten just now
        return {}

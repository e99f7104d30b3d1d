"""The runs on this cluster: their jobs as Slurm has them, what is done in each, and how far their days are."""

import re
import textwrap
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import msgspec

from cluster import slurm
from cluster.errors import ClusterError, SlurmRefused, SlurmSilent
from cluster.names import FINISH, WORKERS, part_of
from cluster.reasons import in_words, node_in_words
from cluster.slurm import Job
from raypipe.day import STATE_FOLDER, Day
from raypipe.events import (
    Event,
    FiltersBegun,
    NodesChanged,
    PassProgressed,
    PassStarted,
    RunEnded,
    RunRefused,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkBegun,
    WorkEnded,
    WorkStarted,
    WorkWaits,
)
from raypipe.recording import ranges
from raypipe.records import Record, read_record, run_folders
from raypipe.underway import under_way

EVENTS = "events.jsonl"
_ORDER = ("head", "worker", "taken", "finish")
_TIMES = "%i|%T|%V|%S|%e"
_NARROW = 76
"""Columns below which what is done in a job stands at the left, and not below the job's state."""
_decode = msgspec.json.Decoder(
    FiltersBegun
    | NodesChanged
    | PassProgressed
    | PassStarted
    | RunEnded
    | RunRefused
    | RunStarted
    | TaskDone
    | TaskFailed
    | WorkBegun
    | WorkEnded
    | WorkStarted
    | WorkWaits
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
    """How far recordings are filtered."""
    waiting: int = 0
    """Tasks that wait for a worker."""
    doing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By node, what is done there: `sorts channels 3, 9`."""
    nodes: tuple[str, ...] | None = None
    """Those that are in the run's Ray; None as long as it is not known."""
    leaving: tuple[str, ...] = ()
    """Those among them that end what they do, and take nothing new."""


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
    doing: tuple[str, ...] = ()
    """What is done in it."""
    over: bool = False
    """Whether it has ended."""


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

    @property
    def over(self) -> bool:
        """Whether all its jobs have ended."""
        return all(job.over for job in self.jobs)


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


def pictures(days: Sequence[Day], seconds: float) -> Iterator[Callable[[int | None], str]]:
    """Give the runs of `cluster_runs` as text (of a width) every so many seconds, until they are over.

    While Slurm does not answer, that is said below what it said last. Raises `ClusterError` and its kinds.
    """
    runs: list[ClusterRun] = []
    while True:
        note = ""
        try:
            runs = cluster_runs(days)
        except SlurmSilent as error:
            note = f"\n{error.message}\n"
        yield lambda width, runs=runs, note=note: runs_text(runs, width) + note  # type: ignore[misc]
        if not note and all(run.over for run in runs):
            return
        time.sleep(seconds)


def progress(events: Iterable[Event]) -> Progress | None:
    """Return how far the run is whose events these are; None if it has not begun."""
    started: RunStarted | None = None
    done = failed = 0
    outcome = ""
    events = list(events)
    for event in events:
        match event:
            case RunStarted():
                started = event
            case TaskDone():
                done += 1
            case TaskFailed():
                failed += 1
            case RunEnded():
                outcome = event.outcome
            case RunRefused():
                outcome = "refused"
            case _:
                pass
    if started is None:
        return None
    found = under_way(events)
    tiles = [(session, *tiles) for session, tiles in found.tiles.items()]
    now = tuple(f"{session}: {done} of {total} tiles filtered" for session, done, total in tiles if done < total)
    nodes, leaving = (found.nodes.nodes, found.nodes.leaving) if found.nodes else (None, ())
    return Progress(
        started.run, started.tasks, done, failed, outcome, now, found.waiting, found.doing(), nodes, leaving
    )


def runs_text(runs: Sequence[ClusterRun], width: int | None = None) -> str:
    """Return runs as text: a line for each day, then for each job one, and more for what is done in it.

    Longer lines than `width` columns, if given, are wrapped.
    """
    return "\n".join(_run_text(run, width) for run in runs) or "no runs on this cluster\n"


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


def job_rows(jobs: Sequence[Job], times: Mapping[str, str], days: Iterable[Progress | None] = ()) -> list[JobRow]:
    """Return a row for each job of a run, the head's first; elements of an array that wait alike share one, after the others.

    `times` tells by a job's id since when it is as it is, `days` what is done on which node.
    """
    begun = [day for day in days if day]
    alike: dict[JobRow, list[int]] = {}
    roles = {job.id: part_of(job.name, job.number).role for job in jobs}
    for job in sorted(jobs, key=lambda job: (_ORDER.index(roles[job.id]), job.waits, job.number)):
        array, _, element = job.id.partition("_")
        together = array if job.waits else job.id
        state, doing = in_words(job.state, job.reason), _doing(job, roles[job.id], begun)
        row = JobRow(roles[job.id], together, job.nodes, state, times.get(job.id, ""), doing, job.over)
        alike.setdefault(row, []).extend([int(element)] if job.waits and element else [])
    return [replace(row, id=f"{row.id}_{ranges(elements)}") if elements else row for row, elements in alike.items()]


def nodes_of(text: str) -> list[str]:
    """Return the names of Slurm's `node[1-2,10],other`."""
    names: list[str] = []
    for start, several, end in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?([^,\[\]]*)", text):
        for part in several.split(",") if several else [""]:
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1) if first else ()
            names += [f"{start}{number:0{len(first)}}{end}" for number in numbers] or [f"{start}{end}"]
    return names


def _doing(job: Job, role: str, days: Sequence[Progress]) -> tuple[str, ...]:
    """Say what is done in a job, on each of its nodes; of one that does not run, or of which nothing is known, nothing."""
    if job.state != "RUNNING" or role == FINISH or not days:
        return ()
    doing: dict[str, list[str]] = {}
    for day in days:
        for node, told in day.doing.items():
            doing.setdefault(_short(node), []).extend(told)
    known = [day for day in days if day.nodes is not None and not day.outcome]
    there = {_short(node) for day in known for node in day.nodes or ()}
    leaving = {_short(node) for day in known for node in day.leaving}
    said: list[str] = []
    several = len(names := nodes_of(job.nodes)) > 1
    for place, name in enumerate(names):
        node = _short(name)
        sentences = list(doing.get(node, ()))
        if node in leaving:
            sentences = [f"drains: {sentence}" for sentence in sentences] or ["drains"]
        elif not sentences and (role == WORKERS or place):  # the driver is on the head's
            sentences = ["idle" if node in there else "joins"] if known else []
        said += [f"{name}: {sentence}" if several else sentence for sentence in sentences]
    return tuple(said)


def _short(node: str) -> str:
    """Return a node's name without its domain: Slurm's name and the machine's own may differ by that."""
    return node.partition(".")[0]


def _run(head: int, jobs: Sequence[Job], times: Mapping[str, str], known: tuple[Path, Record] | None) -> ClusterRun:
    missing = _missing() if any(job.waits and part_of(job.name, job.number).role == WORKERS for job in jobs) else ()
    if known is None:
        rows = tuple(job_rows(jobs, times))
        name = next((part_of(job.name, job.number).run for job in jobs), "")
        return ClusterRun(name, head, None, rows, {}, missing)
    folder, record = known
    days = {
        f"{output.parent.name}/{output.name}": _progress_since(output, record.submitted)
        for output in map(Path, record.days)
    }
    told = days.values() if len(days) == 1 else [_titled(title, found) for title, found in days.items() if found]
    return ClusterRun(record.name, head, folder, tuple(job_rows(jobs, times, told)), days, missing)


def _titled(title: str, found: Progress) -> Progress:
    """Return the progress of one of several days; what is done on nodes tells of which."""
    doing = {node: tuple(f"{title}: {sentence}" for sentence in said) for node, said in found.doing.items()}
    return replace(found, doing=doing)


def _missing() -> tuple[str, ...]:
    with suppress(ClusterError):
        return tuple(f"{nodes}: {node_in_words(reason)}" for nodes, reason in slurm.out_of_service().items())
    return ()


def _run_text(run: ClusterRun, width: int | None) -> str:
    lines = [f"{run.name} {run.head}" + (f"  {run.folder}" if run.folder else "")]
    shown = {_short(node) for job in run.jobs if job.doing for node in nodes_of(job.node)}
    for title, found in run.days.items():
        lines.append(f"  {title}: {_progress_text(found)}")
        lines += [f"    {each}" for each in (_now(found, shown) if found else ())]
    widths = [max((len(getattr(job, name)) for job in run.jobs), default=0) for name in ("id", "node")]
    for job in run.jobs:
        since = _when(job.since)
        lines.append(
            f"  {job.role:6}  {job.id:{widths[0]}}  {job.node:{widths[1]}}  {job.state}"
            + (f", {since}" if since else "")
        )
        indent = 4 if width and width < _NARROW else 14 + sum(widths)
        lines += [" " * indent + each for each in job.doing]
    lines += [f"  not there: {each}" for each in run.missing]
    if not run.jobs:
        lines.append("  its jobs are over, and Slurm has forgotten them")
    return "".join(f"{_wrapped(line, width)}\n" for line in lines)


def _now(found: Progress, shown: Collection[str]) -> list[str]:
    """Say how a day goes on, beside what is said of the nodes that are `shown`."""
    waiting = f"{found.waiting} task{'s wait' if found.waiting != 1 else ' waits'} for a worker"
    elsewhere = [(node, said) for node, said in found.doing.items() if _short(node) not in shown]
    return [
        *found.now,
        *([waiting] if found.waiting else []),
        *(f"on {node}: {sentence}" for node, said in elsewhere for sentence in said),
    ]


def _wrapped(line: str, width: int | None) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    if not width or len(line) <= width or len(indent) > width // 2:
        return line
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def _progress_text(found: Progress | None) -> str:
    if found is None:
        return "not begun"
    failed = f", {found.failed} failed" if found.failed else ""
    return f"{found.done} of {found.total} outputs made{failed}" + (f"; {found.outcome}" if found.outcome else "")


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

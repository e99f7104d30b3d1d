"""A submission: which days there is something to do for, the texts of the jobs that do it, and the folder they share.

All that a run on a cluster knows it finds in that folder: the settings, what Slurm calls its jobs, their output files,
and, while it lives, the address and the token of its Ray.
"""

import secrets
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from cluster import slurm
from cluster.errors import ClusterError
from cluster.jobs import JobSettings, Shape, finalize_job, fixed_job, head_job, worker_job
from cluster.names import part_of
from cluster.ray_node import temp_folder
from cluster.share import MB, divide
from raypipe.api import plan_day
from raypipe.config import Config, Slurm, config_toml
from raypipe.day import Day
from raypipe.errors import Locked, RaypipeError, Refused, UsageError
from raypipe.ledger import prepare_state
from raypipe.memory import in_gb
from raypipe.plan import Plan
from raypipe.records import CLUSTER_FOLDER, RECORD_FILE, Record, read_record, run_folders
from raypipe.room import task_memory, too_large
from raypipe.run import refuse_full_disk

CONFIG_FILE = "raypipe.toml"
HEAD_ID = "HEAD_ID"
"""Stands for the id of the head's job as long as there is none."""
_LARGE_JOB_ID = 99_999_999
Last = Literal["", "tell", "finalize"]
"""What a last job does: clear up, tell people too, or end the cluster (and tell)."""


@dataclass(frozen=True)
class Choice:
    """Which outputs of the days are wanted: what `raypipe run` is told."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    channels: str | None = None
    output: Path | None = None
    replace: bool = False

    @property
    def options(self) -> list[str]:
        """The same as words of a command line, with absolute paths."""
        words = [word for stage in self.only for word in ("--only", stage)]
        words += [word for stage in self.skip for word in ("--skip", stage)]
        words += ["--channels", self.channels] if self.channels is not None else []
        words += ["--output", str(self.output.expanduser().absolute())] if self.output is not None else []
        return words + (["--replace"] if self.replace else [])


@dataclass(frozen=True)
class Survey:
    """What there is to do."""

    plans: tuple[Plan, ...]
    """Of the days that there is something to do for."""
    notes: tuple[str, ...]
    """What should be known of the days, a line each."""
    broken: bool
    """Whether something cannot even be planned."""
    exit_code: int = 0
    """The worst of the days that are refused."""
    days: tuple[Path, ...] = ()
    """All days."""


@dataclass(frozen=True)
class Submission:
    """A run that is to be submitted: everything but the ids of its jobs."""

    run: Path
    config: Config
    shape: Shape
    plans: tuple[Plan, ...]
    choice: Choice
    last: Last = ""
    """What the last job does beside clearing up."""
    days: tuple[Path, ...] = ()
    """All days that were named, for the last job: also those that there was nothing to do for."""

    @property
    def settings(self) -> JobSettings:
        """What its jobs ask for."""
        return job_settings(self.config.slurm, self.config.slurm.name, self.run)

    def texts(self, head: int | str = HEAD_ID) -> dict[str, str]:
        """Return the jobs' texts by role, in the order in which they are submitted; those after the head need its id."""
        settings = self.settings
        python, days = settings.python, [str(plan.day.input) for plan in self.plans]
        driver = [python, "-P", "-m", "raypipe", "run", *days, f"--config={self.run / CONFIG_FILE}"]
        driver += [f"--attached={self.run}", *self.choice.options]
        finish = {
            "finish": finalize_job(settings, self.run, head, self._last_words(), ends_cluster=self.last == "finalize")
        }
        if self.shape.fixed:
            return {"head": fixed_job(settings, self.run, self.shape.most, driver)} | finish
        # Those of an array that are not needed at once would hold nodes; the driver asks for more.
        first = self.shape.least
        workers = {"worker": worker_job(settings, self.run, head, first)} if first else {}
        return {"head": head_job(settings, self.run, driver)} | workers | finish

    def _last_words(self) -> list[str]:
        """Return the command of the last job."""
        if not self.last:
            return []
        words = [self.settings.python, "-P", "-m", "raypipe", "finalize", *map(str, self.days)]
        how = "--yes" if self.last == "finalize" else "--tell-only"
        return [*words, f"--config={self.run / CONFIG_FILE}", how, *self.choice.options]


def job_settings(settings: Slurm, name: str, logs: Path) -> JobSettings:
    """Return the settings of the configuration as those of jobs called `name`, whose output files go to `logs`.

    Raises `SettingsError`.
    """
    return JobSettings(
        name=name,
        logs=logs,
        partition=settings.partition or None,
        constraint=settings.constraint or None,
        account=settings.account or None,
        walltime=settings.walltime or None,
        cpus=settings.cpus or None,
        memory_mb=settings.memory_mb or None,
        exclusive=settings.exclusive,
        head_partition=settings.head_partition or None,
        head_constraint=settings.head_constraint or None,
        head_cpus=settings.head_cpus,
        head_memory_mb=settings.head_memory_mb or None,
        requeue=settings.requeue,
        warning_seconds=settings.warning_seconds or None,
        modules=settings.modules,
        venv=Path(settings.venv) if settings.venv else None,
        setup=settings.setup,
        python=settings.python or (f"{settings.venv}/bin/python" if settings.venv else sys.executable),
        extra_directives=settings.extra_directives,
        skip_directives=settings.skip_directives,
        temp=Path(settings.temp),
        scratch=Path(settings.scratch) if settings.scratch else None,
    )


def shape_of(settings: Slurm) -> Shape:
    """Return how many nodes the configuration asks for. Raises `SettingsError`."""
    return Shape.of_one_job(settings.fixed) if settings.fixed else Shape.elastic(settings.workers)


def for_any_folder(settings: Slurm) -> Slurm:
    """Return the settings as they mean the same wherever they are read: paths absolute, the Python named.

    Raises `UsageError` and `SettingsError` for what no job can be made of, `NodeTooSmall` for a head that does not hold
    Ray and the driver.
    """
    venv = _absolute(settings.venv)
    if venv and not Path(venv, "bin", "activate").is_file():
        raise UsageError(
            f"[slurm] venv: {venv} is no virtual environment: it has no bin/activate",
            hint="give its folder; one that only compute nodes have is for `setup` and `python`",
        )
    python = _absolute(settings.python) if "/" in settings.python else settings.python
    settings = msgspec.structs.replace(
        settings,
        venv=venv,
        python=python or (f"{venv}/bin/python" if venv else sys.executable),
        temp=_absolute(settings.temp),
        scratch=_absolute(settings.scratch),
    )
    job_settings(settings, settings.name, Path())
    shape_of(settings)
    temp_folder(Path(settings.temp), _LARGE_JOB_ID)
    if settings.head_memory_mb:
        divide(settings.head_memory_mb * MB, cpus=1, shared_memory=MB, driver=True)
    if part_of(settings.name, 0).role != "head":
        raise UsageError(f"{settings.name} is what a worker of another run is called", hint="choose another --name")
    if settings.walltime and walltime_seconds(settings.walltime) <= settings.warning_seconds:
        raise UsageError(
            f"of a walltime of {settings.walltime} nothing is left to work in: "
            f"{settings.warning_seconds} s before its end nothing new is begun",
            hint="ask for more with --time (a number alone is minutes), or set slurm.warning_seconds lower",
        )
    return settings


def walltime_seconds(text: str) -> float:
    """Return one of Slurm's walltimes in seconds; infinity where there is no limit."""
    if not text[:1].isdigit() or set(text) <= set("0:-"):
        return float("inf")
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    # 1-12 is days and hours, 12:30 minutes and seconds
    hours, minutes, seconds = ([*parts, 0, 0] if dash or len(parts) == 3 else [0, *parts, 0])[:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def survey(days: Iterable[Path], config: Config, choice: Choice) -> Survey:
    """Plan every day, each once, and sort out those for which there is nothing to do, or nothing can be done.

    Raises `RaypipeError` and its kinds if that is why no day is left.
    """
    plans: dict[Path, Plan] = {}
    kept: list[Plan] = []
    notes: list[str] = []
    refused: list[RaypipeError] = []
    for path in days:
        try:
            plan = plan_day(
                path, only=choice.only, skip=choice.skip, channels=choice.channels, output=choice.output, config=config, replace=choice.replace
            )  # fmt: skip
        except RaypipeError as error:
            refused.append(error)
            notes.append(f"{path}: refused: {error}")
        else:
            plans.setdefault(plan.day.output, plan)
    for plan in plans.values():
        notes += [f"{plan.day.title}: PROBLEM {problem.error}" for problem in plan.problems]
        if not plan.todo:
            notes.append(f"{plan.day.title}: nothing to do")
            continue
        try:
            refuse_full_disk(plan, kept)
        except Refused as error:
            refused.append(error)
            notes.append(f"{plan.day.title}: refused: {error}")
            continue
        kept.append(plan)
        notes.append(f"{plan.day.title}: {len(plan.todo)} outputs to make, {in_gb(plan.bytes_to_write)} to write")
    if refused and not kept:
        raise refused[0]
    broken = any(plan.problems for plan in plans.values())
    days = tuple(plan.day.input for plan in plans.values())
    return Survey(tuple(kept), tuple(notes), broken, max((error.exit_code for error in refused), default=0), days)


def new_submission(config: Config, found: Survey, choice: Choice, last: Last = "") -> Submission:
    """Return the submission of what was found, in a folder that is not made yet; `config` is one for any folder."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    run = found.plans[0].day.state / CLUSTER_FOLDER / name
    file = config.finalize.file
    if last == "finalize" and not file.startswith("s3://"):  # the last job begins in whatever folder
        config = msgspec.structs.replace(
            config, finalize=msgspec.structs.replace(config.finalize, file=_absolute(file))
        )
    return Submission(run, config, shape_of(config.slurm), found.plans, choice, last, found.days)


def room_notes(submission: Submission, *, anywhere: bool = False) -> list[str]:
    """Ask Slurm for the sizes of its nodes, and say which tasks no worker can hold; see `room.too_large`.

    Raises `ClusterError` and its kinds; a note where there need be no Slurm, `anywhere`.
    """
    settings = submission.settings
    try:
        sizes = slurm.partition(settings.partition)
    except ClusterError as error:
        if not anywhere:
            raise
        return [f"{error.message}: whether the nodes hold all tasks is not known"]
    room = task_memory(settings, sizes)
    if room is None:
        return ["Slurm does not know the nodes' memory: what does not fit is refused when the run begins"]
    return too_large(submission.plans, room)


def refuse_twice(days: Iterable[Day]) -> None:
    """Raise `Locked` if Slurm still has a run of one of the days, `ClusterError` and its kinds if it does not say."""
    for day in days:
        heads = {record.head: record for folder in run_folders(day) if (record := read_record(folder))}
        for job in slurm.jobs(heads) if heads else ():
            if job.number in heads and job.name == heads[job.number].name and not job.over:
                raise Locked(
                    f"{day.title}: the run of job {job.id} is on it already",
                    hint=f"`raypipe jobs` shows it; `scancel {job.id}` ends it, and what is done stays done",
                )


def submit(submission: Submission) -> Record:
    """Make the run's folder, submit its jobs, and return their ids; if one is refused, none is left, nor the folder.

    Raises `NotWritable`, and `ClusterError` and its kinds with Slurm's words.
    """
    run, days = submission.run, [plan.day for plan in submission.plans]
    ids: dict[str, int] = {}
    for day in days:
        prepare_state(day.state)
    run.mkdir(parents=True)
    links = [day.state / CLUSTER_FOLDER / run.name for day in days[1:]]
    try:
        for link in links:
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(run)
        (run / CONFIG_FILE).write_text(config_toml(submission.config), encoding="utf-8")
        for role in submission.texts():
            ids[role] = slurm.submit(submission.texts(ids.get("head", HEAD_ID))[role])
        record = _record(submission, ids)
        (run / RECORD_FILE).write_bytes(msgspec.json.encode(record))
    except BaseException:
        slurm.cancel(list(ids.values()))
        for link in links:
            link.unlink(missing_ok=True)
        shutil.rmtree(run, ignore_errors=True)
        raise
    return record


def printed(texts: Mapping[str, str]) -> str:
    """Return the texts of jobs for a person to read, each under a line with its role."""
    return "\n".join(f"# ---- {role} ----\n{text}" for role, text in texts.items())


def how_to_follow(submission: Submission, record: Record) -> str:
    """Return the ids of jobs, and the commands that show how they go."""
    ids = {"head": record.head, "workers": record.worker, "finish": record.finish}
    lines = [f"{role:8} {number}" for role, number in ids.items() if number]
    lines[0] += f"  ({record.workers})"
    output = submission.choice.output
    where = f" --output {shlex.quote(str(output))}" if output is not None else ""
    days = shlex.join(str(plan.day.input) for plan in submission.plans)
    return "\n".join(
        [
            *lines,
            "",
            f"raypipe jobs {days}{where}",
            f"tail -F {shlex.quote(str(submission.run))}/{record.name}-slurm.*  # as soon as the head has begun",
            f"squeue --jobs={','.join(str(number) for number in ids.values() if number)}",
            f"scancel {record.head}  # ends all of it; what is done stays done",
            "",
        ]
    )


def _record(submission: Submission, ids: Mapping[str, int]) -> Record:
    shape = submission.shape
    return Record(
        name=submission.config.slurm.name,
        days=tuple(str(plan.day.output) for plan in submission.plans),
        head=ids["head"],
        worker=ids.get("worker"),
        finish=ids["finish"],
        submitted=submission.run.name.partition("-")[0],
        workers=f"{shape.most} nodes in one job" if shape.fixed else f"workers: {shape.least} to {shape.most}",
    )


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""

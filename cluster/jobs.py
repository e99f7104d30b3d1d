"""Job texts: what `sbatch` is given, as a function of settings and nothing else.

A run is a job of the head (Ray's head and the driver), an array of workers (a node each, which join as they boot) and a
job that finishes the run however the head ended; or, with a fixed shape, one job of several nodes instead of the first
two. What needs more than a line of shell is in `cluster.head`, `cluster.worker` and `cluster.finish`.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import SettingsError
from cluster.names import FINALIZE, FINISH, WORKERS, job_name

_WALLTIME = re.compile(r"(\d+-)?\d+(:\d+){0,2}|UNLIMITED|INFINITE")
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_MOST_ELEMENTS = 1000
"""Slurm's own limit of an array, where nobody changed it, is 1001 with 0 among them."""


@dataclass(frozen=True)
class Shape:
    """How many nodes: between `least` and `most` workers beside the head, or `most` in one job, the head's included."""

    least: int
    most: int
    fixed: bool = False

    def __post_init__(self) -> None:
        if not (int(self.fixed) <= self.least <= self.most <= _MOST_ELEMENTS) or self.most < 1:
            raise SettingsError(
                f"{self.least}:{self.most} is no number of workers",
                hint=f"give MIN:MAX with 0 <= MIN <= MAX, MAX between 1 and {_MOST_ELEMENTS}, such as 1:8",
            )

    @classmethod
    def elastic(cls, text: str) -> "Shape":
        """Read `MIN:MAX`, or `N` for as many from the beginning to the end. Raises `SettingsError`."""
        least, colon, most = text.partition(":")
        try:
            return cls(int(least), int(most if colon else least))
        except ValueError as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(f"'{text}' is no number of workers", hint="give MIN:MAX, such as 1:8") from error

    @classmethod
    def of_one_job(cls, nodes: int) -> "Shape":
        """Return the shape of one job of `nodes` nodes. Raises `SettingsError`."""
        return cls(nodes, nodes, fixed=True)


@dataclass(frozen=True)
class JobSettings:
    """What the site and the user want of the jobs; `None` leaves a choice to Slurm."""

    name: str = "raypipe"
    logs: Path = Path()
    """Where output files go: `<name>-slurm.<node>.<job>.out`; the folder must be there."""
    partition: str | None = None
    constraint: str | None = None
    account: str | None = None
    walltime: str | None = None
    """As Slurm writes it: minutes, hours:minutes:seconds, days-hours:minutes:seconds."""
    cpus: int | None = None
    """Of a worker; all of the node's if it is exclusive."""
    memory_mb: int | None = None
    """Of a worker, MiB; without it no `--mem`, as on a cluster that does not schedule memory."""
    exclusive: bool = True
    """A worker has its node for itself."""
    head_partition: str | None = None
    """Where the head goes, on a node that is not taken away; `None`: as the workers."""
    head_constraint: str | None = None
    head_cpus: int = 1
    head_memory_mb: int | None = None
    requeue: bool = True
    """A job whose node died is queued again."""
    warning_seconds: int | None = None
    """How long before the walltime the driver is sent SIGUSR1, and a worker drains itself; `None`: not at all."""
    modules: tuple[str, ...] = ()
    venv: Path | None = None
    setup: tuple[str, ...] = ()
    """Further lines of shell, after modules and venv."""
    python: str = "python"
    extra_directives: tuple[str, ...] = ()
    """Such as `--qos=long`, in every job; takes the place of ours of the same name."""
    skip_directives: tuple[str, ...] = ()
    """Such as `--mem`: not written at all."""
    temp: Path = Path("/tmp")  # noqa: S108  (a folder of the job's own is made in it)
    """Where Ray keeps its sockets and logs, on each node; short, since a socket's path has 107 bytes at most."""
    scratch: Path | None = None
    """A local disk to spill to; `None`: `SLURM_TMPDIR`, `TMPDIR`, else `temp`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(f"'{self.name}' is no name of a job", hint="use letters, digits, '_', '.' and '-'")
        if self.walltime is not None and not _WALLTIME.fullmatch(self.walltime):
            raise SettingsError(
                f"'{self.walltime}' is no walltime", hint="write it as Slurm does: 90, 12:00:00 or 2-00:00:00"
            )
        for field in ("cpus", "memory_mb", "head_cpus", "head_memory_mb", "warning_seconds"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise SettingsError(f"{field} is {value}", hint="give 1 or more, or leave it out")
        for directive in (*self.extra_directives, *self.skip_directives):
            if not re.match(r"--[a-z]", directive):
                raise SettingsError(f"'{directive}' is no directive", hint="write its long form, such as --qos=long")
        texts = [self.partition, self.constraint, self.account, self.head_partition, self.head_constraint]
        for text in (*texts, *self.modules, *self.extra_directives, *map(str, (self.logs, self.venv, self.scratch))):
            if text is not None and re.search(r"[\n\r\"]", text):
                raise SettingsError(f"{text!r} has a quote or a new line in it", hint="a directive is one line")


def head_job(settings: JobSettings, run: Path, driver: Sequence[str]) -> str:
    """Return the text of the job that starts Ray's head, runs `driver`, ends the workers and passes its exit code on.

    `run` is the run's folder, on a disk that all nodes share; it must be there.
    """
    directives = [
        f"--job-name={settings.name}",
        *_outputs(settings, settings.name),
        *_common(settings, of_head=True),
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={settings.head_cpus}",
        *_if("--mem={}M", settings.head_memory_mb),
        *_if("--signal=B:USR1@{}", settings.warning_seconds),
    ]
    return _text(settings, run, directives, _entry(settings, "head", run, settings.name, driver))


def worker_job(settings: JobSettings, run: Path, head: int | str, count: int) -> str:
    """Return the text of an array of `count` one-node jobs that join the head of job `head`, once that has begun."""
    name = job_name(settings.name, WORKERS, head)
    directives = [
        f"--job-name={name}",
        *_outputs(settings, f"{settings.name}-{WORKERS}"),
        f"--array=1-{Shape(count, count).most}",
        f"--dependency=after:{head}",
        "--kill-on-invalid-dep=yes",
        *_common(settings),
        "--nodes=1",
        "--ntasks=1",
        *_worker_size(settings),
        *_if("--signal=B:USR1@{}", settings.warning_seconds),
    ]
    options = [f"--head={head}", *_if("--warning={}", settings.warning_seconds)]
    return _text(settings, run, directives, _entry(settings, "worker", run, settings.name, (), *options))


def finalize_job(
    settings: JobSettings, run: Path, head: int | str, command: Sequence[str] = (), *, ends_cluster: bool = False
) -> str:
    """Return the text of the job that, after `head` ended in whatever way, ends what is left of it and runs `command`.

    One whose command may end the cluster has a name of its own, by which others of its kind know it.
    """
    directives = [
        f"--job-name={job_name(settings.name, FINALIZE if ends_cluster else FINISH, head)}",
        *_outputs(settings, f"{settings.name}-{FINISH}"),
        f"--dependency=afterany:{head}",
        "--kill-on-invalid-dep=yes",
        *_common(settings, of_head=True),
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=1",
    ]
    return _text(settings, run, directives, _entry(settings, "finish", run, settings.name, command, f"--head={head}"))


def fixed_job(settings: JobSettings, run: Path, nodes: int, driver: Sequence[str]) -> str:
    """Return the text of one job of `nodes` nodes: the head and the driver on the first, a worker on every other."""
    directives = [
        f"--job-name={settings.name}",
        *_outputs(settings, settings.name),
        *_common(settings),
        f"--nodes={Shape.of_one_job(nodes).most}",
        "--ntasks-per-node=1",
        "--no-kill",  # a node that dies takes its own tasks along, not the job
        *_worker_size(settings),
        *_if("--signal=B:USR1@{}", settings.warning_seconds),
    ]
    return _text(settings, run, directives, _entry(settings, "head", run, settings.name, driver, f"--nodes={nodes}"))


def _outputs(settings: JobSettings, name: str) -> list[str]:
    start = str(settings.logs / name).replace("%", "%%")
    # After a requeue the second life's lines follow the first's.
    return [f"--output={start}-slurm.%N.%j.out", f"--error={start}-slurm.%N.%j.err", "--open-mode=append"]


def _common(settings: JobSettings, *, of_head: bool = False) -> list[str]:
    partition = (settings.head_partition if of_head else None) or settings.partition
    constraint = (settings.head_constraint if of_head else None) or settings.constraint
    return [
        *_if("--partition={}", partition),
        *_if("--constraint={}", constraint),
        *_if("--account={}", settings.account),
        *_if("--time={}", settings.walltime),
        "--requeue" if settings.requeue else "--no-requeue",
    ]


def _worker_size(settings: JobSettings) -> list[str]:
    return [
        *(["--exclusive"] if settings.exclusive else []),
        *_if("--cpus-per-task={}", settings.cpus),
        *_if("--mem={}M", settings.memory_mb),
    ]


def _entry(settings: JobSettings, module: str, run: Path, name: str, command: Sequence[str], *options: str) -> str:
    scratch = [f"--scratch={settings.scratch}"] if settings.scratch else []
    nodes = [f"--temp={settings.temp}", *scratch] if module != "finish" else []
    # -P: a folder named cluster where the job begins must not stand in for ours
    words = [settings.python, "-P", "-m", f"cluster.{module}", f"--run={run}", f"--name={name}", *options, *nodes]
    # The interpreter takes the shell's place, so that signals to the job are its own.
    return "exec " + shlex.join(words + (["--", *command] if command else []))


def _text(settings: JobSettings, run: Path, directives: list[str], entry: str) -> str:
    extra = {_option(directive) for directive in settings.extra_directives}
    skip = {_option(directive) for directive in settings.skip_directives}
    kept = [directive for directive in directives if _option(directive) not in extra | skip]
    kept += [directive for directive in settings.extra_directives if _option(directive) not in skip]
    lines = ["#!/bin/bash -l", *(f"#SBATCH {_quoted(directive)}" for directive in kept), "set -eo pipefail"]
    lines += [f"module load {shlex.quote(module)}" for module in settings.modules]
    lines += [f"source {shlex.quote(str(settings.venv / 'bin' / 'activate'))}"] if settings.venv else []
    lines += settings.setup
    lines += [
        "unset RAY_ADDRESS RAY_AUTH_TOKEN",  # of whoever submitted this; they would win over the run's own
        f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={shlex.quote(str(run / 'token'))}",
        "export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1",
        entry,
    ]
    return "\n".join(lines) + "\n"


def _if(form: str, value: object) -> list[str]:
    return [] if value is None else [form.format(value)]


def _option(directive: str) -> str:
    return re.split(r"[=\s]", directive, maxsplit=1)[0]


def _quoted(directive: str) -> str:
    option, equals, value = directive.partition("=")
    return f'{option}="{value}"' if equals and re.search(r"[\s#&|]", value) else directive

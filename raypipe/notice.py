"""What people are told of runs: the words for how they begin and end, from facts and nothing else."""

import os
import shlex
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from raypipe.deadline import in_words
from raypipe.events import RunEnded, RunRefused, RunStarted, TaskFailed
from raypipe.memory import in_gb

State = Literal["refused", "broke off", "failed", "interrupted", "out of time", "done", "nothing to do"]
_MOST_FAILURES, _MOST_DAYS = 5, 10
_WORST_FIRST: tuple[State, ...] = ("broke off", "failed", "refused", "interrupted", "out of time", "done")
_AGAIN = "the same command again goes on where it was; what is made stays made"


@dataclass(frozen=True)
class Where:
    """Where runs are, and how people look at them."""

    place: str = ""
    """Such as `node1, in job 1234 of Slurm`."""
    look: tuple[str, ...] = ()
    """The commands that show how they stand."""
    logs: str = ""
    """Where the jobs' output is, if there are jobs."""
    life: int = 1
    """How often Slurm has begun this job."""

    @classmethod
    def here(
        cls,
        days: Sequence[Path],
        output: Path | None,
        attached: Path | None,
        environment: Mapping[str, str] = os.environ,
    ) -> "Where":
        """Return it for runs of these days in this process, on the cluster whose run's folder is `attached`, if any."""
        words = [shlex.quote(str(day.expanduser().absolute())) for day in days]
        options = f" --output {shlex.quote(str(output.expanduser().absolute()))}" if output else ""
        job, restarts = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_RESTART_COUNT", "")
        name = environment.get("SLURMD_NODENAME") or socket.gethostname()
        return cls(
            place=f"{name}, in job {job} of Slurm" if job else name,
            look=(f"raypipe jobs {' '.join(words)}{options}",)
            if attached
            else tuple(f"raypipe status {word}{options}" for word in words[:_MOST_DAYS]),
            logs=f"{attached}/*-slurm.*" if attached else "",
            life=1 + (int(restarts) if restarts.isdigit() else 0),
        )


@dataclass
class DayFacts:
    """What is known of the run of a day."""

    title: str
    started: RunStarted | None = None
    ended: RunEnded | None = None
    refused: RunRefused | None = None
    failures: list[TaskFailed] = field(default_factory=list)

    @property
    def state(self) -> State:
        """How it stands at the end."""
        if self.refused:
            return "refused"
        if self.ended is None:
            return "broke off"
        if self.ended.out_of_time:
            return "out of time"
        nothing = self.ended.outcome == "done" and not self.ended.done
        return "nothing to do" if nothing else self.ended.outcome

    @property
    def summary(self) -> str:
        """How it went, in a line."""
        tasks = self.started.tasks if self.started else 0
        match self.state, self.ended:
            case "refused", _:
                return f"refused: {_line(self.refused.error if self.refused else '')}"
            case "nothing to do", _:
                return "nothing to do"
            case state, RunEnded(done=done, failed=failed, seconds=seconds, bytes_written=size):
                of = f" of {tasks}" if tasks > done else ""
                text = f"{'FAILED' if state == 'failed' else state}: {done}{of} outputs made, {in_gb(size)} in {in_words(seconds)}"
                return text + (f"; {failed} failed" if failed else "")
            case state, _:
                return f"{state}: {tasks} outputs were to be made"


@dataclass(frozen=True)
class Notice:
    """A message to people."""

    run: str
    """The name of a run that it is about; empty if none was begun."""
    event: Literal["begun", "ended"]
    subject: str
    text: str


def begun(days: Sequence[DayFacts], where: Where) -> Notice:
    """Say that the runs of days have begun, all of one command together; at least one has."""
    at_work = [day.started for day in days if day.started]
    tasks, size = sum(each.tasks for each in at_work), sum(each.bytes_to_write for each in at_work)
    who = at_work[0].day if len(at_work) == 1 else f"{len(at_work)} days"
    subject = f"{who} {'begun' if where.life == 1 else 'taken up again'}: {tasks} outputs to make, {in_gb(size)}"
    lines = [f"{each.day}: {each.tasks} outputs to make, {in_gb(each.bytes_to_write)}" for each in at_work]
    lines = lines[:_MOST_DAYS] if len(lines) > 1 else []
    lines += [f"{day.title}: {day.summary}" for day in days if day.refused]
    return Notice(_run_of(days), "begun", subject, "\n".join([*lines, *where_lines(where)]))


def ended(days: Sequence[DayFacts], where: Where, broke: str = "") -> Notice | None:
    """Say how the runs of days ended; None if there was nothing to do. `broke` is the error that broke them off, if any."""
    told = [day for day in days if day.state != "nothing to do"]
    if not told and not broke:
        return None
    lines = [f"{day.title}: {day.summary}" for day in days[:_MOST_DAYS]] if len(days) > 1 else []
    lines += [f"and {len(days) - _MOST_DAYS} more days"] if len(days) > _MOST_DAYS else []
    lines += [broke] if broke else []
    for day in days:
        lines += failures_lines(day)
    folders = [day.started.folder for day in days if day.started]
    lines += [f"log: {folder}/events.jsonl" for folder in folders[:_MOST_DAYS] if folder]
    lines += where_lines(where)
    lines += [f"next: {text}" for text in dict.fromkeys(_next(told, where, broke=broke))]
    return Notice(_run_of(days), "ended", _subject(told, broke), "\n".join(lines))


def _subject(told: Sequence[DayFacts], broke: str) -> str:
    if not told:
        return f"could not begin: {_line(broke)}"
    if len(told) == 1:
        return f"{told[0].title} {told[0].summary}"
    counts = Counter(day.state for day in told)
    return f"{len(told)} days: " + ", ".join(f"{counts[state]} {state}" for state in _WORST_FIRST if counts[state])


def where_lines(where: Where) -> list[str]:
    """Say where it is, and how people look at it."""
    life = f" (begun {where.life} times)" if where.life > 1 else ""
    logs = [f"the jobs' output: {where.logs}"] if where.logs else []
    return [*logs, *([f"on {where.place}{life}"] if where.place else []), *(f"look: {each}" for each in where.look)]


def failures_lines(day: DayFacts) -> Iterator[str]:
    """Say what failed first; of failures with one cause (a lost recording fails hundreds of tasks) the first."""
    alike: dict[tuple[str, str], list[TaskFailed]] = {}
    for each in day.failures:
        alike.setdefault((each.session, each.error), []).append(each)
    if alike:
        yield f"{day.title}, what failed first:"
    for first, *others in list(alike.values())[:_MOST_FAILURES]:
        yield f"  {first.session} {first.stage}{f' channel {first.channel}' if first.channel else ''}: {first.error}"
        if first.hint:
            yield f"    hint: {first.hint}"
        if first.log:
            yield f"    log: {first.log}"
        if others:
            yield f"    and {len(others)} more with this error"
    if rest := sum(map(len, list(alike.values())[_MOST_FAILURES:])):
        yield f"  and {rest} more with other errors"


def _next(told: Sequence[DayFacts], where: Where, *, broke: str) -> Iterator[str]:
    states = {day.state for day in told}
    yield from (day.refused.hint for day in told if day.refused and day.refused.hint)
    if "failed" in states:
        yield "mend what the hints name; the same command again makes what is missing, and nothing else"
    if states & {"interrupted", "broke off"} or broke:
        yield _AGAIN
    if "out of time" in states:
        yield f"the job is queued again and goes on; where Slurm does not do that, {_AGAIN}" if where.logs else _AGAIN


def _run_of(days: Sequence[DayFacts]) -> str:
    return max((day.started.run for day in days if day.started), default="")


def _line(text: str) -> str:
    return " ".join(text.split())

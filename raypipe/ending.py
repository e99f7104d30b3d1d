"""How runs of days ended, as it is found on the disk: good or not, in words, and which run it was."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.aws.state import Outcome
from raypipe.errors import Refused
from raypipe.events import RunEnded, TaskFailed
from raypipe.jobs import EVENTS, read_events
from raypipe.memory import in_gb
from raypipe.plan import Plan
from raypipe.recording import ranges
from raypipe.records import CLUSTER_FOLDER

_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]+")
_FAILURES = 5
RUNS_FOLDER = "runs"


@dataclass(frozen=True)
class Ending:
    """The end of the runs of days."""

    run: str
    """Their id: the same until one of the days is run again."""
    outcome: Outcome


def find_ending(plans: Sequence[Plan]) -> Ending:
    """Return how the days' runs ended; the plans are what a run with the same choice would do now.

    What counts is what is there: good is a day of which nothing is left to be done. Raises `Refused` if no day was ever run.
    """
    run = run_id(path.name for plan in plans for path in _runs(plan))
    if not run:
        raise Refused(
            f"{', '.join(plan.day.title for plan in plans)}: there was no run whose end this could be",
            hint="`raypipe run`, or `raypipe submit`, comes first; --output as it was given there",
        )
    return Ending(run, Outcome(all(map(is_good, plans)), "\n".join(map(day_text, plans))))


def run_id(names: Iterable[str]) -> str:
    """Return the newest of the names of runs, which begin with their time (UTC); nothing if there is none."""
    return max(filter(_RUN.fullmatch, names), default="")


def is_good(plan: Plan) -> bool:
    """Whether nothing is left to be done, and nothing keeps anything from being done."""
    return not plan.todo and not plan.problems


def day_text(plan: Plan) -> str:
    """Say how a day stands: how much of it is made, how its last run went, what failed, and where the logs are."""
    made, planned = len(plan.tasks) - len(plan.todo), len(plan.tasks)
    logs = sorted((plan.day.state / RUNS_FOLDER).glob(f"*/{EVENTS}"))
    events = read_events(logs[-1]) if logs else []
    lines = [f"{plan.day.title}: {made} of {planned} outputs are made; {_last_run(events)}"]
    failed = [event for event in events if isinstance(event, TaskFailed)] or _problems(plan)
    if not is_good(plan):
        lines += failures_lines(failed, str(plan.day.input))
    return "\n".join([*lines, *(f"  log: {log.parent}" for log in logs[-1:])])


def failures_lines(failures: Iterable[TaskFailed], day: str) -> list[str]:
    """Say what failed, those of one cause together, and of many causes the first."""
    causes: dict[tuple[str, str, str], list[TaskFailed]] = {}
    for each in failures:
        causes.setdefault((each.session, each.error, each.hint), []).append(each)
    lines = []
    for (session, error, hint), alike in list(causes.items())[:_FAILURES]:
        stages = ", ".join(dict.fromkeys(each.stage for each in alike))
        numbers = ranges(each.channel for each in alike if each.channel)
        lines.append(f"  FAILED {session} {stages}{f' of channels {numbers}' if numbers else ''}: {error}")
        lines += [f"    hint: {hint}"] if hint else []
        lines += [f"    log: {alike[0].log}"] if alike[0].log else []
    more = len(causes) - _FAILURES
    return lines + ([f"  and {more} more: `raypipe log {day}`"] if more > 0 else [])


def _runs(plan: Plan) -> list[Path]:
    return [path for folder in (RUNS_FOLDER, CLUSTER_FOLDER) for path in (plan.day.state / folder).glob("*T*-*")]


def _last_run(events: Sequence[object]) -> str:
    ends = [event for event in events if isinstance(event, RunEnded)]
    if not ends:
        return "its last run did not come to its end" if events else "it was never begun"
    end = ends[-1]
    failed = f", {end.failed} failed" if end.failed else ""
    return (
        f"its last run {end.outcome}: {end.done} outputs, {in_gb(end.bytes_written)} in {duration(end.seconds)}{failed}"
    )


def duration(seconds: float) -> str:
    """Write a length of time as people do: `42.1 s`, `12 min`, `3 h 05 min`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _problems(plan: Plan) -> list[TaskFailed]:
    return [
        TaskFailed(stage=stage, session=each.session, channel=each.channel, error=each.error.message, hint=each.error.hint, log="")
        for each in plan.problems
        for stage in each.stages
    ]

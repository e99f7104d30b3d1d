"""How runs of days ended, as it is found on the disk: good or not, in words, and which run it was."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.aws.state import Outcome
from raypipe.errors import Refused
from raypipe.events import Event, RunEnded, RunStarted, TaskFailed
from raypipe.jobs import EVENTS, read_events
from raypipe.notice import DayFacts, failures_lines
from raypipe.plan import Plan
from raypipe.recording import ranges
from raypipe.records import CLUSTER_FOLDER
from raypipe.status import status_of

_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]+")
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
    """Say how a day stands: how much of it is made, how its last run went, what failed, and where the log is."""
    logs = sorted((plan.day.state / RUNS_FOLDER).glob(f"*/{EVENTS}"))
    facts = _last_run(plan, read_events(logs[-1]) if logs else [])
    made, planned = len(plan.tasks) - len(plan.todo), len(plan.tasks)
    went = f"its last run {facts.summary}" if facts.started else "no run of it has begun"
    lines = [f"{plan.day.title}: {made} of {planned} outputs are made; {went}"]
    if not is_good(plan):
        lines += failures_lines(facts) or _not_asked_for(plan)
    return "\n".join([*lines, *(f"  log: {log}" for log in logs[-1:])])


def kept_damaged(plan: Plan) -> list[str]:
    """Name what counts as made since something is in its place (not raypipe's, or changed since) and is damaged."""
    return [
        f"{plan.day.title}: {row.session} {row.stage}{f' of channels {ranges(row.damaged)}' if any(row.damaged) else ''}:"
        " what is in its place is empty or no file of its kind"
        for row in status_of(plan).rows
        if row.damaged
    ]


def duration(seconds: float) -> str:
    """Write a length of time as people do: `42.1 s`, `12 min`, `3 h 05 min`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _runs(plan: Plan) -> list[Path]:
    return [path for folder in (RUNS_FOLDER, CLUSTER_FOLDER) for path in (plan.day.state / folder).glob("*T*-*")]


def _not_asked_for(plan: Plan) -> list[str]:
    """Say what is not made though nothing failed: most likely it was never wanted."""
    if not plan.todo:
        return []
    first = plan.todo[0].output.relative_to(plan.day.output)
    return [
        f"  {len(plan.todo)} are not made, such as {first}; if they were not wanted,"
        " give --only, --skip and --channels as the run had them"
    ]


def _last_run(plan: Plan, events: Sequence[Event]) -> DayFacts:
    """Return what its last run told of a day; what keeps outputs from being planned has failed in no run."""
    facts = DayFacts(plan.day.title)
    for event in events:
        match event:
            case RunStarted():
                facts.started = event
            case RunEnded():
                facts.ended = event
            case TaskFailed():
                facts.failures.append(event)
            case _:
                pass
    facts.failures = facts.failures or [
        TaskFailed(stage, problem.session, problem.channel, problem.error.message, problem.error.hint, "")
        for problem in plan.problems
        for stage in problem.stages
    ]
    return facts

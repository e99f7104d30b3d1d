"""Plans and states of a day as text for people and as JSON for programs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any

import msgspec

from raypipe.errors import Refused
from raypipe.events import TaskFailed
from raypipe.memory import Budget, in_gb
from raypipe.plan import Plan
from raypipe.plan_objects import LEVELS
from raypipe.recording import ranges
from raypipe.stages import BY_NAME
from raypipe.status import Row, Status
from raypipe.tasks import Task

_SHOWN_REASONS = 20
_BELOW = {"joined": 1, "day": 2}
"""Where stages of these levels stand in a table: below the sessions that they are made from."""


def plan_text(plan: Plan) -> str:
    """Return the plan as tables: what each stage has done and to do, why, and what it takes."""
    from rich.table import Table

    table = Table(title=plan.day.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("session", "stage"):
        table.add_column(heading)
    for heading in ("done", "to do", "kept", "to write"):
        table.add_column(heading, justify="right")
    for (session, stage), tasks in _by_stage(plan.tasks).items():
        states = Counter(task.state for task in tasks)
        to_write = sum(task.size for task in tasks if task.state == "todo")
        table.add_row(
            session,
            stage,
            *(str(states[state] or "") for state in ("done", "todo", "kept")),
            in_gb(to_write) if to_write else "",
        )
    text = StringIO()
    _print(text, table)
    reasons = _reasons(plan)
    if reasons:
        text.write("\nwhy\n")
        text.writelines(f"  {line}\n" for line in reasons[:_SHOWN_REASONS])
        if len(reasons) > _SHOWN_REASONS:
            text.write(f"  ... and {len(reasons) - _SHOWN_REASONS} more; all are in --json\n")
    text.writelines(f"\nnote  {note.session}: {note.text}" for note in plan.notes)
    for problem in plan.problems:
        text.write(f"\nPROBLEM  {problem.error}\n")
    text.write(f"\n{_summary(plan)}\n")
    return text.getvalue()


def plan_json(plan: Plan) -> str:
    """Return the plan as one JSON object."""
    budget, refused = _budget(plan)
    return _json(
        {
            "day": plan.day.title,
            "counts": {state: plan.counts[state] for state in ("done", "todo", "kept")},
            "bytes_to_write": plan.bytes_to_write,
            "memory": None if budget is None else {**asdict(budget), "total": budget.total},
            "refused": refused.message if plan.todo and refused else "",
            "tasks": [
                {
                    "stage": task.stage.name,
                    "session": task.session.name,
                    "channel": task.channel and task.channel.number,
                    "output": str(task.output),
                    "state": task.state,
                    "why": task.why,
                    "bytes": task.size,
                }
                for task in plan.tasks
            ],
            "notes": [f"{note.session}: {note.text}" for note in plan.notes],
            "problems": _problems(plan),
        }
    )


def refusal(plan: Plan) -> Refused | None:
    """Return why a run of the plan would be refused (memory, disk), or None."""
    return _budget(plan)[1] if plan.todo else None


def kept_text(plan: Plan) -> str:
    """Say how many files are kept for being somebody else's; nothing if there are none."""
    kept = {task.output: task for task in plan.replaceable}.values()  # a file that is written anew has two
    changed = sum(task.changed_since for task in kept)
    parts = [(changed, "changed by something else since"), (len(kept) - changed, "made by something else")]
    said = ", ".join(f"{number} {what}" for number, what in parts if number)
    return f"kept as found: {len(kept)} ({said}); --replace makes them again" if kept else ""


def failures_text(failures: Sequence[TaskFailed]) -> str:
    """Return what failed, why, and where the whole story is; stages and channels with one cause in one row."""
    from rich.table import Table

    table = Table(title="failed", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("session", "stage", "channels", "why", "log"):
        table.add_column(heading, overflow="fold")
    channels: dict[tuple[str, str, str], list[int]] = {}
    logs: dict[tuple[str, str], str] = {}
    for each in failures:
        found = channels.setdefault((each.session, each.error, each.stage), [])
        found += [each.channel] if each.channel else []
        logs.setdefault((each.session, each.error), each.log)
    for (session, error, numbers), stages in _sharing(channels).items():
        table.add_row(session, ", ".join(stages), numbers, error, logs[session, error])
    text = StringIO()
    _print(text, table)
    return text.getvalue()


def status_text(status: Status, plan: Plan) -> str:
    """Return what is there and what is missing as a table by array."""
    from rich.table import Table

    table = Table(title=status.day, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("session", "array", "stage"):
        table.add_column(heading)
    table.add_column("there", justify="right")
    for heading in ("missing", "damaged", "changed"):
        table.add_column(heading)
    for row in sorted(status.rows, key=lambda row: _BELOW.get(BY_NAME[row.stage].level, 0)):
        array = f"{row.array:02d}" if row.array else ""
        lists = (_places(row, numbers) for numbers in (row.missing, row.damaged, row.changed))
        table.add_row(row.session, array, row.stage, f"{len(row.there)} of {row.expected}", *lists)
    text = StringIO()
    _print(text, table)
    for problem in plan.problems:
        text.write(f"\nPROBLEM  {problem.error}\n")
    if any(row.damaged for row in status.rows):
        text.write("\ndamaged: empty, or not of its kind\n")
    if any(row.changed for row in status.rows):
        mended = "; `raypipe run --replace` makes them again" if plan.replaceable else ""
        text.write(f"\nchanged: not as raypipe made them{mended}\n")
    lab = " of ".join(map(str, status.lab_count))
    text.write(f"\nof the objects that the lab counts (5 + 6n for a day with one navigation session): {lab}\n")
    if status.sorted_channels[1]:
        text.write(f"firings.mda: {' of '.join(map(str, status.sorted_channels))}\n")
    text.write(f"{status.there} of {status.expected} outputs are there{', complete' if status.complete else ''}\n")
    return text.getvalue()


def status_json(status: Status, plan: Plan) -> str:
    """Return the state as one JSON object."""
    return _json(
        {
            "day": status.day,
            "there": status.there,
            "expected": status.expected,
            "complete": status.complete,
            "lab_count": status.lab_count,
            "sorted_channels": status.sorted_channels,
            "rows": [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in status.rows],
            "problems": _problems(plan),
        }
    )


def _summary(plan: Plan) -> str:
    if not plan.todo:
        text = "nothing to do" + ("" if not plan.problems else ", but see the problems above")
        return "\n".join(filter(None, (text, kept_text(plan))))
    budget, refused = _budget(plan)
    head = f"{len(plan.todo)} outputs to make, {in_gb(plan.bytes_to_write)} to write"
    kept = kept_text(plan)
    if kept:
        head = f"{head}\n{kept}"
    if budget is None:
        return f"{head}\nwould be REFUSED: {refused}"
    parts = [f"memory at most {in_gb(budget.total)}: "]
    if budget.filter_actors:
        parts.append(
            f"{budget.filter_actors} filter worker{'s' * (budget.filter_actors > 1)} of {in_gb(budget.filter_actor)},"
            f" a reader of {in_gb(budget.reader)}, {in_gb(budget.tiles)} of tiles of {budget.tile_seconds:g} s on their way, "
        )
    if budget.session_task:
        parts.append(f"up to {in_gb(budget.session_task)} for what is made of whole sessions, ")
    if budget.object_task:
        names = {task.stage.name: task.memory for task in plan.todo if task.stage.level in LEVELS}
        parts.append(f"up to {in_gb(budget.object_task)} for each {max(names, key=names.__getitem__)} at work, ")
    return f"{head}\n{''.join(parts)}and Ray"


def _budget(plan: Plan) -> tuple[Budget | None, Refused | None]:
    from raypipe.run import budget_of, refuse_full_disk

    try:
        budget = budget_of(plan)
        refuse_full_disk(plan)
    except Refused as error:
        return None, error
    return budget, None


def _places(row: Row, numbers: Sequence[int]) -> str:
    """Write channel numbers; of a session's own object only whether it is meant."""
    return ranges(numbers) if row.array else "yes" if numbers else ""


def _reasons(plan: Plan) -> list[str]:
    """Say why tasks are to be done or kept; stages and channels that share a reason together."""
    channels: dict[tuple[str, str, str], list[int]] = {}
    for task in sorted(plan.tasks, key=lambda task: _BELOW.get(task.stage.level, 0)):
        if task.state != "done":
            found = channels.setdefault((task.session.name, task.why, task.stage.name), [])
            found += [task.channel.number] if task.channel else []
    return [
        f"{session} {', '.join(names)}{_of_channels(numbers)}: {why}"
        for (session, why, numbers), names in _sharing(channels).items()
    ]


def _of_channels(numbers: str) -> str:
    return f" of channel{'s' * (not numbers.isdecimal())} {numbers}" if numbers else ""


def _sharing(channels: Mapping[tuple[str, str, str], Sequence[int]]) -> dict[tuple[str, str, str], list[str]]:
    """Sort (session, why, stage) and its channels into (session, why, channels) and the stages that share them."""
    stages: dict[tuple[str, str, str], list[str]] = {}
    for (session, why, stage), numbers in channels.items():
        stages.setdefault((session, why, ranges(numbers)), []).append(stage)
    return stages


def _by_stage(tasks: Iterable[Task]) -> dict[tuple[str, str], list[Task]]:
    table: dict[tuple[str, str], list[Task]] = {}
    for task in sorted(tasks, key=lambda task: (_BELOW.get(task.stage.level, 0), task.session.name)):
        table.setdefault((task.session.name, task.stage.name), []).append(task)
    return table


def _problems(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "session": each.session,
            "channel": each.channel,
            "stages": each.stages,
            "error": each.error.message,
            "hint": each.error.hint,
        }
        for each in plan.problems
    ]


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _print(text: StringIO, table: Any) -> None:
    from rich.console import Console

    Console(file=text, width=160, color_system=None).print(table)

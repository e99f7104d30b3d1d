"""What became of the outputs of a day so far: the ledger beside the files that are there, and what follows for a task.

A task is done when its file is the one that the ledger tells of and the task's key is unchanged: its inputs (name, size,
time of change), its parameters, the code of its stage, and the same of all that it is made from. A file that raypipe
did not make, or that somebody changed since, is kept and never overwritten unless one asks for it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from raypipe.day import Day
from raypipe.errors import InputMissing
from raypipe.ledger import Entry, read_ledger
from raypipe.tasks import Task

_OF = " of "
_WITHOUT = "without "
_SHOWN_CHANGES = 3


class History:
    """The ledger of a day, to judge tasks by."""

    def __init__(self, day: Day, *, replaced: Collection[str] = ()) -> None:
        self._day = day
        self.replaced = replaced
        """Stages whose outputs are made again where somebody else's are in their place."""
        self._entries: dict[str, list[Entry]] = {}
        self._last: dict[tuple[str, str, int | None], Entry] = {}
        for entry in read_ledger(day.state):
            self._entries.setdefault(entry.output, []).append(entry)
            self._last[entry.stage, entry.session, entry.channel] = entry

    def judged(self, task: Task) -> Task:
        """Decide what is to be done about a task; somebody else's file is only replaced if its stage is to be."""
        try:
            size = task.output.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return replace(task, why=self._why_missing(task))
        if entry := self.entry(task.output):
            difference = self._difference(task, entry)
            return (
                replace(task, why=difference)
                if difference
                else replace(task, state="done", why="up to date", size=size)
            )
        changed = self.knows(task.output)
        why = f"{'changed by something else since' if changed else 'made by something else'}; --replace makes it again"
        task = replace(task, state="kept", why=why, size=size, changed_since=changed)
        if task.stage.name in self.replaced and task.replaceable:
            return replace(task, state="todo", why="to be replaced")
        return task

    def entry(self, path: Path) -> Entry | None:
        """Return what the ledger tells of a file, if it is still the file that raypipe made."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        for entry in reversed(self._entries.get(self._relative(path), [])):
            if (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return entry
        return None

    def recorded_inputs(self, stage: str, outputs: Iterable[Path]) -> dict[str, str]:
        """Return what the ledger tells of the input files of outputs that are as made; nothing if they are not."""
        recorded: dict[str, str] = {}
        suffix = _OF + stage
        for output in outputs:
            entry = self.entry(output)
            if entry is None:
                return {}
            own = entry.stage == stage
            for name, value in entry.key.items():
                if name.startswith("input ") and (_OF not in name if own else name.endswith(suffix)):
                    recorded[name.removesuffix(suffix)] = value
        return recorded

    def knows(self, path: Path) -> bool:
        """Whether raypipe once made a file of that name."""
        return self._relative(path) in self._entries

    def last_key(self, stage: str, session: str, channel: int | None) -> Mapping[str, str]:
        """Return the key of what the stage made there last, whether or not that is still there."""
        last = self._last.get((stage, session, channel))
        return last.key if last else {}

    def was_rewritten(self, task: Task) -> bool:
        """Whether the task's file is as another stage wrote it anew."""
        if task.state != "done":
            return False
        entry = self.entry(task.output)
        return entry is not None and entry.stage != task.stage.name

    def _difference(self, task: Task, entry: Entry) -> str:
        if entry.stage == task.stage.name:
            return changes(entry.key, task.key)
        if task.stage.rewrites:
            return "not made yet"  # the file is as the first stage left it
        mine = derived(task.stage.name, task.key)
        suffix = _OF + task.stage.name
        return changes({name: v for name, v in entry.key.items() if name in mine or name.endswith(suffix)}, mine)

    def _why_missing(self, task: Task) -> str:
        if self.knows(task.output):
            return "was made, and is gone"
        earlier = self.last_key(task.stage.name, task.session.name, task.channel.number if task.channel else None)
        # Other parameters, other file name: the earlier file stays, as it does in PyHipp.
        return (changes(earlier, task.key) if earlier else "") or "not made yet"

    def _relative(self, path: Path) -> str:
        try:
            return path.relative_to(self._day.output).as_posix()
        except ValueError:  # a raw file may be in the recording's folder, of which this ledger tells nothing
            return str(path)


def changes(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Say which fields differ between two keys, old value and new; of many the first, and how many more."""
    said = [
        f"made {name}, which failed"
        if name.startswith(_WITHOUT)
        else f"{name}: {old.get(name, 'nothing')} -> {new.get(name, 'nothing')}"
        for name in sorted({**new, **old}, key=lambda name: not name.startswith(_WITHOUT))
        if old.get(name) != new.get(name)
    ]
    more = len(said) - _SHOWN_CHANGES
    return "; ".join(said[:_SHOWN_CHANGES]) + (f"; and {more} more" if more > 0 else "")


def without(lost: Iterable[str], made_from: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """Return what a key says of stages that failed: those `lost` to it, and those lost to what it is made from.

    No plan has such a field, so what was made without something is made again as soon as that can be had.
    """
    inherited = {
        name: value
        for stage, key in made_from
        for name, value in derived(stage, key).items()
        if name.startswith(_WITHOUT)
    }
    return inherited | {f"{_WITHOUT}{stage}": "failed" for stage in lost}


def derived(stage: str, key: Mapping[str, str]) -> dict[str, str]:
    """Return what the key of a stage adds to the keys of those that are made from it: `code` is `code of unity` there."""
    return {name if _OF in name else f"{name}{_OF}{stage}": value for name, value in key.items()}


def input_key(paths: Iterable[Path]) -> dict[str, str]:
    """Return what a key says of input files: by their kind the name, size and time of each. Raises `InputMissing`."""
    found: dict[str, list[str]] = {}
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise InputMissing(f"{path} is a link to nothing", hint="fetch the file that it stands for") from None
        text = f"{path.name}, {status.st_size} bytes, changed {status.st_mtime_ns}"
        found.setdefault(f"input {path.suffix}", []).append(text)
    return {name: " and ".join(texts) for name, texts in found.items()}

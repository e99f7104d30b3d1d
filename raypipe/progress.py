"""Shows a run: bars on a terminal, plain lines elsewhere, JSON lines on request. Each is a listener to events."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from raypipe.events import (
    Event,
    Listener,
    Note,
    PassProgressed,
    PassStarted,
    Phase,
    RunEnded,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkEnded,
    WorkStarted,
)
from raypipe.memory import in_gb

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def shown(kind: str, *, several: bool = False) -> Iterator[list[Listener]]:
    """Give the listeners for a kind of progress: auto, rich, plain, json or none; of `several` days each is named."""
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    if kind == "rich":
        with _bars(several) as listener:
            yield [_first_of_each(listener)]
    else:
        lines = _first_of_each(partial(plain, several=several))
        listeners: dict[str, list[Listener]] = {"plain": [lines], "json": [as_json], "none": []}
        yield listeners[kind]


@contextmanager
def simple_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function of (done, total) that moves one bar; without a terminal nothing is shown."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def redrawn(pictures: Iterable[Callable[[int | None], str]]) -> None:
    """Draw text again and again in its place on a terminal; elsewhere print what changes. Each is told the width."""
    from rich.live import Live
    from rich.text import Text

    if not sys.stdout.isatty():
        last = ""
        for picture in pictures:
            if (text := picture(None)) != last:
                sys.stdout.write(text if not last else f"\n{text}")
                sys.stdout.flush()
                last = text
        return
    with Live(auto_refresh=False) as live:
        for picture in pictures:
            live.update(Text(picture(live.console.width).rstrip()), refresh=True)


def as_json(event: Event) -> None:
    """Print an event as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


def plain(event: Event, *, several: bool = False) -> None:
    """Print an event as a line of text; of tiles and channels every tenth part, of the outputs none."""
    match event:
        case PassProgressed(tiles_done=done, tiles=total) | WorkEnded(ended=done, total=total):
            if done * 10 // total == (done - 1) * 10 // total:
                return
    if line := _line(event):
        sys.stderr.write(_of_day(event, line, several) + "\n")
        sys.stderr.flush()


def _first_of_each(listener: Listener) -> Listener:
    """Pass on only the first of the failures with one cause: a lost recording fails hundreds of tasks.

    What several days go through together (Ray's start) is passed on once, too.
    """
    seen: set[tuple[str, ...]] = set()

    def listen(event: Event) -> None:
        match event:
            case TaskFailed():
                cause: tuple[str, ...] = (event.day, event.session, event.error)
            case Phase():
                cause = (event.text,)
            case _:
                listener(event)
                return
        if cause not in seen:
            seen.add(cause)
            listener(event)

    return listen


def _of_day(event: Event, line: str, several: bool) -> str:
    """Name an event's day before its line, where there are several and the line is about one."""
    return line if not several or isinstance(event, RunStarted | Phase) else f"{event.day} {line}"


def _line(event: Event) -> str:
    """Say an event in a line; an empty one where it is not worth saying."""
    match event:
        case RunStarted():
            return (
                f"{event.day}: {event.tasks} outputs, {in_gb(event.bytes_to_write)} to write,"
                f" at most {in_gb(event.projected_memory)} of memory (run {event.run})"
            )
        case Phase():
            return event.text
        case PassStarted():
            return f"{event.session}: {event.channels} channels"
        case WorkStarted(channel=None):
            return f"{', '.join(event.sessions)}: {event.stage}"
        case WorkEnded(channel=int()):
            return f"{event.stage}: {event.ended} of {event.total}"
        case PassProgressed():
            return f"{event.session}: {event.seconds_of_recording:.0f} s of the recording filtered"
        case Note():
            return f"{event.session}: {event.text}"
        case TaskFailed():
            return f"FAILED {_name(event)}: {event.error}" + (f"\n  hint: {event.hint}" if event.hint else "")
        case RunEnded():
            return _summary(event)
        case _:
            return ""


def _summary(event: RunEnded) -> str:
    if event.outcome == "done" and not event.done:
        return "nothing to do"
    text = f"{event.outcome}: {event.done} outputs, {in_gb(event.bytes_written)} in {event.seconds:.1f} s"
    return text + (f", {event.failed} failed" if event.failed else "")


def _name(event: TaskFailed | TaskDone) -> str:
    return f"{event.session} {event.stage}" + (f" channel {event.channel}" if event.channel else "")


@contextmanager
def _bars(several: bool) -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.fields[count]:>18}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        yield _Bars(progress, several)


class _Bars:
    """A bar for each session's recording, for each other stage at work, and one for all files; of each of several days."""

    def __init__(self, progress: "Progress", several: bool = False) -> None:
        self.progress, self.several = progress, several
        self.bars: dict[tuple[str, str], TaskID] = {}
        """By day and name."""

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._say(event)
                self._bar(event, "files on the disk", event.tasks)
            case PassStarted():
                self._bar(event, f"{event.session} filtered", event.tiles)
            case PassProgressed():
                if (bar := self.bars.get((event.day, f"{event.session} filtered"))) is not None:
                    count = f"{event.seconds_of_recording:.0f} s of data"
                    self.progress.update(bar, completed=event.tiles_done, count=count)
            case WorkStarted(channel=None):
                self._bar(event, _line(event), None)
            case WorkStarted(channel=int()):
                self._bar(event, event.stage, None)  # how many there are is told with the first that ends
            case WorkEnded(channel=int()):
                bar = self._bar(event, event.stage, None)  # what could not begin has none yet
                count = f"{event.ended} of {event.total}"
                self.progress.update(bar, total=event.total, completed=event.ended, count=count)
            case WorkEnded():
                self._remove(event.day, f"{', '.join(event.sessions)}: {event.stage}")
            case TaskDone():
                if (bar := self.bars.get((event.day, "files on the disk"))) is not None:
                    self.progress.advance(bar)
                    task = self.progress.tasks[self.progress.task_ids.index(bar)]
                    self.progress.update(bar, count=f"{task.completed:.0f} of {task.total:.0f}")
            case TaskFailed():
                self._say(event, style="red")
            case Note():
                self._say(event, style="yellow")
            case RunEnded():
                self._say(event, style="green" if event.outcome == "done" else "red")
                if self.several:  # the bars are for the days that go on
                    for day, name in [each for each in self.bars if each[0] == event.day]:
                        self._remove(day, name)
            case _:
                pass

    def _bar(self, event: Event, name: str, total: int | None) -> "TaskID":
        place = event.day, name
        if place not in self.bars:
            self.bars[place] = self.progress.add_task(_of_day(event, name, self.several), total=total, count="")
        return self.bars[place]

    def _remove(self, day: str, name: str) -> None:
        if (day, name) in self.bars:  # what could not begin has none
            self.progress.remove_task(self.bars.pop((day, name)))

    def _say(self, event: Event, **style: Any) -> None:
        text = _of_day(event, _line(event), self.several)
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True, **style)

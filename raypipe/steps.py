"""Shows steps that take long: each as it begins, and what is waited for with how long it has been."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from raypipe.ending import duration
from raypipe.memory import in_gb

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_STILL_SECONDS, _OFTEN_SECONDS = 60.0, 5.0
_NUMBERS = re.compile(r"\d+")
_TENTHS = 10


class Steps:
    """Says steps a line each on the standard error, and goes on saying now and then what is waited for."""

    def __init__(self) -> None:
        self.waiting, self.since, self.said = "", 0.0, 0.0

    def say(self, text: str) -> None:
        """Say that something begins, or is so."""
        self.waiting = ""
        self._write(text)

    def wait(self, text: str) -> None:
        """Say what is waited for; to be called again and again while it is."""
        now = time.monotonic()
        if (what := _NUMBERS.sub("", text)) != self.waiting:  # how far it is changes, what it is does not
            self.waiting, self.since, self.said = what, now, now
            self._write(text)
        elif now - self.said > _STILL_SECONDS:
            self.said = now
            self._write(f"{text}, {duration(now - self.since)}")

    @contextmanager
    def reading(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Give a function that is told how many bytes more were read, of `total`."""
        done = 0

        def advance(size: int) -> None:
            nonlocal done
            before, done, now = done, done + size, time.monotonic()
            if total and before * _TENTHS // total != done * _TENTHS // total and now - self.said > _OFTEN_SECONDS:
                self.said = now
                self._write(f"{text}: {in_gb(done)} of {in_gb(total)}")

        self.say(text)
        self.said = time.monotonic()
        yield advance

    def _write(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class StepsOnTerminal(Steps):
    """Shows what is waited for as a line that turns, and what is read as a bar."""

    def __init__(self, progress: "Progress") -> None:
        super().__init__()
        self.progress = progress
        self.line: TaskID | None = None

    def say(self, text: str) -> None:
        """Say that something begins, or is so; what was waited for is over."""
        if self.line is not None:
            self.progress.remove_task(self.line)
            self.line = None
        super().say(text)

    def wait(self, text: str) -> None:
        """Show what is waited for."""
        if (what := _NUMBERS.sub("", text)) != self.waiting:
            self.say(text)
            self.waiting = what
            self.line = self.progress.add_task(text, total=None)
        elif self.line is not None:
            self.progress.update(self.line, description=text)

    @contextmanager
    def reading(self, text: str, total: int) -> Iterator[Callable[[int], None]]:
        """Give a function that is told how many bytes more were read, of `total`."""
        self.say(text)
        bar = self.progress.add_task(text, total=total)
        try:
            yield lambda size: self.progress.advance(bar, size)
        finally:
            self.progress.remove_task(bar)

    def _write(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def steps_shown() -> Iterator[Steps]:
    """Give what shows steps: bars on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield Steps()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield StepsOnTerminal(progress)

"""Ends a run as tidily on SIGTERM (scancel, systemd) as on Ctrl-C, and keeps SIGUSR1 (a walltime is near) for the driver.

Python drops an exception that a signal raises while an object is being freed, as references to Ray's objects are all the
time. So the wish is kept, and the driver asks for it in every step.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Whether the run was told to end."""

    def __init__(self) -> None:
        self._asked = False
        self.warnings = 0
        """How often a walltime was said to be near: once is no reason to drop what is under way."""

    @property
    def is_asked(self) -> bool:
        """Whether the run was told to end."""
        return self._asked

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Turn the signals, but SIGUSR1, into KeyboardInterrupt; on the main thread only, elsewhere whoever began the run ends it."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.listen()
        try:
            yield
        finally:
            if _on_main():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals; again after Ray's start, which takes them too."""
        if _on_main():
            for number in _SIGNALS:
                signal.signal(number, self._interrupt)

    def check(self) -> None:
        """Raise KeyboardInterrupt if the run was told to end."""
        if self._asked:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, _frame: Any) -> None:
        if number == signal.SIGUSR1:
            self.warnings += 1
            return
        self._asked = True
        raise KeyboardInterrupt


def _on_main() -> bool:
    return threading.current_thread() is threading.main_thread()

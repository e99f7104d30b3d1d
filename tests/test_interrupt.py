"""The wish to end a run is not lost, wherever Python was when it came."""

import os
import signal

import pytest

from raypipe.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wish_that_came_while_an_object_was_freed_is_kept(number: signal.Signals) -> None:
    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    interrupt = Interrupt()
    before = signal.getsignal(number)
    with interrupt.heeded():
        interrupt.check()
        Freed()  # Python prints what is raised in there, and goes on
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert signal.getsignal(number) == before


def test_a_signal_interrupts_at_once() -> None:
    with Interrupt().heeded(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)

"""Tells people when runs begin and end, beside them: whatever becomes of a message, the runs go on."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from types import TracebackType

from cluster.aws.channels import kind_of, named
from cluster.aws.notify import sns_client, tell
from cluster.errors import ClusterError, SettingsError
from raypipe.errors import RaypipeError, UsageError
from raypipe.events import Event, Phase, RunEnded, RunRefused, RunStarted, TaskFailed
from raypipe.notice import DayFacts, Notice, Where, begun, ended

_PATIENCE_SECONDS = 20.0
_SHORT_SECONDS = 5.0
"""Where a walltime is near, or somebody waits for the end."""


class Notifier:
    """A listener to the runs of one command, and around them: one message as they begin, and one as they have ended.

    Nothing is told of runs without anything to do. With `ends` false somebody else tells the end. Leaving waits until
    all is told, 20 s at most; what could not be told is a line on standard error.
    """

    def __init__(
        self, channels: Sequence[str], *, where: Where | None = None, region: str = "", ends: bool = True
    ) -> None:
        """Take the channels of `[notify]`; `region` is where parameters are. Raises `UsageError` for one that cannot be meant."""
        check_channels(channels)
        self._senders = [_Sender(channel, region) for channel in channels]
        self._where = where or Where()
        self.ends = ends
        self._days: dict[str, DayFacts] = {}
        self._is_begun = False
        self._name = _name_of_now()

    def __enter__(self) -> "Notifier":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._senders:
            return
        with _harmless():
            broke = _in_words(error)
            days = list(self._days.values())
            # What is wrong with the command line, whoever wrote it sees at once.
            if self.ends and not isinstance(error, UsageError) and (notice := ended(days, self._where, broke)):
                self._send(notice)
            is_hurried = bool(broke) or any(day.state in ("interrupted", "out of time") for day in days)
            until = time.monotonic() + (_SHORT_SECONDS if is_hurried else _PATIENCE_SECONDS)
            _finish(self._senders, until)

    def __call__(self, event: Event) -> None:
        """Take note of what matters; as the work begins, tell so."""
        if not self._senders:
            return
        with _harmless():
            match event:
                case RunStarted():
                    self._day(event).started = event
                case RunRefused():
                    self._day(event).refused = event
                case RunEnded():
                    self._day(event).ended = event
                case TaskFailed():
                    self._day(event).failures.append(event)
                case Phase() if not self._is_begun:  # by now all days have said what they will do
                    self._is_begun = True
                    self._send(begun(list(self._days.values()), self._where))
                case _:
                    pass

    def _day(self, event: Event) -> DayFacts:
        return self._days.setdefault(event.day, DayFacts(event.day))

    def _send(self, notice: Notice) -> None:
        for sender in self._senders:
            sender.send(notice if notice.run else replace(notice, run=self._name))


def check_channels(channels: Sequence[str]) -> None:
    """Raise `UsageError` for a channel that cannot be meant."""
    for number, channel in enumerate(channels, 1):
        try:
            kind_of(channel)
        except SettingsError as error:
            raise UsageError(
                f"[notify] channel {number} of {len(channels)}: {error.message}", hint=error.hint
            ) from None


def try_channels(channels: Sequence[str], text: str, *, region: str = "") -> tuple[list[str], list[str]]:
    """Send a text to all channels; return those that took it, by name, and what went wrong with others, a line each.

    Raises `UsageError` for a channel that cannot be meant, and if there is none.
    """
    if not channels:
        raise UsageError(
            "nobody is to be told: there is no channel",
            hint='write [notify] channels = ["..."] into the settings, and give them with --config',
        )
    check_channels(channels)
    notice = Notice(_name_of_now(), "begun", " ".join(text.split()), f"{text}\non {Where.here((), None, None).place}")
    troubles: list[str] = []
    senders = [_Sender(channel, region, troubles.append) for channel in channels]
    until = time.monotonic() + _PATIENCE_SECONDS
    for sender in senders:
        sender.send(notice)
    _finish(senders, until)
    return [named(sender.channel) for sender in senders if sender.is_well], troubles


def _complain(trouble: str) -> None:
    sys.stderr.write(f"raypipe: could not tell {trouble}\n")
    sys.stderr.flush()


@dataclass
class _Sender:
    """Tells one channel, in a thread of its own: another one that hangs does not hold it up."""

    channel: str
    region: str = ""
    complain: Callable[[str], None] = _complain
    is_well: bool = True
    _notices: "SimpleQueue[Notice | None]" = field(default_factory=SimpleQueue)
    _thread: Thread | None = None
    _is_given_up: bool = False

    def send(self, notice: Notice) -> None:
        """Have a message sent as soon as those before it are."""
        if self._thread is None:
            self._thread = Thread(target=self._tell_all, name="notify", daemon=True)
            self._thread.start()
        self._notices.put(notice)

    def finish(self, until: float) -> None:
        """Wait until all is sent, or it is so late."""
        if self._thread is None:
            return
        self._notices.put(None)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._is_given_up, self.is_well = True, False
            self.complain(f"{named(self.channel)}: it takes too long")

    def _tell_all(self) -> None:
        while notice := self._notices.get():
            troubles = tell(
                [self.channel],
                sns_client,
                run=notice.run,
                event=notice.event,
                subject=notice.subject,
                text=notice.text,
                region=self.region,
            )
            for trouble in troubles:
                self.is_well = False
                if not self._is_given_up:
                    self.complain(trouble)


def _finish(senders: Sequence[_Sender], until: float) -> None:
    try:
        for sender in senders:
            sender.finish(until)
    except KeyboardInterrupt:  # whoever presses it again wants no waiting
        for sender in senders:
            sender.finish(0.0)


@contextmanager
def _harmless() -> Iterator[None]:
    """Let no mistake in what is said about a run end it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (whatever it is)
        _complain(f"anybody: {type(error).__name__}: {error}")


def _in_words(error: BaseException | None) -> str:
    if error is None:
        return ""
    if isinstance(error, RaypipeError | ClusterError):
        return str(error)
    return "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def _name_of_now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S")

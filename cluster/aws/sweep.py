"""Goes on with all runs that are not at their end, from what AWS says of them alone; what a function is woken for.

A run begins here as a request on its volume, and from its snapshot on by that one's tags. Nobody waits for the answer:
whatever stops a run is told to people, once, and a fleet that somebody started meanwhile is left alone.
"""

import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cluster.aws.act import Tools, tag
from cluster.aws.actions import Done, End, Stop, Wait
from cluster.aws.finalize import OTHER, Finalizer
from cluster.aws.look import snapshots_of_runs, volumes_with_requests
from cluster.aws.notify import tell
from cluster.aws.settings import CREATED, OUTCOME, REQUEST, RUN, STACK, SWEPT, FinalizeSettings
from cluster.aws.state import Outcome
from cluster.errors import AwsRefused, AwsUnavailable, ClusterError

_OVER = "over"
"""Said of a run's snapshot when nothing is left to be done."""
_STUCK = "stuck-"
"""What begins a mark that people were told of what stops the run."""
_MARKS = 8
"""So many, as a tag takes no more."""
_LISTED = 60.0
"""Seconds in which EC2 lists what was written."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A run that may not be at its end."""

    on: str
    """The volume or snapshot that says so."""
    tags: dict[str, str]
    is_request: bool

    @property
    def run(self) -> str:
        """Its id."""
        return self.tags.get(RUN, "")

    @property
    def cluster(self) -> str:
        """The name of its cluster."""
        return self.tags.get(STACK, "").partition("/")[2].partition("/")[0]

    @property
    def swept(self) -> tuple[str, ...]:
        """What sweeps before this one wrote down: of which run, and what became of it."""
        run, *words = self.tags.get(SWEPT, "").split() or [""]
        return tuple(words) if run == self.run else ()


def sweep(
    tools: Tools, cluster: str = "", *, run: str = "", seconds: float = 0.0, every: float = 15.0
) -> list[tuple[str, End | ClusterError]]:
    """Go on with every run that is not at its end, or with those of one cluster (its name), as far as is possible now.

    For `seconds` in all it waits for compute nodes and stacks, looking every so many seconds; for a snapshot it does not
    wait. `run` is one that was handed over just now: EC2 may take a while to list what was written for it.
    Returns, for each run, where it stands: an error where something new stops it, a `Stop` where people know.
    """
    began = time.monotonic()
    until = began + seconds
    found = unfinished(tools, cluster)
    while run and all(one.run != run for one in found) and time.monotonic() + every < min(until, began + _LISTED):
        time.sleep(every)
        found = unfinished(tools, cluster)
    return [(one.run, _go_on(one, tools, until, every)) for one in found]


def unfinished(tools: Tools, cluster: str = "") -> list[Found]:
    """List the runs that may not be at their end, the oldest first; those of one cluster, or all."""
    requests = [Found(volume, tags, True) for volume, tags in volumes_with_requests(tools.aws)]
    snapshots = sorted(snapshots_of_runs(tools.aws), key=lambda one: one.order)
    alive, failed = (
        [Found(one.id, one.tags, False) for one in snapshots if (one.status == "error") is is_failed]
        for is_failed in (False, True)
    )
    # A run is its snapshot's; before there is one, the request's; and a failed snapshot's when that was settled.
    runs = {(one.tags.get(STACK), one.run): one for one in (*failed, *requests, *reversed(alive))}
    mine = (one for one in runs.values() if cluster in ("", one.cluster) and _OVER not in one.swept)
    return sorted(mine, key=lambda one: (one.tags.get(CREATED, ""), one.run))


def _go_on(found: Found, tools: Tools, until: float, every: float) -> End | ClusterError:
    try:
        finalizer = _finalizer(found, tools)
    except ClusterError as error:
        return _stuck(found, tools, error, is_told=False)
    try:
        with finalizer.holding():
            while True:
                end = finalizer.advance()
                if not isinstance(end, Wait) or end.hours or end == OTHER or time.monotonic() + every > until:
                    break
                time.sleep(every)
        if isinstance(end, Done) and not found.is_request:
            _mark(found, tools, _OVER)
        if isinstance(end, Wait) and end != OTHER and not found.is_request:  # a request's marks go with it
            _forget(found, tools)
    except AwsUnavailable as error:  # it passes
        return error
    except ClusterError as error:
        return _stuck(found, tools, error, is_told="unproven" in finalizer.told)
    return end


def _finalizer(found: Found, tools: Tools) -> Finalizer:
    settings = FinalizeSettings.from_tags(found.tags)
    if found.is_request:
        settings = replace(settings, volume=found.on)
    outcome = Outcome(found.tags.get(OUTCOME) == "good", found.tags.get(REQUEST, f"run {found.run}"))
    try:
        asked = datetime.fromisoformat(found.tags[CREATED]).timestamp()
    except (KeyError, ValueError):  # then every fleet that runs was started since
        asked = 0.0
    return Finalizer(settings, outcome, tools, asked=asked)


def _stuck(found: Found, tools: Tools, error: ClusterError, *, is_told: bool) -> ClusterError | Stop:
    """Tell people what stops a run, once for each cause."""
    mark = stuck_mark(error)
    if mark in found.swept:
        return Stop("refused", error.message, error.hint)
    if not is_told:
        subject, text = f"the end of run {found.run} is stuck", f"{error.message}.\n{error.hint}"
        for trouble in tell(
            tools.channels, tools.aws.topics_of, run=found.run, event="stuck", subject=subject, text=text
        ):
            log.warning("could not tell %s", trouble)
    if is_told and found.is_request:
        return error  # the finalizer took the request off the volume
    try:
        _mark(found, tools, mark)
    except (AwsRefused, AwsUnavailable) as trouble:
        log.warning("could not write down that people were told: %s", trouble.message)
    return error


def stuck_mark(error: ClusterError) -> str:
    """Return what is written down of an error that people were told of: the same for the same cause at another time.

    Words with a digit in them are left out: durations, ids, what AWS encodes anew each time.
    """
    words = " ".join([type(error).__name__, *(word for word in error.message.split() if not re.search(r"\d", word))])
    return f"{_STUCK}{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def _mark(found: Found, tools: Tools, word: str) -> None:
    _write(found, tools, [*found.swept, word])


def _forget(found: Found, tools: Tools) -> None:
    """Take off that the run was stuck: people are to be told if it is again."""
    if any(word.startswith(_STUCK) for word in found.swept):
        _write(found, tools, [word for word in found.swept if not word.startswith(_STUCK)])


def _write(found: Found, tools: Tools, words: Sequence[str]) -> None:
    tag(tools.aws, found.on, {SWEPT: " ".join([found.run, *words[-_MARKS:]])})

"""Ends a run: look, decide, do one thing, look again; until it is done, or nothing can be done now."""

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cluster.aws.act import Tools, act
from cluster.aws.actions import (
    Action,
    CreateSnapshot,
    DeleteCluster,
    DeleteSnapshot,
    Done,
    Effect,
    End,
    LookAtFleet,
    Settle,
    Stop,
    Tell,
    Verify,
    Wait,
    Wake,
)
from cluster.aws.config_store import Content, read_config
from cluster.aws.decide import next_action
from cluster.aws.foresee import Step, foresee, in_words
from cluster.aws.lease import Lease
from cluster.aws.look import function_there, others_of, snapshots_of, stack_of, volumes_of
from cluster.aws.repoint import named_in
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Outcome, State
from cluster.errors import (
    AwsRefused,
    AwsUnavailable,
    ClusterError,
    FinalizeLate,
    FinalizeRefused,
    FinalizeUnproven,
)

OTHER = Wait("another finalizer of this cluster")
_STOPS = {"refused": FinalizeRefused, "unproven": FinalizeUnproven, "late": FinalizeLate, "failed": AwsRefused}
log = logging.getLogger(__name__)

Verifier = Callable[[], Sequence[str]]
"""Reads a run's outputs again; returns what is wrong with them, a line each."""


def stopped(end: Stop) -> ClusterError:
    """Return the error that a stop is."""
    return _STOPS[end.why](end.message, hint=end.hint)


def _finds_nothing_wrong() -> Sequence[str]:
    return ()


@dataclass
class Finalizer:
    """One attempt to end a run. What it keeps is no position, only what it need not do twice."""

    settings: FinalizeSettings
    outcome: Outcome
    tools: Tools
    verify: Verifier = _finds_nothing_wrong
    heard: Callable[[Action, str], None] = lambda _action, _text: None
    """Is told of each action before it is done, and its words."""
    stays: bool = True
    """Whether this goes on while the compute nodes stop; on one of them it hands over to `tools.function` before that."""
    asked: float | None = None
    """When the end was asked for (seconds since 1970) that nobody waits for any more; None: it is asked for now."""
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    _complaints: tuple[str, ...] | None = None
    told: frozenset[str] = frozenset()
    """What it told people."""
    _let_go: frozenset[str] = frozenset()
    _tries: int = 0
    _hands_to: str | None = None
    _woken: bool = False
    _deleted: bool = False

    def finalize(self, *, wait_for_others: bool = True) -> Done:
        """Go on until it is done, waiting where nothing can be done now.

        Raises `FinalizeRefused` (nothing was changed), `FinalizeUnproven` (nothing was deleted), `FinalizeLate` (also
        where another finalizer is at work and `wait_for_others` is false), `AwsRefused`, `AwsUnavailable` (it was so for
        `patience_seconds`), `ConfigRefused`.
        """
        unavailable_since = None
        with self.holding():
            while True:
                try:
                    end = self.advance()
                    unavailable_since = None
                except AwsUnavailable as error:
                    unavailable_since = unavailable_since or time.monotonic()
                    if time.monotonic() - unavailable_since > self.settings.patience_seconds:
                        raise
                    log.warning("%s", error.message)
                else:
                    if isinstance(end, Done):
                        return end
                    if end == OTHER and not wait_for_others:
                        raise FinalizeLate(
                            f"another finalizer is at work on cluster {self.settings.name}",
                            hint="it ends the run, or stops within minutes; then finalize again",
                        )
                time.sleep(self.settings.poll_seconds)

    def advance(self) -> Wait | Done:
        """Go on as far as is possible now, and return what is waited for, or that it is done. Raises as `finalize`."""
        while True:
            asked = time.monotonic()
            if not self._lease().take():
                return OTHER
            state, config = self.look()
            action = self._decide(state)
            self.heard(action, in_words(action, self.settings))
            if isinstance(action, Stop):
                raise stopped(action)
            if isinstance(action, Wait | Done):
                return action
            # After a long look (the outputs were read again, AWS was slow) another may have taken the lease.
            if time.monotonic() - asked < self.settings.lease_seconds / 2:
                self._act(action, state, config)

    def plan(self) -> list[Step]:
        """Return what would be done, and change nothing; the outputs are not read, they are taken to hold."""
        state, _ = self.look()
        steps = foresee(state, self.settings)
        looks = any(isinstance(step.action, LookAtFleet) for step in steps)
        return foresee(self._with_fleet(state), self.settings) if looks else steps

    def look(self) -> tuple[State, Content]:
        """Return what there is, and the configuration. Raises `AwsRefused`, `AwsUnavailable`, `ConfigRefused`."""
        aws, settings = self.tools.aws, self.settings
        snapshots = snapshots_of(aws, settings)
        stack = stack_of(aws, settings, snapshots)
        config = read_config(settings.config, aws.s3)
        if not self.stays and self._hands_to is None:
            self._hands_to = function_there(aws, self.tools.function)
        volumes = volumes_of(aws, stack, settings.run)
        state = State(
            now=time.time(),
            outcome=self.outcome,
            attempt=f"{self.holder}/{self._tries}",
            stack=stack,
            volumes=volumes,
            snapshots=snapshots,
            config=named_in(config.text),
            complaints=self._complaints,
            told=self.told,
            let_go=self._let_go,
            others=others_of(aws, {one.volume for one in snapshots if one.good} - {one.id for one in volumes}),
            asked=self.asked,
            hands_to=self._hands_to,
            woken=self._woken,
            deleted=self._deleted,
        )
        return state, config

    def _decide(self, state: State) -> Effect | End:
        while True:
            action = self._next(state)
            if isinstance(action, Verify):
                self.heard(action, in_words(action, self.settings))
                self._complaints = tuple(self.verify())
                state = replace(state, complaints=self._complaints)
            elif isinstance(action, LookAtFleet):
                state = self._with_fleet(state)
            else:
                return action

    def _next(self, state: State) -> Action:
        return next_action(state, self.settings)

    def _with_fleet(self, state: State) -> State:
        return replace(state, fleet=self.tools.fleet_of(self.settings.name).look(), now=time.time())

    def _act(self, action: Effect, state: State, config: Content) -> None:
        try:
            act(action, self.tools, self.settings, state, config)
        except AwsUnavailable:
            if isinstance(action, CreateSnapshot):
                self._tries += 1  # it may have been made: the mark on the volume is now as if of somebody else
            raise
        except AwsRefused as error:
            if isinstance(action, Wake):
                self._take_back(state, config)
            if not isinstance(action, Tell):
                raise
            log.warning("could not write down that people were told: %s", error.message)
        if isinstance(action, Tell):
            self.told |= {action.event}
        self._woken |= isinstance(action, Wake)
        self._deleted |= isinstance(action, DeleteCluster)
        if isinstance(action, DeleteSnapshot):
            self._let_go |= {action.snapshot}

    def _take_back(self, state: State, config: Content) -> None:
        """Take off what was asked of a function that cannot be woken: people are told that the run was not ended."""
        for volume in state.volumes:
            if volume.request is not None and volume.request.run == self.settings.run:
                with contextlib.suppress(ClusterError):  # it grows too old to do harm
                    act(Settle(volume.id), self.tools, self.settings, state, config)

    def _lease(self) -> Lease:
        return Lease(self.tools.aws.dynamodb, self.settings.name, self.holder, self.settings.lease_seconds)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Let others have the lease at the end."""
        try:
            yield
        finally:
            with contextlib.suppress(ClusterError):  # it ends by itself
                self._lease().release()

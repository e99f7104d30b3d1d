"""The end of runs on AWS: are the days good, do their outputs hold, is nobody else at work; then the cluster may go.

What is done with snapshots and the cluster is `cluster.aws`'s; here is what it is told of the days, what people see of
it, and where it runs. By hand, and behind `run`, it goes on to the end. The last job of a run is on a node that goes when
the nodes are stopped, so it hands over to the function that `raypipe cluster arm` installed.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import slurm
from cluster.aws.act import Tools
from cluster.aws.actions import Action, Done, HandOver, Stop, StopFleet, Verify, Wait
from cluster.aws.arm import function_name
from cluster.aws.calls import connect
from cluster.aws.costs import costs
from cluster.aws.finalize import Finalizer, stopped
from cluster.aws.look import function_there, snapshots_of
from cluster.aws.notify import sns_client, tell
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Outcome, Snapshot
from cluster.errors import AwsRefused, ClusterError, FinalizeRefused, PclusterMissing
from cluster.names import FINISH, part_of
from cluster.node_type import node_type
from cluster.others import in_words, others
from cluster.pcluster import find_tool
from cluster.secret_files import secrets_on
from cluster.slurm import Job
from raypipe.api import plan_day
from raypipe.cluster_verbs import table_of
from raypipe.config import Config
from raypipe.ending import find_ending, kept_damaged
from raypipe.errors import UsageError
from raypipe.finalize_words import Ended, Foreseen, promised
from raypipe.lock import day_lock
from raypipe.memory import in_gb
from raypipe.notice import Where, where_lines
from raypipe.plan import Plan
from raypipe.records import run_folders
from raypipe.steps import Steps
from raypipe.submit import Choice
from raypipe.verify import bytes_of, verify_days

_NO_RUN = "00000000T000000-0000"
_TOLD = 5


@dataclass(frozen=True)
class Asked:
    """What is to be ended, and how far to go."""

    days: Sequence[Path]
    choice: Choice
    """Which outputs were wanted: what the run was told."""
    config: Config
    waits: bool = True
    """Whether to go on until it is over; without, as far as is possible now."""
    unattended: bool = False
    """Whether nobody may be there to read what goes wrong, so that people are told of it."""


def finalize(asked: Asked, steps: Steps) -> Ended:
    """End the runs of days, and their cluster as is wanted; safe to be called again after anything.

    Raises `UsageError`, `Refused`, and what `Finalizer.finalize` raises; as the last job of a run it also tells people so.
    """
    try:
        end = _End(asked, steps)
    except Exception as error:
        if asked.unattended:
            _tell(asked, _NO_RUN, "refused", _subject(asked, "could NOT be finalized"), str(error))
        raise
    try:
        with ExitStack() as held:
            for plan in end.plans:
                if plan.day.state.is_dir():  # nobody begins another run of a day whose volume is about to go
                    held.enter_context(day_lock(plan.day.state))
            return end.finalize()
    except _NotTheLast as found:
        return end.left_to_others(str(found))
    except Exception as error:
        if asked.unattended:
            end.tell("refused", _subject(asked, "could NOT be finalized"), str(error))
        raise


def foresee(asked: Asked) -> Foreseen:
    """Return what `finalize` would do if all outputs hold; changes nothing, reads no output. Raises as it does."""
    end = _End(asked, Steps())
    finalizer = end.finalizer()
    by = "" if finalizer.stays else finalizer.tools.function
    finalizer.stays = True  # whoever does it, it is the same
    state, content = finalizer.look()
    steps, config = finalizer.plan(), asked.config
    if isinstance(last := steps[-1].action, Stop):
        raise stopped(last)
    prices = table_of(config.cluster)
    return Foreseen(end.ending, steps, costs(steps, state, content.text, prices, region_of(config)), by)


def tell_end(asked: Asked) -> list[str]:
    """Only tell people how the runs ended; return what went wrong with that. Raises `UsageError`, `Refused`."""
    end = _End(asked, Steps())
    return end.tell("ended", _subject(asked, "done" if end.ending.outcome.good else "FAILED"), "")


class _NotTheLast(Exception):
    """Others are at work on this cluster, and whoever ends last ends it."""


class _End:
    """The end of the runs of days, as it is worked on."""

    def __init__(self, asked: Asked, steps: Steps) -> None:
        self.asked, self.steps = asked, steps
        self.plans = plans_of(asked)
        self.ending = find_ending(self.plans)
        self.notes: list[str] = []
        """What people should know beside."""
        self.complaints: list[str] = []

    def finalize(self) -> Ended:
        """Go through it."""
        self.notes = secrets_notes(Path(self.asked.config.cluster.mount))
        self.steps.say("\n".join([f"run {self.ending.run}", self.ending.outcome.text, *self.notes]))
        finalizer = self.finalizer()
        if not _last_job() and any(isinstance(step.action, StopFleet | HandOver) for step in finalizer.plan()):
            self._refuse_busy()  # at once, and not after the outputs were read
        if self.asked.waits or not finalizer.stays:
            end: Done | Wait = finalizer.finalize()
        else:
            with finalizer.holding():
                end = finalizer.advance()
        self._believe(snapshots_of(finalizer.tools.aws, finalizer.settings))
        return self._ended(end.text if isinstance(end, Done) else f"waits for {end.what}", over=isinstance(end, Done))

    def _believe(self, snapshots: Iterable[Snapshot]) -> None:
        """Take the outputs for what they were when the run's snapshot was made: they are read again before that only."""
        if any(one.run == self.ending.run and not one.good for one in snapshots) and not self.complaints:
            self.complaints = ["its snapshot was made of outputs that did not hold, or were not all there"]

    def finalizer(self) -> Finalizer:
        """Return who does it."""
        settings = settings_of(self.asked.config, self.ending.run)
        tools = _tools(self.asked.config)
        stays = _stays(settings, tools, waits=self.asked.waits)
        found = self.ending.outcome
        outcome = Outcome(found.good, "\n".join([found.text, *self.notes]))
        return Finalizer(settings, outcome, tools, verify=self._verify, heard=self._heard, stays=stays)

    def left_to_others(self, why: str) -> Ended:
        """Leave the cluster to whoever is still at work on it, and tell people."""
        note = f"{why}: the run that ends last finalizes"
        self.tell("kept", _subject(self.asked, "is done with, and the cluster is kept"), note)
        return self._ended(note)

    def tell(self, event: str, subject: str, text: str) -> list[str]:
        """Tell people, beside how the days ended; return what went wrong with that."""
        lines = [self.ending.outcome.text, *self.complaints, text]
        if _last_job() and (runs := run_folders(self.plans[0].day)):
            lines += where_lines(Where.here(self.asked.days, self.asked.choice.output, runs[-1]))
        return _tell(self.asked, self.ending.run, event, subject, "\n".join(filter(None, lines)))

    def _ended(self, text: str, *, over: bool = True) -> Ended:
        return Ended(self.ending.run, self.ending.outcome.good and not self.complaints, text, over)

    def _verify(self) -> list[str]:
        days = [plan.day for plan in self.plans]
        with self.steps.reading("reading the outputs again", bytes_of(days)) as advance:
            found = verify_days(days, advance=advance)
        self.complaints = [*found.wrong, *(line for plan in self.plans for line in kept_damaged(plan))]
        if not (found.outputs or found.unsummed) and any(plan.tasks for plan in self.plans):
            self.complaints.append(
                "the ledger tells of no outputs: what is there cannot be compared with what was written"
            )
        wrong = len(self.complaints)
        holds = f"{wrong} {'does' if wrong == 1 else 'do'} NOT hold" if wrong else "as they were written"
        self.steps.say(f"{found.outputs} outputs, {in_gb(found.bytes)}, read again: {holds}")
        return self.complaints

    def _heard(self, action: Action, text: str) -> None:
        if isinstance(action, Wait):
            self.steps.wait(text)
        elif isinstance(action, StopFleet | HandOver):
            self._refuse_busy()
            self.steps.say(text)
        elif not isinstance(action, Verify | Done | Stop):
            self.steps.say(text)

    def _refuse_busy(self) -> None:
        me = _last_job()
        if not (found := others(me)):
            if me:
                with suppress(ClusterError):  # a second life would do nothing that is done
                    slurm.end_with_node(me.number)  # its node goes now
            return
        here = f"{in_words(found)} {'is' if len(found) == 1 else 'are'} still here"
        if me:
            raise _NotTheLast(here)
        raise FinalizeRefused(
            f"{here}, and would end with the compute nodes",
            hint="`squeue` lists jobs; wait for them, or `scancel` them",
        )


def _subject(asked: Asked, what: str) -> str:
    first, *others = [path.expanduser().absolute() for path in asked.days]
    return f"{len(asked.days)} days: {what}" if others else f"{first.parent.name}/{first.name} {what}"


def _tell(asked: Asked, run: str, event: str, subject: str, text: str) -> list[str]:
    channels, region = asked.config.notify.channels, region_of(asked.config)
    return tell(channels, sns_client, run=run, event=event, subject=subject, text=text, region=region)


def secrets_notes(mount: Path) -> list[str]:
    """Say what on the data volume looks like a secret: whoever gets the snapshot has it. That stops nothing."""
    found = [str(path) for path in secrets_on(mount)]
    if not found:
        return []
    listed = ", ".join(found[:_TOLD]) + (f" and {len(found) - _TOLD} more" if len(found) > _TOLD else "")
    return [f"NOTE: what looks like a secret will be in the snapshot: {listed}"]


def plans_of(asked: Asked) -> list[Plan]:
    """Plan each day once, as a run with the same choice would. Raises `UsageError` and its kinds."""
    choice = asked.choice
    plans: dict[Path, Plan] = {}
    for path in asked.days:
        plan = plan_day(
            path, only=choice.only, skip=choice.skip, channels=choice.channels, output=choice.output,
            config=asked.config, replace=choice.replace,
        )  # fmt: skip
        plans.setdefault(plan.day.output, plan)
    return list(plans.values())


def settings_of(config: Config, run: str) -> FinalizeSettings:
    """Return the configuration's settings as those of the end of a run. Raises `UsageError`, `SettingsError`."""
    wanted = config.finalize
    if not wanted.cluster:
        raise UsageError(
            "which cluster is to be ended is not said",
            hint='write cluster = "NAME" into [finalize] of the settings; `raypipe finalize` takes --cluster NAME, too',
        )
    return FinalizeSettings(
        run=run,
        cluster=wanted.cluster,
        config=wanted.file,
        mount=config.cluster.mount,
        snapshots=wanted.snapshots,
        keep=wanted.keep,
        on_failure=wanted.on_failure,
        delete_cluster=wanted.delete_cluster,
        volume=wanted.volume,
        fleet_seconds=60 * wanted.fleet_minutes,
        snapshot_seconds=3600 * wanted.snapshot_hours,
        delete_seconds=60 * wanted.delete_minutes,
        settle_seconds=wanted.settle_seconds,
        patience_seconds=60 * wanted.patience_minutes,
        poll_seconds=wanted.poll_seconds,
    )


def region_of(config: Config) -> str:
    """Return the region of the cluster: its ARN's, or the configured one."""
    words = config.finalize.cluster.split(":")  # arn:aws:cloudformation:REGION:ACCOUNT:...
    return words[3] if len(words) > 5 else config.cluster.region


def _tools(config: Config) -> Tools:
    settings = settings_of(config, _NO_RUN)
    aws = connect(region_of(config))
    return Tools(aws, _pcluster(config), config.notify.channels, function=function_name(settings.name))


def _stays(settings: FinalizeSettings, tools: Tools, *, waits: bool) -> bool:
    """Whether this goes on to the end by itself.

    Not on a node that goes when the nodes are stopped. Nor on the head node, which goes with the cluster, or where
    nobody wants to wait, if there is a function that can.
    """
    if node_type() == "ComputeFleet":
        return False
    return (waits and not node_type()) or not settings.in_bucket or not _is_armed(tools)


def _is_armed(tools: Tools) -> bool:
    try:
        return bool(function_there(tools.aws, tools.function))
    except AwsRefused:  # who may not look may not wake it either
        return False


def _pcluster(config: Config) -> tuple[str, ...] | None:
    """Return ParallelCluster's command; None where there is none, and its table is written to instead."""
    try:
        return (str(find_tool(config.cluster.tool)),)
    except PclusterMissing:
        if config.cluster.tool:
            raise
        return None


def _last_job() -> Job | None:
    """Return the job that this is, if it is the last one of a run; None for a person, also in a job of their own."""
    number, name = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_JOB_NAME", "")
    if number.isdigit() and part_of(name, int(number)).role == FINISH:
        return Job(number, int(number), name, "RUNNING", "", "")
    return None


def check(config: Config, *, on_slurm: bool = False, anywhere: bool = False) -> list[str]:
    """See before a run that it can be ended, as far as that is known then; return in words what its end will be.

    `on_slurm`: the run's last job ends it, and on ParallelCluster hands over. Raises `UsageError`, and `ClusterError`
    and its kinds, which are only noted where there need be no AWS, `anywhere`.
    """
    settings = settings_of(config, _NO_RUN)
    notes = promised(settings)
    try:
        stays = not (on_slurm and node_type())
        end = Finalizer(settings, Outcome(True, ""), _tools(config), stays=stays).plan()[-1].action
        if isinstance(end, Stop):
            raise stopped(replace(end, message=end.message.replace(f"run {_NO_RUN}", "the run")))
    except ClusterError as error:
        if not anywhere:
            raise
        notes.append(f"as things stand it would be refused: {error}")
    return notes

"""The end of runs on AWS in words: what it will be, what would be done, how it went."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cluster.aws.actions import DeleteCluster, DeleteSnapshot
from cluster.aws.foresee import Step
from cluster.aws.settings import FinalizeSettings
from raypipe.ending import Ending


@dataclass(frozen=True)
class Foreseen:
    """What would be done."""

    ending: Ending
    steps: Sequence[Step]
    costs: Sequence[str]
    by: str = ""
    """The function that does it once the outputs are read; empty if who asked does all."""

    @property
    def deletions(self) -> list[str]:
        """What of it deletes something, in words."""
        return [step.text for step in self.steps if isinstance(step.action, DeleteCluster | DeleteSnapshot)]


@dataclass(frozen=True)
class Ended:
    """How it went."""

    run: str
    good: bool
    """Whether all outputs are there, as they were written."""
    text: str
    over: bool = True
    """Whether there is nothing left to be waited for."""

    @property
    def exit_code(self) -> int:
        """0 done, 1 the run was not good (and what is wanted then was done), 75 to be gone on with."""
        return 75 if not self.over else 0 if self.good else 1


def promised(settings: FinalizeSettings) -> list[str]:
    """Say what the end of a run will be, well and otherwise."""
    kept = "is deleted" if settings.delete_cluster else "is kept, without compute nodes"
    failed = {
        "nothing": "the cluster is left as it is",
        "stop-fleet": "the compute nodes are stopped, and no more",
        "snapshot-keep-cluster": "a snapshot is made, the compute nodes are stopped, and the cluster is kept",
        "teardown": "a snapshot is made, the configuration is pointed at it, and the cluster is deleted",
    }[settings.on_failure]
    return [
        f"if all goes well: {settings.mount} of {settings.name} is kept as a snapshot, {settings.config} is pointed at it,"
        f" the newest {settings.keep} snapshots of the set {settings.set_name} stay, and the cluster {kept}",
        f"if anything fails: {failed}",
    ]


def foreseen_text(foreseen: Foreseen) -> str:
    """Return what would be done as text."""
    ending = foreseen.ending
    holds = (
        "what would be done, if the outputs hold:"
        if ending.outcome.good
        else "the run was NOT good; what would be done:"
    )
    lines = [f"run {ending.run}", ending.outcome.text, "", holds]
    lines += [f"{number:3}  {step.text}" for number, step in enumerate(foreseen.steps, 1)]
    if foreseen.by:
        lines += [f"     ({foreseen.by} does it, once the outputs are read and people are told)"]
    if foreseen.costs:
        lines += ["", *foreseen.costs]
    return "\n".join([*lines, "", "nothing was changed"]) + "\n"


def foreseen_json(foreseen: Foreseen) -> str:
    """Return what would be done as JSON."""
    ending = foreseen.ending
    steps = [{"action": type(step.action).__name__, "text": step.text} for step in foreseen.steps]
    told = {"run": ending.run, "good": ending.outcome.good, "outcome": ending.outcome.text}
    return _json(told | {"steps": steps, "costs": foreseen.costs})


def ended_text(ended: Ended) -> str:
    """Return how it went in a line."""
    how = "done" if ended.good else "the run was NOT good"
    return f"{how if ended.over else 'not over'}: {ended.text}\n"


def ended_json(ended: Ended) -> str:
    """Return how it went as JSON."""
    return _json(_facts(ended))


def ended_line(ended: Ended) -> str:
    """Return how it went as a line of JSON, behind those of the run's events."""
    return msgspec.json.encode({"event": "Finalized", **_facts(ended)}).decode() + "\n"


def _facts(ended: Ended) -> dict[str, object]:
    return {"run": ended.run, "good": ended.good, "over": ended.over, "text": ended.text}


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"

"""What a finalizer can do next: one call each."""

from dataclasses import dataclass
from typing import Literal

Event = Literal["ended", "finalized", "unproven"]


@dataclass(frozen=True)
class Verify:
    """Read the run's outputs again."""


@dataclass(frozen=True)
class LookAtFleet:
    """Ask ParallelCluster what the compute nodes do."""


@dataclass(frozen=True)
class Tell:
    """Tell people, and write on the volume or the snapshot that they were told."""

    event: Event
    subject: str
    text: str
    on: str
    """The id of the volume or snapshot."""


@dataclass(frozen=True)
class StopFleet:
    """Ask ParallelCluster to stop the compute nodes."""

    status: str
    """What they did when that was decided."""


@dataclass(frozen=True)
class HandOver:
    """Write on the volume what is wanted, for a finalizer that runs elsewhere."""

    volume: str
    stack: str
    good: bool
    text: str
    spoiled: str = ""
    """Another run that failed; see `state.Request`."""


@dataclass(frozen=True)
class Wake:
    """Have the function begin that the end was handed over to."""

    function: str


@dataclass(frozen=True)
class Settle:
    """Take a request off the volume: nothing is left of it to be done."""

    volume: str


@dataclass(frozen=True)
class Want:
    """Write on the run's snapshot what is wanted by now, for whoever goes on from it."""

    snapshot: str


@dataclass(frozen=True)
class Intend:
    """Write on the volume that a snapshot of the run is about to be made."""

    volume: str


@dataclass(frozen=True)
class CreateSnapshot:
    """Make the snapshot of the run."""

    volume: str
    stack: str
    good: bool


@dataclass(frozen=True)
class Repoint:
    """Point the configuration at the snapshot."""

    snapshot: str


@dataclass(frozen=True)
class DeleteSnapshot:
    """Delete a snapshot."""

    snapshot: str
    why: str
    ours: bool = True
    """Whether a finalizer made it; the rights to delete others may be missing."""


@dataclass(frozen=True)
class DeleteCluster:
    """Delete the cluster's stack."""

    stack: str


@dataclass(frozen=True)
class Wait:
    """Nothing can be done now."""

    what: str
    hours: bool = False
    """Whether it takes hours, and AWS calls when it has come."""


@dataclass(frozen=True)
class Done:
    """Nothing is left to be done."""

    text: str


@dataclass(frozen=True)
class Stop:
    """Going on is not safe, or of no use."""

    why: Literal["refused", "unproven", "late", "failed"]
    message: str
    hint: str


Look = Verify | LookAtFleet
Effect = (
    Tell
    | StopFleet
    | HandOver
    | Wake
    | Settle
    | Want
    | Intend
    | CreateSnapshot
    | Repoint
    | DeleteSnapshot
    | DeleteCluster
)
End = Wait | Done | Stop
Action = Look | Effect | End

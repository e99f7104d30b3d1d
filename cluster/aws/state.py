"""What is found of a run, its cluster and its snapshots: values, made anew each time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cluster.aws.settings import CREATED, MANAGED, OUTCOME, PINNED, RUN, STACK, TOLD

GONE, DELETING, FAILED = "DELETE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED"
"""What becomes of a stack that is deleted."""


@dataclass(frozen=True)
class Outcome:
    """How the run ended, in the words of whoever ran it."""

    good: bool
    text: str
    """Counts, duration, what failed, where the log is."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of the set, or of the run."""

    id: str
    status: str
    """pending, completed, error (EC2 has more; only `completed` is safe)."""
    volume: str
    size_gib: int
    started: float
    """Seconds since 1970; EC2 gives it by the second, so the order is by `order`."""
    tags: dict[str, str]
    message: str = ""
    """Why it is in error."""
    progress: str = ""
    """How much of it is made, as EC2 writes it: 40%."""
    completed: float | None = None
    """When it was (seconds since 1970), where EC2 says so."""

    @property
    def run(self) -> str:
        """The run whose data it holds."""
        return self.tags.get(RUN, "")

    @property
    def stack(self) -> str:
        """The id of the stack that its volume belonged to."""
        return self.tags.get(STACK, "")

    @property
    def good(self) -> bool:
        """Whether it holds the data of a run that went well."""
        return self.tags.get(OUTCOME) == "good"

    @property
    def pinned(self) -> bool:
        """Whether somebody wants it kept for good."""
        return PINNED in self.tags

    @property
    def told(self) -> frozenset[str]:
        """The events that were told since it is there."""
        return frozenset(self.tags.get(TOLD, "").split())

    @property
    def created(self) -> float:
        """When it was asked for, to more than EC2's second (seconds since 1970)."""
        try:
            return datetime.fromisoformat(self.tags[CREATED]).timestamp()
        except (KeyError, ValueError):
            return self.started

    @property
    def order(self) -> tuple[str, str]:
        """What sorts snapshots from the oldest to the newest."""
        return self.tags.get(CREATED, ""), self.id


@dataclass(frozen=True)
class Intent:
    """That a snapshot of a run is about to be made; on the volume, since EC2 may not list a new snapshot at once."""

    run: str
    attempt: str
    time: float


@dataclass(frozen=True)
class Request:
    """That somebody handed the end of a run over; on the volume, until it is settled."""

    run: str
    good: bool
    asked: float
    """Seconds since 1970."""
    wanted: Mapping[str, str] = field(default_factory=dict)
    """See `FinalizeSettings.wanted`."""
    spoiled: str = ""
    """Another run on the volume that failed, where its end was asked for and this request was written over that."""

    @property
    def failed(self) -> str:
        """The run that failed, of the one that it is for and another; nothing if none did."""
        return self.spoiled or ("" if self.good else self.run)


@dataclass(frozen=True)
class Volume:
    """An EBS volume of the cluster's stack."""

    id: str
    name: str
    size_gib: int
    intent: Intent | None = None
    told: frozenset[str] = frozenset()
    """The events of this run that were told before there was a snapshot."""
    kind: str = "gp3"
    iops: int = 3000
    mb_per_s: int = 125
    request: Request | None = None


@dataclass(frozen=True)
class Stack:
    """The cluster's CloudFormation stack."""

    id: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    deletion_asked: float | None = None
    """Seconds since 1970."""

    @property
    def of_parallelcluster(self) -> bool:
        """Whether ParallelCluster made it."""
        return "parallelcluster:version" in self.tags

    @property
    def managed(self) -> bool:
        """Whether its configuration says that raypipe may end it."""
        return self.tags.get(MANAGED) == "true"

    @property
    def stands(self) -> bool:
        """Whether nobody has begun to delete it: then its machines and volumes are there, whatever else it does."""
        return self.status not in (GONE, DELETING, FAILED)

    @property
    def fine(self) -> bool:
        """Whether it is that of a cluster that can be used."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True)
class Fleet:
    """The compute nodes, as ParallelCluster sees them: RUNNING, STOP_REQUESTED, STOPPING, STOPPED, PROTECTED, ..."""

    status: str
    since: float | None
    """Seconds since 1970."""

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop, and may be so far."""
        return self.status in ("STOP_REQUESTED", "STOPPING", "STOPPED")

    def started_after(self, time: float) -> bool:
        """Whether somebody started the nodes since then."""
        starts = self.status in ("START_REQUESTED", "STARTING", "RUNNING")
        return starts and self.since is not None and self.since > time


@dataclass(frozen=True)
class Named:
    """What a configuration says of a mounted volume."""

    mount: str
    name: str
    snapshot: str
    """Nothing for a new volume."""
    fixed: str = ""
    """Why it cannot be pointed at another snapshot; nothing if it can."""


@dataclass(frozen=True)
class State:
    """All that a decision looks at."""

    now: float
    """Seconds since 1970."""
    outcome: Outcome
    attempt: str
    """This finalizer's own mark on an intent."""
    stack: Stack | None
    volumes: tuple[Volume, ...]
    snapshots: tuple[Snapshot, ...]
    """Ours: of the set, or of the run."""
    config: tuple[Named, ...]
    complaints: tuple[str, ...] | None = None
    """What is wrong with the run's outputs; None before they were looked at."""
    fleet: Fleet | None = None
    """None before it was looked at."""
    told: frozenset[str] = frozenset()
    """Events that this finalizer tried to tell."""
    let_go: frozenset[str] = frozenset()
    """Snapshots that this finalizer asked EC2 to delete: it may list them for a while, or not let them go."""
    others: tuple[Snapshot, ...] = ()
    """Not ours, of those volumes of the set's snapshots that are not the cluster's."""
    asked: float | None = None
    """When a run was handed over that nobody is waiting for (seconds since 1970); None: somebody asks for its end now."""
    hands_to: str | None = None
    """The function that the end is handed over to, empty if there is none; None: it is not handed over."""
    woken: bool = False
    """Whether this finalizer woke the function."""
    deleted: bool = False
    """Whether this finalizer asked for the stack's deletion."""

    def of_run(self, run: str) -> list[Snapshot]:
        """Return the run's snapshots that did not fail, the best first."""
        named = {entry.snapshot for entry in self.config}
        mine = [snapshot for snapshot in self.snapshots if snapshot.run == run and snapshot.status != "error"]
        return sorted(mine, key=lambda one: (one.id not in named, one.status != "completed", one.order))

    def failed_of(self, run: str) -> list[Snapshot]:
        """Return the run's snapshots that ended in an error."""
        return [snapshot for snapshot in self.snapshots if snapshot.run == run and snapshot.status == "error"]

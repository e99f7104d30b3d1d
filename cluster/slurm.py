"""Slurm's commands: what they are given, and what they say, as values.

Each function runs one command; the parsers under them are pure. Written for Slurm 22.05 and later: fields are asked for
by name and separated by `|`, which has been stable for longer than the JSON.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from cluster.errors import SlurmMissing, SlurmRefused, SlurmSilent
from cluster.secrecy import without_credentials

_TIMEOUT_SECONDS = 60.0
_LEFT_OUT = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_")
_KEPT = ("SLURM_CONF",)
_OVER = frozenset(
    (
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    )
)
_JOB_FIELDS = "%A|%F|%K|%T|%N|%r|%x|%j"
_NODE_FIELDS = "%D|%c|%m|%T|%f|%l"
_UNKNOWN_JOB = re.compile(r"Invalid job id", re.IGNORECASE)
_GONE = re.compile(r"Invalid job id|already complet", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """A job, or an element of an array, as `squeue` knows it."""

    id: str
    """What Slurm's commands take: `1234`, or `1234_5` for an element."""
    number: int
    """The `%j` in the name of its output file; elements that have not begun share their array's."""
    name: str
    state: str
    """Slurm's word, such as PENDING, CONFIGURING, RUNNING."""
    reason: str
    """Why it waits, or why it ended; `None` is Slurm's word for nothing."""
    nodes: str
    excluded: str = ""
    """Nodes that it must not have, in Slurm's way of writing them."""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in _OVER

    @property
    def waits(self) -> bool:
        """Whether it has no node yet."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")

    @property
    def in_hold_after_requeue(self) -> bool:
        """Whether it is held for the two minutes that Slurm gives a node after which it queues a job again."""
        return self.state == "PENDING" and self.reason == "BeginTime"


@dataclass(frozen=True)
class NodeSize:
    """Nodes of a partition that are alike."""

    count: int
    cpus: int
    memory_mb: int | None
    """None where Slurm was not told."""
    state: str
    """Such as `idle`; `idle~` is one that is off until a job wants it."""
    features: frozenset[str]
    walltime: str
    """The partition's limit."""


@dataclass(frozen=True)
class Node:
    """One node, as `scontrol` knows it."""

    name: str
    address: str
    cpus: int
    memory_mb: int | None
    state: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a job ended, or stands."""

    state: str
    reason: str
    exit_code: int
    signal: int
    restarts: int


def submit(text: str) -> int:
    """Give `sbatch` a job's text, and return the job's id. Raises `SlurmRefused` with Slurm's words."""
    return parse_submitted(run("sbatch", "--parsable", text=text))


def jobs(ids: Iterable[int | str] = (), *, names: Iterable[str] = (), ended: bool = False) -> list[Job]:
    """List the jobs of these ids or these names (all of this user's, without either), elements of arrays one by one.

    Those that ended are listed too, with `ended`, for as long as Slurm remembers them (`MinJobAge`, five minutes).
    """
    by_id, by_name = ",".join(map(str, ids)), ",".join(names)
    which = [f"--jobs={by_id}"] if by_id else [f"--name={by_name}", "--me"] if by_name else ["--me"]
    states = ["--states=all"] if ended else []
    try:
        return parse_jobs(run("squeue", "--noheader", "--array", f"--format={_JOB_FIELDS}", *which, *states))
    except SlurmRefused as error:
        if _UNKNOWN_JOB.search(error.message):  # which Slurm says of one job that it has forgotten
            return []
        raise


def lift_hold(job: str) -> None:
    """Let a job that was queued again begin now, and not after Slurm's two minutes."""
    run("scontrol", "update", f"JobId={job}", "StartTime=now")


def exclude(job: str, nodes: str) -> None:
    """Have a job that waits begin on none of these nodes, written in Slurm's way; on any, if there are none."""
    run("scontrol", "update", f"JobId={job}", f"ExcNodeList={nodes}")


def time_left(job: int) -> float:
    """Return how many seconds Slurm gives a running job yet; infinity where it has no limit, or Slurm knows of none."""
    return parse_time_left(run("squeue", "--noheader", "--format=%L", f"--jobs={_own(job)}"))


def requeue(job: int) -> None:
    """End a job and queue it again under the same id."""
    run("scontrol", "requeue", _own(job))


def write_off(job: int, name: str) -> None:
    """Give a job another name, and have it end with its node instead of being queued again."""
    run("scontrol", "update", f"JobId={_own(job)}", f"JobName={name}", "Requeue=0")


def _own(job: int) -> str:
    """Name a job that may be this very one: the number of an array's last element means all of the array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{which}_ID") for which in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task and os.environ.get("SLURM_JOB_ID") == str(job) else str(job)


def cancel(ids: Sequence[int | str]) -> None:
    """Cancel jobs; those that ended before are no error."""
    if not ids:
        return
    try:
        run("scancel", *map(str, ids))
    except SlurmRefused as error:
        if not _GONE.search(error.message):
            raise


def terminate_step(job: int, step: int) -> None:
    """Send SIGTERM to all tasks of a job's step; one that ended before is no error."""
    try:
        run("scancel", "--signal=TERM", f"{job}.{step}")
    except SlurmRefused as error:
        if not _GONE.search(error.message):
            raise


def outcome(job: int | str) -> Outcome | None:
    """Return how a job ended or stands; None if Slurm has forgotten it."""
    try:
        return parse_outcome(run("scontrol", "--oneliner", "show", "job", str(job)))
    except SlurmRefused as error:
        if _UNKNOWN_JOB.search(error.message):
            return None
        raise


def partition(name: str | None) -> list[NodeSize]:
    """List the kinds of nodes of a partition (the cluster's default one, without a name)."""
    which = [f"--partition={name}"] if name else []
    found = parse_sizes(run("sinfo", "--noheader", "--exact", f"--format=%P|{_NODE_FIELDS}", *which), name)
    if not found:
        raise SlurmRefused(
            f"Slurm has no partition '{name}'" if name else "Slurm has no default partition",
            hint="`sinfo` lists the partitions; name one in the settings of the cluster",
        )
    return found


def node(name: str) -> Node:
    """Return what Slurm knows of a node."""
    return parse_node(run("scontrol", "--oneliner", "show", "node", name))


def out_of_service() -> dict[str, str]:
    """Return why nodes are down or drained, by their names in Slurm's short form."""
    lines = run("sinfo", "--noheader", "--list-reasons", "--format=%N|%E").splitlines()
    return {nodes: reason.strip() for nodes, _, reason in (line.partition("|") for line in lines)}


def run(program: str, *arguments: str, text: str | None = None) -> str:
    """Run one of Slurm's commands and return what it printed. Raises `SlurmMissing`, `SlurmRefused`, `SlurmSilent`."""
    command = " ".join([program, *arguments])
    try:
        done = subprocess.run(
            [program, *arguments],
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            env=outside_job(os.environ),
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmMissing(
            f"there is no {program} on this machine",
            hint="this is for a cluster's head node, login node or compute node; `raypipe run` needs no cluster",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmSilent(
            f"`{command}` did not answer in {_TIMEOUT_SECONDS:.0f} s",
            hint="`scontrol ping` says whether slurmctld lives",
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SlurmRefused(f"`{command}` failed: {said}", hint=hint_for(said))
    return done.stdout


def outside_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what a job has in it, which would turn into options of the next job, and without secrets.

    `sbatch` gives all that it sees to the job, and Slurm keeps that in files of its own.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith(_LEFT_OUT) or name in _KEPT}
    return without_credentials(kept) | {"LC_ALL": "C"}


def hint_for(said: str) -> str:
    """Return what mends a refusal, from Slurm's words."""
    for words, hint in _HINTS.items():
        if words.lower() in said.lower():
            return hint
    return "`raypipe submit --print` shows the job; `sinfo` and `scontrol show partition` show what the cluster has"


def parse_submitted(output: str) -> int:
    """Read `sbatch --parsable`: `1234`, or `1234;cluster`."""
    # A site's own submit filter may print lines of its own before it.
    number = output.strip().splitlines()[-1].partition(";")[0] if output.strip() else ""
    if not number.isdigit():
        raise SlurmRefused(
            f"sbatch printed '{output.strip()}' where a job id was expected", hint="look at `squeue --me`"
        )
    return int(number)


def parse_jobs(output: str) -> list[Job]:
    """Read `squeue --array --format=...`."""
    found = []
    for line in output.splitlines():
        number, array, element, state, nodes, reason, excluded, name = line.split("|", 7)
        found.append(
            Job(
                id=f"{array}_{element}" if element.isdigit() else number,
                number=int(number),
                name=name,
                state=state,
                reason=reason,
                nodes=nodes,
                excluded="" if excluded == "(null)" else excluded,
            )
        )
    return found


def parse_time_left(output: str) -> float:
    """Read `squeue --format=%L`: `1-02:03:04`, `2:03:04`, `3:04`; words where there is no limit."""
    days, _, clock = output.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in (*parts, days or "0")):
        return inf
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(int(days or 0) * 86_400 + seconds)


def parse_outcome(output: str) -> Outcome:
    """Read `scontrol --oneliner show job`."""
    facts = _facts(output)
    code, _, signal = facts["ExitCode"].partition(":")
    return Outcome(facts["JobState"], facts["Reason"], int(code), int(signal), int(facts.get("Restarts", 0)))


def parse_node(output: str) -> Node:
    """Read `scontrol --oneliner show node`."""
    facts = _facts(output)
    return Node(
        name=facts["NodeName"],
        address=facts.get("NodeAddr", facts["NodeName"]),
        cpus=int(facts["CPUTot"]),
        memory_mb=_memory(facts["RealMemory"]),
        state=facts["State"],
        reason=facts.get("Reason", ""),
    )


def parse_sizes(output: str, partition: str | None) -> list[NodeSize]:
    """Read `sinfo --exact --format=...` for a partition, or for the default one, which `sinfo` marks with `*`."""
    sizes = []
    for line in output.splitlines():
        name, count, cpus, memory, state, features, walltime = line.split("|")
        if name.removesuffix("*") == partition or (partition is None and name.endswith("*")):
            words = frozenset(features.split(",")) - {"(null)"}
            sizes.append(NodeSize(int(count), int(cpus), _memory(memory), state, words, walltime))
    return sizes


def _facts(output: str) -> dict[str, str]:
    # Values have spaces in them (Reason=Not responding [slurm@...]), names never have.
    parts = re.split(r"(?:^|\s)([A-Z][A-Za-z/:]*)=", output.splitlines()[0])
    return {name: value.strip() for name, value in reversed(list(zip(parts[1::2], parts[2::2], strict=True)))}


def _memory(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) > 1 else None  # 1 stands for "nobody said"


_HINTS = {
    "Invalid partition": "`sinfo` lists the partitions; name one in the settings of the cluster",
    "Invalid feature": "`sinfo -o '%N %f'` lists the features; mend the constraint in the settings of the cluster",
    "Invalid account": "`sacctmgr show associations user=$USER` lists the accounts; mend it in the settings",
    "Requested time limit": "`sinfo -o '%P %l'` shows the limits of the partitions; ask for less walltime",
    "time limit exceeds": "`sinfo -o '%P %l'` shows the limits of the partitions; ask for less walltime",
    "Memory specification": "no node has so much; `sinfo -o '%N %m'` shows what they have",
    "node configuration is not available": "no node has so many CPUs or so much memory; `sinfo -o '%N %c %m'` shows them",
    "More processors requested": "no node has so many CPUs; `sinfo -o '%N %c'` shows what they have",
    "Unable to contact slurm controller": "`scontrol ping` says whether slurmctld lives",
    "Unable to contact": "`scontrol ping` says whether slurmctld lives",
    "Socket timed out": "the controller is busy; try again in a minute",
    "Access/permission denied": "the job is somebody else's",
    "Invalid job id": "Slurm does not know this job any more; `raypipe jobs` lists those that it knows",
    "Job violates accounting": "the account's limits are full; `sacctmgr show qos` or the administrator knows them",
    "unrecognized option": "an extra directive is unknown to this Slurm; take it out of the settings",
}

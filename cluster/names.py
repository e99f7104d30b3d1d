"""What the jobs and files of a run are called, so that they can be found again from nothing but a job id."""

from dataclasses import dataclass

WORKERS, TAKEN, FINISH, FINALIZE = "worker", "taken", "finish", "finalize"
"""Taken is a worker whose node is about to be taken away: it stays there to the end, and counts for nothing.

Finalize is the name of a finish that may end the whole cluster, so that others of its kind know it.
"""
_ROLES = {WORKERS: WORKERS, TAKEN: TAKEN, FINISH: FINISH, FINALIZE: FINISH}


@dataclass(frozen=True)
class Part:
    """What a job is in a run."""

    run: str
    """The name of the run, which is its head's."""
    role: str
    """`head`, `worker`, `taken` or `finish`."""
    head: int
    """The id of the head's job."""


def job_name(run: str, role: str, head: int | str) -> str:
    """Return the name of a job beside the head: `pipe2-worker-1234`."""
    return f"{run}-{role}-{head}"


def part_of(name: str, number: int) -> Part:
    """Return what the job of this name and id is; one that is called like no other role is a head."""
    run, _, head = name.rpartition("-")
    for word, role in _ROLES.items():
        if run.endswith(f"-{word}") and head.isdigit():
            return Part(run.removesuffix(f"-{word}"), role, int(head))
    return Part(name, "head", number)


def finalizes(name: str) -> bool:
    """Whether a job of this name may end the cluster."""
    run, _, head = name.rpartition("-")
    return run.endswith(f"-{FINALIZE}") and head.isdigit()

"""How long works and passes take, about, before anything has been measured: what `deadline` goes by."""

from math import ceil

from raypipe.channels import Pass
from raypipe.deadline import Life, Unit
from raypipe.work import Work

_LEAST_SECONDS = 2.0
_SECONDS_PER_SAMPLE = 0.2 / (60 * 30_000)
_FILTER_SECONDS_PER_SAMPLE = 2e-8
"""Of one channel, of one filter actor: measured, and twice that for disks that are slower."""


def work_seconds(work: Work) -> float:
    """Return how long a work takes, about: sorting measured 0.1 CPU-seconds a channel and minute, all else less."""
    samples = max(task.channel.n_samples if task.channel else 0 for task in work.tasks)
    return _LEAST_SECONDS + samples * _SECONDS_PER_SAMPLE


def unit_of_work(work: Work) -> Unit:
    """Return the work as a unit."""
    where = f"{', '.join(work.sessions)}: " + work.stage
    return Unit(
        where + (f" of channel {work.channel}" if work.channel else ""),
        work.stage,
        work_seconds(work),
        str(work.tasks[0].output),
    )


def unit_of_groups(each: Pass, groups: int, actors: int) -> Unit:
    """Return a pass through so many of its groups as a unit; those of one filter actor go one after the other."""
    key = next((str(output.path) for group in each.groups for lane in group.lanes for output in lane.outputs), "")
    lanes = max(len(group.lanes) for group in each.groups)
    seconds = ceil(groups / max(1, actors)) * lanes * each.source.n_samples * _FILTER_SECONDS_PER_SAMPLE
    return Unit(f"{each.session}: filtering of {lanes} channels", "filters", _LEAST_SECONDS + seconds, key)


def fitting_groups(life: Life, each: Pass, groups: int, actors: int) -> int:
    """Return through how many of `groups` groups a pass can go and end in time."""
    return max((n for n in range(groups + 1) if not n or life.can_begin(unit_of_groups(each, n, actors))), default=0)

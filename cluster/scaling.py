"""How many workers the work is worth, and what that means for those that there are; touches nothing.

A task of which a node runs k at once takes 1/k of a node: the harmonic bin packing of Lee and Lee (J. ACM 32, 1985), by the
scarcer of CPUs and memory. Unlike packings that sort, it never wants fewer nodes because there is more to do, and for
tasks that are alike it is exact.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, fsum

from cluster.jobs import JobSettings
from cluster.share import MB, Share, divide
from cluster.slurm import NodeSize

BOOT_SECONDS = 120.0
"""From asking for a cloud node to the first task on it, about."""
_ANY_MEMORY = 1 << 62
_CPU_PARTS = 10_000
"""Ray counts CPUs in ten-thousandths."""


@dataclass(frozen=True)
class Need:
    """What a task that is not done yet, begun or not, asks for."""

    cpus: float
    memory: int
    """Bytes."""
    seconds: float
    """How long it has yet to run, about."""


@dataclass(frozen=True)
class Workers:
    """The workers of a run at one moment."""

    waiting: tuple[str, ...]
    """Jobs without a node, in the order of the queue."""
    placed: int
    """Jobs that have a node, which may be booting."""
    joined: int
    """Nodes of Ray beside the head's that take tasks."""
    leaving: int
    """Nodes of Ray that are being drained."""
    idle: tuple[str, ...]
    """Of those that take tasks, the ones (Ray's ids) that have had none for long, longest first."""

    @property
    def there(self) -> int:
        """How many take tasks, or will when they have booted or their turn has come."""
        return self.joined + max(0, self.placed - self.joined - self.leaving) + len(self.waiting)


@dataclass(frozen=True)
class Step:
    """What is to be done about them."""

    ask: int = 0
    """So many more."""
    cancel: tuple[str, ...] = ()
    """Jobs that wait."""
    drain: tuple[str, ...] = ()
    """Nodes of Ray."""


def part_of_node(need: Need, node: Share) -> Fraction | None:
    """Return which part of a node a task takes: 1/k if a node runs k such tasks at once, None if it cannot run one."""
    at_once = []
    if need.cpus > 0:
        at_once.append(node.cpus * _CPU_PARTS // max(1, round(need.cpus * _CPU_PARTS)))
    if need.memory > 0:
        at_once.append(node.memory // need.memory)
    if not at_once:
        return Fraction(0)
    return Fraction(1, min(at_once)) if min(at_once) else None


def too_big(needs: Iterable[Need], node: Share) -> list[Need]:
    """List the needs that no worker can meet, however many there are."""
    return [need for need in needs if part_of_node(need, node) is None]


def useful_workers(
    needs: Iterable[Need], node: Share, least: int, most: int, *, boot_seconds: float = BOOT_SECONDS
) -> int:
    """Return how many workers of the size of `node` are useful for all that is not done, between `least` and `most`.

    No more than run everything at once; and a worker is useful only if those without it would need longer than
    `boot_seconds`, taking the work to be divisible: otherwise all is done before it joins. Needs that are too big for a
    worker do not count, nor does what the head's node can do.
    """
    alike = Counter[Fraction]()
    work = []
    for need in needs:
        if (part := part_of_node(need, node)) is not None:
            alike[part] += 1
            work.append(float(part) * need.seconds)
    useful = ceil(sum((part * count for part, count in alike.items()), Fraction(0)))
    if boot_seconds > 0:
        useful = min(useful, ceil(fsum(work) / boot_seconds))
    return min(most, max(least, useful))


def next_step(workers: Workers, wanted: int, most: int) -> Step:
    """Return what brings `workers` to `wanted`: more asked for, or first the waiting and then the idle let go.

    `most` limits all jobs, those of nodes that are about to leave too. A node that has booted is never let go before it
    was idle for long: it is paid for already.
    """
    if (missing := wanted - workers.there) > 0:
        return Step(ask=max(0, min(missing, most - workers.placed - len(workers.waiting))))
    kept = max(0, len(workers.waiting) + missing)
    return Step(cancel=workers.waiting[kept:], drain=workers.idle[: max(0, workers.joined - wanted)])


def worker_share(settings: JobSettings, sizes: Sequence[NodeSize]) -> Share:
    """Return what Ray will have for tasks on a worker that Slurm starts with `settings` in a partition of these `sizes`.

    Of several sizes, the smallest that `settings` can mean. Where Slurm was not told how much memory nodes have, only their
    CPUs limit. Raises `NodeTooSmall`.
    """
    meant = [size for size in sizes if _can_be_meant(settings, size)] or sizes
    size = min(meant, key=lambda size: (size.memory_mb or 0, size.cpus))
    cpus = size.cpus if settings.exclusive else min(settings.cpus or 1, size.cpus)
    megabytes = settings.memory_mb or (size.memory_mb or 0) * cpus // size.cpus
    if not megabytes:
        return Share(cpus, _ANY_MEMORY, 0)
    return divide(megabytes * MB, cpus=cpus, shared_memory=megabytes * MB // 2)  # half is what Linux gives /dev/shm


def _can_be_meant(settings: JobSettings, size: NodeSize) -> bool:
    return (
        # an expression of features, such as a|b, is Slurm's to understand
        (settings.constraint is None or not settings.constraint.isidentifier() or settings.constraint in size.features)
        and size.cpus >= (settings.cpus or 1)
        and (size.memory_mb is None or size.memory_mb >= (settings.memory_mb or 0))
    )

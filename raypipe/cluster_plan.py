"""Which instances for what there is to do, and how many: how long it takes on them, for how much, and what limits it.

Arithmetic on a demand (see `raypipe.cluster_demand`) and the table of instances. A phase (the pass through the recordings, then what is made of its objects) takes as long as the
slowest of what it needs: CPUs, the head node's network and EBS link, the volume, workers' networks.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cluster.errors import NodeTooSmall
from cluster.instances import HOURS_OF_A_MONTH, Instance, InstanceTable
from cluster.pcluster_check import room_for_tasks
from raypipe.cluster_demand import Bytes, Demand
from raypipe.config import Cluster, Config
from raypipe.errors import Refused, TooLittleMemory
from raypipe.memory import RAY_SERVICES, in_gb, make_budget

THREADS_OF_A_CORE = 1.3
"""Work of two busy threads of a core, as a part of one alone; assumed, not measured."""
BOOT_SECONDS = 300.0
"""From a job that waits to its node's being there; assumed."""
IDLE_SECONDS = 300.0
"""A node without work is paid for as long as this (`ScaledownIdletime`)."""
CLUSTER_SECONDS = 1200.0
"""The head node and the volume are there for longer than a run: the cluster is made and deleted; assumed."""
ROOT_GB = 40
"""Each machine has such a disk."""


@dataclass(frozen=True)
class Machines:
    """A cluster to choose: a head node, a node for the driver, and `count` workers of one type."""

    head: str
    worker: str
    count: int


@dataclass(frozen=True)
class Estimate:
    """What a day takes on these machines."""

    machines: Machines
    seconds: float
    """From the first job's submission to the end of the last task."""
    dollars: float
    limit: str
    """What takes most of the time: a key of `raypipe.cluster_report.LIMITS`."""
    limit_share: float
    """The part of the time that it takes."""

    @property
    def hours(self) -> float:
        """The same time in hours."""
        return self.seconds / 3600


class Estimator:
    """Estimates of what a demand takes on machines of a table, in a region."""

    def __init__(self, demand: Demand, config: Config, table: InstanceTable) -> None:
        self.demand, self.config, self.table = demand, config, table
        self.settings: Cluster = config.cluster
        self.prices = table.prices(self.settings.region)
        self.driver = table.instance(self.settings.driver_instance, self.settings.region)
        self._passes: dict[tuple[str, int], tuple[float, bool] | None] = {}

    def estimate(self, machines: Machines) -> Estimate | None:
        """Return what the demand takes on `machines`; None if its tasks do not fit them. Raises `SettingsError`."""
        if self.demand.is_nothing:
            return Estimate(machines, 0.0, 0.0, "booting", 0.0)
        phases = self._phases(machines)
        if phases is None:
            return None
        spent: dict[str, float] = {"booting": BOOT_SECONDS}
        for phase in phases:
            limit = max(phase, key=phase.__getitem__)
            spent[limit] = spent.get(limit, 0.0) + phase[limit]
        seconds = sum(spent.values())
        limit = max(spent, key=spent.__getitem__)
        return Estimate(machines, seconds, self.dollars(machines, seconds), limit, spent[limit] / seconds)

    def dollars(self, machines: Machines, seconds: float) -> float:
        """Return what these machines and the data volume cost for a run of so many seconds, USD."""
        region, settings = self.settings.region, self.settings
        worker = self.table.instance(machines.worker, region).usd_per_hour[region]
        head = self.table.instance(machines.head, region).usd_per_hour[region]
        root = self.prices.volume_month(ROOT_GB) / HOURS_OF_A_MONTH
        volume = self.volume_month / HOURS_OF_A_MONTH
        workers = machines.count * (worker * (settings.spot_fraction if settings.spot else 1.0) + root)
        driver = self.driver.usd_per_hour[region] + root
        of_run = (workers + driver) * (seconds + IDLE_SECONDS)
        return (of_run + (head + root + volume) * (seconds + CLUSTER_SECONDS)) / 3600

    @property
    def volume_month(self) -> float:
        """What the data volume costs a month, USD."""
        settings = self.settings
        return self.prices.volume_month(settings.volume_gb, iops=settings.iops, mb_per_s=settings.throughput)

    @property
    def snapshot_month(self) -> float:
        """What the day's data and objects cost a month in a snapshot, USD."""
        return self.day_bytes / 1e9 * self.prices.snapshot_gb

    @property
    def day_bytes(self) -> int:
        """Bytes of the recordings and of all that is made of them."""
        return self.demand.passes.read + self.demand.passes.written + self.demand.objects.written

    def candidates(self) -> list[Estimate]:
        """Return what the demand takes on every cluster within the quota that holds its tasks, in no order."""
        return list(filter(None, map(self.estimate, self._within_quota())))

    @cached_property
    def largest_room(self) -> int:
        """The bytes that the largest worker of the region has for tasks."""
        return max((room for name in self.worker_types if (room := self._room(name))), default=0)

    @property
    def worker_types(self) -> list[str]:
        """The types that workers may be: those whose CPUs are theirs all the time."""
        return [name for name in self._sold if not re.match(r"t\d", name)]

    @property
    def _sold(self) -> list[str]:
        region = self.settings.region
        return [name for name, instance in self.table.instances.items() if region in instance.usd_per_hour]

    def _within_quota(self) -> Iterator[Machines]:
        for head in self._sold:
            left = self.settings.vcpu_quota - self.table.instances[head].vcpus - self.driver.vcpus
            for worker in self.worker_types:
                if self._fits_image(head, worker):
                    for count in range(1, left // self.table.instances[worker].vcpus + 1):
                        yield Machines(head, worker, count)

    def _fits_image(self, *names: str) -> bool:
        return {self.table.instances[name].architecture for name in names} == {self.driver.architecture}

    def _room(self, worker: str) -> int | None:
        try:
            return room_for_tasks(self.table.instances[worker])
        except NodeTooSmall:
            return None

    def _phases(self, machines: Machines) -> list[dict[str, float]] | None:
        """Return the seconds of the two phases by what might limit them; None if tasks do not fit the workers."""
        demand, region = self.demand, self.settings.region
        worker = self.table.instance(machines.worker, region)
        head = self.table.instance(machines.head, region)
        room = self._room(machines.worker)
        if room is None or max(demand.session_task, demand.object_task) > room:
            return None
        filtering = self._filtering(machines, worker, room)
        if filtering is None:
            return None
        cpus = machines.count * worker.vcpus
        speed = _speed(worker)
        at_once = machines.count * _slots(worker, room, demand.object_task)
        first = self._moving(demand.passes, head, worker, machines.count)
        # One reader takes the whole recording in, and hands it on.
        first["worker network"] = max(first["worker network"], demand.passes.read / worker.network)
        seconds, all_groups = filtering
        first["groups" if all_groups else "compute"] = seconds / speed + demand.session_seconds / (cpus * speed)
        first["one task"] = demand.longest_session / speed
        second = self._moving(demand.objects, head, worker, machines.count)
        second["compute" if at_once == cpus else "memory"] = demand.object_seconds / (at_once * speed)
        second["one task"] = demand.longest_object / speed
        return [first, second]

    def _moving(self, moved: Bytes, head: Instance, worker: Instance, count: int) -> dict[str, float]:
        volume = self.settings.throughput * 1e6
        both_ways = moved.read + moved.written
        one_way = max(moved.read, moved.written)  # a network carries as much each way at once
        return {
            "head network": one_way / head.network,
            "head EBS": both_ways / head.ebs,
            "volume": both_ways / volume,
            "worker network": one_way / (count * worker.network),
        }

    def _filtering(self, machines: Machines, worker: Instance, room: int) -> tuple[float, bool] | None:
        """Return the seconds of the passes on CPUs that were measured, and whether each group has a CPU of its own.

        None if not even one filter worker has room.
        """
        at = (machines.worker, machines.count)
        if at not in self._passes:
            self._passes[at] = self._passes_on(machines.count, worker, room)
        return self._passes[at]

    def _passes_on(self, count: int, worker: Instance, room: int) -> tuple[float, bool] | None:
        demand = self.demand
        if not demand.loads:
            return 0.0, False
        try:
            budget = make_budget(
                demand.loads, self.config, cpus=count * worker.vcpus, memory=RAY_SERVICES + count * room,
                session_task=demand.session_task, object_task=demand.object_task,
            )  # fmt: skip
        except TooLittleMemory:
            return None
        on_a_node = min(worker.vcpus, room // budget.filter_actor)
        if not on_a_node or budget.reader > room:
            return None
        actors = min(budget.filter_actors, count * on_a_node)
        seconds = sum(
            seconds / load.groups * math.ceil(load.groups / actors)
            for load, seconds in zip(demand.loads, demand.pass_seconds, strict=True)
        )
        return seconds, actors >= max(load.groups for load in demand.loads)


def worth_it(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Return those than which none is cheaper (by a cent) and faster (by a minute), from the cheapest to the fastest."""
    front: list[Estimate] = []
    for each in sorted(estimates, key=lambda each: (round(each.dollars, 2), each.seconds)):
        if not front or round(each.seconds / 60) < round(front[-1].seconds / 60):
            front.append(each)
    return front


def refuse_none(estimator: Estimator, estimates: Sequence[Estimate]) -> None:
    """Raise `TooLittleMemory` or `Refused` if there is no cluster that could do it."""
    if estimates:
        return
    demand, quota = estimator.demand, estimator.settings.vcpu_quota
    largest = max(demand.session_task, demand.object_task)
    if largest > estimator.largest_room:
        raise TooLittleMemory(
            f"the largest task needs {in_gb(largest)}, and the largest worker of the table of instances has "
            f"{in_gb(estimator.largest_room)} for tasks",
            hint="add larger types to a copy of the table, and name it in [cluster] prices",
        )
    raise Refused(
        f"no cluster of {quota} vCPUs holds a head node, a driver and a worker that is large enough",
        hint="raise vcpu_quota in [cluster] (AWS's Service Quotas raises the real one)",
    )


def _speed(worker: Instance) -> float:
    """Return what a vCPU does when all are busy, as a part of a CPU that was measured."""
    return min(1.0, THREADS_OF_A_CORE * worker.cores / worker.vcpus) if worker.vcpus > worker.cores else 1.0


def _slots(worker: Instance, room: int, task: int) -> int:
    return min(worker.vcpus, room // task) if task else worker.vcpus

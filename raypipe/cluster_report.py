"""What a day would take on a cluster, as text for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from typing import Any

import msgspec

from raypipe.cluster_demand import MEASURED, demand_of
from raypipe.cluster_plan import (
    BOOT_SECONDS,
    CLUSTER_SECONDS,
    THREADS_OF_A_CORE,
    Estimate,
    Estimator,
    Machines,
    refuse_none,
    worth_it,
)
from raypipe.cluster_verbs import table_of
from raypipe.memory import in_gb
from raypipe.plan import Plan

_SHOWN = 8

LIMITS = {
    "compute": "the workers' CPUs",
    "groups": "filtering: no more CPUs at once than groups of 8 channels",
    "memory": "the workers' memory, which leaves CPUs without work",
    "one task": "the longest task",
    "head network": "the head node's network, through which all data go",
    "head EBS": "the head node's link to EBS",
    "volume": "the volume's throughput",
    "worker network": "the workers' network",
    "booting": "booting nodes",
}


def cluster_plan(plan: Plan, *, json: bool = False) -> str:
    """Return what a plan takes on a cluster on AWS, as text or JSON. Raises `Refused` and its kinds, `SettingsError`."""
    estimator = Estimator(demand_of(plan), plan.config, table_of(plan.config.cluster))
    told = cluster_plan_json if json else cluster_plan_text
    return told(estimator, plan.day.title)


def cluster_plan_json(estimator: Estimator, title: str) -> str:
    """Return the estimates as one JSON object. Raises `Refused` and its kinds."""
    found = _found(estimator)
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "day": title,
                "region": estimator.settings.region,
                "prices": {"date": estimator.table.date, "source": estimator.table.source},
                "rates": MEASURED,
                "demand": {key: value for key, value in asdict(estimator.demand).items() if key != "loads"},
                "choices": [{"name": name, **_facts(each)} for name, each in found],
                "usd_a_month": {"volume": estimator.volume_month, "snapshot": estimator.snapshot_month},
                "notes": notes_of(estimator),
                "unchecked_prices": _unchecked(estimator, found),
            }
        ),
        indent=2,
    ).decode() + "\n"  # fmt: skip


def cluster_plan_text(estimator: Estimator, title: str) -> str:
    """Return the estimates as a table, with what they rest on. Raises `Refused` and its kinds."""
    from rich.console import Console
    from rich.table import Table

    demand, settings = estimator.demand, estimator.settings
    if demand.is_nothing:
        return f"{title}: nothing to do, so no cluster and no cost\n"
    found = _found(estimator)
    table = Table(title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("", "head node", "workers"):
        table.add_column(heading)
    for heading in ("hours", "USD"):
        table.add_column(heading, justify="right")
    table.add_column("most of the time goes to")
    for name, each in found:
        machines = each.machines
        limit = f"{LIMITS[each.limit]} ({each.limit_share:.0%})"
        workers = f"{machines.count} x {machines.worker}"
        table.add_row(name, machines.head, workers, f"{each.hours:.2f}", f"{each.dollars:.2f}", limit)
    cpu_hours = (sum(demand.pass_seconds) + demand.session_seconds + demand.object_seconds) / 3600
    text = StringIO()
    text.write(
        f"{title} in {settings.region}, {settings.vcpu_quota} vCPUs at most: {cpu_hours:.2f} CPU-hours,"
        f" {in_gb(demand.passes.read + demand.objects.read)} to read,"
        f" {in_gb(demand.passes.written + demand.objects.written)} to write\n\n"
    )
    Console(file=text, width=160, color_system=None).print(table)
    spot = f" Spot workers are reckoned at {settings.spot_fraction:g} of their price." if settings.spot else ""
    text.write(
        f"\nWith a driver's {settings.driver_instance}, the volume while the cluster is there, {BOOT_SECONDS / 60:.0f} min"
        f" to boot workers and {CLUSTER_SECONDS / 60:.0f} min to make and delete the cluster.{spot}\n"
        f"Kept for a month: the volume ({settings.volume_gb} GB, {settings.throughput} MB/s) {estimator.volume_month:.2f} USD,"
        f" this day in a snapshot {estimator.snapshot_month:.2f} USD.\n"
        f"Prices of {estimator.table.date} ({estimator.table.source}).\n"
    )
    if unchecked := _unchecked(estimator, found):
        text.write(f"Nobody has looked up the prices of {', '.join(unchecked)}, nor those of storage.\n")
    text.write(
        f"Rates: {MEASURED}; a vCPU at {THREADS_OF_A_CORE / 2:g} of that. Expect the right order, not the minute.\n"
    )
    return text.getvalue()


def _found(estimator: Estimator) -> list[tuple[str, Estimate]]:
    """Return the estimates to show, with what each is: those worth it, and the configured cluster."""
    if estimator.demand.is_nothing:
        return []
    candidates = estimator.candidates()
    refuse_none(estimator, candidates)
    rows = [("", each) for each in _thinned(worth_it(candidates))]
    rows[0] = ("cheapest", rows[0][1])
    rows[-1] = ("fastest" if len(rows) > 1 else "cheapest and fastest", rows[-1][1])
    settings = estimator.settings
    configured = estimator.estimate(Machines(settings.head_instance, settings.workers[0], settings.max_nodes))
    return rows + ([("as configured", configured)] if configured else [])


def _thinned(front: Sequence[Estimate]) -> list[Estimate]:
    if len(front) <= _SHOWN:
        return list(front)
    return [front[round(place * (len(front) - 1) / (_SHOWN - 1))] for place in range(_SHOWN)]


def _facts(each: Estimate) -> dict[str, Any]:
    return {
        **asdict(each.machines),
        "hours": round(each.hours, 4),
        "usd": round(each.dollars, 4),
        "limit": each.limit,
        "limit_share": round(each.limit_share, 3),
    }


def notes_of(estimator: Estimator) -> list[str]:
    """Say what would go wrong on the cluster of the settings."""
    settings, needed = estimator.settings, estimator.day_bytes
    if settings.snapshot or needed <= settings.volume_gb << 30:
        return []
    return [f"The volume is too small: the day and its objects take {in_gb(needed)}; set [cluster] volume_gb higher."]


def _unchecked(estimator: Estimator, found: Sequence[tuple[str, Estimate]]) -> list[str]:
    names = {name for _, each in found for name in (each.machines.head, each.machines.worker)}
    return sorted(estimator.table.unchecked(names | {estimator.settings.driver_instance}))

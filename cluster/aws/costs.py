"""What a finalizer's plan costs and saves, in USD, by the table of prices: a function of what is found, for `--dry-run`."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from cluster.aws.actions import CreateSnapshot, DeleteCluster, DeleteSnapshot, StopFleet
from cluster.aws.foresee import Step
from cluster.aws.state import GONE, State, Volume
from cluster.errors import SettingsError
from cluster.instances import HOURS_OF_A_MONTH, InstanceTable

_HEAD_DISK_GB = 40
"""What ParallelCluster gives a head node whose configuration says nothing of its disk."""


def costs(steps: Sequence[Step], state: State, config: bytes, table: InstanceTable, region: str = "") -> list[str]:
    """Return a line each for what the snapshots cost, the cluster, and where the prices are from.

    `config` is the configuration (YAML) of the head node's instance type; without `region`, its own is meant. What the
    table has no price of is said in words.
    """
    facts = _facts(config)
    region = region or str(facts.get("Region", ""))
    lines = [*_snapshots(steps, state, table, region), *_cluster(steps, state, facts, table, region)]
    return [*lines, *_source(table, facts)] if lines else []


def _snapshots(steps: Sequence[Step], state: State, table: InstanceTable, region: str) -> Iterator[str]:
    """EBS bills the blocks that changed since the snapshot before; how many those are, only AWS knows."""
    made = [step.action.volume for step in steps if isinstance(step.action, CreateSnapshot)]
    gone = {step.action.snapshot for step in steps if isinstance(step.action, DeleteSnapshot)}
    sizes = {volume.id: volume.size_gib for volume in state.volumes}
    new = sum(sizes[volume] for volume in made)
    there = [one for one in state.snapshots if one.status != "error"]
    freed = sum(one.size_gib for one in there if one.id in gone)
    kept = [one.size_gib for one in there if one.id not in gone] + [sizes[volume] for volume in made]
    if not kept:
        return
    try:
        a_gib = table.prices(region).snapshot_gb
    except SettingsError as error:
        yield f"what snapshots cost is not known: {error.message}"
        return
    if made:
        yield (
            f"the new snapshot, {new} GiB: at most {new * a_gib:.2f} USD a month"
            " (it holds only what changed since the one before)"
        )
    yield f"snapshots afterwards: {len(kept)}, {sum(kept)} GiB, at most {sum(kept) * a_gib:.2f} USD a month together"
    if gone:
        yield f"snapshots that go: {len(gone)}, {freed} GiB, which frees at most {freed * a_gib:.2f} USD a month"


def _cluster(
    steps: Sequence[Step], state: State, facts: dict[str, Any], table: InstanceTable, region: str
) -> Iterator[str]:
    if state.stack is None or state.stack.status in (GONE, "DELETE_IN_PROGRESS"):
        return
    parts, unknown = _parts(state, facts, table, region)
    yield from (f"what the cluster costs is not known in full: {why}" for why in unknown)
    if not parts:
        return
    hour = sum(price for _, price in parts)
    listed = ", ".join(f"{what} {price:.4f}" for what, price in parts)
    yield f"the cluster without compute nodes: {hour:.4f} USD an hour ({listed})"
    month = f"{hour * HOURS_OF_A_MONTH:.2f} USD a month"
    actions = [step.action for step in steps]
    if any(isinstance(action, DeleteCluster) for action in actions):
        yield f"deleting it saves {hour:.4f} USD an hour, {month}"
        return
    stops = any(isinstance(action, StopFleet | CreateSnapshot) for action in actions)
    more = "" if stops else "; compute nodes that run come on top"
    yield f"it is kept: {hour * 24:.2f} USD a day, {month}, until somebody deletes it{more}"


def _parts(
    state: State, facts: dict[str, Any], table: InstanceTable, region: str
) -> tuple[list[tuple[str, float]], list[str]]:
    """Return what is there without compute nodes, with its price an hour, and what has no price, in words."""
    parts: list[tuple[str, float]] = []
    unknown: list[str] = []
    name = _head(facts)
    try:
        parts.append((f"head node {name}", table.instance(name, region).usd_per_hour[region]))
    except SettingsError as error:
        unknown.append(error.message if name else "the configuration names no instance type of the head node")
    try:
        prices = table.prices(region)
    except SettingsError as error:
        return parts, [*unknown, error.message]
    disk = _head_disk(facts)
    parts.append((f"its disk of {disk} GB", prices.volume_month(disk) / HOURS_OF_A_MONTH))
    for volume in state.volumes:
        if volume.kind != "gp3":
            unknown.append(f"the table of instances has no price of {volume.kind} volumes such as {volume.id}")
            continue
        month = prices.volume_month(volume.size_gib, iops=volume.iops, mb_per_s=volume.mb_per_s)
        parts.append((_described(volume), month / HOURS_OF_A_MONTH))
    return parts, unknown


def _described(volume: Volume) -> str:
    return f"{volume.id} of {volume.size_gib} GB with {volume.iops} IOPS and {volume.mb_per_s} MB/s"


def _source(table: InstanceTable, facts: dict[str, Any]) -> Iterator[str]:
    yield f"prices of {table.date} ({table.source})"
    if unchecked := table.unchecked({_head(facts)} & set(table.instances)):
        yield f"nobody has looked up the price of {', '.join(unchecked)}, nor those of storage"


def _head(facts: dict[str, Any]) -> str:
    return str(_at(facts, "HeadNode", "InstanceType") or "")


def _head_disk(facts: dict[str, Any]) -> int:
    size = _at(facts, "HeadNode", "LocalStorage", "RootVolume", "Size")
    return size if isinstance(size, int) else _HEAD_DISK_GB


def _facts(config: bytes) -> dict[str, Any]:
    facts = yaml.safe_load(config)
    return facts if isinstance(facts, dict) else {}


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value

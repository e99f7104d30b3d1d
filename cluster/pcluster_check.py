"""What is wrong with a cluster's configuration that ParallelCluster says only when it has asked AWS, or never.

Its own schema (see `cluster.pcluster`) knows names and ranges of keys; here the table of instances has its say.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from cluster.errors import NodeTooSmall, SettingsError
from cluster.instances import Instance, InstanceTable
from cluster.share import MB, divide

SCHEDULABLE = 0.95
"""Of an instance's memory, ParallelCluster tells Slurm of this much, if it is not told otherwise."""


def read_config(text: str, name: str) -> dict[str, Any]:
    """Read a configuration (YAML); `name` is the file's, for the message. Raises `SettingsError`."""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is not YAML: {' '.join(str(error).split())}", hint="mend the line") from None
    if not isinstance(config, dict):
        raise SettingsError(f"{name} is no configuration of a cluster", hint="`raypipe cluster create --print` is one")
    return config


def problems(config: Mapping[str, Any], table: InstanceTable, *, task_memory: int = 0) -> list[str]:
    """Say what is wrong, a line each; nothing if all is well.

    `task_memory` is what the largest task asks for, bytes: one kind of worker must have as much for tasks.
    """
    found: list[str] = []
    region = str(config.get("Region", ""))
    head_name = str(_at(config, "HeadNode", "InstanceType") or "")
    head = _known(head_name, region, table, "HeadNode", found)
    rooms: list[int] = []
    for where, resource in _compute_resources(config):
        found += _counts(where, resource)
        instances = {name: _known(name, region, table, where, found) for name in _names(resource)}
        known = {name: instance for name, instance in instances.items() if instance}
        found += _alike(where, known)
        if head:
            found += [
                f"{where}: {name} is {instance.architecture} and the head node's {head_name} {head.architecture}: "
                "one image and one venv serve both"
                for name, instance in known.items()
                if instance.architecture != head.architecture
            ]
        if known:
            smallest = min(known, key=lambda name: known[name].memory)
            try:
                rooms.append(room_for_tasks(known[smallest], resource.get("SchedulableMemory")))
            except NodeTooSmall as error:
                found.append(f"{where}: {smallest} is too small: {error.message}")
    if rooms and max(rooms) < task_memory:
        found.append(
            f"the largest task asks for {task_memory // MB} MB, and the largest worker has {max(rooms) // MB} MB for tasks"
        )
    if _at(config, "Scheduling", "SlurmSettings", "EnableMemoryBasedScheduling") is not True:
        found.append("Scheduling: EnableMemoryBasedScheduling is not true: Slurm would ignore the memory of jobs")
    return found + list(_volumes(config))


def room_for_tasks(instance: Instance, schedulable_mb: int | None = None) -> int:
    """Return the bytes that Ray on a worker of this type has for tasks. Raises `NodeTooSmall`."""
    memory = schedulable_mb * MB if schedulable_mb else int(instance.memory * SCHEDULABLE)
    # Linux makes /dev/shm half as large as the memory.
    return divide(memory, cpus=instance.vcpus, shared_memory=instance.memory // 2).memory


def _compute_resources(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for queue in _list(_at(config, "Scheduling", "SlurmQueues")):
        for resource in _list(queue.get("ComputeResources")):
            yield f"queue {queue.get('Name', '?')}, {resource.get('Name', '?')}", resource


def _known(name: str, region: str, table: InstanceTable, where: str, found: list[str]) -> Instance | None:
    try:
        return table.instance(name, region)
    except SettingsError as error:
        found.append(f"{where}: {error.message} ({error.hint})")
        return None


def _names(resource: Mapping[str, Any]) -> list[str]:
    several = [str(each.get("InstanceType", "")) for each in _list(resource.get("Instances"))]
    return several or [str(resource.get("InstanceType", ""))]


def _counts(where: str, resource: Mapping[str, Any]) -> Iterator[str]:
    least, most = resource.get("MinCount", 0), resource.get("MaxCount", 10)  # ParallelCluster's own defaults
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield f"{where}: MinCount {least} is more than MaxCount {most}"


def _alike(where: str, known: Mapping[str, Instance]) -> Iterator[str]:
    """Slurm knows one size of node for all types of a compute resource."""
    for what in ("vcpus", "architecture"):
        values = {getattr(instance, what) for instance in known.values()}
        if len(values) > 1:
            told = ", ".join(f"{name} {getattr(instance, what)}" for name, instance in known.items())
            yield f"{where}: its instance types differ in {'vCPUs' if what == 'vcpus' else what} ({told})"


def _volumes(config: Mapping[str, Any]) -> Iterator[str]:
    for storage in _list(config.get("SharedStorage")):
        settings = storage.get("EbsSettings")
        if storage.get("StorageType") != "Ebs" or not isinstance(settings, dict) or "VolumeId" in settings:
            continue  # what the cluster did not make, it does not delete
        # Delete is what ParallelCluster takes where nothing is said.
        if settings.get("DeletionPolicy", "Delete") not in ("Snapshot", "Retain"):
            yield f"SharedStorage {storage.get('MountDir', '?')}: its data would be deleted with the cluster: DeletionPolicy must be Snapshot or Retain"


def _at(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []

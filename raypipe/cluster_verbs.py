"""What `raypipe cluster` does: configuration from settings, checks that need no AWS, then ParallelCluster's tool."""

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import msgspec

from cluster import data_volume, s3_folder
from cluster.data_volume import DataVolume
from cluster.errors import ClusterRefused, PclusterMissing, SettingsError
from cluster.instances import InstanceTable, load_table
from cluster.pcluster import Pcluster, check_name, find_tool, is_gone, state_lines
from cluster.pcluster_check import problems, read_config
from cluster.pcluster_config import BOOTSTRAP, CONSTRAINTS, ClusterSettings, render
from raypipe import __version__, cluster_file
from raypipe.cluster_arm import armed_lines, is_still_armed
from raypipe.config import Cluster

WHEEL = f"raypipe_ephys-{__version__}-py3-none-any.whl"
_NOT_RENDERED = ("vcpu_quota", "spot_fraction", "prices", "tool")


def cluster_settings(settings: Cluster) -> ClusterSettings:
    """Return the settings that a cluster is rendered from. Raises `SettingsError`."""
    told = {name: value for name, value in msgspec.structs.asdict(settings).items() if name not in _NOT_RENDERED}
    return ClusterSettings(wheel=WHEEL, **told)


def table_of(settings: Cluster) -> InstanceTable:
    """Return the table of instances and prices that the settings name, or our own. Raises `SettingsError`."""
    return load_table(Path(settings.prices).expanduser() if settings.prices else None)


def check(text: str, file: str, settings: Cluster, *, task_memory: int = 0, tool: Path | None = None) -> None:
    """Look at a configuration with the table of instances and, with a `tool`, ParallelCluster's schema.

    Raises `SettingsError` with all that is wrong.
    """
    config = read_config(text, file)
    found = Pcluster(tool).schema_problems(text) if tool else []
    found += problems(config, table_of(settings), task_memory=task_memory)
    if found:
        raise SettingsError(
            f"{file} cannot be what is meant:\n" + "\n".join(f"  {line}" for line in found),
            hint="mend the file, or the table [cluster] of the settings that it is made from",
        )


def printed(settings: Cluster, *, task_memory: int = 0) -> tuple[str, list[str]]:
    """Return the configuration that `create` would write, and what should be said about it. Changes nothing."""
    text = render(cluster_settings(settings))
    try:
        tool, notes = find_tool(settings.tool), []
    except PclusterMissing as error:
        tool, notes = None, [f"not looked at by ParallelCluster's schema: {error}"]
    check(text, "the configuration", settings, task_memory=task_memory, tool=tool)
    return text, notes


def create(name: str, settings: Cluster, file: str, *, task_memory: int = 0, dry_run: bool = False) -> list[str]:
    """Have AWS begin to make a cluster from `file`, which is written first if it is not there; return what to say.

    It may be `s3://bucket/key`.

    With `dry_run`, ParallelCluster asks AWS about everything and makes nothing; the file is written all the same.
    """
    check_name(name)
    tool = find_tool(settings.tool)
    found = cluster_file.read(file, settings.region)
    is_new = found is None
    text = render(cluster_settings(settings)) if found is None else found
    check(text, file, settings, task_memory=task_memory, tool=tool)
    said = []
    if is_new:
        cluster_file.write(file, text, settings.region)
        said.append(f"wrote {file}")
    if settings.bucket:
        script = (files("cluster") / BOOTSTRAP).read_bytes()
        s3_folder.provide(settings.bucket, BOOTSTRAP, script, needed=(WHEEL, CONSTRAINTS), region=settings.region)
    with cluster_file.as_file(file, text) as local:
        Pcluster(tool, settings.region).create(name, local, dry_run=dry_run)
    if dry_run:
        return [*said, f"{name} could be made; nothing was"]
    return [
        *said,
        f"{name} is being made, which takes a quarter of an hour: `raypipe cluster status {name} --config FILE`",
        f"`raypipe cluster arm {name} --config FILE` then has its runs ended when no machine waits, and tells if it is forgotten",
    ]


def update(name: str, settings: Cluster, file: str, *, dry_run: bool = False) -> list[str]:
    """Have AWS begin to change a cluster into what `file` says; return what to say."""
    tool = find_tool(settings.tool)
    text = cluster_file.read(file, settings.region)
    if text is None:
        raise SettingsError(f"there is no {file}", hint="--file names a cluster's configuration")
    check(text, file, settings, tool=tool)
    with cluster_file.as_file(file, text) as local:
        Pcluster(tool, settings.region).update(check_name(name), local, dry_run=dry_run)
    return [f"{name} could be changed; nothing was" if dry_run else f"{name} is being changed"]


def status(name: str, settings: Cluster) -> tuple[dict[str, object], list[str]]:
    """Return how a cluster stands, as facts and in words.

    Raises `ClusterRefused` where there is none; it says so if what `arm` made is still there.
    """
    try:
        found = Pcluster(find_tool(settings.tool), settings.region).describe(check_name(name))
    except ClusterRefused as error:
        if is_gone(error) and is_still_armed(name, settings):
            raise ClusterRefused(
                f"there is no cluster {name}, but what `raypipe cluster arm` made for it is still there",
                hint=f"`raypipe cluster disarm {name} --config FILE`, unless there will be another {name} soon",
            ) from error
        raise
    volumes = data_volume.data_volumes(name, settings.region)
    now = datetime.now(UTC)
    lines = [*state_lines(found), *(f"data volume: {volume.described(now)}" for volume in volumes)]
    lines += (arming := armed_lines(name, settings))
    return {**found, "dataVolumes": [_facts(volume) for volume in volumes], "armed": arming == ["armed"]}, lines


def deletion(name: str, settings: Cluster, words: str) -> list[str]:
    """Say what deleting a cluster would mean for its data, a line each. Deletes nothing.

    Raises `NotSaved` if the data are in no completed snapshot, unless `words` say that this is meant.
    """
    found = Pcluster(find_tool(settings.tool), settings.region).describe(check_name(name))
    volumes = data_volume.data_volumes(name, settings.region)
    data_volume.refuse_unsaved(name, volumes, words)
    now = datetime.now(UTC)
    lines = [f"data volume: {volume.described(now)}" for volume in volumes] or ["it has no data volume of its own"]
    if found.get("computeFleetStatus") not in ("STOPPED", None):
        lines.append("its compute fleet is not stopped: what nodes write from now on is in no snapshot")
    return lines


def delete(name: str, settings: Cluster) -> str:
    """Have AWS begin to delete a cluster, after `deletion` had nothing against it; return what to say."""
    Pcluster(find_tool(settings.tool), settings.region).delete(name)
    return f"{name} is being deleted: `raypipe cluster status {name} --config FILE` until there is none"


def _facts(volume: DataVolume) -> dict[str, object]:
    newest = volume.newest
    saved = {"snapshot": newest.id, "began": data_volume.began(newest).isoformat()} if newest else None
    return {"id": volume.id, "size_gb": volume.size_gb, "saved": saved, "pending": volume.pending}

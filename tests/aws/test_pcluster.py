"""ParallelCluster's own command against the emulator: what our stand-in says is what it says."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cluster.aws.finalize import Finalizer
from cluster.aws.fleet import FleetTool
from cluster.aws.fleet_table import FleetTable
from cluster.aws.state import Outcome
from cluster.errors import AwsRefused
from tests.aws.world import PCLUSTER, Cluster
from tests.cluster.aws import pcluster_tool


@pytest.fixture(scope="module")
def pcluster() -> tuple[str, ...]:
    """The real command, in an environment that is made once."""
    return (str(pcluster_tool()),)


def test_the_real_one_stops_the_fleet(cluster: Cluster, pcluster: tuple[str, ...]) -> None:
    region = cluster.aws.region
    cluster.emulator.begin(fleet_looks=None)
    real, twin = (FleetTool(words, cluster.name, region) for words in (pcluster, PCLUSTER))
    before = real.look()
    assert (before, before.status) == (twin.look(), "RUNNING")
    assert seen(FleetTable(cluster.aws.dynamodb, cluster.name)) == ("RUNNING", before.since)

    real.stop("RUNNING")

    assert seen(FleetTable(cluster.aws.dynamodb, cluster.name)) == ("STOP_REQUESTED", real.look().since)
    with pytest.raises(AwsRefused, match="does not exist"):
        FleetTool(pcluster, "nobody", region).look()


def test_the_real_one_sees_what_was_asked_by_the_table(cluster: Cluster, pcluster: tuple[str, ...]) -> None:
    cluster.emulator.begin(fleet_looks=None)
    table, began = FleetTable(cluster.aws.dynamodb, cluster.name), datetime.now(UTC).timestamp()

    table.stop("RUNNING")

    said = FleetTool(pcluster, cluster.name, cluster.aws.region).look()
    assert (said.status, said.since) == seen(table)
    assert said.status == "STOP_REQUESTED"
    assert said.since is not None and said.since > began - 1


def test_the_whole_end_with_the_real_one(cluster: Cluster, pcluster: tuple[str, ...]) -> None:
    cluster.emulator.begin(fleet_looks=0, snapshot_looks=0, stack_looks=0)
    tools = replace(cluster.tools, pcluster=pcluster)
    Finalizer(cluster.settings(lease_seconds=600.0), Outcome(True, ""), tools).finalize()
    assert cluster.status() == "DELETE_COMPLETE"
    words = [*pcluster, "list-clusters", "--region", cluster.aws.region]
    listed = subprocess.run(words, capture_output=True, text=True, check=True)
    assert cluster.name not in listed.stdout


def seen(table: FleetTable) -> tuple[str, float | None]:
    """What the table says, by the millisecond as the real one does."""
    fleet = table.look()
    assert fleet.since is not None
    return fleet.status, datetime.fromtimestamp(fleet.since, UTC).replace(
        microsecond=datetime.fromtimestamp(fleet.since, UTC).microsecond // 1000 * 1000
    ).timestamp()

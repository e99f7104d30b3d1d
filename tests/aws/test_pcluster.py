"""ParallelCluster's own command against the emulator: what our stand-in says is what it says."""

import os
import shutil
import subprocess

import pytest

from cluster.aws.finalize import Finalizer
from cluster.aws.fleet import look_at_fleet, stop_fleet
from cluster.aws.state import Outcome
from cluster.errors import AwsRefused
from tests.aws.world import PCLUSTER, Cluster


@pytest.fixture(scope="module")
def pcluster() -> str:
    """The real command, of whatever environment: on the path, or where RAYPIPE_PCLUSTER says."""
    found = shutil.which(os.environ.get("RAYPIPE_PCLUSTER", "pcluster"))
    if found is None:
        pytest.skip("no pcluster here; `pipx install aws-parallelcluster`, or set RAYPIPE_PCLUSTER")
    return found


def test_the_real_one_stops_the_fleet(cluster: Cluster, pcluster: str) -> None:
    region = cluster.aws.region
    cluster.emulator.begin(fleet_looks=None)
    before, twin = (look_at_fleet(words, cluster.name, region) for words in ((pcluster,), PCLUSTER))
    assert (before, before.status) == (twin, "RUNNING")

    stop_fleet((pcluster,), cluster.name, region)

    assert cluster.fleet() == "STOP_REQUESTED"
    with pytest.raises(AwsRefused, match="does not exist"):
        look_at_fleet((pcluster,), "nobody", region)


def test_the_whole_end_with_the_real_one(cluster: Cluster, pcluster: str) -> None:
    cluster.emulator.begin(fleet_looks=0, snapshot_looks=0, stack_looks=0)
    tools = type(cluster.tools)(cluster.aws, (pcluster,))
    Finalizer(cluster.settings(lease_seconds=600.0), Outcome(True, ""), tools).finalize()
    assert cluster.status() == "DELETE_COMPLETE"
    listed = subprocess.run([pcluster, "list-clusters", "--region", cluster.aws.region], capture_output=True, text=True)
    assert cluster.name not in listed.stdout

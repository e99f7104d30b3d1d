"""The fleet's table without ParallelCluster's tool; that both mean the same is shown with the real tool in test_pcluster."""

from typing import Any

import pytest

from cluster.aws.fleet_table import FleetTable
from cluster.errors import AwsRefused
from tests.aws.world import Cluster


def write(cluster: Cluster, **item: Any) -> None:
    words = {"Id": {"S": "COMPUTE_FLEET"}, **item}
    cluster.aws.dynamodb.put_item(TableName=f"parallelcluster-{cluster.name}", Item=words)


def test_what_changed_meanwhile_is_not_written_over(cluster: Cluster) -> None:
    table = FleetTable(cluster.aws.dynamodb, cluster.name)
    before = table.look()
    table.stop("PROTECTED")  # as it was when that was decided
    assert table.look() == before
    table.stop(before.status)
    assert table.look().stopping


def test_what_else_the_table_holds_stays(cluster: Cluster) -> None:
    since = {"S": "2026-11-23 05:06:07.000008+00:00"}
    write(cluster, Data={"M": {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": since, "queues": {"M": {}}}})
    cluster.emulator.begin(fleet_looks=None)
    FleetTable(cluster.aws.dynamodb, cluster.name).stop("RUNNING")
    key = {"Id": {"S": "COMPUTE_FLEET"}}
    item = cluster.aws.dynamodb.get_item(TableName=f"parallelcluster-{cluster.name}", Key=key)["Item"]
    assert (item["Data"]["M"]["status"], item["Data"]["M"]["queues"]) == ({"S": "STOP_REQUESTED"}, {"M": {}})


@pytest.mark.parametrize(
    "item",
    [
        {"Status": {"S": "RUNNING"}, "LastUpdatedTime": {"S": "2021-12-21 18:12:07+00:00"}},  # before 3.2
        {"Data": {"M": {"status": {"S": "RUNNING"}}}},
        {"Data": {"M": {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": "yesterday"}}}},
        {"Data": {"S": "RUNNING"}},
    ],
    ids=["older", "no time", "strange time", "no map"],
)
def test_a_table_that_is_not_known_is_refused(cluster: Cluster, item: dict[str, Any]) -> None:
    table = FleetTable(cluster.aws.dynamodb, cluster.name)
    write(cluster, **item)
    with pytest.raises(AwsRefused, match=f"parallelcluster-{cluster.name} does not say") as caught:
        table.look()
    assert "ParallelCluster 3.2" in caught.value.hint


def test_no_table_and_no_item_are_refused(cluster: Cluster) -> None:
    key = {"Id": {"S": "COMPUTE_FLEET"}}
    cluster.aws.dynamodb.delete_item(TableName=f"parallelcluster-{cluster.name}", Key=key)
    with pytest.raises(AwsRefused, match="does not say"):
        FleetTable(cluster.aws.dynamodb, cluster.name).look()
    with pytest.raises(AwsRefused, match="ResourceNotFoundException"):
        FleetTable(cluster.aws.dynamodb, "nobody").look()

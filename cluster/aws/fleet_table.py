"""The compute nodes through the table in which ParallelCluster keeps what they do, for where its own tool is not.

The same calls as those of its tool (3.2 and later), which the tests compare.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.calls import calling, code_of
from cluster.aws.state import Fleet
from cluster.errors import AwsRefused

_KEY = {"Id": {"S": "COMPUTE_FLEET"}}


@dataclass(frozen=True)
class FleetTable:
    """The fleet of a cluster; `dynamodb` is a client."""

    dynamodb: Any
    cluster: str

    def look(self) -> Fleet:
        """Return what the compute nodes do. Raises `AwsRefused` (also where the table is not as we know it), `AwsUnavailable`."""
        with calling(f"dynamodb:GetItem {self._table}"):
            item = self.dynamodb.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True).get("Item", {})
        try:
            data = item["Data"]["M"]
            status, since = data["status"]["S"], data["lastStatusUpdatedTime"]["S"]
            return Fleet(str(status), datetime.fromisoformat(since).timestamp())
        except (KeyError, TypeError, ValueError) as error:
            raise AwsRefused(
                f"the table {self._table} does not say what the compute nodes do in a way that raypipe knows: {item}",
                hint="it knows ParallelCluster 3.2 and later; `raypipe finalize` on the head node asks pcluster itself",
            ) from error

    def stop(self, status: str) -> None:
        """Ask for the nodes to be stopped if they still do what `status` says. Raises `AwsRefused`, `AwsUnavailable`."""
        with calling(f"dynamodb:UpdateItem {self._table}"):
            try:
                self.dynamodb.update_item(
                    TableName=self._table,
                    Key=_KEY,
                    UpdateExpression="SET #data.#status = :stop, #data.#since = :now",
                    ConditionExpression="#data.#status = :seen",
                    ExpressionAttributeNames={"#data": "Data", "#status": "status", "#since": "lastStatusUpdatedTime"},
                    ExpressionAttributeValues={
                        ":stop": {"S": "STOP_REQUESTED"},
                        ":now": {"S": str(datetime.now(UTC))},  # as ParallelCluster writes it
                        ":seen": {"S": status},
                    },
                )
            except ClientError as error:
                if (
                    code_of(error) != "ConditionalCheckFailedException"
                ):  # somebody changed it: whoever decides looks again
                    raise

    @property
    def _table(self) -> str:
        return f"parallelcluster-{self.cluster}"

"""One finalizer at a time for a cluster: a lease in the table in which ParallelCluster keeps the fleet's status.

The table goes with the cluster, and the head node may already write to it. A conditional write decides who has the
lease; it ends by itself, so that one who was killed keeps others waiting for its length and no longer. It saves work
and puzzlement, and nothing rests on it: whoever goes on after having lost it does one thing that is safe to be done twice
(a second snapshot of a run is found and deleted).
"""

import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.calls import calling, code_of

_KEY = "RAYPIPE_FINALIZE"


@dataclass(frozen=True)
class Lease:
    """The right to finalize a cluster, as wanted by `holder`."""

    dynamodb: Any
    cluster: str
    holder: str
    seconds: float

    def take(self) -> bool:
        """Take or renew it; false while another has it. Where there is no table there is no cluster to be guarded."""
        now = time.time()
        free = "attribute_not_exists(Id) OR Holder = :me OR EndsAt < :now"
        return self._put(now + self.seconds, free, {":me": {"S": self.holder}, ":now": {"N": f"{now:.3f}"}})

    def release(self) -> None:
        """Let others have it at once."""
        self._put(0.0, "Holder = :me", {":me": {"S": self.holder}})

    def _put(self, ends: float, condition: str, values: dict[str, Any]) -> bool:
        item = {"Id": {"S": _KEY}, "Holder": {"S": self.holder}, "EndsAt": {"N": f"{ends:.3f}"}}
        with calling("dynamodb:PutItem"):
            try:
                self.dynamodb.put_item(
                    TableName=f"parallelcluster-{self.cluster}",
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    return False
                if code_of(error) == "ResourceNotFoundException":
                    return True
                raise
        return True

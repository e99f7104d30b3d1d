"""What of ParallelCluster's command line finalizing uses, over the same table; the real one takes seconds a call.

python -S -E pcluster.py describe-compute-fleet|update-compute-fleet --cluster-name NAME --region REGION [--status STOP_REQUESTED]
"""

import json
import os
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime


def call(action, **content):
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"],
        data=json.dumps(content).encode(),
        headers={
            "X-Amz-Target": f"DynamoDB_20120810.{action}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/20260101/{option('--region')}/dynamodb/aws4_request",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


def main():
    table, key = f"parallelcluster-{option('--cluster-name')}", {"Id": {"S": "COMPUTE_FLEET"}}
    try:
        fleet = call("GetItem", TableName=table, Key=key, ConsistentRead=True)["Item"]["Data"]["M"]
        if sys.argv[1] == "update-compute-fleet" and fleet["status"]["S"] == "RUNNING":
            fleet = {"status": {"S": option("--status")}, "lastStatusUpdatedTime": {"S": str(datetime.now(UTC))}}
            call(
                "UpdateItem",
                TableName=table,
                Key=key,
                UpdateExpression="set #dt=:d",
                ExpressionAttributeNames={"#dt": "Data"},
                ExpressionAttributeValues={":d": {"M": fleet}},
            )
    except (urllib.error.HTTPError, KeyError) as error:
        message = error.read().decode() if isinstance(error, urllib.error.HTTPError) else str(error)
        print(json.dumps({"message": message}))  # noqa: T201
        return 1
    since = datetime.fromisoformat(fleet["lastStatusUpdatedTime"]["S"])
    stamp = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(json.dumps({"status": fleet["status"]["S"], "lastStatusUpdatedTime": stamp}, indent=2))  # noqa: T201
    return 0


sys.exit(main())

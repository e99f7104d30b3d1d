"""A cluster on the emulator, made with AWS's own calls, and what tests ask about it."""

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.aws.act import Tools
from cluster.aws.calls import Aws
from cluster.aws.settings import CREATED, MANAGED, OUTCOME, RUN, SET, STACK, FinalizeSettings
from tests.aws.emulator import Plan

PCLUSTER = (sys.executable, "-S", "-E", str(Path(__file__).with_name("pcluster.py")))
_numbers = itertools.count(1)
_CONFIG = """\
# a cluster of the tests; it was made of snap-0comment, once
Region: ap-southeast-1
SharedStorage:
  - MountDir: /data
    Name: raypipe-data
    StorageType: Ebs
    EbsSettings:
        SnapshotId: "{snapshot}"   # 'quoted', and with a comment: SnapshotId: snap-0comment
        DeletionPolicy: Snapshot
  - {{MountDir: /home2, Name: other, StorageType: Ebs, EbsSettings: {{SnapshotId: snap-0other}}}}\r
Tags: []
"""


@dataclass(frozen=True)
class Emulator:
    """The emulator's process, as its address."""

    url: str

    def fake(self, what: str, **content: Any) -> Any:
        """Say or ask something that is no call of AWS."""
        with urllib.request.urlopen(
            f"{self.url}/_fake/{what}", data=json.dumps(content).encode(), timeout=60
        ) as answer:
            return json.load(answer)

    def begin(self, **plan: Any) -> None:
        """Forget the log, and go by this plan (see `tests.aws.emulator.Plan`)."""
        Plan(**plan)
        self.fake("begin", **plan)

    def log(self) -> list[dict[str, Any]]:
        """Return the calls since it began."""
        return self.fake("log")

    def actions(self, *left_out: str) -> list[str]:
        """Return the names of the calls that change something, in order."""
        ours = [entry["action"] for entry in self.log()]
        return [
            name for name in ours if not name.startswith(("Describe", "Get")) and name not in ("PutItem", *left_out)
        ]


@contextmanager
def emulated(folder: Path, address: str = "127.0.0.1") -> Iterator[Emulator]:
    """Start an emulator that listens on an address of this machine, and end it."""
    port = folder / "port"
    command = [sys.executable, "-m", "tests.aws.emulator", str(port), address]
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env=os.environ
            | {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"},  # a thousand snapshots, which each look would cost
        )
    try:
        while not port.exists():
            assert process.poll() is None, (folder / "emulator.log").read_text()
            time.sleep(0.05)
        yield Emulator(f"http://{address}:{port.read_text()}")
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


@dataclass
class Cluster:
    """A cluster with one data volume, older snapshots of the set (oldest first), and somebody else's."""

    aws: Aws
    emulator: Emulator
    config: Path
    name: str = ""
    stack: str = ""
    volume: str = ""
    old: list[str] = field(default_factory=list)
    foreign: str = ""
    text: bytes = b""

    def settings(self, **others: Any) -> FinalizeSettings:
        """Return settings that wait for little."""
        given = {"run": "run-1", "cluster": self.name, "config": str(self.config), "keep": 2, "poll_seconds": 0.01}
        given |= {"settle_seconds": 0.3, "lease_seconds": 60.0, "patience_seconds": 5.0}
        return FinalizeSettings(**(given | others))

    @property
    def tools(self) -> Tools:
        return Tools(self.aws, PCLUSTER)

    def snapshot(self, run: str, *, age: int, good: bool = True, **tags: str) -> str:
        """Make a completed snapshot of the set, `age` days old."""
        created = f"2026-10-{28 - age:02d}T00:00:00+00:00"
        ours = {RUN: run, SET: self.name, STACK: "arn:old", OUTCOME: "good" if good else "failed", CREATED: created}
        return make_snapshot(self.aws, self.volume, ours | tags)

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """Return all snapshots of the volume, by id."""
        pages = self.aws.ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=[{"Name": "volume-id", "Values": [self.volume]}]
        )
        return {found["SnapshotId"]: found for page in pages for found in page["Snapshots"]}

    def of_run(self, run: str = "run-1") -> list[str]:
        """Return the run's snapshots that did not fail."""
        return [
            id
            for id, found in self.snapshots().items()
            if found["State"] != "error" and {"Key": RUN, "Value": run} in found["Tags"]
        ]

    def lease_runs_out(self) -> None:
        """Let time pass, as far as the lease of a finalizer is concerned."""
        lease = {"Id": {"S": "RAYPIPE_FINALIZE"}, "Holder": {"S": "killed"}, "EndsAt": {"N": "0"}}
        with suppress(self.aws.dynamodb.exceptions.ResourceNotFoundException):  # it went with the cluster
            self.aws.dynamodb.put_item(TableName=f"parallelcluster-{self.name}", Item=lease)

    def fleet(self) -> str:
        """Return the status of the compute nodes."""
        key = {"Id": {"S": "COMPUTE_FLEET"}}
        item = self.aws.dynamodb.get_item(TableName=f"parallelcluster-{self.name}", Key=key)["Item"]
        return item["Data"]["M"]["status"]["S"]

    def status(self) -> str:
        """Return the stack's status."""
        return self.aws.cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]["StackStatus"]

    def named(self) -> str:
        """Return the snapshot that the configuration names; every other byte is what it was."""
        text = self.config.read_bytes()
        start, end = self.text.split(self.old[-1].encode())
        assert text.startswith(start) and text.endswith(end)
        return text[len(start) : len(text) - len(end)].decode()


def make_cluster(
    aws: Aws, emulator: Emulator, folder: Path, *, name: str | None = None, volumes: int = 1, managed: str = "true"
) -> Cluster:
    """Make a cluster as ParallelCluster would: a stack with volumes and the fleet's table."""
    emulator.begin()
    name = name or f"cluster{next(_numbers)}"
    cluster = Cluster(aws, emulator, folder / f"{name}.yaml", name)
    resources = {
        f"EBS{number}": {"Type": "AWS::EC2::Volume", "Properties": {"Size": 10, "AvailabilityZone": f"{aws.region}a"}}
        for number in range(volumes)
    }
    resources["Table"] = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": f"parallelcluster-{name}",
            "KeySchema": [{"AttributeName": "Id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "Id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    }
    tags = [
        {"Key": "parallelcluster:version", "Value": "3.16.1"},
        {"Key": "parallelcluster:cluster-name", "Value": name},
        {"Key": MANAGED, "Value": managed},
    ]
    template = json.dumps({"Resources": resources})
    cluster.stack = aws.cloudformation.create_stack(StackName=name, TemplateBody=template, Tags=tags)["StackId"]
    made = aws.cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    ids = [one["PhysicalResourceId"] for one in made if one["ResourceType"] == "AWS::EC2::Volume"]
    for number, volume in enumerate(ids):
        label = "raypipe-data" if number == 0 else f"other{number}"
        aws.ec2.create_tags(Resources=[volume], Tags=[{"Key": "Name", "Value": label}])
    cluster.volume = ids[0]
    fleet = {"status": {"S": "RUNNING"}, "lastStatusUpdatedTime": {"S": str(datetime.now(UTC))}}
    aws.dynamodb.put_item(
        TableName=f"parallelcluster-{name}", Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": fleet}}
    )
    emulator.begin()
    cluster.old = [cluster.snapshot(f"old-{age}", age=age) for age in (9, 7, 5)]
    cluster.foreign = make_snapshot(aws, cluster.volume, {"Name": "somebody else's"})
    cluster.text = _CONFIG.format(snapshot=cluster.old[-1]).encode()
    cluster.config.write_bytes(cluster.text)
    emulator.begin()
    return cluster


def make_snapshot(aws: Aws, volume: str, tags: dict[str, str]) -> str:
    """Make a completed snapshot, as it was there before the test began."""
    written = [{"Key": key, "Value": value} for key, value in tags.items()]
    specification = [{"ResourceType": "snapshot", "Tags": written}]
    return aws.ec2.create_snapshot(VolumeId=volume, TagSpecifications=specification)["SnapshotId"]

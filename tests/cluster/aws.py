"""ParallelCluster's real tool, and an emulator of AWS in a process of its own for it and for us to talk to."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from cluster.pcluster import VERSION
from tests.environments import environment

REGION = "ap-southeast-1"
_BOOT_SECONDS = 120
_OTHER = {"Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "what else a stack has"}}}


def pcluster_tool() -> Path:
    """Return ParallelCluster's program, from an environment that is made once."""
    return environment("pcluster", (f"aws-parallelcluster=={VERSION}",)) / "bin" / "pcluster"


@dataclass(frozen=True)
class Aws:
    """An emulated AWS, with the default network of an account and nothing else."""

    url: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What programs need that are to talk to it and not to AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.home),
        }

    def client(self, service: str) -> Any:
        """Return boto3's client."""
        keys = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)

    def make_stack(self, cluster: str, *, fleet: str = "RUNNING", volumes: int = 1) -> list[str]:
        """Make what a cluster leaves in AWS: its stack with its data volumes, and its fleet's state; return the volumes."""
        volume = {"AvailabilityZone": f"{REGION}a", "Size": 100, "VolumeType": "gp3"}
        resources = {f"EBS{n}": {"Type": "AWS::EC2::Volume", "Properties": volume} for n in range(volumes)}
        stacks = self.client("cloudformation")
        stacks.create_stack(
            StackName=cluster,
            TemplateBody=json.dumps({"Resources": {**resources, **_OTHER}}),
            Tags=[
                {"Key": "parallelcluster:version", "Value": VERSION},
                {"Key": "parallelcluster:cluster-name", "Value": cluster},
            ],
        )
        table = f"parallelcluster-{cluster}"
        db = self.client("dynamodb")
        db.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        state = {"status": {"S": fleet}, "lastStatusUpdatedTime": {"S": "2026-11-23"}}
        db.put_item(TableName=table, Item={"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": state}})
        listed = stacks.list_stack_resources(StackName=cluster)["StackResourceSummaries"]
        return [each["PhysicalResourceId"] for each in listed if each["ResourceType"] == "AWS::EC2::Volume"]

    def stack_names(self) -> set[str]:
        """Return the stacks that are there."""
        return {stack["StackName"] for stack in self.client("cloudformation").describe_stacks()["Stacks"]}


@contextmanager
def emulated_aws(folder: Path) -> Iterator[Aws]:
    """Start the emulator on loopback; `folder` is what programs that talk to it have for a home."""
    images = folder / "images.json"
    images.write_text(json.dumps([_image()]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "MOTO_AMIS_PATH": str(images)})
    try:
        end = time.monotonic() + _BOOT_SECONDS
        while server.poll() is None and time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        assert server.poll() is None, (folder / "moto.log").read_text()
        yield Aws(f"http://127.0.0.1:{port}", folder)
    finally:
        server.terminate()
        server.wait()


def _image() -> dict[str, object]:
    return {
        "ami_id": "ami-0123456789abcdef0",
        "name": f"aws-parallelcluster-{VERSION}-amzn2023-hvm-x86_64-202611010000",
        "description": "ParallelCluster's own",
        "state": "available",
        "public": True,
        "owner_id": "amazon",
        "image_location": "amazon/parallelcluster",
        "image_type": "machine",
        "architecture": "x86_64",
        "platform": "",
        "root_device_type": "ebs",
        "root_device_name": "/dev/xvda",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "sriov": "simple",
        "creation_date": "2026-11-01T00:00:00.000Z",
    }

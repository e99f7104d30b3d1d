"""The configuration that ParallelCluster makes a cluster from, as a function of settings and nothing else.

Three kinds of machines: the head node, which serves the data volume to all by NFS and never goes away by itself; a node
for the drivers of runs; and workers, which come with work and go without. Nothing in the text is secret: it ends up in
the cluster's own bucket, where everybody reads it who may read the account's buckets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from cluster.errors import SettingsError

WORKERS_QUEUE, DRIVERS_QUEUE = "workers", "drivers"
BOOTSTRAP, CONSTRAINTS = "bootstrap.sh", "constraints.txt"
"""In the bucket's folder: what each node runs when it is new, and the versions of all that raypipe needs."""
_PATTERNS = {
    "region": (r"[a-z]{2}(-[a-z]+)+-\d", "ap-southeast-1"),
    "subnet": (r"subnet-[0-9a-f]{8,17}", "subnet-0123456789abcdef0"),
    "key": (r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,254}", "my-key"),
    "head_instance": (r"[a-z0-9-]+\.[a-z0-9-]+", "m5.large"),
    "driver_instance": (r"[a-z0-9-]+\.[a-z0-9-]+", "m5.large"),
    "snapshot": (r"(snap-[0-9a-f]{8,17})?", "snap-0123456789abcdef0"),
    "mount": (r"/[A-Za-z0-9._/-]*[A-Za-z0-9]", "/data"),
    "wheel": (r"[A-Za-z0-9_.+-]+\.whl", "raypipe_ephys-0.1.0-py3-none-any.whl"),
    "bucket": (r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*", "s3://my-bucket/raypipe"),
}


@dataclass(frozen=True)
class ClusterSettings:
    """What is to be known of a cluster; the defaults are a lab's that has an hour of 124 channels a day."""

    region: str
    subnet: str
    key: str
    bucket: str
    """The folder in S3 with what nodes install: the bootstrap script, the wheel, constraints.txt."""
    wheel: str
    """raypipe's, in the bucket's folder."""
    head_instance: str = "m5.large"
    driver_instance: str = "m5.large"
    workers: tuple[str, ...] = ("r5.2xlarge",)
    """Instance types of workers, any of which will do: equal numbers of vCPUs, one architecture."""
    spot: bool = False
    min_nodes: int = 0
    """Workers that are there, and paid for, without work."""
    max_nodes: int = 8
    snapshot: str = ""
    volume_gb: int = 1000
    """Of the volume; one from a snapshot is no smaller than that."""
    iops: int = 3000
    throughput: int = 250
    """MB/s of the volume, at most a quarter of the IOPS."""
    encrypted: bool = True
    mount: str = "/data"
    policies: tuple[str, ...] = ()
    """IAM policies (ARN) that the head node and the drivers' nodes, where runs end, have beside ParallelCluster's own."""
    tags: tuple[tuple[str, str], ...] = (("raypipe:managed", "true"),)

    def __post_init__(self) -> None:
        for name, (pattern, example) in _PATTERNS.items():
            value = getattr(self, name)
            if not re.fullmatch(pattern, value):
                said = f"is '{value}'" if value else "is not set"
                raise SettingsError(
                    f"[cluster] {name} {said}", hint=f'{name} = "{example}" in [cluster] of --config FILE'
                )
        for each in self.workers:
            if not re.fullmatch(_PATTERNS["head_instance"][0], each):
                raise SettingsError(f"[cluster] workers: '{each}' is no instance type", hint="such as r5.2xlarge")
        for each in self.policies:
            if not re.fullmatch(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+", each):
                raise SettingsError(f"[cluster] policies: '{each}' is no policy's ARN", hint="IAM's console shows it")
        if not self.workers:
            raise SettingsError(
                "[cluster] workers is empty", hint='workers = ["r5.2xlarge"] in [cluster] of --config FILE'
            )
        if not 0 <= self.min_nodes <= self.max_nodes or self.max_nodes < 1:
            raise SettingsError(
                f"[cluster] {self.min_nodes} to {self.max_nodes} workers cannot be meant",
                hint="0 <= min_nodes <= max_nodes, and max_nodes at least 1",
            )
        if self.throughput > self.iops / 4:
            raise SettingsError(
                f"[cluster] {self.throughput} MB/s need {4 * self.throughput} IOPS, and iops is {self.iops}",
                hint="a gp3 volume moves at most 0.25 MB/s for each IOPS; raise iops or lower throughput",
            )

    @property
    def venv(self) -> str:
        """Where the bootstrap script puts raypipe: on the data volume, so that nodes have it when they boot."""
        return str(PurePosixPath(self.mount) / "venvs" / "raypipe")


def render(settings: ClusterSettings) -> str:
    """Return the configuration (YAML, ParallelCluster 3) of a cluster."""
    bucket, _, folder = settings.bucket.removeprefix("s3://").partition("/")
    # Nodes may read files of the folder, and list nothing: that is all that this grants.
    key_names = f"{folder}/*" if folder else "*"
    return f"""\
# A cluster for raypipe, as AWS ParallelCluster 3 reads it. `raypipe cluster create` wrote this file once and only reads
# it from then on: it is yours. `raypipe cluster update` carries over what you change; of a shared storage that is little.
Region: {settings.region}
Image:
  Os: alinux2023
Tags:
{_tags(settings)}

# The head node runs Slurm and serves {settings.mount} to all others by NFS: whatever nodes read and write goes through its
# network and its link to EBS, so a larger one can be worth more than more workers (`raypipe plan DAY --cluster` tells).
# It is always on demand, and is paid for until the cluster is deleted.
HeadNode:
  InstanceType: {settings.head_instance}
  Networking:
    SubnetId: {settings.subnet}
  Ssh:
    KeyName: {_quoted(settings.key)}  # only its name; keep the key itself off {settings.mount}: snapshots would hold it
  LocalStorage:
    RootVolume:
      Size: 40
      VolumeType: gp3
      Encrypted: true
  Imds:
    Secured: true  # what the head node may do in AWS, only its administrators may
  CustomActions:
    OnNodeConfigured:
{_bootstrap(settings, 6)}
  Iam:
{_policies(settings, 4)}    S3Access:
      - BucketName: {bucket}
        KeyName: {_quoted(key_names)}

Scheduling:
  Scheduler: slurm
  SlurmSettings:
    ScaledownIdletime: 5  # minutes; then nodes without work are given back
    EnableMemoryBasedScheduling: true  # without it Slurm ignores --mem, and a job may eat another's memory
  SlurmQueues:
    # For the drivers of runs: one small node that is never taken away. `raypipe submit` is told so by
    #   [slurm]
    #   partition = "{WORKERS_QUEUE}"
    #   head_partition = "{DRIVERS_QUEUE}"
    #   venv = "{settings.venv}"
    - Name: {DRIVERS_QUEUE}
      CapacityType: ONDEMAND
      Networking:
        SubnetIds:
          - {settings.subnet}
      ComputeResources:
        - Name: driver
          Instances:
            - InstanceType: {settings.driver_instance}
          MinCount: 0
          MaxCount: 2
      CustomActions:
        OnNodeConfigured:
{_bootstrap(settings, 10)}
      Iam:
{_policies(settings, 8)}        S3Access:
          - BucketName: {bucket}
            KeyName: {_quoted(key_names)}

    # Workers: any of these types will do, so that one that is sold out stops nothing. Slurm counts the memory of the
    # smallest. MaxCount is the most that can ever be paid for at once.
    - Name: {WORKERS_QUEUE}
      CapacityType: {"SPOT" if settings.spot else "ONDEMAND"}
      AllocationStrategy: {"capacity-optimized" if settings.spot else "lowest-price"}
      Networking:
        SubnetIds:
          - {settings.subnet}
      ComputeResources:
        - Name: worker
          Instances:
{_lines(f"            - InstanceType: {each}" for each in settings.workers)}
          MinCount: {settings.min_nodes}
          MaxCount: {settings.max_nodes}
      CustomActions:
        OnNodeConfigured:
{_bootstrap(settings, 10)}
      Iam:
        S3Access:
          - BucketName: {bucket}
            KeyName: {_quoted(key_names)}

SharedStorage:
  - MountDir: {settings.mount}
    Name: raypipe-data
    StorageType: Ebs
    EbsSettings:
      VolumeType: gp3
      Iops: {settings.iops}
      Throughput: {settings.throughput}
      Encrypted: {str(settings.encrypted).lower()}
{_volume(settings)}
      # However the cluster is deleted, AWS takes a last snapshot of the volume before the volume goes. With `Delete`
      # the data would go with it.
      DeletionPolicy: Snapshot

Monitoring:
  Logs:
    CloudWatch:
      Enabled: true
      RetentionInDays: 30
      DeletionPolicy: Retain  # what went wrong can be read when the cluster is gone
"""


def _tags(settings: ClusterSettings) -> str:
    return _lines(f"  - Key: {_quoted(key)}\n    Value: {_quoted(value)}" for key, value in settings.tags)


def _bootstrap(settings: ClusterSettings, indent: int) -> str:
    lines = [
        f"Script: {settings.bucket}/{BOOTSTRAP}",
        "Args:",
        f"  - {settings.bucket}",
        f"  - {settings.wheel}",
        f"  - {settings.venv}",
    ]
    return _lines(" " * indent + line for line in lines)


def _policies(settings: ClusterSettings, indent: int) -> str:
    if not settings.policies:
        return ""
    lines = ["AdditionalIamPolicies:", *(f"  - Policy: {each}" for each in settings.policies)]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _volume(settings: ClusterSettings) -> str:
    if settings.snapshot:
        # Without a size ParallelCluster takes 40 GB, and refuses a volume that is smaller than its snapshot.
        return (
            f"      SnapshotId: {settings.snapshot}  # the volume begins as this snapshot\n"
            f"      Size: {settings.volume_gb}  # GB, no less than the snapshot's"
        )
    return f"      Size: {settings.volume_gb}  # GB; a new, empty volume"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)

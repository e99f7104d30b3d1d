"""The configuration says what settings ask for, is always the same, loses no data and holds no secret."""

import os
import stat
import subprocess
import zipfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import SettingsError
from cluster.instances import load_table
from cluster.pcluster_check import problems, read_config, room_for_tasks
from cluster.pcluster_config import ClusterSettings, render

TABLE = load_table()
SETTINGS = ClusterSettings(
    region="ap-southeast-1",
    subnet="subnet-0123456789abcdef0",
    key="my key",
    bucket="s3://my-bucket/raypipe",
    wheel="raypipe_ephys-0.1.0-py3-none-any.whl",
    workers=("r5.2xlarge", "r5a.2xlarge"),
)
TEXT = render(SETTINGS)


def config_of(settings: ClusterSettings) -> dict[str, Any]:
    return read_config(render(settings), "it")


def queues(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {queue["Name"]: queue for queue in config["Scheduling"]["SlurmQueues"]}


def volume(config: dict[str, Any]) -> dict[str, Any]:
    (storage,) = config["SharedStorage"]
    assert (storage["StorageType"], storage["MountDir"]) == ("Ebs", "/data")
    found: dict[str, Any] = storage["EbsSettings"]
    return found


def test_the_configuration_of_a_lab() -> None:
    config = config_of(SETTINGS)
    assert config["Region"] == "ap-southeast-1"
    assert config["HeadNode"]["InstanceType"] == "m5.large"
    assert config["HeadNode"]["Ssh"] == {"KeyName": "my key"}
    assert config["Scheduling"]["SlurmSettings"]["EnableMemoryBasedScheduling"] is True
    workers, drivers = queues(config)["workers"], queues(config)["drivers"]
    (worker,) = workers["ComputeResources"]
    assert [each["InstanceType"] for each in worker["Instances"]] == ["r5.2xlarge", "r5a.2xlarge"]
    assert (worker["MinCount"], worker["MaxCount"]) == (0, 8)
    assert (workers["CapacityType"], drivers["CapacityType"]) == ("ONDEMAND", "ONDEMAND")
    assert volume(config)["Size"] == 1000
    assert "SnapshotId" not in volume(config)


def test_every_node_installs_raypipe_from_the_bucket_and_may_read_it() -> None:
    config = config_of(SETTINGS)
    places = [config["HeadNode"], *queues(config).values()]
    assert len(places) == 3
    for place in places:
        script = place["CustomActions"]["OnNodeConfigured"]
        assert script["Script"] == "s3://my-bucket/raypipe/bootstrap.sh"
        assert script["Args"] == ["s3://my-bucket/raypipe", SETTINGS.wheel, "/data/venvs/raypipe"]
        assert place["Iam"]["S3Access"] == [{"BucketName": "my-bucket", "KeyName": "raypipe/*"}]
    root = config_of(replace(SETTINGS, bucket="s3://my-bucket"))
    assert root["HeadNode"]["Iam"]["S3Access"] == [{"BucketName": "my-bucket", "KeyName": "*"}]


def test_only_workers_are_ever_spot() -> None:
    config = config_of(replace(SETTINGS, spot=True))
    assert queues(config)["workers"]["CapacityType"] == "SPOT"
    assert queues(config)["workers"]["AllocationStrategy"] == "capacity-optimized"
    assert queues(config)["drivers"]["CapacityType"] == "ONDEMAND"


def test_a_volume_from_a_snapshot_has_a_size_too() -> None:
    found = volume(config_of(replace(SETTINGS, snapshot="snap-0123456789abcdef0", encrypted=False)))
    assert found["SnapshotId"] == "snap-0123456789abcdef0"
    assert found["Size"] == 1000  # without one ParallelCluster takes 40, and refuses what is smaller than the snapshot
    assert found["Encrypted"] is False


def test_policies_and_tags() -> None:
    policy = "arn:aws:iam::123456789012:policy/raypipe-finalize"
    config = config_of(replace(SETTINGS, policies=(policy,), tags=(("who", 'the "lab"'),)))
    assert config["HeadNode"]["Iam"]["AdditionalIamPolicies"] == [{"Policy": policy}]
    drivers, workers = config["Scheduling"]["SlurmQueues"]  # a run's last job is on a drivers' node
    assert drivers["Iam"]["AdditionalIamPolicies"] == [{"Policy": policy}]
    assert "AdditionalIamPolicies" not in workers["Iam"]
    assert config["Tags"] == [{"Key": "who", "Value": 'the "lab"'}]
    assert "AdditionalIamPolicies" not in config_of(SETTINGS)["HeadNode"]["Iam"]


@given(
    spot=st.booleans(),
    snapshot=st.sampled_from(["", "snap-01234567"]),
    nodes=st.tuples(st.integers(0, 50), st.integers(1, 1000)).map(sorted),
    iops=st.integers(3000, 16000),
    workers=st.lists(st.sampled_from(["r5.2xlarge", "r5a.2xlarge", "z1d.2xlarge"]), min_size=1, unique=True).map(tuple),
)
def test_whatever_is_asked_for_data_outlive_the_cluster_and_nothing_is_wrong(
    spot: bool, snapshot: str, nodes: list[int], iops: int, workers: tuple[str, ...]
) -> None:
    least, most = nodes
    settings = replace(
        SETTINGS, spot=spot, snapshot=snapshot, min_nodes=least, max_nodes=max(most, 1), iops=iops, workers=workers
    )
    text = render(settings)
    assert text == render(settings)
    config = read_config(text, "it")
    assert volume(config)["DeletionPolicy"] == "Snapshot"
    assert problems(config, TABLE) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"subnet": ""}, "subnet is not set"),
        ({"subnet": "vpc-0123456789"}, "subnet is 'vpc-0123456789'"),
        ({"region": "Singapore"}, "region"),
        ({"key": ""}, "key is not set"),
        ({"key": 'a"\nEvil: true'}, "key"),
        ({"bucket": "my-bucket"}, "bucket"),
        ({"bucket": ""}, "bucket is not set"),
        ({"snapshot": "vol-0123456789"}, "snapshot"),
        ({"mount": "data"}, "mount"),
        ({"head_instance": "big"}, "head_instance"),
        ({"workers": ()}, "workers is empty"),
        ({"workers": ("r5",)}, "'r5' is no instance type"),
        ({"min_nodes": 9}, "9 to 8 workers"),
        ({"max_nodes": 0}, "0 to 0 workers"),
        ({"throughput": 1000}, "1000 MB/s need 4000 IOPS"),
        ({"policies": ("AdministratorAccess",)}, "no policy's ARN"),
        ({"wheel": "raypipe; rm -rf"}, "wheel"),
    ],
)
def test_what_cannot_be_meant(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        replace(SETTINGS, **changed)
    assert says in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- InstanceType: r5a.2xlarge", "- InstanceType: r5.3xlarge", "worker: the table of instances has no type 'r5.3xlarge'"),
        ("InstanceType: m5.large\n  Networking", "InstanceType: m5.big\n  Networking", "HeadNode: the table"),
        ("MinCount: 0\n          MaxCount: 8", "MinCount: 99\n          MaxCount: 8", "MinCount 99 is more than MaxCount 8"),
        ("MinCount: 0\n          MaxCount: 8", "MinCount: 11", "MinCount 11 is more than MaxCount 10"),
        ("- InstanceType: r5a.2xlarge", "- InstanceType: r5.large", "differ in vCPUs (r5.2xlarge 8, r5.large 2)"),
        ("EnableMemoryBasedScheduling: true", "EnableMemoryBasedScheduling: false", "Slurm would ignore the memory"),
        ("DeletionPolicy: Snapshot", "DeletionPolicy: Delete", "/data: its data would be deleted"),
        ("      DeletionPolicy: Snapshot\n", "", "/data: its data would be deleted"),
        ("Region: ap-southeast-1", "Region: eu-west-1", "no price of m5.large in 'eu-west-1'"),
        ("MinCount: 0\n          MaxCount: 8", "SchedulableMemory: 800", "r5.2xlarge is too small"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration(old: str, new: str, says: str) -> None:
    assert TEXT.count(old) == 1
    found = problems(read_config(TEXT.replace(old, new), "it"), TABLE)
    assert len([line for line in found if says in line]) >= 1, found
    assert problems(read_config(TEXT, "it"), TABLE) == []


def test_retained_and_foreign_volumes_are_not_lost() -> None:
    assert problems(read_config(TEXT.replace("DeletionPolicy: Snapshot", "DeletionPolicy: Retain"), "it"), TABLE) == []
    foreign = read_config(TEXT, "it")
    foreign["SharedStorage"][0]["EbsSettings"] = {"VolumeId": "vol-0123456789abcdef0"}
    assert problems(foreign, TABLE) == []


def test_architectures_do_not_mix(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    text = (files("cluster") / "instances.toml").read_text(encoding="utf-8")
    lines = [
        line.replace("x86_64", "arm64") if line.startswith('"r5a.2xlarge"') else line for line in text.splitlines()
    ]
    own.write_text("\n".join(lines))
    found = problems(read_config(TEXT, "it"), load_table(own))
    assert any("r5a.2xlarge is arm64 and the head node's m5.large x86_64" in line for line in found)
    assert any("differ in architecture" in line for line in found)


def test_the_largest_task_must_fit_one_kind_of_worker() -> None:
    room = room_for_tasks(TABLE.instances["r5.2xlarge"])
    assert 40 << 30 < room < 0.95 * (64 << 30)
    config = read_config(TEXT, "it")
    assert problems(config, TABLE, task_memory=room) == []
    (line,) = problems(config, TABLE, task_memory=room + (1 << 20))
    assert f"the largest worker has {room >> 20} MB for tasks" in line


@pytest.mark.parametrize("text", ["- a", "a: [", "", "just words", "a: 1\n b: 2"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(SettingsError, match="it is no"):
        read_config(text, "it")


@pytest.mark.parametrize(
    "text",
    ["{}", "Scheduling: 3", "Scheduling: {SlurmQueues: {a: 1}}", "SharedStorage: [3]", "HeadNode: []", "Region: [1]",
     "Scheduling: {SlurmQueues: [{ComputeResources: [{Instances: [{}]}, {MinCount: x}]}]}"],
)  # fmt: skip
def test_a_configuration_of_another_shape_is_wrong_and_no_crash(text: str) -> None:
    assert problems(read_config(text, "it"), TABLE)


# What each node runs, for real; only AWS's own program and ParallelCluster's file are stood in for.


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder with a bucket in it, and an `aws` that copies from there."""
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "constraints.txt").write_text("")
    _wheel(bucket / "thing-1.0-py3-none-any.whl", "1")
    programs = tmp_path / "bin"
    programs.mkdir()
    aws = programs / "aws"
    aws.write_text(f'#!/bin/bash\nset -e\ncp "${{4/#s3:\\/\\/b/{bucket}}}" "$5"\n')
    python = programs / "python3.11"
    python.write_text(f'#!/bin/bash\nexec {os.path.realpath("/proc/self/exe")} "$@"\n')
    for each in (aws, python):
        each.chmod(each.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def boot(node: Path, kind: str) -> subprocess.CompletedProcess[str]:
    facts = node / "cfnconfig"
    facts.write_text(f"cfn_node_type={kind}\n")
    script = str(files("cluster") / "bootstrap.sh")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": f"{node / 'bin'}:{os.environ['PATH']}",
        "CFNCONFIG": str(facts),
        "PIP_NO_INDEX": "1",
    }
    command = ["bash", script, "s3://b", "thing-1.0-py3-none-any.whl", str(node / "data/venvs/raypipe")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_the_head_node_installs_once_and_other_nodes_do_not(node: Path) -> None:
    venv = node / "data/venvs/raypipe"
    assert boot(node, "ComputeFleet").returncode == 0
    assert not venv.exists()

    done = boot(node, "HeadNode")
    assert done.returncode == 0, done.stderr
    says = [venv / "bin/python", "-c", "import thing; print(thing.number)"]
    assert subprocess.run(says, capture_output=True, text=True).stdout == "1\n"

    python = node / "bin/python3.11"
    python.write_text("#!/bin/bash\nexit 7\n")  # whoever asks for a new venv from now on fails
    assert boot(node, "HeadNode").returncode == 0  # the same wheel: there is nothing to do
    _wheel(node / "bucket/thing-1.0-py3-none-any.whl", "2")
    assert boot(node, "HeadNode").returncode == 7
    assert not (venv / "installed").exists()


def test_a_bucket_without_the_wheel_fails_the_head_node(node: Path) -> None:
    (node / "bucket/thing-1.0-py3-none-any.whl").unlink()
    assert boot(node, "HeadNode").returncode != 0
    assert not (node / "data").exists()


def _wheel(path: Path, number: str) -> None:
    meta = "thing-1.0.dist-info"
    contents = {
        "thing.py": f"number = {number}\n",
        f"{meta}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        f"{meta}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in contents.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{meta}/RECORD", "".join(f"{name},,\n" for name in contents) + f"{meta}/RECORD,,\n")


@pytest.mark.parametrize(
    "line",
    ["# the lab's key: AKIAIOSFODNN7EXAMPLE", "  Password: hunter22long", "Hook: https://me:hunter22long@ntfy.example"],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(SettingsError, match=r"it: line \d+ seems to hold ") as error:
        read_config(f"{TEXT}{line}\n", "it")
    assert line.rpartition(" ")[2] not in str(error.value)

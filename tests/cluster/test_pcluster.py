"""ParallelCluster's real tool, against an emulated AWS: what it says of configurations, and what the verbs do with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.aws.repoint import repoint
from cluster.aws.state import Snapshot, Volume
from cluster.data_volume import DataVolume, judged, loss_words, refuse_unsaved
from cluster.errors import ClusterRefused, NotSaved, PclusterMissing, SettingsError
from cluster.instances import load_table
from cluster.pcluster import VERSION, Pcluster, check_name, find_tool, own_folder, state_lines
from cluster.pcluster_check import problems, read_config
from cluster.pcluster_config import render
from raypipe.cluster_verbs import WHEEL
from tests.cluster.aws import REGION, Aws, emulated_aws, pcluster_tool
from tests.cluster.test_pcluster_config import SETTINGS

RAYPIPE = Path(sys.executable).parent / "raypipe"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
# What the emulator lacks, and AWS has.
EMULATORS_GAPS = {"HeadNodeLaunchTemplateValidator", "ComputeResourceLaunchTemplateValidator", "KeyPairValidator"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with emulated_aws(tmp_path_factory.mktemp("aws")) as emulated:
        yield emulated


def call(
    aws: Aws | None, *words: object, cwd: Path | None = None, answer: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(aws.environment if aws else {}), **more}
    return subprocess.run(
        [str(RAYPIPE), "cluster", *map(str, words)], env=environment, cwd=cwd, input=answer, capture_output=True, text=True
    )  # fmt: skip


def settings_file(folder: Path, **told: object) -> Path:
    """Write the settings of a cluster that the emulator could make."""
    values = {"tool": str(pcluster_tool()), "region": REGION, **told}
    path = folder / "raypipe.toml"
    path.write_text("[cluster]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return path


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, spot=True, snapshot="snap-0123456789abcdef0", min_nodes=1, encrypted=False),
        replace(SETTINGS, policies=("arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",), bucket="s3://my-bucket"),
    ],
)
def test_the_schema_has_nothing_against_what_we_render(settings: object) -> None:
    assert Pcluster(pcluster_tool()).schema_problems(render(settings)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_we_render_for_a_new_volume_can_be_pointed_at_its_snapshot(ends: str) -> None:
    first, second = "snap-0123456789abcdef0", "snap-00000000000000001"
    config = render(SETTINGS).replace("\n", ends)
    pointed = repoint(config.encode(), SETTINGS.mount, first).decode()

    came = f"      SnapshotId: {first}{ends}"
    assert pointed.count(came) == 1
    assert pointed.replace(came, "") == config
    assert repoint(pointed.encode(), SETTINGS.mount, second).decode() == pointed.replace(first, second)
    assert Pcluster(pcluster_tool()).schema_problems(pointed) == []
    assert problems(read_config(pointed, "it"), load_table()) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Imds:", "Imdz:", "HeadNode.Imdz: Unknown field."),
        ("Os: alinux2023", "Os: alinux2", "Image.Os"),
        ("DeletionPolicy: Snapshot", "DeletionPolicy: Keep", "SharedStorage.0.EbsSettings.DeletionPolicy: Must be one of"),
        ("Size: 1000", "SnapshotId: snapshot-1", "SharedStorage.0.EbsSettings.SnapshotId"),
        ("CapacityType: ONDEMAND\n      AllocationStrategy", "CapacityType: CHEAP\n      AllocationStrategy", "CapacityType"),
    ],
)  # fmt: skip
def test_the_schema_names_what_is_wrong(old: str, new: str, says: str) -> None:
    text = render(SETTINGS)
    assert text.count(old) == 1
    (line,) = Pcluster(pcluster_tool()).schema_problems(text.replace(old, new))
    assert says in line


def test_the_schema_lets_pass_what_our_table_does_not() -> None:
    wrong = render(SETTINGS).replace("r5a.2xlarge", "r5.3xlarge").replace("MinCount: 0\n          MaxCount: 8", "MinCount: 9\n          MaxCount: 8")  # fmt: skip
    assert Pcluster(pcluster_tool()).schema_problems(wrong) == []


def test_the_tool_is_the_one_given_else_on_the_path_else_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def program(folder: Path) -> Path:
        folder.mkdir(parents=True)
        made = folder / "pcluster"
        made.write_text("#!/bin/sh\n")
        made.chmod(0o755)
        return made

    monkeypatch.setenv("RAYPIPE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(PclusterMissing) as error:
        find_tool()
    assert f"pip install aws-parallelcluster=={VERSION}" in error.value.hint
    assert str(tmp_path) in error.value.hint
    cached = program(own_folder() / "bin")
    assert find_tool() == cached
    on_path = program(tmp_path / "path")
    assert find_tool() == on_path
    given = program(tmp_path / "given")
    assert find_tool(str(given)) == given
    with pytest.raises(PclusterMissing, match="there is no program /nowhere/pcluster"):
        find_tool("/nowhere/pcluster")


def test_a_program_that_is_another_or_broken_is_told(tmp_path: Path) -> None:
    other = tmp_path / "pcluster"
    other.write_text("#!/bin/sh\necho something else; echo went wrong >&2; exit 3\n")
    other.chmod(0o755)
    with pytest.raises(ClusterRefused, match="went wrong"):
        Pcluster(other).describe("pipe")
    with pytest.raises(PclusterMissing, match="does not start"):
        Pcluster(other).schema_problems("")  # there is no python beside it


@pytest.mark.parametrize("name", ["", "1pipe", "pipe_2", "pi pe", "p" * 61, "näh"])
def test_what_is_no_name_of_a_cluster(name: str) -> None:
    with pytest.raises(SettingsError):
        check_name(name)
    assert check_name("pipe-2") == "pipe-2"


def test_states_are_told_in_words() -> None:
    found = {
        "clusterName": "pipe", "region": REGION, "clusterStatus": "CREATE_FAILED", "computeFleetStatus": "PROTECTED",
        "lastUpdatedTime": "2026-11-23T09:30:12.000Z",
        "headNode": {"instanceType": "m5.large", "instanceId": "i-1", "state": "running", "publicIpAddress": "192.0.2.1"},
        "failures": [{"failureCode": "HeadNodeBootstrapFailure", "failureReason": "bootstrap.sh failed"}],
    }  # fmt: skip
    assert state_lines(found) == [
        "pipe in ap-southeast-1: could not be made (CREATE_FAILED), since 2026-11-23 09:30",
        "compute fleet: is protected: nodes failed to start again and again, and Slurm gets no more of them (PROTECTED)",
        "head node: m5.large i-1, running",
        "  ssh ec2-user@192.0.2.1",
        "failed: failureCode: HeadNodeBootstrapFailure, failureReason: bootstrap.sh failed",
    ]
    assert "does not know" in state_lines({"clusterStatus": "BRAND_NEW"})[0]


def saved(hours: float) -> DataVolume:
    return DataVolume("vol-1", 100, snapshot("snap-1", NOW - timedelta(hours=hours)))


def test_how_far_a_volume_is_saved() -> None:
    assert saved(1.5).described(NOW) == "vol-1, 100 GB, saved in snap-1, 90 min ago"
    assert saved(5).described(NOW).endswith("5 h ago")
    assert saved(72).described(NOW).endswith("3 days ago")
    assert DataVolume("vol-1", 100, None).described(NOW).endswith("not saved: it has no completed snapshot")
    assert "under way" in DataVolume("vol-1", 100, None, pending=True).described(NOW)


def snapshot(name: str, began: datetime, state: str = "completed", volume: str = "vol-1") -> Snapshot:
    return Snapshot(name, state, volume, 100, began.timestamp(), {})


def test_only_a_volumes_own_completed_snapshots_save_it() -> None:
    early, late, later = (NOW - timedelta(hours=hours) for hours in (3, 2, 1))
    volume = Volume("vol-1", "", 100)
    useless = [snapshot("p", later, "pending"), snapshot("e", later, "error"), snapshot("f", later, volume="vol-2")]
    assert judged(volume, []) == DataVolume("vol-1", 100, None)
    assert judged(volume, useless) == DataVolume("vol-1", 100, None, pending=True)
    good = [snapshot("snap-1", late), snapshot("snap-2", late), snapshot("snap-0", early)]
    assert judged(volume, [*good, *useless[1:]]) == DataVolume("vol-1", 100, good[1])


def test_unsaved_data_are_not_deleted_by_accident() -> None:
    unsaved = DataVolume("vol-2", 100, None)
    refuse_unsaved("pipe", [])
    refuse_unsaved("pipe", [saved(1)])
    for words in ("", "yes", "delete pipe2 without a snapshot"):
        with pytest.raises(NotSaved) as error:
            refuse_unsaved("pipe", [saved(1), unsaved], words)
        assert error.value.exit_code == 3
        assert "vol-2 has no completed snapshot" in error.value.message
        assert loss_words("pipe") in error.value.hint
    refuse_unsaved("pipe", [unsaved], loss_words("pipe"))
    with pytest.raises(NotSaved) as error:
        refuse_unsaved("pipe", [replace(unsaved, pending=True)])
    assert error.value.hint.startswith("wait until")


def test_a_clusters_life(aws: Aws, tmp_path: Path) -> None:
    config = settings_file(tmp_path)
    (volume,) = aws.make_stack("pipe")
    told = ["pipe", "--config", config]

    shown = call(aws, "status", *told)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("pipe in ap-southeast-1: is there (CREATE_COMPLETE), since 20")
    assert lines[1:] == [
        "compute fleet: runs: nodes come when jobs ask for them (RUNNING)",
        "head node: none runs",
        f"data volume: {volume}, 100 GB, not saved: it has no completed snapshot",
        "not armed: nobody ends it when no machine waits (`raypipe cluster arm pipe --config FILE`)",
    ]

    foreign = aws.client("ec2").create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    aws.client("ec2").create_snapshot(VolumeId=foreign)
    shown = call(aws, "delete", *told, "--yes")
    assert shown.returncode == 3
    assert f"{volume} has no completed snapshot" in shown.stderr
    assert "pipe" in aws.stack_names()

    snapshot = aws.client("ec2").create_snapshot(VolumeId=volume)["SnapshotId"]
    facts = json.loads(call(aws, "status", *told, "--json").stdout)
    assert [(each["id"], each["saved"]["snapshot"]) for each in facts["dataVolumes"]] == [(volume, snapshot)]

    shown = call(aws, "delete", *told, answer="n\n")
    assert shown.returncode == 1
    lines = shown.stderr.splitlines()
    assert f"data volume: {volume}, 100 GB, saved in {snapshot}, " in lines[0]
    assert "its compute fleet is not stopped" in lines[1]
    assert "pipe" in aws.stack_names()
    shown = call(aws, "delete", *told, answer="y\n")
    assert shown.returncode == 0, shown.stderr
    assert "pipe is being deleted" in shown.stdout
    assert "pipe" not in aws.stack_names()

    shown = call(aws, "delete", *told, "--yes")
    assert shown.returncode == 4
    assert "'pipe' does not exist" in shown.stderr
    assert "Traceback" not in shown.stderr

    ours = [{"Key": "raypipe:managed", "Value": "true"}, {"Key": "raypipe:cluster", "Value": "pipe"}]
    aws.client("sns").create_topic(Name="raypipe-pipe", Tags=ours)  # part of what armed it
    shown = call(aws, "status", *told)
    assert shown.returncode == 4
    assert "there is no cluster pipe, but what `raypipe cluster arm` made for it is still there" in shown.stderr
    assert "hint: `raypipe cluster disarm pipe --config FILE`" in shown.stderr


def test_two_volumes_must_both_be_saved_unless_it_is_meant(aws: Aws, tmp_path: Path) -> None:
    config = settings_file(tmp_path)
    first, second = aws.make_stack("two", volumes=2)
    aws.client("ec2").create_snapshot(VolumeId=first)
    shown = call(aws, "delete", "two", "--config", config, "--yes")
    assert shown.returncode == 3
    assert second in shown.stderr
    assert first not in shown.stderr.splitlines()[0]
    words = "delete two without a snapshot"
    assert call(aws, "delete", "two", "--config", config, "--yes", "--without-snapshot", words).returncode == 0
    assert "two" not in aws.stack_names()


def test_a_cluster_is_made_as_far_as_the_emulator_goes(aws: Aws, tmp_path: Path) -> None:
    subnet = aws.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    aws.client("ec2").create_key_pair(KeyName="lab")
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="lab-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    config = settings_file(tmp_path, subnet=subnet, key="lab", bucket="s3://lab-bucket/raypipe", spot=True)
    told = ["create", "pipe3", "--config", config, "--dry-run"]
    file = tmp_path / "cluster-config.yaml"

    shown = call(aws, *told, cwd=tmp_path)
    assert shown.returncode == 2
    assert f"has no {WHEEL}" in shown.stderr
    for name in (WHEEL, "constraints.txt"):
        s3.put_object(Bucket="lab-bucket", Key=f"raypipe/{name}", Body=b"")

    shown = call(aws, *told, cwd=tmp_path)
    # All of ParallelCluster's own validators have looked at it, and only the emulator is not good enough.
    complaints = [line.split("type: ")[1].split(",")[0] for line in shown.stderr.splitlines() if "type: " in line]
    assert set(complaints) <= EMULATORS_GAPS, shown.stderr
    assert shown.returncode in (0, 4)
    assert file.read_text() == call(aws, "create", "pipe3", "--config", config, "--print").stdout
    assert b"OnNode" not in s3.get_object(Bucket="lab-bucket", Key="raypipe/bootstrap.sh")["Body"].read()
    assert "pipe3" not in aws.stack_names()

    own = file.read_text().replace("MaxCount: 8", "MaxCount: 3")
    file.write_text(own)
    wrong = own.replace("r5.2xlarge", "r5.3xlarge")
    file.write_text(wrong)
    shown = call(aws, *told, cwd=tmp_path)
    assert shown.returncode == 2
    assert "did you mean r5.2xlarge" in shown.stderr
    assert file.read_text() == wrong  # once it is there, it is the user's

    for expected in (
        own.replace("MaxCount: 3", "MaxCount: 8"),
        own,
    ):  # where [finalize] points it at snapshots: written once, then taken as it is
        shown = call(aws, *told, "--file", "s3://lab-bucket/raypipe/pipe3.yaml", cwd=tmp_path)
        assert shown.returncode in (0, 4)
        complaints = [line.split("type: ")[1].split(",")[0] for line in shown.stderr.splitlines() if "type: " in line]
        assert set(complaints) <= EMULATORS_GAPS, shown.stderr
        stored = s3.get_object(Bucket="lab-bucket", Key="raypipe/pipe3.yaml")["Body"].read().decode()
        assert stored == expected
        s3.put_object(Bucket="lab-bucket", Key="raypipe/pipe3.yaml", Body=own)
    s3.put_object(Bucket="lab-bucket", Key="raypipe/pipe3.yaml", Body=wrong)
    shown = call(aws, *told, "--file", "s3://lab-bucket/raypipe/pipe3.yaml", cwd=tmp_path)
    assert (shown.returncode, "s3://lab-bucket/raypipe/pipe3.yaml cannot be what is meant" in shown.stderr) == (2, True)

    shown = call(aws, "update", "pipe3", "--config", config, "--file", "s3://lab-bucket/none.yaml")
    assert (shown.returncode, "there is no s3://lab-bucket/none.yaml" in shown.stderr) == (2, True)
    file.write_text(own)
    shown = call(aws, "update", "pipe3", "--config", config, cwd=tmp_path)
    assert shown.returncode == 4
    assert "does not exist" in shown.stderr


def test_without_the_tool_every_verb_says_how_to_get_it(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    config = tmp_path / "raypipe.toml"
    config.write_text('[cluster]\nsubnet = "subnet-01234567"\nkey = "k"\nbucket = "s3://my-bucket"\n')
    told = {"PATH": str(folder), "RAYPIPE_CACHE_DIR": str(folder)}
    for words in (["create"], ["update"], ["status"], ["delete", "--yes"]):
        shown = call(None, *words, "pipe", "--config", config, cwd=tmp_path, **told)
        assert shown.returncode == 4, shown.stderr
        assert "pip install aws-parallelcluster==" in shown.stderr
        assert "Traceback" not in shown.stderr
    shown = call(None, "create", "pipe", "--config", config, "--print", cwd=tmp_path, **told)
    assert shown.returncode == 0
    assert shown.stdout.startswith("# A cluster for raypipe")
    assert "not looked at" in shown.stderr
    assert not (tmp_path / "cluster-config.yaml").exists()


def test_aws_out_of_reach_is_told(tmp_path: Path) -> None:
    nowhere = Aws("http://127.0.0.1:9", tmp_path)
    shown = call(nowhere, "status", "pipe", "--config", settings_file(tmp_path), AWS_MAX_ATTEMPTS="1")
    assert shown.returncode == 4
    assert "Traceback" not in shown.stderr


def test_the_help_has_examples() -> None:
    for verb in ("create", "update", "status", "delete"):
        shown = call(None, verb, "--help")
        assert shown.returncode == 0
        assert f"raypipe cluster {verb}" in shown.stdout

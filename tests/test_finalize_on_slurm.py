"""The whole end of a run: days submitted on a real Slurm whose cluster is on an emulated AWS; gone afterwards, or kept.

What is not real is AWS (an emulator on the head's network) and ParallelCluster's daemon, which here takes the nodes away
when the fleet is to be stopped, the one that the last job runs on among them. Machines have their rights as there: each
has credentials of its own in a file that only it sees, and those may do what the policies of their roles say.
"""

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.aws.calls import Aws, connect
from cluster.aws.rights import Place, policy
from raypipe.ending import run_id
from tests.aws.world import Cluster, Emulator, emulated, make_cluster
from tests.slurm.configuration import HEAD, HEAD_ADDRESS
from tests.slurm.harness import SlurmCluster, obstacle, wait_until

pytestmark = pytest.mark.slurm
REGION, BUCKET, KEY = "ap-southeast-1", "lab-raypipe", "cluster-config.yaml"
CREDENTIALS, NODE_TYPE = Path("/tmp/credentials"), Path("/tmp/cfnconfig")
"""On each machine its own."""
DAY = Path("picasso") / "20181106"
MARKERS = "rplparallel_d41d.hkl"
_ACCOUNT = """\
[default]
region = {region}
endpoint_url = {url}
aws_access_key_id = {key}
aws_secret_access_key = nothing
"""


@dataclass(frozen=True)
class Lab:
    """A Slurm of two nodes, and the AWS that it is on."""

    slurm: SlurmCluster
    emulator: Emulator
    aws: Aws
    folder: Path
    topic: str

    @property
    def administrator(self) -> dict[str, str]:
        """The environment of somebody who may do everything."""
        return {"AWS_CONFIG_FILE": str(self.folder / "administrator")}

    def told(self) -> list[dict[str, str]]:
        """Return what people were told, oldest first."""
        return [each["parameters"] for each in self.emulator.log() if each["action"] == "Publish"]

    def boot(self, cluster: Cluster) -> None:
        """Have all machines on, with the rights that they have on this cluster."""
        place = Place.of_stack(cluster.stack)
        for role in ("finalize", "handover"):
            rights = policy(role, place, config=f"{BUCKET}/{KEY}", channels=[self.topic])  # type: ignore[arg-type]
            self.emulator.fake("role", key=role, policies=[rights])
        for node in self.slurm.nodes:
            self.slurm.boot(node)
        self.slurm.run_on(HEAD, ["scontrol", "update", "PartitionName=queue1", "State=UP"])
        for machine in (HEAD, *self.slurm.nodes):
            is_head = machine == HEAD
            key = "finalize" if is_head else "handover"
            account = _ACCOUNT.format(region=REGION, url=self.emulator.url, key=key)
            self._write(machine, CREDENTIALS, account)
            self._write(machine, NODE_TYPE, f"cfn_node_type={'HeadNode' if is_head else 'ComputeFleet'}\n")
        for node in self.slurm.nodes:
            self.slurm.wait_state(node, "idle")

    def _write(self, machine: str, path: Path, text: str) -> None:
        self.slurm.run_on(machine, ["sh", "-c", f"cat >{path} <<'END'\n{text}END\n"])

    def raypipe(self, *words: object, environment: dict[str, str]) -> str:
        """Call raypipe on the head node; return what it printed."""
        command = [sys.executable, "-m", "raypipe", *map(str, words)]
        done = self.slurm.run_on(HEAD, command, environment=environment, seconds=240.0)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("lab")
    with (
        SlurmCluster(nodes=2, cpus=2, memory_mb=4000, shared=[tmp_path_factory.getbasetemp()]) as slurm,
        slurm.network(),
        pytest.MonkeyPatch.context() as patch,
        emulated(folder, HEAD_ADDRESS) as emulator,
    ):
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        administrator = folder / "administrator"
        administrator.write_text(_ACCOUNT.format(region=REGION, url=emulator.url, key="administrator"))
        patch.setenv("AWS_CONFIG_FILE", str(administrator))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        aws = connect(REGION)
        aws.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Lab(slurm, emulator, aws, folder, aws.sns.create_topic(Name="ends")["TopicArn"])


@contextmanager
def armed(lab: Lab, folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """Make a cluster that is armed, with its configuration in S3; give it, and settings that name it."""
    cluster = make_cluster(lab.aws, lab.emulator, folder)
    lab.aws.s3.put_object(Bucket=BUCKET, Key=KEY, Body=cluster.text)
    settings = folder / "raypipe.toml"
    settings.write_text(f"""
[slurm]
head_memory_mb = 3000
memory_mb = 3000
[cluster]
region = "{REGION}"
bucket = "s3://{BUCKET}"
[notify]
channels = ["{lab.topic}"]
[finalize]
cluster = "{cluster.name}"
file = "s3://{BUCKET}/{KEY}"
""")
    said = lab.raypipe("cluster", "arm", cluster.name, "--config", settings, environment=lab.administrator)
    assert f"made: function raypipe-{cluster.name}" in said
    lab.boot(cluster)
    lab.emulator.begin(fleet_looks=None, snapshot_seconds=1.0, stack_looks=1)
    yield cluster, settings
    lab.emulator.fake("idle")


def submit(lab: Lab, day: Path, out: Path, settings: Path, *options: str) -> tuple[Path, dict[str, Any], str]:
    """Submit a day; return the folder of the run, the ids of its jobs, and what was said."""
    words = ["submit", day, "--output", out, "--config", settings, "--only", "rplparallel", "--finalize", *options]
    environment = {"AWS_CONFIG_FILE": str(CREDENTIALS), "CFNCONFIG": str(NODE_TYPE)}
    said = lab.raypipe(*words, environment=environment)
    (run,) = (out / DAY / ".raypipe" / "cluster").iterdir()
    return run, json.loads((run / "jobs.json").read_text()), said


class Daemon:
    """ParallelCluster's, which follows what the table says of the fleet; it remembers what it found as the nodes went."""

    def __init__(self, lab: Lab, cluster: Cluster, run: Path) -> None:
        self.lab, self.cluster, self.run = lab, cluster, run
        self.secrets_there: list[str] | None = None
        self.jobs_there = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Daemon":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(0.2):
            try:
                if self.cluster.fleet() == "STOP_REQUESTED":
                    self._stop()
            except self.lab.aws.dynamodb.exceptions.ResourceNotFoundException:  # it went with the cluster
                return

    def _stop(self) -> None:
        slurm = self.lab.slurm
        self._write("STOPPING")
        self.jobs_there = slurm.run_on(HEAD, ["squeue", "--noheader", "--format=%j %T"]).stdout
        slurm.run_on(HEAD, ["scontrol", "update", "PartitionName=queue1", "State=INACTIVE"])
        for node in slurm.nodes:
            slurm.crash(node)
            slurm.run_on(HEAD, ["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=stopped"])
        self.secrets_there = [path.name for path in self.run.iterdir() if path.name in ("token", "address")]
        self._write("STOPPED")  # and not before that may there be a snapshot

    def _write(self, status: str) -> None:
        fleet = {"status": {"S": status}, "lastStatusUpdatedTime": {"S": str(datetime.now(UTC))}}
        item = {"Id": {"S": "COMPUTE_FLEET"}, "Data": {"M": fleet}}
        self.lab.aws.dynamodb.put_item(TableName=f"parallelcluster-{self.cluster.name}", Item=item)


def wait(lab: Lab, run: Path, jobs: dict[str, Any], over: Callable[[], bool]) -> None:
    """Wait until it is over; not if the last job said that it could not do its part."""

    def is_over() -> bool:
        finish = lab.slurm.job(jobs["finish"])
        assert finish["ExitCode"] in ("0:0", "1:0"), logs_of(lab, run)
        return over()

    try:
        wait_until(is_over, 300, "the end")
    except TimeoutError as error:
        error.add_note(logs_of(lab, run))
        raise


def logs_of(lab: Lab, run: Path) -> str:
    texts = [f"{path.name}\n{path.read_text()}" for path in sorted(run.glob("*slurm*"))]
    lives = lab.emulator.fake("functions")
    return "\n".join([*texts, *(f"{life['event']}\n{life['out']}{life['err']}{life['error']}" for life in lives)])


def assert_last_job_had_one_life(lab: Lab, jobs: dict[str, Any], daemon: Daemon) -> None:
    finish = lab.slurm.job(jobs["finish"])
    assert (finish["Restarts"], finish["JobState"] in ("COMPLETED", "NODE_FAIL", "FAILED")) == ("0", True), finish
    assert "worker" not in daemon.jobs_there
    assert daemon.secrets_there == []
    assert lab.slurm.run_on(HEAD, ["squeue", "--noheader"]).stdout == ""


def test_a_good_day_ends_with_its_snapshot_and_without_its_cluster(lab: Lab, another: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with armed(lab, tmp_path) as (cluster, settings):
        run, jobs, said = submit(lab, another, out, settings, "--workers", "1:1")
        assert f"if all goes well: /data of {cluster.name} is kept as a snapshot" in said
        with Daemon(lab, cluster, run) as daemon:
            wait(lab, run, jobs, lambda: cluster.status() == "DELETE_COMPLETE")
    name = run_id(path.name for path in (out / DAY / ".raypipe").glob("*/*T*-*"))
    (new,) = cluster.of_run(name)
    text = cluster.text.replace(cluster.old[-1].encode(), new.encode())
    objects = {each["Key"] for each in lab.aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert lab.aws.s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == text
    assert lab.aws.s3.get_object(Bucket=BUCKET, Key=f"{KEY}.before-{new}")["Body"].read() == cluster.text
    assert objects == {KEY, f"{KEY}.before-{new}"}
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    assert_last_job_had_one_life(lab, jobs, daemon)
    begun, ended, finalized = lab.told()
    assert "2 outputs to make" in begun["Subject"]
    assert ended["Subject"] == f"raypipe: run {name} done"
    assert f"{DAY}: 2 of 2 outputs are made; its last run done: 2 outputs made" in ended["Message"]
    assert finalized["Subject"] == f"raypipe: run {name}: {new} completed"
    assert lab.emulator.actions("Publish").count("CreateSnapshot") == 1


def test_a_failed_day_leaves_its_snapshot_and_its_cluster(lab: Lab, another: Path, tmp_path: Path) -> None:
    out, day = tmp_path / "out", tmp_path / "picasso" / another.name
    shutil.copytree(another, day)
    (broken,) = (day / "session01").glob("*.nev")
    broken.write_bytes(broken.read_bytes()[:200])
    with armed(lab, tmp_path) as (cluster, settings):
        run, jobs, _ = submit(lab, day, out, settings, "--fixed", "1")
        with Daemon(lab, cluster, run) as daemon:
            wait(lab, run, jobs, lambda: any("completed" in each["Subject"] for each in lab.told()))
            lab.emulator.fake("idle")
        assert cluster.status() == "CREATE_COMPLETE"
        assert cluster.fleet() == "STOPPED"
    name = run_id(path.name for path in (out / DAY / ".raypipe").glob("*/*T*-*"))
    (new,) = cluster.of_run(name)
    assert cluster.snapshots()[new]["State"] == "completed"
    assert {*cluster.old, cluster.foreign, new} == set(cluster.snapshots())
    assert lab.aws.s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == cluster.text
    assert_last_job_had_one_life(lab, jobs, daemon)
    _, ended, finalized = lab.told()
    assert ended["Subject"] == f"raypipe: run {name} FAILED"
    assert f"{DAY}: 1 of 2 outputs are made" in ended["Message"]
    assert broken.name in ended["Message"]
    assert "The cluster is kept." in finalized["Message"]
    assert (out / DAY / "sessioneye" / MARKERS).is_file()

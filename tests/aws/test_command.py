"""`raypipe finalize` as a user calls it, over HTTP against an emulated AWS."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import raypipe
from cluster.aws.arm import arm
from cluster.aws.parts import Account
from raypipe.cli import main
from raypipe.ending import run_id
from tests.aws.world import PCLUSTER, Cluster, arms_of, in_bucket
from tests.slurm.harness import wait_until

pytestmark = pytest.mark.usefixtures("one_ray")
DAY = Path("picasso") / "20181106"
MARKERS = "session01/rplparallel_d41d.hkl"
ONLY = ("--only", "rplparallel")


@dataclass
class Called:
    """What a call of raypipe said."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Give a function that calls raypipe as the program would, in this process, since the program takes seconds to start."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no ParallelCluster but the one that is named

    def called(*words: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["raypipe", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Called(int(ended.value.code or 0), said.out, said.err)

    return called


@pytest.fixture
def settings(cluster: Cluster, tmp_path: Path) -> Path:
    """Settings that name the cluster and wait for little; who is told is in the file `told`."""
    tool = tmp_path / "pcluster"
    tool.write_text(f'#!/bin/sh\nexec {" ".join(PCLUSTER)} "$@"\n')
    tool.chmod(0o755)
    path = tmp_path / "raypipe.toml"
    path.write_text(f"""
[cluster]
region = "{cluster.aws.region}"
tool = "{tool}"
[notify]
channels = ["tee -a {tmp_path}/told"]
[finalize]
cluster = "{cluster.name}"
file = "{cluster.config}"
settle_seconds = 0.3
poll_seconds = 0.01
""")
    return path


@pytest.fixture(scope="module")
def made(another: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a day's outputs, of one stage; not to be changed."""
    out = tmp_path_factory.mktemp("made")
    assert raypipe.run_day(another, only=["rplparallel"], output=out).done == 2
    return out


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """The same, which a test may change."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def assert_gone(cluster: Cluster, run: str) -> str:
    (new,) = cluster.of_run(run)
    assert cluster.status() == "DELETE_COMPLETE"
    assert cluster.named() == new
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    return new


def assert_kept(cluster: Cluster) -> None:
    assert cluster.status() == "CREATE_COMPLETE"
    assert cluster.named() == cluster.old[-1]
    assert {*cluster.old, cluster.foreign} <= set(cluster.snapshots())


def run_of(folder: Path) -> str:
    return run_id(path.name for path in (folder / ".raypipe" / "runs").iterdir())


def test_a_good_day(cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path) -> None:
    run = run_of(made / DAY)

    said = call("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings)

    assert said.code == 0, said.err
    new = assert_gone(cluster, run)
    assert said.out == f"done: {new} holds the data; the cluster is gone\n"
    told = (tmp_path / "told").read_text()
    assert f"{DAY}: 2 of 2 outputs are made; its last run done: 2 outputs made, 46 kB in " in told
    assert f"log: {made / DAY}/.raypipe/runs/{run}" in told
    assert "2 outputs, " in said.err
    assert "read again: as they were written" in said.err
    assert f"stop the compute nodes of {cluster.name}" in said.err


def test_once_more_does_nothing(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path
) -> None:
    words = ("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings)
    call(*words)
    before, told = cluster.snapshots(), (tmp_path / "told").read_text()
    cluster.emulator.begin()

    said = call(*words)

    assert (said.code, cluster.emulator.actions()) == (0, [])
    assert (cluster.snapshots(), (tmp_path / "told").read_text()) == (before, told)


def test_a_dry_run_tells_all_and_changes_nothing(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path
) -> None:
    words = ("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings, "--dry-run")

    said = call(*words)
    told = json.loads(call(*words, "--json").out)

    assert said.code == 0, said.err
    assert said.out.startswith(f"run {run_of(made / DAY)}\n{DAY}: ")
    assert said.out.endswith("nothing was changed\n")
    assert (told["run"], told["good"]) == (run_of(made / DAY), True)
    actions = [step["action"] for step in told["steps"]]
    assert actions[:2] == ["Verify", "Tell"]
    assert actions[-3:] == ["DeleteCluster", "Wait", "Done"]
    assert all(f"{number:3}  {step['text']}\n" in said.out for number, step in enumerate(told["steps"], 1))
    assert cluster.emulator.actions() == []
    assert [entry for entry in cluster.emulator.log() if entry["action"] == "PutItem"] == []
    assert not (tmp_path / "told").exists()
    assert_kept(cluster)


@pytest.mark.parametrize(
    ("policy", "fleet", "taken", "status"),
    [
        ("nothing", "RUNNING", 0, "CREATE_COMPLETE"),
        ("stop-fleet", "STOPPED", 0, "CREATE_COMPLETE"),
        (None, "STOPPED", 1, "CREATE_COMPLETE"),
        ("teardown", "", 1, "DELETE_COMPLETE"),
    ],
)
def test_a_day_of_which_something_is_missing(
    cluster: Cluster, settings: Path, another: Path, out: Path, call: Call, tmp_path: Path,
    policy: str | None, fleet: str, taken: int, status: str,
) -> None:  # fmt: skip
    run = run_of(out / DAY)
    (out / DAY / MARKERS).unlink()
    options = ["--on-failure", policy] if policy else []

    said = call("finalize", "--yes", another, *ONLY, "--output", out, "--config", settings, *options)

    assert said.code == 1, said.err
    assert said.out.startswith("the run was NOT good: ")
    assert len(cluster.of_run(run)) == taken
    assert cluster.status() == status
    assert {*cluster.old, cluster.foreign} <= set(cluster.snapshots())
    if policy == "teardown":
        assert cluster.named() == cluster.of_run(run)[0]
    else:
        assert cluster.named() == cluster.old[-1]
        assert cluster.fleet() == fleet
    told = (tmp_path / "told").read_text()
    assert told.startswith(f"run {run} FAILED")
    assert f"{DAY}: " in told


def test_outputs_that_are_not_as_they_were_written(
    cluster: Cluster, settings: Path, another: Path, out: Path, call: Call, tmp_path: Path
) -> None:
    path = out / DAY / MARKERS
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a disk does it that rots

    said = call("finalize", "--yes", another, *ONLY, "--output", out, "--config", settings)

    assert said.code == 1, said.err
    assert_kept(cluster)
    told = (tmp_path / "told").read_text()
    assert "The outputs do not hold" in told
    assert f"{MARKERS}: its bytes are not those that were written" in told


def test_without_waiting_it_goes_as_far_as_it_can(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call
) -> None:
    words = ("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings, "--no-wait")
    codes = []
    while not codes or codes[-1] == 75:
        said = call(*words)
        codes.append(said.code)
        cluster.lease_runs_out()
    assert codes[-1] == 0
    assert len(codes) > 3
    assert_gone(cluster, run_of(made / DAY))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--cluster", "nobody"], 3, "there is no cluster 'nobody'"),
        (["--file", "/nowhere.yaml"], 3, "/nowhere.yaml cannot be read"),
        (["--file", "s3://nobucket/nothing"], 3, "there is no s3://nobucket/nothing"),
        (["--on-failure", "pray"], 2, "--on-failure"),
        (["--keep", "0"], 2, "--keep"),
        (["--cluster", ""], 2, "which cluster is to be ended is not said"),
        (["--output", "NEW"], 3, "there was no run whose end this could be"),
        (["--skip", "rplfp"], 2, "did you mean"),
    ],
)
def test_what_cannot_be_meant_or_is_not_safe(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path,
    words: list[str], code: int, says: str,
) -> None:  # fmt: skip
    root = tmp_path / "new" if "NEW" in words else made
    options = [] if "NEW" in words else words
    said = call("finalize", "--yes", another, *ONLY, "--config", settings, "--output", root, *options)
    assert (said.code, cluster.emulator.actions()) == (code, [])
    assert says in " ".join(said.err.split())
    assert_kept(cluster)


def test_what_is_no_day(cluster: Cluster, settings: Path, call: Call, tmp_path: Path) -> None:
    assert call("finalize", tmp_path, "--config", settings).code == 2


def test_other_jobs_are_named_before_anything_is_done(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    squeue(tmp_path, monkeypatch, "anna|17|17|N/A|PENDING||Priority||sim")
    said = call("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings)
    assert said.code == 3
    assert "job 17 (sim) of anna is still here" in said.err
    assert cluster.emulator.actions() == []
    assert (tmp_path / "told").read_text().startswith(f"{DAY} could NOT be finalized\n")  # --yes: nobody may be there
    assert_kept(cluster)


def test_the_last_job_of_a_run_leaves_the_cluster_to_others(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("SLURM_JOB_NAME", "raypipe-finalize-7")
    squeue(tmp_path, monkeypatch, "anna|17|17|N/A|RUNNING||None||sim", "me|9|9|N/A|RUNNING||None||raypipe-finalize-7")
    said = call("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings)
    assert said.code == 0, said.err
    note = "job 17 (sim) of anna is still here: the run that ends last finalizes"
    assert note in said.out
    assert note in (tmp_path / "told").read_text()
    assert cluster.fleet() == "RUNNING"
    assert_kept(cluster)


def squeue(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Have a Slurm that lists these jobs."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "squeue").write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    (programs / "squeue").chmod(0o755)
    (programs / "scontrol").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")


def test_people_can_be_told_and_no_more(
    cluster: Cluster, settings: Path, another: Path, made: Path, call: Call, tmp_path: Path
) -> None:
    said = call("finalize", "--yes", another, *ONLY, "--output", made, "--config", settings, "--tell-only")
    assert said.code == 0, said.err
    assert (tmp_path / "told").read_text().startswith(f"{DAY} done\n\n{DAY}: 2 of 2 outputs are made")
    assert cluster.emulator.log() == []


def test_a_run_ends_itself(cluster: Cluster, settings: Path, another: Path, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "new"
    said = call("run", another, *ONLY, "--output", out, "--config", settings, "--finalize")
    assert said.code == 0, said.err
    assert "if all goes well: " in said.err
    new = assert_gone(cluster, run_of(out / DAY))
    assert f"done: {new} holds the data" in said.out
    subjects = [line for line in (tmp_path / "told").read_text().splitlines() if re.match(r"run |picasso.*begun", line)]
    assert [re.sub(r"(run )?2\w+-\w+", "RUN", line) for line in subjects] == [
        f"{DAY} begun: 2 outputs to make, 200 kB", "RUN done", f"RUN: {new} completed"
    ]  # fmt: skip


def test_a_run_that_fails_is_ended_too(
    cluster: Cluster, settings: Path, another: Path, call: Call, tmp_path: Path
) -> None:
    day, out = tmp_path / DAY, tmp_path / "new"
    shutil.copytree(another, day)
    (broken,) = (day / "session01").glob("*.nev")
    broken.write_bytes(broken.read_bytes()[:200])
    words = ("--config", settings, "--finalize", "--on-failure", "stop-fleet")
    said = call("run", day, *ONLY, "--output", out, *words)
    assert said.code == 1, said.err
    assert said.out.startswith("the run was NOT good: the run failed: the compute nodes are stopped")
    assert cluster.fleet() == "STOPPED"
    assert cluster.of_run(run_of(out / DAY)) == []
    told = (tmp_path / "told").read_text()
    assert "1 of 2 outputs are made" in told
    assert f"session01 rplparallel: {broken}" in told
    assert f"    log: {out / DAY}/.raypipe/runs/" in told


def test_a_run_that_could_not_be_ended_is_not_begun(
    cluster: Cluster, settings: Path, another: Path, call: Call, tmp_path: Path
) -> None:
    settings.write_text(settings.read_text().replace(f'"{cluster.name}"', '"nobody"'))
    said = call("run", another, *ONLY, "--output", tmp_path / "new", "--config", settings, "--finalize")
    assert (said.code, (tmp_path / "new").exists()) == (3, False)
    assert "there is no cluster 'nobody'" in said.err


def test_a_submission_shows_how_it_will_end(
    cluster: Cluster, settings: Path, another: Path, call: Call, tmp_path: Path
) -> None:
    words = ("submit", another, *ONLY, "--output", tmp_path / "new", "--config", settings, "--print")
    finish = call(*words, "--finalize", "--on-failure", "teardown").out.partition("# ---- finish ----")[2]
    run = re.search(r"--run=(\S+)", finish)
    assert run
    assert "#SBATCH --job-name=raypipe-finalize-HEAD_ID\n" in finish
    assert finish.endswith(
        f"--head=HEAD_ID -- {sys.executable} -P -m raypipe finalize {another} --config={run[1]}/raypipe.toml --yes"
        f" --only rplparallel --output {tmp_path}/new\n"
    )
    only_told = call(*words).out.partition("# ---- finish ----")[2]
    assert "#SBATCH --job-name=raypipe-finish-HEAD_ID\n" in only_told
    assert " --tell-only --only rplparallel " in only_told
    settings.write_text(re.sub(r"channels = .*", "", settings.read_text()))
    assert call(*words).out.endswith("--head=HEAD_ID\n")


def test_a_submission_on_parallelcluster_must_be_able_to_hand_over(
    cluster: Cluster, settings: Path, another: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfnconfig").write_text("cfn_node_type=HeadNode\n")
    monkeypatch.setenv("CFNCONFIG", str(tmp_path / "cfnconfig"))
    words = ("submit", another, *ONLY, "--output", tmp_path / "new", "--config", settings, "--finalize")
    in_words = "cannot be handed over: the configuration"
    assert f"as things stand it would be refused: the end of the run {in_words}" in call(*words, "--print").err
    said = call(*words)
    assert (said.code, (tmp_path / "new").exists()) == (3, False)
    assert in_words in said.err
    cluster.aws.s3.create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": cluster.aws.region})
    cluster.aws.s3.put_object(Bucket="lab", Key="c.yaml", Body=cluster.text)
    settings.write_text(settings.read_text().replace(f'"{cluster.config}"', '"s3://lab/c.yaml"'))
    said = call(*words)
    assert said.code == 3
    assert f"`raypipe cluster arm {cluster.name} --config FILE` makes it" in said.err


def test_on_the_head_node_which_goes_too_the_function_ends_it(
    cluster: Cluster,
    settings: Path,
    another: Path,
    made: Path,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cfnconfig").write_text("cfn_node_type=HeadNode\n")
    monkeypatch.setenv("CFNCONFIG", str(tmp_path / "cfnconfig"))
    arm(Account(cluster.aws.region), arms_of(cluster))
    address = in_bucket(cluster)
    settings.write_text(settings.read_text().replace(f'"{cluster.config}"', f'"{address}"'))
    squeue(tmp_path, monkeypatch)
    cluster.emulator.begin(fleet_looks=0, stack_looks=0, snapshot_seconds=0.2)
    words = ("finalize", another, *ONLY, "--output", made, "--config", settings)
    assert f"delete cluster {cluster.name} (" in (foreseen := call(*words, "--dry-run").out)
    assert f"(raypipe-{cluster.name} does it, once the outputs are read and people are told)" in foreseen
    said = call(*words)
    assert said.code == 2
    assert "this deletes, and there is no terminal to ask at" in said.err

    said = call(*words, "--yes")

    assert (said.code, said.out) == (0, f"done: handed over to raypipe-{cluster.name}\n")
    wait_until(lambda: cluster.status() == "DELETE_COMPLETE", 60, "the function")
    assert [cluster.named(address)] == cluster.of_run(run_of(made / DAY))


def test_a_submission_that_ends_the_cluster_takes_all_days_or_none(
    settings: Path, another: Path, made: Path, call: Call, tmp_path: Path
) -> None:
    words = (*ONLY, "--config", settings, "--print", "--finalize")
    said = call("submit", another, tmp_path / "nowhere", "--output", tmp_path / "new", *words)
    assert (said.code, said.out) == (3, "")
    assert "a day is refused: the cluster is not to be ended with it undone" in said.err
    said = call("submit", another, "--output", made, *words)
    assert (said.code, said.out) == (3, "")
    assert "`raypipe finalize` ends the cluster now" in said.err


def test_what_is_damaged_in_place_of_outputs_is_no_good_day(
    cluster: Cluster, settings: Path, another: Path, out: Path, call: Call
) -> None:
    (out / DAY / ".raypipe" / "ledger.jsonl").write_bytes(b"")
    (out / DAY / MARKERS).write_bytes(b"")
    said = call("finalize", "--yes", another, *ONLY, "--output", out, "--config", settings)
    assert said.code == 1
    assert "2 do NOT hold" in said.err
    assert_kept(cluster)


def test_a_word_about_the_end_without_an_end(another: Path, call: Call) -> None:
    for verb in ("run", "submit"):
        said = call(verb, another, "--on-failure", "teardown")
        assert (said.code, "--on-failure is about the end on AWS" in said.err) == (2, True)

"""Submissions: the texts of their jobs, what is said before, and what is on the disk after."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.errors import NodeTooSmall, SettingsError
from cluster.jobs import JobSettings
from cluster.slurm import parse_sizes
from raypipe.config import Config, Slurm, load_config
from raypipe.errors import NotADay, TooLittleDisk, TooLittleMemory, UsageError
from raypipe.room import task_memory, too_large
from raypipe.submit import (
    Choice,
    Submission,
    for_any_folder,
    job_settings,
    new_submission,
    printed,
    shape_of,
    survey,
    walltime_seconds,
)
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle
from tests.test_faults import small_disk

RAYPIPE = Path(sys.executable).parent / "raypipe"
MB = 1 << 20
ALL = Choice()
NODES = """\
small*|4|2|2500|idle|(null)|infinite
large|2|8|64000|idle~|dynamic,r5|1-00:00:00
large|1|16|128000|idle~|dynamic,r6|1-00:00:00
untold|1|8|1|idle|(null)|infinite
"""


def call(*arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call raypipe; with `path` where there are no programs but those."""
    environment = os.environ | ({"PATH": str(path)} if path else {})
    return subprocess.run([str(RAYPIPE), *map(str, arguments)], capture_output=True, text=True, env=environment)


def made(day: Path, settings: Slurm, choice: Choice = ALL) -> Submission:
    """Return the submission of a day in a folder that does not depend on the time."""
    config = Config(slurm=for_any_folder(settings))
    new = new_submission(config, survey([day], config, choice), choice)
    return Submission(Path("/data/run"), new.config, new.shape, new.plans, choice)


def everything(root: Path) -> set[tuple[Path, int]]:
    return {(path, path.lstat().st_mtime_ns) for path in (root, *root.rglob("*"))}


def test_texts_of_a_run_with_workers(simulated: Path) -> None:
    settings = Slurm(
        workers="2:8", partition="queue1", account="hippo", walltime="12:00:00", name="pipe2", python="/opt/py"
    )
    assert (
        printed(made(simulated, settings, Choice(skip=("rplsplit",), channels="9,33")).texts(1234))
        == f"""\
# ---- head ----
#!/bin/bash -l
#SBATCH --job-name=pipe2
#SBATCH --output=/data/run/pipe2-slurm.%N.%j.out
#SBATCH --error=/data/run/pipe2-slurm.%N.%j.err
#SBATCH --open-mode=append
#SBATCH --partition=queue1
#SBATCH --account=hippo
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --signal=B:USR1@300
set -eo pipefail
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/data/run/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
exec /opt/py -P -m cluster.head --run=/data/run --name=pipe2 --temp=/tmp -- /opt/py -P -m raypipe run {simulated} \
--config=/data/run/raypipe.toml --attached=/data/run --skip rplsplit --channels 9,33

# ---- worker ----
#!/bin/bash -l
#SBATCH --job-name=pipe2-worker-1234
#SBATCH --output=/data/run/pipe2-worker-slurm.%N.%j.out
#SBATCH --error=/data/run/pipe2-worker-slurm.%N.%j.err
#SBATCH --open-mode=append
#SBATCH --array=1-2
#SBATCH --dependency=after:1234
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --partition=queue1
#SBATCH --account=hippo
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --exclusive
#SBATCH --signal=B:USR1@300
set -eo pipefail
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/data/run/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
exec /opt/py -P -m cluster.worker --run=/data/run --name=pipe2 --head=1234 --warning=300 --temp=/tmp

# ---- finish ----
#!/bin/bash -l
#SBATCH --job-name=pipe2-finish-1234
#SBATCH --output=/data/run/pipe2-finish-slurm.%N.%j.out
#SBATCH --error=/data/run/pipe2-finish-slurm.%N.%j.err
#SBATCH --open-mode=append
#SBATCH --dependency=afterany:1234
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --partition=queue1
#SBATCH --account=hippo
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
set -eo pipefail
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/data/run/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
exec /opt/py -P -m cluster.finish --run=/data/run --name=pipe2 --head=1234
"""
    )


def test_text_of_a_fixed_run_in_a_venv(simulated: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    settings = Slurm(
        fixed=4,
        venv=str(tmp_path),
        modules=("python/3.11",),
        setup=("ulimit -c 0",),
        memory_mb=60_000,
        skip_directives=("--requeue",),
        extra_directives=("--qos=long",),
        scratch="/scratch",
        warning_seconds=0,
    )
    texts = made(simulated, settings, Choice(output=Path("/data/out"), replace=True)).texts()
    python = tmp_path / "bin" / "python"
    assert list(texts) == ["head", "finish"]
    assert (
        texts["head"]
        == f"""\
#!/bin/bash -l
#SBATCH --job-name=raypipe
#SBATCH --output=/data/run/raypipe-slurm.%N.%j.out
#SBATCH --error=/data/run/raypipe-slurm.%N.%j.err
#SBATCH --open-mode=append
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --no-kill
#SBATCH --exclusive
#SBATCH --mem=60000M
#SBATCH --qos=long
set -eo pipefail
module load python/3.11
source {tmp_path}/bin/activate
ulimit -c 0
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/data/run/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
exec {python} -P -m cluster.head --run=/data/run --name=raypipe --nodes=4 --temp=/tmp --scratch=/scratch -- \
{python} -P -m raypipe run {simulated} --config=/data/run/raypipe.toml --attached=/data/run --output /data/out --replace
"""
    )


def test_without_settings_the_jobs_have_the_python_that_submits_and_no_worker_at_first(simulated: Path) -> None:
    submission = made(simulated, Slurm(workers="0:3"))
    assert list(submission.texts()) == ["head", "finish"]
    assert f"exec {sys.executable} -P -m cluster.head" in submission.texts()["head"]
    assert list(made(simulated, Slurm()).texts()) == ["head", "worker", "finish"]


def test_bash_can_read_the_texts(simulated: Path) -> None:
    for settings in (Slurm(), Slurm(fixed=2), Slurm(setup=("if true; then echo 'it''s'; fi",))):
        for text in made(simulated, settings).texts().values():
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_every_setting_of_a_job_can_be_set() -> None:
    given = Slurm(
        partition="a", constraint="b", account="c", walltime="1:00:00", cpus=2, memory_mb=3, exclusive=False,
        head_partition="d", head_constraint="e", head_cpus=4, head_memory_mb=5, requeue=False, warning_seconds=6,
        modules=("f",), venv="/g", setup=("h",), python="i", extra_directives=("--j",), skip_directives=("--k",),
        temp="/l", scratch="/m",
    )  # fmt: skip
    assert job_settings(given, "name", Path("/logs")) == JobSettings(
        name="name", logs=Path("/logs"), partition="a", constraint="b", account="c", walltime="1:00:00", cpus=2,
        memory_mb=3, exclusive=False, head_partition="d", head_constraint="e", head_cpus=4, head_memory_mb=5,
        requeue=False, warning_seconds=6, modules=("f",), venv=Path("/g"), setup=("h",), python="i",
        extra_directives=("--j",), skip_directives=("--k",), temp=Path("/l"), scratch=Path("/m"),
    )  # fmt: skip
    # Nothing said is nothing asked for, except of the warning and of the Python.
    plain = JobSettings(name="name", logs=Path("/logs"), warning_seconds=300, python=sys.executable)
    assert job_settings(Slurm(), "name", Path("/logs")) == plain


def test_paths_are_absolute_wherever_the_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "activate").touch()
    found = for_any_folder(Slurm(venv="env", scratch="disk", temp="/tmp"))
    assert (found.venv, found.scratch, found.temp) == (f"{tmp_path}/env", f"{tmp_path}/disk", "/tmp")
    assert found.python == f"{tmp_path}/env/bin/python"
    assert for_any_folder(Slurm(python="python3.11")).python == "python3.11"
    assert for_any_folder(Slurm(python="env/python")).python == f"{tmp_path}/env/python"
    assert Choice(only=("rpllfp", "unity"), output=Path("out")).options == [
        "--only", "rpllfp", "--only", "unity", "--output", f"{tmp_path}/out",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        (Slurm(venv="/nowhere"), UsageError, "bin/activate"),
        (Slurm(name="run-worker-12"), UsageError, "worker of another run"),
        (Slurm(name="a b"), SettingsError, "a b"),
        (Slurm(workers="8:1"), SettingsError, "8:1"),
        (Slurm(walltime="5"), UsageError, "nothing is left to work in"),
        (Slurm(walltime="soon"), SettingsError, "soon"),
        (Slurm(temp="/a/path/that/is/longer/than/sockets"), SettingsError, "too long"),
        (Slurm(head_memory_mb=1000), NodeTooSmall, "1000 MB"),
    ],
)
def test_settings_that_no_job_can_live_with(settings: Slurm, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        for_any_folder(settings)


def test_shapes() -> None:
    assert (shape_of(Slurm()).least, shape_of(Slurm()).most, shape_of(Slurm()).fixed) == (1, 8, False)
    assert (shape_of(Slurm(fixed=3)).most, shape_of(Slurm(fixed=3)).fixed) == (3, True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("12:30", 750),
        ("1:02:03", 3723),
        ("2-0", 172_800),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-00:00:01", 86_401),
        ("UNLIMITED", float("inf")),
        ("0", float("inf")),
    ],
)
def test_walltimes(text: str, seconds: float) -> None:
    assert walltime_seconds(text) == seconds


@pytest.mark.parametrize(
    ("partition", "settings", "megabytes"),
    [
        # Less 700 MB for Ray's own, less a fifth for objects.
        (None, JobSettings(), 1300),
        ("large", JobSettings(), 101_700),
        ("large", JobSettings(constraint="r5"), 50_500),
        ("large", JobSettings(constraint="dynamic&r5"), 50_500),
        ("large", JobSettings(constraint="r5|r6"), 101_700),
        ("large", JobSettings(memory_mb=10_000), 7300),
        ("large", JobSettings(exclusive=False, cpus=4), 24_900),
        ("untold", JobSettings(), None),
        ("untold", JobSettings(memory_mb=10_000), 7300),
    ],
)
def test_what_a_worker_has_for_tasks(partition: str | None, settings: JobSettings, megabytes: int | None) -> None:
    found = task_memory(settings, parse_sizes(NODES, partition))
    assert found == (None if megabytes is None else megabytes * MB)


def test_a_worker_that_does_not_hold_ray() -> None:
    with pytest.raises(NodeTooSmall, match="800 MB"):
        task_memory(JobSettings(memory_mb=800), parse_sizes(NODES, None))


def test_tasks_that_no_worker_can_hold_are_named(simulated: Path) -> None:
    (plan,) = survey([simulated], Config(), Choice(channels="9,33")).plans
    needs = {task.stage.name: task.memory for task in plan.todo}
    assert too_large([plan], max(needs.values())) == []
    (note, *others) = too_large([plan], max(needs.values()) - 1)
    assert others == []
    assert note.startswith("picasso/20181105: ")
    assert "will be refused: it needs " in note
    assert "mountain_batch of channels 9, 33 will be refused" in "\n".join(too_large([plan], 200 * MB))
    (markers,) = survey([simulated], Config(), Choice(only=("rplparallel",))).plans
    with pytest.raises(TooLittleMemory, match="rplparallel of session01, sessioneye will be refused"):
        too_large([markers], 1)


def test_a_day_is_planned_once_and_said(simulated: Path, tmp_path: Path) -> None:
    choice = Choice(only=("unity", "rplparallel"), output=tmp_path)
    found = survey([simulated, simulated / "session01" / ".."], Config(), choice)
    assert len(found.plans) == 1
    assert (len(found.notes), found.broken) == (1, False)
    assert found.notes[0].startswith("picasso/20181105: 3 outputs to make, ")


def test_a_day_whose_disk_is_full_does_not_keep_the_others(day: Path, simulated: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "20m") as disk:
        with pytest.raises(TooLittleDisk):
            survey([simulated], Config(), Choice(output=disk))
        (disk / "picasso").mkdir()
        other = disk / "picasso" / "20181107"
        shutil.copytree(simulated / "session01", other / "session01", ignore=shutil.ignore_patterns("*.ns5", "*.edf"))
        found = survey([other, day], Config(), Choice(only=("rplparallel",)))
        assert [plan.day.title for plan in found.plans] == ["picasso/20181105"]
        assert found.notes[0].startswith(f"picasso/20181107: refused: {other} has ")
        assert not (other / ".raypipe").exists()


def test_a_day_that_is_not_found_does_not_keep_the_others(simulated: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    shown = call("submit", nowhere, simulated, "--output", tmp_path / "out", "--print", path=tmp_path)
    assert shown.returncode == 2
    assert f"{nowhere}: refused: " in shown.stderr
    assert "picasso/20181105: 205 outputs to make" in shown.stderr
    assert f" -m raypipe run {simulated} --config" in shown.stdout, "of the jobs nobody asks for the other"
    with pytest.raises(NotADay):
        survey([nowhere], Config(), ALL)


def test_print_shows_all_and_changes_nothing(day: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    shown = call("submit", day, "--workers", "1:3", "--print", path=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert everything(tmp_path) == before
    assert [line for line in shown.stdout.splitlines() if line.startswith("# ----")] == [
        "# ---- head ----", "# ---- worker ----", "# ---- finish ----",
    ]  # fmt: skip
    assert "#SBATCH --dependency=after:HEAD_ID" in shown.stdout
    assert f"--run={day}/.raypipe/cluster/" in shown.stdout
    assert "outputs to make" in shown.stderr
    assert "there is no sinfo on this machine: whether the nodes hold all tasks is not known" in shown.stderr


def test_command_line_goes_before_file(day: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[slurm]\nfixed = 3\npartition = "old"\naccount = "hippo"\n')
    shown = call(
        "submit", day, "--config", config, "--workers", "2", "--partition", "new", "--name", "x", "--print"
    ).stdout
    assert "--array=1-2" in shown
    assert "--partition=new" in shown
    assert "--partition=old" not in shown
    assert "--account=hippo" in shown
    assert "--job-name=x-worker-HEAD_ID" in shown
    shown = call("submit", day, "--config", config, "--print").stdout
    assert "--nodes=3" in shown
    assert "--array" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["submit", "DAY"], 4, "there is no sinfo on this machine"),
        (["jobs"], 4, "there is no squeue on this machine"),
        (["log", "rpllfp"], 4, "there is no squeue on this machine"),
        (["submit", "DAY", "--workers", "1:2", "--fixed", "2"], 2, "contradict"),
        (["submit", "DAY", "--workers", "2:1"], 2, "MIN:MAX"),
        (["submit", "DAY", "--fixed", "0"], 2, "--fixed"),
        (["submit", "DAY", "--time", "later"], 2, "walltime"),
        (["submit", "nowhere"], 2, "no folder nowhere"),
        (["submit"], 2, "DAY"),
        (["submit", "DAY", "--only", "rplfp"], 2, "did you mean rpllfp?"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(
    simulated: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    before = everything(simulated)
    shown = call(*[{"DAY": simulated}.get(word, word) for word in arguments], path=tmp_path)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
    assert everything(simulated) == before


def test_nothing_to_do_is_no_job_and_no_error(simulated: Path, tmp_path: Path) -> None:
    options = ["--only", "rplparallel", "--output", tmp_path / "out"]
    assert call("run", simulated, *options).returncode == 0
    before = everything(tmp_path)
    shown = call("submit", simulated, *options, path=tmp_path)  # where there is no Slurm: it is not even asked
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "picasso/20181105: nothing to do\n")
    assert everything(tmp_path) == before


def test_help_teaches() -> None:
    for verb in ("submit", "jobs", "log"):
        shown = call(verb, "--help").stdout
        assert "Examples" in shown
        assert f"raypipe {verb}" in shown
    assert "4 cluster" in call("--help").stdout


def test_module_is_the_program() -> None:
    shown = subprocess.run([sys.executable, "-P", "-m", "raypipe", "--version"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, call("--version").stdout)


@pytest.fixture(scope="module")
def on_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Three nodes that hold Ray and small tasks; pytest's temporary folders are on all of them."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlurmCluster(nodes=3, cpus=2, memory_mb=2500, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster


@pytest.mark.slurm
def test_two_days_are_submitted_on_a_real_slurm_and_a_refused_worker_takes_all_along(
    on_slurm: SlurmCluster, simulated: Path, tmp_path: Path
) -> None:
    days = [tmp_path / "picasso" / name for name in ("20181105", "20181106")]
    for each in days:
        shutil.copytree(simulated, each)
    config = tmp_path / "mine.toml"
    config.write_text("[slurm]\nmemory_mb = 99999\n")
    submit = [RAYPIPE, "submit", *days, "--workers", "2:3", "--only", "rplparallel", "--time", "10"]
    refused = on_slurm.run_on(HEAD, [*submit, "--config", config], check=False)
    assert refused.returncode == 4, refused.stderr
    assert "sbatch" in refused.stderr
    assert "hint: no node has so much" in refused.stderr
    assert not [path for each in days for path in each.glob(".raypipe/cluster/*")]
    states = on_slurm.run_on(HEAD, ["squeue", "--noheader", "--states=all", "--format=%T"]).stdout.split()
    assert sorted(states) == ["CANCELLED", "FAILED"]  # what was refused fails at once

    config.write_text("[slurm]\nhead_memory_mb = 2000\n")
    shown = on_slurm.run_on(HEAD, [*submit, "--config", config])
    (run,) = (days[0] / ".raypipe" / "cluster").iterdir()
    record = json.loads((run / "jobs.json").read_text())
    head, worker, finish = record["head"], record["worker"], record["finish"]
    assert [line.split()[:2] for line in shown.stdout.splitlines()[:3]] == [
        ["head", str(head)], ["workers", str(worker)], ["finish", str(finish)],
    ]  # fmt: skip
    assert f"raypipe jobs {days[0]} {days[1]}" in shown.stdout
    assert (days[1] / ".raypipe" / "cluster" / run.name).resolve() == run
    kept = load_config(run / "raypipe.toml").slurm
    assert (kept.workers, kept.walltime, kept.head_memory_mb, kept.python) == ("2:3", "10", 2000, sys.executable)
    twice = on_slurm.run_on(HEAD, [RAYPIPE, "submit", days[1], "--only", "rplparallel"], check=False)
    assert twice.returncode == 3, twice.stderr
    assert f"picasso/20181106: the run of job {head} is on it already" in twice.stderr
    on_slurm.wait_job(finish, "COMPLETED", seconds=200)
    outputs = "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(run.glob("*slurm*")))
    assert on_slurm.job(head)["ExitCode"] == "0:0", outputs
    assert [len(list(each.rglob("rplparallel_d41d.hkl"))) for each in days] == [2, 2]
    # What is over is still told of, and nothing of the run's Ray is left.
    shown = on_slurm.run_on(HEAD, [RAYPIPE, "jobs", days[1]])
    assert f"raypipe {head}  {run}" in shown.stdout
    assert "picasso/20181106: 2 of 2 outputs made; done" in shown.stdout
    assert on_slurm.run_on(HEAD, [RAYPIPE, "jobs"]).stdout.endswith(f"\n{shown.stdout}")  # after what was refused
    assert not {"token", "address"} & {path.name for path in run.iterdir()}
    shown = on_slurm.run_on(HEAD, [RAYPIPE, "log", days[0], "session01-rplparallel"])
    assert "done: session01/rplparallel_d41d.hkl" in shown.stdout
    shown = on_slurm.run_on(HEAD, [RAYPIPE, "log", str(head)])
    assert "done: 2 outputs" in shown.stdout
    again = on_slurm.run_on(HEAD, [*submit, "--config", config])
    assert (again.stdout, again.stderr.count("nothing to do")) == ("", 2)

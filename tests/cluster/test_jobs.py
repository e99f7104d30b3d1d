"""Job texts say what settings ask for, no more and no less, and bash can read them."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import SettingsError
from cluster.jobs import JobSettings, Shape, finalize_job, fixed_job, head_job, worker_job
from cluster.names import Part, job_name, part_of

RUN = Path("/data/picasso/20181105/.raypipe/run1")
DRIVER = ["raypipe", "run", "/data/picasso/20181105"]
PLAIN = JobSettings(name="pipe2")
FULL = JobSettings(
    name="pipe2",
    logs=Path("/data/logs"),
    partition="queue1",
    constraint="dynamic&r5.2xlarge",
    account="hippo",
    walltime="2-00:00:00",
    cpus=8,
    memory_mb=60_000,
    head_partition="static",
    head_constraint="ondemand",
    head_cpus=2,
    head_memory_mb=4000,
    warning_seconds=300,
    modules=("python/3.11", "gcc"),
    venv=Path("/data/venvs/raypipe"),
    setup=("ulimit -c 0",),
    extra_directives=("--qos=long", "--mail-type=END"),
    temp=Path("/local"),
    scratch=Path("/scratch"),
)


def texts(settings: JobSettings) -> dict[str, str]:
    return {
        "head": head_job(settings, RUN, DRIVER),
        "worker": worker_job(settings, RUN, 1234, 3),
        "finalize": finalize_job(settings, RUN, 1234, ["raypipe", "finalize"]),
        "fixed": fixed_job(settings, RUN, 4, DRIVER),
    }


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def body(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_a_head_with_every_setting() -> None:
    assert head_job(FULL, RUN, DRIVER) == (
        """#!/bin/bash -l
#SBATCH --job-name=pipe2
#SBATCH --output=/data/logs/pipe2-slurm.%N.%j.out
#SBATCH --error=/data/logs/pipe2-slurm.%N.%j.err
#SBATCH --open-mode=append
#SBATCH --partition=static
#SBATCH --constraint=ondemand
#SBATCH --account=hippo
#SBATCH --time=2-00:00:00
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4000M
#SBATCH --signal=B:USR1@300
#SBATCH --qos=long
#SBATCH --mail-type=END
set -eo pipefail
module load python/3.11
module load gcc
source /data/venvs/raypipe/bin/activate
ulimit -c 0
unset RAY_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/data/picasso/20181105/.raypipe/run1/token
export RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
exec python -P -m cluster.head --run=/data/picasso/20181105/.raypipe/run1 --name=pipe2 --temp=/local --scratch=/scratch """
        "-- raypipe run /data/picasso/20181105\n"
    )


def test_a_worker_is_one_exclusive_node_of_an_array_and_begins_after_its_head() -> None:
    text = worker_job(FULL, RUN, 1234, 3)
    assert directives(text)[:15] == [
        "--job-name=pipe2-worker-1234",
        "--output=/data/logs/pipe2-worker-slurm.%N.%j.out",
        "--error=/data/logs/pipe2-worker-slurm.%N.%j.err",
        "--open-mode=append",
        "--array=1-3",
        "--dependency=after:1234",
        "--kill-on-invalid-dep=yes",
        "--partition=queue1",
        '--constraint="dynamic&r5.2xlarge"',
        "--account=hippo",
        "--time=2-00:00:00",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
        "--exclusive",
    ]
    assert directives(text)[15:] == [
        "--cpus-per-task=8", "--mem=60000M", "--signal=B:USR1@300", "--qos=long", "--mail-type=END",
    ]  # fmt: skip
    assert body(text)[-1] == (
        f"exec python -P -m cluster.worker --run={RUN} --name=pipe2 --head=1234 --warning=300 --temp=/local --scratch=/scratch"
    )


def test_a_finalize_job_comes_after_the_head_however_that_ended() -> None:
    text = finalize_job(FULL, RUN, 1234, ["raypipe", "finalize", "a day"])
    assert {"--dependency=afterany:1234", "--kill-on-invalid-dep=yes", "--job-name=pipe2-finish-1234"} <= set(
        directives(text)
    )
    assert "--partition=static" in directives(text)
    assert not any(line.startswith(("--mem", "--exclusive", "--signal")) for line in directives(text))
    assert body(text)[-1] == (
        f"exec python -P -m cluster.finish --run={RUN} --name=pipe2 --head=1234 -- raypipe finalize 'a day'"
    )
    assert " -- " not in finalize_job(FULL, RUN, 1234)


def test_a_fixed_job_has_all_nodes_and_survives_the_loss_of_one() -> None:
    text = fixed_job(FULL, RUN, 4, DRIVER)
    assert {"--nodes=4", "--ntasks-per-node=1", "--no-kill", "--exclusive", "--mem=60000M", "--job-name=pipe2"} <= set(
        directives(text)
    )
    assert not any(line.startswith(("--array", "--dependency")) for line in directives(text))
    assert "--nodes=4" in body(text)[-1].split()
    assert body(text)[-1].endswith("-- raypipe run /data/picasso/20181105")


@pytest.mark.parametrize("which", ["head", "worker", "finalize", "fixed"])
def test_what_is_not_asked_for_is_not_written(which: str) -> None:
    text = texts(PLAIN)[which]
    for option in ("--mem", "--partition", "--constraint", "--account", "--time", "--signal"):
        assert not any(line.startswith(option) for line in directives(text))
    assert "module" not in text
    assert "activate" not in text
    assert "--scratch" not in text
    assert body(text)[0] == "set -eo pipefail"


@pytest.mark.parametrize("which", ["head", "worker", "finalize", "fixed"])
@pytest.mark.parametrize("settings", [PLAIN, FULL])
def test_every_job_has_the_runs_own_token(settings: JobSettings, which: str) -> None:
    lines = body(texts(settings)[which])
    export = lines.index(f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={RUN}/token")
    # A token in the environment of whoever submitted would win over the file.
    assert "RAY_AUTH_TOKEN" in lines[export - 1].split()
    assert lines[export - 1].startswith("unset ")
    assert lines[-1].startswith("exec ")


def test_skipped_directives_are_not_written_and_extra_ones_take_our_place() -> None:
    settings = JobSettings(
        memory_mb=100,
        head_memory_mb=100,
        skip_directives=("--mem", "--requeue", "--comment"),
        extra_directives=("--comment=skipped", "--ntasks=2", "--qos=x"),
    )
    for text in texts(settings).values():
        lines = directives(text)
        assert not any(line.startswith(("--mem", "--requeue", "--ntasks=1", "--comment")) for line in lines)
        assert lines[-2:] == ["--ntasks=2", "--qos=x"]
    assert "--ntasks-per-node=1" in directives(texts(settings)["fixed"])  # another option, though it begins alike


def test_choices() -> None:
    assert "--no-requeue" in directives(texts(JobSettings(requeue=False))["worker"])
    assert "--exclusive" not in directives(texts(JobSettings(exclusive=False))["worker"])
    shared = texts(JobSettings(partition="queue1", constraint="big"))["head"]
    assert {"--partition=queue1", "--constraint=big"} <= set(directives(shared))


def test_a_folder_with_odd_characters() -> None:
    settings = JobSettings(logs=Path("/data/100% of it"), venv=Path("/data/my venv"))
    text = head_job(settings, Path("/data/it's"), ["echo", "$HOME; true"])
    assert '--output="/data/100%% of it/raypipe-slurm.%N.%j.out"' in directives(text)
    assert "source '/data/my venv/bin/activate'" in body(text)
    script = "set -- " + body(text)[-1].removeprefix("exec ") + '; printf "%s\\n" "$@"'
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "--run=/data/it's" in words
    assert words[-3:] == ["--", "echo", "$HOME; true"]


@pytest.mark.parametrize("settings", [PLAIN, FULL, JobSettings(venv=Path("/it's"), modules=("a b", "$x"))])
def test_bash_can_read_every_text(settings: JobSettings) -> None:
    for text in texts(settings).values():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "a b"}, "a b"),
        ({"name": ""}, "name"),
        ({"name": "-x"}, "-x"),
        ({"walltime": "two days"}, "two days"),
        ({"memory_mb": 0}, "memory_mb is 0"),
        ({"head_cpus": -1}, "head_cpus is -1"),
        ({"warning_seconds": 0}, "warning_seconds"),
        ({"extra_directives": ("-p queue1",)}, "-p queue1"),
        ({"skip_directives": ("mem",)}, "mem"),
        ({"partition": "a\n#SBATCH --qos=b"}, "partition|qos"),
        ({"extra_directives": ('--comment="x',)}, "comment"),
        ({"logs": Path("/a\nb")}, "a"),
    ],
)
def test_settings_that_cannot_be_meant(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        JobSettings(**wrong)  # type: ignore[arg-type]
    assert error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize("walltime", ["90", "12:00:00", "30:00", "2-0", "2-00:00:00", "UNLIMITED"])
def test_walltimes_of_slurm(walltime: str) -> None:
    assert f"--time={walltime}" in directives(texts(JobSettings(walltime=walltime))["head"])


def test_shapes() -> None:
    assert Shape.elastic("1:8") == Shape(1, 8)
    assert Shape.elastic("0:3") == Shape(0, 3)
    assert Shape.elastic("4") == Shape(4, 4)
    assert Shape.of_one_job(4) == Shape(4, 4, fixed=True)


@pytest.mark.parametrize("text", ["8:1", "-1:2", "0:0", "1:", ":8", "a:b", "1:2:3", "", "1:1001", "1.5:2"])
def test_numbers_of_workers_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        Shape.elastic(text)
    assert "MIN:MAX" in error.value.hint


@pytest.mark.parametrize("count", [0, 1001])
def test_no_array_of_none_or_too_many(count: int) -> None:
    with pytest.raises(SettingsError):
        worker_job(PLAIN, RUN, 1, count)
    with pytest.raises(SettingsError):
        fixed_job(PLAIN, RUN, count, DRIVER)


@given(
    st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.sampled_from(["worker", "finish"]),
    st.integers(1, 10**9),
)
def test_a_jobs_part_is_read_from_its_name(run: str, role: str, head: int) -> None:
    assert part_of(job_name(run, role, head), 7) == Part(run, role, head)


def test_a_job_of_another_name_is_a_head() -> None:
    assert part_of("pipe2", 7) == Part("pipe2", "head", 7)
    assert part_of("pipe2-worker-x", 7) == Part("pipe2-worker-x", "head", 7)

"""What Slurm's commands print, read into values (recorded from Slurm 22.05), and what is said when they refuse."""

import json
import os
import sys
from math import inf
from pathlib import Path

import pytest

from cluster import slurm
from cluster.errors import ClusterError, SlurmMissing, SlurmRefused, SlurmSilent
from cluster.slurm import Job, Node, NodeSize, Outcome

JOBS = """\
14|14|N/A|PENDING||BeginTime||pipe2
15|15|1|RUNNING|g5n-2|None|g5n-[1,4]|pipe2-worker-14
17|15|2|CONFIGURING|g5n-3|None||pipe2-worker-14
15|15|3|PENDING||ReqNodeNotAvail, UnavailableNodes:g5n-4|(null)|pipe2-worker-14
16|16|N/A|PENDING||Dependency||a|b
5|5|N/A|FAILED|g5n-[1-3]|NonZeroExitCode||pipe2
"""
JOB = (
    "JobId=1 JobName=pipe2 UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901759 Nice=0 Account=(null) "
    "QOS=(null) JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 "
    "ExitCode=7:0 RunTime=00:00:31 TimeLimit=00:10:00 TimeMin=N/A SubmitTime=2026-11-22T23:51:52 Scheduler=Backfill "
    "Partition=queue1 AllocNode:Sid=localhost:4191 NodeList=g5n-1 BatchHost=g5n-1 NumNodes=1 NumCPUs=1 CPUs/Task=1 "
    "ReqB:S:C:T=0:0:*:* TRES=cpu=1,mem=2500M,node=1,billing=1 WorkDir=/work StdOut=/logs/pipe2-slurm.%N.1.out Power=\n"
)
NODE = (
    "NodeName=g5n-1 Arch=x86_64 CoresPerSocket=2  CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=3.69 "
    "AvailableFeatures=dynamic,big NodeAddr=10.213.99.11 NodeHostName=g5n-1 Version=22.05.8 "
    "OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=4500 AllocMem=0 FreeMem=20256 State=DOWN+CLOUD "
    "CfgTRES=cpu=2,mem=4500M,billing=2 Reason=Not responding now [slurm@2026-11-22T23:57:26]\n"
)
SIZES = """\
queue1*|2|2|4500|idle|dynamic,r5.2xlarge|infinite
queue1*|1|8|61000|idle~|dynamic,r5.2xlarge,big|1-00:00:00
other|7|1|1|down*|(null)|infinite
"""


def test_a_submitted_jobs_id() -> None:
    assert slurm.parse_submitted("1234\n") == 1234
    assert slurm.parse_submitted("1234;raypipe\n") == 1234
    assert slurm.parse_submitted("the site greets you\n1234\n") == 1234
    for nonsense in ("", "Submitted batch job\n"):
        with pytest.raises(SlurmRefused, match="job id was expected"):
            slurm.parse_submitted(nonsense)


def test_jobs_and_elements() -> None:
    head, first, second, third, other, failed = slurm.parse_jobs(JOBS)
    assert head == Job("14", 14, "pipe2", "PENDING", "BeginTime", "")
    assert head.in_hold_after_requeue
    assert (first.id, first.number, first.excluded) == ("15_1", 15, "g5n-[1,4]")
    assert (second.excluded, third.excluded) == ("", "")
    assert (second.id, second.number, second.state) == ("15_2", 17, "CONFIGURING")
    assert third.id == "15_3"
    assert third.reason == "ReqNodeNotAvail, UnavailableNodes:g5n-4"
    assert other.name == "a|b"
    assert [job.waits for job in slurm.parse_jobs(JOBS)] == [True, False, False, True, True, False]
    assert [job.over for job in slurm.parse_jobs(JOBS)] == [False] * 5 + [True]
    assert [job.in_hold_after_requeue for job in slurm.parse_jobs(JOBS)] == [True] + [False] * 5
    assert failed.nodes == "g5n-[1-3]"
    assert slurm.parse_jobs("") == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0:00", 0),
        ("9:59", 599),
        ("1:02:03", 3723),
        ("2-01:02:03", 176_523),
        ("UNLIMITED", inf),
        ("NOT_SET", inf),
        ("INVALID", inf),
        ("", inf),
    ],
)
def test_the_time_that_a_job_has_left(said: str, seconds: float) -> None:
    assert slurm.parse_time_left(said + "\n") == seconds


def test_the_outcome_of_a_job() -> None:
    assert slurm.parse_outcome(JOB) == Outcome("FAILED", "NonZeroExitCode", exit_code=7, signal=0, restarts=2)
    assert slurm.parse_outcome(JOB.replace("7:0", "0:15")).signal == 15


def test_a_node() -> None:
    expected = Node("g5n-1", "10.213.99.11", 2, 4500, "DOWN+CLOUD", "Not responding now [slurm@2026-11-22T23:57:26]")
    assert slurm.parse_node(NODE) == expected
    assert slurm.parse_node(NODE.replace("RealMemory=4500", "RealMemory=1")).memory_mb is None


def test_a_name_in_a_value_does_not_stand_for_the_field() -> None:
    assert slurm.parse_outcome(JOB.rstrip("\n") + " Comment=x JobState=COMPLETED\n").state == "FAILED"


def test_sizes_of_a_partitions_nodes() -> None:
    small = NodeSize(2, 2, 4500, "idle", frozenset({"dynamic", "r5.2xlarge"}), "infinite")
    assert slurm.parse_sizes(SIZES, None) == slurm.parse_sizes(SIZES, "queue1")
    assert slurm.parse_sizes(SIZES, "queue1")[0] == small
    assert slurm.parse_sizes(SIZES, "queue1")[1].features == {"dynamic", "r5.2xlarge", "big"}
    assert slurm.parse_sizes(SIZES, "other") == [NodeSize(7, 1, None, "down*", frozenset(), "infinite")]
    assert slurm.parse_sizes(SIZES, "nope") == []


def test_a_job_within_a_job_inherits_nothing_but_where_slurm_is() -> None:
    environment = {
        "SLURM_JOB_ID": "1",
        "SBATCH_MEM_PER_CPU": "5",
        "SRUN_X": "1",
        "SLURMD_NODENAME": "n",
        "SINFO_FORMAT": "x",
    }
    kept = {"SLURM_CONF": "/etc/slurm.conf", "PATH": "/bin", "MYSLURM_X": "1"}
    assert slurm.outside_job(environment | kept) == kept | {"LC_ALL": "C"}


def test_what_sbatch_gives_to_jobs_holds_no_credentials(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "AWS_SECRET_ACCESS_KEY": "hunter22",
        "AWS_SESSION_TOKEN": "hunter22",
        "GH_TOKEN": "hunter22",
        "SSHPASS": "hunter22",
    }
    kept = {
        "AWS_REGION": "ap-southeast-1",
        "AWS_PROFILE": "lab",
        "HTTPS_PROXY": "http://proxy:3128",
        "MODULEPATH": "/m",
    }
    for name, value in (given | kept).items():
        monkeypatch.setenv(name, value)
    seen = programs / "seen"
    put(programs, "sbatch", f"import json; json.dump(dict(os.environ), open({str(seen)!r}, 'w')); print(1)")
    assert slurm.submit("text") == 1
    environment = json.loads(seen.read_text())
    assert "hunter22" not in environment.values()
    assert kept.items() <= environment.items()
    assert environment["PATH"] == str(programs)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", "sinfo"),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", "constraint"),
        ("sbatch: error: Memory specification can not be satisfied", "no node has so much"),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "no node"),
        ("sbatch: unrecognized option '--foo' Try", "extra directive"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "scontrol ping"),
        ("something new", "--print"),
    ],
)
def test_what_mends_a_refusal(said: str, hint: str) -> None:
    assert hint in slurm.hint_for(said)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, body: str) -> None:
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    program.chmod(0o755)


def test_no_slurm_here(programs: Path) -> None:
    for ask in (slurm.jobs, lambda: slurm.submit("#!/bin/bash"), lambda: slurm.cancel([1]), lambda: slurm.node("n1")):
        with pytest.raises(SlurmMissing, match="there is no ") as error:
            ask()
        assert error.value.exit_code == 4
        assert "raypipe run" in error.value.hint


def test_a_refusal_has_slurms_own_words(programs: Path) -> None:
    put(programs, "sbatch", "sys.exit('sbatch: error: invalid partition specified: nope')")
    with pytest.raises(SlurmRefused, match="invalid partition specified: nope") as error:
        slurm.submit("#!/bin/bash\n")
    assert "sinfo" in error.value.hint
    assert "hint: " in str(error.value)


def test_the_text_is_what_sbatch_reads(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "wrong")
    put(
        programs,
        "sbatch",
        "ok = sys.stdin.read() == 'text' and 'SBATCH_PARTITION' not in os.environ\nprint(42 if ok else 0)",
    )
    assert slurm.submit("text") == 42


def test_a_controller_that_does_not_answer(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(programs, "squeue", "time.sleep(60)")
    monkeypatch.setattr(slurm, "_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(SlurmSilent, match="did not answer"):
        slurm.jobs()


def test_jobs_that_are_forgotten_are_no_error(programs: Path) -> None:
    put(programs, "squeue", "sys.exit('slurm_load_jobs error: Invalid job id specified')")
    put(programs, "scontrol", "sys.exit('slurm_load_jobs error: Invalid job id specified')")
    put(programs, "scancel", "sys.exit('scancel: error: Kill job error on job id 7: Invalid job id specified')")
    assert slurm.jobs([7]) == []
    assert slurm.outcome(7) is None
    slurm.cancel([7])
    put(programs, "scancel", "sys.exit('scancel: error: Kill job error on job id 7: Access/permission denied')")
    with pytest.raises(SlurmRefused, match="permission") as error:
        slurm.cancel([7])
    assert "somebody else" in error.value.hint
    put(programs, "squeue", "sys.exit('slurm_load_jobs error: Unable to contact slurm controller')")
    with pytest.raises(SlurmRefused, match="Unable to contact"):
        slurm.jobs([7])


def test_nothing_to_cancel_asks_nobody(programs: Path) -> None:
    slurm.cancel([])  # without scancel on the PATH


def test_no_such_partition(programs: Path) -> None:
    put(programs, "sinfo", "")
    for name, said in (("nope", "no partition 'nope'"), (None, "no default partition")):
        with pytest.raises(SlurmRefused, match=said):
            slurm.partition(name)


def test_what_is_asked(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(programs, "squeue", "print('1|1|N/A|RUNNING|n1|None||' + ' '.join(sys.argv[1:]))")
    assert slurm.jobs([1, "2_3"])[0].name.endswith("--jobs=1,2_3")
    assert slurm.jobs(names=["a", "b"], ended=True)[0].name.endswith("--name=a,b --me --states=all")
    assert slurm.jobs()[0].name.endswith("--me")
    put(programs, "scontrol", f"open({str(programs / 'asked')!r}, 'w').write(' '.join(sys.argv[1:]))")
    slurm.lift_hold("15_1")
    assert (programs / "asked").read_text() == "update JobId=15_1 StartTime=now"
    slurm.exclude("15_1", "n[1-2],n4")
    assert (programs / "asked").read_text() == "update JobId=15_1 ExcNodeList=n[1-2],n4"
    # The number of an array's last element is the array's own: from within, an element is called by its place.
    for within, called in (("15", "12_3"), ("14", "15")):
        for name, value in {"ARRAY_JOB_ID": "12", "ARRAY_TASK_ID": "3", "JOB_ID": within}.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        slurm.requeue(15)
        assert (programs / "asked").read_text() == f"requeue {called}"
        slurm.write_off(15, "taken")
        assert (programs / "asked").read_text() == f"update JobId={called} JobName=taken Requeue=0"
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    slurm.requeue(15)
    assert (programs / "asked").read_text() == "requeue 15", "of no array"
    put(programs, "squeue", "print('1:30' if sys.argv[1:] == ['--noheader', '--format=%L', '--jobs=7'] else '')")
    assert slurm.time_left(7) == 90
    assert issubclass(SlurmRefused, ClusterError)
    assert os.environ["PATH"] == str(programs)

"""The harness: its nodes are machines of their own to Slurm, they fail as asked, and of a cluster nothing stays."""

import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy
import psutil
import pytest

from tests.slurm import harness
from tests.slurm.configuration import HEAD, Layout, cgroup_conf, hosts, slurm_conf
from tests.slurm.harness import SlurmCluster, memory_cgroups, obstacle, wait_until
from tests.slurm.programs import programs

ROOT = Path(__file__).parents[2]
TWO = Layout(Path("/tmp/slurm-x"), "abc", nodes=2, cpus=4, memory_mb=3000)

# -- texts --


def test_a_configuration_names_every_node_with_its_address_and_size() -> None:
    conf = slurm_conf(TWO).splitlines()
    assert "SlurmctldHost=head(10.77.0.1)" in conf
    assert [line for line in conf if line.startswith("NodeName=")] == [
        f"NodeName=queue1-dy-abc-{i} NodeAddr=10.77.0.1{i} NodeHostname=queue1-dy-abc-{i} CPUs=4 Boards=1 SocketsPerBoard=1"
        " CoresPerSocket=4 ThreadsPerCore=1 RealMemory=3000 Feature=dynamic State=UNKNOWN"
        for i in (1, 2)
    ]
    assert conf[-1].startswith("PartitionName=queue1 Nodes=queue1-dy-abc-1,queue1-dy-abc-2 Default=YES ")
    assert not [line for line in conf if "Resume" in line or "Suspend" in line]
    assert {
        line.split("=")[1].removeprefix("socket=").startswith("/tmp/slurm-x/")
        for line in conf
        if "Dir=" in line or "File=" in line
    } == {True}


def test_hosts_knows_the_head_and_every_node() -> None:
    assert hosts(TWO) == "127.0.0.1 localhost\n10.77.0.1 head\n10.77.0.11 queue1-dy-abc-1\n10.77.0.12 queue1-dy-abc-2\n"


@pytest.mark.parametrize(
    ("cgroups", "scheduled", "there"),
    [
        (True, True, "CR_CPU_Memory proctrack/cgroup task/cgroup ConstrainRAMSpace=yes cgroup/v1"),
        (True, False, "CR_CPU proctrack/cgroup task/none ConstrainRAMSpace=no cgroup/v1"),
        (False, True, "CR_CPU_Memory proctrack/linuxproc task/none OverMemoryKill ConstrainRAMSpace=no autodetect"),
        (False, False, "CR_CPU proctrack/linuxproc task/none ConstrainRAMSpace=no autodetect"),
    ],
)
def test_memory_is_enforced_as_the_machine_can_and_the_cluster_does(cgroups: bool, scheduled: bool, there: str) -> None:
    layout = Layout(Path("/tmp/slurm-x"), "abc", cgroups=cgroups, memory_scheduling=scheduled)
    text = slurm_conf(layout) + cgroup_conf(layout)
    told = r"CR_\w+|(?:proctrack|task)/\w+|OverMemoryKill|ConstrainRAMSpace=\w+|cgroup/v1|autodetect"
    assert sorted(re.findall(told, text)) == sorted(there.split())


def test_a_cloud_has_programs_that_boot_and_end_nodes() -> None:
    conf = slurm_conf(Layout(Path("/tmp/slurm-x"), "abc", cloud=True, suspend_s=7)).splitlines()
    for line in ("ResumeProgram=/tmp/slurm-x/bin/resume", "SuspendProgram=/tmp/slurm-x/bin/suspend", "SuspendTime=7"):
        assert line in conf
    assert [line.split()[-1] for line in conf if line.startswith("NodeName=")] == ["State=CLOUD"] * 3


@pytest.mark.parametrize("nodes", [0, 201])
def test_a_cluster_has_nodes_and_addresses_for_them(nodes: int) -> None:
    with pytest.raises(ValueError, match=f"a cluster of {nodes} nodes: there can be 1 to 200"):
        Layout(Path("/tmp/slurm-x"), "abc", nodes=nodes)


def test_every_program_is_shell_whatever_is_shared() -> None:
    shared = (Path("/tmp/with space/it's"), Path("/data"))
    for cloud, paths in product((False, True), ((), shared)):
        for name, text in programs(Layout(Path("/tmp/slurm-x"), "abc", cloud=cloud, shared=paths)).items():
            checked = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
            assert (checked.returncode, checked.stderr) == (0, ""), name
    assert "/data" not in programs(Layout(Path("/tmp/slurm-x"), "abc", shared=shared))["node"]  # is no part of /tmp


def test_without_root_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert obstacle() == "a Slurm of namespaces needs root"


def test_what_is_about_another_slurm_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "TMPDIR", "SLURM_CONF", "SLURMISH"):
        monkeypatch.setenv(name, "other")
    cluster = SlurmCluster()
    cluster.stop()
    found = {name: value for name, value in cluster.environment.items() if value == "other"}
    assert found == {"SLURMISH": "other"}
    assert cluster.environment["SLURM_CONF"] == str(cluster.layout.directory / "slurm.conf")


@pytest.mark.slurm
def test_without_programs_or_packages_there_is_a_reason(
    slurm_runs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in ("unshare", "nsenter", "mount", "ip", "setsid", "sh"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert obstacle() == "Slurm is not installed, and there is no apt-get to install munge, slurm-wlm"
    (tmp_path / "ip").unlink()
    assert obstacle() == "a Slurm of namespaces needs the program ip"
    (tmp_path / "ip").symlink_to("/bin/false")
    assert str(obstacle()).startswith("no namespaces with networks and mounts of their own here")


# -- a cluster --


def processes_on(slurm: SlurmCluster, node: str) -> str:
    return slurm.run_on(node, ["ps", "-e", "-o", "pid=,args="]).stdout


@pytest.mark.slurm
def test_srun_runs_on_every_node(slurm: SlurmCluster) -> None:
    assert sorted(slurm.run_on(HEAD, ["srun", "--nodes=3", "hostname"]).stdout.split()) == list(slurm.nodes)
    assert set(slurm.states().values()) == {"idle"}


@pytest.mark.slurm
def test_elements_of_an_array_run_on_all_nodes(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = 'echo "$SLURM_ARRAY_TASK_ID $SLURM_CPUS_ON_NODE $SLURM_MEM_PER_NODE"; sleep 1'
    array = slurm.submit(script, "--array=1-3", "--exclusive", "--mem=300", f"--output={tmp_path}/%N.%A.%a.out")
    for i in (1, 2, 3):
        assert slurm.wait_job(f"{array}_{i}", "COMPLETED")["ExitCode"] == "0:0"
    outputs = sorted(tmp_path.iterdir())
    assert {path.name.split(".")[0] for path in outputs} == set(slurm.nodes)
    assert sorted(path.read_text() for path in outputs) == [f"{i} 2 300\n" for i in (1, 2, 3)]


@pytest.mark.slurm
def test_a_node_has_its_own_name_address_memory_files_and_processes(slurm: SlurmCluster, tmp_path: Path) -> None:
    first, second = slurm.nodes[:2]
    assert slurm.run_on(first, ["hostname", "--ip-address"]).stdout.split() == ["10.77.0.11"]
    assert slurm.run_on(first, ["getent", "hosts", second]).stdout.split() == ["10.77.0.12", second]
    assert slurm.run_on(first, ["cat", "/etc/resolv.conf"]).stdout == ""  # no server is asked that cannot answer
    assert slurm.run_on(first, ["df", "--output=size", "--block-size=1M", "/dev/shm"]).stdout.split()[1] == "1000"
    (tmp_path / "seen").touch()
    for folder in ("/dev/shm", "/tmp"):
        slurm.run_on(first, ["touch", f"{folder}/mine-{slurm.layout.token}"])
    listing = {node: slurm.run_on(node, ["ls", "/tmp", "/dev/shm", tmp_path]).stdout for node in (first, second, HEAD)}
    assert listing[first].count(f"mine-{slurm.layout.token}") == 2
    assert not any("mine" in listing[node] for node in (second, HEAD))
    assert all("seen" in each for each in listing.values())  # what is shared is the same on all nodes
    assert not list(Path("/tmp").glob(f"mine-{slurm.layout.token}"))
    sleeper = slurm.submit("exec sleep 98765", f"--nodelist={first}")
    wait_until(lambda: "sleep 98765" in processes_on(slurm, first), 20, "the job to start")
    assert "sleep 98765" not in processes_on(slurm, second)
    assert "slurmctld" not in processes_on(slurm, second)
    assert "1 /bin/sh" in processes_on(slurm, second)
    slurm.run_on(first, ["scancel", str(sleeper)])  # from a node, as from the head
    slurm.wait_job(sleeper, "CANCELLED")
    wait_until(lambda: "98765" not in processes_on(slurm, first), 20, "its processes to end")
    assert "defunct" not in processes_on(slurm, first)


@pytest.mark.slurm
def test_the_python_of_the_tests_runs_on_nodes_with_the_packages_and_the_project(slurm: SlurmCluster) -> None:
    code = "import sys, numpy, raypipe; print(numpy.__file__, raypipe.__file__)"
    ran = slurm.run_on(slurm.nodes[2], [sys.executable, "-c", code], environment={"PYTHONPATH": str(ROOT)})
    assert ran.stdout.split() == [numpy.__file__, str(ROOT / "raypipe" / "__init__.py")]


@pytest.mark.slurm
def test_what_runs_too_long_is_killed_and_what_fails_says_so(slurm: SlurmCluster) -> None:
    node = slurm.nodes[0]
    for each in (HEAD, node):
        with pytest.raises(subprocess.TimeoutExpired):
            slurm.run_on(each, ["sleep", "87654"], seconds=0.5)
    wait_until(lambda: "87654" not in processes_on(slurm, HEAD), 5, "the sleepers to die")  # which sees all nodes'
    with pytest.raises(subprocess.CalledProcessError) as caught:
        slurm.run_on(node, ["ls", "/nowhere"])
    assert "No such file" in caught.value.__notes__[0]


EATER = "b = []\nfor i in range(250): b.append(bytearray(b'x') * 1_000_000); time.sleep(0.01)\ntime.sleep(1.5)"
"""Takes 250 MB in 2.5 s, and keeps them for longer than Slurm takes to look."""


@pytest.mark.slurm
@pytest.mark.parametrize("cgroups", [True, False])
def test_a_job_that_takes_more_memory_than_it_asked_for_is_killed(slurm_runs: None, cgroups: bool) -> None:
    if cgroups and not memory_cgroups():
        pytest.skip("no writable memory and freezer controllers of cgroup v1 here: Slurm looks now and then instead")
    with SlurmCluster(nodes=1, memory_mb=400, cgroups=cgroups) as slurm:
        eat = f'{sys.executable} -c "import time\n{EATER}"'
        greedy, modest = (slurm.submit(eat, f"--mem={mb}") for mb in (100, 290))
        ends = [slurm.wait_job(job, "COMPLETED", "FAILED", "OUT_OF_MEMORY")["JobState"] for job in (greedy, modest)]
        assert ends == ["OUT_OF_MEMORY" if cgroups else "FAILED", "COMPLETED"]


@pytest.mark.slurm
def test_a_drained_node_starts_nothing_until_it_may(slurm: SlurmCluster) -> None:
    node = slurm.nodes[1]
    slurm.drain(node)
    assert slurm.wait_state(node, "drained")
    job = slurm.submit("true", f"--nodelist={node}")
    wait_until(lambda: "ReqNodeNotAvail" in slurm.job(job)["Reason"], 20, "Slurm to find the node drained")
    assert slurm.job(job)["JobState"] == "PENDING"
    slurm.undrain(node)
    slurm.wait_job(job, "COMPLETED")


@pytest.mark.slurm
def test_the_job_of_a_node_that_crashes_starts_again_elsewhere_and_the_node_boots_anew(slurm: SlurmCluster) -> None:
    job = slurm.submit("sleep 2", "--requeue")
    node = slurm.wait_job(job, "RUNNING")["NodeList"]
    slurm.run_on(node, ["touch", "/tmp/old"])
    slurm.crash(node)
    with pytest.raises(ConnectionError, match=f"{node} is off"):
        slurm.run_on(node, ["true"])
    assert slurm.wait_job(job, "PENDING")["Restarts"] == "1"
    assert slurm.states()[node] == "down*"
    slurm.run_on(HEAD, ["scontrol", "update", f"JobId={job}", "StartTime=now"])  # lifts Slurm's hold of two minutes
    assert slurm.wait_job(job, "COMPLETED")["NodeList"] != node
    slurm.boot(node)
    slurm.boot(node)  # is there already
    slurm.wait_state(node, "idle")
    assert slurm.run_on(node, ["find", "/tmp", "-name", "old"]).stdout == ""  # nor is anything found twice
    assert slurm.run_on(HEAD, ["srun", f"--nodelist={node}", "hostname"]).stdout.strip() == node


@pytest.mark.slurm
def test_a_node_that_is_back_before_slurm_looks_is_as_good_as_before(slurm: SlurmCluster) -> None:
    node = slurm.nodes[2]
    for _ in range(3):
        slurm.crash(node)
        slurm.boot(node)
    assert slurm.run_on(HEAD, ["srun", f"--nodelist={node}", "hostname"]).stdout.strip() == node


@pytest.mark.slurm
def test_a_stranger_is_no_node(slurm: SlurmCluster) -> None:
    with pytest.raises(ValueError, match="nobody is no node of this cluster"):
        slurm.crash("nobody")


@pytest.mark.slurm
def test_a_cloud_boots_nodes_when_they_are_wanted_and_has_no_capacity_for_one(slurm_runs: None) -> None:
    with SlurmCluster(nodes=2, memory_mb=400, cloud=True, suspend_s=3) as slurm:
        refused, there = slurm.nodes
        slurm.refuse(refused)
        array = slurm.submit("sleep 1", "--array=1-2", "--exclusive")
        slurm.wait_state(refused, "down#")
        shown = slurm.run_on(HEAD, ["scontrol", "show", "node", refused]).stdout
        assert "(Code:InsufficientInstanceCapacity)Failure when resuming nodes" in shown
        (waiting,) = (i for i in (1, 2) if slurm.job(f"{array}_{i}")["JobState"] == "PENDING")
        assert slurm.job(f"{array}_{3 - waiting}")["NodeList"] == there
        with pytest.raises(ConnectionError):
            slurm.run_on(refused, ["true"])
        slurm.accept(refused)
        slurm.wait_state(refused, "idle~")
        slurm.run_on(HEAD, ["scontrol", "update", f"JobId={array}_{waiting}", "StartTime=now"])
        slurm.wait_job(f"{array}_{waiting}", "CONFIGURING", "RUNNING")
        slurm.wait_state(refused, "allocated")
        assert slurm.run_on(refused, ["hostname"]).stdout.strip() == refused
        for i in (1, 2):  # Slurm looks every 30 s only whether the nodes of a job have booted
            assert slurm.wait_job(f"{array}_{i}", "COMPLETED")["NodeList"] == (refused if i == waiting else there)
        slurm.wait_state(there, "idle~")  # idle for a while, so it went
        for program in ("resume", "suspend"):  # is let go before it has booted
            slurm.run_on(HEAD, [slurm.layout.directory / "bin" / program, there])
        booting = re.compile("bin/(resume|boot)")
        wait_until(lambda: not booting.search(processes_on(slurm, HEAD)), 20, "the time to boot to pass")
        with pytest.raises(ConnectionError):
            slurm.run_on(there, ["true"])


# -- what stays --

OWNER = """
import signal, sys, time
from tests.slurm.harness import SlurmCluster
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where these tests are run beside others
with SlurmCluster(nodes=2, cpus=2) as slurm:
    slurm.wait_job(slurm.submit("sleep 60"), "RUNNING")
    print(slurm.layout.directory, slurm.layout.token, flush=True)
    {ending}
"""


def namespaces() -> dict[str, set[int]]:
    """Processes in each namespace of the machine."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        for kind in ("net", "uts", "pid", "ipc", "mnt"):
            try:
                found.setdefault(str(Path(f"/proc/{process.pid}/ns/{kind}").readlink()), set()).add(process.pid)
            except OSError:
                break  # it has ended
    return found


def traces(cluster: SimpleNamespace) -> dict[str, object]:
    """What there is of a cluster on the machine."""
    processes = set()
    for pid in psutil.pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_text(errors="replace")
        except OSError:
            continue
        if f"SLURM_CONF={cluster.directory}/" in environment:
            processes.add(pid)
    shown = subprocess.run(["ip", "-oneline", "link"], capture_output=True, text=True, check=True).stdout
    found: dict[str, object] = {
        "processes": processes,
        "mounts": re.findall(f"^.*{cluster.directory}.*$", Path("/proc/self/mountinfo").read_text(), re.MULTILINE),
        "links": re.findall(r"^.*\b(?:nodes|veth\d+)\b.*$", shown, re.MULTILINE),
        "cgroups": list(Path("/sys/fs/cgroup").glob(f"*/*{cluster.token}*")),
        "directory": cluster.directory.exists(),
    }
    return {name: value for name, value in found.items() if value}


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("ending", "sent"),
    [
        ("pass", None),
        ("raise RuntimeError", None),
        ("time.sleep(60)", signal.SIGINT),
        ("time.sleep(60)", signal.SIGTERM),
        ("time.sleep(60)", signal.SIGKILL),
    ],
)
def test_of_a_cluster_nothing_stays_however_its_owner_ends(
    slurm: SlurmCluster, ending: str, sent: signal.Signals | None
) -> None:
    command = [sys.executable, "-c", OWNER.format(ending=f"sys.stdin.readline(); {ending}")]
    pipe = subprocess.PIPE
    before = namespaces()
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        directory, token = owner.stdout.readline().split()
        cluster = SimpleNamespace(directory=Path(directory), token=token)
        there = traces(cluster)
        pids = there["processes"]
        assert isinstance(pids, set)
        ours = {name for name, inside in namespaces().items() if inside & pids} - before.keys()
        owner.stdin.write("\n")
        owner.stdin.flush()
        if sent is not None:
            os.killpg(owner.pid, sent)  # all that a terminal would send it to
    assert there.keys() - {"cgroups"} == {"processes", "directory"}  # no mount, no link
    assert ("cgroups" in there) == memory_cgroups()
    assert len(ours) == 3 * 5  # the head's and two nodes'
    wait_until(lambda: not traces(cluster), 20, "everything of the cluster to go")
    assert not ours & namespaces().keys()
    assert slurm.run_on(HEAD, ["srun", "--nodes=3", "hostname"]).stdout.count("\n") == 3  # ours has noticed nothing


@pytest.mark.slurm
def test_of_a_cluster_that_does_not_start_nothing_stays(slurm_runs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_START_S", 1.0)
    cluster = SlurmCluster(nodes=1, cpus=-1)
    with pytest.raises(TimeoutError, match="all nodes to be") as caught, cluster:
        pass
    assert "CPUs" in caught.value.__notes__[0]
    assert traces(SimpleNamespace(directory=cluster.layout.directory, token=cluster.layout.token)) == {}
    cluster.stop()  # again

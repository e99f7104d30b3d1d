"""Starts a real Slurm whose nodes are namespaces of this machine, lets nodes crash, boot and be refused, and ends it all.

    with SlurmCluster(nodes=3, memory_mb=2000) as slurm:
        job = slurm.submit("hostname", "--array=1-3")
        slurm.wait_job(job, "COMPLETED")
        slurm.crash(slurm.nodes[0])

Nothing of the machine is used but its files and cgroups: every node has its own network, hostname, process table, /tmp
and /dev/shm; addresses are in networks that lead nowhere. The cluster ends with its `with` block, and also when this
process is gone, however it went.
"""

import ctypes
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from tests.slurm.configuration import HEAD, Layout, cgroup_conf, hosts, slurm_conf
from tests.slurm.programs import programs

_PROGRAMS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm", "munged": "munge"}
_START_S = 60.0
_STOP_S = 60.0
_POLL_S = 0.1
_LOG_LINES = 15
_CGROUPS = Path("/sys/fs/cgroup")
_OURS = (Path(__file__).resolve().parents[2], Path(sys.prefix), Path(sys.base_prefix))
"""What Python on the nodes needs of us."""

Result = TypeVar("Result")
_NETWORK = 0x40000000
"""CLONE_NEWNET, as the kernel's headers have it."""


def obstacle() -> str | None:
    """Say why Slurm cannot run here, or give None; installs Debian's packages if only they are missing."""
    if os.geteuid() != 0:
        return "a Slurm of namespaces needs root"
    for program in ("unshare", "nsenter", "mount", "ip", "setsid"):
        if shutil.which(program) is None:
            return f"a Slurm of namespaces needs the program {program}"
    bridge = "ip link add nodes type bridge && ip link add veth1 type veth peer name eth0 && mount -t tmpfs none /mnt"
    probe = [*["unshare", "--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "sh", "-c"], bridge]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"no namespaces with networks and mounts of their own here: {tried.stderr.strip()}"
    missing = sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})
    return _install(missing) if missing else None


def _install(packages: Sequence[str]) -> str | None:
    """Install Debian packages without starting what they bring; give the reason if that fails."""
    if shutil.which("apt-get") is None:
        return f"Slurm is not installed, and there is no apt-get to install {', '.join(packages)}"
    apt = ["apt-get", "--yes", "--quiet=2", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    policy = Path("/usr/sbin/policy-rc.d")  # Debian asks it whether a package may start its daemons
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in (install, [*apt, "update"], install):
            tried = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            if tried.returncode == 0 and command is install:
                return None
    finally:
        if ours:
            policy.unlink()
    return f"Slurm could not be installed: {tried.stderr.strip()[-500:]}"


def _enter(namespace: IO[str]) -> None:
    """Have this thread in a namespace of a network; before Python 3.12 only the C library can do that."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def memory_cgroups() -> bool:
    """Whether Slurm can hold jobs to their memory by cgroup v1: its memory and freezer controllers are writable."""
    for controller in ("memory", "freezer"):
        probe = _CGROUPS / controller / f"raypipe-probe-{secrets.token_hex(4)}"
        try:
            probe.mkdir()
        except OSError:
            return False
        probe.rmdir()
    return True


def wait_until(condition: Callable[[], Result | None], seconds: float, what: str) -> Result:
    """Ask until `condition` gives something true, and give that.

    Raises
    ------
    TimeoutError
        After `seconds` in vain; the message says `what` was waited for.
    """
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(_POLL_S)
    return result


class SlurmCluster:
    """A head that runs slurmctld, and `nodes` nodes; fields of `Layout` say what else can be chosen.

    Commands run on the head or on a node with `run_on`; `environment` is what they find. Where a cgroup cannot hold a
    job to its memory, `layout.cgroups` is False: Slurm then looks every second and kills whole jobs.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        cpus: int = 2,
        memory_mb: int = 2000,
        shm_mb: int = 1000,
        memory_scheduling: bool = True,
        cgroups: bool | None = None,
        cloud: bool = False,
        boot_delay_s: float = 1.0,
        suspend_s: int = 20,
        shared: Sequence[Path] = (),
    ) -> None:
        self.layout = Layout(
            directory=Path(tempfile.mkdtemp(prefix="raypipe-slurm-", dir="/tmp")),
            token=secrets.token_hex(3),
            nodes=nodes,
            cpus=cpus,
            memory_mb=memory_mb,
            shm_mb=shm_mb,
            memory_scheduling=memory_scheduling,
            cgroups=memory_cgroups() if cgroups is None else cgroups,
            cloud=cloud,
            boot_delay_s=boot_delay_s,
            suspend_s=suspend_s,
            shared=(*_OURS, *(each.resolve() for each in shared)),
        )
        self.nodes = tuple(self.layout.addresses)
        self._keeper: subprocess.Popen[bytes] | None = None

    # -- life --

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._write_files()
        self._keeper = subprocess.Popen(
            [self.layout.directory / "bin" / "keep"],
            stdin=subprocess.PIPE,  # the cluster ends when it is written to or closed
            stdout=subprocess.DEVNULL,
            env=self.environment,
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who then ends the cluster
        )
        try:
            wait_until((self.layout.of_node(HEAD) / "pid").exists, _START_S, "the head's first process")
            if not self.layout.cloud:
                for node in self.nodes:
                    self.boot(node)
            usable = {"idle~"} if self.layout.cloud else {"idle"}
            wait_until(lambda: set(self.states().values()) == usable, _START_S, f"all nodes to be {usable}")
        except (TimeoutError, subprocess.CalledProcessError) as error:
            error.add_note(self.logs())
            raise

    def _write_files(self) -> None:
        at = self.layout.directory
        at.chmod(0o755)
        for folder in ("bin", "head", "home", "log", "nodes", "spool", "state"):
            (at / folder).mkdir()
        for node in self.nodes:
            self.layout.of_node(node).mkdir()
        key = at / "munge.key"
        key.touch(0o400)
        key.write_bytes(secrets.token_bytes(1024))
        (at / "hosts").write_text(hosts(self.layout))
        (at / "cgroup.conf").write_text(cgroup_conf(self.layout))
        self.layout.slurm_conf.write_text(slurm_conf(self.layout))
        for name, text in programs(self.layout).items():
            (at / "bin" / name).write_text(text)
            (at / "bin" / name).chmod(0o755)

    def stop(self) -> None:
        """End the cluster and remove all that it wrote; a second call does nothing.

        Raises
        ------
        RuntimeError
            If it does not end.
        """
        keeper, self._keeper = self._keeper, None
        if keeper is None or keeper.stdin is None:
            shutil.rmtree(self.layout.directory, ignore_errors=True)
            return
        try:
            keeper.stdin.write(b"\n")  # closing would not do: a process forked from this one may hold the pipe too
            keeper.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            keeper.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self.layout.directory} does not end; process {keeper.pid} waits for it") from None
        if self.layout.directory.exists():
            raise RuntimeError(f"{self.layout.directory} could not be removed")

    # -- nodes --

    def boot(self, node: str) -> None:
        """Start a node that is off, with an empty /tmp; Slurm sees it a moment later."""
        self._on_head("boot", node)

    def crash(self, node: str) -> None:
        """Kill all of a node at once, as the end of its instance would; Slurm notices after its timeout."""
        self._on_head("crash", node)

    def refuse(self, node: str) -> None:
        """From now on there is no capacity for a cloud node: it goes down as soon as Slurm wants it."""
        (self.layout.of_node(node) / "refused").touch()

    def accept(self, node: str) -> None:
        """There is capacity for a refused node again, and Slurm may ask for it again."""
        (self.layout.of_node(node) / "refused").unlink()
        self._scontrol("update", f"NodeName={node}", "State=POWER_DOWN_FORCE")

    def drain(self, node: str, reason: str = "spot notice") -> None:
        """Let a node start no further job; what runs there goes on."""
        self._scontrol("update", f"NodeName={node}", "State=DRAIN", f"Reason={reason}")

    def undrain(self, node: str) -> None:
        """Let a drained node start jobs again."""
        self._scontrol("update", f"NodeName={node}", "State=RESUME")

    def states(self) -> dict[str, str]:
        """State of every node in sinfo's words, such as idle, allocated, down*, idle~ (off), draining."""
        listing = self.run_on(HEAD, ["sinfo", "--noheader", "--Node", "--format=%N %T"], check=False).stdout
        return dict(line.split() for line in listing.splitlines())

    def wait_state(self, node: str, *states: str, seconds: float = 60.0) -> str:
        """Wait until a node is in one of `states`, and say in which."""
        return wait_until(
            lambda: found if (found := self.states().get(node)) in states else None, seconds, f"{node} to be {states}"
        )

    # -- commands --

    @property
    def environment(self) -> dict[str, str]:
        """What commands on the cluster find in their environment: ours, but for what is about another Slurm or /tmp."""
        foreign = re.compile(r"(SLURM|SLURMD|SBATCH|SRUN|SALLOC|SINFO|SQUEUE|SCANCEL)_|TMPDIR$|PYTEST_CURRENT_TEST$")
        ours = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        return {**ours, "HOME": str(self.layout.home), "SLURM_CONF": str(self.layout.slurm_conf)}

    def command_on(self, node: str, command: Sequence[str | Path]) -> list[str]:
        """Give what runs `command` on the head or on a node when started on the machine itself."""
        enter = ["nsenter", "--mount", "--net", "--uts", "--ipc", "--pid"]
        # dies with what started it; --wdns: the folder of that name as the node sees it
        there = [f"--wdns={self.layout.home}", "setpriv", "--pdeathsig=KILL", *map(str, command)]
        head = [*enter, f"--target={self._first_process(HEAD)}"]
        if node == HEAD:
            return [*head, *there]
        return [*head, "setpriv", "--pdeathsig=KILL", *enter, f"--target={self._first_process(node)}", *there]

    def run_on(
        self,
        node: str,
        command: Sequence[str | Path],
        *,
        check: bool = True,
        seconds: float = 60.0,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` on the head or on a node, in the shared home, with `environment` beside the cluster's own.

        Raises
        ------
        subprocess.CalledProcessError
            If it fails, unless `check` is False; its notes say what it wrote to its standard error.
        subprocess.TimeoutExpired
            After `seconds`; the command is killed.
        ConnectionError
            If the node is off.
        """
        try:
            return subprocess.run(
                self.command_on(node, command),
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=check,
            )
        except subprocess.CalledProcessError as error:
            error.add_note(str(error.stderr))
            raise

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have this thread, and whatever it starts meanwhile, on the network of the head instead of the machine's."""
        with Path("/proc/thread-self/ns/net").open() as ours:
            with Path(f"/proc/{self._first_process(HEAD)}/ns/net").open() as theirs:
                _enter(theirs)
            try:
                yield
            finally:
                _enter(ours)

    def submit(self, script: str, *options: str) -> int:
        """Submit a job of shell lines from the head with sbatch's `options`; give its number."""
        text = f"#!/bin/sh\n{script}\n"
        path = self.layout.home / f"job-{secrets.token_hex(4)}.sh"
        path.write_text(text)
        return int(self.run_on(HEAD, ["sbatch", "--parsable", *options, path]).stdout)

    def job(self, number: int | str) -> dict[str, str]:
        """What Slurm knows about a job (123) or an element of an array (123_4), as `scontrol show job` names it."""
        shown = self.run_on(HEAD, ["scontrol", "--oneliner", "show", "job", str(number)]).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", shown.splitlines()[0]))

    def wait_job(self, number: int | str, *states: str, seconds: float = 60.0) -> dict[str, str]:
        """Wait until a job is in one of `states`, such as RUNNING or COMPLETED, and give what Slurm knows about it.

        Raises
        ------
        TimeoutError
            With the job, the nodes and the ends of the logs in its notes.
        """
        try:
            return wait_until(
                lambda: found if (found := self.job(number))["JobState"] in states else None,
                seconds,
                f"job {number} to be {states}",
            )
        except TimeoutError as error:
            error.add_note(f"{self.job(number)}\n{self.states()}\n{self.logs()}")
            raise

    def logs(self) -> str:
        """Give the last lines of what the head wrote and of all logs."""
        log = self.layout.directory / "log"
        tails: list[str] = []
        for path in (*log.glob("head.out"), *sorted(log.glob("*.log"))):
            tails += [f"== {path.name}", *path.read_text(errors="replace").splitlines()[-_LOG_LINES:]]
        return "\n".join(tails)

    def _scontrol(self, *arguments: str) -> None:
        self.run_on(HEAD, ["scontrol", *arguments])

    def _on_head(self, program: str, node: str) -> None:
        if node not in self.nodes:
            raise ValueError(f"{node} is no node of this cluster: {', '.join(self.nodes)}")
        self.run_on(HEAD, [self.layout.directory / "bin" / program, node])

    def _first_process(self, node: str) -> int:
        """Its number: of the head's as the machine sees it, of a node's as the head does."""
        try:
            return int((self.layout.of_node(node) / "pid").read_text())
        except FileNotFoundError:
            raise ConnectionError(f"{node} is off") from None

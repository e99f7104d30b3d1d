"""A node of Ray: started, watched, and ended with everything that it started.

`ray start` leaves its daemons to whoever adopts orphans. Here that is this process, so that it learns with which code the
raylet ended: 0 after a drain, anything else if the head was lost. (`ray start --block` waits for ever after a drain.)
"""

import ctypes
import ipaddress
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cluster.errors import NotDrained, RayNotStarted, SettingsError
from cluster.memory_guard import memory_guarded
from cluster.ray_logs import dead_workers, keep_logs
from cluster.share import Share

FILTERS = "filters"
"""Ray's resource of workers that take no CPU, since they mostly wait for the disk or the network."""
_LONGEST_BASE = 25
"""A socket's path has 107 bytes at most, and Ray needs 81 of them below the folder for temporary files."""
_START_SECONDS = 180.0
_GRACE_SECONDS = 4.0
_DRAIN_SECONDS = 60.0
_RAY = (sys.executable, "-m", "ray.scripts.scripts")
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_SAID_LINES = 15
log = logging.getLogger(__name__)


class RayNode:
    """Ray's processes on this node."""

    def __init__(self, raylet: psutil.Process) -> None:
        self._raylet = raylet
        self._code: int | None = None
        self.failed = False
        """Set by whoever sees it fail: the ends of Ray's logs are kept then."""

    def ended(self) -> int | None:
        """Return with which code the raylet ended, or None while it lives."""
        if self._code is None:
            with suppress(psutil.TimeoutExpired):
                # A code that somebody else took counts as the worst.
                code = self._raylet.wait(timeout=0)
                self._code = 1 if code is None else int(code)
        return self._code

    def drain(self, head: str, why: str, seconds: int | None = None) -> None:
        """Take no more tasks, end those that run (in `seconds`, if given), then go."""
        node = next(word.partition("=")[2] for word in self._raylet.cmdline() if word.startswith("--node_id="))
        drain(head, node, why, seconds)


@contextmanager
def ray_node(
    options: list[str], folder: Path, spill: Path | None = None, *, kept: Path | None = None
) -> Iterator[RayNode]:
    """Run `ray start` with `options`, temporary files in `folder`, and objects that memory does not hold in `spill`.

    At the end all of it is ended, with whatever else this process began meanwhile, and both folders are removed. `spill`
    is beside the others where it is None. If Ray did not start or was lost, or a worker of it died, the ends of its logs
    are appended to the file `kept`, if given.

    Raises `RayNotStarted` with Ray's own words.
    """
    _adopt_orphans()
    _open_many_files()
    others = _children()
    token = _token()  # now: at the end it may be another's
    node: RayNode | None = None
    try:
        if spill:
            spill.mkdir(mode=0o700, exist_ok=True)
            options = [*options, f"--object-spilling-directory={spill}"]
        node = RayNode(_start([*options, f"--temp-dir={folder}"]))
        with memory_guarded():
            yield node
    finally:
        with _undisturbed():
            dead = dead_workers(folder)  # now: at the end all are
            _end(others)
            if kept and (node is None or node.failed or dead):
                keep_logs(folder, kept, dead, token)
            for each in (folder, spill):
                if each:
                    shutil.rmtree(each, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off a SIGTERM: what is left behind nobody removes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)


def drain(head: str, node_id: str, why: str, seconds: int | None = None) -> None:
    """Have a node (Ray's id of it, hexadecimal) take no more tasks, end those that run, and go: its job ends then.

    Raises `NotDrained` with Ray's words if the head at `head` (`ip:port`) does not accept that.
    """
    reason = "DRAIN_NODE_REASON_PREEMPTION"  # with the other, idle, a node that works refuses
    words = [f"--address={head}", f"--node-id={node_id}", f"--reason={reason}", f"--reason-message={why}"]
    words += [f"--deadline-remaining-seconds={seconds}"] if seconds is not None else []
    command, said = [*_RAY, "drain-node", *words], "no answer"
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DRAIN_SECONDS)
        if not done.returncode:
            return
        said = " ".join((done.stdout + done.stderr).split()[-40:])
    raise NotDrained(
        f"node {node_id} could not be drained: {said}",
        hint="its job can be cancelled instead; tasks on it are begun again elsewhere",
    )


def head_options(share: Share, *, address: str, port: int) -> list[str]:
    """Return the options of `ray start` on the head's node."""
    # Ray's own autoscaler has nothing to do: workers are Slurm's.
    return ["--head", f"--port={port}", "--include-dashboard=false", "--no-monitor", *_options(share, address)]


def worker_options(share: Share, *, head: str, address: str) -> list[str]:
    """Return the options of `ray start` on a worker's node; `head` is the head's `ip:port`."""
    return [f"--address={head}", *_options(share, address)]


def temp_folder(base: Path, job: int | str) -> Path:
    """Return where Ray's temporary files of a job go: one place for each job, with a short path.

    Raises `SettingsError` if the path would be too long for Ray's sockets.
    """
    folder = base / f"rp-{job}"
    if len(os.fsencode(folder)) > _LONGEST_BASE:
        raise SettingsError(
            f"{folder} is too long for Ray's sockets by {len(os.fsencode(folder)) - _LONGEST_BASE} characters",
            hint="set `temp` to a folder with a short path, such as /tmp",
        )
    return folder


def address_here(node_address: str, towards: str) -> str:
    """Return the IP by which other nodes reach this one.

    `node_address` is Slurm's own for this node, an IP or a name; where it is a name that means this machine only here
    (Debian writes 127.0.1.1 into its hosts file), the one that packets to `towards` would leave from.
    """
    with suppress(ValueError):
        return str(ipaddress.ip_address(node_address))
    with suppress(OSError):
        found = socket.gethostbyname(node_address)
        if not ipaddress.ip_address(found).is_loopback:
            return found
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect((towards, 9))  # of a datagram socket: nothing is sent
        return str(unsent.getsockname()[0])


def _options(share: Share, address: str) -> list[str]:
    return [
        f"--node-ip-address={address}",
        f"--num-cpus={share.cpus}",
        f'--resources={{"{FILTERS}": {share.cpus}}}',
        f"--memory={share.memory}",
        f"--object-store-memory={share.object_store}",
        "--include-log-monitor=false",  # it hands what workers print to drivers, and ours do not listen
        "--disable-usage-stats",
    ]


def _start(options: list[str]) -> psutil.Process:
    before = _children()
    command = [*_RAY, "start", *options]
    # A file and no pipe, which the daemons would keep open.
    with tempfile.TemporaryFile("w+") as said:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=_START_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        said.seek(0)
        last = said.read().splitlines()[-_SAID_LINES:]
    raylet = next((process for process in _children() - before if _name(process) == "raylet"), None)
    if code != 0 or raylet is None:
        why = f"ended with exit code {code}" if code is not None else f"took more than {_START_SECONDS:.0f} s"
        raise RayNotStarted(
            "\n  ".join([f"`ray start {' '.join(options)}` {why}:", *last]),
            hint="`df -h /tmp /dev/shm` on the node and a firewall between the nodes are worth a look",
        )
    return raylet


def _end(others: set[psutil.Process]) -> None:
    # The raylet goes by itself, and takes leave of the head. The rest has nothing to lose; told to go at the same time as
    # the raylet, the head's processes wait for each other.
    processes = _children() - others
    raylets = [process for process in processes if _name(process) == "raylet"]
    for process in raylets:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(raylets, timeout=_GRACE_SECONDS)
    # Those that lost their parents meanwhile are this process's own now.
    left = list(processes | _children() - others)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=_GRACE_SECONDS)


def _token() -> bytes:
    """Return the token that lets nodes into the run's Ray, or nothing."""
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "")).read_bytes().strip()
    except OSError:
        return b""


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def _adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_ADOPT_ORPHANS, 1, 0, 0, 0):
        raise RayNotStarted(f"prctl: {os.strerror(ctypes.get_errno())}", hint="this needs Linux 3.4 or later")


def _open_many_files() -> None:
    # Ray opens a few for each worker, object and peer; 1024 is the usual soft limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

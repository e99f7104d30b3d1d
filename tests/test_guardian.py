"""Of an embedded Ray nothing stays, however its driver ends; of anything else, nothing is touched."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest

from raypipe import guardian

SECONDS = 15.0

FAKE = """
import subprocess, sys, time
from pathlib import Path
from raypipe.guardian import guarded
folder = Path(sys.argv[1])
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
parent = [sys.executable, "-c", "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"]
users = [subprocess.Popen(["sleep", "60"])]
with guarded(folder):
    users.append(subprocess.Popen(["sleep", "60"]))
    users.append(subprocess.Popen(["tail", "-f", "/dev/null", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    rays = [subprocess.Popen([*parent, f"--session-dir={folder}/session"]), subprocess.Popen([*sleep, f"--dir={folder}"])]
    time.sleep(0.5)
    print(*(each.pid for each in users), flush=True)
    print(*(each.pid for each in rays), flush=True)
    if sys.argv[2] == "wait":
        time.sleep(60)
"""

REAL = """
import subprocess, sys, time
from raypipe.embedded import embedded_ray
from raypipe.memory import MB, Budget
users = [subprocess.Popen(["sleep", "60"])]
budget = Budget(1, 1.0, 1, 100 * MB, 0, 100 * MB, 100 * MB, 100 * MB, 0, 300 * MB)
with embedded_ray(budget, 1):
    import psutil, ray
    from ray._private.worker import global_worker
    users.append(subprocess.Popen(["sleep", "60"]))
    @ray.remote
    class Idle:
        def pid(self):
            return subprocess.Popen(["sleep", "60"]).pid
    idle = Idle.remote()
    ray.get(idle.pid.remote())
    time.sleep(2.5)  # a look: what an actor starts and loses at once is known only to who saw it
    ours = {each.pid for each in users}
    print(*ours, flush=True)
    mine = [each for each in psutil.Process().children(recursive=True) if each.pid not in ours]
    print(*(each.pid for each in mine if "guardian" not in " ".join(each.cmdline())), flush=True)
    print(global_worker.node.get_temp_dir_path(), flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until_gone(folder: Path, pids: list[int]) -> None:
    end = time.monotonic() + SECONDS
    while (folder.exists() or any(map(alive, pids))) and time.monotonic() < end:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []
    assert not folder.exists()


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Processes of the test that are ended with it."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


def read_pids(driver: "subprocess.Popen[str]") -> list[int]:
    assert driver.stdout
    return [int(word) for word in driver.stdout.readline().split()]


@pytest.mark.parametrize("end", ["kill", "return"])
def test_only_rays_processes_go_with_the_driver(tmp_path: Path, started: list[int], end: str) -> None:
    folder = tmp_path / "run"
    (folder / "session").mkdir(parents=True)
    command = [sys.executable, "-c", FAKE, str(folder), "wait" if end == "kill" else "return"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        users, rays = read_pids(driver), read_pids(driver)
        started += users + rays
        if end == "kill":
            driver.kill()
        wait_until_gone(folder, rays)
        assert all(map(alive, users))
        for pid in users:
            psutil.Process(pid).kill()


def test_a_driver_that_is_gone_at_the_first_look_costs_nobody_his_processes(tmp_path: Path, started: list[int]) -> None:
    """Its number may be another's by then, or its guardian the child of process 1."""
    users = subprocess.Popen(["sleep", "60"])
    rays = subprocess.Popen(["sh", "-c", "sleep 60; sleep 60", f"--dir={tmp_path}/run"])
    started += [users.pid, rays.pid]
    for pid, start in ((os.getpid(), psutil.Process().create_time() - 100), (1, 0.0), (2**22 + 1, 0.0)):
        folder = tmp_path / "run"
        folder.mkdir()
        command = [sys.executable, "-P", guardian.__file__, str(folder), str(pid), repr(start)]
        subprocess.run(command, stdin=subprocess.PIPE, timeout=SECONDS, check=True)
        assert not folder.exists()
        assert users.poll() is None
        assert rays.wait(SECONDS)
    users.kill()
    users.wait()


def test_a_real_ray_goes_with_a_killed_driver(started: list[int], tmp_path: Path) -> None:
    """Also with an address in the environment, and with a folder for temporary files too long for Ray's sockets."""
    long = tmp_path / ("x" * 60)
    long.mkdir()
    environment = os.environ | {"RAY_ADDRESS": "192.0.2.1:6379", "TMPDIR": str(long)}
    command = [sys.executable, "-c", REAL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        users, rays = read_pids(driver), read_pids(driver)
        started += users + rays
        assert driver.stdout
        folder = Path(driver.stdout.readline().strip())
        assert folder.is_dir()
        assert len(rays) > 4, "servers, agents, an actor and its child"
        driver.kill()
        wait_until_gone(folder, rays)
        assert all(map(alive, users))
        for pid in users:
            psutil.Process(pid).kill()


def test_the_folder_goes_even_if_the_guardian_was_killed() -> None:
    folder = Path(mkdtemp())
    before = set(psutil.Process().children())
    with guardian.guarded(folder):
        (watcher,) = set(psutil.Process().children()) - before
        watcher.kill()
    assert not folder.exists()

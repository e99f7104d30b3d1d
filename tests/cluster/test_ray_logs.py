"""The ends of Ray's logs: of a real node on which a worker dies, and of files of all sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.ray_logs import dead_workers, keep_logs, log_name

PROGRAM = """
import json, os, socket, sys
from pathlib import Path

from cluster.ray_node import head_options, ray_node
from cluster.run_folder import write_token
from cluster.share import MB, Share

folder, said = Path(sys.argv[1]), {}
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(write_token(folder)))
said["token"] = (folder / "token").read_text()
import ray  # looks at these once


@ray.remote(max_retries=0)
def dies(text):
    print(text, flush=True)
    os.kill(os.getpid(), 9)


@ray.remote
class Actor:
    def ready(self):
        return os.getpid()


for name in ("well", "died", "failed"):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = head_options(Share(1, 200 * MB, 80 * MB), address="127.0.0.1", port=port)
    with ray_node(options, folder / "h", kept=folder / f"{name}.log") as node:
        if name == "failed":
            node.failed = True
            continue
        ray.init(address=f"127.0.0.1:{port}", configure_logging=False, log_to_driver=False)
        actor = Actor.remote()
        ray.get(actor.ready.remote())
        ray.kill(actor)
        if name == "died":
            try:
                ray.get(dies.remote("its last words"))
            except ray.exceptions.WorkerCrashedError:
                pass
        ray.shutdown()
try:
    with ray_node([*options, "--no-such-option"], folder / "h", kept=folder / "refused.log"):
        pass
except Exception as error:
    said["refused"] = type(error).__name__
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a process kept logs of nodes that fared well, lost a worker, failed, and did not start."""
    folder = tmp_path_factory.mktemp("r")
    short = Path("/tmp") / f"rl{folder.stat().st_ino}"  # sockets have short paths
    short.symlink_to(folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(short)], capture_output=True, text=True, timeout=180, check=False
        )
    finally:
        short.unlink()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["refused"] == "RayNotStarted"
    (folder / "the token").write_text(said["token"])
    return folder


def test_a_worker_that_dies_leaves_its_last_words(folder: Path) -> None:
    kept = (folder / "died.log").read_text()
    assert "its last words" in kept
    names = [line.split()[1] for line in kept.splitlines() if line.startswith("== ")]
    assert {"raylet.out", "gcs_server.out"} <= set(names)
    assert len([name for name in names if name.startswith("worker-") and name.endswith(".out")]) == 1, (
        "the dead one's alone"
    )


def test_where_nothing_failed_nothing_is_kept(folder: Path) -> None:
    assert not (folder / "well.log").exists(), (folder / "well.log").read_text()


def test_a_node_that_fails_leaves_its_logs(folder: Path) -> None:
    kept = (folder / "failed.log").read_text()
    assert "== raylet.out ==" in kept
    assert "== worker-" not in kept


def test_the_token_is_in_none_of_them(folder: Path) -> None:
    token = (folder / "the token").read_text().strip()
    assert len(token) == 64
    for path in folder.glob("*.log"):
        assert token not in path.read_text()


def write(folder: Path, **files: bytes) -> Path:
    logs = folder / "session_2018-11-05" / "logs"
    logs.mkdir(parents=True)
    for name, content in files.items():
        (logs / name.replace("__", "-").replace("_out", ".out").replace("_err", ".err")).write_bytes(content)
    return logs


def test_of_long_logs_the_end_in_whole_lines(tmp_path: Path) -> None:
    lines = b"".join(b"line %06d of it\n" % number for number in range(10_000))
    write(tmp_path, raylet_out=lines, raylet_err=b"")
    keep_logs(tmp_path, tmp_path / "kept", [], b"")
    first, *rest, last, empty = (tmp_path / "kept").read_text().splitlines()
    assert (first, last, empty) == ("== raylet.out ==", "line 009999 of it", "")
    assert len(rest) == 64_000 // len(b"line 000000 of it\n") - 1
    assert rest[0].startswith("line ")
    for _ in range(100):
        keep_logs(tmp_path, tmp_path / "kept", [], b"")
    assert 2_000_000 <= (tmp_path / "kept").stat().st_size < 2_100_000


def test_a_token_would_not_be_kept(tmp_path: Path) -> None:
    write(tmp_path, raylet_out=b"its token is secret\n")
    keep_logs(tmp_path, tmp_path / "kept", [], b"secret")
    assert (tmp_path / "kept").read_text() == "== raylet.out ==\nits token is ******\n\n"


def test_who_died(tmp_path: Path) -> None:
    said = "[x] (raylet) node_manager.cc:1477: Disconnecting worker, graceful={}, disconnect_type={}, has_creation_task_exception=false worker_id={} job_id=01\n"
    lines = [said.format("false", 0, "aa1"), said.format("false", 1, "bb2"), said.format("false", 0, "cc3")]
    write(
        tmp_path,
        raylet_out="".join([*lines, lines[0]]).encode(),
        worker__aa1__01__7_err=b"of aa1",
        worker__bb2__01__7_err=b"",
    )
    assert dead_workers(tmp_path) == ["aa1", "cc3"]
    keep_logs(tmp_path, tmp_path / "kept", ["aa1", "cc3"], b"")
    assert (tmp_path / "kept").read_text().endswith("== worker-aa1-01-7.err ==\nof aa1\n\n")
    assert dead_workers(tmp_path / "nowhere") == []
    keep_logs(tmp_path / "nowhere", tmp_path / "nothing", [], b"")
    keep_logs(tmp_path, tmp_path / "no folder" / "kept", [], b"")  # noted, no more


def test_what_they_are_called() -> None:
    here = {"SLURMD_NODENAME": "node2", "SLURM_JOB_ID": "1235"}
    assert log_name("pipe2", here) == "pipe2-ray.node2.1235.log"

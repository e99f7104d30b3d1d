"""The ends of Ray's own logs of a node: kept where something failed, since Ray's folder goes with its node."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_TAIL_BYTES = 64_000
_MOST_BYTES = 2_000_000
_MOST_WORKERS = 8
_DAEMONS = ("raylet.out", "raylet.err", "gcs_server.out", "gcs_server.err")
_WORKERS = ("worker-{}-*.err", "worker-{}-*.out", "python-core-worker-{}_*.log")
_DIED = re.compile(r"Disconnecting worker, graceful=false, disconnect_type=0,.*\bworker_id=([0-9a-f]+)")
"""What the raylet says of a worker that went without a word; 0 is Ray's `SYSTEM_ERROR`."""
log = logging.getLogger(__name__)


def log_name(name: str, environment: Mapping[str, str]) -> str:
    """Return what the ends of the logs are called: `pipe2-ray.node1.1234.log`, for the run's name, node and job."""
    return f"{name}-ray.{environment.get('SLURMD_NODENAME', 'node')}.{environment.get('SLURM_JOB_ID', '0')}.log"


def dead_workers(folder: Path) -> list[str]:
    """Return Ray's ids of the workers that died on this node, oldest first; `folder` is Ray's for temporary files."""
    try:
        text = (_logs(folder) / "raylet.out").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it did not come so far
        return []
    return list(dict.fromkeys(_DIED.findall(text)))


def keep_logs(folder: Path, kept: Path, dead: Iterable[str], token: bytes) -> None:
    """Append the last 64 kB of each of the daemons' logs, and of those of the last workers that died, to the file `kept`.

    Of empty ones nothing, nor of more than `kept` has room for (2 MB). Should Ray ever write its `token` into a log,
    asterisks stand for it. A disk that takes no more is noted, no more.
    """
    logs = _logs(folder)
    paths = [logs / name for name in _DAEMONS]
    paths += [
        path for worker in list(dead)[-_MOST_WORKERS:] for each in _WORKERS for path in logs.glob(each.format(worker))
    ]
    try:
        with kept.open("ab") as file:
            for path in paths:
                if path.is_file() and (tail := _tail(path, token)) and file.tell() < _MOST_BYTES:
                    file.write(f"== {path.name} ==\n".encode() + tail.rstrip() + b"\n\n")
    except OSError as error:
        log.warning("Ray's logs are not kept: %s", error)


def _logs(folder: Path) -> Path:
    return max(folder.glob("session_[0-9]*/logs"), default=folder)  # there is one session


def _tail(path: Path, token: bytes) -> bytes:
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - _TAIL_BYTES)
        file.seek(start)
        text = file.read(_TAIL_BYTES)
    text = text.replace(token, b"*" * len(token)) if token else text
    return text.partition(b"\n")[2] if start else text  # whole lines: a token that was cut is in the first

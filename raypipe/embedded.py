"""A Ray of our own on this machine, for as long as a run takes."""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if "ray" not in sys.modules:
    # Ray looks at these once, when it is imported. Without them it keeps one token for everything in the user's home.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import ray

from raypipe.errors import Refused, UsageError
from raypipe.guardian import guarded
from raypipe.memory import Budget

_BASE_BYTES = 25
"""A socket's path has 107 bytes at most, and Ray needs 81 of them below the folder for temporary files."""
_HINT = "`ulimit -n`, `df -h /tmp /dev/shm` and a firewall on this machine's own ports are worth a look, then run again"


@contextmanager
def embedded_ray(budget: Budget, cpus: int) -> Iterator[None]:
    """Start a Ray of our own with `cpus` and the budget's memory; end it, and remove what it left on the disk.

    Raises `UsageError` if this process has a Ray already (which stays as it is), `Refused` if ours does not start.
    """
    if ray.is_initialized():
        raise UsageError(
            "Ray runs in this process already", hint="call ray.shutdown() before a run, which starts its own"
        )
    with guarded(_make_folder()) as folder:
        try:
            _start(budget, cpus, folder)
            yield
        finally:
            ray.shutdown()


def _make_folder() -> Path:
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > _BASE_BYTES:
        base = "/tmp"  # noqa: S108  (mkdtemp makes a folder that is ours alone)
    try:
        return Path(tempfile.mkdtemp(prefix="raypipe-", dir=base))
    except OSError as error:
        raise Refused(
            f"no folder for Ray could be made in {base}: {error.strerror}",
            hint="make room there, or set TMPDIR to a folder with a short path",
        ) from error


def _start(budget: Budget, cpus: int, folder: Path) -> None:
    try:
        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_cpus=cpus,
            resources={"filters": budget.filter_actors} if budget.filter_actors else None,
            object_store_memory=budget.object_store,
            _memory=budget.asked_for,
            _temp_dir=str(folder),
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
        )
    except Exception as error:  # Ray raises all kinds here, `Exception` itself among them
        raise Refused(f"Ray did not start: {' '.join(str(error).split()) or repr(error)}", hint=_HINT) from error

"""A Ray of our own on this machine, for as long as a run takes."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

if "ray" not in sys.modules:
    # Ray looks at these once, when it is imported. Without them it keeps one token for everything in the user's home.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

import ray

from raypipe.errors import UsageError
from raypipe.guardian import guarded
from raypipe.memory import Budget


@contextmanager
def embedded_ray(budget: Budget, cpus: int) -> Iterator[None]:
    """Start a Ray of our own with `cpus` and the budget's memory; end it, and remove what it left on the disk."""
    if ray.is_initialized():
        raise UsageError(
            "Ray runs in this process already", hint="call ray.shutdown() before a run, which starts its own"
        )
    folder = Path(mkdtemp(prefix="raypipe-"))  # a short path: Ray's sockets live below it
    with guarded(folder):
        try:
            ray.init(
                num_cpus=cpus,
                object_store_memory=budget.object_store,
                _memory=budget.total,
                _temp_dir=str(folder),
                include_dashboard=False,
                configure_logging=False,
                log_to_driver=False,
            )
            yield
        finally:
            ray.shutdown()

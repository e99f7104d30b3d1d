"""A Ray of our own on this machine, for as long as a run takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import ray

from raypipe.guardian import guarded
from raypipe.memory import Budget


@contextmanager
def embedded_ray(budget: Budget, cpus: int) -> Iterator[None]:
    """Start a Ray of our own with `cpus` and the budget's memory; end it, and remove what it left on the disk."""
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

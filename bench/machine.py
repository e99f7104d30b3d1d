"""Says on what machine and when something was measured, and how long a command takes, in wall and CPU time."""

import os
import platform
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """Seconds that something took."""

    wall: float
    cpu: float


def machine() -> dict[str, str]:
    """Describe this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    widest = next((name for name in ("avx512f", "avx2") if any(name in line for line in lines)), "baseline")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": f"{model}, {os.cpu_count()} cores, {widest}",
        "memory": f"{memory:.0f} GiB",
        "python": platform.python_version(),
    }


def take(command: Sequence[str], **environment: str) -> Taken:
    """Run a command to its end; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def as_table(rows: Sequence[Taken]) -> list[dict[str, float]]:
    """Return times for JSON."""
    return [asdict(row) for row in rows]

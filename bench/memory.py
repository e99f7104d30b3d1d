"""The most memory that all processes of a run hold together, beside what the plan promised.

Proportional set sizes are added up, so that what processes share (the object store, libraries) counts once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.machine import machine

RAYPIPE = [str(Path(sys.executable).parent / "raypipe")]
POLL_SECONDS = 0.25


def main() -> None:
    """Measure days of several lengths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--seconds", type=int, nargs="+", default=[120, 600])
    parser.add_argument("--work", type=Path, help="folder for the data (default: a temporary one)")
    parser.add_argument("--json", type=Path, default=Path("bench/results/memory.json"))
    options = parser.parse_args()
    rows = []
    for seconds in options.seconds:
        with tempfile.TemporaryDirectory(dir=options.work, prefix="raypipe-bench-") as work:
            rows.append(measure(Path(work), options.channels, seconds))
        row = rows[-1]
        print(
            f"{row['channels']} channels x {seconds} s: at most {row['peak'] / 1e9:.2f} GB,"
            f" promised {row['promised'] / 1e9:.2f} GB ({row['promised'] / row['peak']:.2f} times)",
            flush=True,
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def measure(work: Path, channels: int, seconds: int) -> dict[str, float]:
    """Simulate a day, run it, and watch."""
    simulate = [*RAYPIPE, "simulate", str(work), "--channels", str(channels), "--seconds", str(seconds)]
    subprocess.run([*simulate, "--trials", str(max(1, seconds // 6)), "--eye-seconds", "4"], check=True)
    day = str(work / "picasso" / "20181105")
    plan = json.loads(subprocess.run([*RAYPIPE, "plan", day, "--json"], check=True, capture_output=True).stdout)
    process = subprocess.Popen([*RAYPIPE, "run", day], stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, family_memory(process.pid))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    return {"channels": channels, "seconds": seconds, "peak": peak, "promised": plan["memory"]["total"]}


def family_memory(pid: int) -> int:
    """Return the bytes of a process and all below it, shared ones counted once."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    main()

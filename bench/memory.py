"""The most memory that all processes of a run hold together, beside what the plan promised: of all, of sorting alone.

Proportional set sizes are added up, so that what processes share (the object store, libraries) counts once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.machine import machine

SORTING = [f"--only={stage}" for stage in ("mountain_batch", "export_mountain_cells", "waveform")]
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
            day = simulated(Path(work), options.channels, seconds)
            for what, stages in (("all", []), ("sorting", SORTING)):  # sorting: what was sorted goes, and is made again
                if stages:
                    subprocess.run([*RAYPIPE, "clean", day, "--yes", *stages], check=True)
                peak, promised = measure(day, stages)
                rows.append(
                    {
                        "what": what,
                        "channels": options.channels,
                        "seconds": seconds,
                        "peak": peak,
                        "promised": promised,
                    }
                )
                print(
                    f"{what}, {options.channels} channels x {seconds} s: at most {peak / 1e9:.2f} GB,"
                    f" promised {promised / 1e9:.2f} GB ({promised / peak:.2f} times)",
                    flush=True,
                )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def simulated(work: Path, channels: int, seconds: int) -> str:
    """Make a day to run."""
    simulate = [*RAYPIPE, "simulate", str(work), "--channels", str(channels), "--seconds", str(seconds)]
    subprocess.run([*simulate, "--trials", str(max(1, seconds // 6)), "--eye-seconds", "4"], check=True)
    return str(work / "picasso" / "20181105")


def measure(day: str, stages: Sequence[str]) -> tuple[int, int]:
    """Run some stages of a day (all, without any) and watch; return the peak and what was promised, in bytes."""
    command = [*RAYPIPE, "plan", day, *stages, "--json"]
    plan = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    process = subprocess.Popen([*RAYPIPE, "run", day, *stages], stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, family_memory(process.pid))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    return peak, plan["memory"]["total"]


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

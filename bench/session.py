"""A session of 124 channels x 300 s: raypipe, the serial way and the disk's own floor, in turns in one run."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import Taken, as_table, machine, take

SERIAL, FLOOR = [sys.executable, "-m", "bench.serial"], [sys.executable, "-m", "bench.floor"]
SETTLE_SECONDS = 5
RAYPIPE = [str(Path(sys.executable).parent / "raypipe")]


def main() -> None:
    """Measure, print a table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=124)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for the data (default: a temporary one)")
    parser.add_argument("--json", type=Path, default=Path("bench/results/session.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work, prefix="raypipe-bench-") as work:
        figures = measure(Path(work), options.channels, options.seconds, options.pairs)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    for name in ("raypipe", "serial", "floor"):
        wall = statistics.median(row["wall"] for row in figures[name])
        cpu = statistics.median(row["cpu"] for row in figures[name])
        print(f"{name:10} {wall:7.1f} s wall {cpu:7.1f} s CPU")
    print(f"raypipe is {figures['serial_over_raypipe']:.1f} times as fast as the serial way,")
    print(f"and takes {figures['pass_over_floor']:.2f} times the floor, Ray's start and stop aside")


def measure(work: Path, channels: int, seconds: int, pairs: int) -> dict[str, object]:
    """Simulate the day, then take turns."""
    simulate = [*RAYPIPE, "simulate", str(work), "--channels", str(channels), "--seconds", str(seconds)]
    subprocess.run([*simulate, "--trials", str(max(1, seconds // 6)), "--eye-seconds", "4"], check=True)
    day = work / "picasso" / "20181105"
    times: dict[str, list[Taken]] = {"raypipe": [], "serial": [], "floor": []}
    passes: list[float] = []
    for pair in range(pairs):
        out = work / "out"
        # The first has no compiled kernels, as on a new machine.
        cache = {"RAYPIPE_CACHE_DIR": str(work / "cache")}
        stages = [word for stage in ("rplsplit", "rpllfp", "rplhighpass") for word in ("--only", stage)]
        run = [*RAYPIPE, "run", str(day), "--output", str(out), *stages]
        times["raypipe"].append(take(run, **cache))
        passes.append(_pass_seconds(out))
        sizes = work / "sizes"
        sizes.write_text("\n".join(str(path.stat().st_size) for path in out.rglob("*.hkl")))
        _clear(out)
        times["floor"].append(take([*FLOOR, str(sizes), str(out)]))
        _clear(out)
        times["serial"].append(take([*SERIAL, str(day), str(out)]))
        _clear(out)
        print(
            f"pair {pair + 1}: " + ", ".join(f"{name} {rows[-1].wall:.1f} s" for name, rows in times.items()),
            flush=True,
        )
    median = {name: statistics.median(row.wall for row in rows) for name, rows in times.items()}
    return {
        "machine": machine(),
        "channels": channels,
        "seconds": seconds,
        **{name: as_table(rows) for name, rows in times.items()},
        "pass_seconds": passes,
        "serial_over_raypipe": median["serial"] / median["raypipe"],
        "pass_over_floor": statistics.median(passes) / median["floor"],
    }


def _clear(out: Path) -> None:
    """Remove the outputs, and let the disk finish with them: one way's leftovers are not the next one's to pay."""
    shutil.rmtree(out)
    os.sync()
    time.sleep(SETTLE_SECONDS)


def _pass_seconds(out: Path) -> float:
    """Return the time between Ray's being up and its being stopped, from the run's log."""
    (log,) = out.glob("*/*/.raypipe/runs/*/events.jsonl")
    at = {
        match[1]: float(match[2])
        for line in log.read_text().splitlines()
        if (match := re.search(r'"event":"Phase".*"text":"(\w+ Ray|Ray is up)","at":([\d.]+)', line))
    }
    return at["stopping Ray"] - at["Ray is up"]


if __name__ == "__main__":
    main()

"""Eye files: CPU time and memory of reading 100 minutes at 1 kHz, and EyeLink's own files where eyelinkio is installed.

`python -m bench.eye [--minutes N]`
"""

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from raypipe.io.eye_files import read_eye_file
from raypipe.simulate.asc import write_asc
from raypipe.simulate.european_edf import write_european_edf
from raypipe.simulate.eye import Tracker, simulate_eye

FIRST_MS = 4_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=100)
    parser.add_argument("--read", type=Path, help="read this file and report")
    options = parser.parse_args()
    if options.read:
        report(options.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = simulated(Path(folder), options.minutes)
        package = importlib.util.find_spec("eyelinkio")
        if package and package.origin:
            paths += sorted((Path(package.origin).parent / "tests" / "data").glob("*.edf"))
        for path in paths:
            # Each in a process of its own, for its peak of memory.
            subprocess.run([sys.executable, "-m", "bench.eye", "--read", str(path)], check=True)


def simulated(folder: Path, minutes: int) -> list[Path]:
    n_ms = 60_000 * minutes
    messages = [(FIRST_MS + at, "Start Trial 11") for at in range(0, n_ms, 3000)]
    eye = simulate_eye(1, 1, Tracker(), [(FIRST_MS, FIRST_MS + n_ms)], messages)
    write_asc(folder / "simulated.asc", eye, "simulated.edf")
    write_european_edf(folder / "simulated.edf", eye, datetime(2018, 11, 5))
    return [folder / "simulated.asc", folder / "simulated.edf"]


def report(path: Path) -> None:
    before = cpu_seconds()
    recording = read_eye_file(path)
    seconds = cpu_seconds() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{path.name:24} {recording.source:13} {recording.ms.size:9} samples {seconds:6.2f} CPU-s "
        f"{recording.ms.size / seconds / 1000:7.0f} k/s, peak {peak:.0f} MB"
    )


def cpu_seconds() -> float:
    """Of this process and of those it started."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


if __name__ == "__main__":
    main()

"""Runs all benchmarks, one after the other: `python -m bench`."""

import subprocess
import sys

for name in ("kernels", "session", "memory", "raycast", "sorting"):
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{name}", "--json", f"bench/results/{name}.json"], check=True)

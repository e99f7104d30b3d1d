"""Sorting keeps to the memory that it states, whatever the length, also where events are as many as can be."""

import json
import subprocess
import sys

import pytest

from raypipe.config import SortSettings
from raypipe.stages.sorting.memory import memory_needed, most_events

MEASURE = """
import json, sys
from dataclasses import dataclass
from pathlib import Path
import numpy as np

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) * 1024

before = memory("VmRSS")
from raypipe.config import SortSettings
from raypipe.stages.sorting.sort import sort_channel

@dataclass(frozen=True)
class Repeated:  # makes its samples when they are read
    n_samples: int
    pulses: bool

    def read(self, start, stop):
        noise = np.tile(np.random.default_rng(0).normal(0, 10, 1 << 16).astype(np.float32), (stop - start) // (1 << 16) + 1)
        out = noise[: stop - start]
        if self.pulses:
            pulses = out[-start % 35 :: 35]
            pulses += 500 + np.random.default_rng(start).uniform(0, 100, len(pulses))  # of many sizes: half are the highest
        return out

sorting = sort_channel(Repeated(int(sys.argv[1]), sys.argv[2] == "pulses"), SortSettings())
print(json.dumps([memory("VmHWM") - before, sorting.firings.shape[1]]))
"""


@pytest.fixture(scope="module")
def compiled():
    subprocess.run(
        [sys.executable, "-c", "import raypipe.stages.sorting.sort, kernels.compile as k; k.warm()"], check=True
    )


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("minutes", "kind"), [(1, "noise"), (10, "noise"), (10, "pulses")])
def test_memory_is_as_stated(minutes, kind):
    n = minutes * 60 * 30_000
    run = subprocess.run([sys.executable, "-c", MEASURE, str(n), kind], check=True, capture_output=True, text=True)
    used, events = json.loads(run.stdout)
    assert minutes * 10 < events <= most_events(n, SortSettings())
    assert used <= memory_needed(n) < 1.5 * used


def test_a_day_long_channel_fits():
    assert memory_needed(150_000_000) < 0.35e9
    assert memory_needed(0) > 0
    assert memory_needed(150_000_000) > memory_needed(30_000)
    fewer = SortSettings(max_events_hz=100.0)
    assert memory_needed(150_000_000, fewer) < memory_needed(150_000_000) - 40e6

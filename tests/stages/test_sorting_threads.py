"""A sorting has the same bytes whatever the number of threads that libraries are given."""

import os
import subprocess
import sys

SORT = """
import hashlib, json
import numpy as np
from raypipe.config import SortSettings
from raypipe.stages.sorting.series import ArraySeries
from raypipe.stages.sorting.sort import sort_channel
from tests.synthetic_spikes import simulate

sorting = sort_channel(ArraySeries(simulate(81, 30, (14.0, 8.0), positive=(False, True), drift=0.2).samples), SortSettings())
assert sorting.firings.shape[1] > 100
digest = hashlib.sha256(json.dumps(sorting.metrics).encode())
for each in (sorting.firings, sorting.templates, sorting.spread, sorting.heights):
    digest.update(each.tobytes())
print(digest.hexdigest())
"""


def test_threads_do_not_show():
    found = {
        subprocess.run(
            [sys.executable, "-c", SORT],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ
            | dict.fromkeys(
                ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads
            ),
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1

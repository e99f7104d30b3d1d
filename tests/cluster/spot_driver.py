"""A driver whose tasks work until three workers have helped, of the two that there may be: one of them in another's place.

Each task says in a file of FOLDER that it begins, and where; one that began a second time would fail, and so does one whose
worker dies.

python -m tests.cluster.spot_driver FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray

from cluster.jobs import Shape
from cluster.scaler import Scaler
from cluster.scaling import Need
from tests.cluster.one_run import settings_of

MB = 1 << 20
SECONDS = 1.0
LIMIT_SECONDS = 150.0


@ray.remote(num_cpus=1, memory=100 * MB, max_retries=0)
def work(number: int, folder: Path) -> int:
    with (folder / f"{number}.begun").open("x") as file:
        file.write(os.environ["SLURMD_NODENAME"])
    time.sleep(SECONDS)
    return number


def main(folder: Path) -> None:
    ray.init(address="auto", log_to_driver=False)
    head = int(os.environ["SLURM_JOB_ID"])
    scaler = Scaler(folder / "run", settings_of(folder), Shape(2, 2), head, period_seconds=1.0)
    pending: set[Any] = set()
    done: list[int] = []
    said: list[str] = []
    begun = 0
    helped: set[str] = set()
    end = time.monotonic() + LIMIT_SECONDS
    while pending or (len(helped) < 3 and time.monotonic() < end):
        while len(helped) < 3 and len(pending) < 12 and time.monotonic() < end:
            pending.add(work.remote(begun, folder))
            begun += 1
        ready, _ = ray.wait(list(pending), timeout=0.3)
        pending -= set(ready)
        done += [ray.get(each) for each in ready]  # which raises what a task raised
        helped = {(folder / f"{number}.begun").read_text() for number in done} - {os.environ["SLURMD_NODENAME"]}
        (folder / "helped").write_text(str(len(helped)))
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        busy = {node["NodeID"] for node in nodes}
        said += scaler.look([Need(1, 100 * MB, SECONDS)] * len(pending), nodes, busy)
    (folder / "seen.json").write_text(
        json.dumps({"begun": begun, "done": done, "helped": sorted(helped), "said": said})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

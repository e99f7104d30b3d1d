"""A driver with its own scaler: has tasks done until three workers help, then none, and ends when one worker is left.

Each task says in a file of FOLDER that it begins, and where; one that began a second time would fail.

python scaled_driver.py FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray

from cluster import slurm
from cluster.jobs import Shape
from cluster.names import WORKERS, job_name
from cluster.scaler import Scaler
from cluster.scaling import Need
from tests.cluster.one_run import settings_of

MB = 1 << 20
TASKS_AT_ONCE = 12
SECONDS = 1.5
LIMIT_SECONDS = 100.0


@ray.remote(num_cpus=1, memory=100 * MB, max_retries=0)
def work(number: int, folder: Path) -> int:
    with (folder / f"{number}.begun").open("x") as file:
        file.write(ray.get_runtime_context().get_node_id())
    time.sleep(SECONDS)
    return number


def workers(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["NodeID"] for node in nodes if node["Alive"] and "node:__internal_head__" not in node["Resources"]}


def main(folder: Path) -> None:
    ray.init(address="auto", log_to_driver=False)
    run, head = folder / "run", int(os.environ["SLURM_JOB_ID"])
    scaler = Scaler(run, settings_of(folder), Shape(1, 5), head, period_seconds=1.0, idle_seconds=2.0, boot_seconds=1.0)
    pending: dict[Any, int] = {}
    done: list[int] = []
    said: list[str] = []
    begun = most = fewest = 0
    joined: set[str] = set()
    where: dict[int, str] = {}
    end = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < end:
        helped = {name for number, name in where.items() if number in done} & joined
        while len(helped) < 3 and len(pending) < TASKS_AT_ONCE:
            pending[work.remote(begun, folder)] = begun
            begun += 1
        ready, _ = ray.wait(list(pending), timeout=0.3) if pending else ([], [])
        done += [ray.get(each) for each in ready]  # which raises what a task raised
        for each in ready:
            del pending[each]
        where |= {number: path.read_text() for number in range(begun) if (path := folder / f"{number}.begun").exists()}
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        joined |= workers(nodes)
        most = max(most, len(workers(nodes)))
        busy = {where[number] for number in pending.values() if where.get(number)}
        said += scaler.look([Need(1, 100 * MB, SECONDS)] * len(pending), nodes, busy)
        if not pending:
            time.sleep(0.3)
            fewest = len(workers(nodes))
            left = slurm.jobs(names=[job_name("pipe2", WORKERS, head)])
            gone = sum("let go" in sentence for sentence in said)
            if fewest == 1 and len(left) == 1 and gone == 2:
                break
    (folder / "seen.json").write_text(
        json.dumps({"begun": begun, "done": done, "most": most, "fewest": fewest, "said": said, "where": where})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

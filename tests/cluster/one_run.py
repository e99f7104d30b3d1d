"""Submits one run on the Slurm where this is called, waits until it is over, and prints what became of it as JSON.

python -m tests.cluster.one_run FOLDER elastic|once|fixed|beside NODES DRIVER...

`once` is an elastic run that is not queued again; `beside` one that leaves its nodes to others, too, and says nothing of memory.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from cluster import slurm
from cluster.jobs import JobSettings, finalize_job, fixed_job, head_job, worker_job

_LIMIT_SECONDS = 240.0


def settings_of(folder: Path) -> JobSettings:
    return JobSettings(
        name="pipe2", logs=folder, walltime="10", python=sys.executable, head_memory_mb=2000, memory_mb=2000
    )


def settings_beside(folder: Path) -> JobSettings:
    return JobSettings(name="pipe2", logs=folder, walltime="10", python=sys.executable, exclusive=False, cpus=1)


def main(folder: Path, how: str, nodes: int, driver: list[str]) -> None:
    settings = settings_beside(folder) if how == "beside" else replace(settings_of(folder), requeue=how != "once")
    run = folder / "run"
    run.mkdir()
    if how == "fixed":
        ids = [slurm.submit(fixed_job(settings, run, nodes, driver))]
    else:
        head = slurm.submit(head_job(settings, run, driver))
        workers = slurm.submit(worker_job(settings, run, head, nodes - 1))
        finish = [sys.executable, "-c", "print('finished')"]
        ids = [head, workers, slurm.submit(finalize_job(settings, run, head, finish))]
    (folder / "ids.json").write_text(json.dumps(ids))
    token = ""
    end = time.monotonic() + _LIMIT_SECONDS
    while any(not job.over for job in slurm.jobs(ids, ended=True)) and time.monotonic() < end:
        if (run / "address").exists() and not token:
            token = oct((run / "token").stat().st_mode)
        time.sleep(0.5)
    jobs = slurm.jobs(ids, ended=True)
    outcomes = [slurm.outcome(number) for number in ids]
    sys.stdout.write(
        json.dumps(
            {
                "ids": ids,
                "jobs": [asdict(job) for job in jobs],
                "outcomes": [asdict(outcome) for outcome in outcomes if outcome],
                "token": token,
                "left": [path.name for path in run.iterdir() if "-ray." not in path.name],  # kept after a failure
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])

"""What a run loses when jobs are taken from it: the time since, and nothing that was made; and nothing stays behind.

Nodes that crash are in test_day_on_slurm.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.faults import cancel_a_worker, cancel_the_head, requeue_a_worker
from tests.cluster.test_day_on_slurm import DAY, ends_well, events, four_nodes, has_begun, logs_of, submit
from tests.cluster.test_on_slurm import clean, strays
from tests.compare import datasets, leftovers
from tests.conftest import Processed
from tests.slurm.harness import SlurmCluster, wait_until

__all__ = ["four_nodes"]
pytestmark = pytest.mark.slurm
FILTERED = ("rplraw", "rpllfp", "rplhighpass")
ONLY_FILTERED = [word for stage in ("rplsplit", "rpllfp", "rplhighpass") for word in ("--only", stage)]


def made_twice(out: Path) -> list[object]:
    made = Counter((each["stage"], each["output"]) for each in events(out) if each["event"] == "TaskDone")
    return [output for output, times in made.items() if times > 1]


def nothing_stays(slurm: SlurmCluster, run: Path) -> None:
    wait_until(lambda: set(slurm.states().values()) == {"idle"}, 60, "all nodes to be free")
    assert clean(slurm), strays(slurm)
    assert not {"token", "address"} & {path.name for path in run.iterdir()}


def test_workers_that_are_queued_again_or_cancelled_cost_what_they_were_doing(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, [simulated], out, "2:2")
    wait_until(lambda: has_begun(out, 2), 240, "the first tiles")
    requeue_a_worker(four_nodes, jobs)
    cancel_a_worker(four_nodes, jobs, 2)
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))
    assert made_twice(out) == []
    nothing_stays(four_nodes, run)


def test_a_run_that_is_cancelled_leaves_nothing_and_goes_on_when_submitted_again(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    every = datasets(processed.folder)
    expected = {name: digest for name, digest in every.items() if Path(name.split(":")[0]).name.startswith(FILTERED)}
    run, jobs = submit(four_nodes, [simulated], out, "2:2", *ONLY_FILTERED)
    wait_until(lambda: has_begun(out, 8), 240, "some tiles")
    cancel_the_head(four_nodes, jobs)
    four_nodes.wait_job(jobs["finish"], "COMPLETED", seconds=120)
    nothing_stays(four_nodes, run)
    assert leftovers(out) == []
    again, jobs = submit(four_nodes, [simulated], out, "2:2", *ONLY_FILTERED)
    ends_well(four_nodes, again, jobs, out, expected)
    assert made_twice(out) == []


def test_a_day_with_a_broken_session_leaves_nothing_but_what_it_could_make(
    four_nodes: SlurmCluster, day: Path, tmp_path: Path
) -> None:
    (marker,) = (day / "session01").glob("*.nev")
    marker.write_bytes(marker.read_bytes()[:300])
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, [day], out, "1:1", "--only", "rplparallel", "--only", "unity")
    four_nodes.wait_job(jobs["finish"], "COMPLETED", seconds=240)
    assert four_nodes.job(jobs["head"])["ExitCode"] == "1:0", logs_of(run)
    ended = events(out)[-1]
    assert (ended["event"], ended["outcome"]) == ("RunEnded", "failed")
    assert {path.split(":")[0] for path in datasets(out / DAY)} == {"sessioneye/rplparallel_d41d.hkl"}
    assert leftovers(out) == []
    nothing_stays(four_nodes, run)

"""What a run loses when jobs are taken from it: the time since, and nothing that was made; and nothing stays behind.

Nodes that crash are in test_day_on_slurm.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.faults import cancel_a_worker, cancel_the_head, requeue_a_worker
from tests.cluster.test_day_on_slurm import (
    DAY,
    ONLY_RIPPLE,
    OTHER,
    SETTINGS,
    ends_well,
    events,
    four_nodes,
    has_begun,
    logs_of,
    submit,
)
from tests.cluster.test_on_slurm import clean, strays
from tests.compare import datasets, leftovers, of_ripple
from tests.conftest import Processed
from tests.slurm.harness import SlurmCluster, wait_until

__all__ = ["four_nodes"]
pytestmark = pytest.mark.slurm


def made_twice(out: Path) -> list[object]:
    made = Counter((each["stage"], each["output"]) for each in events(out) if each["event"] == "TaskDone")
    return [output for output, times in made.items() if times > 1]


def nothing_stays(slurm: SlurmCluster, run: Path) -> None:
    wait_until(lambda: set(slurm.states().values()) == {"idle"}, 60, "all nodes to be free")
    assert clean(slurm), strays(slurm)
    assert not {"token", "address"} & {path.name for path in run.iterdir()}


def test_workers_that_go_cost_no_restart_and_a_broken_session_nothing_but_itself(
    four_nodes: SlurmCluster,
    simulated: Path,
    another: Path,
    processed: Processed,
    another_processed: Path,
    tmp_path: Path,
) -> None:
    """One worker of a run is queued again, the other is cancelled, and of the second of its days the markers are broken."""
    broken, out = tmp_path / OTHER, tmp_path / "out"
    shutil.copytree(another, broken)
    (marker,) = (broken / "session01").glob("*.nev")
    marker.write_bytes(marker.read_bytes()[:300])
    run, jobs = submit(
        four_nodes, [simulated, broken], out, "2:2", *ONLY_RIPPLE, settings_toml=SETTINGS + "restarts = 0\n"
    )
    wait_until(lambda: has_begun(out, 2), 240, "the first tiles")
    requeue_a_worker(four_nodes, jobs)
    cancel_a_worker(four_nodes, jobs, 2)
    four_nodes.wait_job(jobs["finish"], "COMPLETED", seconds=400)
    assert four_nodes.job(jobs["head"])["ExitCode"] == "1:0", logs_of(run)
    assert datasets(out / DAY) == of_ripple(datasets(processed.folder))
    assert any("had to go" in str(each["text"]) for each in events(out) if each["event"] == "Note")
    of_other = of_ripple(datasets(another_processed)).items()
    lost = "session01/rplparallel_"
    assert set(datasets(out / OTHER)) == {path for path, _ in of_other if not path.startswith(lost)}
    ends = [(each["event"], each["outcome"]) for day in (DAY, OTHER) for each in events(out, day)[-1:]]
    assert ends == [("RunEnded", "done"), ("RunEnded", "failed")]
    assert leftovers(out) == []
    assert made_twice(out) == []
    nothing_stays(four_nodes, run)


def test_a_run_that_is_cancelled_leaves_nothing_and_goes_on_when_submitted_again(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, [simulated], out, "2:2", *ONLY_RIPPLE)
    wait_until(lambda: has_begun(out, 8), 240, "some tiles")
    cancel_the_head(four_nodes, jobs)
    four_nodes.wait_job(jobs["finish"], "COMPLETED", seconds=120)
    nothing_stays(four_nodes, run)
    assert leftovers(out) == []
    again, jobs = submit(four_nodes, [simulated], out, "2:2", *ONLY_RIPPLE)
    ends_well(four_nodes, again, jobs, out, of_ripple(datasets(processed.folder)))
    assert made_twice(out) == []

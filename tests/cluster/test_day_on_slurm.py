"""Days on a real Slurm: the same datasets as on one machine, whatever node is lost on the way."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compare import datasets, leftovers
from tests.conftest import Processed
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle, wait_until

pytestmark = pytest.mark.slurm
SETTINGS = "[slurm]\nhead_memory_mb = 3000\nmemory_mb = 3000\n[run]\ntile_seconds = 0.5\n"
DAY = Path("picasso") / "20181105"


@pytest.fixture
def four_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One to spare, 2 CPUs and 4000 MB each; pytest's temporary folders are on all of them."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlurmCluster(nodes=4, cpus=2, memory_mb=4000, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster


def submit(slurm: SlurmCluster, day: Path, out: Path, workers: str, *options: str) -> tuple[Path, dict[str, int]]:
    """Submit a day; return the folder of the run and the ids of its jobs."""
    settings = out / "raypipe.toml"
    out.mkdir(exist_ok=True)
    settings.write_text(SETTINGS)
    command = [sys.executable, "-m", "raypipe", "submit", day, "--output", out, "--workers", workers]
    # What earlier runs on this machine compiled is not on the nodes, and needs a place that is.
    cache = {"RAYPIPE_CACHE_DIR": str(out.parent / "kernels")}
    slurm.run_on(HEAD, [*command, "--config", settings, *options], environment=cache)
    *_, run = sorted((out / DAY / ".raypipe" / "cluster").iterdir())  # names begin with the time
    return run, json.loads((run / "jobs.json").read_text())


def events(out: Path) -> list[dict[str, object]]:
    """Return what the lives of the run's driver told, oldest first."""
    logs = sorted((out / DAY / ".raypipe" / "runs").glob("*/events.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def has_begun(out: Path, tiles: int) -> bool:
    return any(each["event"] == "PassProgressed" and each["tiles_done"] == tiles for each in events(out))


def logs_of(run: Path) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(run.glob("*slurm*")))


def ends_well(slurm: SlurmCluster, run: Path, jobs: dict[str, int], out: Path, expected: dict[str, str]) -> None:
    slurm.wait_job(jobs["finish"], "COMPLETED", seconds=240)
    assert slurm.job(jobs["head"])["ExitCode"] == "0:0", logs_of(run)
    assert datasets(out / DAY) == expected
    assert leftovers(out) == []
    assert not {"token", "address"} & {path.name for path in run.iterdir()}
    assert slurm.run_on(HEAD, ["squeue", "--noheader"]).stdout == ""


def test_a_day_on_four_nodes_is_the_day_of_one_machine(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, simulated, out, "2:2")
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))
    made = [each for each in events(out) if each["event"] == "TaskDone"]
    assert len({each["node"] for each in made}) == 3, "the head's and both workers'"
    filtered = {each["node"] for each in made if each["stage"] == "rplhighpass"}
    assert len(filtered) > 1, "filters are spread"


def test_a_node_that_crashes_costs_what_it_was_doing(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, simulated, out, "2:2")
    wait_until(lambda: has_begun(out, 2), 120, "the first tiles")
    head = four_nodes.job(jobs["head"])["NodeList"]
    victim = four_nodes.job(f"{jobs['worker']}_1")["NodeList"]
    assert victim != head
    four_nodes.crash(victim)
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))


def test_a_head_that_crashes_goes_on_where_it_was(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, simulated, out, "2:2")
    wait_until(lambda: has_begun(out, 8), 120, "some tiles")
    head = four_nodes.job(jobs["head"])["NodeList"]
    four_nodes.crash(head)
    done_before = {each["output"] for each in events(out) if each["event"] == "TaskDone"}
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))
    lives = sorted((out / DAY / ".raypipe" / "runs").iterdir())
    assert len(lives) > 1
    later = [json.loads(line) for life in lives[1:] for line in (life / "events.jsonl").read_text().splitlines()]
    again = {each["output"] for each in later if each["event"] == "TaskDone"} & done_before
    assert again <= {"session01/unity_71bf.hkl", "session01/eyelink_24d5.hkl"}, "what was done is not done twice"

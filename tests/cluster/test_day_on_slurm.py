"""Days on a real Slurm: the same datasets as on one machine, whatever node is lost on the way."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernels.compile import CACHE
from tests.compare import RIPPLE, datasets, leftovers, of_channels
from tests.conftest import Processed
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle, wait_until

pytestmark = pytest.mark.slurm
SETTINGS = "[slurm]\nhead_memory_mb = 3000\nmemory_mb = 3000\n[run]\ntile_seconds = 0.5\n"
DAY = Path("picasso") / "20181105"
OTHER = Path("picasso") / "20181106"
ONLY_RIPPLE = [word for stage in RIPPLE for word in ("--only", stage)]
"""Where it is jobs that matter, and not what is made in them: the other stages take four fifths of a day."""


@pytest.fixture
def four_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One to spare, 2 CPUs and 4000 MB each; pytest's temporary folders are on all of them."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlurmCluster(nodes=4, cpus=2, memory_mb=4000, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster


def submit(
    slurm: SlurmCluster, days: list[Path], out: Path, workers: str, *options: str, settings_toml: str = SETTINGS
) -> tuple[Path, dict[str, int]]:
    """Submit days; return the folder of the run and the ids of its jobs."""
    settings = out / "raypipe.toml"
    out.mkdir(exist_ok=True)
    settings.write_text(settings_toml)
    command = [sys.executable, "-m", "raypipe", "submit", *days, "--output", out, "--workers", workers]
    # What was compiled on this machine is used on the nodes, whose users' home is another.
    cache = {"RAYPIPE_CACHE_DIR": str(CACHE.parents[1])}
    slurm.run_on(HEAD, [*command, "--config", settings, *options], environment=cache)
    *_, run = sorted((out / DAY / ".raypipe" / "cluster").iterdir())  # names begin with the time
    return run, json.loads((run / "jobs.json").read_text())


def events(out: Path, day: Path = DAY) -> list[dict[str, Any]]:
    """Return what the lives of the run's driver told of a day, oldest first."""
    logs = sorted((out / day / ".raypipe" / "runs").glob("*/events.jsonl"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def has_begun(out: Path, tiles: int) -> bool:
    return any(each["event"] == "PassProgressed" and each["tiles_done"] == tiles for each in events(out))


def logs_of(run: Path) -> str:
    return "\n".join(f"{path.name}\n{path.read_text()}" for path in sorted(run.glob("*slurm*")))


def ends_well(slurm: SlurmCluster, run: Path, jobs: dict[str, int], out: Path, expected: dict[str, str]) -> None:
    slurm.wait_job(jobs["finish"], "COMPLETED", seconds=400)
    assert slurm.job(jobs["head"])["ExitCode"] == "0:0", logs_of(run)
    assert datasets(out / DAY) == expected
    assert leftovers(out) == []
    assert not {"token", "address"} & {path.name for path in run.iterdir()}
    assert slurm.run_on(HEAD, ["squeue", "--noheader"]).stdout == ""


def test_days_on_four_nodes_are_the_days_of_one_machine(
    four_nodes: SlurmCluster,
    simulated: Path,
    processed: Processed,
    another: Path,
    another_processed: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, [simulated, another], out, "2:2")
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))
    assert datasets(out / OTHER) == datasets(another_processed)
    (link,) = (out / OTHER / ".raypipe" / "cluster").iterdir()
    assert link.resolve() == run.resolve()
    made = {day: [each for each in events(out, day) if each["event"] == "TaskDone"] for day in (DAY, OTHER)}
    nodes = {each["node"] for day in made for each in made[day]}
    assert len(nodes) == 3, "the head's and both workers'"
    assert len({each["node"] for each in made[OTHER]}) > 1
    filtered = {each["node"] for each in made[DAY] if each["stage"] == "rplhighpass"}
    assert len(filtered) > 1, "filters are spread"
    told = events(out)
    assert {node for each in told if each["event"] == "NodesChanged" for node in each["nodes"]} == nodes
    # What was said to be under way on a node was made there.
    where = {(each["stage"], each["session"], each["channel"]): each["node"] for each in made[DAY]}
    begun = [each for each in told if each["event"] == "WorkBegun"]
    begun = [{**each, "session": name, "channels": [each["channel"]]} for each in begun for name in each["sessions"]]
    begun += [{**each, "stage": "rplhighpass"} for each in told if each["event"] == "FiltersBegun"]
    at_work = {each["node"] for each in begun}
    assert len(at_work) > 1
    assert at_work <= nodes, "what took less than a second is not told"
    for each in begun:
        for channel in each["channels"]:
            assert where[each["stage"], each["session"], channel] == each["node"], each


def test_a_node_that_crashes_costs_what_it_was_doing(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run, jobs = submit(four_nodes, [simulated], out, "2:2")
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
    run, jobs = submit(four_nodes, [simulated], out, "2:2", "--channels", "1-3,9,10")
    wait_until(lambda: has_begun(out, 8), 120, "some tiles")
    head = four_nodes.job(jobs["head"])["NodeList"]
    token = (run / "token").read_text()
    four_nodes.crash(head)
    done_before = {each["output"] for each in events(out) if each["event"] == "TaskDone"}
    ends_well(four_nodes, run, jobs, out, of_channels(datasets(processed.folder), 1, 2, 3, 9, 10))
    assert_nothing_is_done_twice(out, done_before)
    kept = [path for path in run.glob("raypipe-ray.*.log") if "== raylet.out ==" in path.read_text()]
    assert kept, "of workers that lost their head"
    assert token.strip() not in "".join(path.read_text() for path in kept)


def test_a_head_whose_time_is_up_goes_on_in_its_next_life(
    four_nodes: SlurmCluster, simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    warned = SETTINGS.replace("[slurm]", "[slurm]\nwarning_seconds = 20")
    run, jobs = submit(four_nodes, [simulated], out, "2:2", "--time", "60", settings_toml=warned)
    wait_until(lambda: has_begun(out, 8), 120, "some tiles")
    four_nodes.run_on(HEAD, ["scancel", "--batch", "--signal=USR1", str(jobs["head"])])
    wait_until(lambda: any(each["event"] == "RunEnded" for each in events(out)), 60, "the first life's end")
    done_before = {each["output"] for each in events(out) if each["event"] == "TaskDone"}
    ends_well(four_nodes, run, jobs, out, datasets(processed.folder))
    assert four_nodes.job(jobs["head"])["Restarts"] == "1"
    assert_nothing_is_done_twice(out, done_before)


def test_a_walltime_in_which_nothing_can_be_done_ends_with_what_is_needed(
    four_nodes: SlurmCluster, simulated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    warned = SETTINGS.replace("[slurm]", "[slurm]\nwarning_seconds = 179")
    run, jobs = submit(four_nodes, [simulated], out, "1:1", "--time", "3", settings_toml=warned)
    four_nodes.wait_job(jobs["finish"], "COMPLETED", seconds=240)
    head = four_nodes.job(jobs["head"])
    assert (head["ExitCode"], head["Restarts"]) == ("3:0", "0"), logs_of(run)
    assert "takes about" in logs_of(run)
    assert "--time" in logs_of(run)
    assert not list(out.rglob("*.hkl"))
    assert leftovers(out) == []
    assert four_nodes.run_on(HEAD, ["squeue", "--noheader"]).stdout == ""


def assert_nothing_is_done_twice(out: Path, done_before: set[object]) -> None:
    """What an earlier life of the driver made, a later one left alone, but for what is rewritten."""
    lives = sorted((out / DAY / ".raypipe" / "runs").iterdir())
    assert len(lives) > 1
    later = [json.loads(line) for life in lives[1:] for line in (life / "events.jsonl").read_text().splitlines()]
    again = {each["output"] for each in later if each["event"] == "TaskDone"} & done_before
    assert again <= {"session01/unity_71bf.hkl", "session01/eyelink_24d5.hkl"}, "what was done is not done twice"

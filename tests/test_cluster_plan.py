"""What a day takes on a cluster: by hand for a simple demand, never against common sense for any."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.instances import load_table
from cluster.pcluster_check import room_for_tasks
from raypipe.api import plan_day
from raypipe.cluster_demand import (
    FILTER_SECONDS_PER_SAMPLE,
    RAYCAST_SECONDS_PER_BYTE,
    SORTING_SECONDS,
    SORTING_SECONDS_PER_SAMPLE,
    Bytes,
    Demand,
    demand_of,
)
from raypipe.cluster_plan import (
    BOOT_SECONDS,
    CLUSTER_SECONDS,
    IDLE_SECONDS,
    ROOT_GB,
    THREADS_OF_A_CORE,
    Estimate,
    Estimator,
    Machines,
    refuse_none,
    worth_it,
)
from raypipe.cluster_report import LIMITS, cluster_plan, notes_of
from raypipe.config import Cluster, Config
from raypipe.errors import Refused, TooLittleMemory
from raypipe.memory import Load, in_gb
from raypipe.plan import Plan
from raypipe.stages import BY_NAME
from tests.conftest import Processed

TABLE = load_table()
RAYPIPE = Path(sys.executable).parent / "raypipe"
RESULTS = Path(__file__).parents[1] / "bench" / "results"
FILTERS = tuple(BY_NAME[name] for name in ("rplsplit", "rpllfp", "rplhighpass"))
LOAD = Load(124, 128, 30_000.0, 2, FILTERS)
NOTHING = Demand((), (), 0.0, 0.0, 0.0, 0.0, 0, 0, Bytes(), Bytes())
HOUR = Demand(
    loads=(LOAD,),
    pass_seconds=(257.0,),
    session_seconds=20.0,
    longest_session=12.0,
    object_seconds=900.0,
    longest_object=5.0,
    session_task=500 << 20,
    object_task=300 << 20,
    passes=Bytes(27_000_000_000, 110_000_000_000),
    objects=Bytes(107_000_000_000, 300_000_000),
)
WORKERS = [name for name in TABLE.instances if not name.startswith("t3")]


def estimator(demand: Demand, **told: object) -> Estimator:
    return Estimator(demand, Config(cluster=msgspec.structs.replace(Cluster(), **told)), TABLE)


def estimate(demand: Demand, head: str, worker: str, count: int, **told: object) -> Estimate:
    found = estimator(demand, **told).estimate(Machines(head, worker, count))
    assert found
    return found


def mb_per_s(mbit: float) -> float:
    return mbit * 1e6 / 8


def test_rates_are_those_that_bench_measured() -> None:
    def result(name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((RESULTS / f"{name}.json").read_text())
        return found

    def near(measured: float) -> object:
        return pytest.approx(measured, rel=0.5)  # another run on a shared machine is not another rate

    session = result("session")
    passes = sorted(session["pass_seconds"])  # type: ignore[call-overload]
    samples = session["channels"] * session["seconds"] * 30_000  # type: ignore[operator]
    assert near(2 * passes[len(passes) // 2] / samples) == FILTER_SECONDS_PER_SAMPLE
    rows = result("sorting")["rows"]
    for seconds in (60, 600):
        measured = rows[f"{seconds} s, raypipe, all"]["cpu_s_per_minute"] * seconds / 60  # type: ignore[index]
        assert near(measured) == SORTING_SECONDS + SORTING_SECONDS_PER_SAMPLE * seconds * 30_000
    cast = result("raycast")["rows"]["session of 100 minutes"]  # type: ignore[index]
    assert near(cast["cpu_s"] / (cast["samples"] * 130)) == RAYCAST_SECONDS_PER_BYTE


def test_compute_by_hand() -> None:
    demand = replace(NOTHING, object_seconds=7200.0, longest_object=5.0, object_task=300 << 20)
    found = estimate(demand, "m5.large", "r5.2xlarge", 2)
    assert found.seconds == pytest.approx(BOOT_SECONDS + 7200 / (16 * THREADS_OF_A_CORE / 2))
    assert (found.limit, found.machines) == ("compute", Machines("m5.large", "r5.2xlarge", 2))
    assert found.limit_share == pytest.approx(1 - BOOT_SECONDS / found.seconds)


def test_memory_leaves_cpus_idle() -> None:
    room = room_for_tasks(TABLE.instances["r5.2xlarge"])
    demand = replace(NOTHING, object_seconds=7200.0, object_task=room // 3)
    found = estimate(demand, "m5.large", "r5.2xlarge", 2)
    assert found.seconds == pytest.approx(BOOT_SECONDS + 7200 / (6 * THREADS_OF_A_CORE / 2))
    assert found.limit == "memory"


@pytest.mark.parametrize(
    ("moved", "head", "worker", "throughput", "limit", "seconds"),
    [
        (Bytes(90_000_000_000, 0), "m5.large", "r5.2xlarge", 1000, "head EBS", 90e9 / mb_per_s(650)),
        (Bytes(90_000_000_000, 90_000_000_000), "m5.large", "r5.2xlarge", 1000, "head EBS", 180e9 / mb_per_s(650)),
        (Bytes(0, 90_000_000_000), "t3.large", "r5.2xlarge", 1000, "head network", 90e9 / mb_per_s(512)),
        (Bytes(90_000_000_000, 0), "m5.4xlarge", "r5.2xlarge", 125, "volume", 90e9 / 125e6),
        (Bytes(90_000_000_000, 0), "m5.4xlarge", "m5.large", 1000, "worker network", 90e9 / (3 * mb_per_s(750))),
    ],
)
def test_data_by_hand(moved: Bytes, head: str, worker: str, throughput: int, limit: str, seconds: float) -> None:
    demand = replace(NOTHING, object_seconds=1.0, objects=moved)
    found = estimate(demand, head, worker, 3, throughput=throughput, iops=4 * throughput)
    assert found.limit == limit
    assert found.seconds == pytest.approx(BOOT_SECONDS + seconds)


def test_one_reader_takes_a_recording_in() -> None:
    demand = replace(NOTHING, loads=(LOAD,), pass_seconds=(1.0,), passes=Bytes(90_000_000_000, 0))
    found = estimate(demand, "m5.4xlarge", "m5.large", 3, throughput=1000, iops=4000)
    assert found.limit == "worker network"
    assert found.seconds == pytest.approx(BOOT_SECONDS + 90e9 / mb_per_s(750))


def test_a_recording_is_filtered_in_groups() -> None:
    demand = replace(NOTHING, loads=(LOAD,), pass_seconds=(16000.0,))
    speed = THREADS_OF_A_CORE / 2
    one, two, four = (estimate(demand, "m5.large", "r5.2xlarge", count) for count in (1, 2, 4))
    assert one.seconds == pytest.approx(BOOT_SECONDS + 16000 / 16 * 2 / speed)
    assert two.seconds == four.seconds == pytest.approx(BOOT_SECONDS + 16000 / 16 / speed)
    assert (one.limit, two.limit) == ("compute", "groups")


def test_a_longest_task_stays_as_long() -> None:
    demand = replace(NOTHING, session_seconds=4000.0, longest_session=4000.0)
    assert estimate(demand, "m5.large", "r5.2xlarge", 4).limit == "one task"


def test_dollars_by_hand() -> None:
    settings = Cluster(volume_gb=500, iops=4000, throughput=225)
    found = Estimator(HOUR, Config(cluster=settings), TABLE).dollars(Machines("m5.xlarge", "r5.2xlarge", 3), 3600.0)
    root = ROOT_GB * 0.096 / 730
    volume = (500 * 0.096 + 1000 * 0.006 + 100 * 0.048) / 730
    run_hours, cluster_hours = 1 + IDLE_SECONDS / 3600, 1 + CLUSTER_SECONDS / 3600
    nodes = 3 * (0.608 + root) + (0.12 + root)
    assert found == pytest.approx(nodes * run_hours + (0.24 + root + volume) * cluster_hours)
    half = estimator(HOUR, spot=True, spot_fraction=0.5)
    full = estimator(HOUR, spot=False, spot_fraction=0.5)
    machines = Machines("m5.xlarge", "r5.2xlarge", 3)
    assert full.dollars(machines, 3600.0) - half.dollars(machines, 3600.0) == pytest.approx(3 * 0.304 * run_hours)


def test_nothing_costs_nothing() -> None:
    found = estimate(NOTHING, "m5.large", "r5.2xlarge", 5)
    assert (found.seconds, found.dollars) == (0.0, 0.0)


def test_what_is_too_large_for_a_worker_is_not_reckoned() -> None:
    demand = replace(HOUR, object_task=20 << 30)
    there = estimator(demand)
    assert there.estimate(Machines("m5.large", "m5.large", 8)) is None
    assert there.estimate(Machines("m5.large", "r5.2xlarge", 1)) is not None
    fits = {name for name in WORKERS if room_for_tasks(TABLE.instances[name]) >= 20 << 30}
    assert fits < set(WORKERS)
    assert {each.machines.worker for each in there.candidates()} == fits


def test_what_no_cluster_can_do_is_refused_with_both_numbers() -> None:
    there = estimator(replace(HOUR, object_task=90 << 30))
    with pytest.raises(TooLittleMemory) as error:
        refuse_none(there, there.candidates())
    assert "needs 96.64 GB" in error.value.message
    assert f"has {in_gb(room_for_tasks(TABLE.instances['r5.2xlarge']))} for tasks" in error.value.message
    there = estimator(HOUR, vcpu_quota=5)
    with pytest.raises(Refused, match="no cluster of 5 vCPUs"):
        refuse_none(there, there.candidates())


def test_those_worth_it_get_faster_as_they_get_dearer() -> None:
    front = worth_it(estimator(HOUR).candidates())
    assert len(front) > 1
    for cheaper, faster in pairwise(front):
        assert cheaper.dollars < faster.dollars
        assert cheaper.seconds > faster.seconds
    everyone = estimator(HOUR).candidates()
    assert front[0].dollars == pytest.approx(min(each.dollars for each in everyone), abs=0.01)
    assert front[-1].seconds == pytest.approx(min(each.seconds for each in everyone), abs=60)


seconds = st.floats(0, 1e5)
sizes = st.integers(0, 10**12)


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    channels = draw(st.lists(st.integers(1, 256), max_size=3))
    objects, sessions = draw(seconds), draw(seconds)
    return Demand(
        loads=tuple(Load(each, each + 4, 30_000.0, 2, FILTERS) for each in channels),
        pass_seconds=tuple(draw(seconds) for _ in channels),
        session_seconds=sessions,
        longest_session=sessions * draw(st.floats(0, 1)),
        object_seconds=objects,
        longest_object=objects * draw(st.floats(0, 1)),
        session_task=draw(st.integers(0, 4 << 30)),
        object_task=draw(st.integers(0, 4 << 30)),
        passes=Bytes(draw(sizes), draw(sizes)),
        objects=Bytes(draw(sizes), draw(sizes)),
    )


types = st.sampled_from(WORKERS)


@given(demand=demands(), head=types, worker=types, count=st.integers(1, 40), more=st.integers(1, 40))
def test_more_nodes_are_never_slower(demand: Demand, head: str, worker: str, count: int, more: int) -> None:
    there = estimator(demand)
    few, many = (there.estimate(Machines(head, worker, nodes)) for nodes in (count, count + more))
    if few is not None:
        assert many is not None
        assert many.seconds <= few.seconds * (1 + 1e-9)


@given(demand=demands(), more=demands(), head=types, worker=types, count=st.integers(1, 20))
def test_more_to_move_never_takes_less(demand: Demand, more: Demand, head: str, worker: str, count: int) -> None:
    moved = replace(
        demand,
        passes=Bytes(demand.passes.read + more.passes.read, demand.passes.written + more.passes.written),
        object_seconds=demand.object_seconds + more.object_seconds,
    )
    machines = Machines(head, worker, count)
    before, after = estimator(demand).estimate(machines), estimator(moved).estimate(machines)
    if before is not None and not demand.is_nothing:
        assert after is not None
        assert after.seconds >= before.seconds * (1 - 1e-9)
        assert after.dollars >= before.dollars * (1 - 1e-9)


@settings(max_examples=20, deadline=None)
@given(demand=demands(), quota=st.integers(1, 40), driver=st.sampled_from(["m5.large", "m5.xlarge"]))
def test_every_candidate_is_within_the_quota_and_limited_by_something_told(
    demand: Demand, quota: int, driver: str
) -> None:
    for each in estimator(demand, vcpu_quota=quota, driver_instance=driver).candidates():
        machines = each.machines
        used = machines.count * TABLE.instances[machines.worker].vcpus
        assert used + TABLE.instances[machines.head].vcpus + TABLE.instances[driver].vcpus <= quota
        assert each.limit in LIMITS
        assert 0 <= each.limit_share <= 1
        assert machines.worker in WORKERS


def tasks_of(plan: Plan, *stages: str) -> int:
    return sum(task.size for task in plan.todo if task.stage.name in stages)


def test_a_days_demand_is_that_of_its_plan(simulated: Path, tmp_path: Path) -> None:
    plan = plan_day(simulated, output=tmp_path)
    demand = demand_of(plan)
    recorded = sum(
        2 * recording.header.n_samples * len(recording.header.channels) for recording in plan.recordings if recording.header
    )  # fmt: skip
    samples = sum(10 * recording.header.n_samples for recording in plan.recordings if recording.header)
    assert demand.passes.read == recorded
    assert demand.passes.written + demand.objects.written == plan.bytes_to_write
    assert sum(demand.pass_seconds) == pytest.approx(samples * FILTER_SECONDS_PER_SAMPLE)
    assert [load.channels for load in demand.loads] == [10, 10]
    # The high-pass is read twice, for sorting and for its spectrum.
    assert demand.objects.read >= 2 * tasks_of(plan, "rplhighpass") + tasks_of(plan, "rpllfp")
    assert demand.object_task == max(
        task.memory for task in plan.todo if task.stage.level not in ("channel", "session")
    )
    assert demand.longest_session < demand.session_seconds

    sorting = demand_of(plan_day(simulated, output=tmp_path, only=["rplsplit", "rplhighpass", "mountain_batch"]))
    assert sorting.object_seconds == pytest.approx(10 * SORTING_SECONDS + samples * SORTING_SECONDS_PER_SAMPLE)
    assert sorting.session_seconds == 0


def test_a_day_that_is_done_needs_no_cluster(processed: Processed, simulated: Path) -> None:
    plan = plan_day(simulated, output=processed.folder.parents[1])
    assert demand_of(plan).is_nothing
    assert cluster_plan(plan) == "picasso/20181105: nothing to do, so no cluster and no cost\n"
    assert json.loads(cluster_plan(plan, json=True))["choices"] == []


def test_the_table_says_cheapest_fastest_and_as_configured(simulated: Path, tmp_path: Path) -> None:
    plan = plan_day(simulated, output=tmp_path)
    lines = cluster_plan(plan).splitlines()
    assert lines[0].startswith("picasso/20181105 in ap-southeast-1, 64 vCPUs at most: ")
    assert " ".join(lines[2].split()) == "head node workers hours USD most of the time goes to"
    firsts = [line[:14].strip() for line in lines[3 : lines.index("", 3)]]
    assert firsts[0] == "cheapest"
    assert firsts[-2:] == ["fastest", "as configured"] or firsts == ["cheapest and fastest", "as configured"]
    assert any("Prices of 2026-11-22" in line for line in lines)
    assert any("Nobody has looked up" in line for line in lines)

    facts = json.loads(cluster_plan(plan, json=True))
    assert facts["prices"]["date"] == "2026-11-22"
    assert {each["name"] for each in facts["choices"]} >= {"cheapest", "as configured"}
    assert facts["demand"]["passes"]["read"] > 0
    assert facts["usd_a_month"]["volume"] == pytest.approx(1000 * 0.096 + 125 * 0.048)


def test_a_volume_that_holds_no_day_is_told(simulated: Path, tmp_path: Path) -> None:
    demand = demand_of(plan_day(simulated, output=tmp_path))
    assert estimator(demand).day_bytes < 1 << 30
    assert notes_of(estimator(demand, volume_gb=1)) == []
    large = replace(demand, passes=Bytes(2 << 30, 0))
    (note,) = notes_of(estimator(large, volume_gb=1))
    assert "too small" in note
    assert not notes_of(estimator(large, volume_gb=3))
    assert not notes_of(estimator(large, volume_gb=1, snapshot="snap-01234567"))


def test_the_command_line(simulated: Path, tmp_path: Path) -> None:
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(RAYPIPE), "plan", *map(str, words)], capture_output=True, text=True)

    shown = call(simulated, "--cluster", "--output", tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "as configured" in shown.stdout

    config = tmp_path / "raypipe.toml"
    config.write_text("[cluster]\nvcpu_quota = 4\n")
    shown = call(simulated, "--cluster", "--output", tmp_path, "--config", config)
    assert shown.returncode == 3
    assert "no cluster of 4 vCPUs" in shown.stderr
    config.write_text("[cluster]\nregion = 'eu-west-1'\n")
    shown = call(simulated, "--cluster", "--output", tmp_path, "--config", config)
    assert shown.returncode == 2
    assert "eu-west-1" in shown.stderr
    config.write_text("[cluster]\ndriver_instance = 'm5.huge'\n")
    shown = call(simulated, "--cluster", "--output", tmp_path, "--config", config)
    assert shown.returncode == 2
    assert "did you mean" in shown.stderr
    assert not list(tmp_path.glob("picasso"))

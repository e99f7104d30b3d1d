"""How many workers work is worth, what is done about it, and what happens when Slurm says no or nothing."""

import os
import time
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import NodeTooSmall
from cluster.jobs import JobSettings, Shape
from cluster.run_folder import write_address
from cluster.scaler import Scaler
from cluster.scaling import Need, Step, Workers, next_step, part_of_node, too_big, useful_workers, worker_share
from cluster.share import MB, Share
from cluster.slurm import NodeSize
from tests.slurm.harness import wait_until

GB = 1 << 30
NODE = Share(8, 48 * GB, 12 * GB)
HOUR = 3600.0
HEAD = {"NodeID": "h", "Alive": True, "Resources": {"CPU": 2.0, "memory": 9e9, "node:__internal_head__": 1.0}}

memories = st.integers(0, 64 * GB)
needs = st.builds(Need, st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 9.0]), memories, st.floats(0, HOUR))
limits = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda two: (min(two), max(two)))


# -- how many --


@pytest.mark.parametrize(
    ("need", "part"),
    [
        (Need(1, 6 * GB, 1), Fraction(1, 8)),
        (Need(1, 6 * GB + 1, 1), Fraction(1, 7)),  # the scarcer of both
        (Need(3, 1 * GB, 1), Fraction(1, 2)),
        (Need(0.1, 0, 1), Fraction(1, 80)),
        (Need(0, 24 * GB, 1), Fraction(1, 2)),
        (Need(0, 0, 1), Fraction(0)),
        (Need(8, 48 * GB, 1), Fraction(1)),
        (Need(8.5, 0, 1), None),
        (Need(1, 48 * GB + 1, 1), None),
    ],
)
def test_a_task_takes_the_part_of_a_node_that_others_like_it_leave(need: Need, part: Fraction | None) -> None:
    assert part_of_node(need, NODE) == part
    assert too_big([need], NODE) == ([] if part is not None else [need])


@pytest.mark.parametrize(
    ("work", "useful"),
    [
        ([], 0),
        ([Need(1, 2 * GB, HOUR)] * 8, 1),
        ([Need(1, 2 * GB, HOUR)] * 9, 2),
        ([Need(1, 20 * GB, HOUR)] * 8, 4),  # memory lets two at a time, of eight CPUs
        ([Need(0.1, 1, HOUR)] * 240, 3),
        ([Need(1, 20 * GB, HOUR)] * 4 + [Need(1, 6 * GB, HOUR)] * 8, 3),
        ([Need(1, 60 * GB, HOUR)] * 4, 0),  # nothing helps those
        ([Need(1, 20 * GB, HOUR)] * 1000, 10),
        ([Need(1, 20 * GB, 30.0)] * 8, 1),  # one has done all of it in 120 s
        ([Need(1, 20 * GB, 31.0)] * 8, 2),
        ([Need(1, 20 * GB, 61.0)] * 8, 3),  # 244 s of a node: two would need 122 s
        ([Need(1, 20 * GB, 0.0)] * 8, 0),
    ],
)
def test_useful_workers(work: Sequence[Need], useful: int) -> None:
    assert useful_workers(work, NODE, 0, 10) == useful
    assert useful_workers(work, NODE, 3, 10) == max(3, useful)


def test_without_time_to_boot_as_many_are_useful_as_run_everything_at_once() -> None:
    assert useful_workers([Need(1, 20 * GB, 0.1)] * 8, NODE, 0, 10, boot_seconds=0) == 4
    assert useful_workers([Need(1, 20 * GB, 5.0)] * 8, NODE, 0, 10, boot_seconds=10) == 2


@given(st.lists(needs), limits, st.sampled_from([0.0, 1.0, 120.0]))
def test_never_fewer_than_the_least_or_more_than_the_most(
    work: list[Need], limits: tuple[int, int], boot: float
) -> None:
    assert limits[0] <= useful_workers(work, NODE, *limits, boot_seconds=boot) <= limits[1]


@given(st.lists(needs), needs, memories, st.data())
def test_more_to_do_never_makes_fewer_workers_useful(
    work: list[Need], more: Need, memory: int, data: st.DataObject
) -> None:
    before = useful_workers(work, NODE, 0, 99)
    after = useful_workers([*work, more], NODE, 0, 99)
    assert before <= after <= before + 1
    assert after == useful_workers(data.draw(st.permutations([*work, more])), NODE, 0, 99)
    longer = Need(more.cpus, more.memory, 2 * more.seconds + 1)
    assert after <= useful_workers([*work, longer], NODE, 0, 99)
    bigger = Need(more.cpus + 0.5, more.memory + memory, more.seconds)
    if not too_big([bigger], NODE):
        assert after <= useful_workers([*work, bigger], NODE, 0, 99)


@given(st.lists(needs))
def test_every_task_fits_a_worker_or_is_named_and_workers_hold_what_fits(work: list[Need]) -> None:
    named = too_big(work, NODE)
    fit = [need for need in work if need not in named]
    assert all(need.cpus <= NODE.cpus and need.memory <= NODE.memory for need in fit)
    assert all(need.cpus > NODE.cpus or need.memory > NODE.memory for need in named)
    workers = useful_workers(work, NODE, 0, 10_000, boot_seconds=0)
    assert workers * NODE.cpus >= sum(need.cpus for need in fit) - 1e-6
    assert workers * NODE.memory >= sum(need.memory for need in fit)
    assert workers <= sum(need.cpus > 0 or need.memory > 0 for need in fit)


# -- what is done --


@pytest.mark.parametrize(
    ("workers", "wanted", "step"),
    [
        (Workers((), 1, 1, 0, ()), 3, Step(ask=2)),
        (Workers(("7_3",), 2, 1, 0, ()), 3, Step()),  # one boots, one waits
        (Workers(("7_3", "7_4"), 2, 1, 0, ()), 3, Step(cancel=("7_4",))),
        (Workers(("7_3", "7_4"), 2, 2, 0, ("a", "b")), 1, Step(cancel=("7_3", "7_4"), drain=("a",))),
        (Workers((), 3, 3, 0, ("a",)), 1, Step(drain=("a",))),  # others work
        (Workers((), 3, 1, 0, ("a",)), 1, Step()),  # two boot, which may not succeed
        (Workers((), 3, 2, 1, ("a", "b")), 2, Step()),  # one goes already
        (Workers((), 3, 2, 1, ()), 3, Step(ask=1)),  # and does not count
        (Workers((), 5, 4, 1, ()), 5, Step()),  # asked for when the other is gone: 5 is the most
        (Workers((), 0, 1, 0, ()), 1, Step()),  # its job ended, which Ray has not noticed
    ],
)
def test_next_step(workers: Workers, wanted: int, step: Step) -> None:
    assert next_step(workers, wanted, 5) == step


@given(st.data(), limits)
def test_a_step_keeps_between_the_limits_and_takes_only_the_idle(data: st.DataObject, limits: tuple[int, int]) -> None:
    least, most = limits
    wanted = data.draw(st.integers(least, most))
    waiting = tuple(f"7_{i}" for i in range(data.draw(st.integers(0, 9))))
    placed, joined, leaving = (data.draw(st.integers(0, 9)) for _ in range(3))
    idle = tuple(f"n{i}" for i in range(data.draw(st.integers(0, joined))))
    before = Workers(waiting, placed, joined, leaving, idle)
    step = next_step(before, wanted, most)
    assert not (step.ask and (step.cancel or step.drain))
    assert step.ask == 0 or step.ask + placed + len(waiting) <= most
    assert set(step.cancel) <= set(waiting)
    assert set(step.drain) <= set(idle)
    kept = tuple(each for each in waiting if each not in step.cancel)
    after = Workers(kept, placed - len(step.drain), joined - len(step.drain), leaving, ())
    assert after.there >= min(before.there, least)
    if step.drain:
        assert joined - len(step.drain) >= wanted
    assert next_step(after, wanted, most).cancel == ()


# -- of which size --

BIG = NodeSize(4, 16, 128_000, "idle~", frozenset({"dynamic", "big"}), "infinite")
SMALL = NodeSize(9, 8, 64_000, "idle~", frozenset({"dynamic"}), "infinite")
UNTOLD = NodeSize(9, 8, None, "idle", frozenset(), "infinite")


@pytest.mark.parametrize(
    ("settings", "sizes", "cpus", "megabytes"),
    [
        (JobSettings(), [BIG, SMALL], 8, 64_000 * 0.8 - 700),
        (JobSettings(constraint="big"), [BIG, SMALL], 16, 128_000 * 0.8 - 700),
        (JobSettings(constraint="big|dynamic"), [BIG, SMALL], 8, 64_000 * 0.8 - 700),
        (JobSettings(constraint="big|dynamic", cpus=12), [BIG, SMALL], 16, 128_000 * 0.8 - 700),
        (JobSettings(memory_mb=100_000), [BIG, SMALL], 16, 100_000 * 0.8 - 700),
        (JobSettings(cpus=12), [BIG, SMALL], 16, 128_000 * 0.8 - 700),
        (JobSettings(cpus=5, exclusive=False), [SMALL], 5, 40_000 * 0.8 - 700),  # what five CPUs were asked for
        (JobSettings(exclusive=False), [SMALL], 1, 8_000 * 0.8 - 700),
        (JobSettings(memory_mb=10_000), [UNTOLD], 8, 10_000 * 0.8 - 700),
        (JobSettings(cpus=99), [SMALL], 8, 64_000 * 0.8 - 700),
    ],
)
def test_what_a_worker_will_have(settings: JobSettings, sizes: list[NodeSize], cpus: int, megabytes: float) -> None:
    share = worker_share(settings, sizes)
    assert (share.cpus, round(share.memory / MB)) == (cpus, megabytes)


def test_where_nobody_knows_the_memory_cpus_limit_and_a_small_node_is_none() -> None:
    share = worker_share(JobSettings(), [UNTOLD])
    assert useful_workers([Need(1, 900 * GB, HOUR)] * 9, share, 0, 9) == 2
    with pytest.raises(NodeTooSmall):
        worker_share(JobSettings(memory_mb=500), [UNTOLD])


# -- when Slurm says no --

WORK = [Need(1, GB, HOUR)] * 80


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """Programs called like Slurm's, which note that they were called."""
    for name, body in bodies.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/{name}.calls\n{body}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def worker(name: str) -> dict[str, Any]:
    resources = {"CPU": 8.0, "memory": 48.0 * GB}
    return {"NodeID": name, "Alive": True, "NodeManagerHostname": f"n{name}", "Resources": resources}


def looks(
    scaler: Scaler,
    seconds: float,
    work: Sequence[Need] = WORK,
    nodes: Sequence[dict[str, Any]] = (HEAD,),
    busy: str = "",
) -> list[str]:
    said: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said += scaler.look(work, nodes, busy)
        time.sleep(0.01)
    return said


def test_a_slurm_that_refuses_is_asked_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = "echo 'queue1*|9|8|64000|idle|a|infinite'"
    programs(tmp_path, monkeypatch, squeue="", sinfo=size, sbatch="echo 'QOSMaxSubmitJobPerUserLimit' >&2; exit 1")
    scaler = Scaler(tmp_path, JobSettings(), Shape(1, 8), 7, period_seconds=0.1)
    began = time.monotonic()
    said = looks(scaler, 2.0)
    asked = (tmp_path / "sbatch.calls").read_text().count("--parsable")
    # 0.1 s after the first time, then 0.2, 0.4, ...
    assert 2 <= asked <= 1 + ceil(log2((time.monotonic() - began) / 0.1 + 1))
    assert asked < (tmp_path / "squeue.calls").read_text().count("raypipe-worker-7")
    assert "QOSMaxSubmitJobPerUserLimit" in said[0]
    programs(tmp_path, monkeypatch, sbatch="echo 17")
    assert scaler.look(WORK, [HEAD, worker("w")], ()) == []  # one that joins ends the waiting
    assert any("asked for 8 workers more (job 17)" in line for line in looks(scaler, 1.0))


def test_idle_workers_go_once_and_never_one_at_work_or_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = "\n".join(f"echo '9|9|{i}|RUNNING|n{i}|None|(null)|raypipe-worker-7'" for i in (1, 2, 3))
    programs(tmp_path, monkeypatch, squeue=jobs)
    write_address(tmp_path, "10.0.0.1:20007")
    gone: list[tuple[str, str]] = []
    monkeypatch.setattr("cluster.scaler.drain", lambda head, node, _: gone.append((head, node)))
    nodes = [HEAD, worker("a"), worker("b"), worker("c"), worker("d") | {"Alive": False}]
    patient, scaler = (
        Scaler(tmp_path, JobSettings(), Shape(0, 8), 7, period_seconds=0.05, idle_seconds=idle) for idle in (60, 0.1)
    )
    assert looks(patient, 0.3, [], nodes) == []
    said = looks(scaler, 1.0, [], nodes, busy="a")
    assert sorted(gone) == [("10.0.0.1:20007", "b"), ("10.0.0.1:20007", "c")]
    assert len(said) == 2


def test_a_worker_whose_node_is_taken_away_is_replaced_while_it_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = "echo '9|9|1|RUNNING|na|None|(null)|raypipe-worker-7'\necho '10|9|2|RUNNING|nb|None|(null)|raypipe-taken-7'"
    programs(tmp_path, monkeypatch, squeue=jobs, sbatch="echo 17")
    write_address(tmp_path, "10.0.0.1:20007")
    gone: list[str] = []
    monkeypatch.setattr("cluster.scaler.drain", lambda _, node, __: gone.append(node))
    nodes = [HEAD, worker("a"), worker("b") | {"NodeManagerHostname": "nb.of.some.domain"}]

    two, none = (
        Scaler(tmp_path, JobSettings(), shape, 7, period_seconds=0.05, idle_seconds=0.1)
        for shape in (Shape(2, 2), Shape(0, 1))
    )
    said = wait_until(lambda: looks(two, 0.1, nodes=nodes, busy="ab"), 20, "another to be asked for")
    assert said[0] == "asked for 1 worker more (job 17): 2 would be useful"
    assert looks(none, 1.0, [], nodes, busy="a") == []  # it goes without being told
    assert gone == []


def test_no_slurm_is_no_end_of_a_run_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (said,) = looks(Scaler(tmp_path, JobSettings(), Shape(1, 8), 7, period_seconds=0.05), 0.5)
    assert said.startswith("the workers stay as they are: there is no sinfo on this machine")


def test_a_slurm_that_does_not_answer_does_not_hold_up_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")  # which nobody writes a line into
    programs(tmp_path, monkeypatch, sinfo=f"read line <{tmp_path}/fifo", sbatch="")
    scaler = Scaler(tmp_path, JobSettings(), Shape(1, 8), 7, period_seconds=0.01)
    monkeypatch.setattr("cluster.slurm._TIMEOUT_SECONDS", 0.3)
    for _ in range(20):
        assert scaler.look(WORK, [HEAD], ()) == []
    assert any("did not answer" in line for line in looks(scaler, 1.0))
    assert not (tmp_path / "sbatch.calls").exists()

"""What a plan costs and saves, reckoned by hand."""

from dataclasses import replace

from cluster.aws.costs import costs
from cluster.aws.foresee import foresee
from cluster.aws.settings import PINNED, FinalizeSettings
from cluster.aws.state import Fleet, Outcome, State, Volume
from cluster.instances import Instance, InstanceTable, Storage, load_table
from tests.aws.test_decide import MINE, OLD, POINTED, ROTATED, START, WANTED, shot, stack, volume

FOUND = replace(
    START, volumes=(Volume("vol-1", "d", 1000, kind="gp3", iops=4000, mb_per_s=225),), fleet=Fleet("STOPPED", 0.0)
)
CONFIG = b"Region: here\nHeadNode: {InstanceType: m1.big, LocalStorage: {RootVolume: {Size: 50}}}\n"
BIG = Instance(2, 1, 8, "x86_64", "cpu", (1, 1), (1, 1), 0, {"here": 0.1}, "catalog")
# An hour: a head node 0.1, its disk 50 x 0.073 / 730 = 0.005, the volume (73 + 1000 x 0.0073 + 100 x 0.073) / 730 = 0.12.
TABLE = InstanceTable(
    "2026-11-22", "us", {"here": Storage(0.073, 0.0073, 0.073, 0.05)}, {"m1.big": BIG, "m1.near": BIG}
)


def lines_of(
    state: State, settings: FinalizeSettings = WANTED, config: bytes = CONFIG, table: InstanceTable = TABLE
) -> list[str]:
    return costs(foresee(state, settings), state, config, table)


CLUSTER = (
    "the cluster without compute nodes: 0.2250 USD an hour (head node m1.big 0.1000, its disk of 50 GB 0.0050,"
    " vol-1 of 1000 GB with 4000 IOPS and 225 MB/s 0.1200)"
)


def test_a_good_run() -> None:
    assert lines_of(FOUND) == [
        # 1000 x 0.05; of a, b, c (10 GiB each) and the new one the last two stay: 1010 x 0.05; a and b go: 20 x 0.05.
        "the new snapshot, 1000 GiB: at most 50.00 USD a month (it holds only what changed since the one before)",
        "snapshots afterwards: 2, 1010 GiB, at most 50.50 USD a month together",
        "snapshots that go: 2, 20 GiB, which frees at most 1.00 USD a month",
        CLUSTER,
        # 0.225 x 730
        "deleting it saves 0.2250 USD an hour, 164.25 USD a month",
        "prices of 2026-11-22 (us)",
    ]


def test_a_failed_run_that_is_kept() -> None:
    failed = replace(FOUND, outcome=Outcome(False, "3 failed"))
    assert lines_of(failed)[1:5] == [
        "snapshots afterwards: 4, 1030 GiB, at most 51.50 USD a month together",
        CLUSTER,
        # 0.225 x 24
        "it is kept: 5.40 USD a day, 164.25 USD a month, until somebody deletes it",
        "prices of 2026-11-22 (us)",
    ]
    assert lines_of(failed, replace(WANTED, on_failure="nothing"))[2] == (
        "it is kept: 5.40 USD a day, 164.25 USD a month, until somebody deletes it; compute nodes that run come on top"
    )


def test_what_is_there_already_is_not_counted_twice() -> None:
    taken = replace(POINTED, volumes=FOUND.volumes, snapshots=(*OLD, replace(MINE, size_gib=1000)))
    assert lines_of(taken)[:2] == [
        "snapshots afterwards: 2, 1010 GiB, at most 50.50 USD a month together",
        "snapshots that go: 2, 20 GiB, which frees at most 1.00 USD a month",
    ]


def test_pinned_snapshots_stay_and_failed_ones_hold_nothing() -> None:
    pinned = shot("snap-0", "x", "0", **{PINNED: "paper"})
    state = replace(FOUND, snapshots=(pinned, *OLD, shot("snap-e", "y", "5", "error")))
    assert lines_of(state)[1] == "snapshots afterwards: 3, 1020 GiB, at most 51.00 USD a month together"


def test_a_cluster_that_is_gone_costs_nothing() -> None:
    gone = replace(ROTATED, stack=stack("DELETE_COMPLETE"), volumes=())
    assert lines_of(gone) == [
        "snapshots afterwards: 2, 20 GiB, at most 1.00 USD a month together",
        "prices of 2026-11-22 (us)",
    ]
    assert lines_of(replace(START, stack=None, volumes=(), snapshots=())) == []


def test_what_the_table_does_not_know_is_said() -> None:
    other = CONFIG.replace(b"m1.big", b"m1.huge")
    lines = lines_of(FOUND, config=other)
    assert lines[3:5] == [
        "what the cluster costs is not known in full: the table of instances has no type 'm1.huge'",
        "the cluster without compute nodes: 0.1250 USD an hour (its disk of 50 GB 0.0050,"
        " vol-1 of 1000 GB with 4000 IOPS and 225 MB/s 0.1200)",
    ]
    assert lines_of(FOUND, config=b"Region: there") == [
        "what snapshots cost is not known: the table of instances has no prices of storage in 'there'",
        "what the cluster costs is not known in full: the configuration names no instance type of the head node",
        "what the cluster costs is not known in full: the table of instances has no prices of storage in 'there'",
        "prices of 2026-11-22 (us)",
    ]
    io2 = replace(FOUND, volumes=volume(size_gib=1000, kind="io2"))
    assert lines_of(io2)[3].endswith("the table of instances has no price of io2 volumes such as vol-1")


def test_our_own_table_says_whose_prices_nobody_has_looked_up() -> None:
    own = CONFIG.replace(b"m1.big", b"m5.large").replace(b"here", b"ap-southeast-1")
    lines = lines_of(FOUND, config=own, table=load_table())
    assert lines[-1] == "nobody has looked up the price of m5.large, nor those of storage"
    assert lines[-2].startswith("prices of 20")
    # 0.12 x 730 + 50 x 0.096 + 1000 x 0.096 + 1000 x 0.006 + 100 x 0.048 = 87.6 + 4.8 + 96 + 6 + 4.8
    assert lines[4].endswith(", 199.20 USD a month")

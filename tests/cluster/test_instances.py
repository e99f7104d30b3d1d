"""The table of instances: what is in it, what is wrong with one, what a volume costs."""

from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from cluster.errors import SettingsError
from cluster.instances import InstanceTable, Storage, load_table

OURS = load_table()
TEXT = (files("cluster") / "instances.toml").read_text(encoding="utf-8")


def test_a_type_has_what_aws_says() -> None:
    found = OURS.instance("r5.2xlarge", "ap-southeast-1")
    assert (found.vcpus, found.cores, found.memory, found.architecture) == (8, 4, 64 << 30, "x86_64")
    assert found.network == 2.5e9 / 8
    assert found.ebs == 2300e6 / 8
    assert found.usd_per_hour == {"us-east-1": 0.504, "ap-southeast-1": 0.608}


def test_every_row_is_dated_and_makes_sense() -> None:
    assert date.fromisoformat(OURS.date).year >= 2026
    assert OURS.source
    for name, each in OURS.instances.items():
        assert each.cores <= each.vcpus <= 2 * each.cores, name
        assert each.network_gbps[0] <= each.network_gbps[1], name
        assert each.ebs_mbps[0] <= each.ebs_mbps[1], name
        assert each.price_from in ("catalog", "scaled", "memory"), name
        assert set(each.usd_per_hour) == set(OURS.storage), name


def test_prices_that_nobody_looked_up_are_told() -> None:
    assert OURS.unchecked(["r5.2xlarge", "r5d.2xlarge", "r5a.2xlarge"]) == ["r5.2xlarge", "r5a.2xlarge"]


@pytest.mark.parametrize(
    ("name", "region", "says"),
    [
        ("r5.3xlarge", "us-east-1", "did you mean r5.2xlarge"),
        ("p99", "us-east-1", "there are m5.large"),
        ("r5.2xlarge", "ap-southeast-2", "did you mean ap-southeast-1"),
    ],
)
def test_what_is_not_in_it(name: str, region: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        OURS.instance(name, region)
    assert says in error.value.hint
    assert "[cluster] prices" in error.value.hint
    assert error.value.exit_code == 2


def test_storage_of_an_unknown_region() -> None:
    with pytest.raises(SettingsError, match="eu-west-1"):
        OURS.prices("eu-west-1")


def test_a_volume_costs_what_is_above_its_base() -> None:
    prices = Storage(gp3_gb=0.1, gp3_iops=0.01, gp3_mb_per_s=0.05, snapshot_gb=0.05)
    assert prices.volume_month(1000) == pytest.approx(100)
    assert prices.volume_month(1000, iops=3000, mb_per_s=125) == pytest.approx(100)
    assert prices.volume_month(1000, iops=4000, mb_per_s=225) == pytest.approx(100 + 10 + 5)


def test_a_file_takes_its_place(tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(TEXT.replace("0.608", "0.7").replace("2026-11-22", "2027-01-01"))
    table = load_table(own)
    assert isinstance(table, InstanceTable)
    assert table.date == "2027-01-01"
    assert table.instance("r5.2xlarge", "ap-southeast-1").usd_per_hour["ap-southeast-1"] == 0.7


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("vcpus =  8, cores = 4, memory_gib = 64", "vcpus = 0, cores = 4, memory_gib = 64", "z1d.2xlarge"),
        ('architecture = "x86_64"', 'architecture = "sparc"', "sparc"),
        ("ssd_gb = 300", "ssd = 300", "ssd"),
        ('date = "2026-11-22"', "", "date"),
        ("us-east-1 = 0.096", "us-east-1 = -0.096", "m5.large"),
        ("[instances]", "[instances", "instances"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, old: str, new: str, says: str) -> None:
    own = tmp_path / "prices.toml"
    assert old in TEXT
    own.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(SettingsError) as error:
        load_table(own)
    assert str(own) in error.value.message
    assert says in error.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no table of instances"):
        load_table(tmp_path / "none.toml")

"""Instance types: what each has and costs, read from a dated table that a file of one's own can replace."""

import tomllib
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from cluster.errors import SettingsError

HOURS_OF_A_MONTH = 730
"""As AWS counts, for what is priced by the month."""
_FREE_IOPS, _FREE_MB_PER_S = 3000, 125
_Positive = Annotated[float, Meta(gt=0)]
_Price = Annotated[float, Meta(ge=0)]
_Kind = TypeVar("_Kind")
_Whole = Annotated[int, Meta(ge=1)]


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an instance type has. Of pairs the first is promised all the time, the second reached for a while."""

    vcpus: _Whole
    cores: _Whole
    """Physical ones; a vCPU is a thread of one."""
    memory_gib: _Positive
    architecture: Literal["x86_64", "arm64"]
    cpu: str
    network_gbps: tuple[_Positive, _Positive]
    ebs_mbps: tuple[_Positive, _Positive]
    """Megabits per second to and from all its volumes."""
    ssd_gb: Annotated[int, Meta(ge=0)]
    """Local disks, which are lost with the instance."""
    usd_per_hour: dict[str, _Price]
    """On demand, Linux, by region."""
    price_from: str

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.memory_gib * 2**30)

    @property
    def network(self) -> float:
        """Bytes per second each way, all the time."""
        return self.network_gbps[0] * 1e9 / 8

    @property
    def ebs(self) -> float:
        """Bytes per second to and from volumes, all the time."""
        return self.ebs_mbps[0] * 1e6 / 8


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What storage costs in a region, USD a month."""

    gp3_gb: _Price
    gp3_iops: _Price
    """For each above 3000."""
    gp3_mb_per_s: _Price
    """For each above 125."""
    snapshot_gb: _Price

    def volume_month(self, size_gb: float, *, iops: int = _FREE_IOPS, mb_per_s: int = _FREE_MB_PER_S) -> float:
        """Return what a gp3 volume costs a month, USD."""
        more = max(0, iops - _FREE_IOPS) * self.gp3_iops + max(0, mb_per_s - _FREE_MB_PER_S) * self.gp3_mb_per_s
        return size_gb * self.gp3_gb + more


class InstanceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of a date, from a source."""

    date: str
    source: str
    storage: dict[str, Storage]
    """By region."""
    instances: dict[str, Instance]
    """By name, as `r5.2xlarge`."""

    def instance(self, name: str, region: str) -> Instance:
        """Return what an instance type has that is sold in `region`. Raises `SettingsError`."""
        found = self.instances.get(name)
        if found is None:
            raise SettingsError(
                f"the table of instances has no type '{name}'", hint=f"{_near(name, self.instances)}; {_OWN_TABLE}"
            )
        if region not in found.usd_per_hour:
            raise SettingsError(
                f"the table of instances has no price of {name} in '{region}'",
                hint=f"{_near(region, found.usd_per_hour)}; {_OWN_TABLE}",
            )
        return found

    def prices(self, region: str) -> Storage:
        """Return what storage costs in `region`. Raises `SettingsError`."""
        if region not in self.storage:
            raise SettingsError(
                f"the table of instances has no prices of storage in '{region}'",
                hint=f"{_near(region, self.storage)}; {_OWN_TABLE}",
            )
        return self.storage[region]

    def unchecked(self, names: Iterable[str]) -> list[str]:
        """Return those of the instance types whose price nobody has looked up."""
        return [name for name in names if self.instances[name].price_from != "catalog"]


_OWN_TABLE = "or add it to a copy of cluster/instances.toml and name that in [cluster] prices"


def load_table(path: Path | None = None) -> InstanceTable:
    """Read a table (TOML, as cluster/instances.toml); without a path, our own. Raises `SettingsError`."""
    where = str(path or "cluster/instances.toml")
    try:
        read = tomllib.loads((path or files("cluster") / "instances.toml").read_text(encoding="utf-8"))
        for name, each in read.get("instances", {}).items():
            _convert(each, Instance, f"{name}: ")
        return _convert(read, InstanceTable)
    except FileNotFoundError:
        raise SettingsError(
            f"no table of instances {where}", hint="mend [cluster] prices, or leave it out for our own table"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(
            f"{where} is no table of instances: {error}", hint="cluster/instances.toml shows what one looks like"
        ) from None


def _convert(value: object, kind: type[_Kind], name: str = "") -> _Kind:
    """Convert a part of the table; msgspec's messages do not tell which of many it is."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{name}{error}") from None


def _near(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}" if near else f"there are {', '.join(names)}"

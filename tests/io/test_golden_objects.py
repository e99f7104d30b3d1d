"""PyHipp's own files of one day, where they are at hand: read, and written again."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hickle
import numpy as np
import pandas as pd
import pytest
from hickle.lookup import RecoveredDataset

from raypipe.io.datafield import open_data
from raypipe.io.nev import read_nev
from raypipe.io.objects import load_object
from raypipe.io.tables import Table
from raypipe.stages import rplhighpass, rpllfp, rplparallel, rplsplit
from tests.compare import arguments

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
DAY = GOLDEN / "picasso" / "20181105"
SESSIONS = ("sessioneye", "session01")

pytestmark = [
    pytest.mark.skipif(not DAY.is_dir(), reason="PyHipp's golden day is not beside the repository"),
    pytest.mark.filterwarnings("ignore::hickle.lookup.SerializedWarning"),
]


def differences(left: Any, right: Any, where: str = "") -> Iterator[str]:
    if type(left) is not type(right):
        yield f"{where}: {type(left)} {type(right)}"
    elif isinstance(left, dict):
        if list(left) != list(right):
            yield f"{where}: {list(left)} {list(right)}"
        for key in left.keys() & right.keys():
            yield from differences(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, list | tuple):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif isinstance(left, np.ndarray):
        if left.dtype != right.dtype or not np.array_equal(left, right, equal_nan=left.dtype.kind == "f"):
            yield f"{where}: arrays differ"
    elif left != right:
        yield f"{where}: {left!r} {right!r}"


def without_tables(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with None for each table; tests/io/test_tables.py says what the tables must be."""
    tables = Table | pd.Series | pd.DataFrame | RecoveredDataset
    return {name: None if isinstance(value, tables) else value for name, value in fields.items()}


def test_own_reading_of_hickle5_is_hickles() -> None:
    paths = [path for path in DAY.rglob("*.hkl") if path.name != "templates.hkl"]
    assert len(paths) > 40
    for path in paths:
        ours, theirs = load_object(path), hickle.load(str(path))
        assert list(differences(without_tables(ours), without_tables(theirs), path.name)) == []
        kinds = {name: type(value) for name, value in theirs.items() if isinstance(ours[name], Table)}
        assert set(kinds.values()) <= {pd.Series, pd.DataFrame, RecoveredDataset}
        assert bool(kinds) == (path.name in ("eyelink_24d5.hkl", "umaze_fd09.hkl"))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("rplparallel_d41d.hkl", "session01"),
        ("unity_71bf.hkl", "session01"),
        ("umaze_fd09.hkl", "session01"),
        ("rpllfp_6eca.hkl", "session01/array01/channel009"),
        ("eyelink_24d5.hkl", "session01"),
    ],
)
def test_hickle4_gives_the_same_object_as_hickle5(name: str, folder: str) -> None:
    assert list(differences(load_object(GOLDEN / "hickle4" / name), load_object(DAY / folder / name))) == []


@pytest.mark.parametrize("session", SESSIONS)
def test_rplparallel(session: str) -> None:
    nev = read_nev(next((DAY / session).glob("*.nev")))
    golden = load_object(DAY / session / "rplparallel_d41d.hkl")
    markers = rplparallel.arrange_markers(nev.codes, nev.ticks, nev.timestamp_resolution)
    ours = rplparallel.object_fields(markers, golden["dirs"][0])
    # PyHipp multiplies seconds by the rate again and rounds down, which loses one tick here and there.
    indices, golden_indices = ours.pop("trialIndices"), golden.pop("trialIndices")
    np.testing.assert_array_equal(np.floor(golden["timeStamps"] * 30000), golden_indices)
    np.testing.assert_array_equal(np.rint(golden["timeStamps"] * 30000), indices)
    assert list(differences(ours, golden)) == []
    assert markers.notes == ()


@pytest.mark.parametrize("session", SESSIONS)
def test_fields_of_a_channel(session: str) -> None:
    folder = DAY / session / "array01" / "channel009"
    nev = read_nev(next((DAY / session).glob("*.nev")))
    raw, lfp, highpass = (
        load_object(folder / name) for name in ("rplraw_d41d.hkl", "rpllfp_6eca.hkl", "rplhighpass_b59f.hkl")
    )
    n, directory = raw["data"].size, raw["dirs"][0]
    decimator, _ = rpllfp.design(arguments("rpllfp"), 30000.0)
    n_lfp = rpllfp.output_samples(n, decimator)
    assert n_lfp == lfp["data"].size
    ours = [
        rplsplit.object_fields(directory, label="raw 9", n_samples=n, rate_hz=30000.0, recorder_filter=nev.filters[9]),
        rpllfp.object_fields(arguments("rpllfp"), directory, label="raw 9", n_samples=n_lfp),
        rplhighpass.object_fields(arguments("rplhighpass"), directory, label="raw 9", n_samples=n, rate_hz=30000.0),
    ]
    for mine, golden in zip(ours, (raw, lfp, highpass), strict=True):
        golden["data"] = None
        # A list of Python integers comes back from hickle as one of numpy integers.
        golden["args"] = {k: [int(x) for x in v] if isinstance(v, list) else v for k, v in golden["args"].items()}
        for extreme in ("MinVal", "MaxVal"):
            assert type(mine["analogInfo"][extreme]) is type(golden["analogInfo"][extreme])
            mine["analogInfo"][extreme] = golden["analogInfo"][extreme]
        assert list(differences(mine, golden)) == []


def test_samples_of_a_channel() -> None:
    path = DAY / "session01" / "array01" / "channel009" / "rplraw_d41d.hkl"
    field = open_data(path)
    whole = load_object(path)["data"]
    assert (field.n_samples, field.rate_hz) == (540_000, 30000.0)
    np.testing.assert_array_equal(field.read(1000, 2000), whole[1000:2000])
    assert open_data(GOLDEN / "hickle4" / "rpllfp_6eca.hkl").read(0, 18000).size == 18000

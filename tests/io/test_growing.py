"""Objects whose samples are written as they come."""

import os
from pathlib import Path
from typing import Any

import hickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.errors import WriteFailed
from raypipe.io import mould
from raypipe.io.appender import STAGE_BYTES, WriteBehind
from raypipe.io.growing import GrowingObject
from raypipe.io.publish import rename_synced


def fields(channel: int, **info: Any) -> dict[str, Any]:
    return {
        "args": {"HighOrder": 8, "HighPassFrequency": [500, 7500]},
        "data": None,
        "analogInfo": {
            "SampleRate": 30000.0,
            "MinVal": np.float64(0),
            "MaxVal": np.float32(0),
            "HighFreqOrder": np.uint32(channel),
            "HighFilterType": "Butterworth",
            "LowFilterType": "Butterworth",
            "ProbeInfo": f"b'hp {channel}'",
            **info,
        },
        "dirs": [f"picasso/20181105/session01/array01/channel{channel:03}"],
        "setidx": [],
        "current_idx": None,
        "numSets": 1,
    }


def grow(path: Path, values: dict[str, Any], samples: np.ndarray[Any, Any], cuts: list[int]) -> GrowingObject:
    growing = GrowingObject(path, values, samples.size, token="t", behind=WriteBehind(threads=1))
    for start, stop in zip([0, *cuts], [*cuts, samples.size], strict=True):
        growing.append(samples[start:stop])
    growing.finish({"analogInfo": {"MinVal": -0.1, "MaxVal": 0.1}})
    rename_synced(growing.sync(), growing.path)
    return growing


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(1, 40000), channel=st.integers(1, 255))
def test_is_what_hickle_dumps(
    data: st.DataObject, n: int, channel: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=5)))
    samples = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    path = tmp_path_factory.mktemp("growing") / "rplhighpass_b59f.hkl"
    grow(path, fields(channel), samples, cuts)
    loaded = hickle.load(str(path))
    np.testing.assert_array_equal(loaded["data"], samples)
    whole = {**fields(channel, MinVal=np.float64(-0.1), MaxVal=np.float32(0.1)), "data": samples}
    hickle.dump(whole, str(path), "w")
    expected = hickle.load(str(path))
    assert list(loaded) == list(expected)
    del loaded["data"], expected["data"]
    assert repr(loaded) == repr(expected)  # repr tells types apart: np.float64(0.1), 0.1
    assert list(path.parent.iterdir()) == [path]


def test_bytes_do_not_depend_on_slices_or_on_what_was_laid_out_before(tmp_path: Path) -> None:
    samples = np.arange(100_000, dtype=np.float32)
    images = []
    for number, cuts in enumerate([[], [1, 777, 99_999]]):
        mould._make.cache_clear()
        grow(tmp_path / f"{number}-other", fields(8), samples, cuts)
        grow(tmp_path / f"{number}", fields(9), samples, cuts)
        images.append((tmp_path / f"{number}").read_bytes())
    mould._make.cache_clear()
    grow(tmp_path / "first", fields(9), samples, [5])
    images.append((tmp_path / "first").read_bytes())
    assert images[0] == images[1] == images[2]


def test_layout_is_made_once_per_kind(tmp_path: Path) -> None:
    mould._make.cache_clear()
    samples = np.zeros(10, np.float32)
    for channel in range(10, 20):
        grow(tmp_path / str(channel), fields(channel), samples, [])
    assert mould._make.cache_info().misses == 1
    grow(tmp_path / "100", fields(100), samples, [])  # one letter more in ProbeInfo
    assert mould._make.cache_info().misses == 2
    assert hickle.load(str(tmp_path / "13"))["analogInfo"]["ProbeInfo"] == "b'hp 13'"


def test_equal_and_different_strings_have_their_own_layout(tmp_path: Path) -> None:
    samples = np.zeros(10, np.float32)
    grow(tmp_path / "a", fields(9), samples, [])
    grow(tmp_path / "b", fields(9, LowFilterType="Bessel-ish!"), samples, [])
    grow(tmp_path / "c", fields(9), samples, [])
    for name, expected in [("a", "Butterworth"), ("b", "Bessel-ish!"), ("c", "Butterworth")]:
        info = hickle.load(str(tmp_path / name))["analogInfo"]
        assert (info["HighFilterType"], info["LowFilterType"]) == ("Butterworth", expected)


@pytest.mark.parametrize("n_given", [9, 11])
def test_wrong_number_of_samples(n_given: int, tmp_path: Path) -> None:
    growing = GrowingObject(tmp_path / "x.hkl", fields(1), 10, token="t", behind=WriteBehind(threads=1))
    growing.append(np.zeros(9, np.float32))
    with pytest.raises(WriteFailed, match=f"10 samples and got {n_given}"):
        growing.finish({}) if n_given == 9 else growing.append(np.zeros(2, np.float32))
    growing.abort()
    growing.abort()
    assert not list(tmp_path.iterdir())


def test_samples_must_be_contiguous_float32(tmp_path: Path) -> None:
    growing = GrowingObject(tmp_path / "x.hkl", fields(1), 10, token="t", behind=WriteBehind(threads=1))
    for wrong in (np.zeros(2), np.zeros((2, 2), np.float32), np.zeros(8, np.float32)[::2]):
        with pytest.raises(ValueError, match="float32"):
            growing.append(wrong)
    growing.abort()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: write(fd, content[:1000], offset))
    samples = np.arange(5000, dtype=np.float32)
    grow(tmp_path / "x.hkl", fields(1), samples, [])
    np.testing.assert_array_equal(hickle.load(str(tmp_path / "x.hkl"))["data"], samples)


@pytest.mark.parametrize(("number", "hint"), [(28, "make room"), (30, "read-only"), (5, "dmesg")])
def test_disk_refuses(number: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    growing = GrowingObject(tmp_path / "x.hkl", fields(1), 10, token="t", behind=WriteBehind(threads=1))
    monkeypatch.setattr(os, "pwrite", refuse)
    growing.append(np.zeros(10, np.float32))
    with pytest.raises(WriteFailed, match="x") as caught:
        growing.finish({})
    assert hint in caught.value.hint
    growing.abort()
    with pytest.raises(WriteFailed, match="y"):
        GrowingObject(tmp_path / "y.hkl", fields(1), 10, token="t", behind=WriteBehind(threads=1))
    assert not list(tmp_path.iterdir())


def test_disk_refuses_behind_the_callers_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 3 * STAGE_BYTES // 4
    growing = GrowingObject(tmp_path / "x.hkl", fields(1), n, token="t", behind=WriteBehind(threads=1))

    def refuse(*_: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(WriteFailed, match="x"):
        for _ in range(3):
            growing.append(np.zeros(n // 3, np.float32))
        growing.finish({})
    growing.abort()
    assert not list(tmp_path.iterdir())


def test_no_memory_for_the_samples(tmp_path: Path) -> None:
    # 400 GB: only a sparse file can be this long, so nothing may write or hold the samples to lay it out.
    growing = GrowingObject(tmp_path / "x.hkl", fields(1), 10**11, token="t", behind=WriteBehind(threads=1))
    assert (tmp_path / ".x.hkl.t.tmp").stat().st_blocks * 512 < 2**20
    growing.abort()

"""The samples of a saved channel, piece by piece."""

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raypipe.errors import FormatError, InputMissing
from raypipe.io.datafield import open_data
from raypipe.io.objects import save_object

RNG = np.random.default_rng(1)


def channel(data: Any, **more: Any) -> dict[str, Any]:
    return {
        "args": {},
        "data": data,
        "analogInfo": {"SampleRate": 30000.0, "ProbeInfo": "b'raw 9'"},
        "numSets": 1,
        **more,
    }


def write_hickle4(path: Path, data: Any, *, chunks: bool = False) -> None:
    """Write a minimal hickle-4 tree, as read from the lab's own files."""
    with h5py.File(path, "w") as file:
        file.attrs["HICKLE_VERSION"] = "4.0.4"
        file.attrs["HICKLE_PYTHON_VERSION"] = "3.6.9"
        root = file.create_group("data")
        root.attrs["base_type"] = b"dict"
        data_item = root.create_group("'data'")
        info_item = root.create_group("'analogInfo'")
        node = data_item.create_dataset("data", data=data, chunks=chunks or None)
        node.attrs.update({"base_type": b"ndarray", "np_dtype": str(data.dtype).encode()})
        info = info_item.create_group("data")
        info.attrs["base_type"] = b"dict"
        rate_item = info.create_group("'SampleRate'")
        rate_item.create_dataset("data", data=30000.0).attrs["base_type"] = b"float"
        for index, item in enumerate([data_item, info_item, rate_item]):
            item.attrs.update({"base_type": b"dict_item", "key_base_type": b"str", "key_idx": index})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reads_pieces(dtype: type, tmp_path: Path) -> None:
    samples = RNG.standard_normal(1000).astype(dtype)
    path = tmp_path / "rplraw_d41d.hkl"
    save_object(path, channel(samples))
    field = pickle.loads(pickle.dumps(open_data(path)))
    assert (field.n_samples, field.rate_hz) == (1000, 30000.0)
    assert field.fields == {"args": {}, "analogInfo": {"SampleRate": 30000.0, "ProbeInfo": "b'raw 9'"}, "numSets": 1}
    for start, stop in [(0, 1000), (0, 0), (17, 18), (999, 1000)]:
        piece = field.read(start, stop)
        assert piece.dtype == np.float32
        assert piece.flags.aligned and piece.flags.writeable
        np.testing.assert_array_equal(piece, samples[start:stop].astype(np.float32))
    with pytest.raises(ValueError, match="of 1000"):
        field.read(0, 1001)


@pytest.mark.parametrize("chunks", [False, True])
def test_reads_hickle4(chunks: bool, tmp_path: Path) -> None:
    samples = RNG.standard_normal(1000).astype(np.float32)
    path = tmp_path / "rplraw_d41d.hkl"
    write_hickle4(path, samples, chunks=chunks)
    field = open_data(path)
    assert (field.offset is None) == chunks
    assert field.rate_hz == 30000.0
    np.testing.assert_array_equal(field.read(10, 500), samples[10:500])


@pytest.mark.parametrize("data", [np.zeros(10, np.int16), np.zeros((2, 5), np.float32), [1.5, 2.5, "x"], None])
def test_refuses_other_data(data: Any, tmp_path: Path) -> None:
    path = tmp_path / "rplraw_d41d.hkl"
    save_object(path, channel(data))
    with pytest.raises(FormatError, match="rplraw_d41d"):
        open_data(path)


def test_refuses_what_is_no_channel(tmp_path: Path) -> None:
    path = tmp_path / "rplraw_d41d.hkl"
    with pytest.raises(InputMissing):
        open_data(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\nand then nothing of use")
    with pytest.raises(FormatError):
        open_data(path)
    save_object(path, {"args": {}})
    with pytest.raises(FormatError, match="no data"):
        open_data(path)
    save_object(path, {"data": np.zeros(3, np.float32)})
    with pytest.raises(FormatError, match="analogInfo"):
        open_data(path)


def test_refuses_a_cut_file_before_and_after_opening(tmp_path: Path) -> None:
    path = tmp_path / "rplraw_d41d.hkl"
    save_object(path, channel(np.zeros(100_000, np.float32)))
    field = open_data(path)
    os.truncate(path, path.stat().st_size - 300_000)
    with pytest.raises(FormatError, match="cut"):
        field.read(0, 100_000)
    with pytest.raises(FormatError):
        open_data(path)
    path.unlink()
    with pytest.raises(FormatError, match="no longer"):
        field.read(0, 1)

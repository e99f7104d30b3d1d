"""Our files have the tree that PyHipp's have: names, types, shapes, attributes, and types table."""

import json
from pathlib import Path
from typing import Any

import h5py
import hickle
import numpy as np
import pytest

from raypipe.io.appender import WriteBehind
from raypipe.io.growing import GrowingObject
from raypipe.io.nev import NevFilter
from raypipe.io.objects import normalised_dir, save_object
from raypipe.io.publish import rename_synced
from raypipe.stages import rplhighpass, rpllfp, rplparallel, rplsplit
from tests.compare import arguments

EXPECTED = json.loads((Path(__file__).parents[1] / "data" / "golden_structure.json").read_text())
CHANNEL = normalised_dir(Path("/data/picasso/20181105/sessioneye/array01/channel009"))
FILTER = NevFilter(9, 300, 1, "Butterworth", 7500000, 3, "Butterworth")
N = 120_000


def describe(path: Path) -> dict[str, Any]:
    """List every node of a file: shape, dtype and storage, its attributes, and small values."""
    with h5py.File(path, "r") as file:
        nodes = {"/": file}
        file.visititems(lambda name, node: nodes.__setitem__(name, node))
        return {name: [*_content(node), _attributes(node)] for name, node in sorted(nodes.items())}


def _content(node: Any) -> list[Any]:
    if isinstance(node, h5py.Group):
        return ["group"]
    if h5py.check_ref_dtype(node.dtype) is not None:
        return ["reference", node.file[node[()]].name]
    plain = node.chunks is None and node.compression is None
    return [str(node.dtype), list(node.shape) if node.shape is not None else None, "plain" if plain else "packed"]


def _attributes(node: Any) -> dict[str, Any]:
    return {name: _attribute(node, name) for name in sorted(node.attrs) if not name.startswith("HICKLE_")}


def _attribute(node: Any, name: str) -> list[Any]:
    value, low = node.attrs[name], node.attrs.get_id(name).get_type()
    if isinstance(value, h5py.Reference):
        return ["reference", node.file[value].name]
    charset = low.get_cset() if isinstance(low, h5py.h5t.TypeStringID) else None
    return [type(low).__name__, charset, value.item() if isinstance(value, np.generic) else value]


def channel_objects() -> dict[str, tuple[dict[str, Any], int]]:
    lfp, highpass = arguments("rpllfp"), arguments("rplhighpass")
    decimator, _ = rpllfp.design(lfp, 30000.0)
    n_lfp = rpllfp.output_samples(N, decimator)
    raw = rplsplit.object_fields(CHANNEL, label="raw 9", n_samples=N, rate_hz=30000.0, recorder_filter=FILTER)
    return {
        "rplraw": (raw, N),
        "rpllfp": (rpllfp.object_fields(lfp, CHANNEL, label="raw 9", n_samples=n_lfp), n_lfp),
        "rplhighpass": (
            rplhighpass.object_fields(highpass, CHANNEL, label="raw 9", n_samples=N, rate_hz=30000.0),
            N,
        ),
    }


@pytest.mark.parametrize("stem", ["rplraw", "rpllfp", "rplhighpass"])
def test_growing_channel_has_pyhipps_structure(stem: str, tmp_path: Path) -> None:
    fields, n = channel_objects()[stem]
    growing = GrowingObject(tmp_path / "grown.hkl", fields, n, token="t", behind=WriteBehind(threads=1))
    growing.append(np.zeros(n, np.float32))
    growing.finish({"analogInfo": {"MinVal": -1.0, "MaxVal": 1.0}})
    rename_synced(growing.sync(), growing.path)
    whole = {**fields, "data": np.zeros(n, np.float32)}
    save_object(tmp_path / "saved.hkl", whole)
    hickle.dump(whole, str(tmp_path / "dumped.hkl"), "w")
    assert describe(tmp_path / "grown.hkl") == EXPECTED[stem]
    assert describe(tmp_path / "saved.hkl") == EXPECTED[stem]
    assert describe(tmp_path / "dumped.hkl") == EXPECTED[stem]


@pytest.mark.parametrize("n", [1, 2, 1000, 16_383, 16_384, 1_000_001])
def test_growing_is_plain_hickle_at_every_length(n: int, tmp_path: Path) -> None:
    fields, _ = channel_objects()["rplraw"]
    growing = GrowingObject(tmp_path / "grown.hkl", fields, n, token="t", behind=WriteBehind(threads=1))
    growing.append(np.zeros(n, np.float32))
    growing.finish({})
    rename_synced(growing.sync(), growing.path)
    hickle.dump({**fields, "data": np.zeros(n, np.float32)}, str(tmp_path / "dumped.hkl"), "w")
    assert describe(tmp_path / "grown.hkl") == describe(tmp_path / "dumped.hkl")


def test_rplparallel_has_pyhipps_structure(tmp_path: Path) -> None:
    codes = np.array([1, 0, 2, 0, 3, 0] * 4, np.uint16)
    markers = rplparallel.arrange_markers(codes, np.arange(24) * 7500 + 9000, 30000)
    save_object(tmp_path / "x.hkl", rplparallel.object_fields(markers, "picasso/20181105/sessioneye"))
    assert describe(tmp_path / "x.hkl") == EXPECTED["rplparallel"]


@pytest.mark.parametrize("stem", ["rplraw", "rpllfp", "rplhighpass"])
def test_attributes_as_pyhipps_base_class_sets_them(stem: str, tmp_path: Path) -> None:
    """PyHipp's DPObject.load takes every key of the loaded dict as an attribute; this does the same."""
    fields, n = channel_objects()[stem]
    growing = GrowingObject(tmp_path / "x.hkl", fields, n, token="t", behind=WriteBehind(threads=1))
    samples = np.arange(n, dtype=np.float32)
    growing.append(samples)
    growing.finish({"analogInfo": {"MinVal": -1.5, "MaxVal": 2.5}})
    rename_synced(growing.sync(), growing.path)

    class Loaded:
        pass

    loaded: Any = Loaded()
    for name, value in hickle.load(str(tmp_path / "x.hkl")).items():
        setattr(loaded, name, value)
    np.testing.assert_array_equal(loaded.data, samples)
    assert loaded.dirs == [CHANNEL]
    assert loaded.plotopts == {"indexer": "channel"}
    assert (loaded.setidx, loaded.current_idx, loaded.numSets) == ([], None, 1)
    assert loaded.analogInfo["MinVal"] == -1.5
    assert loaded.analogInfo["NumberSamples"] == n

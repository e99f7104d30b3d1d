"""Files written by hickle 4, which hickle 5 would read as garbage without saying so."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raypipe.errors import FormatError
from raypipe.io.objects import load_object
from raypipe.io.tables import Pickled


def put(group: h5py.Group, name: str, base_type: str, data: Any = None, **attrs: Any) -> h5py.Group | h5py.Dataset:
    """Add a node as hickle 4 does: a group without data, else a dataset, with its type beside it."""
    node = group.create_group(name) if data is None else group.create_dataset(name, data=data)
    node.attrs["base_type"] = base_type.encode()
    node.attrs.update(attrs)
    return node


def item(group: h5py.Group, index: int, key: Any) -> h5py.Group:
    name = repr(key).replace("/", "\\\\")
    kind = type(key).__name__.encode()
    return put(group, name, "dict_item", key_idx=index, key_base_type=kind)


@pytest.fixture
def file4(tmp_path: Path) -> Path:
    path = tmp_path / "object.hkl"
    with h5py.File(path, "w") as file:
        file.attrs["HICKLE_VERSION"] = "4.0.4"
        file.attrs["HICKLE_PYTHON_VERSION"] = "3.6.9"
        root = put(file, "data", "dict")
        put(item(root, 3, "int"), "data", "int", 7)
        put(item(root, 2, "float"), "data", "float", 0.5)
        put(item(root, 1, "text"), "data", "str", "µV")
        put(item(root, 0, "none"), "data", "None", b"None")
        put(item(root, 4, "flag"), "data", "bool", True)
        put(item(root, 5, "dirs"), "data", "list", np.array([b"a/b", b"a/c"]), str_type=b"str")
        put(item(root, 6, "empty"), "data", "list")
        put(item(root, 7, "numbers"), "data", "list", np.array([1, 2]))
        put(item(root, 8, "array"), "data", "ndarray", np.eye(2, dtype=np.float32), np_dtype=b"float32")
        put(item(root, 9, "scalar"), "data", "np_scalar", np.uint32(3), np_dtype=b"uint32")
        arrays = put(item(root, 10, "arrays"), "data", "list")
        for number in range(11):
            put(arrays, f"data_{number}", "ndarray", np.array([number]), np_dtype=b"int64")
        put(item(root, 11, "frame"), "data", "pickle", np.bytes_(b"\x80\x04cpandas\nDataFrame\n."))
        paths = put(item(root, 12, "array_dict"), "data", "dict")
        put(item(paths, 0, "picasso/20181105/session01/array01"), "data", "int", 5)
        put(item(paths, 1, 30), "data", "int", 6)
        put(item(root, 13, "pair"), "data", "tuple", np.array([1.0, 2.0]))
    return path


def test_types_are_pyhipps(file4: Path) -> None:
    loaded = load_object(file4)
    names = "none text float int flag dirs empty numbers array scalar arrays frame array_dict pair"
    assert list(loaded) == names.split()
    expected = {"none": None, "text": "µV", "float": 0.5, "int": 7, "flag": True, "dirs": ["a/b", "a/c"], "empty": []}
    for name, value in expected.items():
        assert type(loaded[name]) is type(value)
        assert loaded[name] == value
    assert loaded["numbers"] == [1, 2]
    assert type(loaded["scalar"]) is np.uint32
    assert loaded["array"].dtype == np.float32
    np.testing.assert_array_equal(loaded["array"], np.eye(2))
    assert [array.tolist() for array in loaded["arrays"]] == [[number] for number in range(11)]
    assert loaded["array_dict"] == {"picasso/20181105/session01/array01": 5, 30: 6}
    assert loaded["pair"] == (1.0, 2.0)


def test_pickles_stay_shut(file4: Path) -> None:
    frame = load_object(file4)["frame"]
    assert type(frame) is Pickled
    assert frame == b"\x80\x04cpandas\nDataFrame\n."


def test_unknown_type_is_refused(file4: Path) -> None:
    with h5py.File(file4, "r+") as file:
        file["data/'int'/data"].attrs["base_type"] = b"spline"
    with pytest.raises(FormatError, match="spline"):
        load_object(file4)

"""Names, hashes, base fields, saving and loading of objects."""

import os
from pathlib import Path
from typing import Any

import h5py
import hickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raypipe.errors import FormatError, InputMissing, UsageError, WriteFailed
from raypipe.io.objects import (
    base_fields,
    level_of,
    load_object,
    normalised_dir,
    object_hash,
    object_name,
    save_object,
)

UNITY = {
    "FileLineOffset": 15,
    "DirName": "RawData*",
    "FileName": "session*",
    "TriggerVal1": 10,
    "TriggerVal2": 20,
    "TriggerVal3": 30,
    "BinNumberLimit": 500,
}
SKIPS = dict.fromkeys(("SkipHPC", "SkipLFP", "SkipHighPass", "SkipSort", "SkipParallel"), True)
EDF = {"FileName": ".edf", "CalibFileNameChar": "P", "NavDirName": "session0"}
TRIGGER = {"TriggerMessage": "Trigger Version 84"}
SCREEN = {"ScreenX": 1920, "ScreenY": 1080, "NumTrialMessages": 3}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, "d41d"),
        ({"channel": list(range(1, 125)), **SKIPS}, "4905"),
        ({"ResampleRate": 1000, "LFPOrder": 8, "LowPassFrequency": [1, 150]}, "6eca"),
        ({"HighOrder": 8, "HighPassFrequency": [500, 7500]}, "b59f"),
        (UNITY, "71bf"),
        ({**UNITY, "FileLineOffset": 14}, "d169"),
        ({**EDF, "CalibDirName": "sessioneye", **TRIGGER}, "c1fa"),
        ({**EDF, "DirName": "session*", "CalibDirName": "sessioneye", **SCREEN, **TRIGGER}, "24d5"),
        ({"GridSteps": 40, "OverallGridSize": 25, "MinObs": 5}, "fd09"),
        ({"loadHighPass": False, "loadRaw": False, "pointsPerWindow": 2000}, "9c80"),
        ({"loadHighPass": True, "loadRaw": False, "pointsPerWindow": 3000}, "660e"),
        (
            {
                "mountainsDirectory": "mountains",
                "ouputDirectory": "output",
                "templateFilename": "templates.hkl",
            },
            "ed79",
        ),
        ({"GridSteps": 40, "OverallGridSize": 25}, "7ab1"),
    ],
)
def test_hash_is_pyhipps(args: dict[str, Any], expected: str) -> None:
    assert object_hash(args) == expected


def test_name_and_order_of_arguments() -> None:
    assert (
        object_name("rpllfp", {"ResampleRate": 1000, "LFPOrder": 8, "LowPassFrequency": [1, 150]}) == "rpllfp_6eca.hkl"
    )
    assert object_hash({"a": 1, "b": 2}) != object_hash({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("path", "level", "expected"),
    [
        ("/data/picasso/20181105", "day", "picasso/20181105"),
        ("/data/picasso/20181105/session01", "session", "picasso/20181105/session01"),
        ("/data/picasso/20181105/sessioneye", "session", "picasso/20181105/sessioneye"),
        ("/a/b/picasso/20181105/session01/array02", "array", "picasso/20181105/session01/array02"),
        ("/picasso/20181105/session01/array02/channel034", "channel", "picasso/20181105/session01/array02/channel034"),
        (
            "/x/picasso/20181105/session01/array02/channel034/cell01",
            "cell",
            "picasso/20181105/session01/array02/channel034/cell01",
        ),
    ],
)  # fmt: skip
def test_level_and_normalised_dir(path: str, level: str, expected: str) -> None:
    assert level_of(Path(path)) == level
    assert normalised_dir(Path(path)) == expected


@pytest.mark.parametrize("name", ["mountains", "2018a", "chan009", "RawData_T1-400"])
def test_other_folders_have_no_level(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        normalised_dir(Path("/data") / name)


def test_base_fields_order() -> None:
    fields = base_fields({"a": 1}, "picasso/20181105/session01", "session", setidx=[0, 0])
    assert list(fields.items()) == [
        ("args", {"a": 1}),
        ("dirs", ["picasso/20181105/session01"]),
        ("setidx", [0, 0]),
        ("plotopts", {"indexer": "session"}),
        ("current_idx", None),
    ]


KEYS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()
LEAVES = (
    NUMBERS
    | st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
    | st.lists(st.text("abc/", min_size=1, max_size=5), max_size=4)
    | st.sampled_from(
        [b"", b"bytes", "", 2**70, -(2**64), 1j, (), (None, "a"), [[], [()]], [(1.5, "a"), {"x": [None]}]]
    )
    | st.builds(np.float64, st.floats(allow_nan=False))
    | st.builds(np.uint32, st.integers(0, 2**32 - 1))
    | hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint16]),
        hnp.array_shapes(max_dims=2, max_side=5),
        elements={"allow_nan": False},
    )
)
FIELDS = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
)


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    else:
        assert left == right


@settings(max_examples=60, deadline=None)
@given(fields=FIELDS)
def test_round_trip(fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("object") / "object.hkl"
    save_object(path, fields)
    assert_same(load_object(path), fields)
    assert_same(hickle.load(str(path)), fields)


def test_bytes_do_not_depend_on_shared_objects(tmp_path: Path) -> None:
    text, array = "Butterworth", np.arange(3.0)
    shared = {"a": text, "b": text, "c": array, "d": array}
    apart = {"a": "Butter" + "worth"[:], "b": bytes(text, "ascii").decode(), "c": array.copy(), "d": array.copy()}
    for name, fields in [("shared", shared), ("apart", apart)]:
        save_object(tmp_path / name, fields)
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "apart").read_bytes()


def test_replaces_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "object.hkl"
    for value in (1, 2):
        save_object(path, {"value": value}, token="mine")
        assert load_object(path) == {"value": value}
        assert [each.name for each in tmp_path.iterdir()] == ["object.hkl"]


def test_no_folder_is_write_failed(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match="No such file or directory"):
        save_object(tmp_path / "nowhere" / "object.hkl", {})


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "object.hkl"
    save_object(path, {"value": 1})

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WriteFailed, match="No space left") as caught:
        save_object(path, {"value": 2})
    assert "make room" in caught.value.hint
    assert load_object(path) == {"value": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["object.hkl"]


def test_load_refuses_what_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "object.hkl"
    with pytest.raises(InputMissing, match="object"):
        load_object(path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(FormatError, match="object"):
        load_object(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(FormatError, match="HICKLE_VERSION"):
        load_object(path)
    hickle.dump(np.zeros(3), str(path), "w")
    with pytest.raises(FormatError, match="ndarray"):
        load_object(path)


def test_load_refuses_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "object.hkl"
    save_object(path, {"data": np.zeros(1000)})
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FormatError, match="object"):
        load_object(path)


def test_an_object_that_is_referred_to(tmp_path: Path) -> None:
    """hickle writes what it has met before, a list or a text, as a reference to the first."""
    path, text = tmp_path / "object.hkl", "Butterworth"
    shared = [1, text, None]
    hickle.dump({"a": shared, "b": {"c": shared}, "d": text, "e": np.array(["µV", "s"])}, path)
    with h5py.File(path) as file:
        assert h5py.check_ref_dtype(file['data/"b"/"c"'].dtype) and h5py.check_ref_dtype(file['data/"d"'].dtype)
    assert load_object(path).pop("e").tolist() == ["µV", "s"]
    assert load_object(path) | {"e": 0} == {"a": [1, text, None], "b": {"c": [1, text, None]}, "d": text, "e": 0}


def test_texts_however_hdf5_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "object.hkl"
    save_object(path, {"x": "abc", "y": 1})
    for stored in (np.bytes_(b"abc"), np.array([[b"ab", b"c"]], "S2"), np.frombuffer(b"abc", np.uint8), "abc"):
        with h5py.File(path, "r+") as file:
            marks = dict(file['data/"x"'].attrs)
            del file['data/"x"']
            file['data/"x"'] = stored
            file['data/"x"'].attrs.update(marks)
        assert load_object(path)["x"].replace("\0", "") == "abc"
    with h5py.File(path, "r+") as file:
        del file['data/"x"']
        file['data/"x"'] = h5py.Empty("S1")
        file['data/"x"'].attrs.update(marks)
    assert load_object(path)["x"] == ""


def _no_type(file: h5py.File) -> None:
    del file["data"].attrs["type"]


def _wrong_type(file: h5py.File) -> None:
    file['data/"x"'].attrs["type"] = 3


def _no_place(file: h5py.File) -> None:
    del file['data/"x"'].attrs["key_idx"]


def _odd_name(file: h5py.File) -> None:
    file.move('data/"x"', "data/a key")


def _dangling_type(file: h5py.File) -> None:
    del file["hickle_types_table"]


def _type_outside_the_table(file: h5py.File) -> None:
    file['data/"x"'].attrs["type"] = file["data"].ref


def _empty_type(file: h5py.File) -> None:
    file['data/"x"'].attrs["type"] = h5py.Empty(h5py.ref_dtype)


def _kind_outside_the_table(file: h5py.File) -> None:
    file[file['data/"x"'].attrs["type"]].attrs["base_type"] = file["data"].ref


def _list_in_itself(file: h5py.File) -> None:
    file['data/"y"/data2'] = file['data/"y"']


def _reference_to_itself(file: h5py.File) -> None:
    del file['data/"y"/data1']
    node = file.create_dataset('data/"y"/data1', (), h5py.ref_dtype)
    node[()] = node.ref


@pytest.mark.parametrize(
    "damage",
    [
        *(_no_type, _wrong_type, _no_place, _odd_name, _dangling_type, _type_outside_the_table, _empty_type),
        *(_kind_outside_the_table, _list_in_itself, _reference_to_itself),
    ],
)
def test_load_refuses_a_damaged_tree(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "object.hkl"
    save_object(path, {"x": 1, "y": [1, "a"]})
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(FormatError, match=r"object\.hkl is damaged"):
        load_object(path)

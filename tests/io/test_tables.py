"""Tables: written for hickle with every pandas from the lab's to today's, and read without any.

Today's pandas is the one that the tests run with; the lab's, with its numpy and hickle, comes from `lab_environment`.
"""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raypipe.errors import UsageError
from raypipe.io.objects import load_object, object_image, save_object
from raypipe.io.table_pickle import read_table, table_parts
from raypipe.io.tables import Pickled, Table, empty_frame
from tests.lab_environment import lab_python, run_script

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
DATA = Path(__file__).parents[1] / "data"
SCRIPT = Path(__file__).parents[1] / "lab_tables.py"
EXTRACT = json.loads((DATA / "golden_tables.json").read_text())
"""What pandas 1.5.3 says of some of PyHipp's tables of the golden day, by "object field"."""

DTYPES = ("?", "<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")


@pytest.fixture(params=["today", "lab"])
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter with today's pandas, or with the lab's."""
    return Path(sys.executable) if request.param == "today" else lab_python()


def dumps(table: Table) -> bytes:
    return b"".join(part if isinstance(part, bytes) else part.tobytes() for part in table_parts(table))


def loads(content: bytes) -> Table | None:
    return read_table(io.BytesIO(content))


def described(table: Table) -> dict[str, Any]:
    """Describe a table as `lab_tables` describes the pandas object that it stands for."""
    values = table.values
    labels = range(len(values)) if table.index is None else table.index.tolist()
    return {
        "type": "Series" if table.columns is None else "DataFrame",
        "shape": list(values.shape),
        "dtypes": [] if table.columns == () else [str(values.dtype)],
        "values": np.ascontiguousarray(values).tobytes().hex(),
        "columns": None if table.columns is None else list(table.columns),
        "name": table.name,
        "index": list(labels),
    }


def unlike(table: Any, said: Mapping[str, Any]) -> list[str]:
    """Say in what a table is not what pandas said of the object."""
    if not isinstance(table, Table):
        return [f"it is a {type(table).__name__}"]
    return [f"{what}: {ours} is not {said[what]}" for what, ours in described(table).items() if ours != said[what]]


LABELS = st.integers(-3, 2**40) | st.text(max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rows = draw(st.integers(0, 6))
    width = draw(st.none() | st.integers(0, 4))
    values = draw(hnp.arrays(dtype, (rows,) if width is None else (rows, width)))
    index = draw(st.none() | hnp.arrays(np.int64, rows))
    if width is None:
        return Table(values, name=draw(st.none() | LABELS), index=index)
    counted = st.just(tuple(range(width)))
    columns = draw(counted | st.lists(LABELS, min_size=width, max_size=width).map(tuple))
    return Table(values if values.shape != (0, 0) or index is not None else np.empty((0, 0)), columns, index=index)


def some_tables() -> dict[str, Table]:
    """Give a table of every type and form that there is, by a name that says which."""
    found = {}
    for dtype in map(np.dtype, DTYPES):
        for rows, width in [(5, None), (0, None), (5, 2), (1, 3), (0, 2)]:
            numbers = (
                np.arange(rows * (width or 1)) % 2 if dtype.kind == "b" else np.arange(rows * (width or 1)) * 3 + 1
            )
            values = numbers.astype(dtype).reshape((rows,) if width is None else (rows, width))
            columns = None if width is None else ("start", "end", 0)[:width]
            found[f"{dtype.name} {rows} {width}"] = Table(values, columns)
    values = np.array([[0.1, np.nan], [np.inf, -0.0], [5e-324, 1e308]])
    return found | {
        "empty": empty_frame(),
        "no columns": Table(np.empty((3, 0)), columns=()),
        "counted": Table(values, columns=(0, 1)),
        "numbered": Table(values, columns=(7, -1)),
        "twice": Table(values, columns=("x", "x")),
        "µ": Table(values, columns=("µV", "")),
        "labelled": Table(values, columns=("a", "b"), index=np.array([3, -7, 2**62])),
        "plainly labelled": Table(values, columns=("a", "b"), index=np.arange(3)),
        "named": Table(values[:, 0], name="time"),
        "number": Table(values[:, 1], name=0),
        "labelled series": Table(values[:, 1], index=np.array([5, 5, 4])),
        "no rows, labelled": Table(np.empty(0), index=np.empty(0, np.int64)),
        "no shape, labelled": Table(np.empty((0, 0)), columns=(), index=np.empty(0, np.int64)),
    }  # fmt: skip


# Written by raypipe.


def test_hickle_gives_pandas_objects(python: Path, tmp_path: Path) -> None:
    """Plain `hickle.load` gives Series and DataFrames with the values, types and labels of the tables, to be written to."""
    ours = some_tables()
    save_object(tmp_path / "object.hkl", {"before": 1, **ours, "after": [1, 2]})
    (said,) = run_script(python, SCRIPT, "read", tmp_path / "object.hkl")["found"]
    assert list(said) == ["before", *ours, "after"]
    assert (said["before"], said["after"]) == ({"type": "int"}, {"type": "list"})
    assert {name: unlike(table, said[name]) for name, table in ours.items()} == {name: [] for name in ours}
    assert all(said[name]["writable"] for name in ours)


def test_index_is_of_integers(python: Path, tmp_path: Path) -> None:
    """Rows without labels are counted by pandas; labels of integers stay integers."""
    ours = some_tables()
    save_object(tmp_path / "object.hkl", ours)
    reply = run_script(python, SCRIPT, "read", tmp_path / "object.hkl")
    kinds = {name: each["index kind"] for name, each in reply["found"][0].items()}
    # What PyHipp keeps where a session has no such table, `DataFrame()`, is left to pandas.
    assert kinds.pop("empty") == ("object" if reply["pandas"] == "1.5.3" else "range")
    assert kinds == {name: "range" if ours[name].index is None else "int64" for name in kinds}
    counted = {name for name, each in reply["found"][0].items() if each["columns kind"] == "range"} - {"empty"}
    assert counted == {"counted", "no columns", "no shape, labelled"}, "columns without labels are counted as well"


def test_pandas_are_those_meant() -> None:
    assert run_script(Path(sys.executable), SCRIPT, "read")["pandas"] == pd.__version__ >= "3"
    assert run_script(lab_python(), SCRIPT, "read")["pandas"] == "1.5.3"


@settings(max_examples=200, deadline=None)
@given(table=tables())
def test_round_trip(table: Table) -> None:
    """A table comes back from its pickle, here and in pandas; the values are its own."""
    content = dumps(table)
    again = loads(content)
    assert again is not None
    assert again == table
    assert again.values.flags.writeable
    assert again.values.dtype == table.values.dtype
    assert_is(pickle.loads(content), table)
    assert_is(table.to_pandas(), table)


def assert_is(frame: Any, table: Table) -> None:
    assert type(frame) is (pd.Series if table.columns is None else pd.DataFrame)
    if frame.size:
        assert frame.to_numpy().dtype == table.values.dtype
    np.testing.assert_array_equal(frame.to_numpy(), table.values)
    assert list(frame.index) == list(range(len(table.values)) if table.index is None else table.index)
    labels = [frame.name] if table.columns is None else list(frame.columns)
    assert labels == list((table.name,) if table.columns is None else table.columns)


@settings(max_examples=40, deadline=None)
@given(fields=st.dictionaries(st.sampled_from("abcdef"), tables() | st.none() | st.integers(0, 9)))
def test_round_trip_in_files(fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tables") / "object.hkl"
    save_object(path, fields)
    loaded = load_object(path)
    assert list(loaded.items()) == list(fields.items())


def test_file_is_made_as_pyhipps(tmp_path: Path) -> None:
    """A table lies where hickle puts a pickled object: bytes without a type, with the key's kind and place alone."""
    import h5py

    save_object(tmp_path / "object.hkl", {"first": 1, "eye_pos": Table(np.eye(2), columns=("x", "y"))})
    with h5py.File(tmp_path / "object.hkl") as file:
        node = file['data/"eye_pos"']
        assert (node.dtype, node.ndim, dict(node.attrs)) == (np.uint8, 1, {"key_base_type": "str", "key_idx": 1})
        kinds = [h5py.check_string_dtype(file["data"][key].attrs.get_id("key_base_type").dtype) for key in file["data"]]
        assert len(kinds) == 2
        assert kinds[0] == kinds[1]


def test_bytes_do_not_depend_on_the_layout() -> None:
    values = np.arange(12.0).reshape(4, 3)
    wide = np.empty((4, 6))
    wide[:, ::2] = values
    frozen = values.copy()
    frozen.flags.writeable = False
    layouts = [values, np.asfortranarray(values), wide[:, ::2], values[::-1][::-1], frozen, values.astype(">f8")]
    images = {object_image({"x": Table(each, columns=("a", "b", "c")), "y": Table(each[:, 1])}) for each in layouts}
    assert len(images) == 1


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    program = (
        "import hashlib, numpy as np; from raypipe.io.objects import object_image; from raypipe.io.tables import Table;"
        "table = Table(np.arange(6.0).reshape(3, 2), columns=('a', 0), index=np.array([1, 2, 4]));"
        "print(hashlib.sha256(object_image({'args': {'x': 1}, 'table': table, 'text': 'text'})).hexdigest())"
    )
    said = {
        subprocess.check_output([sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, text=True)
        for seed in ("1", "2")
    }
    table = Table(np.arange(6.0).reshape(3, 2), columns=("a", 0), index=np.array([1, 2, 4]))
    image = object_image({"args": {"x": 1}, "table": table, "text": "text"})
    assert said == {hashlib.sha256(image).hexdigest() + "\n"}


def test_memory(tmp_path: Path) -> None:
    """Saving takes the file's image and a column; loading takes the values twice, then once."""
    values = np.zeros((1_000_000, 4))
    tracemalloc.start()
    try:
        save_object(tmp_path / "object.hkl", {"eye_pos": Table(values, columns=tuple("abcd"))})
        _, saving = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        loaded = load_object(tmp_path / "object.hkl")["eye_pos"]
        after, loading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert loaded.values.shape == values.shape
    assert saving < 1.4 * values.nbytes
    assert loading - before < 2.1 * values.nbytes
    assert after - before < 1.1 * values.nbytes


# What is no table.


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda: Table(np.zeros((2, 2))), r"values are \(2, 2\), and no columns"),
        (lambda: Table(np.zeros(2), columns=("a",)), r"values are \(2,\), and 1 columns"),
        (lambda: Table(np.zeros((2, 2)), columns=("a",)), "1 columns are named"),
        (lambda: Table(np.array(["a"])), "values are <U1"),
        (lambda: Table(np.zeros(2, np.complex128)), "complex128"),
        (lambda: Table(np.zeros(2, np.longdouble)), "up to 64 bits"),
        (lambda: Table(np.zeros((2, 1)), columns=(0.5,)), "label 0.5 is a float"),
        (lambda: Table(np.zeros((2, 1)), columns=(True,)), "label True is a bool"),
        (lambda: Table(np.zeros((2, 1)), columns=("a",), name="a"), "columns and a name"),
        (lambda: Table(np.zeros(2), index=np.zeros(3, np.int64)), r"index is int64 \(3,\) for 2 rows"),
        (lambda: Table(np.zeros(2), index=np.zeros(2)), "index is float64"),
    ],
)
def test_what_no_table_can_be(made: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        made()


def test_equality() -> None:
    table = Table(np.array([1.0, np.nan]), name="time")
    assert table == Table(np.array([1.0, np.nan]), name="time", index=np.arange(2))
    for other in [
        Table(np.array([1.0, np.nan])),
        Table(np.array([1.0, 2.0]), name="time"),
        Table(np.array([1.0, np.nan], np.float32), name="time"),
        Table(np.array([1.0, np.nan]), name="time", index=np.array([0, 2])),
        Table(np.array([1.0]), name="time"),
        Table(np.array([[1.0], [np.nan]]), columns=("time",)),
        "table",
    ]:
        assert table != other


@pytest.mark.parametrize(
    "wrapped", [{"inner": empty_frame()}, [empty_frame()], (1, empty_frame()), {"a": [[empty_frame()]]}]
)
def test_tables_inside_others_are_refused(wrapped: Any) -> None:
    with pytest.raises(UsageError, match="field of its own"):
        object_image({"field": wrapped})
    with pytest.raises(UsageError, match="field of its own"):
        object_image({"field": [Pickled(b"N.")]})


@pytest.mark.parametrize("name", ["a/b", "a\\b"])
def test_names_that_hickle_keeps_apart_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        object_image({name: empty_frame()})


def test_other_pickles_are_kept_as_they_are(tmp_path: Path) -> None:
    """What is no table comes as its pickle, and is a pickle again when it is saved."""
    content = pickle.dumps({"x": np.arange(3), "y": slice(1, 2)}, 4)
    save_object(tmp_path / "object.hkl", {"a": 1, "other": Pickled(content), "b": 2})
    loaded = load_object(tmp_path / "object.hkl")
    assert loaded == {"a": 1, "other": content, "b": 2}
    assert type(loaded["other"]) is Pickled
    save_object(tmp_path / "again.hkl", loaded)
    assert (tmp_path / "again.hkl").read_bytes() == (tmp_path / "object.hkl").read_bytes()


class Harm:
    """Its pickle makes a file when it is loaded; so does its state."""

    def __init__(self, path: Path, call: Any = Path.touch) -> None:
        self.path, self.call = path, call

    def __reduce__(self) -> Any:
        return self.call, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    """A pickle that would do something when it is loaded does nothing, alone or inside what looks like a table."""
    harm = Harm(tmp_path / "harmed")
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs["harm"] = harm
    for number, value in enumerate([harm, frame, pd.Series([harm, 1], dtype=object), [frame, harm]]):
        content = pickle.dumps(value, protocol)
        save_object(tmp_path / "object.hkl", {"value": Pickled(content)})
        assert load_object(tmp_path / "object.hkl") == {"value": content}
        assert not (tmp_path / "harmed").exists()
        pickle.loads(content)
        assert (tmp_path / "harmed").exists(), f"the pickle {number} does no harm anyway"
        (tmp_path / "harmed").unlink()


def test_nothing_is_imported(tmp_path: Path) -> None:
    """Without pandas tables are saved and loaded all the same; only `to_pandas` cannot be had, and says so."""
    save_object(tmp_path / "object.hkl", {"table": Table(np.arange(3))})
    program = (
        "import sys; sys.modules['pandas'] = None\n"
        "from pathlib import Path; from raypipe.io.objects import load_object, save_object\n"
        f"path = Path({str(tmp_path / 'object.hkl')!r})\n"
        "fields = load_object(path); save_object(path, fields); print(load_object(path) == fields)\n"
        "try: fields['table'].to_pandas()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()
    assert said[:2] == ["True", "UsageError pandas is not installed here"]


def pickles() -> list[bytes]:
    frame = pd.DataFrame({"a": [1.0, 2.0], 0: [3.0, 4.0]}, index=[4, 6])
    ours = Table(np.array([[1, 2], [3, 4]], np.uint16), columns=("a", 0), index=np.array([3, 4]))
    return [dumps(ours), *(pickle.dumps(each, protocol) for each in (frame, frame["a"]) for protocol in (4, 5))]


def test_cut_pickles_are_no_tables() -> None:
    for content in pickles():
        assert loads(content) is not None
        assert all(loads(content[:end]) is None for end in range(len(content)))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_pickles_raise_nothing(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(pickles())))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = loads(bytes(content))
    assert found is None or isinstance(found, Table)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N.",
        b"cpandas\nDataFrame\n.",
        b"cpandas\nDataFrame\nN\x86R.",
        b"(" * 1000,
        b"\x80\x04" + b"]" + b"\x94h\x00a" * 3 + b".",
        b"cpandas\nDataFrame\n(cnumpy\nzeros\n((I0\nI3000000\ntX\x03\x00\x00\x00<f8tRNNtR.",
        b"cpandas\nDataFrame\n(cnumpy\nzeros\n((I3000000\nI1\ntX\x03\x00\x00\x00<f8tRNNtR.",
        b"r\xff\xff\xff\xff.",
        b"Nr\xff\xff\xff\xff0.",
        b"\x8e" + b"\xff" * 8,
    ],
)
def test_odd_pickles_are_no_tables(content: bytes) -> None:
    """Among them such as take all memory when they are unpickled, or as tables."""
    assert loads(content) is None


# Written by pandas.


def test_tables_of_pandas_are_read(python: Path, tmp_path: Path) -> None:
    """What either pandas saves is read as it is; what is no table of numbers of one type stays a pickle."""
    said = run_script(python, SCRIPT, "write", tmp_path)["found"]
    loaded = load_object(tmp_path / "tables.hkl")
    assert len(said) > 15
    assert {name: unlike(loaded[name], said[name]) for name in said} == {name: [] for name in said}
    others = loaded.keys() - said.keys()
    assert others == {"mixed", "texts", "days", "named", "float_labels", "a_slice", "labels"}
    assert {type(loaded[name]) for name in others} == {Pickled}


def test_all_ways_of_pickling_are_read(python: Path, tmp_path: Path) -> None:
    """Pickle protocols 3 to 5, and the state that managers of DataFrames had before pandas 1.3."""
    said = run_script(python, SCRIPT, "write", tmp_path)["found"]
    files = sorted(tmp_path.glob("*.pickle"))
    assert len(files) == 4 * len(said)
    found = {file.name: unlike(loads(file.read_bytes()), said[file.name.split(".")[0]]) for file in files}
    assert found == {file.name: [] for file in files}


def test_columns_in_any_order() -> None:
    """The columns of a block may be any of the frame's, in any order."""
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=["a", "b", "c"])
    content = pickle.dumps(frame, 3)
    placed = b"cbuiltins\nslice\n" if b"cbuiltins\nslice\n" in content else b"c__builtin__\nslice\n"
    before = content.index(b"K\x00K\x03K\x01\x87", content.index(placed))
    turned = content[:before] + b"K\x02NJ\xff\xff\xff\xff\x87" + content[before + 7 :]
    found, theirs = loads(turned), pickle.loads(turned)
    assert found is not None
    assert theirs["a"].tolist() == [2.0, 5.0]
    assert [theirs[label].tolist() for label in found.columns or ()] == found.values.T.tolist()


def test_pyhipps_tables() -> None:
    """Pickles of PyHipp's own tables, of hickle 5 and of hickle 4, are what pandas 1.5.3 makes of them."""
    loaded = load_object(DATA / "golden_tables.hkl")
    assert len(loaded) > 15
    found = {name: unlike(table, EXTRACT[name.removeprefix("hickle4 ")]) for name, table in loaded.items()}
    assert found == {name: [] for name in loaded}


def test_pyhipps_tables_for_todays_pandas(tmp_path: Path) -> None:
    """Saved again, they load with today's pandas, which cannot load PyHipp's own where rows have labels."""
    loaded = load_object(DATA / "golden_tables.hkl")
    save_object(tmp_path / "object.hkl", loaded)
    (said,) = run_script(Path(sys.executable), SCRIPT, "read", tmp_path / "object.hkl")["found"]
    assert {name: unlike(table, said[name]) for name, table in loaded.items()} == {name: [] for name in loaded}
    (before,) = run_script(Path(sys.executable), SCRIPT, "read", DATA / "golden_tables.hkl")["found"]
    assert before["sessioneye calib_fix_event"]["type"] == "RecoveredDataset"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
def test_pyhipps_files() -> None:
    """Every table of the golden day, of hickle 5 and of hickle 4, is what the lab's pandas makes of it."""
    day = GOLDEN / "picasso" / "20181105"
    theirs = {
        day / "session01" / "eyelink_24d5.hkl": GOLDEN / "hickle4" / "eyelink_24d5.hkl",
        day / "sessioneye" / "eyelink_24d5.hkl": GOLDEN / "hickle4" / "eye_eyelink_24d5.hkl",
        day / "session01" / "umaze_fd09.hkl": GOLDEN / "hickle4" / "umaze_fd09.hkl",
        GOLDEN / "prealign" / "eyelink_24d5.hkl": None,
        GOLDEN / "prealign" / "umaze_fd09.hkl": None,
    }
    n_tables = 0
    for (path, older), said in zip(
        theirs.items(), run_script(lab_python(), SCRIPT, "read", *theirs)["found"], strict=True
    ):
        for each in [path, older] if older else [path]:
            loaded = load_object(each)
            frames = {name: one for name, one in said.items() if one["type"] in ("Series", "DataFrame")}
            assert list(loaded) == list(said)
            assert {name: unlike(loaded[name], frames[name]) for name in frames} == {name: [] for name in frames}
            assert not [name for name, value in loaded.items() if isinstance(value, Pickled)]
            n_tables += len(frames)
    assert n_tables == 2 * (12 + 13 + 1) + 12 + 1

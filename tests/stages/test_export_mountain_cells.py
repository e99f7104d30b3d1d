"""Cells: no spike is lost or doubled, the same unit is the same cell everywhere, and the files are PyHipp's."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raypipe.errors import FormatError, InputMissing
from raypipe.io.mda import mda_bytes, parse_mda
from raypipe.io.objects import load_object, normalised_dir, object_image, object_name
from raypipe.io.text_lists import BYTES_PER_TEXT, object_image_with_texts
from raypipe.outcome import cells_in
from raypipe.stages.export_mountain_cells import (
    Cells,
    cells_of,
    spiketrain_bytes,
    spiketrain_csv,
    spiketrain_image,
    spiketrain_object,
)
from raypipe.stages.mountain_files import (
    FIRINGS,
    METRICS,
    START_INDICES,
    TEMPLATES,
    TEMPLATES_MDA,
    Joined,
    cell_name,
    checked_firings,
    firings_mda,
    metrics_json,
    read_firings,
    read_metrics,
    read_start_indices,
    read_templates,
    start_indices_csv,
    templates_hkl,
    templates_mda,
)
from tests.lab_environment import lab_python, run_script

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "picasso/20181105"
golden_day = pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
EXTRACT = np.load(Path(__file__).parents[1] / "data" / "golden_mountains.npz")
N_GOLDEN = 660_000
WHERE = "picasso/20181105/session01/array01/channel009/cell01"


def firings(samples: Any, labels: Any) -> NDArray[np.float64]:
    samples = np.asarray(samples, np.float64)
    return np.stack([np.ones_like(samples), samples, np.broadcast_to(np.asarray(labels, np.float64), samples.shape)])


# PyHipp's own cells.


def assert_pyhipps(ours: bytes, theirs: bytes, *, missing: int) -> None:
    """PyHipp's row is ours but for the last spike of a session, which it loses in the unit that fired it."""
    row, expected = ours.removesuffix(b"\r\n").split(b","), theirs.removesuffix(b"\r\n").split(b",")
    assert ours.endswith(b"\r\n") and theirs.endswith(b"\r\n")
    assert row[: len(expected)] == expected
    assert len(row) - len(expected) == missing


def test_the_extract_is_exported_as_pyhipp_did() -> None:
    spikes = parse_mda(EXTRACT["firings_mda"].tobytes(), "firings.mda")
    cells = cells_of(spikes, [1, 540001], ["session01", "sessioneye"], N_GOLDEN)
    for session, missing in (("session01", {1: 0, 2: 1}), ("sessioneye", {1: 0, 2: 0})):
        assert list(cells[session]) == [1, 2]
        for label, times in cells[session].items():
            theirs = EXTRACT[f"{session}_{cell_name(label)}"].tobytes()
            assert_pyhipps(spiketrain_csv(times), theirs, missing=missing[label])
    assert sum(len(times) for units in cells.values() for times in units.values()) == 713


@golden_day
@pytest.mark.parametrize("channel", ["channel009", "channel120"])
def test_golden_cells(channel: str) -> None:
    mountains = GOLDEN / "mountains" / channel
    joined = read_start_indices(mountains / START_INDICES)
    spikes = read_firings(mountains / FIRINGS)
    cells = cells_of(spikes, joined.starts, joined.names, N_GOLDEN)
    missing = 0
    for session, units in cells.items():
        (folder,) = GOLDEN.glob(f"{session}/array*/{channel}")
        assert [path.name for path in cells_in(folder)] == [cell_name(label) for label in units]
        for label, times in units.items():
            cell = folder / cell_name(label)
            lost = int(session == "session01" and times.max() == max(each.max() for each in units.values()))
            missing += lost
            assert_pyhipps(spiketrain_csv(times), (cell / "spiketrain.csv").read_bytes(), missing=lost)
            kept = times[: len(times) - lost]
            theirs = load_object(cell / object_name("spiketrain", {}))
            assert list(spiketrain_object(kept, normalised_dir(cell))) == list(theirs)
            assert spiketrain_object(kept, normalised_dir(cell)) == theirs
    assert missing == 1
    assert sum(len(times) for units in cells.values() for times in units.values()) == spikes.shape[1]


# Every spike once, where it belongs.


def assert_equal_cells(ours: Cells, theirs: Cells) -> None:
    assert {name: list(units) for name, units in ours.items()} == {name: list(units) for name, units in theirs.items()}
    for name, units in ours.items():
        for label, times in units.items():
            np.testing.assert_array_equal(times, theirs[name][label])


@st.composite
def days(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[int], list[str], int]:
    lengths = draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    starts = [1, *(1 + np.cumsum(lengths)[:-1]).tolist()]
    total = sum(lengths)
    spikes = draw(
        st.lists(st.tuples(st.integers(0, max(total - 1, 0)), st.integers(1, 120)), max_size=60 if total else 0)
    )
    if draw(st.booleans()):
        spikes.sort()
    samples, labels = zip(*spikes, strict=True) if spikes else ((), ())
    return firings(samples, labels), starts, [f"session{k:02d}" for k in range(len(lengths))], total


@given(days())
def test_spikes_in_are_spikes_out(day: tuple[NDArray[np.float64], list[int], list[str], int]) -> None:
    spikes, starts, names, total = day
    cells = cells_of(spikes, starts, names, total)
    assert list(cells) == names
    assert_equal_cells(cells_of(spikes, starts, names), cells)
    back = []
    for start, end, name in zip(starts, [*starts[1:], total + 1], names, strict=True):
        assert list(cells[name]) == sorted(cells[name])
        for label, times in cells[name].items():
            assert times.size and (np.diff(times) >= 0).all() and times.dtype == np.float64
            assert times[0] >= 0 and times[-1] * 30 < end - start - 0.5
            assert spiketrain_csv(times).count(b",") == times.size - 1
            back += [(sample, label) for sample in (np.rint(times * 30) + start - 1).tolist()]
    assert sorted(back) == sorted(zip(spikes[1].tolist(), spikes[2].tolist(), strict=True))


def test_the_borders_of_sessions() -> None:
    cells = cells_of(firings([0, 99, 100, 299, 300, 301], 1), [1, 101, 301], ["a", "b", "c"], 302)
    assert {name: np.rint(30 * units[1]).tolist() for name, units in cells.items()} == {
        "a": [0, 99],
        "b": [0, 199],
        "c": [0, 1],
    }


def test_one_number_for_one_unit() -> None:
    """Unit 2 fires in the last session only, and nobody in the middle one."""
    cells = cells_of(firings([10, 20, 250, 260], [1, 3, 3, 2]), [1, 101, 201], ["a", "b", "c"], 300)
    assert {name: list(units) for name, units in cells.items()} == {"a": [1, 3], "b": [], "c": [2, 3]}
    assert [cell_name(label) for label in (1, 12, 123)] == ["cell01", "cell12", "cell123"]
    empty = cells_of(firings([], []), [1, 101], ["a", "b"], 300)
    assert empty == {"a": {}, "b": {}}


def test_a_series_whose_end_is_not_known() -> None:
    """PyHipp's `mountains` does not tell it: what comes after the last session's first sample is of that session."""
    cells = cells_of(firings([99, 100, 10**9], 1), [1, 101], ["a", "b"])
    assert {name: np.rint(30 * units[1]).tolist() for name, units in cells.items()} == {
        "a": [99],
        "b": [0, 10**9 - 100],
    }
    for sample in (-1, np.nan, np.inf):
        with pytest.raises(FormatError, match=rf"channel009: spike 1 is at sample {sample}\n"):
            cells_of(firings([5, sample], 1), [1], ["a"], where="channel009")
    with pytest.raises(FormatError, match=r"begin at \[1, 9, 5\] are none of a series\n"):
        cells_of(firings([5], 1), [1, 9, 5], ["a", "b", "c"])


def test_times_of_another_rate() -> None:
    assert cells_of(firings([250], 1), [1, 201], ["a", "b"], 300, rate_hz=1000)["b"][1].tolist() == [50.0]


@pytest.mark.parametrize(
    ("spikes", "starts", "names", "message"),
    [
        (firings([300], 1), [1], ["a"], r"spike 0 is at sample 300 of 300"),
        (firings([5, -1], 1), [1], ["a"], r"spike 1 is at sample -1"),
        (firings([np.nan], 1), [1], ["a"], r"at sample nan"),
        (firings([5], 0), [1], ["a"], r"spike 0 has the label 0"),
        (firings([5, 6], [1, 1.5]), [1], ["a"], r"spike 1 has the label 1\.5"),
        (firings([5], np.inf), [1], ["a"], r"label inf"),
        (np.zeros((2, 4)), [1], ["a"], r"firings of shape \(2, 4\)"),
        (firings([5], 1), [1, 5], ["a"], r"2 first samples of the sessions \['a'\]"),
        (firings([5], 1), [1, 5], ["a", "a"], "first samples"),
        (firings([5], 1), [], [], "first samples"),
        (firings([5], 1), [0], ["a"], r"begin at \[0\]"),
        (firings([5], 1), [1, 9, 5], ["a", "b", "c"], "begin at"),
        (firings([5], 1), [1, 302], ["a", "b"], "none of a series of 300"),
    ],
)
def test_what_is_no_sorting(spikes: Any, starts: list[int], names: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        cells_of(spikes, starts, names, 300, where="channel009")
    assert "channel009" in str(caught.value) and caught.value.hint


# The cells' files.


def test_the_object_is_as_hickle_writes_it(tmp_path: Path) -> None:
    times = np.array([0.0, 1 / 3, 19.833333333333336, 100.0, 4999999.966666667])
    fields = spiketrain_object(times, WHERE)
    assert fields["spiketimes"] == [["0.0", "0.3333333333333333", "19.833333333333336", "100.0", "4999999.966666667"]]
    path = tmp_path / "spiketrain.hkl"
    path.write_bytes(spiketrain_image(fields))
    assert load_object(path) == fields
    assert hickle.load(path) == fields
    (tmp_path / "hickle.hkl").write_bytes(object_image(fields))
    assert structure(path) == structure(tmp_path / "hickle.hkl")
    assert spiketrain_image(fields) == path.read_bytes()


@pytest.mark.parametrize("n", [0, 1, 2, 8, 9, 256, 257])  # 8 texts are a leaf of the group's index, 32 leaves a node
def test_lists_of_texts_of_any_length(tmp_path: Path, n: int) -> None:
    fields = {"args": {}, "texts": [[str(k) for k in range(n)]], "dirs": ["0", "text"]}
    path, hickles = tmp_path / "texts.hkl", tmp_path / "hickle.hkl"
    path.write_bytes(object_image_with_texts(fields, "texts"))
    assert load_object(path) == fields
    assert hickle.load(path) == fields
    hickles.write_bytes(object_image({**fields, "dirs": [" 0", " text"]}))
    path.write_bytes(object_image_with_texts({**fields, "dirs": [" 0", " text"]}, "texts"))
    assert structure(path) == structure(hickles)


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=40), max_size=40))
def test_lists_of_any_short_texts(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("texts") / "texts.hkl"
    path.write_bytes(object_image_with_texts({"a": 1, "texts": [texts]}, "texts"))
    assert load_object(path) == {"a": 1, "texts": [texts]}


def test_a_long_list_can_be_searched_and_added_to(tmp_path: Path) -> None:
    """HDF5's library finds every text by its name, and can put others between them: the index is whole, of 3 levels."""
    import h5py

    n, path = 9000, tmp_path / "texts.hkl"
    path.write_bytes(object_image_with_texts({"texts": [[f"{k}!" for k in range(n)]]}, "texts"))
    assert path.stat().st_size < (BYTES_PER_TEXT + 5) * n
    with h5py.File(path, "r+") as file:
        group = file['data/"texts"/data0']
        assert list(group) == sorted(f"data{k}" for k in range(n))
        for k in range(0, n, 7):
            node = group[f"data{k}"]
            assert (node[()].tobytes().decode(), node.attrs["item_index"]) == (f"{k}!", k)
        assert all(name not in group for name in ("data", "data9000", "data00", "datb"))
        for k in range(n, n + 1000):
            group.create_dataset(f"data{k}", data=k)
    with h5py.File(path) as file:
        assert list(file['data/"texts"/data0']) == sorted(f"data{k}" for k in range(n + 1000))


def test_a_cell_takes_no_more_memory_than_stated() -> None:
    # What the system notes for a process may be its parent's; VmHWM is its own.
    script = """
import re
from pathlib import Path
import numpy as np
from raypipe.stages.export_mountain_cells import spiketrain_image, spiketrain_object
def most():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
spiketrain_image(spiketrain_object(np.arange(9.0), "cell01"))
before = most()
spiketrain_image(spiketrain_object(np.arange(20_000) / 3, "cell01"))
print(most() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    taken = int(done.stdout.splitlines()[-1])
    assert 0.5 * spiketrain_bytes(20_000) < taken < spiketrain_bytes(20_000)


@pytest.mark.parametrize("texts", [[""], [1.0], ["a", "µ"], ["a" * 1001]])
def test_what_is_no_list_of_texts(texts: Any) -> None:
    with pytest.raises(ValueError, match="texts is no list of short ASCII texts"):
        object_image_with_texts({"texts": [texts]}, "texts")
    assert len(object_image_with_texts({"texts": [["a" * 1000]]}, "texts"))


def test_the_lab_reads_it(tmp_path: Path) -> None:
    fields = spiketrain_object(np.arange(1, 41) / 3, WHERE)
    (tmp_path / "spiketrain.hkl").write_bytes(spiketrain_image(fields))
    templates = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    (tmp_path / "templates.hkl").write_bytes(templates_hkl(templates))
    script = tmp_path / "read.py"
    script.write_text(
        "import hickle, json, sys\n"
        "t = hickle.load(sys.argv[2])\n"
        "print(json.dumps([hickle.load(sys.argv[1]), t.tolist(), str(t.dtype)]))\n"
    )
    found = run_script(lab_python(), script, tmp_path / "spiketrain.hkl", tmp_path / "templates.hkl")
    assert found == [fields, templates.tolist(), "float32"]


def structure(path: Path) -> list[Any]:
    """All nodes of a file with their types, shapes, values and attributes."""
    import h5py

    found: list[Any] = []
    with h5py.File(path) as file:

        def visit(name: str, node: Any) -> None:
            marks = {
                key: file[value].name
                if isinstance(value, h5py.Reference)
                else (value, str(node.attrs.get_id(key).dtype))
                for key, value in node.attrs.items()
            }
            value = (
                (str(node.dtype), node.shape, node[()].tobytes() if node.shape else str(node[()]))
                if isinstance(node, h5py.Dataset)
                else ()
            )
            found.append((name, marks, value))

        file.visititems(visit)
    return found


# The files of mountains.


def test_pyhipps_mountains(tmp_path: Path) -> None:
    for name in (START_INDICES, FIRINGS, TEMPLATES_MDA, TEMPLATES, METRICS):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(EXTRACT[path.name.replace(".", "_")].tobytes())
    joined = read_start_indices(tmp_path / START_INDICES)
    assert joined == Joined((1, 540001), ("session01", "sessioneye"))
    assert start_indices_csv(joined.starts, joined.names) == (tmp_path / START_INDICES).read_bytes()
    assert start_indices_csv(np.array([1, 540001]), joined.names) == (tmp_path / START_INDICES).read_bytes()  # type: ignore[arg-type]
    assert firings_mda(read_firings(tmp_path / FIRINGS)) == (tmp_path / FIRINGS).read_bytes()
    templates = read_templates(tmp_path / TEMPLATES)
    assert templates_mda(templates) == (tmp_path / TEMPLATES_MDA).read_bytes()
    (tmp_path / "ours.hkl").write_bytes(templates_hkl(templates))
    assert structure(tmp_path / "ours.hkl") == structure(tmp_path / TEMPLATES)
    assert metrics_json({"clusters": []}) == (tmp_path / METRICS).read_bytes()
    assert read_metrics(tmp_path / METRICS) == {"clusters": []}


@pytest.mark.parametrize("n_units", [0, 1, 3])
def test_templates_there_and_back(tmp_path: Path, n_units: int) -> None:
    templates = np.random.default_rng(0).normal(size=(1, 150, n_units)).astype(np.float32)
    (tmp_path / "templates.hkl").write_bytes(templates_hkl(templates))
    np.testing.assert_array_equal(read_templates(tmp_path / "templates.hkl"), templates)
    np.testing.assert_array_equal(hickle.load(tmp_path / "templates.hkl"), templates)
    np.testing.assert_array_equal(parse_mda(templates_mda(templates), "it"), templates)
    assert templates_hkl(templates) == templates_hkl(np.asfortranarray(templates))


def test_metrics(tmp_path: Path) -> None:
    metrics = {
        "clusters": [
            {"label": np.int64(2), "metrics": {"num_events": np.int64(3), "isolation": np.nan}, "tags": ["mua"]},
            {"label": 1, "metrics": {"peak_snr": np.float64(5.5), "is_noise": np.bool_(True)}},
        ]
    }
    path = tmp_path / "metrics.json"
    path.write_bytes(metrics_json(metrics))
    assert path.read_bytes() == (
        b'{"clusters": [{"label": 1, "metrics": {"peak_snr": 5.5, "is_noise": true}}, '
        b'{"label": 2, "metrics": {"num_events": 3, "isolation": null}, "tags": ["mua"]}]}'
    )
    assert metrics_json(read_metrics(path)) == path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        *("", "1,[1]", "1,[1]\n2,['a', 'b']", "1,[1]\n3,['a']", "1,[1.5]\n2,['a']", "1,1\n2,['a']", "1,[1\n2,['a']"),
        *(
            "1,[1]\n2,[a]",
            "1,[1]\n2,['a']\n3,[]",
            "1,[__import__('os')]\n2,['a']",
            "1,[True]\n2,['a']",
            "1," + "(" * 10_000 + "\n2,1",
        ),
    ],
)
def test_start_indices_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "start_indices.csv").write_text(text)
    with pytest.raises(FormatError, match=r"start_indices\.csv does not say"):
        read_start_indices(tmp_path / "start_indices.csv")


def test_files_that_are_damaged_or_not_there(tmp_path: Path) -> None:
    for read in (read_start_indices, read_firings, read_templates, read_metrics):
        with pytest.raises(InputMissing, match="is not there"):
            read(tmp_path / "nothing")
    path = tmp_path / "damaged"
    path.write_bytes(b"\xff\xfe{")
    for read in (read_start_indices, read_firings, read_templates, read_metrics):
        with pytest.raises(FormatError, match="damaged") as caught:
            read(path)
        assert caught.value.hint
    for content in ("[]", '{"clusters": [1]}', '{"clusters": [{"label": 1}]}', '{"clusters": 5}'):
        path.write_text(content)
        with pytest.raises(FormatError, match="no metrics"):
            read_metrics(path)
    hickle.dump({"a": 1}, path)
    with pytest.raises(FormatError, match="holds a dict"):
        read_templates(path)
    hickle.dump(np.zeros((150, 2)), path)
    with pytest.raises(FormatError, match=r"shape \(150, 2\)"):
        read_templates(path)
    path.write_bytes(mda_bytes(np.zeros((3, 2))))
    with pytest.raises(FormatError, match="label 0"):
        read_firings(path)
    with pytest.raises(FormatError, match="templates of type int64"):
        templates_mda(np.zeros((1, 150, 2), np.int64))
    assert checked_firings(np.ones((5, 2)), "more rows than three").shape == (3, 2)

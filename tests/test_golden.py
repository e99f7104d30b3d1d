"""What raypipe makes of a recording is what PyHipp made of it, sample by sample and field by field.

One channel's counts, PyHipp's samples of it and PyHipp's fields are committed. PyHipp's whole golden day (16 channels in
2 sessions) is run where it is at hand. Both comparisons are shown to see one sample's shift and another padding.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import raypipe
from raypipe.actors import FilterActor, Reader
from raypipe.io.nev import NevFilter
from raypipe.io.nev_writer import write_nev
from raypipe.io.nsx_header import NsxChannel
from raypipe.io.nsx_writer import NsxWriter
from raypipe.io.publish import rename_synced
from raypipe.passes import channel_passes
from raypipe.stages.channel import ChannelStage
from raypipe.stages.rplhighpass import RplHighPass
from raypipe.stages.rpllfp import RplLfp
from tests.compare import RIPPLE, high_pass

pytestmark = pytest.mark.filterwarnings("ignore::hickle.lookup.SerializedWarning")

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
DAY = GOLDEN / "picasso" / "20181105"
golden_day = pytest.mark.skipif(not DAY.is_dir(), reason="PyHipp's golden day is not beside the repository")

EXTRACT = np.load(Path(__file__).parent / "data" / "golden_channel009_sessioneye.npz")
EXTRACT_PRINTS = json.loads((Path(__file__).parent / "data" / "golden_channel009_sessioneye.json").read_text())
"""PyHipp's fields of the same channel: arrays as shape, type, SHA-1, first and last values, and sums."""

KINDS = ("rplraw", "rpllfp", "rplhighpass")
FILTERED = ("rpllfp", "rplhighpass")
EDGE_SAMPLES = 24
TILES = (1, 29, 7_001, 511, 30_001, 45_013)


# What is compared, and how far it may be off.


def kind_of(path: Path | str) -> str:
    return Path(path).name.partition("_")[0]


def tolerance(path: str, fingerprint: Mapping[str, Any]) -> float:
    """What a sample of the object may be off, in µV: LFP 5e-6 of its largest value, high-pass 1e-5, all else nothing."""
    if kind_of(path) == "rpllfp":
        info = fingerprint["analogInfo"]
        return 5e-6 * float(max(abs(info["MinVal"]), abs(info["MaxVal"])))
    return 1e-5 if kind_of(path) == "rplhighpass" else 0.0


def sha1(array: NDArray[Any]) -> str:
    return hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()


def unlike_samples(ours: NDArray[Any], theirs: NDArray[Any], allowed: float) -> Iterator[str]:
    """Say what differs between two arrays: type, shape, or any value by more than `allowed`."""
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        yield f"{ours.dtype} {ours.shape} is not {theirs.dtype} {theirs.shape}"
        return
    off = np.abs(ours.astype(np.float64) - theirs)
    if not np.all(off <= allowed):
        n_off = np.count_nonzero(~(off <= allowed))
        yield f"{n_off} values differ, the worst by {off.max():.3g} at {off.argmax()}; {allowed:.3g} is allowed"


def unlike_print(ours: NDArray[Any], fingerprint: Mapping[str, Any], allowed: float) -> Iterator[str]:
    """Say what differs between an array and a fingerprint.

    The sums may be off by what n values that are off by d allow: n d, and 2 d Σ|x| + n d² (Σ|x| ≤ √(n Σx²)).
    """
    if [str(ours.dtype), list(ours.shape)] != [fingerprint["dtype"], fingerprint["shape"]]:
        yield f"{ours.dtype} {ours.shape} is not {fingerprint['dtype']} {fingerprint['shape']}"
        return
    if not allowed:
        if sha1(ours) != fingerprint["sha1"]:
            yield f"SHA-1 {sha1(ours)} is not {fingerprint['sha1']}"
        return
    values = ours.astype(np.float64).ravel()
    found = {
        "nan": (np.count_nonzero(np.isnan(values)), 0.0),
        "head": (values[:8], allowed),
        "tail": (values[-8:], allowed),
        "sum": (values.sum(), values.size * allowed),
        "sumsq": (
            values @ values,
            2 * allowed * np.sqrt(values.size * fingerprint["sumsq"]) + values.size * allowed**2,
        ),
    }
    for name, (value, may_be_off) in found.items():
        off = np.abs(value - np.array(fingerprint[name])).max()
        if not off <= may_be_off:
            yield f"{name} is off by {off:.3g}; {may_be_off:.3g} is allowed"


def unlike(ours: Mapping[str, Any], fingerprint: Mapping[str, Any], allowed: float) -> Iterator[str]:
    """Say what differs between the fields of an object and PyHipp's: names, order, numbers, text, arrays."""
    if list(ours) != list(fingerprint):
        yield f"fields {list(ours)} are not {list(fingerprint)}"
    for name in ours.keys() & fingerprint.keys():
        value, expected = ours[name], fingerprint[name]
        if isinstance(value, np.ndarray):
            complaints = unlike_print(value, expected, allowed)
        elif isinstance(value, Mapping):
            complaints = unlike(value, expected, allowed)
        elif name in ("MinVal", "MaxVal"):
            off = abs(float(value) - expected)
            complaints = iter([] if off <= allowed else [f"off by {off:.3g}; {allowed:.3g} is allowed"])
        else:
            complaints = iter([] if plain(value) == expected else [f"{plain(value)!r} is not {expected!r}"])
        yield from (f"{name}: {complaint}" for complaint in complaints)


def plain(value: Any) -> Any:
    """Return a value as the fingerprints have it: a Python number, or a list as text."""
    if isinstance(value, list):
        return str([plain(each) for each in value])
    return value.item() if isinstance(value, np.generic) else value


def complaints_about(folder: Path, prints: Mapping[str, Any], kinds: tuple[str, ...]) -> dict[str, list[str]]:
    """Return by path what is unlike PyHipp's among the objects of `kinds` below `folder`."""
    return {
        path: list(unlike(raypipe.load(folder / path), fingerprint, tolerance(path, fingerprint)))
        for path, fingerprint in prints.items()
        if kind_of(path) in kinds
    }


# One committed channel, through everything but Ray.


def write_day(root: Path, counts: NDArray[np.int16]) -> Path:
    """Write a day with a calibration session in which channel 9 is `counts`; other channels lie around it."""
    session = root / "picasso" / "20181105" / "sessioneye"
    session.mkdir(parents=True)
    columns = {
        "raw 40": counts[::-1],
        "analog 1": counts // 3,
        "raw 9": counts,
        "raw 8": -counts,
        "raw 11": counts // 2,
    }
    channels, filters = [], []
    for label in columns:
        number = int(label.split()[1])
        digital, analog, units = (32764, 8191, "uV") if label.startswith("raw") else (32767, 5000, "mV")
        electrode, connector = (number, (number - 1) // 32) if units == "uV" else (10240 + number, 4)
        corners = ("Butterworth", 7500.0, 3, "Butterworth")
        channels.append(
            NsxChannel(
                electrode, label, units, connector, number % 32, -digital, digital, -analog, analog, 0.3, 1, *corners
            )
        )
        filters.append(NevFilter(electrode, 300, 1, "Butterworth", 7_500_000, 3, "Butterworth"))
    with NsxWriter(session / "181105_Block0.ns5", channels, spec="2.2") as writer:
        writer.begin_block(0)
        writer.append(np.column_stack(list(columns.values())).astype(np.int16))
    write_nev(session / "181105_Block0.nev", ticks=[], codes=[], spec="2.2", filters=filters)
    return session.parent


def process(day: Path, output: Path, *, edge_samples: int = EDGE_SAMPLES) -> Path:
    """Make all channels' objects with Ray's workers, but in this process, from tiles of many sizes; return their folder."""
    passes, failures = channel_passes(raypipe.plan_day(day, output=output, skip=["rplparallel"]))
    assert failures == []
    reader, filters = Reader(), FilterActor()
    for each in passes:
        stages = {name: with_edges(stage, edge_samples) for name, stage in each.stages.items()}
        groups = dict(enumerate(each.groups))
        filters.begin(groups, stages, "t")
        for start, stop in tiles(each.source.n_samples):
            tile = reader.read(each.source, start, stop, tuple(group.places for group in each.groups))
            filters.push(tuple(groups), *(tile if isinstance(tile, tuple) else (tile,)))
        for number in groups:
            finished = filters.finish(number)
            assert finished.failures == ()
            for file in finished.written:
                rename_synced(file.temporary, file.path)
    return output / "picasso" / "20181105"


def tiles(n_samples: int) -> Iterator[tuple[int, int]]:
    start = 0
    for size in cycle(TILES):
        if start >= n_samples:
            return
        stop = min(start + size, n_samples)
        yield start, stop
        start = stop


def with_edges(stage: ChannelStage, edge_samples: int) -> ChannelStage:
    """Return the stage with other padding (its own is PyHipp's)."""
    if isinstance(stage, RplLfp | RplHighPass):
        assert stage.bandpass.edge_samples == EDGE_SAMPLES
        return replace(stage, bandpass=replace(stage.bandpass, edge_samples=edge_samples))
    return stage


def unlike_the_extract(folder: Path) -> dict[str, list[str]]:
    """Return by kind what is unlike the committed channel: its fields, then all its samples."""
    theirs = {
        "rplraw": EXTRACT["counts"] * EXTRACT["gain"],
        "rpllfp": EXTRACT["rpllfp"],
        "rplhighpass": EXTRACT["rplhighpass"],
    }
    found = {kind_of(path): said for path, said in complaints_about(folder, EXTRACT_PRINTS, KINDS).items()}
    for path, fingerprint in EXTRACT_PRINTS.items():
        ours = raypipe.load(folder / path)["data"]
        said = unlike_samples(ours, theirs[kind_of(path)], tolerance(path, fingerprint))
        found[kind_of(path)] += [f"samples: {each}" for each in said]
    return found


def sample_complaints(complaints: list[str]) -> list[str]:
    return [each for each in complaints if each.startswith("samples:")]


def test_the_extract_is_pyhipps() -> None:
    """The committed samples are bit for bit those whose fingerprints PyHipp's own run left."""
    samples = {kind: EXTRACT[kind] for kind in FILTERED} | {"rplraw": EXTRACT["counts"] * EXTRACT["gain"]}
    prints = {kind_of(path): fingerprint["data"]["sha1"] for path, fingerprint in EXTRACT_PRINTS.items()}
    assert {kind: sha1(each) for kind, each in samples.items()} == prints


def test_a_channel_is_pyhipps(tmp_path: Path) -> None:
    """Read from a recording in tiles, filtered, written and loaded, channel 9 is PyHipp's in samples and fields."""
    made = process(write_day(tmp_path / "in", EXTRACT["counts"]), tmp_path / "out")
    assert unlike_the_extract(made) == {kind: [] for kind in KINDS}


def test_one_sample_too_late_is_seen(tmp_path: Path) -> None:
    """Negative control: the same recording, one sample later, is told from PyHipp's in all three objects."""
    made = process(write_day(tmp_path / "in", np.roll(EXTRACT["counts"], 1)), tmp_path / "out")
    found = unlike_the_extract(made)
    for kind in KINDS:
        assert sample_complaints(found[kind])
        assert len(found[kind]) > len(sample_complaints(found[kind])), "the fingerprint alone sees it too"


@pytest.mark.parametrize("edge_samples", [23, 25, 27])
def test_another_padding_is_seen(tmp_path: Path, edge_samples: int) -> None:
    """Negative control: one sample more or less at the edges, or scipy's default of 27, shows in both filtered objects."""
    made = process(write_day(tmp_path / "in", EXTRACT["counts"]), tmp_path / "out", edge_samples=edge_samples)
    found = unlike_the_extract(made)
    assert found["rplraw"] == []
    for kind in FILTERED:
        assert sample_complaints(found[kind])
        assert len(found[kind]) > len(sample_complaints(found[kind])), "the fingerprint alone sees it too"


# PyHipp's whole day, on Ray.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What one run on Ray makes of the golden day; not to be changed."""
    output = tmp_path_factory.mktemp("golden")
    report = raypipe.run_day(DAY, output=output, only=RIPPLE)
    assert report.exit_code == 0
    yield output / "picasso" / "20181105"
    shutil.rmtree(output)


@pytest.fixture(scope="module")
def prints() -> dict[str, Any]:
    """PyHipp's fingerprints of the kinds that raypipe makes, by path."""
    every = json.loads((GOLDEN / "fingerprints.json").read_text())
    return {path: every[path] for path in every if kind_of(path) in (*KINDS, "rplparallel")}


@golden_day
def test_the_days_objects_are_pyhipps(made: Path, prints: dict[str, Any]) -> None:
    """Raypipe makes an object for each of PyHipp's and no other, under the same name."""
    assert {path.relative_to(made).as_posix() for path in made.rglob("*.hkl")} == prints.keys()
    assert len(prints) == 2 + 2 * 8 * 3


@golden_day
@pytest.mark.parametrize("kind", KINDS)
def test_the_days_channels_are_pyhipps(made: Path, prints: dict[str, Any], kind: str) -> None:
    """Every channel has PyHipp's fields; its raw data are PyHipp's exactly, the filtered ones as far as a print tells."""
    found = complaints_about(made, prints, (kind,))
    assert found == {path: [] for path in prints if kind_of(path) == kind}
    assert len(found) == 16


@golden_day
def test_the_days_markers_are_pyhipps(made: Path, prints: dict[str, Any]) -> None:
    """Markers are PyHipp's exactly, but for the one index that PyHipp rounds down (see tests/io/test_golden_objects.py)."""
    n_mended = 0
    for session in ("session01", "sessioneye"):
        path = f"{session}/rplparallel_d41d.hkl"
        ours, theirs = raypipe.load(made / path), raypipe.load(DAY / path)
        rounded_down = np.floor(ours["timeStamps"] * 30000).astype(np.int64)
        n_mended += int(np.count_nonzero(ours["trialIndices"] != rounded_down))
        np.testing.assert_array_equal(ours["trialIndices"], np.rint(ours["timeStamps"] * 30000))
        assert ours["trialIndices"].dtype == np.int64
        assert list(unlike(ours | {"trialIndices": rounded_down}, prints[path], 0)) == []
        assert types_of(ours) == types_of(theirs)
    assert n_mended == 1


@golden_day
@pytest.mark.parametrize("kind", KINDS)
def test_all_samples_of_pyhipps_files(made: Path, prints: dict[str, Any], kind: str) -> None:
    """Where PyHipp's file itself is there, every sample is within the tolerance, and every field of the same type."""
    paths = [path for path in prints if kind_of(path) == kind and (DAY / path).exists()]
    assert len(paths) == {"rplraw": 2, "rpllfp": 16, "rplhighpass": 2}[kind]
    for path in paths:
        ours, theirs = raypipe.load(made / path), raypipe.load(DAY / path)
        assert list(unlike_samples(ours["data"], theirs["data"], tolerance(path, prints[path]))) == [], path
        assert types_of(ours) == types_of(theirs), path


@golden_day
def test_all_samples_of_every_high_pass(made: Path, prints: dict[str, Any]) -> None:
    """PyHipp's high-pass of 2 channels alone is there as a file; for the others its recipe stands in, in float64.

    The recipe starts from raw data that are PyHipp's by their SHA-1.
    """
    for path in prints:
        if kind_of(path) == "rplhighpass":
            raw = raypipe.load(made / Path(path).with_name("rplraw_d41d.hkl"))["data"]
            ours = raypipe.load(made / path)["data"]
            assert list(unlike_samples(ours, high_pass(raw).astype(np.float32), 1e-5)) == [], path


@golden_day
def test_faults_of_the_day_are_seen(made: Path, prints: dict[str, Any], tmp_path: Path) -> None:
    """Negative control: every fingerprint tells one sample's shift, and every filtered one scipy's default padding."""
    for path, fingerprint in prints.items():
        if kind_of(path) in KINDS:
            late = np.roll(raypipe.load(made / path)["data"], 1)
            assert list(unlike_print(late, fingerprint["data"], tolerance(path, fingerprint))), path
    padded = process(DAY, tmp_path, edge_samples=27)
    found = complaints_about(padded, prints, FILTERED)
    assert len(found) == 32
    assert [path for path, said in found.items() if not said] == []
    shutil.rmtree(tmp_path)


def types_of(value: Any) -> Any:
    """Return the types of all fields, below dictionaries too."""
    if isinstance(value, Mapping):
        return {name: types_of(each) for name, each in value.items()}
    return (type(value), value.dtype) if isinstance(value, np.ndarray) else type(value)

"""A day runs end to end on a real Ray: values, options, and that the machine never shows in a result."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import raypipe
from raypipe.config import Config, Resources
from raypipe.events import Event, Note, PassProgressed, RunEnded, RunStarted, TaskDone
from raypipe.io.nsx import raw_channels, read_frames, read_nsx_header
from tests.compare import RIPPLE, datasets, high_pass, leftovers, lfp, of_ripple
from tests.conftest import Processed

pytestmark = pytest.mark.usefixtures("one_ray")
SESSIONS = ("session01", "sessioneye")
CHANNELS = (1, 2, 3, 9, 10, 33, 34, 35, 36, 65)
BEHAVIOURAL = (
    "sessioneye/eyelink_24d5.hkl",
    *(f"session01/{name}.hkl" for name in ("unity_71bf", "eyelink_24d5", "umaze_fd09")),
    *(f"session01/{name}" for name in ("unityfile_eyelink.csv", "binData.hdf", "maze.png")),
)
MOUNTAIN = (
    "start_indices.csv",
    *(f"output/{name}" for name in ("firings.mda", "templates.mda", "templates.hkl", "metrics.json")),
    "units.png",
)


def array_of(channel: int) -> int:
    return (channel - 1) // 32 + 1


def folder(day: Path, session: str, channel: int) -> Path:
    return day / session / f"array{array_of(channel):02d}" / f"channel{channel:03d}"


@pytest.fixture
def reference(processed: Processed) -> Path:
    """The simulated day's outputs; not to be changed."""
    return processed.folder


def test_a_run_tells_what_it_does(processed: Processed) -> None:
    events = processed.events
    assert processed.report.exit_code == 0
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    made = [event.output for event in events if isinstance(event, TaskDone)]
    aligned = {"session01/unity_71bf.hkl", "session01/eyelink_24d5.hkl"}
    assert processed.report.done == len(made) == len(set(made)) + len(aligned)
    assert set(made) == set(files_in(processed.folder)) - set(cells_in(processed.folder))
    progress = [event for event in events if isinstance(event, PassProgressed)]
    assert {event.session: event.seconds_of_recording for event in progress} == {"session01": 12.5, "sessioneye": 4.0}


def files_in(outputs: Path) -> list[str]:
    """Return all files but raypipe's own, by their path in the day."""
    found = [path.relative_to(outputs).as_posix() for path in outputs.rglob("*") if path.is_file()]
    return [path for path in found if not path.startswith(".raypipe/")]


def cells_in(outputs: Path) -> list[str]:
    return [path for path in files_in(outputs) if "/cell" in path and not path.endswith("/cells.csv")]


def test_every_object_is_there_and_nothing_else(reference: Path, simulated: Path) -> None:
    expected = {f"{session}/rplparallel_d41d.hkl" for session in SESSIONS} | set(BEHAVIOURAL)
    of_channels = ("rplraw_d41d", "rpllfp_6eca", "rplhighpass_b59f", "freqspectrum_9c80", "freqspectrum_660e")
    for channel in CHANNELS:
        for session in SESSIONS:
            expected |= {str(folder(Path(), session, channel) / f"{name}.hkl") for name in of_channels}
            expected.add(str(folder(Path(), session, channel) / "cells.csv"))
        expected.add(str(folder(Path(), "session01", channel) / "waveform_ed79.hkl"))
        expected |= {f"mountains/channel{channel:03d}/{name}" for name in MOUNTAIN}
    expected |= {"freqspectrum_9c80.hkl", "freqspectrum_660e.hkl", "spectra_lfp.png", "spectra_highpass.png"}
    assert set(files_in(reference)) - set(cells_in(reference)) == expected
    assert leftovers(reference) == []
    assert not list(simulated.rglob("*.hkl")), "--output leaves the recording's folder untouched"
    assert not (simulated / ".raypipe").exists()


@pytest.mark.parametrize("session", SESSIONS)
def test_values_are_those_of_scipy(reference: Path, simulated: Path, session: str) -> None:
    header = read_nsx_header(next((simulated / session).glob("*.ns5")))
    frames = read_frames(header, 0, header.n_samples)
    for channel, column in raw_channels(header):
        place = folder(reference, session, channel)
        raw, small, fast = (
            raypipe.load(place / name) for name in ("rplraw_d41d.hkl", "rpllfp_6eca.hkl", "rplhighpass_b59f.hkl")
        )
        microvolts = frames[:, column].astype(np.float32) * np.float32(header.channels[column].gain)
        np.testing.assert_array_equal(raw["data"], microvolts)
        truth = high_pass(microvolts)
        assert abs(fast["data"] - truth).max() <= 1e-5
        assert fast["analogInfo"]["MaxVal"] == pytest.approx(truth.max(), abs=1e-9)
        assert fast["analogInfo"]["MinVal"] == pytest.approx(truth.min(), abs=1e-9)
        truth = lfp(microvolts)
        assert small["data"].shape == truth.shape
        assert abs(small["data"] - truth).max() <= 2e-6 * abs(truth).max()
        assert raw["analogInfo"]["MaxVal"] == microvolts.max()
        assert raw["analogInfo"]["MinVal"] == microvolts.min()
        assert raw["analogInfo"]["ProbeInfo"] == f"b'raw {channel}'"
        assert fast["dirs"] == [f"picasso/20181105/{session}/array{array_of(channel):02d}/channel{channel:03d}"]


def test_markers_are_those_that_were_planted(reference: Path, simulated: Path) -> None:
    truth = json.loads((simulated / "ground_truth.json").read_text())
    assert truth["seed"] == 5
    events = raypipe.load(reference / "session01" / "rplparallel_d41d.hkl")
    assert events["markers"].shape == events["timeStamps"].shape == events["trialIndices"].shape == (4, 3)
    np.testing.assert_array_equal(events["trialIndices"], np.rint(events["timeStamps"] * 30000).astype(np.int64))


@pytest.mark.parametrize(
    ("resources", "only"),
    [
        (Resources(cpus=1, tile_seconds=4.0), ()),
        # Other stages read the files that these make: they never see a tile.
        (Resources(cpus=2, tile_seconds=1.0, tiles_in_flight=1), RIPPLE),
        (Resources(cpus=2, tile_seconds=0.2503), RIPPLE),
        (Resources(cpus=1, tile_seconds=60.0), RIPPLE),
    ],
    ids=lambda it: f"{it.cpus}-cpus-{it.tile_seconds}s" if isinstance(it, Resources) else "filters" if it else "all",
)
def test_workers_and_tiles_never_show(
    own_ray: None, reference: Path, simulated: Path, tmp_path: Path, resources: Resources, only: tuple[str, ...]
) -> None:
    report = raypipe.run_day(simulated, output=tmp_path, only=only, config=Config(run=resources))
    assert report.exit_code == 0
    expected = datasets(reference)
    assert datasets(tmp_path / "picasso" / "20181105") == (of_ripple(expected) if only else expected)


def test_a_subset_of_channels_and_stages(reference: Path, simulated: Path, tmp_path: Path) -> None:
    report = raypipe.run_day(
        simulated, output=tmp_path, channels="2-9,65", skip=["rplsplit"], only=["rplsplit", "rpllfp"]
    )
    assert report.exit_code == 0
    made = datasets(tmp_path / "picasso" / "20181105")
    chosen = tuple(f"channel{channel:03d}/rpllfp" for channel in (2, 3, 9, 65))
    assert made == {name: value for name, value in datasets(reference).items() if any(each in name for each in chosen)}


def test_a_second_run_starts_nothing(reference: Path, simulated: Path) -> None:
    code = (
        "import sys, raypipe; report = raypipe.run_day(sys.argv[1], output=sys.argv[2]);"
        "assert not report.done and not report.exit_code;"
        "print({'ray', 'numba', 'scipy', 'h5py', 'hickle'} & set(sys.modules))"
    )
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*")}
    command = [sys.executable, "-c", code, simulated, reference.parents[1]]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "set()\n"
    assert {path: path.stat().st_mtime_ns for path in reference.rglob("*")} == before


def test_channels_whose_recording_is_gone_are_filtered_from_their_raw_copies(
    reference: Path, simulated: Path, tmp_path: Path
) -> None:
    day = tmp_path / "picasso" / "20181105"
    shutil.copytree(simulated, day, ignore=shutil.ignore_patterns("*.ns5"))
    for path in reference.rglob("rplraw_*.hkl"):
        place = day / path.relative_to(reference)
        place.parent.mkdir(parents=True)
        shutil.copy(path, place)
    as_hickle4(folder(day, "session01", 9) / "rplraw_d41d.hkl")
    report = raypipe.run_day(day, only=["rpllfp", "rplhighpass"])
    assert report.exit_code == 0
    made = {name: value for name, value in datasets(day).items() if "rplraw" not in name}
    expected = {name: value for name, value in datasets(reference).items() if "rpllfp" in name or "rplhighpass" in name}
    assert made == expected
    plan = raypipe.plan_day(day, only=RIPPLE)
    assert plan.counts == {"done": 40, "kept": 20, "todo": 2}, "raw copies are kept, markers are still to be made"


def as_hickle4(path: Path) -> None:
    """Write an rplraw object again in the layout of hickle 4."""
    fields = raypipe.load(path)
    with h5py.File(path, "w") as file:
        file.attrs["HICKLE_VERSION"] = "4.0.4"
        file.attrs["HICKLE_PYTHON_VERSION"] = "3.8.18"
        top = file.create_group("data")
        top.attrs["base_type"] = b"dict"

        def put(group: h5py.Group, values: dict[str, object]) -> None:
            for number, (key, value) in enumerate(values.items()):
                item = group.create_group(repr(key))
                item.attrs.update({"base_type": b"dict_item", "key_base_type": b"str", "key_idx": number})
                if isinstance(value, dict):
                    inner = item.create_group("data")
                    inner.attrs["base_type"] = b"dict"
                    put(inner, value)
                else:
                    kind = "ndarray" if isinstance(value, np.ndarray) else type(value).__name__
                    content = value.encode() if isinstance(value, str) else value
                    node = item.create_dataset("data", data=content)
                    node.attrs["base_type"] = kind.encode()
                    if kind == "ndarray":
                        node.attrs["np_dtype"] = b"float32"

        info = {"SampleRate": 30000.0, "ProbeInfo": fields["analogInfo"]["ProbeInfo"]}
        put(top, {"data": fields["data"], "analogInfo": info, "numSets": 1})


def test_a_pause_is_kept_in_time_and_told(simulated: Path, tmp_path: Path, paused: Callable[[Path], int]) -> None:
    day = tmp_path / "picasso" / "20181105"
    shutil.copytree(simulated, day)
    missing = paused(next((day / "session01").glob("*.ns5")))
    events: list[Event] = []
    report = raypipe.run_day(day, channels="9", listeners=[events.append])
    assert report.exit_code == 0
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any(f"for {missing / 30000:.3f} s" in note for note in notes), notes
    raw = raypipe.load(folder(day, "session01", 9) / "rplraw_d41d.hkl")["data"]
    assert raw.shape == (375_000 + missing,)
    bridge = raw[199_999 : 200_001 + missing]
    np.testing.assert_allclose(np.diff(bridge), np.diff(bridge).mean(), atol=0.26)  # a line, in steps of 0.25 uV
    fast = raypipe.load(folder(day, "session01", 9) / "rplhighpass_b59f.hkl")["data"]
    assert abs(fast - high_pass(raw)).max() <= 1e-5


def test_a_file_has_its_name_only_after_ledger_and_before_its_folder_are_on_the_disk(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    sync, output = os.fsync, tmp_path / "picasso" / "20181105" / "session01" / "rplparallel_d41d.hkl"

    def watched(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, output.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    assert raypipe.run_day(simulated, output=tmp_path, only=["rplparallel"]).exit_code == 0
    assert ("ledger.jsonl", False) in synced
    assert ("session01", True) in synced
    assert ("session01", False) not in synced

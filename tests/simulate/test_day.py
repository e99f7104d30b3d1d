"""A whole day: its folders, its files against the truth beside them, and neo as referee."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neo.rawio import BlackrockRawIO

from raypipe.io.nev import read_nev
from raypipe.io.nsx import raw_channels, read_frames, read_nsx_header
from raypipe.simulate import SimulateSettings, simulate_day

SETTINGS = SimulateSettings(
    channels=(70, 3), seconds=12, eye_seconds=3, trials=3, sessions=2, seed=11, timeout_fraction=0.34, spec="2.2"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    calls: list[tuple[int, int]] = []
    return simulate_day(tmp_path_factory.mktemp("day"), SETTINGS, lambda *call: calls.append(call)), calls


@pytest.fixture(scope="module")
def folder(made: tuple[Path, list[tuple[int, int]]]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "ground_truth.json").read_text())


def test_files_are_named_as_in_the_lab(folder: Path) -> None:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "181105.asc",
        "181105.edf",
        "P11_5.asc",
        "P11_5.edf",
        "ground_truth.json",
        "session01/181105_Block1.nev",
        "session01/181105_Block1.ns5",
        "session01/RawData_T1-3/session_1_5112018105323.txt",
        "session02/181105_Block2.nev",
        "session02/181105_Block2.ns5",
        "session02/RawData_T1-3/session_2_5112018105323.txt",
        "sessioneye/181105_Block0.nev",
        "sessioneye/181105_Block0.ns5",
    ]


def test_progress_counts_every_second_and_the_end(made: tuple[Path, list[tuple[int, int]]]) -> None:
    assert made[1] == [(done, 28) for done in range(1, 29)]


@pytest.mark.parametrize("session", ["sessioneye", "session01", "session02"])
def test_ripple_files_hold_what_the_truth_says(folder: Path, truth: dict[str, Any], session: str) -> None:
    expected = truth["sessions"][session]
    (nev_path,) = (folder / session).glob("*.nev")
    nev = read_nev(nev_path)
    assert (nev.spec, nev.ticks.tolist(), nev.codes.tolist()) == (
        "2.2",
        expected["marker_ticks"],
        expected["marker_codes"],
    )
    header = read_nsx_header(nev_path.with_suffix(".ns5"))
    assert (header.n_samples, header.spec, header.gaps) == (expected["n_samples"], "2.2", ())
    assert raw_channels(header) == ((70, 1), (3, 2))
    assert [(c.label, c.units, c.connector, c.pin) for c in header.channels] == [
        ("analog 1", "mV", 3, 1),
        ("raw 70", "uV", 2, 6),
        ("raw 3", "uV", 0, 3),
    ]
    uv = 0.25 * read_frames(header, 0, header.n_samples).astype(float)
    for channel, column in raw_channels(header):
        for unit in expected["channels"][str(channel)]["units"]:
            spikes = np.array(unit["spike_samples"])
            # The background is not flat: compare the trough with 0.2 ms before and after the spike.
            depth = uv[spikes, column] - 0.5 * (uv[spikes - 12, column] + uv[spikes + 30, column])
            template = np.array(unit["template_uv"])
            assert depth.mean() == pytest.approx(template[16] - 0.5 * (template[4] + template[46]), abs=12)


def test_clocks_drift_as_told(truth: dict[str, Any]) -> None:
    for number in (1, 2):
        session = truth["sessions"][f"session{number:02d}"]
        for trial in session["trials"]:
            seconds = np.array(trial["ripple_ticks"]) / 30000
            since = seconds - session["trigger_ticks"] / 30000
            assert trial["unity_seconds"] == pytest.approx(since * (1 + 60e-6))
            eye = session["eye_offset_ms"] + 1000 * seconds * (1 - 40e-6)
            assert trial["eye_ms"] == pytest.approx(eye, abs=0.5)
    assert [t["timeout"] for t in truth["sessions"]["session01"]["trials"]].count(True) == 1


def test_messages_tell_the_trials_of_all_sessions(folder: Path, truth: dict[str, Any]) -> None:
    lines = [line.split(None, 2) for line in (folder / "181105.asc").read_text().splitlines() if line.startswith("MSG")]
    expected: list[tuple[int, str]] = []
    for session in ("session01", "session02"):
        told = truth["sessions"][session]
        trigger_ms = told["eye_offset_ms"] + round(told["trigger_ticks"] / 30 * (1 - 40e-6))
        expected.append((trigger_ms, "Trigger Version 84"))
        for trial in told["trials"]:
            names = ("Start Trial", "Cue Offset", "Timeout" if trial["timeout"] else "End Trial")
            events = zip(trial["eye_ms"], trial["codes"], names, strict=True)
            expected += [(ms, f"{name} {code}") for ms, code, name in events]
    assert [(int(ms), text) for _, ms, text in lines[2:]] == expected


def test_the_last_calibration_trial_lacks_its_cue(folder: Path) -> None:
    lines = [line.split(None, 2) for line in (folder / "P11_5.asc").read_text().splitlines() if line.startswith("MSG")]
    assert [text.index("1") // 3 for _, _, text in lines[2:]] == [0, 1, 2, 0, 1, 2, 0, 2]


def test_neo_reads_the_same_day(folder: Path, truth: dict[str, Any]) -> None:
    stem = folder / "session01/181105_Block1"
    reader = BlackrockRawIO(filename=str(stem), nsx_to_load=5)
    reader.parse_header()
    names = [str(name) for name in reader.header["event_channels"]["name"]]
    ticks, _, codes = reader.get_event_timestamps(event_channel_index=names.index("digital_input_port"))
    assert ticks.tolist() == truth["sessions"]["session01"]["marker_ticks"]
    assert [int(code) for code in codes] == truth["sessions"]["session01"]["marker_codes"]
    header = read_nsx_header(stem.with_suffix(".ns5"))
    ours = read_frames(header, 0, header.n_samples)
    signals = reader.header["signal_channels"]
    for stream, stream_id in enumerate(reader.header["signal_streams"]["id"]):
        labels = [str(row["name"]) for row in signals[signals["stream_id"] == stream_id]]
        columns = [[c.label for c in header.channels].index(label) for label in labels]
        assert np.array_equal(reader.get_analogsignal_chunk(stream_index=stream), ours[:, columns])


def test_the_same_settings_make_the_same_day(folder: Path, tmp_path: Path) -> None:
    def digests(day: Path) -> dict[str, str]:
        files = (path for path in sorted(day.rglob("*")) if path.is_file())
        return {str(path.relative_to(day)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert digests(simulate_day(tmp_path, SETTINGS)) == digests(folder)


def test_the_analogue_input_can_come_last(tmp_path: Path) -> None:
    settings = SimulateSettings(channels=2, seconds=6, eye_seconds=2, trials=1, analog_first=False)
    header = read_nsx_header(simulate_day(tmp_path, settings) / "session01/181105_Block1.ns5")
    assert raw_channels(header) == ((1, 0), (2, 1)) and header.channels[2].label == "analog 1"

"""European EDF+/BDF+: the same recording as the `.asc` beside it, files of other programs, and clear words about the rest."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyedflib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.errors import FormatError
from raypipe.io import european_edf
from raypipe.io.european_edf import gaze_signals
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from raypipe.simulate.asc import write_asc
from raypipe.simulate.european_edf import write_european_edf
from raypipe.simulate.eye import MISSING, Tracker, simulate_eye

FIRST_MS = 4_000_526
START = datetime(2018, 11, 5, 10, 53, 23)
Blocks = list[tuple[int, int]]


def pair_of_files(
    folder: Path, seed: int, blocks: Blocks, messages: list[tuple[int, str]], tracker: Tracker | None = None
) -> tuple[EyeRecording, EyeRecording]:
    """Simulate, write, and read `.asc` and `.edf`; blocks are ms from the first one on."""
    tracker = tracker or Tracker()
    times = [(FIRST_MS + start, FIRST_MS + stop) for start, stop in blocks]
    eye = simulate_eye(seed, 1, tracker, times, messages)
    write_asc(folder / "a.asc", eye, "a.edf")
    write_european_edf(folder / "a.edf", eye, START)
    text, european = read_eye_file(folder / "a.asc"), read_eye_file(folder / "a.edf")
    assert (text.source, european.source) == ("EyeLink text", "European EDF")
    # What was simulated, without either file.
    kept = np.concatenate([np.arange(*block) for block in eye.blocks])
    gaze = eye.tracks[:, :2, kept]
    np.testing.assert_array_equal(text.gaze_px, np.where(gaze == MISSING, np.nan, gaze / 10))
    assert text.ms.tolist() == [eye.ms(int(sample)) for sample in kept]
    assert text.message_texts == tuple(text for _, text in sorted(eye.messages))
    assert sum(events.start_ms.size for events in text.events.values()) == len(eye.events)
    return text, european


def assert_same(text: EyeRecording, european: EyeRecording) -> None:
    """Equal in all but the pupil of a fixation, of which the text has whole units."""
    for name in ("sampling_rate_hz", "eyes", "message_texts", "notes"):
        assert getattr(text, name) == getattr(european, name)
    for name in ("ms", "gaze_px", "blocks", "message_ms"):
        np.testing.assert_array_equal(getattr(text, name), getattr(european, name))
    assert list(text.events) == list(european.events) == ["fixation", "saccade", "blink"]
    for kind, events in text.events.items():
        other = european.events[kind]
        for name in ("start_ms", "end_ms", "is_right"):
            np.testing.assert_array_equal(getattr(events, name), getattr(other, name))
        off = np.abs(events.values - other.values)
        assert events.values.shape == other.values.shape
        assert np.all(off[:, :2] == 0) and (np.all(off[:, 2:] <= 0.5) if kind == "fixation" else np.all(off == 0))


@pytest.mark.parametrize("rate_hz", [500, 1000, 2000])
@pytest.mark.parametrize("is_binocular", [False, True])
@pytest.mark.parametrize("blocks", [[(0, 40_000)], [(0, 12_000), (13_004, 20_000), (60_000, 75_006)]])
def test_both_files_of_a_recording_are_read_alike(
    tmp_path: Path, rate_hz: int, is_binocular: bool, blocks: Blocks
) -> None:
    texts = ("Trigger Version 84", "1  0  0  0  0  0  0  0", "x" * 39 + "\\", "y" * 200, "MSG MSG", " leading")
    messages = [(FIRST_MS + 700 * (i + 1), text) for i, text in enumerate(texts)]
    text, european = pair_of_files(tmp_path, rate_hz, blocks, messages, Tracker(rate_hz, is_binocular))
    assert_same(text, european)
    assert text.events["blink"].start_ms.size and text.ms[0] == FIRST_MS
    assert (len(text.eyes), len(text.blocks), text.sampling_rate_hz) == (1 + is_binocular, len(blocks), rate_hz)
    assert text.notes == ()


@pytest.mark.parametrize("n_samples", [3, 999, 1000, 1001])
def test_short_ones_too(tmp_path: Path, n_samples: int) -> None:
    assert_same(*pair_of_files(tmp_path, 5, [(0, n_samples)], [(FIRST_MS + 1, "a")]))


def test_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(european_edf, "_SAMPLES_AT_ONCE", 777)
    assert_same(*pair_of_files(tmp_path, 6, [(0, 2000), (2500, 5000)], []))


# Files of other programs.


def write(
    path: Path,
    signals: dict[str, np.ndarray],
    annotations: list[tuple[float, float, str]] = (),
    *,
    unit: str = "px",
    rates: tuple[int, ...] = (),
    file_type: int = pyedflib.FILETYPE_EDFPLUS,
    physical: tuple[float, float] = (-3276.8, 3276.7),
) -> Path:
    """`signals` are counts, of a tenth of a pixel unless said otherwise."""
    depth = 1 << (23 if file_type == pyedflib.FILETYPE_BDFPLUS else 15)
    writer = pyedflib.EdfWriter(str(path), len(signals), file_type=file_type)
    try:
        for place, label in enumerate(signals):
            header = {"label": label, "dimension": unit, "sample_frequency": rates[place] if rates else 500}
            header |= {"physical_min": physical[0], "physical_max": physical[1], "transducer": ""}
            header |= {"digital_min": -depth, "digital_max": depth - 1, "prefilter": ""}
            writer.setSignalHeader(place, header)
        writer.set_number_of_annotation_signals(8)  # each takes one annotation a second
        for annotation in annotations:
            assert not writer.writeAnnotation(*annotation)
        writer.writeSamples([signal.astype(np.int32) for signal in signals.values()], digital=True)
    finally:
        writer.close()
    return path


def counts(n: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-30_000, 30_000, n)


X, Y = counts(seed=1), counts(seed=2)


def test_a_generic_file(tmp_path: Path) -> None:
    x = X.copy()
    x[7] = -32768
    signals = {"EEG Fp1": counts(), "Gaze X": x, "Pupil X": counts(), "Gaze Y": Y}
    annotations = [(1.25, -1, "Start Trial 11"), (0.5, 0.2, "Trigger Version 84"), (1.75, -1, "Größe µ")]
    recording = read_eye_file(write(tmp_path / "a.edf", signals, annotations))
    assert (recording.eyes, recording.sampling_rate_hz, recording.source) == (("left",), 500, "European EDF")
    assert recording.notes == ("the file does not say which eye was tracked: the left one is assumed",)
    np.testing.assert_array_equal(recording.gaze_px[0], [np.where(x == -32768, np.nan, x / 10), Y / 10])
    np.testing.assert_array_equal(recording.ms, 2.0 * np.arange(1000))
    assert recording.blocks.tolist() == [[0, 1000]]
    assert recording.message_ms.tolist() == [500, 1250, 1750]
    assert recording.message_texts == ("Trigger Version 84", "Start Trial 11", "Größe µ")
    assert all(events.start_ms.size == 0 for events in recording.events.values())


def test_bdf_and_two_eyes(tmp_path: Path) -> None:
    signals = {"gy_right": Y, "gx_left": X, "gx_right": X // 2, "gy_left": Y // 2}
    recording = read_eye_file(
        write(tmp_path / "a.bdf", signals, file_type=pyedflib.FILETYPE_BDFPLUS, physical=(-8388608, 8388607))
    )
    assert (recording.eyes, recording.notes) == (("left", "right"), ())
    np.testing.assert_array_equal(recording.gaze_px, [[X, Y // 2], [X // 2, Y]])


def test_any_gain_is_read_to_its_resolution(tmp_path: Path) -> None:
    recording = read_eye_file(write(tmp_path / "a.edf", {"x": X, "y": Y}, physical=(-100, 1234.5)))
    np.testing.assert_allclose(recording.gaze_px[0], (np.array([X, Y]) + 32768) * (1334.5 / 65535) - 100, atol=1e-9)


def test_blocks_events_and_the_trackers_clock(tmp_path: Path) -> None:
    annotations = [
        *(
            (0.1, -1, "START 5100 LEFT RIGHT"),
            (0.1, -1, "END 5298"),
            (0.6, -1, "END 5698"),
            (0.4, -1, "START 5400 LEFT RIGHT"),
        ),
        *((0.11, 0.05, "EFIX R 100.5 -2 nan"), (0.15, 0.01, "EBLINK L"), (0.11, 0.02, "EFIX L 1 2 3")),
        (0.5, -1, "MSG Start Trial 11"),
    ]
    signals = {"x left": X, "y left": Y, "x right": X, "y right": Y}
    recording = read_eye_file(write(tmp_path / "a.edf", signals, annotations))
    assert recording.ms.tolist() == [*range(5100, 5300, 2), *range(5400, 5700, 2)]
    assert recording.blocks.tolist() == [[0, 100], [100, 250]]
    np.testing.assert_array_equal(recording.gaze_px[1, 1], np.concatenate([Y[50:150], Y[200:350]]) / 10)
    fixations = recording.events["fixation"]
    assert (fixations.start_ms.tolist(), fixations.end_ms.tolist()) == ([5110, 5110], [5128, 5158])
    assert fixations.is_right.tolist() == [False, True]
    np.testing.assert_array_equal(fixations.values, [[1, 2, 3], [100.5, -2, np.nan]])
    assert recording.events["blink"].end_ms.tolist() == [5158]
    assert (recording.message_ms.tolist(), recording.message_texts) == ([5500], ("Start Trial 11",))
    assert recording.notes == ()


def test_a_block_without_end(tmp_path: Path) -> None:
    recording = read_eye_file(write(tmp_path / "a.edf", {"x": X, "y": Y}, [(0.1, -1, "START 5100 RIGHT")]))
    assert (recording.eyes, recording.ms[0], recording.ms[-1]) == (("right",), 5100, 6998)
    assert recording.notes == ("the recording block that starts at 5100 ms has no END",)


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        (["gaze x", "gaze y", "pupil"], {(None, "x"): [0], (None, "y"): [1]}),
        (["gx_left", "gy_left"], {("left", "x"): [0], ("left", "y"): [1]}),
        (["EyeX", "EyeY"], {(None, "x"): [0], (None, "y"): [1]}),
        (["GazeXRight", "GazeYRight"], {("right", "x"): [0], ("right", "y"): [1]}),
        (["X", "Y"], {(None, "x"): [0], (None, "y"): [1]}),
        (["Right Eye Gaze X (px)", "L-GAZE-Y"], {("right", "x"): [0], ("left", "y"): [1]}),
        (["xpos_left", "ypos_left", "POR X", "xp"], {("left", "x"): [0], ("left", "y"): [1], (None, "x"): [2, 3]}),
        (
            [
                "pupil x",
                "gaze x velocity",
                "HREF X",
                "EEG Fp1",
                "acc x",
                "gaze",
                "left",
                "xy",
                "x y",
                "",
                "x left right",
            ],
            {},
        ),
    ],
)
def test_which_signals_are_gaze(labels: list[str], places: dict[tuple[str | None, str], list[int]]) -> None:
    assert gaze_signals(labels) == places


@settings(max_examples=200)
@given(st.lists(st.text(max_size=16), max_size=6))
def test_labels_may_be_anything(labels: list[str]) -> None:
    for places in gaze_signals(labels).values():
        assert all(0 <= place < len(labels) for place in places)


@pytest.mark.parametrize(
    ("signals", "options", "complaint"),
    [
        (["EEG 1", "EEG 2"], {}, "cannot be told from their labels: 'EEG 1', 'EEG 2'"),
        (["gaze x", "EEG 2"], {}, "cannot be told"),
        (["gaze x", "gaze y", "x"], {}, "cannot be told"),
        (["gaze x", "gaze y", "x left", "y left"], {}, "cannot be told"),
        (["gaze x", "gaze y"], {"unit": "deg"}, "gaze is in 'deg', not in pixels"),
        (["gaze x", "gaze y"], {"rates": (500, 1000)}, "rates of 500 Hz and 1000 Hz"),
        (["x", "y"], {"annotations": [(0, -1, "EFIX L 1 2")]}, "annotation 'EFIX L 1 2': expected 3 numbers"),
        (["x", "y"], {"annotations": [(0, -1, "ESACC L a b c d e f")]}, "expected 6 numbers"),
        (["x", "y"], {"annotations": [(0, -1, "START 9 LEFT"), (1, -1, "START 1019 LEFT")]}, "clock jumps by 10 ms"),
        (["x", "y"], {"annotations": [(5, -1, "START 9 LEFT")]}, "lies outside the file's 1000 samples"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, signals: list[str], options: dict, complaint: str) -> None:
    path = tmp_path / "a.edf"
    rates = options.get("rates", (500,) * len(signals))
    write(path, {label: counts(2 * rate) for label, rate in zip(signals, rates, strict=True)}, **options)
    with pytest.raises(FormatError, match=complaint) as raised:
        read_eye_file(path)
    assert str(path) in raised.value.message and raised.value.hint


def test_damaged_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.edf", {"x": X, "y": Y})
    whole = path.read_bytes()
    damage = {
        r"promises 2 records, \d+ bytes in all; the file has": whole[:-1],
        "promises -1 records": whole[:236] + b"-1      " + whole[244:],
        "header of this European EDF/BDF file is damaged": whole[:252] + b"many" + whole[256:],
        "discontinuous": whole.replace(b"EDF+C", b"EDF+D", 1),
        "cannot be read as European EDF/BDF": whole[:168] + b"99.99.99" + whole[176:],
    }
    for complaint, text in damage.items():
        path.write_bytes(text)
        with pytest.raises(FormatError, match=complaint) as raised:
            read_eye_file(path)
        assert str(path) in raised.value.message and raised.value.hint
    assert capfd.readouterr().out == ""

"""A tracker's own files: the three genuine ones of eyelinkio in full, its reader as referee, and the library's deaths."""

import ctypes
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from raypipe.errors import FormatError
from raypipe.io import eyelink_edf, eyelink_library
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from raypipe.io.eyelink_library import EVENT, SAMPLE, Contents

NAMES = ("test_raw", "test_2_raw", "test_raw_binocular")


@pytest.fixture(scope="module")
def eyelinkio() -> ModuleType:
    return pytest.importorskip("eyelinkio")


@pytest.fixture(scope="module")
def folder(eyelinkio: ModuleType) -> Path:
    return Path(eyelinkio.__file__).parent / "tests" / "data"


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, folder: Path, eyelinkio: ModuleType) -> tuple[EyeRecording, dict]:
    """Our reading of a file, and eyelinkio's."""
    path = folder / f"{request.param}.edf"
    return read_eye_file(path), eyelinkio.read_edf(path)


def retimed(recording: EyeRecording, ms: np.ndarray) -> np.ndarray:
    """Give the seconds that eyelinkio makes of tracker time: samples count, gaps do not."""
    return np.interp(ms, recording.ms, np.arange(recording.ms.size) / recording.sampling_rate_hz)


# What dependencies.md found with an independent reader, and what the files' own text says.
FACTS = {
    "test_raw": (66_827, 1000, ("left",), 101, {"fixation": 21, "saccade": 19, "blink": 7}, 2),
    "test_2_raw": (124_740, 1000, ("left",), 48, {"fixation": 121, "saccade": 120, "blink": 19}, 1),
    "test_raw_binocular": (
        *(99_823, 500, ("left", "right"), 14_983),
        *({"fixation": 857, "saccade": 856, "blink": 362}, 15),
    ),
}


def test_everything_is_there(pair: tuple[EyeRecording, dict]) -> None:
    recording, _ = pair
    n_samples, rate_hz, eyes, n_messages, n_events, n_blocks = FACTS[recording.path.stem]
    assert (recording.source, recording.notes) == ("EyeLink EDF", ())
    assert (recording.ms.size, recording.sampling_rate_hz, recording.eyes) == (n_samples, rate_hz, eyes)
    assert recording.gaze_px.shape == (len(eyes), 2, n_samples)
    assert len(recording.message_texts) == recording.message_ms.size == n_messages
    assert {kind: events.start_ms.size for kind, events in recording.events.items()} == n_events
    assert recording.blocks.shape == (n_blocks, 2)
    for start, stop in recording.blocks:
        np.testing.assert_array_equal(np.diff(recording.ms[start:stop]), 1000 / rate_hz)


def test_gaps_stay_and_nothing_is_retimed(folder: Path) -> None:
    recording = read_eye_file(folder / "test_raw.edf")
    assert recording.blocks.tolist() == [[0, 136], [136, 66_827]]
    assert recording.ms[[0, 135, 136, -1]].tolist() == [415_839, 415_974, 464_321, 531_011]
    assert recording.message_ms[:7].tolist() == [415_838] * 6 + [415_839]
    assert recording.message_texts[:2] == ("RECCFG CR 1000 2 1 L", "ELCLCFG MTABLER")
    assert recording.message_texts[6] == "!MODE RECORD CR 1000 2 1 L"
    fixations = recording.events["fixation"]
    assert (fixations.start_ms[0], fixations.end_ms[0]) == (415_846, 415_882)
    np.testing.assert_array_equal(fixations.values[0], [742.0, 550.7, 1132])
    # By hand from the file: (969.7 - 743.5, 540.2 - 549.3) px at 37.0 and 36.6, 36.7 and 36.5 px per degree.
    saccade = recording.events["saccade"].values[0]
    np.testing.assert_array_equal(saccade[[0, 1, 2, 3, 5]], [743.5, 549.3, 969.7, 540.2, 336.5])
    assert saccade[4] == pytest.approx(np.hypot(226.2 / 36.8, 9.1 / 36.6), abs=1e-9)


def test_samples_are_eyelinkios_but_for_those_it_took_away(pair: tuple[EyeRecording, dict]) -> None:
    recording, theirs = pair
    fields = theirs["info"]["sample_fields"]
    taken = 0
    for eye, gaze in zip(recording.eyes, recording.gaze_px, strict=True):
        suffix = f"_{eye}" if len(recording.eyes) == 2 else ""
        for ours, name in zip(gaze, ("xpos", "ypos"), strict=True):
            other = theirs["samples"][fields.index(name + suffix)]
            np.testing.assert_array_equal(ours.astype(np.float32)[~np.isnan(other)], other[~np.isnan(other)])
            taken = max(taken, np.count_nonzero(np.isnan(other) & ~np.isnan(ours)))
    assert taken == {"test_raw": 0, "test_2_raw": 120, "test_raw_binocular": 6372}[recording.path.stem]
    # Tenths of a pixel, exactly.
    seen = recording.gaze_px[~np.isnan(recording.gaze_px)]
    np.testing.assert_array_equal(seen, np.rint(10 * seen) / 10)
    assert np.abs(seen).max() < 20_000


def test_messages_are_eyelinkios_at_the_trackers_times(pair: tuple[EyeRecording, dict]) -> None:
    recording, theirs = pair
    messages = theirs["discrete"]["messages"]
    assert [text.decode().rstrip("\n\0") for text in messages["msg"]] == list(recording.message_texts)
    np.testing.assert_allclose(retimed(recording, recording.message_ms), messages["stime"], atol=1e-9)
    lost = np.abs((recording.message_ms - recording.ms[0]) / 1000 - messages["stime"]).max()
    assert lost > {"test_raw": 48, "test_2_raw": -1, "test_raw_binocular": 35}[recording.path.stem], "s of re-timing"


def test_fixations_and_saccades_are_eyelinkios(pair: tuple[EyeRecording, dict]) -> None:
    recording, theirs = pair
    columns = {"fixation": ("axp", "ayp"), "saccade": ("sxp", "syp", "exp", "eyp", "pv")}
    for kind, names in columns.items():
        events = recording.events[kind]
        other = np.sort(theirs["discrete"][f"{kind}s"], order=["stime", "etime", "eye"])
        if recording.path.stem == "test_raw_binocular" and kind == "saccade":
            continue  # consistency 2 moves saccades around the blinks that it takes away
        assert events.start_ms.size == other.size
        np.testing.assert_allclose(retimed(recording, events.start_ms), other["stime"], atol=1e-9)
        np.testing.assert_allclose(retimed(recording, events.end_ms), other["etime"], atol=1e-9)
        np.testing.assert_array_equal(events.is_right, other["eye"] == 1)
        places = [0, 1] if kind == "fixation" else [0, 1, 2, 3, 5]
        for place, name in zip(places, names, strict=True):
            np.testing.assert_array_equal(events.values[:, place].astype(np.float32), other[name])


def test_fixations_lie_where_the_samples_are(pair: tuple[EyeRecording, dict]) -> None:
    """Independent of any reader: the mean of a fixation's samples is what the tracker says of it."""
    recording, _ = pair
    fixations = recording.events["fixation"]
    off = []
    columns = (fixations.start_ms, fixations.end_ms, fixations.is_right, fixations.values)
    for start, end, right, values in zip(*columns, strict=True):
        inside = (recording.ms >= start) & (recording.ms <= end)
        eye = recording.eyes.index("right" if right else "left")
        off.append(np.abs(recording.gaze_px[eye][:, inside].mean(axis=1) - values[:2]).max())
    assert np.median(off) < 0.2


def test_nothing_is_printed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    read_eye_file(folder / "test_raw.edf")
    assert capfd.readouterr() == ("", "")


def test_the_structures_are_the_librarys(eyelinkio: ModuleType) -> None:
    from eyelinkio.edf import _edf2py

    ours = ((SAMPLE, _edf2py.FSAMPLE), (EVENT, _edf2py.FEVENT), (eyelink_library.BLOCK, _edf2py.RECORDINGS))
    for dtype, structure in ours:
        assert dtype.itemsize == ctypes.sizeof(structure)
        for name in dtype.names:
            assert dtype.fields[name][1] == getattr(structure, name).offset, name


def test_a_file_that_is_cut_short(folder: Path, tmp_path: Path) -> None:
    text = (folder / "test_raw.edf").read_bytes()
    path = tmp_path / "a.edf"
    for size, complaint in (
        (100, "placeholder or cut short"),
        (3000, "cannot read it"),
        (len(text) - 10, "cannot read"),
    ):
        path.write_bytes(text[:size])
        with pytest.raises(FormatError, match=complaint) as raised:
            read_eye_file(path)
        assert str(path) in raised.value.message and raised.value.hint


def test_the_librarys_death_is_not_ours(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes((folder / "test_raw.edf").read_bytes()[:100])
    with pytest.raises(FormatError, match=r"a\.edf: SR Research's library cannot read it: it crashed \(signal 11\)"):
        eyelink_edf.read_eyelink_edf(path)


def test_names_of_any_letters(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "späte sitzung.edf"
    shutil.copy(folder / "test_raw.edf", path)
    assert read_eye_file(path).ms.size == 66_827


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(b"SR_RESEARCH_1000FILE\nDATE: Sun Aug  4 17:35:18 2013\nENDP:\n" + bytes(100))
    monkeypatch.setattr(eyelink_edf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FormatError) as raised:
        read_eye_file(path)
    assert "pip install 'raypipe-ephys[eyelink]'" in raised.value.hint and "edf2asc" in raised.value.hint


def test_a_library_for_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(b"SR_RESEARCH_1000FILE\nDATE: Sun Aug  4 17:35:18 2013\nENDP:\n" + bytes(100))
    (tmp_path / "libedfapi.so").write_bytes(b"not a library" * 100)
    monkeypatch.setattr(eyelink_edf, "_library", lambda path: tmp_path / "libedfapi.so")
    with pytest.raises(FormatError, match=r"libedfapi\.so cannot be loaded: .*invalid ELF header"):
        read_eye_file(path)


# What no genuine file here has: contents as the library would give them.

LEFT, RIGHT, HALF = 0x8000, 0x4000, 0x0002


def contents(
    ms: list[int], flags: list[int], *, blocks: list[tuple[float, float, float]], text: bytes = b""
) -> Contents:
    gaze = np.arange(4 * len(ms)).reshape(-1, 4) / np.float32(10)
    return Contents(
        samples=np.column_stack([ms, gaze.astype(np.float64)]),
        flags=np.array(flags, np.uint16),
        events=np.empty((0, EVENT.itemsize), np.uint8),
        blocks=np.array(blocks, np.float64).reshape(-1, 3),
        messages=np.array([(ms[0], len(text))] if text else [], np.int64).reshape(-1, 2),
        texts=np.frombuffer(text, np.uint8),
    )


def read(monkeypatch: pytest.MonkeyPatch, these: Contents) -> EyeRecording:
    monkeypatch.setattr(eyelink_edf, "_contents", lambda path: these)
    return eyelink_edf.read_eyelink_edf(Path("a.edf"))


def test_half_milliseconds_and_the_right_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    these = contents([10, 10, 11], [RIGHT, RIGHT | HALF, RIGHT], blocks=[(2000, 1, 0), (2000, 0, 3)], text=b"\xb5V\n\0")
    recording = read(monkeypatch, these)
    assert recording.ms.tolist() == [10, 10.5, 11] and recording.notes == ()
    assert (recording.eyes, recording.sampling_rate_hz) == (("right",), 2000)
    np.testing.assert_array_equal(recording.gaze_px, [[[0.2, 0.6, 1.0], [0.3, 0.7, 1.1]]])
    assert recording.message_texts == ("µV",)


def test_missing_values_and_an_eye_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [(1000, 1, 0), (1000, 0, 2), (1000, 1, 2), (1000, 0, 4)]
    these = contents([10, 11, 20, 21], [LEFT, LEFT, LEFT | RIGHT, LEFT | RIGHT], blocks=blocks)
    these.samples[0, 1], these.samples[3, 4] = 1e8, -32768
    recording = read(monkeypatch, these)
    nan = np.nan
    expected = [[[nan, 0.4, 0.8, 1.2], [0.1, 0.5, 0.9, 1.3]], [[nan, nan, 1.0, 1.4], [nan, nan, 1.1, nan]]]
    np.testing.assert_array_equal(recording.gaze_px, expected)
    assert recording.blocks.tolist() == [[0, 2], [2, 4]]
    assert recording.notes == ("not all recording blocks have both eyes",)


def test_no_samples_and_two_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    these = contents([10], [LEFT], blocks=[(1000, 1, 0), (500, 1, 1)], text=b"a\0")
    with pytest.raises(FormatError, match="the sampling rate changes: 500 Hz and 1000 Hz"):
        read(monkeypatch, these)
    empty = replace(these, samples=these.samples[:0], flags=these.flags[:0], blocks=these.blocks[:1])
    recording = read(monkeypatch, empty)
    assert (recording.eyes, recording.gaze_px.shape, recording.message_texts) == ((), (0, 2, 0), ("a",))


def test_events_without_data_say_so() -> None:
    events = np.zeros(2, EVENT)
    events["type"], events["sttime"], events["entime"], events["eye"] = (
        eyelink_library.END_SACCADE,
        [5, 7],
        [6, 9],
        [1, 0],
    )
    events["gstx"], events["genx"], events["pvel"], events["read"] = 1e8, 10, 100, [0x1000, 0x0100]
    rows = eyelink_edf._event_rows(events)["saccade"]
    np.testing.assert_array_equal(rows[0], [5, 6, 1, np.nan, 0, 10, 0, np.nan, np.nan])
    np.testing.assert_array_equal(rows[1], [7, 9, 0, *[np.nan] * 5, 100])

"""Gaze looks like gaze, and both of its files hold every sample, event and message."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyedflib
import pytest

from raypipe.simulate.asc import write_asc
from raypipe.simulate.european_edf import write_european_edf
from raypipe.simulate.eye import MISSING, EyeEvent, EyeRecording, simulate_eye

FIRST_MS = 4_000_526
TRIGGER = (FIRST_MS + 500, "Trigger Version 84")
START = datetime(2018, 11, 5, 10, 53, 23)


@pytest.fixture(scope="module")
def eye() -> EyeRecording:
    return simulate_eye(1, 1, FIRST_MS, 120_400, [TRIGGER, (FIRST_MS + 60_000, "Start Trial 11")])


def of_kind(eye: EyeRecording, kind: str) -> list[EyeEvent]:
    return [event for event in eye.events if event.kind == kind]


def test_fixations_saccades_and_blinks_are_plausible(eye: EyeRecording) -> None:
    fixations, saccades, blinks = (of_kind(eye, kind) for kind in ("fixation", "saccade", "blink"))
    seconds = eye.x.size / 1000
    assert 3 < len(fixations) / seconds < 5 and 3 < len(saccades) / seconds < 5 and 0.1 < len(blinks) / seconds < 0.5
    assert 150 < np.median([f.duration_ms for f in fixations]) < 300
    assert 30 < np.median([s.duration_ms for s in saccades]) < 80
    assert all(90 <= b.duration_ms < 220 for b in blinks)
    assert max(s.values[5] for s in saccades) < 1000
    missing = np.count_nonzero(eye.x == MISSING)
    assert missing == sum(b.duration_ms for b in blinks)
    seen = eye.x != MISSING
    on_screen = (eye.x[seen] >= 0) & (eye.x[seen] <= 19200) & (eye.y[seen] >= 0) & (eye.y[seen] <= 10800)
    assert 0.9 < on_screen.mean() < 1.0


def test_events_follow_each_other_and_blinks_lie_in_saccades(eye: EyeRecording) -> None:
    moves = [event for event in eye.events if event.kind != "blink"]
    assert all(b.start_ms == a.end_ms + 1 and a.kind != b.kind for a, b in pairwise(moves))
    for blink in of_kind(eye, "blink"):
        assert any(s.start_ms <= blink.start_ms and blink.end_ms <= s.end_ms for s in of_kind(eye, "saccade"))
    for fixation in of_kind(eye, "fixation"):
        x = eye.x[fixation.start_ms - FIRST_MS : fixation.end_ms + 1 - FIRST_MS]
        assert np.ptp(x) < 250 and abs(x.mean() / 10 - fixation.values[0]) <= 0.05 + 1e-9


def test_the_text_file_holds_everything_in_order(eye: EyeRecording, tmp_path: Path) -> None:
    write_asc(tmp_path / "181105.asc", eye, "181105.edf")
    lines = (tmp_path / "181105.asc").read_text().splitlines()
    assert lines[:3] == [
        "** CONVERTED FROM 181105.edf (synthetic)",
        "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED",
        "**",
    ]
    assert lines[3:6] == [
        f"MSG\t{FIRST_MS - 2} RECCFG CR 1000 2 1 L",
        f"MSG\t{FIRST_MS - 1} GAZE_COORDS 0.00 0.00 1919.00 1079.00",
        f"START\t{FIRST_MS}\tLEFT\tSAMPLES\tEVENTS",
    ]
    assert lines[-1] == f"END\t{eye.end_ms}\tSAMPLES\tEVENTS\tRES\t  35.00\t  35.00"
    rows = [line.split() for line in lines if line[:1].isdigit()]
    assert [int(row[0]) for row in rows] == list(range(FIRST_MS, eye.end_ms + 1))
    for column, expected in ((1, eye.x), (2, eye.y), (3, eye.pupil)):
        values = [MISSING if row[column] == "." else round(10 * float(row[column])) for row in rows]
        assert np.array_equal(values, expected)
    at = 0
    for line in lines[5:-1]:
        if line.startswith(("MSG", "SFIX", "SSACC", "SBLINK")):
            assert int(line.split()[1 if line.startswith("MSG") else 2]) == at + 1
        elif line.startswith(("EFIX", "ESACC", "EBLINK")):
            assert int(line.split()[3]) == at
        else:
            at = int(line.split()[0]) if line[:1].isdigit() else FIRST_MS - 1
    ends = [line.split() for line in lines if line.startswith(("EFIX", "ESACC", "EBLINK"))]
    assert sorted((int(w[2]), int(w[3]), int(w[4])) for w in ends) == sorted(
        (e.start_ms, e.end_ms, e.duration_ms) for e in eye.events
    )
    assert f"MSG\t{TRIGGER[0]} {TRIGGER[1]}" in lines


def read_edf(path: Path) -> tuple[list[tuple[int, int, str]], list[np.ndarray]]:
    """Annotations as `(onset ms, duration ms, text)`, their pieces joined, and the digital signals."""
    reader = pyedflib.EdfReader(str(path))
    joined: list[tuple[int, int, str]] = []
    unfinished = ""
    for onset, duration, text in zip(*reader.readAnnotations(), strict=True):
        if text.endswith("\\"):
            unfinished += text[:-1]
            continue
        joined.append((round(1000 * onset), round(1000 * max(duration, 0)), unfinished + text))
        unfinished = ""
    signals = [reader.readSignal(i, digital=True) for i in range(3)]
    assert [reader.getPhysicalMinimum(i) for i in range(3)] == [-3276.8] * 3
    assert reader.getSignalLabels() == ["gaze x", "gaze y", "pupil"]
    reader.close()
    return joined, signals


def assert_complete(path: Path, eye: EyeRecording) -> None:
    """Nothing is lost: every message, event and sample comes back as it was."""
    file_ms = min(eye.first_ms, *(ms for ms, _ in eye.messages))
    names = {"fixation": "EFIX", "saccade": "ESACC", "blink": "EBLINK"}
    expected = [(ms - file_ms, 0, f"MSG {text}") for ms, text in eye.messages]
    expected += [
        (eye.first_ms - file_ms, 0, f"START {eye.first_ms} LEFT"),
        (eye.end_ms - file_ms, 0, f"END {eye.end_ms}"),
    ]
    found, signals = read_edf(path)
    of_events = [entry for entry in found if entry[2].startswith(("EFIX", "ESACC", "EBLINK"))]
    assert sorted(set(found) - set(of_events)) == sorted(expected)
    assert len(found) == len(expected) + len(eye.events)
    parsed = sorted(
        (onset + file_ms, duration, text.split()[0], tuple(map(float, text.split()[2:])))
        for onset, duration, text in of_events
    )
    assert parsed == sorted((e.start_ms, e.duration_ms, names[e.kind], e.values) for e in eye.events)
    lead = eye.first_ms - file_ms
    for signal, column in zip(signals, (eye.x, eye.y, eye.pupil), strict=True):
        assert np.array_equal(signal[lead : lead + column.size], column)
        assert np.all(signal[:lead] == MISSING) and np.all(signal[lead + column.size :] == MISSING)


def test_the_european_file_holds_everything(eye: EyeRecording, tmp_path: Path) -> None:
    write_european_edf(tmp_path / "a.edf", eye, START)
    assert_complete(tmp_path / "a.edf", eye)


@pytest.mark.parametrize(("n_samples", "n_messages"), [(1, 0), (999, 3), (1000, 64), (1500, 1000)])
def test_no_annotation_is_lost_however_many_and_long(tmp_path: Path, n_samples: int, n_messages: int) -> None:
    messages = [(FIRST_MS + i % n_samples, f"{i} " + "x" * (i % 130)) for i in range(n_messages)]
    eye = simulate_eye(2, 1, FIRST_MS, n_samples, messages)
    write_european_edf(tmp_path / "a.edf", eye, START)
    assert_complete(tmp_path / "a.edf", eye)


def test_an_hour_of_four_hundred_trials(tmp_path: Path) -> None:
    texts = ("Start Trial 11", "Cue Offset 21", "End Trial 31")
    messages = [(FIRST_MS + 9000 * t + 1000 * k, text) for t in range(400) for k, text in enumerate(texts)]
    eye = simulate_eye(3, 1, FIRST_MS, 3_600_000, messages)
    assert len(eye.events) > 7 * 3600
    write_european_edf(tmp_path / "a.edf", eye, START)
    assert_complete(tmp_path / "a.edf", eye)
    (tmp_path / "a.edf").unlink()

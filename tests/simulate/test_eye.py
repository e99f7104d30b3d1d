"""Gaze looks like gaze, and both of its files hold every sample, event and message."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyedflib
import pytest

from raypipe.simulate.asc import write_asc
from raypipe.simulate.european_edf import write_european_edf
from raypipe.simulate.eye import MISSING, EyeEvent, EyeRecording, Tracker, simulate_eye

FIRST_MS = 4_000_526
END_MS = FIRST_MS + 120_400
TRIGGER = (FIRST_MS + 500, "Trigger Version 84")
MESSAGES = [TRIGGER, (FIRST_MS + 60_001, "Start Trial 11")]
START = datetime(2018, 11, 5, 10, 53, 23)
BLOCKS = [(FIRST_MS, FIRST_MS + 30_000), (FIRST_MS + 30_250, FIRST_MS + 90_000), (FIRST_MS + 92_000, END_MS)]

KINDS = {
    "plain": (Tracker(), [(FIRST_MS, END_MS)]),
    "paused": (Tracker(), BLOCKS),
    "500 Hz, both eyes": (Tracker(500, True), BLOCKS),
    "2000 Hz": (Tracker(2000), BLOCKS),
    "2000 Hz, both eyes, to the end": (Tracker(2000, True, fixation_at_end=True), BLOCKS),
}


@pytest.fixture(scope="module")
def eye() -> EyeRecording:
    return simulate_eye(1, 1, Tracker(), [(FIRST_MS, END_MS)], MESSAGES)


@pytest.fixture(scope="module", params=KINDS)
def any_eye(request: pytest.FixtureRequest) -> EyeRecording:
    tracker, blocks = KINDS[request.param]
    return simulate_eye(4, 1, tracker, blocks, MESSAGES)


def of_kind(eye: EyeRecording, kind: str, which: str = "L") -> list[EyeEvent]:
    return [event for event in eye.events if event.kind == kind and event.eye == which]


def samples_of(eye: EyeRecording, event: EyeEvent) -> np.ndarray:
    """Tenths of x, y and pupil (3, n) of the event's eye, by its times."""
    low, high = ((ms - eye.first_ms) * eye.rate_hz / 1000 for ms in (event.start_ms, event.end_ms))
    assert low == int(low) and high == int(high)
    return eye.tracks[eye.eyes.index(event.eye), :, int(low) : int(high) + 1].astype(int)


def test_fixations_saccades_and_blinks_are_plausible(eye: EyeRecording) -> None:
    fixations, saccades, blinks = (of_kind(eye, kind) for kind in ("fixation", "saccade", "blink"))
    (x, y, _), seconds = eye.tracks[0], eye.tracks.shape[-1] / 1000
    assert 2.5 < len(fixations) / seconds < 4 and 2.5 < len(saccades) / seconds < 4
    assert 0.1 < len(blinks) / seconds < 0.5
    assert 150 < np.median([f.duration_ms for f in fixations]) < 300
    assert min(f.duration_ms for f in fixations) >= 40
    assert 30 < np.median([s.duration_ms for s in saccades]) < 80
    assert all(90 <= b.duration_ms < 220 for b in blinks)
    assert max(s.values[5] for s in saccades) < 1000
    missing = np.count_nonzero(x == MISSING)
    assert missing == sum(b.duration_ms for b in blinks)
    seen = x != MISSING
    on_screen = (x[seen] >= 0) & (x[seen] <= 19200) & (y[seen] >= 0) & (y[seen] <= 10800)
    assert 0.9 < on_screen.mean() < 1.0
    for fixation in fixations:
        assert np.ptp(samples_of(eye, fixation)[0]) < 250


def test_events_follow_each_other_and_tell_of_their_samples(any_eye: EyeRecording) -> None:
    step = 1000 / any_eye.rate_hz
    resumed = {any_eye.ms(low) for low, _ in any_eye.blocks}
    for which in any_eye.eyes:
        moves = [event for event in any_eye.events if event.eye == which and event.kind != "blink"]
        for one, other in pairwise(moves):
            assert one.kind != other.kind or other.start_ms in resumed
            assert other.start_ms == one.end_ms + step or other.start_ms in resumed
        for blink in of_kind(any_eye, "blink", which):
            assert np.all(samples_of(any_eye, blink)[:2] == MISSING) and np.all(samples_of(any_eye, blink)[2] == 0)
            around = [s for s in of_kind(any_eye, "saccade", which) if s.start_ms <= blink.start_ms <= s.end_ms]
            assert len(around) == 1 and blink.end_ms <= around[0].end_ms
        for fixation in of_kind(any_eye, "fixation", which):
            means = samples_of(any_eye, fixation).mean(axis=1) / 10
            assert means == pytest.approx(fixation.values, abs=0.05 + 1e-9)
        for event in any_eye.events:
            assert event.duration_ms == event.end_ms - event.start_ms + step


def test_the_eyes_move_together_but_are_not_one() -> None:
    eye = simulate_eye(4, 1, Tracker(500, True), BLOCKS, MESSAGES)
    seen = eye.tracks[0, 0] != MISSING
    assert np.array_equal(seen, eye.tracks[1, 0] != MISSING)
    apart = (eye.tracks[1].astype(int) - eye.tracks[0])[:, seen] / 10
    assert apart[0].mean() == pytest.approx(2, abs=0.1) and abs(apart[1].mean()) < 0.1
    assert apart[1].std() == pytest.approx(1.5 * np.sqrt(2), rel=0.05)
    left, right = (of_kind(eye, "fixation", which) for which in "LR")
    assert [f.start_ms for f in left] == [f.start_ms for f in right] and left[0].values != right[0].values


@pytest.mark.parametrize("blocks", [BLOCKS, BLOCKS[:1]])
def test_the_last_fixation_is_reported_on_request_only(blocks: list[tuple[int, int]]) -> None:
    end_ms = blocks[-1][1] - 1
    for at_end in (False, True):
        eye = simulate_eye(4, 1, Tracker(fixation_at_end=at_end), blocks, MESSAGES)
        ends = {f.end_ms for f in of_kind(eye, "fixation")}
        assert (end_ms in ends) is at_end
        assert not ends & {stop - 1 for _, stop in blocks[:-1]}


def test_the_text_file_holds_everything_in_order(any_eye: EyeRecording, tmp_path: Path) -> None:
    eye = any_eye
    write_asc(tmp_path / "181105.asc", eye, "181105.edf")
    lines = (tmp_path / "181105.asc").read_text().splitlines()
    assert lines[:3] == [
        "** CONVERTED FROM 181105.edf (synthetic)",
        "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED",
        "**",
    ]
    names = "\t".join({"L": "LEFT", "R": "RIGHT"}[which] for which in eye.eyes)
    assert lines[3:6] == [
        f"MSG\t{FIRST_MS - 2} RECCFG CR {eye.rate_hz} 2 1 {''.join(eye.eyes)}",
        f"MSG\t{FIRST_MS - 1} GAZE_COORDS 0.00 0.00 1919.00 1079.00",
        f"START\t{FIRST_MS}\t{names}\tSAMPLES\tEVENTS",
    ]
    assert lines[-1] == f"END\t{eye.end_ms}\tSAMPLES\tEVENTS\tRES\t  35.00\t  35.00"
    rows = [line.split() for line in lines if line[:1].isdigit()]
    recorded = np.concatenate([np.arange(low, high) for low, high in eye.blocks])
    assert np.array_equal([float(row[0]) for row in rows], FIRST_MS + recorded * 1000 / eye.rate_hz)
    assert {row[-1] for row in rows} == {"..." if len(eye.eyes) == 1 else "....."}
    for column, expected in enumerate(eye.tracks[:, :, recorded].reshape(-1, recorded.size), start=1):
        values = [MISSING if row[column] == "." else round(10 * float(row[column])) for row in rows]
        assert np.array_equal(values, expected)
    assert_in_order(lines[3:], eye)
    ends = [line.split() for line in lines if line.startswith(("EFIX", "ESACC", "EBLINK"))]
    assert sorted((w[1], float(w[2]), float(w[3]), float(w[4])) for w in ends) == sorted(
        (e.eye, e.start_ms, e.end_ms, e.duration_ms) for e in eye.events
    )
    assert [line for line in lines if line.startswith("MSG")] == [f"MSG\t{ms} {text}" for ms, text in eye.messages]


def assert_in_order(lines: list[str], eye: EyeRecording) -> None:
    """What begins stands before its first sample, what ends behind its last, and samples are within blocks."""
    at, step, within = float(FIRST_MS) - 2 - 1000 / eye.rate_hz, 1000 / eye.rate_hz, False
    for line in lines:
        words = line.split()
        if line.startswith("START"):
            assert not within and at < float(words[1])
            within, at = True, float(words[1]) - step
        elif line.startswith("END"):
            assert within and at == float(words[1])
            within = False
        elif line.startswith("MSG"):
            assert at < float(words[1]) <= at + step or not within
        elif line.startswith(("SFIX", "SSACC", "SBLINK")):
            assert float(words[2]) == at + step and within
        elif line.startswith(("EFIX", "ESACC", "EBLINK")):
            assert float(words[3]) == at and within
        else:
            assert within and float(words[0]) == at + step
            at = float(words[0])
    assert not within


def read_edf(path: Path) -> tuple[list[tuple[float, float, str]], dict[str, np.ndarray], float]:
    """Annotations as `(onset ms, duration ms, text)`, their pieces joined, the digital signals, and their rate."""
    reader = pyedflib.EdfReader(str(path))
    joined: list[tuple[float, float, str]] = []
    unfinished = ""
    for onset, duration, text in zip(*reader.readAnnotations(), strict=True):
        if text.endswith("\\"):
            unfinished += text[:-1]
            continue
        joined.append((round(1000 * onset, 3), round(1000 * max(duration, 0), 3), unfinished + text))
        unfinished = ""
    labels = reader.getSignalLabels()
    signals = {label: reader.readSignal(i, digital=True) for i, label in enumerate(labels)}
    assert [reader.getPhysicalMinimum(i) for i in range(len(labels))] == [-3276.8] * len(labels)
    (rate,) = set(reader.getSampleFrequencies())
    reader.close()
    return joined, signals, rate


def assert_complete(path: Path, eye: EyeRecording) -> None:
    """Nothing is lost: every message, event and sample comes back as it was."""
    file_ms = min(eye.first_ms, *(ms for ms, _ in eye.messages))
    names = {"fixation": "EFIX", "saccade": "ESACC", "blink": "EBLINK"}
    sides = " ".join({"L": "LEFT", "R": "RIGHT"}[which] for which in eye.eyes)
    expected = [(float(ms - file_ms), 0.0, f"MSG {text}") for ms, text in eye.messages]
    for low, high in eye.blocks:
        expected.append((eye.ms(low) - file_ms, 0.0, f"START {eye.ms(low):.0f} {sides}"))
        expected.append((eye.ms(high - 1) - file_ms, 0.0, f"END {eye.ms(high - 1)}"))
    found, signals, rate = read_edf(path)
    assert rate == eye.rate_hz
    of_events = [entry for entry in found if entry[2].startswith(("EFIX", "ESACC", "EBLINK"))]
    assert sorted(set(found) - set(of_events)) == sorted(expected)
    assert len(found) == len(expected) + len(eye.events)
    parsed = sorted(
        (onset + file_ms, duration, *text.split()[:2], tuple(map(float, text.split()[2:])))
        for onset, duration, text in of_events
    )
    assert parsed == sorted((e.start_ms, e.duration_ms, names[e.kind], e.eye, e.values) for e in eye.events)
    lead = (eye.first_ms - file_ms) * eye.rate_hz // 1000
    ends = [""] if len(eye.eyes) == 1 else [" left", " right"]
    assert list(signals) == [kind + end for end in ends for kind in ("gaze x", "gaze y", "pupil")]
    recorded = np.zeros(len(signals["gaze x" + ends[0]]), bool)
    for low, high in eye.blocks:
        recorded[lead + low : lead + high] = True
    there = np.concatenate([np.arange(low, high) for low, high in eye.blocks])
    for signal, column in zip(signals.values(), eye.tracks.reshape(-1, eye.tracks.shape[-1]), strict=True):
        assert np.array_equal(signal[recorded], column[there])
        assert np.all(signal[~recorded] == MISSING)


def test_the_european_file_holds_everything(any_eye: EyeRecording, tmp_path: Path) -> None:
    write_european_edf(tmp_path / "a.edf", any_eye, START)
    assert_complete(tmp_path / "a.edf", any_eye)


@pytest.mark.parametrize(("n_samples", "n_messages"), [(1, 0), (999, 3), (1000, 64), (1500, 1000)])
def test_no_annotation_is_lost_however_many_and_long(tmp_path: Path, n_samples: int, n_messages: int) -> None:
    messages = [(FIRST_MS + i % n_samples, f"{i} " + "x" * (i % 130)) for i in range(n_messages)]
    eye = simulate_eye(2, 1, Tracker(), [(FIRST_MS, FIRST_MS + n_samples)], messages)
    write_european_edf(tmp_path / "a.edf", eye, START)
    assert_complete(tmp_path / "a.edf", eye)


def test_an_hour_of_four_hundred_trials(tmp_path: Path) -> None:
    texts = ("Start Trial 11", "Cue Offset 21", "End Trial 31")
    messages = [(FIRST_MS + 9000 * t + 1000 * k, text) for t in range(400) for k, text in enumerate(texts)]
    eye = simulate_eye(3, 1, Tracker(), [(FIRST_MS, FIRST_MS + 3_600_000)], messages)
    assert len(eye.events) > 6 * 3600
    write_european_edf(tmp_path / "a.edf", eye, START)
    assert_complete(tmp_path / "a.edf", eye)
    (tmp_path / "a.edf").unlink()

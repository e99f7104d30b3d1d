"""Whatever is asked of a day stands in its files, as its truth says: no more is missing, and nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from raypipe.io.natural import in_natural_order
from raypipe.io.nev import read_nev
from raypipe.io.unity_log import read_unity_logs
from raypipe.simulate import SimulateSettings, simulate_day
from raypipe.stages.rplparallel import arrange_markers

EVENTS = ("cue on", "cue off", "end")
REQUESTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no version word": {"marker_format": None},
    "204": {"marker_format": 204},
    "no time-out": {"timeout_fraction": 0},
    "all time-outs": {"timeout_fraction": 1},
    "500 Hz": {"eye_rate_hz": 500, "eye_ppm": 37},
    "2000 Hz": {"eye_rate_hz": 2000},
    "both eyes": {"binocular": True},
    "pauses": {"pauses": 4},
    "all pauses": {"pauses": 11, "eye_rate_hz": 500, "binocular": True},
    "lost messages": {"lost_messages": 5},
    "lost trials": {"lost_trials": 2},
    "incomplete": {"incomplete_trials": 3},
    "incomplete in Unity": {"incomplete_trials": 2, "cut_last_trial": True, "incomplete_in": "unity"},
    "incomplete in Ripple": {"incomplete_trials": 2, "cut_last_trial": True, "incomplete_in": "ripple"},
    "cut": {"cut_last_trial": True},
    "dummies": {"dummy_sessions": 2, "marker_format": None},
    "last fixation": {"fixation_at_end": True, "seconds": 39.9995},
    "14 lines": {"header_lines": 14},
    "11 logs": {"unity_files": 11, "cut_last_trial": True},
    "everything": {
        "eye_rate_hz": 2000,
        "binocular": True,
        "pauses": 2,
        "lost_messages": 3,
        "lost_trials": 1,
        "incomplete_trials": 1,
        "cut_last_trial": True,
        "dummy_sessions": 1,
        "fixation_at_end": True,
        "header_lines": 14,
        "unity_files": 3,
        "scene": "C",
        "marker_format": 204,
    },
}


@dataclass(frozen=True)
class Day:
    folder: Path
    settings: SimulateSettings
    truth: dict[str, Any]
    eye: EyeRecording

    @property
    def sessions(self) -> dict[str, dict[str, Any]]:
        return {name: told for name, told in self.truth["sessions"].items() if name != "sessioneye"}


@pytest.fixture(scope="module", params=REQUESTS)
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Day:
    usual = {"channels": 1, "seconds": 40, "eye_seconds": 3, "trials": 12, "sessions": 2, "seed": 6}
    settings = SimulateSettings(**(usual | REQUESTS[request.param]))
    folder = simulate_day(tmp_path_factory.mktemp("day"), settings)
    truth = json.loads((folder / "ground_truth.json").read_text())
    return Day(folder, settings, truth, read_eye_file(folder / "181105.asc"))


def expected_words(told: dict[str, Any], missing: str) -> list[int]:
    gone = [tuple(event) for event in told[missing]]
    codes = [(n, event, c) for n, t in enumerate(told["trials"]) for event, c in zip(EVENTS, t["codes"], strict=True)]
    return [code for trial, event, code in codes if (trial, event) not in gone]


def test_the_truth_lists_as_much_as_was_asked_for(day: Day) -> None:
    s = day.settings
    for told in day.sessions.values():
        assert len(told["lost_messages"]) == s.lost_messages + 3 * s.lost_trials
        assert len(told["incomplete_trials"]) == s.incomplete_trials + s.cut_last_trial
        timeouts = sum(trial["timeout"] for trial in told["trials"])
        assert timeouts == round(s.timeout_fraction * s.trials)
    told = day.truth["eye_files"]["181105"]
    assert len(told["dummy_sessions"]) == s.dummy_sessions
    assert len(told["blocks_ms"]) == 1 + s.sessions * s.pauses
    assert (told["rate_hz"], len(told["eyes"])) == (s.eye_rate_hz, 1 + s.binocular)


def test_ripple_has_the_words_that_are_not_missing(day: Day) -> None:
    for name, told in day.sessions.items():
        (path,) = (day.folder / name).glob("*.nev")
        nev = read_nev(path)
        version = [day.settings.marker_format] if day.settings.marker_format else []
        words = nev.codes[nev.codes != 0].tolist()
        assert words == version + expected_words(told, "missing_in_ripple")
        markers = arrange_markers(nev.codes, nev.ticks, 30000)
        complete = [t for n, t in enumerate(told["trials"]) if [n, "end"] not in told["missing_in_ripple"]]
        assert markers.fields["markers"].tolist() == [trial["codes"] for trial in complete]
        assert markers.fields["timeStamps"] == pytest.approx(np.array([t["ripple_ticks"] for t in complete]) / 30000)


def test_unity_has_the_words_that_are_not_missing_where_the_truth_says(day: Day) -> None:
    for name, told in day.sessions.items():
        paths = in_natural_order(list((day.folder / name).glob("RawData*/*")))
        log = read_unity_logs(paths)
        assert log.n_files == day.settings.unity_files and not log.notes
        rows = [row for trial in told["trials"] for row in trial["unity_rows"] if row is not None]
        assert np.flatnonzero(log.frames[:, 0]).tolist() == rows
        assert log.frames[rows, 0].tolist() == expected_words(told, "missing_in_unity")
        assert len(log.frames) == told["unity_rows"]
        seconds = np.cumsum(log.frames[:, 1])
        for trial in told["trials"]:
            for row, when in zip(trial["unity_rows"], trial["unity_seconds"], strict=True):
                assert row is None or seconds[row] == pytest.approx(when, abs=1e-6)
        _, cue_off, end = told["trials"][-1]["unity_seconds"]
        is_cut = day.settings.cut_last_trial and day.settings.incomplete_in != "ripple"
        assert told["unity_log_is_cut"] is is_cut
        assert (cue_off < seconds[-1] < end) if is_cut else (seconds[-1] > end)
        for number, path in enumerate(paths, start=1):
            if len(paths) > 1:
                assert path.name.startswith(f"session_{number}_")
            lines = path.read_text().splitlines()
            assert lines[day.settings.header_lines - 1] == "Columns: trigger dt x y heading"


def test_the_eye_file_has_the_messages_that_are_not_missing(day: Day) -> None:
    found = [
        (ms, text)
        for ms, text in zip(day.eye.message_ms.tolist(), day.eye.message_texts, strict=True)
        if not text.startswith(("RECCFG", "GAZE_COORDS"))
    ]
    version = f"Trigger Version {day.settings.marker_format or 84}"
    names = {1: "Start Trial", 2: "Cue Offset", 3: "End Trial", 4: "Timeout"}
    expected = []
    for dummy in day.truth["eye_files"]["181105"]["dummy_sessions"]:
        expected.append((dummy["trigger_eye_ms"], version))
        events = [event for t in dummy["trials"] for event in zip(t["eye_ms"], t["codes"], strict=True)]
        expected += [(ms, f"{names[code // 10]} {code}") for ms, code in events]
    for told in day.sessions.values():
        expected.append(
            (told["eye_offset_ms"] + round(told["trigger_ticks"] / 30 * (1 + 1e-6 * day.settings.eye_ppm)), version)
        )
        gone = [tuple(event) for event in told["missing_in_eye"]]
        for number, trial in enumerate(told["trials"]):
            for event, ms, code in zip(EVENTS, trial["eye_ms"], trial["codes"], strict=True):
                if (number, event) not in gone:
                    expected.append((ms, f"{names[code // 10]} {code}"))
        for lost in told["lost_messages"]:
            assert (lost["eye_ms"], lost["text"]) not in found and (lost["trial"], lost["event"]) in gone
    assert found == expected
    assert [ms for ms, _ in found] == sorted(ms for ms, _ in found)


def test_the_eye_file_has_the_samples_it_should(day: Day) -> None:
    told, s, eye = day.truth["eye_files"]["181105"], day.settings, day.eye
    assert eye.sampling_rate_hz == s.eye_rate_hz and len(eye.eyes) == 1 + s.binocular
    blocks = [[eye.ms[low], eye.ms[high - 1]] for low, high in eye.blocks]
    assert blocks == told["blocks_ms"] and eye.ms.size == told["n_samples"]
    assert np.count_nonzero(np.isnan(eye.gaze_px[0, 0])) == told["n_missing_samples"]
    # No message of a trial falls into a pause.
    for low, high in zip(told["blocks_ms"][:-1], told["blocks_ms"][1:], strict=True):
        assert high[0] - low[1] > 50
        assert not any(
            low[1] < ms < high[0] and not text.startswith(("RECCFG", "GAZE"))
            for ms, text in zip(eye.message_ms, eye.message_texts, strict=True)
        )
    configured = [text for text in eye.message_texts if text.startswith("RECCFG")]
    assert configured == [f"RECCFG CR {s.eye_rate_hz} 2 1 {'LR' if s.binocular else 'L'}"] * len(blocks)
    last = day.eye.events["fixation"].end_ms.max()
    assert bool(last == eye.ms[-1]) is s.fixation_at_end
    whole = {"fixation": "fixations", "saccade": "saccades", "blink": "blinks"}
    for kind, name in whole.items():
        left = ~eye.events[kind].is_right
        assert left.sum() == told[name]["n"] and (~left).sum() == told[name]["n"] * s.binocular


@pytest.mark.parametrize("name", ["181105", "P11_5"])
def test_both_eye_files_say_the_same(day: Day, name: str) -> None:
    text, edf = read_eye_file(day.folder / f"{name}.asc"), read_eye_file(day.folder / f"{name}.edf")
    assert (text.source, edf.source) == ("EyeLink text", "European EDF")
    assert text.eyes == edf.eyes and text.sampling_rate_hz == edf.sampling_rate_hz == day.settings.eye_rate_hz
    assert np.array_equal(text.ms, edf.ms) and np.array_equal(text.blocks, edf.blocks)
    assert np.allclose(text.gaze_px, edf.gaze_px, atol=1e-9, equal_nan=True)
    assert list(zip(text.message_ms, text.message_texts, strict=True)) == list(
        zip(edf.message_ms, edf.message_texts, strict=True)
    )
    for kind, events in text.events.items():
        others = edf.events[kind]
        assert np.array_equal(events.start_ms, others.start_ms) and np.array_equal(events.end_ms, others.end_ms)
        assert np.array_equal(events.is_right, others.is_right)
        assert np.allclose(events.values[:, :2], others.values[:, :2])


def test_lost_messages_leave_the_rest_as_it_would_have_been(tmp_path: Path) -> None:
    usual = {"channels": 1, "seconds": 40, "eye_seconds": 3, "trials": 12, "seed": 6}
    plain = simulate_day(tmp_path / "plain", SimulateSettings(**usual))
    poorer = simulate_day(tmp_path / "poorer", SimulateSettings(**usual, lost_messages=5, lost_trials=1))
    whole, less = (read_eye_file(folder / "181105.asc") for folder in (plain, poorer))
    assert np.array_equal(whole.gaze_px, less.gaze_px, equal_nan=True)
    assert len(whole.message_texts) == len(less.message_texts) + 5 + 3
    assert whole.events["fixation"].values.tolist() == less.events["fixation"].values.tolist()
    files = [path for path in plain.rglob("session*/**/*") if path.is_file()]
    assert len(files) == 5
    assert all(path.read_bytes() == (poorer / path.relative_to(plain)).read_bytes() for path in files)


def test_every_request_can_be_made_on_the_command_line(tmp_path: Path) -> None:
    words = """--channels 2 --seconds 40 --eye-seconds 3 --trials 12 --unity-ppm 100 --eye-ppm -100 --timeouts 0 --scene C
        --eye-rate 500 --binocular --pauses 2 --lost-messages 3 --lost-trials 1 --incomplete-trials 1 --cut-last-trial
        --incomplete-in unity --dummy-sessions 1 --fixation-at-end --header-lines 14 --unity-files 3"""
    shown = CliRunner().invoke(app, ["simulate", str(tmp_path / "a"), *words.split()])
    assert shown.exit_code == 0, shown.output
    settings = SimulateSettings(
        channels=2,
        seconds=40,
        eye_seconds=3,
        trials=12,
        unity_ppm=100.0,
        eye_ppm=-100.0,
        timeout_fraction=0,
        scene="C",
        eye_rate_hz=500,
        binocular=True,
        pauses=2,
        lost_messages=3,
        lost_trials=1,
        incomplete_trials=1,
        cut_last_trial=True,
        incomplete_in="unity",
        dummy_sessions=1,
        fixation_at_end=True,
        header_lines=14,
        unity_files=3,
    )
    meant = simulate_day(tmp_path / "b", settings)
    made = Path(shown.stdout.split()[-1])
    for path in (path for path in meant.rglob("*") if path.is_file()):
        assert (made / path.relative_to(meant)).read_bytes() == path.read_bytes()

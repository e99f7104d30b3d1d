"""Settings that cannot be meant are refused, and nothing is written."""

from pathlib import Path

import pytest

from raypipe.errors import TooLittleDisk, UsageError
from raypipe.simulate import SimulateSettings, day, simulate_day

SMALL = SimulateSettings(channels=1, seconds=6, eye_seconds=2, trials=1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"trials": 30}, "30 trials do not fit in 60 s: they need at least 77.5 s"),
        ({"trials": 0}, "at least 1"),
        ({"seconds": float("nan")}, "do not fit"),
        ({"seconds": 1e9}, "at most 86400 s"),
        ({"eye_seconds": 1}, "calibration of 1 s"),
        ({"channels": 0}, "no channels"),
        ({"channels": [0, 1]}, "channels 0 to 1"),
        ({"channels": [513]}, "from 1 to 512"),
        ({"channels": [7, 7]}, "twice"),
        ({"sessions": 0}, "1 to 9"),
        ({"sessions": 10}, "1 to 9"),
        ({"seed": -1}, "0 or above"),
        ({"spec": "3.0"}, "2.2 or 2.3"),
        ({"marker_format": 85}, "84, 204 or None"),
        ({"subject": "picasso2"}, "letters only"),
        ({"day": "20181305"}, "a date"),
        ({"day": "2018115"}, "a date"),
        ({"eye_ppm": 2000}, "1000 ppm"),
        ({"noise_uv": -1}, "0 to 1000"),
        ({"line_uv": float("inf")}, "0 to 1000"),
        ({"line_hz": 49.5}, "whole"),
        ({"timeout_fraction": 1.5}, "0 to 1"),
        ({"eye_rate_hz": 250}, "500, 1000 or 2000"),
        ({"pauses": 10}, "one less than trials"),
        ({"pauses": -1}, "one less than trials"),
        ({"lost_messages": 19}, "more than the session's 10 trials"),
        ({"lost_trials": 10}, "more than the session's 10 trials"),
        ({"incomplete_trials": 9, "cut_last_trial": True}, "more than the session's 10 trials"),
        ({"trials": 1, "cut_last_trial": True}, "more than the session's 1 trials"),
        ({"lost_messages": -1}, "0 or above"),
        ({"incomplete_in": "eye"}, "all, unity, ripple"),
        ({"dummy_sessions": 10}, "0 to 9"),
        ({"header_lines": 13}, "14 or 15"),
        ({"unity_files": 0}, "1 to 99"),
        ({"unity_files": 11}, "not more than trials"),
        ({"scene": "B"}, "A or C"),
    ],
)
def test_what_cannot_be_meant_is_refused(bad: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SimulateSettings(**bad)


def test_channels_are_a_count_or_a_list() -> None:
    assert SimulateSettings(channels=3).channel_numbers == (1, 2, 3)
    assert SimulateSettings(channels=[120, 9]).channel_numbers == (120, 9)


def test_only_a_simulated_day_is_overwritten(tmp_path: Path) -> None:
    folder = simulate_day(tmp_path, SMALL)
    assert folder == tmp_path / "picasso" / "20181105"
    stale = folder / "session01" / "rplparallel_d41d.hkl"
    stale.touch()
    with pytest.raises(UsageError, match="not empty"):
        simulate_day(tmp_path, SMALL)
    assert stale.exists()
    simulate_day(tmp_path, SMALL, overwrite=True)
    assert not stale.exists()
    (folder / "ground_truth.json").unlink()
    with pytest.raises(UsageError, match="not simulated"):
        simulate_day(tmp_path, SMALL, overwrite=True)
    assert (folder / "181105.asc").exists()


def test_a_day_that_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(TooLittleDisk, match=r"0\.0 GB left"):
        simulate_day(tmp_path / "new", SMALL)
    assert not (tmp_path / "new").exists()

"""Unity's log: a continuous walk in the corridors, its triggers where Unity's clock puts them."""

from pathlib import Path

import numpy as np
import pytest

from raypipe.simulate import SimulateSettings
from raypipe.simulate.behaviour import Walk, simulate_walk, write_unity_logs
from raypipe.simulate.clocks import Clocks, session_clocks
from raypipe.simulate.trials import Navigation, plan_navigation
from raypipe.stages.maze import JUNCTIONS, POSTERS

SETTINGS = SimulateSettings(seconds=300, trials=30, unity_ppm=500)


@pytest.fixture(scope="module")
def walked() -> tuple[Navigation, Clocks, Walk]:
    navigation = plan_navigation(SETTINGS, 1)
    clocks = session_clocks(SETTINGS, 1, navigation.trigger_ticks)
    return navigation, clocks, simulate_walk(SETTINGS, navigation, clocks)


def test_the_log_says_when_and_what(walked: tuple[Navigation, Clocks, Walk], tmp_path: Path) -> None:
    navigation, clocks, walk = walked
    write_unity_logs([tmp_path / "session_1.txt"], walk)
    assert (tmp_path / "session_1.txt").read_text().splitlines()[14] == "Columns: trigger dt x y heading"
    log = np.loadtxt(tmp_path / "session_1.txt", skiprows=15)
    rows = np.flatnonzero(log[:, 0])
    assert rows.tolist() == walk.event_rows.ravel().tolist()
    assert log[rows, 0].tolist() == [code for trial in navigation.trials for code in trial.codes]
    expected = [clocks.unity_seconds(tick) for trial in navigation.trials for tick in trial.ticks]
    assert np.cumsum(log[:, 1])[rows] == pytest.approx(expected, abs=1e-6)
    ripple = (navigation.trials[-1].end_ticks - navigation.trigger_ticks) / 30000
    assert expected[-1] - ripple == pytest.approx(500e-6 * ripple, rel=1e-6)


def test_the_walk_is_continuous_and_stays_in_the_corridors(walked: tuple[Navigation, Clocks, Walk]) -> None:
    navigation, _, walk = walked
    dt = np.diff(walk.seconds)
    assert dt.min() > 0.01 and dt.max() < 0.06
    speed = np.hypot(np.diff(walk.x), np.diff(walk.z)) / dt
    lengths = [5 * (len(t.route) - 1) / ((t.end_ticks - t.cue_off_ticks) / 30000) for t in navigation.trials]
    assert speed.max() <= max(lengths) * 1.001
    on_column = np.isin(np.round(walk.x, 6), (-10, 0, 10))
    on_row = np.isin(np.round(walk.z, 6), (-10, 0, 10))
    assert np.all(on_column | on_row) and np.abs([walk.x, walk.z]).max() <= 10
    for trial, (_, _, end) in zip(navigation.trials, walk.event_rows, strict=True):
        assert (walk.x[end], walk.z[end]) == pytest.approx(JUNCTIONS[trial.route[-1]])


def test_the_heading_is_where_one_walks(walked: tuple[Navigation, Clocks, Walk]) -> None:
    _, _, walk = walked
    assert walk.heading_deg.min() >= 0 and walk.heading_deg.max() < 360
    dx, dz = np.diff(walk.x), np.diff(walk.z)
    along = np.hypot(dx, dz) > 0.05
    direction = np.degrees(np.arctan2(dx, dz))
    error = (walk.heading_deg[1:] - direction + 180) % 360 - 180
    assert np.mean(np.abs(error[along]) < 1) > 0.8


def test_who_found_a_poster_looks_at_it_and_who_did_not_goes_on_looking_ahead(
    walked: tuple[Navigation, Clocks, Walk],
) -> None:
    navigation, _, walk = walked
    ends = zip(navigation.trials[:-1], walk.event_rows[:-1, 2], walk.event_rows[1:, 1], strict=True)
    for trial, end, leaves in ends:
        row = leaves - 5  # before the next walk begins
        x, z = POSTERS[trial.poster - 1]
        to_poster = np.degrees(np.arctan2(x - walk.x[row], z - walk.z[row])) % 360
        if trial.timeout:
            assert walk.heading_deg[row] == walk.heading_deg[end + 4]
        elif walk.seconds[row] - walk.seconds[end] > 0.5:
            assert walk.heading_deg[row] == pytest.approx(to_poster, abs=1e-3)


def test_standing_still_from_end_to_cue_offset(walked: tuple[Navigation, Clocks, Walk]) -> None:
    _, _, walk = walked
    for (_, _, end), (_, cue_off, _) in zip(walk.event_rows[:-1], walk.event_rows[1:], strict=True):
        assert np.ptp(walk.x[end : cue_off + 1]) < 1e-9 and np.ptp(walk.z[end : cue_off + 1]) < 1e-9


def test_poses_are_those_of_the_log(walked: tuple[Navigation, Clocks, Walk], tmp_path: Path) -> None:
    _, _, walk = walked
    write_unity_logs([tmp_path / "session_1.txt"], walk, 14)
    lines = (tmp_path / "session_1.txt").read_text().splitlines()
    assert lines[13] == "Columns: trigger dt x y heading"
    log = np.loadtxt(lines[14:])
    assert np.array_equal(log[:, 2:], np.stack([walk.x, walk.z, walk.heading_deg], axis=1))


@pytest.mark.parametrize("n_logs", [2, 10, 30])
def test_several_logs_are_one_after_the_other(
    walked: tuple[Navigation, Clocks, Walk], tmp_path: Path, n_logs: int
) -> None:
    _, _, walk = walked
    paths = [tmp_path / f"session_{number}.txt" for number in range(1, n_logs + 1)]
    write_unity_logs([tmp_path / "one.txt"], walk)
    write_unity_logs(paths, walk)
    parts = [path.read_text().splitlines() for path in paths]
    whole = (tmp_path / "one.txt").read_text().splitlines()
    assert all(part[:15] == whole[:15] for part in parts)
    assert [line for part in parts for line in part[15:]] == whole[15:]
    for part in parts:
        words = [word for line in part[15:] if (word := line.split()[0]) != "0"]
        assert words[0][0] == "1" and words[-1][0] in "34" and len(words) % 3 == 0, "whole trials"

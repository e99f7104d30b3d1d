"""The behavioural stages of a day, run as a user runs them: on a real Ray, from files to files, with what goes wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest

import raypipe
from raypipe.config import Config, Raycast, Resources
from raypipe.events import Event, Note, WorkStarted
from raypipe.io.tables import Table
from raypipe.simulate import SimulateSettings, simulate_day
from raypipe.status import status_of
from tests.compare import BEHAVIOUR, datasets, leftovers

pytestmark = pytest.mark.usefixtures("one_ray")
STAGES = ("rplparallel", *BEHAVIOUR)
RAYPIPE = Path(sys.executable).parent / "raypipe"

# All that may go amiss in one day without anybody's fault.
HARD = SimulateSettings(
    channels=1,
    seconds=48,
    eye_seconds=4,
    trials=11,
    sessions=2,
    seed=11,
    unity_ppm=100,
    eye_ppm=-100,
    pauses=2,
    lost_messages=2,
    lost_trials=1,
    incomplete_trials=1,
    dummy_sessions=1,
    unity_files=11,
    header_lines=14,
    marker_format=204,
)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day with two sessions and most of what may go amiss; not to be changed."""
    return simulate_day(tmp_path_factory.mktemp("hard"), HARD)


@pytest.fixture(scope="module")
def made(hard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of it; not to be changed."""
    out = tmp_path_factory.mktemp("made")
    events: list[Event] = []
    report = raypipe.run_day(hard, output=out, only=STAGES, listeners=[events.append])
    assert (report.exit_code, report.failures) == (0, [])
    begun = [(event.stage, event.sessions) for event in events if isinstance(event, WorkStarted)]
    assert begun.count(("edfsplit", ("session01", "session02"))) == 1, "one reading for both sessions"
    notes = " ".join(event.text for event in events if isinstance(event, Note))
    assert "reconstructed" in notes
    assert "incomplete" in notes or "not complete" in notes or "belong to no complete trial" in notes
    return out / "picasso" / "20181105"


def truth(day: Path, session: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((day / "ground_truth.json").read_text())["sessions"][session]
    return told


def complete_trials(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [trial for number, trial in enumerate(told["trials"]) if number not in told["incomplete_trials"]]


@pytest.mark.parametrize("session", ["session01", "session02"])
def test_every_marker_is_at_its_ripple_time(hard: Path, made: Path, session: str) -> None:
    told = truth(hard, session)
    ripple_s = np.array([trial["ripple_ticks"] for trial in complete_trials(told)]) / 30000
    unity = raypipe.load(made / session / "unity_71bf.hkl")
    np.testing.assert_array_equal(unity["unityTime"][0][unity["unityTriggers"][0] + 1], ripple_s)
    eye = raypipe.load(made / session / "eyelink_24d5.hkl")
    rows = np.rint(eye["trial_timestamps"].values * eye["samplingRate"]).astype(int)
    np.testing.assert_array_equal(eye["timestamps"].values[rows], ripple_s)
    assert eye["reconstructed"].sum() == len(told["lost_messages"]) > 2
    np.testing.assert_array_equal(eye["trial_codes"].values, [trial["codes"] for trial in complete_trials(told)])


@pytest.mark.parametrize("session", ["session01", "session02"])
def test_between_the_markers_no_sample_is_a_millisecond_off(hard: Path, made: Path, session: str) -> None:
    told, eye = truth(hard, session), raypipe.load(made / session / "eyelink_24d5.hkl")
    found = eye["timestamps"].values
    # The planted fixations are told in the tracker's time: so is the sample of each of them.
    rows = gaze_rows(made / session)
    fixations = told["planted_fixations"]
    assert len(fixations) > 50
    off = []
    for fixation in fixations:
        tracker_ms = np.array([fixation["start_ms"], fixation["end_ms"]])
        ripple_s = (tracker_ms - told["eye_offset_ms"]) / 1000 / (1 - 1e-4)
        off += list(np.abs(found[np.searchsorted(found, ripple_s - 5e-4)] - ripple_s))
    assert max(off) < 1e-3
    assert len(rows) > 20_000


def gaze_rows(session: Path) -> list[list[str]]:
    with (session / "unityfile_eyelink.csv").open() as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("session", ["session01", "session02"])
def test_gaze_is_on_what_was_planted(hard: Path, made: Path, session: str) -> None:
    told = truth(hard, session)
    rows = gaze_rows(made / session)
    assert {len(row) for row in rows} == {18}
    ms = np.array([int(row[1]) for row in rows])
    names = np.array([row[2] for row in rows])
    found = n_samples = 0
    for fixation in told["planted_fixations"]:
        tracker_ms = np.array([fixation["start_ms"], fixation["end_ms"]])
        start, end = (tracker_ms - told["eye_offset_ms"]) / (1 - 1e-4)
        # A marker that was reconstructed may be half a millisecond off, and stamps are rounded: the edges are left out.
        inside = (ms > start + 2) & (ms < end - 2)
        n_samples += np.count_nonzero(inside)
        found += np.count_nonzero(names[inside] == fixation["object"])
    assert n_samples > 10_000
    assert found == n_samples


def test_bins_follow_the_gaze(made: Path) -> None:
    with h5py.File(made / "session01" / "binData.hdf") as file:
        data = file["data"]
        assert (data.shape[1], data.dtype, data.chunks) == (2, np.float64, (1000, 2))
        ms, bins = data[:].T
    assert bins.min() >= 1 and bins.max() <= 5122
    assert np.all(np.diff(ms) >= 0)
    rows = gaze_rows(made / "session01")
    looked = {int(row[1]): row[2] for row in rows}
    ground = {int(t) for t, number in zip(ms, bins, strict=True) if 3 <= number <= 1602}
    assert {looked[t] for t in ground} >= {"Ground"}
    ignored = {int(row[1]) for row in rows if row[2] == "Sample Ignored"}
    assert ignored and not ignored & set(ms.astype(int))


def test_occupancy_is_the_time_in_the_maze(hard: Path, made: Path) -> None:
    umaze = raypipe.load(made / "session01" / "umaze_fd09.hkl")
    assert np.isfinite(umaze["P_i"]).all() and umaze["P_i"].sum() == pytest.approx(1)
    walked = sum(
        trial["ripple_ticks"][2] - trial["ripple_ticks"][1] for trial in complete_trials(truth(hard, "session01"))
    )
    assert isinstance(umaze["matrix"], Table)
    assert umaze["matrix"].values.sum() == pytest.approx(walked / 30000, rel=0.05)


def test_a_picture_is_there_and_the_day_is_complete(hard: Path, made: Path) -> None:
    assert (made / "session01" / "maze.png").read_bytes().startswith(b"\x89PNG")
    plan = raypipe.plan_day(hard, output=made.parents[1], only=STAGES)
    assert not plan.todo
    assert status_of(plan).complete
    assert leftovers(made) == []


def test_made_again_it_is_the_same(hard: Path, made: Path, tmp_path: Path) -> None:
    assert raypipe.run_day(hard, output=tmp_path, only=STAGES).exit_code == 0
    assert datasets(tmp_path / "picasso" / "20181105") == datasets(made)


def test_wherever_it_is_killed_the_next_run_makes_the_same(hard: Path, made: Path, tmp_path: Path) -> None:
    expected = datasets(made)
    for stage in ("aligning_objects", "raycast", "picture"):
        command = [RAYPIPE, "run", hard, "--output", tmp_path, "--json", *(f"--only={name}" for name in STAGES)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "WorkStarted" and event["stage"] == stage:
                    break
            family = psutil.Process(process.pid).children(recursive=True)
            os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive
    assert raypipe.run_day(hard, output=tmp_path, only=STAGES).exit_code == 0
    assert datasets(tmp_path / "picasso" / "20181105") == expected
    assert leftovers(tmp_path) == []


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day with five sessions, for what goes wrong in one to show in the others."""
    return simulate_day(
        tmp_path_factory.mktemp("five"),
        SimulateSettings(channels=1, seconds=14, eye_seconds=3, trials=3, sessions=5, seed=8),
    )


def test_what_is_wrong_with_one_session_is_told_and_the_others_go_on(five: Path, tmp_path: Path) -> None:
    logs = {number: next((five / f"session{number:02d}").glob("RawData*/*.txt")) for number in range(1, 6)}
    lines = logs[1].read_text().splitlines()
    lines[40] = "0 0.033 1.0"
    logs[1].write_text("\n".join(lines))
    logs[2].write_text("")
    next((five / "session03").glob("*.nev")).write_bytes(b"nonsense")
    logs[4].unlink()
    report = raypipe.run_day(five, output=tmp_path, only=STAGES)
    assert report.exit_code == 1
    failed = {(each.session, each.stage): each for each in report.failures}
    assert f"{logs[1]}, line 41" in failed["session01", "unity"].error
    assert str(logs[2]) in failed["session02", "unity"].error
    assert {stage for session, stage in failed if session == "session03"} == set(STAGES), "all are told"
    assert "no Unity log" in failed["session04", "unity"].error
    assert {session for session, _ in failed} == {f"session0{number}" for number in range(1, 5)}
    assert "needs unity, which failed" in failed["session01", "umaze"].error
    assert all(each.hint for each in report.failures)
    done = {(path.parent.name, path.name) for path in tmp_path.rglob("session*/*.*")}
    for number in (1, 2, 4):
        assert (f"session{number:02d}", "eyelink_24d5.hkl") in done, "eye data are aligned without Unity"
        eye = raypipe.load(next(tmp_path.glob(f"**/session{number:02d}/eyelink_24d5.hkl")))
        ripple = raypipe.load(next(tmp_path.glob(f"**/session{number:02d}/rplparallel_d41d.hkl")))
        rows = np.rint(eye["trial_timestamps"].values * 1000).astype(int)
        np.testing.assert_array_equal(eye["timestamps"].values[rows], ripple["timeStamps"])
    assert ("session05", "maze.png") in done


class RaycastKiller:
    """A listener that has workers killed that write a gaze file, the first so many."""

    def __init__(self, times: int) -> None:
        self.times = self.left = times
        self.events: list[Event] = []
        self.thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self.thread is None and isinstance(event, WorkStarted) and event.stage == "raycast":
            self.thread = threading.Thread(target=self.kill, daemon=True)
            self.thread.start()

    def kill(self) -> None:
        until = time.monotonic() + 60
        while self.left and time.monotonic() < until:
            for worker in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if any("unityfile_eyelink" in file.path for file in worker.open_files()):
                        worker.kill()
                        worker.wait(10)
                        self.left -= 1
            time.sleep(0.002)


def test_a_worker_that_is_killed_costs_nothing(day: Path, tmp_path: Path) -> None:
    report = raypipe.run_day(day, output=tmp_path / "undisturbed", only=STAGES)
    assert report.exit_code == 0
    killer = RaycastKiller(2)
    report = raypipe.run_day(day, output=tmp_path / "killed", only=STAGES, listeners=[killer])
    assert (killer.left, report.failures) == (0, [])
    notes = [event.text for event in killer.events if isinstance(event, Note)]
    assert notes.count("a worker died; raycast is begun again") == 2
    assert datasets(tmp_path / "killed") == datasets(tmp_path / "undisturbed")
    assert leftovers(tmp_path) == []


def test_what_was_made_without_is_made_again_when_it_can_be_had(day: Path, tmp_path: Path) -> None:
    report = raypipe.run_day(
        day,
        output=tmp_path / "killed",
        only=STAGES,
        config=Config(run=Resources(restarts=1)),
        listeners=[killer := RaycastKiller(2)],
    )
    assert killer.left == 0
    assert {each.stage for each in report.failures} == {"raycast"}
    for each in report.failures:
        assert each.error.startswith("the worker died 2 times; the last time: ")
        assert "It asked for 3" in each.hint and "tile_seconds" not in each.hint
    assert (tmp_path / "killed" / "picasso" / day.name / "session01" / "maze.png").exists()
    assert raypipe.run_day(day, output=tmp_path / "killed", only=["raycast"]).done == 2
    (task,) = raypipe.plan_day(day, output=tmp_path / "killed", only=STAGES).todo
    assert (task.stage.name, task.why) == ("picture", "made without raycast, which failed")
    assert raypipe.run_day(day, output=tmp_path / "killed", only=STAGES).done == 1
    assert raypipe.run_day(day, output=tmp_path / "undisturbed", only=STAGES).exit_code == 0
    assert datasets(tmp_path / "killed") == datasets(tmp_path / "undisturbed")


def test_sessions_that_were_found_without_another_are_found_again_with_it(tmp_path: Path) -> None:
    settings = SimulateSettings(channels=1, seconds=10, eye_seconds=3, trials=2, sessions=2, seed=3)
    day = simulate_day(tmp_path, settings)
    nev = next((day / "session02").glob("*.nev"))
    whole = nev.read_bytes()
    nev.write_bytes(b"x" * len(whole))
    os.utime(nev, ns=(1, 1))
    assert {each.session for each in raypipe.run_day(day, only=STAGES).failures} == {"session02"}
    nev.write_bytes(whole)
    os.utime(nev, ns=(1, 1))  # by size and time it is the same file: only the failure tells
    assert raypipe.run_day(day, only=["rplparallel"]).done == 1
    again = {task.stage.name for task in raypipe.plan_day(day, only=STAGES).todo if task.session.name == "session01"}
    assert again == {"unity", "edfsplit", "aligning_objects", "raycast", "umaze", "picture"}


def test_a_gaze_file_that_somebody_changed_is_kept_and_the_other_made(day: Path) -> None:
    assert raypipe.run_day(day, only=STAGES).exit_code == 0
    csv, bins = (day / "session01" / name for name in ("unityfile_eyelink.csv", "binData.hdf"))
    csv.write_text("mine\n")
    before = bins.stat().st_mtime_ns
    report = raypipe.run_day(day, only=STAGES, config=Config(raycast=Raycast(radius=2)))
    assert (report.exit_code, report.done) == (0, 2)
    assert csv.read_text() == "mine\n"
    assert bins.stat().st_mtime_ns > before
    assert leftovers(day) == []


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda asc, edf: (asc.unlink(), edf.write_bytes(b"")), "181105.edf"),
        (lambda asc, edf: (edf.unlink(), asc.write_text("\n".join(asc.read_text().splitlines()[:30]))), "181105.asc"),
        (lambda asc, edf: (edf.unlink(), asc.write_text(asc.read_text().replace("Start Trial", "Nothing"))), ""),
        (lambda asc, edf: (asc.unlink(), edf.write_bytes(edf.read_bytes()[: edf.stat().st_size // 2])), "181105.edf"),
    ],
    ids=["empty", "cut off", "without starts", "cut off European"],
)
def test_bad_eye_data_cost_the_gaze_only(day: Path, harm: Any, says: str) -> None:
    harm(day / "181105.asc", day / "181105.edf")
    report = raypipe.run_day(day, only=STAGES)
    failed = {each.stage for each in report.failures}
    assert failed <= {"edfsplit", "aligning_objects", "raycast"}, report.failures
    if says:
        assert "edfsplit" in failed
        assert any(says in each.error for each in report.failures if each.stage == "edfsplit"), report.failures
    for name in ("unity_71bf.hkl", "umaze_fd09.hkl", "maze.png"):
        assert (day / "session01" / name).exists()
    unity = raypipe.load(day / "session01" / "unity_71bf.hkl")
    ripple = raypipe.load(day / "session01" / "rplparallel_d41d.hkl")
    np.testing.assert_array_equal(unity["unityTime"][0][unity["unityTriggers"][0] + 1], ripple["timeStamps"])


def test_gaze_that_is_nowhere_is_a_result(day: Path) -> None:
    (day / "181105.edf").unlink()
    asc = day / "181105.asc"
    lines = [
        f"{line.split()[0]}\t   .\t   .\t    0.0\t..." if line[:1].isdigit() else line
        for line in asc.read_text().splitlines()
    ]
    asc.write_text("\n".join(lines) + "\n")
    events: list[Event] = []
    report = raypipe.run_day(day, only=STAGES, listeners=[events.append])
    assert report.exit_code == 0
    assert any("gaze" in event.text for event in events if isinstance(event, Note))
    assert {row[2] for row in gaze_rows(day / "session01")} == {"Sample Ignored"}
    with h5py.File(day / "session01" / "binData.hdf") as file:
        assert file["data"].shape == (0, 2)


def test_a_damaged_eye_file_costs_only_the_sessions_that_are_in_it(day: Path) -> None:
    (day / "181106.asc").write_text("** CONVERTED\nSTART\t1\tLEFT\tSAMPLES\n1\tdamaged\t3\t4\n2\t1\t1\t1\n")
    events: list[Event] = []
    report = raypipe.run_day(day, only=("rplparallel", "edfsplit"), listeners=[events.append])
    assert report.exit_code == 0
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("left out" in note and "181106.asc" in note for note in notes), notes
    assert (day / "session01" / "eyelink_24d5.hkl").exists()

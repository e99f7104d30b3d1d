"""A whole session through the raycast: planted gaze targets, every field of a row, bins, and what is refused."""

import csv
import os
import resource
import subprocess
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raypipe.config import Raycast
from raypipe.errors import FormatError, WriteFailed
from raypipe.io.objects import load_object
from raypipe.io.tables import Table
from raypipe.stages import camera, raycast, scene
from raypipe.stages.gaze import gaze_session
from raypipe.stages.raycast import cast_session
from raypipe.stages.raycast_files import BinFile, CsvFile

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
N = 3000
FIRST_SECOND = 2.0006  # of the eye's samples, on Ripple's clock
EVENTS = np.array([[100, 400, 900], [1000, 1300, 1700]])
CODES = np.array([[11, 21, 31], [14, 24, 44]])
FRAME = 0.03


def frame(values: Any) -> Table:
    """Make a table of columns 0, 1, ..."""
    return Table(values, tuple(range(values.shape[1])))


def session(scene_revision: scene.Revision = "A", n: int = N) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Give each test a session of its own."""
    return deepcopy(made_session(scene_revision, n))


@cache
def made_session(scene_revision: scene.Revision, n: int) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Make aligned objects whose gaze is on points of known boxes, and the number of the box of each sample (or -1).

    Unity's frames end a little off the samples; the animal walks round the maze and turns.
    """
    random = np.random.default_rng(1)
    seconds = FIRST_SECOND + np.arange(n) / 1000
    frames = np.arange(FIRST_SECOND - 0.5, seconds[-1] + 0.2, FRAME)
    triggers = np.searchsorted(frames, seconds[EVENTS])  # the row whose end is at the event
    unity_time = np.concatenate([[frames[0] - FRAME], frames])
    unity_time[triggers + 1] = seconds[EVENTS]
    rows = len(frames)
    angle = np.linspace(0, 2 * np.pi, rows)
    data = np.zeros((rows, 7))
    data[:, 1] = np.diff(unity_time)
    data[:, 2], data[:, 3] = 10 * np.sin(angle), 10 * np.cos(angle)
    data[:, 4] = 1000 * np.sin(3 * angle)
    # Which rows' poses hold: said here by going through the frames, one after the other.
    pose = np.empty((n, 3))
    for i, t in enumerate(seconds):
        row = next(r for r in range(rows) if unity_time[r + 1] < t <= unity_time[r + 2])
        pose[i] = data[row, 2:5]
    table = scene.boxes(scene_revision)
    gaze, target = np.full((n, 2), np.nan), np.full(n, -1)
    for i in range(n):
        pixels = camera.project(_points_on_faces(table, random), pose[i])
        visible = np.flatnonzero(~np.isnan(pixels[:, 0]))
        if i % 7 and visible.size:
            gaze[i] = pixels[random.choice(visible)]
    origins, directions = camera.rays(gaze, pose)
    with_gaze = ~np.isnan(gaze[:, 0])
    target[with_gaze] = _nearest(origins[with_gaze], directions[with_gaze], table)
    unity = {
        "unityData": [data],
        "unityTime": [unity_time],
        "unityTriggers": [triggers],
        "doubtfulTrials": np.zeros(2, np.bool_),
    }
    eyelink = {
        "timestamps": Table(seconds, name=None),
        "eye_pos": frame(gaze),
        "trial_timestamps": frame(EVENTS / 1000),
        "trial_codes": frame(CODES.astype(float)),
        "samplingRate": 1000,
    }
    return unity, eyelink, (pose, target)


def _points_on_faces(table: scene.Boxes, random: np.random.Generator) -> Any:
    points = table.centres + table.sizes * random.uniform(-0.45, 0.45, (48, 3))
    for row, facing in enumerate(table.facing):
        axis = "xyz".index(facing[1])
        points[row, axis] = table.centres[row, axis] + (0.5 if facing[0] == "+" else -0.5) * table.sizes[row, axis]
    return points


def _nearest(origins: Any, directions: Any, table: scene.Boxes) -> Any:
    low, high = table.centres - table.sizes / 2, table.centres + table.sizes / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        a, z = ((each - origins[:, None]) / directions[:, None] for each in (low, high))
    enter, leave = np.minimum(a, z).max(axis=2), np.maximum(a, z).min(axis=2)
    return np.where((enter <= leave) & (enter >= 0), enter, np.inf).argmin(axis=1)


def run(folder: Path, unity: Any, eyelink: Any, **settings: Any) -> tuple[list[list[str]], Any, tuple[str, ...]]:
    notes = cast_session(unity, eyelink, Raycast(**settings), folder / "some.csv", folder / "some.hdf")
    text = (folder / "some.csv").read_bytes().decode()
    with h5py.File(folder / "some.hdf") as file:
        return list(csv.reader(text.splitlines())), file["data"][:], notes


@pytest.mark.parametrize("revision", ["A", "C"])
def test_planted_targets_are_found_for_every_sample_that_is_on_one(tmp_path: Path, revision: scene.Revision) -> None:
    unity, eyelink, (pose, target) = session(revision)
    eyelink["trial_codes"] = frame(CODES)
    rows, _, notes = run(tmp_path, unity, eyelink, scene=revision)
    assert notes == ()
    assert len(rows) == 1700 + 1000 + 1 - 100
    assert all(len(row) == 18 and row[0] == "SAMPLE_TYPE" for row in rows)
    names = scene.boxes(revision).names
    compared = 0
    for i, row in enumerate(rows, start=100):
        assert row[1] == str(round(2000.6 + i))
        np.testing.assert_allclose(
            [float(each) for each in (row[5], row[6], row[7])], (pose[i, 0], 0.5, pose[i, 1]), rtol=1e-6, atol=1e-12
        )
        assert 0 <= float(row[8]) < 360
        assert (float(row[8]) - pose[i, 2] + 180) % 360 == pytest.approx(180, abs=1e-4)
        if target[i] < 0:
            assert row[2:5] == ["Sample Ignored", "NaN", "NaN"] and row[9:17] == [""] * 8
        elif row[2] not in ("CueImage", "HintImage"):
            assert row[2] == names[target[i]]
            compared += 1
    assert compared > 1500


def test_cue_and_hint_are_seen_while_they_are_shown(tmp_path: Path) -> None:
    unity, eyelink, (pose, _) = session()
    middle = np.tile((960.0, 540.0), (N, 1))
    top = np.tile((960.0, 30.0), (N, 1))
    eyelink["eye_pos"] = frame(middle)
    rows, bins, _ = run(tmp_path, unity, eyelink, radius=0)
    seen = 100 + np.flatnonzero([row[2] == "CueImage" for row in rows])
    assert seen.tolist() == [*range(100, 400), *range(1000, 1300)]
    eyelink["eye_pos"] = frame(top)
    rows, bins, _ = run(tmp_path, unity, eyelink, radius=0)
    seen = 100 + np.flatnonzero([row[2] == "HintImage" for row in rows])
    assert seen.tolist() == [*range(400, 900), *range(1300, 1700)]
    assert bins[bins[:, 1] == 2, 0].tolist() == np.rint(2000.6 + seen).tolist()
    # The hint hangs above the line of sight; the gaze is 30 px below the edge of the screen, the hint's middle further.
    for i in seen[::50]:
        row = rows[i - 100]
        hit, pivot = np.array(row[9:12], float), np.array(row[12:15], float)
        px = camera.project([hit, pivot], pose[i])
        half_hint_px = 0.05 / 0.5 * 540 / np.tan(np.radians(30))
        np.testing.assert_allclose(px, [(960, 30), (960, half_hint_px)], atol=0.01)
        # Offsets are along the world's axes, of those across the one that the image faces most.
        (dx, dy, dz), quarter = hit - pivot, round(pose[i, 2] / 90) % 4
        expected = ((dx, dy), (-dz, dy), (-dx, dy), (dz, dy))[quarter]
        np.testing.assert_allclose(np.array(row[15:17], float), expected, atol=1e-5)


def test_the_offset_on_a_face_is_seen_from_before_it(tmp_path: Path) -> None:
    """The right and upper half of a poster have a positive offset, whichever way the poster looks."""
    table = scene.boxes("A")
    unity, eyelink, _ = session()
    data = unity["unityData"][0]
    for name, right in [
        ("CatPoster", (1, 0)),
        ("CamelPoster", (0, -1)),
        ("RabitPoster", (0, 1)),
        ("PigPoster", (-1, 0)),
    ]:
        row = table.names.index(name)
        centre = table.centres[row]
        facing = np.array({"+x": (1, 0), "-x": (-1, 0), "+z": (0, 1), "-z": (0, -1)}[table.facing[row]])
        data[:, 2:4] = centre[[0, 2]] + 2 * facing
        data[:, 4] = np.degrees(np.arctan2(-facing[0], -facing[1]))
        point = centre + 0.5 * np.array([right[0], 0.4, right[1]])
        eyelink["eye_pos"] = frame(np.tile(camera.project([point], data[0, 2:5]), (N, 1)))
        rows, _, _ = run(tmp_path, unity, eyelink)
        assert rows[-1][2] == name
        np.testing.assert_allclose(np.array(rows[-1][9:12], float), point, atol=1e-5)
        np.testing.assert_allclose(np.array(rows[-1][12:15], float), table.pivots[row], atol=1e-6)
        np.testing.assert_allclose(np.array(rows[-1][15:17], float), (0.5, 0.2), atol=1e-5)


def test_flags_stand_on_the_sample_of_the_event_and_on_the_last_one_of_a_frame(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    rows, _, _ = run(tmp_path, unity, eyelink)
    flags = {i: row[17] for i, row in enumerate(rows, start=100)}
    words = {i: text.removeprefix("F") for i, text in flags.items() if text.removeprefix("F")}
    assert words == {100: "11", 400: "21", 900: "31", 1000: "14", 1300: "24", 1700: "44"}
    seconds, unity_time = eyelink["timestamps"].values, unity["unityTime"][0]
    ends = [i for i in range(100, 2701) if np.any((seconds[i] <= unity_time) & (unity_time < seconds[i + 1]))]
    assert [i for i, text in flags.items() if text.startswith("F")] == ends
    assert len(ends) > 80


def test_events_on_one_sample_are_not_lost(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    events = EVENTS.copy()
    events[0, 1] = events[0, 0]
    eyelink["trial_timestamps"] = frame(events / 1000)
    unity["unityTriggers"][0][0, 1] = unity["unityTriggers"][0][0, 0]
    rows, _, _ = run(tmp_path, unity, eyelink)
    assert rows[0][17].removeprefix("F") == "1121"


def test_bins_are_once_a_sample_in_the_order_of_samples(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    rows, bins, _ = run(tmp_path, unity, eyelink, radius=20)
    assert bins.dtype == np.float64 and bins.shape[1] == 2
    with h5py.File(tmp_path / "some.hdf") as file:
        assert list(file) == ["data"] and file["data"].chunks == (1000, 2) and file["data"].maxshape == (None, 2)
    assert np.all(np.diff(bins[:, 0]) >= 0)
    assert len(set(map(tuple, bins.tolist()))) == len(bins)
    assert bins[:, 1].min() >= 1 and bins[:, 1].max() <= 5122
    with_gaze = [float(row[1]) for row in rows if row[2] != "Sample Ignored"]
    assert set(bins[:, 0].tolist()) <= set(with_gaze) and len(set(bins[:, 0].tolist())) > 0.95 * len(with_gaze)
    # The first bin of a sample is that of the gaze itself: its row says what it is on.
    first = dict(bins[::-1].tolist())
    for row in rows:
        if row[2] == "Ground" and float(row[1]) in first:
            column, line = int((float(row[9]) + 12.72) / 0.625), int((float(row[11]) + 12.37) / 0.625)
            assert first[float(row[1])] == 3 + column + 40 * line


def test_a_gaze_beyond_the_screen_has_bins_and_no_object(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    eyelink["eye_pos"] = frame(np.tile((1920.5, 540.0), (N, 1)))
    rows, bins, notes = run(tmp_path, unity, eyelink)
    assert all(row[2] == "Sample Ignored" and row[3:5] == ["1920.5", "540"] for row in rows)
    assert len(bins) >= 0.9 * len(rows)
    assert len(notes) == 1 and "none of the 2601 samples" in notes[0]


def test_no_gaze_at_all_gives_whole_files_and_a_note(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    eyelink["eye_pos"] = frame(np.full((N, 2), np.nan))
    rows, bins, notes = run(tmp_path, unity, eyelink)
    assert len(rows) == 2601 and all(row[2] == "Sample Ignored" for row in rows)
    assert bins.shape == (0, 2)
    assert len(notes) == 1 and "none of the 2601 samples" in notes[0]


def test_samples_of_doubtful_trials_are_ignored_but_their_events_stay(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    unity["doubtfulTrials"][1] = True
    rows, bins, notes = run(tmp_path, unity, eyelink)
    ignored = [row[2] == "Sample Ignored" for row in rows]
    assert all(ignored[900:1600]) and not all(ignored[800:900]) and not all(ignored[1600:])
    assert all(row[9:17] == [""] * 8 and row[5] for row in rows[900:1600])
    assert rows[1200][17].removeprefix("F") == "24"
    assert not np.any((bins[:, 0] >= 3001) & (bins[:, 0] <= 3700))
    assert notes == ("700 samples of doubtful trials were ignored (trials 2)",)


def test_a_trial_that_the_eye_tracker_missed_shows_no_cue(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    stamps = EVENTS / 1000
    stamps[1, 1] = np.nan
    eyelink["trial_timestamps"] = frame(stamps)
    eyelink["eye_pos"] = frame(np.tile((960.0, 540.0), (N, 1)))
    rows, _, notes = run(tmp_path, unity, eyelink)
    assert len(rows) == 900 - 100 + 1000 + 1
    assert sum(row[2] == "CueImage" for row in rows) == 300
    assert notes == ("the eye tracker has not all events of trials 2: no cue or hint is seen in them",)


def test_where_unity_lacks_a_trial_its_samples_are_ignored(tmp_path: Path) -> None:
    """Unity's log ends between the trials: its object holds one of them, the eye's both and which are doubtful."""
    unity, eyelink, _ = session()
    rows_kept = int(unity["unityTriggers"][0][0, 2]) + 2
    unity["unityData"], unity["unityTime"] = (
        [unity["unityData"][0][:rows_kept]],
        [unity["unityTime"][0][: rows_kept + 1]],
    )
    unity["unityTriggers"], unity["doubtfulTrials"] = [unity["unityTriggers"][0][:1]], np.array([False])
    eyelink["doubtfulTrials"] = np.array([False, True])
    rows, _, notes = run(tmp_path, unity, eyelink)
    last = int(np.flatnonzero([row[2] != "Sample Ignored" for row in rows])[-1])
    assert rows[last][5] != "NaN"
    seconds = FIRST_SECOND + np.arange(100, 2701) / 1000
    late = seconds > unity["unityTime"][0][-1] + 1
    assert late.any() and all(
        row[5] == "NaN" and row[2] == "Sample Ignored" for row, is_late in zip(rows, late, strict=True) if is_late
    )
    assert all(row[5] != "NaN" for row, is_late in zip(rows, late, strict=True) if not is_late)
    assert notes == ("700 samples of doubtful trials were ignored (trials 2)",)
    unity["unityTime"][0] += 0.4
    with pytest.raises(FormatError, match=r"0.\d+ s apart"):
        run(tmp_path, unity, eyelink)


def test_the_files_do_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unity, eyelink, _ = session()
    cast_session(unity, eyelink, Raycast(radius=20), tmp_path / "a.csv", tmp_path / "a.hdf")
    monkeypatch.setattr(raycast, "BLOCK_SAMPLES", 37)
    monkeypatch.setattr(raycast, "BIN_ROWS", 28)
    cast_session(unity, eyelink, Raycast(radius=20), tmp_path / "b.csv", tmp_path / "b.hdf")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with h5py.File(tmp_path / "a.hdf") as a, h5py.File(tmp_path / "b.hdf") as b:
        np.testing.assert_array_equal(a["data"][:], b["data"][:])


def test_the_same_bytes_every_time_and_the_last_sample_of_a_short_recording(tmp_path: Path) -> None:
    unity, eyelink, _ = session(n=1750)
    contents = []
    for name in ("a", "b"):
        cast_session(unity, eyelink, Raycast(), tmp_path / f"{name}.csv", tmp_path / f"{name}.hdf")
        contents.append([(tmp_path / f"{name}.{kind}").read_bytes() for kind in ("csv", "hdf")])
    assert contents[0] == contents[1]
    assert contents[0][0].count(b"\n") == 1750 - 100


BREAKS: dict[str, tuple[Any, str]] = {
    "unaligned": (lambda u, e: u["unityTime"].__setitem__(0, u["unityTime"][0] - 2.0), "2.000 s apart"),
    "no codes": (lambda u, e: e.pop("trial_codes"), "no trial_codes"),
    "odd code": (lambda u, e: e.__setitem__("trial_codes", frame(CODES + np.array([[0, 0, 0], [0, 50, 0]]))), "trial 2 has the codes"),
    "no trial": (lambda u, e: e.__setitem__("trial_timestamps", frame(np.full((2, 3), np.nan))), "not one trial"),
    "no triggers": (lambda u, e: u.__setitem__("unityTriggers", [u["unityTriggers"][0][:0]]), "2 trials"),
    "short gaze": (lambda u, e: e.__setitem__("eye_pos", frame(np.zeros((5, 2)))), "positions of the eye"),
    "backwards": (lambda u, e: e["timestamps"].values.__setitem__(1500, 0.0), "do not increase"),
    "events beyond": (lambda u, e: e.__setitem__("trial_timestamps", frame(EVENTS / 500)), "not in order within"),
    "no frames": (lambda u, e: u.__setitem__("unityData", [np.zeros((0, 7))]), "unity object has"),
    "trigger beyond": (lambda u, e: u["unityTriggers"][0].__setitem__((1, 2), 9999), "beyond its"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BREAKS)
def test_objects_that_do_not_belong_together_are_refused(tmp_path: Path, kind: str) -> None:
    unity, eyelink, _ = session()
    damage, message = BREAKS[kind]
    damage(unity, eyelink)
    with pytest.raises(FormatError, match=message) as caught:
        cast_session(unity, eyelink, Raycast(), tmp_path / "a.csv", tmp_path / "a.hdf")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    unity, eyelink, _ = session()
    with pytest.raises(WriteFailed, match="nowhere"):
        cast_session(unity, eyelink, Raycast(), tmp_path / "nowhere" / "a.csv", tmp_path / "a.hdf")
    with pytest.raises(WriteFailed, match="nowhere"):
        cast_session(unity, eyelink, Raycast(), tmp_path / "a.csv", tmp_path / "nowhere" / "a.hdf")


def test_both_files_are_on_the_disk_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, int] = {}
    monkeypatch.setattr(
        os,
        "fsync",
        lambda file: synced.update({Path(f"/proc/self/fd/{file}").readlink().name: os.fstat(file).st_size}),
    )
    unity, eyelink, _ = session()
    cast_session(unity, eyelink, Raycast(), tmp_path / "a.csv", tmp_path / "a.hdf")
    assert synced == {name: (tmp_path / name).stat().st_size for name in ("a.csv", "a.hdf")}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_room_for_bins_or_rows_is_told() -> None:
    full = Path("/dev/full")
    with pytest.raises(WriteFailed, match="No space left"), BinFile(full) as bins:
        bins.append(np.ones((200_000, 2)))
    with pytest.raises(WriteFailed, match="No space left"), CsvFile(full) as file:
        file.append(np.ones(10, np.uint8))


@pytest.mark.parametrize("which", ["csv", "hdf"])
def test_a_full_disk_is_told(tmp_path: Path, which: str) -> None:
    code = "import sys, test_raycast; sys.stdout.write(test_raycast.cast_on_a_small_disk(*sys.argv[1:]))"
    path = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[2])))
    command = [sys.executable, "-c", code, str(tmp_path), which]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / which} could not be written: File too large")


def cast_on_a_small_disk(folder: str, which: str) -> str:
    """Cast where no file may grow beyond 40 kB, in a process of its own; say what the error says."""
    unity, eyelink, _ = session()
    raycast.SessionCaster(Raycast(radius=100)).cast(gaze_session(unity, eyelink).block(range(100, 102)), _Nowhere())
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    files = {name: Path(folder, name) if name == which else Path(os.devnull) for name in ("csv", "hdf")}
    if which == "csv":
        raycast.BLOCK_SAMPLES = 200  # the bins of so few samples are smaller than their rows
        files["hdf"] = Path(folder, "other")
    try:
        cast_session(unity, eyelink, Raycast(radius=100 if which == "hdf" else 0), files["csv"], files["hdf"])
    except WriteFailed as error:
        return str(error)
    return "nothing"


class _Nowhere:
    def append(self, rows: Any) -> None:
        """Pass over the rows: only the kernels had to be compiled."""


def test_the_golden_session_is_cast(tmp_path: Path) -> None:
    """PyHipp's own aligned objects: all its samples from the first trial on, at its times."""
    folder = GOLDEN / "picasso" / "20181105" / "session01"
    if not folder.exists():
        pytest.skip("no golden day here")
    unity, eyelink = (load_object(folder / name) for name in ("unity_71bf.hkl", "eyelink_24d5.hkl"))
    rows, bins, notes = run(tmp_path, unity, eyelink)
    assert notes == ()
    assert len(rows) > 10_000 and len(bins) > 10_000
    assert sum(row[2] == "CueImage" for row in rows) > 100
    words = [row[17].removeprefix("F") for row in rows if row[17].removeprefix("F")]
    assert words[:3] == ["11", "21", "31"] and len(words) == 18

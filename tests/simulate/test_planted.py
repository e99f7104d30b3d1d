"""What the truth says was looked at is there: found again from the day's files, by another way than it was planted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raypipe.io.eye_files import read_eye_file
from raypipe.io.unity_log import read_unity_logs
from raypipe.simulate import SimulateSettings, simulate_day
from raypipe.stages import camera
from raypipe.stages.scene import boxes

USUAL = {"channels": 1, "seconds": 50, "eye_seconds": 2, "trials": 10, "timeout_fraction": 0.2}
DAYS: dict[str, dict[str, Any]] = {
    "A": {"seed": 1, "sessions": 2},
    "C, clocks far apart": {"scene": "C", "seed": 2, "unity_ppm": 900, "eye_ppm": -900},
    "500 Hz, both eyes, paused": {"seed": 3, "eye_rate_hz": 500, "binocular": True, "pauses": 3},
    "2000 Hz, much is missing": {
        "seed": 4,
        "eye_rate_hz": 2000,
        "incomplete_trials": 3,
        "cut_last_trial": True,
        "dummy_sessions": 1,
        "sessions": 2,
    },
}


@dataclass(frozen=True)
class Session:
    """The files of a session and what is known of it: frames (n, 5), their ends on the tracker's clock in ms (n,)."""

    truth: dict[str, Any]
    frames: np.ndarray
    frame_ms: np.ndarray
    gaze_ms: np.ndarray
    gaze_px: np.ndarray
    scene: str

    def span(self, planted: dict[str, Any]) -> slice:
        low, high = np.searchsorted(self.gaze_ms, [planted["start_ms"], planted["end_ms"]])
        return slice(low, high + 1)


@pytest.fixture(scope="module", params=DAYS)
def sessions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Session]:
    settings = SimulateSettings(**(USUAL | DAYS[request.param]))
    day = simulate_day(tmp_path_factory.mktemp("day"), settings)
    truth = json.loads((day / "ground_truth.json").read_text())
    eye = read_eye_file(day / "181105.asc")
    made = []
    for name, told in truth["sessions"].items():
        if name == "sessioneye":
            continue
        frames = read_unity_logs(sorted((day / name).glob("RawData*/*"))).frames
        unity = np.cumsum(frames[:, 1])
        ripple = told["trigger_ticks"] / 30000 + unity / (1 + 1e-6 * truth["clocks"]["unity_ppm"])
        frame_ms = told["eye_offset_ms"] + 1000 * ripple * (1 + 1e-6 * truth["clocks"]["eye_ppm"])
        made.append(Session(told, frames, frame_ms, eye.ms, eye.gaze_px, truth["scene"]))
    return made


def seen(scene: str, pixels: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Name what pixels (n, 2) show: the nearest of all faces of all boxes, met one by one as rectangles in planes."""
    table = boxes(scene)
    origins, directions = camera.rays(pixels, poses)
    nearest, found = np.full(len(pixels), np.inf), np.full(len(pixels), -1)
    lows, highs = table.centres - table.sizes / 2, table.centres + table.sizes / 2
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            for plane in {low[axis], high[axis]}:
                with np.errstate(divide="ignore", invalid="ignore"):
                    far = (plane - origins[:, axis]) / directions[:, axis]
                    points = origins + far[:, None] * directions
                    inside = (points[:, others] >= low[others]) & (points[:, others] <= high[others])
                hit = inside.all(axis=1) & (far > 0) & (far < nearest)
                nearest[hit], found[hit] = far[hit], number
    return np.array([*table.names, "nothing"])[found]


def test_the_gaze_is_on_what_was_planted_whichever_of_two_frames_one_takes(sessions: list[Session]) -> None:
    for session in sessions:
        looks = [look for look in session.truth["planted_fixations"] if not look["object"].endswith("Image")]
        spans = [session.span(look) for look in looks]
        names = np.repeat([look["object"] for look in looks], [span.stop - span.start for span in spans])
        samples = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        # Row r holds from the end of frame r to the end of frame r + 1.
        rows = np.searchsorted(session.frame_ms, session.gaze_ms[samples], side="left") - 1
        for eye in range(len(session.gaze_px)):
            pixels = session.gaze_px[eye][:, samples].T
            for doubt in (0, -1, 1):
                poses = session.frames[rows + doubt, 2:]
                # Every fifth sample, and all that are the first or the last of a look.
                some = np.unique(np.concatenate([np.arange(0, len(names), 5), np.flatnonzero(names[1:] != names[:-1])]))
                assert np.array_equal(seen(session.scene, pixels[some], poses[some]), names[some])


def test_looks_are_many_and_various_and_told_by_their_samples(sessions: list[Session]) -> None:
    for session in sessions:
        looks = session.truth["planted_fixations"]
        log_ms = np.ptp(session.frame_ms)
        assert 0.3 < sum(look["end_ms"] - look["start_ms"] for look in looks) / log_ms < 0.9
        kinds = {look["object"] for look in looks}
        assert sum("Poster" in kind for kind in kinds) >= 2 and "Ground" in kinds
        assert sum("wall" in kind.lower() for kind in kinds) >= 5
        for look in looks:
            span = session.span(look)
            assert span.stop - span.start == look["n_samples"] > 0
            assert session.gaze_ms[span.start] == look["start_ms"] and session.gaze_ms[span.stop - 1] == look["end_ms"]
            assert not np.any(np.isnan(session.gaze_px[:, :, span]))
            assert session.frame_ms[0] < look["start_ms"] and look["end_ms"] <= session.frame_ms[-1]
            assert (look["point"] is None) == (look["pixel"] is not None) == look["object"].endswith("Image")


def test_points_are_followed_within_the_noise(sessions: list[Session]) -> None:
    for session in sessions:
        for look in session.truth["planted_fixations"]:
            if look["point"] is None:
                continue
            span = session.span(look)
            rows = np.searchsorted(session.frame_ms, session.gaze_ms[span], side="left") - 1
            points = np.repeat([look["point"]], len(rows), axis=0)
            off = session.gaze_px[0][:, span].T - camera.project(points, session.frames[rows, 2:])
            assert np.abs(off).max() < 5 * 1.5 + 0.3, "noise of 1.5 px, log and file rounded"


def test_images_are_looked_at_when_they_are_shown_and_never_hide_another_target(sessions: list[Session]) -> None:
    for session in sessions:
        trials = [t for n, t in enumerate(session.truth["trials"]) if n not in session.truth["incomplete_trials"]]
        shown = {
            "CueImage": [t["eye_ms"][:2] for t in trials],
            "HintImage": [t["eye_ms"][1:] for t in trials],
        }
        sizes = {"CueImage": camera.CUE_SIZE_M, "HintImage": camera.HINT_SIZE_M}
        centres = {"CueImage": camera.CUE_CENTRE_M, "HintImage": camera.HINT_CENTRE_M}
        px_per_m = 1080 / (2 * camera.TAN_HALF_VIEW) / camera.IMAGE_M
        kinds = [look["object"] for look in session.truth["planted_fixations"]]
        assert "CueImage" in kinds and "HintImage" in kinds
        for look in session.truth["planted_fixations"]:
            for image, times in shown.items():
                middle = np.array([960, 540]) + px_per_m * np.array([1, -1]) * centres[image]
                half = px_per_m * np.array(sizes[image]) / 2
                on_it = np.all(
                    np.abs(session.gaze_px[:, :, session.span(look)] - middle[:, None]) < half[:, None], axis=1
                )
                if look["object"] == image:
                    assert on_it.all()
                    assert any(low < look["start_ms"] and look["end_ms"] <= high for low, high in times)
                elif any(low <= look["end_ms"] and look["start_ms"] <= high for low, high in times):
                    assert not on_it.any(), "what is behind the image is hidden"


def test_every_object_is_looked_at_in_time(tmp_path: Path) -> None:
    settings = SimulateSettings(channels=1, seconds=600, eye_seconds=2, trials=60, seed=8)
    truth = json.loads((simulate_day(tmp_path, settings) / "ground_truth.json").read_text())
    looked_at = {look["object"] for look in truth["sessions"]["session01"]["planted_fixations"]}
    posters = {name for name in boxes("A").names if "Poster" in name}
    assert posters <= looked_at and {"Ground", "Ceiling", "CueImage", "HintImage"} <= looked_at
    assert len(looked_at & {name for name in boxes("A").names if "wall" in name}) >= 35


def test_nothing_is_planted_in_the_calibration_and_in_dummies(tmp_path: Path) -> None:
    settings = SimulateSettings(**(USUAL | {"dummy_sessions": 2}))
    truth = json.loads((simulate_day(tmp_path, settings) / "ground_truth.json").read_text())
    assert "planted_fixations" not in truth["sessions"]["sessioneye"]
    first = min(look["start_ms"] for look in truth["sessions"]["session01"]["planted_fixations"])
    assert first > truth["sessions"]["session01"]["eye_offset_ms"] == 4_000_000 + 2 * 17_000

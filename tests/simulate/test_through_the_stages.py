"""Planted gaze is found again at the other end: through readers, session stages, the alignment of three clocks, the caster."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raypipe.config import Config
from raypipe.io.eye_files import read_eye_file
from raypipe.io.nev import read_nev
from raypipe.io.objects import normalised_dir
from raypipe.io.unity_log import read_unity_logs
from raypipe.simulate import SimulateSettings, simulate_day
from raypipe.stages.aligning_objects import align
from raypipe.stages.edfsplit import SessionMarkers, navigation_objects
from raypipe.stages.gaze import gaze_session
from raypipe.stages.raycast import cast_session
from raypipe.stages.rplparallel import arrange_markers, object_fields
from raypipe.stages.unity import unity_object

DAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "100 ppm, both ways": {"unity_ppm": 100, "eye_ppm": -100, "trials": 30, "seconds": 120},
    "scene C, 204, two sessions, no time-out": {
        "scene": "C",
        "marker_format": 204,
        "sessions": 2,
        "timeout_fraction": 0,
        "fixation_at_end": True,
    },
    "500 Hz, both eyes, pauses": {"eye_rate_hz": 500, "binocular": True, "pauses": 3, "marker_format": None},
    "2000 Hz, dummies": {"eye_rate_hz": 2000, "dummy_sessions": 1, "sessions": 2},
    "lost messages": {"lost_messages": 3, "lost_trials": 1, "sessions": 2},
    "incomplete": {"incomplete_trials": 1, "cut_last_trial": True, "unity_files": 10, "header_lines": 14},
    "incomplete in Unity": {"incomplete_trials": 1, "cut_last_trial": True, "incomplete_in": "unity"},
    "incomplete in Ripple": {"incomplete_trials": 1, "cut_last_trial": True, "incomplete_in": "ripple"},
}


@pytest.mark.parametrize(
    ("kind", "eye_file"),
    [
        *((kind, "181105.asc") for kind in DAYS),
        ("2000 Hz, dummies", "181105.edf"),
    ],
)
def test_every_sample_that_is_on_something_is_found_on_it(kind: str, eye_file: str, tmp_path: Path) -> None:
    usual = {"channels": 1, "seconds": 50, "eye_seconds": 2, "trials": 12, "seed": 9}
    settings = SimulateSettings(**(usual | DAYS[kind]))
    day = simulate_day(tmp_path, settings)
    truth = json.loads((day / "ground_truth.json").read_text())
    config = Config()
    names = [name for name in truth["sessions"] if name != "sessioneye"]
    ripple = {name: ripple_object(day / name) for name in names}
    markers = {
        name: SessionMarkers(
            fields["markers"],
            fields["timeStamps"],
            settings.marker_format,
            fields["sessionStartTime"] if settings.marker_format else None,
        )
        for name, fields in ripple.items()
    }
    directories = {name: normalised_dir(day / name) for name in names}
    eyes = navigation_objects([read_eye_file(day / eye_file)], markers, config.edfsplit, {}, directories)
    for name in names:
        outcome = eyes[name]
        assert isinstance(outcome, tuple), outcome
        eyelink = outcome[0]
        log = read_unity_logs(list((day / name).glob("RawData*/*")))
        unity, _ = unity_object(
            log, ripple[name]["timeStamps"], ripple[name]["markers"], config.unity, {}, directories[name]
        )
        tracker_ms = 1000 * np.asarray(eyelink["timestamps"].values).ravel()
        aligned = align(unity, eyelink, ripple[name], config.aligning_objects)
        raycast = type(config.raycast)(scene=settings.scene)
        cast_session(aligned.unity, aligned.eyelink, raycast, tmp_path / "a.csv", tmp_path / "b.hdf")
        samples = gaze_session(aligned.unity, aligned.eyelink).samples
        with (tmp_path / "a.csv").open() as file:
            found = np.array([row[2] for row in csv.reader(file)])
        assert len(found) == len(samples)
        ms = np.round(tracker_ms[samples.start : samples.stop], 1)
        told = truth["sessions"][name]
        untold = doubtful_spans(told)
        checked = 0
        for look in told["planted_fixations"]:
            on_it = (ms >= look["start_ms"]) & (ms <= look["end_ms"])
            if any(low <= look["end_ms"] and look["start_ms"] <= high for low, high in untold):
                assert set(found[on_it]) <= {look["object"], "Sample Ignored"}
                continue
            assert set(found[on_it]) <= {look["object"]}, (look, set(found[on_it]))
            checked += np.count_nonzero(on_it)
        assert checked > 0.25 * len(samples)


def ripple_object(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*.nev")
    nev = read_nev(path)
    return object_fields(arrange_markers(nev.codes, nev.ticks, 30000), normalised_dir(folder))


def doubtful_spans(told: dict[str, Any]) -> list[tuple[int, int]]:
    """When, on the tracker's clock, trials were under way that a file has only in part."""
    trials = told["trials"]
    after = [trial["eye_ms"][0] for trial in trials[1:]] + [10**12]
    return [(trials[n]["eye_ms"][0], after[n]) for n in told["incomplete_trials"]]

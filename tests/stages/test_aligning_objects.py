"""Unity and eye data end up on Ripple's clock: every marker exactly, everything else by the truth of the simulation."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raypipe
from raypipe.config import Aligning, Config
from raypipe.errors import FormatError
from raypipe.io.objects import save_object
from raypipe.io.tables import Table
from raypipe.simulate.trials import TICKS_PER_SECOND
from raypipe.stages.aligning_objects import Aligned, align
from raypipe.stages.clock_map import clock_map
from tests.eye_cases import Day, eyelink_of, objects, rplparallel_of, simulated, unity_of

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
golden_day = pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
ALIGNING = Config().aligning_objects


def aligned(day: Day, session: str = "session01") -> Aligned:
    return align(unity_of(day, session), eyelink_of(day, session), rplparallel_of(day, session), ALIGNING)


def marker_rows(eyelink: dict[str, Any]) -> np.ndarray:
    return np.rint(eyelink["trial_timestamps"].values * eyelink["samplingRate"]).astype(int)


def assert_exact(result: Aligned, rplparallel: dict[str, Any]) -> None:
    """Every marker is at Ripple's time, bit for bit, and time goes on."""
    unity, eyelink = result.unity, result.eyelink
    assert np.array_equal(unity["unityTime"][0][unity["unityTriggers"][0] + 1], rplparallel["timeStamps"])
    assert np.array_equal(eyelink["timestamps"].values[marker_rows(eyelink)], rplparallel["timeStamps"])
    assert np.all(np.diff(eyelink["timestamps"].values) > 0) and np.all(np.diff(unity["unityTime"][0]) > 0)
    assert np.array_equal(unity["unityData"][0][:, 1], np.diff(unity["unityTime"][0]))


def unlike(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """The names of fields that are not the same bit for bit."""
    return [name for name in ours.keys() | theirs.keys() if not same(ours.get(name), theirs.get(name))]


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
    return type(ours) is type(theirs) and bool(ours == theirs or (ours != ours and theirs != theirs))


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


# Against the truth.


@pytest.mark.parametrize(("trials", "seconds"), [(30, 120.0), (400, 1100.0)])
@pytest.mark.parametrize("ppm", [-100.0, 100.0])
def test_nothing_is_off_by_a_ms_in_the_whole_session(trials: int, seconds: float, ppm: float) -> None:
    """At markers, between them, before the first and behind the last: gaze below 1 ms, Unity below 0.01 ms."""
    day = simulated(trials=trials, seconds=seconds, unity_ppm=-ppm, eye_ppm=ppm)
    eyelink, rplparallel = eyelink_of(day), rplparallel_of(day)
    result = aligned(day)
    assert_exact(result, rplparallel)
    assert not result.notes and not result.unity["doubtfulTrials"].any()
    true_s = day.ripple_seconds("session01", 1000 * eyelink["timestamps"].values)
    off = result.eyelink["timestamps"].values - true_s
    assert np.abs(off[marker_rows(eyelink)]).max() < 0.6e-3
    assert np.abs(off).max() < 1e-3
    clocks, walk = day.clocks["session01"], day.walk("session01")
    true_s = clocks.trigger_ticks / TICKS_PER_SECOND + walk.seconds / (1 + clocks.unity_ppm * 1e-6)
    assert np.abs(result.unity["unityTime"][0][1:] - true_s).max() < 0.01e-3


def test_the_truth_tells_a_sample() -> None:
    """Negative control: markers one sample late are off by more than is allowed."""
    day = simulated(trials=30, seconds=120.0, eye_ppm=100.0)
    eyelink = eyelink_of(day)
    late = Table(eyelink["trial_timestamps"].values + 1e-3, columns=(0, 1, 2))
    result = align(unity_of(day), {**eyelink, "trial_timestamps": late}, rplparallel_of(day), ALIGNING)
    off = result.eyelink["timestamps"].values - day.ripple_seconds("session01", 1000 * eyelink["timestamps"].values)
    assert np.abs(off).max() > 1e-3


@pytest.mark.parametrize("marker_format", [84, 204, None])
@pytest.mark.parametrize("session", ["session01", "session02", "session03"])
def test_every_session_of_a_file(session: str, marker_format: int | None) -> None:
    """Also those in the middle of a file, with another version or no start word at all."""
    day = simulated(sessions=3, unity_ppm=100, eye_ppm=-100, timeout_fraction=0.0, marker_format=marker_format)
    result, rplparallel = aligned(day, session), rplparallel_of(day, session)
    assert_exact(result, rplparallel)
    within = eyelink_of(day, session)["timestamps"].values
    off = result.eyelink["timestamps"].values - day.ripple_seconds(session, 1000 * within)
    of_session = result.eyelink["timestamps"].values > 0
    assert np.abs(off[of_session]).max() < 1e-3
    if marker_format is not None:
        start = rplparallel["sessionStartTime"]
        assert result.unity["unityTime"][0][0] == start and result.eyelink["triggerTime"] == start
    assert not result.unity["doubtfulTrials"].any()


def test_fixations_are_on_the_same_clock() -> None:
    """Also one that ends on the last sample, and one across the next session's trigger: it ends behind the samples."""
    day = simulated(sessions=2)
    for session in day.sessions:
        before = eyelink_of(day, session)
        after = aligned(day, session).eyelink
        times_ms, fixations = 1000 * before["timestamps"].values, 1000 * before["fix_times"].values
        inside = (fixations[:, 0] >= times_ms[0]) & (fixations[:, 1] <= times_ms[-1])
        for column in (0, 1):
            rows = np.searchsorted(times_ms, fixations[inside, column] - 1e-6)
            assert np.array_equal(after["fix_times"].values[inside, column], after["timestamps"].values[rows])
        assert np.array_equal(after["fix_times"].values[:, 2], before["fix_times"].values[:, 2])
        assert np.all(after["fix_times"].values[:, 1] > after["fix_times"].values[:, 0])
        assert after["fix_times"].columns == ("start", "end", 0)
    assert fixations[-1, 1] == pytest.approx(times_ms[-1]), "the last fixation is on the last sample"


def test_seconds_since_cue_off_have_a_time_for_every_frame() -> None:
    result = aligned(simulated())
    rows, times = result.unity["unityTriggers"][0], result.unity["unityTime"][0]
    since = result.unity["unityTrialTime"][0]
    assert since.shape == ((rows[:, 2] - rows[:, 1]).max() + 2, 6)
    for trial, (_, cue_off, end) in enumerate(rows):
        n = end - cue_off + 1
        assert np.array_equal(since[:n, trial], times[cue_off + 1 : end + 2] - times[cue_off + 1])
        assert np.isnan(since[n:, trial]).all()


# Again and again.


@given(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 1000),
            "unity_ppm": st.floats(-500, 500),
            "eye_ppm": st.floats(-500, 500),
            "marker_format": st.sampled_from([84, 204, None]),
            "sessions": st.integers(1, 2),
        }
    ),
    st.floats(0, 0.3),
    st.integers(0, 30),
)
@settings(max_examples=25, deadline=None)
def test_markers_are_exact_and_twice_is_once(chosen: dict[str, Any], lost: float, jitter_ms: int) -> None:
    """Whatever drifts, is late or is lost: exact markers, time that goes on, and the second time changes no bit."""
    random = np.random.default_rng(chosen["seed"])
    day = simulated(**chosen, trials=8, seconds=32.0).with_messages(
        lambda messages: [
            (ms + random.integers(0, jitter_ms + 1), text)
            for ms, text in messages
            if "Trigger" in text or random.uniform() >= lost
        ]
    )
    made = objects(day)["session01"]
    if isinstance(made, FormatError):
        return
    once = align(unity_of(day), made[0], rplparallel_of(day), ALIGNING)
    assert_exact(once, rplparallel_of(day))
    twice = align(once.unity, once.eyelink, rplparallel_of(day), ALIGNING)
    assert unlike(once.unity, twice.unity) == [] and unlike(once.eyelink, twice.eyelink) == []


def test_twice_is_once_also_through_files(tmp_path: Path) -> None:
    day = simulated()
    once = aligned(day)
    for name, fields in (("unity_71bf", once.unity), ("eyelink_24d5", once.eyelink)):
        save_object(tmp_path / f"{name}.hkl", fields)
    loaded = [raypipe.load(tmp_path / f"{name}.hkl") for name in ("unity_71bf", "eyelink_24d5")]
    twice = align(loaded[0], loaded[1], rplparallel_of(day), ALIGNING)
    assert unlike(loaded[0], twice.unity) == [] and unlike(loaded[1], twice.eyelink) == []
    assert np.array_equal(twice.unity["unityTime"][0], once.unity["unityTime"][0])
    assert np.array_equal(twice.eyelink["timestamps"].values, once.eyelink["timestamps"].values)


def test_nothing_that_is_given_is_changed() -> None:
    day = simulated()
    given_objects = unity_of(day), eyelink_of(day)
    align(*given_objects, rplparallel_of(day), ALIGNING)
    assert unlike(given_objects[0], unity_of(day)) == [] and unlike(given_objects[1], eyelink_of(day)) == []


# Doubtful trials.


def test_a_trial_that_lasts_longer_on_the_eyes_clock_is_doubtful() -> None:
    day = simulated()
    late = day.with_messages(lambda m: [(ms + 30 * (k == 9), text) for k, (ms, text) in enumerate(m)])  # end of trial 3
    result = aligned(late)
    assert_exact(result, rplparallel_of(day))
    for fields in (result.unity, result.eyelink):
        assert fields["doubtfulTrials"].dtype == np.bool_ and fields["doubtfulTrials"].tolist() == [
            k == 2 for k in range(6)
        ]
    assert "1 of 6 trials are doubtful" in result.notes[0] and result.notes[0].endswith(": 3")
    tolerant = align(unity_of(day), eyelink_of(late), rplparallel_of(day), Aligning(doubtful_ms=31.0))
    assert not tolerant.notes and not tolerant.eyelink["doubtfulTrials"].any()
    again = align(result.unity, result.eyelink, rplparallel_of(day), ALIGNING)
    assert np.array_equal(again.unity["doubtfulTrials"], result.unity["doubtfulTrials"])


def test_a_trial_that_lasts_longer_on_unitys_clock_is_doubtful_and_not_flattened() -> None:
    day = simulated(unity_ppm=100.0)
    unity = unity_of(day)
    frame = unity["unityTriggers"][0][5, 1] + 3  # in the way of the last trial
    unity["unityTime"][0][frame:] += 0.025
    result = align(unity, eyelink_of(day), rplparallel_of(day), ALIGNING)
    assert_exact(result, rplparallel_of(day))
    assert result.unity["doubtfulTrials"].tolist() == [k == 5 for k in range(6)]


@pytest.mark.parametrize("seconds", [0.3, 20.0])
@pytest.mark.parametrize("trial", range(6))
def test_a_clock_that_stood_still_makes_one_trial_doubtful_and_no_other(trial: int, seconds: float) -> None:
    """Nor if that was in the middle of the session, where every half of it has the jump."""
    day = simulated()
    unity = unity_of(day)
    unity["unityTime"][0][unity["unityTriggers"][0][trial, 1] + 3 :] += seconds
    result = align(unity, eyelink_of(day), rplparallel_of(day), ALIGNING)
    assert_exact(result, rplparallel_of(day))
    assert result.unity["doubtfulTrials"].tolist() == [k == trial for k in range(6)]
    assert len(result.notes) == 1


def test_the_drift_of_a_clock_makes_no_trial_doubtful() -> None:
    """At 900 ppm a trial of 40 s is 36 ms longer, and yet as long as it should be."""
    day = simulated(trials=4, seconds=200.0, unity_ppm=900.0, eye_ppm=-900.0, timeout_fraction=1.0)
    assert np.all(np.diff(day.sessions["session01"].time_stamps[:, ::2]) > 40)
    result = aligned(day)
    assert not result.notes and not result.unity["doubtfulTrials"].any()


def test_a_marker_without_a_sample_moves_no_sample() -> None:
    """A pause of the tracker over a cue offset: its neighbours in time stay where they belong, the trial is doubtful."""
    day = simulated()
    at = (
        day.clocks["session01"].eye_ms(day.navigations["session01"].trials[2].cue_off_ticks) - day.recording.ms[0]
    ) / 1000
    paused = simulated(pauses=[(at - 0.1, at + 0.3)])
    before, after = eyelink_of(paused), aligned(paused).eyelink
    off = after["timestamps"].values - day.ripple_seconds("session01", 1000 * before["timestamps"].values)
    assert np.abs(off).max() < 1e-3
    assert after["doubtfulTrials"].tolist() == [k == 2 for k in range(6)]
    again = align(unity_of(day), after, rplparallel_of(day), ALIGNING)
    assert unlike(after, again.eyelink) == []


def test_other_words_in_unitys_log_are_doubtful() -> None:
    day = simulated()
    unity = unity_of(day)
    unity["unityData"][0][unity["unityTriggers"][0][4, 2], 0] += 1
    assert align(unity, eyelink_of(day), rplparallel_of(day), ALIGNING).unity["doubtfulTrials"].tolist() == [
        k == 4 for k in range(6)
    ]


def test_a_start_that_does_not_fit_is_told() -> None:
    day = simulated()
    rplparallel = rplparallel_of(day)
    rplparallel["sessionStartTime"] -= 0.5
    result = align(unity_of(day), eyelink_of(day), rplparallel, ALIGNING)
    assert_exact(result, rplparallel)
    assert len(result.notes) == 2 and all("to its first marker" in note for note in result.notes)


# Counts.


def test_trials_that_unity_lacks() -> None:
    """Unity's object says by its timeStamps which trials it has; the eye's keeps all, and doubts the others."""
    day = simulated()
    unity, kept = unity_of(day), np.array([0, 1, 3, 5])
    less = {**unity, "unityTriggers": [unity["unityTriggers"][0][kept]], "timeStamps": [unity["timeStamps"][0][kept]]}
    result = align(less, eyelink_of(day), rplparallel_of(day), ALIGNING)
    times = result.unity["unityTime"][0]
    assert np.array_equal(times[less["unityTriggers"][0] + 1], day.sessions["session01"].time_stamps[kept])
    assert result.eyelink["doubtfulTrials"].tolist() == [False, False, True, False, True, False]
    assert result.unity["doubtfulTrials"].tolist() == [False] * 4
    np.testing.assert_allclose(times, aligned(day).unity["unityTime"][0], atol=1e-5)
    again = align(result.unity, result.eyelink, rplparallel_of(day), ALIGNING)
    assert unlike(result.unity, again.unity) == [] and unlike(result.eyelink, again.eyelink) == []


@pytest.mark.parametrize("which", ["unity", "eyelink", "rplparallel"])
def test_wrong_numbers_of_trials(which: str) -> None:
    day = simulated()
    unity, eyelink, rplparallel = unity_of(day), eyelink_of(day), rplparallel_of(day)
    if which == "unity":
        unity["unityTriggers"] = [unity["unityTriggers"][0][:-1]]
    elif which == "eyelink":
        eyelink["trial_timestamps"] = Table(eyelink["trial_timestamps"].values[:-1], columns=(0, 1, 2))
        eyelink["withoutSample"] = eyelink["withoutSample"][:-1]
    else:
        rplparallel["timeStamps"] = rplparallel["timeStamps"][:-1]
    counts = {"unity": (6, 5, 6), "eyelink": (6, 6, 5), "rplparallel": (5, 6, 6)}[which]
    with pytest.raises(FormatError, match="Ripple has {}, Unity's log has {}, the eye data has {};".format(*counts)):
        align(unity, eyelink, rplparallel, ALIGNING)


def test_objects_that_cannot_be_aligned() -> None:
    day = simulated()
    unity, eyelink, rplparallel = unity_of(day), eyelink_of(day), rplparallel_of(day)
    empty = Table(np.empty((0, 0)), columns=())
    for objects_given, message in (
        (({**unity, "unityTriggers": [], "unityTime": []}, eyelink, rplparallel), "unity: the object has no trials"),
        (({**unity, "unityTriggers": [unity["unityTriggers"][0] + 10_000]}, eyelink, rplparallel), "unity: triggers"),
        (({**unity, "unityData": [unity["unityData"][0][1:]]}, eyelink, rplparallel), "unity: unityTime"),
        ((unity, {**eyelink, "trial_timestamps": empty}, rplparallel), r"eyelink: trials are \(0, 0\)"),
        ((unity, {**eyelink, "withoutSample": np.ones((6, 3), np.bool_)}, rplparallel), "the eye data: 0 markers"),
        ((unity, eyelink, {**rplparallel, "timeStamps": rplparallel["timeStamps"].ravel()}), "rplparallel: timeStamps"),
        ((without(unity, "unityTime"), eyelink, rplparallel), "the unity object lacks unityTime"),
        (
            (unity, without(eyelink, "fix_times", "timestamps"), rplparallel),
            "eyelink object lacks timestamps, fix_times",
        ),
        ((unity, eyelink, without(rplparallel, "rawMarkers")), "the rplparallel object lacks rawMarkers"),
        ((unity, eyelink, {**rplparallel, "timeStamps": rplparallel["timeStamps"][::-1]}), "do not follow each other"),
    ):
        with pytest.raises(FormatError, match=message):
            align(*objects_given, ALIGNING)


# The map.


@given(
    st.lists(st.tuples(st.floats(0.001, 100), st.floats(0.001, 100)), min_size=2, max_size=30),
    st.floats(0, 1e5),
    st.lists(st.floats(-10, 4000), max_size=50),
)
@settings(deadline=None)
def test_the_map_is_exact_at_events_and_increases(
    steps: list[tuple[float, float]], start: float, times: list[float]
) -> None:
    own, ripple = (start + np.cumsum([step[k] for step in steps]) for k in (0, 1))
    mapped = clock_map(own, ripple, what="test")
    assert np.array_equal(mapped(own), ripple)
    many = np.sort(np.concatenate([own, start + np.array(times)]))
    assert np.all(np.diff(mapped(many)) >= 0)
    assert np.array_equal(clock_map(own, own, what="test")(many), many)
    assert np.isnan(mapped(np.array([np.nan]))[0])


def test_one_late_event_does_not_change_the_ratio_of_clocks() -> None:
    ripple = np.arange(1.0, 100.0)
    own = ripple * 1.0001
    for late in (0, 50, 98):
        assert clock_map(own + 0.02 * (np.arange(99) == late), ripple, what="test").ratio == pytest.approx(
            1 / 1.0001, abs=1e-9
        )


def test_jumps_do_not_change_the_ratio_of_clocks() -> None:
    ripple = np.arange(1.0, 100.0)
    for jumps in ([49], [20, 70], [3, 50, 51, 98]):
        own = 1.0001 * ripple
        for jump in jumps:
            own[jump:] += 7
        assert clock_map(own, ripple, what="test").ratio == pytest.approx(1 / 1.0001, abs=1e-9)


# PyHipp's own.


@golden_day
def test_golden_is_pyhipps_but_for_its_known_errors() -> None:
    """Unity is PyHipp's to a tenth of a ms; of the eye PyHipp falls behind by 1.4 ms with every trial (truncation)."""
    day = GOLDEN / "picasso" / "20181105" / "session01"
    rplparallel = raypipe.load(day / "rplparallel_d41d.hkl")
    theirs = Aligned(raypipe.load(day / "unity_71bf.hkl"), raypipe.load(day / "eyelink_24d5.hkl"), ())
    result = align(
        raypipe.load(GOLDEN / "prealign" / "unity_71bf.hkl"),
        raypipe.load(GOLDEN / "prealign" / "eyelink_24d5.hkl"),
        rplparallel,
        ALIGNING,
    )
    assert_exact(result, rplparallel)
    assert not result.notes and not result.unity["doubtfulTrials"].any()
    np.testing.assert_allclose(result.unity["unityTime"][0], theirs.unity["unityTime"][0], atol=1e-4)
    np.testing.assert_allclose(result.unity["unityData"][0], theirs.unity["unityData"][0], atol=1e-5)
    ours, known = result.unity["unityTrialTime"][0], ~np.isnan(theirs.unity["unityTrialTime"][0])
    np.testing.assert_allclose(ours[known], theirs.unity["unityTrialTime"][0][known], atol=1e-9)
    assert np.count_nonzero(~np.isnan(ours)) == np.count_nonzero(known) + 2 * 6, "two more frames in each of 6 trials"
    rows = marker_rows(result.eyelink)
    behind = (result.eyelink["timestamps"].values - theirs.eyelink["timestamps"].values)[rows.ravel()]
    assert np.all(behind >= -0.5e-3) and np.all(behind <= 1e-3 + 0.5e-3 * np.arange(1, 19)) and behind[-1] > 5e-3
    unchanged = [name for name in theirs.eyelink if name not in ("timestamps", "fix_times")]
    assert all(same(result.eyelink[name], theirs.eyelink[name]) for name in unchanged)
    assert result.eyelink["timestamps"].name is None


@golden_day
def test_what_pyhipp_aligned_is_aligned_again_and_exactly() -> None:
    day = GOLDEN / "picasso" / "20181105" / "session01"
    rplparallel = raypipe.load(day / "rplparallel_d41d.hkl")
    unity, eyelink = raypipe.load(day / "unity_71bf.hkl"), raypipe.load(day / "eyelink_24d5.hkl")
    result = align(unity, eyelink, rplparallel, ALIGNING)
    times = result.eyelink["timestamps"].values
    assert np.array_equal(times[marker_rows(result.eyelink)], rplparallel["timeStamps"])
    assert np.all(np.diff(times) >= 0) and np.abs(times - eyelink["timestamps"].values).max() < 0.012
    assert not result.unity["doubtfulTrials"].any()


def test_each_object_is_aligned_alone_as_it_is_beside_the_other() -> None:
    day = simulated(trials=4, seconds=20)
    unity, eyelink, rplparallel = unity_of(day), eyelink_of(day), rplparallel_of(day)
    both = align(unity, eyelink, rplparallel, ALIGNING)
    without_eye, without_unity = (
        align(unity, None, rplparallel, ALIGNING),
        align(None, eyelink, rplparallel, ALIGNING),
    )
    assert without_eye.eyelink is None and without_unity.unity is None
    assert unlike(without_eye.unity, both.unity) == unlike(without_unity.eyelink, both.eyelink) == []

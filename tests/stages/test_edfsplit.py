"""Eye data of a day become an object for each session, PyHipp's where PyHipp's is right."""

import os
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raypipe
from raypipe.errors import FormatError
from raypipe.io.eye import EyeEvents, EyeRecording
from raypipe.io.objects import save_object
from raypipe.io.tables import Table
from raypipe.stages.calibration import calibration_object
from raypipe.stages.edfsplit import SessionMarkers, navigation_objects
from raypipe.stages.eyelink_fields import nearest_sample
from tests.eye_cases import (
    ARGUMENTS,
    SETTINGS,
    Day,
    eyelink_of,
    golden_recording,
    golden_sessions,
    objects,
    recording_of,
    said,
    simulated,
    unlike_golden,
)

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
golden_day = pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
OURS_ALONE = ["reconstructed", "withoutSample", "triggerTime"]
NAVIGATION, CALIBRATION = "picasso/20181105/session01", "picasso/20181105/sessioneye"


def golden_navigation() -> tuple[dict[str, Any], tuple[str, ...]]:
    made = navigation_objects(
        [golden_recording("navigation")], golden_sessions(), SETTINGS, ARGUMENTS, {"session01": NAVIGATION}
    )["session01"]
    assert isinstance(made, tuple)
    return made


def calibrate(recording: EyeRecording) -> tuple[dict[str, Any], tuple[str, ...]]:
    return calibration_object(recording, SETTINGS, ARGUMENTS, CALIBRATION, n_navigation=1)


def indices_of(fields: dict[str, Any]) -> np.ndarray:
    return np.rint(fields["trial_timestamps"].values * fields["samplingRate"]).astype(int)


def assert_at_messages(day: Day, session: str, fields: dict[str, Any], *, within_ms: float = 0.0) -> None:
    """The stored samples are those of the markers, judged by the truth of the simulation."""
    truth_ms = np.array(
        [[day.clocks[session].eye_ms(t) for t in trial.ticks] for trial in day.navigations[session].trials]
    )
    sample_ms = 1000 * fields["timestamps"].values[indices_of(fields)]
    assert np.abs(sample_ms - truth_ms).max() <= within_ms + 1e-6
    assert fields["trial_codes"].values.tolist() == day.sessions[session].markers.tolist()


# PyHipp's own.


def test_navigation_is_pyhipps() -> None:
    fields, notes = golden_navigation()
    assert unlike_golden(fields, "navigation") == []
    assert list(fields) == ["args", *(name for name in fields if name not in ("args", *OURS_ALONE)), *OURS_ALONE]
    assert not notes and not fields["reconstructed"].any() and not fields["withoutSample"].any()
    assert fields["triggerTime"] == 4001.025


def test_calibration_is_pyhipps() -> None:
    fields, notes = calibrate(golden_recording("calibration"))
    assert unlike_golden(fields, "calibration") == []
    assert not notes


def test_one_sample_or_ms_off_is_seen() -> None:
    """Negative control: every field that depends on samples or messages is told from PyHipp's."""
    recording = golden_recording("navigation")
    late = replace(recording, gaze_px=np.roll(recording.gaze_px, 1, axis=2))
    made = navigation_objects([late], golden_sessions(), SETTINGS, ARGUMENTS, {"session01": NAVIGATION})["session01"]
    assert isinstance(made, tuple)
    assert unlike_golden(made[0], "navigation") == ["eye_pos"]
    late = replace(
        recording, message_ms=recording.message_ms + np.array([k == 5 for k in range(recording.message_ms.size)])
    )
    made = navigation_objects([late], golden_sessions(), SETTINGS, ARGUMENTS, {"session01": NAVIGATION})["session01"]
    assert isinstance(made, tuple)
    assert unlike_golden(made[0], "navigation") == ["trial_timestamps", "discrepancies"]


@golden_day
def test_the_extract_is_the_golden_days_and_files_are_read_back(tmp_path: Path) -> None:
    """PyHipp's objects and ours, through a file, are equal as they are loaded, and fields come in the same order."""
    for made, path in (
        (golden_navigation()[0], GOLDEN / "prealign" / "eyelink_24d5.hkl"),
        (calibrate(golden_recording("calibration"))[0], GOLDEN / CALIBRATION / "eyelink_24d5.hkl"),
    ):
        save_object(tmp_path / "eyelink_24d5.hkl", made)
        ours, theirs = raypipe.load(tmp_path / "eyelink_24d5.hkl"), raypipe.load(path)
        assert [name for name in ours if name not in OURS_ALONE] == list(theirs)
        for name, value in theirs.items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(ours[name], value), name
            else:
                assert ours[name] == value and type(ours[name]) is type(value), name


# Calibration.


def calibration(words: list[str], n: int = 4000) -> EyeRecording:
    return said(
        recording_of(1_000_000 + np.arange(float(n))), [(1_000_100.0 + 100 * k, w) for k, w in enumerate(words)]
    )


START, CUE, END = "1  0  0  0  0  0  0  0", "0  1  0  0  0  0  0  0", "0  0  1  0  0  0  0  0"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([START, CUE, END], [1000.5, 1000.6, 1000.7]),
        ([START, END], [1000.5, 0, 1000.6]),
        ([START, CUE], [1000.5, 1000.6, 0]),
        ([START], [1000.5, 0, 0]),
    ],
)
def test_the_last_calibration_trial_may_be_complete_or_not(last: list[str], expected: list[float]) -> None:
    recording = calibration(["RECCFG CR 1000 2 1 L", START, CUE, END, *last])
    fields, _ = calibrate(recording)
    np.testing.assert_allclose(fields["trial_timestamps"].values, [[1000.2, 1000.3, 1000.4], expected], atol=1e-9)
    samples = [round(1000 * (s - 1000)) if s else 0 for s in expected]
    assert fields["indices"].values.tolist() == [[200, 300, 400], samples]
    assert fields["noOfTrials"] == [2] and fields["setidx"] == [0, 0]


def test_a_word_too_many_in_a_calibration_trial() -> None:
    fields, _ = calibrate(calibration([START, CUE, END, END, START, CUE, END]))
    np.testing.assert_allclose(fields["trial_timestamps"].values[0], [1000.1, 1000.2, 1000.3], atol=1e-9)


def test_the_nearest_sample_is_taken() -> None:
    samples = np.array([0.0, 2, 4, 100, 102])
    wanted = np.array([[-5.0, 0, 0.9], [1, 2, 51], [53, 101.5, 999]])
    assert nearest_sample(samples, wanted).tolist() == [[0, 0, 0], [1, 1, 2], [3, 4, 4]]
    assert nearest_sample(samples[:1], wanted).tolist() == [[0] * 3] * 3


def test_calibration_at_another_rate_and_with_a_pause() -> None:
    """Indices are of samples, whatever their times: a pause of 200 ms at 500 Hz lacks 100 of them."""
    ms = np.concatenate([1_000_000 + 2 * np.arange(100.0), 1_000_400 + 2 * np.arange(500.0)])
    fields, _ = calibrate(said(recording_of(ms, 500.0), [(1_000_100.0, START), (1_000_500.0, CUE), (1_000_600.0, END)]))
    assert fields["indices"].values.tolist() == [[50, 150, 200]]
    assert fields["timestamps"].values[150] == 1000.5 and fields["samplingRate"] == 500


def test_calibration_leaves_out_samples_at_zero() -> None:
    recording = calibration([START, CUE, END])
    recording.gaze_px[0, :, 3] = 0
    recording.gaze_px[0, 1, 5] = 1080.1
    gaze = calibrate(recording)[0]["calib_eye_pos"]
    assert gaze.values.shape == (3999, 2) and gaze.index[:4].tolist() == [0, 1, 2, 4]
    assert np.isnan(gaze.values[4, 1]) and gaze.values[4, 0] == 5


def test_calibration_without_trials_or_samples() -> None:
    with pytest.raises(FormatError, match=r"181105\.asc has no calibration trial"):
        calibrate(calibration(["Start Trial 11"]))
    with pytest.raises(FormatError, match="no samples"):
        calibrate(calibration([START], n=0))


# Sessions in a file.


@pytest.mark.parametrize("marker_format", [84, 204, None])
def test_three_sessions_in_one_file(marker_format: int | None) -> None:
    day = simulated(sessions=3, marker_format=marker_format)
    made = objects(day)
    assert list(made) == ["session01", "session02", "session03"]
    triggers = [ms for ms, text in day.messages() if text.startswith("Trigger")]
    first = day.recording.ms[0]
    n_total = 0
    for session, start, stop in zip(
        made, [first, *triggers[1:]], [*triggers[1:], day.recording.ms[-1] + 1], strict=True
    ):
        fields, notes = made[session]
        assert notes == () and fields["noOfTrials"] == [18] and fields["noOfSessions"] == 1
        assert_at_messages(day, session, fields)
        times = 1000 * fields["timestamps"].values
        assert round(times[0]) == start and round(times[-1]) == stop - 1
        assert fields["session_start"] == [day.recording.ms[day.recording.ms >= start][1] / 1000]
        assert fields["session_start_index"] == [start - first + 1]
        assert fields["eye_pos"].values[0, 0] == (start - first) % 1920
        assert fields["triggerTime"] == triggers[int(session[-1]) - 1] / 1000
        n_total += times.size
    assert n_total == day.recording.ms.size


def test_a_file_without_triggers_and_time_outs() -> None:
    day = simulated(sessions=2, timeout_fraction=0.0).with_messages(
        lambda messages: [m for m in messages if not m[1].startswith("Trigger")]
    )
    made = objects(day)
    ends = [made[session][0]["timestamps"].values[[0, -1]] for session in made]
    told_ms = [ms for ms, text in day.messages() if not text.startswith("RECCFG")]
    middle = (told_ms[17] + told_ms[18]) / 2000
    assert ends[0][1] < middle <= ends[1][0] and ends[1][0] - ends[0][1] == pytest.approx(0.001)
    for session, (fields, notes) in made.items():
        assert_at_messages(day, session, fields)
        assert notes == ("181105.asc has no trigger for Ripple's 84 at this session's start",)
        assert np.isnan(fields["triggerTime"])


def test_dummy_sessions_are_recognised() -> None:
    """Segments of which Ripple knows nothing, before, between and behind, cost nothing but a cut."""
    day = simulated(sessions=5)
    kept = {"session01": "session02", "session02": "session04"}
    dummies = replace(day, sessions={ours: day.sessions[theirs] for ours, theirs in kept.items()})
    made = objects(dummies)
    for ours, theirs in kept.items():
        fields, notes = made[ours]
        assert notes == ()
        assert_at_messages(day, theirs, fields)
        assert fields["timestamps"].values[0] == fields["triggerTime"]
        assert fields["timestamps"].values[-1] - fields["timestamps"].values[0] == pytest.approx(35, abs=0.2)


def test_a_session_that_was_never_recorded_costs_only_itself() -> None:
    day = simulated(sessions=3)
    foreign = simulated(sessions=3, seed=9).sessions["session02"]
    made = objects(replace(day, sessions={**day.sessions, "session02": foreign}))
    assert isinstance(made["session01"], tuple) and isinstance(made["session03"], tuple)
    error = made["session02"]
    assert isinstance(error, FormatError)
    assert "session02" in str(error) and "18 markers" in str(error) and "54 trial messages" in str(error)
    assert ", ".join(str(code) for code in foreign.markers.ravel()[:6]) in str(error)


def test_another_sessions_trigger_is_not_taken_for_the_lost_one() -> None:
    day = simulated(sessions=2)
    triggers = [m for m in day.messages() if m[1].startswith("Trigger")]
    less = day.with_messages(lambda messages: [m for m in messages if m != triggers[1]])
    made = objects(replace(less, sessions={"session01": day.sessions["session02"]}))
    fields, notes = made["session01"]
    assert np.isnan(fields["triggerTime"]) and "no trigger for Ripple's 84" in notes[-1]
    assert_at_messages(day, "session02", fields)


def test_sessions_out_of_order_are_not_both_believed() -> None:
    day = simulated(sessions=2)
    made = objects(
        replace(day, sessions={"session01": day.sessions["session02"], "session02": day.sessions["session01"]})
    )
    assert sorted(isinstance(each, FormatError) for each in made.values()) == [False, True]


def test_sessions_may_be_in_several_files() -> None:
    day = simulated(sessions=4)
    recording = day.recording
    cut = [ms for ms, text in day.messages() if text.startswith("Trigger")][2]
    first, second = (
        said(
            replace(recording, ms=recording.ms[part], gaze_px=recording.gaze_px[:, :, part]),
            [m for m in day.messages() if (m[0] < cut) == (not late)],
        )
        for late, part in ((False, recording.ms < cut), (True, recording.ms >= cut))
    )
    made = objects(replace(day, recording=first), second)
    for session, (fields, notes) in made.items():
        assert notes == ()
        assert_at_messages(day, session, fields)
        assert fields["noOfTrials"] == [12]
    # Behind a pause the tracker's clock may begin anew.
    again = replace(second, ms=second.ms - 4_000_000, message_ms=second.message_ms - 4_000_000)
    assert np.array_equal(
        objects(replace(day, recording=first), again)["session03"][0]["trial_timestamps"].values,
        made["session03"][0]["trial_timestamps"].values,
    )


def test_a_session_started_again_stays_one() -> None:
    """A second trigger inside a session, whose trials Ripple keeps together, cuts nothing."""
    day = simulated(sessions=2)
    between = np.mean(
        [
            day.clocks["session01"].eye_ms(t)
            for t in (
                day.navigations["session01"].trials[2].end_ticks,
                day.navigations["session01"].trials[3].cue_on_ticks,
            )
        ]
    )
    again = day.with_messages(lambda messages: sorted([*messages, (float(round(between)), "Trigger Version 84")]))
    for session, (fields, _) in objects(again).items():
        assert_at_messages(day, session, fields)
        assert fields["triggerTime"] == eyelink_of(day, session)["triggerTime"]
        assert np.array_equal(fields["timestamps"].values, eyelink_of(day, session)["timestamps"].values)


# What gets lost, doubled or misplaced.


def test_messages_in_any_order_and_doubled() -> None:
    day = simulated()
    expected = eyelink_of(day)["trial_timestamps"]
    mixed = day.with_messages(
        lambda messages: [messages[k] for k in np.random.default_rng(1).permutation(len(messages))]
    )
    assert eyelink_of(mixed)["trial_timestamps"] == expected
    doubled = day.with_messages(
        lambda messages: sorted(chain(messages, [(ms + 700, text) for ms, text in messages[2:6]]))
    )
    fields, notes = objects(doubled)["session01"]
    assert fields["trial_timestamps"] == expected
    assert len(notes) == 1 and notes[0].startswith("4 trial messages are no marker of Ripple's and were left out: ")


def test_an_incomplete_trial_at_the_end_is_left_out() -> None:
    day = simulated()
    more = day.with_messages(lambda messages: [*messages, (messages[-1][0] + 400, "Start Trial 11")])
    fields, notes = objects(more)["session01"]
    assert fields["trial_timestamps"] == eyelink_of(day)["trial_timestamps"]
    assert "1 trial messages are no marker" in notes[0] and "11 at " in notes[0]


@pytest.mark.parametrize("ppm", [-100.0, 100.0])
def test_lost_messages_are_put_back_to_a_ms(ppm: float) -> None:
    """A start, a cue offset and an end, two whole trials, the first and the last message, and a trigger."""
    day = simulated(trials=30, seconds=110, eye_ppm=ppm, sessions=2)
    lost = [0, 1, 3 * 3 + 1, 5 * 3 + 2, 8 * 3 + 3, 12 * 3, *(3 * 20 + 1 + k for k in range(6)), 90]
    less = day.with_messages(lambda messages: [m for k, m in enumerate(messages) if k not in lost])
    fields, notes = objects(less)["session01"]
    assert_at_messages(day, "session01", fields, within_ms=1.0)
    assert np.flatnonzero(fields["reconstructed"]).tolist() == [k - 1 for k in lost[1:]]
    assert notes[0].startswith("12 of 90 trial messages are not in 181105.asc and were reconstructed")
    assert "(trials 1, 4, 6, 9, 12, 21, ...)" in notes[0]
    assert "no trigger" in notes[1]
    assert fields["noOfTrials"] == [60 - 4]
    assert_at_messages(day, "session02", objects(less)["session02"][0])


def test_more_than_half_lost_is_an_error() -> None:
    day = simulated(sessions=2)
    n = len(day.messages()) // 2
    less = day.with_messages(lambda messages: messages[: n - 10] + messages[n:])
    made = objects(less)
    assert isinstance(made["session01"], FormatError)
    assert isinstance(made["session02"], tuple)


# Kinds of recordings.


def test_other_messages_are_passed_over() -> None:
    day = simulated()
    others = [
        "RECCFG CR 1000 2 1 L",
        "!CAL",
        "",
        "Start Trial",
        "Trigger",
        "Trigger Version",
        "Start 11 Trial",
        "DRIFTCORRECT 11",
    ]
    more = day.with_messages(
        lambda messages: [*messages, *((messages[3][0] + k, text) for k, text in enumerate(others))]
    )
    fields, notes = objects(more)["session01"]
    assert notes == () and fields["trial_timestamps"] == eyelink_of(day)["trial_timestamps"]


@pytest.mark.parametrize("rate_hz", [500.0, 1000.0, 2000.0])
def test_other_rates(rate_hz: float) -> None:
    day = simulated(rate_hz)
    fields, notes = objects(day)["session01"]
    assert notes == () and fields["samplingRate"] == rate_hz
    assert_at_messages(day, "session01", fields, within_ms=1.0 if rate_hz == 500 else 0.0)
    assert fields["timestamps"].values[1] - fields["timestamps"].values[0] == pytest.approx(1 / rate_hz)


def test_a_pause_of_the_tracker_between_trials() -> None:
    """Indices count samples, so behind a pause of 250 ms they are 250 less than the ms."""
    day = simulated()
    trial = day.navigations["session01"].trials[2]
    at = (day.clocks["session01"].eye_ms(trial.end_ticks) - day.recording.ms[0]) / 1000
    paused = simulated(pauses=[(at + 0.01, at + 0.26)])
    whole, less = indices_of(eyelink_of(day)), indices_of(eyelink_of(paused))
    assert np.array_equal(whole[:3], less[:3]) and np.array_equal(whole[3:] - 250, less[3:])
    assert_at_messages(day, "session01", eyelink_of(paused))


def test_a_pause_of_the_tracker_at_a_marker() -> None:
    day = simulated()
    at = (
        day.clocks["session01"].eye_ms(day.navigations["session01"].trials[2].cue_off_ticks) - day.recording.ms[0]
    ) / 1000
    fields, notes = objects(simulated(pauses=[(at - 0.1, at + 0.3)]))["session01"]
    assert np.flatnonzero(fields["withoutSample"]).tolist() == [7]
    assert notes == ("at 1 markers the tracker was not recording (trials 3)",)


def both_eyes(day: Day) -> EyeRecording:
    gaze = np.concatenate([day.recording.gaze_px, day.recording.gaze_px + 10])
    events = {
        kind: EyeEvents(
            np.repeat(each.start_ms, 2),
            np.repeat(each.end_ms, 2) + np.tile([0, 5], each.end_ms.size),
            np.tile([False, True], each.start_ms.size),
            np.repeat(each.values, 2, axis=0),
        )
        for kind, each in day.recording.events.items()
    }
    return replace(day.recording, eyes=("left", "right"), gaze_px=gaze, events=events)


def test_of_two_eyes_the_left_is_taken() -> None:
    day = simulated()
    fields = eyelink_of(replace(day, recording=both_eyes(day)))
    expected = eyelink_of(day)
    assert all(fields[name] == expected[name] for name in ("eye_pos", "fix_times", "fix_event", "sacc_event"))


def test_the_right_eye_alone_is_taken_and_said() -> None:
    day = simulated()
    right = replace(both_eyes(day), eyes=("right",), gaze_px=day.recording.gaze_px + 10)
    right = replace(right, events={k: replace_events(e) for k, e in right.events.items()})
    fields, notes = objects(replace(day, recording=right))["session01"]
    assert fields["eye_pos"].values[0].tolist() == [10, 550] and "right eye alone" in notes[0]
    assert len(fields["fix_event"].values) == len(eyelink_of(day)["fix_event"].values)


def replace_events(events: EyeEvents) -> EyeEvents:
    chosen = events.is_right
    return EyeEvents(events.start_ms[chosen], events.end_ms[chosen], chosen[chosen], events.values[chosen])


def test_gaze_off_the_screen_or_nowhere() -> None:
    day = simulated()
    for sample, gaze in enumerate([(-0.1, 5), (0, 0), (1920, 1080), (1920.1, 5), (5, 1080.1), (np.nan, 5)]):
        day.recording.gaze_px[0, :, sample] = gaze
    nan = np.nan
    np.testing.assert_array_equal(
        eyelink_of(day)["eye_pos"].values[:6], [(nan, 5), (0, 0), (1920, 1080), (nan, 5), (5, nan), (nan, 5)]
    )
    assert day.recording.gaze_px[0, 0, 0] == -0.1, "the recording itself stays as it is"
    day.recording.gaze_px[:] = nan
    fields, notes = objects(day)["session01"]
    assert np.isnan(fields["eye_pos"].values).all() and "no sample of this session has gaze on the screen" in notes[0]


def test_fixations_across_a_trigger_belong_to_both_sessions() -> None:
    day = simulated(sessions=2)
    trigger = [ms for ms, text in day.messages() if text.startswith("Trigger")][1]
    starts, ends = np.array([trigger - 400, trigger - 90, trigger]), np.array([trigger - 100, trigger, trigger + 200])
    fixations = EyeEvents(starts, ends, np.zeros(3, np.bool_), np.zeros((3, 3)))
    made = objects(replace(day, recording=replace(day.recording, events={"fixation": fixations})))
    assert [fields["fix_event"].values.tolist() for fields, _ in made.values()] == [[300, 90], [90, 200]]
    assert [fields["sacc_event"].values.size for fields, _ in made.values()] == [0, 0]


# Nothing to make an object of.


def test_without_samples_or_messages() -> None:
    day = simulated(sessions=2)
    empty = replace(recording_of(np.arange(4000.0)[:0]), path=Path("empty.asc"))
    assert "empty.asc has no samples" in str(objects(replace(day, recording=said(empty, day.messages())))["session01"])
    silent = objects(day.with_messages(lambda _: []))
    assert all("181105.asc has 0 trial messages" in str(error) for error in silent.values())
    none = navigation_objects([], day.sessions, SETTINGS, ARGUMENTS, {})
    assert all(isinstance(error, FormatError) and "there is none" in str(error) for error in none.values())


def test_samples_that_go_backwards() -> None:
    day = simulated()
    day.recording.ms[100] = day.recording.ms[99]
    assert "do not increase" in str(objects(day)["session01"])


@pytest.mark.parametrize("change", ["pairs", "flat", "backwards"])
def test_markers_of_ripple_that_are_no_trials(change: str) -> None:
    day = simulated(sessions=2)
    good = day.sessions["session01"]
    bad = {
        "pairs": SessionMarkers(good.markers[:, :2], good.time_stamps[:, :2]),
        "flat": SessionMarkers(good.markers.ravel(), good.time_stamps.ravel()),
        "backwards": replace(good, time_stamps=good.time_stamps[::-1]),
    }[change]
    made = objects(replace(day, sessions={**day.sessions, "session01": bad}))
    assert isinstance(made["session01"], FormatError) and "session01" in str(made["session01"])
    assert_at_messages(day, "session02", made["session02"][0])


def test_every_table_can_be_saved(tmp_path: Path) -> None:
    fields = eyelink_of(simulated())
    save_object(tmp_path / "eyelink_24d5.hkl", fields)
    loaded = raypipe.load(tmp_path / "eyelink_24d5.hkl")
    assert list(loaded) == list(fields)
    for name, value in fields.items():
        if isinstance(value, Table):
            assert loaded[name] == value, name

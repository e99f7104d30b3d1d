"""Trials follow each other within the session, and their markers are Ripple's words with zeros between."""

from itertools import pairwise

import pytest

from raypipe.simulate import SimulateSettings
from raypipe.simulate.trials import calibration_markers, navigation_markers, plan_calibration, plan_navigation
from raypipe.stages.maze import poster_junction


@pytest.mark.parametrize(
    "settings", [SimulateSettings(seconds=27.5, trials=10), SimulateSettings(seconds=3600, trials=400)]
)
def test_trials_follow_each_other(settings: SimulateSettings) -> None:
    navigation = plan_navigation(settings, 1)
    trials = navigation.trials
    ticks = [navigation.trigger_ticks, *(tick for trial in trials for tick in trial.ticks), 30000 * settings.seconds]
    assert len(trials) == settings.trials
    assert all(b - a > 3000 for a, b in pairwise(ticks))
    assert sum(trial.timeout for trial in trials) == round(0.1 * settings.trials)
    for trial in trials:
        assert 1 <= trial.poster <= 6
        assert trial.codes == (10 + trial.poster, 20 + trial.poster, (40 if trial.timeout else 30) + trial.poster)
        assert (trial.route[-1] == poster_junction(trial.poster)) is not trial.timeout


def test_sessions_and_seeds_differ_and_repeat() -> None:
    settings = SimulateSettings(sessions=2)
    assert plan_navigation(settings, 1) == plan_navigation(settings, 1)
    assert plan_navigation(settings, 1).trials != plan_navigation(settings, 2).trials
    assert plan_navigation(settings, 1).trials != plan_navigation(SimulateSettings(seed=1), 1).trials


@pytest.mark.parametrize(("marker_format", "first"), [(84, [84, 0]), (204, [204, 0]), (None, [])])
def test_words_of_a_navigation_session(marker_format: int | None, first: list[int]) -> None:
    navigation = plan_navigation(SimulateSettings(trials=3), 1)
    ticks, codes = navigation_markers(navigation, marker_format)
    words = [code for trial in navigation.trials for code in trial.codes]
    assert codes == first + [word for code in words for word in (code, 0)]
    assert all(zero - word == 300 for word, zero in zip(ticks[::2], ticks[1::2], strict=True))
    assert ticks == sorted(ticks)


def test_words_of_the_calibration() -> None:
    trials = plan_calibration(SimulateSettings(eye_seconds=4))
    ticks, codes = calibration_markers(trials)
    assert codes == [1, 0, 2, 0, 3, 0] * 4
    assert ticks[:6] == [9000, 9300, 16650, 16950, 29400, 29700]
    assert ticks[-1] < 4 * 30000

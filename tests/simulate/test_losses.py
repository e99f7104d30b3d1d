"""What is to be missing is chosen at random, as many as asked for, and never twice of a trial."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raypipe.simulate import SimulateSettings
from raypipe.simulate.losses import NO_LOSSES, plan_losses


def with_trials(n: int, **settings: object) -> SimulateSettings:
    return SimulateSettings(trials=n, seconds=2.5 * n + 10, **settings)


@given(
    st.integers(2, 30),
    st.integers(0, 10),
    st.integers(0, 5),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(["all", "unity", "ripple"]),
    st.integers(0, 3),
)
def test_as_many_as_asked_for(
    n: int, messages: int, trials: int, incomplete: int, cut: bool, where: str, seed: int
) -> None:
    assume((messages + 1) // 2 + trials + incomplete + cut < n)
    losses = plan_losses(
        with_trials(
            n,
            lost_messages=messages,
            lost_trials=trials,
            incomplete_trials=incomplete,
            cut_last_trial=cut,
            incomplete_in=where,
            seed=seed,
        ),
        1,
    )
    assert len(losses.lost) == messages + 3 * trials
    of_trial = [sum(trial == t for trial, _ in losses.lost) for t in range(n)]
    assert of_trial.count(3) == trials and max(of_trial, default=0) <= 3
    assert len(losses.incomplete) == incomplete + cut and (n - 1 in losses.incomplete) is cut
    assert list(losses.incomplete) == sorted(set(losses.incomplete))
    assert all(of_trial[trial] == 0 for trial in losses.incomplete)
    assert any(of_trial[t] == 0 and t not in losses.incomplete for t in range(n)), "one is as it should be"
    ends = {(trial, 2) for trial in losses.incomplete}
    assert losses.unity == (ends if where in ("all", "unity") else set())
    assert losses.ripple == (ends if where in ("all", "ripple") else set())
    assert losses.eye == losses.lost | (ends if where == "all" else set())
    assert losses.is_cut is (cut and where != "ripple")


def test_usually_nothing_is_missing_and_seeds_and_sessions_differ() -> None:
    assert plan_losses(SimulateSettings(), 1) == NO_LOSSES
    some = {
        plan_losses(with_trials(30, lost_messages=5, seed=seed), session).lost
        for seed in range(3)
        for session in (1, 2)
    }
    assert len(some) == 6
    assert plan_losses(with_trials(30, lost_messages=5), 1) == plan_losses(with_trials(30, lost_messages=5), 1)


@pytest.mark.parametrize("event", range(3))
def test_any_message_can_be_lost(event: int) -> None:
    lost = [plan_losses(with_trials(5, lost_messages=1, seed=seed), 1).lost for seed in range(30)]
    assert any((trial, e) for some in lost for trial, e in some if e == event)
    assert {trial for some in lost for trial, _ in some} == set(range(5))

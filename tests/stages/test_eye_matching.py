"""Ripple's markers find their messages, whatever the clocks do and whatever is lost, doubled, late or of no session."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from raypipe.stages.eye_matching import Match, find_places


@dataclass(frozen=True)
class Told:
    """Markers `codes` at `ripple_ms`, and the messages of them and of others; `row` of each marker's own, or -1."""

    codes: NDArray[np.int64]
    ripple_ms: NDArray[np.float64]
    message_codes: NDArray[np.int64]
    message_ms: NDArray[np.float64]
    row: NDArray[np.int64]
    true_ms: NDArray[np.float64]

    def places(self) -> list[Match]:
        return find_places(self.message_codes, self.message_ms, self.codes, self.ripple_ms)


def session(random: np.random.Generator, n_trials: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A session of the task: cue of about 1 s, way of 2 to 20 s, pause of 1 to 3 s; one in eight a time-out."""
    poster = random.integers(1, 7, n_trials)
    over = np.where(random.uniform(size=n_trials) < 0.125, 40, 30)
    codes = np.column_stack([10 + poster, 20 + poster, over + poster])
    gaps = random.uniform((1000, 990, 2000), (3000, 1010, 20000), (n_trials, 3))
    return codes.ravel(), np.cumsum(gaps.ravel())


def told(
    seed: int,
    n_trials: int,
    drift: float,
    *,
    lost: float = 0.0,
    doubled: float = 0.0,
    others: int = 0,
    wander: float = 0.0,
) -> Told:
    """Tell a session to a tracker of another offset and drift in whole ms, between `others` of as many trials."""
    random = np.random.default_rng(seed)
    codes, ripple_ms = session(random, n_trials)
    offset = random.uniform(-1e6, 1e7)
    span = ripple_ms[-1] - ripple_ms[0]
    true_ms = offset + (1 + drift) * ripple_ms + wander * np.sin(2 * np.pi * ripple_ms / max(span, 1))
    parts = [(codes, np.rint(true_ms), np.arange(codes.size))]
    for k in range(others):
        other, ms = session(random, n_trials)
        start = true_ms[-1] + (k + 1) * 1e4 + k * span if k % 2 else true_ms[0] - (k + 1) * 1e4 - (k + 1.5) * span
        parts.append((other, np.rint(start + ms), np.full(other.size, -1)))
    all_codes, all_ms, markers = (np.concatenate([part[k] for part in parts]) for k in range(3))
    keep = (random.uniform(size=all_codes.size) >= lost) | (markers < 0)
    again = np.flatnonzero(keep & (random.uniform(size=all_codes.size) < doubled))
    rows = np.concatenate([np.flatnonzero(keep), again])
    late = np.concatenate([np.zeros(np.count_nonzero(keep)), random.integers(40, 400, again.size)])
    all_codes, all_ms, markers = all_codes[rows], all_ms[rows] + late, np.where(late > 0, -1, markers[rows])
    order = np.argsort(all_ms, kind="stable")
    markers = markers[order]
    row = np.full(codes.size, -1)
    row[markers[markers >= 0]] = np.flatnonzero(markers >= 0)
    return Told(codes, ripple_ms, all_codes[order], all_ms[order], row, true_ms)


cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n_trials": st.integers(8, 80),
        "drift": st.floats(-5e-4, 5e-4),
        "lost": st.floats(0, 0.3),
        "doubled": st.floats(0, 0.2),
        "others": st.integers(0, 3),
    }
)


@given(cases)
@settings(max_examples=60, deadline=None)
def test_every_marker_finds_its_message_and_every_lost_one_its_time(case: dict[str, Any]) -> None:
    """At the first place: right messages, no wrong one, times that increase, lost ones within a ms and a half."""
    case_told = told(**case)
    assume(np.count_nonzero(case_told.row >= 0) >= case_told.codes.size / 2)
    match = case_told.places()[0]
    assert np.array_equal(match.rows, case_told.row)
    assert np.all(np.diff(match.ms) > 0)
    assert np.array_equal(match.ms[match.rows >= 0], case_told.message_ms[match.rows[match.rows >= 0]])
    assert np.abs(match.ms - case_told.true_ms).max() < 1.5
    assert abs(match.clock[1] - 1 - case["drift"]) < 5e-5


@pytest.mark.parametrize("n_trials", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_a_few_trials_are_enough(seed: int, n_trials: int) -> None:
    case = told(seed, n_trials, 1e-4)
    assert np.array_equal(case.places()[0].rows, case.row)


@pytest.mark.parametrize("seed", range(5))
def test_hundreds_of_trials_over_hours(seed: int) -> None:
    """Three hours, 600 trials, 900 ppm, a clock that also wanders by 20 ms, nearly a third lost: still each its own."""
    case = told(seed, 600, 9e-4, lost=0.3, doubled=0.02, others=2, wander=20.0)
    assert case.ripple_ms[-1] > 2 * 3600_000
    match = case.places()[0]
    assert np.array_equal(match.rows, case.row)
    assert np.abs(match.ms - case.true_ms).max() < 2.5


def test_a_late_message_is_still_its_markers() -> None:
    case = told(3, 20, 0.0)
    late = case.message_ms.copy()
    late[20] += 900  # a cue offset, before the end
    match = find_places(case.message_codes, late, case.codes, case.ripple_ms)[0]
    assert match.rows[20] == 20 and match.ms[20] == late[20]
    others = np.arange(60) != 20
    assert np.array_equal(match.rows[others], case.row[others]) and match.n_agreeing == 59


def test_a_message_later_than_the_next_event_counts_as_lost() -> None:
    """A start that is told after its cue offset: times have to increase, and the others are right."""
    case = told(4, 20, 0.0)
    late = case.message_ms.copy()
    late[21] += 1300
    order = np.argsort(late)
    match = find_places(case.message_codes[order], late[order], case.codes, case.ripple_ms)[0]
    assert match.rows[21] == -1 and abs(match.ms[21] - case.true_ms[21]) < 1.5
    assert np.all(np.diff(match.ms) > 0)


@pytest.mark.parametrize("late_ms", [0, 300])
def test_trials_that_follow_each_other_fast(late_ms: int) -> None:
    """One poster, a trial in 1.2 s: a lost message does not take its neighbour's, and a late one is still its own."""
    random = np.random.default_rng(8)
    codes, ripple_ms = np.tile([11, 21, 31], 20), np.cumsum(random.uniform(350, 450, 60))
    ms = np.rint(1e6 + ripple_ms) + late_ms * (np.arange(60) == 32)
    told_ones = np.flatnonzero(np.arange(60) != 30)
    match = find_places(codes[told_ones], ms[told_ones], codes, ripple_ms)[0]
    assert match.rows.tolist() == [k - (k > 30) if k != 30 else -1 for k in range(60)]


def test_messages_at_times_of_their_own_have_no_place() -> None:
    """The right words in the right order are not enough."""
    case = told(9, 40, 0.0)
    anyhow = case.message_ms + np.random.default_rng(9).uniform(-900, 900, case.message_ms.size)
    order = np.argsort(anyhow)
    assert find_places(case.message_codes[order], anyhow[order], case.codes, case.ripple_ms) == []


def test_what_was_never_told_has_no_place() -> None:
    case, other = told(5, 40, 0.0), told(6, 40, 0.0)
    assert find_places(other.message_codes, other.message_ms, case.codes, case.ripple_ms) == []
    assert find_places(np.empty(0, np.int64), np.empty(0), case.codes, case.ripple_ms) == []
    half = slice(0, 55)
    assert find_places(case.message_codes[half], case.message_ms[half], case.codes, case.ripple_ms) == []


def test_the_better_of_two_places_comes_first() -> None:
    """The same session told twice, the second time with losses: both places are found, the whole one first."""
    case = told(7, 12, 0.0)
    less = np.arange(36) % 5 > 0
    codes = np.concatenate([case.message_codes[less], case.message_codes])
    ms = np.concatenate([case.message_ms[less], case.message_ms + 1e6])
    places = find_places(codes, ms, case.codes, case.ripple_ms)
    assert [match.n_agreeing for match in places] == [36, np.count_nonzero(less)]
    assert places[1].span_ms[1] < places[0].span_ms[0]

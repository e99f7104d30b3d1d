"""Nothing is begun that cannot end before the walltime, and what never can is said."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.channels import Group, Lane, Pass
from raypipe.deadline import MARGIN, Deadline, Life, Pace, Unit, in_words
from raypipe.errors import TooLittleTime
from raypipe.sources import Samples, Scratch
from raypipe.units import fitting_groups, unit_of_groups

seconds = st.floats(0, 1e5)
measured = st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e4)))


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def life_of(left: float, warning: float = 0.0) -> tuple[Life, Clock]:
    clock = Clock()
    life = Life(warning=warning, clock=clock)
    life.ends_in(left)
    return life, clock


@given(left=seconds, warning=seconds, passed=seconds, thought=seconds, before=measured)
def test_what_begins_ends_in_time_by_all_that_is_known(
    left: float, warning: float, passed: float, thought: float, before: list[tuple[float, float]]
) -> None:
    life, clock = life_of(left, warning)
    for each in before:
        life.pace.took("s", *each)
    clock.now += passed
    unit = Unit("u", "s", thought)
    end, needed = 1000 + left, life.pace.expected(unit)
    begun = life.begin(unit)
    assert life.lacks_time is not begun
    if begun:
        assert clock.now < life.latest(unit)
        assert clock.now + MARGIN * needed <= life.deadline.stop + 1e-6
        assert clock.now <= end - warning
        assert not life.is_over
        assert life.deadline.fits_a_life(needed)
    else:
        assert clock.now + MARGIN * needed + max(warning, life.deadline.reserve) >= end - 1e-6


@given(left=seconds, warning=st.floats(1, 1e4), passed=seconds)
def test_after_the_warning_nothing_begins_and_what_is_under_way_may_end(
    left: float, warning: float, passed: float
) -> None:
    life, clock = life_of(left, warning)
    clock.now += passed
    life.warn()
    assert not life.begin(Unit("u", "s", 0.0))
    stop = min(life.deadline.stop, clock.now + warning + 60)
    clock.now = stop
    assert life.is_over
    assert stop < 1000 + left


def test_a_warning_counts_from_when_it_came_unless_slurm_sent_it() -> None:
    life, clock = life_of(3600, 300)
    life.warn()  # by hand: an hour is left
    clock.now += 269
    assert not life.is_over
    life.warn()  # again: nothing changes
    clock.now += 1
    assert life.is_over
    life, clock = life_of(350, 300)
    life.warn()  # Slurm's, somewhat early
    clock.now += 319
    assert not life.is_over
    clock.now += 1
    assert life.is_over


def test_without_a_walltime_everything_begins_and_a_warning_ends_it_at_once() -> None:
    life = Life(clock=Clock())
    assert life.begin(Unit("u", "s", 1e12))
    assert not life.is_over
    life.warn()
    assert life.is_over


@pytest.mark.parametrize(("warning", "reserve"), [(0, 30), (300, 30), (20, 10)])
def test_the_reserve_is_part_of_the_warning(warning: float, reserve: float) -> None:
    assert Deadline(0.0, 1000.0, warning).reserve == reserve


def test_a_pace_is_what_was_measured_once_that_is_much() -> None:
    pace = Pace()
    unit = Unit("u", "s", 100.0)
    assert pace.expected(unit) == 100
    pace.took("s", 0.01, 1.0)  # a hundred times as long, but of nothing
    assert pace.expected(unit) == pytest.approx(101.7, abs=0.1)
    pace.took("s", 1000.0, 3000.0)
    assert 270 < pace.expected(unit) < 300
    assert pace.expected(Unit("u", "other", 100.0)) == 100


def test_what_is_late_may_begin_when_others_were_faster() -> None:
    life, _ = life_of(1000, 10)
    unit = Unit("u", "s", 900.0)
    assert not life.begin(unit)
    life.pace.took("s", 1000.0, 100.0)
    assert life.begin(unit)
    assert not life.lacks_time


def test_a_life_that_made_nothing_and_can_begin_nothing_is_the_last() -> None:
    life, _ = life_of(1800, 300)
    life.begin(Unit("session01: filtering of 8 channels", "filters", 7000.0))
    life.begin(Unit("session02: filtering of 8 channels", "filters", 3000.0))
    with pytest.raises(
        TooLittleTime, match=r"session02: filtering of 8 channels takes about 50 min, .* 30 min, the last 5 min"
    ) as error:
        life.refuse_hopeless()
    assert error.value.exit_code == 3
    assert "--time" in error.value.hint


def test_there_is_hope_after_a_file_or_with_work_under_way_or_for_what_fits_a_whole_life() -> None:
    long, short = Unit("long", "s", 7000.0), Unit("short", "s", 100.0)
    life, _ = life_of(1800, 300)
    life.begin(long)
    life.is_fruitful = True
    life.refuse_hopeless()

    life, _ = life_of(1800, 300)
    assert life.begin(short)
    life.begin(long)
    life.refuse_hopeless()

    life, clock = life_of(1800, 300)
    clock.now += 1600
    life.begin(long)
    assert not life.begin(short)
    life.refuse_hopeless()

    life, _ = life_of(1800, 300)
    assert life.begin(short)
    life.begin(long)
    life.gave_up(short)
    life.settled(short)
    with pytest.raises(TooLittleTime, match="long"):
        life.refuse_hopeless()


def test_a_pass_is_judged_by_its_own_pace_once_that_is_sure() -> None:
    life, clock = life_of(1030)
    clock.now += 19
    assert not life.is_too_slow(1000.0, 0.001)
    clock.now += 1
    assert life.is_too_slow(1000.0, 0.019)
    assert not life.is_too_slow(1000.0, 0.021)  # 952 s to go, 980 left
    assert not Life(clock=clock).is_too_slow(1000.0, 1e-9)


@dataclass(frozen=True)
class Long:
    n_samples: int

    def read(self, start: int, stop: int, places: tuple[int, ...], scratch: Scratch) -> Samples:
        raise NotImplementedError


@given(left=seconds, groups=st.integers(1, 20), actors=st.integers(1, 8))
def test_as_many_groups_go_through_at_once_as_can_end(left: float, groups: int, actors: int) -> None:
    lane = Lane(1, 0, 1.0, 0.0, ())
    each = Pass("session01", Long(10**9), 30_000.0, (Group((lane,) * 8),) * groups, {})
    life, _ = life_of(left)
    fitting = fitting_groups(life, each, groups, actors)
    assert 0 <= fitting <= groups
    assert not fitting or life.can_begin(unit_of_groups(each, fitting, actors))
    assert fitting == groups or not life.can_begin(unit_of_groups(each, fitting + 1, actors))
    assert unit_of_groups(each, 1, actors).seconds == pytest.approx(162)


def test_times_in_words() -> None:
    assert [in_words(each) for each in (40, 119, 720, 12_600, inf)] == ["40 s", "119 s", "12 min", "3.5 h", "inf h"]

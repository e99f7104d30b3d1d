"""Parts one after the other are one series, whatever is read of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.config import SortSettings
from raypipe.stages.sorting.series import ArraySeries, JoinedSeries
from raypipe.stages.sorting.sort import sort_channel
from tests.synthetic_spikes import simulate


def joined(sizes):
    samples = np.random.default_rng(0).normal(size=sum(sizes)).astype(np.float32)
    return samples, JoinedSeries([ArraySeries(part) for part in np.split(samples, np.cumsum(sizes)[:-1])])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_reads_as_the_parts_one_after_the_other(sizes, data):
    samples, series = joined(sizes)
    assert series.n_samples == len(samples)
    start = data.draw(st.integers(0, len(samples)))
    stop = data.draw(st.integers(start, len(samples)))
    read = series.read(start, stop)
    assert read.dtype == np.float32
    assert read.tolist() == samples[start:stop].tolist()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_starts_are_the_first_samples_counted_from_one(sizes):
    _, series = joined(sizes)
    assert series.starts == tuple(1 + sum(sizes[:k]) for k in range(len(sizes)))


def test_no_parts_are_no_samples():
    series = JoinedSeries([])
    assert series.n_samples == 0
    assert series.read(0, 0).shape == (0,)


def test_what_lies_in_one_part_is_not_copied():
    samples, series = joined([5, 5])
    assert np.shares_memory(series.read(5, 10), samples)
    assert not np.shares_memory(series.read(4, 10), samples)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 11)])
def test_samples_that_there_are_not_are_refused(start, stop):
    with pytest.raises(ValueError, match="of 10"):
        joined([4, 6])[1].read(start, stop)


def test_parts_give_the_same_bytes_as_the_whole():
    samples = simulate(82, 30, (14.0, 8.0), positive=(False, True)).samples
    parts = JoinedSeries([ArraySeries(part) for part in np.split(samples, [1, 200_001, 200_001, 640_000])])
    whole, other = (sort_channel(series, SortSettings()) for series in (ArraySeries(samples), parts))
    for field in ("firings", "templates", "spread", "heights"):
        assert getattr(whole, field).tobytes() == getattr(other, field).tobytes()
    assert (whole.metrics, whole.noise_uv) == (other.metrics, other.noise_uv)

"""MountainSort 5 gives the same kind of result as our own sorter, and says so when it is not installed."""

import sys

import numpy as np
import pytest

from raypipe.config import SortSettings
from raypipe.errors import UsageError
from raypipe.stages.sorting import mountainsort5
from raypipe.stages.sorting.series import ArraySeries
from raypipe.stages.sorting.sort import sort_channel
from tests.synthetic_spikes import band_noise, score, simulate

SETTINGS = SortSettings(sorter="mountainsort5")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mountainsort5", None)
    with pytest.raises(UsageError, match="mountainsort5") as error:
        sort_channel(ArraySeries(np.zeros(1000, np.float32)), SETTINGS)
    assert "raypipe-ephys[sorting]" in error.value.hint


@pytest.fixture
def _installed():
    pytest.importorskip("mountainsort5")
    pytest.importorskip("spikeinterface")


@pytest.mark.usefixtures("_installed")
def test_units_are_found():
    channel = simulate(71, 30, (14.0, 8.0), positive=(False, True))
    sorting = sort_channel(ArraySeries(channel.samples), SETTINGS)
    count = sorting.templates.shape[2]
    assert sorting.templates.shape == sorting.spread.shape == (1, 150, count)
    assert len(sorting.metrics["clusters"]) == count
    for each in score(channel.units, sorting.firings[1], sorting.firings[2].astype(np.int64)):
        assert min(each.recall, each.precision) > 0.9
    again = sort_channel(ArraySeries(channel.samples), SETTINGS)
    assert sorting.firings.tobytes() == again.firings.tobytes()


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("n", [0, 1, 2000])
def test_no_spikes(n):
    sorting = sort_channel(ArraySeries(band_noise(np.random.default_rng(0), 2000)[:n]), SETTINGS)
    assert sorting.firings.shape == (3, 0)
    assert sorting.templates.shape == (1, 150, 0)


@pytest.mark.usefixtures("_installed")
def test_a_long_series_is_learnt_from_parts_of_it(monkeypatch):
    monkeypatch.setattr(mountainsort5, "TRAINING_SECONDS", 20.0)
    channel = simulate(72, 45, (14.0,))
    sorting = sort_channel(ArraySeries(channel.samples), SETTINGS)
    (found,) = score(channel.units, sorting.firings[1], sorting.firings[2].astype(np.int64))
    assert min(found.recall, found.precision) > 0.9

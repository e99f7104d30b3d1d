"""Sorting finds the units that are there, and says of what is none that it is none."""

import msgspec
import numpy as np
import pytest

from raypipe.config import SortSettings
from raypipe.stages.sorting import events, memory, series
from raypipe.stages.sorting.clusters import clustered
from raypipe.stages.sorting.matching import bank, compounds
from raypipe.stages.sorting.merging import joined
from raypipe.stages.sorting.metrics import line_locking
from raypipe.stages.sorting.series import ArraySeries, prepared
from raypipe.stages.sorting.sizes import CLIP
from raypipe.stages.sorting.sort import sort_channel
from tests.synthetic_spikes import (
    BENCH_SEEDS,
    DISTURBANCES,
    NOISE_UV,
    RATE_HZ,
    TEST_SEEDS,
    TUNING_SEEDS,
    Channel,
    SimulatedUnit,
    add,
    band_noise,
    distance,
    disturbance,
    poisson_times,
    random_pair,
    score,
    simulate,
    unit_of,
)

PLAIN = SortSettings(noise="std", look_again=False, merge=False, match=False)
TWO = simulate(11, 30, (14.0, 8.0), positive=(False, True))


def sort(samples, **changes):
    return sort_channel(ArraySeries(np.asarray(samples, np.float32)), SortSettings(**changes))


def sort_few(samples):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "FEW_EVENTS", 10)
        return sort(samples, match=False, max_events_hz=100.0)


def scores(channel, sorting):
    return score(channel.units, sorting.firings[1], sorting.firings[2].astype(np.int64))


def test_seeds_of_tests_tuning_and_bench_are_apart():
    tests, tuning, bench = (set(each) for each in (TEST_SEEDS, TUNING_SEEDS, BENCH_SEEDS))
    assert not tests & tuning | tests & bench | tuning & bench


@pytest.mark.parametrize(
    ("seed", "snrs", "positive", "drift", "scale"),
    [
        (21, (12.0, 7.0), (False, False), 0.0, 1.0),
        (22, (15.0, 9.0, 6.2), (True, False, True), 0.0, 0.2),
        (23, (18.0, 10.0, 4.5), (False, True, False), 0.2, 3.0),
        (24, (6.0,), (False,), 0.0, 1.0),
        (25, (20.0, 14.0, 10.0, 7.0), (False, False, True, True), 0.15, 1.0),
    ],
)
def test_units_are_found(seed, snrs, positive, drift, scale):
    channel = simulate(seed, 60, snrs, positive=positive, drift=drift)
    sorting = sort(channel.samples * np.float32(scale))
    gaps = [min([distance(a, b) for b in channel.units if b is not a], default=99) for a in channel.units]
    for each, gap in zip(scores(channel, sorting), gaps, strict=True):
        if each.snr >= 6 and gap >= 10:
            assert min(each.recall, each.precision) >= 0.97, each
            metrics = sorting.metrics["clusters"][each.label - 1]["metrics"]
            assert not metrics["is_noise"]
            # The mean over samples beside the peak is a little lower than the peak.
            assert metrics["peak_snr"] == pytest.approx(each.snr, rel=0.12)
    assert sorting.noise_uv == pytest.approx(NOISE_UV * scale, rel=0.08)


def test_firings_templates_and_metrics_fit_together():
    sorting = sort(TWO.samples)
    count = sorting.templates.shape[2]
    assert sorting.firings.dtype == np.float64
    assert sorting.templates.dtype == sorting.spread.dtype == np.float32
    assert sorting.templates.shape == sorting.spread.shape == (1, 150, count)
    assert (np.diff(sorting.firings[1]) >= 0).all()
    assert (sorting.firings[0] == 1).all()
    times, labels = sorting.firings[1:].astype(np.int64)
    assert np.unique(labels).tolist() == list(range(1, count + 1))
    np.testing.assert_allclose(sorting.heights, TWO.samples[times], rtol=1e-5, atol=1e-4)
    for k, row in enumerate(sorting.metrics["clusters"]):
        mine = times[labels == k + 1]
        mine = mine[(mine >= 74) & (mine < len(TWO.samples) - 76)]
        clips = TWO.samples[mine[:, None] + np.arange(-74, 76)]
        np.testing.assert_allclose(sorting.templates[0, :, k], clips.mean(axis=0), atol=0.02)
        np.testing.assert_allclose(sorting.spread[0, :, k], clips.std(axis=0), atol=0.05)
        assert row["label"] == k + 1
        assert row["metrics"]["num_events"] == np.count_nonzero(labels == k + 1)
        assert row["metrics"]["firing_rate"] == pytest.approx(row["metrics"]["num_events"] / 30)
    peaks = np.abs(sorting.templates[0]).max(axis=0)
    assert (np.diff(peaks) <= 0).all()
    assert np.abs(sorting.templates[0, :, 0]).argmax() == 74
    msgspec.json.encode(sorting.metrics)


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_noise_alone_is_flagged_as_noise(seed):
    sorting = sort(band_noise(np.random.default_rng(seed), 60 * RATE_HZ))
    assert all(each["metrics"]["is_noise"] for each in sorting.metrics["clusters"])
    assert not any(each["metrics"]["is_likely_multi_unit"] for each in sorting.metrics["clusters"])


def test_two_units_that_cannot_be_told_apart_are_flagged_as_multi_unit():
    channel = simulate(41, 60, (12.0,))
    after = np.random.default_rng(43).uniform(48, 58, len(channel.units[0].times))
    twin = SimulatedUnit(12.0, False, 10.0, 0.0, channel.units[0].shape, channel.units[0].times + after)
    samples = channel.samples.copy()
    add(samples, twin)
    first = sort(samples).metrics["clusters"][0]["metrics"]
    assert first["isi_violations"] > 0.2
    assert first["is_likely_multi_unit"]
    assert not sort(channel.samples).metrics["clusters"][0]["metrics"]["is_likely_multi_unit"]


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_what_is_no_unit_is_flagged(kind):
    clusters = sort(disturbance(83, kind, 60)).metrics["clusters"]
    assert all(each["metrics"]["is_noise"] or each["metrics"]["is_likely_multi_unit"] for each in clusters)


def test_in_step_with_the_mains():
    random, rate = np.random.default_rng(84), 30_000.0
    wander = np.cumsum(1 + 0.001 * np.sin(np.arange(3000) / 300))
    for period in (600, 500, 300, 250):
        steady = (wander * period + random.normal(0, 5, 3000)).astype(np.int64)
        assert line_locking(steady, rate) > 0.9
        assert line_locking(steady[random.random(3000) < 0.3], rate) > 0.9
    spikes = np.cumsum(random.exponential(2000, 1000) + 90).astype(np.int64)
    assert line_locking(spikes, rate) < 0.25
    bursts = np.sort(np.concatenate([spikes + 120 * k for k in range(4)]))
    assert line_locking(bursts, rate) < 0.25
    assert line_locking(steady[:40], rate) == 0


def test_a_tall_unit_that_fires_often_is_no_compound():
    # Clips of the first look as the sum of the other two, but it fires far oftener than they meet.
    channel = simulate(85, 60, (18.0, 9.0, 9.0))
    sizes = np.array([250, 600, 600])
    t = np.arange(-74.0, 76.0)
    wave = [each.snr * each.waveform(t) for each in channel.units]
    random = np.random.default_rng(86)
    groups = [
        ((random.normal(size=(count, 150)) + w).astype(np.float32), np.zeros(count, np.int64))
        for count, w in zip(sizes, (wave[1] + np.roll(wave[2], 9), wave[1], wave[2]), strict=True)
    ]
    found = bank(groups, random.normal(size=(500, 150)).astype(np.float32), SortSettings())
    few, many = 600 * 60, 60 * 30_000  # samples in which 600 and 600 spikes lie
    assert compounds(groups, sizes, found, few, SortSettings()).tolist() == [True, False, False]
    assert not compounds(groups, sizes, found, many, SortSettings()).any()


@pytest.mark.parametrize("seed", [87, 88])
def test_similar_units_that_drift_alike_are_told_apart(seed):
    random, rate = np.random.default_rng(seed), 10.0
    shape = (3.5, 0.35, 9.5, 6.0, 0.1)
    other = (3.5, 0.30, 9.5, 6.5, 0.1)
    samples = band_noise(random, 60 * RATE_HZ)
    units = tuple(
        SimulatedUnit(snr, False, rate, 0.25, form, poisson_times(random, rate, 60))
        for snr, form in ((14.0, shape), (11.0, other))
    )
    for unit in units:
        add(samples, unit)
    truth = Channel(samples, units)
    assert min(min(each.recall, each.precision) for each in scores(truth, sort(samples))) > 0.9
    assert min(each.precision for each in scores(truth, sort(samples, look_again=False))) < 0.7


def test_of_too_many_events_the_highest_are_sorted():
    random = np.random.default_rng(89)
    samples = band_noise(random, 10 * RATE_HZ)
    heights = random.uniform(100, 300, len(samples[50::100]))
    samples[50::100] += heights.astype(np.float32)
    all_of_them = sort(samples, match=False)
    few = sort_few(samples)
    assert all_of_them.notes == ()
    assert any("more than 100 events per second" in note for note in few.notes)
    assert 500 < few.firings.shape[1] <= 1000
    assert few.heights.min() > np.median(all_of_them.heights) - 1


def test_overlapping_spikes_are_found_by_matching():
    random = np.random.default_rng(1)
    first, second = simulate(51, 60, (15.0, 10.0), positive=(False, True)).units
    struck = random.choice(first.times, len(first.times) // 15, replace=False)
    beside = np.sort(np.concatenate([struck + random.uniform(8, 28, len(struck)), second.times]))
    second = type(second)(10.0, True, 10.0, 0.0, second.shape, beside)
    samples = band_noise(random, 60 * RATE_HZ)
    add(samples, first)
    add(samples, second)
    truth = Channel(samples, (first, second))
    with_matching, without = scores(truth, sort(samples)), scores(truth, sort(samples, match=False))
    assert min(each.recall for each in with_matching) > 0.95
    assert min(each.recall for each in without) < 0.93


def test_a_unit_with_trough_and_peak_alike_is_one():
    random = np.random.default_rng(6)
    samples = band_noise(random, 60 * RATE_HZ)
    t = np.arange(-30, 40)
    wave = -72 * np.exp(-((t / 3.5) ** 2)) + 72 * np.exp(-(((t - 11) / 4) ** 2))
    times = np.sort(random.choice(np.arange(100, 60 * RATE_HZ - 100, 150), 900, replace=False))
    for each in times:
        samples[each - 30 : each + 40] += wave.astype(np.float32)

    def large(sorting):
        return sum(
            not each["metrics"]["is_noise"] and each["metrics"]["num_events"] > 50
            for each in sorting.metrics["clusters"]
        )

    assert large(sort(samples, merge=False, match=False)) == 2
    merged = sort(samples, match=False)
    assert large(merged) == 1
    assert merged.metrics["clusters"][0]["metrics"]["num_events"] == pytest.approx(900, abs=20)


def clusters_of_pair(seed):
    channel, settings = random_pair(seed, 30), SortSettings()
    ready = prepared(ArraySeries(channel.samples), settings)
    times, _ = events.detected(ready, settings)
    clips = events.clips(ready, times, CLIP)
    labels, count = clustered(np.ascontiguousarray(clips[:, 50:100]), settings)
    kinds = []
    for label in range(count):
        tally = np.bincount(unit_of(channel, times[labels == label]) + 1, minlength=3)
        kinds.append(int(tally.argmax()) - 1 if tally.max() > max(15, 0.8 * tally.sum()) else -1)
    return clips, labels, count, kinds


def test_two_units_are_never_joined():
    asked = 0
    for seed in range(8000, 8030):
        clips, labels, count, kinds = clusters_of_pair(seed)
        now = joined(clips, labels, count, SortSettings()).labels
        for a in range(count):
            for b in range(a):
                if min(kinds[a], kinds[b]) >= 0 and kinds[a] != kinds[b]:
                    asked += 1
                    assert now[a] != now[b], seed
    assert asked > 10


def test_without_joining_clusters_stay_as_they_are():
    clips, labels, count, _ = clusters_of_pair(8000)
    result = joined(clips, labels, count, SortSettings(merge=False))
    assert result.count == count
    assert result.labels.tolist() == list(range(count))
    assert not result.shifts.any()


@pytest.mark.parametrize("changes", [{}, {"noise": "std", "merge": False, "match": False}, {"max_clustered": 1000}])
@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(90_000), np.full(90_000, 5.0), np.zeros(0), np.ones(1), np.full(50_000, np.nan), np.full(3000, np.inf),
        np.tile([300.0, -300.0], 30_000), band_noise(np.random.default_rng(0), 2000),
    ],
    ids=["silent", "constant", "empty", "one sample", "not a number", "infinite", "saturated", "short"],
)  # fmt: skip
def test_where_there_are_no_spikes_there_are_none(samples, changes):
    sorting = sort(samples, **changes)
    assert sorting.firings.shape == (3, 0)
    assert sorting.templates.shape == sorting.spread.shape == (1, 150, 0)
    assert sorting.heights.shape == (0,)
    assert sorting.metrics == {"clusters": []}


def test_silence_and_what_is_no_number_are_noted():
    assert sort(np.zeros(9000)).notes == ("there is no signal",)
    damaged = TWO.samples.copy()
    damaged[5000:6000] = np.nan
    sorting = sort(damaged)
    assert sorting.notes == ("1000 samples are not finite, and were taken as 0",)
    assert np.isfinite(sorting.templates).all()
    assert min(min(each.recall, each.precision) for each in scores(TWO, sorting)) > 0.95


def test_an_artefact_is_masked_and_costs_nothing_else():
    damaged = TWO.samples.copy()
    damaged[300_000:300_500] += np.random.default_rng(0).normal(0, 20_000, 500).astype(np.float32)
    sorting = sort(damaged)
    assert sorting.notes == ("3 of 450 stretches masked as artefacts",)
    times = sorting.firings[1]
    assert not ((times >= 298_000) & (times < 304_000)).any()
    assert min(min(each.recall, each.precision) for each in scores(TWO, sorting)) > 0.95
    assert sort(damaged, mask_artifacts=False).notes == ()


def test_one_second_with_few_spikes():
    sorting = sort(simulate(1, 1, (15.0,)).samples)
    assert sorting.firings.shape[1] >= 1
    assert sorting.templates.shape[2] >= 1


def test_a_series_full_of_events():
    samples = band_noise(np.random.default_rng(0), 90_000)
    samples[::32] += 500
    assert sort(samples, match=False).firings.shape[1] == pytest.approx(90_000 / 32, abs=3)
    assert sort(samples).firings.shape[1] <= 90_000 / 31


@pytest.mark.parametrize("changes", [{}, {"max_clustered": 1000}, {"match": False}])
def test_the_same_bytes_again(changes):
    first, again = sort(TWO.samples, **changes), sort(TWO.samples.copy(), **changes)
    assert first.firings.tobytes() == again.firings.tobytes()
    assert first.templates.tobytes() == again.templates.tobytes()
    assert first.metrics == again.metrics


def test_blocks_do_not_show(monkeypatch):
    whole = sort(TWO.samples)
    monkeypatch.setattr(series, "BLOCK", 100_003)
    parts = sort(TWO.samples)
    assert whole.firings.tobytes() == parts.firings.tobytes()
    np.testing.assert_allclose(whole.templates, parts.templates, rtol=1e-6, atol=1e-5)


def test_few_clustered_events_teach_all():
    sorting = sort(simulate(61, 120, (14.0, 8.0), positive=(False, True)).samples, max_clustered=1000, match=False)
    channel = simulate(61, 120, (14.0, 8.0), positive=(False, True))
    assert min(min(each.recall, each.precision) for each in scores(channel, sorting)) > 0.97


@pytest.mark.parametrize(("sign", "kept"), [(-1, 0), (1, 1)])
def test_events_of_one_sign(sign, kept):
    sorting = sort(TWO.samples, detect_sign=sign, match=False)
    heights = sorting.heights if sign == 1 else -sorting.heights
    assert (heights > 0).all()
    assert scores(TWO, sorting)[kept].recall > 0.97


def test_the_labs_settings_measure_by_standard_deviation():
    assert prepared(ArraySeries(TWO.samples), PLAIN).noise_uv == pytest.approx(TWO.samples.std(), rel=1e-5)


def test_longer_templates_and_shorter_clips():
    sorting = sort(TWO.samples, templates_clip_size=200, clip_size=40)
    assert sorting.templates.shape[1] == 200
    assert np.abs(sorting.templates[0, :, 0]).argmax() == 99

"""Kernels of sorting against plain twins of them, and against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from kernels.sorting.classify import classify
from kernels.sorting.clips import accumulate, extract
from kernels.sorting.components import covariance, eigen, project
from kernels.sorting.detect import detect
from kernels.sorting.match import match
from kernels.sorting.neighbours import overlap
from kernels.sorting.series import chunk_energies, prepare


def plain_events(x, threshold, interval, sign, first, last):
    height = np.abs(x) if sign == 0 else x * sign
    found = []
    for i in range(first, last):
        left, right = height[max(0, i - interval) : i], height[i + 1 : i + interval + 1]
        if height[i] > threshold and (left < height[i]).all() and (right <= height[i]).all():
            found.append(i)
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=80), st.integers(1, 9), st.sampled_from((-1, 0, 1)),
    st.integers(0, 5), st.data(),
)  # fmt: skip
def test_events_are_the_highest_of_their_neighbourhood(values, interval, sign, threshold, data):
    x = np.array(values, np.float32)
    first = data.draw(st.integers(0, len(x)))
    last = data.draw(st.integers(first, len(x)))
    out = np.empty(len(x) + 1, np.int64)
    count = detect(x, float(threshold), interval, sign, first, last, out)
    assert out[:count].tolist() == plain_events(x, threshold, interval, sign, first, last)


def test_no_more_events_than_there_is_room_for():
    x = np.tile(np.array([0, 9], np.float32), 20)
    out = np.full(4, -7, np.int64)
    assert detect(x, 1.0, 1, 0, 0, 40, out[:3]) == 3
    assert out[3] == -7


def test_clips_are_zero_beyond_the_ends():
    x = np.arange(1, 11, dtype=np.float32)
    out = np.empty((3, 5), np.float32)
    extract(x, np.array([0, 5, 9]), 2, out)
    assert out.tolist() == [[0, 0, 1, 2, 3], [4, 5, 6, 7, 8], [8, 9, 10, 0, 0]]


def test_sums_and_squares_by_label():
    random = np.random.default_rng(0)
    x = random.normal(size=500).astype(np.float32)
    places, labels = random.integers(20, 480, 60), random.integers(-1, 4, 60)
    sums, squares = np.zeros((3, 8)), np.zeros((3, 8))
    accumulate(x, places, labels, 3, sums, squares)
    clips = np.stack([x[p - 3 : p + 5] for p in places]).astype(np.float64)
    for k in range(3):
        np.testing.assert_allclose(sums[k], clips[labels == k].sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(squares[k], (clips[labels == k] ** 2).sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5, 50])
def test_components_as_numpy(d):
    random = np.random.default_rng(d)
    clips = (random.normal(size=(300, d)) @ random.normal(size=(d, d))).astype(np.float32)
    rows = np.arange(0, 300, 2)
    mean, matrix, vectors = np.empty(d), np.empty((d, d)), np.empty((d, d))
    covariance(clips, rows, mean, matrix)
    np.testing.assert_allclose(mean, clips[rows].mean(axis=0, dtype=np.float64), atol=1e-9)
    expected = np.atleast_2d(np.cov(clips[rows].astype(np.float64).T))
    np.testing.assert_allclose(matrix, expected, rtol=1e-9, atol=1e-9)
    eigen(matrix, vectors)
    values = np.diag(matrix)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(expected), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose((vectors * values) @ vectors.T, expected, rtol=1e-8, atol=1e-7)
    out = np.empty((300, d))
    project(clips, mean, np.ascontiguousarray(vectors.T), out)
    np.testing.assert_allclose(out, (clips - mean) @ vectors, atol=1e-8)


def test_overlap_as_scipy():
    random = np.random.default_rng(1)
    points = random.normal(size=(120, 3))
    points[:50, 0] += 1.5
    _, nearest = cKDTree(points).query(points, 7)
    expected = np.mean((nearest[:, 1:] < 50) != (np.arange(120) < 50)[:, None])
    assert overlap(points, 50, 6) == pytest.approx(expected)


def test_classes_are_those_of_the_likeliest_cloud():
    random = np.random.default_rng(2)
    wide, narrow = random.normal(0, 3, (500, 2)), random.normal((6, 0), 0.3, (500, 2))
    known, labels = np.concatenate([wide, narrow]), np.repeat((0, 1), 500)
    out = np.empty(3, np.int64)
    classify(
        known, labels, 3, np.array([[0.0, 0.0], [6.1, 0.1], [4.0, 0.0]]), out
    )  # of the third cloud is nothing known
    assert out.tolist() == [0, 1, 0]  # nearer the second one's centre, but not by its width


def test_series_is_scaled_masked_and_without_what_is_no_number():
    x = np.arange(10, dtype=np.float32)
    x[[1, 9]] = np.nan, np.inf
    energies = np.empty(3)
    assert chunk_energies(x, 4, energies) == 2
    assert energies.tolist() == [0 + 4 + 9, 16 + 25 + 36 + 49, 64]
    out = np.empty(6, np.float32)
    prepare(x[:6], 3, 4, np.array([0, 1, 0], np.uint8), 2.0, out)  # the first of them is sample 3
    assert out.tolist() == [0, 0, 0, 0, 0, 10]


def bank(peaks):
    t = np.arange(40) - 15
    templates = np.stack([p * (np.exp(-((t / w) ** 2)) - 0.4 * np.exp(-(((t - 10) / 5) ** 2))) for p, w in peaks])
    slopes = np.zeros_like(templates)
    slopes[:, 1:-1] = (templates[:, 2:] - templates[:, :-2]) / 2
    bounds = np.tile((0.8, 1.25), (len(peaks), 1))
    return templates, slopes, bounds, (templates**2).sum(axis=1) / 2


def matches(x, parts, first=0, last=None):
    out, scales = np.empty((500, 2), np.int64), np.empty(500)
    places = (15, first, len(x) if last is None else last, 20, 30)
    count = match(x, *parts, places, (3.0, 0.05), np.empty(len(x)), out, scales)
    order = np.argsort(out[:count, 0])
    return out[:count][order].tolist(), scales[:count][order]


@pytest.mark.parametrize("gap", [4, 7, 12, 25, 60])
def test_overlapping_spikes_come_apart(gap):
    parts = bank(((-10.0, 4.0), (12.0, 2.5)))
    x = np.random.default_rng(gap).normal(0, 0.5, 1000).astype(np.float32)
    for k, at in ((0, 200), (1, 200 + gap), (1, 600), (0, 600 + gap)):
        x[at - 15 : at + 25] += parts[0][k]
    found, _ = matches(x, parts)
    expected = [[200, 0], [200 + gap, 1], [600, 1], [600 + gap, 0]]
    assert [label for _, label in found] == [label for _, label in expected]
    np.testing.assert_allclose(found, expected, atol=3 if gap < 10 else 1)


def test_nothing_is_found_in_noise_or_outside_the_stretch():
    parts = bank(((-10.0, 4.0),))
    x = np.random.default_rng(0).normal(0, 1, 20_000).astype(np.float32)
    assert matches(x, parts)[0] == []
    x[5000 - 15 : 5000 + 25] += parts[0][0]
    assert matches(x, parts)[0] == [[5000, 0]]
    assert matches(x, parts, 0, 5000)[0] == []
    assert matches(x, parts, 5000, 5001)[0] == [[5000, 0]]


def test_a_spike_of_another_size_is_no_spike_of_the_unit():
    parts = bank(((-10.0, 4.0),))
    x = np.zeros(1000, np.float32)
    x[185:225] = 0.45 * parts[0][0]
    x[485:525] = 1.2 * parts[0][0]
    found, scales = matches(x, parts)
    assert found == [[500, 0]]
    assert scales[0] == pytest.approx(1.2, abs=1e-5)


def test_a_spike_between_two_samples_leaves_nothing_behind():
    t = np.arange(40) - 15.4
    parts = bank(((-30.0, 4.0), (4.0, 2.0)))
    x = np.zeros(1000, np.float32)
    x[285:325] = -30 * (np.exp(-((t / 4) ** 2)) - 0.4 * np.exp(-(((t - 10) / 5) ** 2)))
    assert matches(x, parts)[0] == [[300, 0]]

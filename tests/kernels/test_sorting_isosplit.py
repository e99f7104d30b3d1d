"""ISO-SPLIT finds what there is: clouds of any number and shape, told apart where a valley lies between them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.sorting.isosplit import isosplit, separation


def cluster(points, threshold=1.0):
    labels = np.empty(len(points), np.int64)
    count = isosplit(np.ascontiguousarray(points, np.float64), threshold, 10, 200, labels)
    return labels, count


def clouds(seed, sizes, apart, d=10):
    random = np.random.default_rng(seed)
    centres = np.zeros((len(sizes), d))
    centres[np.arange(len(sizes)), np.arange(len(sizes))] = apart / np.sqrt(2)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return centres[truth] + random.normal(size=(len(truth), d)), truth


def agreement(labels, truth):
    return sum(np.bincount(truth[labels == label]).max() for label in np.unique(labels)) / len(truth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(1500,), (1000, 1000), (4000, 300), (700, 500, 300, 100), (3000, 60)])
def test_finds_clouds_of_normal_points(seed, sizes):
    points, truth = clouds(seed, sizes, 9.0)
    labels, count = cluster(points)
    assert count == len(sizes)
    assert agreement(labels, truth) > 0.995


@pytest.mark.parametrize("kind", ["uniform", "exponential", "stretched", "heavy"])
def test_one_cloud_of_any_unimodal_shape_stays_one(kind):
    random = np.random.default_rng(7)
    points = random.normal(size=(4000, 6))
    points[:, 0] = {
        "uniform": random.uniform(-4, 4, 4000),
        "exponential": random.exponential(2, 4000),
        "stretched": 50 * points[:, 0],
        "heavy": random.standard_t(3, 4000),
    }[kind]
    assert cluster(points)[1] == 1


def test_clouds_that_overlap_too_much_are_one():
    assert cluster(clouds(1, (1500, 1500), 1.5)[0])[1] == 1


def test_a_long_cloud_beside_a_small_one():
    random = np.random.default_rng(3)
    long = np.stack([random.uniform(-30, 30, 3000), random.normal(size=3000)], axis=1)
    small = random.normal((0, 9), 1, (200, 2))
    labels, count = cluster(np.concatenate([long, small]))
    assert count == 2
    assert agreement(labels, np.repeat((0, 1), (3000, 200))) > 0.99


def test_the_cut_lies_in_the_valley():
    random = np.random.default_rng(5)
    points = np.concatenate([random.normal(0, 1, 3000), random.normal(7, 0.5, 3000)])[:, None]
    labels, count = cluster(points)
    assert count == 2
    upper = labels[-1]
    assert 3.0 < points[labels == upper].min() < 6.0


def test_as_the_reference_implementation():
    isosplit6 = pytest.importorskip("isosplit6").isosplit6
    same = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        sizes = tuple(random.integers(100, 1500, random.integers(1, 6)).tolist())
        points, _ = clouds(100 + seed, sizes, 7.0)
        theirs = np.asarray(isosplit6(points)).astype(np.int64) - 1
        ours, count = cluster(points)
        same += count == theirs.max() + 1 and agreement(ours, theirs) > 0.98
    assert same >= 18


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_any_points_get_labels_from_zero_on(n, d, seed, is_coarse):
    points = np.random.default_rng(seed).normal(size=(n, d))
    if is_coarse:
        points = np.round(points)  # ties
    labels, count = cluster(points)
    assert sorted(set(labels[:n].tolist())) == list(range(count))
    again, _ = cluster(points)
    assert (again == labels).all()


def test_equal_points_are_one_cluster():
    assert cluster(np.ones((500, 4)))[1] == 1


def test_separation_of_one_cloud_cut_in_two_and_of_two():
    random = np.random.default_rng(0)
    one = random.normal(size=(1000, 5))
    out = np.empty(2)
    separation(one[one[:, 0] < 0].copy(), one[one[:, 0] >= 0].copy(), out)
    assert out[0] < 1
    assert 2.2 < out[1] < 3.0  # 2 * 0.798 / 0.603
    separation(one, one[::-1] + np.array([8, 0, 0, 0, 0]), out)
    assert out[0] > 2
    assert out[1] == pytest.approx(8, abs=0.4)

"""Clusters of clips: ISO-SPLIT on their components, then again within every cluster found (MountainSort 4's branches)."""

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.classify import classify
from kernels.sorting.isosplit import isosplit
from raypipe.config import SortSettings
from raypipe.stages.sorting.drift import course, without_jitter
from raypipe.stages.sorting.features import Components, components


def clustered(clips: NDArray[np.float32], settings: SortSettings) -> tuple[NDArray[np.int64], int]:
    """Cluster clips (n, d), in order of time: labels (n,) from 0 on, and their number."""
    labels = np.zeros(len(clips), np.int64)
    count = 0
    waiting = [np.arange(len(clips))] if len(clips) else []
    while waiting:
        rows = waiting.pop()
        parts, found = _split(clips[rows], settings)
        if found == 1:
            labels[rows] = count
            count += 1
        else:
            waiting += [rows[parts == k] for k in reversed(range(found))]
    return labels, count


def _split(clips: NDArray[np.float32], settings: SortSettings) -> tuple[NDArray[np.int64], int]:
    labels = np.zeros(len(clips), np.int64)
    if len(clips) < 2 * settings.min_cluster_size:
        return labels, 1
    limits = (settings.isocut_threshold, settings.min_cluster_size, settings.parcels)
    count = isosplit(_features(clips, settings), *limits, labels)
    if count == 1 and settings.look_again:
        features = _features(without_jitter(clips), settings)
        moves = course(features)
        count = isosplit(features if moves is None else features - moves, *limits, labels)
    return labels, count


def _features(clips: NDArray[np.float32], settings: SortSettings) -> NDArray[np.float64]:
    return components(clips, settings.num_features, settings.max_num_clips_for_pca).features(clips)


class Classifier:
    """Gives clips the label of the cluster that they most likely belong to."""

    def __init__(
        self, clips: NDArray[np.float32], labels: NDArray[np.int64], count: int, settings: SortSettings
    ) -> None:
        self._components: Components = components(clips, settings.num_features, settings.max_num_clips_for_pca)
        self._known = self._components.features(clips)
        self._labels, self._count = labels, count

    def __call__(self, clips: NDArray[np.float32]) -> NDArray[np.int64]:
        """Label clips (n, d): (n,)."""
        out = np.empty(len(clips), np.int64)
        classify(self._known, self._labels, self._count, self._components.features(clips), out)
        return out

"""What tells good clusters from noise and from several units: MountainLab's metrics, and flags."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.neighbours import overlap
from raypipe.stages.sorting.events import middle
from raypipe.stages.sorting.features import components
from raypipe.stages.sorting.settings import SortSettings

NEIGHBOURS = 6
COMPARED = 3
"""A cluster's isolation is judged beside the clusters with the nearest templates."""
COMPARED_SAMPLES = 50
PCA_CLIPS = 2000


def noise_overlap(clips: NDArray[np.float32], noise: NDArray[np.float32], settings: SortSettings) -> float:
    """Tell how much clips (n, CLIP) of a cluster look like clips of noise: 0 not at all, about 0.5 the same.

    After Chung et al. 2017 (MountainSort): the shape that noise has where it happens to be large is taken out of both,
    and of each clip's nearest neighbours those of the other kind are counted.
    """
    count = min(len(clips), len(noise))
    if count < 2:
        return 0.0
    ours, theirs = _core(clips)[:count].astype(np.float64), _core(noise)[:count].astype(np.float64)
    shape = (theirs * theirs[:, [middle(COMPARED_SAMPLES)]]).sum(axis=0)
    norm = (shape**2).sum()
    both = np.concatenate([ours, theirs])
    if norm > 0:
        both -= np.einsum("ej,j->e", both, shape)[:, None] * (shape / norm)
    return _mixing(both.astype(np.float32), count, settings)


def isolation(mine: NDArray[np.float32], other: NDArray[np.float32], settings: SortSettings) -> float:
    """Tell how well two clusters are apart: 1 wholly, about 0.5 not at all."""
    count = min(len(mine), len(other))
    if count < 2:
        return 1.0
    return 1.0 - _mixing(np.concatenate([_core(mine)[:count], _core(other)[:count]]), count, settings)


def _mixing(clips: NDArray[np.float32], first: int, settings: SortSettings) -> float:
    points = components(clips, settings.num_features, PCA_CLIPS).features(clips)
    return float(overlap(points, first, NEIGHBOURS))


def _core(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    start = middle(clips.shape[1]) - middle(COMPARED_SAMPLES)
    return clips[:, start : start + COMPARED_SAMPLES]


def cluster_metrics(
    times: list[NDArray[np.int64]],
    clips: list[NDArray[np.float32]],
    templates: NDArray[np.float64],
    noise: NDArray[np.float32],
    n_samples: int,
    settings: SortSettings,
) -> list[dict[str, Any]]:
    """Give the metrics of each cluster, as an entry of `clusters` in MountainLab's metrics.json.

    Args:
        times: of each cluster, rising.
        clips: (n, CLIP) of some events of each, in units of the noise.
        templates: (K, length), in units of the noise.
        noise: (m, CLIP).
        n_samples: of the whole series.
        settings: limits of the flags.
    """
    rate = settings.samplerate
    rows = []
    for k, (mine, some) in enumerate(zip(times, clips, strict=True)):
        apart = ((templates - templates[k]) ** 2).sum(axis=1)
        nearest = [int(j) for j in np.argsort(apart, kind="stable") if j != k][:COMPARED]
        isolated = {j: isolation(some, clips[j], settings) for j in nearest}
        worst = min(isolated, key=isolated.__getitem__) if isolated else None
        intervals = np.diff(mine)
        violations = float(np.mean(intervals < settings.refractory_ms * rate / 1000)) if len(intervals) else 0.0
        peak_snr = float(np.abs(templates[k]).max())
        alike = noise_overlap(some, noise, settings)
        alone = 1.0 if worst is None else isolated[worst]
        is_noise = alike > settings.noise_overlap_limit
        metrics = {
            "num_events": len(mine),
            "firing_rate": len(mine) / (n_samples / rate),
            "dur_sec": n_samples / rate,
            "t1_sec": float(mine[0] / rate),
            "t2_sec": float(mine[-1] / rate),
            "isolation": alone,
            "nearest_cluster": 0 if worst is None else worst + 1,
            "noise_overlap": alike,
            "peak_snr": peak_snr,
            "isi_violations": violations,
            "is_noise": is_noise,
            "is_likely_multi_unit": not is_noise
            and (alone < settings.isolation_limit or violations > settings.violation_limit),
        }
        rows.append({"label": k + 1, "metrics": metrics})
    return rows

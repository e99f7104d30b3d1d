"""What tells good clusters from noise and from several units: MountainLab's metrics, and flags."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.neighbours import overlap
from raypipe.config import SortSettings
from raypipe.stages.sorting.events import evenly, middle
from raypipe.stages.sorting.features import components

NEIGHBOURS = 6
COMPARED = 3
"""A cluster's isolation is judged beside the clusters with the nearest templates."""
COMPARED_SAMPLES = 50
PCA_CLIPS = 2000
NEAR_THRESHOLD = 1.2
"""Events of noise are little above detect_threshold: their mean peak is less than this times it."""

MAINS_HZ = (50.0, 60.0, 100.0, 120.0)
"""The mains' frequencies, and twice those: interference comes once or twice a period."""
LINE_INTERVALS = 50


@dataclass(frozen=True)
class Noise:
    """Clips (m, CLIP) from between events, and the shape (COMPARED_SAMPLES,) that noise has where it is large.

    That shape is its autocorrelation: the mean course of Gaussian noise through a given value.
    """

    clips: NDArray[np.float32]
    shape: NDArray[np.float64]

    @classmethod
    def of(cls, clips: NDArray[np.float32]) -> "Noise":
        """Take the shape from clips of noise."""
        before, after = middle(COMPARED_SAMPLES), COMPARED_SAMPLES - 1 - middle(COMPARED_SAMPLES)
        inner = slice(before, clips.shape[1] - after)
        wide = clips.astype(np.float64)
        shape = [
            (wide[:, inner] * wide[:, inner.start + lag : inner.stop + lag]).sum() for lag in range(-before, after + 1)
        ]
        norm = np.sqrt(np.square(shape).sum())
        return cls(clips, np.array(shape) / (norm or 1.0))


@dataclass(frozen=True)
class NoiseLikeness:
    """How much a cluster is like noise: `overlap` of clips (0 not at all, 0.5 the same), and whether it `is_noise`."""

    overlap: float
    is_noise: bool


def noise_likeness(clips: NDArray[np.float32], noise: Noise, settings: SortSettings) -> NoiseLikeness:
    """Tell how much clips (n, CLIP) of a cluster look like clips of noise.

    The overlap is after Chung et al. 2017 (MountainSort): the shape that noise has where it happens to be large is taken
    out of both, and of each clip's nearest neighbours those of the other kind are counted. It needs many clips; of
    small clusters just above the threshold their mean tells more: whether it has the shape of noise.
    """
    count = min(len(clips), len(noise.clips))
    mean = _core(clips).mean(axis=0, dtype=np.float64)
    size = np.sqrt((mean**2).sum())
    cosine = abs(float((mean * noise.shape).sum())) / (size or 1.0)
    is_low = np.abs(mean).max() < NEAR_THRESHOLD * settings.detect_threshold
    is_shaped_so = bool(is_low and cosine > settings.noise_similarity_limit)
    if count < 2:
        return NoiseLikeness(0.0, is_shaped_so)
    which = evenly(len(noise.clips), count)
    both = np.concatenate([_core(clips)[:count], _core(noise.clips)[which]]).astype(np.float64)
    both -= np.einsum("ej,j->e", both, noise.shape)[:, None] * noise.shape
    overlap = _mixing(both.astype(np.float32), count, settings)
    return NoiseLikeness(overlap, is_shaped_so or overlap > settings.noise_overlap_limit)


def isolation(mine: NDArray[np.float32], other: NDArray[np.float32], settings: SortSettings) -> float:
    """Tell how well two clusters are apart: 1 wholly, about 0.5 not at all."""
    count = min(len(mine), len(other))
    if count < 2:
        return 1.0
    return 1.0 - _mixing(np.concatenate([_core(mine)[:count], _core(other)[:count]]), count, settings)


def line_locking(times: NDArray[np.int64], rate_hz: float) -> float:
    """Tell whether events (E,), rising, keep step with the mains: 1 wholly, about 0 not at all.

    The mean cosine of intervals as phases of the mains: their step from one event to the next is kept even when the mains'
    frequency wanders. Intervals shorter than a period, which bursts have, do not count.
    """
    intervals = np.diff(times) / rate_hz
    locked = 0.0
    for frequency in MAINS_HZ:
        longer = intervals[intervals > 0.9 / min(MAINS_HZ)]
        if len(longer) < LINE_INTERVALS and len(intervals) >= LINE_INTERVALS:
            longer = intervals[intervals > 0.9 / frequency]
        if len(longer) >= LINE_INTERVALS:
            locked = max(locked, float(np.cos(2 * np.pi * frequency * longer).mean()))
    return locked


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
    noise: Noise,
    n_samples: int,
    settings: SortSettings,
) -> list[dict[str, Any]]:
    """Give the metrics of each cluster, as an entry of `clusters` in MountainLab's metrics.json.

    Args:
        times: of each cluster, rising.
        clips: (n, CLIP) of some events of each, in units of the noise.
        templates: (K, length), in units of the noise.
        noise: what clusters are compared with.
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
        alike = noise_likeness(some, noise, settings)
        locked = line_locking(mine, rate)
        is_noise = alike.is_noise or locked > settings.line_locking_limit
        alone = 1.0 if worst is None else isolated[worst]
        metrics = {
            "num_events": len(mine),
            "firing_rate": len(mine) / (n_samples / rate),
            "dur_sec": n_samples / rate,
            "t1_sec": float(mine[0] / rate),
            "t2_sec": float(mine[-1] / rate),
            "isolation": alone,
            "nearest_cluster": 0 if worst is None else worst + 1,
            "noise_overlap": alike.overlap,
            "peak_snr": peak_snr,
            "isi_violations": violations,
            "line_locking": locked,
            "is_noise": is_noise,
            "is_likely_multi_unit": not is_noise
            and (alone < settings.isolation_limit or violations > settings.violation_limit),
        }
        rows.append({"label": k + 1, "metrics": metrics})
    return rows

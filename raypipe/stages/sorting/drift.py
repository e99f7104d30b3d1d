"""What drift does to features, and features without it: slow changes that all spikes of a cluster share.

Electrodes move by the minute. Two units of similar shape that both grow by a fifth cover one another's range of height,
though at no moment are they alike: over all time they look like one, and beside their common course like two.
"""

import numpy as np
from numpy.typing import NDArray

STRETCH = 100
"""Events of a stretch of time, of which the mean tells where a cluster is then."""
MOST_STRETCHES = 20
CLEAR = 5.0
"""Variance of stretches' means over what chance makes of it, beyond which a cluster drifts."""


def course(features: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Give where the cluster of features (n, f), in order of time, is at each of its events: (n, f), mean 0.

    None if it stays where it is, or has too few events to tell.
    """
    n = len(features)
    count = min(n // STRETCH, MOST_STRETCHES)
    if count < 2:
        return None
    edges = np.arange(count + 1) * n // count
    sizes = np.diff(edges)[:, None]
    means = np.add.reduceat(features, edges[:-1], axis=0) / sizes
    middle = features.mean(axis=0)
    between = (sizes * (means - middle) ** 2).sum(axis=0) / (count - 1)
    within = ((features - np.repeat(means, sizes[:, 0], axis=0)) ** 2).sum(axis=0) / (n - count)
    if not (between > CLEAR * within).any():
        return None
    centres, places = (edges[1:] + edges[:-1] - 1) / 2, np.arange(n)
    return np.stack([np.interp(places, centres, each) for each in (means - middle).T], axis=1)


def without_jitter(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take out of clips (n, d) of a cluster what moving its mean by a part of a sample changes.

    A spike's true peak lies anywhere between two samples; of a tall spike this blurs more than noise does.
    """
    slope = np.gradient(clips.mean(axis=0, dtype=np.float64))
    slope /= np.sqrt((slope**2).sum()) or 1.0
    along = np.einsum("ej,j->e", clips, slope)
    still: NDArray[np.float32] = clips - (along[:, None] * slope).astype(np.float32)
    return still

"""Nearest neighbours: how far two clouds of points lie in one another."""

from typing import Any

import numpy as np
from numba import float64, int64

from kernels.compile import jit, types

_points = types.Array(float64, 2, "C", readonly=True)


@jit(_points, int64, int64, returns=float64)
def overlap(points: Any, first: Any, neighbours: Any) -> Any:
    """Give the share of the nearest neighbours of points (n, d) that belong to the other cloud; `first` of n are one.

    0: apart; about a half: the same, if both have as many points.
    """
    n, d = points.shape
    others = 0
    nearest, which = np.empty(neighbours), np.empty(neighbours, np.int64)
    for i in range(n):
        nearest[:] = np.inf
        which[:] = -1
        for j in range(n):
            if i == j:
                continue
            distance = 0.0
            for a in range(d):
                distance += (points[i, a] - points[j, a]) ** 2
            if distance < nearest[neighbours - 1]:
                k = neighbours - 1
                while k > 0 and nearest[k - 1] > distance:
                    nearest[k], which[k] = nearest[k - 1], which[k - 1]
                    k -= 1
                nearest[k], which[k] = distance, j
        for k in range(neighbours):
            if which[k] >= 0 and (which[k] < first) != (i < first):
                others += 1
    return others / max(1, n * min(neighbours, n - 1))

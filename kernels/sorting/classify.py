"""Assignment of points to the nearest of several clouds."""

from typing import Any

import numpy as np
from numba import float64, int64

from kernels.compile import jit, types

_points = types.Array(float64, 2, "C", readonly=True)
RIDGE = 1e-6


@jit(_points, types.Array(int64, 1, "C", readonly=True), int64, _points, types.Array(int64, 1, "C"))
def classify(known: Any, labels: Any, count: Any, points: Any, out: Any) -> None:
    """Give points (m, d) the label (0 to count - 1) of the cloud under whose Gaussian they are likeliest, into `out`.

    The clouds are the points `known` (n, d) with their labels, their covariances drawn a little to the common one.
    """
    n, d = known.shape
    sizes, means = np.zeros(count), np.zeros((count, d))
    spreads, common = np.zeros((count, d, d)), np.zeros((d, d))
    for i in range(n):
        sizes[labels[i]] += 1.0
        for a in range(d):
            means[labels[i], a] += known[i, a]
    for k in range(count):
        for a in range(d):
            means[k, a] /= max(1.0, sizes[k])
    for i in range(n):
        k = labels[i]
        for a in range(d):
            for b in range(d):
                spreads[k, a, b] += (known[i, a] - means[k, a]) * (known[i, b] - means[k, b])
    for k in range(count):
        common += spreads[k]
    common /= max(1.0, float(n))
    trace = 0.0
    for a in range(d):
        trace += common[a, a]
    for a in range(d):
        common[a, a] += RIDGE * trace / d + 1e-300
    constants = np.zeros(count)
    for k in range(count):
        spreads[k] = (spreads[k] + common * (2.0 * d)) / (sizes[k] + 2.0 * d)
        for a in range(d):  # Cholesky, in place: the lower triangle
            for b in range(a + 1):
                total = spreads[k, a, b]
                for c in range(b):
                    total -= spreads[k, a, c] * spreads[k, b, c]
                if a == b:
                    spreads[k, a, a] = np.sqrt(max(total, 1e-300))
                else:
                    spreads[k, a, b] = total / spreads[k, b, b]
        for a in range(d):
            constants[k] += 2.0 * np.log(spreads[k, a, a])
    solved = np.empty(d)
    for i in range(len(points)):
        best, choice = np.inf, 0
        for k in range(count):
            if sizes[k] == 0.0:
                continue
            cost = constants[k] - 2.0 * np.log(sizes[k])
            for a in range(d):
                total = points[i, a] - means[k, a]
                for c in range(a):
                    total -= spreads[k, a, c] * solved[c]
                solved[a] = total / spreads[k, a, a]
                cost += solved[a] * solved[a]
            if cost < best:
                best, choice = cost, k
        out[i] = choice

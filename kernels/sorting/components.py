"""Principal components by arithmetic of our own: the same bits on every machine, whatever its linear algebra library."""

from typing import Any

import numpy as np
from numba import float32, float64, int64

from kernels.compile import jit, types

_clips = types.Array(float32, 2, "C", readonly=True)
_matrix = types.Array(float64, 2, "C")
_fixed = types.Array(float64, 2, "C", readonly=True)
SWEEPS = 30
TINY = 1e-22


@jit(_clips, types.Array(int64, 1, "C", readonly=True), types.Array(float64, 1, "C"), _matrix)
def covariance(clips: Any, rows: Any, mean: Any, out: Any) -> None:
    """Write the mean (d,) and covariance (d, d) of the clips (n, d) in `rows`."""
    d = clips.shape[1]
    mean[:] = 0.0
    out[:] = 0.0
    for r in rows:
        for a in range(d):
            mean[a] += clips[r, a]
    mean /= max(1, len(rows))
    centred = np.empty(d)
    for r in rows:
        for a in range(d):
            centred[a] = clips[r, a] - mean[a]
        for a in range(d):
            scaled = centred[a]
            for b in range(a, d):
                out[a, b] += scaled * centred[b]
    for a in range(d):
        for b in range(a, d):
            out[a, b] /= max(1, len(rows) - 1)
            out[b, a] = out[a, b]


@jit(_matrix, _matrix)
def eigen(matrix: Any, vectors: Any) -> None:
    """Find eigenvalues and vectors of a symmetric matrix (d, d) by Jacobi's rotations (Golub & Van Loan, 8.5).

    The matrix is destroyed, its diagonal are the values; columns of `vectors` are the vectors. Not sorted.
    """
    d = len(matrix)
    vectors[:] = 0.0
    for a in range(d):
        vectors[a, a] = 1.0
    for _ in range(SWEEPS):
        off, on = 0.0, 0.0
        for a in range(d):
            on += matrix[a, a] * matrix[a, a]
            for b in range(a + 1, d):
                off += matrix[a, b] * matrix[a, b]
        if off <= TINY * on:
            break
        for p in range(d - 1):
            for q in range(p + 1, d):
                apq = matrix[p, q]
                if apq == 0.0:
                    continue
                theta = (matrix[q, q] - matrix[p, p]) / (2.0 * apq)
                t = 1.0 / (abs(theta) + np.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    t = -t
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(d):
                    kp, kq = matrix[k, p], matrix[k, q]
                    matrix[k, p], matrix[k, q] = c * kp - s * kq, s * kp + c * kq
                for k in range(d):
                    pk, qk = matrix[p, k], matrix[q, k]
                    matrix[p, k], matrix[q, k] = c * pk - s * qk, s * pk + c * qk
                for k in range(d):
                    kp, kq = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * kp - s * kq, s * kp + c * kq


@jit(_clips, types.Array(float64, 1, "C", readonly=True), _fixed, _matrix)
def project(clips: Any, mean: Any, basis: Any, out: Any) -> None:
    """Write the clips (n, d) less the mean, seen along each row of `basis` (f, d), to `out` (n, f)."""
    for e in range(len(clips)):
        for f in range(len(basis)):
            total = 0.0
            for j in range(clips.shape[1]):
                total += (clips[e, j] - mean[j]) * basis[f, j]
            out[e, f] = total

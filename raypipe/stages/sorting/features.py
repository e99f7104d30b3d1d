"""Features of clips: principal components."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.sorting.components import covariance, eigen, project
from raypipe.stages.sorting.events import evenly


@dataclass(frozen=True)
class Components:
    """Mean clip (d,) and directions (f, d), of most variance first; the largest entry of each is positive."""

    mean: NDArray[np.float64]
    basis: NDArray[np.float64]

    def features(self, clips: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the features (n, f) of clips (n, d)."""
        out = np.empty((len(clips), len(self.basis)))
        project(np.ascontiguousarray(clips), self.mean, self.basis, out)
        return out


def components(clips: NDArray[np.float32], count: int, most: int) -> Components:
    """Find `count` principal components of at most `most` of the clips (n, d)."""
    d = clips.shape[1]
    mean, matrix, vectors = np.empty(d), np.empty((d, d)), np.empty((d, d))
    covariance(np.ascontiguousarray(clips), evenly(len(clips), most), mean, matrix)
    eigen(matrix, vectors)
    order = np.argsort(-np.diag(matrix), kind="stable")[:count]
    basis = np.ascontiguousarray(vectors[:, order].T)
    largest = np.abs(basis).argmax(axis=1)
    basis[basis[np.arange(len(basis)), largest] < 0] *= -1
    return Components(mean, basis)

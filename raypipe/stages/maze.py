"""The lab's double-T maze as a graph of corridors, and where its posters hang.

Lengths are in Unity's units (m): x grows to the east, z (the logs' "y") to the north.
"""

import numpy as np
from numpy.typing import NDArray

CORRIDOR = 5.0
"""Between neighbouring junctions."""

JUNCTIONS: tuple[tuple[float, float], ...] = tuple(
    (x, z)
    for z in (10.0, 5.0, 0.0, -5.0, -10.0)
    for x in ((-10.0, -5.0, 0.0, 5.0, 10.0) if z in (10.0, 0.0, -10.0) else (-10.0, 0.0, 10.0))
)
"""(x, z) of the 21 junctions, row by row from the north."""

POSTERS: tuple[tuple[float, float], ...] = ((-5, -7.55), (-7.55, 5), (7.55, -5), (5, 7.55), (5, 2.45), (-5, -2.45))
"""(x, z) of posters 1 to 6."""
POSTER_NAMES = ("Cat", "Camel", "Rabbit", "Donkey", "Crocodile", "Pig")


def nearest_junction(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the junction nearest to each of (n, 2) positions x, z; of equally near ones the first."""
    apart = positions[:, None, :] - np.array(JUNCTIONS)
    # The root is taken, as PyHipp does: it decides which of almost equal distances are equal.
    distances: NDArray[np.float64] = np.sqrt((apart**2).sum(axis=2))
    nearest: NDArray[np.int64] = distances.argmin(axis=1)
    return nearest


def poster_junction(poster: int) -> int:
    """Give the junction from which poster 1 to 6 is reached."""
    return int(nearest_junction(np.array([POSTERS[poster - 1]]))[0])


def walking_distances() -> NDArray[np.float64]:
    """Give the length of the shortest way from every junction to every other, (21, 21)."""
    places = np.array(JUNCTIONS)
    lengths: NDArray[np.float64] = np.abs(places[:, None] - places).sum(axis=2)
    lengths[lengths > CORRIDOR] = np.inf
    for via in range(len(places)):  # Floyd and Warshall
        lengths = np.minimum(lengths, lengths[:, via, None] + lengths[via])
    return lengths

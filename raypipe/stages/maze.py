"""The lab's double-T maze: corridors, pillars, posters, and where the gaze's bins lie in it.

Lengths are in Unity's units (m): x grows to the east, z (Unity's "y" in the logs) to the north.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CORRIDOR = 5.0
"""Between neighbouring junctions."""
HALF_SIDE = 12.5
"""From the middle of the maze to its outer walls."""
WALL_HEIGHT = 5.0
PILLAR_SIDE = 5.0

JUNCTIONS: tuple[tuple[float, float], ...] = tuple(
    (x, z)
    for z in (10.0, 5.0, 0.0, -5.0, -10.0)
    for x in ((-10.0, -5.0, 0.0, 5.0, 10.0) if z in (10.0, 0.0, -10.0) else (-10.0, 0.0, 10.0))
)
"""(x, z) of the 21 junctions, row by row from the north."""

POSTERS: tuple[tuple[float, float], ...] = ((-5, -7.55), (-7.55, 5), (7.55, -5), (5, 7.55), (5, 2.45), (-5, -2.45))
"""(x, z) of posters 1 to 6."""
POSTER_NAMES = ("Cat", "Camel", "Rabbit", "Donkey", "Crocodile", "Pig")
POSTER_WIDTH, POSTER_HEIGHT, POSTER_MIDDLE_HEIGHT = 2.23982, 1.4, 1.5

Face = Literal["west", "north", "east", "south"]
FACES: tuple[Face, ...] = ("west", "north", "east", "south")


@dataclass(frozen=True)
class Pillar:
    """A block of the maze between corridors; `x`, `z` is its middle."""

    colour: str
    x: float
    z: float


PILLARS = (Pillar("green", 5, -5), Pillar("blue", -5, -5), Pillar("red", 5, 5), Pillar("yellow", -5, 5))
"""In the order of their bins."""


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


def poster_face(poster: int) -> tuple[int, Face]:
    """Tell on which pillar (its place in PILLARS) and which of its faces poster 1 to 6 hangs."""
    x, z = POSTERS[poster - 1]
    sides = product(range(len(PILLARS)), FACES)
    return min(sides, key=lambda side: _distance_to_face(x, z, PILLARS[side[0]], side[1]))


def _distance_to_face(x: float, z: float, pillar: Pillar, face: Face) -> float:
    half = PILLAR_SIDE / 2
    east, north = {"west": (-half, 0.0), "north": (0.0, half), "east": (half, 0.0), "south": (0.0, -half)}[face]
    return float(np.hypot(x - pillar.x - east, z - pillar.z - north))

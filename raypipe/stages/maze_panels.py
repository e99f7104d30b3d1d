"""What the picture of the maze shows, as numbers: occupancy, path, and gaze on floor, walls and pillars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.io.gaze_bins import N_BINS, BinCounts
from raypipe.io.tables import Table
from raypipe.stages.scene import FACES, GEOMETRY, PILLARS, Revision, boxes

SIDE = 25.0
BIN_SIDE = 0.625
PILLAR_SIDE = 5.0
FLOOR_STEPS, WALL_ROWS, PILLAR_ROWS, PILLAR_COLUMNS = 40, 8, 5, 8
CUE, HINT, FLOOR, CEILING, WALLS, ON_PILLARS = 1, 2, 3, 1603, 3203, 4483
"""First bin of every surface."""
FOUND = 30

Extent = tuple[float, float, float, float]
"""Left, right, lower, upper (m)."""


@dataclass(frozen=True)
class Poster:
    """Where a poster hangs on the unfolded faces of its pillar (m from their left, and above the floor)."""

    number: int
    pillar: int
    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True)
class Panels:
    """Everything that is drawn.

    `occupancy` float64 (n, n) s, south and west first, over `occupancy_extent`; `path` float64 (p, 2): x, z in trials,
    NaN between them. Hits of the gaze, int64: `floor` (40, 40), south and west first, over `floor_extent`; `walls`
    (8, 160), lowest first, west, north, east and south side by side as seen from inside; `pillars` (4, 5, 32), the
    faces south, east, north and west side by side as seen from outside. `shares` of all hits, by surface.
    """

    occupancy: NDArray[np.float64]
    occupancy_extent: Extent
    path: NDArray[np.float64]
    floor: NDArray[np.int64]
    floor_extent: Extent
    walls: NDArray[np.int64]
    pillars: NDArray[np.int64]
    pillar_rows: NDArray[np.float64]
    posters: tuple[Poster, ...]
    shares: dict[str, float]
    n_hits: int
    n_trials: int
    n_found: int
    seconds: float


def maze_panels(
    umaze: Mapping[str, Any], unity: Mapping[str, Any], bins: BinCounts | None, revision: Revision
) -> Panels:
    """Arrange occupancy (of an Umaze object), path (of its Unity object) and gaze (none: no hits) for the picture."""
    hits = bins.hits if bins else np.zeros(N_BINS + 1, np.int64)
    data, triggers, times = unity["unityData"][0], unity["unityTriggers"][0], unity["unityTime"][0]
    cost = unity["sumCost"][0]
    half = float(umaze["oGS2"])
    matrix = umaze["matrix"]
    x0, z0 = (middle - SIDE / 2 for middle in GEOMETRY[revision].arena_centre)
    shape = GEOMETRY[revision]
    # On the bins' side of a pillar one would look from within: turned round, it is what the animal sees.
    pillars = hits[ON_PILLARS:].reshape(len(PILLARS), PILLAR_ROWS, len(FACES) * PILLAR_COLUMNS)[:, :, ::-1]
    rows = shape.pillar_row_y0 + shape.pillar_row_height * np.arange(PILLAR_ROWS + 1, dtype=np.float64)
    posters = _posters(revision)
    return Panels(
        occupancy=np.asarray(matrix.values if isinstance(matrix, Table) else matrix, np.float64)[::-1],
        occupancy_extent=(-half, half, -half, half),
        path=_path(data[:, 2:4], triggers),
        floor=hits[FLOOR:CEILING].reshape(FLOOR_STEPS, FLOOR_STEPS),
        floor_extent=(x0, x0 + SIDE, z0, z0 + SIDE),
        walls=hits[WALLS:ON_PILLARS].reshape(WALL_ROWS, 4 * FLOOR_STEPS),
        pillars=pillars,
        pillar_rows=rows,
        posters=posters,
        shares=_shares(hits, pillars, rows, posters),
        n_hits=int(hits.sum()),
        n_trials=len(triggers),
        n_found=int(np.count_nonzero(cost[:, 4] == FOUND)),
        seconds=float(times[triggers[-1, 2] + 1] - times[triggers[0, 0] + 1]),
    )


def _path(positions: NDArray[np.float64], triggers: NDArray[np.int64]) -> NDArray[np.float64]:
    gap = np.full((1, 2), np.nan)
    parts = [part for _, cue_off, end in triggers.tolist() for part in (positions[cue_off + 1 : end + 1], gap)]
    return np.concatenate(parts)


def _posters(revision: Revision) -> tuple[Poster, ...]:
    """Find the posters, 1 to 6, on the unfolded faces of their pillars."""
    scene = boxes(revision)
    signs = {"Green": (1, -1), "Blue": (-1, -1), "Red": (1, 1), "Yellow": (-1, 1)}
    found = []
    for name, centre, size, surface in zip(scene.names, scene.centres, scene.sizes, scene.surfaces, strict=True):
        if name not in POSTER_ORDER:
            continue
        face = next(face for face in FACES if surface.endswith(face))
        pillar = PILLARS.index(surface.removesuffix(face))
        axis = 2 if "X" in face else 0
        middle = GEOMETRY[revision].pillar_centre * signs[PILLARS[pillar]][axis // 2]
        along = centre[axis] - middle + PILLAR_SIDE / 2
        if face in ("PosX", "NegZ"):  # their bins run southwards and westwards
            along = PILLAR_SIDE - along
        from_right = FACES.index(face) * PILLAR_SIDE + along
        width, height = float(max(size[0], size[2])), float(size[1])
        left = len(FACES) * PILLAR_SIDE - from_right - width / 2
        found.append(Poster(POSTER_ORDER.index(name) + 1, pillar, float(left), centre[1] - height / 2, width, height))
    return tuple(sorted(found, key=lambda poster: poster.number))


POSTER_ORDER = ("CatPoster", "CamelPoster", "RabitPoster", "DonkeyPoster", "CrocodilePoster", "PigPoster")


def _shares(
    hits: NDArray[np.int64], pillars: NDArray[np.int64], rows: NDArray[np.float64], posters: tuple[Poster, ...]
) -> dict[str, float]:
    """Share out all hits among the surfaces; a bin is a poster's if its middle is."""
    across = BIN_SIDE * (np.arange(pillars.shape[2]) + 0.5)
    up = (rows[1:] + rows[:-1]) / 2
    on_posters = 0
    for poster in posters:
        columns = (across > poster.left) & (across < poster.left + poster.width)
        heights = (up > poster.bottom) & (up < poster.bottom + poster.height)
        on_posters += int(pillars[poster.pillar][np.ix_(heights, columns)].sum())
    parts = {
        "floor": hits[FLOOR:CEILING].sum(),
        "outer walls": hits[WALLS:ON_PILLARS].sum(),
        "pillars": pillars.sum() - on_posters,
        "posters": on_posters,
        "ceiling": hits[CEILING:WALLS].sum(),
        "cue": hits[CUE],
        "hint": hits[HINT],
    }
    total = int(hits.sum()) or 1
    return {name: int(part) / total for name, part in parts.items()}

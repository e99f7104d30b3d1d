"""The 5122 bins of what can be seen: squares of 0.625 m on ground, ceiling and walls, and one each for cue and hint.

Ids as VirtualMaze gives them: cue 1, hint 2, ground from 3, ceiling from 1603, perimeter from 3203, pillars from 4483.
"""

from dataclasses import dataclass

import numpy as np

from kernels.gaze.raycast import Scene
from raypipe.stages.scene import FACES, GEOMETRY, PILLARS, Revision, boxes

BIN_M = 0.625
ARENA_BINS, WALL_ROWS = 40, 8
PILLAR_BINS, PILLAR_ROWS = 8, 5
CUE_BIN, HINT_BIN = 1, 2
GROUND_BIN, CEILING_BIN, PERIMETER_BIN, PILLAR_BIN, LAST_BIN = 3, 1603, 3203, 4483, 5122
X, Y, Z = 0, 1, 2


@dataclass(frozen=True)
class Grid:
    """The bins on one surface: id = first + column + row * row_ids, where column and row count squares from u0 and v0
    along the axes u and v; `is_backward` columns count from the far end.
    """

    first: int
    u: int
    u0: float
    columns: int
    is_backward: bool
    v: int
    v0: float
    row_height: float
    rows: int
    row_ids: int


def surface_grids(revision: Revision) -> dict[str, Grid]:
    """Give the grid of each surface of `Boxes.surfaces`."""
    shape = GEOMETRY[revision]
    half = ARENA_BINS * BIN_M / 2
    x0, z0 = (middle - half for middle in shape.arena_centre)
    grids = {
        "Ground": Grid(GROUND_BIN, X, x0, ARENA_BINS, False, Z, z0, BIN_M, ARENA_BINS, ARENA_BINS),
        "Ceiling": Grid(CEILING_BIN, X, x0, ARENA_BINS, False, Z, z0, BIN_M, ARENA_BINS, ARENA_BINS),
    }
    for side in range(4):
        u, u0 = ((Z, z0), (X, x0))[side % 2]
        first = PERIMETER_BIN + side * ARENA_BINS
        grids[f"side{side}"] = Grid(first, u, u0, ARENA_BINS, side > 1, Y, 0.0, BIN_M, WALL_ROWS, 4 * ARENA_BINS)
    height, y0 = shape.pillar_row_height, shape.pillar_row_y0
    for p, (sign_x, sign_z) in enumerate(((1, -1), (-1, -1), (1, 1), (-1, 1))):
        for face in range(4):
            u, sign = ((Z, sign_z), (X, sign_x))[face % 2]
            u0 = sign * shape.pillar_centre - PILLAR_BINS * BIN_M / 2
            first = PILLAR_BIN + (p * PILLAR_ROWS * 4 + face) * PILLAR_BINS
            grids[PILLARS[p] + FACES[face]] = Grid(
                first, u, u0, PILLAR_BINS, face > 1, Y, y0, height, PILLAR_ROWS, 4 * PILLAR_BINS
            )
    return grids


def kernel_scene(revision: Revision) -> Scene:
    """Put boxes and bins of a revision into the tables of the kernel."""
    table, grids = boxes(revision), surface_grids(revision)
    low, high = table.centres - table.sizes / 2, table.centres + table.sizes / 2
    first = np.searchsorted(table.groups, np.arange(table.groups[-1] + 2))
    rows = [grids[surface] for surface in table.surfaces]
    return Scene(
        np.hstack([low, high]),
        np.hstack([np.minimum.reduceat(low, first[:-1]), np.maximum.reduceat(high, first[:-1])]),
        first.astype(np.int64),
        np.array([(g.first, g.u, g.columns, g.is_backward, g.v, g.rows, g.row_ids) for g in rows], np.int64),
        np.array([(g.u0, BIN_M, g.v0, g.row_height) for g in rows]),
    )

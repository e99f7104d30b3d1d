"""The "Double Tee" maze as data: every box that a gaze can hit, in two revisions of the lab's VirtualMaze.

Unity's axes: x to the east, y up, z to the north, in its units (m). All boxes stand along the axes.
Source: the scene files of H586390/VirtualMaze (A, commit 6537b2c) and, for C, the positions that its successors of 2021
and later show. Known of C are the perimeter at 12.5 m, pillars whose centre is at 4.95 m and whose faces are at 2.5 and
7.4 m, walls without thickness, and the names that xavierpok/pyVirtualMazeBinning reads; its pillars are taken to be
closed, and its posters to hang as far in front of their wall as in A.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Revision = Literal["A", "C"]
PILLARS = ("Green", "Blue", "Red", "Yellow")
"""In the order of their bins."""
FACES = ("NegX", "PosZ", "PosX", "NegZ")
"""Sides of a pillar in the order of their bins; the perimeter's in that order are the west, north, east and south."""
WALLS_PER_SIDE = 6

_PILLAR_SIGNS = {"Green": (1, -1), "Blue": (-1, -1), "Red": (1, 1), "Yellow": (-1, 1)}
_FACING = {"NegX": "-x", "PosZ": "+z", "PosX": "+x", "NegZ": "-z"}
_PILLAR_WALLS_A = {"Green": (5, 26, 25, 1), "Blue": (21, 29, 6, 10), "Red": (3, 15, 24, 4), "Yellow": (20, 12, 8, 7)}
_PILLAR_Y, _PILLAR_HEIGHT = 1.41, 3.11
_PERIMETER_Y, _PERIMETER_SIDE = 2.5, 5.0
_CEILING_Y = 4.93
_POSTER_Y, _POSTER_WIDTH, _POSTER_HEIGHT = 1.5, 2.23982, 1.4


@dataclass(frozen=True)
class Geometry:
    """Where a revision puts walls: `arena_centre` x, z; perimeter faces `arena_half` from it; pillars at
    `pillar_centre` with faces `pillar_half` from there; `thickness` of all walls, `ceiling_side`.

    `pillar_row_y0` and `pillar_row_height` are the lower edge and the height of the rows of bins on pillars.
    """

    arena_centre: tuple[float, float]
    arena_half: float
    pillar_centre: float
    pillar_half: float
    pillar_wall_width: float
    thickness: float
    ceiling_side: float
    pillar_row_y0: float
    pillar_row_height: float


GEOMETRY: dict[Revision, Geometry] = {
    # The rows of A are those of the C# program (centred on the walls' 1.41 m), those of C are the Python program's.
    "A": Geometry((-0.22, 0.13), 12.45, 5.0, 2.55, 5.0, 0.1, 50.0, -0.09, 0.6),
    "C": Geometry((0.0, 0.0), 12.5, 4.95, 2.45, 4.9, 0.0, 25.0, 0.0, 0.625),
}


@dataclass(frozen=True)
class Boxes:
    """All boxes of a revision.

    `names` as in the csv; `centres`, `sizes` and `pivots` float64 (n, 3) m, x, y, z (a pivot is where the program says
    that the object is); `facing` the axis that the seen face looks along, as "+x"; `surfaces` the wall whose bins a hit
    takes, by name (a poster's are those of the wall that it hangs on); `groups` intp (n,): boxes of one number stand
    together and follow each other.
    """

    names: tuple[str, ...]
    centres: NDArray[np.float64]
    sizes: NDArray[np.float64]
    pivots: NDArray[np.float64]
    facing: tuple[str, ...]
    surfaces: tuple[str, ...]
    groups: NDArray[np.intp]


@dataclass(frozen=True)
class _Box:
    name: str
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    facing: str
    surface: str
    group: str
    pivot: tuple[float, float, float] | None = None


def boxes(revision: Revision) -> Boxes:
    """List the boxes of a revision: ground, ceiling, 24 walls of the perimeter, 16 of the pillars and 6 posters."""
    shape = GEOMETRY[revision]
    rows = [_ground(), _ceiling(shape), *_perimeter(revision), *_pillars(revision)]
    kinds = list(dict.fromkeys(row.group for row in rows))
    rows.sort(key=lambda row: kinds.index(row.group))  # stable: a pillar's posters come after its walls
    return Boxes(
        tuple(row.name for row in rows),
        np.array([row.centre for row in rows]),
        np.array([row.size for row in rows]),
        np.array([row.pivot or row.centre for row in rows]),
        tuple(row.facing for row in rows),
        tuple(row.surface for row in rows),
        np.array([kinds.index(row.group) for row in rows], np.intp),
    )


def _ground() -> _Box:
    return _Box("Ground", (0, 0, 0), (50, 0, 50), "+y", "Ground", "Ground")


def _ceiling(shape: Geometry) -> _Box:
    side = shape.ceiling_side
    return _Box("Ceiling", (0, _CEILING_Y, 0), (side, 0, side), "-y", "Ceiling", "Ceiling")


def _perimeter(revision: Revision) -> list[_Box]:
    """Six walls on each side, west, north, east, south; they begin at a corner of the arena and overlap the next."""
    shape = GEOMETRY[revision]
    (x0, z0), far = shape.arena_centre, shape.arena_half + shape.thickness / 2
    rows = []
    for side, facing in enumerate(("+x", "-z", "-x", "+z")):
        for k in range(WALLS_PER_SIDE):
            along = _PERIMETER_SIDE * k - far
            x, z = ((-far, along), (along, far), (far, -along), (-along, -far))[side]
            flat = (shape.thickness, _PERIMETER_SIDE, _PERIMETER_SIDE)
            name = f"wall_{1 + WALLS_PER_SIDE * side + k:02d}"
            size = flat if side in (0, 2) else flat[::-1]
            centre = (round(x0 + x, 6), _PERIMETER_Y, round(z0 + z, 6))
            rows.append(_Box(name, centre, size, facing, f"side{side}", f"side{side}"))
    return rows


def _pillars(revision: Revision) -> list[_Box]:
    """Four walls and one or two posters on each pillar."""
    rows = [_pillar_wall(revision, pillar, face) for pillar in PILLARS for face in range(4)]
    return rows + [_poster(revision, *each) for each in _POSTERS]


def _pillar_wall(revision: Revision, pillar: str, face: int) -> _Box:
    shape = GEOMETRY[revision]
    x, z = (shape.pillar_centre * sign for sign in _PILLAR_SIGNS[pillar])
    middle = shape.pillar_half - shape.thickness / 2
    dx, dz = ((-middle, 0), (0, middle), (middle, 0), (0, -middle))[face]
    flat = (shape.thickness, _PILLAR_HEIGHT, shape.pillar_wall_width)
    a_name = f"m_wall_{_PILLAR_WALLS_A[pillar][face]}"
    return _Box(
        a_name if revision == "A" else f"{FACES[face]}{pillar}Wall_{pillar}Pillar",
        (round(x + dx, 6), _PILLAR_Y, round(z + dz, 6)),
        flat if face in (0, 2) else flat[::-1],
        _FACING[FACES[face]],
        f"{pillar}{FACES[face]}",
        pillar,
    )


# Name, pillar, side, where along the side, how far in front of the wall; how far behind the face the pivot is.
_POSTERS = (
    ("CatPoster", "Blue", "NegZ", -5.0, 0.055, 0.005),
    ("CamelPoster", "Yellow", "NegX", 4.975, 0.005, 0.0),
    ("RabitPoster", "Green", "PosX", -4.9623566, 0.005, 0.0),
    ("DonkeyPoster", "Red", "PosZ", 5.168, 0.005, 0.0),
    ("CrocodilePoster", "Red", "NegZ", 5.021, 0.055, 0.005),
    ("PigPoster", "Blue", "PosZ", -4.99, 0.005, 0.0),
)


def _poster(revision: Revision, name: str, pillar: str, side: str, along: float, gap: float, behind: float) -> _Box:
    shape = GEOMETRY[revision]
    middle = shape.pillar_centre * _PILLAR_SIGNS[pillar]["Z" in side]
    outward = 1 if side.startswith("Pos") else -1

    def at(distance: float) -> tuple[float, float, float]:
        across = round(middle + outward * (shape.pillar_half + distance), 6)
        return (along, _POSTER_Y, across) if "Z" in side else (across, _POSTER_Y, along)

    wide = (_POSTER_WIDTH, _POSTER_HEIGHT, 0.0)
    return _Box(
        name,
        at(gap),
        wide if "Z" in side else wide[::-1],
        _FACING[side],
        f"{pillar}{side}",
        pillar,
        at(gap - behind),
    )

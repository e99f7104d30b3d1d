"""Which object of the maze a ray meets first: boxes, tried one after the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.view import HALF_VIEW, SCREEN_PX, Floats
from raypipe.stages import camera, scene
from raypipe.stages.scene import Revision

NOTHING = -1
TINY = 1e-12


@dataclass(frozen=True)
class Boxes:
    """Objects whose sides are parallel to the axes: `lows` and `highs` float64 (boxes, 3), and a name each."""

    names: tuple[str, ...]
    lows: Floats
    highs: Floats


def first_hit(boxes: Boxes, origins: Floats, directions: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the box that each ray meets first, (n,), `NOTHING` if none, and how many directions away, (n,).

    A ray is inside a box where it is between all three pairs of planes ("slabs", Kay & Kajiya 1986). A box that holds
    the origin is not seen, as in Unity.
    """
    safe = np.where(np.abs(directions) < TINY, TINY, directions)
    inverse = [np.ascontiguousarray(column) for column in (1 / safe).T]
    start = [np.ascontiguousarray(column) for column in origins.T]
    nearest = np.full(len(origins), np.inf)
    found = np.full(len(origins), NOTHING, np.int64)
    for number, (low, high) in enumerate(zip(boxes.lows, boxes.highs, strict=True)):
        enter, leave = np.zeros(len(origins)), nearest.copy()
        for axis in range(3):
            one, other = (low[axis] - start[axis]) * inverse[axis], (high[axis] - start[axis]) * inverse[axis]
            np.maximum(enter, np.minimum(one, other), out=enter)
            np.minimum(leave, np.maximum(one, other), out=leave)
        hit = (enter <= leave) & (enter > 0) & (enter < nearest)
        nearest[hit] = enter[hit]
        found[hit] = number
    return found, nearest


def scene_boxes(revision: Revision) -> Boxes:
    """Take the objects of a revision of the maze."""
    table = scene.boxes(revision)
    return Boxes(table.names, table.centres - table.sizes / 2, table.centres + table.sizes / 2)


def image_names() -> tuple[str, ...]:
    """Give the names of cue and hint, which hang in front of the camera."""
    return ("CueImage", "HintImage")


def image_rectangles() -> tuple[Floats, ...]:
    """Give the pixels that cue and hint hide, (2, 2) each: left, top; right, bottom."""
    return (
        _rectangle(camera.CUE_CENTRE_M, camera.CUE_SIZE_M),
        _rectangle(camera.HINT_CENTRE_M, camera.HINT_SIZE_M),
    )


def _rectangle(centre_m: tuple[float, float], size_m: tuple[float, float]) -> Floats:
    middle = np.array([centre_m[0], -centre_m[1]])
    corners = np.array([middle - np.array(size_m) / 2, middle + np.array(size_m) / 2]) / camera.IMAGE_M
    rectangle: Floats = (1 + corners / HALF_VIEW) * SCREEN_PX / 2
    return rectangle

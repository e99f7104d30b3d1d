"""Gaze on a scene of boxes: for every sample what it hits and where, and the bins that a disc of rays around it hits.

Not among the exports of `kernels`, so that who filters does not compile it: import it from here.
"""

from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import numpy as np
from numba import float64, int32, int64
from numpy.typing import NDArray

from kernels.compile import contiguous, inlined, jit, readonly, types, writable

NOTHING = -1
_table = types.Array(float64, 2, "C", readonly=True)
_integers = types.Array(int64, 2, "C", readonly=True)
_pair = types.UniTuple(int64, 2)


@dataclass(frozen=True)
class Scene:
    """Boxes along the axes, and the bins on them.

    bounds: (n, 6) float64, the lower and then the upper x, y, z of each box; boxes of a group follow each other.
    groups: (g, 6) float64, bounds of each group; `first` (g + 1,) int64, its first box, and n.
    grids: (n, 7) int64, the bins on a box: the lowest id; for the columns which axis (0 to 2) they follow, how many
        they are, and 1 if they are counted backwards; for the rows the axis, how many, and how many ids apart.
    edges: (n, 4) float64, where the columns begin and how wide they are, where the rows begin and how high they are.
    """

    bounds: NDArray[np.float64]
    groups: NDArray[np.float64]
    first: NDArray[np.int64]
    grids: NDArray[np.int64]
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A camera that turns around the vertical.

    screen: (2,) width and height in px; tan_half_view: of half the vertical field of view; pitch: (2,) sine and cosine
    of the angle by which it looks down; eye_y and near: height and distance at which rays begin; images_at: distance of
    the images that hang before it; images: (k, 4) of each image left, right, lower and upper edge, off the line of
    sight. Image i is object n + i, and bin 1 + i.
    """

    screen: tuple[float, float]
    tan_half_view: float
    pitch: tuple[float, float]
    eye_y: float
    near: float
    images_at: float
    images: NDArray[np.float64]


@dataclass(frozen=True)
class Hits:
    """Where results go: `objects` (n,) int32, NOTHING where nothing is hit; `points` (n, 3) float64, NaN there;
    `bins` (m, 2) float64, time and id.
    """

    objects: NDArray[np.int32]
    points: NDArray[np.float64]
    bins: NDArray[np.float64]


class Caster:
    """Casts gaze on one scene with one disc of rays; the first of them is the gaze itself."""

    def __init__(self, scene: Scene, view: View, rays: NDArray[np.float64]) -> None:
        """Prepare; `rays` (r, 2) as `disc` makes them. Raises ValueError for tables that do not fit together."""
        n = len(scene.bounds)
        if scene.first[0] != 0 or scene.first[-1] != n or not len(scene.grids) == len(scene.edges) == n:
            raise ValueError(f"the tables of {n} boxes do not fit together")
        self.scene, self.view, self.rays = scene, view, rays
        self._numbers = np.array([*view.screen, view.tan_half_view, *view.pitch, view.eye_y, view.near, view.images_at])
        highest = scene.grids[:, 0] + (scene.grids[:, 5] - 1) * scene.grids[:, 6] + scene.grids[:, 2]
        self._seen = np.zeros(int(max(highest.max(), 1 + len(view.images))), np.int64)

    @property
    def most_bins(self) -> int:
        """The most bins that one sample can hit."""
        return min(len(self.rays), self._seen.size)

    def cast(
        self,
        gaze: NDArray[np.float64],
        poses: NDArray[np.float64],
        shown: NDArray[np.int64],
        times: NDArray[np.float64],
        hits: Hits,
    ) -> tuple[int, int]:
        """Cast samples until all are done or `hits.bins` may be too short for the next.

        Args:
            gaze: (n, 2) px, x right, y down; NaN hits nothing. Pixels beyond the screen are cast like others.
            poses: (n, 3) x, z and heading in degrees, clockwise from +z; NaN hits nothing.
            shown: (n,) which image is shown: 0 none, 1 the first, ...
            times: (n,) what stands before the bins of a sample.
            hits: of n samples; each distinct bin of a sample is a row, in the order in which its rays hit them.

        Returns:
            How many samples were cast and how many rows of bins were written.

        Raises:
            ValueError: when lengths do not fit, or `hits.bins` has not room for one sample.
        """
        n = len(gaze)
        if {len(poses), len(shown), len(times), len(hits.objects), len(hits.points)} != {n}:
            raise ValueError(f"{n} samples of gaze, but not of all else")
        if n and (shown.min() < 0 or shown.max() > len(self.view.images)):
            raise ValueError(f"there are {len(self.view.images)} images")
        if len(hits.bins) < self.most_bins:
            raise ValueError(f"room for {len(hits.bins)} bins, but one sample can hit {self.most_bins}")
        scene = self.scene
        self._seen[:] = 0
        done, rows = _cast(
            gaze, poses, shown, times, self.rays, self._numbers, self.view.images,
            scene.bounds, scene.groups, scene.first, scene.grids, scene.edges,
            self._seen, hits.objects, hits.points, hits.bins,
        )  # fmt: skip
        return int(done), int(rows)


def disc(radius: float, density: float) -> NDArray[np.float64]:
    """Place rays on a disc: (r, 2) float64, px to the right and downwards of the gaze.

    As many as `density` in 100 x 100 px gives, at least two, on Fermat's spiral from the middle to the rim; of radius 0
    the middle alone.
    """
    count = max(2, ceil(pi * radius**2 * density / 10_000)) if radius > 0 else 1
    offsets = np.zeros((count, 2))
    _spiral(radius, offsets)
    return offsets


@inlined
def _sine_cosine(degrees: Any) -> Any:
    # Not the C library's, whose last bit depends on the CPU. Taylor's series to the 17th power, up to 45 degrees.
    quarters = np.floor(degrees / 90.0 + 0.5)
    x = (degrees - 90.0 * quarters) * 0.017453292519943295
    y = x * x
    sine, cosine = 1.0, 1.0
    for k in range(8, 0, -1):
        sine = 1.0 - sine * y / (2 * k * (2 * k + 1))
        cosine = 1.0 - cosine * y / (2 * k * (2 * k - 1))
    sine *= x
    turn = quarters - 4.0 * np.floor(quarters / 4.0)
    if turn == 0.0:
        return sine, cosine
    if turn == 1.0:
        return cosine, -sine
    if turn == 2.0:
        return -sine, -cosine
    return -cosine, sine


@jit(float64, writable(float64, 2))
def _spiral(radius: Any, out: Any) -> None:
    for i in range(1, len(out)):
        distance = radius * np.sqrt(i / (len(out) - 1))
        sine, cosine = _sine_cosine(360.0 * 0.618 * i)
        out[i, 0] = distance * cosine
        out[i, 1] = -distance * sine  # the spiral is counted with y upwards


@inlined
def _span(bounds: Any, b: Any, ox: Any, oy: Any, oz: Any, ix: Any, iy: Any, iz: Any, sx: Any, sy: Any, sz: Any) -> Any:
    """Tell where along a ray a box is entered and left; it is missed if that is the other way round.

    i are the inverse directions, s is 3 where the upper bound comes first. A ray inside a face's plane and along it
    gives NaN here, which no comparison prefers: it counts as inside.
    """
    near, far = (bounds[b, sx] - ox) * ix, (bounds[b, 3 - sx] - ox) * ix
    near = near if near > -np.inf else -np.inf
    far = far if far < np.inf else np.inf
    t = (bounds[b, 1 + sy] - oy) * iy
    near = t if t > near else near
    t = (bounds[b, 4 - sy] - oy) * iy
    far = t if t < far else far
    t = (bounds[b, 2 + sz] - oz) * iz
    near = t if t > near else near
    t = (bounds[b, 5 - sz] - oz) * iz
    far = t if t < far else far
    return near, far


@inlined
def _first_hit(
    bounds: Any, groups: Any, first: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any, guess: Any, limit: Any
) -> Any:
    """Find the nearest box before `limit` and where it is hit; of boxes hit at the same place, the first in the table.

    The box that the ray before has hit is tried first: mostly it is hit again, and spares the others.
    """
    ix, iy, iz = 1.0 / dx, 1.0 / dy, 1.0 / dz
    sx, sy, sz = 3 if ix < 0.0 else 0, 3 if iy < 0.0 else 0, 3 if iz < 0.0 else 0
    nearest, best = NOTHING, limit
    if guess >= 0:
        near, far = _span(bounds, guess, ox, oy, oz, ix, iy, iz, sx, sy, sz)
        if near >= 0.0 and near <= far and near < best:
            nearest, best = guess, near
    for g in range(len(groups)):
        near, far = _span(groups, g, ox, oy, oz, ix, iy, iz, sx, sy, sz)
        if near <= far and far >= 0.0 and near <= best:
            for b in range(first[g], first[g + 1]):
                near, far = _span(bounds, b, ox, oy, oz, ix, iy, iz, sx, sy, sz)
                # What a ray begins in or behind is not hit.
                if near >= 0.0 and near <= far and (near < best or (near == best and b < nearest)):
                    nearest, best = b, near
    return nearest, best


@inlined
def _bin(grids: Any, edges: Any, b: Any, hit: Any) -> Any:
    """Find the bin of a hit on box b; 0 where it has none."""
    column = np.floor((hit[grids[b, 1]] - edges[b, 0]) / edges[b, 1])
    row = np.floor((hit[grids[b, 4]] - edges[b, 2]) / edges[b, 3])
    if not (column >= 0.0 and column < grids[b, 2] and row >= 0.0 and row < grids[b, 5]):
        return 0
    if grids[b, 3] == 1:
        column = grids[b, 2] - 1.0 - column
    return grids[b, 0] + int64(column) + grids[b, 6] * int64(row)


@jit(
    readonly(float64, 2), readonly(float64, 2), readonly(int64, 1), readonly(float64, 1),
    _table, contiguous(float64), _table, _table, _table, contiguous(int64), _integers, _table,
    writable(int64, 1), writable(int32, 1), writable(float64, 2), writable(float64, 2), returns=_pair,
)  # fmt: skip
def _cast(
    gaze: Any, poses: Any, shown: Any, times: Any, rays: Any, view: Any, images: Any, bounds: Any, groups: Any,
    first: Any, grids: Any, edges: Any, seen: Any, objects: Any, points: Any, bins: Any,
) -> Any:  # fmt: skip
    width, height, tangent = view[0], view[1], view[2]
    sine_pitch, cosine_pitch, eye_y, near, images_at = view[3], view[4], view[5], view[6], view[7]
    most = min(len(rays), len(seen))
    rows = 0
    guess = NOTHING
    heading, sine, cosine = np.nan, 0.0, 0.0
    for i in range(len(gaze)):
        if rows + most > len(bins):
            return i, rows
        objects[i] = NOTHING
        points[i, 0], points[i, 1], points[i, 2] = np.nan, np.nan, np.nan
        x, y = gaze[i, 0], gaze[i, 1]
        robot_x, robot_z = poses[i, 0], poses[i, 1]
        if not np.isfinite(x + y + robot_x + robot_z + poses[i, 2]):
            continue
        if poses[i, 2] != heading:
            heading = poses[i, 2]
            sine, cosine = _sine_cosine(heading)
        for k in range(len(rays)):
            # Right, up and forward of the camera; not of length 1, so that distances are counted along the line of sight.
            across = (2.0 * (x + rays[k, 0]) / width - 1.0) * (width / height) * tangent
            up = (1.0 - 2.0 * (y + rays[k, 1]) / height) * tangent
            level = up * sine_pitch + cosine_pitch
            dx, dy, dz = across * cosine + level * sine, up * cosine_pitch - sine_pitch, level * cosine - across * sine
            ox, oy, oz = robot_x + near * dx, eye_y + near * dy, robot_z + near * dz
            limit, image = np.inf, shown[i] - 1
            if image >= 0:
                right, above = across * images_at, up * images_at
                inside = images[image, 0] <= right and right <= images[image, 1]
                if inside and images[image, 2] <= above and above <= images[image, 3]:
                    limit = images_at - near
            b, t = _first_hit(bounds, groups, first, ox, oy, oz, dx, dy, dz, guess, limit)
            if b >= 0:
                guess = b
            elif limit == np.inf:
                continue
            else:
                t = limit
            hit = (ox + t * dx, oy + t * dy, oz + t * dz)
            if k == 0:
                objects[i] = b if b >= 0 else len(bounds) + image
                points[i, 0], points[i, 1], points[i, 2] = hit
            bin_id = _bin(grids, edges, b, hit) if b >= 0 else 1 + image
            if bin_id > 0 and seen[bin_id - 1] != i + 1:
                seen[bin_id - 1] = i + 1
                bins[rows, 0], bins[rows, 1] = times[i], bin_id
                rows += 1
    return len(gaze), rows

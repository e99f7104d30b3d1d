"""The ids of all 5122 bins against an enumeration that walks along them, each found by a ray to its middle."""

from collections.abc import Iterator

import numpy as np
import pytest

from kernels.gaze.raycast import Caster, Hits, disc
from raypipe.stages.bins import kernel_scene
from raypipe.stages.raycast import kernel_view
from raypipe.stages.scene import GEOMETRY, Revision

SIDE = 0.625
Place = tuple[float, float, float]
# Where the pillars of each revision stand, and the heights of their five rows of bins.
PILLARS = {"A": 5.0, "C": 4.95}
PILLAR_ROWS = {"A": (0.21, 0.81, 1.41, 2.01, 2.61), "C": (0.3125, 0.9375, 1.5625, 2.1875, 2.8125)}
ARENAS = {"A": (-0.22, 0.13), "C": (0.0, 0.0)}
FACE = {"A": 2.55, "C": 2.45}
WALL = {"A": 12.45, "C": 12.5}


def middles(revision: Revision) -> Iterator[tuple[Place, tuple[float, float]]]:
    """List the middle of each bin in the order of ids, from 3 on, and the way (x, z) that its surface looks."""
    x0, z0 = ARENAS[revision]
    steps = SIDE * (np.arange(40) - 19.5)
    for height in (0.0, 4.93):
        for z in steps:
            for x in steps:
                yield (x0 + x, height, z0 + z), (0.0, 0.0)
    far = WALL[revision]
    for row in range(8):
        y = SIDE * (row + 0.5)
        yield from (((x, y, z), way) for x, z, way in around(x0, z0, far, steps, inwards=True))
    middle = PILLARS[revision]
    for x, z in ((middle, -middle), (-middle, -middle), (middle, middle), (-middle, middle)):
        for y in PILLAR_ROWS[revision]:
            walk = around(x, z, FACE[revision], SIDE * (np.arange(8) - 3.5), inwards=False)
            yield from (((px, y, pz), way) for px, pz, way in walk)


def around(
    x: float, z: float, far: float, steps: np.ndarray, *, inwards: bool
) -> Iterator[tuple[float, float, tuple[float, float]]]:
    """Go round a square clockwise: up the west side, along the north, down the east, back along the south."""
    sign = 1.0 if inwards else -1.0
    yield from ((x - far, z + s, (sign, 0.0)) for s in steps)
    yield from ((x + s, z + far, (0.0, -sign)) for s in steps)
    yield from ((x + far, z - s, (-sign, 0.0)) for s in steps)
    yield from ((x - s, z - far, (0.0, sign)) for s in steps)


def pixel_of(place: Place, x: float, z: float, heading: float) -> tuple[float, float]:
    """Find the pixel of a place, on the screen or beyond it, by turning the world around the camera."""
    east, up, north = place[0] - x, place[1] - 1.85, place[2] - z
    h, p = np.radians(heading), np.radians(12)
    right, level = east * np.cos(h) - north * np.sin(h), east * np.sin(h) + north * np.cos(h)
    depth, above = level * np.cos(p) - up * np.sin(p), level * np.sin(p) + up * np.cos(p)
    assert depth > 0
    focal = 540 / np.tan(np.radians(30))
    return 960 + focal * right / depth, 540 - focal * above / depth


@pytest.mark.parametrize("revision", ["A", "C"])
def test_a_ray_to_the_middle_of_each_bin_finds_its_id(revision: Revision) -> None:
    gaze, poses, wanted = [], [], []
    for bin_id, (place, way) in enumerate(middles(revision), start=3):
        ways = [way] if any(way) else [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)]
        for east, north in ways:
            back = 1.5 if place[1] > 4 else 1.0 if any(way) else 0.35
            x, z = place[0] + back * east, place[2] + back * north
            heading = np.degrees(np.arctan2(-east, -north))
            gaze.append(pixel_of(place, x, z, heading))
            poses.append((x, z, heading))
            wanted.append(bin_id)
    n = len(gaze)
    hits = Hits(np.empty(n, np.int32), np.empty((n, 3)), np.empty((n, 2)))
    caster = Caster(kernel_scene(revision), kernel_view(), disc(0, 220))
    done, rows = caster.cast(np.array(gaze), np.array(poses), np.zeros(n, np.int64), np.array(wanted, float), hits)
    assert done == n
    # From one of four sides at least a place on ground or ceiling is not behind a wall.
    found = {int(wanted) for wanted, bin_id in hits.bins[:rows] if wanted == bin_id}
    assert found == set(range(3, 5123))


def test_hits_above_the_rows_of_a_pillar_have_no_bin() -> None:
    shape = GEOMETRY["A"]
    assert shape.pillar_row_y0 + 5 * shape.pillar_row_height == pytest.approx(2.91)
    x, z = 5.0, -10.0
    gaze = np.array([pixel_of((5.3, y, -7.55), x, z, 0.0) for y in (2.905, 2.915, 2.96)])
    poses = np.tile((x, z, 0.0), (3, 1))
    hits = Hits(np.empty(3, np.int32), np.empty((3, 3)), np.empty((3, 2)))
    caster = Caster(kernel_scene("A"), kernel_view(), disc(0, 220))
    _, rows = caster.cast(gaze, poses, np.zeros(3, np.int64), np.arange(3.0), hits)
    assert len(set(hits.objects.tolist())) == 1
    assert hits.bins[:rows].tolist() == [[0.0, 4483 + 32 * 4 + 8 * 3 + 3]]

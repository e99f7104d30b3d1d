"""The raycast said again in obvious numpy: every ray against every box."""

from typing import Any

import numpy as np

from kernels.gaze.raycast import Caster, Hits, disc
from raypipe.stages import camera
from raypipe.stages.bins import kernel_scene
from raypipe.stages.raycast import kernel_view
from raypipe.stages.scene import boxes


def nearest_boxes(origins: Any, directions: Any, revision: Any) -> Any:
    """Find the nearest box of each ray, -1 for none, and how far away it is."""
    table = boxes(revision)
    nearest, distance = np.full(len(origins), -1), np.full(len(origins), np.inf)
    for b, (centre, size) in enumerate(zip(table.centres, table.sizes, strict=True)):
        with np.errstate(divide="ignore", invalid="ignore"):
            a, z = (centre - size / 2 - origins) / directions, (centre + size / 2 - origins) / directions
        enter, leave = np.minimum(a, z).max(axis=1), np.maximum(a, z).min(axis=1)
        hit = (enter <= leave) & (enter >= 0) & (enter < distance)
        nearest[hit], distance[hit] = b, enter[hit]
    return nearest, distance


def caster(revision: Any = "A", radius: float = 0.0, density: float = 220.0) -> Caster:
    return Caster(kernel_scene(revision), kernel_view(), disc(radius, density))


def cast(each: Caster, gaze: Any, poses: Any, shown: Any = None, room: int = 0) -> Any:
    """Cast all samples, in as many calls as the room for bins asks for; times are the numbers of the samples."""
    n = len(gaze)
    objects, points, rows = np.empty(n, np.int32), np.empty((n, 3)), []
    room = room or max(1, n * each.most_bins)
    done = 0
    while done < n:
        rest = slice(done, n)
        hits = Hits(objects[rest], points[rest], np.full((room, 2), np.nan))
        shown_rest = np.zeros(n - done, np.int64) if shown is None else shown[rest]
        samples, written = each.cast(gaze[rest], poses[rest], shown_rest, np.arange(done, n, dtype=float), hits)
        rows.append(hits.bins[:written])
        done += samples
    return objects, points, np.vstack([*rows, np.empty((0, 2))])


def random_gaze(n: int, seed: int, *, half_arena: float = 11.5) -> Any:
    """Pixels anywhere on the screen, poses anywhere in the arena, also inside pillars."""
    random = np.random.default_rng(seed)
    poses = random.uniform((-half_arena, -half_arena, -360), (half_arena, half_arena, 720), (n, 3))
    return random.uniform((0, 0), camera.SCREEN_PX, (n, 2)), poses

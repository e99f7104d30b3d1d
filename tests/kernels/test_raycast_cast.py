"""The raycast against a brute-force twin, and what must not change its result."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raycast_twins import cast, caster, nearest_boxes, random_gaze

from kernels.gaze.raycast import NOTHING, Caster, Hits, Scene, disc
from raypipe.stages import camera
from raypipe.stages.bins import kernel_scene
from raypipe.stages.raycast import kernel_view
from raypipe.stages.scene import boxes

HERE = Path(__file__).parent


@pytest.mark.parametrize("revision", ["A", "C"])
def test_every_ray_hits_what_brute_force_says(revision):
    gaze, poses = random_gaze(100_000, 1)
    origins, directions = camera.rays(gaze, poses)
    nearest, distance = nearest_boxes(origins, directions, revision)
    objects, points, _ = cast(caster(revision), gaze, poses)
    np.testing.assert_array_equal(objects, nearest)
    assert len(set(nearest.tolist())) == 48  # nothing of the scene is left out
    np.testing.assert_allclose(points, origins + distance[:, None] * directions, atol=1e-9)


@pytest.mark.parametrize("heading", [0.0, 90.0, 180.0, 270.0, -90.0, 360.0, 3690.0])
def test_rays_along_the_axes(heading):
    poses = np.array([[x, z, heading] for x in (0, 7.45, -7.55, 10) for z in (0, 2.45, -7.45, 10)], float)
    gaze = np.tile([960.0, 333.0], (len(poses), 1))
    objects, points, _ = cast(caster(), gaze, poses)
    nearest, _ = nearest_boxes(*camera.rays(gaze, poses), "A")
    assert (objects >= 0).all()
    on_an_edge = np.isin(poses[:, 0], (7.45, -7.55)) | np.isin(poses[:, 1], (2.45, -7.45))
    np.testing.assert_array_equal(objects[~on_an_edge], nearest[~on_an_edge])
    assert np.isfinite(points).all()


def test_no_gaze_no_pose_no_hit():
    gaze = np.array([[np.nan, 540], [960, np.nan], [960, 540], [960, 540], [960, 540]])
    poses = np.array([[0, 0, 0], [0, 0, 0], [np.nan, 0, 0], [0, np.nan, 0], [0, 0, np.nan]], float)
    objects, points, bins = cast(caster(radius=20), gaze, poses)
    assert (objects == NOTHING).all() and np.isnan(points).all() and not len(bins)


def test_a_gaze_out_of_the_arena_hits_nothing():
    objects, points, bins = cast(caster(), np.array([[960.0, -2000.0]]), np.array([[0.0, 40.0, 0.0]]))
    assert objects.tolist() == [NOTHING] and np.isnan(points).all() and not len(bins)


def test_the_bins_of_a_disc_are_those_of_its_rays_one_by_one_each_once_in_their_order():
    gaze, poses = random_gaze(300, 2)
    for radius in (1.0, 20.0, 60.0):
        offsets = disc(radius, 220.0)
        singles = (gaze[:, None] + offsets).reshape(-1, 2)
        objects, points, rows = cast(caster(), singles, np.repeat(poses, len(offsets), axis=0))
        samples = rows[:, 0] // len(offsets)
        expected = list(dict.fromkeys(zip(samples.tolist(), rows[:, 1].tolist(), strict=True)))
        disc_objects, disc_points, disc_rows = cast(caster(radius=radius), gaze, poses)
        assert [tuple(row) for row in disc_rows.tolist()] == expected
        np.testing.assert_array_equal(disc_objects, objects[:: len(offsets)])
        np.testing.assert_array_equal(disc_points, points[:: len(offsets)])


def test_the_result_does_not_depend_on_the_samples_before_or_on_the_room():
    gaze, poses = random_gaze(500, 3)
    shown = np.arange(500) % 3
    whole = cast(caster(radius=20), gaze, poses, shown)
    cut = cast(caster(radius=20), gaze, poses, shown, room=40)
    turned = cast(caster(radius=20), gaze[::-1], poses[::-1], shown[::-1])
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(whole[0], turned[0][::-1])
    np.testing.assert_array_equal(whole[1], turned[1][::-1])


@pytest.mark.parametrize("other", ["wall_12", "wall_13"])  # of the same group, and of a later one
def test_of_two_boxes_in_one_place_the_first_is_hit_whatever_was_hit_before(other):
    scene = kernel_scene("A")
    table = boxes("A")
    first, last = table.names.index("wall_07"), table.names.index(other)
    bounds, groups, group = scene.bounds.copy(), scene.groups.copy(), table.groups[last]
    bounds[last] = bounds[first]
    bounds[first, 1] = 2.5  # below that there is only the other
    groups[group, :3] = np.minimum(groups[group, :3], bounds[last, :3])
    groups[group, 3:] = np.maximum(groups[group, 3:], bounds[last, 3:])
    twice = Caster(Scene(bounds, groups, scene.first, scene.grids, scene.edges), kernel_view(), disc(0, 1))
    poses = np.tile((-12.0, 10.0, 0.0), (4, 1))  # before the first wall of the north side
    objects, _, _ = cast(twice, np.array([[960.0, y] for y in (0, 540, 0, 540)]), poses)
    assert objects.tolist() == [first, last, first, last]


def test_cue_and_hint_hang_before_everything_that_is_not_nearer():
    pose = np.array([[0.0, 0.0, 33.0]] * 8)
    half = 1080 / 2 / np.tan(np.radians(30)) / 0.5  # px of a metre, half a metre ahead
    cue_x, cue_y, hint_x = 0.2 * half, 0.1 * half, 0.1 * half
    gaze = np.array(
        [
            (960 + cue_x - 1, 540 - cue_y + 1), (960 + cue_x + 1, 540), (960, 540 + cue_y - 1), (960, 540 + cue_y + 1),
            (960 - hint_x + 1, 1), (960 - hint_x - 1, 1), (960, 0.1 * half - 1), (960, 0.1 * half + 1),
        ]
    )  # fmt: skip
    shown = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    objects, points, bins = cast(caster(), gaze, pose, shown)
    assert (objects - 48).clip(-1).tolist() == [0, -1, 0, -1, 1, -1, 1, -1]
    assert bins[:, 1][np.isin(bins[:, 0], (0, 2))].tolist() == [1, 1]
    assert bins[:, 1][np.isin(bins[:, 0], (4, 6))].tolist() == [2, 2]
    # The image stands half a metre ahead, across the line of sight.
    ahead = camera.rays([[960.0, 540.0]], pose[0])[1][0]
    np.testing.assert_allclose((points[[0, 2, 4, 6]] - camera.eye(pose[0])) @ ahead, 0.5, atol=1e-12)
    # Nothing is shown: the same pixels look past.
    assert (cast(caster(), gaze, pose)[0] < 48).all()


def test_a_wall_nearer_than_the_cue_hides_it():
    north = 12.58
    poses = np.array([[10.0, north - 0.4, 0.0], [10.0, north - 0.6, 0.0]])
    objects, _, _ = cast(caster(), np.full((2, 2), (960.0, 540.0)), poses, np.array([1, 1]))
    assert boxes("A").names[objects[0]].startswith("wall_")
    assert objects[1] == 48


def test_the_disc():
    assert [len(disc(radius, 220.0)) for radius in (0, 1, 20, 50, 100)] == [1, 2, 28, 173, 692]
    offsets = disc(20.0, 220.0)
    i = np.arange(28)
    r, angle = 20 * np.sqrt(i / 27), 0.618 * 2 * np.pi * i
    np.testing.assert_allclose(offsets, np.column_stack([r * np.cos(angle), -r * np.sin(angle)]), atol=1e-12)
    assert disc(0.0, 220.0).tolist() == [[0.0, 0.0]]


def test_what_does_not_fit_is_refused():
    each = caster(radius=20)
    gaze, poses = random_gaze(3, 4)
    hits = Hits(np.empty(3, np.int32), np.empty((3, 3)), np.empty((27, 2)))
    with pytest.raises(ValueError, match="room for 27"):
        each.cast(gaze, poses, np.zeros(3, np.int64), np.zeros(3), hits)
    with pytest.raises(ValueError, match="3 samples"):
        each.cast(gaze, poses[:2], np.zeros(3, np.int64), np.zeros(3), hits)
    with pytest.raises(ValueError, match="2 images"):
        each.cast(gaze, poses, np.full(3, 3), np.zeros(3), hits)
    scene = kernel_scene("A")
    with pytest.raises(ValueError, match="do not fit"):
        Caster(Scene(scene.bounds[1:], scene.groups, scene.first, scene.grids, scene.edges), kernel_view(), disc(0, 1))


def test_every_cpu_gives_the_same_bits(tmp_path):
    cpus = [{}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {"NUMBA_CPU_NAME": "haswell"}]
    cpus[2]["NUMBA_CPU_FEATURES"] = "+avx,+avx2,+fma,+sse4.2"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "RAYPIPE_", "XDG_"))}
    base = {**kept, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}", "RAYPIPE_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(HERE / "raycast_digest.py")]
    runs = [subprocess.run(command, env={**base, **cpu}, capture_output=True, text=True, check=True) for cpu in cpus]
    assert len({run.stdout for run in runs}) == 1
    assert len(runs[0].stdout) == 64


def test_who_filters_does_not_compile_the_raycast():
    command = "import kernels.compile as c, kernels; print([k.dispatcher.__module__ for k in c.DECLARED])"
    run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert "raycast" not in run.stdout and "rows" not in run.stdout

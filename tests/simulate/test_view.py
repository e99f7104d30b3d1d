"""The simulated view is Unity's camera, and what it shows is what stands in front."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.simulate.sight import NOTHING, Boxes, first_hit, image_rectangles, scene_boxes
from raypipe.simulate.view import Poses, project, rays
from raypipe.stages import camera

SCENES = {revision: scene_boxes(revision) for revision in ("A", "C")}
inside_maze = st.floats(-12, 12)
headings = st.floats(0, 360)


def pose(x: float, z: float, heading: float) -> Poses:
    return Poses(np.array([x]), np.array([z]), np.array([heading]))


def test_the_middle_of_the_screen_is_where_unity_says() -> None:
    origins, directions = rays(np.array([[960.0, 540.0]]), pose(0, -10, 0))
    assert origins[0] == pytest.approx((0, 1.7876, -9.7066), abs=1e-4)
    assert directions[0] == pytest.approx((0, -0.2079, 0.9781), abs=1e-4)
    _, left_top = rays(np.array([[0.0, 0.0]]), pose(0, -10, 90))
    assert left_top[0] == pytest.approx((1.0982, 0.3568, 1.0264), abs=1e-4)  # ahead is +x, left is +z


@given(inside_maze, inside_maze, headings, st.floats(-200, 2100), st.floats(-200, 1300), st.floats(0.01, 30))
def test_a_point_on_a_ray_is_shown_where_the_ray_began(
    x: float, z: float, heading: float, px: float, py: float, far: float
) -> None:
    pixel, stand = np.array([[px, py]]), pose(x, z, heading)
    origins, directions = rays(pixel, stand)
    assert project(origins + far * directions, stand) == pytest.approx(pixel, abs=1e-5)
    assert np.all(np.isnan(project(stand.eye - directions, stand))), "behind the back"


@given(inside_maze, inside_maze, headings, st.floats(0, 1920), st.floats(0, 1080))
def test_the_casters_camera_is_the_same(x: float, z: float, heading: float, px: float, py: float) -> None:
    origins, directions = rays(np.array([[px, py]]), pose(x, z, heading))
    expected_origins, expected_directions = camera.rays([[px, py]], [x, z, heading])
    assert origins == pytest.approx(expected_origins, abs=1e-9)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    assert directions / lengths == pytest.approx(expected_directions, abs=1e-9)


def test_images_hide_what_the_caster_thinks_they_hide() -> None:
    centres = np.array([camera.CUE_CENTRE_M, camera.HINT_CENTRE_M])
    poses = np.array([[3.0, -10.0, 77.0], [3.0, -10.0, 77.0]])
    middles = project(camera.image_centres(poses, centres), Poses(*poses.T))
    cue, hint = image_rectangles()
    assert np.array([cue.mean(axis=0), hint.mean(axis=0)]) == pytest.approx(middles)
    # 0.4 m half a metre ahead, of a view that is 2 tan 30 degrees high at 1 m.
    px_per_m = 1080 / (2 * np.tan(np.pi / 6)) / 0.5
    assert cue[1] - cue[0] == pytest.approx([0.4 * px_per_m, 0.2 * px_per_m])
    assert hint[1] - hint[0] == pytest.approx([0.2 * px_per_m, 0.1 * px_per_m])


def face_by_face(boxes: Boxes, origin: np.ndarray, direction: np.ndarray) -> tuple[int, float]:
    """Meet every face of every box as a rectangle in a plane; the nearest one counts."""
    found, nearest = NOTHING, np.inf
    for number, (low, high) in enumerate(zip(boxes.lows, boxes.highs, strict=True)):
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            for plane in {low[axis], high[axis]}:
                far = (plane - origin[axis]) / direction[axis] if direction[axis] else np.inf
                if not 0 < far < nearest:
                    continue
                point = origin + far * direction
                if np.all((point[others] >= low[others]) & (point[others] <= high[others])):
                    found, nearest = number, far
    return found, nearest


@pytest.mark.parametrize("revision", SCENES)
def test_the_first_object_is_the_one_whose_face_is_nearest(revision: str) -> None:
    boxes, random = SCENES[revision], np.random.default_rng(3)
    n = 600
    # From the corridors, where no box is around the camera.
    along, across = random.uniform(-11, 11, n), random.choice([-10.0, 0.0, 10.0], n)
    stands = Poses(*np.where(random.uniform(size=n) < 0.5, [along, across], [across, along]), random.uniform(0, 360, n))
    origins, directions = rays(random.uniform((0, 0), (1920, 1080), (n, 2)), stands)
    found, distance = first_hit(boxes, origins, directions)
    for row in range(n):
        expected, far = face_by_face(boxes, origins[row], directions[row])
        assert distance[row] == pytest.approx(far)
        if found[row] != expected:  # two walls of a side overlap
            names = {boxes.names[found[row]], boxes.names[expected]}
            assert all(name.startswith("wall_") for name in names)
    assert len(set(found.tolist())) > 35


def test_a_box_around_the_origin_is_not_seen_and_level_rays_are_no_trouble() -> None:
    boxes = Boxes(
        ("around", "ahead", "thin"),
        np.array([[-1.0, -1, -1], [2, -1, -1], [-5, 0, -5]]),
        np.array([[1.0, 1, 1], [3, 1, 1], [5, 0, 5]]),
    )
    origins = np.full((4, 3), (0, 0.5, 0))
    directions = np.array([[1.0, 0, 0], [0, 1, 0], [0, -1, 0], [-1, 0, 0]])
    found, distance = first_hit(boxes, origins, directions)
    assert found.tolist() == [1, NOTHING, 2, NOTHING]
    assert distance.tolist() == [2, np.inf, 0.5, np.inf]

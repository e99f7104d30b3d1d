"""The scene against the positions of the lab's own files, and the camera against values worked out by hand."""

import numpy as np
import pytest

from raypipe.stages import camera, scene

BOXES_A = {
    "Ground": ((0, 0, 0), (50, 0, 50)),
    "Ceiling": ((0, 4.93, 0), (50, 0, 50)),
    "wall_01": ((-12.72, 2.5, -12.37), (0.1, 5, 5)),
    "wall_06": ((-12.72, 2.5, 12.63), (0.1, 5, 5)),
    "wall_07": ((-12.72, 2.5, 12.63), (5, 5, 0.1)),
    "wall_12": ((12.28, 2.5, 12.63), (5, 5, 0.1)),
    "wall_13": ((12.28, 2.5, 12.63), (0.1, 5, 5)),
    "wall_14": ((12.28, 2.5, 7.63), (0.1, 5, 5)),
    "wall_19": ((12.28, 2.5, -12.37), (5, 5, 0.1)),
    "wall_24": ((-12.72, 2.5, -12.37), (5, 5, 0.1)),
    "m_wall_20": ((-7.5, 1.41, 5), (0.1, 3.11, 5)),
    "m_wall_21": ((-7.5, 1.41, -5), (0.1, 3.11, 5)),
    "m_wall_8": ((-2.5, 1.41, 5), (0.1, 3.11, 5)),
    "m_wall_6": ((-2.5, 1.41, -5), (0.1, 3.11, 5)),
    "m_wall_3": ((2.5, 1.41, 5), (0.1, 3.11, 5)),
    "m_wall_5": ((2.5, 1.41, -5), (0.1, 3.11, 5)),
    "m_wall_24": ((7.5, 1.41, 5), (0.1, 3.11, 5)),
    "m_wall_25": ((7.5, 1.41, -5), (0.1, 3.11, 5)),
    "m_wall_12": ((-5, 1.41, 7.5), (5, 3.11, 0.1)),
    "m_wall_15": ((5, 1.41, 7.5), (5, 3.11, 0.1)),
    "m_wall_7": ((-5, 1.41, 2.5), (5, 3.11, 0.1)),
    "m_wall_4": ((5, 1.41, 2.5), (5, 3.11, 0.1)),
    "m_wall_29": ((-5, 1.41, -2.5), (5, 3.11, 0.1)),
    "m_wall_26": ((5, 1.41, -2.5), (5, 3.11, 0.1)),
    "m_wall_10": ((-5, 1.41, -7.5), (5, 3.11, 0.1)),
    "m_wall_1": ((5, 1.41, -7.5), (5, 3.11, 0.1)),
    "CatPoster": ((-5, 1.5, -7.605), (2.23982, 1.4, 0)),
    "CamelPoster": ((-7.555, 1.5, 4.975), (0, 1.4, 2.23982)),
    "RabitPoster": ((7.555, 1.5, -4.9623566), (0, 1.4, 2.23982)),
    "DonkeyPoster": ((5.168, 1.5, 7.555), (2.23982, 1.4, 0)),
    "CrocodilePoster": ((5.021, 1.5, 2.395), (2.23982, 1.4, 0)),
    "PigPoster": ((-4.99, 1.5, -2.445), (2.23982, 1.4, 0)),
}
POSE = (0.0, -10.0, 0.0)


def test_boxes_of_revision_a_stand_where_the_scene_file_puts_them() -> None:
    table = scene.boxes("A")
    for name, (centre, size) in BOXES_A.items():
        row = table.names.index(name)
        np.testing.assert_allclose(table.centres[row], centre, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(table.sizes[row], size, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("revision", ["A", "C"])
def test_every_revision_has_48_boxes_of_distinct_names_in_groups_that_follow_each_other(
    revision: scene.Revision,
) -> None:
    table = scene.boxes(revision)
    assert len(set(table.names)) == len(table.names) == len(table.centres) == len(table.facing) == 48
    assert set(np.diff(table.groups)) == {0, 1}
    assert table.groups[0] == 0 and table.groups[-1] == 9


def test_the_walls_of_revision_c_are_where_its_hits_were_seen() -> None:
    table = scene.boxes("C")
    at = dict(zip(table.names, table.centres, strict=True))
    assert at["wall_01"][0] == -12.5 and at["wall_13"][0] == 12.5
    assert at["PosXGreenWall_GreenPillar"].tolist() == [7.4, 1.41, -4.95]
    assert at["NegXGreenWall_GreenPillar"].tolist() == [2.5, 1.41, -4.95]
    assert at["CatPoster"].tolist() == [-5.0, 1.5, -7.455]


@pytest.mark.parametrize(("name", "pivot"), [("CatPoster", (-5, 1.5, -7.6)), ("CrocodilePoster", (5.021, 1.5, 2.4))])
def test_two_posters_hang_in_front_of_their_pivot(name: str, pivot: tuple[float, float, float]) -> None:
    table = scene.boxes("A")
    np.testing.assert_allclose(table.pivots[table.names.index(name)], pivot, atol=1e-9)


def test_the_ray_through_the_middle_of_the_screen() -> None:
    origins, directions = camera.rays([[960.0, 540.0]], POSE)
    np.testing.assert_allclose(directions[0], (0, -0.2079, 0.9781), atol=5e-5)
    np.testing.assert_allclose(origins[0], (0, 1.7876, -9.7066), atol=5e-5)


def test_the_edges_of_the_screen_are_the_edges_of_the_field_of_view() -> None:
    _, directions = camera.rays([[960, 0], [960, 1080], [0, 540], [1920, 540]], POSE)
    elevation = np.degrees(np.arcsin(directions[:2, 1]))
    np.testing.assert_allclose(elevation, (30 - 12, -30 - 12), atol=1e-9)
    view = np.degrees(np.arccos(directions[2] @ directions[3]))
    np.testing.assert_allclose(view, 91.49, atol=5e-3)
    assert directions[3, 0] > 0 > directions[2, 0]


def test_heading_90_looks_east() -> None:
    _, directions = camera.rays([[960.0, 540.0]], (0.0, 0.0, 90.0))
    np.testing.assert_allclose(directions[0], (0.9781, -0.2079, 0), atol=5e-5)


def test_a_point_on_a_ray_is_shown_by_its_pixel() -> None:
    random = np.random.default_rng(3)
    pixels = random.uniform((0, 0), (1920, 1080), (500, 2))
    poses = random.uniform((-12, -12, -720), (12, 12, 720), (500, 3))
    origins, directions = camera.rays(pixels, poses)
    points = origins + random.uniform(0.001, 30, (500, 1)) * directions
    np.testing.assert_allclose(camera.project(points, poses), pixels, atol=1e-6)


def test_points_behind_or_beside_the_screen_have_no_pixel() -> None:
    behind = camera.eye(POSE) - (0, 0, 1)
    assert np.isnan(camera.project([behind, (30.0, 1.85, -9.0)], POSE)).all()


def test_a_pose_holds_from_the_end_of_its_frame_to_the_end_of_the_next() -> None:
    unity_time = np.array([0.0, 1.0, 2.0, 3.0, 4.0])  # events of rows 0 to 3 at 1, 2, 3, 4
    seconds = [-1.0, 1.0, 1.001, 2.0, 2.001, 3.0, 3.5, 4.0, 4.001, 99.0]
    assert camera.pose_rows(unity_time, seconds).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]

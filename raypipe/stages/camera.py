"""The animal's view of the maze: which ray a pixel of the screen looks along, and which pixel shows a point.

Unity's perspective camera of the lab's VirtualMaze (Persist.prefab): 1.85 m above the ground, 12 degrees down, vertical
field of view 60 degrees, rays begin on the near plane. A pixel is EyeLink's: x to the right, y down, from the top left
corner; heading 0 is +z, 90 is +x. A pose is x, z (m) and heading (degrees).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCREEN_PX = (1920.0, 1080.0)
ROBOT_Y_M = 0.5
EYE_Y_M = 1.85
NEAR_M = 0.3
# As numbers, because a sine from the C library may differ in its last bit from one CPU to the next.
SIN_PITCH = 0.20791169081775934
COS_PITCH = 0.9781476007338057
TAN_HALF_VIEW = 0.5773502691896257
IMAGE_M = 0.5
"""Cue and hint hang this far in front of the camera and turn with it."""
CUE_SIZE_M = (0.4, 0.2)
HINT_SIZE_M = (0.2, 0.1)
# The sources do not say where the images are: the cue is put in the middle of the view, the hint at its upper edge.
CUE_CENTRE_M = (0.0, 0.0)
HINT_CENTRE_M = (0.0, IMAGE_M * TAN_HALF_VIEW - HINT_SIZE_M[1] / 2)


def rays(pixels: ArrayLike, poses: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Look along pixels.

    Args:
        pixels: (n, 2) px; beyond the screen is allowed.
        poses: (n, 3) or (3,): x, z, heading of the robot.

    Returns:
        Where the rays begin and their directions of length 1, float64 (n, 3) each, x, y, z; NaN where a pixel is.
    """
    px, pose = np.atleast_2d(np.asarray(pixels, np.float64)), np.asarray(poses, np.float64)
    width, height = SCREEN_PX
    across = (2 * px[:, 0] / width - 1) * (width / height) * TAN_HALF_VIEW
    up = (1 - 2 * px[:, 1] / height) * TAN_HALF_VIEW
    return _in_world(np.column_stack([across, up, np.ones(len(px))]), pose)


def project(points: ArrayLike, poses: ArrayLike) -> NDArray[np.float64]:
    """Find the pixels that show points (n, 3) m, float64 (n, 2); NaN where a point is not on the screen.

    A point nearer than the near plane is not shown; whether something stands in front of it is not asked.
    """
    pose = np.asarray(poses, np.float64)
    away = np.atleast_2d(np.asarray(points, np.float64)) - eye(pose)
    sine, cosine = _turn(pose)
    across = away[:, 0] * cosine - away[:, 2] * sine
    forward = away[:, 0] * sine + away[:, 2] * cosine
    depth = forward * COS_PITCH - away[:, 1] * SIN_PITCH
    up = forward * SIN_PITCH + away[:, 1] * COS_PITCH
    width, height = SCREEN_PX
    depth = np.where(depth >= NEAR_M, depth, np.nan)
    x = (across / depth / TAN_HALF_VIEW / (width / height) + 1) * width / 2
    y = (1 - up / depth / TAN_HALF_VIEW) * height / 2
    pixels = np.column_stack([x, y])
    pixels[~is_on_screen(pixels)] = np.nan
    return pixels


def eye(poses: ArrayLike) -> NDArray[np.float64]:
    """Tell where the camera is, float64 (n, 3) or (3,)."""
    pose = np.asarray(poses, np.float64)
    return np.stack([pose[..., 0], np.full(pose.shape[:-1], EYE_Y_M), pose[..., 1]], axis=-1)


def is_on_screen(pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which pixels (n, 2) are on the screen, edges included; bool (n,), NaN is not."""
    x, y = pixels.T
    width, height = SCREEN_PX
    inside: NDArray[np.bool_] = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    return inside


def pose_rows(unity_time: NDArray[np.float64], seconds: ArrayLike) -> NDArray[np.intp]:
    """Find the rows of unityData whose pose holds at `seconds` (n,), on the clock of `unity_time` (rows + 1,).

    Row r holds for unityTime[r + 1] < t <= unityTime[r + 2]: the event on row r is at unityTime[r + 1], and what is
    drawn then stays until the next frame. The first and the last row hold beyond the ends.
    """
    found: NDArray[np.intp] = np.searchsorted(unity_time, np.asarray(seconds, np.float64), side="left") - 2
    return np.clip(found, 0, len(unity_time) - 2)


def image_centres(poses: NDArray[np.float64], centres_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell where the middles of images are that hang `centres_m` (n, 2), right and up, off the line of sight; (n, 3)."""
    local = np.column_stack([centres_m, np.full(len(centres_m), IMAGE_M)])
    return eye(poses) + _rotated(local, poses)


def _in_world(local: NDArray[np.float64], pose: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    turned = _rotated(local, pose)
    origins = eye(pose) + NEAR_M * turned
    return origins, turned / np.linalg.norm(turned, axis=1, keepdims=True)


def _rotated(local: NDArray[np.float64], pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn what is right, up and forward of the camera (n, 3) into the world's axes."""
    across, up, forward = local.T
    sine, cosine = _turn(pose)
    level = up * SIN_PITCH + forward * COS_PITCH
    return np.column_stack(
        [across * cosine + level * sine, up * COS_PITCH - forward * SIN_PITCH, -across * sine + level * cosine]
    )


def _turn(pose: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    heading = np.radians(pose[..., 2])
    return np.sin(heading), np.cos(heading)

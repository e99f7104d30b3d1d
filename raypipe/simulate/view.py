"""What the animal's camera shows: points of the maze as pixels, and pixels as rays.

Written from the facts of the lab's VirtualMaze, apart from the caster's own camera, so that each can judge the other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SCREEN_PX = np.array([1920.0, 1080.0])
EYE_HEIGHT = 1.85
PITCH_DOWN_DEG = 12.0
VERTICAL_VIEW_DEG = 60.0
NEAR = 0.3  # rays begin on the near plane
DIGITS = 12  # of sines and cosines, so that the last digit of this machine's does not matter

HALF_HEIGHT = round(float(np.tan(np.radians(VERTICAL_VIEW_DEG / 2))), DIGITS)  # of the view, one unit ahead
HALF_VIEW = HALF_HEIGHT * np.array([SCREEN_PX[0] / SCREEN_PX[1], 1.0])


@dataclass(frozen=True)
class Poses:
    """Where the animal stands and looks: x, z and heading in degrees (0 is +z, 90 is +x), float64 (n,) each."""

    x: Floats
    z: Floats
    heading_deg: Floats

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> "Poses":
        return Poses(self.x[rows], self.z[rows], self.heading_deg[rows])

    @property
    def eye(self) -> Floats:
        """Position of the camera, (n, 3)."""
        return np.stack([self.x, np.full(self.x.shape, EYE_HEIGHT), self.z], axis=-1)

    @property
    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Directions of the view's right, up and ahead, (n, 3) each."""
        sin, cos = _sin_cos(self.heading_deg)
        sin_p, cos_p = (float(part) for part in _sin_cos(np.float64(PITCH_DOWN_DEG)))
        level, fall = np.zeros_like(sin), np.full_like(sin, sin_p)
        right = np.stack([cos, level, -sin], axis=-1)
        up = np.stack([sin * sin_p, level + cos_p, cos * sin_p], axis=-1)
        ahead = np.stack([sin * cos_p, -fall, cos * cos_p], axis=-1)
        return right, up, ahead


def project(points: Floats, poses: Poses) -> Floats:
    """Return the pixels (n, 2) of `points` (n, 3), x to the right and y down; NaN of what lies behind the near plane."""
    right, up, ahead = poses.axes
    away = points - poses.eye
    depth = (away * ahead).sum(axis=-1)
    depth = np.where(depth > NEAR, depth, np.nan)
    across = np.stack([(away * right).sum(axis=-1), -(away * up).sum(axis=-1)], axis=-1) / depth[..., None]
    pixels: Floats = (1 + across / HALF_VIEW) * SCREEN_PX / 2
    return pixels


def rays(pixels: Floats, poses: Poses) -> tuple[Floats, Floats]:
    """Return origins on the near plane and directions, both (n, 3), of the rays through `pixels` (n, 2)."""
    right, up, ahead = poses.axes
    across = (2 * pixels / SCREEN_PX - 1) * HALF_VIEW
    directions = across[..., :1] * right - across[..., 1:] * up + ahead
    return poses.eye + NEAR * directions, directions


def _sin_cos(degrees: Floats | np.float64) -> tuple[Floats, Floats]:
    radians = np.asarray(np.radians(degrees), np.float64)
    sines: Floats = np.sin(radians)
    cosines: Floats = np.cos(radians)
    return sines.round(DIGITS), cosines.round(DIGITS)

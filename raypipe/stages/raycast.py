"""Raycast: what in the maze the animal looked at, sample by sample, as the lab's VirtualMaze writes it.

`unityfile_eyelink.csv` has a row a sample (see `ROW`), `binData.hdf` a row for every bin that a disc around the gaze
touches. Deviations from VirtualMaze, all of them mending something: times are rounded and not cut; an event stands on
the row of its own sample and F on the last sample of its Unity frame; each sample has the pose of the frame that its
time belongs to, without the exceptions at the first and after the last trigger; all rays of the disc are cast on the
scene itself; samples of a doubtful trial are ignored.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.gaze.raycast import Caster, Hits, View, disc
from kernels.gaze.rows import LEADING, NUMBERS, pack_names, room_for, write_rows
from raypipe.config import Raycast
from raypipe.stages import camera
from raypipe.stages.bins import kernel_scene
from raypipe.stages.gaze import Block, gaze_session
from raypipe.stages.raycast_files import BinFile, CsvFile
from raypipe.stages.scene import boxes

ROW = (
    "SAMPLE_TYPE", "time (ms)", "object", "gaze x (px)", "gaze y (px)", "robot x", "robot y", "robot z", "heading (deg)",
    "hit x", "hit y", "hit z", "pivot x", "pivot y", "pivot z", "offset right", "offset up", "flags",
)  # fmt: skip
"""The fields of a row. Of an ignored sample 10 to 17 are empty. Flags: F at the end of a Unity frame, then marker words."""
IGNORED = "Sample Ignored"
BLOCK_SAMPLES = 50_000
BIN_ROWS = 2**18


def cast_session(
    unity: Mapping[str, Any], eyelink: Mapping[str, Any], settings: Raycast, csv: Path, bins: Path
) -> tuple[str, ...]:
    """Cast the gaze of an aligned session, and write both files, whole and synced.

    `unity` and `eyelink` are the fields of the aligned objects. Returns notes for the user. Raises FormatError if the
    objects do not belong together, WriteFailed if a file cannot be written.
    """
    session = gaze_session(unity, eyelink)
    caster = SessionCaster(settings)
    no_gaze = doubtful = 0
    with CsvFile(csv) as csv_file, BinFile(bins) as bin_file:
        for start in range(session.samples.start, session.samples.stop, BLOCK_SAMPLES):
            block = session.block(range(start, min(start + BLOCK_SAMPLES, session.samples.stop)))
            objects, points = caster.cast(block, bin_file)
            csv_file.append(caster.rows(block, objects, points))
            no_gaze += int(np.count_nonzero(~camera.is_on_screen(block.gaze)))
            doubtful += int(np.count_nonzero(block.is_doubtful))
    notes = list(session.notes)
    if no_gaze == len(session.samples):
        notes.append(f"none of the {no_gaze} samples has a gaze on the screen: nothing was hit")
    if doubtful:
        trials = ", ".join(str(trial) for trial in session.trials[session.doubtful])
        notes.append(f"{doubtful} samples of doubtful trials were ignored (trials {trials})")
    return tuple(notes)


class SessionCaster:
    """The scene, the camera and the disc of one setting, and the room that the blocks of a session share."""

    def __init__(self, settings: Raycast) -> None:
        table = boxes(settings.scene)
        self._caster = Caster(kernel_scene(settings.scene), kernel_view(), disc(settings.radius, settings.density))
        self._labels = pack_names((*table.names, "CueImage", "HintImage", IGNORED))
        self._pivots = np.vstack([table.pivots, np.full((2, 3), np.nan)])
        self._right = np.array([_RIGHT_AND_UP[facing][0] for facing in table.facing])
        self._up = np.array([_RIGHT_AND_UP[facing][1] for facing in table.facing])
        self._bins = np.empty((max(BIN_ROWS, self._caster.most_bins), 2))
        self._text = np.empty(room_for(BLOCK_SAMPLES, self._labels), np.uint8)

    def cast(self, block: Block, bin_file: BinFile) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Find which object each sample hits, int32 (n,), -1 for none, and where, (n, 3); append the bins."""
        n = len(block.gaze)
        gaze = np.where(block.is_doubtful[:, None], np.nan, block.gaze)
        times = block.milliseconds.astype(np.float64)
        objects, points = np.empty(n, np.int32), np.empty((n, 3))
        done = 0
        while done < n:
            rest = slice(done, n)
            hits = Hits(objects[rest], points[rest], self._bins)
            cast, rows = self._caster.cast(gaze[rest], block.poses[rest], block.shown[rest], times[rest], hits)
            bin_file.append(self._bins[:rows])
            done += cast
        objects[~camera.is_on_screen(gaze)] = -1  # the disc of a gaze beyond the screen has bins, the gaze no object
        return objects, points

    def rows(self, block: Block, objects: NDArray[np.int32], points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Write the rows of a block; they stay until the next block's."""
        numbers = np.empty((len(objects), NUMBERS), np.float32)
        numbers[:, :2] = block.gaze
        numbers[:, 2] = block.poses[:, 0]
        numbers[:, 3] = camera.ROBOT_Y_M
        numbers[:, 4] = block.poses[:, 1]
        numbers[:, 5] = block.poses[:, 2] % 360
        numbers[numbers[:, 5] == 360, 5] = 0  # -1e-9 % 360
        numbers[:, LEADING : LEADING + 3] = points
        pivots = self._pivots[objects]
        right, up = self._offsets(points - pivots, objects)
        is_image = objects >= len(self._right)
        if is_image.any():
            poses = block.poses[is_image]
            pivots[is_image] = camera.image_centres(poses, _IMAGE_CENTRES[objects[is_image] - len(self._right)])
            away = points[is_image] - pivots[is_image]
            right[is_image], up[is_image] = _across(away, poses[:, 2]), away[:, 1]
        numbers[:, LEADING + 3 : LEADING + 6] = pivots
        numbers[:, LEADING + 6], numbers[:, LEADING + 7] = right, up
        length = write_rows(
            block.milliseconds, self._labels, objects, numbers, block.codes, block.is_frame_end, self._text
        )
        return self._text[:length]

    def _offsets(
        self, away: NDArray[np.float64], objects: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        box = np.clip(objects, 0, len(self._right) - 1)
        return np.einsum("ij,ij->i", away, self._right[box]), np.einsum("ij,ij->i", away, self._up[box])


def kernel_view() -> View:
    """Put camera, cue and hint into the tables of the kernel."""
    half = np.array([camera.CUE_SIZE_M, camera.HINT_SIZE_M]) / 2
    low, high = _IMAGE_CENTRES - half, _IMAGE_CENTRES + half
    return View(
        camera.SCREEN_PX,
        camera.TAN_HALF_VIEW,
        (camera.SIN_PITCH, camera.COS_PITCH),
        camera.EYE_Y_M,
        camera.NEAR_M,
        camera.IMAGE_M,
        np.column_stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]]),
    )


_IMAGE_CENTRES = np.array([camera.CUE_CENTRE_M, camera.HINT_CENTRE_M])
# What is to the right and what is up for who looks at a face that looks along an axis; of ground and ceiling, up is +z
# and -z.
_RIGHT_AND_UP: Mapping[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "+x": ((0, 0, 1), (0, 1, 0)),
    "-x": ((0, 0, -1), (0, 1, 0)),
    "+z": ((-1, 0, 0), (0, 1, 0)),
    "-z": ((1, 0, 0), (0, 1, 0)),
    "+y": ((1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, 0, -1)),
}


def _across(away: NDArray[np.float64], heading_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure to the right in the plane of the axis that an image, which faces the animal, looks along most."""
    quarter = np.rint(heading_deg / 90).astype(np.int64) % 4  # the animal looks along +z, +x, -z, -x
    across: NDArray[np.float64] = np.select(
        [quarter == 0, quarter == 1, quarter == 2], [away[:, 0], -away[:, 2], -away[:, 0]], away[:, 2]
    )
    return across

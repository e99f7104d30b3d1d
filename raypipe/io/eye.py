"""What an eye tracker recorded, whichever kind of file it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Eye = Literal["left", "right"]
Kind = Literal["fixation", "saccade", "blink"]


@dataclass(frozen=True)
class EyeEvents:
    """All events of one kind and of all eyes, in the order of their start.

    `start_ms`, `end_ms` float64 (n,), tracker time of the first and of the last sample; `is_right` bool (n,);
    `values` float64 (n, k): of fixations mean x, y (px) and pupil, of saccades start x, y, end x, y (px), amplitude
    (deg) and peak velocity (deg/s), of blinks nothing (k = 0). NaN: the tracker did not say.
    """

    start_ms: NDArray[np.float64]
    end_ms: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class EyeRecording:
    """One eye file.

    `ms` float64 (n,): the tracker's own time of every sample, never re-timed; `gaze_px` float64 (eyes, 2, n): x and y
    of each of `eyes`, NaN where the tracker had none (off the screen stays as it is); `blocks` int64 (b, 2): first
    sample of every recording block and the one behind its last; `message_ms` float64 (m,) and `message_texts` in the
    order of their time; `notes`: what a user should be told about the reading.
    """

    path: Path
    source: Literal["EyeLink EDF", "EyeLink text", "European EDF"]
    sampling_rate_hz: float
    eyes: tuple[Eye, ...]
    ms: NDArray[np.float64]
    gaze_px: NDArray[np.float64]
    blocks: NDArray[np.int64]
    events: dict[Kind, EyeEvents]
    message_ms: NDArray[np.float64]
    message_texts: tuple[str, ...]
    notes: tuple[str, ...] = ()

"""What the animal could see at every moment of an eye recording: its poses on the tracker's clock, cue and hint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.behaviour import Walk
from raypipe.simulate.clocks import Clocks
from raypipe.simulate.trials import Navigation
from raypipe.simulate.view import Poses

DOUBT_FRAMES = 2  # about the moment when an image appears or goes
CUE, HINT = 0, 1


@dataclass(frozen=True)
class Outlook:
    """Frames in the order of their time, (frames,) each; frame f holds for `start_ms[f]` < t <= `start_ms[f + 1]`.

    `is_known`: Unity's log tells the pose; `may_show`, `must_show` bool (frames, 2): cue and hint are perhaps, or
    without doubt, in front of the camera. The first frame begins before all times and is not known.
    """

    start_ms: npt.NDArray[np.float64]
    poses: Poses
    is_known: npt.NDArray[np.bool_]
    may_show: npt.NDArray[np.bool_]
    must_show: npt.NDArray[np.bool_]


def session_outlook(walk: Walk, navigation: Navigation, clocks: Clocks, incomplete: Sequence[int]) -> Outlook:
    """Tell what can be seen in a session. About the images of `incomplete` trials nothing is certain."""
    n = walk.seconds.size
    is_known = np.arange(n) < n - 1  # how long the last pose held, the log does not say
    may_show, must_show = np.zeros((n, 2), np.bool_), np.zeros((n, 2), np.bool_)
    ticks = np.array([trial.ticks for trial in navigation.trials])
    seconds = np.array([[clocks.unity_seconds(t) for t in row] for row in ticks.tolist()])
    rows = np.searchsorted(walk.seconds, seconds - 1e-9)
    for trial, (cue_on, cue_off, end) in enumerate(rows.tolist()):
        if trial in incomplete:
            after = rows[trial + 1, 0] if trial + 1 < len(rows) else n
            may_show[max(0, cue_on - DOUBT_FRAMES) : after + DOUBT_FRAMES] = True
            continue
        for image, (first, last) in ((CUE, (cue_on, cue_off)), (HINT, (cue_off, end))):
            may_show[max(0, first - DOUBT_FRAMES) : last + DOUBT_FRAMES, image] = True
            must_show[first + DOUBT_FRAMES : last - DOUBT_FRAMES, image] = True
    return Outlook(
        clocks.eye_ms_of_unity(walk.seconds), Poses(walk.x, walk.z, walk.heading_deg), is_known, may_show, must_show
    )


def joined(outlooks: Sequence[Outlook]) -> Outlook:
    """Put the sessions of a file, in the order of their time, one after the other."""
    nowhere = np.zeros((1, 2), np.bool_)
    return Outlook(
        np.concatenate([[-np.inf], *(o.start_ms for o in outlooks)]),
        Poses(
            np.concatenate([[0.0], *(o.poses.x for o in outlooks)]),
            np.concatenate([[0.0], *(o.poses.z for o in outlooks)]),
            np.concatenate([[0.0], *(o.poses.heading_deg for o in outlooks)]),
        ),
        np.concatenate([[False], *(o.is_known for o in outlooks)]),
        np.concatenate([nowhere, *(o.may_show for o in outlooks)]),
        np.concatenate([nowhere, *(o.must_show for o in outlooks)]),
    )


def screen_outlook() -> Outlook:
    """Tell that there is no maze, only a screen."""
    return joined(())

"""What the animal looks at: for every spell of looking a point of the maze that stays in sight all the while."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.outlook import CUE, HINT, Outlook
from raypipe.simulate.sight import Boxes, first_hit, image_rectangles
from raypipe.simulate.view import SCREEN_PX, Floats, project, rays

SCREEN_CENTRE = SCREEN_PX / 2
SPREAD = np.array([330.0, 200.0])  # standard deviation of the gaze around the centre, px
OFF_SCREEN_FRACTION = 0.03
POSTER_FRACTION = 0.5  # of the spells with a poster in sight
CUE_FRACTION, HINT_FRACTION = 0.3, 0.1  # of the spells with the image in front
SAFE_PX = 12.0  # the noise of the samples is less than that
EDGE_PX = 40.0  # distance of targets from the edge of the screen
POSTER_EDGE = 0.2  # distance of targets from the edge of a poster, Unity units
GAZES = 4  # places on the screen that are tried
SPELLS_AT_ONCE = 512

SCREEN, IMAGE = -1, -2
"""Kinds of target beside the numbers of boxes: a place on the screen whatever is seen there; cue or hint."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """One for each spell of looking: `kinds` int64 (n,), a box's number, SCREEN or IMAGE; `names` of cue or hint.

    `points` float64 (n, 3) in the maze where the kind is a box, else NaN; `pixels` float64 (n, 2) on the screen where
    it is not, else NaN.
    """

    kinds: Ints
    points: Floats
    pixels: Floats
    images: Ints


@dataclass(frozen=True)
class Spells:
    """Spells of looking, by the first and the last frame that holds during them, int64 (n,) each."""

    first: Ints
    last: Ints

    def __getitem__(self, rows: Ints) -> "Spells":
        return Spells(self.first[rows], self.last[rows])

    def frames(self) -> tuple[Ints, Ints]:
        """List (spell, frame) of all frames of all spells."""
        counts = self.last - self.first + 1
        spell = np.repeat(np.arange(counts.size), counts)
        within = np.arange(spell.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return spell, self.first[spell] + within


def choose_targets(random: np.random.Generator, boxes: Boxes, outlook: Outlook, spells: Spells) -> Targets:
    """Choose a target for each spell.

    A target in the maze is seen, unoccluded and on the screen, from all poses of the spell; and whoever takes the pose
    of the frame before or after, or looks up to `SAFE_PX` beside it, still sees the same object. Where none of a few
    candidates is such, the animal looks at a place on the screen.
    """
    starts = range(0, max(1, spells.first.size), SPELLS_AT_ONCE)
    parts = [
        _choose(random, boxes, outlook, spells[np.arange(s, min(s + SPELLS_AT_ONCE, spells.first.size))])
        for s in starts
    ]
    return Targets(*(np.concatenate([getattr(part, name) for part in parts]) for name in Targets.__annotations__))


def screen_places(random: np.random.Generator, n: int) -> Floats:
    """Choose places of the screen, and some beside it."""
    away, side = random.uniform(980, 1100, n), np.where(random.uniform(size=n) < 0.5, -1.0, 1.0)
    beside = np.stack([SCREEN_CENTRE[0] + side * away, np.full(n, SCREEN_CENTRE[1])], axis=1)
    on_it = (SCREEN_CENTRE + SPREAD * random.standard_normal((n, 2))).clip(20, SCREEN_PX - 21)
    return np.where((random.uniform(size=n) < OFF_SCREEN_FRACTION)[:, None], beside, on_it)


def _choose(random: np.random.Generator, boxes: Boxes, outlook: Outlook, spells: Spells) -> Targets:
    n = spells.first.size
    pixels = screen_places(random, n)
    targets = Targets(np.full(n, SCREEN), np.full((n, 3), np.nan), pixels, np.full(n, SCREEN))
    tries = SCREEN_CENTRE + SPREAD * random.standard_normal((n, GAZES, 2))
    prefers_poster, on_poster = random.uniform(size=n) < POSTER_FRACTION, random.uniform(size=(n, 3))
    in_image, image_chance = random.uniform(size=(n, 2)), random.uniform(size=(n, 2))
    off_screen = ~_inside(pixels, SCREEN_PX * [[0], [1]], 0)
    spell, frame = spells.frames()
    is_open = _all_of(outlook.is_known[frame - 1] & outlook.is_known[frame] & _next(outlook.is_known, frame), spell, n)
    for image, fraction in ((CUE, CUE_FRACTION), (HINT, HINT_FRACTION)):
        shown = is_open & _all_of(outlook.must_show[frame, image], spell, n) & (image_chance[:, image] < fraction)
        left_top, right_bottom = image_rectangles()[image]
        room = np.clip(right_bottom - left_top - 2 * EDGE_PX, 0, None)
        targets.pixels[shown] = (left_top + EDGE_PX + room * in_image)[shown]
        targets.kinds[shown], targets.images[shown] = IMAGE, image
        is_open &= ~shown
    open_rows = np.flatnonzero(is_open & ~off_screen)
    middle = (spells.first + spells.last) // 2
    poster_kinds, poster_points = _posters(boxes, outlook, middle, on_poster)
    gaze_kinds, gaze_points = _gazed_at(boxes, outlook, middle, tries.clip(EDGE_PX, SCREEN_PX - EDGE_PX))
    for attempt in range(-1, GAZES + 1):
        if attempt in (-1, GAZES):
            kinds, points = poster_kinds, poster_points
            turn = prefers_poster if attempt < 0 else ~prefers_poster
        else:
            kinds, points, turn = gaze_kinds[:, attempt], gaze_points[:, attempt], np.ones(n, np.bool_)
        rows = open_rows[(kinds[open_rows] >= 0) & turn[open_rows] & (targets.kinds[open_rows] == SCREEN)]
        kept = rows[_stay_in_sight(boxes, outlook, spells[rows], kinds[rows], points[rows])]
        targets.kinds[kept], targets.points[kept], targets.pixels[kept] = kinds[kept], points[kept], np.nan
    return targets


def _posters(boxes: Boxes, outlook: Outlook, frames: Ints, shares: Floats) -> tuple[Ints, Floats]:
    """Find a poster in sight for each frame, (n,), -1 if there is none, and a point on it, (n, 3)."""
    kinds, points = np.full(frames.size, SCREEN), np.full((frames.size, 3), np.nan)
    poses = outlook.poses[frames]
    posters = [number for number, name in enumerate(boxes.names) if "Poster" in name]
    for number in posters:
        size = boxes.highs[number] - boxes.lows[number]
        edge = np.where(size > 0, POSTER_EDGE, 0.0)
        spots = boxes.lows[number] + edge + (size - 2 * edge) * shares
        pixels = project(spots, poses)
        rows = np.flatnonzero(_inside(pixels, SCREEN_PX * [[0], [1]], EDGE_PX))
        seen, _ = first_hit(boxes, *rays(pixels[rows], poses[rows]))
        rows = rows[seen == number]
        kinds[rows], points[rows] = number, spots[rows]
    return kinds, points


def _gazed_at(boxes: Boxes, outlook: Outlook, frames: Ints, pixels: Floats) -> tuple[Ints, Floats]:
    """Find what is seen at `pixels` (n, k, 2): the objects (n, k) and the points (n, k, 3)."""
    n, k, _ = pixels.shape
    origins, directions = rays(pixels.reshape(-1, 2), outlook.poses[np.repeat(frames, k)])
    seen, distance = first_hit(boxes, origins, directions)
    points = origins + np.where(np.isfinite(distance), distance, 0.0)[:, None] * directions
    return seen.reshape(n, k), points.reshape(n, k, 3)


def _stay_in_sight(
    boxes: Boxes, outlook: Outlook, spells: Spells, kinds: Ints, points: Floats
) -> npt.NDArray[np.bool_]:
    """Tell which targets are safely seen from all poses of their spell, (n,)."""
    n = kinds.size
    spell, frame = spells.frames()
    poses = outlook.poses
    pixels = project(points[spell], poses[frame])
    fine = _inside(pixels, SCREEN_PX * [[0], [1]], EDGE_PX)
    for image, rectangle in enumerate(image_rectangles()):
        fine &= ~(outlook.may_show[frame, image] & _inside(pixels, rectangle, -2 * SAFE_PX))
    # What costs most is asked last, and only of those that may still be fine.
    ask = np.flatnonzero(_all_of(fine, spell, n)[spell])
    corners = SAFE_PX * np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    around = (pixels[ask, None] + corners).reshape(-1, 2)
    wanted = np.repeat(kinds[spell[ask]], len(corners))
    for step in (0, -1, 1):
        stands = np.repeat(frame[ask] + step, len(corners))
        seen, _ = first_hit(boxes, *rays(around, poses[stands]))
        fine[ask] &= (seen == wanted).reshape(-1, len(corners)).all(axis=1)
    return _all_of(fine, spell, n)


def _inside(pixels: Floats, rectangle: Floats, margin: float) -> npt.NDArray[np.bool_]:
    low, high = rectangle[0] + margin, rectangle[1] - margin
    inside: npt.NDArray[np.bool_] = ((pixels >= low) & (pixels <= high)).all(axis=-1)
    return inside


def _all_of(fine: npt.NDArray[np.bool_], spell: Ints, n: int) -> npt.NDArray[np.bool_]:
    unfit: npt.NDArray[np.bool_] = np.bincount(spell, weights=~fine, minlength=n) > 0
    return ~unfit


def _next(flags: npt.NDArray[np.bool_], frames: Ints) -> npt.NDArray[np.bool_]:
    return flags[np.minimum(frames + 1, flags.size - 1)]

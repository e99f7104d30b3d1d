"""From a clock that drifts to Ripple's: exact wherever both clocks saw the same event, and straight in between."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError

JUMP_S = 0.05
"""A clock that gains or loses more between two events has not drifted, but stood still or jumped."""


@dataclass(frozen=True, eq=False)
class ClockMap:
    """`own_s` and `ripple_s` float64 (k,), k >= 2: times of the same events, increasing on both clocks.

    `ratio` is how many seconds of Ripple's pass in one of the other clock, over the whole session, jumps left out.
    """

    own_s: NDArray[np.float64]
    ripple_s: NDArray[np.float64]
    ratio: float

    @property
    def is_identity(self) -> bool:
        """Whether these are Ripple's times already, bit for bit."""
        return np.array_equal(self.own_s, self.ripple_s)

    def __call__(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give Ripple's seconds of any times; what increases goes on increasing, and NaN stays NaN.

        Before the first event and after the last one the clock goes on at the ratio of the session.
        """
        if self.is_identity:
            return times_s.copy()
        ripple: NDArray[np.float64] = np.interp(times_s, self.own_s, self.ripple_s)
        for end, outside in ((0, times_s < self.own_s[0]), (-1, times_s > self.own_s[-1])):
            ripple[outside] = self.ripple_s[end] + (times_s[outside] - self.own_s[end]) * self.ratio
        return ripple


def clock_map(own_s: NDArray[np.float64], ripple_s: NDArray[np.float64], *, what: str) -> ClockMap:
    """Make the map. Raises FormatError, which names `what`, if there are fewer than two events or they do not increase."""
    if own_s.size < 2:
        raise FormatError(f"{what}: {own_s.size} markers have a time on both clocks, and two are needed")
    if not (np.all(np.isfinite(own_s)) and np.all(np.diff(own_s) > 0) and np.all(np.diff(ripple_s) > 0)):
        raise FormatError(f"{what}: the markers do not follow each other in time on both clocks")
    # A jump is in half of the intervals that span half of the session or in all, but in few of the short ones.
    gained = np.diff(ripple_s) - _median_rate(own_s, ripple_s, max(own_s.size // 8, 1)) * np.diff(own_s)
    jumped = np.cumsum(np.where(np.abs(gained) > JUMP_S, gained, 0))
    # Over half of the session jitter of single events does not count.
    ratio = _median_rate(own_s, ripple_s - np.append(0, jumped), own_s.size // 2)
    return ClockMap(own_s, ripple_s, ratio)


def _median_rate(own_s: NDArray[np.float64], ripple_s: NDArray[np.float64], n_between: int) -> float:
    own, ripple = (times[n_between:] - times[:-n_between] for times in (own_s, ripple_s))
    return float(np.median(ripple / own))

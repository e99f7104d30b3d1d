"""From a clock that drifts to Ripple's: exact wherever both clocks saw the same event, and straight in between."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError


@dataclass(frozen=True, eq=False)
class ClockMap:
    """`own_s` and `ripple_s` float64 (k,), k >= 2: times of the same events, increasing on both clocks.

    `ratio` is how many seconds of Ripple's pass in one of the other clock, over the whole session.
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
    # The median rate over half of the session: jitter of single events does not move it.
    half = own_s.size // 2
    rates = (ripple_s[half:] - ripple_s[:-half]) / (own_s[half:] - own_s[:-half])
    return ClockMap(own_s, ripple_s, float(np.median(rates)))

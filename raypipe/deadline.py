"""What can still end before the walltime does, and what not: the end of the job, and how long work takes here.

Nothing here asks anybody or waits. Times are seconds since the epoch, for nodes have no other clock in common.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from raypipe.errors import TooLittleTime

MARGIN = 1.25
"""Work may take so many times as long as was thought."""
_LONGEST_RESERVE = 30.0
_EARLY_SECONDS = 60.0
"""Slurm may send a signal so much earlier than it was told to (man sbatch, --signal)."""
_TRUSTED_SECONDS = 60.0
"""So much work has to be measured until that weighs as much as the estimate: what is short tells little."""
_SURE_SECONDS = 20.0
"""After which a pass is judged by its own pace."""


@dataclass(frozen=True)
class Deadline:
    """The end of a life of the job, as far as is known."""

    begun: float
    """When this life's driver began."""
    end: float = inf
    """When Slurm ends it."""
    warning: float = 0.0
    """So many seconds before the end nothing is begun any more."""

    @property
    def reserve(self) -> float:
        """Seconds that an orderly end takes: files swept, Ray ended, the job queued again."""
        return min(_LONGEST_RESERVE, self.warning / 2) if self.warning else _LONGEST_RESERVE

    @property
    def stop(self) -> float:
        """When what is still under way is stopped."""
        return self.end - self.reserve

    def latest(self, seconds: float) -> float:
        """Return before when something has to begin that takes `seconds`."""
        return self.end - max(self.warning, self.reserve + MARGIN * seconds)

    def fits_a_life(self, seconds: float) -> bool:
        """Whether it could have begun when this life did."""
        return self.begun < self.latest(seconds)

    def warned(self, now: float) -> "Deadline":
        """Return the deadline of a driver that is told now that its end is near: Slurm's, or if that is far, a near one."""
        is_slurms = self.end - now <= self.warning + _EARLY_SECONDS
        return self if is_slurms else replace(self, end=now + self.warning)


@dataclass(frozen=True)
class Unit:
    """The least that is done or not done: a work, or groups of channels of one pass."""

    what: str
    stage: str
    seconds: float
    """How long it takes, about, if nothing has been measured."""
    key: str = ""
    """What tells it from others, of other days too."""


class Pace:
    """How long work takes here, of what it was thought to take."""

    def __init__(self) -> None:
        self._measured: dict[str, tuple[float, float]] = {}

    def took(self, stage: str, thought: float, seconds: float) -> None:
        """Take note of work that was thought to take `thought` seconds."""
        before = self._measured.get(stage, (_TRUSTED_SECONDS, _TRUSTED_SECONDS))
        self._measured[stage] = before[0] + thought, before[1] + seconds

    def expected(self, unit: Unit) -> float:
        """Return how many seconds the unit will take."""
        thought, measured = self._measured.get(unit.stage, (1.0, 1.0))
        return unit.seconds * measured / thought


class Life:
    """One life of a driver, until the walltime ends it: what it may begin, and what was left for want of time."""

    def __init__(self, *, warning: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.deadline = Deadline(clock(), warning=warning)
        self.pace = Pace()
        self.is_fruitful = False
        """Whether a file got its name."""
        self._stop = inf
        self._open: set[str] = set()
        self._late: dict[str, Unit] = {}

    def ends_in(self, seconds: float) -> None:
        """Take note of how much time Slurm gives yet (infinity: no limit)."""
        self.deadline = replace(self.deadline, end=self._clock() + seconds)

    def warn(self) -> None:
        """Take note that the end is near: Slurm's word, or somebody's. Nothing is begun any more."""
        if self._stop == inf:
            self._stop = self.deadline.warned(self._clock()).stop

    @property
    def is_over(self) -> bool:
        """Whether what is under way has to be stopped."""
        return self._clock() >= min(self._stop, self.deadline.stop)

    @property
    def was_cut_short(self) -> bool:
        """Whether it ends long before the walltime does: a node is taken away."""
        return self._stop < self.deadline.stop

    @property
    def lacks_time(self) -> bool:
        """Whether something was not begun because it could not end."""
        return bool(self._late)

    def latest(self, unit: Unit) -> float:
        """Return before when the unit has to begin."""
        return self.deadline.latest(self.pace.expected(unit)) if self._stop == inf else -inf

    def can_begin(self, unit: Unit) -> bool:
        """Whether the unit can end in time if it begins now."""
        return self._clock() < self.latest(unit)

    def begin(self, unit: Unit) -> bool:
        """Take note that the unit begins, if it can end in time; else that it is late. Return which."""
        if not self.can_begin(unit):
            self.postpone(unit)
            return False
        self._late.pop(unit.key or unit.what, None)
        self._open.add(unit.key or unit.what)
        return True

    def gave_up(self, unit: Unit) -> None:
        """Take note that a unit that was to begin did not, or will not end in time."""
        self._open.discard(unit.key or unit.what)
        self.postpone(unit)

    def postpone(self, unit: Unit) -> None:
        """Take note that the unit is left for another life."""
        self._late[unit.key or unit.what] = unit

    def settled(self, unit: Unit) -> None:
        """Take note that the unit has come to its end, one way or the other."""
        self._open.discard(unit.key or unit.what)
        self._late.pop(unit.key or unit.what, None)

    def is_too_slow(self, begun: float, part: float) -> bool:
        """Whether what began at `begun` and has done so much of it (0 to 1) cannot end in time, at its own pace."""
        elapsed = self._clock() - begun
        return elapsed >= _SURE_SECONDS and elapsed * (1 - part) / part > self.deadline.stop - self._clock()

    def now(self) -> float:
        """Return the time."""
        return self._clock()

    def refuse_hopeless(self) -> None:
        """Raise `TooLittleTime` if this life made nothing, and the least that is left takes longer than a whole life has."""
        late = self._late.values()
        if self.is_fruitful or self._open or not late:
            return
        least = min(late, key=self.pace.expected)
        needed = self.pace.expected(least)
        if self.deadline.fits_a_life(needed):
            return
        has = max(0.0, self.deadline.end - self.deadline.begun)
        kept = max(self.deadline.warning, self.deadline.reserve)
        raise TooLittleTime(
            f"{least.what} takes about {in_words(needed)}, and a job of this walltime gives the driver {in_words(has)}, "
            f"the last {in_words(kept)} of which nothing is begun in",
            hint=TIME_HINT,
        )


TIME_HINT = "submit again with more --time (or set slurm.warning_seconds lower): what is done stays done"


def in_words(seconds: float) -> str:
    """Say how long something is: '40 s', '12 min', '3.5 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

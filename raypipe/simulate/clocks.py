"""The three clocks of a day: Ripple's, which is the reference, Unity's and the eye tracker's, which drift from it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.trials import DUMMY_SECONDS, TICKS_PER_SECOND

CALIBRATION_OFFSET_MS = 1_000_000
NAVIGATION_OFFSET_MS = 4_000_000
BETWEEN_SESSIONS_SECONDS = 5.0


@dataclass(frozen=True)
class Clocks:
    """How Ripple's ticks of one session read on the other clocks."""

    trigger_ticks: int
    eye_offset_ms: int
    unity_ppm: float
    eye_ppm: float

    def unity_seconds(self, ticks: int) -> float:
        """Seconds since the trigger that starts Unity's log."""
        return (ticks - self.trigger_ticks) / TICKS_PER_SECOND * (1 + self.unity_ppm * 1e-6)

    def eye_ms_of_unity(self, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Tell the time on the eye tracker, in ms, of seconds on Unity's clock."""
        ripple = self.trigger_ticks / TICKS_PER_SECOND + seconds / (1 + self.unity_ppm * 1e-6)
        return self.eye_offset_ms + 1000 * ripple * (1 + self.eye_ppm * 1e-6)

    def eye_ms(self, ticks: int) -> int:
        """Tell the time on the eye tracker, in whole ms."""
        return self.eye_offset_ms + round(1000 * ticks / TICKS_PER_SECOND * (1 + self.eye_ppm * 1e-6))


def session_clocks(settings: SimulateSettings, session: int, trigger_ticks: int = 0) -> Clocks:
    """Set the clocks of a session (0 is the calibration); the tracker runs on between navigation sessions."""
    if session == 0:
        return Clocks(trigger_ticks, CALIBRATION_OFFSET_MS, settings.unity_ppm, settings.eye_ppm)
    before = settings.dummy_sessions * (DUMMY_SECONDS + BETWEEN_SESSIONS_SECONDS)
    before += (session - 1) * (settings.seconds + BETWEEN_SESSIONS_SECONDS)
    return Clocks(trigger_ticks, NAVIGATION_OFFSET_MS + round(1000 * before), settings.unity_ppm, settings.eye_ppm)


def dummy_clocks(settings: SimulateSettings, dummy: int, trigger_ticks: int = 0) -> Clocks:
    """Set the clocks of a dummy session, 0 and on, as if Ripple had recorded it."""
    before = dummy * (DUMMY_SECONDS + BETWEEN_SESSIONS_SECONDS)
    return Clocks(trigger_ticks, NAVIGATION_OFFSET_MS + round(1000 * before), settings.unity_ppm, settings.eye_ppm)

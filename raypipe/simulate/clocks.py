"""The three clocks of a day: Ripple's, which is the reference, Unity's and the eye tracker's, which drift from it."""

from dataclasses import dataclass

from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.trials import TICKS_PER_SECOND

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

    def eye_ms(self, ticks: int) -> int:
        """Tell the time on the eye tracker, in whole ms."""
        return self.eye_offset_ms + round(1000 * ticks / TICKS_PER_SECOND * (1 + self.eye_ppm * 1e-6))


def session_clocks(settings: SimulateSettings, session: int, trigger_ticks: int = 0) -> Clocks:
    """Set the clocks of a session (0 is the calibration); the tracker runs on between navigation sessions."""
    if session == 0:
        offset_ms = CALIBRATION_OFFSET_MS
    else:
        offset_ms = NAVIGATION_OFFSET_MS + round(1000 * (session - 1) * (settings.seconds + BETWEEN_SESSIONS_SECONDS))
    return Clocks(trigger_ticks, offset_ms, settings.unity_ppm, settings.eye_ppm)

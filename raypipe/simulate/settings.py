"""What a simulated day is made of, checked before anything is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from raypipe.errors import UsageError
from raypipe.io.ripple import SPECS

LEAD_SECONDS = 1.5  # from the start of the recording to the first trial
TAIL_SECONDS = 1.0  # from the last trial to the end of the recording
SHORTEST_TRIAL_SECONDS = 2.5
SHORTEST_CALIBRATION_SECONDS = 2.0
HIGHEST_CHANNEL = 512
MOST_SESSIONS = 9  # the lab's folders are session01 to session09
LONGEST_SESSION_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """Settings of a simulated day. Raises UsageError where they cannot be meant.

    `channels` is how many (1, 2, ...) or which; `trials` and `seconds` are those of each navigation session,
    `eye_seconds` those of the calibration session; `marker_format` is the version word in front of the trial markers,
    if any; `unity_ppm` and `eye_ppm` say how much faster than Ripple's clock those clocks run; `noise_uv` is the
    standard deviation of the white part of the noise; `line_hz` is whole, as all tones are.
    """

    subject: str = "picasso"
    day: str = "20181105"
    channels: int | Sequence[int] = 8
    seconds: float = 60.0
    eye_seconds: float = 10.0
    trials: int = 10
    sessions: int = 1
    seed: int = 0
    spec: str = "2.3"
    marker_format: int | None = 84
    unity_ppm: float = 60.0
    eye_ppm: float = -40.0
    noise_uv: float = 8.0
    line_hz: int = 50
    line_uv: float = 15.0
    timeout_fraction: float = 0.1
    analog_first: bool = True

    def __post_init__(self) -> None:
        _require(re.fullmatch("[A-Za-z]+", self.subject) is not None, f"subject {self.subject!r}: letters only")
        _require(_is_date(self.day), f"day {self.day!r}: a date such as 20181105")
        numbers = self.channel_numbers
        _require(len(numbers) > 0, "no channels: at least 1")
        _require(
            all(1 <= number <= HIGHEST_CHANNEL for number in numbers),
            f"channels {min(numbers, default=0)} to {max(numbers, default=0)}: they go from 1 to {HIGHEST_CHANNEL}",
        )
        _require(len(set(numbers)) == len(numbers), "channels: a number is given twice")
        _require(self.trials >= 1, f"{self.trials} trials: at least 1")
        needed = LEAD_SECONDS + self.trials * SHORTEST_TRIAL_SECONDS + TAIL_SECONDS
        _require(
            needed <= self.seconds <= LONGEST_SESSION_SECONDS,
            f"{self.trials} trials do not fit in {self.seconds:g} s: they need at least {needed:g} s "
            f"(and a session at most {LONGEST_SESSION_SECONDS} s)",
        )
        _require(
            SHORTEST_CALIBRATION_SECONDS <= self.eye_seconds <= LONGEST_SESSION_SECONDS,
            f"a calibration of {self.eye_seconds:g} s: at least {SHORTEST_CALIBRATION_SECONDS:g} s",
        )
        _require(1 <= self.sessions <= MOST_SESSIONS, f"{self.sessions} sessions: 1 to {MOST_SESSIONS}")
        _require(self.seed >= 0, f"seed {self.seed}: 0 or above")
        _require(self.spec in SPECS, f"file specification {self.spec!r}: 2.2 or 2.3")
        _require(self.marker_format in (84, 204, None), f"marker format {self.marker_format}: 84, 204 or None")
        _require(max(abs(self.unity_ppm), abs(self.eye_ppm)) <= 1000, "clock drifts: at most 1000 ppm")
        _require(0 <= self.noise_uv <= 1000, f"noise of {self.noise_uv:g} uV: 0 to 1000")
        _require(0 <= self.line_uv <= 1000, f"line noise of {self.line_uv:g} uV: 0 to 1000")
        _require(1 <= self.line_hz < 15000 and self.line_hz == int(self.line_hz), f"line of {self.line_hz} Hz: whole")
        _require(0 <= self.timeout_fraction <= 1, f"time-out fraction {self.timeout_fraction:g}: 0 to 1")

    @property
    def channel_numbers(self) -> tuple[int, ...]:
        """The numbers of the raw channels, in file order."""
        return tuple(range(1, self.channels + 1)) if isinstance(self.channels, int) else tuple(self.channels)

    @property
    def date(self) -> datetime:
        """When the day's recordings begin (UTC)."""
        return datetime.strptime(self.day, "%Y%m%d").replace(hour=10, minute=53, second=23, tzinfo=UTC)


def _require(fine: bool, otherwise: str) -> None:
    if not fine:
        raise UsageError(otherwise)


def _is_date(day: str) -> bool:
    try:
        datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return len(day) == 8

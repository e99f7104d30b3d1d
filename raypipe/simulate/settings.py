"""What a simulated day is made of, checked before anything is written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from raypipe.errors import UsageError
from raypipe.io.ripple import SPECS
from raypipe.stages.scene import Revision

LEAD_SECONDS = 1.5  # from the start of the recording to the first trial
TAIL_SECONDS = 1.0  # from the last trial to the end of the recording
SHORTEST_TRIAL_SECONDS = 2.5
SHORTEST_CALIBRATION_SECONDS = 2.0
HIGHEST_CHANNEL = 512
MOST_SESSIONS = 9  # the lab's folders are session01 to session09
MOST_DUMMIES = 9
MOST_UNITY_FILES = 99
LONGEST_SESSION_SECONDS = 24 * 3600
EYE_RATES_HZ = (500, 1000, 2000)

IncompleteIn = Literal["all", "unity", "ripple"]


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """Settings of a simulated day. Raises UsageError where they cannot be meant.

    `channels` is how many (1, 2, ...) or which; `trials` and `seconds` are those of each navigation session,
    `eye_seconds` those of the calibration session; `marker_format` is the version word in front of the trial markers,
    if any; `unity_ppm` and `eye_ppm` say how much faster than Ripple's clock those clocks run; `noise_uv` is the
    standard deviation of the white part of the noise; `line_hz` is whole, as all tones are.

    What can go wrong on a day, or be otherwise than usual; all of it stands in the truth:

    - `timeout_fraction` of the trials end in a time-out (0: none does).
    - `eye_rate_hz` 500, 1000 or 2000 samples per second of both eye files; `binocular`: of both eyes.
    - `pauses` of the eye recording, between trials of each navigation session: several START and END.
    - `lost_messages` of single trial events, and all three of `lost_trials`, are missing from the navigation eye file;
      Unity and Ripple have them. Counted in each session; of a trial at most two messages are lost singly.
    - `incomplete_trials` in the middle of each navigation session have no end; with `cut_last_trial` the last one has
      not, and Unity's log stops in it. `incomplete_in` says which files lack it: "unity" its log, "ripple" the `.nev`,
      "all" both of them and the eye file.
    - `dummy_sessions`: so many segments (a trigger, three trials) before session01 in the navigation eye file that no
      Ripple or Unity file knows of.
    - `fixation_at_end`: the last fixation of each eye file ends on its last sample (trackers seldom report that one).
    - `header_lines` 14 or 15 of Unity's logs; `unity_files` is how many logs a session is divided into, each with a
      header, `session_1_...` to `session_10_...` and on.
    - `scene`: the revision of the maze, A or C, in which the gaze's targets are.
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
    eye_rate_hz: int = 1000
    binocular: bool = False
    pauses: int = 0
    lost_messages: int = 0
    lost_trials: int = 0
    incomplete_trials: int = 0
    cut_last_trial: bool = False
    incomplete_in: IncompleteIn = "all"
    dummy_sessions: int = 0
    fixation_at_end: bool = False
    header_lines: int = 15
    unity_files: int = 1
    scene: Revision = "A"

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
        self._check_eye()
        self._check_losses()
        _require(self.header_lines in (14, 15), f"{self.header_lines} header lines: 14 or 15")
        _require(
            1 <= self.unity_files <= min(self.trials, MOST_UNITY_FILES),
            f"{self.unity_files} Unity logs: 1 to {MOST_UNITY_FILES}, and not more than trials ({self.trials})",
        )
        _require(self.scene in get_args(Revision), f"scene {self.scene!r}: A or C")

    def _check_eye(self) -> None:
        _require(self.eye_rate_hz in EYE_RATES_HZ, f"{self.eye_rate_hz} Hz of the eye tracker: 500, 1000 or 2000")
        _require(
            0 <= self.pauses < self.trials, f"{self.pauses} pauses: from 0 to one less than trials ({self.trials})"
        )
        _require(0 <= self.dummy_sessions <= MOST_DUMMIES, f"{self.dummy_sessions} dummy sessions: 0 to {MOST_DUMMIES}")

    def _check_losses(self) -> None:
        counts = (self.lost_messages, self.lost_trials, self.incomplete_trials)
        _require(min(counts) >= 0, "lost messages, lost and incomplete trials: 0 or above")
        _require(
            self.incomplete_in in get_args(IncompleteIn),
            f"incomplete in {self.incomplete_in!r}: {', '.join(get_args(IncompleteIn))}",
        )
        # Two messages a trial can be lost singly, and one trial stays as it is.
        touched = -(-self.lost_messages // 2) + self.lost_trials + self.incomplete_trials + self.cut_last_trial
        _require(
            touched < self.trials and self.incomplete_trials < self.trials,
            f"{self.lost_messages} lost messages, {self.lost_trials} lost and {self.incomplete_trials} incomplete "
            f"trials need more than the session's {self.trials} trials",
        )

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

"""What the task told the eye tracker: triggers and trial markers among the messages of a file."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.config import EdfSplit
from raypipe.io.eye import EyeRecording

MARKER = re.compile(r"(?:Start Trial|Cue Offset|End Trial|Timeout)\s.*?(\d+)", re.DOTALL)


@dataclass(frozen=True)
class TrialMessages:
    """Markers of trials, `ms` float64 (m,) tracker time and `codes` int64 (m,), and `trigger_ms` (t,), all in order."""

    ms: NDArray[np.float64]
    codes: NDArray[np.int64]
    trigger_ms: NDArray[np.float64]


def trial_messages(recording: EyeRecording, settings: EdfSplit) -> TrialMessages:
    """Sort the messages by time, those of one time as they came, and pick the task's.

    `Start Trial 11`, `Cue Offset 21`, `End Trial 31`, `Timeout 41` are markers; a trigger is `TriggerMessage` of any
    version. Anything else is passed over.
    """
    # Without the version, since the same task sends 84 or 204; an empty one means that the task sends none.
    words = re.sub(r"\d+\s*$", "", settings.TriggerMessage).split()
    trigger = re.compile(r"\s+".join(re.escape(word) for word in words) + r"\s+\d+") if words else None
    markers: list[tuple[float, int]] = []
    triggers: list[float] = []
    for at in np.argsort(recording.message_ms, kind="stable").tolist():
        text = recording.message_texts[at].strip(" \t\r\n\0")
        if marker := MARKER.fullmatch(text):
            markers.append((float(recording.message_ms[at]), int(marker[1])))
        elif trigger is not None and trigger.fullmatch(text):
            triggers.append(float(recording.message_ms[at]))
    ms, codes = (np.array([marker[k] for marker in markers]) for k in (0, 1))
    return TrialMessages(ms.astype(np.float64), codes.astype(np.int64), np.array(triggers, np.float64))

"""What the task tells the eye tracker: the messages by which eye data find their trials."""

from collections.abc import Sequence

from raypipe.simulate.clocks import Clocks
from raypipe.simulate.losses import Missing
from raypipe.simulate.trials import Navigation, Trial

CALIBRATION_WORDS = ("1  0  0  0  0  0  0  0", "0  1  0  0  0  0  0  0", "0  0  1  0  0  0  0  0")
DEFAULT_VERSION = 84


def calibration_messages(trials: Sequence[tuple[int, int, int]], clocks: Clocks) -> list[tuple[int, str]]:
    """List `(ms, text)` of start, cue and end of each trial; as in the lab's files, the last trial lacks its cue."""
    messages = [
        (clocks.eye_ms(ticks), word) for trial in trials for ticks, word in zip(trial, CALIBRATION_WORDS, strict=True)
    ]
    return messages[:-2] + messages[-1:]


def navigation_messages(
    navigation: Navigation, clocks: Clocks, marker_format: int | None, missing: Missing = frozenset()
) -> list[tuple[int, str]]:
    """List `(ms, text)` of the trigger and of every event that is not `missing`; the version is 84 where Ripple has none."""
    messages = [(clocks.eye_ms(navigation.trigger_ticks), f"Trigger Version {marker_format or DEFAULT_VERSION}")]
    for number, trial in enumerate(navigation.trials):
        for event, (ticks, text) in enumerate(zip(trial.ticks, trial_texts(trial), strict=True)):
            if (number, event) not in missing:
                messages.append((clocks.eye_ms(ticks), text))
    return messages


def trial_texts(trial: Trial) -> tuple[str, ...]:
    """Give the texts of a trial's three messages."""
    texts = ("Start Trial", "Cue Offset", "Timeout" if trial.timeout else "End Trial")
    return tuple(f"{text} {code}" for text, code in zip(texts, trial.codes, strict=True))

"""RPLParallel: the marker words on the recorder's digital port, arranged as trials.

A word comes as a strobe, word then zero. A trial is three words: cue on (1x), cue off (2x), end (3x found, 4x timed
out); in calibration sessions 1, 2, and 3 or 4. 84 or 204 starts a session.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.objects import base_fields

START_WORDS = (84, 204)
UNARRANGED_WORD = 128
SAMPLING_RATE_HZ = 30000


@dataclass(frozen=True)
class Markers:
    """`fields` of the object beside those that every object has, and `notes`: what was left out and why."""

    fields: dict[str, Any]
    notes: tuple[str, ...]


def object_fields(markers: Markers, directory: str) -> dict[str, Any]:
    """Make all fields of the object, in PyHipp's order; `directory` as `normalised_dir` gives it."""
    base = base_fields({}, directory, "session")
    own = dict(markers.fields)
    first = {name: own.pop(name) for name in ("markers", "timeStamps")}
    return {"args": base.pop("args"), **first, **base, **own}


def arrange_markers(
    codes: NDArray[np.uint16], ticks: NDArray[np.int64], resolution: int, *, where: str = "the .nev file"
) -> Markers:
    """Arrange the events of a session as trials.

    `codes` (m,) and `ticks` (m,), in 1/`resolution` s, are all events of the digital port in order. Of the fields,
    `markers` uint16, `timeStamps` float64 s and `trialIndices` int64 (samples at 30 kHz) are (trials, 3), or
    (trials, 2) where the words come in pairs (1 then 3); the index is made of the tick itself. `rawMarkers` is `codes`,
    and `sessionStartTime` the time of the first word. A stream that begins with 128 is not arranged: `markers` and
    `timeStamps` are its words (w,), and there is nothing else.

    A trial that is not complete is left out with a note; start words inside the stream (a session that was started
    again) are passed over, the trials on both sides of them count. Raises FormatError, which names `where`, if no
    trial is left.
    """
    is_word = codes != 0
    words, word_ticks = codes[is_word], ticks[is_word]
    if not words.size:
        raise FormatError(
            f"{where} has no marker on its digital port",
            hint="was the cable from the task computer plugged in? A session without markers has no trials",
        )
    if words[0] == UNARRANGED_WORD:
        return Markers({"markers": words, "timeStamps": word_ticks / resolution, "rawMarkers": codes}, ())
    rows, left_out = _rows(words)
    if not rows.size:
        raise FormatError(
            f"{where} has {words.size} markers and not one complete trial: {_listed(words)}",
            hint="a trial is three words: cue on (1x), cue off (2x), end (3x or 4x)",
        )
    trial_ticks = word_ticks[rows]
    fields = {
        "markers": words[rows],
        "timeStamps": trial_ticks / resolution,
        "samplingRate": SAMPLING_RATE_HZ,
        "rawMarkers": codes,
        "sessionStartTime": np.float64(word_ticks[0] / resolution),
        "numSets": 1,
        "trialIndices": trial_ticks * SAMPLING_RATE_HZ // resolution,
    }
    return Markers(fields, tuple(_notes(words, word_ticks, left_out, resolution)))


def _rows(words: NDArray[np.uint16]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which words make the trials, (trials, 2 or 3), and which are left over though they start no session."""
    usable = np.flatnonzero(~np.isin(words, START_WORDS))
    inner = words[usable]
    starts = _trial_starts(inner)
    if starts.size:
        rows = starts[:, None] + np.arange(3)
        return usable[rows], usable[np.setdiff1d(np.arange(inner.size), rows)]
    # Words without the phases of a trial are taken as they come, as PyHipp does.
    width = 2 if inner.size > 1 and inner[0] <= 1 and inner[1] != 2 else 3
    n_whole = inner.size // width * width
    return usable[:n_whole].reshape(-1, width), usable[n_whole:]


def _trial_starts(words: NDArray[np.uint16]) -> NDArray[np.intp]:
    """Find where cue on, cue off and end follow each other; two such trials cannot overlap."""
    phases = np.where(words < 10, words, words // 10)
    phases[phases == 4] = 3
    after = np.concatenate([phases, np.zeros(2, phases.dtype)])
    return np.flatnonzero((phases == 1) & (after[1:-1] == 2) & (after[2:] == 3))


def _notes(
    words: NDArray[np.uint16], ticks: NDArray[np.int64], left_out: NDArray[np.intp], resolution: int
) -> list[str]:
    notes = []
    if left_out.size:
        first = ticks[left_out[0]] / resolution
        notes.append(
            f"{left_out.size} markers belong to no complete trial and were left out: {_listed(words[left_out])}"
            f" (the first at {first:.3f} s)"
        )
    restarts = np.flatnonzero(np.isin(words, START_WORDS))
    restarts = restarts[restarts > 0]
    if restarts.size:
        times = ", ".join(f"{tick / resolution:.3f} s" for tick in ticks[restarts])
        notes.append(f"the session was started again at {times}; the trials before and after are kept together")
    if np.any(np.diff(ticks) < 0):
        notes.append("the times of the markers do not always increase")
    return notes


def _listed(words: NDArray[np.uint16]) -> str:
    shown = ", ".join(str(word) for word in words[:8])
    return shown if words.size <= 8 else f"{shown}, ..."

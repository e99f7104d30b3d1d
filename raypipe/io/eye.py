"""What an eye tracker recorded, whichever kind of file it comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError

Eye = Literal["left", "right"]
Kind = Literal["fixation", "saccade", "blink"]
Source = Literal["EyeLink EDF", "EyeLink text", "European EDF"]

EYES: tuple[Eye, Eye] = ("left", "right")
N_VALUES: Mapping[Kind, int] = {"fixation": 3, "saccade": 6, "blink": 0}
NO_DATA = -32768.0  # what EyeLink's own formats say for a missing value; so do values from NO_DATA_ABOVE on
NO_DATA_ABOVE = 1e8 - 1

# One event as a reader finds it: start, end, is it the right eye's, and its N_VALUES values.
EventRow = tuple[float, ...]


@dataclass(frozen=True)
class EyeEvents:
    """All events of one kind and of all eyes, in the order of their start.

    `start_ms`, `end_ms` float64 (n,), tracker time of the first and of the last sample; `is_right` bool (n,);
    `values` float64 (n, k): of fixations mean x, y (px) and pupil, of saccades start x, y, end x, y (px), amplitude
    (deg) and peak velocity (deg/s), of blinks nothing (k = 0). NaN: the tracker did not say.
    """

    start_ms: NDArray[np.float64]
    end_ms: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class EyeRecording:
    """One eye file.

    `ms` float64 (n,): the tracker's own time of every sample, never re-timed; `gaze_px` float64 (eyes, 2, n): x and y
    of each of `eyes`, NaN where the tracker had none (off the screen stays as it is); `blocks` int64 (b, 2): first
    sample of every recording block and the one behind its last; `message_ms` float64 (m,) and `message_texts` in the
    order of their time; `notes`: what a user should be told about the reading.

    Within a block the samples follow each other without a pause: where the tracker lost some, a new one begins.
    `events` has all three kinds.
    """

    path: Path
    source: Source
    sampling_rate_hz: float
    eyes: tuple[Eye, ...]
    ms: NDArray[np.float64]
    gaze_px: NDArray[np.float64]
    blocks: NDArray[np.int64]
    events: dict[Kind, EyeEvents]
    message_ms: NDArray[np.float64]
    message_texts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def eye_recording(
    path: Path,
    source: Source,
    *,
    rate_hz: float | None,
    eyes: tuple[Eye, ...],
    ms: NDArray[np.float64],
    gaze_px: NDArray[np.float64],
    block_starts: Sequence[int],
    event_rows: Mapping[Kind, Sequence[EventRow]],
    messages: Sequence[tuple[float, str]],
    notes: Iterable[str] = (),
) -> EyeRecording:
    """Put together what a reader found, in order and checked; `rate_hz` None: as the samples are apart.

    `block_starts`: the first sample of each block of the file; `gaze_px` becomes the recording's own, with NaN for
    EyeLink's codes of missing values. Raises FormatError if time goes back, or runs at another rate than is said.
    """
    all_notes = list(notes)
    period_ms = 1000 / rate_hz if rate_hz else _typical_distance(path, ms)
    if period_ms < 1 and _repeats(ms):
        ms = _with_halves(ms, block_starts)
        all_notes.append("times are whole milliseconds: the half ones were put back")
    starts = _blocks_without_pause(path, ms, block_starts, period_ms, all_notes)
    gaze_px[_is_missing(gaze_px)] = np.nan
    order = sorted(range(len(messages)), key=lambda index: messages[index][0])
    return EyeRecording(
        path=path,
        source=source,
        sampling_rate_hz=rate_hz or 1000 / period_ms,
        eyes=eyes,
        ms=ms,
        gaze_px=gaze_px,
        blocks=np.array([*zip(starts, [*starts[1:], ms.size], strict=False)], np.int64).reshape(-1, 2),
        events={kind: _events(event_rows.get(kind, ()), width) for kind, width in N_VALUES.items()},
        message_ms=np.array([messages[index][0] for index in order], np.float64),
        message_texts=tuple(messages[index][1] for index in order),
        notes=tuple(all_notes),
    )


def decoded(text: bytes) -> str:
    """Decode what a task sent to the tracker: UTF-8, else Latin-1; without line ends and zeros at the end."""
    text = text.rstrip(b"\r\n\0")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _events(rows: Sequence[EventRow], n_values: int) -> EyeEvents:
    table = np.array(sorted(rows, key=lambda row: row[:3]), np.float64).reshape(-1, 3 + n_values)
    values = np.where(_is_missing(table[:, 3:]), np.nan, table[:, 3:])
    return EyeEvents(table[:, 0].copy(), table[:, 1].copy(), table[:, 2] > 0, values)


def _is_missing(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = (values == NO_DATA) | (values >= NO_DATA_ABOVE)
    return missing


def _typical_distance(path: Path, ms: NDArray[np.float64]) -> float:
    # Over two samples: whole milliseconds tell 2000 Hz by coming twice.
    distances = (ms[2:] - ms[:-2]) / 2 if ms.size > 2 else np.diff(ms)
    distance = float(np.median(distances)) if distances.size else 0.0
    if distance <= 0:
        raise FormatError(
            f"{path}: no sampling rate is stated, and {ms.size} samples do not show one",
            hint="use the whole file as the tracker (or edf2asc) wrote it",
        )
    return distance


def _repeats(ms: NDArray[np.float64]) -> bool:
    return bool(np.any(ms[1:] == ms[:-1])) and bool(np.all(ms == np.floor(ms)))


def _with_halves(ms: NDArray[np.float64], block_starts: Sequence[int]) -> NDArray[np.float64]:
    """At 2000 Hz edf2asc without -ftime prints every millisecond twice; the second time half of one has passed."""
    second = np.zeros(ms.size, bool)
    second[1:] = ms[1:] == ms[:-1]
    starts = {0, *block_starts}
    for start in starts:
        # A block may begin with a half: then its first millisecond comes only once.
        if start + 1 < ms.size and start + 1 not in starts:
            second[start] = ms[start + 1] == ms[start] + 1
    return np.where(second, ms + 0.5, ms)


def _blocks_without_pause(
    path: Path, ms: NDArray[np.float64], block_starts: Sequence[int], period_ms: float, notes: list[str]
) -> list[int]:
    """Give the first sample of each run without a pause, and say how many pauses were no ends of blocks."""
    distance = np.diff(ms)
    if np.any(distance <= 0):
        index = int(np.argmax(distance <= 0))
        raise FormatError(
            f"{path}: time goes back: a sample at {ms[index + 1]:.10g} ms follows one at {ms[index]:.10g} ms",
            hint="a file holds one run of the tracker; split files that were joined",
        )
    starts = {start for start in block_starts if start < ms.size} | ({0} if ms.size else set())
    inside = np.ones(distance.size, bool)
    inside[[start - 1 for start in starts if start]] = False
    if np.any(inside):
        typical = float(np.median(distance[inside]))
        if abs(typical - period_ms) > 0.25 * period_ms:
            raise FormatError(
                f"{path}: its samples are {typical:.10g} ms apart, but it says {1000 / period_ms:.10g} Hz",
                hint="convert the tracker's file again with all its samples",
            )
    pauses = np.flatnonzero(inside & (distance > 1.5 * period_ms))
    if pauses.size:
        longest = pauses[np.argmax(distance[pauses])]
        notes.append(
            f"{pauses.size} pause{'s' * (pauses.size > 1)} within recording blocks, the longest of "
            f"{distance[longest] - period_ms:.10g} ms after {ms[longest]:.10g} ms"
        )
    return sorted(starts | {int(pause) + 1 for pause in pauses})

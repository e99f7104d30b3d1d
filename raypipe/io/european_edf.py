"""Eye data in European Data Format (EDF, EDF+, BDF, BDF+), as raypipe's own simulation and other programs write it.

Which signals are gaze. A label is split into words at what is no letter and where a capital follows a small one, and
case does not count. It is gaze if one word says which axis (x, y, gx, gy, gazex, posy, xpos, ...), at most one which
eye (left, l, right, r), and all others are among gaze, eye, pos, position, por, screen, coord, px, pix, pixel, pixels:
"gaze x", "gx_left", "EyeX", "Right Eye Gaze Y (px)" are; "pupil x", "gaze x velocity", "HREF x" are not. The unit must
be pixels, or not stated. A sample at the lowest digital value is missing.

Annotations. Those of raypipe (see raypipe/simulate/european_edf.py) carry the tracker's clock and its events:
`START <ms> LEFT`, `END <ms>`, `MSG <text>`, `EFIX L <x> <y> <pupil>`, `ESACC L ...`, `EBLINK L`. Any other is a message
as it stands. Without a `START` all samples are one block, and time counts from the beginning of the file.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyedflib
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.eye import EYES, N_VALUES, EventRow, Eye, EyeRecording, Kind, eye_recording
from raypipe.io.eye_choice import COPY_AGAIN, check_european_size

ANNOTATION_BYTES = 40  # raypipe's texts of this length that end in a backslash go on in the next annotation
_CONTINUED = "\\"
_SAMPLES_AT_ONCE = 1 << 20

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_AXIS = re.compile(r"(?:gaze|eye|pos|por|g)?([xy])(?:pos|px|p)?")
_EYE_WORDS: Mapping[str, Eye] = {"left": "left", "l": "left", "right": "right", "r": "right"}
_OTHER_WORDS = {*("gaze", "eye", "pos", "position", "por", "screen", "coord", "px", "pix", "pixel", "pixels")}
_PIXEL_UNITS = {"", "px", "pix", "pixel", "pixels"}

_START = re.compile(r"START ([0-9.]+)((?: LEFT| RIGHT)+)")
_END = re.compile(r"END ([0-9.]+)")
_EVENT = re.compile(r"(EFIX|ESACC|EBLINK) ([LR])((?: \S+)*)")
_KINDS: Mapping[str, Kind] = {"EFIX": "fixation", "ESACC": "saccade", "EBLINK": "blink"}


def read_european_edf(path: Path) -> EyeRecording:
    """Read gaze, blocks, events and messages. Source: European Data Format "plus" (Kemp & Olivan 2003), read by EDFlib.

    Raises FormatError if the file is damaged or discontinuous, or which signals are gaze cannot be told.
    """
    check_european_size(path)
    try:
        reader = pyedflib.EdfReader(str(path))
    except OSError as error:
        raise FormatError(
            f"{path}: cannot be read as European EDF/BDF: {str(error).removeprefix(f'{path}: ')}",
            hint="a discontinuous file (EDF+D) must be made continuous, for example with EDFbrowser",
        ) from error
    try:
        return _recording(path, reader)
    finally:
        reader.close()


def gaze_signals(labels: Sequence[str]) -> dict[tuple[Eye | None, str], list[int]]:
    """Tell which signals are gaze by their labels: their places by eye (None: the label does not say) and axis."""
    found: dict[tuple[Eye | None, str], list[int]] = {}
    for place, label in enumerate(labels):
        words = [word.lower() for word in _WORD.findall(label)]
        axes = [match[1] for word in words if (match := _AXIS.fullmatch(word))]
        eyes = [_EYE_WORDS[word] for word in words if word in _EYE_WORDS]
        n_others = sum(word in _OTHER_WORDS for word in words)
        if len(axes) == 1 and len(eyes) <= 1 and len(axes) + len(eyes) + n_others == len(words):
            found.setdefault((eyes[0] if eyes else None, axes[0]), []).append(place)
    return found


@dataclass(frozen=True)
class _Annotations:
    """What the annotations say, at times in ms from the beginning of the file."""

    starts: list[tuple[float, float, tuple[Eye, ...]]]  # when, what the tracker's clock said, eyes
    ends: list[float]  # what the tracker's clock said
    events: list[tuple[Kind, float, float, float, list[float]]]  # start, duration, is it the right eye's, values
    messages: list[tuple[float, str]]


def _recording(path: Path, reader: pyedflib.EdfReader) -> EyeRecording:
    said = _annotations(path, reader)
    notes: list[str] = []
    eyes, places = _choose_signals(path, reader, said, notes)
    rates = {float(reader.getSampleFrequency(place)) for pair in places for place in pair}
    if len(rates) > 1 or min(rates) <= 0:
        raise FormatError(
            f"{path}: the gaze signals have rates of {' and '.join(f'{rate:.10g} Hz' for rate in sorted(rates))}",
            hint="write all of them at the same rate",
        )
    rate_hz = rates.pop()
    period_ms = 1000 / rate_hz
    clock_ms = _clock(path, said, period_ms)
    n_samples = int(reader.getNSamples()[places[0][0]])
    ranges = _ranges(path, said, clock_ms, period_ms, n_samples, notes)
    block_starts = np.cumsum([0, *(stop - start for start, stop in ranges)]).tolist()
    ms, gaze_px = np.empty(block_starts[-1]), np.empty((len(eyes), 2, block_starts[-1]))
    for (start, stop), at in zip(ranges, block_starts, strict=False):
        for low in range(start, stop, _SAMPLES_AT_ONCE):
            n = min(_SAMPLES_AT_ONCE, stop - low)
            part = slice(at + low - start, at + low - start + n)
            ms[part] = clock_ms + np.arange(low, low + n) * period_ms
            for eye, pair in enumerate(places):
                for axis, place in enumerate(pair):
                    gaze_px[eye, axis, part] = _pixels(reader, place, low, n)
    rows: dict[Kind, list[EventRow]] = {kind: [] for kind in N_VALUES}
    for kind, onset_ms, duration_ms, is_right, values in said.events:
        start_ms = clock_ms + onset_ms
        rows[kind].append((start_ms, _rounded(start_ms + duration_ms - period_ms), is_right, *values))
    return eye_recording(
        path,
        "European EDF",
        rate_hz=rate_hz,
        eyes=eyes,
        ms=ms,
        gaze_px=gaze_px,
        block_starts=block_starts[:-1],
        event_rows=rows,
        messages=[(clock_ms + ms, text) for ms, text in said.messages],
        notes=notes,
    )


def _choose_signals(
    path: Path, reader: pyedflib.EdfReader, said: _Annotations, notes: list[str]
) -> tuple[tuple[Eye, ...], list[tuple[int, int]]]:
    """Give the eyes, and of each the places of its x and y."""
    labels = [label.strip() for label in reader.getSignalLabels()]
    found = gaze_signals(labels)
    names = [eye for eye in (None, *EYES) if (eye, "x") in found or (eye, "y") in found]
    is_clear = all(len(found.get((eye, axis), ())) == 1 for eye in names for axis in "xy")
    if not names or not is_clear or (None in names and len(names) > 1):
        raise FormatError(
            f"{path}: which signals are gaze x and y cannot be told from their labels: {', '.join(map(repr, labels))}",
            hint="label them 'gaze x' and 'gaze y', or 'gaze x left', 'gaze y left', 'gaze x right', 'gaze y right'",
        )
    places = [(found[eye, "x"][0], found[eye, "y"][0]) for eye in names]
    units = {reader.getPhysicalDimension(place).strip() for pair in places for place in pair}
    if not {unit.lower() for unit in units} <= _PIXEL_UNITS:
        raise FormatError(
            f"{path}: gaze is in {', '.join(map(repr, sorted(units)))}, not in pixels ('px')",
            hint="write gaze as the place on the screen in pixels",
        )
    if names != [None]:
        return tuple(eye for eye in EYES if eye in names), places
    tracked = {eye for _, _, eyes in said.starts for eye in eyes}
    if len(tracked) == 1:
        return (tracked.pop(),), places
    notes.append("the file does not say which eye was tracked: the left one is assumed")
    return ("left",), places


def _pixels(reader: pyedflib.EdfReader, place: int, start: int, n: int) -> NDArray[np.float64]:
    digital = reader.readSignal(place, start, n, digital=True)
    header = reader.getSignalHeader(place)
    low, high, bottom, top = (
        float(header[name]) for name in ("digital_min", "digital_max", "physical_min", "physical_max")
    )
    gain = (top - bottom) / (high - low)
    zero = bottom - gain * low
    counts_per_pixel = round(1 / gain) if gain else 0
    # Counts of a tenth are meant to be tenths: 9597 / 10, not 9597 * 0.09999999999999999.
    if counts_per_pixel and abs(counts_per_pixel * gain - 1) < 1e-9 and abs(zero) < 1e-6 * abs(gain):
        pixels = digital / float(counts_per_pixel)
    else:
        pixels = digital * gain + zero
    pixels[digital == low] = np.nan
    return np.asarray(pixels, np.float64)


def _annotations(path: Path, reader: pyedflib.EdfReader) -> _Annotations:
    said = _Annotations([], [], [], [])
    for ms, duration_ms, text in _joined(reader):
        if match := _START.fullmatch(text):
            tracked = tuple(eye for eye in EYES if eye.upper() in match[2].split())
            said.starts.append((ms, float(match[1]), tracked))
        elif match := _END.fullmatch(text):
            said.ends.append(float(match[1]))
        elif match := _EVENT.fullmatch(text):
            kind = _KINDS[match[1]]
            said.events.append((kind, ms, duration_ms, float(match[2] == "R"), _values(path, kind, text, match[3])))
        else:
            said.messages.append((ms, text.removeprefix("MSG ")))
    said.starts.sort()
    said.ends.sort()
    return said


def _joined(reader: pyedflib.EdfReader) -> Iterator[tuple[float, float, str]]:
    """Yield onset and duration in ms, and the text, of all annotations; raypipe's long texts are put together again."""
    begun = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that are Latin-1, not UTF-8
        onsets, durations, texts = reader.readAnnotations()
    # EDFlib counts 100 ns.
    for onset, duration, text in zip(onsets.tolist(), durations.tolist(), texts.tolist(), strict=True):
        if len(text) == ANNOTATION_BYTES and text.endswith(_CONTINUED):
            begun += text[:-1]
            continue
        yield _rounded(1000 * onset), _rounded(1000 * max(duration, 0.0)), begun + text
        begun = ""
    if begun:
        yield _rounded(1000 * onset), 0.0, begun


def _values(path: Path, kind: Kind, text: str, words: str) -> list[float]:
    try:
        values = [float(word) for word in words.split()]
    except ValueError:
        values = []
    if len(values) != N_VALUES[kind]:
        raise FormatError(
            f"{path}: annotation {text!r}: expected {N_VALUES[kind]} numbers after the eye", hint=COPY_AGAIN
        )
    return values


def _clock(path: Path, said: _Annotations, period_ms: float) -> float:
    """Give what the tracker's clock said at the beginning of the file; 0 if the file does not say."""
    offsets: list[float] = [clock_ms - ms for ms, clock_ms, _ in said.starts]
    if offsets and max(offsets) - min(offsets) > period_ms / 2:
        raise FormatError(
            f"{path}: the tracker's clock jumps by {max(offsets) - min(offsets):.10g} ms between START annotations",
            hint="a file holds one run of the tracker; write them apart",
        )
    return _rounded(offsets[0]) if offsets else 0.0


def _ranges(
    path: Path, said: _Annotations, clock_ms: float, period_ms: float, n_samples: int, notes: list[str]
) -> list[tuple[int, int]]:
    """Give the first sample of each recording block, and the one behind its last."""
    if not said.starts:
        return [(0, n_samples)]

    def place(ms: float) -> int:
        return round((ms - clock_ms) / period_ms)

    starts = [place(ms) for _, ms, _ in said.starts]
    ranges = []
    for start, following in zip(starts, [*starts[1:], n_samples], strict=True):
        stop = min((place(ms) + 1 for ms in said.ends if place(ms) >= start), default=n_samples + 1)
        if not 0 <= start <= following:
            raise FormatError(
                f"{path}: a START annotation lies outside the file's {n_samples} samples", hint=COPY_AGAIN
            )
        if stop > following:
            notes.append(f"the recording block that starts at {clock_ms + start * period_ms:.10g} ms has no END")
        ranges.append((start, min(stop, following)))
    return ranges


def _rounded(ms: float) -> float:
    return round(ms, 4)

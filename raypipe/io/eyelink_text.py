"""EyeLink text (`.asc`): what SR Research's edf2asc makes of a tracker's file.

Samples are lines that begin with a digit, and are taken column by column for megabytes of text at once; all other
lines are few, and are taken one by one. Source: EyeLink 1000 Plus User Manual, section 4.9 (the ASC file format).
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.columns import Tokens, numbers, tokens_of
from raypipe.io.eye import EYES, N_VALUES, EventRow, Eye, EyeRecording, Kind, decoded, eye_recording

CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16

_KINDS: dict[bytes, Kind] = {b"EFIX": "fixation", b"ESACC": "saccade", b"EBLINK": "blink"}
_PIXELS = {"fixation": 2, "saccade": 4, "blink": 0}  # how many of an event's values are positions
_PASSED_OVER = {b"PRESCALER", b"VPRESCALER", b"PUPIL", b"SFIX", b"SSACC", b"SBLINK", b"INPUT", b"BUTTON"}
_CONFIGURATION = re.compile(rb"\s*RECCFG\s+\S+\s+[0-9]+(\.[0-9]+)?\s.*")
_NOT_DAMAGED = "convert the tracker's file again with edf2asc, or copy it again"


def read_eyelink_text(path: Path) -> EyeRecording:
    """Read samples, events and messages, with bounded memory beside the samples themselves.

    What follows the last line end is an unfinished line, and is left out with a note. Raises FormatError naming the
    line where the file is damaged, or if it holds no gaze in pixels.
    """
    reading = _Reading(path)
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            chunk = (rest + chunk).removeprefix(b"\xef\xbb\xbf") if reading.n_lines == 0 else rest + chunk
            end = chunk.rfind(b"\n") + 1
            if len(chunk) - end > LONGEST_LINE_BYTES:
                reading.damaged(reading.n_lines + chunk.count(b"\n") + 1, chunk[end:], "the line does not end")
            if end:
                reading.take(chunk[:end])
            rest = chunk[end:]
    if rest.strip():
        reading.notes.append(f"line {reading.n_lines + 1} is unfinished and was left out: the file is cut short")
    return reading.recording()


@dataclass
class _Reading:
    """What has been read so far."""

    path: Path
    n_lines: int = 0
    n_samples: int = 0
    in_block: bool = False
    message_line: int = -1  # the last line that belongs to a message
    eyes: tuple[Eye, ...] = ()  # of the samples that come now
    n_columns: int = 0  # of them; 0: none came yet
    events_in_pixels: bool = True
    samples: deque[tuple[tuple[Eye, ...], NDArray[np.float64]]] = field(
        default_factory=deque
    )  # time and gaze, (1+2e, n)
    block_starts: list[int] = field(default_factory=list)
    rates: dict[float, int] = field(default_factory=dict)  # Hz that SAMPLES lines state, and in which line first
    configured: dict[float, int] = field(default_factory=dict)  # Hz of RECCFG messages, likewise
    event_rows: dict[Kind, list[EventRow]] = field(default_factory=lambda: {kind: [] for kind in N_VALUES})
    messages: list[tuple[float, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, text: bytes) -> None:
        """Read whole lines."""
        every_byte = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(every_byte == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1])
        first = every_byte[starts]
        is_sample = (first >= ord("0")) & (first <= ord("9"))
        tokens = tokens_of(text)
        taken = 0
        for index in np.flatnonzero(~is_sample).tolist():
            line = text[starts[index] : ends[index]]
            if line.startswith((b"START", b"END", b"SAMPLES")):
                self._take_samples(tokens, starts, ends, is_sample, taken, index)
                taken = index
            self._take_line(line.rstrip(b"\r"), self.n_lines + index + 1)
        self._take_samples(tokens, starts, ends, is_sample, taken, ends.size)
        self.n_lines += ends.size

    def _take_samples(
        self,
        tokens: Tokens,
        starts: NDArray[np.intp],
        ends: NDArray[np.intp],
        is_sample: NDArray[np.bool_],
        begin: int,
        stop: int,
    ) -> None:
        lines = begin + np.flatnonzero(is_sample[begin:stop])
        if not lines.size:
            return

        def number_of(place: int) -> int:
            return self.n_lines + int(lines[place]) + 1

        def text_of(place: int) -> bytes:
            return tokens.text[starts[lines[place]] : ends[lines[place]]]

        if not (self.in_block and self.eyes):
            self.damaged(number_of(0), text_of(0), "a sample outside a recording block (START ... END)")
        first = np.searchsorted(tokens.starts, starts[lines])
        n_columns = np.searchsorted(tokens.starts, ends[lines]) - first
        self.n_columns = self.n_columns or max(int(n_columns[0]), 3 * len(self.eyes))
        if np.any(n_columns != self.n_columns):
            place = int(np.argmax(n_columns != self.n_columns))
            told = f"{n_columns[place]} columns, expected {self.n_columns}"
            self.damaged(number_of(place), text_of(place), told)
        # Time, then x, y and pupil of each eye.
        columns = [0, *(1 + 3 * eye + axis for eye in range(len(self.eyes)) for axis in range(2))]
        values = np.empty((len(columns), lines.size))
        for row, column in enumerate(columns):
            values[row], bad = numbers(tokens, first + column)
            if row == 0:
                bad |= np.isnan(values[0])
            if np.any(bad):
                place = int(np.argmax(bad))
                self.damaged(number_of(place), text_of(place), f"column {column + 1} is no number")
        self.samples.append((self.eyes, values))
        self.n_samples += lines.size

    def _take_line(self, line: bytes, number: int) -> None:
        words = line.split()
        follows_message = number == self.message_line + 1
        if not words or line.startswith(b"**"):
            self.message_line += follows_message
            return
        word = words[0]
        # Texts of the tracker's calibration have several lines.
        continues = follows_message and (line[:1] in b" \t>" or self.messages[-1][1].startswith(b"!"))
        if word == b"MSG":
            self._take_message(line, words, number)
        elif word in _KINDS:
            self._take_event(_KINDS[word], words[1:], line, number)
        elif word == b"START":
            self._start(words, line, number)
        elif word == b"END":
            self.in_block = False
        elif word == b"SAMPLES":
            self._samples_follow(words, line, number)
        elif word == b"EVENTS":
            self.events_in_pixels = b"GAZE" in words
        elif word not in _PASSED_OVER:
            if not continues:
                self.damaged(number, line, "a line of no known kind")
            self.messages[-1] = (self.messages[-1][0], self.messages[-1][1] + b"\n" + line)
            self.message_line = number

    def _take_message(self, line: bytes, words: list[bytes], number: int) -> None:
        if len(words) < 2:
            self.damaged(number, line, "a message without a time")
        ms = self._number(words[1], line, number)
        # One blank follows the time; further ones belong to the text.
        text = line[line.index(words[1], 3) + len(words[1]) + 1 :]
        if _CONFIGURATION.fullmatch(text):
            self.configured.setdefault(float(words[4]), number)
        self.messages.append((ms, text))
        self.message_line = number

    def _take_event(self, kind: Kind, words: list[bytes], line: bytes, number: int) -> None:
        n_values = N_VALUES[kind]
        # Eye, start, end, duration, values.
        if len(words) < (4 if kind != "blink" else 3) + n_values or words[0] not in (b"L", b"R"):
            self.damaged(number, line, "an eye event with fields missing")
        times = [self._number(word, line, number) for word in words[1:3]]
        values = [self._number(word, line, number, may_be_missing=True) for word in words[4 : 4 + n_values]]
        if not self.events_in_pixels:
            values[: _PIXELS[kind]] = [np.nan] * _PIXELS[kind]
        self.event_rows[kind].append((*times, float(words[0] == b"R"), *values))

    def _start(self, words: list[bytes], line: bytes, number: int) -> None:
        self._expect_eyes(words, line, number)
        self.in_block = True
        self.block_starts.append(self.n_samples)

    def _samples_follow(self, words: list[bytes], line: bytes, number: int) -> None:
        if b"GAZE" not in words:
            raise FormatError(
                f"{self.path}: line {number}: the samples are {b' '.join(words[1:2]).decode('latin-1')}, not GAZE",
                hint="convert the tracker's file again with edf2asc and its option -sg (gaze in pixels)",
            )
        if b"LEFT" in words or b"RIGHT" in words:
            self._expect_eyes(words, line, number)
        if b"RATE" in words[:-1]:
            rate = self._number(words[words.index(b"RATE") + 1], line, number)
            self.rates.setdefault(rate, number)

    def _expect_eyes(self, words: list[bytes], line: bytes, number: int) -> None:
        self.eyes = tuple(eye for eye in EYES if eye.upper().encode() in words)
        if not self.eyes:
            self.damaged(number, line, "neither LEFT nor RIGHT")
        self.n_columns = 0

    def _number(self, word: bytes, line: bytes, number: int, *, may_be_missing: bool = False) -> float:
        if may_be_missing and word.lower() in (b".", b"nan"):
            return np.nan
        try:
            value = float(word)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            self.damaged(number, line, f"{word.decode('latin-1')!r} is no number")
        return value

    def damaged(self, number: int, line: bytes, what: str) -> NoReturn:
        raise FormatError(
            f"{self.path}: line {number}: {what}: {line[:60].decode('latin-1')!r}", hint=_NOT_DAMAGED
        ) from None

    def recording(self) -> EyeRecording:
        """Put together what was read."""
        if self.in_block:
            self.notes.append("the last recording block has no END: the file is cut short")
        if not self.events_in_pixels:
            self.notes.append("eye events are not in pixels (EVENTS HREF or PUPIL): their positions are left out")
        eyes = tuple(eye for eye in EYES if any(eye in some for some, _ in self.samples))
        if any(some != eyes for some, _ in self.samples):
            self.notes.append("not all recording blocks have both eyes")
        rate_hz = self._rate()
        ms, gaze_px = np.empty(self.n_samples), np.empty((len(eyes), 2, self.n_samples))
        at = 0
        while self.samples:
            some, values = self.samples.popleft()
            part = slice(at, at + values.shape[1])
            ms[part] = values[0]
            for index, eye in enumerate(eyes):
                row = 1 + 2 * some.index(eye) if eye in some else None
                gaze_px[index, :, part] = np.nan if row is None else values[row : row + 2]
            at = part.stop
        return eye_recording(
            self.path,
            "EyeLink text",
            rate_hz=rate_hz,
            eyes=eyes,
            ms=ms,
            gaze_px=gaze_px,
            block_starts=self.block_starts,
            event_rows=self.event_rows,
            messages=[(time, decoded(text)) for time, text in self.messages],
            notes=self.notes,
        )

    def _rate(self) -> float | None:
        """What SAMPLES lines state, else what the tracker said of its configuration."""
        stated = self.rates or self.configured
        if len(stated) > 1:
            rates = " and ".join(f"{rate:.10g} Hz (line {line})" for rate, line in _in_order(stated))
            raise FormatError(
                f"{self.path}: the sampling rate changes: {rates}",
                hint="split the file where the rate changes; one recording has one rate",
            )
        return next(iter(stated), None)


def _in_order(stated: dict[float, int]) -> Iterator[tuple[float, int]]:
    yield from sorted(stated.items(), key=lambda item: item[1])

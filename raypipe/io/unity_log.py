"""Unity's logs: a header, then a line for every frame: trigger word, seconds since the last frame, x, z, heading.

The header has 14 lines, 15, or any other number: the first line of numbers ends it.
"""

import codecs
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError, InputMissing
from raypipe.io.natural import in_natural_order

COLUMNS = ("trigger", "dt", "x", "y", "heading")
FEWEST_NUMBERS = 3
"""A line of so many numbers and nothing else is no header, but a frame, if a damaged one."""


@dataclass(frozen=True)
class UnityLog:
    """All frames of a session.

    `frames` float64 (frames, 5): trigger word, seconds since the frame before, x and y on the floor (m, east and
    north), heading (deg, north 0, clockwise); `n_files`: how many logs they come from; `notes`: what was left out.
    """

    frames: NDArray[np.float64]
    n_files: int
    notes: tuple[str, ...] = ()


def read_unity_logs(paths: Sequence[Path]) -> UnityLog:
    """Read the logs of a session, one after the other in the natural order of their names (2 before 10).

    A last line that was cut off is left out with a note. Raises InputMissing if there is no path or no such file,
    FormatError (with file and line) for a log without frames and for a line that is no frame.
    """
    if not paths:
        raise InputMissing("there is no Unity log to read", hint="the logs are session*.txt in the RawData* folder")
    logs = [_read_log(path) for path in in_natural_order(paths)]
    notes = tuple(note for _, log_notes in logs for note in log_notes)
    return UnityLog(np.concatenate([frames for frames, _ in logs]), len(logs), notes)


def _read_log(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Read one log: its frames (frames, 5), and notes."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputMissing(f"{path} is not there", hint="restore the log from a copy") from None
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error}", hint="copy the log again") from error
    # What a computer had not yet written when its power failed is zeros.
    lines = content.removeprefix(codecs.BOM_UTF8).rstrip(b"\0").splitlines(keepends=True)
    n_lines = len(lines)
    first = next((i for i, line in enumerate(lines) if _begins_frames(line)), n_lines)
    notes = []
    last = lines[-1] if first < n_lines else b"\n"
    if not last.endswith((b"\n", b"\r")) and not _numbers(last):
        notes.append(f"{path.name}: line {n_lines} was cut off and was left out: {_shown(last)}")
        del lines[-1]
    if first >= len(lines):
        raise FormatError(
            f"{path} holds no frame: none of its {n_lines} lines is five numbers ({', '.join(COLUMNS)})",
            hint="an empty log of a false start may be moved out of its folder",
        )
    try:
        frames = np.loadtxt(io.BytesIO(b"\n".join(lines[first:])), comments=None, ndmin=2, encoding="latin-1")
    except ValueError:
        frames = np.empty((0, 0))
    if frames.shape[1] != len(COLUMNS) or not _plausible(frames).all():
        raise _bad_line(path, lines, first)
    return frames, notes


def _begins_frames(line: bytes) -> bool:
    """Tell a line of numbers, be it too few, too many or with commas, from a line of the header."""
    words = line.replace(b",", b" ").split()
    try:
        return len([float(word) for word in words]) >= FEWEST_NUMBERS
    except ValueError:
        return False


def _numbers(line: bytes) -> list[float] | None:
    """Parse a line of five numbers; None if it is anything else."""
    words = line.split()
    if len(words) != len(COLUMNS) or b"_" in line:  # Python alone reads 1_000 as a number
        return None
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _plausible(frames: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of (frames, 5) can be frames: everything finite, words whole and none below 0, time not backwards."""
    words, seconds = frames[:, 0], frames[:, 1]
    with np.errstate(invalid="ignore"):
        plausible: NDArray[np.bool_] = np.isfinite(frames).all(axis=1) & (words >= 0) & (words == np.floor(words))
        plausible &= seconds >= 0
    return plausible


def _bad_line(path: Path, lines: list[bytes], first: int) -> FormatError:
    """Find the first line that is no frame, and say what is wrong with it."""
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        values = _numbers(line)
        if values is None or not _plausible(np.array([values]))[0]:
            return FormatError(
                f"{path}, line {number}: {_wrong(values)}: {_shown(line)}",
                hint="restore the log from the task computer, or mend that line (its other frames are not to be guessed)",
            )
    return FormatError(f"{path} cannot be read as numbers", hint="restore the log from the task computer")


def _wrong(values: list[float] | None) -> str:
    if values is None:
        return f"not five numbers ({', '.join(COLUMNS)})"
    if not np.isfinite(values).all():
        return f"{COLUMNS[int(np.argmin(np.isfinite(values)))]} is no finite number"
    return "the time since the last frame is negative" if values[1] < 0 else "the trigger is no word (0, 1, 2, ...)"


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

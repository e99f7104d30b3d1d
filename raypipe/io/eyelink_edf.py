"""A tracker's own `.edf`, read through SR Research's library, which the optional package eyelinkio carries.

eyelinkio's own reader is not used: it re-times samples and messages, closes the gaps between recording blocks, and
asks the library for a consistency that takes samples away.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io import eyelink_library
from raypipe.io.eye import EYES, NO_DATA, NO_DATA_ABOVE, EventRow, EyeRecording, Kind, decoded, eye_recording
from raypipe.io.eye_choice import EYELINK_EXTRA
from raypipe.io.eyelink_library import Contents, read_contents

_KINDS: dict[int, Kind] = {
    eyelink_library.END_FIXATION: "fixation",
    eyelink_library.END_SACCADE: "saccade",
    eyelink_library.END_BLINK: "blink",
}
# Flags of a sample: whose data it has, and whether it was taken half a millisecond later (2000 Hz).
_HAS_EYE, _HALF = {"left": 0x8000, "right": 0x4000}, 0x0002
# What an event was given.
_HAS_GAZE, _HAS_RESOLUTION, _HAS_VELOCITY, _HAS_PUPIL = 0x1000, 0x0200, 0x0100, 0x0080


def read_eyelink_edf(path: Path) -> EyeRecording:
    """Read samples, events and messages at the tracker's own times; consistency 0: as they were recorded.

    Raises FormatError if the extra is not installed, or if the library refuses the file or crashes on it.
    """
    contents = _contents(path)
    samples, flags = contents.samples, contents.flags
    eyes = tuple(eye for eye in EYES if np.any(flags & _HAS_EYE[eye]))
    gaze_px = np.empty((len(eyes), 2, flags.size))
    for index, eye in enumerate(eyes):
        column = 1 + 2 * EYES.index(eye)
        gaze_px[index] = _in_tenths(samples[:, column : column + 2].T)
        gaze_px[index][:, flags & _HAS_EYE[eye] == 0] = np.nan
    notes = []
    if any(not np.all(flags & _HAS_EYE[eye]) for eye in eyes):
        notes.append("not all recording blocks have both eyes")
    starts = contents.blocks[contents.blocks[:, 1] > 0]
    rates = np.unique(starts[:, 0])
    if rates.size > 1:
        raise FormatError(
            f"{path}: the sampling rate changes: {' and '.join(f'{rate:.10g} Hz' for rate in rates)}",
            hint="one recording has one rate; convert the blocks apart",
        )
    return eye_recording(
        path,
        "EyeLink EDF",
        rate_hz=float(rates[0]) if rates.size else None,
        eyes=eyes,
        ms=samples[:, 0] + np.where(flags & _HALF, 0.5, 0.0),
        gaze_px=gaze_px,
        block_starts=starts[:, 2].astype(np.int64).tolist(),
        event_rows=_event_rows(contents.events.view(eyelink_library.EVENT).ravel()),
        messages=_messages(contents),
        notes=notes,
    )


def _contents(path: Path) -> Contents:
    library = _library(path)
    # In a process of its own: the library prints, and dies of some damaged files. -P: nothing beside the program is
    # to be taken for a module.
    command = [sys.executable, "-P", eyelink_library.__file__, str(library), str(path.absolute())]
    contents, trouble = None, ""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as child:
            assert child.stdout is not None
            try:
                contents = read_contents(child.stdout)
            except ValueError as error:
                trouble = str(error)
        said.seek(0)
        last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    if child.returncode == eyelink_library.NO_LIBRARY:
        raise FormatError(
            f"{path}: SR Research's library {library} cannot be loaded: {' '.join(last)}",
            hint="it is made for x86-64; put the .asc file that edf2asc makes of it beside it",
        )
    if contents is None or child.returncode:
        crashed = f"it crashed (signal {-child.returncode})" if child.returncode < 0 else " ".join(last) or trouble
        raise FormatError(
            f"{path}: SR Research's library cannot read it: {crashed}",
            hint="copy it again from the tracker's computer; what can be saved of it, edf2asc saves",
        )
    return contents


def _library(path: Path) -> Path:
    package = importlib.util.find_spec("eyelinkio")
    if package is None or package.origin is None:
        raise FormatError(
            f"{path}: to read a tracker's own .edf file, SR Research's library is needed",
            hint=f"pip install '{EYELINK_EXTRA}', or put the .asc file that edf2asc makes of it beside it",
        )
    return Path(package.origin).parent.parent / "libedfapi" / "linux" / "libedfapi.so"


def _event_rows(events: NDArray[np.void]) -> dict[Kind, list[EventRow]]:
    rows: dict[Kind, list[EventRow]] = {}
    for code, kind in _KINDS.items():
        some = events[events["type"] == code]
        columns = [some["sttime"], some["entime"], some["eye"] == EYES.index("right"), *_values(kind, some)]
        rows[kind] = list(zip(*(column.astype(np.float64).tolist() for column in columns), strict=True))
    return rows


def _values(kind: Kind, events: NDArray[np.void]) -> list[NDArray[np.float64]]:
    """Give the values of `EyeEvents`, each (n,)."""

    def known(name: str, flag: int) -> NDArray[np.float64]:
        values = _in_tenths(events[name].astype(np.float64))
        missing = (events["read"] & flag == 0) | (values == NO_DATA) | (values >= NO_DATA_ABOVE)
        return np.where(missing, np.nan, values)

    if kind == "fixation":
        return [known("gavx", _HAS_GAZE), known("gavy", _HAS_GAZE), known("ava", _HAS_PUPIL)]
    if kind == "blink":
        return []
    positions = [known(name, _HAS_GAZE) for name in ("gstx", "gsty", "genx", "geny")]
    # As edf2asc does it: by the mean of the resolutions (px per degree) at start and end.
    per_degree = [
        (known(f"supd_{axis}", _HAS_RESOLUTION) + known(f"eupd_{axis}", _HAS_RESOLUTION)) / 2 for axis in "xy"
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        amplitude = np.hypot(
            (positions[2] - positions[0]) / per_degree[0], (positions[3] - positions[1]) / per_degree[1]
        )
    amplitude[~np.isfinite(amplitude)] = np.nan
    return [*positions, amplitude, known("pvel", _HAS_VELOCITY)]


def _messages(contents: Contents) -> list[tuple[float, str]]:
    text, stops = contents.texts.tobytes(), np.cumsum(contents.messages[:, 1]).tolist()
    starts = [0, *stops[:-1]]
    times = contents.messages[:, 0].tolist()
    return [(float(ms), decoded(text[a:b])) for ms, a, b in zip(times, starts, stops, strict=False)]


def _in_tenths(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo float32: the tracker stores tenths of a pixel, which 742.0999755859375 stands for."""
    tenths = np.round(values, 1)
    return np.where(tenths.astype(np.float32) == values, tenths, values)

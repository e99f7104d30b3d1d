"""A program of its own that reads one EyeLink `.edf` through SR Research's library, and writes arrays to its output.

The library prints as it likes, and crashes on some damaged files: neither must touch the process that asks. So it runs
in this one, which knows numpy and the standard library only:

    python -P eyelink_library.py LIBRARY FILE

writes six arrays in numpy's format, one behind the other (see `Contents`). Exit code 3: the library refused the file,
4: it cannot be loaded; why is on the error output.
"""

import ctypes
import os
import sys
from dataclasses import dataclass, fields
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

REFUSED, NO_LIBRARY = 3, 4

# Of the C structures FSAMPLE, FEVENT and RECORDINGS of SR Research's edf_data.h, what is used here.
SAMPLE = np.dtype(
    {
        "names": ["time", "gx", "gy", "flags"],
        "formats": ["u4", ("f4", 2), ("f4", 2), "u2"],
        "offsets": [0, 44, 52, 180],
        "itemsize": 192,
    }
)
EVENT = np.dtype(
    {
        "names": [
            *("type", "read", "sttime", "entime", "gstx", "gsty", "genx", "geny", "gavx", "gavy", "ava", "pvel"),
            *("supd_x", "eupd_x", "supd_y", "eupd_y", "eye"),
        ],
        "formats": ["i2", "u2", "u4", "u4", *["f4"] * 12, "i2"],
        "offsets": [4, 6, 8, 12, 24, 28, 44, 48, 64, 68, 72, 80, 92, 96, 100, 104, 108],
        "itemsize": 128,
    }
)
BLOCK = np.dtype(
    {
        "names": ["time", "sample_rate", "state"],
        "formats": ["u4", "f4", "u1"],
        "offsets": [0, 4, 12],
        "itemsize": 20,
    }
)
_EVENT_MESSAGE_OFFSET = 120  # pointer to a length (int16, its zero included) and that many bytes

END_OF_FILE, END_BLINK, END_SACCADE, END_FIXATION, MESSAGE, RECORDING, SAMPLES = 0, 4, 6, 8, 24, 30, 200
_CONSISTENCY = 0  # samples and events as they are: 1 and 2 mend what they take for errors, and 2 removes samples
_LOAD = 1
_SAMPLES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Contents:
    """What is in a file, in the order of the fields.

    `samples` (n,): ms, left x, y, right x, y as float64 (n, 5), `flags` uint16 (n,); `events` uint8 (e, 128), an
    EVENT each, those that end something; `blocks` (b, 3) float64: rate in Hz, is it a start, how many samples came before;
    `messages` (m, 2) int64: ms and length; `texts` uint8: all messages one behind the other.
    """

    samples: NDArray[np.float64]
    flags: NDArray[np.uint16]
    events: NDArray[np.uint8]
    blocks: NDArray[np.float64]
    messages: NDArray[np.int64]
    texts: NDArray[np.uint8]


def contents_of(library: ctypes.CDLL, path: str) -> Contents | None:
    """Read a whole file; None: the library refused it."""
    error = ctypes.c_int(0)
    file = library.edf_open_file(os.fsencode(path), _CONSISTENCY, _LOAD, _LOAD, ctypes.byref(error))
    if not file or error.value:
        return None
    advance, current = library.edf_get_next_data, library.edf_get_float_data
    buffer = np.zeros(_SAMPLES_AT_ONCE, SAMPLE)
    at, stop, size = buffer.ctypes.data, buffer.ctypes.data + buffer.nbytes, SAMPLE.itemsize
    samples, flags = [np.empty((0, 5))], [np.empty(0, np.uint16)]
    events, blocks, messages, texts = [], [], [], []
    n_before = 0

    def flush() -> None:
        nonlocal at, n_before
        part = buffer[: (at - buffer.ctypes.data) // size]
        columns = (part["time"], part["gx"][:, 0], part["gy"][:, 0], part["gx"][:, 1], part["gy"][:, 1])
        samples.append(np.column_stack(columns).astype(np.float64))
        flags.append(part["flags"].copy())
        n_before += part.size
        at = buffer.ctypes.data

    while (kind := advance(file)) != END_OF_FILE:
        place = current(file)
        if kind == SAMPLES:
            if at == stop:
                flush()
            ctypes.memmove(at, place, size)
            at += size
        elif kind in (END_FIXATION, END_SACCADE, END_BLINK):
            events.append(ctypes.string_at(place, EVENT.itemsize))
        elif kind == MESSAGE:
            event = np.frombuffer(ctypes.string_at(place, EVENT.itemsize), EVENT)[0]
            text = _message(place)
            messages.append((int(event["sttime"]), len(text)))
            texts.append(text)
        elif kind == RECORDING:
            flush()
            block = np.frombuffer(ctypes.string_at(place, BLOCK.itemsize), BLOCK)[0]
            blocks.append((float(block["sample_rate"]), float(block["state"] != 0), n_before))
    flush()
    library.edf_close_file(file)
    return Contents(
        samples=np.concatenate(samples),
        flags=np.concatenate(flags),
        events=np.frombuffer(b"".join(events), np.uint8).reshape(-1, EVENT.itemsize),
        blocks=np.array(blocks, np.float64).reshape(-1, 3),
        messages=np.array(messages, np.int64).reshape(-1, 2),
        texts=np.frombuffer(b"".join(texts), np.uint8),
    )


def write_contents(pipe: IO[bytes], contents: Contents) -> None:
    """Write all arrays one behind the other."""
    for each in fields(Contents):
        npy.write_array(_Pipe(pipe), getattr(contents, each.name), allow_pickle=False)


def read_contents(pipe: IO[bytes]) -> Contents:
    """Read what `write_contents` wrote. Raises ValueError if it ends too early."""
    return Contents(*(npy.read_array(_Pipe(pipe), allow_pickle=False) for _ in fields(Contents)))


class _Pipe:
    """What numpy is not to take for a file on a disk, in which it would look for its place."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.read, self.write = pipe.read, pipe.write


def load(path: str) -> ctypes.CDLL:
    """Load SR Research's library. Raises OSError if this machine cannot."""
    library = ctypes.CDLL(path)
    pointer = ctypes.c_void_p
    library.edf_open_file.argtypes = [ctypes.c_char_p, *[ctypes.c_int] * 3, ctypes.POINTER(ctypes.c_int)]
    library.edf_open_file.restype = pointer
    library.edf_get_next_data.argtypes = [pointer]
    library.edf_get_float_data.argtypes = [pointer]
    library.edf_get_float_data.restype = pointer
    library.edf_close_file.argtypes = [pointer]
    return library


def _message(event: int) -> bytes:
    text = ctypes.c_void_p.from_address(event + _EVENT_MESSAGE_OFFSET).value
    if not text:
        return b""
    return ctypes.string_at(text + 2, max(ctypes.c_int16.from_address(text).value, 0))


def main() -> int:
    """Read the file named on the command line; whatever else is printed goes to the error output."""
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        try:
            library = load(sys.argv[1])
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            return NO_LIBRARY
        contents = contents_of(library, sys.argv[2])
        if contents is None:
            return REFUSED
        write_contents(output, contents)
    return 0


if __name__ == "__main__":
    sys.exit(main())

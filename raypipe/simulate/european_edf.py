"""Eye data as European Data Format (EDF+): three signals, and every message and eye event as an annotation.

The file begins at the first message, so that no annotation lies before it; samples that the tracker did not take, and
those of a blink, are the lowest digital value. Annotations, with onset from the start of the file and duration:

- `START <ms> LEFT`: the first sample, and the tracker's clock there; `END <ms>`: the last one
- `MSG <text>`
- `EFIX L <x> <y> <pupil>`, `ESACC L <x> <y> <x> <y> <amplitude> <peak velocity>`, `EBLINK L`:
  the event's onset and duration

An annotation of EDFlib holds 40 bytes. A longer text goes on in the next annotation, of the same onset and duration;
what goes on ends in a backslash.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyedflib

from raypipe.errors import WriteFailed
from raypipe.simulate.eye import MISSING, EyeEvent, EyeRecording

SAMPLES_PER_RECORD = 1000  # one second
ANNOTATION_BYTES = 40  # EDFlib cuts longer texts without a word
ANNOTATION_SIGNALS = 64  # at most; each holds one annotation per record, and the rest is dropped without a word
CONTINUED = "\\"
SIGNALS = (("gaze x", "px"), ("gaze y", "px"), ("pupil", "au"))


def write_european_edf(path: Path, recording: EyeRecording, start: datetime) -> None:
    """Write an EDF+ file whose signals are exact to the tenth, and whose annotations are complete.

    Source: European Data Format "plus" (Kemp & Olivan 2003), written by EDFlib. Room for annotations is made before the
    first sample: as many annotation signals as there must be in each record, and more records if 64 are not enough.
    """
    file_ms = min(recording.first_ms, *(ms for ms, _ in recording.messages))
    pieces = [piece for entry in sorted(_annotations(recording)) for piece in _split(*entry)]
    lead = recording.first_ms - file_ms
    n_records = max(-(-(lead + recording.x.size) // SAMPLES_PER_RECORD), -(-len(pieces) // ANNOTATION_SIGNALS))
    writer = pyedflib.EdfWriter(str(path), len(SIGNALS), file_type=pyedflib.FILETYPE_EDFPLUS)
    try:
        writer.setSignalHeaders([_signal_header(label, unit) for label, unit in SIGNALS])
        writer.setEquipment("simulated_EyeLink")
        writer.setStartdatetime(start.replace(tzinfo=None))
        writer.set_number_of_annotation_signals(-(-len(pieces) // n_records))
        for onset_ms, duration_ms, text in pieces:
            duration = duration_ms / 1000 if duration_ms else -1
            if writer.writeAnnotation((onset_ms - file_ms) / 1000, duration, text):
                raise WriteFailed(f"{path}: annotation {text!r} at {onset_ms} ms was not accepted")
        columns = (recording.x, recording.y, recording.pupil)
        writer.writeSamples([_padded(column, lead, n_records) for column in columns], digital=True)
    finally:
        writer.close()


def _signal_header(label: str, unit: str) -> dict[str, str | int | float | None]:
    return {
        "label": label,
        "dimension": unit,
        "sample_frequency": 1000,
        # One count is a tenth, exactly, and 0 is 0.
        "physical_min": -3276.8,
        "physical_max": 3276.7,
        "digital_min": -32768,
        "digital_max": 32767,
        "prefilter": "",
        "transducer": "",
    }


def _annotations(recording: EyeRecording) -> Iterator[tuple[int, int, str]]:
    """Yield `(onset ms, duration ms or 0, text)`."""
    for ms, text in recording.messages:
        yield ms, 0, f"MSG {text}"
    yield recording.first_ms, 0, f"START {recording.first_ms} LEFT"
    yield recording.end_ms, 0, f"END {recording.end_ms}"
    for event in recording.events:
        yield event.start_ms, event.duration_ms, _event_text(event)


def _event_text(event: EyeEvent) -> str:
    name = {"fixation": "EFIX", "saccade": "ESACC", "blink": "EBLINK"}[event.kind]
    return " ".join([name, "L", *(f"{value:.10g}" for value in event.values)])


def _split(onset_ms: int, duration_ms: int, text: str) -> Iterator[tuple[int, int, str]]:
    rest = text.encode("ascii", "replace").decode("ascii")
    while len(rest) > ANNOTATION_BYTES:
        yield onset_ms, duration_ms, rest[: ANNOTATION_BYTES - 1] + CONTINUED
        rest = rest[ANNOTATION_BYTES - 1 :]
    yield onset_ms, duration_ms, rest


def _padded(column: npt.NDArray[np.int32], lead: int, n_records: int) -> npt.NDArray[np.int32]:
    whole = np.full(n_records * SAMPLES_PER_RECORD, MISSING, np.int32)
    whole[lead : lead + column.size] = column
    return whole

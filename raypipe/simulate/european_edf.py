"""Eye data as European Data Format (EDF+): gaze and pupil, and every message and eye event as an annotation.

Signals are `gaze x`, `gaze y` (px) and `pupil` of the left eye; of two eyes `gaze x left`, `gaze y left`, `pupil left`
and the same with `right`. The file begins at the first message, so that no annotation lies before it; samples that the
tracker did not take (before, between and behind recording blocks), and those of a blink, are the lowest digital value.
Annotations, with onset from the start of the file and duration:

- `START <ms> LEFT` (or `LEFT RIGHT`): the first sample of a block, and the tracker's clock there; `END <ms>`: the last
- `MSG <text>`
- `EFIX L <x> <y> <pupil>`, `ESACC L <x> <y> <x> <y> <amplitude> <peak velocity>`, `EBLINK L` (or `R`):
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
from raypipe.simulate.asc import EYE_NAMES
from raypipe.simulate.eye import MISSING, EyeEvent, EyeRecording

ANNOTATION_BYTES = 40  # EDFlib cuts longer texts without a word
ANNOTATION_SIGNALS = 64  # at most; each holds one annotation per record, and the rest is dropped without a word
CONTINUED = "\\"
SIGNALS = (("gaze x", "px"), ("gaze y", "px"), ("pupil", "au"))


def write_european_edf(path: Path, recording: EyeRecording, start: datetime) -> None:
    """Write an EDF+ file whose signals are exact to the tenth, and whose annotations are complete.

    Source: European Data Format "plus" (Kemp & Olivan 2003), written by EDFlib, in records of one second. Room for
    annotations is made before the first sample: as many annotation signals as there must be in each record, and more
    records if 64 are not enough.
    """
    rate = recording.rate_hz
    first_message_ms = min(recording.first_ms, *(ms for ms, _ in recording.messages))
    lead = -((first_message_ms - recording.first_ms) * rate // 1000)  # whole samples
    file_ms = recording.first_ms - lead * 1000 // rate
    pieces = [piece for entry in sorted(_annotations(recording)) for piece in _split(*entry)]
    n_records = max(-(-(lead + recording.tracks.shape[-1]) // rate), -(-len(pieces) // ANNOTATION_SIGNALS))
    sides = ("",) if len(recording.eyes) == 1 else tuple(f" {EYE_NAMES[eye].lower()}" for eye in recording.eyes)
    labels = [(label + side, unit) for side in sides for label, unit in SIGNALS]
    writer = pyedflib.EdfWriter(str(path), len(labels), file_type=pyedflib.FILETYPE_EDFPLUS)
    try:
        writer.setSignalHeaders([_signal_header(label, unit, rate) for label, unit in labels])
        writer.setEquipment("simulated_EyeLink")
        writer.setStartdatetime(start.replace(tzinfo=None))
        writer.set_number_of_annotation_signals(-(-len(pieces) // n_records))
        for onset_ms, duration_ms, text in pieces:
            duration = duration_ms / 1000 if duration_ms else -1
            if writer.writeAnnotation((onset_ms - file_ms) / 1000, duration, text):
                raise WriteFailed(f"{path}: annotation {text!r} at {onset_ms} ms was not accepted")
        for record in _records(recording, lead, n_records):
            if writer.blockWriteDigitalShortSamples(record) < 0:
                raise WriteFailed(f"{path}: samples were not accepted", hint="is there room left on the disk?")
    finally:
        writer.close()


def _signal_header(label: str, unit: str, rate_hz: int) -> dict[str, str | int | float | None]:
    return {
        "label": label,
        "dimension": unit,
        "sample_frequency": rate_hz,
        # One count is a tenth, exactly, and 0 is 0.
        "physical_min": -3276.8,
        "physical_max": 3276.7,
        "digital_min": -32768,
        "digital_max": 32767,
        "prefilter": "",
        "transducer": "",
    }


def _annotations(recording: EyeRecording) -> Iterator[tuple[float, float, str]]:
    """Yield `(onset ms, duration ms or 0, text)`."""
    for ms, text in recording.messages:
        yield ms, 0, f"MSG {text}"
    names = " ".join(EYE_NAMES[eye] for eye in recording.eyes)
    for low, high in recording.blocks:
        first, last = recording.ms(low), recording.ms(high - 1)
        yield first, 0, f"START {int(first)} {names}"
        yield last, 0, f"END {last}"
    for event in recording.events:
        yield event.start_ms, event.duration_ms, _event_text(event)


def _event_text(event: EyeEvent) -> str:
    name = {"fixation": "EFIX", "saccade": "ESACC", "blink": "EBLINK"}[event.kind]
    return " ".join([name, event.eye, *(f"{value:.10g}" for value in event.values)])


def _split(onset_ms: float, duration_ms: float, text: str) -> Iterator[tuple[float, float, str]]:
    rest = text.encode("ascii", "replace").decode("ascii")
    while len(rest) > ANNOTATION_BYTES:
        yield onset_ms, duration_ms, rest[: ANNOTATION_BYTES - 1] + CONTINUED
        rest = rest[ANNOTATION_BYTES - 1 :]
    yield onset_ms, duration_ms, rest


def _records(recording: EyeRecording, lead: int, n_records: int) -> Iterator[npt.NDArray[np.int16]]:
    """Yield what stands in each second of the file: all samples of a signal, then those of the next."""
    signals = recording.tracks.reshape(-1, recording.tracks.shape[-1])
    gaps = [high for _, high in recording.blocks[:-1]], [low for low, _ in recording.blocks[1:]]
    for number in range(n_records):
        start = number * recording.rate_hz - lead
        record = np.full((len(signals), recording.rate_hz), MISSING, np.int16)
        part = signals[:, max(0, start) : start + recording.rate_hz]
        record[:, max(0, -start) : max(0, -start) + part.shape[1]] = part
        for low, high in zip(*gaps, strict=True):
            record[:, max(0, low - start) : max(0, high - start)] = MISSING
        yield record.ravel()

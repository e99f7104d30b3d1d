"""Eye data as EyeLink text (`.asc`): what SR Research's edf2asc makes of a tracker's file."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from raypipe.simulate.eye import MISSING, PIXELS_PER_DEGREE, EyeEvent, EyeRecording

SAMPLES_AT_ONCE = 20_000
EYE_NAMES = {"L": "LEFT", "R": "RIGHT"}

_NAMES = {
    "fixation": ("SFIX", "EFIX", "   "),
    "saccade": ("SSACC", "ESACC", "  "),
    "blink": ("SBLINK", "EBLINK", " "),
}
# All tenths that a sample can have, as they are printed; a negative number counts from the end of a list.
_PRINTED = [f"{tenths / 10:7.1f}" for tenths in chain(range(-MISSING), range(MISSING, 0))]
_PRINTED[MISSING] = "   ."


def write_asc(path: Path, recording: EyeRecording, title: str) -> None:
    """Write samples, events and messages in the order of their times, with bounded memory.

    At 2000 Hz times have a decimal, as edf2asc writes them with -ftime; messages are in whole ms at every rate.
    """
    with path.open("w", newline="\n") as file:
        file.write(f"** CONVERTED FROM {title} (synthetic)\n** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED\n**\n")
        at = 0
        for ms, _, line in sorted(_lines(recording)):
            stop = -int((recording.first_ms - ms) * recording.rate_hz // 1000)  # the first sample not before
            for start, end in _recorded(recording, at, stop):
                file.writelines(_samples(recording, start, end))
            at = max(at, stop)
            file.write(line + "\n")


def _lines(recording: EyeRecording) -> Iterator[tuple[float, float, str]]:
    """Yield `(ms, rank, line)`: a line stands before the sample of its ms; first ends, then messages, then starts."""
    for ms, text in recording.messages:
        yield ms, 2, f"MSG\t{ms} {text}"
    names = "\t".join(EYE_NAMES[eye] for eye in recording.eyes)
    step = recording.ms(1) - recording.first_ms
    for low, high in recording.blocks:
        # A whole ms even at 2000 Hz; the tracker's own samples have the decimal.
        yield recording.ms(low), 1, f"START\t{int(recording.ms(low))}\t{names}\tSAMPLES\tEVENTS"
        last = recording.ms(high - 1)
        resolution = f"{PIXELS_PER_DEGREE:.2f}\t  {PIXELS_PER_DEGREE:.2f}"
        yield (
            last + step,
            3 if high == recording.tracks.shape[-1] else 1,
            f"END\t{last}\tSAMPLES\tEVENTS\tRES\t  {resolution}",
        )
    for event in recording.events:
        start, _, blanks = _NAMES[event.kind]
        yield event.start_ms, 2.5, f"{start} {event.eye}{blanks}{event.start_ms}"
        yield event.end_ms + step, 0, _end_line(event)


def _end_line(event: EyeEvent) -> str:
    _, name, blanks = _NAMES[event.kind]
    line = f"{name} {event.eye}{blanks}{event.start_ms}\t{event.end_ms}\t{event.duration_ms}"
    if event.kind == "fixation":
        x, y, pupil = event.values
        return f"{line}\t{x:7.1f}\t{y:7.1f}\t{pupil:7.0f}"
    if event.kind == "saccade":
        x0, y0, x1, y1, amplitude, peak = event.values
        return f"{line}\t{x0:7.1f}\t{y0:7.1f}\t{x1:7.1f}\t{y1:7.1f}\t{amplitude:6.2f}\t{peak:6.0f}"
    return line


def _recorded(recording: EyeRecording, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield what was recorded of the samples from start to stop."""
    for low, high in recording.blocks:
        if max(low, start) < min(high, stop):
            yield max(low, start), min(high, stop)


def _samples(recording: EyeRecording, start: int, stop: int) -> Iterator[str]:
    tail = "..." if len(recording.eyes) == 1 else "....."
    for low in range(start, stop, SAMPLES_AT_ONCE):
        high = min(stop, low + SAMPLES_AT_ONCE)
        columns = recording.tracks[:, :, low:high].reshape(-1, high - low).tolist()
        values = map("\t".join, zip(*([_PRINTED[tenths] for tenths in column] for column in columns), strict=True))
        for ms, line in zip(_times(recording, low, high), values, strict=True):
            yield f"{ms}\t{line}\t{tail}\n"


def _times(recording: EyeRecording, low: int, high: int) -> Sequence[float]:
    if recording.rate_hz > 1000:
        return [recording.ms(sample) for sample in range(low, high)]
    step = 1000 // recording.rate_hz
    return range(recording.first_ms + low * step, recording.first_ms + high * step, step)

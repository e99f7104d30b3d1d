"""Eye data as EyeLink text (`.asc`): what SR Research's edf2asc makes of a tracker's file."""

from collections.abc import Iterator
from pathlib import Path

from raypipe.simulate.eye import MISSING, PIXELS_PER_DEGREE, EyeEvent, EyeRecording

SAMPLES_AT_ONCE = 20_000


def write_asc(path: Path, recording: EyeRecording, title: str) -> None:
    """Write samples, events and messages in the order of their times, with bounded memory."""
    with path.open("w", newline="\n") as file:
        file.write(f"** CONVERTED FROM {title} (synthetic)\n** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED\n**\n")
        at = recording.first_ms
        for ms, _, line in sorted(_lines(recording)):
            file.writelines(_samples(recording, at, ms))
            at = max(at, ms)
            file.write(line + "\n")
        file.writelines(_samples(recording, at, recording.end_ms + 1))
        file.write(
            f"END\t{recording.end_ms}\tSAMPLES\tEVENTS\tRES\t  {PIXELS_PER_DEGREE:.2f}\t  {PIXELS_PER_DEGREE:.2f}\n"
        )


def _lines(recording: EyeRecording) -> Iterator[tuple[int, int, str]]:
    """Yield `(ms, rank, line)`: a line stands before the sample of its ms; first ends, then messages, then starts."""
    for ms, text in recording.messages:
        yield ms, 1, f"MSG\t{ms} {text}"
    yield recording.first_ms, 0, f"START\t{recording.first_ms}\tLEFT\tSAMPLES\tEVENTS"
    for event in recording.events:
        yield event.start_ms, 2, f"{_NAMES[event.kind][0]} L{_NAMES[event.kind][2]}{event.start_ms}"
        yield event.end_ms + 1, 0, _end_line(event)


_NAMES = {
    "fixation": ("SFIX", "EFIX", "   "),
    "saccade": ("SSACC", "ESACC", "  "),
    "blink": ("SBLINK", "EBLINK", " "),
}


def _end_line(event: EyeEvent) -> str:
    _, name, blanks = _NAMES[event.kind]
    line = f"{name} L{blanks}{event.start_ms}\t{event.end_ms}\t{event.duration_ms}"
    if event.kind == "fixation":
        x, y, pupil = event.values
        return f"{line}\t{x:7.1f}\t{y:7.1f}\t{pupil:7.0f}"
    if event.kind == "saccade":
        x0, y0, x1, y1, amplitude, peak = event.values
        return f"{line}\t{x0:7.1f}\t{y0:7.1f}\t{x1:7.1f}\t{y1:7.1f}\t{amplitude:6.2f}\t{peak:6.0f}"
    return line


def _samples(recording: EyeRecording, start_ms: int, stop_ms: int) -> Iterator[str]:
    start, stop = start_ms - recording.first_ms, stop_ms - recording.first_ms
    for low in range(start, stop, SAMPLES_AT_ONCE):
        part = slice(low, min(stop, low + SAMPLES_AT_ONCE))
        columns = (recording.x[part].tolist(), recording.y[part].tolist(), recording.pupil[part].tolist())
        for ms, (x, y, pupil) in enumerate(zip(*columns, strict=True), start=recording.first_ms + low):
            if x == MISSING:
                yield f"{ms}\t   .\t   .\t{pupil / 10:7.1f}\t...\n"
            else:
                yield f"{ms}\t{x / 10:7.1f}\t{y / 10:7.1f}\t{pupil / 10:7.1f}\t...\n"

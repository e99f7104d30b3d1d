"""What a session's recording holds, from headers alone: its channels, their arrays, and where their samples are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from raypipe.config import Input
from raypipe.day import Session
from raypipe.errors import FormatError, UsageError
from raypipe.io.nsx import NsxHeader, raw_channels, read_nsx_header

RAW_RATE_HZ = 30000.0
HIGHEST_CHANNEL = 10_000
"""Far above any recorder's: a slip of the finger must not become a list of a billion channels."""


@dataclass(frozen=True)
class Channel:
    """One recorded channel: its samples are a column of the `.ns5`, or (that being gone) an `rplraw` file."""

    number: int
    array: int
    column: int | None
    raw_file: Path | None
    n_samples: int
    """How many; of a raw file about how many, judged by its size."""


@dataclass(frozen=True)
class Selection:
    """Channels that were asked for. Of a range some may not have been recorded: electrodes die."""

    parts: tuple[range, ...]

    def __contains__(self, channel: int) -> bool:
        return any(channel in part for part in self.parts)

    @property
    def numbers(self) -> list[int]:
        """All of them, in order."""
        return sorted({number for part in self.parts for number in part})

    def unknown(self, recorded: Iterable[int]) -> str:
        """Return the parts of which nothing was recorded, as text; empty if there are none."""
        recorded = set(recorded)
        return ", ".join(ranges(part) for part in self.parts if recorded.isdisjoint(part))


@dataclass(frozen=True)
class Recording:
    """The channels of one session, by number, and what should be said about it."""

    session: Session
    header: NsxHeader | None
    channels: dict[int, Channel]
    notes: tuple[str, ...]

    @property
    def sampling_rate_hz(self) -> float:
        """Samples per second of the raw channels."""
        return self.header.sampling_rate_hz if self.header else RAW_RATE_HZ


def find_recording(session: Session, settings: Input) -> Recording:
    """Look into the session's `.ns5`, or without one into its `rplraw` files.

    Raises `InputMissing` where there is neither (or are two `.ns5`), `FormatError` for a damaged header.
    """
    if not any(session.input.glob("*.ns5")):
        raw = session.raw_files()
        if not raw:
            session.the_file("*.ns5")  # raises, and says what is missing
        # Not opened: that takes long, and what is done needs none of them.
        found = {
            number: Channel(number, array, None, path, path.stat().st_size // 4)
            for (array, number), path in raw.items()
        }
        return Recording(session, None, found, (f"no .ns5: {len(raw)} channels are read from rplraw files",))
    header = read_nsx_header(
        session.the_file("*.ns5"),
        accept_truncated=settings.accept_truncated,
        max_gap_seconds=settings.max_gap_seconds,
    )
    channels: dict[int, Channel] = {}
    for number, column in raw_channels(header):
        if number in channels:
            raise FormatError(f"{header.path}: two channels are labelled 'raw {number}'", hint="relabel one of them")
        array = header.channels[column].connector + 1
        channels[number] = Channel(number, array, column, None, header.n_samples)
    if not channels:
        labels = ", ".join(f"{channel.label!r} ({channel.units})" for channel in header.channels[:4])
        raise FormatError(
            f"{header.path} has no raw channel: none of its {len(header.channels)} labels is 'raw N' in uV ({labels}, ...)",
            hint="was this file recorded with the raw stream switched on?",
        )
    return Recording(session, header, channels, tuple(_notes(header)))


def parse_channels(text: str) -> Selection:
    """Return the channels of '1-32,40'. Raises `UsageError`."""
    return Selection(tuple(_range(part.strip()) for part in text.split(",")))


def ranges(numbers: Iterable[int]) -> str:
    """Write channel numbers as people do: '1-32, 40'."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    # Of isdigit's digits ² is none that int takes.
    if not first.isdecimal() or (dash and not last.isdecimal()) or not 1 <= int(first) <= int(last or first):
        raise UsageError(f"{text!r} is not a channel or a range of channels", hint="write --channels 1-32,40")
    if int(last or first) > HIGHEST_CHANNEL:
        raise UsageError(f"{text!r}: channel numbers end at {HIGHEST_CHANNEL}", hint="write --channels 1-32,40")
    return range(int(first), int(last or first) + 1)


def _notes(header: NsxHeader) -> list[str]:
    rate = header.sampling_rate_hz
    notes = [
        f"{header.path.name}: nothing was recorded from {gap.start_sample / rate:.3f} s for {gap.n_samples / rate:.3f} s;"
        " the pause is kept in time and bridged by a straight line"
        for gap in header.gaps
    ]
    notes += [
        f"{header.path.name}: the clock ran backwards at {reset.start_sample / rate:.3f} s; what follows is put directly"
        " behind what was before"
        for reset in header.clock_resets
    ]
    if header.missing_samples:
        seconds = header.missing_samples / rate
        notes.append(f"{header.path.name} ends {seconds:.3f} s before its header says; what is there is used")
    return notes

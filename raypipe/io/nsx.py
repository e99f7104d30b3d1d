"""The samples of a Ripple/Blackrock `.nsX` file on one timeline, in which pauses of the recorder keep their place."""

import sys
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.errors import FormatError
from raypipe.io.nsx_blocks import ClockReset, DataBlock, Gap, find_blocks, gaps_between, put_on_timeline
from raypipe.io.nsx_header import NsxChannel, read_nsx_basics

__all__ = [
    "ClockReset",
    "DataBlock",
    "Gap",
    "NsxChannel",
    "NsxHeader",
    "raw_channels",
    "read_frames",
    "read_nsx_header",
]


@dataclass(frozen=True)
class NsxHeader:
    """Everything about a `.nsX` file but its samples; small, picklable, and the key to `read_frames`.

    `missing_samples`: frames that the last data block promises and the file does not hold (0 unless a cut file was
    accepted); they are not part of the timeline.
    """

    path: Path
    spec: str
    label: str
    period: int
    timestamp_resolution: int
    sampling_rate_hz: float
    time_origin: datetime | None
    channels: tuple[NsxChannel, ...]
    file_bytes: int
    blocks: tuple[DataBlock, ...]
    gaps: tuple[Gap, ...]
    clock_resets: tuple[ClockReset, ...]
    missing_samples: int

    @property
    def n_samples(self) -> int:
        """Length of the timeline in samples, gaps included."""
        return self.blocks[-1].end_sample

    @cached_property
    def block_starts(self) -> list[int]:
        """First timeline sample of every block."""
        return [block.start_sample for block in self.blocks]


def read_nsx_header(path: Path, *, max_gap_seconds: float = 3600.0, accept_truncated: bool = False) -> NsxHeader:
    """Read the headers of a `.nsX` file and find its data blocks.

    Source: NSx file specification 2.2 and 2.3. A block begins at the timeline sample its timestamp says, so a pause (or
    a first timestamp above 0) is a gap; a clock that runs backwards is noted in `clock_resets`.

    Raises InputMissing if there is no such file; FormatError if it is of another specification, its headers contradict
    themselves or the file, it holds no frame, a gap is longer than `max_gap_seconds`, or its last block is cut (unless
    `accept_truncated`: then the whole frames that are there count).
    """
    basics = read_nsx_basics(path)
    found, missing = find_blocks(basics, accept_truncated=accept_truncated)
    if not found:
        raise FormatError(f"{path}: {basics.file_bytes} bytes, but not one frame of samples", hint="copy it again")
    blocks, resets = put_on_timeline(basics, found)
    gaps = gaps_between(blocks)
    longest = max(gaps, key=lambda gap: gap.n_samples, default=Gap(0, 0))
    if longest.n_samples > max_gap_seconds * basics.sampling_rate_hz:
        raise FormatError(
            f"{path}: no data for {longest.n_samples / basics.sampling_rate_hz:.1f} s "
            f"from sample {longest.start_sample} on; at most {max_gap_seconds:g} s is believed",
            hint="raise max_gap_seconds if the recorder really paused that long",
        )
    return NsxHeader(
        path=path,
        spec=basics.spec,
        label=basics.label,
        period=basics.period,
        timestamp_resolution=basics.timestamp_resolution,
        sampling_rate_hz=basics.sampling_rate_hz,
        time_origin=basics.time_origin,
        channels=basics.channels,
        file_bytes=basics.file_bytes,
        blocks=blocks,
        gaps=gaps,
        clock_resets=resets,
        missing_samples=missing,
    )


def raw_channels(header: NsxHeader) -> tuple[tuple[int, int], ...]:
    """List `(channel number, column)` of the raw neural channels in file order: label `raw <n>` and units uV.

    Raises FormatError if two channels have the same number.
    """
    column_of: dict[int, int] = {}
    for column, channel in enumerate(header.channels):
        kind, _, digits = channel.label.partition(" ")
        if kind != "raw" or not (digits.isascii() and digits.isdigit()) or channel.units not in ("uV", "µV"):
            continue
        if int(digits) in column_of:
            raise FormatError(f"{header.path}: columns {column_of[int(digits)]} and {column} are both 'raw {digits}'")
        column_of[int(digits)] = column
    return tuple(column_of.items())


def read_frames(
    header: NsxHeader, start: int, stop: int, out: npt.NDArray[np.int16] | None = None
) -> npt.NDArray[np.int16]:
    """Frames `[start, stop)` of the timeline: int16 counts (stop - start, channels), in `out` if given.

    A gap holds the straight line from the last sample before it to the first one after it, so that filters meet no
    step; a gap at the start holds the first sample. Plain reads, not a memory map: a mapped file that is cut while it
    is read ends the process, and its pages count as the process's memory. Raises FormatError if the file was cut.
    """
    if not 0 <= start <= stop <= header.n_samples:
        raise ValueError(f"frames {start} to {stop} are not within 0 to {header.n_samples}")
    shape = (stop - start, len(header.channels))
    if out is None:
        out = np.empty(shape, np.int16)
    if out.shape != shape or not out.flags.c_contiguous:
        raise ValueError(f"out has shape {out.shape}, expected {shape}, contiguous")
    first = max(0, bisect_right(header.block_starts, start) - 1)
    before = header.blocks[first - 1] if first else None
    for block in header.blocks[first:]:
        gap_start = before.end_sample if before else 0
        if gap_start >= stop:
            break
        low, high = max(start, gap_start), min(stop, block.start_sample)
        if low < high:
            out[low - start : high - start] = _bridge(header, before, block, low, high)
        low, high = max(start, block.start_sample), min(stop, block.end_sample)
        if low < high:
            _read(header, block, low, out[low - start : high - start])
        before = block
    return out


def _read(header: NsxHeader, block: DataBlock, start: int, out: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Fill `out` with the frames of a block from timeline sample `start` on."""
    rest = out.data.cast("B")
    with header.path.open("rb", buffering=0) as file:
        file.seek(block.byte_offset + (start - block.start_sample) * 2 * len(header.channels))
        while rest:
            if not (n_bytes := file.readinto(rest)):
                raise FormatError(
                    f"{header.path}: shrank from {header.file_bytes} to {file.tell()} bytes since it was opened",
                    hint="copy it again, and run again: what is done stays done",
                )
            rest = rest[n_bytes:]
    return out if sys.byteorder == "little" else out.byteswap(inplace=True)


def _bridge(
    header: NsxHeader, before: DataBlock | None, after: DataBlock, low: int, high: int
) -> npt.NDArray[np.int16]:
    """Fill samples `[low, high)` of the gap between two blocks."""
    frame = (1, len(header.channels))
    right = _read(header, after, after.start_sample, np.empty(frame, np.int16))[0]
    if before is None:
        return np.broadcast_to(right, (high - low, right.size))
    left = _read(header, before, before.end_sample - 1, np.empty(frame, np.int16))[0]
    fraction = (np.arange(low, high) - (before.end_sample - 1)) / (after.start_sample - before.end_sample + 1)
    line = left + fraction[:, None] * (right.astype(np.float64) - left)
    filled: npt.NDArray[np.int16] = np.rint(line).astype(np.int16)
    return filled

"""The data blocks of a `.nsX` file: where they lie in the file, and where they belong on the timeline."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raypipe.errors import FormatError
from raypipe.io.nsx_header import NsxBasics

BLOCK_HEAD_BYTES = 9  # one byte 0x01, uint32 timestamp, uint32 number of frames
CUT = "the recorder stopped in the middle or the copy is incomplete: copy it again, or set accept_truncated"


@dataclass(frozen=True)
class DataBlock:
    """`n_samples` frames without a pause from `byte_offset` on, the first at `start_sample` of the timeline."""

    timestamp_ticks: int
    byte_offset: int
    n_samples: int
    start_sample: int

    @property
    def end_sample(self) -> int:
        """The timeline sample behind the block's last one."""
        return self.start_sample + self.n_samples


@dataclass(frozen=True)
class Gap:
    """A stretch of the timeline without data."""

    start_sample: int
    n_samples: int


@dataclass(frozen=True)
class ClockReset:
    """A block whose timestamp lies before the end of the block in front of it; it was put directly behind that one."""

    start_sample: int
    timestamp_ticks: int
    expected_ticks: int


def find_blocks(basics: NsxBasics, *, accept_truncated: bool) -> tuple[tuple[DataBlock, ...], int]:
    """Walk the data blocks from head to head; `start_sample` is what each timestamp says.

    Returns the blocks that hold frames, and how many frames the last head promised in vain (0 if the file is whole).
    Raises FormatError where a head is not a head, or the last block is cut.
    """
    found: list[DataBlock] = []
    frame_bytes = 2 * len(basics.channels)
    proven = False  # that heads follow each other up to the end of the file
    for head_offset, ticks, promised in _heads(basics, basics.header_bytes, accept_truncated):
        offset = head_offset + BLOCK_HEAD_BYTES
        present = (basics.file_bytes - offset) // frame_bytes
        # A recorder writes the number of frames when it closes the block: 0 in front of data means that it crashed.
        if promised == 0 and offset < basics.file_bytes:
            proven = proven or _heads_follow(basics, offset)
            unclosed = not proven
        else:
            unclosed = False
        if promised <= present and not unclosed:
            if promised:
                found.append(DataBlock(ticks, offset, promised, basics.sample_of(ticks)))
            continue
        if not accept_truncated:
            raise _cut(basics, offset, promised, present)
        if present:
            found.append(DataBlock(ticks, offset, present, basics.sample_of(ticks)))
        return tuple(found), max(0, promised - present)
    return tuple(found), 0


def put_on_timeline(
    basics: NsxBasics, found: Iterable[DataBlock]
) -> tuple[tuple[DataBlock, ...], tuple[ClockReset, ...]]:
    """Move blocks that would overlap behind the block in front of them, and say which.

    A block that starts before even the *start* of the one in front of it shows that the clock began anew: the blocks
    after it are counted from there. A mere overlap moves its own block only.
    """
    blocks: list[DataBlock] = []
    resets: list[ClockReset] = []
    clock_start = 0
    previous_ticks = 0
    for block in found:
        start, end = clock_start + block.start_sample, blocks[-1].end_sample if blocks else 0
        if start < end:
            ticks_per_sample = basics.timestamp_resolution / basics.sampling_rate_hz
            expected = round((end - clock_start) * ticks_per_sample)
            resets.append(ClockReset(end, block.timestamp_ticks, expected))
            if block.timestamp_ticks < previous_ticks:
                clock_start = end - block.start_sample
            start = end
        blocks.append(DataBlock(block.timestamp_ticks, block.byte_offset, block.n_samples, start))
        previous_ticks = block.timestamp_ticks
    return tuple(blocks), tuple(resets)


def gaps_between(blocks: Iterable[DataBlock]) -> tuple[Gap, ...]:
    """Find the stretches of the timeline, from its sample 0 on, that no block covers."""
    gaps: list[Gap] = []
    end = 0
    for block in blocks:
        if block.start_sample > end:
            gaps.append(Gap(end, block.start_sample - end))
        end = block.end_sample
    return tuple(gaps)


def _heads(basics: NsxBasics, offset: int, accept_truncated: bool) -> Iterator[tuple[int, int, int]]:
    """`(byte offset, ticks, frames promised)` of each head, one block after the other up to the end of the file."""
    frame_bytes = 2 * len(basics.channels)
    with basics.path.open("rb") as file:
        while offset < basics.file_bytes:
            file.seek(offset)
            head = file.read(BLOCK_HEAD_BYTES)
            if head[:1] != b"\x01":
                raise FormatError(
                    f"{basics.path}: at byte {offset}: expected a data block (byte 0x01), found 0x{head[:1].hex()}"
                )
            if len(head) < BLOCK_HEAD_BYTES:
                if accept_truncated:
                    return
                raise FormatError(f"{basics.path}: at byte {offset}: the head of a data block is cut", hint=CUT)
            frames = int.from_bytes(head[5:9], "little")
            yield offset, int.from_bytes(head[1:5], "little"), frames
            offset += BLOCK_HEAD_BYTES + frames * frame_bytes


def _heads_follow(basics: NsxBasics, offset: int) -> bool:
    """Whether what follows an empty block is a chain of blocks that ends exactly where the file does."""
    end = offset
    try:
        for head_offset, _, frames in _heads(basics, offset, accept_truncated=False):
            end = head_offset + BLOCK_HEAD_BYTES + frames * 2 * len(basics.channels)
    except FormatError:
        return False
    return end == basics.file_bytes


def _cut(basics: NsxBasics, offset: int, promised: int, present: int) -> FormatError:
    if promised == 0:
        says = f"says 0 frames but {present} follow; the recorder never closed it"
    else:
        says = f"says {promised} frames but the file holds {present} ({100 * present / promised:.1f} %)"
    return FormatError(f"{basics.path}: at byte {offset - BLOCK_HEAD_BYTES}: the data block {says}", hint=CUT)

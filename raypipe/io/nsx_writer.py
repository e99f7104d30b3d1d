"""Writing a `.nsX` file frame by frame, specification 2.2 or 2.3 (for simulated days and tests)."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from raypipe.errors import UsageError
from raypipe.io.nsx_header import NsxChannel
from raypipe.io.ripple import (
    NSX_BASIC_HEADER,
    NSX_CHANNEL_HEADER,
    SPECS,
    filter_number,
    label_bytes,
    origin_fields,
)


class NsxWriter:
    """Writes the headers at once, then data blocks as they come; a block's length is filled in when it ends.

    Source: NSx file specification 2.2 and 2.3.
    """

    def __init__(
        self,
        path: Path,
        channels: Sequence[NsxChannel],
        *,
        spec: str = "2.3",
        label: str = "30 ksamp/sec",
        period: int = 1,
        timestamp_resolution: int = 30000,
        time_origin: datetime | None = None,
    ) -> None:
        if spec not in SPECS:
            raise UsageError(f"a .nsX file of specification {spec} cannot be written: 2.2 or 2.3")
        if not channels:
            raise UsageError("a .nsX file needs at least one channel")
        header = np.zeros((), NSX_BASIC_HEADER)
        header["magic"] = b"NEURALCD"
        header["spec"] = [int(part) for part in spec.split(".")]
        header["header_bytes"] = NSX_BASIC_HEADER.itemsize + NSX_CHANNEL_HEADER.itemsize * len(channels)
        header["label"] = label_bytes(label)
        header["period"] = period
        header["timestamp_resolution"] = timestamp_resolution
        header["time_origin"] = origin_fields(time_origin)
        header["n_channels"] = len(channels)
        rows = b"".join(_channel_header(channel) for channel in channels)
        self._n_channels = len(channels)
        self._block_head: int | None = None
        self._n_frames = 0
        self._file = path.open("wb")
        self._file.write(header.tobytes() + rows)

    def begin_block(self, timestamp_ticks: int) -> None:
        """End the block before, if any, and begin one whose first frame is at `timestamp_ticks`."""
        if not 0 <= timestamp_ticks < 2**32:
            raise UsageError(f"timestamp {timestamp_ticks}: it has 32 bits without sign")
        self._end_block()
        self._block_head = self._file.tell()
        self._file.write(b"\x01" + timestamp_ticks.to_bytes(4, "little") + bytes(4))

    def append(self, frames: npt.NDArray[np.int16]) -> None:
        """Add frames (n, channels) to the block that was begun."""
        if self._block_head is None:
            raise UsageError("frames belong to a block: call begin_block first")
        if frames.ndim != 2 or frames.shape[1] != self._n_channels or frames.dtype != np.int16:
            raise UsageError(f"frames are int16 (n, {self._n_channels}), not {frames.dtype} {frames.shape}")
        self._file.write(np.ascontiguousarray(frames, "<i2").data)
        self._n_frames += len(frames)

    def close(self) -> None:
        """End the last block and close the file."""
        self._end_block()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _end_block(self) -> None:
        if self._block_head is not None:
            self._file.seek(self._block_head + 5)
            self._file.write(self._n_frames.to_bytes(4, "little"))
            self._file.seek(0, 2)
        self._block_head, self._n_frames = None, 0


def _channel_header(channel: NsxChannel) -> bytes:
    row = np.zeros((), NSX_CHANNEL_HEADER)
    row["kind"] = b"CC"
    row["label"], row["units"] = label_bytes(channel.label), label_bytes(channel.units)
    for name in ("electrode_id", "connector", "pin", "min_digital", "max_digital", "min_analog", "max_analog"):
        row[name] = getattr(channel, name)
    for side in ("high", "low"):
        row[f"{side}_corner_millihertz"] = round(1000 * getattr(channel, f"{side}_corner_hz"))
        row[f"{side}_order"] = getattr(channel, f"{side}_order")
        row[f"{side}_type"] = filter_number(getattr(channel, f"{side}_filter_type"))
    return row.tobytes()

"""The headers of a Ripple/Blackrock `.nsX` file, specification 2.2 and 2.3: what is recorded, not where it lies."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from raypipe.errors import FormatError, InputMissing
from raypipe.io.ripple import NSX_BASIC_HEADER, NSX_CHANNEL_HEADER, SPECS, filter_type, text, time_of_origin

PERIODS_PER_SECOND = 30000  # the unit of `period`, whatever the timestamp resolution


@dataclass(frozen=True)
class NsxChannel:
    """One column of the samples; value in `units` = count * `gain` + `offset`.

    `high_` is the recorder's own high-pass side (0.3 Hz, say), `low_` its low-pass side (7500 Hz).
    """

    electrode_id: int
    label: str
    units: str
    connector: int  # 0-based on Ripple systems
    pin: int
    min_digital: int
    max_digital: int
    min_analog: int
    max_analog: int
    high_corner_hz: float
    high_order: int
    high_filter_type: str
    low_corner_hz: float
    low_order: int
    low_filter_type: str

    @property
    def gain(self) -> float:
        """Units per count."""
        return (self.max_analog - self.min_analog) / (self.max_digital - self.min_digital)

    @property
    def offset(self) -> float:
        """Value of count 0, in units."""
        return self.min_analog - self.min_digital * self.gain


@dataclass(frozen=True)
class NsxBasics:
    """The headers of a `.nsX` file; its data blocks start at byte `header_bytes`."""

    path: Path
    file_bytes: int
    header_bytes: int
    spec: str
    label: str
    period: int
    timestamp_resolution: int
    time_origin: datetime | None
    channels: tuple[NsxChannel, ...]

    @property
    def sampling_rate_hz(self) -> float:
        """Samples per second."""
        return PERIODS_PER_SECOND / self.period

    def sample_of(self, ticks: int) -> int:
        """Find the timeline sample nearest to a timestamp."""
        ticks_per_sample = self.timestamp_resolution * self.period
        return (2 * ticks * PERIODS_PER_SECOND + ticks_per_sample) // (2 * ticks_per_sample)


def read_nsx_basics(path: Path) -> NsxBasics:
    """Read the basic and the channel headers. Source: NSx file specification 2.2 and 2.3.

    Raises InputMissing if there is no such file, FormatError if the headers contradict themselves or the file.
    """
    try:
        with path.open("rb") as file:
            file_bytes = file.seek(0, 2)
            file.seek(0)
            basic = _basic_header(path, file.read(NSX_BASIC_HEADER.itemsize), file_bytes)
            rows = np.frombuffer(file.read(NSX_CHANNEL_HEADER.itemsize * int(basic["n_channels"])), NSX_CHANNEL_HEADER)
    except FileNotFoundError:
        raise InputMissing(f"{path}: there is no such file") from None
    return NsxBasics(
        path=path,
        file_bytes=file_bytes,
        header_bytes=int(basic["header_bytes"]),
        spec=f"{basic['spec'][0]}.{basic['spec'][1]}",
        label=text(basic["label"]),
        period=int(basic["period"]),
        timestamp_resolution=int(basic["timestamp_resolution"]),
        time_origin=time_of_origin(basic["time_origin"]),
        channels=tuple(_channel(path, column, row) for column, row in enumerate(rows)),
    )


def _basic_header(path: Path, raw: bytes, file_bytes: int) -> np.void:
    if not raw:
        raise FormatError(f"{path}: the file is empty", hint="copy it again from the recording computer")
    magic = raw[:8]
    if magic in (b"NEURALSG", b"BRSMPGRP"):
        spec = "2.1" if magic == b"NEURALSG" else "3.0"
        raise FormatError(
            f"{path}: at byte 0: file specification {spec}, expected 2.2 or 2.3",
            hint="export the session again as specification 2.3",
        )
    if magic != b"NEURALCD":
        raise FormatError(f"{path}: at byte 0: expected 'NEURALCD', found {magic!r}", hint="this is not a .nsX file")
    if len(raw) < NSX_BASIC_HEADER.itemsize:
        raise FormatError(
            f"{path}: the basic header needs {NSX_BASIC_HEADER.itemsize} bytes, the file holds {file_bytes}"
        )
    basic: np.void = np.frombuffer(raw, NSX_BASIC_HEADER)[0]
    spec = f"{basic['spec'][0]}.{basic['spec'][1]}"
    if spec not in SPECS:
        raise FormatError(
            f"{path}: at byte 8: file specification {spec}, expected 2.2 or 2.3",
            hint="export the session again as specification 2.3",
        )
    n_channels = int(basic["n_channels"])
    expected = NSX_BASIC_HEADER.itemsize + NSX_CHANNEL_HEADER.itemsize * n_channels
    if n_channels == 0:
        raise FormatError(f"{path}: at byte 310: 0 channels, expected at least 1")
    if basic["header_bytes"] != expected:
        raise FormatError(
            f"{path}: at byte 10: headers of {basic['header_bytes']} bytes, "
            f"expected {expected} for {n_channels} channels"
        )
    if expected > file_bytes:
        raise FormatError(f"{path}: the headers need {expected} bytes, the file holds {file_bytes}")
    for name, at in (("period", 286), ("timestamp_resolution", 290)):
        if basic[name] == 0:
            raise FormatError(f"{path}: at byte {at}: {name.replace('_', ' ')} 0, expected at least 1")
    return basic


def _channel(path: Path, column: int, row: Any) -> NsxChannel:
    at = NSX_BASIC_HEADER.itemsize + NSX_CHANNEL_HEADER.itemsize * column
    if bytes(row["kind"]) != b"CC":
        raise FormatError(f"{path}: at byte {at}: expected a channel header 'CC', found {bytes(row['kind'])!r}")
    channel = NsxChannel(
        electrode_id=int(row["electrode_id"]),
        label=text(row["label"]),
        units=text(row["units"]),
        connector=int(row["connector"]),
        pin=int(row["pin"]),
        min_digital=int(row["min_digital"]),
        max_digital=int(row["max_digital"]),
        min_analog=int(row["min_analog"]),
        max_analog=int(row["max_analog"]),
        high_corner_hz=int(row["high_corner_millihertz"]) / 1000,
        high_order=int(row["high_order"]),
        high_filter_type=filter_type(int(row["high_type"])),
        low_corner_hz=int(row["low_corner_millihertz"]) / 1000,
        low_order=int(row["low_order"]),
        low_filter_type=filter_type(int(row["low_type"])),
    )
    if channel.min_digital >= channel.max_digital or channel.min_analog >= channel.max_analog:
        raise FormatError(
            f"{path}: at byte {at + 22}: {channel.label!r} goes from {channel.min_digital} to {channel.max_digital} "
            f"counts and {channel.min_analog} to {channel.max_analog} {channel.units}; both ranges must rise"
        )
    return channel

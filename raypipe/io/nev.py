"""The events and channel descriptions of a Ripple/Blackrock `.nev` file, specification 2.2 and 2.3."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.errors import FormatError, InputMissing
from raypipe.io.ripple import (
    EXTENDED_HEADER,
    FILTER_BODY,
    LABEL_BODY,
    NEV_BASIC_HEADER,
    SPECS,
    WAVEFORM_BODY,
    filter_type,
    packet_dtype,
    text,
    time_of_origin,
)


@dataclass(frozen=True)
class NevWaveform:
    """Where an electrode is plugged in and how its spike waveforms are stored (NEUEVWAV)."""

    electrode_id: int
    connector: int  # 0-based on Ripple systems
    pin: int
    digitization_factor_nv: int
    energy_threshold: int
    high_threshold: int
    low_threshold: int
    sorted_units: int
    bytes_per_sample: int
    spike_width_samples: int


@dataclass(frozen=True)
class NevFilter:
    """The recorder's own filter of an electrode (NEUEVFLT): `high_` is its high-pass side, `low_` its low-pass side."""

    electrode_id: int
    high_corner_millihertz: int
    high_order: int
    high_type: str
    low_corner_millihertz: int
    low_order: int
    low_type: str


@dataclass(frozen=True)
class Nev:
    """What raypipe needs of a `.nev` file.

    `ticks` int64 (m,) in units of 1/timestamp_resolution s, `codes` uint16 (m,) and `reasons` uint8 (m,) are the events
    of the digital input port in file order; `waveforms`, `labels` and `filters` go by electrode id.
    """

    path: Path
    spec: str
    timestamp_resolution: int
    sample_resolution: int
    time_origin: datetime | None
    ticks: npt.NDArray[np.int64]
    codes: npt.NDArray[np.uint16]
    reasons: npt.NDArray[np.uint8]
    waveforms: dict[int, NevWaveform]
    labels: dict[int, str]
    filters: dict[int, NevFilter]


def read_nev(path: Path) -> Nev:
    """Read the digital events and the extended headers of a `.nev` file.

    Source: NEV file specification 2.2 and 2.3. An event belongs to the digital input port if its packet id is 0 and its
    insertion reason is 1 (2.2), or has bit 0 set and bit 7, the serial port, clear (2.3).

    Raises InputMissing if there is no such file, and FormatError if it is damaged, cut, or of another specification.
    """
    try:
        # A copy-free view: spike packets can make the file gigabytes long, and only its events are wanted.
        content = (
            np.asarray(np.memmap(path, dtype=np.uint8, mode="r")) if path.stat().st_size else np.empty(0, np.uint8)
        )
    except FileNotFoundError:
        raise InputMissing(f"{path}: there is no such file") from None
    header = _basic_header(path, content)
    spec = f"{header['spec'][0]}.{header['spec'][1]}"
    first_packet = int(header["header_bytes"])
    extended = content[NEV_BASIC_HEADER.itemsize : first_packet].view(EXTENDED_HEADER)
    packets = _packets(path, content, first_packet, int(header["packet_bytes"]))
    reasons = packets["reason"]
    on_port = reasons == 1 if spec == "2.2" else (reasons & 0b1000_0001) == 1
    events = packets[(packets["packet_id"] == 0) & on_port]
    return Nev(
        path=path,
        spec=spec,
        timestamp_resolution=int(header["timestamp_resolution"]),
        sample_resolution=int(header["sample_resolution"]),
        time_origin=time_of_origin(header["time_origin"]),
        ticks=events["ticks"].astype(np.int64),
        codes=events["code"].astype(np.uint16),
        reasons=events["reason"].astype(np.uint8),
        waveforms={w.electrode_id: w for w in _waveforms(extended)},
        labels={int(b["electrode_id"]): text(b["label"]) for b in _bodies(extended, b"NEUEVLBL", LABEL_BODY)},
        filters={f.electrode_id: f for f in _filters(extended)},
    )


def _basic_header(path: Path, content: npt.NDArray[np.uint8]) -> np.void:
    size = NEV_BASIC_HEADER.itemsize
    if content.size == 0:
        raise FormatError(f"{path}: the file is empty", hint="copy it again from the recording computer")
    magic = content[:8].tobytes()
    if magic != b"NEURALEV":
        raise FormatError(f"{path}: at byte 0: expected 'NEURALEV', found {magic!r}", hint="this is not a .nev file")
    if content.size < size:
        raise FormatError(f"{path}: the basic header needs {size} bytes, the file holds {content.size}")
    header: np.void = content[:size].view(NEV_BASIC_HEADER)[0]
    spec = f"{header['spec'][0]}.{header['spec'][1]}"
    if spec not in SPECS:
        raise FormatError(
            f"{path}: at byte 8: file specification {spec}, expected 2.2 or 2.3",
            hint="export the session again as specification 2.3",
        )
    announced = int(header["header_bytes"])
    expected = size + EXTENDED_HEADER.itemsize * int(header["n_extended_headers"])
    if announced != expected:
        raise FormatError(
            f"{path}: at byte 12: headers of {announced} bytes, expected {expected} "
            f"for {header['n_extended_headers']} extended headers"
        )
    if announced > content.size:
        raise FormatError(f"{path}: the headers need {announced} bytes, the file holds {content.size}")
    if header["timestamp_resolution"] == 0:
        raise FormatError(f"{path}: at byte 20: timestamp resolution 0, expected ticks per second such as 30000")
    return header


def _packets(path: Path, content: npt.NDArray[np.uint8], start: int, width: int) -> npt.NDArray[np.void]:
    if not 12 <= width <= 65536:
        raise FormatError(f"{path}: at byte 16: data packets of {width} bytes, expected 12 to 65536")
    whole, rest = divmod(content.size - start, width)
    if rest:
        raise FormatError(
            f"{path}: at byte {start + whole * width}: expected a data packet of {width} bytes, found only {rest}",
            hint="the file was cut while it was written or copied; copy it again",
        )
    return content[start:].view(packet_dtype(width))


def _bodies(extended: npt.NDArray[np.void], kind: bytes, layout: np.dtype[np.void]) -> npt.NDArray[np.void]:
    bodies: npt.NDArray[np.void] = extended["body"][extended["kind"] == kind].copy().view(layout)
    return bodies


def _waveforms(extended: npt.NDArray[np.void]) -> Iterator[NevWaveform]:
    for body in _bodies(extended, b"NEUEVWAV", WAVEFORM_BODY):
        yield NevWaveform(*(int(body[name]) for name in WAVEFORM_BODY.names[:-1]))  # type: ignore[index]


def _filters(extended: npt.NDArray[np.void]) -> Iterator[NevFilter]:
    for body in _bodies(extended, b"NEUEVFLT", FILTER_BODY):
        yield NevFilter(
            electrode_id=int(body["electrode_id"]),
            high_corner_millihertz=int(body["high_corner_millihertz"]),
            high_order=int(body["high_order"]),
            high_type=filter_type(int(body["high_type"])),
            low_corner_millihertz=int(body["low_corner_millihertz"]),
            low_order=int(body["low_order"]),
            low_type=filter_type(int(body["low_type"])),
        )

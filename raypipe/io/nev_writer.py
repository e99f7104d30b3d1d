"""Writing a `.nev` file of digital events, specification 2.2 or 2.3 (for simulated days and tests)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.errors import UsageError
from raypipe.io.nev import NevFilter, NevWaveform
from raypipe.io.ripple import (
    EXTENDED_HEADER,
    FILTER_BODY,
    LABEL_BODY,
    NEV_BASIC_HEADER,
    SPECS,
    WAVEFORM_BODY,
    filter_number,
    label_bytes,
    origin_fields,
    packet_dtype,
)


def write_nev(
    path: Path,
    *,
    ticks: npt.ArrayLike,
    codes: npt.ArrayLike,
    reasons: npt.ArrayLike = 1,
    spec: str = "2.3",
    timestamp_resolution: int = 30000,
    time_origin: datetime | None = None,
    packet_bytes: int = 104,
    waveforms: Iterable[NevWaveform] = (),
    labels: Mapping[int, str] | None = None,
    filters: Iterable[NevFilter] = (),
) -> None:
    """Write digital events (`ticks` (m,), `codes` (m,) words) and channel descriptions as a `.nev` file.

    Source: NEV file specification 2.2 and 2.3. Raises UsageError for what the format cannot hold.
    """
    if spec not in SPECS:
        raise UsageError(f"a .nev file of specification {spec} cannot be written: 2.2 or 2.3")
    if packet_bytes < 12 or packet_bytes % 4:
        raise UsageError(f"data packets of {packet_bytes} bytes: they need a multiple of 4, at least 12")
    extended = b"".join(
        [
            *(_extended(b"NEUEVWAV", _waveform(w)) for w in waveforms),
            *(_extended(b"NEUEVFLT", _filter(f)) for f in filters),
            *(_extended(b"NEUEVLBL", _label(electrode, label)) for electrode, label in (labels or {}).items()),
        ]
    )
    header = np.zeros((), NEV_BASIC_HEADER)
    header["magic"] = b"NEURALEV"
    header["spec"] = [int(part) for part in spec.split(".")]
    header["flags"] = 1
    header["header_bytes"] = NEV_BASIC_HEADER.itemsize + len(extended)
    header["packet_bytes"] = packet_bytes
    header["timestamp_resolution"] = header["sample_resolution"] = timestamp_resolution
    header["time_origin"] = origin_fields(time_origin)
    header["application"] = b"raypipe"
    header["n_extended_headers"] = len(extended) // EXTENDED_HEADER.itemsize
    path.write_bytes(header.tobytes() + extended + _packets(ticks, codes, reasons, packet_bytes))


def _packets(ticks: npt.ArrayLike, codes: npt.ArrayLike, reasons: npt.ArrayLike, packet_bytes: int) -> bytes:
    when, word = np.asarray(ticks, np.int64), np.asarray(codes, np.int64)
    if when.shape != word.shape or when.ndim != 1:
        raise UsageError(f"ticks {when.shape} and codes {word.shape} must be one row each, equally long")
    if when.size and not (when.min() >= 0 and when.max() < 2**32 and word.min() >= 0 and word.max() < 2**16):
        raise UsageError("ticks need 32 bits and codes 16 bits without sign")
    packets = np.zeros(when.size, packet_dtype(packet_bytes))
    packets["ticks"], packets["code"], packets["reason"] = when, word, reasons
    return packets.tobytes()


def _extended(kind: bytes, body: npt.NDArray[np.void]) -> bytes:
    return kind + body.tobytes()


def _waveform(waveform: NevWaveform) -> npt.NDArray[np.void]:
    body = np.zeros((), WAVEFORM_BODY)
    for name, value in vars(waveform).items():
        body[name] = value
    return body


def _filter(corners: NevFilter) -> npt.NDArray[np.void]:
    body = np.zeros((), FILTER_BODY)
    for name, value in vars(corners).items():
        body[name] = filter_number(value) if name.endswith("_type") else value
    return body


def _label(electrode: int, label: str) -> npt.NDArray[np.void]:
    body = np.zeros((), LABEL_BODY)
    body["electrode_id"], body["label"] = electrode, label_bytes(label)
    return body

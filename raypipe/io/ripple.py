"""What Ripple/Blackrock's `.nev` and `.nsX` files have in common, and the layout of their records (specification 2.2, 2.3)."""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from raypipe.errors import UsageError

SPECS = ("2.2", "2.3")
FILTER_TYPES = ("None", "Butterworth", "Chebyshev")

NEV_BASIC_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("spec", "u1", 2),
        ("flags", "<u2"),
        ("header_bytes", "<u4"),
        ("packet_bytes", "<u4"),
        ("timestamp_resolution", "<u4"),
        ("sample_resolution", "<u4"),
        ("time_origin", "<u2", 8),
        ("application", "S32"),
        ("comment", "S256"),
        ("n_extended_headers", "<u4"),
    ]
)
EXTENDED_HEADER = np.dtype([("kind", "S8"), ("body", "V24")])
WAVEFORM_BODY = np.dtype(
    [
        ("electrode_id", "<u2"),
        ("connector", "u1"),
        ("pin", "u1"),
        ("digitization_factor_nv", "<u2"),
        ("energy_threshold", "<u2"),
        ("high_threshold", "<i2"),
        ("low_threshold", "<i2"),
        ("sorted_units", "u1"),
        ("bytes_per_sample", "u1"),
        ("spike_width_samples", "<u2"),
        ("reserved", "V8"),
    ]
)
LABEL_BODY = np.dtype([("electrode_id", "<u2"), ("label", "S16"), ("reserved", "V6")])
FILTER_BODY = np.dtype(
    [
        ("electrode_id", "<u2"),
        ("high_corner_millihertz", "<u4"),
        ("high_order", "<u4"),
        ("high_type", "<u2"),
        ("low_corner_millihertz", "<u4"),
        ("low_order", "<u4"),
        ("low_type", "<u2"),
        ("reserved", "V2"),
    ]
)
NSX_BASIC_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("spec", "u1", 2),
        ("header_bytes", "<u4"),
        ("label", "S16"),
        ("comment", "S256"),
        ("period", "<u4"),
        ("timestamp_resolution", "<u4"),
        ("time_origin", "<u2", 8),
        ("n_channels", "<u4"),
    ]
)
NSX_CHANNEL_HEADER = np.dtype(
    [
        ("kind", "S2"),
        ("electrode_id", "<u2"),
        ("label", "S16"),
        ("connector", "u1"),
        ("pin", "u1"),
        ("min_digital", "<i2"),
        ("max_digital", "<i2"),
        ("min_analog", "<i2"),
        ("max_analog", "<i2"),
        ("units", "S16"),
        ("high_corner_millihertz", "<u4"),
        ("high_order", "<u4"),
        ("high_type", "<u2"),
        ("low_corner_millihertz", "<u4"),
        ("low_order", "<u4"),
        ("low_type", "<u2"),
    ]
)


def packet_dtype(packet_bytes: int) -> np.dtype[np.void]:
    """Layout of one data packet of a file whose packets are `packet_bytes` wide, read as a digital event."""
    fields = {
        "names": ["ticks", "packet_id", "reason", "code"],
        "formats": ["<u4", "<u2", "u1", "<u2"],
        "offsets": [0, 4, 6, 8],
        "itemsize": packet_bytes,
    }
    return np.dtype(fields)  # type: ignore[call-overload, no-any-return]


def text(raw: bytes) -> str:
    """Decode a fixed-width header text: up to its first zero byte, without blanks around it."""
    return bytes(raw).split(b"\0", 1)[0].decode("latin-1").strip()


def filter_type(number: int) -> str:
    """Name a filter type of the header."""
    return FILTER_TYPES[number] if number < len(FILTER_TYPES) else f"type {number}"


def time_of_origin(fields: npt.NDArray[np.uint16]) -> datetime | None:
    """Read year, month, weekday, day, hour, minute, second, ms (UTC): the moment of tick 0; None if unset."""
    year, month, _weekday, day, hour, minute, second, millisecond = (int(f) for f in fields)
    try:
        return datetime(year, month, day, hour, minute, second, 1000 * millisecond, tzinfo=UTC)
    except ValueError:
        return None


def origin_fields(time_origin: datetime | None) -> list[int]:
    """Year, month, weekday (Sunday 0), day, hour, minute, second, millisecond; all zero if unknown."""
    if time_origin is None:
        return [0] * 8
    t = time_origin
    weekday = t.isoweekday() % 7
    return [t.year, t.month, weekday, t.day, t.hour, t.minute, t.second, t.microsecond // 1000]


def filter_number(name: str) -> int:
    """Find the number of a filter type; the inverse of `filter_type`."""
    if name in FILTER_TYPES:
        return FILTER_TYPES.index(name)
    kind, _, digits = name.partition(" ")
    if kind == "type" and digits.isdecimal():
        return int(digits)
    raise UsageError(f"filter type {name!r}: one of {', '.join(FILTER_TYPES)}")


def label_bytes(label: str) -> bytes:
    """Encode a channel's label or units, at most 16 bytes."""
    encoded = label.encode("latin-1", "replace")
    if len(encoded) > 16:
        raise UsageError(f"label {label!r} is longer than 16 letters")
    return encoded

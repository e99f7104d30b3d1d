"""RPLSplit makes RPLRaw: one object a channel, its samples in microvolts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from raypipe.io.nev import NevFilter
from raypipe.io.objects import base_fields

STEM = "rplraw"
ARGS: Mapping[str, Any] = {}


def object_fields(
    directory: str, *, label: str, n_samples: int, rate_hz: float, recorder_filter: NevFilter | None
) -> dict[str, Any]:
    """Make the fields of a channel's object, in PyHipp's order and with its types.

    `data` (float32 (n_samples,), µV) is a placeholder, and so are the float32 `MinVal` and `MaxVal` (µV).
    `label` is the channel's own ("raw 9"); `recorder_filter` what the .nev says of the recorder's filters (Hz in the
    object), None if it says nothing: then there was no filter.
    """
    band = recorder_filter or NevFilter(0, 0, 0, "None", 0, 0, "None")
    base = base_fields(ARGS, directory, "channel")
    info = {
        "SampleRate": float(rate_hz),
        "Units": "uV",
        "HighFreqCorner": band.high_corner_millihertz / 1000,
        "HighFreqOrder": np.uint32(band.high_order),
        "HighFilterType": band.high_type,
        "LowFreqCorner": band.low_corner_millihertz / 1000,
        "LowFreqOrder": np.uint32(band.low_order),
        "LowFilterType": band.low_type,
        "MaxVal": np.float32(0),
        "MinVal": np.float32(0),
        "NumberSamples": n_samples,
        "ProbeInfo": probe_info(label),
    }
    return {"args": base.pop("args"), "data": None, "analogInfo": info, **base, "numSets": 1}


def probe_info(label: str) -> str:
    """Spell a channel's label as PyHipp does, which prints the bytes of it: `b'raw 9'`. Its readers count on that."""
    return str(label.encode())

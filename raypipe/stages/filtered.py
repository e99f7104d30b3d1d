"""What the objects of a filtered channel, LFP and high-pass, hold in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raypipe.io.objects import base_fields
from raypipe.stages.rplsplit import probe_info


def filtered_fields(
    args: Mapping[str, Any],
    directory: str,
    *,
    rate_hz: float,
    order: int,
    band_hz: Sequence[float],
    probe: str,
    n_samples: int,
) -> dict[str, Any]:
    """Make the fields in PyHipp's order and with its types; `data`, `MinVal` and `MaxVal` (µV) are placeholders.

    PyHipp's two corners are the edges of the band times the rate, which means nothing; they are kept as they are.
    """
    base = base_fields(args, directory, "channel")
    low_hz, high_hz = band_hz
    info = {
        "SampleRate": rate_hz,
        "MinVal": np.float64(0),
        "MaxVal": np.float64(0),
        "HighFreqCorner": low_hz * rate_hz,
        "LowFreqCorner": high_hz * rate_hz,
        "NumberSamples": n_samples,
        "HighFreqOrder": order,
        "LowFreqOrder": order,
        "ProbeInfo": probe_info(probe),
    }
    return {"args": base.pop("args"), "data": None, "analogInfo": info, "numSets": 1, **base}

"""RPLHighPass: the band of a channel in which spikes are sorted."""

from collections.abc import Mapping
from typing import Any

from raypipe.stages.design import BandPassDesign, design_bandpass
from raypipe.stages.filtered import filtered_fields

STEM = "rplhighpass"
ARGS: Mapping[str, Any] = {"HighOrder": 8, "HighPassFrequency": [500, 7500]}


def object_fields(
    args: Mapping[str, Any], directory: str, *, label: str, n_samples: int, rate_hz: float
) -> dict[str, Any]:
    """Make the fields of a channel's object, with as many samples as the recording, at its rate.

    `data` (float32 (n_samples,), µV) is a placeholder, and so are the float64 `MinVal` and `MaxVal` (µV).
    """
    return filtered_fields(
        args,
        directory,
        rate_hz=float(rate_hz),
        order=args["HighOrder"],
        band_hz=args["HighPassFrequency"],
        probe=label.replace("raw", "hp"),
        n_samples=n_samples,
    )


def design(args: Mapping[str, Any], rate_hz: float) -> BandPassDesign:
    """Design the filter for a recording at `rate_hz`. Raises UsageError, which names the parameter at fault."""
    low_hz, high_hz = args["HighPassFrequency"]
    return design_bandpass(args["HighOrder"], low_hz, high_hz, rate_hz, names=("HighOrder", "HighPassFrequency"))

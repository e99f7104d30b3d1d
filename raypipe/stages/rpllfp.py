"""RPLLFP: the local field potential of a channel, decimated and band-passed."""

from collections.abc import Mapping
from typing import Any

from raypipe.stages.design import BandPassDesign, DecimatorDesign, design_bandpass, design_decimator
from raypipe.stages.filtered import filtered_fields

STEM = "rpllfp"
ARGS: Mapping[str, Any] = {"ResampleRate": 1000, "LFPOrder": 8, "LowPassFrequency": [1, 150]}


def object_fields(args: Mapping[str, Any], directory: str, *, label: str, n_samples: int) -> dict[str, Any]:
    """Make the fields of a channel's object; `n_samples` counts its own samples, at `ResampleRate`.

    `data` (float32 (n_samples,), µV) is a placeholder, and so are the float64 `MinVal` and `MaxVal` (µV).
    """
    return filtered_fields(
        args,
        directory,
        rate_hz=args["ResampleRate"],
        order=args["LFPOrder"],
        band_hz=args["LowPassFrequency"],
        probe=label.replace("raw", "lfp"),
        n_samples=n_samples,
    )


def design(args: Mapping[str, Any], rate_hz: float) -> tuple[DecimatorDesign, BandPassDesign]:
    """Design the two filters for a recording at `rate_hz`. Raises UsageError, which names the parameter at fault."""
    decimator = design_decimator(rate_hz, args["ResampleRate"], name="ResampleRate")
    low_hz, high_hz = args["LowPassFrequency"]
    bandpass = design_bandpass(
        args["LFPOrder"], low_hz, high_hz, args["ResampleRate"], names=("LFPOrder", "LowPassFrequency")
    )
    return decimator, bandpass


def output_samples(n_samples: int, decimator: DecimatorDesign) -> int:
    """Count the samples that `n_samples` of the recording give: the last ones may be fewer than a whole step."""
    return -(-n_samples // decimator.down)

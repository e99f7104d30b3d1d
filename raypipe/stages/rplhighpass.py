"""RPLHighPass: the band of a channel in which spikes are sorted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raypipe.stages.channel import ChannelFacts
from raypipe.stages.design import BandPassDesign, design_bandpass
from raypipe.stages.filtered import BandPassed, filtered_fields

BLOCK_SAMPLES = 7500
"""Samples that a backward pass finishes; with its look-ahead, 8 channels of them fit a core's cache."""


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


@dataclass(frozen=True)
class RplHighPass:
    """The stage with its parameters, for recordings at one rate."""

    args: Mapping[str, Any]
    bandpass: BandPassDesign

    @classmethod
    def of(cls, args: Mapping[str, Any], rate_hz: float) -> "RplHighPass":
        """Make the stage for a recording at `rate_hz`. Raises UsageError, which names the parameter at fault."""
        return cls(args, design(args, rate_hz))

    def output_samples(self, n_samples: int) -> int:
        """Count the samples that `n_samples` of the recording give: as many."""
        return n_samples

    def object_fields(self, directory: str, facts: ChannelFacts) -> dict[str, Any]:
        """Make the fields of a channel's object."""
        return object_fields(self.args, directory, label=facts.label, n_samples=facts.n_samples, rate_hz=facts.rate_hz)

    def filter(self) -> BandPassed:
        """Make the filter."""
        return BandPassed(self.bandpass, BLOCK_SAMPLES)

"""RPLLFP: the local field potential of a channel, decimated and band-passed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from raypipe.stages.channel import ChannelFacts
from raypipe.stages.design import BandPassDesign, DecimatorDesign, design_bandpass, design_decimator
from raypipe.stages.filtered import BandPassed, filtered_fields

BLOCK_SAMPLES = 16384
"""Samples that a backward pass finishes: some more than its look-ahead, which at 1 Hz and 1000 samples a second is long."""


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


@dataclass(frozen=True)
class RplLfp:
    """The stage with its parameters, for recordings at one rate."""

    args: Mapping[str, Any]
    decimator: DecimatorDesign
    bandpass: BandPassDesign

    @classmethod
    def of(cls, args: Mapping[str, Any], rate_hz: float) -> "RplLfp":
        """Make the stage for a recording at `rate_hz`. Raises UsageError, which names the parameter at fault."""
        return cls(args, *design(args, rate_hz))

    def output_samples(self, n_samples: int) -> int:
        """Count the samples that `n_samples` of the recording give."""
        return output_samples(n_samples, self.decimator)

    def object_fields(self, directory: str, facts: ChannelFacts) -> dict[str, Any]:
        """Make the fields of a channel's object."""
        return object_fields(self.args, directory, label=facts.label, n_samples=self.output_samples(facts.n_samples))

    def filter(self) -> "LfpFilter":
        """Make the filter."""
        return LfpFilter(self.decimator, self.bandpass)


class LfpFilter:
    """Decimates 8 lanes, then band-passes what is left.

    The decimator leaves out each lane's constant part, which the band-pass would remove anyway, but which would cost
    the small LFP its digits.
    """

    def __init__(self, decimator: DecimatorDesign, bandpass: BandPassDesign) -> None:
        self._decimator = kernels.Decimator(decimator.taps, decimator.down)
        self._window = len(decimator.taps)
        self._down = decimator.down
        self._bandpass = BandPassed(bandpass, BLOCK_SAMPLES)
        self._decimated = np.empty((kernels.LANES, 0), np.float32)

    @property
    def extremes(self) -> NDArray[np.float64]:
        """(2, 8) float64: smallest and largest sample so far, before rounding to float32."""
        return self._bandpass.extremes

    def push(self, microvolts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (8, n) samples at the recording's rate; give the LFP's (8, m) that are final."""
        decimated = self._room(microvolts.shape[1])
        return self._bandpass.push(decimated[:, : self._decimator.push(microvolts, decimated)])

    def finish(self) -> NDArray[np.float32]:
        """Give the (8, m) samples that waited for their future. Raises `ValueError` for too short a signal."""
        decimated = self._room(self._window)
        last = self._bandpass.push(decimated[:, : self._decimator.finish(decimated)]).copy()
        return np.concatenate([last, self._bandpass.finish()], axis=1)

    def _room(self, n_samples: int) -> NDArray[np.float32]:
        needed = n_samples // self._down + 9  # the decimator gives eight at once
        if self._decimated.shape[1] < needed:
            self._decimated = np.empty((kernels.LANES, needed), np.float32)
        return self._decimated

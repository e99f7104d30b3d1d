"""RPLSplit makes RPLRaw: one object a channel, its samples in microvolts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import LANES
from raypipe.io.nev import NevFilter
from raypipe.io.objects import base_fields
from raypipe.stages.channel import ChannelFacts


def object_fields(
    directory: str, *, label: str, n_samples: int, rate_hz: float, recorder_filter: NevFilter | None
) -> dict[str, Any]:
    """Make the fields of a channel's object, in PyHipp's order and with its types.

    `data` (float32 (n_samples,), µV) is a placeholder, and so are the float32 `MinVal` and `MaxVal` (µV).
    `label` is the channel's own ("raw 9"); `recorder_filter` what the .nev says of the recorder's filters (Hz in the
    object), None if it says nothing: then there was no filter.
    """
    band = recorder_filter or NevFilter(0, 0, 0, "None", 0, 0, "None")
    base = base_fields({}, directory, "channel")
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


@dataclass(frozen=True)
class RplSplit:
    """The stage; it has no parameters."""

    @classmethod
    def of(cls, args: Mapping[str, Any], rate_hz: float) -> "RplSplit":  # noqa: ARG003 (as the other stages)
        """Make the stage for a recording at `rate_hz`."""
        return cls()

    def output_samples(self, n_samples: int) -> int:
        """Count the samples that `n_samples` of the recording give: all of them."""
        return n_samples

    def object_fields(self, directory: str, facts: ChannelFacts) -> dict[str, Any]:
        """Make the fields of a channel's object."""
        return object_fields(
            directory,
            label=facts.label,
            n_samples=facts.n_samples,
            rate_hz=facts.rate_hz,
            recorder_filter=facts.recorder_filter,
        )

    def filter(self) -> "Unfiltered":
        """Make what passes everything on."""
        return Unfiltered()


class Unfiltered:
    """Passes samples on as they are, and keeps their extremes."""

    def __init__(self) -> None:
        self.extremes = np.array([[np.inf], [-np.inf]], np.float32).repeat(LANES, axis=1)

    def push(self, microvolts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (8, n) samples and give them back."""
        if microvolts.shape[1]:
            np.minimum(self.extremes[0], microvolts.min(axis=1), out=self.extremes[0])
            np.maximum(self.extremes[1], microvolts.max(axis=1), out=self.extremes[1])
        return microvolts

    def finish(self) -> NDArray[np.float32]:
        """Nothing waits."""
        return np.empty((LANES, 0), np.float32)

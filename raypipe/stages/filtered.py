"""What a filtered channel, LFP and high-pass, has in common: the fields of its object, and the band-pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kernels
from raypipe.io.objects import base_fields
from raypipe.stages.design import BandPassDesign
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


class BandPassed:
    """Band-passes 8 lanes forward and back, a block of `block` samples at a time."""

    def __init__(self, design: BandPassDesign, block: int) -> None:
        self._halo = kernels.halo_for(design.sections)
        self._kernel = kernels.BandPass(
            design.sections, design.gain, edge=design.edge_samples, halo=self._halo, block=block
        )
        self._waiting = block + self._halo
        self._out = np.empty((kernels.LANES, self._waiting), np.float32)

    @property
    def extremes(self) -> NDArray[np.float64]:
        """(2, 8) float64: smallest and largest sample so far, before rounding to float32."""
        return np.stack([self._kernel.lowest, self._kernel.highest])

    def push(self, microvolts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (8, n) samples; give the (8, m) that are final, valid until the next call."""
        if self._out.shape[1] < microvolts.shape[1] + self._waiting:
            self._out = np.empty((kernels.LANES, microvolts.shape[1] + self._waiting), np.float32)
        return self._out[:, : self._kernel.push(microvolts, self._out)]

    def finish(self) -> NDArray[np.float32]:
        """Give the (8, m) samples that waited for their future. Raises `ValueError` for too short a signal."""
        return self._out[:, : self._kernel.finish(self._out)]

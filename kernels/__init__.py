"""The arithmetic of the pipeline, on eight lanes (neighbouring channels) at once. Knows numpy and numba, nothing else."""

from kernels.bandpass import BandPass, halo_for
from kernels.compile import fingerprint, warm
from kernels.convert import to_microvolts
from kernels.decimate import Decimator
from kernels.deinterleave import deinterleave
from kernels.simd import LANES

__all__ = [
    "LANES",
    "BandPass",
    "Decimator",
    "deinterleave",
    "fingerprint",
    "halo_for",
    "to_microvolts",
    "warm",
]

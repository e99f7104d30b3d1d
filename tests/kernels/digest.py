"""Run every kernel once, in a process of its own, and print a hash of all the bits that came out.

Then the fractions of the kernels that were compiled, and that came from the cache.
"""

import hashlib
import sys

import numpy as np
from twins import HIGH_SOS, TAPS, in_pieces, recording

from kernels import BandPass, Decimator, deinterleave, to_microvolts, warm
from kernels.compile import DECLARED


def main() -> None:
    warm()
    x = recording(9001, offset=500)
    counts = (4 * x).astype(np.int16)
    volts = np.empty_like(x)
    to_microvolts(counts, np.full(8, 0.3, "f4"), np.full(8, 7.7, "f4"), volts)
    mixed = np.empty((8, 9001), np.int16)
    deinterleave(np.ascontiguousarray(counts.T), np.arange(8), mixed)
    high = in_pieces(BandPass(HIGH_SOS[:, 4:], HIGH_SOS[:, 0].prod(), block=2000), volts, [77], 9001)
    slow = in_pieces(Decimator(TAPS, 30, baseline=True), volts, [77], 301)
    bits = hashlib.sha256(b"".join(each.tobytes() for each in (volts, mixed, high, slow))).hexdigest()
    compiled = sum(sum(kernel.dispatcher.stats.cache_misses.values()) for kernel in DECLARED)
    loaded = sum(sum(kernel.dispatcher.stats.cache_hits.values()) for kernel in DECLARED)
    sys.stdout.write(f"{bits} {compiled / len(DECLARED)} {loaded / len(DECLARED)}\n")


main()

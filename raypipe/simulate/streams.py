"""Random numbers that depend on what they are for, and on nothing else."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """Open the stream of one purpose ("noise", ...) and key (session, channel, block): independent of all the others.

    The same numbers come on every machine and in whatever order the streams are asked for (NumPy's Philox counter
    generator, Salmon et al. 2011, seeded by SeedSequence).
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *key))
    return np.random.Generator(np.random.Philox(sequence))

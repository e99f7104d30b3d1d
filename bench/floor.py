"""The least that any way can take: write the output's bytes into as many files, sync each, and do nothing else."""

import os
import sys
from pathlib import Path

import numpy as np

SLICE_BYTES = 480_000


def main(sizes_file: Path, out: Path) -> None:
    """Write a file of each size in `sizes_file` (one number a line)."""
    out.mkdir()
    block = np.random.default_rng(0).integers(0, 256, SLICE_BYTES, np.uint8).tobytes()
    for number, line in enumerate(sizes_file.read_text().split()):
        descriptor = os.open(out / f"{number}", os.O_CREAT | os.O_WRONLY)
        left = int(line)
        while left:
            left -= os.write(descriptor, block[: min(left, SLICE_BYTES)])
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

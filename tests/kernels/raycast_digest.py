"""Cast gaze and write rows in a process of its own, and print a hash of all the bits that came out."""

import hashlib
import sys

import numpy as np
from raycast_twins import cast, caster, random_gaze

from kernels.gaze.rows import write_numbers


def main() -> None:
    gaze, poses = random_gaze(2000, 11)
    objects, points, bins = cast(caster(radius=20), gaze, poses, np.arange(2000) % 3)
    text = write_numbers(points.astype(np.float32).ravel())
    bits = b"".join((objects.tobytes(), points.tobytes(), bins.tobytes(), text))
    sys.stdout.write(hashlib.sha256(bits).hexdigest())


main()

"""Has a scaler look where there is no Ray: with work until a file is there that says `stop`, then with none.

python scale_without_ray.py FOLDER HEAD_JOB
"""

import sys
import time
from pathlib import Path

from cluster.jobs import Shape
from cluster.scaler import Scaler
from cluster.scaling import Need
from tests.cluster.one_run import settings_of


def main(folder: Path, head: int) -> None:
    scaler = Scaler(folder, settings_of(folder), Shape(0, 3), head, period_seconds=0.3)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (folder / "end").exists():
        needs = [] if (folder / "stop").exists() else [Need(1, 1, 3600.0)] * 10
        for sentence in scaler.look(needs, [], ()):
            sys.stdout.write(sentence + "\n")
            with (folder / "said").open("a") as file:
                file.write(sentence + "\n")
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""The job after the head, however that ended: ends what is left of the run, then does what was asked for.

python -P -m cluster.finish --run FOLDER --name NAME --head JOB [-- COMMAND...]
"""

import logging
import subprocess
from collections.abc import Sequence

from cluster.entry import begin, end_workers, options
from cluster.run_folder import forget, said_again, unsay_again

_WORKERS_SECONDS = 60.0
log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """End the run's workers, remove its token, and return the exit code of the command (0 without one)."""
    arguments, command = options(__doc__, words)
    end_workers(arguments.name, arguments.head, _WORKERS_SECONDS)
    forget(arguments.run)
    for job in said_again(arguments.run):
        unsay_again(arguments.run, job)
    return subprocess.run(command, check=False).returncode if command else 0


if __name__ == "__main__":
    begin(main)

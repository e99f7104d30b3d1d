"""The job of the head: Ray's head on its node, then the driver, then the end of all workers, with the driver's exit code.

A driver that ran out of time (exit code 75) goes on in the job's next life, with the same workers; so does one whose node
EC2 is about to take away.

python -P -m cluster.head --run FOLDER --name NAME -- DRIVER...
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster import slurm
from cluster.entry import begin, end_workers, here, options, queue_again
from cluster.errors import ClusterError, RayNotStarted
from cluster.holds import Holds
from cluster.leftovers import remove_leftovers
from cluster.names import WORKERS, job_name
from cluster.ray_logs import log_name
from cluster.ray_node import RayNode, address_here, head_options, ray_node, temp_folder
from cluster.run_folder import forget, said_again, unsay_again, write_address, write_token
from cluster.share import port_of, spill_folder
from cluster.spot import LATE_SECONDS, SpotWatch

_ELSEWHERE = "192.0.2.1"
"""Of nobody (RFC 5737): the way there is the way out."""
_LOOK_SECONDS = 0.5
_HOLDS_SECONDS = 5.0
_GRACE_SECONDS = 10.0
_WORKERS_SECONDS = 30.0
_ORDERLY_END_SECONDS = 60.0
"""The driver's and Ray's end, and being queued again, before a node is taken away."""
OUT_OF_TIME = 75
"""The driver's exit code (EX_TEMPFAIL) if it ended because the walltime was near."""
_EXPECTED = (0, 1, 3, OUT_OF_TIME, 130)
"""Exit codes of a driver with whose Ray nothing is amiss: done, a task failed, refused, out of time, interrupted."""
log = logging.getLogger(__name__)


class _Again(Exception):
    """The driver ran out of time."""


def main(words: Sequence[str]) -> int:
    """Run the driver on a Ray of its own, and return its exit code."""
    arguments, driver = options(__doc__, words)
    node = here(driver=True)
    address = address_here(node.address, _ELSEWHERE)
    port = port_of(node.job)
    start = head_options(node.share, address=address, port=port)
    folder, spill = temp_folder(arguments.temp, node.job), spill_folder(os.environ, arguments.scratch, node.job)
    remove_leftovers({each.parent for each in (folder, spill) if each})
    watch = SpotWatch()
    try:
        unsay_again(arguments.run, node.job)
        write_token(arguments.run)
        with (
            ray_node(start, folder, spill, kept=arguments.run / log_name(arguments.name, os.environ)) as ray,
            _workers(arguments.run, arguments.name, node.job, arguments.nodes - 1),
        ):
            doomed = _sit_out(watch)
            write_address(arguments.run, f"{address}:{port}")
            log.info("head at %s:%d, %s", address, port, node.share)
            workers = job_name(arguments.name, WORKERS, node.job)
            code = _drive(driver, f"{address}:{port}", ray, workers, arguments.run, None if doomed else watch)
            if code == OUT_OF_TIME:
                raise _Again
            return code
    except _Again:
        return _again(arguments.run, arguments.name, node.job, same_node=watch.notice is None)
    except BaseException:
        forget(arguments.run)
        raise


def _again(run: Path, name: str, job: int, *, same_node: bool) -> int:
    """Have this job queued again; where Slurm does not do that, end the run."""
    forget(run)
    log.info("out of time")
    try:
        queue_again(run, job, same_node=same_node)
    except ClusterError as error:
        log.error(  # noqa: TRY400  (the message is the whole truth)
            "out of time, and this job cannot be queued again (%s). What is done stays done: "
            "the `raypipe submit` that made this job, given again, goes on where it was",
            error.message,
        )
    end_workers(name, job, _WORKERS_SECONDS)
    return OUT_OF_TIME


def _sit_out(watch: SpotWatch) -> bool:
    """Begin nothing on a node that is about to be taken away; return whether it was to be, and is still there."""
    # Ray's start took seconds: the answer is there where there is one.
    if watch.notice is None:
        return False
    log.warning(
        "EC2 will %s this node in %.0f s; nothing is begun here", watch.notice.action, watch.notice.seconds_left()
    )
    while watch.notice.seconds_late() < LATE_SECONDS:
        time.sleep(_LOOK_SECONDS)
    return True


@contextmanager
def _workers(run: Path, name: str, job: int, in_this_job: int) -> Iterator[None]:
    """See to the workers' end; where they are nodes of this very job, to their beginning too."""
    steps = subprocess.Popen(_step(run, name, job, in_this_job)) if in_this_job else None
    terminated = again = False
    try:
        yield
    except SystemExit:
        terminated = True
        raise
    except _Again:
        again = True
        raise
    finally:
        forget(run)  # whoever looks for the head now is too late
        if steps:
            _end_step(steps, job)
        elif not again:
            # Slurm kills a cancelled job after KillWait, half a minute usually: no time to wait for others.
            end_workers(name, job, 0.0 if terminated else _WORKERS_SECONDS)


def _step(run: Path, name: str, job: int, nodes: int) -> list[str]:
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    where = [word for word in own if word.startswith(("--temp=", "--scratch="))]
    # Not on the first node (relative to it), all CPUs of the others, and none bound to one CPU.
    step = [f"--nodes={nodes}", f"--ntasks={nodes}", "--relative=1", "--cpu-bind=none", "--kill-on-bad-exit=0"]
    program = [sys.executable, "-P", "-m", "cluster.worker", f"--run={run}", f"--name={name}", f"--head={job}", *where]
    return ["srun", *step, *program]


def _end_step(steps: subprocess.Popen[bytes], job: int) -> None:
    """Tell the workers of this job to go; srun itself, told so, would kill them before they have cleaned up."""
    try:
        slurm.terminate_step(job, 0)
        steps.wait(timeout=_GRACE_SECONDS)
    except (ClusterError, subprocess.TimeoutExpired) as error:
        log.warning("the workers do not go by themselves: %s", error)
        steps.terminate()
        steps.wait()


def _drive(command: Sequence[str], address: str, ray: RayNode, workers: str, run: Path, watch: SpotWatch | None) -> int:
    """Run the driver to its end; lift the holds of workers whose nodes died meanwhile, and pass a spot notice on."""
    # Which the driver inherits until it listens, and whenever it does not: by default it would be the end of it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        driver = subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": address})
    except OSError as error:
        raise ClusterError(
            f"the driver could not be started: {command[0] if command else 'no command'}: {error.strerror}",
            hint="the same Python as here must be there on compute nodes; give its venv in the settings",
        ) from error
    signal.signal(signal.SIGUSR1, lambda number, _: driver.send_signal(number))
    holds = Holds()
    try:
        until_look, warned = 0.0, False
        while True:
            try:
                code = driver.wait(timeout=_LOOK_SECONDS)
                ray.failed = code not in _EXPECTED
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                pass
            if (lost := ray.ended()) is not None:
                ray.failed = True
                raise RayNotStarted(
                    f"Ray's head ended under the driver (exit code {lost})",
                    hint="memory of the head's node is the usual cause: give `head_memory_mb`; then submit again",
                )
            if watch and (notice := watch.notice):
                # Once: begin nothing more. Then, for as long as it takes: end now.
                if not warned or notice.seconds_left() < _ORDERLY_END_SECONDS:
                    driver.send_signal(signal.SIGUSR1)
                if not warned:
                    log.warning("EC2 will %s this node in %.0f s", notice.action, notice.seconds_left())
                warned = True
            until_look += _LOOK_SECONDS
            if until_look >= _HOLDS_SECONDS:
                until_look = 0.0
                _look_at(workers, holds, run)
    finally:
        if driver.poll() is None:
            driver.terminate()
            try:
                driver.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                driver.kill()
                driver.wait()


def _look_at(workers: str, holds: Holds, run: Path) -> None:
    try:
        holds.look(slurm.jobs(names=[workers]), said_again(run))
    except ClusterError as error:
        log.warning("holds could not be looked at: %s", error)


if __name__ == "__main__":
    begin(main)

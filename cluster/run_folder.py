"""The two files by which the nodes of a run find each other: the head's address, and the token that lets them in.

They lie in the run's folder, on a disk that all nodes share, and exist only while the head does.
"""

import os
import secrets
from pathlib import Path

_ADDRESS, _TOKEN, _AGAIN = "address", "token", "again-"


def write_token(run: Path) -> Path:
    """Write a new token that only its owner can read (0600), and return its path."""
    forget(run)
    path = run / _TOKEN
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    return path


def write_address(run: Path, address: str) -> None:
    """Say where the head is (`ip:port`): from now on workers may join."""
    temporary = run / f".{_ADDRESS}.{os.getpid()}"
    temporary.write_text(f"{address}\n")
    temporary.replace(run / _ADDRESS)


def read_address(run: Path) -> str | None:
    """Return where the head is, or None while there is none."""
    # Asking the folder first makes NFS look again; asked for the file alone, it may go on saying that there is none.
    try:
        return (run / _ADDRESS).read_text().strip() if _ADDRESS in os.listdir(run) else None  # noqa: PTH208
    except FileNotFoundError:
        return None


def say_again(run: Path, job: int) -> None:
    """Say that a job ended in order and has itself queued again, so that nothing is wrong with its node."""
    (run / f"{_AGAIN}{job}").touch()


def unsay_again(run: Path, job: int) -> None:
    """Take it back: the job has begun again, or is not queued."""
    (run / f"{_AGAIN}{job}").unlink(missing_ok=True)


def said_again(run: Path) -> frozenset[int]:
    """Return the ids of the jobs that said so."""
    try:
        found = [name.removeprefix(_AGAIN) for name in os.listdir(run) if name.startswith(_AGAIN)]  # noqa: PTH208  (as above)
    except FileNotFoundError:
        return frozenset()
    return frozenset(int(number) for number in found if number.isdigit())


def forget(run: Path) -> None:
    """Remove both; nothing happens where there are none."""
    for path in (run / _ADDRESS, run / _TOKEN, *run.glob(f".{_ADDRESS}.*")):
        path.unlink(missing_ok=True)

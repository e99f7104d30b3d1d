"""Finds files that are secrets by their names, such as SSH's private keys, on a volume that is about to be copied."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from cluster.secrecy import secret_in

_NAMED = re.compile(
    r".*\.(pem|ppk|p12|pfx|key)|id_(rsa|dsa|ecdsa|ed25519)[^.]*|credentials|\.(netrc|pgpass|git-credentials)",
    re.IGNORECASE,
)
_WITHOUT_LOOKING = re.compile(r".*\.(p12|pfx)|\.(netrc|pgpass|git-credentials)", re.IGNORECASE)
"""What these are for is secrets, in a form that cannot be told from another."""
_SKIPPED = re.compile(r"session(eye|\d+)|mountains|\.raypipe|lost\+found|site-packages|\.git")
_MOST_BYTES = 64 << 10


def secrets_on(folder: Path, *, seconds: float = 20.0) -> list[Path]:
    """Return the files below `folder` that hold a private key or credentials, by their names and a look inside.

    It looks for so many seconds at most, at no other file system, at nothing larger than 64 KiB, and not into days' data.
    What cannot be read is passed over; nothing is raised.
    """
    end = time.monotonic() + seconds
    return [path for path in _named(folder, end) if _is_secret(path)]


def _named(folder: Path, end: float) -> Iterator[Path]:
    try:
        device = folder.stat().st_dev
    except OSError:
        return
    waiting = [folder]
    while waiting and time.monotonic() < end:
        deeper = []
        try:
            with os.scandir(waiting.pop(0)) as entries:  # the nearest first: there keys lie
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.is_dir(follow_symlinks=False):
                        if not _SKIPPED.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_dev == device:
                            deeper.append(Path(entry))
                    elif entry.is_file(follow_symlinks=False) and _NAMED.fullmatch(entry.name):
                        yield Path(entry)
        except OSError:
            continue
        finally:
            waiting += deeper


def _is_secret(path: Path) -> bool:
    try:
        if not 0 < path.stat().st_size <= _MOST_BYTES:
            return False
        if _WITHOUT_LOOKING.fullmatch(path.name):
            return True
        # Certificates are .pem too, and for everybody.
        return secret_in(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False

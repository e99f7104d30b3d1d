"""Virtual environments of other people's packages, made once and kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock


@cache
def environment(name: str, requirements: tuple[str, ...], options: tuple[str, ...] = ()) -> Path:
    """Return the folder of an environment that has `requirements`; the first call on a machine takes a minute.

    `options` are pip's. Skips the test where the packages cannot be had. On CI (`CI` is set) a registry out of reach is
    a failure.
    """
    folder = _folder(name, requirements)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _run(sys.executable, "-m", "venv", str(folder))
                _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *options, *requirements)
                (folder / "complete").touch()
    except subprocess.CalledProcessError as error:
        _cannot(name, error.stderr.strip()[-500:])
    except (OSError, subprocess.TimeoutExpired) as error:
        _cannot(name, str(error))
    return folder


def _folder(name: str, requirements: Sequence[str]) -> Path:
    home = os.environ.get("RAYPIPE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    wanted = "\n".join((sys.version, sys.base_prefix, *requirements))
    return Path(home).expanduser() / "raypipe" / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)


def _cannot(name: str, reason: str) -> NoReturn:
    said = f"the packages of '{name}' could not be installed: {reason}"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)

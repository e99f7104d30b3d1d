"""The lab's own pandas, numpy and hickle, in a virtual environment that is made once and kept in the user's cache."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock

# PyHipp's golden day was made with these three; what they need is pinned to what was tried.
REQUIREMENTS = (
    *("pandas==1.5.3", "numpy==1.23.5", "hickle==5.0.2"),
    *("h5py==3.16.0", "python-dateutil==2.9.0.post0", "pytz==2026.6", "six==1.17.0"),
)
NEWEST_PYTHON = (3, 11)  # that has wheels of all of them


def run_script(python: Path, script: Path, *arguments: str | Path) -> Any:
    """Run a script by itself, away from this environment's packages, and return the JSON in the last line that it prints."""
    command = [python, "-I", "-W", "ignore", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # hickle prints, too


@cache
def lab_python() -> Path:
    """Return the interpreter that has the lab's packages; the first call on a machine takes a minute.

    Skips the test where they cannot be had. On CI (`CI` is set) a registry out of reach is a failure.
    """
    if sys.version_info[:2] > NEWEST_PYTHON:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        pytest.skip(f"the lab's pandas 1.5.3 and numpy 1.23.5 have no wheels for Python {version}")
    folder = _folder()
    python = folder / "bin" / "python"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / "complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _run(sys.executable, "-m", "venv", str(folder))
                _run(str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *REQUIREMENTS)
                (folder / "complete").touch()
    except subprocess.CalledProcessError as error:
        _cannot(error.stderr.strip()[-500:])
    except (OSError, subprocess.TimeoutExpired) as error:
        _cannot(str(error))
    return python


def _folder() -> Path:
    home = os.environ.get("RAYPIPE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    wanted = "\n".join((sys.version, sys.base_prefix, *REQUIREMENTS))
    return Path(home).expanduser() / "raypipe" / f"lab-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)


def _cannot(reason: str) -> NoReturn:
    said = f"the lab's packages could not be installed: {reason}"
    if os.environ.get("CI"):
        pytest.fail(said)
    pytest.skip(said)

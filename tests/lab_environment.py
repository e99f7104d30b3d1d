"""The lab's own pandas, numpy and hickle, in a virtual environment that is made once and kept in the user's cache."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.environments import environment

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


def lab_python() -> Path:
    """Return the interpreter that has the lab's packages; the first call on a machine takes a minute.

    Skips the test where they cannot be had (see `environment`).
    """
    if sys.version_info[:2] > NEWEST_PYTHON:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        pytest.skip(f"the lab's pandas 1.5.3 and numpy 1.23.5 have no wheels for Python {version}")
    return environment("lab", REQUIREMENTS, ("--only-binary", ":all:")) / "bin" / "python"

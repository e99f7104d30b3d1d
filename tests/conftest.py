"""A small simulated day that every test may read, and a copy that a test may change."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raypipe.simulate import SimulateSettings, simulate_day

SMALL = SimulateSettings(channels=(1, 2, 3, 9, 10, 33, 34, 35, 36, 65), seconds=12.5, eye_seconds=4.0, trials=4, seed=5)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day with 10 channels on 3 arrays, 12.5 s of session01 and 4 s of sessioneye; not to be changed."""
    return simulate_day(tmp_path_factory.mktemp("simulated"), SMALL)


@pytest.fixture
def day(simulated: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the simulated day that the test may change."""
    copy = tmp_path / "picasso" / simulated.name
    shutil.copytree(simulated, copy)
    yield copy
    shutil.rmtree(copy)  # runs leave gigabytes behind otherwise

"""The memory that a plan promises beside what all processes of its run hold."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from raypipe.config import Config, Resources
from raypipe.errors import TooLittleMemory
from raypipe.memory import MB, RAY_SERVICES, Load, make_budget
from raypipe.stages import BY_NAME
from raypipe.stages.sorting.memory import COMPILING

RAYPIPE = Path(sys.executable).parent / "raypipe"
CONFIG = Config(run=Resources())


def load(channels: int) -> Load:
    return Load(channels, channels, 30_000.0, 2, (BY_NAME["rpllfp"], BY_NAME["rplhighpass"]))


@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_one_object_beside_the_filters_or_many_after_them(cpus: int) -> None:
    budget = make_budget([load(16)], CONFIG, cpus=cpus, memory=1 << 40, session_task=350 * MB, object_task=300 * MB)
    filters = budget.reader + budget.filter_actors * budget.filter_actor
    assert budget.asked_for == max(filters + 350 * MB, cpus * 300 * MB)
    assert budget.total == RAY_SERVICES + COMPILING + budget.tiles + budget.asked_for


def test_what_is_not_there_takes_nothing() -> None:
    budget = make_budget([], CONFIG, cpus=2, memory=1 << 40, object_task=300 * MB)
    assert budget.total == RAY_SERVICES + COMPILING + 600 * MB
    assert make_budget([], CONFIG, cpus=2, memory=1 << 40, session_task=300 * MB).total == RAY_SERVICES + 300 * MB


@pytest.mark.parametrize("memory", [1800 * MB, 2200 * MB, 3000 * MB])
def test_the_promise_fits_what_is_allowed(memory: int) -> None:
    budget = make_budget([load(128)], CONFIG, cpus=8, memory=memory, session_task=350 * MB, object_task=300 * MB)
    assert budget.total <= memory
    assert budget.asked_for >= budget.object_task


@pytest.mark.parametrize(
    ("object_task", "less"), [(0, "--channels"), (100 * MB, "--channels"), (100_000 * MB, "--skip")]
)
def test_what_does_not_fit_is_refused_with_what_would_help(object_task: int, less: str) -> None:
    with pytest.raises(TooLittleMemory, match="are allowed") as error:
        make_budget([load(128)], CONFIG, cpus=2, memory=500 * MB, object_task=object_task)
    assert less in error.value.hint


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 8 channels, long enough for something to be held."""
    root = tmp_path_factory.mktemp("day")
    options = ["--channels", "8", "--seconds", "30", "--trials", "5", "--eye-seconds", "4"]
    subprocess.run([RAYPIPE, "simulate", root, *options], check=True, capture_output=True)
    return root / "picasso" / "20181105"


def test_the_promise_holds_for_a_day_with_sorting_and_is_not_slack(day: Path, tmp_path: Path) -> None:
    options = [str(day), "--output", str(tmp_path), "--cpus", "2"]
    plan = json.loads(subprocess.run([RAYPIPE, "plan", *options, "--json"], check=True, capture_output=True).stdout)
    promised = plan["memory"]["total"]
    process = subprocess.Popen([RAYPIPE, "run", *options], stderr=subprocess.DEVNULL)
    try:
        peak = max(_held_until_its_end(process))
    finally:
        process.kill()
    assert process.returncode == 0
    assert peak <= promised <= 1.5 * peak, f"{peak / 1e6:.0f} MB held, {promised / 1e6:.0f} MB promised"


def _held_until_its_end(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """Yield what a process and all below it hold, again and again; what they share counts once."""
    while process.poll() is None:
        held = 0
        with suppress(psutil.Error):
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                with suppress(psutil.Error):
                    held += each.memory_full_info().pss
        yield held
        time.sleep(0.05)

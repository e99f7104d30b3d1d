"""Days that are run together: each as if it were alone, none held up by another that is refused, all ended by one signal."""

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest

import raypipe
from raypipe.config import Config, Resources
from raypipe.errors import Locked, NotADay, TooLittleDisk, TooLittleMemory
from raypipe.events import Event, PassStarted, Phase, RunEnded, RunRefused, RunStarted, WorkEnded, WorkStarted
from raypipe.lock import day_lock
from raypipe.progress import shown
from raypipe.run import budget_of, refuse_full_disk
from tests.compare import RIPPLE, datasets, leftovers, of_channels, of_ripple
from tests.conftest import Processed
from tests.test_cli import call
from tests.test_faults import events_of, running, small_disk

pytestmark = pytest.mark.usefixtures("one_ray")
FIRST, SECOND = "picasso/20181105", "picasso/20181106"
OF_THE_DAY = ("day_spectrum", "day_spectrum_highpass")


def names(count: int) -> list[str]:
    return [FIRST, SECOND][:count]


def test_days_together_are_the_days_alone_and_share_the_workers(
    own_ray: None, simulated: Path, processed: Processed, another: Path, another_processed: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    first, second = raypipe.run_days(
        [simulated, another], output=tmp_path, channels="1-2", skip=OF_THE_DAY, listeners=[events.append]
    )
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert datasets(tmp_path / FIRST) == of_channels(datasets(processed.folder), 1, 2)
    assert datasets(tmp_path / SECOND) == of_channels(datasets(another_processed), 1, 2)
    assert leftovers(tmp_path) == []

    assert {event.day for event in events} == {FIRST, SECOND}
    ends = [event.day for event in events if isinstance(event, RunEnded)]
    assert sorted(ends) == [FIRST, SECOND]
    (end,) = [place for place, event in enumerate(events) if isinstance(event, RunEnded) and event.day == FIRST]
    early = [event for event in events[:end] if isinstance(event, WorkEnded) and event.day == SECOND]
    assert early, "the second day is under way while the first is"
    passes = [(event.day, event.session) for event in events if isinstance(event, PassStarted)]
    assert passes == [(day, session) for day in names(2) for session in ("session01", "sessioneye")]
    for name in names(2):
        (log,) = (tmp_path / name / ".raypipe" / "runs").glob("*/events.jsonl")
        told = [json.loads(line) for line in log.read_text().splitlines()]
        assert {each["day"] for each in told} == {name}
        assert told[-1]["event"] == "RunEnded"
        assert not (tmp_path / name / ".raypipe" / "lock.json").exists()
    stopping = [event.day for event in events if isinstance(event, Phase) and event.text == "stopping Ray"]
    assert stopping == ends[-1:], "the other had its end before"


def test_what_is_ready_of_an_earlier_day_goes_first(
    own_ray: None, simulated: Path, another: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    spectra = ["rplparallel", "rpllfp", "freqspectrum"]
    config = Config(run=Resources(cpus=1))
    reports = raypipe.run_days(
        [simulated, another], output=tmp_path, only=spectra, channels="1-2", config=config, listeners=[events.append]
    )
    assert [report.exit_code for report in reports] == [0, 0]
    begun = Counter[str]()
    for event in events:
        if isinstance(event, WorkStarted):
            begun[event.day] += 1
            if event.day == SECOND and not any(isinstance(each, RunEnded) for each in events[: events.index(event)]):
                assert begun.total() == 1, "with one CPU, only when there is nothing else"
        elif isinstance(event, WorkEnded):
            begun[event.day] -= 1


def test_days_that_are_refused_do_not_hold_up_the_others(
    simulated: Path, another: Path, day: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    out = tmp_path / "out"
    state = out / FIRST / ".raypipe"
    state.mkdir(parents=True)
    with day_lock(state):
        locked, lost, good = raypipe.run_days(
            [simulated, tmp_path / "nowhere", another],
            output=out,
            only=["rplparallel"],
            listeners=[events.append],
        )
    assert isinstance(locked.refused, Locked)
    assert isinstance(lost.refused, NotADay)
    assert (locked.exit_code, lost.exit_code, good.exit_code) == (3, 2, 0)
    assert (lost.day, lost.plan) == (str(tmp_path / "nowhere"), None)
    assert good.done == 2
    refused = [event for event in events if isinstance(event, RunRefused)]
    assert [event.day for event in refused] == [FIRST, str(tmp_path / "nowhere")]
    assert f"process {os.getpid()}" in refused[0].error
    assert [path.name for path in state.iterdir()] == ["lock"]


def test_the_exit_code_is_the_worst_and_every_day_is_named(day: Path, another: Path, tmp_path: Path) -> None:
    for path in (day / "session01").glob("*.nev"):
        path.unlink()
    options = ["--only=rplparallel", "--output", tmp_path / "out"]
    shown = call("run", day, another, *options)
    assert shown.returncode == 1
    assert f"{FIRST} FAILED session01 rplparallel: no *.nev" in shown.stderr
    assert f"{SECOND} done: 2 outputs" in shown.stderr
    assert shown.stderr.count("starting Ray") == 1
    again = call("run", another, tmp_path / "nowhere", *options, "--json")
    assert again.returncode == 2
    assert f"raypipe: {tmp_path / 'nowhere'}: no folder" in again.stderr
    told = [json.loads(line) for line in again.stdout.splitlines()]
    assert [(each["event"], each["day"]) for each in told] == [
        ("RunEnded", SECOND),
        ("RunRefused", str(tmp_path / "nowhere")),
    ]


def test_a_budget_serves_all_days(simulated: Path, another: Path, tmp_path: Path) -> None:
    plans = [raypipe.plan_day(path, output=tmp_path) for path in (simulated, another)]
    both, (one, other) = budget_of(*plans), map(budget_of, plans)
    assert both.session_task == max(one.session_task, other.session_task)
    assert both.object_task == max(one.object_task, other.object_task)
    assert (both.reader, both.filter_actors) == (one.reader, one.filter_actors), "the larger recording's"
    small = Config(run=Resources(memory="500MB"))
    reports = raypipe.run_days([simulated, another], output=tmp_path / "out", config=small)
    assert all(isinstance(report.refused, TooLittleMemory) for report in reports)
    assert not (tmp_path / "out").exists()


def test_days_must_fit_their_disk_together(simulated: Path, another: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "130m") as disk:
        plans = [raypipe.plan_day(path, output=disk, only=RIPPLE, channels="1") for path in (simulated, another)]
        for plan in plans:
            refuse_full_disk(plan)
        size = sum(plan.bytes_to_write for plan in plans) + (64 << 20) - 1
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - size))
        fits, refused = raypipe.run_days([simulated, another], output=disk, only=RIPPLE, channels="1")
        assert (fits.exit_code, refused.exit_code) == (0, 3)
        assert isinstance(refused.refused, TooLittleDisk)
        assert "for the days before" in refused.refused.message
        assert not (disk / SECOND).exists()


@pytest.fixture
def both(day: Path, another: Path) -> tuple[Path, Path]:
    """Copies of two days that a test may change."""
    copy = day.parent / another.name
    shutil.copytree(another, copy)
    return day, copy


@pytest.fixture
def small_tiles(tmp_path: Path) -> str:
    toml = tmp_path / "raypipe.toml"
    toml.write_text("[run]\ncpus = 2\ntile_seconds = 0.5\n")
    return f"--config={toml}"


def test_a_driver_of_two_days_that_is_killed_begins_again_where_it_was(
    both: tuple[Path, Path], small_tiles: str, processed: Processed, another_processed: Path
) -> None:
    with running(both[0], str(both[1]), small_tiles) as process:
        for event in events_of(process):
            if event["event"] == "PassProgressed" and event["day"] == SECOND:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(family, timeout=60)
    done = {path: path.stat().st_mtime_ns for day in both for path in day.rglob("*.hkl")}
    assert any(path.is_relative_to(both[0]) for path in done)
    again = call("run", *both, small_tiles, *(f"--only={name}" for name in RIPPLE))
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done, "nothing finished is done again"
    for day, reference in zip(both, (processed.folder, another_processed), strict=True):
        assert datasets(day) == of_ripple(datasets(reference))
        assert leftovers(day) == []


def test_an_interrupt_ends_all_days(both: tuple[Path, Path], small_tiles: str) -> None:
    with running(both[0], str(both[1]), small_tiles) as process:
        for event in events_of(process):
            if event["event"] == "PassProgressed":
                process.send_signal(signal.SIGINT)
                break
        rest = list(events_of(process))
        assert process.wait(60) == 130
    assert [(each["day"], each["outcome"]) for each in rest if each["event"] == "RunEnded"] == [
        (FIRST, "interrupted"),
        (SECOND, "interrupted"),
    ]
    assert all(leftovers(day) == [] for day in both)
    assert not any((day / ".raypipe" / "lock.json").exists() for day in both)


def test_each_line_of_several_days_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    started = [RunStarted(day, "run", 1, 10**6, 10**9) for day in names(2)]
    with shown("plain", several=True) as listeners:
        for event in (
            *started,
            *(Phase("Ray is up", 1.0, day=day) for day in names(2)),
            PassStarted("session01", 3, 9, day=SECOND),
        ):
            for listener in listeners:
                listener(event)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*names(2), "Ray is up", f"{SECOND} session01"]


def test_bars_are_a_days_own_and_go_with_it() -> None:
    from rich.progress import Progress, TextColumn

    from raypipe.progress import _Bars

    with Progress(TextColumn("{task.fields[count]}"), disable=True) as progress:
        bars = _Bars(progress, several=True)
        for day in names(2):
            bars(PassStarted("session01", 3, 9, day=day))
        assert [task.description for task in progress.tasks] == [f"{day} session01 filtered" for day in names(2)]
        bars(RunEnded("done", 1, 0, 1.0, 1, day=FIRST))
        assert [task.description for task in progress.tasks] == [f"{SECOND} session01 filtered"]

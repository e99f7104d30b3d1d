"""What is killed, cut, full or locked costs little, says why, and leaves nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

import raypipe
from raypipe.config import Config, Resources
from raypipe.errors import Locked, NotWritable, TooLittleDisk, TooLittleMemory, UsageError
from raypipe.events import Event, Note, PassProgressed, PassStarted, TaskDone
from tests.compare import RIPPLE, datasets, leftovers

pytestmark = pytest.mark.usefixtures("one_ray")
SMALL_TILES = Config(run=Resources(cpus=2, tile_seconds=0.5, tiles_in_flight=2))
RAYPIPE = Path(sys.executable).parent / "raypipe"


def workers(name: str, root: psutil.Process | None = None) -> list[psutil.Process]:
    """Return the Ray workers below this process whose title says `name`."""
    found = []
    for process in (root or psutil.Process()).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != "zombie" and name in " ".join(process.cmdline()):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def reference(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Datasets of an undisturbed run."""
    out = tmp_path_factory.mktemp("reference")
    assert raypipe.run_day(simulated, only=RIPPLE, output=out, config=SMALL_TILES).exit_code == 0
    return datasets(out / "picasso" / "20181105")


class Killer:
    """A listener that kills a worker once, when session01 is some tiles on its way, and keeps the events."""

    def __init__(self, name: str, tile: int = 8) -> None:
        self.name, self.tile = name, tile
        self.victims: list[int] = []
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, PassProgressed) and event.tiles_done == self.tile and not self.victims:
            victim = workers(self.name)[0]
            self.victims.append(victim.pid)
            victim.kill()

    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]


def test_a_filter_actor_that_is_killed_costs_only_its_groups(
    simulated: Path, tmp_path: Path, reference: dict[str, str]
) -> None:
    killer = Killer("FilterActor")
    report = raypipe.run_day(simulated, only=RIPPLE, output=tmp_path, config=SMALL_TILES, listeners=[killer])
    assert killer.victims
    assert report.exit_code == 0
    # 10 channels are two groups, 8 and 2, an actor each.
    (note,) = [note for note in killer.notes() if "begun again" in note]
    assert "its 8 channels" in note or "its 2 channels" in note
    made = [event.output for event in killer.events if isinstance(event, TaskDone)]
    assert len(made) == len(set(made)) == 62
    assert datasets(tmp_path / "picasso" / "20181105") == reference
    assert leftovers(tmp_path) == []


def test_a_reader_that_is_killed_is_replaced(simulated: Path, tmp_path: Path, reference: dict[str, str]) -> None:
    killer = Killer("Reader")
    report = raypipe.run_day(simulated, only=RIPPLE, output=tmp_path, config=SMALL_TILES, listeners=[killer])
    assert killer.victims
    assert report.exit_code == 0
    assert datasets(tmp_path / "picasso" / "20181105") == reference


def test_an_actor_that_dies_again_and_again_is_given_up(simulated: Path, tmp_path: Path) -> None:
    class Persistent(Killer):
        def __call__(self, event: Event) -> None:
            self.events.append(event)
            if isinstance(event, PassProgressed) and event.session == "session01":
                for victim in workers("FilterActor"):
                    with suppress(psutil.NoSuchProcess):
                        victim.kill()

    stubborn = Config(run=Resources(cpus=1, tile_seconds=0.5, restarts=1))
    report = raypipe.run_day(
        simulated, only=RIPPLE, output=tmp_path, config=stubborn, listeners=[killer := Persistent("")]
    )
    assert report.exit_code == 1
    assert {(each.session, each.stage) for each in report.failures} == {
        ("session01", stage) for stage in ("rplsplit", "rpllfp", "rplhighpass")
    }
    assert len(report.failures) == 30
    assert all("died" in each.error and Path(each.log).exists() for each in report.failures)
    assert sum(isinstance(event, TaskDone) for event in killer.events) == 32, "sessioneye and the markers are done"
    assert leftovers(tmp_path) == []


def test_a_reader_that_dies_again_and_again_costs_its_session(simulated: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def kill_readers() -> None:
        while not over.wait(0.05):
            for victim in workers("Reader"):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()

    killer = threading.Thread(target=kill_readers)
    sessions: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, PassProgressed) and event.session == "session01" and not killer.is_alive():
            killer.start()
        if isinstance(event, PassStarted):
            sessions.append(event.session)
            if event.session == "sessioneye":
                over.set()

    config = Config(run=Resources(cpus=2, tile_seconds=0.25, tiles_in_flight=1, restarts=1))
    try:
        report = raypipe.run_day(simulated, only=RIPPLE, output=tmp_path, config=config, listeners=[listen])
    finally:
        over.set()
    assert sessions == ["session01", "sessioneye"]
    assert report.exit_code == 1
    assert {each.session for each in report.failures} == {"session01"}
    assert all("the reader died 2 times" in each.error and "dmesg" in each.hint for each in report.failures)
    assert report.done == 32
    assert leftovers(tmp_path) == []


def events_of(process: subprocess.Popen[str]) -> Iterator[dict[str, object]]:
    assert process.stdout
    for line in process.stdout:
        yield json.loads(line)


@contextmanager
def running(day: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run raypipe in a process of its own; see that nothing of it is left."""
    command = [str(RAYPIPE), "run", str(day), "--json", *options, *(f"--only={name}" for name in RIPPLE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        family: list[psutil.Process] = []
        try:
            yield process
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else family
            process.kill()
            psutil.wait_procs(family, timeout=30)


def test_the_promised_memory_holds_and_is_not_slack(day: Path) -> None:
    with running(day) as process:
        promised = next(event["projected_memory"] for event in events_of(process) if event["event"] == "RunStarted")
        peak = 0
        while process.poll() is None:
            peak = max(peak, family_memory(process.pid))
            time.sleep(0.05)
        assert process.returncode == 0
    assert peak <= promised <= 1.5 * peak


def family_memory(pid: int) -> int:
    """Return the bytes that a process and all below it hold; what they share counts once."""
    held = 0
    with suppress(psutil.Error):
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):
                held += process.memory_full_info().pss
    return held


@pytest.mark.parametrize("moment", ["in mid-pass", "while files are finished"])
def test_a_driver_that_is_killed_begins_again_where_it_was(
    day: Path, tmp_path: Path, reference: dict[str, str], moment: str
) -> None:
    toml = tmp_path / "raypipe.toml"
    toml.write_text("[run]\ncpus = 2\ntile_seconds = 0.5\n")
    with running(day, "--config", str(toml)) as process:
        for event in events_of(process):
            if moment == "in mid-pass" and event["event"] == "PassProgressed" and event["session"] == "sessioneye":
                break
            if moment != "in mid-pass" and event["event"] == "TaskDone" and event["stage"] != "rplparallel":
                break
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive, "Ray's processes end with their driver"
    before = {path: path.stat().st_mtime_ns for path in day.rglob("*.hkl")}
    assert before
    made = datasets(day)
    assert made == {name: reference[name] for name in made}, "what has a final name is whole"

    plan = raypipe.plan_day(day, only=RIPPLE)
    done = {task.output for task in plan.tasks if task.state == "done"}
    assert plan.counts["kept"] == 0
    assert done == set(before)
    assert raypipe.run_day(day, only=RIPPLE, config=SMALL_TILES).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in done} == before, "nothing finished is done again"
    assert datasets(day) == reference
    assert leftovers(day) == []


def test_an_end_that_is_asked_for_is_tidy(day: Path, tmp_path: Path) -> None:
    """By SIGTERM; by SIGINT it is in test_days."""
    toml = tmp_path / "raypipe.toml"
    toml.write_text("[run]\ncpus = 2\ntile_seconds = 0.5\n")
    with running(day, "--config", str(toml)) as process:
        for event in events_of(process):
            if event["event"] == "PassProgressed":
                process.send_signal(signal.SIGTERM)
                break
        rest = list(events_of(process))
        assert process.wait(60) == 130
    assert rest[-1]["event"] == "RunEnded"
    assert rest[-1]["outcome"] == "interrupted"
    assert leftovers(day) == []


def test_two_runs_at_once(day: Path) -> None:
    with running(day) as process:
        next(events_of(process))
        with pytest.raises(Locked, match=f"process {process.pid} on "):
            raypipe.run_day(day, only=RIPPLE)
        assert process.wait(120) == 0
    assert raypipe.run_day(day, only=RIPPLE).done == 0


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a small disk, where that is allowed."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(simulated: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "20m") as disk:
        with pytest.raises(TooLittleDisk) as error:
            raypipe.run_day(simulated, only=RIPPLE, output=disk)
        assert error.value.exit_code == 3
        assert "--no-raw" in error.value.hint
        assert list(disk.iterdir()) == []


def test_a_disk_that_fills_up_in_mid_run(simulated: Path, tmp_path: Path, reference: dict[str, str]) -> None:
    with small_disk(tmp_path / "disk", "120m") as disk:

        def fill(event: Event) -> None:
            if isinstance(event, PassProgressed) and event.tiles_done == 5:
                free = shutil.disk_usage(disk).free
                (disk / "ballast").write_bytes(b"x" * (free - 1_000_000))

        report = raypipe.run_day(simulated, only=RIPPLE, output=disk, config=SMALL_TILES, listeners=[fill])
        assert report.exit_code == 1
        assert all("No space left" in each.error and "make room" in each.hint for each in report.failures)
        assert leftovers(disk) == []
        made = datasets(disk / "picasso" / "20181105")
        assert made == {name: reference[name] for name in made}
        (disk / "ballast").unlink()
        assert raypipe.run_day(simulated, only=RIPPLE, output=disk, config=SMALL_TILES).exit_code == 0
        assert datasets(disk / "picasso" / "20181105") == reference


def test_a_read_only_output(simulated: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "120m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(NotWritable) as error:
            raypipe.run_day(simulated, only=RIPPLE, output=disk)
        assert error.value.exit_code == 3
        assert "--output" in error.value.hint


def test_too_little_memory_is_refused_with_both_numbers(simulated: Path, tmp_path: Path) -> None:
    config = Config(run=Resources(memory="500MB"))
    with pytest.raises(TooLittleMemory, match=r"needs .* and 524 MB are allowed"):
        raypipe.run_day(simulated, only=RIPPLE, output=tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def broken(day: Path, how: str) -> Path:
    path = next((day / "session01").glob("*.ns5"))
    match how:
        case "truncated":
            os.truncate(path, path.stat().st_size - 1_000_001)
        case "lies":
            content = bytearray(path.read_bytes())
            content[10:14] = (10).to_bytes(4, "little")
            path.write_bytes(content)
        case "two":
            shutil.copy(path, path.with_name("copy.ns5"))
        case "none":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("how", "says", "hint"),
    [
        ("truncated", "file", "copy it again"),
        ("lies", "header", ""),
        ("two", "2 files match *.ns5", "move the others away"),
        ("none", "no *.ns5", "copy the recording's file"),
        ("empty", "", ""),
    ],
)
def test_a_broken_recording_costs_its_session_only(day: Path, how: str, says: str, hint: str) -> None:
    path = broken(day, how)
    report = raypipe.run_day(day, only=RIPPLE, channels="9")
    assert report.exit_code == 1
    assert {(each.session, each.stage) for each in report.failures} == {
        ("session01", stage) for stage in ("rplsplit", "rpllfp", "rplhighpass")
    }
    assert all(says in each.error and hint in each.hint and str(path.parent) in each.error for each in report.failures)
    assert report.done == 5, "both sessions' markers, and channel 9 of sessioneye"
    assert leftovers(day) == []


def test_a_truncated_recording_can_be_accepted(day: Path, tmp_path: Path) -> None:
    broken(day, "truncated")
    toml = tmp_path / "raypipe.toml"
    toml.write_text("[input]\naccept_truncated = true\n")
    events: list[Event] = []
    assert raypipe.run_day(day, only=RIPPLE, channels="9", config=toml, listeners=[events.append]).exit_code == 0
    assert any("before its header says" in event.text for event in events if isinstance(event, Note))
    n_samples = raypipe.load(day / "session01/array01/channel009/rplraw_d41d.hkl")["data"].size
    assert n_samples == 375_000 - -(-1_000_001 // 22)


def test_markers_that_are_missing_cost_only_themselves(day: Path) -> None:
    for path in (day / "session01").glob("*.nev"):
        path.unlink()
    report = raypipe.run_day(day, only=RIPPLE, channels="9")
    assert [(each.session, each.stage) for each in report.failures] == [("session01", "rplparallel")]
    assert "no *.nev" in report.failures[0].error
    assert report.done == 7
    info = raypipe.load(day / "session01/array01/channel009/rplraw_d41d.hkl")["analogInfo"]
    assert (info["HighFreqCorner"], info["LowFreqCorner"]) == (0.3, 7500.0), "then from the .ns5"


def test_a_recording_that_is_cut_while_it_is_read(day: Path) -> None:
    path = next((day / "session01").glob("*.ns5"))

    def cut(event: Event) -> None:
        if isinstance(event, PassProgressed) and event.session == "session01" and event.tiles_done == 3:
            os.truncate(path, 1_000_000)

    report = raypipe.run_day(
        day, only=RIPPLE, config=Config(run=Resources(tile_seconds=0.5, tiles_in_flight=1)), listeners=[cut]
    )
    assert report.exit_code == 1
    assert {each.session for each in report.failures} == {"session01"}
    assert leftovers(day) == []


def test_an_unknown_channel_is_refused(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no session has channel 99") as error:
        raypipe.run_day(simulated, only=RIPPLE, output=tmp_path, channels="1-8,99")
    assert "1-3, 9-10, 33-36, 65" in error.value.hint


def test_a_session_too_short_for_the_filters(tmp_path: Path, day: Path) -> None:
    from raypipe.io.nsx import read_nsx_header

    path = next((day / "session01").glob("*.ns5"))
    header = read_nsx_header(path)
    (block,) = header.blocks
    content = path.read_bytes()[: block.byte_offset + 2 * len(header.channels) * 600]
    path.write_bytes(content[: block.byte_offset - 4] + (600).to_bytes(4, "little") + content[block.byte_offset :])
    report = raypipe.run_day(day, only=RIPPLE, channels="9")
    assert [(each.session, each.stage) for each in report.failures] == [("session01", "rpllfp")]
    assert "too few" in report.failures[0].error
    assert report.done == 7

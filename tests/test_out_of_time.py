"""Runs whose time is up, on a real Ray: nothing is lost, nothing is half done, and the next goes on."""

import signal
from pathlib import Path

import pytest

import raypipe
from raypipe.config import Config, Resources
from raypipe.deadline import Life
from raypipe.errors import TooLittleTime
from raypipe.events import Event, PassStarted, RunEnded, TaskDone, WorkStarted
from raypipe.run import Report, ThisMachine
from tests.compare import RIPPLE, datasets, leftovers
from tests.conftest import Processed
from tests.test_faults import events_of, running

CONFIG = Config(run=Resources(cpus=2, tile_seconds=0.5))


class Job(ThisMachine):
    """This machine, for as long as a life."""

    def __init__(self, life: Life) -> None:
        super().__init__(CONFIG)
        self.life = life

    def refuse_hopeless(self) -> None:
        self.life.refuse_hopeless()


def run_in(life: Life, day: Path, out: Path, only: tuple[str, ...] = ()) -> tuple[Report, list[Event]]:
    events: list[Event] = []
    report = raypipe.run_day(day, only=only, output=out, config=CONFIG, listeners=[events.append], place=Job(life))
    return report, events


def test_a_walltime_that_is_too_short_for_anything_is_an_error(simulated: Path, tmp_path: Path) -> None:
    life = Life(warning=300)
    life.ends_in(299)
    with pytest.raises(TooLittleTime, match="a job of this walltime gives the driver 5 min") as error:
        run_in(life, simulated, tmp_path, RIPPLE)
    assert error.value.exit_code == 3
    assert not list(tmp_path.rglob("*.hkl"))
    assert leftovers(tmp_path) == []


def test_a_pass_that_is_too_slow_is_done_by_parts_and_gives_the_same(
    simulated: Path, processed: Processed, tmp_path: Path
) -> None:
    class Doubtful(Life):
        doubts = 1

        def is_too_slow(self, begun: float, part: float) -> bool:
            doubtful = part > 0.3 and self.doubts > 0
            self.doubts -= doubtful
            return doubtful

    report, events = run_in(Doubtful(), simulated, tmp_path, RIPPLE)
    assert report.exit_code == 0
    begun = [(event.session, event.channels) for event in events if isinstance(event, PassStarted)]
    assert begun == [("session01", 10), ("session01", 8), ("session01", 2), ("sessioneye", 10)]
    made = [event.output for event in events if isinstance(event, TaskDone)]
    assert len(made) == len(set(made)) == 62
    there = datasets(tmp_path / "picasso" / "20181105")
    whole = datasets(processed.folder)
    assert there == {name: whole[name] for name in there}
    assert leftovers(tmp_path) == []


def test_what_is_late_is_left_for_the_next_life(simulated: Path, processed: Processed, tmp_path: Path) -> None:
    class Slow(Life):
        """In which one may not begin to filter."""

        def can_begin(self, unit: object) -> bool:
            return getattr(unit, "stage", "") != "filters"

    report, events = run_in(Slow(), simulated, tmp_path)
    assert report.exit_code == 75
    assert [(event.outcome, event.out_of_time) for event in events if isinstance(event, RunEnded)] == [
        ("interrupted", True)
    ]
    assert report.failures == []
    assert not any(isinstance(event, PassStarted) for event in events)
    first = {event.output for event in events if isinstance(event, TaskDone)}
    assert any(name.endswith("umaze_fd09.hkl") for name in first)
    report, events = run_in(Life(), simulated, tmp_path)
    assert report.exit_code == 0
    assert first.isdisjoint(event.output for event in events if isinstance(event, TaskDone))
    assert datasets(tmp_path / "picasso" / "20181105") == datasets(processed.folder)


def test_a_work_that_waited_for_a_cpu_until_it_was_late_is_not_begun(simulated: Path, tmp_path: Path) -> None:
    class Elsewhere(Life):
        """The workers' clocks say that it is too late."""

        def latest(self, unit: object) -> float:
            return 0.0

        def can_begin(self, unit: object) -> bool:
            return not self._late

    report, events = run_in(Elsewhere(), simulated, tmp_path, ("rplparallel",))
    assert (report.exit_code, report.done, report.failures) == (75, 0, [])
    assert any(isinstance(event, WorkStarted) for event in events)
    assert leftovers(tmp_path) == []


def test_a_machine_without_a_walltime_stops_when_it_is_warned(day: Path, tmp_path: Path) -> None:
    with running(day) as process:
        for event in events_of(process):
            if event["event"] == "PassProgressed":
                process.send_signal(signal.SIGUSR1)
                break
        rest = list(events_of(process))
        assert process.wait(60) == 75
    assert rest[-1]["outcome"] == "interrupted"
    assert leftovers(day) == []

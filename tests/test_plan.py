"""What is to be done, and why."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

import raypipe
from raypipe.config import Config, Input, RplHighPass, RplLfp
from raypipe.errors import UsageError
from raypipe.history import changes
from raypipe.io.objects import save_object
from raypipe.ledger import Entry, append_entries, prepare_state, read_ledger
from raypipe.plan import Plan
from raypipe.recording import parse_channels, ranges
from raypipe.tasks import Task
from tests.compare import BEHAVIOUR, OBJECTS, RIPPLE


def pretend_done(plan: Plan) -> None:
    """Put a file and a ledger entry where each task would have."""
    prepare_state(plan.day.state)
    for task in plan.tasks:
        task.output.parent.mkdir(parents=True, exist_ok=True)
        task.output.write_bytes(b"x" * 10)
        append_entries(plan.day.state, [entry_for(plan, task)])


def entry_for(plan: Plan, task: Task) -> Entry:
    status = task.output.stat()
    return Entry(
        task.output.relative_to(plan.day.output).as_posix(),
        task.stage.name,
        task.session.name,
        task.channel.number if task.channel else None,
        task.key,
        status.st_size,
        status.st_mtime_ns,
        "2026-01-01T00:00:00+00:00",
        "run",
        "0",
    )


@pytest.fixture
def done(day: Path) -> Path:
    pretend_done(raypipe.plan_day(day, channels="9", only=RIPPLE))
    plan = raypipe.plan_day(day, channels="9", only=RIPPLE)
    assert plan.counts == {"done": 8}
    return day


def reasons(plan: Plan) -> set[tuple[str, str, str]]:
    return {(task.session.name, task.stage.name, task.why) for task in plan.todo}


def test_everything_is_to_be_made_at_first(simulated: Path) -> None:
    plan = raypipe.plan_day(simulated)
    of_objects = 4 + 10 * (6 + 2 * 3 + 1)  # of the day, and of each channel: sorting, cells and spectra twice, waveform
    assert plan.counts == {"todo": 62 + 9 + of_objects}
    assert {task.why for task in plan.tasks} == {"not made yet"}
    raw = next(task for task in plan.tasks if task.stage.name == "rplsplit" and task.session.name == "session01")
    assert 375_000 * 4 < raw.size < 375_000 * 4 + 50_000


def test_a_changed_parameter_is_named(done: Path) -> None:
    config = Config(rpllfp=RplLfp(LowPassFrequency=(1, 100)))
    plan = raypipe.plan_day(done, channels="9", config=config, only=RIPPLE)
    why = "parameter LowPassFrequency: [1, 150] -> [1, 100]"
    assert reasons(plan) == {("session01", "rpllfp", why), ("sessioneye", "rpllfp", why)}
    assert all(task.output.name != "rpllfp_6eca.hkl" for task in plan.todo), "as in PyHipp, another file"


def test_a_changed_input_is_named(done: Path) -> None:
    path = next((done / "session01").glob("*.ns5"))
    os.utime(path, ns=(1, 1))
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    assert {task.stage.name for task in plan.todo} == {"rplsplit", "rpllfp", "rplhighpass"}
    assert {task.session.name for task in plan.todo} == {"session01"}
    assert all(task.why.startswith("input .ns5: ") and task.why.endswith("changed 1") for task in plan.todo)


def test_the_events_count_for_raw_copies_only(done: Path) -> None:
    path = next((done / "session01").glob("*.nev"))
    os.utime(path, ns=(1, 1))
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    assert {task.stage.name for task in plan.todo} == {"rplparallel", "rplsplit"}
    assert all(task.why.startswith("input .nev: ") and task.why.endswith("changed 1") for task in plan.todo)


def test_each_of_two_event_files_counts(done: Path) -> None:
    second = done / "session01" / "second.nev"
    second.write_bytes(b"")
    pretend_done(raypipe.plan_day(done, channels="9", only=["rplsplit"]))
    for path in (done / "session01").glob("*.nev"):
        os.utime(path, ns=(1, 1))
        (task,) = raypipe.plan_day(done, channels="9", only=["rplsplit"]).todo
        assert f"{path.name}, " in task.key["input .nev"]
        pretend_done(raypipe.plan_day(done, channels="9", only=["rplsplit"]))
    second.unlink()
    second.symlink_to("nothing")
    (task,) = raypipe.plan_day(done, channels="9", only=["rplsplit"]).todo
    assert "second.nev" not in task.key["input .nev"], "a link to nothing is no file"


def test_accepting_cuts_changes_only_what_is_cut(done: Path) -> None:
    config = Config(input=Input(accept_truncated=True))
    assert raypipe.plan_day(done, channels="9", config=config, only=RIPPLE).counts == {"done": 8}
    path = next((done / "session01").glob("*.ns5"))
    os.truncate(path, path.stat().st_size * 3 // 4)
    plan = raypipe.plan_day(done, channels="9", config=config, only=RIPPLE)
    assert {task.session.name for task in plan.todo} == {"session01"}
    assert all(task.key["parameter accept_truncated"] == "true" for task in plan.todo)


def test_what_was_made_of_an_archived_recording_stays_done(done: Path) -> None:
    for path in done.glob("session*/*.ns5"):
        path.unlink()
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    assert (plan.counts, plan.problems, plan.replaceable) == ({"done": 8}, (), ())
    for path in done.glob("session*/*.nev"):
        path.unlink()
    assert raypipe.plan_day(done, channels="9", only=RIPPLE[1:]).counts == {"done": 6}
    assert raypipe.plan_day(done, channels="9", only=RIPPLE[1:], replace=True).counts == {"done": 6}


def test_a_recording_that_was_replaced_by_a_foreign_raw_copy_is_filtered_again(done: Path) -> None:
    (done / "session01" / "array01" / "channel009" / "rplraw_d41d.hkl").write_bytes(b"of others")
    for path in done.glob("session01/*.ns5"):
        path.unlink()
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    assert plan.todo == ()
    (problem,) = plan.problems
    assert (problem.session, problem.channel, problem.stages) == ("session01", 9, ("rpllfp", "rplhighpass"))


def test_one_damaged_raw_copy_costs_its_channel_only(day: Path) -> None:
    for recording in day.glob("session*/*.ns5"):
        recording.unlink()
    for number in (9, 10):
        folder = day / "session01" / "array01" / f"channel{number:03d}"
        folder.mkdir(parents=True)
        info = {"SampleRate": 30000.0, "ProbeInfo": f"b'raw {number}'"}
        save_object(folder / "rplraw_d41d.hkl", {"data": np.zeros(1000, np.float32), "analogInfo": info})
    broken = day / "session01/array01/channel010/rplraw_d41d.hkl"
    os.truncate(broken, 2000)
    plan = raypipe.plan_day(day, only=["rpllfp", "rplhighpass", "rplsplit"])
    (problem,) = (problem for problem in plan.problems if problem.session == "session01")
    assert (problem.channel, problem.stages) == (10, ("rpllfp", "rplhighpass"))
    assert problem.error.message.startswith("channel 10: ")
    assert str(broken) in problem.error.message
    assert "delete" not in problem.error.hint
    assert "restore it, or the .ns5" in problem.error.hint
    assert {(task.channel.number, task.stage.name) for task in plan.todo if task.channel} == {
        (9, "rpllfp"),
        (9, "rplhighpass"),
    }
    assert {task.channel.number for task in plan.tasks if task.state == "kept" and task.channel} == {9, 10}


def test_changed_code_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = raypipe.plan_day(done, channels="9", only=RIPPLE).tasks[0].key["code"]
    monkeypatch.setattr(
        "raypipe.plan_channels.code_version", lambda modules: "0" * 12 if "kernels" in modules else before
    )
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    assert {task.stage.name for task in plan.todo} >= {"rpllfp", "rplhighpass"}
    assert all(task.why.startswith("code: ") for task in plan.todo)


def test_resources_change_nothing(done: Path) -> None:
    config = msgspec.structs.replace(Config(), run=msgspec.structs.replace(Config().run, cpus=1, tile_seconds=1.0))
    assert raypipe.plan_day(done, channels="9", config=config, only=RIPPLE).counts == {"done": 8}


def test_what_is_gone_is_made_again(done: Path) -> None:
    victim = raypipe.plan_day(done, channels="9", only=RIPPLE).tasks[-1].output
    victim.unlink()
    (task,) = raypipe.plan_day(done, channels="9", only=RIPPLE).todo
    assert (task.output, task.why) == (victim, "was made, and is gone")


def test_what_others_made_or_changed_is_kept(done: Path) -> None:
    changed, foreign = (task.output for task in raypipe.plan_day(done, channels="9", only=RIPPLE).tasks[-2:])
    changed.write_bytes(b"changed by aligning")
    entries = [entry for entry in read_ledger(done / ".raypipe") if not foreign.as_posix().endswith(entry.output)]
    (done / ".raypipe" / "ledger.jsonl").unlink()
    append_entries(done / ".raypipe", entries)
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    kept = {task.output: task.why for task in plan.tasks if task.state == "kept"}
    assert not plan.todo
    assert kept[changed].startswith("changed by something else")
    assert kept[foreign].startswith("made by something else")
    plan = raypipe.plan_day(done, channels="9", replace=True, only=RIPPLE)
    assert {task.output for task in plan.todo} == {changed, foreign}


def test_an_entry_without_its_file_and_the_file_before_it(done: Path) -> None:
    """A crash between ledger and rename leaves a newer entry beside the older file: the older key counts."""
    plan = raypipe.plan_day(done, channels="9", only=RIPPLE)
    task = plan.tasks[-1]
    newer = msgspec.structs.replace(entry_for(plan, task), key={"code": "newer"}, size=11)
    append_entries(plan.day.state, [newer])
    assert raypipe.plan_day(done, channels="9", only=RIPPLE).counts == {"done": 8}
    older = msgspec.structs.replace(entry_for(plan, task), key={"code": "older"})
    append_entries(plan.day.state, [older])
    (todo,) = raypipe.plan_day(done, channels="9", only=RIPPLE).todo
    assert todo.output == task.output


def test_changes_tell_old_and_new() -> None:
    assert changes({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == "b: 2 -> 3; c: nothing -> 4"


def test_channels_are_parsed_and_written_as_people_do() -> None:
    selection = parse_channels("1-3, 7,9-9")
    assert [number for number in range(12) if number in selection] == [1, 2, 3, 7, 9]
    assert selection.unknown([2, 9]) == "7"
    assert ranges([3, 1, 2, 7]) == "1-3, 7"
    for text in ("", "a", "0", "3-1", "1-", "-2", "1,,2", "²", "1-²"):
        with pytest.raises(UsageError, match="not a channel"):
            parse_channels(text)
    for text in ("1-1000000000", "10001"):
        with pytest.raises(UsageError, match="end at 10000"):
            parse_channels(text)


def test_no_channels_are_not_all_channels(simulated: Path) -> None:
    with pytest.raises(UsageError, match="not a channel"):
        raypipe.plan_day(simulated, channels="")
    with pytest.raises(UsageError, match="not a channel"):
        raypipe.run_day(simulated, channels="")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (Config(rpllfp=RplLfp(ResampleRate=7000)), "ResampleRate"),
        (Config(rpllfp=RplLfp(ResampleRate=0)), "ResampleRate"),
        (Config(rpllfp=RplLfp(ResampleRate=float("nan"))), "ResampleRate"),  # type: ignore[arg-type]
        (Config(rpllfp=RplLfp(LFPOrder=7)), "LFPOrder"),
        (Config(rpllfp=RplLfp(LowPassFrequency=(1, 500))), "LowPassFrequency"),
        (Config(rpllfp=RplLfp(LowPassFrequency=(0, 150))), "LowPassFrequency"),
        (Config(rpllfp=RplLfp(LowPassFrequency=(float("nan"), 150))), "LowPassFrequency"),
        (Config(rplhighpass=RplHighPass(HighOrder=0)), "HighOrder"),
        (Config(rplhighpass=RplHighPass(HighPassFrequency=(500, float("inf")))), "HighPassFrequency"),
        (Config(rplhighpass=RplHighPass(HighPassFrequency=(7500, 500))), "HighPassFrequency"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(simulated: Path, config: Config, names: str) -> None:
    with pytest.raises(UsageError, match=f"^{names} is ") as error:
        raypipe.plan_day(simulated, config=config)
    assert error.value.exit_code == 2
    assert raypipe.plan_day(simulated, config=config, only=["rplparallel", "rplsplit"]).todo, "asked of its stage only"


def test_planning_imports_nothing_slow(simulated: Path) -> None:
    code = (
        "import sys, raypipe; plan = raypipe.plan_day(sys.argv[1]); assert plan.todo;"
        "from raypipe import report; report.plan_text(plan);"
        "print({'ray', 'numba', 'scipy', 'h5py', 'hickle', 'kernels', 'pyedflib'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code, simulated], check=True, capture_output=True, text=True)
    assert run.stdout == "set()\n"


def test_raw_copies_are_not_opened_without_need(done: Path) -> None:
    for path in done.glob("session*/*.ns5"):
        path.unlink()
    code = "import sys, raypipe; plan = raypipe.plan_day(sys.argv[1], skip=sys.argv[2:]); assert not plan.todo; print('h5py' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code, done, *BEHAVIOUR, *OBJECTS], check=True, capture_output=True, text=True
    )
    assert run.stdout == "False\n"


def test_a_session_with_a_broken_recording_is_a_problem_of_its_own(day: Path) -> None:
    next((day / "session01").glob("*.ns5")).write_bytes(b"nonsense")
    plan = raypipe.plan_day(day)
    (problem,) = plan.problems
    assert (problem.session, problem.stages) == ("session01", ("rplsplit", "rpllfp", "rplhighpass", *OBJECTS))
    assert {task.session.name for task in plan.todo if task.channel} == {"sessioneye"}
    of_objects = 10 * 2  # spectra of sessioneye: without all sessions nothing is sorted
    assert replace(plan, problems=()).counts == {"todo": 32 + 9 + of_objects}

"""What is made of whole sessions: what it needs, what makes it be made again, and what goes on without it."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import raypipe
from raypipe.config import Aligning, Config, Resources
from raypipe.errors import TooLittleMemory
from raypipe.ledger import Entry, append_entries, prepare_state
from raypipe.plan import Plan
from raypipe.simulate import SimulateSettings, simulate_day
from tests.compare import BEHAVIOUR

OF_SESSIONS = ("rplparallel", *BEHAVIOUR)


@pytest.fixture(scope="module")
def two_sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day whose eye file holds two navigation sessions."""
    settings = SimulateSettings(channels=1, seconds=10, eye_seconds=3, trials=2, sessions=2, seed=3)
    return simulate_day(tmp_path_factory.mktemp("two"), settings)


def plan(day: Path, **settings: object) -> Plan:
    return raypipe.plan_day(day, **{"only": OF_SESSIONS, **settings})  # type: ignore[arg-type]


def pretend_done(day: Path) -> None:
    """Put a file and ledger entries where each task would have; who writes a file anew comes last, as in a run."""
    made = plan(day)
    prepare_state(made.day.state)
    for task in made.tasks:
        task.output.parent.mkdir(parents=True, exist_ok=True)
        task.output.write_bytes(b"x" * len(task.stage.name))
        status = task.output.stat()
        output = task.output.relative_to(made.day.output).as_posix()
        times = status.st_size, status.st_mtime_ns
        append_entries(
            made.day.state, [Entry(output, task.stage.name, task.session.name, None, task.key, *times, "", "", "")]
        )
    assert plan(day).counts == {"done": len(made.tasks)}


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def stages(made: Plan, session: str = "session01") -> list[str]:
    return [task.stage.name for task in made.todo if task.session.name == session]


def test_each_stage_waits_for_what_it_is_made_from(simulated: Path) -> None:
    made = plan(simulated)
    tasks = {(task.stage.name, task.output.name): task for task in made.tasks if task.session.name == "session01"}
    assert [name for name, _ in tasks] == [
        *("rplparallel", "unity", "edfsplit"),
        *("aligning_objects", "aligning_objects", "raycast", "raycast", "umaze", "picture"),
    ]
    session = simulated / "session01"
    of = {name: session / name for name in ("rplparallel_d41d.hkl", "unity_71bf.hkl", "eyelink_24d5.hkl")}
    ripple, unity, eyelink = (
        (stage, path) for stage, path in zip(("rplparallel", "unity", "edfsplit"), of.values(), strict=True)
    )
    unity_aligned, eyelink_aligned = (("aligning_objects", path) for _, path in (unity, eyelink))
    assert tasks["unity", "unity_71bf.hkl"].needs == {ripple}
    one = tasks["aligning_objects", "unity_71bf.hkl"]
    assert (one.needs, one.after) == ({ripple, unity}, {eyelink})
    two = tasks["aligning_objects", "eyelink_24d5.hkl"]
    assert (two.needs, two.after) == ({ripple, eyelink}, {unity})
    for name in ("binData.hdf", "unityfile_eyelink.csv"):
        assert tasks["raycast", name].needs == {unity, eyelink, unity_aligned, eyelink_aligned}
    assert tasks["umaze", "umaze_fd09.hkl"].needs == {unity, unity_aligned}
    assert tasks["picture", "maze.png"].after == {
        ("raycast", session / "binData.hdf"),
        ("raycast", session / "unityfile_eyelink.csv"),
    }
    (calibration,) = (task for task in made.tasks if (task.stage.name, task.session.name) == ("edfsplit", "sessioneye"))
    assert calibration.needs == calibration.after == frozenset()


def test_a_changed_log_makes_its_session_again_and_no_other(two_sessions: Path, tmp_path: Path) -> None:
    day = copied(two_sessions, tmp_path)
    pretend_done(day)
    touch(next((day / "session02").glob("RawData*/*.txt")))
    made = plan(day)
    assert {task.session.name for task in made.todo} == {"session02"}
    assert set(stages(made, "session02")) == set(BEHAVIOUR), (
        "eye data begin afresh: aligned once, their own clock is gone"
    )
    whys = {task.stage.name: task.why for task in made.todo}
    assert whys["edfsplit"] == "to be written anew"
    assert whys["umaze"].startswith("input .txt of unity: ")


def test_a_changed_eye_file_makes_all_its_sessions_again(two_sessions: Path, tmp_path: Path) -> None:
    day = copied(two_sessions, tmp_path)
    pretend_done(day)
    touch(day / "181105.edf")
    made = plan(day)
    assert {task.session.name for task in made.todo} == {"session01", "session02"}
    assert "rplparallel" not in stages(made)


def test_markers_of_one_session_decide_about_the_eye_data_of_another(two_sessions: Path, tmp_path: Path) -> None:
    day = copied(two_sessions, tmp_path)
    pretend_done(day)
    touch(next((day / "session02").glob("*.nev")))
    (task,) = (task for task in plan(day).todo if (task.session.name, task.stage.name) == ("session01", "edfsplit"))
    assert task.why.startswith("input .nev of rplparallel of session02: ")


def test_a_changed_setting_of_the_aligning_begins_with_the_unaligned(day: Path) -> None:
    pretend_done(day)
    made = plan(day, config=Config(aligning_objects=Aligning(doubtful_ms=10)))
    assert set(stages(made)) == set(BEHAVIOUR)
    assert {task.why for task in made.todo if task.stage.name in ("unity", "edfsplit")} == {"to be written anew"}
    assert stages(made, "sessioneye") == []


def test_what_lost_one_of_two_files_makes_both_again(day: Path) -> None:
    pretend_done(day)
    (day / "session01" / "binData.hdf").unlink()
    made = plan(day)
    assert stages(made) == ["raycast", "raycast"], "the picture is made of the same again"


def test_objects_of_others_are_neither_made_nor_written_anew_but_used(day: Path) -> None:
    for name in ("unity_71bf.hkl", "eyelink_24d5.hkl"):
        (day / "session01" / name).write_bytes(b"PyHipp's")
    made = plan(day)
    kept = [task.stage.name for task in made.tasks if task.state == "kept"]
    assert kept == ["unity", "edfsplit", "aligning_objects", "aligning_objects"]
    assert stages(made) == ["rplparallel", "raycast", "raycast", "umaze", "picture"]
    (umaze,) = (task for task in made.todo if task.stage.name == "umaze")
    assert umaze.key["input unity_71bf.hkl"].startswith("unity_71bf.hkl, 8 bytes, changed ")
    assert set(stages(plan(day, replace=True))) == set(OF_SESSIONS)
    (day / "session01" / "rplparallel_d41d.hkl").write_bytes(b"PyHipp's")
    made = plan(day, replace=True, only=["umaze"])
    assert (made.problems, stages(made)) == ((), ["umaze"]), "what is replaced was asked for"


def test_without_unity_logs_eye_data_are_aligned_all_the_same(day: Path) -> None:
    next((day / "session01").glob("RawData*/*.txt")).unlink()
    made = plan(day)
    (problem,) = made.problems
    assert problem.stages == ("unity", "raycast", "umaze", "picture")
    assert "no Unity log RawData*/session*" in problem.error.message
    (aligned,) = (task for task in made.todo if task.stage.name == "aligning_objects")
    assert aligned.output.name == "eyelink_24d5.hkl"
    assert_hint_mends(day, problem.error.hint)


def test_without_eye_files_the_maze_is_walked_all_the_same(day: Path) -> None:
    for path in [*day.glob("*.edf"), *day.glob("*.asc")]:
        path.unlink()
    made = plan(day)
    problems = {problem.session: problem for problem in made.problems}
    assert problems["session01"].stages == ("edfsplit", "raycast")
    assert problems["sessioneye"].stages == ("edfsplit",)
    assert "no eye file of the navigation" in problems["session01"].error.message
    assert_hint_mends(day, problems["session01"].error.hint)
    assert stages(made) == ["rplparallel", "unity", "aligning_objects", "umaze", "picture"]


def assert_hint_mends(day: Path, hint: str) -> None:
    skipped = re.findall("--skip ([a-z]+)", hint)
    assert skipped and plan(day, skip=skipped).problems == ()


def test_what_a_stage_needs_must_be_asked_for_or_there(day: Path) -> None:
    made = plan(day, only=["umaze"])
    (problem,) = made.problems
    assert problem.stages == ("umaze",)
    assert problem.error.message == (
        "session01: umaze needs rplparallel and unity and aligning_objects, not up to date and left out"
    )
    asked = ["umaze", *problem.error.hint.partition("(")[2].partition(")")[0].split()[1::2]]
    assert stages(plan(day, only=asked)) == ["rplparallel", "unity", "aligning_objects", "umaze"]
    assert plan(day, only=asked).problems == ()
    pretend_done(day)
    (day / "session01" / "umaze_fd09.hkl").unlink()
    made = plan(day, only=["umaze"])
    assert (made.problems, stages(made)) == ((), ["umaze"])


def test_what_was_aligned_is_not_aligned_by_another_setting(day: Path) -> None:
    pretend_done(day)
    other = Config(aligning_objects=Aligning(doubtful_ms=10))
    made = plan(day, config=other, only=["aligning_objects", "umaze"])
    assert made.todo == ()
    (problem,) = made.problems
    assert problem.stages == ("aligning_objects", "umaze")
    assert "aligning_objects needs unity and edfsplit" in problem.error.message
    assert stages(plan(day, config=other, only=["unity", "edfsplit"])) == [], "they are as they should be"
    of_all = plan(day, config=other, only=["unity", "edfsplit", "aligning_objects", "umaze"])
    assert stages(of_all) == ["unity", "edfsplit", "aligning_objects", "aligning_objects", "umaze"]


def test_each_file_of_others_counts(two_sessions: Path, tmp_path: Path) -> None:
    day = copied(two_sessions, tmp_path)
    for path in (*day.glob("session0*/"),):
        (path / "rplparallel_d41d.hkl").write_bytes(b"PyHipp's")
    for name in ("unityfile_eyelink.csv", "binData.hdf"):
        (day / "session01" / name).write_bytes(b"somebody's")
    keys = {(task.session.name, task.stage.name): task.key for task in plan(day).tasks}
    eyes = keys["session01", "edfsplit"]
    files = [day / name / "rplparallel_d41d.hkl" for name in ("session01", "session02")]
    assert str(files[0].stat().st_mtime_ns) in eyes["input rplparallel_d41d.hkl"]
    assert str(files[1].stat().st_mtime_ns) in eyes["input rplparallel_d41d.hkl of session02"]
    assert {"input unityfile_eyelink.csv", "input binData.hdf"} <= keys["session01", "picture"].keys()


def test_a_picture_without_gaze_is_drawn_again_when_there_is_gaze(day: Path) -> None:
    without = plan(day, only=[name for name in OF_SESSIONS if name != "raycast"])
    with_gaze = plan(day)
    keys = [next(task.key for task in each.tasks if task.stage.name == "picture") for each in (without, with_gaze)]
    assert "code of raycast" in keys[1]
    assert "code of raycast" not in keys[0]


@pytest.mark.parametrize("pattern", ["*.nev", "RawData*/*.txt"])
def test_a_link_to_nothing_is_a_problem_of_its_session(day: Path, pattern: str) -> None:
    link = next((day / "session01").glob(pattern))
    link.unlink()
    link.symlink_to("nowhere")
    made = plan(day)
    (problem,) = made.problems
    assert (problem.session, problem.error.message) == ("session01", f"{link} is a link to nothing")
    assert stages(made, "sessioneye") == ["rplparallel", "edfsplit"]


def test_two_calibrations_are_one_too_many(day: Path) -> None:
    (day / "P9_9.asc").write_bytes((day / "P11_5.asc").read_bytes())
    (problem,) = plan(day).problems
    assert (problem.session, problem.stages) == ("sessioneye", ("edfsplit",))
    assert "P9_9.asc, P11_5.edf" in problem.error.message


def test_a_plan_of_sessions_counts_their_memory(day: Path) -> None:
    from raypipe.run import budget_of

    made = plan(day)
    largest = max(task.memory for task in made.todo)
    assert largest > 0
    assert budget_of(made).session_task == largest
    small = plan(day, config=Config(run=Resources(memory="700MB")))
    with pytest.raises(
        TooLittleMemory, match=r"8.. MB \(3.. MB of it .* sessions\), and 734 MB are allowed"
    ) as refused:
        budget_of(small)
    assert "--channels" not in refused.value.hint and "--skip" in refused.value.hint
    assert budget_of(replace(made, tasks=())).session_task == 0


def archive(day: Path) -> None:
    """Take away what session stages are made from."""
    for path in [*day.glob("*.edf"), *day.glob("*.asc"), *day.glob("session*/*.nev"), *day.glob("session*/RawData*/*")]:
        path.unlink()


def test_archiving_the_inputs_makes_nothing_again(two_sessions: Path, tmp_path: Path) -> None:
    day = copied(two_sessions, tmp_path)
    pretend_done(day)
    before = {task.id: task.key for task in plan(day).tasks}
    archive(day)
    made = plan(day)
    assert (made.problems, made.todo) == ((), ())
    assert {task.id: task.key for task in made.tasks} == before
    assert plan(day, replace=True).todo == ()


def test_what_cannot_be_made_again_for_want_of_its_input_says_so(day: Path) -> None:
    pretend_done(day)
    archive(day)
    aligning = Config(aligning_objects=Aligning(doubtful_ms=10))
    problems = plan(day, config=aligning).problems
    assert [problem.stages for problem in problems] == [("aligning_objects", "raycast", "umaze", "picture")]
    assert "unity and edfsplit would have to be made again, and the input of that is gone" in problems[0].error.message
    (day / "session01" / "umaze_fd09.hkl").unlink()
    assert stages(plan(day)) == ["umaze"], "what it is made from is there"
    (day / "session01" / "rplparallel_d41d.hkl").unlink()
    messages = [problem.error.message for problem in plan(day).problems]
    assert any("session01: no *.nev" in message for message in messages)


def test_new_code_without_the_input_is_a_problem_and_no_task(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_done(day)
    archive(day)
    monkeypatch.setattr("raypipe.plan_channels.code_version", lambda modules: "0" * 12)
    made = plan(day)
    assert not {"rplparallel", "unity", "edfsplit"} & set(stages(made))
    assert any("session01: no *.nev" in problem.error.message for problem in made.problems)


def copied(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "picasso" / source.name))

"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raypipe.events import WorkEnded, WorkStarted
from raypipe.progress import _Bars
from tests.compare import RIPPLE

RAYPIPE = Path(sys.executable).parent / "raypipe"


def call(*arguments: object, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(RAYPIPE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, input=answer)


@pytest.mark.parametrize("verb", ["plan", "run", "status", "clean", "simulate"])
def test_help_has_examples(verb: str) -> None:
    shown = call(verb, "--help")
    assert shown.returncode == 0
    assert "Examples" in shown.stdout
    assert f"raypipe {verb}" in shown.stdout


def test_the_verbs_the_exit_codes_and_completion_are_in_the_help() -> None:
    shown = call("--help").stdout
    assert all(verb in shown for verb in ("plan", "run", "status", "clean", "simulate", "config"))
    assert "130 interrupted" in shown
    assert "--install-completion" in shown
    assert call("--version").stdout == "raypipe 0.1.0\n"


def test_names_of_stages_are_completed() -> None:
    words = {"_RAYPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "raypipe run DAY --skip freq", "COMP_CWORD": "4"}
    shown = subprocess.run([RAYPIPE], capture_output=True, text=True, env={**os.environ, **words})
    assert shown.stdout.split() == ["freqspectrum", "freqspectrum_highpass"]


def test_a_stage_of_channels_has_a_bar_from_its_first_channel_on() -> None:
    from rich.progress import Progress, TextColumn

    with Progress(TextColumn("{task.fields[count]}"), disable=True) as progress:
        bars = _Bars(progress)
        for channel in (1, 2):
            bars(WorkStarted("mountain_batch", ("mountains",), channel))
        assert [(task.description, task.total) for task in progress.tasks] == [("mountain_batch", None)]
        bars(WorkEnded("mountain_batch", ("mountains",), 1, ended=1, total=124))
        assert [(task.completed, task.total) for task in progress.tasks] == [(1, 124)]


def test_a_plan_goes_from_sessions_to_the_day(simulated: Path) -> None:
    lines = call("plan", simulated).stdout.splitlines()
    places = [line.split()[0] for line in lines[2 : lines.index("")]]
    assert list(dict.fromkeys(places)) == ["session01", "sessioneye", "mountains", "20181105"]
    memory = json.loads(call("plan", simulated, "--json").stdout)["memory"]
    assert memory["total"] > memory["asked_for"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["plan", "nowhere"], 2, "hint: give the folder of a day"),
        (["run", "DAY", "--only", "rplfp"], 2, "did you mean rpllfp?"),
        (["run", "DAY", "--channels", "x"], 2, "--channels 1-32,40"),
        (["run", "DAY", "--channels", "200"], 2, "no session has channel 200"),
        (["run", "DAY", "--channels", ""], 2, "not a channel"),
        (["run", "DAY", "--channels", "²"], 2, "not a channel"),
        (["run", "DAY", "--output", "FILE"], 2, "is a file"),
        (["plan", "DAY", "--memory", "nonsense"], 2, "not an amount of memory"),
        (["run", "DAY", "--memory", "10MB", "--output", "OUT"], 3, "10 MB are allowed"),
        (["run", "DAY", "--memory", "9000GB", "--output", "OUT"], 3, "more than the"),
        (["run", "DAY", "--config", "nowhere.toml"], 2, "no configuration file"),
        (["run", "DAY", "--cpus", "0"], 2, "--cpus"),
        (["simulate", "OUT", "--markers", "85"], 2, "84, 204 or none"),
        (["simulate", "OUT", "--trials", "100", "--seconds", "5"], 2, "do not fit"),
    ],
)
def test_what_is_wrong_is_said_once(
    simulated: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    given = [
        {"DAY": str(simulated), "OUT": str(tmp_path / "out"), "FILE": __file__}.get(word, word) for word in arguments
    ]
    shown = call(*given)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "out").exists()


def test_a_plan_that_would_be_refused_is_shown(simulated: Path) -> None:
    shown = call("plan", simulated, "--memory", "10MB")
    assert (shown.returncode, shown.stderr) == (3, "")
    assert "205 outputs to make" in shown.stdout
    assert "would be REFUSED" in shown.stdout
    assert "10 MB are allowed" in json.loads(call("plan", simulated, "--memory", "10MB", "--json").stdout)["refused"]


def test_a_days_life(simulated: Path, tmp_path: Path) -> None:
    options = ["--output", tmp_path, "--channels", "9,33", *(f"--only={name}" for name in RIPPLE)]
    shown = call("plan", simulated, *options)
    assert shown.returncode == 0
    assert "14 outputs to make" in shown.stdout
    assert "memory at most" in shown.stdout
    assert call("status", simulated, *options).returncode == 1

    shown = call("run", simulated, *options)
    assert shown.returncode == 0, shown.stderr
    assert "done: 14 outputs" in shown.stderr
    assert shown.stdout == ""

    shown = call("status", simulated, *options)
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "14 of 14 outputs are there, complete")
    state = json.loads(call("status", simulated, "--output", tmp_path, "--json").stdout)
    assert (state["there"], state["expected"], state["complete"]) == (14, 203, False)
    row = next(
        row for row in state["rows"] if (row["session"], row["array"], row["stage"]) == ("session01", 1, "rpllfp")
    )
    assert (row["there"], row["missing"]) == ([9], [1, 2, 3, 10])

    assert "nothing to do" in call("run", simulated, *options).stderr
    events = [json.loads(line) for line in call("run", simulated, *options, "--json").stdout.splitlines()]
    assert [event["event"] for event in events] == ["RunEnded"]
    changed = tmp_path / "picasso/20181105/session01/array01/channel009/rpllfp_6eca.hkl"
    whole = changed.read_bytes()
    times = (changed.stat().st_atime_ns, changed.stat().st_mtime_ns)
    changed.write_bytes(whole[:100])
    last = "kept as found: 1 (1 changed by something else since); --replace makes them again"
    assert call("run", simulated, *options).stderr.splitlines()[-1] == last
    assert call("plan", simulated, *options).stdout.splitlines()[-1] == last
    changed.write_bytes(whole)
    os.utime(changed, ns=times)
    plan = json.loads(call("plan", simulated, *options, "--json").stdout)
    assert plan["counts"] == {"done": 14, "todo": 0, "kept": 0}

    foreign = tmp_path / "picasso/20181105/session01/array01/channel009/notes.txt"
    foreign.write_text("mine")
    made = len(list(tmp_path.rglob("*.hkl")))
    assert "would remove 14 files" in call("clean", simulated, "--output", tmp_path, "--dry-run").stdout
    assert call("clean", simulated, "--output", tmp_path, answer="n\n").returncode == 1
    assert len(list(tmp_path.rglob("*.hkl"))) == made
    assert "removed 4 files" in call("clean", simulated, "--output", tmp_path, "--only", "rpllfp", "--yes").stdout
    assert "removed 10 files" in call("clean", simulated, "--output", tmp_path, answer="y\n").stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [foreign]
    assert "nothing of raypipe's" in call("clean", simulated, "--output", tmp_path).stdout


def test_the_printed_settings_can_be_used(simulated: Path, tmp_path: Path) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text(call("config").stdout.replace("ResampleRate = 1000", "ResampleRate = 500"))
    tasks = json.loads(call("plan", simulated, "--config", path, "--json").stdout)["tasks"]
    assert {Path(task["output"]).name for task in tasks if task["stage"] == "rpllfp"} != {"rpllfp_6eca.hkl"}
    path.write_text("[rpllfp]\nResampleRate = 7000\n")
    shown = call("run", simulated, "--config", path, "--output", tmp_path, "--only", "rpllfp")
    assert shown.returncode == 2
    assert "ResampleRate" in shown.stderr

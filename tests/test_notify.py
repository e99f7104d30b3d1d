"""What people are told of runs, and that whatever becomes of it, the runs go on."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from raypipe import notify
from raypipe.config import Config, load_config
from raypipe.errors import Refused, UsageError
from raypipe.events import Event, Phase, RunEnded, RunRefused, RunStarted, TaskFailed
from raypipe.notice import DayFacts, Where, begun, ended
from raypipe.notify import Notifier
from tests.conftest import Received
from tests.slurm.harness import wait_until
from tests.test_cli import call
from tests.test_faults import events_of, running

FIRST, SECOND = "picasso/20181105", "picasso/20181106"
STARTED = RunStarted(FIRST, "run-1", 205, 199_000_000, 10**9, "/data/picasso/20181105/.raypipe/runs/run-1")
AGAIN = "next: the same command again goes on where it was; what is made stays made"


def settings(folder: Path, *channels: str) -> str:
    path = folder / "raypipe.toml"
    path.write_text(f"[run]\ncpus = 2\ntile_seconds = 0.5\n[notify]\nchannels = {json.dumps(channels)}\n")
    return f"--config={path}"


def failed(number: int, error: str, **others: str) -> TaskFailed:
    given = {"hint": "", "log": ""} | others
    return TaskFailed("rpllfp", "session01", number, error, given["hint"], given["log"], day=FIRST)


def facts(outcome: str, done: int = 205, failures: Sequence[TaskFailed] = (), *, late: bool = False) -> DayFacts:
    end = RunEnded(outcome, done, len(failures), 42.0, 183_000_000, late, day=FIRST)  # type: ignore[arg-type]
    return DayFacts(FIRST, STARTED, end, failures=list(failures))


def test_the_beginning_of_a_day() -> None:
    where = Where("node1, in job 1234 of Slurm", ("raypipe jobs /data/picasso/20181105",), "/run/*-slurm.*")
    notice = begun([DayFacts(FIRST, STARTED)], where)
    assert (notice.run, notice.event) == ("run-1", "begun")
    assert notice.subject == "picasso/20181105 begun: 205 outputs to make, 199 MB"
    place = "on node1, in job 1234 of Slurm\nlook: raypipe jobs /data/picasso/20181105"
    assert notice.text == f"the jobs' output: /run/*-slurm.*\n{place}"
    again = begun([DayFacts(FIRST, STARTED)], Where("node1, in job 1234 of Slurm", life=2))
    assert again.subject == "picasso/20181105 taken up again: 205 outputs to make, 199 MB"
    assert again.text == "on node1, in job 1234 of Slurm (begun 2 times)"


@pytest.mark.parametrize(
    ("day", "subject", "following"),
    [
        (facts("done"), "done: 205 outputs made, 183 MB in 42 s", []),
        (facts("interrupted", 40), "interrupted: 40 of 205 outputs made, 183 MB in 42 s", [AGAIN]),
        (
            facts("interrupted", 40, late=True),
            "out of time: 40 of 205 outputs made, 183 MB in 42 s",
            ["next: the job is queued again and goes on; where Slurm does not do that, " + AGAIN.removeprefix("next: ")],
        ),
        (
            facts("failed", 204, [failed(9, "it is damaged")]),
            "FAILED: 204 of 205 outputs made, 183 MB in 42 s; 1 failed",
            ["next: mend what the hints name; the same command again makes what is missing, and nothing else"],
        ),
        (
            DayFacts(FIRST, refused=RunRefused("it is locked", "wait for it", day=FIRST)),
            "refused: it is locked",
            ["next: wait for it"],
        ),
        (DayFacts(FIRST, STARTED), "broke off: 205 outputs were to be made", [AGAIN]),
    ],
)  # fmt: skip
def test_the_end_of_a_day(day: DayFacts, subject: str, following: list[str]) -> None:
    notice = ended([day], Where("node1", ("raypipe jobs X",), "/run/*-slurm.*"))
    assert notice is not None
    assert notice.subject == f"{FIRST} {subject}"
    lines = notice.text.splitlines()
    assert [line for line in lines if line.startswith("next: ")] == following
    assert ("log: /data/picasso/20181105/.raypipe/runs/run-1/events.jsonl" in lines) == (day.started is not None)
    assert {"the jobs' output: /run/*-slurm.*", "on node1", "look: raypipe jobs X"} <= set(lines)


def test_of_many_failures_the_first_five_causes_are_told_and_the_others_counted() -> None:
    lost = [failed(number, "the recording is gone", hint="copy it", log=f"/log-{number}") for number in range(1, 101)]
    others = [failed(number, f"cause {number}") for number in range(7)]
    notice = ended([facts("failed", 98, [*lost, *others])], Where())
    assert notice is not None
    assert notice.text.splitlines()[:12] == [
        f"{FIRST}, what failed first:",
        "  session01 rpllfp channel 1: the recording is gone",
        "    hint: copy it",
        "    log: /log-1",
        "    and 99 more with this error",
        "  session01 rpllfp: cause 0",
        *(f"  session01 rpllfp channel {number}: cause {number}" for number in (1, 2, 3)),
        "  and 3 more with other errors",
        "log: /data/picasso/20181105/.raypipe/runs/run-1/events.jsonl",
        "next: mend what the hints name; the same command again makes what is missing, and nothing else",
    ]


def test_nothing_to_do_is_not_worth_a_message() -> None:
    idle = DayFacts(SECOND, ended=RunEnded("done", 0, 0, 0.1, 0, day=SECOND))
    assert ended([idle], Where()) is None
    notice = ended([facts("done"), idle], Where())
    assert notice is not None
    assert notice.subject.startswith(f"{FIRST} done: ")
    assert f"{SECOND}: nothing to do" in notice.text


def test_where_a_run_is_and_how_to_look(tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "1234", "SLURMD_NODENAME": "node1", "SLURM_RESTART_COUNT": "2"}
    at = Where.here([tmp_path / "a b", tmp_path / "c"], None, Path("/run"), job)
    assert at == Where(
        "node1, in job 1234 of Slurm", (f"raypipe jobs '{tmp_path}/a b' {tmp_path}/c",), "/run/*-slurm.*", 3
    )
    here = Where.here([tmp_path / "c"], Path("/out"), None, {})
    assert here.look == (f"raypipe status {tmp_path}/c --output /out",)
    assert (here.place, here.logs, here.life) == (os.uname().nodename, "", 1)


def tell_all(notifier: Notifier, *events: Event) -> None:
    with notifier:
        for event in events:
            notifier(event)


END = RunEnded("done", 205, 0, 42.0, 183_000_000, day=FIRST)
PHASES = [Phase("starting Ray", 0.1, day=day) for day in (FIRST, SECOND)]


def test_the_finalizer_may_tell_the_end(received: Received) -> None:
    tell_all(Notifier([received.url], ends=False), STARTED, *PHASES, END)
    assert [post["event"] for post in received.posts] == ["begun"]


def test_an_error_of_our_own_is_told_and_goes_on(received: Received) -> None:
    notifier = Notifier([received.url])
    with pytest.raises(ZeroDivisionError), notifier:
        notifier(STARTED)
        notifier(PHASES[0])
        raise ZeroDivisionError("division by zero")
    assert received.posts[-1]["subject"] == f"{FIRST} broke off: 205 outputs were to be made"
    assert "\nZeroDivisionError: division by zero\n" in received.posts[-1]["text"]
    with pytest.raises(Refused), Notifier([received.url]):
        raise Refused("no Ray could be joined", hint="submit")
    assert received.posts[-1]["subject"] == "could not begin: no Ray could be joined hint: submit"
    with pytest.raises(UsageError), Notifier([received.url]):
        raise UsageError("not a channel")
    assert len(received.posts) == 3


def test_a_channel_that_hangs_holds_up_no_other_and_the_end_not_for_long(
    received: Received, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notify, "_PATIENCE_SECONDS", 0.5)
    good = received.url.replace("127.0.0.1", "localhost")
    tell_all(Notifier([f"{received.url}/hang", f"{good}/good"]), STARTED, *PHASES, END)
    host = received.url.removeprefix("http://")
    assert f"raypipe: could not tell the URL at {host}: it takes too long\n" in capsys.readouterr().err
    wait_until(lambda: len(received.paths) == 3, 30, "the other channel to be told")
    assert sorted(received.paths) == ["/good", "/good", "/hang"]


def test_a_mistake_of_ours_in_a_message_stops_nothing(
    received: Received, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notify, "begun", None)
    tell_all(Notifier([received.url]), STARTED, *PHASES, END)
    assert "could not tell anybody: TypeError" in capsys.readouterr().err
    assert [post["event"] for post in received.posts] == ["ended"]


def test_boto3_is_imported_for_those_who_need_it(received: Received) -> None:
    program = (
        "import sys\nfrom raypipe.notify import Notifier\nfrom raypipe.events import *\n"
        f"with Notifier([{received.url!r}]) as notifier:\n"
        f"    notifier(RunStarted({FIRST!r}, 'run', 1, 1, 1))\n    notifier(Phase('x', 0.1))\n"
        "assert not {'boto3', 'botocore', 'ray'} & set(sys.modules), 'imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [post["event"] for post in received.posts] == ["begun", "ended"]


def test_a_run_that_is_interrupted_in_its_second_life(
    received: Received, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with running(day, settings(tmp_path, received.url), "--channels=1") as process:
        for event in events_of(process):
            if event["event"] == "PassProgressed":
                process.send_signal(signal.SIGINT)
                break
        list(events_of(process))
        assert process.wait(60) == 130
    first, last = (post["subject"] for post in received.posts)
    assert first.startswith(f"{FIRST} taken up again: 8 outputs to make, ")
    assert last.startswith(f"{FIRST} interrupted: ")
    assert "of 8 outputs made" in last
    assert "in job 1234 of Slurm (begun 2 times)" in received.posts[1]["text"]
    assert AGAIN in received.posts[1]["text"]


def test_where_there_is_nothing_to_make_only_trouble_is_told(received: Received, day: Path, tmp_path: Path) -> None:
    options = [settings(tmp_path, received.url), "--only=unity"]
    for path in (day / "session01").glob("RawData*/session*"):
        path.unlink()
    shown = call("run", day, *options)
    assert shown.returncode == 1, shown.stderr
    (post,) = received.posts
    assert post["subject"].startswith(f"{FIRST} FAILED: 0 outputs made, 0 kB in ")
    assert "  session01 unity: " in post["text"]
    assert post["event"] == "ended"
    assert post["run"]


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ("", "a channel is empty"),
        ("mailto:me@example.org", "begins with 'mailto:'"),
        ("arn:aws:sns:lab", "begins with 'arn:'"),
        ("https://hooks.slack.com/services/T0/B0/hunter22", "holds? a URL that is itself a secret"),
    ],
)
def test_a_channel_that_cannot_be_meant_is_refused_before_the_run(
    day: Path, tmp_path: Path, channel: str, says: str
) -> None:
    shown = call("run", day, settings(tmp_path, channel), "--output", tmp_path / "out")
    assert shown.returncode == 2
    assert "[notify] channels" in shown.stderr or "notify.channels" in shown.stderr
    assert "hunter22" not in shown.stderr
    assert says.replace("holds? ", "seems to hold ") in shown.stderr
    assert not (tmp_path / "out").exists()
    if "hunter22" not in channel:
        with pytest.raises(UsageError, match=r"channel 1 of 1: "):
            Notifier([channel])


def test_channels_can_be_tried(received: Received, tmp_path: Path) -> None:
    host = received.url.removeprefix("http://")
    told = tmp_path / "told"
    shown = call("notify", "is this\nread?", settings(tmp_path, f"{received.url}/x", f"tee {shlex.quote(str(told))}"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [f"told the URL at {host}", "told the command tee"]
    assert received.posts[0]["subject"] == "is this read?"
    assert told.read_text() == f"is this read?\n\nis this\nread?\non {os.uname().nodename}\n"
    shown = call("notify", "x", settings(tmp_path, f"{received.url}/bad", received.url, f"file:{tmp_path}/gone"))
    assert shown.returncode == 4
    assert shown.stdout == f"told the URL at {host}\n"
    assert sorted(shown.stderr.splitlines()) == [
        f"raypipe: could not tell file:{tmp_path}/gone: No such file or directory",
        f"raypipe: could not tell the URL at {host}: answered 500",
    ]
    shown = call("notify", "x")
    assert shown.returncode == 2
    assert "[notify] channels" in shown.stderr
    assert "file:~/.raypipe-hook" in call("notify", "--help").stdout


def test_channels_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text('[notify]\nchannels = ["ssm:/raypipe/hook"]\n')
    assert load_config(path).notify.channels == ("ssm:/raypipe/hook",)
    assert Config().notify.channels == ()
    assert 'channels = ["ssm:/raypipe/hook"]' in call("config", f"--config={path}").stdout

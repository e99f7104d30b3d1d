"""Telling people: what they get, and that trouble is returned, never raised."""

import json
import socket
from pathlib import Path
from typing import Any

import boto3
import pytest

from cluster.aws import notify
from cluster.aws.calls import Aws
from cluster.aws.channels import kind_of, named
from cluster.aws.notify import sns_client, tell
from cluster.errors import SettingsError
from tests.aws.world import Emulator
from tests.conftest import Received
from tests.test_cli import call

TOLD = {"run": "run-1", "event": "ended", "subject": "run run-1 done", "text": "41 tasks\n3 h"}


def no_sns(region: str) -> Any:
    raise AssertionError(region)


def test_a_url_gets_json(received: Received) -> None:
    url, posts = received.url, received.posts
    assert tell([f"{url}/hook"], no_sns, **TOLD) == []
    assert posts == [TOLD | {"text": "run run-1 done\n41 tasks\n3 h"}]


def test_trouble_names_no_secret(received: Received) -> None:
    url = received.url
    troubles = tell(
        [f"{url}/bad?token=secret", "http://127.0.0.1:1/secret", "https://[::/secret", "http://me:secret@127.0.0.1:1/"],
        no_sns,
        **TOLD,
    )
    assert troubles[0] == f"the URL at {url.removeprefix('http://')}: answered 500"
    assert len(troubles) == 4
    assert "secret" not in "".join(troubles)


def test_a_command_gets_the_text(tmp_path: Path) -> None:
    script = tmp_path / "mail.sh"
    script.write_text('#!/bin/sh\ncat > "$1"; echo "$RAYPIPE_RUN $RAYPIPE_EVENT" >> "$1"\n')
    script.chmod(0o755)
    assert tell([f"{script} {tmp_path}/told"], no_sns, **TOLD) == []
    assert (tmp_path / "told").read_text() == "run run-1 done\n\n41 tasks\n3 h\nrun-1 ended\n"
    assert tell(["false", "/no/such/command", "", "'"], no_sns, **TOLD)[0] == "the command false: ended with 1"


def test_a_topic_gets_a_subject_that_sns_takes(aws: Aws, emulator: Emulator) -> None:
    topic = aws.sns.create_topic(Name="told")["TopicArn"]
    emulator.begin()
    subject = "run 猫\n" + "x" * 200
    assert tell([topic], aws.topics_of, **(TOLD | {"subject": subject})) == []
    (sent,) = (entry["parameters"] for entry in emulator.log() if entry["action"] == "Publish")
    assert sent["Subject"].startswith("raypipe: run ? xxx")
    assert len(sent["Subject"]) == 99
    assert sent["MessageAttributes.entry.1.Value.StringValue"] == "run-1:ended"
    assert len(tell([topic + "-gone", "arn:"], aws.topics_of, **TOLD)) == 2


def test_a_url_that_moved_or_hangs_is_not_waited_for(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_SECONDS", 0.3)
    host = received.url.removeprefix("http://")
    assert tell([f"{received.url}/moved", f"{received.url}/hang", f"{received.url}/good"], no_sns, **TOLD) == [
        f"the URL at {host}: answered 307",
        f"the URL at {host}: took more than 0 s",
    ]


SECRET = "c2VjcmV0"


def put(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


def test_a_file_holds_a_channel_that_is_secret(
    received: Received, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{received.url}/{SECRET}"
    assert tell([put(tmp_path / "hook", f"{url}\nanother line\n")], no_sns, **TOLD) == []
    assert received.paths == [f"/{SECRET}"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tell(["file:~/hook"], no_sns, **TOLD) == []
    (tmp_path / "told").touch()
    assert tell([put(tmp_path / "command", f"tee {tmp_path}/told")], no_sns, **TOLD) == []
    assert (tmp_path / "told").read_text() == "run run-1 done\n\n41 tasks\n3 h\n"


def test_what_a_file_says_is_never_told(received: Received, tmp_path: Path) -> None:
    channels = [
        put(tmp_path / "bad", f"{received.url}/bad/{SECRET}"),
        put(tmp_path / "gone", f"https://{SECRET}.invalid/{SECRET}"),
        put(tmp_path / "program", f"/no/such/{SECRET} {SECRET}"),
        put(tmp_path / "false", f"sh -c 'exit 3' {SECRET}"),
        put(tmp_path / "topic", f"arn:aws:sns:{SECRET}"),
        put(tmp_path / "further", f"file:/{SECRET}"),
        put(tmp_path / "quotes", f"'{SECRET}"),
        put(tmp_path / "control", f"{received.url}/{SECRET} x\x01"),
        put(tmp_path / "empty", "\n"),
        put(tmp_path / "open", f"{received.url}/{SECRET}", 0o640),
        f"file:{tmp_path}/missing",
    ]
    troubles = tell(channels, no_sns, **TOLD)
    assert [trouble.partition(": ")[0] for trouble in troubles] == channels
    said = [trouble.partition(": ")[2] for trouble in troubles]
    assert SECRET not in "".join(troubles)
    assert said[0] == "answered 500"
    assert (said[2], said[3]) == ("No such file or directory", "ended with 3")
    assert said[4].startswith("what it holds is no channel")
    assert "only one is looked up" in said[5]
    assert said[8] == "it is empty"
    assert said[9] == f"others may read it (mode 0640): `chmod 600 {tmp_path}/open`"
    assert said[10] == "No such file or directory"
    assert received.paths == [f"/bad/{SECRET}"]


def test_a_parameter_holds_a_channel_that_is_secret(
    aws: Aws, emulator: Emulator, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssm = boto3.client("ssm", region_name="ap-southeast-1")
    ssm.put_parameter(Name="/raypipe/hook", Value=f"{received.url}/{SECRET}", Type="SecureString", Overwrite=True)
    ssm.put_parameter(Name="/raypipe/bad", Value=f"{received.url}/bad/{SECRET}", Type="SecureString", Overwrite=True)
    assert tell(["ssm:/raypipe/hook"], no_sns, **TOLD) == []
    assert received.paths == [f"/{SECRET}"]
    bad, gone = tell(["ssm:/raypipe/bad", "ssm:/raypipe/gone"], no_sns, **TOLD)
    assert bad == "ssm:/raypipe/bad: answered 500"
    assert gone.startswith("ssm:/raypipe/gone: ")
    assert "ParameterNotFound" in gone
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert tell(["ssm:/raypipe/hook"], no_sns, **TOLD) == ["ssm:/raypipe/hook: You must specify a region."]
    assert tell(["ssm:/raypipe/hook"], no_sns, **TOLD, region="ap-southeast-1") == []
    topic = aws.sns.create_topic(Name="hidden")["TopicArn"]
    ssm.put_parameter(Name="/raypipe/topic", Value=topic, Type="String", Overwrite=True)
    assert tell(["ssm:/raypipe/topic"], sns_client, **TOLD, region="ap-southeast-1") == []


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        ("arn:aws:sns:ap-southeast-1:123456789012:lab", "topic"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:lab.fifo", "topic"),
        ("HTTPS://ntfy.example/raypipe", "url"),
        ("mail -s 'a day' me@example.org", "command"),
        ("/opt/tell: ", "command"),
        ("ssm:/lab/raypipe", "parameter"),
        ("ssm:raypipe", "parameter"),
        ("file:/home/me/a hook", "file"),
        ("file:~/.hook", "file"),
    ],
)
def test_kinds_of_channels(channel: str, kind: str) -> None:
    assert kind_of(channel) == kind


@pytest.mark.parametrize(
    "channel",
    [
        "", "  ", "arn:", "arn:aws:sqs:ap-southeast-1:123456789012:lab", "arn:aws:sns:ap-southeast-1:1:lab", "https://",
        "https:///raypipe", "mailto:me@example.org", "ftp://ntfy.example/x", "slack:x", "file:hook", "file:", "ssm:", "ssm:/",
        "'x",
    ],
)  # fmt: skip
def test_what_is_no_channel(channel: str) -> None:
    with pytest.raises(SettingsError) as error:
        kind_of(channel)
    assert "ARN of an SNS topic" in error.value.hint
    assert named(channel) == "a channel that is none"


def test_runs_tell_all_channels_once_how_they_begin_and_end(
    aws: Aws, emulator: Emulator, received: Received, day: Path, another: Path, tmp_path: Path
) -> None:
    """One day fails, one is refused, one is done; one channel is not there."""
    (marker,) = (day / "session01").glob("*.nev")
    marker.write_bytes(marker.read_bytes()[:1000])
    topic = aws.sns.create_topic(Name="runs")["TopicArn"]
    boto3.client("ssm").put_parameter(
        Name="/raypipe/run", Value=f"{received.url}/{SECRET}", Type="SecureString", Overwrite=True
    )
    config, out = tmp_path / "raypipe.toml", tmp_path / "out"
    channels = [topic, "ssm:/raypipe/run", put(tmp_path / "hook", f"tee -a {tmp_path}/told"), "no-such-mail me"]
    config.write_text(f"[notify]\nchannels = {json.dumps(channels)}\n")
    emulator.begin()
    shown = call("run", day, another, tmp_path / "nowhere", "--only=rplparallel", "--output", out, "--config", config)
    assert shown.returncode == 2, shown.stderr
    complaints = [line for line in shown.stderr.splitlines() if "could not tell" in line]
    assert complaints == ["raypipe: could not tell the command no-such-mail: No such file or directory"] * 2
    assert SECRET not in shown.stderr

    sent = [entry["parameters"] for entry in emulator.log() if entry["action"] == "Publish"]
    begun, ended = (each["Message"] for each in sent)
    assert sent[0]["Subject"].startswith("raypipe: 2 days begun: 4 outputs to make, ")
    assert sent[1]["Subject"] == "raypipe: 3 days: 1 failed, 1 refused, 1 done"
    runs = [max((out / "picasso" / name / ".raypipe" / "runs").iterdir()) for name in (day.name, another.name)]
    last = max(run.name for run in runs)
    assert [each["MessageAttributes.entry.1.Value.StringValue"] for each in sent] == [f"{last}:begun", f"{last}:ended"]
    options = f"--output {out}"
    look = [f"look: raypipe status {path} {options}" for path in (day, another, tmp_path / "nowhere")]
    assert begun.splitlines()[2:] == [
        f"{tmp_path}/nowhere: refused: no folder {tmp_path}/nowhere", f"on {socket.gethostname()}", *look,
    ]  # fmt: skip
    lines = ended.splitlines()
    assert lines[0] == begun.splitlines()[2]
    assert lines[1].startswith(f"picasso/{day.name}: FAILED: 1 of 2 outputs made, ")
    assert lines[1].endswith("; 1 failed")
    assert lines[2].startswith(f"picasso/{another.name}: done: 2 outputs made, ")
    assert lines[3] == f"picasso/{day.name}, what failed first:"
    assert lines[4].startswith("  session01 rplparallel: ")
    assert lines[5] == f"    log: {runs[0]}/session01-rplparallel.log"
    assert lines[6:12] == [*(f"log: {run}/events.jsonl" for run in runs), f"on {socket.gethostname()}", *look]
    assert [line.partition(" ")[0] for line in lines[12:]] == ["next:", "next:"]
    assert (runs[0] / "session01-rplparallel.log").is_file()

    assert [(post["event"], post["run"]) for post in received.posts] == [("begun", last), ("ended", last)]
    assert received.posts[1]["text"] == f"{received.posts[1]['subject']}\n{ended}"
    assert received.paths == [f"/{SECRET}"] * 2
    assert (tmp_path / "told").read_text().count("3 days: 1 failed, 1 refused, 1 done") == 1
    written = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".hkl"]
    assert written
    assert not any(SECRET in path.read_text(errors="replace") for path in written)

"""Telling people: what they get, and that trouble is returned, never raised."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.aws.calls import Aws
from cluster.aws.notify import tell
from tests.aws.world import Emulator

TOLD = {"run": "run-1", "event": "ended", "subject": "run run-1 done", "text": "41 tasks\n3 h"}


def no_sns(region: str) -> Any:
    raise AssertionError(region)


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A URL on loopback, and what was posted to it."""
    posts: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if "bad" in self.path else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posts
        server.shutdown()
        thread.join()


def test_a_url_gets_json(received: tuple[str, list[dict[str, str]]]) -> None:
    url, posts = received
    assert tell([f"{url}/hook"], no_sns, **TOLD) == []
    assert posts == [TOLD | {"text": "run run-1 done\n41 tasks\n3 h"}]


def test_trouble_names_no_secret(received: tuple[str, list[dict[str, str]]]) -> None:
    url, _ = received
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

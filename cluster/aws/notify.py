"""Tells people how a run goes: by SNS, a URL or a command. Whatever goes wrong is returned, never raised."""

import json
import os
import re
import shlex
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.aws.channels import kind_of, named
from cluster.errors import SettingsError

_SECONDS = 15.0
_SUBJECT, _TEXT = 100, 200_000
"""SNS takes subjects under 100 characters of ASCII in one line, and 256 KB in all."""
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def tell(
    channels: Sequence[str],
    sns: Callable[[str], Any],
    *,
    run: str,
    event: str,
    subject: str,
    text: str,
    region: str = "",
) -> list[str]:
    """Send to each channel: the ARN of an SNS topic, an http(s) URL (JSON is posted), or a command (text on its input).

    `ssm:/name` and `file:/path` stand for a channel that is a secret: it is the value of that parameter of Systems
    Manager (in `region`, if the environment names none), or the first line of that file, which nobody else may read.

    `sns` gives a client for a region. Returns what went wrong, a line a channel; a URL is named by its host alone,
    since the rest of it may be a secret, and of what was looked up nothing is said.
    """
    troubles = []
    for channel in channels:
        found = channel
        try:
            found = _looked_up(channel, region)
            _send(found, sns, run, event, subject, text)
        except Exception as error:  # noqa: BLE001  (nobody's run ends, or is called failed, because of a message)
            troubles.append(f"{named(channel)}: {_why(error).replace(found, '...')}")
    return troubles


def sns_client(region: str) -> Any:
    """Return a client of SNS that gives up within seconds; what takes long to import is imported here."""
    return _client("sns", region)


def _send(channel: str, sns: Callable[[str], Any], run: str, event: str, subject: str, text: str) -> None:
    match kind_of(channel):
        case "topic":
            _publish(sns(channel.split(":")[3]), channel, run, event, subject, text)
        case "url":
            _post(channel, {"run": run, "event": event, "subject": subject, "text": f"{subject}\n{text}"})
        case "command":
            _call(channel, run, event, f"{subject}\n\n{text}\n")
        case _:
            raise _Trouble("it leads to another ssm: or file:, and only one is looked up")


class _Trouble(Exception):
    """What went wrong, in words that hold no secret."""


def _looked_up(channel: str, region: str) -> str:
    match kind_of(channel):
        case "parameter":
            answer = _client("ssm", otherwise=region).get_parameter(Name=channel.partition(":")[2], WithDecryption=True)
            found = str(answer["Parameter"]["Value"])
        case "file":
            found = _first_line(Path(channel.partition(":")[2]).expanduser())
        case _:
            return channel
    if not (found := found.strip()):
        raise _Trouble("it is empty")
    try:
        kind_of(found)
    except SettingsError:
        raise _Trouble("what it holds is no channel: neither an ARN of SNS, nor a URL, nor a command") from None
    return found


def _client(service: str, region: str = "", *, otherwise: str = "") -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(region_name=region or None)
    found = session.region_name or os.environ.get("AWS_REGION") or otherwise or None
    again = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5, read_timeout=5)
    return session.client(service, region_name=found, config=again)


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        if (mode := stat.S_IMODE(os.fstat(file.fileno()).st_mode)) & _FOR_OTHERS:
            raise _Trouble(f"others may read it (mode {mode:04o}): `chmod 600 {shlex.quote(str(path))}`")
        return file.readline()


def _publish(client: Any, topic: str, run: str, event: str, subject: str, text: str) -> None:
    client.publish(
        TopicArn=topic,
        Subject=_subject(subject),
        Message=_shortened(text),
        # At least once: who reads them by machine can tell a repeated one.
        MessageAttributes={"dedup": {"DataType": "String", "StringValue": f"{run}:{event}"}},
    )


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirection: a post becomes a question there, and what was told is lost."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, content: dict[str, str]) -> None:
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.build_opener(_Stay).open(request, timeout=_SECONDS):
        pass


def _call(command: str, run: str, event: str, text: str) -> None:
    environment = os.environ | {"RAYPIPE_RUN": run, "RAYPIPE_EVENT": event}
    subprocess.run(
        shlex.split(command),
        input=text,
        text=True,
        timeout=_SECONDS,
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _subject(text: str) -> str:
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    return f"raypipe: {line}"[: _SUBJECT - 1]


def _shortened(text: str) -> str:
    return text.encode()[:_TEXT].decode(errors="ignore")


def _why(error: Exception) -> str:
    """Say what went wrong without what was said to whom: messages of exceptions repeat that."""
    if isinstance(error, _Trouble):
        return str(error)
    if isinstance(error, SettingsError):
        return error.message
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code}"
    if isinstance(error, subprocess.CalledProcessError):
        return f"ended with {error.returncode}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError | subprocess.TimeoutExpired):
        return f"took more than {_SECONDS:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if type(error).__module__.partition(".")[0] == "botocore":
        return re.sub(r"\s+", " ", str(error))  # an operation and AWS's words; the answer is not among them
    return type(reason).__name__

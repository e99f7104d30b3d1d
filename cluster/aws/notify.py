"""Tells people how a run ends: by SNS, a URL or a command. Whatever goes wrong is returned, never raised."""

import json
import os
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_SECONDS = 20.0
_SUBJECT, _TEXT = 100, 200_000
"""SNS takes subjects under 100 characters of ASCII in one line, and 256 KB in all."""


def tell(
    channels: Sequence[str], sns: Callable[[str], Any], *, run: str, event: str, subject: str, text: str
) -> list[str]:
    """Send to each channel: the ARN of an SNS topic, an http(s) URL (JSON is posted), or a command (text on its input).

    `sns` gives a client for a region. Returns what went wrong, a line a channel; a URL is named by its host alone,
    since the rest of it may be a secret.
    """
    troubles = []
    for channel in channels:
        try:
            if channel.startswith("arn:"):
                _publish(sns(channel.split(":")[3]), channel, run, event, subject, text)
            elif re.match(r"https?://", channel, re.IGNORECASE):
                _post(channel, {"run": run, "event": event, "subject": subject, "text": f"{subject}\n{text}"})
            else:
                _call(channel, run, event, f"{subject}\n\n{text}\n")
        except (BotoCoreError, ClientError, OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
            troubles.append(f"{_named(channel)}: {_why(error, channel)}")
    return troubles


def _publish(client: Any, topic: str, run: str, event: str, subject: str, text: str) -> None:
    client.publish(
        TopicArn=topic,
        Subject=_subject(subject),
        Message=text[:_TEXT],
        # At least once: who reads them by machine can tell a repeated one.
        MessageAttributes={"dedup": {"DataType": "String", "StringValue": f"{run}:{event}"}},
    )


def _post(url: str, content: dict[str, str]) -> None:
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
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


def _named(channel: str) -> str:
    if channel.startswith("arn:"):
        return channel
    if re.match(r"https?://", channel, re.IGNORECASE):
        authority = re.split("[/?#]", channel.partition("://")[2])[0]
        return f"the URL at {authority.rpartition('@')[2]}"
    return f"the command {channel.split()[0] if channel.split() else '(none)'}"


def _why(error: Exception, channel: str) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code}"
    if isinstance(error, subprocess.CalledProcessError):
        return f"ended with {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took more than {_SECONDS:.0f} s"
    return type(error).__name__ if isinstance(error, ValueError) else str(error).replace(channel, "...")

"""A channel by which people are told: what it is, how it is named without its secret, and what cannot be one."""

import re
import shlex
from typing import Literal

from cluster.errors import SettingsError

Kind = Literal["topic", "url", "parameter", "file", "command"]
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(\.fifo)?")
_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_PARAMETER = re.compile(r"ssm:/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_FILE = re.compile(r"file:~?/\S.*")
_KINDS: dict[Kind, re.Pattern[str]] = {"topic": _TOPIC, "url": _URL, "parameter": _PARAMETER, "file": _FILE}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HINT = "a channel is the ARN of an SNS topic, an http(s) URL, a command, ssm:/name or file:/path of one that is secret"


def kind_of(channel: str) -> Kind:
    """Return what a channel is. Raises `SettingsError`, which does not repeat it, for one that cannot be meant."""
    for kind, pattern in _KINDS.items():
        if pattern.fullmatch(channel):
            return kind
    if scheme := _SCHEME.match(channel):
        known = scheme[0].lower() in ("arn:", "http:", "https:", "ssm:", "file:")
        what = "is not written as one is" if known else "is nothing that can be told"
        raise SettingsError(f"a channel that begins with '{scheme[0]}' {what}", hint=_HINT)
    try:
        if shlex.split(channel):
            return "command"
    except ValueError as error:
        raise SettingsError(f"a command is not one that a shell could read: {error}", hint=_HINT) from None
    raise SettingsError("a channel is empty", hint=_HINT)


def named(channel: str) -> str:
    """Name a channel: a URL by its host and a command by its program alone, since the rest may be a secret."""
    try:
        kind = kind_of(channel)
    except SettingsError:
        return "a channel that is none"
    if kind == "url":
        return f"the URL at {re.split('[/?#]', channel.partition('://')[2])[0].rpartition('@')[2]}"
    return f"the command {shlex.split(channel)[0]}" if kind == "command" else channel

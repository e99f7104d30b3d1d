"""What looks like a secret, in a text or in an environment: the usual kinds, and no word of theirs is ever said again.

It knows what AWS, chat services and forges give out, and what people call a secret; one that looks like any other word it
does not find.
"""

import re
from collections.abc import Iterator, Mapping

_NAMES = r"passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
_NO_SECRETS = r"(?:ssm:|file:|arn:|\$|<|%|\*+(?:\W|$)|(?:none|null|true|false|yes|no|required|optional)\b)"
"""How values begin that only say where a secret is, or whether there is one."""
_KINDS = (
    ("the id of an AWS access key", re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File")),
    (
        "a token",
        re.compile(
            r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}|\bxox[abeprs]-[\w-]{10,}"
            r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}|\bbearer\s+(?=\S*\d)[\w.+/=-]{16,}"
            rf"|\bauthorization['\"]?\s*[:=]\s*['\"]?(?:\w+\s+)?(?!{_NO_SECRETS})[\w.+/=-]{{8,}}",
            re.IGNORECASE,
        ),
    ),
    (
        "a password, key or token",
        re.compile(rf"(?:{_NAMES})['\"]?(?:\s*=\s*|:\s+)['\"]?(?!{_NO_SECRETS})[^\s'\"]{{6,}}", re.IGNORECASE),
    ),
)
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#'\"<>]*)([^\s'\"<>]*)", re.IGNORECASE)
_HOOKS = re.compile(
    r"//(?:hooks\.slack(?:-gov)?\.com/|(?:\w+\.)?discord(?:app)?\.com/api/webhooks/|[\w.-]+\.webhook\.office\.com/"
    r"|api\.telegram\.org/bot|hooks\.zapier\.com/|maker\.ifttt\.com/|hc-ping\.com/|chat\.googleapis\.com/)",
    re.IGNORECASE,
)
_QUERY = re.compile(rf"[?&#;](?:[\w-]*(?:{_NAMES}|credential|signature)|sig|key|auth)=(?!{_NO_SECRETS})[^&#]", re.I)
_WORD = re.compile(r"[A-Za-z0-9]{20,}")

_CREDENTIAL = re.compile(
    r"SECRET|TOKEN(?:_|$)|PASSW(?:OR)?D|PASSPHRASE|SSHPASS|CREDENTIAL|_PWD$|_?API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AWS_.*KEY|_KEY$"
)
_PLACE = re.compile(r"_(?:FILE|PATH|DIR|URI)$")
_SOCKETS = ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO")
_NEEDED = re.compile(r"PATH$|^HOME$|^LS_COLORS$|^BASH_FUNC_|_PROXY$", re.IGNORECASE)


def secret_in(text: str) -> str | None:
    """Return what kind of secret a text seems to hold, in words that fit behind `holds`; None if it seems to hold none."""
    for kind, pattern in _KINDS:
        if pattern.search(text):
            return kind
    return next(_in_urls(text), None)


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what lets somebody in somewhere: by its name, or by what it says.

    Where secrets are (AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE) stays, and so do proxies, without which a node may reach
    nothing.
    """
    return {name: value for name, value in environment.items() if not _is_credential(name, value)}


def _is_credential(name: str, value: str) -> bool:
    upper = name.upper()
    if upper in _SOCKETS or (_CREDENTIAL.search(upper) and not _PLACE.search(upper)):
        return True
    return not _NEEDED.search(name) and secret_in(value) is not None


def _in_urls(text: str) -> Iterator[str]:
    for scheme, authority, rest in _URL.findall(text):
        user, at, _ = authority.rpartition("@")
        # git@ and the like are everybody's.
        if at and (":" in user or scheme.lower().startswith("http")) and not user.partition(":")[2].startswith("$"):
            yield "a URL with a password"
        if _HOOKS.search(f"//{authority}{rest}") or _QUERY.search(rest) or any(map(_is_random, _WORD.findall(rest))):
            yield "a URL that is itself a secret"


def _is_random(word: str) -> bool:
    """Whether a word without a break is none that people make: small and large letters and digits, in a long row."""
    return all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))

"""The notice that EC2 gives an instance about two minutes before it takes it away; Slurm is told nothing of that.

    watch = SpotWatch()
    while at_work:
        if watch.notice:
            leave(watch.notice.seconds_left())

A machine asks for its own notice, at an address that only it can reach: `spot/instance-action` of the instance metadata
service, version 2 (EC2 user guide, "Spot Instance interruption notices"). The advice to rebalance, which may come earlier
or for nothing, is left alone.
"""

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread

_ADDRESS, _ADDRESS_6 = "http://169.254.169.254", "http://[fd00:ec2::254]"
_NOTICE_SECONDS = 120.0
"""How long before the end a notice comes, where it does not say when that is."""
_ASK_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
_FIRST_TRIES = 3
LATE_SECONDS = 60.0
"""A machine that is still there so long after its time stays."""
_TOKEN_SECONDS = 21_600
_LONGEST_ANSWER = 4096
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Notice:
    """What will be done to this machine, and when."""

    action: str
    """EC2's word: terminate, stop or hibernate."""
    at: float
    """Seconds since 1970."""

    def seconds_left(self) -> float:
        """Return how long this machine will yet be there; 0 if its time has come."""
        return max(0.0, self.at - time.time())

    def seconds_late(self) -> float:
        """Return how long ago its time came; 0 before."""
        return max(0.0, time.time() - self.at)


class NoAnswer(Exception):
    """No metadata service where one was asked for, or none that makes sense."""


class SpotWatch:
    """Asks for the notice every few seconds, in a thread that ends where there is nobody to ask; delays nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ, *, period_seconds: float = _ASK_SECONDS) -> None:
        self._notice: Notice | None = None
        self._period = period_seconds
        if address := endpoint(environment):
            Thread(target=self._watch, args=(Metadata(address),), name="spot", daemon=True).start()

    @property
    def notice(self) -> Notice | None:
        """The notice, as soon as there is one."""
        return self._notice

    def _watch(self, metadata: "Metadata") -> None:
        answered, failures = False, 0
        while answered or failures < _FIRST_TRIES:
            try:
                self._notice = metadata.notice()
                answered = True
            except NoAnswer:
                failures += 1
            if self._notice:
                return
            time.sleep(self._period)


class Metadata:
    """The instance metadata service at an address, such as http://169.254.169.254."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._token = ""
        # Whatever proxy there is, it is another machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def notice(self) -> Notice | None:
        """Return the notice, None while there is none. Raises `NoAnswer`."""
        for _ in range(2):
            if not self._token:
                status, body = self._ask(
                    "PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": f"{_TOKEN_SECONDS}"}
                )
                if status != http.HTTPStatus.OK or not body.strip().isascii():
                    raise NoAnswer(f"{self._address} gives no token: {status}")
                self._token = body.strip().decode()
            status, body = self._ask("GET", "meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": self._token})
            if status != http.HTTPStatus.UNAUTHORIZED:
                break
            self._token = ""  # it was good for six hours
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise NoAnswer(f"{self._address} says {status}")
        return parse_notice(body, now=time.time())

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            request = urllib.request.Request(f"{self._address}/latest/{path}", headers=headers, method=method)  # noqa: S310
            with self._opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                return answer.status, answer.read(_LONGEST_ANSWER)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b""
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswer(f"{self._address}: {error}") from error


def endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where the metadata service is, by the variables that AWS' own programs heed; None if it is not to be asked."""
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    version_6 = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
    given = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/")
    if given and not given.startswith(("http://", "https://")):
        log.warning(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT is %s, which is no address; nobody is asked for spot notices", given
        )
        return None
    return given or (_ADDRESS_6 if version_6 else _ADDRESS)


def parse_notice(body: bytes, *, now: float) -> Notice | None:
    """Read the answer of `spot/instance-action`: `{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`.

    None for what is no notice at all, such as the page of a proxy. A notice whose time cannot be read counts from `now`
    (seconds since 1970); none reaches further than notices do.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(action := found.get("action"), str) or not action:
        return None
    latest = now + _NOTICE_SECONDS
    try:
        said = datetime.fromisoformat(found["time"])
        at = (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        at = latest
    return Notice(action, min(at, latest))

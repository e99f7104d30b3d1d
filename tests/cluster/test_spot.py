"""The notice that EC2 gives a spot instance: asked for as EC2 wants it, read whatever it says, and never in the way."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from threading import enumerate as threads

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.spot import Metadata, NoAnswer, Notice, SpotWatch, endpoint, parse_notice
from tests.cluster.metadata_service import MetadataService
from tests.slurm.harness import wait_until

NOW = datetime(2018, 11, 5, 9, 0, 0, tzinfo=UTC).timestamp()
NOTICE = b'{"action": "terminate", "time": "2018-11-05T09:01:30Z"}'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[MetadataService]:
    with MetadataService(tmp_path) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# -- what it says --


@pytest.mark.parametrize(
    ("body", "notice"),
    [
        (NOTICE, Notice("terminate", NOW + 90)),
        (b'{"time": "2018-11-05T09:00:10Z", "action": "stop", "more": 1}', Notice("stop", NOW + 10)),
        (b'{"action": "hibernate", "time": "2018-11-05T08:59:00Z"}', Notice("hibernate", NOW - 60)),  # at once
        (b'{"action": "terminate", "time": "2018-11-05T10:01:00+01:00"}', Notice("terminate", NOW + 60)),
        (b'{"action": "terminate", "time": "2018-11-05T09:01:00"}', Notice("terminate", NOW + 60)),
        (b'{"action": "terminate", "time": "2019-11-05T09:01:00Z"}', Notice("terminate", NOW + 120)),
        (b'{"action": "terminate", "time": "soon"}', Notice("terminate", NOW + 120)),
        (b'{"action": "terminate", "time": 7}', Notice("terminate", NOW + 120)),
        (b'{"action": "terminate", "time": null}', Notice("terminate", NOW + 120)),
        (b'{"action": "terminate"}', Notice("terminate", NOW + 120)),
        (b'{"action": "new-word", "time": "2018-11-05T09:01:30Z"}', Notice("new-word", NOW + 90)),
        (b'{"action": ""}', None),
        (b'{"action": 3, "time": "2018-11-05T09:01:30Z"}', None),
        (b'{"time": "2018-11-05T09:01:30Z"}', None),
        (b"[]", None),
        (b"terminate", None),
        (b"<html>please log in</html>", None),
        (b"", None),
        (b"\xff\xfe", None),
        (NOTICE[:-1], None),
        (b"[" * 4096, None),
    ],
)
def test_notices_are_read(body: bytes, notice: Notice | None) -> None:
    assert parse_notice(body, now=NOW) == notice


@given(st.binary() | st.recursive(st.none() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["action", "time", "x"]), inner)).map(lambda found: json.dumps(found).encode()))  # fmt: skip
def test_whatever_comes_is_a_notice_of_two_minutes_at_most_or_none(body: bytes) -> None:
    notice = parse_notice(body, now=NOW)
    assert notice is None or (notice.action and notice.at <= NOW + 120)


def test_what_time_is_left() -> None:
    now = time.time()
    assert 50 < Notice("stop", now + 60).seconds_left() <= 60
    assert Notice("stop", now + 60).seconds_late() == 0
    assert Notice("stop", now - 60).seconds_left() == 0
    assert 60 <= Notice("stop", now - 60).seconds_late() < 70


# -- who is asked --


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "http://169.254.169.254"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:80/"}, "http://127.0.0.1:80"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, "http://[fd00:ec2::254]"),
        ({"AWS_EC2_METADATA_DISABLED": "True"}, None),
        ({"AWS_EC2_METADATA_DISABLED": "false"}, "http://169.254.169.254"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "file:///etc"}, None),
    ],
)
def test_the_variables_of_aws_are_heeded(environment: dict[str, str], address: str | None) -> None:
    assert endpoint(environment) == address


def test_a_token_first_and_another_when_it_is_good_no_more(service: MetadataService) -> None:
    metadata = Metadata(service.address)
    assert metadata.notice() is None
    assert metadata.notice() is None
    service.notice.write_bytes(NOTICE)
    service.tokens.clear()
    assert metadata.notice() == Notice("terminate", NOW + 90)
    token, asked = "PUT /latest/api/token", "GET /latest/meta-data/spot/instance-action"
    expected = [f"{token} 200", f"{asked} 404", f"{asked} 404", f"{asked} 401", f"{token} 200", f"{asked} 200"]
    assert service.asked == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 503])
def test_a_service_that_is_not_ec2s_gives_no_answer(service: MetadataService, status: int) -> None:
    service.status = status
    with pytest.raises(NoAnswer, match=str(status)):
        Metadata(service.address).notice()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[", "http://no-such-host.invalid", "nonsense"])
def test_nobody_there_is_no_answer(address: str) -> None:
    with pytest.raises(NoAnswer):
        Metadata(address).notice()


def test_a_proxy_is_not_asked(service: MetadataService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Metadata(service.address).notice() is None


# -- the watch --


def watching() -> bool:
    return any(thread.name == "spot" for thread in threads())


def watch_of(address: str) -> SpotWatch:
    return SpotWatch({"AWS_EC2_METADATA_SERVICE_ENDPOINT": address}, period_seconds=0.02)


def test_the_watch_sees_a_notice_and_ends(service: MetadataService) -> None:
    watch = watch_of(service.address)
    wait_until(lambda: len(service.asked) > 3, 20, "a few questions")
    assert watch.notice is None
    service.status = 500  # one that answered before may answer again
    wait_until(lambda: sum("500" in line for line in service.asked) > 5, 20, "failures")
    service.status = 0
    service.notice.write_bytes(NOTICE)
    assert wait_until(lambda: watch.notice, 20, "the notice") == Notice("terminate", NOW + 90)
    wait_until(lambda: not watching(), 20, "the watch to end")


def test_where_nobody_answers_the_watch_ends_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        watch = watch_of("http://127.0.0.1:1")
        wait_until(lambda: not watching(), 20, "the watch to end")
    assert watch.notice is None
    assert caplog.records == []


def test_where_it_is_forbidden_there_is_no_watch() -> None:
    assert SpotWatch({"AWS_EC2_METADATA_DISABLED": "true"}).notice is None
    assert not watching()

"""An emulated AWS for the tests of this folder, and clusters on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.aws.calls import Aws, connect
from tests.aws.world import Cluster, Emulator, emulated, make_cluster

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "ap-southeast-1",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An AWS of our own; nothing here can reach the real one, since there are no credentials."""
    patch = pytest.MonkeyPatch()
    for name, value in _ENVIRONMENT.items():
        patch.setenv(name, value)
    with emulated(tmp_path_factory.mktemp("emulator")) as running:
        patch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running
    patch.undo()


@pytest.fixture(scope="session")
def aws(emulator: Emulator) -> Aws:
    """Clients that try twice, so that a fault of three times gets through to us."""
    return connect("ap-southeast-1", tries=2)


@pytest.fixture
def make(aws: Aws, emulator: Emulator, tmp_path: Path) -> Callable[..., Cluster]:
    """Give a function that makes clusters."""

    emulator.fake("reset")

    def new(**others: Any) -> Cluster:
        return make_cluster(aws, emulator, tmp_path, **others)

    return new


@pytest.fixture
def cluster(make: Callable[..., Cluster]) -> Cluster:
    """A cluster with three older snapshots, of which the configuration names the newest."""
    return make()

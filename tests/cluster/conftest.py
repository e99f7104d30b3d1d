"""A Slurm whose nodes hold Ray; what needs it is marked `slurm`, and skips with the reason where it cannot run."""

from collections.abc import Iterator

import pytest

from tests.slurm.harness import SlurmCluster, obstacle


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slurm: needs a real Slurm, which is started where that can be")


@pytest.fixture(scope="module")
def ray_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Four nodes of 2 CPUs and 2500 MB, so that a run on three has one to spare; pytest's temporary folders are on all of them."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlurmCluster(nodes=4, cpus=2, memory_mb=2500, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster

"""A Slurm of three nodes, for the tests of a module; they skip where it cannot run, and say why."""

from collections.abc import Iterator

import pytest

from tests.slurm.harness import SlurmCluster, obstacle


@pytest.fixture(scope="session")
def slurm_runs() -> None:
    """Skip unless a Slurm of namespaces can run here."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def slurm(slurm_runs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Three nodes of 2 CPUs and 400 MB; pytest's temporary folders are on all of them. Leave the nodes as they were."""
    with SlurmCluster(nodes=3, cpus=2, memory_mb=400, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster

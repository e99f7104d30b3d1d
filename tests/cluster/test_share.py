"""What a job may use of its node, from what Slurm said, and how Ray divides it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import NodeTooSmall, SettingsError
from cluster.ray_node import address_here, temp_folder
from cluster.share import MB, Share, divide, job_memory, port_of, spill_folder
from cluster.slurm import Node

NODE = Node("n1", "10.0.0.1", cpus=8, memory_mb=64_000, state="IDLE", reason="")
TOTAL = 65_000 * MB


@pytest.mark.parametrize(
    ("environment", "node", "cpus", "expected_mb"),
    [
        ({"SLURM_MEM_PER_NODE": "4000", "SLURM_MEM_PER_CPU": "10"}, NODE, 8, 4000),
        ({"SLURM_MEM_PER_CPU": "1500"}, NODE, 4, 6000),
        ({"SLURM_MEM_PER_NODE": "0"}, NODE, 8, 64_000),  # --mem=0: all of it
        ({}, NODE, 8, 64_000),
        ({}, NODE, 2, 16_000),  # not scheduled: the part that goes with the CPUs
        ({}, NODE, 16, 64_000),
        ({}, Node("n1", "n1", 8, None, "IDLE", ""), 4, 32_500),
        ({}, Node("n1", "n1", 8, 900_000, "IDLE", ""), 8, 65_000),  # Slurm was told more than there is
        ({}, None, 1, 65_000),
        ({"SLURM_MEM_PER_NODE": "900000"}, NODE, 8, 65_000),
    ],
)
def test_memory_of_a_job(environment: dict[str, str], node: Node | None, cpus: int, expected_mb: int) -> None:
    assert job_memory(environment, node, cpus=cpus, mem_total=TOTAL) == expected_mb * MB


def test_a_node_is_divided() -> None:
    assert divide(4000 * MB, cpus=2, shared_memory=2000 * MB) == Share(2, 2500 * MB, 800 * MB)
    assert divide(4000 * MB, cpus=2, shared_memory=500 * MB) == Share(2, 2850 * MB, 450 * MB)
    assert divide(4000 * MB, cpus=2, shared_memory=2000 * MB, driver=True) == Share(2, 2000 * MB, 800 * MB)


@given(st.integers(800, 1_000_000), st.integers(0, 500_000), st.booleans())
def test_nothing_is_handed_out_twice(memory_mb: int, shm_mb: int, driver: bool) -> None:
    services = 1200 if driver else 700
    if memory_mb < services + 180:
        with pytest.raises(NodeTooSmall, match=f"{memory_mb} MB .* {services + 180} MB"):
            divide(memory_mb * MB, cpus=1, shared_memory=shm_mb * MB, driver=driver)
        return
    share = divide(memory_mb * MB, cpus=1, shared_memory=shm_mb * MB, driver=driver)
    assert share.memory + share.object_store + services * MB == memory_mb * MB
    assert share.memory >= 100 * MB
    assert 80 * MB <= share.object_store <= max(80 * MB, min(0.9 * shm_mb, 0.2 * memory_mb) * MB)


def test_two_heads_on_a_node_do_not_meet() -> None:
    assert port_of(1234) == 21_234
    assert len({port_of(job) for job in range(98_765, 98_765 + 10_000)}) == 10_000
    assert all(20_000 <= port_of(job) < 30_000 for job in range(0, 10**6, 997))


def test_spilling_goes_to_the_first_disk_that_there_is(tmp_path: Path) -> None:
    given_, of_slurm, of_user = (tmp_path / name for name in ("given", "slurm", "user"))
    environment = {"SLURM_TMPDIR": str(of_slurm), "TMPDIR": str(of_user)}
    assert spill_folder(environment, given_, 5) is None
    of_user.mkdir()
    assert spill_folder(environment, given_, 5) == of_user / "raypipe-spill-5"
    of_slurm.mkdir()
    assert spill_folder(environment, given_, 5) == of_slurm / "raypipe-spill-5"
    given_.mkdir()
    assert spill_folder(environment, given_, 5) == given_ / "raypipe-spill-5"
    assert spill_folder({}, None, 5) is None


def test_sockets_have_short_paths() -> None:
    assert temp_folder(Path("/tmp"), 123_456_789) == Path("/tmp/rp-123456789")
    with pytest.raises(SettingsError, match="too long") as error:
        temp_folder(Path("/scratch/of/somebody"), 123_456)
    assert "/tmp" in error.value.hint


def test_the_address_that_others_can_use() -> None:
    assert address_here("10.213.77.11", "10.213.77.12") == "10.213.77.11"
    assert address_here("127.0.1.2", "127.0.1.1") == "127.0.1.2"  # Slurm says so itself
    # A name that means this machine to itself alone is no address for others.
    assert address_here("localhost", "127.0.0.1") == "127.0.0.1"
    assert address_here("localhost", "192.0.2.1") != "127.0.0.1"
    assert address_here("no-such-node.invalid", "127.0.0.1") == "127.0.0.1"

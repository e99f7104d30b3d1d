"""What a cloud does to a run: it gives notice that a node will be taken away, or has no node to give.

Each fault is a function that is told the cluster and whom it hits, and returns when it was caused (seconds since 1970).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.metadata_service import PORT
from tests.slurm.harness import SlurmCluster

ENDPOINT = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{PORT}"}
"""What jobs must find in their environment, to ask the service on their own node."""
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def metadata_on(cluster: SlurmCluster, folder: Path) -> Iterator[None]:
    """Have EC2's metadata service on every node that is on, with the notices in `folder`, which all nodes see."""
    program = [sys.executable, "-m", "tests.cluster.metadata_service", folder, str(PORT)]
    environment = cluster.environment | {"PYTHONPATH": str(ROOT)}
    services = [subprocess.Popen(cluster.command_on(node, program), env=environment) for node in cluster.nodes]
    try:
        yield
    finally:
        for service in services:
            service.kill()
            service.wait()


def spot_notice(cluster: SlurmCluster, job: int | str, folder: Path, seconds: float = 120.0) -> float:
    """Tell the node of a job that it will be taken away in `seconds`; what takes it away is `cluster.crash`."""
    caused = time.time()
    at = datetime.fromtimestamp(caused + seconds, UTC)
    notice = folder / cluster.job(job)["NodeList"]
    part = notice.with_suffix(".part")
    part.write_text(json.dumps({"action": "terminate", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}))
    part.rename(notice)
    return caused


def node_never_boots(cluster: SlurmCluster, node: str) -> float:
    """From now on there is no capacity for a node of a cluster with `cloud=True`, until `cluster.accept(node)`."""
    cluster.refuse(node)
    return time.time()

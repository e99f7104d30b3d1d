"""ParallelCluster's own command, which lives in an environment of its own and speaks JSON."""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.aws.state import Fleet
from cluster.errors import AwsRefused, AwsUnavailable

_SECONDS = 120.0
_REFUSAL = re.compile(r"not authorized|AccessDenied|does not exist|Bad Request|invalid", re.IGNORECASE)


@dataclass(frozen=True)
class FleetTool:
    """The fleet of a cluster, asked about by `pcluster`: the words that begin its command."""

    pcluster: Sequence[str]
    cluster: str
    region: str

    def look(self) -> Fleet:
        """Return what the compute nodes do. Raises `AwsRefused`, `AwsUnavailable`."""
        said = _run(self.pcluster, "describe-compute-fleet", self.cluster, self.region)
        since = said.get("lastStatusUpdatedTime")
        try:
            fleet = Fleet(str(said["status"]), datetime.fromisoformat(since).timestamp() if since else None)
        except (KeyError, ValueError) as error:
            raise AwsRefused(
                f"pcluster describe-compute-fleet answered {json.dumps(said)[:200]}",
                hint="raypipe knows ParallelCluster 3; `pcluster version` says which this is",
            ) from error
        if fleet.status == "UNKNOWN":  # so it says where it could not read its table
            raise AwsUnavailable(
                f"pcluster does not know what the compute nodes of {self.cluster} do",
                hint="finalize again in some minutes",
            )
        return fleet

    def stop(self, status: str) -> None:  # noqa: ARG002  (it looks itself)
        """Ask for the compute nodes to be stopped; the head node stays. Raises `AwsRefused`, `AwsUnavailable`."""
        _run(self.pcluster, "update-compute-fleet", self.cluster, self.region, "--status", "STOP_REQUESTED")


def _run(pcluster: Sequence[str], verb: str, cluster: str, region: str, *options: str) -> dict[str, Any]:
    words = [*pcluster, verb, "--cluster-name", cluster, "--region", region, *options]
    what = f"pcluster {verb}"
    try:
        # Its environment has other versions of our libraries; ours must not reach it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment)
    except FileNotFoundError as error:
        raise AwsRefused(
            f"there is no '{pcluster[0]}' on this machine",
            hint="`pipx install aws-parallelcluster` puts it into an environment of its own",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise AwsUnavailable(f"{what} did not answer in {_SECONDS:.0f} s", hint="finalize again") from error
    try:
        said = json.loads(done.stdout)
    except ValueError:
        said = None
    if done.returncode or not isinstance(said, dict):
        message = said.get("message") if isinstance(said, dict) else done.stderr.strip() or done.stdout.strip()
        kind = AwsRefused if _REFUSAL.search(str(message)) else AwsUnavailable
        raise kind(f"{what}: {message}", hint="the same command, by hand, says more")
    return said

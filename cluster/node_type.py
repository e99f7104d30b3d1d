"""What a machine is in a ParallelCluster, as ParallelCluster wrote it there when the machine was new."""

import os
from pathlib import Path
from typing import Literal

NodeType = Literal["HeadNode", "ComputeFleet", "LoginNode", ""]
_FILE = "/etc/parallelcluster/cfnconfig"
_TYPE = "cfn_node_type="


def node_type() -> NodeType:
    """Return what this machine is; nothing where it is no ParallelCluster's. `CFNCONFIG` may name another file."""
    try:
        lines = Path(os.environ.get("CFNCONFIG", _FILE)).read_text().splitlines()
    except OSError:
        return ""
    found = [line.removeprefix(_TYPE).strip("\"' ") for line in lines if line.startswith(_TYPE)]
    return found[-1] if found else ""  # type: ignore[return-value]

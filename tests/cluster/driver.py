"""A driver: waits for NODES nodes of Ray, has tasks run on all of them, writes what it saw, and exits with CODE.

While there is a file `wait` in FOLDER it waits between the first and the second; each of its lives is a line of `begun`, and of `joined`
when all nodes are there.

python driver.py FOLDER NODES CODE
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import ray


@ray.remote(num_cpus=0.5, max_retries=5, scheduling_strategy="SPREAD")
def where() -> str:
    """Take a moment, and return the name of the node."""
    time.sleep(0.5)
    return socket.gethostname()


def nodes_of_ray() -> list[dict[str, Any]]:
    """Ray's own list, which keeps nodes that are gone."""
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def main(folder: Path, nodes: int, code: int) -> None:
    ray.init(address="auto", log_to_driver=False)
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
    with (folder / "begun").open("a") as file:
        file.write("begun\n")
    end = time.monotonic() + 120
    while len([node for node in nodes_of_ray() if node["Alive"]]) < nodes and time.monotonic() < end:
        time.sleep(0.2)
    with (folder / "joined").open("a") as file:
        file.write("joined\n")
    while (folder / "wait").exists():
        time.sleep(0.2)
    end = time.monotonic() + 120
    seen: set[str] = set()
    while len(seen) < nodes and time.monotonic() < end:
        seen |= set(ray.get([where.remote() for _ in range(4 * nodes)]))
    auth = [os.environ.get("RAY_AUTH_MODE"), os.environ.get("RAY_AUTH_TOKEN_PATH")]
    resources = [node["Resources"] for node in nodes_of_ray() if node["NodeManagerHostname"] in seen and node["Alive"]]
    (folder / "seen.json").write_text(json.dumps({"seen": sorted(seen), "auth": auth, "resources": resources}))
    sys.exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

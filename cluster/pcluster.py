"""ParallelCluster's own tool, called as a program of its own: its packages' versions and ours do not go together."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.errors import ClusterRefused, PclusterMissing, SettingsError

VERSION = "3.16.1"
"""Which raypipe is tested with; a cluster can be looked after only by the version that made it."""
_TIMEOUT_SECONDS = 900.0
"""Making a cluster's templates and asking AWS about each setting takes minutes; what AWS then does is not waited for."""
_WOULD_SUCCEED = "DryRun flag is set"
_GONE = "does not exist"
_VALIDATE = """
import json, sys
import yaml
from marshmallow import ValidationError
from pcluster.schemas.cluster_schema import ClusterSchema
try:
    ClusterSchema(cluster_name="any").load(yaml.safe_load(sys.stdin))
except ValidationError as error:
    print(json.dumps(error.messages))
else:
    print("{}")
"""
_STACK = {
    "CREATE_IN_PROGRESS": "is being made",
    "CREATE_FAILED": "could not be made",
    "CREATE_COMPLETE": "is there",
    "DELETE_IN_PROGRESS": "is being deleted",
    "DELETE_FAILED": "could not be deleted: parts of it are still there, and paid for",
    "DELETE_COMPLETE": "is gone",
    "UPDATE_IN_PROGRESS": "is being changed",
    "UPDATE_COMPLETE": "is there, changed",
    "UPDATE_FAILED": "could not be changed; it is as it was before",
}
_FLEET = {
    "START_REQUESTED": "is to start",
    "STARTING": "starts",
    "RUNNING": "runs: nodes come when jobs ask for them",
    "PROTECTED": "is protected: nodes failed to start again and again, and Slurm gets no more of them",
    "STOP_REQUESTED": "is to stop",
    "STOPPING": "stops: its nodes go",
    "STOPPED": "is stopped: no node is there, and none comes",
    "UNKNOWN": "is in a state that nobody knows",
}


def own_folder() -> Path:
    """Return the virtual environment in the user's cache where the tool is looked for after `PATH`."""
    home = os.environ.get("RAYPIPE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "raypipe" / f"pcluster-{VERSION}"


def find_tool(given: str = "") -> Path:
    """Return the program: the one given, else on `PATH`, else in `own_folder`. Raises `PclusterMissing`."""
    found = shutil.which(os.path.expanduser(given) if given else "pcluster")  # noqa: PTH111  (a name, or a path)
    found = found or (None if given else shutil.which(own_folder() / "bin" / "pcluster"))
    if found is None:
        folder = own_folder()
        raise PclusterMissing(
            f"there is no program {given}" if given else "ParallelCluster's tool (pcluster) is not on this machine",
            hint="it needs an environment of its own, and Node.js:"
            f" python3 -m venv {folder} && {folder}/bin/pip install aws-parallelcluster=={VERSION}",
        )
    return Path(found)


def is_gone(error: ClusterRefused) -> bool:
    """Whether what was refused is about a cluster that is not there."""
    return _GONE in error.message


class Pcluster:
    """The tool `program`, for the clusters of a `region`; without one, of the region that AWS's own settings name."""

    def __init__(self, program: Path, region: str = "") -> None:
        self.program, self.region = program, region

    def create(self, name: str, config: Path, *, dry_run: bool = False) -> dict[str, Any]:
        """Begin to make a cluster; AWS goes on after this returns. Raises `ClusterRefused`."""
        return self._change("create-cluster", name, config, dry_run)

    def update(self, name: str, config: Path, *, dry_run: bool = False) -> dict[str, Any]:
        """Begin to change a cluster into what `config` says; its compute fleet may have to be stopped first."""
        return self._change("update-cluster", name, config, dry_run)

    def delete(self, name: str) -> None:
        """Begin to delete a cluster; one that is gone is no error. Whether its data are safe is for the caller to know."""
        try:
            self._call("delete-cluster", "--cluster-name", name)
        except ClusterRefused as error:
            if not is_gone(error):
                raise

    def describe(self, name: str) -> dict[str, Any]:
        """Return what ParallelCluster knows of a cluster. Raises `ClusterRefused`, for one that is not there too."""
        return self._call("describe-cluster", "--cluster-name", name)

    def schema_problems(self, config: str) -> list[str]:
        """Say what ParallelCluster's own schema has against a configuration, a line each; AWS is not asked.

        Raises `ClusterRefused` where the tool is broken.
        """
        # The program's links lead into the environment whose packages it runs with.
        python = self.program.resolve().parent / "python"
        environment = self._environment()
        environment.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # some of its defaults depend on one
        done = self._run([str(python), "-c", _VALIDATE], environment, text=config)
        try:
            return list(_flat(json.loads(done.stdout.splitlines()[-1])))
        except (ValueError, IndexError):
            raise ClusterRefused(
                f"{python} cannot look at the configuration: {_last_line(done.stderr)}",
                hint=f"raypipe knows aws-parallelcluster {VERSION}; `{self.program} version` tells which this is",
            ) from None

    def _change(self, verb: str, name: str, config: Path, dry_run: bool) -> dict[str, Any]:
        told = ["--cluster-name", name, "--cluster-configuration", str(config)]
        return self._call(verb, *told, *(["--dryrun", "true"] if dry_run else []))

    def _call(self, verb: str, *words: str) -> dict[str, Any]:
        region = ["--region", self.region] if self.region else []
        done = self._run([str(self.program), verb, *words, *region], self._environment())
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ClusterRefused(
                f"`pcluster {verb}` failed: {_last_line(done.stderr or done.stdout)}",
                hint="its own log is ~/.parallelcluster/pcluster-cli.log",
            )
        if done.returncode and _WOULD_SUCCEED not in str(answer.get("message")):
            said = [str(answer.get("message", f"exit code {done.returncode}"))]
            for key in ("configurationValidationErrors", "updateValidationErrors"):
                said += [f"  {_one_line(each)}" for each in answer.get(key) or []]
            raise ClusterRefused(f"`pcluster {verb}` failed: " + "\n".join(said), hint=_hint_for(said[0]))
        return answer

    def _run(self, command: list[str], environment: dict[str, str], text: str = "") -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command, env=environment, input=text, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )  # fmt: skip
        except OSError as error:
            raise PclusterMissing(f"{command[0]} does not start: {error}", hint="install it anew") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterRefused(
                f"`{Path(command[0]).name}` did not answer in {_TIMEOUT_SECONDS:.0f} s",
                hint="~/.parallelcluster/pcluster-cli.log tells how far it came; `raypipe cluster status` what AWS has",
            ) from error

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}  # ours, not its
        return kept | ({"AWS_DEFAULT_REGION": self.region} if self.region else {})


def state_lines(cluster: Mapping[str, Any]) -> list[str]:
    """Say in words how a cluster stands, from what `describe` returned."""
    name, state = cluster.get("clusterName", "?"), str(cluster.get("clusterStatus", "?"))
    fleet = str(cluster.get("computeFleetStatus", "UNKNOWN"))
    lines = [
        f"{name} in {cluster.get('region', '?')}: {_STACK.get(state, 'is in a state that raypipe does not know')} ({state})"
        + (f", since {since}" if (since := str(cluster.get("lastUpdatedTime", ""))[:16].replace("T", " ")) else ""),
        f"compute fleet: {_FLEET.get(fleet, 'is in a state that raypipe does not know')} ({fleet})",
    ]
    head = cluster.get("headNode")
    if isinstance(head, Mapping):
        address = head.get("publicIpAddress") or head.get("privateIpAddress")
        lines.append(f"head node: {head.get('instanceType')} {head.get('instanceId')}, {head.get('state')}")
        lines += [f"  ssh ec2-user@{address}"] if address else []
    else:
        lines.append("head node: none runs")
    lines += [f"failed: {_one_line(each)}" for each in cluster.get("failures") or []]
    return lines


def check_name(name: str) -> str:
    """Return `name` if ParallelCluster takes it as a cluster's. Raises `SettingsError`."""
    if not (
        name[:1].isascii()
        and name[:1].isalpha()
        and len(name) <= 60
        and name.replace("-", "a").isalnum()
        and name.isascii()
    ):
        raise SettingsError(
            f"'{name}' is no name of a cluster", hint="letters, digits and '-', a letter first, 60 at most"
        )
    return name


def _flat(messages: Any, where: str = "") -> list[str]:
    """Turn nested messages into lines: `HeadNode.Imds: Unknown field.`"""
    if isinstance(messages, Mapping):
        inner = [_flat(value, f"{where}.{key}" if where else str(key)) for key, value in messages.items()]
        return [line for lines in inner for line in lines]
    texts = messages if isinstance(messages, list) else [messages]
    return [f"{where}: {text}" for text in texts]


def _one_line(value: Any) -> str:
    return ", ".join(f"{key}: {text}" for key, text in value.items()) if isinstance(value, Mapping) else str(value)


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


def _hint_for(said: str) -> str:
    hints = {
        "credentials": "`aws configure`, or an instance with a role, tells who you are to AWS",
        _GONE: "`pcluster list-clusters` lists those of the region",
        "already exists": "`raypipe cluster status` tells how it stands; `raypipe cluster update` changes it",
        "node": "it needs Node.js: nodejs.org, or your system's package",
    }
    return next((hint for words, hint in hints.items() if words in said.lower()), "~/.parallelcluster/pcluster-cli.log")

"""The policies of the roles: files with blanks (`policies/*.json`), and what fills them for a cluster."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any, Literal

from cluster.aws.channels import kind_of
from cluster.errors import SettingsError

Name = Literal["finalize", "handover", "function", "delete-stack", "arm"]
"""Of the head node or a person who finalizes; of the node of the last job; of the function; of CloudFormation when it
deletes the cluster; of whoever arms."""
_LONGEST = 49
"""Characters of a cluster's name: a role's has 64, and some are added."""


@dataclass(frozen=True)
class Place:
    """A cluster, and where it is."""

    cluster: str
    region: str
    account: str
    partition: str = "aws"

    def __post_init__(self) -> None:
        if len(self.cluster) > _LONGEST:
            raise SettingsError(
                f"'{self.cluster}' is too long a name for a cluster that is to be armed",
                hint=f"{_LONGEST} characters at most: its roles are named after it",
            )

    @classmethod
    def of_stack(cls, stack: str) -> "Place":
        """Return where the cluster of a stack (an ARN) is."""
        _, partition, _, region, account, named = stack.split(":", 5)
        return cls(named.split("/")[1], region, account, partition)

    @property
    def name(self) -> str:
        """What all that is made for the cluster is called, or begins with."""
        return f"raypipe-{self.cluster}"

    def arn(self, service: str, what: str) -> str:
        """Return the ARN of something of ours; IAM has no regions."""
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{what}"


def policy(
    name: Name, place: Place, *, config: str, snapshots: str = "", channels: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a policy as IAM takes it.

    `config` is the bucket and key (which may have a `*`) of the configuration, `snapshots` the set (the cluster's name
    without it), `channels` those of [notify].
    """
    parameters = (channel.partition(":")[2].lstrip("/") for channel in channels if kind_of(channel) == "parameter")
    blanks: dict[str, str | list[str]] = {
        "partition": place.partition,
        "region": place.region,
        "account": place.account,
        "cluster": place.cluster,
        "set": snapshots or place.cluster,
        "config": config,
        "topics": [channel for channel in channels if kind_of(channel) == "topic"],
        "parameters": [place.arn("ssm", f"parameter/{parameter}") for parameter in parameters],
    }
    template = json.loads((files("cluster") / "aws" / "policies" / f"{name}.json").read_text())
    filled = _filled(template, blanks)
    # Who tells nobody needs no right to do so.
    return {**filled, "Statement": [one for one in filled["Statement"] if one["Resource"]]}


def _filled(value: Any, blanks: Mapping[str, str | list[str]]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, blanks) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, blanks) for inner in value]
    whole = blanks.get(value[2:-1]) if value.startswith("${") and value.endswith("}") else None
    return whole if isinstance(whole, list) else Template(value).substitute(blanks)

"""What `raypipe cluster arm` and `disarm` do: from settings to what is wanted, and words for it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.aws.arm import (
    Arms,
    arm,
    armed,
    described,
    disarm,
    expected_place,
    find_head,
    find_heads,
    find_place,
    watched_head,
)  # fmt: skip
from cluster.aws.parts import Account
from cluster.aws.rights import Place
from cluster.errors import AwsRefused, AwsUnavailable, SettingsError
from cluster.pcluster import check_name
from raypipe.config import Cluster, Config

HOURS = 24
_POLICIES = (
    ("finalize", "for who finalizes by hand or on the head node: [cluster] policies"),
    ("handover", "for the drivers' nodes, where the last job of `submit --finalize` runs: [cluster] policies"),
    ("function", "of the function"),
    ("delete-stack", "of CloudFormation when it deletes the cluster"),
    ("arm", "for who arms and disarms"),
)


@dataclass(frozen=True)
class Wanted:
    """What is told beside the settings."""

    hours: int = HOURS
    """How long the head node may run before people are told."""
    email: str = ""
    snapshots: str = ""
    """The set of snapshots; as the settings say without it."""


def arm_cluster(
    name: str, config: Config, wanted: Wanted, *, heard: Callable[[str], None], noted: Callable[[str], None]
) -> None:
    """Arm a cluster; `heard` is told of each thing that is there then, `noted` of what people should know.

    Raises `SettingsError` where the settings name no configuration that the function reaches, else as `cluster.aws.arm`.
    """
    account = _account(config.cluster)
    place = find_place(account, check_name(name))
    arms = _arms(place, config, wanted, find_head(account, name))
    for line in _notes(arms, config):
        noted(line)
    arm(account, arms, heard)


def foreseen(name: str, config: Config, wanted: Wanted) -> tuple[Arms, list[str], list[str]]:
    """Return what arming would make, in words too, and what people should know; the cluster need not be there yet.

    Changes nothing. Raises as `arm_cluster`.
    """
    account = _account(config.cluster)
    heads = find_heads(account, check_name(name))
    arms = _arms(expected_place(account, name), config, wanted, heads[0] if len(heads) == 1 else "")
    notes = _notes(arms, config)
    if not arms.head:
        notes.append(f"note: {name} has no head node yet, which an alarm looks at: arm it when it is there")
    lines = [
        f"{'would make' if part.tags(account) is None else 'is there'}: {described(part)}" for part in arms.parts()
    ]
    return arms, lines, notes


def policies_text(arms: Arms) -> str:
    """Return all policies, filled in, each under a line that says whose it is."""
    texts = [f"\n# {name}.json, {purpose}\n{_json(arms, name)}" for name, purpose in _POLICIES]
    return "".join(texts)


def write_policies(arms: Arms, folder: Path) -> list[str]:
    """Write all policies as files that `aws iam create-policy` takes; return what to say. Raises `SettingsError`."""
    said = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, purpose in _POLICIES:
            file = folder / f"{name}.json"
            file.write_text(_json(arms, name), encoding="utf-8")
            said.append(f"wrote {file}, {purpose}")
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be written to: {error.strerror}", hint="--policies names a folder"
        ) from None
    return said


def disarm_cluster(name: str, settings: Cluster, *, heard: Callable[[str], None]) -> None:
    """Disarm a cluster; `heard` is told of each thing that goes. Raises as `cluster.aws.arm`."""
    removed: list[str] = []

    def hear(line: str) -> None:
        removed.append(line)
        heard(line)

    disarm(_account(settings), check_name(name), hear)
    if not removed:
        heard(f"{name} is not armed")


def armed_lines(name: str, settings: Cluster) -> list[str]:
    """Say whether a cluster is armed, in words; never raises for what AWS says."""
    try:
        account = _account(settings)
        there, missing = armed(account, name)
        if not there:
            return [f"not armed: nobody ends it when no machine waits (`raypipe cluster arm {name} --config FILE`)"]
        if missing:
            return [f"half armed, without {', '.join(missing)}: `raypipe cluster arm {name} --config FILE` again"]
        watched, head = watched_head(account, name), find_head(account, name)
    except (AwsRefused, AwsUnavailable) as error:
        return [f"whether it is armed cannot be told: {error.message}"]
    if watched != head:
        return [
            f"armed, but its alarm looks at {watched} and its head node is {head}: `raypipe cluster arm {name} --config FILE` again"
        ]
    return ["armed"]


def is_still_armed(name: str, settings: Cluster) -> bool:
    """Whether anything is there of what `arm` makes; not, where AWS does not say."""
    try:
        return bool(armed(_account(settings), name)[0])
    except (AwsRefused, AwsUnavailable):
        return False


def _arms(place: Place, config: Config, wanted: Wanted, head: str) -> Arms:
    file = config.finalize.file
    bucket, _, key = file.removeprefix("s3://").partition("/")
    if not file.startswith("s3://") or not bucket or not key:
        raise SettingsError(
            f"the function cannot reach [finalize] file {file}",
            hint='put it into S3, and say file = "s3://my-bucket/raypipe/pipe.yaml" in [finalize] of --config FILE',
        )
    snapshots = wanted.snapshots or config.finalize.snapshots
    return Arms(place, f"{bucket}/{key}", head, snapshots, config.notify.channels, wanted.email, wanted.hours)


def _json(arms: Arms, name: str) -> str:
    return json.dumps(arms.policy(name), indent=2) + "\n"


def _notes(arms: Arms, config: Config) -> list[str]:
    lines = []
    ended = config.finalize.cluster
    if ended and arms.place.cluster != (ended.split("/")[1] if "/" in ended else ended):
        lines.append(f"note: [finalize] cluster is {ended}: with these settings runs end that one, and not this")
    if untold := _listed(arms.untold):
        lines.append(f"note: not told from there, where this machine's programs and files are not: {untold}")
    if arms.topic == arms.own_topic and not arms.email:
        lines.append("note: nobody gets the alarms: give --email, or the ARN of a topic in [notify] channels")
    return lines


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _account(settings: Cluster) -> Account:
    if not settings.region:
        raise SettingsError(
            "[cluster] region is not set", hint='region = "ap-southeast-1" in [cluster] of --config FILE'
        )
    return Account(settings.region)

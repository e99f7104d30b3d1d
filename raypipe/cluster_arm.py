"""What `raypipe cluster arm` and `disarm` do: from settings to what is wanted, and words for it."""

import json
from collections.abc import Callable, Sequence

from cluster.aws.arm import Arms, arm, armed, disarm, find_head, find_place, watched_head
from cluster.aws.parts import Account
from cluster.errors import AwsRefused, AwsUnavailable, SettingsError
from cluster.pcluster import check_name
from raypipe.config import Cluster, Notify

HOURS = 24
_POLICIES = (
    ("finalize", "for who finalizes by hand or on the head node: [cluster] policies"),
    ("handover", "for the drivers' nodes, where the last job of `submit --finalize` runs: [cluster] policies"),
    ("function", "of the function"),
    ("delete-stack", "of CloudFormation when it deletes the cluster"),
    ("arm", "for who arms and disarms"),
)


def arm_cluster(
    name: str,
    settings: Cluster,
    notify: Notify,
    *,
    hours: int = HOURS,
    email: str = "",
    snapshots: str = "",
    heard: Callable[[str], None],
) -> None:
    """Arm a cluster; `heard` is told of each thing that is there then. Raises as `cluster.aws.arm`."""
    account, arms = _wanted(name, settings, notify, hours, email, snapshots)
    for line in _warnings(arms):
        heard(line)
    arm(account, arms, heard)


def printed(
    name: str, settings: Cluster, notify: Notify, *, hours: int = HOURS, email: str = "", snapshots: str = ""
) -> str:
    """Return what arming would make, and all policies filled in. Changes nothing."""
    account, arms = _wanted(name, settings, notify, hours, email, snapshots)
    lines = _warnings(arms)
    for part in arms.parts():
        lines.append(f"{'would make' if part.tags(account) is None else 'is there'}: {part.title}")
    for policy, purpose in _POLICIES:
        lines += ["", f"# {policy}.json, {purpose}", json.dumps(arms.policy(policy), indent=2)]
    return "\n".join(lines) + "\n"


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
            return [f"not armed: nobody ends it when no machine waits (`raypipe cluster arm {name}`)"]
        if missing:
            return [f"half armed, without {', '.join(missing)}: `raypipe cluster arm {name}` again"]
        watched, head = watched_head(account, name), find_head(account, name)
    except (AwsRefused, AwsUnavailable) as error:
        return [f"whether it is armed cannot be told: {error.message}"]
    if watched != head:
        return [
            f"armed, but its alarm looks at {watched} and its head node is {head}: `raypipe cluster arm {name}` again"
        ]
    return ["armed"]


def _wanted(
    name: str, settings: Cluster, notify: Notify, hours: int, email: str, snapshots: str
) -> tuple[Account, Arms]:
    if not settings.bucket:
        raise SettingsError(
            "[cluster] bucket is not set", hint="give bucket = s3://my-bucket/raypipe, where the configuration lies"
        )
    account = _account(settings)
    place = find_place(account, check_name(name))
    folder = settings.bucket.removeprefix("s3://")
    head = find_head(account, name)
    return account, Arms(place, f"{folder}/*.yaml", head, snapshots, notify.channels, email, hours)


def _warnings(arms: Arms) -> list[str]:
    lines = []
    if untold := _listed(arms.untold):
        lines.append(f"note: not told from there, where this machine's programs and files are not: {untold}")
    if arms.topic == arms.own_topic and not arms.email:
        lines.append("note: nobody gets the alarms: give --email, or the ARN of a topic in [notify] channels")
    return lines


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _account(settings: Cluster) -> Account:
    if not settings.region:
        raise SettingsError("[cluster] region is not set", hint="give region = ap-southeast-1")
    return Account(settings.region)

"""Arms a cluster: what ends its runs when no machine of ours waits, and what tells when it lives too long."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.bundle import HANDLER, bundle
from cluster.aws.calls import calling, code_of
from cluster.aws.channels import kind_of, named
from cluster.aws.parts import Account, Alarm, Function, LogGroup, Part, Role, Rule, Tags, Topic
from cluster.aws.rights import Place, policy
from cluster.errors import AwsRefused, NotOurs, SettingsError

_RUNTIME, _MEMORY_MB, _SECONDS = "python3.13", 256, 900
_LOG_DAYS = 30
_MOST_HOURS = 7 * 24
"""CloudWatch looks back no further."""
_SNAPSHOT_ENDED = {
    "source": ["aws.ec2"],
    "detail-type": ["EBS Snapshot Notification"],
    "detail": {"event": ["createSnapshot"], "result": ["succeeded", "failed"]},
}
_GOING = "DELETE_IN_PROGRESS"


@dataclass(frozen=True)
class Arms:
    """What is wanted of an armed cluster."""

    place: Place
    config: str
    """Bucket and key of the configuration that is pointed at new snapshots; the key may have a `*`."""
    head: str
    """The head node's id, i-..."""
    snapshots: str = ""
    """The set of snapshots; the cluster's name without it."""
    channels: Sequence[str] = ()
    """As `cluster.aws.notify` takes them."""
    email: str = ""
    """Who is told of alarms, if no channel is a topic."""
    hours: int = 24
    """How long the head node may run before people are told."""

    def __post_init__(self) -> None:
        if not 1 <= self.hours <= _MOST_HOURS:
            raise SettingsError(
                f"an alarm after {self.hours} hours cannot be had",
                hint=f"1 to {_MOST_HOURS}: CloudWatch counts no further",
            )

    @property
    def told(self) -> tuple[str, ...]:
        """The channels that a function can use, which has neither this machine's programs nor its files; our own topic too."""
        given = tuple(channel for channel in self.channels if kind_of(channel) in ("topic", "url", "parameter"))
        return given if self.topic in given else (*given, self.topic)

    @property
    def untold(self) -> tuple[str, ...]:
        """Names of the channels that it cannot use."""
        return tuple(named(channel) for channel in self.channels if channel not in self.told)

    @property
    def topic(self) -> str:
        """The ARN of the topic that alarms go to."""
        topics = (channel for channel in self.channels if kind_of(channel) == "topic")
        return str(next(topics, self.own_topic))

    @property
    def own_topic(self) -> str:
        """The ARN of the topic that is made where none is given."""
        return self.place.arn("sns", self.place.name)

    def policy(self, name: Any) -> dict[str, Any]:
        """Return one of the policies, filled in; see `cluster.aws.rights`."""
        return policy(name, self.place, config=self.config, snapshots=self.snapshots, channels=self.told)

    def parts(self) -> list[Part]:
        """Return what is to be there, in the order in which one needs the other."""
        place = self.place
        topic: list[Part] = [Topic(self.own_topic, self.email)] if self.topic == self.own_topic else []
        function = place.arn("lambda", f"function:{place.name}")
        return [
            *topic,
            Role(place.name, "lambda.amazonaws.com", self.policy("function")),
            Role(f"{place.name}-delete", "cloudformation.amazonaws.com", self.policy("delete-stack")),
            LogGroup(place.arn("logs", f"log-group:/aws/lambda/{place.name}"), _LOG_DAYS),
            Function(place.name, bundle(), self._function()),
            Rule(
                place.arn("events", f"rule/{place.name}-snapshot"),
                function,
                {"EventPattern": json.dumps(_SNAPSHOT_ENDED)},
            ),
            Rule(place.arn("events", f"rule/{place.name}-hourly"), function, {"ScheduleExpression": "rate(1 hour)"}),
            Alarm(
                place.arn("cloudwatch", f"alarm:{place.name}-errors"),
                "the function failed",
                self._alarm("AWS/Lambda", "Errors", "Sum", "FunctionName", place.name, hours=1)
                | {
                    "AlarmDescription": f"The end of a run on cluster {place.cluster} is stuck: see the log of {place.name}."
                },
            ),
            Alarm(
                place.arn("cloudwatch", f"alarm:{place.name}-lifetime"),
                f"the head node ({self.head or 'not there yet'}) runs for {self.hours} hours",
                self._alarm("AWS/EC2", "StatusCheckFailed", "SampleCount", "InstanceId", self.head, hours=self.hours)
                | {"AlarmDescription": f"Cluster {place.cluster} runs for {self.hours} hours, and is paid for."},
            ),
        ]

    def _function(self) -> dict[str, Any]:
        place = self.place
        return {
            "Role": place.arn("iam", f"role/{place.name}"),
            "Runtime": _RUNTIME,
            "Handler": HANDLER,
            "MemorySize": _MEMORY_MB,
            "Timeout": _SECONDS,
            "Environment": {
                "Variables": {
                    "RAYPIPE_CLUSTER": place.cluster,
                    "RAYPIPE_CHANNELS": json.dumps(self.told),
                    "RAYPIPE_DELETE_ROLE": place.arn("iam", f"role/{place.name}-delete"),
                }
            },
        }

    def _alarm(
        self, namespace: str, metric: str, statistic: str, dimension: str, value: str, *, hours: int
    ) -> dict[str, Any]:
        return {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": dimension, "Value": value}],
            "Statistic": statistic,
            "Period": 3600,
            "EvaluationPeriods": hours,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [self.topic],
        }


def described(part: Part) -> str:
    """Return what a part is, and what is wanted of it."""
    return f"{part.title}: {part.meaning}" if part.meaning else part.title


def function_name(cluster: str) -> str:
    """Return the name of a cluster's function, which a run is handed over to."""
    return f"raypipe-{cluster}"


def find_place(account: Account, cluster: str) -> Place:
    """Return where a cluster is. Raises `AwsRefused` if there is none of ParallelCluster's with this name."""
    stack = _stack(account, cluster)
    if stack is None or not any(tag["Key"] == "parallelcluster:version" for tag in stack.get("Tags", [])):
        raise AwsRefused(
            f"there is no cluster '{cluster}' in {account.region}",
            hint="`pcluster list-clusters` lists those of a region",
        )
    return Place.of_stack(stack["StackId"])


def expected_place(account: Account, cluster: str) -> Place:
    """Return where a cluster is, or will be: in this account and region."""
    caller = account.do("sts", "GetCallerIdentity")
    return Place(cluster, account.region, caller["Account"], caller["Arn"].split(":")[1])


def find_heads(account: Account, cluster: str) -> list[str]:
    """Return the ids of a cluster's head nodes: one, or none while it is not there."""
    wanted = {
        "tag:parallelcluster:cluster-name": [cluster],
        "tag:parallelcluster:node-type": ["HeadNode"],
        "instance-state-name": ["pending", "running", "stopping", "stopped"],
    }
    filters = [{"Name": name, "Values": values} for name, values in wanted.items()]
    reservations = account.do("ec2", "DescribeInstances", Filters=filters)["Reservations"]
    return [str(instance["InstanceId"]) for reservation in reservations for instance in reservation["Instances"]]


def find_head(account: Account, cluster: str) -> str:
    """Return the id of a cluster's head node. Raises `AwsRefused` if it has none."""
    heads = find_heads(account, cluster)
    if len(heads) != 1:
        raise AwsRefused(
            f"cluster {cluster} has {len(heads) or 'no'} head nodes",
            hint=f"`raypipe cluster status {cluster} --config FILE` tells more",
        )
    return heads[0]


def arm(account: Account, arms: Arms, heard: Callable[[str], None] = lambda _: None) -> None:
    """Make what is not there and change what differs; `heard` is told of each.

    Killed at any point, the same again goes on. Raises `NotOurs`, before anything is made, where something of this name
    is somebody else's, `AwsRefused` (which right is missing), `AwsUnavailable`.
    """
    parts = arms.parts()
    for part in parts:
        tags = part.tags(account)
        if tags is not None and not _is_ours(tags, arms.place.cluster):
            raise NotOurs(
                f"there is a {part.title} that raypipe did not make for {arms.place.cluster}",
                hint="remove or rename it, or give the cluster another name",
            )
    for part in parts:
        changed = part.make(account, _ours(arms.place.cluster))
        heard(f"{'made' if changed else 'is there'}: {described(part)}")


def disarm(account: Account, cluster: str, heard: Callable[[str], None] = lambda _: None) -> None:
    """Remove what `arm` made, the last first; what is not there is fine, and what others made stays.

    Raises `NotOurs` while CloudFormation deletes the cluster with the role that would go, `AwsRefused`, `AwsUnavailable`.
    """
    stack = _stack(account, cluster)
    if stack is not None and stack["StackStatus"] == _GOING:
        raise NotOurs(
            f"cluster {cluster} is being deleted, with a role that disarming would take away",
            hint=f"`raypipe cluster status {cluster} --config FILE` until it is gone, then disarm",
        )
    for part in reversed(list(_parts_of(account, cluster))):
        tags = part.tags(account)
        if tags is None:
            continue
        if not _is_ours(tags, cluster):
            heard(f"stays: {part.title}, which raypipe did not make for {cluster}")
            continue
        part.remove(account)
        heard(f"removed: {part.title}")


def armed(account: Account, cluster: str) -> tuple[list[str], list[str]]:
    """Return the titles of the parts that are there, and of those that are not."""
    there: list[str] = []
    missing: list[str] = []
    for part in _parts_of(account, cluster):
        tags = part.tags(account)
        is_ours = tags is not None and _is_ours(tags, cluster)
        if is_ours or not isinstance(part, Topic):  # a topic is made only where none is given
            (there if is_ours else missing).append(part.title)
    return there, missing


def watched_head(account: Account, cluster: str) -> str:
    """Return the id of the machine that the alarm of the cluster's lifetime looks at; nothing if there is no alarm."""
    (alarm,) = (part for part in _parts_of(account, cluster) if isinstance(part, Alarm) and "lifetime" in part.arn)
    found = alarm.found(account)
    return "" if found is None else str(found["Dimensions"][0]["Value"])


def _parts_of(account: Account, cluster: str) -> Iterator[Part]:
    """Give the parts by their names, without knowing what was wanted of them."""
    yield from Arms(expected_place(account, cluster), config="", head="").parts()


def _stack(account: Account, cluster: str) -> dict[str, Any] | None:
    with calling(f"cloudformation:DescribeStacks {cluster}"):
        try:
            found: dict[str, Any] = account.client("cloudformation").describe_stacks(StackName=cluster)["Stacks"][0]
        except ClientError as error:
            if code_of(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise
    return found


def _ours(cluster: str) -> Tags:
    return {"raypipe:managed": "true", "raypipe:cluster": cluster}


def _is_ours(tags: Tags, cluster: str) -> bool:
    return _ours(cluster).items() <= dict(tags).items()

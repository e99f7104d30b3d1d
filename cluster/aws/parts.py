"""What `arm` makes, each thing by itself: whether it is there and whose it is, how it is made or mended, how it goes."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from cluster.aws.calls import calling, code_of
from cluster.errors import AwsUnavailable

_NOT_THERE = ("ResourceNotFoundException", "ResourceNotFound", "NoSuchEntity", "NotFound")
_UNKNOWN_ROLE = "cannot be assumed by Lambda"
_ROLE_SECONDS = 60.0
"""How long Lambda may take to know a new role."""


@dataclass(frozen=True)
class Account:
    """AWS's calls by their own names, in one region. All raise `AwsRefused` and `AwsUnavailable`."""

    region: str
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def do(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Call it."""
        with calling(f"{service}:{operation}"):
            return self._call(service, operation, parameters)

    def find(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any] | None:
        """Call it; None if what it is about is not there."""
        with calling(f"{service}:{operation}"):
            try:
                return self._call(service, operation, parameters)
            except ClientError as error:
                if code_of(error) in _NOT_THERE:
                    return None
                raise

    def client(self, service: str) -> Any:
        """Return a client."""
        if service not in self._clients:
            again = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60)
            with calling("connect"):
                self._clients[service] = boto3.session.Session(region_name=self.region).client(service, config=again)
        return self._clients[service]

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self.client(service), xform_name(operation))(**parameters)
        return answer


Tags = Mapping[str, str]


class Part(Protocol):
    """One thing that is made."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    @property
    def meaning(self) -> str:
        """What is wanted of it; may be empty."""

    def tags(self, account: Account) -> Tags | None:
        """Return its tags; None if it is not there."""

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, with these tags, or change what differs; return whether anything was done."""

    def remove(self, account: Account) -> None:
        """Remove it; it may be half gone."""


def _pairs(tags: Tags) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _read(pairs: Sequence[Mapping[str, str]]) -> Tags:
    return {pair["Key"]: pair["Value"] for pair in pairs}


@dataclass(frozen=True)
class Topic:
    """A topic of SNS, and who gets what it is told."""

    arn: str
    email: str = ""

    @property
    def title(self) -> str:
        """What it is."""
        return f"topic {self.arn.rpartition(':')[2]}"

    @property
    def meaning(self) -> str:
        """What is wanted of it."""
        return f"told to {self.email}" if self.email else ""

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        found = account.find("sns", "ListTagsForResource", ResourceArn=self.arn)
        return None if found is None else _read(found["Tags"])

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, and subscribe."""
        is_new = self.tags(account) is None
        if is_new:
            account.do("sns", "CreateTopic", Name=self.arn.rpartition(":")[2], Tags=_pairs(tags))
        found = account.do("sns", "ListSubscriptionsByTopic", TopicArn=self.arn)["Subscriptions"]
        if not self.email or self.email in [one["Endpoint"] for one in found]:
            return is_new
        account.do("sns", "Subscribe", TopicArn=self.arn, Protocol="email", Endpoint=self.email)
        return True

    def remove(self, account: Account) -> None:
        """Remove it, and its subscriptions with it."""
        account.do("sns", "DeleteTopic", TopicArn=self.arn)


@dataclass(frozen=True)
class Role:
    """A role that a service of AWS takes on, with one policy."""

    name: str
    service: str
    policy: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What it is."""
        return f"role {self.name}"

    @property
    def meaning(self) -> str:
        """What is wanted of it."""
        return f"taken on by {self.service}"

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        found = account.find("iam", "GetRole", RoleName=self.name)
        return None if found is None else _read(found["Role"].get("Tags", []))

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, then write its policy."""
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": self.service}, "Action": "sts:AssumeRole"}],
        }
        found, changed = account.find("iam", "GetRole", RoleName=self.name), False
        if found is None:
            document = json.dumps(trust)
            account.do("iam", "CreateRole", RoleName=self.name, AssumeRolePolicyDocument=document, Tags=_pairs(tags))
            changed = True
        elif found["Role"]["AssumeRolePolicyDocument"] != trust:
            account.do("iam", "UpdateAssumeRolePolicy", RoleName=self.name, PolicyDocument=json.dumps(trust))
            changed = True
        written = account.find("iam", "GetRolePolicy", RoleName=self.name, PolicyName="raypipe")
        if written is None or written["PolicyDocument"] != self.policy:
            document = json.dumps(self.policy)
            account.do("iam", "PutRolePolicy", RoleName=self.name, PolicyName="raypipe", PolicyDocument=document)
            changed = True
        return changed

    def remove(self, account: Account) -> None:
        """Remove its policies, then itself."""
        for name in account.do("iam", "ListRolePolicies", RoleName=self.name)["PolicyNames"]:
            account.find("iam", "DeleteRolePolicy", RoleName=self.name, PolicyName=name)
        account.find("iam", "DeleteRole", RoleName=self.name)


@dataclass(frozen=True)
class LogGroup:
    """Where a function's lines go."""

    arn: str
    days: int

    @property
    def title(self) -> str:
        """What it is."""
        return f"log {self._name}"

    @property
    def meaning(self) -> str:
        """What is wanted of it."""
        return f"kept for {self.days} days"

    @property
    def _name(self) -> str:
        return self.arn.rpartition(":")[2]

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        if self._found(account) is None:
            return None
        return dict(account.do("logs", "ListTagsForResource", resourceArn=self.arn)["tags"])

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it; its lines do not stay for ever."""
        found = self._found(account)
        if found is None:
            account.do("logs", "CreateLogGroup", logGroupName=self._name, tags=dict(tags))
        elif found.get("retentionInDays") == self.days:
            return False
        account.do("logs", "PutRetentionPolicy", logGroupName=self._name, retentionInDays=self.days)
        return True

    def remove(self, account: Account) -> None:
        """Remove it with its lines."""
        account.find("logs", "DeleteLogGroup", logGroupName=self._name)

    def _found(self, account: Account) -> Mapping[str, Any] | None:
        groups = account.do("logs", "DescribeLogGroups", logGroupNamePrefix=self._name)["logGroups"]
        return next((one for one in groups if one["logGroupName"] == self._name), None)


@dataclass(frozen=True)
class Function:
    """A function of Lambda."""

    name: str
    code: bytes = field(repr=False)
    settings: Mapping[str, Any]
    """Role, Runtime, Handler and so on, by Lambda's own names."""

    @property
    def title(self) -> str:
        """What it is."""
        return f"function {self.name}"

    @property
    def meaning(self) -> str:
        """What is wanted of it."""
        return f"{self.settings['Runtime']}, at most {self.settings['Timeout']} s at a time"

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        found = account.find("lambda", "GetFunction", FunctionName=self.name)
        return None if found is None else dict(found.get("Tags", {}))

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, or bring its code and settings up to date."""
        found = account.find("lambda", "GetFunction", FunctionName=self.name)
        if found is None:
            self._create(account, tags)
            return True
        is_config = found["Configuration"]
        changed = False
        if is_config["CodeSha256"] != base64.b64encode(hashlib.sha256(self.code).digest()).decode():
            self._wait(account, "function_updated_v2")
            account.do("lambda", "UpdateFunctionCode", FunctionName=self.name, ZipFile=self.code)
            changed = True
        if any(is_config.get(key) != value for key, value in self.settings.items()):
            self._wait(account, "function_updated_v2")
            account.do("lambda", "UpdateFunctionConfiguration", FunctionName=self.name, **self.settings)
            changed = True
        return changed

    def remove(self, account: Account) -> None:
        """Remove it, and with it whom it lets call it."""
        account.find("lambda", "DeleteFunction", FunctionName=self.name)

    def _create(self, account: Account, tags: Tags) -> None:
        wanted = {"FunctionName": self.name, "Code": {"ZipFile": self.code}, "Tags": dict(tags), **self.settings}
        until, pause = time.monotonic() + _ROLE_SECONDS, 0.25
        with calling("lambda:CreateFunction"):
            while True:
                try:
                    account.client("lambda").create_function(**wanted)
                    break
                except ClientError as error:
                    if _UNKNOWN_ROLE not in str(error) or time.monotonic() > until:
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 5.0)
        self._wait(account, "function_active_v2")

    def _wait(self, account: Account, for_what: str) -> None:
        try:
            with calling("lambda:GetFunction"):
                account.client("lambda").get_waiter(for_what).wait(FunctionName=self.name)
        except WaiterError as error:
            raise AwsUnavailable(f"{self.title} is not ready: {error}", hint="arm again in some minutes") from error


@dataclass(frozen=True)
class Rule:
    """A rule of EventBridge that wakes a function."""

    arn: str
    function: str
    """Its ARN."""
    when: Mapping[str, str]
    """EventPattern or ScheduleExpression."""

    @property
    def title(self) -> str:
        """What it is."""
        return f"rule {self._name}"

    @property
    def meaning(self) -> str:
        """What is wanted of it."""
        return self.when.get("ScheduleExpression", "when a snapshot has ended")

    @property
    def _name(self) -> str:
        return self.arn.rpartition("/")[2]

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        found = account.find("events", "ListTagsForResource", ResourceARN=self.arn)
        return None if found is None else _read(found["Tags"])

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, let it call the function, and have it do so."""
        changed = False
        found = account.find("events", "DescribeRule", Name=self._name)
        if found is None:
            account.do("events", "PutRule", Name=self._name, Tags=_pairs(tags), State="ENABLED", **self.when)
            changed = True
        elif found.get("State") != "ENABLED" or any(found.get(key) != value for key, value in self.when.items()):
            account.do("events", "PutRule", Name=self._name, State="ENABLED", **self.when)
            changed = True
        if not self._is_let(account):
            account.do(
                "lambda",
                "AddPermission",
                FunctionName=self.function,
                StatementId=self._name,
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=self.arn,
            )
            changed = True
        targets = account.do("events", "ListTargetsByRule", Rule=self._name)["Targets"]
        if [target["Arn"] for target in targets] != [self.function]:
            account.do("events", "PutTargets", Rule=self._name, Targets=[{"Id": "raypipe", "Arn": self.function}])
            changed = True
        return changed

    def remove(self, account: Account) -> None:
        """Remove its targets, then itself; the function's word that it may call goes with the function."""
        targets = account.do("events", "ListTargetsByRule", Rule=self._name)["Targets"]
        if targets:
            account.find("events", "RemoveTargets", Rule=self._name, Ids=[target["Id"] for target in targets])
        account.find("events", "DeleteRule", Name=self._name)

    def _is_let(self, account: Account) -> bool:
        found = account.find("lambda", "GetPolicy", FunctionName=self.function)
        return found is not None and any(one["Sid"] == self._name for one in json.loads(found["Policy"])["Statement"])


@dataclass(frozen=True)
class Alarm:
    """An alarm of CloudWatch."""

    arn: str
    meaning: str
    settings: Mapping[str, Any]
    """By CloudWatch's own names."""

    @property
    def title(self) -> str:
        """What it is."""
        return f"alarm {self._name}"

    @property
    def _name(self) -> str:
        return self.arn.rpartition(":")[2]

    def found(self, account: Account) -> Mapping[str, Any] | None:
        """Return it as CloudWatch describes it."""
        alarms = account.do("cloudwatch", "DescribeAlarms", AlarmNames=[self._name])["MetricAlarms"]
        return alarms[0] if alarms else None

    def tags(self, account: Account) -> Tags | None:
        """Return its tags."""
        if self.found(account) is None:
            return None
        return _read(account.do("cloudwatch", "ListTagsForResource", ResourceARN=self.arn)["Tags"])

    def make(self, account: Account, tags: Tags) -> bool:
        """Make it, or change what differs."""
        found = self.found(account)
        if found is not None and all(found.get(key) == value for key, value in self.settings.items()):
            return False
        new = {"Tags": _pairs(tags)} if found is None else {}
        account.do("cloudwatch", "PutMetricAlarm", AlarmName=self._name, **self.settings, **new)
        return True

    def remove(self, account: Account) -> None:
        """Remove it."""
        account.do("cloudwatch", "DeleteAlarms", AlarmNames=[self._name])

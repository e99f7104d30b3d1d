"""What a role may do: its policies, evaluated for the calls that raypipe makes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Facts = Mapping[str, list[str]]
Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Ask:
    """An action on a resource, which a call needs; a call may need several."""

    action: str
    resource: str = "*"
    facts: Facts = field(default_factory=dict)
    """Values of condition keys."""


def allowing(policies: Sequence[Policy], ask: Ask) -> str | None:
    """Return the Sid of a statement that allows it, or None; a statement that denies it goes before all others."""
    found = [one for policy in policies for one in _list(policy["Statement"]) if _applies(one, ask)]
    if not found or any(one["Effect"] == "Deny" for one in found):
        return None
    return str(found[0].get("Sid", ""))


def _applies(statement: Mapping[str, Any], ask: Ask) -> bool:
    return (
        any(_like(ask.action.lower(), pattern.lower()) for pattern in _list(statement["Action"]))
        and any(_like(ask.resource, pattern) for pattern in _list(statement["Resource"]))
        and all(
            _holds(operator, [str(one) for one in _list(wanted)], ask.facts.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, wanted: list[str], given: list[str] | None) -> bool:
    qualifier, _, plain = operator.rpartition(":")
    if plain == "Null":
        return (given is None) == (wanted == ["true"])
    if plain.endswith("IfExists"):
        if given is None:
            return True
        plain = plain.removesuffix("IfExists")
    if given is None:
        return qualifier == "ForAllValues"
    one = {
        "StringEquals": lambda value: value in wanted,
        "ArnEquals": lambda value: any(_like(value, pattern) for pattern in wanted),
        "ArnLike": lambda value: any(_like(value, pattern) for pattern in wanted),
        "StringLike": lambda value: any(_like(value, pattern) for pattern in wanted),
    }[plain]  # an operator that is not here is a KeyError: nothing is guessed
    return any(map(one, given)) if qualifier == "ForAnyValue" else all(map(one, given))


def _like(text: str, pattern: str) -> bool:
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.fullmatch("".join(parts), text) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_PREFIX = {"monitoring": "cloudwatch"}
"""Services that sign by another name than the one in policies."""
_FREE = ("sts:GetCallerIdentity",)
_TAGGING = {"iam": "iam:TagRole"}
_PASSED_TO = {"lambda": "lambda.amazonaws.com", "cloudformation": "cloudformation.amazonaws.com"}


def asks(
    service: str, action: str, parameters: Mapping[str, Any], region: str, account: str, tags_of: Any
) -> Iterator[Ask]:
    """Give what a call needs; `tags_of(id)` are the tags of an EC2 resource or a stack."""
    name = f"{_PREFIX.get(service, service)}:{action}"
    name = "lambda:InvokeFunction" if name == "lambda:Invoke" else name
    if name in _FREE:
        return
    if service == "ec2":
        yield from _ec2(name, parameters, region, account, tags_of)
        return
    facts: dict[str, list[str]] = {}
    if service == "cloudformation":
        stack = str(parameters.get("StackName", ""))
        facts = _named(tags_of(stack), "aws:ResourceTag/")
        if role := parameters.get("RoleARN"):
            facts["cloudformation:RoleArn"] = [role]
    if service == "dynamodb":
        key = parameters.get("Key") or parameters.get("Item") or {}
        facts["dynamodb:LeadingKeys"] = [str(key.get("Id", {}).get("S", ""))]
    if action == "Subscribe":
        facts["sns:Protocol"] = [str(parameters.get("Protocol"))]
    for resource in _resources(service, action, parameters, region, account):
        yield Ask(name, resource, facts)
        if not action.startswith(("Tag", "Untag")) and any(key.lower().startswith("tags") for key in parameters):
            yield Ask(_TAGGING.get(service, f"{_PREFIX.get(service, service)}:TagResource"), resource, facts)
    if passed := parameters.get("RoleARN") or (parameters.get("Role") if service == "lambda" else None):
        yield Ask("iam:PassRole", str(passed), {"iam:PassedToService": [_PASSED_TO[service]]})


def _ec2(name: str, parameters: Mapping[str, Any], region: str, account: str, tags_of: Any) -> Iterator[Ask]:
    def arn(id: str) -> str:
        kind = {"snap": "snapshot", "vol": "volume", "i": "instance"}[id.partition("-")[0]]
        return f"arn:aws:ec2:{region}:{'' if kind == 'snapshot' else account}:{kind}/{id}"

    def has(id: str) -> dict[str, list[str]]:
        return _named(tags_of(id), "aws:ResourceTag/")

    new = _tags(parameters, "Tag.") or _tags(parameters, "TagSpecification.1.Tag.")
    asked = _named(new, "aws:RequestTag/") | ({"aws:TagKeys": list(new)} if new else {})
    if name == "ec2:CreateSnapshot":
        snapshot = f"arn:aws:ec2:{region}::snapshot/*"
        yield Ask(name, arn(parameters["VolumeId"]), has(parameters["VolumeId"]) | asked)
        yield Ask(name, snapshot, asked)
        if new:
            yield Ask("ec2:CreateTags", snapshot, asked | {"ec2:CreateAction": ["CreateSnapshot"]})
    elif name in ("ec2:CreateTags", "ec2:DeleteTags"):
        for key, id in parameters.items():
            if key.startswith("ResourceId."):
                yield Ask(name, arn(id), has(id) | asked)
    elif name == "ec2:DeleteSnapshot":
        yield Ask(name, arn(parameters["SnapshotId"]), has(parameters["SnapshotId"]))
    else:
        yield Ask(name)  # describing knows no resources


def _tags(parameters: Mapping[str, Any], prefix: str) -> dict[str, str]:
    keys = (key for key in parameters if key.startswith(prefix) and key.endswith(".Key"))
    return {parameters[key]: parameters.get(key.removesuffix("Key") + "Value", "") for key in keys}


def _named(tags: Mapping[str, str], prefix: str) -> dict[str, list[str]]:
    return {prefix + key: [value] for key, value in tags.items()}


def _resources(service: str, action: str, parameters: Mapping[str, Any], region: str, account: str) -> Iterator[str]:
    def arn(service: str, what: str) -> str:
        return f"arn:aws:{service}:{region}:{account}:{what}"

    match service:
        case "s3":
            yield f"arn:aws:s3:::{unquote(parameters['path']).lstrip('/')}"
        case "dynamodb":
            yield arn("dynamodb", f"table/{parameters['TableName']}")
        case "cloudformation":
            stack = str(parameters.get("StackName", "*"))
            yield stack if stack.startswith("arn:") else arn("cloudformation", f"stack/{stack}/0000")
        case "lambda":
            named = str(parameters.get("FunctionName") or parameters.get("Resource") or "*")
            yield named if named.startswith("arn:") else arn("lambda", f"function:{named}")
        case "iam":
            yield f"arn:aws:iam::{account}:role/{parameters.get('RoleName', '*')}"
        case "events":
            yield str(
                parameters.get("ResourceARN")
                or arn("events", f"rule/{parameters.get('Rule') or parameters.get('Name')}")
            )
        case "logs":
            group = parameters.get("logGroupName") or "*"
            yield str(parameters.get("resourceArn") or arn("logs", f"log-group:{group}"))
        case "monitoring":
            names = parameters.get("AlarmNames") or [parameters.get("AlarmName", "*")]
            for name in ["*"] if action.startswith("Describe") else names:
                yield str(parameters.get("ResourceARN") or arn("cloudwatch", f"alarm:{name}"))
        case "sns":
            topic = parameters.get("TopicArn") or parameters.get("ResourceArn")
            yield str(topic or arn("sns", str(parameters.get("Name", "*"))))
        case "ssm":
            yield arn("ssm", f"parameter/{str(parameters.get('Name', '*')).lstrip('/')}")
        case _:
            yield "*"

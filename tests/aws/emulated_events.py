"""EventBridge, as far as EC2 and timers wake functions: rules, their targets, and whom a function lets call it."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.events.models import events_backends

from tests.aws.emulated_iam import _like


def snapshot_event(snapshot: str, volume: str, ends: str, region: str, account: str) -> dict[str, Any]:
    """Return what EC2 says when a snapshot has ended; its ARNs have the region where others have the account."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    arn = f"arn:aws:ec2::{region}:snapshot/{snapshot}"
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "EBS Snapshot Notification",
        "source": "aws.ec2",
        "account": account,
        "time": now,
        "region": region,
        "resources": [arn],
        "detail": {
            "event": "createSnapshot",
            "result": "succeeded" if ends == "completed" else "failed",
            "cause": "",
            "request-id": "",
            "snapshot_id": arn,
            "source": f"arn:aws:ec2::{region}:volume/{volume}",
            "startTime": now,
            "endTime": now,
        },
    }


def tick_event(rule: Any, region: str, account: str) -> dict[str, Any]:
    """Return what EventBridge says when a schedule is due."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [rule.arn],
        "detail": {},
    }


def woken_by(event: dict[str, Any], account: str) -> Iterator[Any]:
    """Give the functions that an event wakes."""
    for rule in _rules(account, event["region"]):
        if not rule.scheduled_expression and rule.event_pattern.matches_event(event):
            yield from _functions(rule, account, event["region"])


def due(account: str, region: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Give the functions that schedules wake, with the events, as if all were due now."""
    for rule in _rules(account, region):
        if rule.scheduled_expression:
            event = tick_event(rule, region, account)
            for function in _functions(rule, account, region):
                yield function, event


def _rules(account: str, region: str) -> list[Any]:
    buses = events_backends[account][region].event_buses
    return [rule for rule in buses["default"].rules.values() if rule.state == "ENABLED"]


def _functions(rule: Any, account: str, region: str) -> Iterator[Any]:
    for target in rule.targets:
        if ":function:" not in target["Arn"]:
            continue
        try:
            function = lambda_backends[account][region].get_function(target["Arn"])
        except Exception:  # noqa: BLE001  # a target may be gone; EventBridge then has nobody to wake
            continue
        if any(_lets(statement, rule.arn) for statement in function.policy.statements):
            yield function


def _lets(statement: dict[str, Any], rule: str) -> bool:
    principal = statement["Principal"]
    conditions = json.loads(json.dumps(statement.get("Condition", {})))
    sources = [
        arn for operator in conditions.values() for key, arn in operator.items() if key.lower() == "aws:sourcearn"
    ]
    return (
        statement["Effect"] == "Allow"
        and statement["Action"] == "lambda:InvokeFunction"
        and principal == {"Service": "events.amazonaws.com"}
        and all(_like(rule, pattern) for pattern in sources)
    )

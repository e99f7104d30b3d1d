"""An AWS of our own, in a process of its own: moto, and what it leaves out.

python -m tests.aws.emulator PORT_FILE [ADDRESS [PORT]]

Added are: snapshots that take time and fail, the event of their end, functions that it wakes and that run
(`emulated_events`, `emulated_lambda`), the fleet that stops, stacks that take time to go, roles that may do what their
policies say (`emulated_iam`), faults and kills.

Whatever takes time on AWS takes a number of looks here, so that a run makes the same calls each time, or seconds where the
plan says so. Besides AWS's own calls it takes, as JSON:

POST /_fake/begin      a plan, see `Plan`; forgets the log
POST /_fake/reset      forgets all of AWS
POST /_fake/process    {pid}: who is to be killed
POST /_fake/mark       {action, when, index}: something that is no call, such as a rename
POST /_fake/snapshot   {id, ends}: it ends now, as `completed` or `error`
POST /_fake/event      {id, ends}: its event, whatever it is like itself: early, once more, somebody else's
POST /_fake/tick       all schedules are due
POST /_fake/role       {key, policies}: calls with this access key may do what these documents say
POST /_fake/idle       waits until no function runs or is to be tried again
GET  /_fake/functions  the lives of functions, see `emulated_lambda.Invocation`
GET  /_fake/log        the calls
"""

import functools
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.cloudformation.models import CloudFormationBackend, cloudformation_backends
from moto.cloudformation.models import Event as StackEvent
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.responses import ActionResult
from moto.dynamodb.models import DynamoDBBackend
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_block_store import EBSBackend, Volume
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.iam.models import iam_backends
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.aws.emulated_events import due, snapshot_event, woken_by
from tests.aws.emulated_iam import Ask, allowing, asks
from tests.aws.emulated_lambda import Functions

REGION = "ap-southeast-1"
"""Where all of it is."""
_SPEAK_JSON = ("dynamodb", "events", "lambda", "logs", "monitoring", "ssm")
_FLEET = ["STOP_REQUESTED", "STOPPING", "STOPPED"]


@dataclass
class Plan:
    """How long things take, in looks, and how they end."""

    snapshot_looks: int | None = 2
    """How often a new snapshot is listed as pending; None: until it is told to end."""
    snapshot_seconds: float | None = None
    """How long a new snapshot is pending, instead."""
    snapshot_ends: list[str] = field(default_factory=list)
    """How the snapshots end that are made from now on, in turn; `completed` when there are no more."""
    unlisted_looks: int = 0
    """How often a new snapshot is not listed at all yet."""
    in_use: list[str] = field(default_factory=list)
    """Snapshots that an image uses, so that EC2 does not delete them."""
    fleet_looks: int | None = 1
    """How often each state of a stopping fleet is seen; None: it hangs."""
    stack_looks: int | None = 2
    """How often a stack is seen being deleted; None: it hangs."""
    stack_ends: str = "DELETE_COMPLETE"
    stack_snapshots: str = ""
    """What CloudFormation makes of a volume when a stack goes: a snapshot that is `bare`, or has the volume's tags."""
    event_copies: int = 1
    """How often the event of a snapshot's end arrives; 0: it is lost."""
    role_looks: int = 0
    """How often a function is refused a new role, before Lambda knows it."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """{action, kind: throttle|error|deny|lost, times, after}: the calls from the `after`-th on fare like this."""
    kill: dict[str, Any] = field(default_factory=dict)
    """{index, when: before|after}: SIGKILL for the process, at this entry of the log.

    {action, when, times}: for the function that makes this call, as often as that."""


@dataclass(frozen=True)
class Caller:
    """Whose an access key is; those that nobody registered may do anything."""

    role: str = ""
    """The ARN of a role, whose policies count."""
    policies: tuple[dict[str, Any], ...] | None = None
    """Instead."""
    pid: int = 0


@dataclass(frozen=True)
class Call:
    """A call, as far as it matters here."""

    service: str
    action: str
    parameters: dict[str, Any]
    region: str
    key: str


class World:
    """What the emulator knows beyond moto."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.log: list[dict[str, Any]] = []
        self.pid = 0
        self.lock = threading.RLock()
        self.functions = Functions(self.register, self.may_log)
        self.callers: dict[str, Caller] = {}
        self.forget()

    def forget(self) -> None:
        """Forget what is known of things that are gone."""
        self.looks: dict[str, int] = {}
        self.ends: dict[str, str] = {}
        self.deleters: dict[str, list[dict[str, Any]]] = {}

    def begin(self, plan: Plan) -> None:
        """Forget the log and the process, and go by another plan."""
        self.plan, self.log, self.pid = plan, [], 0

    def seen(self, what: str, limit: int | None) -> bool:
        """Count a look at something; return whether it has been looked at often enough."""
        self.looks[what] = self.looks.get(what, 0) + 1
        return limit is not None and self.looks[what] > limit

    def note(self, action: str, **facts: Any) -> int:
        """Write something into the log; return where."""
        self.log.append({"index": len(self.log), "action": action, **facts})
        return len(self.log) - 1

    def perhaps_kill(self, index: int, when: str, call: Call | None = None) -> bool:
        """Kill the process, or the function that calls, if the plan says here."""
        plan, pid = self.plan.kill, self.pid
        if "action" in plan:
            pid = self.callers.get(call.key, Caller()).pid if call else 0
            if not pid or (call and call.action) != plan["action"] or when != plan["when"] or not plan["times"]:
                return False
            plan["times"] -= 1
        elif not pid or plan != {"index": index, "when": when}:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def register(self, key: str, role: str, pid: int) -> None:
        """Know whose a key is from now on."""
        self.callers[key] = Caller(role, pid=pid)

    def policies_of(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the documents that say what it may do."""
        if caller.policies is not None:
            return list(caller.policies)
        return _role_policies(caller.role)

    def may_log(self, role: str, group: str) -> bool:
        """Whether what a function prints can be read."""
        with self.lock:
            needed = [Ask(f"logs:{name}", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:1") for name in
                      ("CreateLogStream", "PutLogEvents")]  # fmt: skip
            sids = [allowing(_role_policies(role), ask) for ask in needed]
            if None not in sids:
                used = [[sid, ask.action] for sid, ask in zip(sids, needed, strict=True)]
                self.note("PutLogEvents", service="logs", parameters={}, role=role, allowed=used)
            return None not in sids

    def forbids(self, call: Call) -> tuple[Ask | None, list[list[str]]]:
        """Return what the caller may not do of this call, and by which statements it may do the rest."""
        caller = self.callers.get(call.key)
        if caller is None:
            return None, []
        policies, used = self.policies_of(caller), []
        for ask in asks(call.service, call.action, call.parameters, call.region, ACCOUNT, _tags_of(call.region)):
            sid = allowing(policies, ask)
            if sid is None:
                return ask, used
            used.append([sid, ask.action])
        return None, used

    def ended(self, snapshot: Any, ends: str) -> None:
        """Let a snapshot end, and tell of it."""
        snapshot.status = ends
        for _ in range(self.plan.event_copies):
            self.send(snapshot, ends)

    def send(self, snapshot: Any, ends: str) -> None:
        """Tell of a snapshot's end."""
        region = snapshot.ec2_backend.region_name
        event = snapshot_event(snapshot.id, snapshot.volume.id, ends, region, ACCOUNT)
        for function in woken_by(event, ACCOUNT):
            self.functions.call_later(function, event)

    def tick(self) -> None:
        """Let all schedules be due."""
        for function, event in due(ACCOUNT, REGION):
            self.functions.call_later(function, event)

    def fault(self, action: str) -> str:
        """Return what goes wrong with this call, or nothing."""
        for rule in self.plan.faults:
            if rule["action"] in (action, "*"):
                rule["seen"] = rule.get("seen", 0) + 1
                first = rule.get("after", 0)
                if first < rule["seen"] <= first + rule.get("times", 1_000_000):
                    return str(rule["kind"])
        return ""


def patch(world: World) -> None:
    """Give moto what it lacks."""
    create, describe, delete = (
        EBSBackend.create_snapshot,
        ElasticBlockStore.describe_snapshots,
        EBSBackend.delete_snapshot,
    )

    def create_snapshot(self: Any, *args: Any, **kwargs: Any) -> Any:
        snapshot = create(self, *args, **kwargs)
        if snapshot.description:  # those that a test makes for the past have none, and are completed at once
            snapshot.status = "pending"
            ends = world.plan.snapshot_ends.pop(0) if world.plan.snapshot_ends else "completed"
            world.ends[snapshot.id] = ends
            if world.plan.snapshot_seconds is not None:
                timer = threading.Timer(world.plan.snapshot_seconds, in_time, (self, snapshot, ends))
                timer.daemon = True
                timer.start()
        return snapshot

    def in_time(backend: Any, snapshot: Any, ends: str) -> None:
        with world.lock:
            if backend.snapshots.get(snapshot.id) is snapshot and snapshot.status == "pending":
                world.ended(snapshot, ends)

    def describe_snapshots(self: Any) -> ActionResult:
        owners, wanted = self._get_param("OwnerIds", []), int(self._get_param("MaxResults") or 1000)
        found = [one for one in describe(self).result["Snapshots"] if not owners or self._own(one, owners)]
        found = [one for one in found if _listed(world, one)]
        start = int(self._get_param("NextToken") or 0)
        after = start + min(wanted, _page(wanted))
        token = str(after) if after < len(found) else None
        return ActionResult({"Snapshots": found[start:after], "NextToken": token})

    def own(self: Any, snapshot: Any, owners: list[str]) -> bool:
        return snapshot.owner_id in [self.current_account if owner == "self" else owner for owner in owners]

    def delete_snapshot(self: Any, snapshot_id: str) -> Any:
        if snapshot_id in world.plan.in_use:
            from moto.ec2.exceptions import InvalidSnapshotInUse

            raise InvalidSnapshotInUse(snapshot_id, "ami-1")
        return delete(self, snapshot_id)

    EBSBackend.create_snapshot = create_snapshot
    EBSBackend.delete_snapshot = delete_snapshot
    ElasticBlockStore.describe_snapshots, ElasticBlockStore._own = describe_snapshots, own

    delete_now, describe_stacks = CloudFormationBackend.delete_stack, CloudFormationBackend.describe_stacks

    def delete_stack(self: Any, name_or_stack_id: str) -> None:
        stack = self.get_stack(name_or_stack_id)
        if stack.stack_id in self.stacks and stack.status != "DELETE_IN_PROGRESS":
            stack.status, stack.deletion_time = "DELETE_IN_PROGRESS", datetime.now(UTC)
            stack._add_stack_event("DELETE_IN_PROGRESS", resource_status_reason="User Initiated")
            world.looks.pop(stack.stack_id, None)

    def keep_volumes(stack: Any) -> None:
        for volume in stack.resource_map._parsed_resources.values():
            if world.plan.stack_snapshots and isinstance(volume, Volume):
                snapshot = create(volume.ec2_backend, volume.id, "")
                if world.plan.stack_snapshots != "bare":
                    snapshot.add_tags({tag["key"]: tag["value"] for tag in volume.get_tags()})

    def looked_at(self: Any, name_or_stack_id: str) -> Any:
        for stack in list(self.stacks.values()):
            if stack.status == "DELETE_IN_PROGRESS" and world.seen(stack.stack_id, world.plan.stack_looks):
                refused = _undeletable(world, stack)
                stack.status = "DELETE_FAILED" if refused else world.plan.stack_ends
                if stack.status == "DELETE_COMPLETE":
                    keep_volumes(stack)
                    delete_now(self, stack.stack_id)
                    stack.status = "DELETE_COMPLETE"
                else:  # of what, the stack says; why, its events
                    why = refused or "User: x is not authorized to perform: ec2:TerminateInstances"
                    stack.stack_status_reason = "The following resource(s) failed to delete: [HeadNode]."
                    ids = (
                        stack.stack_id,
                        stack.name,
                        "HeadNode",
                        "i-1",
                        "AWS::EC2::Instance",
                        "DELETE_FAILED",
                        why,
                        None,
                    )
                    stack.events.append(StackEvent(*ids))
                    stack._add_stack_event("DELETE_FAILED", resource_status_reason=stack.stack_status_reason)
        return describe_stacks(self, name_or_stack_id)

    CloudFormationBackend.delete_stack, CloudFormationBackend.describe_stacks = delete_stack, looked_at

    get_item = DynamoDBBackend.get_item

    def look_at_item(self: Any, *args: Any, **kwargs: Any) -> Any:
        item = get_item(self, *args, **kwargs)
        if item is not None and item.attrs["Id"].value == "COMPUTE_FLEET":
            data = getattr(item.attrs.get("Data"), "value", None)
            status = data["status"].value if isinstance(data, dict) else ""
            while status in _FLEET[:-1] and world.seen(f"{id(item)} {status}", world.plan.fleet_looks):
                status = _FLEET[_FLEET.index(status) + 1]
                data["status"].value = status
                data["lastStatusUpdatedTime"].value = str(datetime.now(UTC))
        return item

    DynamoDBBackend.get_item = look_at_item

    create_now = LambdaBackend.create_function

    def create_function(self: Any, spec: dict[str, Any]) -> Any:
        if not _trusts(spec["Role"], "lambda.amazonaws.com") or not world.seen(spec["Role"], world.plan.role_looks):
            raise InvalidParameterValueException("The role defined for the function cannot be assumed by Lambda.")
        return create_now(self, spec)

    LambdaBackend.create_function = create_function


def _page(wanted: int) -> int:
    return min(wanted, 5)  # EC2 may give fewer than asked for; five makes every list one of several pages


def _listed(world: World, snapshot: Any) -> bool:
    if snapshot.status != "pending":
        return True
    if not world.seen(f"unlisted {snapshot.id}", world.plan.unlisted_looks):
        return False
    if world.plan.snapshot_seconds is None and world.seen(snapshot.id, world.plan.snapshot_looks):
        world.ended(snapshot, world.ends[snapshot.id])
    return True


def _role(arn: str) -> Any:
    try:
        return iam_backends[ACCOUNT]["aws"].get_role_by_arn(arn)
    except Exception:  # noqa: BLE001  # moto says NoSuchEntity
        return None


def _role_policies(arn: str) -> list[dict[str, Any]]:
    role = _role(arn)
    if role is None:
        return []
    documents = [*role.policies.values(), *(policy.document for policy in role.managed_policies.values())]
    return [json.loads(document) for document in documents]


def _trusts(arn: str, service: str) -> bool:
    role = _role(arn)
    return role is not None and any(
        statement["Principal"] == {"Service": service}
        for statement in json.loads(unquote(role.assume_role_policy_document))["Statement"]
    )


def _tags_of(region: str) -> Callable[[str], dict[str, str]]:
    def tags_of(id: str) -> dict[str, str]:
        if id.startswith(("snap-", "vol-", "i-")):
            return dict(ec2_backends[ACCOUNT][region].tags.get(id, {}))
        try:
            return dict(cloudformation_backends[ACCOUNT][region].get_stack(id).tags)
        except Exception:  # noqa: BLE001  # there is none
            return {}

    return tags_of


def _undeletable(world: World, stack: Any) -> str:
    """Say why those rights with which a stack is deleted do not do; nothing if they do."""
    policies = world.deleters.get(stack.stack_id)
    if policies is None:
        return ""
    tags = {f"aws:ResourceTag/{key}": [value] for key, value in stack.tags.items()}
    for resource in stack.resource_map._parsed_resources.values():
        if not hasattr(resource, "physical_resource_id"):
            continue  # a parameter
        id, kind = resource.physical_resource_id, resource.cloudformation_type()
        needed = {
            "AWS::EC2::Volume": [
                Ask("ec2:DescribeVolumes"),
                Ask("ec2:DeleteVolume", f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{id}", tags),
            ],
            "AWS::DynamoDB::Table": [
                Ask(f"dynamodb:{name}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{id}")
                for name in ("DescribeTable", "DeleteTable")
            ],
            "AWS::EC2::Instance": [
                Ask("ec2:DescribeInstances"),
                Ask("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{id}", tags),
            ],
        }.get(kind, [])
        for ask in needed:
            if allowing(policies, ask) is None:
                return f"{id}: not authorized to perform: {ask.action}"
    return ""


class Front:
    """What stands before moto: the log, the faults, the kills."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.lock = world.lock

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # The length is known or there is no body; moto reads the body again.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = _Body(body)
        if path == "/_fake/idle":
            quiet = self.world.functions.wait(60.0)
            start("200 OK" if quiet else "504 Gateway Timeout", [])
            return [b"{}"]
        if path.endswith("/invocations") and path.startswith("/2015-03-31/functions/"):
            return self._invoke(environ, body, start)
        with self.lock:  # the log's order is the order in which things happen
            if path.startswith("/_fake/"):
                return self._fake(path.removeprefix("/_fake/"), body, start)
            return self._aws(environ, body, start)

    def _aws(self, environ: dict[str, Any], body: bytes, start: Callable[..., Any]) -> Iterable[bytes]:
        world = self.world
        call = _call(environ, body)
        fault = world.fault(call.action)
        facts: dict[str, Any] = {}
        denied = None
        if call.key in world.callers:
            denied, facts["allowed"] = world.forbids(call)
            facts["role"] = world.callers[call.key].role or call.key
        index = world.note(
            call.action, service=call.service, parameters=call.parameters, fault=fault, time=time.time(), **facts
        )
        if world.perhaps_kill(index, "before", call):
            return _hang_up(environ)
        if denied is not None:
            return _deny(call, denied, start)
        if fault in ("throttle", "error", "deny"):
            return _refuse(call.service, fault, start)
        if call.action == "DeleteStack":
            self._deleter(call)
        answer = [] if call.action == "Invoke" else list(self.moto(environ, start))
        if world.perhaps_kill(index, "after", call) or fault == "lost":
            return _hang_up(environ)
        return answer

    def _deleter(self, call: Call) -> None:
        """Remember with whose rights a stack goes: those of the role that was given, else the caller's own."""
        role = call.parameters.get("RoleARN")
        try:
            stack = cloudformation_backends[ACCOUNT][call.region].get_stack(call.parameters["StackName"])
        except Exception:  # noqa: BLE001  # there is none
            return
        if role:
            self.world.deleters[stack.stack_id] = (
                _role_policies(role) if _trusts(role, "cloudformation.amazonaws.com") else []
            )
        elif call.key in self.world.callers:
            self.world.deleters[stack.stack_id] = self.world.policies_of(self.world.callers[call.key])

    def _invoke(self, environ: dict[str, Any], body: bytes, start: Callable[..., Any]) -> Iterable[bytes]:
        """Run a function, and let others call meanwhile: it does so itself."""
        status = ""

        def note_status(said: str, headers: list[tuple[str, str]]) -> None:
            nonlocal status
            status = said
            start(said, headers)

        with self.lock:
            refused = list(self._aws(environ, body, note_status))
            if status or refused:
                return refused
            call = _call(environ, body)
            try:
                function = lambda_backends[ACCOUNT][call.region].get_function(call.parameters["FunctionName"])
            except Exception as error:  # noqa: BLE001  # moto's way to say that there is none
                start("404 Not Found", [("x-amzn-errortype", "ResourceNotFoundException")])
                return [json.dumps({"Type": "User", "Message": str(error)}).encode()]
        event = json.loads(body or b"null")
        if environ.get("HTTP_X_AMZ_INVOCATION_TYPE") == "Event":
            self.world.functions.call_later(function, event)
            start("202 Accepted", [])
            return []
        life = self.world.functions.call(function, event)
        failed = [("X-Amz-Function-Error", "Unhandled")] if life.error else []
        start("200 OK", [("Content-Type", "application/json"), *failed])
        return [json.dumps(life.error or life.result).encode()]

    def _fake(self, what: str, body: bytes, start: Callable[..., Any]) -> Iterable[bytes]:
        world, said = self.world, json.loads(body or b"{}")
        answer: Any = {}
        match what:
            case "begin":
                world.begin(Plan(**said))
            case "reset":  # moto looks through all there ever was, each time
                moto_api_backend.reset()
                world.forget()
                world.callers, world.functions.lives = {}, []
            case "process":
                world.pid = said["pid"]
            case "mark":
                index = said.get("index")
                if index is None:
                    index = world.note(said["action"], service="", parameters=said.get("parameters", {}))
                world.perhaps_kill(index, said["when"])
                answer = {"index": index}
            case "snapshot":
                world.ended(_snapshot(said["id"]), said["ends"])
            case "event":
                world.send(_snapshot(said["id"]), said["ends"])
            case "tick":
                world.tick()
            case "role":
                world.callers[said["key"]] = Caller(policies=tuple(said["policies"]))
            case "functions":
                answer = world.functions.logged()
            case "log":
                answer = world.log
            case "plan":
                answer = asdict(world.plan)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


class _Body:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        size = len(self.content) if size is None or size < 0 else size
        given, self.content = self.content[:size], self.content[size:]
        return given

    def readline(self, size: int = -1) -> bytes:
        end = self.content.find(b"\n")
        return self.read(end + 1 if end >= 0 else -1)


def _snapshot(id: str) -> Any:
    return ec2_backends[ACCOUNT][REGION].snapshots[id]


def _call(environ: dict[str, Any], body: bytes) -> Call:
    """Return what a request asks for, and some of its parameters."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    key, _, region, service = scope[:4] if len(scope) > 3 else ("", "", REGION, "")
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return Call(service, target.rpartition(".")[2], json.loads(body or b"{}"), region, key)
    if "form" in environ.get("CONTENT_TYPE", ""):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return Call(service, form.pop("Action", ""), form, region, key)
    if service == "lambda":
        return _rest_call(environ, body, region, key)
    # S3 has methods and paths where the others have actions.
    return Call(service, f"{environ['REQUEST_METHOD'].title()}Object", {"path": environ["PATH_INFO"]}, region, key)


def _rest_call(environ: dict[str, Any], body: bytes, region: str, key: str) -> Call:
    """Find which of Lambda's paths it is."""
    for name, pattern in _lambda_paths().get(environ["REQUEST_METHOD"], []):
        if found := pattern.fullmatch(environ["PATH_INFO"].rstrip("/")):
            said = json.loads(body) if body and name != "Invoke" else {}
            return Call("lambda", name, {**said, **found.groupdict()}, region, key)
    return Call("lambda", "", {}, region, key)


@functools.cache
def _lambda_paths() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    model = botocore.session.Session().get_service_model("lambda")
    paths: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name in model.operation_names:
        http = model.operation_model(name).http
        pattern = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", http["requestUri"].partition("?")[0].rstrip("/"))
        paths.setdefault(http["method"], []).append((name, re.compile(pattern)))
    return paths


def _deny(call: Call, ask: Ask, start: Callable[..., Any]) -> Iterable[bytes]:
    who = f"arn:aws:sts::{ACCOUNT}:assumed-role/emulated/session"
    message = f"User: {who} is not authorized to perform: {ask.action} on resource: {ask.resource}"
    why = f"{message} because no identity-based policy allows the {ask.action} action"
    if call.service == "ec2":
        return _said("ec2", "UnauthorizedOperation", f"You are not authorized to perform this operation. {why}", start)
    code = {"sns": "AuthorizationError", "s3": "AccessDenied", "iam": "AccessDenied", "cloudformation": "AccessDenied"}
    return _said(call.service, code.get(call.service, "AccessDeniedException"), why, start)


def _refuse(service: str, fault: str, start: Callable[..., Any]) -> Iterable[bytes]:
    code, status = {
        "throttle": ("RequestLimitExceeded" if service == "ec2" else "Throttling", "400 Bad Request"),
        "error": ("InternalError", "500 Internal Server Error"),
        "deny": ("UnauthorizedOperation" if service == "ec2" else "AccessDenied", "403 Forbidden"),
    }[fault]
    return _said(service, code, f"as the plan says: {fault}", start, status)


def _said(
    service: str, code: str, message: str, start: Callable[..., Any], status: str = "403 Forbidden"
) -> Iterable[bytes]:
    """Say no in the words of a service."""
    if service in _SPEAK_JSON:
        start(status, [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", code)])
        return [json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": message}).encode()]
    start(status, [("Content-Type", "text/xml")])
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if service == "ec2":
        return [f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode()]
    if service == "s3":
        return [error.encode()]
    return [f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()]


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return []


def main(port_file: Path, address: str = "127.0.0.1", port: str = "0") -> None:
    """Serve until the standard input ends, which it does when whoever started this is gone."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    world = World()
    patch(world)
    server = make_server(address, int(port), Front(world), threaded=True)
    world.functions.endpoint = f"http://{address}:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.server_port))
    temporary.replace(port_file)
    sys.stdin.read()
    world.functions.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

"""An AWS on loopback, in a process of its own: moto, and what it leaves out of snapshots, fleets, stacks and faults.

python -m tests.aws.emulator PORT_FILE

Whatever takes time on AWS takes a number of looks here, so that a run makes the same calls each time. Besides AWS's own
calls it takes, as JSON: POST /_fake/begin (a plan, see `Plan`; forgets the log), /_fake/reset (forgets all of
AWS), /_fake/process (whose pid is to be
killed), /_fake/mark (something that is no call, such as a rename), GET /_fake/log.
"""

import json
import logging
import os
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
from urllib.parse import parse_qs

from moto.cloudformation.models import CloudFormationBackend
from moto.core.responses import ActionResult
from moto.dynamodb.models import DynamoDBBackend
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_FLEET = ["STOP_REQUESTED", "STOPPING", "STOPPED"]


@dataclass
class Plan:
    """How long things take, in looks, and how they end."""

    snapshot_looks: int | None = 2
    """How often a new snapshot is listed as pending; None: always."""
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
    faults: list[dict[str, Any]] = field(default_factory=list)
    """{action, kind: throttle|error|deny|lost, times, after}: the calls from the `after`-th on fare like this."""
    kill: dict[str, Any] = field(default_factory=dict)
    """{index, when: before|after}: SIGKILL for the process, at this entry of the log."""


class World:
    """What the emulator knows beyond moto."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.log: list[dict[str, Any]] = []
        self.pid = 0
        self.looks: dict[str, int] = {}
        self.ends: dict[str, str] = {}

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

    def perhaps_kill(self, index: int, when: str) -> bool:
        """Kill the process if the plan says here."""
        if self.pid and self.plan.kill == {"index": index, "when": when}:
            os.kill(self.pid, signal.SIGKILL)
            return True
        return False

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
            world.ends[snapshot.id] = world.plan.snapshot_ends.pop(0) if world.plan.snapshot_ends else "completed"
        return snapshot

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

    def looked_at(self: Any, name_or_stack_id: str) -> Any:
        for stack in list(self.stacks.values()):
            if stack.status == "DELETE_IN_PROGRESS" and world.seen(stack.stack_id, world.plan.stack_looks):
                stack.status = world.plan.stack_ends
                if stack.status == "DELETE_COMPLETE":
                    delete_now(self, stack.stack_id)
                    stack.status = "DELETE_COMPLETE"
                else:
                    stack.stack_status_reason = "The following resource(s) failed to delete: [HeadNode]."
        return describe_stacks(self, name_or_stack_id)

    CloudFormationBackend.delete_stack, CloudFormationBackend.describe_stacks = delete_stack, looked_at

    get_item = DynamoDBBackend.get_item

    def look_at_item(self: Any, *args: Any, **kwargs: Any) -> Any:
        item = get_item(self, *args, **kwargs)
        if item is not None and item.attrs["Id"].value == "COMPUTE_FLEET":
            data = item.attrs["Data"].value
            status = data["status"].value
            if status in _FLEET[:-1] and world.seen(f"{id(item)} {status}", world.plan.fleet_looks):
                data["status"].value = _FLEET[_FLEET.index(status) + 1]
                data["lastStatusUpdatedTime"].value = str(datetime.now(UTC))
        return item

    DynamoDBBackend.get_item = look_at_item


def _page(wanted: int) -> int:
    return min(wanted, 5)  # EC2 may give fewer than asked for; five makes every list one of several pages


def _listed(world: World, snapshot: Any) -> bool:
    if snapshot.status != "pending":
        return True
    if not world.seen(f"unlisted {snapshot.id}", world.plan.unlisted_looks):
        return False
    if world.seen(snapshot.id, world.plan.snapshot_looks):
        snapshot.status = world.ends[snapshot.id]
    return True


class Front:
    """What stands before moto: the log, the faults, the kills."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        # The length is known or there is no body; moto reads the body again.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = _Body(body)
        with self.lock:  # the log's order is the order in which things happen
            if path.startswith("/_fake/"):
                return self._fake(path.removeprefix("/_fake/"), body, start)
            return self._aws(environ, body, start)

    def _aws(self, environ: dict[str, Any], body: bytes, start: Callable[..., Any]) -> Iterable[bytes]:
        world = self.world
        service, action, parameters = _call(environ, body)
        fault = world.fault(action)
        index = world.note(action, service=service, parameters=parameters, fault=fault, time=time.time())
        if world.perhaps_kill(index, "before"):
            return _hang_up(environ)
        if fault in ("throttle", "error", "deny"):
            return _refuse(service, fault, start)
        answer = list(self.moto(environ, start))
        if world.perhaps_kill(index, "after") or fault == "lost":
            return _hang_up(environ)
        return answer

    def _fake(self, what: str, body: bytes, start: Callable[..., Any]) -> Iterable[bytes]:
        world, said = self.world, json.loads(body or b"{}")
        answer: Any = {}
        match what:
            case "begin":
                world.begin(Plan(**said))
            case "reset":  # moto looks through all there ever was, each time
                moto_api_backend.reset()
                world.looks, world.ends = {}, {}
            case "process":
                world.pid = said["pid"]
            case "mark":
                index = said.get("index")
                if index is None:
                    index = world.note(said["action"], service="", parameters=said.get("parameters", {}))
                world.perhaps_kill(index, said["when"])
                answer = {"index": index}
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


def _call(environ: dict[str, Any], body: bytes) -> tuple[str, str, dict[str, Any]]:
    """Return the service, the action and some parameters of a request."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")
    service = scope[3] if len(scope) > 3 else ""
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return service, target.rpartition(".")[2], json.loads(body or b"{}")
    if "form" in environ.get("CONTENT_TYPE", ""):
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        return service, form.pop("Action", ""), form
    # S3 has methods and paths where the others have actions.
    return service, f"{environ['REQUEST_METHOD'].title()}Object", {"path": environ["PATH_INFO"]}


def _refuse(service: str, fault: str, start: Callable[..., Any]) -> Iterable[bytes]:
    code, status = {
        "throttle": ("RequestLimitExceeded" if service == "ec2" else "Throttling", "400 Bad Request"),
        "error": ("InternalError", "500 Internal Server Error"),
        "deny": ("UnauthorizedOperation" if service == "ec2" else "AccessDenied", "403 Forbidden"),
    }[fault]
    if service == "dynamodb":
        start(status, [("Content-Type", "application/x-amz-json-1.0")])
        return [json.dumps({"__type": f"com.amazon.coral.service#{code}", "message": fault}).encode()]
    start(status, [("Content-Type", "text/xml")])
    error = f"<Error><Code>{code}</Code><Message>as the plan says: {fault}</Message></Error>"
    if service == "ec2":
        return [f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>".encode()]
    if service == "s3":
        return [error.encode()]
    return [f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()]


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return []


def main(port_file: Path) -> None:
    """Serve until the standard input ends, which it does when whoever started this is gone."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    world = World()
    patch(world)
    server = make_server("127.0.0.1", 0, Front(world), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.server_port))
    temporary.replace(port_file)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

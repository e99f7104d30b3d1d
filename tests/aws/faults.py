"""What goes wrong at the end of a run, how the tests bring it about, and what becomes of it: the table of the README.

python -m tests.aws.faults   prints it
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cluster.aws.act import Tools
from cluster.aws.actions import Action, Repoint
from cluster.aws.finalize import Finalizer
from cluster.aws.lease import Lease
from cluster.aws.settings import PINNED, SET
from cluster.aws.state import Outcome
from cluster.aws.sweep import sweep
from cluster.errors import ClusterError
from tests.aws.world import Cluster, make_snapshot

GOOD = Outcome(True, "41 tasks, 3 h")
Left = Literal["all as it should", "nothing", "older snapshots only", "all but the cluster"]
"""What was deleted: the older snapshots and the cluster; nothing, and the configuration is as it was; ..."""
_DELETED = {
    "all as it should": "what should",
    "nothing": "nothing",
    "older snapshots only": "older snapshots",
    "all but the cluster": "parts of the cluster",
}
_CALLS = ("DescribeSnapshots", "DescribeStacks", "DescribeVolumes", "GetItem", "PutItem", "UpdateItem", "CreateTags",
          "CreateSnapshot", "DeleteSnapshot", "DeleteStack")  # fmt: skip
DONE, SAFE, UNPROVEN, FAILED = "run done", "snapshot completed", "data NOT proven safe", "run FAILED"
_OLD, _OLDEST = "snap-0123456789abcdef0", "(the oldest)"


def finalize(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    """End the run as everybody does."""
    Finalizer(cluster.settings(**settings), GOOD, tools).finalize()


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    then: str
    """What becomes of it, in words."""
    exit_code: int = 0
    says: str = ""
    """Part of the error's message."""
    deleted: Left = "all as it should"
    told: tuple[str, ...] = (DONE, SAFE)
    plan: dict[str, Any] = field(default_factory=dict)
    """Of the emulator."""
    settings: dict[str, Any] = field(default_factory=dict)
    world: dict[str, Any] = field(default_factory=dict)
    """Of the cluster."""
    before: Callable[[Cluster], Any] = lambda _cluster: None
    """Done to the world before; snapshots that it returns must stay."""
    run: Callable[..., None] = finalize
    tools: dict[str, Any] = field(default_factory=dict)
    again: bool = False
    """Whether the same command, once the cause is gone, ends the run; the tests do it."""


def _at_each_call(kind: str) -> dict[str, Any]:
    return {"faults": [{"action": action, "kind": kind, "times": 2} for action in _CALLS], "stack_looks": 0}


def _always(action: str, kind: str) -> dict[str, Any]:
    return {"faults": [{"action": action, "kind": kind}]}


def _config(change: Callable[[bytes], bytes]) -> Callable[[Cluster], None]:
    def write(cluster: Cluster) -> None:
        cluster.text = change(cluster.text)
        cluster.config.write_bytes(cluster.text)

    return write


def _replaced(old: str, new: str) -> Callable[[Cluster], None]:
    return _config(lambda text: text.replace(old.encode(), new.encode()))


def _twice_named(cluster: Cluster) -> None:
    _config(lambda text: text.replace(b"        Deletion", f"        SnapshotId: {_OLD}\n        Deletion".encode()))(
        cluster
    )


def _new_volume(cluster: Cluster) -> None:
    """Take the snapshot out of the configuration; where it comes in, the text that it is compared with has it."""
    line = f"        SnapshotId: {cluster.old[-1]}\n".encode()
    cluster.text = re.sub(rb" *SnapshotId: .*'quoted'.*\n", b"        Size: 10  # GB\n" + line, cluster.text)
    cluster.config.write_bytes(cluster.text.replace(line, b""))


def _foreign_volume(cluster: Cluster) -> list[str]:
    tags = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "raypipe-data"}]}]
    zone = f"{cluster.aws.region}a"
    made = cluster.aws.ec2.create_volume(AvailabilityZone=zone, Size=10, TagSpecifications=tags)["VolumeId"]
    return [make_snapshot(cluster.aws, made, {"Name": "theirs"})]


def _plain_stack(cluster: Cluster) -> None:
    cluster.aws.cloudformation.create_stack(StackName="website", TemplateBody='{"Resources": {}}')


def _name_used_again(cluster: Cluster) -> None:
    """Let another cluster have the name by now."""
    cluster.aws.cloudformation.delete_stack(StackName=cluster.stack)
    while cluster.status() != "DELETE_COMPLETE":
        pass
    tags = [{"Key": "parallelcluster:version", "Value": "3.16.1"}, {"Key": "raypipe:managed", "Value": "true"}]
    cluster.aws.cloudformation.create_stack(StackName=cluster.name, TemplateBody='{"Resources": {}}', Tags=tags)


def _finalize_by_id(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    finalize(cluster, tools, cluster=cluster.stack, snapshots=cluster.name, **settings)


def _three_at_once(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    ends: list[object] = []

    def run() -> None:
        try:
            finalize(cluster, tools, **settings)
        except ClusterError as error:
            ends.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == []
    assert cluster.emulator.actions().count("CreateSnapshot") == 1


def _another_holds_the_lease(cluster: Cluster) -> None:
    assert Lease(cluster.aws.dynamodb, cluster.name, "another", 60.0).take()


def _without_waiting(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    Finalizer(cluster.settings(**settings), GOOD, tools).finalize(wait_for_others=False)


def _config_changed_meanwhile(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    def heard(action: Action, _text: str) -> None:
        if isinstance(action, Repoint) and not cluster.text.endswith(b"# mine\n"):
            _config(lambda text: text + b"# mine\n")(cluster)

    Finalizer(cluster.settings(**settings), GOOD, tools, heard=heard).finalize()


def _outputs_do_not_hold(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    Finalizer(cluster.settings(**settings), GOOD, tools, verify=lambda: ["rplraw_d41d.hkl: torn"]).finalize()


def _gone_on_with_by_a_sweep(cluster: Cluster, tools: Tools, /, **settings: Any) -> None:
    """Die when the snapshot is begun, and let nothing but the timer come."""
    first = Finalizer(cluster.settings(**settings), GOOD, tools)
    while not cluster.of_run():
        first.advance()
    cluster.lease_runs_out()
    for _ in range(4):
        sweep(tools, cluster.name, seconds=2.0, every=0.01)


_HANGS: dict[str, Any] = {"patience_seconds": 0.2}
_NOT_BEGUN: dict[str, Any] = {"exit_code": 3, "deleted": "nothing", "told": ()}
_REFUSED_YAML = "refused before anything is done, and said why"

FAULTS = (
    # AWS itself
    Fault("AWS throttles, at each call", "tried again, for a quarter of an hour", plan=_at_each_call("throttle")),
    Fault("AWS answers with errors (500), at each call", "the same", plan=_at_each_call("error")),
    Fault(
        "the answer is lost, at each call",
        "it looks whether the call had its effect before it does it again; one snapshot",
        plan=_at_each_call("lost"),
    ),
    Fault(
        "AWS is silent for longer", "it gives up; the same command goes on later",
        4, "DescribeStacks: InternalError", "nothing", (), _always("DescribeStacks", "error"), _HANGS, again=True,
    ),
    Fault(
        "a new snapshot is not listed at once", "waited for, since it was announced on the volume",
        plan={"faults": [{"action": "CreateSnapshot", "kind": "lost", "times": 1}], "unlisted_looks": 2},
        settings={"settle_seconds": 2.0},
    ),
    Fault(
        "and not for longer than is usual", "made again; the twin is deleted when it is seen",
        plan={"faults": [{"action": "CreateSnapshot", "kind": "lost", "times": 1}], "unlisted_looks": 8},
        settings={"settle_seconds": 0.0},
    ),
    Fault(
        "no right to look", "it stops, and names the call", 4, "DescribeSnapshots: UnauthorizedOperation", "nothing", (),
        _always("DescribeSnapshots", "deny"), again=True,
    ),
    Fault(
        "no right to write the cluster's table", "the same", 4, "PutItem.*AccessDenied", "nothing", (),
        _always("PutItem", "deny"), again=True,
    ),
    Fault(
        "no right to stop the fleet", "the same", 4, "UpdateItem.*AccessDenied", "nothing", (DONE,),
        _always("UpdateItem", "deny"), again=True,
    ),
    Fault(
        "no right to make a snapshot", "the same", 4, "CreateSnapshot: UnauthorizedOperation", "nothing", (DONE,),
        _always("CreateSnapshot", "deny"), again=True,
    ),
    Fault(
        "no right to delete snapshots", "the data are safe and named; the cluster stays",
        4, "DeleteSnapshot.*UnauthorizedOperation", "older snapshots only", (DONE,), _always("DeleteSnapshot", "deny"), again=True,
    ),
    Fault(
        "no right to delete the cluster", "the data are safe and named; the cluster stays",
        4, "DeleteStack: AccessDenied", "older snapshots only", plan=_always("DeleteStack", "deny"), again=True,
    ),
    # Snapshots
    Fault("the snapshot ends in an error", "made once more", plan={"snapshot_ends": ["error", "completed"]}),
    Fault(
        "and in an error again", "it gives up; the cluster and all that was there stay", 5, "2 snapshots of run run-1 ended in an error",
        "nothing", (DONE, UNPROVEN), {"snapshot_ends": ["error"] * 5},
    ),
    Fault(
        "the snapshot never ends", "after 12 hours it gives up; the same command goes on later", 5, "still pending", "nothing",
        (DONE, UNPROVEN), {"snapshot_looks": None}, {"snapshot_seconds": 1.5}, again=True,
    ),
    Fault(
        "snapshots of others, or of other clusters, of the same volume", "they stay",
        before=lambda cluster: [cluster.snapshot("old-12", age=12, **{SET: "another"})],
    ),
    Fault(
        "a snapshot that is pinned (tag `raypipe:pinned`)", "it stays, and is not counted",
        before=lambda cluster: [cluster.snapshot("old-11", age=11, **{PINNED: "the paper's"})],
    ),
    Fault(
        "a snapshot that an image uses", "it stays; the rest goes on",
        plan={"in_use": [_OLDEST]}, before=lambda cluster: cluster.old[:1],
    ),
    # Clusters and volumes
    Fault("another volume of the same name, not the cluster's", "left alone", before=_foreign_volume),
    Fault("two volumes in the cluster", "the one whose Name the configuration gives the mount", world={"volumes": 2}),
    Fault(
        "two volumes, and no such Name", "refused: the volume's id must be given", says="cannot be told", **_NOT_BEGUN,
        world={"volumes": 2}, before=_replaced("raypipe-data", "unheard-of"),
    ),
    Fault("no cluster of this name", "refused", says="no cluster 'nobody'", settings={"cluster": "nobody", "snapshots": "s"}, **_NOT_BEGUN),
    Fault(
        "a stack that is no cluster", "refused", says="not made by ParallelCluster", before=_plain_stack,
        settings={"cluster": "website"}, **_NOT_BEGUN,
    ),
    Fault(
        "a cluster that raypipe did not make", "refused, unless its stack's id is given", says="raypipe:managed",
        world={"managed": "false"}, **_NOT_BEGUN,
    ),
    Fault(
        "the name is another cluster's by now", "the stack's id tells; the other one is left alone",
        5, "DELETE_COMPLETE, and there is no snapshot", "nothing", (), before=_name_used_again, run=_finalize_by_id,
    ),
    Fault(
        "the fleet does not stop", "after half an hour it gives up, without a snapshot", 75, "still STOP_REQUESTED", "nothing", (DONE,),
        {"fleet_looks": None}, {"fleet_seconds": 0.5}, again=True,
    ),
    Fault(
        "the cluster's deletion fails", "the data are safe; what CloudFormation says is passed on", 4, r"failed to delete: \[HeadNode\]",
        "all but the cluster", plan={"stack_ends": "DELETE_FAILED"},
    ),
    Fault(
        "the cluster's deletion does not end", "after an hour it gives up; the data are safe", 4, "still being deleted", "all but the cluster",
        plan={"stack_looks": None}, settings={"delete_seconds": 0.5},
    ),
    Fault(
        "there is no pcluster", "it stops", 4, "no 'no-such-pcluster'", "nothing", (DONE,), tools={"pcluster": ("no-such-pcluster",)},
        again=True,
    ),
    # Others
    Fault("three at once", "one works, the others wait for it", run=_three_at_once),
    Fault(
        "another is at work, and waiting is not wanted", "it leaves", 75, "another finalizer is at work", "nothing", (),
        before=_another_holds_the_lease, run=_without_waiting, again=True,
    ),
    Fault(
        "somebody changes the configuration meanwhile", "it stops; the same command takes the change along",
        3, "changed by somebody else", "nothing", (DONE,), run=_config_changed_meanwhile, again=True,
    ),
    Fault("people cannot be told (SNS is down)", "written to the log", plan=_always("Publish", "error"), told=()),
    Fault("the event of the snapshot's end is lost, or the finalizer dies", "the hourly sweep goes on", run=_gone_on_with_by_a_sweep),
    Fault(
        "outputs do not hold what was written", "a failed run: a snapshot, the fleet stopped, the cluster kept", deleted="nothing",
        told=(FAILED, SAFE), run=_outputs_do_not_hold,
    ),
    # Configurations
    Fault("configuration: CRLF", "one word changes", before=_config(lambda text: text.replace(b"\r", b"").replace(b"\n", b"\r\n"))),
    Fault("configuration: quotes, comments that name a snapshot, two mounts", "one word changes"),
    Fault("configuration: braces, keys in quotes", "one word changes", before=_config(
        lambda text: text.replace(b"\n        SnapshotId", b' {"SnapshotId"').replace(b"\n        Del", b"\n         , Del").replace(b"Policy: Snapshot\n", b"Policy: Snapshot}\n"),
    )),
    Fault("configuration: a byte order mark, letters beyond ASCII", "one word changes", before=_config(
        lambda text: "\ufeff# é 漢 🧠\n".encode() + text,
    )),
    Fault("configuration: a new volume, without a SnapshotId", "it comes in as a line beside the Size", before=_new_volume),
    Fault("configuration: the mount without its slash", "taken for the same", before=_replaced("MountDir: /data", "MountDir: data")),
    Fault("configuration: a document's marks", "one word changes", before=_config(lambda text: b"---\n" + text + b"...\n")),
    Fault("configuration: SnapshotId twice", _REFUSED_YAML, says="a second SnapshotId", before=_twice_named, **_NOT_BEGUN),
    Fault("configuration: the mount twice", _REFUSED_YAML, says="has 2 volumes", before=_replaced("/home2", "/data"), **_NOT_BEGUN),
    Fault("configuration: no such mount", _REFUSED_YAML, says="no volumes at /nowhere", settings={"mount": "/nowhere"}, **_NOT_BEGUN),
    Fault("configuration: an anchor at the SnapshotId", _REFUSED_YAML, says="is written as", before=_replaced("SnapshotId: \"", "SnapshotId: &s \""), **_NOT_BEGUN),
    Fault("configuration: tabs for blanks, or no YAML", _REFUSED_YAML, says="no YAML", before=_replaced("        Del", "\tDel"), **_NOT_BEGUN),
    Fault("configuration: two documents", _REFUSED_YAML, says="no YAML", before=_config(lambda text: text + b"---\n" + text), **_NOT_BEGUN),
    Fault("configuration: a volume that is there without the cluster", _REFUSED_YAML, says="stays without it", before=_replaced("        Del", "        VolumeId: vol-0123456789abcdef0\n        Del"), **_NOT_BEGUN),
    Fault("configuration: it is not there", _REFUSED_YAML, says="cannot be read", before=lambda cluster: cluster.config.unlink(), **_NOT_BEGUN),
)  # fmt: skip


def table() -> str:
    """Return the table as the README has it."""
    rows = ["| what goes wrong | what then | deleted | people are told | exit code |", "|---|---|---|---|---|"]
    rows += [
        f"| {one.name} | {one.then} | {_DELETED[one.deleted]} | {', '.join(one.told) or 'nothing'} | {one.exit_code} |"
        for one in FAULTS
    ]
    return "\n".join(rows) + "\n"


def tools_of(cluster: Cluster, fault: Fault, topic: str) -> Tools:
    """Return the tools that a fault leaves, with a topic to tell people by."""
    return replace(Tools(cluster.aws, None, channels=(topic,)), **fault.tools)


def plan_of(cluster: Cluster, fault: Fault) -> dict[str, Any]:
    """Return how the emulator is to behave."""
    return fault.plan | ({"in_use": [cluster.old[0]]} if fault.plan.get("in_use") == [_OLDEST] else {})


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201

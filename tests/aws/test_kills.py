"""SIGKILL at every call and every rename, then the same again: nothing is lost at any moment, and it ends as it should."""

import io
import json
import multiprocessing
import signal
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import boto3
import pytest

from cluster.aws.act import Tools
from cluster.aws.config_store import read_config
from cluster.aws.finalize import Finalizer
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Outcome
from cluster.aws.sweep import sweep
from tests.aws import runner
from tests.aws.world import PCLUSTER, Cluster

_LOOKS = {"snapshot_looks": 0, "fleet_looks": 0, "stack_looks": 0}
_LOOKING = ("Describe", "Get")
_NAME = "raypipe-here"
"""Of the function, and of the role that deletes the stack."""
Place = Literal["file", "bucket"]
Site = tuple[int, str, str]
"""Of the log: where, what, before or after."""


@dataclass(frozen=True)
class Way:
    """One way in which a run ends."""

    good: bool = True
    place: Place = "file"
    by_tool: bool = False
    """Whether the fleet is stopped by pcluster's command."""
    hands_over: bool = False

    def tools(self, cluster: Cluster) -> Tools:
        pcluster = PCLUSTER if self.by_tool else None
        if not self.hands_over:
            return Tools(cluster.aws, pcluster)
        return Tools(cluster.aws, pcluster, function=_NAME, delete_role=f"arn:aws:iam::123456789012:role/{_NAME}")

    def settings(self, cluster: Cluster) -> FinalizeSettings:
        where = str(cluster.config) if self.place == "file" else f"s3://lab/{cluster.name}.yaml"
        return cluster.settings(config=where, settle_seconds=0.05)

    def begin(self, make: Callable[..., Cluster], function: Callable[[Cluster], None]) -> Cluster:
        """Make the world anew."""
        cluster = make()
        if self.place == "bucket":
            there = {"LocationConstraint": cluster.aws.region}
            cluster.aws.s3.create_bucket(Bucket="lab", CreateBucketConfiguration=there)
            cluster.aws.s3.put_object(Bucket="lab", Key=f"{cluster.name}.yaml", Body=cluster.text)
        if self.hands_over:
            function(cluster)
        return cluster

    def again(self, cluster: Cluster) -> None:
        """Do it once more, and what follows, to the end."""
        cluster.lease_runs_out()
        tools = self.tools(cluster)
        Finalizer(self.settings(cluster), Outcome(self.good, ""), tools, stays=not self.hands_over).finalize()
        for _ in range(3 if self.hands_over else 0):  # a snapshot is not waited for: its event wakes the function again
            sweep(replace(tools, pcluster=None), cluster.name, seconds=5.0, every=0.01)

    def named(self, cluster: Cluster) -> str:
        """Return the snapshot that the configuration names; every other byte is what it was."""
        text = read_config(self.settings(cluster).config, cluster.aws.s3).text
        start, end = cluster.text.split(cluster.old[-1].encode())
        assert text.startswith(start) and text.endswith(end)
        return text[len(start) : len(text) - len(end)].decode()

    def assert_nothing_lost(self, cluster: Cluster, keep: int = 2) -> None:
        """What holds at every moment, whatever was killed where."""
        found = cluster.snapshots()
        completed = {id for id, one in found.items() if one["State"] == "completed"}
        mine, named = cluster.of_run(), self.named(cluster)
        assert len(mine) <= 1
        assert cluster.foreign in completed
        assert named in completed
        assert len(completed - {cluster.foreign}) >= keep
        if not set(mine) & completed:
            assert set(cluster.old) <= completed
            assert named == cluster.old[-1]
        if not set(cluster.old) <= completed or cluster.status().startswith("DELETE"):
            assert self.good
            assert named == mine[0]

    def assert_ended(self, cluster: Cluster) -> None:
        """What holds in the end: exactly one snapshot of the run, and nothing half done."""
        (new,) = cluster.of_run()
        if self.good:
            assert cluster.status() == "DELETE_COMPLETE"
            assert self.named(cluster) == new
            assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
        else:
            assert (cluster.status(), cluster.fleet()) == ("CREATE_COMPLETE", "STOPPED")
            assert self.named(cluster) == cluster.old[-1]
            assert set(cluster.snapshots()) == {new, *cluster.old, cluster.foreign}
        backup = {f".before-{new}"} if self.good else set()
        leftovers = {path.name for path in cluster.config.parent.iterdir() if cluster.name in path.name}
        if self.place == "file":
            assert leftovers == {f"{cluster.config.name}{end}" for end in {"", *backup}}
        else:
            keys = {one["Key"] for one in cluster.aws.s3.list_objects_v2(Bucket="lab")["Contents"]}
            assert keys == {f"{cluster.name}.yaml{end}" for end in {"", *backup}}


@dataclass
class Killer:
    """Has a run ended in a process of its own, and kills that."""

    make: Callable[..., Cluster]
    function: Callable[[Cluster], None]
    processes: Any

    def sites(self, way: Way) -> list[Site]:
        """Let a run end unhurt; return where the next could be killed: before each entry, and after what changes something."""
        cluster = self.begin(way)
        assert self.run(way, cluster) == 0
        log = cluster.emulator.log()
        invoked = [entry["index"] for entry in log if entry["action"] == "Invoke"]
        log = log[: invoked[0] + 1] if invoked else log  # what comes then, the function does at the same time
        way.again(cluster)
        way.assert_ended(cluster)
        return [
            (entry["index"], entry["action"], when)
            for entry in log
            for when in ("before", "after")
            if when == "before" or not entry["action"].startswith(_LOOKING)
        ]

    def kill(self, way: Way, *sites: Site) -> None:
        """Kill one run after the other, each at its site (if it comes so far), and let the last end."""
        cluster = self.begin(way)
        try:
            for number, (index, action, when) in enumerate(sites):
                cluster.lease_runs_out()
                ended = self.run(way, cluster, kill={"index": index, "when": when})
                (*_, last) = cluster.emulator.log()
                if number == 0:
                    assert (ended, last["index"], last["action"]) == (-signal.SIGKILL, index, action)
                assert ended in (0, -signal.SIGKILL)
                way.assert_nothing_lost(cluster)
            way.again(cluster)
            way.assert_ended(cluster)
        except Exception as error:
            error.add_note(f"killed at {sites}")
            raise

    def begin(self, way: Way) -> Cluster:
        return way.begin(self.make, self.function)

    def run(self, way: Way, cluster: Cluster, **plan: Any) -> int:
        """Return how the process ended."""
        cluster.emulator.begin(**(_LOOKS | plan))
        told = (cluster.emulator.url, way.settings(cluster), way.good, replace(way.tools(cluster), aws=None))
        process = self.processes.Process(target=runner.run, args=(*told, not way.hands_over))
        process.start()
        process.join()
        cluster.emulator.fake("process", pid=0)  # it came to its end, or was killed: from now on it is us who call
        assert process.exitcode is not None
        return int(process.exitcode)


@pytest.fixture(scope="session")
def processes(emulator: Any) -> Any:
    """Where processes come from that have our modules and clients already (made for this emulator)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.aws.runner"])
    return context


@pytest.fixture
def killer(make: Callable[..., Cluster], emulator: Any, processes: Any) -> Killer:
    def anew() -> Cluster:
        emulator.fake("reset")
        return make()

    return Killer(anew, make_function, processes)


def make_function(cluster: Cluster) -> None:
    """Make a function that can be woken and does nothing: what it would do, `Way.again` does."""

    def policy(*allowed: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in allowed]})

    roles, services = boto3.client("iam"), ("lambda", "cloudformation")
    trusts = [{"Action": "sts:AssumeRole", "Principal": {"Service": f"{one}.amazonaws.com"}} for one in services]
    role = roles.create_role(RoleName=_NAME, AssumeRolePolicyDocument=policy(*trusts))["Role"]["Arn"]
    everything = policy({"Action": "*", "Resource": "*"})
    roles.put_role_policy(RoleName=_NAME, PolicyName="all", PolicyDocument=everything)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("nothing.py", "def handler(event, context):\n    pass\n")
    made = {"Role": role, "Runtime": "python3.13", "Handler": "nothing.handler"}
    cluster.aws.functions.create_function(FunctionName=_NAME, Code={"ZipFile": zipped.getvalue()}, **made)


def every(step: int, sites: Sequence[Site], first: int = 0) -> list[Site]:
    """Take some of the sites, the same each time."""
    return list(sites[first::step])


def test_killed_anywhere_and_run_again(killer: Killer) -> None:
    sites = killer.sites(Way())
    names = [name for _, name, when in sites if when == "before"]
    assert names.count("Rename") == 2  # the copy of what it was, and the configuration
    assert {"CreateTags", "UpdateItem", "CreateSnapshot", "DeleteSnapshot", "DeleteStack", "PutItem"} <= set(names)
    for site in sites:
        killer.kill(Way(), site)


WAYS = {
    "a failed run": (Way(good=False), 6),
    "the configuration in S3": (Way(place="bucket"), 12),
    "the fleet by pcluster": (Way(by_tool=True), 16),
    "handed over": (Way(place="bucket", hands_over=True), 5),
}


@pytest.mark.parametrize(("way", "step"), WAYS.values(), ids=WAYS)
def test_killed_here_and_there_on_other_ways(killer: Killer, way: Way, step: int) -> None:
    sites = killer.sites(way)
    (effects, looks) = ([one for one in sites if one[1].startswith(_LOOKING) is looks] for looks in (False, True))
    for site in every(step, effects) + every(3 * step, looks, 1):
        killer.kill(way, site)


def test_killed_again_in_the_run_that_goes_on(killer: Killer) -> None:
    sites = killer.sites(Way())
    for number, first in enumerate(every(15, sites, 3)):
        second = sites[(5 + 7 * number) % len(sites)]
        killer.kill(Way(), first, second, (2 + number, "", "after"))


def test_the_stack_goes_by_the_role_that_was_given(killer: Killer) -> None:
    way = WAYS["handed over"][0]
    cluster = killer.begin(way)
    assert killer.run(way, cluster) == 0
    way.again(cluster)
    (asked,) = [entry["parameters"] for entry in cluster.emulator.log() if entry["action"] == "DeleteStack"]
    assert (asked["StackName"], asked["RoleARN"]) == (cluster.stack, way.tools(cluster).delete_role)

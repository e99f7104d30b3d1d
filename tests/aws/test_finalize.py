"""The end of a run, over HTTP against an emulated AWS."""

from cluster.aws.actions import Done
from cluster.aws.finalize import Finalizer
from cluster.aws.state import Outcome
from tests.aws.world import Cluster

GOOD = Outcome(True, "41 tasks, 3 h")


def test_a_good_run_leaves_its_snapshot_the_newest_one_before_and_no_cluster(cluster: Cluster) -> None:
    done = Finalizer(cluster.settings(), GOOD, cluster.tools).finalize()

    (new,) = cluster.of_run()
    assert done == Done(f"{new} holds the data; the cluster is gone")
    assert cluster.status() == "DELETE_COMPLETE"
    assert cluster.named() == new
    assert set(cluster.snapshots()) == {new, cluster.old[-1], cluster.foreign}
    assert (cluster.config.parent / f"{cluster.config.name}.before-{new}").read_bytes() == cluster.text
    assert cluster.emulator.actions() == [
        "CreateTags", "CreateTags", "CreateSnapshot", "DeleteSnapshot", "DeleteSnapshot", "CreateTags", "DeleteStack",
    ]  # fmt: skip

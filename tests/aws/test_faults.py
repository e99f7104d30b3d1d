"""Each fault of the table is brought about, and what becomes of it is what the table says."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cluster.aws.calls import Aws, connect
from cluster.errors import ClusterError
from tests.aws.faults import DONE, FAILED, FAULTS, SAFE, UNPROVEN, Fault, finalize, plan_of, table, tools_of
from tests.aws.world import Cluster, Emulator, make_cluster

README = Path(__file__).parents[2] / "README.md"
_SUBJECTS = {"run-1 done": DONE, "completed": SAFE, "NOT proven safe": UNPROVEN, "FAILED": FAILED}


@pytest.fixture(scope="module")
def clients(emulator: Emulator) -> Aws:
    """Clients that try once: whatever goes wrong gets through to us."""
    return connect("ap-southeast-1", tries=1)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_becomes_of_it(fault: Fault, clients: Aws, emulator: Emulator, tmp_path: Path) -> None:
    emulator.fake("reset")
    cluster = make_cluster(clients, emulator, tmp_path, **fault.world)
    topic = clients.sns.create_topic(Name="ends")["TopicArn"]
    stay = fault.before(cluster) or []
    status, tools = cluster.status(), tools_of(cluster, fault, topic)
    cluster.emulator.begin(**plan_of(cluster, fault))

    error = _error_of(lambda: fault.run(cluster, tools, **fault.settings))

    exit_code, message = (error.exit_code, error.message) if error else (0, "")
    assert exit_code == fault.exit_code, message
    assert re.search(fault.says, message), message
    assert error is None or error.hint
    assert _told(cluster) == list(fault.told)
    cluster.emulator.begin()
    _check_left(cluster, fault, stay, status)

    if fault.again:
        cluster.lease_runs_out()
        finalize(cluster, tools_of(cluster, Fault("", ""), topic))
        _check_left(cluster, Fault("", ""), stay, status)


def test_the_readme_has_this_table() -> None:
    assert table() in README.read_text(encoding="utf-8")


def _error_of(run: Callable[[], None]) -> ClusterError | None:
    try:
        run()
    except ClusterError as error:
        return error
    return None


def _told(cluster: Cluster) -> list[str]:
    """Return what people were told, each once, as the table says it."""
    subjects = [
        entry["parameters"]["Subject"]
        for entry in cluster.emulator.log()
        if entry["action"] == "Publish" and not entry["fault"]
    ]
    words = [next(word for end, word in _SUBJECTS.items() if subject.endswith(end)) for subject in subjects]
    return list(dict.fromkeys(words))


def _check_left(cluster: Cluster, fault: Fault, stay: Sequence[str], status: str) -> None:
    there, mine = set(cluster.snapshots()), cluster.of_run()
    everybodys = cluster.aws.ec2.describe_snapshots(SnapshotIds=[cluster.foreign, *stay])["Snapshots"]
    assert len(everybodys) == 1 + len(stay)
    match fault.deleted:
        case "nothing":
            assert {*cluster.old, cluster.foreign} <= there
            assert cluster.status() == status
            if cluster.config.exists():
                assert cluster.config.read_bytes() == cluster.text
        case "older snapshots only":
            assert cluster.status() == "CREATE_COMPLETE"
            assert [cluster.named()] == mine
            assert there - set(cluster.old) == {*mine, cluster.foreign}
        case "all but the cluster":
            assert cluster.status().startswith("DELETE_")
            assert cluster.named() == mine[0]
            assert there == {*mine, cluster.old[-1], cluster.foreign}
        case "all as it should":
            assert cluster.status() == "DELETE_COMPLETE"
            assert [cluster.named()] == mine
            good = {id for id, one in cluster.snapshots().items() if one["State"] != "error"}
            assert good - set(stay) == {*mine, cluster.old[-1], cluster.foreign}

"""Who else is on a cluster, and which of several last jobs is the last."""

import itertools
from pathlib import Path

import pytest

from cluster import slurm
from cluster.errors import SlurmMissing
from cluster.names import finalizes, part_of
from cluster.others import in_words, others, sort_out
from cluster.slurm import Job
from tests.cluster.test_slurm import programs as programs
from tests.cluster.test_slurm import put


def job(number: int, name: str, state: str = "RUNNING", element: str = "") -> Job:
    return Job(f"{number}_{element}" if element else str(number), number, name, state, "", "")


ME = job(9, "raypipe-finalize-7")


def test_a_last_job_that_may_end_the_cluster_is_a_finish_that_others_know() -> None:
    assert finalizes("raypipe-finalize-7") and not finalizes("raypipe-finish-7") and not finalizes("a-finalize-b")
    assert (part_of("raypipe-finalize-7", 9).role, part_of("raypipe-finalize-7", 9).head) == ("finish", 7)


@pytest.mark.parametrize(
    ("other", "for_a_person", "for_the_last_job"),
    [
        (job(17, "sim"), "staying", "staying"),
        (job(17, "sim", "PENDING"), "staying", "staying"),
        (job(17, "sim", "COMPLETING"), "leaving", "leaving"),
        (job(17, "sim", "COMPLETED"), "", ""),
        (ME, "staying", ""),
        (job(8, "raypipe-worker-7", "COMPLETING"), "leaving", ""),
        (job(30, "raypipe-finalize-20"), "staying", "leaving"),  # it is the last, or about to leave
        (job(6, "raypipe-finalize-4"), "staying", ""),  # it waits for us
        (job(6, "raypipe-finalize-4", "PENDING"), "staying", "staying"),  # it has yet to tidy up
        (job(30, "raypipe-finish-20"), "staying", "staying"),
    ],
)
def test_whom_the_end_of_the_nodes_would_disturb(other: Job, for_a_person: str, for_the_last_job: str) -> None:
    def found(me: Job | None) -> str:
        staying, leaving = sort_out([("anna", other)], me)
        return "staying" if staying else "leaving" if leaving else ""

    assert (found(None), found(ME)) == (for_a_person, for_the_last_job)


def test_of_last_jobs_at_once_one_ends_the_cluster_and_the_others_wait_for_it() -> None:
    ends = [job(number, f"run{number}-finalize-{number - 2}") for number in (9, 19, 29)]
    for order in itertools.permutations(ends):
        listed = [("me", each) for each in order]
        waits_for = {me.number: {each.number for _, each in sort_out(listed, me)[1]} for me in ends}
        assert waits_for == {9: {19, 29}, 19: {29}, 29: set()}
        assert all(sort_out(listed, me)[0] == [] for me in ends)


def test_jobs_in_words() -> None:
    two = [("anna", job(17, "sim", element="1")), ("anna", job(17, "sim", element="2"))]
    assert in_words(two) == "job 17 (sim) of anna"
    many = [("bo", job(number, "x")) for number in range(7)]
    assert in_words(many).endswith("job 4 (x) of bo and 2 more")


def test_jobs_of_all_users_are_asked_for(programs: object, monkeypatch: pytest.MonkeyPatch) -> None:
    put(programs, "squeue", "print('anna|17|17|N/A|PENDING||Priority||a|b' if '--all' in sys.argv else '')")
    assert [(user, each.id, each.name) for user, each in slurm.everyones_jobs()] == [("anna", "17", "a|b")]
    assert [each.number for _, each in others(None)] == [17]


def test_where_there_is_no_slurm_nobody_is_there(programs: object) -> None:
    assert others(None) == []
    put(programs, "squeue", "sys.exit('squeue: fatal: Could not establish a configuration source')")
    assert others(None) == []


def test_on_a_node_of_a_cluster_not_to_know_is_not_that_nobody_is_there(
    programs: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cfnconfig").write_text("cfn_node_type=HeadNode\n")
    monkeypatch.setenv("CFNCONFIG", str(tmp_path / "cfnconfig"))
    with pytest.raises(SlurmMissing, match="who else is at work on this cluster cannot be told: there is no squeue"):
        others(None)
    put(programs, "squeue", "sys.exit('squeue: fatal: Could not establish a configuration source')")
    with pytest.raises(SlurmMissing, match="who else is at work"):
        others(None)

"""Slurm's reasons in words; none is lost."""

import pytest

from cluster.reasons import in_words, node_in_words


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("PENDING", "Resources", "waits for nodes to become free"),
        ("PENDING", "Priority", "come first"),
        ("PENDING", "BeginTime", "two minutes"),
        ("PENDING", "DependencyNeverSatisfied", "can never begin"),
        ("PENDING", "ReqNodeNotAvail, UnavailableNodes:queue1-dy-1", "down, drained or reserved (UnavailableNodes:queue1-dy-1)"),
        ("PENDING", "(PartitionDown)", "takes no jobs"),
        ("PENDING", "NodeDown", "is down"),
        ("PENDING", "launch failed requeued held", "could not be launched"),
        ("PENDING", "JobHeldAdmin", "scontrol release"),
        ("PENDING", "None", "has not looked at it yet"),
        ("PENDING", "AssocGrpCPURunMinutesLimit", "a limit of its account holds it: AssocGrpCPURunMinutesLimit"),
        ("PENDING", "QOSMaxGRESPerNode", "quality of service"),
        ("PENDING", "SomethingNew", "SomethingNew (Slurm's word)"),
        ("CONFIGURING", "None", "its node is booting"),
        ("RUNNING", "None", "runs"),
        ("FAILED", "NonZeroExitCode", "failed: ended with a non-zero exit code"),
        ("OUT_OF_MEMORY", "OutOfMemory", "was killed for memory"),
        ("SPECIAL_EXIT", "None", "special exit"),
    ],
)  # fmt: skip
def test_in_words(state: str, reason: str, words: str) -> None:
    said = in_words(state, reason)
    assert words in said
    assert said.count("was killed for memory") < 2


def test_why_a_node_cannot_be_had() -> None:
    full = "(Code:InsufficientInstanceCapacity)Failure when resuming nodes"
    assert node_in_words(full) == "EC2 has no such instance to give now"
    assert node_in_words("ResumeTimeout reached") == "did not boot in time"
    for other in ("Not responding", "(Code:NoSuchCode)Failure when resuming nodes", "", "spot notice"):
        assert node_in_words(other) == other

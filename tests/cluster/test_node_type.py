"""What a machine is in a ParallelCluster."""

from pathlib import Path

import pytest

from cluster.node_type import node_type


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("stack_name=pipe\ncfn_node_type=ComputeFleet\n", "ComputeFleet"),
        ("cfn_node_type='HeadNode'\n", "HeadNode"),
        ("cfn_region=x\n", ""),
        (None, ""),
    ],
)
def test_it_is_what_its_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, kind: str) -> None:
    if text is not None:
        (tmp_path / "cfnconfig").write_text(text)
    monkeypatch.setenv("CFNCONFIG", str(tmp_path / "cfnconfig"))
    assert node_type() == kind

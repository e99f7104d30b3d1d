"""The version of code: it changes with what the code does, not with how it is commented."""

from raypipe.code import code_version, spoken
from raypipe.stages import STAGES

CODE = '''"""Says something."""

import os

def f(a, b):
    """Doc."""
    # why
    if a:
        return f"{a}#x"  # not a comment inside
    return [a,
            b]
'''


def test_comments_docstrings_and_layout_do_not_count() -> None:
    other = 'import os\ndef f(a, b):\n    """Another\n    text."""\n\n    if a:\n        return f"{a}#x"\n    return [a, b]\n'
    assert spoken(CODE) == spoken(other)


def test_everything_else_counts() -> None:
    for old, new in [
        ("[a,", "[b,"),
        ("#x", "#y"),
        ("if a:", "if b:"),
        ("import os", "import sys"),
        ("f(a, b)", "f(a, c)"),
    ]:
        assert spoken(CODE) != spoken(CODE.replace(old, new)), old
    assert spoken("if a:\n    b()\nc()\n") != spoken("if a:\n    b()\n    c()\n")


def test_a_stage_has_the_version_of_its_modules() -> None:
    versions = {stage.name: code_version(stage.code) for stage in STAGES}
    assert len(set(versions.values())) == len(STAGES)
    assert all(len(version) == 12 for version in versions.values())

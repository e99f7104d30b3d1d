"""The version of code: it changes with what the code does, not with how it is commented."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raypipe.code
from raypipe.actors import maker_of
from raypipe.code import code_version, spoken
from raypipe.stages import STAGES, Stage

ROOT = Path(raypipe.__file__).parents[1]

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
    assert len(set(versions.values())) == len({stage.code for stage in STAGES}), (
        "stages that share code share its version"
    )
    assert all(len(version) == 12 for version in versions.values())


PYTHONS = ("python3.11", "python3.12", "python3.13")
TWISTED = '''def f(x, y):
    z = f"µ {x!r:>10} {'a  b'}  {x + 1}" f"""é {x
  } µ""" "z"  # µ
    return f"{x:{y}} {f'{x} µ'} {{µ}}", f"{ x = }", \\
        z
'''


def test_the_version_is_the_same_on_every_python(tmp_path: Path) -> None:
    """Python 3.12 and later tokenise f-strings."""
    twisted = tmp_path / "twisted.py"
    twisted.write_text(TWISTED, encoding="utf-8")
    files = [twisted, *sorted(ROOT.glob("raypipe/**/*.py")), *sorted(ROOT.glob("kernels/*.py"))]
    program = (
        "import runpy, sys; from pathlib import Path; spoken = runpy.run_path(sys.argv[1])['spoken'];"
        "sys.stdout.buffer.write('\\0'.join(spoken(Path(f).read_text(encoding='utf-8')) for f in sys.argv[2:]).encode())"
    )
    expected = "\0".join(spoken(path.read_text(encoding="utf-8")) for path in files).encode()
    asked = 0
    for python in filter(None, map(shutil.which, PYTHONS)):
        run = subprocess.run([python, "-c", program, raypipe.code.__file__, *files], capture_output=True)
        if run.returncode == 127:  # a version manager's name for a Python that is not switched on
            continue
        assert (run.returncode, run.stderr) == (0, b""), python
        assert run.stdout == expected, python
        asked += 1
    if not asked:
        pytest.skip(f"none of {', '.join(PYTHONS)} is here")


def test_the_source_is_read_as_utf8_whatever_the_locale() -> None:
    program = "from raypipe.code import code_version; print(code_version(('raypipe.io.nsx',)))"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert run.stdout.strip() == code_version(("raypipe.io.nsx",)), run.stderr


DECIDE_NOTHING = {
    "raypipe.errors": "what is said when nothing is made",
    "raypipe.io.checksum": "reads what is made, and writes nothing",
    "raypipe.outcome": "how it is told that something was made, or was not",
    "raypipe.config": "its values are in the key, as parameters",
    "raypipe.day": "which files are read is in the key, as inputs; where files go is their names",
    "raypipe.plan": "what is made, not how",
    "raypipe.tasks": "what is made, not how",
    "raypipe.stages": "the list itself",
    "raypipe.stages.parameters": "refuses parameters before anything is made",
}
"""Modules that are imported by those that make a file, and do not decide its bytes."""


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_all_code_that_decides_bytes_is_in_the_version(stage: Stage) -> None:
    listed = {module for name in stage.code for module in modules_of(name)}
    assert imported_by(stage) - DECIDE_NOTHING.keys() == listed


def imported_by(stage: Stage) -> set[str]:
    """Return all modules of ours that making the stage's files imports, directly or not.

    `passes` and the modules of works know all their stages, and each counts for itself: it is what they use for it.
    """
    if stage.level == "channel":
        found = {"raypipe.passes"}
        others = [name for name in imports("raypipe.passes") if not name.startswith("raypipe.stages.")]
        waiting = [f"raypipe.stages.{stage.name}", *others]
    else:
        maker = maker_of(stage)
        found = {maker.__module__}
        waiting = sorted(used_by_maker(maker.__module__, maker.__name__))
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [] if module in DECIDE_NOTHING else imports(module)
    return found


def used_by_maker(module: str, maker: str) -> set[str]:
    """Return the modules whose names the function uses, and the functions of its module that it calls."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    origins: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raypipe"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                origins[alias.asname or alias.name] = inner if source_of(inner).exists() else str(node.module)
    found: set[str] = set()
    waiting, seen = [maker], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        names = {node.id for node in ast.walk(functions[name]) if isinstance(node, ast.Name)}
        found |= {origins[each] for each in names & origins.keys()}
        waiting += [each for each in names & functions.keys() if each not in seen]
    return found


def imports(module: str) -> set[str]:
    """Return the modules of ours that a module imports anywhere in it; a package counts as all its modules."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if source_of(name).exists()} or {node.module}
    return {each for name in names if name.split(".")[0] in ("raypipe", "kernels") for each in modules_of(name)}


def modules_of(name: str) -> Iterator[str]:
    """Yield the module itself, or all modules of a package that is one program."""
    if name.startswith(("kernels.", "raypipe.stages.sorting.")) and name.count(".") > 1:
        name = name.rpartition(".")[0]
    package = ROOT.joinpath(*name.split("."))
    if name.startswith(("kernels", "raypipe.stages.sorting")) and package.is_dir():
        yield from (f"{name}.{path.stem}" for path in package.glob("*.py"))
    else:
        yield name


def source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

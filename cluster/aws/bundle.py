"""The function's code as a zip: our modules that it needs and PyYAML's, nothing else; the same bytes each time."""

import ast
import io
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

HANDLER = "cluster.aws.function.handler"
_OURS = "cluster"


def bundle() -> bytes:
    """Return the zip; boto3 is there in Lambda."""
    content = {path: module.read_bytes() for path, module in _ours(HANDLER.rpartition(".")[0])}
    content |= {f"yaml/{file.name}": file.read_bytes() for file in files("yaml").iterdir() if file.name.endswith(".py")}
    packed = io.BytesIO()
    # Not compressed: what comes out of that depends on the library's version.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(content):
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, content[path])
    return packed.getvalue()


def _ours(module: str) -> Iterator[tuple[str, Traversable]]:
    """Give our modules that one needs, itself and the packages around it included, as paths in the zip."""
    seen: dict[str, Traversable] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        found = _file(name)
        if found is None or found[0] in seen:
            continue
        path, file = found
        seen[path] = file
        waiting += [name.rpartition(".")[0], *_imported(file.read_text(encoding="utf-8"))]
    yield from seen.items()


def _file(name: str) -> tuple[str, Traversable] | None:
    first, *rest = name.split(".")
    if first != _OURS:
        return None
    place = files(_OURS)
    for word in rest:
        place = place / word
    stem = "/".join([first, *rest])
    package = place / "__init__.py"
    if package.is_file():
        return f"{stem}/__init__.py", package
    alone = files(_OURS).joinpath(*rest[:-1], f"{rest[-1]}.py")
    return (f"{stem}.py", alone) if alone.is_file() else None


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)

"""The version of a piece of code: a hash of what its files say, whatever their comments and layout."""

import hashlib
import importlib.util
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}
_BREAKS = {tokenize.NEWLINE: "\n", tokenize.INDENT: ">", tokenize.DEDENT: "<"}


@cache
def code_version(modules: tuple[str, ...]) -> str:
    """Return 12 hex digits that change when the code of `modules` (a package: all its modules) changes.

    Comments, docstrings, blank lines and line breaks inside brackets do not count.
    """
    digest = hashlib.sha256()
    for module in modules:
        for path in _files(module):
            digest.update(path.name.encode())
            digest.update(spoken(path.read_text()).encode())
    return digest.hexdigest()[:12]


def spoken(source: str) -> str:
    """Return Python `source` without what the interpreter passes over."""
    # Tokens are joined without their types, so that versions of Python that cut f-strings differently agree.
    return "".join(_words(source))


def _words(source: str) -> Iterator[str]:
    statement: list[str] = []
    only_text = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _SILENT:
            continue
        if token.type in _BREAKS:
            if token.type != tokenize.NEWLINE or not only_text:
                yield from statement
                yield _BREAKS[token.type]
            statement, only_text = [], True  # a statement that is only text is a docstring
            continue
        statement.append(token.string)
        only_text = only_text and token.type == tokenize.STRING


def _files(module: str) -> list[Path]:
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top)  # only of the top: to find what is inside, Python would import it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    path = Path(spec.origin).parent.joinpath(*parts)
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]

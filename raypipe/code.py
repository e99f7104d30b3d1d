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
# From 3.12 on an f-string comes in pieces, which leave out blanks of its replacement fields.
_PIECES_BEGIN = {getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
_PIECES_END = {getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END")}


@cache
def code_version(modules: tuple[str, ...]) -> str:
    """Return 12 hex digits that change when the code of `modules` (a package: all its modules) changes.

    Comments, docstrings, blank lines and line breaks inside brackets do not count, nor does the version of Python.
    """
    digest = hashlib.sha256()
    for module in modules:
        for path in _files(module):
            digest.update(path.name.encode())
            digest.update(_digest(path))
    return digest.hexdigest()[:12]


def spoken(source: str) -> str:
    """Return Python `source` without what the interpreter passes over, the same on every version of Python."""
    return " ".join(_words(source))


@cache
def _digest(path: Path) -> bytes:
    # Not in the encoding of the user's locale: the source is UTF-8.
    return hashlib.sha256(spoken(path.read_text(encoding="utf-8")).encode()).digest()


def _words(source: str) -> Iterator[str]:
    statement: list[str] = []
    only_text = True
    for kind, text in _tokens(source):
        if kind in _SILENT:
            continue
        if kind in _BREAKS:
            if kind != tokenize.NEWLINE or not only_text:
                yield from statement
                yield _BREAKS[kind]
            statement, only_text = [], True  # a statement that is only text is a docstring
            continue
        statement.append(text)
        only_text = only_text and kind == tokenize.STRING


def _tokens(source: str) -> Iterator[tuple[int, str]]:
    """Give the type and the text of each token; an f-string is one token, as it stands in the source."""
    lines = io.StringIO(source).readlines()
    begun: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PIECES_BEGIN:
            begun.append(token.start)
        elif token.type in _PIECES_END:
            start = begun.pop()
            if not begun:
                yield tokenize.STRING, _between(lines, start, token.end)
        elif not begun:
            yield token.type, token.string


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Cut text out of lines; places are (line from 1, column from 0)."""
    some = lines[start[0] - 1 : end[0]]
    some[-1] = some[-1][: end[1]]
    some[0] = some[0][start[1] :]
    return "".join(some)


def _files(module: str) -> list[Path]:
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top)  # only of the top: to find what is inside, Python would import it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    path = Path(spec.origin).parent.joinpath(*parts)
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]

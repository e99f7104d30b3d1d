"""The order in which people count: `session_2` before `session_10`."""

import re
from collections.abc import Iterable
from pathlib import Path


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return what to sort a name by, so that the numbers in it count as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [(1, 0, part) if index % 2 == 0 else (0, int(part), part) for index, part in enumerate(parts) if part]


def in_natural_order(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Sort paths by their names, and those of one name by their folders."""
    return tuple(sorted(paths, key=lambda path: (natural(path.name), path)))

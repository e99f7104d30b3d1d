"""Tables inside the lab's objects: what PyHipp keeps as a pandas Series or DataFrame."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Table:
    """A pandas Series (`values` (n,), with a `name`) or DataFrame (`values` (n, k), with k `columns`).

    `index` (n,) int64 are the labels of the rows; None: 0, 1, 2, ...
    """

    values: NDArray[Any]
    columns: tuple[str | int, ...] | None = None
    name: str | None = None
    index: NDArray[Any] | None = None

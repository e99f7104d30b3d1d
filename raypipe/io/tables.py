"""Tables inside the lab's objects: what PyHipp keeps as a pandas Series or DataFrame."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import UsageError


@dataclass(frozen=True, eq=False)
class Table:
    """A pandas Series (`values` (n,), with a `name`) or DataFrame (`values` (n, k), with k `columns`).

    All values are of one type: bool, or integers or floats of up to 64 bits. `index` (n,) int64 are the labels of the
    rows; None: 0, 1, 2, ... Raises UsageError if these do not fit together. Two tables are equal if they have the same
    values (NaN or not) of the same type under the same labels.
    """

    values: NDArray[Any]
    columns: tuple[str | int, ...] | None = None
    name: str | int | None = None
    index: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise UsageError(f"a table like this cannot be saved: {fault}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Table)
            and (self.columns, self.name) == (other.columns, other.name)
            and self.values.dtype == other.values.dtype
            and np.array_equal(self.values, other.values, equal_nan=self.values.dtype.kind == "f")
            and np.array_equal(_labels(self), _labels(other))
        )

    __hash__ = None  # type: ignore[assignment]

    def to_pandas(self) -> Any:
        """Make the pandas Series or DataFrame. Raises UsageError where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError as error:
            raise UsageError("pandas is not installed here", hint="pip install pandas; or use `.values`") from error
        if self.columns is None:
            return pd.Series(self.values, self.index, name=self.name)
        return pd.DataFrame(self.values, self.index, list(self.columns))


class Pickled(bytes):
    """A value of an object that hickle had pickled and that is no table, as its pickle."""


def empty_frame() -> Table:
    """Make the DataFrame without rows and columns that PyHipp keeps in fields which a session does not have."""
    return Table(np.empty((0, 0)), columns=())


def _fault(table: Table) -> str:
    values, columns = table.values, table.columns
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        return f"its values are {values.dtype}, not bool, integers or floats of up to 64 bits"
    if columns is None and values.ndim != 1:
        return f"its values are {values.shape}, and no columns are named"
    if columns is not None and (values.ndim != 2 or values.shape[1] != len(columns)):
        return f"its values are {values.shape}, and {len(columns)} columns are named"
    if columns is not None and table.name is not None:
        return "it has columns and a name"
    for label in (*(columns or ()), *([] if table.name is None else [table.name])):
        if type(label) not in (str, int):
            return f"the label {label!r} is a {type(label).__name__}, not a str or int"
    if table.index is not None and (table.index.dtype != np.int64 or table.index.shape != values.shape[:1]):
        return f"its index is {table.index.dtype} {table.index.shape} for {len(values)} rows"
    return ""


def _labels(table: Table) -> NDArray[np.int64]:
    return np.arange(len(table.values)) if table.index is None else table.index

"""The files of `mountains/channelNNN`, as MountainLab and the lab's tools expect them: bytes from arrays, and back."""

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError, InputMissing
from raypipe.io.mda import mda_bytes, read_mda

START_INDICES = "start_indices.csv"
FIRINGS = "output/firings.mda"
TEMPLATES_MDA = "output/templates.mda"
TEMPLATES = "output/templates.hkl"
METRICS = "output/metrics.json"
RATE_HZ = 30000.0

_HINT = "remove the channel's folder in mountains, and the next run sorts the channel again"


@dataclass(frozen=True)
class Joined:
    """How the sessions of a channel were joined to one series: first sample of each, counted from 1, and its name."""

    starts: tuple[int, ...]
    names: tuple[str, ...]


def cell_name(label: int) -> str:
    """Name the folder of a unit: `cell01`."""
    return f"cell{label:02d}"


def start_indices_csv(starts: Sequence[int], names: Sequence[str]) -> bytes:
    """Give `start_indices.csv`: the first sample of each session in the joined series, counted from 1, and the names."""
    return f"1,{[int(start) for start in starts]}\n2,{[str(name) for name in names]}\n".encode()


def read_start_indices(path: Path) -> Joined:
    """Read `start_indices.csv`, ours or PyHipp's. Raises InputMissing, FormatError."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError as error:
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read: {error}", hint=_HINT) from error
    try:
        first, second = (line for line in lines if line.strip())
        starts, names = (ast.literal_eval(_after(line, k)) for k, line in ((1, first), (2, second)))
        if not (_is_list_of(starts, int) and _is_list_of(names, str) and len(starts) == len(names)):
            raise ValueError(f"{starts!r} are no first samples of {names!r}")
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise FormatError(
            f"{path} does not say where the sessions begin: {error}",
            hint=f"it should be as {start_indices_csv([1, 540001], ['sessioneye', 'session01']).decode()!r}; {_HINT}",
        ) from error
    return Joined(tuple(starts), tuple(names))


def firings_mda(firings: NDArray[np.float64]) -> bytes:
    """Give `firings.mda`: (3, E) float64, the rows channel, sample in the joined series from 0, label from 1."""
    return mda_bytes(np.asarray(checked_firings(firings, "the sorter's result"), np.float64))


def read_firings(path: Path) -> NDArray[np.float64]:
    """Read `firings.mda` of any sorter, (3 or more, E); give rows channel, sample, label. Raises InputMissing, FormatError."""
    return checked_firings(read_mda(path), str(path))


def checked_firings(firings: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Give the first three rows as float64 (3, E). Raises FormatError unless every label is a whole number from 1."""
    if firings.ndim != 2 or firings.shape[0] < 3:
        raise FormatError(f"{where}: firings of shape {firings.shape}, where (3, spikes) is expected", hint=_HINT)
    rows = np.asarray(firings[:3], np.float64)
    labels = rows[2]
    wrong = np.flatnonzero(~((labels >= 1) & (labels == np.floor(labels)) & np.isfinite(labels)))
    if wrong.size:
        raise FormatError(
            f"{where}: spike {wrong[0]} has the label {labels[wrong[0]]:g}, where a whole number from 1 is expected",
            hint=_HINT,
        )
    return rows


def templates_mda(templates: NDArray[np.float32]) -> bytes:
    """Give `templates.mda`: float32 (1, samples, K)."""
    return mda_bytes(np.asarray(_checked_templates(templates, "the sorter's result"), np.float32))


def templates_hkl(templates: NDArray[np.float32]) -> bytes:
    """Give `templates.hkl`: the array (1, samples, K) alone, as hickle 5 dumps one."""
    import h5py
    import hickle

    array = np.ascontiguousarray(_checked_templates(templates, "the sorter's result"), np.float32)
    with h5py.File("templates.hkl", "w", driver="core", backing_store=False) as file:
        hickle.dump(array, file)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def read_templates(path: Path) -> NDArray[np.float32]:
    """Read `templates.hkl` of hickle 5 or 4, (1, samples, K) float32. Raises InputMissing, FormatError."""
    import h5py

    from raypipe.io.hickle_tree import UNREADABLE, read_object

    if not path.is_file():
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`")
    try:
        with h5py.File(path, "r") as file:
            templates = read_object(file)
    except UNREADABLE as error:
        raise FormatError(f"{path} is damaged, or was not written by hickle: {error}", hint=_HINT) from error
    if not isinstance(templates, np.ndarray):
        raise FormatError(f"{path} holds a {type(templates).__name__}, not an array of templates", hint=_HINT)
    return np.asarray(_checked_templates(templates, str(path)), np.float32)


def metrics_json(metrics: Mapping[str, Any]) -> bytes:
    """Give `metrics.json` in MountainLab's layout: `{"clusters": [{"label": 1, "metrics": {...}}, ...]}`, by labels.

    `metrics` are of the same layout, with Python's or numpy's numbers. What is not finite becomes null, since JSON has no
    name for it.
    """
    clusters = sorted(metrics["clusters"], key=lambda cluster: int(cluster["label"]))
    return json.dumps({**metrics, "clusters": _plain(clusters)}, allow_nan=False).encode()


def read_metrics(path: Path) -> dict[str, Any]:
    """Read `metrics.json`, in MountainLab's layout. Raises InputMissing, FormatError."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        for cluster in content["clusters"]:
            dict(cluster["metrics"]), int(cluster["label"])
    except FileNotFoundError as error:
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path} holds no metrics of MountainLab's layout: {error!r}", hint=_HINT) from error
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _after(line: str, number: int) -> str:
    head, _, rest = line.partition(",")
    if head.strip() != str(number):
        raise ValueError(f"a line begins with {head!r}, where {number} is expected")
    return rest.strip()


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(each) is kind for each in value)


def _checked_templates(templates: NDArray[Any], where: str) -> NDArray[Any]:
    if templates.ndim != 3 or templates.shape[0] != 1 or templates.dtype.kind != "f":
        raise FormatError(
            f"{where}: templates of type {templates.dtype} and shape {templates.shape}, where float (1, samples, units) is expected",
            hint=_HINT,
        )
    return templates

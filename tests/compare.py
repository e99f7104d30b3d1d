"""What tests say of outputs: their datasets, byte by byte, and what they should be by scipy's own filters."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from raypipe.config import Config
from raypipe.stages import BY_NAME

RATE_HZ = 30000
RIPPLE = ("rplparallel", "rplsplit", "rpllfp", "rplhighpass")
"""Stages that are made from the Ripple files alone."""
_RIPPLE_FILES = ("rplparallel_", "rplraw_", "rpllfp_", "rplhighpass_")
BEHAVIOUR = tuple(name for name, stage in BY_NAME.items() if stage.level == "session" and name not in RIPPLE)
OBJECTS = tuple(name for name in BY_NAME if name not in (*RIPPLE, *BEHAVIOUR))
"""Stages that are made from channels' objects: spectra, sorting, cells."""


def arguments(stage: str) -> dict[str, Any]:
    """Return the default arguments of a stage, as PyHipp hashes them."""
    return BY_NAME[stage].arguments(Config())


def datasets(folder: Path) -> dict[str, str]:
    """Return a digest of every dataset of every object below `folder` and of every other output, by path."""
    found: dict[str, str] = {}
    for path in sorted((*folder.rglob("*.hkl"), *folder.rglob("*.hdf"))):
        with h5py.File(path) as file:

            def visit(name: str, node: Any, path: Path = path) -> None:
                if isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is None:
                    content = b"" if node.shape is None else np.asarray(node[()]).tobytes()
                    key = f"{path.relative_to(folder)}:{name}"
                    found[key] = f"{node.dtype} {node.shape} {hashlib.sha256(content).hexdigest()}"

            file.visititems(visit)
    for path in (each for pattern in ("*.csv", "*.png", "*.mda", "metrics.json") for each in folder.rglob(pattern)):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def of_ripple(found: Mapping[str, str]) -> dict[str, str]:
    """Return those of `datasets` that RIPPLE makes."""
    return {name: it for name, it in found.items() if Path(name.partition(":")[0]).name.startswith(_RIPPLE_FILES)}


def of_channels(found: Mapping[str, str], *numbers: int) -> dict[str, str]:
    """Return those of `datasets` that are made of these channels alone, or of sessions."""
    chosen = re.compile("|".join([*(f"/channel{number:03d}/" for number in numbers), "^session[^/]*/[^/]*$"]))
    return {name: it for name, it in found.items() if chosen.search(name.partition(":")[0])}


def high_pass(microvolts: NDArray[np.float32]) -> NDArray[np.float64]:
    """PyHipp's high-pass: Butterworth, forward and back, 24 samples put on at either end."""
    b, a = signal.butter(4, [500 / (RATE_HZ / 2), 7500 / (RATE_HZ / 2)], "bandpass")
    return np.asarray(signal.filtfilt(b, a, microvolts, padlen=24))


def lfp(microvolts: NDArray[np.float32]) -> NDArray[np.float64]:
    """PyHipp's LFP: decimated by 30, then Butterworth, forward and back, 24 samples put on at either end."""
    b, a = signal.butter(4, [1 / 500, 150 / 500], "bandpass")
    return np.asarray(signal.filtfilt(b, a, signal.resample_poly(microvolts.astype(np.float64), 1, 30), padlen=24))


def leftovers(folder: Path) -> list[Path]:
    """Return temporary files below `folder`."""
    return sorted(folder.rglob("*.tmp"))

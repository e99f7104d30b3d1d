"""The bins that the gaze met: `binData.hdf`, a table of time and bin."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError, InputMissing

N_BINS = 5122
_BLOCK_ROWS = 1 << 20


@dataclass(frozen=True)
class BinCounts:
    """`hits` int64 (5123,): how often each bin was met, by its number (0 is no bin); `n_samples`: that met any."""

    hits: NDArray[np.int64]
    n_samples: int


def count_bins(path: Path) -> BinCounts:
    """Count the rows of every bin in `/data` (rows, 2): time (ms) and bin 1 to 5122; in bounded memory.

    Rows of one sample follow each other and have one time. Raises InputMissing, or FormatError for anything else.
    """
    import h5py

    if not path.is_file():
        raise InputMissing(f"{path} is not there", hint="`raypipe run` makes it with the stage raycast")
    hits, n_samples, last = np.zeros(N_BINS + 1, np.int64), 0, np.nan
    try:
        with h5py.File(path, "r") as file:
            data = file["data"]
            if data.ndim != 2 or data.shape[1] != 2:
                raise FormatError(f"{path}: /data is {data.shape}, not (rows, 2)", hint="remove it and run again")
            for start in range(0, data.shape[0], _BLOCK_ROWS):
                ms, bins = data[start : start + _BLOCK_ROWS].T
                wrong = np.flatnonzero(~((bins >= 1) & (bins <= N_BINS)))
                if wrong.size:
                    raise FormatError(
                        f"{path}, row {start + wrong[0]}: {bins[wrong[0]]:g} is no bin (1 to {N_BINS})",
                        hint="remove it and run again",
                    )
                hits += np.bincount(bins.astype(np.int64), minlength=N_BINS + 1)
                n_samples += int(np.count_nonzero(np.diff(ms, prepend=last) != 0))
                last = ms[-1]
    except (OSError, KeyError, AttributeError) as error:
        raise FormatError(f"{path} holds no table of bins: {error}", hint="remove it and run again") from error
    return BinCounts(hits, n_samples)

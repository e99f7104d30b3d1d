"""Cells: the spikes of every unit of a sorted channel, put back into the sessions in which they happened.

A unit is the same cell in all sessions: its number is the label that the sorter gave it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.objects import base_fields
from raypipe.io.text_lists import object_image_with_texts
from raypipe.stages.mountain_files import RATE_HZ, checked_firings

SPIKES_CSV = "spiketrain.csv"
SPIKES_STEM = "spiketrain"

_HINT = "remove the channel's folder in mountains, and the next run sorts the channel again"

Cells = dict[str, dict[int, NDArray[np.float64]]]
"""Of every session, of every unit that fired in it: times in ms from the session's first sample, ascending."""


def cells_of(
    firings: NDArray[np.float64],
    starts: Sequence[int],
    names: Sequence[str],
    n_samples: int | None = None,
    *,
    rate_hz: float = RATE_HZ,
    where: str = "the sorter's result",
) -> Cells:
    """Put every spike into its session and cell, once; sessions without spikes have no cells.

    firings: (3, E) float64; row 1 the sample in the joined series, counted from 0; row 2 the unit's label from 1.
    starts: the first sample of each session in the joined series, counted from 1 (as in `start_indices.csv`), ascending.
    names: of the sessions. n_samples: of the joined series; None: where the last session ends is not known, so no
    spike is too late (a `mountains` folder does not tell).

    The time is PyHipp's, (sample - start + 1) / rate x 1000. Sessions are in the order of `names`, cells in that of labels.

    Raises FormatError if a spike lies outside the series, or starts and names are no sessions.
    """
    spikes = checked_firings(firings, where)
    firsts = np.asarray(starts, np.float64)
    end, of_all = (np.inf, "") if n_samples is None else (n_samples, f" of {n_samples}")
    if len(starts) != len(names) or len(set(names)) != len(names) or not names:
        raise FormatError(f"{where}: {len(starts)} first samples of the sessions {list(names)}", hint=_HINT)
    if firsts[0] != 1 or (np.diff(firsts) < 0).any() or firsts[-1] > end + 1:
        raise FormatError(f"{where}: sessions that begin at {list(starts)} are none of a series{of_all}", hint=_HINT)
    outside = np.flatnonzero(~((spikes[1] >= 0) & (spikes[1] < end)))
    if outside.size:
        raise FormatError(f"{where}: spike {outside[0]} is at sample {spikes[1, outside[0]]:.12g}{of_all}", hint=_HINT)
    session = np.searchsorted(firsts - 1, spikes[1], side="right") - 1
    order = np.lexsort((spikes[1], spikes[2], session))
    session, samples, labels = session[order], spikes[1, order], spikes[2, order]
    times_ms = (samples - firsts[session] + 1) / rate_hz * 1000
    cells: Cells = {name: {} for name in names}
    changes = (np.diff(session) != 0) | (np.diff(labels) != 0)
    runs = np.split(np.arange(len(samples)), np.flatnonzero(changes) + 1) if len(samples) else []
    for run in runs:
        cells[names[session[run[0]]]][int(labels[run[0]])] = times_ms[run]
    return cells


def spiketrain_csv(times_ms: NDArray[np.float64]) -> bytes:
    """Give `spiketrain.csv`: one row of times in ms, to the last digit."""
    return (",".join(spike_texts(times_ms)) + "\r\n").encode()


def spiketrain_object(times_ms: NDArray[np.float64], directory: str) -> dict[str, Any]:
    """Make the object of a cell: fields in PyHipp's order. `spiketimes` is a list of one list of texts (ms).

    `directory` is the cell's, from the subject downwards.
    """
    base = base_fields({}, directory, "cell")
    return {"args": base.pop("args"), "numSets": 1, "spiketimes": [spike_texts(times_ms)], **base}


def spiketrain_image(fields: Mapping[str, Any]) -> bytes:
    """Give the bytes of `spiketrain_d41d.hkl`, which hickle would make of the fields, three hundred times as fast."""
    return object_image_with_texts(fields, "spiketimes")


def spiketrain_bytes(n_spikes: int) -> int:
    """Bytes that the object and the image of the cell with the most spikes take while they are made (imports aside)."""
    return 4_000_000 + 700 * n_spikes


def spike_texts(times_ms: NDArray[np.float64]) -> list[str]:
    """Write times as Python does, with as many digits as they need."""
    return [repr(each) for each in np.asarray(times_ms, np.float64).tolist()]

"""Waveform: a channel's templates, put where the lab's viewer looks for them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.io.objects import base_fields


def waveform_object(
    templates: NDArray[np.float32], arguments: Mapping[str, Any], directory: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Make the object of a channel from its templates (1, samples, K): fields in PyHipp's order, and notes.

    `data` is a list of one float32 array: (samples,) if there is one unit, else (samples, K); a channel without units
    has (samples, 0). `directory` is the channel's, from the subject downwards.
    Raises FormatError for templates of another shape.
    """
    if templates.ndim != 3 or templates.shape[0] != 1:
        raise FormatError(
            f"{directory}: templates of shape {templates.shape}, where (1, samples, units) is expected",
            hint="remove the channel's folder in mountains, and the next run sorts the channel again",
        )
    n_units = templates.shape[2]
    data = templates[0, :, 0] if n_units == 1 else templates[0]
    array, _, channel = directory.rpartition("/")
    base = base_fields(arguments, directory, "channel")
    fields = {
        "args": base.pop("args"),
        "channel_filename": [channel],
        "data": [np.ascontiguousarray(data, np.float32)],
        "numSets": 1,
        "array_dict": {array: 0},
        "current_plot_type": None,
        **base,
    }
    return fields, () if n_units else ("no unit was found",)

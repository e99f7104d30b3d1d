"""What every stage of a channel offers to the pass through the recording: its fields, its length, its filter."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raypipe.io.nev import NevFilter


@dataclass(frozen=True)
class ChannelFacts:
    """What a recording says of one channel."""

    label: str
    """As in the recording: "raw 9"."""
    n_samples: int
    rate_hz: float
    recorder_filter: NevFilter | None


class Filter(Protocol):
    """A stage's way from microvolts to its own samples, 8 lanes at a time, in pieces."""

    @property
    def extremes(self) -> NDArray[np.floating[Any]]:
        """(2, 8): smallest and largest sample so far, in the type in which the object holds them."""

    def push(self, microvolts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (8, n) samples; give the (8, m) that are final, valid until the next call."""

    def finish(self) -> NDArray[np.float32]:
        """Give the (8, m) samples that waited for their future. Raises `ValueError` for too short a signal."""


class ChannelStage(Protocol):
    """A stage with its parameters, for recordings at one rate; small, picklable, made once for all workers."""

    def output_samples(self, n_samples: int) -> int:
        """Count the samples that `n_samples` of the recording give."""

    def object_fields(self, directory: str, facts: ChannelFacts) -> dict[str, Any]:
        """Make the fields of a channel's object; `data` and the extremes are placeholders."""

    def filter(self) -> Filter:
        """Make a filter that has seen nothing yet."""

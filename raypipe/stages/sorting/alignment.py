"""Puts clips on a template: each by the few samples by which its event was found beside the place that fits best."""

import numpy as np
from numpy.typing import NDArray

JITTER = 2
"""Samples by which a single event may lie off."""


def aligned(clips: NDArray[np.float32], at: int, template: NDArray[np.float64], before: int) -> NDArray[np.float32]:
    """Cut each clip (n, CLIP) where it fits the template (length,) best: (n, length).

    The template's sample `before` is put on sample `at` of a clip, or up to JITTER beside it.
    """
    length = len(template)
    cuts = np.stack([clips[:, at + s - before : at + s - before + length] for s in range(-JITTER, JITTER + 1)])
    fits = np.einsum("sej,j->se", cuts, template)
    return np.ascontiguousarray(cuts[fits.argmax(axis=0), np.arange(len(clips))])

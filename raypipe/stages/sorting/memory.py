"""How much memory sorting a channel needs at most."""

from raypipe.config import SortSettings
from raypipe.stages.sorting.sizes import BLOCK, CLIP, SAMPLED

BYTES_PER_EVENT = 120
"""Times, labels, heights, and what sorting them by time needs."""
BYTES_PER_SAMPLE_OF_BLOCK = 40
COMPILER = 200 << 20
"""numba and the kernels, in a process that has only numpy."""
CHUNKS = 40
CLIP_COPIES = 4


def memory_needed(n_samples: int, settings: SortSettings | None = None) -> int:
    """Give the bytes that `sort_channel` needs at most, above those of a process that has imported numpy.

    What grows with the length of the series are events, of which there is at most one in detect_interval samples.
    What the series itself holds (a file's pages, an array) is not counted.
    """
    settings = settings or SortSettings()
    events = n_samples // (settings.detect_interval + 1) + 1
    blocks = min(BLOCK, n_samples) * BYTES_PER_SAMPLE_OF_BLOCK
    noise = min(SAMPLED, n_samples) * 4 * 6
    clips = min(events, settings.max_clustered) * CLIP * 4 * CLIP_COPIES
    chunks = n_samples // settings.mask_chunk_size * CHUNKS
    return COMPILER + blocks + noise + clips + chunks + events * BYTES_PER_EVENT

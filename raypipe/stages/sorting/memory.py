"""How much memory sorting a channel needs at most."""

from raypipe.config import SortSettings
from raypipe.stages.sorting.sizes import BLOCK, CLIP, FEW_EVENTS, TRAINING_SECONDS

CODE = 180 << 20
"""numba, LLVM and the kernels' machine code, in a process that has imported numpy; half of it is shared between workers.

At most: LLVM's own file counts for 70 to 100 MB of it, by how much of it the page cache happened to hold.
"""
COMPILING = 130 << 20
"""More, in a process that compiles the kernels."""
BYTES_PER_SAMPLE_OF_BLOCK = 24
"""A block as it is read, as it is sorted, and what is left of it when templates are taken out."""
BYTES_PER_EVENT = 52
"""Times and labels before and after matching, and what the result holds: firings and heights."""
BYTES_PER_CHUNK = 40
CLIP_COPIES = 2
MOUNTAINSORT5 = 135 << 20
"""spikeinterface, scipy and scikit-learn, above CODE."""
BYTES_PER_TRAINING_SAMPLE, BYTES_PER_TRAINING_EVENT = 8, 3000


def memory_needed(n_samples: int, settings: SortSettings | None = None) -> int:
    """Give the bytes that `sort_channel` needs at most, above those of a process that has imported numpy and raypipe.config.

    Counted are numba and the kernels, and scipy and spikeinterface where MountainSort 5 sorts; the result too. What the
    series itself holds (an array, an open file) is not, nor what compiling the kernels takes (COMPILING more): `warm` does
    that once, before. Of a series that has fewer than `most_events` events less is needed; it is not known before.
    """
    settings = settings or SortSettings()
    events = min(most_events(n_samples, settings), n_samples // (settings.detect_interval + 1) + 1)
    blocks = min(BLOCK, n_samples) * BYTES_PER_SAMPLE_OF_BLOCK
    clips = min(events, settings.max_clustered) * CLIP * 4 * CLIP_COPIES
    chunks = n_samples // settings.mask_chunk_size * BYTES_PER_CHUNK
    needed = CODE + blocks + clips + chunks + events * BYTES_PER_EVENT
    if settings.sorter == "mountainsort5":
        training = min(n_samples, int(TRAINING_SECONDS * settings.samplerate))
        learnt = min(most_events(training, settings), events)
        needed += MOUNTAINSORT5 + training * BYTES_PER_TRAINING_SAMPLE + learnt * BYTES_PER_TRAINING_EVENT
    return needed


def most_events(n_samples: int, settings: SortSettings) -> int:
    """Tell how many events of a series of `n_samples` are sorted at most."""
    return max(FEW_EVENTS, int(settings.max_events_hz * n_samples / settings.samplerate))

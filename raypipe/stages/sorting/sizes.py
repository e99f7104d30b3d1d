"""Sizes that make memory; apart, so that planning can ask for them without loading kernels."""

BLOCK = 1 << 20
"""Samples that are read at once. Results do not depend on memory or workers, so this is no setting."""
SAMPLED = 1 << 20
"""About so many samples tell the noise."""
CLIP = 150
"""Samples of the clips that clusters are aligned and compared in, whatever is clustered."""
FEW_EVENTS = 100_000
"""So many events are sorted however short the series."""
MEASURED = 20_000
"""Clips of all clusters together that metrics look at."""
TRAINING_SECONDS = 600.0
"""Of a longer series MountainSort 5 learns from so much."""

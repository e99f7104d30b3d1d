"""Which snapshots of a set are no longer needed."""

from collections.abc import Collection, Iterator, Sequence

from cluster.aws.settings import SET
from cluster.aws.state import Snapshot


def surplus(
    snapshots: Sequence[Snapshot], set_name: str, keep: int, needed: Collection[str]
) -> Iterator[tuple[Snapshot, str]]:
    """Give the snapshots of the set that are older than its newest `keep` good ones, the oldest first, and why.

    Only completed ones of good runs count as kept: neither a pending one nor a failed run's takes the place of data
    that are known to be whole. Never given: what is not of the set, pinned, or in `needed` (ids).
    """
    ours = sorted((one for one in snapshots if one.tags.get(SET) == set_name and one.run), key=lambda one: one.order)
    kept = [one for one in ours if one.good and one.status == "completed"][-keep:]
    if len(kept) < keep:
        return
    for one in ours:
        if one.order < kept[0].order and not one.pinned and one.id not in needed:
            yield one, f"older than the newest {keep} of {set_name}"

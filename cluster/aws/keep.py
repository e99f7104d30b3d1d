"""Which snapshots of a set are no longer needed."""

from collections.abc import Collection, Iterator, Sequence

from cluster.aws.settings import SET, WANTED_CONFIG, WANTED_MOUNT, FinalizeSettings
from cluster.aws.state import Snapshot


def good_of_set(snapshots: Sequence[Snapshot], settings: FinalizeSettings) -> list[Snapshot]:
    """Return the completed snapshots of the set's good runs, the oldest first."""
    return [one for one in _of_set(snapshots, settings) if one.good and one.status == "completed"]


def surplus(
    snapshots: Sequence[Snapshot], settings: FinalizeSettings, needed: Collection[str]
) -> Iterator[tuple[Snapshot, str]]:
    """Give the snapshots of the set that are older than its newest `keep` good ones, the oldest first, and why.

    Only completed ones of good runs count as kept: neither a pending one nor a failed run's takes the place of data
    that are known to be whole. Never given: what is not of the set, pinned, or in `needed` (ids); nor what another
    configuration or mount is made of, since clusters may share a set.
    """
    kept = good_of_set(snapshots, settings)[-settings.keep :]
    if len(kept) < settings.keep:
        return
    for one in _of_set(snapshots, settings):
        if one.order < kept[0].order and not one.pinned and one.id not in needed:
            yield one, f"older than the newest {settings.keep} of {settings.set_name}"


def _of_set(snapshots: Sequence[Snapshot], settings: FinalizeSettings) -> list[Snapshot]:
    here = {SET: settings.set_name, WANTED_CONFIG: settings.config, WANTED_MOUNT: settings.mount}
    ours = (one for one in snapshots if one.run and SET in one.tags)
    return sorted((one for one in ours if {**here, **one.tags}.items() >= here.items()), key=lambda one: one.order)

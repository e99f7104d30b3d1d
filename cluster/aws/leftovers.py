"""The snapshots that CloudFormation makes of a volume that goes with its stack, where the template says so.

What was written while ours was made, or after it, is in such a snapshot alone. So it stays until a later good run of
the set has its own; without that each run would leave a copy that nobody rotates. It has the volume's tags; what has
anything else on it is somebody's.
"""

from collections.abc import Iterator, Mapping

from cluster.aws.keep import good_of_set
from cluster.aws.settings import INTENT, PINNED, REQUEST, FinalizeSettings
from cluster.aws.state import Snapshot, State

_CLOUDFORMATION, _OTHERS = "aws:cloudformation:", "aws:"
_STACK = f"{_CLOUDFORMATION}stack-id"
_OF_VOLUMES = (_CLOUDFORMATION, "parallelcluster:", "raypipe:")


def leftovers(state: State, settings: FinalizeSettings) -> Iterator[Snapshot]:
    """Give CloudFormation's snapshots of the volumes of earlier runs' good snapshots, none of the newest one's."""
    good = good_of_set(state.snapshots, settings)
    needed = {volume.id for volume in state.volumes} | {one.volume for one in good[-1:]}
    earlier = {one.volume: one for one in good if one.volume not in needed}
    stack_tags = state.stack.tags if state.stack else {}
    for other in state.others:
        ours = earlier.get(other.volume)
        if ours is None or other.status != "completed" or other.started < ours.started:
            continue
        if _is_copy(other, ours, stack_tags):
            yield other


def _is_copy(snapshot: Snapshot, ours: Snapshot, stack_tags: Mapping[str, str]) -> bool:
    tags = {key: value for key, value in snapshot.tags.items() if not key.startswith(_CLOUDFORMATION)}
    if not tags:
        return snapshot.tags.get(_STACK) == ours.stack
    if PINNED in tags or not {INTENT, REQUEST} & tags.keys() or any(key.startswith(_OTHERS) for key in tags):
        return False
    return all(key == "Name" or key.startswith(_OF_VOLUMES) or stack_tags.get(key) == tags[key] for key in tags)

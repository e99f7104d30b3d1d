"""The snapshots that CloudFormation makes of a volume that goes with its stack, where the template says so.

The data are in ours already; without this each run would leave a second copy that nobody rotates. Such a snapshot has
the volume's tags; what has anything else on it is somebody's.
"""

import math
from collections.abc import Iterator

from cluster.aws.settings import INTENT, PINNED, REQUEST
from cluster.aws.state import GONE, Snapshot, Stack, State

_CLOUDFORMATION, _OTHERS = "aws:cloudformation:", "aws:"
_OF_VOLUMES = (_CLOUDFORMATION, "parallelcluster:", "raypipe:")


def leftovers(state: State, snapshot: Snapshot) -> Iterator[Snapshot]:
    """Give CloudFormation's snapshots of the volume of `snapshot`: none unless that is whole, and the stack is gone."""
    stack = state.stack
    if stack is None or stack.status != GONE or stack.deletion_asked is None or stack.id != snapshot.stack:
        return
    if not (snapshot.good and snapshot.status == "completed"):
        return
    asked = math.floor(stack.deletion_asked)  # EC2 says by the second when a snapshot was begun
    for other in state.others:
        is_of_deletion = other.volume == snapshot.volume and asked <= other.started <= state.now
        if is_of_deletion and other.id != snapshot.id and _is_copy(other, stack):
            yield other


def _is_copy(snapshot: Snapshot, stack: Stack) -> bool:
    tags = {key: value for key, value in snapshot.tags.items() if not key.startswith(_CLOUDFORMATION)}
    if not tags:
        return True
    if PINNED in tags or not {INTENT, REQUEST} & tags.keys() or any(key.startswith(_OTHERS) for key in tags):
        return False
    return all(key == "Name" or key.startswith(_OF_VOLUMES) or stack.tags.get(key) == tags[key] for key in tags)

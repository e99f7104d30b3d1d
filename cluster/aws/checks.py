"""What must hold before a run is ended and before anything is deleted for its snapshot, and how it stops where it does not."""

from cluster.aws.actions import Action, Done, Settle, Stop, Tell
from cluster.aws.settings import MANAGED, FinalizeSettings
from cluster.aws.state import Snapshot, Stack, State, Volume


def stack_to_end(state: State, settings: FinalizeSettings) -> Stack | Stop:
    """Return the stack of the cluster if that may be ended, and can be now."""
    stack = state.stack
    if stack is None:
        return Stop(
            "refused",
            f"there is no cluster '{settings.cluster}', and no snapshot of run {settings.run}",
            "`pcluster list-clusters` lists them; give its name, or its stack's id",
        )
    if not stack.stands:
        return Stop(
            "unproven",
            f"the stack of cluster {settings.name} is {stack.status}, and there is no snapshot of run {settings.run}",
            "if its volume is still there, or the stack's own snapshot of it, keep that by hand",
        )
    if not stack.of_parallelcluster:
        return Stop(
            "refused",
            f"the stack '{settings.name}' was not made by ParallelCluster",
            "give the name of a cluster; `pcluster list-clusters` lists them",
        )
    if not (stack.managed or settings.cluster.startswith("arn:")):
        return Stop(
            "refused",
            f"cluster {settings.name} was not made by raypipe: its stack has no tag {MANAGED}=true",
            f"if it is meant, give its stack's id instead of its name: {stack.id}",
        )
    if not stack.fine:
        return Stop(
            "refused",
            f"the stack of cluster {settings.name} is {stack.status}",
            "wait until it is complete, or mend it, then finalize again",
        )
    return stack


def volume_to_keep(state: State, settings: FinalizeSettings) -> Volume | Stop:
    """Return the one volume that is meant; what the configuration says of the mount tells it from others."""
    at = [entry for entry in state.config if entry.mount == settings.mount]
    if len(at) != 1 or at[0].fixed:
        return Stop(
            "refused",
            at[0].fixed if len(at) == 1 else f"the configuration has {len(at) or 'no'} volumes at {settings.mount}",
            f"{settings.config} must have one entry of SharedStorage with this MountDir, and EbsSettings with its Size",
        )
    candidates = [volume for volume in state.volumes if settings.volume in ("", volume.id)]
    if len(candidates) > 1:
        candidates = [volume for volume in candidates if volume.name == at[0].name]
    if len(candidates) != 1:
        listed = ", ".join(volume.id for volume in state.volumes) or "none"
        return Stop(
            "refused",
            f"which volume of cluster {settings.name} is at {settings.mount} cannot be told; it has {listed}",
            "give the volume's id",
        )
    return candidates[0]


def wrong_with(state: State, snapshot: Snapshot) -> str:
    """Say why a completed snapshot is not the one that is needed; nothing if it is."""
    if not snapshot.stack:
        return f"{snapshot.id} does not say which cluster it is of"
    if state.stack is not None and state.stack.id != snapshot.stack:
        return f"{snapshot.id} is of another cluster ({snapshot.stack})"
    # A stack that is being deleted loses its volumes one by one.
    stands = state.stack is not None and state.stack.stands
    here = {volume.id: volume for volume in state.volumes} if stands else {}
    if here and snapshot.volume not in here:
        return f"{snapshot.id} is of {snapshot.volume}, which is no volume of the cluster"
    if here and snapshot.size_gib != here[snapshot.volume].size_gib:
        return f"{snapshot.id} has {snapshot.size_gib} GiB, its volume {here[snapshot.volume].size_gib} GiB"
    return ""


def settled(state: State, settings: FinalizeSettings, end: Done | Stop) -> Action:
    """Take the run's request off its volume before the end, so that it is not taken up again."""
    for volume in state.volumes:
        if state.hands_to is None and volume.request is not None and volume.request.run == settings.run:
            return Settle(volume.id)
    return end


def unproven(
    state: State, settings: FinalizeSettings, told: frozenset[str], on: str, message: str, hint: str
) -> Action:
    """Tell people once that the data are not known to be safe, then stop."""
    if "unproven" not in told:
        return Tell("unproven", "the data are NOT proven safe", f"{message}. Nothing was deleted; {hint}.", on)
    return settled(state, settings, Stop("unproven", message, hint))

"""Whether the end of a run can be handed over to a function, and when it has been."""

from cluster.aws.actions import Action, Done, Stop, Wake
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import State


def handing_over_refused(state: State, settings: FinalizeSettings) -> Stop | None:
    """Say why it cannot be, before anything is done."""
    if state.hands_to is None:
        return None
    by_hand = "or `raypipe finalize` on the head node"
    if not settings.in_bucket:
        return Stop(
            "refused",
            f"the end of run {settings.run} cannot be handed over: the configuration {settings.config} is a file here",
            f"put it where the function reaches it (s3://bucket/key), {by_hand}",
        )
    if not state.hands_to:
        return Stop(
            "refused",
            f"the end of run {settings.run} cannot be handed over: there is no function for cluster {settings.name}",
            f"`raypipe cluster arm {settings.name} --config FILE` makes it, {by_hand}",
        )
    return None


def woken(state: State) -> Action:
    """Have the function begin; then that is all."""
    assert state.hands_to
    return Done(f"handed over to {state.hands_to}") if state.woken else Wake(state.hands_to)

"""What is next, as a function of what is found: no position is ever remembered.

The order is what makes it safe. The configuration is pointed at the new snapshot only when that is completed, older
snapshots go only when the configuration has left them, and the cluster goes last; so there is at every moment a
completed snapshot that the configuration names, and whoever comes after a crash finds where to go on.
"""

from cluster.aws.actions import Action, Want
from cluster.aws.from_snapshot import from_snapshot
from cluster.aws.hand_over import handing_over_refused, woken
from cluster.aws.settings import FinalizeSettings, wanted_of
from cluster.aws.state import State
from cluster.aws.up_to_snapshot import up_to_snapshot


def next_action(state: State, settings: FinalizeSettings) -> Action:
    """Return the one thing that is to be done next, or that there is none."""
    if (refused := handing_over_refused(state, settings)) is not None:
        return refused
    taken = state.of_run(settings.run)
    if not taken:
        return up_to_snapshot(state, settings)
    if state.asked is None and wanted_of(taken[0].tags) != settings.wanted:
        return Want(taken[0].id)
    if state.hands_to is not None:
        return woken(state)
    return from_snapshot(state, settings, taken)

"""When the eye tracker records and when it pauses: between trials, as for a drift check."""

from collections.abc import Sequence
from itertools import pairwise

from raypipe.simulate.clocks import Clocks
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.streams import generator
from raypipe.simulate.trials import Navigation

MARGIN = 0.2  # of the time between two trials, recorded before and after a pause


def plan_pauses(settings: SimulateSettings, navigation: Navigation, clocks: Clocks) -> list[tuple[int, int]]:
    """Choose trials after which the tracker pauses; give (start, stop) of each pause on its clock, in ms."""
    random = generator(settings.seed, "pauses", navigation.session)
    after = sorted(int(trial) for trial in random.permutation(len(navigation.trials) - 1)[: settings.pauses])
    pauses = []
    for trial, following in ((navigation.trials[number], navigation.trials[number + 1]) for number in after):
        end, start = clocks.eye_ms(trial.end_ticks), clocks.eye_ms(following.cue_on_ticks)
        margin = round(MARGIN * (start - end))
        pauses.append((end + margin, start - margin))
    return pauses


def recording_blocks(
    settings: SimulateSettings, whole: tuple[int, int], pauses: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Give (start, stop) in ms of what is recorded of `whole`, in whole samples."""
    begin, end = whole
    step = max(1, 1000 // settings.eye_rate_hz)
    edges = [begin, *(begin + (ms - begin) // step * step for pause in pauses for ms in pause)]
    edges.append(begin + (end - begin) // step * step)
    return [block for number, block in enumerate(pairwise(edges)) if number % 2 == 0]

"""What gets lost of the trials of a session: messages on the way to the tracker, and ends of trials that never came."""

from dataclasses import dataclass

from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.streams import generator

EVENTS = ("cue on", "cue off", "end")
END = 2
MOST_LOST_OF_A_TRIAL = 2  # single messages; lost trials lose all three

Missing = frozenset[tuple[int, int]]
"""Trial and event (0 cue on, 1 cue off, 2 end), both from 0."""


@dataclass(frozen=True)
class Losses:
    """What is missing from a session's files.

    `incomplete`: the trials without an end; `is_cut`: Unity's log stops in the last of them. `lost` are the messages
    that the tracker missed although the event took place; `unity`, `ripple`, `eye` all that each of the files lacks.
    """

    incomplete: tuple[int, ...] = ()
    is_cut: bool = False
    lost: Missing = frozenset()
    unity: Missing = frozenset()
    ripple: Missing = frozenset()
    eye: Missing = frozenset()


NO_LOSSES = Losses()


def plan_losses(settings: SimulateSettings, session: int) -> Losses:
    """Choose at random which trials suffer what; no trial suffers twice, and the settings leave one untouched."""
    last = settings.trials - 1
    random = generator(settings.seed, "losses", session)
    trials = [int(t) for t in random.permutation(settings.trials) if not (settings.cut_last_trial and t == last)]
    inner = [t for t in trials if t != last][: settings.incomplete_trials]
    rest = [t for t in trials if t not in inner]
    whole, rest = rest[: settings.lost_trials], rest[settings.lost_trials :]
    single = [(t, int(event)) for t in rest[:-1] for event in random.permutation(3)[:MOST_LOST_OF_A_TRIAL]]
    single = [single[int(i)] for i in random.permutation(len(single))[: settings.lost_messages]]
    lost = frozenset(single) | {(t, event) for t in whole for event in range(3)}
    incomplete = tuple(sorted(inner)) + ((last,) if settings.cut_last_trial else ())
    no_end = frozenset((t, END) for t in incomplete)
    in_unity, in_ripple, in_eye = (settings.incomplete_in in ("all", file) for file in ("unity", "ripple", "eye"))
    return Losses(
        incomplete,
        settings.cut_last_trial and in_unity,
        lost,
        no_end if in_unity else frozenset(),
        no_end if in_ripple else frozenset(),
        lost | (no_end if in_eye else frozenset()),
    )

"""Which frames of Unity's log begin and end trials, and which trial of the recorder each of them is.

A trial is three trigger words of one poster: cue on (1p), cue off (2p), end (3p found, 4p timed out).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.config import Unity
from raypipe.errors import FormatError
from raypipe.stages.rplparallel import START_WORDS

SAME_SECONDS = 0.02
"""Trials whose lengths on two clocks differ by no more may be the same trial, whatever their words."""
UNLIKE_SECONDS = 1.5
"""Trials whose lengths differ by more are not the same."""
LENGTH_SCALE_SECONDS, LENGTH_WEIGHT = 0.02, 10
"""Posters come again and again, lengths hardly: lengths that agree to this weigh as much as many equal words."""
SHARE_MATCHED = 0.8
"""Of random trials of six posters hardly more than half can be matched in order by their words."""


@dataclass(frozen=True)
class Trials:
    """The same trials in Unity and in the recorder: `rows` int64 (T, 3) in Unity's log, `theirs` int64 (T,)."""

    rows: NDArray[np.int64]
    theirs: NDArray[np.int64]
    notes: tuple[str, ...]


def find_trials(words: NDArray[np.float64], settings: Unity) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the rows of cue on, cue off and end of every complete trial (T, 3), and the trigger rows left over (m,).

    `words` (frames,) is the first column of the log. A word that is held over several frames counts where it begins; a
    second cue on begins the trial anew; a second cue off or end of the same word is passed over.
    """
    bounds = (settings.TriggerVal1, settings.TriggerVal2, settings.TriggerVal3)
    phases = np.greater.outer(words, bounds).sum(axis=1)
    phases[np.isin(words, (*START_WORDS, *bounds))] = 0
    begins = np.concatenate([[True], words[1:] != words[:-1]])
    trials: list[list[int]] = []
    left_out: list[int] = []
    now: list[int] = []
    for row in np.flatnonzero((phases > 0) & begins).tolist():
        phase = int(phases[row])
        same_poster = bool(now) and words[row] % 10 == words[now[0]] % 10
        if phase == 1:
            left_out += now
            now = [row]
        elif phase == len(now) + 1 and same_poster:
            now.append(row)
        elif phase == len(now) and words[row] == words[now[-1]]:
            left_out.append(row)
        else:
            left_out += [*now, row]
            now = []
        if len(now) == 3:
            trials.append(now)
            now = []
    left_out = sorted(left_out + now)
    return np.array(trials, np.int64).reshape(-1, 3), np.array(left_out, np.int64)


def match_trials(
    codes: NDArray[np.int64],
    seconds: NDArray[np.float64],
    their_codes: NDArray[np.int64],
    their_seconds: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Pair trials (n, 3 words; n lengths) with the recorder's (m, 3; m), both in order; give (pairs, 2) places.

    Those pairs are taken which together agree most, each in its words and its length. Two trials may be a pair if two
    of their words agree and their lengths do to 1.5 s, or their lengths do to 20 ms, or if all words of all trials are
    equal as they stand. Where posters change from trial to trial, words alone tell by how much lengths usually differ,
    and how evenly: a log that counts two frames more in every trial is still the session's. Gives no pairs if more than
    a fifth of the shorter side would find no partner.
    """
    agreement = (codes[:, None] == their_codes).mean(axis=2)
    longer = seconds[:, None] - their_seconds
    possible = (agreement > 0.5) & (np.abs(longer) <= UNLIKE_SECONDS) | (np.abs(longer) <= SAME_SECONDS)
    usual, spread = 0.0, LENGTH_SCALE_SECONDS
    if 2 * np.count_nonzero(np.diff(their_codes[:, 0])) > len(their_codes) - 1:
        by_words = _best_in_order(np.where(possible, agreement, 0))
        if len(by_words) >= SHARE_MATCHED * min(agreement.shape):
            of_words = longer[by_words[:, 0], by_words[:, 1]]
            usual = float(np.median(of_words))
            spread = max(spread, float(np.median(np.abs(of_words - usual))))
            if np.array_equal(codes, their_codes) and np.all(np.abs(np.diag(longer) - usual) <= 5 * spread):
                return np.column_stack([np.arange(len(codes))] * 2)
    if np.array_equal(codes, their_codes):
        np.fill_diagonal(possible, True)
    weight = LENGTH_WEIGHT * LENGTH_SCALE_SECONDS / spread
    score = np.where(possible, agreement + weight * np.exp(-np.abs(longer - usual) / spread), 0)
    pairs = _best_in_order(score)
    return pairs if len(pairs) >= SHARE_MATCHED * min(score.shape) else pairs[:0]


def same_trials(
    words: NDArray[np.float64],
    ends: NDArray[np.float64],
    markers: NDArray[np.uint16],
    time_stamps: NDArray[np.float64],
    settings: Unity,
    where: str,
) -> Trials:
    """Find the trials that both Unity and the recorder have, so that trial k is the same in both.

    `words`, `ends` (frames,): trigger word and time (s) of each frame; `markers`, `time_stamps` (T, 3): the recorder's.
    Raises FormatError, which names `where`, if Unity has no complete trial or its trials are not the recorder's.
    """
    rows, left_out = find_trials(words, settings)
    if not len(rows):
        raise FormatError(
            f"{where}: Unity's log has {left_out.size} triggers and not one complete trial: {_listed(words[left_out])}",
            hint="a trial is three words of one poster: cue on (1x), cue off (2x), end (3x or 4x)",
        )
    codes, their_codes = words[rows].astype(np.int64), markers.astype(np.int64)
    seconds, their_seconds = ends[rows[:, 2]] - ends[rows[:, 0]], time_stamps[:, 2] - time_stamps[:, 0]
    pairs = match_trials(codes, seconds, their_codes, their_seconds)
    if not len(pairs):
        raise FormatError(
            f"{where}: Unity's log has {len(codes)} trials, the recorder {len(their_codes)}, and they are not the same: "
            f"Unity begins with {_listed(codes[:3].ravel())}, the recorder with {_listed(their_codes[:3].ravel())}",
            hint="are the logs in RawData* those of this session?",
        )
    notes = []
    if left_out.size:
        notes.append(
            f"{left_out.size} triggers in Unity's log belong to no complete trial and were left out: "
            f"{_listed(words[left_out])} (the first at {ends[left_out[0]]:.3f} s of the log)"
        )
    notes += _unmatched("Unity", codes, pairs[:, 0], "the recorder")
    notes += _unmatched("the recorder", their_codes, pairs[:, 1], "Unity")
    unlike = (codes[pairs[:, 0]] != their_codes[pairs[:, 1]]).any(axis=1)
    if unlike.any():
        shown = ", ".join(str(trial + 1) for trial in np.flatnonzero(unlike)[:8])
        notes.append(f"words of {np.count_nonzero(unlike)} trials differ between Unity and the recorder: trial {shown}")
    return Trials(rows[pairs[:, 0]], pairs[:, 1], tuple(notes))


def _best_in_order(score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the pairs (p, 2) of rows and columns, both ascending, whose scores have the largest sum."""
    best = np.zeros(np.add(score.shape, 1))
    for row, scores in enumerate(score, start=1):
        # Leaving out costs nothing, so a row is the running maximum of what is above and what a pair would make of it.
        best[row, 1:] = np.maximum.accumulate(np.maximum(best[row - 1, 1:], best[row - 1, :-1] + scores))
    pairs = []
    row, column = score.shape
    while row and column:
        if best[row, column] == best[row - 1, column]:
            row -= 1
        elif best[row, column] == best[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            pairs.append((row, column))
    return np.array(pairs[::-1], np.int64).reshape(-1, 2)


def _unmatched(side: str, codes: NDArray[np.int64], matched: NDArray[np.int64], other: str) -> list[str]:
    alone = np.setdiff1d(np.arange(len(codes)), matched)
    if not alone.size:
        return []
    shown = ", ".join(f"{trial + 1} ({' '.join(map(str, codes[trial]))})" for trial in alone[:4])
    more = ", ..." if alone.size > 4 else ""
    return [f"{alone.size} of {len(codes)} trials of {side} are not in {other} and were left out: trial {shown}{more}"]


def _listed(words: NDArray[np.float64] | NDArray[np.int64]) -> str:
    shown = ", ".join(f"{word:.0f}" for word in words[:9])
    return shown if words.size <= 9 else f"{shown}, ..."

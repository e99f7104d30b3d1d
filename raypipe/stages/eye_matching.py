"""Which messages in an eye file are which of Ripple's markers, when nothing is known of the clocks but their rate.

Every message and marker of one code are a pair, and every pair proposes an offset between the clocks. Wrong pairs
scatter over hours; right ones agree, but for the drift. So the offset is where most pairs agree, first within seconds,
then within tens of ms for the best drift; with that clock each marker finds its own message, and one that was lost can
be told from the others. Parts of a file that belong to no session simply get no vote.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DRIFT = 1e-3  # quartz is a hundred times better
COARSE_MS = 1000.0
FINE_MS = 50.0
AGREEING_MS = 100.0
LATE_MS = 1500.0  # a message as late as this is still its marker's (PyHipp's tolerance)
NEIGHBOURS = 5
REFITS = 5
MOST_PLACES = 8


@dataclass(frozen=True, eq=False)
class Match:
    """One place of a session in the stream of messages.

    For each marker (m,): `ms` float64 its tracker time, increasing; `rows` int64 its message, -1 where it was lost and
    the time is reconstructed. `clock` is (ms at Ripple's zero, tracker ms per ms); `n_agreeing` is how many messages
    are within 0.1 s of it, `spread_ms` their root mean square.
    """

    ms: NDArray[np.float64]
    rows: NDArray[np.int64]
    clock: tuple[float, float]
    n_agreeing: int
    spread_ms: float

    @property
    def span_ms(self) -> tuple[float, float]:
        """Times of the first and the last message."""
        found = self.ms[self.rows >= 0]
        return float(found[0]), float(found[-1])


def find_places(
    message_codes: NDArray[np.int64],
    message_ms: NDArray[np.float64],
    codes: NDArray[np.int64],
    ripple_ms: NDArray[np.float64],
) -> list[Match]:
    """Find the places where at least half of a session's markers (and three) have their messages, best first.

    `message_ms` is not decreasing, `ripple_ms` increasing.
    """
    places = []
    for offsets, at in _coarse(*_pairs(message_codes, message_ms, codes, ripple_ms), ripple_ms):
        clock = _clock(offsets, at)
        match = _assigned(message_codes, message_ms, codes, ripple_ms, clock)
        if match.n_agreeing >= max(3, ripple_ms.size / 2):
            places.append(match)
    return sorted(places, key=lambda match: (-match.n_agreeing, match.spread_ms))


def _pairs(
    message_codes: NDArray[np.int64],
    message_ms: NDArray[np.float64],
    codes: NDArray[np.int64],
    ripple_ms: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give offset and Ripple time of every pair of one code."""
    offsets, at = [np.empty(0)], [np.empty(0)]
    for code in np.unique(codes):
        ours, theirs = ripple_ms[codes == code], message_ms[message_codes == code]
        offsets.append((theirs[:, None] - ours).ravel())
        at.append(np.tile(ours, theirs.size))
    return np.concatenate(offsets), np.concatenate(at)


def _coarse(
    offsets: NDArray[np.float64], at: NDArray[np.float64], ripple_ms: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the pairs of the windows in which enough markers may agree, whatever the drift; fullest first."""
    width = COARSE_MS + MAX_DRIFT * float(ripple_ms[-1] - ripple_ms[0])
    bins, counts = np.unique(np.floor(offsets / width), return_counts=True)
    # Two neighbouring bins hold any cluster that is no wider than one.
    beside = np.append(np.diff(bins) == 1, False)
    together = counts + np.where(beside, np.append(counts[1:], 0), 0)
    taken: list[float] = []
    for peak in np.argsort(-together, kind="stable"):
        if len(taken) == MOST_PLACES or together[peak] < max(3, ripple_ms.size / 2):
            return
        low = bins[peak]
        if all(abs(low - other) > 1 for other in taken):
            taken.append(low)
            inside = (offsets >= low * width) & (offsets < (low + 2) * width)
            yield offsets[inside], at[inside]


def _clock(offsets: NDArray[np.float64], at: NDArray[np.float64]) -> tuple[float, float]:
    """Find offset and rate in which most pairs agree, then by least squares among those that do."""
    middle, half = (at.max() + at.min()) / 2, max(at.max() - at.min(), 1.0) / 2
    n_drifts = 2 * int(np.ceil(4 * MAX_DRIFT * half / FINE_MS)) + 1
    best = (0, 0.0, 0.0)
    for drift in np.linspace(-MAX_DRIFT, MAX_DRIFT, n_drifts):
        left = offsets - drift * (at - middle)
        bins = np.floor((left - left.min()) / FINE_MS).astype(np.int64)
        counts = np.bincount(bins, minlength=2)
        together = counts[:-1] + counts[1:]
        peak = int(np.argmax(together))
        if together[peak] > best[0]:
            best = (int(together[peak]), float(left.min()) + (peak + 1) * FINE_MS, float(drift))
    _, offset, drift = best
    agree = np.abs(offsets - offset - drift * (at - middle)) <= AGREEING_MS
    for _ in range(REFITS):
        if np.unique(at[agree]).size < 2:
            break
        drift, offset = np.polyfit(at[agree] - middle, offsets[agree], 1)
        if abs(drift) > MAX_DRIFT:  # of a few markers in a second or two
            drift, offset = 0.0, np.median(offsets[agree])
        # Messages that were late or doubled do not pull the clock: what is far from the others is left out.
        left = offsets - offset - drift * (at - middle)
        centre = np.median(left[agree])
        spread_ms = np.median(np.abs(left[agree] - centre))
        agree = np.abs(left - centre) <= min(AGREEING_MS, max(5 * spread_ms, 2.0))
    return float(offset - drift * middle), 1 + float(drift)


def _assigned(
    message_codes: NDArray[np.int64],
    message_ms: NDArray[np.float64],
    codes: NDArray[np.int64],
    ripple_ms: NDArray[np.float64],
    clock: tuple[float, float],
) -> Match:
    """Give each marker the nearest message of its code, and a time to those without one."""
    expected = clock[0] + clock[1] * ripple_ms
    rows = np.full(codes.size, -1)
    for code in np.unique(codes):
        ours, theirs = np.flatnonzero(codes == code), np.flatnonzero(message_codes == code)
        if not theirs.size:
            continue
        # Windows of markers of one code never overlap, so no message is given twice.
        room = min(LATE_MS, 0.45 * float(np.min(np.diff(expected[ours]), initial=np.inf)))
        distance = np.abs(message_ms[theirs] - expected[ours][:, None])
        nearest = distance.argmin(axis=1)
        near = distance[np.arange(ours.size), nearest] <= room
        rows[ours[near]] = theirs[nearest[near]]
    late = np.where(rows >= 0, message_ms[rows] - expected, np.nan)
    agreeing = np.abs(late) <= AGREEING_MS
    spread = float(np.sqrt(np.mean(late[agreeing] ** 2))) if agreeing.any() else np.inf
    if not agreeing.any():
        return Match(expected, np.full(codes.size, -1), clock, 0, spread)
    ms, rows = _increasing(message_ms, rows, expected, late)
    return Match(ms, rows, clock, int(np.count_nonzero(agreeing & (rows >= 0))), spread)


def _increasing(
    message_ms: NDArray[np.float64], rows: NDArray[np.int64], expected: NDArray[np.float64], late: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Fill in the lost ones; where times then do not increase, the message farthest from its time counts as lost."""
    rows = rows.copy()
    while True:
        ms = np.where(rows >= 0, message_ms[rows], expected + _lateness_around(rows, expected, late))
        wrong = np.flatnonzero(np.diff(ms) <= 0)
        pairs = np.unique(np.concatenate([wrong, wrong + 1]))
        found = pairs[rows[pairs] >= 0]
        if not found.size:
            return ms, rows
        rows[found[np.argmax(np.abs(late[found]))]] = -1


def _lateness_around(
    rows: NDArray[np.int64], expected: NDArray[np.float64], late: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How late the nearest messages are (median), for those that were lost: the clocks do not drift quite evenly."""
    found = np.flatnonzero((rows >= 0) & (np.abs(late) <= AGREEING_MS))
    around = np.zeros(rows.size)
    if found.size:
        for lost in np.flatnonzero(rows < 0):
            near = np.argsort(np.abs(expected[found] - expected[lost]), kind="stable")[:NEIGHBOURS]
            around[lost] = np.median(late[found[near]])
    return around

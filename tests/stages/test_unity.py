"""The Unity object is PyHipp's where PyHipp's is right; broken trials and lost ones never put it out of step."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.config import Unity
from raypipe.errors import FormatError
from raypipe.io.objects import load_object, object_name
from raypipe.io.unity_log import UnityLog, read_unity_logs
from raypipe.stages.maze import JUNCTIONS, POSTERS, nearest_junction, poster_junction, walking_distances
from raypipe.stages.unity import unity_object
from raypipe.stages.unity_trials import find_trials, match_trials

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
SESSION = GOLDEN / "picasso" / "20181105" / "session01"
golden = pytest.mark.skipif(not SESSION.is_dir(), reason="PyHipp's golden day is not beside the repository")

EXTRACT = np.load(Path(__file__).parents[1] / "data" / "golden_unity_session01.npz")
"""A log, the recorder's trials, and what PyHipp made of them."""
ARGUMENTS = {
    "FileLineOffset": 15,
    "DirName": "RawData*",
    "FileName": "session*",
    "TriggerVal1": 10,
    "TriggerVal2": 20,
    "TriggerVal3": 30,
    "BinNumberLimit": 500,
}
WHERE = "picasso/20181105/session01"
ARRAYS = ("sumCost", "unityData", "unityTriggers", "unityTrialTime", "unityTime", "trialRouteRatio", "durationDiff")


def make(log: UnityLog, time_stamps: Any, markers: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    return unity_object(log, np.asarray(time_stamps), np.asarray(markers, np.uint16), Unity(), ARGUMENTS, WHERE)


def of_extract(tmp_path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    path = tmp_path / "session_1_5112018105323.txt"
    path.write_bytes(EXTRACT["log"].tobytes())
    return make(read_unity_logs([path]), EXTRACT["timeStamps"], EXTRACT["markers"])


# PyHipp's own.


def test_every_field_is_pyhipps(tmp_path: Path) -> None:
    """All arrays bit for bit, but for the direction of steps, where two versions of numpy may round an angle apart."""
    fields, notes = of_extract(tmp_path)
    assert notes == ()
    for name in ARRAYS:
        (ours,) = fields[name]
        theirs = EXTRACT[f"unity_{name}"]
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), name
        exact = ours if name != "unityData" else np.delete(ours, 5, axis=1)
        np.testing.assert_array_equal(exact, theirs if name != "unityData" else np.delete(theirs, 5, axis=1), name)
    np.testing.assert_allclose(fields["unityData"][0][:, 5], EXTRACT["unity_unityData"][:, 5], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(fields["timeStamps"][0], EXTRACT["timeStamps"])
    assert fields["timePerformance"] == [EXTRACT["unity_timePerformance"]]
    assert fields["routePerformance"] == [EXTRACT["unity_routePerformance"]]
    assert fields["numSets"] == EXTRACT["unity_numSets"]
    assert fields["setidx"] == [0] * 6


@golden
def test_order_and_types_are_those_of_pyhipps_file(tmp_path: Path) -> None:
    fields, _ = of_extract(tmp_path)
    theirs = load_object(GOLDEN / "prealign" / "unity_71bf.hkl")
    assert list(fields) == list(theirs)
    for name in ("args", "dirs", "plotopts", "current_idx", "numSets", "setidx"):
        assert fields[name] == theirs[name], name
    for name in (*ARRAYS, "timeStamps"):
        np.testing.assert_array_equal(theirs[name][0], EXTRACT.get(f"unity_{name}", EXTRACT["timeStamps"]))
        assert type(fields[name]) is type(theirs[name]) is list
    assert object_name("unity", ARGUMENTS) == "unity_71bf.hkl"


@golden
def test_fingerprints_of_what_alignment_leaves_alone(tmp_path: Path) -> None:
    fields, _ = of_extract(tmp_path)
    prints = json.loads((GOLDEN / "fingerprints.json").read_text())["session01/unity_71bf.hkl"]
    for name in ("sumCost", "unityTriggers", "trialRouteRatio", "durationDiff", "timeStamps"):
        (ours,), (theirs,) = fields[name], prints[name]
        assert (list(ours.shape), str(ours.dtype)) == (theirs["shape"], theirs["dtype"])
        assert ours.ravel()[:8].tolist() == theirs["head"]
        assert float(ours.sum()) == pytest.approx(theirs["sum"], rel=1e-12)


# The maze.


def test_ways_through_the_maze() -> None:
    ways = walking_distances()
    assert ways.shape == (21, 21)
    np.testing.assert_array_equal(ways, ways.T)
    by_hand = {(0, 0): 0, (0, 1): 5, (0, 20): 40, (5, 7): 30, (9, 1): 20, (2, 18): 20, (6, 14): 10, (1, 17): 30}
    assert {pair: ways[pair] for pair in by_hand} == by_hand


def test_junctions() -> None:
    assert nearest_junction(np.array(JUNCTIONS)).tolist() == list(range(21))
    assert nearest_junction(np.array([[-2.5, 10], [12.4, -12.4], [2.4, 0.1]])).tolist() == [1, 20, 10]
    assert [JUNCTIONS[poster_junction(p)] for p in range(1, 7)] == [
        (-5, -10),
        (-10, 5),
        (10, -5),
        (5, 10),
        (5, 0),
        (-5, 0),
    ]


# A walk made for the purpose: trials of six words and a way.


def walk(*trials: tuple[int, int, list[int], int], still: int = 3) -> UnityLog:
    """A log of trials (poster, word of the end, junctions, frames at each), with `still` frames between triggers."""
    rows: list[list[float]] = []
    x, z = 0.0, 10.0

    def stand(word: int, n: int) -> None:
        rows.extend([word if k == 0 else 0, 0.02 + 0.001 * (len(rows) % 7), x, z, 0.0] for k in range(n))

    for poster, end, route, n_frames in trials:
        stand(0, still)
        x, z = JUNCTIONS[route[0]]
        stand(10 + poster, 2 + poster)
        stand(20 + poster, 1)
        for junction in route:
            x, z = JUNCTIONS[junction]
            stand(0, n_frames)
        stand(end, 1)
    stand(0, still)
    return UnityLog(np.array(rows), 1)


def recorded(log: UnityLog) -> tuple[Any, Any]:
    """The recorder's trials of a log: time stamps and markers."""
    rows, _ = find_trials(log.frames[:, 0], Unity())
    times = np.append(0, np.cumsum(log.frames[:, 1]))
    return 100 + 1.0001 * times[rows + 1], log.frames[rows, 0].astype(np.uint16)


def costs(*trials: tuple[int, int, list[int], int]) -> list[list[float]]:
    log = walk(*trials)
    fields, _ = make(log, *recorded(log))
    costs: list[list[float]] = fields["sumCost"][0].tolist()
    return costs


def test_costs() -> None:
    """Poster 4 is at junction 3, one corridor from junction 2 and three from 10."""
    assert costs((4, 34, [2, 3], 5)) == [[5, 5, 0, 4, 30, 1]]
    assert costs((4, 44, [2, 3], 5)) == [[5, 5, 0, 4, 40, 0]], "timed out, so not by the shortest way"
    assert costs((4, 44, [10, 6], 5)) == [[15, 5, -10, 4, 40, 0]]
    assert costs((4, 34, [2, 1, 2, 3], 5)) == [[5, 15, 10, 4, 30, 1]], "a wrong turning, soon mended"
    assert costs((4, 34, [2, 1, 2, 3], 165)) == [[5, 15, 10, 4, 30, 1]]
    assert costs((4, 34, [2, 1, 2, 3], 166)) == [[5, 15, 10, 4, 30, 0]], "who lingers has not just turned wrong"
    assert costs((4, 34, [2, 6, 10, 11, 12, 7, 4, 3], 5)) == [[5, 35, 30, 4, 30, 0]], "another way round"
    assert costs((4, 34, [3], 5)) == [[0, 0, 0, 4, 30, 1]]


def test_ratio_of_who_starts_at_the_poster() -> None:
    log = walk((4, 34, [3], 5), (4, 34, [3, 2, 3], 5), (1, 31, [2, 6], 5))
    fields, notes = make(log, *recorded(log))
    assert notes == ()
    assert np.isnan(fields["trialRouteRatio"][0][0])
    assert fields["trialRouteRatio"][0][1:].tolist() == [np.inf, 1 / 5]
    assert fields["timePerformance"] == [1.0]
    assert fields["routePerformance"] == [1.0]


def test_directions() -> None:
    """North is 0, east 90; a frame without a step has none."""
    steps = np.array([[0, 0], [0, 1], [1, 1], [1, 1], [1, -1], [0, -1], [1, 0]])
    log = walk((1, 31, [2, 1], 4))
    log.frames[: len(steps), 2:4] = steps
    data = make(log, *recorded(log))[0]["unityData"][0]
    np.testing.assert_allclose(data[: len(steps), 5], [np.nan, 0, 90, np.nan, 180, 270, 45])
    np.testing.assert_allclose(data[: len(steps), 6], [0, 1, 1, 0, 2, 1, np.sqrt(2)])


@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_invariants(n_trials: int, random: Any) -> None:
    """Whatever the way: an own way is at least the shortest between its ends, times and differences add up."""
    trials = []
    for _ in range(n_trials):
        route = [random.randrange(21)]
        for _ in range(random.randrange(6)):
            route.append(random.choice(np.flatnonzero(walking_distances()[route[-1]] == 5).tolist()))
        poster = random.randrange(1, 7)
        trials.append((poster, random.choice([30, 40]) + poster, route, random.randrange(1, 4)))
    log = walk(*trials)
    stamps, markers = recorded(log)
    fields, notes = make(log, stamps, markers)
    assert notes == ()
    rows, times = fields["unityTriggers"][0], fields["unityTime"][0]
    np.testing.assert_array_equal(log.frames[rows, 0], markers)
    assert times.shape == (len(log.frames) + 1,)
    np.testing.assert_allclose(times[rows + 1], (stamps - 100) / 1.0001, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fields["durationDiff"][0], -0.1 * (times[rows[:, 2] + 1] - times[rows[:, 0] + 1]))
    trial_times = fields["unityTrialTime"][0]
    assert trial_times.shape == ((rows[:, 2] - rows[:, 1]).max() + 2, n_trials)
    for k, (_, cue_off, end) in enumerate(rows):
        inside = trial_times[: end - cue_off + 1, k]
        np.testing.assert_allclose(inside, times[cue_off + 1 : end + 2] - times[cue_off + 1], rtol=0, atol=1e-9)
        assert np.isnan(trial_times[end - cue_off + 1 :, k]).all()
    cost = fields["sumCost"][0]
    for k, (poster, end, route, _) in enumerate(trials):
        assert cost[k, 0] == walking_distances()[route[0], poster_junction(poster)]
        assert cost[k, 1] == 5 * (len(route) - 1)
        assert cost[k, 3:5].tolist() == [poster, end - poster]
    np.testing.assert_array_equal(cost[:, 2], cost[:, 1] - cost[:, 0])
    np.testing.assert_array_equal(cost[:, 5] <= (cost[:, 4] == 30), True)


# Broken trials.


@pytest.mark.parametrize(
    ("words", "rows", "left_out"),
    [
        ([0, 11, 0, 21, 0, 31, 0], [[1, 3, 5]], []),
        ([11, 21, 31, 12, 22, 42], [[0, 1, 2], [3, 4, 5]], []),
        ([21, 31, 12, 22, 32], [[2, 3, 4]], [0, 1]),  # begins inside a trial
        ([31, 12, 22, 32], [[1, 2, 3]], [0]),
        ([11, 0, 12, 22, 32], [[2, 3, 4]], [0]),  # a cue on without end
        ([11, 21, 12, 22, 32], [[2, 3, 4]], [0, 1]),
        ([11, 21, 31, 12], [[0, 1, 2]], [3]),  # ends inside a trial
        ([11, 21, 31, 12, 22], [[0, 1, 2]], [3, 4]),
        ([11, 31, 12, 22, 32], [[2, 3, 4]], [0, 1]),  # no cue off
        ([11, 21, 31, 31, 12, 22, 32], [[0, 1, 2], [4, 5, 6]], []),  # a word held for two frames
        ([11, 11, 0, 21, 21, 21, 0, 31, 31], [[0, 3, 7]], []),
        ([11, 0, 11, 0, 21, 0, 31], [[2, 4, 6]], [0]),  # begun anew
        ([11, 0, 21, 0, 21, 0, 31], [[0, 2, 6]], [4]),  # a doubled cue off
        ([11, 0, 21, 0, 31, 0, 31, 12, 22, 32], [[0, 2, 4], [7, 8, 9]], [6]),  # ends outnumber
        ([11, 21, 22, 32], [], [0, 1, 2, 3]),  # end and cue on are lost: two halves of two trials
        ([11, 21, 32, 13, 23, 33], [[3, 4, 5]], [0, 1, 2]),
        ([84, 11, 21, 31, 204, 0], [[1, 2, 3]], []),  # starts of a session are no ends
        ([10, 20, 30, 11, 21, 31], [[3, 4, 5]], []),  # the bounds themselves are no triggers
        ([0, 0], [], []),
    ],
)
def test_trials_of_words(words: list[int], rows: list[list[int]], left_out: list[int]) -> None:
    found, left = find_trials(np.array(words, np.float64), Unity())
    assert found.tolist() == rows
    assert found.shape == (len(rows), 3)
    assert found.dtype == np.int64
    assert left.tolist() == left_out


@given(st.lists(st.sampled_from([0, 0, 11, 12, 21, 22, 31, 32, 41, 42, 84]), max_size=40))
def test_every_trigger_is_in_a_trial_or_left_out(words: list[int]) -> None:
    found, left = find_trials(np.array([*words, 0], np.float64), Unity())
    assert (np.diff(found.ravel()) > 0).all()
    for cue_on, cue_off, end in found:
        assert words[cue_on] // 10 == 1 and words[cue_off] // 10 == 2 and words[end] // 10 in (3, 4)
        assert words[cue_on] % 10 == words[cue_off] % 10 == words[end] % 10
    held = [row for row in range(1, len(words)) if words[row] == words[row - 1]]
    triggers = [row for row, word in enumerate(words) if word not in (0, 84) and row not in held]
    assert sorted([*found.ravel().tolist(), *left.tolist()]) == triggers


def session(n: int, seed: int = 0) -> UnityLog:
    random = np.random.default_rng(seed)
    posters = random.integers(1, 7, n)
    return walk(
        *[(int(p), 30 + int(p), [2, 6, 10][: 1 + k % 3], int(random.integers(1, 60))) for k, p in enumerate(posters)]
    )


def without(log: UnityLog, *trials: int) -> UnityLog:
    """The log with the end of these trials lost."""
    rows, _ = find_trials(log.frames[:, 0], Unity())
    frames = log.frames.copy()
    frames[rows[list(trials), 2], 0] = 0
    return UnityLog(frames, 1)


@pytest.mark.parametrize("lost", [[0], [7], [19], [0, 1, 10, 19]])
def test_a_trial_that_both_lack(lost: list[int]) -> None:
    log = session(20)
    whole, _ = make(log, *recorded(log))
    stamps, markers = recorded(log)
    kept = np.setdiff1d(np.arange(20), lost)
    fields, notes = make(without(log, *lost), stamps[kept], markers[kept])
    for name in ("sumCost", "unityTriggers", "durationDiff", "timeStamps"):
        np.testing.assert_array_equal(fields[name][0], whole[name][0][kept])
    assert len(notes) == 1
    assert f"{2 * len(lost)} triggers" in notes[0]
    assert fields["setidx"] == [0] * len(kept)


@pytest.mark.parametrize("lost", [[0], [7], [19], [3, 4, 12]])
@pytest.mark.parametrize("seed", range(5))
def test_a_trial_that_only_the_recorder_has(lost: list[int], seed: int) -> None:
    log = session(20, seed)
    stamps, markers = recorded(log)
    fields, notes = make(without(log, *lost), stamps, markers)
    kept = np.setdiff1d(np.arange(20), lost)
    np.testing.assert_array_equal(fields["timeStamps"][0], stamps[kept])
    assert np.abs(fields["durationDiff"][0]).max() < 1
    assert any(f"{len(lost)} of 20 trials of the recorder are not in Unity" in note for note in notes)
    assert any(f"trial {lost[0] + 1} (" in note for note in notes)


@pytest.mark.parametrize("lost", [[0], [7], [19], [3, 4, 12]])
@pytest.mark.parametrize("seed", range(5))
def test_a_trial_that_only_unity_has(lost: list[int], seed: int) -> None:
    log = session(20, seed)
    whole, _ = make(log, *recorded(log))
    stamps, markers = recorded(log)
    kept = np.setdiff1d(np.arange(20), lost)
    fields, notes = make(log, stamps[kept], markers[kept])
    np.testing.assert_array_equal(fields["unityTriggers"][0], whole["unityTriggers"][0][kept])
    np.testing.assert_array_equal(fields["timeStamps"][0], stamps[kept])
    assert [f"{len(lost)} of 20 trials of Unity are not in the recorder" in note for note in notes] == [True]


def test_equal_counts_but_each_lacks_another_trial() -> None:
    """Trial 3 of one is not trial 3 of the other, though both have 19."""
    log = session(20)
    stamps, markers = recorded(log)
    fields, notes = make(without(log, 4), np.delete(stamps, 11, 0), np.delete(markers, 11, 0))
    np.testing.assert_array_equal(fields["timeStamps"][0], np.delete(stamps, [4, 11], 0))
    assert np.abs(fields["durationDiff"][0]).max() < 1
    assert len(notes) == 3


def test_a_word_misread_keeps_its_trial() -> None:
    log = session(20)
    stamps, markers = recorded(log)
    markers[5, 1] ^= 8
    markers[9] += 6  # a line of the digital port that is stuck
    fields, notes = make(log, stamps, markers)
    np.testing.assert_array_equal(fields["timeStamps"][0], stamps)
    assert [note for note in notes if "words of 2 trials differ" in note and "trial 6, 10" in note]


@pytest.mark.parametrize("lost", [[], [0], [13, 22]])
@pytest.mark.parametrize(("more", "scatter"), [(0.066, 0.005), (0, 0.1), (-0.3, 0.05)])
@pytest.mark.parametrize("seed", range(5))
def test_trials_that_last_longer_in_unity(lost: list[int], more: float, scatter: float, seed: int) -> None:
    """Frames written twice, or a clock that stumbles, make no trial another one: words tell which it is."""
    random = np.random.default_rng(seed)
    posters = 1 + np.cumsum(random.integers(1, 6, 40)) % 6
    codes, seconds = np.add.outer(posters, [10, 20, 30]), random.uniform(2, 6, 40)
    kept = np.setdiff1d(np.arange(40), lost)
    pairs = match_trials(codes[kept], seconds[kept] + more + random.normal(0, scatter, kept.size), codes, seconds)
    np.testing.assert_array_equal(pairs, np.column_stack([np.arange(kept.size), kept]))


def test_triggers_that_are_written_twice() -> None:
    log = session(20)
    stamps, markers = recorded(log)
    twice = np.repeat(log.frames, 1 + (log.frames[:, 0] > 0), axis=0)
    fields, _ = make(UnityLog(twice, 1), stamps, markers)
    np.testing.assert_array_equal(fields["timeStamps"][0], stamps)


def test_equal_trials_in_a_row_are_told_apart_by_their_length() -> None:
    codes = np.tile([11, 21, 31], (6, 1))
    seconds = np.array([1.0, 2.5, 1.7, 3.3, 0.8, 2.1])
    pairs = match_trials(np.delete(codes, 2, 0), np.delete(seconds, 2) + 0.003, codes, seconds)
    assert pairs.tolist() == [[0, 0], [1, 1], [2, 3], [3, 4], [4, 5]]


@given(st.data())
def test_matching_finds_what_was_lost(data: st.DataObject) -> None:
    """Any tenth of the trials lost on either side: those that are left on both are matched, each with itself."""
    n = data.draw(st.integers(10, 60))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    codes = np.add.outer(random.integers(1, 7, n), [10, 20, 30])
    seconds = 1 + 0.2 * random.permutation(n)
    ours, theirs = (np.sort(random.permutation(n)[n // 10 :]) for _ in range(2))
    pairs = match_trials(
        codes[ours], seconds[ours] + random.normal(0, 0.002, ours.size), codes[theirs], seconds[theirs]
    )
    matched = np.column_stack([ours[pairs[:, 0]], theirs[pairs[:, 1]]])
    for trial in np.intersect1d(ours, theirs):
        assert [trial, trial] in matched.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_another_sessions_log(seed: int) -> None:
    stamps, markers = recorded(session(40, seed + 100))
    with pytest.raises(FormatError, match="has 30 trials, the recorder 40, and they are not the same"):
        make(session(30, seed), stamps, markers)


def test_no_complete_trial() -> None:
    log = without(session(2), 0, 1)
    with pytest.raises(FormatError, match=rf"{WHERE}.*4 triggers and not one complete trial: 1\d, 2\d"):
        make(log, *recorded(session(2)))


def test_markers_that_are_no_trials() -> None:
    log = session(2)
    with pytest.raises(FormatError, match="not trials of three words"):
        make(log, np.zeros((2, 2)), np.ones((2, 2)))
    with pytest.raises(FormatError, match="not trials of three words"):
        make(log, np.zeros(6), np.ones(6))
    with pytest.raises(FormatError, match="not the same"):
        make(log, np.cumsum(np.ones((4, 3)), axis=0), np.tile([1, 2, 3], (4, 1)))


def test_unknown_poster() -> None:
    log = session(3)
    rows, _ = find_trials(log.frames[:, 0], Unity())
    log.frames[rows[1], 0] = [17, 27, 37]
    with pytest.raises(FormatError, match=f"37 is of no poster: the maze has 1 to {len(POSTERS)}"):
        make(log, *recorded(log))


def test_other_trigger_values() -> None:
    """A task with other words is read with other bounds."""
    settings = Unity(TriggerVal1=110, TriggerVal2=120, TriggerVal3=130)
    found, _ = find_trials(np.array([11.0, 111, 121, 131]), settings)
    assert found.tolist() == [[1, 2, 3]]


def test_the_first_frame_and_the_last_may_be_triggers() -> None:
    log = walk((1, 31, [2], 2), still=0)
    fields, notes = make(log, *recorded(log))
    assert fields["unityTriggers"][0].tolist() == [[0, 3, len(log.frames) - 1]]
    assert notes == ()


def test_one_poster_twice_and_one_of_them_lost_on_each_side() -> None:
    """By their words the trials are equal; by their lengths the first of one is the second of the other."""
    codes = np.array([[13, 23, 33], [14, 24, 34], [14, 24, 34], [14, 24, 34], [16, 26, 36], [11, 21, 31]])
    seconds = np.array([1.0, 1.4, 2.4, 1.6, 2.0, 3.0])
    ours, theirs = np.delete(np.arange(6), 3), np.delete(np.arange(6), 1)
    pairs = match_trials(codes[ours], seconds[ours], codes[theirs], seconds[theirs])
    assert np.column_stack([ours[pairs[:, 0]], theirs[pairs[:, 1]]]).tolist() == [[0, 0], [2, 2], [4, 4], [5, 5]]


def test_equal_words_stand_however_long_the_trials_were() -> None:
    """A trial in which Unity stood still for seconds is marked doubtful later, not left out."""
    codes = np.add.outer(np.array([3, 4, 4, 6]), [10, 20, 30])
    seconds = np.array([1.0, 2.0, 3.0, 4.0])
    pairs = match_trials(codes, seconds, codes, seconds + np.array([0, 7.0, 0, 0.3]))
    assert pairs.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]

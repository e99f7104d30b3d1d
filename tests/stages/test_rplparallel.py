"""Trials from the marker words of a session."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.errors import FormatError
from raypipe.stages.rplparallel import Markers, arrange_markers, object_fields

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "golden_markers.json").read_text())
AS_PYHIPP = ("84", "204", "other_no_start", "calib_123", "calib_124", "128_first")
TRIALS = [[11, 21, 31], [12, 22, 42], [13, 23, 33]]


def arrange(codes: list[int], ticks: list[int] | None = None, resolution: int = 30000) -> Markers:
    times = np.array(ticks if ticks is not None else 30000 + 7500 * np.arange(len(codes)), np.int64)
    return arrange_markers(np.array(codes, np.uint16), times, resolution)


def golden(name: str) -> Markers:
    return arrange(CASES[name]["codes"], CASES[name]["ticks"])


def strobed(words: list[int]) -> list[int]:
    return [code for word in words for code in (word, 0)]


@pytest.mark.parametrize("name", AS_PYHIPP)
def test_as_pyhipp(name: str) -> None:
    markers = golden(name)
    ours = {key: np.asarray(value).tolist() for key, value in markers.fields.items()}
    assert ours.pop("rawMarkers") == CASES[name]["codes"]
    assert ours == CASES[name]["fields"]
    assert markers.notes == ()


@pytest.mark.parametrize(
    ("name", "expected", "first_times", "note"),
    [
        ("pairs_1_3", [[1, 3]] * 3, [1.0, 1.5], ""),
        ("start_85", TRIALS, [1.5, 2.0, 2.5], "85"),
        ("nozero", TRIALS, [1.25, 1.5, 1.75], ""),
        ("incomplete_trial", TRIALS, [1.5, 2.0, 2.5], "14, 24"),
        ("missing_zero_odd", TRIALS, [1.5, 2.0, 2.5], ""),
        ("two_starts", [*TRIALS, [11, 21, 31]], [1.5, 2.0, 2.5], "started again at 6.000 s"),
    ],
)
def test_mended(name: str, expected: list[list[int]], first_times: list[float], note: str) -> None:
    markers = golden(name)
    fields = markers.fields
    assert fields["markers"].tolist() == expected
    assert fields["timeStamps"].shape == fields["trialIndices"].shape == fields["markers"].shape
    assert fields["timeStamps"][0].tolist() == first_times
    np.testing.assert_array_equal(fields["trialIndices"], np.rint(fields["timeStamps"] * 30000))
    assert fields["sessionStartTime"] == 1.0
    assert fields["rawMarkers"].tolist() == CASES[name]["codes"]
    assert (note in markers.notes[0]) if note else not markers.notes


def test_types() -> None:
    fields = golden("84").fields
    assert fields["markers"].dtype == fields["rawMarkers"].dtype == np.uint16
    assert fields["timeStamps"].dtype == np.float64
    assert fields["trialIndices"].dtype == np.int64
    assert type(fields["sessionStartTime"]) is np.float64
    assert type(fields["samplingRate"]) is type(fields["numSets"]) is int


def test_order_of_fields() -> None:
    names = "args markers timeStamps dirs setidx plotopts current_idx"
    late = "samplingRate rawMarkers sessionStartTime numSets trialIndices"
    assert list(object_fields(golden("84"), "p/1/session01")) == [*names.split(), *late.split()]
    assert list(object_fields(golden("128_first"), "p/1/session01")) == [*names.split(), "rawMarkers"]


def test_trial_broken_off_in_the_middle() -> None:
    markers = arrange(strobed([84, 11, 21, 12, 22, 32, 13, 13, 23, 43]))
    assert markers.fields["markers"].tolist() == [[12, 22, 32], [13, 23, 43]]
    assert "3 markers" in markers.notes[0]
    assert "11, 21, 13" in markers.notes[0]
    assert "1.500 s" in markers.notes[0]


def test_restart_in_the_middle_of_a_trial() -> None:
    markers = arrange(strobed([84, 11, 21, 31, 12, 22, 84, 13, 23, 33]))
    assert markers.fields["markers"].tolist() == [[11, 21, 31], [13, 23, 33]]
    assert len(markers.notes) == 2


def test_calibration_begun_twice_is_not_taken_for_pairs() -> None:
    assert arrange(strobed([1, 1, 2, 3])).fields["markers"].tolist() == [[1, 2, 3]]


def test_words_without_phases_are_taken_as_they_come() -> None:
    assert arrange(strobed([5, 6, 7, 8, 9, 5, 6])).fields["markers"].tolist() == [[5, 6, 7], [8, 9, 5]]


def test_index_at_another_resolution() -> None:
    fields = arrange(strobed([11, 21, 31]), [1000 * k for k in range(1, 7)], resolution=1000).fields
    assert fields["trialIndices"].tolist() == [[30000, 90000, 150000]]
    assert fields["timeStamps"].tolist() == [[1.0, 3.0, 5.0]]


@pytest.mark.parametrize(("codes", "message"), [([], "no marker"), ([0, 0], "no marker"), ([84, 0, 11, 0], "not one")])
def test_nothing_to_arrange(codes: list[int], message: str) -> None:
    ticks = np.arange(len(codes), dtype=np.int64)
    with pytest.raises(FormatError, match=message) as caught:
        arrange_markers(np.array(codes, np.uint16), ticks, 30000, where="session01/x.nev")
    assert "session01/x.nev" in str(caught.value)


@given(
    trials=st.lists(st.tuples(*(st.integers(1, 6) for _ in range(3)), st.sampled_from([30, 40])), min_size=1),
    start=st.sampled_from([[], [84], [204]]),
    zeros=st.booleans(),
)
def test_whole_sessions_keep_every_trial(trials: list[Any], start: list[int], zeros: bool) -> None:
    expected = [[10 + a, 20 + b, end + c] for a, b, c, end in trials]
    words = start + [word for trial in expected for word in trial]
    codes = strobed(words) if zeros else words
    markers = arrange(codes)
    assert markers.fields["markers"].tolist() == expected
    assert markers.notes == ()
    ticks = 30000 + 7500 * np.arange(len(codes))
    chosen = np.flatnonzero(np.array(codes) > 0)[len(start) :]
    assert markers.fields["trialIndices"].ravel().tolist() == ticks[chosen].tolist()

"""Umaze is PyHipp's where PyHipp's is right, and what it should be where PyHipp's is not."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.errors import FormatError
from raypipe.io.objects import load_object, object_name
from raypipe.io.tables import Table
from raypipe.stages.umaze import umaze_object

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
SESSION = GOLDEN / "picasso" / "20181105" / "session01"
golden = pytest.mark.skipif(not SESSION.is_dir(), reason="PyHipp's golden day is not beside the repository")
pytestmark = pytest.mark.filterwarnings("ignore::hickle.lookup.SerializedWarning")

EXTRACT = np.load(Path(__file__).parents[1] / "data" / "golden_unity_session01.npz")
"""PyHipp's Unity and Umaze of one session, before alignment."""
ARGUMENTS = {"GridSteps": 40, "OverallGridSize": 25, "MinObs": 5}
WHERE = "picasso/20181105/session01"
EXACT = (
    *("oGS2", "gridSize", "horGridBound", "vertGridBound", "gpEdges", "gridPosition", "setIndex", "processTrials"),
    *("sortedGPindinfo", "sGPi_minobs", "sTPu", "nsTPu", "gp2ind"),
)
ROUNDING = 1e-12


def unity_of_extract() -> dict[str, Any]:
    names = [name.removeprefix("unity_") for name in EXTRACT.files if name.startswith("unity_unity")]
    return {name: [EXTRACT[f"unity_{name}"].copy()] for name in (*names, "sumCost")}


def make(unity: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    fields, notes = umaze_object(unity, ARGUMENTS | arguments, WHERE)
    assert notes == ()
    return fields


# PyHipp's own.


@pytest.mark.parametrize("name", EXACT)
def test_fields_that_are_pyhipps_exactly(name: str) -> None:
    ours = make(unity_of_extract())[name]
    if name in ("processTrials", "sGPi_minobs"):
        assert type(ours) is tuple
        (ours,) = ours
    theirs = EXTRACT[f"umaze_{name}"]
    assert (np.asarray(ours).dtype, np.shape(ours)) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours, theirs)


def test_times_are_pyhipps_but_for_the_last_digit() -> None:
    """Ours are Unity's own; PyHipp adds those since cue off to that of cue off, and sums in another order."""
    fields = make(unity_of_extract())
    for name in ("sessionTime", "gpDurations"):
        assert fields[name].dtype == np.float64
        np.testing.assert_allclose(fields[name], EXTRACT[f"umaze_{name}"], rtol=0, atol=ROUNDING, err_msg=name)
    assert isinstance(fields["matrix"], Table)
    assert fields["matrix"].columns == tuple(range(40))
    np.testing.assert_allclose(fields["matrix"].values, EXTRACT["umaze_matrix"], rtol=0, atol=ROUNDING)


def test_sorted_rows_are_pyhipps_as_sets() -> None:
    """PyHipp's sort is not stable: within a bin its order is any; ours is that of time."""
    fields = make(unity_of_extract())
    ours, theirs = fields["sortedGPindices"], EXTRACT["umaze_sortedGPindices"]
    assert ours.dtype == theirs.dtype
    for _, first, last, _ in fields["sortedGPindinfo"].astype(int):
        assert set(ours[first : last + 1]) == set(theirs[first : last + 1])
        assert (np.diff(ours[first : last + 1]) > 0).all()


def test_occupancy_counts_the_last_visit() -> None:
    """What PyHipp leaves out is one visit of each bin; what is left is PyHipp's, visit by visit."""
    fields = make(unity_of_extract())
    theirs = EXTRACT["umaze_ou_i"]
    lasted = EXTRACT["umaze_sessionTime"][EXTRACT["umaze_sortedGPindices"], 2]
    last = EXTRACT["umaze_sortedGPindinfo"][EXTRACT["umaze_sGPi_minobs"], 2].astype(int)
    assert fields["ou_i"].shape == theirs.shape
    assert (fields["ou_i"] > theirs).all()
    np.testing.assert_allclose(fields["ou_i"][:, 0], theirs[:, 0] + lasted[last], rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(fields["P_i"], fields["ou_i"] / fields["ou_i"].sum(), rtol=1e-15)


@golden
def test_order_and_types_are_those_of_pyhipps_file() -> None:
    theirs = load_object(GOLDEN / "prealign" / "umaze_fd09.hkl")
    fields = make(load_object(GOLDEN / "prealign" / "unity_71bf.hkl"))
    assert list(fields) == list(theirs)
    for name, value in fields.items():
        if name != "matrix":
            assert type(value) is type(theirs[name]), name
            if isinstance(value, np.ndarray):
                assert value.dtype == theirs[name].dtype, name
                assert f"umaze_{name}" not in EXTRACT or np.array_equal(theirs[name], EXTRACT[f"umaze_{name}"]), name
    for name in ("args", "dirs", "setidx", "plotopts", "current_idx", "GridSteps", "OverallGridSize"):
        assert fields[name] == theirs[name]
    for name in ("unityTriggers", "unityTrialTime"):
        np.testing.assert_array_equal(fields[name][0], theirs[name][0])
    assert object_name("umaze", ARGUMENTS) == "umaze_fd09.hkl"


@golden
def test_after_pyhipps_alignment_nothing_is_nan() -> None:
    """PyHipp's own aligned Unity, whose times of trials are two frames short: all of PyHipp's times that are any, and no NaN."""
    theirs = load_object(SESSION / "umaze_fd09.hkl")
    fields = make(load_object(SESSION / "unity_71bf.hkl"))
    for name in ("sessionTime", "gpDurations", "ou_i", "P_i"):
        assert np.isfinite(fields[name]).all(), name
    known = np.isfinite(theirs["sessionTime"])
    assert np.count_nonzero(~known) == 24
    np.testing.assert_allclose(fields["sessionTime"][known], theirs["sessionTime"][known], rtol=0, atol=ROUNDING)
    for name in ("gridPosition", "sortedGPindinfo", "gp2ind", "sTPu"):
        np.testing.assert_array_equal(fields[name], theirs[name])
    np.testing.assert_allclose(fields["gpDurations"], theirs["gpDurations"], rtol=0, atol=ROUNDING)


@golden
def test_fingerprints() -> None:
    prints = json.loads((GOLDEN / "fingerprints.json").read_text())["session01/umaze_fd09.hkl"]
    fields = make(load_object(SESSION / "unity_71bf.hkl"))
    for name in ("gridPosition", "gpDurations", "sortedGPindices", "sTPu", "gp2ind"):
        theirs = prints[name]
        assert (list(fields[name].shape), str(fields[name].dtype)) == (theirs["shape"], theirs["dtype"])
        assert float(fields[name].sum()) == pytest.approx(theirs["sum"], rel=1e-12)


# Walks made for the purpose.


def unity_of(positions: Any, triggers: Any, seconds: Any = None, success: Any = None) -> dict[str, Any]:
    xz = np.asarray(positions, np.float64)
    seconds = np.full(len(xz), 0.25) if seconds is None else np.asarray(seconds, np.float64)
    rows = np.asarray(triggers, np.int64).reshape(-1, 3)
    cost = np.zeros((len(rows), 6))
    cost[:, 5] = 1 if success is None else success
    nothing = np.zeros(len(xz))
    data = np.column_stack([nothing, seconds, xz, nothing, nothing, nothing])
    times = np.append(0, np.cumsum(seconds))
    # What PyHipp takes times from, and ours must not: a NaN anywhere would be found.
    trial_times = np.full((len(xz), len(rows)), np.nan)
    return {
        "unityData": [data],
        "unityTriggers": [rows],
        "unityTime": [times],
        "unityTrialTime": [trial_times],
        "sumCost": [cost],
    }


SOUTH_WEST, NEXT_EAST, NORTH_EAST, MIDDLE = (-12.4, -12.4), (-11.8, -12.4), (12.4, 12.4), (0.1, 0.1)


def test_a_walk_by_hand() -> None:
    """Two trials of a walk in quarters of a second; the first cue off is in row 1 (at 0.5 s)."""
    walk = [
        MIDDLE,
        MIDDLE,
        SOUTH_WEST,
        SOUTH_WEST,
        NEXT_EAST,
        SOUTH_WEST,
        MIDDLE,
        MIDDLE,
        NORTH_EAST,
        SOUTH_WEST,
        MIDDLE,
    ]
    fields = make(unity_of(walk, [[0, 1, 5], [6, 7, 9]], success=[0, 1]), MinObs=3)
    assert fields["gridPosition"].tolist() == [0, 0, 1, 1, 2, 1, 0, 0, 1600, 1, 821]
    times = [[0, 0], [0.5, 1], [1.25, 2], [1.5, 1], [1.5, 0], [2, 1600], [2.5, 1], [2.5, 0]]
    np.testing.assert_array_equal(fields["sessionTime"][:, :2], times)
    np.testing.assert_array_equal(fields["sessionTime"][:, 2], [0.5, 0.75, 0.25, 0, 0.5, 0.5, 0, 0])
    assert fields["sortedGPindices"].tolist() == [0, 4, 7, 1, 3, 6, 2, 5]
    assert fields["sortedGPindinfo"].tolist() == [[1, 3, 5, 2], [2, 6, 6, 0], [1600, 7, 7, 0]]
    assert fields["gp2ind"].tolist() == [1, 2]  # as PyHipp's, it looks for the bins among 0 to 1599
    assert (fields["sGPi_minobs"][0].tolist(), fields["sTPu"].tolist(), fields["nsTPu"]) == ([0], [1], 1)
    assert (fields["ou_i"].tolist(), fields["P_i"].tolist()) == ([[0.75]], [[1]])
    assert fields["processTrials"][0].tolist() == [1]
    durations = fields["gpDurations"]
    assert durations.shape == (1600, 2)
    assert durations[[0, 1], 0].tolist() == [0.75, 0.25]
    assert durations[[0, 1599], 1].tolist() == [0.25, 0.25]
    assert durations.sum() == 1.5
    matrix = fields["matrix"].values
    assert matrix[39, 0] == 0.75 and matrix[39, 1] == 0.25 and matrix[0, 39] == 0.5
    assert matrix.sum() == 1.5


def test_the_log_ends_with_the_last_trial() -> None:
    """PyHipp looks for the frame after it, and fails."""
    fields = make(unity_of([MIDDLE] * 4, [[0, 1, 3]]))
    assert fields["gpDurations"].sum() == 0.25  # how long the last frame lasted nobody knows
    assert fields["sessionTime"][-1].tolist() == [1.0, 0, 0]


def test_a_trial_of_one_frame_and_of_none() -> None:
    fields = make(unity_of([MIDDLE] * 6, [[0, 1, 2], [3, 4, 5]]))
    assert fields["sessionTime"].tolist() == [[0, 0, 0.5], [0.5, 0, 0.25], [0.75, 0, 0.5], [1.25, 0, 0.25], [1.5, 0, 0]]
    assert (fields["nsTPu"], fields["P_i"].shape, fields["sortedGPindinfo"].shape) == (0, (0, 1), (0, 4))


def test_a_trial_that_pyhipp_has_flattened() -> None:
    """All its frames at one time: it is no visit of any bin, as in PyHipp."""
    walk = [MIDDLE, MIDDLE, SOUTH_WEST, NEXT_EAST, NORTH_EAST, MIDDLE]
    fields = make(unity_of(walk, [[0, 1, 4]], [0.25, 0.25, 0, 0, 1.5, 0.25]))
    assert fields["sessionTime"][:, 1].tolist() == [0, 0, 0]


def test_outside_the_grid_is_no_bin() -> None:
    """PyHipp gives such frames the number of a bin on the other side of the maze."""
    outside = [(12.6, 0), (-12.6, 0), (0, 12.6), (0, -12.6), (99, 99), (-99, -99)]
    walk = [MIDDLE, MIDDLE, MIDDLE, *outside, MIDDLE, MIDDLE]
    fields, notes = umaze_object(unity_of(walk, [[0, 1, 9]]), ARGUMENTS, WHERE)
    assert notes == ("6 frames of trials lie outside the 25 x 25 m of the grid",)
    assert fields["gridPosition"].tolist() == [0, 0, 821, 0, 0, 0, 0, 0, 0, 821, 821]
    assert fields["sessionTime"][:, 1].tolist() == [0, 821, 0, 821, 0]
    assert fields["matrix"].values.sum() == pytest.approx(0.5)
    assert fields["gpDurations"].sum() == pytest.approx(0.5)


def test_edges_belong_to_the_bin_beyond_but_for_the_last() -> None:
    walk = [MIDDLE, MIDDLE, (-12.5, -12.5), (-11.875, -12.5), (-12.5, -11.875), (12.5, 12.5), (12.5 + 1e-9, 0), MIDDLE]
    fields = make(unity_of(walk, [[0, 1, 6]]))
    assert fields["gridPosition"].tolist() == [0, 0, 1, 2, 41, 1600, 840, 821]


@pytest.mark.parametrize(("steps", "size"), [(10, 25), (7, 25), (50, 20.5), (1, 3)])
def test_other_grids(steps: int, size: float) -> None:
    fields, _ = umaze_object(unity_of_extract(), ARGUMENTS | {"GridSteps": steps, "OverallGridSize": size}, WHERE)
    assert fields["horGridBound"].shape == (steps + 1,)
    assert (fields["horGridBound"][0], fields["horGridBound"][-1]) == (-size / 2, size / 2)
    assert fields["gpEdges"].shape == (steps**2 + 1,)
    assert fields["gpDurations"].shape == (steps**2, 6)
    assert fields["matrix"].values.shape == (steps, steps)


WALKS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@given(st.lists(st.tuples(WALKS, st.integers(0, 3)), min_size=1, max_size=6), st.integers(1, 6), st.randoms())
def test_everything_adds_up(trials: list[Any], min_obs: int, random: Any) -> None:
    """Against a count of every frame by itself."""
    walk: list[tuple[float, float]] = []
    triggers = []
    for steps, pause in trials:
        walk += [MIDDLE] * (pause + 2)
        triggers.append([len(walk) - 2, len(walk) - 1, len(walk) - 1 + len(steps)])
        walk += [(0.625 * x + 0.3, 0.625 * z - 1) for x, z in steps]
    seconds = [random.randint(1, 200) / 1024 for _ in walk]  # sums of these are exact
    fields = make(unity_of(walk, triggers, seconds), MinObs=min_obs)
    times = np.append(0, np.cumsum(seconds))
    spent: dict[int, float] = {}
    visits: dict[int, int] = {}
    for (_, cue_off, end), (steps, _) in zip(triggers, trials, strict=True):
        if len(steps) == 1:
            continue  # takes no time, as far as PyHipp can see
        before = None
        for k, row in enumerate(range(cue_off + 1, end + 1)):
            at = int(np.floor((walk[row][0] + 12.5) / 0.625)) + 40 * int(np.floor((walk[row][1] + 12.5) / 0.625)) + 1
            # The first frame counts from cue off, the last until itself.
            spent[at] = spent.get(at, 0) + (times[row + 2] if row < end else times[row + 1]) - times[row + (k > 0)]
            visits[at] = visits.get(at, 0) + (at != before)
            before = at
    flat = fields["matrix"].values[::-1].ravel()
    assert {bin_number: flat[bin_number - 1] for bin_number in spent} == spent
    assert flat.sum() == sum(spent.values())
    info = fields["sortedGPindinfo"]
    assert dict(zip(info[:, 0], info[:, 3] + 1, strict=True)) == visits
    assert fields["sTPu"].tolist() == sorted(each for each, n in visits.items() if n >= min_obs)
    assert fields["ou_i"][:, 0].tolist() == [spent[int(each)] for each in fields["sTPu"]]
    assert fields["P_i"].sum() == pytest.approx(1 if len(fields["sTPu"]) and fields["ou_i"].sum() else 0)
    assert (np.diff(fields["sessionTime"][:, 0]) >= 0).all()
    assert np.isfinite(fields["sessionTime"]).all()


def test_the_unity_object_is_not_changed() -> None:
    unity = unity_of_extract()
    make(unity)
    for name, (value,) in unity_of_extract().items():
        np.testing.assert_array_equal(unity[name][0], value)


def test_what_is_no_unity_object() -> None:
    with pytest.raises(FormatError, match=rf"{WHERE}.*unityData"):
        umaze_object({}, ARGUMENTS, WHERE)
    with pytest.raises(FormatError, match="lacks a field"):
        umaze_object(unity_of_extract() | {"sumCost": []}, ARGUMENTS, WHERE)
    unity = unity_of_extract()
    rows, data, cost = (unity[name][0] for name in ("unityTriggers", "unityData", "sumCost"))
    for wrong in (
        {"unityTriggers": [rows + len(data)]},
        {"unityTriggers": [rows[:, :2]]},
        {"unityTriggers": [rows[:, ::-1]]},
        {"unityTriggers": [rows[:0]], "sumCost": [cost[:0]]},
        {"unityTriggers": [7]},
        {"unityData": [data[:-5]]},
        {"unityData": [data[:, :3]]},
        {"sumCost": [cost[:3]]},
        {"sumCost": [cost[:, :5]]},
    ):
        with pytest.raises(FormatError, match=rf"{WHERE}: the Unity object's unityData"):
            umaze_object(unity | wrong, ARGUMENTS, WHERE)
    unity["unityTime"][0][7] = np.nan
    with pytest.raises(FormatError, match="not finite"):
        umaze_object(unity, ARGUMENTS, WHERE)

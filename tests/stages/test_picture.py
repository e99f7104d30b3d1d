"""What the picture of the maze shows is what the objects and the bins say, and the picture is always the same."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from raypipe.errors import FormatError, InputMissing, WriteFailed
from raypipe.io.gaze_bins import BinCounts, count_bins
from raypipe.io.tables import Table
from raypipe.stages import picture as picture_module
from raypipe.stages.maze import POSTER_NAMES
from raypipe.stages.maze_panels import Panels, maze_panels
from raypipe.stages.picture import draw_maze, header_lines, maze_image, picture
from raypipe.stages.scene import GEOMETRY, Revision
from raypipe.stages.umaze import umaze_object
from tests.stages.test_umaze import ARGUMENTS, WHERE, unity_of_extract

SIZE = (1160, 1600)
# Pillar (number of its bins, middle), face of it, and where along x or z its poster hangs.
POSTERS = [
    (1, (-5, -5), "NegZ", -5.0),
    (3, (-5, 5), "NegX", 4.975),
    (0, (5, -5), "PosX", -4.962),
    (2, (5, 5), "PosZ", 5.168),
    (2, (5, 5), "NegZ", 5.021),
    (1, (-5, -5), "PosZ", -4.99),
]


@pytest.fixture(scope="module")
def session() -> tuple[dict[str, Any], dict[str, Any]]:
    unity = unity_of_extract()
    return umaze_object(unity, ARGUMENTS, WHERE)[0], unity


def counts(**hits: int) -> BinCounts:
    """Counts of single bins, as `bin_3=7`."""
    every = np.zeros(5123, np.int64)
    for name, n in hits.items():
        every[int(name.removeprefix("bin_"))] = n
    return BinCounts(every, int(every.sum()))


def write_bins(path: Path, rows: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.asarray(rows, np.float64), maxshape=(None, None), chunks=(1000, 2))
    return path


def gaze(n: int = 30_000, seed: int = 0) -> np.ndarray[Any, Any]:
    """Rows of bins of all surfaces, three a sample."""
    random = np.random.default_rng(seed)
    bins = np.clip(random.normal(2800, 1500, n), 1, 5122).astype(int)
    return np.column_stack([4000 + np.arange(n) // 3, bins])


# Counting.


@pytest.mark.parametrize("n", [0, 1, 30_000])
@pytest.mark.parametrize("block", [1000, 1 << 20])
def test_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, block: int) -> None:
    monkeypatch.setattr("raypipe.io.gaze_bins._BLOCK_ROWS", block)
    rows = gaze(n)
    counted = count_bins(write_bins(tmp_path / "binData.hdf", rows.reshape(-1, 2)))
    assert counted.hits.shape == (5123,)
    np.testing.assert_array_equal(counted.hits, np.bincount(rows[:, 1], minlength=5123))
    assert counted.n_samples == -(-n // 3)


@pytest.mark.parametrize("wrong", [0, 5123, -1, np.nan])
def test_a_number_that_is_no_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    monkeypatch.setattr("raypipe.io.gaze_bins._BLOCK_ROWS", 2)
    path = write_bins(tmp_path / "binData.hdf", [[0, 1], [1, 2], [1, 3], [2, wrong]])
    with pytest.raises(FormatError, match=rf"row 3: {wrong:g} is no bin") as caught:
        count_bins(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_bins(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="is not there"):
        count_bins(tmp_path / "binData.hdf")
    (tmp_path / "text").write_text("no HDF5")
    with pytest.raises(FormatError, match="no table of bins"):
        count_bins(tmp_path / "text")
    with h5py.File(tmp_path / "other", "w") as file:
        file["other"] = 1
    with pytest.raises(FormatError, match="no table of bins"):
        count_bins(tmp_path / "other")
    with pytest.raises(FormatError, match=r"\(3, 3\), not \(rows, 2\)"):
        count_bins(write_bins(tmp_path / "wide", np.ones((3, 3))))
    with h5py.File(tmp_path / "group", "w") as file:
        file.create_group("data")
    with pytest.raises(FormatError, match="no table of bins"):
        count_bins(tmp_path / "group")


# The panels.


def test_occupancy_and_path(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    umaze, unity = session
    panels = maze_panels(umaze, unity, None, "A")
    inside = umaze["sessionTime"][umaze["sessionTime"][:, 1] > 0]
    np.testing.assert_allclose(panels.occupancy.sum(), inside[:, 2].sum(), rtol=1e-12)
    for bin_number in np.unique(inside[:, 1]).astype(int):
        north, east = divmod(bin_number - 1, 40)
        seconds = inside[inside[:, 1] == bin_number, 2].sum()
        assert panels.occupancy[north, east] == pytest.approx(seconds, abs=1e-12)
    assert panels.occupancy_extent == (-12.5, 12.5, -12.5, 12.5)
    walked = panels.path[np.isfinite(panels.path[:, 0])]
    data, triggers = unity["unityData"][0], unity["unityTriggers"][0]
    expected = np.concatenate([data[cue_off + 1 : end + 1, 2:4] for _, cue_off, end in triggers])
    np.testing.assert_array_equal(walked, expected)
    assert np.count_nonzero(np.isnan(panels.path[:, 0])) == panels.n_trials == 6
    assert panels.n_found == 5
    assert panels.seconds == pytest.approx(16.0, abs=0.1)
    assert panels.n_hits == 0


def test_every_hit_is_drawn_once_or_told(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    random = np.random.default_rng(1)
    hits = random.integers(0, 1000, 5123)
    hits[0] = 0
    panels = maze_panels(*session, BinCounts(hits, 7), "A")
    drawn = panels.floor.sum() + panels.walls.sum() + panels.pillars.sum()
    assert drawn + hits[1:3].sum() + hits[1603:3203].sum() == hits.sum() == panels.n_hits
    assert sum(panels.shares.values()) == pytest.approx(1)
    for name, n in (
        ("cue", hits[1]),
        ("hint", hits[2]),
        ("ceiling", hits[1603:3203].sum()),
        ("floor", hits[3:1603].sum()),
    ):
        assert panels.shares[name] == n / hits.sum()
    assert panels.shares["outer walls"] == hits[3203:4483].sum() / hits.sum()
    assert panels.shares["pillars"] + panels.shares["posters"] == pytest.approx(hits[4483:].sum() / hits.sum())


@pytest.mark.parametrize("revision", ["A", "C"])
def test_where_a_hit_on_the_floor_is_drawn(session: tuple[dict[str, Any], dict[str, Any]], revision: Revision) -> None:
    """A point of the floor is in the drawn bin that the published formula gives it."""
    x0, z0 = GEOMETRY[revision].arena_centre
    for x, z in ((-11.3, 10.2), (0.1, -7.7), (12.0, 12.1)):
        number = 3 + int((x - x0 + 12.5) // 0.625) + 40 * int((z - z0 + 12.5) // 0.625)
        panels = maze_panels(*session, counts(**{f"bin_{number}": 5}), revision)
        assert panels.floor.sum() == 5
        (row,), (column,) = np.nonzero(panels.floor)
        left, right, lower, upper = panels.floor_extent
        assert (right - left, upper - lower) == (25, 25)
        assert left + 0.625 * column <= x < left + 0.625 * (column + 1)
        assert lower + 0.625 * row <= z < lower + 0.625 * (row + 1)


def test_where_a_hit_on_a_wall_is_drawn(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Walking along the walls to the right one goes north, east, south and west again."""
    along = {0: lambda z: z, 1: lambda x: x, 2: lambda z: 39 - z, 3: lambda x: 39 - x}
    for side, place in along.items():
        for step in (0, 17, 39):
            panels = maze_panels(*session, counts(**{f"bin_{3203 + 160 * 2 + 40 * side + place(step)}": 1}), "A")
            (row,), (column,) = np.nonzero(panels.walls)
            assert (row, column) == (2, 40 * side + (step if side < 2 else 39 - step))


@pytest.mark.parametrize("revision", ["A", "C"])
@pytest.mark.parametrize("number", range(1, 7))
def test_who_looks_at_a_poster_looks_into_its_outline(
    session: tuple[dict[str, Any], dict[str, Any]], revision: Revision, number: int
) -> None:
    """The middle of every poster, by the published formula of bins, is drawn inside it and nowhere else."""
    pillar, (x, z), face, along = POSTERS[number - 1]
    step = int((along - (x if face.endswith("Z") else z) + 2.5) // 0.625)
    column = step if face in ("NegX", "PosZ") else 7 - step
    shape = GEOMETRY[revision]
    row = int((1.5 - shape.pillar_row_y0) // shape.pillar_row_height)
    face_number = ["NegX", "PosZ", "PosX", "NegZ"].index(face)
    hit = 4483 + 160 * pillar + 32 * row + 8 * face_number + column
    panels = maze_panels(*session, counts(**{f"bin_{hit}": 3}), revision)
    poster = panels.posters[number - 1]
    assert (poster.number, poster.pillar) == (number, pillar)
    (at_pillar,), (at_row,), (at_column,) = np.nonzero(panels.pillars)
    assert at_pillar == pillar
    assert poster.left < 0.625 * (at_column + 0.5) < poster.left + poster.width
    middle = (panels.pillar_rows[at_row] + panels.pillar_rows[at_row + 1]) / 2
    assert poster.bottom < middle < poster.bottom + poster.height
    assert panels.shares["posters"] == 1
    # A poster is as far from the left edge of its face as one who stands before it sees it.
    faces = ["NegZ", "PosX", "PosZ", "NegX"]  # south, east, north, west
    assert int(poster.left // 5) == int((poster.left + poster.width) // 5) == faces.index(face)


def test_posters_are_seen_from_outside(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The donkey hangs east of the middle of a north face: to the left of one who looks south at it."""
    posters = maze_panels(*session, None, "A").posters
    donkey, crocodile = posters[3], posters[4]
    assert donkey.left + donkey.width / 2 == pytest.approx(12.5 - 0.168)
    assert crocodile.left + crocodile.width / 2 == pytest.approx(2.5 + 0.021)
    assert (donkey.width, donkey.height, donkey.bottom) == pytest.approx((2.23982, 1.4, 0.8))


def test_header(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    bins = counts(bin_1=10, bin_3=30, bin_1700=40, bin_3300=20)
    panels = maze_panels(*session, bins, "A")
    first, second = header_lines(panels, bins, 200)
    assert first == "6 trials: 5 found, 1 timed out; 16.0 s from the first cue to the last end; 8.7 s in the bins"
    assert second == (
        "Gaze: 100 hits of 100 samples: floor 30.0%, outer walls 20.0%, pillars 0.0%, posters 0.0%, "
        "ceiling 40.0%, cue 10.0%, hint 0.0%; off 50.0% of 200 samples"
    )
    assert "off" not in header_lines(panels, bins, None)[1]
    assert header_lines(panels, None, None)[1] == "No gaze was cast on this session."


# The file.


def test_the_same_session_is_the_same_file(session: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    bins = write_bins(tmp_path / "binData.hdf", gaze())
    for name in ("one.png", "two.png"):
        draw_maze(*session, bins, tmp_path / name, "picasso/20181105/session01", n_gaze_samples=12_000)
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    assert content == maze_image(*session, bins, "picasso/20181105/session01", n_gaze_samples=12_000)
    assert imread(tmp_path / "one.png").shape[:2] == SIZE
    for chunk in (b"tEXt", b"tIME", b"iTXt", b"zTXt"):
        assert chunk not in content
    draw_maze(*session, write_bins(bins, gaze(seed=1)), tmp_path / "three.png", "picasso/20181105/session01")
    assert content != (tmp_path / "three.png").read_bytes()


def test_a_users_style_changes_nothing(session: tuple[dict[str, Any], dict[str, Any]]) -> None:
    import matplotlib as mpl

    panels = maze_panels(*session, None, "C")
    plain = picture(panels, "title", ("", ""))
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert picture(panels, "title", ("", "")) == plain
        assert mpl.rcParams["font.size"] == 20


def test_without_gaze_or_occupancy(session: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    umaze, unity = session
    nowhere = umaze | {"matrix": np.zeros((40, 40))}
    draw_maze(nowhere, unity, None, tmp_path / "maze.png", "session")
    assert imread(tmp_path / "maze.png").shape[:2] == SIZE


def test_occupancy_that_is_not_known(session: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    """PyHipp's own Umaze of an aligned session has NaN in some bins, and such files are kept."""
    umaze, unity = session
    matrix = umaze["matrix"].values.copy()
    matrix.flat[np.flatnonzero(matrix > 0)[:3]] = np.nan
    umaze = {**umaze, "matrix": Table(matrix, columns=umaze["matrix"].columns)}
    panels = maze_panels(umaze, unity, None, "A")
    first, _ = header_lines(panels, None, None)
    assert first.endswith(f"{np.nansum(matrix):.1f} s in the bins, and in 3 of them an unknown time")
    draw_maze(umaze, unity, None, tmp_path / "maze.png", WHERE)
    assert imread(tmp_path / "maze.png").shape[:2] == SIZE


def test_a_folder_that_is_not_there(session: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=r"maze\.png could not be written"):
        draw_maze(*session, None, tmp_path / "nowhere" / "maze.png", "session")


@pytest.fixture
def drawn(session: tuple[dict[str, Any], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> tuple[Figure, Panels]:
    """The figure of a session with many hits, as it was drawn."""
    figures = []

    class Kept(Figure):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            figures.append(self)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    hits = 123_456 * np.bincount(gaze()[:, 1], minlength=5123)
    bins = BinCounts(hits, 3_600_000)
    panels = maze_panels(*session, bins, "A")
    picture_module.picture(panels, "picasso/20181105/session01", header_lines(panels, bins, 7_200_000))
    return figures[0], panels


def test_the_figure_holds_the_panels(drawn: tuple[Figure, Panels]) -> None:
    figure, panels = drawn
    meshes = [mesh for axes in figure.axes for mesh in axes.collections if mesh.get_array() is not None]
    sums = [float(np.ma.sum(mesh.get_array())) for mesh in meshes if mesh.get_array().size > 256]
    expected = [panels.occupancy, panels.floor, panels.walls]
    assert sums[:3] == pytest.approx([float(each.sum()) for each in expected])
    pillars = [float(np.ma.sum(mesh.get_array())) for mesh in meshes if mesh.get_array().size == 160]
    assert pillars == [float(each.sum()) for each in panels.pillars]
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert words == {f"{number} {name}" for number, name in enumerate(POSTER_NAMES, start=1)}


def test_no_text_is_cut_off_or_covers_another(drawn: tuple[Figure, Panels]) -> None:
    figure, _ = drawn
    canvas = figure.bbox
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [_extent(text) for text in texts]
    # Ticks outside the range of an axis are kept by matplotlib, but not drawn.
    shown = [
        (text.get_text(), box) for text, box in zip(texts, boxes, strict=True) if box.width > 1 and _is_drawn(text)
    ]
    assert len(shown) > 40
    for text, box in shown:
        assert box.x0 >= canvas.x0 and box.x1 <= canvas.x1 and box.y0 >= canvas.y0 and box.y1 <= canvas.y1, text
    for axes in figure.axes:
        inside = [text.get_text() for text in texts if text.axes is not axes and _extent(text).overlaps(axes.bbox)]
        assert inside == []
    for k, (text, box) in enumerate(shown):
        covered = [other for other, its in shown[k + 1 :] if box.overlaps(its) and min(box.width, its.width) > 1]
        assert covered == [], text


def _extent(text: Text) -> Any:
    return text.get_window_extent(text.figure.canvas.get_renderer())  # type: ignore[union-attr]


def _is_drawn(text: Text) -> bool:
    axes = text.axes
    if axes is None or text not in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        return True
    along_x = text in axes.get_xticklabels()
    position = text.get_position()[0 if along_x else 1]
    least, most = sorted(axes.get_xlim() if along_x else axes.get_ylim())
    return bool(least <= position <= most)

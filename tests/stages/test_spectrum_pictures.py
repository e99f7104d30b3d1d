"""The picture of a day's spectra: where each channel is, what its curve says, how strong the mains are."""

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from raypipe.errors import FormatError
from raypipe.stages.spectrum_pictures import (
    COLUMNS,
    INSIDE,
    ROWS,
    channel_spectra,
    lab_channels,
    line_ratio,
    place_in_array,
    places,
    spectra_image,
)
from tests.compare import arguments

LFP_ARGUMENTS, HIGH_PASS_ARGUMENTS = arguments("freqspectrum"), arguments("freqspectrum_highpass")
TITLE = "picasso/20181105"


def day(*channels: tuple[str, int, int], arguments: dict[str, Any] = LFP_ARGUMENTS, seed: int = 0) -> dict[str, Any]:
    """A day's object with spectra that fall as 1/f, each with its own strength."""
    random = np.random.default_rng(seed)
    rate, n_fft = (30000, 4096) if arguments["loadHighPass"] else (1000, 2048)
    freq = np.arange(n_fft // 2 + 1) * rate / n_fft
    falling = [random.lognormal(0, 0.1, len(freq)) * random.uniform(1000, 2000) / (1 + freq) for _ in channels]
    return {
        "args": dict(arguments),
        "dirs": [f"{TITLE}/{name}/array{array:02d}/channel{channel:03d}" for name, array, channel in channels],
        "freq": [freq] * len(channels),
        "magnitude": falling,
    }


WHOLE = [("session01", (channel - 1) // 32 + 1, channel) for channel in range(1, 125)]


# Where a channel is.


def test_the_labs_geometry() -> None:
    """As the lab's viewer shows its arrays: five rows of eight, channels counted from the right."""
    rows = {
        1: ["x 6 5 4 3 2 1 x", "14 13 12 11 10 9 8 7", "22 21 20 19 18 17 16 15", "30 29 28 27 26 25 24 23", "x x x x x x 32 31"],
        2: ["38 37 36 35 34 33 x x", "46 45 44 43 42 41 40 39", "54 53 52 51 50 49 48 47", "62 61 60 59 58 57 56 55", "x x x x x x 64 63"],
        3: ["70 69 68 67 66 65 x x", "78 77 76 75 74 73 72 71", "86 85 84 83 82 81 80 79", "94 93 92 91 90 89 88 87", "x x x x x x 96 95"],
        4: ["102 101 100 99 98 97 x x", "110 109 108 107 106 105 104 103", "118 117 116 115 114 113 112 111", "x 124 123 122 121 120 119 x"],
    }  # fmt: skip
    for array, lines in rows.items():
        expected = {
            int(word): (row, column)
            for row, line in enumerate(lines)
            for column, word in enumerate(line.split())
            if word != "x"
        }
        assert {channel: place_in_array(channel) for channel in lab_channels(array)} == expected
        assert places(list(lab_channels(array))) == expected
    assert len(lab_channels(5)) == 0


def test_other_numbers_have_a_place_too() -> None:
    for channels in (range(125, 161), range(1, 41), [5, 37, 69], range(480, 512)):
        found = places(list(channels))
        assert set(found) == set(channels)
        assert max(Counter(found.values()).values()) == 1
        assert all(0 <= row < ROWS and 0 <= column < COLUMNS for row, column in found.values())
    assert len(places(list(range(1, 100)))) == 40  # more than there are places


# What is taken from the object.


@pytest.mark.parametrize(
    ("arguments", "rate", "points"), [(LFP_ARGUMENTS, 1000, 2000), (HIGH_PASS_ARGUMENTS, 30000, 3000)]
)
def test_densities(arguments: dict[str, Any], rate: int, points: int) -> None:
    """White noise of 10 µV has 10 √(2 / rate) µV/√Hz; the mean of magnitudes is √π/2 of their root mean square."""
    n_fft = 2048 if rate == 1000 else 4096
    noise = np.random.default_rng(0).normal(0, 10, (500, points))
    spectra = day(("session01", 1, 9), arguments=arguments)
    spectra["magnitude"] = [np.abs(np.fft.rfft(noise, n_fft)).mean(axis=0)]
    (found,) = channel_spectra(spectra)
    assert (found.session, found.array, found.channel) == ("session01", 1, 9)
    assert found.freq[0] == rate / n_fft and found.freq[-1] == rate / 2
    assert np.median(found.density) == pytest.approx(10 * np.sqrt(2 / rate) * np.sqrt(np.pi) / 2, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dirs": ["picasso/20181105"]},
        {"dirs": []},
        {"freq": [[]]},
        {"magnitude": None},
        {"args": {}},
    ],
)
def test_what_is_no_day(wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="what should be a day's FreqSpectrum is none"):
        spectra_image({**day(("session01", 1, 9)), **wrong}, TITLE, "LFP")
    with pytest.raises(FormatError):
        spectra_image({}, TITLE, "LFP")


def test_the_mains() -> None:
    freq = np.arange(1, 1025) * 1000 / 2048
    flat = np.ones(1024)
    assert line_ratio(freq, flat) == 1
    spike = flat.copy()
    spike[np.abs(freq - 50).argmin()] = 12
    assert line_ratio(freq, spike) == 12
    assert line_ratio(freq, spike, 60) == 1
    assert np.isnan(line_ratio(freq, 0 * flat))
    assert np.isnan(line_ratio(np.arange(1, 2049) * 30000 / 4096, np.ones(2048)))  # 7 Hz a point: it cannot be told
    assert np.isnan(line_ratio(np.array([500.0]), np.ones(1)))


# What is drawn.


def test_the_same_day_is_the_same_file() -> None:
    import matplotlib as mpl

    once = spectra_image(day(*WHOLE[:40]), TITLE, "LFP")
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert spectra_image(day(*WHOLE[:40]), TITLE, "LFP") == once
    assert spectra_image(day(*WHOLE[:40], seed=1), TITLE, "LFP") != once
    assert b"tEXt" not in once
    height, width = imread(io.BytesIO(once)).shape[:2]
    assert (width, height) == (2085, 1239)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws."""
    kept: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            kept.append(self)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return kept


def curves(figure: Figure) -> list[np.ndarray[Any, Any]]:
    """The curves of all arrays, as points on their axes."""
    return [
        line
        for axes in figure.axes
        for collection in axes.collections
        if isinstance(collection, LineCollection)
        for line in (np.asarray(each) for each in collection.get_segments())
        if len(line) > 5
    ]


def test_every_channel_is_drawn_at_its_place(figures: list[Figure]) -> None:
    spectra = day(*WHOLE)
    spectra_image(spectra, TITLE, "LFP")
    assert len(figures[0].axes) == 4
    for array, axes in enumerate(figures[0].axes, start=1):
        numbers = {int(text.get_text()) for text in axes.texts if text.get_ha() == "left"}
        assert numbers == set(lab_channels(array))
    found = curves(figures[0])
    assert len(found) == 124
    log_density = np.log10([each.density for each in channel_spectra(spectra)])
    for k, line in enumerate(found):
        row, column = place_in_array(k + 1)
        left, bottom = column, ROWS - 1 - row
        assert line[0, 0] == pytest.approx(left) and line[-1, 0] == pytest.approx(left + INSIDE)
        assert line[:, 1].min() >= bottom and line[:, 1].max() <= bottom + INSIDE
        inside = (line[:, 1] > bottom) & (line[:, 1] < bottom + INSIDE)
        assert np.corrcoef(line[inside, 1], log_density[k, inside])[0, 1] > 1 - 1e-9
    # The scales are the same everywhere: the ratio of two channels is the same distance.
    one, other = found[0][100, 1] - (ROWS - 1), found[20][100, 1] - (ROWS - 3)
    third = found[50][100, 1] - (ROWS - 1 - place_in_array(51)[0])
    assert (one - other) / (log_density[0, 100] - log_density[20, 100]) == pytest.approx(
        (one - third) / (log_density[0, 100] - log_density[50, 100]), rel=1e-6
    )


def test_missing_and_dead_channels_are_blank(figures: list[Figure]) -> None:
    spectra = day(*WHOLE[:6], ("session02", 1, 1))
    spectra["magnitude"][2] = np.zeros(1025)
    spectra["magnitude"][3] = np.where(np.arange(1025) == 500, np.nan, spectra["magnitude"][3])
    spectra_image(spectra, TITLE, "LFP")
    assert len(curves(figures[0])) == 5
    assert "5 spectra;" in figures[0].texts[1].get_text() and "2 without a signal" in figures[0].texts[1].get_text()
    colours = {text.get_text(): text.get_color() for text in figures[0].axes[0].texts if text.get_ha() == "left"}
    assert colours["1"] == colours["6"] != colours["3"] == colours["4"] == colours["7"] == colours["32"]
    dead = [text.get_position() for text in figures[0].axes[0].texts if text.get_text() == "no signal"]
    assert {(ROWS - 1 - int(y), int(x)) for x, y in dead} == {place_in_array(3), place_in_array(4)} and len(dead) == 2
    scales = [[text for text in axes.texts if text.get_fontsize() == 7] for axes in figures[0].axes]
    assert scales[0] and not any(scales[1:])


def test_curves_leave_room_for_the_numbers(figures: list[Figure]) -> None:
    spectra_image(day(*WHOLE[:8]), TITLE, "LFP")
    figure = figures[0]
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text in figure.axes[0].texts:
        if text.get_ha() == "left" and int(text.get_text()) <= 8:
            box = figure.axes[0].transData.inverted().transform_bbox(text.get_window_extent(renderer))
            mine = curves(figure)[int(text.get_text()) - 1]
            assert (mine[mine[:, 0] < box.x1, 1] < box.y0).all(), text


def test_the_mains_are_marked(figures: list[Figure]) -> None:
    spectra = day(*WHOLE[:3])
    at = np.abs(spectra["freq"][0] - 50).argmin()
    spectra["magnitude"][1] = spectra["magnitude"][1].copy()
    spectra["magnitude"][1][at] *= 30
    spectra_image(spectra, TITLE, "LFP")
    marks = [text for text in figures[0].axes[0].texts if text.get_text().startswith("×")]
    assert len(marks) == 1
    assert 15 < int(marks[0].get_text()[1:]) < 60
    row, column = place_in_array(2)
    assert column < marks[0].get_position()[0] < column + 1 and int(marks[0].get_position()[1]) == ROWS - 1 - row
    assert "50 Hz at least 3 times its surroundings in 1 " in figures[0].texts[1].get_text()
    spectra_image(day(*WHOLE[:3], arguments=HIGH_PASS_ARGUMENTS), TITLE, "high-pass")
    assert "50 Hz" not in figures[1].texts[1].get_text()


def test_sessions_and_arrays_of_other_labs(figures: list[Figure]) -> None:
    spectra_image(day(("session01", 7, 5), ("session01", 7, 37), ("session02", 7, 200)), TITLE, "LFP")
    titles = [text.get_text() for text in figures[0].texts]
    assert {"array 1", "array 4", "array 7", "session01", "session02"} <= set(titles)
    assert len(curves(figures[0])) == 3


@pytest.mark.parametrize("arguments", [LFP_ARGUMENTS, HIGH_PASS_ARGUMENTS])
def test_no_text_is_cut_off_or_covers_another(figures: list[Figure], arguments: dict[str, Any]) -> None:
    spectra = day(*WHOLE, *[("session02", *place) for _, *place in WHOLE], arguments=arguments)
    for magnitude in spectra["magnitude"]:
        magnitude[np.abs(spectra["freq"][0] - 50).argmin()] *= 3000
    spectra_image(spectra, TITLE, "LFP")
    (figure,) = figures
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    # matplotlib keeps ticks' and titles' texts of axes that are switched off.
    texts = [*figure.texts, *[text for axes in figure.axes for text in axes.texts]]
    assert all(isinstance(text, Text) for text in texts)
    boxes = [(text, text.get_window_extent(renderer)) for text in texts if text.get_text()]
    assert len(boxes) > 124
    for k, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, text
        assert [str(other) for other, its in boxes[k + 1 :] if box.overlaps(its)] == [], text

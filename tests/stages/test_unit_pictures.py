"""The picture of a channel's units: what is counted, that it is drawn, that no text hides another."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from raypipe.errors import FormatError
from raypipe.stages import unit_pictures
from raypipe.stages.mountain_files import Joined
from raypipe.stages.unit_pictures import MOST_UNITS, Channel, header_lines, unit_line, unit_panels, units_image

RATE_HZ = 30000
SESSIONS = Joined((1, 1 + 60 * RATE_HZ), ("sessioneye", "session01"))
N_SAMPLES = 300 * RATE_HZ
CHANNEL = Channel(SESSIONS.names, np.array([0.0, 60.0, 300.0]), 8.0, 2.0, RATE_HZ)
TITLE = "picasso/20181105 channel009"


def sorting(n_units: int, seed: int = 0, n_spikes: int = 400) -> dict[str, Any]:
    """A sorting with all that is drawn; the third of its units is noise, the last several units."""
    random = np.random.default_rng(seed)
    samples = np.sort(random.integers(0, N_SAMPLES, n_units * n_spikes))
    labels = random.permutation(np.repeat(np.arange(1, n_units + 1), n_spikes))
    shape = np.exp(-(((np.arange(150) - 74) / 8) ** 2))
    tall = np.array([-150.0, 80, -30, 25] * 20)[:n_units]
    return {
        "firings": np.stack([np.ones(len(samples)), samples, labels]).astype(np.float64),
        "templates": (shape[:, None] * tall)[None].astype(np.float32),
        "spread": np.full((1, 150, n_units), 9, np.float32),
        "heights": (tall[labels - 1] + random.normal(0, 8, len(labels))).astype(np.float32),
        "metrics": {
            "clusters": [
                {
                    "label": k + 1,
                    "metrics": {
                        "peak_snr": abs(tall[k]) / 8,
                        "isolation": 0.9,
                        "noise_overlap": 0.02,
                        "is_noise": k == 2,
                        "is_likely_multi_unit": k == n_units - 1,
                    },
                }
                for k in range(n_units)
            ]
        },
    }


def image(n_units: int, seed: int = 0, **more: Any) -> bytes:
    found = sorting(n_units, seed)
    return units_image(*found.values(), SESSIONS, N_SAMPLES, TITLE, noise_uv=8.0, **more)


def panels_of(found: dict[str, Any]) -> Any:
    return unit_panels(*found.values(), CHANNEL, where=TITLE)


# What is counted.


def test_intervals_are_those_of_one_session() -> None:
    """The border is at 60 s; 1 ms lies between two spikes, 0.2 ms between the last of a session and the next one's first."""
    seconds = np.array([10.0, 10.001, 10.0215, 59.9999, 60.0001, 60.0401])
    found = sorting(1, n_spikes=len(seconds))
    found["firings"][1] = np.round(seconds * RATE_HZ)
    (panel,) = panels_of(found)
    assert panel.n_intervals == 4 and panel.n_short == 1
    assert np.flatnonzero(panel.intervals).tolist() == [2, 41, 80]
    np.testing.assert_allclose(panel.seconds, seconds, atol=1e-4)
    assert "25.00% of intervals below 2 ms" in unit_line(panel, CHANNEL)


def test_every_unit_has_its_own() -> None:
    found = sorting(4)
    panels = panels_of(found)
    assert [panel.label for panel in panels] == [1, 2, 3, 4]
    for k, panel in enumerate(panels):
        mine = found["firings"][2] == k + 1
        np.testing.assert_array_equal(panel.seconds, found["firings"][1, mine] / RATE_HZ)
        np.testing.assert_array_equal(panel.heights, found["heights"][mine])
        np.testing.assert_array_equal(panel.shape, found["templates"][0, :, k])
        assert panel.metrics["is_noise"] == (k == 2)
    assert unit_line(panels[0], CHANNEL).split("    ")[:5] == [
        *("400 spikes", "1.33 Hz", "SNR 18.8", "isolation 0.90", "noise overlap 0.02")
    ]


def test_spikes_in_any_order() -> None:
    found = sorting(3)
    shuffled = np.random.default_rng(1).permutation(found["firings"].shape[1])
    mixed = {**found, "firings": found["firings"][:, shuffled], "heights": found["heights"][shuffled]}
    for one, other in zip(panels_of(found), panels_of(mixed), strict=True):
        np.testing.assert_array_equal(one.intervals, other.intervals)
        np.testing.assert_array_equal(one.seconds, other.seconds)


def test_metrics_that_are_lacking() -> None:
    (panel,) = panels_of(sorting(1))
    assert unit_line(replace(panel, seconds=panel.seconds[:1]), CHANNEL).startswith("1 spike    0.00333 Hz")
    for metrics in ({}, {"peak_snr": None, "isolation": np.nan}):
        assert unit_line(replace(panel, metrics=metrics), CHANNEL).startswith("400 spikes    1.33 Hz    0.")


def test_header() -> None:
    found = sorting(4)
    first, second = header_lines(panels_of(found), CHANNEL, ("3 of 9 stretches masked as artefacts",))
    assert first == "4 units, 1,600 spikes in sessioneye 60.0 s, session01 4.0 min; noise 8.0 µV"
    assert second == (
        "1 unit flagged as noise; 1 unit flagged as likely several units; 3 of 9 stretches masked as artefacts"
    )
    assert header_lines((), replace(CHANNEL, noise_uv=None), ()) == (
        "0 units, 0 spikes in sessioneye 60.0 s, session01 4.0 min",
        "",
    )
    assert "units 25 to 30 are not drawn" in header_lines(panels_of(sorting(30, n_spikes=9)), CHANNEL, ())[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"heights": np.zeros(3, np.float32)},
        {"spread": np.zeros((1, 150, 1), np.float32)},
        {"templates": np.zeros((1, 150, 1), np.float32), "spread": np.zeros((1, 150, 1), np.float32)},
    ],
)
def test_what_does_not_belong_together(wrong: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="channel009: 800 spikes of labels up to 2"):
        panels_of({**sorting(2), **wrong})


# What is drawn.


def test_the_same_sorting_is_the_same_file() -> None:
    import matplotlib as mpl

    once = image(3)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert image(3) == once
    assert image(3, seed=1) != once
    for chunk in (b"tEXt", b"tIME", b"iTXt", b"zTXt"):
        assert chunk not in once
    assert imread(io.BytesIO(once)).shape[1] == 1600


@pytest.mark.parametrize("n_units", [0, 1, MOST_UNITS + 1])
def test_any_number_of_units(n_units: int) -> None:
    height = imread(io.BytesIO(image(n_units))).shape[0]
    assert height == round(100 * (1.2 + 2.15 * min(max(n_units, 1), MOST_UNITS) + 0.35))


def test_units_with_hardly_a_spike() -> None:
    found = sorting(3, n_spikes=1)
    units_image(*found.values(), SESSIONS, N_SAMPLES, TITLE)
    empty = {**found, "firings": found["firings"][:, :0], "heights": found["heights"][:0]}
    units_image(*empty.values(), Joined((1,), ("session01",)), 0, TITLE)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test draws."""
    figures: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            figures.append(self)

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return figures


@pytest.fixture
def drawn(figures: list[Figure]) -> Figure:
    """The figure of a channel with four units, as it was drawn."""
    image(4, notes=["12 of 6600 stretches masked as artefacts"])
    return figures[0]


def test_the_figure_holds_the_units(drawn: Figure) -> None:
    found = sorting(4)
    assert len(drawn.axes) == 12
    for k, panel in enumerate(panels_of(found)):
        shape, intervals, heights = drawn.axes[3 * k : 3 * k + 3]
        lines = [line for line in shape.lines if len(np.asarray(line.get_xdata())) == 150]
        np.testing.assert_array_equal(lines[0].get_ydata(), panel.shape)
        ms = np.asarray(lines[0].get_xdata())
        assert ms[74] == 0 and ms[-1] == pytest.approx(2.5)
        band = shape.collections[0].get_paths()[0].vertices
        assert np.ptp(band[:, 1]) == pytest.approx(np.ptp(np.r_[panel.shape - 9, panel.shape + 9]))
        np.testing.assert_array_equal(intervals.patches[-1].get_data().values, panel.intervals)
        dots = heights.lines[0]
        np.testing.assert_allclose(dots.get_xdata(), panel.seconds / 60)
        np.testing.assert_array_equal(dots.get_ydata(), panel.heights)
        borders = [line for line in heights.lines if line.get_linestyle() == "--"]
        assert [np.unique(line.get_xdata()).tolist() for line in borders] == [[1.0]]
    words = [text.get_text() for text in drawn.texts]
    assert words.count("noise") == words.count("likely several units") == 1
    assert {"cell01", "cell02", "cell03", "cell04", TITLE} <= set(words)


def test_the_median_follows_a_drift() -> None:
    at = np.linspace(0, 10, 1001)
    where, median = unit_pictures._trend(at, -100 + 5 * at, 1.0)
    np.testing.assert_allclose(median, -100 + 5 * where, atol=0.05)
    assert len(where) in (10, 11)
    assert len(unit_pictures._trend(at[:4], at[:4], 1.0)[0]) == 0


def test_of_very_many_spikes_an_even_choice_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_pictures, "MOST_DOTS", 100)
    figures = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", _noting(figures))
    image(1)
    dots = next(each for each in figures if "." in each[2:])
    assert len(dots[0]) == 100 and (dots[0][0], dots[0][-1]) == pytest.approx((0, 5), abs=0.1)


def _noting(calls: list[Any]) -> Any:
    from matplotlib.axes import Axes

    plot = Axes.plot

    def noted(self: Axes, *args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return plot(self, *args, **kwargs)

    return noted


def test_no_text_is_cut_off_or_covers_another(drawn: Figure) -> None:
    assert_no_text_is_cut_off_or_covers_another(drawn)


@pytest.mark.parametrize("minutes", [(5, 55), (4, 20, 20, 5, 11), (1,) * 20])
def test_names_of_sessions_do_not_cover_another(figures: list[Figure], minutes: tuple[int, ...]) -> None:
    ends = np.cumsum(minutes) * 60 * RATE_HZ
    names = ("sessioneye", *(f"session{number:02d}" for number in range(1, len(minutes))))
    units_image(*sorting(2).values(), Joined((1, *(ends[:-1] + 1)), names), int(ends[-1]), TITLE, noise_uv=8.0)
    assert_no_text_is_cut_off_or_covers_another(figures[0])
    written = {text.get_text() for text in figures[0].axes[2].texts}
    assert written == {name for name, length in zip(names, minutes, strict=True) if length / sum(minutes) > 0.12}


def assert_no_text_is_cut_off_or_covers_another(drawn: Figure) -> None:
    texts = list(drawn.texts)
    for axes in drawn.axes:
        along_x, along_y = axes.get_xlim(), sorted(axes.get_ylim())
        texts += [axes.xaxis.label, axes.yaxis.label, *axes.texts]
        # Ticks outside the range of an axis are kept by matplotlib, but not drawn.
        texts += [text for text in axes.get_xticklabels() if along_x[0] <= text.get_position()[0] <= along_x[1]]
        texts += [text for text in axes.get_yticklabels() if along_y[0] <= text.get_position()[1] <= along_y[1]]
    renderer = drawn.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [
        (text, text.get_window_extent(renderer)) for text in texts if text.get_visible() and text.get_text().strip()
    ]
    assert len(boxes) > 30
    for k, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y0 >= 0 and box.y1 <= drawn.bbox.y1, text
        assert [str(other) for other, its in boxes[k + 1 :] if box.overlaps(its)] == [], text

"""A picture of a sorted channel for a person to look at: shape, intervals and amplitude over time of every unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.stages.canvas import Sheet, png
from raypipe.stages.mountain_files import RATE_HZ, Joined, cell_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 16.0
HEADER_HEIGHT, UNIT_HEIGHT, FOOTER_HEIGHT = 1.2, 2.15, 0.35
LEFT, HEIGHTS_WIDTH = 0.75, 6.95
LETTER_WIDTH = 0.068
"""Of the picture and its parts, in inches."""
MOST_UNITS = 24
"""Drawn at most, by their labels; how many more there are is told."""
MOST_LETTERS = 190
"""Of a line of the header."""
MOST_DOTS = 20_000
"""Of the amplitudes of a unit; of more, an even choice is drawn."""

INTERVALS_MS, INTERVAL_BIN_MS = 50.0, 0.5
TREND_BINS, TREND_LEAST = 80, 5
"""The line through the amplitudes is the median of the spikes in each 80th of the time, if there are at least 5."""

COLOURS = ("#1f5fa8", "#c2571a", "#2c7a3f", "#7b4aa0", "#8a6d1b", "#b03060")
FLAGS = {"is_noise": ("noise", "#b00020"), "is_likely_multi_unit": ("likely several units", "#a86500")}
"""What metrics say of a unit: in words, and the words' colour."""


@dataclass(frozen=True)
class UnitPanel:
    """What is drawn of a unit.

    `shape`, `spread`: (T,) µV, mean and standard deviation of its clips. `intervals`: (100,) how many intervals between
    spikes of one session lie in each half millisecond. `seconds`, `heights`: (n,) when a spike was, in the joined
    series, and the sample there (µV).
    """

    label: int
    shape: NDArray[np.float64]
    spread: NDArray[np.float64]
    intervals: NDArray[np.int64]
    n_intervals: int
    n_short: int
    seconds: NDArray[np.float64]
    heights: NDArray[np.float64]
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Channel:
    """What was joined: names of the sessions, where they begin and the last ends (S + 1,) s, and noise (µV) if known."""

    names: tuple[str, ...]
    borders: NDArray[np.float64]
    noise_uv: float | None
    refractory_ms: float
    rate_hz: float


def units_image(
    firings: NDArray[np.float64],
    templates: NDArray[np.float32],
    spread: NDArray[np.float32],
    heights: NDArray[np.float32],
    metrics: Mapping[str, Any],
    sessions: Joined,
    n_samples: int,
    title: str,
    *,
    noise_uv: float | None = None,
    refractory_ms: float = 2.0,
    rate_hz: float = RATE_HZ,
    notes: Sequence[str] = (),
) -> bytes:
    """Draw the units of a channel; give the PNG, the same bytes for the same sorting.

    firings: (3, E), sample from 0 in row 1, label from 1 in row 2. templates, spread: (1, T, K) µV, mean of the clips and
    their standard deviation. heights: (E,) µV, the sample at each spike. metrics: in the layout of `metrics.json`.
    sessions, n_samples: what was joined. refractory_ms: intervals below it are counted. notes: of the sorter.

    Raises FormatError if these do not belong together.
    """
    borders = np.append(np.asarray(sessions.starts, np.float64) - 1, n_samples) / rate_hz
    channel = Channel(sessions.names, borders, noise_uv, refractory_ms, rate_hz)
    panels = unit_panels(firings, templates, spread, heights, metrics, channel, where=title)
    shown = panels[:MOST_UNITS]
    rows = max(len(shown), 1)
    return png(
        WIDTH,
        HEADER_HEIGHT + rows * UNIT_HEIGHT + FOOTER_HEIGHT,
        lambda sheet: _draw(sheet, shown, channel, title, header_lines(panels, channel, notes)),
    )


def unit_panels(
    firings: NDArray[np.float64],
    templates: NDArray[np.float32],
    spread: NDArray[np.float32],
    heights: NDArray[np.float32],
    metrics: Mapping[str, Any],
    channel: Channel,
    *,
    where: str,
) -> tuple[UnitPanel, ...]:
    """Sort out what is drawn of each unit, 1 to K. Raises FormatError if the arrays do not belong together."""
    n_units, n_spikes = templates.shape[-1], firings.shape[1]
    labels = firings[2].astype(np.int64)
    if (
        templates.shape != spread.shape
        or heights.shape != (n_spikes,)
        or (n_spikes and not 1 <= labels.min() <= labels.max() <= n_units)
    ):
        raise FormatError(
            f"{where}: {n_spikes} spikes of labels up to {labels.max(initial=0)}, {heights.size} heights, templates "
            f"{templates.shape} and spread {spread.shape} do not belong together",
            hint="remove the channel's folder in mountains, and the next run sorts the channel again",
        )
    numbers = {int(cluster["label"]): cluster["metrics"] for cluster in metrics["clusters"]}
    order = np.lexsort((firings[1], labels))
    groups = np.split(order, np.searchsorted(labels[order], np.arange(2, n_units + 1))) if n_units else []
    panels = []
    for place, rows in enumerate(groups):
        seconds = firings[1, rows] / channel.rate_hz
        gaps_ms = _gaps_ms(firings[1, rows], channel)
        edges = np.arange(0, INTERVALS_MS + INTERVAL_BIN_MS / 2, INTERVAL_BIN_MS)
        panels.append(
            UnitPanel(
                place + 1,
                templates[0, :, place].astype(np.float64),
                spread[0, :, place].astype(np.float64),
                np.histogram(gaps_ms, edges)[0],
                len(gaps_ms),
                int(np.count_nonzero(gaps_ms < channel.refractory_ms)),
                seconds,
                heights[rows].astype(np.float64),
                numbers.get(place + 1, {}),
            )
        )
    return tuple(panels)


def header_lines(panels: Sequence[UnitPanel], channel: Channel, notes: Sequence[str]) -> tuple[str, str]:
    """Say in two lines what was sorted, and what is to be known of it."""
    lengths = ", ".join(
        f"{name} {_duration(length)}" for name, length in zip(channel.names, np.diff(channel.borders), strict=True)
    )
    n_spikes = sum(len(panel.seconds) for panel in panels)
    first = f"{_count(len(panels), 'unit')}, {_count(n_spikes, 'spike')} in {lengths}"
    if channel.noise_uv is not None:
        first += f"; noise {channel.noise_uv:.1f} µV"
    flagged = [
        f"{_count(count, 'unit')} flagged as {words}"
        for flag, (words, _) in FLAGS.items()
        if (count := sum(bool(panel.metrics.get(flag)) for panel in panels))
    ]
    if len(panels) > MOST_UNITS:
        flagged.append(f"units {MOST_UNITS + 1} to {len(panels)} are not drawn")
    return first, "; ".join((*flagged, *notes))


def unit_line(panel: UnitPanel, channel: Channel) -> str:
    """Say in a line what the numbers of a unit are."""
    seconds = channel.borders[-1] or 1.0
    parts = [f"{_count(len(panel.seconds), 'spike')}", f"{len(panel.seconds) / seconds:.3g} Hz"]
    for name, words in (
        ("peak_snr", "SNR {:.1f}"),
        ("isolation", "isolation {:.2f}"),
        ("noise_overlap", "noise overlap {:.2f}"),
    ):
        value = panel.metrics.get(name)
        if isinstance(value, int | float | np.number) and np.isfinite(value):
            parts.append(words.format(value))
    if panel.n_intervals:
        parts.append(f"{panel.n_short / panel.n_intervals:.2%} of intervals below {channel.refractory_ms:g} ms")
    return "    ".join(parts)


def _gaps_ms(samples: NDArray[np.float64], channel: Channel) -> NDArray[np.float64]:
    """Intervals (ms) between spikes that follow each other in one session."""
    session = np.searchsorted(channel.borders[1:-1], samples / channel.rate_hz, side="right")
    gaps: NDArray[np.float64] = np.diff(samples)[np.diff(session) == 0] * 1000 / channel.rate_hz
    return gaps


def _draw(sheet: Sheet, panels: Sequence[UnitPanel], channel: Channel, title: str, header: tuple[str, str]) -> None:
    top = sheet.height
    sheet.text(LEFT, top - 0.42, title, fontsize=16, weight="bold")
    sheet.text(LEFT, top - 0.72, _cut(header[0], MOST_LETTERS), fontsize=10.5)
    sheet.text(LEFT, top - 0.98, _cut(header[1], MOST_LETTERS), fontsize=10.5)
    if not panels:
        sheet.text(LEFT, top - HEADER_HEIGHT - 0.6, "No unit was found.", fontsize=12, color="#666666")
    for row, panel in enumerate(panels):
        bottom = top - HEADER_HEIGHT - (row + 1) * UNIT_HEIGHT + 0.12
        colour = COLOURS[row % len(COLOURS)]
        is_last = row == len(panels) - 1
        _draw_words(sheet, bottom + 1.75, panel, channel, colour)
        _draw_shape(sheet.axes(LEFT, bottom, 3.2, 1.58), panel, channel, colour, is_last=is_last)
        _draw_intervals(sheet.axes(4.65, bottom, 3.3, 1.58), panel, channel, colour, is_last=is_last)
        _draw_heights(sheet.axes(8.75, bottom, HEIGHTS_WIDTH, 1.58), panel, channel, colour, is_last=is_last)


def _draw_words(sheet: Sheet, bottom: float, panel: UnitPanel, channel: Channel, colour: str) -> None:
    sheet.text(LEFT, bottom, cell_name(panel.label), fontsize=11.5, weight="bold", color=colour)
    sheet.text(LEFT + 0.8, bottom, unit_line(panel, channel), fontsize=10)
    words = [(words, its_colour) for flag, (words, its_colour) in FLAGS.items() if panel.metrics.get(flag)]
    right = WIDTH - 0.3
    for flag, its_colour in reversed(words):
        sheet.text(right, bottom, flag, fontsize=10, weight="bold", color=its_colour, ha="right")
        right -= 0.3 + 0.1 * len(flag)


def _draw_shape(axes: "Axes", panel: UnitPanel, channel: Channel, colour: str, *, is_last: bool) -> None:
    length = len(panel.shape)
    ms = (np.arange(length) - ((length + 1) // 2 - 1)) / channel.rate_hz * 1000
    if channel.noise_uv is not None:
        axes.axhspan(-channel.noise_uv, channel.noise_uv, color="#ececec", linewidth=0, zorder=0)
    axes.axhline(0, color="#bbbbbb", linewidth=0.6, zorder=0.5)
    axes.fill_between(ms, panel.shape - panel.spread, panel.shape + panel.spread, color=colour, alpha=0.25, linewidth=0)
    axes.plot(ms, panel.shape, color=colour, linewidth=1.5)
    axes.set_xlim(ms[0], ms[-1])
    axes.set_ylabel("µV")
    _finish(axes, "time from the spike (ms); mean ± s.d., grey: noise ± s.d.", is_last=is_last)


def _draw_intervals(axes: "Axes", panel: UnitPanel, channel: Channel, colour: str, *, is_last: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    edges = np.arange(len(panel.intervals) + 1) * INTERVAL_BIN_MS
    axes.axvspan(0, channel.refractory_ms, color="#f6d5d5", linewidth=0, zorder=0)
    axes.stairs(panel.intervals, edges, fill=True, color=colour)
    axes.set_xlim(0, INTERVALS_MS)
    axes.set_ylim(0, max(1, 1.08 * float(panel.intervals.max())))
    axes.set_ylabel("intervals")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    _finish(axes, f"interval between spikes (ms); red: below {channel.refractory_ms:g} ms", is_last=is_last)


def _draw_heights(axes: "Axes", panel: UnitPanel, channel: Channel, colour: str, *, is_last: bool) -> None:
    unit, name = (60.0, "min") if channel.borders[-1] >= 180 else (1.0, "s")
    borders = channel.borders / unit
    chosen = np.unique(np.linspace(0, max(len(panel.seconds) - 1, 0), MOST_DOTS).astype(np.int64))[: len(panel.seconds)]
    dense = min(1.0, max(0.25, 2500 / max(len(chosen), 1)))
    axes.plot(
        panel.seconds[chosen] / unit,
        panel.heights[chosen],
        ".",
        color=colour,
        markersize=2.4 if len(chosen) > 2000 else 3.6,
        markeredgewidth=0,
        alpha=dense,
    )
    for first, end in pairwise(borders):
        inside = (panel.seconds / unit >= first) & (panel.seconds / unit < end)
        at, median = _trend(panel.seconds[inside] / unit, panel.heights[inside], borders[-1] / TREND_BINS)
        axes.plot(at, median, color="black", linewidth=1.0)
    low, high = (min(0.0, panel.heights.min(initial=0.0)), max(0.0, panel.heights.max(initial=0.0)))
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.05 * span, high + 0.2 * span)
    axes.set_xlim(0, borders[-1] or 1.0)
    axes.axhline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    for border in borders[1:-1]:
        axes.axvline(border, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
    for first, end, session in zip(borders, borders[1:], channel.names, strict=False):
        if (end - first) * HEIGHTS_WIDTH > LETTER_WIDTH * (len(session) + 1) * borders[-1]:
            axes.annotate(session, (first, 1), (4, -4), **_INSIDE)
    axes.set_ylabel("µV at the spike")
    _finish(axes, f"time in the joined sessions ({name}); line: median", is_last=is_last)


_INSIDE: dict[str, Any] = {
    "xycoords": ("data", "axes fraction"),
    "textcoords": "offset points",
    "ha": "left",
    "va": "top",
    "fontsize": 8,
    "color": "#444444",
}


def _trend(
    at: NDArray[np.float64], values: NDArray[np.float64], width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of the values in steps of `width`, where there are enough."""
    if not at.size or width <= 0:
        return at[:0], values[:0]
    step = np.floor((at - at[0]) / width).astype(np.int64)
    found = [
        (float(np.mean(at[step == k])), float(np.median(values[step == k])))
        for k, count in zip(*np.unique(step, return_counts=True), strict=True)
        if count >= TREND_LEAST
    ]
    pairs = np.array(found, np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _finish(axes: "Axes", label: str, *, is_last: bool) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    inches = axes.get_position().width * WIDTH
    axes.yaxis.set_label_coords(-0.52 / inches, 0.5)  # in one column below each other
    if is_last:
        axes.set_xlabel(label)
    else:
        axes.tick_params(axis="x", labelbottom=False)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

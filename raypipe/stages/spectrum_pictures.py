"""A picture of a day's spectra for a person to look at: every channel at its place in its array."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import FormatError
from raypipe.stages.canvas import Sheet, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, COLUMNS = 5, 8
"""Of an array, as the lab's viewer shows it."""
ARRAY_CHANNELS = 32

CELL_WIDTH, CELL_HEIGHT = 1.2, 0.95
MARGIN, BETWEEN, HEADER_HEIGHT, ARRAY_TITLE = 0.55, 0.55, 1.15, 0.32
"""Inches; a cell has a little room around it."""
INSIDE = 0.94
"""Of a cell's width and height, what its frame takes."""
NUMBER_ROOM = 0.22
"""Above the curves, for the channel's number: as a share of what they take."""

LINE_HZ = 50.0
LINE_MOST_HARMONIC = 3
NOISY = 3.0
"""A line this many times as strong as what is beside it is marked."""

COLOURS = ("#1f5fa8", "#c2571a", "#2c7a3f", "#7b4aa0", "#8a6d1b", "#b03060")
_PLACE = re.compile(r"(session[a-z0-9]+)/array(\d+)/channel(\d+)$")


@dataclass(frozen=True)
class ChannelSpectrum:
    """The spectrum of one channel in one session: freq (F,) Hz, density (F,) µV/√Hz, without zero frequency."""

    session: str
    array: int
    channel: int
    freq: NDArray[np.float64]
    density: NDArray[np.float64]


def spectra_image(spectra: Mapping[str, Any], title: str, kind: str, *, line_hz: float = LINE_HZ) -> bytes:
    """Draw the spectra of a day's FreqSpectrum object; give the PNG, the same bytes for the same object.

    `kind` says what they are of, as "LFP". Magnitudes are drawn as densities: times √2 / √(points x rate), the points
    being those of a window. `line_hz` is the mains' frequency. Channels without a spectrum are blank, those whose
    spectrum is zero or no number say that they have no signal. Sessions are drawn over each other.

    Raises FormatError if the object is none of a day.
    """
    channels = channel_spectra(spectra)
    arrays = sorted({each.array for each in channels} | set(range(1, 5)))
    across = 2 if len(arrays) > 1 else 1
    down = -(-len(arrays) // across)
    width = 2 * MARGIN + across * COLUMNS * CELL_WIDTH + (across - 1) * BETWEEN
    height = HEADER_HEIGHT + down * (ROWS * CELL_HEIGHT + ARRAY_TITLE + BETWEEN)
    return png(width, height, lambda sheet: _draw(sheet, channels, arrays, across, title, kind, line_hz))


def channel_spectra(spectra: Mapping[str, Any]) -> tuple[ChannelSpectrum, ...]:
    """Take the spectra of the channels out of a day's object. Raises FormatError if it is none."""
    found = []
    try:
        points = spectra["args"]["pointsPerWindow"]
        rows = zip(spectra["dirs"], spectra["freq"], spectra["magnitude"], strict=True)
        for directory, freq, magnitude in rows:
            place = _PLACE.search(directory)
            if place is None:
                raise ValueError(f"{directory} is no channel's folder")
            rate_hz = 2 * freq[-1]
            density = magnitude[1:] * np.sqrt(2 / (points * rate_hz))
            found.append(ChannelSpectrum(place[1], int(place[2]), int(place[3]), freq[1:], density))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FormatError(
            f"what should be a day's FreqSpectrum is none: {error}",
            hint="remove its file, and the next run makes it again",
        ) from error
    return tuple(found)


def place_in_array(channel: int) -> tuple[int, int]:
    """Give row and column, from the upper left, of a channel in its array's 5 x 8 places.

    As in the lab's viewer: rows from right to left; the first row has six, the fourth array's fourth row too; corners are
    empty. Channels beyond the lab's 124 lie as in the second array.
    """
    array, place = divmod(channel - 1, ARRAY_CHANNELS)
    if place < 6:
        return 0, (6 if array == 0 else 5) - place
    row, column = divmod(place - 6, COLUMNS)
    if array == 3 and row == 2:
        return 3, (6 - column) % COLUMNS
    return row + 1, COLUMNS - 1 - column


def lab_channels(array: int) -> range:
    """Number the channels that an array (from 1) of the lab has; of others, none."""
    first = (array - 1) * ARRAY_CHANNELS + 1
    return range(first, min(first + ARRAY_CHANNELS, 125))


def places(channels: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Place the channels of an array; one whose place is taken (by a number of another array) gets the next free one."""
    taken: dict[tuple[int, int], int] = {}
    free = ((row, column) for row in reversed(range(ROWS)) for column in range(COLUMNS))
    every = sorted(set(channels))
    homeless = [channel for channel in every if taken.setdefault(place_in_array(channel), channel) != channel]
    for channel in homeless:
        spot = next((each for each in free if each not in taken), None)
        if spot is not None:
            taken[spot] = channel
    return {channel: spot for spot, channel in taken.items()}


def line_ratio(freq: NDArray[np.float64], density: NDArray[np.float64], line_hz: float = LINE_HZ) -> float:
    """Tell how many times as strong the mains' line is as the spectrum beside it; nan where it cannot be told.

    The strongest of the points within a point of the line, against the median of those up to a fifth of it away.
    """
    step = freq[1] - freq[0] if len(freq) > 1 else np.inf
    off = np.abs(freq - line_hz)
    on_line, beside = off <= step, (off > 3 * step) & (off <= line_hz / 5)
    if not on_line.any() or np.count_nonzero(beside) < 4:
        return float("nan")
    usual = float(np.median(density[beside]))
    return float(density[on_line].max()) / usual if usual > 0 else float("nan")


def _draw(
    sheet: Sheet,
    channels: Sequence[ChannelSpectrum],
    arrays: Sequence[int],
    across: int,
    title: str,
    kind: str,
    line_hz: float,
) -> None:
    drawable = [each for each in channels if _is_drawable(each)]
    window = _window(drawable)
    sessions = sorted({each.session for each in channels})
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(sessions)}
    sheet.text(MARGIN, sheet.height - 0.42, f"{title}: spectra of the {kind}", fontsize=16, weight="bold")
    sheet.text(MARGIN, sheet.height - 0.72, _header(drawable, channels, line_hz), fontsize=10.5)
    left = MARGIN
    for name in sessions:
        sheet.text(left, sheet.height - 0.98, name, fontsize=10.5, weight="bold", color=colours[name])
        left += 0.25 + 0.1 * len(name)
    for k, array in enumerate(arrays):
        row, column = divmod(k, across)
        bottom = sheet.height - HEADER_HEIGHT - (row + 1) * (ROWS * CELL_HEIGHT + ARRAY_TITLE) - row * BETWEEN
        left = MARGIN + column * (COLUMNS * CELL_WIDTH + BETWEEN)
        mine = [each for each in drawable if each.array == array]
        recorded = {each.channel for each in channels if each.array == array}
        spots = places(sorted(recorded | set(lab_channels(array))))
        sheet.text(left, bottom + ROWS * CELL_HEIGHT + 0.08, f"array {array}", fontsize=12, weight="bold")
        axes = sheet.axes(left, bottom, COLUMNS * CELL_WIDTH, ROWS * CELL_HEIGHT)
        _draw_array(axes, mine, spots, window, colours, line_hz)
        for channel in recorded & spots.keys() - {each.channel for each in mine}:
            row, column = spots[channel]
            axes.text(column + INSIDE / 2, ROWS - 1 - row + INSIDE / 2, "no signal", **_NO_SIGNAL)


@dataclass(frozen=True)
class _Window:
    """What a cell shows: frequencies and densities, as powers of ten."""

    low_hz: float
    high_hz: float
    low: float
    high: float

    def across(self, hz: Any) -> Any:
        """Place frequencies from 0 to 1 of a cell's frame."""
        return (np.log10(hz) - self.low_hz) / (self.high_hz - self.low_hz)

    def up(self, density: Any) -> Any:
        """Place densities from 0 to 1 of a cell's frame, those beyond it on its edge."""
        with np.errstate(divide="ignore"):
            return np.clip((np.log10(density) - self.low) / (self.high - self.low), 0, 1)


def _window(drawable: Sequence[ChannelSpectrum]) -> _Window:
    """Choose one window for all cells: all frequencies, and all but the least thousandth of densities."""
    if not drawable:
        return _Window(0.0, 3.0, -2.0, 2.0)
    low_hz = float(np.log10(min(each.freq[0] for each in drawable)))
    high_hz = float(np.log10(max(each.freq[-1] for each in drawable)))
    values = np.concatenate([each.density[np.isfinite(each.density) & (each.density > 0)] for each in drawable])
    high = float(np.log10(values.max())) + 0.1
    low = max(float(np.log10(np.quantile(values, 0.001))) - 0.1, high - 6)  # deeper is only the filter's skirt
    high = max(high, low + 1)
    return _Window(low_hz, max(high_hz, low_hz + 0.1), low, high + NUMBER_ROOM * (high - low))


def _is_drawable(each: ChannelSpectrum) -> bool:
    return bool(np.isfinite(each.density).all() and (each.density > 0).any())


def _header(drawable: Sequence[ChannelSpectrum], channels: Sequence[ChannelSpectrum], line_hz: float) -> str:
    blank = len(channels) - len(drawable)
    text = f"{len(drawable)} spectra; mean density (µV/√Hz, log) against frequency (Hz, log), the same scales in every cell"
    if blank:
        text += f"; {blank} without a signal"
    ratios = [line_ratio(each.freq, each.density, line_hz) for each in drawable]
    if np.isfinite(ratios).any():
        noisy = sum(ratio >= NOISY for ratio in ratios)
        text += f"; {line_hz:g} Hz at least {NOISY:g} times its surroundings in {noisy} (red: how many times)"
    return text


def _draw_array(
    axes: "Axes",
    spectra: Sequence[ChannelSpectrum],
    spots: Mapping[int, tuple[int, int]],
    window: _Window,
    colours: Mapping[str, str],
    line_hz: float,
) -> None:
    """Draw the cells of an array on one pair of axes, a cell being 1 x 1: a hundred axes would take seconds."""
    from matplotlib.collections import LineCollection

    axes.set_xlim(0, COLUMNS)
    axes.set_ylim(0, ROWS)
    axes.set_axis_off()
    there = {each.channel for each in spectra}
    frames: list[_Line] = []
    missing: list[_Line] = []
    grid: list[_Line] = []
    mains: list[_Line] = []
    worst = _worst_lines(spectra, line_hz)
    for channel, (row, column) in spots.items():
        left, bottom = column, ROWS - 1 - row
        frame = _frame(left, bottom)
        (frames if channel in there else missing).append(frame)
        axes.text(left + 0.03, bottom + INSIDE - 0.03, str(channel), **(_NUMBER if channel in there else _MISSING))
        if channel in there:
            grid += [_upright(left, bottom, window.across(hz)) for hz in _decades(window.low_hz, window.high_hz)]
            grid += [_level(left, bottom, window.up(each)) for each in _decades(window.low, window.high)]
            if channel in worst:
                mains += [_upright(left, bottom, window.across(hz)) for hz in _harmonics(line_hz, window)]
    lines, line_colours = [], []
    for each in spectra:
        if each.channel not in spots:
            continue
        row, column = spots[each.channel]
        left, bottom = column, ROWS - 1 - row
        lines.append(
            np.column_stack([left + INSIDE * window.across(each.freq), bottom + INSIDE * window.up(each.density)])
        )
        line_colours.append(colours[each.session])
    for channel, ratio in worst.items():
        if ratio >= NOISY and channel in spots:
            row, column = spots[channel]
            axes.text(column + INSIDE - 0.03, ROWS - 1 - row + INSIDE - 0.03, f"×{ratio:.0f}", **_RATIO)
    axes.add_collection(LineCollection(grid, colors="#e6e6e6", linewidths=0.6, zorder=1))
    axes.add_collection(LineCollection(mains, colors="#f0b8b8", linewidths=0.7, zorder=2))
    axes.add_collection(LineCollection(lines, colors=line_colours, linewidths=0.8, alpha=0.85, zorder=3))
    axes.add_collection(
        LineCollection(missing, colors="#bbbbbb", linewidths=0.7, linestyles=(0, (2, 3)), zorder=4, clip_on=False)
    )
    axes.add_collection(LineCollection(frames, colors="#888888", linewidths=0.7, zorder=4, clip_on=False))
    if there:
        _draw_scales(axes, spots, window)


_Line = list[tuple[float, float]]
_NUMBER: dict[str, Any] = {"fontsize": 7.5, "ha": "left", "va": "top", "color": "#222222", "zorder": 5}
_MISSING: dict[str, Any] = {**_NUMBER, "color": "#999999"}
_NO_SIGNAL: dict[str, Any] = {"fontsize": 7.5, "ha": "center", "va": "center", "color": "#b00020"}
_RATIO: dict[str, Any] = {**_NUMBER, "ha": "right", "color": "#b00020", "weight": "bold"}


def _draw_scales(axes: "Axes", spots: Mapping[int, tuple[int, int]], window: _Window) -> None:
    """Write the scales under and beside the lowest cell at the left."""
    row, column = max(spots.values(), key=lambda spot: (spot[0], -spot[1]))
    left, bottom = column, ROWS - 1 - row
    for hz in _decades(window.low_hz, window.high_hz):
        axes.text(left + INSIDE * window.across(hz), bottom - 0.03, _short(hz), fontsize=7, ha="center", va="top")
    for density in _decades(window.low, window.high)[::2]:
        axes.text(
            left - 0.03, bottom + INSIDE * window.up(density), _short(density), fontsize=7, ha="right", va="center"
        )


def _worst_lines(spectra: Sequence[ChannelSpectrum], line_hz: float) -> dict[int, float]:
    worst: dict[int, float] = {}
    for each in spectra:
        ratio = line_ratio(each.freq, each.density, line_hz)
        if np.isfinite(ratio):
            worst[each.channel] = max(ratio, worst.get(each.channel, 0.0))
    return worst


def _harmonics(line_hz: float, window: _Window) -> Iterator[float]:
    for number in range(1, LINE_MOST_HARMONIC + 1):
        if 0 < window.across(number * line_hz) < 1:
            yield number * line_hz


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]


def _frame(left: float, bottom: float) -> _Line:
    right, top = left + INSIDE, bottom + INSIDE
    return [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]


def _upright(left: float, bottom: float, at: float) -> _Line:
    return [(left + INSIDE * at, bottom), (left + INSIDE * at, bottom + INSIDE)]


def _level(left: float, bottom: float, at: float) -> _Line:
    return [(left, bottom + INSIDE * at), (left + INSIDE, bottom + INSIDE * at)]


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"

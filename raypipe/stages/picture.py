"""A picture of the maze for a person to look at: where the animal was, and what it looked at."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raypipe.io.gaze_bins import BinCounts, count_bins
from raypipe.io.publish import write_whole
from raypipe.stages.maze import POSTER_NAMES, POSTERS
from raypipe.stages.maze_panels import BIN_SIDE, PILLAR_SIDE, SIDE, Extent, Panels, maze_panels
from raypipe.stages.scene import PILLARS, Revision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100
WIDTH, HEIGHT = 16.0, 11.6
"""Of the picture, in inches, as all its layout."""
PILLAR_COLOURS = {"Green": "#2e8b57", "Blue": "#3b6fb6", "Red": "#c0392b", "Yellow": "#c99700"}
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there on every machine
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.usetex": False,
}


def draw_maze(
    umaze: Mapping[str, Any],
    unity: Mapping[str, Any],
    bins: Path | None,
    out: Path,
    title: str,
    *,
    revision: Revision = "A",
    n_gaze_samples: int | None = None,
) -> None:
    """Write `maze_image` of the same arguments as `out`. Raises WriteFailed too."""
    write_whole(out, maze_image(umaze, unity, bins, title, revision=revision, n_gaze_samples=n_gaze_samples))


def maze_image(
    umaze: Mapping[str, Any],
    unity: Mapping[str, Any],
    bins: Path | None,
    title: str,
    *,
    revision: Revision = "A",
    n_gaze_samples: int | None = None,
) -> bytes:
    """Draw a session's occupancy and gaze; give the PNG, the same bytes for the same session.

    `umaze` and `unity` are the fields of its objects, `bins` its `binData.hdf` (None: no gaze), `revision` the maze that
    the gaze was cast on, `n_gaze_samples` how many samples were cast: then the share that met nothing is told too.
    Raises InputMissing or FormatError for `bins`.
    """
    counts = count_bins(bins) if bins else None
    panels = maze_panels(umaze, unity, counts, revision)
    return picture(panels, title, header_lines(panels, counts, n_gaze_samples))


def header_lines(panels: Panels, counts: BinCounts | None, n_gaze_samples: int | None) -> tuple[str, str]:
    """Say in two lines what the session was, and what its gaze met."""
    session = (
        f"{panels.n_trials} trials: {panels.n_found} found, {panels.n_trials - panels.n_found} timed out; "
        f"{_duration(panels.seconds)} from the first cue to the last end; "
        f"{_duration(float(np.nansum(panels.occupancy)))} in the bins"
    )
    if unknown := np.count_nonzero(np.isnan(panels.occupancy)):  # PyHipp's own Umaze has some after its aligning
        session += f", and in {unknown} of them an unknown time"
    if counts is None:
        return session, "No gaze was cast on this session."
    parts = ", ".join(f"{name} {share:.1%}" for name, share in panels.shares.items())
    gaze = f"Gaze: {panels.n_hits:,} hits of {counts.n_samples:,} samples: {parts}"
    if n_gaze_samples:
        gaze += f"; off {1 - counts.n_samples / n_gaze_samples:.1%} of {n_gaze_samples:,} samples"
    return session, gaze


def picture(panels: Panels, title: str, header: tuple[str, str]) -> bytes:
    """Draw the panels under a title and two lines; give the PNG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own style would make another picture
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        figure.text(0.75 / WIDTH, 1 - 0.42 / HEIGHT, title, fontsize=16, weight="bold")
        figure.text(0.75 / WIDTH, 1 - 0.74 / HEIGHT, header[0], fontsize=10.5)
        figure.text(0.75 / WIDTH, 1 - 1.0 / HEIGHT, header[1], fontsize=10.5)
        _draw_occupancy(figure, panels)
        most = max(10, panels.floor.max(), panels.walls.max(), panels.pillars.max())
        norm = LogNorm(1, most)
        _draw_floor(figure, panels, norm)
        _draw_walls(figure, panels, norm)
        _draw_pillars(figure, panels, norm)
        image = io.BytesIO()
        figure.savefig(image, format="png", metadata={"Software": None})  # else another version is another file
    return image.getvalue()


def _draw_occupancy(figure: "Figure", panels: Panels) -> None:
    from matplotlib.colors import LogNorm

    axes = _axes(figure, 0.75, 4.0, 6.05, 6.05)
    axes.set_title("Time spent in trials, and the way walked")
    seen = panels.occupancy[panels.occupancy > 0]
    most = float(seen.max(initial=0)) or 1.0
    least = max(float(seen.min()) if seen.size else 0.0, most / 1000)
    if least >= most:
        least = most / 10
    mesh = _heat(axes, panels.occupancy, panels.occupancy_extent, LogNorm(least, most), "YlOrRd")
    alpha = min(0.6, max(0.15, 2 / np.sqrt(panels.n_trials)))  # hundreds of ways would hide the times below them
    axes.plot(panels.path[:, 0], panels.path[:, 1], color="black", linewidth=0.5, alpha=alpha)
    _draw_plan(axes, panels.occupancy_extent)
    axes.set_ylabel("z, south to north (m)")
    _colour_bar(figure, mesh, 6.95, 4.0, 6.05, "seconds in a bin (log)")


def _draw_floor(figure: "Figure", panels: Panels, norm: Any) -> None:
    axes = _axes(figure, 8.5, 4.0, 6.05, 6.05)
    axes.set_title("Gaze on the floor")
    mesh = _heat(axes, panels.floor, panels.floor_extent, norm, "viridis_r")
    _draw_plan(axes, panels.floor_extent)
    _colour_bar(figure, mesh, 14.7, 4.0, 6.05, "gaze hits in a bin (log; floor, walls and pillars)")


def _draw_walls(figure: "Figure", panels: Panels, norm: Any) -> None:
    axes = _axes(figure, 0.75, 2.25, 14.5, 0.85)
    axes.set_title("Gaze on the outer walls, unfolded, as seen from inside")
    length = 4 * SIDE
    _heat(axes, panels.walls, (0, length, 0, panels.walls.shape[0] * BIN_SIDE), norm, "viridis_r")
    for corner in range(1, 4):
        axes.axvline(corner * SIDE, color="black", linewidth=1)
    axes.set_xticks([(side + 0.5) * SIDE for side in range(4)], ["west", "north", "east", "south"])
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([0, 5])
    axes.set_ylabel("m")


def _draw_pillars(figure: "Figure", panels: Panels, norm: Any) -> None:
    from matplotlib.patches import Rectangle

    width, gap = 3.325, 0.4
    faces = ("south", "east", "north", "west")
    for pillar, name in enumerate(PILLARS):
        axes = _axes(figure, 0.75 + pillar * (width + gap), 0.65, width, 0.8)
        length = len(faces) * PILLAR_SIDE
        lowest, highest = float(panels.pillar_rows[0]), float(panels.pillar_rows[-1])
        _heat(axes, panels.pillars[pillar], (0, length, lowest, highest), norm, "viridis_r")
        for edge in range(1, len(faces)):
            axes.axvline(edge * PILLAR_SIDE, color="black", linewidth=1)
        for poster in panels.posters:
            if poster.pillar == pillar:
                where = (poster.left, poster.bottom)
                outline = Rectangle(where, poster.width, poster.height, fill=False, edgecolor="black", linewidth=1.5)
                axes.add_patch(outline)
                middle = poster.left + poster.width / 2
                axes.annotate(_label(poster.number), (middle, highest), (0, 3), **_ABOVE)
        axes.set_xticks([(face + 0.5) * PILLAR_SIDE for face in range(len(faces))], faces)
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([0, 2.5])
        axes.set_xlabel(f"{name.lower()} pillar, from outside", color=PILLAR_COLOURS[name], weight="bold")
        for spine in axes.spines.values():
            spine.set_edgecolor(PILLAR_COLOURS[name])
            spine.set_linewidth(2)
        if pillar == 0:
            axes.set_ylabel("m")


_ABOVE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 8}


def _draw_plan(axes: "Axes", extent: Extent) -> None:
    """Draw outer walls, pillars and posters from above."""
    from matplotlib.patches import Rectangle

    left, right, lower, upper = extent
    axes.add_patch(Rectangle((left, lower), right - left, upper - lower, fill=False, edgecolor="black", linewidth=1.5))
    for name, (x, z) in zip(PILLARS, ((2.5, -7.5), (-7.5, -7.5), (2.5, 2.5), (-7.5, 2.5)), strict=True):
        pillar = Rectangle((x, z), PILLAR_SIDE, PILLAR_SIDE, facecolor="#f2f2f2", edgecolor=PILLAR_COLOURS[name])
        pillar.set_linewidth(2)
        axes.add_patch(pillar)
    for number, (x, z) in enumerate(POSTERS, start=1):
        middle = np.sign([x, z]) * PILLAR_SIDE  # of its pillar
        outward = np.sign(np.round(np.array([x, z]) - middle, 6))
        along = 1.12 * outward[::-1]
        ends = np.array([x, z]) + np.outer([-1, 1], along)
        axes.plot(ends[:, 0], ends[:, 1], color="black", linewidth=4, solid_capstyle="butt")
        inside = np.array([x, z]) - 0.75 * outward
        axes.text(
            inside[0],
            inside[1],
            _label(number),
            ha="center",
            va="center",
            rotation=90 if outward[0] else 0,
            fontsize=8.5,
        )
    axes.set_xlim(-13, 13)
    axes.set_ylim(-13, 13)
    axes.set_xlabel("x, west to east (m)")


def _heat(axes: "Axes", values: NDArray[Any], extent: Extent, norm: Any, colours: str) -> "QuadMesh":
    """Draw (rows, columns) from the lower left over an extent; zero and NaN are left white."""
    rows, columns = values.shape
    across, up = np.linspace(*extent[:2], columns + 1), np.linspace(*extent[2:], rows + 1)
    return axes.pcolormesh(across, up, np.ma.masked_where(~(values > 0), values), norm=norm, cmap=colours)


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    return figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))


def _colour_bar(figure: "Figure", mesh: "QuadMesh", left: float, bottom: float, height: float, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    least, most = mesh.get_clim()
    ticks = [value for value in _ROUND_NUMBERS if least <= value <= most]
    bar = figure.colorbar(mesh, cax=_axes(figure, left, bottom, 0.16, height), label=label, ticks=ticks)
    bar.formatter = FuncFormatter(lambda value, _: f"{value:,g}" if value < 1 else f"{value:,.0f}")
    bar.ax.yaxis.set_minor_locator(NullLocator())


_ROUND_NUMBERS = [float(f"{digit}e{power}") for power in range(-6, 10) for digit in (1, 2, 5)]


def _label(number: int) -> str:
    return f"{number} {POSTER_NAMES[number - 1]}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"

"""A sheet to draw on: the same PNG, byte for byte, whatever the user's own style is."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 100
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is there on every machine
    "font.size": 9,
    "text.usetex": False,
}


class Sheet:
    """A figure of `width` x `height` inches, on which things are placed in inches from the lower left."""

    def __init__(self, figure: "Figure", width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, bottom: float, width: float, height: float) -> "Axes":
        """Put axes on the sheet."""
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))

    def text(self, left: float, bottom: float, text: str, **style: Any) -> None:
        """Write on the sheet, beginning at a place."""
        self.figure.text(left / self.width, bottom / self.height, text, **style)


def png(width: float, height: float, draw: Callable[[Sheet], None]) -> bytes:
    """Let `draw` draw on a white sheet; give the PNG."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own style would make another picture
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        draw(Sheet(figure, width, height))
        image = io.BytesIO()
        figure.savefig(image, format="png", metadata={"Software": None})  # else another version is another file
    return image.getvalue()

"""The look of all figures: colours, sizes, titles, legends, and how a figure becomes bytes.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; marks differ in shape as
well, so that a print without colours can be read. Nothing here writes a file or touches pyplot.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

BLACK = "#000000"
GREY = "#8c8c8c"
PALE = "#d9d9d9"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
# The mark of what was chosen.
CHOSEN: dict[str, Any] = {
    "marker": "*", "s": 80, "color": VERMILLION, "edgecolor": "white", "linewidth": 0.6,
    "zorder": 5,
}  # fmt: skip


SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY, BLACK)


LOOK = {
    # From matplotlib's defaults, so that a reader's own matplotlibrc changes nothing.
    **{key: value for key, value in matplotlib.rcParamsDefault.items() if "backend" not in key},
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "figure.dpi": 150,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "font.size": 8.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.hashsalt": "segexp",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}


DPI = 150


# An SVG with more marks than this carries them as one picture.
MAX_VECTOR_MARKS = 4000


def render(figure: Figure) -> dict[str, bytes]:
    """Return a figure as ``{"png": ..., "svg": ...}``; the same figure gives the same bytes.

    The PNG has 150 dots per inch.
    """
    return dict(Pictures(figure))


class Pictures(Mapping[str, bytes]):
    """A figure as ``"svg"``, and as ``"png"`` once that is asked for; a page needs one of them.

    Parameters
    ----------
    figure : Figure
        Drawn at once, so that one that cannot be drawn fails here.
    """

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        with _drawing():
            _settle(figure)
        self._made = {"svg": self._saved("svg")}

    def __getitem__(self, kind: str) -> bytes:
        if kind not in self._made:
            self._made[kind] = self._saved(kind)
        return self._made[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(_CANVASES)

    def __len__(self) -> int:
        return len(_CANVASES)

    def __contains__(self, kind: object) -> bool:
        return kind in _CANVASES  # the inherited one would draw it

    def _saved(self, kind: str) -> bytes:
        buffer = io.BytesIO()
        with _drawing():
            self._figure.set_dpi(DPI)  # which an SVG changes
            canvas, metadata = _CANVASES[kind]
            # Not savefig, which draws twice.
            getattr(canvas(self._figure), f"print_{kind}")(buffer, metadata=metadata)
        return buffer.getvalue()


# What each kind is drawn by, and what would say when it was made.
_CANVASES: dict[str, tuple[Any, dict[str, None]]] = {
    "png": (FigureCanvasAgg, {"Software": None}),
    "svg": (FigureCanvasSVG, {"Date": None}),
}


@contextmanager
def _drawing() -> Iterator[None]:
    """Draw in this look, and a letter that the font lacks, such as an emoji, as a box."""
    with matplotlib.rc_context(LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        yield


def _settle(figure: Figure) -> None:
    """Lay a figure out once, and not again for every file."""
    figure.set_dpi(DPI)
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None and figure.axes:
        engine.execute(figure)
    figure.set_layout_engine("none")


# ---- layout ------------------------------------------------------------------------------------


def make_panels(
    n: int, *, width: float, height: float, most_columns: int, sharey: bool, same_x: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels of about the given size, in inches."""
    columns = max(1, min(most_columns, n, max(3, math.ceil(math.sqrt(n)))))
    rows = max(1, math.ceil(n / columns))
    size = (max(6.6, width * columns), 1.1 + height * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=sharey, sharex=same_x, squeeze=False)
    panels = list(axes.flat)
    for unused in panels[n:]:
        unused.set_visible(False)
    for i, panel in enumerate(panels[:n]):
        if same_x:
            panel.tick_params(labelbottom=i + columns >= n)
    return figure, panels[:n]


def set_title(figure: Figure, title: str, note: str) -> None:
    """Say what one sees, and below it what the numbers are."""
    # The empty second line keeps the place of the note, which is set smaller.
    figure.suptitle(f"{title}\n ", x=0.008, horizontalalignment="left")
    height = figure.get_figheight()
    figure.text(0.008, 1 - (0.042 + 0.185) / height, note, fontsize=7.5, va="top", color="#4d4d4d")


def label_x(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    """Label the horizontal axes of panels that have the same."""
    # Below each column: the legend has the place of a label of the whole figure.
    columns = _n_columns(panels)
    for axes in panels[-columns:]:
        axes.set_xlabel(label)


def _n_columns(panels: Sequence[Axes]) -> int:
    spec = panels[0].get_subplotspec() if panels else None
    return spec.get_gridspec().ncols if spec else 1


def label_y(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    """Label the vertical axes of panels that have the same."""
    if len(panels) == 1:
        panels[0].set_ylabel(label)
    else:
        figure.supylabel(label, fontsize=8.5)


def add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels: each label once, and only what is drawn."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if _is_drawn(handle):
                handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=min(len(handles), max(3, int(figure.get_figwidth() / 1.65))),
        )


def _is_drawn(handle: Any) -> bool:
    if isinstance(handle, Patch):
        return True
    data = handle.get_xdata() if isinstance(handle, Line2D) else handle.get_offsets()
    return np.size(data) > 0


def labelled(metric: str, greater_is_better: bool) -> str:
    """Return a metric in words, with its direction."""
    return f"{words_of(metric)} ({'more' if greater_is_better else 'less'} is better)"


def words_of(metric: str) -> str:
    """Return the name of a metric in words."""
    return metric.replace("_", " ")


def shortened(text: str, length: int) -> str:
    """Return text with its middle left out; names differ at both ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def wrapped(name: str, length: int) -> list[str]:
    """Break a name at its separators into at most two lines of about ``length`` characters."""
    lines = [""]
    for part in re.findall(r"[^_.]*[_.]*", name):
        if len(lines[-1]) + len(part) > length and lines[-1]:
            lines.append("")
        lines[-1] += part
    if len(lines) > 2:
        lines = [lines[0], "".join(lines[1:])]
    return [shortened(line, length) for line in lines]


# ---- segments ----------------------------------------------------------------------------------

IN_SAMPLE = "In-sample: on the customers that the segments were made from"

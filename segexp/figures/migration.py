"""Figures of customers who move between segments: flows and a matrix.

Segments are told apart by their labels, not by colours, of which there are not forty; colours say
what kind of move a flow is.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch, Rectangle
from matplotlib.path import Path

from segexp.figures.look import (
    BLACK,
    BLUE,
    GREY,
    LOOK,
    ORANGE,
    PALE,
    SKY,
    VERMILLION,
    set_title,
    shortened,
)
from segexp.migration import GONE, NEW

_LABEL_INCHES = 0.165  # between two labels, which then do not touch
_FLOWS_INCHES = 3.6  # all customers together
_NODE = 0.018  # width of a node, in widths of the picture
_MOST_COUNTED = 14  # segments up to which a cell of the matrix holds a count
_MOST_SHARED = 26  # and up to which it holds a percentage
_WORTH_TEXT = 0.005  # share of a row that is written

_KINDS = {
    "stayed": (PALE, "stayed"),
    "moved": (BLUE, "moved to another segment"),
    "new": (ORANGE, "new"),
    "gone": (VERMILLION, "gone"),
}


@matplotlib.rc_context(LOOK)
def flow(
    transitions: pd.DataFrame, order: Sequence[str], periods: tuple[str, str] = ("before", "after")
) -> Figure:
    """Customers from their segments before, on the left, to those after, on the right.

    Parameters
    ----------
    transitions : DataFrame with columns ``from, to, customers``
        As :func:`segexp.migration.transitions` returns it.
    order : sequence of str
        The segments from top to bottom.
    periods : tuple of str
        What the two periods are called.
    """
    left = _totals(transitions, "from", [*order, NEW])
    right = _totals(transitions, "to", [*order, GONE])
    total = float(max(left.sum(), 1.0))
    n = max(len(left), len(right))
    inches = _FLOWS_INCHES + _LABEL_INCHES * n
    gap = total * _LABEL_INCHES / _FLOWS_INCHES
    figure = Figure(figsize=(7.6, 1.35 + inches), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(total + gap * n, 0)
    tops = _stack(left, gap), _stack(right, gap)
    _draw_flows(axes, transitions, tops)
    before, after = left.drop(NEW, errors="ignore"), right.drop(GONE, errors="ignore")
    _draw_nodes(axes, left, tops[0], 0.0, [f"{count:,.0f}" for count in left])
    change = (after - before.reindex(after.index).fillna(0)).reindex(right.index)
    said = [
        f"{count:,.0f}" + ("" if np.isnan(net) else f"  ({net:+,.0f})")
        for count, net in zip(right, change, strict=True)
    ]
    _draw_nodes(axes, right, tops[1], 1.0, said)
    present = {_kind(*pair) for pair in zip(transitions["from"], transitions["to"], strict=True)}
    figure.legend(
        handles=[Patch(color=c, label=word) for k, (c, word) in _KINDS.items() if k in present],
        loc="outside lower center",
        ncols=4,
    )
    first, second = (shortened(name, 34) for name in periods)
    set_title(
        figure,
        "Where the customers of each segment went",
        f"Left: {first}; right: {second}, with the change; heights: customers",
    )
    return figure


def _totals(transitions: pd.DataFrame, side: str, order: Sequence[str]) -> pd.Series[float]:
    """Return the customers of each segment that has any on one side, in their order."""
    found = transitions.groupby(side)["customers"].sum().astype(float)
    return found.reindex([name for name in order if name in found.index])


def _stack(totals: pd.Series[float], gap: float) -> dict[str, float]:
    """Return the upper edge of each node."""
    sizes = totals.to_numpy()
    tops = np.concatenate([[0.0], np.cumsum(sizes[:-1] + gap)]) if len(sizes) else sizes
    # Nodes keep half a gap from the edge, where the label of a small one needs it.
    return {str(name): float(top + gap / 2) for name, top in zip(totals.index, tops, strict=True)}


def _kind(source: str, target: str) -> str:
    if source == NEW:
        return "new"
    if target == GONE:
        return "gone"
    return "stayed" if source == target else "moved"


def _draw_flows(
    axes: Axes, transitions: pd.DataFrame, tops: tuple[dict[str, float], dict[str, float]]
) -> None:
    """Draw a band for each pair; at a node they lie in the order of the other side's nodes."""
    left, right = dict(tops[0]), dict(tops[1])
    place = {name: i for i, name in enumerate(tops[0])}, {n: i for i, n in enumerate(tops[1])}
    pairs = transitions[["from", "to", "customers"]].copy()
    pairs["i"], pairs["j"] = pairs["from"].map(place[0]), pairs["to"].map(place[1])
    starts: dict[tuple[str, str], float] = {}
    for source, target, size in _rows(pairs.sort_values(["i", "j"])):
        starts[source, target] = left[source]
        left[source] += size
    for source, target, size in _rows(pairs.sort_values(["j", "i"])):
        kind = _kind(source, target)
        axes.add_patch(
            PathPatch(
                _band(starts[source, target], right[target], size),
                facecolor=_KINDS[kind][0],
                alpha=0.85 if kind == "stayed" else 0.55,
                linewidth=0,
                zorder=1 if kind == "stayed" else 2,
            )
        )
        right[target] += size


def _rows(pairs: pd.DataFrame) -> list[tuple[str, str, float]]:
    return [
        (str(source), str(target), float(size))
        for source, target, size in zip(pairs["from"], pairs["to"], pairs["customers"], strict=True)
    ]


def _band(left: float, right: float, size: float) -> Path:
    x0, x1 = _NODE, 1 - _NODE
    middle = (x0 + x1) / 2
    points = [
        (x0, left), (middle, left), (middle, right), (x1, right),
        (x1, right + size), (middle, right + size), (middle, left + size), (x0, left + size),
        (x0, left),
    ]  # fmt: skip
    curve = [Path.CURVE4] * 3
    return Path(points, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])


def _draw_nodes(
    axes: Axes, totals: pd.Series[float], tops: dict[str, float], x: float, said: Sequence[str]
) -> None:
    is_left = x == 0
    for (name, size), words in zip(totals.items(), said, strict=True):
        top = tops[str(name)]
        outside = name in (NEW, GONE)
        axes.add_patch(
            Rectangle(
                (x if is_left else x - _NODE, top), _NODE, max(size, 0.0), zorder=3, linewidth=0.4,
                facecolor=GREY if outside else SKY, edgecolor=BLACK, clip_on=False,
            )
        )  # fmt: skip
        label = shortened(str(name), 26)
        axes.annotate(
            f"{label}  {words}", (x, top + size / 2), xytext=(-4 if is_left else 4, 0),
            textcoords="offset points", ha="right" if is_left else "left", va="center",
            fontsize=7.5, annotation_clip=False, style="italic" if outside else "normal",
        )  # fmt: skip


@matplotlib.rc_context(LOOK)
def heat_map(matrix: pd.DataFrame, periods: tuple[str, str] = ("before", "after")) -> Figure:
    """Shares of each segment's customers by where they are later.

    Parameters
    ----------
    matrix : DataFrame
        Customers, as :func:`segexp.migration.matrix` returns it. With few segments a cell holds
        their number, with more the percentage of the row, with many its colour alone.
    periods : tuple of str
        What the two periods are called.
    """
    counts = matrix.to_numpy(dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    n = max(counts.shape)
    cell = 0.46 if n <= _MOST_COUNTED else 0.27 if n <= _MOST_SHARED else 0.2
    names = [shortened(str(name), 22) for name in (*matrix.index, *matrix.columns)]
    margin = 0.075 * max(map(len, names), default=0)
    width = 1.9 + margin + cell * counts.shape[1]
    height = 1.5 + margin + cell * counts.shape[0]
    figure = Figure(figsize=(max(5.2, width), max(3.2, height)), layout="constrained")
    axes = figure.subplots()
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = 7.5 if n <= _MOST_COUNTED else 6.5
    axes.set_yticks(np.arange(counts.shape[0]), names[: len(matrix)], fontsize=size)
    axes.set_xticks(np.arange(counts.shape[1]), names[len(matrix) :], fontsize=size)
    for label in axes.get_xticklabels():
        label.set(rotation=45 if margin < 0.4 else 60, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    if n <= _MOST_SHARED:
        _write_cells(axes, counts, shares, n <= _MOST_COUNTED)
    for i, name in enumerate(matrix.index):
        if name in matrix.columns:
            j = list(matrix.columns).index(name)
            box = Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=VERMILLION)
            axes.add_patch(box)
    axes.set_ylabel(f"segment: {shortened(periods[0], 28)}")
    axes.set_xlabel(f"segment: {shortened(periods[1], 28)}")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label("share of the row")
    held = "customers" if n <= _MOST_COUNTED else "percent of the row"
    note = (
        f"Framed: those who stayed; in the cells: {held}"
        if n <= _MOST_SHARED
        else ("Framed: those who stayed")
    )
    set_title(figure, "From segment (row) to segment (column)", note)
    return figure


def _write_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray, as_counts: bool) -> None:
    for i, j in zip(*np.nonzero(shares >= (0 if as_counts else _WORTH_TEXT)), strict=True):
        if not counts[i, j]:
            continue
        text = f"{counts[i, j]:,.0f}" if as_counts else f"{100 * shares[i, j]:.0f}"
        colour = "white" if shares[i, j] > 0.5 else BLACK
        axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color=colour)

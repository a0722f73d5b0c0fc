"""Figures of a classifier: what it confuses, what its probabilities are worth, what it looks at.

Segments are told apart by position and label where there may be many. Curves are drawn for eight
segments at most; the caller chooses which, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segexp.figures.look import (
    BLACK,
    BLUE,
    CHOSEN,
    GREY,
    LOOK,
    MAX_VECTOR_MARKS,
    ORANGE,
    PALE,
    SERIES,
    SKY,
    VERMILLION,
    add_legend,
    label_y,
    labelled,
    make_panels,
    set_title,
    shortened,
    words_of,
)

Floats = NDArray[np.float64]

MOST_CURVES = 8  # segments whose curves one can tell apart
_MOST_COUNTED = 8  # segments up to which a cell of the confusion holds count and share
_MOST_SHARED = 20  # and up to which it holds the share
_WORTH_TEXT = 0.005  # share of a row that is written
_DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-", (0, (5, 1.5)), (0, (1.2, 1)), (0, (5, 1, 1, 1)),
)  # type: ignore[assignment] # fmt: skip
_MARKERS = "osD^vPXd"
_FEW_VALUES = 6  # of a number, which are then drawn as points
_ORDER = "cividis"  # of low and high values; lightness alone tells them apart


@dataclass(frozen=True)
class Ranking:
    """How the probability of one segment ranks its members before the others."""

    false_positive: Floats  # shape (n_points,), growing
    true_positive: Floats  # shape (n_points,)
    recall: Floats  # shape (n_thresholds,), falling
    precision: Floats  # shape (n_thresholds,)
    area: float  # under the ROC curve
    average_precision: float
    prevalence: float  # share of the members


@dataclass(frozen=True)
class Dependence:
    """Mean prediction where one feature has the same value for everybody."""

    feature: str
    kind: str  # numeric, ordinal, categorical or date
    grid: Sequence[object]  # values, in their own units
    means: Floats  # shape (n_values, n_segments)
    weights: Floats  # shape (n_values,): share of the customers with this value, or NaN


def series_style(i: int) -> dict[str, Any]:
    """Return the colour and the dashes of the i-th of up to eight curves."""
    return {"color": SERIES[i % len(SERIES)], "linestyle": _DASHES[i % len(_DASHES)]}


# ---- what is confused --------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def confusion(counts: pd.DataFrame, note: str) -> Figure:
    """Customers of each known segment (row) by the predicted one (column).

    Parameters
    ----------
    counts : DataFrame of int, shape (n_segments, n_segments)
        With few segments a cell holds count and share of the row, with more the share, with many
        its colour alone.
    note : str
        What the numbers are.
    """
    cells = counts.to_numpy(dtype=float)
    totals = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros_like(cells), where=totals > 0)
    n = len(counts)
    cell = 0.58 if n <= _MOST_COUNTED else 0.3 if n <= _MOST_SHARED else 0.17
    names = [shortened(str(name), 24) for name in counts.index]
    margin = 0.07 * max(map(len, names), default=0)
    size = (max(5.6, 2.0 + margin + cell * n), max(3.4, 1.6 + margin + cell * n))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(False)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="equal")
    letters = 7.5 if n <= _MOST_SHARED else 6.0
    axes.set_yticks(np.arange(n), names, fontsize=letters)
    is_short = max(map(len, names), default=0) <= 4 and n <= _MOST_COUNTED
    axes.set_xticks(np.arange(n), names, fontsize=letters)
    if not is_short:
        for label in axes.get_xticklabels():
            label.set(rotation=60 if n > _MOST_COUNTED else 40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    if n <= _MOST_SHARED:
        _write_cells(axes, cells, shares, n <= _MOST_COUNTED)
    for i in range(n):
        axes.add_patch(
            Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=0.9)
        )
    axes.set_ylabel("known segment")
    axes.set_xlabel("predicted segment")
    bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.02, aspect=25)
    bar.set_label("% of the known segment")
    right = float(np.trace(cells)) / max(float(cells.sum()), 1.0)
    set_title(figure, f"Known and predicted segments: {right:.1%} are right", note)
    return figure


def _write_cells(axes: Axes, cells: Floats, shares: Floats, with_counts: bool) -> None:
    for i, j in zip(*np.nonzero(shares >= (0 if with_counts else _WORTH_TEXT)), strict=True):
        share = f"{100 * shares[i, j]:.0f}"
        text = f"{cells[i, j]:,.0f}\n{share}%" if with_counts else share
        colour = "white" if shares[i, j] > 0.6 else BLACK
        axes.text(j, i, text, ha="center", va="center", fontsize=7 if with_counts else 6,
                  color=colour)  # fmt: skip


@matplotlib.rc_context(LOOK)
def segment_scores(table: pd.DataFrame, note: str) -> Figure:
    """Precision, recall and F1 of each segment, the lowest recall first.

    Parameters
    ----------
    table : DataFrame with columns ``segment, precision, recall, f1``
    note : str
    """
    shown = table.sort_values(["recall", "segment"], ascending=False, na_position="first")
    n = len(shown)
    figure = Figure(figsize=(6.6, 1.5 + (0.3 if n <= 15 else 0.19) * n), layout="constrained")
    axes = figure.subplots()
    where = np.arange(n)
    values = shown[["precision", "recall", "f1"]].to_numpy(dtype=float)
    low, high = (
        np.nanmin(np.c_[values, np.ones(n)], axis=1),
        np.nanmax(np.c_[values, np.zeros(n)], axis=1),
    )
    axes.hlines(where, low, np.maximum(high, low), color=PALE, linewidth=2.0, zorder=1)
    for i, (name, colour, marker) in enumerate(
        (("precision", ORANGE, "s"), ("recall", BLUE, "o"), ("f1", BLACK, "D"))
    ):
        axes.scatter(values[:, i], where, color=colour, marker=marker, s=20 if name != "f1" else 12,
                     label="F1" if name == "f1" else name, zorder=2 + i)  # fmt: skip
    axes.set_yticks(where, [shortened(str(name), 34) for name in shown["segment"]])
    axes.tick_params(axis="y", length=0, labelsize=7.5 if n <= 15 else 6.2)
    axes.set_ylim(-0.6, max(n, 1) - 0.4)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("1: all right")
    set_title(figure, "How well each segment is found, the worst at the top", note)
    add_legend(figure, [axes])
    return figure


# ---- how well it ranks, and what its probabilities are worth -----------------------------------


@matplotlib.rc_context(LOOK)
def ranking_curves(rankings: Mapping[str, Ranking], note: str) -> Figure:
    """ROC and precision-recall curves, one segment against the rest each.

    Parameters
    ----------
    rankings : mapping of segment to Ranking
        Up to eight.
    note : str

    References
    ----------
    Hanley and McNeil (1982), Radiology 143(1), 29-36. Saito and Rehmsmeier (2015), PLoS ONE
    10(3), e0118432: precision and recall say more where members are few.
    """
    longest = max((len(name) for name in rankings), default=0)
    is_wide = longest > 12
    n_rows = len(rankings) if is_wide else -(-len(rankings) // 2)
    figure = Figure(figsize=(7.2, 4.3 + 0.18 * n_rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=1)
    for i, (name, found) in enumerate(rankings.items()):
        style = series_style(i)
        words = (
            f"{shortened(name, 44)}: AUC {found.area:.2f}, average precision "
            f"{found.average_precision:.2f} (share {found.prevalence:.2f})"
        ) if is_wide else (
            f"{name}: AUC {found.area:.2f}, AP {found.average_precision:.2f} "
            f"(share {found.prevalence:.2f})"
        )  # fmt: skip
        left.plot(
            found.false_positive, found.true_positive, linewidth=1.3, label=words, zorder=3, **style
        )
        right.step(found.recall, found.precision, where="post", linewidth=1.3, zorder=3, **style)
        right.axhline(
            found.prevalence, color=SERIES[i % len(SERIES)], linewidth=0.8, zorder=2,
            linestyle=(0, (1, 2)),
        )  # fmt: skip
    left.set_xlabel("others taken for members")
    left.set_ylabel("members found")
    left.set_title("ROC; the grey line is chance")
    right.set_xlabel("recall: members found")
    right.set_ylabel("precision: how many found are members")
    right.set_title("precision and recall; dotted: chance")
    for axes in (left, right):
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.02)
        axes.set_box_aspect(1)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if is_wide else 2)
    set_title(figure, "How well members of a segment are ranked before the others", note)
    return figure


@matplotlib.rc_context(LOOK)
def reliability(panels: Mapping[str, pd.DataFrame], note: str) -> Figure:
    """What came true beside what was said, and how many customers that was said of.

    Parameters
    ----------
    panels : mapping of title to DataFrame with columns ``said, true, low, high, n, left, right``
        One row per bin: mean probability, share that is true with its interval, customers, ends
        of the bin.
    note : str

    References
    ----------
    Murphy and Winkler (1977), Applied Statistics 26(1), 41-47. Guo et al. (2017), ICML.
    """
    n = len(panels)
    columns = min(n, 3)
    rows = -(-n // max(columns, 1))
    width = 5.0 if n == 1 else max(5.6, 2.3 * columns)
    figure = Figure(figsize=(width, 0.95 + (3.9 if n == 1 else 2.75) * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3.4, 1] * rows)
    for i, (title, bins) in enumerate(panels.items()):
        above = figure.add_subplot(grid[2 * (i // columns), i % columns])
        below = figure.add_subplot(grid[2 * (i // columns) + 1, i % columns], sharex=above)
        _reliability(above, below, bins)
        above.set_title(shortened(title, 30))
        if i % columns == 0:
            above.set_ylabel("share that is true")
            below.set_ylabel("customers")
        if i + columns >= n:
            below.set_xlabel("probability that was given")
    set_title(figure, "Do probabilities come true?", note)
    return figure


def _reliability(above: Axes, below: Axes, bins: pd.DataFrame) -> None:
    above.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    said, true = bins["said"].to_numpy(dtype=float), bins["true"].to_numpy(dtype=float)
    above.vlines(said, bins["low"], bins["high"], color=BLUE, linewidth=1.1)
    above.plot(said, true, "o-", color=BLUE, markersize=3.6, linewidth=0.9)
    above.set_xlim(-0.02, 1.02)
    above.set_ylim(-0.02, 1.02)
    above.tick_params(labelbottom=False)
    counts = bins["n"].to_numpy(dtype=float)
    left = bins["left"].to_numpy(dtype=float)
    below.bar(left, counts, bins["right"].to_numpy(dtype=float) - left, align="edge", color=SKY,
              edgecolor="white", linewidth=0.5)  # fmt: skip
    below.set_ylim(0, 1.05 * max(counts.max(initial=0), 1))
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    below.grid(False, axis="x")


# ---- what it looks at --------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def importances(permutation: pd.DataFrame, own: pd.DataFrame, metric: str, note: str) -> Figure:
    """Loss of the metric where a column is shuffled, beside the model's own figure.

    Parameters
    ----------
    permutation : DataFrame with columns ``feature, mean, low, high``
        Most important first; NaN where there is no interval.
    own : DataFrame with columns ``feature, mean``
        Of the prepared features; empty: the model has none.
    metric : str
    note : str
    """
    n = max(len(permutation), len(own), 1)
    has_own = len(own) > 0
    figure = Figure(figsize=(7.6 if has_own else 6.6, 1.4 + 0.24 * n), layout="constrained")
    panels = figure.subplots(1, 2 if has_own else 1, squeeze=False)[0]
    _bars(panels[0], permutation, n, SKY)
    panels[0].set_title("columns when shuffled, held out")
    panels[0].set_xlabel(f"loss of {words_of(metric)}")
    low, high = permutation["low"].to_numpy(dtype=float), permutation["high"].to_numpy(dtype=float)
    where = n - 1 - np.arange(len(permutation))
    panels[0].hlines(where, low, high, color=BLACK, linewidth=1.1, zorder=3)
    panels[0].axvline(0, color=GREY, linewidth=0.8)
    if has_own:
        _bars(panels[1], own, n, PALE)
        panels[1].set_title("the model's own, in-sample")
        panels[1].set_xlabel("share of the sum of all, %")
    set_title(figure, "What the predictions rest on", note)
    return figure


def _bars(axes: Axes, table: pd.DataFrame, n: int, colour: str) -> None:
    where = n - 1 - np.arange(len(table))
    axes.barh(where, table["mean"], height=0.62, color=colour)
    axes.set_yticks(where, [shortened(str(name), 30) for name in table["feature"]])
    axes.set_ylim(-0.6, n - 0.4)
    axes.tick_params(axis="y", length=0, labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(False, axis="y")


@matplotlib.rc_context(LOOK)
def partial_dependence(
    curves: Sequence[Dependence], segments: Mapping[str, int], what: str, note: str
) -> Figure:
    """Mean prediction by the value of one feature, one panel per feature (Friedman 2001).

    Parameters
    ----------
    curves : sequence of Dependence
    segments : mapping of segment to its column in ``means``
        Up to eight that are drawn.
    what : str
        What the means are: ``mean probability``.
    note : str

    References
    ----------
    Friedman (2001). Greedy function approximation. Annals of Statistics 29(5), 1189-1232.
    """
    figure, panels = make_panels(
        len(curves), width=2.45, height=2.6, most_columns=3, sharey=True, same_x=False
    )
    for axes, curve in zip(panels, curves, strict=True):
        is_line = curve.kind in ("numeric", "date")
        at = np.asarray(curve.grid) if is_line else np.arange(len(curve.grid))
        for i, column in enumerate(segments.values()):
            axes.plot(at, curve.means[:, column], **_curve_style(i, curve))
        axes.set_title(shortened(curve.feature, 32))
        if is_line:
            _mark_quantiles(axes, at)
            axes.tick_params(axis="x", labelrotation=35 if curve.kind == "date" else 0)
            if curve.kind == "numeric":
                axes.xaxis.set_major_locator(MaxNLocator(5))
        else:
            _name_levels(axes, [str(level) for level in curve.grid])
    panels[0].set_ylim(bottom=0)
    label_y(figure, panels, what)
    set_title(figure, "How the prediction goes with one feature", note)
    handles = [
        Line2D([], [], marker=_MARKERS[i], markersize=3.4, label=shortened(name, 30),
               **series_style(i))
        for i, name in enumerate(segments)
    ]  # fmt: skip
    longest = max((len(str(line.get_label())) for line in handles), default=0)
    n_columns = int(15 * figure.get_figwidth() / (longest + 7))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=max(1, min(n_columns, len(handles)))
    )
    return figure


def _curve_style(i: int, curve: Dependence) -> dict[str, Any]:
    """Return a line for numbers, points for categories, and both for few values in order."""
    style = series_style(i) | {"linewidth": 1.3, "markersize": 3.4}
    if curve.kind == "categorical":
        return style | {"marker": _MARKERS[i % len(_MARKERS)], "linestyle": "none"}
    if curve.kind == "ordinal" or len(curve.grid) <= _FEW_VALUES:
        return style | {"marker": _MARKERS[i % len(_MARKERS)], "linewidth": 0.8}
    return style


def _name_levels(axes: Axes, levels: Sequence[str]) -> None:
    is_short = sum(map(len, levels)) <= 18
    axes.set_xticks(
        np.arange(len(levels)), [shortened(level, 14) for level in levels],
        rotation=0 if is_short else 45, ha="center" if is_short else "right",
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set_xlim(-0.4, len(levels) - 0.6)


def _mark_quantiles(axes: Axes, at: NDArray[np.generic]) -> None:
    # Where the customers are: every point of the grid is a quantile.
    axes.plot(at, np.full(len(at), 0.012), "|", color=GREY, markersize=4, zorder=1,
              transform=axes.get_xaxis_transform())  # fmt: skip


@matplotlib.rc_context(LOOK)
def contributions(shares: pd.DataFrame, what: str, note: str) -> Figure:
    """Mean size of the contribution of each feature to each segment.

    Parameters
    ----------
    shares : DataFrame of float, index features, columns segments
        Most important first.
    what : str
        What a cell is, for the colour bar.
    note : str
    """
    if shares.shape[1] == 1:
        return _contribution_bars(shares.iloc[:, 0], what, note)
    values = shares.to_numpy(dtype=float)
    n_rows, n_columns = values.shape
    cell = 0.62 if n_columns <= 10 else 0.2
    names = [shortened(str(name), 24) for name in shares.columns]
    longest = max(map(len, names), default=0)
    size = (max(6.0, 3.4 + cell * n_columns), 1.6 + 0.05 * longest + 0.25 * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(False)
    most = float(np.nanmax(values, initial=0.0)) or 1.0
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=most, aspect="auto")
    axes.set_yticks(np.arange(n_rows), [shortened(str(name), 34) for name in shares.index])
    axes.set_xticks(np.arange(n_columns), names, fontsize=7.5 if n_columns <= 10 else 6)
    if longest > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=40 if n_columns <= 10 else 60, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    if n_columns <= 10:
        for i, j in np.ndindex(values.shape):
            colour = "white" if values[i, j] > 0.6 * most else BLACK
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=6.5,
                      color=colour)  # fmt: skip
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02, aspect=25).set_label(what)
    set_title(figure, "What each feature adds to each segment, on average", note)
    return figure


def _contribution_bars(sizes: pd.Series[float], what: str, note: str) -> Figure:
    n = len(sizes)
    figure = Figure(figsize=(6.2, 1.2 + 0.25 * n), layout="constrained")
    axes = figure.subplots()
    _bars(axes, pd.DataFrame({"feature": sizes.index, "mean": sizes.to_numpy()}), n, SKY)
    axes.set_xlabel(what)
    set_title(
        figure, f"What each feature adds for or against {shortened(str(sizes.name), 24)}", note
    )
    return figure


@matplotlib.rc_context(LOOK)
def swarm(
    values: Mapping[str, Floats], colours: Floats, features: Sequence[str], what: str, note: str
) -> Figure:
    """Contributions of features to some segments, one dot per customer.

    Parameters
    ----------
    values : mapping of segment to ndarray of shape (n, n_features)
    colours : ndarray of shape (n, n_features)
        Rank of the feature's value from 0 to 1; NaN, for features without an order, is grey.
    features : sequence of str
        Most important first.
    what : str
        The unit of the contributions.
    note : str
    """
    n = len(features)
    columns = min(len(values), 2)
    rows = -(-len(values) // max(columns, 1))
    size = (6.8 if columns > 1 else 6.2, 1.1 + rows * (0.6 + 0.3 * n))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, sharex=True, squeeze=False).flat)
    for unused in panels[len(values) :]:
        unused.set_visible(False)
    n_marks = sum(found.size for found in values.values())
    for axes, (name, found) in zip(panels, values.items(), strict=False):
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
        for j in range(n):
            _swarm_row(axes, found[:, j], colours[:, j], n - 1 - j, n_marks > MAX_VECTOR_MARKS)
        axes.set_title(f"towards {shortened(name, 22 if columns > 1 else 40)}")
        axes.set_yticks(np.arange(n)[::-1], [shortened(str(text), 26) for text in features])
        axes.set_ylim(-0.6, n - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
    for axes in panels[max(0, len(values) - columns) : len(values)]:
        axes.set_xlabel(what)
        axes.tick_params(labelbottom=True)
    if np.isfinite(colours).any():
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, 1), _ORDER), ax=panels, shrink=0.6, pad=0.01, aspect=30
        )
        bar.set_ticks([0, 1], labels=["low", "high"])
        bar.set_label("value of the feature (grey: no order)")
    set_title(figure, "What moves single customers towards a segment", note)
    return figure


def _swarm_row(
    axes: Axes, values: Floats, colours: Floats, height: float, rasterized: bool
) -> None:
    offsets = swarm_offsets(values)
    known = np.isfinite(colours)
    dots: dict[str, Any] = {"s": 4, "linewidth": 0, "rasterized": rasterized, "zorder": 2}
    axes.scatter(values[~known], height + offsets[~known], color=GREY, **dots)
    axes.scatter(values[known], height + offsets[known], c=colours[known], cmap=_ORDER, vmin=0,
                 vmax=1, **dots)  # fmt: skip


def swarm_offsets(values: Floats, n_bins: int = 60, most: float = 0.38) -> Floats:
    """Return how far up or down each dot goes, so that dots of equal values lie side by side.

    Parameters
    ----------
    values : ndarray of shape (n,)
    n_bins : int
        Dots of one bin share a column.
    most : float
        Of the fullest column, up and down.
    """
    span = np.ptp(values) if len(values) else 0.0
    if not span:
        return np.linspace(-most, most, len(values)) if len(values) > 1 else np.zeros(len(values))
    bins = np.minimum((n_bins * (values - values.min()) / span).astype(int), n_bins - 1)
    order = np.argsort(bins, kind="stable")
    counts = np.bincount(bins, minlength=n_bins)
    starts = np.cumsum(counts) - counts
    within = np.empty(len(values), dtype=int)
    within[order] = np.arange(len(values)) - starts[bins[order]]
    # 0, 1, -1, 2, -2, ...: from the middle outwards.
    steps = np.where(within % 2 == 1, (within + 1) // 2, -(within // 2))
    return steps * (most / max(1.0, counts.max() / 2))


# ---- how much more customers would help --------------------------------------------------------


@matplotlib.rc_context(LOOK)
def learning_curve(
    table: pd.DataFrame,
    metric: str,
    greater_is_better: bool,
    note: str,
    run: tuple[float, float] | None = None,
) -> Figure:
    """Score on held-out customers by the number of customers learned from.

    Parameters
    ----------
    table : DataFrame with columns ``customers, fold, value``
    metric : str
    greater_is_better : bool
    note : str
    run : (float, float), optional
        Training customers of the run's own folds, and its mean score.
    """
    figure = Figure(figsize=(6.6, 3.3), layout="constrained")
    axes = figure.subplots()
    for i, (_, part) in enumerate(table.groupby("fold")):
        axes.plot(part["customers"], part["value"], "o", color=SKY, markersize=3.2,
                  label="one fold" if i == 0 else None)  # fmt: skip
    means = table.groupby("customers")["value"].mean()
    axes.plot(means.index, means, "o-", color=BLUE, markersize=4.5, linewidth=1.4, label="mean")
    if run is not None:
        axes.scatter(*[[value] for value in run], **CHOSEN, label="the run itself, all its folds")
    axes.set_xlim(left=0)
    axes.set_xlabel("customers learned from")
    axes.set_ylabel(labelled(metric, greater_is_better))
    set_title(figure, "Would more customers help?", note)
    add_legend(figure, [axes])
    return figure

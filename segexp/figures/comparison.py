"""Figures of runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from segexp.figures.look import (
    BLACK,
    BLUE,
    GREY,
    LOOK,
    ORANGE,
    PALE,
    add_legend,
    labelled,
    set_title,
    shortened,
    words_of,
)

# ---- runs side by side --------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def fold_differences(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    names: tuple[str, str],
    metric: str,
    greater_is_better: bool,
    *,
    mean: float | None = None,
    interval: tuple[float, float] | None = None,
    rope: float | None = None,
) -> Figure:
    """Two runs fold by fold: their values side by side, and how much better the first is.

    Parameters
    ----------
    a, b : ndarray of shape (n_folds,)
        Values of the metric on the same folds, in the same order. A fold on which either is NaN is
        left out.
    names : tuple of str
        Of the two runs.
    metric : str
    greater_is_better : bool
    mean, interval : optional
        Of the differences, signed so that positive means that ``a`` is better.
    rope : float, optional
        Half the width of what counts as equal.
    """
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    difference = (a - b) if greater_is_better else (b - a)
    order = np.argsort(difference, kind="stable")
    place = np.arange(len(order))
    first, second = (shortened(name, 32) for name in names)
    figure = Figure(figsize=(7.2, min(1.9 + 0.16 * max(len(order), 6), 8.0)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.hlines(place, a[order], b[order], color=PALE, linewidth=1.6)
    left.plot(a[order], place, "o", color=BLUE, markersize=4.2, label=first, zorder=3)
    left.plot(b[order], place, "s", color=ORANGE, markersize=3.8, label=second)
    left.set_xlabel(labelled(metric, greater_is_better))
    left.set_ylabel("fold, sorted by the difference")
    left.set_yticks([])
    left.set_ylim(-0.8 if mean is None else -2.3, max(len(order), 1) - 0.2)
    if rope:
        right.axvspan(-rope, rope, color="#f0f0f0", zorder=0.2, label=f"equal (within {rope:g})")
    right.axvline(0, color=GREY, linewidth=0.8)
    if mean is not None:
        if interval is not None and np.isfinite(interval).all():
            right.plot(interval, [-1.5, -1.5], color=BLACK, linewidth=1.6, label="95% interval")
        right.plot([mean], [-1.5], "D", color=BLACK, markersize=5, label=f"mean {mean:+.4f}")
    for wins, marker, colour in (
        (difference[order] > 0, "o", BLUE),
        (difference[order] == 0, "D", GREY),
        (difference[order] < 0, "s", ORANGE),
    ):
        right.plot(difference[order][wins], place[wins], marker, color=colour, markersize=3.8)
    right.set_xlabel("difference (right of 0: the first is better)")
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    set_title(
        figure,
        f"{words_of(metric).capitalize()} fold by fold",
        f"{first}: better in {wins} of {len(order)} folds, worse in {losses}",
    )
    add_legend(figure, [left, right])
    return figure


@matplotlib.rc_context(LOOK)
def critical_difference(
    labels: Sequence[str],
    mean_ranks: NDArray[np.float64],
    critical_difference: float | None,
    groups: Sequence[Sequence[str]],
    n_datasets: int,
    metric: str,
) -> Figure:
    """Mean ranks over data sets, with a bar over those that are not told apart (Demsar 2006).

    Parameters
    ----------
    labels : sequence of str
    mean_ranks : ndarray of shape (n_labels,)
        1 is best.
    critical_difference : float or None
        Of Nemenyi's test, in ranks; None draws none.
    groups : sequence of sequences of labels
        Each is joined by a bar.
    n_datasets : int
    metric : str
    """
    order = np.argsort(mean_ranks, kind="stable")
    n, n_left = len(labels), math.ceil(len(labels) / 2)
    place = {label: float(rank) for label, rank in zip(labels, mean_ranks, strict=True)}
    bars = [
        (min(ends), max(ends))
        for ends in ([place[label] for label in group] for group in groups)
        if len(ends) > 1
    ]
    first_line = 0.55 + 0.28 * len(bars)
    depth = first_line + 0.5 * n_left
    figure = Figure(figsize=(7.2, 1.35 + 0.36 * depth), layout="constrained")
    axes = figure.subplots()
    axes.grid(False)
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.xaxis.tick_top()
    last = max(n, 2)
    axes.set_xlim(1 - 0.62 * (last - 1), last + 0.62 * (last - 1))
    axes.set_ylim(depth, -1.0 if critical_difference is not None else -0.1)
    axes.spines["top"].set_position(("data", 0))
    axes.spines["top"].set_bounds(1, last)
    axes.xaxis.set_major_locator(FixedLocator([*range(1, last + 1, math.ceil(last / 20))]))
    for i, j in enumerate(order):
        on_left = i < n_left
        y = first_line + 0.5 * (i if on_left else n - 1 - i)
        edge = 1 - 0.04 * (last - 1) if on_left else last + 0.04 * (last - 1)
        rank = float(mean_ranks[j])
        axes.plot([rank, rank, edge], [0, y, y], color=GREY, linewidth=0.8, zorder=1)
        axes.plot([rank], [0], "o", color=BLUE, markersize=4.5, zorder=4, clip_on=False)
        axes.annotate(
            f"{shortened(labels[j], 30)}  {rank:.2f}" if on_left
            else f"{rank:.2f}  {shortened(labels[j], 30)}",
            (edge, y), xytext=(-3 if on_left else 3, 0), textcoords="offset points",
            ha="right" if on_left else "left", va="center", fontsize=8,
        )  # fmt: skip
    for i, (low, high) in enumerate(bars):
        y = 0.3 + 0.28 * i
        reach = 0.012 * (last - 1)
        axes.plot(
            [low - reach, high + reach], [y, y], color=BLACK, linewidth=3, zorder=3,
            solid_capstyle="butt",
        )  # fmt: skip
    if critical_difference is not None:
        end = 1 + min(critical_difference, 1.6 * (last - 1))
        axes.plot([1, end], [-0.75, -0.75], "|-", color=BLACK, linewidth=1.1, markersize=6)
        axes.annotate(
            f"critical difference {critical_difference:.2f}", (end, -0.75), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=7.5,
        )  # fmt: skip
        note = "Left is better; a bar joins those whose ranks Nemenyi's test does not tell apart"
    else:
        note = "Left is better; Friedman's test finds no difference between them"
    data = f"{n_datasets} data set{'s' if n_datasets != 1 else ''}"
    set_title(figure, f"Mean ranks by {words_of(metric)} over {data}", note)
    return figure

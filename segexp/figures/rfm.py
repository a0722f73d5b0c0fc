"""Figures of RFM: where customers stand by their scores, and what the segments are worth."""

from __future__ import annotations

from typing import TypeAlias

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from segexp.errors import DataError
from segexp.figures.look import BLUE, LOOK, ORANGE, set_title, shortened

Floats: TypeAlias = npt.NDArray[np.float64]

_MOST_WORDS = 12  # scores; more cells would hold no legible number
_LONGEST_NAME = 44
_COLOURS = "Blues"


@matplotlib.rc_context(LOOK)
def score_heatmaps(customers: pd.DataFrame, n_scores: int = 5) -> Figure:
    """Customers, and their mean monetary value, by recency and frequency score.

    Parameters
    ----------
    customers : DataFrame
        One row per customer: ``recency_score``, ``frequency_score``, ``monetary``.
    n_scores : int
        What the scores go up to.

    Raises
    ------
    DataError
        If a score is not a whole number from 1 to ``n_scores``.
    """
    counts, means = _by_cell(customers, n_scores)
    side = max(2.4, 0.52 * n_scores + 0.3)
    figure = Figure(figsize=(2 * side + 1.8, side + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    share = 100 * counts / max(1, counts.sum())
    _heat_map(left, counts, share, "customers (and % of all)")
    _heat_map(right, means, None, "mean monetary value")
    left.set_ylabel("recency score (top: bought lately)")
    note = "Top right: bought often, and lately; bottom right: bought often, but long ago"
    set_title(figure, "Where customers stand by recency and frequency", note)
    return figure


def _by_cell(customers: pd.DataFrame, n_scores: int) -> tuple[Floats, Floats]:
    """Return customers and mean monetary value, NaN where nobody is, by recency and frequency."""
    scores = customers[["recency_score", "frequency_score"]].to_numpy(dtype=float)
    if not np.isin(scores, np.arange(1, n_scores + 1)).all():
        raise DataError(f"the figure needs whole scores from 1 to {n_scores}")
    cell = (scores @ [n_scores, 1]).astype(np.intp) - n_scores - 1
    counts = np.bincount(cell, minlength=n_scores**2).astype(float)
    monetary = customers["monetary"].to_numpy(dtype=float)
    sums = np.bincount(cell, weights=monetary, minlength=n_scores**2)
    means = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    shape = (n_scores, n_scores)
    return counts.reshape(shape), means.reshape(shape)


def _heat_map(axes: Axes, cells: Floats, below: Floats | None, title: str) -> None:
    n = len(cells)
    positive = np.nan_to_num(np.maximum(cells, 0))
    # A few large cells would leave all others in one colour.
    norm: Normalize = PowerNorm(0.4, 0, positive.max(initial=0) or 1)
    shown = np.ma.masked_where(~(cells > 0), positive)
    axes.imshow(shown, origin="lower", cmap=_COLOURS, norm=norm, aspect="auto")
    axes.set_xticks(range(n), [str(score) for score in range(1, n + 1)])
    axes.set_yticks(range(n), [str(score) for score in range(1, n + 1)])
    axes.grid(False)
    axes.set_title(title)
    axes.set_xlabel("frequency score (right: bought often)")
    if n > _MOST_WORDS:
        return
    for (i, j), value in np.ndenumerate(cells):
        text = "" if np.isnan(value) else _compact(value)
        if below is not None:
            text = f"{text}\n{below[i, j]:.1f}%" if value else ""
        axes.text(
            j, i, text, ha="center", va="center", fontsize=7,
            color="white" if norm(positive[i, j]) > 0.6 else "black",
        )  # fmt: skip


@matplotlib.rc_context(LOOK)
def segment_bars(table: pd.DataFrame) -> Figure:
    """Share of the customers and share of the revenue of each segment, side by side.

    Parameters
    ----------
    table : DataFrame
        As :func:`segexp.rfm_lists.rfm_table` returns it; its first row is drawn at the top.
    """
    n = len(table)
    names = [shortened(str(name), _LONGEST_NAME) for name in table["segment"]]
    width = 5.4 + 0.06 * max((len(name) for name in names), default=0)
    figure = Figure(figsize=(width, 1.3 + 0.24 * max(n, 2)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, sharex=True)
    panels = (
        (left, "customers", "share", BLUE, "customers"),
        (right, "revenue", "revenue_share", ORANGE, "revenue"),
    )
    for axes, amounts, shares, colour, title in panels:
        share = 100 * np.nan_to_num(table[shares].to_numpy(dtype=float))
        axes.barh(np.arange(n), share, height=0.7, color=colour)
        for place, (percent, amount) in enumerate(zip(share, table[amounts], strict=True)):
            axes.annotate(
                f"{percent:.1f}%  ({_compact(float(amount))})", (max(percent, 0.0), place),
                xytext=(3, 0), textcoords="offset points", va="center", fontsize=7,
            )  # fmt: skip
        axes.set_title(f"{title}, % of all")
        axes.grid(False, axis="y")
    left.set_yticks(np.arange(n), names)
    left.set_ylim(max(n, 1) - 0.4, -0.6)
    largest = 100 * float(np.nanmax(table[["share", "revenue_share"]].to_numpy(), initial=0))
    # The words right of the longest bar need their place.
    left.set_xlim(0, 1.75 * largest or 1)
    left.set_xticks([tick for tick in MaxNLocator(5).tick_values(0, largest or 1) if tick <= 100])
    set_title(figure, "Who they are, and what they bring", f"{n} segments; in brackets: the amount")
    return figure


def _compact(value: float) -> str:
    """Write an amount in few characters.

    Examples
    --------
    >>> [_compact(value) for value in (7.0, 1234.5, 12345.0, 3830794.5)]
    ['7', '1,234', '12.3k', '3.83M']
    """
    size = abs(value)
    if size >= 999_500:
        return f"{value / 1e6:.3g}M" if size < 1e9 else f"{value / 1e9:,.3g}G"
    return f"{value / 1e3:.3g}k" if size >= 9_999.5 else f"{value:,.0f}"

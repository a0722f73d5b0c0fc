"""Figures of values: what was expected beside what happened, and where the value stands."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from segexp.figures.look import BLACK, LOOK, ORANGE, add_legend, set_title
from segexp.value.judging import ALIVE_NAMES, MOST_REPEATS, VALUE_NAMES

_HELD_OUT = "Customers held out, in the holdout period: neither was seen by the models"
_IN_SAMPLE = "In-sample: all customers, whom the models were fitted on"


@matplotlib.rc_context(LOOK)
def decile_calibration(deciles: pd.DataFrame) -> Figure:
    """Predicted beside actual purchases and spend, by tenth of the predicted purchases.

    Parameters
    ----------
    deciles : DataFrame
        From :func:`segexp.value.judging.decile_table`.
    """
    figure = Figure(figsize=(6.6, 3.1), layout="constrained")
    panels = list(figure.subplots(1, 2))
    x = deciles["decile"].to_numpy()
    for axes, what in zip(panels, ("purchases", "spend"), strict=True):
        _beside(axes, x, deciles, what)
        axes.set_xticks(x)
        axes.set_xlabel("tenth of the customers, most expected first")
    set_title(figure, "What was expected and what happened, by tenths of the customers", _HELD_OUT)
    add_legend(figure, panels)
    return figure


@matplotlib.rc_context(LOOK)
def frequency_calibration(table: pd.DataFrame) -> Figure:
    """Predicted beside actual purchases, by repeat purchases of the history.

    Parameters
    ----------
    table : DataFrame
        From :func:`segexp.value.judging.frequency_table`.
    """
    figure = Figure(figsize=(6.6, 3.3), layout="constrained")
    axes = figure.subplots()
    repeats = table["repeats"].to_numpy()
    _beside(axes, repeats, table, "purchases")
    labels = [f"{k}+" if k == MOST_REPEATS else str(k) for k in repeats]
    rows = zip(labels, table["n"], strict=True)
    axes.set_xticks(repeats, [f"{label}\n({n:,})" for label, n in rows])
    axes.set_xlabel("repeat purchases so far (customers)")
    set_title(figure, "What was expected and what happened, by purchases so far", _HELD_OUT)
    add_legend(figure, [axes])
    return figure


def _beside(axes: Axes, x: NDArray[Any], table: pd.DataFrame, what: str) -> None:
    actual, predicted = table[f"actual_{what}"], table[f"predicted_{what}"]
    axes.plot(x, actual, "o-", color=BLACK, markersize=4, linewidth=1.2, label="happened")
    axes.plot(x, predicted, "s--", color=ORANGE, markersize=4, linewidth=1.2, label="expected")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"{what} per customer")


@matplotlib.rc_context(LOOK)
def matrix_heatmap(matrix: pd.DataFrame) -> Figure:
    """Customers and lifetime value by risk and value.

    Parameters
    ----------
    matrix : DataFrame
        From :func:`segexp.value.judging.value_matrix`.
    """
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes = figure.subplots()
    cells = {(c["risk"], c["value"]): c for c in matrix.to_dict("records")}
    shown = np.nan_to_num([[cells[a, v]["clv_share"] for v in VALUE_NAMES] for a in ALIVE_NAMES])
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=max(float(shown.max()), 1e-9), aspect="auto")
    for i, alive in enumerate(ALIVE_NAMES):
        for j, value in enumerate(VALUE_NAMES):
            cell = cells[alive, value]
            axes.text(
                j, i,
                f"{cell['n']:,} customers ({cell['share']:.0%})\n"
                f"value {cell['clv']:,.0f} ({shown[i, j]:.0%})\n"
                f"at stake {cell['clv_at_stake']:,.0f}",
                ha="center", va="center", fontsize=7.5,
                color="white" if shown[i, j] > 0.6 * shown.max() else BLACK,
            )  # fmt: skip
    axes.set_xticks(range(len(VALUE_NAMES)), VALUE_NAMES)
    axes.set_yticks(range(len(ALIVE_NAMES)), ALIVE_NAMES)
    axes.grid(False)
    axes.invert_yaxis()
    axes.set_xlabel("lifetime value, if still a customer: lower half, next 30%, upper 20%")
    axes.set_ylabel("probability of being a customer")
    set_title(figure, "Customers by value and risk, and what their value adds up to", _IN_SAMPLE)
    return figure


def surface_grid(X: pd.DataFrame) -> pd.DataFrame:
    """Return histories to draw a model on: repeats by days since the last purchase.

    The tenure is the median of the customers; repeats go up to their 99% quantile.

    Returns
    -------
    DataFrame with columns ``repeats, span, tenure, since``
    """
    tenure = max(float(X["tenure"].median()), 2.0)
    most = int(np.clip(np.ceil(X["repeats"].quantile(0.99)), 2, 40))
    days, counts = np.meshgrid(np.linspace(0, 0.98 * tenure, 50), np.arange(1.0, most + 1))
    since, repeats = days.ravel(), counts.ravel()
    return pd.DataFrame(
        {
            "repeats": repeats,
            "span": tenure - since,
            "tenure": np.full(len(since), tenure),
            "since": since,
        }
    )


@matplotlib.rc_context(LOOK)
def alive_surface(grid: pd.DataFrame, alive: NDArray[np.float64]) -> Figure:
    """Probability alive by repeat purchases and days since the last one.

    Parameters
    ----------
    grid : DataFrame
        From :func:`surface_grid`.
    alive : ndarray of shape (n,)
    """
    figure = Figure(figsize=(6.6, 3.5), layout="constrained")
    axes = figure.subplots()
    n_repeats = grid["repeats"].nunique()
    shape = (n_repeats, len(grid) // n_repeats)
    x, y, z = (
        np.asarray(part, dtype=float).reshape(shape)
        for part in (grid["since"], grid["repeats"], alive)
    )
    drawn = axes.pcolormesh(x, y, z, cmap="cividis", vmin=0, vmax=1, rasterized=True)
    if z.min() < 0.5 < z.max():
        lines = axes.contour(x, y, z, levels=[0.5], colors="white", linewidths=1.2)
        axes.clabel(lines, fmt="50%%", fontsize=7.5)
    axes.grid(False)
    axes.set_xlabel("days since the last purchase")
    axes.set_ylabel("repeat purchases so far")
    figure.colorbar(drawn, ax=axes, label="probability alive", pad=0.01, aspect=30)
    days = float(grid["tenure"].iloc[0])
    note = f"What the model says of a customer whose first purchase was {days:,.0f} days ago"
    set_title(figure, "Who still is a customer, by purchases and silence", note)
    return figure

"""The figure of response rates, in the look of all figures."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from segexp.figures.look import (
    BLACK,
    BLUE,
    GREY,
    LOOK,
    VERMILLION,
    add_legend,
    set_title,
    shortened,
)
from segexp.responses import ALL, NOISE

MAX_LEVELS = 6  # of an outcome that are drawn, the most frequent ones
FALSE_DISCOVERY_RATE = 0.05  # below it a segment is drawn as different from the others


@matplotlib.rc_context(LOOK)
def response_rates_figure(table: pd.DataFrame, outcome: str, confidence: float = 0.95) -> Figure:
    """Response rate of each segment with its interval, the highest on top, and that of all.

    Parameters
    ----------
    table : DataFrame
        As :func:`segexp.responses.response_rates` returns it. Each level has a panel of its own.
    outcome : str
        What the outcome is called, such as the name of its column.
    confidence : float, default=0.95
        Of the intervals in the table.
    """
    overall = table[table["segment"] == ALL].sort_values("rate", ascending=False, kind="stable")
    levels = list(overall["outcome"])[:MAX_LEVELS]
    n_segments = int((~table["segment"].isin([ALL, NOISE])).sum() / len(overall))
    columns = min(len(levels), 2)
    rows = math.ceil(len(levels) / columns)
    height = 0.55 + (0.26 if n_segments <= 20 else 0.2) * max(n_segments, 2)
    figure = Figure(figsize=(6.6 if columns == 1 else 9.6, 1.2 + rows * height))
    figure.set_layout_engine("constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[len(levels) :]:
        unused.set_visible(False)
    for axes, level in zip(panels, levels, strict=False):
        _draw_level(axes, table[table["outcome"] == level])
        axes.set_xlabel(f"customers with {shortened(f'{outcome} = {level}', 50)}, %")
    note = f"Lines: {100 * confidence:g}% intervals (Wilson); differs: false discovery rate < 5%"
    if len(overall) > len(levels):
        note += f"; the {len(levels)} most frequent of {len(overall)} outcomes"
    set_title(figure, f"{shortened(outcome, 40)} by segment: {n_segments} segments", note)
    add_legend(figure, panels[: len(levels)])
    return figure


def _draw_level(axes: Axes, table: pd.DataFrame) -> None:
    overall = float(table.loc[table["segment"] == ALL, "rate"].iloc[0])
    shown = table[table["segment"] != ALL].sort_values("rate", na_position="first", kind="stable")
    rate, low, high = (100 * shown[name].to_numpy(dtype=float) for name in ("rate", "low", "high"))
    differs = shown["q_value"].to_numpy(dtype=float) < FALSE_DISCOVERY_RATE
    where = np.arange(len(shown))
    axes.axvline(
        100 * overall, color=BLACK, linewidth=0.9, linestyle=(0, (4, 3)), label="all customers"
    )
    for own, marker, colour, meaning in (
        (differs & (rate > 100 * overall), "^", BLUE, "more than the others"),
        (differs & (rate <= 100 * overall), "v", VERMILLION, "fewer than the others"),
        (~differs, "o", GREY, "not told apart"),
    ):
        axes.hlines(where[own], low[own], high[own], color=colour, linewidth=1.6)
        axes.plot(rate[own], where[own], marker, color=colour, markersize=5, label=meaning)
    words = [
        f"{shortened(str(name), 28)}  ({n:,})"
        for name, n in zip(shown["segment"], shown["customers"], strict=True)
    ]
    axes.set_yticks(where, words)
    if len(shown) > 20:
        axes.tick_params(axis="y", labelsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axes.set_xlim(0, min(100.0, 1.04 * np.nanmax([*high, 100 * overall, 1.0])))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.grid(False, axis="y")
    axes.set_ylabel("segment (customers)")

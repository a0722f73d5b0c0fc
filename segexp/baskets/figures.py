"""Figures of association rules: what is bought, which rules there are, how items hang together."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from segexp.figures.look import BLACK, BLUE, GREY, LOOK, MAX_VECTOR_MARKS, SKY, set_title, shortened

IN_SAMPLE = "In-sample: on the baskets that the rules were mined from"
MOST_ITEMS = 20
MOST_RULES = 12
MOST_POINTS = 20_000
COLOURS = "viridis_r"


@matplotlib.rc_context(LOOK)
def top_items(items: pd.DataFrame, n_baskets: int) -> Figure:
    """Items that the most baskets hold, as bars.

    Parameters
    ----------
    items : DataFrame with columns ``item, count``
    n_baskets : int
    """
    shown = items.nlargest(MOST_ITEMS, "count", keep="first").iloc[::-1]
    figure = Figure(figsize=(6.6, 1.4 + 0.24 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots()
    share = 100 * shown["count"].to_numpy() / max(n_baskets, 1)
    where = np.arange(len(shown))
    axes.barh(where, share, height=0.66, color=SKY)
    for place, width, count in zip(where, share, shown["count"], strict=True):
        axes.annotate(
            f"{count:,}", (width, place), xytext=(3, 0), textcoords="offset points", va="center",
            fontsize=7,
        )  # fmt: skip
    axes.set_yticks(where, [shortened(name, 40) for name in shown["item"]])
    axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axes.set_xlim(0, 1.1 * max(float(share.max(initial=0)), 1e-9))
    axes.grid(False, axis="y")
    axes.set_xlabel("share of the baskets that hold it, %")
    note = f"{len(shown)} of {len(items):,} items; {n_baskets:,} baskets; beside each bar: baskets"
    set_title(figure, "What is bought most often", note)
    return figure


@matplotlib.rc_context(LOOK)
def rule_scatter(rules: pd.DataFrame) -> Figure:
    """Every rule by support and confidence, its lift as colour.

    Parameters
    ----------
    rules : DataFrame
        As :attr:`segexp.baskets.rules.AssociationRules.rules_`; of more than MOST_POINTS those
        with the highest lift are drawn.
    """
    # The highest lift on top of the others.
    shown = rules.nlargest(MOST_POINTS, "lift", keep="first").iloc[::-1]
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.subplots()
    support = 100 * shown["support"].to_numpy(dtype=float)
    confidence = 100 * shown["confidence"].to_numpy(dtype=float)
    lift = shown["lift"].to_numpy(dtype=float)
    points = axes.scatter(
        support, confidence, c=lift, cmap=COLOURS, norm=_colour_norm(lift),
        s=16 if len(shown) < 1000 else 7, linewidth=0, alpha=0.85,
        rasterized=len(shown) > MAX_VECTOR_MARKS,
    )  # fmt: skip
    if len(shown) and support.max() > 20 * support.min():
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, place: f"{x:g}"))
    axes.set_xlabel("support: share of the baskets that hold all items of the rule, %")
    axes.set_ylabel("confidence, %")
    if len(shown):
        figure.colorbar(points, ax=axes, label="lift", pad=0.01, aspect=30, extend="max")
    said = f"{len(rules):,} rules" if len(rules) else "no rules"
    cut = f"; the {MOST_POINTS:,} with the highest lift" if len(rules) > MOST_POINTS else ""
    on_top = "; where rules cover each other, the highest lift is on top" if not cut else ""
    set_title(
        figure, f"How often rules apply, and how often they hold: {said}", IN_SAMPLE + cut + on_top
    )
    return figure


def _colour_norm(lift: NDArray[np.float64]) -> Normalize:
    """Return the range of colours; the highest hundredth share one, so that the others differ."""
    if not len(lift):
        return Normalize(0, 1)
    low, high = float(lift.min()), float(np.quantile(lift, 0.99))
    return Normalize(low, high if high > low else low + 1)


@matplotlib.rc_context(LOOK)
def rule_network(
    rules: pd.DataFrame, antecedents: csr_matrix, consequents: csr_matrix, items: list[str]
) -> Figure:
    """The rules with the highest lift as arrows between items.

    Parameters
    ----------
    rules : DataFrame
        Significant rules that are not redundant are drawn, the highest lift first.
    antecedents, consequents : csr_matrix of bool, shape (n_rules, n_items)
        In the order of ``rules``.
    items : list of str
    """
    best = rules.reset_index(drop=True)
    best = best[~best["redundant"] & best["significant"]].nlargest(MOST_RULES, "lift", keep="first")
    sides = [(antecedents[i].indices, consequents[i].indices) for i in best.index]
    used = np.unique(np.concatenate([np.zeros(0, dtype=int), *(x for side in sides for x in side)]))
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.subplots()
    places = _on_circle(
        _order([np.searchsorted(used, np.concatenate(s)) for s in sides], len(used))
    )
    lift = best["lift"].to_numpy(dtype=float)
    norm = _colour_norm(lift)
    colours = matplotlib.colormaps[COLOURS]
    for number, (left, right) in enumerate(sides):
        colour = colours(0.15 + 0.85 * float(norm(lift[number])))
        start, end = (places[np.searchsorted(used, side)] for side in (left, right))
        _draw_rule(axes, start, end, number, colour)
    axes.plot(*places.T, "o", color=BLUE, markersize=6, zorder=4)
    for place, item in zip(places, used, strict=True):
        _label(axes, place, shortened(str(items[item]), 30))
    axes.set_aspect("equal")
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-1.2, 1.2)
    axes.axis("off")
    if len(best):
        shade = matplotlib.cm.ScalarMappable(norm, COLOURS)
        figure.colorbar(shade, ax=axes, label="lift", pad=0.01, aspect=30, shrink=0.8)
        note = (
            "A small dot is a rule: from what a basket holds, an arrow to what follows; in-sample"
        )
        title = f"The {len(best)} significant rules with the highest lift"
    else:
        note, title = IN_SAMPLE, "No rule is significant"
    set_title(figure, title, note)
    return figure


def _order(groups: list[NDArray[np.int64]], n: int) -> NDArray[np.intp]:
    """Order items so that those of one rule are near: by the slowest waves of their graph."""
    together = np.zeros((n, n))
    for group in groups:
        together[np.ix_(group, group)] += 1
    np.fill_diagonal(together, 0)
    laplacian = np.diag(together.sum(axis=1)) - together
    # A ramp on top, so that items of separate graphs do not tie.
    laplacian += np.diag(np.linspace(0, 1e-6, n))
    waves = np.linalg.eigh(laplacian)[1][:, 1:3] if n > 2 else np.zeros((n, 2))
    if waves.shape[1] < 2:
        return np.arange(n)
    return np.argsort(np.arctan2(waves[:, 1], waves[:, 0]), kind="stable")


def _on_circle(order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the place of each item on a circle of radius 1."""
    angle = np.empty(len(order))
    angle[order] = np.pi / 2 - 2 * np.pi * np.arange(len(order)) / max(len(order), 1)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _draw_rule(
    axes: Axes,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    number: int,
    colour: tuple[float, float, float, float],
) -> None:
    """Draw lines from the items on the left to a dot, and arrows on to those on the right."""
    center = 0.55 * np.vstack([left, right]).mean(axis=0)
    # Rules between the same items would lie on each other.
    turn = 2.4 * number
    dot = center + 0.09 * np.array([np.cos(turn), np.sin(turn)])
    for place in left:
        axes.plot(*np.column_stack([place, dot]), color=colour, linewidth=1.0, alpha=0.8, zorder=1)
    for place in right:
        arrow = FancyArrowPatch(
            tuple(dot), tuple(0.97 * place), arrowstyle="-|>", mutation_scale=9, color=colour,
            linewidth=1.6, shrinkA=0, shrinkB=2, zorder=2,
        )  # fmt: skip
        axes.add_patch(arrow)
    axes.plot(*dot, "o", color=colour, markersize=4, zorder=3, markeredgecolor=GREY,
              markeredgewidth=0.4)  # fmt: skip


def _label(axes: Axes, place: NDArray[np.float64], text: str) -> None:
    x, y = 1.07 * place
    across = "left" if x > 0.12 else "right" if x < -0.12 else "center"
    along = "bottom" if across == "center" and y > 0 else "top" if across == "center" else "center"
    axes.annotate(text, (x, y), ha=across, va=along, fontsize=7.5, color=BLACK)

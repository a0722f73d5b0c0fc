"""Figures of a table: its columns, what is missing, how columns and segments hang together.

All are drawn from what :func:`segexp.data_profile.profile_table` returns, so that a report needs
no table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from segexp.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LOOK,
    ORANGE,
    PALE,
    SERIES,
    SKY,
    VERMILLION,
    make_panels,
    set_title,
    shortened,
)

Column = Mapping[str, Any]

MAX_PANELS = 40
MAX_LINES = 40  # columns, or segments, below each other
MAX_TELLING = 20
N_LEVELS = 7  # bars of a category
NUMBERED = 14  # up to so many columns the cells of a heat map hold their numbers
CHANCE = 0.001  # an effect with a larger p-value is drawn as no more than chance


# ---- columns -----------------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def distributions(columns: Sequence[Column], n_rows: int) -> Figure:
    """Histograms of numbers and dates, bars of categories; one panel per column.

    Parameters
    ----------
    columns : sequence of mappings
        Of a profile; the first 40 are drawn.
    n_rows : int
    """
    shown = columns[:MAX_PANELS]
    figure, panels = make_panels(
        len(shown), width=2.25, height=1.62, most_columns=5, sharey=False, same_x=False
    )
    for axes, column in zip(panels, shown, strict=True):
        _draw_column(axes, column)
        axes.set_title(shortened(str(column["name"]), 22), fontsize=7.8)
        _say_below(axes, column)
    more = (
        f"; the first {len(shown)} of {len(columns)} columns" if len(columns) > len(shown) else ""
    )
    note = f"Share of what is known, of {n_rows:,} rows{more}; grey: the other values together"
    set_title(figure, "What the columns hold", note)
    return figure


def _say_below(axes: Axes, column: Column) -> None:
    histogram = column.get("histogram") or {}
    said = [f"by {histogram['unit']}"] if "unit" in histogram else []
    if column["missing"]:
        share = column["missing_share"]
        said.append(f"{share:.0%} missing" if share >= 0.005 else "<1% missing")
    colour = VERMILLION if column["missing"] else BLACK
    axes.set_xlabel("; ".join(said), fontsize=6.8, labelpad=1, color=colour)


def _draw_column(axes: Axes, column: Column) -> None:
    axes.tick_params(labelsize=6.5)
    axes.locator_params(nbins=4)
    if "levels" in column:
        _draw_levels(axes, column)
        return
    axes.grid(False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    histogram = column["histogram"]
    if not histogram:
        _say_instead(axes, "no value")
    elif histogram["kind"] == "values":
        _draw_values(axes, histogram)
    elif histogram["kind"] == "bins":
        _draw_bins(axes, histogram)
    else:
        _draw_periods(axes, histogram)


def _say_instead(axes: Axes, words: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=GREY, fontsize=7.5)


def _draw_levels(axes: Axes, column: Column) -> None:
    levels = list(column["levels"])
    n_other, other = column["other_levels"], column["other_count"]
    if len(levels) > N_LEVELS:
        kept = sorted(levels, key=lambda level: -level[1])[:N_LEVELS]
        dropped = [level for level in levels if level not in kept]
        levels = [level for level in levels if level in kept]
        n_other, other = n_other + len(dropped), other + sum(count for _, count in dropped)
    names = [shortened(str(name), 15) for name, _ in levels]
    counts = [count for _, count in levels]
    if other:
        names.append(f"{n_other:,} others" if names else f"{n_other:,} values")
        counts.append(other)
    total = sum(counts)
    if not total:
        _say_instead(axes, "no value")
        return
    colours = [BLUE] * len(levels) + [GREY] * bool(other)
    axes.barh(np.arange(len(counts)), np.array(counts) / total, color=colours, height=0.75)
    axes.set_yticks(np.arange(len(counts)), names)
    axes.set_ylim(max(len(counts), 3) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))


def _draw_values(axes: Axes, histogram: Column) -> None:
    values = np.asarray(histogram["values"], dtype=float)
    shares = _shares(histogram)
    # Bars at their places on the axis would be hairs where values lie far apart.
    is_dense = np.ptp(values) <= 2 * len(values)
    places = values if is_dense else np.arange(len(values))
    axes.bar(places, shares, width=0.85, color=BLUE)
    axes.set_xlim(places[0] - 0.9, places[-1] + 0.9)
    if is_dense:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
    else:
        step = math.ceil(len(values) / 5)
        axes.set_xticks(places[::step], [_short(value) for value in values[::step]])


def _draw_bins(axes: Axes, histogram: Column) -> None:
    edges = np.asarray(histogram["edges"], dtype=float)
    if edges[-1] <= edges[0]:  # one value
        axes.bar([0], [1.0], width=0.5, color=BLUE)
        axes.set_xlim(-2, 2)
        axes.set_xticks([0], [_short(edges[0])])
        return
    # Monstrous numbers are drawn by their size relative to the largest.
    scale = max(1.0, float(np.abs(edges).max()) / 1e12)
    axes.stairs(_shares(histogram), edges / scale, fill=True, color=BLUE)
    axes.set_xlim(edges[0] / scale, edges[-1] / scale)
    axes.xaxis.set_major_locator(MaxNLocator(4, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x * scale)))
    beyond = [f"{histogram[side]:,} {side}" for side in ("below", "above") if histogram.get(side)]
    if beyond:
        axes.text(
            0.99, 0.96, "\n".join(beyond), transform=axes.transAxes, ha="right", va="top",
            fontsize=6.5, color="#4d4d4d",
        )  # fmt: skip


def _draw_periods(axes: Axes, histogram: Column) -> None:
    shares = _shares(histogram)
    places = np.arange(len(shares))
    axes.bar(places, shares, width=0.85, color=SKY)
    ends = [0, len(shares) - 1] if len(shares) > 1 else [0]
    letters = {"hour": 16, "day": 10, "week": 10, "month": 7, "quarter": 7}
    length = letters.get(histogram["unit"], 4)
    axes.set_xticks(ends, [str(histogram["starts"][i])[:length].replace("T", " ") for i in ends])
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    if len(labels) > 1:
        labels[-1].set_horizontalalignment("right")
    axes.set_xlim(-0.6, len(shares) - 0.4)


def _shares(histogram: Column) -> NDArray[np.float64]:
    counts = np.asarray(histogram["counts"], dtype=float)
    beyond = histogram.get("below", 0) + histogram.get("above", 0)
    return counts / max(1.0, float(counts.sum()) + beyond)


def _short(number: float, _: object = None) -> str:
    """Write a number in few letters.

    Examples
    --------
    >>> _short(1234), _short(280206.02), _short(-2.5e6), _short(0.25), _short(3e200)
    ('1234', '280k', '-2.5M', '0.25', '3e+200')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(number) < 1e12:
            return f"{number / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{number:.4g}"


def _percent(share: float, _: object = None) -> str:
    return f"{100 * share:.3g}%"


@matplotlib.rc_context(LOOK)
def missing_values(columns: Sequence[Column], n_rows: int) -> Figure:
    """Share of the rows in which each column is missing.

    Parameters
    ----------
    columns : sequence of mappings
        Of a profile; complete ones are counted, and of the others the 40 worst drawn.
    n_rows : int
    """
    lacking = sorted((c for c in columns if c["missing"]), key=lambda c: -c["missing"])
    shown = lacking[:MAX_LINES]
    figure, axes = _lines(len(shown))
    places = np.arange(len(shown))
    shares = [column["missing_share"] for column in shown]
    axes.barh(places, shares, color=ORANGE, height=0.7)
    for place, column in enumerate(shown):
        _write_beside(axes, column["missing_share"], place, f"{column['missing']:,}")
    axes.set_yticks(places, [shortened(str(column["name"]), 34) for column in shown])
    axes.set_xlim(0, 1.15 * max(shares, default=1.0))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlabel("share of the rows")
    complete = len(columns) - len(lacking)
    note = f"Of {n_rows:,} rows; {complete} of {len(columns)} columns are complete"
    cut = f"; the {len(shown)} with most missing cells" if len(lacking) > len(shown) else ""
    set_title(figure, "What is missing", note + cut)
    return figure


def _lines(n: int, *, line: float = 0.2) -> tuple[Figure, Axes]:
    """A figure with a place for each of ``n`` names below each other."""
    figure = Figure(figsize=(6.6, 1.3 + line * max(n, 2)), layout="constrained")
    axes = figure.subplots()
    axes.set_ylim(max(n, 1) - 0.4, -0.6)
    axes.grid(False, axis="y")
    return figure, axes


def _write_beside(axes: Axes, x: float, y: float, words: str) -> None:
    axes.annotate(
        words, (x, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7,
        color="#4d4d4d",
    )  # fmt: skip


@matplotlib.rc_context(LOOK)
def outliers(columns: Sequence[Column], n_rows: int) -> Figure:
    """How far the outliers of each number lie out, all on one scale.

    Parameters
    ----------
    columns : sequence of mappings
        Of a profile; those with outliers are drawn, at most 40, the farthest first.
    n_rows : int
    """
    judged = [column for column in columns if column.get("outliers")]
    lines = sorted(
        ((column, _in_ranges(column)) for column in judged),
        key=lambda pair: -float(np.abs(pair[1]).max(initial=0.0)),
    )
    with_some = [(column, points) for column, points in lines if len(points)]
    shown = with_some[:MAX_LINES]
    figure, axes = _lines(len(shown), line=0.22)
    axes.set_xscale("symlog", linthresh=3, linscale=1.5)
    for place, (column, points) in enumerate(shown):
        _, q1, median, q3, _ = column["quantiles"]
        width = q3 - q1
        axes.barh(place, 1.0, left=(q1 - median) / width, color=PALE, height=0.6)
        axes.plot([0, 0], [place - 0.3, place + 0.3], color=BLACK, linewidth=1.2)
        axes.plot(points, [place] * len(points), "o", color=VERMILLION, markersize=3.4, alpha=0.8)
    found = [column["outliers"] for column, _ in shown]
    axes.set_yticks(
        np.arange(len(shown)),
        [
            f"{shortened(str(column['name']), 30)}  {o['n_low'] + o['n_high']:,}"
            for (column, _), o in zip(shown, found, strict=True)
        ],
    )
    highest = max((float(points.max()) for _, points in shown), default=0.0)
    lowest = min((float(points.min()) for _, points in shown), default=0.0)
    axes.set_xlim(min(-1.3, 1.4 * lowest), max(4.0, 1.4 * highest))
    axes.set_xticks(_marks(lowest, highest))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlabel("distance from the median in interquartile ranges (beyond 3: logarithmic)")
    note = (
        f"Beyond 1.5 interquartile ranges from the quartiles (Tukey 1977); of {n_rows:,} rows; "
        f"up to five at each end drawn"
    )
    set_title(figure, "Outliers, and how many each column has", note)
    return figure


def _marks(lowest: float, highest: float) -> list[float]:
    """Places on the logarithmic axis, not too many of them."""
    last = max(1, math.ceil(math.log10(max(highest, -lowest, 10.0))))
    step = max(1, last // 4)
    powers = [10.0**i for i in range(1, last + 1, step)]
    marks = [3.0, 30.0, *powers] if last < 3 else [3.0, *powers]
    both = [-mark for mark in marks if -mark >= 1.4 * lowest]
    return sorted([*both, -1.0, 0.0, 1.0, *(m for m in marks if m <= max(3.0, 1.4 * highest))])


def _in_ranges(column: Column) -> NDArray[np.float64]:
    """Outliers as distances from the median in interquartile ranges."""
    _, q1, median, q3, _ = column["quantiles"]
    points = [*column["outliers"]["lowest"], *column["outliers"]["highest"]]
    width = q3 - q1
    return np.array([point / width - median / width for point in points], dtype=float)


# ---- columns with each other -------------------------------------------------------------------

_SIGNED = LinearSegmentedColormap.from_list("signed", [VERMILLION, "#ffffff", BLUE])
_UNSIGNED = LinearSegmentedColormap.from_list("unsigned", ["#ffffff", GREEN])
_SCALE = LinearSegmentedColormap.from_list("scale", ["#cfe6f5", BLUE, "#00263d"])
_WORDS = {"cramers_v": "Cramér's V", "eta": "eta", "spearman": "Spearman"}


@matplotlib.rc_context(LOOK)
def associations(found: Mapping[str, Any], n_rows: int) -> Figure:
    """Heat map of how columns hang together, one half of it.

    Parameters
    ----------
    found : mapping
        ``associations`` of a profile: ``columns``, ``values``, ``kinds``.
    n_rows : int
        Of which they are.
    """
    names = [str(name) for name in found["columns"]][:MAX_LINES]
    n = len(names)
    size = 2.6 + max(0.27 * n, 1.5)
    figure = Figure(figsize=(max(6.6, size + 1.4), size), layout="constrained")
    axes = figure.subplots()
    kinds = np.array([row[:n] for row in found["kinds"][:n]], dtype=object).reshape(n, n)
    values = np.array([row[:n] for row in found["values"][:n]], dtype=float).reshape(n, n)
    values[np.triu_indices(n)] = np.nan
    is_signed = kinds == "spearman"
    drawn = (
        (is_signed, _SIGNED, Normalize(-1, 1), ["spearman"]),
        (~is_signed, _UNSIGNED, Normalize(0, 1), ["cramers_v", "eta"]),
    )
    for mask, colours, norm, of_kind in drawn:
        shown = np.where(mask, values, np.nan)
        if np.isnan(shown).all():
            continue
        axes.imshow(shown, cmap=colours, norm=norm, interpolation="nearest")
        present = [
            _WORDS[kind] for kind in of_kind if (kinds[np.tril_indices(n, -1)] == kind).any()
        ]
        _add_scale(figure, axes, colours, norm, " and ".join(present))
    if n <= NUMBERED:
        _write_cells(axes, values, is_signed)
    axes.set_xticks(np.arange(n - 1), [shortened(name, 24) for name in names[:-1]], rotation=90)
    axes.set_yticks(np.arange(1, n), [shortened(name, 24) for name in names[1:]])
    axes.set_xlim(-0.5, max(n, 2) - 1.5)
    axes.set_ylim(max(n, 2) - 0.5, 0.5)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    set_title(figure, "How columns hang together", f"Of {n_rows:,} rows; blank: not defined")
    return figure


def _add_scale(figure: Figure, axes: Axes, colours: Colormap, norm: Normalize, label: str) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=axes, shrink=0.55, aspect=16, fraction=0.05, pad=0.02
    )
    bar.set_label(label, fontsize=7.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6.5)


def _write_cells(axes: Axes, values: NDArray[np.float64], is_signed: NDArray[np.bool_]) -> None:
    for i, j in zip(*np.nonzero(~np.isnan(values)), strict=True):
        value = float(values[i, j])
        words = f"{value:+.2f}" if is_signed[i, j] else f"{value:.2f}"
        colour = "white" if abs(value) > 0.6 else BLACK
        axes.text(
            j, i, words.replace("0.", "."), ha="center", va="center", fontsize=6, color=colour
        )


# ---- segments ----------------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def telling(found: Mapping[str, Any], note: str) -> Figure:
    """What each column alone takes off the uncertainty about the segment.

    Parameters
    ----------
    found : mapping
        ``target`` or ``found`` of a profile; its first 20 features are drawn.
    note : str
        What the segments are.
    """
    shown = found["features"][:MAX_TELLING]
    figure, axes = _lines(len(shown))
    places = np.arange(len(shown))
    shares = np.array([feature["share"] for feature in shown], dtype=float)
    is_chance = np.array([feature["p_value"] >= CHANCE for feature in shown], dtype=bool)
    for mask, colour in ((~is_chance, BLUE), (is_chance, PALE)):
        axes.barh(places[mask], shares[mask], color=colour, height=0.7)
    for place, (share, weak) in enumerate(zip(shares, is_chance, strict=True)):
        words = f"{share:.1%}" + (" (no more than chance)" if weak else "")
        _write_beside(axes, share, place, words)
    axes.set_yticks(places, [shortened(str(feature["column"]), 34) for feature in shown])
    axes.set_xlim(0, 1.25 * max(float(shares.max(initial=0.0)), 0.02))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set_xlabel("uncertainty about the segment that goes once the column is known, alone")
    more = len(found["features"]) - len(shown)
    cut = f"; {more} more columns tell less" if more > 0 else ""
    set_title(figure, "What tells the segments apart", f"{note}{cut}")
    return figure


@matplotlib.rc_context(LOOK)
def segments_by_feature(found: Mapping[str, Any], note: str, most: int = 6) -> Figure:
    """The most telling features by segment: boxes of numbers, shares of categories.

    Parameters
    ----------
    found : mapping
        ``target`` or ``found`` of a profile; its first 40 segments are drawn.
    note : str
        What the segments are.
    most : int
        Features that are drawn.
    """
    features = found["features"][:most]
    segments, counts = found["segments"][:MAX_LINES], found["counts"][:MAX_LINES]
    n = len(segments)
    height = 1.4 + (0.19 if n <= 15 else 0.15) * max(n, 3)
    figure, panels = make_panels(
        len(features), width=3.2, height=height, most_columns=3, sharey=True, same_x=False
    )  # fmt: skip
    for axes, feature in zip(panels, features, strict=True):
        if "shares" in feature:
            _draw_shares(figure, axes, feature, n)
        else:
            _draw_boxes(axes, feature, n)
        axes.set_title(shortened(str(feature["column"]), 40))
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    for axes in panels[:1]:
        axes.set_yticks(
            np.arange(n),
            [f"{shortened(str(name), 26)}  {count:,}" for name, count in zip(
                segments, counts, strict=True
            )],
        )  # fmt: skip
        axes.set_ylim(n - 0.4, -0.6)
    more = len(found["segments"]) - n
    cut = f"; {more} more segments are not drawn" if more > 0 else ""
    boxes = "box: middle half, stroke: median, line: 5% to 95%"
    set_title(figure, "The segments by what tells them apart", f"{note}; {boxes}{cut}")
    return figure


def _draw_boxes(axes: Axes, feature: Column, n: int) -> None:
    is_date = feature["role"] == "date"
    drawn = [
        (place, [_as_number(q, is_date) for q in group["quantiles"]])
        for place, group in enumerate(feature["groups"][:n])
        if group["quantiles"]
    ]
    largest = max((abs(q) for _, quantiles in drawn for q in quantiles), default=0.0)
    scale = max(1.0, largest / 1e12)
    for place, quantiles in drawn:
        low, q1, median, q3, high = (q / scale for q in quantiles)
        axes.plot([low, high], [place, place], color=GREY, linewidth=1.0, zorder=2)
        axes.barh(place, q3 - q1, left=q1, height=0.6, color=SKY, zorder=3)
        axes.plot(
            [median, median], [place - 0.3, place + 0.3], color=BLACK, linewidth=1.4, zorder=4
        )
    whole = all(float(q).is_integer() for _, quantiles in drawn for q in quantiles)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=whole, min_n_ticks=1))
    if is_date:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _day(x * scale)))
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x * scale)))


def _as_number(quantile: Any, is_date: bool) -> float:
    if is_date:
        return float(np.datetime64(quantile, "D").astype(np.int64))
    return float(quantile)


def _day(days: float) -> str:
    return str(np.datetime64(round(days), "D"))[:7]


def _draw_shares(figure: Figure, axes: Axes, feature: Column, n: int) -> None:
    levels = [str(level) for level in feature["levels"]]
    is_scale = feature["role"] != "categorical"
    shades = _SCALE(np.linspace(0, 1, max(len(levels), 1)))
    rows = [(place, row) for place, row in enumerate(feature["shares"][:n]) if row is not None]
    if not rows or not levels:
        axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", color=GREY)
        return
    places = np.array([place for place, _ in rows])
    shares = np.array([row for _, row in rows], dtype=float).reshape(len(rows), len(levels) + 1)
    left = np.zeros(len(rows))
    names = [shortened(level, 16) for level in levels] + [f"{feature['n_other']:,} others"]
    for i, name in enumerate(names):
        if i == len(levels) and not feature["n_other"]:
            continue
        colour = PALE if i == len(levels) else shades[i] if is_scale else SERIES[i % len(SERIES)]
        axes.barh(
            places, shares[:, i], left=left, color=colour, height=0.72, edgecolor="white",
            linewidth=0.4, label=name,
        )  # fmt: skip
        left = left + shares[:, i]
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    # A place in points: one in parts of the panel would move as the panel makes room for it.
    below = ScaledTranslation(0, -20 / 72, figure.dpi_scale_trans)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, 0), bbox_transform=axes.transAxes + below,
        ncols=3 if max(map(len, names)) <= 9 else 2, fontsize=6.5, handlelength=0.9,
        columnspacing=0.9, handletextpad=0.4, borderaxespad=0,
    )  # fmt: skip

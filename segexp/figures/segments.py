"""Figures of the segments that were found: where they lie, what they are like, how sure they are.

Colours and marks tell segments apart, each pair of them is taken once; with many segments their
numbers and hulls do, because nobody can tell forty colours. Numbers count the segments from 1 in
the order they are given, and a key says what each is called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import Normalize, TwoSlopeNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial import ConvexHull, QhullError

from segexp.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LOOK,
    MAX_VECTOR_MARKS,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILLION,
    add_legend,
    set_title,
    shortened,
)

Floats = NDArray[np.float64]
Codes = NDArray[np.int_]

MOST_COLOURS = 8  # segments that have a plain colour and a mark each
MOST_PAIRED = 5  # features of a pair plot
MOST_FEATURES = 30  # rows of a profile
VIEW = 0.98  # of the customers are inside the axes of a pair plot
MOST_LEVELS = 25  # values of a feature up to which points are moved a little
MOST_MIDDLES = 6  # segments whose middles are numbered in the panels of a pair plot
MOST_NUMBERED = 15  # segments up to which the cells of a profile hold their numbers
HULL_SHARE = 0.9  # of the customers of a segment are inside its outline, those nearest its middle

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, "#6b6b6b", BLACK)
_MARKS = "os^Dv<>P"
_NOISE = -1
# Another seed than one that a generator of customers may have been given: 0 draws their features.
_SHAKING = 271_828


@dataclass(frozen=True)
class Layout:
    """Customers on two axes.

    Attributes
    ----------
    points : ndarray of shape (n, 2)
    explained : tuple of float, or None
        Share of the variance on each axis, where the method knows it.
    method : str
        Such as ``PCA``.
    """

    points: Floats
    explained: tuple[float, float] | None
    method: str


def principal_axes(Z: Floats) -> Layout:
    """Lay customers out on the two axes of largest variance (Pearson 1901, Phil. Mag. 2:559-572).

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Features as the clusterer sees them. Missing values count as the mean of their column; the
        signs of the axes are such that the largest weight of each is positive.
    """
    Z = np.asarray(Z, dtype=float)
    centered = np.nan_to_num(Z - np.nanmean(Z, axis=0))
    _, strengths, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points = np.zeros((len(Z), 2))
    points[:, : len(axes)] = centered @ axes.T
    total = float((strengths**2).sum())
    shares = [*(strengths[:2] ** 2 / total if total else []), 0.0, 0.0]
    return Layout(points, (float(shares[0]), float(shares[1])), "PCA")


def umap_axes(Z: Floats, seed: int = 0) -> Layout | None:
    """Lay customers out by UMAP (McInnes, Healy, Melville 2018); None where it is not installed.

    It keeps neighbours together; distances between groups and their sizes mean little.
    """
    try:
        umap = import_module("umap")
    except ImportError:
        return None
    n_neighbors = max(2, min(15, len(Z) - 1))
    found = umap.UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1).fit_transform(Z)
    return Layout(np.asarray(found, dtype=float), None, "UMAP")


def telling_features(table: pd.DataFrame, labels: Codes) -> pd.Series[float]:
    """Return which share of the variance of each numeric feature lies between the segments.

    The correlation ratio, eta squared; the largest first. Features without any variance, and
    customers of no segment, are left out.

    Parameters
    ----------
    table : DataFrame of shape (n, d)
    labels : ndarray of int of shape (n,)
        -1 is noise.
    """
    own = table[labels >= 0].select_dtypes("number").astype(float)
    between = own.groupby(labels[labels >= 0]).transform("mean").var(ddof=0)
    within = own.var(ddof=0)
    shares = (between / within.where(within > 0)).dropna()
    return shares.sort_values(ascending=False, kind="stable")


# ---- where customers lie -----------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def customer_map(
    layout: Layout, labels: Codes, names: Sequence[str], n_all: int | None = None
) -> Figure:
    """Customers on two axes, with the middle and the outline of each segment.

    Parameters
    ----------
    layout : Layout
    labels : ndarray of int of shape (n,)
        -1 is noise.
    names : sequence of str
        Of the segments 0, 1, ...
    n_all : int, optional
        Customers of the whole table, where those that are drawn are a sample.
    """
    labels = np.asarray(labels)
    # The key is as high as it has lines.
    figure = Figure(figsize=(8.8, max(5.0, 1.3 + 0.15 * len(names))), layout="constrained")
    axes = figure.subplots()
    shown, moved = _parted(layout.points)
    _scatter(axes, shown, labels, len(names), size=14 if len(labels) <= 1000 else 7)
    middles = _draw_segments(axes, layout.points, labels, len(names))
    axes.grid(False)
    _name_axes(axes, layout)
    _draw_labels(axes, middles)
    _add_key(figure, labels, names)
    set_title(
        figure,
        f"Where the customers of {len(names)} segments lie, by {layout.method}",
        f"In-sample; {_how_many(len(labels), n_all)}; +: means; outlines: {HULL_SHARE:.0%} of a "
        f"segment{moved}",
    )
    return figure


def _parted(points: Floats) -> tuple[Floats, str]:
    """Move customers who lie at the same places a little, and say so."""
    if 4 * len(np.unique(points.round(9), axis=0)) > len(points):
        return points, ""
    width = 0.012 * np.ptp(points, axis=0)
    return (
        points + np.random.default_rng(_SHAKING).normal(size=points.shape) * width,
        "; moved a little apart",
    )


@matplotlib.rc_context(LOOK)
def pair_plot(
    table: pd.DataFrame, labels: Codes, names: Sequence[str], n_all: int | None = None
) -> Figure:
    """Each pair of features, with the middle of every segment where they are few.

    Parameters
    ----------
    table : DataFrame of shape (n, d)
        Numeric features, two to five; more are left out.
    labels, names, n_all
        As of :func:`customer_map`.
    """
    labels = np.asarray(labels)
    features = [str(name) for name in table.columns[:MOST_PAIRED]]
    values = table[table.columns[:MOST_PAIRED]].to_numpy(dtype=float)
    d = len(features)
    side = max(1.35, 4.4 / d)
    figure = Figure(figsize=(2.4 + side * d, max(3.4, 1.3 + side * d)), layout="constrained")
    grid = figure.subplots(d, d, squeeze=False, sharex="col")
    limits = [_limits(values[:, i]) for i in range(d)]
    are_whole = [bool((np.nan_to_num(column) % 1 == 0).all()) for column in values.T]
    for i, j in zip(*np.tril_indices(d), strict=True):
        axes, points = grid[i, j], values[:, [j, i]]
        if i == j:
            _draw_spans(axes, values[:, i], labels, len(names))
        else:
            axes.set(xlim=limits[j], ylim=limits[i])
            n_marks = len(labels) * d * (d - 1) // 2
            _scatter(axes, _shaken(points), labels, len(names), size=5, alpha=0.45, n_marks=n_marks)
            if len(names) <= MOST_MIDDLES:  # more of them lie on each other in a small panel
                _draw_labels(axes, _medians(points, labels, len(names)), small=True)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=are_whole[i]))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=are_whole[j]))
        axes.grid(False)
        axes.tick_params(labelsize=6.5, labelbottom=i == d - 1, labelleft=i == j or j == 0)
        if i == d - 1:
            axes.set_xlabel(shortened(features[j], 20), fontsize=7)
        if j == 0:
            words = "segment" if i == 0 else shortened(features[i], 22)
            axes.set_ylabel(words, fontsize=7)
    for i, j in zip(*np.triu_indices(d, 1), strict=True):
        grid[i, j].set_visible(False)
    _add_key(figure, labels, names)
    set_title(
        figure,
        f"The {d} features that tell the segments apart most",
        f"In-sample; {_how_many(len(labels), n_all)}; on the diagonal: median and middle half; "
        f"the outermost {1 - VIEW:.0%} may lie beyond the axes",
    )
    return figure


def _limits(values: Floats) -> tuple[float, float]:
    """Return the ends of an axis that a few extreme customers do not stretch."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [(1 - VIEW) / 2, (1 + VIEW) / 2])
    # Where little is beyond, everything is shown.
    least, most = known.min(), known.max()
    low = least if low - least < 0.25 * (high - low) else low
    high = most if most - high < 0.25 * (high - low) else high
    levels = np.unique(known)
    few = 1 < len(levels) <= MOST_LEVELS  # they are moved by less than half their gap
    margin = 0.5 * float(np.diff(levels).min()) if few else 0.06 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _draw_spans(axes: Axes, values: Floats, labels: Codes, n_segments: int) -> None:
    """Draw the middle half of each segment, one below the other."""
    for code in range(n_segments):
        own = values[(labels == code) & np.isfinite(values)]
        if not len(own):
            continue
        low, middle, high = np.quantile(own, [0.25, 0.5, 0.75])
        colour = _colour(code)
        axes.plot([low, high], [code, code], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([middle], [code], "|", color=BLACK, markersize=5)
    axes.set_ylim(n_segments - 0.3, -0.7)
    step = math.ceil(n_segments / 15)
    axes.set_yticks(range(0, n_segments, step), [str(i + 1) for i in range(0, n_segments, step)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _shaken(points: Floats) -> Floats:
    """Move the points a little along an axis that has few values, so that more of them are seen."""
    moved = points.copy()
    rng = np.random.default_rng(_SHAKING)
    for axis in (0, 1):
        levels = np.unique(points[np.isfinite(points[:, axis]), axis])
        if 1 < len(levels) <= MOST_LEVELS:
            gap = float(np.diff(levels).min())
            moved[:, axis] += rng.uniform(-0.3, 0.3, len(points)) * gap
    return moved


def _medians(points: Floats, labels: Codes, n_segments: int) -> dict[int, Floats]:
    """Return the middle of each segment that has one."""
    known = np.isfinite(points).all(axis=1)
    return {
        code: np.median(points[known & (labels == code)], axis=0)
        for code in range(n_segments)
        if (known & (labels == code)).any()
    }


def _scatter(
    axes: Axes,
    points: Floats,
    labels: Codes,
    n_segments: int,
    size: float,
    alpha: float = 0.6,
    n_marks: int = 0,
) -> None:
    """Draw customers; ``n_marks`` are those of the whole figure, where it has several panels."""
    many = max(len(points), n_marks) > MAX_VECTOR_MARKS
    noise = labels == _NOISE
    axes.scatter(
        points[noise, 0], points[noise, 1], s=size, marker="x", color=PALE, linewidth=0.7,
        rasterized=many,
    )  # fmt: skip
    sizes = np.bincount(labels[~noise], minlength=n_segments)
    for code in np.argsort(-sizes, kind="stable").tolist():  # no small one is hidden by a large one
        own = labels == code
        axes.scatter(
            points[own, 0], points[own, 1], s=size, marker=_mark(code, n_segments),
            color=_colour(code), linewidth=0, rasterized=many,
            alpha=alpha if n_segments <= MOST_COLOURS else alpha / 2,
        )  # fmt: skip


def _mark(code: int, n_segments: int) -> str:
    if n_segments <= MOST_COLOURS:
        return _MARKS[code % len(_MARKS)]
    return _MARKS[code // len(_COLOURS) % len(_MARKS)]


def _colour(code: int) -> tuple[float, float, float]:
    """Return the colour of a segment; those after the first eight have darker or paler ones."""
    red, green, blue = to_rgb(_COLOURS[code % len(_COLOURS)])
    # Black has no darker one.
    towards, weight = ((0.0, 0.0), (0.0, 0.45), (1.0, 0.45))[code // len(_COLOURS) % 3]
    if weight and not max(red, green, blue):
        towards, weight = 1.0, 0.35 + 0.2 * towards
    mixed = [(1 - weight) * part + weight * towards for part in (red, green, blue)]
    return mixed[0], mixed[1], mixed[2]


def _xy(point: Floats) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _box(code: int, pad: float) -> dict[str, Any]:
    return {
        "boxstyle": f"round,pad={pad}", "facecolor": "white", "alpha": 0.85,
        "edgecolor": _colour(code), "linewidth": 0.8,
    }  # fmt: skip


def _draw_segments(axes: Axes, points: Floats, labels: Codes, n_segments: int) -> dict[int, Floats]:
    """Draw mean and outline of each segment; return the medians."""
    middles = {}
    for code in range(n_segments):
        own = points[labels == code]
        if not len(own):
            continue
        colour = _colour(code)
        middles[code] = np.median(own, axis=0)
        style = ("-", "--", ":", "-.", (0, (1, 4)))[code // len(_COLOURS) % 5]
        if (outline := _outline(own, middles[code])) is not None:
            axes.add_patch(
                Polygon(
                    outline,
                    facecolor=(*to_rgb(colour), 0.05),
                    edgecolor=colour,
                    linewidth=0.9,
                    linestyle=style,
                )
            )
        axes.plot(*own.mean(axis=0), "+", color="white", markersize=9, markeredgewidth=3, zorder=4)
        axes.plot(*own.mean(axis=0), "+", color=BLACK, markersize=7, markeredgewidth=1.2, zorder=5)
    return middles


def _outline(own: Floats, middle: Floats) -> Floats | None:
    """Return the corners of the hull of the customers nearest to the middle of a segment."""
    distances = np.linalg.norm(own - middle, axis=1)
    core = own[distances <= np.quantile(distances, HULL_SHARE)]
    try:
        return np.asarray(core[ConvexHull(core).vertices])
    except (QhullError, ValueError):  # too few customers, or all on one line
        return None


def _name_axes(axes: Axes, layout: Layout) -> None:
    for number, name in enumerate(("x", "y")):
        share = f" ({layout.explained[number]:.0%} of the variance)" if layout.explained else ""
        axes.set(**{f"{name}label": f"{layout.method} {number + 1}{share}"})
    if not layout.explained:
        axes.set_xticks([])
        axes.set_yticks([])


def _draw_labels(axes: Axes, middles: dict[int, Floats], *, small: bool = False) -> None:
    """Write the numbers of the segments beside their medians, without overlap."""
    if not middles:
        return
    axes.autoscale_view()
    codes = list(middles)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    origin, span = np.array([left, bottom]), np.array([right - left, top - bottom])
    anchors = (np.array([middles[code] for code in codes]) - origin) / span
    # What a number takes in a panel of a pair plot, and in a map.
    size = np.array([0.085, 0.085] if small else [0.046, 0.056])
    places = _spread(anchors, size)
    moved = (np.abs(places - anchors) > size / 3).any(axis=1) & (not small)
    if moved.any():
        lines = np.stack([anchors[moved], places[moved]], axis=1) * span + origin
        axes.add_collection(
            LineCollection(list(lines), colors=BLACK, linewidths=0.6, zorder=5), autolim=False
        )
    letters = 6.5 if small else 8.5
    for code, place in zip(codes, places * span + origin, strict=True):
        axes.text(
            *_xy(place), str(code + 1), fontsize=letters, weight="bold", ha="center", va="center",
            zorder=6, bbox=_box(code, pad=0.12 if small else 0.2),
        )  # fmt: skip


def _spread(anchors: Floats, size: Floats) -> Floats:
    """Push boxes of one size apart until none overlaps, each as near to its place as may be.

    Parameters
    ----------
    anchors : ndarray of shape (n, 2)
        In shares of the axes.
    size : ndarray of shape (2,)
        Width and height of a box.
    """
    places = anchors.copy()
    # Those at one and the same place are parted in a fixed order.
    turn = 2 * np.pi * np.arange(len(places)) / max(len(places), 1)
    places += 1e-4 * np.column_stack([np.cos(turn), np.sin(turn)])
    for _ in range(500):
        gaps = places[:, None] - places[None]
        overlap = size - np.abs(gaps)
        np.fill_diagonal(overlap[..., 0], -1)
        touching = (overlap > 0).all(axis=2)
        if not touching.any():
            break
        # Along the axis that asks for the shorter way, in boxes.
        along = (overlap / size).argmin(axis=2)
        for axis in (0, 1):
            push = np.where(touching & (along == axis), overlap[..., axis], 0.0)
            places[:, axis] += 0.3 * (np.sign(gaps[..., axis]) * push).sum(axis=1)
        places = np.clip(places, size / 2, 1 - size / 2)
    return places


def _add_key(figure: Figure, labels: Codes, names: Sequence[str]) -> None:
    """Say at the right what each number is called."""
    handles, words = [], []
    for code, name in enumerate(names):
        n = int((labels == code).sum())
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=_mark(code, len(names)),
                markersize=5,
                color=_colour(code),
            )
        )
        own = "" if name == str(code + 1) else f"  {shortened(str(name), 30)}"
        words.append(f"{code + 1}{own}  ({n:,})")
    if n := int((labels == _NOISE).sum()):
        handles.append(Line2D([], [], linestyle="", marker="x", markersize=5, color=GREY))
        words.append(f"no segment  ({n:,})")
    figure.legend(
        handles, words, loc="outside right center", title="segment (customers)",
        fontsize=7 if len(words) > 16 else 7.5, title_fontsize=7.5, handletextpad=0.2,
        labelspacing=0.35, alignment="left",
    )  # fmt: skip


def _how_many(n: int, n_all: int | None) -> str:
    if n_all is None or n_all <= n:
        return f"all {n:,} customers"
    return f"{n:,} of {n_all:,} customers, at random"


# ---- what they are like ------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def segment_profile(deviations: pd.DataFrame, texts: pd.DataFrame, note: str) -> Figure:
    """How far each segment is from all customers, feature by feature, as a heat map.

    The features are ordered so that alike ones lie together, as in the segment profile plot of
    Dolnicar, Grün and Leisch (2018, Market Segmentation Analysis, ch. 8), by average linkage with
    the leaves in optimal order (Bar-Joseph et al. 2001, Bioinformatics 17:S22-S29).

    Parameters
    ----------
    deviations : DataFrame of shape (n_features, n_segments)
        In standard deviations of all customers; NaN where there is none.
    texts : DataFrame of str of the same shape
        What the cells say, where there is room.
    note : str
        What the colours and the texts are.
    """
    strength = deviations.abs().max(axis=1).fillna(0)
    kept = strength.sort_values(ascending=False, kind="stable").index[:MOST_FEATURES]
    shown = deviations.loc[[name for name in deviations.index if name in set(kept)]]
    shown = shown.iloc[_by_likeness(shown.to_numpy(dtype=float))]
    n, k = shown.shape
    has_texts = k <= MOST_NUMBERED
    width = 0.5 if has_texts else 0.27
    longest = max((len(shortened(str(name), 32)) for name in shown.index), default=8)
    figure = Figure(
        figsize=(max(6.6, 1.6 + 0.075 * longest + width * k), 1.7 + 0.24 * max(n, 5)),
        layout="constrained",
    )
    axes = figure.subplots()
    values = shown.to_numpy(dtype=float)
    most = float(np.clip(np.nanmax(np.abs(values), initial=0.5), 0.5, 2.0))
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap="PuOr_r", norm=TwoSlopeNorm(0, -most, most),
        edgecolors="white", linewidth=0.6,
    )  # fmt: skip
    if has_texts:
        _write_cells(axes, mesh, values, texts.loc[shown.index].to_numpy(dtype=object), most)
    axes.set_yticks(np.arange(n) + 0.5, [shortened(str(name), 32) for name in shown.index])
    long_names = max((len(str(name)) for name in shown.columns), default=1) > (
        5 if has_texts else 3
    )
    axes.set_xticks(
        np.arange(k) + 0.5, [shortened(str(name), 22) for name in shown.columns],
        rotation=60 if long_names else 0, ha="right" if long_names else "center",
        rotation_mode="anchor" if long_names else None,
    )  # fmt: skip
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("segment")
    bar = figure.colorbar(mesh, ax=axes, fraction=0.04, pad=0.02, extend="both", aspect=25)
    bar.set_label("from all customers (sd)", fontsize=7.5)
    bar.ax.tick_params(labelsize=6.5)
    left_out = f"; the {n} of {len(deviations)} features that differ most" if (
        n < len(deviations)) else ""  # fmt: skip
    set_title(figure, f"What the customers of {k} segments are like", f"{note}{left_out}")
    return figure


def _by_likeness(values: Floats) -> list[int]:
    if len(values) < 3:
        return list(range(len(values)))
    tree = linkage(np.nan_to_num(values), "average")
    return [int(i) for i in leaves_list(optimal_leaf_ordering(tree, np.nan_to_num(values)))]


def _write_cells(
    axes: Axes, mesh: QuadMesh, values: Floats, texts: NDArray[np.object_], most: float
) -> None:
    for (i, j), text in np.ndenumerate(texts):
        dark = np.isfinite(values[i, j]) and abs(values[i, j]) > 0.62 * most
        axes.text(
            j + 0.5, i + 0.5, str(text), ha="center", va="center", fontsize=6.3,
            color="white" if dark else BLACK,
        )  # fmt: skip


@matplotlib.rc_context(LOOK)
def segment_sizes(segments: pd.DataFrame) -> Figure:
    """Customers of each segment.

    Parameters
    ----------
    segments : DataFrame with columns ``segment, n, share``
        In the order that they are drawn, from top to bottom.
    """
    names = [str(name) for name in segments["segment"]]
    share = 100 * segments["share"].to_numpy(dtype=float)
    n = len(names)
    step = 0.27 if n <= 20 else 0.19
    figure = Figure(figsize=(6.6, 1.3 + step * max(n, 2)), layout="constrained")
    axes = figure.subplots()
    colours = [PALE if name == "noise" else BLUE for name in names]
    axes.barh(np.arange(n), share, color=colours, height=0.72)
    for i, (part, count) in enumerate(zip(share, segments["n"], strict=True)):
        axes.annotate(
            f"{part:.1f}%  ({count:,})", (part, i), xytext=(3, 0), textcoords="offset points",
            va="center", fontsize=7 if n <= 20 else 6,
        )  # fmt: skip
    axes.set_yticks(np.arange(n), [shortened(name, 36) for name in names])
    axes.tick_params(axis="y", length=0, labelsize=7.5 if n <= 20 else 6.5)
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(0, 1.25 * max(share.max(initial=1.0), 1.0))
    axes.grid(False, axis="y")
    axes.set_xlabel("share of all customers, %")
    axes.set_ylabel("segment")
    total = int(segments["n"].sum())
    set_title(figure, f"How large the segments are: {total:,} customers", "In-sample")
    return figure


# ---- how sure they are -------------------------------------------------------------------------


@matplotlib.rc_context(LOOK)
def confidence_histogram(
    groups: dict[str, Floats], unlike: dict[str, float] | None = None
) -> Figure:
    """How sure the segments of customers are.

    Parameters
    ----------
    groups : dict of str to ndarray
        Confidences between 0 and 1 of each group of customers, such as those held out; NaN is
        left out.
    unlike : dict of str to float, optional
        Share of each group that is unlike anybody.
    """
    figure = Figure(figsize=(6.6, 3.0), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 21)
    said = []
    for (name, values), colour, style in zip(
        groups.items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=False
    ):
        known = values[np.isfinite(values)]
        share = 100 * np.histogram(known, edges)[0] / max(1, len(known))
        middle = float(np.median(known)) if len(known) else math.nan
        label = f"{name}: {len(known):,}, median {middle:.2f}"
        if unlike and name in unlike:
            said.append(f"{unlike[name]:.1%} {name}")
        axes.stairs(share, edges, color=colour, linewidth=1.4, linestyle=style, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("confidence of the segment (1: sure)")
    axes.set_ylabel("customers, %")
    note = f"Unlike anybody: {', '.join(said)}" if said else "Not comparable between clusterers"
    set_title(figure, "How sure the segments of customers are", note)
    add_legend(figure, [axes])
    return figure


@matplotlib.rc_context(LOOK)
def stability_by_k(table: pd.DataFrame, chosen: int | None = None) -> Figure:
    """Agreement of segments from resampled customers by their number, with standard errors.

    Parameters
    ----------
    table : DataFrame
        ``k`` and ``bootstrap_ari``, ``prediction_strength`` (Tibshirani and Walther 2005, JCGS
        14:511-528) or both, each with its ``*_se``.
    chosen : int or None
        Number of segments of the model.
    """
    figure = Figure(figsize=(6.6, 3.2), layout="constrained")
    axes = figure.subplots()
    shown = table[table["k"] > 1].sort_values("k")
    for name, words, colour, mark in (
        ("bootstrap_ari", "adjusted Rand index of bootstrap samples", BLUE, "o"),
        ("prediction_strength", "prediction strength", ORANGE, "s"),
    ):
        if name not in shown or shown[name].isna().all():
            continue
        k, mean = shown["k"].to_numpy(), shown[name].to_numpy(dtype=float)
        error = shown.get(f"{name}_se", pd.Series(0.0, shown.index)).fillna(0).to_numpy(dtype=float)
        axes.errorbar(k, mean, error, fmt="none", color=colour, linewidth=1.1, capsize=2)
        axes.plot(k, mean, f"{mark}-", color=colour, markersize=4, linewidth=1.2, label=words)
    axes.axhline(0.8, color=GREEN, linewidth=0.8, linestyle=(0, (4, 3)), label="0.8: reproducible")
    if chosen is not None and chosen in set(shown["k"]):
        axes.axvline(
            chosen, color=BLACK, linewidth=0.9, linestyle=(0, (4, 3)), label=f"the model: {chosen}"
        )
    axes.set_ylim(min(0.0, *axes.get_ylim()), 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.set_xlabel("number of segments")
    axes.set_ylabel("agreement (1: the same again)")
    set_title(
        figure, "Do the same segments come back, by their number?",
        "On resampled customers; bars: standard errors",
    )  # fmt: skip
    add_legend(figure, [axes])
    return figure


@matplotlib.rc_context(LOOK)
def segment_flow(parents: pd.DataFrame, chosen: int | None = None) -> Figure:
    """Which segment each segment comes from as their number grows, as a tree.

    Solid lines lead to the segment from which most customers come. The darker a segment, the more
    of its customers come from one segment: the SLSA of Dolnicar and Leisch (2017, Marketing
    Letters 28:423-436).

    Parameters
    ----------
    parents : DataFrame with columns ``k, segment, value, parent``
        As :func:`segexp.clustering.stability.slsa` returns it; segments count from 0 and are
        written from 1.
    chosen : int or None
        Number of segments of the model.
    """
    parents = parents.sort_values(["k", "segment"])
    ks = [int(k) for k in parents["k"].unique()]
    before = ks[0] - 1 if ks else 1
    n_before = (
        max(1, before, 1 + int(parents.loc[parents["k"] == ks[0], "parent"].max())) if ks else 1
    )
    places = {(before, i): float(i) - (n_before - 1) / 2 for i in range(n_before)}
    most = max([n_before, *(int((parents["k"] == k).sum()) for k in ks)])
    height = min(max(3.4, 1.5 + 0.26 * most), 9.0)
    width = min(max(6.6, 1.4 + 0.72 * (len(ks) + 1)), 14.0)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    colours, norm = matplotlib.colormaps["Blues"], Normalize(0, 1.15)
    for k in ks:
        own = parents[parents["k"] == k]
        places |= _in_order(own, k, before, places)
        for segment, parent in zip(own["segment"], own["parent"], strict=True):
            if (origin := places.get((before, int(parent)))) is not None:
                here = places[k, int(segment)]
                axes.plot([before, k], [origin, here], color=GREY, linewidth=1.0, zorder=1)
        before = k
    sure = {
        (int(k), int(segment)): float(value)
        for k, segment, value in parents[["k", "segment", "value"]].to_numpy(dtype=float)
    }
    size, letters = (250, 7.0) if most <= 16 else ((130, 5.5) if most <= 24 else (60, 4.0))
    for (k, segment), y in places.items():
        value = sure.get((k, segment), math.nan)
        face = colours(norm(value)) if math.isfinite(value) else (1.0, 1.0, 1.0, 1.0)
        edge, thick = (VERMILLION, 1.8) if k == chosen else (GREY, 0.7)
        axes.scatter([k], [y], s=size, color=[face], edgecolor=edge, linewidth=thick, zorder=2)
        axes.annotate(
            str(segment + 1), (k, y), ha="center", va="center", zorder=3,
            fontsize=letters, color="white" if value > 0.65 else BLACK,
        )  # fmt: skip
    columns = sorted({k for k, _ in places})
    axes.set_xticks(columns, [str(k) for k in columns])
    axes.set_xlim(min(columns) - 0.5, max(columns) + 0.5)
    axes.set_ylim(most / 2 + 0.2, -most / 2 - 0.2)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.set_xlabel("number of segments")
    mapped = matplotlib.cm.ScalarMappable(Normalize(0, 1), colours)
    bar = figure.colorbar(mapped, ax=axes, fraction=0.04, pad=0.02, aspect=25)
    bar.set_label("SLSA (1: all from one segment)", fontsize=7.5)
    bar.ax.tick_params(labelsize=6.5)
    ringed = "; ringed: the model" if chosen in ks else ""
    set_title(
        figure, "Where each segment comes from as their number grows",
        f"In-sample; lines: where most of its customers were before{ringed}",
    )  # fmt: skip
    return figure


def _in_order(
    own: pd.DataFrame, k: int, before: int, places: dict[tuple[int, int], float]
) -> dict[tuple[int, int], float]:
    """Place the segments of one solution below each other, children by their parents."""
    heights = [places.get((before, int(parent)), math.inf) for parent in own["parent"]]
    order = sorted(zip(heights, own["segment"].astype(int), strict=True))
    return {(k, segment): i - (len(order) - 1) / 2 for i, (_, segment) in enumerate(order)}


@matplotlib.rc_context(LOOK)
def distance_shares(table: pd.DataFrame, most: int = 25) -> Figure:
    """Which features decide who is alike.

    Parameters
    ----------
    table : DataFrame with columns ``feature, mean, std``
        Share of the distance between customers, over folds; the largest first.
    most : int
        Features that are drawn.
    """
    shown = table.head(most)
    n = len(shown)
    figure = Figure(figsize=(6.6, 1.3 + 0.24 * max(n, 2)), layout="constrained")
    axes = figure.subplots()
    mean, spread = (shown[name].to_numpy(dtype=float) for name in ("mean", "std"))
    axes.barh(np.arange(n), mean, color=BLUE, height=0.7)
    axes.errorbar(
        mean, np.arange(n), xerr=np.nan_to_num(spread), fmt="none", color=BLACK, linewidth=0.9
    )
    axes.set_yticks(np.arange(n), [shortened(str(name), 40) for name in shown["feature"]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(n - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.set_xlabel("share of the distance between customers")
    cut = f"; the first {n} of {len(table)}" if n < len(table) else ""
    set_title(
        figure, "What decides who is alike",
        f"On training rows, mean and standard deviation over folds{cut}",
    )  # fmt: skip
    return figure

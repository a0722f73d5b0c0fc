"""Figures of segments: how many there may be, how clear and how stable they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segexp.figures.look import (
    BLACK,
    BLUE,
    CHOSEN,
    GREEN,
    GREY,
    IN_SAMPLE,
    LOOK,
    ORANGE,
    PALE,
    SERIES,
    SKY,
    VERMILLION,
    add_legend,
    set_title,
    shortened,
)


@matplotlib.rc_context(LOOK)
def elbow(table: pd.DataFrame, knee: int | None, chosen: int | None = None) -> Figure:
    """Within-cluster sum of squares by the number of segments, with the knee.

    Parameters
    ----------
    table : DataFrame with columns ``k, inertia``
    knee : int or None
        None: the curve has none, and the figure says so.
    chosen : int or None
        Number of segments of the verdict.
    """
    figure, axes, shown = _by_k(table, "inertia")
    k, inertia = shown["k"].to_numpy(), shown["inertia"].to_numpy(dtype=float)
    axes.plot(k, inertia, "o-", color=BLUE, markersize=4, linewidth=1.2)
    if knee is not None:
        at = inertia[k == knee]
        axes.scatter(np.full(len(at), knee), at, **CHOSEN, label=f"knee, at {knee}")
    _mark_verdict(axes, chosen)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("within-cluster sum of squares")
    said = "no knee" if knee is None else f"knee at {knee}"
    set_title(figure, f"How spread out the segments are, by their number: {said}", IN_SAMPLE)
    add_legend(figure, [axes])
    return figure


@matplotlib.rc_context(LOOK)
def silhouette_curve(table: pd.DataFrame, chosen: int | None = None) -> Figure:
    """Mean silhouette by the number of segments, beside that of data without segments.

    Parameters
    ----------
    table : DataFrame with columns ``k, silhouette, silhouette_se``
        Where it has ``silhouette_uniform`` or ``silhouette_pca`` with their ``*_sd``, those are
        drawn as bands of two standard deviations.
    chosen : int or None
        Number of segments of the verdict.
    """
    figure, axes, shown = _by_k(table, "silhouette")
    k, mean = shown["k"].to_numpy(), shown["silhouette"].to_numpy(dtype=float)
    for kind, colour in (("uniform", PALE), ("pca", SKY)):
        name = f"silhouette_{kind}"
        if name not in shown or shown[name].isna().all():
            continue
        center = shown[name].to_numpy(dtype=float)
        spread = 2 * shown[f"{name}_sd"].to_numpy(dtype=float)
        axes.fill_between(
            k, center - spread, center + spread, color=colour, alpha=0.5, linewidth=0,
            label=f"random, {_REFERENCES[kind]}",
        )  # fmt: skip
    error = 2 * shown["silhouette_se"].fillna(0).to_numpy(dtype=float)
    axes.errorbar(k, mean, error, fmt="none", color=BLUE, linewidth=1.2, capsize=2)
    axes.plot(k, mean, "o-", color=BLUE, markersize=4, linewidth=1.2, label="these customers")
    if len(k):
        best = int(mean.argmax())
        label = f"largest, at {k[best]}"
        axes.scatter(k[best : best + 1], mean[best : best + 1], **CHOSEN, label=label)
    _mark_verdict(axes, chosen)
    axes.set_ylabel("mean silhouette (more is better)")
    said = f": largest at {k[best]}" if len(k) else ""
    note = IN_SAMPLE
    if any(str(band.get_label()).startswith("random") for band in axes.collections):
        note += "; bands: mean ± 2 sd over random data"
    set_title(figure, f"How much nearer customers are to their own segment{said}", note)
    add_legend(figure, [axes])
    return figure


@matplotlib.rc_context(LOOK)
def gap_curve(
    table: pd.DataFrame, choices: Mapping[str, int | None], chosen: int | None = None
) -> Figure:
    """Gap statistic by the number of segments, with its standard errors.

    Parameters
    ----------
    table : DataFrame with columns ``k`` and ``gap_uniform`` or ``gap_pca`` with their ``*_se``
    choices : mapping of these names to the k that the rule chooses, or None
    chosen : int or None
        Number of segments of the verdict.
    """
    names = [f"gap_{kind}" for kind in _REFERENCES]
    drawn = [name for name in names if name in table and table[name].notna().any()]
    figure, axes, _ = _by_k(table, *drawn)
    said = []
    for name, colour, marker in zip(drawn, (BLUE, ORANGE), "os", strict=False):
        part = table[table[name].notna()]
        k, gap = part["k"].to_numpy(), part[name].to_numpy(dtype=float)
        kind = _REFERENCES[name.removeprefix("gap_")]
        error = part[f"{name}_se"].to_numpy(dtype=float)
        axes.errorbar(k, gap, error, fmt="none", color=colour, linewidth=1.2, capsize=2)
        axes.plot(
            k, gap, f"{marker}-", color=colour, markersize=4, linewidth=1.2,
            label=kind,
        )  # fmt: skip
        at = choices.get(name)
        said.append(f"{'none' if pd.isna(at) else at} ({kind.rpartition(' ')[2]})")
        if not pd.isna(at):
            axes.scatter(k[k == at], gap[k == at], **CHOSEN, label="chosen by the rule")
    _mark_verdict(axes, chosen)
    axes.set_ylabel("gap (log scale)")
    set_title(
        figure,
        f"Gap to random data: the rule chooses {' and '.join(said) or 'none'}",
        f"{IN_SAMPLE}; bars: s; rule: the first k whose gap is within s of the next",
    )
    add_legend(figure, [axes])
    return figure


@matplotlib.rc_context(LOOK)
def silhouette_plot(
    silhouettes: NDArray[np.float64], labels: NDArray[np.intp], names: Sequence[str] | None = None
) -> Figure:
    """Silhouette of every customer, sorted within its segment (Rousseeuw 1987).

    Parameters
    ----------
    silhouettes : ndarray of shape (n,)
        NaN where it was not computed; those customers are left out.
    labels : ndarray of int of shape (n,)
        -1 is noise, which is counted in the note and not drawn.
    names : sequence of str, optional
        Of the segments 0, 1, ...
    """
    silhouettes, labels = np.asarray(silhouettes, dtype=float), np.asarray(labels)
    segments = np.unique(labels[labels >= 0])
    is_drawn = np.isfinite(silhouettes) & (labels >= 0)
    height = max(2.0, min(9.0, 0.8 + 0.24 * len(segments)))
    figure = Figure(figsize=(6.6, 1.1 + height), layout="constrained")
    axes = figure.subplots()
    # One row of the picture for each share of the customers, in any number of them.
    gap = 0.012 * max(is_drawn.sum(), 1) * min(1.0, 20 / max(len(segments), 1))
    top, places, words = 0.0, [], []
    for i, segment in enumerate(segments):
        own = np.sort(silhouettes[is_drawn & (labels == segment)])[::-1]
        edges = top + np.arange(len(own) + 1)
        axes.stairs(
            own, edges, orientation="horizontal", fill=True, linewidth=0,
            color=SERIES[i % (len(SERIES) - 1)],
        )  # fmt: skip
        mean = own.mean() if len(own) else math.nan
        axes.plot([mean, mean], edges[[0, -1]], color=BLACK, linewidth=0.9)
        places.append(top + len(own) / 2)
        name = names[segment] if names is not None else str(segment)
        n_own = int((labels == segment).sum())
        words.append(f"{shortened(name, 24)}  ({n_own:,}; {mean:.2f})")
        top += len(own) + gap
    total = float(silhouettes[is_drawn].mean()) if is_drawn.any() else math.nan
    axes.axvline(total, color=BLACK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_yticks(places, words)
    if len(segments) > 20:
        axes.tick_params(axis="y", labelsize=6.5)
    axes.set_ylim(max(top - gap, 1), 0)
    axes.set_xlim(min(float(silhouettes[is_drawn].min(initial=0)), 0) - 0.02, 1)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("silhouette (below 0: nearer to another segment)")
    axes.set_ylabel("segment (customers; mean)")
    left_out = int((labels < 0).sum())
    note = f"In-sample; lines: mean of each segment; dashed: mean of all drawn, {total:.2f}"
    if left_out:
        note += f"; {left_out:,} of no segment are not drawn"
    if not_computed := int((~np.isfinite(silhouettes) & (labels >= 0)).sum()):
        note += f"; {not_computed:,} not sampled"
    set_title(figure, f"How well customers fit their segment: {len(segments)} segments", note)
    return figure


@matplotlib.rc_context(LOOK)
def stability_boxplots(
    values: pd.DataFrame, measure: str, by: str = "k", chosen: int | None = None
) -> Figure:
    """Agreement over resamples as boxes, for each number of segments or for each segment.

    Parameters
    ----------
    values : DataFrame with a column ``value`` and the column ``by``
        One row per resample.
    measure : str
        What the values are, as the axis shall call it: ``adjusted Rand index``, ``Jaccard``.
    by : {"k", "segment"}
    chosen : int or None
        Number of segments of the verdict, where ``by`` is ``k``.
    """
    groups = {name: part["value"].dropna().to_numpy() for name, part in values.groupby(by)}
    groups = {name: found for name, found in groups.items() if len(found)}
    n = len(groups)
    figure = Figure(figsize=(max(6.6, 1.0 + 0.28 * n), 3.4), layout="constrained")
    axes = figure.subplots()
    parts = axes.boxplot(
        list(groups.values()), positions=np.arange(n), widths=0.55, patch_artist=True,
        medianprops={"color": BLACK, "linewidth": 1.4},
        flierprops={"marker": "o", "markersize": 2.5, "markeredgecolor": GREY},
        whiskerprops={"color": GREY}, capprops={"color": GREY},
    )  # fmt: skip
    for name, box in zip(groups, parts["boxes"], strict=True):
        is_chosen = by == "k" and name == chosen
        box.set(facecolor=VERMILLION if is_chosen else SKY, edgecolor=GREY, linewidth=0.7)
    axes.set_xticks(np.arange(n), [str(name) for name in groups])
    axes.set_xlim(-0.6, max(n, 1) - 0.4)
    axes.grid(False, axis="x")
    lowest = min((float(found.min()) for found in groups.values()), default=0.0)
    axes.set_ylim(min(0.0, lowest - 0.03), 1.03)
    axes.set_ylabel(f"{measure} (1: the same again)")
    if by == "k":
        axes.set_xlabel("number of segments")
        said = f", {chosen} chosen" if chosen in groups else ""
        title = f"Do the same segments come back? By their number{said}"
    else:
        for level, word in ((0.6, "a pattern"), (0.75, "stable"), (0.85, "highly stable")):
            axes.axhline(level, color=GREEN, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
            axes.annotate(
                word, (1, level), xycoords=("axes fraction", "data"), xytext=(3, 0), fontsize=7,
                textcoords="offset points", va="center", color=GREEN, annotation_clip=False,
            )  # fmt: skip
        axes.set_xlabel("segment")
        title = "Does each segment come back?"
    n_resamples = max((len(found) for found in groups.values()), default=0)
    set_title(
        figure, title, f"{n_resamples} comparisons each, of segments made from resampled customers"
    )
    return figure


@matplotlib.rc_context(LOOK)
def dendrogram(tree: NDArray[np.float64], k: int, max_leaves: int = 40) -> Figure:
    """The last merges of a tree, with the cut into ``k`` segments.

    Parameters
    ----------
    tree : ndarray of shape (n - 1, 4)
        As :func:`scipy.cluster.hierarchy.linkage` returns it.
    k : int
        From 1 to n.
    max_leaves : int
        Earlier merges are not drawn; a leaf says how many customers it holds.
    """
    from scipy.cluster import hierarchy

    n = len(tree) + 1
    n_leaves = min(n, max(max_leaves, k))
    heights = np.sort(tree[:, 2])[::-1]
    above = heights[k - 2] if k > 1 else 1.06 * heights[0]
    below = heights[k - 1] if k < n else 0.0
    level = (above + below) / 2
    drawn = hierarchy.dendrogram(
        tree, p=n_leaves, truncate_mode="lastp", no_plot=True, color_threshold=level,
        above_threshold_color="",
    )  # fmt: skip
    # One colour for each segment, from left to right; scipy's own palette is a global setting.
    numbers = {name: i for i, name in enumerate(dict.fromkeys(filter(None, drawn["color_list"])))}
    colours = [SERIES[numbers[name] % 6] if name else GREY for name in drawn["color_list"]]
    figure = Figure(figsize=(max(6.6, 1.2 + 0.15 * n_leaves), 3.8), layout="constrained")
    axes = figure.subplots()
    lines = [np.column_stack(xy) for xy in zip(drawn["icoord"], drawn["dcoord"], strict=True)]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.1))
    axes.axhline(level, color=BLACK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{k}", (1, level), xycoords=("axes fraction", "data"), xytext=(3, 0), fontsize=8,
        textcoords="offset points", va="center", annotation_clip=False,
    )  # fmt: skip
    words = [word.strip("()") if word.startswith("(") else "1" for word in drawn["ivl"]]
    axes.set_xticks(10 * np.arange(n_leaves) + 5, words)
    axes.tick_params(axis="x", labelrotation=90 if n_leaves > 20 else 0, labelsize=6.5)
    axes.set_xlim(0, 10 * n_leaves)
    axes.set_ylim(0, 1.06 * heights[0] or 1)
    axes.grid(False, axis="x")
    axes.set_xlabel("customers in each branch")
    axes.set_ylabel("distance of the merge")
    cut_off = f"; the last {n_leaves - 1} of {n - 1:,} merges" if n_leaves < n else ""
    set_title(
        figure, f"How the segments merge, cut into {k}", f"{IN_SAMPLE}{cut_off}; dashed: the cut"
    )
    return figure


_REFERENCES = {"uniform": "box of the columns", "pca": "box of the axes"}


def _by_k(table: pd.DataFrame, *names: str) -> tuple[Figure, Axes, pd.DataFrame]:
    """Return a figure, its axes over the numbers of segments, and the rows that have a value."""
    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.set_xlabel("number of segments")
    shown = table[table[list(names)].notna().any(axis=1)].sort_values("k")
    if len(shown):
        axes.set_xlim(shown["k"].min() - 0.5, shown["k"].max() + 0.5)
    return figure, axes, shown


def _mark_verdict(axes: Axes, chosen: int | None) -> None:
    if chosen is not None:
        word = f"verdict: {chosen}" if chosen > 1 else "verdict: no natural segments"
        axes.axvline(
            chosen, color=BLACK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.5, label=word
        )

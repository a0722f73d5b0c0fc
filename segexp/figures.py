"""Figures: functions from a table to a matplotlib ``Figure``, in one look.

Nothing here writes a file or touches pyplot; :func:`render` turns a figure into bytes. Colours are
those of Okabe and Ito, which colour-blind readers tell apart; marks differ in shape as well, so
that a print without colours can be read.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from segexp.config.space import Parameter
from segexp.metrics import undominated

BLACK = "#000000"
GREY = "#8c8c8c"
PALE = "#d9d9d9"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

_SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY, BLACK)
_LOOK = {
    # From matplotlib's defaults, so that a reader's own matplotlibrc changes nothing.
    **{key: value for key, value in matplotlib.rcParamsDefault.items() if "backend" not in key},
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "figure.dpi": 150,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "font.size": 8.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.hashsalt": "segexp",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}
_NOTE = (
    "Selection scores: means over the inner folds on which the winner was chosen, "
    "not held-out figures"
)
_DPI = 150
# An SVG with more marks than this carries them as one picture.
_MAX_VECTOR_MARKS = 4000


def render(figure: Figure) -> dict[str, bytes]:
    """Return a figure as ``{"png": ..., "svg": ...}``; the same figure gives the same bytes.

    The PNG has 150 dots per inch.
    """
    FigureCanvasAgg(figure)
    found = {}
    with matplotlib.rc_context(_LOOK):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
            found[kind] = buffer.getvalue()
    return found


@matplotlib.rc_context(_LOOK)
def optimisation_history(trials: pd.DataFrame, metric: str, greater_is_better: bool) -> Figure:
    """Score by trial, one panel per study, with the best so far as a line.

    Parameters
    ----------
    trials : DataFrame
        The trials table of one or several studies. Pruned trials stand at the mean of the folds
        that they were judged on; failed and invalid ones at the bottom. A score far below the
        others is drawn at the edge.
    metric : str
    greater_is_better : bool
    """
    studies = _studies(trials)
    models = list(dict.fromkeys(trials["model"]))
    shown = trials.assign(shown=[_shown_value(trial) for trial in trials.to_dict("records")])
    limits = _limits(shown["shown"], greater_is_better)
    figure, panels = _grid(len(studies), width=3.0, height=2.1, most_columns=5, sharey=True)
    for axes, (study, table) in zip(panels, studies.items(), strict=True):
        part = shown.loc[table.index]
        if len(models) > 1:
            # Each model counts its own trials, so that their numbers say nothing of the order.
            part = part.sort_values(["start", "number"]).assign(number=np.arange(len(part)))
        _history(axes, part, models, limits, greater_is_better)
        axes.set_title(study)
        axes.set_ylim(*limits)
    _label_y(figure, panels, _labelled(metric, greater_is_better))
    _label_x(
        figure, panels, "trial number" if len(models) == 1 else "trial, in the order of their start"
    )
    _title(figure, f"{_words(metric).capitalize()} of each trial, and the best so far")
    _legend(figure, panels)
    return figure


@matplotlib.rc_context(_LOOK)
def parameter_importance(importances: pd.DataFrame) -> Figure:
    """Importance of each parameter as a bar, its spread over studies as a line.

    Parameters
    ----------
    importances : DataFrame with columns ``parameter, mean, std, n_studies``
        As :func:`segexp.search.importance.summarise_importances` returns it.
    """
    table = importances.iloc[::-1]
    n = len(table)
    figure = Figure(figsize=(6.6, 1.3 + 0.27 * max(n, 1)), layout="constrained")
    axes = figure.subplots()
    where = np.arange(n)
    axes.barh(where, 100 * table["mean"], height=0.62, color=SKY)
    mean = 100 * table["mean"].to_numpy(dtype=float)
    spread = 100 * table["std"].to_numpy(dtype=float)
    has = spread > 0
    low = np.maximum(mean - spread, 0)
    axes.hlines(where[has], low[has], (mean + spread)[has], color=BLACK, linewidth=1.2)
    axes.set_yticks(where, [_shortened(name, 44) for name in table["parameter"]])
    axes.set_ylim(-0.6, max(n, 1) - 0.4)
    axes.set_xlim(left=0)
    axes.grid(False, axis="y")
    axes.set_xlabel("share of the variance of the score, %")
    n_studies = int(table["n_studies"].max()) if n else 0
    if n_studies > 1:
        note = f"Mean over {n_studies} studies; the line is one standard deviation over studies"
    elif n_studies == 1:
        note = "Of one study"
    else:
        note = "No study has enough completed trials to judge"
        axes.set_xlim(right=100)
    _title(figure, "What the score depends on", note)
    return figure


@matplotlib.rc_context(_LOOK)
def slices(
    trials: pd.DataFrame, parameters: Sequence[Parameter], metric: str, greater_is_better: bool
) -> Figure:
    """Score against the value of each parameter, one panel per parameter.

    Parameters
    ----------
    trials : DataFrame
        The trials table of one model; completed trials are drawn.
    parameters : sequence of Parameter
        Of the search space. Their ranges are the limits of the axes.
    metric : str
    greater_is_better : bool
    """
    done = _completed(trials)
    params = [json.loads(text) for text in done["params"]]
    value = done["value"].to_numpy(dtype=float)
    limits = _limits(done["value"], greater_is_better)
    chosen = done["chosen"].to_numpy(dtype=bool)
    several = done["study"].nunique() > 1
    rasterized = len(done) * len(parameters) > _MAX_VECTOR_MARKS
    figure, panels = _grid(
        len(parameters), width=2.4, height=2.2, most_columns=4, sharey=True, same_x=False
    )
    # A fixed seed: the same table gives the same figure.
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, len(done))
    for axes, parameter in zip(panels, parameters, strict=True):
        x = _positions(parameter, params)
        if parameter.type == "categorical":
            x = x + jitter
        has = ~np.isnan(x)
        _points(
            axes,
            x[has & ~chosen],
            value[has & ~chosen],
            limits,
            color=BLUE,
            alpha=0.45 if len(done) > 40 else 0.8,
            label="trial",
            rasterized=rasterized,
        )
        _points(
            axes,
            x[has & chosen],
            value[has & chosen],
            limits,
            **_CHOSEN,
            label="chosen in its study" if several else "chosen",
        )
        _parameter_axis(axes, parameter)
        axes.set_title("\n".join(_wrapped(parameter.name, 30)))
        axes.set_ylim(*limits)
    _label_y(figure, panels, _labelled(metric, greater_is_better))
    _title(figure, f"{_words(metric).capitalize()} by the value of each parameter")
    _legend(figure, panels)
    return figure


@matplotlib.rc_context(_LOOK)
def parallel_coordinates(
    trials: pd.DataFrame, parameters: Sequence[Parameter], metric: str, greater_is_better: bool
) -> Figure:
    """Every completed trial as a line through its parameter values, the best on top.

    Parameters
    ----------
    trials : DataFrame
        The trials table of one model.
    parameters : sequence of Parameter
        One axis each, from the low to the high end of its range. A trial that lacks a parameter
        with a condition passes below its axis.
    metric : str
    greater_is_better : bool
    """
    done = _completed(trials).sort_values("value", ascending=greater_is_better, kind="stable")
    params = [json.loads(text) for text in done["params"]]
    value = done["value"].to_numpy(dtype=float)
    n = len(parameters)
    if params and n:
        heights = np.column_stack([_heights(p, _positions(p, params)) for p in parameters])
    else:
        heights = np.empty((len(params), n))
    # Trials with the same choice side by side; a fixed seed: the same table, the same figure.
    spread = np.random.default_rng(0).uniform(-0.025, 0.025, heights.shape)
    absent = np.isnan(heights)
    categorical = np.array(
        [parameter.type == "categorical" for parameter in parameters], dtype=bool
    )
    heights = np.where(absent, _BELOW, heights) + np.where(absent | categorical, spread, 0.0)
    narrow = n > 9
    figure = Figure(figsize=(max(6.6, 1.9 + (0.7 if narrow else 1.15) * n), 4.4))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    x = np.arange(n)
    # Dark on white is what the eye finds, so the best are dark.
    colours = matplotlib.colormaps["cividis_r" if greater_is_better else "cividis"]
    norm = Normalize(*_colour_range(value, greater_is_better))
    lines = LineCollection(
        [np.column_stack([_smooth(x), _smoothed(row)]) for row in heights] if n > 1 else [],
        cmap=colours,
        norm=norm,
        linewidths=np.where(done["chosen"], 2.2, np.linspace(0.4, 1.2, len(done))),
        alpha=np.linspace(min(0.3, 60 / len(done)), 1.0, len(done)) if len(done) else None,
        rasterized=len(done) * n > _MAX_VECTOR_MARKS,
    )
    lines.set_array(value)
    axes.add_collection(lines, autolim=False)
    if n == 1:
        axes.scatter(0 * value, heights[:, 0], c=value, cmap=colours, norm=norm, s=14)
    _coordinate_axes(
        axes, parameters, [bool(column.any()) for column in absent.T], 9 if narrow else 13
    )
    axes.set_ylim(_BELOW - 0.06 if absent.any() else -0.06, 1.06)
    axes.set_xlim(-0.35, max(n - 1, 0) + 0.65)
    axes.set_xticks(
        x, ["\n".join(_wrapped(parameter.name, 28 if narrow else 20)) for parameter in parameters]
    )
    if narrow:
        for label in axes.get_xticklabels():
            label.set(rotation=50, ha="right", rotation_mode="anchor")
    figure.colorbar(
        lines,
        ax=axes,
        label=_labelled(metric, greater_is_better),
        pad=0.01,
        aspect=30,
        extend="min" if greater_is_better else "max",
    )
    _title(figure, f"The parameters of each trial, coloured by {_words(metric)}")
    return figure


@matplotlib.rc_context(_LOOK)
def pareto(trials: pd.DataFrame, metrics: Mapping[str, bool]) -> Figure:
    """Every completed trial by two objectives, with those that no other beats in all of them.

    Parameters
    ----------
    trials : DataFrame
        The trials table, with a column ``value[NAME]`` for each metric.
    metrics : mapping of metric to whether more is better
        Two or more; each pair has a panel in each study. With more than two, a trial of the front
        may lie behind others of its panel, because it is better in a metric not drawn there.
    """
    studies = _studies(trials)
    pairs = list(itertools.combinations(metrics, 2))
    figure, panels = _grid(
        len(studies) * len(pairs),
        width=2.6,
        height=2.5,
        most_columns=len(pairs) if len(pairs) > 1 and len(studies) > 1 else 3,
        same_x=len(pairs) == 1,
        sharey=len(pairs) == 1,
    )
    everything = _completed(trials)
    limits = {
        metric: _limits(everything[f"value[{metric}]"], metrics[metric]) for metric in metrics
    }
    drawn = itertools.product(studies.items(), pairs)
    for axes, ((study, table), (first, second)) in zip(panels, drawn, strict=True):
        done = _completed(table)
        values = done[[f"value[{metric}]" for metric in metrics]].to_numpy(dtype=float)
        signs = np.array([1.0 if greater else -1.0 for greater in metrics.values()])
        feasible = done["feasible"].to_numpy(dtype=bool)
        front = feasible.copy()
        front[feasible] = undominated(values[feasible] * signs)
        x = done[f"value[{first}]"].to_numpy(dtype=float)
        y = done[f"value[{second}]"].to_numpy(dtype=float)
        behind = feasible & ~front
        axes.plot(x[~feasible], y[~feasible], **_INFEASIBLE)
        axes.plot(x[behind], y[behind], "o", color=SKY, markersize=3, label="trial")
        if len(metrics) == 2:
            order = np.argsort(x[front])
            # Between two trials of the front nothing was found: a staircase, not a slope.
            axes.step(
                x[front][order],
                y[front][order],
                where="pre" if metrics[first] else "post",
                color=BLUE,
                linewidth=1,
                alpha=0.6,
            )
        axes.plot(
            x[front], y[front], "o", color=BLUE, markersize=4.5, label="front: no trial beats it"
        )
        picked = done["chosen"].to_numpy(dtype=bool)
        axes.scatter(x[picked], y[picked], **_CHOSEN, label="chosen")
        axes.set_title(study)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(*limits[first])
        axes.set_ylim(*limits[second])
        _say_what_is_beyond(axes, x, y)
        if len(pairs) > 1:
            axes.set_xlabel(_labelled(first, metrics[first]))
            axes.set_ylabel(_labelled(second, metrics[second]))
    if len(pairs) == 1:
        (first, second) = pairs[0]
        _label_x(figure, panels, _labelled(first, metrics[first]))
        _label_y(figure, panels, _labelled(second, metrics[second]))
    _title(figure, "What the objectives cost each other")
    _legend(figure, panels)
    return figure


# ---- marks and axes that several figures share -------------------------------------------------

_CHOSEN: dict[str, Any] = {
    "marker": "*", "s": 80, "color": VERMILLION, "edgecolor": "white", "linewidth": 0.6,
    "zorder": 5,
}  # fmt: skip
_INFEASIBLE: dict[str, Any] = {
    "linestyle": "none", "marker": "o", "markersize": 3, "markerfacecolor": "none",
    "color": GREY, "markeredgewidth": 0.7, "label": "breaks a constraint",
}  # fmt: skip
_BELOW = -0.16


def _history(
    axes: Axes,
    table: pd.DataFrame,
    models: Sequence[str],
    limits: tuple[float, float],
    greater_is_better: bool,
) -> None:
    number = table["number"].to_numpy(dtype=float)
    shown = table["shown"].to_numpy(dtype=float)
    complete = (table["state"] == "COMPLETE").to_numpy()
    feasible = table["feasible"].to_numpy(dtype=bool)
    pruned = (table["state"] == "PRUNED").to_numpy()
    failed = table["state"].isin(["FAIL", "INVALID"]).to_numpy()
    chosen = table["chosen"].to_numpy(dtype=bool)
    default = complete & (table["origin"] == "default").to_numpy()
    for i, model in enumerate(models):
        own = complete & feasible & (table["model"] == model).to_numpy()
        _points(
            axes,
            number[own],
            shown[own],
            limits,
            color=_SERIES[i % len(_SERIES)],
            alpha=0.75,
            size=11,
            label="completed" if len(models) == 1 else model,
        )
    clipped = np.clip(shown, *limits)
    broken = complete & ~feasible
    axes.plot(number[broken], clipped[broken], **_INFEASIBLE)
    _points(
        axes,
        number[pruned],
        shown[pruned],
        limits,
        marker="x",
        size=10,
        linewidth=0.7,
        color=GREY,
        label="pruned, mean of its folds",
    )
    axes.plot(
        number[failed], np.full(failed.sum(), 0.025), "|", color=VERMILLION, markersize=6,
        markeredgewidth=1.2, transform=axes.get_xaxis_transform(), label="failed or invalid",
    )  # fmt: skip
    counted = np.where(complete & feasible, shown, -np.inf if greater_is_better else np.inf)
    order = np.argsort(number, kind="stable")
    best = (np.maximum if greater_is_better else np.minimum).accumulate(counted[order])
    reached = np.isfinite(best)
    axes.step(
        number[order][reached], best[reached], where="post", color=BLACK, linewidth=1.1,
        label="best so far",
    )  # fmt: skip
    axes.plot(
        number[default], clipped[default], "D", color=BLACK, markerfacecolor="none", markersize=6,
        markeredgewidth=1.0, label="model as configured",
    )  # fmt: skip
    axes.scatter(number[chosen], clipped[chosen], **_CHOSEN, label="chosen")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    last = max(number.max(initial=0.0), 1.0)
    axes.set_xlim(-0.05 * last, 1.05 * last)


def _points(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    limits: tuple[float, float],
    *,
    label: str,
    size: float = 9,
    **style: Any,
) -> None:
    """Draw points; those beyond the limits are triangles at the edge."""
    low, high = limits
    inside = (y >= low) & (y <= high)
    look = {"s": size, "linewidth": 0, **style}
    axes.scatter(x[inside], y[inside], **look, label=label)
    for beyond, edge, marker in ((y < low, low, "v"), (y > high, high, "^")):
        if beyond.any():
            place = np.full(beyond.sum(), edge + (0.02 if edge == low else -0.02) * (high - low))
            look = {**look, "marker": marker, "s": 14}
            axes.scatter(x[beyond], place, **look, label="off the scale")


def _say_what_is_beyond(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Write how many trials the limits of the axes leave out."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if beyond := int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum()):
        axes.set_title(f"{beyond} beyond the axes", loc="right", fontsize=7, color=GREY)


def _parameter_axis(axes: Axes, parameter: Parameter) -> None:
    if parameter.type == "categorical":
        words = [_shortened(_word(choice), 16) for choice in parameter.choices]
        slanted = sum(len(word) for word in words) + 2 * len(words) > 34
        axes.set_xticks(range(len(words)), words)
        if slanted:
            axes.tick_params(axis="x", labelrotation=90 if len(words) > 8 else 35)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right" if len(words) <= 8 else "center")
                label.set_rotation_mode("anchor" if len(words) <= 8 else "default")
        axes.set_xlim(-0.5, len(words) - 0.5)
        axes.grid(False, axis="x")
        return
    low, high = float(parameter.low or 0), float(parameter.high or 0)
    if parameter.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(low, high)))
        axes.xaxis.set_minor_locator(LogLocator(subs="all"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, place: ""))
        margin = (high / low) ** 0.03 if high > low else 2.0
        axes.set_xlim(low / margin, high * margin)
    else:
        axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high, parameter.type == "int")))
        margin = 0.03 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))


def _coordinate_axes(
    axes: Axes, parameters: Sequence[Parameter], has_absent: Sequence[bool], length: int
) -> None:
    axes.grid(False)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
    for x, parameter in enumerate(parameters):
        axes.plot([x, x], [0, 1], color="#4d4d4d", linewidth=0.8, zorder=3)
        ticks = _coordinate_ticks(parameter)
        if has_absent[x]:
            ticks.append(("not set", _BELOW))
        for word, place in ticks:
            axes.plot([x - 0.03, x], [place, place], color="#4d4d4d", linewidth=0.8, zorder=3)
            axes.text(
                x + 0.05,
                place,
                _shortened(word, length),
                va="center",
                ha="left",
                fontsize=6.5,
                zorder=4,
                bbox=box,
            )


def _coordinate_ticks(parameter: Parameter) -> list[tuple[str, float]]:
    """Labels of a parallel axis and their heights."""
    if parameter.type == "categorical":
        words = [_word(choice) for choice in parameter.choices]
        places = _heights(parameter, np.arange(len(words), dtype=float)).tolist()
        # More labels than lines of text would overlap.
        step = math.ceil(len(words) / 16)
        return list(zip(words, places, strict=True))[::step]
    low, high = float(parameter.low or 0), float(parameter.high or 0)
    if low == high:
        return [(f"{low:g}", 0.5)]
    values = _log_ticks(low, high) if parameter.log else _ticks(low, high, parameter.type == "int")
    places = _heights(parameter, np.array(values)).tolist()
    return [(f"{value:g}", place) for value, place in zip(values, places, strict=True)]


def _positions(parameter: Parameter, params: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Where each trial stands on the axis of a parameter; NaN where it lacks it."""
    if parameter.type == "categorical":
        place = {json.dumps(choice): i for i, choice in enumerate(parameter.choices)}
        found = [
            place.get(json.dumps(p[parameter.name])) if parameter.name in p else None
            for p in params
        ]
    else:
        found = [p.get(parameter.name) for p in params]
    return np.array([math.nan if x is None else x for x in found], dtype=float)


def _heights(parameter: Parameter, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions as shares of the parameter's range."""
    if parameter.type == "categorical":
        low, high, at = 0.0, len(parameter.choices) - 1.0, positions
    else:
        low, high, at = float(parameter.low or 0), float(parameter.high or 0), positions
        if parameter.log:
            low, high, at = math.log(low), math.log(high), np.log(positions)
    return (at - low) / (high - low) if high > low else at - low + 0.5


def _smooth(x: NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate([start + _EASE for start in x[:-1]] or [x.astype(float)])


def _smoothed(row: NDArray[np.float64]) -> NDArray[np.float64]:
    # Curves that cross an axis level can be told apart where straight lines merge into a fan.
    bend = _EASE * _EASE * (3 - 2 * _EASE)
    return np.concatenate(
        [start + (end - start) * bend for start, end in itertools.pairwise(row)] or [row]
    )


_EASE = np.linspace(0, 1, 13)


def _ticks(low: float, high: float, whole: bool) -> list[float]:
    """Return both ends of a range and round numbers between, away from the ends."""
    between = MaxNLocator(4, integer=whole, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    space = 0.14 * (high - low)
    return [low, *(x for x in between if low + space < x < high - space), high]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a log axis: both ends and the powers of ten, or 1-2-5 steps, between."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 50 else (1,)
    between = [f * 10.0**d for d in decades for f in factors]
    if high / low > 1e5:
        between = between[:: math.ceil(len(between) / 4)]
    # Away from the ends, whose labels would run into theirs.
    space = (high / low) ** 0.14
    return [low, *(x for x in between if low * space < x < high / space), high]


def _limits(values: pd.Series, greater_is_better: bool) -> tuple[float, float]:
    """Limits of the score's axis; a few trials that are far worse do not flatten the others."""
    finite = values[np.isfinite(values.astype(float))].to_numpy(dtype=float)
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    q1, q3 = np.quantile(finite, [0.25, 0.75])
    if q3 > q1 and len(finite) >= 10:
        if greater_is_better:
            low = float(finite[finite >= q1 - 4 * (q3 - q1)].min())
        else:
            high = float(finite[finite <= q3 + 4 * (q3 - q1)].max())
    space = 0.06 * (high - low) or (0.01 * abs(high) or 0.01 if high == low else 0.0)
    return low - space, high + space


def _colour_range(values: NDArray[np.float64], greater_is_better: bool) -> tuple[float, float]:
    """Range of colours: the worst tenth share one, so that the others differ."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, [0.1, 1.0] if greater_is_better else [0.0, 0.9]).tolist()
    return (low, high) if high > low else (low - 0.01, high + 0.01)


def _shown_value(trial: Mapping[Any, Any]) -> float:
    if trial["state"] == "COMPLETE":
        return float(trial["value"])
    if trial["state"] == "PRUNED" and len(trial["fold_values"]):
        return float(np.mean(trial["fold_values"]))
    return math.nan


def _studies(trials: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(study): table for study, table in trials.groupby("study", sort=False)}


def _completed(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[(trials["state"] == "COMPLETE") & np.isfinite(trials["value"])]


# ---- layout ------------------------------------------------------------------------------------


def _grid(
    n: int, *, width: float, height: float, most_columns: int, sharey: bool, same_x: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels of about the given size, in inches."""
    columns = max(1, min(most_columns, n, max(3, math.ceil(math.sqrt(n)))))
    rows = max(1, math.ceil(n / columns))
    size = (max(6.6, width * columns), 1.1 + height * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=sharey, sharex=same_x, squeeze=False)
    panels = list(axes.flat)
    for unused in panels[n:]:
        unused.set_visible(False)
    for i, panel in enumerate(panels[:n]):
        if same_x:
            panel.tick_params(labelbottom=i + columns >= n)
    return figure, panels[:n]


def _title(figure: Figure, title: str, note: str = _NOTE) -> None:
    """Say what one sees, and below it what the numbers are."""
    # The empty second line keeps the place of the note, which is set smaller.
    figure.suptitle(f"{title}\n ", x=0.008, horizontalalignment="left")
    height = figure.get_figheight()
    figure.text(0.008, 1 - (0.042 + 0.185) / height, note, fontsize=7.5, va="top", color="#4d4d4d")


def _label_x(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    # Below each column: the legend has the place of a label of the whole figure.
    columns = _n_columns(panels)
    for axes in panels[-columns:]:
        axes.set_xlabel(label)


def _n_columns(panels: Sequence[Axes]) -> int:
    spec = panels[0].get_subplotspec() if panels else None
    return spec.get_gridspec().ncols if spec else 1


def _label_y(figure: Figure, panels: Sequence[Axes], label: str) -> None:
    if len(panels) == 1:
        panels[0].set_ylabel(label)
    else:
        figure.supylabel(label, fontsize=8.5)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels: each label once, and only what is drawn."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if _is_drawn(handle):
                handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=min(len(handles), max(3, int(figure.get_figwidth() / 1.65))),
        )


def _is_drawn(handle: Any) -> bool:
    if isinstance(handle, Patch):
        return True
    data = handle.get_xdata() if isinstance(handle, Line2D) else handle.get_offsets()
    return np.size(data) > 0


def _labelled(metric: str, greater_is_better: bool) -> str:
    return f"{_words(metric)} ({'more' if greater_is_better else 'less'} is better)"


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _word(choice: Any) -> str:
    """Return a choice as YAML writes it."""
    return choice if isinstance(choice, str) else json.dumps(choice)


def _shortened(text: str, length: int) -> str:
    """Return text with its middle left out; names differ at both ends."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def _wrapped(name: str, length: int) -> list[str]:
    """Break a name at its separators into at most two lines of about ``length`` characters."""
    lines = [""]
    for part in re.findall(r"[^_.]*[_.]*", name):
        if len(lines[-1]) + len(part) > length and lines[-1]:
            lines.append("")
        lines[-1] += part
    if len(lines) > 2:
        lines = [lines[0], "".join(lines[1:])]
    return [_shortened(line, length) for line in lines]


# ---- segments ----------------------------------------------------------------------------------

_IN_SAMPLE = "In-sample: on the customers that the segments were made from"


@matplotlib.rc_context(_LOOK)
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
        axes.scatter(np.full(len(at), knee), at, **_CHOSEN, label=f"knee, at {knee}")
    _mark_verdict(axes, chosen)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("within-cluster sum of squares")
    said = "no knee" if knee is None else f"knee at {knee}"
    _title(figure, f"How spread out the segments are, by their number: {said}", _IN_SAMPLE)
    _legend(figure, [axes])
    return figure


@matplotlib.rc_context(_LOOK)
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
        axes.scatter(k[best : best + 1], mean[best : best + 1], **_CHOSEN, label=label)
    _mark_verdict(axes, chosen)
    axes.set_ylabel("mean silhouette (more is better)")
    said = f": largest at {k[best]}" if len(k) else ""
    note = _IN_SAMPLE
    if any(str(band.get_label()).startswith("random") for band in axes.collections):
        note += "; bands: mean ± 2 sd over random data"
    _title(figure, f"How much nearer customers are to their own segment{said}", note)
    _legend(figure, [axes])
    return figure


@matplotlib.rc_context(_LOOK)
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
            axes.scatter(k[k == at], gap[k == at], **_CHOSEN, label="chosen by the rule")
    _mark_verdict(axes, chosen)
    axes.set_ylabel("gap (log scale)")
    _title(
        figure,
        f"Gap to random data: the rule chooses {' and '.join(said) or 'none'}",
        f"{_IN_SAMPLE}; bars: s; rule: the first k whose gap is within s of the next",
    )
    _legend(figure, [axes])
    return figure


@matplotlib.rc_context(_LOOK)
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
            color=_SERIES[i % (len(_SERIES) - 1)],
        )  # fmt: skip
        mean = own.mean() if len(own) else math.nan
        axes.plot([mean, mean], edges[[0, -1]], color=BLACK, linewidth=0.9)
        places.append(top + len(own) / 2)
        name = names[segment] if names is not None else str(segment)
        n_own = int((labels == segment).sum())
        words.append(f"{_shortened(name, 24)}  ({n_own:,}; {mean:.2f})")
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
    _title(figure, f"How well customers fit their segment: {len(segments)} segments", note)
    return figure


@matplotlib.rc_context(_LOOK)
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
    _title(
        figure, title, f"{n_resamples} comparisons each, of segments made from resampled customers"
    )
    return figure


@matplotlib.rc_context(_LOOK)
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
    colours = [_SERIES[numbers[name] % 6] if name else GREY for name in drawn["color_list"]]
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
    _title(
        figure, f"How the segments merge, cut into {k}", f"{_IN_SAMPLE}{cut_off}; dashed: the cut"
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


# ---- runs side by side --------------------------------------------------------------------------


@matplotlib.rc_context(_LOOK)
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
    first, second = (_shortened(name, 32) for name in names)
    figure = Figure(figsize=(7.2, min(1.9 + 0.16 * max(len(order), 6), 8.0)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.hlines(place, a[order], b[order], color=PALE, linewidth=1.6)
    left.plot(a[order], place, "o", color=BLUE, markersize=4.2, label=first, zorder=3)
    left.plot(b[order], place, "s", color=ORANGE, markersize=3.8, label=second)
    left.set_xlabel(_labelled(metric, greater_is_better))
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
    _title(
        figure,
        f"{_words(metric).capitalize()} fold by fold",
        f"{first}: better in {wins} of {len(order)} folds, worse in {losses}",
    )
    _legend(figure, [left, right])
    return figure


@matplotlib.rc_context(_LOOK)
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
            f"{_shortened(labels[j], 30)}  {rank:.2f}" if on_left
            else f"{rank:.2f}  {_shortened(labels[j], 30)}",
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
    _title(figure, f"Mean ranks by {_words(metric)} over {data}", note)
    return figure

"""Figures of a search: its trials, its parameters, what several objectives cost each other."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from segexp.config.space import Parameter
from segexp.figures.look import (
    BLACK,
    BLUE,
    CHOSEN,
    GREY,
    LOOK,
    MAX_VECTOR_MARKS,
    SERIES,
    SKY,
    VERMILLION,
    add_legend,
    label_x,
    label_y,
    labelled,
    make_panels,
    set_title,
    shortened,
    words_of,
    wrapped,
)
from segexp.metrics import undominated

_NOTE = (
    "Selection scores: means over the inner folds on which the winner was chosen, "
    "not held-out figures"
)


@matplotlib.rc_context(LOOK)
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
    figure, panels = make_panels(len(studies), width=3.0, height=2.1, most_columns=5, sharey=True)
    for axes, (study, table) in zip(panels, studies.items(), strict=True):
        part = shown.loc[table.index]
        if len(models) > 1:
            # Each model counts its own trials, so that their numbers say nothing of the order.
            part = part.sort_values(["start", "number"]).assign(number=np.arange(len(part)))
        _history(axes, part, models, limits, greater_is_better)
        axes.set_title(study)
        axes.set_ylim(*limits)
    label_y(figure, panels, labelled(metric, greater_is_better))
    label_x(
        figure, panels, "trial number" if len(models) == 1 else "trial, in the order of their start"
    )
    set_title(
        figure,
        f"{words_of(metric).capitalize()} of each trial, and the best so far",
        _NOTE,
    )
    add_legend(figure, panels)
    return figure


@matplotlib.rc_context(LOOK)
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
    axes.set_yticks(where, [shortened(name, 44) for name in table["parameter"]])
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
    set_title(figure, "What the score depends on", note)
    return figure


@matplotlib.rc_context(LOOK)
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
    rasterized = len(done) * len(parameters) > MAX_VECTOR_MARKS
    figure, panels = make_panels(
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
            **CHOSEN,
            label="chosen in its study" if several else "chosen",
        )
        _parameter_axis(axes, parameter)
        axes.set_title("\n".join(wrapped(parameter.name, 30)))
        axes.set_ylim(*limits)
    label_y(figure, panels, labelled(metric, greater_is_better))
    set_title(figure, f"{words_of(metric).capitalize()} by the value of each parameter", _NOTE)
    add_legend(figure, panels)
    return figure


@matplotlib.rc_context(LOOK)
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
        rasterized=len(done) * n > MAX_VECTOR_MARKS,
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
        x, ["\n".join(wrapped(parameter.name, 28 if narrow else 20)) for parameter in parameters]
    )
    if narrow:
        for label in axes.get_xticklabels():
            label.set(rotation=50, ha="right", rotation_mode="anchor")
    figure.colorbar(
        lines,
        ax=axes,
        label=labelled(metric, greater_is_better),
        pad=0.01,
        aspect=30,
        extend="min" if greater_is_better else "max",
    )
    set_title(figure, f"The parameters of each trial, coloured by {words_of(metric)}", _NOTE)
    return figure


@matplotlib.rc_context(LOOK)
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
    figure, panels = make_panels(
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
        axes.scatter(x[picked], y[picked], **CHOSEN, label="chosen")
        axes.set_title(study)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(*limits[first])
        axes.set_ylim(*limits[second])
        _say_what_is_beyond(axes, x, y)
        if len(pairs) > 1:
            axes.set_xlabel(labelled(first, metrics[first]))
            axes.set_ylabel(labelled(second, metrics[second]))
    if len(pairs) == 1:
        (first, second) = pairs[0]
        label_x(figure, panels, labelled(first, metrics[first]))
        label_y(figure, panels, labelled(second, metrics[second]))
    set_title(figure, "What the objectives cost each other", _NOTE)
    add_legend(figure, panels)
    return figure


# ---- marks and axes that several figures share -------------------------------------------------


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
            color=SERIES[i % len(SERIES)],
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
    axes.scatter(number[chosen], clipped[chosen], **CHOSEN, label="chosen")
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
        words = [shortened(_word(choice), 16) for choice in parameter.choices]
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
                shortened(word, length),
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


def _word(choice: Any) -> str:
    """Return a choice as YAML writes it."""
    return choice if isinstance(choice, str) else json.dumps(choice)

"""What a report says of a search: what was tried, what was chosen, and what it is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import segexp.runs as runs
from segexp.metrics import metric_by_name, undominated
from segexp.report.page import (
    Block,
    Cell,
    Details,
    Fact,
    Facts,
    Figure,
    Section,
    Table,
    Text,
    shown,
)
from segexp.report.source import Source

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib import figure as drawn

    from segexp.search.space import SearchSpace

MOST_TRIALS = 60  # rows of the table of trials
MOST_DRAWN = 12  # parameters that a figure of slices has room for
_ON = "selection scores: on inner folds of the training rows, by which the winner was chosen"


def search_sections(source: Source) -> list[Section]:
    """Return the section of a search; none of a run without one."""
    if source.manifest["search"] == "none":
        return []
    found = source.search
    if found is None and source.is_missing(runs.SEARCH) and source.is_finished:
        return []  # one that needs no trials, such as a verdict on the number of segments
    if found is None:
        why = f"The record of the search cannot be shown: {source.why(runs.SEARCH)}."
        return [Section("search", "Search", [Text(why, "note")])]
    blocks: list[Block] = [Text(_done(source, found)), *_scores(source, found)]
    blocks += _choices(source, found)
    blocks += _figures(source, found)
    blocks += _front(source, found)
    blocks += _trials(source, found)
    return [Section("search", "Search", blocks)]


def selection_score(source: Source) -> float | None:
    """Return the mean over outer folds of what their searches chose by; None without a search."""
    found = source.search
    if found is None or not found.get("metrics"):
        return None
    values = _selected(found, str(found["metrics"][0]))
    return sum(values) / len(values) if values else None


def _selected(found: Mapping[str, Any], metric: str) -> list[float]:
    own = [c["values"].get(metric) for c in found["choices"] if c["rows"] != runs.FINAL]
    return [] if None in own else [float(value) for value in own]


def _done(source: Source, found: Mapping[str, Any]) -> str:
    config = (source.config or {}).get("search", {})
    states = [choice["states"] for choice in found["choices"]]
    n_trials = sum(sum(state.values()) for state in states)
    sampler = config.get("sampler", source.manifest["search"])
    inner = config.get("inner_splits")
    folds = f" on {inner} inner folds" if inner else ""
    return (
        f"{n_trials:,} trials of the sampler {sampler} in {len(states)} searches: each outer fold "
        f"has its own, which sees its training rows only and judges every trial{folds}; one more, "
        f"on all rows, chooses the parameters of the saved model. So the held-out figures of this "
        f"report are those of the whole procedure, search included."
    )


def _scores(source: Source, found: Mapping[str, Any]) -> list[Block]:
    metric = str(found["metrics"][0])
    chosen_by = selection_score(source)
    honest = ((source.summary or {}).get(metric) or {}).get("mean")
    if chosen_by is None or honest is None:
        return []
    label = metric_by_name(metric).label
    n = len(_selected(found, metric))
    return [
        Facts(
            [
                Fact(f"{label} on held-out customers", f"{honest:.4f}", "the honest figure"),
                Fact(
                    f"selection {label}", f"{chosen_by:.4f}",
                    f"mean of {n} searches; what the parameters were chosen by, no estimate",
                ),
                Fact("difference", f"{chosen_by - honest:+.4f}", "selection minus held out"),
            ]
        )
    ]  # fmt: skip


def _choices(source: Source, found: Mapping[str, Any]) -> list[Block]:
    metric = str(found["metrics"][0])
    held_out = _by_fold(source, metric)
    several = len({choice["model"] for choice in found["choices"]}) > 1
    rows = []
    for choice in found["choices"]:
        states = choice["states"]
        failed = states.get("FAIL", 0) + states.get("INVALID", 0)
        rows.append(
            [
                rows_text(choice["rows"]), sum(states.values()), states.get("COMPLETE", 0),
                states.get("PRUNED", 0), failed, _fixed(choice["values"].get(metric)),
                _fixed(held_out.get(choice["rows"])), *([choice["model"]] if several else []),
                str(choice["stopped_by"]),
            ]
        )  # fmt: skip
    searches = Table(
        columns=(
            "search on", "trials", "done", "pruned", "failed", f"selection {metric}",
            f"held-out {metric}", *(["model"] if several else []), "ended by",
        ),
        rows=rows, numeric=range(1, 7),
        caption="Each search, and what its choice is worth on the held-out rows of its fold",
    )  # fmt: skip
    return [searches, _parameters_table(found["choices"])]


def _parameters_table(choices: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for choice in choices for name in choice["params"])
    rows = [
        [name, *(_short(choice["params"].get(name, "–")) for choice in choices)] for name in names
    ]
    if any(choice.get("n_iterations") is not None for choice in choices):
        rounds = (choice.get("n_iterations") for choice in choices)
        rows.append(["rounds, by early stopping", *map(shown, rounds)])
    return Table(
        columns=("parameter", *(rows_text(choice["rows"]) for choice in choices)),
        rows=rows, sortable=False, numeric=range(1, len(choices) + 1),
        caption="The parameters that each search chose",
    )  # fmt: skip


def _fixed(value: Any) -> Cell:
    found = _finite(value)
    return Cell("–") if found is None else Cell(f"{found:.4f}", found)


def _by_fold(source: Source, metric: str) -> dict[str, float]:
    if source.scores is None:
        return {}
    own = source.scores[source.scores["metric"] == metric]
    return {
        f"repeat{repeat}-fold{fold}": float(value)
        for repeat, fold, value in zip(own["repeat"], own["fold"], own["value"], strict=True)
    }


def rows_text(rows: str) -> str:
    """Say in words which rows a search saw."""
    if rows == runs.FINAL:
        return "all rows (saved model)"
    return rows.replace("repeat0-", "").replace("-", ", ").replace("fold", "fold ")


def _parameters(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in params.items()) or "as they are"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# ---- figures -----------------------------------------------------------------------------------


def _figures(source: Source, found: Mapping[str, Any]) -> list[Block]:
    metric = str(found["metrics"][0])
    words = _words_of_figures(metric)
    names = [name for name in source.figures() if _kind_of(name) in words] or list(_FIRST)
    made: list[Block] = []
    behind: list[Block] = []
    for name in sorted(names, key=lambda n: (list(words).index(_kind_of(n)), n)):
        content = source.picture(name, partial(_draw, source, found, name))
        if content is None:
            continue
        alt, caption = words[_kind_of(name)]
        model = name.partition("-")[2]
        figure = Figure(name, content, f"{alt}{f' Model: {model}.' if model else ''}", caption)
        (behind if _kind_of(name) == "parallel_coordinates" else made).append(figure)
    if not made and not behind:
        made.append(Text("The figures of the search are gone and cannot be made again.", "note"))
    if behind:
        made.append(Details("All parameters of the trials at once", behind))
    return made


_FIRST = ("optimisation_history", "pareto", "slices")


def _kind_of(name: str) -> str:
    return name.partition("-")[0]


def _words_of_figures(metric: str) -> dict[str, tuple[str, str]]:
    """Alt text and caption of each kind of figure, in the order in which they are shown."""
    return {
        "optimisation_history": (
            f"The {metric} of every trial in the order in which they were made, a panel for each "
            "search, with the best so far as a line and the chosen trial as a star.",
            f"Every trial of every search; {_ON}.",
        ),
        "pareto": (
            "Trials by two objectives; those that no other beats in both are joined by a line.",
            f"What the objectives cost each other; {_ON}.",
        ),
        "parameter_importance": (
            "Bars: the share of the variance of the score that each parameter explains.",
            f"How much each parameter matters (fANOVA over the trials); {_ON}.",
        ),
        "slices": (
            f"A panel for each parameter: the {metric} of the trials by the parameter's value.",
            f"The score by the value of each parameter; {_ON}.",
        ),
        "parallel_coordinates": (
            "Each trial as a line through its values of all parameters, coloured by its score.",
            f"Trials through all their parameters; {_ON}.",
        ),
    }


def _draw(source: Source, found: Mapping[str, Any], name: str) -> drawn.Figure:
    """Draw a figure again from the table of trials.

    Raises
    ------
    ValueError
        If it cannot be drawn from it.
    """
    from segexp.figures import search as figures
    from segexp.search.importance import study_importances, summarise_importances

    trials = source.trials
    if trials is None:
        raise ValueError("there are no trials")
    metrics = [str(metric) for metric in found["metrics"]]
    metric, better = metrics[0], metric_by_name(metrics[0]).greater_is_better
    kind, _, model = name.partition("-")
    if kind == "optimisation_history":
        return figures.optimisation_history(trials, metric, better)
    if kind == "pareto" and found["n_objectives"] > 1:
        names = metrics[: found["n_objectives"]]
        return figures.pareto(trials, {m: metric_by_name(m).greater_is_better for m in names})
    space = _space(source, model)
    own = trials[trials["model"] == model] if model else trials
    if kind == "parameter_importance":
        return figures.parameter_importance(summarise_importances(study_importances(own, space)))
    if kind == "slices":
        return figures.slices(own, space.parameters[:MOST_DRAWN], metric, better)
    if kind == "parallel_coordinates":
        return figures.parallel_coordinates(own, space.parameters[:MOST_DRAWN], metric, better)
    raise ValueError(f"the figure {name} is not known")


def _space(source: Source, model: str) -> SearchSpace:
    from segexp.config.space import parse_space
    from segexp.search.space import join_spaces

    config = source.config or {}
    search = config.get("search", {})
    node = search["candidates"][model] if model else config["model"]
    tuned = config["preprocessing"]["space"] if search.get("tune_preprocessing") else {}
    return join_spaces(
        parse_space(node["space"], "model.space"), parse_space(tuned, "preprocessing.space")
    )


# ---- trials ------------------------------------------------------------------------------------


def _front(source: Source, found: Mapping[str, Any]) -> list[Block]:
    """Return the trials that no other beats in all objectives, where there are several."""
    objectives = [str(m) for m in found["metrics"][: found["n_objectives"]]]
    trials = source.trials
    if len(objectives) < 2 or trials is None or not found["choices"]:
        return []
    rows = found["choices"][-1]["rows"]  # of the saved model, if there is one
    known = (trials["state"] == "COMPLETE") & trials["feasible"] & trials["duplicate_of"].isna()
    done = trials[known & (trials["study"] == rows)]
    values = [f"value[{name}]" for name in objectives]
    signs = [1.0 if metric_by_name(name).greater_is_better else -1.0 for name in objectives]
    front = done[undominated(done[values].to_numpy(dtype=float) * signs)]
    front = front.sort_values([values[0], "number"], ascending=[signs[0] < 0, True])
    return [
        Table(
            columns=("trial", *objectives, "model", "parameters"),
            rows=[
                [
                    Cell(str(t["number"]), int(t["number"]), mark="chosen" if t["chosen"] else ""),
                    *(t[value] for value in values), t["model"], _params_of(t),
                ]
                for t in front.to_dict("records")
            ],
            numeric=range(len(objectives) + 1),
            caption=f"Pareto front on {rows_text(rows)}: no trial beats these in all objectives",
        )
    ]  # fmt: skip


def _trials(source: Source, found: Mapping[str, Any]) -> list[Block]:
    trials = source.trials
    if trials is None:
        return [Text(f"The trials cannot be shown: {source.why(runs.TRIALS)}.", "note")]
    metric = str(found["metrics"][0])
    sign = -1.0 if metric_by_name(metric).greater_is_better else 1.0
    order = (sign * trials["value"].astype(float)).sort_values(na_position="last", kind="stable")
    best = trials.loc[order.index].head(MOST_TRIALS)
    n = len(trials)
    what = f"All {n:,} trials" if n <= MOST_TRIALS else f"The best {MOST_TRIALS} of {n:,} trials"
    return [Details(f"{what}, the best first", [_trials_table(best, metric)])]


def _trials_table(trials: pd.DataFrame, metric: str) -> Table:
    records = trials.to_dict("records")
    params = [_read_params(trial) for trial in records]
    names = list(dict.fromkeys(name for found in params for name in found))
    wide = len(names) <= MOST_DRAWN
    rows = [
        [
            rows_text(str(t["study"])),
            Cell(str(t["number"]), int(t["number"]), mark="chosen" if t["chosen"] else ""),
            str(t["state"]).lower(), _fixed(t["value"]), _finite(t["seconds"]),
            *([_short(own.get(name, "–")) for name in names] if wide else [_parameters(own)]),
        ]
        for t, own in zip(records, params, strict=True)
    ]  # fmt: skip
    return Table(
        columns=("search on", "trial", "state", f"selection {metric}", "seconds",
                 *(names if wide else ["parameters"])),
        rows=rows, numeric=(1, 3, 4), caption=f"Trials: {_ON}",
    )  # fmt: skip


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _params_of(trial: Mapping[Any, Any]) -> str:
    return _parameters(_read_params(trial))


def _read_params(trial: Mapping[Any, Any]) -> dict[str, Any]:
    params = json.loads(trial["params"])
    return params if isinstance(params, dict) else {}

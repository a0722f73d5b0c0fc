"""What is to be said and shown of a finished search; a pure function of its trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from segexp.metrics import metric_by_name
from segexp.search.checks import Check, check_search
from segexp.search.importance import study_importances, summarise_importances
from segexp.search.space import SearchSpace

MOST_DRAWN = 12  # parameters that a figure of slices has room for


@dataclass(frozen=True)
class Examination:
    """What a search leaves beside its trials."""

    checks: tuple[Check, ...]
    figures: Mapping[str, bytes]  # by file name


def examine_search(
    trials: pd.DataFrame,
    spaces: Mapping[str, SearchSpace],
    metrics: Sequence[str],
    outer_scores: Sequence[float],
    outer_splits: int,
    go_on: str,
) -> Examination:
    """Check a search and draw its figures.

    Parameters
    ----------
    trials : DataFrame
        One row per trial of every study.
    spaces : mapping of model name to SearchSpace
    metrics : sequence of str
        The objectives, the first of which decides.
    outer_scores : sequence of float
        The first objective on the held-out rows of each outer split.
    outer_splits : int
        Folds of one repeat of the outer protocol.
    go_on : str
        Words that give the search more of what ended it.
    """
    # Here, so that only a process that draws loads matplotlib.
    from segexp.figures.look import render
    from segexp.figures.search import (
        optimisation_history,
        parallel_coordinates,
        parameter_importance,
        slices,
    )
    from segexp.figures.search import pareto as draw_pareto

    metric, better = metrics[0], metric_by_name(metrics[0]).greater_is_better
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.simplefilter("ignore", UserWarning)
        found = {
            model: study_importances(trials[trials["model"] == model], space)
            for model, space in spaces.items()
        }
        checks = check_search(
            trials, spaces, found, metric, better, outer_scores, outer_splits, go_on
        )
        figures = {"optimisation_history": optimisation_history(trials, metric, better)}
        if len(metrics) > 1:
            directions = {name: metric_by_name(name).greater_is_better for name in metrics}
            figures["pareto"] = draw_pareto(trials, directions)
        for model, space in spaces.items():
            own = trials[trials["model"] == model]
            name = f"-{model}" if len(spaces) > 1 else ""
            if not space.parameters or not (own["state"] == "COMPLETE").any():
                continue
            importances = summarise_importances(found[model])
            if len(importances):
                figures[f"parameter_importance{name}"] = parameter_importance(importances)
            shown = space.parameters[:MOST_DRAWN]
            figures[f"slices{name}"] = slices(own, shown, metric, better)
            drawn = parallel_coordinates(own, shown, metric, better)
            figures[f"parallel_coordinates{name}"] = drawn
        files = {
            f"{name}.{kind}": content
            for name, figure in figures.items()
            for kind, content in render(figure).items()
        }
    return Examination(tuple(checks), files)

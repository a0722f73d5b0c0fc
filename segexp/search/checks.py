"""What is suspicious about a search: small functions that look at its trials.

Each returns a :class:`Check` or None. They read the trials table; ``trials`` may hold several
studies, whose winners are marked ``chosen``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from segexp.config.space import Parameter
from segexp.runs import FINAL
from segexp.search.fitting import FAIL, INVALID
from segexp.search.importance import summarise_importances
from segexp.search.space import PREPROCESSING, SearchSpace


@dataclass(frozen=True)
class Check:
    """One finding: what was seen, and what one may do about it (may be empty)."""

    code: str
    message: str
    advice: str


def check_search(
    trials: pd.DataFrame,
    spaces: Mapping[str, SearchSpace],
    importances: Mapping[str, pd.DataFrame],
    metric: str,
    greater_is_better: bool,
    outer_scores: Sequence[float] = (),
    outer_splits: int = 0,
    go_on: str = "",
) -> list[Check]:
    """Run every check.

    Parameters
    ----------
    trials : DataFrame
        The trials table of a run.
    spaces : mapping of model name to SearchSpace
        One, or one for each model that competes.
    importances : mapping of model name to DataFrame
        Of the parameters in each study, by :func:`segexp.search.importance.study_importances`.
    metric : str
        The first objective, whose means over inner folds are the table's ``value``.
    greater_is_better : bool
    outer_scores : sequence of float
        The same metric on each held-out outer fold; empty if there are none.
    outer_splits : int
        Folds of one repeat of the outer protocol.
    go_on : str
        Words that give the search more of what ended it.

    Returns
    -------
    list of Check
    """
    found: list[Check | None] = []
    for model, space in spaces.items():
        own = trials[trials["model"] == model]
        node = "model" if len(spaces) == 1 else f"search.candidates.{model}"
        found += edge_of_range(own, space, node)
        found.append(no_effect(own, importances[model], node))
        found.append(unstable_choice(own, space, importances[model]))
    found.append(not_better_than_default(trials, metric, greater_is_better))
    found.append(still_improving(trials, greater_is_better, go_on))
    found.append(constraint_missed(trials))
    found.append(many_failures(trials))
    outer_winners = _winners(trials)[lambda winners: winners["study"] != FINAL]
    if len(outer_winners) and len(outer_scores):
        selection = float(outer_winners["value"].mean())
        found.append(
            selection_optimism(selection, outer_scores, outer_splits, metric, greater_is_better)
        )
    return [check for check in found if check is not None]


def edge_of_range(trials: pd.DataFrame, space: SearchSpace, node: str = "model") -> list[Check]:
    """Winners lie at an end of a range, in ``final`` or in half of the studies: one check per end.

    "At" is within 2% of the range, on its own scale. An end at 0, and one at 1 that is not of a
    log range, are left alone: they are most often where a share, a count or a penalty ends.
    """
    winners = _winners(trials)
    params = [json.loads(text) for text in winners["params"]]
    found = []
    for parameter in space.parameters:
        shares = _shares(parameter, params)
        has = ~np.isnan(shares)
        if parameter.type == "categorical" or not has.any():
            continue
        for end, at_end in (("low", shares <= 0.02), ("high", shares >= 0.98)):
            value = float(getattr(parameter, end))
            if value == 0 or (value == 1 and not (parameter.log and parameter.type == "float")):
                continue
            final = bool((at_end & (winners["study"] == FINAL).to_numpy()).any())
            n = int(at_end.sum())
            if final or 2 * n >= len(winners):
                where = f"{n} of {len(winners)} studies" + (", among them final," if final else "")
                found.append(
                    Check(
                        "edge_of_range",
                        f"the best {parameter.name} of {where} lies at the {end} end of its range, "
                        f"{value:g}, so that a better value may lie beyond",
                        f"widen the range: {_space_path(node, parameter.name)}.{end}="
                        f"{_widened(parameter, end):g}",
                    )
                )
    return found


def not_better_than_default(
    trials: pd.DataFrame, metric: str, greater_is_better: bool
) -> Check | None:
    """The winners cannot be told from the model as configured by their scores on inner folds.

    The corrected resampled t-test of Nadeau and Bengio (2003), paired by inner fold and pooled over
    studies, one-sided at 5%. A winner was selected for these very scores, so that the test is
    optimistic: it stays silent too often, and where it speaks the search found very little.
    """
    differences: list[float] = []
    n_folds = 0
    for winner in _winners(trials).to_dict("records"):
        start = trials[
            (trials["study"] == winner["study"])
            & (trials["model"] == winner["model"])
            & (trials["origin"] == "default")
            & (trials["state"] == "COMPLETE")
        ]
        if len(start) and len(start["fold_values"].iloc[0]) == len(winner["fold_values"]):
            before = np.asarray(start["fold_values"].iloc[0], dtype=float)
            differences += (np.asarray(winner["fold_values"], dtype=float) - before).tolist()
            n_folds = len(before)
    if n_folds < 2:
        return None
    gains = np.array(differences) if greater_is_better else -np.array(differences)
    gain = float(gains.mean())
    error = standard_error(gains, n_folds)
    if error == 0:
        p_value = 0.0 if gain > 0 else 1.0
    else:
        p_value = float(stats.t.sf(gain / error, df=len(gains) - 1))
    if p_value < 0.05:
        return None
    return Check(
        "not_better_than_default",
        f"the search gained {gain:.4f} {metric.replace('_', ' ')} over the model as configured on "
        f"the inner folds, which may be noise (p = {p_value:.2f})",
        "keep the model as configured (search=none), or search longer",
    )


def still_improving(trials: pd.DataFrame, greater_is_better: bool, go_on: str = "") -> Check | None:
    """The best value was still getting better in the last fifth of the trials of most studies.

    Studies of fewer than ten trials are too short to say, and a grid has an end.

    Parameters
    ----------
    go_on : str
        Words that give the search more of what ended it.
    """
    rising = judged = 0
    for winner in _winners(trials).to_dict("records"):
        asked = trials[
            (trials["study"] == winner["study"]) & trials["origin"].isin(["default", "sampler"])
        ]
        own = asked[asked["model"] == winner["model"]].sort_values("number")
        if len(own) < 10:
            continue
        judged += 1
        scores = own["value"].where(own["feasible"]).to_numpy(dtype=float)
        scores = np.nan_to_num(scores if greater_is_better else -scores, nan=-np.inf)
        early = math.ceil(0.8 * len(own))
        rising += bool(scores[early:].max() > scores[:early].max())
    if not judged or 2 * rising <= judged:
        return None
    return Check(
        "still_improving",
        f"the best value was still getting better in the last fifth of the trials of {rising} of "
        f"{judged} studies",
        f"go on: segexp resume DIR {go_on}" if go_on else "search longer",
    )


def no_effect(trials: pd.DataFrame, importances: pd.DataFrame, node: str = "model") -> Check | None:
    """Parameters on which less than 1% of the variance of the score depends, in every study.

    Only where each study has 20 completed trials or more.

    Parameters
    ----------
    importances : DataFrame with columns ``study, parameter, importance``
    """
    complete = trials[trials["state"] == "COMPLETE"].groupby("study").size()
    if complete.empty or complete.min() < 20 or importances.empty:
        return None
    most = importances.groupby("parameter", sort=False)["importance"].agg(["max", "count"])
    idle = most.index[(most["max"] < 0.01) & (most["count"] == len(complete))].tolist()
    if not idle:
        return None
    params = json.loads(_winners(trials)["params"].iloc[-1]) if len(_winners(trials)) else {}
    words = " ".join(_fixed(node, name, params) for name in idle)
    return Check(
        "no_effect",
        f"the score does not depend on {', '.join(idle)}: less than 1% of its variance in each of "
        f"{len(complete)} studies",
        f"fix what has no effect, to search the rest more densely: {words}",
    )


def constraint_missed(trials: pd.DataFrame) -> Check | None:
    """No trial of some study met the constraints, so that the one that missed them least won."""
    winners = _winners(trials)
    missed = int((~winners["feasible"].astype(bool)).sum())
    if not missed:
        return None
    return Check(
        "constraint_missed",
        f"no trial met search.constraints in {missed} of {len(winners)} studies; the one that "
        f"missed them by least was chosen there",
        "loosen the constraint, or search longer",
    )


def many_failures(trials: pd.DataFrame) -> Check | None:
    """More than a fifth of the trials failed or were invalid; names the commonest causes."""
    trials = trials[trials["duplicate_of"].isna()]
    failed = trials[trials["state"].isin([FAIL, INVALID])]
    if 5 * len(failed) <= len(trials):
        return None
    causes = Counter(str(cause).splitlines()[0][:100] for cause in failed["cause"])
    listed = "; ".join(f"{n} × {cause}" for cause, n in causes.most_common(3))
    others = f"; {len(causes) - 3} other causes" if len(causes) > 3 else ""
    return Check(
        "many_failures",
        f"{len(failed)} of {len(trials)} trials gave no score: {listed}{others}",
        "take the values that fail out of the space",
    )


def unstable_choice(
    trials: pd.DataFrame, space: SearchSpace, importances: pd.DataFrame
) -> Check | None:
    """The studies chose very different values of the most important parameter.

    Over more than half of its range, on its own scale; for a categorical one, no value was chosen
    by half of the studies. For information: scores may be flat where choices differ.

    Parameters
    ----------
    importances : DataFrame with columns ``study, parameter, importance``
    """
    winners = _winners(trials)
    if importances.empty or len(winners) < 3:
        return None
    name = summarise_importances(importances)["parameter"].iloc[0]
    (parameter,) = (parameter for parameter in space.parameters if parameter.name == name)
    params = [p for text in winners["params"] if name in (p := json.loads(text))]
    if len(params) < 3:
        return None
    if parameter.type == "categorical":
        chosen = Counter(json.dumps(p[name]) for p in params)
        unstable = 2 * max(chosen.values()) < len(params)
        values = ", ".join(chosen)
    else:
        unstable = bool(np.ptp(_shares(parameter, params)) > 0.5)
        values = f"{min(p[name] for p in params):.4g} to {max(p[name] for p in params):.4g}"
    if not unstable:
        return None
    return Check(
        "unstable_choice",
        f"the studies chose very different values of {name}, on which the score depends most: "
        f"{values}",
        "",
    )


def selection_optimism(
    selection: float,
    outer_scores: Sequence[float],
    outer_splits: int,
    metric: str,
    greater_is_better: bool,
) -> Check | None:
    """The winners' selection scores are better than the held-out ones by over two standard errors.

    Parameters
    ----------
    selection : float
        Mean selection score of the outer folds' winners.
    outer_scores : sequence of float
        Score on each held-out outer fold; with fewer than two there is no spread to judge by.
    outer_splits : int
        Folds of one repeat, two or more.
    """
    if len(outer_scores) < 2 or outer_splits < 2:
        return None
    outer = float(np.mean(outer_scores))
    gap = selection - outer if greater_is_better else outer - selection
    if gap <= 2 * standard_error(np.asarray(outer_scores, dtype=float), outer_splits):
        return None
    return Check(
        "selection_optimism",
        f"the winners scored {selection:.4f} {metric.replace('_', ' ')} where they were selected "
        f"and {outer:.4f} on held-out folds, more than two standard errors worse: the search "
        f"fitted the inner folds",
        "judge trials on more rows (search.inner_splits=10), or try fewer of them",
    )


def standard_error(values: NDArray[np.float64], n_splits: int) -> float:
    """Standard error of a mean over folds that share training rows.

    That of Nadeau and Bengio: ``sqrt((1 / n + n_test / n_train) * variance)``.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    n_splits : int
        Folds of one repeat, so that ``n_test / n_train`` is ``1 / (n_splits - 1)``.

    References
    ----------
    Nadeau, Bengio (2003). Inference for the generalization error. Machine Learning 52.

    Examples
    --------
    >>> round(standard_error(np.array([0.0, 1.0, 2.0]), 3), 4)
    0.9129
    """
    return math.sqrt((1 / len(values) + 1 / (n_splits - 1)) * float(np.var(values, ddof=1)))


def _winners(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["chosen"] & (trials["state"] == "COMPLETE")]


def _shares(parameter: Parameter, params: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Where values lie in a range, from 0 to 1 on its own scale; NaN where there is none."""
    if parameter.type == "categorical" or parameter.low == parameter.high:
        return np.full(len(params), math.nan)
    low, high = float(parameter.low or 0), float(parameter.high or 0)
    values = np.array([p.get(parameter.name, math.nan) for p in params], dtype=float)
    if parameter.log:
        low, high, values = math.log(low), math.log(high), np.log(values)
    return (values - low) / (high - low)


def _widened(parameter: Parameter, end: str) -> float:
    """Return an end farther out: twice as far on a log scale, half the range on a plain one."""
    low, high = float(parameter.low or 0), float(parameter.high or 0)
    if parameter.log:
        value = low / 2 if end == "low" else high * 2
    else:
        step = parameter.step or 0
        reach = max(1, round((high - low) / 2 / step)) * step if step else (high - low) / 2
        value = low - reach if end == "low" else high + reach
        if end == "low" and low > 0 >= value:
            value = low / 2
    if parameter.type == "int":
        return max(1, math.floor(value)) if low > 0 else math.floor(value)
    return float(f"{value:.3g}")


def _space_path(node: str, name: str) -> str:
    if name.startswith(PREPROCESSING):
        return f"{PREPROCESSING}space.{name.removeprefix(PREPROCESSING)}"
    return f"{node}.space.{name}"


def _fixed(node: str, name: str, params: Mapping[str, Any]) -> str:
    """Return the command word that takes a parameter out of the search."""
    if name.startswith(PREPROCESSING) or name not in params:
        return f"~{_space_path(node, name)}"
    value = params[name]
    text = f"{value:.3g}" if isinstance(value, float) else json.dumps(value).replace('"', "")
    return f"{node}.estimator.{name.replace('__', '.')}={text}"

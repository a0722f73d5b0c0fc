"""Which parameters the score of a search depends on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from segexp.errors import ConfigError
from segexp.search.space import SearchSpace

# With fewer scores a forest of trees finds importance in noise.
MIN_TRIALS = 10


def study_importances(trials: pd.DataFrame, space: SearchSpace) -> pd.DataFrame:
    """Importance of each parameter in each study: its share of the variance of the score.

    Parameters
    ----------
    trials : DataFrame
        The trials table of one model, of one study or of several.
    space : SearchSpace
        The model's.

    Returns
    -------
    DataFrame with columns ``study, parameter, importance``
        One row per study and parameter that can be judged. A study with fewer than
        ``MIN_TRIALS`` different completed trials, or whose trials all score the same, has none.

    Notes
    -----
    Optuna's fANOVA: a random forest learns the score from the parameters, and the variance of its
    predictions is divided among them (main effects only, scaled to a sum of 1). On one made-up
    function, in searches of 60 trials (12 seeds), the three parameters that mattered got 0.94
    (random) and 0.76 (tpe) of the importance beside four that did not; from PED-ANOVA as Optuna
    sets it 0.70 and 0.51. With outliers among the scores fANOVA is worse, and in searches of 20
    trials both are rough: look at the spread over studies.

    A parameter with a condition is judged among the trials that have it, so that the importances
    of a study with conditions need not add up to 1.
    """
    rows = [
        (study, parameter, importance)
        for study, table in trials.groupby("study", sort=False)
        for parameter, importance in _importances(table, space).items()
    ]
    return pd.DataFrame(rows, columns=["study", "parameter", "importance"])


def summarise_importances(by_study: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over studies, the most important parameter first.

    Parameters
    ----------
    by_study : DataFrame with columns ``study, parameter, importance``

    Returns
    -------
    DataFrame with columns ``parameter, mean, std, n_studies``
        ``std`` is missing for a parameter that one study judged. Studies share rows, so it is
        not a confidence interval.
    """
    groups = by_study.groupby("parameter", sort=False)["importance"]
    table = pd.DataFrame(
        {"mean": groups.mean(), "std": groups.std(), "n_studies": groups.count()}
    ).sort_values("mean", ascending=False, kind="stable")
    return table.rename_axis("parameter").reset_index()


def _importances(table: pd.DataFrame, space: SearchSpace) -> dict[str, float]:
    scored = table[(table["state"] == "COMPLETE") & table["duplicate_of"].isna()]
    distributions = space.distributions()
    trials = [
        trial
        for text, value in zip(scored["params"], scored["value"], strict=True)
        if (trial := _frozen(json.loads(text), value, space, distributions)) is not None
    ]
    has = {
        name: np.array([name in trial.params for trial in trials], dtype=bool)
        for name, distribution in distributions.items()
        if not distribution.single()
    }
    # Trials with the same parameters are judged together, once.
    groups: dict[bytes, list[str]] = {}
    for name, mask in has.items():
        groups.setdefault(mask.tobytes(), []).append(name)
    found: dict[str, float] = {}
    for names in groups.values():
        mask = has[names[0]]
        present = [name for name in has if bool(has[name][mask].all())]
        found |= _judge([trials[i] for i in np.flatnonzero(mask)], names, present)
    return {name: found[name] for name in distributions if name in found}


def _frozen(
    params: dict[str, object],
    value: float,
    space: SearchSpace,
    distributions: dict[str, BaseDistribution],
) -> FrozenTrial | None:
    """Return the trial, or None for one of an earlier, wider space."""
    try:
        stored = space.encode(params)
        known = {name: distributions[name] for name in stored}
        return optuna.trial.create_trial(params=stored, distributions=known, value=value)
    except (ConfigError, ValueError):
        return None


def _judge(trials: list[FrozenTrial], names: list[str], present: list[str]) -> dict[str, float]:
    values: NDArray[np.float64] = np.array([trial.value for trial in trials], dtype=float)
    if len(trials) < MIN_TRIALS or np.ptp(values) == 0:
        return {}
    with _quiet():
        study = optuna.create_study(direction="maximize")
        study.add_trials(trials)
    evaluator = FanovaImportanceEvaluator(n_trees=32, max_depth=8, seed=0)
    shares = get_param_importances(study, evaluator=evaluator, params=present, normalize=True)
    return {name: float(shares[name]) for name in names}


@contextmanager
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

"""Pruning by inner fold: a trial that falls behind is not run to its end.

A pruner sees only the trials that were told when the trial in question was asked for. Whatever
finished in the meantime is left out, so that its verdict does not depend on how fast anybody was.
"""

from __future__ import annotations

import math
import statistics
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import WilcoxonPruner
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from segexp.config.schema import SearchConfig

WILCOXON_P = 0.1  # one-sided; four folds in a row lost reach 1/16
REDUCTION = 3  # hyperband keeps one of so many


class FoldPruner:
    """The pruning rules of Optuna, over the inner folds of trials.

    ``median`` compares the mean over the folds so far with the median of that mean over earlier
    trials [1]_; ``wilcoxon`` compares fold by fold with the best trial, by Wilcoxon's signed-rank
    test; ``hyperband`` keeps the best third of what has come as far, by asynchronous successive
    halving [2]_ in the brackets of Hyperband [3]_.

    Verdicts are those of Optuna's pruners, but each takes time in proportion to the trials alone:
    Optuna's Hyperband looks through the whole study at each rung of each trial.

    References
    ----------
    .. [1] Golovin et al. (2017). Google Vizier: a service for black-box optimization. KDD.
    .. [2] Li, Jamieson et al. (2020). A system for massively parallel hyperparameter tuning. MLSys.
    .. [3] Li, Jamieson et al. (2018). Hyperband: a novel bandit-based approach to hyperparameter
       optimization. JMLR 18(185), 1-52.
    """

    def __init__(self, config: SearchConfig, direction: StudyDirection, study_name: str) -> None:
        self._config = config
        self._direction = direction
        self._sign = 1.0 if direction is StudyDirection.MAXIMIZE else -1.0
        self._study_name = study_name

    def prune(
        self,
        number: int,
        fold_values: Sequence[float],
        completed: Mapping[int, Sequence[float]],
        pruned: Mapping[int, Sequence[float]],
    ) -> bool:
        """Say whether a trial is to be given up.

        Parameters
        ----------
        number : int
            Of the trial.
        fold_values : sequence of float
            Its values so far, in the order of folds.
        completed, pruned : mapping of trial number to fold values
            Trials that were told before this one was asked for.
        """
        name, n_folds = self._config.pruner, len(fold_values)
        started = len(completed) >= max(self._config.prune_startup, 1)
        if name == "none" or not started or n_folds <= self._config.prune_warmup:
            return False
        if name == "hyperband":
            return self._hyperband(number, fold_values, {**completed, **pruned})
        if name == "wilcoxon":
            return self._wilcoxon(fold_values, completed.values())
        others = statistics.median(self._level(values, n_folds) for values in completed.values())
        return self._level(fold_values, n_folds) < others

    def _level(self, fold_values: Sequence[float], n_folds: int) -> float:
        """Return the mean over the first folds; more is better."""
        return self._sign * sum(fold_values[:n_folds]) / n_folds

    def _wilcoxon(self, fold_values: Sequence[float], completed: Iterable[Sequence[float]]) -> bool:
        best = max(completed, key=lambda values: self._level(values, len(values)))
        one, other = (
            create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(values)))
            for values in (fold_values, best)
        )
        # All that this pruner asks of a study.
        study = SimpleNamespace(direction=self._direction, best_trial=other)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            pruner = WilcoxonPruner(p_threshold=WILCOXON_P, n_startup_steps=2)
        return pruner.prune(cast(optuna.Study, cast(Any, study)), one)

    def _hyperband(
        self, number: int, fold_values: Sequence[float], earlier: Mapping[int, Sequence[float]]
    ) -> bool:
        """Say whether a trial that stands on a rung is not among the best third there."""
        bracket, n_folds = self._bracket(number), len(fold_values)
        rung = bracket
        while 1 + REDUCTION**rung < n_folds:
            rung += 1
        if 1 + REDUCTION**rung != n_folds:
            return False
        own = self._level(fold_values, n_folds)
        on_rung = [
            self._level(values, n_folds)
            for other, values in earlier.items()
            if len(values) >= n_folds and self._bracket(other) == bracket
        ]
        on_rung = sorted([*on_rung, own], reverse=True)
        return own < on_rung[max(len(on_rung) // REDUCTION - 1, 0)]

    def _bracket(self, number: int) -> int:
        """Return the bracket of a trial; those that prune early have more trials."""
        n_brackets = math.floor(math.log(self._config.inner_splits, REDUCTION)) + 1
        shares = [
            math.ceil(n_brackets * REDUCTION**left / (left + 1))
            for left in range(n_brackets - 1, -1, -1)
        ]
        place = zlib.crc32(f"{self._study_name}_{number}".encode()) % sum(shares)
        return next(b for b in range(n_brackets) if place < sum(shares[: b + 1]))

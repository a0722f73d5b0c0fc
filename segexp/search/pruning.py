"""Pruning by inner fold: a trial that falls behind is not run to its end.

A pruner sees only the trials that were told when the trial in question was asked for. Whatever
finished in the meantime is left out, so that its verdict does not depend on how fast anybody was.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, WilcoxonPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from segexp.config.schema import SearchConfig

WILCOXON_P = 0.1  # one-sided; four folds in a row lost reach 1/16


class FoldPruner:
    """Optuna's pruners over the inner folds of trials.

    ``median`` compares the mean over the folds so far with the median of that mean over earlier
    trials; ``wilcoxon`` compares fold by fold with the best trial; ``hyperband`` keeps the best
    third of what has come as far.
    """

    def __init__(self, config: SearchConfig, direction: StudyDirection, study_name: str) -> None:
        self._config = config
        self._direction = direction
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
        raw = name == "wilcoxon"
        trials = [_frozen(n, values, raw) for n, values in completed.items()]
        view = _Earlier(self._study_name, self._direction, trials)
        trial = create_trial(
            state=TrialState.RUNNING,
            # The newest mean only: Optuna takes a trial's best step, and the first fold may be an
            # easy one for everybody.
            intermediate_values=dict(enumerate(fold_values))
            if raw
            else {n_folds - 1: _means(fold_values)[-1]},
        )
        pruner: BasePruner = MedianPruner(n_startup_trials=0, n_warmup_steps=0)
        if raw:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                pruner = WilcoxonPruner(p_threshold=WILCOXON_P, n_startup_steps=2)
        return pruner.prune(view, trial)

    def _hyperband(
        self, number: int, fold_values: Sequence[float], earlier: Mapping[int, Sequence[float]]
    ) -> bool:
        """Climb the rungs again in a study of its own: Hyperband keeps them in the trials."""
        study = optuna.create_study(
            study_name=self._study_name,
            direction=self._direction,
            storage=optuna.storages.InMemoryStorage(),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        pruner = HyperbandPruner(
            min_resource=1, max_resource=self._config.inner_splits, reduction_factor=3
        )
        verdict = False
        for one, values in [*sorted(earlier.items()), (number, fold_values)]:
            study.add_trial(create_trial(state=TrialState.RUNNING))
            for step, mean in enumerate(_means(values)):
                trial = study.get_trials(deepcopy=False)[-1]
                study._storage.set_trial_intermediate_value(trial._trial_id, step, mean)
                trial = study.get_trials(deepcopy=False)[-1]
                trial.number = one  # decides the bracket
                verdict = pruner.prune(study, trial)
        return verdict


def _means(values: Sequence[float]) -> list[float]:
    counts = np.arange(1, len(values) + 1)
    return [float(mean) for mean in np.cumsum(values) / counts]


def _frozen(number: int, values: Sequence[float], raw: bool) -> FrozenTrial:
    trial = create_trial(
        value=float(np.mean(values)),
        intermediate_values=dict(enumerate(values if raw else _means(values))),
    )
    trial.number = number
    return trial


class _Earlier(optuna.Study):
    """What a pruner may know of a study."""

    def __init__(self, name: str, direction: StudyDirection, trials: list[FrozenTrial]) -> None:
        self.study_name = name
        self._direction = direction
        self._trials = trials

    @property
    def direction(self) -> StudyDirection:
        return self._direction

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [t for t in self._trials if states is None or t.state in states]

    @property
    def best_trial(self) -> FrozenTrial:
        sign = 1.0 if self._direction is StudyDirection.MAXIMIZE else -1.0
        return max(self._trials, key=lambda trial: sign * float(trial.value or 0.0))

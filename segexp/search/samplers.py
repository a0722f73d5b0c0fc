"""Who suggests the next trial: Optuna's samplers, seeded trial by trial.

References
----------
``tpe``: Bergstra et al. (2011). Algorithms for hyper-parameter optimization. NeurIPS; multivariate
as by Falkner, Klein, Hutter (2018). BOHB. ICML. ``gp``: Snoek, Larochelle, Adams (2012). Practical
Bayesian optimization of machine learning algorithms. NeurIPS. ``cmaes``: Hansen (2016). The CMA
evolution strategy: a tutorial. arXiv:1604.00772.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import pickle
import warnings
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from segexp.config.schema import EvaluationConfig, SearchConfig
from segexp.config.space import Parameter
from segexp.errors import ConfigError, RunError
from segexp.search.space import MAX_GRID, SearchSpace

_logger = logging.getLogger(__name__)
# Optuna would print a line for every study and trial by a handler of its own.
optuna.logging.set_verbosity(optuna.logging.ERROR)

EXTRAS = {"gp": "torch", "cmaes": "cmaes"}  # sampler, also its extra -> the package it needs


def objective_metrics(search: SearchConfig, evaluation: EvaluationConfig) -> tuple[str, ...]:
    """Return the metrics that judge a trial: the objectives, then what else is constrained.

    The first ``len(search.objectives) or 1`` of them are the objectives; the first one decides.
    """
    objectives = search.objectives or [evaluation.metric]
    return tuple(dict.fromkeys([*objectives, *search.constraints]))


def make_sampler(config: SearchConfig, seed: int, number: int) -> BaseSampler:
    """Return the sampler of one suggestion.

    Each trial has a fresh one, so that a suggestion depends on the seed, the trial's number and
    the study's trials, and not on what the process did before: a resumed study goes on as if it
    had never stopped. The points of a grid are not suggested but enqueued.

    Parameters
    ----------
    config : SearchConfig
    seed : int
        Of the study.
    number : int
        Of the suggestion, with those that repeat earlier ones.

    Raises
    ------
    ConfigError
        If the sampler needs an extra that is not installed.
    """
    _check_extra(config.sampler)
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if config.sampler == "tpe":
            return TPESampler(
                n_startup_trials=config.startup_trials,
                n_ei_candidates=24,
                seed=own_seed,
                multivariate=True,
                group=True,  # parameters that are active together are modelled together
                constant_liar=True,
            )
        if config.sampler == "gp":
            return GPSampler(
                seed=own_seed,
                independent_sampler=RandomSampler(seed=own_seed),
                n_startup_trials=config.startup_trials,
                deterministic_objective=False,
                warn_independent_sampling=False,
            )
        if config.sampler == "cmaes":
            return _CmaEs(
                n_startup_trials=1,
                independent_sampler=RandomSampler(seed=own_seed),
                warn_independent_sampling=False,
                seed=own_seed,
                consider_pruned_trials=False,
                use_separable_cma=False,
                with_margin=False,
                lr_adapt=False,
            )
        return RandomSampler(seed=own_seed)


def check_sampler(config: SearchConfig, space: SearchSpace) -> None:
    """Check before the first trial that the sampler can search the space, and comes to an end.

    Raises
    ------
    ConfigError
        In one line: what is missing or does not fit, and what would do.
    """
    if not config.searches:
        return
    _check_extra(config.sampler)
    # In a search over several models, one without a space is judged as it is.
    if not space.parameters and config.name != "auto":
        raise ConfigError(
            "model.space is empty, or words fix all that was in it, so there is nothing to search: "
            "say search=none, fix fewer parameters, or add model.space.PARAMETER=..."
        )
    limits = (config.n_trials, config.timeout, config.patience)
    if config.sampler != "grid" and limits == (None, None, None):
        raise ConfigError(
            f"search={config.name} would never end: say search.n_trials=60, search.timeout=10m or "
            f"search.patience=20"
        )
    if config.sampler == "grid" and (size := space.grid_size(config.grid_points)) > MAX_GRID:
        raise ConfigError(
            f"search=grid has {size:,} points, and {MAX_GRID:,} are the most: take parameters out "
            f"(~model.space.NAME), lower search.grid_points, or say search=random"
        )
    if config.sampler == "cmaes" and space.parameters:
        _check_cmaes(config, space)


def _check_extra(sampler: str) -> None:
    package = EXTRAS.get(sampler)
    if package is not None and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"search.sampler={sampler} needs {package}, which is not installed: "
            f"pip install 'segexp[{sampler}]'"
        )


def _check_cmaes(config: SearchConfig, space: SearchSpace) -> None:
    for key, wrong in (
        ("objectives", len(config.objectives) > 1),
        ("constraints", bool(config.constraints)),
    ):
        if wrong:
            raise ConfigError(
                f"search.{key}: cmaes takes one objective and no constraints; say search=tpe"
            )
    numbers = [p for p in space.parameters if p.type != "categorical"]
    # It forgets everything where a number comes and goes from trial to trial.
    if coming := [p.name for p in numbers if _depends_on_a_search(p, space)]:
        raise ConfigError(
            f"search.sampler=cmaes cannot search {coming[0]}, which has a condition; fix it, take "
            f"it out of the space, or say search=tpe"
        )
    if not numbers:
        raise ConfigError(
            "search.sampler=cmaes needs a parameter of type int or float, and the space has none; "
            "say search=tpe"
        )
    if drawn := [p.name for p in space.parameters if p.type == "categorical"]:
        _logger.warning("cmaes learns numbers only; it draws at random: %s", ", ".join(drawn))


def _depends_on_a_search(parameter: Parameter, space: SearchSpace) -> bool:
    return any(name not in space.fixed for name, _ in parameter.when)


class _CmaEs(CmaEsSampler):
    """CMA-ES whose state is read back without running what a stranger may have put there.

    Optuna keeps the optimizer as a pickle in the study, and so in the journal of a run directory.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            prefix = self._attr_key_optimizer
            parts = {k: v for k, v in trial.system_attrs.items() if k.startswith(prefix)}
            if parts:
                content = bytes.fromhex(self._concat_optimizer_attrs(parts))
                return _CmaUnpickler(io.BytesIO(content)).load()
        return None


class _CmaUnpickler(pickle.Unpickler):
    """Knows the optimizer and numpy's arrays, and nothing else."""

    known = frozenset(
        {("cmaes._cma", "CMA"), ("numpy", "dtype"), ("numpy", "ndarray")}
        | {(f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.known:
            raise RunError(
                f"the state of cmaes in this study names {module_name}.{global_name}, which "
                f"segexp does not load; the journal did not come from segexp"
            )
        return super().find_class(module_name, global_name)

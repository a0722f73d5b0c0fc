"""Studies whose folds are scored by a formula, so that only the search itself is under test."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.config.schema import SearchConfig
from segexp.config.space import parse_space
from segexp.search.fitting import Failure, FoldScore
from segexp.search.journal import Journal
from segexp.search.loop import optimise, run_again
from segexp.search.space import SearchSpace, join_spaces
from segexp.search.study import Study, directions_of, trials_table
from segexp.search.trial import Trial

MIXED = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
    "y": {"type": "float", "low": 0.01, "high": 1.0, "log": True, "when": {"kind": "b"}},
}
NUMBERS = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "y": {"type": "float", "low": 0.0, "high": 1.0},
}
TINY = {
    "a": {"type": "int", "low": 0, "high": 2},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
}
LINE = {"a": {"type": "int", "low": 0, "high": 9, "step": 1}}
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs torch (the extra gp)"
)


def space_of(nodes: dict[str, Any]) -> SearchSpace:
    return join_spaces(parse_space(nodes, "model.space"))


@functools.lru_cache
def shipped_search(name: str) -> SearchConfig:
    return load_config([f"search={name}", "dataset=demo"], (shipped_conf(),)).search


def search_config(sampler: str = "random", **changes: Any) -> SearchConfig:
    """A shipped search in which nothing ends a study early but what a test says."""
    small = {"n_trials": 12, "inner_splits": 3, "startup_trials": 3, "window": 2, "pruner": "none"}
    plain = {"start_from_defaults": False, "prune_warmup": 1}
    return replace(shipped_search(sampler), **{**small, **plain, **changes})


def noise(text: str) -> float:
    """A number between 0 and 1 that depends on the text alone."""
    return zlib.crc32(text.encode()) / 2**32


def quality(params: dict[str, Any], fold: int) -> tuple[float, ...]:
    """Best at x = 0.7; folds differ in level, and a little at random."""
    x = params.get("x", params.get("a", 0) / 10)
    y = params.get("y", 0.5)
    good = 0.8 - (x - 0.7) ** 2 - 0.1 * (y - 0.5) ** 2 + 0.02 * (params.get("kind") == "b")
    return (good + 0.05 * fold + 0.01 * noise(f"{sorted(params.items())} {fold}"),)


class Scorer:
    """Scores folds by a formula, on so many workers, each after a random wait.

    Parameters
    ----------
    value
        Of parameters and fold.
    fails
        Returns a failure for parameters and fold, or None.
    """

    def __init__(
        self,
        value: Callable[[dict[str, Any], int], tuple[float, ...]] = quality,
        fails: Callable[[dict[str, Any], int], Failure | None] = lambda params, fold: None,
        *,
        workers: int = 3,
        shuffle: int | None = None,
        dies_at: int | None = None,
    ) -> None:
        self.value, self.fails, self.workers = value, fails, workers
        self.random = random.Random(shuffle) if shuffle is not None else None
        self.calls: list[tuple[str, int, int]] = []
        self.arrived: list[int] = []
        self.dies_at = dies_at
        self._gate: asyncio.Semaphore | None = None

    async def __call__(self, study: Study, trial: Trial, fold: int) -> FoldScore:
        self._gate = self._gate or asyncio.Semaphore(self.workers)
        async with self._gate:
            for _ in range(self.random.randrange(20) if self.random else 1):
                await asyncio.sleep(0)  # lets others go first
        if len(self.calls) == self.dies_at:
            raise ConnectionError("somebody pulled the plug")
        self.calls.append((trial.key, trial.number, fold))
        self.arrived.append(trial.number)
        failure = self.fails(trial.params, fold)
        values = () if failure else self.value(trial.params, fold)
        return FoldScore(values, 0.01, None, (), failure)


def open_study(
    path: Path,
    config: SearchConfig,
    space: SearchSpace,
    *,
    metrics: tuple[str, ...] = ("accuracy",),
    n_objectives: int = 1,
    seed: int = 7,
    start: dict[str, Any] | None = None,
    name: str = "final",
    rounds: str | None = None,
) -> Study:
    """A study on a journal, with what the journal holds of it."""
    directions = directions_of(metrics[:n_objectives])
    log = Journal(path).study(name, directions, {"seed": seed})
    return Study(
        name, space, config, metrics, n_objectives, seed=seed, log=log, start=start, rounds=rounds
    )


async def search_to_end(study: Study, scorer: Scorer, limit_s: float | None = None) -> str:
    """Search as a run does with one model."""
    nobody = lambda study, trial: None  # noqa: E731
    reason = await optimise(study, scorer, limit_s=limit_s)
    await run_again(study, study.finalists(), scorer, nobody)
    study.end(reason)
    return reason


def searched(
    path: Path, config: SearchConfig, space: SearchSpace, scorer: Scorer | None = None, **more: Any
) -> Study:
    """A study that has come to its end."""
    study = open_study(path, config, space, **more)
    asyncio.run(search_to_end(study, scorer or Scorer()))
    return study


def told_of(study: Study) -> pd.DataFrame:
    """All that a study found out, without clock times."""
    return trials_table({"tree": study}, "final").drop(columns=["start", "seconds"])


def params_of(study: Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


class Witness(DecisionTreeClassifier):
    """Remembers by the column `row` whom it was fitted on, and whom it then judged."""

    fits: list[tuple[set[int], set[int]]] = []  # noqa: RUF012

    def fit(self, X, y, sample_weight=None):
        Witness.fits.append((_rows(X), set()))
        return super().fit(X, y)

    def predict(self, X, check_input=True):
        Witness.fits[-1][1].update(_rows(X))
        return super().predict(X)

    def predict_proba(self, X, check_input=True):
        Witness.fits[-1][1].update(_rows(X))
        return super().predict_proba(X)


def _rows(X: Any) -> set[int]:
    return {int(value) for value in np.asarray(X)[:, 0]}

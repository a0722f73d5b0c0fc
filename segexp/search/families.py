"""The search on one set of training rows: one study per model family, and one winner.

With several families the trials go to those that do well, by sequential halving: every family
gets the same number of trials, the better half goes on, and so forth. A family has a study and a
space of its own, so that no parameter of one model is ever modelled together with another's.

References
----------
Karnin, Koren, Somekh (2013). Almost optimal exploration in multi-armed bandits. ICML.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from segexp.config.schema import SearchConfig
from segexp.engine.driver import Engine
from segexp.engine.tasks import Shared, TaskTimeoutError, WorkerDiedError
from segexp.errors import RunError
from segexp.evaluation import Table
from segexp.search.fitting import (
    FAIL,
    Bench,
    Failure,
    FoldScore,
    FoldTask,
    rounds_parameter,
    score_fold,
    settle,
)
from segexp.search.journal import Journal
from segexp.search.loop import optimise, run_again
from segexp.search.space import SearchSpace, pipeline_parameters
from segexp.search.study import TIMEOUT, Study, directions_of, trials_table
from segexp.search.trial import Trial

# Keys of the search that may change when a run is resumed: they move no suggestion.
BUDGET = ("n_trials", "timeout", "patience", "max_failures", "trial_timeout")
_MAY_CHANGE = {*BUDGET, "candidates"}  # a candidate's space is recorded with its own study


@dataclass(frozen=True)
class Family:
    """One model whose hyperparameters are searched."""

    pipeline: Pipeline  # unfitted
    space: SearchSpace
    start: Mapping[str, Any] | None  # the model as configured


@dataclass(frozen=True)
class Choice:
    """What a search on one set of training rows came to."""

    rows: str
    model: str
    trial: int
    params: Mapping[str, Any]  # by their names in the study
    n_iterations: int | None
    pipeline: Pipeline  # unfitted, with the chosen parameters
    values: Mapping[str, float]  # means over the inner folds; optimistic, for they were selected
    feasible: bool
    n_trials: Mapping[str, int]  # by model
    states: Mapping[str, int]
    stopped_by: str
    seconds: float  # of fitting and judging, over all workers together

    def to_dict(self) -> dict[str, Any]:
        """Return what is written down of it."""
        facts = {name: value for name, value in vars(self).items() if name != "pipeline"}
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in facts.items()}


class AllTrialsFailedError(RunError):
    """No trial of a search came to its end."""

    exit_code = 1


@dataclass(frozen=True)
class Bed:
    """Where and on what the trials of a run are judged."""

    engine: Engine
    table: Shared[Table]
    bench: Shared[Bench]
    priority: tuple[int, ...] = ()


class RowsSearch:
    """The studies on one set of training rows.

    Parameters
    ----------
    rows : str
        ``repeat0-fold0``, ..., or ``final``.
    index : int
        Its place among the searches of the run: earlier ones are served first.
    families : mapping of model name to Family
    metrics, n_objectives
        As in :class:`~segexp.search.study.Study`.
    seed : int
        Of the run.
    facts : mapping
        What the studies stand on beside the space, such as the fingerprint of the data.
    counts : mapping of model name to int, optional
        Trials to make, instead of the budget: to repeat a search that a clock stopped.
    """

    def __init__(
        self,
        rows: str,
        index: int,
        families: Mapping[str, Family],
        config: SearchConfig,
        metrics: Sequence[str],
        n_objectives: int,
        *,
        seed: int,
        journal: Journal,
        facts: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self.rows = rows
        self.index = index
        self._families = families
        self._config = config
        self._counts = counts
        seeds = np.random.SeedSequence([seed, index]).generate_state(len(families))
        self.studies = {}
        for (model, family), study_seed in zip(families.items(), seeds, strict=True):
            name = rows if len(families) == 1 else f"{rows} {model}"
            log = journal.study(
                name,
                directions_of(metrics[:n_objectives]),
                {**facts, "seed": seed, **_fixed_facts(config, family.space, metrics)},
            )
            self.studies[model] = Study(
                name, family.space, config, metrics, n_objectives,
                seed=int(study_seed), log=log, start=family.start,
                n_trials=counts.get(model, 0) if counts else None,
                rounds=rounds_parameter(family.pipeline),
            )  # fmt: skip

    def note_cut_off(self) -> bool:
        """Record which trials an earlier process was at when it ended; return whether any.

        Where tasks run in that process itself, these are the first ones that are not finished.
        """
        noted = [study.note_cut_off() for study in self.studies.values()]
        return any(noted)

    async def run(
        self,
        bed: Bed,
        told: Callable[[Study, Trial], None],
        limit_s: float | None = None,
        retry_failed: bool = False,
    ) -> Choice:
        """Search until the budget is spent, and choose.

        Raises
        ------
        AllTrialsFailedError
            If no trial came to its end; says the most frequent cause.
        """
        for study in self.studies.values():
            study.begin_clock()

        async def score(study: Study, trial: Trial, fold: int) -> FoldScore:
            model = next(name for name, other in self.studies.items() if other is study)
            params = pipeline_parameters(trial.params)
            task = FoldTask(self.rows, fold, model, params, study.stages(trial))
            priority = (*bed.priority, self.index, trial.number)
            return await self._score(bed, task, trial, priority)

        if retry_failed:
            for study in self.studies.values():
                await run_again(study, study.retry_failed(), score, told)
                if (study.stop or {}).get("by") == "max_failures":
                    study.reopen()
        alive = last = list(self.studies)
        stops: dict[str, str] = {}
        for until in self._stages():
            going = [model for model in alive if self.studies[model].stop is None]
            # What a clock stops is not to begin more than can run now, but for one, so that no
            # worker waits. No suggestion depends on it.
            share = math.ceil((bed.engine.n_workers + 1) / max(len(going), 1))
            at_once = None if limit_s is None else share
            reasons = await asyncio.gather(
                *(optimise(self.studies[model], score, told, until=until, limit_s=limit_s,
                           at_once=at_once)
                  for model in going)
            )  # fmt: skip
            stops |= zip(going, reasons, strict=True)
            alive, last = self._better_half(alive, until), alive
        for model, study in self.studies.items():
            await run_again(study, study.running, score, told)  # a process died over them
            if study.stop is None:
                if model in last:  # one that was beaten early has no more to say
                    await run_again(study, study.finalists(), score, told)
                study.end(stops.get(model, "n_trials"))
        return self.choice()

    def _stages(self) -> list[int | None]:
        """Return up to how many trials each family still in the race may go, stage by stage."""
        total, alive = self._config.n_trials, len(self.studies)
        if total is None or alive == 1:
            return [None]
        n_stages = math.ceil(math.log2(alive))
        stages: list[int | None] = []
        until = 0
        for stages_left in range(n_stages, 0, -1):
            # Of a family without any trial nothing is known.
            share = max(total // stages_left // alive, 0 if stages else 1)
            until, total = until + share, total - share * alive
            stages.append(until)
            alive = math.ceil(alive / 2)
        return stages

    def _better_half(self, alive: Sequence[str], until: int | None) -> list[str]:
        ranked = sorted(
            (model for model in alive if self.studies[model].winner(until) is not None),
            key=lambda model: self._rank(model, until),
            reverse=True,
        )
        kept = set(ranked[: math.ceil(len(alive) / 2)])
        return [model for model in alive if model in kept]

    def _rank(self, model: str, until: int | None = None) -> tuple[float, ...]:
        study = self.studies[model]
        trial = study.winner(until)
        return study.rank(trial) if trial is not None else (-math.inf,)

    async def _score(
        self, bed: Bed, task: FoldTask, trial: Trial, priority: tuple[int, ...]
    ) -> FoldScore:
        """Have one inner fold judged; what stops the worker is a failure of the trial."""
        limit_s, spent_s = self._config.trial_timeout_s, sum(s.seconds for s in trial.scores)
        try:
            if limit_s is not None and spent_s >= limit_s:
                raise TaskTimeoutError
            return await bed.engine.run(
                score_fold, bed.table, bed.bench, task,
                priority=priority, timeout_s=None if limit_s is None else limit_s - spent_s,
                apart=trial.n_cut_off > 1,
            )  # fmt: skip
        except TaskTimeoutError:
            cause = f"ran past search.trial_timeout={self._config.trial_timeout}"
            own_s = max((limit_s or 0.0) - spent_s, 0.0)
        except WorkerDiedError as error:
            cause, own_s = str(error), 0.0  # nobody is left to tell how long it took
        return FoldScore((), own_s, None, (), Failure(FAIL, cause, ""))

    def choice(self) -> Choice:
        """Return the winner over all families.

        Raises
        ------
        AllTrialsFailedError
        """
        model = max(self.studies, key=self._rank)
        study = self.studies[model]
        trial = study.winner()
        studies = self.studies.values()
        if trial is None:
            causes: Counter[str] = Counter()
            for other in studies:
                causes.update(other.causes())
            worst = max(causes, key=causes.__getitem__, default="no trial was run")
            raise AllTrialsFailedError(
                f"search {self.rows}: all {causes.total()} trials failed, most often with: {worst}"
            )
        family = self._families[model]
        paths = pipeline_parameters(trial.params)
        pipeline = clone(family.pipeline).set_params(**paths)
        if trial.n_iterations is not None:
            pipeline.set_params(**settle(pipeline, trial.n_iterations))
        return Choice(
            rows=self.rows,
            model=model,
            trial=trial.number,
            params=trial.settled,
            n_iterations=trial.n_iterations,
            pipeline=pipeline,
            values={metric: trial.mean(i) for i, metric in enumerate(study.metrics)},
            feasible=study.is_feasible(trial),
            n_trials={name: other.n_different for name, other in self.studies.items()},
            states=dict(
                Counter(t.state for s in studies for t in s.told if t.duplicate_of is None)
            ),
            stopped_by=self._stopped_by(study),
            seconds=round(sum(t.seconds for s in studies for t in s.told), 3),
        )

    def _stopped_by(self, winner: Study) -> str:
        """Say what ended the search: a clock if it ended any study, else what ended the winner."""
        by = [str((study.stop or {}).get("by")) for study in self.studies.values()]
        return TIMEOUT if TIMEOUT in by else str((winner.stop or {}).get("by"))

    def table(self) -> pd.DataFrame:
        """Return one row per trial."""
        model = max(self.studies, key=self._rank)
        return trials_table(self.studies, self.rows, model)


def _fixed_facts(
    config: SearchConfig, space: SearchSpace, metrics: Sequence[str]
) -> dict[str, Any]:
    """Return what must not change while a study lasts, as JSON reads it back."""
    search = {key: value for key, value in asdict(config).items() if key not in _MAY_CHANGE}
    facts = {
        "search": search,
        "space": {parameter.name: str(parameter) for parameter in space.parameters},
        "metrics": list(metrics),
    }
    return dict(json.loads(json.dumps(facts, default=str)))

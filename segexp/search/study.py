"""One study: suggest, judge fold by fold, give up early, record, choose.

The path of a study depends on its seed and on ``search.window`` alone. Suggestion ``t`` is made
from the results of the trials 0 to ``t - window``, told in order, whoever finished first; so any
number of workers gives the same trials, none of them waits for a batch, and a study that was
killed goes on as if nothing had happened.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from segexp.config.schema import SearchConfig
from segexp.metrics import metric_by_name
from segexp.runs import FINAL
from segexp.search.fitting import FAIL, INVALID, Failure, FoldScore
from segexp.search.journal import StudyLog
from segexp.search.pruning import FoldPruner
from segexp.search.samplers import make_sampler
from segexp.search.space import SearchSpace
from segexp.search.trial import COMPLETE, FINALIST, PRUNED, RETRY, RUNNING, Trial

TIMEOUT = "timeout"  # what ended a study

# So many suggestions in a row that repeat earlier ones end a study: nothing else is to come.
MAX_REPEATS = 50

CUT_OFF = "cut off"  # what the journal calls `Trial.n_cut_off`


class Study:
    """A search for the best parameters on the rows of one training set.

    Parameters
    ----------
    name : str
        As in the journal.
    space : SearchSpace
    config : SearchConfig
    metrics : sequence of str
        Of each fold score: the objectives first, then what only constraints need.
    n_objectives : int
    seed : int
        Of the sampler.
    log : StudyLog
        What it holds is taken up.
    start : mapping, optional
        Parameters that are tried first.
    n_trials : int, optional
        Instead of ``config.n_trials``.
    rounds : str, optional
        The parameter that is a booster's number of rounds.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        config: SearchConfig,
        metrics: Sequence[str],
        n_objectives: int,
        *,
        seed: int,
        log: StudyLog,
        start: Mapping[str, Any] | None = None,
        n_trials: int | None = None,
        rounds: str | None = None,
    ) -> None:
        self.name = name
        self.space = space
        self.config = config
        self.metrics = tuple(metrics)
        self.signs = [
            1.0 if metric_by_name(metric).greater_is_better else -1.0
            for metric in metrics[:n_objectives]
        ]
        self.rounds = next((p for p in space.parameters if p.name == rounds), None)
        self.trials: list[Trial] = []
        self._seed = seed
        self._log = log
        directions = directions_of(metrics[:n_objectives])
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            directions=directions,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        self._pruner = FoldPruner(config, directions[0], name)
        self._by_key: dict[str, Trial] = {}
        self._unknown: deque[Trial] = deque()  # told, but the sampler may not know yet
        self._size = space.count()
        self._queue: deque[tuple[Mapping[str, Any], str]] = deque()
        if start is not None:
            self._queue.append((start, "default"))
        if config.sampler == "grid":
            points = space.grid(config.grid_points)
            if config.n_trials is not None and config.n_trials < len(points):
                order = np.random.default_rng(seed).permutation(len(points))[: config.n_trials]
                points = [points[i] for i in order]
            self._queue.extend((point, "grid") for point in points)
        self.budget = n_trials if n_trials is not None else config.n_trials
        if config.sampler == "grid":
            self.budget = min(len(self._queue), n_trials or len(self._queue))
        self._spent_before_s = 0.0
        for frozen in log.trials():
            self._take_up(frozen)
        self._begun_at = time.monotonic()
        begun = {(trial.origin, trial.key) for trial in self.trials}
        if begun:
            # The order of a grid changes with its budget: not the first ones are done.
            self._queue = deque(
                entry for entry in self._queue if (entry[1], space.key(entry[0])) not in begun
            )

    def _take_up(self, frozen: FrozenTrial) -> None:
        """Rebuild a trial from the journal."""
        attributes = frozen.user_attrs
        params = self.space.decode(frozen.params)
        state = frozen.state.name if frozen.state != TrialState.FAIL else attributes["state"]
        trial = self._add(
            params,
            attributes["origin"],
            log_id=frozen._trial_id,
            start=frozen.datetime_start or datetime.now(UTC),
        )
        trial.state = state
        trial.n_cut_off = attributes.get(CUT_OFF, 0)
        if trial.duplicate_of is None:
            while (recorded := attributes.get(f"fold {len(trial.scores)}")) is not None:
                trial.scores.append(_score_from_dict(recorded))
        elif state != RUNNING:
            trial.scores = self.trials[trial.duplicate_of].scores
        if trial.origin not in (FINALIST, RETRY):
            # As it was when it was asked for; what came of it the sampler learns in its turn.
            ended = create_trial(value=0.0, constraints=frozen.constraints or {}).system_attrs
            self._study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=frozen.params,
                    distributions=frozen.distributions,
                    system_attrs={k: v for k, v in frozen.system_attrs.items() if k not in ended},
                )
            )
            if state != RUNNING:
                self._unknown.append(trial)
        self._spent_before_s = max(self._spent_before_s, attributes.get("spent_s", 0.0))

    def _add(self, params: dict[str, Any], origin: str, log_id: int, start: datetime) -> Trial:
        key = self.space.key(params)
        first = self._by_key.get(key)
        trial = Trial(
            number=len(self.trials),
            index=self.n_asked,
            params=params,
            key=key,
            origin=origin,
            log_id=log_id,
            start=start,
            sign=self.signs[0],
            rounds=self.rounds.name if self.rounds else None,
        )
        if first is not None and origin in (FINALIST, RETRY):
            trial.index = first.index
            if origin == FINALIST:
                trial.scores = list(first.scores)
                trial.n_inherited = len(first.scores)
        elif first is not None:
            trial.duplicate_of = first.number
        if first is None or origin == RETRY:
            self._by_key[key] = trial
        self.trials.append(trial)
        return trial

    @property
    def told(self) -> list[Trial]:
        """Trials that have come to an end."""
        return [trial for trial in self.trials if trial.state != RUNNING]

    @property
    def running(self) -> list[Trial]:
        """Trials that were begun and have not come to an end."""
        return [trial for trial in self.trials if trial.state == RUNNING]

    def note_cut_off(self) -> bool:
        """Record that an earlier process ended at the first trial that is not finished, if any."""
        first = next(iter(self.running), None)
        if first is not None:
            first.n_cut_off += 1
            self._log.note(first.log_id, CUT_OFF, first.n_cut_off)
        return first is not None

    @property
    def n_asked(self) -> int:
        """Suggestions, with those that repeat earlier ones."""
        return sum(trial.origin not in (FINALIST, RETRY) for trial in self.trials)

    @property
    def n_different(self) -> int:
        """Trials that count against the budget; the answer to a repeated suggestion is known."""
        return sum(
            trial.origin not in (FINALIST, RETRY) and trial.duplicate_of is None
            for trial in self.trials
        )

    @property
    def _n_repeats(self) -> int:
        """The newest suggestions that repeat earlier ones, without one between them that is new."""
        asked = [trial for trial in self.trials if trial.origin not in (FINALIST, RETRY)]
        repeats = itertools.takewhile(lambda trial: trial.duplicate_of is not None, asked[::-1])
        return sum(1 for _ in repeats)

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """What ended the study, if it has ended for the budget that it has now."""
        stop = self._log.stop
        return stop if stop and stop["budget"] == self._limits() else None

    def reopen(self) -> None:
        """Forget that the study is over."""
        self._log.stop = None

    def end(self, by: str) -> None:
        """Record that the study is over."""
        self._log.stop = {"by": by, "n_trials": self.n_different, "budget": self._limits()}

    def _limits(self) -> dict[str, Any]:
        config = self.config
        return {
            "n_trials": self.budget,
            "timeout": config.timeout,
            "patience": config.patience,
            "max_failures": config.max_failures,
        }

    def stops_by(self, until: int | None = None, limit_s: float | None = None) -> str | None:
        """Say what forbids another trial, if something does.

        Parameters
        ----------
        until : int, optional
            Trials after which the study pauses.
        limit_s : float, optional
            Seconds that it may take in all.
        """
        config, made = self.config, self.n_different
        if self.budget is not None and made >= self.budget:
            return "n_trials"
        if until is not None and made >= until:
            return "n_trials"
        if config.sampler == "grid" and not self._queue:  # the model as configured was on it
            return "n_trials"
        if self._size is not None and len(self._by_key) >= self._size and not self._queue:
            return "every point was tried"
        if self._n_repeats >= MAX_REPEATS:
            return f"{MAX_REPEATS} suggestions in a row that were tried before"
        n_failed = sum(trial.state in (FAIL, INVALID) for trial in self._by_key.values())
        if n_failed >= config.max_failures:
            return "max_failures"
        if config.patience is not None and self._since_best() >= config.patience:
            return "patience"
        if limit_s is not None and self._spent_before_s + self.seconds >= limit_s and self.trials:
            return TIMEOUT
        return None

    @property
    def seconds(self) -> float:
        """Wall time since this process began with it."""
        return time.monotonic() - self._begun_at

    def begin_clock(self) -> None:
        """Start its wall time now."""
        self._begun_at = time.monotonic()

    def _since_best(self) -> int:
        """Count the trials since the best value was found, as if there were no finalists yet."""
        asked = [trial for trial in self.told if trial.origin not in (FINALIST, RETRY)]
        best = self._best_of(asked)
        if best is None:
            return 0
        return sum(t.number > best.number and t.duplicate_of is None for t in asked)

    def ask(self) -> Trial:
        """Begin the next trial."""
        horizon = self.n_asked - self.config.window
        while self._unknown and self._unknown[0].index <= horizon:
            self._inform(self._unknown.popleft())
        if self._queue:
            params, origin = self._queue.popleft()
            return self._begin_with(self.space.active(params), origin)
        self._study.sampler = make_sampler(self.config, self._seed, self.n_asked)
        asked = self._study.ask()
        params = self.space.suggest(asked)
        return self._record(params, "sampler", self._storage.get_trial(asked._trial_id))

    def _begin_with(self, params: Mapping[str, Any], origin: str) -> Trial:
        encoded = self.space.encode(params)
        distributions = self.space.distributions()
        frozen = create_trial(
            state=TrialState.RUNNING,
            params=encoded,
            distributions={name: distributions[name] for name in encoded},
        )
        # The sampler never learns of trials beside the budget, so that a study that goes on makes
        # the same suggestions as one that had never paused.
        if origin not in (FINALIST, RETRY):
            self._study.add_trial(frozen)
        return self._record(dict(params), origin, frozen)

    def _record(self, params: dict[str, Any], origin: str, frozen: FrozenTrial) -> Trial:
        frozen = copy.copy(frozen)
        frozen.user_attrs = {"origin": origin}
        start = frozen.datetime_start or datetime.now(UTC)
        return self._add(params, origin, self._log.begin(frozen), start)

    def finalists(self) -> list[Trial]:
        """Begin pruned trials again that may be better than the winner, to run them in full.

        What a pruned trial would have reached is estimated from the folds that it ran, each set
        against the mean of that fold over the trials that ran all of them.
        """
        # Earlier finalists are left aside, so that a search that was killed among its finalists
        # has the same ones.
        told = [t for t in self.told if t.duplicate_of is None and t.origin != FINALIST]
        done = [trial for trial in told if trial.state == COMPLETE]
        best = self._best_of(done)
        if best is None or not self.config.finalists or len(self.signs) > 1:
            return []
        fold_means = np.mean([trial.fold_values() for trial in done], axis=0)
        level = float(fold_means.mean())
        hopeful = []
        for trial in told:
            if trial.state == PRUNED:
                values = trial.fold_values()
                estimate = level + float(np.mean(np.subtract(values, fold_means[: len(values)])))
                gain = self.signs[0] * (estimate - best.mean(0))
                if gain > 0:
                    hopeful.append((gain, trial))
        hopeful.sort(key=lambda pair: (-pair[0], pair[1].number))
        last = max(t.number for t in self.trials if t.origin not in (FINALIST, RETRY))
        tried = {trial.key: trial.number for trial in self.trials if trial.origin == FINALIST}
        n_left = self.config.finalists - sum(number > last for number in tried.values())
        fresh = [t for _, t in hopeful[: self.config.finalists] if t.key not in tried]
        return [self._begin_with(trial.params, FINALIST) for trial in fresh[: max(n_left, 0)]]

    def retry_failed(self) -> list[Trial]:
        """Begin every trial again that failed, but not those that can never work."""
        failed = [
            trial for key, trial in self._by_key.items() if trial.state == FAIL and trial.key == key
        ]
        return [self._begin_with(trial.params, RETRY) for trial in failed]

    def record(self, trial: Trial, score: FoldScore) -> None:
        """Keep the score of the next fold of a trial."""
        fold = len(trial.scores)
        trial.scores.append(score)
        mean = None if score.failure else trial.mean(0)
        single = mean if len(self.signs) == 1 else None
        self._log.fold(trial.log_id, fold, asdict(score), single)

    def should_prune(self, trial: Trial) -> bool:
        """Say whether a trial is to be given up after the folds that it ran."""
        if trial.origin == FINALIST:
            return False
        horizon = trial.index - self.config.window
        earlier = [
            t
            for t in self.told
            if t.index <= horizon and t.duplicate_of is None and t.origin not in (FINALIST, RETRY)
        ]
        return self._pruner.prune(
            trial.index,
            trial.fold_values(),
            {t.index: t.fold_values() for t in earlier if t.state == COMPLETE},
            {t.index: t.fold_values() for t in earlier if t.state == PRUNED},
        )

    def tell(self, trial: Trial, pruned: bool) -> None:
        """Record the end of a trial; trials are told in the order of their numbers."""
        first = self.trials[trial.duplicate_of] if trial.duplicate_of is not None else None
        if first is not None:
            trial.scores, trial.state = first.scores, first.state
        elif trial.failure is not None:
            trial.state = trial.failure.kind
        else:
            trial.state = PRUNED if pruned else COMPLETE
        attributes: dict[str, Any] = {}
        if first is not None:
            attributes["duplicate_of"] = first.number
            for fold, score in enumerate(first.scores):
                self._log.fold(trial.log_id, fold, asdict(score), None)
        if trial.failure is not None:
            attributes |= {"state": trial.state, "cause": trial.failure.cause}
        attributes["spent_s"] = round(self._spent_before_s + self.seconds, 3)
        state, values, constraints = self._outcome(trial)
        self._log.end(trial.log_id, state, values, attributes, constraints)
        if trial.origin not in (FINALIST, RETRY):
            self._unknown.append(trial)

    def _outcome(self, trial: Trial) -> tuple[TrialState, list[float] | None, dict[str, Any]]:
        """Return state, values and constraint values as Optuna has them."""
        if trial.state != COMPLETE:
            return TrialState.PRUNED if trial.state == PRUNED else TrialState.FAIL, None, {}
        values = [trial.mean(i) for i in range(len(self.signs))]
        form = create_trial(values=values, constraints=self.violations(trial))
        return TrialState.COMPLETE, values, form.system_attrs

    def _inform(self, trial: Trial) -> None:
        """Tell the sampler what came of a trial."""
        state, values, constraints = self._outcome(trial)
        optuna_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, trial.index
        )
        if len(self.signs) == 1:
            folds = trial.fold_values()
            for fold, total in enumerate(np.cumsum(folds)):
                mean = float(total) / (fold + 1)
                self._storage.set_trial_intermediate_value(optuna_id, fold, mean)
        for key, value in constraints.items():
            self._storage.set_trial_system_attr(optuna_id, key, value)
        searched = self.rounds is not None and self.rounds.name in trial.params
        # CMA-ES is told of the very points that it asked for.
        learns = searched and self.config.sampler != "cmaes" and trial.n_iterations is not None
        if self.rounds is not None and self.rounds.type == "int" and learns:
            # The sampler is to learn which rounds were good, not that more may be tried.
            distribution = self.space.distributions()[self.rounds.name]
            rounds = max(float(trial.n_iterations or 1), float(self.rounds.low or 1))
            self._storage.set_trial_param(optuna_id, self.rounds.name, rounds, distribution)
        self._study.tell(trial.index, values, state=state)

    def stages(self, trial: Trial) -> tuple[int, ...]:
        """Return the numbers of rounds at which a trial's fits are judged, beside its own.

        They lie in the range that is searched, so each of them is a point of the space; one fit
        is then worth several.
        """
        n_stages, parameter = self.config.staged_rounds, self.rounds
        if n_stages is None or parameter is None or parameter.name not in trial.params:
            return ()
        low, high = int(parameter.low or 1), int(trial.params[parameter.name])
        if parameter.type != "int" or parameter.step is not None or low >= high:
            return ()
        return tuple(sorted({round(n) for n in np.geomspace(low, high, n_stages + 1)})[:-1])

    def violations(self, trial: Trial) -> dict[str, float]:
        """Return by how much each constraint is missed; zero or less where it is met."""
        found = {}
        for metric, bounds in self.config.constraints.items():
            value = trial.mean(self.metrics.index(metric))
            for side, bound in bounds.items():
                found[f"{metric} {side}"] = bound - value if side == "min" else value - bound
        return found

    def is_feasible(self, trial: Trial) -> bool:
        """Say whether a completed trial meets every constraint."""
        return all(missed <= 0 for missed in self.violations(trial).values())

    def winner(self, until: int | None = None) -> Trial | None:
        """Return the best trial that ran in full and meets the constraints; the earlier of equals.

        With several objectives the first one decides, the others break ties, so that the winner
        is on the Pareto front. Where no trial meets the constraints, the one that misses them by
        least wins.

        Parameters
        ----------
        until : int, optional
            Only so many trials count, the first ones.
        """
        different = [trial for trial in self.trials if trial.duplicate_of is None]
        return self._best_of(different[:until])

    def _best_of(self, trials: Sequence[Trial]) -> Trial | None:
        done = [t for t in trials if t.state == COMPLETE and t.duplicate_of is None]
        return max(done, key=lambda trial: (*self.rank(trial), -trial.number), default=None)

    def rank(self, trial: Trial) -> tuple[float, ...]:
        """Return what orders completed trials, the greatest being the best."""
        missed = sum(max(value, 0.0) for value in self.violations(trial).values())
        return (-missed, *(sign * trial.mean(i) for i, sign in enumerate(self.signs)))

    def causes(self) -> dict[str, int]:
        """Count the failures by cause, the most frequent first."""
        found: dict[str, int] = {}
        for trial in self.told:
            if trial.failure is not None and trial.duplicate_of is None:
                found[trial.failure.cause] = found.get(trial.failure.cause, 0) + 1
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def directions_of(metrics: Sequence[str]) -> list[StudyDirection]:
    """Return the better direction of each metric."""
    return [
        StudyDirection.MAXIMIZE
        if metric_by_name(metric).greater_is_better
        else StudyDirection.MINIMIZE
        for metric in metrics
    ]


def _score_from_dict(recorded: Mapping[str, Any]) -> FoldScore:
    failure = recorded["failure"]
    return FoldScore(
        values=tuple(recorded["values"]),
        seconds=recorded["seconds"],
        n_iterations=recorded["n_iterations"],
        warnings=tuple(recorded["warnings"]),
        failure=Failure(**failure) if failure else None,
        stages=tuple((n, tuple(values)) for n, values in recorded.get("stages", ())),
    )


def trials_table(studies: Mapping[str, Study], rows: str, model: str | None = None) -> pd.DataFrame:
    """Return one row per trial of the studies (by model) on the same rows.

    Parameters
    ----------
    rows : str
        Which training rows: ``repeat0-fold0``, ..., or ``final``.
    model : str, optional
        The model that won; its study's winner is the chosen trial.
    """
    repeat, fold = (None, None) if rows == FINAL else _numbers(rows)
    table = []
    for name, study in studies.items():
        best = study.winner()
        for trial in study.told:
            failure = trial.failure
            complete = trial.state == COMPLETE
            table.append(
                {
                    "study": rows,
                    "repeat": repeat,
                    "fold": fold,
                    "model": name,
                    "number": trial.number,
                    "state": trial.state,
                    "value": trial.mean(0) if complete else math.nan,
                    **{
                        f"value[{metric}]": trial.mean(i) if complete else math.nan
                        for i, metric in enumerate(study.metrics)
                    },
                    "feasible": complete and study.is_feasible(trial),
                    "duplicate_of": trial.duplicate_of,
                    "origin": trial.origin,
                    "folds": 0 if trial.duplicate_of is not None else len(trial.fold_values()),
                    "fold_values": trial.fold_values(),
                    "seconds": trial.seconds,
                    "start": trial.start,
                    "n_iterations": trial.n_iterations,
                    "chosen": trial is best and name == (model or name),
                    "params": json.dumps(trial.settled, ensure_ascii=False),
                    "cause": failure.cause if failure else None,
                    "traceback": failure.traceback if failure else None,
                }
            )
    if not table:
        return pd.DataFrame()
    frame = pd.DataFrame(table)
    for column in ("repeat", "fold", "duplicate_of", "n_iterations"):
        frame[column] = frame[column].astype("Int64")
    return frame


def _numbers(rows: str) -> tuple[int, int]:
    repeat, fold = rows.removeprefix("repeat").split("-fold")
    return int(repeat), int(fold)

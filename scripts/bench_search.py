"""What a search of segexp costs and reaches beside plain Optuna and scikit-learn.

All sides search the same space of the same pipeline on the same inner folds of the same training
rows of the automobile customers, one thread per fit. Ratios: median (smallest to largest).

waste
    CPU per trial, one process, pruning and staged rounds off. segexp runs a real study (TPE,
    journal on disk, inline engine); what it suggests is what the others judge. All fold scores
    must agree to 1e-12. bare: clone, set_params, fit, predict, accuracy on prepared arrays.
    segexp: all of the study, also its preprocessing of each inner fold. segexp, prepared: the same
    with folds that an earlier study prepared (and binned for XGBoost), as trials after the first
    find them. Optuna: the sets enqueued in a study in memory, cross_val_score over the pipeline.
    GridSearchCV: the sets as its grid, without refit.
quality
    Wall time on two cores. Optuna: TPESampler, cross_val_score, N trials, n_jobs=2. segexp, its
    defaults, then gets as much wall time, from nothing (worker start included), for as many trials
    as it can make. To reach: until a trial that ran in full is as good as Optuna's best of N
    trials, to a tenth of a customer (folds differ in size by one, so the means of equally many
    hits differ in the seventh digit); "inf" where that did not happen in this time.
    "/ N trials" is against Optuna's whole search, "/ to its best" against the moment that found its
    best, which it could not know. Each seed is another outer split. Both winners are refitted on
    the training rows and judged on the rows held out.
scaling
    Wall time of the same search in this process and on two workers, pruning off. Cold: with the
    start of the workers; warm: where an earlier search has started them and imported everything.

    SEGEXP_DATA_DIR=... .venv/bin/python scripts/bench_search.py [--part PART] [--help]
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from segexp.config.compose import load_config
from segexp.config.options import find_conf_dirs
from segexp.engine.driver import Engine, open_engine
from segexp.evaluation import Split, Table, judge, make_inner_splits, make_splits
from segexp.experiment import Datasets, run_to_end
from segexp.plan import Plan, plan_experiment, rows_name
from segexp.search.families import Bed, Choice, Family, RowsSearch
from segexp.search.fitting import Bench, FoldScore
from segexp.search.journal import Journal
from segexp.search.space import pipeline_parameters
from segexp.search.study import Study
from segexp.search.trial import COMPLETE, Trial

FIVE = ("lightgbm", "xgboost", "random_forest", "logistic_regression", "knn")
MODELS = {"waste": FIVE, "quality": FIVE, "scaling": ("lightgbm", "random_forest")}
TRIALS = {"waste": 10, "quality": 60, "scaling": 16}
FULL = ("search.pruner=none", "search.staged_rounds=null", "search.start_from_defaults=false")
SUGGESTIONS = (10, 60, 200)
VARIANTS = {
    "shipped": (),
    "no default first": ("search.start_from_defaults=false",),
    "no pruning": ("search.pruner=none",),
    "no staged rounds": ("search.staged_rounds=null",),
    "early stopping": ("search.staged_rounds=null", "search.early_stopping=20"),
}
ROWS = rows_name(0, 0)

Params = Mapping[str, Any]
Scores = list[list[float]]  # by trial and inner fold
datasets = Datasets()


@dataclass(frozen=True)
class Ground:
    """What every side stands on: one model and the training rows of one outer split."""

    plan: Plan
    model: str
    table: Table
    outer: Split
    inner: tuple[Split, ...]

    @property
    def family(self) -> Family:
        return self.plan.families[self.model]

    @property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(split.train, split.test) for split in self.inner]

    def pipeline(self, params: Params) -> Pipeline:
        return clone(self.family.pipeline).set_params(**pipeline_parameters(params))


def make_ground(model: str, n_trials: int, seed: int, *words: str, n_jobs: int = 1) -> Ground:
    config = load_config(
        ["dataset=automobile", f"model={model}", "search=tpe", f"search.n_trials={n_trials}",
         f"run.seed={seed}", f"run.split_seed={seed}", f"engine.n_jobs={n_jobs}", *words],
        find_conf_dirs(),
    )  # fmt: skip
    plan = plan_experiment(config)
    data = datasets.load(config, lambda text: None)
    y, groups, segments = data.y, data.groups, tuple(data.segments)
    outer = make_splits(config.evaluation, y, groups, seed, segments)[0]
    inner = make_inner_splits(
        (0, 0), outer.train, y, groups, config.search.inner_splits, seed, segments
    )
    return Ground(plan, model, Table(data.X, y, segments), outer, inner)


@dataclass
class Found:
    """A search of segexp that is over."""

    study: Study
    choice: Choice
    seconds: float  # wall time, with the start of the engine if it was started for it
    told_at: list[tuple[float, Trial]]

    @property
    def scores(self) -> Scores:
        return [trial.fold_values() for trial in self.study.trials]


def open_search(ground: Ground, folder: str, seed: int) -> RowsSearch:
    plan = ground.plan
    return RowsSearch(
        ROWS, 0, plan.families, plan.config.search, plan.metrics, plan.n_objectives,
        seed=seed, journal=Journal(Path(folder, "journal.log")), facts={},
    )  # fmt: skip


async def search_on(
    engine: Engine, ground: Ground, *, seed: int = 0, bench: str = "",
    begun: float | None = None, limit_s: float | None = None,
) -> Found:  # fmt: skip
    """Search as `segexp run` does; ``bench`` names folds to share with an earlier search."""
    start = time.perf_counter() if begun is None else begun
    config = ground.plan.config
    told_at: list[tuple[float, Trial]] = []
    with tempfile.TemporaryDirectory() as folder:
        content = Bench(
            bench or folder, {ground.model: ground.family.pipeline}, {ROWS: ground.inner},
            ground.plan.metrics, config.search.early_stopping, config.search.early_stopping_share,
            config.run.seed,
        )  # fmt: skip
        shared = engine.share(content, content.name)
        search = open_search(ground, folder, seed)
        engine.expect((config.search.n_trials or 0) * config.search.inner_splits)
        choice = await search.run(
            Bed(engine, engine.share(ground.table, "table"), shared),
            lambda study, trial: told_at.append((time.perf_counter() - start, trial)),
            limit_s,
        )
        engine.forget(shared)
    return Found(search.studies[ground.model], choice, time.perf_counter() - start, told_at)


def search(
    ground: Ground, *, seed: int = 0, bench: str = "", limit_s: float | None = None
) -> Found:
    """Search on an engine of its own."""

    async def on_engine() -> Found:
        begun = time.perf_counter()
        async with open_engine(ground.plan.config.engine) as engine:
            return await search_on(
                engine, ground, seed=seed, bench=bench, begun=begun, limit_s=limit_s
            )

    return run_to_end(on_engine())


def new_optuna(seed: int) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))


def optuna_search(ground: Ground, n_trials: int, seed: int, n_jobs: int = 1,
                  queue: Sequence[Params] = ()) -> tuple[optuna.Study, Scores]:  # fmt: skip
    """Plain Optuna; the queue is tried first."""
    scores: dict[int, list[float]] = {}

    def objective(trial: optuna.Trial) -> float:
        pipeline = ground.pipeline(ground.family.space.suggest(trial))
        X, y = ground.table.X, ground.table.y
        found = cross_val_score(pipeline, X, y, cv=ground.folds, scoring="accuracy", n_jobs=1)
        scores[trial.number] = found.tolist()
        return float(found.mean())

    study = new_optuna(seed)
    for params in queue:
        study.enqueue_trial(ground.family.space.encode(params))
    study.optimize(objective, n_trials=n_trials, n_jobs=n_jobs)
    return study, [scores[number] for number in sorted(scores)]


def prepare(ground: Ground) -> list[tuple[Any, ...]]:
    X, y, prepared = ground.table.X, ground.table.y, []
    for train, test in ground.folds:
        steps = clone(ground.family.pipeline[:-1])
        fitted = steps.fit_transform(X.iloc[train], y[train])
        prepared.append((fitted, y[train], steps.transform(X.iloc[test]), y[test]))
    return prepared


def bare_loop(ground: Ground, prepared: list[tuple[Any, ...]], sets: Sequence[Params]) -> Scores:
    def score(params: Params, X: Any, y: Any, X_test: Any, y_test: Any) -> float:
        model = clone(ground.family.pipeline[-1]).set_params(**params)
        return float(accuracy_score(y_test, model.fit(X, y).predict(X_test)))

    return [[score(params, *fold) for fold in prepared] for params in sets]


def grid_search(ground: Ground, sets: Sequence[Params]) -> Scores:
    grid = [{k: [v] for k, v in pipeline_parameters(params).items()} for params in sets]
    search = GridSearchCV(
        ground.family.pipeline, grid, cv=ground.folds, scoring="accuracy", refit=False, n_jobs=1
    ).fit(ground.table.X, ground.table.y)
    folds = [search.cv_results_[f"split{i}_test_score"] for i in range(len(ground.inner))]
    return np.transpose(folds).tolist()


def draw_sets(ground: Ground, bench: str) -> tuple[int, list[Params]]:
    """Run a study for what it suggests, with the first seed that suggests nothing twice."""
    for seed in range(20):
        trials = search(ground, seed=seed, bench=bench).study.trials
        if all(trial.duplicate_of is None for trial in trials):
            return seed, [trial.params for trial in trials]
    raise SystemExit(f"bench_search: {ground.model} repeats parameters; take fewer --trials")


def measure_waste(models: Sequence[str], n_trials: int, pairs: int) -> None:
    print(f"waste: CPU per trial of {n_trials}, as ratios to the bare loop; {pairs} pairs")
    columns = ("segexp", "segexp, prepared", "Optuna", "GridSearchCV")
    show_row("model", ["bare, ms", *columns])
    for name in models:
        ground, kept = make_ground(name, n_trials, 0, *FULL), f"kept {name}"
        seed, sets = draw_sets(ground, kept)  # warms up, and prepares the folds that are kept
        prepared = prepare(ground)
        arms: tuple[Callable[[], Scores], ...] = (
            partial(bare_loop, ground, prepared, sets),
            lambda g=ground, s=seed: search(g, seed=s).scores,
            lambda g=ground, s=seed, k=kept: search(g, seed=s, bench=k).scores,
            lambda g=ground, s=sets: optuna_search(g, len(s), 0, queue=s)[1],
            partial(grid_search, ground, sets),
        )
        cpu = np.zeros((len(arms), pairs))
        for pair in range(pairs):
            scores: dict[int, Scores] = {}
            for i in np.roll(range(len(arms)), pair):
                cpu[i, pair], scores[i] = cpu_seconds(arms[i])
            for i, what in enumerate(columns, 1):
                if not np.allclose(scores[i], scores[0], rtol=0, atol=1e-12):
                    raise SystemExit(f"bench_search: {name}: {what} has other scores than bare")
            tell(f"waste, {name}", pair, pairs)
        bare_ms = 1000 * np.median(cpu[0]) / n_trials
        show_row(name, [f"{bare_ms:.1f}", *(spread(arm / cpu[0]) for arm in cpu[1:])])


def measure_suggestions(models: Sequence[str]) -> None:
    print("\nsuggestion: CPU ms of one TPE suggestion after so many trials, Optuna's in brackets;")
    print("record: CPU ms of all else that segexp's study and journal do for a trial of 5 folds")
    show_row("model", [*(f"{n}" for n in SUGGESTIONS), "record"])
    clock, n_trials = time.process_time, SUGGESTIONS[-1] + 5
    for name in models:
        ground, plain, cpu = make_ground(name, n_trials, 0, *FULL), new_optuna(0), []
        drawn = np.random.default_rng(0).normal(0.5, 0.01, (n_trials, len(ground.inner)))
        with tempfile.TemporaryDirectory() as folder:
            study = open_search(ground, folder, 0).studies[name]
            for values in drawn:  # scores; each side learns from them for its own trials
                marks = [clock()]
                trial = study.ask()
                marks.append(clock())
                for value in values if trial.duplicate_of is None else ():
                    study.record(trial, FoldScore((float(value),), 0.1, None, (), None))
                study.tell(trial, pruned=False)
                marks.append(clock())
                asked = plain.ask()
                ground.family.space.suggest(asked)
                marks.append(clock())
                plain.tell(asked, values.mean())
                cpu.append(np.diff(marks) * 1000)
        ours, rest, theirs = np.transpose(cpu)
        parts = [slice(n, n + 5) for n in SUGGESTIONS]
        cells = [f"{ours[part].mean():.1f} ({theirs[part].mean():.1f})" for part in parts]
        show_row(name, [*cells, f"{np.median(rest):.1f}"])


def outer_score(ground: Ground, pipeline: Pipeline) -> float:
    predicted = judge(ground.table, pipeline, ground.outer).predicted
    return float(accuracy_score(ground.table.y[ground.outer.test], predicted))


def run_optuna(model: str, n_trials: int, seed: int) -> dict[str, Any]:
    ground = make_ground(model, n_trials, seed)
    start = time.perf_counter()
    study, _ = optuna_search(ground, n_trials, seed, 2)
    seconds = time.perf_counter() - start
    best, begun = study.best_trial, study.trials[0].datetime_start
    pipeline = ground.pipeline(ground.family.space.decode(best.params))
    return {
        "n_rows": len(ground.outer.train),
        "optuna_best": study.best_value,
        "optuna_seconds": seconds,
        "optuna_seconds_to_best": (best.datetime_complete - begun).total_seconds(),
        "optuna_outer": outer_score(ground, pipeline),
    }


def run_segexp(
    model: str, n_trials: int, seed: int, variant: str, limit_s: float
) -> tuple[Found, float]:
    """Search for as long as Optuna did, with as many trials as there is time for."""
    ground = make_ground(model, 10 * n_trials, seed, *VARIANTS[variant], n_jobs=2)
    found = search(ground, seed=seed, limit_s=limit_s)
    return found, outer_score(ground, found.choice.pipeline)


def compare(theirs: Mapping[str, Any], found: Found, outer: float) -> dict[str, Any]:
    """Return a row: both sides, and when segexp was as good as Optuna's best."""
    goal = theirs["optuna_best"] - 0.1 / theirs["n_rows"]
    there = [(at, t) for at, t in found.told_at if t.state == COMPLETE and t.mean(0) >= goal]
    return {
        **theirs,
        "segexp_best": next(iter(found.choice.values.values())),
        "segexp_seconds": found.seconds,
        "segexp_trials": found.study.n_different,
        "segexp_outer": outer,
        "segexp_states": " ".join(f"{k}={v}" for k, v in found.choice.states.items()),
        "seconds_to_reach": there[0][0] if there else math.inf,
        "trial_that_reaches": there[0][1].number if there else "",
        "default_reaches": any(trial.origin == "default" for _, trial in there),
    }


def measure_quality(
    models: Sequence[str], n_trials: int, seeds: int, ablate: bool, out: Path | None
) -> None:
    variants = list(VARIANTS)[: None if ablate else 1]
    print(f"\nquality: {n_trials} trials, two cores, {seeds} seeds; ratios of wall time")
    show_row("model, variant", ("to reach / N trials", "/ to its best", "trials made"))
    rows = []
    for model in models:
        for seed in range(seeds):
            sides: dict[str | None, Any] = {}
            for side in (None, *variants):
                gc.collect()
                if side is None:
                    sides[side] = run_optuna(model, n_trials, seed)
                else:
                    limit_s = sides[None]["optuna_seconds"]
                    sides[side] = run_segexp(model, n_trials, seed, side, limit_s)
                tell(f"quality, {model}, {side or 'Optuna'}", seed, seeds)
            for side in variants:
                label = {"model": model, "seed": seed, "variant": side}
                rows.append(label | compare(sides[None], *sides[side]))
            if out is not None:  # a long run is worth keeping row by row
                pd.DataFrame(rows).to_csv(out, index=False)
        table = pd.DataFrame(rows).query("model == @model")
        for variant in variants:
            show_quality(f"{model}, {variant}", table[table["variant"] == variant])


def show_quality(label: str, rows: pd.DataFrame) -> None:
    whole, to_best = rows["optuna_seconds"], rows["optuna_seconds_to_best"]
    to_reach, gains = rows["seconds_to_reach"], rows["segexp_outer"] - rows["optuna_outer"]
    cells = [spread(to_reach / whole), spread(to_reach / to_best)]
    show_row(label, [*cells, spread(rows["segexp_trials"])])
    inner = (rows["segexp_best"] - rows["optuna_best"]).mean()
    ours, theirs = rows["segexp_outer"].mean(), rows["optuna_outer"].mean()
    print(
        f"    reached by {np.isfinite(to_reach).sum()} of {len(rows)}, by the defaults alone "
        f"{rows['default_reaches'].sum()}; inner score less Optuna's {inner:+.4f}; outer "
        f"{ours:.4f}, Optuna's {theirs:.4f}, paired {gains.mean():+.4f} (sd {gains.std():.4f})",
        flush=True,
    )


async def time_pair(one: Ground, two: Ground) -> tuple[float, float, float]:
    """Seconds of the same search in this process, on cold workers and on warm ones."""
    async with open_engine(one.plan.config.engine) as engine:
        alone = await search_on(engine, one)
    begun = time.perf_counter()
    async with open_engine(two.plan.config.engine) as engine:
        engine.expect(10_000)  # processes are worth their start from the second task on
        cold = await search_on(engine, two, begun=begun)
        warm = await search_on(engine, two)
    if not alone.scores == cold.scores == warm.scores:
        raise SystemExit("bench_search: two workers say something else")
    return alone.seconds, cold.seconds, warm.seconds


def measure_scaling(models: Sequence[str], n_trials: int, pairs: int) -> None:
    print(f"\nscaling: {n_trials} trials, trials per second on two workers as ratios to one")
    show_row("model", ["one worker, s", "cold", "warm", "start, s"])
    for name in models:
        one, two = (make_ground(name, n_trials, 0, FULL[0], n_jobs=n_jobs) for n_jobs in (1, 2))
        search(make_ground(name, 1, 0))  # imports
        times = []
        for pair in range(pairs):
            times.append(run_to_end(time_pair(one, two)))
            tell(f"scaling, {name}", pair, pairs)
        alone, cold, warm = np.transpose(times)
        cells = [spread(alone / cold), spread(alone / warm), f"{np.median(cold - warm):.2f}"]
        show_row(name, [f"{np.median(alone):.2f}", *cells])


def cpu_seconds(act: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.process_time()
    result = act()
    return time.process_time() - start, result


def spread(ratios: Any) -> str:
    return f"{np.median(ratios):.3f} ({np.min(ratios):.3f} to {np.max(ratios):.3f})"


def show_row(label: str, cells: Sequence[str], width: int = 24) -> None:
    print(f"{label:40s}" + "".join(f"{cell:>{width}s}" for cell in cells), flush=True)


def tell(what: str, i: int, n: int) -> None:
    print(f"{what}: {i + 1} of {n}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=MODELS, action="append", help="may be repeated")
    parser.add_argument("--models", nargs="+", help="names of conf/model")
    parser.add_argument("--trials", type=int, help=f"of each study; default: {TRIALS}")
    parser.add_argument("--seeds", type=int, default=10, help="of quality")
    parser.add_argument("--pairs", type=int, default=5, help="of waste and scaling")
    parser.add_argument("--ablate", action="store_true", help="quality with one default off each")
    parser.add_argument("--out", type=Path, help="CSV for the rows of quality")
    options = parser.parse_args()
    if "SEGEXP_DATA_DIR" not in os.environ:
        sys.exit("bench_search: set SEGEXP_DATA_DIR to a folder that holds automobile/Train.csv")
    warnings.simplefilter("ignore")  # segexp records them, the others would print them
    with threadpool_limits(limits=1):
        for part in options.part or MODELS:
            size = options.models or MODELS[part], options.trials or TRIALS[part]
            if part == "waste":
                measure_waste(*size, options.pairs)
                measure_suggestions(size[0])
            elif part == "quality":
                measure_quality(*size, options.seeds, options.ablate, options.out)
            else:
                measure_scaling(*size, options.pairs)


if __name__ == "__main__":
    main()

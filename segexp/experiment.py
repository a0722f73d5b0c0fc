"""One experiment, from a validated config to a finished run directory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import platform
import shlex
import subprocess
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp import __version__
from segexp.baskets.work import BasketWork
from segexp.clustering.profile import profile
from segexp.clustering.stability import draw, stability
from segexp.config.compose import config_hash, config_to_yaml, read_config
from segexp.config.schema import UNPREPARED, EvaluationConfig, ExperimentConfig
from segexp.data.findings import Finding
from segexp.data.loading import Dataset, load_dataset, schema_of, segment_counts
from segexp.data_profile import profile_table
from segexp.engine.driver import Engine, open_engine
from segexp.engine.interrupts import cancelled_by_interrupt
from segexp.engine.tasks import Shared
from segexp.errors import ConfigError, DataError, RunError
from segexp.evaluation import (
    Codes,
    FoldResult,
    Split,
    Table,
    check_segment_metrics,
    count_shared,
    fold_from_bytes,
    fold_scores,
    fold_to_bytes,
    hash_splits,
    importance_table,
    judge,
    judge_clusterer,
    make_inner_splits,
    make_splits,
    peak_memory_mb,
    predictions_table,
    timings_table,
)
from segexp.marketing import Marketing, purchases, responses
from segexp.metrics import jackknife_group_count, jackknife_standard_errors, summarise
from segexp.plan import Plan, file_name, find_done, rows_name
from segexp.saved_model import UnsafeModelError, dump_pipeline
from segexp.search.examination import examine_search
from segexp.search.families import BUDGET, Bed, Choice, RowsSearch
from segexp.search.fitting import Bench
from segexp.search.journal import Journal, count_trials
from segexp.search.study import TIMEOUT, Study
from segexp.search.trial import Trial
from segexp.segmentation import (
    Segmentation,
    SegmentWork,
    customers_table,
    describe,
    draw_segmentation,
    segments_table,
)
from segexp.value.work import ValueWork

T = TypeVar("T")
Counts = Mapping[str, Mapping[str, int]]  # trials by rows and model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reporter:
    """How a run tells its progress; the command line draws it, a library user may ignore it."""

    say: Callable[[str], None] = lambda text: None
    # Fits that are done, fits that there may be in all, and what was fitted.
    progress: Callable[[int, int, str], None] = lambda done, total, what: None
    trial: Callable[[str, Trial, Trial | None], None] = lambda study, trial, best: None


class Datasets:
    """Tables that were loaded, so that the cells of a sweep share them.

    Parameters
    ----------
    keep : int
        How many stay in memory.
    """

    def __init__(self, keep: int = 2) -> None:
        self._keep = keep
        self._loaded: dict[str, Dataset] = {}

    def load(self, config: ExperimentConfig, say: Callable[[str], None]) -> Dataset:
        """Return the table of a config.

        Raises
        ------
        DataError
        """
        baskets = config.model.task == "baskets"
        key = repr((config.dataset, config.evaluation.group, baskets))
        if key not in self._loaded:
            say(f"loading dataset {config.dataset.name}")
            try:
                found = load_dataset(
                    config.dataset, config.evaluation.group, progress=say, baskets=baskets
                )
            except MemoryError as error:
                raise DataError(
                    f"dataset {config.dataset.name!r} does not fit into memory"
                ) from error
            self._loaded[key] = found
        self._loaded[key] = self._loaded.pop(key)  # the newest comes last
        while len(self._loaded) > self._keep:
            del self._loaded[next(iter(self._loaded))]
        return self._loaded[key]


def run_experiment(
    plan: Plan,
    words: Sequence[str],
    reporter: Reporter | None = None,
    *,
    datasets: Datasets | None = None,
    counts: Counts | None = None,
) -> runs.Run:
    """Load the table, judge the pipeline fold by fold, and leave a run directory.

    Parameters
    ----------
    plan : Plan
        From :func:`~segexp.plan.plan_experiment`.
    words : sequence of str
        What was typed, for ``overrides.txt``.
    datasets : Datasets, optional
        Tables that were loaded before.
    counts : mapping of rows to mapping of model to int, optional
        How many trials each study makes, in place of its budget.

    Raises
    ------
    ConfigError, DataError
        Before a run directory is made.
    RunError
        If the run directory cannot be made; nothing is left behind.
    RunFailedError
        If the run began and could not end; its directory is kept and says why.
    """
    cell = Cell(plan, tuple(words), reporter or Reporter(), counts=counts)

    async def on_engine() -> runs.Run:
        async with open_engine(plan.config.engine, report=cell.reporter.say) as engine:
            return await run_cell(cell, engine, datasets or Datasets())

    return run_to_end(on_engine())


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when the coroutine has tidied up; its argument says where the results are.
    """
    said: list[Any] = []

    async def noting() -> T:
        try:
            return await work
        except asyncio.CancelledError as stopped:
            said.extend(stopped.args)
            raise

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(noting())
        with cancelled_by_interrupt(task):
            try:
                return loop.run_until_complete(task)
            except (KeyboardInterrupt, asyncio.CancelledError):
                task.cancel()
                with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
                    loop.run_until_complete(task)
                raise KeyboardInterrupt(*said) from None


@dataclass(frozen=True)
class Cell:
    """One experiment that is to be run: alone, or in a sweep."""

    plan: Plan
    words: tuple[str, ...]
    reporter: Reporter = Reporter()
    number: int = 0  # earlier cells are served first
    folder: Path | None = None  # where its run directory lands; None: by the name of its dataset
    counts: Counts | None = None


async def run_cell(cell: Cell, engine: Engine, datasets: Datasets) -> runs.Run:
    """Run one experiment on an engine that others may use too."""
    plan, config = cell.plan, cell.plan.config
    loaded = _load(plan, datasets, cell.reporter)
    texts = {
        runs.CONFIG: config_to_yaml(plan.recorded),
        runs.OVERRIDES: _command(cell),
    }
    outputs = Path(config.run.outputs).expanduser()
    folder = cell.folder or outputs / file_name(config.dataset.name)
    manifest = _manifest(plan.recorded, loaded.dataset, loaded.splits)
    with runs.new_run(folder.parent, folder.name, plan.run_name, texts, manifest) as writer:
        logger.info("run directory %s", writer.path.name)
        await _compute(cell, loaded, writer, engine)
    return runs.open_run(writer.path)


def resume_experiment(
    run: runs.Run,
    plan: Plan,
    reporter: Reporter | None = None,
    *,
    words: Sequence[str] = (),
    retry_failed: bool = False,
) -> runs.Run:
    """Go on with a run that was stopped, or that is to make more trials.

    Parameters
    ----------
    plan : Plan
        Of the run's own config, with another budget if that is wanted.
    words : sequence of str
        What makes this config, for ``overrides.txt``; empty if it is the same.
    retry_failed : bool
        Try again what failed.

    Raises
    ------
    RunError
        If the data are no longer those that the run began with, or another process is at work.
    RunFailedError
        If it cannot end; what is finished is kept.
    """
    cell = Cell(plan, tuple(words), reporter or Reporter())

    async def on_engine() -> runs.Run:
        async with open_engine(plan.config.engine, report=cell.reporter.say) as engine:
            return await resume_cell(run, cell, engine, Datasets(), retry_failed=retry_failed)

    return run_to_end(on_engine())


async def resume_cell(
    run: runs.Run, cell: Cell, engine: Engine, datasets: Datasets, *, retry_failed: bool = False
) -> runs.Run:
    """Go on with one experiment on an engine that others may use too."""
    loaded = _load(cell.plan, datasets, cell.reporter)
    _check_same_data(run, loaded)
    _check_journal(run, cell.plan)
    pending = _words_of_more(run, cell.plan, retry_failed)
    with runs.continue_run(run, pending) as writer:
        logger.info("resumed")

        def adopt() -> None:
            """Take over the config, which may say more trials."""
            # A kill between the two leaves the former config, and what is pending.
            former = run.manifest["config_hash"]
            writer.update(config_hash=config_hash(cell.plan.recorded), former_config_hash=former)
            writer.write_text(runs.CONFIG, config_to_yaml(cell.plan.recorded))
            if cell.words:
                writer.write_text(runs.OVERRIDES, _command(cell))
            writer.forget_pending()

        if not writer.has_whole_results:
            adopt()
        await _compute(cell, loaded, writer, engine, retry_failed=retry_failed, adopt=adopt)
    return runs.open_run(run.path)


def _check_journal(run: runs.Run, plan: Plan) -> None:
    """Refuse to go on with a completed run whose journal lacks trials, or has too many of them."""
    if run.status != runs.COMPLETED or not (run.path / runs.TRIALS).is_file():
        return
    journal, n_trials = run.path / runs.JOURNAL, len(run.read_trials())
    counts = count_trials(journal)
    if counts.all < n_trials:  # they would be run again
        raise RunError(
            f"{journal} holds {counts.all} of the {n_trials} trials of this run; put back the "
            f"whole file, or start a new run"
        )
    wanted = plan.config.search.n_trials
    if wanted is not None and counts.most > wanted:
        raise RunError(
            f"search.n_trials={wanted}: {run.path} went on to {counts.most} trials in a study, "
            f"and they cannot be taken back; say search.n_trials={counts.most} or more"
        )


def _words_of_more(run: runs.Run, plan: Plan, retry_failed: bool) -> list[str]:
    """Return the words that make of the config of a run that of a plan."""
    before, now = asdict(read_config(run.path / runs.CONFIG).search), asdict(plan.recorded.search)
    words = [
        f"search.{key}={'null' if now[key] is None else now[key]}"
        for key in BUDGET
        if now[key] != before[key]
    ]
    return [*words, *(["--retry-failed"] if retry_failed else [])]


async def _compute(
    cell: Cell,
    loaded: _Loaded,
    writer: runs.RunWriter,
    engine: Engine,
    *,
    retry_failed: bool = False,
    adopt: Callable[[], None] = lambda: None,
) -> None:
    """Compute what a run is to hold, by the task of its model.

    Results of before stay until all new ones are known; then ``adopt`` is called.
    """
    config = cell.plan.config

    def begin_results() -> None:
        if writer.has_whole_results:
            writer.replace_results()
            adopt()

    if config.model.task not in UNPREPARED:
        work_on = _Work(cell, loaded, writer, engine, retry_failed=retry_failed)
        try:
            await work_on.finish(begin_results)
        finally:
            engine.forget(work_on.table)
        return
    begin_results()
    done = 0

    def count(n: int, what: str) -> None:
        nonlocal done
        done += n
        logger.info("%d of %d: %s", done, work.n_tasks, what)
        cell.reporter.progress(done, work.n_tasks, what)

    make: type[ValueWork | BasketWork] = ValueWork if config.model.task == "value" else BasketWork
    _describe_table(writer, loaded.dataset, config)
    work = make(
        config, cell.plan.pipeline, cell.plan.baselines, loaded.dataset, loaded.splits, writer,
        engine, count, (cell.number,),
    )  # fmt: skip
    engine.expect(work.n_tasks)
    try:
        await work.finish()
    finally:
        engine.forget(work.shared)
    if work.model is not None:
        _write_model(writer, cell.plan, loaded.dataset, work.model, None, ())
    writer.update(peak_memory_mb=peak_memory_mb())


def find_same(plan: Plan, datasets: Datasets, reporter: Reporter | None = None) -> runs.Run | None:
    """Return the newest completed run of the same config on the same data by this segexp."""
    done = find_done(plan)
    if not done:
        return None
    dataset = datasets.load(plan.config, (reporter or Reporter()).say)
    for path in reversed(done):
        run = runs.open_run(path)
        versions = run.manifest.get("versions")
        same = run.manifest.get("dataset", {}).get("fingerprint") == dataset.fingerprint
        if same and isinstance(versions, dict) and versions.get("segexp") == __version__:
            return run
    return None


@dataclass(frozen=True)
class _Loaded:
    """The customers of a run, and how they are dealt."""

    dataset: Dataset
    splits: Sequence[Split]
    inner: Mapping[str, tuple[Split, ...]]  # of each study; empty without a search


def _load(plan: Plan, datasets: Datasets, reporter: Reporter) -> _Loaded:
    config = plan.config
    dataset = datasets.load(config, reporter.say)
    if dataset.y is None and config.model.task == "classification":
        raise DataError(f"dataset {dataset.name!r} has no target")
    check_segment_metrics(config.evaluation, config.search, dataset.segments)
    if not len(dataset.X.columns):
        raise DataError(f"dataset {dataset.name!r} has no feature columns left; see dataset.ignore")
    seed = config.run.split_seed
    # Where no segment is known all customers are of one kind, and the folds are not stratified.
    y = np.zeros(len(dataset.X), dtype=int) if dataset.y is None else dataset.y
    names = dataset.segments or ("all customers",)
    splits = make_splits(config.evaluation, y, dataset.groups, seed, names)
    training: dict[str, tuple[tuple[int, ...], Codes]] = {
        rows_name(split.repeat, split.fold): ((split.repeat, split.fold), split.train)
        for split in splits
    }
    training[runs.FINAL] = ((), np.arange(len(y)))
    n_inner = config.search.inner_splits
    inner = {
        rows: make_inner_splits(*training[rows], y, dataset.groups, n_inner, seed, names)
        for rows in plan.studies
    }
    smallest = min((s for s in (*splits, *sum(inner.values(), ()))), key=lambda s: len(s.train))
    _check_neighbors(plan, len(smallest.train))
    _check_n_segments(plan, len(smallest.train))
    return _Loaded(dataset, splits, inner)


def _check_same_data(run: runs.Run, loaded: _Loaded) -> None:
    """Refuse to go on with other data than the run began with."""
    recorded, dataset = run.manifest["dataset"], loaded.dataset
    if recorded["fingerprint"] != dataset.fingerprint:
        raise RunError(
            f"{run.path} began with other data: {recorded['n_rows']:,} customers with fingerprint "
            f"{recorded['fingerprint']}, now {len(dataset.X):,} with {dataset.fingerprint}; bring "
            f"the old table back, or start a new run"
        )
    if run.manifest["split"]["hash"] != hash_splits(loaded.splits):
        raise RunError(f"{run.path} began with other folds; start a new run")


def _check_neighbors(plan: Plan, smallest: int) -> None:
    """Refuse more neighbours than training rows: scikit-learn would repeat the first row."""
    wanted = {
        name.replace("model__", "model.estimator."): value
        for name, value in plan.pipeline.get_params().items()
        if name.split("__")[-1] == "n_neighbors" and isinstance(value, int)
    }
    if plan.clusters and "n_neighbors" not in plan.config.model.estimator:
        wanted.pop("model.estimator.n_neighbors", None)  # of the rule for new customers
    for family in plan.families.values():
        for parameter in family.space.parameters:
            if parameter.name.split("__")[-1] == "n_neighbors" and parameter.high is not None:
                wanted[f"model.space.{parameter.name}.high"] = int(parameter.high)
    for name, value in wanted.items():
        if value > smallest:
            raise ConfigError(
                f"{name} is {value}, but the smallest training fold has {smallest} rows"
            )


def _check_n_segments(plan: Plan, smallest: int) -> None:
    """Refuse more segments than a resample of the smallest training fold has customers."""
    parameter = plan.k_parameter
    if parameter is None:
        return
    value = plan.pipeline.get_params()[f"model__{parameter}"]
    wanted = {f"model.estimator.{parameter}": value}
    for family in plan.families.values():
        for searched in family.space.parameters:
            if searched.name == parameter and searched.high is not None:
                wanted[f"model.space.{parameter}.high"] = int(searched.high)
    for name, n in wanted.items():
        if isinstance(n, int) and n > smallest // 2:
            raise ConfigError(
                f"{name} is {n}, but the smallest training fold has {smallest} customers, enough "
                f"for {smallest // 2} segments"
            )


def _command(cell: Cell) -> str:
    return shlex.join(["segexp", "run", *_recorded_words(cell.plan, cell.words)]) + "\n"


def _recorded_words(plan: Plan, words: Sequence[str]) -> list[str]:
    return [
        f"dataset.url='{plan.recorded.dataset.url}'"
        if word.lstrip("+").startswith("dataset.url=")
        else word
        for word in words
    ]


class _Work:
    """The computations of one run, as tasks on an engine; each leaves its result on disk."""

    def __init__(
        self,
        cell: Cell,
        loaded: _Loaded,
        writer: runs.RunWriter,
        engine: Engine,
        *,
        retry_failed: bool = False,
    ) -> None:
        self.cell, self.plan, self.config = cell, cell.plan, cell.plan.config
        self.dataset, self.splits = loaded.dataset, loaded.splits
        self.writer, self.engine, self.retry_failed = writer, engine, retry_failed
        table = Table(self.dataset.X, self.dataset.y, tuple(self.dataset.segments))
        # By object, which the engine keeps: cells of a sweep with the same data section share it.
        self.table = engine.share(table, f"{self.dataset.fingerprint} {id(self.dataset.X)}")
        self.segments = SegmentWork(
            engine, writer, self.table, len(self.dataset.X), self.plan.pipeline,
            self.plan.k_parameter, self.config, self._count, (cell.number,),
        )  # fmt: skip
        self.done = 0
        self.total = self._count_tasks()
        engine.expect(self.total)
        self.bench: Shared[Bench] | None = None
        self.searches: dict[str, RowsSearch] = {}
        if loaded.inner:
            self._open_searches(loaded.inner)
        self.results: dict[str, list[FoldResult | None]] = {}
        self.choices: dict[str, Choice] = {}
        self.turn = asyncio.Lock()

    def _count_tasks(self) -> int:
        plan = self.plan
        search = plan.n_search_fits
        if search is None:  # a clock ends it; as if it made 60 trials
            search = len(plan.studies) * 60 * self.config.search.inner_splits
        total = plan.n_fits + len(plan.baselines) * len(self.splits) + search
        if plan.clusters:
            total += self.segments.n_tasks([len(rows) for rows in self._k_rows.values()])
            total -= self.config.evaluation.final_model  # it is among those of the segments
        return total

    def _open_searches(self, inner: Mapping[str, tuple[Split, ...]]) -> None:
        """Open the studies, and share with the workers what all trials stand on."""
        plan, config, search = self.plan, self.config, self.config.search
        journal = Journal(self.writer.make_folder(runs.STUDIES) / Path(runs.JOURNAL).name)
        bench = Bench(
            name=uuid.uuid4().hex,  # workers of a cluster outlive this process
            pipelines={name: family.pipeline for name, family in plan.families.items()},
            splits=dict(inner),
            metrics=plan.metrics,
            early_stopping=search.early_stopping,
            early_stopping_share=search.early_stopping_share,
            fold_resamples=config.evaluation.fold_resamples,
            silhouette_rows=config.evaluation.silhouette_rows,
            seed=config.run.seed,
            groups=self.dataset.groups,
        )
        self.bench = self.engine.share(bench, bench.name)
        self.searches = {
            rows: RowsSearch(
                rows, index, plan.families, plan.search, plan.metrics, plan.n_objectives,
                seed=config.run.seed, journal=journal,
                facts={"data": self.dataset.fingerprint},
                counts=(self.cell.counts or {}).get(rows),
            )
            for index, rows in enumerate(inner)
        }  # fmt: skip
        for studies in self.searches.values():  # earlier ones are served first
            if studies.note_cut_off():
                break

    async def finish(self, begin_results: Callable[[], None]) -> None:
        """Do what is left to do, and write the results, after ``begin_results``."""
        start = time.perf_counter()
        pipelines = {"": self.plan.pipeline, **self.plan.baselines}
        self.results = {name: [None] * len(self.splits) for name in pipelines}
        model: bytes | UnsafeModelError | None = None
        found: Segmentation | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in self.results:
                    for i in range(len(self.splits)):
                        tasks.create_task(self._judge(name, i))
                if self.config.evaluation.final_model and self.plan.clusters:
                    found_later = tasks.create_task(self._find_segments())
                elif self.config.evaluation.final_model:
                    final = tasks.create_task(self._fit_final())
            if self.config.evaluation.final_model and self.plan.clusters:
                found = found_later.result()
                model = found.model
            elif self.config.evaluation.final_model:
                model = final.result()
        except BaseExceptionGroup as group:
            error = _first(group)
            self._keep()
            raise error from error.__cause__
        except BaseException:
            self._keep()
            raise
        finally:
            if self.bench is not None:
                self.engine.forget(self.bench)
        logger.info("computed in %.1f s", time.perf_counter() - start)
        begin_results()
        self._write(model, found)
        _describe_table(self.writer, self.dataset, self.config, found)
        if found is not None:
            await self._write_segmentation(found)
        if self.searches:
            await self._write_search()
        self.writer.remove_folder(runs.FOLDS)

    def _keep(self) -> None:
        """Write what is known of a run that does not come to its end, if nothing is there yet."""
        if self.writer.has_whole_results:
            return
        with contextlib.suppress(RunError):  # the first cause is the one to tell
            _write_folds(self.writer, self.dataset, self._own)
            self._write_trials()

    @property
    def _model_name(self) -> str:
        return "several" if self.config.search.candidates else self.config.model.name

    @property
    def _own(self) -> list[FoldResult]:
        return [result for result in self.results.get("", []) if result is not None]

    async def _judge(self, name: str, i: int) -> None:
        """Judge one pipeline on one outer split; the run's own after its search, if it has one."""
        split, config, pipeline = self.splits[i], self.config, self.plan.pipeline
        file = f"{name or 'model'}-{rows_name(split.repeat, split.fold)}"
        if name:
            pipeline = self.plan.baselines[name]
        elif config.search.chooses_k:
            rows = rows_name(split.repeat, split.fold)
            pipeline, k = await self.segments.with_k(rows, split.train)
            file = f"{file}-{k}"
        elif self.searches:
            choice = await self._search(rows_name(split.repeat, split.fold))
            pipeline, file = choice.pipeline, f"{file}-{choice.model}-{choice.trial}"
        file = f"{runs.FOLDS}/{file}.npz"
        result = self._kept(file, split)
        if result is None:
            priority = (self.cell.number, len(self.splits) + 1 if name else i, -1)
            if self.plan.clusters and not name:
                result = await self.engine.run(
                    judge_clusterer, self.table, pipeline, split, self.segments.refits,
                    config.run.seed, priority=priority,
                )  # fmt: skip
            else:
                result = await self.engine.run(
                    judge, self.table, pipeline, split,
                    0 if name else config.evaluation.importance_repeats,
                    config.evaluation.metric, config.run.seed, priority=priority,
                )  # fmt: skip
            self.writer.write_bytes(file, fold_to_bytes(result))
        self.results[name][i] = result
        self._count(1, name)

    def _kept(self, file: str, split: Split) -> FoldResult | None:
        """Return the result of a fold that an earlier process finished."""
        kept = self.writer.path / file
        return fold_from_bytes(kept.read_bytes(), split) if kept.is_file() else None

    async def _search(self, rows: str) -> Choice:
        if self.bench is None:
            raise RuntimeError("there is no search")
        search = self.searches[rows]
        timeout_s = self.config.search.timeout_s
        bed = Bed(self.engine, self.table, self.bench, (self.cell.number,))

        def told(study: Study, trial: Trial) -> None:
            if trial.failure is not None and trial.duplicate_of is None:
                logger.warning(
                    "%s, trial %d: %s: %s", study.name, trial.number, trial.state,
                    trial.failure.cause,
                )  # fmt: skip
                logger.info("%s", trial.failure.traceback)
            self.cell.reporter.trial(study.name, trial, study.winner())
            if trial.duplicate_of is None:  # what pruning and failures saved is done, too
                self._count(study.config.inner_splits, f"{study.name}, trial {trial.number}")

        if timeout_s is None or self.cell.counts:
            choice = await search.run(bed, told, retry_failed=self.retry_failed)
        else:
            # One after the other: a study's share of the time begins when its turn comes.
            async with self.turn:
                share_s = timeout_s / len(self.searches)
                choice = await search.run(bed, told, share_s, retry_failed=self.retry_failed)
        self.choices[rows] = choice
        logger.info("%s: trial %d won: %s", rows, choice.trial, dict(choice.params))
        return choice

    def _words_for_more(self) -> str:
        """Return the words that give the search twice as much of what ended it."""
        search = self.config.search
        by = {choice.stopped_by for choice in self.choices.values()}
        if TIMEOUT in by:
            return f"search.timeout={math.ceil(2 * (search.timeout_s or 0))}s"
        words = [f"search.n_trials={2 * search.n_trials}"] if search.n_trials else []
        if "patience" in by and search.patience is not None:
            words.append(f"search.patience={2 * search.patience}")
        return " ".join(words)

    @property
    def _k_rows(self) -> dict[str, Codes]:
        """The rows that a table of k is made on: all, and the training rows if k is chosen."""
        found = {}
        if self.config.search.chooses_k:
            found = {rows_name(split.repeat, split.fold): split.train for split in self.splits}
        if self.config.evaluation.final_model:
            found[runs.FINAL] = np.arange(len(self.dataset.X))
        return found

    async def _find_segments(self) -> Segmentation:
        """Segment all customers, in the way that was chosen on all of them."""
        pipeline, tag = self.plan.pipeline, ""
        if self.searches:
            choice = await self._search(runs.FINAL)
            pipeline, tag = choice.pipeline, f"{choice.model}-{choice.trial}-"
        elif self.config.search.chooses_k:
            everybody = np.arange(len(self.dataset.X))
            pipeline, k = await self.segments.with_k(runs.FINAL, everybody)
            tag = f"{k}-"
        return await self.segments.find(pipeline, tag, len(self.splits))

    async def _fit_final(self) -> bytes | UnsafeModelError:
        pipeline = self.plan.pipeline
        if self.searches:
            pipeline = (await self._search(runs.FINAL)).pipeline
        priority = (self.cell.number, len(self.splits), -1)
        saved = await self.engine.run(fit_and_dump, self.table, pipeline, priority=priority)
        self._count(1, "the final model")
        return saved

    def _count(self, n: int, what: str) -> None:
        self.done += n
        logger.info("%d of %d: %s", self.done, self.total, what or self._model_name)
        self.total = max(self.total, self.done)
        self.cell.reporter.progress(self.done, self.total, what or self._model_name)

    def _write(
        self, model: bytes | UnsafeModelError | None, found: Segmentation | None = None
    ) -> None:
        writer, config, dataset = self.writer, self.config, self.dataset
        scores = _write_folds(writer, dataset, self._own)
        baselines = [
            fold_scores([r for r in results if r], dataset.y, dataset.segments).assign(
                baseline=name
            )
            for name, results in self.results.items()
            if name
        ]
        if baselines:
            columns = ["baseline", "repeat", "fold", "metric", "value"]
            writer.write_csv(runs.BASELINES, pd.concat(baselines, ignore_index=True)[columns])
        if config.evaluation.importance_repeats or self.plan.clusters:
            writer.write_csv(runs.IMPORTANCE, importance_table(self._own))
        summary = summarise_results(self._own, dataset, config.evaluation, scores)
        writer.write_json(runs.SUMMARY, summary)
        if self.plan.clusters:
            bounds, metric = self.plan.search.constraints, config.evaluation.metric
            writer.update(constraints_missed=missed(bounds, metric, scores))
        if model is not None:
            segments = found.names if found else tuple(dataset.segments)
            choice = self.choices.get(runs.FINAL)
            _write_model(writer, self.plan, dataset, model, choice, segments)
        results = [result for folds in self.results.values() for result in folds if result]
        for name, folds in self.results.items():
            texts = [text for result in folds if result for text in result.warnings]
            for message in dict.fromkeys(texts):
                logger.warning("%s: %s", name or self._model_name, message)
        peak = max(*(result.peak_memory_mb for result in results), peak_memory_mb())
        writer.update(peak_memory_mb=peak)

    async def _write_segmentation(self, found: Segmentation) -> None:
        """Write what the segments of all customers are, how stable, and how many there may be."""
        writer, dataset = self.writer, self.dataset
        work, seed = self.segments, self.config.run.seed
        drawn = [draw(len(dataset.X), i, seed) for i in range(len(work.labelings))]
        stable = stability(found.labels, work.labelings, drawn) if work.labelings else None
        truth = None
        if dataset.y is not None:
            truth = pd.Series(np.asarray(dataset.segments, dtype=object)[dataset.y])
        customers = customers_table(found, dataset.ids, truth)
        writer.write_parquet(runs.CUSTOMERS, customers)
        writer.write_csv(runs.SEGMENTS, segments_table(found, dataset.X, stable))
        if stable is not None:
            writer.write_csv(runs.STABILITY, stable.to_frame())
        if work.k_tables:
            tables = [table.assign(rows=rows) for rows, table in sorted(work.k_tables.items())]
            writer.write_csv(runs.K_TABLE, pd.concat(tables, ignore_index=True))
        if len(work.parents):
            writer.write_csv(runs.PARENTS, work.parents)
        more = await self._market(found, customers)
        for name, table in more.tables.items():
            writer.write_csv(name, table)
        content = describe(
            found,
            stable,
            work.verdicts,
            work.k_tables,
            {**more.facts, "notes": (*found.notes, *more.notes)},
        )
        writer.write_json(runs.SEGMENTATION, content)
        last = work.k_tables.get(runs.FINAL), work.verdicts.get(runs.FINAL)
        figures = await self.engine.run(
            draw_segmentation, found, stable, *last,
            priority=(self.cell.number, len(self.splits) + 2),
        )  # fmt: skip
        writer.make_folder(runs.FIGURES)
        for name, picture in {**figures, **more.figures}.items():
            writer.write_bytes(f"{runs.FIGURES}/{name}", picture)

    async def _market(self, found: Segmentation, customers: pd.DataFrame) -> Marketing:
        """Sum up what marketing asks of segments, where a log or an outcome tells."""
        dataset, made = self.dataset, Marketing()
        priority = (self.cell.number, len(self.splits) + 2)
        if dataset.log is not None and dataset.totals is not None:
            made = await self.engine.run(
                purchases, customers, dataset.X, dataset.totals, dataset.log, found.scorer,
                priority=priority,
            )  # fmt: skip
        if (target := dataset.roles["target"]) and "known" in customers:
            made |= await self.engine.run(
                responses, found.labels, found.names, customers["known"], target[0],
                priority=priority,
            )  # fmt: skip
        return made

    def _write_trials(self) -> pd.DataFrame | None:
        tables = [search.table() for search in self.searches.values()]
        if not (tables := [table for table in tables if len(table)]):
            return None
        trials = pd.concat(tables, ignore_index=True)
        self.writer.write_parquet(runs.TRIALS, trials)
        return trials

    async def _write_search(self) -> None:
        """Write trials, what each study chose, what is to be said of the search, and figures."""
        trials = self._write_trials()
        order = [rows for rows in self.searches if rows in self.choices]
        chosen = {
            "metrics": list(self.plan.metrics),
            "n_objectives": self.plan.n_objectives,
            "choices": [self.choices[rows].to_dict() for rows in order],
        }
        self.writer.write_json(runs.SEARCH, chosen)
        objectives = self.plan.metrics[: self.plan.n_objectives]
        scores = fold_scores(self._own, self.dataset.y, self.dataset.segments)
        outer = scores.loc[scores["metric"] == objectives[0], "value"].tolist()
        spaces = {name: family.space for name, family in self.plan.families.items()}
        try:
            examined = await self.engine.run(
                examine_search, trials, spaces, objectives, outer,
                len(self.splits) // self.config.evaluation.n_repeats,
                self._words_for_more(),
                priority=(self.cell.number, len(self.splits) + 2),
            )  # fmt: skip
        except Exception:  # hours of search are not lost for a figure
            logger.exception("the search could not be examined")
            self.writer.update(warnings=[f"no figures and no checks of the search, see {runs.LOG}"])
            return
        self.writer.make_folder(runs.FIGURES)
        for name, content in examined.figures.items():
            self.writer.write_bytes(f"{runs.FIGURES}/{name}", content)
        self.writer.update(checks=[asdict(check) for check in examined.checks])


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group that is not a group."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def fit_and_dump(table: Table, pipeline: Pipeline) -> bytes | UnsafeModelError:
    """Fit a clone of a pipeline on all rows and return it as it is saved."""
    with warnings.catch_warnings():  # the folds have said them
        warnings.simplefilter("ignore")
        fitted = clone(pipeline).fit(table.X, table.y)
    try:
        return dump_pipeline(fitted)
    except UnsafeModelError as error:  # a model of the user's own; what was measured stands
        return error


def _write_folds(
    writer: runs.RunWriter, dataset: Dataset, folds: Sequence[FoldResult]
) -> pd.DataFrame:
    """Write predictions, scores and timings of the folds there are; return the scores."""
    y, segments = dataset.y, dataset.segments
    scores = fold_scores(folds, y, segments)
    if folds:
        writer.write_parquet(runs.PREDICTIONS, predictions_table(folds, y, dataset.ids, segments))
        writer.write_csv(runs.SCORES, scores)
        writer.write_csv(runs.TIMINGS, timings_table(folds))
    return scores


def summarise_results(
    results: Sequence[FoldResult],
    dataset: Dataset,
    config: EvaluationConfig,
    scores: pd.DataFrame,
) -> dict[str, dict[str, Any]]:
    """Return mean, spread and interval of each metric; intervals come from the predictions.

    Customers of one group, and the rows of one id, leave the jackknife together. Where no segment
    is known there is no interval.
    """
    if dataset.y is None:
        return summarise(scores)
    tests = np.concatenate([result.split.test for result in results])
    units = dataset.groups if dataset.groups is not None else pd.factorize(dataset.ids)[0]
    shares = [result.probabilities for result in results if result.probabilities is not None]
    errors = jackknife_standard_errors(
        dataset.y[tests],
        np.concatenate([result.predicted for result in results]),
        np.concatenate(shares) if shares else None,
        dataset.segments,
        units[tests],
        parts=np.repeat(np.arange(len(results)), [len(result.split.test) for result in results]),
        seed=0,  # deals customers into groups; not a seed of the experiment
    )
    return summarise(scores, errors, jackknife_group_count(units[tests]), config.confidence)


def missed(
    constraints: Mapping[str, Mapping[str, float]], metric: str, scores: pd.DataFrame
) -> list[str]:
    """Say what a segmentation does not keep to: in the mean over folds, or in most folds.

    Also where the ranking metric is not defined on a fold: a mean over the others says nothing
    of a clusterer that found no segments there.
    """
    found = []
    by_metric = {str(name): values for name, values in scores.groupby("metric")["value"]}
    values = by_metric.get(metric, pd.Series(dtype=float))
    if undefined := int(values.isna().sum()):
        found.append(f"{metric} is not defined on {undefined} of {len(values)} folds")
    for name, bounds in constraints.items():
        values = by_metric.get(name, pd.Series(dtype=float)).dropna()
        for key, sign, word in (("min", 1, "below"), ("max", -1, "above")):
            if not len(values) or key not in bounds:
                continue
            beyond = sign * values < sign * bounds[key]
            if sign * values.mean() < sign * bounds[key]:
                found.append(f"{name} is {values.mean():.4g}, {word} {bounds[key]:g}")
            elif beyond.mean() > 0.5:
                n = int(beyond.sum())
                found.append(f"{name} is {word} {bounds[key]:g} on {n} of {len(values)} folds")
    return found


def _describe_table(
    writer: runs.RunWriter,
    dataset: Dataset,
    config: ExperimentConfig,
    found: Segmentation | None = None,
) -> None:
    """Write what a report says of the customers: columns, known segments, some rows as they are."""
    if dataset.baskets is not None:
        return
    labels, names = (found.labels, found.names) if found and found.names else (None, ())
    seed = config.run.split_seed
    told = profile_table(
        dataset.X, dataset.y, dataset.segments, labels=labels, names=names, seed=seed
    )
    writer.write_json(runs.PROFILE, told)
    if dataset.y is not None and config.model.task == "classification":
        writer.write_csv(runs.SEGMENTS, profile(dataset.X, dataset.y, dataset.segments))
    if config.evaluation.sample_rows:
        sampled = _sample(dataset, config.evaluation.sample_rows, seed)
        writer.write_parquet(runs.SAMPLE, sampled)


def _sample(dataset: Dataset, n: int, seed: int) -> pd.DataFrame:
    """Return ``row``, ``id``, ``target`` if known and the features of at most ``n`` customers."""
    rows = np.arange(len(dataset.X))
    if len(rows) > n:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    X = dataset.X.iloc[rows].reset_index(drop=True)
    # The order of levels is in the schema of the model.
    X = X.astype({name: object for name, kind in X.dtypes.items() if kind == "category"})
    own = {"row": rows, "id": dataset.ids.iloc[rows].to_numpy()}
    if dataset.y is not None:
        own["target"] = np.asarray(dataset.segments, dtype=object)[dataset.y[rows]]
    X = X.rename(columns={name: f"{name} (feature)" for name in own})
    return pd.concat([pd.DataFrame(own), X], axis=1)


def _write_model(
    writer: runs.RunWriter,
    plan: Plan,
    dataset: Dataset,
    model: bytes | UnsafeModelError,
    choice: Choice | None,
    segments: Sequence[str],
) -> None:
    if isinstance(model, UnsafeModelError):
        logger.warning("%s", model)
        writer.update(warnings=[str(model)])
        return
    writer.write_bytes(runs.PIPELINE, model)
    writer.write_json(
        runs.MODEL_SCHEMA,
        {
            **schema_of(dataset),
            "task": plan.config.model.task,
            "model": choice.model if choice else plan.config.model.name,
            "searched": dict(choice.params) if choice else {},
            "segments": list(segments),
            "trained_on": {
                "dataset": dataset.name,
                "fingerprint": dataset.fingerprint,
                "synthetic": dataset.synthetic,
                "n_rows": len(dataset.X),
            },
            "versions": _versions(),
        },
    )


def _manifest(
    config: ExperimentConfig, dataset: Dataset, splits: Sequence[Split]
) -> dict[str, Any]:
    findings = [
        asdict(finding) for finding in (*dataset.findings, *_split_findings(dataset, splits))
    ]
    evaluation = config.evaluation
    return {
        "task": config.model.task,
        "name": config.run.name,
        "tags": config.run.tags,
        "config_hash": config_hash(config),
        "dataset": {
            "name": dataset.name,
            "synthetic": dataset.synthetic,
            "fingerprint": dataset.fingerprint,
            "n_rows": len(dataset.X),
            "n_rows_read": dataset.n_rows_read,
            "n_features": len(dataset.X.columns),
            "roles": {role: list(columns) for role, columns in dataset.roles.items()},
            "files": list(dataset.files),
            "findings": findings,
            "log": dataset.log,
        },
        "preprocessing": config.preprocessing.name,
        "model": "several" if config.search.candidates else config.model.name,
        "search": config.search.name,
        "segments": segment_counts(dataset),
        "feature_space": _feature_space(config, dataset),
        "split": {
            "protocol": evaluation.protocol,
            "n_splits": evaluation.n_splits,
            "n_repeats": evaluation.n_repeats,
            "test_size": evaluation.test_size if evaluation.protocol == "holdout" else None,
            "group": evaluation.group,
            "split_seed": config.run.split_seed,
            "hash": hash_splits(splits),
        },
        "seed": config.run.seed,
        "metric": evaluation.metric,
        "confidence": evaluation.confidence,
        "versions": _versions(),
        "platform": platform.platform(),
        "git": _git_commit(),
    }


def _feature_space(config: ExperimentConfig, dataset: Dataset) -> str:
    """Name the space in which distances are measured: silhouettes of two spaces do not compare."""
    preprocessing = {k: v for k, v in asdict(config.preprocessing).items() if k != "space"}
    kind = "mixed" if config.model.native_categorical else "numbers"
    content = [preprocessing, list(dataset.X.columns), kind]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:8]


def _split_findings(dataset: Dataset, splits: Sequence[Split]) -> list[Finding]:
    """Say how many customers are judged by a model that has met them, or their like."""
    found = []
    if again := count_shared(dataset.ids.to_frame(), splits):
        found.append(
            Finding(
                "same_customer",
                f"{again} rows are judged while another row of the same id is among the training "
                f"rows; evaluation.group keeps them on one side",
                again,
            )
        )
    # What is known of customers of a log is little: many are alike.
    if dataset.log is None and (twins := count_shared(dataset.X, splits)):
        message = f"{twins} customers equal a training customer in every feature"
        found.append(Finding("twins", message, twins))
    return found


_LIBRARIES = (
    "cmaes",
    "distributed",
    "duckdb",
    "hydra-core",
    "joblib",
    "lightgbm",
    "mlxtend",
    "numpy",
    "omegaconf",
    "optuna",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "sqlalchemy",
    "torch",
    "xgboost",
    "xgboost-cpu",
)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "segexp": __version__}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # an extra, or the other xgboost wheel
            continue
    return versions


def _git_commit() -> dict[str, Any] | None:
    """Return the commit of the folder in which the user works, if it is in a repository."""
    try:
        commit, status = (
            subprocess.run(
                # A repository may name a program of its own for fsmonitor.
                ["git", "-c", "core.fsmonitor=false", *words],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(status)}

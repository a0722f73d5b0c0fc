"""One experiment, from a validated config to a finished run directory."""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

import segexp.runs as runs
from segexp import __version__
from segexp.components import build_pipeline, join, parse_spaces
from segexp.config.compose import config_hash, config_to_yaml, load_shipped_option
from segexp.config.schema import EvaluationConfig, ExperimentConfig
from segexp.config.space import Parameter
from segexp.data.findings import Finding
from segexp.data.loading import Dataset, load_dataset, schema_of, segment_counts
from segexp.data.readers import read_header
from segexp.data.roles import check_columns
from segexp.data.sql import recorded_address
from segexp.errors import ConfigError, DataError, RunError
from segexp.evaluation import (
    FoldResult,
    Split,
    check_metrics,
    check_segment_metrics,
    count_shared,
    evaluate,
    fold_scores,
    hash_splits,
    importance_table,
    make_splits,
    peak_memory_mb,
    predictions_table,
)
from segexp.metrics import jackknife_group_count, jackknife_standard_errors, summarise
from segexp.saved_model import UnsafeModelError, dump_pipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What an experiment would do: built and checked, nothing loaded, nothing fitted."""

    config: ExperimentConfig
    pipeline: Pipeline
    baselines: dict[str, Pipeline]
    spaces: dict[str, tuple[Parameter, ...]]

    @property
    def n_fits(self) -> int:
        """Fits of the model: one per fold, and one on all rows."""
        evaluation = self.config.evaluation
        folds = 1 if evaluation.protocol == "holdout" else evaluation.n_splits
        return folds * evaluation.n_repeats + evaluation.final_model

    @property
    def recorded(self) -> ExperimentConfig:
        """The config as a run records it: without the secrets of a database address."""
        config = self.config
        if config.dataset.url is None:
            return config
        url = recorded_address(config.dataset.url)
        return replace(config, dataset=replace(config.dataset, url=url))

    @property
    def run_name(self) -> str:
        """Everything of a run directory's name but the time."""
        config = self.recorded
        parts = (
            config.preprocessing.name, config.model.name, config.search.name, config_hash(config),
        )  # fmt: skip
        return "-".join(_file_name(part) for part in parts)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text).lstrip(".") or "_"


def plan_experiment(config: ExperimentConfig) -> Plan:
    """Check everything that can be checked before a table is loaded.

    Estimators are built, parameters, search spaces and metrics are checked, and the columns
    that the config names are looked up in the header of the table.

    Raises
    ------
    ConfigError, DataError
        In one line: the thing, what was seen, what would do.
    """
    pipeline = build_pipeline(config)
    check_metrics(config.evaluation, has_probabilities=hasattr(pipeline, "predict_proba"))
    baselines = _build_baselines(config)
    if config.dataset.target is None:
        raise ConfigError(
            f"dataset {config.dataset.name!r} names no target, and model={config.model.name} "
            f"predicts a known segment; say dataset.target=COLUMN"
        )
    others = {"evaluation.group": config.evaluation.group} if config.evaluation.group else {}
    check_columns(config.dataset, read_header(config.dataset), others)
    return Plan(config, pipeline, baselines, parse_spaces(config, pipeline))


def _build_baselines(config: ExperimentConfig) -> dict[str, Pipeline]:
    """Build the baselines, but for one that is what the run itself judges."""
    preprocessing = load_shipped_option("preprocessing", "standard", config)
    try:
        models = {
            name: load_shipped_option("model", name, config) for name in config.evaluation.baselines
        }
    except ConfigError as error:
        raise ConfigError(f"evaluation.baselines: {error}") from error
    return {
        name: join(preprocessing, model, config.engine.threads)
        for name, model in models.items()
        if (model.estimator, preprocessing) != (config.model.estimator, config.preprocessing)
    }


def find_done(plan: Plan) -> list[Path]:
    """Return the completed runs of the same config, oldest first."""
    outputs = Path(plan.config.run.outputs).expanduser()
    folder = outputs / _file_name(plan.config.dataset.name)
    return [path for path in sorted(folder.glob(f"*-{plan.run_name}*")) if _is_completed(path)]


def _is_completed(path: Path) -> bool:
    try:
        return runs.open_run(path).status == runs.COMPLETED
    except RunError:  # somebody else's folder, or a damaged one
        return False


@dataclass(frozen=True)
class Reporter:
    """How a run tells its progress; the command line draws it, a library user may ignore it."""

    say: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int, str], None] = lambda done, total, what: None


def run_experiment(plan: Plan, words: Sequence[str], reporter: Reporter | None = None) -> runs.Run:
    """Load the table, judge the pipeline fold by fold, and leave a run directory.

    Parameters
    ----------
    plan : Plan
        From :func:`plan_experiment`.
    words : sequence of str
        What was typed, for ``overrides.txt``.

    Raises
    ------
    ConfigError, DataError
        Before a run directory is made.
    RunError
        If the run directory cannot be made; nothing is left behind.
    RunFailedError
        If the run began and could not end; its directory is kept and says why.
    """
    reporter = reporter or Reporter()
    config = plan.config
    reporter.say(f"loading dataset {config.dataset.name}")
    try:
        dataset = load_dataset(config.dataset, config.evaluation.group, progress=reporter.say)
    except MemoryError as error:
        raise DataError(f"dataset {config.dataset.name!r} does not fit into memory") from error
    check_segment_metrics(config.evaluation, dataset.segments)
    if not len(dataset.X.columns):
        raise DataError(f"dataset {dataset.name!r} has no feature columns left; see dataset.ignore")
    splits = make_splits(
        config.evaluation, _codes(dataset), dataset.groups, config.run.split_seed, dataset.segments
    )
    _check_neighbors(plan.pipeline, splits)
    texts = {
        runs.CONFIG: config_to_yaml(plan.recorded),
        runs.OVERRIDES: shlex.join(["segexp", "run", *_recorded_words(plan, words)]) + "\n",
    }
    outputs, folder = Path(config.run.outputs).expanduser(), _file_name(config.dataset.name)
    manifest = _manifest(plan.recorded, dataset, splits)
    with runs.new_run(outputs, folder, plan.run_name, texts, manifest) as writer:
        logger.info("run directory %s", writer.path.name)
        finished: list[FoldResult] = []
        try:
            results = _judge(plan, dataset, splits, reporter, finished)
        except BaseException:
            with contextlib.suppress(RunError):  # the first cause is the one to tell
                _write_folds(writer, dataset, finished)
            raise
        _write_results(writer, config, dataset, results)
        if config.evaluation.final_model:
            reporter.say("fitting the final model on all rows")
            _write_model(writer, plan, dataset)
        workers = [result.peak_memory_mb for folds in results.values() for result in folds]
        writer.update(peak_memory_mb=max(*workers, peak_memory_mb()))
    return runs.open_run(writer.path)


def _check_neighbors(pipeline: Pipeline, splits: Sequence[Split]) -> None:
    """Refuse more neighbours than training rows: scikit-learn would repeat the first row."""
    smallest = min(len(split.train) for split in splits)
    for name, value in pipeline.get_params().items():
        if name.split("__")[-1] == "n_neighbors" and isinstance(value, int) and value > smallest:
            raise ConfigError(
                f"{name.replace('model__', 'model.estimator.')} is {value}, but the smallest "
                f"training fold has {smallest} rows"
            )


def _recorded_words(plan: Plan, words: Sequence[str]) -> list[str]:
    return [
        f"dataset.url='{plan.recorded.dataset.url}'"
        if word.lstrip("+").startswith("dataset.url=")
        else word
        for word in words
    ]


def _judge(
    plan: Plan,
    dataset: Dataset,
    splits: Sequence[Split],
    reporter: Reporter,
    finished: list[FoldResult],
) -> dict[str, list[FoldResult]]:
    config = plan.config
    pipelines = {"": plan.pipeline, **plan.baselines}  # the run itself has no name beside them
    start = time.perf_counter()

    def progress(done: int, total: int, name: str, result: FoldResult) -> None:
        if not name:
            finished.append(result)
        logger.info("fit %d of %d: %s", done, total, name or config.model.name)
        reporter.progress(done, total, name or config.model.name)

    results = evaluate(
        pipelines,
        dataset.X,
        _codes(dataset),
        splits,
        dataset.segments,
        importance_of="",
        importance_repeats=config.evaluation.importance_repeats,
        metric=config.evaluation.metric,
        seed=config.run.seed,
        n_jobs=config.engine.n_jobs,
        threads=config.engine.threads,
        progress=progress,
    )
    logger.info("evaluated in %.1f s", time.perf_counter() - start)
    for name, folds in results.items():
        for message in dict.fromkeys(text for result in folds for text in result.warnings):
            logger.warning("%s: %s", name or config.model.name, message)
    return results


def _codes(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.int_]]:
    if dataset.y is None:
        raise DataError(f"dataset {dataset.name!r} has no target")
    return dataset.y


def _write_results(
    writer: runs.RunWriter,
    config: ExperimentConfig,
    dataset: Dataset,
    results: dict[str, list[FoldResult]],
) -> None:
    y, segments = _codes(dataset), dataset.segments
    own = results[""]
    scores = _write_folds(writer, dataset, own)
    baselines = [
        fold_scores(folds, y, segments).assign(baseline=name)
        for name, folds in results.items()
        if name
    ]
    if baselines:
        columns = ["baseline", "repeat", "fold", "metric", "value"]
        writer.write_csv(runs.BASELINES, pd.concat(baselines, ignore_index=True)[columns])
    if config.evaluation.importance_repeats:
        writer.write_csv(runs.IMPORTANCE, importance_table(own))
    writer.write_json(runs.SUMMARY, summarise_results(own, dataset, config.evaluation, scores))


def _write_folds(
    writer: runs.RunWriter, dataset: Dataset, folds: Sequence[FoldResult]
) -> pd.DataFrame:
    """Write predictions, scores and timings of the folds there are; return the scores."""
    y, segments = _codes(dataset), dataset.segments
    scores = fold_scores(folds, y, segments)
    if folds:
        writer.write_parquet(runs.PREDICTIONS, predictions_table(folds, y, dataset.ids, segments))
        writer.write_csv(runs.SCORES, scores)
        writer.write_csv(runs.TIMINGS, _timings(folds))
    return scores


def summarise_results(
    results: Sequence[FoldResult],
    dataset: Dataset,
    config: EvaluationConfig,
    scores: pd.DataFrame,
) -> dict[str, dict[str, Any]]:
    """Return mean, spread and interval of each metric; intervals come from the predictions.

    Customers of one group, and the rows of one id, leave the jackknife together.
    """
    tests = np.concatenate([result.split.test for result in results])
    units = dataset.groups if dataset.groups is not None else pd.factorize(dataset.ids)[0]
    shares = [result.probabilities for result in results if result.probabilities is not None]
    errors = jackknife_standard_errors(
        _codes(dataset)[tests],
        np.concatenate([result.predicted for result in results]),
        np.concatenate(shares) if shares else None,
        dataset.segments,
        units[tests],
        parts=np.repeat(np.arange(len(results)), [len(result.split.test) for result in results]),
        seed=0,  # deals customers into groups; not a seed of the experiment
    )
    return summarise(scores, errors, jackknife_group_count(units[tests]), config.confidence)


def _timings(results: Sequence[FoldResult]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (r.split.repeat, r.split.fold, round(r.fit_seconds, 4), round(r.predict_seconds, 4))
            for r in results
        ],
        columns=["repeat", "fold", "fit_seconds", "predict_seconds"],
    )


def _write_model(writer: runs.RunWriter, plan: Plan, dataset: Dataset) -> None:
    pipeline = clone(plan.pipeline)
    with threadpool_limits(limits=plan.config.engine.threads):
        pipeline.fit(dataset.X, _codes(dataset))
    try:
        writer.write_bytes(runs.PIPELINE, dump_pipeline(pipeline))
    except UnsafeModelError as error:  # a model of the user's own; what was measured stands
        logger.warning("%s", error)
        writer.update(warnings=[str(error)])
        return
    writer.write_json(
        runs.MODEL_SCHEMA,
        {
            **schema_of(dataset),
            "task": plan.config.model.task,
            "segments": list(dataset.segments),
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
        },
        "preprocessing": config.preprocessing.name,
        "model": config.model.name,
        "search": config.search.name,
        "segments": segment_counts(dataset),
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
    if twins := count_shared(dataset.X, splits):
        message = f"{twins} customers equal a training customer in every feature"
        found.append(Finding("twins", message, twins))
    return found


_LIBRARIES = (
    "hydra-core",
    "joblib",
    "lightgbm",
    "numpy",
    "omegaconf",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "sqlalchemy",
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

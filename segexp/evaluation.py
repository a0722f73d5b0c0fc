"""Fold by fold: who judges whom, and what a pipeline says of rows that it never saw."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import (
    GroupShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)
from sklearn.pipeline import Pipeline

from segexp.config.schema import EngineConfig, EvaluationConfig
from segexp.engine import open_engine
from segexp.errors import ConfigError, DataError, did_you_mean
from segexp.metrics import metric_by_name, score

Codes = NDArray[np.int_]

# Shuffled tables are predicted together up to this size, about 0.2 GB as Python objects.
CELLS_PER_CALL = 5_000_000


@dataclass(frozen=True)
class Table:
    """The customers, as they are sent to workers once."""

    X: pd.DataFrame  # shape (n, n_features)
    y: Codes  # shape (n,)
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Row numbers of one fold; ``train`` and ``test`` share no row and no group."""

    repeat: int
    fold: int
    train: Codes
    test: Codes


@dataclass(frozen=True)
class FoldResult:
    """What one pipeline, fitted on the training rows of a fold, says of its test rows."""

    split: Split
    predicted: Codes  # shape (n_test,)
    probabilities: NDArray[np.float64] | None  # shape (n_test, n_segments)
    importance: pd.DataFrame  # feature, drop: one row per shuffle of a column
    own_importance: pd.Series  # of the fitted model, by the name of the transformed feature
    fit_seconds: float
    predict_seconds: float
    warnings: tuple[str, ...]  # what libraries warned about, each once
    peak_memory_mb: int  # of the process that did it, since it started


def make_splits(
    config: EvaluationConfig,
    y: Codes,
    groups: Codes | None,
    split_seed: int,
    segments: Sequence[str],
) -> list[Split]:
    """Deal the rows into training and test rows.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
    groups : ndarray of int, shape (n,), or None
        Rows of one group stay on one side of every split.
    split_seed : int
        ``cv`` is ``StratifiedKFold(n_splits, shuffle=True, random_state=split_seed)`` over the
        order of the rows; repeat ``r`` of ``repeated_cv`` uses ``split_seed + r``, so that its
        repeat 0 is ``cv``.

    Raises
    ------
    DataError
        If a segment has too few customers to stand on both sides of every split.
    """
    _check_counts(config, y, groups, segments)
    splits = [
        Split(repeat, fold, train, test)
        for repeat in range(config.n_repeats)
        # scikit-learn takes seeds of 32 bits.
        for fold, (train, test) in enumerate(
            _deal(config, y, groups, (split_seed + repeat) % 2**32)
        )
    ]
    for split in splits:
        absent = set(range(len(segments))) - set(y[split.train].tolist())
        if absent or not len(split.test):
            what = f"no customer of segment {segments[min(absent)]!r}" if absent else "no test rows"
            side = " among its training rows" if absent else ""
            raise DataError(
                f"fold {split.fold} has {what}{side}; use fewer splits "
                f"(evaluation.n_splits={config.n_splits}) or other groups"
            )
    return splits


def make_inner_splits(
    outer: Sequence[int], rows: Codes, y: Codes, groups: Codes | None, n_splits: int, seed: int
) -> tuple[Split, ...]:
    """Deal the training rows of a split once more, for a search.

    Parameters
    ----------
    outer : sequence of int
        What names the split, such as repeat and fold; decides the folds together with the seed.
    rows : ndarray of int
        Row numbers of the table to deal.
    y, groups
        Of the whole table.

    Returns
    -------
    tuple of Split
        Row numbers of the whole table; stratified, and a group stays on one side.
    """
    state = int(np.random.SeedSequence([seed, *outer]).generate_state(1)[0])
    counts = np.bincount(y[rows])
    if (smallest := int(counts[counts > 0].min())) < n_splits:
        raise DataError(
            f"a segment has {smallest} customer(s) among the training rows of a fold, and "
            f"search.inner_splits={n_splits} need {n_splits}; lower it, or merge the segment"
        )
    zeros = np.zeros(len(rows))
    if groups is None:
        folds = StratifiedKFold(n_splits, shuffle=True, random_state=state).split(zeros, y[rows])
    else:
        if (n_groups := len(np.unique(groups[rows]))) < n_splits:
            raise DataError(
                f"the training rows of a fold have {n_groups} group(s), and "
                f"search.inner_splits={n_splits} need {n_splits}"
            )
        grouped = StratifiedGroupKFold(n_splits, shuffle=True, random_state=state)
        folds = grouped.split(zeros, y[rows], groups[rows])
    return tuple(
        Split(0, fold, rows[train], rows[test]) for fold, (train, test) in enumerate(folds)
    )


def _check_counts(
    config: EvaluationConfig, y: Codes, groups: Codes | None, segments: Sequence[str]
) -> None:
    needed = 2 if config.protocol == "holdout" else config.n_splits
    counts = np.bincount(y, minlength=len(segments))
    rarest = int(counts.argmin())
    if counts[rarest] < needed:
        wanted = (
            "a holdout needs 2" if config.protocol == "holdout" else f"{needed} folds need {needed}"
        )
        raise DataError(
            f"segment {segments[rarest]!r} has {counts[rarest]} customer(s), {wanted}; "
            f"merge it with another segment, drop it, or lower evaluation.n_splits"
        )
    if groups is not None and len(np.unique(groups)) < needed:
        raise DataError(
            f"evaluation.group={config.group} has {len(np.unique(groups))} group(s), "
            f"but {needed} are needed"
        )


def _deal(
    config: EvaluationConfig, y: Codes, groups: Codes | None, seed: int
) -> Iterator[tuple[Codes, Codes]]:
    rows = np.zeros(len(y))
    if config.protocol == "holdout" and groups is None:
        shuffle = StratifiedShuffleSplit(1, test_size=config.test_size, random_state=seed)
        return _checked(shuffle.split(rows, y), config)
    if config.protocol == "holdout":
        by_group = GroupShuffleSplit(1, test_size=config.test_size, random_state=seed)
        return _checked(by_group.split(rows, y, groups), config)
    if groups is None:
        folds = StratifiedKFold(config.n_splits, shuffle=True, random_state=seed)
        return folds.split(rows, y)
    grouped = StratifiedGroupKFold(config.n_splits, shuffle=True, random_state=seed)
    return grouped.split(rows, y, groups)


def _checked(
    splits: Iterator[tuple[Codes, Codes]], config: EvaluationConfig
) -> Iterator[tuple[Codes, Codes]]:
    try:
        yield from splits
    except ValueError as error:  # the share leaves fewer rows than segments on one side
        raise DataError(
            f"evaluation.test_size={config.test_size} does not divide these customers: {error}"
        ) from error


def hash_splits(splits: Sequence[Split]) -> str:
    """Return a hash that is equal for equal test rows in equal order of folds."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(f"{split.repeat},{split.fold},{len(split.test)};".encode())
        digest.update(np.asarray(split.test, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def count_shared(table: pd.DataFrame, splits: Sequence[Split]) -> int:
    """Count the test rows that equal a training row in every column of ``table``.

    The mean over repeats, rounded. Such customers are judged on what the model has seen.
    """
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    counts = [np.isin(rows[split.test], rows[split.train]).sum() for split in splits]
    n_repeats = 1 + max(split.repeat for split in splits)
    return round(float(np.sum(counts)) / n_repeats)


def evaluate(
    pipelines: Mapping[str, Pipeline],
    X: pd.DataFrame,
    y: Codes,
    splits: Sequence[Split],
    segments: Sequence[str],
    *,
    importance_of: str | None = None,
    importance_repeats: int = 0,
    metric: str = "accuracy",
    seed: int = 0,
    n_jobs: int = 1,
    threads: int = 1,
) -> dict[str, list[FoldResult]]:
    """Fit every pipeline on the training rows of every split and predict its test rows.

    Parameters
    ----------
    pipelines : mapping of name to unfitted Pipeline
        Cloned before each fit.
    X : DataFrame, shape (n, n_features)
    y : ndarray of int, shape (n,)
    importance_of : str, optional
        The pipeline whose columns are shuffled on the test rows.
    metric : str
        The metric whose loss is a column's importance.
    seed : int
        Drives the shuffles.
    n_jobs : int
        Processes; -1 for one per core. The numbers do not depend on it.
    threads : int
        Threads of BLAS and OpenMP in each process.

    Returns
    -------
    dict of name to list of FoldResult, in the order of ``splits``
    """
    config = EngineConfig(name="local", n_jobs=n_jobs, threads=threads, address=None)

    async def judge_all() -> list[FoldResult]:
        async with open_engine(config) as engine:
            engine.expect(len(pipelines) * len(splits))
            table = engine.share(Table(X, y, tuple(segments)), "table")
            return await asyncio.gather(
                *(
                    engine.run(
                        judge, table, pipeline, split,
                        importance_repeats if name == importance_of else 0, metric, seed,
                    )
                    for name, pipeline in pipelines.items()
                    for split in splits
                )
            )  # fmt: skip

    results = asyncio.run(judge_all())
    n = len(splits)
    return {name: results[i * n : (i + 1) * n] for i, name in enumerate(pipelines)}


def judge(
    table: Table,
    pipeline: Pipeline,
    split: Split,
    importance_repeats: int = 0,
    metric: str = "accuracy",
    seed: int = 0,
) -> FoldResult:
    """Fit a clone of a pipeline on the training rows of one split and predict its test rows.

    Parameters
    ----------
    importance_repeats : int
        Shuffles of each column on the test rows; 0: no importance.
    """
    # A worker's warnings would go to its own standard error, and there be lost or in the way.
    with warnings.catch_warnings(record=True) as said:
        result = _judge(table, clone(pipeline), split, importance_repeats, metric, seed)
    messages = dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in said)
    return replace(result, warnings=tuple(messages))


def _judge(
    table: Table, pipeline: Pipeline, split: Split, repeats: int, metric: str, seed: int
) -> FoldResult:
    X, y = table.X.iloc[split.test], table.y[split.test]
    start = time.perf_counter()
    pipeline.fit(table.X.iloc[split.train], table.y[split.train])
    fitted = time.perf_counter()
    predicted, probabilities = predict(pipeline, X, len(table.segments))
    predicted_at = time.perf_counter()
    importance = pd.DataFrame({"feature": [], "drop": []})
    if repeats:
        rng = np.random.default_rng([seed, split.repeat, split.fold])
        importance = permutation_importance(
            pipeline, X, y, table.segments, metric=metric, repeats=repeats, rng=rng
        )
    return FoldResult(
        split=split,
        predicted=predicted,
        probabilities=probabilities,
        importance=importance,
        own_importance=_own_importance(pipeline) if repeats else pd.Series(dtype=float),
        fit_seconds=fitted - start,
        predict_seconds=predicted_at - fitted,
        warnings=(),
        peak_memory_mb=peak_memory_mb(),
    )


def fold_to_bytes(result: FoldResult) -> bytes:
    """Return a fold's result as an npz file, which holds arrays and text and runs no code."""
    shares = result.probabilities
    buffer = io.BytesIO()
    np.savez(
        buffer,
        test=result.split.test,
        predicted=result.predicted,
        probabilities=np.zeros((0, 0)) if shares is None else shares,
        feature=np.asarray(result.importance["feature"].tolist(), dtype=str),
        drop=result.importance["drop"].to_numpy(dtype=float),
        own_feature=np.asarray(result.own_importance.index.tolist(), dtype=str),
        own_value=result.own_importance.to_numpy(dtype=float),
        seconds=np.array([result.fit_seconds, result.predict_seconds]),
        warnings=np.asarray(result.warnings, dtype=str),
        peak_memory_mb=np.array(result.peak_memory_mb),
    )
    return buffer.getvalue()


def fold_from_bytes(content: bytes, split: Split) -> FoldResult | None:
    """Read what :func:`fold_to_bytes` wrote; None if it is damaged or of another split."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            if not np.array_equal(kept["test"], split.test):
                return None
            shares = kept["probabilities"]
            return FoldResult(
                split=split,
                predicted=kept["predicted"],
                probabilities=shares if len(shares) else None,
                importance=pd.DataFrame({"feature": kept["feature"], "drop": kept["drop"]}),
                own_importance=pd.Series(kept["own_value"], index=list(kept["own_feature"])),
                fit_seconds=float(kept["seconds"][0]),
                predict_seconds=float(kept["seconds"][1]),
                warnings=tuple(str(text) for text in kept["warnings"]),
                peak_memory_mb=int(kept["peak_memory_mb"]),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def peak_memory_mb() -> int:
    """Return the largest resident size of this process since it started, in MB (2^20 bytes).

    0 on Windows, where Python has no word for it.
    """
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def predict(
    pipeline: Pipeline, X: pd.DataFrame, n_segments: int
) -> tuple[Codes, NDArray[np.float64] | None]:
    """Predict segment codes, and probabilities where the model has them.

    Returns
    -------
    predicted : ndarray of int, shape (n,)
    probabilities : ndarray of float, shape (n, n_segments), or None
        A segment that the training rows lacked has probability 0.
    """
    classes = np.asarray(pipeline.classes_)
    if not hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict(X)).astype(int), None
    known = np.asarray(pipeline.predict_proba(X), dtype=np.float64)
    probabilities = np.zeros((len(X), n_segments))
    probabilities[:, classes] = known
    # One pass for both where the segment is the likeliest one, as it is for most classifiers.
    if _predicts_likeliest(pipeline.steps[-1][1]):
        return classes[known.argmax(axis=1)].astype(int), probabilities
    return np.asarray(pipeline.predict(X)).astype(int), probabilities


def _predicts_likeliest(model: Any) -> bool:
    library = type(model).__module__.split(".")[0] in {"lightgbm", "sklearn", "xgboost"}
    return library and type(model).__name__ in {
        "LGBMClassifier",
        "XGBClassifier",
        "HistGradientBoostingClassifier",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
    }


def permutation_importance(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: Codes,
    segments: Sequence[str],
    *,
    metric: str,
    repeats: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Measure how much a metric loses when one column's values are dealt to other customers.

    Parameters
    ----------
    pipeline : fitted Pipeline
    X, y : rows that the pipeline has not seen
    metric : str
        A loss counts as positive whatever the direction of the metric.
    repeats : int
        Shuffles of each column.

    Returns
    -------
    DataFrame with columns ``feature, drop``, one row per column and shuffle

    References
    ----------
    Breiman (2001). Random Forests. Machine Learning 45, 5-32.
    """
    sign = 1 if metric_by_name(metric).greater_is_better else -1
    n_segments = len(segments)

    def value(predicted: Codes, probabilities: NDArray[np.float64] | None) -> float:
        return sign * score(y, predicted, probabilities, segments).get(metric, math.nan)

    predicted, probabilities = predict(pipeline, X, n_segments)
    reference = value(predicted, probabilities)
    shuffles = [(column, rng.permutation(len(X))) for column in X.columns for _ in range(repeats)]
    per_call = max(1, CELLS_PER_CALL // max(X.size, 1))
    rows = []
    for start in range(0, len(shuffles), per_call):
        part = shuffles[start : start + per_call]
        changed = [_changed_rows(X[column], order) for column, order in part]
        tables = [
            X.take(where).assign(**{column: X[column].take(order[where]).array})
            for (column, order), where in zip(part, changed, strict=True)
        ]
        answers, shares = predict(pipeline, pd.concat(tables, ignore_index=True), n_segments)
        ends = np.cumsum([len(where) for where in changed])
        for (column, _), where, end in zip(part, changed, ends, strict=True):
            here = slice(end - len(where), end)
            shuffled, probable = predicted.copy(), None
            shuffled[where] = answers[here]
            if probabilities is not None and shares is not None:
                probable = probabilities.copy()
                probable[where] = shares[here]
            rows.append((column, reference - value(shuffled, probable)))
    return pd.DataFrame(rows, columns=["feature", "drop"])


def _changed_rows(column: pd.Series, order: Codes) -> Codes:
    """Return the rows that a shuffle gives another value; the rest keep their prediction."""
    codes = pd.factorize(column)[0]
    # One row at least, so that there is something to predict for a constant column too.
    changed = np.flatnonzero(codes != codes[order])
    return changed if len(changed) else np.zeros(1, dtype=np.intp)


def _own_importance(pipeline: Pipeline) -> pd.Series:
    """Return the model's own importance (impurity, gain or mean absolute coefficient)."""
    model = pipeline.steps[-1][1]
    if hasattr(model, "feature_importances_"):
        values = np.asarray(model.feature_importances_, dtype=float)
    elif hasattr(model, "coef_"):
        values = np.abs(np.atleast_2d(model.coef_)).mean(axis=0)
    else:
        return pd.Series(dtype=float)
    names = pipeline[:-1].get_feature_names_out()
    return pd.Series(values, index=[str(name) for name in names])


def fold_scores(results: Sequence[FoldResult], y: Codes, segments: Sequence[str]) -> pd.DataFrame:
    """Return the long table ``repeat, fold, metric, value`` of stored predictions."""
    rows = [
        (result.split.repeat, result.split.fold, metric, value)
        for result in results
        for metric, value in score(
            y[result.split.test], result.predicted, result.probabilities, segments
        ).items()
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "metric", "value"])


def predictions_table(
    results: Sequence[FoldResult], y: Codes, ids: pd.Series, segments: Sequence[str]
) -> pd.DataFrame:
    """Return one row per customer and repeat, in the order of repeats and rows.

    Columns: ``row`` (from 0, in the order of the table), ``id``, ``repeat``, ``fold``, ``true``,
    ``predicted``, and ``probability[...]`` per segment where the model has probabilities.
    """
    names = np.asarray(segments, dtype=object)
    parts = []
    for result in results:
        test = result.split.test
        part = pd.DataFrame(
            {
                "row": test,
                "id": ids.iloc[test].to_numpy(),
                "repeat": result.split.repeat,
                "fold": result.split.fold,
                "true": names[y[test]],
                "predicted": names[result.predicted],
            }
        )
        if result.probabilities is not None:
            for code, name in enumerate(segments):
                part[f"probability[{name}]"] = result.probabilities[:, code]
        parts.append(part)
    return pd.concat(parts).sort_values(["repeat", "row"], ignore_index=True)


def importance_table(results: Sequence[FoldResult]) -> pd.DataFrame:
    """Return ``kind, feature, mean, std`` over folds, most important first within a kind.

    ``kind`` is ``permutation`` (loss of the primary metric on held-out rows, by column of the
    table) or ``model`` (the model's own figure on its training rows, by transformed feature).
    """
    permutation = [result.importance.groupby("feature")["drop"].mean() for result in results]
    own = [result.own_importance for result in results]
    tables = [_over_folds("permutation", permutation), _over_folds("model", own)]
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _over_folds(kind: str, folds: Sequence[pd.Series]) -> pd.DataFrame:
    values = pd.concat(folds, axis=1)
    if kind == "model":  # a level that a fold did not meet has no column there, and no importance
        values = values.fillna(0.0)
    table = pd.DataFrame(
        {
            "kind": kind,
            "feature": values.index,
            "mean": values.mean(axis=1).to_numpy(),
            "std": values.std(axis=1).to_numpy() if values.shape[1] > 1 else math.nan,
        }
    )
    return table.sort_values(["mean", "feature"], ascending=[False, True], ignore_index=True)


def check_metrics(
    config: EvaluationConfig, objectives: Sequence[str] = (), *, has_probabilities: bool = True
) -> None:
    """Check the names of the metrics before anything is loaded.

    Parameters
    ----------
    objectives : sequence of str
        What a search needs beside the metrics of the evaluation.

    Raises
    ------
    ConfigError
        For a metric that does not exist, or a ranking metric that the model cannot have.
    """
    needed = {"evaluation.metric": [config.metric], "search.objectives": list(objectives)}
    for key, names in {**needed, "evaluation.metrics": config.metrics}.items():
        for name in names:
            try:
                metric = metric_by_name(name)
            except ConfigError as error:
                raise ConfigError(f"{key}: {error}") from error
            if key in needed and metric.needs_probabilities and not has_probabilities:
                raise ConfigError(
                    f"{key}: {name} needs probabilities, which this model does not give; "
                    f"accuracy, f1_macro and others need none"
                )


def check_segment_metrics(
    config: EvaluationConfig, segments: Sequence[str], objectives: Sequence[str] = ()
) -> None:
    """Raise ``ConfigError`` for a metric such as ``recall[Z]`` of a segment that is not there."""
    for name in (config.metric, *config.metrics, *objectives):
        segment = name.partition("[")[2].removesuffix("]")
        if segment and segment not in segments:
            raise ConfigError(
                f"evaluation: metric {name!r} names the segment {segment!r}"
                f"{did_you_mean(segment, segments)}; the segments are {', '.join(segments)}"
            )

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

from segexp.clustering.distances import distance_shares
from segexp.clustering.judging import ClusterFold, judge_segments
from segexp.clustering.quality import SegmentMap
from segexp.clustering.segmenter import Segmenter
from segexp.clustering.stability import held_out_stability
from segexp.config.schema import (
    INTERNAL_METRICS,
    UNPREPARED,
    EngineConfig,
    EvaluationConfig,
    SearchConfig,
)
from segexp.engine.driver import open_engine
from segexp.errors import ConfigError, DataError, SegexpError, did_you_mean
from segexp.metrics import METRICS_OF, metric_by_name, score

Codes = NDArray[np.int_]

# Shuffled tables are predicted together up to this size, about 0.2 GB as Python objects.
CELLS_PER_CALL = 5_000_000

NEAR_ONE = 1e-3  # how far a row of probabilities, in 32 bits at worst, may be from a sum of 1


class ProbabilityError(SegexpError):
    """What a model calls probabilities are none."""

    exit_code = 1


@dataclass(frozen=True)
class Table:
    """The customers, as they are sent to workers once."""

    X: pd.DataFrame  # shape (n, n_features)
    y: Codes | None  # shape (n,); None where no segment is known
    segments: tuple[str, ...]

    def truth(self, rows: Codes) -> Codes | None:
        """Return the codes of the known segments of some rows."""
        return None if self.y is None else self.y[rows]


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
    predicted: Codes  # shape (n_test,); a clusterer's clusters, where no segment is known
    probabilities: NDArray[np.float64] | None  # shape (n_test, n_segments)
    importance: pd.DataFrame  # feature, drop: one row per shuffle of a column
    own_importance: pd.Series  # of the fitted model, by the name of the transformed feature
    fit_seconds: float
    predict_seconds: float
    warnings: tuple[str, ...]  # what libraries warned about, each once
    peak_memory_mb: int  # of the process that did it, since it started
    clusters: ClusterFold | None = None  # of a clusterer


@dataclass(frozen=True)
class Refits:
    """What judging a clusterer costs beside its fit."""

    fold_resamples: int  # bootstrap samples of the training rows for the stability; 0: none
    silhouette_rows: int  # silhouettes of more customers are sampled
    internal: tuple[str, ...]  # metrics of the distances that are computed


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
    outer: Sequence[int],
    rows: Codes,
    y: Codes,
    groups: Codes | None,
    n_splits: int,
    seed: int,
    segments: Sequence[str],
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

    Raises
    ------
    DataError
        If a segment has fewer training rows, or there are fewer groups, than inner splits.
    """
    state = int(np.random.SeedSequence([seed, *outer]).generate_state(1)[0])
    codes, counts = np.unique(y[rows], return_counts=True)
    if (smallest := int(counts.min())) < n_splits:
        raise DataError(
            f"segment {segments[codes[counts.argmin()]]!r} has {smallest} customer(s) among the "
            f"training rows of a fold, and search.inner_splits={n_splits} need {n_splits}; lower "
            f"it, or merge the segment"
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
    if counts[rarest] < needed and len(segments) == 1:
        raise DataError(
            f"there are {counts[rarest]} customers, and evaluation.n_splits={config.n_splits} "
            f"folds need as many; lower it, or bring more customers"
        )
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
    if table.y is None:
        raise DataError("a classifier needs known segments, and there are none")
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


def judge_clusterer(
    table: Table, pipeline: Pipeline, split: Split, refits: Refits, seed: int = 0
) -> FoldResult:
    """Fit a clone of a pipeline on the training rows, without segments, and assign its test rows.

    Where segments are known, each cluster stands for the segment that most of its training
    customers have; ``predicted`` is that of the test rows.
    """
    with warnings.catch_warnings(record=True) as said:
        result = _judge_clusterer(table, clone(pipeline), split, refits, seed)
    messages = dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in said)
    return replace(result, warnings=tuple(messages))


def _judge_clusterer(
    table: Table, pipeline: Pipeline, split: Split, refits: Refits, seed: int
) -> FoldResult:
    rows, X = table.X.iloc[split.train], table.X.iloc[split.test]
    start = time.perf_counter()
    pipeline.fit(rows)
    fitted = time.perf_counter()
    segmenter: Segmenter = pipeline.steps[-1][1]
    Z = pipeline[:-1].transform(X)
    found = segmenter.assign(Z)
    predicted_at = time.perf_counter()
    own_seed = int(np.random.SeedSequence([seed, split.repeat, split.fold]).generate_state(1)[0])

    def stability() -> float:
        return held_out_stability(pipeline, rows, X, refits.fold_resamples, own_seed)

    values = judge_segments(
        segmenter, Z, found,
        truth=table.truth(split.test), stability=stability if refits.fold_resamples else None,
        internal=refits.internal, silhouette_rows=refits.silhouette_rows, seed=own_seed,
    )  # fmt: skip
    return FoldResult(
        split=split,
        predicted=map_segments(table, segmenter, split.train, found.segment),
        probabilities=None,
        importance=pd.DataFrame({"feature": [], "drop": []}),
        own_importance=_distance_shares(pipeline, rows),
        fit_seconds=fitted - start,
        predict_seconds=predicted_at - fitted,
        warnings=(),
        peak_memory_mb=peak_memory_mb(),
        clusters=ClusterFold(found.segment, found.confidence, found.unlike, values),
    )


def map_segments(table: Table, segmenter: Segmenter, train: Codes, clusters: Codes) -> Codes:
    """Return the known segment that each cluster stands for; the clusters, where none is known."""
    truth = table.truth(train)
    if truth is None:
        return clusters
    return SegmentMap.learn(segmenter.labels_, truth).apply(clusters)


def _distance_shares(pipeline: Pipeline, rows: pd.DataFrame) -> pd.Series:
    """Return the share of the distance between customers that each prepared feature carries."""
    Z = pipeline[:-1].transform(rows)
    shares = distance_shares(Z)
    if not isinstance(Z, pd.DataFrame):
        shares.index = [str(name) for name in pipeline[:-1].get_feature_names_out()]
    return shares


def fold_to_bytes(result: FoldResult) -> bytes:
    """Return a fold's result as an npz file, which holds arrays and text and runs no code."""
    shares = result.probabilities
    clusters = result.clusters
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
        **({} if clusters is None else _cluster_arrays(clusters)),
    )
    return buffer.getvalue()


def _cluster_arrays(clusters: ClusterFold) -> dict[str, Any]:
    return {
        "labels": clusters.labels,
        "confidence": clusters.confidence,
        "unlike": clusters.unlike,
        "metrics": np.asarray(list(clusters.values), dtype=str),
        "values": np.asarray(list(clusters.values.values()), dtype=float),
    }


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
                clusters=_clusters_from(kept) if "labels" in kept else None,
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _clusters_from(kept: Mapping[str, NDArray[Any]]) -> ClusterFold:
    values = zip(kept["metrics"].tolist(), kept["values"].tolist(), strict=True)
    return ClusterFold(kept["labels"], kept["confidence"], kept["unlike"], dict(values))


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

    Raises
    ------
    ProbabilityError
        If the model's probabilities are none.
    """
    classes = np.asarray(pipeline.classes_)
    if not hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict(X)).astype(int), None
    known = np.asarray(pipeline.predict_proba(X), dtype=np.float64)
    _check_probabilities(known, pipeline.steps[-1][1])
    probabilities = np.zeros((len(X), n_segments))
    probabilities[:, classes] = known
    # One pass for both where the segment is the likeliest one, as it is for most classifiers.
    if _predicts_likeliest(pipeline.steps[-1][1]):
        return classes[known.argmax(axis=1)].astype(int), probabilities
    return np.asarray(pipeline.predict(X)).astype(int), probabilities


def _check_probabilities(known: NDArray[np.float64], model: Any) -> None:
    with np.errstate(invalid="ignore"):  # NaN and infinities add up to nothing that is near 1
        right = (np.abs(known.sum(axis=1) - 1) <= NEAR_ONE) & (known >= 0).all(axis=1)
    if not right.all():
        shown = ", ".join(f"{value:.4g}" for value in known[~right][0])
        raise ProbabilityError(
            f"{type(model).__name__} predicts probabilities that are none, or do not add up to 1, "
            f"for {int((~right).sum()):,} of {len(known):,} rows, for example {shown}; check its "
            f"parameters and the scale of the features"
        )


def _predicts_likeliest(model: Any) -> bool:
    if getattr(model, "predicts_likeliest", False):
        return True
    library = type(model).__module__.split(".")[0] in {"lightgbm", "sklearn", "xgboost"}
    return library and type(model).__name__ in {
        "LGBMClassifier",
        "XGBClassifier",
        "HistGradientBoostingClassifier",
        "RandomForestClassifier",
        "ExtraTreesClassifier",
        "KNeighborsClassifier",
        "CalibratedClassifierCV",
        "DecisionTreeClassifier",
        "LogisticRegression",
        "MLPClassifier",
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


def fold_scores(
    results: Sequence[FoldResult], y: Codes | None, segments: Sequence[str]
) -> pd.DataFrame:
    """Return the long table ``repeat, fold, metric, value`` of stored predictions."""
    return scores_table((result.split, _scores(result, y, segments)) for result in results)


def scores_table(folds: Iterable[tuple[Split, Mapping[str, float]]]) -> pd.DataFrame:
    """Return ``repeat, fold, metric, value`` of the metrics of folds, whatever was judged there."""
    rows = [
        (split.repeat, split.fold, metric, value)
        for split, values in folds
        for metric, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "metric", "value"])


def _scores(result: FoldResult, y: Codes | None, segments: Sequence[str]) -> dict[str, float]:
    values = dict(result.clusters.values) if result.clusters else {}
    if y is None:
        return values
    truth = y[result.split.test]
    return values | score(truth, result.predicted, result.probabilities, segments)


def predictions_table(
    results: Sequence[FoldResult], y: Codes | None, ids: pd.Series, segments: Sequence[str]
) -> pd.DataFrame:
    """Return one row per customer and repeat, in the order of repeats and rows.

    Columns: ``row`` (from 0, in the order of the table), ``id``, ``repeat``, ``fold``; where
    segments are known ``true`` and ``predicted``, and ``probability[...]`` per segment where the
    model has probabilities; of a clusterer ``cluster`` (numbered within its fold, the largest is
    0, -1 is noise), ``confidence`` and ``unlike_anybody``.
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
            }
        )
        if y is not None:
            part["true"], part["predicted"] = names[y[test]], names[result.predicted]
        if (clusters := result.clusters) is not None:
            part["cluster"], part["confidence"] = clusters.labels, clusters.confidence
            part["unlike_anybody"] = clusters.unlike
        if result.probabilities is not None:
            for code, name in enumerate(segments):
                part[f"probability[{name}]"] = result.probabilities[:, code]
        parts.append(part)
    return pd.concat(parts).sort_values(["repeat", "row"], ignore_index=True)


def timings_table(folds: Sequence[Any]) -> pd.DataFrame:
    """Return ``repeat, fold, fit_seconds, predict_seconds`` of folds, whatever was judged there."""
    return pd.DataFrame(
        [
            (f.split.repeat, f.split.fold, round(f.fit_seconds, 4), round(f.predict_seconds, 4))
            for f in folds
        ],
        columns=["repeat", "fold", "fit_seconds", "predict_seconds"],
    )


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
    config: EvaluationConfig, search: SearchConfig, *, has_probabilities: bool = True
) -> None:
    """Check the names of the metrics before anything is loaded.

    Parameters
    ----------
    has_probabilities : bool
        Of the model.

    Raises
    ------
    ConfigError
        For a metric that does not exist, or a ranking metric that the model cannot have.
    """
    for key, name in _named_metrics(config, search):
        try:
            metric = metric_by_name(name)
        except ConfigError as error:
            raise ConfigError(f"{key}: {error}") from error
        shown = key == "evaluation.metrics"  # where there is none, a dash stands
        if metric.needs_probabilities and not has_probabilities and not shown:
            raise ConfigError(
                f"{key}: {name} needs probabilities, which this model does not give; "
                f"accuracy, f1_macro and others need none"
            )


def check_task(config: EvaluationConfig, metrics: Sequence[str], task: str, *, known: bool) -> None:
    """Check that the metrics which decide something can be had for this kind of model.

    Parameters
    ----------
    metrics : sequence of str
        Objectives and constraints of a search.
    task : str
        Of the model.
    known : bool
        The data set has known segments.

    Raises
    ------
    ConfigError
    """
    clusters = task == "clustering"
    for name in dict.fromkeys([config.metric, *metrics]):
        of = metric_by_name(name).of
        key = "evaluation.metric" if name == config.metric else "search"
        if of != task and (of in UNPREPARED or task in UNPREPARED):
            way = f"; say evaluation={task}, with evaluation.protocol={config.protocol}"
            raise ConfigError(
                f"{key}: {name} does not judge a model of task {task}; there is "
                f"{', '.join(metric.name for metric in METRICS_OF[task])}"
                f"{way if task in UNPREPARED and config.name != task else ''}"
            )
        if of in UNPREPARED:
            continue
        if of != "segments" and not clusters:
            raise ConfigError(f"{key}: {name} judges clusterers, for example model=kmeans")
        if of != "clusters" and not known:
            other = "evaluation=clustering" if key == "evaluation.metric" else "another metric"
            raise ConfigError(
                f"{key}: {name} needs known segments (dataset.target), and there are none; "
                f"say {other}, or name the column"
            )
        if name in INTERNAL_METRICS and name not in config.internal:
            raise ConfigError(f"{key}: {name} is switched off: evaluation.internal lacks it")
        if name == "stability" and config.fold_resamples == 0:
            raise ConfigError(f"{key}: {name} is switched off by evaluation.fold_resamples=0")


def check_segment_metrics(
    config: EvaluationConfig, search: SearchConfig, segments: Sequence[str]
) -> None:
    """Raise ``ConfigError`` for a metric such as ``recall[Z]`` of a segment that is not there."""
    for key, name in _named_metrics(config, search):
        segment = name.partition("[")[2].removesuffix("]")
        if segment and segment not in segments:
            raise ConfigError(
                f"{key}: metric {name!r} names the segment {segment!r}"
                f"{did_you_mean(segment, segments)}; the segments are {', '.join(segments)}"
            )


def _named_metrics(config: EvaluationConfig, search: SearchConfig) -> Iterator[tuple[str, str]]:
    """Yield every metric that a config names, with the key that names it."""
    yield "evaluation.metric", config.metric
    yield from (("search.objectives", name) for name in search.objectives)
    yield from ((f"search.constraints.{name}", name) for name in search.constraints)
    yield from ((f"evaluation.constraints.{name}", name) for name in config.constraints)
    yield from (("evaluation.metrics", name) for name in config.metrics)

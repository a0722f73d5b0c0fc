"""One inner fold of one trial: fit a model on prepared rows, and judge it.

This is what a worker runs, one call at a time. A fold's preprocessing is fitted once for each of
its settings and shared by all trials, as are the binned rows of XGBoost.
"""

from __future__ import annotations

import contextlib
import copy
import io
import math
import os
import sys
import time
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import InvalidParameterError

from segexp.clustering.judging import judge_segments
from segexp.clustering.segmenter import Segmenter
from segexp.clustering.stability import held_out_stability
from segexp.evaluation import Codes, Split, Table, map_segments, predict
from segexp.metrics import metric_by_name, metric_value

INVALID = "INVALID"
FAIL = "FAIL"
CAUSE_LENGTH = 300


@dataclass(frozen=True)
class Bench:
    """What all trials of a run share."""

    name: str  # unique in the process
    pipelines: Mapping[str, Pipeline]  # unfitted, by the name of the model
    splits: Mapping[str, tuple[Split, ...]]  # inner splits by study rows, as rows of the table
    metrics: tuple[str, ...]  # objectives and constraints
    early_stopping: int | None  # rounds without a better log loss; None: off
    early_stopping_share: float  # of the training rows that decide when to stop
    seed: int
    groups: Codes | None = None  # by row of the table; rows of one stop together or are fitted on
    fold_resamples: int = 0  # bootstrap samples for the stability of a clusterer
    silhouette_rows: int = 20_000  # silhouettes of more customers are sampled


@dataclass(frozen=True)
class FoldTask:
    """One inner fold of one trial."""

    rows: str  # key of Bench.splits
    fold: int
    model: str  # key of Bench.pipelines
    params: Mapping[str, Any]  # by pipeline path: model__num_leaves
    stages: tuple[int, ...] = ()  # rounds of a booster that are judged too, fewer than its own


@dataclass(frozen=True)
class Failure:
    """Why a fold has no score."""

    kind: str  # INVALID: the estimator refuses these parameters whatever the data; FAIL: the rest
    cause: str  # one line
    traceback: str


@dataclass(frozen=True)
class FoldScore:
    """What one fold says of one set of parameters."""

    values: tuple[float, ...]  # in the order of Bench.metrics; empty after a failure
    seconds: float  # wall time
    n_iterations: int | None  # rounds kept by a booster that stopped early
    warnings: tuple[str, ...]  # what libraries warned about, each once
    failure: Failure | None
    stages: tuple[tuple[int, tuple[float, ...]], ...] = ()  # rounds and values, up to the full fit


def score_fold(table: Table, bench: Bench, task: FoldTask) -> FoldScore:
    """Fit the model of ``task`` on the training rows of its fold and judge it on the others.

    Whatever an estimator raises is returned as a failure; a stop (Ctrl-C, a time limit) passes.
    Threads are left as they are: whoever starts the process sets them once.
    """
    start = time.perf_counter()
    values: tuple[float, ...] = ()
    n_iterations: int | None = None
    stages: tuple[tuple[int, tuple[float, ...]], ...] = ()
    earlier: tuple[str, ...] = ()
    failure: Failure | None = None
    with silence(), warnings.catch_warnings(record=True) as said:
        attempt = _Attempt(table, bench, task)
        try:
            fold = attempt.prepare()
            earlier = fold.warnings
            model = attempt.fit(fold)
            n_iterations = attempt.n_iterations(model)
            values = attempt.judge(model, fold)
            stages = attempt.judge_stages(model, fold, values)
        except Exception as error:
            failure = Failure(
                attempt.kind_of(error),
                f"{type(error).__name__}: {' '.join(str(error).split())}"[:CAUSE_LENGTH],
                traceback.format_exc(),
            )
    _FOLDS.trim()
    messages = dict.fromkeys((*earlier, *_messages(said)))
    return FoldScore(
        values,
        time.perf_counter() - start,
        n_iterations,
        tuple(messages),
        failure,
        stages,
    )


def settle(pipeline: Pipeline, n_iterations: int) -> dict[str, Any]:
    """Return the parameters that fix the rounds of a booster in a refit without early stopping.

    Parameters
    ----------
    pipeline : Pipeline
        Its last step is the model.
    n_iterations : int
        The best rounds judged, or the median of where early stopping came.

    Returns
    -------
    dict of pipeline path to value
        Empty for models without rounds.
    """
    name, model = pipeline.steps[-1]
    rounds = _ROUNDS.get(type(model).__name__)
    if rounds is None:
        return {}
    settled: dict[str, Any] = {f"{name}__{rounds}": n_iterations}
    if getattr(model, "early_stopping", None) == "auto":
        settled[f"{name}__early_stopping"] = False
    return settled


class NotDefinedError(Exception):
    """A metric has no value on a fold."""


class _Attempt:
    """The steps of `score_fold`, and how far they came."""

    def __init__(self, table: Table, bench: Bench, task: FoldTask) -> None:
        self.table, self.bench, self.task = table, bench, task
        self.split = bench.splits[task.rows][task.fold]
        self.pipeline = bench.pipelines[task.model]
        self.is_fitting = False
        self.stops_early = False

    def prepare(self) -> _PreparedFold:
        """Return the fold's features, fitted for this setting of the preprocessing."""
        bench, task = self.bench, self.task
        prefix = self.pipeline.steps[-1][0] + "__"
        params = {k: v for k, v in task.params.items() if not k.startswith(prefix)}
        key = (
            bench.name,
            task.rows,
            task.fold,
            _preprocessing_identity(bench, task.model),
            repr(sorted(params.items())),
        )
        return _FOLDS.find(
            key, lambda: _prepare(self.table, self.bench, self.pipeline, self.split, params)
        )

    def fit(self, fold: _PreparedFold) -> BaseEstimator:
        """Return the model, fitted on the prepared training rows."""
        self.is_fitting = True
        model = self.new_model()
        rounds = self.bench.early_stopping
        if rounds is None or not self._stop_early(model, fold, rounds):
            with _shared_matrices(model, fold.rows):
                model.fit(fold.rows.X, fold.rows.y)
        self.is_fitting = False
        return model

    def new_model(self) -> BaseEstimator:
        """Return the unfitted model with the parameters of the trial."""
        name, unfitted = self.pipeline.steps[-1]
        prefix = f"{name}__"
        params = self.task.params.items()
        own = {k.removeprefix(prefix): v for k, v in params if k.startswith(prefix)}
        return clone(unfitted).set_params(**own)

    def _stop_early(self, model: Any, fold: _PreparedFold, rounds: int) -> bool:
        """Fit with early stopping, if that is a thing for this model; say whether it was."""
        kind, share = type(model).__name__, self.bench.early_stopping_share
        if not _may_stop_early(model) or not fold.can_hold_out(share, self.bench.seed):
            return False
        if kind in _HOLD_OUT_THEMSELVES and self.bench.groups is not None:
            return False
        self.stops_early = True
        if kind in _HOLD_OUT_THEMSELVES:
            switch = {"early_stopping": True} if kind.startswith("Hist") else {}
            model.set_params(n_iter_no_change=rounds, validation_fraction=share, **switch)
            model.fit(fold.rows.X, fold.rows.y)
            return True
        fitting, stopping = fold.hold_out(share, self.bench.seed)
        loss = "logloss" if len(np.unique(fitting.y)) == 2 else "mlogloss"
        if kind == "XGBClassifier":
            model.set_params(early_stopping_rounds=rounds, eval_metric=loss)
            with _shared_matrices(model, fitting, stopping):
                model.fit(fitting.X, fitting.y, eval_set=[(stopping.X, stopping.y)], verbose=False)
        else:
            from lightgbm import early_stopping

            model.fit(
                fitting.X,
                fitting.y,
                eval_X=stopping.X,
                eval_y=stopping.y,
                eval_metric="binary_logloss" if loss == "logloss" else "multi_logloss",
                callbacks=[early_stopping(rounds, first_metric_only=True, verbose=False)],
            )
        return True

    def n_iterations(self, model: Any) -> int | None:
        """Return the rounds that predictions use, if early stopping was in force."""
        if not self.stops_early:
            return None
        kind = type(model).__name__
        if kind == "XGBClassifier":
            return int(model.best_iteration) + 1
        if kind == "LGBMClassifier":
            return int(model.best_iteration_)
        return int(model.n_iter_ if hasattr(model, "n_iter_") else model.n_estimators_)

    def judge_stages(
        self, model: Any, fold: _PreparedFold, values: tuple[float, ...]
    ) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """Judge a booster at fewer rounds as well: its first n rounds are the fit with n rounds."""
        if self.stops_early or not self.task.stages or not _may_stop_early(model):
            return ()
        full = int(model.get_params()[_ROUNDS[type(model).__name__]])
        fewer = [n for n in self.task.stages if n < full]
        judged = tuple((n, self.judge(_at_rounds(model, n), fold)) for n in fewer)
        return (*judged, (full, values))

    def judge(self, model: BaseEstimator, fold: _PreparedFold) -> tuple[float, ...]:
        """Return the metrics on the test rows; raise if one of them is not a number."""
        if isinstance(model, Segmenter):
            return self._judge_clusters(model, fold)
        segments, truth = self.table.segments, fold.test.y
        fitted = Pipeline([("preprocessing", _Prepared(fold.test.X)), ("model", model)])
        rows: Any = truth  # how many there are is all that is asked of them
        predicted, probabilities = predict(fitted, rows, len(segments))
        values = []
        for name in self.bench.metrics:
            if probabilities is None and metric_by_name(name).needs_probabilities:
                raise NotDefinedError(
                    f"{name} needs probabilities, which {type(model).__name__} does not give"
                )
            value = metric_value(name, truth, predicted, probabilities, segments)
            if not math.isfinite(value):
                raise NotDefinedError(f"{name} is {value} on the {len(truth)} rows of this fold")
            values.append(value)
        return tuple(values)

    def _judge_clusters(self, segmenter: Segmenter, fold: _PreparedFold) -> tuple[float, ...]:
        metrics, truth = self.bench.metrics, self.table.truth(self.split.test)
        found = segmenter.assign(fold.test.X)

        def stability() -> float:
            # Preprocessing and clusterer are refitted together, on rows as they were read.
            pipeline = clone(self.pipeline).set_params(**self.task.params)
            train, test = (self.table.X.iloc[r] for r in (self.split.train, self.split.test))
            resamples, seed = self.bench.fold_resamples, self.bench.seed
            return held_out_stability(pipeline, train, test, resamples, seed)

        known = judge_segments(
            segmenter, fold.test.X, found,
            truth=truth, stability=stability, wanted=metrics,
            silhouette_rows=self.bench.silhouette_rows, seed=self.bench.seed,
        )  # fmt: skip
        if truth is not None:
            predicted = map_segments(self.table, segmenter, self.split.train, found.segment)
            segments = self.table.segments
            of_truth = [name for name in metrics if metric_by_name(name).of == "segments"]
            known |= {n: metric_value(n, truth, predicted, None, segments) for n in of_truth}
        for name in metrics:
            if not math.isfinite(known[name]):
                raise NotDefinedError(
                    f"{name} is not defined: {segmenter.n_segments_} segment(s) were found"
                )
        return tuple(known[name] for name in metrics)

    def kind_of(self, error: Exception) -> str:
        """Tell parameters that the estimator refuses whatever the data from everything else."""
        if isinstance(error, InvalidParameterError):
            return INVALID
        # What the machine or a server says is not about the parameters.
        of_machine = isinstance(error, OSError | MemoryError | RuntimeError)
        if self.is_fitting and not of_machine and type(try_fit(self.new_model)) is type(error):
            return INVALID
        return FAIL


class _Prepared(BaseEstimator):
    """Stands in for the fitted preprocessing: what it says of the test rows is known."""

    def __init__(self, features: Any) -> None:
        self.features = features

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> _Prepared:
        return self

    def transform(self, X: Any) -> Any:
        return self.features


@dataclass
class _Rows:
    """Prepared features and segments of some rows, and XGBoost's matrices of them."""

    X: Any
    y: Codes
    matrices: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._own_bytes = _n_bytes(self.X) + self.y.nbytes

    @property
    def n_bytes(self) -> int:
        # A bin takes one or two bytes.
        return self._own_bytes + 2 * math.prod(self.X.shape) * len(self.matrices)


@dataclass
class _PreparedFold:
    rows: _Rows  # the training rows of the fold
    test: _Rows
    warnings: tuple[str, ...]  # of fitting the preprocessing; they belong to every trial
    groups: Codes | None = None  # of the training rows
    parts: dict[tuple[float, int], tuple[Codes, Codes] | None] = field(default_factory=dict)
    held_out: dict[tuple[float, int], tuple[_Rows, _Rows]] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        held_out = (rows for pair in self.held_out.values() for rows in pair)
        return sum(rows.n_bytes for rows in (self.rows, self.test, *held_out))

    def can_hold_out(self, share: float, seed: int) -> bool:
        """Say whether every segment has enough rows, or groups, to stand on both sides."""
        key, y = (share, seed), self.rows.y
        if key not in self.parts:
            self.parts[key] = _deal(y, self.groups, share, seed)
        return self.parts[key] is not None

    def hold_out(self, share: float, seed: int) -> tuple[_Rows, _Rows]:
        """Return the training rows to fit on and those to stop by.

        The preprocessing was fitted on both. The rows that score are in neither, so no score
        gains by it. Target encoders, too, saw the segments of the rows to stop by: where they
        encode each row without its own segment the stop is as good as any; where a transformer
        does not, the booster stops too late, and its honest score is the worse for it.
        """
        key = (share, seed)
        if key not in self.held_out:
            fitting, stopping = (
                _Rows(_safe_indexing(self.rows.X, part), self.rows.y[part])
                for part in self.parts[key] or ()
            )
            self.held_out[key] = fitting, stopping
        return self.held_out[key]


def _deal(y: Codes, groups: Codes | None, share: float, seed: int) -> tuple[Codes, Codes] | None:
    rows = np.zeros(len(y))
    try:
        if groups is None:
            shuffle = StratifiedShuffleSplit(1, test_size=share, random_state=seed)
            fitting, stopping = next(shuffle.split(rows, y))
        else:  # a share in the shape of one fold: no shuffle of groups is stratified
            n_folds = max(2, round(1 / share))
            folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
            with warnings.catch_warnings():  # a segment of few rows is looked for below
                warnings.simplefilter("ignore", UserWarning)
                fitting, stopping = next(folds.split(rows, y, groups))
    except ValueError:  # a segment of one row, or fewer rows held out than segments
        return None
    everyone = set(y)
    stands = set(y[fitting]) == everyone and (groups is None or set(y[stopping]) == everyone)
    return (fitting, stopping) if stands else None


def _n_bytes(X: Any) -> int:
    if isinstance(X, pd.DataFrame):
        return int(X.memory_usage().sum())
    if hasattr(X, "indptr"):  # a sparse matrix
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(getattr(X, "nbytes", 0))


def _prepare(
    table: Table, bench: Bench, pipeline: Pipeline, split: Split, params: Mapping[str, Any]
) -> _PreparedFold:
    X, X_test = table.X.iloc[split.train], table.X.iloc[split.test]
    codes = np.zeros(len(table.X), dtype=int) if table.y is None else table.y
    y, y_test = codes[split.train], codes[split.test]
    with warnings.catch_warnings(record=True) as said:
        if len(pipeline.steps) > 1:
            preprocessing = clone(pipeline[:-1]).set_params(**params)
            # A clusterer's preprocessing does not see the known segments either.
            seen = None if isinstance(pipeline.steps[-1][1], Segmenter) else y
            X, X_test = preprocessing.fit_transform(X, seen), preprocessing.transform(X_test)
    for array in (X, y, X_test, y_test):
        # Trials share these: one that writes into them has to fail, not to spoil the others.
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    groups = None if bench.groups is None else bench.groups[split.train]
    return _PreparedFold(_Rows(X, y), _Rows(X_test, y_test), tuple(_messages(said)), groups)


def _messages(said: list[warnings.WarningMessage]) -> Iterator[str]:
    return (f"{warning.category.__name__}: {warning.message}" for warning in said)


class _Folds:
    """The prepared folds that were used last, up to a number of bytes; always the last one."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._folds: OrderedDict[tuple[str | int, ...], _PreparedFold] = OrderedDict()

    def __len__(self) -> int:
        return len(self._folds)

    def find(
        self, key: tuple[str | int, ...], prepare: Callable[[], _PreparedFold]
    ) -> _PreparedFold:
        if key not in self._folds:
            self._folds[key] = prepare()
        self._folds.move_to_end(key)
        return self._folds[key]

    def trim(self) -> None:
        """Drop what was not used for longest; folds grow after they were put in."""
        n_bytes = sum(fold.n_bytes for fold in self._folds.values())
        while n_bytes > self.max_bytes and len(self._folds) > 1:
            n_bytes -= self._folds.popitem(last=False)[1].n_bytes


def _memory_bytes() -> int:
    """Return the memory that this machine, or the container, has."""
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = (
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                ("total", ctypes.c_ulonglong),
                ("others", ctypes.c_ulonglong * 6),
            )

        status = Status(length=ctypes.sizeof(Status))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.total)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *_container_limits()])


def _container_limits() -> Iterator[int]:
    """What a container may use of the memory, by either version of Linux's control groups."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # not there; or "max"
            yield int(Path("/sys/fs/cgroup", name).read_text())


# A quarter of the memory for all workers together, of which there is one per core at most.
_FOLDS = _Folds(_memory_bytes() // 4 // int(joblib.cpu_count()))
_IDENTITIES: dict[tuple[str, str], str] = {}


def _preprocessing_identity(bench: Bench, model: str) -> str:
    """Return a text that is equal for models with equal preprocessing."""
    key = (bench.name, model)
    if key not in _IDENTITIES:
        _IDENTITIES[key] = joblib.hash(bench.pipelines[model].steps[:-1])
    return _IDENTITIES[key]


# LightGBM's Dataset is not shared: its features are filtered by min_child_samples, which moves
# the draws of colsample_bytree, and without the filter the draws are others than the estimator's.


@contextlib.contextmanager
def _shared_matrices(model: Any, *known: _Rows) -> Iterator[None]:
    """Let XGBoost's own ``fit`` take the matrices of earlier trials where they are the same."""
    create = getattr(model, "_create_dmatrix", None)
    if type(model).__name__ != "XGBClassifier" or create is None:
        yield
        return

    def find(ref: Any, **kwargs: Any) -> Any:
        rows = next((rows for rows in known if rows.X is kwargs.get("data")), None)
        settings = {k: v for k, v in kwargs.items() if k not in ("data", "label")}
        given = {key for key, value in settings.items() if value is not None}
        # Weights and the like belong to one fit.
        if rows is None or given - {"missing", "enable_categorical", "feature_types"}:
            return create(ref=ref, **kwargs)
        if ref is not None:  # the categories of the reference, which has the same key
            settings.pop("feature_types", None)
        names = ("max_bin", "tree_method", "device", "booster", "n_jobs")
        key = repr((settings, [getattr(model, name, None) for name in names]))
        if key not in rows.matrices:
            matrix = create(ref=ref, **kwargs)
            # A plain DMatrix keeps what an earlier training left in it.
            if type(matrix).__name__ != "QuantileDMatrix":
                return matrix
            rows.matrices[key] = matrix
        return rows.matrices[key]

    model._create_dmatrix = find
    try:
        yield
    finally:
        del model._create_dmatrix


# Model -> the parameter that is its number of rounds.
_ROUNDS = {
    "XGBClassifier": "n_estimators",
    "LGBMClassifier": "n_estimators",
    "HistGradientBoostingClassifier": "max_iter",
    "GradientBoostingClassifier": "n_estimators",
}
# They hold out rows of what they are given by themselves, whatever group they belong to.
_HOLD_OUT_THEMSELVES = ("HistGradientBoostingClassifier", "GradientBoostingClassifier")
# Where the user says one of these, early stopping or the rounds are his own affair.
_OWN_STOPPING = (
    "early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change",
    "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round",
    "num_rounds", "nrounds", "num_boost_round", "max_iter",
)  # fmt: skip


def rounds_parameter(pipeline: Pipeline) -> str | None:
    """Return the parameter that is the number of rounds of a pipeline's booster, if it has one.

    None where the first rounds of a fit are not the fit with fewer rounds.
    """
    model = pipeline.steps[-1][1]
    return _ROUNDS.get(type(model).__name__) if _may_stop_early(model) else None


class _AtRounds(BaseEstimator):
    """LightGBM's or XGBoost's model as if it had made fewer rounds."""

    predicts_likeliest = True

    def __init__(self, model: Any, words: Mapping[str, Any]) -> None:
        self.model, self.words = model, words

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> Any:
        return self.model.classes_

    def fit(self, X: Any, y: Any = None) -> _AtRounds:
        return self

    def predict(self, X: Any) -> Any:
        return self.model.predict(X, **self.words)

    def predict_proba(self, X: Any) -> Any:
        return self.model.predict_proba(X, **self.words)


def _at_rounds(model: Any, n: int) -> Any:
    """Return what a booster was after its first ``n`` rounds."""
    kind = type(model).__name__
    if kind == "LGBMClassifier":
        return _AtRounds(model, {"num_iteration": n})
    if kind == "XGBClassifier":
        return _AtRounds(model, {"iteration_range": (0, n)})
    short = copy.copy(model)
    if kind == "GradientBoostingClassifier":
        short.estimators_ = model.estimators_[:n]
    else:
        short._predictors = model._predictors[:n]
    return short


def _may_stop_early(model: Any) -> bool:
    kind = type(model).__name__
    if kind not in _ROUNDS:
        return False
    params = model.get_params()
    if kind == "HistGradientBoostingClassifier":
        return params["early_stopping"] is not True
    if kind == "GradientBoostingClassifier":
        return params["n_iter_no_change"] is None
    # dart changes the weights of earlier trees, so its first rounds are no model by themselves.
    boosting = [params.get(key) for key in ("booster", "boosting_type", "boosting", "boost")]
    plain = all(kind in (None, "gbtree", "gbdt", "gbrt", "goss") for kind in boosting)
    return plain and all(params.get(name) is None for name in _OWN_STOPPING)


def try_fit(new_model: Callable[[], Any]) -> Exception | None:
    """Return what a few rounds on 60 made-up rows with 3 segments raise, if they do.

    LightGBM and XGBoost state no constraints, and check values only when they are fitted.

    Parameters
    ----------
    new_model : callable
        Returns the unfitted model; what it raises counts, too.
    """
    rng = np.random.default_rng(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe = new_model()
            params = probe.get_params()
            per_feature = {k: None for k, v in params.items() if isinstance(v, list | dict)}
            rounds = {k: 2 for k in set(_ROUNDS.values()) if _is_above(params.get(k), 2)}
            probe.set_params(**per_feature, **rounds)
            probe.fit(rng.normal(size=(60, 2)), np.arange(60) % 3)
    except Exception as error:
        return error
    return None


def _is_above(value: Any, low: int) -> bool:
    return isinstance(value, int) and value > low


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Close the mouth of native code, which writes past Python, and of estimators that print."""
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    stderr = sys.stderr
    own = None
    with contextlib.suppress(AttributeError, OSError, ValueError):  # no file, as in a notebook
        if stderr.fileno() == 2:
            # A progress bar in another thread keeps its way to the terminal.
            own = open(kept[1], "w", encoding=stderr.encoding, closefd=False)  # noqa: SIM115
    try:
        sys.stdout.flush()
        if own is not None:
            sys.stderr = own
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.stderr = stderr
        for descriptor, old in zip((1, 2), kept, strict=True):
            os.dup2(old, descriptor)
        if own is not None:
            own.close()
        for descriptor in (nowhere, *kept):
            os.close(descriptor)

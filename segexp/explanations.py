"""What a saved classifier makes of its features, and of the number of customers it learns from.

Everything is computed from a run directory: the saved pipeline, and the sample of its table. The
sample is of the customers that the model was fitted on, so what is said of the model here is
in-sample; only :func:`learning_curve` refits, and judges on customers held out.

References
----------
Friedman (2001). Greedy function approximation. Annals of Statistics 29(5), 1189-1232.
Lundberg and Lee (2017). A unified approach to interpreting model predictions. NeurIPS 30.
Lundberg et al. (2020). From local explanations to global understanding with explainable AI for
trees. Nature Machine Intelligence 2, 56-67.
"""

from __future__ import annotations

import copy
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from segexp.data.roles import FEATURE_ROLES
from segexp.errors import SegexpError
from segexp.evaluation import predict
from segexp.features import PlainNames
from segexp.figures.classification import Dependence
from segexp.metrics import metric_value

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

OWN = ("row", "id", "target")  # columns of a sample that are no features
MOST_LEVELS = 12  # categories of a feature that have a place in its curve
N_QUANTILES = 11  # points of the curve of a number


class ExplanationError(SegexpError):
    """Why there is no explanation of this kind; a sentence without its full stop."""

    exit_code = 1


# ---- how long it may take ----------------------------------------------------------------------


class _OutOfTimeError(BaseException):
    """Not an Exception, which a library may catch."""


@contextmanager
def limited(seconds: float, what: str) -> Iterator[None]:
    """Stop what computes for too long, also inside a library, as a stranger's settings may ask for.

    Parameters
    ----------
    seconds : float
        Of computing, so that it does not matter what else the machine does. Only the main thread
        of a program on Unix can be stopped, and one long call of compiled code ends only when it
        returns.
    what : str
        Is said to have been stopped.

    Raises
    ------
    ExplanationError
        After that time.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGPROF"):
        yield
        return

    def stop(*_: object) -> None:
        raise _OutOfTimeError

    before = signal.signal(signal.SIGPROF, stop)
    try:
        try:
            # Again every second: one that comes in a callback of a library is lost.
            signal.setitimer(signal.ITIMER_PROF, max(seconds, 1e-6), 1.0)
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except _OutOfTimeError:  # which may come in place of the line above
        raise _too_long(what, seconds) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before if before is not None else signal.SIG_DFL)


def _too_long(what: str, seconds: float) -> ExplanationError:
    return ExplanationError(f"{what} take longer than the {seconds:g} seconds that they have")


# ---- the sample --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampled:
    """Customers of a run's sample as its model knows them."""

    X: pd.DataFrame  # shape (n, n_features), typed as it was for the fit
    y: Codes | None  # codes of the known segments
    rows: Codes  # in the table of the run
    ids: pd.Series[Any]
    segments: tuple[str, ...]


def read_sample(sample: pd.DataFrame, schema: Mapping[str, Any]) -> Sampled:
    """Type the sample of a run as its model expects it.

    Parameters
    ----------
    sample : DataFrame
        ``sample.parquet``: ``row``, ``id``, ``target`` if known, and the features.
    schema : mapping
        ``model/schema.json``.

    Raises
    ------
    ExplanationError
        If the two do not fit, or either is damaged.
    """
    columns, segments = _described(schema)
    stored = {name: f"{name} (feature)" if name in OWN else name for name in columns}
    needed = ["row", "id", *stored.values()]
    if lacking := [name for name in needed if name not in sample.columns]:
        raise ExplanationError(f"the sample of customers lacks the column {lacking[0]!r}")
    typed = {
        name: _typed(sample[stored[name]].reset_index(drop=True), name, described)
        for name, described in columns.items()
    }
    y = None
    if "target" in sample:
        y = pd.Index(segments, dtype=object).get_indexer(pd.Index(sample["target"], dtype=object))
        if (y < 0).any():
            raise ExplanationError("the sample names segments that the model does not know")
    return Sampled(
        X=pd.DataFrame(typed),
        y=y,
        rows=_numbers(sample["row"], "row").astype(np.intp),
        ids=sample["id"].reset_index(drop=True),
        segments=segments,
    )


def _described(schema: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    columns, segments = schema.get("columns"), schema.get("segments")
    is_right = (
        isinstance(columns, dict)
        and bool(columns)
        and all(isinstance(c, dict) and c.get("role") in FEATURE_ROLES for c in columns.values())
        and isinstance(segments, list)
        and all(isinstance(name, str) for name in segments)
    )
    if not is_right:
        raise ExplanationError("the description of the model's columns is damaged")
    return dict(columns), tuple(segments)  # type: ignore[arg-type]


def _typed(column: pd.Series[Any], name: str, described: Mapping[str, Any]) -> pd.Series[Any]:
    role = described["role"]
    if role == "numeric":
        return pd.Series(_numbers(column, name))
    if role == "date":
        try:
            return pd.Series(pd.to_datetime(column)).astype("datetime64[ns]")
        except (ValueError, TypeError) as error:
            raise ExplanationError(f"the sample holds no dates in the column {name!r}") from error
    text = column.astype(object).where(column.notna(), np.nan)
    if role == "categorical":
        return text
    levels = described.get("levels")
    if not isinstance(levels, list) or len(set(map(str, levels))) < len(levels):
        raise ExplanationError(f"the levels of the column {name!r} are damaged")
    return text.astype(pd.CategoricalDtype(pd.Index(levels, dtype=object), ordered=True))


def _numbers(column: pd.Series[Any], name: str) -> Floats:
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ExplanationError(f"the sample holds no numbers in the column {name!r}") from error


def kind_of(column: pd.Series[Any]) -> str:
    """Return the role of a typed column: numeric, ordinal, categorical or date."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "ordinal"
    if pd.api.types.is_datetime64_dtype(column):
        return "date"
    return "numeric" if pd.api.types.is_numeric_dtype(column) else "categorical"


@dataclass(frozen=True)
class Twins:
    """Customers who are alike in every feature, but not in their segment."""

    n: int  # customers in all
    alike: int  # who have a twin
    torn: int  # who have a twin in another segment
    wrong: int  # at least so many are wrong, whatever the model


def count_twins(X: pd.DataFrame, y: Codes) -> Twins:
    """Count what no model on these columns can tell apart.

    Parameters
    ----------
    X : DataFrame, shape (n, n_features)
    y : ndarray of int, shape (n,)

    Returns
    -------
    Twins
        ``wrong`` are those outside the largest segment of their group of equals, which is the
        Bayes error of these customers if each kind of customer were met again.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [30.0, 30.0, 30.0, 40.0]})
    >>> count_twins(X, np.array([0, 0, 1, 1]))
    Twins(n=4, alike=3, torn=3, wrong=1)
    """
    kind = pd.util.hash_pandas_object(X, index=False).to_numpy()
    counts = pd.crosstab(pd.factorize(kind)[0], y).to_numpy()
    sizes, largest = counts.sum(axis=1), counts.max(axis=1)
    return Twins(
        n=len(X),
        alike=int(sizes[sizes > 1].sum()),
        torn=int(sizes[largest < sizes].sum()),
        wrong=int((sizes - largest).sum()),
    )


# ---- mean curves -------------------------------------------------------------------------------


def dependence(
    pipeline: Pipeline,
    X: pd.DataFrame,
    features: Sequence[str],
    n_segments: int,
    *,
    max_rows: int = 200,
    seed: int = 0,
    limit: float = 20.0,
) -> list[Dependence]:
    """Mean prediction of a fitted pipeline where one column has the same value for everybody.

    Tables with an altered column go through the whole pipeline, so values are in their own units.

    Parameters
    ----------
    pipeline : fitted Pipeline
    X : DataFrame, shape (n, n_features)
        Of more than ``max_rows`` customers a sample is altered.
    features : sequence of str
    n_segments : int
    max_rows : int
    seed : int
        Draws the customers.
    limit : float
        Seconds of computing after which no further curve begins.

    Returns
    -------
    list of Dependence
        A feature without two different values has none. The mean is of the probabilities, or of
        the predicted segments where the model has no probabilities. Where features go together,
        curves average over customers that do not exist (Friedman 2001).

    Raises
    ------
    ExplanationError
        If the curves take longer than ``limit``.
    """
    drawn = X
    if len(X) > max_rows:
        chosen = np.random.default_rng(seed).choice(len(X), max_rows, replace=False)
        drawn = X.iloc[np.sort(chosen)]
    began, found = time.process_time(), []
    for name in features:
        if time.process_time() - began > limit:
            raise _too_long("the predictions of this model", limit)
        places, weights = _grid(X[name])
        if len(places) < 2:
            continue
        altered = [
            drawn.assign(**{name: X[name].take(np.full(len(drawn), place)).array})
            for place in places
        ]
        shares = _shares(pipeline, pd.concat(altered, ignore_index=True), n_segments)
        means = shares.reshape(len(places), len(drawn), n_segments).mean(axis=1)
        values = X[name].take(places)
        grid = list(values.to_numpy()) if kind_of(values) == "date" else values.tolist()
        found.append(Dependence(name, kind_of(X[name]), grid, means, weights))
    return found


def _grid(column: pd.Series[Any]) -> tuple[Codes, Floats]:
    """Return rows whose values are the grid of a curve, and the share of each value.

    Quantiles from 2.5% to 97.5% of numbers and dates, levels in their order, the most frequent
    categories.
    """
    column = column.reset_index(drop=True)
    present = np.flatnonzero(column.notna())
    values = column.iloc[present]
    if kind_of(column) == "categorical":
        counts = values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        levels = list(counts.index[:MOST_LEVELS])
        met = values.drop_duplicates()
        places = [int(met.index[(met == level).to_numpy()][0]) for level in levels]
        shares = counts.to_numpy(dtype=np.float64)[:MOST_LEVELS] / len(column)
        return np.array(places, dtype=np.intp), shares
    keys = values.cat.codes.to_numpy() if kind_of(column) == "ordinal" else values.to_numpy()
    _, first, counted = np.unique(keys, return_index=True, return_counts=True)
    if kind_of(column) != "ordinal" and len(first) > N_QUANTILES:
        order = np.argsort(keys, kind="stable")
        at = np.linspace(0.025, 0.975, N_QUANTILES) * (len(order) - 1)
        chosen = order[np.round(at).astype(int)]
        _, unique = np.unique(keys[chosen], return_index=True)
        return present[chosen[unique]], np.full(len(unique), np.nan)
    return present[first], counted.astype(np.float64) / len(column)


def _shares(pipeline: Pipeline, X: pd.DataFrame, n_segments: int) -> Floats:
    """Return probabilities; of a model without them, 1 for the predicted segment."""
    predicted, probabilities = predict(pipeline, X, n_segments)
    return np.eye(n_segments)[predicted] if probabilities is None else probabilities


# ---- contributions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Contributions:
    """How much each feature moves each customer towards each segment."""

    values: Floats  # shape (n, n_segments, n_features), in log-odds
    features: tuple[str, ...]  # by mean size, the largest first; columns of the table
    method: str  # in words
    n_prepared: int  # features that the model was given


def contributions(
    pipeline: Pipeline, X: pd.DataFrame, n_segments: int, *, limit: float = 20.0
) -> Contributions:
    """SHAP values of a fitted LightGBM, XGBoost or linear classifier, by column of the table.

    Parameters
    ----------
    pipeline : fitted Pipeline
    X : DataFrame, shape (n, n_features)
    n_segments : int
    limit : float
        Seconds of computing.

    Returns
    -------
    Contributions
        Of boosters the path-dependent SHAP values that they compute themselves (Lundberg et al.
        2020); of linear models coefficient × (value - mean of ``X``), which are the SHAP values
        of independent features (Lundberg and Lee 2017). Those of prepared features that come
        from one column, such as its categories, are added up.

    Raises
    ------
    ExplanationError
        For another model, or one that takes longer than ``limit``.
    """
    Z = pipeline[:-1].transform(X)
    raw, method = _raw_contributions(pipeline.steps[-1][1], Z, limit)
    classes = np.asarray(pipeline.classes_).astype(int)
    by_segment = np.zeros((len(X), n_segments, raw.shape[2]))
    if raw.shape[1] == 1:  # two segments: what speaks for one speaks against the other
        by_segment[:, classes[1]], by_segment[:, classes[0]] = raw[:, 0], -raw[:, 0]
    else:
        by_segment[:, classes] = raw
    sources = sources_of(pipeline, raw.shape[2], Z)
    names = list(dict.fromkeys(sources))
    added = np.zeros((len(X), n_segments, len(names)))
    where = {name: i for i, name in enumerate(names)}
    for j, source in enumerate(sources):
        added[:, :, where[source]] += by_segment[:, :, j]
    order = np.argsort(-np.abs(added).mean(axis=(0, 1)), kind="stable")
    return Contributions(
        added[:, :, order], tuple(names[i] for i in order), method, n_prepared=len(sources)
    )


def _raw_contributions(model: Any, Z: Any, limit: float) -> tuple[Floats, str]:
    """Return shape (n, n_classes or 1, n_prepared), and how they were computed."""
    name = type(model).__name__
    if name == "LGBMClassifier":
        flat = _in_parts(lambda part: model.predict(part, pred_contrib=True), Z, limit)
        n_trees = 1 if model.n_classes_ <= 2 else model.n_classes_
        return flat.reshape(len(flat), n_trees, -1)[:, :, :-1], "SHAP values that LightGBM computes"
    if name == "XGBClassifier":
        return _in_parts(
            lambda part: _xgboost(model, part), Z, limit
        ), "SHAP values that XGBoost computes"
    if isinstance(model, LinearClassifierMixin):
        values = np.asarray(Z, dtype=np.float64)
        coefficients = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
        centred = values - values.mean(axis=0)
        return centred[:, None, :] * coefficients[None], "coefficient × (value - mean)"
    raise ExplanationError(
        f"{name} does not say how much each feature contributes; LightGBM, XGBoost and linear "
        f"models do"
    )


def _in_parts(explain: Callable[[Any], Any], Z: Any, limit: float, size: int = 100) -> Floats:
    """Explain rows part by part, and no more once the time is over."""
    began, found = time.process_time(), []
    for first in range(0, Z.shape[0], size):
        if time.process_time() - began > limit:
            raise _too_long("the contributions of this model", limit)
        part = Z.iloc[first : first + size] if hasattr(Z, "iloc") else Z[first : first + size]
        found.append(np.asarray(explain(part), dtype=np.float64))
    return np.concatenate(found)


def _xgboost(model: Any, Z: Any) -> Floats:
    import xgboost

    try:
        last = model.best_iteration + 1
    except AttributeError:  # without early stopping
        last = 0
    data = xgboost.DMatrix(Z, missing=model.missing, enable_categorical=True)
    found = model.get_booster().predict(
        data, pred_contribs=True, strict_shape=True, iteration_range=(0, last)
    )
    return np.asarray(found, dtype=np.float64)[:, :, :-1]


# A column's name on its way through the preprocessing; names of a table hold no such letters.
_BEGIN, _END = "\ue000", "\ue001"
_MARK = re.compile(f"{_BEGIN}(\\d+){_END}")


def sources_of(pipeline: Pipeline, n_prepared: int, Z: Any = None) -> list[str]:
    """Return the column of the table that each prepared feature comes from.

    Numbered marks go through the steps in place of the names, so that no name is guessed at. A
    feature of several columns (a product, a principal component) stands under its own name.

    Parameters
    ----------
    pipeline : fitted Pipeline
        Its last step is the model.
    n_prepared : int
        Features that the model gets.
    Z : DataFrame, optional
        Prepared rows, whose names stand where a feature has no source.
    """
    try:
        own = [str(name) for name in pipeline[:-1].get_feature_names_out()]
    except (AttributeError, ValueError, TypeError):
        own = list(map(str, getattr(Z, "columns", range(n_prepared))))
    try:
        columns = [str(name) for name in pipeline.feature_names_in_]
        marks = [f"{_BEGIN}{i}{_END}" for i in range(len(columns))]
        marked = _names_after(copy.deepcopy(pipeline[:-1]), marks)
    except (AttributeError, ValueError, TypeError, KeyError, IndexError):
        return own
    if len(marked) != len(own):
        return own
    found = []
    for name, plain in zip(marked, own, strict=True):
        numbers = set(_MARK.findall(name))
        found.append(columns[int(numbers.pop())] if len(numbers) == 1 else plain)
    return found


def _names_after(step: Any, names: Sequence[str]) -> list[str]:
    """Return the names that a fitted step makes of others; changes what the step remembers."""
    if isinstance(step, str):  # passthrough
        return list(names)
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            names = _names_after(inner, names)
        return list(names)
    if isinstance(step, ColumnTransformer):
        return _names_after_columns(step, names)
    if isinstance(step, PlainNames):
        return list(names)
    known = [str(name) for name in getattr(step, "feature_names_in_", names)]
    if hasattr(step, "names_"):  # a step on the whole table: old columns, then new ones
        marked = dict(zip(known, names, strict=True))
        return [marked.get(str(name), str(name)) for name in step.names_]
    if hasattr(step, "feature_names_in_"):
        step.feature_names_in_ = np.array(names, dtype=object)
    return [str(name) for name in step.get_feature_names_out(np.array(names, dtype=object))]


def _names_after_columns(step: ColumnTransformer, names: Sequence[str]) -> list[str]:
    marked = dict(zip(map(str, step.feature_names_in_), names, strict=True))
    n_out = max((part.stop or 0 for part in step.output_indices_.values()), default=0)
    made = [""] * n_out
    for name, branch, columns in step.transformers_:
        part = step.output_indices_[name]
        if branch == "drop" or part.start == part.stop:
            continue
        made[part] = _names_after(branch, [marked[str(column)] for column in columns])
    return made


def value_ranks(X: pd.DataFrame, features: Sequence[str]) -> Floats:
    """Return where each value stands among those of its feature, from 0 to 1.

    NaN where a value is missing, the feature has no order, or it is no column of ``X``.
    """
    ranks = np.full((len(X), len(features)), np.nan)
    for j, name in enumerate(features):
        if name not in X or (kind := kind_of(X[name])) == "categorical":
            continue
        values = X[name].cat.codes.where(X[name].notna()) if kind == "ordinal" else X[name]
        order = values.rank(method="average").to_numpy(dtype=float)
        low, high = np.nanmin(order, initial=np.inf), np.nanmax(order, initial=-np.inf)
        if high > low:
            ranks[:, j] = (order - low) / (high - low)
    return ranks


# ---- learning curve ----------------------------------------------------------------------------

N_FOLDS = 3  # of a learning curve
SHARES = (0.2, 0.6)  # of the training rows of a fold
LIMIT = 30.0  # seconds of computing for all refits
_MOST_TREES = 20_000  # of a model that is refitted


@dataclass(frozen=True)
class Answers:
    """What the folds of a run said of the customers in its sample, whom they had not seen."""

    n_learned: int  # customers that each fold learned from
    predicted: Codes
    probabilities: Floats | None  # shape (n, n_segments)


def learning_curve(
    pipeline: Pipeline,
    sampled: Sampled,
    metric: str,
    answers: Answers | None = None,
    *,
    n_folds: int = N_FOLDS,
    shares: Sequence[float] | None = None,
    seed: int = 0,
    limit: float = LIMIT,
) -> pd.DataFrame:
    """Score on held-out customers of refits on growing shares of the others, and of the run.

    Parameters
    ----------
    pipeline : Pipeline
        Cloned before each fit.
    sampled : Sampled
        With known segments.
    metric : str
    answers : Answers, optional
        Of the run, for the same customers: the last point, which costs no fit.
    n_folds : int
    shares : sequence of float, optional
        Of the training rows of a fold, growing; the smaller are part of the larger, and each has
        two customers of every segment at least. By default :data:`SHARES`, and all of them where
        there are no ``answers``.
    seed : int
        Deals folds and shares.
    limit : float
        Seconds of computing; the first fit tells whether they are enough.

    Returns
    -------
    DataFrame with columns ``customers, fold, value``
        ``customers`` is the mean over folds.

    Raises
    ------
    ExplanationError
        If segments have too few customers, the refits take longer than ``limit``, or the pipeline
        names a cache, other machines or more trees than anybody grows.
    """
    y = sampled.y
    if y is None:
        raise ExplanationError("the sample does not know the segments")
    _check_refits(pipeline)
    codes, counts = np.unique(y, return_counts=True)
    if len(codes) < 2 or counts.min() < 2 * n_folds:
        raise ExplanationError(
            f"the smallest segment has {counts.min()} customers in the sample, and {n_folds} "
            f"folds of growing shares need {2 * n_folds}"
        )
    chosen = shares if shares is not None else SHARES if answers is not None else (*SHARES, 1.0)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed % 2**32)
    parts = [(_by_share(y, fold[0], chosen, seed + k), fold[1])
             for k, fold in enumerate(folds.split(sampled.X, y))]  # fmt: skip
    rows: list[tuple[float, int, int, float]] = []
    with limited(limit, "refits"):
        began, first = time.process_time(), len(parts[0][0][0])
        work = sum(max(1.0, len(part) / first) for growing, _ in parts for part in growing)
        for i, share in enumerate(chosen):
            for k, (growing, test) in enumerate(parts):
                value = _refitted(pipeline, sampled, growing[i], test, metric)
                rows.append((share, len(growing[i]), k, value))
                # A fit on more customers takes less than so many times as long.
                if len(rows) == 1 and (time.process_time() - began) * work > 3 * limit:
                    raise _too_long("refits", limit)
    if answers is not None:
        for k, (_, test) in enumerate(parts):
            said = None if answers.probabilities is None else answers.probabilities[test]
            value = metric_value(metric, y[test], answers.predicted[test], said, sampled.segments)
            rows.append((np.inf, answers.n_learned, k, value))
    table = pd.DataFrame(rows, columns=["share", "customers", "fold", "value"])
    table["customers"] = table.groupby("share")["customers"].transform("mean").round().astype(int)
    return table.drop(columns="share").dropna(subset="value").reset_index(drop=True)


def _check_refits(pipeline: Pipeline) -> None:
    """Refuse what reads pickles, opens connections or has no end, as a stranger may name it."""
    from lightgbm.basic import _ConfigAliases

    others = _ConfigAliases.get("machines", "machine_list_filename", "num_machines")
    for path, value in pipeline.get_params().items():
        name = path.rpartition("__")[2]
        # joblib runs what lies in a cache.
        if (name == "memory" or name in others) and value is not None:
            raise ExplanationError(
                f"the model is not refitted: it names {name}, which a report does not use"
            )
        if name == "n_estimators" and isinstance(value, int) and value > _MOST_TREES:
            raise ExplanationError(f"the model is not refitted: it asks for {value:,} trees")


def _by_share(y: Codes, train: Codes, shares: Sequence[float], seed: int) -> list[Codes]:
    """Return growing parts of the training rows with the same mix of segments."""
    rng = np.random.default_rng(seed)
    own = [rng.permutation(train[y[train] == code]) for code in np.unique(y[train])]
    return [
        np.sort(np.concatenate([rows[: max(2, round(share * len(rows)))] for rows in own]))
        for share in shares
    ]


def _refitted(
    pipeline: Pipeline, sampled: Sampled, train: Codes, test: Codes, metric: str
) -> float:
    if sampled.y is None:  # which learning_curve has refused
        return np.nan
    fitted = clone(pipeline)
    with warnings.catch_warnings():
        # What small shares make libraries say was said of the whole run, where it matters.
        warnings.simplefilter("ignore")
        fitted.fit(sampled.X.iloc[train], sampled.y[train])
        answers = predict(fitted, sampled.X.iloc[test], len(sampled.segments))
    return metric_value(metric, sampled.y[test], *answers, sampled.segments)

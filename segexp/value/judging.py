"""How good values are: models fitted to some customers, judged by what others then did."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from segexp.evaluation import Codes, Split, peak_memory_mb
from segexp.value.clv import CustomerValue
from segexp.value.likelihood import Floats

N_DECILES = 10
MOST_REPEATS = 7  # customers with as many or more stand in one row

ALIVE_CUTS = (1 / 3, 2 / 3)  # probabilities
ALIVE_NAMES = ("likely gone", "at risk", "active")
VALUE_CUTS = (0.5, 0.8)  # quantiles of the lifetime value if active
VALUE_NAMES = ("low value", "middle value", "high value")


@dataclass(frozen=True)
class Outcomes:
    """Purchase histories and what followed, as they are sent to workers once."""

    X: pd.DataFrame  # shape (n, n_features)
    purchases: Floats  # shape (n,): days with a purchase in the holdout period
    spend: Floats  # shape (n,): in the holdout period
    days: float  # of the holdout period


@dataclass(frozen=True)
class ValueFold:
    """What models fitted to the training customers of a fold say of its test customers."""

    split: Split
    predictions: pd.DataFrame  # one row per test customer
    scores: Mapping[str, float]
    parameters: Mapping[str, float]
    converged: bool
    fit_seconds: float
    predict_seconds: float
    warnings: tuple[str, ...]  # each once
    peak_memory_mb: int


def judge_value(outcomes: Outcomes, pipeline: Pipeline, split: Split) -> ValueFold:
    """Fit a clone of a pipeline to the training customers, and judge it on the test customers.

    Neither the histories nor the outcomes of the test customers are seen by the fit, and of the
    training customers it sees nothing after their histories.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        start = time.perf_counter()
        fitted = clone(pipeline).fit(outcomes.X.iloc[split.train])
        fitted_at = time.perf_counter()
        predictions = predict_outcomes(fitted[-1], outcomes, split.test)
        predicted_at = time.perf_counter()
    messages = dict.fromkeys(str(w.message) for w in said)
    model: CustomerValue = fitted[-1]
    return ValueFold(
        split=split,
        predictions=predictions,
        scores=value_scores(predictions),
        parameters={**model.purchases_.parameters_, **model.spend_.parameters_},
        converged=model.purchases_.converged_ and model.spend_.converged_,
        fit_seconds=fitted_at - start,
        predict_seconds=predicted_at - fitted_at,
        warnings=tuple(messages),
        peak_memory_mb=peak_memory_mb(),
    )


def predict_outcomes(model: CustomerValue, outcomes: Outcomes, rows: Codes) -> pd.DataFrame:
    """Return what a fitted model says of some customers, beside what they did.

    Returns
    -------
    DataFrame
        ``row``, ``repeats`` (of the history), ``expected_purchases`` and ``expected_revenue`` (in
        the holdout period), ``probability_alive``, ``expected_spend`` (per purchase), ``clv``
        (over the horizon of the model), ``log_likelihood`` (of the purchases in the holdout),
        ``actual_purchases``, ``actual_spend``.
    """
    X = outcomes.X.iloc[rows]
    found = model.value(X)
    purchases = model.purchases_.expected_purchases(X, outcomes.days)
    actual = outcomes.purchases[rows]
    return pd.DataFrame(
        {
            "row": rows,
            "repeats": X["repeats"].to_numpy(dtype=np.float64),
            "expected_purchases": purchases,
            "expected_revenue": purchases * found["expected_spend"].to_numpy(),
            "probability_alive": found["probability_alive"].to_numpy(),
            "expected_spend": found["expected_spend"].to_numpy(),
            "clv": found["clv"].to_numpy(),
            "log_likelihood": model.purchases_.holdout_log_likelihood(X, actual, outcomes.days),
            "actual_purchases": actual,
            "actual_spend": outcomes.spend[rows],
        }
    )


def value_scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of predictions; NaN where one is not defined.

    Parameters
    ----------
    predictions : DataFrame
        From :func:`predict_outcomes`.

    Returns
    -------
    dict of str to float
        ``holdout_log_likelihood``, ``mae``, ``rmse``, ``abs_bias``, ``spend_mae``,
        ``rank_correlation``, ``top_decile_share``.
    """
    expected = predictions["expected_purchases"].to_numpy()
    actual = predictions["actual_purchases"].to_numpy()
    revenue = predictions["expected_revenue"].to_numpy()
    spend = predictions["actual_spend"].to_numpy()
    total = actual.sum()
    return {
        "holdout_log_likelihood": float(predictions["log_likelihood"].mean()),
        "mae": float(np.abs(expected - actual).mean()),
        "rmse": float(np.sqrt(((expected - actual) ** 2).mean())),
        "abs_bias": abs(float(expected.sum() / total) - 1) if total > 0 else float("nan"),
        "spend_mae": float(np.abs(revenue - spend).mean()),
        "rank_correlation": rank_correlation(expected, actual),
        "top_decile_share": top_share(revenue, spend),
    }


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's correlation; NaN if one of both does not vary.

    Examples
    --------
    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    ranks = np.stack([rankdata(first), rankdata(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    scale = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float(ranks[0] @ ranks[1]) / scale if scale > 0 else float("nan")


def top_share(predicted: Floats, actual: Floats, share: float = 0.1) -> float:
    """Return which part of ``actual`` the customers with the largest predictions made.

    Customers with equal predictions at the edge count by the part of them that belongs to the
    top; NaN if nothing was made.

    Examples
    --------
    >>> top_share(np.arange(10.0), np.ones(10))
    0.1
    """
    total = float(actual.sum())
    if not total > 0:
        return float("nan")
    n = max(share * len(predicted), 1.0)
    edge = np.sort(predicted)[::-1][int(np.ceil(n)) - 1]
    above, at = predicted > edge, predicted == edge
    part = (n - above.sum()) / at.sum()
    return float(actual[above].sum() + part * actual[at].sum()) / total


def decile_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return held-out customers by tenths of the predicted purchases, the largest first.

    Equal predictions are dealt in the order of the rows.

    Returns
    -------
    DataFrame
        ``decile`` (1 to 10), ``n``, and means per customer: ``predicted_purchases``,
        ``actual_purchases``, ``predicted_spend``, ``actual_spend``.
    """
    order = np.argsort(-predictions["expected_purchases"].to_numpy(), kind="stable")
    deciles = np.empty(len(predictions), dtype=np.int64)
    deciles[order] = np.arange(len(predictions)) * N_DECILES // max(len(predictions), 1) + 1
    return _means_by(predictions, "decile", deciles)


def frequency_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return held-out customers by the repeat purchases of their history; the last row is 7+.

    Returns
    -------
    DataFrame
        ``repeats`` and the columns of :func:`decile_table`.
    """
    repeats = np.minimum(predictions["repeats"].to_numpy(), MOST_REPEATS).astype(np.int64)
    return _means_by(predictions, "repeats", repeats)


def _means_by(predictions: pd.DataFrame, name: str, groups: NDArray[np.int64]) -> pd.DataFrame:
    columns = {
        "predicted_purchases": "expected_purchases",
        "actual_purchases": "actual_purchases",
        "predicted_spend": "expected_revenue",
        "actual_spend": "actual_spend",
    }
    by_group = predictions.groupby(groups)
    means = by_group[list(columns.values())].mean().set_axis(list(columns), axis=1)
    means.insert(0, "n", by_group.size())
    return means.rename_axis(name).reset_index()


def name_cells(values: pd.DataFrame) -> NDArray[Any]:
    """Return the cell of each customer in the matrix of value and risk, shape (n,).

    Rows of the matrix are thirds of the probability that a customer is active, columns are the
    lower half, the next three tenths and the upper fifth by lifetime value *if active*
    (``clv_if_alive``): what is lost with a customer who leaves. Equal customers are in equal
    cells.

    Parameters
    ----------
    values : DataFrame with columns ``probability_alive, clv_if_alive``
    """
    alive = np.digitize(values["probability_alive"].to_numpy(), ALIVE_CUTS)
    worth = values["clv_if_alive"].to_numpy()
    level = np.searchsorted(np.quantile(worth, VALUE_CUTS), worth, side="left")
    names = np.array([[_cell(v, a) for v in VALUE_NAMES] for a in ALIVE_NAMES], dtype=object)
    return names[alive, level]


def _cell(value: str, alive: str) -> str:
    return f"{value}, {alive}"


def value_matrix(values: pd.DataFrame) -> pd.DataFrame:
    """Return the nine cells of value and risk, the most valuable and most active first.

    Parameters
    ----------
    values : DataFrame with columns ``segment, probability_alive, clv, clv_if_alive``

    Returns
    -------
    DataFrame
        ``segment``, ``value``, ``risk``, ``n``, ``share``, ``clv`` (total), ``clv_share``,
        ``clv_at_stake`` (what the same customers would be worth more if all were active),
        ``probability_alive`` (mean; NaN in an empty cell).
    """
    at_stake = values["clv_if_alive"] - values["clv"]
    by_cell = values.assign(at_stake=at_stake).groupby("segment")
    sizes, means = by_cell.size(), by_cell["probability_alive"].mean()
    sums = by_cell[["clv", "at_stake"]].sum()
    total = float(values["clv"].sum())
    rows = []
    for value in reversed(VALUE_NAMES):
        for alive in reversed(ALIVE_NAMES):
            cell = _cell(value, alive)
            n, clv = int(sizes.get(cell, 0)), float(sums["clv"].get(cell, 0.0))
            rows.append(
                {
                    "segment": cell,
                    "value": value,
                    "risk": alive,
                    "n": n,
                    "share": n / len(values),
                    "clv": clv,
                    "clv_share": clv / total if total else float("nan"),
                    "clv_at_stake": float(sums["at_stake"].get(cell, 0.0)),
                    "probability_alive": float(means.get(cell, np.nan)),
                }
            )
    return pd.DataFrame(rows)


def value_customers(model: CustomerValue, X: pd.DataFrame, ids: pd.Series[Any]) -> pd.DataFrame:
    """Return what a fitted model says of every customer, and the cell each is in.

    Returns
    -------
    DataFrame
        ``row``, ``id``, ``segment``, ``expected_purchases``, ``probability_alive``,
        ``expected_spend``, ``clv``, ``clv_if_alive``, and the columns of the history.
    """
    values = model.value(X)
    alive = values["probability_alive"].to_numpy()
    clv = values["clv"].to_numpy()
    values["clv_if_alive"] = np.divide(clv, alive, out=np.zeros(len(clv)), where=alive > 0)
    table = pd.DataFrame({"row": np.arange(len(X)), "id": ids.to_numpy()})
    table["segment"] = name_cells(values)
    inputs = X[["repeats", "span", "tenure", "repeat_spend"]]
    return pd.concat([table, values.reset_index(drop=True), inputs.reset_index(drop=True)], axis=1)


def folds_table(folds: Sequence[ValueFold], ids: pd.Series[Any]) -> pd.DataFrame:
    """Return the predictions of all folds with ``id``, ``repeat`` and ``fold`` of each row."""
    parts = [
        fold.predictions.assign(repeat=fold.split.repeat, fold=fold.split.fold) for fold in folds
    ]
    table = pd.concat(parts, ignore_index=True)
    table.insert(1, "id", ids.to_numpy()[table["row"].to_numpy()])
    first = ["row", "id", "repeat", "fold"]
    columns = [*first, *(name for name in table if name not in first)]
    return table[columns].sort_values(["repeat", "row"], ignore_index=True)

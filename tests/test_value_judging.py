"""Judging values: metrics, calibration tables, the matrix of value and risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from test_value_clv import shop

from segexp.evaluation import Split
from segexp.metrics import VALUE_METRICS
from segexp.value.clv import CustomerValue
from segexp.value.judging import (
    Outcomes,
    decile_table,
    frequency_table,
    judge_value,
    name_cells,
    rank_correlation,
    top_share,
    value_matrix,
    value_scores,
)
from segexp.value.models import BetaGeo


def predictions(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "repeats": [0.0, 1, 2, 3],
            "expected_purchases": [1.0, 2, 3, 2],
            "expected_revenue": [10.0, 20, 30, 20],
            "actual_purchases": [0.0, 2, 5, 3],
            "actual_spend": [0.0, 30, 60, 10],
            "log_likelihood": [-1.0, -2, -3, -2],
            **columns,
        }
    )


def test_scores_are_those_worked_out_by_hand() -> None:
    found = value_scores(predictions())
    assert found == pytest.approx(
        {
            "holdout_log_likelihood": -2,
            "mae": 1,  # 1, 0, 2, 1
            "rmse": np.sqrt(6 / 4),
            "abs_bias": 0.2,  # 8 of 10
            "spend_mae": 15,  # 10, 10, 30, 10
            "rank_correlation": np.corrcoef([1, 2.5, 4, 2.5], [1, 2, 4, 3])[0, 1],
            "top_decile_share": 0.6,
        }
    )


def test_every_metric_of_values_is_measured() -> None:
    assert set(value_scores(predictions())) == {metric.name for metric in VALUE_METRICS}


def test_a_holdout_in_which_nobody_bought_has_no_bias() -> None:
    nobody = predictions(actual_purchases=0.0, actual_spend=0.0)
    found = value_scores(nobody)
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined == {"abs_bias", "rank_correlation", "top_decile_share"}


def test_too_much_and_too_little_are_as_bad() -> None:
    more = value_scores(predictions(expected_purchases=3.0))["abs_bias"]
    less = value_scores(predictions(expected_purchases=2.0))["abs_bias"]
    assert more == pytest.approx(less) == pytest.approx(0.2)


def test_equal_predictions_have_no_rank() -> None:
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_equal_predictions_share_the_top() -> None:
    assert top_share(np.ones(20), np.arange(20.0)) == pytest.approx(0.1)


def test_deciles_hold_the_largest_first() -> None:
    n = 25
    table = predictions().iloc[np.zeros(n, dtype=int)].reset_index(drop=True)
    table["expected_purchases"] = table["actual_purchases"] = np.arange(n, dtype=float)
    found = decile_table(table)
    assert found["decile"].tolist() == list(range(1, 11)) and found["n"].sum() == n
    assert found["predicted_purchases"].is_monotonic_decreasing
    assert found["predicted_purchases"].iloc[0] == pytest.approx(23)
    np.testing.assert_array_equal(found["predicted_purchases"], found["actual_purchases"])


def test_customers_with_many_repeats_stand_in_one_row() -> None:
    found = frequency_table(predictions(repeats=[0.0, 7, 8, 100]))
    assert found["repeats"].tolist() == [0, 7] and found["n"].tolist() == [1, 3]
    assert found["actual_purchases"].tolist() == pytest.approx([0, 10 / 3])


def values(alive: list[float], worth: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"probability_alive": alive, "clv_if_alive": worth})
    table["clv"] = table["probability_alive"] * table["clv_if_alive"]
    return table.assign(segment=name_cells(table))


def test_cells_are_named_by_value_and_risk() -> None:
    found = values([0.9, 0.5, 0.1, 0.9, 0.9], [50.0, 40, 30, 20, 10])
    assert found["segment"].tolist() == [
        "high value, active",
        "middle value, at risk",
        "low value, likely gone",
        "low value, active",
        "low value, active",
    ]


def test_a_valuable_customer_who_is_nearly_gone_stays_valuable() -> None:
    found = values([0.05, *[0.9] * 9], [1000.0, *range(1, 10)])
    assert found["segment"].iloc[0] == "high value, likely gone"


def test_equal_customers_are_in_equal_cells() -> None:
    found = values([0.9] * 10, [7.0] * 10)
    assert set(found["segment"]) == {"low value, active"}


def test_the_matrix_adds_up() -> None:
    rng = np.random.default_rng(0)
    table = values(list(rng.random(200)), list(rng.gamma(1, 100, 200)))
    matrix = value_matrix(table)
    assert len(matrix) == 9 and matrix["segment"].iloc[0] == "high value, active"
    assert matrix["n"].sum() == 200 and matrix["share"].sum() == pytest.approx(1)
    assert matrix["clv"].sum() == pytest.approx(table["clv"].sum())
    lost = (table["clv_if_alive"] - table["clv"]).sum()
    assert matrix["clv_at_stake"].sum() == pytest.approx(lost)


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    X = shop(300)
    rng = np.random.default_rng(1)
    purchases = rng.poisson(0.3 * X["repeats"]).astype(float)
    return Outcomes(X, purchases, 30 * purchases, 180.0)


def test_a_fold_learns_from_its_training_customers_only(outcomes: Outcomes) -> None:
    split = Split(0, 0, np.arange(100, 300), np.arange(100))
    fold = judge_value(outcomes, Pipeline([("model", CustomerValue())]), split)
    alone = BetaGeo().fit(outcomes.X.iloc[100:])
    expected = alone.expected_purchases(outcomes.X.iloc[:100], 180)
    np.testing.assert_array_equal(fold.predictions["expected_purchases"], expected)
    assert fold.predictions["row"].tolist() == list(range(100))
    assert alone.parameters_.items() <= fold.parameters.items()


def test_outcomes_of_training_customers_change_nothing(outcomes: Outcomes) -> None:
    split = Split(0, 0, np.arange(100, 300), np.arange(100))
    pipeline = Pipeline([("model", CustomerValue())])
    changed = outcomes.purchases.copy()
    changed[100:] = 99
    other = Outcomes(outcomes.X, changed, outcomes.spend, outcomes.days)
    first, second = (judge_value(data, pipeline, split) for data in (outcomes, other))
    assert first.scores == second.scores


def test_what_a_fit_warns_of_is_kept(outcomes: Outcomes) -> None:
    X = outcomes.X.assign(repeats=2.0, span=50.0, tenure=90.0, repeat_spend=5.0)
    alike = Outcomes(X, outcomes.purchases, outcomes.spend, outcomes.days)
    split = Split(0, 0, np.arange(100, 300), np.arange(100))
    fold = judge_value(alike, Pipeline([("model", CustomerValue())]), split)
    assert not fold.converged
    assert any(text.startswith("BetaGeo: not converged") for text in fold.warnings)

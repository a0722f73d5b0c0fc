"""Customer lifetime value and the features made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import segexp.saved_model as saved_model
from segexp.errors import ConfigError, DataError
from segexp.saved_model import dump_pipeline, load_pipeline
from segexp.value.clv import CustomerValue
from segexp.value.features import ValueFeatures
from segexp.value.models import BetaGeo, GammaGamma, ParetoNBD, PastRate


def shop(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return customers who leave after some purchase, and spend around means of their own."""
    rng = np.random.default_rng(seed)
    tenure = rng.integers(100, 400, n).astype(float)
    times = rng.exponential(1 / rng.gamma(0.8, 0.03, n)[:, None], (n, 60)).cumsum(axis=1)
    left = rng.random((n, 60)) < rng.beta(0.8, 2.5, n)[:, None]
    stays = np.cumsum(left, axis=1) - left == 0
    bought = (times < tenure[:, None]) & stays
    repeats = bought.sum(axis=1).astype(float)
    span = np.ceil(np.where(bought, times, 0).max(axis=1))
    spend = rng.gamma(np.maximum(5 * repeats, 1), 1 / rng.gamma(4, 0.1, n))
    spend = np.divide(spend, repeats, out=np.full(n, np.nan), where=repeats > 0)
    return pd.DataFrame(
        {"repeats": repeats, "span": span, "tenure": tenure, "repeat_spend": spend, "age": 40.0}
    )


@pytest.fixture(scope="module")
def customers() -> pd.DataFrame:
    return shop()


def test_one_period_is_the_formula(customers: pd.DataFrame) -> None:
    model = CustomerValue(horizon_days=365, period_days=365, margin=0.5, discount_rate=0.25)
    found = model.fit(customers).value(customers)
    expected = found["expected_purchases"] * found["expected_spend"] * 0.5 / 1.25
    np.testing.assert_allclose(found["clv"], expected, rtol=1e-12)


def test_periods_are_discounted_one_by_one(customers: pd.DataFrame) -> None:
    model = CustomerValue(horizon_days=400, period_days=150, discount_rate=0.1).fit(customers)
    until = [model.purchases_.expected_purchases(customers, t) for t in (150, 300, 400)]
    new = np.diff([np.zeros(len(customers)), *until], axis=0)
    factors = [1.1 ** (-t / 365) for t in (150, 300, 400)]
    expected = (np.array(factors) @ new) * model.spend_.expected_spend(customers)
    np.testing.assert_allclose(model.value(customers)["clv"], expected, rtol=1e-12)


def test_without_discount_the_value_is_the_revenue(customers: pd.DataFrame) -> None:
    found = CustomerValue(discount_rate=0).fit(customers).value(customers)
    revenue = found["expected_purchases"] * found["expected_spend"]
    np.testing.assert_allclose(found["clv"], revenue, rtol=1e-12)


def test_customers_without_a_repeat_have_a_value(customers: pd.DataFrame) -> None:
    model = CustomerValue().fit(customers)
    once = customers[customers["repeats"] == 0]
    found = model.value(once)
    assert np.isfinite(found.to_numpy()).all() and (found["clv"] > 0).all()
    assert (found["expected_spend"] == model.spend_.mean_spend_).all()
    assert list(found.index) == list(once.index)


@pytest.mark.parametrize("purchases", [BetaGeo(), ParetoNBD(), PastRate()])
def test_every_model_of_purchases_serves(customers: pd.DataFrame, purchases: Any) -> None:
    model = CustomerValue(purchases).fit(customers)
    assert np.array_equal(model.predict(customers), model.value(customers)["clv"])
    assert not hasattr(purchases, "parameters_")


def test_new_customers_are_valued_by_what_was_learned(customers: pd.DataFrame) -> None:
    model = CustomerValue().fit(customers)
    alone = model.value(customers.iloc[[7]])
    pd.testing.assert_frame_equal(alone, model.value(customers).iloc[[7]])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"horizon_days": 0}, "horizon_days must be"),
        ({"period_days": -1}, "period_days must be"),
        ({"discount_rate": -1}, "discount_rate must be above -1"),
        ({"margin": float("nan")}, "margin must be"),
        ({"purchases": GammaGamma()}, "model.estimator.purchases must be a PurchaseModel"),
        ({"spend": BetaGeo()}, "model.estimator.spend must be a GammaGamma"),
    ],
)
def test_a_wrong_setting_is_one_line(
    customers: pd.DataFrame, setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        CustomerValue(**setting).fit(customers)
    assert "\n" not in str(error.value)


def test_features_are_added(customers: pd.DataFrame) -> None:
    made = ValueFeatures().fit(customers)
    found = made.transform(customers)
    assert list(found) == [*customers, "expected_purchases", "probability_alive", "expected_spend"]
    assert list(made.get_feature_names_out()) == list(found)
    assert found.iloc[:, -3:].notna().all(axis=None)


def test_the_inputs_of_the_models_can_be_left_out(customers: pd.DataFrame) -> None:
    made = ValueFeatures(keep_inputs=False).fit(customers)
    expected = ["age", "expected_purchases", "probability_alive", "expected_spend"]
    assert list(made.transform(customers)) == expected
    assert list(made.get_feature_names_out()) == expected


def test_features_learn_from_the_rows_of_fit_only(customers: pd.DataFrame) -> None:
    train = customers.iloc[:200]
    expected = BetaGeo().fit(train).expected_purchases(customers, 365)
    found = ValueFeatures().fit(train).transform(customers)["expected_purchases"]
    np.testing.assert_array_equal(found, expected)


def test_a_table_without_histories_is_refused(customers: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"dataset\.transactions\.features"):
        ValueFeatures().fit(customers[["age"]])


def test_features_can_be_cloned() -> None:
    copied = clone(ValueFeatures(ParetoNBD(time_unit_days=30), horizon_days=90))
    assert copied.purchases.time_unit_days == 30 and copied.horizon_days == 90


@pytest.mark.parametrize("purchases", [BetaGeo(), ParetoNBD(), PastRate()])
def test_a_saved_model_says_the_same(
    customers: pd.DataFrame, purchases: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["clv.CustomerValue", "features.ValueFeatures"]
    own += [f"models.{name}" for name in ("BetaGeo", "ParetoNBD", "PastRate", "GammaGamma")]
    trusted = {*saved_model.TRUSTED, *(f"segexp.value.{name}" for name in own)}
    monkeypatch.setattr(saved_model, "TRUSTED", tuple(sorted(trusted)))
    pipeline = Pipeline([("features", ValueFeatures()), ("model", CustomerValue(purchases))])
    pipeline.fit(customers)
    again = load_pipeline(dump_pipeline(pipeline), "the model")
    np.testing.assert_array_equal(again.predict(customers), pipeline.predict(customers))

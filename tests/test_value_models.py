"""Models of purchases and spend: probabilities, parameters that come back, hostile histories."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import hyp2f1
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from segexp.errors import ConfigError, DataError
from segexp.value import models
from segexp.value.models import BetaGeo, GammaGamma, ParetoNBD, PastRate, PurchaseModel

Floats = NDArray[np.float64]
PARAMETERS: dict[type[PurchaseModel], dict[str, float]] = {
    BetaGeo: {"r": 0.5, "alpha": 5.0, "a": 0.8, "b": 2.5},
    ParetoNBD: {"r": 0.6, "alpha": 6.0, "s": 0.7, "beta": 12.0},
    PastRate: {"r": 0.7, "alpha": 5.0},
}
KINDS = tuple(PARAMETERS)
every_model = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def known(kind: type[PurchaseModel], **parameters: float) -> PurchaseModel:
    """Return a model as if it had been fitted."""
    model = kind()
    model.parameters_ = {**PARAMETERS[kind], **parameters}
    return model


def history(repeats: Any, span: Any, tenure: Any) -> pd.DataFrame:
    """Return histories, times in weeks."""
    rows = np.broadcast_arrays(*(np.atleast_1d(np.float64(v)) for v in (repeats, span, tenure)))
    return pd.DataFrame({"repeats": rows[0], "span": rows[1] * 7, "tenure": rows[2] * 7})


SOME = history([0, 0, 1, 2, 8, 30], [0, 0, 3, 20, 38, 10], [0, 30, 30, 39, 39, 39])


def simulate(kind: type[PurchaseModel], n: int, seed: int = 0) -> pd.DataFrame:
    """Return histories of customers who behave as the model says; up to 80 weeks each."""
    rng = np.random.default_rng(seed)
    p = PARAMETERS[kind]
    rate = rng.gamma(p["r"], 1 / p["alpha"], n)
    tenure = rng.uniform(40, 80, n)
    leaves = np.full(n, np.inf)
    chance = np.zeros(n)
    if kind is ParetoNBD:
        leaves = rng.exponential(1 / rng.gamma(p["s"], 1 / p["beta"], n))
    if kind is BetaGeo:
        chance = rng.beta(p["a"], p["b"], n)
    repeats, span, now = np.zeros(n), np.zeros(n), np.zeros(n)
    active = np.ones(n, dtype=bool)
    while active.any():
        now = now + rng.exponential(1 / rate)
        active &= now < np.minimum(tenure, leaves)
        repeats[active] += 1
        span[active] = now[active]
        active &= rng.random(n) >= chance
    return history(repeats, span, tenure)


@every_model
def test_parameters_come_back(kind: type[PurchaseModel]) -> None:
    model = kind().fit(simulate(kind, 10_000))
    assert model.converged_
    for name, value in PARAMETERS[kind].items():
        assert model.parameters_[name] == pytest.approx(value, rel=0.25), name


def test_standard_errors_are_those_of_many_samples() -> None:
    fits = [PastRate().fit(simulate(PastRate, 1000, seed)) for seed in range(30)]
    spread = np.std([fit.parameters_["r"] for fit in fits], ddof=1)
    said = np.mean([fit.standard_errors_["r"] for fit in fits])
    assert said == pytest.approx(spread, rel=0.35)


@every_model
def test_chances_of_the_holdout_sum_to_1(kind: type[PurchaseModel]) -> None:
    model, n = known(kind), np.arange(3000.0)
    for row in range(len(SOME)):
        rows = SOME.iloc[np.full(len(n), row)]
        assert np.exp(model.holdout_log_likelihood(rows, n, 180)).sum() == pytest.approx(
            1, abs=1e-9
        )


@every_model
def test_chances_of_the_holdout_have_the_expected_mean(kind: type[PurchaseModel]) -> None:
    model, n = known(kind), np.arange(3000.0)
    expected = model.expected_purchases(SOME, 180)
    for row in range(len(SOME)):
        rows = SOME.iloc[np.full(len(n), row)]
        mean = (n * np.exp(model.holdout_log_likelihood(rows, n, 180))).sum()
        assert mean == pytest.approx(expected[row], rel=1e-8)


@every_model
def test_the_likelihood_has_the_derivatives_that_it_says(kind: type[PurchaseModel]) -> None:
    x, span, tenure = SOME["repeats"].to_numpy(), SOME["span"].to_numpy(), SOME["tenure"].to_numpy()
    logs = np.log(list(PARAMETERS[kind].values()))
    _, gradient = kind()._likelihood(np.exp(logs), x, span, tenure)
    for i in range(len(logs)):
        step = np.zeros(len(logs))
        step[i] = 1e-5
        up, _ = kind()._likelihood(np.exp(logs + step), x, span, tenure)
        down, _ = kind()._likelihood(np.exp(logs - step), x, span, tenure)
        np.testing.assert_allclose(gradient[i], (up - down) / 2e-5, rtol=1e-6, atol=1e-7)


@every_model
def test_a_weight_of_two_is_two_customers(kind: type[PurchaseModel]) -> None:
    few = simulate(kind, 300)
    weight = np.where(np.arange(300) < 100, 2.0, 1.0)
    twice = pd.concat([few, few.iloc[:100]])
    weighted, counted = kind().fit(few, sample_weight=weight), kind().fit(twice)
    assert weighted.log_likelihood_ == pytest.approx(counted.log_likelihood_, rel=1e-10)
    assert weighted.n_customers_ == 400


@every_model
def test_the_unit_of_time_changes_no_expectation(kind: type[PurchaseModel]) -> None:
    few = simulate(kind, 1000)
    weeks, days = kind().fit(few), kind(time_unit_days=1).fit(few)
    assert days.parameters_["alpha"] == pytest.approx(7 * weeks.parameters_["alpha"], rel=1e-4)
    np.testing.assert_allclose(
        days.expected_purchases(few, 90), weeks.expected_purchases(few, 90), rtol=1e-4, atol=1e-9
    )


@every_model
def test_it_can_be_cloned(kind: type[PurchaseModel]) -> None:
    assert clone(kind(time_unit_days=30)).time_unit_days == 30


@every_model
def test_nobody_buys_in_no_time(kind: type[PurchaseModel]) -> None:
    model = known(kind)
    assert np.all(model.expected_purchases(SOME, 0) == 0)
    np.testing.assert_allclose(
        model.holdout_log_likelihood(SOME, np.zeros(len(SOME)), 0), 0, atol=1e-12
    )


@pytest.mark.parametrize("alpha", [0.1, 10.0, 12.0, 300.0])
def test_pareto_nbd_has_the_likelihood_of_the_note(alpha: float) -> None:
    """Fader, Hardie (2005), equations (19) and (20), by hypergeometric functions."""
    model = known(ParetoNBD, alpha=alpha)
    r, s, beta = (model.parameters_[name] for name in ("r", "s", "beta"))
    x, span, tenure = 3.0, 20.0, 39.0
    near, far = min(alpha, beta), max(alpha, beta)
    second = s + 1 if alpha >= beta else r + x

    def part(t: float) -> float:
        z = (far - near) / (far + t)
        value = hyp2f1(r + s + x, second, r + s + x + 1, z)
        return float(value) / (far + t) ** (r + s + x)

    inner = s / (r + s + x) * (part(span) - part(tenure))
    inner += (alpha + tenure) ** -(r + x) * (beta + tenure) ** -s
    rates = r * (r + 1) * (r + 2)  # G(r + 3) / G(r)
    expected = np.log(rates * alpha**r * beta**s * inner)
    found = model.log_likelihood(history(x, span, tenure))[0]
    assert found == pytest.approx(expected, rel=1e-10)


def test_bg_nbd_expects_what_the_paper_writes() -> None:
    """Fader, Hardie, Lee (2005), equation (10)."""
    model = known(BetaGeo)
    r, alpha, a, b = model.parameters_.values()
    x, tenure, t = 2.0, 38.86, 39.0
    hyper = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + tenure + t))
    shrunk = ((alpha + tenure) / (alpha + tenure + t)) ** (r + x) * hyper
    customer = history(x, 30.43, tenure)
    expected = (a + b + x - 1) / (a - 1) * (1 - shrunk) * model.probability_alive(customer)[0]
    assert model.expected_purchases(customer, t * 7)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", [BetaGeo, ParetoNBD])
def test_a_parameter_of_1_is_no_gap(kind: type[PurchaseModel]) -> None:
    name = "a" if kind is BetaGeo else "s"
    at, beside = known(kind, **{name: 1.0}), known(kind, **{name: 1.0001})
    np.testing.assert_allclose(
        at.expected_purchases(SOME, 300), beside.expected_purchases(SOME, 300), rtol=1e-3
    )


def test_bg_nbd_survives_shapes_that_sum_to_1() -> None:
    model = known(BetaGeo, a=0.25, b=0.75)
    beside = known(BetaGeo, a=0.25, b=0.7501)
    expected = beside.expected_purchases(SOME, 300)
    np.testing.assert_allclose(model.expected_purchases(SOME, 300), expected, rtol=1e-3)


@every_model
def test_huge_counts_stay_finite(kind: type[PurchaseModel]) -> None:
    model = known(kind)
    often = history([2000.0, 10_000.0], [35, 39], 39)
    assert np.isfinite(model.log_likelihood(often)).all()
    expected = model.expected_purchases(often, 70)
    assert np.isfinite(expected).all() and (expected >= 0).all()
    assert np.isfinite(model.holdout_log_likelihood(often, [0, 2500], 70)).all()


def test_bg_nbd_goes_on_for_a_customer_with_many_purchases() -> None:
    """What SciPy's 2F1 makes of the usual forms is 40% off here; the chances say what is right."""
    model = known(BetaGeo, r=1.28456245, alpha=0.55259217, a=0.40907498, b=17.19823181)
    x, tenure = np.array([42.0]), np.array([17.85041127])
    n = np.arange(3000.0)
    parameters, t = model._fitted, np.array(49.3)
    chances = np.exp(
        model._log_chance_if_alive(
            parameters, np.repeat(x, len(n)), np.repeat(tenure, len(n)), n, t
        )
    )
    expected = model._expected_if_alive(parameters, x, tenure, t)[0]
    assert expected == pytest.approx((n * chances).sum(), rel=1e-9)


@pytest.mark.parametrize("kind", [BetaGeo, ParetoNBD])
def test_silence_makes_a_customer_doubtful(kind: type[PurchaseModel]) -> None:
    alive = known(kind).probability_alive(history(5, [39, 30, 20, 5], 39))
    assert (np.diff(alive) < 0).all() and alive[0] > 0.7 > 0.05 > alive[-1]


def test_without_a_repeat_bg_nbd_is_sure_and_pareto_nbd_is_not() -> None:
    once = history(0, 0, 39)
    assert known(BetaGeo).probability_alive(once)[0] == 1
    assert known(ParetoNBD).probability_alive(once)[0] < 0.7


def test_the_past_rate_without_smoothing_is_the_past_rate() -> None:
    model = PastRate(smooth=False).fit(SOME)
    expected = model.expected_purchases(history([4, 0, 0], [20, 0, 0], [40, 40, 0]), 70)
    np.testing.assert_allclose(expected, [1, 0, 0])
    assert model.holdout_log_likelihood(history(0, 0, 40), [1], 70)[0] == -np.inf


@every_model
def test_nobody_repeats_is_said(kind: type[PurchaseModel]) -> None:
    once = history(0, 0, np.linspace(1, 39, 50))
    with pytest.warns(ConvergenceWarning, match="not converged"):
        model = kind().fit(once)
    assert not model.converged_ and "not converged" in model.message_
    assert (model.expected_purchases(once, 90) < 0.05).all()


@pytest.mark.parametrize("kind", [BetaGeo, ParetoNBD])
def test_customers_of_whom_nobody_left_are_said_to_be_so(kind: type[PurchaseModel]) -> None:
    loyal = simulate(PastRate, 3000)
    loyal["span"] = np.where(loyal["repeats"] > 0, loyal["tenure"], 0)
    with pytest.warns(ConvergenceWarning, match="nobody seems to have left"):
        model = kind().fit(loyal)
    assert not model.converged_
    rate = PastRate().fit(loyal)
    assert model.log_likelihood_ == pytest.approx(rate.log_likelihood_, rel=1e-4)
    np.testing.assert_allclose(
        model.expected_purchases(loyal, 90), rate.expected_purchases(loyal, 90), rtol=0.02
    )


@every_model
def test_one_customer_is_no_crash(kind: type[PurchaseModel]) -> None:
    with pytest.warns(ConvergenceWarning):
        model = kind().fit(history(3, 20, 39))
    assert np.isfinite(model.expected_purchases(history(3, 20, 39), 90)).all()


@every_model
def test_identical_customers_are_no_crash(kind: type[PurchaseModel]) -> None:
    alike = history(np.full(100, 4), 30, 39)
    with pytest.warns(ConvergenceWarning):
        model = kind().fit(alike)
    assert np.isfinite(model.expected_purchases(alike, 90)).all()


def test_bg_nbd_at_the_ends_of_its_ranges_expects_something() -> None:
    ends = (1e-5, 1.0, 1e5)
    for r, a, b in itertools.product(ends, ends, ends):
        model = known(BetaGeo, r=r, alpha=10 * r, a=a, b=b)
        expected = model.expected_purchases(SOME, 300)
        assert np.isfinite(expected).all() and (expected > -1e-6).all(), (r, a, b)


def test_the_mean_over_chances_to_leave_is_that_of_the_formula() -> None:
    model, x, tenure = known(BetaGeo), np.array([0.0, 3, 20]), np.array([10.0, 30, 30])
    exact = model._expected_if_alive(model._fitted, x, tenure, np.array(20.0))
    mean = model._mean_if_alive(model._fitted, x, tenure, np.full(3, 20.0))
    np.testing.assert_allclose(mean, exact, rtol=0.01)


@every_model
def test_a_table_of_only_first_days_is_no_crash(kind: type[PurchaseModel]) -> None:
    today = history(np.zeros(5), 0, 0)
    with pytest.warns(ConvergenceWarning):
        model = kind().fit(today)
    assert np.isfinite(model.expected_purchases(today, 90)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (history(1, 50, 40), "longer than its tenure"),
        (history(0, 5, 40), "no repeat purchase"),
        (history(2, 0, 40), "within no time"),
        (history(1.5, 5, 40), "part of a repeat purchase"),
        (history(-1, 0, 40), "below 0"),
        (history(np.nan, 0, 40), "missing"),
    ],
)
def test_an_impossible_history_is_named(wrong: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        BetaGeo().fit(wrong)
    assert "\n" not in str(error.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="'tenure' is not among"):
        BetaGeo().fit(SOME.drop(columns="tenure"))


def test_a_time_unit_of_0_is_refused() -> None:
    with pytest.raises(ConfigError, match="time_unit_days must be above 0"):
        BetaGeo(time_unit_days=0).fit(SOME)


def test_negative_days_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        known(BetaGeo).expected_purchases(SOME, -1)


def simulate_spend(p: float, q: float, v: float, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    repeats = rng.poisson(2, n).astype(float)
    rate = rng.gamma(q, 1 / v, n)
    total = rng.gamma(np.maximum(p * repeats, 1e-9), 1 / rate)
    spend = np.divide(total, repeats, out=np.full(n, np.nan), where=repeats > 0)
    return pd.DataFrame({"repeats": repeats, "repeat_spend": spend})


def test_the_parameters_of_spend_come_back() -> None:
    model = GammaGamma().fit(simulate_spend(6, 4, 15, 40_000))
    assert model.converged_ and model.notes_ == []
    assert model.parameters_ == pytest.approx({"p": 6, "q": 4, "v": 15}, rel=0.1)
    assert abs(model.correlation_) < 0.05


def test_the_currency_changes_no_shape() -> None:
    euros = simulate_spend(6, 4, 15, 2000)
    cents = euros.assign(repeat_spend=100 * euros["repeat_spend"])
    one, other = GammaGamma().fit(euros), GammaGamma().fit(cents)
    assert other.parameters_["p"] == pytest.approx(one.parameters_["p"], rel=1e-4)
    assert other.mean_spend_ == pytest.approx(100 * one.mean_spend_, rel=1e-4)


def test_a_customer_without_a_repeat_spends_the_mean() -> None:
    model = GammaGamma().fit(simulate_spend(6, 4, 15, 2000))
    once = pd.DataFrame({"repeats": [0.0], "repeat_spend": [np.nan]})
    assert model.expected_spend(once)[0] == model.mean_spend_


def test_more_purchases_draw_less_towards_the_mean() -> None:
    model = GammaGamma().fit(simulate_spend(6, 4, 15, 2000))
    found = model.expected_spend(
        pd.DataFrame({"repeats": [1.0, 100.0], "repeat_spend": [200.0] * 2})
    )
    assert model.mean_spend_ < found[0] < found[1] < 200


def test_an_infinite_mean_is_said_and_not_used() -> None:
    model = GammaGamma().fit(simulate_spend(3, 0.8, 15, 5000))
    assert model.parameters_["q"] < 1
    assert any("infinite" in note for note in model.notes_)
    assert np.isfinite(model.mean_spend_) and model.mean_spend_ > 0


def test_spend_that_goes_with_frequency_is_said() -> None:
    table = simulate_spend(6, 4, 15, 2000)
    table["repeat_spend"] *= table["repeats"]
    assert any("does not depend on frequency" in note for note in GammaGamma().fit(table).notes_)


def test_zero_and_negative_spend_are_left_out_and_said() -> None:
    table = simulate_spend(6, 4, 15, 500)
    table.loc[:1, "repeats"] = 2.0
    table.loc[:1, "repeat_spend"] = [0.0, -5.0]
    model = GammaGamma().fit(table)
    assert model.n_left_out_ == 2
    assert (model.expected_spend(table) > 0).all()


def test_identical_spend_is_no_crash() -> None:
    table = pd.DataFrame({"repeats": np.arange(1.0, 51), "repeat_spend": 20.0})
    with pytest.warns(ConvergenceWarning, match="GammaGamma: not converged"):
        model = GammaGamma().fit(table)
    np.testing.assert_allclose(model.expected_spend(table), 20, rtol=0.01)
    assert np.isnan(model.correlation_)


def test_spend_of_nobody_is_refused() -> None:
    table = pd.DataFrame({"repeats": [0.0, 0.0], "repeat_spend": [np.nan, np.nan]})
    with pytest.raises(DataError, match="none of 2 customers has a repeat purchase"):
        GammaGamma().fit(table)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BetaGeo, PastRate])
def test_a_million_customers_are_grouped(kind: type[PurchaseModel]) -> None:
    few = simulate(kind, 5000).round()
    few["span"] = np.where(few["repeats"] > 0, np.maximum(few["span"], 1), 0)
    many = few.iloc[np.arange(1_000_000) % len(few)]
    once, often = kind().fit(few), kind().fit(many)
    assert often.log_likelihood_ == pytest.approx(200 * once.log_likelihood_, rel=1e-9)
    assert len(many) > models.ROWS_PER_CALL

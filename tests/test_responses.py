"""Response rates: tables worked out by hand, published intervals, and outcomes that are dirty."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segexp.errors import DataError
from segexp.figures.look import render
from segexp.figures.responses import response_rates_figure
from segexp.responses import ALL, response_rates, response_test, wilson_interval

NAMES = ["big", "small"]


def outcome_of(*segments):
    """Labels and outcomes of segments that are given as (responders, customers)."""
    labels = np.repeat(np.arange(len(segments)), [n for _, n in segments])
    took = np.concatenate([np.arange(n) < r for r, n in segments])
    return labels, pd.Series(took.astype(int))


BIG_AND_SMALL = outcome_of((30, 100), (10, 100))


@pytest.fixture
def rates():
    labels, took = BIG_AND_SMALL
    return response_rates(labels, NAMES, took).set_index("segment")


# ---- rates and intervals -------------------------------------------------------------------------


def test_customers_and_responders_are_counted(rates):
    assert rates["customers"].to_dict() == {"big": 100, "small": 100, ALL: 200}
    assert rates["responders"].to_dict() == {"big": 30, "small": 10, ALL: 40}


def test_lift_is_the_rate_over_that_of_all(rates):
    assert rates["lift"].to_dict() == pytest.approx({"big": 1.5, "small": 0.5, ALL: 1.0})


def test_shares_of_the_responders(rates):
    assert rates["share_of_responders"].to_dict() == {"big": 0.75, "small": 0.25, ALL: 1.0}


@pytest.mark.published
@pytest.mark.parametrize(
    ("r", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_interval(r, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3."""
    assert wilson_interval(r, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_wilson_interval_is_that_of_scipy(confidence):
    expected = stats.binomtest(7, 40).proportion_ci(confidence, "wilson")
    assert wilson_interval(7, 40, confidence) == pytest.approx((expected.low, expected.high))


def test_where_everybody_responds_the_interval_ends_at_one():
    low, high = wilson_interval([10, 0], [10, 0])
    assert high[0] == pytest.approx(1) and low[0] < 1
    assert np.isnan([low[1], high[1]]).all()


# ---- tests ---------------------------------------------------------------------------------------


def test_a_segment_is_compared_with_the_others_by_chi_squared(rates):
    # 30 and 10 of 100 with 20 expected: 4 * 100 / (20 or 80), summed, is 12.5.
    assert rates.loc["big", "p_value"] == pytest.approx(stats.chi2.sf(12.5, 1))
    assert rates.loc["big", "test"] == "chi-squared"


def test_of_few_customers_the_test_is_fishers():
    labels, took = outcome_of((3, 4), (1, 4))
    found = response_rates(labels, NAMES, took)
    # The tea-tasting table of Fisher 1935: 34 of the 70 tables are as far from even.
    assert found.loc[0, "p_value"] == pytest.approx(34 / 70) and found.loc[0, "test"] == "Fisher"


def test_q_values_are_those_of_benjamini_and_hochberg():
    labels, took = outcome_of((50, 100), (30, 100), (28, 100))
    found = response_rates(labels, ["a", "b", "c"], took)
    p = found["p_value"].to_numpy()[:3]
    assert p[0] < p[2] < p[1]
    assert found["q_value"].to_numpy()[:3] == pytest.approx([3 * p[0], p[1], 1.5 * p[2]])


def test_all_customers_are_not_tested_against_anybody(rates):
    assert math.isnan(rates.loc[ALL, "p_value"]) and math.isnan(rates.loc[ALL, "q_value"])


def test_the_whole_table_has_the_same_chi_squared_and_cramers_v():
    found = response_test(BIG_AND_SMALL[0], NAMES, BIG_AND_SMALL[1])
    assert (found.statistic, found.degrees_of_freedom) == (pytest.approx(12.5), 1)
    assert found.p_value == pytest.approx(stats.chi2.sf(12.5, 1))
    assert found.cramers_v == pytest.approx(math.sqrt(12.5 / 200))


def test_a_thin_table_is_compared_with_random_ones():
    labels, took = outcome_of((3, 4), (1, 4))
    found = response_test(labels, NAMES, took)
    assert found.method == "random tables" and found.p_value == pytest.approx(34 / 70, abs=0.02)


def test_random_tables_are_those_of_the_seed():
    labels, took = outcome_of((3, 4), (1, 4))
    p_values = [response_test(labels, NAMES, took, seed).p_value for seed in (1, 1, 2)]
    assert p_values[0] == p_values[1] != p_values[2]


@pytest.mark.slow
def test_segments_at_random_are_seldom_different():
    rng = np.random.default_rng(0)
    n_false = 0
    for _ in range(200):
        labels, took = rng.integers(0, 6, 300), pd.Series(rng.random(300) < 0.1).astype(int)
        n_false += (response_rates(labels, list("abcdef"), took)["q_value"] < 0.05).any()
    assert n_false <= 20


# ---- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], ["0", "1", "1"], ["No", "Yes", "Yes"],
     pd.Categorical(["no", "yes", "yes"], ["yes", "no"])],
    ids=["int", "float", "bool", "text", "yes", "categories"],
)  # fmt: skip
def test_of_no_and_yes_only_yes_is_counted(cells):
    found = response_rates([0, 0, 1], NAMES, pd.Series(cells))
    assert len(found) == 3 and found["responders"].tolist() == [1, 1, 2]


def test_every_level_of_several_has_rows():
    found = response_rates([0, 0, 1, 1], NAMES, pd.Series(["C", "A", "B", "C"]))
    assert found["outcome"].tolist() == ["A"] * 3 + ["B"] * 3 + ["C"] * 3
    assert found["responders"].tolist() == [1, 0, 1, 0, 1, 1, 1, 1, 2]


def test_one_level_can_be_asked_for():
    found = response_rates([0, 0, 1, 1], NAMES, pd.Series(["C", "A", "B", "C"]), positive="C")
    assert found["responders"].tolist() == [1, 1, 2]


def test_customers_of_unknown_outcome_are_left_out():
    found = response_rates([0, 0, 1, 1], NAMES, pd.Series([1, np.nan, 0, 1]))
    assert found["customers"].tolist() == [1, 2, 3]


def test_an_unknown_text_is_left_out():
    found = response_rates([0, 0, 1, 1], NAMES, pd.Series(["yes", None, "no", "yes"]))
    assert found["customers"].tolist() == [1, 2, 3]


def test_noise_is_a_row_of_its_own():
    found = response_rates([-1, 0, 1, 1], NAMES, pd.Series([1, 0, 0, 1]))
    assert found["segment"].tolist() == ["big", "small", "noise", ALL]
    assert found["responders"].tolist() == [0, 1, 1, 2]


def test_a_segment_without_customers_has_no_rate():
    found = response_rates([0, 0], NAMES, pd.Series([1, 0])).set_index("segment")
    assert found.loc["small", "customers"] == 0
    assert found.loc["small", ["rate", "low", "high", "lift", "p_value"]].isna().all()


def test_where_nobody_responds_there_is_no_lift_and_no_test():
    found = response_rates([0, 0, 1], NAMES, pd.Series([0, 0, 0])).set_index("segment")
    assert found["rate"].tolist() == [0.0] * 3
    assert found[["lift", "p_value", "q_value"]].isna().all(axis=None)
    assert math.isnan(response_test([0, 0, 1], NAMES, pd.Series([0, 0, 0])).p_value)


@pytest.mark.parametrize(
    ("labels", "cells", "words", "message"),
    [
        ([0, 1], [1, 0, 1], {}, "one segment for each of 3 customers"),
        ([0, 2], [1, 0], {}, "3 segments come with 2 names"),
        ([0, 1], [1, 2], {}, "an outcome in numbers is 0 or 1, got 2"),
        ([0, 1], [np.nan, np.nan], {}, "the outcome of no customer is known"),
        ([0, 1], [None, None], {}, "the outcome of no customer is known"),
        ([0, 1], ["left", "stayed"], {"positive": "leff"}, "did you mean 'left'?"),
        ([0, 1], [1, 0], {"confidence": 95}, "between 0 and 1, got 95"),
    ],
)
def test_what_does_not_belong_together_is_one_line(labels, cells, words, message):
    with pytest.raises(DataError, match=message) as caught:
        response_rates(labels, NAMES, pd.Series(cells), **words)
    assert "\n" not in str(caught.value)


# ---- the figure ----------------------------------------------------------------------------------


def test_the_figure_has_the_highest_rate_on_top():
    labels, took = outcome_of((10, 100), (30, 100), (20, 100))
    figure = response_rates_figure(response_rates(labels, ["a", "b", "c"], took), "Response")
    words = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert words == ["a  (100)", "c  (100)", "b  (100)"]
    assert figure.axes[0].get_xlabel() == "customers with Response = 1, %"


@pytest.mark.parametrize("n_levels", [2, 8])
def test_forty_segments_with_long_names_are_drawn(n_levels):
    rng = np.random.default_rng(0)
    names = [f"customers who buy $ every {i} weeks, and others" for i in range(40)]
    cells = pd.Series(rng.choice(list("ABCDEFGH")[:n_levels], 2000))
    table = response_rates(rng.integers(-1, 40, 2000), names, cells)
    figure = response_rates_figure(table, "a name of a column that goes on and on and on and on")
    assert len(figure.axes) == min(n_levels, 6)
    assert "40 segments" in figure.get_suptitle()


def test_a_figure_of_nobody_is_drawn():
    table = response_rates([0, 0], NAMES, pd.Series([0, 0]))
    assert render(response_rates_figure(table, "Response")).keys() == {"png", "svg"}

"""Who moved between segments, how far the customers drifted, and what follows: by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from segexp.errors import ConfigError, DataError
from segexp.migration import (
    Drift,
    Thresholds,
    align,
    feature_cells,
    in_order,
    matrix,
    psi,
    psi_by_chance,
    psi_of_segments,
    retained,
    retention,
    stability_table,
    transitions,
    verdict,
)

# Two of A stay, one goes to B; the only one of B leaves; one comes to B who was nobody's.
BEFORE = pd.Series({"a": "A", "b": "A", "c": "A", "d": "B"})
AFTER = pd.Series({"a": "A", "b": "A", "c": "B", "e": "B"})
EARNED = pd.Series({"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0})
EARNS = pd.Series({"a": 15.0, "b": 15.0, "c": 60.0, "e": 5.0})


@pytest.fixture
def moved():
    return transitions(BEFORE, AFTER, EARNED, EARNS)


# --- transitions -----------------------------------------------------------------------------


def test_customers_are_counted_by_where_they_come_from_and_go(moved):
    assert moved[["from", "to", "customers"]].to_numpy().tolist() == [
        ["A", "A", 2], ["A", "B", 1], ["B", "(gone)", 1], ["(new)", "B", 1],
    ]  # fmt: skip


def test_shares_are_those_of_the_segment_before(moved):
    assert moved["share"].tolist() == pytest.approx([2 / 3, 1 / 3, 1, 1])


def test_revenue_goes_with_the_customers(moved):
    assert moved["revenue_before"].tolist() == [30, 30, 40, 0]
    assert moved["revenue_after"].tolist() == [30, 60, 0, 5]
    assert moved["change"].tolist() == [0, 30, -40, 5]


def test_revenue_that_is_not_known_is_not_nothing():
    moved = transitions(BEFORE, AFTER, revenue_after=EARNS)
    assert moved["revenue_before"].isna().all()
    assert moved["change"].isna().all()
    assert moved["revenue_after"].tolist() == [30, 60, 0, 5]


def test_the_order_of_the_customers_does_not_matter(moved):
    again = transitions(BEFORE[::-1], AFTER.sample(frac=1, random_state=1), EARNED, EARNS)
    pd.testing.assert_frame_equal(again, moved)


def test_the_matrix_has_every_segment_on_both_sides(moved):
    wide = matrix(moved)
    assert list(wide.index) == ["A", "B", "(new)"]
    assert list(wide.columns) == ["A", "B", "(gone)"]
    assert wide.to_numpy().tolist() == [[2, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_retention_by_hand(moved):
    kept = retention(moved).set_index("segment")
    assert kept.loc["A", ["before", "after", "stayed", "came", "left"]].tolist() == [3, 2, 2, 0, 1]
    assert kept.loc["B", ["before", "after", "stayed", "came", "left"]].tolist() == [1, 2, 0, 1, 0]
    assert kept["new"].tolist() == [0, 1]
    assert kept["gone"].tolist() == [0, 1]
    assert kept["net"].tolist() == [-1, 1]
    assert kept["retention"].tolist() == pytest.approx([2 / 3, 0])
    assert kept.loc["A", "retention_of_present"] == pytest.approx(2 / 3)
    assert math.isnan(kept.loc["B", "retention_of_present"])


def test_the_net_flow_in_revenue_is_the_sum_of_its_parts(moved):
    kept = retention(moved).set_index("segment")
    assert kept["net_revenue"].tolist() == [30 - 60, 65 - 40]
    assert kept["stayed_change"].tolist() == [0, 0]
    assert kept["came_revenue"].tolist() == [0, 65]
    assert kept["left_revenue"].tolist() == [30, 40]
    parts = kept["stayed_change"] + kept["came_revenue"] - kept["left_revenue"]
    assert parts.tolist() == kept["net_revenue"].tolist()


def test_a_segment_that_has_nobody_left_is_listed():
    moved = transitions(pd.Series({"a": "1", "b": "2"}), pd.Series({"a": "1", "b": "1"}))
    kept = retention(moved, ["1", "2", "3"])
    assert kept["segment"].tolist() == ["1", "2", "3"]
    assert kept["after"].tolist() == [2, 0, 0]
    assert kept["net_revenue"].isna().all()


def test_retained_counts_customers_of_both_periods_only(moved):
    assert retained(moved) == pytest.approx(2 / 3)


def test_without_a_customer_of_both_periods_nobody_was_retained_or_not():
    assert math.isnan(retained(transitions(pd.Series({"a": "1"}), pd.Series({"b": "1"}))))


def test_numbered_segments_are_ordered_by_number():
    assert in_order(["segment 10", "segment 9", "B2", "(gone)", "B10"]) == [
        "B2", "B10", "segment 9", "segment 10",
    ]  # fmt: skip


def test_an_id_that_occurs_twice_is_refused():
    twice = pd.Series(["A", "B"], index=["a", "a"])
    with pytest.raises(DataError, match=r"second period: 1 ids occur more than once, e\.g\. 'a'"):
        transitions(BEFORE, twice)


def test_a_customer_without_a_segment_is_refused():
    with pytest.raises(DataError, match="customer 'x' has no segment"):
        transitions(pd.Series({"x": None}, dtype=object), AFTER)


def test_a_segment_called_as_those_of_one_period_is_refused():
    with pytest.raises(DataError, match=r"called '\(new\)'"):
        transitions(pd.Series({"x": "(new)"}), AFTER)


@pytest.mark.parametrize("seed", range(10))
def test_every_customer_is_counted_once(seed):
    rng = np.random.default_rng(seed)
    before, after = (
        pd.Series(rng.choice(list(names), n), index=rng.permutation(40)[:n], dtype=object)
        for names, n in (("ABC", 1 + 3 * seed), ("BCD", 30 - 3 * seed))
    )
    moved = transitions(before, after)
    assert moved["customers"].sum() == len({*before.index, *after.index})
    kept = retention(moved)
    assert kept["before"].sum() == len(before)
    assert kept["after"].sum() == len(after)
    assert (kept["before"] == kept["stayed"] + kept["left"] + kept["gone"]).all()
    assert (kept["after"] == kept["stayed"] + kept["came"] + kept["new"]).all()


# --- the stability index ---------------------------------------------------------------------


def test_psi_by_hand():
    # (1/2 - 1/4) ln 2 + (1/2 - 3/4) ln(2/3) = ln(3) / 4
    assert psi([50, 50], [25, 75]) == pytest.approx(math.log(3) / 4)


def test_psi_is_symmetric():
    assert psi([10, 20, 70], [30, 30, 40]) == pytest.approx(psi([30, 30, 40], [10, 20, 70]))


def test_psi_of_the_same_shares_is_zero_whatever_the_sizes():
    assert psi([1, 2, 3], [100, 200, 300]) == pytest.approx(0, abs=1e-15)


def test_an_empty_cell_counts_as_half_a_customer():
    # p = 20/21, 1/21 and q = 1/2, 1/2: (19/42) (ln(40/21) - ln(2/21))
    assert psi([10, 0], [5, 5]) == pytest.approx(19 / 42 * math.log(20))


def test_a_cell_that_is_empty_in_both_periods_is_left_out():
    assert psi([50, 50, 0], [25, 75, 0]) == pytest.approx(math.log(3) / 4)


def test_psi_of_several_tables_at_once():
    found = psi([[50, 50], [10, 0]], [[25, 75], [5, 5]])
    assert found.tolist() == pytest.approx([math.log(3) / 4, 19 / 42 * math.log(20)])


@pytest.mark.parametrize("counts", [[0, 0], [-1, 2], [math.nan, 1]])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(DataError, match="stability index"):
        psi(counts, [1, 1])


def test_psi_of_segment_sizes_counts_a_segment_that_is_new():
    before = pd.Series(["1"] * 10)
    after = pd.Series(["1"] * 5 + ["2"] * 5)
    assert psi_of_segments(before, after) == pytest.approx(19 / 42 * math.log(20))


def test_psi_by_chance_by_hand():
    # The upper twentieth of a chi-squared variable with one degree of freedom is 3.8415.
    assert psi_by_chance(100, 100, 2) == pytest.approx(0.02 * 3.8415, abs=1e-5)


def test_one_sample_of_twenty_exceeds_psi_by_chance():
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    found = psi(rng.multinomial(800, shares, 4000), rng.multinomial(500, shares, 4000))
    assert np.mean(found > psi_by_chance(800, 500, 10)) == pytest.approx(0.05, abs=0.012)


def test_numbers_are_counted_between_the_deciles_of_the_first_period():
    before = pd.Series(np.arange(1.0, 101))
    kind, expected, actual = feature_cells(before, pd.Series([0.5, 10, 10.5, 1000, np.nan]))
    assert kind == "deciles"
    assert expected.tolist() == [10] * 10 + [0]
    assert actual.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_a_number_that_most_customers_share_is_a_cell_of_its_own():
    before = pd.Series([0.0] * 85 + list(range(1, 16)))
    _, expected, _ = feature_cells(before, before)
    assert expected[0] == 85
    assert expected.sum() == 100


def test_dates_are_counted_between_deciles():
    before = pd.Series(pd.date_range("2020-01-01", periods=20))
    kind, expected, actual = feature_cells(before, before + pd.Timedelta(365, "D"))
    assert kind == "deciles"
    assert expected[:-1].tolist() == [2] * 10
    assert actual.tolist() == [0] * 9 + [20, 0]


def test_few_values_are_cells_themselves_and_new_ones_share_one():
    before = pd.Series([0.0, 1, 1, 2])
    kind, expected, actual = feature_cells(before, pd.Series([1.0, 7, 8, np.nan]))
    assert kind == "values"
    assert expected.tolist() == [1, 2, 1, 0, 0]
    assert actual.tolist() == [0, 1, 0, 2, 1]


def test_levels_of_categories_are_cells():
    before = pd.Series(pd.Categorical(["x", "y", None]))
    after = pd.Series(pd.Categorical(["y", "z", "z"]))
    _, expected, actual = feature_cells(before, after)
    assert expected.tolist() == [1, 1, 0, 1]
    assert actual.tolist() == [0, 1, 2, 0]


def test_the_table_begins_with_the_sizes_and_goes_on_with_what_drifted_most():
    rng = np.random.default_rng(0)
    before = pd.DataFrame({"still": rng.normal(size=500), "gone": rng.normal(size=500)})
    after = before.assign(gone=before["gone"] + 2)
    segments = pd.Series(["1"] * 250 + ["2"] * 250)
    table = stability_table(before, after, segments, segments)
    assert table["figure"].tolist() == ["segments", "gone", "still"]
    assert table["psi"].tolist()[::2] == [0, 0]
    assert table["psi"][1] > 1
    assert table["n_cells"].tolist() == [2, 10, 10]


# --- alignment -------------------------------------------------------------------------------


def test_permuted_labels_get_their_old_names():
    rng = np.random.default_rng(1)
    old = rng.choice(["1", "2", "3", "4"], 200, p=[0.4, 0.3, 0.2, 0.1])
    turned = {"1": "3", "2": "1", "3": "4", "4": "2"}
    assert align(old, [turned[name] for name in old]) == {new: o for o, new in turned.items()}


def test_the_pairs_share_most_customers_in_total():
    # Greedy pairing takes 2-2 (5) and leaves 1-1 (0); together 1-2 and 2-1 share 4 + 4.
    a = ["1"] * 4 + ["2"] * 4 + ["2"] * 5
    b = ["2"] * 4 + ["1"] * 4 + ["2"] * 5
    assert align(a, b) == {"1": "2", "2": "1"}


def test_a_segment_more_is_another_one():
    assert align(["1"] * 6 + ["2"] * 3, ["1"] * 4 + ["3"] * 2 + ["2"] * 3) == {
        "1": "1", "2": "2", "3": "another 1",
    }  # fmt: skip


def test_a_segment_less_leaves_an_old_name_unused():
    assert align(["1", "1", "2", "3"], ["2", "2", "1", "1"]) == {"1": "2", "2": "1"}


def test_segments_that_share_nobody_are_no_pair():
    assert align(["1", "1", "2"], ["1", "1", "1"]) == {"1": "1"}
    assert align(["1", "noise"], ["noise", "2"], fixed=["noise"]) == {
        "2": "another 1", "noise": "noise",
    }  # fmt: skip


# --- the verdict -----------------------------------------------------------------------------

STILL = Drift(
    psi=0.01, features={"age": (0.02, 0.01)}, ari=0.95, silhouette_before=0.5,
    silhouette_after=0.49, unlike_share=0.01, retention=0.9,
)  # fmt: skip


def judged(**changes):
    return verdict(Drift(**{**STILL.__dict__, **changes}))


def test_segments_that_hold_are_kept():
    found = verdict(STILL)
    assert (found.status, found.reasons, found.notes) == ("keep", (), ())
    assert found.words == "keep: no figure is beyond its threshold"


@pytest.mark.parametrize(
    ("changes", "status", "threshold"),
    [
        ({"psi": 0.1}, "watch", "psi_watch"),
        ({"psi": 0.25}, "re-segment now", "psi_act"),
        ({"features": {"age": (0.3, 0.0), "b": (0, 0), "c": (0, 0)}}, "watch", "feature_psi"),
        ({"features": {"age": (0.3, 0.0), "b": (0, 0)}}, "re-segment now", "features_act"),
        ({"ari": 0.79}, "watch", "ari_watch"),
        ({"ari": 0.64}, "re-segment now", "ari_act"),
        ({"silhouette_after": 0.44}, "watch", "silhouette_drop_watch"),
        ({"silhouette_after": 0.3}, "re-segment now", "silhouette_drop_act"),
        ({"unlike_share": 0.04}, "watch", "unlike_share_watch"),
        ({"unlike_share": 0.06}, "re-segment now", "unlike_share_act"),
        ({"retention": 0.5}, "watch", "retention_watch"),
    ],
)
def test_a_figure_beyond_its_threshold_is_the_reason(changes, status, threshold):
    found = judged(**changes)
    assert found.status == status
    assert [reason.threshold for reason in found.reasons] == [threshold]
    assert f"migration.{threshold}" in found.words


def test_the_worst_reason_decides_and_comes_first():
    found = judged(retention=0.3, psi=0.4, unlike_share=0.04)
    assert found.status == "re-segment now"
    assert [reason.level for reason in found.reasons] == ["re-segment now", "watch", "watch"]


def test_what_was_not_measured_is_no_reason():
    assert verdict(Drift(psi=0.0)).status == "keep"
    assert judged(ari=math.nan, silhouette_after=math.nan, retention=math.nan).status == "keep"


def test_an_index_within_chance_is_noted_and_no_reason():
    found = judged(psi=0.3, psi_by_chance=0.4, features={"age": (0.5, 0.6)})
    assert found.status == "keep"
    assert "0.400 comes by chance" in found.notes[0]
    assert found.notes[1].startswith("psi of age 0.500 is 0.25 or more")


def test_segments_that_were_never_found_again_are_watched_only():
    found = judged(ari=0.4, expected_ari=0.35)
    assert found.status == "watch"
    assert "0.350 only" in found.words
    assert judged(ari=0.4, expected_ari=0.5).status == "re-segment now"


def test_thresholds_can_be_moved():
    moved = Thresholds.of({"psi_act": 0.5, "retention_act": 0.95})
    assert verdict(Drift(psi=0.3), moved).status == "watch"
    assert verdict(Drift(psi=0.0, retention=0.9), moved).status == "re-segment now"


def test_an_unknown_threshold_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no threshold migration\.psi_acts; did you mean 'psi_act'"
    ):
        Thresholds.of({"psi_acts": 1})


@pytest.mark.parametrize("value", [-1, math.nan, "high", True])
def test_a_threshold_is_a_number(value):
    with pytest.raises(ConfigError, match=r"migration\.ari_act must be a number of 0 or more"):
        Thresholds.of({"ari_act": value})

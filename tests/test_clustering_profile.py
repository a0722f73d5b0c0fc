"""Profiles of segments: worked out by hand, and the story of the mall customers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans

from segexp.clustering.profile import profile
from segexp.errors import DataError

X = pd.DataFrame({"income": [10.0, 30.0, 80.0, 80.0], "city": ["x", "y", "x", "x"]})
TWO = [1, 1, 0, 0]


def test_each_segment_has_its_size_and_share() -> None:
    table = profile(X, [0, 0, 0, 1])
    assert table["segment"].tolist() == ["0", "1"]
    assert table["n"].tolist() == [3, 1] and table["share"].tolist() == [0.75, 0.25]


def test_means_and_index_against_all_customers() -> None:
    table = profile(X, TWO)
    assert table["mean[income]"].tolist() == [80, 20]
    assert table["index[income]"].tolist() == pytest.approx([160, 40])


def test_shares_of_levels() -> None:
    table = profile(X, TWO)
    assert table["share[city=x]"].tolist() == [1, 0.5]
    assert table["share[city=y]"].tolist() == [0, 0.5]


def test_the_first_columns_are_plain() -> None:
    table = profile(X, TWO)
    assert list(table)[:4] == ["segment", "n", "share", "markers"]


def test_noise_is_the_last_row() -> None:
    table = profile(X, [0, 1, -1, -1], ["a", "b"])
    assert table["segment"].tolist() == ["a", "b", "noise"]
    assert table["mean[income]"].tolist() == [10, 30, 80]


def test_missing_cells_are_left_out() -> None:
    table = profile(pd.DataFrame({"age": [20.0, np.nan, 40.0], "job": ["a", None, "b"]}), [0, 0, 1])
    assert table["mean[age]"].tolist() == [20, 40]
    assert table["share[job=a]"].tolist() == [1, 0]


def test_of_a_column_with_missing_cells_those_with_a_value_are_counted() -> None:
    table = profile(X.assign(city=["x", None, "x", "x"]), TWO)
    assert table["known[city]"].tolist() == [2, 1] and "known[income]" not in table


@pytest.mark.parametrize(("n_known", "marks"), [(9, ""), (10, "high debt")])
def test_few_customers_with_a_value_make_no_marker(n_known: int, marks: str) -> None:
    debt = np.where(np.arange(40) < n_known, 90.0, np.nan)
    debt[20:] = 10.0
    assert profile(pd.DataFrame({"debt": debt}), [0] * 20 + [1] * 20)["markers"][0] == marks


def test_a_minority_with_a_value_makes_no_marker() -> None:
    debt = np.where(np.arange(80) < 19, 90.0, np.nan)
    debt[40:] = 10.0
    assert profile(pd.DataFrame({"debt": debt}), [0] * 40 + [1] * 40)["markers"][0] == ""


def test_only_the_most_frequent_levels_are_shown() -> None:
    codes = [f"c{min(i, j)}" for i in range(8) for j in range(8)]
    table = profile(pd.DataFrame({"code": codes}), np.zeros(64, dtype=int))
    assert [name for name in table if name.startswith("share[")] == [
        f"share[code=c{i}]" for i in range(5)
    ]


def test_truth_values_are_levels_and_dates_are_left_out() -> None:
    table = profile(
        pd.DataFrame({"member": [True, False], "since": pd.to_datetime(["2020", "2021"])}), [0, 1]
    )
    assert list(table)[4:] == ["share[member=True]", "share[member=False]"]


def test_a_column_below_zero_has_no_index() -> None:
    table = profile(pd.DataFrame({"balance": [-5.0, 5.0]}), [0, 1])
    assert table["index[balance]"].isna().all()


def test_a_mark_is_a_quarter_of_the_largest_mean_or_half_of_all() -> None:
    # Means 80 and 55 of 67.5: 12.5 is less than a quarter of 80. Of 80 and 20, 30 is more.
    close = pd.DataFrame({"income": [50.0, 60.0, 80.0, 80.0]})
    assert profile(close, TWO)["markers"].tolist() == ["", ""]
    assert profile(X[["income"]], TWO)["markers"].tolist() == ["high income", "low income"]


def test_a_share_marks_by_half_of_all_and_five_points() -> None:
    n = 100
    rare = pd.DataFrame({"job": ["pilot"] * 4 + ["clerk"] * (2 * n - 4)})
    assert profile(rare, [0] * n + [1] * n)["markers"].tolist() == ["", ""]
    some = pd.DataFrame({"job": ["pilot"] * 20 + ["nurse"] * 10 + ["clerk"] * (2 * n - 30)})
    assert profile(some, [0] * n + [1] * n)["markers"].tolist() == [
        "many job=pilot",
        "few job=pilot",
    ]


def test_of_two_levels_only_the_many_are_named() -> None:
    table = pd.DataFrame({"sex": ["f", "f", "m", "m"]})
    assert profile(table, [0, 0, 1, 1])["markers"].tolist() == ["many sex=f", "many sex=m"]


def test_the_strongest_mark_comes_first() -> None:
    table = pd.DataFrame({"weak": [10.0, 40.0], "strong": [1.0, 100.0]})
    assert profile(table, [1, 0])["markers"].tolist()[0] == "high strong, high weak"


def test_a_column_below_zero_marks_by_its_range() -> None:
    table = pd.DataFrame({"change": [-1.0, -0.9, 0.9, 1.0], "flat": [-1.0, 0.1, 0.1, -1.0]})
    assert profile(table, [0, 0, 1, 1])["markers"].tolist() == ["low change", "high change"]


def test_a_column_without_values_marks_nothing() -> None:
    table = profile(pd.DataFrame({"empty": [np.nan, np.nan]}), [0, 1])
    assert table["markers"].tolist() == ["", ""] and table["mean[empty]"].isna().all()


def test_a_segment_of_nobody_has_a_row() -> None:
    table = profile(X, [0, 0, 0, 0], ["a", "b"])
    assert table["n"].tolist() == [4, 0] and table["markers"].tolist() == ["", ""]


def test_every_segment_needs_a_name() -> None:
    with pytest.raises(DataError, match="2 segments come with 1 names"):
        profile(X, TWO, ["a"])


def test_a_table_without_columns_has_sizes() -> None:
    assert list(profile(X[[]], TWO)) == ["segment", "n", "share", "markers"]


def test_mall_segments_tell_their_story(data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "mall" / "Mall_Customers.csv")
    used = table[["Annual Income (k$)", "Spending Score (1-100)"]]
    labels = KMeans(5, n_init=20, random_state=0).fit_predict(used.to_numpy(float))
    found = profile(table.drop(columns="CustomerID"), labels)
    by_income = found.sort_values("mean[Annual Income (k$)]")["markers"].tolist()
    assert sorted(by_income[:2]) == [
        "low Annual Income (k$), high Spending Score (1-100), low Age",
        "low Annual Income (k$), low Spending Score (1-100)",
    ]

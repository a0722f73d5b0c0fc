"""Transaction logs: from lines of purchases to customers, by hand-made logs."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig, LogConfig
from segexp.data.cells import parse_dates, text_column
from segexp.data.loading import load_dataset
from segexp.data.transactions import (
    Customers,
    check_log,
    customers_from_frame,
    load_customers,
    log_header,
)
from segexp.errors import ConfigError, DataError

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
COLUMNS = {"customer": "who", "order": "order", "date": "day", "quantity": "n", "price": "price"}
LINES = [
    ("7", "a", "2024-01-01", 2, 1.5),
    ("7", "a", "2024-01-01", 1, 2.0),
    ("7", "b", "2024-01-11", 1, 4.0),
    ("7", "c", "2024-01-11", 1, 6.0),
    ("10", "d", "2024-01-05", 3, 0.1),
]
ALL_FEATURES = [
    "recency", "frequency", "monetary", "tenure", "interpurchase", "span", "repeats",
    "repeat_spend", "orders", "days", "lines", "quantity", "average_order",
]  # fmt: skip


def dataset(path: Any, transactions: dict[str, Any] | None = None, **keys: Any) -> DatasetConfig:
    """Configure a log; the columns are those of `LINES` unless said otherwise."""
    log = LogConfig(**{**DEFAULTS["transactions"], **COLUMNS, **(transactions or {})})
    place = {"name": "test", "kind": "transactions", "path": path, "transactions": log}
    return DatasetConfig(**{**DEFAULTS, **place, **keys})


def frame(lines: list[tuple[Any, ...]] = LINES) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["who", "order", "day", "n", "price"])


def csv_of(tmp_path: Path, text: str, name: str = "log.csv", encoding: str = "utf-8") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def log(**keys: Any) -> LogConfig:
    return dataset("none.csv", keys).transactions


def customers(lines: list[tuple[Any, ...]] = LINES, **keys: Any) -> Customers:
    return customers_from_frame(frame(lines), log(**keys))


def counts(found: Customers) -> dict[str, int]:
    return {finding.code: finding.count for finding in found.findings}


# --- Features -------------------------------------------------------------------------------


def test_every_feature_is_what_it_says():
    found = customers(features=ALL_FEATURES)
    assert found.ids.tolist() == ["7", "10"]
    seven, ten = found.table.iloc[0], found.table.iloc[1]
    assert seven.to_dict() == {
        "recency": 1, "frequency": 3, "monetary": 15, "tenure": 11, "interpurchase": 10,
        "span": 10, "repeats": 1, "repeat_spend": 10, "orders": 3, "days": 2, "lines": 4,
        "quantity": 5, "average_order": 5,
    }  # fmt: skip
    assert ten["recency"] == 7 and ten["monetary"] == 0.3
    assert np.isnan(ten["interpurchase"]) and np.isnan(ten["repeat_spend"])
    assert set(map(str, found.table.dtypes)) == {"float64"}


def test_totals_have_orders_and_revenue():
    assert customers().totals.to_dict("list") == {
        "orders": [3, 1], "revenue": [15, 0.3], "returned": [0, 0],
    }  # fmt: skip


def test_frequency_may_count_days_and_monetary_be_a_mean():
    found = customers(frequency="days", monetary="mean")
    assert found.table["frequency"].tolist() == [2, 1]
    assert found.table["monetary"].tolist() == [5, 0.3]


def test_without_an_order_column_a_day_is_one_order():
    found = customers(order=None)
    assert found.totals["orders"].tolist() == [2, 1]
    assert found.summary["n_orders"] == 3


def test_the_reference_date_is_the_day_after_the_last_line_and_is_recorded():
    found = customers()
    assert found.summary["reference_date"] == "2024-01-12"
    assert any("2024-01-12, the day after the last line" in f.message for f in found.findings)


def test_a_reference_date_before_the_last_purchase_is_refused():
    with pytest.raises(DataError, match=r"reference_date=2024-01-06 is before the last"):
        customers(reference_date="2024-01-06")


def test_a_reference_date_on_the_day_of_the_last_purchase_gives_recency_0():
    assert customers(reference_date="2024-01-11").table["recency"].tolist() == [0, 6]


def test_items_are_counted_once_per_customer():
    lines = frame().assign(item=["x", "y", "x", "x", "x"])
    found = customers_from_frame(lines, log(item="item", features=["items"]))
    assert found.table["items"].tolist() == [2, 1] and found.summary["n_items"] == 2


def test_the_summary_counts_the_log():
    assert customers().summary == {
        "n_lines_read": 5, "n_lines": 5, "n_customers": 2, "n_orders": 4, "n_items": None,
        "revenue": 15.3, "first": "2024-01-01", "last": "2024-01-11",
        "reference_date": "2024-01-12", "calibration_end": None, "holdout_end": None,
    }  # fmt: skip


def test_an_order_of_two_days_is_one_order():
    lines = [("1", "a", "2024-01-01", 1, 1), ("1", "a", "2024-01-02", 1, 1)]
    found = customers(lines, features=["orders", "days"])
    assert found.table.iloc[0].tolist() == [1, 2] and found.summary["n_orders"] == 1


def test_an_order_of_two_customers_counts_for_each_and_is_told():
    lines = [("1", "a", "2024-01-01", 1, 1), ("2", "a", "2024-01-01", 1, 1)]
    found = customers(lines)
    assert found.totals["orders"].tolist() == [1, 1] and found.summary["n_orders"] == 1
    assert counts(found)["shared_orders"] == 1


@pytest.mark.parametrize("order", [None, "order"])
@pytest.mark.parametrize("returns", ["drop", "keep"])
def test_orders_are_lines_wherever_each_line_is_one(order, returns):
    lines = [*LINES, ("7", "a", "2024-01-01", -1, 1.5), ("7", "c", "2024-01-12", 1, 1.0)]
    keys = {"frequency": "lines", "order": order, "returns": returns, "features": ["orders"]}
    found = customers(lines, **keys)
    assert found.table["orders"].tolist() == found.totals["orders"].tolist() == [5, 1]
    assert found.summary["n_orders"] == 6
    found = customers(lines, **keys, calibration_end="2024-01-10")
    assert found.outcome is not None
    assert (found.table["orders"].tolist(), found.outcome["orders"].tolist()) == ([2, 1], [3, 0])
    assert found.summary["n_orders"] == 6


def test_without_amounts_only_features_of_time_are_given():
    found = customers(price=None, features=["recency", "repeats"])
    assert found.totals["revenue"].isna().all() and found.summary["revenue"] is None
    with pytest.raises(ConfigError, match=r"monetary needs dataset.transactions.price"):
        customers(price=None)


# --- Calibration and holdout ----------------------------------------------------------------


def test_the_outcome_is_what_follows_the_calibration_period():
    found = customers(calibration_end="2024-01-05", features=["recency", "tenure", "monetary"])
    assert found.ids.tolist() == ["7", "10"]
    assert found.table.to_dict("list") == {
        "recency": [4, 0], "tenure": [4, 0], "monetary": [5, 0.3],
    }  # fmt: skip
    assert found.outcome is not None
    assert found.outcome.to_dict("list") == {
        "purchases": [1, 0], "orders": [2, 0], "spend": [10, 0],
    }  # fmt: skip
    assert found.holdout_days == 6 and found.summary["holdout_end"] == "2024-01-11"


def test_lines_after_the_holdout_are_left_out():
    lines = [*LINES, ("7", "e", "2024-02-01", 1, 1.0)]
    found = customers(lines, calibration_end="2024-01-05", holdout_end="2024-01-20")
    assert counts(found)["holdout_end"] == 1 and found.holdout_days == 15


@pytest.mark.parametrize("end", [None, "2024-01-20"])
def test_a_holdout_that_ends_after_the_log_is_refused(end):
    keys = {"calibration_end": "2024-01-05", "holdout_end": "2024-01-12", "end": end}
    with pytest.raises(DataError, match=r"holdout_end=2024-01-12 is after .* \(2024-01-11\); say"):
        customers(**keys)


def test_lines_after_the_end_show_that_the_log_goes_on():
    keys = {"calibration_end": "2024-01-05", "holdout_end": "2024-01-12", "end": "2024-01-13"}
    assert customers([*LINES, ("7", "e", "2024-02-01", 1, 1.0)], **keys).holdout_days == 7


def test_who_bought_in_the_holdout_only_is_left_out_and_told():
    found = customers(calibration_end="2024-01-04")
    assert found.ids.tolist() == ["7"] and counts(found)["new_customers"] == 1


def test_a_calibration_period_that_ends_with_the_log_is_refused():
    with pytest.raises(DataError, match=r"no line is left after transactions.calibration_end"):
        customers(calibration_end="2024-01-11")


def test_a_calibration_period_before_the_log_is_refused():
    with pytest.raises(DataError, match=r"nobody bought up to transactions.calibration_end"):
        customers(calibration_end="2023-12-31")


def test_an_order_across_the_end_of_the_calibration_counts_on_both_sides():
    lines = [("1", "a", "2024-01-01", 1, 1), ("1", "a", "2024-01-02", 1, 1)]
    found = customers(lines, calibration_end="2024-01-01", features=["orders"])
    assert found.outcome is not None
    assert found.table["orders"].tolist() == [1] and found.outcome["orders"].tolist() == [1]


# --- Rules ----------------------------------------------------------------------------------

DIRTY = [
    *LINES,
    (None, "e", "2024-01-03", 1, 1.0),  # no customer
    ("", "e", "2024-01-03", 1, 1.0),
    ("7", "Cb", "2024-01-12", 1, 4.0),  # cancelled
    ("7", "f", "2024-01-13", -1, 4.0),  # returned
    ("7", "g", "2024-01-14", 1, 0.0),  # not positive
    ("7", "a", "2024-01-01", 2, 1.5),  # equal to the first
    ("8", "h", "2023-01-01", 1, 1.0),  # early
    ("8", "i", "2025-01-01", 1, 1.0),  # late
]
RULES = {"cancelled_prefix": "C", "duplicates": "drop", "start": "2024-01-01", "end": "2024-12-31"}


def test_each_rule_counts_the_lines_that_it_takes_out():
    found = customers(DIRTY, **RULES)
    assert counts(found) == {
        "duplicates": 1, "missing_customer": 2, "start": 1, "end": 1, "cancelled": 1,
        "returned": 1, "non_positive": 1, "reference_date": 1,
    }  # fmt: skip
    assert found.summary["n_lines_read"] == 13 and found.summary["n_lines"] == 5
    pd.testing.assert_frame_equal(found.table, customers().table)


BACK = [
    *LINES,
    ("7", "Cb", "2024-01-12", -1, 4.0),
    ("7", "Cc", "2024-01-03", 2, 0.5),  # a cancellation written without a sign
    ("10", "e", "2024-01-04", -3, 0.1),
    ("9", "f", "2024-01-04", -3, 0.1),  # of nobody who bought
]


@pytest.mark.parametrize(
    ("keys", "returned"),
    [
        ({}, [5, 0.3]),
        ({"calibration_end": "2024-01-05"}, [1, 0.3]),
        ({"returns": "keep"}, [0, 0]),
        ({"order": None, "cancelled_prefix": None}, [4, 0.3]),
    ],
)
def test_totals_say_what_each_customer_gave_back(keys, returned):
    found = customers(BACK, **({"cancelled_prefix": "C"} | keys))
    assert found.ids.tolist() == ["7", "10"]
    assert found.totals["returned"].tolist() == pytest.approx(returned)


def test_keep_leaves_only_lines_with_these_values():
    lines = frame().assign(Country=["G", "G", "F", "G", "F"])
    found = customers_from_frame(lines, log(keep={"Country": ["G"]}))
    assert found.ids.tolist() == ["7"] and counts(found)["keep"] == 2


def test_kept_returns_lower_the_amount_and_are_no_purchase():
    lines = [*LINES, ("7", "Cb", "2024-02-01", -1, 4.0)]
    found = customers(lines, returns="keep", cancelled_prefix="C", reference_date="2024-02-02")
    assert found.table.iloc[0].tolist() == [22, 3, 11]


def test_who_only_returned_something_is_no_customer():
    found = customers([*LINES, ("9", "x", "2024-01-01", -1, 4.0)], returns="keep")
    assert "9" not in found.ids.tolist() and counts(found)["only_returns"] == 1


def test_kept_lines_of_price_0_are_purchases():
    found = customers([*LINES, ("9", "x", "2024-01-01", 1, 0.0)], non_positive="keep")
    assert found.ids.tolist() == ["7", "9", "10"]


@pytest.mark.parametrize(
    ("line", "keys", "message"),
    [
        (("7", "x", "yesterday", 1, 1), {}, r"1 line with a day that is missing.*'yesterday'"),
        (("7", "x", None, 1, 1), {}, "1 line with a day that is missing or no date"),
        (("7", "x", "2024-01-01", "two", 1), {}, "with a n that is missing or no number.*'two'"),
        (("7", "x", "2024-01-01", 1, "1_0"), {}, "with a price that is missing or no number"),
        (("7", "x", "2024-01-01", 1, "inf"), {}, "with a price that is missing or no number"),
        (("7", None, "2024-01-01", 1, 1), {}, r"1 line without an order \(order\)"),
        ((None, "x", "2024-01-01", 1, 1), {"missing_customer": "error"}, "without a customer"),
        (("7", "x", "2024-01-01", -1, 1), {"returns": "error"}, "with a n below 0, e.g. '-1'"),
        (("7", "x", "2024-01-01", 1, -1), {"non_positive": "error"}, "price of 0 or less"),
        (LINES[0], {"duplicates": "error"}, "1 line equal to an earlier one"),
    ],
)
def test_what_is_an_error_is_one_line_that_quotes_it(line, keys, message):
    with pytest.raises(DataError, match=message) as error:
        customers([*LINES, line], **keys)
    assert "\n" not in str(error.value)
    assert "say dataset.transactions." in str(error.value)


def test_invalid_lines_are_dropped_if_asked_for():
    lines = [*LINES, ("7", "x", "yesterday", 1, 1), ("7", "x", "2024-01-01", "two", 1)]
    found = customers(lines, invalid="drop")
    assert counts(found)["date"] == 1 and counts(found)["quantity"] == 1


def test_a_log_without_a_line_left_lists_what_each_rule_took():
    with pytest.raises(DataError, match=r"none of 2 lines is left: 1 line without.*; 1 line with"):
        customers([(None, "a", "2024-01-01", 1, 1), ("1", "a", "2024-01-01", 1, 0)])


def test_a_customer_column_without_a_value_is_one_clear_error():
    with pytest.raises(DataError, match=r"none of 5 lines is left: 5 lines without a customer"):
        customers([(None, *line[1:]) for line in LINES])


def test_a_log_without_lines_is_refused(tmp_path):
    path = csv_of(tmp_path, "who,order,day,n,price\n")
    with pytest.raises(DataError, match=r"has no lines"):
        load_customers(dataset(path))


def test_a_misspelled_column_is_named_with_a_suggestion():
    with pytest.raises(DataError, match=r"transactions.price names 'prise'.*did you mean 'price'"):
        customers(price="prise")


def test_a_column_that_occurs_twice_cannot_be_used(tmp_path):
    path = csv_of(tmp_path, "who,who,order,day,n,price\n1,1,a,2024-01-01,1,1\n")
    with pytest.raises(DataError, match=r"2 columns 'who'"):
        load_customers(dataset(path))


def test_an_amount_too_large_to_add_up_is_one_line():
    lines = [("1", "a", "2024-01-01", 1, 9e12), ("1", "a", "2024-01-01", 1, 9e12)]
    with pytest.raises(DataError, match=r"sum to more than 9.2e12"):
        customers(lines)


# --- Unusual logs ---------------------------------------------------------------------------


def test_one_order_is_enough():
    found = customers([("1", "a", "2024-01-01", 1, 2.0)])
    assert found.table.iloc[0].tolist() == [1, 1, 2]


def test_all_purchases_on_one_day_have_no_span():
    lines = [(str(i), str(i), "2024-01-01", 1, 1) for i in range(5)]
    found = customers(lines, features=["recency", "span", "repeats"])
    assert found.table.nunique().tolist() == [1, 1, 1] and found.table["span"].tolist() == [0] * 5


def test_a_customer_with_a_million_orders():
    n = 1_000_000
    days = np.datetime64("2020-01-01") + np.arange(n) % 1000
    lines = pd.DataFrame({"who": 1, "order": np.arange(n), "day": days, "n": 1, "price": 0.01})
    found = customers_from_frame(lines, log(features=["orders", "days", "monetary"]))
    assert found.table.iloc[0].tolist() == [n, 1000, 10000]


def test_whole_number_ids_sort_as_numbers_and_others_as_text():
    def ids(*names: str) -> list[str]:
        lines = [(name, "o" + name, "2024-01-01", 1, 1) for name in names]
        return customers(lines).ids.tolist()

    assert ids("10", "9", "100") == ["9", "10", "100"]
    assert ids("10", "9", "x") == ["10", "9", "x"]
    assert ids("02", "1") == ["1", "02"]
    assert ids("10000000000000000000", "9", "-1") == ["-1", "9", "10000000000000000000"]


# --- One log in many forms ------------------------------------------------------------------


HUGE = [9_007_199_254_740_993, -9_007_199_254_740_993, 2**63 - 1, -(2**63), 10**18, 5, -5]
AS_FLOATS = [10.0, 9.0, -3.0, 0.0, 2.0**52, None]
MIXED = [1.0, 2.5, -1.0, 1e16, float("inf"), 1e-7, None]


def _cell(value: Any) -> str:
    return "" if value is None else repr(value)


@pytest.mark.parametrize("names", [HUGE, AS_FLOATS, MIXED], ids=["huge", "floats", "mixed"])
@pytest.mark.parametrize("role", ["who", "order"])
def test_names_that_are_numbers_are_those_that_are_text(role, names):
    other = "order" if role == "who" else "who"
    stored = pd.DataFrame({role: names, other: "x", "day": "2024-01-01", "n": 1, "price": 1.5})
    text = stored.assign(**{role: [_cell(name) for name in names]})
    drop = log(missing_customer="drop", invalid="drop")
    assert stored[role].dtype != object
    found, same = customers_from_frame(stored, drop), customers_from_frame(text, drop)
    assert found.ids.tolist() == same.ids.tolist()
    assert (found.fingerprint, found.summary) == (same.fingerprint, same.summary)


def test_0_and_minus_0_are_one_customer():
    lines = [(-0.0, "a", "2024-01-01", 1, 1), (0.0, "b", "2024-01-02", 1, 1)]
    assert customers(lines).ids.tolist() == ["0"]


@pytest.mark.parametrize("column", ["who", "order"])
@pytest.mark.parametrize("names", [AS_FLOATS, MIXED], ids=["floats", "mixed"])
def test_dask_writes_names_that_are_numbers_as_duckdb_does(names, column, tmp_path):
    pytest.importorskip("dask.dataframe")
    other = "order" if column == "who" else "who"
    lines = {column: names, other: "x", "day": "2024-01-01", "n": 1, "price": 1.5}
    path = str(tmp_path / "log.parquet")
    pd.DataFrame(lines).to_parquet(path)
    keys = {"missing_customer": "drop", "invalid": "drop"}
    found = load_customers(dataset(path, keys | {"aggregate": "dask"}, reader="parquet"))
    same = load_customers(dataset(path, keys, reader="parquet"))
    assert found.fingerprint == same.fingerprint


def test_the_order_of_the_lines_does_not_matter():
    rng = np.random.default_rng(0)
    n = 20_000
    lines = pd.DataFrame(
        {
            "who": rng.integers(0, 500, n),
            "order": rng.integers(0, 5000, n),
            "day": np.datetime64("2024-01-01") + rng.integers(0, 300, n),
            "n": rng.integers(1, 9, n),
            "price": rng.lognormal(3, 2, n),
        }
    )
    one = customers_from_frame(lines, log())
    for seed in range(3):
        other = customers_from_frame(lines.sample(frac=1, random_state=seed), log())
        assert other.fingerprint == one.fingerprint
        pd.testing.assert_frame_equal(other.table, one.table, check_exact=True)


@pytest.mark.parametrize("end", [None, "2024-02-10"])
@pytest.mark.parametrize("returns", ["drop", "keep"])
@pytest.mark.parametrize("frequency", ["orders", "days", "lines"])
@pytest.mark.parametrize("amounts", [True, False], ids=["amounts", "no amounts"])
def test_bits_count_days_and_orders_as_tables_do(end, returns, frequency, amounts, monkeypatch):
    rng = np.random.default_rng(1)
    n = 3000
    lines = pd.DataFrame(
        {
            "who": rng.integers(0, 40, n),
            "order": rng.integers(5, 900, n),  # of several customers and days
            "day": np.datetime64("2024-01-01") + rng.integers(0, 90, n),
            "n": rng.choice([-1, 1, 2], n, p=[0.1, 0.6, 0.3]),
            "price": rng.lognormal(3, 2, n),
        }
    )
    keys = {"calibration_end": end, "returns": returns, "frequency": frequency,
            "features": ALL_FEATURES if amounts else ["recency", "days", "repeats"],
            "price": "price" if amounts else None}  # fmt: skip
    in_bits = customers_from_frame(lines, log(**keys))
    monkeypatch.setattr("segexp.data.log_sums.MOST_BITS", 0)
    in_tables = customers_from_frame(lines, log(**keys))
    pd.testing.assert_frame_equal(in_bits.table, in_tables.table, check_exact=True)
    assert in_bits.fingerprint == in_tables.fingerprint
    assert in_bits.summary == in_tables.summary


def test_orders_with_numbers_far_apart_are_counted():
    lines = [("7", 10**12, "2024-01-01", 1, 1.0), ("8", 9 * 10**18, "2024-01-02", 1, 1.0)]
    assert customers(lines).summary["n_orders"] == 2


@pytest.mark.parametrize(
    ("keys", "others"),
    [
        ({}, {"features": ["recency", "frequency"]}),
        ({}, {"features": ["monetary", "frequency", "recency"]}),
        ({}, {"monetary": "mean"}),
        ({}, {"reference_date": "2024-01-20"}),
        ({"features": ["orders"]}, {"features": ["orders"], "reference_date": "2024-01-20"}),
        ({"calibration_end": "2024-01-05"}, {"calibration_end": "2024-01-06"}),
        (
            {"calibration_end": "2024-01-05", "end": "2024-01-11"},
            {"calibration_end": "2024-01-05", "end": "2024-01-12", "holdout_end": "2024-01-12"},
        ),
    ],
)
def test_other_features_or_another_outcome_are_other_data(keys, others):
    lines = [*LINES, ("7", "z", "2024-02-01", 1, 1.0)]
    wanted = {"end": "2024-01-11"} | keys, {"end": "2024-01-11"} | others
    one, other = (customers(lines, **each).fingerprint for each in wanted)
    assert one != other


def typed() -> pd.DataFrame:
    lines = frame()
    return lines.assign(who=lines["who"].astype("int64"), day=pd.to_datetime(lines["day"]))


def stored(tmp_path: Path) -> dict[str, DatasetConfig]:
    lines = typed()
    lines.to_parquet(tmp_path / "log.parquet")
    lines.astype({"who": "float64"}).to_parquet(tmp_path / "float.parquet")
    lines.assign(day=lines["day"].dt.tz_localize("UTC")).to_parquet(tmp_path / "zone.parquet")
    text = lines.to_csv(index=False)
    with gzip.open(tmp_path / "log.csv.gz", "wt") as file:
        file.write(text)
    for i, part in enumerate((lines[:2], lines[2:][lines.columns[::-1]])):
        part.to_csv(tmp_path / f"part-{i}.csv", index=False)
        part.to_parquet(tmp_path / f"part-{i}.parquet")
    comma = lines.to_csv(index=False, sep=";", decimal=",")
    return {
        "csv": dataset(csv_of(tmp_path, text)),
        "gzip": dataset(str(tmp_path / "log.csv.gz")),
        "windows": dataset(csv_of(tmp_path, text.replace("\n", "\r\n"), "w.csv")),
        "bom": dataset(csv_of(tmp_path, text, "bom.csv", "utf-8-sig")),
        "utf-16": dataset(csv_of(tmp_path, text, "u.csv", "utf-16"), encoding="utf-16"),
        "tabs": dataset(csv_of(tmp_path, text.replace(",", "\t"), "t.tsv")),
        "comma": dataset(csv_of(tmp_path, comma, "c.csv"), decimal=",", separator=";"),
        "blanks": dataset(
            csv_of(tmp_path, "  " + text.replace(",", "   ").replace("\n", "\n "), "b.txt"),
            separator=" ",
        ),
        "no header": dataset(
            csv_of(tmp_path, text.partition("\n")[2], "n.csv"), {"columns": list(lines.columns)}
        ),
        "dayfirst": dataset(
            csv_of(
                tmp_path,
                lines.assign(day=lines["day"].dt.strftime("%d.%m.%Y 23:59")).to_csv(index=False),
                "d.csv",
            ),
            dayfirst=True,
        ),
        "format": dataset(
            csv_of(
                tmp_path,
                lines.assign(day=lines["day"].dt.strftime("%y%m%d")).to_csv(index=False),
                "f.csv",
            ),
            {"date_format": "%y%m%d"},
        ),
        "parquet": dataset(str(tmp_path / "log.parquet"), reader="parquet"),
        "float": dataset(str(tmp_path / "float.parquet"), reader="parquet"),
        "zone": dataset(str(tmp_path / "zone.parquet"), reader="parquet"),
        "csv parts": dataset([str(tmp_path / f"part-{i}.csv") for i in range(2)]),
        "pattern": dataset(str(tmp_path / "part-*.parquet"), reader="parquet"),
    }


def test_a_log_gives_the_same_customers_however_it_is_stored(tmp_path):
    wanted = customers()
    for name, config in stored(tmp_path).items():
        found = load_customers(config)
        assert found.fingerprint == wanted.fingerprint, name
        assert found.ids.tolist() == wanted.ids.tolist(), name


@pytest.mark.parametrize("where", ["table", "query"])
def test_a_log_in_sqlite(tmp_path, where):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame().to_sql("lines", connection, index=False)
    what = {"table": "lines"} if where == "table" else {"query": "select * from lines"}
    config = dataset(None, reader="sql", url=f"sqlite:///{tmp_path / 'shop.db'}", **what)
    assert load_customers(config).fingerprint == customers().fingerprint
    assert log_header(config) == ["who", "order", "day", "n", "price"]


def test_a_log_in_postgresql_is_read_in_chunks(postgresql, monkeypatch):
    import sqlalchemy

    monkeypatch.setattr("segexp.data.log_files.SQL_CHUNK", 2)
    engine = sqlalchemy.create_engine(postgresql)
    typed().to_sql("lines", engine, index=False)
    engine.dispose()
    config = dataset(None, reader="sql", url=postgresql, table="lines")
    assert load_customers(config).fingerprint == customers().fingerprint


DATES = {
    "2024-01-31 10:00:00": "2024-01-31",
    "2024/1/31": "2024-01-31",
    "2024-1-3 9:05": "2024-01-03",
    "20240131": "2024-01-31",
    "31-01-2024": "2024-01-31",
    "31.01.2024 23:59": "2024-01-31",
    "31 Jan 2024": "2024-01-31",
    "January 31, 2024": "2024-01-31",
    "2024-01-31T23:30:00Z": "2024-01-31",
    "2024-01-31 23:30:00-02:00": "2024-01-31",
    "2024-01-31 01:30:00+02": "2024-01-31",
    "31.01.2024 00:30+01:00": "2024-01-31",
}
NO_DATES = ["24-01-31", "2024-02-30", "now", "epoch", "infinity", "0001-01-01", "45321", "2024-01"]


@pytest.mark.parametrize(("text", "day"), DATES.items())
def test_a_date_is_understood(text, day, tmp_path):
    path = csv_of(tmp_path, f'who,order,day,n,price\n1,a,"{text}",1,1\n')
    assert load_customers(dataset(path, dayfirst=True)).summary["first"] == day


@pytest.mark.parametrize("text", [*DATES, *NO_DATES, "2024-01-31 10:00+16:30", "04 09 2012"])
def test_a_plain_table_reads_the_dates_of_a_log(text, tmp_path):
    path = csv_of(tmp_path, f'who,order,day,n,price\n1,a,"{text}",1,1\n1,b,2024-01-31,1,1\n')
    log = load_customers(dataset(path, {"invalid": "drop"})).summary["first"]
    known = parse_dates(text_column([text, "2024-01-31"]), dayfirst=False)
    assert str(np.nanmin(known.astype("M8[D]"))) == log


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_refused(text, tmp_path):
    path = csv_of(tmp_path, f'who,order,day,n,price\n1,a,"{text}",1,1\n')
    with pytest.raises(DataError, match=r"with a day that is missing or no date"):
        load_customers(dataset(path))


def test_dates_in_mixed_formats_are_read(tmp_path):
    lines = "".join(f'1,o{i},"{text}",1,1\n' for i, text in enumerate(DATES))
    path = csv_of(tmp_path, "who,order,day,n,price\n" + lines)
    assert load_customers(dataset(path, dayfirst=True)).summary["n_lines"] == len(DATES)


def dated(days: list[str]) -> list[tuple[Any, ...]]:
    return [("7", f"o{i}", day, 1, 1) for i, day in enumerate(days)]


@pytest.mark.parametrize("dayfirst", [False, True])
def test_dates_with_dots_are_day_first(tmp_path, dayfirst):
    path = csv_of(tmp_path, "who,order,day,n,price\n1,a,04.09.2012,1,1\n1,b,31.10.2012,1,1\n")
    assert load_customers(dataset(path, dayfirst=dayfirst)).summary["first"] == "2012-09-04"


def two_way(days: list[str], **keys: Any) -> list[str]:
    found = customers_from_frame(frame(dated(days)), dataset("none.csv", **keys))
    return [f.message for f in found.findings if f.code == "two_way_dates"]


def test_dates_that_can_all_be_read_two_ways_are_told():
    assert two_way(["04/09/2012", "05-10-2012"]) == [
        "every date can be read two ways; read month first; dataset.dayfirst=true reads the other "
        "way"
    ]


@pytest.mark.parametrize("days", [["04/09/2012", "04/13/2012"], ["04.09.2012"], ["2012-04-09"]])
def test_dates_that_can_be_read_one_way_are_no_finding(days):
    assert two_way(days) == [] and two_way(["04/09/2012"], dayfirst=True) == []


def test_dask_tells_dates_that_can_be_read_two_ways(tmp_path):
    path = csv_of(tmp_path, frame(dated(["04/09/2012", "05/10/2013"])).to_csv(index=False))
    found = dask_like_duckdb(path, {})
    assert {"two_way_dates", "gap"} <= set(counts(found))


@pytest.mark.parametrize(
    ("days", "keys", "words"),
    [
        (["25/12/2023", "01/02/2024"], {}, "dataset.dayfirst=true reads them"),
        (["12/25/2023"], {"dayfirst": True}, "dataset.dayfirst=false reads them"),
        (["31.01.24"], {}, "; dataset.transactions.date_format=%d.%m.%y reads them"),
        (["01/31/24"], {}, "; dataset.transactions.date_format=%m/%d/%y reads them"),
        (["01/02/24"], {}, "=%d/%m/%y or dataset.transactions.date_format=%m/%d/%y reads them"),
        (["31.01.24 9:05"], {}, "; 'dataset.transactions.date_format=%d.%m.%y %H:%M' reads them"),
        (["31.01.24", "30.01.24", "soon"], {}, "date_format=%d.%m.%y reads 2 of 3"),
        (["45321", "45322.5"], {}, "serial numbers that Excel makes of dates"),
    ],
)
def test_dates_that_cannot_be_read_name_the_setting_that_reads_them(days, keys, words):
    with pytest.raises(DataError, match=r"missing or no date, e\.g\.") as error:
        customers_from_frame(frame(dated(days)), dataset("none.csv", **keys))
    assert words in str(error.value)
    assert "invalid=drop" not in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_date_format_names_the_one_that_reads_the_dates():
    with pytest.raises(DataError, match=r"; dataset\.transactions\.date_format=null reads them"):
        customers(date_format="%y%m%d")


@pytest.mark.parametrize("aggregate", ["duckdb", "dask"])
def test_most_lines_are_not_dropped_for_a_column_that_cannot_be_read(tmp_path, aggregate):
    if aggregate == "dask":
        pytest.importorskip("dask.dataframe")
    lines = frame(dated(["31.01.24", "30.01.24", "2024-01-29"]))
    path = csv_of(tmp_path, lines.to_csv(index=False))
    with pytest.raises(DataError, match=r"2 of 3 lines with a day.*date_format=%d.%m.%y") as error:
        load_customers(dataset(path, {"invalid": "drop", "aggregate": aggregate}))
    assert "too many to leave out (invalid=drop)" in str(error.value)


def test_most_lines_may_be_dropped_where_a_cell_is_missing():
    lines = [*LINES[:1], *[("7", "x", None, 1, 1)] * 3]
    assert counts(customers(lines, invalid="drop"))["date"] == 3


def test_the_day_of_a_moment_with_a_zone_is_the_local_one(tmp_path):
    stamp = "2025-01-15T00:30:00+01:00"
    path = csv_of(tmp_path, f"who,order,day,n,price\n1,a,{stamp},1,1\n")
    assert load_customers(dataset(path)).summary["first"] == "2025-01-15"
    form = {"date_format": "%Y-%m-%dT%H:%M:%S%z"}
    assert load_customers(dataset(path, form)).summary["first"] == "2025-01-15"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "+01:00"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_the_day_of_a_parquet_moment_is_that_of_its_zone(tmp_path, zone, unit):
    lines = frame([("1", "a", "2025-01-15T00:30:00+01:00", 1, 1)])
    lines["day"] = pd.to_datetime(lines["day"]).dt.tz_convert(zone).dt.as_unit(unit)
    lines.to_parquet(tmp_path / "a.parquet")
    config = dataset(str(tmp_path / "a.parquet"), reader="parquet")
    assert load_customers(config).summary["first"] == "2025-01-15"
    assert customers_from_frame(lines, log()).summary["first"] == "2025-01-15"


def test_a_last_line_far_from_the_others_is_told():
    found = customers([*LINES, ("7", "x", "2204-01-11", 1, 1)])
    (said,) = (f.message for f in found.findings if f.code == "gap")
    assert "last line (2204-01-11)" in said and "(2024-01-11)" in said
    assert "gap" not in counts(customers())


def test_a_reference_date_long_after_the_last_purchase_is_told():
    found = customers(reference_date="2025-02-01")
    assert any("lies 387 days after the last purchase (2024-01-11)" in f.message
               for f in found.findings)  # fmt: skip
    assert "late_reference" not in counts(customers(reference_date="2025-01-01"))


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        (["1.345,58", "758,33"], "; dataset.decimal=comma reads them"),
        (["758,33"], "; dataset.decimal=comma reads them"),
        (["1,002", "12.5"], "they seem to hold thousands separators; take these out of the log"),
    ],
)
def test_numbers_that_cannot_be_read_name_the_setting_that_reads_them(prices, words):
    lines = [("7", "a", "2024-01-01", 1, price) for price in prices]
    with pytest.raises(DataError, match=r"missing or no number, e\.g\.") as error:
        customers(lines)
    assert str(error.value).endswith(words)


@pytest.mark.parametrize(("price", "decimal"), [("1.345,58", ","), ("1,345.58", ".")])
def test_thousands_separators_before_a_fraction_are_read(price, decimal):
    lines = frame([("7", "a", "2024-01-01", 1, price)])
    found = customers_from_frame(lines, dataset("none.csv", decimal=decimal))
    assert found.summary["revenue"] == 1345.58


def test_a_value_model_of_a_log_without_repeat_purchases_is_one_clear_line(tmp_path):
    path = csv_of(tmp_path, frame().to_csv(index=False))
    keys = {"features": ["repeats", "repeat_spend"], "calibration_end": "2024-01-05"}
    with pytest.raises(DataError) as error:
        load_dataset(dataset(path, keys))
    assert str(error.value) == (
        "nobody bought twice up to 2024-01-05; a value model needs repeat purchases: name a later "
        "dataset.transactions.calibration_end"
    )


def test_quoted_cells_and_missing_tokens(tmp_path):
    text = 'who,order,day,n,price\n"Smith, ""J""",a,2024-01-01,1,1\nNA,b,2024-01-01,1,1\n\n'
    found = load_customers(dataset(csv_of(tmp_path, text)))
    assert found.ids.tolist() == ['Smith, "J"'] and counts(found)["missing_customer"] == 1


# --- Files that cannot be read --------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        (b"who,order,day,n,price\n1,a\n", {}, r"line 2: 2 cells where the log has 5 columns"),
        (b'who,order,day,n,price\n1,"a,2024-01-01,1,1\n', {}, "a quote is opened here"),
        (b"who,order,day,n,price\n\xe9,a,2024-01-01,1,1\n", {}, "is not written in utf-8"),
        (b"", {}, "is empty"),
        (b"PAR1", {}, "is a Parquet file, not CSV"),
        (b"1 2 3\n1 2\n", {"separator": " "}, "names 'who', which is no column"),
        (b"who order day n price\n1 2\n", {"separator": " "}, "5 cells expected, 2 found in: 1 2"),
        (b"x", {"reader": "parquet"}, "is not a Parquet file"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_clear_line(tmp_path, content, keys, message):
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load_customers(dataset(str(path), **keys))
    assert "\n" not in str(error.value)


def test_an_unknown_encoding_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.encoding=utf-99 is not known"):
        load_customers(dataset(csv_of(tmp_path, "who\n"), encoding="utf-99"))


def test_files_with_other_columns_cannot_be_stacked(tmp_path):
    paths = [csv_of(tmp_path, "who,day\n", "1.csv"), csv_of(tmp_path, "who,date\n", "2.csv")]
    with pytest.raises(DataError, match=r"2.csv cannot be stacked on .*lacks 'day' and has 'date'"):
        load_customers(dataset(paths))


def test_a_pattern_without_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no file matches"):
        load_customers(dataset(str(tmp_path / "*.csv")))


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(DataError, match=r"pip install no-such-package"):
        load_customers(dataset("package:no_such_package/data.parquet", reader="parquet"))


@pytest.mark.parametrize("path", ["package:pandas/../x", "package:/x", "package:pandas"])
def test_a_path_in_a_package_stays_there(path):
    with pytest.raises(DataError, match=r"a path in a package is package:module/file"):
        load_customers(dataset(path, reader="parquet"))


def test_rda_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdata", None)
    path = csv_of(tmp_path, "x", "log.rda")
    with pytest.raises(ConfigError, match=r"pip install 'segexp\[rda\]'"):
        load_customers(dataset(path, reader="rda"))


def test_a_broken_rda_is_one_clear_line(tmp_path):
    path = csv_of(tmp_path, "no R data", "log.rda")
    with pytest.raises(DataError, match=r"cannot be read as an R data file"):
        load_customers(dataset(path, reader="rda"))


def test_more_memory_than_allowed_is_one_clear_line():
    n = 200_000
    lines = pd.DataFrame({"who": np.arange(n), "order": np.arange(n), "day": "2024-01-01",
                          "n": 1, "price": 1.0})  # fmt: skip
    with pytest.raises(DataError, match=r"raise dataset.transactions.memory_limit"):
        customers_from_frame(lines, log(memory_limit="1MB"))


# --- Names are data, not SQL ----------------------------------------------------------------


def test_names_and_values_never_become_sql(tmp_path):
    evil = "x\"'; DROP TABLE order_sums; --"
    lines = frame().rename(columns={"who": evil}).assign(**{"it's": "a'b"})
    folder = tmp_path / "quote'[1]"
    folder.mkdir()
    lines.to_parquet(folder / "lo*g.parquet")
    config = dataset(str(folder / "x.parquet"), reader="parquet")
    changed = replace(config.transactions, customer=evil, keep={"it's": ["a'b"]})
    found = load_customers(replace(config, path=str(folder / "lo*g.parquet"), transactions=changed))
    assert found.fingerprint == customers().fingerprint


def test_a_date_format_is_quoted():
    with pytest.raises(DataError):
        customers(date_format="%Y'; DROP TABLE x; --")


def test_a_column_named_like_a_hive_partition_is_read_from_the_file(tmp_path):
    folder = tmp_path / "who=99"
    folder.mkdir()
    frame().to_parquet(folder / "log.parquet")
    config = dataset(str(folder / "log.parquet"), reader="parquet")
    assert load_customers(config).ids.tolist() == ["7", "10"]


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    customers()
    with pytest.raises(DataError):
        customers(price="prise")
    assert list(tmp_path.iterdir()) == []


def test_the_connection_reads_no_other_file_and_loads_no_extension(tmp_path):
    import duckdb

    from segexp.data.log_sources import open_log

    config = dataset(csv_of(tmp_path, frame().to_csv(index=False)))
    other = csv_of(tmp_path, "a\n1\n", "other.csv")
    with open_log(config) as opened:
        for query in (f"FROM read_csv('{other}')", "INSTALL httpfs", "SET threads = 8"):
            with pytest.raises(duckdb.Error):
                opened.connection.execute(query)


# --- Headers --------------------------------------------------------------------------------


def test_the_header_of_each_form_is_read_without_lines(tmp_path):
    for name, config in stored(tmp_path).items():
        assert sorted(log_header(config)) == ["day", "n", "order", "price", "who"], name
        check_log(config)


def test_check_log_finds_a_misspelled_column(tmp_path):
    path = csv_of(tmp_path, frame().to_csv(index=False))
    with pytest.raises(DataError, match=r"did you mean 'order'"):
        check_log(dataset(path, {"order": "ordr"}))


# --- Dask -----------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("dask") is None, reason="needs the extra dask")
@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_dask_gives_the_same_customers(tmp_path, duplicates):
    rng = np.random.default_rng(1)
    n = 3000
    lines = pd.DataFrame(
        {
            "who": rng.integers(0, 60, n),
            "order": rng.integers(0, 700, n),
            "day": np.datetime64("2024-01-01") + rng.integers(0, 90, n),
            "n": rng.integers(-1, 3, n),
            "price": rng.integers(0, 3, n) / 3,
            "item": rng.integers(0, 9, n).astype(str),
        }
    )
    lines.to_parquet(tmp_path / "a.parquet", row_group_size=1000)
    lines[:500].to_csv(tmp_path / "b.csv", index=False)
    lines[500:].to_csv(tmp_path / "c.csv", index=False)
    keys = {
        "item": "item", "duplicates": duplicates, "calibration_end": "2024-02-15",
        "features": ["recency", "items", "repeat_spend"],
    }  # fmt: skip
    places: list[tuple[Any, str]] = [
        (str(tmp_path / "a.parquet"), "parquet"),
        ([str(tmp_path / "b.csv"), str(tmp_path / "c.csv")], "csv"),
    ]
    wanted = customers_from_frame(lines, log(**keys))
    ways = itertools.product(places, ["drop", "keep"], ["orders", "lines"])
    for (path, reader), returns, frequency in ways:
        keys |= {"returns": returns, "frequency": frequency}
        wanted = customers_from_frame(lines, log(**keys))
        found = load_customers(dataset(path, keys | {"aggregate": "dask"}, reader=reader))
        assert found.fingerprint == wanted.fingerprint
        assert found.summary == wanted.summary and found.findings == wanted.findings
        pd.testing.assert_frame_equal(found.table, wanted.table, check_exact=True)


def dask_like_duckdb(path: str, keys: dict[str, Any], **more: Any) -> Customers:
    """Add a log up with Dask, and check that it is what DuckDB says."""
    pytest.importorskip("dask.dataframe")
    found = load_customers(dataset(path, keys | {"aggregate": "dask"}, **more))
    wanted = load_customers(dataset(path, keys, **more))
    assert found.fingerprint == wanted.fingerprint
    assert found.summary == wanted.summary and found.findings == wanted.findings
    return found


def test_dask_reads_a_column_called_key(tmp_path):
    lines = frame([*LINES, LINES[0]]).assign(key="k")
    path = csv_of(tmp_path, lines.to_csv(index=False))
    found = dask_like_duckdb(path, {"duplicates": "drop", "keep": {"key": ["k"]}})
    assert counts(found)["duplicates"] == 1


@pytest.mark.parametrize("kind", ["float64", "Int64", pd.ArrowDtype(pa.decimal128(21, 2))])
def test_dask_compares_lines_of_parquet_by_their_types(tmp_path, kind):
    lines = typed().assign(n=2, price=[1, 2, 4, 6, 3])
    lines = pd.concat([lines, lines[:2]], ignore_index=True).astype({"n": kind, "price": kind})
    lines = lines.assign(day=lines["day"].dt.date)
    lines.set_axis(range(10, 17)).to_parquet(tmp_path / "a.parquet", row_group_size=2, index=True)
    found = dask_like_duckdb(
        str(tmp_path / "a.parquet"), {"duplicates": "drop", "date_format": "%Y%m%d"},
        reader="parquet", decimal=",", missing_tokens=["6", "2024-01-05"],
    )  # fmt: skip
    assert counts(found)["duplicates"] == 2 and found.summary["n_lines"] == 5


def test_dask_compares_lines_of_files_with_other_types_and_orders(tmp_path):
    lines = typed()
    lines.to_parquet(tmp_path / "a.parquet")
    lines.astype({"who": str, "n": "float64"})[lines.columns[::-1]].to_parquet(
        tmp_path / "b.parquet"
    )
    found = dask_like_duckdb(str(tmp_path / "*.parquet"), {"duplicates": "drop"}, reader="parquet")
    assert counts(found)["duplicates"] == 5


def test_dask_refuses_files_with_other_columns(tmp_path):
    pytest.importorskip("dask.dataframe")
    keys = {"duplicates": "drop", "aggregate": "dask"}
    for name in ("x", "y"):
        csv_of(tmp_path, frame().assign(**{name: 1}).to_csv(index=False), f"{name}.csv")
    with pytest.raises(DataError, match=r"y\.csv cannot be stacked .* lacks 'x' and has 'y'"):
        load_customers(dataset(str(tmp_path / "*.csv"), keys))


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_dask_adds_up_what_64_bits_do_not_hold(tmp_path, duplicates):
    lines = [(str(i), str(i), "2024-01-01", 1, 9e12) for i in range(3)]
    frame(lines).to_parquet(tmp_path / "a.parquet")
    keys = {"duplicates": duplicates}
    found = dask_like_duckdb(str(tmp_path / "a.parquet"), keys, reader="parquet")
    assert found.summary["revenue"] == 2.7e13


def test_an_amount_too_large_for_dask_is_one_line(tmp_path):
    pytest.importorskip("dask.dataframe")
    lines = [("1", "a", "2024-01-01", 1, 9e12), ("1", "a", "2024-01-01", 1, 9e12)]
    frame(lines).to_parquet(tmp_path / "a.parquet", row_group_size=1)
    config = dataset(str(tmp_path / "a.parquet"), {"aggregate": "dask"}, reader="parquet")
    with pytest.raises(DataError, match=r"sum to more than 9.2e12"):
        load_customers(config)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs the extra dask")
def test_a_dask_cluster_gives_the_same_customers(tmp_path):
    from distributed import Client, LocalCluster

    frame().to_parquet(tmp_path / "a.parquet", row_group_size=2)
    config = dataset(str(tmp_path / "a.parquet"), {"aggregate": "dask"}, reader="parquet")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        assert load_customers(config).fingerprint == customers().fingerprint


def test_an_error_in_a_dask_worker_is_the_same_line(tmp_path):
    pytest.importorskip("dask.dataframe")
    frame([*LINES, ("7", "x", "never", 1, 1)]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"1 line with a day that is missing or no date"):
        load_customers(dataset(str(tmp_path / "a.csv"), {"aggregate": "dask"}))


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)
    with pytest.raises(ConfigError, match=r"pip install 'segexp\[dask\]'"):
        load_customers(dataset(csv_of(tmp_path, "x"), {"aggregate": "dask"}))


def test_dask_reads_files_only(tmp_path):
    pytest.importorskip("dask.dataframe")
    path = csv_of(tmp_path, "x", "log.rda")
    with pytest.raises(ConfigError, match=r"aggregate=dask reads csv and parquet"):
        load_customers(dataset(path, {"aggregate": "dask"}, reader="rda"))

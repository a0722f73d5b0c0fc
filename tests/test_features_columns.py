"""Steps on the whole table: sums, shares, years, days, levels, and which columns stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from segexp.components import build
from segexp.errors import ConfigError
from segexp.features import (
    ColumnShares,
    ColumnSums,
    DaysSince,
    DropColumns,
    KeepColumns,
    MapLevels,
    YearsSince,
)
from segexp.saved_model import dump_pipeline, load_pipeline

NAN = np.nan
CUSTOMERS = pd.DataFrame(
    {
        "born": [1984.0, 2014.0, NAN, 2020.0],
        "wine": [3.0, 0.0, NAN, 8.0],
        "fish": [1.0, 0.0, 2.0, -4.0],
        "status": np.array(["Married", "Single", None, "Widow"], dtype=object),
        "size": pd.Categorical(["S", None, "L", "S"], ["S", "M", "L"], ordered=True),
        "joined": pd.to_datetime(["2014-06-01", None, "2014-06-30", "2014-07-02"]),
    },
    index=[11, 12, 13, 14],
)
ADULTS = {"from": "status", "map": {"Married": 2}, "default": 1}

CASES = [
    ColumnSums({"monetary": ["wine", "fish"]}, drop=True),
    ColumnShares(["wine", "fish"]),
    YearsSince({"age": "born"}, until=2014, drop=True),
    DaysSince({"tenure": "joined"}, until="2014-06-30"),
    MapLevels({"adults": ADULTS, "length": {"from": "size", "map": {"S": 0.5, "L": 2}}}),
    KeepColumns(["fish", "born"]),
    DropColumns(["status", "size", "joined"]),
]
every_step = pytest.mark.parametrize("step", CASES, ids=lambda step: type(step).__name__)


def values(step: BaseEstimator, column: str, X: pd.DataFrame = CUSTOMERS) -> list[float]:
    return clone(step).fit_transform(X)[column].tolist()


def same(found: list[float], expected: list[float]) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


# What all of them keep.


@every_step
def test_names_out_are_the_columns(step):
    fitted = clone(step).fit(CUSTOMERS)
    assert list(fitted.get_feature_names_out()) == list(fitted.transform(CUSTOMERS))


@every_step
def test_rows_and_their_index_stay(step):
    assert list(clone(step).fit_transform(CUSTOMERS).index) == [11, 12, 13, 14]


@every_step
def test_the_table_is_not_changed(step):
    before = CUSTOMERS.copy()
    clone(step).fit_transform(CUSTOMERS)
    assert_frame_equal(CUSTOMERS, before)


@every_step
def test_a_clone_keeps_the_parameters(step):
    assert clone(clone(step).fit(CUSTOMERS)).get_params() == step.get_params()


@every_step
def test_pandas_output_changes_nothing(step):
    framed = clone(step).set_output(transform="pandas").fit_transform(CUSTOMERS)
    assert_frame_equal(framed, clone(step).fit_transform(CUSTOMERS))


@every_step
def test_a_row_alone_gives_what_it_gives_among_others(step):
    fitted = clone(step).fit(CUSTOMERS)
    assert_frame_equal(fitted.transform(CUSTOMERS[2:3]), fitted.transform(CUSTOMERS)[2:3])


@every_step
def test_no_rows_give_no_rows(step):
    fitted = clone(step).fit(CUSTOMERS)
    empty = fitted.transform(CUSTOMERS[:0])
    assert empty.shape == (0, len(fitted.get_feature_names_out()))


@every_step
def test_an_unfitted_step_says_so(step):
    with pytest.raises(NotFittedError):
        clone(step).transform(CUSTOMERS)


@every_step
def test_an_array_is_refused_in_a_line(step):
    with pytest.raises(ConfigError, match="needs a pandas DataFrame, got ndarray"):
        clone(step).fit(np.zeros((2, 2)))


@every_step
def test_a_saved_step_gives_the_same(step):
    pipeline = Pipeline([("step", clone(step))]).fit(CUSTOMERS)
    loaded = load_pipeline(dump_pipeline(pipeline), "pipeline.skops")
    assert_frame_equal(loaded.transform(CUSTOMERS), pipeline.transform(CUSTOMERS))


@every_step
def test_yaml_builds_the_step(step):
    node = {"_target_": f"segexp.features.{type(step).__name__}", **step.get_params()}
    assert build(node, "preprocessing.table.step").get_params() == step.get_params()


def test_steps_follow_each_other():
    steps = Pipeline(
        [
            ("adults", CASES[4]),
            ("sums", ColumnSums({"all": ["adults", "fish"]})),
            ("keep", KeepColumns(["all"])),
            ("scale", StandardScaler()),
        ]
    )
    found = steps.fit_transform(CUSTOMERS)[:, 0]
    # Of 3, 1, NaN and -3, mean 1/3.
    assert found == pytest.approx([1.0690, 0.2673, NAN, -1.3363], abs=1e-4, nan_ok=True)


# Sums and shares.


def test_a_sum_with_a_missing_part_is_missing():
    assert same(values(CASES[0], "monetary"), [4.0, 0.0, NAN, 4.0])


def test_drop_leaves_the_parts_out_and_puts_the_sum_last():
    found = clone(CASES[0]).fit_transform(CUSTOMERS)
    assert list(found) == ["born", "status", "size", "joined", "monetary"]


def test_a_sum_may_be_called_like_a_part_that_is_dropped():
    assert same(
        values(ColumnSums({"wine": ["wine", "fish"]}, drop=True), "wine"), [4.0, 0.0, NAN, 4.0]
    )


def test_whole_numbers_and_flags_add_up():
    X = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [True, False]})
    assert same(values(ColumnSums({"n": ["a", "b"]}), "n", X), [2.0, NAN])


def test_shares_of_nothing_of_a_missing_and_of_a_negative_part_are_missing():
    assert same(values(CASES[1], "wine_share"), [0.75, NAN, NAN, NAN])


def test_the_shares_of_a_customer_add_up_to_one():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(50, 3)), columns=["a", "b", "c"])
    shares = ColumnShares(["a", "b", "c"], drop=True).fit_transform(X)
    assert shares.sum(axis=1).to_numpy() == pytest.approx(np.ones(50))


# Years and days.


def test_years_count_to_the_year_that_is_given():
    assert same(values(CASES[2], "age"), [30.0, 0.0, NAN, -6.0])


def test_days_count_to_the_day_that_is_given():
    assert same(values(CASES[3], "tenure"), [29.0, NAN, 0.0, -2.0])


def test_a_time_of_the_day_is_part_of_a_day():
    step = DaysSince({"tenure": "joined"}, until="2014-06-30 12:00")
    assert values(step, "tenure")[0] == 29.5


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_days_are_days_in_every_unit_of_time(unit):
    X = pd.DataFrame({"joined": CUSTOMERS["joined"].astype(f"datetime64[{unit}]")})
    assert same(values(CASES[3], "tenure", X), [29.0, NAN, 0.0, -2.0])


# Levels.


def test_levels_become_numbers_and_a_missing_one_stays_missing():
    assert same(values(CASES[4], "adults"), [2.0, 1.0, NAN, 1.0])


def test_without_a_default_other_levels_are_missing():
    step = MapLevels({"adults": {"from": "status", "map": {"Married": 2, "Single": 1}}})
    assert same(values(step, "adults"), [2.0, 1.0, NAN, NAN])


def test_ordered_levels_are_mapped():
    assert same(values(CASES[4], "length"), [0.5, NAN, 2.0, 0.5])


def test_a_level_that_fit_did_not_see_gets_the_default():
    fitted = clone(CASES[4]).fit(CUSTOMERS)
    new = CUSTOMERS.assign(status="Divorced")
    assert fitted.transform(new)["adults"].tolist() == [1.0] * 4


def test_a_column_without_any_level_is_missing_everywhere():
    step = MapLevels({"adults": ADULTS})
    X = CUSTOMERS.assign(status=pd.Series([None] * 4, dtype=object, index=CUSTOMERS.index))
    assert same(values(step, "adults", X), [NAN] * 4)


# Which columns stay.


def test_kept_columns_come_in_the_order_of_their_names():
    assert list(KeepColumns(["fish", "born"]).fit_transform(CUSTOMERS)) == ["fish", "born"]


def test_dropped_columns_are_gone():
    assert list(DropColumns(["born", "size"]).fit_transform(CUSTOMERS)) == [
        "wine", "fish", "status", "joined",
    ]  # fmt: skip


# Slips are one line each.


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (ColumnSums({"n": ["wine", "fsh"]}), "no column 'fsh'; did you mean 'fish'?"),
        (ColumnSums({"n": ["zzzzzz"]}), "there is born, wine, fish, status, size, joined"),
        (ColumnSums({"n": []}), r"needs a list of columns, got \[\]"),
        (ColumnSums({"n": "wine"}), "needs a list of columns, got 'wine'"),
        (ColumnSums({"n": [["wine"]]}), r"no column \['wine'\]"),
        (ColumnSums({"n": ["wine", "wine"]}), "'wine' is named twice in one list"),
        (ColumnSums({"n": ["wine", "status"]}), "takes numeric columns, and 'status' is categor"),
        (ColumnSums({"born": ["wine", "fish"]}), "has a column 'born' already"),
        (ColumnSums(["wine"]), r"needs columns such as \{monetary"),
        (ColumnSums({}), "needs columns such as"),
        (ColumnSums({1: ["wine"]}), "needs columns such as"),
        (ColumnShares(["wine"]), "needs two columns or more, got 'wine' alone"),
        (ColumnShares(["wine", "joined"]), "takes numeric columns, and 'joined' is date"),
        (ColumnShares({"a": ["wine"]}), "needs a list of columns"),
        (YearsSince({"age": "brn"}, until=2014), "did you mean 'born'?"),
        (YearsSince({"age": "status"}, until=2014), "takes numeric columns, and 'status' is"),
        (YearsSince({"age": "joined"}, until=2014), "takes numeric columns, and 'joined' is date"),
        (YearsSince({"age": "born"}, until="today"), "needs a year such as until: 2014"),
        (YearsSince({"age": "born"}, until=None), "needs a year such as until: 2014"),
        (YearsSince({"age": ["born"]}, until=2014), r"no column \['born'\]"),
        (DaysSince({"tenure": "born"}, until="2014-06-30"), "takes date columns, and 'born' is"),
        (DaysSince({"tenure": "joined"}, until="today"), "needs a day such as"),
        (DaysSince({"tenure": "joined"}, until="30-06-2014"), "needs a day such as"),
        (DaysSince({"tenure": "joined"}, until=2014), "needs a day such as"),
        (DaysSince({"tenure": "joined"}, until="2014-06-30T00:00Z"), "needs a day such as"),
        (MapLevels({"n": {"from": "status"}}), "columns.n needs from and map"),
        (MapLevels({"n": {**ADULTS, "defualt": 1}}), "did you mean 'default'?"),
        (MapLevels({"n": {**ADULTS, "from": "wine"}}), "categorical and ordinal columns, and 'wi"),
        (MapLevels({"n": {**ADULTS, "from": "stats"}}), "did you mean 'status'?"),
        (MapLevels({"n": {**ADULTS, "map": {"maried": 2}}}), "did you mean 'Married'?"),
        (MapLevels({"n": {**ADULTS, "map": {True: 2}}}), "put True in quotes"),
        (MapLevels({"n": {**ADULTS, "map": {"Married": "two"}}}), "must be a number, got 'two'"),
        (MapLevels({"n": {**ADULTS, "map": []}}), "map needs level: number"),
        (MapLevels({"n": {**ADULTS, "default": "one"}}), "default must be a number, got 'one'"),
        (KeepColumns("wine"), "needs a list of columns, got 'wine'"),
        (KeepColumns(["wine", "wines"]), "no column 'wines'; did you mean 'wine'?"),
        (DropColumns(["wines"]), "no column 'wines'; did you mean 'wine'?"),
        (DropColumns(list(CUSTOMERS)), "leaves no column"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_a_slip_is_one_line(step: Any, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        clone(step).fit(CUSTOMERS)
    assert "\n" not in str(caught.value)


def test_text_that_comes_later_in_a_numeric_column_is_one_line():
    fitted = clone(CASES[2]).fit(CUSTOMERS)
    late = CUSTOMERS.assign(born=pd.Series(["1984", "old", "x", "y"], index=CUSTOMERS.index))
    with pytest.raises(ConfigError, match="takes numeric columns, and 'born' is categorical"):
        fitted.transform(late)

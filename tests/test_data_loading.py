"""From cells to a dataset: roles, types, rules, duplicates, segments, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.cells import parse_dates, parse_numbers, text_column
from segexp.data.loading import Dataset, load_dataset, schema_of, segment_counts
from segexp.data.roles import check_columns
from segexp.errors import DataError, SegexpError

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
Load = Callable[..., Dataset]


def config(**keys: Any) -> DatasetConfig:
    return DatasetConfig(**{**DEFAULTS, "name": "test", "path": "table.csv", **keys})


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a table written as CSV, with dataset keys."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, group: str | None = None, **keys: Any) -> Dataset:
        Path("table.csv").write_text(text, "utf-8")
        return load_dataset(config(**keys), group)

    return load_text


@pytest.fixture
def error(load: Load) -> Callable[..., str]:
    """Return the one line that a table which cannot be loaded is answered with."""

    def load_wrong(text: str, **keys: Any) -> str:
        with pytest.raises(SegexpError) as caught:
            load(text, **keys)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return load_wrong


def said(dataset: Dataset, code: str) -> list[str]:
    return [finding.message for finding in dataset.findings if finding.code == code]


def column_of(name: str, *cells: object) -> str:
    """One column as CSV, beside one that is never wrong."""
    return f"{name},other\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells))


# --- names ----------------------------------------------------------------------------------


def test_a_column_that_is_not_there_is_named_with_its_neighbour() -> None:
    with pytest.raises(DataError, match=r"dataset\.numeric names the column 'Agee'.*mean 'Age'"):
        check_columns(config(numeric=["Agee"]), ["ID", "Age"])


def test_a_column_of_another_section_is_checked() -> None:
    with pytest.raises(DataError, match=r"evaluation\.group names the column 'shop'"):
        check_columns(config(), ["ID", "Age"], {"evaluation.group": "shop"})


def test_a_rule_for_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"dataset\.rules names the column 'age'"):
        check_columns(config(rules={"age": {"min": 0}}), ["ID", "Age"])


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(DataError, match="column 'Age' occurs 2 times"):
        check_columns(config(), ["Age", "ID", "Age"])


def test_undeclared_columns_can_be_refused() -> None:
    with pytest.raises(DataError, match="no role is declared for 'Age', 'Zip'"):
        check_columns(config(id="ID", other_columns="error"), ["ID", "Age", "Zip"])


# --- types ----------------------------------------------------------------------------------


def test_the_dtypes_are_the_roles(load: Load) -> None:
    text = "age,city,size,since\n30,Ulm,M,31.01.2024\n,,,\n40.5,Bonn,S,1/2/2024\n"
    dataset = load(
        text,
        numeric=["age"],
        categorical=["city"],
        ordinal={"size": ["S", "M", "L"]},
        date=["since"],
        dayfirst=True,
    )
    expected = pd.DataFrame(
        {
            "age": [30.0, 40.5],
            "city": pd.Series(["Ulm", "Bonn"], dtype=object),
            "size": pd.Categorical(["M", "S"], pd.Index(["S", "M", "L"], dtype=object), True),
            "since": np.array(["2024-01-31", "2024-02-01"], "M8[ns]"),
        }
    )
    pd.testing.assert_frame_equal(dataset.X, expected)
    assert said(dataset, "empty_rows") == ["1 row without any value dropped"]


def test_missing_cells_are_nan_in_every_type(load: Load) -> None:
    text = "age,city,size,since,other\n?,NA,-,null,1\n1,a,S,2024-01-01,2\n"
    X = load(text, categorical=["city"], ordinal={"size": ["S", "M"]}, date=["since"]).X
    assert X.isna().iloc[0].tolist() == [True, True, True, True, False]
    assert X["city"].iloc[0] is np.nan


def test_tokens_are_compared_after_stripping_and_counted(load: Load) -> None:
    dataset = load(column_of("age", " ? ", "?", 3, "NA", "", 4))
    assert said(dataset, "token") == ["column 'age': 3 cells taken as missing, '?' (2), 'NA' (1)"]
    assert said(dataset, "missing") == ["column 'age': 4 of 6 cells missing"]


def test_a_token_may_be_a_number(load: Load) -> None:
    assert load(column_of("age", -999, "-999.0", 5), missing_tokens=["-999"]).X[
        "age"
    ].isna().tolist() == [True, True, False]


@pytest.mark.parametrize("text", ["0.1", "1e-7", "+3", "-.5", "5.", "1.7976931348623157e29"])
def test_numbers_are_rounded_as_python_rounds_them(text: str) -> None:
    assert parse_numbers(text_column([text]))[0] == float(text)


@pytest.mark.parametrize("text", ["1_000", "inf", "nan", "0x10", "1,5", "", "1 000", "--1", "e5"])
def test_what_is_no_number_is_not_read_as_one(text: str) -> None:
    assert np.isnan(parse_numbers(text_column([text]))[0])


def test_the_decimal_mark_may_be_a_comma() -> None:
    numbers = parse_numbers(text_column(["1,5", "2", "1.000", None]), decimal=",")
    assert numbers[:2].tolist() == [1.5, 2.0]
    assert np.isnan(numbers[2:]).all()


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "2024/1/31",
        "20240131",
        "31-01-2024",
        "31.1.2024",
        "31/01/2024",
        "31 Jan 2024",
        "31-January-2024",
        "Jan 31, 2024",
        "2024-01-31T00:00:00Z",
        "2024-01-31 00:00+05:30",
    ],
)
def test_dates_are_read_in_many_forms(text: str) -> None:
    assert parse_dates(text_column([text]), dayfirst=True)[0] == np.datetime64("2024-01-31", "ns")


@pytest.mark.parametrize(
    "text", ["31-01-24", "32-01-2024", "2024-13-01", "1677-01-01", "9999-12-31", "soon", "5", ""]
)
def test_what_is_no_date_is_not_read_as_one(text: str) -> None:
    assert np.isnat(parse_dates(text_column([text]), dayfirst=True)[0])


def test_dayfirst_decides_between_april_and_september() -> None:
    column = text_column(["04-09-2012 8:30"])
    assert str(parse_dates(column, dayfirst=True)[0])[:16] == "2012-09-04T08:30"
    assert str(parse_dates(column, dayfirst=False)[0])[:16] == "2012-04-09T08:30"


@pytest.mark.parametrize("dayfirst", [False, True])
def test_with_dots_the_day_comes_first(dayfirst: bool) -> None:
    column = text_column(["04.09.2012 8:30"])
    assert str(parse_dates(column, dayfirst=dayfirst)[0])[:16] == "2012-09-04T08:30"


def test_levels_may_be_numbers_in_yaml(load: Load) -> None:
    X = load(column_of("stars", 2, "1.0", 3), ordinal={"stars": [1, 2, 3]}).X
    assert X["stars"].tolist() == ["2", "1", "3"]
    assert X["stars"].cat.categories.tolist() == ["1", "2", "3"]


def test_equal_levels_are_refused(error: Callable[..., str]) -> None:
    said = error(column_of("stars", 1, 2), ordinal={"stars": [1, "1", 2]})
    assert "dataset.ordinal.stars must list different values" in said


# --- invalid cells --------------------------------------------------------------------------


def test_text_in_a_numeric_column_is_refused_with_examples(error: Callable[..., str]) -> None:
    said = error(column_of("age", 1, "abc", "inf", "1e31", "x"), numeric=["age"])
    assert "column 'age' (numeric): 4 cells not usable as numbers" in said
    assert "'abc' (row 2), 'inf' (row 3), '1e31' (row 4); say dataset.invalid_values=miss" in said


def test_unknown_levels_are_refused(error: Callable[..., str]) -> None:
    said = error(column_of("size", "S", "XL", "M"), ordinal={"size": ["S", "M"]})
    assert "column 'size' (ordinal): 1 cell not among the levels S, M, e.g. 'XL' (row 2)" in said


def test_dates_that_cannot_be_read_are_refused(error: Callable[..., str]) -> None:
    said = error(column_of("since", "31-01-2024", "01-02-2024"), date=["since"])
    assert "1 cell not readable as dates with dataset.dayfirst=false" in said


def test_every_column_with_invalid_cells_is_named(error: Callable[..., str]) -> None:
    assert "; 'b' too; say" in error("a,b\n1,2\nx,y\n", numeric=["a", "b"])


def test_invalid_cells_can_be_set_to_missing(load: Load) -> None:
    dataset = load(column_of("age", 1, "abc", 3), numeric=["age"], invalid_values="missing")
    assert dataset.X["age"].isna().tolist() == [False, True, False]
    assert said(dataset, "invalid")[0].endswith("e.g. 'abc' (row 2), set to missing")


def test_row_numbers_are_those_of_the_table_as_read(error: Callable[..., str]) -> None:
    text = "age,other\n1,1\n1,1\nx,2\n"
    assert "'x' (row 3)" in error(text, numeric=["age"], duplicate_rows="drop")


# --- rules ----------------------------------------------------------------------------------


def test_values_are_replaced_all_at_once(load: Load) -> None:
    rules = {"city": {"replace": {"a": "b", "b": "a", "x": None, "z": "y"}}}
    dataset = load(column_of("city", "a", "b", "x"), categorical=["city"], rules=rules)
    assert dataset.X["city"].tolist()[:2] == ["b", "a"]
    assert said(dataset, "rule")[2] == "column 'city': 1 cell changed from 'x' to missing"
    assert said(dataset, "rule_unused") == [
        "column 'city': the value 'z' of dataset.rules never occurs"
    ]


def test_missing_cells_can_be_given_a_value(load: Load) -> None:
    rules = {"city": {"replace": {None: "none", 1.0: True}}}
    dataset = load(column_of("city", "a", "?", "1"), categorical=["city"], rules=rules)
    assert dataset.X["city"].tolist() == ["a", "none", "True"]


def test_numbers_outside_the_limits_are_missing(load: Load) -> None:
    dataset = load(column_of("year", 1893, 1950, 2050), rules={"year": {"min": 1900, "max": 2020}})
    assert dataset.X["year"].isna().tolist() == [True, False, True]
    assert said(dataset, "rule") == [
        "column 'year': 2 cells outside min 1900 and max 2020 set to missing"
    ]


def test_limits_need_a_numeric_column(error: Callable[..., str]) -> None:
    said = error(column_of("city", "a", "b"), categorical=["city"], rules={"city": {"max": 3}})
    assert "dataset.rules.city: min and max need a numeric column" in said


# --- inferred roles -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cells", "role"),
    [
        ("age", [1, 2.5, ""], "numeric"),
        ("flag", [0, 1, 1], "numeric"),
        ("zip", ["00501", "10001", "00501"], "categorical"),
        ("age", [*range(18), "x", "y"], "numeric"),
        ("city", ["a", "b", "a"], "categorical"),
        ("vip", ["yes", "", "yes"], "categorical"),
        ("since", ["2024-01-31", "2024-02-01", ""], "date"),
        ("since", ["2024-01-31 08:30", "2024-02-01T09:00:00", ""], "date"),
        ("since", ["31-01-2024", "01-02-2024", ""], "ignore"),
        ("name", [f"name {i}" for i in range(30)], "ignore"),
        ("town", [f"town {i % 21}" for i in range(60)], "categorical"),
        ("shop", ["one", "one", "one"], "ignore"),
        ("gap", ["", "?", ""], "ignore"),
        ("", [1, 2, 3], "ignore"),
        ("id", [7, 8, 9], "id"),
        ("customer_id", ["a7", "a8", "a9"], "id"),
        ("CustomerID", [7, 8, 9], "id"),
        ("customerid", [7, 8, 9], "id"),
        ("paid", [7, 8, 9], "numeric"),
        ("PAID", [7, 8, 9], "numeric"),
        ("acid", [7, 8, 9], "numeric"),
        ("grid_id", [0.5, 1.5, 2.5], "numeric"),
        ("shop_id", [1, 2, 1], "categorical"),
        ("order_id", [*range(25), 1], "ignore"),
    ],
)
def test_a_column_without_a_role_takes_the_one_that_fits(
    load: Load, name: str, cells: list[object], role: str
) -> None:
    dataset = load(column_of(name, *cells), numeric=["other"], invalid_values="missing")
    assert name in dataset.roles[role]
    assert len(said(dataset, "role")) == 1


def test_a_declared_id_is_the_only_one(load: Load) -> None:
    dataset = load("key,id,age\n7,1,5\n8,2,6\n", id="key")
    assert (dataset.roles["id"], dataset.roles["ignore"]) == (("key",), ("id",))
    assert dataset.ids.tolist() == ["7", "8"]


def test_other_columns_can_be_ignored(load: Load) -> None:
    dataset = load("age,city\n5,a\n6,b\n", numeric=["age"], other_columns="ignore")
    assert list(dataset.X) == ["age"]
    assert dataset.roles["ignore"] == ("city",)


# --- duplicates -----------------------------------------------------------------------------

TWICE = "id,age\n7,30\n8,40\n7,30.0\n9,40\n"


def test_equal_rows_are_kept_dropped_or_refused(load: Load, error: Callable[..., str]) -> None:
    assert len(load(TWICE, duplicate_rows="keep", id="id", duplicate_ids="keep").X) == 4
    dropped = load(TWICE, duplicate_rows="drop", id="id")
    assert dropped.ids.tolist() == ["7", "8", "9"]
    assert said(dropped, "duplicate_rows") == [
        "1 row equal to an earlier row in every column dropped"
    ]
    assert dropped.n_rows_read == 4
    assert "e.g. row 3; say dataset.duplicate_rows=drop" in error(TWICE, duplicate_rows="error")


def test_rows_equal_but_for_the_id_are_counted(load: Load) -> None:
    assert said(load(TWICE, duplicate_rows="drop", id="id"), "equal_but_id") == [
        "1 row equal to an earlier row in every column but the id, kept"
    ]


def test_ids_that_occur_twice_are_refused_with_the_ways_out(error: Callable[..., str]) -> None:
    said = error("id,age\n7,1\n8,2\n7,3\n", id="id")
    assert "1 id shared by 2 rows, e.g. '7' (rows 1 and 3)" in said
    assert "dataset.duplicate_ids=keep" in said
    assert all(way in said for way in ("first", "last", "error", "duplicate_rows=drop"))


@pytest.mark.parametrize(
    ("how", "ages"), [("keep", [1, 2, 3]), ("first", [1, 2]), ("last", [2, 3])]
)
def test_one_row_of_each_id_can_be_kept(load: Load, how: str, ages: list[int]) -> None:
    dataset = load("id,age\n7,1\n8,2\n7,3\n", id="id", duplicate_ids=how)
    assert dataset.X["age"].tolist() == ages
    assert dataset.X.index.tolist() == list(range(len(ages)))
    assert len(said(dataset, "duplicate_ids")) == 1


def test_a_missing_id_is_refused(error: Callable[..., str]) -> None:
    assert "1 row without an id, e.g. row 2" in error("id,age\n7,1\n,2\n", id="id")


def test_rows_without_an_id_column_are_numbered_as_read(load: Load) -> None:
    dataset = load("age,city\n1,a\n1,a\n2,b\n", duplicate_rows="drop")
    assert dataset.ids.tolist() == ["1", "3"]


# --- segments and groups --------------------------------------------------------------------


def test_segments_are_sorted_by_name(load: Load) -> None:
    dataset = load(column_of("segment", "b", "a", "b", "b"), target="segment")
    assert dataset.segments == ("a", "b")
    assert dataset.y is not None
    assert dataset.y.tolist() == [1, 0, 1, 1]
    assert segment_counts(dataset) == {"a": 1, "b": 3}
    assert list(dataset.X) == ["other"]


def test_numeric_segments_are_sorted_by_value(load: Load) -> None:
    dataset = load(column_of("segment", 10, 2, "10.0", 2), target="segment")
    assert dataset.segments == ("2", "10")


def test_rows_without_a_segment_are_refused_or_dropped(
    load: Load, error: Callable[..., str]
) -> None:
    text = column_of("segment", "b", "?", "a", "b", "b")
    assert "1 row without a segment, e.g. row 2" in error(text, target="segment")
    dataset = load(text, target="segment", missing_target="drop")
    assert dataset.X["other"].tolist() == [0, 2, 3, 4]
    assert len(said(dataset, "missing_target")) == 1


def test_without_a_target_there_are_no_segments(load: Load) -> None:
    dataset = load("age\n1\n2\n")
    assert (dataset.y, dataset.segments, segment_counts(dataset)) == (None, (), {})


def test_a_target_that_is_no_segment_is_refused(error: Callable[..., str]) -> None:
    assert "has 1 segment in 3 rows" in error(column_of("s", "a", "a", "a"), target="s")
    many = error(column_of("s", *range(10)), target="s")
    assert "has 10 different values in 10 rows: that looks like a number or an id" in many
    names = [i // 2 for i in range(202)]
    assert "has 101 different values" in error(column_of("s", *names), target="s")


def test_rows_of_one_group_have_one_code_and_gaps_are_groups_of_their_own(load: Load) -> None:
    groups = load("shop,age\na,1\n,2\nb,3\na,4\n,5\n", group="shop", ignore=["shop"]).groups
    assert groups is not None
    assert groups.tolist() == [0, 2, 1, 0, 3]


@pytest.mark.parametrize(
    "keys", [{}, {"categorical": ["shop"]}, {"other_columns": "error", "numeric": ["age"]}], ids=str
)
def test_the_column_that_groups_rows_is_no_feature(load: Load, keys: dict[str, Any]) -> None:
    dataset = load("shop,age\na,1\nb,2\nb,3\na,4\n", group="shop", **keys)
    assert list(dataset.X) == ["age"]
    assert dataset.roles["ignore"] == ("shop",)
    (said,) = (found.message for found in dataset.findings if "'shop'" in found.message)
    assert said.endswith("rows are grouped by it (evaluation.group), so it is no feature")


def test_an_id_that_groups_rows_is_still_the_id(load: Load) -> None:
    dataset = load("ID,age\na,1\nb,2\n", group="ID", id="ID")
    assert dataset.ids.tolist() == ["a", "b"]


# --- tables that cannot be used -------------------------------------------------------------


def test_a_table_without_rows_is_refused(error: Callable[..., str]) -> None:
    assert "has column names but no rows" in error("id,age\n")
    assert "every row is empty" in error("id,age\n,\n?,NA\n")
    target = {"target": "s", "missing_target": "drop"}
    assert "no row has a value in 's'" in error("s,age\n,1\n,2\n", **target)


def test_a_declared_column_without_a_value_is_refused(error: Callable[..., str]) -> None:
    said = error("age,city\n1,\n2,?\n", categorical=["city"])
    assert "column 'city' (categorical) has no usable value in any row" in said


def test_a_table_without_features_is_refused(error: Callable[..., str]) -> None:
    assert "has no feature column" in error("id,age\n1,5\n2,5\n")


def test_a_declared_constant_is_found(load: Load) -> None:
    dataset = load(column_of("age", 5, 5), numeric=["age"])
    assert said(dataset, "constant") == ["column 'age' has the same value in every row"]


def test_a_wrong_checksum_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(tmp_path))
    (tmp_path / "table.csv").write_text("age\n1\n2\n", "utf-8")
    published = {"table.csv": {"sha256": "0" * 64, "urls": ["https://example.org/table.csv"]}}
    dataset = load_dataset(config(downloads=published))
    assert said(dataset, "checksum") == ["table.csv is not the published file: its sha256 differs"]
    assert dataset.files == ({"path": "table.csv", "origin": "data_dir", "sha256_ok": False},)


def test_the_schema_of_a_dataset_is_json(load: Load) -> None:
    text = (
        "id,s,age,city,size,since\n1,a,30,Ulm,S,2024-01-31\n2,b,,Ulm,M,\n3,a,4,Bonn,S,\n4,b,1,,,\n"
    )
    dataset = load(text, target="s", ordinal={"size": ["S", "M", "L"]}, date=["since"])
    schema = json.loads(json.dumps(schema_of(dataset), allow_nan=False))
    assert schema == {
        "columns": {
            "age": {"role": "numeric", "missing": 0.25, "min": 1.0, "max": 30.0},
            "city": {
                "role": "categorical",
                "missing": 0.25,
                "n_levels": 2,
                "levels": ["Ulm", "Bonn"],
            },
            "size": {"role": "ordinal", "missing": 0.25, "levels": ["S", "M", "L"]},
            "since": {
                "role": "date",
                "missing": 0.75,
                "min": "2024-01-31T00:00:00",
                "max": "2024-01-31T00:00:00",
            },
        },
        "id": "id",
        "target": "s",
        "segments": ["a", "b"],
    }

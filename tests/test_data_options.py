"""The shipped dataset options, on the published files: the facts that are known about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.loading import Dataset, load_dataset, segment_counts
from segexp.data.readers import read_header
from segexp.data.roles import check_columns

CONF = shipped_conf()
DEFAULTS = read_yaml(CONF / "segexp.yaml")["dataset"]
PUBLISHED = ("automobile", "automobile_merged", "mall", "marketing_campaign")


def config(option: str, **keys: Any) -> DatasetConfig:
    return DatasetConfig(**{**DEFAULTS, **read_yaml(CONF / "dataset" / f"{option}.yaml"), **keys})


@pytest.fixture(autouse=True)
def _published_files(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGEXP_DATA_DIR", str(data_dir))


def found(dataset: Dataset, code: str) -> dict[str, int]:
    """Column (or whole message) to count, for the findings of one code."""
    named = [(finding.message.split("'"), finding) for finding in dataset.findings]
    return {
        parts[1] if parts[0] == "column " else finding.message: finding.count
        for parts, finding in named
        if finding.code == code
    }


@pytest.mark.parametrize("option", PUBLISHED)
def test_published_files_are_the_ones_with_the_checksum(option: str) -> None:
    chosen = config(option)
    assert set(chosen.downloads) == set(chosen.paths)
    dataset = load_dataset(chosen)
    assert [file["sha256_ok"] for file in dataset.files] == [True] * len(chosen.paths)
    assert [file["path"] for file in dataset.files] == chosen.paths
    assert found(dataset, "checksum") == {}


@pytest.mark.parametrize("option", PUBLISHED)
def test_every_column_of_a_published_file_has_a_declared_role(option: str) -> None:
    chosen = config(option)
    assert chosen.other_columns == "error"
    check_columns(chosen, read_header(chosen))


def test_automobile_has_the_published_counts() -> None:
    dataset = load_dataset(config("automobile"))
    assert dataset.X.shape == (8068, 9)
    assert segment_counts(dataset) == {"A": 1972, "B": 1858, "C": 1970, "D": 2268}
    assert found(dataset, "missing") == {
        "Ever_Married": 140,
        "Graduated": 78,
        "Profession": 124,
        "Work_Experience": 829,
        "Family_Size": 335,
        "Var_1": 76,
    }
    assert dataset.X.duplicated().sum() == 734
    assert dataset.ids.iloc[0] == "462809" and dataset.ids.is_unique


def test_automobile_never_has_the_id_as_a_feature() -> None:
    dataset = load_dataset(config("automobile"))
    assert "ID" not in dataset.X
    assert dataset.roles["id"] == ("ID",)


def test_automobile_has_the_roles_that_are_declared() -> None:
    X = load_dataset(config("automobile")).X
    assert list(X.select_dtypes("float64")) == ["Age", "Work_Experience", "Family_Size"]
    assert X["Spending_Score"].cat.categories.tolist() == ["Low", "Average", "High"]
    assert X["Spending_Score"].cat.ordered
    assert X["Gender"].dtype == object


def test_the_merged_customers_come_twice_and_belong_together() -> None:
    dataset = load_dataset(config("automobile_merged"), group="ID")
    assert dataset.n_rows_read == len(dataset.X) == 8068 + 2627
    assert found(dataset, "duplicate_ids") == {"ID": 2332}
    assert dataset.groups is not None
    assert len(np.unique(dataset.groups)) == 8068 + 2627 - 2332


def test_marketing_campaign_has_the_published_counts() -> None:
    dataset = load_dataset(config("marketing_campaign"))
    assert dataset.X.shape == (2240, 25)
    assert segment_counts(dataset) == {"0": 1906, "1": 334}
    assert sum(found(dataset, "equal_but_id").values()) == 182
    education = dataset.X["Education"].value_counts(sort=False)
    assert education.to_dict() == {
        "Basic": 54,
        "2n Cycle": 203,
        "Graduation": 1127,
        "Master": 370,
        "PhD": 486,
    }
    assert dataset.roles["ignore"] == ("Z_CostContact", "Z_Revenue")


def test_marketing_campaign_reads_its_dates_day_first() -> None:
    dates = load_dataset(config("marketing_campaign")).X["Dt_Customer"]
    assert (dates.min(), dates.max()) == (pd.Timestamp("2012-07-30"), pd.Timestamp("2014-06-29"))


def test_marketing_campaign_loses_its_impossible_values() -> None:
    X = load_dataset(config("marketing_campaign")).X
    assert set(X["Marital_Status"].dropna()) == {
        "Married",
        "Together",
        "Single",
        "Divorced",
        "Widow",
    }
    assert X["Marital_Status"].isna().sum() == 2 + 2
    assert X["Income"].isna().sum() == 24 + 1 and X["Income"].max() == 162397
    assert X["Year_Birth"].isna().sum() == 3 and X["Year_Birth"].min() == 1940


def test_mall_has_no_segments() -> None:
    dataset = load_dataset(config("mall"))
    assert (dataset.X.shape, dataset.y, dataset.segments) == ((200, 4), None, ())
    assert dataset.X["Gender"].value_counts().to_dict() == {"Female": 112, "Male": 88}
    assert dataset.X["Annual Income (k$)"].agg(["min", "max"]).tolist() == [15, 137]
    assert dataset.findings == ()


def test_a_dirty_table_loads_with_two_words() -> None:
    dirty = config("csv", path="mall_dirty/Mall_Customers_812.csv", duplicate_rows="drop")
    dataset = load_dataset(dirty)
    assert (dataset.n_rows_read, len(dataset.X)) == (812, 800)
    tokens = {"Age": 10, "Annual Income (k$)": 30, "Spending Score (1-100)": 60}
    assert found(dataset, "token") == tokens
    assert dataset.X.isna().sum().to_dict() == {"Gender": 0, **tokens}
    assert dataset.roles["id"] == ("CustomerID",)
    assert dataset.roles["categorical"] == ("Gender",)


@pytest.mark.parametrize("option", ["automobile", "marketing_campaign"])
@pytest.mark.parametrize("store", ["parquet", "sqlite", "postgresql"])
def test_the_store_does_not_matter(
    option: str, store: str, tmp_path: Path, data_dir: Path, request: pytest.FixtureRequest
) -> None:
    published = config(option)
    table = pd.read_csv(data_dir / str(published.path), sep=None, engine="python")
    if store == "parquet":
        table.to_parquet(tmp_path / "table.parquet")
        stored = config(option, reader="parquet", path=str(tmp_path / "table.parquet"))
    else:
        url = f"sqlite:///{tmp_path}/shop.db"
        url = str(request.getfixturevalue(store)) if store == "postgresql" else url
        engine = sqlalchemy.create_engine(url)
        table.to_sql(option, engine, index_label="row", if_exists="replace")
        engine.dispose()
        columns = ", ".join(f'"{name}"' for name in table)
        query = f"select {columns} from {option} order by row"
        stored = config(option, reader="sql", url=url, query=query, path=None)
    one, other = load_dataset(published), load_dataset(stored)
    assert one.fingerprint == other.fingerprint
    pd.testing.assert_frame_equal(one.X, other.X)
    pd.testing.assert_series_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.y, other.y)

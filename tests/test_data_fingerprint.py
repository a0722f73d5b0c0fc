"""The fingerprint: equal for equal content however it is stored, different for any change."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import sqlalchemy

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.cells import Cells, clean, text_table
from segexp.data.fingerprint import fingerprint
from segexp.data.loading import Dataset, load_dataset

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
DAYS = pd.to_datetime(["2024-01-31", "2023-05-01", "2020-02-29", "2020-02-29"])
CUSTOMERS = pd.DataFrame(
    {
        "id": [5, 100_001, 100_002, 100_003, 10_000_000_000],
        "age": [30.0, np.nan, 41.0, 18.0, 30.0],
        "spend": [0.1, 1e-7, 1234.5, -0.0, 3.0],
        "city": ["Ulm", None, 'Zoë\'s, "K"', "007", "Bonn"],
        "member": [True, False, True, True, False],
        "size": [1, 3, 2, 1, 2],
        "since": pd.Series([*DAYS, pd.NaT]),
        "seen": pd.Series([*DAYS, pd.NaT]) + pd.Timedelta(hours=8.5),
        "segment": ["b", "a", "b", "a", "a"],
    }
)
ROLES = {
    "id": "id",
    "target": "segment",
    "categorical": ["member", "city"],
    "ordinal": {"size": [1, 2, 3]},
    "date": ["since", "seen"],
}


def cells(table: pd.DataFrame) -> Cells:
    raw = text_table(list(table.columns), [table[name] for name in table.columns])
    return clean(raw, [])[0]


def digest(table: pd.DataFrame, **keys: Any) -> str:
    return fingerprint(cells(table), **keys)


def load(reader: str, **keys: Any) -> Dataset:
    return load_dataset(
        DatasetConfig(**{**DEFAULTS, "name": "test", "reader": reader, **ROLES, **keys})
    )


@pytest.fixture
def as_csv(tmp_path: Path) -> Dataset:
    CUSTOMERS.to_csv(tmp_path / "table.csv", index=False)
    return load("csv", path=str(tmp_path / "table.csv"))


def assert_equal(left: Dataset, right: Dataset) -> None:
    assert left.fingerprint == right.fingerprint
    pd.testing.assert_frame_equal(left.X, right.X)
    pd.testing.assert_series_equal(left.ids, right.ids)
    np.testing.assert_array_equal(left.y, right.y)
    assert (left.segments, left.roles) == (right.segments, right.roles)


def test_parquet_gives_the_dataset_of_csv(as_csv: Dataset, tmp_path: Path) -> None:
    CUSTOMERS.to_parquet(tmp_path / "table.parquet")
    assert_equal(load("parquet", path=str(tmp_path / "table.parquet")), as_csv)


def test_parquet_without_pandas_gives_the_dataset_of_csv(as_csv: Dataset, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(CUSTOMERS.astype({"city": "category"}), preserve_index=False)
    table = table.set_column(1, "age", table["age"].cast(pa.int8()))
    pa.parquet.write_table(table, tmp_path / "table.parquet", row_group_size=2)
    assert_equal(load("parquet", path=str(tmp_path / "table.parquet")), as_csv)


def test_sqlite_gives_the_dataset_of_csv(as_csv: Dataset, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    # SQLite knows no booleans.
    _store(CUSTOMERS.astype({"member": str}), url)
    assert_equal(load("sql", url=url, table="customers"), as_csv)


def test_postgresql_gives_the_dataset_of_csv(as_csv: Dataset, postgresql: str) -> None:
    _store(CUSTOMERS, postgresql)
    assert_equal(load("sql", url=postgresql, table="customers"), as_csv)


def _store(table: pd.DataFrame, url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    table.to_sql("customers", engine, index=False, if_exists="replace")
    engine.dispose()


def test_the_fingerprint_is_a_digest_of_names_lengths_and_cells() -> None:
    """A change of these bytes makes recorded runs incomparable: raise VERSION with it."""
    sizes, name_a, name_b = struct.pack("<qq", 2, 2), struct.pack("<q", 1), struct.pack("<q", 1)
    text = b"t" + struct.pack("<qq", 2, -1) + "ë".encode()
    numbers = b"n" + struct.pack("<dd", 1.5, float("nan"))
    content = b"segexp table 1" + sizes + name_a + b"a" + text + name_b + b"b" + numbers
    table = pd.DataFrame({"a": ["ë", None], "b": [1.5, None]})
    assert digest(table) == hashlib.sha256(content).hexdigest()


def test_numbers_are_hashed_by_value() -> None:
    written = [["1", "-0", "2.50", "?"], ["1.0", "0.0", "2.5", "NA"], ["1e0", "+0", "25e-1", ""]]
    raws = [text_table(["x"], [column]) for column in written]
    digests = {fingerprint(clean(raw, ["?", "NA"])[0]) for raw in raws}
    assert len(digests) == 1


def test_long_whole_numbers_are_told_apart() -> None:
    one, other = (pd.DataFrame({"card": [2**53 + i, 1]}) for i in (0, 1))
    assert digest(one) != digest(other)


def test_dates_are_hashed_by_value_where_they_are_declared() -> None:
    one = pd.DataFrame({"since": ["31-01-2024", None]})
    other = pd.DataFrame({"since": ["2024-01-31", None]})
    assert digest(one) != digest(other)
    assert digest(one, dates=["since"], dayfirst=True) == digest(other, dates=["since"])
    assert digest(other, dates=["since"]) == digest(other)


def test_iso_dates_are_hashed_by_value_whether_declared_or_not() -> None:
    written = ["2024-01-31 08:30", "2024-01-31T08:30:00.000", "2024-01-31 08:30+01:00"]
    typed = digest(pd.DataFrame({"since": [pd.Timestamp("2024-01-31 08:30")]}))
    assert {digest(pd.DataFrame({"since": [text]})) for text in written} == {typed}


def test_leading_zeros_are_told_apart() -> None:
    assert digest(pd.DataFrame({"zip": ["00501"]})) != digest(pd.DataFrame({"zip": ["501"]}))


def test_a_decimal_comma_is_a_number() -> None:
    one = fingerprint(clean(text_table(["x"], [["0,5"]]), [], ",")[0], decimal=",")
    assert one == digest(pd.DataFrame({"x": [0.5]}))


def test_chunks_do_not_matter() -> None:
    whole = text_table(["x", "y"], [["a", "b", None], ["1", "2", "3"]])
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert fingerprint(clean(chunked, [])[0]) == fingerprint(clean(whole, [])[0])


def test_any_change_changes_the_fingerprint() -> None:
    columns: dict[str, list[Any]] = {"a": ["x", "y", None], "b": [1, 2, np.nan], "c": [1, 2, "z"]}
    table = pd.DataFrame(columns)
    changed = [
        table,
        table.replace("y", "Y"),
        table.fillna({"a": "None"}),
        table.replace(2.0, np.nextafter(2.0, 3.0)),
        table.fillna({"b": 0.0}),
        table.rename(columns={"a": "A"}),
        table.iloc[[1, 0, 2]],
        table.iloc[:2],
        table[["b", "a", "c"]],
        table.assign(d="x"),
    ]
    assert len({digest(one) for one in changed}) == len(changed)


def test_cells_and_names_do_not_run_together() -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"a": ["xy", "z"]}, {"a": ["x", "yz"]}),
        ({"a": ["x", None]}, {"a": [None, "x"]}),
        ({"ab": ["x"]}, {"a": ["bx"]}),
        ({"a": ["x"], "b": ["y"]}, {"a": ["xb"], "y": [None]}),
    ]
    for one, other in pairs:
        assert digest(pd.DataFrame(one)) != digest(pd.DataFrame(other))


def test_rules_and_roles_leave_the_fingerprint_alone(as_csv: Dataset, tmp_path: Path) -> None:
    rules = {"age": {"min": 20}, "city": {"replace": {"Ulm": None}}}
    other = load("csv", path=str(tmp_path / "table.csv"), rules=rules, ignore=["spend"])
    assert other.fingerprint == as_csv.fingerprint

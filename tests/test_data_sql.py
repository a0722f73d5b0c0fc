"""Tables and queries of SQLite and PostgreSQL, and what is said where they cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import DatasetConfig
from segexp.data.loading import load_dataset
from segexp.data.readers import read_header, read_table
from segexp.errors import ConfigError, DataError, SegexpError

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
CUSTOMERS = pd.DataFrame(
    {
        "id": [3, 1, 2],
        "income": [1.5, None, 20.0],
        "since": pd.to_datetime(["2024-01-31", "2023-05-01", "2020-02-29"]),
        "segment": ["100%", "b", "b"],
    }
)


def config(url: str, **keys: Any) -> DatasetConfig:
    return DatasetConfig(**{**DEFAULTS, "name": "test", "reader": "sql", "url": url, **keys})


def read(url: str, **keys: Any) -> dict[str, list[str]]:
    """Columns as read, and the header the same either way."""
    table = read_table(config(url, **keys)).table
    assert read_header(config(url, **keys)) == table.column_names
    return dict(table.to_pydict())


def message(url: str, **keys: Any) -> str:
    with pytest.raises(SegexpError) as caught:
        read_table(config(url, **keys))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database with the table and the view of the tests."""
    url = str(
        request.getfixturevalue("postgresql")
        if request.param == "postgresql"
        else f"sqlite:///{tmp_path}/shop.db"
    )
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop view if exists good")
        CUSTOMERS.to_sql("customers_of_shop", connection, index=False, if_exists="replace")
        connection.exec_driver_sql("create view good as select id from customers_of_shop")
    engine.dispose()
    return url


def test_a_table_is_read(database: str) -> None:
    columns = read(database, table="customers_of_shop")
    assert (columns["id"], columns["income"]) == (["3", "1", "2"], ["1.5", None, "20"])
    assert [since[:10] for since in columns["since"]] == ["2024-01-31", "2023-05-01", "2020-02-29"]
    assert read(database, table="good") == {"id": ["3", "1", "2"]}


def test_a_table_with_an_id_is_read_in_its_order(database: str) -> None:
    columns = read(database, table="customers_of_shop", id="id")
    assert (columns["id"], columns["segment"]) == (["1", "2", "3"], ["b", "b", "100%"])


def test_an_order_that_may_change_is_found(database: str) -> None:
    def codes(**keys: Any) -> list[str]:
        dataset = load_dataset(config(database, categorical=["segment"], **keys))
        return [finding.code for finding in dataset.findings]

    assert "row_order" in codes(table="customers_of_shop")
    assert "row_order" not in codes(table="customers_of_shop", id="id")
    assert "row_order" not in codes(query="select * from customers_of_shop ORDER BY id")


def test_a_query_is_read(database: str) -> None:
    query = "select id, id * 2 as twice from customers_of_shop order by id"
    assert read(database, query=query) == {"id": ["1", "2", "3"], "twice": ["2", "4", "6"]}


def test_percent_and_colon_of_a_query_are_no_placeholders(database: str) -> None:
    query = "select segment, ':id' as note from customers_of_shop where segment like '100%';"
    assert read(database, query=query) == {"segment": ["100%"], "note": [":id"]}


def test_a_query_without_rows_has_columns(database: str) -> None:
    assert read(database, query="select id from customers_of_shop where id > 9") == {"id": []}


def test_names_that_occur_twice_are_kept_for_the_check(database: str) -> None:
    assert read_table(config(database, query="select 1 as a, 2 as a")).table.column_names == [
        "a",
        "a",
    ]


def test_a_missing_table_names_those_there_are(database: str) -> None:
    said = message(database, table="customer_of_shop")
    assert "there is no table 'customer_of_shop'" in said
    assert "did you mean 'customers_of_shop'?" in said


def test_a_wrong_query_is_answered_by_the_database(database: str) -> None:
    assert "dataset.query cannot be read" in message(database, query="select age from nowhere")


def test_a_query_changes_nothing(database: str) -> None:
    assert "must be a SELECT" in message(database, query="delete from customers_of_shop")
    assert len(read(database, table="customers_of_shop")["id"]) == 3


def test_a_table_may_be_named_with_its_schema(postgresql: str) -> None:
    engine = sqlalchemy.create_engine(postgresql)
    with engine.begin() as connection:
        connection.exec_driver_sql("create schema if not exists sales")
        connection.exec_driver_sql('drop table if exists sales."My Table"')
        connection.exec_driver_sql('create table sales."My Table" as select true as "Paid"')
    engine.dispose()
    assert read(postgresql, table="sales.My Table") == {"Paid": ["True"]}


def test_sqlite_cells_of_several_types_are_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table mixed (age)")
        connection.exec_driver_sql("insert into mixed values (30), ('?'), (null), (4.5)")
    engine.dispose()
    assert read(url, table="mixed") == {"age": ["30", "?", None, "4.5"]}


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    assert "there is no file" in message(f"sqlite:///{tmp_path}/shop.db", table="customers")
    assert not (tmp_path / "shop.db").exists()


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    said = message("postgresql+psycopg://ana:geheim@127.0.0.1:1/shop", table="customers")
    assert "postgresql+psycopg://ana:***@127.0.0.1:1/shop cannot be reached" in said
    assert "geheim" not in said


def test_an_address_takes_environment_variables(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP", database)
    assert read("$SHOP", table="customers_of_shop")["id"]


def test_an_environment_variable_that_is_not_set_is_named() -> None:
    said = message("postgresql://ana:$SEGEXP_UNSET_WORD@host/shop", table="customers")
    assert "names $SEGEXP_UNSET_WORD, which is not set" in said


def test_an_address_that_is_none_is_not_shown() -> None:
    said = message("ana:geheim@127.0.0.1/shop", table="customers")
    assert "dataset.url is not a SQLAlchemy address" in said
    assert "geheim" not in said


def test_an_address_with_a_port_that_is_none_is_not_shown() -> None:
    said = message("postgresql://ana:p@ss:geheim@host/shop", table="customers")
    assert "dataset.url is not a SQLAlchemy address" in said
    assert "geheim" not in said


def test_an_unknown_database_is_named() -> None:
    assert "did you mean 'postgresql'?" in message("postgresq://host/shop", table="customers")


def test_a_missing_driver_names_its_package() -> None:
    said = message("oracle+oracledb://host/shop", table="customers")
    assert "say pip install 'oracledb'" in said


def test_sqlalchemy_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'segexp\[sql\]'"):
        read_header(config("sqlite:///shop.db", table="customers"))


def test_an_address_without_table_or_query_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"either dataset\.query or dataset\.table"):
        config("sqlite:///shop.db")


def test_data_errors_of_sql_are_data_errors(database: str) -> None:
    with pytest.raises(DataError):
        read_header(config(database, table="nowhere"))


def test_a_query_cannot_change_the_database(database: str) -> None:
    """Neither by its first word nor behind it."""
    for query in (
        "drop table customers_of_shop",
        "with x as (select 1) delete from customers_of_shop",
        "/* select */ delete from customers_of_shop",
    ):
        message(database, query=query)
    assert len(read(database, table="customers_of_shop")["id"]) == 3

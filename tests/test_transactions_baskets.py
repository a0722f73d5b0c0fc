"""Baskets: which items were bought together, by hand-made logs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from segexp.config.options import read_yaml, shipped_conf
from segexp.config.schema import LOG_ANSWERS, DatasetConfig, LogConfig
from segexp.data.transactions import Baskets, check_log, load_baskets, log_header
from segexp.errors import ConfigError, DataError

DEFAULTS = read_yaml(shipped_conf() / "segexp.yaml")["dataset"]
COLUMNS = {"customer": "who", "order": "order", "date": "day", "item": "item", "amount": "amount"}
LINES = """who,order,day,item,amount
1,10,2024-01-01, milk ,1
1,10,2024-01-01,bread,2
1,10,2024-01-01,milk,1
2,9,2024-01-02,milk,1
"""


def dataset(path: Path, text: str, **transactions: Any) -> DatasetConfig:
    (path / "log.csv").write_text(text)
    columns = {} if transactions.get("layout") == "baskets" else COLUMNS
    log = LogConfig(**{**DEFAULTS["transactions"], **columns, **transactions})
    place = {"name": "test", "kind": "transactions", "path": str(path / "log.csv")}
    return DatasetConfig(**{**DEFAULTS, **place, "transactions": log})


def contents(found: Baskets) -> list[list[str]]:
    rows = found.matrix.tolil().rows
    return [[found.items[column] for column in row] for row in rows]


def test_an_item_counts_once_per_basket_and_blanks_are_stripped(tmp_path):
    found = load_baskets(dataset(tmp_path, LINES))
    assert found.ids.tolist() == ["9", "10"]
    assert contents(found) == [["milk"], ["bread", "milk"]]
    assert found.matrix.dtype == bool and found.items == ("bread", "milk")
    assert found.customers is not None and found.customers.tolist() == ["2", "1"]
    assert found.revenue is not None and found.revenue.tolist() == [1, 4]
    assert found.segments is None
    assert (found.summary["n_orders"], found.summary["n_items"], found.summary["n_lines"]) == (
        2,
        2,
        4,
    )


@pytest.mark.parametrize("order", ["order", None])
@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_names_that_are_numbers_make_the_baskets_of_text(kind, order, tmp_path):
    columns = {"who": [1, 1, 2], "order": [10, 10, 9], "item": [3, 20, 3]}
    lines = pd.DataFrame(columns).assign(day="2024-01-01", amount="1")
    found = {}
    for kept in (kind, str):
        lines.astype(dict.fromkeys(columns, kept)).to_parquet(tmp_path / "log.parquet")
        config = dataset(tmp_path, "", order=order)
        path = str(tmp_path / "log.parquet")
        found[kept] = load_baskets(replace(config, path=path, reader="parquet"))
    assert found[kind].items == ("20", "3")
    assert found[kind].fingerprint == found[str].fingerprint


def test_without_an_order_column_a_day_of_a_customer_is_a_basket(tmp_path):
    found = load_baskets(dataset(tmp_path, LINES, order=None))
    assert found.ids.tolist() == ["1 2024-01-01", "2 2024-01-02"]


def test_baskets_need_no_customer(tmp_path):
    found = load_baskets(dataset(tmp_path, LINES, customer=None))
    assert found.customers is None and len(found.ids) == 2


def test_lines_without_an_item_are_left_out_and_counted(tmp_path):
    found = load_baskets(dataset(tmp_path, LINES + "2,9,2024-01-02,,1\n"))
    assert [(f.code, f.count) for f in found.findings] == [("item", 1)]


def test_an_order_of_several_customers_is_told(tmp_path):
    found = load_baskets(dataset(tmp_path, LINES + "3,9,2024-01-02,bread,1\n"))
    assert [(f.code, f.count) for f in found.findings] == [("shared_orders", 1)]
    assert contents(found)[0] == ["bread", "milk"]


def test_kept_returns_put_nothing_into_a_basket(tmp_path):
    text = LINES + "2,C9,2024-01-02,milk,-1\n1,10,2024-01-01,egg,-2\n"
    found = load_baskets(dataset(tmp_path, text, returns="keep"))
    assert contents(found) == [["milk"], ["bread", "milk"]]
    assert found.revenue is not None and found.revenue.tolist() == [1, 2]


def test_the_order_of_the_lines_does_not_matter(tmp_path):
    head, *lines = LINES.splitlines()
    turned = "\n".join([head, *reversed(lines)])
    one, other = (load_baskets(dataset(tmp_path, text)) for text in (LINES, turned))
    assert one.fingerprint == other.fingerprint


def test_a_log_without_an_item_column_has_no_baskets(tmp_path):
    with pytest.raises(ConfigError, match=r"transactions\.item must name"):
        load_baskets(dataset(tmp_path, LINES, item=None))


def test_no_basket_left_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="none of 1 line is left: 1 line without an item"):
        load_baskets(dataset(tmp_path, "who,order,day,item,amount\n1,10,2024-01-01,,1\n"))


def test_each_line_of_text_is_a_basket(tmp_path):
    text = 'milk, bread ,milk\n\n,\n"eggs, white",milk\n'
    config = dataset(tmp_path, text, layout="baskets")
    found = load_baskets(config)
    assert contents(found) == [["bread", "milk"], ["eggs, white", "milk"]]
    assert found.ids.tolist() == ["1", "4"] and found.customers is None and found.revenue is None
    assert [(f.code, f.count) for f in found.findings] == [("item", 1)]
    assert log_header(config) == []
    check_log(config)


def test_the_lines_of_several_files_are_numbered_through(tmp_path):
    config = dataset(tmp_path, "milk\n\nbread\n", layout="baskets")
    (tmp_path / "more.csv").write_text('"egg\nwhite"\nmilk')
    found = load_baskets(replace(config, path=[*config.paths, str(tmp_path / "more.csv")]))
    assert found.ids.tolist() == ["1", "3", "4", "6"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('milk\n\nbread,"eggs\nmilk\n', r"log.csv, line 3: a quote is opened here and never"),
        ('milk\n"eggs,milk\nbread,"milk"\n', r"log.csv, line 2: no CSV"),
    ],
)
def test_a_quote_that_is_never_closed_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_baskets(dataset(tmp_path, text, layout="baskets"))


@pytest.mark.parametrize(
    "keys",
    [
        {"keep": {"Country": ["Germany"]}}, {"start": "2024-01-01"}, {"end": "2024-01-01"},
        {"duplicates": "error"}, {"returns": "keep"}, {"customer": "who"}, {"columns": ["who"]},
        {"frequency": "days"}, {"aggregate": "dask"},
    ],
)  # fmt: skip
def test_what_says_nothing_of_a_file_of_baskets_is_refused(tmp_path, keys):
    with pytest.raises(ConfigError, match=rf"transactions.{next(iter(keys))}=.* says nothing"):
        dataset(tmp_path, "milk\n", layout="baskets", **keys)


def test_the_first_answer_about_a_log_is_the_default():
    assert {name: DEFAULTS["transactions"][name] for name in LOG_ANSWERS} == {
        name: answers[0] for name, answers in LOG_ANSWERS.items()
    }


def test_the_revenue_of_all_baskets_may_be_more_than_64_bits_hold(tmp_path):
    lines = "".join(f"{i},{i},2024-01-01,milk,9e12\n" for i in range(3))
    found = load_baskets(dataset(tmp_path, "who,order,day,item,amount\n" + lines))
    assert found.summary["revenue"] == 2.7e13


def test_a_file_of_baskets_without_an_item_is_refused(tmp_path):
    with pytest.raises(DataError, match="none of 1 line is left"):
        load_baskets(dataset(tmp_path, ",\n", layout="baskets"))


def test_baskets_tell_dates_that_can_be_read_two_ways_and_a_last_day_that_stands_alone(tmp_path):
    text = LINES.replace("2024-01-02", "05/04/2026").replace("2024-01-01", "04/03/2024")
    assert [f.code for f in load_baskets(dataset(tmp_path, text)).findings] == [
        "two_way_dates",
        "gap",
    ]


def test_baskets_of_most_lines_are_not_dropped_for_dates_that_cannot_be_read(tmp_path):
    text = LINES.replace("2024-01-01", "31.01.24")
    with pytest.raises(DataError, match=r"3 of 4 lines with a day.*too many to leave out"):
        load_baskets(dataset(tmp_path, text, invalid="drop"))

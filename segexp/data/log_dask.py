"""Adding up a log with Dask: the SQL of `segexp.data.log_sums`, one part of the log at a time.

Each file (of Parquet: each row group) is summed up per order where it is read. The sums, not the
lines, are then brought together by customer, by order and by item. Every sum is of whole numbers,
so the result is that of one machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from segexp.config.schema import DatasetConfig
from segexp.data.log_rules import (
    USED,
    Reading,
    Rule,
    active_rules,
    parsed_lines,
    refuse_errors,
    returned,
    ruled_lines,
)
from segexp.data.log_sources import OpenLog, connected, find_all, open_frame, open_log
from segexp.data.log_sums import LogSums, customer_sums, grouped_orders, order_sums, orders_query
from segexp.data.sources import Progress
from segexp.errors import ConfigError

TEXT = "string[pyarrow]"
EPOCH = date(1970, 1, 1)
KEYS = ("rule", "customer", "day", "ord")
SUMS = ("lines", "units", "pieces", "surplus")
ORDER_TYPES = dict.fromkeys((*KEYS, "bought", *SUMS), "int64") | {
    "customer": TEXT,
    "ord": TEXT,
    "bought": "bool",
}
PAIR_TYPES = {"customer": TEXT, "item": TEXT, "known": "bool"}
CUSTOMER_SUMS = (
    "first", "last", "days", "orders", "lines", "units", "pieces", "first_units",
    "hold_days", "hold_orders", "hold_units",
)  # fmt: skip
CUSTOMER_SUMS = (
    "first", "last", "days", "orders", "lines", "units", "pieces", "first_units",
    "hold_days", "hold_orders", "hold_units",
)  # fmt: skip
CUSTOMER_TYPES = {"customer": TEXT} | dict.fromkeys(CUSTOMER_SUMS, "int64")


@dataclass(frozen=True)
class _Part:
    """A file of the log, or some row groups of it."""

    file: str
    row_group: int | None  # of a Parquet file


@dataclass(frozen=True)
class _Task:
    """What every worker has to know."""

    config: DatasetConfig
    reading: Reading
    rules: tuple[Rule, ...]


def sum_up_with_dask(
    config: DatasetConfig, reading: Reading, progress: Progress | None
) -> tuple[LogSums, tuple[dict[str, Any], ...]]:
    """Add up a log per customer with Dask, on the client that is active, else in threads.

    The workers need to see the files under the same paths.

    Raises
    ------
    ConfigError
        Dask is not installed, or the log is neither CSV nor Parquet.
    DataError
        As `segexp.data.log_sums.sum_up`.
    """
    dask = _dask()
    dd = dask.dataframe
    if config.reader not in ("csv", "parquet"):
        raise ConfigError(
            "dataset.transactions.aggregate=dask reads csv and parquet, "
            f"got dataset.reader={config.reader}; say aggregate=duckdb"
        )
    files, located = find_all(config, progress)
    task = _Task(config, reading, tuple(active_rules(reading, items=False)))
    parts = [part for file in located.values() for part in _parts_of(config, file)]
    if reading.log.duplicates == "keep":
        lines = dd.from_map(_part_row, parts, meta=_part_row(parts[0]).iloc[:0])
    else:
        meta = _empty(_raw_types(task, parts[0]))
        lines = dd.from_map(_raw_lines, parts, task=task, meta=meta).shuffle("key")
    orders = lines.map_partitions(_order_sums, task, meta=_empty(ORDER_TYPES)).persist()
    customers = orders.shuffle("customer").map_partitions(
        _customer_sums, task, meta=_empty(CUSTOMER_TYPES)
    )
    by_order = orders.shuffle("ord").map_partitions(
        _order_counts, meta=_empty({"n_orders": "int64", "n_shared": "int64"})
    )
    counts = orders.map_partitions(_line_counts, meta=_empty(_COUNT_TYPES))
    items, n_items = None, None
    if reading.log.item is not None:
        pairs = lines.map_partitions(_pairs, task, meta=_empty(PAIR_TYPES)).persist()
        items = pairs.shuffle("customer").map_partitions(
            _item_counts, meta=_empty({"customer": TEXT, "items": "int64"})
        )
        n_items = pairs["item"].nunique()
    found = dask.compute(customers, by_order, counts, items, n_items)
    return _collected(reading, task.rules, *found), files


def _dask() -> Any:
    try:
        import dask.dataframe
    except ImportError as error:
        raise ConfigError(
            "dataset.transactions.aggregate=dask needs Dask, which is not installed; "
            "say pip install 'segexp[dask]'"
        ) from error
    return dask


def _parts_of(config: DatasetConfig, file: Path) -> list[_Part]:
    if config.reader == "csv":
        return [_Part(str(file), None)]
    n = pyarrow.parquet.ParquetFile(file).num_row_groups
    return [_Part(str(file), group) for group in range(n)]


def _part_row(part: _Part) -> pd.DataFrame:
    """Write a part as a row, so that it can travel in a frame."""
    frame = pd.DataFrame({"file": [part.file], "row_group": [part.row_group]})
    return frame.astype({"file": TEXT, "row_group": "Int64"})


@contextmanager
def _opened(lines: pd.DataFrame, task: _Task) -> Iterator[OpenLog]:
    """Open the lines of one partition: a part that is named, or the lines themselves."""
    config = task.config
    if "key" in lines:
        with open_frame(lines.drop(columns="key"), config.name, config.log) as opened:
            yield opened
        return
    file, group = str(lines["file"].iloc[0]), lines["row_group"].iloc[0]
    if pd.isna(group):
        with open_log(replace(config, path=[file], downloads={})) as opened:
            yield opened
        return
    table = pyarrow.parquet.ParquetFile(file).read_row_group(int(group))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    with open_frame(frame, config.name, config.log) as opened:
        yield opened


def _raw_types(task: _Task, part: _Part) -> dict[str, Any]:
    with _opened(_part_row(part), task) as opened:
        return dict.fromkeys(opened.names, TEXT) | {"key": "uint64"}


def _raw_lines(part: _Part, task: _Task) -> pd.DataFrame:
    """Read lines as text, with a key that equal lines have in common."""
    with _opened(_part_row(part), task) as opened:
        types = dict.fromkeys(opened.names, TEXT) | {"key": "uint64"}
        names = [f"c{i}" for i in range(len(opened.names))]
        texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in names)
        keyed = f"SELECT *, hash({', '.join(names)}) AS key FROM (SELECT {texts} FROM "
        frame = opened.connection.sql(f"{keyed}({opened.relation}))").to_arrow_table().to_pandas()
    return frame.set_axis(list(types), axis=1).astype(types)


def _order_sums(lines: pd.DataFrame, task: _Task) -> pd.DataFrame:
    if lines.empty:
        return _empty(ORDER_TYPES)
    items = task.reading.log.item is not None
    with _opened(lines, task) as opened:
        ruled = ruled_lines(parsed_lines(opened, task.reading, items=items), task.rules)
        orders = order_sums(f"({grouped_orders(ruled, task.reading.log)})", task.reading.log)
        query = (
            "SELECT rule, coalesce(CAST(customer AS VARCHAR), '') AS customer, "
            "coalesce(day - DATE '1970-01-01', 0) AS day, coalesce(CAST(ord AS VARCHAR), '') AS "
            "ord, bought, lines, coalesce(units, 0) AS units, coalesce(pieces, 0) AS pieces, "
            f"surplus FROM ({orders})"
        )
        return opened.connection.sql(query).to_arrow_table().to_pandas().astype(ORDER_TYPES)


def _pairs(lines: pd.DataFrame, task: _Task) -> pd.DataFrame:
    """Find the different items of each customer in one partition."""
    if lines.empty:
        return _empty(PAIR_TYPES)
    log = task.reading.log
    end = log.day("calibration_end")
    known = f"NOT {returned(log)}" + (f" AND day <= DATE '{end}'" if end else "")
    with _opened(lines, task) as opened:
        ruled = ruled_lines(parsed_lines(opened, task.reading, items=True), task.rules)
        query = (
            "SELECT CAST(customer AS VARCHAR) AS customer, CAST(item AS VARCHAR) AS item, "
            f"bool_or({known}) AS known FROM ({ruled}) WHERE rule = {USED} AND item IS NOT NULL "
            "GROUP BY customer, item"
        )
        return opened.connection.sql(query).to_arrow_table().to_pandas().astype(PAIR_TYPES)


def _item_counts(pairs: pd.DataFrame) -> pd.DataFrame:
    known = pairs.loc[pairs["known"], ["customer", "item"]].drop_duplicates()
    counts = known.groupby("customer", sort=False).size().rename("items").reset_index()
    return counts.astype({"customer": TEXT, "items": "int64"})


def _customer_sums(orders: pd.DataFrame, task: _Task) -> pd.DataFrame:
    """Add up all orders of some customers."""
    log = task.reading.log
    totals = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in SUMS)
    dated = f"DATE '{EPOCH}' + CAST(day AS INTEGER) AS day"
    merged = (
        f"SELECT rule, customer, {dated}, ord, bool_or(bought) AS bought, {totals} "
        f"FROM partial WHERE rule = {USED} GROUP BY rule, customer, day, ord"
    )
    with _frame_in_duckdb(orders) as connection:
        connection.execute(f"CREATE TEMP TABLE order_sums AS {merged}")
        query = customer_sums(log, spread=log.order is not None)
        found: pd.DataFrame = connection.sql(query).to_arrow_table().to_pandas()
    return found[list(CUSTOMER_TYPES)].astype(CUSTOMER_TYPES)


def _order_counts(orders: pd.DataFrame) -> pd.DataFrame:
    with _frame_in_duckdb(orders) as connection:
        query = orders_query(f"SELECT * FROM partial WHERE rule = {USED} AND bought")
        n_orders, n_shared, _ = connection.execute(query).fetchall()[0]
    return pd.DataFrame({"n_orders": [n_orders], "n_shared": [n_shared]}, dtype="int64")


@contextmanager
def _frame_in_duckdb(frame: pd.DataFrame) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="segexp-log-") as folder,
        connected(folder, None) as connection,
    ):
        connection.register("partial", pyarrow.Table.from_pandas(frame, preserve_index=False))
        yield connection


_COUNT_TYPES = dict.fromkeys(("rule", "lines", "surplus", "units", "first", "last"), "int64")


def _line_counts(orders: pd.DataFrame) -> pd.DataFrame:
    """Add up the lines of each rule in one partition."""
    grouped = orders.groupby("rule", sort=False)
    counts = grouped[["lines", "surplus", "units"]].sum()
    counts = counts.assign(first=grouped["day"].min(), last=grouped["day"].max())
    return counts.reset_index().astype(_COUNT_TYPES)


def _empty(types: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in types.items()})


def _collected(
    reading: Reading,
    rules: tuple[Rule, ...],
    customers: pd.DataFrame,
    by_order: pd.DataFrame,
    counts: pd.DataFrame,
    items: pd.DataFrame | None,
    n_items: int | None,
) -> LogSums:
    used = counts[counts["rule"] == USED]
    by_rule = counts[counts["rule"] != USED].groupby("rule")["lines"].sum()
    removed = {int(str(rule)): int(lines) for rule, lines in by_rule.items()}
    n_duplicates = int(counts["surplus"].sum())
    refuse_errors(None, reading, rules, removed, n_duplicates)
    customers = customers.reset_index(drop=True)
    if items is not None:
        known = items.set_index("customer")["items"]
        counted = customers["customer"].map(known).fillna(0).astype("int64")
        customers = customers.assign(items=counted)
    each_day = int((customers["orders"] + customers["hold_orders"]).sum())
    named = reading.log.order is not None
    return LogSums(
        customers=customers,
        rules=rules,
        removed=removed,
        n_duplicates=n_duplicates,
        n_lines=int(used["lines"].sum()),
        n_orders=int(by_order["n_orders"].sum()) if named else each_day,
        n_items=None if n_items is None else int(n_items),
        n_shared=int(by_order["n_shared"].sum()) if named else 0,
        units=sum(map(int, used["units"])),
        first=EPOCH + timedelta(days=int(used["first"].min())) if len(used) else None,
        last=EPOCH + timedelta(days=int(used["last"].max())) if len(used) else None,
    )

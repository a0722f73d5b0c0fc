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
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from segexp.config.schema import DatasetConfig
from segexp.data.findings import Finding
from segexp.data.log_files import named_columns
from segexp.data.log_rules import (
    USED,
    Reading,
    Rule,
    active_rules,
    could_be_two_way,
    name_text,
    parsed_lines,
    refuse_errors,
    returned,
    ruled_lines,
    two_way_findings,
    two_way_query,
)
from segexp.data.log_sources import (
    OpenLog,
    check_same,
    connected,
    find_all,
    one_line,
    open_frame,
    open_log,
)
from segexp.data.log_sums import (
    EPOCH,
    LogSums,
    customer_sums,
    grouped_orders,
    order_sums,
    orders_of_all,
    orders_query,
)
from segexp.data.sources import Progress
from segexp.errors import ConfigError, DataError

TEXT = "string[pyarrow]"
KEYS = ("rule", "customer", "day", "ord")
SUMS = ("lines", "purchases", "units", "pieces", "surplus")
ORDER_TYPES = dict.fromkeys((*KEYS, "bought", *SUMS), "int64") | {
    "customer": TEXT,
    "ord": TEXT,
    "bought": "bool",
}
PAIR_TYPES = {"customer": TEXT, "item": TEXT, "known": "bool"}
CUSTOMER_SUMS = (
    "first", "last", "days", "orders", "lines", "units", "pieces", "first_units", "returned",
    "hold_days", "hold_orders", "hold_units",
)  # fmt: skip
COUNT_TYPES = dict.fromkeys(
    ("rule", "lines", "surplus", "units", "first", "last", "before", "latest"), "int64"
) | {
    "units": TEXT,  # 64 bits do not hold the amounts of all customers
}
DATE_TYPES = {"two_way": "int64", "clear": "int64"}
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
    columns: tuple[tuple[str, str], ...] = ()  # names and types in SQL, where lines are compared


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
        task = _with_columns(task, list(located.values()))
        meta = _raw_lines(parts[0], task, "LIMIT 0")
        lines = dd.from_map(_raw_lines, parts, task=task, meta=meta).shuffle("key")
    orders = lines.map_partitions(_order_sums, task, meta=_empty(ORDER_TYPES)).persist()
    customers = orders.shuffle("customer").map_partitions(
        _customer_sums, task, meta=_empty(CUSTOMER_TYPES)
    )
    by_order = orders.shuffle("ord").map_partitions(
        _order_counts, task, meta=_empty({"n_orders": "int64", "n_shared": "int64"})
    )
    counts = orders.map_partitions(_line_counts, task, meta=_empty(COUNT_TYPES))
    items, n_items = None, None
    if reading.log.item is not None:
        pairs = lines.map_partitions(_pairs, task, meta=_empty(PAIR_TYPES)).persist()
        items = pairs.shuffle("customer").map_partitions(
            _item_counts, meta=_empty({"customer": TEXT, "items": "int64"})
        )
        n_items = pairs["item"].nunique()
    found = dask.compute(customers, by_order, counts, items, n_items)
    sums = _collected(task, *found)
    if len(used := found[2][found[2]["rule"] == USED]):
        sums = replace(sums, findings=_date_findings(lines, task, int(used["latest"].max())))
    return sums, files


def _date_findings(lines: Any, task: _Task, latest: int) -> tuple[Finding, ...]:
    """Say whether no date of the log tells the day from the month; reads the log again if so."""
    with open_log(replace(task.config, path=task.config.paths[:1])) as opened:
        if not could_be_two_way(opened, task.reading, latest):
            return ()
    dates = lines.map_partitions(_two_way, task, meta=_empty(DATE_TYPES)).compute()
    return tuple(two_way_findings(int(dates["two_way"].sum()), int(dates["clear"].sum())))


def _two_way(lines: pd.DataFrame, task: _Task) -> pd.DataFrame:
    if lines.empty:
        return _empty(DATE_TYPES)
    with _opened(lines, task) as opened:
        query = two_way_query(opened, task.reading)
        found: pd.DataFrame = opened.connection.sql(query).to_arrow_table().to_pandas()
    return found.astype(DATE_TYPES)


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
        named = lines.drop(columns="key").set_axis([name for name, _ in task.columns], axis=1)
        with open_frame(named, config.name, config.transactions) as opened:
            yield opened
        return
    file, group = str(lines["file"].iloc[0]), lines["row_group"].iloc[0]
    if pd.isna(group):
        with open_log(replace(config, path=[file], downloads={})) as opened:
            yield opened
        return
    table = pyarrow.parquet.ParquetFile(file).read_row_group(int(group))
    table = table.select(named_columns(table.column_names))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True)
    with open_frame(frame, config.name, config.transactions) as opened:
        yield opened


def _with_columns(task: _Task, files: list[Path]) -> _Task:
    """Find the names and the types that the columns have in all files together."""
    # In CSV every cell is text; the names of the other files are checked where they are read.
    wanted = files[:1] if task.config.reader == "csv" else files
    config = replace(task.config, path=[str(file) for file in wanted], downloads={})
    with open_log(config) as opened:
        described = opened.connection.execute(f"DESCRIBE {opened.relation}").fetchall()
    types = [str(row[1]) for row in described]
    return replace(task, columns=tuple(zip(opened.names, types, strict=True)))


def _raw_lines(part: _Part, task: _Task, limit: str = "") -> pd.DataFrame:
    """Read lines as they are, as columns c0, c1, ..., with a key that equal lines share."""
    names, types = (list(each) for each in zip(*task.columns, strict=True))
    with _opened(_part_row(part), task) as opened:
        check_same(task.config.name, names, part.file, opened.names)
        is_same = list(opened.names) == names
        order = range(len(names)) if is_same else map(opened.names.index, names)
        cells = (
            f"CAST(c{old} AS {kind}) AS c{new}"
            for new, (old, kind) in enumerate(zip(order, types, strict=True))
        )
        columns = ", ".join(f"c{i}" for i in range(len(names)))
        table = opened.connection.sql(
            f"SELECT *, hash({columns}) AS key "
            f"FROM (SELECT {', '.join(cells)} FROM ({opened.relation})) {limit}"
        ).to_arrow_table()
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame.astype({"key": "uint64"})


def _order_sums(lines: pd.DataFrame, task: _Task) -> pd.DataFrame:
    if lines.empty:
        return _empty(ORDER_TYPES)
    log = task.reading.log
    items = log.item is not None
    with _opened(lines, task) as opened:
        ruled = ruled_lines(parsed_lines(opened, task.reading, items=items), task.rules)
        grouped = grouped_orders(ruled, log, task.rules)
        orders = order_sums(f"({grouped})", log)
        customer = name_text("customer", opened, log.customer)
        order = name_text("ord", opened, log.order)
        query = (
            f"SELECT rule, coalesce({customer}, '') AS customer, "
            f"coalesce(day - DATE '{EPOCH}', 0) AS day, coalesce({order}, '') AS ord, "
            "bought, lines, purchases, coalesce(units, 0) AS units, coalesce(pieces, 0) AS pieces, "
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
        customer = name_text("customer", opened, log.customer)
        item = name_text("item", opened, log.item)
        query = (
            f"SELECT {customer} AS customer, {item} AS item, "
            f"bool_or({known}) AS known FROM ({ruled}) WHERE rule = {USED} AND item IS NOT NULL "
            "GROUP BY ALL"
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
        "FROM partial WHERE customer <> '' GROUP BY rule, customer, day, ord"
    )
    with _frame_in_duckdb(orders, task) as connection:
        connection.execute(f"CREATE TEMP TABLE order_sums AS {merged}")
        query = customer_sums(log, task.rules, spread=log.order is not None)
        found: pd.DataFrame = connection.sql(query).to_arrow_table().to_pandas()
    return found[list(CUSTOMER_TYPES)].astype(CUSTOMER_TYPES)


def _order_counts(orders: pd.DataFrame, task: _Task) -> pd.DataFrame:
    with _frame_in_duckdb(orders, task) as connection:
        query = orders_query(f"SELECT * FROM partial WHERE rule = {USED} AND bought")
        n_orders, n_shared, _ = connection.execute(query).fetchall()[0]
    return pd.DataFrame({"n_orders": [n_orders], "n_shared": [n_shared]}, dtype="int64")


@contextmanager
def _frame_in_duckdb(frame: pd.DataFrame, task: _Task) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="segexp-log-") as folder,
        connected(folder, None) as connection,
        one_line(task.config.name, None),
    ):
        connection.register("partial", pyarrow.Table.from_pandas(frame, preserve_index=False))
        yield connection


def _line_counts(orders: pd.DataFrame, task: _Task) -> pd.DataFrame:
    """Add up the lines of each rule in one partition."""
    with _frame_in_duckdb(orders, task) as connection:
        counts: pd.DataFrame = (
            connection.sql(
                "SELECT rule, sum(lines) AS lines, sum(surplus) AS surplus, "
                "CAST(sum(units) AS VARCHAR) AS units, min(day) AS first, max(day) AS last, "
                "coalesce(max(day) FILTER (WHERE day < top), min(day)) AS before, "
                f"max(day(DATE '{EPOCH}' + CAST(day AS INTEGER))) AS latest "
                "FROM (SELECT *, max(day) OVER (PARTITION BY rule) AS top FROM partial) "
                "GROUP BY rule"
            )
            .to_arrow_table()
            .to_pandas()
        )
    return counts.astype(COUNT_TYPES)


def _empty(types: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in types.items()})


def _collected(
    task: _Task,
    customers: pd.DataFrame,
    by_order: pd.DataFrame,
    counts: pd.DataFrame,
    items: pd.DataFrame | None,
    n_items: int | None,
) -> LogSums:
    reading, rules = task.reading, task.rules
    used = counts[counts["rule"] == USED]
    by_rule = counts[counts["rule"] != USED].groupby("rule")["lines"].sum()
    removed = {int(str(rule)): int(lines) for rule, lines in by_rule.items()}
    n_duplicates = int(counts["surplus"].sum())
    n_lines = int(used["lines"].sum())
    try:
        refuse_errors(None, reading, rules, removed, n_duplicates, n_lines)
    except DataError:  # once more, with cells to quote
        with open_log(task.config) as opened:
            refuse_errors(opened, reading, rules, removed, n_duplicates, n_lines)
    days = sorted({int(day) for name in ("last", "before") for day in used[name]})
    customers = customers.reset_index(drop=True)
    if items is not None:
        known = items.set_index("customer")["items"]
        counted = customers["customer"].map(known).fillna(0).astype("int64")
        customers = customers.assign(items=counted)
    named = reading.log.order is not None and reading.log.frequency != "lines"
    return LogSums(
        customers=customers,
        rules=rules,
        removed=removed,
        n_duplicates=n_duplicates,
        n_lines=n_lines,
        n_orders=int(by_order["n_orders"].sum()) if named else orders_of_all(customers),
        n_items=None if n_items is None else int(n_items),
        n_shared=int(by_order["n_shared"].sum()) if reading.log.order else 0,
        units=sum(map(int, used["units"])),
        first=EPOCH + timedelta(days=int(used["first"].min())) if len(used) else None,
        last=EPOCH + timedelta(days=int(used["last"].max())) if len(used) else None,
        before_last=EPOCH + timedelta(days=days[-2]) if len(days) > 1 else None,
    )

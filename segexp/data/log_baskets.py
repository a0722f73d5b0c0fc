"""Baskets in a transaction log: the different items of each order."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segexp.config.schema import DatasetConfig
from segexp.data.findings import Finding, counted
from segexp.data.log_files import open_text, wrong_encoding
from segexp.data.log_rules import (
    USED,
    WHOLE,
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
from segexp.data.log_sources import OpenLog, find_all
from segexp.data.log_sums import count_removed
from segexp.data.sources import Progress
from segexp.errors import ConfigError, DataError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BasketSums:
    """Baskets as pairs of positions in ``ids`` and ``items``."""

    ids: list[str]
    items: list[str]
    rows: IntArray
    columns: IntArray
    customers: list[str] | None
    units: IntArray | None  # millionths
    rules: tuple[Rule, ...]
    removed: dict[int, int]
    n_duplicates: int
    n_lines: int
    n_shared: int
    first: date | None
    last: date | None
    before_last: date | None = None  # the day with lines before the last one
    findings: tuple[Finding, ...] = ()

    @property
    def n_lines_read(self) -> int:
        return self.n_lines + sum(self.removed.values()) + self.n_duplicates


def sum_up_baskets(opened: OpenLog, reading: Reading) -> BasketSums:
    """Find the different items of each order.

    Raises
    ------
    DataError
        A line is there that the config calls an error.
    """
    log, connection = reading.log, opened.connection
    rules = active_rules(reading, items=True)
    ruled = ruled_lines(parsed_lines(opened, reading, items=True), rules)
    customer = name_text("customer", opened, log.customer)
    basket = name_text("ord", opened, log.order) if log.order else f"{customer} || ' ' || day"
    item = name_text("item", opened, log.item)
    back = returned(log) if log.returns == "keep" else "false"
    surplus = "sum(copies - 1)" if log.duplicates != "keep" else "0"
    # Named like the columns of `order_sums`, because the same questions are asked.
    connection.execute(
        "CREATE TEMP TABLE order_sums AS SELECT rule, ord, item, count(*) AS lines, "
        "count(*) FILTER (WHERE NOT back) AS bought, CAST(sum(units) AS BIGINT) AS units, "
        "min(customer) AS customer, max(customer) AS other, min(day) AS day, max(day) AS last, "
        f"max(day(day)) AS latest, {surplus} AS surplus FROM (SELECT rule, "
        f"CASE WHEN rule = {USED} THEN {basket} END AS ord, "
        f"CASE WHEN rule = {USED} THEN {item} END AS item, {customer} AS customer, day, "
        f"units, copies, {back} AS back "
        f"FROM ({ruled})) GROUP BY rule, ord, item"
    )
    removed, n_duplicates = count_removed(connection)
    n_lines, latest = connection.execute(
        f"SELECT coalesce(sum(lines), 0), max(latest) FROM order_sums WHERE rule = {USED}"
    ).fetchall()[0]
    refuse_errors(opened, reading, rules, removed, n_duplicates, int(n_lines))
    connection.execute(
        "CREATE TEMP TABLE baskets AS SELECT ord, min(customer) AS customer, "
        "max(other) AS other, CAST(sum(units) AS BIGINT) AS units "
        f"FROM order_sums WHERE rule = {USED} GROUP BY ord HAVING sum(bought) > 0"
    )
    bought = f"(SELECT DISTINCT item FROM order_sums WHERE rule = {USED} AND bought > 0)"
    _number(connection, "baskets_codes", "ord", "baskets", _basket_order(connection))
    _number(connection, "items_codes", "item", bought, "item")
    findings: list[Finding] = []
    if could_be_two_way(opened, reading, latest):
        counts = connection.execute(two_way_query(opened, reading)).fetchall()[0]
        findings = two_way_findings(*counts)
    sums = _collected(connection, reading, rules, removed, n_duplicates)
    return replace(sums, findings=tuple(findings))


def _number(connection: Any, table: str, name: str, source: str, order: str) -> None:
    """Give each row of a source its position in an order, from 0."""
    connection.execute(
        f"CREATE TEMP TABLE {table} AS "
        f"SELECT {name}, row_number() OVER (ORDER BY {order}) - 1 AS code FROM {source}"
    )


def _basket_order(connection: Any) -> str:
    """Sort baskets as numbers if the names of all are whole numbers."""
    whole = f"SELECT bool_and(regexp_full_match(ord, '{WHOLE}')) FROM baskets"
    return "CAST(ord AS HUGEINT), ord" if connection.execute(whole).fetchall()[0][0] else "ord"


def _collected(
    connection: Any,
    reading: Reading,
    rules: list[Rule],
    removed: dict[int, int],
    n_duplicates: int,
) -> BasketSums:
    log = reading.log
    baskets = connection.sql(
        "SELECT ord, customer, units, customer <> other AS shared "
        "FROM baskets JOIN baskets_codes USING (ord) ORDER BY code"
    ).to_arrow_table()
    items = connection.execute("SELECT item FROM items_codes ORDER BY code").fetchall()
    pairs = connection.execute(
        "SELECT b.code AS r, i.code AS c FROM order_sums JOIN baskets_codes b USING (ord) "
        f"JOIN items_codes i USING (item) WHERE rule = {USED} AND bought > 0"
    ).fetchnumpy()
    n_lines, first, last = connection.execute(
        f"SELECT coalesce(sum(lines), 0), min(day), max(last) FROM order_sums WHERE rule = {USED}"
    ).fetchall()[0]
    # Of an order over several days the first and the last are known: one of them is the day before.
    before_last = (
        connection.execute(
            f"SELECT max(CASE WHEN last < DATE '{last}' THEN last ELSE day END) FROM order_sums "
            f"WHERE rule = {USED} AND day < DATE '{last}'"
        ).fetchall()[0][0]
        if last
        else None
    )
    return BasketSums(
        ids=baskets.column("ord").to_pylist(),
        items=[row[0] for row in items],
        rows=np.asarray(pairs["r"], dtype=np.int64),
        columns=np.asarray(pairs["c"], dtype=np.int64),
        customers=baskets.column("customer").to_pylist() if log.customer else None,
        units=baskets.column("units").to_numpy() if log.price or log.amount else None,
        rules=tuple(rules),
        removed=removed,
        n_duplicates=n_duplicates,
        n_lines=int(n_lines),
        n_shared=sum(filter(None, baskets.column("shared").to_pylist())),
        first=first,
        last=last,
        before_last=before_last,
    )


def read_baskets(
    config: DatasetConfig, reading: Reading, progress: Progress | None
) -> tuple[BasketSums, tuple[dict[str, Any], ...]]:
    """Read files in which each line of text is a basket, its items separated.

    Items are stripped of blanks; empty ones and missing tokens are left out. A basket is called
    by the number of its line; the lines of several files are numbered through.

    Raises
    ------
    ConfigError
        The reader is not csv.
    DataError
        A file cannot be read, or a quote in it is never closed.
    """
    if config.reader != "csv":
        raise ConfigError(
            f"dataset.transactions.layout=baskets needs dataset.reader=csv, got {config.reader}"
        )
    files, located = find_all(config, progress)
    missing = {"", *(token.strip() for token in reading.missing_tokens)}
    codes: dict[str, int] = {}
    ids: list[str] = []
    sizes: list[int] = []
    found: list[int] = []
    n_read = 0
    for number, cells in _numbered_lines(config, located):
        n_read += 1
        items = dict.fromkeys(cell.strip() for cell in cells)
        basket = [codes.setdefault(item, len(codes)) for item in items if item not in missing]
        if basket:
            ids.append(str(number))
            sizes.append(len(basket))
            found += basket
    return _basket_sums(ids, sizes, found, codes, n_read - len(ids)), files


def _basket_sums(
    ids: list[str], sizes: list[int], found: list[int], codes: dict[str, int], n_empty: int
) -> BasketSums:
    """Number the items by their names.

    Parameters
    ----------
    ids, sizes : lists of one entry per basket
    found : list of int
        The codes of the items of all baskets, one after the other.
    codes : dict of the code of each item, from 0
    n_empty : int
        Lines without an item.
    """
    names = sorted(codes)
    position = np.empty(len(codes), dtype=np.int64)
    position[[codes[name] for name in names]] = np.arange(len(codes))
    what = f"{counted(n_empty, 'line')} without an item left out"
    return BasketSums(
        ids=ids,
        items=names,
        rows=np.repeat(np.arange(len(ids)), np.array(sizes, dtype=np.int64)),
        columns=position[np.array(found, dtype=np.int64)],
        customers=None,
        units=None,
        rules=(),
        removed={0: n_empty},
        n_duplicates=0,
        n_lines=len(ids),
        n_shared=0,
        first=None,
        last=None,
        findings=(Finding("item", what, n_empty),) if n_empty else (),
    )


def _numbered_lines(
    config: DatasetConfig, located: dict[str, Path]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that is not blank, with the number of the line."""
    n_before = 0
    for path, file in located.items():
        number = 0
        try:
            with open_text(file, config.encoding) as lines:
                rows = csv.reader(lines, delimiter=config.separator or ",", strict=True)
                for cells in rows:
                    if cells:
                        yield n_before + number + 1, cells
                    number = rows.line_num
        except UnicodeError:
            raise wrong_encoding(path, config.encoding) from None
        except csv.Error as error:
            is_open = "end of data" in str(error)
            what = "a quote is opened here and never closed" if is_open else f"no CSV ({error})"
            raise DataError(f"{path}, line {number + 1}: {what}; mend the line") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        n_before += number

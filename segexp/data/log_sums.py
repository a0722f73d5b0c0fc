"""Adding up a transaction log: from lines to orders to customers, in two SQL steps.

Lines are first added up per customer, day and order (`order_sums`), in one pass over the log.
What this leaves is exact and small enough to be grouped again: per order (is it of one customer,
of one day?), per day, and per customer (`customer_sums`). Lines that a rule takes out are one
group per rule, so counting them costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from segexp.config.schema import LogConfig
from segexp.data.findings import Finding
from segexp.data.log_rules import (
    USED,
    Reading,
    Rule,
    active_rules,
    by_back_rule,
    could_be_two_way,
    given_back,
    is_whole,
    name_text,
    parsed_lines,
    refuse_errors,
    returned,
    ruled_lines,
    two_way_findings,
    two_way_query,
)
from segexp.data.log_sources import OpenLog

EPOCH = date(1970, 1, 1)
WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT")

# Bits count different numbers sooner than a table of them where they take less memory. DuckDB
# cannot spill them, so they are for little.
MOST_BITS = 8 * 2**26  # 64 MB
BITS_OF_ROW = 8
BYTES_OF_ROW = 48


@dataclass(frozen=True)
class LogSums:
    """What a log adds up to; amounts and quantities in millionths, days from 1970-01-01."""

    customers: pd.DataFrame  # one row per customer, in any order; see `customer_sums`
    rules: tuple[Rule, ...]
    removed: dict[int, int]  # code of a rule -> lines that it took out
    n_duplicates: int
    n_lines: int  # that are used
    n_orders: int
    n_items: int | None
    n_shared: int  # orders that hold lines of several customers
    units: int  # the sum of all amounts
    first: date | None
    last: date | None
    before_last: date | None = None  # the day with lines before the last one
    findings: tuple[Finding, ...] = ()

    @property
    def n_lines_read(self) -> int:
        return self.n_lines + sum(self.removed.values()) + self.n_duplicates


def sum_up(opened: OpenLog, reading: Reading) -> LogSums:
    """Add up a log per customer.

    Raises
    ------
    DataError
        A line is there that the config calls an error.
    """
    log, connection = reading.log, opened.connection
    rules = active_rules(reading, items=False)
    ruled = ruled_lines(parsed_lines(opened, reading, items=log.item is not None), rules)
    if log.item is not None and opened.parsed_text:
        connection.execute(f"CREATE TEMP TABLE ruled AS {ruled}")
        ruled = "SELECT * FROM ruled"
    # The constants are a view: each column of a table costs memory per order.
    connection.execute(f"CREATE TEMP TABLE grouped AS {grouped_orders(ruled, log, rules)}")
    connection.execute(f"CREATE TEMP VIEW order_sums AS {order_sums('grouped', log)}")
    removed, n_duplicates = count_removed(connection)
    n_lines, units, first, last, latest = connection.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(sum(units), 0), min(day), max(day), "
        f"max(day(day)) FROM order_sums WHERE rule = {USED}"
    ).fetchall()[0]
    refuse_errors(opened, reading, rules, removed, n_duplicates, int(n_lines))
    n_orders, n_shared, n_spread = count_orders(connection, log)
    days = _dense_days(connection, first, last) if log.order else None
    connection.execute(
        "CREATE TEMP TABLE customer_sums AS "
        f"{customer_sums(log, rules, spread=n_spread > 0, dense_days=days)}"
    )
    n_items = None
    if log.item is not None:
        connection.execute(f"CREATE TEMP TABLE item_sums AS {item_sums(ruled, log)}")
        n_items = _value(
            connection, f"SELECT count(DISTINCT item) FROM ({ruled}) WHERE rule = {USED}"
        )
    before_last = None
    if last is not None:
        before_last = _value(
            connection,
            f"SELECT max(day) FROM order_sums WHERE rule = {USED} AND day < DATE '{last}'",
        )
    findings = []
    if could_be_two_way(opened, reading, latest):
        findings = two_way_findings(
            *connection.execute(two_way_query(opened, reading)).fetchall()[0]
        )
    connection.execute("DROP VIEW order_sums")
    connection.execute("DROP TABLE grouped")  # before the customers are copied out of DuckDB
    customers = _fetch(opened, log)
    return LogSums(
        customers=customers,
        rules=tuple(rules),
        removed=removed,
        n_duplicates=n_duplicates,
        n_lines=int(n_lines),
        n_orders=orders_of_all(customers) if log.frequency == "lines" else n_orders,
        n_items=n_items,
        n_shared=n_shared,
        units=int(units),
        first=first,
        last=last,
        before_last=before_last,
        findings=tuple(findings),
    )


def grouped_orders(ruled: str, log: LogConfig, rules: Sequence[Rule]) -> str:
    """Return the SELECT that adds up lines per rule, customer, day and order.

    Of the columns of `order_sums` it has those that the config does not make constant.
    """
    keys = ["customer", "day", *(["ord"] if log.order else [])]
    # The lines that a rule took out are one group per rule, those given back one per customer.
    used = dict.fromkeys(keys, f"rule = {USED}")
    units = "units"
    if given := given_back(log, rules):
        used["customer"] += f" OR ({given})"
        units = f"CASE WHEN rule = {USED} THEN units WHEN {given} THEN abs(units) END AS units"
    chosen = ", ".join(f"CASE WHEN {which} THEN {key} END AS {key}" for key, which in used.items())
    back = f", {returned(log)} AS back" if log.returns == "keep" else ""
    sums = ", ".join(f"{sql} AS {name}" for name, sql in _order_columns(log).items() if sql)
    return (
        f"SELECT rule, {', '.join(keys)}, {sums} FROM "
        f"(SELECT {chosen}, rule, {units}, pieces, copies{back} FROM ({ruled})) "
        f"GROUP BY rule, {', '.join(keys)}"
    )


def order_sums(grouped: str, log: LogConfig) -> str:
    """Return the SELECT of ``rule, customer, day, ord`` and what lines add up to for them.

    The sums are ``lines``, ``purchases`` (lines that take nothing back; where each line is an
    order), ``bought`` (whether there is such a line), ``units``, ``pieces`` and ``surplus`` (lines
    that repeat an equal one).
    """
    constants = dict.fromkeys(("units", "pieces", "surplus"), "0")
    constants |= {"purchases": "lines", "bought": "true"}
    absent = [name for name, sql in _order_columns(log).items() if not sql]
    rest = [f"{constants[name]} AS {name}" for name in absent]
    return (
        f"SELECT {', '.join(['*', *rest, *([] if log.order else ['NULL AS ord'])])} FROM {grouped}"
    )


def _order_columns(log: LogConfig) -> dict[str, str | None]:
    """Return how each sum of an order is made; None where it is constant."""
    keeps = log.returns == "keep"
    bought_lines = "CAST(count(*) FILTER (WHERE NOT back) AS BIGINT)"
    return {
        "lines": "CAST(count(*) AS BIGINT)",
        "purchases": bought_lines if keeps and log.frequency == "lines" else None,
        "bought": "NOT bool_and(back)" if keeps else None,
        "units": "CAST(sum(units) AS BIGINT)" if log.price or log.amount else None,
        "pieces": "CAST(sum(pieces) AS BIGINT)" if _counts_pieces(log) else None,
        "surplus": "CAST(sum(copies - 1) AS BIGINT)" if log.duplicates != "keep" else None,
    }


def _counts_pieces(log: LogConfig) -> bool:
    return log.quantity is not None and "quantity" in log.features  # else nobody asks for them


def item_sums(ruled: str, log: LogConfig) -> str:
    """Return the SELECT that counts the different items of each customer."""
    used = f"rule = {USED} AND NOT {returned(log)}" if log.returns == "keep" else f"rule = {USED}"
    known = f" AND day <= DATE '{log.day('calibration_end')}'" if log.calibration_end else ""
    return (
        f"SELECT customer, count(DISTINCT item) AS items FROM ({ruled}) "
        f"WHERE {used}{known} GROUP BY customer"
    )


def count_removed(connection: duckdb.DuckDBPyConnection) -> tuple[dict[int, int], int]:
    """Return the lines that each rule took out, and those that repeated an equal one."""
    rows = connection.execute(
        "SELECT rule, sum(lines), sum(surplus) FROM order_sums GROUP BY rule"
    ).fetchall()
    removed = {int(rule): int(lines) for rule, lines, _ in rows if rule != USED}
    return removed, sum(int(surplus) for *_, surplus in rows)


def count_orders(connection: duckdb.DuckDBPyConnection, log: LogConfig) -> tuple[int, int, int]:
    """Count the orders, those of several customers, and those of several days."""
    bought = f"SELECT * FROM order_sums WHERE rule = {USED} AND bought"
    n_rows = _value(connection, f"SELECT count(*) FROM ({bought})")
    if log.order is None or n_rows == _count_distinct(connection, bought, n_rows):
        # The usual log: an order is one row.
        return n_rows, 0, 0
    counts = connection.execute(orders_query(bought)).fetchall()[0]
    return int(counts[0]), int(counts[1]), int(counts[2])


def _count_distinct(connection: duckdb.DuckDBPyConnection, orders: str, n_rows: int) -> int:
    """Count the different ``ord``; in a bit for each where they are dense whole numbers."""
    kind, least, most = connection.execute(
        f"SELECT any_value(typeof(ord)), min(ord), max(ord) FROM ({orders})"
    ).fetchall()[0]
    whole = kind in WHOLE and least is not None
    dense = whole and most - least < min(BITS_OF_ROW * n_rows, MOST_BITS)
    count = f"bit_count(bitstring_agg(ord, {least}, {most}))" if dense else "count(DISTINCT ord)"
    return int(_value(connection, f"SELECT {count} FROM ({orders})"))


def _dense_days(
    connection: duckdb.DuckDBPyConnection, first: date | None, last: date | None
) -> tuple[date, date] | None:
    """Return the days from first to last where a bit for each, per customer, is little."""
    if first is None or last is None:
        return None
    n_rows, n_customers = connection.execute(
        f"SELECT count(*), approx_count_distinct(customer) FROM order_sums WHERE rule = {USED}"
    ).fetchall()[0]
    bits = n_customers * (last - first).days
    table = BYTES_OF_ROW * (n_rows - n_customers)
    return (first, last) if bits < min(8 * table, MOST_BITS) else None


def orders_query(orders: str) -> str:
    """Return the SELECT that counts orders, those of several customers and of several days."""
    return (
        "SELECT count(*), count(*) FILTER (WHERE c1 <> c2), count(*) FILTER (WHERE d1 <> d2) FROM "
        "(SELECT min(customer) AS c1, max(customer) AS c2, min(day) AS d1, max(day) AS d2 "
        f"FROM ({orders}) GROUP BY ord)"
    )


def orders_of_all(customers: pd.DataFrame) -> int:
    """Count the orders of all customers; one of two customers counts for each."""
    return int((customers["orders"] + customers["hold_orders"]).sum())


def customer_sums(
    log: LogConfig,
    rules: Sequence[Rule],
    *,
    spread: bool,
    dense_days: tuple[date, date] | None = None,
) -> str:
    """Return the SELECT that adds up ``order_sums`` per customer.

    Its columns are ``customer``, of the days up to ``calibration_end``: ``first``, ``last``,
    ``days`` and ``orders`` (in which something was bought; lines, where each is an order),
    ``lines``, ``units``, ``pieces``, ``first_units`` (of the first day) and ``returned`` (units of
    lines left out because they take something back); and ``hold_days, hold_orders, hold_units`` of
    the days after it.

    Parameters
    ----------
    rules : sequence of Rule
        By which the lines were left out.
    spread : bool
        Whether an order may have lines of several days; then it is counted once.
    dense_days : tuple of date, optional
        The first and the last day, where the days of each customer may be counted in bits; the
        result is the same.
    """
    end = log.day("calibration_end")
    known, later = (f"day <= DATE '{end}'", f"day > DATE '{end}'") if end else ("", "")
    is_purchase = "bought" if log.returns == "keep" else ""
    amounts = "units" in _sums(log)
    by_line = log.frequency == "lines"
    all_of, bought = _where(known), _where(known, is_purchase)
    sums = {
        "first": f"min(day){bought} - DATE '{EPOCH}'",
        "last": f"max(day){bought} - DATE '{EPOCH}'",
        "orders": f"coalesce(sum(purchases){all_of}, 0)" if by_line else f"count(*){bought}",
        "units": "0",
        "pieces": "0",
        **{name: f"coalesce(sum({name}){all_of}, 0)" for name in _sums(log)},
        "returned": "0",
        "hold_orders": "0",
        "hold_units": f"coalesce(sum(units){_where(later)}, 0)" if end and amounts else "0",
    }
    if end and by_line:
        sums["hold_orders"] = f"coalesce(sum(purchases){_where(later)}, 0)"
    elif end:
        sums["hold_orders"] = f"count(*){_where(later, is_purchase)}"
    days = {
        "days": f"count(*){bought}",
        "first_units": f"coalesce(arg_min(units, day){bought}, 0)" if amounts else "0",
        "hold_days": f"count(*){_where(later, is_purchase)}" if end else "0",
    }
    used = f"order_sums WHERE rule = {USED}"
    if dense_days:
        for name in ("days", "hold_days"):
            if days[name] != "0":
                days[name] = _in_bits(days[name].removeprefix("count(*)"), *dense_days)
        days["first_units"] = "0"
        query = _per_customer(sums | days, used)
        query = _with_first_units(query) if amounts else query
    else:
        # Days hold few sums, because there are almost as many of them as of orders.
        query = (
            f"SELECT * FROM ({_per_customer(sums, used)}) "
            f"JOIN ({_per_customer(days, f'({_per_day(log)})')}) USING (customer)"
        )
    if spread and not by_line:
        query = _with_orders_once(query, known, later)
    return _with_returned(query, rules) if given_back(log, rules) else query


def _per_customer(columns: Mapping[str, str], source: str) -> str:
    selected = ", ".join(f"CAST({sql} AS BIGINT) AS {name}" for name, sql in columns.items())
    return f"SELECT customer, {selected} FROM {source} GROUP BY customer"


def _in_bits(which: str, first: date, last: date) -> str:
    """Count different days: one bit for each."""
    bits = f"bitstring_agg(day - DATE '{first}', 0, {(last - first).days}){which}"
    return f"coalesce(bit_count({bits}), 0)"


def _with_first_units(query: str) -> str:
    """Add what each customer bought on the first day."""
    return (
        f"WITH sums AS MATERIALIZED ({query}) "
        "SELECT sums.* REPLACE (coalesce(begun.units, 0) AS first_units) FROM sums LEFT JOIN "
        "(SELECT customer, CAST(sum(order_sums.units) AS BIGINT) AS units "
        "FROM order_sums JOIN sums USING (customer) "
        f"WHERE rule = {USED} AND day = DATE '{EPOCH}' + CAST(first AS INTEGER) GROUP BY customer) "
        "AS begun USING (customer)"
    )


def _per_day(log: LogConfig) -> str:
    """Return the SELECT of each customer's days: ``units``, and whether something was bought."""
    used = f"FROM order_sums WHERE rule = {USED}"
    if log.order is None:  # then `order_sums` has one row per customer and day
        return f"SELECT * {used}"
    columns = ["customer", "day"]
    if "units" in _sums(log):
        # Cast, because sums of the 128 bits that DuckDB makes of 64 are slow.
        columns.append("CAST(sum(units) AS BIGINT) AS units")
    if log.returns == "keep":
        columns.append("bool_or(bought) AS bought")
    return f"SELECT {', '.join(columns)} {used} GROUP BY customer, day"


def _sums(log: LogConfig) -> list[str]:
    """Return the sums of an order that are not constant."""
    kept = {"lines": True, "units": log.price or log.amount, "pieces": _counts_pieces(log)}
    return [name for name, known in kept.items() if known]


def _where(*conditions: str) -> str:
    known = " AND ".join(filter(None, conditions))
    return f" FILTER (WHERE {known})" if known else ""


def _with_orders_once(query: str, known: str, later: str) -> str:
    """Count an order with lines of several days once."""
    after = f"count(DISTINCT ord){_where(later)}" if later else "0"
    orders = (
        f"SELECT customer, count(DISTINCT ord){_where(known)} AS orders, {after} AS hold_orders "
        f"FROM order_sums WHERE rule = {USED} AND bought GROUP BY customer"
    )
    return (
        "SELECT sums.* REPLACE (coalesce(once.orders, 0) AS orders, "
        "coalesce(once.hold_orders, 0) AS hold_orders) "
        f"FROM ({query}) AS sums LEFT JOIN ({orders}) AS once USING (customer)"
    )


def _with_returned(query: str, rules: Sequence[Rule]) -> str:
    """Add what each customer gave back."""
    returned = (
        "SELECT customer, CAST(sum(units) AS BIGINT) AS returned "
        f"FROM order_sums WHERE {by_back_rule(rules)} AND customer IS NOT NULL GROUP BY customer"
    )
    return (
        "SELECT sums.* REPLACE (coalesce(back.returned, 0) AS returned) "
        f"FROM ({query}) AS sums LEFT JOIN ({returned}) AS back USING (customer)"
    )


def _fetch(opened: OpenLog, log: LogConfig) -> pd.DataFrame:
    items = ""
    join = ""
    if log.item is not None:
        items, join = ", coalesce(items, 0) AS items", "LEFT JOIN item_sums USING (customer)"
    customer = _customer_name(opened, log)
    query = (
        f"SELECT customer_sums.* REPLACE ({customer} AS customer){items} FROM customer_sums {join}"
    )
    table: pa.Table = opened.connection.sql(query).to_arrow_table()
    return table.to_pandas(split_blocks=True, self_destruct=True)


def _customer_name(opened: OpenLog, log: LogConfig) -> str:
    """SQL of the names of customers: whole numbers where all are such, else text."""
    name = "customer_sums.customer"
    kind = opened.column(str(log.customer)).kind
    if kind == "number" and _value(
        opened.connection, f"SELECT bool_and{is_whole('customer')} FROM customer_sums"
    ):
        return f"CAST({name} AS BIGINT)"
    return name if kind == "whole" else name_text(name, opened, log.customer)


def _value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]

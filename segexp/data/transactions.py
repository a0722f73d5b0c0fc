"""Transaction logs: from lines of purchases to a table of customers, or to baskets.

A log is read and added up by DuckDB and need not fit into memory; what is kept is one row per
customer. The rules that decide which lines count stand in `segexp.data.log_rules`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_matrix

from segexp.config.schema import DatasetConfig, LogConfig
from segexp.data import log_sources
from segexp.data.findings import Finding, counted
from segexp.data.log_baskets import BasketSums, read_baskets, sum_up_baskets
from segexp.data.log_rules import MILLIONTHS, WHOLE, Reading, rule_findings
from segexp.data.log_sources import open_frame, open_log
from segexp.data.log_sums import EPOCH, LogSums, sum_up
from segexp.data.sources import Progress
from segexp.errors import ConfigError, DataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

VERSION = b"segexp log 3"  # raised when the same log would give another digest
NEEDS_AMOUNT = ("monetary", "repeat_spend", "average_order")
CHUNK = 100_000  # texts that are encoded at once
LONG = 365  # days without a line that are told


@dataclass(frozen=True)
class Customers:
    """A table of customers made of a transaction log; all parts have one entry per customer."""

    table: pd.DataFrame  # the features asked for, float64, rows numbered from 0
    ids: pd.Series[Any]  # str; whole numbers in their order, else as text
    totals: pd.DataFrame  # orders, revenue, returned (left out of revenue with returns=drop)
    outcome: pd.DataFrame | None  # purchases, orders, spend after calibration_end
    holdout_days: float | None  # how long the outcome is
    summary: dict[str, Any]  # counts and dates of the log, in values that JSON can hold
    findings: tuple[Finding, ...]
    fingerprint: str  # of all of the above and the reference date; not of how the log is stored
    files: tuple[dict[str, Any], ...]  # path, origin, sha256_ok


@dataclass(frozen=True)
class Baskets:
    """Baskets made of a transaction log, or of a file of baskets."""

    matrix: csr_matrix  # bool, (n_baskets, n_items): an item is in a basket or not
    items: tuple[str, ...]  # names of the columns, sorted
    ids: pd.Series[Any]  # str, names of the orders; of files of baskets the numbers of their lines
    customers: pd.Series[Any] | None  # the customer of each basket
    segments: pd.Series[Any] | None  # the segment of each basket's customer
    revenue: pd.Series[Any] | None  # of each basket
    summary: dict[str, Any]
    findings: tuple[Finding, ...]
    fingerprint: str
    files: tuple[dict[str, Any], ...]


def load_customers(config: DatasetConfig, progress: Progress | None = None) -> Customers:
    """Add up a transaction log per customer.

    Parameters
    ----------
    config : DatasetConfig
        Of ``kind=transactions``.
    progress : callable, optional
        Called with a line of text before each attempt to download.

    Returns
    -------
    Customers
        One row per customer who bought in the calibration period (without one: in the log).
        The same lines give the same numbers, to the last digit, in whatever order, format and
        number of files they are stored, and with ``aggregate=dask`` as with ``duckdb``.

    Raises
    ------
    ConfigError
        A feature needs a column that the config does not name, or a package is missing.
    DataError
        The log cannot be read, its content is not what the config says, or no line is left.
    """
    reading = Reading.of(config)
    _check_settings(reading.log)
    if reading.log.aggregate == "dask":
        from segexp.data.log_dask import sum_up_with_dask

        sums, files = sum_up_with_dask(config, reading, progress)
        return _customers(sums, reading, files)
    with open_log(config, progress) as opened:
        sums, files = sum_up(opened, reading), opened.files
    return _customers(sums, reading, files)


def customers_from_frame(frame: pd.DataFrame, log: LogConfig | DatasetConfig) -> Customers:
    """Add up a DataFrame with one row per line, as `load_customers` adds up files.

    Parameters
    ----------
    frame : DataFrame
        Its index is not used. Text cells are read as those of a CSV file.
    log : LogConfig or DatasetConfig
        A data set says more: ``decimal``, ``dayfirst`` and ``missing_tokens`` of text cells.
        Without one they are a decimal point, ISO dates, and the missing tokens of ``conf/``.

    Raises
    ------
    ConfigError, DataError
        As `load_customers`.
    """
    reading = Reading.of(log) if isinstance(log, DatasetConfig) else Reading("frame", log)
    _check_settings(reading.log)
    with open_frame(frame, reading.dataset, reading.log) as opened:
        sums = sum_up(opened, reading)
    return _customers(sums, reading, ())


def load_baskets(config: DatasetConfig, progress: Progress | None = None) -> Baskets:
    """Read the baskets of a transaction log: which items were bought together.

    Parameters
    ----------
    config, progress
        As for `load_customers`. With ``layout=lines`` a basket is an order (without an order
        column: what a customer bought on one day); with ``layout=baskets`` it is a line of text
        with its items, called by the number of its line (in all files together).

    Returns
    -------
    Baskets
        Sorted by id, whole numbers as numbers; the baskets of a file of baskets in its order.
        Lines that take something back put nothing into a basket.

    Raises
    ------
    ConfigError
        ``item`` is not given.
    DataError
        As `load_customers`.
    """
    reading = Reading.of(config)
    if reading.log.layout == "baskets":
        sums, files = read_baskets(config, reading, progress)
        return _baskets(sums, reading, files)
    if reading.log.item is None:
        raise ConfigError("dataset.transactions.item must name the column of the item, got null")
    with open_log(config, progress) as opened:
        return _baskets(sum_up_baskets(opened, reading), reading, opened.files)


def log_header(config: DatasetConfig) -> list[str]:
    """Return the names of the columns of a log; none where each line is a basket.

    Raises
    ------
    ConfigError, DataError
        As `load_customers`.
    """
    return [] if config.transactions.layout == "baskets" else log_sources.log_names(config)


def check_log(config: DatasetConfig) -> None:
    """Raise ``DataError`` unless the log has every column that the config names."""
    if config.transactions.layout == "lines":
        log_sources.check_columns(config.name, log_header(config), config.transactions)


def _check_settings(log: LogConfig) -> None:
    key = "dataset.transactions"
    if log.layout != "lines":
        raise ConfigError(f"{key}.layout={log.layout} has no customers; say model.task=baskets")
    if log.customer is None:
        raise ConfigError(f"{key}.customer must name a column of the log, got null")
    for feature in log.features:
        if feature in NEEDS_AMOUNT and not (log.price or log.amount):
            raise ConfigError(
                f"{key}.features: {feature} needs {key}.price (of a piece) or amount (of the line)"
            )
        if feature == "items" and log.item is None:
            raise ConfigError(f"{key}.features: items needs {key}.item")


@dataclass(frozen=True)
class _Holdout:
    """What follows the calibration period; nothing where there is none."""

    end: date | None = None
    days: float | None = None
    outcome: pd.DataFrame | None = None


def _customers(sums: LogSums, reading: Reading, files: tuple[dict[str, Any], ...]) -> Customers:
    log, everybody = reading.log, sums.customers
    ids, columns = _buyers(sums, reading)
    reference = _reference_day(reading, sums, columns)
    holdout = _holdout(reading, sums, columns)
    table = _features(columns, log, (reference - EPOCH).days)
    totals = {
        "orders": columns["orders"].astype(float),
        "revenue": _money(columns["units"], log),
        "returned": _money(columns["returned"], log),
    }
    return Customers(
        table=table,
        ids=pd.Series(ids, dtype=object, name=log.customer),
        totals=pd.DataFrame(totals),
        outcome=holdout.outcome,
        holdout_days=holdout.days,
        summary=_summary(sums, log) | {
            "reference_date": _text(reference),
            "calibration_end": log.calibration_end,
            "holdout_end": _text(holdout.end),
        },
        findings=(
            *rule_findings(sums.rules, sums.removed, sums.n_duplicates),
            *_customer_findings(sums, everybody),
            *sums.findings,
            *_gap_findings(sums),
            _reference_finding(reference, log),
            *_late_findings(reference, columns),
        ),
        fingerprint=_fingerprint(ids, columns, table, reference, holdout),
        files=files,
    )  # fmt: skip


def _buyers(sums: LogSums, reading: Reading) -> tuple[npt.NDArray[np.object_], dict[str, IntArray]]:
    """Return who bought in the calibration period, in order, and their sums."""
    if sums.n_lines == 0:
        raise _empty(reading, sums)
    frame = sums.customers[sums.customers["days"] > 0]
    if frame.empty:
        end = reading.log.calibration_end
        raise DataError(
            f"dataset {reading.dataset!r}: nobody bought up to "
            f"transactions.calibration_end={end}; the log begins on {sums.first}"
            if end
            else f"dataset {reading.dataset!r}: nobody bought; every line that is left takes "
            "something back"
        )
    order = sorted_positions(frame["customer"])
    ids = frame["customer"].to_numpy()[order].astype(str).astype(object)
    names = [str(name) for name in frame if name != "customer"]
    return ids, {name: frame[name].to_numpy(np.int64)[order] for name in names}


def _empty(reading: Reading, sums: LogSums | BasketSums) -> DataError:
    if sums.n_lines_read == 0:
        return DataError(f"dataset {reading.dataset!r} has no lines")
    found = rule_findings(sums.rules, sums.removed, sums.n_duplicates)
    told = "; ".join(finding.message for finding in found)
    return DataError(
        f"dataset {reading.dataset!r}: none of {counted(sums.n_lines_read, 'line')} is left: {told}"
    )


def sorted_positions(names: pd.Series[Any]) -> IntArray:
    """Return the order of names: as numbers if all are whole numbers, else as text.

    Examples
    --------
    >>> sorted_positions(pd.Series(["10", "9", "-1"])).tolist()
    [2, 1, 0]
    >>> sorted_positions(pd.Series(["10", "9", "a"])).tolist()
    [0, 1, 2]
    """
    if pd.api.types.is_integer_dtype(names):
        return np.argsort(names.to_numpy(), kind="stable")
    texts = names.to_numpy(dtype=object)
    by_text = np.argsort(texts, kind="stable")
    if not names.astype(str).str.fullmatch(WHOLE).all():
        return by_text
    # As Python's integers, which have no bounds.
    numbers = np.array([int(text) for text in texts[by_text]], dtype=object)
    return by_text[np.argsort(numbers, kind="stable")]


def _day(log: LogConfig, key: str) -> date:
    day = log.day(key)
    if day is None:
        raise ConfigError(f"dataset.transactions.{key} must be a date, got null")
    return day


def _reference_day(reading: Reading, sums: LogSums, columns: Mapping[str, IntArray]) -> date:
    log, last = reading.log, EPOCH + timedelta(days=int(columns["last"].max()))
    given = log.day("reference_date")
    if given is not None and given < last:
        raise DataError(
            f"dataset {reading.dataset!r}: transactions.reference_date={given} is before the last "
            f"purchase ({last}); say transactions.end={given}, or a later reference_date"
        )
    after_last = (sums.last or last) + timedelta(days=1)
    return given or log.day("calibration_end") or after_last


def _reference_finding(reference: date, log: LogConfig) -> Finding:
    if log.reference_date is not None:
        why = "as given"
    elif log.calibration_end is not None:
        why = "the end of the calibration period"
    else:
        why = "the day after the last line"
    message = f"recency and tenure count up to {reference}, {why} (reference_date)"
    return Finding("reference_date", message, 1)


def _gap_findings(sums: LogSums | BasketSums) -> list[Finding]:
    """Say that the last day stands alone, as a mistyped year does."""
    if sums.last is None or sums.before_last is None:
        return []
    days = (sums.last - sums.before_last).days
    if days <= LONG:
        return []
    what = (
        f"the last line ({sums.last}) lies {days} days after the one before it "
        f"({sums.before_last}); if that is a mistake, say dataset.transactions.end"
    )
    return [Finding("gap", what, 1)]


def _late_findings(reference: date, columns: Mapping[str, IntArray]) -> list[Finding]:
    """Say that the reference date lies long after the last purchase."""
    last = EPOCH + timedelta(days=int(columns["last"].max()))
    days = (reference - last).days
    if days <= LONG:
        return []
    what = f"the reference date ({reference}) lies {days} days after the last purchase ({last})"
    return [Finding("late_reference", what, 1)]


def _holdout(reading: Reading, sums: LogSums, columns: Mapping[str, IntArray]) -> _Holdout:
    log, last = reading.log, sums.last
    if log.calibration_end is None or last is None:
        return _Holdout()
    begin, end = _day(log, "calibration_end"), log.day("holdout_end") or last
    if last <= begin:
        raise DataError(
            f"dataset {reading.dataset!r}: no line is left after transactions.calibration_end="
            f"{begin}, the last one is of {last}; name an earlier day"
        )
    if end > last and not _goes_on(sums):
        raise DataError(
            f"dataset {reading.dataset!r}: transactions.holdout_end={end} is after the last line "
            f"that is used ({last}); say transactions.holdout_end={last}, or null"
        )
    outcome = {
        "purchases": columns["hold_days"].astype(float),
        "orders": columns["hold_orders"].astype(float),
        "spend": _money(columns["hold_units"], log),
    }
    return _Holdout(end, float((end - begin).days), pd.DataFrame(outcome))


def _goes_on(sums: LogSums) -> bool:
    """Whether the log has later lines than those that are used."""
    late = [code for code, rule in enumerate(sums.rules, 1) if rule.name in ("end", "holdout_end")]
    return any(sums.removed.get(code, 0) for code in late)


def _features(columns: Mapping[str, IntArray], log: LogConfig, reference: int) -> pd.DataFrame:
    first, last = columns["first"].astype(float), columns["last"].astype(float)
    repeats, span = columns["days"] - 1.0, last - first
    orders, amount = columns["orders"].astype(float), _money(columns["units"], log)
    lines, once = columns["lines"].astype(float), repeats == 0
    by_repeat = np.where(once, np.nan, repeats)
    later_amount = _money(columns["units"] - columns["first_units"], log)
    features = {
        "recency": reference - last,
        "frequency": repeats + 1 if log.frequency == "days" else orders,
        "monetary": amount if log.monetary == "sum" else amount / orders,
        "tenure": reference - first,
        "interpurchase": span / by_repeat,
        "span": span,
        "repeats": repeats,
        "repeat_spend": later_amount / by_repeat,
        "orders": orders,
        "days": repeats + 1,
        "lines": lines,
        "quantity": columns["pieces"] / MILLIONTHS if log.quantity else lines,
        "average_order": amount / orders,
    }
    if "items" in columns:
        features["items"] = columns["items"].astype(float)
    return pd.DataFrame({name: features[name] for name in log.features})


def _money(units: IntArray, log: LogConfig) -> FloatArray:
    """Return amounts; NaN where the log has none."""
    known = bool(log.price or log.amount)
    return units / MILLIONTHS if known else np.full(len(units), np.nan)


def _summary(sums: LogSums, log: LogConfig) -> dict[str, Any]:
    bought = (sums.customers["days"] > 0) | (sums.customers["hold_days"] > 0)
    return {
        "n_lines_read": sums.n_lines_read,
        "n_lines": sums.n_lines,
        "n_customers": int(bought.sum()),
        "n_orders": sums.n_orders,
        "n_items": sums.n_items,
        "revenue": sums.units / MILLIONTHS if log.price or log.amount else None,
        "first": _text(sums.first),
        "last": _text(sums.last),
    }


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _customer_findings(sums: LogSums, everybody: pd.DataFrame) -> list[Finding]:
    findings = shared_findings(sums.n_shared)
    before, after = everybody["days"] > 0, everybody["hold_days"] > 0
    if count := int((~before & after).sum()):
        what = f"{counted(count, 'customer')} bought after calibration_end only, and are left out"
        findings.append(Finding("new_customers", what, count))
    if count := int((~before & ~after).sum()):
        what = f"{counted(count, 'customer')} only returned something, and are left out"
        findings.append(Finding("only_returns", what, count))
    return findings


def shared_findings(n_shared: int) -> list[Finding]:
    """Say how many orders hold lines of several customers."""
    if n_shared == 0:
        return []
    verb = "holds" if n_shared == 1 else "hold"
    what = f"{counted(n_shared, 'order')} {verb} lines of several customers, and count for each"
    return [Finding("shared_orders", what, n_shared)]


def _fingerprint(
    ids: npt.NDArray[np.object_],
    columns: Mapping[str, IntArray],
    table: pd.DataFrame,
    reference: date,
    holdout: _Holdout,
) -> str:
    """SHA-256 over the ids, all sums, the features and the outcome, in the order of the ids."""
    digest = hashlib.sha256(VERSION)
    _add_texts(digest, ids)
    for name in sorted(columns):
        digest.update(name.encode() + b"\0" + columns[name].astype("<i8").tobytes())
    _add_texts(digest, [reference.isoformat(), str(holdout.days)])
    outcome = pd.DataFrame() if holdout.outcome is None else holdout.outcome
    for part in (table, outcome):
        _add_texts(digest, list(map(str, part)))
        values = part.to_numpy(dtype="<f8")
        digest.update(np.where(np.isnan(values), np.nan, values).tobytes())
    return digest.hexdigest()


def _add_texts(digest: Any, texts: Sequence[str] | npt.NDArray[np.object_]) -> None:
    """Hash texts, each after its length, so that they cannot run together."""
    digest.update(np.array([len(texts)], dtype="<i8").tobytes())
    for start in range(0, len(texts), CHUNK):
        encoded = [text.encode() for text in texts[start : start + CHUNK]]
        lengths = np.array([len(text) for text in encoded], dtype="<i8")
        digest.update(lengths.tobytes() + b"".join(encoded))


def _baskets(sums: BasketSums, reading: Reading, files: tuple[dict[str, Any], ...]) -> Baskets:
    log = reading.log
    if len(sums.ids) == 0:
        raise _empty(reading, sums)
    shape = (len(sums.ids), len(sums.items))
    ones = np.ones(len(sums.rows), dtype=bool)
    matrix = csr_matrix((ones, (sums.rows, sums.columns)), shape=shape)
    matrix.sort_indices()
    digest = hashlib.sha256(VERSION + b" baskets")
    _add_texts(digest, sums.ids)
    _add_texts(digest, sums.items)
    for part in (matrix.indptr, matrix.indices):
        digest.update(part.astype("<i8").tobytes())
    units = sums.units
    return Baskets(
        matrix=matrix,
        items=tuple(sums.items),
        ids=pd.Series(sums.ids, dtype=object, name=log.order or "basket"),
        customers=None
        if sums.customers is None
        else pd.Series(sums.customers, dtype=object, name=log.customer),
        segments=None,
        revenue=None if units is None else pd.Series(units / MILLIONTHS, name="revenue"),
        summary={
            "n_lines_read": sums.n_lines_read,
            "n_lines": sums.n_lines,
            "n_customers": None if sums.customers is None else len(set(sums.customers)),
            "n_orders": len(sums.ids),
            "n_items": len(sums.items),
            "revenue": None if units is None else sum(units.tolist()) / MILLIONTHS,
            "first": _text(sums.first),
            "last": _text(sums.last),
            "reference_date": log.reference_date,
            "calibration_end": log.calibration_end,
            "holdout_end": log.holdout_end,
        },
        findings=(
            *rule_findings(sums.rules, sums.removed, sums.n_duplicates),
            *shared_findings(sums.n_shared),
            *sums.findings,
            *_gap_findings(sums),
        ),
        fingerprint=digest.hexdigest(),
        files=files,
    )

"""Cells as text: the one form of a table between its reader and its types.

CSV has text only, Parquet has types and SQL has those of the driver. Every reader hands over
text, written in one way (``1`` for ``1.0``, ISO dates, ``True``), so that the same table gives
the same fingerprint, the same segments and the same categories wherever it is stored.
"""

from __future__ import annotations

import datetime
import decimal as decimals
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from segexp.data.findings import Finding, counted

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
DateArray = npt.NDArray[np.datetime64]

TEXT = pa.large_string()
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
LEADING_ZERO = r"^[+-]?0[0-9]"  # as in the zip code 00501, which is not the number 501
LONG_WHOLE = r"^[+-]?[0-9]{16,}$"
EXACT = 2**53  # whole numbers below it are exact as float64

ISO_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
ZONE = r"(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
ISO_TIME = rf"[ T][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?{ZONE}?"
ISO = rf"{ISO_DATE}({ISO_TIME})?$"
DAY_FIRST = r"^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})"
DAY_OR_MONTH_FIRST = r"^([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]([0-9]{4})"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Cells:
    """A table of text in which null is a missing cell; it is never changed in place."""

    columns: dict[str, pa.LargeStringArray]
    rows: IntArray  # the number of each row in the table as read, from 1

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def keep(self, kept: BoolArray) -> Cells:
        """Leave out the rows where ``kept`` is False."""
        if kept.all():
            return self
        mask = pa.array(kept)
        columns = {name: column.filter(mask) for name, column in self.columns.items()}
        return Cells(columns, self.rows[kept])

    def replace(self, columns: Mapping[str, pa.LargeStringArray]) -> Cells:
        """Put other content under some of the names."""
        return Cells({**self.columns, **columns}, self.rows)


def cell_text(value: Any) -> str | None:
    """Write one Python value, of a row or of a YAML file, as the text of a cell.

    Examples
    --------
    >>> cell_text(2.0), cell_text(0.5), cell_text(True), cell_text(" a "), cell_text(None)
    ('2', '0.5', 'True', 'a', None)
    """
    if value is None or value is pd.NaT or value != value:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="replace").strip()
    if isinstance(value, decimals.Decimal):
        return f"{value:f}"
    return _plain(str(value).strip(), ".")


def text_column(values: Any, decimal: str = ".") -> pa.LargeStringArray:
    """Write a column of any type as text.

    Parameters
    ----------
    values : pyarrow array, chunked array, or sequence of Python values
    decimal : str
        The decimal mark to write, so that typed columns and text agree.

    Returns
    -------
    LargeStringArray
        Whole numbers without ``.0``; timestamps as ``YYYY-MM-DD`` if all are midnight and
        ``YYYY-MM-DD HH:MM:SS`` with a fraction where there is one, in UTC if they have a
        zone; booleans as ``True`` and ``False``; NaN, NaT and None as null.
    """
    values = _arrow(values)
    kind = values.type
    if pa.types.is_dictionary(kind):
        return text_column(values.dictionary_decode(), decimal)
    if pa.types.is_boolean(kind):
        return pc.if_else(values, pa.scalar("True", TEXT), pa.scalar("False", TEXT))
    if pa.types.is_floating(kind):
        return _text_of_floats(values, decimal)
    if pa.types.is_decimal(kind):
        return pc.replace_substring(values.cast(pa.string()).cast(TEXT), ".", decimal)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return iso_text(values.to_numpy(zero_copy_only=False))
    if pa.types.is_null(kind) or pa.types.is_integer(kind):
        return values.cast(TEXT)
    if kind in (pa.string(), pa.large_string()):
        return values.cast(TEXT)
    return pa.array([cell_text(value) for value in values.to_pylist()], TEXT)


def text_table(names: Sequence[str], columns: Iterable[Any], decimal: str = ".") -> pa.Table:
    """Make a table of text cells of columns of any type."""
    texts = [text_column(column, decimal) for column in columns]
    return pa.Table.from_arrays(texts, names=[str(name).strip() for name in names])


def _arrow(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        # Values of several types in one column, as SQLite allows them, or of a type of the driver.
        return pa.array([cell_text(value) for value in values], TEXT)


def _text_of_floats(values: pa.Array, decimal: str) -> pa.LargeStringArray:
    numbers = values.to_numpy(zero_copy_only=False)
    absent = np.isnan(numbers)
    known = numbers[~absent]
    # Arrow writes 1e+10 for 10000000000; an id with gaps is stored as such a float.
    if np.all(np.abs(known) < EXACT) and np.all(known == np.floor(known)):
        whole = np.where(absent, 0, numbers).astype(np.int64)
        return pa.array(whole, mask=absent).cast(TEXT)
    text = pa.array(numbers, mask=absent).cast(TEXT)
    return pc.replace_substring(text, ".", decimal)


def iso_text(moments: DateArray) -> pa.LargeStringArray:
    """Write moments as ISO text: the date only if all of them are midnight.

    Parameters
    ----------
    moments : ndarray of datetime64 in any unit
        NaT gives null.
    """
    absent = np.isnat(moments)
    known = moments[~absent]
    units: tuple[Literal["D", "s", "us", "ns"], ...] = ("D", "s", "us", "ns")
    unit = next(unit for unit in units if np.all(known.astype(f"M8[{unit}]") == known))
    text = np.where(absent, "", np.datetime_as_string(moments, unit=unit))
    return pc.replace_substring(pa.array(text, mask=absent).cast(TEXT), "T", " ")


def _plain(text: str, decimal: str) -> str:
    return re.sub(rf"^([+-]?[0-9]+){re.escape(decimal)}0+$", r"\1", text)


def clean(
    raw: pa.Table, missing_tokens: Iterable[str], decimal: str = "."
) -> tuple[Cells, list[Finding]]:
    """Strip blanks, write whole numbers without ``.0`` and turn missing tokens into null.

    An empty cell is missing whatever the tokens are: Parquet and SQL know no other gap.

    Parameters
    ----------
    raw : Table of text columns with different names

    Returns
    -------
    cells : Cells
    findings : list of Finding
        One per column in which a token other than the empty cell was found.
    """
    plain = (_plain(str(token).strip(), decimal) for token in missing_tokens)
    tokens = pa.array(sorted({"", *plain}), TEXT)
    columns: dict[str, pa.LargeStringArray] = {}
    findings: list[Finding] = []
    for name, chunked in zip(raw.column_names, raw.columns, strict=True):
        column = _without_fraction(pc.utf8_trim_whitespace(_arrow(chunked)), decimal)
        absent = pc.is_in(column, tokens, skip_nulls=True)
        columns[name] = pc.if_else(absent, pa.scalar(None, TEXT), column)
        findings += _token_findings(name, column.filter(absent))
    return Cells(columns, np.arange(1, raw.num_rows + 1)), findings


def _without_fraction(column: pa.LargeStringArray, decimal: str) -> pa.LargeStringArray:
    if not pc.any(pc.match_substring(column, decimal + "0")).as_py():
        return column
    pattern = rf"^([+-]?[0-9]+){re.escape(decimal)}0+$"
    return pc.replace_substring_regex(column, pattern, r"\1")


def _token_findings(name: str, tokens: pa.LargeStringArray) -> list[Finding]:
    counts = {entry["values"]: entry["counts"] for entry in tokens.value_counts().to_pylist()}
    counts.pop("", None)
    if not counts:
        return []
    total = sum(counts.values())
    seen = ", ".join(f"{token!r} ({count})" for token, count in sorted(counts.items()))
    message = f"column {name!r}: {counted(total, 'cell')} taken as missing, {seen}"
    return [Finding("token", message, total)]


def is_number(column: pa.LargeStringArray, decimal: str = ".") -> BoolArray:
    """Say which cells are finite decimal numbers; a missing cell is none."""
    return _mask(pc.match_substring_regex(_with_point(column, decimal), NUMBER))


def parse_numbers(column: pa.LargeStringArray, decimal: str = ".") -> FloatArray:
    """Read numbers, each rounded correctly to the nearest float64.

    Returns
    -------
    ndarray of float64
        NaN where a cell is missing or no number; infinite where it is too large for float64.
    """
    text = _with_point(column, decimal)
    number = pc.match_substring_regex(text, NUMBER)
    text = pc.if_else(number, pc.utf8_ltrim(text, characters="+"), pa.scalar(None, TEXT))
    return np.asarray(text.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _with_point(column: pa.LargeStringArray, decimal: str) -> pa.LargeStringArray:
    if decimal == ".":
        return column
    # With a decimal comma 1.000 is a thousand or a mistake, so it must not pass as 1.
    return pc.replace_substring(pc.replace_substring(column, ".", "?"), decimal, ".")


def parse_dates(column: pa.LargeStringArray, *, dayfirst: bool) -> DateArray:
    """Read dates and times.

    Understood are ISO dates, ``2024/1/31``, ``20240131``, ``31.01.2024``, ``31-01-2024`` (or month
    first; with ``-``, ``/`` or a blank), ``31 Jan 2024`` and ``Jan 31, 2024``, each with or without
    a 24-hour time. A time with a zone is the time on the clocks there: the zone is left out.
    Two-digit years are not understood. Transaction logs are read by the same rules.

    Parameters
    ----------
    dayfirst : bool
        Whether ``04-09-2012`` is the fourth of September; else it is the ninth of April. With
        dots the day comes first in any case.

    Returns
    -------
    ndarray of datetime64[ns]
        NaT where a cell is missing, no date, or outside the years 1678 to 2261.
    """
    text = _as_iso(column, dayfirst)
    text = pc.if_else(pc.match_substring_regex(text, ISO), text, pa.scalar(None, TEXT))
    text = pc.replace_substring_regex(text, rf"(:[0-9.]+){ZONE}$", r"\1")
    objects = text.to_numpy(zero_copy_only=False)
    moments = pd.to_datetime(pd.Series(objects), format="ISO8601", errors="coerce")
    inside = (moments > pd.Timestamp.min) & (moments < pd.Timestamp.max)
    return moments.where(inside).astype("datetime64[ns]").to_numpy()


def _as_iso(column: pa.LargeStringArray, dayfirst: bool) -> pa.LargeStringArray:
    rewrites = [
        (r"^([0-9]{4})[/.]([0-9]{1,2})[/.]([0-9]{1,2})", r"\1-\2-\3"),
        (r"^([0-9]{4})([0-9]{2})([0-9]{2})$", r"\1-\2-\3"),
        (DAY_FIRST, r"\3-\2-\1"),
        (DAY_OR_MONTH_FIRST, r"\3-\2-\1" if dayfirst else r"\3-\1-\2"),
    ]
    if matches_any(column, "[a-zA-Z]{3}"):
        for number, month in enumerate(MONTHS, start=1):
            spelled = rf"(?i:{month}[a-z]*)\.?"
            rewrites += [
                (rf"^([0-9]{{1,2}})[- ]{spelled}[- ]([0-9]{{4}})", rf"\2-{number}-\1"),
                (rf"^{spelled} ([0-9]{{1,2}}),? ([0-9]{{4}})", rf"\2-{number}-\1"),
            ]
    rewrites += [
        (r"^([0-9]{4})-([0-9])-", r"\1-0\2-"),
        (r"^([0-9]{4}-[0-9]{2})-([0-9])([^0-9]|$)", r"\1-0\2\3"),
        (r" ([0-9]:)", r" 0\1"),
    ]
    for pattern, replacement in rewrites:
        column = pc.replace_substring_regex(column, pattern, replacement)
    return column


def missing(column: pa.LargeStringArray) -> BoolArray:
    """Say which cells are missing."""
    return _mask(column.is_null())


def _mask(mask: pa.BooleanArray) -> BoolArray:
    return np.asarray(mask.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)


def matches_any(column: pa.LargeStringArray, pattern: str) -> bool:
    """Say whether a regular expression is found in any cell."""
    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())


def content(column: pa.LargeStringArray, decimal: str = ".") -> FloatArray | pa.LargeStringArray:
    """Return what a column says, however it was written: numbers, dates, or else its text.

    A column is numbers if every cell that is not missing is a number, none has leading zeros
    and none is a whole number so long that float64 cannot tell it from its neighbour (an id of
    17 digits). A column in which every cell is an ISO date is written in one form of them.
    """
    absent = missing(column)
    if (is_number(column, decimal) | absent).all() and not matches_any(column, LEADING_ZERO):
        numbers = parse_numbers(column, decimal)
        exact = not np.any(np.abs(numbers) >= EXACT)
        return numbers if exact or not matches_any(column, LONG_WHOLE) else column
    if (_mask(pc.match_substring_regex(column, ISO)) | absent).all():
        moments = parse_dates(column, dayfirst=False)
        return column if np.isnat(moments[~absent]).any() else iso_text(moments)
    return column


def examples(column: pa.LargeStringArray, chosen: BoolArray, rows: IntArray) -> str:
    """Quote up to three of the ``chosen`` cells with their row numbers."""
    positions = np.flatnonzero(chosen)[:3]
    return ", ".join(f"{column[int(i)].as_py()!r} (row {rows[i]})" for i in positions)

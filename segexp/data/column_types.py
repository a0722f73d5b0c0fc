"""From text to types: the feature table that scikit-learn sees, and the codes of the segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from segexp.data.cells import (
    TEXT,
    BoolArray,
    Cells,
    IntArray,
    cell_text,
    examples,
    is_number,
    missing,
    parse_dates,
    parse_numbers,
)
from segexp.data.findings import Finding, counted
from segexp.errors import ConfigError, DataError

LARGEST = 1e30  # beyond it squares and sums leave float32 or float64
MAX_SEGMENTS = 100


@dataclass(frozen=True)
class ColumnTypes:
    """How the text of each feature column is read."""

    roles: dict[str, str]  # column -> numeric, categorical, ordinal or date, in order
    levels: dict[str, tuple[str, ...]]  # ordinal column -> texts from low to high
    dayfirst: bool
    decimal: str


def level_texts(ordinal: Mapping[str, list[Any]]) -> dict[str, tuple[str, ...]]:
    """Write the levels of a YAML file as the text of cells, e.g. 1 as ``"1"``.

    Raises
    ------
    ConfigError
        Two levels of a column are the same text, or a level is null.
    """
    levels = {}
    for name, values in ordinal.items():
        texts = [cell_text(value) for value in values]
        if None in texts or len(set(texts)) < len(texts):
            raise ConfigError(f"dataset.ordinal.{name} must list different values, got {values!r}")
        levels[name] = tuple(str(text) for text in texts)
    return levels


def type_columns(
    cells: Cells, types: ColumnTypes, *, invalid_values: str
) -> tuple[pd.DataFrame, list[Finding]]:
    """Type the feature columns of a table.

    Parameters
    ----------
    cells : Cells
        Must have the columns of ``types``; others are left out.
    invalid_values : {"error", "missing"}
        What to do with a cell that its type cannot hold: text, infinities and numbers beyond
        1e30 in a numeric column, unknown levels, dates that cannot be read.

    Returns
    -------
    X : DataFrame
        One row per customer, rows numbered from 0. Numeric columns are float64, categorical
        ones object with str and NaN, ordinal ones ordered categories, dates datetime64[ns].
    findings : list of Finding
        One per column in which invalid cells were set to missing.

    Raises
    ------
    DataError
        Invalid cells, and ``invalid_values`` is ``error``.
    """
    columns: dict[str, pd.Series[Any]] = {}
    problems: dict[str, tuple[str, int]] = {}
    for name, role in types.roles.items():
        column = cells.columns[name]
        columns[name], invalid = _typed(column, role, types, types.levels.get(name, ()))
        if invalid.any():
            problems[name] = _problem(name, role, column, invalid, cells.rows, types)
    if problems and invalid_values == "error":
        raise DataError(_invalid_message(problems, types))
    findings = [
        Finding("invalid", f"{problem}, set to missing", count)
        for problem, count in problems.values()
    ]
    return pd.DataFrame(columns, index=pd.RangeIndex(cells.n_rows)), findings


def _typed(
    column: pa.LargeStringArray, role: str, types: ColumnTypes, levels: tuple[str, ...]
) -> tuple[pd.Series[Any], BoolArray]:
    """Return the typed column and which of its cells are invalid; these are missing in it."""
    present = ~missing(column)
    if role == "categorical":
        return _categorical(column), np.zeros(len(column), dtype=bool)
    if role == "ordinal":
        codes = pc.index_in(column, value_set=pa.array(levels, TEXT), skip_nulls=True)
        codes = np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False))
        dtype = pd.CategoricalDtype(pd.Index(levels, dtype=object), ordered=True)
        return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype)), present & (codes < 0)
    if role == "date":
        moments = parse_dates(column, dayfirst=types.dayfirst)
        return pd.Series(moments), present & np.isnat(moments)
    numbers = parse_numbers(column, types.decimal)
    usable = np.abs(numbers) <= LARGEST
    return pd.Series(np.where(usable, numbers, np.nan)), present & ~usable


def _categorical(column: pa.LargeStringArray) -> pd.Series[Any]:
    # One str per level, not one per cell.
    encoded = column.dictionary_encode()
    levels = np.array([*encoded.dictionary.to_pylist(), np.nan], dtype=object)
    codes = encoded.indices.fill_null(len(levels) - 1).to_numpy(zero_copy_only=False)
    return pd.Series(levels[codes], dtype=object)


def _problem(
    name: str,
    role: str,
    column: pa.LargeStringArray,
    invalid: BoolArray,
    rows: IntArray,
    types: ColumnTypes,
) -> tuple[str, int]:
    """Return what is wrong with a column, without what would do, and the number of cells."""
    count = int(invalid.sum())
    what = {
        "numeric": "not usable as numbers",
        "ordinal": f"not among the levels {', '.join(types.levels.get(name, ()))}",
        "date": f"not readable as dates with dataset.dayfirst={str(types.dayfirst).lower()}",
    }[role]
    shown = examples(column, invalid, rows)
    return f"column {name!r} ({role}): {counted(count, 'cell')} {what}, e.g. {shown}", count


def _invalid_message(problems: Mapping[str, tuple[str, int]], types: ColumnTypes) -> str:
    name, *others = problems
    ways = {
        "numeric": "give the column another role or mend them with dataset.rules",
        "ordinal": f"add them to dataset.ordinal.{name} or mend them with dataset.rules",
        "date": "change dataset.dayfirst or mend them with dataset.rules",
    }[types.roles[name]]
    also = f"; {', '.join(map(repr, others))} too" if others else ""
    return f"{problems[name][0]}{also}; say dataset.invalid_values=missing, {ways}"


def encode_segments(column: pa.LargeStringArray, name: str) -> tuple[IntArray, tuple[str, ...]]:
    """Encode the target: a code per row, and the segment names that the codes stand for.

    Parameters
    ----------
    column : LargeStringArray
        Without missing cells.
    name : str
        Of the column, for errors.

    Returns
    -------
    y : ndarray of int64
        0 to n_segments - 1.
    segments : tuple of str
        Sorted by name, or by value if all names are numbers.

    Raises
    ------
    DataError
        Fewer than two segments, more than 100, or more than half as many as there are rows.
    """
    names = pc.unique(column)
    n_segments, n_rows = len(names), len(column)
    if n_segments < 2:
        raise DataError(
            f"column {name!r} (dataset.target) has {counted(n_segments, 'segment')} in "
            f"{counted(n_rows, 'row')}, and two are needed; name another column in dataset.target"
        )
    if n_segments > MAX_SEGMENTS or n_segments > n_rows / 2:
        raise DataError(
            f"column {name!r} (dataset.target) has {n_segments} different values in "
            f"{counted(n_rows, 'row')}: that looks like a number or an id, not like segments; "
            "name a column with a few values in dataset.target"
        )
    segments = names.to_pylist()
    segments.sort(key=float if is_number(names).all() else str)
    codes = pc.index_in(column, value_set=pa.array(segments, TEXT))
    return codes.to_numpy(zero_copy_only=False).astype(np.int64), tuple(segments)

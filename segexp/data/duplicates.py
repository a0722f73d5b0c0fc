"""Rows that say the same, and ids that occur more than once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from segexp.data.cells import Cells, FloatArray, content, missing
from segexp.data.findings import Finding, counted
from segexp.errors import DataError


def row_keys(cells: Cells, decimal: str = ".") -> pd.DataFrame:
    """Return numbers that are equal where cells say the same, one per cell; NaN is missing.

    The index is the number of the row as read.
    """
    keys = {name: _keys(column, decimal) for name, column in cells.columns.items()}
    return pd.DataFrame(keys, index=cells.rows)


def _keys(column: pa.LargeStringArray, decimal: str) -> FloatArray:
    said = content(column, decimal)
    if isinstance(said, np.ndarray):
        return said
    codes = said.dictionary_encode().indices.cast(pa.float64())
    return np.asarray(codes.to_numpy(zero_copy_only=False))


def treat_repeated_rows(cells: Cells, keys: pd.DataFrame, how: str) -> tuple[Cells, list[Finding]]:
    """Keep, drop or refuse rows that equal an earlier one in every column, id included.

    Parameters
    ----------
    keys : DataFrame
        The `row_keys` of the table.
    how : {"keep", "drop", "error"}

    Raises
    ------
    DataError
        There are such rows, and ``how`` is ``error``.
    """
    repeated = keys.duplicated().to_numpy()
    count = int(repeated.sum())
    if count == 0:
        return cells, []
    what = f"{counted(count, 'row')} equal to an earlier row in every column"
    if how == "error":
        shown = ", ".join(map(str, cells.rows[repeated][:3]))
        raise DataError(f"{what}, e.g. row {shown}; say dataset.duplicate_rows=drop or keep")
    if how == "keep":
        return cells, [Finding("duplicate_rows", f"{what} kept", count)]
    return cells.keep(~repeated), [Finding("duplicate_rows", f"{what} dropped", count)]


def count_equal_but_id(keys: pd.DataFrame, id_column: str) -> list[Finding]:
    """Count the rows, by their `row_keys`, that equal an earlier one in all columns but the id."""
    others = keys.drop(columns=id_column)
    if others.empty:
        return []
    count = int(others.duplicated().sum() - keys.duplicated().sum())
    if count == 0:
        return []
    what = f"{counted(count, 'row')} equal to an earlier row in every column but the id, kept"
    return [Finding("equal_but_id", what, count)]


def treat_repeated_ids(cells: Cells, id_column: str, how: str) -> tuple[Cells, list[Finding]]:
    """Refuse, keep or thin out rows that share their id.

    Parameters
    ----------
    how : {"error", "keep", "first", "last"}
        ``first`` and ``last`` keep one row of each id.

    Raises
    ------
    DataError
        An id is missing, or an id occurs more than once and ``how`` is ``error``.
    """
    column = cells.columns[id_column]
    if (absent := missing(column)).any():
        shown = ", ".join(map(str, cells.rows[absent][:3]))
        raise DataError(
            f"column {id_column!r} (dataset.id): {counted(int(absent.sum()), 'row')} without an "
            f"id, e.g. row {shown}; fill them in, or say dataset.id=null dataset.ignore="
            f"[{id_column}] to number the rows"
        )
    ids = pd.Series(np.asarray(column.dictionary_encode().indices))
    shared = ids.duplicated(keep=False).to_numpy()
    if not shared.any():
        return cells, []
    n_shared = ids[shared].nunique()
    what = f"column {id_column!r}: {counted(n_shared, 'id')} shared by {int(shared.sum())} rows"
    if how == "error":
        raise DataError(
            f"{what}, e.g. {_shared_examples(cells, id_column, ids)}; say dataset.duplicate_ids="
            "keep if they are different records, first or last to keep one row of each id, or "
            "leave it at error and mend the table (equal rows: dataset.duplicate_rows=drop)"
        )
    if how == "keep":
        return cells, [Finding("duplicate_ids", f"{what}, all kept", n_shared)]
    left_out = ids.duplicated(keep="first" if how == "first" else "last").to_numpy()
    done = f"{what}, the {how} row of each kept and {counted(int(left_out.sum()), 'row')} dropped"
    return cells.keep(~left_out), [Finding("duplicate_ids", done, n_shared)]


def _shared_examples(cells: Cells, id_column: str, ids: pd.Series[int]) -> str:
    second = np.flatnonzero(ids.duplicated().to_numpy())
    shown = []
    for code in ids.iloc[second].unique()[:3]:
        rows = cells.rows[(ids == code).to_numpy()]
        name = cells.columns[id_column][int(np.flatnonzero(ids == code)[0])].as_py()
        shown.append(f"{name!r} (rows {' and '.join(map(str, rows[:2]))})")
    return ", ".join(shown)

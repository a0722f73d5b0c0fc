"""Loading a dataset: read, check, clean, type, and say what was found and done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from segexp.config.schema import DatasetConfig
from segexp.data.basket_segments import with_segments
from segexp.data.cells import BoolArray, Cells, IntArray, clean, missing
from segexp.data.column_types import ColumnTypes, encode_segments, level_texts, type_columns
from segexp.data.duplicates import (
    count_equal_but_id,
    row_keys,
    treat_repeated_ids,
    treat_repeated_rows,
)
from segexp.data.findings import Finding, counted
from segexp.data.fingerprint import fingerprint
from segexp.data.readers import RawTable, read_table
from segexp.data.roles import FEATURE_ROLES, check_columns, final_roles
from segexp.data.rules import filter_rows, limit_values, replace_values
from segexp.data.serial_days import serial_days
from segexp.data.sources import Progress
from segexp.data.transactions import Baskets, Customers, load_baskets, load_customers
from segexp.errors import ConfigError, DataError

MAX_LEVELS = 50  # levels of a categorical column that a schema lists


@dataclass(frozen=True)
class Dataset:
    """A table of customers, ready for scikit-learn; all parts have one entry per row."""

    name: str
    X: pd.DataFrame  # features only, rows numbered from 0; the dtypes are the roles
    y: IntArray | None  # codes 0 to n_segments - 1; None without a target
    segments: tuple[str, ...]  # what the codes stand for; empty without a target
    ids: pd.Series[Any]  # str; the number of the row as read, from 1, without an id column
    groups: IntArray | None  # rows with the same code belong together
    fingerprint: str
    synthetic: bool
    roles: dict[str, tuple[str, ...]]  # every column as read, by its final role
    n_rows_read: int
    findings: tuple[Finding, ...]
    files: tuple[dict[str, Any], ...]  # path as in the config, origin, sha256_ok
    # Of a transaction log only; the tables have one row per row of X.
    log: dict[str, Any] | None = None  # counts and dates, in values that JSON can hold
    totals: pd.DataFrame | None = None  # orders, revenue
    outcome: pd.DataFrame | None = None  # purchases, orders, spend after calibration_end
    holdout_days: float | None = None  # how long the outcome is
    baskets: Baskets | None = None  # then the rows are baskets


def load_dataset(
    config: DatasetConfig,
    group: str | None = None,
    progress: Progress | None = None,
    *,
    baskets: bool = False,
) -> Dataset:
    """Load the table that ``config`` names; a transaction log becomes a table of its customers.

    Parameters
    ----------
    config : DatasetConfig
    group : str, optional
        Column whose equal values mark rows that belong together (``evaluation.group``); a row
        without a value is a group of its own. It is no feature, whatever its role.
    progress : callable, optional
        Called with a line of text before each attempt to download.
    baskets : bool
        Of a transaction log: one row per basket instead of one per customer.

    Returns
    -------
    Dataset
        The fingerprint covers the table as read, of a log what it was summed up to. Rows may be
        fewer: empty ones, and repeated ones or those without a segment where the config says so,
        are left out; the findings tell.

    Raises
    ------
    ConfigError
        The config asks for something that cannot be.
    DataError
        The table cannot be read, or its content is not what the config says.
    """
    if config.is_log:
        _refuse_group(group)
        return _load_baskets(config, progress) if baskets else _load_customers(config, progress)
    raw = read_table(config, progress)
    check_columns(config, raw.table.column_names, {"evaluation.group": group} if group else {})
    if raw.table.num_rows == 0:
        raise DataError(f"dataset {config.name!r} has column names but no rows")
    read, token_findings = clean(raw.table, config.missing_tokens, config.decimal)
    cells, roles, row_findings = _usable_rows(config, read, group)
    X, feature_findings = _features(config, cells, roles)
    id_column, target = _only(roles["id"]), _only(roles["target"])
    y, segments = encode_segments(cells.columns[target], target) if target else (None, ())
    return Dataset(
        name=config.name,
        X=X,
        y=y,
        segments=segments,
        ids=_ids(cells, id_column),
        groups=_group_codes(cells, group) if group else None,
        fingerprint=fingerprint(
            read, dates=config.date, dayfirst=config.dayfirst, decimal=config.decimal
        ),
        synthetic=config.synthetic,
        roles=roles,
        n_rows_read=read.n_rows,
        findings=(
            *_source_findings(config, raw),
            *token_findings,
            *row_findings,
            *feature_findings,
        ),
        files=raw.files,
    )


def _refuse_group(group: str | None) -> None:
    if group is not None:
        raise ConfigError(
            f"evaluation.group={group}: the folds of a transaction log keep a customer together "
            f"by themselves"
        )


def _load_customers(config: DatasetConfig, progress: Progress | None) -> Dataset:
    found = load_customers(config, progress)
    _refuse_empty(found)
    numeric = dict.fromkeys(map(str, found.table.columns), "numeric")
    roles = _no_roles(config) | {
        "id": (str(found.ids.name),),
        "numeric": tuple(numeric),
    }
    return Dataset(
        name=config.name,
        X=found.table,
        y=None,
        segments=(),
        ids=found.ids,
        groups=None,
        fingerprint=found.fingerprint,
        synthetic=config.synthetic,
        roles=roles,
        n_rows_read=found.summary["n_lines_read"],
        findings=(
            *found.findings,
            *_feature_findings(found.table, numeric),
        ),
        files=found.files,
        log=found.summary,
        totals=found.totals,
        outcome=found.outcome,
        holdout_days=found.holdout_days,
    )


def _no_roles(config: DatasetConfig) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(config.roles(), ())


def _refuse_empty(found: Customers) -> None:
    """Raise ``DataError`` if a feature that is made of repeat purchases has no value."""
    empty = [str(name) for name, column in found.table.items() if column.isna().all()]
    if not empty:
        return
    end = found.summary["calibration_end"]
    if "repeat_spend" in empty:
        way = "name a later dataset.transactions.calibration_end" if end else "read a longer log"
        needs = f"a value model needs repeat purchases: {way}"
    else:
        needs = f"{', '.join(empty)} needs repeat purchases: change dataset.transactions.features"
    raise DataError(f"nobody bought twice up to {end or found.summary['last']}; {needs}")


def _load_baskets(config: DatasetConfig, progress: Progress | None) -> Dataset:
    found = with_segments(load_baskets(config, progress), config, progress)
    sizes = np.asarray(found.matrix.sum(axis=1), dtype=float).ravel()
    groups = None if found.customers is None else pd.factorize(found.customers)[0]
    return Dataset(
        name=config.name,
        X=pd.DataFrame({"n_items": sizes}),
        y=None,
        segments=(),
        ids=found.ids,
        groups=groups,
        fingerprint=found.fingerprint,
        synthetic=config.synthetic,
        roles=_no_roles(config) | {"numeric": ("n_items",)},
        n_rows_read=found.summary["n_lines_read"],
        findings=found.findings,
        files=found.files,
        log=found.summary,
        baskets=found,
    )


def schema_of(dataset: Dataset) -> dict[str, Any]:
    """Describe the features of a dataset in values that JSON can hold.

    Returns
    -------
    dict
        ``columns``: feature to ``role`` and ``missing`` (share of the rows), and by role
        ``min`` and ``max`` (numeric, date as ISO text), ``levels`` from low to high (ordinal),
        ``n_levels`` and up to 50 ``levels``, the most frequent first (categorical).
        ``id`` and ``target``: column names or None. ``segments``: names in the order of codes.
    """
    role_of = {name: role for role, names in dataset.roles.items() for name in names}
    return {
        "columns": {
            name: _describe(column, role_of[str(name)]) for name, column in dataset.X.items()
        },
        "id": _only(dataset.roles["id"]),
        "target": _only(dataset.roles["target"]),
        "segments": list(dataset.segments),
    }


def segment_counts(dataset: Dataset) -> dict[str, int]:
    """Count the customers of each segment; empty without a target."""
    if dataset.y is None:
        return {}
    counts = np.bincount(dataset.y, minlength=len(dataset.segments))
    return {name: int(count) for name, count in zip(dataset.segments, counts, strict=True)}


def _describe(column: pd.Series[Any], role: str) -> dict[str, Any]:
    described: dict[str, Any] = {"role": role, "missing": float(column.isna().mean())}
    if role == "numeric":
        return described | {"min": float(column.min()), "max": float(column.max())}
    if role == "date":
        return described | {"min": column.min().isoformat(), "max": column.max().isoformat()}
    if role == "ordinal":
        return described | {"levels": list(column.cat.categories)}
    # Ties in the order of the names, so that the same table gives the same schema.
    counts = column.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return described | {"n_levels": len(counts), "levels": list(counts.index[:MAX_LEVELS])}


def _source_findings(config: DatasetConfig, raw: RawTable) -> list[Finding]:
    findings = [
        Finding("checksum", f"{file['path']} is not the published file: its sha256 differs", 1)
        for file in raw.files
        if file["sha256_ok"] is False
    ]
    ordered = config.id if config.query is None else "order by" in config.query.lower()
    if config.reader == "sql" and not ordered:
        what = (
            "the rows come in an order that the database may change, and with it the folds and "
            "the fingerprint; name dataset.id for a table, or say ORDER BY in dataset.query"
        )
        findings.append(Finding("row_order", what, raw.table.num_rows))
    return findings


def _only(names: tuple[str, ...]) -> str | None:
    return names[0] if names else None


def _usable_rows(
    config: DatasetConfig, read: Cells, group: str | None
) -> tuple[Cells, dict[str, tuple[str, ...]], list[Finding]]:
    """Apply everything that is decided on text: rows left out, values replaced, roles."""
    cells, findings = _without_empty_rows(config, read)
    cells, found = filter_rows(cells, config.filter, config.decimal)
    findings += found
    keys = row_keys(cells, config.decimal)
    cells, found = treat_repeated_rows(cells, keys, config.duplicate_rows)
    findings += found
    keys = keys.loc[cells.rows]
    cells, found = replace_values(cells, config.rules)
    findings += found
    roles, found = final_roles(config, cells, config.decimal, group)
    findings += found
    if target := _only(roles["target"]):
        cells, found = _treat_missing_segments(config, cells, target)
        findings += found
    if id_column := _only(roles["id"]):
        findings += count_equal_but_id(keys, id_column)
        cells, found = treat_repeated_ids(cells, id_column, config.duplicate_ids)
        findings += found
    return cells, roles, findings


def _without_empty_rows(config: DatasetConfig, read: Cells) -> tuple[Cells, list[Finding]]:
    empty = np.logical_and.reduce([missing(column) for column in read.columns.values()])
    cells = _keep(config, read, ~empty, "every row is empty")
    if not empty.any():
        return cells, []
    what = f"{counted(int(empty.sum()), 'row')} without any value dropped"
    return cells, [Finding("empty_rows", what, int(empty.sum()))]


def _treat_missing_segments(
    config: DatasetConfig, cells: Cells, target: str
) -> tuple[Cells, list[Finding]]:
    absent = missing(cells.columns[target])
    count = int(absent.sum())
    if count == 0:
        return cells, []
    what = f"column {target!r} (dataset.target): {counted(count, 'row')} without a segment"
    if config.missing_target == "error":
        shown = ", ".join(map(str, cells.rows[absent][:3]))
        raise DataError(
            f"{what}, e.g. row {shown}; say dataset.missing_target=drop to leave them out"
        )
    kept = _keep(config, cells, ~absent, f"no row has a value in {target!r}")
    return kept, [Finding("missing_target", f"{what} dropped", count)]


def _keep(config: DatasetConfig, cells: Cells, kept: BoolArray, why_none: str) -> Cells:
    if not kept.any():
        raise DataError(f"dataset {config.name!r} has no usable row: {why_none}")
    return cells.keep(kept)


def _features(
    config: DatasetConfig, cells: Cells, roles: dict[str, tuple[str, ...]]
) -> tuple[pd.DataFrame, list[Finding]]:
    role_of = {name: role for role in FEATURE_ROLES for name in roles[role]}
    if not role_of:
        raise DataError(
            f"dataset {config.name!r} has no feature column; name some in dataset.numeric, "
            "dataset.categorical, dataset.ordinal or dataset.date"
        )
    types = ColumnTypes(
        roles={name: role_of[name] for name in cells.columns if name in role_of},
        levels=level_texts(config.ordinal),
        dayfirst=config.dayfirst,
        decimal=config.decimal,
    )
    X, typed = type_columns(cells, types, invalid_values=config.invalid_values)
    X, limited = limit_values(X, config.rules)
    return X, [
        *typed,
        *limited,
        *_feature_findings(X, types.roles),
        *_serial_days_findings(X, types.roles),
    ]


def _serial_days_findings(X: pd.DataFrame, role_of: dict[str, str]) -> list[Finding]:
    """Say which numbers look like the dates of a spreadsheet."""
    found = {
        str(name): serial_days(str(name), column.to_numpy(dtype=float))
        for name, column in X.items()
        if role_of[str(name)] == "numeric"
    }
    return [
        Finding(
            "serial_days",
            f"column {name!r} looks like the days of Excel ({days[0]} to {days[1]}) and is taken "
            f"as a number; write it as dates and name it in dataset.date, or in dataset.ignore",
            1,
        )
        for name, days in found.items()
        if days is not None
    ]


def _feature_findings(X: pd.DataFrame, role_of: dict[str, str]) -> list[Finding]:
    """Count what is missing and find columns that say nothing.

    Raises
    ------
    DataError
        A column has no value at all.
    """
    findings = []
    for name, column in X.items():
        count = int(column.isna().sum())
        if count == len(X):
            raise DataError(
                f"column {name!r} ({role_of[str(name)]}) has no usable value in any row; "
                "name it in dataset.ignore"
            )
        if count:
            what = f"column {name!r}: {count} of {counted(len(X), 'cell')} missing"
            findings.append(Finding("missing", what, count))
        elif column.nunique() == 1:
            what = f"column {name!r} has the same value in every row"
            findings.append(Finding("constant", what, 1))
    return findings


def _ids(cells: Cells, id_column: str | None) -> pd.Series[Any]:
    if id_column is None:
        return pd.Series([str(row) for row in cells.rows], dtype=object, name="row")
    return pd.Series(cells.columns[id_column].to_pylist(), dtype=object, name=id_column)


def _group_codes(cells: Cells, group: str) -> IntArray:
    indices = cells.columns[group].dictionary_encode().indices.fill_null(-1)
    codes: IntArray = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes

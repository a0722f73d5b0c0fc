"""The rules of a dataset: which rows count, values that are replaced, limits of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from segexp.data.cells import TEXT, Cells, cell_text, parse_numbers
from segexp.data.findings import Finding, counted
from segexp.errors import ConfigError, DataError

Rules = Mapping[str, Mapping[str, Any]]  # column -> {min, max, replace}


def filter_rows(
    cells: Cells, conditions: Mapping[str, Mapping[str, Any]], decimal: str
) -> tuple[Cells, list[Finding]]:
    """Leave out the rows that do not meet every condition; a missing cell meets none.

    Parameters
    ----------
    conditions : mapping of column to mapping
        ``min`` and ``max`` of a number, or ``values`` that a cell may have.

    Raises
    ------
    DataError
        If no row is left.
    """
    findings: list[Finding] = []
    for name, condition in conditions.items():
        kept = np.ones(cells.n_rows, dtype=bool)
        if "values" in condition:
            wanted = pa.array([cell_text(value) for value in condition["values"]], TEXT)
            kept &= pc.is_in(cells.columns[name], value_set=wanted).to_numpy(zero_copy_only=False)
        if {"min", "max"} & set(condition):
            numbers = parse_numbers(cells.columns[name], decimal)
            low, high = condition.get("min", -np.inf), condition.get("max", np.inf)
            kept &= (numbers >= low) & (numbers <= high)
        words = ", ".join(f"{key} {value}" for key, value in condition.items())
        left = int((~kept).sum())
        if not kept.any():
            raise DataError(f"dataset.filter.{name} ({words}) leaves no row of {cells.n_rows:,}")
        cells = cells.keep(kept)
        what = f"column {name!r}: {counted(left, 'row')} left out by dataset.filter ({words})"
        findings.append(Finding("filter", what, left))
    return cells, findings


def replace_values(cells: Cells, rules: Rules) -> tuple[Cells, list[Finding]]:
    """Apply the ``replace`` rules, all pairs of a column at once; null stands for missing.

    Returns
    -------
    cells : Cells
    findings : list of Finding
        One per pair: how many cells were replaced, or that the old value never occurs.
    """
    columns: dict[str, pa.LargeStringArray] = {}
    findings: list[Finding] = []
    for name, rule in rules.items():
        if pairs := rule.get("replace"):
            old, new = (
                pa.array([cell_text(value) or None for value in values], TEXT)
                for values in (pairs, pairs.values())
            )
            found = pc.index_in(cells.columns[name], value_set=old)
            columns[name] = pc.if_else(found.is_valid(), new.take(found), cells.columns[name])
            findings += _replaced(name, old.to_pylist(), new.to_pylist(), found)
    return cells.replace(columns), findings


def _replaced(
    name: str, old: list[str | None], new: list[str | None], found: pa.Int32Array
) -> list[Finding]:
    counts = {entry["values"]: entry["counts"] for entry in found.value_counts().to_pylist()}
    findings = []
    for position, (before, after) in enumerate(zip(old, new, strict=True)):
        if count := counts.get(position, 0):
            change = " to ".join(
                "missing" if text is None else repr(text) for text in (before, after)
            )
            what = f"column {name!r}: {counted(count, 'cell')} changed from {change}"
            findings.append(Finding("rule", what, count))
        else:
            what = f"column {name!r}: the value {before!r} of dataset.rules never occurs"
            findings.append(Finding("rule_unused", what, 0))
    return findings


def limit_values(X: pd.DataFrame, rules: Rules) -> tuple[pd.DataFrame, list[Finding]]:
    """Apply the ``min`` and ``max`` rules to a typed table: numbers outside become missing.

    Raises
    ------
    ConfigError
        A limited column is no numeric feature.
    """
    limited: dict[str, pd.Series[float]] = {}
    findings: list[Finding] = []
    for name, rule in rules.items():
        if not {"min", "max"} & set(rule):
            continue
        if name not in X or X[name].dtype != np.float64:
            raise ConfigError(
                f"dataset.rules.{name}: min and max need a numeric column, and {name!r} is none; "
                "name it in dataset.numeric or use replace"
            )
        low, high = rule.get("min", -np.inf), rule.get("max", np.inf)
        outside = (X[name] < low) | (X[name] > high)
        limited[name] = X[name].mask(outside)
        if count := int(outside.sum()):
            bounds = " and ".join(
                f"{limit} {rule[limit]}" for limit in ("min", "max") if limit in rule
            )
            what = f"column {name!r}: {counted(count, 'cell')} outside {bounds} set to missing"
            findings.append(Finding("rule", what, count))
    return X.assign(**limited), findings

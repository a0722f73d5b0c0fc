"""What two runs differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segexp.comparison.differences import (
    check_level,
    check_rope,
    is_bounded,
    paired_difference,
    why_not,
)
from segexp.comparison.entries import CLASSIFICATION, Entry, folds_text, is_known
from segexp.comparison.groups import own_metric
from segexp.comparison.rows import Row, make_row
from segexp.comparison.statistics import Paired
from segexp.metrics import Metric, metric_by_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """What two runs differ in."""

    a: Entry
    b: Entry
    config: list[tuple[str, Any, Any]]  # key, value in a, value in b; None: has no such key
    metrics: pd.DataFrame  # metric, a, b, difference (positive: a is better), low, high, p
    data: list[tuple[str, Any, Any]]
    environment: list[tuple[str, Any, Any]]
    metric: str  # of `paired`
    paired: Paired | None
    comparable: str = ""  # why they cannot be compared by `metric`; "": they can
    notes: tuple[str, ...] = ()  # folds that are left out, metrics that do not compare


def diff(
    a: Entry, b: Entry, *, metric: str | None = None, rope: float = 0.01, level: float = 0.95
) -> Difference:
    """Say what two runs differ in: config, metrics, data, environment.

    Parameters
    ----------
    metric : str, optional
        Of ``paired``; without it the runs' own, if they agree, else accuracy or silhouette.
    rope : float
        As in `compare`; relative to the better of the two means.
    level : float
        Of the intervals.

    Raises
    ------
    ConfigError
        If there is no such metric, or a number is out of range.
    """
    import pandas as pd

    check_rope(rope)
    check_level(level)
    both = metric_by_name(metric) if metric else _metric_of_both(a, b)
    names = [name for name in dict.fromkeys((*a.values, *b.values)) if is_known(name)]
    why = {name: why_not(a, b, metric_by_name(name)) for name in (*names, both.name)}
    # Means and differences are of the same folds.
    row_a, row_b = (make_row((entry,), both) for entry in _on_same_folds(a, b, why))
    table = pd.DataFrame(
        [
            (name, row_a.mean_of(name), row_b.mean_of(name),
             *_difference(row_a, row_b, name, why[name], level))
            for name in names
        ],
        columns=["metric", "a", "b", "difference", "low", "high", "p"],
    ).astype(dict.fromkeys(["a", "b", "difference", "low", "high", "p"], float))  # fmt: skip
    best = max(abs(row_a.mean or 0.0), abs(row_b.mean or 0.0))
    width = rope if is_bounded(both) else rope * best
    return Difference(
        a=a,
        b=b,
        config=_differing(a.config, b.config),
        metrics=table,
        data=_differing(_data_facts(a), _data_facts(b)),
        environment=_differing(_environment(a), _environment(b)),
        metric=both.name,
        paired=paired_difference(row_a, row_b, both.name, rope=width, level=level),
        comparable=why[both.name],
        notes=_notes_of_two(a, b, both.name, why),
    )


def _on_same_folds(a: Entry, b: Entry, why: Mapping[str, str]) -> tuple[Entry, Entry]:
    """Return two entries, comparable metrics only with the values of folds that both define."""
    import numpy as np

    values_a, values_b = dict(a.values), dict(b.values)
    for name in values_a.keys() & values_b.keys() & {name for name in why if not why[name]}:
        missing = np.isnan(values_a[name]) | np.isnan(values_b[name])
        values_a[name] = np.where(missing, np.nan, values_a[name])
        values_b[name] = np.where(missing, np.nan, values_b[name])
    return replace(a, values=values_a), replace(b, values=values_b)


def _notes_of_two(a: Entry, b: Entry, metric: str, why: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if not why[metric] and metric in a.values and metric in b.values:
        both = a.values[metric] + b.values[metric]
        if (known := int((both == both).sum())) < len(both):
            notes.append(
                f"{metric}: means and difference are of the {known} of {len(both)} folds "
                "on which both are defined"
            )
    of_cause: dict[str, list[str]] = {}
    for name, cause in why.items():
        if cause and cause != why[metric]:
            of_cause.setdefault(cause, []).append(name)
    notes += [f"not compared by {', '.join(names)}: {cause}" for cause, names in of_cause.items()]
    return tuple(notes)


def _metric_of_both(a: Entry, b: Entry) -> Metric:
    tasks = {str(entry.manifest["task"]) for entry in (a, b)}
    own = {entry.manifest["metric"] for entry in (a, b)}
    kind = tasks.pop() if len(tasks) == 1 else CLASSIFICATION
    if len(own) == 1 and is_known(name := own.pop()) and name in a.values and name in b.values:
        return metric_by_name(name)
    return own_metric([a, b], kind)


def _difference(
    a: Row, b: Row, metric: str, why: str, level: float
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return difference, low, high and p; the first alone where there is one fold."""
    if (found := paired_difference(a, b, metric, rope=0.0, level=level)) is not None:
        return found.mean, *found.interval, found.p
    of_a, of_b = a.mean_of(metric), b.mean_of(metric)
    if why or of_a is None or of_b is None:
        return None, None, None, None
    sign = 1 if metric_by_name(metric).greater_is_better else -1
    return sign * (of_a - of_b), None, None, None


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    absent = object()
    keys = dict.fromkeys((*a, *b))
    return [(k, a.get(k), b.get(k)) for k in keys if a.get(k, absent) != b.get(k, absent)]


def _data_facts(entry: Entry) -> dict[str, Any]:
    data, split = entry.manifest["dataset"], entry.manifest["split"]
    return {
        **{k: data.get(k) for k in ("name", "synthetic", "fingerprint", "n_rows", "n_features")},
        **{f"{role} columns": list(columns) for role, columns in data["roles"].items()},
        **{f"customers in {name}": n for name, n in entry.manifest["segments"].items()},
        "folds": folds_text(split),
        "split hash": split["hash"],
    }


def _environment(entry: Entry) -> dict[str, Any]:
    git = entry.manifest["git"] or {}
    return {
        **entry.manifest["versions"],
        "platform": entry.manifest.get("platform"),
        "git commit": git.get("commit"),
        "git has changes": git.get("dirty"),
    }

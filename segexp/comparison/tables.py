"""Tables of rows that can be ranked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from segexp.comparison.differences import compared, is_bounded, tested
from segexp.comparison.entries import Entry, folds_text, mean_of_defined
from segexp.comparison.groups import Key
from segexp.comparison.rows import Row, find_row, make_row, n_defined, place, rows_of
from segexp.metrics import METRICS_OF, Metric


@dataclass(frozen=True)
class Table:
    """Rows that can be ranked together."""

    title: str
    reason: str  # why it stands apart from the other tables; "" for the only one
    kind: str  # "classification" (external metrics, clusterers too) or "clustering" (internal)
    metric: str  # ranks
    metrics: tuple[str, ...]  # to show, the one that ranks first
    rows: tuple[Row, ...]  # in the order of their ranks
    baselines: tuple[Row, ...]
    n_folds: int
    rope: float  # half the width of what counts as equal, in the units of the metric
    alpha: float
    reference: str = ""  # label of the row that `to_best` refers to
    notes: tuple[str, ...] = ()  # what a reader must know: no test because..., synthetic
    synthetic: bool = False


def make_table(
    key: Key,
    entries: Sequence[Entry],
    metric: Metric,
    reason: str,
    baseline: str | None,
    alpha: float,
    rope: float,
    all_keys: bool,
) -> Table:
    """Return the ranked and tested rows of entries with one key; parameters as of `compare`."""
    rows = rows_of(entries, metric, all_keys)
    # Sorting is stable: rows that are equal keep the order in which they were given.
    rows.sort(key=lambda row: place(row, key.kind, metric))
    rows = [
        replace(row, rank=None if row.mean is None else rank)
        for rank, row in enumerate(rows, start=1)
    ]
    beside = [make_row((entry,), metric) for entry in _baselines_of(entries, metric)]
    best = rows[0]
    reference = find_row(baseline, [*rows, *beside]) or best
    width = rope if is_bounded(metric) else rope * abs(best.mean or 0.0)
    rows = tested(rows, best, reference, metric, width, alpha)
    beside = [
        replace(row, to_best=compared(row, reference, metric, width, alpha)) for row in beside
    ]
    known = METRICS_OF[key.kind]
    there = {name for row in rows for name in row.entries[0].values}
    names = (metric.name, *(m.name for m in known if m.name in there))
    n_folds = len(entries[0].folds)
    return Table(
        title=f"{key.dataset}: {metric.label} on {folds_text(entries[0].manifest['split'])}",
        reason=reason,
        kind=key.kind,
        metric=metric.name,
        metrics=tuple(dict.fromkeys(names)),
        rows=tuple(rows),
        baselines=tuple(beside),
        n_folds=n_folds,
        rope=width,
        alpha=alpha,
        reference=reference.label,
        notes=_notes(rows, metric.name, n_folds, baseline if reference is best else None),
        synthetic=key.synthetic,
    )


def _notes(rows: Sequence[Row], metric: str, n_folds: int, baseline: str | None) -> tuple[str, ...]:
    notes = [
        f"{row.label}: defined on {known} of {n_folds} folds, ranked after complete rows"
        for row in rows
        if (known := n_defined(row, metric)) < n_folds
    ]
    notes += [
        f"{row.label}: {entry.copies} copies of one run, counted once"
        for row in rows
        for entry in row.entries
        if entry.copies > 1
    ]
    if len(rows) > 1 and n_folds < 2:
        notes.append(
            "no difference is tested: one fold has no spread; evaluation=cv judges on five"
        )
        return tuple(notes)
    untested = [row for row in rows if row.to_best is not None and not row.is_tested]
    if same := [row.label for row in untested if row.to_best is not None and row.to_best.mean]:
        notes.append(
            f"not tested, because the difference is the same in every fold: {', '.join(same)}"
        )
    if short := [row.label for row in rows if n_defined(row, metric) < 2 <= n_folds]:
        notes.append(f"not tested, because fewer than two folds are defined: {', '.join(short)}")
    if baseline is not None and all(row.label != baseline for row in rows):
        notes.append(f"{baseline} is not among these rows; compared with the best")
    return tuple(notes)


def _baselines_of(entries: Sequence[Entry], metric: Metric) -> list[Entry]:
    """Return what was judged beside the models; equal figures of several runs only once."""
    found: dict[tuple[str, bytes], Entry] = {}
    for entry in entries:
        for baseline in entry.baselines:
            values = baseline.values.get(metric.name)
            if values is not None and mean_of_defined(values) is not None:
                found.setdefault((baseline.label, values.round(9).tobytes()), baseline)
    return list(found.values())


def to_records(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values (str, int, finite float, bool or None).

    Keys: ``rank, run``, the varying config keys, ``metric`` (its name), ``mean, std, seed_std,
    low, high, n_seeds, tied_with_best, difference, difference_low, difference_high, p, p_holm,
    p_better, p_equivalent, p_worse``, the other metrics by name (means), ``fit_seconds, missed,
    path`` (of several seeds: joined by ``; ``). Baselines follow with rank None. All records
    have the same keys; a config key that is called like one of these is told as ``config.KEY``.
    """
    varying = list(dict.fromkeys(key for row in table.rows for key in row.varying))
    return [_record(row, table, varying) for row in (*table.rows, *table.baselines)]


def _record(row: Row, table: Table, varying: Sequence[str]) -> dict[str, Any]:
    found = row.to_best
    low, high = row.interval or (None, None)
    record = {
        "rank": row.rank,
        "run": row.label,
        "metric": table.metric,
        "mean": row.mean,
        "std": row.std,
        "seed_std": row.seed_std,
        "low": low,
        "high": high,
        "n_seeds": len(row.entries),
        "tied_with_best": row.tied_with_best,
        "difference": found.mean if found else None,
        "difference_low": found.interval[0] if found else None,
        "difference_high": found.interval[1] if found else None,
        "p": found.p if found else None,
        "p_holm": found.p_holm if found else None,
        "p_better": found.p_better if found else None,
        "p_equivalent": found.p_equivalent if found else None,
        "p_worse": found.p_worse if found else None,
        **{name: row.mean_of(name) for name in table.metrics[1:]},
        "fit_seconds": row.fit_seconds,
        "missed": "; ".join(row.usable),
        "path": "; ".join(str(entry.path) for entry in row.entries),
    }
    keys = {f"config.{k}" if k in record else k: row.varying.get(k) for k in varying}
    first = {key: record.pop(key) for key in ("rank", "run")}
    return {key: _plain(value) for key, value in (first | keys | record).items()}


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)

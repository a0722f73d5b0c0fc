"""All that there is to say of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from segexp.comparison.across import Ranks, ranks_of
from segexp.comparison.differences import check_level, check_rope
from segexp.comparison.entries import Entry, Problem
from segexp.comparison.groups import Key, keys_of, own_metric, why_apart
from segexp.comparison.rows import find_row
from segexp.comparison.tables import Table, make_table
from segexp.errors import ConfigError, did_you_mean
from segexp.metrics import Metric, metric_by_name
from segexp.runs import COMPLETED


@dataclass(frozen=True)
class Comparison:
    """Everything that `compare` has to say."""

    tables: tuple[Table, ...]
    ranks: Ranks | None
    problems: tuple[Problem, ...]
    note: str = ""  # of several data sets: why there are no ranks, or what they leave out


def compare(
    entries: Sequence[Entry],
    problems: Sequence[Problem] = (),
    *,
    metric: str | None = None,
    baseline: str | None = None,
    alpha: float = 0.05,
    rope: float = 0.01,
    all_keys: bool = False,
) -> Comparison:
    """Rank runs, with tables of their own for what cannot be ranked together.

    Two runs stand in one table if they judge the same customers (name and fingerprint of the
    data set, synthetic or not) on the same folds; by an internal metric of clusterers, also in the
    same space of prepared features; by an external one, also by the same known segments.
    Classifiers, and clusterers where segments are
    known, are ranked by an external metric; clusterers are ranked among themselves by an internal
    one, and there those that miss a constraint come last. Rows that lack a value on some folds come
    after the complete ones. Copies of one run count once.

    Parameters
    ----------
    metric : str, optional
        Ranks. Without it the runs' own, if they agree, else accuracy or silhouette. Tables in
        which it says nothing are left out if their runs stand in another one.
    baseline : str, optional
        The row that the others are compared with instead of the best: its label, its path or
        the end of its path, or the name of a baseline such as ``dummy``.
    alpha : float
        Level of the tests, between 0 and 1.
    rope : float
        What counts as equal: absolute where the metric lies within [-1, 1], else a share of the
        best row's mean.
    all_keys : bool
        With every config key that differs, also those that say nothing of the result.

    Raises
    ------
    ConfigError
        If there is no such metric or baseline, or a number is out of range.

    Notes
    -----
    Differences from the best row (or from the baseline) are tested by `paired`; its p values are
    adjusted by Holm's step-down method over the rows of the table [1]_. A row is tied with the
    best if its adjusted p value is above ``alpha``, or if no fold differs. Runs whose configs
    differ in nothing but ``run.seed`` (and ``run.outputs``, ``engine``) are one row: its values
    by fold are means over seeds. The same seed twice makes two rows.

    References
    ----------
    .. [1] Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian
       Journal of Statistics 6(2), 65-70.
    """
    check_level(alpha)
    check_rope(rope)
    entries = _without_copies(entries)
    wanted = metric_by_name(metric) if metric else None
    groups: dict[Key, list[Entry]] = {}
    for entry in entries:
        for key in keys_of(entry, wanted):
            groups.setdefault(key, []).append(entry)
    chosen = {key: wanted or own_metric(members, key.kind) for key, members in groups.items()}
    ranked = {
        key: [entry for entry in members if entry.mean_of(chosen[key].name) is not None]
        for key, members in groups.items()
    }
    ranked = {key: members for key, members in ranked.items() if members}
    tables = tuple(
        make_table(
            key, members, chosen[key], why_apart(key, ranked), baseline, alpha, rope, all_keys
        )
        for key, members in ranked.items()
    )
    if baseline is not None and tables:
        _check_baseline(baseline, tables)
    shown: dict[int, list[str]] = {}  # entry -> metrics of the tables that it stands in
    for key, members in ranked.items():
        for entry in members:
            shown.setdefault(id(entry), []).append(chosen[key].name)
    lacking = [
        Problem(str(entry.path), COMPLETED, cause)
        for entry in entries
        if (cause := _lacks(entry, shown.get(id(entry), ()), chosen, wanted))
    ]
    ranks, note = ranks_of(tables, alpha)
    return Comparison(tables, ranks, (*problems, *lacking), note)


def _without_copies(entries: Sequence[Entry]) -> list[Entry]:
    """Return each run once, wherever its directory was copied to, with the number of copies."""
    found: dict[object, list[Entry]] = {}
    for entry in entries:
        scores = tuple((name, values.tobytes()) for name, values in entry.values.items())
        own = (entry.manifest["start"], entry.manifest["config_hash"], scores)
        found.setdefault((*own, *keys_of(entry, None)), []).append(entry)
    return [replace(same[0], copies=len(same)) for same in found.values()]


def _lacks(
    entry: Entry, shown: Sequence[str], chosen: Mapping[Key, Metric], wanted: Metric | None
) -> str:
    """Say which metrics keep an entry out of tables in which it would stand; "": none."""
    own = [chosen[key].name for key in keys_of(entry, wanted)] or ([wanted.name] if wanted else [])
    lacking = [name for name in dict.fromkeys(own) if name not in shown]
    if not lacking:
        return ""
    only = f"; it is ranked by {' and '.join(shown)} only" if shown else ""
    return f"it has no value of {' and '.join(lacking)}{only}"


def _check_baseline(baseline: str, tables: Sequence[Table]) -> None:
    rows = [row for table in tables for row in (*table.rows, *table.baselines)]
    if find_row(baseline, rows) is None:
        labels = list(dict.fromkeys(row.label for row in rows))
        raise ConfigError(
            f"there is no row {baseline!r} to compare with{did_you_mean(baseline, labels)}"
            f" (rows: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''})"
        )

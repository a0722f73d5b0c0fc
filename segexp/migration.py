"""Segments in time: who moved where, how far the customers drifted, and whether to segment anew.

Customers are matched by their id. Everything here is a function of tables; what reads run
directories and fits models is in :mod:`segexp.migrating`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2

from segexp.errors import ConfigError, DataError, did_you_mean

Floats: TypeAlias = NDArray[np.float64]
Segments: TypeAlias = "pd.Series[Any]"  # customer id -> segment

NEW = "(new)"  # where customers come from who are in the second period only
GONE = "(gone)"  # where customers go who are in the first period only

N_BINS = 10  # deciles
EMPTY = 0.5  # customers that an empty cell counts for
CHANCE = 0.95  # quantile of the index where nothing drifted

KEEP, WATCH, RESEGMENT = "keep", "watch", "re-segment now"
LEVELS = (KEEP, WATCH, RESEGMENT)  # from the best to the worst


# --- who moved where -------------------------------------------------------------------------


def transitions(
    before: Segments,
    after: Segments,
    revenue_before: pd.Series[Any] | None = None,
    revenue_after: pd.Series[Any] | None = None,
    order: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Count the customers who went from each segment to each.

    Parameters
    ----------
    before, after : Series
        The segment of each customer in the two periods; the index holds the ids.
    revenue_before, revenue_after : Series, optional
        Revenue by customer id; who is missing there brought none.
    order : sequence of str, optional
        The segments as they shall be listed; by default, see :func:`in_order`.

    Returns
    -------
    DataFrame with columns ``from, to, customers, share, revenue_before, revenue_after, change``
        One row per pair that occurs. ``share`` is that of the customers of ``from``. Customers
        of one period only come from ``(new)`` or go to ``(gone)``. Revenue is NaN where it is
        not known, and ``change`` is the later minus the earlier one.

    Raises
    ------
    DataError
        An id occurs twice, a customer has no segment, or a segment has the name of one of the
        two that are not segments.

    Examples
    --------
    >>> before = pd.Series({"a": "1", "b": "1", "c": "2"})
    >>> after = pd.Series({"a": "1", "b": "2", "d": "2"})
    >>> transitions(before, after)[["from", "to", "customers", "share"]]
        from      to  customers  share
    0      1       1          1    0.5
    1      1       2          1    0.5
    2      2  (gone)          1    1.0
    3  (new)       2          1    1.0
    """
    moves = customer_moves(before, after, revenue_before, revenue_after)
    names = order or in_order([*moves["from"].unique(), *moves["to"].unique()])
    counted = moves.groupby(["from", "to"], sort=False).agg(
        customers=("from", "size"),
        revenue_before=("revenue_before", "sum"),
        revenue_after=("revenue_after", "sum"),
    )
    table = counted.reset_index()
    for column, known in (("revenue_before", revenue_before), ("revenue_after", revenue_after)):
        if known is None:
            table[column] = math.nan
    place = {name: i for i, name in enumerate([*names, NEW, GONE])}
    table = table.sort_values(["from", "to"], key=lambda names: names.map(place), kind="stable")
    total = table.groupby("from")["customers"].transform("sum")
    table.insert(3, "share", table["customers"] / total)
    table["change"] = table["revenue_after"] - table["revenue_before"]
    return table.reset_index(drop=True)


def customer_moves(
    before: Segments,
    after: Segments,
    revenue_before: pd.Series[Any] | None = None,
    revenue_after: pd.Series[Any] | None = None,
) -> pd.DataFrame:
    """Return one row per customer of either period, as :func:`transitions` counts them.

    Returns
    -------
    DataFrame indexed by id with columns ``from, to, revenue_before, revenue_after``
        Those of the first period in its order, then the new ones. Revenue that is not known at
        all is NaN, and 0 for a customer whom it does not list.
    """
    for period, segments in (("the first period", before), ("the second period", after)):
        _check_segments(period, segments)
    ids = before.index.append(after.index[~after.index.isin(before.index)])
    return pd.DataFrame(
        {
            "from": before.reindex(ids).fillna(NEW),
            "to": after.reindex(ids).fillna(GONE),
            "revenue_before": _revenue(revenue_before, ids),
            "revenue_after": _revenue(revenue_after, ids),
        },
        index=ids,
    )


def _check_segments(period: str, segments: Segments) -> None:
    repeated = segments.index[segments.index.duplicated()]
    if len(repeated):
        raise DataError(
            f"{period}: {repeated.nunique():,} ids occur more than once, e.g. {repeated[0]!r}; "
            "customers are matched by their ids, so that each may occur once"
        )
    if segments.isna().any():
        who = segments.index[segments.isna()][0]
        raise DataError(f"{period}: customer {who!r} has no segment")
    if len(taken := sorted({NEW, GONE} & set(segments.unique()))):
        raise DataError(
            f"{period}: a segment is called {taken[0]!r}, which stands for customers of one "
            "period only; give it another name"
        )


def _revenue(revenue: pd.Series[Any] | None, ids: pd.Index[Any]) -> Floats:
    if revenue is None:
        return np.full(len(ids), math.nan)
    if revenue.index.has_duplicates:
        raise DataError("the revenue lists a customer more than once")
    return revenue.reindex(ids).fillna(0.0).to_numpy(dtype=float)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the different names, numbers in them compared as numbers.

    Examples
    --------
    >>> in_order(["10", "2", "A", "(new)", "2"])
    ['2', '10', 'A']
    """

    def parts(name: str) -> list[tuple[bool, int, str]]:
        found = re.findall(r"\d+|\D+", name)
        return [
            (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in found
        ]

    return sorted({*names} - {NEW, GONE}, key=parts)


def matrix(
    table: pd.DataFrame, order: Sequence[str] | None = None, values: str = "customers"
) -> pd.DataFrame:
    """Return transitions as a matrix: from in the rows, to in the columns, 0 where nobody went.

    All segments are in the rows and in the columns; ``(new)`` is the last row and ``(gone)`` the
    last column, where there are such customers.
    """
    names = _listed(table, order)
    wide = table.pivot(index="from", columns="to", values=values)
    rows = [*names, *([NEW] if NEW in wide.index else [])]
    columns = [*names, *([GONE] if GONE in wide.columns else [])]
    return wide.reindex(index=rows, columns=columns).fillna(0)


def _listed(table: pd.DataFrame, order: Sequence[str] | None) -> list[str]:
    return list(order) if order else in_order([*table["from"], *table["to"]])


def retention(table: pd.DataFrame, order: Sequence[str] | None = None) -> pd.DataFrame:
    """Say of each segment who stayed, and what came and went, in customers and in revenue.

    Parameters
    ----------
    table : DataFrame
        Of :func:`transitions`.
    order : sequence of str, optional
        All the segments, as they shall be listed.

    Returns
    -------
    DataFrame, one row per segment
        ``segment``; customers ``before`` and ``after``; ``stayed``; ``retention``, the share of
        ``before`` who stayed, and ``retention_of_present``, their share among those who are still
        customers (NaN for a segment that had nobody); ``came`` from and ``left`` for other
        segments, ``new`` and ``gone``; ``net = after - before``. In revenue: ``revenue_before``,
        ``revenue_after``, ``net_revenue``, which is the sum of ``stayed_change`` (what those who
        stayed bring more), ``came_revenue`` (what all who came or are new bring later) less
        ``left_revenue`` (what all who left or are gone brought before).
    """
    names = _listed(table, order)
    source, target = table["from"], table["to"]
    same, arrived, lost = source == target, source == NEW, target == GONE

    def total(rows: Any, by: str, column: str) -> pd.Series[Any]:
        known = table.loc[rows].groupby(by)[column].sum(min_count=1).reindex(names)
        is_known = table[column].notna().any()
        return known.fillna(0) if is_known else known

    stayed = total(same, "from", "customers")
    before = total(~arrived, "from", "customers")
    gone = total(lost, "from", "customers")
    after = total(~lost, "to", "customers")
    earned = total(~arrived, "from", "revenue_before")
    earns = total(~lost, "to", "revenue_after")
    counts = {
        "before": before,
        "after": after,
        "stayed": stayed,
        "came": total(~same & ~arrived & ~lost, "to", "customers"),
        "left": total(~same & ~arrived & ~lost, "from", "customers"),
        "new": total(arrived, "to", "customers"),
        "gone": gone,
        "net": after - before,
    }
    made = pd.DataFrame(counts).astype(int)
    made.insert(3, "retention", stayed / before.where(before > 0))
    made.insert(4, "retention_of_present", stayed / (before - gone).where(before > gone))
    made["revenue_before"], made["revenue_after"] = earned, earns
    made["stayed_change"] = total(same, "from", "change")
    made["came_revenue"] = total(~same & ~lost, "to", "revenue_after")
    made["left_revenue"] = total(~same & ~arrived, "from", "revenue_before")
    made["net_revenue"] = earns - earned
    return made.rename_axis("segment").reset_index()


def retained(table: pd.DataFrame) -> float:
    """Return the share of the customers of both periods who are in the same segment; NaN for none.

    Parameters
    ----------
    table : DataFrame
        Of :func:`transitions`.
    """
    both = table[(table["from"] != NEW) & (table["to"] != GONE)]
    n = int(both["customers"].sum())
    stayed = int(both.loc[both["from"] == both["to"], "customers"].sum())
    return stayed / n if n else math.nan


# --- how far the customers drifted -----------------------------------------------------------


def psi(expected: ArrayLike, actual: ArrayLike) -> Floats:
    """Return the population stability index of two sets of counts.

    ``sum((p - q) ln(p / q))`` with the shares p of the first and q of the second period: the
    symmetric divergence of Jeffreys (1946, Proc. R. Soc. A 186:453-461), known in credit scoring
    as stability index. By its rule of thumb (Siddiqi 2006, Credit Risk Scorecards) less than 0.1
    is no change worth a word, and 0.25 or more a shift.

    A cell that is empty in one period counts as half a customer there, so that the logarithm is
    finite; one that is empty in both is left out.

    Parameters
    ----------
    expected, actual : array-like of float, shape (..., n_cells)
        Counts of the first and of the second period, the same cells in both.

    Returns
    -------
    ndarray of shape (...)

    Raises
    ------
    DataError
        A count is negative, or a period has no customers.

    Examples
    --------
    >>> float(psi([50, 50], [50, 50]))
    0.0
    """
    first, second = _counts(expected), _counts(actual)
    if not (first.sum(axis=-1).all() and second.sum(axis=-1).all()):
        raise DataError("the stability index compares two periods, and one has no customers")
    is_empty = (first == 0) & (second == 0)
    first = np.where(first == 0, EMPTY, first)
    second = np.where(second == 0, EMPTY, second)
    p = first / first.sum(axis=-1, keepdims=True, where=~is_empty)
    q = second / second.sum(axis=-1, keepdims=True, where=~is_empty)
    found: Floats = np.sum((p - q) * np.log(p / q), axis=-1, where=~is_empty)
    return found


def _counts(counts: ArrayLike) -> Floats:
    array = np.asarray(counts, dtype=float)
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise DataError("the stability index needs counts of 0 or more")
    return array


def psi_by_chance(n_expected: int, n_actual: int, n_cells: int) -> float:
    """Return what the index exceeds in one of twenty samples though nothing drifted.

    Of two independent samples of one population the index is nearly ``1 / n + 1 / m`` times a
    chi-squared variable with ``n_cells - 1`` degrees of freedom (Yurdakul and Naranjo 2020, J.
    Risk Model Validation 14(4):89-100). The same customers at two times are not independent:
    their index varies less, so that the figure is on the safe side.
    """
    spread = 1 / n_expected + 1 / n_actual
    return float(spread * chi2.ppf(CHANCE, n_cells - 1)) if n_cells > 1 else 0.0


def psi_of_segments(before: Segments, after: Segments) -> float:
    """Return the stability index of the sizes of the segments, noise counted as one of them."""
    expected, actual = _aligned_counts(before, after)
    return float(psi(expected, actual))


def _aligned_counts(before: Segments, after: Segments) -> tuple[Floats, Floats]:
    first, second = before.value_counts(), after.value_counts()
    names = first.index.union(second.index)
    expected = np.asarray(first.reindex(names, fill_value=0), dtype=np.float64)
    return expected, np.asarray(second.reindex(names, fill_value=0), dtype=np.float64)


def stability_table(
    before: pd.DataFrame,
    after: pd.DataFrame,
    segments_before: Segments,
    segments_after: Segments,
) -> pd.DataFrame:
    """Return the stability index of the sizes of the segments and of each feature.

    Numbers and dates are counted between the deciles of the first period; those with ten values
    or fewer there, and categories, value by value. What is missing is a cell, and so is every
    value that the first period lacked.

    Parameters
    ----------
    before, after : DataFrame
        The features of the customers of each period.
    segments_before, segments_after : Series

    Returns
    -------
    DataFrame with columns ``figure, kind, psi, by_chance, n_cells``
        The sizes of the segments first, then the features, the largest index first.
        ``by_chance`` is what :func:`psi_by_chance` says of tables of this size.
    """
    n, m = len(before), len(after)
    sizes = _aligned_counts(segments_before, segments_after)
    rows = [("segments", "sizes", *_index(*sizes))]
    features = []
    for name in before.columns:
        kind, expected, actual = feature_cells(before[name], after[name])
        features.append((str(name), kind, *_index(expected, actual)))
    rows += sorted(features, key=lambda row: -row[2])
    made = pd.DataFrame(rows, columns=["figure", "kind", "psi", "n_cells"])
    by_chance = [psi_by_chance(n, m, n_cells) for n_cells in made["n_cells"]]
    made.insert(3, "by_chance", by_chance)
    return made


def _index(expected: Floats, actual: Floats) -> tuple[float, int]:
    return float(psi(expected, actual)), int(((expected > 0) | (actual > 0)).sum())


def feature_cells(before: pd.Series[Any], after: pd.Series[Any]) -> tuple[str, Floats, Floats]:
    """Count a feature of both periods in the cells of the first one.

    Returns
    -------
    kind : {"deciles", "values"}
    expected, actual : ndarray of shape (n_cells,)
        The last cell holds what is missing; of values, the one before it those that are new.
    """
    is_ordered = pd.api.types.is_numeric_dtype(before) or pd.api.types.is_datetime64_dtype(before)
    if is_ordered and before.nunique() > N_BINS:
        return "deciles", *_in_deciles(before, after)
    levels = pd.Index(before.dropna().astype(object).unique(), dtype=object)
    return "values", _by_level(before, levels), _by_level(after, levels)


def _in_deciles(before: pd.Series[Any], after: pd.Series[Any]) -> tuple[Floats, Floats]:
    known = np.sort(before.dropna().to_numpy())
    # Values of the table themselves: dates have none between them that would mean anything.
    places = -(-np.arange(1, N_BINS) * len(known) // N_BINS) - 1
    edges = np.unique(known[places])
    n_cells = len(edges) + 1

    def count(column: pd.Series[Any]) -> Floats:
        cells = np.searchsorted(edges, column.dropna().to_numpy(), side="left")
        found = np.bincount(cells, minlength=n_cells).astype(float)
        return np.append(found, float(column.isna().sum()))

    return count(before), count(after)


def _by_level(column: pd.Series[Any], levels: pd.Index[Any]) -> Floats:
    cells = levels.get_indexer(pd.Index(column.astype(object), dtype=object))
    is_missing = column.isna().to_numpy()
    cells = np.where(is_missing, len(levels) + 1, np.where(cells < 0, len(levels), cells))
    return np.bincount(cells, minlength=len(levels) + 2).astype(np.float64)


# --- the same segments in another segmentation -----------------------------------------------


def align(labels_a: ArrayLike, labels_b: ArrayLike, fixed: Collection[str] = ()) -> dict[str, str]:
    """Give the segments of a second segmentation the names of the first, by whom they share.

    The pairs are those that share the most customers in total (Kuhn 1955, Nav. Res. Logist. Q.
    2:83-97), each segment in one pair at most. A segment of the second segmentation that is in
    no pair is ``"another 1"``, ``"another 2"``, ... in the order of :func:`in_order`.

    Parameters
    ----------
    labels_a, labels_b : array-like of str, shape (n,)
        The segments of the same customers.
    fixed : collection of str
        Names that are no segments, such as noise: they stay what they are.

    Returns
    -------
    dict
        Name in ``labels_b`` to name in ``labels_a``; every name of ``labels_b`` is there.

    Examples
    --------
    >>> align(["1", "1", "2", "3"], ["2", "2", "1", "3"])
    {'1': '2', '2': '1', '3': '3'}
    """
    a, b = (pd.Series(np.asarray(labels, dtype=object)) for labels in (labels_a, labels_b))
    counted = ~(a.isin(fixed) | b.isin(fixed))
    shared = pd.crosstab(a[counted], b[counted])
    counts = shared.to_numpy()
    rows, columns = linear_sum_assignment(-counts)
    pairs = {
        str(shared.columns[column]): str(shared.index[row])
        for row, column in zip(rows, columns, strict=True)
        if counts[row, column]
    }
    mapping, n_others = {}, 0
    for name in in_order(map(str, b.unique())):
        if name in fixed:
            mapping[name] = name
        elif name in pairs:
            mapping[name] = pairs[name]
        else:
            n_others += 1
            mapping[name] = f"another {n_others}"
    return mapping


# --- the verdict -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Thresholds:
    """Where a figure is a reason to watch the segments, or to segment anew.

    Those of the index are its rule of thumb (Siddiqi 2006), those of the adjusted Rand index
    Steinley's (2004, Psychol. Methods 9:386-396: .65 moderate, .80 good). The others are ours.
    """

    psi_watch: float = 0.1  # of the sizes of the segments
    psi_act: float = 0.25
    feature_psi: float = 0.25  # a feature has shifted: watch
    features_act: float = 0.5  # share of the features that have shifted
    ari_watch: float = 0.8  # of the old segments and those of the refit; below it
    ari_act: float = 0.65
    silhouette_drop_watch: float = 0.05
    silhouette_drop_act: float = 0.1
    unlike_share_watch: float = 0.03  # 0.01 among those that the model was fitted on
    unlike_share_act: float = 0.05
    retention_watch: float = 0.6  # customers of both periods who stayed; below it
    retention_act: float = 0.0  # never: customers who move are no fault of the segments

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and math.isfinite(value) and value >= 0):
                raise ConfigError(
                    f"migration.{field.name} must be a number of 0 or more, got {value!r}"
                )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Thresholds:
        """Return the thresholds with some of them replaced.

        Raises
        ------
        ConfigError
            There is no such threshold, or its value is no number of 0 or more.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"there is no threshold migration.{name}{did_you_mean(name, known)}; "
                    f"there are {', '.join(known)}"
                )
        return cls(**values)


@dataclass(frozen=True)
class Drift:
    """The figures that a verdict rests on; None or NaN where one was not measured."""

    psi: float  # of the sizes of the segments
    psi_by_chance: float = 0.0
    features: Mapping[Hashable, tuple[float, float]] | None = None  # index, and that by chance
    ari: float | None = None  # of the old segments and those of the refit
    expected_ari: float | None = None  # of two fits in the first period, if unlucky
    silhouette_before: float | None = None
    silhouette_after: float | None = None
    unlike_share: float | None = None
    retention: float | None = None


@dataclass(frozen=True)
class Reason:
    """One figure beside its threshold."""

    level: str  # what it speaks for: watch or re-segment now
    figure: str
    value: float
    threshold: str
    limit: float
    words: str


@dataclass(frozen=True)
class Resegment:
    """Whether the segments still hold, and why."""

    status: str  # keep, watch or re-segment now
    reasons: tuple[Reason, ...]  # the worst first; none to keep
    notes: tuple[str, ...]  # figures beyond a threshold that are no reason, and why not

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        if not self.reasons:
            return f"{KEEP}: no figure is beyond its threshold"
        return f"{self.status}: {'; '.join(reason.words for reason in self.reasons)}"


def verdict(drift: Drift, thresholds: Thresholds | None = None) -> Resegment:
    """Weigh what drifted: each figure beyond a threshold is a reason, and the worst one decides.

    Two things are no reason, and are noted instead. An index within what chance alone brings
    (:func:`psi_by_chance`) is none at all; and an adjusted Rand index that is low, but no lower
    than that of fits on two halves of the first period, is one to watch only: those segments are
    hardly found again even where nothing changed.
    """
    limits = thresholds or Thresholds()
    weighed = _Weighed(limits)
    weighed.above("psi of the segment sizes", drift.psi, "psi", chance=drift.psi_by_chance)
    _weigh_features(weighed, drift)
    _weigh_refit(weighed, drift)
    if drift.silhouette_before is not None and drift.silhouette_after is not None:
        weighed.above(
            f"the silhouette fell from {drift.silhouette_before:.3f} to "
            f"{drift.silhouette_after:.3f}: the drop",
            drift.silhouette_before - drift.silhouette_after,
            "silhouette_drop",
        )
    weighed.above("share of customers unlike anybody", drift.unlike_share, "unlike_share")
    weighed.below("share of customers who kept their segment", drift.retention, "retention")
    reasons = sorted(weighed.reasons, key=lambda reason: -LEVELS.index(reason.level))
    status = reasons[0].level if reasons else KEEP
    return Resegment(status, tuple(reasons), tuple(weighed.notes))


class _Weighed:
    """Reasons that come together."""

    def __init__(self, limits: Thresholds) -> None:
        self.limits = limits
        self.reasons: list[Reason] = []
        self.notes: list[str] = []

    def above(self, figure: str, value: float | None, name: str, chance: float = 0.0) -> None:
        """Weigh a figure of which more is worse."""
        if (found := self._beyond(value, name, 1)) is None or value is None:
            return
        level, key, limit = found
        if value <= chance:
            self.notes.append(
                f"{figure} {value:.3f} is {limit:g} or more (migration.{key}), but up to "
                f"{chance:.3f} comes by chance among so few customers"
            )
            return
        self.add(level, figure, value, key, f"{figure} is {value:.3f}, {limit:g} or more")

    def below(self, figure: str, value: float | None, name: str) -> None:
        """Weigh a figure of which less is worse."""
        if (found := self._beyond(value, name, -1)) is not None and value is not None:
            level, key, limit = found
            self.add(level, figure, value, key, f"{figure} is {value:.3f}, below {limit:g}")

    def _beyond(self, value: float | None, name: str, sign: int) -> tuple[str, str, float] | None:
        if value is None or math.isnan(value):
            return None
        for level, word in ((RESEGMENT, "act"), (WATCH, "watch")):
            key = f"{name}_{word}"
            limit = float(getattr(self.limits, key))
            if value >= limit if sign > 0 else value < limit:
                return level, key, limit
        return None

    def add(self, level: str, figure: str, value: float, key: str, words: str) -> None:
        """Keep a reason; its words end with the name of the threshold."""
        limit = float(getattr(self.limits, key))
        self.reasons.append(
            Reason(level, figure, float(value), key, limit, f"{words} (migration.{key})")
        )


def _weigh_features(weighed: _Weighed, drift: Drift) -> None:
    """Weigh the features that shifted: how many of them, and by how much the worst."""
    limits, features = weighed.limits, drift.features or {}
    if not features:
        return
    beyond = {name: found for name, found in features.items() if found[0] >= limits.feature_psi}
    shifted = {name: index for name, (index, chance) in beyond.items() if index > chance}
    for name, (index, chance) in beyond.items():
        if name not in shifted:
            weighed.notes.append(
                f"psi of {name} {index:.3f} is {limits.feature_psi:g} or more "
                f"(migration.feature_psi), but up to {chance:.3f} comes by chance among so few "
                "customers"
            )
    if not shifted:
        return
    worst = max(shifted, key=lambda name: shifted[name])
    share = len(shifted) / len(features)
    if share >= limits.features_act:
        what = (
            f"{len(shifted)} of {len(features)} features shifted (psi {limits.feature_psi:g} or "
            f"more, migration.feature_psi): a share of {share:.2f}, {limits.features_act:g} or more"
        )
        weighed.add(RESEGMENT, "share of shifted features", share, "features_act", what)
    else:
        others = len(shifted) - 1
        more = f" ({others} more shifted)" if others else ""
        what = f"psi of {worst} is {shifted[worst]:.3f}{more}, {limits.feature_psi:g} or more"
        weighed.add(WATCH, f"psi of {worst}", shifted[worst], "feature_psi", what)


def _weigh_refit(weighed: _Weighed, drift: Drift) -> None:
    figure = "adjusted Rand index of old and refitted segments"
    weighed.below(figure, drift.ari, "ari")
    if drift.ari is None or drift.expected_ari is None or not weighed.reasons:
        return
    last = weighed.reasons[-1]
    if last.threshold == "ari_act" and drift.ari >= drift.expected_ari:
        weighed.reasons.pop()
        what = (
            f"{last.words.removesuffix(' (migration.ari_act)')}, but fits on two halves of the "
            f"first period may agree by {drift.expected_ari:.3f} only"
        )
        weighed.add(WATCH, figure, drift.ari, "ari_act", what)

"""Rules within the segments of the customers, and which of them are special to one segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control
from sklearn.base import clone

from segexp.baskets.itemsets import (
    Ids,
    TooManyItemsetsError,
    basket_matrix,
    least_count,
    mine,
    thresholds_that_do,
)
from segexp.baskets.judging import count_rules
from segexp.baskets.measures import fisher_greater
from segexp.baskets.rules import AssociationRules
from segexp.errors import ConfigError, DataError

MIN_SEGMENT_COUNT = 10  # fewer baskets than this make no rule of a segment, whatever their share
MAX_SEGMENT_ITEMSETS = 20_000  # a few large baskets of a small segment would make millions
SEGMENT_COLUMNS = (
    "segment", "antecedent", "consequent", "length", "n_baskets", "n_antecedent", "n_both",
    "support", "confidence", "lift", "n_antecedent_outside", "n_both_outside",
    "confidence_outside", "segment_lift", "p_value", "q_value", "special",
)  # fmt: skip


@dataclass(frozen=True)
class SegmentRules:
    """The rules that the mined baskets of one segment gave."""

    name: str
    n_baskets: int  # that were mined
    model: AssociationRules | None  # None where mining was refused
    note: str  # the reason, or what was changed


def baskets_to_mine(
    segments: NDArray[np.object_], customers: NDArray[np.object_] | None, seed: int
) -> NDArray[np.bool_]:
    """Draw the baskets that rules of segments are mined from; the others test them.

    Parameters
    ----------
    segments : ndarray of str or None, shape (n_baskets,)
        Name of the segment of each basket; None where there is none.
    customers : ndarray, shape (n_baskets,), optional
        Whose baskets they are: all of a customer are drawn, or none. Without them each basket is
        drawn by itself.

    Returns
    -------
    ndarray of bool, shape (n_baskets,)
        Half of the customers of each segment, at random. Never a basket without a segment.
    """
    owners = np.arange(len(segments)) if customers is None else customers.astype(str)
    shuffled = np.random.default_rng(seed)
    drawn = np.zeros(len(segments), dtype=bool)
    for name in sorted({name for name in segments if name is not None}):
        own = np.flatnonzero(segments == name)
        different, owner = np.unique(owners[own], return_inverse=True)
        place = shuffled.permutation(len(different))
        drawn[own] = place[owner] < (len(different) + 1) // 2
    return drawn


def mine_segment(
    model: AssociationRules, matrix: csr_matrix, items: Sequence[str], name: str
) -> SegmentRules:
    """Mine baskets of one segment with the thresholds of a model.

    Parameters
    ----------
    model : AssociationRules
        Cloned. A support that is a share is one of these baskets, and never fewer
        than MIN_SEGMENT_COUNT baskets; it is raised, with a note, where it gives more than
        MAX_SEGMENT_ITEMSETS itemsets. Redundant rules are left out.
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
        Baskets of the segment that are mined.
    """
    n = int(matrix.shape[0])
    least = max(least_count(model.min_support, n), MIN_SEGMENT_COUNT)
    most = min(model.max_itemsets, MAX_SEGMENT_ITEMSETS)
    own = clone(model).set_params(min_support=least, max_itemsets=most, keep_redundant=False)
    note = ""
    try:
        if least_that_does := _raised(own, matrix):
            own.set_params(min_support=least_that_does)
            note = (
                f"segment {name}: {least} of the {n:,} baskets mined would make more than {most:,} "
                f"itemsets; it was mined with {least_that_does}"
            )
        return SegmentRules(name, n, own.fit(matrix, items), note)
    except (ConfigError, DataError) as error:
        return SegmentRules(name, n, None, f"segment {name} was left out: {error}")


def _raised(model: AssociationRules, matrix: csr_matrix) -> int | None:
    """Return a higher number of baskets if that of a model makes too many itemsets."""
    kept = model.without_giants(basket_matrix(matrix))
    bounds = int(model.min_support), model.max_length, model.max_itemsets
    try:
        mine(kept, bounds[0], max_length=bounds[1], max_itemsets=bounds[2])
    except TooManyItemsetsError:
        return thresholds_that_do(kept, *bounds)[0]
    return None


def compare_segments(
    found: Sequence[SegmentRules], matrix: csr_matrix, segments: NDArray[np.object_], alpha: float
) -> pd.DataFrame:
    """Test the rules of each segment on baskets that they were not mined from.

    Parameters
    ----------
    found : sequence of SegmentRules
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
        Of all segments; none of them may have been mined.
    segments : ndarray of str, shape (n_baskets,)
        Name of the segment of each basket.
    alpha : float

    Returns
    -------
    DataFrame
        One row per segment and rule that was found there; those special to their segment first,
        then by ``segment_lift``. Counts, ``support``, ``confidence`` and ``lift`` are those of the
        segment's baskets among these (the last two NaN where none holds the antecedent, or none
        the consequent); ``segment_lift`` is the confidence there divided by that outside: NaN where
        one of them is not defined, infinite where the outer one is 0 and the inner one is not.

    Notes
    -----
    ``p_value`` is that of Fisher's exact test, one-sided, among the baskets that hold the
    antecedent: do those of the segment hold the consequent more often than the others do?
    ``q_value`` is by Benjamini and Hochberg [1]_ over all rows; ``special``: it is at most
    ``alpha``. The rows were chosen for a high confidence within the segment, which is why the
    baskets that chose them must not test them.

    References
    ----------
    .. [1] Benjamini and Hochberg (1995). Controlling the false discovery rate: a practical and
       powerful approach to multiple testing. Journal of the Royal Statistical Society B 57(1),
       289-300.
    """
    tables = []
    for one in found:
        if one.model is None or not len(one.model.rules_):
            continue
        is_own = segments == one.name
        inside, outside = (basket_matrix(matrix[rows]) for rows in (is_own, ~is_own))
        sides = one.model.antecedents_, one.model.consequents_
        tables.append(
            _counted(one, count_rules(inside, *sides), int(inside.shape[0])).assign(
                **dict(zip(_OUTSIDE, count_rules(outside, *sides)[::2], strict=True))
            )
        )
    if not tables:
        return pd.DataFrame(columns=list(SEGMENT_COLUMNS))
    return _tested(pd.concat(tables, ignore_index=True), alpha)


_OUTSIDE = ("n_antecedent_outside", "n_both_outside")


def _counted(one: SegmentRules, counts: tuple[Ids, Ids, Ids], n: int) -> pd.DataFrame:
    """Return the rules of a segment with their figures in other baskets of the segment."""
    if one.model is None:
        raise DataError(f"segment {one.name} was not mined")
    first, second, both = counts
    confidence = _ratio(both, first)
    return one.model.rules_[["antecedent", "consequent", "length"]].assign(
        segment=one.name,
        n_baskets=n,
        n_antecedent=first,
        n_both=both,
        support=_ratio(both, np.full(len(both), n)),
        confidence=confidence,
        lift=_ratio(confidence * n, second),
    )


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    ratio = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator != 0)
    return ratio


def _tested(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    first, both = table["n_antecedent"].to_numpy(), table["n_both"].to_numpy()
    first_outside, both_outside = (table[name].to_numpy() for name in _OUTSIDE)
    p_values = fisher_greater(both, first, both + both_outside, first + first_outside)
    q_values = false_discovery_control(p_values)
    inside, outside = table["confidence"].to_numpy(), _ratio(both_outside, first_outside)
    lift = _ratio(inside, outside)
    lift[(outside == 0) & (inside > 0)] = np.inf
    table = table.assign(
        confidence_outside=outside,
        segment_lift=lift,
        p_value=p_values,
        q_value=q_values,
        special=q_values <= alpha,
    )
    order = np.lexsort((p_values, -np.nan_to_num(lift, nan=-1.0), ~table["special"].to_numpy()))
    return table.iloc[order][list(SEGMENT_COLUMNS)].reset_index(drop=True)

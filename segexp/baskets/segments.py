"""Rules within the segments of the customers, and which of them are special to one segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import clone

from segexp.baskets.itemsets import (
    TooManyItemsetsError,
    basket_matrix,
    least_count,
    mine,
    thresholds_that_do,
)
from segexp.baskets.judging import count_rules
from segexp.baskets.measures import benjamini_hochberg, fisher_greater
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
    """The rules of the baskets of one segment."""

    name: str
    n_baskets: int
    model: AssociationRules | None  # None where mining was refused
    note: str  # the reason, or what was changed


def mine_segment(
    model: AssociationRules, matrix: csr_matrix, items: Sequence[str], name: str
) -> SegmentRules:
    """Mine the baskets of one segment with the thresholds of a model.

    Parameters
    ----------
    model : AssociationRules
        Cloned. A support that is a share is one of the baskets of the segment, and never fewer
        than MIN_SEGMENT_COUNT baskets; it is raised, with a note, where it gives more than
        MAX_SEGMENT_ITEMSETS itemsets. Redundant rules are left out.
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
        Baskets of the segment.
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
                f"segment {name}: {least} of its {n:,} baskets would make more than {most:,} "
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
    """Compare the rules of each segment with the baskets of the other segments.

    Parameters
    ----------
    found : sequence of SegmentRules
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
        Those that were mined, of all segments.
    segments : ndarray of str, shape (n_baskets,)
        Name of the segment of each basket.
    alpha : float

    Returns
    -------
    DataFrame
        One row per segment and rule that was found there; those special to their segment first,
        then by ``segment_lift``. Counts, ``support``, ``confidence`` and ``lift`` are those within
        the segment; ``segment_lift`` is the confidence there divided by that outside: NaN where no
        basket outside holds the antecedent, infinite where none of those holds the consequent.

    Notes
    -----
    ``p_value`` is that of Fisher's exact test, one-sided, among the baskets that hold the
    antecedent: do those of the segment hold the consequent more often than the others do?
    ``q_value`` is by Benjamini and Hochberg over all rows; ``special``: it is at most ``alpha``.
    """
    tables = []
    for one in found:
        if one.model is None or not len(one.model.rules_):
            continue
        outside = basket_matrix(matrix[segments != one.name])
        sides = one.model.antecedents_, one.model.consequents_
        first, _, both = count_rules(outside, *sides)
        rules = one.model.rules_
        kept = [name for name in SEGMENT_COLUMNS if name in rules]
        tables.append(
            rules[kept].assign(
                segment=one.name,
                n_baskets=one.model.n_baskets_,
                n_antecedent_outside=first,
                n_both_outside=both,
            )
        )
    if not tables:
        return pd.DataFrame(columns=list(SEGMENT_COLUMNS))
    return _tested(pd.concat(tables, ignore_index=True), alpha)


def _tested(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    first, both = table["n_antecedent"].to_numpy(), table["n_both"].to_numpy()
    first_outside = table["n_antecedent_outside"].to_numpy()
    both_outside = table["n_both_outside"].to_numpy()
    p_values = fisher_greater(both, first, both + both_outside, first + first_outside)
    q_values = benjamini_hochberg(p_values)
    outside = np.full(len(table), np.nan)
    np.divide(both_outside, first_outside, out=outside, where=first_outside > 0)
    lift = np.where(outside == 0, np.inf, np.nan)
    np.divide(table["confidence"].to_numpy(), outside, out=lift, where=outside > 0)
    table = table.assign(
        confidence_outside=outside,
        segment_lift=lift,
        p_value=p_values,
        q_value=q_values,
        special=q_values <= alpha,
    )
    order = np.lexsort((p_values, -np.nan_to_num(lift, nan=-1.0), ~table["special"].to_numpy()))
    return table.iloc[order][list(SEGMENT_COLUMNS)].reset_index(drop=True)

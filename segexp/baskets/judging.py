"""Rules judged on baskets that they were not mined from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from segexp.baskets.itemsets import Bits, Ids, Words, basket_matrix, popcount
from segexp.baskets.rules import AssociationRules, reaches
from segexp.metrics import BASKET_METRICS


@dataclass(frozen=True)
class JudgedRules:
    """What became of mined rules on baskets held out."""

    values: Mapping[str, float]  # by metric; NaN where it is not defined
    rules: (
        pd.DataFrame
    )  # antecedent, consequent and the held-out n_antecedent, n_consequent, n_both
    n_baskets: int  # held out


def judge_rules(model: AssociationRules, X: csr_matrix) -> JudgedRules:
    """Count fitted rules in other baskets.

    Parameters
    ----------
    model : fitted AssociationRules
    X : sparse matrix, shape (n_baskets, n_items)
        With the columns of the matrix that the model was fitted on. No basket is left out.

    Notes
    -----
    ``held_out_confidence``, ``confidence_drop`` and ``rules_kept`` are means over the rules whose
    antecedent is in a basket held out at all; ``held_out_lift`` is the median over those of them
    whose consequent is, too. A basket is covered if it holds some antecedent; of the rules that
    fire there the one with the highest training confidence (then the most baskets, then the order
    of ``rules_``) speaks, and ``hit_rate`` is the share of covered baskets where it is right.
    """
    matrix = basket_matrix(X)
    n = int(matrix.shape[0])
    counts = _Counts(matrix, model.antecedents_, model.consequents_)
    rules = model.rules_
    table = rules[["antecedent", "consequent"]].assign(
        n_antecedent=counts.n_antecedent, n_consequent=counts.n_consequent, n_both=counts.n_both
    )
    values = dict.fromkeys((metric.name for metric in BASKET_METRICS), math.nan)
    values |= {"n_rules": float(len(rules)), "n_itemsets": float(len(model.itemsets_))}
    values |= _agreement(rules, table, n, model.min_confidence)
    best_first = np.lexsort(
        (np.arange(len(rules)), -rules["n_both"].to_numpy(), -rules["confidence"].to_numpy())
    )
    n_fired, n_hit = counts.fire(best_first)
    values["coverage"] = n_fired / n if n else math.nan
    values["hit_rate"] = n_hit / n_fired if n_fired else math.nan
    return JudgedRules(values, table, n)


def _agreement(
    rules: pd.DataFrame, held_out: pd.DataFrame, n: int, min_confidence: float
) -> dict[str, float]:
    """Compare the confidence and lift of rules with those on other baskets."""
    first = held_out["n_antecedent"].to_numpy()
    both, second = held_out["n_both"].to_numpy(), held_out["n_consequent"].to_numpy()
    seen = first > 0
    if not seen.any():
        return {}
    confidence = both[seen] / first[seen]
    known = seen & (second > 0)
    lift = both[known] * n / (first[known] * second[known])
    mean = float(confidence.mean())
    return {
        "held_out_confidence": mean,
        "confidence_drop": float(rules["confidence"].to_numpy()[seen].mean()) - mean,
        "rules_kept": float(reaches(both[seen], first[seen], min_confidence).mean()),
        "held_out_lift": float(np.median(lift)) if len(lift) else math.nan,
    }


def count_rules(
    matrix: csr_matrix, antecedents: csr_matrix, consequents: csr_matrix
) -> tuple[Ids, Ids, Ids]:
    """Count the baskets with the antecedent, the consequent, and both, of each rule.

    Parameters
    ----------
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
    antecedents, consequents : csr_matrix of bool, shape (n_rules, n_items)
    """
    counts = _Counts(matrix, antecedents, consequents)
    return counts.n_antecedent, counts.n_consequent, counts.n_both


class _Counts:
    """Baskets of each rule, found on bits; only items of some rule are looked at."""

    def __init__(
        self, matrix: csr_matrix, antecedents: csr_matrix, consequents: csr_matrix
    ) -> None:
        used = np.union1d(antecedents.indices, consequents.indices)
        self._bits = Bits(matrix[:, used])
        self._left = _padded(antecedents, used)
        self._right = _padded(consequents, used)
        n_rules = antecedents.shape[0]
        self.n_antecedent, self.n_consequent, self.n_both = np.zeros((3, n_rules), dtype=np.int64)
        self._step = self._bits.n_at_once
        for start in range(0, n_rules, self._step):
            own = np.arange(start, min(start + self._step, n_rules))
            left, right = self._sides(own)
            self.n_antecedent[own], self.n_consequent[own] = popcount(left), popcount(right)
            self.n_both[own] = popcount(left & right)

    def _sides(self, rules: Ids) -> tuple[Words, Words]:
        return self._bits.of(self._left[rules]), self._bits.of(self._right[rules])

    def fire(self, order: NDArray[np.intp]) -> tuple[int, int]:
        """Let the first rule that fires speak for each basket.

        Returns
        -------
        n_fired, n_hit : int
            Baskets in which some rule fires, and those of them in which the first one is right.
        """
        fired: Words = np.zeros(self._bits.words.shape[1], dtype=np.uint64)
        n_hit = 0
        for start in range(0, len(order), self._step):
            left, right = self._sides(order[start : start + self._step])
            before = np.bitwise_or.accumulate(np.vstack([fired, left]), axis=0)
            fired = before[-1]
            n_hit += int(popcount(left & ~before[:-1] & right).sum())
        return int(popcount(fired[None, :])[0]), n_hit


def _padded(sides: csr_matrix, used: Ids) -> Ids:
    """Return the items of each row as numbers within ``used``; short rows repeat their first."""
    rows = sides.sorted_indices()
    sizes = np.diff(rows.indptr)
    if not len(sizes):
        return np.zeros((0, 1), dtype=np.int64)
    place = np.arange(int(sizes.max()))
    at = rows.indptr[:-1, None] + np.where(place < sizes[:, None], place, 0)
    return np.searchsorted(used, rows.indices)[at].astype(np.int64)

"""Association rules from whole counts: what a basket that holds these items holds as well."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from segexp.baskets.itemsets import (
    ALGORITHMS,
    Ids,
    Itemsets,
    TooManyItemsetsError,
    basket_matrix,
    exact,
    least_count,
    mine,
    pair_counts,
    thresholds_that_do,
)
from segexp.baskets.measures import Floats, fisher_greater, measures
from segexp.errors import ConfigError, DataError, did_you_mean

SEPARATOR = " + "
MAX_CANDIDATES = 10_000_000  # rules that are weighed
COUNTS = ("n_both", "n_antecedent", "n_consequent")
RULE_COLUMNS = (
    "antecedent", "consequent", "length", "n_antecedent", "n_consequent", "n_both", "support",
    "confidence", "lift", "leverage", "conviction", "zhang", "p_value", "q_value", "significant",
    "redundant",
)  # fmt: skip


class AssociationRules(BaseEstimator):
    """Mines the rules ``X -> Y`` that a support and a confidence reach, with exact counts.

    Parameters
    ----------
    min_support : float or int
        Least share of the baskets that hold X and Y; a whole number is a number of baskets.
    min_confidence : float
        Least share of the baskets with X that hold Y as well.
    min_lift : float, optional
        Least ratio of the confidence to the share of all baskets that hold Y.
    min_length, max_length : int
        Items of a rule, X and Y together.
    algorithm : {"apriori", "fpgrowth"}
        Both give the same; Apriori counts on bits here, which was faster wherever it was measured.
    consequents : {"single", "any"}
        One item on the right side, or any number.
    only_consequents : sequence of str, optional
        Items that the right side may hold.
    max_basket_items : int, optional
        A basket of more different items is left out, and counted.
    max_itemsets : int
        With more frequent itemsets mining is refused, with thresholds that would do.
    alpha : float
        A rule is significant if its q-value is at most this.
    keep_redundant : bool
        Keep rules that a more general one makes needless.

    Attributes
    ----------
    itemsets_ : DataFrame
        ``itemset, length, count, support``, the most frequent of each length first.
    rules_ : DataFrame
        One row per rule, the highest lift first: ``antecedent`` and ``consequent`` as text, items
        joined by ``" + "``; counts ``n_antecedent, n_consequent, n_both``; the measures of
        :func:`~segexp.baskets.measures.measures`; ``p_value`` of
        :func:`~segexp.baskets.measures.fisher_greater`; ``q_value`` by
        Benjamini and Hochberg (:func:`scipy.stats.false_discovery_control`) over every rule that
        was weighed, also those short of the confidence; ``significant``; ``redundant``.
    antecedents_, consequents_ : csr_matrix of bool, shape (n_rules, n_items)
        The sides of each rule, in the order of ``rules_``.
    items_ : list of str
    n_baskets_, n_left_out_, n_empty_ : int
        Baskets that counted (empty ones as well), those that were too large, and empty ones.
    min_count_ : int
        The support as a number of baskets.
    n_candidates_ : int
        Rules that were weighed.
    advice_ : str
        Where no rule was found, which thresholds would give some; else empty.

    Notes
    -----
    A rule is redundant if a more general one, with fewer items on the left and the same right side,
    has the same or a higher confidence (an improvement of at most 0 [1]_; ``is.redundant`` of the R
    package arules). Rules with an empty left side are not mined and not compared with.

    Thresholds are taken as the fractions that their decimal texts say, and compared with whole
    counts: 12 of 15 baskets reach a confidence of 0.8, which floats deny.

    References
    ----------
    .. [1] Bayardo, Agrawal and Gunopulos (2000). Constraint-based rule mining in large, dense
       databases. Data Mining and Knowledge Discovery 4(2), 217-240.

    Examples
    --------
    >>> baskets = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1]])
    >>> model = AssociationRules(min_support=2, min_confidence=0.6)
    >>> model.fit(baskets, ["bread", "butter", "tea"]).rules_[["antecedent", "consequent", "lift"]]
      antecedent consequent      lift
    0     butter      bread  1.333333
    1      bread     butter  1.333333
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "min_support": [
            Interval(Real, 0, 1, closed="right"), Interval(Integral, 1, None, closed="left")
        ],
        "min_confidence": [Interval(Real, 0, 1, closed="both")],
        "min_lift": [Interval(Real, 0, None, closed="left"), None],
        "min_length": [Interval(Integral, 2, None, closed="left")],
        "max_length": [Interval(Integral, 2, None, closed="left"), None],
        "algorithm": [StrOptions(set(ALGORITHMS))],
        "consequents": [StrOptions({"single", "any"})],
        "only_consequents": ["array-like", None],
        "max_basket_items": [Interval(Integral, 1, None, closed="left"), None],
        "max_itemsets": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="both")],
        "keep_redundant": ["boolean"],
    }  # fmt: skip

    def __init__(
        self,
        min_support: float | int = 0.005,
        min_confidence: float = 0.3,
        *,
        min_lift: float | None = None,
        min_length: int = 2,
        max_length: int | None = None,
        algorithm: str = "apriori",
        consequents: str = "single",
        only_consequents: Sequence[str] | None = None,
        max_basket_items: int | None = None,
        max_itemsets: int = 500_000,
        alpha: float = 0.05,
        keep_redundant: bool = True,
    ) -> None:
        self.min_support = min_support
        self.min_confidence = min_confidence
        self.min_lift = min_lift
        self.min_length = min_length
        self.max_length = max_length
        self.algorithm = algorithm
        self.consequents = consequents
        self.only_consequents = only_consequents
        self.max_basket_items = max_basket_items
        self.max_itemsets = max_itemsets
        self.alpha = alpha
        self.keep_redundant = keep_redundant

    def fit(self, X: Any, items: Sequence[str] | None = None) -> AssociationRules:
        """Mine the rules of baskets.

        Parameters
        ----------
        X : sparse matrix or array-like, shape (n_baskets, n_items)
            Any value but 0 means that the item is in the basket.
        items : sequence of str, shape (n_items,), optional
            Their names; without them they are called by their column number.

        Raises
        ------
        ConfigError
            If there are too many itemsets, or ``only_consequents`` names an unknown item.
        DataError
            If there are no baskets, or the names do not fit the columns.
        """
        self._validate_params()
        if self.max_length is not None and self.max_length < self.min_length:
            raise ConfigError(
                f"max_length is {self.max_length}, but min_length is {self.min_length}"
            )
        matrix = basket_matrix(X)
        self.items_ = _names(items, matrix.shape[1])
        allowed = self._allowed()
        n_all = matrix.shape[0]
        matrix = self.without_giants(matrix)
        self.n_left_out_ = int(n_all - matrix.shape[0])
        self.n_baskets_ = int(matrix.shape[0])
        self.n_empty_ = int((np.diff(matrix.indptr) == 0).sum())
        self.min_count_ = least_count(self.min_support, self.n_baskets_)
        found = self._mine(matrix)
        weighed = self._weigh(found, allowed)
        self.n_candidates_ = len(weighed)
        rules = _in_order(weighed[self._is_wanted(weighed)], self.n_baskets_)
        self.itemsets_ = _itemsets_table(found, self.items_)
        self.antecedents_, self.consequents_ = _sides(found, rules)
        self.rules_ = self._table(rules)
        self.advice_ = "" if len(rules) else self._advise(matrix, weighed)
        return self

    def _allowed(self) -> NDArray[np.bool_]:
        """Say of each item whether it may be on the right side."""
        if self.only_consequents is None:
            return np.ones(len(self.items_), dtype=bool)
        number = {name: i for i, name in enumerate(self.items_)}
        allowed = np.zeros(len(self.items_), dtype=bool)
        for name in self.only_consequents:
            if name not in number:
                raise ConfigError(
                    f"only_consequents: no basket holds {name!r}{did_you_mean(name, self.items_)}"
                )
            allowed[number[name]] = True
        return allowed

    def without_giants(self, matrix: csr_matrix) -> csr_matrix:
        """Return the baskets of at most ``max_basket_items`` items.

        Raises
        ------
        DataError
            If there are none.
        """
        sizes = np.diff(matrix.indptr)
        if not len(sizes):
            raise DataError("there are no baskets")
        if self.max_basket_items is None:
            return matrix
        kept = sizes <= self.max_basket_items
        if not kept.any():
            raise DataError(
                f"each of the {len(sizes):,} baskets has more than max_basket_items="
                f"{self.max_basket_items} items; the smallest has {sizes.min()}"
            )
        return matrix if kept.all() else matrix[kept]

    def _mine(self, matrix: csr_matrix) -> Itemsets:
        try:
            return mine(
                matrix, self.min_count_, max_length=self.max_length, algorithm=self.algorithm,
                max_itemsets=self.max_itemsets,
            )  # fmt: skip
        except TooManyItemsetsError:
            raise TooManyItemsetsError(self._what_would_do(matrix)) from None

    def _what_would_do(self, matrix: csr_matrix) -> str:
        n = self.n_baskets_
        count, n_itemsets, length = thresholds_that_do(
            matrix, self.min_count_, self.max_length, self.max_itemsets
        )
        longer = f", max_length={length}" if length else ""
        largest = int(np.diff(matrix.indptr).max())
        giant = (
            f", or max_basket_items (the largest basket has {largest:,} different items)"
            if largest > 10 * max(matrix.nnz / n, 1)
            else ""
        )
        return (
            f"min_support={self.min_support} ({self.min_count_:,} of {n:,} baskets) gives more "
            f"than max_itemsets={self.max_itemsets:,} itemsets; what would do: "
            f"min_support={support_text(count, n)} ({n_itemsets:,} itemsets){longer}{giant}"
        )

    def _weigh(self, found: Itemsets, allowed: NDArray[np.bool_]) -> pd.DataFrame:
        """Return every rule of the itemsets that is long enough, with counts and tests."""
        n = sum(
            len(level) * len(_right_sides(level.items.shape[1], self.consequents))
            for level in found.levels[1:]
        )
        if n > MAX_CANDIDATES:
            raise ConfigError(
                f"consequents={self.consequents} would weigh {n:,} rules of {len(found):,} "
                f"itemsets; say consequents=single, a higher min_support or a max_length"
            )
        weighed = _weigh(found, self.consequents, self.min_length, allowed)
        both, first, second = (weighed[name].to_numpy() for name in COUNTS)
        p_values = fisher_greater(both, first, second, self.n_baskets_)
        return weighed.assign(p_value=p_values, q_value=false_discovery_control(p_values))

    def _is_wanted(self, weighed: pd.DataFrame) -> NDArray[np.bool_]:
        both, first, second = (weighed[name].to_numpy() for name in COUNTS)
        wanted = reaches(both, first, self.min_confidence)
        if not self.keep_redundant:
            wanted &= ~weighed["redundant"].to_numpy()
        if self.min_lift is not None:
            known = np.flatnonzero(wanted)
            # Python's whole numbers: a product of three counts passes 64 bits.
            lift = exact(self.min_lift)
            reached = both[known].astype(object) * (self.n_baskets_ * lift.denominator)
            needed = first[known].astype(object) * second[known] * lift.numerator
            wanted[known] = (reached >= needed).astype(bool)
        return wanted

    def _table(self, rules: pd.DataFrame) -> pd.DataFrame:
        """Return the rules as they are shown."""
        both, first, second = (rules[name].to_numpy() for name in COUNTS)
        table = pd.DataFrame(
            {
                "antecedent": side_texts(self.antecedents_, self.items_),
                "consequent": side_texts(self.consequents_, self.items_),
                "length": rules["length"].to_numpy(),
                "n_antecedent": first,
                "n_consequent": second,
                "n_both": both,
                **measures(both, first, second, self.n_baskets_),
                "p_value": rules["p_value"].to_numpy(),
                "q_value": rules["q_value"].to_numpy(),
                "significant": rules["q_value"].to_numpy() <= self.alpha,
                "redundant": rules["redundant"].to_numpy(),
            }
        )
        return table[list(RULE_COLUMNS)]

    def _advise(self, matrix: csr_matrix, weighed: pd.DataFrame) -> str:
        """Say which thresholds would give some rules."""
        if len(weighed):
            return self._advise_thresholds(weighed)
        n, pair = self.n_baskets_, most_bought_pair(matrix)
        if not pair:
            return "no two items were ever bought together: there are no rules in these baskets"
        if pair < self.min_count_:
            return (
                f"no two items reach min_support={self.min_support} ({self.min_count_:,} of {n:,} "
                f"baskets); the pair that is bought most often is in {pair:,}: "
                f"min_support={support_text(pair, n)} would give it"
            )
        longest = int(self.itemsets_["length"].max())
        if longest < self.min_length:
            return (
                f"no itemset has min_length={self.min_length} items, the longest has {longest}; "
                f"say min_length={longest}, or a lower min_support"
            )
        return "no frequent itemset holds an item of only_consequents; say a lower min_support"

    def _advise_thresholds(self, weighed: pd.DataFrame) -> str:
        n_both, n_antecedent, _ = (weighed[name].to_numpy() for name in COUNTS)
        best = (n_both / n_antecedent).argmax()
        both, first = int(n_both[best]), int(n_antecedent[best])
        if not reaches(np.array([both]), np.array([first]), self.min_confidence)[0]:
            return (
                f"none of {len(weighed):,} rules of frequent itemsets reaches min_confidence="
                f"{self.min_confidence}; the best is {both:,} of {first:,}: "
                f"min_confidence={share_text(both, first)} would give it"
            )
        lift = weighed["n_both"] / weighed["n_antecedent"] / weighed["n_consequent"]
        highest = float((lift * self.n_baskets_).max())
        return (
            f"no rule reaches min_confidence={self.min_confidence} and min_lift={self.min_lift} "
            f"at once; the highest lift of any rule is {highest:.4g}"
        )


def _names(items: Sequence[str] | None, n: int) -> list[str]:
    names = [str(i) for i in range(n)] if items is None else [str(name) for name in items]
    if len(names) != n:
        raise DataError(f"the baskets have {n} items, and {len(names)} names")
    if len(set(names)) < n:
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two items are called {twice!r}")
    return names


def reaches(n_part: Ids, n_whole: Ids, threshold: float) -> NDArray[np.bool_]:
    """Say of each ratio of counts whether it is at least a threshold, without rounding.

    Examples
    --------
    >>> reaches(np.array([12, 11]), np.array([15, 15]), 0.8).tolist()
    [True, False]
    """
    share = exact(threshold)
    wholes, place = np.unique(n_whole, return_inverse=True)
    needed = [math.ceil(share * int(whole)) for whole in wholes]
    return np.asarray(n_part >= np.array(needed, dtype=np.int64)[place])


def support_text(count: int, n: int) -> str:
    """Return a support that asks for exactly so many of ``n`` baskets.

    Examples
    --------
    >>> support_text(10, 9835)
    '0.001'
    """
    return share_text(count, n, lowest=Fraction(count - 1, n))


def share_text(part: int, whole: int, lowest: Fraction | None = None) -> str:
    """Return the shortest decimal that is at most a share, and more than ``lowest``.

    Examples
    --------
    >>> share_text(2, 3)
    '0.66'
    """
    share = Fraction(part, whole)
    least = lowest if lowest is not None else share * Fraction(98, 100)
    for digits in itertools.count(1):
        shown = Fraction(math.floor(share * 10**digits), 10**digits)
        if shown > least:
            return f"{float(shown):.{digits}f}"
    raise RuntimeError("unreachable")


def most_bought_pair(matrix: csr_matrix) -> int:
    """Return in how many baskets the pair of items is that is bought most often; 0 without one."""
    most = 0
    for start, together in pair_counts(matrix):
        others = together.row + start != together.col
        most = max(most, int(together.data[others].max(initial=0)))
    return most


def _right_sides(length: int, consequents: str) -> list[int]:
    """Return which items of an itemset stand on the right, as bits of their positions."""
    if consequents == "single":
        return [1 << place for place in range(length)]
    return list(range(1, (1 << length) - 1))


def _weigh(
    found: Itemsets, consequents: str, min_length: int, allowed: NDArray[np.bool_]
) -> pd.DataFrame:
    """Count every rule of every itemset, and say which are redundant.

    Parameters
    ----------
    allowed : ndarray of bool, shape (n_items,)
        Items that may be on the right side.

    Returns
    -------
    DataFrame
        ``length, row, mask`` say which rule it is: bits of the mask are the positions, in a row of
        a level of ``found``, of the items on the right side.

    Notes
    -----
    Ratios of counts are compared as floats here. Division rounds correctly, so equal ratios are
    equal, and different ones with terms below 94 million stay in order.
    """
    tables = []
    # The highest confidence of a rule and of all more general ones, by right side.
    known: dict[int, Floats] = {}
    for level in found.levels[1:]:
        length = level.items.shape[1]
        without = [found.ids(np.delete(level.items, place, axis=1)) for place in range(length)]
        highest: dict[int, Floats] = {}
        for mask in _right_sides(length, consequents):
            right = [place for place in range(length) if mask >> place & 1]
            left = [place for place in range(length) if not mask >> place & 1]
            n_left = _count(found, level.items[:, left])
            confidence = level.counts / n_left
            general = np.full(len(level), -1.0)
            for place in left if len(left) > 1 else ():
                np.maximum(general, known[_dropped(mask, place)][without[place]], out=general)
            highest[mask] = np.maximum(general, confidence)
            rows = np.flatnonzero(allowed[level.items[:, right]].all(axis=1))
            if length >= min_length:
                tables.append(
                    pd.DataFrame(
                        {
                            "length": length,
                            "row": rows,
                            "mask": mask,
                            "n_both": level.counts[rows],
                            "n_antecedent": n_left[rows],
                            "n_consequent": _count(found, level.items[rows][:, right]),
                            "redundant": (general >= confidence)[rows],
                        }
                    )
                )
        known = highest
    if not tables:
        whole = dict.fromkeys(("length", "row", "mask", *COUNTS), np.zeros(0, dtype=np.int64))
        return pd.DataFrame({**whole, "redundant": np.zeros(0, dtype=bool)})
    return pd.concat(tables, ignore_index=True)


def _count(found: Itemsets, rows: Ids) -> Ids:
    return found.levels[rows.shape[1] - 1].counts[found.ids(rows)]


def _dropped(mask: int, place: int) -> int:
    """Return a right side after the item at one position of the left side is taken away."""
    below = (1 << place) - 1
    return (mask & below) | (mask >> 1 & ~below)


def _in_order(rules: pd.DataFrame, n: int) -> pd.DataFrame:
    """Sort rules: the highest lift first, then confidence, then how many baskets."""
    both, first, second = (rules[name].to_numpy() for name in COUNTS)
    found = measures(both, first, second, n)
    keys = (
        rules["row"].to_numpy(), rules["mask"].to_numpy(), rules["length"].to_numpy(), -both,
        -found["confidence"], -found["lift"],
    )  # fmt: skip
    return rules.iloc[np.lexsort(keys)]


def _sides(found: Itemsets, rules: pd.DataFrame) -> tuple[csr_matrix, csr_matrix]:
    """Return the left and the right sides as matrices, shape (n_rules, n_items)."""
    shape = (len(rules), found.n_items)
    entries: list[list[Ids]] = [[], [], [], []]
    number = np.arange(len(rules))
    length, mask = rules["length"].to_numpy(), rules["mask"].to_numpy()
    for level in found.levels[1:]:
        own = number[length == level.items.shape[1]]
        items = level.items[rules["row"].to_numpy()[own]]
        is_right = (mask[own, None] >> np.arange(items.shape[1]) & 1).astype(bool)
        of = np.broadcast_to(own[:, None], items.shape)
        for side, chosen in ((0, ~is_right), (2, is_right)):
            entries[side].append(of[chosen])
            entries[side + 1].append(items[chosen])
    row_of = [np.concatenate([np.zeros(0, dtype=np.int64), *part]) for part in entries]
    return tuple(
        csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)
        for rows, columns in (row_of[:2], row_of[2:])
    )


def quoted(items: Sequence[str]) -> NDArray[np.object_]:
    """Return names as they stand in a side of a rule: one that holds the separator is quoted."""
    return np.array(
        [f'"{name}"' if SEPARATOR.strip() in name.split() else name for name in items],
        dtype=object,
    )


def side_texts(sides: csr_matrix, items: Sequence[str]) -> NDArray[np.object_]:
    """Return each row of a matrix of items as text, in the order of the columns."""
    names, rows = quoted(items), sides.sorted_indices()
    sizes = np.diff(rows.indptr)
    texts = np.full(len(sizes), "", dtype=object)
    for size in np.unique(sizes[sizes > 0]):
        own = np.flatnonzero(sizes == size)
        columns = rows.indices[rows.indptr[own][:, None] + np.arange(size)]
        texts[own] = _joined(names, columns)
    return texts


def _joined(names: NDArray[np.object_], rows: NDArray[Any]) -> NDArray[np.object_]:
    text = names[rows[:, 0]]
    for column in rows.T[1:]:
        text = text + SEPARATOR + names[column]
    return text


def _itemsets_table(found: Itemsets, items: Sequence[str]) -> pd.DataFrame:
    names = quoted(items)
    tables = []
    for level in found.levels:
        order = np.argsort(-level.counts, kind="stable")
        counts = level.counts[order]
        tables.append(
            pd.DataFrame(
                {
                    "itemset": _joined(names, level.items[order]),
                    "length": level.items.shape[1],
                    "count": counts,
                    "support": counts / found.n_baskets,
                }
            )
        )
    if not tables:
        return pd.DataFrame({"itemset": [], "length": [], "count": [], "support": []})
    return pd.concat(tables, ignore_index=True)

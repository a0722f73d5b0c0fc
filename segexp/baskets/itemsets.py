"""Frequent itemsets with exact counts, under a limit that no threshold can break.

Two algorithms that give the same: Apriori on bits, a bit for each basket, and mlxtend's FP-tree.
Counts stay whole numbers throughout, because a float such as 0.8 is not four fifths: a threshold is
the fraction that its decimal text says, and a count reaches it or does not.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, issparse

from segexp.errors import ConfigError, DataError

Ids: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

ALGORITHMS = ("apriori", "fpgrowth")
CHUNK_WORDS = 1 << 18  # 2 MB, which a processor's cache holds: what is counted at once
CHUNK_CANDIDATES = 50_000
PAIR_CELLS = 20_000_000  # cells of the pairs that are counted at once


class TooManyItemsetsError(ConfigError):
    """The thresholds ask for more itemsets than are allowed."""


def exact(threshold: float | int) -> Fraction:
    """Return the number that the decimal text of a threshold says.

    Examples
    --------
    >>> exact(0.8)
    Fraction(4, 5)
    """
    return Fraction(str(threshold))


def least_count(min_support: float | int, n: int) -> int:
    """Return the least number of ``n`` baskets that reaches a support; at least 1.

    Parameters
    ----------
    min_support : float or int
        A share of the baskets; a whole number is a number of baskets.

    Examples
    --------
    >>> least_count(0.001, 9835), least_count(0.07, 100), least_count(7, 100)
    (10, 7, 7)
    """
    if isinstance(min_support, Integral):
        return max(int(min_support), 1)
    return max(math.ceil(exact(min_support) * n), 1)


def basket_matrix(X: Any) -> csr_matrix:
    """Return baskets as a boolean matrix in canonical form: an item counts once per basket.

    Parameters
    ----------
    X : sparse matrix or array-like, shape (n_baskets, n_items)
        Any value but 0 means that the item is in the basket.

    Raises
    ------
    DataError
        If it is not a table of numbers, or some are missing.
    """
    table = X if issparse(X) else np.asarray(X)
    if table.ndim != 2 or table.dtype.kind not in "biuf":
        raise DataError(
            f"baskets must be a table of 0 and 1, a row for each basket; got {table.ndim} "
            f"dimension(s) of type {table.dtype}"
        )
    matrix = csr_matrix(table)
    if matrix.dtype.kind == "f" and np.isnan(matrix.data).any():
        raise DataError("baskets must be a table of 0 and 1; there are missing values in it")
    if matrix.dtype != bool:
        matrix = matrix != 0
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


class Bits:
    """Which baskets hold each item, a bit for each basket.

    Parameters
    ----------
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
    """

    def __init__(self, matrix: csr_matrix) -> None:
        self.n_baskets, n_items = matrix.shape
        columns = csc_matrix(matrix)
        columns.sort_indices()
        n_words = -(-self.n_baskets // 64)
        self.words: Words = np.zeros((n_items, n_words), dtype=np.uint64)
        if not columns.nnz:
            return
        item = np.repeat(np.arange(n_items), np.diff(columns.indptr))
        word = item * n_words + (columns.indices >> 6)
        first = np.flatnonzero(np.diff(word, prepend=-1))
        bits = np.uint64(1) << (columns.indices & 63).astype(np.uint64)
        self.words.ravel()[word[first]] = np.bitwise_or.reduceat(bits, first)

    @property
    def n_at_once(self) -> int:
        """How many itemsets are counted at once."""
        return max(CHUNK_WORDS // max(self.words.shape[1], 1), 1)

    def of(self, itemsets: NDArray[Any]) -> Words:
        """Return the baskets that hold all items of each itemset.

        Parameters
        ----------
        itemsets : ndarray of int, shape (n, length)
            Row numbers of :attr:`words`; a row may name an item twice.
        """
        found: Words = self.words[itemsets[:, 0]]
        for column in itemsets.T[1:]:
            found &= self.words[column]
        return found

    def count(self, itemsets: NDArray[Any]) -> Ids:
        """Count the baskets that hold all items of each itemset, as :meth:`of` takes them."""
        parts = [
            popcount(self.of(itemsets[start : start + self.n_at_once]))
            for start in range(0, len(itemsets), self.n_at_once)
        ]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def count_with(self, itemsets: Ids, which: Ids, item: Ids) -> Ids:
        """Count the baskets that hold an itemset and one item more.

        Parameters
        ----------
        itemsets : ndarray of int, shape (n, length)
        which : ndarray of int, shape (m,)
            Row numbers of ``itemsets``.
        item : ndarray of int, shape (m,)
        """
        held = self.of(itemsets)
        counts = np.zeros(len(which), dtype=np.int64)
        for start in range(0, len(which), self.n_at_once):
            part = slice(start, start + self.n_at_once)
            both = held[which[part]]
            both &= self.words[item[part]]
            counts[part] = popcount(both)
        return counts


def popcount(words: Words) -> Ids:
    """Count the bits of each row."""
    return np.bitwise_count(words).sum(axis=1, dtype=np.int64)


@dataclass(frozen=True)
class Level:
    """The frequent itemsets of one length, in lexicographic order."""

    items: Ids  # shape (n, length); column numbers, ascending in each row
    counts: Ids  # shape (n,)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Itemsets:
    """All frequent itemsets, by length; ``levels[0]`` holds the single items."""

    levels: tuple[Level, ...]
    n_baskets: int
    n_items: int

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    @cached_property
    def _place(self) -> Ids:
        """Number of each item among the frequent ones; -1 for the others."""
        place = np.full(self.n_items, -1, dtype=np.int64)
        if self.levels:
            place[self.levels[0].items[:, 0]] = np.arange(len(self.levels[0]))
        return place

    @cached_property
    def _keys(self) -> tuple[Ids, ...]:
        """For each level but the first, the number of the prefix and of the last item as one.

        Itemsets in lexicographic order have ascending keys, so that one is found by bisection.
        """
        keys: list[Ids] = []
        for level in self.levels[1:]:
            keys.append(self._key(level.items, tuple(keys)))
        return tuple(keys)

    def _key(self, rows: Ids, keys: Sequence[Ids]) -> Ids:
        ids = self._place[rows[:, 0]]
        for column, known in zip(rows.T[1:-1], keys, strict=False):
            ids = np.searchsorted(known, ids * self.n_items + column)
        return ids * self.n_items + rows[:, -1]

    def ids(self, rows: Ids) -> Ids:
        """Return the row numbers of frequent itemsets within their level.

        Parameters
        ----------
        rows : ndarray of int, shape (n, length)
            Ascending in each row; all must be frequent.
        """
        if rows.shape[1] == 1:
            return self._place[rows[:, 0]]
        return np.searchsorted(self._keys[rows.shape[1] - 2], self._key(rows, self._keys))


def mine(
    matrix: csr_matrix,
    min_count: int,
    *,
    max_length: int | None = None,
    algorithm: str = "apriori",
    max_itemsets: int = 500_000,
) -> Itemsets:
    """Find every set of items that at least ``min_count`` baskets hold.

    Parameters
    ----------
    matrix : csr_matrix of bool, shape (n_baskets, n_items)
        As :func:`basket_matrix` returns it.
    min_count : int
    max_length : int, optional
        Most items of an itemset.
    algorithm : {"apriori", "fpgrowth"}
        Agrawal and Srikant [1]_ level by level, or the tree of Han, Pei and Yin [2]_. Both give
        the same.
    max_itemsets : int

    Raises
    ------
    TooManyItemsetsError
        If there are more than ``max_itemsets``; nothing beyond them is computed.

    References
    ----------
    .. [1] Agrawal and Srikant (1994). Fast algorithms for mining association rules. VLDB, 487-499.
    .. [2] Han, Pei and Yin (2000). Mining frequent patterns without candidate generation. SIGMOD
       Record 29(2), 1-12.
    """
    n_baskets, n_items = matrix.shape
    counts = item_counts(matrix)
    frequent = np.flatnonzero(counts >= min_count)
    limit = _Limit(max_itemsets)
    limit.take(len(frequent))
    kept = matrix[:, frequent]
    find = _by_tree if algorithm == "fpgrowth" else _by_level
    later = find(kept, counts[frequent], min_count, max_length or n_items, limit)
    levels = [Level(np.arange(len(frequent))[:, None], counts[frequent]), *later]
    levels = [Level(frequent[level.items], level.counts) for level in levels if len(level)]
    return Itemsets(tuple(levels), n_baskets, n_items)


def item_counts(matrix: csr_matrix) -> Ids:
    """Count the baskets that hold each item, shape (n_items,)."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.int64)


class _Limit:
    """Counts itemsets, and stops when there are too many."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.found = 0

    def take(self, n: int) -> None:
        self.found += n
        if self.found > self.most:
            raise TooManyItemsetsError(f"there are more than {self.most:,} frequent itemsets")


def _by_level(
    matrix: csr_matrix, counts: Ids, min_count: int, max_length: int, limit: _Limit
) -> list[Level]:
    if max_length < 2:
        return []
    levels = [_pairs(matrix, counts, min_count, limit)]
    bits = Bits(matrix)
    pairs = _pair_keys(levels[0], len(counts))
    while len(levels[-1]) and levels[-1].items.shape[1] < max_length:
        levels.append(_next_level(bits, levels[-1], pairs, min_count, limit))
    return levels


def _pairs(matrix: csr_matrix, counts: Ids, min_count: int, limit: _Limit) -> Level:
    """Find the frequent pairs by a sparse product: only pairs that are bought are looked at."""
    found = []
    for start, together in pair_counts(matrix):
        upper = (together.data >= min_count) & (together.row + start < together.col)
        limit.take(int(upper.sum()))
        pairs = np.column_stack([together.row[upper] + start, together.col[upper]])
        found.append((pairs.astype(np.int64), together.data[upper].astype(np.int64)))
    if not found:
        return _sorted_level(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64))
    items, n = (np.concatenate(part) for part in zip(*found, strict=True))
    return _sorted_level(items, n)


def pair_counts(matrix: csr_matrix) -> Iterator[tuple[int, Any]]:
    """Count how often items are bought together, for some items after the others.

    Yields
    ------
    int, coo_matrix
        Number of the first item of the rows, and the counts with every item.
    """
    n_items = matrix.shape[1]
    baskets = matrix.astype(np.int32)
    columns = csc_matrix(baskets)
    step = max(PAIR_CELLS // max(n_items, 1), 1)
    for start in range(0, n_items, step):
        yield start, (columns[:, start : start + step].T @ baskets).tocoo()


def _next_level(bits: Bits, level: Level, pairs: Ids, min_count: int, limit: _Limit) -> Level:
    """Join itemsets that differ in their last item, and count those whose last pair is frequent.

    Parameters
    ----------
    pairs : ndarray of int
        The frequent pairs as :func:`_pair_keys` returns them.
    """
    n, length = level.items.shape
    is_first = np.ones(n, dtype=bool)
    is_first[1:] = (level.items[1:, :-1] != level.items[:-1, :-1]).any(axis=1)
    group = np.cumsum(is_first) - 1
    end = np.append(np.flatnonzero(is_first)[1:], n)[group]
    n_joined = end - np.arange(n) - 1
    items, counts = [np.zeros((0, length + 1), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start, stop in _portions(n_joined, bits.n_at_once):
        joined = n_joined[start:stop]
        first = np.repeat(np.arange(start, stop), joined)
        second = first + 1 + _counted_up(joined)
        last = level.items[second, -1]
        known = _is_among(pairs, level.items[first, -1] * len(bits.words) + last)
        first, last = first[known], last[known]
        n_both = bits.count_with(level.items[start:stop], first - start, last)
        is_frequent = n_both >= min_count
        limit.take(int(is_frequent.sum()))
        items.append(np.column_stack([level.items[first], last])[is_frequent])
        counts.append(n_both[is_frequent])
    return Level(np.concatenate(items), np.concatenate(counts))


def _pair_keys(level: Level, n_items: int) -> Ids:
    """Return pairs as single numbers, ascending."""
    return level.items[:, 0] * n_items + level.items[:, 1]


def _is_among(known: Ids, wanted: Ids) -> NDArray[np.bool_]:
    """Say of each number whether it is among ascending ones."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return known[place] == wanted


def _counted_up(sizes: Ids) -> Ids:
    """Return 0, 1, ... for each size, one after the other."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _portions(sizes: Ids, n_rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows into parts of at most ``n_rows`` rows and about CHUNK_CANDIDATES in all."""
    total = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = total[start] - sizes[start]
        stop = int(np.searchsorted(total, before + CHUNK_CANDIDATES, side="right"))
        stop = max(start + 1, min(stop, start + n_rows))
        yield start, stop
        start = stop


def _sorted_level(items: Ids, counts: Ids) -> Level:
    order = np.lexsort(items.T[::-1])
    return Level(items[order], counts[order])


def _by_tree(
    matrix: csr_matrix, counts: Ids, min_count: int, max_length: int, limit: _Limit
) -> list[Level]:
    from mlxtend.frequent_patterns.fpcommon import FPTree
    from mlxtend.frequent_patterns.fpgrowth import fpg_step

    # The most frequent item first: baskets share long beginnings, and the tree stays small.
    order = np.argsort(-counts, kind="stable")
    tree = FPTree({item: -item for item in range(len(order))})
    for basket, n in equal_baskets(matrix[:, order]):
        tree.insert_itemset(basket, n)
    items: dict[int, list[list[int]]] = {}
    found: dict[int, list[int]] = {}
    for count, itemset in fpg_step(tree, min_count, None, max_length, False):
        if len(itemset) > 1:
            limit.take(1)
            items.setdefault(len(itemset), []).append(itemset)
            found.setdefault(len(itemset), []).append(count)
    return [
        _sorted_level(np.sort(order[np.array(items[length])], axis=1), np.array(found[length]))
        for length in sorted(items)
    ]


def equal_baskets(matrix: csr_matrix) -> Iterable[tuple[list[int], int]]:
    """Return each different basket that is not empty, and how often it is there."""
    matrix = matrix.sorted_indices()
    raw = matrix.indices.astype(np.int32).tobytes()
    ends = (4 * matrix.indptr.astype(np.int64)).tolist()
    counted = Counter(raw[start:end] for start, end in itertools.pairwise(ends) if end > start)
    for basket, n in counted.items():
        yield np.frombuffer(basket, dtype=np.int32).tolist(), n


def thresholds_that_do(
    matrix: csr_matrix, min_count: int, max_length: int | None, max_itemsets: int
) -> tuple[int, int, int | None]:
    """Find a higher support, and a smaller length, with which the itemsets are not too many.

    Returns
    -------
    min_count, n_itemsets : int
        Found by doubling and bisection; nearly the least count that does.
    max_length : int or None
        The longest that does with the support as it is; None if not even pairs do.
    """

    def size(count: int, length: int | None) -> int | None:
        try:
            found = mine(matrix, count, max_length=length, max_itemsets=max_itemsets)
        except TooManyItemsetsError:
            return None
        return len(found)

    low, high = min_count, 2 * min_count
    while (n_itemsets := size(high, max_length)) is None:
        low, high = high, 2 * high
    while high - low > max(high // 8, 1):
        middle = (low + high) // 2
        found = size(middle, max_length)
        if found is None:
            low = middle
        else:
            high, n_itemsets = middle, found
    shorter = None
    for length in range(2, max_length or matrix.shape[1]):
        if size(min_count, length) is None:
            break
        shorter = length
    return high, n_itemsets, shorter

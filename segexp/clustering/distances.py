"""Distances between customers, Euclidean and mixed, and how much of them each column carries.

A distance is a function ``(A, B) -> ndarray (len(A), len(B))``. Each pair is computed by itself:
whether the rows come at once or in blocks, the numbers are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist

from segexp.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Table = TypeVar("Table", Floats, pd.DataFrame)
Distance: TypeAlias = Callable[[Any, Any], Floats]


def euclidean(A: npt.ArrayLike, B: npt.ArrayLike) -> Floats:
    """Return the Euclidean distance of each row of ``A`` to each row of ``B``.

    Parameters
    ----------
    A, B : array-like of shape (n, d) and (m, d)

    Returns
    -------
    ndarray of shape (n, m)

    Examples
    --------
    >>> euclidean([[0, 0]], [[3, 4], [0, 1]])
    array([[5., 1.]])
    """
    return np.asarray(cdist(np.asarray(A, float), np.asarray(B, float)))


@dataclass(frozen=True)
class Gower:
    """Gower's distance between customers of mixed data.

    The distance of two customers is a mean over the columns. A numeric column gives
    ``|difference| / range``, a category 0 if both are the same and 1 otherwise; a column in which
    one of the two is missing is left out of the mean of that pair. This is one minus the general
    coefficient of similarity of Gower 1971 (Biometrics 27(4):857-871) with equal weights. Pairs
    without any column in common, undefined there, have distance 1.

    Parameters
    ----------
    ranges : mapping of str to float
        Largest minus smallest value of each numeric column; every other column is a category. A
        column of range 0 gives 0. Customers beyond the range can be farther apart than 1.

    Examples
    --------
    >>> Z = pd.DataFrame({"age": [20.0, 40.0, None], "job": pd.Categorical(["x", "y", "x"])})
    >>> Gower.of(Z)(Z, Z)
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """

    ranges: Mapping[str, float]

    @classmethod
    def of(cls, Z: pd.DataFrame) -> Gower:
        """Return the distance whose ranges are those of the columns of ``Z``, shape (n, d).

        Raises
        ------
        DataError
            If a column holds neither numbers nor pandas categories, or an infinite number.
        """
        ranges = {}
        for name in Z.columns:
            if _is_category(Z, name):
                continue
            values = _numbers(Z, name)
            known = values[~np.isnan(values)]
            ranges[name] = float(np.ptp(known)) if len(known) else 0.0
        return cls(ranges)

    def __call__(self, A: pd.DataFrame, B: pd.DataFrame) -> Floats:
        """Return the distance of each row of ``A`` to each row of ``B``, shape (n, m).

        Categories are compared by their values, so the two tables may declare different ones.

        Raises
        ------
        DataError
            If the tables have other columns than each other, or kinds that do not fit.
        """
        if list(A.columns) != list(B.columns):
            odd = sorted({str(name) for name in set(A.columns).symmetric_difference(B.columns)})
            raise DataError(
                "Gower's distance needs two tables of the same columns in the same order; "
                f"only one of them has: {', '.join(odd) or 'none, the order differs'}"
            )
        names = [name for name in A.columns if name in self.ranges]
        # A column of one value says nothing; dividing by infinity makes its part zero.
        scale = np.array([self.ranges[name] or np.inf for name in names])
        numbers = [_side_by_side([_numbers(Z, name) for name in names], Z) / scale for Z in (A, B)]
        codes = _common_codes(A, B, [name for name in A.columns if name not in self.ranges])

        total = _absolute(*numbers)
        total += _mismatches(*codes)
        n_columns = _n_common(np.hstack([numbers[0], codes[0]]), np.hstack([numbers[1], codes[1]]))
        # Where nothing is in common both are zero.
        total += n_columns == 0
        return np.divide(total, np.maximum(n_columns, 1), out=total)


def distance_for(Z: Floats | pd.DataFrame) -> Distance:
    """Return the distance that belongs to a table: Euclidean for arrays, Gower for DataFrames."""
    return Gower.of(Z) if isinstance(Z, pd.DataFrame) else euclidean


def in_blocks(
    distance: Distance, A: Table, B: Table, max_bytes: int = 64 * 2**20
) -> Iterator[tuple[slice, Floats]]:
    """Compute ``distance(A, B)`` in blocks of rows, for tables whose matrix would not fit.

    Parameters
    ----------
    distance : callable
        :func:`euclidean`, a :class:`Gower` or one like them.
    A, B : ndarray or DataFrame, n and m rows
    max_bytes : int
        Size of a block; computing one by Gower's distance takes a few times as much.

    Yields
    ------
    rows : slice
        The rows of ``A``.
    block : ndarray of shape (rows, m)
    """
    n_rows = max(1, max_bytes // (8 * max(1, len(B))))
    for start in range(0, len(A), n_rows):
        rows = slice(start, min(start + n_rows, len(A)))
        yield rows, distance(A.iloc[rows] if isinstance(A, pd.DataFrame) else A[rows], B)


def distance_shares(Z: Floats | pd.DataFrame, labels: npt.ArrayLike | None = None) -> pd.Series:
    """How much of the distance between customers each column carries.

    The sum over all pairs of customers of the column's part of the distance (the squared
    difference for arrays, the part of Gower's distance for DataFrames), as a share of all
    columns' sums. A column with a large share decides which customers are alike. A pair in which
    one is missing adds nothing to the column.

    Parameters
    ----------
    Z : ndarray or DataFrame of shape (n, d)
    labels : array-like of int of shape (n,), optional
        Segments; then only pairs of two segments count: what keeps the segments apart. Customers
        of no segment (-1) are left out.

    Returns
    -------
    Series of d shares that sum to 1, indexed by column
        All 0 where every customer is the same.

    Examples
    --------
    >>> distance_shares(np.array([[0.0, 5.0], [3.0, 6.0]])).tolist()
    [0.9, 0.1]
    """
    rows = np.arange(len(Z))
    groups: list[npt.NDArray[np.intp]] = []
    if labels is not None:
        labels = np.asarray(labels)
        rows = np.flatnonzero(labels >= 0)
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels[rows])]
    columns: dict[Any, _Pairs]
    if isinstance(Z, pd.DataFrame):
        columns = {name: _gower_pairs(Z, name) for name in Z.columns}
    else:
        columns = {j: _Pairs(_squared_pairs, column) for j, column in enumerate(np.asarray(Z).T)}
    sums = pd.Series(
        {
            name: pairs(rows) - sum(pairs(group) for group in groups)
            for name, pairs in columns.items()
        },
        dtype=float,
    )
    # Of a column that is constant a rounding error may be left, which must not be negative.
    sums = sums.clip(lower=0)
    return sums / (sums.sum() or 1)


@dataclass(frozen=True)
class _Pairs:
    """The sum of a column's distances over all pairs of some rows."""

    total: Callable[[Floats], float]
    column: Floats

    def __call__(self, rows: npt.NDArray[np.intp]) -> float:
        values = self.column[rows]
        return self.total(values[~np.isnan(values)])


def _gower_pairs(Z: pd.DataFrame, name: Any) -> _Pairs:
    if _is_category(Z, name):
        codes = Z[name].cat.codes.to_numpy(float)
        return _Pairs(_mismatched_pairs, np.where(codes < 0, np.nan, codes))
    values = _numbers(Z, name)
    known = values[~np.isnan(values)]
    return _Pairs(_absolute_pairs, values / ((np.ptp(known) if len(known) else 0) or np.inf))


def _squared_pairs(values: Floats) -> float:
    # Over all pairs, sum (x - y)^2 = n sum (x - mean)^2.
    return float(len(values) * np.square(values - values.mean()).sum()) if len(values) else 0.0


def _absolute_pairs(values: Floats) -> float:
    # In sorted order the i-th value is the larger of i pairs and the smaller of n - 1 - i.
    n = len(values)
    return float(np.sort(values) @ (2 * np.arange(n) - n + 1))


def _mismatched_pairs(codes: Floats) -> float:
    _, counts = np.unique(codes, return_counts=True)
    return float((len(codes) ** 2 - np.square(counts).sum()) / 2)


def _absolute(A: Floats, B: Floats) -> Floats:
    """Sum over the columns known of both of ``|a - b|``."""
    total = np.asarray(cdist(A, B, "cityblock")) if A.shape[1] else np.zeros((len(A), len(B)))
    # cdist leaves NaN exactly where a pair lacks something; these are summed column by column.
    lacking_a, lacking_b = (np.flatnonzero(np.isnan(Z).any(axis=1)) for Z in (A, B))
    total[lacking_a] = _absolute_by_column(A[lacking_a], B)
    total[:, lacking_b] = _absolute_by_column(A, B[lacking_b])
    return total


def _absolute_by_column(A: Floats, B: Floats) -> Floats:
    total = np.zeros((len(A), len(B)))
    for a, b in zip(A.T, B.T, strict=True):
        part = np.abs(a[:, None] - b)
        np.add(total, part, out=total, where=~np.isnan(part))
    return total


def _mismatches(A: Floats, B: Floats) -> Floats:
    """Count the columns known of both in which the codes differ."""
    n_columns = A.shape[1]
    if n_columns == 0:
        return np.zeros((len(A), len(B)))
    # NaN differs from everything, so what one lacks counts as a mismatch first.
    differ = np.asarray(cdist(A, B, "hamming"))
    differ *= n_columns
    return np.rint(differ, out=differ) - (n_columns - _n_common(A, B))


def _n_common(A: Floats, B: Floats) -> Floats:
    """Count the columns known of both, shape (n, m), or (1, 1) where all are.

    These are whole numbers, so exact in any order of summation.
    """
    known_a, known_b = ((~np.isnan(Z)).astype(float) for Z in (A, B))
    if known_a.all() and known_b.all():
        return np.full((1, 1), float(A.shape[1]))
    return np.asarray(known_a @ known_b.T)


def _common_codes(A: pd.DataFrame, B: pd.DataFrame, names: list[Any]) -> tuple[Floats, Floats]:
    """Number the categories of both tables alike; missing cells are NaN."""
    codes: tuple[list[Floats], list[Floats]] = ([], [])
    for name in names:
        for Z in (A, B):
            if not _is_category(Z, name):
                raise DataError(
                    f"column {name!r} is {Z[name].dtype}; it was a category in training"
                )
        levels = A[name].cat.categories.union(B[name].cat.categories, sort=False)
        for Z, found in zip((A, B), codes, strict=True):
            numbers = levels.get_indexer(Z[name].cat.categories).astype(float)
            # The code of a missing cell is -1: the last.
            found.append(np.append(numbers, np.nan)[Z[name].cat.codes.to_numpy()])
    return _side_by_side(codes[0], A), _side_by_side(codes[1], B)


def _side_by_side(columns: list[Floats], Z: pd.DataFrame) -> Floats:
    return np.column_stack(columns) if columns else np.zeros((len(Z), 0))


def _is_category(Z: pd.DataFrame, name: Any) -> bool:
    return isinstance(Z[name].dtype, pd.CategoricalDtype)


def _numbers(Z: pd.DataFrame, name: Any) -> Floats:
    if not pd.api.types.is_numeric_dtype(Z[name].dtype):
        raise DataError(
            f"column {name!r} is {Z[name].dtype}; a distance needs numbers or pandas categories"
        )
    values = Z[name].to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(values).any():
        raise DataError(f"column {name!r} has infinite values; clip or impute them")
    return values

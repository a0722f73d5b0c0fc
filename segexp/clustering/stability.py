"""How stable segments are when the customers had been others: refits on bootstrap samples.

A resample is drawn, the whole pipeline is refitted on it and says which segment every customer
would be in (:func:`resampled_labels`, a task that can run anywhere); what many resamples say
together is bookkeeping (:func:`stability`), a fraction of a second for a million customers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from segexp.clustering.quality import check_labels, contingency
from segexp.errors import ConfigError, DataError

Codes: TypeAlias = NDArray[np.int_]
Floats: TypeAlias = NDArray[np.float64]

# Mean Jaccard similarity from which on a segment deserves the words (manual of R's fpc).
VERDICTS = (
    (0.85, "highly stable"),
    (0.75, "stable"),
    (0.60, "a pattern, membership doubtful"),
    (0.00, "do not trust"),
)
DISSOLVED = 0.5  # similarity up to which a segment was dissolved by a resample
RECOVERED = 0.75  # similarity above which it was recovered


@dataclass(frozen=True)
class Stability:
    """What B resamples say of k segments.

    Attributes
    ----------
    ari : ndarray of shape (B,)
        Adjusted Rand index of each resample's segments with the reference, over all customers;
        see :func:`adjusted_rand` for noise, and for the NaN of two trivial segmentations.
    pair_ari : ndarray of shape (B // 2,)
        The same of resample 2i with 2i + 1, which does not know the reference: the global
        stability of Dolnicar and Leisch (2010, Marketing Letters 21:83-101).
    jaccard : ndarray of shape (B, k)
        Clusterwise stability (Hennig 2007, Comput. Stat. Data Anal. 52:258-271): the largest
        Jaccard similarity of each segment with a segment of the resample, over the customers
        drawn. Noise is compared with nothing. 0 for a segment of which nobody was drawn.
    slsw : ndarray of shape (B // 2, k)
        Segment level stability within solutions (Dolnicar and Leisch 2017, Marketing Letters
        28:423-436): the mean over resamples 2i and 2i + 1 of each segment's largest Jaccard
        similarity, over all customers.

    Notes
    -----
    A resample keeps each customer drawn once, however often it was drawn, as R's ``clusterboot``
    does by default; flexclust, behind Dolnicar and Leisch, keeps the repetitions.
    """

    ari: Floats
    pair_ari: Floats
    jaccard: Floats
    slsw: Floats

    @property
    def mean_ari(self) -> float:
        """Mean of :attr:`ari`; NaN if one of them is."""
        return float(self.ari.mean())

    @property
    def mean_jaccard(self) -> Floats:
        """Mean of :attr:`jaccard` of each segment, shape (k,)."""
        return self.jaccard.mean(axis=0)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What the mean Jaccard similarity of each segment says, in the words of R's fpc."""
        return tuple(
            next(words for least, words in VERDICTS if mean >= least) for mean in self.mean_jaccard
        )

    @property
    def n_dissolved(self) -> Codes:
        """Number of resamples that dissolved each segment (Hennig 2008), shape (k,)."""
        return (self.jaccard <= DISSOLVED).sum(axis=0)

    @property
    def n_recovered(self) -> Codes:
        """Number of resamples that recovered each segment, shape (k,)."""
        return (self.jaccard > RECOVERED).sum(axis=0)

    def to_frame(self) -> pd.DataFrame:
        """Return every value in a long table: ``resample, measure, segment, value``.

        ``resample`` is the number of the pair for ``pair_ari`` and ``slsw``; ``segment`` is
        missing for a measure of all segments.
        """
        parts = []
        for measure in ("ari", "pair_ari", "jaccard", "slsw"):
            values = getattr(self, measure)
            index = np.indices(values.shape)
            segment = index[1].ravel() if values.ndim == 2 else pd.NA
            part = {"resample": index[0].ravel(), "measure": measure, "segment": segment}
            table = pd.DataFrame(part | {"value": values.ravel()})
            parts.append(table.astype({"segment": "Int64", "measure": "str"}))
        return pd.concat(parts, ignore_index=True)


def draw(n: int, resample: int, seed: int) -> Codes:
    """Draw ``n`` of ``n`` rows with replacement and return which were drawn, sorted.

    About 63.2% are. The same ``resample`` and ``seed`` give the same rows.

    Examples
    --------
    >>> draw(6, resample=0, seed=1).tolist()
    [0, 2, 3, 4, 5]
    """
    is_drawn = np.zeros(n, dtype=bool)
    is_drawn[np.random.default_rng([seed, resample]).integers(n, size=n)] = True
    return np.flatnonzero(is_drawn)


def resampled_labels(pipeline: BaseEstimator, X: Any, resample: int, seed: int) -> Codes:
    """Refit ``pipeline`` on a bootstrap sample and return the segment of every customer.

    Parameters
    ----------
    pipeline : estimator with ``fit`` and ``predict``
        Is cloned. Preprocessing that belongs to it is refitted too.
    X : DataFrame or ndarray of n rows
    resample, seed : int
        Which sample, see :func:`draw`.

    Returns
    -------
    ndarray of int of shape (n,)
        Also of the customers not drawn; -1 is noise.
    """
    return _refitted(pipeline, X, resample, seed).predict(X)


def stability(
    reference: ArrayLike, labelings: Sequence[ArrayLike], drawn: Sequence[Codes]
) -> Stability:
    """Compare segments with those of resamples.

    Parameters
    ----------
    reference : array-like of int of shape (n,)
        The segments in question; -1 is noise.
    labelings : sequence of B array-likes of int of shape (n,)
        From :func:`resampled_labels`; they may have other numbers of segments.
    drawn : sequence of B arrays of row numbers
        From :func:`draw`.

    Raises
    ------
    ConfigError
        If there is no resample.
    DataError
        If labels are no whole numbers from -1 up, or lengths do not fit.

    Examples
    --------
    >>> everybody = np.arange(4)
    >>> found = stability([0, 0, 1, 1], [[1, 1, 0, 0], [0, 1, 1, 1]], [everybody, everybody])
    >>> found.mean_jaccard.round(3).tolist()
    [0.75, 0.833]
    >>> found.verdicts
    ('stable', 'stable')
    """
    if len(labelings) == 0:
        raise ConfigError("stability needs 1 resample or more, got 0")
    if len(labelings) != len(drawn):
        raise DataError(f"{len(labelings)} resamples come with {len(drawn)} lists of rows")
    reference = check_labels(reference, np.size(reference))
    found = [check_labels(labels, len(reference)) for labels in labelings]
    tables = [_table(reference, labels) for labels in found]
    drawn_tables = [
        _table(reference, labels, rows) for labels, rows in zip(found, drawn, strict=True)
    ]
    pairs = range(0, len(found) - 1, 2)
    everywhere = np.array([_largest_jaccard(table) for table in tables])
    return Stability(
        ari=np.array([_adjusted_rand(table) for table in tables]),
        pair_ari=np.array([_adjusted_rand(_table(found[i], found[i + 1])) for i in pairs]),
        jaccard=np.array([_largest_jaccard(table) for table in drawn_tables]),
        slsw=(everywhere[0 : 2 * len(pairs) : 2] + everywhere[1 : 2 * len(pairs) : 2]) / 2,
    )


def adjusted_rand(a: ArrayLike, b: ArrayLike) -> float:
    """Agreement of two segmentations beyond chance (Hubert and Arabie 1985, J. Classif. 2:193-218).

    Parameters
    ----------
    a, b : array-like of int of shape (n,)
        Segments; -1 is noise. The customers who are noise are one class of their own: to leave
        the same customers out is agreement, too.

    Returns
    -------
    float
        1 for the same partition, 0 on average by chance. NaN where neither tells any two
        customers apart (everybody noise, or everybody in one segment): the index is 0 / 0 then,
        and agreement about nothing is no stability.

    Raises
    ------
    DataError
        If labels are no whole numbers from -1 up, or lengths do not fit.

    Examples
    --------
    >>> adjusted_rand([0, 0, 1, 1], [1, 1, 0, 0]), adjusted_rand([0, 0, 0], [-1, -1, -1])
    (1.0, nan)
    """
    a = check_labels(a, np.size(a))
    return _adjusted_rand(_table(a, check_labels(b, len(a))))


def held_out_stability(
    pipeline: BaseEstimator, X_train: Any, X_test: Any, n_resamples: int, seed: int
) -> float:
    """Agreement of refitted models about customers that none of them has seen.

    The pipeline, preprocessing and all, is refitted on bootstrap samples of the training rows. Two
    of these models agree as much as the adjusted Rand index of what they say of the test rows
    (:func:`adjusted_rand`; noise is one class of its own); the result is the mean over all
    ``n_resamples * (n_resamples - 1) / 2`` pairs. This is the instability by bootstrap of Fang and
    Wang (2012, Comput. Stat. Data Anal. 56:468-477), turned into an agreement and judged on rows
    held out. It deviates from them in that a sample keeps each customer drawn once, 63% of all
    (:func:`draw`), as Hennig's ``clusterboot`` does; theirs, and those of Dolnicar and Leisch
    (2010), keep the repetitions.

    Parameters
    ----------
    pipeline : estimator with ``fit`` and ``predict``
        Is cloned.
    X_train, X_test : DataFrame or ndarray
    n_resamples : int
        Number of refits, 2 or more.
    seed : int

    Returns
    -------
    float
        NaN if one of the pairs has no adjusted Rand index. The mean of the others would hide the
        refits that found nothing.

    Raises
    ------
    ConfigError
        If there are fewer than two resamples.
    """
    if n_resamples < 2:
        raise ConfigError(f"stability needs 2 resamples or more, got {n_resamples}")
    found = [
        check_labels(_refitted(pipeline, X_train, i, seed).predict(X_test), len(X_test))
        for i in range(n_resamples)
    ]
    return float(np.mean([_adjusted_rand(_table(a, b)) for a, b in combinations(found, 2)]))


def slsa(labels_by_k: Mapping[int, ArrayLike]) -> pd.DataFrame:
    """Segment level stability across solutions: where each segment comes from as k grows.

    With p_j the share of a segment's customers who were in segment j of the solution before,
    ``SLSA = 1 - H(p) / log(k before)``, H the entropy (Dolnicar and Leisch 2017, Marketing
    Letters 28:423-436): 1 if all come from one segment, 0 if from all alike. Customers who are
    noise in one of the two solutions are left out.

    Parameters
    ----------
    labels_by_k : mapping of int to array-like of int of shape (n,)
        Segments of solutions with growing numbers of segments; compared in the order of k.

    Returns
    -------
    DataFrame with columns ``k, segment, value, parent``
        One row per segment of each solution but the first. ``parent`` is the segment of the
        solution before from which most customers come (the first of equals). Where nobody is
        left, ``value`` is NaN and ``parent`` -1.

    Examples
    --------
    >>> slsa({2: [0, 0, 0, 0, 1, 1], 3: [0, 0, 2, 1, 1, 2]})
       k  segment  value  parent
    0  3        0    1.0       0
    1  3        1    0.0       0
    2  3        2    0.0       0
    """
    n = np.size(next(iter(labels_by_k.values()), []))
    solutions = [(k, check_labels(labels_by_k[k], n)) for k in sorted(labels_by_k)]
    parts = []
    for (_, before), (k, after) in pairwise(solutions):
        counts = _table(after, before)[1:, 1:]
        n_segments, n_before = counts.shape
        sizes = counts.sum(axis=1)
        shares = counts / np.where(sizes == 0, np.nan, sizes)[:, None]
        entropy = -(shares * np.log(np.where(shares == 0, 1, shares))).sum(axis=1)
        parents = counts.argmax(axis=1) if n_before else np.full(n_segments, -1)
        # Of one segment everybody comes from it; adding 0 turns -0 into 0.
        values = 1 - entropy / (np.log(n_before) if n_before > 1 else 1) + 0.0
        parts.append(
            pd.DataFrame(
                {
                    "k": k,
                    "segment": np.arange(n_segments),
                    "value": np.where(sizes == 0, np.nan, values),
                    "parent": np.where(sizes == 0, -1, parents),
                }
            )
        )
    if not parts:
        return pd.DataFrame({"k": [], "segment": [], "value": [], "parent": []}).astype(
            {"k": int, "segment": int, "parent": int}
        )
    return pd.concat(parts, ignore_index=True)


def _refitted(pipeline: BaseEstimator, X: Any, resample: int, seed: int) -> Any:
    rows = draw(len(X), resample, seed)
    return clone(pipeline).fit(X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows])


def _table(a: Codes, b: Codes, rows: Codes | None = None) -> Codes:
    """Count the customers of each pair of segments; the first row and column are noise."""
    shape = [int(labels.max(initial=-1)) + 2 for labels in (a, b)]
    if rows is not None:
        a, b = a[rows], b[rows]
    return contingency(a + 1, b + 1, *shape)


def _adjusted_rand(table: Codes) -> float:
    # In Python's whole numbers: products of numbers of pairs do not fit into 64 bits.
    n = int(table.sum())
    together, in_a, in_b = (
        int(np.square(counts).sum()) - n for counts in (table, table.sum(axis=1), table.sum(axis=0))
    )
    apart = n * (n - 1) - in_a - in_b + together
    only_a, only_b = in_a - together, in_b - together
    if max(np.count_nonzero(table.any(axis=axis)) for axis in (0, 1)) < 2:
        return math.nan
    if only_a == only_b == 0:
        return 1.0
    chance = in_a * (only_a + apart) + in_b * (only_b + apart)
    return 2 * (together * apart - only_a * only_b) / chance


def _largest_jaccard(table: Codes) -> Floats:
    """Largest similarity of each segment of the rows with one of the columns, shape (k,)."""
    both = table[1:, 1:]
    either = table.sum(axis=1)[1:, None] + table.sum(axis=0)[1:] - both
    similarity = both / np.maximum(either, 1)
    return np.asarray(similarity.max(axis=1, initial=0.0))

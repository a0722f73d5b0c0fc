"""How good segments are: separate and compact by their features, or equal to known ones.

No measure makes an ``n x n`` matrix. In the two silhouettes and the shadow, customers of no segment
(label -1, noise) are charged for, so that a clusterer wins nothing there by leaving the difficult
ones out: each counts as a segment of one, whose silhouette is 0, and as a customer midway between
two segments, whose shadow is 1. The other measures leave noise out, and who calls more customers
noise is likely to look better by them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    homogeneity_completeness_v_measure,
)

from segexp.clustering.distances import Distance, distance_for, euclidean, in_blocks
from segexp.errors import ConfigError, DataError, did_you_mean

Codes: TypeAlias = NDArray[np.int_]
Floats: TypeAlias = NDArray[np.float64]

INTERNAL = (
    "silhouette",
    "simplified_silhouette",
    "calinski_harabasz",
    "davies_bouldin",
    "inertia",
    "shadow",
)
# A block of distances, its tables and its sums stay in a core's cache; a block of mixed data is
# larger, because reading its columns costs more than the cache saves.
ROWS_PER_BLOCK = 256
MIXED_ROWS_PER_BLOCK = 2048
N_GROUPS = 20  # of the jackknife behind the standard error of a sampled silhouette
MOST_CELLS = 800  # segments times groups, with fewer groups for more segments, but five at least
MOST_SUMS = 2**24  # distances summed by row and cell that are held at once: 128 MB
MIN_SAMPLED = 50  # of each segment, where there are so many


@dataclass(frozen=True)
class Quality:
    """What :func:`internal_quality` found.

    Attributes
    ----------
    values : dict of str to float
        By metric; NaN where it is not defined.
    silhouettes : ndarray of shape (n,), or None
        Of each customer; NaN where it was not computed, 0 for noise. None if there is none.
    silhouette_se : float
        Standard error of ``values["silhouette"]``; 0 where all customers were looked at.
    """

    values: dict[str, float]
    silhouettes: Floats | None
    silhouette_se: float


def internal_quality(
    Z: Floats | pd.DataFrame,
    labels: ArrayLike,
    *,
    metrics: Collection[str] = INTERNAL,
    distance: Distance | None = None,
    max_silhouette_rows: int = 20_000,
    seed: int = 0,
) -> Quality:
    """Measure how compact and how separate segments are.

    Let d be the distance, n the number of customers, k that of the segments.

    ``silhouette`` (Rousseeuw 1987, J. Comput. Appl. Math. 20:53-65), large is good
        Mean of ``s = (b - a) / max(a, b)``: a is a customer's mean distance to the others of its
        segment, b to those of the nearest other segment. 0 for a segment of one, and for noise.
    ``simplified_silhouette`` (Hruschka, de Castro and Campello 2004, ICDM), large is good
        The same with the distance to the centre in the place of the mean distance; O(nk).
    ``calinski_harabasz`` (1974, Commun. Stat. 3:1-27), large is good
        ``[(n - k) / (k - 1)] * B / W`` with the sums of squares between and within segments.
    ``davies_bouldin`` (1979, IEEE Trans. PAMI 1:224-227), small is good
        Mean over segments of the largest ``(s_i + s_j) / d(c_i, c_j)``, where s_i is the mean
        distance of segment i to its centre c_i.
    ``inertia``, small is good
        Sum of the squared distances to the centre, W.
    ``shadow`` (Leisch 2010, Neurocomputing 73:1720-1730 and flexclust), small is good
        Mean of ``2 d1 / (d1 + d2)`` with the distances to the nearest and the second nearest
        centre: 0 in a centre, 1 midway between two, and 1 for noise; O(nk). This is Leisch's
        value as it stands, not one minus it.

    Calinski-Harabasz, Davies-Bouldin and inertia are over the customers that have a segment: noise
    costs nothing there.

    Silhouettes of more than ``max_silhouette_rows`` customers are estimated from a sample that is
    stratified by segment: with shares W_h of the segments among all n customers, the estimate is
    ``sum_h W_h * (mean silhouette of the sampled customers of h)``, where a and b are mean
    distances to sampled customers. A customer drawn thus counts twice, as one who is judged and
    as one to whom distances are measured, and the usual standard error of a mean would be far too
    small. The standard error is that of a delete-a-group jackknife (Kott 2001, J. Off. Stat.
    17:521-526) with up to 20 groups, each left out in both roles, with the correction for a
    finite population. A sample that cannot hold two customers of each segment (of a segment of
    one, that one) says nothing of them: the silhouette is NaN then; the simplified one is there.

    Parameters
    ----------
    Z : ndarray of shape (n, d), or DataFrame of numbers and categories
    labels : array-like of int of shape (n,)
        Segments; -1 is noise. Numbers may be left out.
    metrics : collection of str
        Which of :data:`INTERNAL`; what is not named costs nothing.
    distance : callable, optional
        ``(A, B) -> ndarray (len(A), len(B))``, symmetric; by default Euclidean for arrays and
        Gower's for DataFrames. Centres are means, and the most frequent category (Huang 1998,
        k-prototypes). Calinski-Harabasz and inertia need squares: they are Euclidean for arrays
        whatever the distance; of DataFrames the first is NaN and the second is the sum of the
        distances to the centre, not squared.
    max_silhouette_rows : int
        2 or more. Memory grows with it, not with the number of segments: sums of distances that
        would be more than 128 MB are made by blocks of rows, which takes twice as long.
    seed : int
        Of the sample.

    Returns
    -------
    Quality
        NaN for fewer than two segments or segments of one customer each, but for the inertia.

    Raises
    ------
    ConfigError
        If a metric is not known, or ``max_silhouette_rows`` too small.
    DataError
        If there are not as many labels as rows, or the labels are not whole numbers from -1 up.

    Examples
    --------
    >>> Z = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> found = internal_quality(Z, [0, 0, 1, 1], metrics=["silhouette", "inertia"])
    >>> {name: round(value, 4) for name, value in found.values.items()}
    {'silhouette': 0.8885, 'inertia': 1.0}
    """
    for name in metrics:
        if name not in INTERNAL:
            raise ConfigError(
                f"no internal metric is called {name!r}{did_you_mean(name, INTERNAL)}; "
                f"there are {', '.join(INTERNAL)}"
            )
    labels = check_labels(labels, len(Z))
    clustered = np.flatnonzero(labels >= 0)
    values = dict.fromkeys((name for name in INTERNAL if name in metrics), math.nan)
    n, n_clustered = len(labels), len(clustered)
    if not values or n_clustered == 0:
        return Quality(values, None, 0.0)

    codes, sizes = _codes(labels[clustered])
    members = Z if n_clustered == n else _take(Z, clustered)
    distance = distance or distance_for(members)
    is_defined = 2 <= len(sizes) < n_clustered
    if values.keys() - {"silhouette"}:
        found = _by_centres(members, codes, sizes, n, distance)
        values |= {
            name: found[name]
            for name in values.keys() & found.keys()
            if is_defined or name == "inertia"
        }
    if "silhouette" not in values or not is_defined:
        return Quality(values, None, 0.0)

    if max_silhouette_rows < 2:
        raise ConfigError(f"max_silhouette_rows must be 2 or more, got {max_silhouette_rows}")
    silhouettes = np.where(labels < 0, 0.0, np.nan)
    error = 0.0
    if n_clustered <= max_silhouette_rows:
        rows = np.argsort(codes, kind="stable")
        cells = codes[rows]
        found_silhouettes = np.empty(len(rows))
        for block, sums in _cell_sums(_take(members, rows), cells, len(sizes), distance):
            found_silhouettes[block] = _silhouettes(sums, sizes, cells[block])
        mean = float(found_silhouettes.sum()) / n
    elif np.minimum(sizes, 2).sum() > max_silhouette_rows:
        return Quality(values, None, 0.0)
    else:
        rows, groups = _sample(codes, sizes, max_silhouette_rows, seed)
        found_silhouettes, mean, error = _sampled(
            _take(members, rows), codes[rows], groups, sizes, distance
        )
        mean, error = mean * n_clustered / n, error * n_clustered / n
    silhouettes[clustered[rows]] = found_silhouettes
    return Quality(values | {"silhouette": mean}, silhouettes, error)


def external_quality(truth: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Compare segments with known ones.

    Parameters
    ----------
    truth : array-like of shape (n,)
        Known segment of each customer, as names or codes.
    labels : array-like of int of shape (n,)
        Segments; -1 is noise, which counts as one segment of its own.

    Returns
    -------
    dict of str to float
        ``ari``: adjusted Rand index (Hubert and Arabie 1985, J. Classif. 2:193-218), ``ami``:
        adjusted mutual information (Vinh, Epps and Bailey 2010, JMLR 11:2837-2854), ``v_measure``,
        ``homogeneity`` and ``completeness`` (Rosenberg and Hirschberg 2007, EMNLP-CoNLL). 1 is
        the same partition, whatever the numbering; ARI and AMI are 0 on average by chance.

    Raises
    ------
    DataError
        If there are not as many labels as known segments, or none.

    Examples
    --------
    >>> external_quality(["A", "A", "B"], [1, 1, 0])["ari"]
    1.0
    """
    known, _ = pd.factorize(np.asarray(truth))
    labels = check_labels(labels, len(known))
    if len(known) == 0:
        raise DataError("there are no customers to compare segments of")
    with warnings.catch_warnings():
        # Of a few customers with many segments each, scikit-learn suspects a regression.
        warnings.simplefilter("ignore", UserWarning)
        homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(known, labels)
        return {
            "ari": float(adjusted_rand_score(known, labels)),
            "ami": float(adjusted_mutual_info_score(known, labels)),
            "v_measure": float(v_measure),
            "homogeneity": float(homogeneity),
            "completeness": float(completeness),
        }


@dataclass(frozen=True)
class SegmentMap:
    """Which known segment each found one stands for, learned from training customers.

    Attributes
    ----------
    known : ndarray of int
        Known segment of noise, of segment 0, of segment 1, and so on.
    default : int
        Known segment for a found one that was not seen: the most frequent of all.

    Examples
    --------
    >>> SegmentMap.learn([0, 0, 1, -1], [2, 2, 0, 2]).apply([1, 0, -1, 7]).tolist()
    [0, 2, 2, 2]
    """

    known: Codes
    default: int

    @classmethod
    def learn(cls, labels: ArrayLike, truth: ArrayLike) -> SegmentMap:
        """Give each found segment, and noise, the known one most frequent among its customers.

        Of two that are equally frequent, the one more frequent overall is taken.

        Parameters
        ----------
        labels : array-like of int of shape (n,)
            Found segments; -1 is noise.
        truth : array-like of int of shape (n,)
            Codes of the known segments, from 0 up.

        Raises
        ------
        DataError
            If the two differ in length, or there are no customers.
        """
        truth = np.asarray(truth)
        labels = check_labels(labels, len(truth))
        if len(truth) == 0:
            raise DataError("there are no customers to learn the segments of")
        # Columns from the most to the least frequent: argmax takes the first of equal counts.
        order = np.argsort(-np.bincount(truth), kind="stable")
        counts = contingency(labels + 1, truth, int(labels.max()) + 2, len(order))
        return cls(order[counts[:, order].argmax(axis=1)], int(order[0]))

    def apply(self, labels: ArrayLike) -> Codes:
        """Return the code of the known segment of each customer, shape (n,)."""
        position = np.asarray(labels) + 1
        is_seen = position < len(self.known)
        return np.where(is_seen, self.known[np.where(is_seen, position, 0)], self.default)


def check_labels(labels: ArrayLike, n: int) -> Codes:
    """Return ``labels`` as an array of whole numbers from -1 up, shape (n,).

    Raises
    ------
    DataError
        If they are anything else.
    """
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise DataError(f"there must be one segment for each of {n} customers, got {labels.shape}")
    if n and (labels.dtype.kind not in "iu" or labels.min() < -1):
        raise DataError(
            "segments must be whole numbers from 0 up, and -1 for no segment; "
            f"got {labels.dtype} from {labels.min()}"
        )
    return labels.astype(np.int_, copy=False)


def contingency(rows: Codes, columns: Codes, n_rows: int, n_columns: int) -> Codes:
    """Count the customers of each pair of codes, shape (n_rows, n_columns)."""
    counts = np.bincount(rows * n_columns + columns, minlength=n_rows * n_columns)
    return counts.reshape(n_rows, n_columns)


def _codes(labels: Codes) -> tuple[Codes, Codes]:
    """Number the segments without gaps; return the numbers and the sizes."""
    counts = np.bincount(labels)
    return (np.cumsum(counts > 0) - 1)[labels], counts[counts > 0]


def _take(Z: Any, rows: Codes | slice) -> Any:
    return Z.iloc[rows] if isinstance(Z, pd.DataFrame) else np.asarray(Z)[rows]


# Silhouettes. Rows are sorted by cell: a segment, or the part of a segment in a jackknife group.


def _cell_sums(
    Z: Any, cells: Codes, n_cells: int, distance: Distance
) -> Iterator[tuple[slice, Floats]]:
    """Sum the distances of each row to the rows of each cell: rows, shape (rows, n_cells)."""
    if len(Z) * n_cells <= MOST_SUMS:
        yield slice(0, len(Z)), _all_cell_sums(Z, cells, n_cells, distance)
        return
    seen, starts = _runs(cells)
    n_rows = max(1, min(MOST_SUMS // 8 // n_cells, ROWS_PER_BLOCK))
    for start in range(0, len(Z), n_rows):
        rows = slice(start, min(start + n_rows, len(Z)))
        sums = np.zeros((rows.stop - start, n_cells))
        sums[:, seen] = np.add.reduceat(distance(_take(Z, rows), Z), starts, axis=1)
        yield rows, sums


def _all_cell_sums(Z: Any, cells: Codes, n_cells: int, distance: Distance) -> Floats:
    """Sums of all rows at once, shape (n, n_cells); each pair is measured once."""
    size = MIXED_ROWS_PER_BLOCK if isinstance(Z, pd.DataFrame) else ROWS_PER_BLOCK
    blocks = [slice(start, start + size) for start in range(0, len(Z), size)]
    tables = [_take(Z, block) for block in blocks]
    runs = [_runs(cells[block]) for block in blocks]
    sums = np.zeros((len(Z), n_cells))
    for i, (rows, table) in enumerate(zip(blocks, tables, strict=True)):
        for j in range(i, len(blocks)):
            between = distance(table, tables[j])
            seen, starts = runs[j]
            sums[rows, seen] += np.add.reduceat(between, starts, axis=1)
            if j > i:  # a distance holds in both directions
                seen, starts = runs[i]
                sums[blocks[j], seen] += np.add.reduceat(between, starts, axis=0).T
    return sums


def _runs(cells: Codes) -> tuple[Codes, Codes]:
    """Cells in their sorted order, and where each begins."""
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    return cells[starts], starts


def _silhouettes(sums: Floats, sizes: Codes, codes: Codes) -> Floats:
    """Silhouette of each row, from its summed distance to each segment.

    ``sizes`` counts the rows that were summed, among them the row itself.
    """
    each = np.arange(len(codes))
    n_fellows = sizes[codes] - 1
    own = sums[each, codes] / np.maximum(n_fellows, 1)
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    means[each, codes] = np.inf
    nearest = means.min(axis=1)
    is_judged = (n_fellows > 0) & np.isfinite(nearest)
    return _contrast(own, np.where(is_judged, nearest, 0.0)) * is_judged


def _contrast(own: Floats, other: Floats) -> Floats:
    """Return ``(other - own) / max(own, other)``, 0 where both are 0."""
    larger = np.maximum(own, other)
    return (other - own) / np.where(larger == 0, 1.0, larger)


def _sample(codes: Codes, sizes: Codes, n_rows: int, seed: int) -> tuple[Codes, Codes]:
    """Rows of a sample stratified by segment, and their jackknife groups; sorted by both."""
    rng = np.random.default_rng(seed)
    n_groups = _count_groups(len(sizes))
    least = np.minimum(sizes, max(2, min(MIN_SAMPLED, n_rows // (2 * len(sizes)))))
    left = sizes - least
    share = max(0.0, (n_rows - least.sum()) / max(1, left.sum()))
    wanted = least + np.floor(left * share).astype(int)
    # In a shuffled order, the first so many of each segment, dealt to the groups in turn.
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    position = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_drawn = position < np.repeat(wanted, sizes)
    rows, groups = order[is_drawn], position[is_drawn] % n_groups
    by_cell = np.lexsort((groups, codes[rows]))
    return rows[by_cell], groups[by_cell]


def _count_groups(n_segments: int) -> int:
    return max(5, min(N_GROUPS, MOST_CELLS // n_segments))


def _sampled(
    Z: Any, codes: Codes, groups: Codes, sizes: Codes, distance: Distance
) -> tuple[Floats, float, float]:
    """Silhouettes of sampled rows, the mean over all rows and its standard error."""
    n_segments, n_groups = len(sizes), _count_groups(len(sizes))
    shape = (n_segments, n_groups)
    cells = codes * n_groups + groups
    n_sampled = np.bincount(cells, minlength=n_segments * n_groups).reshape(shape)
    n_total = n_sampled.sum(axis=1)
    silhouettes, left = np.empty(len(codes)), np.empty((n_groups, len(codes)))
    for rows, cell_sums in _cell_sums(Z, cells, n_segments * n_groups, distance):
        sums = cell_sums.reshape(-1, *shape)
        total = sums.sum(axis=2)
        silhouettes[rows] = _silhouettes(total, n_total, codes[rows])
        for group in range(n_groups):
            left[group, rows] = _silhouettes(
                total - sums[:, :, group], n_total - n_sampled[:, group], codes[rows]
            )

    weights = sizes / sizes.sum()
    mean = _stratified_mean(silhouettes, codes, weights)
    # Who is in the group is left out as one who is judged, too.
    without = np.array(
        [
            _stratified_mean(values[groups != group], codes[groups != group], weights)
            for group, values in enumerate(left)
        ]
    )
    variance = (n_groups - 1) / n_groups * np.square(without - without.mean()).sum()
    finite_population = 1 - len(codes) / sizes.sum()
    return silhouettes, mean, math.sqrt(variance * finite_population)


def _stratified_mean(values: Floats, codes: Codes, weights: Floats) -> float:
    sums = np.bincount(codes, weights=values, minlength=len(weights))
    counts = np.bincount(codes, minlength=len(weights))
    return float(weights @ (sums / np.maximum(counts, 1)))


# Measures by centres, in one pass over the rows.


def _by_centres(
    Z: Any, codes: Codes, sizes: Codes, n_customers: int, distance: Distance
) -> dict[str, float]:
    centres = _centres(Z, codes, sizes)
    is_mixed = isinstance(Z, pd.DataFrame)
    n, k = len(codes), len(sizes)
    spread, inertia, simplified, shadow = np.zeros(k), 0.0, 0.0, 0.0
    for rows, to_centres in in_blocks(distance, Z, centres, max_bytes=2**22):
        block_codes = codes[rows]
        each = np.arange(len(block_codes))
        own = to_centres[each, block_codes]
        spread += np.bincount(block_codes, weights=own, minlength=k)
        if is_mixed:
            inertia += float(own.sum())
        elif distance is euclidean:
            inertia += float(own @ own)
        else:
            inertia += float(np.square(_take(Z, rows) - centres[block_codes]).sum())
        if k < 2:
            continue
        near, next_near = np.partition(to_centres, 1, axis=1)[:, :2].T
        # The nearest other centre is the nearest of all, or the second where that is the own.
        other = np.where(own > near, near, next_near)
        simplified += (_contrast(own, other) * (sizes[block_codes] > 1)).sum()
        both = near + next_near
        shadow += np.where(both == 0, 1.0, 2 * near / np.where(both == 0, 1.0, both)).sum()
    values = {"inertia": inertia}
    if 2 <= k < n:
        values["simplified_silhouette"] = float(simplified) / n_customers
        values["shadow"] = (float(shadow) + n_customers - n) / n_customers
        values["davies_bouldin"] = _davies_bouldin(spread / sizes, distance(centres, centres))
        if not is_mixed and inertia > 0:
            between = sizes @ np.square(centres - sizes @ centres / n).sum(axis=1)
            values["calinski_harabasz"] = float(between / (k - 1) / (inertia / (n - k)))
    return values


def _davies_bouldin(spread: Floats, between: Floats) -> float:
    np.fill_diagonal(between, np.inf)
    if (between == 0).any():  # two segments of one centre
        return math.nan
    return float(((spread[:, None] + spread) / between).max(axis=1).mean())


def _centres(Z: Any, codes: Codes, sizes: Codes) -> Any:
    """Mean of each numeric column, most frequent level of each category, by segment."""
    if not isinstance(Z, pd.DataFrame):
        columns = np.asarray(Z, dtype=np.float64).T
        sums = [np.bincount(codes, weights=column, minlength=len(sizes)) for column in columns]
        return np.column_stack(sums) / sizes[:, None]
    return pd.DataFrame({name: _centre_column(Z[name], codes, len(sizes)) for name in Z.columns})


def _centre_column(column: pd.Series[Any], codes: Codes, k: int) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.codes.to_numpy().astype(int)
        # Missing cells have the code -1: the first column of the counts.
        counts = contingency(codes, levels + 1, k, len(column.cat.categories) + 1)[:, 1:]
        most = np.where(counts.any(axis=1), counts.argmax(axis=1), -1) if counts.size else -1
        return pd.Categorical.from_codes(np.broadcast_to(most, k), dtype=column.dtype)
    numbers = column.to_numpy(dtype=float, na_value=np.nan)
    is_known = ~np.isnan(numbers)
    sums = np.bincount(codes[is_known], weights=numbers[is_known], minlength=k)
    counts = np.bincount(codes[is_known], minlength=k)
    return sums / np.where(counts == 0, np.nan, counts)

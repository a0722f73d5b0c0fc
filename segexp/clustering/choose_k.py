"""How many segments: every criterion in one table, what each would choose, and a verdict.

:func:`assess` measures, :func:`hopkins` asks whether there is anything to find, :func:`decide`
weighs. "No natural segments" is an answer: one segment.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.special import expit, logsumexp, xlogy
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering
from sklearn.exceptions import ConvergenceWarning

from segexp.clustering.distances import distance_for, in_blocks
from segexp.clustering.quality import internal_quality
from segexp.clustering.segmenter import Segmenter
from segexp.clustering.stability import adjusted_rand, draw
from segexp.errors import ConfigError, DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.intp]
Table: TypeAlias = "Floats | pd.DataFrame"
Numbers: TypeAlias = dict[int, dict[str, float]]

REFERENCES = ("uniform", "pca")
NOT_MEASURED = "not measured"  # the reason of a criterion that had nothing to choose from
# More customers than this are represented by a random sample of so many.
MAX_ROWS = 2_000
# More rows than this have their silhouettes taken from a sample of so many.
MAX_SILHOUETTE_ROWS = 20_000
MAX_REFERENCE_SILHOUETTES = 2_000
COLUMNS = (
    "n_segments", "inertia", "silhouette", "silhouette_se", "calinski_harabasz", "davies_bouldin",
    "gap_uniform", "gap_uniform_se", "gap_pca", "gap_pca_se",
    "silhouette_uniform", "silhouette_uniform_sd", "silhouette_pca", "silhouette_pca_sd",
    "bic", "aic", "icl",
    "prediction_strength", "prediction_strength_se", "bootstrap_ari", "bootstrap_ari_se",
)  # fmt: skip


def assess(
    Z: Table,
    segmenter: Segmenter,
    ks: Sequence[int],
    *,
    parameter: str = "n_clusters",
    silhouette: bool = True,
    references: Sequence[str] = REFERENCES,
    n_references: int = 20,
    n_resamples: int = 20,
    n_splits: int = 10,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
) -> pd.DataFrame:
    r"""Measure every criterion for each number of segments.

    All numbers are in-sample: they describe the customers that the segments were made from.

    The features come prepared, so the preprocessing is not refitted on the halves and bootstrap
    samples of ``prediction_strength`` and ``bootstrap_ari``, which therefore flatter a pipeline
    that learns much in its preprocessing; :func:`~segexp.clustering.stability.resampled_labels`
    and :func:`~segexp.clustering.stability.held_out_stability` refit all of it.

    Parameters
    ----------
    Z : ndarray of shape (n, d), or DataFrame of mixed columns
        What the preprocessing gives to the clusterer.
    segmenter : Segmenter
        Any whose clusterer has ``parameter``. Where it has no seed it gets ``seed``.
    ks : sequence of int
        Numbers of segments, each 1 or more. The gap statistic's rule needs consecutive ones
        from 1 on. A ``k`` gives the same numbers whatever the others are. More than half the
        customers used (:func:`most_segments`) cannot be measured and are left out of the table.
    parameter : str
        ``n_clusters``, or ``n_components`` for mixtures.
    silhouette : bool
    references : sequence of "uniform" and "pca"
        Kinds of reference data for the gap statistic and for the silhouette.
    n_references, n_resamples, n_splits : int
        Reference data sets of each kind; bootstrap samples, used in pairs; random halves. 0
        leaves the criterion out.
    seed : int
    max_rows : int
        With more customers than this, a random sample of so many stands for all.

    Returns
    -------
    DataFrame with one row per k, NaN where a criterion is not defined or left out
        ``n_rows``: customers used. ``n_segments``: found.

        ``inertia``: within-cluster sum of squares :math:`W_k` around the segments' means, of any
        clusterer's labels.

        ``silhouette`` (Rousseeuw 1987), ``calinski_harabasz`` (1974), ``davies_bouldin`` (1979).

        ``silhouette_se``: 0 where the silhouettes of all customers were computed; above 20,000
        rows the error of sampling those whose silhouettes are computed, see
        :func:`~segexp.clustering.quality.internal_quality`. NaN where ``max_rows`` customers
        stand for more: another sample would have other segments, whose spread is not known.

        ``gap_uniform``, ``gap_pca`` and ``*_se``: mean of :math:`\log W_k` over reference data
        sets without segments, segmented by the same clusterer, minus that of the customers;
        :math:`s_k = sd \sqrt{1 + 1/B}` (Tibshirani, Walther and Hastie 2001, JRSS B
        63(2):411-423). The references fill the box of the columns, or of the principal axes.

        ``silhouette_uniform``, ``silhouette_pca`` and ``*_sd``: mean and standard deviation of
        the silhouette over the same reference data sets, the calibration by a null model that
        Hennig and Lin propose (2015, Statistics and Computing 25(4):821-833).

        ``bic``, ``aic``: the mixture's own. ``icl``: BIC plus twice the entropy of the posterior
        probabilities (Biernacki, Celeux and Govaert 2000). Less is better in all three.

        ``prediction_strength``, ``prediction_strength_se`` (Tibshirani and Walther 2005, JCGS
        14(3):511-528): both halves of a random split are segmented; of each segment of one half,
        the share of its pairs that the other half's segments keep together; the smallest over
        the segments, the mean over both directions and the splits. A segment of one customer
        counts as 0.

        ``bootstrap_ari``, ``bootstrap_ari_se``: segments made from two bootstrap samples, all
        customers assigned by both, adjusted Rand index (noise is one class of its own); mean over
        the pairs (Fang and Wang 2012, CSDA 56(3):468-477; Dolnicar and Leisch 2010, Marketing
        Letters 21(1):83-101). A sample keeps each customer drawn once, 63% of all, as Hennig's
        ``clusterboot`` does; theirs keep the repetitions. NaN where a pair has no index because
        neither finds two classes.

        ``seconds``: spent on this k; what several share is divided evenly.

    Raises
    ------
    ConfigError
        If the clusterer has no such parameter, a ``k`` is below 1, or none can be measured.
    """
    rows = _sample(len(Z), max_rows, seed)
    n_all, Z = len(Z), _take(Z, rows)
    n, asked = len(Z), sorted(set(ks))
    most = most_segments(n, max_rows)
    ks = [k for k in asked if k <= most]
    if not ks or ks[0] < 1:
        raise ConfigError(
            f"ks must be numbers from 1 to {most}, half the {n} customers, got {asked}"
        )
    if unknown := [kind for kind in references if kind not in REFERENCES]:
        raise ConfigError(f"references must be among {list(REFERENCES)}, got {unknown}")
    family = _Family(segmenter, parameter, ks, seed)
    numbers = {k: _nothing(n) for k in ks}
    with warnings.catch_warnings():
        # Of references and resamples that hold fewer different rows than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for k, model in family.fit(Z):
            start = time.perf_counter()
            numbers[k].update(_of_one(Z, model, silhouette, n_all, seed))
            family.seconds[k] += time.perf_counter() - start
        if n_references and isinstance(Z, np.ndarray):
            for kind in references:
                _add_references(numbers, Z, family, kind, n_references, silhouette)
        _add_means(numbers, "prediction_strength", _prediction_strengths(Z, family, n_splits))
        _add_means(numbers, "bootstrap_ari", _bootstrap_aris(Z, family, n_resamples))
    table = pd.DataFrame([{"k": k, **numbers[k], "seconds": family.seconds[k]} for k in ks])
    return table.astype({"n_rows": int, "n_segments": int})


def most_segments(n_customers: int, max_rows: int = MAX_ROWS) -> int:
    """Return the largest number of segments that :func:`assess` measures of so many customers."""
    return min(n_customers, max_rows) // 2


def _nothing(n: int) -> dict[str, float]:
    return {"n_rows": float(n), **dict.fromkeys(COLUMNS, math.nan)}


class _Family:
    """One clusterer with each number of segments, and the seconds that each number took."""

    def __init__(self, segmenter: Segmenter, parameter: str, ks: Sequence[int], seed: int) -> None:
        known = segmenter.clusterer.get_params()
        if parameter not in known:
            raise ConfigError(
                f"{type(segmenter.clusterer).__name__} has no {parameter!r}, so its number of "
                "segments cannot be chosen; n_clusters and n_components are what would do, "
                f"it has {sorted(known)}"
            )
        self.segmenter = clone(segmenter).set_params(max_rows=None)
        unset = {
            name: seed
            for name, value in self.segmenter.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        }
        self.segmenter.set_params(**unset)
        self.parameter = parameter
        self.seed = seed
        self.seconds = dict.fromkeys(ks, 0.0)

    def fit(self, Z: Table, *, first: int = 1) -> Iterator[tuple[int, Any]]:
        """Fit a segmenter with each number of segments, from ``first`` on."""
        for k, clusterer in self._clusterers(Z, first):
            start = time.perf_counter()
            model = clone(self.segmenter).set_params(clusterer=clusterer).fit(Z)
            self.seconds[k] += time.perf_counter() - start
            yield k, model

    def label(self, Z: Table) -> Iterator[tuple[int, Labels]]:
        """Label the rows with each number of segments; nobody else will be assigned."""
        for k, clusterer in self._clusterers(Z, 1):
            start = time.perf_counter()
            labels = np.zeros(len(Z), dtype=np.intp) if k == 1 else clusterer.fit_predict(Z)
            self.seconds[k] += time.perf_counter() - start
            yield k, np.asarray(labels)

    def share(self, start: float) -> None:
        """Divide the seconds since ``start`` among all numbers of segments."""
        took = time.perf_counter() - start
        for k in self.seconds:
            self.seconds[k] += took / len(self.seconds)

    def _clusterers(self, Z: Table, first: int) -> Iterator[tuple[int, Any]]:
        ks = [k for k in self.seconds if k >= first]
        clusterer = self.segmenter.clusterer
        if ks and _has_a_tree(clusterer, Z):
            start = time.perf_counter()
            tree = linkage(Z, clusterer.linkage)
            self.share(start)
            yield from ((k, _Cut(tree, k, linkage=clusterer.linkage)) for k in ks)
        else:
            yield from ((k, clone(clusterer).set_params(**{self.parameter: k})) for k in ks)


def _has_a_tree(clusterer: Any, Z: Table) -> bool:
    """Whether one tree of merges, cut at different heights, holds every number of segments."""
    return (
        type(clusterer) is AgglomerativeClustering
        and clusterer.metric == "euclidean"
        and clusterer.connectivity is None
        and clusterer.distance_threshold is None
        and isinstance(Z, np.ndarray)
    )


class _Cut(AgglomerativeClustering):
    """An agglomerative clustering whose tree is there already."""

    def __init__(
        self, tree: Floats | None = None, n_clusters: int = 2, *, linkage: str = "ward"
    ) -> None:
        super().__init__(n_clusters=n_clusters, linkage=linkage)
        self.tree = tree

    def fit(self, X: Any, y: Any = None) -> _Cut:
        self.labels_ = cut(np.asarray(self.tree), self.n_clusters)
        return self


def cut(tree: Floats, k: int) -> Labels:
    """Cut a tree of merges into exactly ``k`` clusters.

    Parameters
    ----------
    tree : ndarray of shape (n - 1, 4)
        As :func:`scipy.cluster.hierarchy.linkage` returns it.
    k : int
        From 1 to n.

    Returns
    -------
    ndarray of int of shape (n,)

    Examples
    --------
    >>> cut(linkage([[0.0], [1.0], [5.0]], "single"), 2).tolist()
    [0, 0, 1]
    """
    n = len(tree) + 1
    merges = np.arange(n - k)
    # Each of the first n - k merges ties two nodes to the node that it makes.
    made, parts = np.repeat(n + merges, 2), tree[: n - k, :2].astype(np.intp).ravel()
    ties = coo_array((np.ones(len(made)), (made, parts)), shape=(2 * n - 1, 2 * n - 1))
    return np.unique(connected_components(ties, directed=False)[1][:n], return_inverse=True)[1]


# ---- the criteria ------------------------------------------------------------------------------


def _of_one(Z: Table, model: Any, silhouette: bool, n_all: int, seed: int) -> dict[str, float]:
    """Return the criteria that need nothing but the labels, or the mixture."""
    labels = np.asarray(model.labels_)
    found: dict[str, float] = {"n_segments": float(len(np.unique(labels[labels >= 0])))}
    quality = internal_quality(
        Z,
        labels,
        metrics=("inertia", "calinski_harabasz", "davies_bouldin", *["silhouette"] * silhouette),
        distance=distance_for(Z),
        max_silhouette_rows=MAX_SILHOUETTE_ROWS,
        seed=seed,
    )
    found.update(quality.values)
    if quality.silhouettes is not None and len(Z) == n_all:
        found["silhouette_se"] = quality.silhouette_se
    if (mixture := getattr(model, "clusterer_", None)) is not None and hasattr(mixture, "bic"):
        posterior = np.asarray(mixture.predict_proba(Z))
        entropy = -float(xlogy(posterior, posterior).sum())
        found["bic"] = float(mixture.bic(Z))
        found["aic"] = float(mixture.aic(Z))
        found["icl"] = found["bic"] + 2 * entropy
    return found


def _silhouettes(Z: Any, labelings: dict[int, Labels]) -> dict[int, Floats]:
    """Silhouettes of all rows under several labelings, from one pass over the distances.

    Customers of no segment or alone in theirs have 0; labelings into one segment are left out.
    """
    shapes = {k: _one_hot(labels) for k, labels in labelings.items()}
    shapes = {k: members for k, members in shapes.items() if 1 < members.shape[1] < len(Z)}
    found = {k: np.zeros(len(Z)) for k in shapes}
    for rows, distances in in_blocks(distance_for(Z), Z, Z):
        for k, members in shapes.items():
            found[k][rows] = _of_sums(distances @ members, labelings[k][rows], members.sum(axis=0))
    return found


def _of_sums(sums: Floats, labels: Labels, sizes: Floats) -> Floats:
    """Silhouettes from the summed distances of customers to the members of each segment."""
    own = np.arange(len(labels)), labels
    inner = sums[own] / np.maximum(sizes[labels] - 1, 1)
    # A sample may hold nobody of a small segment.
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)
    means[own] = np.inf
    outer = means.min(axis=1)
    counted = (labels >= 0) & (sizes[labels] > 1)
    larger = np.maximum(inner, outer)
    return np.divide(outer - inner, larger, out=np.zeros(len(labels)), where=counted & (larger > 0))


def _one_hot(labels: Labels) -> Floats:
    return (labels[:, None] == np.arange(labels.max(initial=-1) + 1)).astype(float)


def _within(Z: Floats, labels: Labels) -> float:
    """Sum of squares around the means of the segments."""
    members = _one_hot(labels)
    centers = (members.T @ Z) / np.maximum(members.sum(axis=0), 1)[:, None]
    inside = labels >= 0
    return float(np.square(Z[inside] - centers[labels[inside]]).sum())


def _reference(Z: Floats, kind: str, rng: np.random.Generator) -> Floats:
    """Draw as many customers without segments, from the box of the columns or principal axes."""
    if kind == "uniform":
        return rng.uniform(Z.min(axis=0), Z.max(axis=0), Z.shape)
    center = Z.mean(axis=0)
    axes = np.linalg.svd(Z - center, full_matrices=False)[2]
    turned = (Z - center) @ axes.T
    return rng.uniform(turned.min(axis=0), turned.max(axis=0), turned.shape) @ axes + center


def _add_references(
    numbers: Numbers, Z: Floats, family: _Family, kind: str, n_references: int, silhouette: bool
) -> None:
    """Gap statistic and mean silhouette beside reference data sets of one kind."""
    spreads: dict[int, list[float]] = {k: [] for k in numbers}
    silhouettes: dict[int, list[float]] = {k: [] for k in numbers}
    for b in range(n_references):
        made = _reference(Z, kind, np.random.default_rng([family.seed, REFERENCES.index(kind), b]))
        labelings = dict(family.label(made))
        for k, labels in labelings.items():
            spreads[k].append(_log(_within(made, labels)))
        if silhouette:
            start = time.perf_counter()
            some = _sample(len(made), MAX_REFERENCE_SILHOUETTES, family.seed)
            parts = {k: labels[some] for k, labels in labelings.items()}
            for k, values in _silhouettes(made[some], parts).items():
                silhouettes[k].append(float(values.mean()))
            family.share(start)
    for k in numbers:
        mean, sd = _mean_and_sd(spreads[k])
        numbers[k][f"gap_{kind}"] = mean - _log(numbers[k]["inertia"])
        numbers[k][f"gap_{kind}_se"] = sd * math.sqrt(1 + 1 / n_references)
        mean, sd = _mean_and_sd(silhouettes[k])
        numbers[k].update({f"silhouette_{kind}": mean, f"silhouette_{kind}_sd": sd})


def _add_means(numbers: Numbers, name: str, found: dict[int, list[float]]) -> None:
    for k, values in found.items():
        mean, sd = _mean_and_sd(values)
        numbers[k].update({name: mean, f"{name}_se": sd / math.sqrt(max(len(values), 1))})


def _prediction_strengths(Z: Table, family: _Family, n_splits: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {k: [1.0] * n_splits for k in family.seconds}
    for split in range(n_splits):
        order = np.random.default_rng([family.seed, 2, split]).permutation(len(Z))
        halves = [_take(Z, np.sort(order[part::2])) for part in (0, 1)]
        for (k, one), (_, other) in zip(
            *(family.fit(half, first=2) for half in halves), strict=True
        ):
            start = time.perf_counter()
            found[k][split] = 0.5 * (
                _kept_together(np.asarray(one.labels_), other.predict(halves[0]))
                + _kept_together(np.asarray(other.labels_), one.predict(halves[1]))
            )
            family.seconds[k] += time.perf_counter() - start
    return found


def _kept_together(labels: Labels, predicted: Labels) -> float:
    """Share of the pairs of a segment that another labeling keeps together; the smallest."""
    inside = labels >= 0
    if not inside.any():
        return math.nan
    width = predicted.max() + 2
    cells = labels[inside] * width + predicted[inside] + 1
    counts = np.bincount(cells, minlength=(labels.max() + 1) * width).reshape(-1, width)
    sizes = counts.sum(axis=1)
    # Nobody is together in no segment, which is the first column.
    together = (counts * (counts - 1))[:, 1:].sum(axis=1)
    shares = together / np.maximum(sizes * (sizes - 1), 1)
    return float(shares[sizes > 0].min())


def _bootstrap_aris(Z: Table, family: _Family, n_resamples: int) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {k: [] for k in family.seconds}
    for pair in range(n_resamples // 2):
        drawn = [_take(Z, draw(len(Z), 2 * pair + i, family.seed)) for i in (0, 1)]
        for (k, one), (_, other) in zip(
            *(family.fit(rows, first=2) for rows in drawn), strict=True
        ):
            start = time.perf_counter()
            found[k].append(adjusted_rand(one.predict(Z), other.predict(Z)))
            family.seconds[k] += time.perf_counter() - start
    return found


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    return float(np.mean(values)), float(np.std(values, ddof=len(values) > 1))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else math.nan


def _sample(n: int, max_rows: int, seed: int) -> Labels:
    if n <= max_rows:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, max_rows, replace=False))


def _take(Z: Table, rows: Labels) -> Table:
    return Z.iloc[rows] if isinstance(Z, pd.DataFrame) else np.asarray(Z)[rows]


# ---- is there anything -------------------------------------------------------------------------


def hopkins(
    Z: Table, seed: int, *, share: float = 0.1, most: int = 500, repeats: int = 10
) -> float:
    r"""Measure how far customers are from being spread at random in their box.

    ``m`` points are drawn at random in the box of the columns and ``m`` customers at random;
    with the distances u of the points and w of the customers to the nearest (other) customer and
    d columns, :math:`H = \sum u^d / (\sum u^d + \sum w^d)` (Hopkins and Skellam 1954, Annals of
    Botany 18(2):213-227; the exponent as in Cross and Jain 1982).

    Parameters
    ----------
    Z : ndarray of shape (n, d)
    seed : int
    share, most : float and int
        ``m`` is this share of the customers, at most ``most``.
    repeats : int
        Samples of which the mean is returned.

    Returns
    -------
    float
        About 0.5 for customers spread at random over the box, toward 1 the more they crowd,
        below 0.5 where they keep regular distances. Crowding is necessary for segments, not
        sufficient: one round blob in the middle of its box crowds, too, and so do duplicates.
        NaN for DataFrames and for fewer than ten customers.
    """
    if isinstance(Z, pd.DataFrame):
        return math.nan
    Z = np.asarray(Z, dtype=float)
    Z = Z[:, np.ptp(Z, axis=0) > 0]
    n, d = Z.shape
    if n < 10 or d == 0:
        return math.nan
    Z = (Z - Z.min(axis=0)) / np.ptp(Z, axis=0).max()
    m = max(1, min(most, round(share * n)))
    tree = KDTree(Z)
    found = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        points = rng.uniform(0, Z.max(axis=0), (m, d))
        own = rng.choice(n, m, replace=False)
        u = _log_sum(tree.query(points)[0], d)
        w = _log_sum(tree.query(Z[own], k=2)[0][:, 1], d)
        found.append(float(expit(u - w)) if max(u, w) > -math.inf else math.nan)
    return float(np.mean(found))


def _log_sum(distances: Floats, power: int) -> float:
    """Logarithm of the sum of powers, which may be too small or too large to write."""
    if not (distances > 0).any():
        return -math.inf
    return float(logsumexp(power * np.log(distances[distances > 0])))


# ---- the verdict -------------------------------------------------------------------------------

# Tibshirani and Walther 2005 take 0.8 to 0.9.
MIN_PREDICTION_STRENGTH = 0.8
# A mean of few splits that is nearer than its standard error passes, but not one that is just wild.
MAX_PREDICTION_ERROR = 0.1
# Steinley 2004 (Psychological Methods 9(3):386-396) calls an adjusted Rand index of 0.8 good.
MIN_REPRODUCIBLE_ARI = 0.8
# Mean adjusted Rand indices this near to the best are as good.
SAME_ARI = 0.05
# Silhouettes count as more than chance beyond so many standard deviations of the reference data.
CHANCE_SD = 2.0
# What prediction strength counts where it finds two segments or more. Like the division of the
# votes it was chosen looking at the sets of scripts/bench_verdict.py, so these are no proof of it.
STRONG_VOTES = 2.0
# The power of Hopkins' test at this level is what Lawson and Jurs 1990 recommend.
MIN_HOPKINS = 0.75


@dataclass(frozen=True)
class Verdict:
    """How many segments there are, who says so, and what kind of segments they are.

    Attributes
    ----------
    k : int
        1: no natural segments.
    choices : DataFrame with columns ``criterion, k, rule, reason, votes``
        One row per criterion. ``k`` is missing where it does not choose.
    hopkins : float
    words : str
        The verdict and the disagreement in plain words. They do not call segments natural whose
        number :func:`is_disputed`.
    kind : {"natural", "reproducible", "constructive"}
        The words of Dolnicar and Leisch (2010, Marketing Letters 21(1):83-101). See
        :func:`decide`.
    """

    k: int
    choices: pd.DataFrame
    hopkins: float
    words: str
    kind: str

    @property
    def best_k(self) -> int:
        """The verdict, or of two segments and more those with most votes: for who needs some."""
        if self.k > 1:
            return self.k
        several = self.choices[self.choices["k"].fillna(1) > 1]
        votes = several.groupby("k")["votes"].sum()
        return int(votes.index.to_numpy(dtype=int)[votes.argmax()]) if len(votes) else 2


def knee(ks: Sequence[int], values: Sequence[float]) -> int | None:
    """Find the knee of a falling convex curve (Kneedle; Satopaa et al. 2011, ICDCSW:166-171).

    Both axes are scaled to [0, 1]; the knee is the first point of largest distance below the
    chord from which the distance falls by one mean step before it rises again (sensitivity 1).

    Parameters
    ----------
    ks : sequence of int
        Rising.
    values : sequence of float

    Returns
    -------
    int or None
        None: no knee.

    Examples
    --------
    >>> knee([1, 2, 3, 4, 5], [100, 60, 20, 15, 10])
    3
    >>> knee([1, 2, 3, 4, 5], [50, 40, 30, 20, 10]) is None
    True
    """
    x, y = np.asarray(ks, dtype=float), np.asarray(values, dtype=float)
    if len(x) < 3 or np.ptp(y) == 0:
        return None
    x, y = (x - x[0]) / (x[-1] - x[0]), (y - y.min()) / np.ptp(y)
    below = 1 - y - x
    step = 1 / (len(x) - 1)
    peaks = [i for i in range(1, len(x) - 1) if below[i - 1] < below[i] >= below[i + 1]]
    for i, next_peak in itertools.pairwise([*peaks, len(x)]):
        if (below[i + 1 : next_peak] < below[i] - step).any():
            return int(ks[i])
    return None


def decide(table: pd.DataFrame, hopkins: float = math.nan) -> Verdict:
    """Let every criterion choose, and weigh their votes.

    The rule of each criterion is written in ``choices``. An index whose best value is at the
    largest k that was measured has not found its best and does not choose. What measures the same
    shares a vote, divided evenly among those that choose:

    - compactness: knee, silhouette, Calinski-Harabasz, Davies-Bouldin;
    - compactness beside chance: both gap statistics, and the silhouette against data without
      segments; these can answer 1;
    - likelihood: BIC and ICL, for mixtures; these can answer 1;
    - stability under the bootstrap;
    - prediction strength, which can answer 1. Where it does not, it has two votes: it alone
      judges segments by other customers than they were made from, and by the worst of them, so
      what it finds is seldom an accident, while segments of odd shapes escape it.

    Of two numbers with as many votes the one with the larger silhouette is the verdict; 1 has
    none.

    Parameters
    ----------
    table : DataFrame
        From :func:`assess`. Missing columns and NaN are criteria that do not choose.
    hopkins : float
        From :func:`hopkins`; NaN where it is not known.

    Returns
    -------
    Verdict
        Its kind is ``reproducible`` where the bootstrap ARI at the verdict (for "no natural
        segments": at its best k) is at least 0.8; ``natural`` where, in addition, there are two
        segments or more, the silhouette exceeds the mean over each kind of reference data by more
        than two standard deviations, and Hopkins' statistic, where known, is at least 0.75; else
        ``constructive``: the segments are useful inventions, not discoveries, and a second sample
        would give others.

    Raises
    ------
    DataError
        If no criterion chooses.
    """
    table = table.sort_values("k").reset_index(drop=True)
    table = table.reindex(columns=["k", *COLUMNS]).astype(dict.fromkeys(COLUMNS, float))
    rows = [_choice(table, criterion) for criterion in _CRITERIA]
    choices = pd.DataFrame(rows).astype({"k": "Int64"})
    if choices["k"].isna().all():
        raise DataError(
            "no criterion can choose the number of segments: the table needs two or more k with "
            "values"
        )
    choosing = choices["k"].notna()
    families = choices["criterion"].map({c.name: c.family for c in _CRITERIA})
    choices["votes"] = choosing / choosing.groupby(families).transform("sum").clip(lower=1)
    is_strong = (choices["criterion"] == "prediction_strength") & (choices["k"] > 1).fillna(False)
    choices.loc[is_strong, "votes"] = STRONG_VOTES
    votes: dict[int, float] = {}
    for k, share in zip(choices["k"][choosing].tolist(), choices["votes"][choosing], strict=True):
        votes[k] = votes.get(k, 0.0) + share
    silhouettes = dict(zip(table["k"], table["silhouette"].fillna(-1), strict=True))
    k = min(votes, key=lambda k: (-round(votes[k], 9), -silhouettes.get(k, -1), k))
    kind = _kind(table, k, hopkins)
    return Verdict(k, choices, hopkins, _in_words(choices, votes, k, kind, hopkins), kind)


# They ask whether segments come back; all others ask how compact or how far apart they are.
RECURRENCE = ("prediction_strength", "bootstrap_ari")


def is_disputed(choices: pd.DataFrame, k: int) -> bool:
    """Whether all criteria of compactness and distance that choose do not choose ``k``.

    Halves of a real group come back, too, where something cuts it at the same place each time.

    Parameters
    ----------
    choices : DataFrame with columns ``criterion, k``
    k : int
    """
    others = pd.to_numeric(choices.loc[~choices["criterion"].isin(RECURRENCE), "k"]).dropna()
    return len(others) > 0 and not bool((others == k).any())


@dataclass(frozen=True)
class _Criterion:
    name: str
    family: str
    words: str
    rule: str
    choose: Callable[[pd.DataFrame, str], tuple[int | None, str]]


def _choice(table: pd.DataFrame, criterion: _Criterion) -> dict[str, Any]:
    k, reason = criterion.choose(table, criterion.name)
    return {
        "criterion": criterion.name,
        "k": pd.NA if k is None else k,
        "rule": criterion.rule,
        "reason": reason,
        "votes": 0.0,
    }


_ABSENT = (None, NOT_MEASURED)
_AT_THE_EDGE = "still better at {}, the most that were measured"


def _at_knee(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    known = table[table["inertia"].notna()]
    if len(known) < 3:
        return _ABSENT
    found = knee(known["k"].tolist(), known["inertia"].tolist())
    return found, "no knee" if found is None else f"the curve bends at {found}"


def _largest(table: pd.DataFrame, name: str, sign: int = 1) -> tuple[int | None, str]:
    ks, values = _measured(table, name)
    if len(ks) < 2:
        return _ABSENT
    best = int((sign * values).argmax())
    if ks[best] == table["k"].max():
        return None, _AT_THE_EDGE.format(ks[best])
    return int(ks[best]), f"{values[best]:.4g} is the {'largest' if sign > 0 else 'smallest'}"


def _smallest(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    return _largest(table, name, -1)


def _first_within_error(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    known = table[table[name].notna()]
    k, gap = known["k"].tolist(), known[name].tolist()
    error = known[f"{name}_se"].tolist()
    if len(k) < 2:
        return _ABSENT
    for i in range(len(k) - 1):
        if k[i + 1] == k[i] + 1 and gap[i] >= gap[i + 1] - error[i + 1]:
            return int(k[i]), f"{gap[i]:.3f} is not below {gap[i + 1]:.3f} - {error[i + 1]:.3f}"
    return None, f"still rising at {k[-1]}"


def _beyond_chance(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    excess, in_sd = _silhouette_excess(table)
    if excess.notna().sum() < 2:
        return _ABSENT
    best = int(excess.argmax())
    k, sds = int(table["k"].iloc[best]), float(in_sd.iloc[best])
    reason = f"{excess.iloc[best]:+.3f}, {sds:.1f} sd, beside data without segments"
    if sds <= CHANCE_SD:
        return 1, reason
    if k == table["k"].max():
        return None, _AT_THE_EDGE.format(k)
    return k, reason


def _silhouette_excess(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Silhouette above the reference data, and in their standard deviations; the smaller ones."""
    excess, in_sd = {}, {}
    for kind in REFERENCES:
        excess[kind] = table["silhouette"] - table[f"silhouette_{kind}"]
        in_sd[kind] = excess[kind] / table[f"silhouette_{kind}_sd"].clip(lower=1e-12)
    return pd.DataFrame(excess).min(axis=1), pd.DataFrame(in_sd).min(axis=1)


def _largest_strong(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    ks, values = _measured(table, name)
    several = ks > 1
    if not several.any():
        return _ABSENT
    errors = table.loc[table[name].notna(), f"{name}_se"].fillna(0).to_numpy(dtype=float)
    enough = values + np.minimum(errors, MAX_PREDICTION_ERROR) > MIN_PREDICTION_STRENGTH
    strong = np.flatnonzero(several & enough)
    if not len(strong):
        return 1, f"at most {values[several].max():.2f} for two segments or more"
    last = strong[-1]
    return int(ks[last]), f"{values[last]:.2f} ± {errors[last]:.2f}, and not for more segments"


def _largest_stable(table: pd.DataFrame, name: str) -> tuple[int | None, str]:
    ks, ari = _measured(table, name)
    if len(ks) < 2:
        return _ABSENT
    is_peak = (ari >= np.append(-1, ari[:-1])) & (ari >= np.append(ari[1:], -1))
    last = np.flatnonzero(is_peak & (ari >= ari.max() - SAME_ARI))[-1]
    if ks[last] == table["k"].max():
        return None, _AT_THE_EDGE.format(ks[last])
    return int(ks[last]), f"{ari[last]:.2f}, the best is {ari.max():.2f}"


def _measured(table: pd.DataFrame, name: str) -> tuple[Labels, Floats]:
    known = table[table[name].notna()]
    return known["k"].to_numpy(dtype=np.intp), known[name].to_numpy(dtype=float)


_CRITERIA = (
    _Criterion("knee", "compact", "the knee of the inertia", "Kneedle, sensitivity 1", _at_knee),
    _Criterion("silhouette", "compact", "the silhouette", "largest", _largest),
    _Criterion("calinski_harabasz", "compact", "Calinski-Harabasz", "largest", _largest),
    _Criterion("davies_bouldin", "compact", "Davies-Bouldin", "smallest", _smallest),
    _Criterion(
        "gap_uniform",
        "chance",
        "the gap statistic (box of the columns)",
        "smallest k with gap(k) >= gap(k + 1) - s(k + 1)",
        _first_within_error,
    ),
    _Criterion(
        "gap_pca",
        "chance",
        "the gap statistic (box of the axes)",
        "smallest k with gap(k) >= gap(k + 1) - s(k + 1)",
        _first_within_error,
    ),
    _Criterion(
        "silhouette_excess",
        "chance",
        "the silhouette beside chance",
        "most above data without segments; 1 if that is within 2 standard deviations",
        _beyond_chance,
    ),
    _Criterion(
        "prediction_strength",
        "prediction",
        "prediction strength",
        f"largest k above {MIN_PREDICTION_STRENGTH} or within a standard error (at most "
        f"{MAX_PREDICTION_ERROR}) of it",
        _largest_strong,
    ),
    _Criterion(
        "bootstrap_ari",
        "bootstrap",
        "bootstrap stability",
        f"largest k at a local maximum within {SAME_ARI} of the best",
        _largest_stable,
    ),
    _Criterion("bic", "likelihood", "BIC", "smallest", _smallest),
    _Criterion("icl", "likelihood", "ICL", "smallest", _smallest),
)


def _kind(table: pd.DataFrame, k: int, hopkins: float) -> str:
    ari = table["bootstrap_ari"]
    reached = ari.max() if k == 1 else ari[table["k"] == k].max()
    # Where stability was left out nothing is known to come back.
    if not reached >= MIN_REPRODUCIBLE_ARI:
        return "constructive"
    in_sd = _silhouette_excess(table)[1][table["k"] == k].max()
    is_apart = k > 1 and in_sd > CHANCE_SD and not hopkins < MIN_HOPKINS
    return "natural" if is_apart else "reproducible"


_KINDS = {
    "natural": "They are natural: they come back from resampled customers and lie farther apart "
    "than segments of data without any.",
    "reproducible": "They are reproducible, not natural: they come back from resampled customers, "
    "yet no empty space parts them.",
    "disputed": "They come back from resampled customers, but no criterion of how compact and how "
    "far apart they are chooses this number: coming back alone does not make them natural.",
    "constructive": "They are constructive: another sample of customers would give other "
    "segments, so use decides how many, not the data.",
}


def _in_words(
    choices: pd.DataFrame, votes: dict[int, float], k: int, kind: str, hopkins: float
) -> str:
    words = {criterion.name: criterion.words for criterion in _CRITERIA}
    what = "No natural segments" if k == 1 else f"{k} segments"
    said = [f"{what}: {votes[k]:.2g} of {sum(votes.values()):.2g} votes."]
    for number in [k, *sorted(set(votes) - {k}, key=lambda other: -votes[other])]:
        names = [words[name] for name in choices.loc[choices["k"] == number, "criterion"]]
        choose = "says" if len(names) == 1 else "say"
        said.append(f"{_listed(names)} {choose} {number}.")
    is_silent = choices["k"].isna() & (choices["reason"] != NOT_MEASURED)
    if silent := [words[name] for name in choices.loc[is_silent, "criterion"]]:
        said.append(f"{_listed(silent)} {'does' if len(silent) == 1 else 'do'} not choose.")
    if len(votes) == 1:
        said.append("All that choose agree.")
    kind_words = _KINDS["disputed" if kind == "natural" and is_disputed(choices, k) else kind]
    if k == 1:
        kind_words = kind_words.replace("They are", "Segments made nevertheless would be", 1)
    said.append(kind_words)
    if not math.isnan(hopkins):
        said.append(f"Hopkins' statistic is {hopkins:.2f} (0.5: spread at random).")
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

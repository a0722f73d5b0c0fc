"""One interface for every clusterer: segments for the fitted customers and for new ones.

What a fitted clusterer keeps is a rule that gives any customer a segment. There are four:

=================  ==============================================================================
rule               segment of a customer
=================  ==============================================================================
native             the clusterer's own ``predict``: nearest centre, most probable component
core_points        that of the nearest core point within ``eps``, else noise (Ester, Kriegel,
                   Sander and Xu 1996, KDD-96: how DBSCAN itself takes in a border point)
nearest_centroid   that of the nearest mean (Euclidean) of the fitted customers of a segment
nearest_neighbors  that of the nearest fitted customer, who may be noise. Of a clusterer that finds
                   noise also noise, if the nearest customer who has a segment is farther than
                   anybody in that segment is from its nearest neighbour there
=================  ==============================================================================

Distances are computed pair by pair: a customer gets the same answer in any company.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    Birch,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
)
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from segexp.clustering.distances import Distance, Gower, euclidean, in_blocks
from segexp.errors import ConfigError, DataError, did_you_mean

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.intp]

ASSIGNMENTS = ("native", "core_points", "nearest_centroid", "nearest_neighbors")
NOISE = -1
# Beyond the distance that so many of the training customers keep, a customer is unlike anybody.
USUAL_SHARE = 0.99
# scikit-learn's names of the distances that can be computed for new customers, and scipy's.
METRICS = {
    "euclidean": "euclidean",
    "l2": "euclidean",
    "manhattan": "cityblock",
    "cityblock": "cityblock",
    "l1": "cityblock",
    "chebyshev": "chebyshev",
    "minkowski": "minkowski",
    "cosine": "cosine",
    "canberra": "canberra",
    "braycurtis": "braycurtis",
    "hamming": "hamming",
}


class ClusteringError(DataError, ValueError):
    """A clusterer cannot segment these customers; a ValueError, as scikit-learn promises."""


@dataclass(frozen=True)
class Assignment:
    """Where customers belong, how sure that is, and who is unlike anybody.

    Attributes
    ----------
    segment : ndarray of int of shape (n,)
        -1 is noise.
    confidence : ndarray of float of shape (n,)
        In [0, 1], of the segment that is given, and not comparable between clusterers. Mixtures:
        the posterior probability. Rules with centres: the margin ``1 - d1 / d2`` of the distances
        to the own and to the nearest other segment, 1 where there is no other. Rules with
        neighbours: the share of the ``n_neighbors`` nearest fitted customers (of the core points
        for ``core_points``) who are in the segment. Noise: ``1 - reach / d``, the distance ``d``
        to the nearest customer of a segment beyond the segment's reach (``eps``, or the distance
        in the table above), 0 within it. Where there is no segment at all it is 1, as it is where
        there is only one: no other answer is possible, which says nothing of the customer.
    unlike : ndarray of bool of shape (n,)
        Farther than ``limit_`` of the :class:`Segmenter`, or infinitely far, which is everybody
        where there is nobody to be compared with (no core point, no centre). Customers who are
        noise are compared like others, so some of them are not unlike anybody.
    """

    segment: Labels
    confidence: Floats
    unlike: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Answer:
    segment: Labels
    confidence: Floats
    distance: Floats  # to the own centre or the nearest customer; minus log density of mixtures


@dataclass(frozen=True)
class _Centers:
    """The segment of the nearest centre; a segment may have several."""

    points: Floats  # (m, d)
    segments: Labels  # (m,) sorted

    @classmethod
    def of(cls, points: Floats, segments: Labels) -> _Centers:
        order = np.argsort(segments, kind="stable")
        return cls(np.asarray(points, dtype=float)[order], segments[order])

    def renumbered(self, order: Labels) -> _Centers:
        return _Centers.of(self.points, np.argsort(order)[self.segments])

    def distances(self, Z: Floats) -> Floats:
        """Distance of each customer to each segment, shape (n, k)."""
        starts = np.flatnonzero(np.diff(self.segments, prepend=-1))
        found = np.empty((len(Z), len(starts)))
        for rows, block in in_blocks(euclidean, Z, self.points):
            found[rows] = np.minimum.reduceat(block, starts, axis=1)
        return found

    def __call__(self, Z: Floats) -> _Answer:
        if not len(self.points):
            return _nobody(len(Z))
        distances = self.distances(Z)
        return _by_margin(distances, distances.argmin(axis=1))


@dataclass(frozen=True)
class _Customers:
    """The segment of the nearest fitted customer, within the reach of that segment."""

    points: Floats  # (m, d)
    segments: Labels  # (m,), -1 is noise
    reach: Floats  # (k,)
    metric: dict[str, Any]  # of scipy's cdist
    n_neighbors: int

    def renumbered(self, order: Labels) -> _Customers:
        # Noise, -1, finds the last place.
        numbers = np.append(np.argsort(order), NOISE)
        return dataclasses.replace(self, segments=numbers[self.segments], reach=self.reach[order])

    def __call__(self, Z: Floats, own: Labels | None = None) -> _Answer:
        """Answer for the customers ``Z``; ``own`` is the point that each must not look at, or -1.

        Then the confidence is left out: it is NaN.
        """
        answer = _nobody(len(Z))
        clustered = np.flatnonzero(self.segments >= 0)
        for rows, block in in_blocks(_distance(self.metric), Z, self.points):
            if not block.size:
                break
            if own is not None:
                itself = np.flatnonzero(own[rows] >= 0)
                block[itself, own[rows][itself]] = np.inf
            answer.distance[rows] = block.min(axis=1)
            if not len(clustered):
                continue
            among = block if len(clustered) == len(self.segments) else block[:, clustered]
            nearest = self.segments[clustered[among.argmin(axis=1)]]
            away, reach = among.min(axis=1), self.reach[nearest]
            is_noise = (self.segments[block.argmin(axis=1)] < 0) | (away > reach) | np.isinf(away)
            answer.segment[rows] = segment = np.where(is_noise, NOISE, nearest)
            if own is not None:
                answer.confidence[rows] = np.nan
                continue
            n_near = min(self.n_neighbors, len(self.points))
            near = self.segments[np.argpartition(block, n_near - 1, axis=1)[:, :n_near]]
            share = (near == segment[:, None]).mean(axis=1)
            answer.confidence[rows] = np.where(is_noise, _margin(reach, away), share)
        return answer


@dataclass(frozen=True)
class _Native:
    """What a clusterer that predicts by itself says."""

    clusterer: Any
    numbers: Labels  # (k,) the clusterer's own label of each segment
    centers: Floats | None  # (k, d), for clusterers that have neither probabilities nor distances

    def renumbered(self, order: Labels) -> _Native:
        centers = None if self.centers is None else self.centers[order]
        return _Native(self.clusterer, self.numbers[order], centers)

    def probabilities(self, Z: Any) -> Floats:
        """Posterior of each segment; components that no fitted customer is in are left out."""
        found = np.asarray(self.clusterer.predict_proba(Z), dtype=float)[:, self.numbers]
        total = found.sum(axis=1, keepdims=True)
        return np.divide(found, total, out=np.full_like(found, 1 / found.shape[1]), where=total > 0)

    def __call__(self, Z: Any) -> _Answer:
        if not len(self.numbers):
            return _nobody(len(Z))
        if hasattr(self.clusterer, "predict_proba"):
            posterior = self.probabilities(Z)
            if hasattr(self.clusterer, "score_samples"):
                distance = -np.asarray(self.clusterer.score_samples(Z), dtype=float)
            else:
                distance = self._distances(Z).min(axis=1)
            return _Answer(posterior.argmax(axis=1), posterior.max(axis=1), distance)
        distances = self._distances(Z)
        if self.centers is None:
            return _by_margin(distances, distances.argmin(axis=1))
        same = np.asarray(self.clusterer.predict(Z))[:, None] == self.numbers
        # A label that no fitted customer has is no segment.
        return _by_margin(distances, np.where(same.any(axis=1), same.argmax(axis=1), NOISE))

    def _distances(self, Z: Any) -> Floats:
        if self.centers is None:
            return np.asarray(self.clusterer.distances(Z), dtype=float)[:, self.numbers]
        return euclidean(Z, self.centers)


Rule: TypeAlias = _Centers | _Customers | _Native


class _Fitted(NamedTuple):
    """A rule, and what it says of the customers it was made from.

    Rules with neighbours look at the other customers only, in both. The means of
    ``nearest_centroid`` are without the customer for the agreement, not for the distances; native
    rules are asked as they are, about customers who took part in their making.
    """

    rule: Rule
    agreement: float
    distances: Floats


class Segmenter(ClusterMixin, BaseEstimator):
    """Segments from any clusterer, for the fitted customers and for new ones.

    Parameters
    ----------
    clusterer : estimator
        A clusterer or mixture of scikit-learn, or one like them.
    assignment : {"auto", "native", "core_points", "nearest_centroid", "nearest_neighbors"}
        How a customer gets a segment; the rules are described at the top of this module. "auto"
        is the clusterer's own rule where it has one, ``core_points`` for DBSCAN and
        ``nearest_neighbors`` for others that find noise; else that of ``nearest_centroid`` and
        ``nearest_neighbors`` which agrees better with the clusterer.
    max_rows : int, optional
        Fit the clusterer on a random sample of so many rows, and assign the others by the rule.
    n_neighbors : int
        Neighbours that the confidence looks at.
    random_state : int or RandomState, optional
        Draws the sample; the clusterer gets it, too, where its own ``random_state`` is None.

    Attributes
    ----------
    names_ : tuple of str
        Those of a clusterer that names its segments (``segment_names_``), or numbers from 1.
    labels_ : ndarray of int of shape (n,)
        Segment of each training customer. The segments are numbered by size, the largest is 0 (of
        two of one size the one that has the first row); -1 is noise.
    n_segments_ : int
        0 where everybody is noise.
    sizes_ : ndarray of int of shape (n_segments,)
    noise_share_ : float
    centers_ : ndarray of float of shape (n_segments, d), or None
        Mean of each segment; None for tables with categories.
    assignment_ : str
        The rule in use.
    agreements_ : dict of str to float
        For each rule that was considered, the share of the fitted customers whom it gives the
        segment that the clusterer gave. Neighbours are the other customers, centres the means of
        the others: these rules do not look at the customer itself. "native" does, and repeats
        what was fitted.
    agreement_ : float
        That of the rule in use.
    limit_ : float
        99th percentile of the training customers' distances to their centre, to the nearest other
        customer (or core point), or of their minus log density: anybody beyond is unlike them.
        Customers infinitely far are left out; infinite where nobody is left.
    distance_ : Gower or None
        For tables, Gower's distance with the ranges of the training rows, all of them also where
        ``max_rows`` is less: what other customers' segments are to be judged by. None for arrays.
    n_fitted_rows_ : int
    clusterer_ : estimator or None
        The fitted clusterer, where the rule needs it; otherwise only the rule's numbers are kept.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    A parameter of the clusterer can be set by its plain name, ``set_params(n_clusters=4)``, where
    the Segmenter has none of that name; ``clusterer__n_clusters`` always reaches the clusterer.

    Examples
    --------
    >>> from sklearn.cluster import AgglomerativeClustering
    >>> spending = [[0.0], [1.0], [2.0], [10.0], [11.0]]
    >>> segmenter = Segmenter(AgglomerativeClustering(n_clusters=2)).fit(spending)
    >>> segmenter.labels_
    array([0, 0, 0, 1, 1])
    >>> segmenter.predict([[3.0], [9.0]])
    array([0, 1])
    """

    def __init__(
        self,
        clusterer: Any,
        *,
        assignment: str = "auto",
        max_rows: int | None = None,
        n_neighbors: int = 5,
        random_state: Any = None,
    ) -> None:
        self.clusterer = clusterer
        self.assignment = assignment
        self.max_rows = max_rows
        self.n_neighbors = n_neighbors
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; if ``deep``, also the clusterer's by their plain names."""
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep and hasattr(self.clusterer, "get_params"):
            params = {**self.clusterer.get_params(), **params}
        return params

    def set_params(self, **params: Any) -> Segmenter:
        """Set parameters; a name that is not the Segmenter's own is one of the clusterer."""
        own_names = set(super().get_params(deep=False))
        own = {name: params[name] for name in params if name.partition("__")[0] in own_names}
        super().set_params(**own)
        if len(own) < len(params):
            self.clusterer.set_params(**{name: params[name] for name in params if name not in own})
        return self

    def fit(self, X: Any, y: Any = None) -> Segmenter:
        """Find the segments of ``X``, shape (n, d); ``y`` is ignored.

        Raises
        ------
        ConfigError
            If a parameter is wrong, or the clusterer cannot be used with the rule.
        ClusteringError
            If the clusterer fails, for example because there are fewer customers than segments.
        """
        self._check_params()
        X = self._checked(X, reset=True)
        n = len(X)
        fitted_rows = self._fitted_rows(n)
        Z = _take(X, fitted_rows)
        clusterer = self._seeded_clusterer()
        labels, numbers = _by_size(_cluster(clusterer, Z))
        candidates = {
            name: _fit_rule(name, clusterer, Z, labels, numbers, self.n_neighbors)
            for name in self._candidates(clusterer, Z, labels)
        }
        name = max(candidates, key=lambda rule: candidates[rule].agreement)
        rule, agreement, distances = candidates[name]

        others = np.setdiff1d(np.arange(n), fitted_rows)
        everybody = np.empty(n, dtype=np.intp)
        everybody[fitted_rows] = labels
        if len(others):
            answer = rule(_take(X, others))
            everybody[others] = answer.segment
            distances = np.concatenate([distances, answer.distance])
        self.labels_, order = _by_size(everybody)
        self._rule = rule.renumbered(order)
        self.clusterer_ = rule.clusterer if isinstance(rule, _Native) else None
        self.n_segments_ = len(order)
        self.sizes_ = np.bincount(self.labels_[self.labels_ >= 0], minlength=len(order))
        self.noise_share_ = float(np.mean(self.labels_ == NOISE))
        self.centers_ = _means(X, self.labels_) if isinstance(X, np.ndarray) else None
        self.assignment_ = name
        self.agreements_ = {rule_: found.agreement for rule_, found in candidates.items()}
        self.agreement_ = agreement
        finite = distances[np.isfinite(distances)]
        self.limit_ = float(np.quantile(finite, USUAL_SHARE)) if len(finite) else np.inf
        self.distance_ = Gower.of(X) if isinstance(X, pd.DataFrame) else None
        self.n_fitted_rows_ = len(fitted_rows)
        return self

    @property
    def names_(self) -> tuple[str, ...]:
        """Names of the segments: the clusterer's own, or numbers from 1, the largest first."""
        check_is_fitted(self)
        own = getattr(self.clusterer_, "segment_names_", None)
        if own is None:
            return tuple(str(number + 1) for number in range(self.n_segments_))
        rule: Any = self._rule
        return tuple(str(own[number]) for number in rule.numbers)

    @property
    def unseen_names_(self) -> tuple[str, ...]:
        """Names of the clusterer's own for segments that no training customer is in."""
        check_is_fitted(self)
        own = getattr(self.clusterer_, "segment_names_", ())
        return tuple(str(own[number]) for number in self._unseen_numbers())

    def _unseen_numbers(self) -> list[int]:
        rule: Any = self._rule
        own = getattr(self.clusterer_, "segment_names_", ())
        return [number for number in range(len(own)) if number not in rule.numbers]

    def predict(self, X: Any) -> Labels:
        """Return the segment of each customer, -1 for noise."""
        return self._answer(X).segment

    def assign(self, X: Any, *, unseen: bool = False) -> Assignment:
        """Return the segment of each customer, how sure it is, and who is unlike anybody.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n, d)
        unseen : bool
            Whether segments count that the clusterer knows by name, though no training customer is
            in them. They are numbered on from ``n_segments_`` in the order of ``unseen_names_``,
            with a confidence of 0; otherwise they are noise.
        """
        answer = self._answer(X)
        is_unlike = (answer.distance > self.limit_) | np.isposinf(answer.distance)
        segment = answer.segment
        if unseen and (numbers := self._unseen_numbers()):
            clusterer: Any = self.clusterer_
            said = np.asarray(clusterer.predict(self._checked(X, reset=False)))
            is_own = said[:, None] == numbers
            segment = np.where(is_own.any(1), self.n_segments_ + is_own.argmax(1), segment)
        return Assignment(segment, answer.confidence, is_unlike)

    @available_if(lambda self: self._has_posterior())  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Floats:
        """Return the posterior probability of each segment, shape (n, n_segments).

        Only mixtures and latent classes have one.
        """
        check_is_fitted(self)
        rule: Any = self._rule
        return rule.probabilities(self._checked(X, reset=False))

    def _answer(self, X: Any) -> _Answer:
        check_is_fitted(self)
        return self._rule(self._checked(X, reset=False))

    def _has_posterior(self) -> bool:
        return hasattr(self.clusterer, "predict_proba") and self.assignment in ("auto", "native")

    def _check_params(self) -> None:
        if self.assignment not in ("auto", *ASSIGNMENTS):
            hint = did_you_mean(self.assignment, ASSIGNMENTS)
            raise ConfigError(
                f"Segmenter has no assignment {self.assignment!r}; there is auto, "
                f"{', '.join(ASSIGNMENTS)}{hint}"
            )
        if self.max_rows is not None and self.max_rows < 1:
            raise ConfigError(
                f"Segmenter needs max_rows of 1 or more, or null for all, got {self.max_rows}"
            )
        if self.n_neighbors < 1:
            raise ConfigError(f"Segmenter needs n_neighbors of 1 or more, got {self.n_neighbors}")

    def _checked(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, pd.DataFrame) and (
            get_tags(self.clusterer).input_tags.categorical
            or any(isinstance(dtype, pd.CategoricalDtype) for dtype in X.dtypes)
        ):
            return validate_data(self, X, reset=reset, skip_check_array=True)
        return validate_data(self, X, reset=reset, dtype=np.float64, order="C")

    def _fitted_rows(self, n: int) -> Labels:
        if self.max_rows is None or n <= self.max_rows:
            return np.arange(n)
        drawn = check_random_state(self.random_state).choice(n, self.max_rows, replace=False)
        return np.sort(drawn)

    def _seeded_clusterer(self) -> Any:
        clusterer = clone(self.clusterer)
        if self.random_state is not None and clusterer.get_params().get("random_state", 0) is None:
            clusterer.set_params(random_state=self.random_state)
        return clusterer

    def _candidates(self, clusterer: Any, Z: Any, labels: Labels) -> Sequence[str]:
        is_native, has_core = hasattr(clusterer, "predict"), isinstance(clusterer, DBSCAN)
        if self.assignment == "auto":
            if is_native:
                return ["native"]
            if has_core:
                return ["core_points"]
            if _finds_noise(clusterer, labels):
                return ["nearest_neighbors"]
            return ["nearest_centroid", "nearest_neighbors"]
        name = type(clusterer).__name__
        if self.assignment == "native" and not is_native:
            raise ConfigError(f"{name} has no predict of its own: assignment cannot be native")
        if self.assignment == "core_points" and not has_core:
            raise ConfigError(f"{name} has no core points: assignment=core_points is for DBSCAN")
        if self.assignment != "native" and isinstance(Z, pd.DataFrame):
            raise ConfigError(
                f"assignment={self.assignment} needs numbers only; {name} has its own"
            )
        return [self.assignment]

    # skops refuses to save a Birch, even one that is not fitted, for the tree that it may hold.

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = {**super().__getstate__()}
        if isinstance(self.clusterer, Birch):
            state["clusterer"] = self.clusterer.get_params()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["clusterer"], dict):
            state = {**state, "clusterer": Birch(**state["clusterer"])}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = get_tags(self.clusterer).input_tags
        # HDBSCAN takes missing numbers, but nobody could be compared with them.
        tags.input_tags = dataclasses.replace(
            own, sparse=False, pairwise=False, allow_nan=own.allow_nan and own.categorical
        )
        return tags


def _cluster(clusterer: Any, Z: Any) -> Labels:
    """Fit the clusterer and return its own labels; everything negative becomes noise."""
    name = type(clusterer).__name__
    if getattr(clusterer, "metric", None) == "precomputed" or (
        getattr(clusterer, "affinity", None) in ("precomputed", "precomputed_nearest_neighbors")
    ):
        raise ConfigError(f"{name} is given customers, not distances: precomputed is not possible")
    try:
        # OPTICS divides by the reachability 0 of identical customers.
        with np.errstate(divide="ignore"):
            clusterer.fit(Z)
    except ValueError as error:
        n, d = Z.shape
        raise ClusteringError(
            f"{name} could not segment {n} {'customer' if n == 1 else 'customers'} "
            f"({n} sample{'s' * (n != 1)}) of {d} columns: {' '.join(str(error).split())}"
        ) from error
    labels = clusterer.labels_ if hasattr(clusterer, "labels_") else clusterer.predict(Z)
    return np.maximum(np.asarray(labels, dtype=np.intp), NOISE)


def _by_size(labels: Labels) -> tuple[Labels, Labels]:
    """Number the segments by size; ties by first row.

    Returns
    -------
    numbered : ndarray of shape (n,)
    order : ndarray of shape (k,)
        The former label of each segment.
    """
    found, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    by_size = np.lexsort((first, -sizes))
    numbered = np.full(len(labels), NOISE, dtype=np.intp)
    numbered[labels >= 0] = np.argsort(by_size)[np.searchsorted(found, labels[labels >= 0])]
    return numbered, found[by_size]


def _fit_rule(
    name: str, clusterer: Any, Z: Any, labels: Labels, numbers: Labels, n_neighbors: int
) -> _Fitted:
    if name == "native":
        return _native(clusterer, Z, labels, numbers)
    if name == "core_points":
        return _core_points(clusterer, Z, labels, n_neighbors)
    if name == "nearest_centroid":
        return _nearest_centroid(Z, labels)
    return _nearest_neighbors(clusterer, Z, labels, n_neighbors)


def _native(clusterer: Any, Z: Any, labels: Labels, numbers: Labels) -> _Fitted:
    rule: Rule
    if isinstance(clusterer, Birch):
        rule = _kept_centers(clusterer.subcluster_centers_, clusterer.subcluster_labels_, numbers)
    elif isinstance(clusterer, KMeans | MiniBatchKMeans | MeanShift | AffinityPropagation):
        centers = clusterer.cluster_centers_
        rule = _kept_centers(centers, np.arange(len(centers)), numbers)
    else:
        measures = hasattr(clusterer, "distances") or hasattr(clusterer, "score_samples")
        rule = _Native(clusterer, numbers, None if measures else _means(Z, labels))
    answer = rule(Z)
    return _Fitted(rule, float(np.mean(answer.segment == labels)), answer.distance)


def _kept_centers(points: Floats, labels: Labels, numbers: Labels) -> _Centers:
    """Centres of the segments that have customers."""
    same = np.asarray(labels)[:, None] == numbers
    used = same.any(axis=1)
    return _Centers.of(points[used], same[used].argmax(axis=1))


def _core_points(clusterer: DBSCAN, Z: Floats, labels: Labels, n_neighbors: int) -> _Fitted:
    core = clusterer.core_sample_indices_
    reach = np.full(labels.max(initial=NOISE) + 1, float(clusterer.eps))
    rule = _Customers(Z[core], labels[core], reach, _metric(clusterer), n_neighbors)
    own = np.full(len(Z), -1)
    own[core] = np.arange(len(core))
    return _left_out(rule, Z, labels, own)


def _nearest_neighbors(clusterer: Any, Z: Floats, labels: Labels, n_neighbors: int) -> _Fitted:
    metric = _metric(clusterer)
    n_segments = labels.max(initial=NOISE) + 1
    reach = np.full(n_segments, np.inf)
    if _finds_noise(clusterer, labels):
        reach = np.array([_widest_gap(Z[labels == j], metric) for j in range(n_segments)])
    rule = _Customers(Z, labels, reach, metric, n_neighbors)
    return _left_out(rule, Z, labels, np.arange(len(Z)))


def _finds_noise(clusterer: Any, labels: Labels) -> bool:
    return isinstance(clusterer, DBSCAN | HDBSCAN | OPTICS) or bool((labels == NOISE).any())


def _left_out(rule: _Customers, Z: Floats, labels: Labels, own: Labels) -> _Fitted:
    answer = rule(Z, own)
    return _Fitted(rule, float(np.mean(answer.segment == labels)), answer.distance)


def _widest_gap(Z: Floats, metric: dict[str, Any]) -> float:
    """Largest distance of a customer to its nearest neighbour; 0 of one customer."""
    gaps = [0.0]
    for rows, block in in_blocks(_distance(metric), Z, Z):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        gaps.append(float(block.min(axis=1).max()))
    return max(gaps) if len(Z) > 1 else 0.0


def _nearest_centroid(Z: Floats, labels: Labels) -> _Fitted:
    means = _means(Z, labels)
    rule = _Centers.of(means, np.arange(len(means)))
    answer = rule(Z)
    if not len(means):
        return _Fitted(rule, 1.0, answer.distance)
    # A mean of m customers without x lies m / (m - 1) times as far from x; of one, nowhere.
    distances = rule.distances(Z)
    rows = np.flatnonzero(labels >= 0)
    sizes = np.bincount(labels[rows])[labels[rows]]
    factor = sizes / np.maximum(sizes - 1, 1)
    own = distances[rows, labels[rows]] * factor
    distances[rows, labels[rows]] = np.where(sizes > 1, own, np.inf)
    agreement = float(np.mean(distances.argmin(axis=1) == labels))
    return _Fitted(rule, agreement, answer.distance)


def _metric(clusterer: Any) -> dict[str, Any]:
    """Keywords of scipy's ``cdist`` for the clusterer's distance; Euclidean where it has none."""
    name = getattr(clusterer, "metric", "euclidean")
    if not isinstance(name, str) or name not in METRICS:
        raise ConfigError(
            f"metric {name!r} of {type(clusterer).__name__} cannot be used for new customers; "
            f"use one of {', '.join(METRICS)}"
        )
    metric: dict[str, Any] = {"metric": METRICS[name]}
    if name == "minkowski":
        p = getattr(clusterer, "p", None)
        metric.update({"p": 2 if p is None else p, **(clusterer.metric_params or {})})
    return metric


def _distance(metric: dict[str, Any]) -> Distance:
    return _cosine if metric["metric"] == "cosine" else partial(cdist, **metric)


def _cosine(A: Floats, B: Floats) -> Floats:
    # scipy leaves the distance of a customer of zeros open; scikit-learn says 1.
    distances = cdist(A, B, metric="cosine")
    distances[np.isnan(distances)] = 1
    return distances


def _means(Z: Floats, labels: Labels) -> Floats:
    n_segments = labels.max(initial=NOISE) + 1
    means = [Z[labels == segment].mean(axis=0) for segment in range(n_segments)]
    return np.array(means).reshape(n_segments, Z.shape[1])


def _by_margin(distances: Floats, segment: Labels) -> _Answer:
    """Answer of a rule with centres from the distances to all segments, shape (n, k)."""
    rows = np.arange(len(segment))
    # Who has no segment is measured to the nearest.
    column = np.where(segment >= 0, segment, distances.argmin(axis=1))
    own = distances[rows, column]
    others = distances.copy()
    others[rows, column] = np.inf
    return _Answer(segment, np.where(segment >= 0, _margin(own, others.min(axis=1)), 0.0), own)


def _margin(own: Floats, other: Floats) -> Floats:
    """Return ``1 - own / other`` in [0, 1]: 0 where both are zero, 1 where there is no other."""
    ratio = np.divide(own, other, out=np.ones_like(other), where=(other > 0) & np.isfinite(own))
    return np.clip(1 - ratio, 0, 1)


def _nobody(n: int) -> _Answer:
    """Answer of a rule without any segment: noise, for there is nothing else, and unlike all."""
    return _Answer(np.full(n, NOISE, dtype=np.intp), np.ones(n), np.full(n, np.inf))


def _take(X: Any, rows: Labels) -> Any:
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]

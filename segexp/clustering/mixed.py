"""Clusterers for mixed data: tables of numbers and pandas categories.

All take a DataFrame whose columns are float or pandas category, or an array, whose columns are
then all numbers. A category that no customer had in ``fit`` differs from everybody's. Fitted, they
hold arrays, lists and dicts only.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.cluster.hierarchy import linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist, squareform
from scipy.special import logsumexp, xlogy
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from segexp.clustering.distances import Gower, in_blocks
from segexp.errors import ConfigError, DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.intp]

_POSITIVE = Interval(Integral, 1, None, closed="left")


class _Mixed(ClusterMixin, BaseEstimator):
    """A clusterer of tables of numbers and categories.

    Attributes
    ----------
    categories_ : dict of list
        Categories of each column that has them.
    """

    # What to do about missing numbers; Gower's distance can leave them out.
    _missing_numbers: ClassVar[bool] = False

    def _learn(self, X: Any, n_segments: int) -> pd.DataFrame:
        """Check a table to be fitted, and remember its columns."""
        self._validate_params()
        Z = self._checked(X, reset=True)
        if len(Z) < n_segments:
            raise DataError(
                f"{type(self).__name__}: {n_segments} segments need as many customers, got {len(Z)}"
            )
        self.categories_ = {
            str(name): Z[name].cat.categories.tolist() for name in Z if _is_category(Z[name])
        }
        return Z

    def _known(self, X: Any) -> pd.DataFrame:
        """Check a table of customers to be assigned."""
        check_is_fitted(self)
        Z = self._checked(X, reset=False)
        for name in Z:
            if _is_category(Z[name]) != (name in self.categories_):
                wanted = "category" if name in self.categories_ else "numbers"
                raise DataError(f"column {name!r} was {wanted} in training, now {Z[name].dtype}")
        return Z

    def _checked(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            Z = X
        else:
            finite: Any = "allow-nan" if self._missing_numbers else True
            Z = pd.DataFrame(
                validate_data(self, X, dtype=float, reset=reset, ensure_all_finite=finite)
            )
        if not len(Z):
            raise DataError(f"{type(self).__name__}: the table has no customers (0 sample(s))")
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(Z.shape[1])])
        Z = Z.set_axis(list(names), axis=1)
        for name in Z:
            if _is_category(Z[name]):
                continue
            if not pd.api.types.is_numeric_dtype(Z[name].dtype):
                raise DataError(
                    f"column {name!r} is {Z[name].dtype}; {type(self).__name__} needs numbers or "
                    "pandas categories"
                )
            if np.isinf(Z[name]).any():
                raise DataError(f"column {name!r} has infinite numbers; clip or impute them")
            if Z[name].isna().any() and not self._missing_numbers:
                raise DataError(
                    f"column {name!r} has missing numbers; {type(self).__name__} needs them imputed"
                )
        return Z

    def _numbers(self, Z: pd.DataFrame) -> Floats:
        """Return the numeric columns, shape (n, p)."""
        names = [name for name in Z if name not in self.categories_]
        return np.ascontiguousarray(Z[names].to_numpy(dtype=float, na_value=np.nan))

    def _codes(self, Z: pd.DataFrame) -> Integers:
        """Number the categories, shape (n, q): m for the missing of m categories, -1 for new."""
        codes = np.empty((len(Z), len(self.categories_)), dtype=np.intp)
        for j, (name, levels) in enumerate(self.categories_.items()):
            known = pd.Index(levels).get_indexer(Z[name].cat.categories)
            codes[:, j] = np.append(known, len(levels))[Z[name].cat.codes.to_numpy()]
        return codes

    def _table(self, numbers: Floats, codes: Integers) -> pd.DataFrame:
        """Return the table that :meth:`_numbers` and :meth:`_codes` were made of."""
        names = getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)])
        numeric, categorical = iter(numbers.T), iter(codes.T)
        columns = {}
        for name in names:
            if name in self.categories_:
                levels, column = self.categories_[name], next(categorical)
                column = np.where(column < len(levels), column, -1)
                columns[name] = pd.Categorical.from_codes(column, pd.Index(levels))
            else:
                columns[name] = next(numeric)
        return pd.DataFrame(columns)

    def distances(self, X: Any) -> Floats:
        """Return the distance of each customer to each segment, shape (n, k)."""
        raise NotImplementedError

    def predict(self, X: Any) -> Integers:
        """Return the nearest segment of each customer, shape (n,)."""
        return self.distances(X).argmin(axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._missing_numbers
        tags.input_tags.categorical = True
        return tags


def _is_category(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


class KPrototypes(_Mixed):
    """k-means for mixed data: a segment's prototype has means of numbers and modes of categories.

    The cost of a customer is the squared Euclidean distance to the means of the segment plus
    ``gamma`` for each category that is not the segment's most frequent one (Huang 1998, Extensions
    to the k-means algorithm for clustering large data sets with categorical values, Data Mining
    and Knowledge Discovery 2:283-304). Customers are assigned all at once, as by k-means of Lloyd.
    Without numeric columns this is k-modes; without categories, k-means. A missing category is a
    category of its own.

    Parameters
    ----------
    n_clusters : int, default=5
    gamma : float, optional
        Price of a mismatch, in units of the squared numbers. Without it half the mean standard
        deviation of the numeric columns (Huang 1997 found good values between a third and two
        thirds of it), or 1 where these do not vary.
    init : {"k-means++", "cao"}, default="k-means++"
        First prototypes: customers drawn one by one, with odds in proportion to their cost (Arthur
        and Vassilvitskii 2007); or those who are far from each other and whose categories are
        frequent (Cao, Liang and Bai 2009, Expert Systems with Applications 36(7):10223-10228),
        where nothing is random.
    n_init : int, default=10
        Starts; the one with the lowest cost is kept. ``"cao"`` needs only one.
    max_iter : int, default=100
        Most rounds of each start.
    random_state : int, RandomState or None

    Attributes
    ----------
    labels_ : ndarray of int of shape (n,)
        The segment of the nearest prototype, as ``predict`` says. None is empty, unless fewer
        customers than ``n_clusters`` differ.
    means_ : ndarray of shape (n_clusters, n_numeric)
    modes_ : ndarray of int of shape (n_clusters, n_categorical)
        Number of the category in ``categories_``; the one after the last is the missing.
    cost_ : float
        Sum of the costs of all customers.
    gamma_ : float
    n_iter_ : int
    categories_ : dict of list
        Categories of each column that has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [_POSITIVE],
        "gamma": [None, Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"k-means++", "cao"})],
        "n_init": [_POSITIVE],
        "max_iter": [_POSITIVE],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters: int = 5,
        *,
        gamma: float | None = None,
        init: str = "k-means++",
        n_init: int = 10,
        max_iter: int = 100,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.gamma = gamma
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the prototypes of the customers of ``X``."""
        Z = self._learn(X, self.n_clusters)
        numbers, codes = self._numbers(Z), self._codes(Z)
        spread = numbers.std(axis=0).mean() / 2 if numbers.shape[1] else 0.0
        self.gamma_ = float(self.gamma if self.gamma is not None else spread or 1.0)
        random = check_random_state(self.random_state)

        self.cost_ = np.inf
        if self.init == "cao":
            self._improve(numbers, codes, self._dense(numbers, codes))
        else:
            for _ in range(self.n_init):
                self._improve(numbers, codes, self._plus_plus(numbers, codes, random))
        return self

    def _improve(self, numbers: Floats, codes: Integers, first: Integers) -> None:
        """Run from the prototypes that are the customers ``first``; keep the result if better."""
        means, modes = numbers[first], codes[first]
        labels, cost = self._nearest(numbers, codes, means, modes)
        n_iter = 0
        # A segment stays empty only where nobody costs anything any more.
        while n_iter < self.max_iter and not self._is_empty(labels).any():
            n_iter += 1
            means, modes = self._prototypes(numbers, codes, labels)
            before = labels
            labels, cost = self._nearest(numbers, codes, means, modes)
            if np.array_equal(before, labels):
                break
        if cost < self.cost_:
            self.cost_, self.labels_, self.n_iter_ = cost, labels, max(n_iter, 1)
            self.means_, self.modes_ = means, modes

    def _costs(self, numbers: Floats, codes: Integers, means: Floats, modes: Integers) -> Floats:
        n, k = len(numbers), len(means)
        costs = cdist(numbers, means, "sqeuclidean") if means.shape[1] else np.zeros((n, k))
        mismatches = np.zeros((n, k), dtype=np.int32)
        for column, levels in zip(codes.T, modes.T, strict=True):
            mismatches += column[:, None] != levels
        return np.asarray(costs + self.gamma_ * mismatches)

    def _nearest(
        self, numbers: Floats, codes: Integers, means: Floats, modes: Integers
    ) -> tuple[Integers, float]:
        """Segment of each customer, and the cost of all.

        A prototype that is nobody's nearest is moved, in place, to the customer who is most
        expensive where they are. That makes this customer cheaper and nobody dearer, so it ends:
        no segment is empty, or nobody costs anything.
        """
        costs = self._costs(numbers, codes, means, modes)
        while True:
            labels, own = costs.argmin(axis=1), costs.min(axis=1)
            empty, farthest = self._is_empty(labels), int(own.argmax())
            if not empty.any() or own[farthest] == 0:
                return labels, float(own.sum())
            moved = int(empty.argmax())
            means[moved], modes[moved] = numbers[farthest], codes[farthest]
            costs[:, moved] = self._cost_of_one(numbers, codes, farthest)

    def _is_empty(self, labels: Integers) -> Any:
        return np.bincount(labels, minlength=self.n_clusters) == 0

    def _prototypes(
        self, numbers: Floats, codes: Integers, labels: Integers
    ) -> tuple[Floats, Integers]:
        k = self.n_clusters
        sizes = np.bincount(labels, minlength=k)
        sums = [np.bincount(labels, weights=column, minlength=k) for column in numbers.T]
        means = np.array(sums).reshape(-1, k).T / sizes[:, None]
        modes = np.empty((k, codes.shape[1]), dtype=np.intp)
        for j, levels in enumerate(self.categories_.values()):
            m = len(levels) + 1
            counts = np.bincount(labels * m + codes[:, j], minlength=k * m)
            modes[:, j] = counts.reshape(k, m).argmax(axis=1)
        return means, modes

    def _plus_plus(self, numbers: Floats, codes: Integers, random: Any) -> Integers:
        chosen = [int(random.randint(len(numbers)))]
        costs = np.full(len(numbers), np.inf)
        while len(chosen) < self.n_clusters:
            costs = np.minimum(costs, self._cost_of_one(numbers, codes, chosen[-1]))
            sums = costs.cumsum()
            drawn = np.searchsorted(sums, random.uniform() * sums[-1], side="right")
            chosen.append(int(min(drawn, len(numbers) - 1)))
        return np.array(chosen)

    def _dense(self, numbers: Floats, codes: Integers) -> Integers:
        # How frequent a customer's categories are, on average; all alike without categories.
        density = np.ones(len(codes))
        if codes.shape[1]:
            shares = [np.bincount(column)[column] / len(column) for column in codes.T]
            density = np.mean(shares, axis=0)
        chosen = [int(density.argmax())]
        nearest = np.full(len(codes), np.inf)
        while len(chosen) < self.n_clusters:
            away = self._cost_of_one(numbers, codes, chosen[-1]) * density
            nearest = np.minimum(nearest, away)
            chosen.append(int(nearest.argmax()))
        return np.array(chosen)

    def _cost_of_one(self, numbers: Floats, codes: Integers, row: int) -> Floats:
        one = slice(row, row + 1)
        return self._costs(numbers, codes, numbers[one], codes[one])[:, 0]

    def distances(self, X: Any) -> Floats:
        """Return the cost of each customer in each segment, shape (n, n_clusters)."""
        Z = self._known(X)
        return self._costs(self._numbers(Z), self._codes(Z), self.means_, self.modes_)

    @property
    def prototypes_(self) -> pd.DataFrame:
        """The prototypes as a table with the columns of ``X``."""
        return self._table(self.means_, self.modes_)


class _GowerClusterer(_Mixed):
    """A clusterer by Gower's distance, which keeps some customers to measure new ones by.

    Attributes
    ----------
    ranges_ : dict of float
        Range of each numeric column, see :class:`~segexp.clustering.distances.Gower`.
    """

    _missing_numbers = True

    def _keep(self, Z: pd.DataFrame, rows: Integers) -> None:
        kept = Z.iloc[rows]
        self.kept_numbers_, self.kept_codes_ = self._numbers(kept), self._codes(kept)

    def _to_kept(self, X: Any) -> Iterator[tuple[slice, Floats]]:
        """Blocks of the distances of new customers to those kept."""
        Z = self._known(X)
        return in_blocks(Gower(self.ranges_), Z, self._table(self.kept_numbers_, self.kept_codes_))

    def _matrix(self, Z: pd.DataFrame) -> Floats:
        gower = Gower.of(Z)
        self.ranges_ = dict(gower.ranges)
        D = np.empty((len(Z), len(Z)))
        for rows, block in in_blocks(gower, Z, Z):
            D[rows] = block
        return D


class GowerKMedoids(_GowerClusterer):
    """Segments around a typical customer each, by Gower's distance (PAM).

    The medoids are customers such that the sum of all customers' distances to the nearest medoid
    is small: first chosen one after the other (BUILD, Kaufman and Rousseeuw 1990, Finding groups
    in data, ch. 2), then exchanged for others as long as one exchange lowers the sum, each as soon
    as it is found (FasterPAM, Schubert and Rousseeuw 2021, Information Systems 101:101804,
    algorithm 4). The distances of all pairs are held in memory: 200 MB for 5,000 customers.

    Parameters
    ----------
    n_clusters : int, default=5
    max_iter : int, default=100
        Most rounds over all customers as candidates.
    random_state : int, RandomState or None
        The order of the candidates.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n,)
    medoid_indices_ : ndarray of int of shape (n_clusters,)
        The row of each segment's medoid.
    cost_ : float
        Sum of the distances to the medoids.
    n_iter_ : int
    ranges_ : dict of float
        Range of each numeric column.
    categories_ : dict of list
        Categories of each column that has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [_POSITIVE],
        "max_iter": [_POSITIVE],
        "random_state": ["random_state"],
    }

    def __init__(
        self, n_clusters: int = 5, *, max_iter: int = 100, random_state: Any = None
    ) -> None:
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the medoids among the customers of ``X``."""
        Z = self._learn(X, self.n_clusters)
        D = self._matrix(Z)
        order = check_random_state(self.random_state).permutation(len(D))
        self.medoid_indices_, self.n_iter_ = _exchange(
            D, _build(D, self.n_clusters), order, self.max_iter
        )
        to_medoids = D[:, self.medoid_indices_]
        self.labels_ = to_medoids.argmin(axis=1)
        self.cost_ = float(to_medoids.min(axis=1).sum())
        self._keep(Z, self.medoid_indices_)
        return self

    def distances(self, X: Any) -> Floats:
        """Return Gower's distance of each customer to each medoid, shape (n, n_clusters)."""
        return np.concatenate([block for _, block in self._to_kept(X)])

    @property
    def medoids_(self) -> pd.DataFrame:
        """The medoids as a table with the columns of ``X``."""
        return self._table(self.kept_numbers_, self.kept_codes_)


def _build(D: Floats, k: int) -> Integers:
    """Choose medoids one after the other, each to lower the sum of distances the most."""
    chosen = [int(D.sum(axis=1).argmin())]
    nearest = D[chosen[0]].copy()
    while len(chosen) < k:
        gains = np.array([np.maximum(nearest - row, 0).sum() for row in D])
        # Identical customers gain nothing, and the same one must not be chosen twice.
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        np.minimum(nearest, D[chosen[-1]], out=nearest)
    return np.array(chosen)


def _exchange(D: Floats, medoids: Integers, order: Integers, max_iter: int) -> tuple[Integers, int]:
    """Exchange medoids for other customers while that lowers the sum of distances."""
    medoids = medoids.copy()
    nearest, first, second, losses = _two_nearest(D, medoids)
    last_change = 0
    for tried, candidate in enumerate(np.tile(order, max_iter), start=1):
        if candidate not in medoids:
            to_candidate = D[candidate]
            # Whoever has the candidate farther than two medoids stays as they are.
            closer = np.flatnonzero(to_candidate < second)
            own, new = nearest[closer], to_candidate[closer]
            improved = np.minimum(new - first[closer], 0)
            # If their medoid goes, they come to the candidate instead of to the second.
            relief = new - second[closer] - improved
            changes = losses + np.bincount(own, weights=relief, minlength=len(medoids))
            changes += improved.sum()
            out = int(changes.argmin())
            # Rounding errors must not exchange two equal customers forever.
            if changes[out] < -1e-12 * len(D):
                medoids[out] = candidate
                nearest, first, second, losses = _two_nearest(D, medoids)
                last_change = tried
        if tried - last_change >= len(order):
            break
    return medoids, -(-tried // len(order))


def _two_nearest(D: Floats, medoids: Integers) -> tuple[Integers, Floats, Floats, Floats]:
    """Nearest medoid, distances to it and to the next one; what it costs to lose each medoid."""
    to_medoids = D[:, medoids]
    nearest: Integers = to_medoids.argmin(axis=1)
    if len(medoids) == 1:
        # All would come to the candidate: measured from zero, any second distance does.
        first = to_medoids[:, 0]
        second = np.full(len(D), D.max() + 1)
    else:
        first, second = np.partition(to_medoids, 1, axis=1)[:, :2].T
    losses = np.bincount(nearest, weights=second - first, minlength=len(medoids)).astype(float)
    return nearest, first, second, losses


class GowerAverage(_GowerClusterer):
    """Hierarchical segments of mixed data: average linkage by Gower's distance.

    The two segments whose customers have the smallest mean distance are joined until
    ``n_clusters`` are left (UPGMA, Sokal and Michener 1958). A new customer belongs to the segment
    to whose customers the mean distance is smallest; of the fitted customers some would by this
    rule belong to another segment than the tree says. The distances of all pairs are held in
    memory: 200 MB for 5,000 customers, and half of that again for the tree.

    Parameters
    ----------
    n_clusters : int, default=5

    Attributes
    ----------
    labels_ : ndarray of int of shape (n,)
    linkage_ : ndarray of shape (n - 1, 4)
        The tree, as of ``scipy.cluster.hierarchy.linkage``.
    ranges_ : dict of float
        Range of each numeric column.
    categories_ : dict of list
        Categories of each column that has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"n_clusters": [_POSITIVE]}

    def __init__(self, n_clusters: int = 5) -> None:
        self.n_clusters = n_clusters

    def fit(self, X: Any, y: Any = None) -> Self:
        """Build the tree of the customers of ``X`` and cut it."""
        Z = self._learn(X, self.n_clusters)
        pairs = squareform(self._matrix(Z), checks=False)
        self.linkage_ = linkage(pairs, "average") if len(Z) > 1 else np.zeros((0, 4))
        self.labels_ = _cut(self.linkage_, self.n_clusters)
        # By segment, so that the members of each stand together.
        self._keep(Z, self.labels_.argsort(kind="stable"))
        self.sizes_ = np.bincount(self.labels_)
        return self

    def distances(self, X: Any) -> Floats:
        """Return the mean distance of each customer to the members of each segment, (n, k)."""
        blocks = self._to_kept(X)
        starts = np.cumsum(self.sizes_) - self.sizes_
        return np.concatenate([np.add.reduceat(D, starts, axis=1) / self.sizes_ for _, D in blocks])


def _cut(tree: Floats, k: int) -> Integers:
    """Label the leaves of a tree by the ``k`` segments that are left after the first joins.

    Unlike ``fcluster``, it gives ``k`` segments also where several joins have the same height.
    """
    n = len(tree) + 1
    n_joins = n - k
    joined = tree[:n_joins, :2].astype(int)
    above = np.repeat(np.arange(n, n + n_joins), 2)
    edges = coo_array((np.ones(2 * n_joins), (above, joined.ravel())), shape=(n + n_joins,) * 2)
    _, labels = connected_components(edges, directed=False)
    return np.unique(labels[:n], return_inverse=True)[1]


class LatentClasses(_Mixed):
    """Latent class analysis: segments as components of a mixture, with degrees of membership.

    Within a class the columns are independent; categories have a probability each, numbers a
    normal distribution (Lazarsfeld and Henry 1968; Wedel and Kamakura 2000, Market segmentation,
    ch. 6-7). Estimated by maximum likelihood with the EM algorithm of StepMix (Morin et al. 2025,
    Journal of Statistical Software 113(8)), which the extra ``lca`` brings; a fitted model works
    without it. Missing categories are left out of a customer's likelihood, which uses all that is
    known (full information).

    Parameters
    ----------
    n_components : int, default=5
    n_init : int, default=10
        Random starts; the likeliest result is kept. EM often ends in a local maximum.
    max_iter : int, default=1000
    tol : float, default=1e-8
        EM ends when the mean log-likelihood of a customer grows by less.
    reg_covar : float, default=1e-6
        Added to the variances, in squared units of the numbers, so that no class shrinks to
        customers of one value.
    random_state : int, RandomState or None

    Attributes
    ----------
    labels_ : ndarray of int of shape (n,)
        The likeliest class of each customer.
    weights_ : ndarray of shape (n_components,)
        Share of each class.
    probabilities_ : dict of ndarray of shape (n_components, n_categories)
        Of each column: probability of each category within each class.
    means_, variances_ : ndarray of shape (n_components, n_numeric)
    n_iter_ : int
    categories_ : dict of list
        Categories of each column that has them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [_POSITIVE],
        "n_init": [_POSITIVE],
        "max_iter": [_POSITIVE],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "reg_covar": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 5,
        *,
        n_init: int = 10,
        max_iter: int = 1000,
        tol: float = 1e-8,
        reg_covar: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.reg_covar = reg_covar
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Estimate the classes of the customers of ``X``.

        Raises
        ------
        ConfigError
            If StepMix is not installed.
        """
        try:
            from stepmix import StepMix
        except ImportError as error:
            raise ConfigError(
                'LatentClasses needs StepMix, which is not installed; pip install "segexp[lca]"'
            ) from error
        Z = self._learn(X, self.n_components)
        # Categories that nobody has are no outcomes: they have no parameters.
        Z = Z.assign(**{name: Z[name].cat.remove_unused_categories() for name in self.categories_})
        self.categories_ = {name: Z[name].cat.categories.tolist() for name in self.categories_}
        if lacking := [name for name, levels in self.categories_.items() if not levels]:
            raise DataError(f"columns without any value: {', '.join(lacking)}; leave them out")
        numbers, codes = self._numbers(Z), self._codes(Z)
        sizes = np.array([len(levels) for levels in self.categories_.values()], dtype=int)
        kinds: dict[str, dict[str, Any]] = {}
        if len(sizes):
            kinds["categories"] = {
                "model": "categorical_nan",
                "n_columns": int(len(sizes) * sizes.max()),
                "integer_codes": False,
                "max_n_outcomes": int(sizes.max()),
                "total_outcomes": int(sizes.sum()),
            }
        if numbers.shape[1]:
            kinds["numbers"] = {
                "model": "gaussian_diag",
                "n_columns": numbers.shape[1],
                "reg_covar": self.reg_covar,
            }
        mixture = StepMix(
            n_components=self.n_components,
            measurement=kinds,
            n_init=self.n_init,
            max_iter=self.max_iter,
            abs_tol=self.tol,
            random_state=self.random_state,
            progress_bar=0,
        )
        mixture.fit(np.hstack([_indicators(codes, sizes), numbers]))

        estimates = mixture.get_parameters()
        self.n_iter_ = int(mixture.n_iter_)
        self.weights_ = np.asarray(estimates["weights"])
        k = self.n_components
        within = estimates["measurement"]
        self.probabilities_ = {}
        for j, name in enumerate(self.categories_):
            shares = np.asarray(within["categories"]["pis"]).reshape(k, len(sizes), -1)
            self.probabilities_[name] = shares[:, j, : sizes[j]].copy()
        normal = within.get("numbers", {"means": np.empty((k, 0)), "covariances": np.empty((k, 0))})
        self.means_ = np.asarray(normal["means"])
        self.variances_ = np.asarray(normal["covariances"])
        self.labels_ = self._log_joint(Z).argmax(axis=1)
        return self

    def _log_joint(self, Z: pd.DataFrame) -> Floats:
        """Log of class share times density in the class, shape (n, n_components)."""
        numbers, codes = self._numbers(Z), self._codes(Z)
        log_joint = np.tile(np.log(np.maximum(self.weights_, _NEVER)), (len(Z), 1))
        for column, shares in zip(codes.T, self.probabilities_.values(), strict=True):
            logs = np.log(np.clip(shares, _NEVER, None))
            # The last two of each: missing says nothing, new is unlikely in every class.
            rest = np.broadcast_to([0, np.log(_NEVER)], (len(shares), 2))
            log_joint += np.hstack([logs, rest]).T[column]
        log_joint -= np.log(2 * np.pi * self.variances_).sum(axis=1) / 2
        for values, means, variances in zip(
            numbers.T, self.means_.T, self.variances_.T, strict=True
        ):
            log_joint -= (values[:, None] - means) ** 2 / (2 * variances)
        return log_joint

    def predict_proba(self, X: Any) -> Floats:
        """Return the posterior probability of each class, shape (n, n_components)."""
        log_joint = self._log_joint(self._known(X))
        return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))

    def score_samples(self, X: Any) -> Floats:
        """Return the log-likelihood of each customer, shape (n,)."""
        return np.asarray(logsumexp(self._log_joint(self._known(X)), axis=1))

    def distances(self, X: Any) -> Floats:
        """Return minus the log of class share times density in the class, (n, n_components).

        The likeliest class is the nearest. It may be below zero, so a ratio of two has no meaning.
        """
        return -self._log_joint(self._known(X))

    @property
    def n_parameters_(self) -> int:
        """Free parameters: shares of the classes, probabilities, means and variances."""
        k = self.n_components
        n_free = sum(len(levels) - 1 for levels in self.categories_.values())
        return k - 1 + k * (n_free + 2 * self.means_.shape[1])

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion; less is better (Schwarz 1978)."""
        scores = self.score_samples(X)
        return float(-2 * scores.sum() + self.n_parameters_ * np.log(len(scores)))

    def aic(self, X: Any) -> float:
        """Return Akaike's information criterion; less is better (Akaike 1974)."""
        return float(-2 * self.score_samples(X).sum() + 2 * self.n_parameters_)

    def icl(self, X: Any) -> float:
        """Return the integrated completed likelihood criterion; less is better.

        BIC plus twice the entropy of the posterior probabilities, ``-sum p log p`` (Biernacki,
        Celeux and Govaert 2000, IEEE TPAMI 22(7):719-725). Programs that put the likeliest class
        alone in place of the probabilities give a lower value.
        """
        posterior = self.predict_proba(X)
        return self.bic(X) - 2 * float(xlogy(posterior, posterior).sum())


# Probability of what never occurred, as StepMix has it.
_NEVER = 1e-15


def _indicators(codes: Integers, sizes: Integers) -> Floats:
    """One column for each category, as many of each variable; NaN where it is missing."""
    n, q = codes.shape
    indicators = np.zeros((n, q, sizes.max(initial=0)))
    rows, columns = np.nonzero(codes < sizes)
    indicators[rows, columns, codes[rows, columns]] = 1
    indicators[codes >= sizes] = np.nan
    return indicators.reshape(n, -1)

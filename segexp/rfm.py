"""Recency, frequency and monetary value: scores and named segments.

Scores and segments after Hughes 1994, Strategic Database Marketing; Miglautsch 2000, Thoughts on
RFM scoring, Journal of Database Marketing 8(1):67-72; Blattberg, Kim and Neslin 2008, Database
Marketing, ch. 12.

Recency counts days since the last purchase, so less is better; of the two others more is better.
Scores are whole numbers from 1 (worst) to ``n_scores`` (best), as floats.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from segexp.errors import ConfigError, DataError, did_you_mean

Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.intp]

ROLES = ("recency", "frequency", "monetary")
SCORES = tuple(f"{role}_score" for role in ROLES)
METHODS = ("quantiles", "nested", "values", "percentiles", "r_rfm")
OTHERS = "Others"

# On which side of an edge a value on it lies (of `searchsorted`): for recency, for the others.
_SIDES = {
    "quantiles": ("right", "left"),
    "nested": ("right", "left"),
    "percentiles": ("right", "left"),
    "r_rfm": ("right", "right"),
    "values": ("left", "right"),
}

# The default segments of the R package rfm, in the order in which they are tried.
TEN = {
    "Champions": {"recency": [5, 5], "frequency": [5, 5], "monetary": [5, 5]},
    "Potential Loyalist": {"recency": [3, 5], "frequency": [3, 5], "monetary": [2, 5]},
    "Loyal Customers": {"recency": [2, 4], "frequency": [2, 4], "monetary": [2, 4]},
    "Promising": {"recency": [3, 4], "frequency": [1, 3], "monetary": [3, 5]},
    "New Customers": {"recency": [4, 5], "frequency": [1, 3], "monetary": [1, 5]},
    "Can't Lose Them": {"recency": [1, 2], "frequency": [3, 4], "monetary": [4, 5]},
    "At Risk": {"recency": [1, 2], "frequency": [2, 5], "monetary": [4, 5]},
    "Need Attention": {"recency": [1, 3], "frequency": [3, 5], "monetary": [3, 5]},
    "About To Sleep": {"recency": [2, 3], "frequency": [1, 3], "monetary": [1, 4]},
    "Lost": {"recency": [1, 1], "frequency": [1, 5], "monetary": [1, 5]},
}
SMALL = {
    "Champions": {"recency": [4, 5], "frequency": [4, 5]},
    "Loyal": {"recency": [3, 3], "frequency": [3, 5]},
    "Recent": {"recency": [4, 5], "frequency": [1, 3]},
    "Needs attention": {"recency": [3, 3], "frequency": [1, 2]},
    "At risk": {"recency": [1, 2], "frequency": [3, 5]},
    "Inactive": {"recency": [1, 2], "frequency": [1, 2]},
}
MAPS = {"ten": TEN, "small": SMALL}
MAP_SCORES = 5  # what the shipped maps are written for


# ---- columns -----------------------------------------------------------------------------------


class _RFMTransformer(TransformerMixin, BaseEstimator):
    """A step on the whole table that reads the columns of the three roles."""

    recency: str | None
    frequency: str | None
    monetary: str | None

    @property
    def _roles(self) -> dict[str, str]:
        """Column of each role that is not left out."""
        columns = {role: getattr(self, role) for role in ROLES}
        return {role: column for role, column in columns.items() if column is not None}

    def _read(self, X: Any, *, reset: bool) -> dict[str, Floats]:
        """Return the numbers of each role, after checking the table."""
        name = type(self).__name__
        if not isinstance(X, pd.DataFrame):
            raise ConfigError(
                f"{name} needs a pandas DataFrame, got {type(X).__name__}; "
                "make it a step of preprocessing.table"
            )
        if not self._roles:
            raise ConfigError(f"{name} has no column: recency, frequency and monetary are null")
        if not len(X):
            raise DataError(f"{name} needs customers, and the table has no row")
        X = validate_data(self, X, reset=reset, skip_check_array=True)
        for role, column in self._roles.items():
            if column not in X.columns:
                hint = did_you_mean(column, X.columns)
                raise ConfigError(
                    f"{name} needs the column {column!r} for {role}, the table has "
                    f"{', '.join(map(str, X.columns))}{hint}; a log of transactions "
                    f"(dataset.kind=transactions) gives it"
                )
        return {role: _numbers(X[column], role) for role, column in self._roles.items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _numbers(column: pd.Series, role: str) -> Floats:
    """Return a column as floats, all of them finite.

    Raises
    ------
    DataError
        If it is no numeric column, or a cell is missing or infinite.
    """
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise DataError(f"column {column.name!r} is {column.dtype}: {role} must be a number")
    values: Floats = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if n_bad := int((~np.isfinite(values)).sum()):
        raise DataError(
            f"column {column.name!r} has {n_bad:,} missing or infinite cells of {len(values):,}: "
            f"{role} must be known of every customer"
        )
    return values


class LogRFM(_RFMTransformer):
    """The logarithms of recency, frequency and monetary value; other columns are left out.

    ``sign(x) ln(1 + |x|)``, which is ``ln(1 + x)`` where nothing is below zero: the amounts of a
    customer who returned more than was bought in the log stay in order.

    Parameters
    ----------
    recency, frequency, monetary : str or None
        Columns; None leaves one out.

    Examples
    --------
    >>> customers = pd.DataFrame({"recency": [0.0], "frequency": [1.0], "monetary": [-9.0]})
    >>> LogRFM().fit_transform(customers).round(2).to_numpy().tolist()
    [[0.0, 0.69, -2.3]]
    """

    def __init__(
        self,
        recency: str | None = "recency",
        frequency: str | None = "frequency",
        monetary: str | None = "monetary",
    ) -> None:
        self.recency = recency
        self.frequency = frequency
        self.monetary = monetary

    def fit(self, X: pd.DataFrame, y: Any = None) -> LogRFM:
        """Check the columns; there is nothing to learn."""
        self._read(X, reset=True)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the logarithms as ``log_recency``, ``log_frequency`` and ``log_monetary``.

        Raises
        ------
        ConfigError, DataError
            If a column is not there, or not all of its cells are numbers.
        """
        check_is_fitted(self)
        found = self._read(X, reset=False)
        logs = {f"log_{role}": np.sign(x) * np.log1p(np.abs(x)) for role, x in found.items()}
        return pd.DataFrame(logs, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names described above."""
        check_is_fitted(self)
        return np.array([f"log_{role}" for role in self._roles], dtype=object)


# ---- scores ------------------------------------------------------------------------------------


class RFMScorer(_RFMTransformer):
    """Scores of recency, frequency and monetary value from 1 to ``n_scores``, the best.

    Customers with equal values have equal scores, whatever the method: the edges between scores
    are values. (Within a cell, for ``nested``.) Other columns are left out.

    Parameters
    ----------
    recency, frequency, monetary : str or None
        Columns; None leaves one out.
    n_scores : int
        2 or more.
    method : {"quantiles", "nested", "values", "percentiles", "r_rfm"}
        How the edges are found.

        ``quantiles``
            At the shares 1/n, 2/n, ... of the customers, counted from the worst. A value on an
            edge has the worse score of the two.
        ``nested``
            Hughes 1994: recency as above, the edges of frequency among the customers of one
            recency score, those of monetary value among the customers of one pair of scores.
        ``percentiles``
            As ``quantiles``, at the percentages of ``cuts``.
        ``values``
            At the values of ``cuts``, which have the better score of the two: with cuts
            ``frequency: [2, 5]`` two orders are score 2, with ``recency: [30, 90]`` thirty days
            are the best score.
        ``r_rfm``
            Those of the R package rfm: quantiles of the column plus 1, and a value on an edge has
            the score above (of recency below). It can leave the best score to nobody.
    cuts : mapping of role to list of float, optional
        For ``values``: ``n_scores - 1`` ascending numbers for each role, in the units of its
        column (recency, too: days). For ``percentiles``: between 0 and 100, percent of the
        customers, from the worst to the best.
    weights : mapping of role to float, optional
        Adds the column ``rfm_score``, the weighted mean of the scores. A role that is not named
        has weight 0.

    Attributes
    ----------
    edges_ : dict of role to ndarray
        Ascending edges, in the units of the column, shape (n_scores - 1,). Of ``nested``: of
        frequency (n_scores, n_scores - 1), first axis the recency score less 1; of monetary
        (n_scores, n_scores, n_scores - 1), by recency and frequency score.
    empty_scores_ : dict of role to tuple of int
        Scores that no customer of ``fit`` has.
    notes_ : tuple of str
        A sentence for each role with such scores.

    Notes
    -----
    *Ties.* Where one value is shared by more than a fifth of the customers, quantiles coincide.
    Then scores are skipped, and never given other numbers. An edge at the best value would
    separate nobody; it is moved to the second best. So with two values or more the worst value
    always has score 1 and the best has ``n_scores``: if 34% of the customers bought once, all of
    them have frequency score 1. Where everybody has one value, everybody has score 1. (``values``
    and ``r_rfm`` promise the equal scores, not the two ends; ``nested`` all of it in each cell.)

    *New customers* are scored by the edges that were learned. With ``nested`` a customer may come
    into a cell (a recency score, or a pair of scores) that nobody was in; there the edges are those
    of the cell that contains it: all customers of the recency score, or all customers.

    Raises
    ------
    ConfigError
        For a wrong parameter or a column that is not there (from ``fit``).
    DataError
        For cells that are missing, infinite or no numbers (from ``fit`` and ``transform``).

    Examples
    --------
    >>> customers = pd.DataFrame(
    ...     {"recency": [3, 200, 40], "frequency": [9, 1, 1], "monetary": [80.0, 5.0, 20.0]}
    ... )
    >>> RFMScorer(n_scores=3).fit_transform(customers).to_numpy().tolist()
    [[3.0, 3.0, 3.0], [1.0, 1.0, 1.0], [2.0, 1.0, 2.0]]
    """

    # scikit-learn's hook, with which a plan is checked before a table is loaded.
    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        recency: str | None = "recency",
        frequency: str | None = "frequency",
        monetary: str | None = "monetary",
        *,
        n_scores: int = 5,
        method: str = "quantiles",
        cuts: Mapping[str, Sequence[float]] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.recency = recency
        self.frequency = frequency
        self.monetary = monetary
        self.n_scores = n_scores
        self.method = method
        self.cuts = cuts
        self.weights = weights

    def fit(self, X: pd.DataFrame, y: Any = None) -> RFMScorer:
        """Learn the edges."""
        self._validate_params()
        columns = self._read(X, reset=True)
        self.edges_: dict[str, Floats] = {}
        scores: dict[str, Labels] = {}
        for role, values in columns.items():
            self.edges_[role] = self._learn(role, values, scores)
            scores[role] = self._score(role, values, scores)
        levels = np.arange(1, self.n_scores + 1)
        self.empty_scores_ = {
            role: tuple(np.setdiff1d(levels, found).tolist()) for role, found in scores.items()
        }
        self.notes_ = tuple(
            self._note(role, columns[role]) for role, empty in self.empty_scores_.items() if empty
        )
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return ``recency_score``, ``frequency_score``, ``monetary_score`` (and ``rfm_score``)."""
        check_is_fitted(self)
        scores: dict[str, Labels] = {}
        for role, values in self._read(X, reset=False).items():
            scores[role] = self._score(role, values, scores)
        table = pd.DataFrame(
            {f"{role}_score": found.astype(float) for role, found in scores.items()}, index=X.index
        )
        if self.weights is not None:
            shares = np.array([float(self.weights.get(role, 0)) for role in scores])
            table["rfm_score"] = table.to_numpy() @ (shares / shares.sum())
        return table

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names of the scores."""
        check_is_fitted(self)
        names = [f"{role}_score" for role in self._roles]
        return np.array(names + ["rfm_score"] * (self.weights is not None), dtype=object)

    def _learn(self, role: str, values: Floats, scores: Mapping[str, Labels]) -> Floats:
        if self.method == "values":
            return np.array((self.cuts or {})[role], dtype=float)
        n, depth = self.n_scores, len(scores)
        shares = _Shares(np.arange(1, n), n)
        if self.method == "r_rfm":
            return shares.quantiles(np.sort(values)) + 1
        if self.method == "percentiles":
            shares = _Shares(np.array((self.cuts or {})[role]), 100)
        if self.method != "nested":
            return _quantile_edges(values, shares, role)
        cell = _cells(scores, n, len(values))
        edges = [
            _quantile_edges(values[_rows_of(cell, number, n)], shares, role)
            for number in range(n**depth)
        ]
        return np.reshape(edges, (*[n] * depth, n - 1))

    def _score(self, role: str, values: Floats, scores: Mapping[str, Labels]) -> Labels:
        edges = self.edges_[role]
        side = _SIDES[self.method][role != "recency"]
        if edges.ndim == 1:
            n_below = np.searchsorted(edges, values, side=side)  # type: ignore[call-overload]
        else:
            cell = _cells(scores, self.n_scores, len(values))
            own = edges.reshape(-1, edges.shape[-1])[cell]
            reached = own <= values[:, None] if side == "right" else own < values[:, None]
            n_below = reached.sum(axis=1)
        found: Labels = self.n_scores - n_below if role == "recency" else 1 + n_below
        return found

    def _note(self, role: str, values: Floats) -> str:
        empty = self.empty_scores_[role]
        said = f"nobody has {role} score{'s' * (len(empty) > 1)} {', '.join(map(str, empty))}"
        if self.method == "values":
            return f"{said}: no value lies between the cuts"
        distinct, counts = np.unique(values, return_counts=True)
        often = int(counts.argmax())
        return (
            f"{said}: equal values have equal scores, and {counts[often]:,} of {len(values):,} "
            f"customers have {role} {distinct[often]:g}"
        )

    def _validate_params(self) -> None:
        if not isinstance(self.n_scores, int | np.integer) or self.n_scores < 2:
            raise ConfigError(f"RFMScorer needs n_scores of 2 or more, got {self.n_scores!r}")
        if self.method not in METHODS:
            hint = did_you_mean(self.method, METHODS)
            raise ConfigError(
                f"RFMScorer has no method {self.method!r}; there is {', '.join(METHODS)}{hint}"
            )
        self._check_cuts()
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_cuts(self) -> None:
        is_used = self.method in ("values", "percentiles")
        if self.cuts is not None and not is_used:
            raise ConfigError(
                f"RFMScorer: cuts are for method values or percentiles, not {self.method}"
            )
        if not is_used:
            return
        cuts = _by_role(self.cuts or {}, "cuts", self._roles)
        for role in self._roles:
            found: Any = cuts.get(role)
            if not _is_ascending(found) or len(found) != self.n_scores - 1:
                raise ConfigError(
                    f"RFMScorer: method {self.method} with {self.n_scores} scores needs "
                    f"{self.n_scores - 1} ascending numbers in cuts.{role}, got {found!r}"
                )
            if self.method == "percentiles" and not 0 < found[0] <= found[-1] < 100:
                raise ConfigError(
                    f"RFMScorer: cuts.{role} are percent between 0 and 100, got {found!r}"
                )

    def _check_weights(self, weights: Mapping[str, float]) -> None:
        found = _by_role(weights, "weights", self._roles)
        if not all(_is_number(weight) and weight >= 0 for weight in found.values()) or not any(
            found.values()
        ):
            raise ConfigError(
                f"RFMScorer needs weights of 0 or more, one of them above 0, got {dict(found)!r}"
            )


@dataclass(frozen=True)
class _Shares:
    """Shares ``parts / whole`` of the customers."""

    parts: npt.NDArray[Any]
    whole: int

    def quantiles(self, ordered: Floats) -> Floats:
        """Return the quantiles of sorted values, with linear interpolation (R's type 7).

        ``numpy.quantile`` can miss a value by the last bit, and who has it would pass the edge.
        """
        place = (len(ordered) - 1) * self.parts / self.whole
        low = np.floor(place).astype(np.intp)
        high = np.minimum(low + 1, len(ordered) - 1)
        found: Floats = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
        return found


def _quantile_edges(values: Floats, shares: _Shares, role: str) -> Floats:
    """Return the quantiles of a column, counted from its worst value, ascending in its units."""
    sign = -1 if role == "recency" else 1
    worst_first = np.sort(sign * values)
    edges = shares.quantiles(worst_first)
    best = worst_first[-1]
    below = worst_first[: np.searchsorted(worst_first, best)]
    if len(below):
        edges = np.where(edges >= best, below[-1], edges)
    return np.sort(sign * edges) + 0.0  # no -0.0


def _cells(scores: Mapping[str, Labels], n_scores: int, n: int) -> Labels:
    """Number the combinations of the scores so far, the first slowest."""
    cell = np.zeros(n, dtype=np.intp)
    for found in scores.values():
        cell = cell * n_scores + (found - 1)
    return cell


def _rows_of(cell: Labels, number: int, n_scores: int) -> npt.NDArray[np.bool_]:
    """Return the customers of a cell; where there are none, of the smallest one around it."""
    rows = cell == number
    while not rows.any():
        cell, number = cell // n_scores, number // n_scores
        rows = cell == number
    return rows


def _by_role(content: Any, key: str, roles: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ConfigError(f"RFMScorer: {key} maps {', '.join(roles)} to numbers, got {content!r}")
    for name in content:
        if name not in roles:
            hint = did_you_mean(name, roles)
            raise ConfigError(
                f"RFMScorer: {key}.{name} is no column of it; there is {', '.join(roles)}{hint}"
            )
    return content


def _is_ascending(numbers: Any) -> bool:
    return (
        isinstance(numbers, Sequence | np.ndarray)
        and not isinstance(numbers, str)
        and all(_is_number(number) for number in numbers)
        and all(a < b for a, b in itertools.pairwise(numbers))
    )


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


# ---- named segments ----------------------------------------------------------------------------


@dataclass(frozen=True)
class MapCheck:
    """What an ordered map of rules does with every combination of scores.

    Attributes
    ----------
    names : tuple of str
        Of the rules, in their order; then ``"Others"`` if some combination matches no rule.
    table : ndarray of int of shape (n_scores, n_scores, n_scores)
        Index in ``names`` by recency, frequency and monetary score, each less 1.
    n_unmatched : int
        Combinations that no rule matches.
    unmatched : tuple of str
        The same in short, ``"R 1-2, F 1, M 4-5"``.
    overlaps : tuple of (str, str, int)
        A rule, an earlier one, and how many combinations of the first the earlier one takes.
    """

    names: tuple[str, ...]
    table: Labels
    n_unmatched: int
    unmatched: tuple[str, ...]
    overlaps: tuple[tuple[str, str, int], ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, in sentences."""
        found = []
        if self.n_unmatched:
            found.append(
                f"{self.n_unmatched} of {self.table.size} combinations of scores match no rule and "
                f"are {OTHERS}: {'; '.join(self.unmatched)}"
            )
        for rule, taken in itertools.groupby(self.overlaps, key=lambda overlap: overlap[0]):
            parts = {earlier: n for _, earlier, n in taken}
            words = ", ".join(f"{n} to {earlier!r}" for earlier, n in parts.items())
            found.append(f"{rule!r} leaves combinations to rules before it: {words}")
        return tuple(found)


def check_map(rules: str | Mapping[str, Any], n_scores: int = 5) -> MapCheck:
    """Check which rule every combination of scores matches first.

    Parameters
    ----------
    rules : {"ten", "small"} or mapping of name to rule
        A rule maps recency, frequency and monetary to ``[low, high]``, both inclusive; one that is
        not named may have any score. The first rule that matches gives the segment.
    n_scores : int

    Raises
    ------
    ConfigError
        If a rule cannot be read, or no combination is left to it by those before.

    Examples
    --------
    >>> check_map("small").notes
    ()
    >>> check_map({"Regulars": {"frequency": [2, 2]}}, n_scores=2).notes
    ('4 of 8 combinations of scores match no rule and are Others: R 1-2, F 1, M 1-2',)
    """
    boxes = _boxes(rules, n_scores)
    shape = (n_scores,) * len(ROLES)
    table = np.full(shape, len(boxes), dtype=np.intp)
    overlaps = []
    for label, (name, box) in enumerate(boxes.items()):
        own = table[box]  # a view: what is assigned to it is assigned to the table
        earlier = np.bincount(own.ravel(), minlength=len(boxes) + 1)[: len(boxes)]
        taken = [(list(boxes)[j], int(earlier[j])) for j in np.flatnonzero(earlier)]
        if earlier.sum() == own.size:
            raise ConfigError(
                f"RFM rule {name!r} matches nobody: {', '.join(repr(rule) for rule, _ in taken)} "
                f"before it {'match' if len(taken) > 1 else 'matches'} every combination of its "
                f"scores; move it up or change it"
            )
        overlaps += [(name, rule, n) for rule, n in taken]
        own[own == len(boxes)] = label
    is_unmatched = table == len(boxes)
    n_unmatched = int(is_unmatched.sum())
    names = (*boxes, OTHERS) if n_unmatched else tuple(boxes)
    return MapCheck(names, table, n_unmatched, _in_short(is_unmatched), tuple(overlaps))


def _boxes(rules: Any, n_scores: int) -> dict[str, tuple[slice, ...]]:
    """Return the block of combinations of each rule."""
    if isinstance(rules, str):
        if rules not in MAPS:
            hint = did_you_mean(rules, MAPS)
            raise ConfigError(f"no RFM map {rules!r}; there is {', '.join(MAPS)}{hint}")
        if n_scores != MAP_SCORES:
            raise ConfigError(
                f"the RFM map {rules!r} is written for {MAP_SCORES} scores, and there are "
                f"{n_scores}; write rules of your own"
            )
        rules = MAPS[rules]
    if not isinstance(rules, Mapping) or not rules:
        raise ConfigError(
            f"RFM rules map a name to scores, or are {', '.join(MAPS)}; got {rules!r}"
        )
    if OTHERS in rules:
        raise ConfigError(f"{OTHERS!r} is the name of what no RFM rule matches; call it otherwise")
    return {str(name): _box(rule, str(name), n_scores) for name, rule in rules.items()}


def _box(rule: Any, name: str, n_scores: int) -> tuple[slice, ...]:
    if not isinstance(rule, Mapping):
        raise ConfigError(f"RFM rule {name!r} maps {', '.join(ROLES)} to [low, high], got {rule!r}")
    for key in rule:
        if key not in ROLES:
            hint = did_you_mean(key, ROLES)
            raise ConfigError(f"RFM rule {name!r}: no {key!r}; there is {', '.join(ROLES)}{hint}")
    return tuple(
        _interval(rule.get(role, [1, n_scores]), f"{name!r}: {role}", n_scores) for role in ROLES
    )


def _interval(bounds: Any, where: str, n_scores: int) -> slice:
    is_pair = isinstance(bounds, Sequence) and len(bounds) == 2
    if not is_pair or not all(isinstance(b, int) and not isinstance(b, bool) for b in bounds):
        raise ConfigError(f"RFM rule {where} needs [low, high] in whole numbers, got {bounds!r}")
    low, high = bounds
    if not 1 <= low <= high <= n_scores:
        raise ConfigError(
            f"RFM rule {where} needs 1 <= low <= high <= {n_scores}, got [{low}, {high}]"
        )
    return slice(low - 1, high)


def _in_short(cells: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Describe a set of combinations by few blocks of them."""
    left, found = cells.copy(), []
    while left.any():
        start = np.argwhere(left)[0]
        block = [slice(i, i + 1) for i in start]
        for axis in reversed(range(cells.ndim)):
            while block[axis].stop < len(cells):
                wider = [*block]
                wider[axis] = slice(block[axis].start, block[axis].stop + 1)
                if not left[tuple(wider)].all():
                    break
                block = wider
        left[tuple(block)] = False
        found.append(
            ", ".join(
                f"{letter} {side.start + 1}"
                + (f"-{side.stop}" if side.stop > side.start + 1 else "")
                for letter, side in zip("RFM", block, strict=True)
            )
        )
    return tuple(found)


class RFMSegments(ClusterMixin, BaseEstimator):
    """Named segments by an ordered table of rules over the three scores.

    Parameters
    ----------
    rules : {"ten", "small"} or mapping of name to rule
        As in :func:`check_map`. ``ten`` are the ten segments of the R package rfm and ``Others``;
        ``small`` are six segments by recency and frequency alone, to which everybody belongs.
    n_scores : int
        What the scores go up to.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n,)
        Position of each customer's rule in the map; the number of rules for ``Others``.
    segment_names_ : list of str
        Name of each label, also of those that no customer has.
    table_ : ndarray of int of shape (n_scores, n_scores, n_scores)
        Label by recency, frequency and monetary score, each less 1.
    notes_ : tuple of str
        Combinations of scores without a rule, and rules that overlap.

    Raises
    ------
    ConfigError
        If the map is wrong (from ``fit``).
    DataError
        If the columns are not scores of recency, frequency and monetary value in this order (from
        ``fit`` and ``predict``).

    Examples
    --------
    >>> segments = RFMSegments("small").fit([[5, 5, 5], [1, 1, 2], [5, 1, 2]])
    >>> [segments.segment_names_[label] for label in segments.labels_]
    ['Champions', 'Inactive', 'Recent']
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, rules: str | Mapping[str, Any] = "ten", *, n_scores: int = 5) -> None:
        self.rules = rules
        self.n_scores = n_scores

    def fit(self, X: Any, y: Any = None) -> RFMSegments:
        """Check the map, and find the segments of ``X``, shape (n, 3)."""
        checked = self._check_rules()
        scores = self._scores(X, reset=True)
        self.segment_names_ = list(checked.names)
        self.table_ = checked.table
        self.notes_ = checked.notes
        self.labels_ = self._look_up(scores)
        return self

    def predict(self, X: Any) -> Labels:
        """Return the label of each customer."""
        check_is_fitted(self)
        return self._look_up(self._scores(X, reset=False))

    def _look_up(self, scores: Labels) -> Labels:
        found: Labels = self.table_[tuple(scores.T - 1)]
        return found

    def _check_rules(self) -> MapCheck:
        if not isinstance(self.n_scores, int | np.integer) or self.n_scores < 2:
            raise ConfigError(f"RFMSegments needs n_scores of 2 or more, got {self.n_scores!r}")
        return check_map(self.rules, int(self.n_scores))

    def _validate_params(self) -> None:
        self._check_rules()

    def _scores(self, X: Any, *, reset: bool) -> Labels:
        if isinstance(X, pd.DataFrame) and set(SCORES) <= set(X.columns):
            X = X[list(SCORES)]
        scores = validate_data(self, X, reset=reset, dtype=np.float64)
        wanted = f"whole scores from 1 to {self.n_scores} of recency, frequency and monetary value"
        if scores.shape[1] != len(ROLES):
            raise DataError(
                f"RFMSegments needs {wanted}, 3 columns, got {scores.shape[1]}; "
                f"say preprocessing=rfm_scores, without weights"
            )
        is_wrong = (scores < 1) | (scores > self.n_scores) | (scores % 1 != 0)
        if is_wrong.any():
            raise DataError(
                f"RFMSegments needs {wanted}, got {scores[is_wrong][0]:g}; "
                f"say preprocessing=rfm_scores and give both the same n_scores"
            )
        return scores.astype(np.intp)

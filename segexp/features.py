"""Transformers of our own: scikit-learn estimators that turn table columns into features.

The dtypes of a feature table are its column roles:

=============  ================================================  =======
role           dtype                                             missing
=============  ================================================  =======
numeric        float64                                           NaN
categorical    object, the cells are str                         NaN
ordinal        ordered ``pandas.CategoricalDtype``               NaN
date           datetime64, no time zone                          NaT
=============  ================================================  =======
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    check_non_negative,
    validate_data,
)

from segexp.errors import ConfigError, did_you_mean

ROLES = ("numeric", "categorical", "ordinal", "date")

MISSING = "(missing)"
OTHER = "(other)"


@dataclass(frozen=True)
class RoleColumns:
    """Select the columns of one role; a column selector for ``ColumnTransformer``.

    Parameters
    ----------
    role : {"numeric", "categorical", "ordinal", "date"}

    Raises
    ------
    ConfigError
        If there is no such role.

    Examples
    --------
    >>> X = pd.DataFrame({"age": [31.0], "job": pd.Series(["Doctor"], dtype=object)})
    >>> RoleColumns("categorical")(X)
    ['job']
    """

    role: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            hint = did_you_mean(self.role, ROLES)
            raise ConfigError(f"no column role {self.role!r}; there is {', '.join(ROLES)}{hint}")

    def __call__(self, X: pd.DataFrame) -> list[str]:
        """Return the names of the columns of this role, in the order of the table."""
        return [str(name) for name, dtype in X.dtypes.items() if _role(dtype) == self.role]


def _role(dtype: Any) -> str | None:
    if isinstance(dtype, pd.CategoricalDtype):
        return "ordinal" if dtype.ordered else "categorical"
    if pd.api.types.is_numeric_dtype(dtype):
        return "numeric"
    if isinstance(dtype, np.dtype) and dtype.kind == "M":
        return "date"
    if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
        return "categorical"
    return None


class QuantileClipper(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Clip each numeric column to quantiles seen during ``fit``.

    A few very large spenders otherwise set the scale of every distance. NaN stays NaN. The
    bounds of a column of two values are these: a flag that hardly anybody has is no outlier.

    Parameters
    ----------
    lower, upper : float, default=0.01 and 0.99
        Quantiles in [0, 1], ``lower < upper``.

    Attributes
    ----------
    bounds_ : ndarray of shape (2, n_features)
        Lower and upper bound of each column, in the units of the input; infinite for a column
        without any value.
    """

    def __init__(self, lower: float = 0.01, upper: float = 0.99) -> None:
        self.lower = lower
        self.upper = upper

    def fit(self, X: Any, y: Any = None) -> QuantileClipper:
        """Learn the bounds of each column from its values that are not missing."""
        if not 0 <= self.lower < self.upper <= 1:
            raise ConfigError(
                f"QuantileClipper needs 0 <= lower < upper <= 1, "
                f"got lower={self.lower} and upper={self.upper}"
            )
        X = validate_data(self, X, dtype=float, ensure_all_finite="allow-nan")
        self.bounds_ = np.array([self._bounds(column[~np.isnan(column)]) for column in X.T]).T
        return self

    def _bounds(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if values.size == 0:
            return np.array([-np.inf, np.inf])
        if len(np.unique(values)) <= 2:
            return np.array([values.min(), values.max()])
        return np.quantile(values, [self.lower, self.upper])

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Return ``X`` with every value moved to the nearest bound of its column."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, ensure_all_finite="allow-nan", reset=False)
        return np.clip(X, *self.bounds_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class HingeFeatures(TransformerMixin, BaseEstimator):
    """Numeric columns, and how far each value lies above some quantiles of its column.

    With ``max(0, x - knot)`` for a few knots a linear model can bend at the knots (the hinge
    functions of Friedman 1991, Multivariate adaptive regression splines, Annals of Statistics
    19(1)).

    Parameters
    ----------
    n_knots : int, default=3
        Knots of each column, at its evenly spaced inner quantiles: 3 are the quartiles. Equal
        knots count once; knots at the smallest or the largest value are left out, so a column of
        two values has none.

    Attributes
    ----------
    knots_ : list of ndarray
        Knots of each column, in the units of the input.
    """

    def __init__(self, n_knots: int = 3) -> None:
        self.n_knots = n_knots

    def fit(self, X: Any, y: Any = None) -> HingeFeatures:
        """Learn the knots of each column."""
        if self.n_knots < 1:
            raise ConfigError(f"HingeFeatures needs n_knots of 1 or more, got {self.n_knots}")
        X = validate_data(self, X, dtype=float)
        quantiles = np.linspace(0, 1, self.n_knots + 2)[1:-1]
        self.knots_ = [self._inner_knots(column, quantiles) for column in X.T]
        return self

    def _inner_knots(
        self, column: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        # Values that customers have: between the two values of a flag there is no knot.
        knots = np.unique(np.quantile(column, quantiles, method="lower"))
        return knots[(knots > column.min()) & (knots < column.max())]

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the columns of ``X``, then the hinges column by column."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        hinges = [
            np.maximum(0, column[:, None] - knots)
            for column, knots in zip(X.T, self.knots_, strict=True)
        ]
        return np.hstack([X, *hinges])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names of the columns, then ``"income above 51000"`` for each hinge."""
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        hinges = [
            f"{name} above {knot:.6g}"
            for name, knots in zip(names, self.knots_, strict=True)
            for knot in knots
        ]
        return _objects([*names, *hinges])


class _FrameTransformer(TransformerMixin, BaseEstimator):
    """A transformer whose input must be a DataFrame, as only that has a dtype per column."""

    def _checked(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if not isinstance(X, pd.DataFrame):
            raise ConfigError(
                f"{type(self).__name__} needs a pandas DataFrame, got {type(X).__name__}; "
                "put it first among the steps of its role"
            )
        return validate_data(self, X, reset=reset, skip_check_array=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.two_d_array = False
        return tags


class PlainNames(_FrameTransformer):
    """Rename the columns whose names LightGBM or XGBoost refuse; the cells stay as they are.

    Each of ``[]{}<>,:"`` becomes ``_``, and underscores are added until the name is unique. Only
    models that are given a DataFrame see the names.

    Attributes
    ----------
    names_ : list of str
        The new name of each column.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> PlainNames:
        """Choose the names."""
        X = self._checked(X, reset=True)
        taken = set(X.columns)
        self.names_ = []
        for name in X.columns:
            plain = re.sub(r'[][{}<>,:"]', "_", name)
            while plain != name and plain in taken:
                plain += "_"
            taken.add(plain)
            self.names_.append(plain)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return ``X`` under the new names."""
        check_is_fitted(self)
        return self._checked(X, reset=False).set_axis(self.names_, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the new names."""
        check_is_fitted(self)
        return _objects(self.names_)


class CategoryEncoder(OneToOneFeatureMixin, _FrameTransformer):
    """Strings to pandas categories, for models that split on categories by themselves.

    The categories of a column are the levels seen during ``fit``, sorted by name. Missing cells
    and levels that were not seen become missing, which these models understand.

    Parameters
    ----------
    max_categories : int, default=255
        Most categories of a column, 2 or more. The most frequent levels are kept (ties by
        name); the others share one category ``"(other)"``, which counts. 255 is the most that
        ``HistGradientBoostingClassifier`` accepts.

    Attributes
    ----------
    categories_ : list of ndarray of str
        Categories of each column; ``"(other)"``, where there is one, is last.
    rare_ : list of ndarray of str
        Levels of each column that were put into ``"(other)"``.
    """

    def __init__(self, max_categories: int = 255) -> None:
        self.max_categories = max_categories

    def fit(self, X: pd.DataFrame, y: Any = None) -> CategoryEncoder:
        """Learn the categories of each column."""
        if self.max_categories < 2:
            raise ConfigError(
                f"CategoryEncoder needs max_categories of 2 or more, got {self.max_categories}"
            )
        X = self._checked(X, reset=True)
        learned = [self._levels(column) for _, column in X.items()]
        self.categories_ = [categories for categories, _ in learned]
        self.rare_ = [rare for _, rare in learned]
        return self

    def _levels(self, column: pd.Series) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        counts = column.value_counts()
        ranked = sorted(counts.index, key=lambda level: (-counts[level], level))
        if len(ranked) <= self.max_categories:
            # XGBoost fails on a column that has no category.
            return _objects(sorted(ranked) or [OTHER]), _objects([])
        # A level that is called "(other)" is one of the others.
        kept = sorted([level for level in ranked if level != OTHER][: self.max_categories - 1])
        return _objects([*kept, OTHER]), _objects(sorted(set(ranked) - set(kept)))

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return a DataFrame of pandas categories with the columns and the index of ``X``."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        encoded = [
            _to_categories(column, categories, rare)
            for (_, column), categories, rare in zip(
                X.items(), self.categories_, self.rare_, strict=True
            )
        ]
        return pd.DataFrame(dict(enumerate(encoded)), index=X.index).set_axis(X.columns, axis=1)


def _objects(levels: Iterable[str]) -> npt.NDArray[Any]:
    return np.array(list(levels), dtype=object)


def _to_categories(
    column: pd.Series, categories: npt.NDArray[Any], rare: npt.NDArray[Any]
) -> pd.Categorical:
    values = column.to_numpy(dtype=object)
    codes = pd.Index(categories, dtype=object).get_indexer(values)
    codes[pd.Index(rare, dtype=object).get_indexer(values) >= 0] = len(categories) - 1
    return pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype=object))


class OrdinalCodes(OneToOneFeatureMixin, _FrameTransformer):
    """Ordered categories to their ranks 0, 1, ... as floats; missing cells become NaN.

    ``sklearn.preprocessing.OrdinalEncoder`` would sort the levels by name and lose their order.

    Attributes
    ----------
    categories_ : list of ndarray
        Levels of each column, lowest first.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> OrdinalCodes:
        """Remember the declared levels of each column, also those that no row has."""
        X = self._checked(X, reset=True)
        for name, dtype in X.dtypes.items():
            if _role(dtype) != "ordinal":
                raise ConfigError(
                    f"OrdinalCodes needs ordered categories, column {name!r} is {dtype}"
                )
        self.categories_ = [_objects(dtype.categories) for dtype in X.dtypes]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the ranks, shape (n_samples, n_features); unknown levels become NaN."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        codes = np.empty(X.shape)
        for j, ((_, column), levels) in enumerate(zip(X.items(), self.categories_, strict=True)):
            codes[:, j] = pd.Index(levels, dtype=object).get_indexer(column.to_numpy(dtype=object))
        codes[codes < 0] = np.nan
        return codes


class FamdScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Scale one-hot columns so that a PCA of them and of standardised numbers is an FAMD.

    Each indicator is divided by the square root of its share ``p`` of the customers and centred:
    ``(x - p) / sqrt(p)``. A column of m levels then has total variance m - 1, of which no
    direction carries more than 1, as much as a standardised number: factor analysis of mixed data
    (Pages 2004, Analyse factorielle de donnees mixtes, Revue de statistique appliquee
    52(4):93-111).

    Attributes
    ----------
    shares_ : ndarray of shape (n_features,)
        Share of the customers of ``fit`` who have each level. A level that nobody had gives 0.

    Examples
    --------
    >>> FamdScaler().fit_transform([[1, 0], [1, 0], [1, 0], [0, 1]])[-1].round(3).tolist()
    [-0.866, 1.5]
    """

    def fit(self, X: Any, y: Any = None) -> FamdScaler:
        """Learn the share of each level."""
        X = validate_data(self, X, dtype=float)
        check_non_negative(X, "FamdScaler, which is given one-hot columns")
        self.shares_ = X.mean(axis=0)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the scaled indicators, shape (n_samples, n_features)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        return (X - self.shares_) / np.sqrt(np.where(self.shares_ > 0, self.shares_, np.inf))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class DateFeatures(_FrameTransformer):
    """Dates to numbers that a model can split or weigh.

    A column ``joined`` becomes ``joined_days_ago``, the days from the date to the latest date
    that ``fit`` saw in the column (negative for later dates), and ``joined_year``,
    ``joined_month`` (1 to 12) and ``joined_weekday`` (0 is Monday), each only if it varies among
    the rows of ``fit``. NaT becomes NaN in all of them.

    Attributes
    ----------
    latest_ : ndarray of datetime64[ns], shape (n_features,)
        Latest date of each column; NaT for a column without dates.
    parts_ : list of list of str
        The parts kept of each column, out of year, month and weekday.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> DateFeatures:
        """Learn the latest date and the parts that vary, column by column."""
        X = self._checked(X, reset=True)
        for name, dtype in X.dtypes.items():
            if _role(dtype) != "date":
                raise ConfigError(f"DateFeatures needs dates, column {name!r} is {dtype}")
        self.latest_ = np.fmax.reduce(X.to_numpy(dtype="datetime64[ns]"))
        self.parts_ = [
            [part for part, values in _date_parts(column).items() if values.nunique() > 1]
            for _, column in X.items()
        ]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the features, shape (n_samples, n_features_out)."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        days_ago = (self.latest_ - X.to_numpy(dtype="datetime64[ns]")) / np.timedelta64(1, "D")
        features = []
        for j, ((_, column), kept) in enumerate(zip(X.items(), self.parts_, strict=True)):
            parts = _date_parts(column)
            features += [days_ago[:, j], *(parts[part] for part in kept)]
        return np.column_stack(features).astype(float)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names described above, in the order of the columns of ``transform``."""
        check_is_fitted(self)
        return _objects(
            f"{name}_{feature}"
            for name, parts in zip(self.feature_names_in_, self.parts_, strict=True)
            for feature in ("days_ago", *parts)
        )


def _date_parts(column: pd.Series) -> dict[str, pd.Series]:
    dates = column.dt
    return {"year": dates.year, "month": dates.month, "weekday": dates.day_of_week}


class CategoryPairs(_FrameTransformer):
    """Categorical columns, and pairs of them joined into one column each.

    ``gender="F", job="Doctor"`` adds ``gender & job = "F & Doctor"``: what holds only for a
    combination becomes visible to an encoder that looks at one column at a time. Missing cells
    take part as ``"(missing)"``.

    Parameters
    ----------
    max_pairs : int, default=10
        Most pairs that are added. Those with the fewest combinations among the rows of ``fit``
        are taken (ties by the order of the columns), as they have most customers per
        combination; columns with a single level are never paired.

    Attributes
    ----------
    pairs_ : list of tuple of int
        Positions of the two columns of each pair.
    """

    def __init__(self, max_pairs: int = 10) -> None:
        self.max_pairs = max_pairs

    def fit(self, X: pd.DataFrame, y: Any = None) -> CategoryPairs:
        """Choose the pairs."""
        if self.max_pairs < 0:
            raise ConfigError(f"CategoryPairs needs max_pairs of 0 or more, got {self.max_pairs}")
        X = self._checked(X, reset=True)
        coded = [pd.factorize(column, use_na_sentinel=False) for _, column in X.items()]
        varying = [j for j, (_, levels) in enumerate(coded) if len(levels) > 1]

        def n_combinations(pair: tuple[int, int]) -> int:
            (first, _), (second, levels) = coded[pair[0]], coded[pair[1]]
            return len(np.unique(first * len(levels) + second))

        pairs = sorted(itertools.combinations(varying, 2), key=n_combinations)
        self.pairs_ = sorted(pairs[: self.max_pairs])
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Return the columns of ``X`` as they are, then one column of str for each pair."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        cells = X.to_numpy(dtype=object)
        filled = np.where(X.isna(), MISSING, cells)
        joined = [filled[:, i] + " & " + filled[:, j] for i, j in self.pairs_]
        return np.column_stack([cells, *joined])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names of the columns, then ``"a & b"`` for each pair."""
        check_is_fitted(self)
        names = list(self.feature_names_in_)
        return _objects([*names, *(f"{names[i]} & {names[j]}" for i, j in self.pairs_)])


class CrossFitTargetEncoder(TransformerMixin, BaseEstimator):
    """``sklearn.preprocessing.TargetEncoder`` with seeded folds under every version.

    scikit-learn takes the seed of the internal folds as ``random_state`` up to 1.8, and inside a
    splitter from 1.9 on, where ``random_state`` warns. Folds are not stratified (from 1.9 on), so
    that a segment with a handful of customers raises no warning.

    Parameters
    ----------
    smooth : "auto" or float, default="auto"
        Weight of the mean over all customers against the mean of the level, in customers;
        "auto" is the empirical Bayes estimate of Micci-Barreca (2001), see ``TargetEncoder``.
    n_splits : int, default=5
        Number of internal folds: ``fit_transform`` encodes each customer by customers of the
        other folds.
    random_state : int or None, default=None
        Seed of the internal folds.

    Attributes
    ----------
    encoder_ : TargetEncoder
        Fitted on all rows; ``transform`` uses it.
    """

    def __init__(
        self, smooth: float | str = "auto", n_splits: int = 5, random_state: int | None = None
    ) -> None:
        self.smooth = smooth
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CrossFitTargetEncoder:
        """Learn the encoding of each level from all rows."""
        self._remember(TargetEncoder(smooth=self.smooth).fit(X, y))
        return self

    def fit_transform(self, X: Any, y: Any) -> npt.NDArray[np.float64]:
        """Fit on all rows, and return each row encoded without its own segment.

        Returns
        -------
        ndarray of shape (n_samples, n_features), or (n_samples, n_features * n_segments) where
        there are more than two segments
            The share of each segment (of the second of two) among the customers of the level.
        """
        encoder = TargetEncoder(smooth=self.smooth, **self._folds())
        encoded = encoder.fit_transform(X, y)
        self._remember(encoder)
        return encoded

    def _folds(self) -> dict[str, Any]:
        takes_seed = getattr(TargetEncoder(), "random_state", "deprecated") != "deprecated"
        if takes_seed:
            return {"cv": self.n_splits, "random_state": self.random_state}
        return {"cv": KFold(self.n_splits, shuffle=True, random_state=self.random_state)}

    def _remember(self, encoder: TargetEncoder) -> None:
        # The splitter has done its work, and skops does not trust it by itself.
        self.encoder_ = encoder.set_params(cv=self.n_splits)
        self.n_features_in_ = encoder.n_features_in_
        if hasattr(encoder, "feature_names_in_"):
            self.feature_names_in_ = encoder.feature_names_in_

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Encode rows that ``fit`` did not see; unknown levels get the share over all rows."""
        check_is_fitted(self)
        return self.encoder_.transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names that ``TargetEncoder`` gives."""
        check_is_fitted(self)
        return self.encoder_.get_feature_names_out(input_features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags


# ---- steps on the whole table ------------------------------------------------------------------


class _TableStep(_FrameTransformer):
    """A step on the whole table: DataFrame in, DataFrame out; it learns names, and no values.

    Attributes
    ----------
    names_ : list of str
        Columns of the table that ``transform`` returns.
    """

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Check the step against the columns of a table, without looking at the cells."""
        X = self._checked(X, reset=True)
        self.names_ = [str(name) for name in self._changed(X.iloc[:0])]
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return a new table with the same rows."""
        check_is_fitted(self)
        return self._changed(self._checked(X, reset=False))

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the columns of the table that ``transform`` returns."""
        check_is_fitted(self)
        return _objects(self.names_)

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        raise NotImplementedError

    def _mapping(self, example: str) -> Mapping[str, Any]:
        """Return ``columns`` if it names new columns."""
        columns = self.columns
        if isinstance(columns, Mapping) and columns and all(isinstance(n, str) for n in columns):
            return columns
        raise ConfigError(
            f"{type(self).__name__} needs columns such as {example}, got columns={columns!r}"
        )

    def _listed(self, columns: Any, X: pd.DataFrame) -> list[str]:
        """Return a list of columns if the table has all of them, each named once."""
        listed = self._known(columns, X)
        if twice := [name for name in listed if listed.count(name) > 1]:
            raise ConfigError(
                f"{type(self).__name__}: column {twice[0]!r} is named twice in one list"
            )
        return listed

    def _known(self, columns: Any, X: pd.DataFrame) -> list[str]:
        """Return a list of columns if the table has all of them."""
        own = type(self).__name__
        if isinstance(columns, str) or not isinstance(columns, Sequence) or not columns:
            raise ConfigError(f"{own} needs a list of columns, got {columns!r}")
        for name in columns:
            if not isinstance(name, str) or name not in X.columns:
                raise ConfigError(f"{own}: no column {name!r}{_nearest(name, X)}")
        return list(columns)

    def _of_role(self, columns: Sequence[str], X: pd.DataFrame, roles: Sequence[str]) -> None:
        """Refuse a column whose dtype is that of another role."""
        for name in columns:
            if (role := _role(X.dtypes[name])) not in roles:
                raise ConfigError(
                    f"{type(self).__name__} takes {' and '.join(roles)} columns, and {name!r} is "
                    f"{role or X.dtypes[name]}; change its role in the dataset, or leave it out"
                )

    def _numbers(self, columns: Sequence[str], X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return numeric columns as floats, shape (n_samples, n_columns)."""
        self._of_role(columns, X, ["numeric"])
        return X[list(columns)].to_numpy(dtype=float, na_value=np.nan)

    def _with(
        self, X: pd.DataFrame, new: Mapping[str, npt.NDArray[np.float64]], sources: Iterable[str]
    ) -> pd.DataFrame:
        """Return ``X`` with new columns at its end, and without their sources if ``drop``."""
        kept = X.drop(columns=list(dict.fromkeys(sources))) if self.drop else X
        for name in new:
            if name in kept.columns:
                raise ConfigError(
                    f"{type(self).__name__}: the table has a column {name!r} already; "
                    f"give the new one another name"
                )
        return pd.concat([kept, pd.DataFrame(new, index=X.index)], axis=1)


def _nearest(name: object, X: pd.DataFrame) -> str:
    """Return the nearest column, or else the first ones, for the end of an error."""
    if hint := did_you_mean(name, X.columns):
        return hint
    more = ", ..." if X.shape[1] > 8 else ""
    return f"; there is {', '.join(map(str, X.columns[:8]))}{more}"


class ColumnSums(_TableStep):
    """Add columns that are sums of others: what a customer spent on everything.

    Parameters
    ----------
    columns : dict of str to list of str
        New column -> the numeric columns that are added up.
    drop : bool, default=False
        Leave out the columns that were added up.

    Notes
    -----
    A sum is NaN if a part is missing: an unknown amount is not 0.

    Examples
    --------
    >>> X = pd.DataFrame({"wine": [3.0, 0.0], "fish": [1.0, 2.0]})
    >>> ColumnSums({"monetary": ["wine", "fish"]}).fit_transform(X)["monetary"].tolist()
    [4.0, 2.0]
    """

    def __init__(self, columns: Mapping[str, Sequence[str]], drop: bool = False) -> None:
        self.columns = columns
        self.drop = drop

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        parts = {
            new: self._listed(columns, X)
            for new, columns in self._mapping("{monetary: [wine, fish]}").items()
        }
        sums = {new: self._numbers(columns, X).sum(axis=1) for new, columns in parts.items()}
        return self._with(X, sums, itertools.chain(*parts.values()))


class ColumnShares(_TableStep):
    """Add the share of each of some columns in their sum: what a customer spends money on.

    Parameters
    ----------
    columns : list of str
        Two or more numeric columns. The share of ``wine`` is called ``wine_share``.
    drop : bool, default=False
        Leave out the columns that the shares are of.

    Notes
    -----
    The shares of a customer add up to 1. They are NaN, all of them, where there is nothing to
    divide: if the sum is 0, or a part is missing or below 0.

    Examples
    --------
    >>> X = pd.DataFrame({"wine": [3.0, 0.0], "fish": [1.0, 0.0]})
    >>> ColumnShares(["wine", "fish"], drop=True).fit_transform(X)
       wine_share  fish_share
    0        0.75        0.25
    1         NaN         NaN
    """

    def __init__(self, columns: Sequence[str], drop: bool = False) -> None:
        self.columns = columns
        self.drop = drop

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        columns = self._listed(self.columns, X)
        if len(columns) < 2:
            raise ConfigError(f"ColumnShares needs two columns or more, got {columns[0]!r} alone")
        parts = self._numbers(columns, X)
        whole = np.where((parts < 0).any(axis=1), np.nan, parts.sum(axis=1))
        shares = parts / np.where(whole > 0, whole, np.nan)[:, None]
        return self._with(
            X, {f"{n}_share": s for n, s in zip(columns, shares.T, strict=True)}, columns
        )


class YearsSince(_TableStep):
    """Add the years from a year to a fixed one: a birth year becomes an age.

    Parameters
    ----------
    columns : dict of str to str
        New column -> the numeric column that holds a year.
    until : int
        The year of the data. It is never today's: the age of the customers would depend on the day
        of the run.
    drop : bool, default=False
        Leave out the columns with the years.

    Notes
    -----
    Negative for later years, NaN where the year is missing.

    Examples
    --------
    >>> X = pd.DataFrame({"born": [1984.0, np.nan]})
    >>> YearsSince({"age": "born"}, until=2014, drop=True).fit_transform(X)["age"].tolist()
    [30.0, nan]
    """

    def __init__(self, columns: Mapping[str, str], until: int, drop: bool = False) -> None:
        self.columns = columns
        self.until = until
        self.drop = drop

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        sources = self._mapping("{age: Year_Birth}")
        columns = self._known(list(sources.values()), X)
        if isinstance(self.until, bool) or not isinstance(self.until, int):
            raise ConfigError(
                f"YearsSince needs a year such as until: 2014, got until={self.until!r}"
            )
        years = {new: self.until - self._numbers([old], X)[:, 0] for new, old in sources.items()}
        return self._with(X, years, columns)


class DaysSince(_TableStep):
    """Add the days from a date to a fixed one: the day a customer joined becomes a tenure.

    Parameters
    ----------
    columns : dict of str to str
        New column -> the date column.
    until : str
        The day of the data, as ``2014-06-30`` (or ``2014-06-30 12:00``). It is never today.
    drop : bool, default=False
        Leave out the columns with the dates.

    Notes
    -----
    Negative for later dates, with a fraction for the time of the day, NaN for a missing date.

    Examples
    --------
    >>> X = pd.DataFrame({"joined": pd.to_datetime(["2014-06-01", None])})
    >>> DaysSince({"tenure": "joined"}, until="2014-06-30").fit_transform(X)["tenure"].tolist()
    [29.0, nan]
    """

    def __init__(self, columns: Mapping[str, str], until: str, drop: bool = False) -> None:
        self.columns = columns
        self.until = until
        self.drop = drop

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        sources = self._mapping("{tenure: Joined}")
        columns = self._known(list(sources.values()), X)
        self._of_role(columns, X, ["date"])
        until = self._until()
        day = np.timedelta64(1, "D")
        days = {new: ((until - X[old]) / day).to_numpy(dtype=float) for new, old in sources.items()}
        return self._with(X, days, columns)

    def _until(self) -> pd.Timestamp:
        try:
            until = datetime.fromisoformat(self.until)
        except (TypeError, ValueError):
            until = None
        if until is None or until.tzinfo is not None:
            raise ConfigError(
                f"DaysSince needs a day such as until: '2014-06-30', got until={self.until!r}"
            )
        return pd.Timestamp(until)


class MapLevels(_TableStep):
    """Add numbers that stand for the levels of a column: adults by marital status.

    Parameters
    ----------
    columns : dict of str to dict
        New column -> ``from``, the categorical or ordinal column; ``map``, level -> number; and
        ``default``, the number of every other level, without which these become NaN.
    drop : bool, default=False
        Leave out the columns that the levels are of.

    Notes
    -----
    A missing cell becomes NaN, whatever the default. ``fit`` refuses a map of which no level
    occurs, as its levels are misspelled.

    Examples
    --------
    >>> X = pd.DataFrame({"status": pd.Series(["Married", "Single", None], dtype=object)})
    >>> adults = {"from": "status", "map": {"Married": 2}, "default": 1}
    >>> MapLevels({"adults": adults}).fit_transform(X)["adults"].tolist()
    [2.0, 1.0, nan]
    """

    def __init__(self, columns: Mapping[str, Mapping[str, Any]], drop: bool = False) -> None:
        self.columns = columns
        self.drop = drop

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Check the maps against the table, and that some level of each occurs."""
        super().fit(X, y)
        for new, rule in self.columns.items():
            found = [str(level) for level in X[rule["from"]].dropna().unique()]
            if found and not set(found).intersection(rule["map"]):
                level = next(iter(rule["map"]))
                hint = did_you_mean(level, found) or f"; there is {', '.join(sorted(found)[:8])}"
                raise ConfigError(
                    f"MapLevels: column {rule['from']!r} has none of the levels that {new!r} maps, "
                    f"such as {level!r}{hint}"
                )
        return self

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        rules = self._mapping("{adults: {from: status, map: {Married: 2}, default: 1}}")
        for new, rule in rules.items():
            self._check_rule(new, rule)
        columns = self._known([rule["from"] for rule in rules.values()], X)
        self._of_role(columns, X, ["categorical", "ordinal"])
        numbers = {new: _mapped(X[rule["from"]], rule) for new, rule in rules.items()}
        return self._with(X, numbers, columns)

    def _check_rule(self, new: str, rule: Any) -> None:
        where = f"MapLevels: columns.{new}"
        if not isinstance(rule, Mapping) or not {"from", "map"} <= set(rule):
            raise ConfigError(f"{where} needs from and map (and may have default), got {rule!r}")
        for key in rule:
            if key not in (known := ("from", "map", "default")):
                raise ConfigError(
                    f"{where} has from, map and default, not {key!r}{did_you_mean(key, known)}"
                )
        levels, default = rule["map"], rule.get("default")
        if not isinstance(levels, Mapping) or not levels:
            raise ConfigError(f"{where}.map needs level: number, got {levels!r}")
        for level, number in levels.items():
            if not isinstance(level, str):
                raise ConfigError(f"{where}.map: a level is text; put {level!r} in quotes")
            _check_number(number, f"{where}.map.{level}")
        if default is not None:
            _check_number(default, f"{where}.default")


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where} must be a number, got {value!r}")


def _mapped(column: pd.Series, rule: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    codes, levels = pd.factorize(column)
    default = np.nan if rule.get("default") is None else rule["default"]
    # The last number is that of code -1, a missing cell.
    numbers = [*(rule["map"].get(str(level), default) for level in levels), np.nan]
    return np.array(numbers, dtype=float)[codes]


class KeepColumns(_TableStep):
    """Keep some columns, in the order in which they are named.

    Parameters
    ----------
    columns : list of str

    Examples
    --------
    >>> X = pd.DataFrame({"age": [31.0], "income": [20.5], "visits": [2.0]})
    >>> list(KeepColumns(["visits", "age"]).fit_transform(X))
    ['visits', 'age']
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[self._listed(self.columns, X)]


class DropColumns(_TableStep):
    """Leave some columns out.

    Parameters
    ----------
    columns : list of str

    Examples
    --------
    >>> X = pd.DataFrame({"age": [31.0], "income": [20.5], "visits": [2.0]})
    >>> list(DropColumns(["income"]).fit_transform(X))
    ['age', 'visits']
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def _changed(self, X: pd.DataFrame) -> pd.DataFrame:
        columns = self._listed(self.columns, X)
        if len(columns) == X.shape[1]:
            raise ConfigError("DropColumns leaves no column; name fewer")
        return X.drop(columns=columns)

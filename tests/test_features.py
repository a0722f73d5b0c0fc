"""Small tables checked by eye; what every transformer keeps is asked of each of them."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn import __version__ as sklearn_version
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from segexp.errors import ConfigError
from segexp.features import (
    ROLES,
    CategoryEncoder,
    CategoryPairs,
    CrossFitTargetEncoder,
    DateFeatures,
    HingeFeatures,
    OrdinalCodes,
    PlainNames,
    QuantileClipper,
    RoleColumns,
)
from segexp.saved_model import TRUSTED

# Before pandas 3, "str" is no dtype: it turns a missing cell into the text "nan".
TEXT_DTYPES = ["object", "string", "category", *(["str"] if pd.__version__ >= "3" else [])]
NAN = np.nan


def text(*cells: Any) -> pd.Series:
    return pd.Series(cells, dtype=object)


def dates(*cells: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(list(cells))).astype("datetime64[ns]")


def sizes(*cells: str | None) -> pd.Series:
    return pd.Series(pd.Categorical(cells, ["small", "medium", "large"], ordered=True))


def table(**columns: pd.Series | list[Any]) -> pd.DataFrame:
    return pd.DataFrame(columns)


SEGMENT = np.array([0, 1, 0, 1, 1, 0])
CUSTOMERS = table(
    age=[20.0, 30.0, 40.0, 50.0, 60.0, 70.0],
    visits=[1.0, 2.0, 3.0, 5.0, 8.0, 13.0],
    job=text("Doctor", "Artist", "Doctor", NAN, "Lawyer", "Artist"),
    city=text("Oslo", "Oslo", "Rome", "Rome", "Oslo", "Rome"),
    size=sizes("small", "large", None, "medium", "small", "large"),
    joined=dates("2024-01-05", None, "2025-02-04", "2026-01-05", "2026-02-04", "2026-03-01"),
).set_index(pd.Index([11, 12, 13, 14, 15, 16]))
NUMERIC, CATEGORICAL = ["age", "visits"], ["job", "city"]

# A transformer, with parameters that are not its defaults, and its columns.
CASES = [
    (QuantileClipper(lower=0.1, upper=0.8), NUMERIC),
    (HingeFeatures(n_knots=2), NUMERIC),
    (PlainNames(), list(CUSTOMERS)),
    (CategoryEncoder(max_categories=2), CATEGORICAL),
    (OrdinalCodes(), ["size"]),
    (DateFeatures(), ["joined"]),
    (CategoryPairs(max_pairs=1), CATEGORICAL),
    (CrossFitTargetEncoder(smooth=2.0, n_splits=2, random_state=1), CATEGORICAL),
]
every_transformer = pytest.mark.parametrize(
    ("transformer", "columns"), CASES, ids=[type(case[0]).__name__ for case in CASES]
)
NEEDS_TABLE = [(CategoryEncoder(), CATEGORICAL), *CASES[2:3], *CASES[4:7]]


# What scikit-learn asks of an estimator. Its checks pass arrays, which have no dtype per column,
# so the transformers that need a DataFrame are tested by hand only.


@parametrize_with_checks([QuantileClipper(), HingeFeatures(), CrossFitTargetEncoder()])
def test_scikit_learn_checks(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)


@every_transformer
def test_names_are_those_of_the_columns(transformer: BaseEstimator, columns: list[str]) -> None:
    fitted = clone(transformer).set_output(transform="pandas").fit(CUSTOMERS[columns], SEGMENT)
    features = fitted.transform(CUSTOMERS[columns])
    assert list(features) == list(fitted.get_feature_names_out())
    assert features.columns.is_unique


@every_transformer
def test_pandas_output_keeps_cells_and_index(
    transformer: BaseEstimator, columns: list[str]
) -> None:
    X = CUSTOMERS[columns]
    plain = clone(transformer).fit(X, SEGMENT).transform(X)
    framed = clone(transformer).set_output(transform="pandas").fit(X, SEGMENT).transform(X)
    assert list(framed.index) == list(X.index)
    by_hand = pd.DataFrame(np.asarray(plain), index=X.index, columns=list(framed))
    assert_frame_equal(framed.astype(object), by_hand.astype(object))


@every_transformer
def test_a_clone_keeps_the_parameters(transformer: BaseEstimator, columns: list[str]) -> None:
    fitted = clone(transformer).fit(CUSTOMERS[columns], SEGMENT)
    copy = clone(fitted)
    assert copy.get_params() == transformer.get_params()
    assert not hasattr(copy, "n_features_in_")


@every_transformer
def test_a_saved_transformer_gives_the_same_features(
    transformer: BaseEstimator, columns: list[str]
) -> None:
    X = CUSTOMERS[columns]
    fitted = clone(transformer)
    fitted.fit_transform(X, SEGMENT)
    loaded = skops.io.loads(skops.io.dumps(fitted), trusted=list(TRUSTED))
    assert_frame_equal(pd.DataFrame(loaded.transform(X)), pd.DataFrame(fitted.transform(X)))
    assert list(loaded.get_feature_names_out()) == list(fitted.get_feature_names_out())


@every_transformer
def test_transform_learns_nothing(transformer: BaseEstimator, columns: list[str]) -> None:
    fitted = clone(transformer).fit(CUSTOMERS[columns].iloc[:4], SEGMENT[:4])
    before = joblib.hash(vars(fitted))
    fitted.transform(CUSTOMERS[columns].iloc[4:])
    assert joblib.hash(vars(fitted)) == before


@every_transformer
def test_a_row_is_transformed_by_itself(transformer: BaseEstimator, columns: list[str]) -> None:
    X = CUSTOMERS[columns]
    fitted = clone(transformer).set_output(transform="pandas").fit(X, SEGMENT)
    together = fitted.transform(X)
    for i in range(len(X)):
        assert_frame_equal(fitted.transform(X.iloc[[i]]), together.iloc[[i]], check_dtype=False)


@every_transformer
def test_the_table_given_stays_as_it_is(transformer: BaseEstimator, columns: list[str]) -> None:
    X = CUSTOMERS[columns].copy()
    fitted = clone(transformer)
    fitted.fit_transform(X, SEGMENT)
    fitted.transform(X)
    assert_frame_equal(X, CUSTOMERS[columns])


@every_transformer
def test_transform_before_fit_is_refused(transformer: BaseEstimator, columns: list[str]) -> None:
    with pytest.raises(NotFittedError):
        clone(transformer).transform(CUSTOMERS[columns])
    with pytest.raises(NotFittedError):
        clone(transformer).get_feature_names_out()


@every_transformer
def test_a_table_of_other_columns_is_refused(
    transformer: BaseEstimator, columns: list[str]
) -> None:
    fitted = clone(transformer).fit(CUSTOMERS[columns], SEGMENT)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(CUSTOMERS[columns].rename(columns={columns[0]: "other"}))


@pytest.mark.parametrize(
    ("transformer", "columns"), NEEDS_TABLE, ids=[type(case[0]).__name__ for case in NEEDS_TABLE]
)
def test_an_array_is_refused_where_dtypes_are_needed(
    transformer: BaseEstimator, columns: list[str]
) -> None:
    with pytest.raises(ConfigError, match="needs a pandas DataFrame, got ndarray"):
        clone(transformer).fit(CUSTOMERS[columns].to_numpy())


@pytest.mark.parametrize(
    "transformer",
    [
        QuantileClipper(lower=0.9, upper=0.1),
        QuantileClipper(lower=0.5, upper=0.5),
        QuantileClipper(lower=-0.1),
        QuantileClipper(upper=1.1),
        HingeFeatures(n_knots=0),
        CategoryEncoder(max_categories=1),
        CategoryPairs(max_pairs=-1),
    ],
    ids=repr,
)
def test_a_parameter_out_of_range_is_refused(transformer: BaseEstimator) -> None:
    with pytest.raises(ConfigError, match=f"{type(transformer).__name__} needs .*, got "):
        transformer.fit(CUSTOMERS[NUMERIC])


# RoleColumns


@pytest.mark.parametrize(
    ("dtype", "role"),
    [
        ("float64", "numeric"),
        ("float32", "numeric"),
        ("int64", "numeric"),
        ("bool", "numeric"),
        ("Int64", "numeric"),
        ("boolean", "numeric"),
        ("object", "categorical"),
        ("str", "categorical"),
        ("string", "categorical"),
        ("category", "categorical"),
        (pd.CategoricalDtype(["low", "high"], ordered=True), "ordinal"),
        ("datetime64[ns]", "date"),
        ("datetime64[s]", "date"),
    ],
    ids=str,
)
def test_each_dtype_has_one_role(dtype: Any, role: str) -> None:
    X = table(column=pd.Series([], dtype=dtype))
    assert [name for name in ROLES if RoleColumns(name)(X)] == [role]


@pytest.mark.parametrize("dtype", ["datetime64[ns, UTC]", "timedelta64[ns]", "period[D]"])
def test_other_dtypes_have_no_role(dtype: str) -> None:
    X = table(column=pd.Series([], dtype=dtype))
    assert [name for name in ROLES if RoleColumns(name)(X)] == []


def test_columns_of_a_role_are_in_the_order_of_the_table() -> None:
    X = CUSTOMERS[["visits", "job", "age", "city"]]
    assert RoleColumns("numeric")(X) == ["visits", "age"]


def test_a_role_without_columns_selects_none() -> None:
    assert RoleColumns("date")(CUSTOMERS[NUMERIC]) == []


def test_a_misspelt_role_is_named() -> None:
    with pytest.raises(ConfigError, match="no column role 'numerical'"):
        RoleColumns("numerical")


def all_roles() -> ColumnTransformer:
    branches = [
        ("numeric", HingeFeatures(), RoleColumns("numeric")),
        ("categorical", CategoryEncoder(), RoleColumns("categorical")),
        ("ordinal", OrdinalCodes(), RoleColumns("ordinal")),
        ("date", DateFeatures(), RoleColumns("date")),
    ]
    columns = ColumnTransformer(branches, verbose_feature_names_out=False)
    return columns.set_output(transform="pandas")


@pytest.mark.parametrize("role", ROLES)
def test_a_table_may_lack_a_role(role: str) -> None:
    lacking = RoleColumns(role)(CUSTOMERS)
    X = CUSTOMERS.drop(columns=lacking)
    whole = all_roles().fit_transform(CUSTOMERS)
    features = all_roles().fit_transform(X)
    assert_frame_equal(features, whole[list(features)])
    assert {name for name in whole if name.startswith(tuple(lacking))} == {*whole} - {*features}


@pytest.mark.parametrize("role", ROLES)
def test_a_table_may_have_one_role_only(role: str) -> None:
    X = CUSTOMERS[RoleColumns(role)(CUSTOMERS)]
    assert len(all_roles().fit_transform(X)) == len(X)


def test_a_saved_column_transformer_selects_the_same_columns() -> None:
    fitted = all_roles().fit(CUSTOMERS)
    loaded = skops.io.loads(skops.io.dumps(fitted), trusted=list(TRUSTED))
    selectors = [selector for _, _, selector in loaded.transformers]
    assert selectors == [RoleColumns(role) for role in ROLES]
    assert_frame_equal(loaded.transform(CUSTOMERS), fitted.transform(CUSTOMERS))


# QuantileClipper


def test_bounds_are_quantiles_of_the_values_that_are_there() -> None:
    X = table(spent=[0.0, 10.0, 20.0, 30.0, 40.0, NAN])
    clipper = QuantileClipper(lower=0.25, upper=0.75).fit(X)
    assert clipper.bounds_.tolist() == [[10.0], [30.0]]


def test_values_beyond_the_bounds_move_to_them() -> None:
    clipper = QuantileClipper(lower=0.25, upper=0.75).fit([[0.0], [10.0], [20.0], [30.0], [40.0]])
    assert clipper.transform([[-99.0], [15.0], [99.0]]).ravel().tolist() == [10.0, 15.0, 30.0]


def test_a_clipped_nan_stays_nan() -> None:
    clipper = QuantileClipper().fit([[1.0], [2.0], [3.0]])
    assert np.isnan(clipper.transform([[NAN]])).all()


def test_a_rare_flag_is_not_clipped() -> None:
    flag = np.array([[0.0]] * 999 + [[1.0]])
    assert_array_equal(QuantileClipper().fit_transform(flag), flag)


def test_a_column_without_values_is_not_clipped() -> None:
    clipper = QuantileClipper().fit(table(empty=[NAN, NAN], full=[1.0, 2.0]))
    assert clipper.bounds_.tolist() == [[-np.inf, 1.0], [np.inf, 2.0]]
    assert clipper.transform(table(empty=[NAN, 7.0], full=[0.0, 9.0])).tolist()[1] == [7.0, 2.0]


# HingeFeatures


def test_three_knots_are_the_quartiles() -> None:
    hinges = HingeFeatures(n_knots=3).fit([[0.0], [10.0], [20.0], [30.0], [40.0]])
    assert [knots.tolist() for knots in hinges.knots_] == [[10.0, 20.0, 30.0]]


def test_a_hinge_is_how_far_a_value_lies_above_its_knot() -> None:
    hinges = HingeFeatures(n_knots=1).fit(table(age=[0.0, 10.0, 20.0], kids=[0.0, 2.0, 4.0]))
    assert hinges.transform(table(age=[5.0, 99.0], kids=[3.0, 2.0])).tolist() == [
        [5.0, 3.0, 0.0, 1.0],
        [99.0, 2.0, 89.0, 0.0],
    ]
    assert list(hinges.get_feature_names_out()) == [
        "age",
        "kids",
        "age above 10",
        "kids above 2",
    ]


@pytest.mark.parametrize("column", [[5.0, 5.0, 5.0], [0.0] * 9 + [1.0], [0.0] + [1.0] * 9])
def test_a_constant_or_a_rare_flag_has_no_hinge(column: list[float]) -> None:
    X = np.array(column)[:, None]
    assert_array_equal(HingeFeatures().fit_transform(X), X)


def test_equal_knots_count_once() -> None:
    hinges = HingeFeatures(n_knots=3).fit([[0.0], [5.0], [5.0], [5.0], [9.0]])
    assert [knots.tolist() for knots in hinges.knots_] == [[5.0]]


def test_hinges_refuse_missing_values() -> None:
    with pytest.raises(ValueError, match="NaN"):
        HingeFeatures().fit([[1.0], [NAN]])
    with pytest.raises(ValueError, match="NaN"):
        HingeFeatures().fit([[1.0], [2.0]]).transform([[NAN]])


# PlainNames


def test_characters_that_boosters_refuse_become_underscores() -> None:
    X = pd.DataFrame(columns=["a[1]", "b<2", 'c:"x"', "d{e},f>", "plain name"])
    names = ["a_1_", "b_2", "c__x_", "d_e__f_", "plain name"]
    assert PlainNames().fit(X).names_ == names


def test_plain_names_stay_unique() -> None:
    X = pd.DataFrame(columns=["a[", "a]", "a_"])
    assert PlainNames().fit(X).names_ == ["a__", "a___", "a_"]


def test_plain_names_leave_cells_and_dtypes() -> None:
    X = CUSTOMERS.rename(columns={"age": "age [years]"})
    features = PlainNames().fit_transform(X)
    assert_frame_equal(features, CUSTOMERS.rename(columns={"age": "age _years_"}))


# CategoryEncoder


def test_categories_are_the_levels_sorted_by_name() -> None:
    encoder = CategoryEncoder().fit(table(job=text("b", "c", "a", "c", NAN)))
    assert [list(categories) for categories in encoder.categories_] == [["a", "b", "c"]]
    assert [list(rare) for rare in encoder.rare_] == [[]]


def test_unseen_and_missing_levels_become_missing() -> None:
    encoder = CategoryEncoder().fit(table(job=text("a", "b")))
    jobs = encoder.transform(table(job=text("b", "new", NAN, None)))["job"]
    assert jobs.isna().tolist() == [False, True, True, True]
    assert list(jobs.cat.categories) == ["a", "b"]


def test_rare_levels_share_one_category() -> None:
    X = table(job=text("c", "c", "b", "b", "a", "d", NAN))
    encoder = CategoryEncoder(max_categories=3).fit(X)
    assert list(encoder.categories_[0]) == ["b", "c", "(other)"]
    assert list(encoder.rare_[0]) == ["a", "d"]
    jobs = encoder.transform(table(job=text("c", "a", "d", "new", NAN)))["job"]
    assert jobs.astype(object).fillna("-").tolist() == ["c", "(other)", "(other)", "-", "-"]


def test_as_many_levels_as_allowed_are_all_kept() -> None:
    encoder = CategoryEncoder(max_categories=2).fit(table(job=text("a", "b", "b")))
    assert list(encoder.categories_[0]) == ["a", "b"]


def test_equally_frequent_levels_are_kept_by_name() -> None:
    encoder = CategoryEncoder(max_categories=2).fit(table(job=text("c", "b", "a")))
    assert list(encoder.categories_[0]) == ["a", "(other)"]


def test_a_column_without_levels_has_one_category_and_no_value() -> None:
    encoder = CategoryEncoder().fit(table(job=text(NAN, NAN)))
    jobs = encoder.transform(table(job=text("new", NAN)))["job"]
    assert list(jobs.cat.categories) == ["(other)"]
    assert jobs.isna().all()


@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_text_of_each_dtype_is_encoded_alike(dtype: str) -> None:
    X = table(job=text("b", NAN, "a"))
    assert_frame_equal(CategoryEncoder().fit_transform(X.astype(dtype)), encoded_by_hand())


def encoded_by_hand() -> pd.DataFrame:
    levels = pd.Index(["a", "b"], dtype=object)
    return table(job=pd.Series(pd.Categorical.from_codes([1, -1, 0], levels)))


# OrdinalCodes


def test_ranks_follow_the_declared_order() -> None:
    codes = OrdinalCodes().fit_transform(table(size=sizes("small", "large", "medium")))
    assert codes.ravel().tolist() == [0.0, 2.0, 1.0]


def test_a_declared_level_that_no_row_has_keeps_its_rank() -> None:
    codes = OrdinalCodes().fit(table(size=sizes("small", "large")))
    assert list(codes.categories_[0]) == ["small", "medium", "large"]
    assert codes.transform(table(size=sizes("medium"))).tolist() == [[1.0]]


def test_missing_and_undeclared_levels_have_no_rank() -> None:
    codes = OrdinalCodes().fit(table(size=sizes("small")))
    huge = pd.Series(pd.Categorical(["large", "huge", None], ["huge", "large"], ordered=True))
    assert_array_equal(codes.transform(table(size=huge)), [[2.0], [NAN], [NAN]])


def test_an_ordinal_column_without_values_is_all_nan() -> None:
    features = OrdinalCodes().fit_transform(table(size=sizes(None, None)))
    assert_array_equal(features, [[NAN], [NAN]])


@pytest.mark.parametrize("column", ["age", "job", "joined"])
def test_columns_that_have_no_order_are_refused(column: str) -> None:
    with pytest.raises(ConfigError, match=f"column '{column}' is"):
        OrdinalCodes().fit(CUSTOMERS[[column]])


# DateFeatures


def test_days_count_back_from_the_latest_date_of_fit() -> None:
    features = DateFeatures().fit(table(joined=dates("2026-01-05", None, "2026-02-04")))
    assert features.latest_.tolist() == dates("2026-02-04").to_numpy().tolist()
    later = features.transform(table(joined=dates("2026-02-04", "2026-02-03", "2026-02-14")))
    assert later[:, 0].tolist() == [0.0, 1.0, -10.0]


def test_only_the_parts_that_vary_are_kept() -> None:
    # A Monday and a Wednesday of one year.
    X = table(joined=dates("2026-01-05", "2026-02-04"))
    features = DateFeatures().fit(X)
    assert features.parts_ == [["month", "weekday"]]
    assert list(features.get_feature_names_out()) == [
        "joined_days_ago",
        "joined_month",
        "joined_weekday",
    ]
    assert features.transform(X).tolist() == [[30.0, 1.0, 0.0], [0.0, 2.0, 2.0]]


def test_each_date_column_counts_from_its_own_latest_date() -> None:
    X = table(joined=dates("2026-01-05", "2026-01-12"), left=dates("2026-01-07", "2026-01-07"))
    assert DateFeatures().fit_transform(X).tolist() == [[7.0, 0.0], [0.0, 0.0]]


def test_nat_becomes_nan_in_every_feature() -> None:
    X = table(joined=dates("2025-01-05", "2026-02-04", None))
    features = DateFeatures().fit_transform(X)
    assert features.shape == (3, 4)
    assert np.isnan(features).tolist() == [[False] * 4, [False] * 4, [True] * 4]


def test_a_column_without_dates_gives_nan_days() -> None:
    features = DateFeatures().fit(table(joined=dates(None, None)))
    assert np.isnat(features.latest_).all()
    assert features.parts_ == [[]]
    assert_array_equal(features.transform(table(joined=dates("2026-01-05", None))), [[NAN], [NAN]])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_a_date_does_not_matter(unit: str) -> None:
    X = table(joined=dates("2026-01-05", "2026-02-04").astype(f"datetime64[{unit}]"))
    assert DateFeatures().fit_transform(X)[:, 0].tolist() == [30.0, 0.0]


@pytest.mark.parametrize("column", ["age", "job", "size"])
def test_columns_that_are_no_dates_are_refused(column: str) -> None:
    with pytest.raises(ConfigError, match=f"DateFeatures needs dates, column '{column}' is"):
        DateFeatures().fit(CUSTOMERS[[column]])


# CategoryPairs


def test_a_pair_joins_the_cells_of_two_columns() -> None:
    X = table(gender=text("F", "M"), job=text("Doctor", "Artist"))
    pairs = CategoryPairs().fit(X)
    assert pairs.transform(X).tolist() == [
        ["F", "Doctor", "F & Doctor"],
        ["M", "Artist", "M & Artist"],
    ]
    assert list(pairs.get_feature_names_out()) == ["gender", "job", "gender & job"]


def test_unseen_levels_take_part_in_pairs() -> None:
    pairs = CategoryPairs().fit(table(a=text("x", "y"), b=text("u", "v")))
    assert pairs.transform(table(a=text("new"), b=text("u"))).tolist() == [["new", "u", "new & u"]]


@pytest.mark.parametrize("dtype", TEXT_DTYPES)
def test_missing_cells_take_part_in_pairs_and_stay_missing_alone(dtype: str) -> None:
    X = table(a=text("x", NAN), b=text("u", "v")).astype(dtype)
    features = CategoryPairs().fit_transform(X)
    assert features[:, 2].tolist() == ["x & u", "(missing) & v"]
    assert pd.isna(features).tolist() == [[False] * 3, [True, False, False]]


def test_pairs_with_the_fewest_combinations_are_taken() -> None:
    # a with b and a with c have 3 combinations, b with c has 2.
    X = table(a=text(*"1232"), b=text(*"xyxy"), c=text(*"uvuv"))
    assert CategoryPairs(max_pairs=1).fit(X).pairs_ == [(1, 2)]


def test_pairs_with_equally_many_combinations_are_taken_by_order() -> None:
    X = table(a=text(*"xy"), b=text(*"xy"), c=text(*"xy"))
    assert CategoryPairs(max_pairs=2).fit(X).pairs_ == [(0, 1), (0, 2)]


def test_a_column_of_one_level_is_not_paired() -> None:
    X = table(a=text("x", "y"), same=text("u", "u"), empty=text(NAN, NAN), b=text("u", "v"))
    assert CategoryPairs().fit(X).pairs_ == [(0, 3)]


def test_no_pairs_leave_the_columns_as_they_are() -> None:
    features = CategoryPairs(max_pairs=0).fit_transform(CUSTOMERS[CATEGORICAL])
    assert_frame_equal(pd.DataFrame(features), pd.DataFrame(CUSTOMERS[CATEGORICAL].to_numpy()))


def test_a_single_column_has_no_pair() -> None:
    assert CategoryPairs().fit_transform(table(a=text("x", "y"))).tolist() == [["x"], ["y"]]


# CrossFitTargetEncoder


def test_a_level_is_encoded_as_its_smoothed_share() -> None:
    # (2 + 1 * 0.5) / (3 + 1) and (0 + 1 * 0.5) / (1 + 1), as the share over all rows is 0.5.
    X = table(job=text("a", "a", "a", "b"))
    encoder = CrossFitTargetEncoder(smooth=1.0).fit(X, [1, 1, 0, 0])
    shares = encoder.transform(table(job=text("a", "b")))
    assert shares.ravel().tolist() == [0.625, 0.25]


def test_unseen_and_missing_levels_get_the_share_over_all_rows() -> None:
    encoder = CrossFitTargetEncoder(smooth=1.0).fit(table(job=text(*"aaab")), [1, 1, 1, 0])
    assert encoder.transform(table(job=text("new", NAN))).ravel().tolist() == [0.75, 0.75]


def test_missing_is_a_level_where_fit_saw_it() -> None:
    X = table(job=text("a", "a", NAN, NAN))
    encoder = CrossFitTargetEncoder(smooth=2.0).fit(X, [0, 1, 1, 1])
    # (2 + 2 * 0.75) / (2 + 2)
    assert encoder.transform(table(job=text(NAN))).tolist() == [[0.875]]


def test_a_column_without_levels_is_encoded_as_the_share_over_all_rows() -> None:
    X = table(job=text(*[NAN] * 4))
    encoder = CrossFitTargetEncoder(smooth=1.0).fit(X, [0, 1, 1, 1])
    assert encoder.transform(X).ravel().tolist() == [0.75] * 4


def test_more_than_two_segments_give_a_share_of_each() -> None:
    X = table(job=text(*"aabbcc"))
    encoder = CrossFitTargetEncoder(smooth=0.0, n_splits=2).fit(X, list("AABBCC"))
    assert list(encoder.get_feature_names_out()) == ["job_A", "job_B", "job_C"]
    assert encoder.transform(table(job=text("b"))).tolist() == [[0.0, 1.0, 0.0]]


def customers_at_random() -> tuple[pd.DataFrame, np.ndarray]:
    """400 customers, a column of 200 levels, and segments that have nothing to do with it."""
    rng = np.random.default_rng(0)
    levels = rng.integers(200, size=400).astype(str)
    return table(code=text(*levels)), rng.permutation(np.repeat([0, 1], 200))


def test_a_random_column_does_not_predict_the_training_rows() -> None:
    X, y = customers_at_random()
    encoder = CrossFitTargetEncoder(random_state=0)
    cross_fitted = roc_auc_score(y, encoder.fit_transform(X, y)[:, 0])
    seen = roc_auc_score(y, encoder.fit(X, y).transform(X)[:, 0])
    assert abs(cross_fitted - 0.5) < 0.1
    assert seen > 0.8


def test_a_level_of_one_customer_says_nothing_about_that_customer() -> None:
    y = np.tile([0, 1], 20)
    X = table(number=text(*map(str, range(40))))
    encoded = CrossFitTargetEncoder(smooth=1.0, n_splits=4, random_state=0).fit_transform(X, y)
    # All customers of a fold get the share over the other folds.
    assert len(np.unique(encoded)) <= 4
    assert roc_auc_score(y, encoded[:, 0]) <= 0.5


def test_new_rows_are_encoded_by_all_rows() -> None:
    X, y = customers_at_random()
    crossed, fitted = CrossFitTargetEncoder(random_state=0), CrossFitTargetEncoder()
    crossed.fit_transform(X, y)
    fitted.fit(X, y)
    assert_array_equal(crossed.transform(X), fitted.transform(X))


def test_the_seed_decides_the_folds() -> None:
    X, y = customers_at_random()
    first, again, other = (
        CrossFitTargetEncoder(random_state=seed).fit_transform(X, y) for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fit_transform_keeps_the_parameters() -> None:
    X, y = customers_at_random()
    encoder = CrossFitTargetEncoder(smooth=3.0, n_splits=4, random_state=7)
    encoder.fit_transform(X, y)
    assert encoder.get_params() == {"smooth": 3.0, "n_splits": 4, "random_state": 7}


@pytest.mark.skipif(
    tuple(map(int, sklearn_version.split(".")[:2])) < (1, 9), reason="folds were stratified"
)
def test_a_segment_of_one_customer_raises_no_warning() -> None:
    X = table(job=text(*"abababab"))
    segments = ["A"] * 4 + ["B"] * 3 + ["C"]
    encoded = CrossFitTargetEncoder(n_splits=2, random_state=0).fit_transform(X, segments)
    assert encoded.shape == (8, 3)


def test_a_level_called_other_is_one_of_the_others():
    X = pd.DataFrame({"x": pd.Series(["(other)", "(other)", "b", "c"], dtype=object)})
    encoded = CategoryEncoder(max_categories=2).fit_transform(X)
    assert list(encoded["x"]) == ["(other)", "(other)", "b", "(other)"]

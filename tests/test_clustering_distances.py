"""Distances: by hand, exact in blocks, and what each column carries of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from segexp.clustering.distances import (
    Gower,
    distance_for,
    distance_shares,
    euclidean,
    in_blocks,
)
from segexp.errors import DataError


def customers(n: int, *, missing: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Three numbers and two categories."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name in ("age", "income", "spent"):
        values = rng.normal(size=n)
        values[rng.random(n) < missing] = np.nan
        columns[name] = values
    for name in ("job", "city"):
        codes = rng.integers(0, 4, n)
        codes[rng.random(n) < missing] = -1
        columns[name] = pd.Categorical.from_codes(codes, list("abcd"))
    return pd.DataFrame(columns)


def gower_by_pairs(A: pd.DataFrame, B: pd.DataFrame, ranges: dict[str, float]) -> np.ndarray:
    """The definition, one pair and one column after the other."""
    D = np.ones((len(A), len(B)))
    for i in range(len(A)):
        for j in range(len(B)):
            parts = []
            for name in A:
                a, b = A[name].iloc[i], B[name].iloc[j]
                if pd.isna(a) or pd.isna(b):
                    continue
                parts.append(abs(a - b) / ranges[name] if name in ranges else float(a != b))
            if parts:
                D[i, j] = np.mean(parts)
    return D


def test_euclidean_is_the_length_of_the_difference():
    assert euclidean([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]).tolist() == [[5.0, 0.0]]


def test_gower_is_the_mean_of_scaled_differences_and_mismatches():
    Z = pd.DataFrame(
        {"age": [20.0, 30.0, 60.0], "job": pd.Categorical(["a", "a", "b"]), "x": [0.0, 1.0, 1.0]}
    )
    expected = [[0, (0.25 + 0 + 1) / 3, 1], [(0.25 + 0 + 1) / 3, 0, (0.75 + 1) / 3]]
    assert Gower.of(Z)(Z.iloc[:2], Z) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.7])
def test_gower_equals_its_definition(missing):
    A, B = customers(30, missing=missing), customers(40, missing=missing, seed=1)
    gower = Gower.of(B)
    assert gower(A, B) == pytest.approx(gower_by_pairs(A, B, gower.ranges), abs=1e-12)


def test_gower_of_numbers_alone_is_a_scaled_city_block():
    Z = customers(50)[["age", "income"]]
    scaled = Z.to_numpy() / np.ptp(Z.to_numpy(), axis=0)
    assert Gower.of(Z)(Z, Z) == pytest.approx(cdist(scaled, scaled, "cityblock") / 2)


def test_gower_of_categories_alone_is_the_share_of_mismatches():
    Z = customers(50)[["job", "city"]]
    codes = Z.apply(lambda column: column.cat.codes).to_numpy()
    assert Gower.of(Z)(Z, Z) == pytest.approx(cdist(codes, codes, "hamming"))


def test_a_missing_cell_leaves_its_column_out_of_the_pair():
    Z = pd.DataFrame({"age": [0.0, np.nan, 10.0], "job": pd.Categorical(["a", "b", "a"])})
    assert Gower.of(Z)(Z, Z)[0].tolist() == [0.0, 1.0, 0.5]


def test_two_who_have_nothing_in_common_are_at_distance_one():
    Z = pd.DataFrame({"age": [0.0, np.nan, 10.0], "job": pd.Categorical([None, "b", "a"])})
    assert Gower.of(Z)(Z, Z)[0, 1] == 1


def test_a_constant_column_adds_nothing_but_counts():
    Z = pd.DataFrame({"age": [0.0, 1.0], "one": [7.0, 7.0]})
    assert Gower.of(Z)(Z, Z + 1).tolist() == [[0.5, 1.0], [0.0, 0.5]]


def test_a_customer_beyond_the_range_is_farther_than_one():
    Z = pd.DataFrame({"age": [0.0, 10.0]})
    assert Gower.of(Z)(pd.DataFrame({"age": [30.0]}), Z).tolist() == [[3.0, 2.0]]


def test_categories_are_compared_by_value_not_by_code():
    A = pd.DataFrame({"job": pd.Categorical(["b"], categories=["b"])})
    B = pd.DataFrame({"job": pd.Categorical(["a", "b"], categories=["a", "b"])})
    assert Gower.of(B)(A, B).tolist() == [[1.0, 0.0]]


def test_a_category_never_seen_differs_from_everybody():
    Z = customers(20)[["job"]]
    new = pd.DataFrame({"job": pd.Categorical(["zzz"])})
    assert (Gower.of(Z)(new, Z) == 1).all()


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_blocks_change_nothing_in_gower(missing):
    Z = customers(300, missing=missing)
    gower = Gower.of(Z)
    blocks = [block for _, block in in_blocks(gower, Z, Z, max_bytes=17 * 8 * len(Z))]
    assert len(blocks) == 18
    assert np.array_equal(np.concatenate(blocks), gower(Z, Z))


def test_blocks_change_nothing_in_euclidean():
    Z = customers(300)[["age", "income", "spent"]].to_numpy()
    blocks = [block for _, block in in_blocks(euclidean, Z, Z, max_bytes=17 * 8 * len(Z))]
    assert np.array_equal(np.concatenate(blocks), euclidean(Z, Z))


def test_blocks_are_of_one_row_at_least():
    Z = np.arange(6.0).reshape(3, 2)
    assert [rows for rows, _ in in_blocks(euclidean, Z, Z, max_bytes=1)] == [
        slice(0, 1),
        slice(1, 2),
        slice(2, 3),
    ]


def test_the_distance_of_a_table_is_gower_and_of_an_array_euclidean():
    Z = customers(5)
    assert distance_for(Z) == Gower.of(Z)
    assert distance_for(Z[["age"]].to_numpy()) is euclidean


def test_the_tables_are_left_as_they_are():
    Z = customers(20, missing=0.2)
    before = Z.copy()
    Gower.of(Z)(Z, Z)
    distance_shares(Z)
    pd.testing.assert_frame_equal(Z, before)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pd.Series(["a", "b"], dtype=object), "column 'x' is object; a distance needs numbers"),
        (pd.Series([1.0, np.inf]), "column 'x' has infinite values"),
    ],
)
def test_a_column_that_cannot_be_measured_is_named(column, words):
    with pytest.raises(DataError, match=words):
        Gower.of(pd.DataFrame({"x": column}))


def test_a_column_that_only_one_table_has_is_named():
    Z = customers(3)
    with pytest.raises(DataError, match="only one of them has: city"):
        Gower.of(Z)(Z, Z.drop(columns="city"))


def test_a_category_that_became_a_number_is_named():
    Z = customers(3)
    with pytest.raises(DataError, match="column 'city' is float64; it was a category"):
        Gower.of(Z)(Z.assign(city=1.0), Z)


# ---- shares ------------------------------------------------------------------------------------


def test_shares_of_an_array_are_those_of_the_variances():
    Z = np.random.default_rng(0).normal(size=(100, 3)) * [1, 2, 3]
    assert distance_shares(Z).to_numpy() == pytest.approx(Z.var(axis=0) / Z.var(axis=0).sum())


def test_shares_of_a_table_are_those_of_the_mean_gower_distance():
    Z = customers(60)
    pairs = np.triu_indices(60, 1)
    parts = pd.Series({name: Gower.of(Z[[name]])(Z[[name]], Z[[name]])[pairs].mean() for name in Z})
    assert parts.mean() == pytest.approx(Gower.of(Z)(Z, Z)[pairs].mean())
    pd.testing.assert_series_equal(distance_shares(Z), parts / parts.sum())


def test_shares_between_segments_are_of_pairs_in_two_segments():
    Z = customers(60)
    labels = np.arange(60) % 3
    pairs = labels[:, None] != labels
    parts = pd.Series({name: Gower.of(Z[[name]])(Z[[name]], Z[[name]])[pairs].mean() for name in Z})
    pd.testing.assert_series_equal(distance_shares(Z, labels), parts / parts.sum())


def test_noise_has_no_share():
    Z = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 50.0]])
    assert distance_shares(Z, [0, 1, -1]).tolist() == [0.5, 0.5]


def test_a_missing_cell_carries_nothing():
    Z = pd.DataFrame({"a": [0.0, 1.0, np.nan], "b": [0.0, 0.5, 1.0]})
    assert distance_shares(Z).tolist() == pytest.approx([1 / 3, 2 / 3])


def test_equal_customers_have_no_distance_to_share():
    assert distance_shares(np.ones((4, 2))).tolist() == [0.0, 0.0]

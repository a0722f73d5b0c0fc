"""How many segments: the criteria, and what becomes of their votes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture

from segexp.clustering.choose_k import (
    _kept_together,
    assess,
    cut,
    decide,
    hopkins,
    is_disputed,
    knee,
    most_segments,
)
from segexp.clustering.mixed import KPrototypes
from segexp.clustering.quality import internal_quality
from segexp.clustering.segmenter import Segmenter
from segexp.errors import ConfigError, DataError

KMEANS = Segmenter(KMeans(n_init=2))
WARD = Segmenter(AgglomerativeClustering())
MIXTURE = Segmenter(GaussianMixture())
FEW = {"n_references": 3, "n_resamples": 4, "n_splits": 2}
NONE = {"n_references": 0, "n_resamples": 0, "n_splits": 0, "silhouette": False}


@pytest.fixture(scope="module")
def blobs():
    """Three round groups of 30 customers, far from each other."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(center, 0.3, (30, 2)) for center in ((0, 0), (4, 0), (0, 4))])


@pytest.fixture(scope="module")
def of_blobs(blobs):
    return assess(blobs, KMEANS, range(1, 6), **FEW)


# ---- the criteria ------------------------------------------------------------------------------


def test_each_criterion_finds_three_far_groups(of_blobs):
    choices = decide(of_blobs).choices.set_index("criterion")["k"]
    # The corner that the three groups leave empty is no reason for the gap to see them.
    assert (choices.drop(["bic", "icl", "gap_pca", "gap_uniform"]) == 3).all(), choices


@pytest.mark.parametrize("segmenter", [KMEANS, WARD], ids=["k-means", "ward"])
def test_a_number_of_segments_alone_gives_the_same_numbers(blobs, segmenter):
    together = assess(blobs, segmenter, [1, 2, 3, 4], **FEW)
    apart = pd.concat([assess(blobs, segmenter, ks, **FEW) for ks in ([1, 3], [2], [4])])
    pd.testing.assert_frame_equal(
        together.drop(columns="seconds"),
        apart.sort_values("k").reset_index(drop=True).drop(columns="seconds"),
        check_exact=True,
    )


def test_the_inertia_is_that_of_k_means(blobs, of_blobs):
    inertia = of_blobs.set_index("k")["inertia"]
    assert inertia[3] == pytest.approx(KMeans(3, n_init=5, random_state=0).fit(blobs).inertia_)
    assert inertia[1] == pytest.approx(len(blobs) * blobs.var(axis=0).sum())


def test_silhouettes_are_those_of_scikit_learn(blobs):
    table = assess(blobs, WARD, [2, 3, 5], **{**NONE, "silhouette": True}).set_index("k")
    for k, value in table["silhouette"].items():
        labels = AgglomerativeClustering(k).fit_predict(blobs)
        assert value == pytest.approx(silhouette_score(blobs, labels))
    assert (table["silhouette_se"] == 0).all()


def test_a_mixture_has_its_own_bic_and_an_icl(blobs):
    row = assess(blobs, MIXTURE, [3], parameter="n_components", **NONE).iloc[0]
    mixture = GaussianMixture(3, random_state=0).fit(blobs)
    posterior = mixture.predict_proba(blobs).clip(1e-300)
    assert row["bic"] == pytest.approx(mixture.bic(blobs))
    assert row["aic"] == pytest.approx(mixture.aic(blobs))
    assert row["icl"] == pytest.approx(
        mixture.bic(blobs) - 2 * (posterior * np.log(posterior)).sum()
    )


def test_what_is_switched_off_is_missing(blobs):
    row = assess(blobs, KMEANS, [2], **NONE).iloc[0]
    missing = row[row.isna()].index
    assert {"silhouette", "gap_uniform", "prediction_strength", "bootstrap_ari"} <= set(missing)
    assert row["inertia"] > 0


def test_one_kind_of_reference_can_be_left_out(blobs):
    row = assess(blobs, KMEANS, [2], references=["pca"], **{**NONE, "n_references": 2}).iloc[0]
    assert math.isnan(row["gap_uniform"]) and not math.isnan(row["gap_pca"])


def test_one_segment_is_measured_where_that_has_a_meaning(of_blobs):
    row = of_blobs.iloc[0]
    assert row["prediction_strength"] == 1 and np.isfinite(row["gap_pca"])
    assert math.isnan(row["silhouette"]) and math.isnan(row["bootstrap_ari"])


def test_the_gap_does_not_depend_on_the_unit(blobs):
    few = {**NONE, "n_references": 3}
    table, scaled = (assess(Z, WARD, [1, 3], **few) for Z in (blobs, 1000 * blobs))
    columns = ["gap_uniform", "gap_uniform_se", "gap_pca"]
    pd.testing.assert_frame_equal(table[columns], scaled[columns])


def test_the_box_of_the_axes_follows_oblique_customers():
    x = np.random.default_rng(0).uniform(0, 10, 120)
    oblique = np.column_stack([x, x + np.random.default_rng(1).uniform(0, 0.5, 120)])
    row = assess(oblique, WARD, [4], **{**NONE, "n_references": 5}).iloc[0]
    # The box of the columns is a square of which the customers fill the diagonal only.
    assert abs(row["gap_pca"]) < 0.2 and row["gap_uniform"] > 0.5


def test_mixed_customers_have_all_but_the_gap():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 20)
    mixed = pd.DataFrame(
        {
            "spending": 5.0 * group + rng.normal(size=60),
            "job": pd.Categorical.from_codes(group, list("abc")),
        }
    )
    table = assess(mixed, Segmenter(KPrototypes()), [1, 2, 3, 4], **FEW)
    assert (decide(table).k, table["gap_pca"].notna().sum()) == (3, 0)


def test_a_sample_of_the_customers_has_a_silhouette_of_unknown_error(blobs):
    row = assess(blobs, KMEANS, [3], max_rows=60, **{**NONE, "silhouette": True}).iloc[0]
    assert row["n_rows"] == 60 and 0.8 < row["silhouette"] < 1
    assert math.isnan(row["silhouette_se"])


def test_sampled_silhouettes_have_the_error_of_quality(monkeypatch):
    monkeypatch.setattr("segexp.clustering.choose_k.MAX_SILHOUETTE_ROWS", 200)
    Z = np.random.default_rng(0).normal(size=(500, 2))
    row = assess(Z, WARD, [3], **{**NONE, "silhouette": True}).iloc[0]
    labels = Segmenter(AgglomerativeClustering(3)).fit(Z).labels_
    found = internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=200)
    assert row["silhouette"] == pytest.approx(found.values["silhouette"])
    assert found.silhouette_se > 0
    assert row["silhouette_se"] == pytest.approx(found.silhouette_se)


def test_customers_of_one_kind_have_no_bootstrap_stability():
    table = assess(np.ones((20, 2)), KMEANS, [1, 2], **{**NONE, "n_resamples": 4})
    assert table["bootstrap_ari"].isna().all()


@pytest.mark.parametrize("method", ["ward", "complete", "average", "single"])
def test_a_cut_tree_gives_the_clusters_of_scikit_learn(method):
    Z = np.random.default_rng(0).normal(size=(40, 3))
    tree = linkage(Z, method)
    for k in (1, 2, 7, 40):
        labels = cut(tree, k)
        assert len(set(labels)) == k
        expected = AgglomerativeClustering(k, linkage=method).fit_predict(Z)
        assert adjusted_rand_score(labels, expected) == 1


def test_pairs_kept_together_are_counted_by_segment():
    # One of the three pairs of segment 0, the only pair of segment 1.
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    assert _kept_together(labels, predicted) == pytest.approx(1 / 3)


def test_a_segment_of_one_customer_is_not_predicted():
    assert _kept_together(np.array([0, 0, 1]), np.array([0, 0, 1])) == 0


def test_customers_of_no_segment_are_not_together():
    assert _kept_together(np.array([0, 0, 0, -1]), np.array([0, -1, -1, 0])) == 0


def test_a_clusterer_without_the_parameter_is_refused(blobs):
    with pytest.raises(ConfigError, match="DBSCAN has no 'n_clusters'"):
        assess(blobs, Segmenter(DBSCAN()), [2])


def test_more_segments_than_half_the_customers_are_left_out(blobs):
    assert assess(blobs, WARD, [2, 45, 46, 90], **NONE)["k"].tolist() == [2, 45]
    assert assess(blobs, WARD, [2, 20, 21], max_rows=41, **NONE)["k"].tolist() == [2, 20]
    assert (most_segments(90), most_segments(10_000), most_segments(90, 41)) == (45, 1000, 20)


@pytest.mark.parametrize("ks", [[], [0, 2], [46]])
def test_impossible_numbers_of_segments_are_refused(blobs, ks):
    with pytest.raises(ConfigError, match="ks must be numbers from 1 to 45"):
        assess(blobs, KMEANS, ks)


def test_an_unknown_reference_is_refused(blobs):
    with pytest.raises(ConfigError, match="references must be among"):
        assess(blobs, KMEANS, [2], references=["gaussian"])


# ---- is there anything -------------------------------------------------------------------------


def test_hopkins_of_customers_at_random_is_a_half():
    assert hopkins(np.random.default_rng(0).uniform(size=(500, 2)), 0) == pytest.approx(
        0.5, abs=0.1
    )


def test_hopkins_of_far_groups_is_near_one(blobs):
    assert hopkins(blobs, 0) > 0.95


def test_hopkins_of_a_lattice_is_small():
    lattice = np.array([(x, y) for x in range(20) for y in range(20)], dtype=float)
    assert hopkins(lattice, 0) < 0.3


def test_hopkins_knows_many_columns():
    assert 0 < hopkins(np.random.default_rng(0).uniform(size=(100, 400)), 0) < 1


def test_hopkins_repeats_with_its_seed(blobs):
    assert hopkins(blobs, 1) == hopkins(blobs, 1) != hopkins(blobs, 2)


@pytest.mark.parametrize("Z", [pd.DataFrame({"a": range(20)}), np.zeros((5, 2)), np.ones((20, 2))])
def test_hopkins_is_missing_where_it_has_no_meaning(Z):
    assert math.isnan(hopkins(Z, 0))


# ---- the choices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100, 50, 10, 8, 6, 4], 3),
        ([10, 8, 6, 4, 2], None),
        ([10, 9.5, 8, 5, 0], None),
        ([5, 5, 5], None),
        ([5, 1], None),
    ],
)
def test_knee(values, expected):
    assert knee(range(1, len(values) + 1), values) == expected


def chosen(table, criterion):
    choices = decide(pd.DataFrame(table)).choices.set_index("criterion")
    return choices.loc[criterion, "k"]


# Every table has something that chooses, so that there is a verdict.
KS = {"k": [1, 2, 3, 4], "davies_bouldin": [math.nan, 0.5, 0.4, 0.6]}


def test_the_gap_rule_takes_the_first_within_the_error_of_the_next():
    # 0.30 < 0.40 - 0.05, then 0.40 >= 0.44 - 0.05.
    table = {**KS, "gap_pca": [0.3, 0.4, 0.44, 0.9], "gap_pca_se": [0.05] * 4}
    assert chosen(table, "gap_pca") == 2


def test_the_gap_rule_may_choose_one():
    table = {**KS, "gap_pca": [0.3, 0.2, 0.44, 0.9], "gap_pca_se": [0.05] * 4}
    assert chosen(table, "gap_pca") == 1


def test_a_gap_that_only_rises_chooses_nothing():
    table = {**KS, "gap_pca": [0.3, 0.4, 0.5, 0.6], "gap_pca_se": [0.05] * 4}
    assert chosen(table, "gap_pca") is pd.NA


def test_prediction_strength_takes_the_largest_strong():
    assert chosen({**KS, "prediction_strength": [1, 0.95, 0.81, 0.8]}, "prediction_strength") == 3


def test_prediction_strength_has_a_standard_error():
    table = {
        **KS,
        "prediction_strength": [1, 0.95, 0.78, 0.7],
        "prediction_strength_se": [0, 0.01, 0.03, 0.03],
    }
    assert chosen(table, "prediction_strength") == 3


def test_an_index_that_is_best_at_the_edge_does_not_choose():
    assert chosen({**KS, "silhouette": [math.nan, 0.2, 0.3, 0.4]}, "silhouette") is pd.NA


def test_prediction_strength_may_choose_one():
    assert chosen({**KS, "prediction_strength": [1, 0.7, 0.6, 0.8]}, "prediction_strength") == 1


def test_stability_takes_the_largest_of_the_best_peaks():
    table = {"k": [2, 3, 4, 5, 6], "bootstrap_ari": [0.97, 0.9, 0.95, 0.93, 0.8]}
    assert chosen({**table, "davies_bouldin": [1, 2, 3, 4, 5]}, "bootstrap_ari") == 4


def test_a_silhouette_within_chance_chooses_one():
    table = {
        **KS,
        "silhouette": [math.nan, 0.40, 0.42, 0.41],
        "silhouette_uniform": [math.nan, 0.40, 0.40, 0.40],
        "silhouette_uniform_sd": [math.nan, 0.02, 0.02, 0.02],
    }
    assert chosen(table, "silhouette_excess") == 1
    assert chosen({**table, "silhouette": [math.nan, 0.4, 0.5, 0.41]}, "silhouette_excess") == 3


def test_a_table_without_any_choice_is_refused():
    with pytest.raises(DataError, match="no criterion can choose"):
        decide(pd.DataFrame({"k": [2, 3]}))


# ---- the verdict -------------------------------------------------------------------------------


def test_three_far_groups_are_natural(blobs, of_blobs):
    verdict = decide(of_blobs, hopkins(blobs, 0))
    assert (verdict.k, verdict.kind) == (3, "natural")
    assert verdict.words.startswith("3 segments: ")


@pytest.mark.parametrize("segmenter", [KMEANS, WARD], ids=["k-means", "ward"])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_customers_without_segments_have_none(kind, segmenter):
    Z = getattr(np.random.default_rng(0), kind)(size=(150, 3))
    table = assess(Z, segmenter, range(1, 7), n_references=6, n_resamples=10, n_splits=4)
    verdict = decide(table, hopkins(Z, 0))
    assert verdict.k == 1, verdict.choices
    assert verdict.kind == "constructive"
    assert verdict.words.startswith("No natural segments")


def test_who_needs_segments_where_there_are_none_gets_those_with_most_votes():
    table = pd.DataFrame({**KS, "prediction_strength": [1, 0.5, 0.6, 0.4]})
    verdict = decide(table.assign(bic=[1, 2, 3, 4], davies_bouldin=[math.nan, 0.5, 0.4, 0.6]))
    assert (verdict.k, verdict.best_k) == (1, 3)


def test_stability_is_what_makes_segments_reproducible():
    table = pd.DataFrame({"k": [2, 3, 4], "silhouette": [0.3, 0.5, 0.4]})
    assert decide(table).kind == "constructive"
    assert decide(table.assign(bootstrap_ari=[0.5, 0.9, 0.6])).kind == "reproducible"
    assert decide(table.assign(bootstrap_ari=[0.5, 0.7, 0.6])).kind == "constructive"


def test_segments_that_only_come_back_are_not_called_natural():
    table = pd.DataFrame({
        "k": [2, 3, 4], "silhouette": [0.5, 0.4, 0.3], "silhouette_uniform": 0.1,
        "silhouette_uniform_sd": 0.01, "silhouette_pca": 0.1, "silhouette_pca_sd": 0.01,
        "prediction_strength": [0.9, 0.9, 0.5], "bootstrap_ari": [0.8, 0.9, 0.6],
    })  # fmt: skip
    verdict = decide(table)
    assert (verdict.k, is_disputed(verdict.choices, 3), is_disputed(verdict.choices, 2)) == (
        3, True, False
    )  # fmt: skip
    assert "They are natural" not in verdict.words
    assert "coming back alone does not make them natural" in verdict.words


def test_the_words_name_who_disagrees():
    table = pd.DataFrame(
        {"k": [2, 3, 4], "silhouette": [0.3, 0.5, 0.4], "davies_bouldin": [0.9, 0.5, 0.6],
         "calinski_harabasz": [10, 20, 5], "prediction_strength": [0.9, 0.7, 0.5]}
    )  # fmt: skip
    words = decide(table).words
    assert "Prediction strength says 2." in words

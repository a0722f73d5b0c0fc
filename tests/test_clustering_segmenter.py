"""Customers on a line and in made-up groups, where the right segment can be seen by eye."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.metrics import adjusted_rand_score, pairwise_distances
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from segexp.clustering.distances import Gower
from segexp.clustering.mixed import GowerAverage, GowerKMedoids, KPrototypes, LatentClasses
from segexp.clustering.segmenter import METRICS, ClusteringError, Segmenter
from segexp.errors import ConfigError
from segexp.saved_model import dump_pipeline, load_pipeline

CONF = Path(__file__).resolve().parents[1] / "conf" / "model"
NAMES = (
    "kmeans", "minibatch_kmeans", "bisecting_kmeans", "agglomerative", "dbscan", "hdbscan",
    "optics", "gaussian_mixture", "birch", "spectral", "mean_shift",
)  # fmt: skip


def customers(seed: int = 0, n_lonely: int = 8) -> np.ndarray:
    """Groups of 100, 80 and 60 customers, and some anywhere, shuffled."""
    rng = np.random.default_rng(seed)
    groups = [
        rng.normal(centre, 0.4, (size, 3)) for centre, size in [(0.0, 100), (3.0, 80), (-3.0, 60)]
    ]
    return rng.permutation(np.vstack([*groups, rng.uniform(-6, 6, (n_lonely, 3))]))


Z, NEW = customers(), customers(seed=1)


def clusterer(name: str) -> Any:
    """What a shipped YAML file describes."""
    described = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))["estimator"]
    module, _, class_name = described.pop("_target_").rpartition(".")
    if "random_state" in described:
        described["random_state"] = 0
    return getattr(import_module(module), class_name)(**described)


every_model = pytest.mark.parametrize("name", NAMES)
# One of each rule, and of each way in which a clusterer is native.
RULES = [
    Segmenter(KMeans(3, random_state=0)),
    Segmenter(Birch(n_clusters=3)),
    Segmenter(BisectingKMeans(3, random_state=0)),
    Segmenter(GaussianMixture(3, random_state=0)),
    Segmenter(DBSCAN(eps=0.6)),
    Segmenter(HDBSCAN(copy=True)),
    Segmenter(AgglomerativeClustering(3), assignment="nearest_centroid"),
    Segmenter(AgglomerativeClustering(3), assignment="nearest_neighbors"),
]
every_rule = pytest.mark.parametrize("segmenter", RULES, ids=lambda s: str(s.clusterer)[:20])


# scikit-learn's checks


@parametrize_with_checks(
    [
        Segmenter(KMeans(3)),
        Segmenter(AgglomerativeClustering(3)),
        Segmenter(DBSCAN()),
        Segmenter(GaussianMixture(3)),
    ]
)
def test_scikit_learn_checks(estimator: BaseEstimator, check: Callable[..., None]) -> None:
    check(estimator)


# Every shipped model


@every_model
def test_a_shipped_model_has_what_the_group_asks_for(name: str) -> None:
    described = yaml.safe_load((CONF / f"{name}.yaml").read_text("utf-8"))
    assert described["name"] == name and described["task"] == "clustering"
    assert set(described["space"]) <= set(clusterer(name).get_params())


@every_model
def test_a_shipped_model_finds_the_groups(name: str) -> None:
    clear = customers(n_lonely=0)
    group = np.round(clear.mean(axis=1) / 3)
    model = clusterer(name)
    n_groups = {"n_clusters", "n_components"} & set(model.get_params())
    found = Segmenter(model).set_params(**dict.fromkeys(n_groups, 3)).fit(clear).labels_
    assert adjusted_rand_score(group[found >= 0], found[found >= 0]) > 0.95


@every_model
def test_a_model_that_was_saved_says_the_same(name: str) -> None:
    pipeline = make_pipeline(StandardScaler(), Segmenter(clusterer(name))).fit(Z)
    loaded = load_pipeline(dump_pipeline(pipeline), name)
    before, after = (saved[-1].assign(saved[:-1].transform(NEW)) for saved in (pipeline, loaded))
    assert_array_equal(loaded.predict(NEW), pipeline.predict(NEW))
    assert_array_equal(after.confidence, before.confidence)
    assert_array_equal(after.unlike, before.unlike)


@every_model
def test_confidence_is_a_share(name: str) -> None:
    confidence = Segmenter(clusterer(name)).fit(Z).assign(NEW).confidence
    assert confidence.min() >= 0 and confidence.max() <= 1


@every_model
def test_the_same_seed_gives_the_same_segments(name: str) -> None:
    first, second = (Segmenter(clusterer(name)).fit(Z).predict(NEW) for _ in range(2))
    assert_array_equal(first, second)


@every_model
def test_a_model_that_was_fitted_on_a_sample_assigns_everybody(name: str) -> None:
    segmenter = Segmenter(clusterer(name), max_rows=90, random_state=0).fit(Z)
    assert segmenter.n_fitted_rows_ == 90 and len(segmenter.labels_) == len(Z)
    assert segmenter.sizes_.sum() + (segmenter.labels_ == -1).sum() == len(Z)


# Segments


def test_segments_are_numbered_by_size() -> None:
    spending = np.array([[9.0], [9.1], [0.0], [0.1], [0.2], [5.0]])
    segmenter = Segmenter(AgglomerativeClustering(3)).fit(spending)
    assert segmenter.labels_.tolist() == [1, 1, 0, 0, 0, 2]
    assert segmenter.sizes_.tolist() == [3, 2, 1]
    assert_allclose(segmenter.centers_, [[0.1], [9.05], [5.0]])


def test_segments_of_one_size_are_numbered_by_their_first_customer() -> None:
    spending = np.array([[9.0], [0.0], [9.1], [0.1]])
    assert Segmenter(KMeans(2, random_state=0)).fit(spending).labels_.tolist() == [0, 1, 0, 1]


@every_rule
def test_a_training_customer_keeps_its_segment(segmenter: Segmenter) -> None:
    fitted = clone(segmenter).fit(Z)
    same = fitted.predict(Z) == fitted.labels_
    # Centres that are the means of what another clusterer found may disagree with it.
    assert same.all() or fitted.assignment_ == "nearest_centroid"


@every_rule
def test_company_and_order_change_nothing(segmenter: Segmenter) -> None:
    fitted = clone(segmenter).fit(Z)
    together = fitted.assign(NEW)
    order = np.random.default_rng(2).permutation(len(NEW))
    for rows in (order, *np.array_split(order, 40), [5]):
        alone = fitted.assign(NEW[rows])
        assert_array_equal(alone.segment, together.segment[rows])
        # Only the clusterers' own predict may differ, in the last bits.
        rounding = 0 if fitted.clusterer_ is None else 1e-12
        assert_allclose(alone.confidence, together.confidence[rows], rtol=0, atol=rounding)
        assert_array_equal(alone.unlike, together.unlike[rows])


@every_rule
def test_everybody_beyond_the_limit_is_unlike(segmenter: Segmenter) -> None:
    fitted = clone(segmenter).fit(Z)
    assert fitted.assign(Z).unlike.mean() <= 0.02
    assert fitted.assign([[100.0, -100.0, 100.0]]).unlike.all()


def test_a_sample_gives_the_segments_of_all() -> None:
    sampled = Segmenter(AgglomerativeClustering(3), max_rows=100, random_state=1).fit(Z)
    full = Segmenter(AgglomerativeClustering(3)).fit(Z)
    assert adjusted_rand_score(sampled.labels_, full.labels_) > 0.9
    assert (np.diff(sampled.sizes_) <= 0).all()


def test_the_seed_draws_the_sample() -> None:
    a, b, other = (
        Segmenter(DBSCAN(eps=0.6), max_rows=60, random_state=seed).fit(Z) for seed in (0, 0, 1)
    )
    assert_array_equal(a.labels_, b.labels_)
    assert (a.labels_ != other.labels_).any()


def test_a_clusterer_without_a_seed_gets_that_of_the_segmenter() -> None:
    seeded = Segmenter(KMeans(6, n_init=1), random_state=3).fit(Z)
    assert_array_equal(
        seeded.labels_, Segmenter(KMeans(6, n_init=1, random_state=3)).fit(Z).labels_
    )
    own = Segmenter(KMeans(6, n_init=1, random_state=3), random_state=4).fit(Z)
    assert_array_equal(seeded.labels_, own.labels_)


def test_mall_has_the_published_segments(data_dir: Path) -> None:
    table = pd.read_csv(data_dir / "mall" / "Mall_Customers.csv")
    X = table[["Annual Income (k$)", "Spending Score (1-100)"]]
    fitted = Segmenter(KMeans(5, n_init=10, random_state=0)).fit(X)
    assert fitted.sizes_.tolist() == [81, 39, 35, 23, 22]
    published = [[55.2963, 49.5185], [86.5385, 82.1282], [88.2, 17.1143]]
    assert_allclose(fitted.centers_[:3], published, atol=1e-4)


# The rules


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (KMeans(3), "native"),
        (MiniBatchKMeans(3), "native"),
        (BisectingKMeans(3), "native"),
        (MeanShift(bandwidth=2), "native"),
        (Birch(n_clusters=3), "native"),
        (AffinityPropagation(preference=-50), "native"),
        (GaussianMixture(3), "native"),
        (DBSCAN(eps=0.6), "core_points"),
        (HDBSCAN(copy=True), "nearest_neighbors"),
        (OPTICS(), "nearest_neighbors"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else value,
)
def test_a_clusterer_has_its_rule(model: Any, rule: str) -> None:
    assert Segmenter(model, random_state=0).fit(Z).assignment_ == rule


@pytest.mark.parametrize(
    "model",
    [
        KMeans(4, random_state=0),
        MiniBatchKMeans(4, random_state=0),
        MeanShift(bandwidth=2),
        Birch(n_clusters=4),
        AffinityPropagation(preference=-50, random_state=0),
        BisectingKMeans(4, random_state=0),
        GaussianMixture(4, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_native_is_what_the_clusterer_predicts(model: Any) -> None:
    theirs = clone(model).fit(Z).predict(NEW)
    assert adjusted_rand_score(theirs, Segmenter(model).fit(Z).predict(NEW)) == 1


def test_auto_takes_the_rule_that_agrees_better() -> None:
    # Two rings: the nearest mean says nothing, the nearest customer everything.
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    rings = Segmenter(AgglomerativeClustering(2, linkage="single")).fit(np.vstack([ring, 3 * ring]))
    assert rings.assignment_ == "nearest_neighbors"
    assert rings.agreements_["nearest_neighbors"] == 1 == rings.agreement_
    assert rings.agreements_["nearest_centroid"] < 0.9


def test_agreement_does_not_look_at_the_customer_itself() -> None:
    spending = np.array([[0.0], [1.0], [5.0], [20.0]])
    # The nearest other customer of 20 is in the other segment; without 20 its segment is empty.
    found = Segmenter(AgglomerativeClustering(2)).fit(spending)
    assert found.labels_.tolist() == [0, 0, 0, 1]
    assert found.agreements_ == {"nearest_centroid": 0.75, "nearest_neighbors": 0.75}


def test_centroid_agreement_is_that_of_means_without_the_customer() -> None:
    model = AgglomerativeClustering(5, linkage="average")
    fitted = Segmenter(model, assignment="nearest_centroid").fit(Z)
    right = []
    for i, label in enumerate(fitted.labels_):
        others = np.delete(np.arange(len(Z)), i)
        away = [
            np.linalg.norm(Z[i] - Z[members].mean(axis=0)) if len(members) else np.inf
            for j in range(5)
            for members in [others[fitted.labels_[others] == j]]
        ]
        right.append(np.argmin(away) == label)
    assert fitted.agreement_ == pytest.approx(np.mean(right))


DENSE = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [30.0]])


def test_a_customer_within_eps_of_a_core_point_is_in_its_segment() -> None:
    dense = Segmenter(DBSCAN(eps=1.5, min_samples=3)).fit(DENSE)
    # Core points are 1 and 11: 2 is no core point, and 3 is farther than 1.5 from 1.
    assert dense.labels_.tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert dense.predict([[2.5], [3.0], [9.5], [30.0]]).tolist() == [0, -1, 1, -1]


def test_core_points_use_the_distance_of_the_clusterer() -> None:
    block = DBSCAN(eps=2.2, min_samples=3, metric="manhattan")
    dense = Segmenter(block).fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    # 2.1 from (1, 0) in a straight line, 2.8 along the streets.
    assert dense.predict([[1.9, 1.9], [1.0, 1.0]]).tolist() == [-1, 0]


def test_beyond_the_widest_gap_of_the_nearest_segment_is_noise() -> None:
    found = Segmenter(HDBSCAN(min_cluster_size=3, copy=True)).fit(DENSE)
    assert found.labels_.tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert found.predict([[3.0], [3.1], [9.0], [29.0]]).tolist() == [0, -1, 1, -1]


def test_a_stranger_is_noise_even_where_nobody_was() -> None:
    found = Segmenter(HDBSCAN(min_cluster_size=3, copy=True)).fit(DENSE[:-1])
    assert found.noise_share_ == 0
    assert found.predict([[6.0], [2.0]]).tolist() == [-1, 0]


def test_confidence_of_a_centre_is_the_margin() -> None:
    spending = np.array([[0.0], [2.0], [9.0], [11.0]])
    fitted = Segmenter(KMeans(2, random_state=0)).fit(spending)
    assert_allclose(fitted.assign([[4.0], [1.0], [5.5]]).confidence, [1 - 3 / 6, 1, 0])


def test_confidence_of_neighbours_is_their_share() -> None:
    spending = np.array([[0.0], [1.0], [2.0], [5.0], [6.0]])
    model = AgglomerativeClustering(2)
    fitted = Segmenter(model, assignment="nearest_neighbors", n_neighbors=3).fit(spending)
    assert_allclose(fitted.assign([[1.0], [4.0]]).confidence, [1, 2 / 3])


def test_confidence_of_noise_grows_with_the_distance() -> None:
    dense = Segmenter(DBSCAN(eps=1.5, min_samples=3)).fit(DENSE)
    assert_allclose(dense.assign([[4.0], [17.0]]).confidence, [1 - 1.5 / 3, 1 - 1.5 / 6])


def test_confidence_of_a_mixture_is_its_posterior() -> None:
    fitted = Segmenter(GaussianMixture(3, random_state=0)).fit(Z)
    assert_array_equal(fitted.assign(NEW).confidence, fitted.predict_proba(NEW).max(axis=1))
    assert_array_equal(fitted.predict(NEW), fitted.predict_proba(NEW).argmax(axis=1))


def test_only_mixtures_have_probabilities() -> None:
    assert hasattr(Segmenter(GaussianMixture(3)), "predict_proba")
    assert not hasattr(Segmenter(KMeans(3)), "predict_proba")
    forced = Segmenter(GaussianMixture(3), assignment="nearest_centroid")
    assert not hasattr(forced, "predict_proba")


# Tables with categories


TABLE = pd.DataFrame(
    {"spending": Z[:, 0], "job": pd.Categorical(np.where(Z[:, 1] > 1, "Doctor", "Artist"))},
    index=np.arange(1000, 1000 + len(Z)),
)
mixed = pytest.mark.parametrize(
    "model",
    [KPrototypes(3), GowerKMedoids(3), GowerAverage(3), LatentClasses(3)],
    ids=lambda model: type(model).__name__,
)


@mixed
def test_a_clusterer_of_tables_is_given_the_table(model: Any) -> None:
    fitted = Segmenter(model, random_state=0).fit(TABLE)
    assert fitted.assignment_ == "native" and fitted.agreement_ == 1
    assert fitted.centers_ is None
    assert adjusted_rand_score(fitted.clusterer_.labels_, fitted.labels_) == 1


@mixed
def test_customers_of_a_table_get_the_same_answer_alone(model: Any) -> None:
    fitted = Segmenter(model, random_state=0, max_rows=90).fit(TABLE)
    together, alone = fitted.assign(TABLE), fitted.assign(TABLE.iloc[[7]])
    assert alone.segment[0] == together.segment[7]
    assert alone.confidence[0] == pytest.approx(together.confidence[7], abs=1e-12)


def test_the_distance_of_a_table_has_the_ranges_of_the_training_rows() -> None:
    fitted = Segmenter(KPrototypes(3), random_state=0, max_rows=90).fit(TABLE)
    assert fitted.distance_ == Gower({"spending": np.ptp(Z[:, 0])})
    loaded = load_pipeline(dump_pipeline(make_pipeline(fitted)), "kprototypes")
    assert loaded[-1].distance_ == fitted.distance_


def test_numbers_have_no_distance_of_their_own() -> None:
    assert Segmenter(KMeans(3, random_state=0)).fit(TABLE[["spending"]]).distance_ is None


def test_a_table_with_categories_has_no_centroids() -> None:
    with pytest.raises(ConfigError, match="nearest_centroid needs numbers only"):
        Segmenter(KPrototypes(3), assignment="nearest_centroid").fit(TABLE)


def test_categories_are_refused_by_a_clusterer_of_numbers() -> None:
    with pytest.raises(ClusteringError, match="could not convert string to float"):
        Segmenter(KMeans(3)).fit(TABLE)


# At the edge


def test_cosine_of_a_customer_of_zeros_is_one() -> None:
    model = DBSCAN(eps=0.1, min_samples=2, metric="cosine")
    fitted = Segmenter(model).fit([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    assert fitted.predict([[0.0, 0.0], [5.0, 0.1]]).tolist() == [-1, 0]


def test_everybody_can_be_noise() -> None:
    fitted = Segmenter(DBSCAN(eps=1e-6)).fit(Z)
    assert fitted.n_segments_ == 0 and fitted.noise_share_ == 1
    assert fitted.centers_.shape == (0, 3) and fitted.sizes_.shape == (0,)
    answer = fitted.assign(NEW)
    assert (answer.segment == -1).all() and (answer.confidence == 1).all()


@pytest.mark.parametrize("assignment", ["core_points", "nearest_centroid"])
def test_where_there_is_nobody_to_compare_with_everybody_is_unlike(assignment: str) -> None:
    fitted = Segmenter(DBSCAN(eps=1e-6), assignment=assignment).fit(Z)
    assert fitted.limit_ == np.inf and fitted.assign(NEW).unlike.all()


@pytest.mark.parametrize("assignment", ["auto", "nearest_centroid", "nearest_neighbors"])
def test_every_rule_bears_noise_only(assignment: str) -> None:
    fitted = Segmenter(DBSCAN(eps=1e-6), assignment=assignment).fit(Z)
    assert (fitted.predict(NEW) == -1).all()


@pytest.mark.parametrize("assignment", ["native", "nearest_centroid", "nearest_neighbors"])
def test_one_segment_is_certain(assignment: str) -> None:
    fitted = Segmenter(KMeans(1, random_state=0), assignment=assignment).fit(Z)
    answer = fitted.assign(NEW)
    assert (answer.segment == 0).all() and (answer.confidence == 1).all()
    assert fitted.sizes_.tolist() == [len(Z)]


def test_a_component_of_nobody_is_no_segment() -> None:
    spending = np.array([[0.0], [0.1], [9.0], [9.1]])
    model = GaussianMixture(
        3, weights_init=[0.5, 0.5, 0], means_init=[[0], [9], [1e3]], random_state=0
    )
    fitted = Segmenter(model).fit(spending)
    assert fitted.n_segments_ == 2
    assert_allclose(fitted.predict_proba(spending).sum(axis=1), 1)


@pytest.mark.parametrize(
    "model",
    [KMeans(5), AgglomerativeClustering(5), GaussianMixture(5), BisectingKMeans(5)],
    ids=lambda model: type(model).__name__,
)
def test_fewer_customers_than_segments_is_a_clear_error(model: Any) -> None:
    with pytest.raises(ClusteringError, match=rf"{type(model).__name__} could not segment 3 cust"):
        Segmenter(model).fit(Z[:3])


@pytest.mark.parametrize(
    ("segmenter", "message"),
    [
        (Segmenter(KMeans(3), assignment="nativ"), "did you mean 'native'"),
        (Segmenter(KMeans(3), max_rows=0), "max_rows of 1 or more"),
        (Segmenter(KMeans(3), n_neighbors=0), "n_neighbors of 1 or more"),
        (Segmenter(KMeans(3), assignment="core_points"), "no core points"),
        (Segmenter(DBSCAN(), assignment="native"), "no predict of its own"),
        (Segmenter(DBSCAN(metric="haversine")), "metric 'haversine' of DBSCAN"),
        (Segmenter(DBSCAN(metric="precomputed")), "precomputed is not possible"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_setting_is_a_clear_error(segmenter: Segmenter, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        segmenter.fit(Z[:, :2])


@pytest.mark.parametrize("metric", METRICS)
def test_a_distance_means_the_same_as_to_the_clusterer(metric: str) -> None:
    counts = np.abs(Z).round() + 1
    eps = np.quantile(pairwise_distances(counts, metric=metric), 0.1) + 1e-9
    model = DBSCAN(eps=eps, min_samples=10, metric=metric, p=2 if metric == "minkowski" else None)
    fitted = Segmenter(model).fit(counts)
    core = clone(model).fit(counts).core_sample_indices_
    assert len(core) > 10
    assert_array_equal(fitted.predict(counts[core]), fitted.labels_[core])
    assert_array_equal(fitted.predict(counts) == -1, fitted.labels_ == -1)


# As an estimator


def test_the_target_is_ignored() -> None:
    segmenter = Segmenter(KMeans(3, random_state=0))
    labels = segmenter.fit(Z, np.arange(len(Z))).labels_
    assert_array_equal(labels, segmenter.fit(Z).labels_)


def test_parameters_of_the_clusterer_have_their_plain_names() -> None:
    segmenter = Segmenter(KMeans(3)).set_params(n_clusters=4, max_rows=10)
    assert segmenter.clusterer.n_clusters == 4 and segmenter.max_rows == 10
    params = segmenter.get_params()
    assert params["n_clusters"] == params["clusterer__n_clusters"] == 4
    assert "n_clusters" not in segmenter.get_params(deep=False)


def test_parameters_are_set_through_a_pipeline() -> None:
    pipeline = Pipeline([("model", Segmenter(DBSCAN()))]).set_params(model__eps=0.7)
    assert pipeline["model"].clusterer.eps == 0.7


def test_of_two_parameters_of_one_name_the_segmenters_is_meant() -> None:
    segmenter = Segmenter(SpectralClustering()).set_params(n_neighbors=7)
    assert segmenter.n_neighbors == 7 and segmenter.clusterer.n_neighbors == 10
    assert segmenter.set_params(clusterer__n_neighbors=8).clusterer.n_neighbors == 8


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid parameter 'n_cluster'"):
        Segmenter(KMeans()).set_params(n_cluster=4)


def test_the_given_clusterer_is_not_fitted() -> None:
    model = KMeans(3, random_state=0)
    Segmenter(model).fit(Z)
    assert not hasattr(model, "labels_")


@pytest.mark.parametrize("model", [KMeans(3), Birch(n_clusters=3), DBSCAN(eps=0.6)], ids=str)
def test_only_what_predicting_needs_is_kept(model: Any) -> None:
    many = np.tile(Z, (20, 1)) + np.random.default_rng(0).normal(0, 0.05, (20 * len(Z), 3))
    fitted = Segmenter(model, random_state=0).fit(many)
    assert fitted.clusterer_ is None
    assert len(pickle.dumps(fitted)) < 2 * many.nbytes


def test_column_names_are_remembered() -> None:
    table = pd.DataFrame(Z, columns=["age", "income", "spending"])
    fitted = Segmenter(KMeans(3, random_state=0)).fit(table)
    assert list(fitted.feature_names_in_) == list(table)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table.rename(columns={"age": "years"}))

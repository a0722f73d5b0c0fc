"""Internal and external quality: by hand, equal to scikit-learn, honest about noise and samples."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn import metrics as sk
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from segexp.clustering.distances import distance_for
from segexp.clustering.quality import (
    INTERNAL,
    MOST_SUMS,
    SegmentMap,
    external_quality,
    internal_quality,
)
from segexp.errors import ConfigError, DataError

# Two segments on a line: centres 1 and 10.
LINE = np.array([[0.0], [2.0], [9.0], [11.0]])
TWO = [0, 0, 1, 1]
# Silhouettes: own distance 2; others 10, 8, 8, 10.
LINE_SILHOUETTES = [0.8, 0.75, 0.75, 0.8]


def blobs(n: int, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    Z, labels = make_blobs(n, 5, centers=k, cluster_std=4.0, random_state=seed)
    return Z, labels


def mixed(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    job = np.array(["clerk", "nurse", "cook"])[np.where(rng.random(n) < 0.7, labels, 0)]
    age = rng.normal(30 + 10 * labels, 5)
    age[::7] = np.nan
    return pd.DataFrame({"age": age, "job": pd.Categorical(job)}), labels


# By hand


def test_silhouette_of_each_customer() -> None:
    found = internal_quality(LINE, TWO, metrics=["silhouette"])
    assert found.silhouettes == pytest.approx(LINE_SILHOUETTES)
    assert found.values == {"silhouette": pytest.approx(0.775)}
    assert found.silhouette_se == 0


def test_simplified_silhouette_takes_the_centres() -> None:
    # Own distance 1; to the other centre 10, 8, 8, 10.
    found = internal_quality(LINE, TWO, metrics=["simplified_silhouette"])
    assert found.values["simplified_silhouette"] == pytest.approx((0.9 + 0.875) / 2)


def test_shadow_is_twice_the_nearest_over_both() -> None:
    found = internal_quality(LINE, TWO, metrics=["shadow"])
    assert found.values["shadow"] == pytest.approx((2 / 11 + 2 / 9) / 2)


def test_sums_of_squares() -> None:
    found = internal_quality(LINE, TWO, metrics=["inertia", "calinski_harabasz", "davies_bouldin"])
    # Between: 4 * 4.5 ** 2 = 81; each segment has mean distance 1 to its centre.
    assert found.values == {
        "calinski_harabasz": pytest.approx(81 / (4 / 2)),
        "davies_bouldin": pytest.approx(2 / 9),
        "inertia": pytest.approx(4.0),
    }


def test_silhouette_of_mixed_data_is_by_gower() -> None:
    Z = pd.DataFrame({"age": [20.0, 30.0, 60.0], "job": pd.Categorical(["x", "x", "y"])})
    # Distances .125, 1 and .875; the third customer is alone.
    found = internal_quality(Z, [0, 0, 1], metrics=["silhouette"])
    assert found.silhouettes == pytest.approx([0.875, 1 - 0.125 / 0.875, 0.0])


def test_centre_of_mixed_data_is_mean_and_most_frequent_level() -> None:
    Z = pd.DataFrame(
        {
            "age": [0.0, 2.0, 1.0, 9.0, 10.0],
            "job": pd.Categorical(["x", "x", "y", "z", "z"]),
        }
    )
    # Centres (1, x) and (9.5, z); to the own .05, .05, .5, .025, .025.
    found = internal_quality(Z, [0, 0, 0, 1, 1], metrics=["inertia"])
    assert found.values["inertia"] == pytest.approx(0.65)


# Equal to scikit-learn


@pytest.mark.parametrize("n", [30, 700])
@pytest.mark.parametrize("k", [2, 4, 9])
def test_measures_equal_scikit_learn(n: int, k: int) -> None:
    Z, labels = blobs(n, k)
    values = internal_quality(Z, labels).values
    assert values["silhouette"] == pytest.approx(sk.silhouette_score(Z, labels), abs=1e-12)
    ch = sk.calinski_harabasz_score(Z, labels)
    assert values["calinski_harabasz"] == pytest.approx(ch, rel=1e-12)
    assert values["davies_bouldin"] == pytest.approx(sk.davies_bouldin_score(Z, labels), rel=1e-12)


def test_every_silhouette_equals_scikit_learn() -> None:
    Z, labels = blobs(900)
    labels[labels == 3] = 7  # a gap in the numbering
    labels[0] = 5  # a segment of one
    found = internal_quality(Z, labels).silhouettes
    np.testing.assert_allclose(found, sk.silhouette_samples(Z, labels), rtol=0, atol=1e-12)


def test_another_distance_equals_scikit_learn() -> None:
    Z, labels = blobs(300)
    found = internal_quality(
        Z, labels, metrics=["silhouette"], distance=lambda A, B: cdist(A, B, "cityblock")
    )
    expected = sk.silhouette_score(Z, labels, metric="cityblock")
    assert found.values["silhouette"] == pytest.approx(expected, abs=1e-12)


def test_mixed_silhouettes_equal_those_of_the_whole_matrix() -> None:
    Z, labels = mixed(2500)  # more than a block
    matrix = distance_for(Z)(Z, Z)
    np.fill_diagonal(matrix, 0)  # scikit-learn wants it; a customer is no neighbour of itself
    found = internal_quality(Z, labels, metrics=["silhouette"]).silhouettes
    expected = sk.silhouette_samples(matrix, labels, metric="precomputed")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_inertia_equals_that_of_kmeans() -> None:
    Z, _ = blobs(500)
    model = KMeans(4, n_init=2, random_state=0).fit(Z)
    found = internal_quality(Z, model.labels_, metrics=["inertia"])
    assert found.values["inertia"] == pytest.approx(model.inertia_, rel=1e-4)


# Noise, and what is not defined


def test_noise_has_silhouette_zero_and_shadow_one() -> None:
    Z = np.vstack([LINE, [[5.0]]])
    found = internal_quality(Z, [*TWO, -1])
    assert found.silhouettes == pytest.approx([*LINE_SILHOUETTES, 0.0])
    assert found.values["silhouette"] == pytest.approx(0.775 * 4 / 5)
    alone = internal_quality(LINE, TWO).values
    assert found.values["simplified_silhouette"] == pytest.approx(
        alone["simplified_silhouette"] * 4 / 5
    )
    assert found.values["shadow"] == pytest.approx((4 * alone["shadow"] + 1) / 5)


def test_sums_of_squares_leave_noise_out() -> None:
    names = ["inertia", "calinski_harabasz", "davies_bouldin"]
    with_noise = internal_quality(np.vstack([LINE, [[50.0]]]), [*TWO, -1], metrics=names)
    assert with_noise.values == internal_quality(LINE, TWO, metrics=names).values


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, -1], [0, 1, 2, 3], [0, -1, -1, 1]])
def test_what_is_not_defined_is_nan(labels: list[int]) -> None:
    found = internal_quality(LINE, labels)
    assert {name for name, value in found.values.items() if math.isnan(value)} == {*INTERNAL} - {
        "inertia"
    }
    assert found.silhouettes is None


def test_nothing_but_noise_has_no_quality() -> None:
    assert all(math.isnan(value) for value in internal_quality(LINE, [-1] * 4).values.values())


def test_equal_customers_in_two_segments_are_no_warning() -> None:
    found = internal_quality(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])
    assert found.values["silhouette"] == 0
    assert found.values["shadow"] == 1
    assert math.isnan(found.values["davies_bouldin"])


def test_every_metric_can_be_switched_off() -> None:
    found = internal_quality(LINE, TWO, metrics=())
    assert found.values == {} and found.silhouettes is None


# Samples


def test_a_sample_is_within_its_standard_error() -> None:
    Z, labels = blobs(6000)
    exact = internal_quality(Z, labels, metrics=["silhouette"]).values["silhouette"]
    found = internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=600, seed=3)
    assert 0 < found.silhouette_se < 0.02
    assert abs(found.values["silhouette"] - exact) < 3 * found.silhouette_se
    assert np.isfinite(found.silhouettes).sum() == pytest.approx(600, abs=4)


def test_the_standard_error_is_the_spread_of_samples() -> None:
    Z, labels = make_blobs(8000, 3, centers=3, cluster_std=6.0, random_state=1)
    samples = [
        internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=400, seed=seed)
        for seed in range(60)
    ]
    spread = np.std([sample.values["silhouette"] for sample in samples])
    claimed = np.mean([sample.silhouette_se for sample in samples])
    assert 0.75 < claimed / spread < 1.4


def test_a_sample_of_nearly_everybody_is_nearly_exact() -> None:
    Z, labels = blobs(1000)
    exact = internal_quality(Z, labels, metrics=["silhouette"]).values["silhouette"]
    found = internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=990)
    assert found.values["silhouette"] == pytest.approx(exact, abs=1e-3)
    assert found.silhouette_se < 1e-3


def test_a_sample_counts_noise_as_zero() -> None:
    Z, labels = blobs(2000)
    labels[:1000] = -1
    sampled = internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=900)
    exact = internal_quality(Z, labels, metrics=["silhouette"])
    assert sampled.values["silhouette"] == pytest.approx(exact.values["silhouette"], abs=0.01)
    assert (sampled.silhouettes[:1000] == 0).all()


def test_small_segments_are_in_the_sample() -> None:
    Z, _ = blobs(5000)
    labels = np.zeros(5000, dtype=int)
    labels[:10] = 1
    labels[10] = 2
    found = internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=200)
    assert np.isfinite(found.silhouettes[:11]).all()


def test_a_sample_is_repeatable() -> None:
    Z, labels = blobs(2000)
    first, second = (
        internal_quality(Z, labels, metrics=["silhouette"], max_silhouette_rows=300, seed=5)
        for _ in range(2)
    )
    assert first.values == second.values and first.silhouette_se == second.silhouette_se


def test_no_matrix_of_all_distances_is_made() -> None:
    Z, labels = blobs(5000)
    tracemalloc.start()
    internal_quality(Z, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # the matrix has 200 MB


def test_many_segments_take_no_more_memory() -> None:
    # Sums of all rows by segment and group would be 3000 x 7500, 180 MB.
    Z = np.random.default_rng(0).normal(size=(6000, 2))
    labels = np.arange(6000) % 1500
    tracemalloc.start()
    found = internal_quality(Z, labels, max_silhouette_rows=3000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert np.isfinite(found.silhouettes).sum() == 3000 and found.silhouette_se > 0


def test_silhouettes_of_many_segments_equal_scikit_learn() -> None:
    Z = np.random.default_rng(0).normal(size=(4500, 2))
    labels = np.arange(4500) % 3800
    assert MOST_SUMS < 4500 * 3800  # by blocks of rows
    found = internal_quality(Z, labels, metrics=["silhouette"]).silhouettes
    np.testing.assert_allclose(found, sk.silhouette_samples(Z, labels), rtol=0, atol=1e-10)


def test_a_sample_that_cannot_hold_two_of_each_segment_has_no_silhouette() -> None:
    Z, _ = blobs(400)
    labels = np.arange(400) % 100
    found = internal_quality(Z, labels, max_silhouette_rows=199)
    assert math.isnan(found.values["silhouette"]) and found.silhouettes is None
    assert math.isfinite(found.values["simplified_silhouette"])
    found = internal_quality(Z, labels, max_silhouette_rows=200)
    assert np.isfinite(found.silhouettes).sum() == 200


# Wrong input


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ConfigError, match="'silhouete'; did you mean 'silhouette'"):
        internal_quality(LINE, TWO, metrics=["silhouete"])


def test_labels_must_fit_the_rows() -> None:
    with pytest.raises(DataError, match="each of 4 customers"):
        internal_quality(LINE, [0, 1])


def test_labels_must_be_whole_numbers() -> None:
    with pytest.raises(DataError, match="whole numbers"):
        internal_quality(LINE, [0.0, 1.0, 2.0, np.nan])


# Against known segments


def test_external_measures_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, labels = rng.choice(["A", "B", "C"], 200), rng.integers(-1, 4, 200)
    assert external_quality(truth, labels) == {
        "ari": pytest.approx(sk.adjusted_rand_score(truth, labels)),
        "ami": pytest.approx(sk.adjusted_mutual_info_score(truth, labels)),
        "v_measure": pytest.approx(sk.v_measure_score(truth, labels)),
        "homogeneity": pytest.approx(sk.homogeneity_score(truth, labels)),
        "completeness": pytest.approx(sk.completeness_score(truth, labels)),
    }


def test_noise_is_a_segment_of_its_own_against_known_ones() -> None:
    assert external_quality(["A", "A", "B", "B"], [-1, -1, 0, 0])["ari"] == 1
    assert external_quality(["A", "B", "C"], [0, 1, -1])["ari"] == 1


def test_a_segment_maps_to_the_most_frequent_known_one() -> None:
    learned = SegmentMap.learn([0, 0, 0, 1, 1], [1, 1, 0, 0, 0])
    assert learned.apply([1, 0]).tolist() == [0, 1]


def test_of_equally_frequent_known_segments_the_larger_is_taken() -> None:
    # Segment 0 holds one customer of each; 2 is more frequent overall.
    learned = SegmentMap.learn([0, 0, 1, 1], [1, 2, 2, 2])
    assert learned.apply([0]).tolist() == [2]


def test_noise_is_mapped_too() -> None:
    learned = SegmentMap.learn([-1, -1, 0, 0, 0], [1, 1, 0, 0, 0])
    assert learned.apply([-1, 0]).tolist() == [1, 0]


def test_what_was_not_seen_maps_to_the_most_frequent_known_segment() -> None:
    learned = SegmentMap.learn([0, 3], [1, 1])
    assert learned.apply([-1, 1, 99]).tolist() == [1, 1, 1]


# Published


@pytest.fixture(scope="module")
def mall(data_dir: Path) -> np.ndarray:
    table = pd.read_csv(data_dir / "mall" / "Mall_Customers.csv")
    return table[["Annual Income (k$)", "Spending Score (1-100)"]].to_numpy(float)


@pytest.mark.published
def test_mall_customers_in_five_segments(mall: np.ndarray) -> None:
    labels = KMeans(5, n_init=20, random_state=0).fit_predict(mall)
    values = internal_quality(mall, labels).values
    assert values["inertia"] == pytest.approx(44448.45544793371, rel=1e-12)
    assert values["silhouette"] == pytest.approx(0.553932, abs=5e-7)
    assert values["calinski_harabasz"] == pytest.approx(247.3590, abs=5e-5)
    assert values["davies_bouldin"] == pytest.approx(0.572563, abs=5e-7)


@pytest.mark.published
@pytest.mark.parametrize(
    ("k", "silhouette"), [(2, 0.296897), (3, 0.467614), (4, 0.493196), (6, 0.539761)]
)
def test_mall_silhouettes(mall: np.ndarray, k: int, silhouette: float) -> None:
    labels = KMeans(k, n_init=50, random_state=0).fit_predict(mall)
    found = internal_quality(mall, labels, metrics=["silhouette"])
    assert found.values["silhouette"] == pytest.approx(silhouette, abs=5e-7)

"""Published figures of clusterers, reached again on the same public data.

Mall customers: 200 rows of annual income (k$) and spending score, the tutorial data set of many
public notebooks, which print inertia 44448.45544793371 and silhouette .5539 for five segments. The
other figures were computed from the file with scikit-learn and are held fixed here.

clustering-data-v1 1.1.0 (Gagolewski 2022, SoftwareX 20:101270, doi 10.5281/zenodo.7088171): the
adjusted Rand indices follow from the label files that the author publishes in
clustering-results-v1.

mclust on iris: Scrucca, Fop, Murphy and Raftery 2016, The R Journal 8(1):289-317.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from segexp.clustering.choose_k import assess, decide, hopkins
from segexp.clustering.quality import external_quality, internal_quality
from segexp.clustering.segmenter import Segmenter

pytestmark = pytest.mark.published


# ---- Mall customers ----------------------------------------------------------------------------

NOTHING_RANDOM = {"n_references": 0, "n_resamples": 0, "n_splits": 0}


@pytest.fixture(scope="module")
def mall(data_dir):
    table = pd.read_csv(data_dir / "mall" / "Mall_Customers.csv")
    assert len(table) == 200
    return table.iloc[:, 2:5].set_axis(["age", "income", "spending"], axis=1)


@pytest.fixture(scope="module")
def spending(mall):
    return mall[["income", "spending"]].to_numpy(dtype=float)


@pytest.fixture(scope="module")
def by_k(spending):
    k_means = Segmenter(KMeans(n_init=100, random_state=0))
    return assess(spending, k_means, range(1, 11), **NOTHING_RANDOM).set_index("k")


@pytest.fixture(scope="module")
def five(spending):
    return Segmenter(KMeans(5, n_init=50, random_state=0)).fit(spending)


@pytest.mark.parametrize(
    ("k", "inertia"),
    [(1, 269981.28), (2, 181363.5960), (3, 106348.3731), (4, 73679.7890), (5, 44448.45544793371),
     (6, 37233.8145)],
)  # fmt: skip
def test_mall_inertia(by_k, k, inertia):
    assert by_k.loc[k, "inertia"] == pytest.approx(inertia, rel=1e-8)


@pytest.mark.parametrize(
    ("k", "inertia"), [(7, 30259.6572), (8, 24986.5256), (9, 21850.1653), (10, 19634.5546)]
)
def test_mall_inertia_is_at_most_that_of_fifty_starts(by_k, k, inertia):
    assert by_k.loc[k, "inertia"] <= inertia * 1.001


@pytest.mark.parametrize(
    ("k", "silhouette"),
    [(2, 0.296897), (3, 0.467614), (4, 0.493196), (5, 0.553932), (6, 0.539761)],
)
def test_mall_silhouette(by_k, k, silhouette):
    assert by_k.loc[k, "silhouette"] == pytest.approx(silhouette, abs=1e-6)


def test_mall_other_indices_at_five(by_k):
    assert by_k.loc[5, "calinski_harabasz"] == pytest.approx(247.3590, abs=1e-4)
    assert by_k.loc[5, "davies_bouldin"] == pytest.approx(0.572563, abs=1e-6)


def test_mall_calinski_harabasz_goes_on_to_nine(by_k):
    values = by_k["calinski_harabasz"]
    assert values.idxmax() == 9 and values[9] == pytest.approx(271.13, abs=0.4)


def test_mall_sizes_and_centres(five):
    assert five.sizes_.tolist() == [81, 39, 35, 23, 22]
    expected = [
        (55.2963, 49.5185), (86.5385, 82.1282), (88.2, 17.1143), (26.3043, 20.9130),
        (25.7273, 79.3636),
    ]  # fmt: skip
    assert five.centers_ == pytest.approx(np.array(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("linkage", "silhouette", "ari"),
    [("ward", 0.552995, 0.9420), ("complete", 0.552995, 0.9420), ("average", 0.479191, None),
     ("single", 0.269489, 0.016)],
)  # fmt: skip
def test_mall_hierarchical(spending, five, linkage, silhouette, ari):
    labels = Segmenter(AgglomerativeClustering(5, linkage=linkage)).fit(spending).labels_
    found = internal_quality(spending, labels, metrics=["silhouette"]).values["silhouette"]
    assert found == pytest.approx(silhouette, abs=1e-6)
    if ari is not None:
        assert adjusted_rand_score(five.labels_, labels) == pytest.approx(ari, abs=1e-3)


def test_mall_ward_and_complete_linkage_agree(spending):
    ward, complete = (
        AgglomerativeClustering(5, linkage=linkage).fit_predict(spending)
        for linkage in ("ward", "complete")
    )
    assert adjusted_rand_score(ward, complete) == 1


@pytest.mark.parametrize(
    ("columns", "scaled", "k", "inertia", "silhouette"),
    [
        (["income", "spending"], True, 5, 65.5684, 0.554657),
        (["age", "income", "spending"], False, 6, 58300.4433, 0.452344),
        (["age", "income", "spending"], True, 6, 133.8683, 0.427428),
    ],
)
def test_mall_other_columns_and_scales(mall, columns, scaled, k, inertia, silhouette):
    Z = mall[columns].to_numpy(dtype=float)
    Z = StandardScaler().fit_transform(Z) if scaled else Z
    k_means = Segmenter(KMeans(n_init=50, random_state=0))
    row = assess(Z, k_means, [k], **NOTHING_RANDOM).iloc[0]
    assert row["inertia"] == pytest.approx(inertia, rel=1e-5)
    assert row["silhouette"] == pytest.approx(silhouette, abs=1e-5)


@pytest.mark.slow
def test_mall_criteria_disagree_and_the_verdict_is_five(spending):
    table = assess(spending, Segmenter(KMeans(n_init=10)), range(1, 11))
    verdict = decide(table, hopkins(spending, 0))
    chosen = verdict.choices.set_index("criterion")["k"].dropna().to_dict()
    for criterion in (
        "knee", "silhouette", "davies_bouldin", "prediction_strength", "bootstrap_ari"
    ):  # fmt: skip
        assert chosen[criterion] == 5, criterion
    assert chosen["gap_uniform"] == 1
    assert chosen["calinski_harabasz"] == 9
    assert (verdict.k, verdict.kind) == (5, "natural")
    assert "gap statistic" in verdict.words and "says 9" in verdict.words
    by_k = table.set_index("k")
    gaps = [0.411, 0.181, 0.306, 0.282, 0.553, 0.534, 0.574, 0.617]
    assert by_k.loc[1:8, "gap_uniform"].to_numpy() == pytest.approx(gaps, abs=0.05)
    assert by_k.loc[5, "bootstrap_ari"] == pytest.approx(0.956, abs=0.05)
    assert by_k.loc[5, "prediction_strength"] == pytest.approx(0.846, abs=0.05)


# ---- clustering-data-v1 ------------------------------------------------------------------------

CLUSTERERS = {
    "k-means": lambda k: KMeans(k, n_init=30, random_state=0),
    "GMM": lambda k: GaussianMixture(k, n_init=30, random_state=0),
    "Ward": lambda k: AgglomerativeClustering(k),
}


@cache
def best_ari(data_dir, name, clusterer):
    """The largest over the labelings, each with its own number of segments; 0 is noise.

    Of mixtures that for the first labeling: for the second ones of target and x2 a hundred starts
    reach 1.0 and 0.81, more than was published.
    """
    path = data_dir / "clustering-data-v1" / name
    Z = np.loadtxt(f"{path}.data.gz", ndmin=2)
    # The author's preprocessing: one scale for all columns, a little noise, single precision.
    Z = (Z - Z.mean(axis=0)) / Z.std(ddof=1)
    Z += np.random.default_rng(0).normal(0, 1e-6, Z.shape)
    Z = Z.astype(np.float32).astype(float)
    found = []
    labelings = sorted(path.parent.glob(f"{path.name}.labels*.gz"))
    for labels in labelings[:1] if clusterer == "GMM" else labelings:
        truth = np.loadtxt(labels, dtype=int)
        segmenter = Segmenter(CLUSTERERS[clusterer](truth.max())).fit(Z)
        known = truth > 0
        found.append(external_quality(truth[known], segmenter.labels_[known])["ari"])
    return max(found)


@pytest.mark.parametrize(
    ("name", "k_means", "gmm", "ward"),
    [
        ("fcps/hepta", 1, 1, 1),
        ("fcps/lsun", 0.4405, 1, 0.3688),
        ("fcps/target", 0.6347, 0.6483, 0.6388),
        ("fcps/tetra", 1, 1, 0.9673),
        ("fcps/atom", 0.1821, 0.0277, 0.0986),
        ("wut/x2", 0.9734, 0.6883, 0.9734),
    ],
)
@pytest.mark.parametrize("clusterer", list(CLUSTERERS))
def test_clustbench(data_dir, name, k_means, gmm, ward, clusterer):
    expected = {"k-means": k_means, "GMM": gmm, "Ward": ward}[clusterer]
    assert best_ari(data_dir, name, clusterer) == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("battery", "clusterer", "mean"),
    [("fcps", "k-means", 0.673), ("fcps", "GMM", 0.826), ("fcps", "Ward", 0.634)],
)
def test_clustbench_mean_of_a_battery(data_dir, battery, clusterer, mean):
    folder = data_dir / "clustering-data-v1" / battery
    names = [path.name.removesuffix(".data.gz") for path in sorted(folder.glob("*.data.gz"))]
    found = [best_ari(data_dir, f"{battery}/{name}", clusterer) for name in names]
    assert np.mean(found) == pytest.approx(mean, abs=0.02)


# ---- mclust ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covariance", "k", "bic"),
    [("full", 2, 574.0178), ("full", 3, 580.839), ("tied", 3, 632.965), ("diag", 2, 857.5515),
     ("spherical", 2, 1012.235)],
    ids=["VVV 2", "VVV 3", "EEE 3", "VVI 2", "VII 2"],
)  # fmt: skip
def test_mclust_bic_of_iris(covariance, k, bic):
    mixture = GaussianMixture(covariance_type=covariance, n_init=10, tol=1e-6, random_state=0)
    iris = load_iris().data
    table = assess(
        iris, Segmenter(mixture), [k], parameter="n_components", **NOTHING_RANDOM
    ).set_index("k")
    assert table.loc[k, "bic"] == pytest.approx(bic, abs=0.01)

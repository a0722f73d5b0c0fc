"""Clusterers and preprocessings for mixed data: by hand, against definitions, and published."""

import itertools
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import fcluster
from scipy.stats import norm
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from segexp.clustering.distances import Gower
from segexp.clustering.mixed import GowerAverage, GowerKMedoids, KPrototypes, LatentClasses
from segexp.components import build_pipeline
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.errors import ConfigError, DataError
from segexp.features import FamdScaler
from segexp.saved_model import dump_pipeline, load_pipeline


def has_stepmix() -> bool:
    try:
        import stepmix  # noqa: F401
    except ImportError:
        return False
    return True


needs_stepmix = pytest.mark.skipif(not has_stepmix(), reason="needs StepMix (extra lca)")
OURS = [
    pytest.param(KPrototypes(3, random_state=0), id="kprototypes"),
    pytest.param(GowerKMedoids(3, random_state=0), id="gower_kmedoids"),
    pytest.param(GowerAverage(3), id="gower_average"),
    pytest.param(
        LatentClasses(3, n_init=3, random_state=0), id="latent_class", marks=needs_stepmix
    ),
]
every_clusterer = pytest.mark.parametrize("clusterer", OURS)


def customers(n: int = 150, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Three segments that differ in two numbers and two categories, and the segments."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    table = {
        "age": rng.normal(4 * truth, 1),
        "income": rng.normal(np.array([0, 5, 0])[truth], 1),
    }
    for name, letters in (("job", "abc"), ("city", "xyz")):
        codes = np.where(rng.random(n) < 0.95, truth, rng.integers(0, 3, n))
        table[name] = pd.Categorical.from_codes(codes, list(letters))
    return pd.DataFrame(table), truth


# ---- all of them -------------------------------------------------------------------------------

CHECKED: list[BaseEstimator] = [KPrototypes(2), GowerKMedoids(2), GowerAverage(2), FamdScaler()]
if has_stepmix():
    CHECKED.append(LatentClasses(2, n_init=1, max_iter=50))


@parametrize_with_checks(CHECKED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@every_clusterer
def test_clear_segments_are_found(clusterer):
    Z, truth = customers()
    assert adjusted_rand_score(truth, clone(clusterer).fit(Z).labels_) > 0.95


@every_clusterer
def test_prediction_is_the_nearest_segment(clusterer):
    Z, _ = customers()
    fitted = clone(clusterer).fit(Z)
    new, _ = customers(40, seed=1)
    assert fitted.distances(new).shape == (40, 3)
    assert np.array_equal(fitted.predict(new), fitted.distances(new).argmin(axis=1))


@every_clusterer
def test_an_array_is_a_table_of_numbers(clusterer):
    Z, _ = customers()
    Z = Z[["age", "income"]]
    by_frame, by_array = clone(clusterer).fit(Z), clone(clusterer).fit(Z.to_numpy())
    assert np.array_equal(by_frame.labels_, by_array.labels_)
    assert np.array_equal(by_frame.distances(Z), by_array.distances(Z.to_numpy()))


@every_clusterer
def test_categories_alone_are_enough(clusterer):
    Z, truth = customers(300)
    Z = Z[["job", "city"]].assign(third=Z["job"])
    assert adjusted_rand_score(truth, clone(clusterer).fit(Z).labels_) > 0.5


@every_clusterer
def test_the_same_seed_gives_the_same_segments(clusterer):
    Z, _ = customers()
    first, second = (clone(clusterer).fit(Z) for _ in range(2))
    assert np.array_equal(first.labels_, second.labels_)
    assert np.array_equal(first.distances(Z), second.distances(Z))


@every_clusterer
def test_a_customer_is_assigned_by_itself(clusterer):
    Z, _ = customers()
    fitted = clone(clusterer).fit(Z)
    alone = np.concatenate([fitted.distances(Z.iloc[[row]]) for row in range(20)])
    assert np.array_equal(alone, fitted.distances(Z)[:20])


@every_clusterer
def test_a_new_category_is_as_far_from_every_segment(clusterer):
    Z, _ = customers()
    fitted = clone(clusterer).fit(Z)
    new = Z.iloc[:5].assign(job=pd.Categorical(["zzz"] * 5))
    # Told apart by what is known: the same as without the column's part.
    assert (fitted.distances(new) > fitted.distances(Z.iloc[:5])).any(axis=1).all()
    assert np.isfinite(fitted.distances(new)).all()


@every_clusterer
def test_a_saved_model_gives_the_same_segments(clusterer):
    Z, _ = customers()
    Z.loc[3, "job"] = np.nan
    pipeline = Pipeline([("model", clone(clusterer))]).fit(Z)
    loaded = load_pipeline(dump_pipeline(pipeline), "model")
    assert np.array_equal(loaded[-1].distances(Z), pipeline[-1].distances(Z))


@every_clusterer
def test_the_table_is_left_as_it_is(clusterer):
    Z, _ = customers()
    before = Z.copy()
    clone(clusterer).fit(Z).predict(Z)
    pd.testing.assert_frame_equal(Z, before)


@every_clusterer
def test_fewer_customers_than_segments_are_refused(clusterer):
    Z, _ = customers()
    with pytest.raises(DataError, match="3 segments need as many customers, got 2"):
        clone(clusterer).fit(Z.iloc[:2])


@every_clusterer
def test_text_that_is_no_category_is_named(clusterer):
    Z, _ = customers()
    with pytest.raises(DataError, match="column 'job' is object"):
        clone(clusterer).fit(Z.astype({"job": object}))


@every_clusterer
def test_a_number_that_became_a_category_is_named(clusterer):
    Z, _ = customers()
    fitted = clone(clusterer).fit(Z)
    with pytest.raises(DataError, match="column 'age' was numbers in training, now category"):
        fitted.predict(Z.astype({"age": "category"}))


@pytest.mark.parametrize("clusterer", [KPrototypes(), LatentClasses()])
@pytest.mark.skipif(not has_stepmix(), reason="needs StepMix (extra lca)")
def test_missing_numbers_are_named(clusterer):
    Z, _ = customers()
    Z.loc[0, "age"] = np.nan
    with pytest.raises(DataError, match="column 'age' has missing numbers"):
        clone(clusterer).fit(Z)


@pytest.mark.parametrize("clusterer", OURS[1:3])
def test_gower_takes_missing_numbers(clusterer):
    Z, truth = customers()
    Z.loc[::10, "age"] = np.nan
    assert adjusted_rand_score(truth, clone(clusterer).fit(Z).labels_) > 0.8


# ---- k-prototypes ------------------------------------------------------------------------------


def test_a_prototype_has_means_and_modes():
    Z = pd.DataFrame({"x": [0.0, 1.0, 2.0, 9.0], "job": pd.Categorical(["a", "a", "b", "b"])})
    found = KPrototypes(2, random_state=0).fit(Z).prototypes_.sort_values("x")
    assert found["x"].tolist() == [1.0, 9.0] and found["job"].tolist() == ["a", "b"]


def test_the_cost_is_squared_distance_and_gamma_for_each_mismatch():
    Z = pd.DataFrame({"x": [0.0, 1.0, 2.0, 9.0], "job": pd.Categorical(["a", "a", "b", "b"])})
    fitted = KPrototypes(2, gamma=0.5, random_state=0).fit(Z)
    assert fitted.cost_ == pytest.approx(1 + 0 + (1 + 0.5) + 0)


def test_gamma_is_half_the_mean_standard_deviation():
    Z, _ = customers()
    expected = Z[["age", "income"]].std(ddof=0).mean() / 2
    assert KPrototypes(random_state=0).fit(Z).gamma_ == pytest.approx(expected)


def test_without_categories_it_is_k_means():
    Z = customers()[0][["age", "income"]]
    ours = KPrototypes(3, random_state=0).fit(Z)
    theirs = KMeans(3, n_init=10, random_state=0).fit(Z)
    assert ours.cost_ == pytest.approx(theirs.inertia_)
    assert adjusted_rand_score(ours.labels_, theirs.labels_) == 1


def test_a_missing_category_is_a_category_of_its_own():
    Z = pd.DataFrame({"job": pd.Categorical([None] * 3 + ["a"] * 3)})
    fitted = KPrototypes(2, random_state=0).fit(Z)
    assert fitted.cost_ == 0
    assert fitted.prototypes_["job"].isna().sum() == 1


def test_a_new_category_is_a_mismatch_with_everybody():
    Z, _ = customers()
    fitted = KPrototypes(3, random_state=0).fit(Z[["job"]])
    new = pd.DataFrame({"job": pd.Categorical(["zzz"])})
    assert fitted.distances(new).tolist() == [[1.0, 1.0, 1.0]]


def test_no_segment_is_left_empty_where_customers_differ():
    Z = pd.DataFrame({"x": [0.0] * 20 + [1.0, 2.0, 3.0]})
    for seed in range(5):
        fitted = KPrototypes(4, n_init=1, random_state=seed).fit(Z)
        assert len(np.unique(fitted.labels_)) == 4


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_iter", [1, 2, 100])
def test_a_prototype_of_nobody_moves_to_a_customer(max_iter, seed):
    Z = pd.DataFrame({"x": np.random.default_rng(seed).integers(0, 14, 60).astype(float)})
    fitted = KPrototypes(12, n_init=1, max_iter=max_iter, random_state=seed).fit(Z)
    assert len(np.unique(fitted.labels_)) == 12
    assert np.array_equal(fitted.labels_, fitted.predict(Z))
    assert fitted.cost_ == pytest.approx(fitted.distances(Z).min(axis=1).sum())


def test_more_segments_than_different_customers_leave_some_empty():
    fitted = KPrototypes(3, random_state=0).fit(pd.DataFrame({"x": [0.0, 0.0, 1.0, 1.0]}))
    assert fitted.cost_ == 0 and len(np.unique(fitted.labels_)) == 2


# UCI, Soybean (Small): Michalski and Chilausky 1980; 47 plants, 35 attributes; 10 + 10 + 10 + 17.
SOYBEAN = """
40211101021102200010311100004000000
50210311121102200011301100004000000
30210202111102200010301100004000000
60210111001102200011311100004000000
40210302021102200010311100004000000
50210201101102200011311100004000000
30210211011102200011301100004000000
30210102121102200010301100004000000
60210301111102200010311100004000000
60210101021102200010311100004000000
60021021001102200011030002104000000
40010231111102200010030002104000000
50020321021102200010030002104000000
60011331101102200010030002104000000
30021021011102200010030002104000000
40011131111102200011030002104000000
30010121001102200010030002104000000
50021221021102200011030002104000000
60020131101102200010030002104000000
50021331121102200010030002104000000
01200111111002200010110110034000000
21200312011002200010110100034000000
21200211021002200010110110034000000
01200011121002200010110100034000000
01200211111002200010110110034000000
40201012021102200011110110034000000
21200312021002200010110110034000000
01200011011002200010110100034000001
30201312011102200011110110034000000
01200112121002200010110100034000000
21211312121102200010220100034000001
01110111001102200010120000034000001
31200112101102200010220000034000001
21211112021102200010120100034000001
11200311121102200010220000034000001
11210012111102200010220000034000001
01210311001102200010120000034000001
21200112001102200010120000034000001
31200212111102200010220000034000001
31100212121102200010220000034000001
01211111001102200010120100034000001
11211312011102200011120100034000001
11200012101102200010220000034000001
11211231111102200010220100034000001
21100312021102200010120000034000001
01111212101102200011220100034000001
01210311021102200010120000034000001
"""


@pytest.mark.published
def test_k_modes_of_the_soybeans():
    """Cost 199 and the four diseases, as kmodes 0.12.2 from the start of Cao et al. 2009."""
    Z = pd.DataFrame([list(row) for row in SOYBEAN.split()]).astype("category")
    fitted = KPrototypes(4, init="cao").fit(Z)
    assert fitted.cost_ == 199
    diseases = np.repeat(np.arange(4), [10, 10, 10, 17])
    assert adjusted_rand_score(diseases, fitted.labels_) == 1


# ---- Gower -------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_medoids_of_few_customers_are_the_best_of_all(k):
    Z = customers(18)[0]
    D = Gower.of(Z)(Z, Z)
    best = min(D[:, list(m)].min(axis=1).sum() for m in itertools.combinations(range(18), k))
    assert GowerKMedoids(k, random_state=0).fit(Z).cost_ == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_no_exchange_of_a_medoid_is_better(seed):
    Z = customers(80, seed=seed)[0].assign(age=np.random.default_rng(seed).normal(size=80))
    D = Gower.of(Z)(Z, Z)
    fitted = GowerKMedoids(6, random_state=seed).fit(Z)
    for out, candidate in itertools.product(range(6), range(80)):
        exchanged = fitted.medoid_indices_.copy()
        exchanged[out] = candidate
        assert D[:, exchanged].min(axis=1).sum() >= fitted.cost_ - 1e-9


def test_the_medoids_are_customers():
    Z = customers()[0]
    fitted = GowerKMedoids(3, random_state=0).fit(Z)
    expected = Z.iloc[fitted.medoid_indices_].reset_index(drop=True)
    pd.testing.assert_frame_equal(fitted.medoids_, expected)


def test_equal_customers_are_no_two_medoids():
    Z = pd.DataFrame({"x": [1.0] * 6})
    assert len(set(GowerKMedoids(3, random_state=0).fit(Z).medoid_indices_)) == 3


def test_average_linkage_is_that_of_scipy():
    Z = customers(60)[0]
    fitted = GowerAverage(4).fit(Z)
    theirs = fcluster(fitted.linkage_, 4, "maxclust")
    assert adjusted_rand_score(theirs, fitted.labels_) == 1


def test_joins_of_equal_height_still_leave_so_many_segments():
    Z = pd.DataFrame({"x": np.arange(6.0)})
    assert [len(np.unique(GowerAverage(k).fit(Z).labels_)) for k in range(1, 7)] == [*range(1, 7)]


def test_a_new_customer_is_nearest_to_the_segment_of_least_mean_distance():
    Z = customers(60)[0]
    fitted = GowerAverage(3).fit(Z)
    new = customers(10, seed=1)[0]
    D = Gower.of(Z)(new, Z)
    means = np.column_stack([D[:, fitted.labels_ == segment].mean(axis=1) for segment in range(3)])
    assert fitted.distances(new) == pytest.approx(means)


# ---- latent classes ----------------------------------------------------------------------------


@needs_stepmix
def test_the_likelihood_is_that_of_the_mixture():
    Z = customers()[0]
    fitted = LatentClasses(3, n_init=2, random_state=0).fit(Z)
    density = np.tile(fitted.weights_, (len(Z), 1))
    for j, name in enumerate(("age", "income")):
        sd = np.sqrt(fitted.variances_[:, j])
        density *= norm.pdf(Z[name].to_numpy()[:, None], fitted.means_[:, j], sd)
    for name in ("job", "city"):
        density *= fitted.probabilities_[name].T[Z[name].cat.codes]
    assert fitted.score_samples(Z) == pytest.approx(np.log(density.sum(axis=1)))
    assert fitted.predict_proba(Z) == pytest.approx(density / density.sum(axis=1)[:, None])


@needs_stepmix
def test_the_labels_are_the_likeliest_classes():
    Z = customers()[0]
    fitted = LatentClasses(3, n_init=2, random_state=0).fit(Z)
    assert np.array_equal(fitted.labels_, fitted.predict_proba(Z).argmax(axis=1))
    assert np.array_equal(fitted.labels_, fitted.predict(Z))


@needs_stepmix
def test_free_parameters_are_counted():
    Z = customers()[0]
    fitted = LatentClasses(3, n_init=1, random_state=0).fit(Z)
    assert fitted.n_parameters_ == 2 + 3 * (2 + 2 + 2 * 2)
    difference = fitted.bic(Z) - fitted.aic(Z)
    assert difference == pytest.approx(fitted.n_parameters_ * (np.log(150) - 2))


@needs_stepmix
def test_icl_adds_twice_the_entropy():
    Z = customers()[0]
    fitted = LatentClasses(3, n_init=1, random_state=0).fit(Z)
    p = np.clip(fitted.predict_proba(Z), 1e-300, 1)
    assert fitted.icl(Z) == pytest.approx(fitted.bic(Z) - 2 * (p * np.log(p)).sum())


@needs_stepmix
def test_a_missing_category_says_nothing():
    Z = customers()[0]
    Z.loc[::7, "job"] = np.nan
    fitted = LatentClasses(3, n_init=2, random_state=0).fit(Z)
    nothing = Z.iloc[:1].assign(job=pd.Categorical([None]))
    rest = LatentClasses(3, n_init=2, random_state=0).fit(Z).predict_proba(nothing)
    assert rest == pytest.approx(fitted.predict_proba(nothing))
    assert np.isfinite(fitted.score_samples(Z)).all()
    known = fitted.score_samples(Z.iloc[1:2])
    assert fitted.score_samples(Z.iloc[1:2].assign(job=pd.Categorical([None]))) > known


@needs_stepmix
def test_a_category_without_any_value_is_named():
    Z = customers()[0].assign(job=pd.Categorical([None] * 150))
    with pytest.raises(DataError, match="columns without any value: job"):
        LatentClasses(2).fit(Z)


def test_without_stepmix_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "stepmix", None)
    with pytest.raises(ConfigError, match=r'pip install "segexp\[lca\]"'):
        LatentClasses(2).fit(customers()[0])


# Log-likelihood, AIC and BIC of the R package poLCA (Linzer and Lewis 2011, Journal of Statistical
# Software 42(10)) and its manual, on the data it ships: dlinzer/poLCA, data/*.rda.
POLCA = [
    ("carcinoma", 2, -317.2568, 664.5137, 706.0739),
    ("carcinoma", 3, -293.7050, 633.4100, 697.1357),
    ("carcinoma", 4, -289.2858, 640.5717, 726.4629),
    # StepMix 3.0.0 on the same tables.
    ("values", 2, -504.4677, 1026.9353, 1057.3128),
    ("cheating", 2, -440.0271, 898.0542, 931.9409),
]


def answers(data_dir, name):
    path = data_dir / "polca" / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"SEGEXP_DATA_DIR has no {path.name}")
    # The grade point average is a covariate.
    return pd.read_csv(path).drop(columns="GPA", errors="ignore").astype("category")


@pytest.mark.published
@needs_stepmix
@pytest.mark.parametrize(("name", "k", "log_likelihood", "aic", "bic"), POLCA)
def test_latent_classes_are_those_of_polca(data_dir, name, k, log_likelihood, aic, bic):
    Z = answers(data_dir, name)
    fitted = LatentClasses(k, n_init=2 * k, random_state=0).fit(Z)
    assert fitted.score_samples(Z).sum() == pytest.approx(log_likelihood, abs=5e-4)
    assert fitted.aic(Z) == pytest.approx(aic, abs=1e-3)
    assert fitted.bic(Z) == pytest.approx(bic, abs=1e-3)


@pytest.mark.published
@needs_stepmix
def test_shares_of_the_carcinoma_classes(data_dir):
    """Table of poLCA's manual: .3736, .1817, .4447."""
    fitted = LatentClasses(3, n_init=4, random_state=0).fit(answers(data_dir, "carcinoma"))
    assert sorted(fitted.weights_) == pytest.approx([0.1817, 0.3736, 0.4447], abs=1e-4)


# ---- factor analysis of mixed data -------------------------------------------------------------


def famd(numeric: list[str], categorical: list[str]) -> ColumnTransformer:
    levels = Pipeline([("encode", OneHotEncoder(sparse_output=False)), ("scale", FamdScaler())])
    return ColumnTransformer(
        [("numeric", StandardScaler(), numeric), ("categorical", levels, categorical)]
    )


def eigenvalues(table: np.ndarray) -> np.ndarray:
    values = PCA().fit(table).explained_variance_ * (len(table) - 1) / len(table)
    return values[values > 1e-12]


def test_a_column_of_m_levels_has_variance_m_minus_one():
    scaled = famd(["age", "income"], ["job", "city"]).fit_transform(customers()[0])
    assert scaled.var(axis=0).sum() == pytest.approx(2 + (3 - 1) + (3 - 1))


def test_no_direction_of_one_column_has_more_than_a_number():
    scaled = famd([], ["job"]).fit_transform(customers()[0])
    assert eigenvalues(scaled) == pytest.approx([1, 1])


def test_of_categories_alone_it_is_multiple_correspondence_analysis():
    """Pages 2004: the eigenvalues are the number of columns times those of the MCA."""
    Z = customers()[0][["job", "city"]]
    indicators = OneHotEncoder(sparse_output=False).fit_transform(Z)
    # Correspondence analysis of the indicators: singular values of the standardised residuals.
    P = indicators / indicators.sum()
    expected = np.outer(P.sum(axis=1), P.sum(axis=0))
    mca = np.linalg.svd((P - expected) / np.sqrt(expected), compute_uv=False) ** 2
    found = eigenvalues(famd([], ["job", "city"]).fit_transform(Z))
    assert found == pytest.approx(2 * mca[mca > 1e-12])


def test_a_component_is_as_near_as_possible_to_all_columns():
    """Pages 2004: an eigenvalue is the sum of the squared correlations and correlation ratios."""
    Z = customers()[0]
    scaled = famd(["age", "income"], ["job", "city"]).fit_transform(Z)
    first = pd.Series(PCA().fit_transform(scaled)[:, 0])
    near = sum(np.corrcoef(first, Z[name])[0, 1] ** 2 for name in ("age", "income"))
    for name in ("job", "city"):
        means = first.groupby(Z[name], observed=True).transform("mean")
        near += means.var(ddof=0) / first.var(ddof=0)
    assert near == pytest.approx(eigenvalues(scaled)[0])


def test_a_level_that_nobody_had_gives_zero():
    scaler = FamdScaler().fit([[1.0, 0.0], [1.0, 0.0]])
    assert scaler.transform([[0.0, 1.0]])[0, 1] == 0


# ---- the options -------------------------------------------------------------------------------


def shop() -> pd.DataFrame:
    """Customers as a data set gives them, with gaps."""
    Z, _ = customers()
    table = pd.DataFrame({"age": Z["age"], "income": Z["income"]})
    table["job"] = Z["job"].astype(object)
    table["city"] = Z["city"].astype(object)
    sizes = pd.CategoricalDtype(["S", "M", "L"], ordered=True)
    table["size"] = pd.Series(np.array(["S", "M", "L"])[np.arange(150) % 3]).astype(sizes)
    table.loc[::9, "age"] = np.nan
    table.loc[::11, "job"] = np.nan
    return table


@pytest.mark.parametrize("preprocessing", ["mixed", "standard", "famd"])
@pytest.mark.parametrize(
    "model",
    [
        "kprototypes",
        "gower_kmedoids",
        "gower_average",
        pytest.param("latent_class", marks=needs_stepmix),
    ],
)
def test_the_options_segment_customers_with_gaps(preprocessing, model):
    config = load_config([f"model={model}", f"preprocessing={preprocessing}"], (shipped_conf(),))
    X = shop()
    pipeline = build_pipeline(config).fit(X)
    labels = pipeline.predict(X)
    assert len(labels) == 150 and 2 <= len(np.unique(labels)) <= 5
    loaded = load_pipeline(dump_pipeline(pipeline), model)
    assert np.array_equal(loaded.predict(X), labels)


def test_mixed_makes_a_missing_category_a_category():
    config = load_config(["model=kprototypes", "preprocessing=mixed"], (shipped_conf(),))
    Z = build_pipeline(config)[:-1].fit_transform(shop())
    job = next(column for name, column in Z.items() if "job" in name)
    assert job.cat.categories.tolist() == ["(missing)", "a", "b", "c"]
    assert not Z.isna().any(axis=None)

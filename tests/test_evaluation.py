import numpy as np
import pandas as pd
import pytest
from made_studies import search_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import segexp.engine.driver as engine
from segexp.config.schema import EvaluationConfig
from segexp.errors import ConfigError, DataError
from segexp.evaluation import (
    ProbabilityError,
    check_metrics,
    count_shared,
    evaluate,
    fold_scores,
    hash_splits,
    importance_table,
    make_inner_splits,
    make_splits,
    permutation_importance,
    predict,
    predictions_table,
)

SEGMENTS = ("A", "B")


def protocol(**changes):
    return EvaluationConfig(
        **{
            "name": "cv", "protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": 0.2,
            "group": None, "metric": "accuracy", "metrics": ["accuracy"], "baselines": [],
            "confidence": 0.95, "importance_repeats": 0, "final_model": False,
            "sample_rows": 0, "constraints": {},
            "stability_resamples": 0, "fold_resamples": 0, "k_max": None, "silhouette_rows": 100,
            "internal": [],
            **changes,
        }
    )  # fmt: skip


@pytest.fixture
def y():
    return np.arange(40) % 2


@pytest.fixture
def X(y):  # noqa: N802
    rng = np.random.default_rng(0)
    return pd.DataFrame({"signal": y + 0.1 * rng.normal(size=40), "noise": rng.normal(size=40)})


def linear():
    return Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])


def test_cv_is_scikit_learns_stratified_k_fold_over_the_order_of_the_rows(y):
    published = StratifiedKFold(5, shuffle=True, random_state=3).split(np.zeros(40), y)
    ours = make_splits(protocol(), y, None, 3, SEGMENTS)
    for split, (train, test) in zip(ours, published, strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


def test_repeat_0_of_repeated_cv_is_cv(y):
    repeated = make_splits(protocol(protocol="repeated_cv", n_repeats=2), y, None, 3, SEGMENTS)
    assert hash_splits(repeated[:5]) == hash_splits(make_splits(protocol(), y, None, 3, SEGMENTS))


def test_repeats_differ(y):
    repeated = make_splits(protocol(protocol="repeated_cv", n_repeats=2), y, None, 3, SEGMENTS)
    assert not np.array_equal(repeated[0].test, repeated[5].test)


def test_a_holdout_keeps_its_share(y):
    (split,) = make_splits(protocol(protocol="holdout", test_size=0.25), y, None, 0, SEGMENTS)
    assert (len(split.train), len(split.test)) == (30, 10)


@pytest.mark.parametrize("name", ["cv", "holdout"])
def test_a_group_stays_on_one_side(y, name):
    groups = np.arange(40) // 4
    for split in make_splits(protocol(protocol=name), y, groups, 0, SEGMENTS):
        assert not set(groups[split.train]) & set(groups[split.test])


def test_another_split_seed_has_another_hash(y):
    hashes = {hash_splits(make_splits(protocol(), y, None, seed, SEGMENTS)) for seed in (0, 1)}
    assert len(hashes) == 2


def test_a_segment_rarer_than_the_folds_is_refused():
    y = np.array([0] * 20 + [1] * 3)
    with pytest.raises(DataError, match=r"segment 'B' has 3 customer\(s\), 5 folds need 5"):
        make_splits(protocol(), y, None, 0, SEGMENTS)


def test_a_segment_that_one_group_holds_is_refused():
    y = np.array([0] * 30 + [1] * 10)
    groups = np.array([i // 3 for i in range(30)] + [99] * 10)
    with pytest.raises(DataError, match="no customer of segment 'B' among its training rows"):
        make_splits(protocol(n_splits=3), y, groups, 0, SEGMENTS)


def test_a_customer_like_a_training_customer_is_a_twin(y):
    X = pd.DataFrame({"a": np.arange(40), "b": "x"})
    X.loc[1, "a"] = 0  # rows 0 and 1 are equal, and of different segments
    splits = make_splits(protocol(protocol="holdout", test_size=0.5), y, None, 0, SEGMENTS)
    (split,) = splits
    apart = (0 in split.test) != (1 in split.test)
    assert count_shared(X, splits) == int(apart)
    assert count_shared(X.assign(b="y", a=1), splits) == 20


def results_of(X, y, pipeline=None, **options):
    splits = make_splits(protocol(), y, None, 0, SEGMENTS)
    return evaluate({"m": pipeline or linear()}, X, y, splits, SEGMENTS, **options)["m"]


def test_every_customer_is_judged_once(X, y):
    table = predictions_table(
        results_of(X, y), y, pd.Series([f"c{i}" for i in range(40)]), SEGMENTS
    )
    assert list(table["row"]) == list(range(40))
    assert list(table["id"][:2]) == ["c0", "c1"]
    assert (table["true"].to_numpy() == np.where(y == 0, "A", "B")).all()


def test_probabilities_sum_to_one(X, y):
    table = predictions_table(results_of(X, y), y, pd.Series(range(40)), SEGMENTS)
    np.testing.assert_allclose(table[["probability[A]", "probability[B]"]].sum(axis=1), 1)


def test_scores_are_those_of_the_stored_predictions(X, y):
    results = results_of(X, y)
    table = predictions_table(results, y, pd.Series(range(40)), SEGMENTS)
    right = (table["true"] == table["predicted"]).groupby(table["fold"]).mean()
    scores = fold_scores(results, y, SEGMENTS)
    accuracy = scores[scores["metric"] == "accuracy"].set_index("fold")["value"]
    pd.testing.assert_series_equal(accuracy, right, check_names=False)


def test_a_model_without_probabilities_has_none(X, y):
    pipeline = Pipeline([("scale", StandardScaler()), ("model", LinearSVC())])
    results = results_of(X, y, pipeline)
    assert results[0].probabilities is None
    assert "log_loss" not in set(fold_scores(results, y, SEGMENTS)["metric"])


class Peeker(ClassifierMixin, BaseEstimator):
    """Remembers the rows it was fitted on, and claims to know those it saw."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(X["signal"])
        return self

    def predict(self, X):
        return np.array([int(value in self.seen_) for value in X["signal"]])


def test_no_model_is_judged_on_a_row_it_was_fitted_on(X, y):
    results = results_of(X, y, Pipeline([("model", Peeker())]))
    assert not np.concatenate([result.predicted for result in results]).any()


def test_workers_and_this_process_give_the_same_numbers(X, y, monkeypatch):
    options = {"importance_of": "m", "importance_repeats": 2}
    serial = results_of(X, y, n_jobs=1, **options)
    monkeypatch.setattr(engine, "WORKER_START_S", -1.0)  # so that workers are worth it
    parallel = results_of(X, y, n_jobs=2, **options)
    pd.testing.assert_frame_equal(
        fold_scores(serial, y, SEGMENTS), fold_scores(parallel, y, SEGMENTS)
    )
    pd.testing.assert_frame_equal(importance_table(serial), importance_table(parallel))


def test_the_column_that_decides_is_the_important_one(X, y):
    table = importance_table(results_of(X, y, importance_of="m", importance_repeats=3))
    permutation = table[table["kind"] == "permutation"]
    assert list(permutation["feature"]) == ["signal", "noise"]
    assert permutation["mean"].iloc[0] > 0.2


def test_a_loss_counts_as_importance_whatever_the_direction_of_the_metric(X, y):
    table = importance_table(
        results_of(X, y, importance_of="m", importance_repeats=3, metric="log_loss")
    )
    assert table[table["feature"] == "signal"]["mean"].iloc[0] > 0.2


def test_importance_equals_predicting_the_whole_shuffled_table(X, y):
    """The shortcut (only changed rows, many shuffles in one call) changes no number."""
    pipeline = linear().fit(X, y)
    X = X.assign(noise=X["noise"].round(0))  # ties: some rows keep their value
    quick = permutation_importance(
        pipeline, X, y, SEGMENTS, metric="accuracy", repeats=2, rng=np.random.default_rng(1)
    )
    rng, slow = np.random.default_rng(1), []
    for column in X:
        for _ in range(2):
            shuffled = X.assign(**{column: X[column].to_numpy()[rng.permutation(len(X))]})
            slow.append(pipeline.score(X, y) - pipeline.score(shuffled, y))
    np.testing.assert_allclose(quick["drop"], slow)


def test_a_constant_column_is_not_important(X, y):
    X = X.assign(constant=1.0)
    table = importance_table(results_of(X, y, importance_of="m", importance_repeats=1))
    rows = table[(table["feature"] == "constant") & (table["kind"] == "permutation")]
    assert list(rows["mean"]) == [0.0]


def test_coefficients_are_the_own_importance_of_a_linear_model(X, y):
    table = importance_table(results_of(X, y, importance_of="m", importance_repeats=1))
    assert set(table[table["kind"] == "model"]["feature"]) == {"signal", "noise"}


def test_no_importance_is_an_empty_table(X, y):
    pipeline = Pipeline([("model", DummyClassifier())])
    assert importance_table(results_of(X, y, pipeline)).empty


def test_an_unknown_metric_names_the_key():
    with pytest.raises(ConfigError, match=r"evaluation\.metrics.*did you mean 'f1_macro'"):
        check_metrics(protocol(metrics=["accuracy", "f1_marco"]), search_config())


def test_an_unknown_metric_of_a_constraint_names_the_constraint():
    search = search_config(constraints={"acuracy": {"min": 1}})
    with pytest.raises(ConfigError, match=r"search\.constraints\.acuracy.*mean 'accuracy'"):
        check_metrics(protocol(), search)


def test_too_few_customers_for_the_inner_folds_name_the_segment():
    y = np.array([0] * 8 + [2] * 2 + [1] * 8)
    with pytest.raises(DataError, match=r"segment 'C' has 2 customer\(s\).*inner_splits=3"):
        make_inner_splits((0, 0), np.arange(18), y, None, 3, 0, ["A", "B", "C"])


class Blank(DummyClassifier):
    """Gives probabilities that are no numbers."""

    def predict_proba(self, X):
        return np.full((len(X), 2), np.nan)


def test_a_model_whose_probabilities_are_none_is_named(X, y):
    with pytest.raises(ProbabilityError, match="Blank predicts probabilities that are none"):
        results_of(X, y, Pipeline([("model", Blank())]))


@pytest.mark.parametrize("n_segments", [2, 4])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=100), MLPClassifier((5,), max_iter=3000, random_state=0),
        KNeighborsClassifier(4), DecisionTreeClassifier(min_samples_leaf=4, random_state=0),
        RandomForestClassifier(5, random_state=0), ExtraTreesClassifier(5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_the_likeliest_segment_is_what_the_model_predicts(model, n_segments):
    """Whole numbers make ties between segments likely."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (300, 3)).astype(float), rng.integers(0, n_segments, 300)
    fitted = Pipeline([("model", model)]).fit(X[:150], y[:150])
    codes, probabilities = predict(fitted, X[150:], n_segments)
    assert probabilities is not None
    assert np.array_equal(codes, fitted.predict(X[150:]))

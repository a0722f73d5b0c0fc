import os
import sys
import warnings
from dataclasses import replace

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

import segexp.search.fitting as fitting
from segexp.components import join
from segexp.config.compose import load_config
from segexp.config.options import list_models, shipped_conf
from segexp.data.loading import load_dataset
from segexp.errors import ConfigError
from segexp.evaluation import Split, predict
from segexp.metrics import METRICS, PER_SEGMENT, metric_value, score
from segexp.search.fitting import (
    Bench,
    FoldTask,
    Table,
    rounds_parameter,
    score_fold,
    settle,
)

SHIPPED = (shipped_conf(),)
MODELS = [name for name in list_models("classification", SHIPPED) if name != "dummy"]
SEGMENTS = ("A", "B", "C")
PROBABLE = ("accuracy", "f1_macro", "log_loss", "roc_auc_ovr", "recall[A]")
ROUNDS = {
    "lightgbm": lightgbm.LGBMClassifier(
        n_estimators=300, learning_rate=0.3, min_child_samples=5, n_jobs=1, verbosity=-1
    ),
    "xgboost": xgboost.XGBClassifier(n_estimators=300, n_jobs=1),
    "hist": HistGradientBoostingClassifier(max_iter=300, learning_rate=0.3, random_state=0),
    "gradient": GradientBoostingClassifier(n_estimators=300, max_depth=1, random_state=0),
}


class Recorder(TransformerMixin, BaseEstimator):
    """Remembers the numbers of the rows that it was fitted on, in its first column."""

    seen: list[list[float]] = []  # noqa: RUF012

    def __init__(self, setting=0, warn=False):
        self.setting = setting
        self.warn = warn

    def fit(self, X, y=None):
        Recorder.seen.append(X.iloc[:, 0].tolist())
        if self.warn:
            warnings.warn("learned little", UserWarning, stacklevel=2)
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X, dtype=float)


class Witness(ClassifierMixin, BaseEstimator):
    """Remembers the rows that it was fitted on."""

    seen: list[list[float]] = []  # noqa: RUF012

    def fit(self, X, y):
        Witness.seen.append(X[:, 0].tolist())
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


class Failing(ClassifierMixin, BaseEstimator):
    """Raises what it is told to, from so many rows on."""

    def __init__(self, error=ValueError("no\n  such luck"), from_rows=0):  # noqa: B008
        self.error = error
        self.from_rows = from_rows

    def fit(self, X, y):
        if len(X) >= self.from_rows:
            raise self.error
        return self


class Unsure(Witness):
    """Gives probabilities that are no numbers."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), np.nan)


class Overdone(Witness):
    """Gives probabilities that add up to more than 1."""

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 0.5)


class Loud(Witness):
    """Prints, also past Python."""

    def fit(self, X, y):
        print("from Python")  # noqa: T201
        for descriptor in (1, 2):
            os.write(descriptor, b"from native code")
        return super().fit(X, y)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch):
    monkeypatch.setattr(fitting, "_FOLDS", fitting._Folds(10**9))
    monkeypatch.setattr(fitting, "_IDENTITIES", {})
    Recorder.seen, Witness.seen = [], []


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = pd.DataFrame(rng.normal(size=(120, 4)) + 0.7 * y[:, None], columns=list("abcd"))
    X["a"] = np.arange(120.0)  # the number of the row
    return Table(X, y, SEGMENTS)


def splits():
    rows = np.arange(120)
    return tuple(Split(0, fold, rows[rows % 4 != fold], rows[rows % 4 == fold]) for fold in (0, 1))


def bench(model, *steps, metrics=("accuracy",), rounds=None, folds=None, groups=None):
    pipelines = model if isinstance(model, dict) else {"m": Pipeline([*steps, ("model", model)])}
    return Bench(
        name="bench", pipelines=pipelines, splits={"rows": folds or splits()}, metrics=metrics,
        early_stopping=rounds, early_stopping_share=0.2, seed=0, groups=groups,
    )  # fmt: skip


def task(params=None, *, model="m", fold=0):
    return FoldTask("rows", fold, model, params or {})


def plain(table, bench, task):
    """What a pipeline that is fitted as a whole says."""
    split = bench.splits[task.rows][task.fold]
    pipeline = clone(bench.pipelines[task.model]).set_params(**task.params)
    pipeline.fit(table.X.iloc[split.train], table.y[split.train])
    answer = predict(pipeline, table.X.iloc[split.test], len(table.segments))
    scores = score(table.y[split.test], *answer, table.segments)
    return [scores[name] for name in bench.metrics]


# metric_value


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(3), size=50)
    return rng.integers(3, size=50), rng.integers(3, size=50), probabilities, SEGMENTS


@pytest.mark.parametrize(
    "name",
    [*(m.name for m in METRICS), *(f"{kind}[{s}]" for kind in PER_SEGMENT for s in SEGMENTS)],
)
def test_one_metric_is_exactly_that_of_score(name, answers):
    assert metric_value(name, *answers) == score(*answers)[name]


@pytest.mark.parametrize("name", ["log_loss", "roc_auc_ovr", "brier", "calibration_error"])
def test_a_metric_of_probabilities_is_nan_without_them(name):
    assert np.isnan(metric_value(name, [0, 1], [0, 1], None, ["A", "B"]))


@pytest.mark.parametrize("name", ["log_loss", "roc_auc_ovr", "brier", "calibration_error"])
def test_probabilities_that_are_no_numbers_give_what_score_gives(name):
    answers = ([0, 1], [0, 1], [[np.nan, np.nan], [0.5, 0.5]], ["A", "B"])
    np.testing.assert_equal(metric_value(name, *answers), score(*answers)[name])


def test_a_metric_of_an_unknown_segment_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'Anna'"):
        metric_value("recall[Ana]", [0], [0], None, ["Anna"])


# The same as a whole pipeline


@pytest.fixture(scope="module")
def demo():
    config = load_config(["dataset=demo", "dataset.n_customers=300"], SHIPPED)
    dataset = load_dataset(config.dataset)
    return Table(dataset.X, dataset.y, tuple(dataset.segments))


@pytest.fixture(scope="module")
def demo_bench(demo):
    configs = {
        name: load_config([f"model={name}", "preprocessing=standard"], SHIPPED) for name in MODELS
    }
    rows = np.arange(len(demo.y))
    return Bench(
        name="demo",
        pipelines={name: join(c.preprocessing, c.model) for name, c in configs.items()},
        splits={"rows": (Split(0, 0, rows[rows % 3 != 0], rows[rows % 3 == 0]),)},
        metrics=tuple(metric.name for metric in METRICS),
        early_stopping=None, early_stopping_share=0.1, seed=0,
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_scores_as_the_whole_pipeline(name, demo, demo_bench):
    wanted = plain(demo, demo_bench, task(model=name))
    for _ in range(2):  # the second finds everything prepared
        done = score_fold(demo, demo_bench, task(model=name))
        np.testing.assert_allclose(done.values, wanted, rtol=0, atol=1e-12, err_msg=str(done))


@pytest.mark.parametrize(
    "params",
    [
        {"max_bin": 16},
        {"objective": "multi:softmax"},
        {"booster": "dart", "rate_drop": 0.3, "random_state": 1},
        {"tree_method": "approx"},
        {"enable_categorical": False},
        {"missing": 0.0},
        {"max_cat_to_onehot": 1, "colsample_bytree": 0.5},
        {"subsample": 0.5, "grow_policy": "lossguide", "max_leaves": 5},
        {"base_score": 0.3},
    ],
    ids=str,
)
def test_xgboost_after_other_trials_scores_as_by_itself(params, demo, demo_bench):
    few = {"model__n_estimators": 15}
    chosen = task(few | {f"model__{key}": value for key, value in params.items()}, model="xgboost")
    if params == {"enable_categorical": False}:  # refused; what comes after must not suffer
        assert score_fold(demo, demo_bench, chosen).failure is not None
        chosen = task(few, model="xgboost")
    wanted = plain(demo, demo_bench, chosen)
    score_fold(demo, demo_bench, task(few, model="xgboost"))
    for _ in range(2):
        done = score_fold(demo, demo_bench, chosen)
        np.testing.assert_allclose(done.values, wanted, rtol=0, atol=1e-12, err_msg=str(done))


@pytest.mark.parametrize("params", [{"booster": "gblinear"}, {"tree_method": "exact"}], ids=str)
def test_xgboost_without_bins_scores_as_the_whole_pipeline(params, table):
    ours = bench(clone(ROUNDS["xgboost"]).set_params(n_estimators=9), metrics=PROBABLE)
    chosen = task({f"model__{key}": value for key, value in params.items()})
    wanted = plain(table, ours, chosen)
    for _ in range(2):
        np.testing.assert_allclose(score_fold(table, ours, chosen).values, wanted, atol=1e-12)


def test_xgboost_on_two_segments_scores_as_the_whole_pipeline():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(120, 2)), columns=["a", "b"])
    two = Table(X, (X["a"] > 0).to_numpy().astype(int), ("A", "B"))
    ours = bench(ROUNDS["xgboost"], metrics=("log_loss",))
    score_fold(two, ours, task())
    assert score_fold(two, ours, task()).values == tuple(plain(two, ours, task()))


def test_xgboost_builds_its_matrix_once_per_fold(table):
    ours = bench(ROUNDS["xgboost"], ("scale", StandardScaler()))
    for depth in (2, 3):
        score_fold(table, ours, task({"model__max_depth": depth, "model__n_estimators": 3}))
    (fold,) = fitting._FOLDS._folds.values()
    assert len(fold.rows.matrices) == 1


def test_sparse_features_are_scored_as_by_the_whole_pipeline(table):
    encode = OneHotEncoder(handle_unknown="ignore")
    ours = bench(LogisticRegression(), ("encode", encode), metrics=PROBABLE)
    np.testing.assert_allclose(
        score_fold(table, ours, task()).values, plain(table, ours, task()), rtol=0, atol=1e-12
    )
    (fold,) = fitting._FOLDS._folds.values()
    assert sparse.issparse(fold.test.X)


def test_a_segment_that_the_training_rows_lack_has_probability_0(table):
    train, test = np.arange(0, 90), np.arange(90, 120)
    folds = (Split(0, 0, train[table.y[train] != 2], test),)
    ours = bench(DummyClassifier(), metrics=("brier", "recall[C]"), folds=folds)
    # Each of A and B costs 0.5, C costs 1.5.
    assert score_fold(table, ours, task()).values == pytest.approx(((2 * 0.5 + 1.5) / 3, 0.0))


def test_a_pipeline_without_preprocessing_is_scored(table):
    ours = bench(DummyClassifier())
    assert score_fold(table, ours, task()).values == tuple(plain(table, ours, task()))


def test_parameters_of_preprocessing_and_model_are_set(table):
    ours = bench(KNeighborsClassifier(), ("scale", StandardScaler()), metrics=PROBABLE)
    chosen = task({"scale__with_std": False, "model__n_neighbors": 11})
    assert score_fold(table, ours, chosen).values == pytest.approx(plain(table, ours, chosen))
    assert ours.pipelines["m"].get_params()["model__n_neighbors"] == 5


# Nothing learns from the rows that score


def test_preprocessing_and_model_see_the_training_rows_of_their_fold_only(table):
    ours = bench(Witness(), ("record", Recorder()))
    score_fold(table, ours, task(fold=1))
    train = splits()[1].train.tolist()
    assert Recorder.seen == [train] and Witness.seen == [train]


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_early_stopping_holds_out_training_rows_and_never_those_that_score(table, kind):
    ours = bench(ROUNDS[kind], ("pass", FunctionTransformer(np.asarray)), rounds=5)
    score_fold(table, ours, task())
    (fold,) = fitting._FOLDS._folds.values()
    ((fit_on, stop_by),) = fold.held_out.values()
    both = [*fit_on.X[:, 0], *stop_by.X[:, 0]]
    assert sorted(both) == splits()[0].train.tolist()
    assert np.bincount(stop_by.y).tolist() == [6, 6, 6]


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_early_stopping_holds_out_whole_groups(table, kind):
    groups = np.arange(120) // 6  # two rows of each segment
    ours = bench(
        ROUNDS[kind], ("pass", FunctionTransformer(np.asarray)), rounds=5, groups=groups,
        folds=(Split(0, 0, np.arange(90), np.arange(90, 120)),),
    )  # fmt: skip
    assert score_fold(table, ours, task()).n_iterations is not None
    (fold,) = fitting._FOLDS._folds.values()
    ((fit_on, stop_by),) = fold.held_out.values()
    fit_groups, stop_groups = (
        {int(row) // 6 for row in rows.X[:, 0]} for rows in (fit_on, stop_by)
    )
    assert not fit_groups & stop_groups and len(fit_groups | stop_groups) == 15
    assert np.bincount(stop_by.y).tolist() == [6, 6, 6]


@pytest.mark.parametrize("kind", ["hist", "gradient"])
def test_a_booster_that_holds_out_rows_itself_does_not_stop_early_with_groups(table, kind):
    ours = bench(clone(ROUNDS[kind]).set_params(learning_rate=0.9), rounds=2)
    assert score_fold(table, ours, task()).n_iterations is not None
    grouped = replace(ours, name="grouped", groups=np.arange(120) // 6)
    assert score_fold(table, grouped, task()).n_iterations is None


def test_a_segment_of_one_group_stops_nothing_early(table):
    model = clone(ROUNDS["xgboost"]).set_params(n_estimators=3)
    done = score_fold(table, bench(model, rounds=2, groups=table.y), task())
    assert done.failure is None and done.n_iterations is None


@pytest.mark.parametrize("kind", ROUNDS)
def test_rows_that_score_do_not_move_the_stop(table, kind, monkeypatch):
    """Their features are made nonsense: the booster stops where it did."""
    test = splits()[0].test
    nonsense = table.X.copy()
    nonsense.iloc[test] = 1e6
    other = Table(nonsense, table.y, SEGMENTS)
    ours = bench(ROUNDS[kind], rounds=5)
    kept = score_fold(table, ours, task()).n_iterations
    monkeypatch.setattr(fitting, "_FOLDS", fitting._Folds(10**9))
    assert score_fold(other, ours, task()).n_iterations == kept


# What is prepared is prepared once


def test_preprocessing_is_fitted_once_for_each_of_its_settings(table):
    ours = bench(KNeighborsClassifier(), ("record", Recorder()))
    for setting in (0, 1):
        for neighbors in (3, 5):
            score_fold(
                table, ours, task({"record__setting": setting, "model__n_neighbors": neighbors})
            )
    assert len(Recorder.seen) == 2


def test_models_with_equal_preprocessing_share_it_and_others_do_not(table):
    pipelines = {
        "knn": Pipeline([("record", Recorder()), ("model", KNeighborsClassifier())]),
        "dummy": Pipeline([("record", Recorder()), ("model", DummyClassifier())]),
        "other": Pipeline([("record", Recorder(setting=1)), ("model", DummyClassifier())]),
    }
    fits = []
    for name in pipelines:
        score_fold(table, bench(pipelines), task(model=name))
        fits.append(len(Recorder.seen))
    assert fits == [1, 1, 2]


def test_every_fold_has_its_own_preprocessing(table):
    ours = bench(DummyClassifier(), ("record", Recorder()))
    for fold in (0, 1, 0):
        score_fold(table, ours, task(fold=fold))
    assert Recorder.seen == [split.train.tolist() for split in splits()]


def test_a_full_cache_keeps_the_fold_used_last(table, monkeypatch):
    monkeypatch.setattr(fitting, "_FOLDS", fitting._Folds(max_bytes=0))
    ours = bench(DummyClassifier(), ("record", Recorder()))
    for fold in (0, 0, 1, 1, 0):
        score_fold(table, ours, task(fold=fold))
    assert len(Recorder.seen) == 3 and len(fitting._FOLDS) == 1


def test_the_cache_is_a_share_of_the_memory():
    assert 0 < fitting._memory_bytes() // 4 // (os.cpu_count() or 1) < fitting._memory_bytes()


def test_a_model_that_writes_into_shared_rows_fails(table):
    class Writer(Witness):
        def fit(self, X, y):
            X[0] = 0
            return super().fit(X, y)

    ours = bench(Writer(), ("scale", StandardScaler()))
    assert "read-only" in score_fold(table, ours, task()).failure.cause


# Early stopping


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_booster_stops_before_its_last_round(table, kind):
    done = score_fold(table, bench(ROUNDS[kind], rounds=3), task())
    assert done.failure is None and 0 < done.n_iterations < 300


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_predictions_use_the_best_round(table, kind):
    """The stop is repeated by hand: so many rounds on the rows that were not held out."""
    ours = bench(ROUNDS[kind], metrics=("log_loss",), rounds=3)
    done = score_fold(table, ours, task())
    (fold,) = fitting._FOLDS._folds.values()
    ((fit_on, _),) = fold.held_out.values()
    model = clone(ROUNDS[kind]).set_params(n_estimators=done.n_iterations).fit(fit_on.X, fit_on.y)
    test = splits()[0].test
    probabilities = model.predict_proba(fold.test.X)
    wanted = metric_value("log_loss", table.y[test], table.y[test], probabilities, SEGMENTS)
    assert done.values == pytest.approx((wanted,), abs=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(booster="dart", n_estimators=3, n_jobs=1),
        lightgbm.LGBMClassifier(boosting_type="dart", n_estimators=3, n_jobs=1, verbosity=-1),
        HistGradientBoostingClassifier(max_iter=3, early_stopping=True, random_state=0),
        GradientBoostingClassifier(n_estimators=3, n_iter_no_change=2, random_state=0),
        LogisticRegression(),
    ],
    ids=["xgboost dart", "lightgbm dart", "own hist", "own gradient", "linear"],
)
def test_early_stopping_leaves_a_model_alone(table, model):
    scale, metrics = ("scale", StandardScaler()), ("log_loss",)
    done = score_fold(table, bench(model, scale, metrics=metrics, rounds=3), task())
    assert done.n_iterations is None
    assert done.values == tuple(plain(table, bench(model, scale, metrics=metrics), task()))


def test_a_segment_of_one_row_stops_nothing_early():
    X = pd.DataFrame({"a": np.arange(40.0)})
    rare = Table(X, np.array([2] + [0, 1] * 19 + [0]), SEGMENTS)
    folds = (Split(0, 0, np.arange(30), np.arange(30, 40)),)
    model = clone(ROUNDS["xgboost"]).set_params(n_estimators=3)
    done = score_fold(rare, bench(model, rounds=2, folds=folds), task())
    assert done.failure is None and done.n_iterations is None


@pytest.mark.parametrize("kind", ROUNDS)
def test_settled_rounds_are_those_of_the_refit(table, kind):
    pipeline = Pipeline([("model", ROUNDS[kind])])
    pipeline = clone(pipeline).set_params(**settle(pipeline, 4)).fit(table.X, table.y)
    model = pipeline[-1]
    n = {
        "lightgbm": lambda: model.booster_.current_iteration(),
        "xgboost": lambda: model.get_booster().num_boosted_rounds(),
        "hist": lambda: model.n_iter_,
        "gradient": lambda: model.n_estimators_,
    }[kind]()
    assert n == 4


def test_settling_switches_automatic_early_stopping_off():
    pipeline = Pipeline([("model", HistGradientBoostingClassifier())])
    assert settle(pipeline, 7) == {"model__max_iter": 7, "model__early_stopping": False}


def test_there_is_nothing_to_settle_for_other_models():
    assert settle(Pipeline([("model", LogisticRegression())]), 7) == {}


# Failures


@pytest.mark.parametrize(
    ("model", "params", "kind"),
    [
        (LogisticRegression(), {"C": -1.0}, "INVALID"),
        (LogisticRegression(), {"D": 1.0}, "INVALID"),
        (ROUNDS["lightgbm"], {"num_leaves": 1}, "INVALID"),
        (ROUNDS["xgboost"], {"max_depth": -3}, "INVALID"),
        (Failing(), {}, "INVALID"),
        (Failing(from_rows=61), {}, "FAIL"),
        (KNeighborsClassifier(), {"n_neighbors": 91}, "FAIL"),
    ],
    ids=str,
)
def test_refused_parameters_are_invalid_and_other_errors_are_failures(table, model, params, kind):
    done = score_fold(table, bench(model), task({f"model__{k}": v for k, v in params.items()}))
    assert (done.failure.kind, done.values) == (kind, ())


def test_parameters_that_the_preprocessing_refuses_are_invalid(table):
    ours = bench(DummyClassifier(), ("encode", OneHotEncoder()))
    done = score_fold(table, ours, task({"encode__drop": "nobody"}))
    assert done.failure.kind == "INVALID"


def test_a_stopped_booster_that_fails_on_the_data_is_no_invalid_one(table):
    broken = Table(table.X.replace(5.0, np.inf), table.y, SEGMENTS)
    done = score_fold(broken, bench(ROUNDS["xgboost"], rounds=3), task())
    assert done.failure.kind == "FAIL"


def test_a_cause_is_one_line_and_the_traceback_is_kept(table):
    failure = score_fold(table, bench(Failing(ValueError("no\n  such luck"))), task()).failure
    assert failure.cause == "ValueError: no such luck"
    assert "raise self.error" in failure.traceback


def test_a_long_cause_is_cut(table):
    failure = score_fold(table, bench(Failing(ValueError("x" * 999))), task()).failure
    assert len(failure.cause) == 300


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_passes_and_leaves_the_terminal_as_it_was(table, stop):
    def terminal():
        return [os.fstat(descriptor).st_ino for descriptor in (1, 2)], sys.stdout, sys.stderr

    before = terminal()
    with pytest.raises(stop):
        score_fold(table, bench(Failing(stop())), task())
    assert terminal() == before


def test_a_failed_preprocessing_is_not_kept(table):
    ours = bench(DummyClassifier(), ("encode", OneHotEncoder()))
    score_fold(table, ours, task({"encode__drop": "nobody"}))
    assert len(fitting._FOLDS) == 0


def test_a_metric_that_is_not_defined_is_a_failure_with_a_cause(table):
    train, test = np.arange(60), np.arange(60, 120)
    folds = (Split(0, 0, train, test[table.y[test] != 2]),)
    done = score_fold(table, bench(DummyClassifier(), metrics=("recall[C]",), folds=folds), task())
    assert done.values == () and done.failure.kind == "FAIL"
    assert done.failure.cause == "NotDefinedError: recall[C] is nan on the 40 rows of this fold"


@pytest.mark.parametrize("metric", ["accuracy", "brier"])
@pytest.mark.parametrize(
    ("model", "shown"), [(Unsure(), "nan, nan, nan"), (Overdone(), "0.5, 0.5, 0.5")], ids=str
)
def test_probabilities_that_are_none_are_a_failure_whatever_the_metric(table, metric, model, shown):
    done = score_fold(table, bench(model, ("s", StandardScaler()), metrics=(metric,)), task())
    assert done.values == () and done.failure.kind == "FAIL"
    name = type(model).__name__
    assert done.failure.cause.startswith(f"ProbabilityError: {name} predicts probabilities that")
    assert f"for 30 of 30 rows, for example {shown};" in done.failure.cause


def test_a_model_without_probabilities_fails_by_name_where_a_metric_needs_them(table):
    done = score_fold(table, bench(LinearSVC(C=1e-3), metrics=("accuracy", "brier")), task())
    assert "brier needs probabilities, which LinearSVC does not give" in done.failure.cause


# What is said beside


@pytest.mark.filterwarnings("always")
def test_each_warning_is_recorded_once_and_for_every_trial_of_a_preprocessing(table):
    ours = bench(DummyClassifier(), ("record", Recorder(warn=True)))
    said = [score_fold(table, ours, task()).warnings for _ in range(2)]
    assert said == [("UserWarning: learned little",)] * 2
    assert len(Recorder.seen) == 1


def test_nothing_reaches_the_terminal(table, capfd):
    score_fold(table, bench(Loud(), ("scale", StandardScaler())), task())
    score_fold(table, bench(ROUNDS["lightgbm"]), task({"model__num_leaves": 1}))
    assert capfd.readouterr() == ("", "")
    assert len(Witness.seen) == 1


def test_time_is_measured(table):
    done = score_fold(table, bench(ROUNDS["xgboost"]), task())
    assert done.seconds > 0


@pytest.mark.parametrize(
    "model", ["lightgbm", "xgboost", "hist_gradient_boosting", "gradient_boosting"]
)
def test_a_booster_at_fewer_rounds_is_the_fit_with_fewer_rounds(model, demo, demo_bench):
    parameter = f"model__{rounds_parameter(demo_bench.pipelines[model])}"
    long = FoldTask("rows", 0, model, {parameter: 30}, stages=(7, 20, 40))
    staged = score_fold(demo, demo_bench, long).stages
    assert [rounds for rounds, _ in staged] == [7, 20, 30]
    for rounds, values in staged:
        alone = score_fold(demo, demo_bench, FoldTask("rows", 0, model, {parameter: rounds}))
        np.testing.assert_allclose(values, alone.values, rtol=0, atol=1e-12)


def test_what_stops_early_is_not_judged_at_fewer_rounds(demo, demo_bench):
    stopping = replace(demo_bench, name="stopping", early_stopping=2)
    done = score_fold(
        demo, stopping, FoldTask("rows", 0, "lightgbm", {"model__n_estimators": 90}, stages=(5,))
    )
    assert done.n_iterations is not None and done.stages == ()


def test_only_boosters_have_rounds(demo_bench):
    assert rounds_parameter(demo_bench.pipelines["random_forest"]) is None

"""What a saved model makes of its features, checked against what can be computed otherwise."""

import signal

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from segexp.explanations import (
    Answers,
    ExplanationError,
    contributions,
    count_twins,
    dependence,
    learning_curve,
    limited,
    read_sample,
    sources_of,
    value_ranks,
)
from segexp.features import (
    CategoryEncoder,
    CategoryPairs,
    ColumnSums,
    DateFeatures,
    OrdinalCodes,
    PlainNames,
    RoleColumns,
)

SCHEMA = {
    "columns": {
        "age": {"role": "numeric"},
        "city": {"role": "categorical", "levels": ["Oslo", "Rome"]},
        "plan": {"role": "ordinal", "levels": ["free", "basic", "premium"]},
        "since": {"role": "date"},
        "id": {"role": "numeric"},
    },
    "segments": ["calm", "hip"],
}


def stored(n=60, seed=0):
    """A sample as a run stores it."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n).astype(float)
    return pd.DataFrame(
        {
            "row": np.arange(n),
            "id": [f"c{i}" for i in range(n)],
            "target": np.where(age + rng.normal(0, 12, n) > 45, "calm", "hip"),
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "city": pd.Series(rng.choice(["Oslo", "Rome", None], n), dtype=object),
            "plan": pd.Series(rng.choice(["free", "basic", "premium"], n), dtype=object),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, n), "D"),
            "id (feature)": rng.normal(size=n),
        }
    )


def sampled(n=60, seed=0):
    return read_sample(stored(n, seed), SCHEMA)


def prepared(model, native=False):
    numbers = Pipeline([("impute", SimpleImputer(add_indicator=True)), ("scale", StandardScaler())])
    categories = CategoryEncoder() if native else OneHotEncoder(sparse_output=False)
    columns = ColumnTransformer(
        [
            ("numeric", numbers, RoleColumns("numeric")),
            ("categorical", Pipeline([("encode", categories)]), RoleColumns("categorical")),
            ("ordinal", Pipeline([("codes", OrdinalCodes())]), RoleColumns("ordinal")),
            ("date", Pipeline([("features", DateFeatures())]), RoleColumns("date")),
        ],
        verbose_feature_names_out=native,
    )
    if native:
        columns.set_output(transform="pandas")
    table = Pipeline([("names", PlainNames())])
    before = Pipeline([("table", table), ("columns", columns), ("reduction", "passthrough")])
    return Pipeline([("preprocessing", before), ("model", model)])


def small_lightgbm(**settings):
    return LGBMClassifier(n_estimators=8, min_child_samples=3, verbose=-1, n_jobs=1, **settings)


def small_xgboost(**settings):
    return XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1, **settings)


# ---- the sample --------------------------------------------------------------------------------


def test_a_sample_is_typed_as_the_model_was_fitted():
    found = sampled()
    assert list(found.X) == ["age", "city", "plan", "since", "id"]
    assert found.X["age"].dtype == np.float64
    assert found.X["city"].dtype == object
    assert list(found.X["plan"].cat.categories) == ["free", "basic", "premium"]
    assert found.X["plan"].cat.ordered
    assert found.X["since"].dtype == "datetime64[ns]"


def test_a_feature_that_is_called_like_an_own_column_is_found():
    table = stored()
    assert sampled().X["id"].tolist() == table["id (feature)"].tolist()


def test_codes_are_those_of_the_segments():
    assert [("calm", "hip")[code] for code in sampled().y] == stored()["target"].tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="age"), "lacks the column 'age'"),
        (lambda t: t.assign(target="other"), "segments that the model does not know"),
        (lambda t: t.assign(age="many"), "no numbers in the column 'age'"),
        (lambda t: t.assign(since="soon"), "no dates in the column 'since'"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(change, said):
    with pytest.raises(ExplanationError, match=said):
        read_sample(change(stored()), SCHEMA)


@pytest.mark.parametrize(
    "schema",
    [{}, {"columns": [], "segments": []}, {"columns": {"age": {"role": "x"}}, "segments": ["a"]}],
)
def test_a_damaged_schema_is_refused(schema):
    with pytest.raises(ExplanationError, match="damaged"):
        read_sample(stored(), schema)


def test_twins_without_a_segment_in_common_cost_a_mistake():
    X = pd.DataFrame({"a": [1.0, 1.0, np.nan, np.nan, 2.0], "b": ["x", "x", None, None, "x"]})
    found = count_twins(X, np.array([0, 1, 0, 0, 1]))
    assert (found.alike, found.torn, found.wrong) == (4, 2, 1)


# ---- mean curves -------------------------------------------------------------------------------


def test_a_curve_is_the_partial_dependence_of_scikit_learn():
    found = sampled(200)
    X = found.X.dropna().reset_index(drop=True)
    y = found.y[found.X.notna().all(axis=1)]
    pipeline = prepared(RandomForestClassifier(5, random_state=0)).fit(X, y)
    (curve,) = dependence(pipeline, X, ["age"], 2, max_rows=1000)
    expected = partial_dependence(
        pipeline, X, ["age"], method="brute", custom_values={"age": np.array(curve.grid)}
    )
    assert curve.means[:, 1] == pytest.approx(expected["average"][0])


def test_means_are_of_probabilities():
    found = sampled()
    pipeline = prepared(LogisticRegression(max_iter=5000)).fit(
        found.X.fillna({"city": "Oslo"}), found.y
    )
    X = found.X.fillna({"city": "Oslo"})
    for curve in dependence(pipeline, X, list(X), 2):
        assert curve.means.sum(axis=1) == pytest.approx(1)


def test_levels_stand_in_their_order_and_categories_by_number():
    X = sampled(300).X
    model = prepared(small_lightgbm(), native=True).fit(X, sampled(300).y)
    curves = {curve.feature: curve for curve in dependence(model, X, ["plan", "city", "since"], 2)}
    assert curves["plan"].grid == ["free", "basic", "premium"]
    assert curves["city"].grid == X["city"].value_counts().index.tolist()
    assert curves["city"].weights == pytest.approx(X["city"].value_counts() / 300)
    assert curves["since"].kind == "date"
    assert sorted(curves["since"].grid) == list(curves["since"].grid)


def test_a_column_with_one_value_has_no_curve():
    found = sampled()
    X = found.X.assign(age=5.0)
    model = prepared(small_lightgbm(), native=True).fit(X, found.y)
    assert dependence(model, X, ["age"], 2) == []


def test_without_probabilities_a_curve_is_the_share_that_is_put_there():
    found = sampled()
    X = found.X[["id"]]
    model = Pipeline([("scale", StandardScaler()), ("model", RidgeClassifier())]).fit(X, found.y)
    (curve,) = dependence(model, X, ["id"], 2)
    assert set(np.unique(curve.means)) <= {0.0, 1.0}


# ---- contributions -----------------------------------------------------------------------------


def three_segments(n=150):
    found = sampled(n)
    y = (found.X["age"].fillna(40) // 22).astype(int).clip(0, 2).to_numpy()
    return found.X, y


@pytest.mark.parametrize("n_segments", [2, 3])
@pytest.mark.parametrize("native", [False, True])
def test_contributions_of_lightgbm_add_up_to_its_scores(n_segments, native):
    X, y = three_segments()
    y = np.minimum(y, n_segments - 1)
    pipeline = prepared(small_lightgbm(), native).fit(X, y)
    found = contributions(pipeline, X, n_segments)
    scores = pipeline[-1].predict(pipeline[:-1].transform(X), raw_score=True)
    scores = scores if n_segments == 3 else np.c_[-scores, scores]
    added = found.values.sum(axis=2)
    assert added - added[0] == pytest.approx(scores - scores[0])


@pytest.mark.parametrize("n_segments", [2, 3])
@pytest.mark.parametrize("native", [False, True])
def test_contributions_of_xgboost_add_up_to_its_scores(n_segments, native):
    X, y = three_segments()
    y = np.minimum(y, n_segments - 1)
    pipeline = prepared(small_xgboost(enable_categorical=native), native).fit(X, y)
    found = contributions(pipeline, X, n_segments)
    scores = pipeline[-1].predict(pipeline[:-1].transform(X), output_margin=True)
    scores = scores if n_segments == 3 else np.c_[-scores, scores]
    added = found.values.sum(axis=2)
    assert added - added[0] == pytest.approx(scores - scores[0], abs=1e-4)


@pytest.mark.parametrize("n_segments", [2, 3])
def test_contributions_of_a_linear_model_add_up_to_its_scores(n_segments):
    X, y = three_segments()
    y = np.minimum(y, n_segments - 1)
    pipeline = prepared(LogisticRegression(max_iter=5000)).fit(X, y)
    found = contributions(pipeline, X, n_segments)
    scores = pipeline.decision_function(X)
    scores = scores if n_segments == 3 else np.c_[-scores, scores]
    added = found.values.sum(axis=2)
    assert added - added[0] == pytest.approx(scores - scores[0])


def test_contributions_stand_under_the_columns_of_the_table():
    X, y = three_segments()
    found = contributions(prepared(small_lightgbm()).fit(X, y), X, 3)
    assert set(found.features) == set(X)
    sizes = np.abs(found.values).mean(axis=(0, 1))
    assert list(sizes) == sorted(sizes, reverse=True)
    assert found.features[0] == "age"


def test_another_model_says_why_it_has_no_contributions():
    X, y = three_segments()
    pipeline = prepared(DecisionTreeClassifier()).fit(X, y)
    with pytest.raises(ExplanationError, match="DecisionTreeClassifier does not say"):
        contributions(pipeline, X, 3)


def test_a_prepared_feature_goes_to_its_column_whatever_the_names_are():
    # Both encoders make features that begin with "a_b".
    X = pd.DataFrame({"a": ["b_x", "c", "c"], "a_b": ["x", "x", "y"]}, dtype=object)
    columns = ColumnTransformer([("categorical", OneHotEncoder(), ["a", "a_b"])],
                                verbose_feature_names_out=False)  # fmt: skip
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=5000))])
    X = X.replace({"b_x": "b_z"})
    assert sources_of(pipeline.fit(X, [0, 1, 1]), 4) == ["a", "a", "a_b", "a_b"]


def test_marks_of_missing_cells_and_parts_of_dates_go_to_their_columns():
    X, y = three_segments()
    pipeline = prepared(small_lightgbm(), native=True).fit(X, y)
    n = pipeline[:-1].transform(X).shape[1]
    found = sources_of(pipeline, n)
    names = pipeline[:-1].get_feature_names_out()
    assert dict(zip(names, found, strict=True))["numeric__missingindicator_age"] == "age"
    assert found.count("since") == sum("since" in name for name in names) > 1
    # What is asked leaves the pipeline as it was.
    assert list(pipeline[:-1].get_feature_names_out()) == list(names)


def test_what_comes_from_several_columns_keeps_its_own_name():
    X = pd.DataFrame({"a": list("xyxy"), "b": list("uvvu")}, dtype=object)
    branch = Pipeline([("pairs", CategoryPairs()), ("encode", OneHotEncoder())])
    columns = ColumnTransformer([("c", branch, ["a", "b"])], verbose_feature_names_out=False)
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=5000))])
    found = sources_of(pipeline.fit(X, [0, 1, 0, 1]), 8)
    assert found[:4] == ["a", "a", "b", "b"]
    assert found[4:] == [f"a & b_{x} & {u}" for x in "xy" for u in "uv"]


def test_new_columns_and_components_keep_their_own_names():
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0, 5.0], "b": [0.0, 1.0, 0.0, 2.0]})
    sums = ColumnSums({"both": ["a", "b"]}, drop=False)
    columns = ColumnTransformer([("n", StandardScaler(), RoleColumns("numeric"))],
                                verbose_feature_names_out=False)  # fmt: skip
    steps = [("sums", sums), ("columns", columns), ("model", LogisticRegression(max_iter=5000))]
    assert sources_of(Pipeline(steps).fit(X, [0, 1, 0, 1]), 3) == ["a", "b", "both"]
    steps.insert(2, ("pca", PCA(2)))
    assert sources_of(Pipeline(steps).fit(X, [0, 1, 0, 1]), 2) == ["pca0", "pca1"]


def test_ranks_go_from_the_lowest_to_the_highest_value():
    X = sampled().X
    ranks = value_ranks(X, ["age", "plan", "city", "no column"])
    assert np.nanmin(ranks[:, 0]) == 0 and np.nanmax(ranks[:, 0]) == 1
    assert ranks[X["plan"] == "premium", 1] == pytest.approx(1)
    assert np.isnan(ranks[X["age"].isna(), 0]).all()
    assert np.isnan(ranks[:, 2:]).all()


# ---- learning curve ----------------------------------------------------------------------------


def test_shares_grow_and_every_fold_is_judged():
    table = learning_curve(
        prepared(small_lightgbm()), sampled(240), "accuracy", n_folds=3, shares=(0.2, 0.5, 1.0)
    )
    assert table.groupby("customers").size().tolist() == [3, 3, 3]
    assert table["customers"].max() == 160
    assert table["value"].between(0, 1).all()


def test_the_same_seed_gives_the_same_curve():
    arguments = (prepared(small_lightgbm()), sampled(120), "log_loss")
    first, second = (
        learning_curve(*arguments, n_folds=2, shares=(0.3, 1.0), seed=3) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first, second)


def test_the_pipeline_that_is_given_is_not_refitted():
    found = sampled(120)
    pipeline = prepared(small_lightgbm()).fit(found.X, found.y)
    before = pipeline.predict_proba(found.X)
    learning_curve(pipeline, found, "accuracy", n_folds=2, shares=(0.3, 1.0))
    assert np.array_equal(pipeline.predict_proba(found.X), before)


def test_too_few_customers_are_said():
    with pytest.raises(ExplanationError, match="smallest segment has"):
        learning_curve(
            prepared(small_lightgbm()), sampled(8), "accuracy", n_folds=3, shares=(0.5, 1.0)
        )


def test_refits_end_at_their_limit():
    with pytest.raises(ExplanationError, match="refits take longer"):
        learning_curve(
            prepared(small_lightgbm()), sampled(60), "accuracy", n_folds=2, shares=(0.5, 1.0),
            limit=1e-6,
        )  # fmt: skip


def spin():
    while True:
        pass


def test_what_never_ends_is_stopped():
    said = r"circles take longer than the 0\.05 seconds"
    with pytest.raises(ExplanationError, match=said), limited(0.05, "circles"):
        spin()


def test_what_ends_in_time_is_left_alone():
    with limited(60.0, "circles"):
        found = sum(range(10))
    assert found == 45


def test_a_time_that_is_up_while_the_clock_is_stopped_is_one_error(monkeypatch):
    before, sent, set_clock = signal.getsignal(signal.SIGPROF), [], signal.setitimer

    def late(which, seconds, interval=0.0):
        if seconds == 0 and not sent:
            sent.append(True)
            signal.raise_signal(signal.SIGPROF)
        return set_clock(which, seconds, interval)

    monkeypatch.setattr(signal, "setitimer", late)
    with pytest.raises(ExplanationError, match="circles take longer"), limited(60.0, "circles"):
        pass
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_a_model_of_a_billion_trees_is_not_refitted():
    pipeline = prepared(small_lightgbm().set_params(n_estimators=10**9))
    with pytest.raises(ExplanationError, match="asks for 1,000,000,000 trees"):
        learning_curve(pipeline, sampled(60), "accuracy", n_folds=2)


def test_answers_of_the_run_are_the_last_point():
    found = sampled(120)
    answers = Answers(500, found.y, None)
    table = learning_curve(prepared(small_lightgbm()), found, "accuracy", answers, n_folds=2)
    last = table[table["customers"] == 500]
    assert last["value"].tolist() == [1.0, 1.0]
    assert table["customers"].nunique() == 3


@pytest.mark.parametrize(
    "explain",
    [
        lambda pipeline, X: dependence(pipeline, X, ["age"], 3, limit=-1.0),
        lambda pipeline, X: contributions(pipeline, X, 3, limit=-1.0),
    ],
)
def test_explanations_end_at_their_limit(explain):
    X, y = three_segments()
    pipeline = prepared(small_lightgbm()).fit(X, y)
    with pytest.raises(ExplanationError, match="take longer than"):
        explain(pipeline, X)


@pytest.mark.parametrize("where", ["outer", "inner"])
def test_a_cache_that_a_stranger_names_is_not_opened(where, tmp_path):
    pipeline = prepared(small_lightgbm())
    owner = pipeline if where == "outer" else pipeline[0]["columns"].transformers[0][1]
    owner.set_params(memory=str(tmp_path / "cache"))
    with pytest.raises(ExplanationError, match="names memory"):
        learning_curve(pipeline, sampled(60), "accuracy", n_folds=2, shares=(0.5, 1.0))
    assert not (tmp_path / "cache").exists()


def test_other_machines_are_not_called():
    pipeline = prepared(small_lightgbm(workers="example.org:80"))
    with pytest.raises(ExplanationError, match="names workers"):
        learning_curve(pipeline, sampled(60), "accuracy", n_folds=2, shares=(0.5, 1.0))

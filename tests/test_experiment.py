import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.cluster import AgglomerativeClustering
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import segexp.runs as runs
from segexp.clustering.segmenter import Segmenter
from segexp.config.compose import load_config, read_config
from segexp.config.options import list_models, list_options, shipped_conf
from segexp.data.sql import recorded_address
from segexp.errors import ConfigError, RunError, RunFailedError
from segexp.experiment import Reporter, run_experiment
from segexp.metrics import score
from segexp.plan import estimate_seconds, find_done, plan_experiment
from segexp.saved_model import UnsafeModelError, dump_pipeline, load_pipeline

SHIPPED = (shipped_conf(),)
FAILING = [
    "+preprocessing.reduction.pca._target_=sklearn.decomposition.PCA",
    "+preprocessing.reduction.pca.n_components=500",
]
QUICK = ["dataset.n_customers=300", "model=decision_tree", "engine.n_jobs=1",
         "evaluation.importance_repeats=1"]  # fmt: skip


def plan(*words):
    return plan_experiment(load_config(words, SHIPPED))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words):
    return run_experiment(plan(*words), words)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run that many tests look at."""
    words = [*QUICK, f"run.outputs={tmp_path_factory.mktemp('outputs')}", "run.tags=[a]"]
    return run(*words)


def test_a_run_is_completed_and_has_every_file(finished):
    assert finished.status == "completed"
    names = {str(path.relative_to(finished.path)) for path in finished.path.rglob("*")}
    assert names == {
        runs.CONFIG, runs.OVERRIDES, runs.MANIFEST, runs.SCORES, runs.BASELINES, runs.SUMMARY,
        runs.PREDICTIONS, runs.IMPORTANCE, runs.TIMINGS, runs.LOG, runs.MODEL, runs.PIPELINE,
        runs.MODEL_SCHEMA, runs.SAMPLE, runs.PROFILE, runs.SEGMENTS,
    }  # fmt: skip


def test_nothing_is_pickled(finished):
    for path in finished.path.rglob("*"):
        assert path.suffix not in (".pkl", ".pickle", ".joblib")


def test_the_recorded_config_is_the_one_that_ran(finished):
    assert read_config(finished.path / runs.CONFIG).model.name == "decision_tree"


def test_the_recorded_words_are_a_command(finished):
    text = (finished.path / runs.OVERRIDES).read_text()
    assert text.startswith("segexp run dataset.n_customers=300 model=decision_tree")


def test_the_manifest_says_what_was_run_on_what(finished):
    manifest = finished.manifest
    assert manifest["dataset"]["synthetic"] is True
    assert manifest["dataset"]["n_rows"] == 300
    assert sum(manifest["segments"].values()) == 300
    assert manifest["split"]["split_seed"] == manifest["seed"] == 0
    assert manifest["tags"] == ["a"]
    assert manifest["peak_memory_mb"] > 50
    assert manifest["versions"]["segexp"]


def test_the_manifest_holds_no_absolute_path(finished):
    assert str(Path.home()) not in (finished.path / runs.MANIFEST).read_text()


def test_scores_can_be_computed_again_from_the_predictions(finished):
    predictions = finished.read_predictions()
    segments = list(finished.manifest["segments"])
    code = {name: i for i, name in enumerate(segments)}
    scores = finished.read_scores().set_index(["fold", "metric"])["value"]
    for fold, part in predictions.groupby("fold"):
        again = score(
            part["true"].map(code).to_numpy(),
            part["predicted"].map(code).to_numpy(),
            part[[f"probability[{name}]" for name in segments]].to_numpy(),
            segments,
        )
        for metric, value in again.items():
            np.testing.assert_allclose(scores[fold, metric], value, atol=1e-12)


def test_the_summary_is_the_mean_over_folds(finished):
    scores = finished.read_scores()
    accuracy = scores[scores["metric"] == "accuracy"]["value"]
    summary = finished.read_summary()["accuracy"]
    assert summary["mean"] == pytest.approx(accuracy.mean())
    assert summary["std"] == pytest.approx(accuracy.std())
    assert summary["interval"][0] < summary["mean"] < summary["interval"][1]
    assert summary["n"] == 5


def test_the_majority_and_a_linear_model_stand_beside(finished):
    baselines = finished.read_baselines()
    accuracy = baselines[baselines["metric"] == "accuracy"].groupby("baseline")["value"].mean()
    assert set(accuracy.index) == {"dummy", "logistic_regression"}
    largest = max(finished.manifest["segments"].values()) / 300
    assert accuracy["dummy"] == pytest.approx(largest, abs=0.01)


def test_importance_is_there_for_every_column_and_from_the_model(finished):
    importance = finished.read_importance()
    assert len(importance[importance["kind"] == "permutation"]) == 9
    assert (importance["kind"] == "model").any()


def test_the_saved_model_predicts_as_it_did(finished):
    content = (finished.path / runs.PIPELINE).read_bytes()
    pipeline = load_pipeline(content, "pipeline.skops")
    assert list(pipeline.classes_) == [0, 1, 2, 3]


def test_the_log_tells_what_was_done(finished):
    assert " of 16: decision_tree" in (finished.path / runs.LOG).read_text()


def test_the_same_command_twice_gives_identical_scores(finished):
    words = [word for word in QUICK if not word.startswith("run.")]
    again = run(*words)
    assert (again.path / runs.SCORES).read_bytes() == (finished.path / runs.SCORES).read_bytes()


def test_another_split_seed_gives_other_scores(finished):
    other = run(*QUICK, "run.split_seed=1")
    assert other.manifest["split"]["hash"] != finished.manifest["split"]["hash"]
    assert not other.read_scores().equals(finished.read_scores())


def test_csv_and_parquet_give_identical_scores():
    from segexp.data.demo import generate_customers

    table = generate_customers(200, 0)
    table.to_csv("customers.csv", index=False)
    table.to_parquet("customers.parquet")
    roles = ["dataset.id=ID", "dataset.target=Segmentation", *QUICK[1:]]
    from_csv = run("dataset=csv", "dataset.path=customers.csv", *roles)
    from_parquet = run("dataset=parquet", "dataset.path=customers.parquet", *roles)
    assert (
        from_csv.manifest["dataset"]["fingerprint"]
        == from_parquet.manifest["dataset"]["fingerprint"]
    )
    assert (from_csv.path / runs.SCORES).read_bytes() == (
        from_parquet.path / runs.SCORES
    ).read_bytes()


def test_what_is_switched_off_is_not_there():
    off = [
        "evaluation.baselines=[]",
        "evaluation.importance_repeats=0",
        "evaluation.final_model=false",
    ]
    done = run(*QUICK, *off, "evaluation=holdout", "evaluation.importance_repeats=0")
    names = {path.name for path in done.path.iterdir()}
    assert not names & {runs.BASELINES, runs.IMPORTANCE, runs.MODEL}
    assert done.read_summary()["accuracy"]["std"] is None


@pytest.mark.parametrize(
    ("address", "recorded"),
    [
        ("postgresql://ann:s3/cr'et@h/shop", "postgresql://ann:***@h/shop"),
        ("postgresql://ann:$PASSWORD@h/shop", "postgresql://ann:$PASSWORD@h/shop"),
        ("postgresql://ann:$PASSWORD1-x@h/shop", "postgresql://ann:***@h/shop"),
        ("postgresql://ann@h/shop?sslpassword=x", "postgresql://ann@h/shop?sslpassword=***"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
    ],
)
def test_secrets_of_an_address_are_not_recorded(address, recorded):
    assert recorded_address(address) == recorded


def test_a_run_records_no_secret():
    import sqlite3

    from segexp.data.demo import generate_customers

    with contextlib.closing(sqlite3.connect("shop.db")) as connection:
        generate_customers(200, 0).to_sql("customers", connection, index=False)
    words = ["dataset=sql", "dataset.url='sqlite:///file:shop.db?uri=true&password=hunter2'",
             "dataset.table=customers", "dataset.id=ID", "dataset.target=Segmentation",
             *QUICK[1:]]  # fmt: skip
    done = run(*words)
    for path in done.path.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()


def test_a_name_from_a_config_cannot_climb_out_of_outputs(tmp_path):
    done = run(*QUICK, "dataset.name=../../evil", "model.name=a/b")
    assert done.path.resolve().is_relative_to(tmp_path / "outputs")


def test_a_plan_counts_fits():
    assert plan("evaluation=repeated_cv", "evaluation.final_model=false").n_fits == 25


def test_a_done_run_is_found_by_its_config():
    assert find_done(plan(*QUICK)) == []
    done = run(*QUICK)
    assert [path.resolve() for path in find_done(plan(*QUICK))] == [done.path.resolve()]
    assert find_done(plan(*QUICK, "run.seed=1")) == []


def test_an_estimate_is_the_time_of_a_past_run_and_what_a_search_adds_to_it():
    searched = plan(*QUICK, "search=tpe", "search.timeout=1s")
    assert estimate_seconds(searched, 2) is None
    spent = run(*QUICK).manifest["seconds"]
    assert estimate_seconds(plan(*QUICK), 2) == spent
    assert spent < estimate_seconds(searched, 2) <= spent + 1
    whole = plan(*QUICK, "search=tpe", "search.n_trials=10000", "search.timeout=1s")
    assert estimate_seconds(whole, 2) == spent + 1


def test_a_run_that_cannot_be_fitted_is_failed(tmp_path):
    """More components than columns are found only by the fit."""
    with pytest.raises(RunFailedError, match=r"run .* failed: ValueError"):
        run(*QUICK, *FAILING)
    (path,) = runs.find_runs(tmp_path / "outputs")
    assert runs.open_run(path).status == "failed"
    assert json.loads((path / runs.MANIFEST).read_text())["cause"].startswith("ValueError")


@pytest.mark.parametrize("model", list_models("classification", SHIPPED))
def test_every_model_runs_and_its_pipeline_reads_back(model):
    """Also: no shipped model warns while it is fitted."""
    words = ["dataset.n_customers=200", f"model={model}", "engine.n_jobs=1",
             "evaluation=holdout", "evaluation.baselines=[]",
             "evaluation.importance_repeats=1"]  # fmt: skip
    done = run(*words)
    pipeline = load_pipeline((done.path / runs.PIPELINE).read_bytes(), model)
    assert len(pipeline.classes_) == 4


# What needs columns that the demo customers do not have.
OF_OTHER_TABLES = {"personality", "personality_rfm", "rfm", "rfm_scores", "value"}


@pytest.mark.parametrize(
    "preprocessing", sorted(set(list_options("preprocessing", SHIPPED)) - OF_OTHER_TABLES)
)
@pytest.mark.parametrize("model", ["lightgbm", "logistic_regression"])
def test_every_preprocessing_runs_and_reads_back(preprocessing, model):
    words = ["dataset.n_customers=200", f"model={model}", f"preprocessing={preprocessing}",
             "engine.n_jobs=1", "evaluation=holdout", "evaluation.baselines=[]",
             "evaluation.importance_repeats=1"]  # fmt: skip
    done = run(*words)
    assert load_pipeline((done.path / runs.PIPELINE).read_bytes(), model)


class Unknown:
    """A type that nobody said is safe to rebuild."""


def test_a_type_that_could_not_be_loaded_is_not_saved():
    pipeline = Pipeline([("model", DummyClassifier(constant=Unknown()))])
    with pytest.raises(UnsafeModelError, match="types that are not trusted"):
        dump_pipeline(pipeline)


def test_a_file_that_names_an_unknown_type_is_not_loaded():
    with pytest.raises(RunError, match="names types that are not trusted"):
        load_pipeline(skops.io.dumps(Unknown()), "pipeline.skops")


@pytest.mark.parametrize(
    "step",
    [
        Pipeline([("model", DummyClassifier())], memory="cache"),
        Segmenter(AgglomerativeClustering(memory="cache")),
        VotingClassifier([("one", Pipeline([("model", DummyClassifier())], memory="cache"))]),
        GridSearchCV(Pipeline([("model", DummyClassifier())]), {"memory": ["cache"]}),
        GridSearchCV(DummyClassifier(), [{}, {"estimator__memory": ["cache"]}]),
        FunctionTransformer(kw_args={"of": [AgglomerativeClustering(memory="cache")]}),
    ],
)
def test_a_model_with_a_cache_is_neither_saved_nor_loaded(step):
    """Joblib unpickles what lies in a cache as soon as the model is fitted again."""
    pipeline = Pipeline([("step", step)])
    with pytest.raises(UnsafeModelError, match="not saved: memory of its"):
        dump_pipeline(pipeline)
    with pytest.raises(RunError, match=r"pipeline.skops was not loaded: memory of its \w+ is set"):
        load_pipeline(skops.io.dumps(pipeline), "pipeline.skops")


def test_a_column_may_be_called_memory():
    pipeline = Pipeline([("levels", FunctionTransformer(kw_args={"memory": ["8 GB", "16 GB"]}))])
    assert load_pipeline(dump_pipeline(pipeline), "pipeline.skops")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"gASV"])
def test_a_damaged_model_is_one_line(content):
    with pytest.raises(RunError, match="is not a saved model"):
        load_pipeline(content, "pipeline.skops")


@pytest.fixture
def svc(tmp_path):
    """A user's model without probabilities."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "svc.yaml").write_text(
        "# linear support vectors\nname: svc\nestimator: {_target_: sklearn.svm.LinearSVC}\n"
    )
    return (tmp_path / "conf", *SHIPPED)


def test_a_ranking_metric_that_the_model_cannot_have_is_refused_before_the_table_is_read(svc):
    words = [*QUICK[:1], "model=svc", "evaluation.metric=log_loss"]
    with pytest.raises(ConfigError, match="log_loss needs probabilities"):
        plan_experiment(load_config(words, svc))


def test_a_model_without_probabilities_runs(svc):
    words = [*QUICK[:1], "model=svc", "engine.n_jobs=1"]
    done = run_experiment(plan_experiment(load_config(words, svc)), words)
    assert "log_loss" not in done.read_summary()
    assert done.read_importance()["mean"].notna().all()


def test_a_metric_of_a_segment_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"'recall\[Z\]' names the segment 'Z'"):
        run(*QUICK, "evaluation.metric='recall[Z]'")
    assert not Path("outputs").exists()


@pytest.mark.parametrize("model", ["dummy", "logistic_regression"])
def test_a_baseline_stands_beside_a_model_of_its_kind_with_other_parameters(model):
    other = {"dummy": "strategy=uniform", "logistic_regression": "C=1e-9"}[model]
    assert set(plan(f"model={model}").baselines) == {"dummy", "logistic_regression"} - {model}
    both = plan(f"model={model}", f"model.estimator.{other}").baselines
    assert set(both) == {"dummy", "logistic_regression"}


def test_finished_folds_of_an_interrupted_run_are_kept():
    def interrupt(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(plan(*QUICK), QUICK, Reporter(progress=interrupt))
    (path,) = runs.find_runs(Path("outputs"))
    stopped = runs.open_run(path)
    assert stopped.status == "interrupted"
    assert set(stopped.read_scores()["fold"]) == {0, 1, 2}
    assert set(stopped.read_predictions()["fold"]) == {0, 1, 2}


def test_a_disk_that_fills_up_during_the_run_is_a_failed_run(monkeypatch):
    import errno
    import os

    def full(self, name, table):
        raise RunError(f"{name} cannot be written: {os.strerror(errno.ENOSPC)}")

    monkeypatch.setattr(runs.RunWriter, "write_parquet", full)
    with pytest.raises(RunFailedError, match=r"predictions\.parquet.*No space left"):
        run(*QUICK)


def test_somebody_elses_folder_does_not_disturb_the_plan():
    done = run(*QUICK)
    other = done.path.with_name(done.path.name + "-2")
    other.mkdir()
    (other / runs.MANIFEST).write_text("{")
    assert len(find_done(plan(*QUICK))) == 1


def test_the_same_customer_on_both_sides_of_a_split_is_counted():
    from segexp.data.demo import generate_customers

    table = generate_customers(200, 0)
    table.loc[1::2, "ID"] = table.loc[::2, "ID"].to_numpy()
    table.to_csv("customers.csv", index=False)
    words = ["dataset=csv", "dataset.path=customers.csv", "dataset.id=ID", *QUICK[1:],
             "dataset.target=Segmentation", "dataset.duplicate_ids=keep"]  # fmt: skip
    codes = {f["code"]: f["count"] for f in run(*words).manifest["dataset"]["findings"]}
    assert codes["same_customer"] > 100
    grouped = run(*words, "evaluation.group=ID").manifest["dataset"]["findings"]
    assert "same_customer" not in {finding["code"] for finding in grouped}


def test_the_last_split_seed_can_be_repeated():
    words = ["evaluation=repeated_cv", "evaluation.n_repeats=2", "evaluation.n_splits=2"]
    assert run(*QUICK, *words, f"run.split_seed={2**32 - 1}").status == "completed"

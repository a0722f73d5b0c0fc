import json
from pathlib import Path

import numpy as np
import pytest
import skops.io

import segexp.runs as runs
from segexp.config.compose import load_config, read_config
from segexp.config.options import list_options, shipped_conf
from segexp.errors import RunError, RunFailedError
from segexp.experiment import find_done, plan_experiment, run_experiment, without_password
from segexp.metrics import score
from segexp.saved_model import UnsafeModelError, dump_pipeline, load_pipeline

SHIPPED = (shipped_conf(),)
QUICK = ["dataset.n_customers=300", "model=decision_tree", "engine.n_jobs=1"]


def plan(*words):
    return plan_experiment(load_config(words, SHIPPED), SHIPPED)


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
        runs.MODEL_SCHEMA,
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
    assert "fit 1 of 15" in (finished.path / runs.LOG).read_text()


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


def test_a_password_is_not_recorded():
    words = "dataset.url='postgresql://ann:p@ss:w0rd@host/shop' dataset.table=customers"
    assert without_password(words) == (
        "dataset.url='postgresql://ann:***@host/shop' dataset.table=customers"
    )


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


def test_a_run_that_cannot_be_fitted_is_failed(tmp_path):
    """A neighbour count above the number of training rows is found only by the fit."""
    with pytest.raises(RunFailedError, match=r"run .* failed: ValueError"):
        run(*QUICK, "model=knn", "model.estimator.n_neighbors=5000")
    (path,) = runs.find_runs(tmp_path / "outputs")
    assert runs.open_run(path).status == "failed"
    assert json.loads((path / runs.MANIFEST).read_text())["cause"].startswith("ValueError")


@pytest.mark.parametrize("model", list_options("model", SHIPPED))
def test_every_model_runs_and_its_pipeline_reads_back(model):
    """Also: no shipped model warns while it is fitted."""
    words = ["dataset.n_customers=200", f"model={model}", "engine.n_jobs=1",
             "evaluation=holdout", "evaluation.baselines=[]"]  # fmt: skip
    done = run(*words)
    pipeline = load_pipeline((done.path / runs.PIPELINE).read_bytes(), model)
    assert len(pipeline.classes_) == 4


@pytest.mark.parametrize("preprocessing", list_options("preprocessing", SHIPPED))
@pytest.mark.parametrize("model", ["lightgbm", "logistic_regression"])
def test_every_preprocessing_runs_and_reads_back(preprocessing, model):
    words = ["dataset.n_customers=200", f"model={model}", f"preprocessing={preprocessing}",
             "engine.n_jobs=1", "evaluation=holdout", "evaluation.baselines=[]"]  # fmt: skip
    done = run(*words)
    assert load_pipeline((done.path / runs.PIPELINE).read_bytes(), model)


class Unknown:
    """A type that nobody said is safe to rebuild."""


def test_a_type_that_could_not_be_loaded_is_not_saved():
    from sklearn.dummy import DummyClassifier
    from sklearn.pipeline import Pipeline

    pipeline = Pipeline([("model", DummyClassifier(constant=Unknown()))])
    with pytest.raises(UnsafeModelError, match="types that are not trusted"):
        dump_pipeline(pipeline)


def test_a_file_that_names_an_unknown_type_is_not_loaded():
    with pytest.raises(RunError, match="names types that are not trusted"):
        load_pipeline(skops.io.dumps(Unknown()), "pipeline.skops")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"gASV"])
def test_a_damaged_model_is_one_line(content):
    with pytest.raises(RunError, match="is not a saved model"):
        load_pipeline(content, "pipeline.skops")

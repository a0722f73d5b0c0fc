"""Runs of clusterers, from words to a run directory."""

import contextlib
import json
import shlex

import numpy as np
import pandas as pd
import pytest

import segexp.runs as runs
from segexp.cli import main
from segexp.config.compose import expand_grid, load_config
from segexp.config.options import list_models, shipped_conf
from segexp.errors import ConfigError
from segexp.evaluation import Refits, Split, Table, judge_clusterer
from segexp.experiment import missed, run_experiment
from segexp.plan import plan_experiment

SHIPPED = (shipped_conf(),)
CLUSTERERS = list(list_models("clustering", SHIPPED))
QUICK = ["engine.n_jobs=1", "evaluation.stability_resamples=4", "evaluation.fold_resamples=2",
         "evaluation.k_max=null"]  # fmt: skip
DEMO = ["dataset.n_customers=150", *QUICK]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The runs that all tests share have figures; those of one test are drawn, but not as bytes.
    monkeypatch.setattr("segexp.figures.look.render", lambda figure: {})


def plan(*words):
    return plan_experiment(load_config(words, SHIPPED))


def run(*words):
    return run_experiment(plan(*words), words)


def write_blobs(path, centers=((0, 0), (10, 0), (0, 10)), n=40, extra=()):
    rng = np.random.default_rng(0)
    rows = [rng.normal(center, 1.0, size=(n, 2)) for center in centers]
    table = pd.DataFrame(np.vstack([*rows, *[np.atleast_2d(row) for row in extra]]),
                         columns=["income", "spending"])  # fmt: skip
    table.insert(0, "id", range(1, len(table) + 1))
    table.to_csv(path, index=False)


BLOBS = ["dataset=csv", "dataset.path=blobs.csv", "dataset.name=blobs", "dataset.id=id",
         "preprocessing=minimal", "model=kmeans"]  # fmt: skip


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """One finished run on customers without known segments."""
    with contextlib.chdir(tmp_path_factory.mktemp("unlabelled")):
        write_blobs("blobs.csv")
        words = [*BLOBS, "model.estimator.n_clusters=3", *QUICK, "evaluation.k_max=4"]
        made = run(*words)
        return runs.open_run(made.path.resolve())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """One finished run of a clusterer on customers with known segments."""
    with contextlib.chdir(tmp_path_factory.mktemp("labelled")):
        made = run("model=kmeans", *DEMO)
        return runs.open_run(made.path.resolve())


def test_a_run_has_every_file_of_a_clusterer(unlabelled):
    names = {path.name for path in unlabelled.path.iterdir()}
    assert {
        runs.SEGMENTATION, runs.SEGMENTS, runs.CUSTOMERS, runs.STABILITY, runs.K_TABLE,
        runs.SUMMARY, runs.SCORES, runs.PREDICTIONS, runs.FIGURES, runs.MODEL,
    } <= names  # fmt: skip


def test_a_clusterer_is_evaluated_as_such_without_a_word(unlabelled):
    assert unlabelled.manifest["metric"] == "silhouette"
    assert unlabelled.manifest["task"] == "clustering"


def test_separated_customers_are_separated_where_they_are_held_out(unlabelled):
    assert unlabelled.read_summary()["silhouette"]["mean"] > 0.7


def test_every_customer_is_held_out_once(unlabelled):
    assert unlabelled.read_predictions()["row"].tolist() == list(range(120))


def test_every_customer_has_a_segment_of_the_final_model(unlabelled):
    counts = unlabelled.read_customers()["segment"].value_counts().to_dict()
    assert counts == {"1": 40, "2": 40, "3": 40}


def test_the_in_sample_figures_are_kept_apart(unlabelled):
    found = unlabelled.read_segmentation()
    assert found["in_sample"]["silhouette"] > 0.7
    assert "silhouette" in unlabelled.read_summary()


def test_the_verdict_on_k_is_recorded(unlabelled):
    assert unlabelled.read_segmentation()["k"]["final"]["verdict"] == 3


def test_stability_is_recorded_for_each_segment(unlabelled):
    stable = unlabelled.read_segmentation()["stability"]
    assert set(stable["jaccard"]) == {"1", "2", "3"}
    assert min(stable["jaccard"].values()) > 0.95


def test_known_segments_judge_a_clusterer_too(labelled):
    summary = labelled.read_summary()
    assert {"accuracy", "f1_macro", "ari", "ami", "v_measure", "silhouette"} <= set(summary)


def test_mapped_predictions_are_known_segments(labelled):
    assert set(labelled.read_predictions()["predicted"]) <= set(labelled.manifest["segments"])


def test_clusterers_and_classifiers_are_judged_on_the_same_folds(labelled):
    classifier = run("model=decision_tree", "dataset.n_customers=150", "engine.n_jobs=1",
                     "evaluation.importance_repeats=0")  # fmt: skip
    assert labelled.manifest["split"]["hash"] == classifier.manifest["split"]["hash"]


def test_known_segments_do_not_touch_the_clusters():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.normal(size=90), "income": rng.normal(size=90)})
    pipeline = plan("model=kmeans", "preprocessing=standard", *DEMO).pipeline
    split = Split(0, 0, np.arange(60), np.arange(60, 90))
    refits = Refits(0, 100, ("silhouette",))
    truths = (np.arange(90) % 3, np.sort(np.arange(90) % 3))
    first, second = (
        judge_clusterer(Table(X, y, ("a", "b", "c")), pipeline, split, refits).clusters.labels
        for y in truths
    )
    assert first.tolist() == second.tolist()


def test_the_same_words_give_the_same_numbers(labelled):
    again = run("model=kmeans", *DEMO)
    assert again.read_summary() == labelled.read_summary()
    assert again.read_segmentation() == labelled.read_segmentation()


def test_the_number_of_processes_changes_no_number(labelled):
    words = [word for word in DEMO if not word.startswith("engine.")]
    parallel = run("model=kmeans", *words, "engine.n_jobs=2")
    assert parallel.read_summary() == labelled.read_summary()


@pytest.mark.parametrize("name", [name for name in CLUSTERERS if name != "rfm_segments"])
def test_every_clusterer_runs_is_saved_and_judged(name):
    if name == "latent_class":
        pytest.importorskip("stepmix", reason="needs the extra lca")
    # Of a mixture that takes seconds, one start of several is fitted.
    starts = ["model.estimator.n_init=1"] if name == "latent_class" else []
    made = run(f"model={name}", *DEMO, *starts, "evaluation.n_splits=2",
               "evaluation.stability_resamples=2", "evaluation.k_max=2")  # fmt: skip
    assert (made.path / runs.PIPELINE).is_file(), made.manifest.get("warnings")
    assert np.isfinite(made.read_summary()["unlike_share"]["mean"])


def test_search_k_chooses_on_the_training_rows_of_each_fold(tmp_path):
    write_blobs(tmp_path / "blobs.csv")
    words = [*BLOBS, "search=k", *QUICK, "evaluation.k_max=4", "evaluation.n_splits=2"]
    found = run(*words).read_segmentation()["k"]
    assert {rows: verdict["best"] for rows, verdict in found.items()} == {
        "repeat0-fold0": 3, "repeat0-fold1": 3, "final": 3,
    }  # fmt: skip


def test_a_giant_with_crumbs_does_not_win_a_search(tmp_path):
    # Far-off customers make two segments with an excellent silhouette, and of no use.
    crumbs = [(300, 300), (301, 300), (300, 301), (301, 301)]
    write_blobs(tmp_path / "blobs.csv", ((0, 0), (6, 0), (0, 6)), n=100, extra=crumbs)
    words = [*BLOBS, "search=grid", *QUICK, "evaluation.n_splits=2", "search.inner_splits=2",
             "model.space.n_clusters.low=2", "model.space.n_clusters.high=4",
             "evaluation.final_model=false"]  # fmt: skip
    free = [*words, "evaluation.constraints.smallest_share={min: 0}"]
    assert run(*free).read_summary()["smallest_share"]["mean"] < 0.02
    kept = run(*words)
    assert (
        kept.read_summary()["smallest_share"]["mean"] >= 0.02 or kept.manifest["constraints_missed"]
    )


def test_silhouette_and_stability_make_a_pareto_front(tmp_path):
    write_blobs(tmp_path / "blobs.csv")
    made = run(*BLOBS, "search=random", "search.n_trials=4", "search.pruner=none",
               "search.objectives=[silhouette,stability]", "search.inner_splits=2",
               "evaluation.n_splits=2", *QUICK)  # fmt: skip
    assert made.read_search()["metrics"][:2] == ["silhouette", "stability"]


def long(**values):
    rows = [(0, fold, name, v) for name, found in values.items() for fold, v in enumerate(found)]
    return pd.DataFrame(rows, columns=["repeat", "fold", "metric", "value"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"smallest_share": [0.01, 0.02]}, ["smallest_share is 0.015, below 0.02"]),
        ({"noise_share": [0.5, 0.3]}, ["noise_share is 0.4, above 0.3"]),
        ({"n_segments": [5, 1, 1, 1, 2]}, ["n_segments is below 2 on 3 of 5 folds"]),
        ({"n_segments": [5, 5, 1, 5, 5]}, []),
    ],
)
def test_constraints_that_are_missed_are_named(values, said):
    bounds = {
        "smallest_share": {"min": 0.02},
        "noise_share": {"max": 0.3},
        "n_segments": {"min": 2},
    }
    assert missed(bounds, "silhouette", long(**values)) == said


def test_a_metric_that_is_undefined_on_a_fold_is_named():
    found = missed({}, "silhouette", long(silhouette=[0.9, np.nan, np.nan]))
    assert found == ["silhouette is not defined on 2 of 3 folds"]


def test_search_auto_goes_over_clusterers():
    made = run("search=auto", "search.models=[kmeans,gaussian_mixture]", "search.n_trials=4", *DEMO,
               "search.inner_splits=2", "evaluation.n_splits=2",
               "evaluation.final_model=false")  # fmt: skip
    assert made.manifest["task"] == "clustering"
    assert {choice["model"] for choice in made.read_search()["choices"]} <= {
        "kmeans", "gaussian_mixture",
    }  # fmt: skip


def test_more_segments_than_customers_are_refused_before_a_run_begins(tmp_path, capsys):
    write_blobs(tmp_path / "blobs.csv", n=10)
    assert main(["run", *BLOBS, "model.estimator.n_clusters=13"]) == 2
    assert "model.estimator.n_clusters is 13" in capsys.readouterr().err


def test_silhouettes_of_two_feature_spaces_are_not_ranked(capsys):
    words = ["sweep", "model=kmeans", "preprocessing=minimal,famd", *DEMO,
             "evaluation.n_splits=2", "evaluation.final_model=false"]  # fmt: skip
    assert main(words) == 0
    assert "not ranked" in capsys.readouterr().out
    assert main(["compare", "outputs", "--metric", "silhouette"]) == 0
    assert "distances of two feature spaces do not compare" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_killed_run_uses_what_was_finished(unlabelled, tmp_path, monkeypatch):
    """What a fold, a resample or a table of k came to is not computed again."""
    import shutil

    write_blobs(tmp_path / "blobs.csv")
    words = [*BLOBS, "model.estimator.n_clusters=3", *QUICK, "evaluation.k_max=3"]
    kept = {}
    original = runs.RunWriter.remove_folder

    def keep(self, name):
        kept[name] = shutil.copytree(self.path / name, tmp_path / "kept")
        original(self, name)

    monkeypatch.setattr(runs.RunWriter, "remove_folder", keep)
    run(*words)
    names = {path.name for path in kept[runs.FOLDS].iterdir()}
    assert {"k-final-1.csv", "k-final-3.csv", "resample-0.npy", "segments-2.npy"} <= names


def test_a_sweep_over_clusterers_prints_one_table(capsys):
    words = ["sweep", "model=kmeans,dbscan", *DEMO, "evaluation.n_splits=2",
             "evaluation.final_model=false"]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "silhouette on held-out rows, best first" in out
    assert "smallest_share" in out


def test_a_segmentation_that_misses_a_constraint_stands_last(capsys):
    words = ["sweep", "model=kmeans", "model.estimator.n_clusters=2,3", *DEMO,
             "evaluation.n_splits=2", "evaluation.final_model=false",
             "evaluation.constraints.n_segments={min: 3}"]  # fmt: skip
    assert main(words) == 0
    ranked = capsys.readouterr().out.split("best first")[1]
    assert "model.estimator.n_clusters=2 is no usable segmentation" in ranked
    assert ranked.index("n_clusters=3") < ranked.index("n_clusters=2")


def test_show_prints_a_clusterers_run(unlabelled, capsys):
    assert main(["show", str(unlabelled.path)]) == 0
    out = capsys.readouterr().out
    for text in ("in-sample", "prediction_strength", "bootstrap samples", "files"):
        assert text in out


def test_the_printed_next_commands_can_be_planned(tmp_path, capsys):
    write_blobs(tmp_path / "blobs.csv")
    assert main(["run", *BLOBS, *QUICK, "evaluation.n_splits=2"]) == 0
    lines = capsys.readouterr().out.split("next:")[1].splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if "search=k" in line]
    assert commands
    for command in commands:
        assert main(["plan", *command[2:]]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=mall", "model=kmeans", "evaluation=cv"], "evaluation=clustering"),
        (["model=lightgbm", "evaluation.metric=silhouette"], "model=kmeans"),
        (["model=kmeans", "preprocessing=engineered"], "must not see"),
        (["model=dbscan", "search=k"], "search=tpe"),
        (["dataset=mall", "model=lightgbm"], "model=kmeans to find segments"),
        (["model=lightgbm", "search=k"], "takes none"),
        (["model=kmeans", "search=k", "evaluation.k_max=null"], "evaluation.k_max"),
        (["model=kmeans", "evaluation.internal=[shadow]"], "switched off"),
        (["model=kmeans", "evaluation.internal=[shade]"], "shadow"),
        (["model=kmeans", "evaluation.metric=log_loss"], "probabilities"),
        (["model=svm", "model.task=clustering", "evaluation=clustering"], "no clusterer"),
        (["model=kmeans", "model.assignment=nearest"], "nearest_centroid"),
        (["model=kmeans", "evaluation.constraints.n_segment={min: 2}"], "n_segments"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(words, said, monkeypatch):
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")):
        plan(*words)


def test_a_glob_over_models_takes_models_of_one_task():
    cells = expand_grid(["model=glob(*)"], SHIPPED)
    assert not {f"model={name}" for name in CLUSTERERS} & {word for cell in cells for word in cell}


def test_a_glob_over_models_follows_the_experiment():
    cells = expand_grid(["experiment=mall", "model=glob(*)"], SHIPPED)
    assert {cell[1] for cell in cells} == {f"model={name}" for name in CLUSTERERS}


@pytest.mark.parametrize(
    ("key", "value"),
    [("stability_resamples", 1), ("fold_resamples", -1), ("k_max", 1), ("silhouette_rows", 9)],
)
def test_the_schema_refuses_what_cannot_be(key, value):
    with pytest.raises(ConfigError, match=f"evaluation.{key}"):
        load_config([f"evaluation.{key}={value}"], SHIPPED)


def test_the_recorded_model_knows_its_segments(unlabelled):
    schema = json.loads((unlabelled.path / runs.MODEL_SCHEMA).read_text())
    assert schema["task"] == "clustering"
    assert schema["segments"] == ["1", "2", "3"]

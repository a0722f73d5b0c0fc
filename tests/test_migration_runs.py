"""The segments of a finished run in another period."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import skops.io

import segexp.runs as runs
from segexp.cli.migrate import execute
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.data.demo import generate_customers
from segexp.errors import ConfigError, DataError, RunError
from segexp.experiment import run_experiment
from segexp.migrating import compare_periods
from segexp.plan import plan_experiment
from segexp.predict import predict_table
from segexp.saved_model import load_pipeline

QUICK = [
    "engine.n_jobs=1", "evaluation.importance_repeats=0", "evaluation.baselines=[]",
    "evaluation.n_splits=2", "dataset.n_customers=300",
]  # fmt: skip
KMEANS = [
    "model=kmeans", "model.estimator.n_clusters=3",
    "evaluation.k_max=null", "evaluation.fold_resamples=0", "evaluation.stability_resamples=0",
]  # fmt: skip
QUICKLY = "migration.replications=0"


def run(*words):
    words = [*QUICK, *words]
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)


@pytest.fixture(scope="module")
def kmeans(tmp_path_factory):
    return run(*KMEANS, f"run.outputs={tmp_path_factory.mktemp('outputs')}")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return run("model=decision_tree", f"run.outputs={tmp_path_factory.mktemp('outputs')}")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copy(kmeans, here):
    """A copy of the run that a test may change."""
    return runs.open_run(Path(shutil.copytree(kmeans.path, here / "copy")))


def later(name="later.csv", n_customers=300, seed=1, **changes):
    """Write customers of whom the first 300 ids are those of the run."""
    table = generate_customers(n_customers, seed).drop(columns="Segmentation").assign(**changes)
    table.to_csv(name, index=False)
    return name


def same_customers():
    return later(seed=0)


def compared(run, table, *words):
    """Compare without splits of the first period, unless a word asks for them."""
    asked = any(word.startswith("migration.replications") for word in words)
    return compare_periods(run, table, words if asked else [QUICKLY, *words])


def change(run, file, **entries):
    content = json.loads((run.path / file).read_text()) | entries
    (run.path / file).write_text(json.dumps(content))


def refused(run, *words, table="later.csv", error=DataError):
    with pytest.raises(error) as caught:
        compare_periods(run.path, table, words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what comes out --------------------------------------------------------------------------


def test_the_same_customers_stay_where_they_are(kmeans):
    found = compared(kmeans, same_customers())
    assert found.drift.retention == 1
    assert found.drift.psi == 0
    assert found.drift.ari == pytest.approx(1)
    assert found.refit.names == {"1": "1", "2": "2", "3": "3"}
    assert found.drift.silhouette_before == pytest.approx(found.drift.silhouette_after)
    assert found.verdict.status == "keep"


def test_the_first_period_is_what_the_run_found(kmeans):
    found = compared(kmeans, later())
    made = kmeans.read_customers()
    assert found.before.segments.tolist() == made["segment"].tolist()
    assert found.customers["before"].tolist() == made["segment"].tolist()


def test_customers_that_are_gone_from_the_run_are_missing(copy):
    path = copy.path / runs.CUSTOMERS
    path.unlink()
    later()
    assert refused(copy, error=RunError) == f"{path} is missing from the run"


def test_the_second_period_is_what_the_saved_model_says(kmeans):
    found = compared(kmeans, later())
    predicted = predict_table(kmeans, "later.csv").table
    assert found.after.segments.index.tolist() == [str(name) for name in predicted["ID"]]
    assert found.after.segments.tolist() == predicted["segment"].tolist()


def test_customers_of_one_period_only_are_new_or_gone(kmeans):
    table = pd.read_csv(later(n_customers=320))
    table.iloc[40:].to_csv("later.csv", index=False)
    found = compared(kmeans, "later.csv")
    wide = found.matrix
    assert wide.loc["(new)"].sum() == 20
    assert wide["(gone)"].sum() == 40
    assert wide.loc[["1", "2", "3"]].to_numpy().sum() == 300


def test_parquet_gives_the_same_as_csv(kmeans):
    table = pd.read_csv(later())
    table.to_parquet("later.parquet")
    a, b = (compared(kmeans, f"later.{kind}") for kind in ("csv", "parquet"))
    assert a.drift == b.drift
    pd.testing.assert_frame_equal(a.customers, b.customers)


def test_customers_who_grew_old_are_seen(kmeans):
    table = generate_customers(300, 0).assign(Age=lambda customers: customers["Age"] + 30)
    table.to_csv("later.csv", index=False)
    found = compared(kmeans, "later.csv")
    assert found.stability["figure"].tolist()[:2] == ["segments", "Age"]
    assert found.verdict.status != "keep"
    assert "psi of Age" in found.verdict.words


def test_the_refit_has_the_names_of_the_old_segments(kmeans):
    found = compared(kmeans, later())
    assert sorted(found.refit.names) == ["1", "2", "3"]
    both = found.customers[["after", "refitted"]].dropna()
    assert len(both) == 300
    agree = (both["after"] == both["refitted"]).sum()
    assert agree == pd.crosstab(both["after"], both["refitted"]).to_numpy().trace()
    assert agree >= len(both) / 3


def test_a_column_can_be_the_revenue(kmeans):
    later(Spend=2.0)
    found = compared(kmeans, "later.csv", "migration.revenue=Age")
    assert found.transitions["revenue_before"].sum() == generate_customers(300, 0)["Age"].sum()
    assert {"revenue_before", "revenue_after"} <= {*found.customers}
    assert "Age" in set(found.stability["figure"])


def test_a_revenue_column_that_is_no_feature_must_be_in_both_tables(kmeans):
    later(Spend=2.0)
    assert "'Spend'" in refused(kmeans, "migration.revenue=Spend")


def test_a_classifier_has_no_refit(tree):
    found = compared(tree, later())
    assert found.refit is None
    assert found.drift.silhouette_before is None
    assert found.order == ("A", "B", "C", "D")
    same = predict_table(tree, generate_customers(300, 0).drop(columns="Segmentation"))
    assert found.before.segments.tolist() == same.table["segment"].tolist()


def test_a_threshold_can_be_moved(kmeans):
    later()
    found = compared(kmeans, "later.csv", "migration.retention_act=1")
    assert found.thresholds.retention_act == 1
    assert found.verdict.status == "re-segment now"


def test_the_refit_is_set_beside_splits_of_the_first_period(kmeans):
    later()
    found = compared(kmeans, "later.csv", "migration.replications=5")
    assert -1 <= found.drift.expected_ari <= 1
    without = compared(kmeans, "later.csv")
    assert without.drift.expected_ari is None


def test_a_refit_that_fails_is_noted(kmeans):
    later(n_customers=2)
    found = compared(kmeans, "later.csv")
    assert found.refit is None
    assert any("could not be refitted on later.csv" in note for note in found.notes)


# --- the folder and the terminal -------------------------------------------------------------


def test_the_folder_holds_tables_figures_and_the_verdict(copy, capsys):
    later()
    assert execute(str(copy.path), "later.csv", [QUICKLY], None, force=False) == 0
    folder = copy.path / "migration-later"
    assert sorted(path.name for path in folder.iterdir()) == [
        "customers.csv", "flow.png", "flow.svg", "migration.json", "psi.csv", "retention.csv",
        "transitions.csv", "transitions.png", "transitions.svg",
    ]  # fmt: skip
    content = json.loads((folder / "migration.json").read_text())
    assert content["compared"]["after"]["name"] == "later.csv"
    moved = pd.read_csv(folder / "transitions.csv")
    assert moved["customers"].sum() == 300
    out = capsys.readouterr().out
    assert out.splitlines()[0] == content["verdict"]
    assert f"written to {folder}" in out


def test_nothing_is_replaced_unless_it_is_said(copy, capsys):
    later()
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="out is there already; say --force"):
        execute(str(copy.path), "later.csv", [QUICKLY], "out", force=False)
    assert execute(str(copy.path), "later.csv", [QUICKLY], "out", force=True) == 0
    assert Path("out/mine.txt").read_text() == "mine"


def test_a_folder_that_is_there_is_refused_before_anything_is_loaded(copy, monkeypatch):
    later()
    folder = copy.path / "migration-later"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    monkeypatch.setattr("segexp.migrating.load_dataset", None)
    with pytest.raises(DataError, match="migration-later is there already; say --force"):
        execute(str(copy.path), "later.csv", [QUICKLY], None, force=False)


def test_a_run_directory_is_not_written_into(copy):
    later()
    with pytest.raises(DataError, match="copy is a run directory"):
        execute(str(copy.path), "later.csv", [], str(copy.path), force=True)


def test_a_run_on_a_table_needs_a_table(kmeans):
    with pytest.raises(ConfigError, match="name the table of the customers later"):
        execute(str(kmeans.path), "dataset.decimal=comma", [], None, force=False)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["value", "baskets"])
def test_a_run_without_segments_is_refused(copy, task):
    change(copy, runs.MANIFEST, task=task)
    assert f"model.task={task}, which puts customers into no segments" in refused(
        copy, error=RunError
    )


def test_a_run_without_a_model_is_refused(copy):
    (copy.path / runs.PIPELINE).unlink()
    assert "holds no model; say evaluation.final_model=true" in refused(copy, error=RunError)


def test_a_model_with_a_cache_is_not_refitted(copy, here):
    pipeline = load_pipeline((copy.path / runs.PIPELINE).read_bytes(), "model")
    pipeline.memory = str(here / "cache")
    (copy.path / runs.PIPELINE).write_bytes(skops.io.dumps(pipeline))
    said = refused(copy, table=later(), error=RunError)
    assert "was not loaded: memory of its Pipeline is set" in said
    assert not (here / "cache").exists()


@pytest.mark.parametrize("content", ["dataset: 3\n", "dataset: {transactions: x}\n"])
def test_a_damaged_config_is_refused(copy, content):
    (copy.path / runs.CONFIG).write_text(content)
    assert "config.yaml is damaged" in refused(copy, table=later(), error=RunError)


def test_a_run_without_ids_is_refused(copy):
    change(copy, runs.MODEL_SCHEMA, id=None)
    assert "have no ids" in refused(copy)


def test_a_run_whose_data_changed_is_refused(copy):
    facts = dict(copy.manifest["dataset"], fingerprint="other")
    change(copy, runs.MANIFEST, dataset=facts)
    assert "changed since: their fingerprint was other" in refused(
        copy, table=later(), error=RunError
    )


def test_a_table_without_ids_is_refused(kmeans):
    pd.read_csv(later()).drop(columns="ID").to_csv("later.csv", index=False)
    assert "'ID'" in refused(kmeans)


def test_repeated_ids_are_refused(kmeans):
    table = pd.read_csv(later())
    pd.concat([table, table.iloc[:1].assign(Age=99)]).to_csv("later.csv", index=False)
    assert "'100001'" in refused(kmeans)


def test_a_missing_id_is_refused(kmeans):
    table = pd.read_csv(later(), dtype=str)
    table.loc[3, "ID"] = ""
    table.to_csv("later.csv", index=False)
    assert "1 row without an id" in refused(kmeans)


def test_a_table_that_lacks_a_feature_is_refused(kmeans):
    pd.read_csv(later()).drop(columns="Age").to_csv("later.csv", index=False)
    assert "'Age'" in refused(kmeans)


def test_tables_without_a_common_customer_are_refused(kmeans):
    later(ID=[f"c{i}" for i in range(300)])
    assert "have no customer in common; the ids look like '100001' and 'c0'" in refused(kmeans)


def test_a_table_that_is_not_there_is_refused(kmeans):
    assert "nowhere.csv" in refused(kmeans, table="nowhere.csv")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("migration.psi_acts=1", "no key migration.psi_acts; did you mean 'psi_act'?"),
        ("migration.psi_act=high", "migration.psi_act must be a number of 0 or more, got 'high'"),
        ("migration.replications=-1", "migration.replications must be 0 or more splits, got -1"),
        ("migration.psi_act=0.1,0.2", "a word is migration.NAME=VALUE"),
        ("model=svm", "a word is migration.NAME=VALUE or dataset.NAME=VALUE"),
        ("dataset.seperator=tab", "did you mean 'dataset.separator'?"),
        ("dataset.id=Age", "dataset.id=Age is not how the customers later are read"),
    ],
)
def test_other_words_are_refused(kmeans, word, said):
    assert said in refused(kmeans, word, error=ConfigError)


def test_something_must_say_what_the_second_period_is(kmeans):
    assert "nothing says who the customers are later" in refused(
        kmeans, table=None, error=ConfigError
    )

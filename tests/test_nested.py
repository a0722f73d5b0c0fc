"""A search sees nothing of the rows that judge it, and says what its own score is worth."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from made_studies import Witness
from scipy.stats import binom

import segexp.runs as runs
from segexp.cli import main
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment
from segexp.saved_model import load_pipeline

CSV = ["dataset=csv", "dataset.path=customers.csv", "dataset.id=ID", "dataset.target=Segment"]
QUICK = [
    *CSV, "model=decision_tree", "search=random", "search.n_trials=2", "search.inner_splits=3",
    "evaluation.n_splits=2", "evaluation.baselines=[]", "evaluation.importance_repeats=0",
    "engine.n_jobs=1",
]  # fmt: skip
WITNESS = [
    "preprocessing=minimal", "~preprocessing.numeric.scale", "run.packages=[made_studies]",
    "model.estimator._target_=made_studies.Witness", "dataset.numeric=[row]",
    "search.start_from_defaults=false",
]  # fmt: skip


def write_customers(folder, n=60, noise=False):
    """Three segments, by the age or by chance; two customers live in each household."""
    rng = np.random.default_rng(5)
    segment = rng.permutation(np.arange(n) % 3)
    columns = {f"x{i}": rng.normal(size=n).round(3) for i in range(6)}
    if not noise:
        columns["x0"] = (columns["x0"] + 2 * segment).round(3)
    table = pd.DataFrame(
        {
            "ID": [f"c{i}" for i in range(n)],
            "row": np.arange(n),
            **columns,
            "household": [f"h{i}" for i in rng.permutation(n) // 2],
            "Segment": np.array(["A", "B", "C"])[segment],
        }
    )
    if noise:
        table = table.drop(columns=["row", "household"])
    table.to_csv(folder / "customers.csv", index=False)
    return table


def run(*words):
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def customers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Witness, "fits", [])
    return write_customers(tmp_path)


def outer_tests(done):
    """The rows that judge, by outer fold."""
    predictions = done.read_predictions()
    return [set(part["row"]) for _, part in predictions.groupby("fold")]


def test_a_search_sees_no_row_that_judges_it(customers):
    done = run(*QUICK, *WITNESS)
    everybody = set(range(60))
    tests = outer_tests(done)
    assert len(tests) == 2 and tests[0] | tests[1] == everybody
    searches, judged, final = [], [], []
    for trained, seen in Witness.fits:
        assert not trained & seen
        if trained | seen != everybody:
            searches.append(trained | seen)
        elif seen in tests:
            judged.append(trained | seen)
        else:
            final.append((trained, seen))
    # Two trials, three inner folds, in each outer fold: on its training rows, and all of them.
    for test in tests:
        assert searches.count(everybody - test) == 2 * 3
    assert (len(searches), len(judged)) == (2 * 2 * 3, 2)
    # On all rows: the study of the final model, and its fit, which nobody judges.
    assert len(final) == 2 * 3 + 1
    assert [trained for trained, seen in final if not seen] == [everybody]


def test_inner_folds_partition_the_training_rows(customers):
    done = run(*QUICK, *WITNESS, "evaluation.final_model=false", "search.n_trials=1")
    for test in outer_tests(done):
        training = set(range(60)) - test
        inner = [seen for trained, seen in Witness.fits if trained | seen == training]
        assert len(inner) == 3 and sum(map(len, inner)) == len(training)
        assert set.union(*inner) == training


def test_a_group_stays_together_inside_too(customers):
    run(*QUICK, *WITNESS, "evaluation.group=household")
    home = customers["household"]
    assert len(Witness.fits) == 3 * 2 * 3 + 2 + 1
    for trained, seen in Witness.fits:
        assert not set(home[list(trained)]) & set(home[list(seen)])


def test_repeats_have_studies_and_inner_folds_of_their_own(customers):
    done = run(
        *QUICK, *WITNESS, "evaluation=repeated_cv", "evaluation.n_splits=2",
        "evaluation.n_repeats=2", "evaluation.final_model=false", "search.n_trials=1",
        "evaluation.baselines=[]", "evaluation.importance_repeats=0",
    )  # fmt: skip
    names = ["repeat0-fold0", "repeat0-fold1", "repeat1-fold0", "repeat1-fold1"]
    assert [choice["rows"] for choice in done.read_search()["choices"]] == names
    assert len({frozenset(seen) for _, seen in Witness.fits}) == 4 * 3 + 4


def test_the_front_of_several_objectives_is_shown_with_the_chosen_trial(customers, capsys):
    words = ["search.n_trials=6", "search.objectives=[accuracy,log_loss]", "search.pruner=none"]
    assert main(["run", *QUICK, *words]) == 0
    text = capsys.readouterr().out
    _, front = text.split("Pareto front on all rows, for the model", 1)
    header, *rows = front.partition("\n\n")[0].splitlines()[1:]
    assert " ".join(header.split()) == "trial accuracy log_loss (less is better) model parameters"
    assert [row.startswith("*") for row in rows] == [True] + [False] * (len(rows) - 1)
    losses = [float(row.removeprefix("*").split()[2]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert "max_depth=" in rows[0]
    (path,) = (row.split()[-1] for row in text.splitlines() if row.startswith("run directory"))
    assert main(["show", path]) == 0
    assert rows[0] in capsys.readouterr().out


@pytest.fixture(scope="module")
def finished(undrawn, tmp_path_factory):
    """A searched run that many tests look at."""
    folder = tmp_path_factory.mktemp("nested")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_customers(folder)
        words = ["search.n_trials=8", "search.tune_preprocessing=true", f"run.outputs={folder}/o"]
        return run(*QUICK, *words)


def test_the_table_of_trials_has_its_columns(finished):
    trials = finished.read_trials()
    assert list(trials) == [
        "study", "repeat", "fold", "model", "number", "state", "value", "value[accuracy]",
        "feasible", "duplicate_of", "origin", "folds", "fold_values", "seconds", "start",
        "n_iterations", "chosen", "params", "cause", "traceback",
    ]  # fmt: skip
    assert list(trials["study"].unique()) == ["repeat0-fold0", "repeat0-fold1", "final"]
    outer, final = trials[trials["study"] == "repeat0-fold1"], trials[trials["study"] == "final"]
    assert set(outer["repeat"]) == {0} and set(outer["fold"]) == {1}
    assert final["repeat"].isna().all() and final["fold"].isna().all()
    assert (trials.groupby("study")["chosen"].sum() == 1).all()
    assert (
        trials[(trials["origin"] != "finalist") & trials["duplicate_of"].isna()]
        .groupby("study")
        .size()
        == 8
    ).all()


def test_the_first_trial_of_every_study_is_the_model_as_configured(finished):
    first = finished.read_trials().query("number == 0")
    assert list(first["origin"]) == ["default"] * 3
    params = json.loads(first["params"].iloc[0])
    assert (params["max_depth"], params["min_samples_leaf"]) == (6, 0.01)


def test_the_chosen_trials_are_written_down(finished):
    search, trials = finished.read_search(), finished.read_trials()
    assert (search["metrics"], search["n_objectives"]) == (["accuracy"], 1)
    chosen = trials[trials["chosen"]].set_index("study")
    assert [choice["rows"] for choice in search["choices"]] == list(chosen.index)
    for choice in search["choices"]:
        row = chosen.loc[choice["rows"]]
        assert choice["trial"] == row["number"] and choice["model"] == "decision_tree"
        assert choice["params"] == json.loads(row["params"])
        assert choice["values"] == {"accuracy": row["value"]}
        assert choice["n_trials"] == {"decision_tree": 8}
        assert sum(choice["states"].values()) == (trials["study"] == choice["rows"]).sum()
        assert choice["stopped_by"] == "n_trials" and choice["feasible"] is True


def test_the_saved_model_is_what_the_study_on_all_rows_chose(finished):
    (choice,) = [c for c in finished.read_search()["choices"] if c["rows"] == "final"]
    saved = load_pipeline((finished.path / runs.PIPELINE).read_bytes(), "model")
    own = {k: v for k, v in choice["params"].items() if not k.startswith("preprocessing.")}
    assert own and saved[-1].get_params().items() >= own.items()
    strategy = choice["params"]["preprocessing.numeric__impute__strategy"]
    assert saved.get_params()["preprocessing__columns__numeric__impute__strategy"] == strategy
    schema = json.loads((finished.path / runs.MODEL_SCHEMA).read_text())
    assert (schema["model"], schema["searched"]) == ("decision_tree", choice["params"])


def test_preprocessing_is_searched_where_that_is_wanted(finished):
    params = finished.read_trials()["params"].map(json.loads)
    strategies = {each["preprocessing.numeric__impute__strategy"] for each in params}
    assert strategies == {"mean", "median"}


def test_preprocessing_is_not_searched_unasked(customers):
    params = run(*QUICK, "evaluation.final_model=false").read_trials()["params"]
    assert not params.str.contains("preprocessing").any()


def test_the_summary_knows_held_out_rows_only(finished):
    summary = finished.read_summary()
    scores = finished.read_scores().query("metric == 'accuracy'")["value"]
    assert summary["accuracy"]["mean"] == pytest.approx(scores.mean())
    predictions = finished.read_predictions()
    hits = (predictions["true"] == predictions["predicted"]).mean()
    assert summary["accuracy"]["mean"] == pytest.approx(hits)
    assert "selection" not in (finished.path / runs.SUMMARY).read_text()
    selected = [choice["values"]["accuracy"] for choice in finished.read_search()["choices"]]
    means = [entry.get("mean") for entry in summary.values()]
    assert not set(selected) & set(means)


def test_a_search_does_not_depend_on_the_number_of_processes(customers, finished):
    words = ["search.n_trials=8", "search.tune_preprocessing=true", "engine.n_jobs=2"]
    trials = run(*QUICK, *words).read_trials()
    clocks = ["seconds", "start"]
    pd.testing.assert_frame_equal(
        trials.drop(columns=clocks), finished.read_trials().drop(columns=clocks)
    )


@pytest.mark.slow
def test_where_there_is_nothing_to_learn_the_outer_score_is_chance(tmp_path, monkeypatch, capsys):
    """The best of many trials looks better than chance on the rows that it was chosen by."""
    monkeypatch.chdir(tmp_path)
    n = 360
    write_customers(tmp_path, n, noise=True)
    words = [
        *QUICK, "search.n_trials=60", "evaluation.n_splits=3", "evaluation.final_model=false",
        "search.pruner=none", "model.space.max_features={type: int, low: 1, high: 6}",
    ]  # fmt: skip
    assert main(["run", *words]) == 0
    (path,) = runs.find_runs(tmp_path / "outputs")
    done = runs.open_run(path)
    predictions = done.read_predictions()
    hits = int((predictions["true"] == predictions["predicted"]).sum())
    low, high = binom.interval(0.99, n, 1 / 3)
    assert low <= hits <= high
    selected = np.mean([c["values"]["accuracy"] for c in done.read_search()["choices"]])
    assert selected > 1 / 3 + 0.02 and selected > hits / n
    printed = capsys.readouterr().out.splitlines()
    (said,) = [line for line in printed if line.startswith("selection score")]
    assert f"{selected:.4f}; what the parameters were chosen by" in said and "no estimate" in said
    assert f"on held-out rows the choices reach {hits / n:.4f}" in said
    assert done.read_summary()["accuracy"]["mean"] == pytest.approx(hits / n)

"""Reading run directories that cannot be trusted, and ranking what can be ranked."""

import contextlib
import json
import math
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

import segexp.runs as runs
from segexp.comparison.across import rank_across
from segexp.comparison.compare import compare
from segexp.comparison.diff import diff
from segexp.comparison.differences import paired_difference
from segexp.comparison.entries import UNREADABLE
from segexp.comparison.reading import gather
from segexp.comparison.statistics import holm, paired
from segexp.comparison.tables import to_records
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.errors import ConfigError, RunFailedError
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment

SPLIT = {"protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": None, "group": None,
         "split_seed": 0, "hash": "0123456789abcdef"}  # fmt: skip
DATASET = {"name": "demo", "synthetic": False, "fingerprint": "f" * 64, "n_rows": 100,
           "n_rows_read": 100, "n_features": 3, "roles": {"numeric": ["Age"]},
           "findings": []}  # fmt: skip
BASE = (0.50, 0.52, 0.51, 0.49, 0.53)


def make_run(outputs, values=BASE, *, model="tree", seed=0, config=None, metric="accuracy",
             dataset=None, split=None, scores=None, baselines=None, **manifest):  # fmt: skip
    """Write a run directory as segexp does; ``scores`` holds further metrics."""
    split = SPLIT | (split or {})
    scores = {metric: values} | (scores or {})
    folds = [(r, f) for r in range(split["n_repeats"]) for f in range(len(values))]
    folds = folds[: len(values)]
    config = {
        "dataset": {"name": "demo"},
        "model": {"name": model, "estimator": {"random_state": seed}},
        "search": {"name": "none", "sampler": "none"},
        "evaluation": {"name": "cv"},
        "run": {"seed": seed, "outputs": str(outputs), "name": None},
    } | (config or {})
    manifest = {
        "task": "classification", "name": None, "tags": [], "config_hash": f"{model}{seed}",
        "dataset": DATASET | (dataset or {}), "preprocessing": "standard", "model": model,
        "search": "none", "segments": {"A": 60, "B": 40}, "split": split, "seed": seed,
        "metric": metric, "confidence": 0.95, "versions": {"segexp": "0.1.0"}, "git": None,
        **manifest,
    }  # fmt: skip
    texts = {runs.CONFIG: yaml.safe_dump(config, sort_keys=False), runs.OVERRIDES: "segexp run"}
    with runs.new_run(outputs, "demo", f"{model}-{seed}", texts, manifest) as writer:
        writer.write_csv(runs.SCORES, long_table(scores, folds))
        if baselines:
            table = pd.concat(
                long_table({metric: own}, folds).assign(baseline=name)
                for name, own in baselines.items()
            )
            writer.write_csv(runs.BASELINES, table)
        timings = pd.DataFrame(folds, columns=["repeat", "fold"])
        writer.write_csv(runs.TIMINGS, timings.assign(fit_seconds=0.5, predict_seconds=0.1))
        writer.write_json(runs.SUMMARY, {
            name: {"mean": float(np.nanmean(own)), "std": 0.01,
                   "interval": [float(np.nanmean(own)) - 0.02, float(np.nanmean(own)) + 0.02],
                   "n": len(own)}
            for name, own in scores.items()
        })  # fmt: skip
    return writer.path


def long_table(scores, folds):
    return pd.DataFrame(
        [(*fold, name, value) for name, own in scores.items()
         for fold, value in zip(folds, own, strict=True)],
        columns=["repeat", "fold", "metric", "value"],
    )  # fmt: skip


def shifted(by, wobble=(0.01, -0.01, 0.0, 0.005, -0.005)):
    return [value + by + noise for value, noise in zip(BASE, wobble, strict=True)]


def compare_all(folder, **options):
    return compare(*gather([str(folder)]), **options)


def only_table(folder, **options):
    (table,) = compare_all(folder, **options).tables
    return table


def labels(table):
    return [row.label for row in table.rows]


# What the words name.


def test_a_folder_names_every_run_below(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path / "deep", model="b")
    entries, problems = gather([str(tmp_path)])
    assert [entry.manifest["model"] for entry in entries] == ["b", "a"]
    assert problems == []


def test_a_run_that_is_named_twice_is_there_once(tmp_path, monkeypatch):
    path = make_run(tmp_path)
    monkeypatch.chdir(path)
    entries, _ = gather([".", str(path), str(tmp_path), str(tmp_path / "demo" / "*")])
    assert len(entries) == 1


def test_a_glob_names_the_runs_that_match(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b")
    entries, _ = gather([str(tmp_path / "demo" / "*-b-*")])
    assert [entry.manifest["model"] for entry in entries] == ["b"]


def test_a_missing_folder_is_told_with_the_nearest(tmp_path):
    (tmp_path / "outputs").mkdir()
    with pytest.raises(ConfigError, match=r"no such folder; did you mean 'outputs'\?"):
        gather([str(tmp_path / "ouputs")])


@pytest.mark.parametrize("word", ["nothing*", "", "x" * 999])
def test_where_there_is_no_run_one_line_says_so(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as told:
        gather([word])
    assert "\n" not in str(told.value)


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "table.csv").touch()
    with pytest.raises(ConfigError, match="is a file"):
        gather([str(tmp_path / "table.csv")])


def test_a_sweep_names_its_cells_and_tells_of_those_without_a_run(tmp_path):
    done = make_run(tmp_path / "elsewhere")
    cell = {"words": ["model=a"], "config_hash": "1", "status": "already done", "cause": None}
    failed = {"words": ["model=b"], "status": "failed", "path": None, "cause": "no\nluck"}
    cells = [cell | {"path": os.path.relpath(done, tmp_path / "x")}, cell | failed]
    with runs.new_sweep(tmp_path, "sweep", {"words": [], "cells": cells}) as sweep:
        pass
    entries, (problem,) = gather([str(sweep.path)])
    assert [entry.path for entry in entries] == [done]
    assert (problem.status, problem.cause) == ("failed", "no luck")
    assert "model=b" in problem.path


def test_a_cell_that_goes_on_is_told_once(tmp_path):
    cell = {"words": ["model=a"], "config_hash": "1a2b", "status": "running", "cause": None}
    with runs.new_sweep(
        tmp_path, "sweep", {"words": [], "cells": [cell | {"path": None}]}
    ) as sweep:
        path = make_run(tmp_path).rename(sweep.path / "tree-1a2b")
        edit(path, runs.MANIFEST, status="running")
        _, (problem,) = gather([str(tmp_path)])
    assert (problem.path, problem.status) == (str(path), "running")


# Directories that are no row.


def test_a_failed_run_is_listed_with_its_cause(tmp_path):
    manifest = {"dataset": {"synthetic": False}, "metric": "accuracy"}
    with pytest.raises(RunFailedError), runs.new_run(tmp_path, "demo", "bad", {}, manifest):
        raise ValueError("no\nluck")
    make_run(tmp_path)
    entries, (problem,) = gather([str(tmp_path)])
    assert len(entries) == 1
    assert (problem.status, problem.cause) == ("failed", "ValueError: no luck")


@pytest.mark.parametrize("status", ["interrupted", "killed", "running"])
def test_a_run_that_is_not_finished_is_listed(tmp_path, status):
    path = make_run(tmp_path)
    process = json.loads((path / runs.MANIFEST).read_text())["process"]
    dead = status == "killed"
    edit(path, runs.MANIFEST, status="running" if dead else status,
         process=process | ({"began": "0"} if dead else {}))  # fmt: skip
    _, (problem,) = gather([str(path)])
    assert problem.status == status
    assert problem.cause


def edit(path, name, **entries):
    content = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(content | entries))


def cut(path, name):
    (path / name).write_bytes((path / name).read_bytes()[:40])


def append(path, name, text):
    with (path / name).open("a") as file:
        file.write(text)


def swell(path, name):
    with (path / name).open("ab") as file:
        file.truncate(10**9)


def leave(path, name):
    outside = path.parent.parent / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)


def circle(path, name):
    (path / name).unlink()
    (path / name).symlink_to(name)


def dangle(path, name):
    (path / name).unlink()
    (path / name).symlink_to("nowhere")


def pipe(path, name):
    (path / name).unlink()
    os.mkfifo(path / name)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "truncated manifest": lambda path: cut(path, runs.MANIFEST),
    "truncated summary": lambda path: cut(path, runs.SUMMARY),
    "another schema": lambda path: edit(path, runs.MANIFEST, schema_version=99),
    "manifest is a list": lambda path: (path / runs.MANIFEST).write_text("[]"),
    "deep manifest": lambda path: (path / runs.MANIFEST).write_text('{"a":' * 99_999),
    "wrong type": lambda path: edit(path, runs.MANIFEST, dataset=7),
    "no task": lambda path: edit(path, runs.MANIFEST, task=None),
    "impossible split": lambda path: edit(path, runs.MANIFEST, split=SPLIT | {"n_splits": 1}),
    "constraints missed": lambda path: edit(path, runs.MANIFEST, constraints_missed=[1]),
    "huge manifest": lambda path: swell(path, runs.MANIFEST),
    "huge scores": lambda path: swell(path, runs.SCORES),
    "not UTF-8": lambda path: (path / runs.SCORES).write_bytes(b"repeat,\xff\xfe"),
    "infinity in scores": lambda path: append(path, runs.SCORES, "0,0,f1_macro,inf\n"),
    "nan in scores": lambda path: append(path, runs.SCORES, "0,0,f1_macro,nan\n"),
    "text in scores": lambda path: append(path, runs.SCORES, "0,0,f1_macro,=1+1\n"),
    "a second value": lambda path: append(path, runs.SCORES, "0,0,accuracy,1.0\n"),
    "an unknown fold": lambda path: append(path, runs.SCORES, "0,9,accuracy,1.0\n"),
    "a short line": lambda path: append(path, runs.SCORES, "0,0\n"),
    "no such column": lambda path: (path / runs.SCORES).write_text("a,b\n1,2\n"),
    "no scores": lambda path: (path / runs.SCORES).unlink(),
    "NaN in summary": lambda path: (path / runs.SUMMARY).write_text('{"accuracy": NaN}'),
    "huge number": lambda path: (path / runs.SUMMARY).write_text(
        '{"accuracy": {"mean": 1' + "0" * 400 + ', "std": 0, "interval": null, "n": 5}}'
    ),
    "summary of text": lambda path: edit(path, runs.SUMMARY, accuracy="0.9"),
    "timings": lambda path: append(path, runs.TIMINGS, "0,0,soon,0.1\n"),
    "link that leads out": lambda path: leave(path, runs.SCORES),
    "manifest that leads out": lambda path: leave(path, runs.MANIFEST),
    "config that leads out": lambda path: leave(path, runs.CONFIG),
    "manifest that leads nowhere": lambda path: dangle(path, runs.MANIFEST),
    "manifest in a circle": lambda path: circle(path, runs.MANIFEST),
    "unknown protocol": lambda path: edit(path, runs.MANIFEST, split=SPLIT | {"protocol": "x"}),
    "holdout without a share": lambda path: edit(
        path, runs.MANIFEST, split=SPLIT | {"protocol": "holdout"}
    ),
    "above what a metric can be": lambda path: append(path, runs.SCORES, "0,0,f1_macro,1.1\n"),
    "below what a metric can be": lambda path: append(path, runs.SCORES, "0,0,log_loss,-1\n"),
    "larger than is believed": lambda path: append(path, runs.SCORES, "0,0,log_loss,1e101\n"),
    "links in a circle": lambda path: circle(path, runs.SCORES),
    "pipe": lambda path: pipe(path, runs.CONFIG),
    "folder": lambda path: ((path / runs.TIMINGS).unlink(), (path / runs.TIMINGS).mkdir()),
    "python in config": lambda path: append(
        path, runs.CONFIG, "x: !!python/object/apply:os.system ['touch executed']\n"
    ),
    "deep config": lambda path: append(path, runs.CONFIG, "x: " + "[" * 100_000),
    "deep blocks": lambda path: append(path, runs.CONFIG, "x:\n" + "- " * 50_000),
    "bomb": lambda path: append(path, runs.CONFIG, BOMB),
    "config of text": lambda path: (path / runs.CONFIG).write_text("nothing"),
}


@pytest.mark.parametrize("harm", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_directory_is_one_line_and_stops_nothing(tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    harmed = make_run(tmp_path, model="harmed")
    make_run(tmp_path, model="good")
    harm(harmed)
    found = compare_all(tmp_path)
    (problem,) = found.problems
    assert (problem.path, problem.status) == (str(harmed), UNREADABLE)
    assert "\n" not in problem.cause
    assert 10 < len(problem.cause) < 400
    assert labels(found.tables[0]) == ["good"]
    assert not (tmp_path / "executed").exists()


def test_a_link_within_the_run_is_followed(tmp_path):
    path = make_run(tmp_path)
    (path / "kept").mkdir()
    (path / runs.SCORES).rename(path / "kept" / "scores")
    (path / runs.SCORES).symlink_to("kept/scores")
    assert len(gather([str(path)])[0]) == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path):
    closed = make_run(tmp_path, model="closed")
    make_run(tmp_path, model="good")
    closed.chmod(0)
    try:
        entries, (problem,) = gather([str(tmp_path)])
    finally:
        closed.chmod(0o700)
    assert len(entries) == 1
    assert (problem.path, problem.status) == (str(closed), UNREADABLE)


@pytest.mark.parametrize("label", ["A\u2028B", "A\x85", "A\nB", "A,B"])
def test_labels_may_hold_any_separator(tmp_path, label):
    make_run(tmp_path, scores={f"recall[{label}]": BASE})
    (entry,), problems = gather([str(tmp_path)])
    assert f"recall[{label}]" in entry.values
    assert problems == []


def test_predictions_are_never_read(tmp_path):
    path = make_run(tmp_path)
    (path / runs.PREDICTIONS).write_text("nothing")
    assert gather([str(path)])[1] == []


def test_a_value_that_is_not_defined_is_nan(tmp_path):
    path = make_run(tmp_path, scores={"recall[B]": [0.5, math.nan, 0.5, 0.5, 0.5]})
    (entry,), _ = gather([str(path)])
    np.testing.assert_array_equal(entry.values["recall[B]"], [0.5, np.nan, 0.5, 0.5, 0.5])


# What stands in one table.


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"dataset": {"fingerprint": "0" * 64}}, "other data under the same name"),
        ({"dataset": {"synthetic": True}}, "synthetic"),
        ({"dataset": {"name": "mall"}}, "another data set: mall"),
        ({"split": {"hash": "f" * 16, "split_seed": 1}}, "other folds .*split seed 1"),
        ({"dataset": {"roles": {"target": ["Var_1"]}}}, "another target: the segments of Var_1"),
        ({"segments": {"A": 50, "B": 50}}, "other known segments: A 50, B 50 of 100 rows"),
        ({"dataset": {"n_rows": 99}}, "other known segments: A 60, B 40 of 99 rows"),
    ],
)
def test_what_is_not_comparable_stands_in_a_table_of_its_own(tmp_path, other, reason):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b", **other)
    tables = compare_all(tmp_path).tables
    assert [labels(table) for table in tables] == [["a"], ["b"]]
    assert re.search(reason, tables[1].reason)


def on_file(path):
    return {"config": {"dataset": {"name": "demo", "path": str(path)}}}


def test_the_files_of_two_tables_are_named_as_seen_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, model="a", **on_file(tmp_path / "may.csv"))
    make_run(tmp_path, model="b", dataset={"fingerprint": "0" * 64}, **on_file("june.csv"))
    first, second = compare_all(tmp_path).tables
    assert "(fingerprint ffffffffffff, may.csv)" in first.reason
    assert "(fingerprint 000000000000, june.csv)" in second.reason


def test_rows_on_files_with_one_content_show_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path, model="a", **on_file(tmp_path / "may.csv"))
    make_run(tmp_path, model="a", config_hash="other", **on_file("copy.csv"))
    shown = {row.varying["dataset.path"] for row in only_table(tmp_path).rows}
    assert shown == {"may.csv", "copy.csv"}


def test_the_same_folds_by_another_name_are_comparable(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b", split={"protocol": "repeated_cv"})
    assert len(only_table(tmp_path).rows) == 2


def test_one_table_needs_no_reason(tmp_path):
    make_run(tmp_path)
    assert only_table(tmp_path).reason == ""


CLUSTERER = {"task": "clustering", "metric": "silhouette"}


def test_clusterers_stand_with_classifiers_and_among_themselves(tmp_path):
    make_run(tmp_path, model="tree")
    make_run(tmp_path, [0.2] * 5, model="kmeans", scores={"accuracy": shifted(-0.1)}, **CLUSTERER)
    external, internal = compare_all(tmp_path).tables
    assert (external.kind, external.metric, labels(external)) == (
        "classification", "accuracy", ["tree", "kmeans"]
    )  # fmt: skip
    assert (internal.kind, internal.metric, labels(internal)) == (
        "clustering", "silhouette", ["kmeans"]
    )  # fmt: skip
    assert "among themselves" in internal.reason


def test_clusterers_without_known_segments_have_the_internal_table_only(tmp_path):
    make_run(tmp_path, model="kmeans", segments={}, **CLUSTERER)
    assert only_table(tmp_path).kind == "clustering"


def test_a_clusterer_that_misses_a_constraint_comes_last(tmp_path):
    missed = ["n_segments is 40, above 15"]
    make_run(tmp_path, [0.9] * 5, model="many", segments={}, constraints_missed=missed, **CLUSTERER)
    make_run(tmp_path, [0.2] * 5, model="few", segments={}, constraints_missed=[], **CLUSTERER)
    table = only_table(tmp_path)
    assert labels(table) == ["few", "many"]
    assert table.rows[1].usable == tuple(missed)


def test_a_clusterer_without_the_metric_does_not_vanish_from_a_table(tmp_path):
    make_run(tmp_path, [0.2] * 5, model="kmeans", scores={"accuracy": BASE}, **CLUSTERER)
    other = CLUSTERER | {"metric": "shadow"}
    make_run(tmp_path, model="one", scores={"accuracy": BASE}, **other)
    found = compare_all(tmp_path)
    assert [len(table.rows) for table in found.tables] == [2, 1]
    (problem,) = found.problems
    assert problem.cause == "it has no value of silhouette; it is ranked by accuracy only"


def test_runs_are_ranked_by_the_metric_on_which_they_agree(tmp_path):
    for model, values in {"a": [0.4] * 5, "b": [0.6] * 5}.items():
        make_run(tmp_path, values, model=model, metric="f1_macro", scores={"accuracy": BASE})
    assert only_table(tmp_path).metric == "f1_macro"


def test_runs_that_do_not_agree_are_ranked_by_accuracy(tmp_path):
    make_run(tmp_path, model="a", metric="f1_macro", scores={"accuracy": BASE})
    make_run(tmp_path, model="b")
    assert only_table(tmp_path).metric == "accuracy"


def test_less_is_better_where_it_is(tmp_path):
    make_run(tmp_path, model="a", scores={"log_loss": [2.0] * 5})
    make_run(tmp_path, model="b", scores={"log_loss": [1.0, 1.1, 1.2, 1.1, 1.0]})
    table = only_table(tmp_path, metric="log_loss")
    assert labels(table) == ["b", "a"]
    assert table.rows[1].to_best.mean < 0


def test_a_run_without_the_metric_is_told(tmp_path):
    make_run(tmp_path, model="a", scores={"log_loss": [2.0] * 5}), make_run(tmp_path, model="b")
    found = compare_all(tmp_path, metric="log_loss")
    assert labels(found.tables[0]) == ["a"]
    assert [problem.cause for problem in found.problems] == ["it has no value of log_loss"]


def test_an_unknown_metric_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        compare([], metric="acuracy")


@pytest.mark.parametrize("options", [{"alpha": 0}, {"alpha": 1}, {"rope": -1}, {"rope": math.nan}])
def test_a_level_out_of_range_is_told(options):
    with pytest.raises(ConfigError, match="must"):
        compare([], **options)


# Rows.


def test_seeds_of_one_config_are_one_row(tmp_path):
    for seed in (0, 1, 2):
        make_run(tmp_path, [value + seed / 100 for value in BASE], seed=seed)
    (row,) = only_table(tmp_path).rows
    assert len(row.entries) == 3
    assert row.mean == pytest.approx(np.mean(BASE) + 0.01)
    assert row.std == pytest.approx(np.std(BASE, ddof=1))
    assert row.seed_std == pytest.approx(0.01)
    assert row.interval == pytest.approx((row.mean - 0.02, row.mean + 0.02))
    assert row.varying == {}


def test_the_same_seed_twice_is_two_rows(tmp_path):
    make_run(tmp_path)
    edit(make_run(tmp_path), runs.MANIFEST, start="2030-01-01T00:00:00+00:00")
    assert labels(only_table(tmp_path)) == ["tree tree0", "tree tree0 #2"]


def test_a_copy_of_a_run_counts_once_and_that_is_said(tmp_path):
    path = make_run(tmp_path)
    shutil.copytree(path, path.with_name("copy"))
    (row,) = only_table(tmp_path).rows
    assert len(row.entries) == 1
    assert only_table(tmp_path).notes == ("tree: 2 copies of one run, counted once",)


def test_another_random_state_than_the_seed_is_another_config(tmp_path):
    own = {"name": "tree", "estimator": {"random_state": 7}}
    make_run(tmp_path), make_run(tmp_path, seed=1, config={"model": own})
    assert len(only_table(tmp_path).rows) == 2


def test_a_random_state_that_was_set_may_equal_the_seed(tmp_path):
    own = {"name": "tree", "estimator": {"random_state": 1}}
    for seed in (1, 2, 3):
        make_run(tmp_path, shifted(seed / 100), seed=seed, config={"model": own})
    (row,) = only_table(tmp_path).rows
    assert len(row.entries) == 3


def varying(folder, **options):
    return [dict(row.varying) for row in only_table(folder, **options).rows]


def tree(**estimator):
    return {"model": {"name": "tree", "estimator": estimator, "space": {"depth": {"low": 1}}}}


def test_only_keys_that_differ_are_told(tmp_path):
    make_run(tmp_path, config=tree(depth=3, leaf=5))
    make_run(tmp_path, shifted(-0.1), config=tree(depth=4, leaf=5) | {"engine": {"n_jobs": 2}})
    assert varying(tmp_path) == [{"model.estimator.depth": 3}, {"model.estimator.depth": 4}]


def test_of_different_models_the_name_says_enough(tmp_path):
    make_run(tmp_path, config=tree(depth=3))
    make_run(tmp_path, shifted(-0.1), model="knn",
             config={"model": {"name": "knn", "estimator": {"k": 5}}})  # fmt: skip
    make_run(tmp_path, shifted(-0.2), config=tree(depth=4))
    assert varying(tmp_path) == [
        {"model.name": "tree", "model.estimator.depth": 3},
        {"model.name": "knn"},
        {"model.name": "tree", "model.estimator.depth": 4},
    ]


def test_every_key_that_differs_can_be_had(tmp_path):
    make_run(tmp_path, config={"engine": {"n_jobs": 1}})
    make_run(tmp_path, shifted(-0.1), config={"engine": {"n_jobs": 2}})
    assert varying(tmp_path) == [{}, {}]


def test_every_key_includes_those_that_do_not_matter(tmp_path):
    make_run(tmp_path, config={**tree(depth=3), "engine": {"n_jobs": 1}})
    make_run(tmp_path, shifted(-0.1), config={**tree(depth=4), "engine": {"n_jobs": 2}})
    assert varying(tmp_path, all_keys=True)[0] == {"model.estimator.depth": 3, "engine.n_jobs": 1}


def test_a_run_is_called_by_its_name(tmp_path):
    make_run(tmp_path, name="<b>mine</b>")
    assert labels(only_table(tmp_path)) == ["<b>mine</b>"]


def test_baselines_of_several_runs_are_told_once(tmp_path):
    for model in "ab":
        make_run(tmp_path, model=model, baselines={"dummy": [0.3] * 5})
    assert [row.label for row in only_table(tmp_path).baselines] == ["dummy"]


# Differences.


def test_the_best_has_no_difference_and_a_far_row_is_not_tied(tmp_path):
    make_run(tmp_path, model="best"), make_run(tmp_path, shifted(-0.2), model="far")
    make_run(tmp_path, shifted(-0.001), model="near")
    best, near, far = only_table(tmp_path).rows
    assert best.to_best is None
    assert [row.tied_with_best for row in (best, near, far)] == [True, True, False]
    assert far.to_best.mean == pytest.approx(-0.2)
    assert far.to_best.p_worse > 0.99


def test_p_values_are_adjusted_over_the_rows(tmp_path):
    make_run(tmp_path, model="best")
    for model, by in {"a": -0.015, "b": -0.02, "c": -0.03}.items():
        make_run(tmp_path, shifted(by), model=model)
    found = [row.to_best for row in only_table(tmp_path).rows[1:]]
    assert [one.p_holm for one in found] == holm([one.p for one in found])


def test_rows_can_be_compared_with_another_one(tmp_path):
    make_run(tmp_path, model="best"), make_run(tmp_path, shifted(-0.2), model="far")
    table = only_table(tmp_path, baseline="far")
    assert table.reference == "far"
    assert table.rows[0].to_best.mean == pytest.approx(0.2)
    assert [row.tied_with_best for row in table.rows] == [True, False]


def test_rows_can_be_compared_with_a_baseline_or_a_directory(tmp_path):
    path = make_run(tmp_path, baselines={"dummy": shifted(-0.3)})
    assert only_table(tmp_path, baseline="dummy").rows[0].to_best.mean == pytest.approx(0.3)
    assert only_table(tmp_path, baseline=str(path)).reference == "tree"


def test_an_unknown_baseline_is_told_with_the_nearest(tmp_path):
    make_run(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'tree'"):
        only_table(tmp_path, baseline="tre")


def test_one_fold_is_not_tested_and_that_is_said(tmp_path):
    holdout = {"protocol": "holdout", "test_size": 0.2}
    make_run(tmp_path, [0.5], model="a", split=holdout)
    make_run(tmp_path, [0.4], model="b", split=holdout)
    table = only_table(tmp_path)
    assert table.rows[1].to_best is None
    assert "no difference is tested" in table.notes[0]


def test_a_difference_without_variance_is_not_tested_and_that_is_said(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, [v - 0.1 for v in BASE], model="b")
    table = only_table(tmp_path)
    assert (table.rows[1].to_best.p, table.rows[1].tied_with_best) == (None, False)
    assert "not tested" in table.notes[0]


def test_runs_that_are_equal_in_every_fold_are_tied(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b")
    assert all(row.tied_with_best for row in only_table(tmp_path).rows)


def test_what_counts_as_equal_is_a_share_where_a_metric_has_no_bound(tmp_path):
    make_run(tmp_path, scores={"log_loss": [2.0] * 5})
    assert only_table(tmp_path, rope=0.05).rope == 0.05
    assert only_table(tmp_path, rope=0.05, metric="log_loss").rope == pytest.approx(0.1)


def test_a_fold_without_a_value_is_left_out(tmp_path):
    make_run(tmp_path, model="a")
    make_run(tmp_path, [math.nan, *shifted(-0.1)[1:]], model="b")
    assert only_table(tmp_path).rows[1].to_best.n == 4


def test_a_row_with_undefined_folds_comes_after_the_complete_ones(tmp_path):
    make_run(tmp_path, model="whole")
    make_run(tmp_path, [math.nan] * 3 + [0.9, 0.8], model="part")
    table = only_table(tmp_path)
    assert labels(table) == ["whole", "part"]
    assert "part: defined on 2 of 5 folds" in table.notes[0]
    part = table.rows[1]
    assert part.to_best.mean == pytest.approx(part.mean - np.mean(BASE[3:]))


def test_seeds_are_averaged_over_the_folds_that_all_define(tmp_path):
    make_run(tmp_path, [math.nan, 0.2, 0.2, 0.2, 0.3])
    make_run(tmp_path, [0.9, math.nan, 0.4, 0.4, 0.5], seed=1)
    (row,) = only_table(tmp_path).rows
    assert row.mean == pytest.approx(np.nanmean(row.values("accuracy")))
    assert row.seed_std == pytest.approx(np.std([0.7 / 3, 1.3 / 3], ddof=1))


def test_a_row_with_one_defined_fold_is_not_tested_and_that_is_said(tmp_path):
    make_run(tmp_path, model="whole"), make_run(tmp_path, shifted(-0.2), model="far")
    make_run(tmp_path, [math.nan] * 4 + [0.9], model="one")
    table = only_table(tmp_path)
    assert [row.is_tested for row in table.rows] == [False, True, False]
    assert "not tested, because fewer than two folds are defined: one" in table.notes


def test_internal_metrics_of_two_feature_spaces_are_not_compared(tmp_path):
    for model, space in {"a": "1", "b": "2"}.items():
        make_run(tmp_path, BASE, model=model, scores={"accuracy": BASE}, feature_space=space,
                 **CLUSTERER)  # fmt: skip
    (a, b), _ = gather([str(tmp_path)])
    assert "two feature spaces" in diff(a, b).comparable
    assert diff(a, b).paired is None
    by_accuracy = diff(a, b, metric="accuracy")
    assert by_accuracy.paired is not None
    assert "not compared by silhouette" in by_accuracy.notes[0]


def test_other_targets_are_not_compared(tmp_path):
    make_run(tmp_path, model="a")
    make_run(tmp_path, model="b", dataset={"roles": {"target": ["Var_1"]}})
    (a, b), _ = gather([str(tmp_path)])
    assert diff(a, b).comparable == "other targets: none and Var_1"


def test_two_runs_are_compared_on_the_folds_that_both_define(tmp_path):
    make_run(tmp_path, model="a")
    make_run(tmp_path, [math.nan, *shifted(-0.1)[1:]], model="b")
    (a, b), _ = gather([str(tmp_path)])
    (row,) = diff(a, b).metrics.to_dict("records")
    assert row["difference"] == pytest.approx(row["a"] - row["b"])
    assert "4 of 5 folds" in diff(a, b).notes[0]


def test_what_counts_as_equal_is_checked_for_two_runs(tmp_path):
    make_run(tmp_path)
    (a,), _ = gather([str(tmp_path)])
    with pytest.raises(ConfigError, match="must be 0 or more"):
        diff(a, a, rope=-1)


def test_other_folds_have_no_paired_difference(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b", split={"hash": "0" * 16})
    first, second = (table.rows[0] for table in compare_all(tmp_path).tables)
    assert paired_difference(first, second, "accuracy", rope=0.01) is None


# Published figures.


def test_the_corrected_variance_is_that_of_baycomp():
    """The example of baycomp's own test of CorrelatedTTest.compute_statistics: mean 1, df 2."""
    found = paired(np.array([5, 7, 3]) - np.array([4, 2, 6]), 1 / 2)
    assert found.mean == 1
    assert found.standard_error**2 == pytest.approx((4**2 + 4**2) / 2 * (1 / 3 + 1 / 2))


def test_the_example_of_scikit_learn_has_its_published_figures():
    """ "Statistical comparison of models using grid search": linear and RBF on two moons.

    Published: t 0.750 and one-sided p 0.227 (uncorrected 2.611 and 0.005), probability 0.773 that
    RBF is better; with a rope of 0.01: 0.500 better, 0.432 equal, 0.068 worse.
    """
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel), X, y, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    found = paired(rbf - linear, 1 / 9, rope=0.01)
    assert found.mean / found.standard_error == pytest.approx(0.750, abs=5e-4)
    assert found.p / 2 == pytest.approx(0.227, abs=5e-4)
    assert paired(rbf - linear, 1 / 9).p_better == pytest.approx(0.773, abs=5e-4)
    probabilities = (found.p_better, found.p_equivalent, found.p_worse)
    assert probabilities == pytest.approx((0.500, 0.432, 0.068), abs=5e-4)


DEMSAR = np.array([  # Table 6: AUC of C4.5 with m, with cf, with both, on 14 data sets
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    # Printed as 0.975 and 0.975, ranked 2 and 3.
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def demsar(alpha):
    names = ["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"]
    return rank_across(DEMSAR, [str(i) for i in range(14)], names, "roc_auc_ovr", alpha)


def test_ranks_across_data_sets_are_those_of_demsar():
    """Published: ranks 3.143, 2.000, 2.893, 1.964; F 3.69 with 3 and 39 degrees of freedom."""
    found = demsar(0.05)
    np.testing.assert_allclose(found.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.friedman_p == pytest.approx(0.0199, abs=3e-4)


def test_the_critical_difference_is_that_of_demsar():
    """Published: 1.25 at 5%, which separates nothing; 1.12 at 10%: C4.5 is worse than +m, +m+cf."""
    assert demsar(0.05).critical_difference == pytest.approx(1.25, abs=5e-3)
    assert demsar(0.05).groups == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    assert demsar(0.10).critical_difference == pytest.approx(1.12, abs=5e-3)
    assert demsar(0.10).groups == (
        ("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"),
    )  # fmt: skip


def test_holm_adjusts_as_in_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_without_a_difference_between_ranks_nothing_is_separated():
    values = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]
    found = rank_across(values, ["x", "y"], ["a", "b", "c"], "accuracy", 0.05)
    assert found.critical_difference is None
    assert found.groups == (("a", "b", "c"),)


@pytest.mark.parametrize(("n", "p"), [(2, 1 / 6), (3, 1 / 36), (7, 6**-6)])
def test_the_same_order_everywhere_has_its_exact_chance(n, p):
    names = [str(i) for i in range(n)]
    found = rank_across([[0.3, 0.2, 0.1]] * n, names, ["a", "b", "c"], "accuracy", 0.05)
    assert found.friedman_p == pytest.approx(p)


@pytest.mark.parametrize(("n", "k"), [(9, 5), (10, 10), (12, 3), (400, 12)])
def test_the_chance_of_equal_models_is_never_zero(n, k):
    names = [[str(i) for i in range(size)] for size in (n, k)]
    assert 0 < rank_across([list(range(k))] * n, *names, "accuracy", 0.05).friedman_p < 0.001


@pytest.mark.parametrize(
    ("ranks", "p"),
    [
        ([[1, 2, 3]] * 2 + [[2, 1, 3]], 0.194),  # chi square 4.667
        ([[1, 2, 3]] * 6 + [[2, 3, 1], [3, 1, 2]], 0.047),  # chi square 6.25, drawn
    ],
)
def test_levels_are_those_of_the_published_table(ranks, p):
    """Friedman (1937), table of exact probabilities for three ranks."""
    names = [str(i) for i in range(len(ranks))]
    found = rank_across(ranks, names, ["a", "b", "c"], "log_loss", 0.05)
    assert found.friedman_p == pytest.approx(p, abs=4e-3)


def test_configs_are_ranked_across_data_sets(tmp_path):
    for name in ("demo", "mall", "retail"):
        for place, model in enumerate("abc"):
            make_run(tmp_path, shifted(-place / 10), model=model, dataset={"name": name},
                     config={"dataset": {"name": name}})  # fmt: skip
    found = compare_all(tmp_path).ranks
    assert set(found.datasets) == {"demo", "mall", "retail"}
    assert dict(zip(found.labels, found.mean_ranks, strict=True)) == {"a": 1, "b": 2, "c": 3}


def test_a_clusterer_that_misses_a_constraint_ranks_last_on_each_data_set(tmp_path):
    for name in ("demo", "mall"):
        for model, value in {"many": 0.9, "b": 0.3, "c": 0.2}.items():
            missed = ["too many"] if model == "many" else []
            make_run(tmp_path, [value] * 5, model=model, segments={}, dataset={"name": name},
                     constraints_missed=missed, **CLUSTERER)  # fmt: skip
    found = compare_all(tmp_path).ranks
    assert dict(zip(found.labels, found.mean_ranks, strict=True)) == {"b": 1, "c": 2, "many": 3}


def test_it_is_said_why_there_are_no_ranks(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="a", dataset={"name": "mall"})
    found = compare_all(tmp_path)
    assert found.ranks is None
    assert "1 of 1 configs are judged on each of the 2 data sets" in found.note


def test_it_is_said_what_the_ranks_leave_out(tmp_path):
    for name in ("demo", "mall"):
        for model in "abc":
            make_run(tmp_path, model=model, dataset={"name": name})
    make_run(tmp_path, model="d")
    found = compare_all(tmp_path)
    assert set(found.ranks.labels) == set("abc")
    assert found.note.endswith("not judged on every data set: d")


def test_one_data_set_has_no_ranks(tmp_path):
    for model in "abc":
        make_run(tmp_path, model=model)
    assert compare_all(tmp_path).ranks is None
    assert compare_all(tmp_path).note == ""


# Two runs, and plain values.


def test_diff_tells_what_differs(tmp_path):
    make_run(tmp_path, model="a", scores={"log_loss": [1.0, 1.1, 1.0, 1.2, 1.0]})
    make_run(tmp_path, shifted(-0.2), model="b", scores={"log_loss": [2.0] * 5},
             versions={"segexp": "0.2.0"}, dataset={"n_features": 4})  # fmt: skip
    (a, b), _ = gather([str(tmp_path)])
    found = diff(a, b)
    assert ("model.name", "a", "b") in found.config
    assert found.data == [("n_features", 3, 4)]
    assert found.environment == [("segexp", "0.1.0", "0.2.0")]
    assert found.metrics["metric"].tolist() == ["accuracy", "log_loss"]
    assert (found.metrics["difference"] > 0).all()
    assert found.paired.mean == pytest.approx(0.2)
    assert found.comparable == ""


def test_diff_says_why_two_runs_cannot_be_compared(tmp_path):
    make_run(tmp_path, model="a"), make_run(tmp_path, model="b", split={"hash": "0" * 16})
    (a, b), _ = gather([str(tmp_path)])
    found = diff(a, b)
    assert "other folds" in found.comparable
    assert found.paired is None
    assert found.metrics["difference"].isna().all()


def test_records_are_plain_values_with_the_same_keys(tmp_path):
    make_run(tmp_path, config=tree(depth=[1, 2]), baselines={"dummy": [0.3] * 5},
             scores={"log_loss": [math.nan] * 4 + [1.0]})  # fmt: skip
    make_run(tmp_path, [v - 0.1 for v in BASE], config=tree(depth=4))
    records = to_records(only_table(tmp_path))
    json.dumps(records, allow_nan=False)
    assert len({tuple(record) for record in records}) == 1
    assert [record["rank"] for record in records] == [1, 2, None]


# Real runs.


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A classifier and a clusterer on the same synthetic customers."""
    folder = tmp_path_factory.mktemp("real")
    quick = ["dataset.n_customers=150", "evaluation.importance_repeats=0", "engine.n_jobs=1",
             "evaluation.final_model=false", "evaluation.n_splits=3"]  # fmt: skip
    clusterer = ["evaluation.k_max=null", "evaluation.fold_resamples=0",
                 "evaluation.stability_resamples=0"]  # fmt: skip
    with contextlib.chdir(folder):
        for model in ("naive_bayes", "kmeans"):
            words = [f"model={model}", *quick, *(clusterer if model == "kmeans" else ())]
            run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)
    return folder


def test_real_runs_stand_in_one_table_and_the_clusterer_in_another(real):
    found = compare_all(real)
    external, internal = found.tables
    assert sorted(labels(external)) == ["kmeans", "naive_bayes"]
    assert [row.label for row in external.baselines] == ["dummy", "logistic_regression"]
    assert labels(internal) == ["kmeans"]
    assert found.problems == ()


def test_means_are_those_of_the_summary(real):
    for row in compare_all(real).tables[0].rows:
        (entry,) = row.entries
        summary = entry.summary["accuracy"]
        assert (row.mean, row.std) == pytest.approx((summary["mean"], summary["std"]))
        assert row.interval == tuple(summary["interval"])


def test_the_config_is_read_as_it_was_written(real):
    (entry, *_), _ = gather([str(real)])
    whole = yaml.safe_load((entry.path / runs.CONFIG).read_text())
    assert entry.config["evaluation.n_splits"] == whole["evaluation"]["n_splits"]
    assert entry.config["dataset.missing_tokens"] == whole["dataset"]["missing_tokens"]
    assert {key.partition(".")[0] for key in entry.config} == set(whole)

"""What a report says of a classifier, from its run directory alone."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import segexp.runs as runs
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment
from segexp.report import evidence
from segexp.report.classification import (
    classification_sections,
    hardest_words,
    reliability_bins,
    segment_rankings,
    segment_table,
)
from segexp.report.evidence import read_judged
from segexp.report.explained import with_intervals
from segexp.report.page import Cell, Details, Figure, Items, Section, Table, Text, render_page
from segexp.report.source import Source

QUICK = ["engine.n_jobs=1", "evaluation.n_splits=3", "dataset.n_customers=240"]
FIGURES = {
    "confusion", "segments", "ranking", "calibration", "calibration-segments", "importance",
    "dependence", "contributions", "swarm", "learning-curve",
}  # fmt: skip
SPLIT = {"protocol": "cv", "n_repeats": 1, "n_splits": 5}


def run(folder, *words):
    words = [*QUICK, *words, f"run.outputs={folder}"]
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words).path


@pytest.fixture(scope="module")
def boosted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("outputs"), "model=lightgbm",
               "model.estimator.n_estimators=4")  # fmt: skip


@pytest.fixture(scope="module")
def sections(boosted):
    return classification_sections(Source.open(boosted))


@pytest.fixture
def copy(boosted, tmp_path):
    return Path(shutil.copytree(boosted, tmp_path / "copy"))


def all_blocks(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from all_blocks(block.blocks)


def blocks_of(sections, kind, mark=None):
    return [
        block for section in sections if mark in (None, section.id)
        for block in all_blocks(section.blocks) if isinstance(block, kind)
    ]  # fmt: skip


def said(sections, mark=None):
    """Every sentence of a report, or of one of its sections."""
    found = [block.words for block in blocks_of(sections, Text, mark)]
    return " ".join([*found, *(w for b in blocks_of(sections, Items, mark) for w in b.words)])


def text(value):
    return value.text if isinstance(value, Cell) else value


def report(path):
    """The sections of a run, without the pictures, whose drawing takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "Pictures", lambda figure: {"png": b"", "svg": b""})
        return classification_sections(Source.open(path))


def judged(truth, probabilities, segments=("A", "B")):
    probabilities = np.asarray(probabilities, dtype=float)
    table = pd.DataFrame(
        {
            "row": np.arange(len(truth)),
            "id": "x",
            "repeat": 0,
            "fold": 0,
            "true": np.array(segments, dtype=object)[truth],
            "predicted": np.array(segments, dtype=object)[probabilities.argmax(axis=1)],
            **{f"probability[{name}]": probabilities[:, i] for i, name in enumerate(segments)},
        }
    )
    return read_judged(table, segments, SPLIT)


# ---- a whole run -------------------------------------------------------------------------------


def test_every_part_is_there(sections):
    assert [section.id for section in sections] == [
        "quality", "confusion", "probabilities", "importance", "effects", "learning-curve",
        "errors",
    ]  # fmt: skip
    assert {figure.name for figure in blocks_of(sections, Figure)} == FIGURES
    assert "There is no" not in said(sections)


def test_every_figure_says_whether_it_is_held_out(sections):
    for figure in blocks_of(sections, Figure):
        words = figure.caption.lower()
        assert re.search(r"held.out|out-of-fold|in-sample", words), figure.name
        assert figure.alt and figure.content["png"] and figure.content["svg"]


def test_every_part_begins_with_plain_words(sections):
    for section in sections:
        assert isinstance(section.blocks[0], Text) and section.blocks[0].kind == "lead"


def test_the_metrics_are_those_of_the_run(sections, boosted):
    table = blocks_of(sections, Table, "quality")[0]
    rows = {text(row[0]): row for row in table.rows}
    summary = runs.open_run(boosted).read_summary()
    assert text(rows["accuracy"][1]) == f"{summary['accuracy']['mean']:.4f}"
    assert rows["accuracy"][0].mark == "ranks"
    assert set(table.columns) >= {"majority", "logistic_regression"}


def test_the_confusion_counts_every_customer(sections):
    details = next(d for d in blocks_of(sections, Details, "confusion"))
    cells = [cell.value for row in details.blocks[0].rows for cell in row[1:]]
    assert sum(cells) == 240


def test_the_list_of_mistakes_is_the_surest_first(sections):
    table = blocks_of(sections, Table, "errors")[0]
    confidence = [float(row[3]) for row in table.rows]
    assert confidence == sorted(confidence, reverse=True)
    assert all(row[1] != row[2] for row in table.rows)


def test_features_of_a_mistake_are_those_of_the_customer(sections, boosted):
    table = blocks_of(sections, Table, "errors")[0]
    sample = pd.read_parquet(boosted / runs.SAMPLE).set_index("id")
    where = table.columns.index("Profession")
    for row in table.rows:
        own = sample.loc[row[0], "Profession"]
        assert row[where] == ("missing" if pd.isna(own) else own)


@pytest.mark.slow
def test_the_same_directory_gives_the_same_page(sections, boosted, tmp_path):
    elsewhere = shutil.copytree(boosted, tmp_path / "elsewhere")
    again = classification_sections(Source.open(elsewhere))
    assert render_page("x", again) == render_page("x", sections)


def test_a_linear_model_on_a_holdout(tmp_path):
    path = run(tmp_path, "model=logistic_regression", "evaluation=holdout")
    found = report(path)
    assert {figure.name for figure in blocks_of(found, Figure)} == FIGURES
    assert "Held out: 48 customers that the model never saw" in str(found)


def test_repeats_count_each_customer_once(tmp_path):
    path = run(tmp_path, "model=decision_tree", "evaluation=repeated_cv", "evaluation.n_repeats=2",
               "evaluation.baselines=[]", "evaluation.importance_repeats=0")  # fmt: skip
    found = report(path)
    assert "Of 240 customers" in said(found, "errors")
    assert "first of 2 repeats" in str(blocks_of(found, Figure, "confusion")[0].caption)
    assert "There is no contribution" in said(found, "effects")
    assert "There is no importance of columns" in said(found, "importance")


def test_another_task_has_no_such_part(boosted):
    source = Source.open(boosted)
    source.manifest = {**source.manifest, "task": "clustering"}
    assert classification_sections(source) == []


# ---- what is missing or damaged ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        (runs.SUMMARY, {"quality"}),
        (runs.PREDICTIONS, {"confusion", "probabilities", "errors"}),
        (runs.IMPORTANCE, {"importance"}),
        (runs.SAMPLE, {"effects", "learning-curve", "errors"}),
        (runs.PIPELINE, {"effects"}),
        (runs.TIMINGS, set()),
    ],
)
def test_a_missing_file_is_a_sentence(copy, name, lost):
    (copy / name).unlink()
    found = report(copy)
    without = {s.id for s in found if "There is no" in said(found, s.id)}
    assert without == lost
    assert name in said(found) or not lost
    render_page("x", found)


def test_damaged_files_are_sentences(copy):
    for file in copy.rglob("*"):
        if file.is_file() and file.name != runs.MANIFEST:
            file.write_bytes(b"\x00 nonsense")
    found = report(copy)
    assert not blocks_of(found, Figure)
    assert all("There is no" in said(found, section.id) for section in found)


def test_a_run_with_nothing_but_its_manifest_is_sentences(copy):
    for file in [*copy.rglob("*")]:
        if file.is_file() and file.name != runs.MANIFEST:
            file.unlink()
    found = report(copy)
    assert not blocks_of(found, Figure)
    assert all("There is no" in said(found, section.id) for section in found)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.assign(predicted="nowhere"),
        lambda t: t.drop(columns="true"),
        lambda t: t.iloc[:0],
        lambda t: t.assign(**{"probability[A]": 7.0}),
    ],
)
def test_predictions_of_a_stranger_are_not_believed(copy, change):
    change(pd.read_parquet(copy / runs.PREDICTIONS)).to_parquet(copy / runs.PREDICTIONS)
    found = report(copy)
    assert "There is no table of confused segments" in said(found, "confusion")


def test_thousands_of_segments_are_not_counted(copy):
    manifest = json.loads((copy / runs.MANIFEST).read_text())
    manifest["segments"] |= {f"s{i}": 1 for i in range(900)}
    (copy / runs.MANIFEST).write_text(json.dumps(manifest))
    assert "too many to show" in said(report(copy), "confusion")


def test_no_folder_of_this_machine_is_named(copy):
    for name in (runs.PIPELINE, runs.MODEL_SCHEMA, runs.PREDICTIONS):
        (copy / name).write_bytes(b"nonsense")
    (copy / runs.CONFIG).write_text("a: 1\n")
    assert str(copy) not in str(report(copy))


def test_markup_in_a_name_is_text(copy):
    table = pd.read_parquet(copy / runs.PREDICTIONS)
    table["id"] = "<script>alert(1)</script>"
    table.to_parquet(copy / runs.PREDICTIONS)
    assert "<script>alert" not in render_page("x", report(copy))


def test_without_a_saved_model_the_config_is_refitted(copy):
    shutil.rmtree(copy / runs.MODEL)
    found = report(copy)
    assert [figure.name for figure in blocks_of(found, Figure, "learning-curve")]
    assert "There is no curve of single features" in said(found, "effects")


def test_a_strangers_package_is_not_imported(copy):
    shutil.rmtree(copy / runs.MODEL)
    config = yaml.safe_load((copy / runs.CONFIG).read_text())
    config["run"]["packages"] = ["antigravity"]
    config["model"]["estimator"] = {"_target_": "antigravity.Model"}
    (copy / runs.CONFIG).write_text(yaml.safe_dump(config))
    found = report(copy)
    assert "There is no learning curve" in said(found, "learning-curve")
    import sys

    assert "antigravity" not in sys.modules


def test_the_last_point_of_the_learning_curve_is_the_run_itself(sections):
    figure = blocks_of(sections, Figure, "learning-curve")[0]
    assert "160 " in figure.alt  # the folds of the run learn from two of three parts of 240
    assert "the last point is of the run's own folds" in figure.caption


def test_without_predictions_the_learning_curve_ends_with_all_other_customers(copy):
    (copy / runs.PREDICTIONS).unlink()
    figure = blocks_of(report(copy), Figure, "learning-curve")[0]
    assert "and all of the other customers" in figure.caption


def test_groups_that_the_sample_does_not_know_have_no_learning_curve(copy):
    manifest = json.loads((copy / runs.MANIFEST).read_text())
    manifest["split"]["group"] = "household"
    (copy / runs.MANIFEST).write_text(json.dumps(manifest))
    assert "one household together" in said(report(copy), "learning-curve")


def test_columns_without_effect_were_each_shuffled_alone(copy):
    table = pd.read_csv(copy / runs.IMPORTANCE)
    is_shuffled = table["kind"] == "permutation"
    first = table[is_shuffled].index[0]
    table.loc[is_shuffled, ["mean", "std"]] = [0.0, 0.1]
    table.loc[first, ["mean", "std"]] = [0.3, 0.01]
    table.to_csv(copy / runs.IMPORTANCE, index=False)
    words = said(report(copy), "importance")
    assert "no difference that can be told from chance, each taken alone." in words
    assert "may do as well" not in words


def test_a_damaged_file_is_named_once_and_without_its_readers_words(copy):
    (copy / runs.SAMPLE).write_bytes(b"PAR1 nonsense")
    words = said(report(copy), "effects")
    assert "There is no curve of single features: sample.parquet is damaged." in words
    assert "Arrow" not in words and ".." not in words


def test_a_folder_that_is_called_like_a_file_does_not_mangle_its_name(copy, monkeypatch):
    monkeypatch.chdir(copy.parent)
    folder = Path("scores")
    copy.rename(folder)
    (folder / runs.SUMMARY).write_text("[]")
    assert "summary.json must hold a JSON object" in said(report(folder), "quality")


# ---- figures that can be checked by hand -------------------------------------------------------


def test_the_interval_over_folds_is_that_of_nadeau_and_bengio():
    table = with_intervals(pd.DataFrame({"mean": [0.1], "std": [0.02]}), 5, 0.2, 0.95)
    half = 2.7764451052 * 0.02 * math.sqrt(1 / 5 + 0.2 / 0.8)
    assert table["low"][0] == pytest.approx(0.1 - half)
    assert table["high"][0] == pytest.approx(0.1 + half)


def test_one_fold_has_no_interval():
    table = with_intervals(pd.DataFrame({"mean": [0.1], "std": [np.nan]}), 1, 0.2, 0.95)
    assert table[["low", "high"]].isna().all(axis=None)


def test_bins_hold_what_was_said_and_what_came_true():
    bins = reliability_bins(np.array([0.05, 0.95, 1.0, 1.0]), np.array([0, 1, 1, 0]) > 0, 10)
    assert bins["n"].tolist() == [1, 3]
    assert bins["said"].tolist() == pytest.approx([0.05, 2.95 / 3])
    assert bins["true"].tolist() == pytest.approx([0.0, 2 / 3])
    assert bins["left"].tolist() == [0.0, 0.9]


def test_the_interval_of_a_bin_is_wilsons():
    bins = reliability_bins(np.full(10, 0.5), np.arange(10) < 8, 10)
    # As in tables of Wilson's interval for 8 of 10.
    assert bins[["low", "high"]].to_numpy()[0] == pytest.approx([0.4902, 0.9433], abs=1e-4)


def test_areas_are_those_of_the_chance_to_rank_right():
    found = segment_rankings(judged([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0, 1]]))
    assert found["B"].area == pytest.approx(0.75)
    assert found["B"].average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["B"].prevalence == 0.5


def test_a_segment_that_nobody_has_has_no_curve():
    assert list(segment_rankings(judged([0, 0], [[0.9, 0.1], [0.4, 0.6]]))) == []


def test_long_curves_are_thinned_and_keep_their_ends():
    rng = np.random.default_rng(0)
    share = rng.random(5000)
    found = segment_rankings(judged(rng.integers(0, 2, 5000), np.c_[share, 1 - share]))["A"]
    assert len(found.false_positive) <= 300
    assert (found.false_positive[0], found.true_positive[-1]) == (0, 1)


def test_figures_of_a_segment_are_of_the_same_customers():
    found = segment_table(judged([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0, 1]]), 0.95)
    first, second = found.to_dict("records")
    assert (first["customers"], first["precision"]) == (3, 1.0)
    assert first["recall"] == pytest.approx(1 - first["taken_share"]) == pytest.approx(2 / 3)
    assert first["low"] < first["recall"] < first["high"]
    assert (second["precision"], second["recall"]) == (0.5, 1.0)


def test_the_hardest_segment_may_not_be_confused_with_any():
    table = pd.DataFrame({"segment": ["A"], "recall": [1.0], "taken": [None], "taken_share": [0]})
    assert hardest_words(table) == "Every customer is put into the right segment."


def test_a_section_is_a_section(sections):
    assert all(isinstance(section, Section) for section in sections)

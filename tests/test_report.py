"""Reports of real runs, of damaged ones, of sweeps; and the command that writes them."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segexp.runs as runs
from segexp.cli import main
from segexp.cli.report import execute
from segexp.errors import ConfigError, RunError
from segexp.report.page import Card, Cards, Details, Figure, Section, Text, pictures
from segexp.report.report import REPORT, report, report_with_figures
from segexp.report.source import Source, one_line
from segexp.report.technical import without_places

SMALL = ("dataset=demo", "dataset.n_customers=300", "evaluation.n_splits=3", "engine.n_jobs=1")


def make(outputs: Path, command: str, *words: str) -> Path:
    assert main([command, *SMALL, *words, f"run.outputs={outputs}"]) == 0
    pattern = runs.SWEEP if command == "sweep" else runs.MANIFEST
    return next(path.parent for path in sorted(outputs.rglob(pattern)))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("tree")
    return make(outputs, "run", "model=decision_tree", "run.name=the tree")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("searched")
    return make(outputs, "run", "model=decision_tree", "search=random", "search.n_trials=12")


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("clusters")
    return make(
        outputs, "run", "model=kmeans", "evaluation.stability_resamples=3",
        "evaluation.fold_resamples=2", "evaluation.k_max=5",
    )  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("sweep")
    return make(
        outputs, "sweep", "model=decision_tree,naive_bayes", "evaluation.final_model=false",
        "evaluation.baselines=[dummy]", "evaluation.importance_repeats=0",
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A function that copies a run, so that it can be damaged."""

    def made(run: Path) -> Path:
        return Path(shutil.copytree(run, tmp_path / "run"))

    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the parts that others test, some of which compute a while."""
    parts: dict[str, Any] = {
        "cards": ("card_sections", _names_and_actions),
        "checks": ("check_section", lambda source, muted: _said("checks", " ".join(muted))),
        "classification": ("classification_sections", lambda source: [_said("result", "all")]),
        "clustering": ("clustering_sections", lambda source: [_said("result", "all")]),
        "data": ("data_sections", lambda source: [_said("data", "all")]),
    }
    for name, (function, made) in parts.items():
        module = types.ModuleType(name)
        setattr(module, function, made)
        monkeypatch.setitem(sys.modules, f"segexp.report.{name}", module)


def _names_and_actions(source: Source, names: Any, *, actions: Any = None) -> list[Section]:
    titles = [rule.title for rule in actions.rules] if actions is not None else []
    return [_said("cards", json.dumps([names, titles]))]


def _said(name: str, words: str) -> Section:
    return Section(name, name.capitalize(), [Text(f"{name}: {words}")])


def heads(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*><bdi>([^<]*)</bdi></h2>", page)


def words_of(page: str) -> str:
    """The text of a page, without its style and script."""
    body = page[page.index("<body") : page.rindex("<script>")]
    return " ".join(
        re.sub(r"<wbr>", "", re.sub(r"<[^>]+>", " ", body.replace("<wbr>", ""))).split()
    )


# A run.


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tree", "clusters", "searched"])
def test_a_real_run_has_every_part_whole(which, request):
    page = report(request.getfixturevalue(which))
    assert "cannot be shown" not in page
    assert heads(page)[:2] == ["Summary", "Segments"]
    assert heads(page)[-1] == "Technical appendix"
    assert len(page) < 5_000_000


def test_managers_come_first_and_statisticians_last(quick, searched):
    assert heads(report(searched)) == [
        "Summary", "Cards", "Result", "Data", "Search", "Checks", "Technical appendix",
    ]  # fmt: skip


def test_the_same_run_gives_the_same_report_wherever_it_lies(quick, tree, tmp_path):
    moved = shutil.copytree(tree, tmp_path / tree.name)
    first = report(tree)
    (moved / REPORT).write_text(first, "utf-8")
    assert report(moved) == first


def test_the_summary_says_the_score_beside_the_baselines(quick, tree):
    page = words_of(report(tree))
    mean = json.loads((tree / runs.SUMMARY).read_text())["accuracy"]["mean"]
    assert (
        f"The model puts {mean:.1%} of the customers into their own segment (95% interval" in page
    )
    assert "naming the largest segment for everybody reaches" in page
    assert "of 3 folds" in page and "made up" in page


def test_a_clusterer_says_how_many_segments_and_how_stable(quick, clusters):
    page = words_of(report(clusters))
    assert "kmeans divides 300 customers into" in page
    assert "Segments made again from resampled customers agree with these to" in page


def test_the_selection_score_stands_beside_the_honest_one(quick, searched):
    page = words_of(report(searched))
    choices = json.loads((searched / runs.SEARCH).read_text())["choices"]
    own = [c["values"]["accuracy"] for c in choices if c["rows"] != "final"]
    assert f"selection accuracy {sum(own) / len(own):.4f} mean of 3 searches" in page


def test_figures_of_a_search_are_drawn_again(quick, searched, copy):
    run = copy(searched)
    shutil.rmtree(run / runs.FIGURES)
    assert 'alt="The accuracy of every trial' in report(run)


def test_the_report_does_not_tell_where_it_was_made(quick, tree):
    page = report(tree)
    assert str(tree.parent) not in page and "run.outputs" not in page
    assert "segexp run dataset=demo" in page


@pytest.mark.parametrize(
    "word", ["run.outputs=/x", "+dataset.path=/x", "--config-dir=/x", "dataset.url=/x"]
)
def test_words_with_places_are_left_out(word):
    assert without_places(f"segexp run model=kmeans {word}") == "segexp run model=kmeans"


def test_names_come_from_the_run_directory(quick, tree, copy):
    run = copy(tree)
    (run / "names.yaml").write_text("A: Young and urban\n", "utf-8")
    assert "Young and urban" in words_of(report(run))


def test_a_name_for_no_segment_is_an_error(quick, tree):
    with pytest.raises(ConfigError, match=r"no segment 'E' to be named.*segments: A, B, C, D"):
        report(tree, names={"E": "nobody"})


def test_a_damaged_file_of_names_is_one_line(quick, tree, copy):
    run = copy(tree)
    (run / "names.yaml").write_text("A: [1]\n", "utf-8")
    with pytest.raises(ConfigError, match="the name of segment 'A' must be text"):
        report(run)


BOMB = zlib.compress(bytes(1000))  # what it unpacks to does not matter


@pytest.mark.parametrize("dots", [8_000, 12_000, 60_000])
def test_a_picture_of_many_dots_is_not_shown(tree, copy, dots):
    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    run = copy(tree)
    (run / runs.FIGURES).mkdir(exist_ok=True)
    head = struct.pack(">IIBBBBB", dots, dots, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", BOMB)
    (run / runs.FIGURES / "elbow.png").write_bytes(png + chunk(b"IEND", b""))
    source = Source.open(run)
    assert source.figure("elbow") is None
    assert "more than the 50" in source.why("figures/elbow.png")


def test_names_that_stand_for_a_billion_others_are_one_line(quick, tree, copy):
    run = copy(tree)
    (run / "names.yaml").write_text("A: " + "[" * 10_000, "utf-8")
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        report(run)


def test_a_table_that_unpacks_to_too_much_is_told(quick, tree, copy):
    run = copy(tree)
    table = pa.table({"row": np.zeros(140_000_000, dtype=np.int8)})
    pq.write_table(table, run / runs.PREDICTIONS)
    source = Source.open(run)
    assert source.predictions is None
    assert source.why(runs.PREDICTIONS).startswith("it holds 1,068 MB unpacked, more than")


def test_more_segments_than_anybody_reads_are_one_line(tree, copy):
    run = copy(tree)
    manifest = json.loads((run / runs.MANIFEST).read_text("utf-8"))
    manifest["segments"] = {str(i): 1 for i in range(1001)}
    (run / runs.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(RunError, match="it has 1,001 segments, more than the 1,000"):
        report(run)


def test_a_manifest_that_is_nested_deeply_is_one_line(tree, copy):
    run = copy(tree)
    (run / runs.MANIFEST).write_text("[" * 100_000, "utf-8")
    with pytest.raises(RunError, match="is not valid JSON"):
        report(run)


def test_muted_codes_reach_the_checks(quick, tree):
    assert "checks: overfit small" in words_of(report(tree, muted=["overfit", "small"]))


# What is damaged.


FILES = (
    runs.SUMMARY, runs.SCORES, runs.BASELINES, runs.TIMINGS, runs.PREDICTIONS, runs.IMPORTANCE,
    runs.CONFIG, runs.OVERRIDES, runs.SEARCH, runs.TRIALS, runs.SAMPLE, runs.PIPELINE,
)  # fmt: skip


@pytest.mark.parametrize("content", [None, b"", b"\x00\xff\xfe{[", b'{"a": 1}', b"metric\n1,2,3\n"])
@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_does_not_stop_the_report(quick, searched, copy, name, content):
    run = copy(searched)
    if content is None:
        (run / name).unlink(missing_ok=True)
    else:
        (run / name).write_bytes(content)
    page = report(run)
    assert heads(page)[0] == "Summary" and "Traceback" not in page
    assert str(run) not in page


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tree", "clusters"])
def test_a_run_of_which_only_the_manifest_is_left_has_a_report(which, request, copy):
    run = copy(request.getfixturevalue(which))
    for path in sorted(run.rglob("*"), reverse=True):
        if path.is_file() and path.name != runs.MANIFEST:
            path.unlink()
    page = words_of(report(run))
    assert "There is no result to show: the run has none." in page


def test_damage_is_told_below_the_summary_by_a_check_and_on_the_terminal(
    tree, copy, capsys, monkeypatch
):
    run = copy(tree)
    (run / runs.SAMPLE).write_bytes((run / runs.SAMPLE).read_bytes()[:1000])
    (run / runs.PIPELINE).write_bytes((run / runs.PIPELINE).read_bytes()[:1000])
    for part in ("data.data_sections", "classification.classification_sections",
                 "cards.card_sections"):  # fmt: skip
        monkeypatch.setattr(f"segexp.report.{part}", lambda *args, **options: [])
    assert execute([str(run)], None, None, (), None, False) == 0
    (line,) = capsys.readouterr().err.splitlines()
    said = f"files of the run cannot be read: {runs.PIPELINE}, {runs.SAMPLE}"
    assert line == f"segexp: {run}: {said}; the report says what it leaves out"
    page = words_of((run / REPORT).read_text("utf-8"))
    assert f"Damaged: {said}." in page
    assert f"2 files of the run cannot be read: {runs.PIPELINE} and {runs.SAMPLE}:" in page
    assert "damaged_files" in page


def test_a_file_over_a_bound_is_not_called_damaged(tree, copy, capsys, monkeypatch):
    run = copy(tree)
    monkeypatch.setattr("segexp.bounds.MOST_TABLE", 1000)
    for part in ("data.data_sections", "classification.classification_sections",
                 "cards.card_sections"):  # fmt: skip
        monkeypatch.setattr(f"segexp.report.{part}", lambda *args, **options: [])
    assert execute([str(run)], None, None, (), None, False) == 0
    names = f"{runs.PREDICTIONS}, {runs.SAMPLE}"
    assert f"files of the run are left alone: {names};" in capsys.readouterr().err
    page = words_of((run / REPORT).read_text("utf-8"))
    assert f"Not read: files of the run are left alone: {names}." in page
    assert "Not read or not made, and so not shown:" in page and "files_not_read" in page
    assert "restore them" not in page and "damaged" not in page.lower()


def test_a_config_over_its_bound_is_not_called_damaged(tree, copy):
    run = copy(tree)
    (run / runs.CONFIG).write_text("a: &a [*a]")
    source = Source.open(run)
    assert source.damaged == {} and list(source.not_read) == [runs.CONFIG]


def saved_with(run: Path, version: str) -> Path:
    manifest = json.loads((run / runs.MANIFEST).read_text("utf-8"))
    manifest["versions"]["scikit-learn"] = version
    (run / runs.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return run


def test_a_model_of_another_version_is_not_called_damaged(tree, copy, monkeypatch):
    def unknown(content: bytes, name: str) -> None:
        raise AttributeError("Tree has no attribute missing_go_to_left")

    run = saved_with(copy(tree), "0.1.0")
    monkeypatch.setattr("segexp.saved_model.load_pipeline", unknown)
    source = Source.open(run)
    assert source.damaged == {}
    assert source.not_read[runs.PIPELINE].startswith("it was saved with scikit-learn 0.1.0 (here")


def test_a_broken_model_of_another_version_is_damaged(tree, copy):
    run = saved_with(copy(tree), "0.1.0")
    (run / runs.PIPELINE).write_bytes((run / runs.PIPELINE).read_bytes()[:1000])
    assert list(Source.open(run).damaged) == [runs.PIPELINE]


def test_a_whole_run_is_not_said_to_be_damaged(quick, tree, capsys):
    assert execute([str(tree)], None, None, (), None, False) == 0
    assert capsys.readouterr().err == ""
    assert Source.open(tree).damaged == {}


def test_what_a_reader_of_files_raises_stays_in_the_appendix(tree, copy):
    run = copy(tree)
    (run / runs.SAMPLE).write_bytes(b"PAR1 nonsense")
    source = Source.open(run)
    assert source.sample is None and source.why(runs.SAMPLE) == "sample.parquet is damaged"
    assert source.problems[runs.SAMPLE].startswith("Arrow")


@pytest.mark.parametrize(
    ("folder", "message", "said"),
    [
        ("yaml", "yaml/config.yaml is not valid YAML.", "config.yaml is not valid YAML"),
        ("scores", "scores/scores.csv lacks scores", "scores.csv lacks scores"),
        ("a/b", "a/b holds no run, see a/b/x.csv", "the run directory holds no run, see x.csv"),
        ("a/b", "a/bc is another, as is x/a/b", "a/bc is another, as is x/a/b"),
    ],
)
def test_only_the_path_that_leads_to_a_file_is_struck_out(folder, message, said):
    assert one_line(RunError(message), Path(folder)) == said


def test_a_run_directory_in_a_message_is_struck_out_when_it_is_absolute(tmp_path):
    folder = tmp_path / "csv"
    assert one_line(RunError(f"{folder / 'scores.csv'} is empty"), folder) == "scores.csv is empty"


def test_how_many_customers_a_segment_has_is_no_metric(quick, tree):
    page = words_of(report(tree))
    assert "recall[A]" in page and "support[A]" not in page


def test_a_part_that_cannot_be_made_says_so(quick, tree, monkeypatch):
    def broken(source: Source) -> list[Section]:
        raise KeyError("revenue")

    monkeypatch.setattr(sys.modules["segexp.report.data"], "data_sections", broken)
    page = words_of(report(tree))
    assert (
        "This part cannot be shown: what the run left is damaged (KeyError: &#39;revenue&#39;)"
        in page
    )


def test_a_file_that_leads_out_of_the_run_is_not_read(quick, tree, copy, tmp_path):
    run = copy(tree)
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: hunter2\n", "utf-8")
    (run / runs.CONFIG).unlink()
    (run / runs.CONFIG).symlink_to(secret)
    page = report(run)
    assert "hunter2" not in page
    assert "it is a link that leads out of the run directory" in page


def test_a_pipe_is_not_waited_for(quick, tree, copy):
    run = copy(tree)
    (run / runs.SUMMARY).unlink()
    os.mkfifo(run / runs.SUMMARY)
    assert "it is no plain file" in report(run)


def test_hostile_names_stay_text(quick, tree, copy):
    run = copy(tree)
    hostile = "<script>alert(1)</script>\u202e"
    text = (run / runs.MANIFEST).read_text("utf-8")
    manifest = json.loads(text)
    manifest.update(name=hostile, model=hostile, tags=[hostile])
    manifest["segments"] = {hostile: 150, "B": 150}
    manifest["dataset"]["name"] = hostile
    (run / runs.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    page = report(run)
    assert "<script>alert" not in page and "\u202e" not in page
    assert "&lt;script&gt;alert" in page


def test_an_unfinished_run_says_so(quick, tree, copy):
    run = copy(tree)
    manifest = json.loads((run / runs.MANIFEST).read_text("utf-8"))
    manifest.update(status="failed", cause="too few customers")
    (run / runs.MANIFEST).write_text(json.dumps(manifest), "utf-8")
    assert "This run failed: too few customers." in words_of(report(run))


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ('{"schema_version": 99}', "schema version 99"), ("[]", "object")],
)
def test_a_damaged_manifest_is_one_line(tmp_path, content, message):
    (tmp_path / runs.MANIFEST).write_text(content, "utf-8")
    with pytest.raises(RunError, match=message):
        report(tmp_path)


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        report(tmp_path / "nowhere")


# A source.


def test_a_source_says_why_a_file_is_not_there(tree):
    source = Source.open(tree)
    assert source.trials is None and source.why(runs.TRIALS) == "the run has none"
    assert source.is_missing(runs.TRIALS) and source.problems == {}


def test_a_source_reads_a_file_once(tree):
    source = Source.open(tree)
    assert source.scores is source.scores


def test_a_figure_with_another_content_is_none(tree, copy):
    run = copy(tree)
    (run / runs.FIGURES).mkdir(exist_ok=True)
    (run / runs.FIGURES / "elbow.png").write_bytes(b"MZ")
    source = Source.open(run)
    assert source.figure("elbow") is None and source.figure("../../etc/passwd") is None


# A sweep, and several.


def test_a_sweep_shows_its_runs_the_ranking_and_the_best_in_full(quick, sweep):
    page = report(sweep)
    assert heads(page)[:4] == ["The sweep", "Comparison", "The best run in full", "Summary"]
    assert "2 of 2 runs were completed" in words_of(page)
    assert page.count('class="mark">best<') == 1


def test_a_sweep_links_to_the_reports_of_its_runs(quick, sweep, tmp_path):
    moved = shutil.copytree(sweep, tmp_path / "sweep")
    run = next(moved.glob("*-naive_bayes-*"))
    (run / REPORT).write_text("", "utf-8")
    page = report(moved)
    assert f'href="./{run.name}/{REPORT}"' in page
    assert not re.search(r'href="(?!#|\./)', page)


def test_a_sweep_without_a_finished_run_has_its_cells(quick, sweep, tmp_path):
    moved = shutil.copytree(sweep, tmp_path / "sweep")
    for path in moved.glob(f"*/{runs.MANIFEST}"):
        path.write_text("{", "utf-8")
    page = report(moved)
    assert heads(page) == ["The sweep", "Comparison"]


def test_several_runs_are_compared(quick, sweep):
    page = report(sorted(path.parent for path in sweep.glob(f"*/{runs.MANIFEST}")))
    assert heads(page) == ["Comparison"] and "<title>Comparison of 2 runs</title>" in page


def test_a_folder_of_runs_is_compared(quick, sweep, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in sweep.glob(f"*/{runs.MANIFEST}"):
        shutil.copytree(path.parent, folder / path.parent.name)
    assert "<title>Comparison of 2 runs</title>" in report(folder)


# Value and baskets.


def test_a_value_run_shows_what_was_expected_and_what_happened(quick, tree, copy):
    run = copy(tree)
    _as_value_run(run)
    page = words_of(report(run))
    assert "Of 100 customers 90 purchases were expected in the 30 days" in page
    assert "100 happened (-10%)" in page
    assert "Fitted to all customers; times in units of 7 days" in page
    assert "cannot be shown" not in page


def test_a_value_run_without_its_tables_says_so(quick, tree, copy):
    run = copy(tree)
    _as_value_run(run)
    for name in (runs.DECILES, runs.VALUE_MATRIX):
        (run / name).unlink()
    page = words_of(report(run))
    assert "The tenths cannot be shown as a table: the run has none." in page
    assert "The table of value and risk cannot be shown: the run has none." in page


def _as_value_run(run: Path) -> None:
    _change_task(run, "value", "mae")
    means = {"n": 10, "predicted_purchases": 0.9, "actual_purchases": 1.0,
             "predicted_spend": 9.0, "actual_spend": 10.0}  # fmt: skip
    fit = {"model": "BetaGeo", "parameters": {"r": 0.2}, "standard_errors": {"r": 0.1},
           "n_customers": 100, "log_likelihood": -9.0, "converged": True}  # fmt: skip
    totals = {"predicted_purchases": 90.0, "predicted_spend": 900.0}
    holdout = {
        **totals, "days": 30.0, "n_customers": 100.0, "n_buyers": 40.0, "actual_purchases": 100.0,
        "actual_spend": 1000.0, "baselines": {"past_rate": totals},
        "by_frequency": [{"repeats": 0, **means}, {"repeats": 1, **means}],
    }  # fmt: skip
    value = {
        "horizon_days": 365, "notes": ["look here"], "holdout": holdout,
        "purchases": {**fit, "time_unit_days": 7},
        "spend": {**fit, "correlation_of_frequency_and_spend": 0.1},
    }  # fmt: skip
    (run / runs.VALUE).write_text(json.dumps(value), "utf-8")
    deciles = pd.DataFrame([{"decile": i, **means} for i in range(1, 11)])
    deciles.to_csv(run / runs.DECILES, index=False)
    cells = [
        {"segment": f"{value}, {risk}", "value": value, "risk": risk, "n": 11, "share": 0.11,
         "clv": 5.0, "clv_share": 0.1, "clv_at_stake": 1.0, "probability_alive": 0.5}
        for value in ("high value", "middle value", "low value")
        for risk in ("active", "at risk", "likely gone")
    ]  # fmt: skip
    pd.DataFrame(cells).to_csv(run / runs.VALUE_MATRIX, index=False)


def test_a_run_of_baskets_shows_rules_and_what_held_out_baskets_say(quick, tree, copy):
    run = copy(tree)
    _as_basket_run(run)
    page = words_of(report(run))
    assert "baskets with NA hold beer, 2.5 times as often as baskets do by chance" in page
    assert "10 of 20 0.500 0.400 2.50 2.00" in page
    assert "cannot be shown" not in page


def test_a_run_without_rules_says_so(quick, tree, copy):
    run = copy(tree)
    _as_basket_run(run)
    rules = (run / runs.RULES).read_text("utf-8")
    (run / runs.RULES).write_text(rules.splitlines()[0] + "\n", "utf-8")
    assert "No rule reached the thresholds." in words_of(report(run))


def _as_basket_run(run: Path) -> None:
    _change_task(run, "baskets", "held_out_confidence")
    found = {
        "n_baskets": 100, "n_items": 3, "n_items_sold": 3, "mean_items": 2.0, "min_count": 5,
        "min_confidence": 0.5, "n_itemsets": 4, "n_rules": 1, "n_rules_weighed": 6,
        "n_significant": 1, "n_redundant": 0, "alpha": 0.05, "advice": "", "notes": [],
    }  # fmt: skip
    (run / runs.BASKETS).write_text(json.dumps(found), "utf-8")
    (run / runs.RULES).write_text(
        "antecedent,consequent,length,n_antecedent,n_consequent,n_both,support,confidence,lift,"
        "q_value,significant,redundant,n_folds_found,n_held_out,held_out_confidence,held_out_lift\n"
        "NA,beer,2,20,20,10,0.1,0.5,2.5,0.001,True,False,3,20,0.4,2.0\n",
        "utf-8",
    )
    (run / runs.ITEMSETS).write_text(
        "itemset,length,count,support\nbeer,1,20,0.2\nNA + beer,2,10,0.1\n", "utf-8"
    )


def _change_task(run: Path, task: str, metric: str) -> None:
    manifest = json.loads((run / runs.MANIFEST).read_text("utf-8"))
    manifest.update(task=task, metric=metric, segments={}, preprocessing="none")
    (run / runs.MANIFEST).write_text(json.dumps(manifest), "utf-8")


# The command.


def test_the_command_writes_into_the_run_and_again(quick, tree, copy, capsys):
    run = copy(tree)
    for _ in range(2):
        assert execute([str(run)], None, None, (), None, False) == 0
    assert (run / REPORT).read_bytes().startswith(b"<!doctype html>")
    assert re.search(r"report\.html: 0\.\d MB, \d+\.\d s", capsys.readouterr().out)


def test_another_file_is_not_replaced_unless_forced(quick, tree, tmp_path):
    page = tmp_path / "mine.html"
    page.write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="--force"):
        execute([str(tree)], str(page), None, (), None, False)
    assert execute([str(tree)], str(page), None, (), None, True) == 0


def test_figures_are_found_behind_folds_and_in_parts_of_sections():
    both = {"svg": b"<svg/>", "png": b"png"}
    part = Section("part", "Part", [Details("more", [Figure("b", both, "b")])])
    found = pictures([Section("all", "All", [Figure("a", both, "a")], [part])])
    assert set(found) == {"a.svg", "a.png", "b.svg", "b.png"}
    assert found["b.png"] == b"png"


def test_figures_in_cards_are_found():
    card = Card("A", blocks=[Figure("in-a-card", {"svg": b"<svg/>"}, "a")])
    assert set(pictures([Section("all", "All", [Cards([card])])])) == {"in-a-card.svg"}


def test_the_figures_that_are_written_are_those_of_the_page(quick, searched, copy):
    run = copy(searched)
    shutil.rmtree(run / runs.FIGURES)  # so that they are drawn anew
    page, drawn = report_with_figures(run)
    shown = [base64.b64decode(one) for one in re.findall(r'src="data:[^,]*,([^"]*)"', page)]
    assert shown and set(shown) <= set(drawn.values())
    names = {Path(name).stem for name in drawn}
    assert len(names) == len(shown) and "slices" in names
    assert set(drawn) == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert all(c.startswith(b"\x89PNG" if n.endswith("png") else b"<") for n, c in drawn.items())


def test_a_folder_with_files_gets_no_figures_unless_forced(quick, tree, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="holds files already"):
        execute([str(tree)], None, None, (), str(tmp_path), False)


def test_a_folder_of_runs_needs_a_file_for_its_comparison(quick, sweep, tmp_path, capsys):
    folder = tmp_path / "runs"
    for number, path in enumerate(runs.find_runs(sweep)):
        shutil.copytree(path, folder / str(number))
    with pytest.raises(ConfigError, match=r"2 runs lie in it: name one, such as .*-o comparison"):
        execute([str(folder)], None, None, (), None, False)
    assert not (folder / "report.html").exists()
    assert execute([str(folder)], str(tmp_path / "all.html"), None, (), None, False) == 0
    assert "2 runs found in" in capsys.readouterr().out


def test_a_folder_of_runs_has_no_figures_of_its_own(quick, sweep, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(runs.find_runs(sweep)[0], folder / "one")
    with pytest.raises(ConfigError, match="--figures is for the figures of one run"):
        execute([str(folder)], str(tmp_path / "x.html"), None, (), str(tmp_path / "f"), False)


def test_several_directories_need_a_file(tree):
    with pytest.raises(ConfigError, match=r"-o report\.html"):
        execute([str(tree), str(tree)], None, None, (), None, False)


def test_actions_of_a_folder_of_ones_own_are_found(quick, tree, tmp_path):
    (tmp_path / "actions.yaml").write_text(
        "rules: [{when: {segment: A}, title: Ring them up, do: Today.}]", "utf-8"
    )
    page = tmp_path / "r.html"
    execute([str(tree)], str(page), None, (), None, False, str(tmp_path))
    assert "Ring them up" in page.read_text("utf-8")


def test_names_of_a_file_are_used(quick, tree, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text("B: Families\n", "utf-8")
    execute([str(tree)], str(tmp_path / "r.html"), str(names), (), None, False)
    assert "Families" in (tmp_path / "r.html").read_text("utf-8")


def test_a_file_of_names_that_is_not_there_is_one_line(quick, tree, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        execute([str(tree)], str(tmp_path / "r.html"), str(tmp_path / "no.yaml"), (), None, False)

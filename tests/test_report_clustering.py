"""What the report says of segments, from real runs and from damaged ones."""

from __future__ import annotations

import contextlib
import shutil

import pandas as pd
import pytest

import segexp.runs as runs
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment
from segexp.report.checks import check_section
from segexp.report.clustering import clustering_sections, profile_table
from segexp.report.page import Details, Facts, Figure, Findings, Items, Table, Text, render_page
from segexp.report.source import Source

WORDS = ("dataset.n_customers=150", "engine.n_jobs=1", "evaluation.n_splits=3",
         "evaluation.stability_resamples=4", "evaluation.fold_resamples=2")  # fmt: skip


def run(*words):
    return run_experiment(plan_experiment(load_config(words, (shipped_conf(),))), words)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of k-means on customers with known segments."""
    with contextlib.chdir(tmp_path_factory.mktemp("made")):
        return run("model=kmeans", *WORDS, "evaluation.k_max=3").path.resolve()


@pytest.fixture(scope="module")
def sections(made):
    return clustering_sections(Source.open(made))


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def walk(sections):
    """Every block, also those behind a fold."""
    for section in sections:
        stack = list(section.blocks)
        while stack:
            block = stack.pop(0)
            yield block
            if isinstance(block, Details):
                stack = [*block.blocks, *stack]
        yield from walk(section.children)


def figures(sections):
    return {block.name: block for block in walk(sections) if isinstance(block, Figure)}


def said(sections):
    found = []
    for block in walk(sections):
        if isinstance(block, Text):
            found.append(block.words)
        elif isinstance(block, Items):
            found += block.words
        elif isinstance(block, Figure | Table):
            found.append(block.caption)
    return "\n".join(found)


def titles(sections):
    return [child.title for child in sections[0].children]


def table(sections, column):
    return next(b for b in walk(sections) if isinstance(b, Table) and column in b.columns)


def remove(path, *names):
    for name in names:
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()


def test_a_run_has_every_section(sections):
    assert titles(sections) == [
        "How many segments", "Where the customers lie", "What the segments are like",
        "How clear the segments are", "How stable the segments are", "Segments of new customers",
        "What decides who is alike", "How the segments responded",
    ]  # fmt: skip


def test_a_run_has_every_figure(sections):
    assert set(figures(sections)) == {
        "segment_sizes", "elbow", "silhouette_by_k", "gap", "map_pca", "pairs", "profile",
        "silhouettes", "stability", "stability_by_k", "parents", "confidence", "distance_shares",
        "responses",
    }  # fmt: skip


def test_nothing_of_a_good_run_is_missing(sections):
    assert "cannot be" not in said(sections)


def test_every_figure_has_an_alternative_and_says_what_it_is_of(sections):
    for name, figure in figures(sections).items():
        assert len(figure.alt) > 20, name
        assert figure.caption, name


def test_the_verdict_is_told_in_words_with_its_table(sections, made):
    words = Source.open(made).segmentation["k"]["final"]["words"]
    assert words in said(sections)
    assert table(sections, "criterion").rows


def test_in_sample_stands_beside_held_out(sections, made):
    source = Source.open(made)
    rows = {row[0].text: row for row in table(sections, "held out").rows}
    assert rows["silhouette"][2] == source.summary["silhouette"]["mean"]
    assert rows["silhouette"][4] == source.segmentation["in_sample"]["silhouette"]


def test_hennigs_words_stand_beside_each_segment(sections, made):
    stability = Source.open(made).segmentation["stability"]["verdicts"]
    rows = table(sections, "Jaccard").rows
    assert {row[0]: row[4] for row in rows} == stability


def test_the_sample_is_shown_as_the_model_sees_it(sections):
    assert "the features as the clusterer sees them" in figures(sections)["map_pca"].caption


def test_the_page_takes_the_sections(sections):
    assert "Where the customers lie" in render_page("title", sections)


def test_the_same_run_gives_the_same_sections(sections, made):
    assert render_page("t", sections) == render_page("t", clustering_sections(Source.open(made)))


def test_figures_that_are_gone_are_made_again(copied, sections):
    remove(copied, runs.FIGURES)
    again = figures(clustering_sections(Source.open(copied)))
    assert set(again) == set(figures(sections))
    assert again["elbow"].content["png"] == figures(sections)["elbow"].content["png"]


def test_without_a_sample_there_is_a_sentence_in_place_of_the_map(copied):
    remove(copied, runs.SAMPLE)
    found = clustering_sections(Source.open(copied))
    assert "There is no map of the customers" in said(found)
    assert "profile" in figures(found)


def test_without_a_model_the_map_says_what_it_stands_on(copied):
    remove(copied, runs.MODEL)
    found = figures(clustering_sections(Source.open(copied)))
    assert "the saved model could not prepare them" in found["map_pca"].caption


def test_without_a_final_model_there_is_a_sentence(copied):
    remove(copied, runs.SEGMENTATION)
    config = copied / runs.CONFIG
    asked = config.read_text("utf-8")
    config.write_text(asked.replace("final_model: true", "final_model: false"), "utf-8")
    found = clustering_sections(Source.open(copied))
    assert "cannot be shown" in said(found) and "evaluation.final_model=true" in said(found)


@pytest.mark.parametrize(
    "name",
    [runs.K_TABLE, runs.STABILITY, runs.PARENTS, runs.CUSTOMERS, runs.SEGMENTS, runs.SUMMARY,
     runs.IMPORTANCE, runs.RESPONSES, runs.PREDICTIONS, runs.SEGMENTATION, runs.SAMPLE],
)  # fmt: skip
@pytest.mark.parametrize("content", [None, b"\x00nonsense", b"a,b\n1,2\n"])
def test_a_missing_or_damaged_file_is_no_traceback(copied, name, content, monkeypatch):
    # What is drawn is of no interest here, and takes most of the time.
    monkeypatch.setattr("segexp.report.clustering.render", lambda figure: {})
    if content is None:
        remove(copied, name)
    else:
        (copied / name).write_bytes(content)
    source = Source.open(copied)
    assert render_page("title", [*clustering_sections(source), check_section(source)])


def test_a_profile_counts_in_standard_deviations():
    segments = pd.DataFrame({"segment": ["1", "2"], "n": [50, 50], "share": 0.5,
                             "mean[age]": [30.0, 50.0], "index[age]": [75.0, 125.0]})  # fmt: skip
    deviations, texts = profile_table(segments, {"age": 5.0})
    assert deviations.loc["age"].tolist() == [-2, 2]
    assert texts.loc["age"].tolist() == ["75", "125"]


def test_the_mean_of_all_in_the_heat_map_is_that_of_customers_with_a_value():
    segments = pd.DataFrame({"segment": ["1", "2"], "n": [50, 50], "share": 0.5,
                             "mean[age]": [30.0, 50.0], "known[age]": [30, 10]})  # fmt: skip
    deviations, _ = profile_table(segments, {"age": 5.0})
    assert deviations.loc["age"].tolist() == [-1, 3]


def test_a_level_counts_in_standard_deviations_of_its_share():
    segments = pd.DataFrame({"segment": ["1", "2"], "n": [50, 50], "share": 0.5,
                             "share[sex=f]": [0.0, 1.0], "share[sex=m]": [1.0, 0.0]})  # fmt: skip
    deviations, texts = profile_table(segments, {})
    assert deviations.index.tolist() == ["sex=f"]  # the other level says the same
    assert deviations.loc["sex=f"].tolist() == [-1, 1]
    assert texts.loc["sex=f"].tolist() == ["0%", "100%"]


def test_the_checks_are_a_section(made):
    section = check_section(Source.open(made))
    (block,) = section.blocks
    assert isinstance(block, Findings)
    assert "synthetic_data" in [check["code"] for check in block.checks]


def test_muted_checks_are_counted(made):
    section = check_section(Source.open(made), ["synthetic_data"])
    assert "synthetic_data" not in [check["code"] for check in section.blocks[0].checks]
    assert section.blocks[1].words == "1 finding was muted: synthetic_data."


def test_the_overview_counts_the_segments(sections):
    facts = next(block for block in sections[0].blocks if isinstance(block, Facts))
    assert facts.facts[0].label == "segments" and facts.facts[0].note == "of 150 customers"

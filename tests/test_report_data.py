"""The data part of a report, from run directories that are whole, old, damaged or hostile."""

from __future__ import annotations

import copy
import json
import shutil
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as MatplotlibFigure

import segexp.figures.look as look
import segexp.runs as runs
from segexp.cli import main
from segexp.data_profile import profile_table
from segexp.report.data import data_sections, left_out
from segexp.report.page import Code, Details, Figure, Findings, Items, Table, Text, render_page
from segexp.report.source import Source

HOSTILE = "</td><script>alert('\"&')</script>{{ 7*7 }}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of a tree on 200 made-up customers."""
    outputs = tmp_path_factory.mktemp("runs")
    words = ["model=decision_tree", "dataset.n_customers=200", "evaluation.n_splits=3"]
    assert main(["run", *words, f"run.outputs={outputs}"]) == 0
    (manifest,) = outputs.rglob(runs.MANIFEST)
    return manifest.parent


def hostile_profile(n=60):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            HOSTILE: rng.normal(size=n),
            "job": rng.choice([HOSTILE, "b" * 500], n).astype(object),
            "gap": np.where(np.arange(n) % 4, rng.normal(size=n), np.nan),
        }
    )
    y = np.arange(n) % 2
    return profile_table(X, y, [HOSTILE, "b"], labels=(y + 1) % 2)


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """One small picture in place of each; how they are drawn is tested with the figures."""
    if "real" not in request.node.name:
        picture = look.render(MatplotlibFigure(figsize=(1, 1)))
        monkeypatch.setattr(look, "Pictures", lambda figure: picture)


@pytest.fixture
def run(finished, tmp_path):
    """A function that copies the run with another profile: an object, text, or None for none."""

    def made(profile):
        folder = tmp_path / "run"
        shutil.copytree(finished, folder, dirs_exist_ok=True)
        (folder / runs.PROFILE).unlink(missing_ok=True)
        if profile is not None:
            content = profile if isinstance(profile, str) else json.dumps(profile)
            (folder / runs.PROFILE).write_text(content, encoding="utf-8")
        return Source.open(folder)

    return made


def titles(section):
    return [child.title for child in section.children]


def blocks(section, kind):
    own = [block for block in section.blocks if isinstance(block, kind)]
    return own + [block for child in section.children for block in blocks(child, kind)]


def test_a_profile_becomes_sentences_real_figures_and_tables(run):
    (section,) = data_sections(run(hostile_profile()))
    assert titles(section) == [
        "Where the data come from", "Findings of the audit", "What the columns hold",
        "What is missing", "How columns hang together", "What tells the known segments apart",
        "What tells the segments that were found apart", "Outliers",
    ]  # fmt: skip
    assert isinstance(section.blocks[0], Items)
    assert all(figure.alt and figure.caption for figure in blocks(section, Figure))
    names = [figure.name for figure in blocks(section, Figure)]
    assert len(set(names)) == len(names)


def test_found_segments_are_said_to_be_in_sample(run):
    (section,) = data_sections(run(hostile_profile()))
    found = next(child for child in section.children if child.id == "data-found")
    assert all("In-sample" in figure.caption for figure in blocks(found, Figure))
    known = next(child for child in section.children if child.id == "data-segments")
    assert not any("In-sample" in figure.caption for figure in blocks(known, Figure))


def test_no_caption_stands_twice_in_a_row(run):
    (section,) = data_sections(run(hostile_profile()))
    for part in section.children:
        said = [block.caption for block in part.blocks if isinstance(block, Figure | Table)]
        assert not any(one and one == after for one, after in pairwise(said))


@pytest.mark.parametrize("p", [0.0, 1.5e-311])
def test_a_p_that_floats_round_is_below_a_bound(run, p):
    profile = hostile_profile()
    profile["target"]["features"][0]["p_value"] = p
    (section,) = data_sections(run(profile))
    known = next(child for child in section.children if child.id == "data-segments")
    (table,) = blocks(known, Details)[0].blocks
    assert table.rows[0][-1].text == "< 1e-300"


def test_without_patterns_weak_ones_are_not_denied(run):
    profile = hostile_profile()
    profile["missing"]["patterns"] = []
    (section,) = data_sections(run(profile))
    (words,) = [block.words for block in blocks(section, Text) if "association" in block.words]
    assert "has no association of 0.1 or more" in words


def test_nothing_of_a_profile_becomes_markup(run):
    page = render_page("data", data_sections(run(hostile_profile())))
    assert "<script>alert" not in page and "{{ 7*7 }}" in page


def test_a_run_without_a_profile_says_how_to_get_one(run):
    (section,) = data_sections(run(None))
    said = blocks(section, Text)[0].words
    assert runs.PROFILE in said and "segexp run" in said
    assert "segexp run" in blocks(section, Code)[0].text
    assert titles(section) == ["Where the data come from", "Findings of the audit"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "\x00"])
def test_a_profile_that_is_no_object_is_told(run, content):
    (section,) = data_sections(run(content))
    assert runs.PROFILE in blocks(section, Text)[0].words


@pytest.mark.parametrize("content", ["{}", '{"columns": 3}'])
def test_a_profile_that_lacks_everything_is_told_part_by_part(run, content):
    (section,) = data_sections(run(content))
    assert "damaged" in section.blocks[0].words
    render_page("data", [section])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("columns", [{"name": 3}]), ("columns", "text"), ("missing", None), ("n_rows", "many"),
        ("associations", {"columns": ["a", "b"], "values": [], "kinds": [], "p_values": []}),
        ("target", {"segments": ["a", "b"], "counts": ["x"], "features": [{}]}),
        ("odd", []), ("found", 1),
    ],
)  # fmt: skip
def test_a_part_that_is_damaged_leaves_the_others(run, key, value):
    profile = copy.deepcopy(hostile_profile()) | {key: value}
    (section,) = data_sections(run(profile))
    said = [text.words for text in blocks(section, Text)]
    assert any("is damaged here" in words for words in said)
    assert "Where the data come from" in titles(section)
    render_page("data", [section])


def test_where_the_data_come_from_names_no_place(run):
    source = run(None)
    source.manifest["dataset"]["files"] = [
        {"path": "/secret/place/customers.csv", "sha256_ok": False}, {"path": 3}, "x",
    ]  # fmt: skip
    (section,) = data_sections(source)
    facts = dict(blocks(section, Table)[0].rows)
    assert facts["file"] == "customers.csv, not the published one"
    assert facts["rows read"] == "200" and facts["customers"].startswith("synthetic")
    assert "secret" not in render_page("data", [section])


def test_the_licence_is_that_of_the_config(run):
    source = run(None)
    facts = dict(blocks(data_sections(source)[0], Table)[0].rows)
    assert facts["licence"] == source.config["dataset"]["licence"]


def test_columns_that_are_left_out_are_said_with_the_reason(run):
    source = run(None)
    dataset = source.manifest["dataset"]
    dataset["roles"]["ignore"] = ["it's last", "note"]
    message = (
        f"column {chr(34)}it's last{chr(34)} without a role is ignored: its values look like dates"
    )
    dataset["findings"] = [{"code": "role", "message": message, "count": 1}]
    assert left_out(source) == "Left out: it's last (its values look like dates), note."


def test_a_number_that_may_be_a_date_is_said_first(run):
    source = run(hostile_profile())
    finding = {"code": "serial_days", "message": "column 'since' looks like days", "count": 1}
    source.manifest["dataset"]["findings"] = [finding]
    notes = [b.words for b in data_sections(source)[0].blocks if isinstance(b, Text)]
    assert "A number may be a date: column 'since' looks like days." in notes


def test_roles_and_findings_are_shown(run):
    source = run(None)
    (section,) = data_sections(source)
    roles = {row[0]: row[3] for row in blocks(section, Table)[1].rows}
    assert roles["id"] == "ID" and "Age" in roles["numeric"]
    assert blocks(section, Findings)[0].checks == source.manifest["dataset"]["findings"]


def test_the_same_run_gives_the_same_section(run):
    source = run(hostile_profile())
    pages = [render_page("data", data_sections(source)) for _ in range(2)]
    assert pages[0] == pages[1]

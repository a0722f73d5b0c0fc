"""What the first page and the cards say of noise, of fixed rules and of long names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import segexp.runs as runs
from segexp.actions import load_actions
from segexp.config.options import shipped_conf
from segexp.report.cards import LONGEST_NAME, card_sections
from segexp.report.checks import check_section
from segexp.report.clustering import clustering_sections
from segexp.report.page import Cards, Facts, Findings, Section, Table, Text, render_page
from segexp.report.report import report
from segexp.report.source import Source
from segexp.report.summary import dataset_name, summary_section

MANIFEST: dict[str, Any] = {
    "schema_version": runs.SCHEMA_VERSION, "status": "completed", "task": "clustering",
    "start": "2026-01-01T00:00:00+00:00", "name": None, "tags": [], "model": "hdbscan",
    "preprocessing": "standard", "search": "none", "config_hash": "0" * 64,
    "metric": "silhouette", "confidence": 0.95, "seed": 0, "segments": {}, "versions": {},
    "git": None,
    "dataset": {
        "name": "made", "synthetic": False, "fingerprint": "f", "n_rows": 200,
        "n_rows_read": 200, "n_features": 3, "roles": {}, "findings": [],
    },
    "split": {
        "protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": None, "group": None,
        "split_seed": 0, "hash": "h",
    },
}  # fmt: skip


class Made:
    """A run directory whose files a test writes one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(runs.MANIFEST, MANIFEST)
        self.write(runs.SUMMARY, {})

    def write(self, name: str, content: Any) -> None:
        (self.path / name).write_text(json.dumps(content), "utf-8")

    def segment(self, sizes: dict[str, int], **columns: Any) -> None:
        n = pd.Series(list(sizes.values()))
        table = pd.DataFrame({"segment": list(sizes), "n": n, "share": n / n.sum(), "markers": ""})
        table.assign(**columns).to_csv(self.path / runs.SEGMENTS, index=False)
        self.weigh(sum(s != "noise" for s in sizes))

    def weigh(self, n_segments: int, **verdicts: Any) -> None:
        content = {"n_segments": n_segments, "in_sample": {}, "assignment": {"rule": "native"}}
        self.write(runs.SEGMENTATION, {**content, "k": verdicts})

    @property
    def source(self) -> Source:
        return Source.open(self.path)

    def summary(self) -> str:
        return said([summary_section(self.source)])

    def cards(self) -> Section:
        (section,) = card_sections(self.source, actions=load_actions((shipped_conf(),)))
        return section


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def blocks_of(sections: list[Section]) -> list[Any]:
    return [
        block
        for section in sections
        for block in [*section.blocks, *blocks_of(list(section.children))]
    ]


def said(sections: list[Section]) -> str:
    return "\n".join(block.words for block in blocks_of(sections) if isinstance(block, Text))


def facts(sections: list[Section]) -> dict[str, str]:
    found = [block for block in blocks_of(sections) if isinstance(block, Facts)]
    return {fact.label: fact.value for block in found for fact in block.facts}


def findings(section: Section) -> dict[str, dict[str, str]]:
    (found,) = [block for block in blocks_of([section]) if isinstance(block, Findings)]
    return {check["code"]: check for check in found.checks}


# ---- noise -------------------------------------------------------------------------------------


def test_noise_alone_is_no_segment(made: Made) -> None:
    made.segment({"noise": 500})
    assert "hdbscan finds no segment: all 500 customers are noise." in made.summary()


def test_noise_alone_has_neither_cards_nor_rules_nor_passed_checks(made: Made) -> None:
    made.segment({"noise": 500})
    section = made.cards()
    assert said([section]) == (
        "No segment was found: all 500 customers are noise. There are no cards and no rules."
    )
    assert not any(isinstance(block, Cards | Findings) for block in blocks_of([section]))


def test_noise_alone_has_its_metrics_and_nothing_else_to_look_at(made: Made) -> None:
    made.segment({"noise": 500})
    (section,) = clustering_sections(made.source)
    assert facts([section]) == {"segments": "0"} and not section.children


def test_noise_is_counted_beside_the_segments(made: Made) -> None:
    made.segment({"1": 90, "2": 60, "noise": 50})
    words = made.summary()
    assert "divides 200 customers into 2 segments; the smallest has 30.0%" in words
    assert "50 customers are noise, in no segment." in words
    assert said([made.cards()]).startswith("2 segments found, 200 customers, 50 of them in no")


# ---- fixed rules -------------------------------------------------------------------------------


@pytest.fixture
def ruled(made: Made) -> Made:
    """Champions bring most, and lie near to the others by their scores."""
    made.segment({"Champions": 50, "Lost": 150}, silhouette=[0.1, -0.1], jaccard=0.9)
    config = {"model": {"estimator": {"_target_": "segexp.rfm.RFMSegments"}}}
    made.write(runs.CONFIG, config)  # JSON is YAML
    made.write(runs.SUMMARY, {"silhouette": {"mean": 0.1, "std": 0, "interval": None, "n": 5}})
    table = pd.DataFrame(
        {"segment": ["Champions", "Lost"], "customers": [50, 150], "share": [0.25, 0.75],
         "orders": [500, 150], "revenue": [800.0, 200.0], "revenue_share": [0.8, 0.2]}
    )  # fmt: skip
    roles = ("recency", "frequency", "monetary")
    table = table.assign(**{f"{how}[{role}]": 1.0 for how in ("mean", "median") for role in roles})
    table.to_csv(made.path / runs.RFM, index=False)
    return made


def test_fixed_rules_lead_with_who_brings_the_revenue(ruled: Made) -> None:
    words = ruled.summary()
    assert "by fixed rules into 2 segments" in words
    assert "Champions are 25.0% of the customers and bring 80% of the revenue." in words
    assert facts([summary_section(ruled.source)])["Champions"] == "80%"


def test_fixed_rules_are_not_summed_up_by_their_silhouette(ruled: Made) -> None:
    assert "ilhouette" not in ruled.summary()
    assert "silhouette" not in facts([summary_section(ruled.source)])


def test_the_table_of_segments_has_the_share_of_revenue(ruled: Made) -> None:
    overview = next(block for block in ruled.cards().blocks if isinstance(block, Table))
    place = list(overview.columns).index("of revenue")
    assert [row[place].text for row in overview.rows] == ["80.0%", "20.0%"]


def test_nobody_is_advised_to_merge_fixed_rules(ruled: Made) -> None:
    assert "not_distinct" not in findings(ruled.cards())
    assert "merge" not in json.dumps(findings(ruled.cards()))


def test_the_page_of_fixed_rules_begins_with_the_purchases(ruled: Made) -> None:
    (section,) = clustering_sections(ruled.source)
    names = [child.title for child in section.children]
    assert names[0] == "What the segments bought" and "How many segments" not in names


@pytest.mark.parametrize(
    ("estimator", "k_max", "why"),
    [
        ({"min_cluster_size": 5}, 10, "this clusterer finds it by itself"),
        ({"n_clusters": None, "distance_threshold": 1.0}, 10, "this clusterer finds it by itself"),
        ({"n_clusters": 5}, None, "evaluation.k_max is null"),
        ({"n_components": 5}, 10, "the run left no verdict"),
    ],
)
def test_why_the_number_was_not_weighed_is_one_reason(
    made: Made, estimator: dict[str, Any], k_max: int | None, why: str
) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.CONFIG, {"model": {"estimator": estimator}, "evaluation": {"k_max": k_max}})
    words = said(clustering_sections(made.source))
    assert f"The number of segments was not weighed: {why}." in words


# ---- the verdict -------------------------------------------------------------------------------


def test_the_summary_says_what_other_criteria_see(made: Made) -> None:
    made.segment({"1": 90, "2": 60})
    choices = [{"criterion": "prediction_strength", "k": 6}, {"criterion": "knee", "k": 3}]
    verdict = {"kind": "natural", "best": 6, "choices": choices,
               "words": "6 segments: 3 of 5 votes. They are natural: they come back."}  # fmt: skip
    made.weigh(2, final=verdict)
    words = made.summary()
    assert "natural" not in words and "chooses 6 (they choose 3)" in words


@pytest.mark.parametrize("estimator", ["sklearn.cluster.KMeans", "segexp.rfm.RFMSegments"])
def test_the_summary_says_that_segments_cannot_be_built_on(made: Made, estimator: str) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.CONFIG, {"model": {"estimator": {"_target_": estimator}}})
    stability = {"ari": 0.3, "n_resamples": 20, "jaccard": {"1": 0.4, "2": 0.9}}
    content = {"n_segments": 2, "in_sample": {}, "assignment": {"rule": "native"}}
    made.write(runs.SEGMENTATION, {**content, "stability": stability})
    made.write(runs.MANIFEST, {**MANIFEST, "constraints_missed": ["n_segments is 25"]})
    assert (
        "advise against building on these segments: they do not keep to evaluation.constraints, "
        "not all of them come back from resampled customers and a study of other customers would "
        "find other segments." in made.summary()
    )


def test_the_summary_warns_of_no_segments_that_come_back(made: Made) -> None:
    made.segment({"1": 90, "2": 60})
    assert "advise against" not in made.summary()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([2, 4, 2], "The silhouette of segmentations with 2, 4, 2 segments, one of each fold, is"),
        ([2, 2, 2], "Their silhouette is"),
    ],
)
def test_the_silhouette_is_of_the_segments_of_the_folds(
    made: Made, numbers: list[int], words: str
) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.SUMMARY, {"silhouette": {"mean": 0.3, "std": 0, "interval": None, "n": 3}})
    table = pd.DataFrame({"repeat": 0, "fold": range(3), "metric": "n_segments", "value": numbers})
    table.to_csv(made.path / runs.SCORES, index=False)
    assert f"{words} 0.300 on customers held out" in made.summary()


# ---- files that are gone -----------------------------------------------------------------------


def test_a_file_that_a_completed_run_has_lost_is_missing(made: Made) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.CONFIG, {"evaluation": {"final_model": True}})
    (made.path / runs.SEGMENTATION).unlink()
    words = said(clustering_sections(made.source))
    assert "cannot be shown: segmentation.json is missing from the run." in words


def test_a_missing_file_is_told_like_a_damaged_one(made: Made) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.CONFIG, {"evaluation": {"final_model": True}})
    warned: list[str] = []
    report(made.path, warn=warned.append)
    gone = f"{runs.CUSTOMERS}, {runs.PIPELINE}"
    assert len(warned) == 1 and f"files are missing from the run: {gone};" in warned[0]


# ---- checks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "begin"),
    [("n_segments is 25, above 12", "n_segments is 25"), ("silhouette is 0.1", "Silhouette is")],
)
def test_a_name_of_the_config_keeps_its_letters(made: Made, missed: str, begin: str) -> None:
    made.segment({"1": 90, "2": 60})
    made.write(runs.MANIFEST, {**MANIFEST, "constraints_missed": [missed]})
    found = findings(check_section(made.source))["unusable_segmentation"]
    assert found["message"].startswith(begin)


# ---- names -------------------------------------------------------------------------------------


LONG = [f"number {i} of the segments that a committee has named after its own deliberations" for i
        in range(12)]  # fmt: skip


def test_a_long_name_is_shortened_in_the_table_and_whole_where_a_pointer_rests(made: Made) -> None:
    made.segment(dict.fromkeys(LONG, 50))
    overview = next(block for block in made.cards().blocks if isinstance(block, Table))
    cell = overview.rows[0][0]
    assert (len(cell.text), cell.about) == (LONGEST_NAME, LONG[0])
    assert f'title="{LONG[0]}"' in render_page("page", [made.cards()])


def test_who_fails_a_check_is_said_once_for_all(made: Made) -> None:
    made.segment(dict.fromkeys(LONG, 50), silhouette=[0.1] * 11 + [0.6])
    found = findings(made.cards())["not_distinct"]["message"]
    assert found.startswith("11 of 12 segments are not distinct (mean silhouette, in-sample; 0.25")
    assert found.endswith("(0.100) and 3 more")


def test_checks_that_fail_lead_to_where_they_are_said(made: Made) -> None:
    made.segment({"1": 50, "2": 50}, silhouette=[0.1, 0.6])
    page = render_page("page", [made.cards()])
    assert 'href="#s-segments-checks"' in page and 'id="s-segments-checks"' in page


def test_a_number_shows_the_digit_that_decides(made: Made) -> None:
    made.segment({"1": 50, "2": 50}, silhouette=[0.24996, 0.6])
    assert "silhouette is 0.24996, 0.25" in findings(made.cards())["not_distinct"]["message"]


# ---- the data ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["shops/customers.csv", r"C:\shops\customers.csv"])
def test_a_table_of_the_users_own_is_called_by_its_file(made: Made, path: str) -> None:
    made.write(runs.MANIFEST, {**MANIFEST, "dataset": {**MANIFEST["dataset"], "name": "csv"}})
    made.write(runs.CONFIG, {"dataset": {"path": path}})
    assert dataset_name(made.source) == "customers.csv"


def test_a_known_data_set_keeps_its_name(made: Made) -> None:
    made.write(runs.CONFIG, {"dataset": {"path": "shops/customers.csv"}})
    assert dataset_name(made.source) == "made"


def test_the_first_page_names_the_columns_that_were_left_out(made: Made) -> None:
    dataset = {**MANIFEST["dataset"], "roles": {"ignore": ["zip"]}}
    made.write(runs.MANIFEST, {**MANIFEST, "dataset": dataset})
    assert "Left out: zip." in made.summary()

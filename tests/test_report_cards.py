from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

import segexp.runs as runs
from segexp.clustering.profile import profile
from segexp.clustering.segmenter import Segmenter
from segexp.errors import ConfigError
from segexp.features import KeepColumns
from segexp.report.cards import card_sections
from segexp.report.page import Card, Cards, Code, Findings, Section, Table, Text, render_page
from segexp.report.source import Source
from segexp.saved_model import dump_pipeline

MANIFEST: dict[str, Any] = {
    "schema_version": runs.SCHEMA_VERSION,
    "status": "completed",
    "task": "clustering",
    "start": "2026-01-01T00:00:00+00:00",
    "name": None,
    "tags": [],
    "model": "kmeans",
    "preprocessing": "standard",
    "search": "none",
    "config_hash": "0" * 64,
    "metric": "silhouette",
    "confidence": 0.95,
    "seed": 0,
    "segments": {},
    "versions": {},
    "git": None,
    "dataset": {
        "name": "made", "synthetic": True, "fingerprint": "f", "n_rows": 200, "n_rows_read": 200,
        "n_features": 3, "roles": {}, "findings": [],
    },
    "split": {
        "protocol": "cv", "n_splits": 5, "n_repeats": 1, "test_size": None, "group": None,
        "split_seed": 0, "hash": "h",
    },
}  # fmt: skip
CORNERS = ["high income, high spending", "high income, low spending",
           "low income, high spending", "low income, low spending"]  # fmt: skip


@pytest.fixture
def corners() -> pd.DataFrame:
    return table()


def table() -> pd.DataFrame:
    """Fifty customers in each corner of income and spending; sex says nothing."""
    rng = np.random.default_rng(0)
    income = np.repeat([90.0, 90, 20, 20], 50) + rng.normal(size=200)
    spending = np.repeat([80.0, 10, 80, 10], 50) + rng.normal(size=200)
    return pd.DataFrame({"income": income, "spending": spending, "sex": ["f", "m"] * 100})


LABELS = np.repeat([0, 1, 2, 3], 50)


@pytest.fixture
def folder(tmp_path: Path, corners: pd.DataFrame, model: bytes) -> Path:
    """A run that found the four corners."""
    write(tmp_path, **MANIFEST)
    names = ["1", "2", "3", "4"]
    measured = {"silhouette": [0.6, 0.6, 0.6, 0.1], "jaccard": [0.9, 0.9, 0.5, 0.9],
                "stability": ["highly stable", "stable", "do not trust", "stable"]}  # fmt: skip
    profile(corners, LABELS, names).assign(**measured).to_csv(tmp_path / runs.SEGMENTS, index=False)
    ids = [f"c{i}" for i in range(200)]
    pd.DataFrame({"row": range(200), "id": ids, "segment": np.array(names)[LABELS]}).to_parquet(
        tmp_path / runs.CUSTOMERS
    )
    sample = corners.assign(row=range(200), id=ids)
    sample[["row", "id", "income", "spending", "sex"]].to_parquet(tmp_path / runs.SAMPLE)
    describe(tmp_path, [])
    (tmp_path / runs.PIPELINE).write_bytes(model)
    return tmp_path


@pytest.fixture(scope="module")
def model() -> bytes:
    """A clusterer of income and spending, which is not shown the sex."""
    pipeline = Pipeline(
        [
            ("columns", KeepColumns(["income", "spending"])),
            ("scaled", StandardScaler()),
            ("model", Segmenter(KMeans(4, n_init=5, random_state=0))),
        ]
    )
    return dump_pipeline(pipeline.fit(table()))


def describe(folder: Path, segments: list[str]) -> None:
    """Say of the columns what the model knows."""
    columns = {
        "income": {"role": "numeric"},
        "spending": {"role": "numeric"},
        "sex": {"role": "categorical", "levels": ["f", "m"]},
    }
    (folder / runs.MODEL_SCHEMA).parent.mkdir(exist_ok=True)
    content = {"columns": columns, "segments": segments, "id": "id"}
    (folder / runs.MODEL_SCHEMA).write_text(json.dumps(content))


def write(folder: Path, **manifest: Any) -> None:
    (folder / runs.MANIFEST).write_text(json.dumps(manifest))


def sections_of(folder: Path, names: dict[str, str] | None = None) -> list[Section]:
    return card_sections(Source.open(folder), names)


def cards_of(folder: Path, names: dict[str, str] | None = None) -> list[Card]:
    blocks = sections_of(folder, names)[0].blocks
    return [card for block in blocks if isinstance(block, Cards) for card in block.cards]


def texts(value: Any) -> Iterator[str]:
    """Everything that is said anywhere in blocks, cards or sections."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(texts, value.values()))
    elif isinstance(value, list | tuple):
        yield from itertools.chain.from_iterable(map(texts, value))
    elif hasattr(value, "__dataclass_fields__"):
        yield from itertools.chain.from_iterable(
            texts(getattr(value, name)) for name in value.__dataclass_fields__
        )


def said(value: Any) -> str:
    return "\n".join(texts(value))


def test_every_segment_has_a_card_with_its_name(folder: Path) -> None:
    assert [card.title for card in cards_of(folder)] == CORNERS
    assert [card.subtitle for card in cards_of(folder)][:2] == ["segment 1", "segment 2"]


def test_a_card_says_how_many_there_are(folder: Path) -> None:
    card = cards_of(folder)[0]
    assert card.share == 0.25 and card.facts[0] == ("customers", "50 (25.0%)")


def test_a_card_has_a_rule_that_can_be_copied(folder: Path) -> None:
    card = cards_of(folder)[3]
    codes = {block.language: block.text for block in card.blocks if isinstance(block, Code)}
    assert "Rule: income at most" in said(card)
    assert codes["sql"].startswith('"income" <= ') and "`income` <= " in codes["python"]


def test_the_action_follows_from_the_markers(folder: Path) -> None:
    cards = cards_of(folder)
    assert cards[0].words.startswith("Premium programme. ")
    assert cards[3].words.startswith("Budget campaigns. ")
    assert "income is low, spending is low" in cards[3].words


def known_by_name(folder: Path, corners: pd.DataFrame) -> None:
    names = ["Champions", "2", "3", "4"]
    shown = corners.rename(columns={"income": "frequency", "spending": "monetary"})
    profile(shown, np.roll(LABELS, 50), names).to_csv(folder / runs.SEGMENTS, index=False)


def test_advice_by_a_name_says_what_speaks_against_it(folder: Path, corners: pd.DataFrame) -> None:
    known_by_name(folder, corners)
    words = cards_of(folder)[0].words
    assert "The columns speak against this name" in words
    assert "its monetary is low." in words


def test_a_column_with_values_below_zero_is_drawn_in_standard_deviations(
    folder: Path, corners: pd.DataFrame
) -> None:
    moved = corners.assign(income=corners["income"] - 55)
    profile(moved, LABELS, ["1", "2", "3", "4"]).to_csv(folder / runs.SEGMENTS, index=False)
    bar = next(bar for bar in cards_of(folder)[0].bars if bar.label == "income")
    assert (bar.text, round(bar.value)) == ("+1.0 sd", 150)


def with_gaps(corners: pd.DataFrame) -> pd.DataFrame:
    """Of the first two segments, whose income is high, one customer in ten has one."""
    is_gap = (LABELS < 2) & (np.arange(200) % 10 > 0)
    return corners.assign(income=(corners["income"] - 55).mask(is_gap))


def test_the_mean_of_all_is_that_of_customers_with_a_value(
    folder: Path, corners: pd.DataFrame
) -> None:
    table = with_gaps(corners)
    profile(table, LABELS, ["1", "2", "3", "4"]).to_csv(folder / runs.SEGMENTS, index=False)
    shown = next(block for block in cards_of(folder)[0].blocks if isinstance(block, Table))
    row = next(row for row in shown.rows if getattr(row[0], "text", "") == "income")
    assert float(str(row[2])) == pytest.approx(table["income"].mean(), rel=0.01)


def test_what_few_of_a_segment_have_is_not_drawn(folder: Path, corners: pd.DataFrame) -> None:
    table = profile(with_gaps(corners), LABELS, ["1", "2", "3", "4"])
    table.to_csv(folder / runs.SEGMENTS, index=False)
    card = cards_of(folder)[0]
    assert "income" not in [bar.label for bar in card.bars]
    assert "income mostly not known" in card.tags


def test_typical_customers_lack_what_most_of_their_segment_lack(
    folder: Path, corners: pd.DataFrame
) -> None:
    sample = pd.read_parquet(folder / runs.SAMPLE).assign(income=with_gaps(corners)["income"])
    sample.to_parquet(folder / runs.SAMPLE)
    shown = [block for block in cards_of(folder)[0].blocks if isinstance(block, Table)][-1]
    assert {row[shown.columns.index("income")] for row in shown.rows} == {"–"}


def test_a_level_that_marks_a_segment_is_drawn(folder: Path, corners: pd.DataFrame) -> None:
    jobs = np.where(LABELS == 0, "Artist", "Doctor")
    table = profile(corners.assign(job=jobs), LABELS, ["1", "2", "3", "4"])
    table.to_csv(folder / runs.SEGMENTS, index=False)
    assert ("Artist", "400") in [(bar.label, bar.text) for bar in cards_of(folder)[0].bars]


def test_what_marks_most_segments_is_the_last_of_the_tags(
    folder: Path, corners: pd.DataFrame
) -> None:
    table = profile(corners, LABELS, ["1", "2", "3", "4"])
    marks = ["high income, low spending", "high income", "high income", ""]
    table.assign(markers=marks).to_csv(folder / runs.SEGMENTS, index=False)
    assert cards_of(folder)[0].tags[0] == "low spending"
    assert cards_of(folder)[0].tags[-1] == "high income"


def test_checks_say_in_what_scale_they_were_measured(folder: Path) -> None:
    words = said(cards_of(folder)[3].blocks)
    assert "of the columns after preprocessing=standard" in words
    assert "numbers in the table, not as the model sees them" in words


def test_typical_customers_are_the_nearest_to_the_centre(
    folder: Path, corners: pd.DataFrame
) -> None:
    table = [block for block in cards_of(folder)[0].blocks if isinstance(block, Table)][-1]
    own = corners.iloc[:50][["income", "spending"]]
    gaps = (own - own.mean()) / corners[["income", "spending"]].std(ddof=0)
    distance = (gaps**2).sum(axis=1) + (corners["sex"].iloc[:50] != "f")
    assert [row[0] for row in table.rows] == [f"c{i}" for i in distance.nsmallest(3).index]
    assert "of 50 customers of it in the sample of 200" in table.caption


def test_what_fails_is_said(folder: Path) -> None:
    (found,) = [
        block
        for child in sections_of(folder)[0].children
        for block in child.blocks
        if isinstance(block, Findings)
    ]
    messages = {check["code"]: check["message"] for check in found.checks}
    assert set(messages) == {"not_distinct", "not_stable"}
    assert "'low income, low spending' is not distinct" in messages["not_distinct"]
    assert "0.500 (do not trust)" in messages["not_stable"]


def test_a_small_segment_is_said_to_be_small(folder: Path, corners: pd.DataFrame) -> None:
    labels = np.where(np.arange(200) < 3, 0, LABELS)
    labels[3:50] = 1
    profile(corners, labels, list("1234")).to_csv(folder / runs.SEGMENTS, index=False)
    assert "not large enough: 3 customers, 1.5% of all; 30 and 2.0% are asked for" in said(
        sections_of(folder)
    )


def test_rules_have_a_fidelity_and_a_price(folder: Path) -> None:
    words = said(sections_of(folder)[0].children[0])
    assert "gives 100.0% of 200 customers their own segment (in-sample)" in words
    assert "100.0% of 200 customers who were held out in turn" in words
    assert "add up to 1.0000 times those of the segments" in words
    assert "CASE" in words and "THEN 'high income, high spending'" in words


def test_a_column_that_was_not_used_to_find_the_segments_is_said_apart(
    folder: Path, corners: pd.DataFrame
) -> None:
    women = corners.assign(sex=np.where(LABELS == 0, "f", "m"))
    profile(women, LABELS, list("1234")).to_csv(folder / runs.SEGMENTS, index=False)
    overview = next(block for block in sections_of(folder)[0].blocks if isinstance(block, Table))
    assert overview.rows[0][4] == (
        "high spending, high income; not used to find the segments: many sex f"
    )
    card = cards_of(folder)[0]
    assert card.tags == ["high spending", "high income"]
    own = next(block for block in card.blocks if isinstance(block, Table))
    assert {row[0].text: row[0].mark for row in own.rows}["sex=f"] == "not used"


def test_what_a_model_does_not_see_has_no_effect_on_what_it_gets(folder: Path) -> None:
    assert Source.open(folder).unused == {"sex"}
    (folder / runs.PIPELINE).unlink()
    assert Source.open(folder).unused == set()


def test_a_rare_value_that_the_model_sees_is_not_called_unused(folder: Path) -> None:
    flag = np.zeros(200)
    flag[[0, 1, 2, 199]] = [np.nan, 1.0, 1.0, np.nan]
    use_flag(folder, flag)
    assert Source.open(folder).unused == {"spending", "sex"}


def test_of_a_column_with_one_value_and_gaps_nothing_is_said(folder: Path) -> None:
    use_flag(folder, np.where(np.arange(200) % 9 == 0, np.nan, 1.0))
    assert Source.open(folder).unused == {"spending", "sex"}


def use_flag(folder: Path, flag: np.ndarray[Any, Any]) -> None:
    """Find the segments by income in coarse bins and by a flag, whose gaps are filled in."""
    sample = pd.read_parquet(folder / runs.SAMPLE).assign(flag=flag)
    sample.to_parquet(folder / runs.SAMPLE)
    schema = json.loads((folder / runs.MODEL_SCHEMA).read_text())
    schema["columns"]["flag"] = {"role": "numeric"}
    (folder / runs.MODEL_SCHEMA).write_text(json.dumps(schema))
    prepare = ColumnTransformer(
        [
            ("bins", KBinsDiscretizer(2, encode="ordinal", strategy="uniform"), ["income"]),
            ("filled", SimpleImputer(strategy="most_frequent"), ["flag"]),
        ]
    )
    pipeline = Pipeline([("prepare", prepare), ("model", Segmenter(KMeans(2, random_state=0)))])
    pipeline.fit(sample[["income", "spending", "sex", "flag"]])
    (folder / runs.PIPELINE).write_bytes(dump_pipeline(pipeline))


def test_a_number_whose_name_begins_like_an_unused_column_is_used(
    folder: Path, corners: pd.DataFrame
) -> None:
    other = corners.rename(columns={"income": "sex=f"}).drop(columns="sex")
    profile(other, LABELS, list("1234")).to_csv(folder / runs.SEGMENTS, index=False)
    own = next(block for block in cards_of(folder)[0].blocks if isinstance(block, Table))
    assert {row[0].text: row[0].mark for row in own.rows}["sex=f"] == ""


def test_rules_say_which_file_they_lack(folder: Path) -> None:
    (folder / runs.MODEL_SCHEMA).unlink()
    words = said(sections_of(folder)[0].children[0])
    assert "they are made from model/schema.json: the run has none" in words


def test_many_segments_have_cards_but_no_rules(folder: Path) -> None:
    many = [str(i) for i in range(101)]
    pd.DataFrame({"segment": many, "n": 2, "share": 1 / 101, "markers": ""}).to_csv(
        folder / runs.SEGMENTS, index=False
    )
    assert len(cards_of(folder)) == 101
    assert "there are 101 segments, and a small tree tells no more than 100 apart" in said(
        sections_of(folder)[0].children[0]
    )


def test_more_segments_than_anybody_reads_are_one_sentence(folder: Path) -> None:
    many = [str(i) for i in range(1001)]
    pd.DataFrame({"segment": many, "n": 1, "share": 0.001, "markers": ""}).to_csv(
        folder / runs.SEGMENTS, index=False
    )
    assert "it has 1,001 segments, more than the 1,000 that are shown" in said(sections_of(folder))


def test_users_names_are_shown_everywhere(folder: Path) -> None:
    name = "O'Neill's <b>\"best\"</b>"
    section = sections_of(folder, {"1": name})
    assert cards_of(folder, {"1": name})[0].title == name
    assert cards_of(folder, {"1": name})[0].subtitle == "segment 1: high spending, high income"
    assert "THEN 'O''Neill''s" in said(section)
    assert "<b>" not in render_page("t", section)


def test_a_name_of_no_segment_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no segment '11'.*did you mean '1'"):
        sections_of(folder, {"11": "x"})


def test_revenue_and_responses_are_facts(folder: Path) -> None:
    pd.DataFrame(
        {
            "segment": ["1"], "customers": [50], "share": [0.25], "orders": [100.0],
            "revenue": [5000.0], "revenue_share": [0.5], "median[recency]": [10.0],
            "median[frequency]": [2.0], "median[monetary]": [80.0],
        }
    ).to_csv(folder / runs.RFM, index=False)  # fmt: skip
    pd.DataFrame(
        {
            "outcome": "1", "segment": ["1", "all"], "customers": [50, 200], "responders": [20, 30],
            "rate": [0.4, 0.15], "low": [0.28, 0.1], "high": [0.54, 0.2], "lift": [2.67, 1.0],
            "q_value": [0.01, np.nan],
        }
    ).to_csv(folder / runs.RESPONSES, index=False)  # fmt: skip
    facts = dict(cards_of(folder)[0].facts)
    assert facts["of the revenue"] == "50.0%"
    assert facts["outcome 1"] == "40.0% (28.0% to 54.0%), 2.67 times that of all"


@pytest.mark.parametrize("name", [runs.SAMPLE, runs.CUSTOMERS])
def test_what_is_missing_is_said(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert [card.title for card in cards_of(folder)] == CORNERS
    assert "the run has none" in said(sections_of(folder)) or name == runs.CUSTOMERS
    assert render_page("t", sections_of(folder))


def test_without_a_profile_there_are_no_cards(folder: Path) -> None:
    (folder / runs.SEGMENTS).unlink()
    (section,) = sections_of(folder)
    assert section.blocks == [Text("There are no cards of segments: the run has none.", "note")]


def damage_schema(folder: Path) -> None:
    (folder / runs.MODEL_SCHEMA).write_text('{"columns": {"income": 1}}')


def damage_sample(folder: Path) -> None:
    pd.DataFrame({"row": ["x"] * 5, "id": 1, "income": ["?"] * 5}).to_parquet(folder / runs.SAMPLE)


def damage_customers(folder: Path) -> None:
    pd.DataFrame({"row": [-1] * 5, "segment": [None] * 5}).to_parquet(folder / runs.CUSTOMERS)


@pytest.mark.parametrize("damage", [damage_schema, damage_sample, damage_customers])
def test_damaged_files_leave_the_cards(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    assert [card.title for card in cards_of(folder)] == CORNERS
    assert render_page("t", sections_of(folder))


def test_the_same_run_gives_the_same_page(folder: Path) -> None:
    assert render_page("t", sections_of(folder)) == render_page("t", sections_of(folder))


@pytest.fixture
def known(folder: Path, corners: pd.DataFrame) -> Path:
    """A run that predicts the four corners, which have names of their own."""
    names = list("ABCD")
    write(folder, **{**MANIFEST, "task": "classification", "segments": dict.fromkeys(names, 50)})
    profile(corners, LABELS, names).to_csv(folder / runs.SEGMENTS, index=False)
    (folder / runs.CUSTOMERS).unlink()
    truth = np.array(names)[LABELS]
    pd.read_parquet(folder / runs.SAMPLE).assign(target=truth).to_parquet(folder / runs.SAMPLE)
    describe(folder, names)
    predicted = np.where(np.arange(200) % 50 < 40, truth, "A")
    pd.DataFrame(
        {"row": range(200), "id": "x", "repeat": 0, "fold": 0, "true": truth,
         "predicted": predicted, "probability[B]": np.linspace(0, 1, 200)}
    ).to_parquet(folder / runs.PREDICTIONS)  # fmt: skip
    entry = {"mean": 0.2, "std": 0.1, "interval": None, "n": 5}
    (folder / runs.SUMMARY).write_text(json.dumps({"recall[B]": entry}))
    return folder


def test_known_segments_keep_their_names(known: Path) -> None:
    assert [card.title for card in cards_of(known)] == list("ABCD")
    assert cards_of(known)[0].subtitle == "high spending, high income"


def test_typical_of_a_known_segment_is_who_was_most_certainly_right(known: Path) -> None:
    table = [block for block in cards_of(known)[1].blocks if isinstance(block, Table)][-1]
    assert [row[0] for row in table.rows] == ["c89", "c88", "c87"]
    assert "when they were held out" in table.caption


def test_a_known_segment_that_is_not_recognised_is_said(known: Path) -> None:
    assert ("found by the model", "20% of them (held out)") in cards_of(known)[1].facts
    assert "'B' is not recognised" in said(sections_of(known))


def test_value_and_risk_have_cards(tmp_path: Path) -> None:
    write(tmp_path, **{**MANIFEST, "task": "value", "metric": "clv"})
    pd.DataFrame(
        {
            "segment": ["high value, at risk", "low value, active"],
            "value": ["high value", "low value"], "risk": ["at risk", "active"],
            "n": [60, 0], "share": [1.0, 0.0], "clv": [10.0, 0], "clv_share": [1.0, 0],
            "clv_at_stake": [5.0, 0], "probability_alive": [0.5, np.nan],
        }
    ).to_csv(tmp_path / runs.VALUE_MATRIX, index=False)  # fmt: skip
    (card,) = cards_of(tmp_path)
    assert card.title == "high value, at risk" and card.words.startswith("Win them back first.")
    assert ("at stake", "5") in card.facts


def test_baskets_have_no_segments(tmp_path: Path) -> None:
    write(tmp_path, **{**MANIFEST, "task": "baskets"})
    assert sections_of(tmp_path) == []

from __future__ import annotations

from pathlib import Path

import pytest

from segexp.actions import RISKS, VALUES, Catalogue, SegmentFacts, load_actions
from segexp.config.options import shipped_conf
from segexp.errors import ConfigError
from segexp.rfm import MAPS
from segexp.value.judging import ALIVE_NAMES, VALUE_NAMES


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_actions([shipped_conf()])


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "actions.yaml").write_text(text, "utf-8")
    return folder


INCOME, SPENDING = "Annual Income (k$)", "Spending Score (1-100)"


@pytest.mark.parametrize(
    ("income", "spending", "title"),
    [
        ("high", "high", "Premium programme"),
        ("low", "low", "Budget campaigns"),
        ("high", "low", "Find what they miss"),
        ("average", "average", "Move a part of them up"),
    ],
)
def test_markers_lead_to_an_action(
    shipped: Catalogue, income: str, spending: str, title: str
) -> None:
    found = shipped.choose(SegmentFacts(levels={INCOME: income, SPENDING: spending}))
    assert found.title == title
    assert found.because == f"income is {income}, spending is {spending}"


def test_what_is_rather_low_is_not_called_average(shipped: Catalogue) -> None:
    found = shipped.choose(SegmentFacts(levels={INCOME: "rather low", SPENDING: "average"}))
    assert (found.title, found.because) == ("Offer value for money", "income is rather low")


def test_columns_that_speak_against_a_name_are_said(shipped: Catalogue) -> None:
    levels = {"monetary": "low", "frequency": "rather low", "recency": "average"}
    found = shipped.choose(SegmentFacts(("Loyal Customers",), levels))
    assert found.title == "Grow the basket"
    assert found.against == "frequency is rather low and monetary is low"


def test_columns_that_bear_a_name_out_are_not_said(shipped: Catalogue) -> None:
    levels = {"monetary": "high", "frequency": "rather high", "recency": "low"}
    assert shipped.choose(SegmentFacts(("Champions",), levels)).against == ""


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("{incom: high}", "expect.incom is no concept.*did you mean 'income'"),
        ("{response: high}", "expect.response is no concept"),
        ("{income: huge}", "expect.income must be one of high, average, low, got 'huge'"),
        ("high", "expect must map concepts to levels"),
    ],
)
def test_a_mistake_in_what_is_expected_is_one_line(tmp_path: Path, expect: str, words: str) -> None:
    text = f"rules: [{{when: {{segment: A}}, expect: {expect}, title: t, do: try}}]"
    with pytest.raises(ConfigError, match=words):
        load_actions([write(tmp_path, text), shipped_conf()])


def test_every_rfm_segment_has_an_action(shipped: Catalogue) -> None:
    for names in MAPS.values():
        for name in names:
            assert shipped.choose(SegmentFacts(names=(name,))) != shipped.default


def test_at_risk_is_won_back(shipped: Catalogue) -> None:
    assert shipped.choose(SegmentFacts(names=("At Risk",))).title == "Win them back"


def test_the_names_of_value_and_risk_are_those_of_the_value_model() -> None:
    assert set(VALUES) == set(VALUE_NAMES) and set(RISKS) == set(ALIVE_NAMES)


def test_every_cell_of_value_and_risk_has_an_action(shipped: Catalogue) -> None:
    for value in VALUES:
        for risk in RISKS:
            assert shipped.choose(SegmentFacts(value=value, risk=risk)) != shipped.default


def test_nothing_that_fits_is_the_default(shipped: Catalogue) -> None:
    assert shipped.choose(SegmentFacts(levels={"Var_1": "high"})) == shipped.default


def test_every_shipped_text_is_hedged(shipped: Catalogue) -> None:
    for rule in shipped.rules:
        assert {"try", "test", "look"} & set(rule.do.lower().split()), rule.do


@pytest.mark.parametrize(
    ("column", "concept"),
    [
        ("salary_2023", "income"),
        ("MntWines", "spending"),
        ("NumWebPurchases", "online"),
        ("Recency", "recency"),
        ("Customer_Age", "age"),
    ],
)
def test_a_column_stands_for_a_concept(shipped: Catalogue, column: str, concept: str) -> None:
    assert shipped._known(SegmentFacts(levels={column: "high"}))[concept] == "high"


def test_a_word_that_only_begins_alike_is_no_concept(shipped: Catalogue) -> None:
    assert "age" not in shipped._known(SegmentFacts(levels={"agency": "high"}))


def test_the_strongest_marker_of_a_concept_decides(shipped: Catalogue) -> None:
    levels = {"MntWines": "low", "MntFish": "high", "MntMeat": "average"}
    assert shipped._known(SegmentFacts(levels=levels))["spending"] == "low"


def test_a_users_rules_come_first(tmp_path: Path) -> None:
    mine = write(
        tmp_path / "conf",
        "concepts: {income: [wealth]}\n"
        "rules:\n- when: {income: high}\n  title: Ours\n  do: Try ours.\n",
    )
    both = load_actions([mine, shipped_conf()])
    levels = {"wealth": "high", SPENDING: "high"}
    assert both.choose(SegmentFacts(levels=levels)).title == "Ours"
    assert both.choose(SegmentFacts(levels={SPENDING: "low", INCOME: "low"})).title == (
        "Budget campaigns"
    )


RULE = "rules:\n- {when: {%s}, title: T, do: D}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule: []", "no section 'rule'; did you mean 'rules'"),
        (RULE % "incom: high", "rule 1: when.incom is no concept; did you mean 'income'"),
        (RULE % "income: hgih", "one of high, average, low, got 'hgih'; did you mean 'high'"),
        (RULE % "value: big", "one of high value, middle value, low value"),
        (RULE % "income: []", "names no answer"),
        (RULE % "", "one condition or more"),
        ("rules: {a: 1}", "rules must be a list"),
        ("rules: [1]", "rule 1 must hold when, title, do"),
        ("rules:\n- {when: {income: low}, titel: T, do: D}", "unknown key 'titel'; did you mean"),
        ("rules:\n- {when: {income: low}, title: T}", "rule 1 lacks do"),
        ("rules:\n- {when: {income: low}, title: 3, do: D}", "title must be a text, got 3"),
        ("concepts: {income: []}", "must list words of column names"),
        ("concepts: {segment: [a]}", "meaning of its own"),
        ("concepts: [a]", "must map a concept"),
        ("default: {title: T}", "default lacks do"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    folder = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_actions([folder, shipped_conf()])
    assert words in str(error.value) and "\n" not in str(error.value)
    assert "actions.yaml" in str(error.value)


def test_there_must_be_a_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="default"):
        load_actions([tmp_path])

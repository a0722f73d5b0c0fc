"""Scores that can be counted on the fingers, maps of a few cells, customers with a story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_checks

from segexp.clustering.segmenter import Segmenter
from segexp.components import build_pipeline
from segexp.config.compose import load_config
from segexp.errors import ConfigError, DataError
from segexp.features import RoleColumns
from segexp.figures.rfm import _compact, score_heatmaps, segment_bars
from segexp.rfm import (
    MAPS,
    ROLES,
    SCORES,
    SMALL,
    TEN,
    LogRFM,
    RFMScorer,
    RFMSegments,
    check_map,
)
from segexp.rfm_lists import at_risk, high_value, minimum_data, rfm_table
from segexp.saved_model import TRUSTED

CONF = Path(__file__).resolve().parents[1] / "conf"
OWN_TYPES = ["segexp.rfm.LogRFM", "segexp.rfm.RFMScorer", "segexp.rfm.RFMSegments"]


def made_up(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Customers of whom a third bought once, with a name that is no feature of RFM."""
    rng = np.random.default_rng(seed)
    frequency = np.where(rng.random(n) < 0.34, 1, 1 + rng.geometric(0.3, n))
    return pd.DataFrame(
        {
            "tenure": rng.uniform(0, 400, n),
            "recency": rng.integers(0, 300, n).astype(float),
            "frequency": frequency.astype(float),
            "monetary": np.round(frequency * rng.lognormal(3, 1, n), 2),
        },
        index=pd.RangeIndex(1000, 1000 + n),
    )


CUSTOMERS = made_up()
ONLY = {role: {other: None for other in ROLES if other != role} for role in ROLES}  # of one column


def scores(values: list[float], role: str = "frequency", **parameters: Any) -> list[float]:
    scorer = RFMScorer(**ONLY[role], **parameters)
    return scorer.fit_transform(pd.DataFrame({role: np.array(values, float)})).iloc[:, 0].tolist()


# ---- what every estimator keeps ----------------------------------------------------------------

ESTIMATORS = [
    RFMScorer(),
    RFMScorer(method="nested", n_scores=3, weights={"recency": 2.0, "monetary": 1.0}),
    RFMScorer(method="values", n_scores=2, cuts={role: [30.0] for role in ROLES}),
    RFMScorer(method="r_rfm", monetary=None),
    LogRFM(),
]
every_transformer = pytest.mark.parametrize("transformer", ESTIMATORS, ids=str)


@pytest.mark.parametrize(
    "name",
    [
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_get_params_invariance",
        "check_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_mixin_order",
    ],
)
@pytest.mark.parametrize("estimator", [RFMScorer(), LogRFM(), RFMSegments()], ids=str)
def test_checks_of_scikit_learn_that_need_no_array(name: str, estimator: BaseEstimator) -> None:
    check = getattr(estimator_checks, name)
    check(type(estimator).__name__, estimator)


@every_transformer
def test_names_index_and_the_given_table_are_kept(transformer: BaseEstimator) -> None:
    before = CUSTOMERS.copy()
    fitted = clone(transformer).fit(CUSTOMERS)
    found = fitted.transform(CUSTOMERS)
    assert list(found) == list(fitted.get_feature_names_out())
    assert found.index.equals(CUSTOMERS.index)
    assert set(found.dtypes) == {np.dtype(float)}
    assert_frame_equal(CUSTOMERS, before)


@every_transformer
def test_a_row_is_transformed_by_itself(transformer: BaseEstimator) -> None:
    fitted = clone(transformer).fit(CUSTOMERS.iloc[:200])
    new = CUSTOMERS.iloc[200:]
    together = fitted.transform(new)
    for i in range(0, len(new), 7):
        assert_frame_equal(fitted.transform(new.iloc[[i]]), together.iloc[[i]])


@every_transformer
def test_the_order_of_the_rows_changes_nothing(transformer: BaseEstimator) -> None:
    shuffled = CUSTOMERS.sample(frac=1, random_state=1)
    found = clone(transformer).fit_transform(shuffled)
    assert_frame_equal(found.sort_index(), clone(transformer).fit_transform(CUSTOMERS))


@every_transformer
def test_a_saved_transformer_gives_the_same(transformer: BaseEstimator) -> None:
    content = skops.io.dumps(clone(transformer).fit(CUSTOMERS))
    assert set(skops.io.get_untrusted_types(data=content)) <= {*OWN_TYPES, *TRUSTED}
    loaded = skops.io.loads(content, trusted=[*OWN_TYPES, *TRUSTED])
    assert_frame_equal(loaded.transform(CUSTOMERS), clone(transformer).fit_transform(CUSTOMERS))


@every_transformer
def test_transform_before_fit_is_refused(transformer: BaseEstimator) -> None:
    with pytest.raises(NotFittedError):
        clone(transformer).transform(CUSTOMERS)


@every_transformer
def test_an_array_is_refused(transformer: BaseEstimator) -> None:
    with pytest.raises(ConfigError, match="needs a pandas DataFrame, got ndarray"):
        clone(transformer).fit(CUSTOMERS.to_numpy())


@pytest.mark.parametrize("transformer", [RFMScorer(), LogRFM()], ids=str)
@pytest.mark.parametrize("cell", [np.nan, np.inf])
def test_an_unknown_number_is_an_error(transformer: BaseEstimator, cell: float) -> None:
    gap = CUSTOMERS.copy()
    gap.loc[1003, "frequency"] = cell
    with pytest.raises(DataError, match=r"'frequency' has 1 missing or infinite cells of 300"):
        clone(transformer).fit(gap)
    with pytest.raises(DataError, match="'frequency' has 1 missing"):
        clone(transformer).fit(CUSTOMERS).transform(gap)


def test_text_is_no_number() -> None:
    with pytest.raises(DataError, match=r"'recency' is .*: recency must be a number"):
        RFMScorer().fit(CUSTOMERS.astype({"recency": "str"}))


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'spent' for monetary, .*did you mean 'spend'"):
        RFMScorer(monetary="spent").fit(CUSTOMERS.rename(columns={"monetary": "spend"}))


def test_columns_may_have_other_names() -> None:
    renamed = CUSTOMERS.rename(columns={"monetary": "spend"})
    assert_frame_equal(
        RFMScorer(monetary="spend").fit_transform(renamed), RFMScorer().fit_transform(CUSTOMERS)
    )


@every_transformer
def test_a_table_without_customers_is_refused(transformer: BaseEstimator) -> None:
    with pytest.raises(DataError, match="the table has no row"):
        clone(transformer).fit(CUSTOMERS.iloc[:0])


def test_without_any_column_there_is_nothing_to_score() -> None:
    with pytest.raises(ConfigError, match="has no column"):
        RFMScorer(None, None, None).fit(CUSTOMERS)


# ---- scores ------------------------------------------------------------------------------------


def test_ten_different_values_are_two_of_each_score() -> None:
    assert scores([*range(1, 11)]) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_few_days_are_the_best_recency() -> None:
    assert scores([*range(10)], "recency") == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]


def test_a_frequent_worst_value_has_score_1_and_the_best_has_5() -> None:
    # 20, 40, 60 and 80% are 1, 1, 2 and 3: two edges coincide, and score 2 is skipped.
    assert scores([1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 9]) == [1] * 6 + [3, 3, 4, 4, 5]


def test_a_frequent_best_value_still_has_the_best_score() -> None:
    assert scores([1, 2, *[3] * 8]) == [1, 1] + [5] * 8
    assert scores([*[0] * 8, 50, 90], "recency") == [5] * 8 + [1, 1]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("n_rare", [1, 49, 51, 99])
def test_of_two_values_one_is_worst_and_one_is_best(role: str, n_rare: int) -> None:
    found = scores([1] * n_rare + [2] * (100 - n_rare), role)
    low, high = (5, 1) if role == "recency" else (1, 5)
    assert found == [low] * n_rare + [high] * (100 - n_rare)


def test_of_one_value_everybody_has_score_1() -> None:
    assert scores([4, 4, 4]) == [1, 1, 1]
    assert scores([4, 4, 4], "recency") == [1, 1, 1]


@pytest.mark.parametrize("method", ["quantiles", "r_rfm"])
@pytest.mark.parametrize("role", ROLES)
def test_equal_values_have_equal_scores_in_the_order_of_the_values(role: str, method: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        values = rng.choice(rng.integers(0, 40, 12), 60, p=rng.dirichlet(np.full(12, 0.5)))
        found = pd.Series(scores(values.tolist(), role, method=method)).groupby(values)
        assert (found.nunique() == 1).all()
        assert np.all(
            np.diff(found.first()) <= 0 if role == "recency" else np.diff(found.first()) >= 0
        )


def test_scores_that_nobody_has_are_recorded() -> None:
    scorer = RFMScorer(**ONLY["frequency"]).fit(pd.DataFrame({"frequency": [1.0] * 9 + [7.0]}))
    assert scorer.empty_scores_ == {"frequency": (2, 3, 4)}
    assert scorer.notes_ == (
        "nobody has frequency scores 2, 3, 4: equal values have equal scores, and 9 of 10 "
        "customers have frequency 1",
    )


def test_a_column_may_be_left_out() -> None:
    found = RFMScorer(recency=None).fit_transform(CUSTOMERS)
    assert list(found) == ["frequency_score", "monetary_score"]


def test_a_new_customer_is_scored_by_the_edges_that_were_learned() -> None:
    scorer = RFMScorer(**ONLY["frequency"]).fit(pd.DataFrame({"frequency": np.arange(1.0, 11)}))
    assert_allclose(scorer.edges_["frequency"], [2.8, 4.6, 6.4, 8.2])
    new = pd.DataFrame({"frequency": [0.0, 4.5, 4.7, 1000.0]})
    assert scorer.transform(new).iloc[:, 0].tolist() == [1, 2, 3, 5]


@pytest.mark.parametrize("n_scores", [2, 3, 5, 7, 10])
def test_a_value_on_an_edge_is_never_missed_by_rounding(n_scores: int) -> None:
    # n * m + 1 values: every m-th is an edge, and belongs to the score below.
    for m in range(1, 40):
        values = 0.1 * np.arange(n_scores * m + 1)
        found = scores(values.tolist(), n_scores=n_scores)
        expected = 1 + np.maximum(0, (np.arange(len(values)) - 1) // m)
        assert found == expected.tolist()


def test_value_cuts_give_the_better_score_to_who_is_on_them() -> None:
    cuts = {"recency": [30, 90], "frequency": [2, 5]}
    scorer = RFMScorer(monetary=None, n_scores=3, method="values", cuts=cuts)
    table = pd.DataFrame({"recency": [30, 31, 90, 91], "frequency": [1, 2, 4, 5]})
    assert scorer.fit_transform(table).to_numpy().T.tolist() == [[3, 2, 2, 1], [1, 2, 2, 3]]


def test_percentile_cuts_count_from_the_worst() -> None:
    parameters = {"n_scores": 3, "method": "percentiles"}
    days = [*range(100)]
    found = scores(days, "recency", cuts={"recency": [50, 95]}, **parameters)
    assert [found.count(score) for score in (1, 2, 3)] == [50, 45, 5]
    assert found[0] == 3


def test_even_percentiles_are_quantiles() -> None:
    cuts = {role: [20, 40, 60, 80] for role in ROLES}
    assert_frame_equal(
        RFMScorer(method="percentiles", cuts=cuts).fit_transform(CUSTOMERS),
        RFMScorer().fit_transform(CUSTOMERS),
    )


def test_the_edges_of_r_are_quantiles_plus_one_and_half_open() -> None:
    # Quantiles of 1 to 11 are 3, 5, 7 and 9; with the 1 that is added, 4 is on an edge.
    values = [*range(1, 12)]
    assert scores(values, method="r_rfm") == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert scores(values, "recency", method="r_rfm") == [5, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]


def test_nested_scores_start_anew_in_each_cell() -> None:
    table = pd.DataFrame(
        {
            "recency": [9.0] * 4 + [1.0] * 4,
            "frequency": [1.0, 1, 2, 2, 7, 7, 8, 8],
            "monetary": [5.0, 6, 5, 6, 50, 60, 70, 80],
        }
    )
    scorer = RFMScorer(method="nested", n_scores=2)
    assert scorer.fit_transform(table).to_numpy().tolist() == [
        [1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2], [2, 1, 1], [2, 1, 2], [2, 2, 1], [2, 2, 2],
    ]  # fmt: skip
    assert {role: edges.shape for role, edges in scorer.edges_.items()} == {
        "recency": (1,), "frequency": (2, 1), "monetary": (2, 2, 1),
    }  # fmt: skip


def test_a_nested_cell_that_nobody_was_in_has_the_edges_around_it() -> None:
    table = pd.DataFrame(
        {
            "recency": [9.0, 9, 9, 9, 1, 1, 1, 1],
            "frequency": [1.0, 1, 1, 1, 7, 7, 8, 8],
            "monetary": [10.0, 20, 30, 40, 1, 2, 3, 4],
        }
    )
    scorer = RFMScorer(method="nested", n_scores=2).fit(table)
    # Nobody who bought long ago has frequency score 2; all of them bought once.
    assert scorer.edges_["monetary"][0, 1].tolist() == [25]
    new = pd.DataFrame({"recency": [9.0, 9], "frequency": [5.0, 5], "monetary": [25.0, 26]})
    assert scorer.transform(new).to_numpy().tolist() == [[1, 2, 1], [1, 2, 2]]


def test_weights_make_a_mean() -> None:
    scorer = RFMScorer(weights={"recency": 3, "monetary": 1})
    found = scorer.fit_transform(CUSTOMERS)
    by_hand = (3 * found["recency_score"] + found["monetary_score"]) / 4
    assert np.allclose(found["rfm_score"], by_hand)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_scores": 1}, "n_scores of 2 or more, got 1"),
        ({"n_scores": 2.5}, "n_scores of 2 or more, got 2.5"),
        ({"method": "quantile"}, "no method 'quantile'.*did you mean 'quantiles'"),
        ({"cuts": {"recency": [1]}}, "cuts are for method values or percentiles, not quantiles"),
        ({"method": "values"}, r"needs 4 ascending numbers in cuts\.recency, got None"),
        (
            {"method": "values", "n_scores": 3, "cuts": {role: [2, 1] for role in ROLES}},
            r"needs 2 ascending numbers in cuts\.recency, got \[2, 1\]",
        ),
        (
            {"method": "percentiles", "n_scores": 2, "cuts": {role: [100] for role in ROLES}},
            "percent between 0 and 100",
        ),
        ({"method": "values", "cuts": [1, 2]}, "cuts maps recency, frequency, monetary"),
        ({"method": "values", "cuts": {"money": [1]}}, r"cuts\.money is no column"),
        ({"weights": {"recensy": 1}}, r"weights\.recensy .*did you mean 'recency'"),
        ({"weights": {"recency": 0}}, "one of them above 0"),
        ({"weights": {"recency": "much"}}, "weights of 0 or more"),
        ({"recency": None, "weights": {"recency": 1}}, r"weights\.recency is no column"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RFMScorer(**parameters).fit(CUSTOMERS)


def test_logarithms_keep_the_order_of_amounts_below_zero() -> None:
    table = pd.DataFrame({"monetary": [-100.0, -1, 0, 1, 100]})
    found = LogRFM(**ONLY["monetary"]).fit_transform(table)["log_monetary"]
    assert found.is_monotonic_increasing
    assert found.iloc[3] == pytest.approx(np.log(2))


# ---- maps --------------------------------------------------------------------------------------

ALL = np.array([(r, f, m) for r in range(1, 6) for f in range(1, 6) for m in range(1, 6)], float)


def by_hand(rules: dict[str, Any], scores: np.ndarray) -> list[str]:
    def matches(rule: dict[str, Any], row: np.ndarray) -> bool:
        bounds = [rule.get(role, [1, 5]) for role in ROLES]
        return all(low <= s <= high for (low, high), s in zip(bounds, row, strict=True))

    return [
        next((n for n, rule in rules.items() if matches(rule, row)), "Others") for row in scores
    ]


@pytest.mark.parametrize("name", MAPS)
def test_every_combination_has_the_first_rule_that_matches(name: str) -> None:
    segments = RFMSegments(name).fit(ALL)
    found = [segments.segment_names_[label] for label in segments.labels_]
    assert found == by_hand(MAPS[name], ALL)
    assert_array_equal(segments.predict(ALL), segments.labels_)


def test_ten_leaves_ten_combinations_to_others() -> None:
    found = check_map("ten")
    assert found.names == (*TEN, "Others")
    assert found.n_unmatched == by_hand(TEN, ALL).count("Others") == 10
    assert found.unmatched == ("R 2, F 1, M 5", "R 2-5, F 4-5, M 1", "R 2, F 5, M 2")
    assert ("Potential Loyalist", "Champions", 1) in found.overlaps


def test_small_is_complete_and_does_not_overlap() -> None:
    found = check_map("small")
    assert found.names == tuple(SMALL)
    assert found.notes == ()


def test_a_rule_with_nothing_left_is_an_error() -> None:
    rules = {
        "Old": {"recency": [1, 3]}, "New": {"recency": [4, 5]}, "Best": {"monetary": [5, 5]},
    }  # fmt: skip
    with pytest.raises(ConfigError, match="'Best' matches nobody: 'Old', 'New' before it match"):
        check_map(rules)


def test_a_rule_that_loses_a_part_is_noted() -> None:
    rules = {"Old": {"recency": [1, 3]}, "Best": {"monetary": [5, 5]}, "Rest": {}}
    found = check_map(rules)
    assert found.n_unmatched == 0
    assert found.notes[0] == "'Best' leaves combinations to rules before it: 15 to 'Old'"


def test_the_order_of_the_rules_decides() -> None:
    rules = {"Old": {"recency": [1, 3]}, "Big": {"monetary": [5, 5]}, "Rest": {}}
    turned = {name: rules[name] for name in ("Big", "Old", "Rest")}
    both = [RFMSegments(each).fit([[1, 1, 5]]) for each in (rules, turned)]
    assert [each.segment_names_[each.labels_[0]] for each in both] == ["Old", "Big"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("tin", "no RFM map 'tin'; there is ten, small; did you mean 'ten'"),
        ({}, "RFM rules map a name to scores"),
        (["Champions"], "RFM rules map a name to scores"),
        ({"A": [5, 5]}, r"rule 'A' maps recency, frequency, monetary to \[low, high\]"),
        ({"A": {"recensy": [1, 2]}}, "'A': no 'recensy'.*did you mean 'recency'"),
        ({"A": {"recency": 5}}, r"'A': recency needs \[low, high\] in whole numbers, got 5"),
        ({"A": {"recency": [1, 2.5]}}, "in whole numbers"),
        ({"A": {"recency": [3, 1]}}, r"1 <= low <= high <= 5, got \[3, 1\]"),
        ({"A": {"recency": [0, 1]}}, r"1 <= low <= high <= 5, got \[0, 1\]"),
        ({"A": {"monetary": [5, 6]}}, r"'A': monetary needs 1 <= low <= high <= 5"),
        ({"Others": {"monetary": [5, 5]}}, "'Others' is the name of what no RFM rule matches"),
    ],
)
def test_a_wrong_rule_is_named(rules: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RFMSegments(rules).fit(ALL)


def test_a_shipped_map_is_for_five_scores() -> None:
    with pytest.raises(ConfigError, match="'ten' is written for 5 scores, and there are 3"):
        RFMSegments(n_scores=3).fit(ALL)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[0.3, 1, 1]], "whole scores from 1 to 5 .*, got 0.3; say preprocessing=rfm_scores"),
        ([[1, 6, 1]], "got 6"),
        ([[1, 1]], "3 columns, got 2"),
    ],
)
def test_what_is_no_score_is_refused(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RFMSegments().fit(X)


def test_columns_of_a_table_are_found_by_their_names() -> None:
    table = pd.DataFrame([[1.0, 5, 2.5, 5]], columns=[SCORES[2], SCORES[0], "rfm_score", SCORES[1]])
    segments = RFMSegments("small").fit(table)
    assert segments.segment_names_[segments.labels_[0]] == "Champions"


# ---- within segexp -----------------------------------------------------------------------------


def test_a_segmenter_gives_named_segments_to_new_customers() -> None:
    scorer = RFMScorer().fit(CUSTOMERS)
    Z, new = (scorer.transform(table).to_numpy() for table in (CUSTOMERS, made_up(seed=1)))
    segmenter = Segmenter(RFMSegments(), assignment="native").fit(Z)
    own = RFMSegments().fit(Z)
    assert segmenter.n_segments_ == len(np.unique(own.labels_))
    assert np.all(np.diff(segmenter.sizes_) <= 0)
    assert segmenter.agreement_ == 1
    first = {segment: own.labels_[segmenter.labels_ == segment] for segment in range(11)}
    own_label = np.array([labels[0] for labels in first.values() if len(labels)])
    assert_array_equal(own_label[segmenter.labels_], own.labels_)
    found, expected = segmenter.predict(new), own.predict(new)
    # Nobody may have been in a segment that a new customer belongs to.
    assert_array_equal(own_label[found[found >= 0]], expected[found >= 0])
    assert set(expected[found < 0]).isdisjoint(own_label)


@pytest.mark.parametrize(
    "words",
    [
        ["preprocessing=rfm_scores", "model=rfm_segments"],
        ["preprocessing=rfm_scores", "model=rfm_segments", "model.estimator.rules=small"],
        ["preprocessing=rfm_scores", "model=kmeans"],
        ["preprocessing=rfm", "model=kmeans"],
    ],
    ids=" ".join,
)
def test_the_shipped_files_make_a_pipeline_that_works(words: list[str]) -> None:
    config = load_config(["dataset=mall", *words], [CONF])
    assert config.evaluation.name == ("rfm" if "model=rfm_segments" in words else "clustering")
    pipeline = build_pipeline(config).fit(CUSTOMERS)
    labels = pipeline.named_steps["model"].labels_
    assert_array_equal(pipeline.predict(CUSTOMERS), labels)
    assert len(np.unique(labels)) >= 5
    content = skops.io.dumps(pipeline)
    assert set(skops.io.get_untrusted_types(data=content)) <= {*OWN_TYPES, *TRUSTED}
    loaded = skops.io.loads(content, trusted=[*OWN_TYPES, *TRUSTED])
    assert_array_equal(loaded.predict(CUSTOMERS), labels)


def test_a_map_of_ones_own_comes_from_the_command_line_in_its_order() -> None:
    rules = "model.estimator.rules={Zeta: {recency: [1, 2]}, Alpha: {frequency: [4, 5]}}"
    words = ["dataset=mall", "preprocessing=rfm_scores", "model=rfm_segments", rules]
    pipeline = build_pipeline(load_config(words, [CONF])).fit(CUSTOMERS)
    clusterer = pipeline.named_steps["model"].clusterer_
    assert clusterer.segment_names_ == ["Zeta", "Alpha", "Others"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.estimator.rules=tin", "no RFM map 'tin'"),
        ("preprocessing.table.scores.method=nest", "no method 'nest'.*did you mean 'nested'"),
    ],
)
def test_a_wrong_setting_is_found_before_a_table_is_loaded(word: str, message: str) -> None:
    words = ["dataset=mall", "preprocessing=rfm_scores", "model=rfm_segments", word]
    with pytest.raises(ConfigError, match=message):
        build_pipeline(load_config(words, [CONF]))


def test_the_model_knows_how_far_the_scores_of_the_preprocessing_go() -> None:
    words = [
        "dataset=mall",
        "model=rfm_segments",
        "model.estimator.rules={Best: {monetary: [3, 3]}}",
    ]
    scores = ["preprocessing=rfm_scores", "preprocessing.table.scores.n_scores=3"]
    assert load_config([*words, *scores], [CONF]).model.estimator["n_scores"] == 3
    assert load_config([*words, "preprocessing=minimal"], [CONF]).model.estimator["n_scores"] == 5


def test_the_evaluation_is_that_of_clustering_but_for_its_constraints() -> None:
    rfm, clustering = (
        yaml.safe_load((CONF / "evaluation" / f"{name}.yaml").read_text("utf-8"))
        for name in ("rfm", "clustering")
    )
    assert rfm.pop("constraints") == {"n_segments": {"max": 30}, "smallest_share": {"min": 0}}
    assert {**rfm, "name": "clustering"} == clustering


def test_scores_pass_the_steps_of_their_role_in_their_order() -> None:
    steps = [("table", RFMScorer()), ("columns", ColumnTransformer([
        ("numeric", "passthrough", RoleColumns("numeric")),
    ]))]  # fmt: skip
    found = Pipeline(steps).fit_transform(CUSTOMERS)
    assert_array_equal(found, RFMScorer().fit_transform(CUSTOMERS)[list(SCORES)])


# ---- is there enough ---------------------------------------------------------------------------

LOG = {"first": "2011-01-01", "last": "2011-12-09", "reference_date": "2011-12-10"}
ENOUGH = pd.DataFrame({"recency": np.arange(1.0, 501), "orders": [3] + [1] * 499})


def test_enough_data_needs_no_word() -> None:
    assert minimum_data(LOG, ENOUGH) == ()


@pytest.mark.parametrize(
    ("log", "customers", "message"),
    [
        ({}, ENOUGH.iloc[:499], "only 499 customers have an order"),
        ({"first": "2011-06-13"}, ENOUGH, "the log covers 179 days"),
        ({}, ENOUGH.assign(recency=31.0), "nobody bought in the 30 days before 2011-12-10"),
        ({}, ENOUGH.assign(orders=2), "no customer has 3 orders or more"),
    ],
)
def test_too_little_data_is_said(log: dict[str, str], customers: Any, message: str) -> None:
    (found,) = minimum_data({**LOG, **log}, customers)
    assert found.startswith(message)


def test_history_ends_at_the_reference_date() -> None:
    log = {**LOG, "reference_date": "2011-03-01"}
    assert "the log covers 59 days" in minimum_data(log, ENOUGH)[0]


def test_the_thresholds_of_minimum_data_are_parameters() -> None:
    small = pd.DataFrame({"recency": [40.0], "frequency": [2.0]})
    thresholds = {"min_customers": 1, "max_days_since_order": 40, "min_orders": 2}
    assert minimum_data(LOG, small, **thresholds) == ()


# ---- tables of customers -----------------------------------------------------------------------


def stories() -> pd.DataFrame:
    """Customers whose frequency, amounts and last purchase can be told."""
    return pd.DataFrame(
        [
            ("gone", "At Risk", 143, 12, 5230.0, 1, 5, 5, 25.0),
            ("yearly", "At Risk", 300, 4, 900.0, 1, 4, 4, 360.0),
            ("once", "Lost", 326, 1, 7000.0, 1, 1, 5, np.nan),
            ("small", "Lost", 200, 1, 10.0, 2, 1, 1, np.nan),
            ("here", "Champions", 1, 40, 90000.0, 5, 5, 5, 7.0),
            ("fresh", "Champions", 0, 9, 800.0, 5, 4, 4, 1.2),
        ],
        columns=["id", "segment", *ROLES, *SCORES, "interpurchase"],
    ).assign(revenue=lambda t: t["monetary"], orders=lambda t: t["frequency"])


def test_the_list_at_risk_has_the_reason_and_begins_with_most_revenue() -> None:
    found = at_risk(stories())
    assert found["id"].tolist() == ["once", "gone"]
    assert found["reason"].tolist() == [
        "bought once, spent 7,000 (top 34%), last 326 days ago",
        "bought 12 times (top 34%), spent 5,230 (top 50%), last 143 days ago, "
        "usually every 25 days",
    ]


def test_who_buys_once_a_year_is_not_at_risk_within_two() -> None:
    assert "yearly" not in at_risk(stories())["id"].tolist()
    assert "yearly" in at_risk(stories(), overdue=0.5)["id"].tolist()
    without = stories().drop(columns="interpurchase")
    assert "yearly" in at_risk(without)["id"].tolist()
    assert not at_risk(without)["reason"].str.contains("usually").any()


def test_the_reason_says_what_was_given_back() -> None:
    plain = at_risk(stories())["reason"].tolist()
    table = stories().assign(returned=np.nan)
    assert at_risk(table)["reason"].tolist() == plain
    table["returned"] = np.where(table["id"] == "gone", 1233.6, 0.2)
    found = at_risk(table).set_index("id")["reason"]
    assert found["gone"].endswith(", usually every 25 days, gave back 1,234")
    assert found.str.contains("gave back").sum() == 1


def test_high_value_are_high_scores_or_much_revenue() -> None:
    found = high_value(stories())
    assert found["id"].tolist() == ["here", "fresh"]
    assert found["reason"].iloc[0] == (
        "top 10% by revenue, high scores in all three: bought 40 times (top 17%), "
        "spent 90,000 (top 17%), last 1 day ago, usually every 7 days"
    )
    assert found["reason"].iloc[1].startswith("high scores in all three: bought 9 times (top 50%)")
    assert found["reason"].iloc[1].endswith("last on the reference date, usually every day")
    assert high_value(stories(), top_share=0.5)["id"].tolist() == ["here", "once", "gone", "fresh"]


def test_a_mean_amount_is_said_to_be_one() -> None:
    table = stories().assign(monetary=lambda t: t["revenue"] / t["frequency"])
    assert "spent 436 per order (top" in at_risk(table)["reason"].iloc[1]


@pytest.mark.parametrize("n_scores", [2, 3, 4, 5, 10])
def test_lists_know_how_far_scores_go(n_scores: int) -> None:
    best = stories().iloc[[4]].assign(**dict.fromkeys(SCORES, n_scores))
    gone = best.assign(recency_score=1, recency=500, id="gone")
    both = pd.concat([best, gone])
    assert at_risk(both, n_scores=n_scores)["id"].tolist() == ["gone"]
    assert high_value(both, n_scores=n_scores, top_share=0.4)["id"].tolist() == ["here", "gone"]


@pytest.mark.parametrize("listing", [at_risk, high_value])
def test_a_list_may_be_empty(listing: Any) -> None:
    found = listing(stories().iloc[:0])
    assert len(found) == 0
    assert list(found) == ["id", "segment", *ROLES, *SCORES, "revenue", "reason"]


@pytest.mark.parametrize("listing", [at_risk, high_value, rfm_table])
def test_a_column_that_a_table_lacks_is_named(listing: Any) -> None:
    with pytest.raises(DataError, match="needs the column revenue"):
        listing(stories().drop(columns="revenue"))


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="top_share above 0 and up to 1, got 0"):
        high_value(stories(), top_share=0)


def test_the_table_sums_up_each_segment() -> None:
    found = rfm_table(stories()).set_index("segment")
    assert found.index.tolist() == ["Champions", "Lost", "At Risk"]
    lost = found.loc["Lost"]
    assert lost[["customers", "orders", "revenue"]].tolist() == [2, 2, 7010]
    assert lost["share"] == pytest.approx(2 / 6)
    assert found["revenue_share"].sum() == pytest.approx(1)
    assert found.loc["At Risk", "mean[recency]"] == 221.5
    assert found.loc["Champions", "median[frequency]"] == 24.5


# ---- figures -----------------------------------------------------------------------------------


def texts(figure: Figure) -> str:
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_heat_maps_show_customers_and_what_they_spend() -> None:
    table = stories()
    figure = score_heatmaps(table)
    left, right = ([text.get_text() for text in axes.texts] for axes in figure.axes)
    # Row by row from recency score 1: two with frequency 1 and 5, and one with 4.
    assert left[:5] == ["1\n16.7%", "", "", "1\n16.7%", "1\n16.7%"]
    assert right[0] == "7,000"
    assert right[4] == "5,230"
    assert right[24] == "90k"


def test_a_heat_map_of_other_scores_is_refused() -> None:
    with pytest.raises(DataError, match="whole scores from 1 to 3"):
        score_heatmaps(stories(), 3)


def test_many_scores_are_drawn_without_numbers() -> None:
    assert texts(score_heatmaps(stories(), 20)) == ""


def test_the_bars_name_each_segment_with_both_shares() -> None:
    figure = segment_bars(rfm_table(stories()))
    words = texts(figure)
    assert "33.3%  (2)" in words
    assert "87.4%  (90.8k)" in words
    assert figure.axes[0].get_yticklabels()[0].get_text() == "Champions"


def test_a_long_name_is_shortened() -> None:
    figure = segment_bars(rfm_table(stories().assign(segment="x" * 90)))
    assert len(figure.axes[0].get_yticklabels()[0].get_text()) <= 44


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999_600, "1M"), (-12345.0, "-12.3k")])
def test_amounts_are_short(value: float, text: str) -> None:
    assert _compact(value) == text

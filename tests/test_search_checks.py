"""Checks of a search, on trials tables that can be read by eye."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from segexp.config.space import parse_space
from segexp.search import checks
from segexp.search.checks import check_search
from segexp.search.importance import study_importances, summarise_importances
from segexp.search.space import SearchSpace, join_spaces

FOLDS = ["repeat0-fold0", "repeat0-fold1", "repeat0-fold2"]


def space_of(**nodes):
    return SearchSpace(parse_space(nodes, "model.space"))


RATE = space_of(rate={"type": "float", "low": 0.01, "high": 1.0, "log": True})
DEPTH = space_of(depth={"type": "int", "low": 2, "high": 10})


def trial(study, number, value=math.nan, **facts):
    """Return a row of the trials table; ``folds`` are its scores."""
    folds = facts.pop("folds", [value, value])
    state = "COMPLETE" if not math.isnan(value) else "FAIL"
    row = {
        "study": study,
        "model": "m",
        "number": number,
        "state": state,
        "value": value,
        "feasible": state == "COMPLETE",
        "duplicate_of": None,
        "origin": "default" if number == 0 else "sampler",
        "fold_values": folds,
        "chosen": False,
        "params": json.dumps(facts.pop("params", {})),
        "cause": None,
    }
    return {**row, **facts}


def winners(**values):
    """One chosen trial in each study, for a parameter and its values by study."""
    ((name, chosen),) = values.items()
    return pd.DataFrame(
        [
            trial(study, 0, 0.5, chosen=True, params={name: value})
            for study, value in zip([*FOLDS[: len(chosen) - 1], "final"], chosen, strict=True)
        ]
    )


def test_winners_at_an_end_of_their_range_are_named_with_a_wider_range():
    (check,) = checks.edge_of_range(winners(rate=[0.01, 0.0101, 0.3, 0.3]), RATE)
    assert check.code == "edge_of_range"
    assert "best rate of 2 of 4 studies lies at the low end" in check.message
    assert check.advice == "widen the range: model.space.rate.low=0.005"


def test_final_alone_at_an_end_is_enough():
    (check,) = checks.edge_of_range(winners(depth=[5, 5, 5, 10]), DEPTH)
    assert "1 of 4 studies, among them final, lies at the high end" in check.message
    assert check.advice == "widen the range: model.space.depth.high=14"


def test_one_outer_winner_of_four_at_an_end_is_no_finding():
    assert checks.edge_of_range(winners(depth=[10, 5, 5, 5]), DEPTH) == []


@pytest.mark.parametrize(
    "node", [{"type": "float", "low": 0.0, "high": 1.0}, {"type": "int", "low": 1, "high": 9}]
)
def test_shares_and_counts_end_at_0_and_1(node):
    space = space_of(x=node)
    assert checks.edge_of_range(winners(x=[node["low"], node["low"]]), space) == []


def test_a_choice_has_no_edge():
    space = space_of(x={"type": "categorical", "choices": [1, 2]})
    assert checks.edge_of_range(winners(x=[2, 2]), space) == []


def test_a_parameter_of_the_preprocessing_is_widened_there():
    node = {"n_knots": {"type": "int", "low": 2, "high": 10}}
    space = join_spaces((), parse_space(node, "preprocessing.space"))
    table = winners(**{"preprocessing.n_knots": [10, 10]})
    (check,) = checks.edge_of_range(table, space)
    assert check.advice == "widen the range: preprocessing.space.n_knots.high=14"


def with_gains(gains, sign=1):
    """One study; the winner differs from the default by ``gains`` on its folds."""
    before = np.array([0.5, 0.6, 0.7, 0.6])
    after = before + sign * np.array(gains)
    rows = [
        trial("final", 0, before.mean(), folds=list(before)),
        trial("final", 1, after.mean(), folds=list(after), chosen=True),
    ]
    return pd.DataFrame(rows)


def test_a_gain_that_differs_from_fold_to_fold_may_be_noise():
    check = checks.not_better_than_default(with_gains([0.05, -0.03, 0.04, -0.02]), "f1", True)
    assert check.message.startswith("the search gained 0.0100 f1 over the model as configured")


def test_the_p_value_is_that_of_nadeau_and_bengio():
    # Mean 0.01, sample variance 0.0049 / 3; (1/4 + 1/3) times it is 0.000953; t = 0.324, df 3.
    gains = [0.05, -0.03, 0.04, -0.02]
    assert "(p = 0.38)" in checks.not_better_than_default(with_gains(gains), "f1", True).message


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gain_on_every_fold_is_no_noise(sign):
    table = with_gains([0.05, 0.06, 0.05, 0.06], sign)
    assert checks.not_better_than_default(table, "f1", greater_is_better=sign == 1) is None


def test_the_default_as_its_own_winner_is_not_better_than_itself():
    table = pd.DataFrame([trial("final", 0, 0.5, chosen=True)])
    check = checks.not_better_than_default(table, "f1", True)
    assert "gained 0.0000" in check.message and "p = 1.00" in check.message


def test_without_a_default_trial_nothing_is_said():
    table = pd.DataFrame([trial("final", 1, 0.5, chosen=True)])
    assert checks.not_better_than_default(table, "f1", True) is None


def run_of(values, study="final", best=max):
    return [
        trial(study, number, value, chosen=value == best(values))
        for number, value in enumerate(values)
    ]


def test_a_best_value_among_the_last_fifth_asks_for_more_trials():
    table = pd.DataFrame(run_of([0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7]))
    check = checks.still_improving(table, True, "search.n_trials=20")
    assert "1 of 1 studies" in check.message
    assert check.advice == "go on: segexp resume DIR search.n_trials=20"


def test_a_best_value_found_early_is_no_finding():
    table = pd.DataFrame(run_of([0.5, 0.7, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6]))
    assert checks.still_improving(table, greater_is_better=True) is None


def test_improving_is_falling_where_less_is_better():
    table = pd.DataFrame(run_of([0.5, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.3], best=min))
    assert checks.still_improving(table, greater_is_better=False) is not None


def test_half_of_the_studies_are_not_most():
    late = [0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7]
    table = pd.DataFrame(run_of(late) + run_of(late[::-1], "repeat0-fold0"))
    assert checks.still_improving(table, greater_is_better=True) is None


def test_nine_trials_are_too_few_to_say():
    table = pd.DataFrame(run_of([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7]))
    assert checks.still_improving(table, greater_is_better=True) is None


def importances_of(**shares):
    rows = [
        (study, name, share)
        for name, by_study in shares.items()
        for study, share in zip([*FOLDS, "final"], by_study, strict=False)
    ]
    return pd.DataFrame(rows, columns=["study", "parameter", "importance"])


def twenty(study):
    params = {"depth": 4, "rate": 0.25}
    return [trial(study, n, 0.5, chosen=n == 3, params=params) for n in range(20)]


def test_a_parameter_without_effect_is_fixed_at_the_winners_value():
    table = pd.DataFrame(twenty(FOLDS[0]) + twenty(FOLDS[1]))
    check = checks.no_effect(table, importances_of(depth=[0.009, 0.0], rate=[0.991, 1.0]))
    assert check.message.startswith("the score does not depend on depth: less than 1%")
    assert check.advice.endswith("densely: model.estimator.depth=4")


def test_an_effect_in_one_study_is_an_effect():
    table = pd.DataFrame(twenty(FOLDS[0]) + twenty(FOLDS[1]))
    assert checks.no_effect(table, importances_of(depth=[0.02, 0.0], rate=[0.98, 1.0])) is None


def test_nineteen_trials_say_nothing_of_an_effect():
    table = pd.DataFrame(twenty(FOLDS[0])[:19])
    assert checks.no_effect(table, importances_of(depth=[0.0], rate=[1.0])) is None


def test_a_failure_that_was_suggested_again_counts_once():
    failed = [
        trial("final", n, math.nan, state="FAIL", cause="no", duplicate_of=None if n == 9 else 9)
        for n in range(9, 14)
    ]
    table = pd.DataFrame([*run_of([0.1 * n for n in range(9)]), *failed])
    assert checks.many_failures(table) is None


def test_many_failures_are_grouped_by_cause():
    rows = [trial("final", n, 0.5) for n in range(7)]
    rows += [trial("final", 7 + n, cause="too deep\nin line 3") for n in range(2)]
    rows.append(trial("final", 9, state="INVALID", cause="no such kernel"))
    check = checks.many_failures(pd.DataFrame(rows))
    assert check.message == "3 of 10 trials gave no score: 2 × too deep; 1 × no such kernel"


def test_a_fifth_of_failures_is_no_finding():
    rows = [trial("final", n, 0.5) for n in range(4)] + [trial("final", 4, cause="too deep")]
    assert checks.many_failures(pd.DataFrame(rows)) is None


def test_choices_over_more_than_half_of_the_range_are_unstable():
    # On the log scale 0.02 to 0.3 is 59% of 0.01 to 1.
    table = winners(rate=[0.02, 0.05, 0.3])
    check = checks.unstable_choice(table, RATE, importances_of(rate=[1.0, 1.0]))
    assert check.message.endswith("on which the score depends most: 0.02 to 0.3")


def test_choices_near_each_other_are_stable():
    table = winners(rate=[0.02, 0.05, 0.1])
    assert checks.unstable_choice(table, RATE, importances_of(rate=[1.0, 1.0])) is None


@pytest.mark.parametrize(("chosen", "unstable"), [("abc", True), ("aab", False)])
def test_words_are_unstable_if_none_was_chosen_by_half_of_the_studies(chosen, unstable):
    space = space_of(x={"type": "categorical", "choices": ["a", "b", "c"]})
    found = checks.unstable_choice(winners(x=list(chosen)), space, importances_of(x=[1.0]))
    assert (found is not None) == unstable


def test_a_selection_score_far_above_the_held_out_ones_is_said():
    # Spread 0.01 over 3 folds: the standard error is 0.01 * sqrt(1/3 + 1/2) = 0.0091.
    check = checks.selection_optimism(0.62, [0.59, 0.60, 0.61], 3, "f1_macro", True)
    assert "scored 0.6200 f1 macro where they were selected and 0.6000 on held-out" in check.message


@pytest.mark.parametrize(("selection", "greater"), [(0.618, True), (0.58, True), (0.62, False)])
def test_a_selection_score_near_or_worse_than_the_held_out_ones_is_no_finding(selection, greater):
    scores = [0.59, 0.60, 0.61]
    assert checks.selection_optimism(selection, scores, 3, "f1", greater) is None


UNKNOWN = pd.DataFrame(columns=["study", "parameter", "importance"])  # of too few trials


def test_all_checks_run():
    table = winners(depth=[10, 10, 10])
    scores = [0.30, 0.31]
    found = check_search(table, {"m": DEPTH}, {"m": UNKNOWN}, "f1", True, scores, 2)
    assert [check.code for check in found] == [
        "edge_of_range",
        "not_better_than_default",
        "selection_optimism",
    ]


def test_models_that_compete_have_ranges_of_their_own():
    table = winners(depth=[10, 10]).assign(model=["a", "b"])
    spaces = {"a": DEPTH, "b": DEPTH}
    found = check_search(table, spaces, dict.fromkeys(spaces, UNKNOWN), "f1", True)
    assert [check.advice.split(": ")[1] for check in found if check.code == "edge_of_range"] == [
        "search.candidates.a.space.depth.high=14",
        "search.candidates.b.space.depth.high=14",
    ]


# ---- importance --------------------------------------------------------------------------------

BOTH = space_of(
    kind={"type": "categorical", "choices": ["a", "b", [1, 2]]},
    rate={"type": "float", "low": 0.01, "high": 1.0, "log": True},
    noise={"type": "float", "low": 0.0, "high": 1.0},
    only_b={"type": "int", "low": 1, "high": 9, "when": {"kind": "b"}},
)


def searched(n, study="final", score=lambda p: math.log(p["rate"])):
    draw = np.random.default_rng(0)
    rows = []
    for number in range(n):
        params = {
            "kind": ["a", "b", [1, 2]][number % 3],
            "rate": float(10 ** draw.uniform(-2, 0)),
            "noise": float(draw.uniform()),
            "only_b": int(draw.integers(1, 10)),
        }
        active = BOTH.active(params)
        rows.append(trial(study, number, score(active), params=active))
    return pd.DataFrame(rows)


def shares_of(table):
    return study_importances(table, BOTH).set_index("parameter")["importance"]


def test_the_parameter_that_decides_the_score_has_the_importance():
    assert shares_of(searched(36))["rate"] > 0.9


def test_a_conditional_parameter_is_judged_among_the_trials_that_have_it():
    shares = shares_of(searched(60, score=lambda p: p.get("only_b", 0)))
    assert shares["only_b"] > 0.8 and shares["kind"] > 0.8


def test_a_conditional_parameter_with_few_trials_is_not_judged():
    assert list(shares_of(searched(21)).index) == ["kind", "rate", "noise"]


@pytest.mark.parametrize(
    "table", [searched(9), searched(36, score=lambda p: 0.5)], ids=["nine trials", "equal scores"]
)
def test_no_importance_is_made_up(table):
    assert study_importances(table, BOTH).empty


def test_trials_of_an_earlier_wider_space_are_left_out():
    table = searched(36)
    table.loc[0, "params"] = json.dumps({"kind": "c", "rate": 0.1, "noise": 0.5})
    table.loc[1, "params"] = json.dumps({"kind": "a", "rate": 7.0, "noise": 0.5})
    table.loc[2, "params"] = json.dumps({"kind": "a", "rate": 0.1, "gone": 0.5})
    assert shares_of(table)["rate"] > 0.9


def test_importances_are_the_same_twice():
    pd.testing.assert_series_equal(shares_of(searched(20)), shares_of(searched(20)))


def test_a_summary_has_mean_and_spread_over_studies():
    table = summarise_importances(importances_of(depth=[0.2, 0.4], rate=[0.8, 0.6], extra=[0.1]))
    assert list(table["parameter"]) == ["rate", "depth", "extra"]
    assert table["mean"].tolist() == pytest.approx([0.7, 0.3, 0.1])
    assert table["std"].iloc[0] == pytest.approx(math.sqrt(0.02))
    assert table["n_studies"].tolist() == [2, 2, 1]
    assert math.isnan(table["std"].iloc[2])


def test_a_summary_of_nothing_is_empty():
    assert summarise_importances(study_importances(searched(3), BOTH)).empty

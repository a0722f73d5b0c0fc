"""One study: its path, its budgets, and trials that repeat, fall behind or fail."""

from __future__ import annotations

import asyncio
import itertools
import json

import optuna
import pytest
from made_studies import (
    LINE,
    MIXED,
    NUMBERS,
    TINY,
    Scorer,
    noise,
    open_study,
    params_of,
    quality,
    search_config,
    searched,
    space_of,
    told_of,
)
from pandas.testing import assert_frame_equal, assert_series_equal

from segexp.search.fitting import Failure, FoldScore
from segexp.search.loop import optimise
from segexp.search.trial import RUNNING

ORDERS = [{"workers": 1}, {"workers": 2, "shuffle": 1}, {"workers": 8, "shuffle": 2}]
TOLD = 6  # what Optuna's journal calls the end of a trial


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.log"


def broken_corner(params, fold):
    x = params.get("x", params.get("a", 0) / 10)
    if x > 0.85:
        return Failure("INVALID", "x is too large", "Traceback: x")
    if x < 0.25 and fold == 1:
        return Failure("FAIL", "did not converge", "Traceback: y")
    return None


# The path


@pytest.mark.parametrize("pruner", ["none", "median", "wilcoxon", "hyperband"])
@pytest.mark.parametrize(
    ("sampler", "nodes"),
    [("random", LINE), ("tpe", MIXED), ("cmaes", NUMBERS), ("grid", LINE)],
)
def test_who_finishes_first_changes_nothing(tmp_path, sampler, nodes, pruner):
    config = search_config(sampler, pruner=pruner, prune_startup=2, window=4, inner_splits=4)
    tables, arrivals = [], []
    for n, order in enumerate(ORDERS):
        scorer = Scorer(fails=broken_corner, **order)
        tables.append(told_of(searched(tmp_path / f"{n}.log", config, space_of(nodes), scorer)))
        arrivals.append(scorer.arrived)
    assert arrivals[0] != arrivals[1] and arrivals[0] != arrivals[2]
    assert_frame_equal(tables[0], tables[1])
    assert_frame_equal(tables[0], tables[2])


def test_another_seed_is_another_path(tmp_path):
    space, config = space_of(NUMBERS), search_config("tpe")
    one, other = (searched(tmp_path / f"{n}.log", config, space, seed=n) for n in (1, 2))
    assert params_of(one) != params_of(other)


def test_the_window_does_not_change_what_random_search_finds(tmp_path):
    tables = [
        told_of(searched(tmp_path / f"{w}.log", search_config(window=w), space_of(MIXED)))
        for w in (1, 4)
    ]
    assert_frame_equal(*tables)


def test_the_window_changes_only_what_a_sampler_learns(tmp_path):
    space = space_of(MIXED)
    one, four = (
        searched(tmp_path / f"{w}.log", search_config("tpe", window=w), space) for w in (1, 4)
    )
    assert [t.number for t in one.trials] == [t.number for t in four.trials]
    assert params_of(one)[:3] == params_of(four)[:3]  # drawn before it learns
    assert params_of(one) != params_of(four)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_suggestion_knows_the_trials_before_its_window_and_no_others(tmp_path, sampler):
    space, window, reached = space_of(NUMBERS), 3, set()
    config = search_config(sampler, n_trials=14, window=window, startup_trials=2)
    base = params_of(searched(tmp_path / "base.log", config, space))
    for changed in range(8):

        class Bumped(Scorer):
            async def __call__(self, study, trial, fold, changed=changed):
                score = await super().__call__(study, trial, fold)
                gain = 1.0 - 2.0 * (changed % 2) if trial.number == changed else 0.0
                values = (score.values[0] + gain,)
                return FoldScore(values, 0.01, None, (), None)

        params = params_of(searched(tmp_path / f"{changed}.log", config, space, Bumped()))
        differing = [t for t in range(14) if params[t] != base[t]]
        assert all(t >= changed + window for t in differing)
        reached |= {t - changed for t in differing}
    # The first suggestion that may know of a trial does, if it is the sampler's time to learn.
    assert min(reached) == (window if sampler == "tpe" else min(reached))


def test_what_prunes_a_trial_was_told_before_it_was_asked_for(tmp_path):
    """The trial that would prune number 5 by a median counts if it is number 2, and not later."""
    space = space_of(LINE)
    config = search_config(
        "grid", n_trials=None, window=3, pruner="median", prune_startup=1, prune_warmup=0,
        finalists=0,
    )  # fmt: skip

    def states(high):
        values = {a: 0.9 if a in high else 0.5 for a in range(10)} | {5: 0.6}
        scorer = Scorer(lambda params, fold: (values[params["a"]],))
        return [t.state for t in searched(tmp_path / f"{high}.log", config, space, scorer).trials]

    assert states((0, 1, 2))[5] == "PRUNED"
    assert states((3, 4, 6))[5] == "COMPLETE"


def test_trials_are_told_in_order(path):
    told = []
    study = open_study(path, search_config(window=4), space_of(NUMBERS))
    scorer = Scorer(workers=4, shuffle=3)
    asyncio.run(optimise(study, scorer, lambda study, trial: told.append(trial.number)))
    assert scorer.arrived != sorted(scorer.arrived)
    assert told == list(range(12))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["trial_id"] for line in lines if line["op_code"] == TOLD] == told


def test_no_more_trials_run_at_once_than_the_window_has(path):
    most = 0

    async def score(study, trial, fold):
        nonlocal most
        most = max(most, sum(t.state == RUNNING for t in study.trials))
        return await Scorer()(study, trial, fold)

    study = open_study(path, search_config(window=3), space_of(NUMBERS))
    asyncio.run(optimise(study, score))
    assert most == 3


def test_the_first_trial_is_the_model_as_configured(path):
    start = {"x": 0.25, "kind": "a"}
    study = searched(path, search_config("tpe", n_trials=3), space_of(MIXED), start=start)
    assert (study.trials[0].params, study.trials[0].origin) == (start, "default")
    assert [t.origin for t in study.trials[1:]] == ["sampler", "sampler"]


# Budgets


def test_so_many_trials_are_made_as_were_asked_for(path):
    study = searched(path, search_config(n_trials=5), space_of(NUMBERS))
    assert len(study.trials) == 5
    assert study.stop["by"] == "n_trials"


@pytest.mark.parametrize("order", ORDERS)
def test_patience_ends_a_study_that_finds_nothing_better(path, order):
    config = search_config(n_trials=None, patience=4, window=3)
    study = searched(path, config, space_of(NUMBERS), Scorer(**order))
    since = len(study.trials) - 1 - study.winner().number
    assert study.stop["by"] == "patience"
    assert 4 <= since <= 4 + 2  # the others of the window had begun


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_a_study_ends_when_every_point_was_tried(path, sampler):
    scorer = Scorer()
    study = searched(path, search_config(sampler, n_trials=None), space_of(TINY), scorer)
    # A grid has come to its end as planned.
    assert study.stop["by"] == ("n_trials" if sampler == "grid" else "every point was tried")
    assert len({trial.key for trial in study.trials}) == 6
    assert len(scorer.calls) == len(set(scorer.calls)) == 6 * 3


def test_a_study_gives_up_after_so_many_failures(path):
    scorer = Scorer(fails=lambda params, fold: Failure("FAIL", "no", ""))
    config = search_config(n_trials=50, max_failures=4, window=2)
    study = searched(path, config, space_of(NUMBERS), scorer)
    assert study.stop["by"] == "max_failures"
    assert 4 <= len(study.trials) <= 5
    assert study.winner() is None


def test_the_same_failure_twice_counts_once(path):
    scorer = Scorer(fails=lambda params, fold: Failure("FAIL", "no", ""))
    config = search_config(n_trials=None, max_failures=8, window=1)
    study = searched(path, config, space_of(LINE), scorer)
    assert sum(t.duplicate_of is None for t in study.trials) == 8
    assert any(t.duplicate_of is not None for t in study.trials)


def test_a_study_ends_with_its_time(path):
    async def slow(study, trial, fold):
        await asyncio.sleep(0.02)
        return await Scorer()(study, trial, fold)

    study = open_study(path, search_config(n_trials=10**6), space_of(NUMBERS))
    assert asyncio.run(optimise(study, slow, limit_s=0.2)) == "timeout"
    assert all(len(t.scores) == 3 for t in study.trials)  # what was begun is finished


def test_without_any_time_one_trial_is_made(path):
    study = open_study(path, search_config(window=4), space_of(NUMBERS))
    assert asyncio.run(optimise(study, Scorer(), limit_s=0.0)) == "timeout"
    assert len(study.trials) == 1


def test_an_error_that_is_none_of_a_trial_stops_the_study(path):
    study = open_study(path, search_config(), space_of(NUMBERS))
    with pytest.raises(ConnectionError):
        asyncio.run(optimise(study, Scorer(dies_at=4)))
    assert [t.state for t in study.trials].count("FAIL") == 0


# Trials that repeat parameters


@pytest.fixture
def repeating(path):
    """A study of 40 trials in a space of ten points, and who was asked to score them."""

    def value(params, fold):
        return (0.9 - 0.08 * abs(params["a"] - 6) + 0.01 * fold,)

    scorer = Scorer(value, broken_corner)
    config = search_config(
        n_trials=40, pruner="median", prune_startup=1, finalists=0, window=2, inner_splits=4
    )
    return searched(path, config, space_of(LINE), scorer, seed=1), scorer


def test_no_fold_of_the_same_parameters_is_scored_twice(repeating):
    _, scorer = repeating
    folds = [(key, fold) for key, _, fold in scorer.calls]
    assert len(folds) == len(set(folds))


@pytest.mark.parametrize("state", ["COMPLETE", "PRUNED", "FAIL", "INVALID"])
def test_a_trial_that_repeats_another_has_its_result(repeating, state):
    table = told_of(repeating[0]).set_index("number")
    again = table[table["duplicate_of"].notna() & (table["state"] == state)]
    assert len(again)
    for _, row in again.iterrows():
        first = table.loc[row["duplicate_of"]]
        assert row["params"] == first["params"]
        columns = ["state", "cause", "traceback", "fold_values", "value", "value[accuracy]"]
        assert_series_equal(row[columns], first[columns], check_names=False)
        assert row["folds"] == 0 and not row["chosen"]


@pytest.mark.parametrize("state", ["COMPLETE", "PRUNED", "FAIL", "INVALID"])
def test_repeated_parameters_cost_no_trial(path, state):
    ends = {
        "COMPLETE": lambda params, fold: (0.9,),
        "PRUNED": lambda params, fold: (0.5 - 0.1 * params["a"],),
    }
    failure = None if state in ends else Failure(state, "no", "")
    config = search_config(
        n_trials=8, pruner="median" if state == "PRUNED" else "none", prune_startup=1,
        prune_warmup=0, finalists=0,
    )  # fmt: skip
    scorer = Scorer(ends.get(state, quality), lambda params, fold: failure)
    study = searched(path, config, space_of(LINE), scorer)
    again = [trial for trial in study.trials if trial.duplicate_of is not None]
    assert again and state in {trial.state for trial in again}
    assert len(study.trials) - len(again) == len({t.key for t in study.trials}) == 8
    assert study.stop["by"] == "n_trials"


def test_a_sampler_that_only_repeats_itself_ends_the_study(path):
    # Hardly a range: no number lies between its ends.
    stuck = {"x": {"type": "float", "low": 1.0, "high": 1.0000000000000002}}
    study = open_study(path, search_config(n_trials=9), space_of(stuck))
    scorer = Scorer(fails=lambda params, fold: Failure("INVALID", "no", ""))
    assert asyncio.run(optimise(study, scorer)) == "50 suggestions in a row that were tried before"
    assert len({trial.key for trial in study.trials}) == study.n_different <= 2


def test_a_grid_ends_where_the_model_as_configured_is_one_of_its_points(path):
    config = search_config("grid", n_trials=None)
    study = searched(path, config, space_of(LINE), start={"a": 3})
    assert len(study.trials) == 11 and study.n_different == 10
    assert study.stop["by"] == "n_trials"


# Finalists

CURVES = {  # a -> its folds; the first two are strong where nobody else is, and weak later
    0: (0.9, 0.9, 0.0, 0.0), 1: (0.9, 0.9, 0.0, 0.0), 2: (0.5, 0.5, 0.6, 0.6),
    3: (0.5, 0.5, 0.6, 0.6), 4: (0.5, 0.5, 0.6, 0.6), 5: (0.8, 0.8, 0.8, 0.8),
    6: (0.85, 0.85, 0.85, 0.85), 7: (0.1, 0.1, 0.1, 0.1),
}  # fmt: skip


def finals(path, **changes):
    space = space_of({"a": {"type": "int", "low": 0, "high": 7, "step": 1}})
    changes = {"n_trials": None, "window": 4, "prune_startup": 2, "inner_splits": 4, **changes}
    scorer = Scorer(lambda params, fold: (CURVES[params["a"]][fold],))
    return searched(path, search_config("grid", pruner="median", **changes), space, scorer), scorer


def test_a_pruned_trial_that_was_ahead_is_run_in_full(path):
    study, _ = finals(path, finalists=3)
    assert [t.number for t in study.trials if t.state == "PRUNED"] == [5, 6, 7]
    again = [t for t in study.trials if t.origin == "finalist"]
    assert [t.params["a"] for t in again] == [6, 5]  # who was ahead most comes first
    assert [t.fold_values() for t in again] == [list(CURVES[6]), list(CURVES[5])]
    assert study.winner().params == {"a": 6}


def test_folds_that_a_finalist_ran_are_not_scored_again(path):
    _, scorer = finals(path, finalists=3)
    folds = [(key, fold) for key, _, fold in scorer.calls]
    assert len(folds) == len(set(folds)) == 5 * 4 + 2 * 4 + 2


def test_no_more_trials_become_finalists_than_may(path):
    study, _ = finals(path, finalists=1)
    assert [t.params["a"] for t in study.trials if t.origin == "finalist"] == [6]


def test_without_finalists_what_was_pruned_stays_so(path):
    study, _ = finals(path, finalists=0)
    assert len(study.trials) == 8
    assert study.winner().params == {"a": 2}


def test_finalists_do_not_count_against_the_budget(path):
    study, _ = finals(path, finalists=3)
    assert (len(study.trials), study.n_asked) == (10, 8)


# Failures


def test_failures_are_told_apart_and_keep_their_causes(path):
    scorer = Scorer(fails=broken_corner)
    config = search_config(
        "grid", n_trials=None, pruner="median", prune_startup=2, inner_splits=4, finalists=0
    )
    table = told_of(searched(path, config, space_of(LINE), scorer))
    by_a = table.set_index(table["params"].map(lambda text: json.loads(text)["a"]))
    assert list(by_a["state"][[0, 1, 2, 9]]) == ["FAIL", "FAIL", "FAIL", "INVALID"]
    assert (by_a.loc[0, "cause"], by_a.loc[0, "traceback"]) == ("did not converge", "Traceback: y")
    assert (by_a.loc[9, "cause"], by_a.loc[9, "traceback"]) == ("x is too large", "Traceback: x")
    assert by_a["cause"].notna().sum() == 4


def test_what_did_not_end_has_no_value(repeating):
    table = told_of(repeating[0])
    ended = table["state"] == "COMPLETE"
    assert set(table["state"]) == {"COMPLETE", "PRUNED", "FAIL", "INVALID"}
    assert table.loc[ended, "value"].notna().all()
    for column in ("value", "value[accuracy]"):
        assert table.loc[~ended, column].isna().all()
    assert not table.loc[~ended, "feasible"].any()


def test_causes_are_counted_the_most_frequent_first(repeating):
    assert list(repeating[0].causes().items()) == [("did not converge", 3), ("x is too large", 1)]


def test_one_trial_is_chosen(repeating):
    table = told_of(repeating[0])
    (chosen,) = table[table["chosen"]].to_dict("records")
    assert json.loads(chosen["params"]) == {"a": 6}
    assert chosen["value"] == table["value"].max()


def test_the_earlier_of_equals_wins(path):
    config = search_config("grid", n_trials=None)
    study = searched(path, config, space_of(TINY), Scorer(lambda params, fold: (0.5,)))
    assert study.winner().number == 0


def test_a_loss_is_minimised(path):
    scorer = Scorer(lambda params, fold: (abs(params["a"] - 3.0),))
    config = search_config("grid", n_trials=None, pruner="median", prune_startup=2)
    study = searched(path, config, space_of(LINE), scorer, metrics=("log_loss",))
    assert study.winner().params == {"a": 3}


# Several objectives, constraints


def front(params, fold):
    """Accuracy rises with a, and so does the loss; b only costs."""
    a, b = params["a"], params["b"]
    return (a // 2 / 10 - b / 50, a / 10 + b / 10)


FRONT = {
    "a": {"type": "int", "low": 0, "high": 5, "step": 1},
    "b": {"type": "int", "low": 0, "high": 1},
}


def as_optuna_sees(path):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name="final", storage=storage)


def test_the_winner_lies_on_the_pareto_front_and_the_first_objective_decides(path):
    config = search_config("grid", n_trials=None, objectives=["accuracy", "log_loss"])
    metrics = ("accuracy", "log_loss")
    study = searched(
        path, config, space_of(FRONT), Scorer(front), metrics=metrics, n_objectives=2
    )  # fmt: skip
    # a = 4 and a = 5 are equally accurate; 4 loses less.
    assert study.winner().params == {"a": 4, "b": 0}
    seen = as_optuna_sees(path)
    assert [d.name for d in seen.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.winner().number in {trial.number for trial in seen.best_trials}
    assert [t.values for t in seen.trials] == [[t.mean(0), t.mean(1)] for t in study.trials]


def test_several_objectives_are_searched_by_tpe(path):
    config = search_config("tpe", n_trials=10, objectives=["accuracy", "log_loss"])
    study = searched(
        path, config, space_of(FRONT), Scorer(front), metrics=("accuracy", "log_loss"),
        n_objectives=2,
    )  # fmt: skip
    best = {trial.number for trial in as_optuna_sees(path).best_trials}
    assert study.winner().number in best


def constrained(path, bound, sampler="grid", **changes):
    config = search_config(sampler, n_trials=None, constraints={"log_loss": bound})
    config = (
        config if sampler == "grid" else search_config(sampler, constraints={"log_loss": bound})
    )
    return searched(
        path, config, space_of(FRONT), Scorer(front), metrics=("accuracy", "log_loss"), **changes
    )


def test_what_breaks_a_constraint_does_not_win(path):
    study = constrained(path, {"max": 0.35})
    assert study.winner().params == {"a": 2, "b": 0}
    table = told_of(study)
    assert set(table["feasible"]) == {True, False}
    assert (table["feasible"] == (table["value[log_loss]"] <= 0.35)).all()


def test_where_all_break_it_the_one_that_misses_least_wins(path):
    study = constrained(path, {"min": 0.9, "max": 1.0})
    assert study.winner().params == {"a": 5, "b": 1}
    assert not told_of(study)["feasible"].any()


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_optuna_knows_the_constraints(path, sampler):
    study = constrained(path, {"min": 0.1, "max": 0.35}, sampler)
    seen = as_optuna_sees(path)
    for one, trial in itertools.zip_longest(seen.trials, study.trials):
        loss = trial.mean(1)
        assert one.constraints == pytest.approx(
            {"log_loss min": 0.1 - loss, "log_loss max": loss - 0.35}
        )
    assert seen.best_trial.value == study.winner().mean(0)


def test_constraints_teach_the_sampler(tmp_path):
    """With the same values, other constraint values lead elsewhere."""
    space = space_of(NUMBERS)

    def value(params, fold):
        return (quality(params, fold)[0], params["x"])

    def params(bound):
        config = search_config("tpe", n_trials=12, constraints={"log_loss": bound})
        path = tmp_path / f"{bound['max']}.log"
        return params_of(
            searched(path, config, space, Scorer(value), metrics=("accuracy", "log_loss"))
        )

    assert params({"max": 0.2}) != params({"max": 1.0})


def test_rounds_of_boosters_are_the_median_over_folds(path):
    async def score(study, trial, fold):
        return FoldScore((noise(trial.key),), 0.01, (40, 10, 27)[fold], (), None)

    study = open_study(path, search_config(n_trials=2), space_of(NUMBERS))
    asyncio.run(optimise(study, score))
    assert [t.n_iterations for t in study.trials] == [27, 27]
    assert list(told_of(study)["n_iterations"]) == [27, 27]


def test_the_table_has_the_columns_that_others_read(repeating):
    table = told_of(repeating[0])
    assert list(table) == [
        "study", "repeat", "fold", "model", "number", "state", "value", "value[accuracy]",
        "feasible", "duplicate_of", "origin", "folds", "fold_values", "n_iterations", "chosen",
        "params", "cause", "traceback",
    ]  # fmt: skip

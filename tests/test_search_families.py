"""Several models in one search: who gets the trials, and who wins."""

from __future__ import annotations

import asyncio

import numpy as np
import pandas as pd
import pytest
from made_studies import search_config, space_of
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from segexp.config.schema import EngineConfig
from segexp.engine.driver import open_engine
from segexp.errors import RunError
from segexp.evaluation import Table, make_inner_splits
from segexp.search.families import AllTrialsFailedError, Bed, Family, RowsSearch
from segexp.search.fitting import Bench
from segexp.search.journal import Journal

LOCAL = EngineConfig(name="local", n_jobs=1, threads=1, address=None)
ROWS = 60


@pytest.fixture(scope="module")
def table():
    """The segment is a box of the first two columns: trees find it, neighbours hardly."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(size=(ROWS, 2)), columns=["a", "b"])
    y = (X["a"] > 0.5).to_numpy().astype(int)
    X["b"] *= 1000
    return Table(X, y, ("A", "B"))


class Broken(ClassifierMixin, BaseEstimator):
    """Wants three segments where there are two; says so in one of two ways."""

    def __init__(self, level=0.0):
        self.level = level

    def fit(self, X, y):
        if len(np.unique(y)) < 3:
            raise ValueError("too low" if self.level < 0.8 else "too high")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        return np.zeros((len(X), 2))


def model(estimator, nodes):
    return Family(Pipeline([("model", estimator)]), space_of(nodes), None)


LEAF = {"min_samples_leaf": {"type": "float", "low": 0.01, "high": 0.4, "log": True}}
FAMILIES = {
    "neighbours": model(
        KNeighborsClassifier(), {"n_neighbors": {"type": "int", "low": 1, "high": 30}}
    ),
    "tree": model(DecisionTreeClassifier(random_state=0), LEAF),
    "stump": model(DecisionTreeClassifier(max_features=1, random_state=1), LEAF),
    "guess": model(
        DummyClassifier(), {"random_state": {"type": "int", "low": 0, "high": 10**6}}
    ),
    "uniform": model(
        DummyClassifier(strategy="uniform"),
        {"random_state": {"type": "int", "low": 0, "high": 10**6}},
    ),
    "broken": model(Broken(), {"level": {"type": "float", "low": 0.0, "high": 1.0}}),
}  # fmt: skip


def open_search(path, names, config, families=FAMILIES, seed=0):
    return RowsSearch(
        "final", 0, {name: families[name] for name in names}, config, ("accuracy",), 1,
        seed=seed, journal=Journal(path), facts={"data": "abc"},
    )  # fmt: skip


def search(path, table, names, families=FAMILIES, seed=0, retry_failed=False, **changes):
    """What a search came to, and all its trials without clock times."""
    changes = {"sampler": "random", "window": 2, "inner_splits": 3, **changes}
    config = search_config(**changes)
    rows = open_search(path, names, config, families, seed)
    splits = make_inner_splits((), np.arange(ROWS), table.y, None, 3, 0, table.segments)
    bench = Bench(
        str(path), {name: families[name].pipeline for name in names}, {"final": splits},
        ("accuracy",), config.early_stopping, config.early_stopping_share, 0,
    )  # fmt: skip

    async def run():
        async with open_engine(LOCAL) as engine:
            bed = Bed(engine, engine.share(table, "table"), engine.share(bench, "bench"))
            return await rows.run(bed, lambda study, trial: None, retry_failed=retry_failed)

    choice = asyncio.run(run())
    return choice, rows.table().drop(columns=["start", "seconds"])


GOOD_AND_BAD = ("guess", "neighbours", "tree", "uniform")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.log"


def test_most_trials_go_to_the_model_that_does_well(path, table):
    choice, trials = search(path, table, GOOD_AND_BAD, n_trials=24)
    assert choice.model == "tree"
    assert choice.n_trials["tree"] == max(choice.n_trials.values()) > 24 / 4
    assert choice.n_trials["guess"] == choice.n_trials["uniform"] == 3
    different = trials[trials["duplicate_of"].isna()]
    assert different.groupby("model").size().to_dict() == choice.n_trials


@pytest.mark.parametrize("n_models", [2, 3, 5])
@pytest.mark.parametrize("n_trials", [5, 12, 23])
def test_models_share_the_budget_and_do_not_exceed_it(path, table, n_models, n_trials):
    names = list(FAMILIES)[:n_models]
    choice, trials = search(path, table, names, n_trials=n_trials)
    total = sum(choice.n_trials.values())
    assert total == trials["duplicate_of"].isna().sum() <= n_trials
    assert total > n_trials - n_models  # what cannot be shared out evenly is left
    assert min(choice.n_trials.values()) >= 1


def test_the_winner_is_the_best_of_all_models(path, table):
    choice, trials = search(path, table, GOOD_AND_BAD, n_trials=16)
    (chosen,) = trials[trials["chosen"]].to_dict("records")
    assert (chosen["model"], chosen["number"]) == (choice.model, choice.trial)
    assert chosen["value"] == choice.values["accuracy"] == trials["value"].max()
    assert choice.pipeline.get_params()["model"].get_params().items() >= choice.params.items()


def test_a_model_that_always_fails_drops_out(path, table):
    choice, trials = search(path, table, ("broken", "tree"), n_trials=12)
    assert choice.model == "tree"
    assert set(trials.loc[trials["model"] == "broken", "state"]) == {"FAIL"}
    _, trials = search(path.with_name("2"), table, ("broken", "guess", "tree"), n_trials=18)
    assert (trials["model"] == "broken").sum() == 3


def test_the_same_search_again_is_the_same(tmp_path, table):
    changes = {"sampler": "tpe", "n_trials": 18, "pruner": "median", "prune_startup": 2}
    one, trials = search(tmp_path / "1", table, GOOD_AND_BAD, **changes)
    other, again = search(tmp_path / "2", table, GOOD_AND_BAD, **changes)
    assert_frame_equal(trials, again)
    assert (one.model, one.trial, one.params) == (other.model, other.trial, other.params)


def test_another_seed_is_another_search(tmp_path, table):
    _, trials = search(tmp_path / "1", table, ("tree", "stump"), n_trials=8, seed=1)
    _, others = search(tmp_path / "2", table, ("tree", "stump"), n_trials=8, seed=2)
    assert not set(trials["params"]) & set(others["params"])


def test_two_models_with_the_same_space_do_not_get_the_same_trials(path, table):
    _, trials = search(path, table, ("tree", "stump"), n_trials=8)
    assert trials["params"].nunique() == 8


def test_a_search_over_models_that_was_killed_goes_on_to_the_same_end(tmp_path, table):
    changes = {"n_trials": 12, "pruner": "median", "prune_startup": 1, "finalists": 2}
    names = ("neighbours", "tree", "stump")
    choice, trials = search(tmp_path / "whole", table, names, **changes)
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for n in range(0, len(lines), 13):
        path = tmp_path / f"{n}.log"
        path.write_bytes(b"".join(lines[:n]))
        again, table_again = search(path, table, names, **changes)
        assert_frame_equal(table_again, trials)
        assert again.to_dict() | {"seconds": 0} == choice.to_dict() | {"seconds": 0}


def test_a_search_that_came_to_its_end_makes_no_more_trials(path, table):
    choice, trials = search(path, table, GOOD_AND_BAD, n_trials=12)
    n_lines = len(path.read_bytes().splitlines())
    again, table_again = search(path, table, GOOD_AND_BAD, n_trials=12)
    assert_frame_equal(table_again, trials)
    assert again.params == choice.params
    assert len(path.read_bytes().splitlines()) <= n_lines + len(GOOD_AND_BAD)


def test_where_all_trials_fail_the_most_frequent_cause_is_said(path, table):
    with pytest.raises(AllTrialsFailedError) as error:
        search(path, table, ("broken",), n_trials=12)
    assert str(error.value) == (
        "search final: all 12 trials failed, most often with: ValueError: too low"
    )


def test_failures_of_all_models_are_counted_together(path, table):
    families = {"one": FAMILIES["broken"], "two": FAMILIES["broken"]}
    with pytest.raises(AllTrialsFailedError, match="all 6 trials failed"):
        search(path, table, ("one", "two"), families, n_trials=12, max_failures=3, window=1)


def test_trials_that_were_begun_again_when_the_process_died_are_finished(path, table):
    names = ("neighbours", "broken")
    search(path, table, names, n_trials=6)
    search(path, table, names, n_trials=6, retry_failed=True)
    lines = path.read_bytes().splitlines(keepends=True)
    began = max(n for n, line in enumerate(lines) if b'"retry"' in line)
    path.write_bytes(b"".join(lines[: began + 1]))
    _, trials = search(path, table, names, n_trials=6)
    again = trials[trials["origin"] == "retry"]
    assert len(again) == 3 and set(again["state"]) == {"FAIL"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "tpe"}, "sampler: 'random', now 'tpe'"),
        ({"inner_splits": 4}, "search inner_splits: 3, now 4"),
        ({"window": 3}, "search window: 2, now 3"),
        ({"seed": 1}, "seed 0, now 1"),
    ],
)
def test_a_search_is_not_continued_as_another_one(path, changes, said):
    base = {"sampler": "random", "window": 2, "inner_splits": 3}
    open_search(path, ("tree",), search_config(**base))
    seed = changes.get("seed", 0)
    config = search_config(**{**base, **{k: v for k, v in changes.items() if k != "seed"}})
    with pytest.raises(RunError) as error:
        open_search(path, ("tree",), config, seed=seed)
    assert said in str(error.value)


def test_a_search_is_not_continued_in_another_space(path):
    open_search(path, ("tree",), search_config())
    wider = {"min_samples_leaf": {"type": "float", "low": 0.01, "high": 0.5, "log": True}}
    families = {"tree": model(DecisionTreeClassifier(), wider)}
    with pytest.raises(RunError, match="space min_samples_leaf"):
        open_search(path, ("tree",), search_config(), families)


@pytest.mark.parametrize(
    "budget",
    [{"n_trials": 30}, {"patience": 3}, {"timeout": "5m"}, {"max_failures": 5},
     {"trial_timeout": "1m"}],
)  # fmt: skip
def test_a_budget_may_change(path, budget):
    open_search(path, ("tree",), search_config())
    open_search(path, ("tree",), search_config(**budget))


def test_the_model_is_refitted_with_the_rounds_that_its_folds_kept(path, table):
    boosted = model(
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.5, min_samples_leaf=5),
        {"max_leaf_nodes": {"type": "int", "low": 3, "high": 8}},
    )
    choice, trials = search(
        path, table, ("boosted",), {"boosted": boosted}, n_trials=2, early_stopping=3
    )
    assert 0 < choice.n_iterations < 60
    assert choice.n_iterations == trials.loc[trials["chosen"], "n_iterations"].item()
    settled = choice.pipeline[-1].get_params()
    assert settled["max_iter"] == choice.n_iterations
    assert settled["early_stopping"] is False
    assert settled["max_leaf_nodes"] == choice.params["max_leaf_nodes"]


def test_a_model_that_does_not_stop_early_has_no_rounds(path, table):
    choice, _ = search(path, table, ("tree",), n_trials=2)
    assert choice.n_iterations is None

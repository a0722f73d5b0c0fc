"""Who suggests: seeds, resuming, and what is refused before the first trial."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from dataclasses import replace

import optuna
import pytest
from made_studies import NEEDS_TORCH
from optuna.trial import TrialState

from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.config.space import parse_space
from segexp.errors import ConfigError, RunError
from segexp.search.samplers import check_sampler, make_sampler, objective_metrics
from segexp.search.space import SearchSpace, join_spaces

NUMBERS = {
    "x": {"type": "float", "low": -1, "high": 1},
    "y": {"type": "float", "low": 0.01, "high": 10, "log": True},
    "n": {"type": "int", "low": 1, "high": 20},
}
CATEGORIES = {"kind": {"type": "categorical", "choices": ["a", [1, 2], None]}}
CONDITIONS = {"z": {"type": "float", "low": 0, "high": 1, "when": {"kind": "a"}}}
SPACES = {
    "random": {**NUMBERS, **CATEGORIES, **CONDITIONS},
    "tpe": {**NUMBERS, **CATEGORIES, **CONDITIONS},
    "gp": {**NUMBERS, **CATEGORIES, **CONDITIONS},
    "cmaes": {**NUMBERS, **CATEGORIES},
}
WINDOW = 3
GP = pytest.param("gp", marks=NEEDS_TORCH)


def config(*words):
    return load_config(words, (shipped_conf(),))


def search(name, **changes):
    return replace(config(f"search={name}", "search.startup_trials=4").search, **changes)


def space_of(nodes) -> SearchSpace:
    return join_spaces(parse_space(nodes, "model.space"))


@pytest.fixture(params=["random", "tpe", GP, "cmaes"])
def sampler(request):
    return request.param


def tell(study, trial, params):
    """Settle a trial: one in seven fails, one in five is pruned."""
    value = (params["x"] - 0.3) ** 2 + abs(params["n"] - 7) / 20
    trial.report(value, 0)
    if trial.number % 7 == 6:
        study.tell(trial, state=TrialState.FAIL)
    elif trial.number % 5 == 4:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


class Driver:
    """Asks in order and tells in order, with ``WINDOW`` trials running, as a run does."""

    def __init__(self, sampler, seed=0):
        self.config, self.seed = search(sampler), seed
        self.space = space_of(SPACES[sampler])
        self.study = optuna.create_study()
        self.running = []

    def ask(self, total):
        while len(self.study.trials) < total:
            if len(self.running) == WINDOW:
                tell(self.study, *self.running.pop(0))
            number = len(self.study.trials)
            self.study.sampler = make_sampler(self.config, self.seed, number)
            trial = self.study.ask()
            self.running.append((trial, self.space.suggest(trial)))
        return self

    @property
    def asked(self):
        return [self.space.decode(trial.params) for trial in self.study.trials]


def test_the_same_seed_asks_for_the_same(sampler):
    assert Driver(sampler).ask(25).asked == Driver(sampler).ask(25).asked


def test_another_seed_asks_for_something_else(sampler):
    assert Driver(sampler).ask(3).asked != Driver(sampler, seed=1).ask(3).asked


def test_no_suggestion_comes_twice(sampler):
    asked = [repr(point) for point in Driver(sampler).ask(25).asked]
    assert len(set(asked)) == len(asked)


def test_suggestions_depend_on_the_trials_and_not_on_what_was_asked_before(sampler):
    driver = Driver(sampler).ask(20)
    study = optuna.create_study()
    for trial in driver.study.trials:
        study.add_trial(copy.deepcopy(trial))
    states = [trial.state for trial in study.trials]
    assert set(states) == {
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING,
    }  # fmt: skip
    study.sampler = make_sampler(driver.config, 0, 20)
    driver.study.sampler = make_sampler(driver.config, 0, 20)
    assert driver.space.suggest(study.ask()) == driver.space.suggest(driver.study.ask())


@pytest.mark.parametrize("name", ["tpe", GP])
def test_a_sampler_learns(name):
    asked = Driver(name).ask(40).asked
    early, late = (sum(abs(p["x"] - 0.3) for p in part) for part in (asked[:10], asked[-10:]))
    assert late < early


def test_a_suggestion_does_not_depend_on_the_seed_of_texts():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_search_samplers import Driver\n"
        "print(Driver('tpe').ask(15).asked)"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, cwd=shipped_conf().parent,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1 and texts.pop().startswith("[{")


def test_the_state_of_cmaes_cannot_run_code():
    driver = Driver("cmaes").ask(20)

    class Evil:
        def __reduce__(self):
            return print, ("run",)

    content = {"cma:optimizer:0": pickle.dumps(Evil()).hex()}
    done = optuna.trial.create_trial(
        params=driver.study.trials[0].params,
        distributions=driver.study.trials[0].distributions,
        value=0.1,
        system_attrs=content,
    )
    driver.study.add_trial(done)
    driver.study.sampler = make_sampler(driver.config, 0, 21)
    with pytest.raises(RunError, match=r"names (builtins|__builtin__)\.print"):
        driver.space.suggest(driver.study.ask())


def test_cmaes_reads_its_own_state():
    driver = Driver("cmaes").ask(40)
    kept = [t for t in driver.study.trials if "cma:optimizer:0" in t.system_attrs]
    assert len(kept) > 1


def test_without_objectives_the_metric_that_ranks_is_the_objective():
    found = config("search=tpe")
    assert objective_metrics(found.search, found.evaluation) == ("accuracy",)


def test_metrics_of_a_trial_are_the_objectives_and_what_is_constrained():
    found = config(
        "search=tpe", "search.objectives=[f1_macro,log_loss]", "search.pruner=none",
        "search.constraints={log_loss:{max:1},accuracy:{min:0.5}}",
    )  # fmt: skip
    metrics = objective_metrics(found.search, found.evaluation)
    assert metrics == ("f1_macro", "log_loss", "accuracy")


@pytest.mark.parametrize("name", ["none", "grid", "random", "tpe", GP, "cmaes", "auto"])
def test_every_option_can_search_a_plain_space(name):
    check_sampler(search(name), space_of(NUMBERS))


@pytest.mark.parametrize(
    ("name", "changes", "nodes", "message"),
    [
        ("tpe", {}, {}, "model.space is empty, or words fix all that was in it"),
        ("grid", {}, {}, "model.space is empty"),
        ("tpe", {"n_trials": None}, NUMBERS, "search=tpe would never end: say search.n_trials=60"),
        ("cmaes", {}, CATEGORIES, "needs a parameter of type int or float"),
        ("cmaes", {}, {**CATEGORIES, **CONDITIONS}, "cannot search z, which has a condition"),
        ("cmaes", {"objectives": ["accuracy", "log_loss"]}, NUMBERS, "search.objectives: cmaes"),
        ("cmaes", {"constraints": {"accuracy": {"min": 0}}}, NUMBERS, "search.constraints: cmaes"),
        ("grid", {"grid_points": 300}, NUMBERS, "search=grid has 1,800,000 points"),
    ],
)
def test_what_a_sampler_cannot_do_is_said_before_the_first_trial(name, changes, nodes, message):
    with pytest.raises(ConfigError) as caught:
        check_sampler(search(name, **changes), space_of(nodes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [{"timeout": "10m"}, {"patience": 20}])
def test_any_limit_will_do(limit):
    check_sampler(search("tpe", n_trials=None, **limit), space_of(NUMBERS))


def test_one_of_several_models_may_have_no_space():
    check_sampler(search("auto"), space_of({}))


def test_cmaes_says_what_it_draws_at_random(caplog):
    with caplog.at_level(logging.WARNING):
        check_sampler(search("cmaes"), space_of(SPACES["cmaes"]))
    assert caplog.messages == ["cmaes learns numbers only; it draws at random: kind"]


@pytest.mark.parametrize(("name", "package"), [("gp", "torch"), ("cmaes", "cmaes")])
def test_a_missing_extra_is_named(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package}, which .* pip install 'segexp\[{name}\]'"):
        make_sampler(search(name), 0, 0)


def test_optuna_is_silent(capfd):
    Driver("tpe").ask(6)
    assert capfd.readouterr() == ("", "")

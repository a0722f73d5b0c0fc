"""Which trials are given up, and which never are."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from made_studies import LINE, Scorer, search_config, searched, space_of
from optuna.pruners import HyperbandPruner, MedianPruner
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from segexp.search.pruning import FoldPruner

PRUNERS = ["median", "wilcoxon", "hyperband"]
LEVELS = (0.03, -0.02, 0.05, 0.0, -0.04)  # folds are not equally hard


def folds(level, n=5):
    return [level + LEVELS[fold] for fold in range(n)]


def pruner_of(name, direction=StudyDirection.MAXIMIZE, **changes):
    changes = {"inner_splits": 5, "prune_startup": 3, "prune_warmup": 1, **changes}
    return FoldPruner(search_config(pruner=name, **changes), direction, "final")


def given_up_at(pruner, number, values, completed, pruned=None):
    """The number of folds after which a trial is given up; None if it runs to its end."""
    for n in range(1, len(values)):
        if pruner.prune(number, values[:n], completed, pruned or {}):
            return n
    return None


EARLIER = {n: folds(0.6 + 0.02 * n) for n in range(8)}


@pytest.mark.parametrize("name", PRUNERS)
def test_a_hopeless_trial_is_given_up(name):
    pruner = pruner_of(name)
    ends = [given_up_at(pruner, n, folds(0.1), EARLIER) for n in range(8, 20)]
    # Hyperband lets some trials run on, in a bracket of their own.
    assert any(ends) if name == "hyperband" else all(ends)


@pytest.mark.parametrize("name", PRUNERS)
def test_the_best_trial_so_far_is_kept(name):
    pruner = pruner_of(name)
    assert not any(given_up_at(pruner, n, folds(0.9), EARLIER) for n in range(8, 20))


@pytest.mark.parametrize("name", PRUNERS)
def test_of_a_loss_the_greatest_is_given_up(name):
    pruner = pruner_of(name, StudyDirection.MINIMIZE)
    assert any(given_up_at(pruner, n, folds(0.9), EARLIER) for n in range(8, 20))
    assert not any(given_up_at(pruner, n, folds(0.1), EARLIER) for n in range(8, 20))


def test_without_a_pruner_nothing_is_given_up():
    assert given_up_at(pruner_of("none"), 9, folds(0.0), EARLIER) is None


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("warmup", [0, 1, 2, 3])
def test_the_first_folds_never_give_a_trial_up(name, warmup):
    pruner = pruner_of(name, prune_warmup=warmup)
    ends = [given_up_at(pruner, n, folds(0.1), EARLIER) for n in range(8, 20)]
    assert all(end is None or end > warmup for end in ends)


@pytest.mark.parametrize("name", PRUNERS)
def test_nothing_is_given_up_before_so_many_trials_have_ended(name):
    some = {n: EARLIER[n] for n in range(5)}
    patient, eager = pruner_of(name, prune_startup=6), pruner_of(name, prune_startup=5)
    assert not any(given_up_at(patient, n, folds(0.1), some) for n in range(8, 20))
    assert any(given_up_at(eager, n, folds(0.1), some) for n in range(8, 20))


def test_the_median_of_others_decides_and_not_the_easiest_fold():
    """Optuna would take a trial's best step: here the first fold, which is easy for everybody."""
    earlier = {n: [0.9, 0.6, 0.6] for n in range(3)}
    pruner = pruner_of("median", inner_splits=3)
    assert given_up_at(pruner, 9, [0.9, 0.5, 0.5], earlier) == 2


def test_wilcoxon_compares_fold_by_fold():
    """A trial that loses every fold by a little is given up, however hard the folds are."""
    hard = [0.9, 0.2, 0.8, 0.3, 0.7]
    earlier = dict.fromkeys(range(3), hard)
    pruner = pruner_of("wilcoxon")
    assert given_up_at(pruner, 9, [value - 0.01 * (n + 1) for n, value in enumerate(hard)], earlier)
    assert given_up_at(pruner, 9, hard, earlier) is None


def test_hyperband_keeps_what_it_would_keep_whoever_was_given_up():
    pruner = pruner_of("hyperband")
    pruned = {20: folds(0.2, 2), 21: folds(0.1, 2)}
    verdicts = [given_up_at(pruner, n, folds(0.1), EARLIER, pruned) for n in range(22, 34)]
    assert verdicts == [given_up_at(pruner, n, folds(0.1), EARLIER, pruned) for n in range(22, 34)]


def study_of_optuna(direction):
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(study_name="final", direction=direction, sampler=sampler)


def hyperband_of_optuna(number, values, earlier, direction, n_folds):
    """Its verdict where the trials climbed its rungs one after the other, fold by fold."""
    study = study_of_optuna(direction)
    pruner = HyperbandPruner(min_resource=1, max_resource=n_folds, reduction_factor=3)
    for one, folds_of_one in [*sorted(earlier.items()), (number, values)]:
        study.add_trial(create_trial(state=TrialState.RUNNING))
        for step in range(len(folds_of_one)):
            trial = study.get_trials(deepcopy=False)[-1]
            mean = float(np.mean(folds_of_one[: step + 1]))
            study._storage.set_trial_intermediate_value(trial._trial_id, step, mean)
            trial = study.get_trials(deepcopy=False)[-1]
            trial.number = one
            verdict = pruner.prune(study, trial)
    return verdict


def median_of_optuna(number, values, earlier, direction, n_folds):
    study = study_of_optuna(direction)
    step = len(values) - 1
    for others in earlier.values():
        mean = float(np.mean(others[: step + 1]))
        study.add_trial(create_trial(value=0.0, intermediate_values={step: mean}))
    own = {step: float(np.mean(values))}
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=own)
    return MedianPruner(n_startup_trials=0, n_warmup_steps=0).prune(study, trial)


@pytest.mark.parametrize("n_folds", [3, 5, 10])
@pytest.mark.parametrize("direction", list(StudyDirection)[1:])
@pytest.mark.parametrize(
    ("name", "optunas"), [("hyperband", hyperband_of_optuna), ("median", median_of_optuna)]
)
def test_verdicts_are_those_of_optuna(name, optunas, direction, n_folds):
    rng = np.random.default_rng(0)
    pruner = pruner_of(name, direction, inner_splits=n_folds)
    earlier = {n: rng.normal(size=n_folds).tolist() for n in range(12)}
    for number in range(12, 40):
        values = rng.normal(size=rng.integers(2, n_folds + 1)).tolist()
        expected = optunas(number, values, earlier, direction, n_folds)
        assert pruner.prune(number, values, earlier, {}) == expected


def line_search(path, pruner, **changes):
    """Points in the order 0 to 9; 7 is the best, 0 to 2 are good, the others are hopeless."""
    level = {0: 0.6, 1: 0.62, 2: 0.64, 7: 0.9}
    scorer = Scorer(lambda params, fold: (level.get(params["a"], 0.1) + LEVELS[fold],))
    changes = {"inner_splits": 5, "prune_startup": 3, "window": 1, **changes}
    config = search_config("grid", n_trials=None, pruner=pruner, **changes)
    return searched(path, config, space_of(LINE), scorer), scorer


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_study_finds_the_best_with_fewer_folds(tmp_path, pruner):
    study, scorer = line_search(tmp_path / "journal.log", pruner)
    assert study.winner().params == {"a": 7}
    assert {t.state for t in study.trials} == {"COMPLETE", "PRUNED"}
    assert len(scorer.calls) < 10 * 5


def test_a_study_without_a_pruner_runs_every_fold(tmp_path):
    study, scorer = line_search(tmp_path / "journal.log", "none")
    assert {t.state for t in study.trials} == {"COMPLETE"}
    assert len(scorer.calls) == 10 * 5


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_study_never_gives_up_its_first_trials(tmp_path, pruner):
    study, _ = line_search(tmp_path / "journal.log", pruner, prune_startup=6)
    assert all(t.state == "COMPLETE" for t in study.trials[:6])


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruned_trial_keeps_the_folds_that_it_ran(tmp_path, pruner):
    study, scorer = line_search(tmp_path / "journal.log", pruner)
    pruned = [t for t in study.trials if t.state == "PRUNED"]
    assert pruned
    for trial in pruned:
        assert 1 < len(trial.scores) < 5
        assert sum(number == trial.number for _, number, _ in scorer.calls) == len(trial.scores)

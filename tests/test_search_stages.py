"""One fit of a booster is worth several: it is judged at fewer rounds, too."""

from __future__ import annotations

import asyncio
import math
import statistics

import pytest
from made_studies import open_study, params_of, search_config, space_of

from segexp.search.fitting import FoldScore
from segexp.search.loop import optimise

BOOSTER = {
    "rounds": {"type": "int", "low": 10, "high": 200, "log": True},
    "x": {"type": "float", "low": 0.0, "high": 1.0},
}


def quality(x, rounds, fold):
    """Best at 60 rounds and x = 0.7."""
    return 0.8 - (x - 0.7) ** 2 - 0.1 * math.log(rounds / 60) ** 2 + 0.05 * fold


async def score(study, trial, fold):
    x, rounds = trial.params["x"], trial.params["rounds"]
    values = [(n, (quality(x, n, fold),)) for n in (*study.stages(trial), rounds)]
    stages = tuple(values) if len(values) > 1 else ()
    return FoldScore(values[-1][1], 0.01, None, (), None, stages)


class UnpluggedError(Exception):
    pass


def study_at(folder, sampler="tpe", **changes):
    config = search_config(sampler, staged_rounds=4, **changes)
    return open_study(folder / "journal.log", config, space_of(BOOSTER), rounds="rounds")


@pytest.fixture
def searched(tmp_path):
    study = study_at(tmp_path)
    asyncio.run(optimise(study, score))
    return study


def test_stages_lie_in_the_range_below_the_rounds_of_the_trial(searched):
    for trial in searched.trials:
        assert all(10 <= rounds < trial.params["rounds"] for rounds in searched.stages(trial))
    assert max(len(searched.stages(trial)) for trial in searched.trials) == 4


def test_a_trial_counts_at_its_best_rounds(searched):
    for trial in searched.trials:
        x = trial.params["x"]
        tried = (*searched.stages(trial), trial.params["rounds"])
        best = max(tried, key=lambda rounds: quality(x, rounds, 0))
        assert trial.n_iterations in (best, None)
        mean = statistics.fmean(quality(x, best, fold) for fold in range(3))
        assert trial.mean(0) == pytest.approx(mean)


def test_all_folds_count_at_the_same_rounds(searched):
    trial = searched.winner()
    wanted = [quality(trial.params["x"], trial.n_iterations, fold) for fold in range(3)]
    assert trial.fold_values() == pytest.approx(wanted)


def test_the_sampler_learns_which_rounds_were_good(searched):
    searched.budget += 1
    searched.ask()  # informs it of what is told
    known = searched._study.get_trials(deepcopy=False)
    for trial in searched.trials[: len(searched.trials) - searched.config.window]:
        wanted = trial.n_iterations or trial.params["rounds"]
        assert known[trial.number].params["rounds"] == wanted


def test_a_search_that_was_cut_goes_on_to_the_same_end(tmp_path, searched):
    (tmp_path / "cut").mkdir()
    calls = 0

    async def dying(study, trial, fold):
        nonlocal calls
        calls += 1
        if calls > 17:
            raise UnpluggedError
        return await score(study, trial, fold)

    with pytest.raises(UnpluggedError):
        asyncio.run(optimise(study_at(tmp_path / "cut"), dying))
    again = study_at(tmp_path / "cut")
    asyncio.run(optimise(again, score))
    assert params_of(again) == params_of(searched)
    assert [t.n_iterations for t in again.trials] == [t.n_iterations for t in searched.trials]


def test_without_stages_there_is_one_value_a_fit(tmp_path):
    study = study_at(tmp_path, "random")
    study.config = search_config("random", staged_rounds=None)
    assert study.stages(study.ask()) == ()

"""A search that is killed goes on as if nothing had happened; Optuna reads what it left."""

from __future__ import annotations

import asyncio
import time

import optuna
import pytest
from made_studies import (
    LINE,
    MIXED,
    NEEDS_TORCH,
    NUMBERS,
    TINY,
    Scorer,
    noise,
    open_study,
    search_config,
    search_to_end,
    searched,
    space_of,
    told_of,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState
from pandas.testing import assert_frame_equal

from segexp.errors import RunError
from segexp.search.fitting import Failure
from segexp.search.journal import Journal, repair_journal
from segexp.search.loop import optimise, run_again


def broken_corner(params, fold):
    """Fails in one corner of the space: here and there at a later fold."""
    x = params.get("x", params.get("a", 0) / 10)
    if x > 0.85:
        return Failure("INVALID", "x is too large", "Traceback: x")
    if x < 0.25 and fold == 1:
        return Failure("FAIL", "did not converge", "Traceback: y")
    return None


def rough(params, fold):
    """Folds that disagree so much that pruning errs, and finalists come back."""
    x = params.get("x", params.get("a", 0) / 10)
    return (0.8 - (x - 0.7) ** 2 + 0.1 * noise(f"{sorted(params.items())} {fold}"),)


def jumpy(params, fold):
    """The first folds say next to nothing of the later ones."""
    return (noise(f"{sorted(params.items())} {fold}"),)


PRUNING = {"pruner": "median", "prune_startup": 2, "finalists": 2}


def roughly(**more):
    return Scorer(rough, **more)


def jumping(**more):
    return Scorer(jumpy, **more)


def breaking(**more):
    return Scorer(fails=broken_corner, **more)


def race_of(sampler, nodes, make_scorer=Scorer, marks=(), **changes):
    name = " ".join([sampler, *(f"{key}={value}" for key, value in changes.items())])
    return pytest.param((sampler, nodes, changes, make_scorer), id=name, marks=marks)


SLOW = pytest.mark.slow
RACES = [
    race_of("random", MIXED, inner_splits=2),
    race_of("tpe", MIXED, inner_splits=2),
    race_of("gp", MIXED, inner_splits=2, marks=NEEDS_TORCH),
    race_of("cmaes", NUMBERS, n_trials=10, inner_splits=2),
    race_of("grid", TINY, n_trials=4, inner_splits=2),
    race_of("tpe", LINE, roughly, **PRUNING, n_trials=7),
    race_of("tpe", LINE, breaking, n_trials=7, inner_splits=2),
    race_of("grid", TINY, n_trials=None, inner_splits=2, marks=SLOW),
    race_of("random", LINE, roughly, **PRUNING, n_trials=None, patience=4, marks=SLOW),
    race_of("random", MIXED, breaking, max_failures=2, marks=SLOW),
    race_of("tpe", MIXED, jumping, **PRUNING, window=4, n_trials=12, marks=SLOW),
    race_of("random", NUMBERS, roughly, pruner="hyperband", n_trials=9, marks=SLOW),
    race_of(
        "random", NUMBERS, roughly, pruner="wilcoxon", prune_startup=2, inner_splits=5, marks=SLOW
    ),
]


def winner_of(study):
    best = study.winner()
    return best and (best.number, best.params, best.mean(0))


def recorded_folds(path):
    """Which folds of which parameters a journal holds, by trial."""
    if not path.exists() or not path.read_bytes():
        return set()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return {
        (trial.number, int(key.removeprefix("fold ")))
        for summary in optuna.get_all_study_summaries(storage)
        for trial in optuna.load_study(study_name=summary.study_name, storage=storage).trials
        for key in trial.user_attrs
        if key.startswith("fold ")
    }


@pytest.fixture(scope="module", params=RACES)
def race(request, tmp_path_factory):
    """A search without interruption: its journal and what came of it."""
    sampler, nodes, changes, make_scorer = request.param
    config, space = search_config(sampler, **{"n_trials": 6, **changes}), space_of(nodes)
    path = tmp_path_factory.mktemp("race") / "journal.log"
    study = searched(path, config, space, make_scorer(shuffle=1))
    return config, space, make_scorer, path.read_bytes(), told_of(study), winner_of(study)


def check_goes_on(race, path, left):
    """Check that a search goes on from ``left`` of a journal to the same end."""
    config, space, make_scorer, _, table, winner = race
    path.write_bytes(left)
    repair_journal(path)
    before = recorded_folds(path)
    scorer = make_scorer(shuffle=len(left))
    study = searched(path, config, space, scorer)
    assert_frame_equal(told_of(study), table)
    assert winner_of(study) == winner
    assert not before & {(number, fold) for _, number, fold in scorer.calls}


def test_a_search_that_was_killed_after_any_line_goes_on_to_the_same_end(race, tmp_path):
    lines = race[3].splitlines(keepends=True)
    for n in range(len(lines) + 1):
        check_goes_on(race, tmp_path / f"{n}.log", b"".join(lines[:n]))


def test_a_search_that_was_killed_within_a_line_goes_on_to_the_same_end(race, tmp_path):
    content = race[3]
    for n in (10, len(content) // 3, len(content) // 2, len(content) - 1):
        assert not content[:n].endswith(b"\n")
        check_goes_on(race, tmp_path / f"{n}.log", content[:n])


def test_a_search_that_is_killed_again_and_again_comes_to_the_same_end(race, tmp_path):
    config, space, make_scorer, _, table, winner = race
    path = tmp_path / "journal.log"
    kills = 0
    while True:
        study = open_study(path, config, space)
        scorer = make_scorer(shuffle=kills, dies_at=1 + kills % 3)
        try:
            asyncio.run(search_to_end(study, scorer))
            break
        except ConnectionError:
            kills += 1
            lines = path.read_bytes().splitlines(keepends=True)
            assert kills < 100
            # Every other time the last line does not reach the disk either.
            path.write_bytes(b"".join(lines[:-1]) if kills % 2 else b"".join(lines))
    assert kills > 2
    assert_frame_equal(told_of(study), table)
    assert winner_of(study) == winner
    # What is read back is what was known when it was written.
    assert_frame_equal(told_of(open_study(path, config, space)), table)


def load(path, name="final"):
    """The study as anybody with Optuna sees it."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=name, storage=storage)


def test_optuna_reads_what_was_searched(tmp_path):
    path, space = tmp_path / "journal.log", space_of(MIXED)
    config = search_config("tpe", **PRUNING, n_trials=10)
    study = searched(path, config, space, Scorer(rough), name="repeat0-fold1")
    loaded = load(path, "repeat0-fold1")
    assert loaded.directions == [StudyDirection.MAXIMIZE]
    assert [t.params for t in loaded.trials] == [space.encode(t.params) for t in study.trials]
    assert [t.state.name for t in loaded.trials] == [t.state for t in study.trials]
    assert {t.state for t in loaded.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for one, trial in zip(loaded.trials, study.trials, strict=True):
        assert one.values == ([trial.mean(0)] if one.state == TrialState.COMPLETE else None)
    first = study.trials[0].fold_values()
    means = [sum(first[: n + 1]) / (n + 1) for n in range(len(first))]
    assert loaded.trials[0].intermediate_values == pytest.approx(dict(enumerate(means)))


def test_optuna_reads_failures_with_their_causes(tmp_path):
    path = tmp_path / "journal.log"
    study = searched(path, search_config(n_trials=20), space_of(NUMBERS), breaking())
    loaded = load(path)
    failed = [t.number for t in study.trials if t.state in ("FAIL", "INVALID")]
    assert {study.trials[n].state for n in failed} == {"FAIL", "INVALID"}
    assert [t.number for t in loaded.get_trials(states=[TrialState.FAIL])] == failed
    for n in failed:
        assert loaded.trials[n].user_attrs["state"] == study.trials[n].state
        assert loaded.trials[n].user_attrs["cause"] == study.trials[n].failure.cause


def test_studies_of_one_journal_do_not_mix(tmp_path):
    path, config, space = tmp_path / "journal.log", search_config(n_trials=3), space_of(NUMBERS)
    one = searched(path, config, space, name="repeat0-fold0", seed=1)
    other = searched(path, config, space, name="repeat0-fold1", seed=2)
    for name, study in (("repeat0-fold0", one), ("repeat0-fold1", other)):
        assert [t.params for t in load(path, name).trials] == [t.params for t in study.trials]
    assert one.trials[0].params != other.trials[0].params


FACTS = {"data": "abc", "seed": 0, "space": {"x": "float 0 .. 1", "y": "float 0 .. 1"}}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data", "xyz", "data 'abc', now 'xyz'"),
        ("seed", 1, "seed 0, now 1"),
        ("space", {"x": "float 0 .. 2", "y": "float 0 .. 1"},
         "space x: 'float 0 .. 1', now 'float 0 .. 2'"),
        ("space", {"x": "float 0 .. 1"}, "space y: 'float 0 .. 1', now None"),
    ],
)  # fmt: skip
def test_a_study_is_not_continued_on_other_facts(tmp_path, key, value, said):
    path, directions = tmp_path / "journal.log", [StudyDirection.MAXIMIZE]
    Journal(path).study("final", directions, FACTS)
    Journal(path).study("final", directions, FACTS)
    with pytest.raises(RunError) as error:
        Journal(path).study("final", directions, {**FACTS, key: value})
    assert said in str(error.value) and "start a new run" in str(error.value)


def test_a_torn_line_is_cut_off_and_said(tmp_path, caplog):
    path = tmp_path / "journal.log"
    path.write_bytes(b'{"op_code":0}\n{"op_co')
    assert repair_journal(path) == 7
    assert path.read_bytes() == b'{"op_code":0}\n'
    assert "cut off 7 bytes of a line that was not finished" in caplog.text


def test_the_lock_of_a_process_that_died_is_in_nobodys_way(tmp_path):
    path = tmp_path / "journal.log"
    searched(path, search_config(n_trials=2), space_of(NUMBERS))
    path.with_name("journal.log.lock").symlink_to(path)
    study = searched(path, search_config(n_trials=3), space_of(NUMBERS))
    assert len(study.trials) == 3


def test_what_is_no_journal_is_said_in_one_line(tmp_path):
    path = tmp_path / "journal.log"
    path.write_text("nobody knows\n" * 3)
    with pytest.raises(RunError, match="cannot be read as a journal"):
        Journal(path)


@pytest.mark.parametrize(
    "sampler", ["random", "tpe", pytest.param("gp", marks=NEEDS_TORCH), "cmaes"]
)
def test_more_trials_make_what_they_would_have_made_at_once(tmp_path, sampler):
    space = space_of(NUMBERS)
    at_once = searched(tmp_path / "once.log", search_config(sampler, n_trials=14, window=3), space)
    for n in (4, 9, 14):
        study = searched(tmp_path / "more.log", search_config(sampler, n_trials=n, window=3), space)
    assert_frame_equal(told_of(study), told_of(at_once))


def test_finalists_do_not_change_what_more_trials_suggest(tmp_path):
    space, changes = space_of(MIXED), {**PRUNING, "window": 3, "finalists": 3}

    def suggested(study):
        return [t.params for t in study.trials if t.origin == "sampler"]

    config = search_config("tpe", **changes, n_trials=24)
    at_once = searched(tmp_path / "once.log", config, space, Scorer(jumpy))
    for n in (14, 24):
        config = search_config("tpe", **changes, n_trials=n)
        study = searched(tmp_path / "more.log", config, space, Scorer(jumpy))
    assert [t.origin for t in study.trials[14:]].count("finalist") > 0
    assert suggested(study) == suggested(at_once)


def test_more_of_a_grid_is_the_rest_of_it(tmp_path):
    space = space_of(TINY)
    for n in (2, 4, None):
        study = searched(tmp_path / "journal.log", search_config("grid", n_trials=n), space)
    keys = [trial.key for trial in study.trials]
    assert sorted(keys) == sorted({space.key(point) for point in space.grid(4)})


def test_time_between_two_processes_does_not_count(tmp_path):
    path, space = tmp_path / "journal.log", space_of(NUMBERS)
    for n in (2, 4):
        searched(path, search_config(n_trials=n), space)
        time.sleep(0.4)
    assert open_study(path, search_config(n_trials=9), space).stops_by(limit_s=0.4) is None


def test_time_of_an_earlier_process_counts(tmp_path):
    path, space = tmp_path / "journal.log", space_of(NUMBERS)

    async def slow(study, trial, fold):
        await asyncio.sleep(0.05)
        return await Scorer()(study, trial, fold)

    study = open_study(path, search_config(n_trials=2), space)
    asyncio.run(optimise(study, slow))
    assert open_study(path, search_config(n_trials=9), space).stops_by(limit_s=0.1) == "timeout"


def test_a_study_knows_that_it_ended_until_it_may_go_on(tmp_path):
    path, space = tmp_path / "journal.log", space_of(NUMBERS)
    searched(path, search_config(n_trials=2), space)
    ended = open_study(path, search_config(n_trials=2), space).stop
    assert (ended["by"], ended["n_trials"]) == ("n_trials", 2)
    assert open_study(path, search_config(n_trials=3), space).stop is None
    assert open_study(path, search_config(n_trials=2, patience=1), space).stop is None


def test_only_what_failed_is_tried_again(tmp_path):
    path, space, config = tmp_path / "journal.log", space_of(LINE), search_config(n_trials=12)
    searched(path, config, space, breaking())
    study = open_study(path, config, space)
    failed = {t.key for t in study.trials if t.state == "FAIL" and t.duplicate_of is None}
    assert failed and any(t.state == "INVALID" for t in study.trials)
    scorer = Scorer()
    again = study.retry_failed()
    asyncio.run(run_again(study, again, scorer, lambda study, trial: None))
    assert {key for key, _, _ in scorer.calls} == failed
    assert [t.state for t in again] == ["COMPLETE"] * len(failed)
    assert study.retry_failed() == []
    assert_frame_equal(told_of(open_study(path, config, space)), told_of(study))

"""Cells of a grid side by side: the same numbers as alone, and nothing is done twice."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from own_processes import OwnProcess

import segexp.runs as runs
import segexp.sweep as sweep
from segexp.cli import main
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.errors import ConfigError
from segexp.experiment import run_experiment
from segexp.plan import plan_experiment
from segexp.sweep import run_sweep

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ["dataset.n_customers=200", "evaluation.n_splits=2", "evaluation.baselines=[]",
         "evaluation.importance_repeats=0", "evaluation.final_model=false"]  # fmt: skip
ONE = [*QUICK, "engine.n_jobs=1"]
TREE = "model=decision_tree"
SEARCH = ["search=tpe", "search.n_trials=5", "search.inner_splits=2", "search.startup_trials=2"]
PCA = "+preprocessing.reduction.pca._target_=sklearn.decomposition.PCA"
TOO_MANY = "+preprocessing.reduction.pca.n_components=500,2"  # the first fails when it is fitted
FAILING = [*ONE, TREE, PCA, TOO_MANY]
SAME = ["study", "number", "state", "value", "origin", "params"]
GIVE_UP_S = 60.0


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only_sweep():
    (path,) = (Path("outputs") / "sweeps").iterdir()
    return path


def content(path=None):
    return json.loads(((path or only_sweep()) / runs.SWEEP).read_text())


def cells(path=None):
    return content(path)["cells"]


def run_of(cell, path=None):
    return runs.open_run(Path(os.path.normpath((path or only_sweep()) / cell["path"])))


def alone(words, folder="alone"):
    said = [*words, f"run.outputs={folder}"]
    return run_experiment(plan_experiment(load_config(said, (shipped_conf(),))), said)


def files_of(path):
    return {
        file.relative_to(path): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in path.rglob("*")
        if file.is_file()
    }


def set_sweep(path, **entries):
    (path / runs.SWEEP).write_text(json.dumps(content(path) | entries))


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory):
    """A sweep of two cells, the second of which waits to be run."""
    folder = tmp_path_factory.mktemp("two")
    with contextlib.chdir(folder):
        assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
        path = only_sweep()
        shutil.rmtree(run_of(cells(path)[1], path).path)
        waiting = cells(path)[1] | {"status": "waiting", "path": None}
        set_sweep(path, status="interrupted", cells=[cells(path)[0], waiting])
    return folder / "outputs"


@pytest.fixture
def stopped(two_cells, here):
    shutil.copytree(two_cells, here / "outputs")
    return only_sweep()


# --------------------------------------------------------------------------------------
# Side by side


@pytest.fixture(scope="module")
def singles(undrawn, tmp_path_factory):
    """The runs of four cells, each of them alone, by their model and seed."""
    folder = tmp_path_factory.mktemp("singles")
    models, seeds = (TREE, "model=logistic_regression"), ("run.seed=0", "run.seed=1")
    choices = list(itertools.product(models, seeds))
    return {choice: alone([*ONE, *SEARCH, *choice], folder) for choice in choices}


@pytest.mark.parametrize(
    "engine",
    [
        ["engine.n_jobs=1"],
        # A time limit of a trial needs processes, however short the work is.
        pytest.param(["engine.n_jobs=2", "search.trial_timeout=2m"], marks=pytest.mark.slow),
    ],
    ids=["one", "two"],
)
def test_cells_that_search_have_the_numbers_that_they_have_alone(engine, singles):
    words = [*QUICK, *engine, *SEARCH, f"{TREE},logistic_regression", "run.seed=0,1"]
    assert main(["sweep", *words]) == 0
    assert len(cells()) == len(singles)
    for cell in cells():
        own = run_of(cell)
        single = singles[tuple(cell["words"][-2:])]
        assert own.path.parent == only_sweep()
        assert (own.path / runs.SCORES).read_bytes() == (single.path / runs.SCORES).read_bytes()
        pd.testing.assert_frame_equal(own.read_trials()[SAME], single.read_trials()[SAME])


def test_cells_with_a_time_of_their_own_take_turns():
    timed = ["search=tpe", "search.inner_splits=2", "search.n_trials=null", "search.timeout=1s"]
    assert main(["sweep", *ONE, *timed, f"{TREE},logistic_regression"]) == 0
    (_, first_end), (second_start, _) = sorted(
        (min(trials["start"]), max(trials["start"]))
        for trials in (run_of(cell).read_trials() for cell in cells())
    )
    assert first_end < second_start


def test_an_error_that_nobody_foresaw_stops_no_other_cell(monkeypatch, capsys):
    find = sweep.find_same

    def find_or_fail(plan, *others):
        if plan.config.run.seed == 0:
            raise ZeroDivisionError("never thought of")
        return find(plan, *others)

    monkeypatch.setattr(sweep, "find_same", find_or_fail)
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 1
    assert [cell["status"] for cell in cells()] == ["failed", "completed"]
    assert "ZeroDivisionError('never thought of')" in capsys.readouterr().out


def test_a_sweep_remembers_what_was_typed_and_what_came_of_it():
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
    known = content()
    assert known["status"] == "completed"
    assert known["words"] == [*ONE, TREE, "run.seed=0,1"]
    assert [cell["status"] for cell in known["cells"]] == ["completed", "completed"]
    assert [cell["words"][-1] for cell in known["cells"]] == ["run.seed=0", "run.seed=1"]
    assert all(run_of(cell).status == "completed" for cell in known["cells"])


def test_nothing_that_is_recorded_holds_an_absolute_path(here):
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
    assert str(here) not in (only_sweep() / runs.SWEEP).read_text()


def test_the_log_of_a_cell_is_its_own():
    assert main(["sweep", *ONE, *SEARCH, f"{TREE},logistic_regression"]) == 0
    tree, linear = ((run_of(cell).path / runs.LOG).read_text() for cell in cells())
    assert "max_depth" in tree
    assert "max_depth" not in linear
    assert "'C'" in linear


# --------------------------------------------------------------------------------------
# Failures


def test_a_cell_that_fails_stops_no_other_and_says_why(capsys):
    assert main(["sweep", *FAILING]) == 1
    failed, done = cells()
    assert (failed["status"], done["status"]) == ("failed", "completed")
    assert content()["status"] == "failed"
    assert "n_components=500" in failed["cause"]
    assert run_of(failed).status == "failed"
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith(f"{TOO_MANY[:-2]}  "))
    assert "failed" in row
    assert "n_components=500 must be" in row
    assert f"segexp resume {only_sweep()} --retry-failed" in out


def test_a_cell_whose_data_cannot_be_read_stops_no_other(here):
    (here / "bad.csv").write_text("ID,Segmentation,x\n1,A,1\n1,B,2\n")
    words = ["dataset.id=ID", "dataset.target=Segmentation", *ONE[1:], TREE]
    from segexp.data.demo import generate_customers

    generate_customers(200, 0).to_csv("good.csv", index=False)
    assert main(["sweep", "dataset=csv", "dataset.path=bad.csv,good.csv", *words]) == 1
    failed, done = cells()
    assert failed["status"] == "failed"
    assert failed["path"] is None
    assert done["status"] == "completed"


def test_what_failed_is_run_again_only_when_that_is_wanted(here):
    """The fault is gone, as after `pip install` or with more memory."""
    model = here / "conf" / "model" / "own.yaml"
    model.parent.mkdir(parents=True)
    (here / "own_model.py").write_text(
        "from pathlib import Path\nfrom sklearn.tree import DecisionTreeClassifier\n"
        "class Own(DecisionTreeClassifier):\n"
        "    def fit(self, X, y):\n"
        "        if self.max_depth == 3 and Path('broken').exists():\n"
        "            raise OSError('no licence')\n"
        "        return super().fit(X, y)\n"
    )
    model.write_text("# own\nname: own\nestimator: {_target_: own_model.Own, random_state: 0}\n")
    (here / "broken").touch()
    sys.path.insert(0, str(here))
    try:
        words = ["model=own", "run.packages=[own_model]", "+model.estimator.max_depth=2,3"]
        assert main(["sweep", *ONE, *words]) == 1
        path = only_sweep()
        done, failed = cells()
        before = files_of(run_of(done).path)
        (here / "broken").unlink()
        assert main(["resume", str(path)]) == 2  # a directory does not allow packages by itself
        assert main(["resume", str(path), words[1]]) == 1
        assert cells() == [done, failed]
        assert main(["resume", str(path), words[1], "--retry-failed"]) == 0
        assert [cell["status"] for cell in cells()] == ["completed", "completed"]
        assert cells()[1]["cause"] is None
        assert content()["status"] == "completed"
        assert files_of(run_of(done).path) == before
    finally:
        sys.path.remove(str(here))
        sys.modules.pop("own_model", None)


def test_a_wrong_cell_is_found_before_anything_is_run(capsys):
    assert main(["sweep", *ONE, TREE, "evaluation.n_splits=2,1"]) == 2
    assert not Path("outputs").exists()


def test_an_engine_word_that_varies_is_refused_before_anything_is_made(capsys):
    assert main(["sweep", *QUICK, TREE, "engine.n_jobs=1,2"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "engine" in err
    assert not Path("outputs").exists()


def test_engines_that_differ_are_refused_in_a_library_too():
    plans = [
        plan_experiment(load_config([*QUICK, TREE, word], (shipped_conf(),)))
        for word in ("engine.n_jobs=1", "engine.threads=2")
    ]
    with pytest.raises(ConfigError, match="engine"):
        run_sweep(plans, [[], []], [])
    assert not Path("outputs").exists()


# --------------------------------------------------------------------------------------
# What is done already


def test_what_an_earlier_run_did_is_not_done_again(capsys):
    assert main(["run", *ONE, TREE]) == 0
    (done,) = runs.find_runs(Path("outputs"))
    before = files_of(done)
    assert main(["sweep", *ONE, f"{TREE},knn"]) == 0
    found, new = cells()
    assert (found["status"], new["status"]) == ("done already", "completed")
    assert run_of(found).path == done
    assert files_of(done) == before
    assert len(runs.find_runs(Path("outputs"))) == 2
    assert done.name in capsys.readouterr().out


def test_the_same_sweep_again_finds_all_of_its_cells():
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
    first = only_sweep()
    assert main(["sweep", *ONE, TREE, "run.seed=1,2"]) == 0
    (second,) = (path for path in first.parent.iterdir() if path != first)
    assert [cell["status"] for cell in cells(second)] == ["done already", "completed"]
    assert run_of(cells(second)[0], second).path == run_of(cells(first)[1], first).path
    assert len(runs.find_runs(Path("outputs"))) == 3


def test_a_run_finds_what_a_sweep_did(capsys):
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
    assert main(["run", *ONE, TREE, "run.seed=1"]) == 0
    assert "already done" in capsys.readouterr().out
    assert len(runs.find_runs(Path("outputs"))) == 2


def test_force_repeats_what_was_done():
    assert main(["sweep", *ONE, TREE, "run.seed=0,1"]) == 0
    assert main(["sweep", *ONE, TREE, "run.seed=0,1", "--force"]) == 0
    assert len(runs.find_runs(Path("outputs"))) == 4


def test_a_cell_that_comes_twice_is_run_once(capsys):
    words = [*ONE, TREE, PCA, "+preprocessing.reduction.pca.n_components=2,2,500"]
    assert main(["sweep", *words]) == 1
    assert [cell["status"] for cell in cells()] == ["completed", "failed"]
    assert len(runs.find_runs(Path("outputs"))) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(lines) == 2
    assert lines[0].startswith("[1/2]") and "n_components=2:" in lines[0]
    assert lines[1].startswith("[2/2]") and "n_components=500: failed" in lines[1]


# --------------------------------------------------------------------------------------
# Stopped in the middle


def wait_for_a_done_cell(process):
    """Return when one cell is completed and another one is not."""
    deadline = time.monotonic() + GIVE_UP_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ValueError, OSError):
            statuses = {cell["status"] for cell in cells()}
            if "completed" in statuses and statuses != {"completed"}:
                return
        time.sleep(0.005)
    pytest.fail("no cell was completed while another one was not")


@pytest.fixture
def at_work(here):
    """A sweep in a process of its own, one cell of which is done."""
    process = OwnProcess(["sweep", *ONE, *SEARCH, TREE, "run.seed=0,1,2"])
    try:
        wait_for_a_done_cell(process)
        yield process
    finally:
        process.kill()
        process.communicate()


def check_resumed(kept):
    path = only_sweep()
    assert main(["resume", str(path)]) == 0
    assert content()["status"] == "completed"
    assert {cell["status"] for cell in cells()} == {"completed"}
    for run_path, files in kept.items():
        assert files_of(run_path) == files
    own = [run_of(cell).path for cell in cells()]
    assert len({*own}) == len(runs.find_runs(path)) == 3
    cell = cells()[-1]
    scores = (run_of(cell).path / runs.SCORES).read_bytes()
    assert scores == (alone(cell["words"]).path / runs.SCORES).read_bytes()


def done_cells():
    done = [run_of(cell).path for cell in cells() if cell["status"] == "completed"]
    return {path: files_of(path) for path in done}


def test_a_sweep_that_was_killed_goes_on(at_work):
    at_work.kill()
    at_work.wait()
    assert runs.open_sweep(only_sweep()).status == "killed"
    kept = done_cells()
    assert kept
    check_resumed(kept)


def test_ctrl_c_ends_a_sweep_with_the_command_that_goes_on(at_work):
    at_work.send_signal(signal.SIGINT)
    _, err = at_work.communicate(timeout=GIVE_UP_S)
    assert at_work.returncode == 130
    assert err.count("\n") == 1
    assert f"segexp resume {only_sweep()}" in err
    assert content()["status"] == "interrupted"
    assert {cell["status"] for cell in cells()} <= {"completed", "interrupted", "waiting"}
    for path in runs.find_runs(only_sweep()):
        assert runs.open_run(path).status in ("completed", "interrupted")
    check_resumed(done_cells())


def test_a_sweep_at_work_is_left_alone(at_work, capsys):
    at_work.send_signal(signal.SIGSTOP)
    before = content()
    assert main(["resume", str(only_sweep())]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"process {at_work.pid}" in err
    assert content() == before


# --------------------------------------------------------------------------------------
# Resume


def test_only_what_waits_is_run(stopped):
    done = run_of(cells()[0])
    before = files_of(done.path)
    assert main(["resume", str(stopped)]) == 0
    assert [cell["status"] for cell in cells()] == ["completed", "completed"]
    assert files_of(done.path) == before
    assert len(runs.find_runs(stopped)) == 2


def test_a_completed_sweep_has_nothing_to_do(stopped, capsys):
    assert main(["resume", str(stopped)]) == 0
    before = {path: files_of(path) for path in runs.find_runs(stopped)}
    capsys.readouterr()
    assert main(["resume", str(stopped)]) == 0
    assert "best first" in capsys.readouterr().out
    assert {path: files_of(path) for path in runs.find_runs(stopped)} == before


def test_an_option_that_changed_since_is_refused(here, capsys):
    option = here / "conf" / "model" / "own.yaml"
    option.parent.mkdir(parents=True)
    text = "# own\nname: own\nestimator: {_target_: sklearn.tree.DecisionTreeClassifier}\n"
    option.write_text(text)
    assert main(["sweep", *ONE, "model=own", "run.seed=0,1"]) == 0
    path = only_sweep()
    shutil.rmtree(run_of(cells()[1]).path)
    set_sweep(path, status="interrupted",
              cells=[cells()[0], cells()[1] | {"status": "waiting", "path": None}])  # fmt: skip
    option.write_text(text.replace("Classifier}", "Classifier, max_depth: 2}"))
    capsys.readouterr()
    assert main(["resume", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "has changed since" in err
    option.write_text(text)
    assert main(["resume", str(path)]) == 0


def test_another_engine_goes_on(stopped):
    assert main(["resume", str(stopped), "engine.n_jobs=2"]) == 0
    assert [cell["status"] for cell in cells()] == ["completed", "completed"]


def test_more_trials_that_were_stopped_reach_every_cell_later():
    assert main(["sweep", *ONE, *SEARCH, f"{TREE},logistic_regression"]) == 0
    # As a kill leaves it before any cell went on.
    set_sweep(only_sweep(), status="interrupted", pending=["search.n_trials=7", "model=svm"])
    assert main(["resume", str(only_sweep())]) == 0
    for cell in cells():
        asked = run_of(cell).read_trials().query("origin != 'finalist' and duplicate_of.isna()")
        assert set(asked.groupby("study").size()) == {7}
    assert "pending" not in content()


def test_more_trials_reach_every_cell():
    assert main(["sweep", *ONE, *SEARCH, TREE, "run.seed=0,1"]) == 0
    assert main(["resume", str(only_sweep()), "search.n_trials=7"]) == 0
    for cell in cells():
        table = run_of(cell).read_trials()
        own = table[(table["origin"] != "finalist") & table["duplicate_of"].isna()]
        assert (own.groupby("study").size() == 7).all()


def test_a_word_that_would_change_numbers_is_refused(stopped, capsys):
    before = content()
    assert main(["resume", str(stopped), "run.seed=7"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "run.seed=7" in err
    assert content() == before


def test_a_cell_whose_run_directory_is_gone_is_told(stopped, capsys):
    shutil.rmtree(run_of(cells()[0]).path)
    assert main(["show", str(stopped)]) == 0
    assert "not readable" in capsys.readouterr().out


def test_a_killed_sweep_shows_no_cell_at_work(stopped, capsys):
    set_sweep(stopped, status="running", process={},
              cells=[cells()[0], cells()[1] | {"status": "running"}])  # fmt: skip
    known = content() | {"process": {"pid": 2**22 + 1, "host": socket.gethostname()}}
    set_sweep(stopped, **known)
    assert main(["show", str(stopped)]) == 0
    out = capsys.readouterr().out
    assert "killed" in out.splitlines()[0]
    assert "running" not in out


def test_a_killed_cell_with_a_damaged_directory_fails_alone(stopped, capsys):
    """Its manifest says nothing of the data that it stood on."""
    first = run_of(cells()[0])
    manifest = json.loads((first.path / runs.MANIFEST).read_text())
    manifest |= {"status": "interrupted"}
    del manifest["dataset"]
    (first.path / runs.MANIFEST).write_text(json.dumps(manifest))
    set_sweep(stopped, cells=[cells()[0] | {"status": "interrupted"}, cells()[1]])
    assert main(["resume", str(stopped)]) == 1
    assert [cell["status"] for cell in cells()] == ["failed", "completed"]
    assert runs.MANIFEST in cells()[0]["cause"]


# --------------------------------------------------------------------------------------
# The directory and its table


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        "{}",
        '{"schema_version": 1, "status": "completed", "words": [], "cells": 3}',
        '{"schema_version": 1, "status": "completed", "words": [], "cells": [{"words": []}]}',
        '{"schema_version": 1, "status": "strange", "words": [], "cells": []}',
        '{"schema_version": 2, "status": "completed", "words": [], "cells": []}',
        '{"schema_version": 1, "status": "interrupted", "words": [], "cells": []}',
        "\x00",
    ],
)
def test_a_damaged_sweep_is_one_line(stopped, capsys, damage):
    (stopped / runs.SWEEP).write_text(damage)
    code = main(["resume", str(stopped)])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "damage", [{"status": "running", "process": 3}, {"seconds": "x"}, {"config_dir": 3}]
)
def test_a_damaged_entry_of_a_sweep_is_one_line(stopped, capsys, damage):
    set_sweep(stopped, **damage)
    assert main(["resume", str(stopped)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_show_shows_the_table_of_a_sweep(stopped, capsys):
    assert main(["show", str(stopped)]) == 0
    out = capsys.readouterr().out
    assert "interrupted" in out.splitlines()[0]
    assert "run.seed=0" in out
    assert "waiting" in out
    assert f"segexp resume {stopped}" in out


def test_the_table_is_that_of_show(capsys):
    assert main(["sweep", *ONE, f"{TREE},knn"]) == 0
    printed = capsys.readouterr().out
    assert main(["show", str(only_sweep())]) == 0
    shown = capsys.readouterr().out
    assert printed[printed.index("accuracy on held-out"):] == shown[
        shown.index("accuracy on held-out"):
    ]  # fmt: skip


def test_show_of_a_sweep_with_a_failed_cell_says_the_cause(capsys):
    main(["sweep", *FAILING])
    capsys.readouterr()
    assert main(["show", str(only_sweep())]) == 0
    assert "n_components=500 must be" in capsys.readouterr().out


def test_a_selection_score_is_marked_as_optimistic(capsys):
    assert main(["sweep", *ONE, *SEARCH, f"{TREE},logistic_regression"]) == 0
    out = capsys.readouterr().out
    assert "selection score" in out
    assert "honest" in out


def test_ls_lists_the_runs_of_a_sweep(stopped, capsys):
    assert main(["ls"]) == 0
    assert run_of(cells()[0]).path.name in capsys.readouterr().out


# --------------------------------------------------------------------------------------
# Done again


def test_rerun_of_a_sweep_checks_every_cell_that_was_run(stopped, capsys):
    assert main(["rerun", str(stopped)]) == 0
    text = capsys.readouterr().out
    assert "the same numbers: 1 of 1 cells" in text
    assert "not checked, for they never began: 1" in text


def test_rerun_of_a_sweep_says_that_a_cell_has_other_numbers(stopped, capsys):
    file = run_of(cells()[0]).path / runs.SCORES
    scores = pd.read_csv(file)
    scores.loc[0, "value"] += 0.5
    scores.to_csv(file, index=False)
    assert main(["rerun", str(stopped)]) == 1
    text = capsys.readouterr().out
    assert "other numbers: 1 of" in text and "the same numbers: 0 of 1 cells" in text

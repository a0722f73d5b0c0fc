"""Stopping a run at any moment costs what was being fitted, and changes no number."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from own_processes import OwnProcess

import segexp.runs as runs
from segexp.cli import main
from segexp.config.compose import load_config
from segexp.config.options import shipped_conf
from segexp.data.demo import generate_customers
from segexp.errors import RunError
from segexp.experiment import Reporter, run_experiment
from segexp.plan import plan_experiment, recorded_config, with_pending

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = ["dataset.n_customers=200", "model=decision_tree", "evaluation.baselines=[]",
         "evaluation.importance_repeats=0", "evaluation.n_splits=2"]  # fmt: skip
SERIAL = [*QUICK, "engine.n_jobs=1"]
# A small space, so that parameters come again, and a pruner that starts early.
TPE = ["search=tpe", "search.n_trials=8", "search.inner_splits=3", "search.startup_trials=3",
       "search.prune_startup=2", "~model.space.min_samples_leaf"]  # fmt: skip
SEARCHED = [*SERIAL, *TPE]
# A time limit of a trial needs processes, however short the work is.
PARALLEL = [*QUICK, *TPE, "engine.n_jobs=2", "search.trial_timeout=2m"]
N_STUDIES = 3
GIVE_UP_S = 60.0
ORPHANS_S = 10.0
SAME = ["study", "model", "number", "state", "value", "origin", "duplicate_of", "folds",
        "fold_values", "params", "chosen"]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(undrawn, tmp_path_factory):
    """A searched run that nobody stopped, in one process."""
    return finish(tmp_path_factory.mktemp("whole"), SEARCHED)


def finish(folder, words):
    said = [*words, f"run.outputs={folder}"]
    return run_experiment(plan_experiment(load_config(said, (shipped_conf(),))), said)


@pytest.fixture
def copy(whole, here):
    """A copy of it that a test may change."""
    target = here / "outputs" / "demo" / whole.path.name
    shutil.copytree(whole.path, target)
    return target


def only_run(folder=Path("outputs")):
    (path,) = runs.find_runs(folder)
    return path


def trials(path):
    return runs.open_run(path).read_trials()[SAME]


def assert_same_numbers(path, whole):
    assert (path / runs.SCORES).read_bytes() == (whole.path / runs.SCORES).read_bytes()
    pd.testing.assert_frame_equal(trials(path), whole.read_trials()[SAME])
    assert (path / runs.PREDICTIONS).read_bytes() == (whole.path / runs.PREDICTIONS).read_bytes()


def set_manifest(path, **entries):
    manifest = json.loads((path / runs.MANIFEST).read_text())
    (path / runs.MANIFEST).write_text(json.dumps(manifest | entries))


def cut(path, n_lines, more=b""):
    """Make of a completed run what a kill after so many lines of its journal would leave."""
    journal = path / runs.JOURNAL
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(True)[:n_lines]) + more)
    for name in (runs.SCORES, runs.TIMINGS, runs.SUMMARY, runs.PREDICTIONS, runs.TRIALS,
                 runs.SEARCH, runs.PIPELINE, runs.MODEL_SCHEMA):  # fmt: skip
        (path / name).unlink()
    set_manifest(path, status="running", process={"pid": 0, "host": "gone"}, end=None)
    set_manifest(path, status="interrupted")


def n_lines(path):
    return (path / runs.JOURNAL).read_bytes().count(b"\n")


# --------------------------------------------------------------------------------------
# Killed at any moment


class Killer:
    """Runs segexp in processes of its own, and stops them when their journal is long enough."""

    def __init__(self, seed, whole):
        self.random = random.Random(seed)
        self.outputs = Path("outputs")
        self.size = (whole.path / runs.JOURNAL).stat().st_size

    def moments(self, n):
        """Shares of the work, in order; the last moments lie behind the search."""
        step = 1.1 / n
        return [step * (i + self.random.random()) for i in range(n)]

    def journal_size(self):
        with contextlib.suppress(ValueError, OSError):
            return (only_run(self.outputs) / runs.JOURNAL).stat().st_size
        return -1

    def wait_for(self, process, share):
        """Return when that share of the journal is written, or the process has ended."""
        deadline = time.monotonic() + GIVE_UP_S
        while self.journal_size() < min(share, 0.98) * self.size and process.poll() is None:
            assert time.monotonic() < deadline, "the run does not go on"
            time.sleep(0.001)
        # A moment in the middle of what follows a line; at the end also folds and results.
        time.sleep(self.random.random() * (0.03 if share < 0.98 else 0.5))

    def kill(self, words, share):
        """Start, kill, and return whether the run was still at work."""
        process = OwnProcess(words)
        try:
            self.wait_for(process, share)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        wait_for_nobody(process.pid)
        return process.returncode != 0


def processes_of(session):
    """Return the processes of a session that are not only waiting to be buried."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(stat.parent.name))
    return found


def wait_for_nobody(session):
    deadline = time.monotonic() + ORPHANS_S
    while left := processes_of(session):
        assert time.monotonic() < deadline, f"workers outlive their driver: {left}"
        time.sleep(0.05)


def whole_lines(content):
    return content[: content.rfind(b"\n") + 1]


def snapshot(path):
    """Return the journal and every result that must not change any more."""
    folds = {file.name: file.read_bytes() for file in (path / runs.FOLDS).glob("*.npz")}
    journal = path / runs.JOURNAL
    return whole_lines(journal.read_bytes()) if journal.exists() else b"", folds


def assert_only_continued(before, after):
    journal, folds = before
    assert after[0].startswith(journal)
    assert all(after[1][name] == content for name, content in folds.items() if name in after[1])


def assert_nothing_was_judged_twice(path):
    """Each trial was begun once, each of its folds has one score."""
    begun, scores = [], {}
    for line in (path / runs.JOURNAL).read_text().splitlines():
        entry = json.loads(line)
        if "distributions" in entry:
            begun.append(entry)
        for key, value in entry.get("user_attr", {}).items():
            if key.startswith("fold ") and "trial_id" in entry:
                scores.setdefault((entry["trial_id"], key), []).append(value)
    assert len(begun) == len(trials(path))
    for values in scores.values():
        assert all(value == values[0] for value in values)


def kill_again_and_again(words, whole, n_kills, seed):
    """Kill a run, resume it, kill it again, ...; return how often it was at work when killed."""
    killer, kept, n_killed = Killer(seed, whole), (b"", {}), 0
    for moment in killer.moments(n_kills):
        begun = runs.find_runs(killer.outputs)
        n_killed += killer.kill(["resume", str(begun[0])] if begun else ["run", *words], moment)
        now = snapshot(only_run())
        assert_only_continued(kept, now)
        kept = now
    path = only_run()
    assert main(["resume", str(path)]) == 0
    assert runs.open_run(path).status == "completed"
    assert_only_continued(kept, snapshot(path))
    assert_nothing_was_judged_twice(path)
    assert_same_numbers(path, whole)
    assert not (path / runs.FOLDS).exists()
    return n_killed


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize(("words", "seed"), [(SEARCHED, 1), (PARALLEL, 2)])
def test_a_run_that_is_killed_and_resumed_gives_the_same_numbers(words, seed, whole):
    assert kill_again_and_again(words, whole, 2, seed) >= 1


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("words", "n_kills", "seed"), [(SEARCHED, 9, 11), (PARALLEL, 7, 13)])
def test_a_run_that_is_killed_many_times_gives_the_same_numbers(words, n_kills, seed, whole):
    assert kill_again_and_again(words, whole, n_kills, seed) >= n_kills - 1


def test_the_uninterrupted_run_has_what_a_kill_may_disturb(whole):
    table = whole.read_trials()
    assert {"COMPLETE", "PRUNED"} <= set(table["state"])
    assert table["duplicate_of"].notna().any()


def test_a_killed_process_that_nobody_buried_is_not_at_work(copy):
    """In a container without an init process it stays in the table of processes."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        set_manifest(copy, status="running", process=facts_of(process.pid))
        assert runs.open_run(copy).status == "running"
        process.kill()
        deadline = time.monotonic() + GIVE_UP_S
        while processes_named(process.pid) != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert runs.open_run(copy).status == "killed"
    finally:
        process.communicate()


def facts_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {"pid": pid, "host": socket.gethostname(), "began": fields[19]}


def processes_named(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# --------------------------------------------------------------------------------------
# What a kill leaves behind


def test_a_torn_last_line_is_cut_off(copy, whole):
    lines = (copy / runs.JOURNAL).read_bytes().splitlines(True)
    middle = len(lines) // 2
    cut(copy, middle, more=lines[middle][:-20])
    assert main(["resume", str(copy)]) == 0
    assert_same_numbers(copy, whole)


def test_a_journal_that_is_one_torn_line_begins_anew(copy, whole):
    cut(copy, 0, more=b'{"op_code":0,"worker')
    assert main(["resume", str(copy)]) == 0
    assert_same_numbers(copy, whole)


def test_a_lock_that_was_left_behind_costs_no_time(copy, whole):
    cut(copy, 40)
    (copy / runs.STUDIES / "journal.log.lock").symlink_to("journal.log")
    start = time.monotonic()
    assert main(["resume", str(copy)]) == 0
    assert time.monotonic() - start < 20
    assert_same_numbers(copy, whole)


def test_a_line_of_the_journal_that_is_no_json_is_one_line(copy, capsys):
    journal = copy / runs.JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    cut(copy, 20, more=b"\x00\x00\x00\x00\n" + b"".join(lines[20:30]))
    assert main(["resume", str(copy)]) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "journal.log" in err


def die_before_file(n_files):
    """End this process, as a kill does, where it would write one file more."""
    write = runs.RunWriter.write_bytes
    n_written = 0

    def write_or_die(self, name, content):
        nonlocal n_written
        if n_written == n_files:
            os._exit(9)
        n_written += 1
        write(self, name, content)

    runs.RunWriter.write_bytes = write_or_die


@pytest.mark.parametrize(
    "n_files", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 3, 6, 10))]
)
def test_a_kill_before_any_file_is_written_leaves_a_run_that_goes_on(copy, n_files):
    """More trials change the config and the manifest, and a kill can come between them."""
    words = ["resume", str(copy), "search.n_trials=9"]
    died = OwnProcess(words, before=partial(die_before_file, n_files))
    assert died.wait(GIVE_UP_S) == 9
    assert main(["resume", str(copy)]) == 0
    assert main(words) == 0
    assert (
        trials(copy).query("origin != 'finalist' and duplicate_of.isna()").groupby("study").size()
        == 9
    ).all()


def results(path):
    """Every file but the manifest, the log, and what a search keeps while it goes on."""
    return {
        file.relative_to(path): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
        and file.name not in (runs.MANIFEST, runs.LOG)
        and file.parent.name not in (runs.STUDIES, runs.FOLDS)
    }


def test_a_kill_while_a_completed_run_gets_more_trials_leaves_its_results(copy, capsys):
    before = results(copy)
    died = OwnProcess(
        ["resume", str(copy), "search.n_trials=9"], before=partial(die_before_file, 3)
    )
    assert died.wait(GIVE_UP_S) == 9
    assert runs.open_run(copy).status == "completed"
    assert results(copy) == before
    assert main(["show", str(copy)]) == 0
    assert "it began to go on: search.n_trials=9" in capsys.readouterr().out
    assert main(["resume", str(copy), "search.n_trials=8"]) == 2
    assert "went on to 9 trials in a study" in capsys.readouterr().err
    assert main(["resume", str(copy)]) == 0
    asked = trials(copy).query("origin != 'finalist' and duplicate_of.isna()")
    assert set(asked.groupby("study").size()) == {9}
    assert runs.open_run(copy).pending == []


def test_a_completed_run_that_is_taken_over_keeps_its_results(copy):
    before = results(copy)
    words = ["resume", str(copy), "search.n_trials=9", "--force"]
    assert OwnProcess(words, before=partial(die_before_file, 3)).wait(GIVE_UP_S) == 9
    assert results(copy) == before
    run = runs.open_run(copy)
    assert (run.status, run.pending) == ("completed", ["search.n_trials=9"])


def test_a_kill_before_the_new_config_is_written_still_goes_on_to_it(copy):
    words = ["resume", str(copy), "search.n_trials=9"]
    assert OwnProcess(words, before=partial(die_before_file, 5)).wait(GIVE_UP_S) == 9
    assert runs.open_run(copy).status == "killed"
    assert main(["resume", str(copy)]) == 0
    assert runs.open_run(copy).read_overrides().endswith("search.n_trials=9")
    assert main(["rerun", str(copy)]) == 0


@needs_proc
def test_ctrl_c_while_a_completed_run_gets_more_trials_leaves_its_results(copy):
    before, size = results(copy), (copy / runs.JOURNAL).stat().st_size
    words = ["resume", str(copy), "search.n_trials=60"]
    process = OwnProcess(words)
    deadline = time.monotonic() + GIVE_UP_S
    while (copy / runs.JOURNAL).stat().st_size < size + 5000 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130
    assert f"go on with: segexp {' '.join(words)}" in err
    assert runs.open_run(copy).status == "completed"
    assert runs.open_run(copy).pending == ["search.n_trials=60"]
    assert results(copy) == before


@pytest.mark.parametrize("kept", [0, 2000])
def test_a_completed_run_without_its_journal_is_not_run_from_the_start(copy, capsys, kept):
    (copy / runs.JOURNAL).write_bytes((copy / runs.JOURNAL).read_bytes()[:kept])
    before = results(copy)
    assert main(["resume", str(copy), "search.n_trials=9"]) == 2
    assert "trials of this run; put back the whole file" in capsys.readouterr().err
    assert results(copy) == before


def test_a_run_that_was_stopped_is_told_where_it_is_typed_again(copy, capsys):
    set_manifest(copy, status="interrupted")
    words = ["run", *SEARCHED, "search.n_trials=8"]
    path = copy.relative_to(Path.cwd())
    assert main(["plan", *words[1:]]) == 0
    assert f"in part: segexp resume {path}" in " ".join(capsys.readouterr().out.split())
    assert main(words) == 0
    assert f"to go on with it: segexp resume {path}" in " ".join(capsys.readouterr().out.split())


def test_a_run_directory_takes_nothing_but_a_budget_by_itself(whole):
    words = ["search.n_trials=9", "run.packages=[evil]", "engine.address=tcp://evil:1", "model=svm"]
    strange = runs.Run(whole.path, {**whole.manifest, "pending": words})
    assert with_pending(strange, []) == ["search.n_trials=9"]
    assert with_pending(strange, ["search.n_trials=12"]) == ["search.n_trials=12"]


def test_a_misspelled_word_is_told_as_in_a_run(copy, capsys):
    assert main(["resume", str(copy), "serch.n_trials=9"]) == 2
    assert "did you mean 'search.n_trials'" in capsys.readouterr().err


def test_a_clock_that_stopped_nothing_stops_no_rerun(copy, capsys):
    assert main(["resume", str(copy), "search.timeout=1s"]) == 0
    assert main(["rerun", str(copy)]) == 0
    assert "the same numbers" in capsys.readouterr().out


# --------------------------------------------------------------------------------------
# Ctrl-C


@needs_proc
@pytest.mark.parametrize("words", [SEARCHED, pytest.param(PARALLEL, marks=pytest.mark.slow)])
def test_ctrl_c_says_how_to_go_on(words, whole):
    killer = Killer(3, whole)
    process = OwnProcess(["run", *words])
    killer.wait_for(process, 0.4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP_S)
    path = only_run()
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert f"segexp resume {path}" in err
    assert runs.open_run(path).status == "interrupted"
    wait_for_nobody(process.pid)
    kept = snapshot(path)
    assert main(["resume", str(path)]) == 0
    assert_only_continued(kept, snapshot(path))
    assert_same_numbers(path, whole)


# --------------------------------------------------------------------------------------
# What may be resumed, and with which words


def test_a_completed_run_says_so(copy, capsys):
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    assert main(["resume", str(copy)]) == 0
    assert "is complete" in capsys.readouterr().out
    assert all(file.read_bytes() == content for file, content in before.items())


def test_more_trials_go_on_where_the_search_ended(copy, whole):
    before = (copy / runs.JOURNAL).read_bytes()
    assert main(["resume", str(copy), "search.n_trials=10"]) == 0
    assert (copy / runs.JOURNAL).read_bytes().startswith(before)
    after = trials(copy)
    assert len(after) >= len(whole.read_trials()) + 2 * N_STUDIES
    known = whole.read_trials()[SAME].drop(columns="chosen")
    both = after.merge(known[["study", "number"]], on=["study", "number"]).drop(columns="chosen")
    pd.testing.assert_frame_equal(both, known)
    assert runs.open_run(copy).status == "completed"


@pytest.mark.parametrize(
    "words", [["engine=local", "engine.n_jobs=1"], ["engine.n_jobs=1", "engine=local"]]
)
def test_words_of_a_group_and_of_its_keys_come_in_any_order(whole, words):
    assert recorded_config(whole, words).engine.n_jobs == 1


def test_a_run_with_more_trials_is_not_the_run_with_fewer(copy):
    assert main(["resume", str(copy), "search.n_trials=10"]) == 0
    assert main(["run", *SEARCHED]) == 0
    assert len(runs.find_runs(Path("outputs"))) == 2
    assert main(["run", *SEARCHED, "search.n_trials=10"]) == 0
    assert len(runs.find_runs(Path("outputs"))) == 2


@pytest.mark.parametrize(
    ("word", "began"),
    [
        ("run.seed=3", "began with 0"),
        ("evaluation.n_splits=4", "began with 2"),
        ("search.window=2", "began with 4"),
        ("search.sampler=random", "began with 'tpe'"),
        ("model=knn", "decision_tree"),
        ("search=random", "tpe"),
        ("model.estimator.max_depth=3", ""),
        ("+search.n_trails=9", ""),
    ],
)
def test_a_word_that_would_change_numbers_is_refused(copy, capsys, word, began):
    before = (copy / runs.MANIFEST).read_bytes()
    assert main(["resume", str(copy), word]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert word in err
    assert began in err
    assert (copy / runs.MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    "word",
    ["search.n_trials=9,10", "search.n_trials=many", "~search.n_trials", "engine=nothing",
     "engine.n_jops=2", "search.n_trials", "search.n_trials=0"],
)  # fmt: skip
def test_a_word_that_cannot_be_read_is_one_line(copy, capsys, word):
    before = (copy / runs.MANIFEST).read_bytes()
    assert main(["resume", str(copy), word]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (copy / runs.MANIFEST).read_bytes() == before


def test_another_engine_goes_on_with_the_same_numbers(copy, whole):
    cut(copy, 60)
    assert main(["resume", str(copy), "engine.n_jobs=2"]) == 0
    assert_same_numbers(copy, whole)


def test_a_config_that_was_edited_is_refused_with_the_difference(copy, capsys):
    cut(copy, 60)
    text = (copy / runs.CONFIG).read_text()
    (copy / runs.CONFIG).write_text(text.replace("inner_splits: 3", "inner_splits: 4"))
    assert main(["resume", str(copy)]) == 2
    assert "search.inner_splits was 3, is 4" in capsys.readouterr().err
    (copy / runs.CONFIG).write_text(text)
    assert main(["resume", str(copy)]) == 0


def csv_words(table, words):
    table.to_csv("customers.csv", index=False)
    return ["dataset=csv", "dataset.path=customers.csv", "dataset.id=ID",
            "dataset.target=Segmentation", *words[1:]]  # fmt: skip


def change_one_cell():
    table = generate_customers(200, 0)
    table.loc[3, "Age"] = float(table.loc[3, "Age"]) + 1
    table.to_csv("customers.csv", index=False)


def test_other_data_are_refused_with_both_fingerprints(here, capsys):
    words = csv_words(generate_customers(200, 0), SEARCHED)
    assert main(["run", *words]) == 0
    path = only_run()
    cut(path, 30)
    kept = (path / runs.JOURNAL).read_bytes()
    change_one_cell()
    capsys.readouterr()
    assert main(["resume", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert runs.open_run(path).manifest["dataset"]["fingerprint"] in err
    assert "with other data" in err
    assert (path / runs.JOURNAL).read_bytes() == kept
    generate_customers(200, 0).to_csv("customers.csv", index=False)
    assert main(["resume", str(path)]) == 0


@needs_proc
def test_a_run_that_is_at_work_is_left_alone(whole, capsys):
    killer = Killer(4, whole)
    process = OwnProcess(["run", *SEARCHED])
    try:
        killer.wait_for(process, 0.2)
        process.send_signal(signal.SIGSTOP)
        path = only_run()
        before = (path / runs.JOURNAL).read_bytes()
        assert main(["resume", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert f"process {process.pid}" in err
        assert (path / runs.JOURNAL).read_bytes() == before
    finally:
        process.kill()
        process.communicate()
    assert main(["resume", str(path)]) == 0
    assert_same_numbers(path, whole)


def test_only_one_of_two_that_resume_at_once_gets_the_run(copy):
    """Both have read the directory before either has begun."""
    set_manifest(copy, status="interrupted")
    first, second = runs.open_run(copy), runs.open_run(copy)
    with (
        runs.continue_run(first),
        pytest.raises(RunError, match="is running"),
        runs.continue_run(second),
    ):
        pass


def test_force_takes_a_run_from_a_process_that_seems_alive(copy, whole, capsys):
    cut(copy, 60)
    set_manifest(copy, status="running", process=facts_of(os.getpid()))
    assert main(["resume", str(copy)]) == 2
    assert "is running" in capsys.readouterr().err
    assert main(["resume", str(copy), "--force"]) == 0
    assert_same_numbers(copy, whole)


@pytest.mark.parametrize(
    "damage", [{"process": 3}, {"seconds": "x"}, {"resumed": 3}, {"config_hash": "x"}]
)
def test_a_damaged_manifest_is_one_line(copy, capsys, damage):
    set_manifest(copy, **{"status": "running"} | damage)
    if "process" not in damage:
        set_manifest(copy, status="interrupted")
    assert main(["resume", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_no_run_is_one_line(here, capsys):
    assert main(["resume", str(here)]) == 2
    assert main(["resume", str(here / "none")]) == 2
    assert main(["rerun", str(here)]) == 2
    assert capsys.readouterr().err.count("\n") == 3


# --------------------------------------------------------------------------------------
# Without a search


def test_finished_folds_are_not_fitted_again():
    words = [*SERIAL, "evaluation.n_splits=4"]
    whole = finish("whole", words)

    def interrupt(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(
            plan_experiment(load_config(words, (shipped_conf(),))),
            words,
            Reporter(progress=interrupt),
        )
    path = only_run()
    seconds = pd.read_csv(path / runs.TIMINGS)
    assert len(list((path / runs.FOLDS).glob("*.npz"))) == len(seconds) == 3
    assert main(["resume", str(path)]) == 0
    again = pd.read_csv(path / runs.TIMINGS)
    assert len(again) == 4
    pd.testing.assert_frame_equal(again[:3], seconds)
    assert (path / runs.SCORES).read_bytes() == (whole.path / runs.SCORES).read_bytes()


def test_a_damaged_fold_is_told_or_fitted_again(capsys):
    words = [*SERIAL, "evaluation.n_splits=3"]
    whole = finish("whole", words)
    path = finish("outputs", words).path
    (path / runs.FOLDS).mkdir()
    (path / runs.FOLDS / "model-repeat0-fold0.npz").write_bytes(b"PK\x03\x04 torn")
    set_manifest(path, status="interrupted")
    code = main(["resume", str(path)])
    err = capsys.readouterr().err
    assert (code == 0 and (path / runs.SCORES).read_bytes()
            == (whole.path / runs.SCORES).read_bytes()) or (
        code in (1, 2) and err.count("\n") == 1 and "fold0.npz" in err
    )  # fmt: skip


def test_a_killed_run_without_a_journal_is_resumed(whole, copy):
    """The kill came before the search began."""
    cut(copy, 0)
    (copy / runs.JOURNAL).unlink()
    (copy / runs.STUDIES).rmdir()
    assert main(["resume", str(copy)]) == 0
    assert_same_numbers(copy, whole)


def test_a_failed_run_can_be_resumed(here, flaky):
    (here / "broken").touch()
    words = [*FLAKY, *[word for word in SERIAL if word != "model=decision_tree"]]
    assert main(["run", *words]) == 1
    path = only_run()
    assert runs.open_run(path).status == "failed"
    (here / "broken").unlink()
    assert main(["resume", str(path), FLAKY[1]]) == 0
    assert runs.open_run(path).status == "completed"
    assert "cause" not in runs.open_run(path).manifest


# --------------------------------------------------------------------------------------
# Failed trials, once more

FLAKY_MODEL = """
import os
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Flaky(DecisionTreeClassifier):
    def fit(self, X, y, **others):
        if self.max_depth == 3 and Path("deadly").exists():
            os._exit(9)
        if self.max_depth > 2 and len(X) > 60 and Path("broken").exists():
            raise RuntimeError("the licence server does not answer")
        return super().fit(X, y, **others)
"""


@pytest.fixture
def flaky(here, monkeypatch):
    """A model that fails, or ends its process, as long as there is a file of that name."""
    (here / "flaky_model.py").write_text(FLAKY_MODEL)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "flaky_model", raising=False)
    option = here / "conf" / "model" / "flaky.yaml"
    option.parent.mkdir(parents=True)
    option.write_text(
        "# fails at times\nname: flaky\n"
        "estimator: {_target_: flaky_model.Flaky, max_depth: 3, random_state: 0}\n"
        "space: {max_depth: {type: int, low: 1, high: 6}}\n"
    )


FLAKY = ["model=flaky", "run.packages=[flaky_model]", "evaluation.final_model=false"]
FLAKY_SEARCH = [
    *FLAKY,
    *[word for word in SEARCHED if not word.startswith(("model", "~model", "search.n_trials"))],
    "search.n_trials=5", "search.window=1", "search.pruner=none",
]  # fmt: skip


def test_failed_trials_are_tried_again_when_that_is_wanted(here, flaky):
    (here / "broken").touch()
    assert main(["run", *FLAKY_SEARCH]) == 0
    path = only_run()
    before = trials(path)
    failed = before[(before["state"] == "FAIL") & before["duplicate_of"].isna()]
    assert len(failed)
    (here / "broken").unlink()
    assert main(["resume", str(path), FLAKY[1]]) == 0
    assert len(trials(path)) == len(before)
    assert main(["resume", str(path), FLAKY[1], "--retry-failed"]) == 0
    after = trials(path)
    again = after[after["origin"] == "retry"]
    assert list(again["params"]) == list(failed["params"])
    assert set(again["state"]) == {"COMPLETE"}
    assert again["value"].notna().all()
    assert main(["resume", str(path), FLAKY[1], "--retry-failed"]) == 0
    assert len(trials(path)) == len(after)


def test_a_trial_that_ends_segexp_itself_is_told_in_the_end(here, flaky):
    """The second process that it ends is the last: then it is tried in one of its own."""
    (here / "deadly").touch()
    resume = ["resume", None, FLAKY[1]]
    for code in (9, 9, 0):
        died = OwnProcess([*resume] if resume[1] else ["run", *FLAKY_SEARCH])
        assert died.wait(GIVE_UP_S) == code
        resume[1] = str(only_run())
    found = trials(only_run())
    assert set(found.loc[found["state"] == "FAIL", "params"]) == {'{"max_depth": 3}'}
    causes = runs.open_run(only_run()).read_trials()["cause"].dropna()
    assert all("worker process" in cause for cause in causes)
    assert_nothing_was_judged_twice(only_run())


# --------------------------------------------------------------------------------------
# Done before, and done again


def test_what_is_done_is_not_done_twice(here, capsys):
    words = csv_words(generate_customers(200, 0), SERIAL)
    assert main(["run", *words]) == 0
    path = only_run()
    capsys.readouterr()
    assert main(["run", *words]) == 0
    assert f"already done: {path}" in capsys.readouterr().out
    assert main(["run", *words, "engine.n_jobs=2"]) == 0
    for n_runs, more in ((1, []), (2, ["--force"]), (3, ["run.seed=1"])):
        assert main(["run", *words, *more]) == 0
        assert len(runs.find_runs(here / "outputs")) == n_runs
    change_one_cell()
    assert main(["run", *words]) == 0
    assert len(runs.find_runs(here / "outputs")) == 4


def test_rerun_says_that_the_numbers_are_the_same(copy, capsys):
    assert main(["rerun", str(copy)]) == 0
    assert "the same numbers" in capsys.readouterr().out


def test_rerun_says_which_numbers_differ(copy, capsys):
    scores = pd.read_csv(copy / runs.SCORES)
    row = scores.index[scores["metric"] == "accuracy"][1]
    scores.loc[row, "value"] += 0.25
    scores.to_csv(copy / runs.SCORES, index=False)
    assert main(["rerun", str(copy)]) == 1
    out = capsys.readouterr().out
    assert "1 of" in out
    assert "0.25 (accuracy, fold 1)" in out


def test_rerun_after_more_trials_says_the_same_numbers(copy, capsys):
    assert main(["resume", str(copy), "search.n_trials=10"]) == 0
    assert main(["rerun", str(copy)]) == 0
    assert "the same numbers" in capsys.readouterr().out


def test_rerun_of_a_run_that_is_not_completed_is_refused(copy, capsys):
    set_manifest(copy, status="interrupted")
    assert main(["rerun", str(copy)]) == 2
    assert "only a completed run" in capsys.readouterr().err


def test_a_search_that_a_clock_stopped_is_run_again_by_count(here, capsys):
    words = [*SERIAL, *TPE[:1], *TPE[2:-1], "search.n_trials=null", "search.timeout=2s"]
    assert main(["run", *words]) == 0
    path = only_run()
    choices = runs.open_run(path).read_search()["choices"]
    assert {choice["stopped_by"] for choice in choices} == {"timeout"}
    assert main(["rerun", str(path)]) == 0
    assert "the same numbers" in capsys.readouterr().out
    again = next(p for p in runs.find_runs(here / "outputs") if p != path)
    same = [column for column in SAME if column != "chosen"]
    pd.testing.assert_frame_equal(trials(again)[same], trials(path)[same])
